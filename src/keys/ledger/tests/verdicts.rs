//! What a KMS says of a KEK in use, and what is dropped at once.

use super::*;

/// The machine slept: neither the DEKs in use nor those of calls under way seal on, nor are they given out again.
///
/// KEYS-6, SEALING-DEKS-2
#[test]
fn dropped_sealing_keys_are_taken_from_every_executor_and_made_anew() {
    let mut desk = Desk::new(&KeyOptions::default(), 2);
    for executor in 0..2 {
        desk.seal(executor, "payments");
    }
    for call in desk.calls() {
        desk.finish(call, generated(1, 1));
    }
    assert_eq!(desk.told(0), ["seal payments 1"]);
    assert_eq!(desk.told(1), ["seal payments 1"]);
    desk.seal(0, "orders");
    let under_way = desk.calls();
    assert_eq!(under_way, [Call::Generate("orders".into())]);

    desk.ledger.drop_sealing();
    assert_eq!(desk.told(0), ["released payments"]);
    assert_eq!(desk.told(1), ["released payments"]);
    for call in under_way {
        desk.finish(call, generated(1, 2));
    }
    assert!(desk.told(0).is_empty(), "what was under way is made again");
    desk.seal(1, "payments");
    let calls = desk.calls();
    assert_eq!(
        calls,
        [Call::Generate("orders".into()), Call::Generate("payments".into())]
    );
    for (blob, call) in (3..).zip(calls) {
        desk.finish(call, generated(2, blob));
    }
    assert_eq!(desk.told(0), ["seal orders 2"]);
    assert_eq!(desk.told(1), ["seal payments 2"]);
    // What was opened stays.
    desk.open(0, &wrapped(1, 1), TAIL);
    assert_eq!(desk.told(0), ["open 1 1"]);
    assert!(desk.calls().is_empty());
}

#[test]
fn rotation_is_noticed_by_the_poll_and_reaches_every_holder_unasked() {
    let mut desk = Desk::new(&KeyOptions::default(), 3);
    desk.generate_first(&[0, 1]);
    desk.pass(INTERVALS.version_poll);
    let poll = Call::PollVersion("payments".into());
    let recheck = Call::Recheck(wrapped(1, 0));
    assert_eq!(desk.calls(), [recheck.clone(), poll.clone()]);
    // Nothing moved: nothing is fetched; and no second poll before its time.
    desk.finish(recheck, Outcome::Rechecked(Ok(dek(1))));
    desk.finish(poll.clone(), Outcome::Version(Ok(Some(vec![1]))));
    desk.pass(INTERVALS.version_poll - Duration::from_millis(1));
    assert!(desk.calls().is_empty());
    desk.pass(Duration::from_millis(1));
    assert!(desk.calls().contains(&poll));
    desk.finish(poll, Outcome::Version(Ok(Some(vec![2]))));
    assert_eq!(desk.calls(), [Call::Generate("payments".into())]);
    // The old one seals on meanwhile.
    desk.seal(2, "payments");
    assert_eq!(desk.told(2), ["seal payments 1"]);
    desk.finish(Call::Generate("payments".into()), generated(2, 1));
    for executor in 0..3 {
        assert_eq!(desk.told(executor), ["seal payments 2"]);
    }
}

/// KEYS-4
#[test]
fn a_refused_recheck_takes_every_key_of_the_version_away() {
    let mut desk = Desk::new(&KeyOptions::default(), 2);
    let sealing = desk.generate_first(&[0]);
    let other_version = wrapped(2, 5);
    desk.open(1, &other_version, TAIL);
    desk.open(1, &wrapped(1, 6), TAIL);
    for call in desk.calls() {
        desk.finish(call, Outcome::Unwrapped(Ok(dek(6))));
    }
    assert_eq!(desk.told(1), ["open 5 6", "open 6 6"]);
    desk.pass(INTERVALS.recheck);
    let calls = desk.calls();
    assert_eq!(calls.len(), 3, "two versions and one poll: {calls:?}");
    // An outage is no verdict.
    let outage = || KmsError::Unavailable(String::new());
    assert!(!desk.finish(
        Call::Recheck(Arc::clone(&other_version)),
        Outcome::Rechecked(Err(outage()))
    ));
    assert!(desk.finish(
        Call::Recheck(Arc::clone(&sealing)),
        Outcome::Rechecked(Err(KmsError::KekDisabled))
    ));
    for executor in 0..2 {
        assert_eq!(desk.told(executor), ["revoked 1"]);
    }
    // Nothing of version 1 is given out any more; version 2 is.
    desk.open(1, &other_version, TAIL);
    assert_eq!(desk.told(1), ["open 5 6"]);
    desk.open(0, &sealing, TAIL);
    desk.seal(0, "payments");
    assert_eq!(desk.calls().len(), 2);
    assert!(desk.told(0).is_empty());
}

/// LEDGER-3
#[test]
fn what_was_under_way_when_its_version_was_revoked_is_asked_again() {
    let mut desk = Desk::new(&KeyOptions::default(), 1);
    let known = desk.generate_first(&[0]);
    desk.pass(INTERVALS.recheck);
    let late = wrapped(1, 8);
    desk.open(0, &late, TAIL);
    desk.seal_after(0, "payments", Some(Arc::clone(&known)));
    let calls = desk.calls();
    assert!(calls.contains(&Call::Unwrap(Arc::clone(&late))));
    assert!(calls.contains(&Call::Generate("payments".into())));
    desk.finish(
        Call::Recheck(known),
        Outcome::Rechecked(Err(KmsError::KekDestroyed)),
    );
    desk.finish(Call::Unwrap(Arc::clone(&late)), Outcome::Unwrapped(Ok(dek(1))));
    desk.finish(Call::Generate("payments".into()), generated(1, 9));
    assert_eq!(desk.told(0), ["revoked 1"]);
    assert_eq!(
        desk.calls(),
        [Call::Generate("payments".into()), Call::Unwrap(Arc::clone(&late))]
    );
    desk.finish(
        Call::Unwrap(late),
        Outcome::Unwrapped(Err(KmsError::KekDestroyed)),
    );
    assert_eq!(desk.told(0), ["open 8 KekDestroyed"]);
}

/// SEALING-DEKS-3
#[test]
fn a_verdict_on_the_kek_stops_sealing_and_an_outage_does_not() {
    let mut desk = Desk::new(&KeyOptions::default(), 2);
    desk.generate_first(&[0, 1]);
    let poll = Call::PollVersion("payments".into());
    desk.pass(INTERVALS.version_poll);
    desk.calls();
    desk.finish(
        poll.clone(),
        Outcome::Version(Err(KmsError::Unavailable(String::new()))),
    );
    assert!(desk.told(0).is_empty());
    desk.pass(INTERVALS.version_poll);
    desk.calls();
    desk.finish(poll, Outcome::Version(Err(KmsError::KekDisabled)));
    for executor in 0..2 {
        assert_eq!(desk.told(executor), ["seal payments KekDisabled"]);
    }
    desk.seal(0, "payments");
    assert_eq!(desk.told(0), ["seal payments KekDisabled"]);
}

/// OPENED-DEKS-3
#[test]
fn a_kek_that_is_good_again_is_good_for_readers_too() {
    let mut desk = Desk::new(&KeyOptions::default(), 1);
    let (sealed, other) = (wrapped(1, 7), wrapped(2, 8));
    for asked in [&sealed, &other] {
        desk.open(0, asked, TAIL);
        assert_eq!(desk.calls().len(), 1);
        let refused = Outcome::Unwrapped(Err(KmsError::KekDisabled));
        desk.finish(Call::Unwrap(Arc::clone(asked)), refused);
    }
    assert_eq!(desk.told(0), ["open 7 KekDisabled", "open 8 KekDisabled"]);
    desk.seal(0, "payments");
    assert_eq!(desk.calls(), [Call::Generate("payments".into())]);
    desk.finish(Call::Generate("payments".into()), generated(1, 9));
    assert_eq!(desk.told(0), ["seal payments 1"]);
    // Version 1 is asked about again at once, of version 2 nothing is known.
    desk.open(0, &sealed, TAIL);
    desk.open(0, &other, TAIL);
    assert_eq!(desk.calls(), [Call::Unwrap(sealed)]);
    assert_eq!(desk.told(0), ["open 8 KekDisabled"]);
}
