//! When a DEK has sealed enough, and when its successor is fetched.

use super::*;
use crate::keys::DekLimits;

/// A DEK of 100 batches and 1000 bytes.
fn small() -> KeyOptions {
    KeyOptions {
        dek: DekLimits {
            batches_max: 100,
            bytes_max: 1000,
            ..DekLimits::default()
        },
        ..KeyOptions::default()
    }
}

fn generate() -> Call {
    Call::Generate("payments".into())
}

fn shares(desk: &mut Desk, executor: usize) -> Vec<(u64, u64)> {
    let share = |reply| match reply {
        KeyReply::Sealing { result: Ok(key), .. } => (key.batches_max, key.bytes_max),
        _ => (0, 0),
    };
    desk.replies(executor).into_iter().map(share).collect()
}

#[test]
fn half_of_either_limit_fetches_the_successor() {
    for (batches, bytes, fetched) in [(49, 499, false), (50, 0, true), (1, 500, true)] {
        let mut desk = Desk::new(&small(), 1);
        let key = desk.generate_first(&[0]);
        desk.used(0, &key, batches, bytes);
        assert_eq!(desk.calls() == [generate()], fetched, "{batches} {bytes}");
    }
}

/// SEALING-DEKS-1
#[test]
fn a_share_is_used_up_when_its_batches_or_its_bytes_are() {
    for (batches, bytes) in [(50, 0), (1, 500)] {
        let mut desk = Desk::new(&small(), 2);
        let key = desk.generate_first(&[0, 1]);
        desk.used(0, &key, batches, bytes);
        assert_eq!(desk.calls(), [generate()], "{batches} {bytes}");
        for executor in 0..2 {
            desk.seal(executor, "payments");
        }
        assert_eq!(shares(&mut desk, 0), []);
        assert_eq!(shares(&mut desk, 1), [(50, 500)]);
    }
}

/// SEALING-DEKS-1
#[test]
fn reports_of_one_executor_leave_those_of_others_alone() {
    let mut desk = Desk::new(&small(), 3);
    let key = desk.generate_first(&[0, 1, 2]);
    for (executor, batches, bytes) in [(2, 3, 30), (0, 1, 10), (0, 1, 10)] {
        desk.used(executor, &key, batches, bytes);
    }
    // Of a DEK that is not the present one, and of nobody's.
    desk.used(2, &wrapped(1, 99), 20, 200);
    for executor in 0..3 {
        desk.seal(executor, "payments");
    }
    let left = [0, 1, 2].map(|executor| shares(&mut desk, executor));
    assert_eq!(left, [[(31, 313)], [(33, 333)], [(30, 303)]]);
    assert_eq!(desk.calls(), []);
}

/// SEALING-DEKS-2: also before a tick has noticed that its time is over.
#[test]
fn a_dek_of_twice_its_age_is_given_to_nobody() {
    let options = KeyOptions::default();
    let over = options.dek.age_max * 2;
    for (age, told) in [(over - Duration::from_nanos(1), "seal payments 1"), (over, "")] {
        let mut desk = Desk::new(&options, 1);
        desk.generate_first(&[0]);
        desk.now += age;
        desk.seal(0, "payments");
        assert_eq!(desk.told(0).concat(), told);
    }
}

#[test]
fn a_dek_that_sealed_no_batch_is_let_go_when_it_is_old() {
    let options = without_grace();
    for (batches, told, calls) in [(0, "released payments", 0), (1, "", 1)] {
        let mut desk = Desk::new(&options, 1);
        let key = desk.generate_first(&[0]);
        desk.used(0, &key, batches, 0);
        desk.pass(options.dek.age_max);
        assert_eq!(desk.told(0).concat(), told, "{batches}");
        let generates = desk.calls().into_iter().filter(|call| *call == generate());
        assert_eq!(generates.count(), calls, "{batches}");
    }
}

#[test]
fn the_successor_of_a_rotated_key_is_fetched_again_after_an_outage() {
    let options = KeyOptions::default();
    let mut desk = Desk::new(&options, 1);
    desk.generate_first(&[0]);
    desk.pass(INTERVALS.version_poll);
    let poll = Call::PollVersion("payments".into());
    assert!(desk.calls().contains(&poll));
    desk.finish(poll, Outcome::Version(Ok(Some(vec![2]))));
    assert_eq!(desk.calls(), [generate()]);
    let outage = KmsError::Unavailable(String::new());
    desk.finish(generate(), Outcome::Generated(Err(outage)));
    desk.pass(options.outage_memory - Duration::from_nanos(1));
    assert!(!desk.calls().contains(&generate()), "the outage is remembered");
    desk.pass(Duration::from_nanos(1));
    assert!(desk.calls().contains(&generate()));
}

/// SEALING-DEKS-5: what is fetched ahead is as much as seals at most, and new KEKs have what room it leaves.
#[test]
fn a_successor_is_fetched_however_much_is_waited_for() {
    let options = KeyOptions {
        waiting_max: 2,
        ..small()
    };
    let mut desk = Desk::new(&options, 1);
    let key = desk.generate_first(&[0]);
    for name in ["a", "b"] {
        desk.seal(0, name);
    }
    assert_eq!(desk.calls().len(), 2);
    desk.used(0, &key, 50, 0);
    assert_eq!(desk.calls(), [generate()]);
    // Asked for once, however often it is noticed.
    desk.used(0, &key, 1, 0);
    assert_eq!(desk.calls(), []);
    desk.told(0);
    desk.seal(0, "c");
    assert_eq!(desk.told(0), ["seal c Unavailable"]);
}

/// SEALING-DEKS-1
#[test]
fn shares_never_add_up_to_more_than_the_limit() {
    let options = KeyOptions {
        dek: crate::keys::DekLimits {
            batches_max: 100,
            bytes_max: 1000,
            ..crate::keys::DekLimits::default()
        },
        ..KeyOptions::default()
    };
    let mut desk = Desk::new(&options, 3);
    desk.seal(0, "payments");
    desk.calls();
    desk.finish(Call::Generate("payments".into()), generated(1, 0));
    desk.seal(1, "payments");
    let share = |reply: KeyReply| match reply {
        KeyReply::Sealing { result: Ok(key), .. } => (key.batches_max, key.bytes_max),
        _ => (0, 0),
    };
    assert_eq!(
        desk.replies(0).into_iter().map(share).collect::<Vec<_>>(),
        [(33, 333)]
    );
    assert_eq!(
        desk.replies(1).into_iter().map(share).collect::<Vec<_>>(),
        [(33, 333)]
    );
    // One that lost its key and asks again gets what it has left.
    desk.used(0, &wrapped(1, 0), 30, 100);
    desk.seal(0, "payments");
    assert_eq!(
        desk.replies(0).into_iter().map(share).collect::<Vec<_>>(),
        [(3, 233)]
    );
    assert!(desk.calls().is_empty());
    // At half of the limit the next one is fetched ahead, and everyone gets it.
    desk.used(1, &wrapped(1, 0), 20, 100);
    assert_eq!(desk.calls(), [Call::Generate("payments".into())]);
    desk.used(0, &wrapped(1, 0), 3, 0);
    desk.seal(0, "payments");
    assert!(desk.told(0).is_empty(), "its share is used up: it waits");
    desk.finish(Call::Generate("payments".into()), generated(2, 0));
    assert_eq!(desk.told(0), ["seal payments 2"]);
    assert_eq!(desk.told(1), ["seal payments 2"]);
    assert!(desk.told(2).is_empty());
}

#[test]
fn age_replaces_what_is_used_and_releases_what_is_not() {
    let options = without_grace();
    let half = options.dek.age_max / 2;
    let mut desk = Desk::new(&options, 1);
    let key = desk.generate_first(&[0]);
    desk.used(0, &key, 1, 1);
    desk.pass(half);
    assert!(!desk.calls().contains(&Call::Generate("payments".into())));
    desk.pass(half);
    assert!(desk.calls().contains(&Call::Generate("payments".into())));
    // While the KMS is away the old one goes on, until twice its age.
    let outage = KmsError::Unavailable(String::new());
    desk.finish(Call::Generate("payments".into()), Outcome::Generated(Err(outage)));
    desk.seal(0, "payments");
    assert_eq!(desk.told(0), ["seal payments 1"]);
    desk.pass(half);
    desk.pass(half);
    assert_eq!(desk.told(0), ["released payments"]);

    let mut desk = Desk::new(&options, 1);
    desk.generate_first(&[0]);
    desk.pass(options.dek.age_max);
    assert!(!desk.calls().contains(&Call::Generate("payments".into())));
    assert_eq!(desk.told(0), ["released payments"]);
}
