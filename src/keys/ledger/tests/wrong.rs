//! A KMS that unwraps another DEK than it has made, or than it has unwrapped before.

use super::*;

/// Rechecks are rarer than a new DEK is proved.
const SELDOM: Intervals = Intervals {
    recheck: Duration::from_secs(300),
    version_poll: Duration::from_secs(1000),
    ..INTERVALS
};
/// When a new DEK is proved, without anything drawn.
const PROVED_AFTER: Duration = Duration::from_secs(4);

fn seldom(options: &KeyOptions, executors: usize) -> Desk {
    let mut desk = Desk::new(options, executors);
    desk.ledger = Ledger::new(options, &[(this_kms(), SELDOM)], executors);
    desk
}

fn generate() -> Call {
    Call::Generate("payments".into())
}

fn right() -> Outcome {
    Outcome::Rechecked(Ok(dek(1)))
}

fn wrong() -> Outcome {
    Outcome::Rechecked(Ok(dek(77)))
}

fn refused(error: KmsError) -> Outcome {
    Outcome::Rechecked(Err(error))
}

fn sealed_for(time: Duration) -> Option<FindingKind> {
    Some(FindingKind::WrongDek(WrongDek::Sealed(time)))
}

/// A DEK that two executors seal with was found to be wrong.
fn doubted(options: &KeyOptions) -> Desk {
    let mut desk = seldom(options, 2);
    let recheck = Call::Recheck(desk.generate_first(&[0, 1]));
    desk.pass(PROVED_AFTER);
    assert_eq!(desk.calls(), std::slice::from_ref(&recheck));
    assert_eq!(desk.find(recheck, wrong()), sealed_for(PROVED_AFTER));
    for executor in 0..2 {
        assert_eq!(desk.told(executor), ["released payments"]);
    }
    desk
}

/// PROOF-1: one call for each DEK that is made, and nothing follows.
#[test]
fn a_dek_that_is_right_is_compared_once_soon_after_its_making() {
    let mut desk = seldom(&KeyOptions::default(), 2);
    let made = desk.generate_first(&[0, 1]);
    let recheck = Call::Recheck(Arc::clone(&made));
    desk.pass(PROVED_AFTER - Duration::from_nanos(1));
    assert_eq!(desk.calls(), []);
    desk.pass(Duration::from_nanos(1));
    assert_eq!(desk.calls(), std::slice::from_ref(&recheck));
    assert_eq!(desk.find(recheck.clone(), right()), None);
    desk.pass(SELDOM.recheck - Duration::from_nanos(1));
    assert_eq!(desk.calls(), []);
    // The next one under the same version is proved too, and its version is rechecked by it then.
    desk.seal_after(0, "payments", Some(made));
    assert_eq!(desk.calls(), [generate()]);
    desk.finish(generate(), generated(1, 1));
    desk.pass(Duration::from_nanos(1));
    let next = Call::Recheck(wrapped(1, 1));
    assert_eq!(desk.calls(), std::slice::from_ref(&next));
    assert_eq!(desk.find(next, right()), None);
    desk.pass(PROVED_AFTER);
    assert_eq!(desk.calls(), []);
    for executor in 0..2 {
        assert_eq!(desk.told(executor), ["seal payments 1"]);
    }
}

/// PROOF-2: whatever was wrong, the making or the unwrapping; other DEKs and versions stay.
#[test]
fn a_dek_that_is_wrong_seals_no_more_on_any_executor() {
    for answer in [wrong, || refused(KmsError::Malformed)] {
        let mut desk = seldom(&KeyOptions::default(), 3);
        let made = desk.generate_first(&[0, 1]);
        desk.seal(2, "orders");
        desk.open(2, &wrapped(2, 8), TAIL);
        for call in desk.calls() {
            let outcome = match &call {
                Call::Unwrap(_) => Outcome::Unwrapped(Ok(dek(2))),
                _ => generated(3, 5),
            };
            desk.finish(call, outcome);
        }
        desk.told(2);
        desk.pass(PROVED_AFTER);
        assert_eq!(desk.calls().len(), 2, "what only opens is not concerned");
        let found = desk.find(Call::Recheck(Arc::clone(&made)), answer());
        assert_eq!(found, sealed_for(PROVED_AFTER));
        for executor in 0..2 {
            assert_eq!(desk.told(executor), ["released payments"]);
        }
        // What was sealed opens with the one that sealed it.
        desk.open(0, &made, TAIL);
        desk.open(1, &wrapped(2, 8), TAIL);
        desk.seal(1, "orders");
        assert_eq!(desk.told(0), ["open 0 1"]);
        assert_eq!(desk.told(1), ["open 8 2", "seal orders 3"]);
        assert_eq!(desk.told(2), Vec::<String>::new());
        assert_eq!(desk.calls(), []);
    }
}

/// PROOF-3
#[test]
fn what_a_kms_makes_that_has_lied_is_proved_before_it_seals() {
    let mut desk = doubted(&KeyOptions::default());
    desk.seal(0, "payments");
    assert_eq!(desk.calls(), [generate()]);
    desk.finish(generate(), generated(1, 1));
    let proof = Call::Recheck(wrapped(1, 1));
    assert_eq!(desk.calls(), std::slice::from_ref(&proof));
    desk.seal(1, "payments");
    for executor in 0..2 {
        assert_eq!(desk.told(executor), Vec::<String>::new(), "it waits");
    }
    let made = FindingKind::Made { before: None };
    assert_eq!(desk.find(proof, right()), Some(made));
    for executor in 0..2 {
        assert_eq!(desk.told(executor), ["seal payments 1"]);
    }
    desk.open(0, &wrapped(1, 1), TAIL);
    assert_eq!(desk.told(0), ["open 1 1"]);
    desk.pass(PROVED_AFTER);
    assert_eq!(desk.calls(), [], "it is proved once");
    // Of another KEK too.
    desk.seal(0, "orders");
    desk.calls();
    desk.finish(Call::Generate("orders".into()), generated(2, 9));
    assert_eq!(desk.calls(), [Call::Recheck(wrapped(2, 9))]);
    assert_eq!(desk.told(0), Vec::<String>::new());
}

/// PROOF-3: it is asked for one no sooner than after a verdict, however often producers ask, who get what an outage
/// gets.
#[test]
fn a_kms_that_lies_always_is_not_asked_in_a_loop() {
    let options = KeyOptions::default();
    let mut desk = doubted(&options);
    for round in 1..4 {
        desk.seal(0, "payments");
        assert_eq!(desk.calls(), [generate()], "{round}");
        desk.finish(generate(), generated(1, round));
        let proof = Call::Recheck(wrapped(1, round));
        assert_eq!(desk.calls(), std::slice::from_ref(&proof));
        let found = desk.find(proof, wrong());
        assert_eq!(found, Some(FindingKind::WrongDek(WrongDek::Unused)));
        assert_eq!(desk.told(0), ["seal payments Unavailable"]);
        desk.pass(options.verdict_memory - Duration::from_nanos(1));
        desk.seal(0, "payments");
        assert_eq!(desk.told(0), ["seal payments Unavailable"]);
        assert_eq!(desk.calls(), []);
        desk.pass(Duration::from_nanos(1));
    }
    // Nothing was given out for opening either.
    desk.open(0, &wrapped(1, 3), TAIL);
    assert_eq!(desk.calls(), [Call::Unwrap(wrapped(1, 3))]);
}

/// PROOF-3, LEDGER-1, LEDGER-3
#[test]
fn whoever_waits_for_a_proof_is_answered_whatever_comes_of_it() {
    for (outcome, told) in [
        (KmsError::Unavailable(String::new()), "seal payments Unavailable"),
        (KmsError::KekDenied(String::new()), "seal payments KekDenied"),
        (KmsError::KekDisabled, "seal payments KekDisabled"),
    ] {
        let mut desk = doubted(&KeyOptions::default());
        desk.seal(0, "payments");
        desk.calls();
        desk.finish(generate(), generated(1, 1));
        desk.calls();
        desk.find(Call::Recheck(wrapped(1, 1)), refused(outcome));
        assert_eq!(desk.told(0).first().map(String::as_str), Some(told));
    }
    // The machine slept meanwhile: another one is made.
    let mut desk = doubted(&KeyOptions::default());
    desk.seal(0, "payments");
    desk.calls();
    desk.finish(generate(), generated(1, 1));
    desk.calls();
    desk.ledger.drop_sealing();
    desk.find(Call::Recheck(wrapped(1, 1)), right());
    assert_eq!(desk.told(0), Vec::<String>::new());
    assert_eq!(desk.calls(), [generate()]);
    // The KMS went away meanwhile.
    desk.finish(generate(), generated(1, 2));
    for blob in 100..110 {
        desk.open(1, &wrapped(1, blob), TAIL);
    }
    for call in desk.calls() {
        if let Call::Unwrap(_) = call {
            let outage = call.outage("away");
            desk.finish(call, outage);
        }
    }
    assert_eq!(desk.told(0), ["seal payments Unavailable"]);
}

/// PROOF-1: seconds after an outage, and until it is answered.
#[test]
fn a_proof_that_an_outage_kept_away_is_asked_for_again_soon() {
    let mut desk = seldom(&KeyOptions::default(), 1);
    let recheck = Call::Recheck(desk.generate_first(&[0]));
    for answer in [
        Some(KmsError::Unavailable(String::new())),
        Some(KmsError::CredentialsRefused(String::new())),
        None,
    ] {
        desk.pass(PROVED_AFTER - Duration::from_nanos(1));
        assert_eq!(desk.calls(), []);
        desk.pass(Duration::from_nanos(1));
        assert_eq!(desk.calls(), std::slice::from_ref(&recheck));
        assert_eq!(
            desk.find(recheck.clone(), answer.map_or_else(right, refused)),
            None
        );
    }
    desk.pass(PROVED_AFTER);
    assert_eq!(desk.calls(), []);
    assert_eq!(desk.told(0), Vec::<String>::new());
}

/// A KMS that lets us make keys and unwrap none, or has replicas that hear of versions late: as without a proof, the
/// recheck that is due in its time decides.
#[test]
fn a_refused_proof_revokes_only_what_is_refused_for_certain() {
    let missing = KmsError::KekVersionNotFound("1".to_owned());
    for (error, revoked) in [
        (KmsError::KekDenied(String::new()), false),
        (missing, false),
        (KmsError::KekDisabled, true),
        (KmsError::KekDestroyed, true),
        (KmsError::KekNotFound, true),
    ] {
        let mut desk = seldom(&KeyOptions::default(), 1);
        let recheck = Call::Recheck(desk.generate_first(&[0]));
        desk.pass(PROVED_AFTER);
        assert_eq!(desk.calls(), std::slice::from_ref(&recheck));
        assert_eq!(
            desk.finish(recheck.clone(), refused(error.clone())),
            revoked,
            "{error}"
        );
        assert_eq!(desk.told(0).is_empty(), !revoked);
        if revoked {
            continue;
        }
        // Another one is made meanwhile: that puts off nothing.
        desk.pass(SELDOM.recheck - 2 * PROVED_AFTER);
        desk.seal_after(0, "payments", Some(wrapped(1, 0)));
        desk.calls();
        desk.finish(generate(), generated(1, 1));
        desk.told(0);
        desk.pass(PROVED_AFTER - Duration::from_nanos(1));
        assert_eq!(desk.calls(), []);
        desk.pass(Duration::from_nanos(1));
        let recheck = Call::Recheck(wrapped(1, 1));
        assert_eq!(desk.calls(), std::slice::from_ref(&recheck));
        assert!(desk.finish(recheck, refused(error)));
        assert_eq!(desk.told(0), ["revoked 1"]);
    }
}

/// One that was unwrapped for a reader: nobody knows which answer was the right one, so the next one is asked for.
#[test]
fn an_opened_dek_that_is_another_one_now_is_unwrapped_anew() {
    let mut desk = seldom(&KeyOptions::default(), 2);
    let (known, other) = (wrapped(1, 7), wrapped(1, 8));
    for asked in [&known, &other] {
        desk.open(0, asked, TAIL);
        desk.calls();
        desk.finish(Call::Unwrap(Arc::clone(asked)), Outcome::Unwrapped(Ok(dek(5))));
    }
    desk.told(0);
    let recheck = Call::Recheck(Arc::clone(&known));
    desk.pass(SELDOM.recheck);
    assert_eq!(desk.calls(), std::slice::from_ref(&recheck));
    assert_eq!(desk.find(recheck.clone(), Outcome::Rechecked(Ok(dek(5)))), None);
    desk.pass(SELDOM.recheck);
    desk.calls();
    let found = desk.find(recheck, wrong());
    assert_eq!(found, Some(FindingKind::WrongDek(WrongDek::Opened)));
    // The whole of it: of its version no other one is taken away.
    for executor in 0..2 {
        let told = desk.replies(executor);
        assert!(matches!(&told[..], [KeyReply::Revoked { prefix }] if *prefix == known));
    }
    desk.open(0, &other, TAIL);
    assert_eq!(desk.told(0), ["open 8 5"]);
    desk.open(0, &known, TAIL);
    assert_eq!(desk.calls(), [Call::Unwrap(known)]);
}
