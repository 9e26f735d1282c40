//! What is kept, and asked for, although it is much.

use super::*;

fn key(kms: u8, kek: &str) -> KeyId {
    KeyId {
        kms: KmsId::from_number(kms.into()),
        ..KeyId::first(kek)
    }
}

/// EXECUTOR-7: a request for more KEKs than are kept has all of them together.
#[test]
fn sealing_keys_that_are_needed_are_kept_and_the_idlest_goes_when_it_is_not() {
    let options = KeyOptions {
        sealing_keys_max: 1,
        needed_sealing_keys_max: 3,
        ..KeyOptions::default()
    };
    let mut bench = Bench::new(&options);
    let names = ["a", "b", "c", "d"];
    for name in names {
        let KeyReply::Sealing { result, .. } = delivered(1, 100, bench.far()) else {
            panic!("a sealing key")
        };
        let key = key(0, name);
        bench.apply(KeyReply::Sealing { key, result });
        bench.pass(Duration::from_secs(1));
    }
    let at_hand = |bench: &mut Bench| {
        let now = bench.now;
        let is_ready = |name: &&str| matches!(bench.keys.sealing(&key(0, name), now), KeyLookup::Ready(_));
        names.into_iter().filter(is_ready).collect::<Vec<_>>()
    };
    assert_eq!(
        at_hand(&mut bench),
        ["b", "c", "d"],
        "as many as are needed at most"
    );
    bench.pass(options.needed_for - Duration::from_millis(1));
    bench.keys.sealing(&key(0, "b"), bench.now);
    bench.pass(Duration::from_millis(1));
    assert_eq!(at_hand(&mut bench), ["b"]);
}

/// EXECUTOR-8
#[test]
fn what_one_kms_owes_keeps_nobody_from_another() {
    let options = KeyOptions {
        waiting_max: 2,
        ..KeyOptions::default()
    };
    let mut bench = Bench::new(&options);
    // For a key of each kind; how many are asked for.
    let ask = |bench: &mut Bench, kms: u8, number: u8| {
        let (id, now) = (KmsId::from_number(kms.into()), bench.now);
        // Below the urgency that has room beyond.
        bench.keys.opening(id, &wrapped(kms, number), BACKFILL, now, now);
        bench.keys.sealing(&key(kms, &number.to_string()), now);
        bench.sent().len()
    };
    for number in 1..=2 {
        assert_eq!(ask(&mut bench, 0, number), 2);
    }
    assert_eq!(ask(&mut bench, 0, 3), 0);
    assert_eq!(ask(&mut bench, 1, 1), 2);
    // One that has come leaves its place to the next of its KMS.
    bench.apply(opened(0, 1));
    bench.apply(KeyReply::Sealing {
        key: key(0, "1"),
        result: Err(KeyFailure::KekNotFound),
    });
    assert_eq!(ask(&mut bench, 0, 3), 2);
    assert_eq!(ask(&mut bench, 0, 4), 0);
}
