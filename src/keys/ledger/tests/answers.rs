//! How questions are answered, and for how long an answer is remembered.

use super::*;

#[test]
fn a_thousand_askers_cost_one_unwrap_and_get_a_copy_each() {
    let mut desk = Desk::new(&KeyOptions::default(), 1000);
    let key = wrapped(1, 7);
    for executor in 0..1000 {
        desk.open(executor, &key, if executor % 2 == 0 { TAIL } else { BACKFILL });
    }
    assert_eq!(desk.calls(), [Call::Unwrap(Arc::clone(&key))]);
    desk.finish(Call::Unwrap(Arc::clone(&key)), Outcome::Unwrapped(Ok(dek(5))));
    for executor in 0..1000 {
        assert_eq!(desk.told(executor), ["open 7 5"]);
    }
    // Whoever asks later is answered without a call.
    desk.open(3, &key, TAIL);
    assert!(desk.calls().is_empty());
    assert_eq!(desk.told(3), ["open 7 5"]);
}

#[test]
fn a_thousand_askers_cost_one_generate_and_share_the_dek() {
    let mut desk = Desk::new(&KeyOptions::default(), 1000);
    for executor in 0..1000 {
        desk.seal(executor, "payments");
    }
    assert_eq!(desk.calls(), [Call::Generate("payments".into())]);
    desk.finish(Call::Generate("payments".into()), generated(1, 0));
    for executor in 0..1000 {
        assert_eq!(desk.told(executor), ["seal payments 1"]);
    }
    desk.seal(0, "payments");
    assert!(desk.calls().is_empty());
    assert_eq!(desk.told(0), ["seal payments 1"]);
    // What this process sealed with, it opens without a call.
    desk.open(1, &wrapped(1, 0), TAIL);
    assert!(desk.calls().is_empty());
    assert_eq!(desk.told(1), ["open 0 1"]);
}

#[test]
fn failures_are_remembered_as_long_as_their_kind() {
    let options = KeyOptions::default();
    for (error, failure, memory) in [
        (KmsError::KekDisabled, "KekDisabled", options.verdict_memory),
        (
            KmsError::CredentialsRefused(String::new()),
            "Unavailable",
            options.outage_memory,
        ),
        (
            KmsError::Unavailable(String::new()),
            "Unavailable",
            options.outage_memory,
        ),
    ] {
        let mut desk = Desk::new(&options, 1);
        let key = wrapped(1, 7);
        let unwrap = Call::Unwrap(Arc::clone(&key));
        desk.open(0, &key, TAIL);
        desk.seal(0, "payments");
        assert_eq!(desk.calls().len(), 2);
        desk.finish(unwrap, Outcome::Unwrapped(Err(error.clone())));
        desk.finish(
            Call::Generate("payments".into()),
            Outcome::Generated(Err(error.clone())),
        );
        let told = [format!("open 7 {failure}"), format!("seal payments {failure}")];
        assert_eq!(desk.told(0), told);
        desk.pass(memory - Duration::from_millis(1));
        desk.open(0, &key, TAIL);
        desk.seal(0, "payments");
        assert!(desk.calls().is_empty());
        assert_eq!(desk.told(0), told);
        desk.pass(Duration::from_millis(1));
        desk.open(0, &key, TAIL);
        desk.seal(0, "payments");
        assert_eq!(desk.calls().len(), 2, "{error:?}");
    }
}

/// A batch needs what is known of all its keys together, however slowly a KMS says it.
#[test]
fn what_does_not_unwrap_is_remembered_for_longer_than_a_kek_that_may_be_enabled() {
    let options = KeyOptions::default();
    let mut desk = Desk::new(&options, 1);
    let key = wrapped(1, 7);
    desk.open(0, &key, TAIL);
    assert_eq!(desk.calls().len(), 1);
    let unwrap = Call::Unwrap(Arc::clone(&key));
    desk.finish(unwrap, Outcome::Unwrapped(Err(KmsError::Malformed)));
    desk.pass(options.altered_memory - Duration::from_millis(1));
    desk.open(0, &key, TAIL);
    assert!(desk.calls().is_empty());
    assert_eq!(desk.told(0), ["open 7 Malformed", "open 7 Malformed"]);
    desk.pass(Duration::from_millis(1));
    desk.open(0, &key, TAIL);
    assert_eq!(desk.calls().len(), 1);
}

#[test]
fn requests_that_make_no_sense_are_answered() {
    let mut desk = Desk::new(&KeyOptions::default(), 1);
    desk.open(0, &Arc::from([1, 2, 3].as_slice()), TAIL);
    let stray = KeyRequest::Open {
        executor: 0,
        kms: KmsId::from_number(9),
        wrapped: wrapped(1, 1),
        demand: TAIL,
    };
    desk.ledger.accept(stray, desk.now);
    let stray = KeyRequest::Seal {
        executor: 0,
        key: KeyId {
            kms: KmsId::from_number(9),
            .."payments".into()
        },
        used_up: None,
    };
    desk.ledger.accept(stray, desk.now);
    assert!(desk.calls().is_empty());
    assert_eq!(
        desk.told(0),
        [
            "open 3 Malformed",
            "open 1 KekNotFound",
            "seal payments KekNotFound"
        ]
    );
    // An executor that does not exist gets nothing and does no harm.
    desk.open(1, &wrapped(1, 1), TAIL);
    desk.open(usize::MAX, &wrapped(1, 2), TAIL);
    assert!(desk.calls().is_empty());
}
