//! When a KMS is asked again, and whom a call concerns that was under way.

use super::*;

fn unavailable() -> KmsError {
    KmsError::Unavailable(String::new())
}

#[test]
fn polls_and_rechecks_come_one_interval_after_another() {
    let mut desk = Desk::new(&KeyOptions::default(), 1);
    let known = desk.generate_first(&[0]);
    let poll = Call::PollVersion("payments".into());
    let recheck = Call::Recheck(known);
    for round in 0..3 {
        desk.pass(INTERVALS.recheck - Duration::from_nanos(1));
        assert_eq!(desk.calls(), [], "round {round}");
        desk.pass(Duration::from_nanos(1));
        assert_eq!(desk.calls(), [recheck.clone(), poll.clone()], "round {round}");
        // Not twice at a time, however long they take.
        desk.pass(INTERVALS.recheck);
        assert_eq!(desk.calls(), [], "round {round}");
        assert!(!desk.finish(recheck.clone(), Outcome::Rechecked(Ok(dek(1)))));
        assert!(!desk.finish(poll.clone(), Outcome::Version(Ok(Some(vec![1])))));
    }
    assert_eq!(desk.told(0), Vec::<String>::new());
}

/// SEALING-DEKS-3: nor does it keep the next DEK from those who need one.
#[test]
fn an_outage_of_a_poll_is_not_remembered() {
    let mut desk = Desk::new(&KeyOptions::default(), 1);
    let used_up = desk.generate_first(&[0]);
    desk.pass(INTERVALS.version_poll);
    let poll = Call::PollVersion("payments".into());
    assert!(desk.calls().contains(&poll));
    desk.finish(poll, Outcome::Version(Err(unavailable())));
    desk.seal_after(0, "payments", Some(used_up));
    assert_eq!(desk.calls(), [Call::Generate("payments".into())]);
}

#[test]
fn a_verdict_is_remembered_no_longer_than_its_kms_can_take() {
    let options = KeyOptions::default();
    let intervals = Intervals {
        verdict_memory: options.verdict_memory / 2,
        ..INTERVALS
    };
    let mut desk = Desk::new(&options, 1);
    desk.ledger = Ledger::new(&options, &[(this_kms(), intervals)], 1);
    desk.open(0, &wrapped(1, 7), TAIL);
    assert_eq!(desk.calls().len(), 1);
    let disabled = Outcome::Unwrapped(Err(KmsError::KekDisabled));
    assert!(!desk.finish(Call::Unwrap(wrapped(1, 7)), disabled));
    desk.pass(intervals.verdict_memory);
    desk.open(0, &wrapped(1, 7), TAIL);
    assert_eq!(desk.calls(), [Call::Unwrap(wrapped(1, 7))]);
}

/// LEDGER-2: each KMS has its turn, however much another one is asked.
#[test]
fn kmss_take_turns() {
    let mut desk = Desk::new(&KeyOptions::default(), 1);
    for name in ["a", "b"] {
        for kms in [this_kms(), other_kms()] {
            let key = KeyId { kms, ..name.into() };
            let request = KeyRequest::Seal {
                executor: 0,
                key,
                used_up: None,
            };
            desk.ledger.accept(request, desk.now);
        }
    }
    let order: Vec<KmsId> = desk.jobs().into_iter().map(|job| job.kms).collect();
    assert_eq!(order, [this_kms(), other_kms(), this_kms(), other_kms()]);
}

#[test]
fn connections_of_two_executors_are_not_taken_for_one() {
    let mut desk = Desk::with_calls_max(1, 2);
    for blob in 0..2 {
        desk.open(0, &wrapped(1, blob), BACKFILL);
    }
    desk.open(1, &wrapped(1, 9), BACKFILL);
    assert_eq!(desk.unwrap_in_order(), [0, 9, 1]);
}

#[test]
fn asking_again_for_what_is_waited_for_costs_a_connection_no_turn() {
    let mut desk = Desk::with_calls_max(1, 1);
    for blob in [0, 0, 0, 1] {
        desk.open(0, &wrapped(1, blob), BACKFILL);
    }
    for blob in [9, 8] {
        let other = Demand {
            connection: 77,
            ..BACKFILL
        };
        desk.open(0, &wrapped(1, blob), other);
    }
    assert_eq!(desk.unwrap_in_order(), [0, 9, 1, 8]);
}

/// LEDGER-3: a revocation concerns what is under way under its version, and nothing else.
#[test]
fn only_calls_under_way_under_a_revoked_version_are_made_again() {
    // Two calls for anything but sealing.
    let mut desk = Desk::with_calls_max(3, 1);
    let known = desk.generate_first(&[0]);
    desk.pass(INTERVALS.recheck);
    let (recheck, poll) = (Call::Recheck(known), Call::PollVersion("payments".into()));
    assert_eq!(desk.calls(), [recheck.clone(), poll.clone()]);
    desk.finish(poll, Outcome::Version(Ok(None)));
    let (of_another_version, in_the_queue) = (wrapped(2, 5), wrapped(1, 6));
    desk.open(0, &of_another_version, TAIL);
    desk.open(0, &in_the_queue, TAIL);
    assert_eq!(desk.calls(), [Call::Unwrap(Arc::clone(&of_another_version))]);
    desk.finish(recheck, Outcome::Rechecked(Err(KmsError::KekDisabled)));
    desk.finish(Call::Unwrap(of_another_version), Outcome::Unwrapped(Ok(dek(2))));
    assert_eq!(desk.told(0), ["revoked 1", "open 5 2"]);
    assert_eq!(desk.calls(), [Call::Unwrap(Arc::clone(&in_the_queue))]);
    desk.finish(Call::Unwrap(in_the_queue), Outcome::Unwrapped(Ok(dek(1))));
    assert_eq!(desk.told(0), ["open 6 1"]);
    assert_eq!(desk.calls(), []);
}

/// LEDGER-3: two revocations while one call is under way do not cancel each other out.
#[test]
fn what_is_distrusted_stays_distrusted_and_a_refusal_is_believed() {
    let mut desk = Desk::new(&KeyOptions::default(), 1);
    desk.seal(0, "payments");
    desk.open(0, &wrapped(1, 6), TAIL);
    assert_eq!(desk.calls().len(), 2);
    desk.ledger.drop_sealing();
    desk.ledger.drop_sealing();
    let generate = Call::Generate("payments".into());
    desk.finish(generate.clone(), generated(1, 1));
    assert_eq!(desk.told(0), Vec::<String>::new());
    assert_eq!(desk.calls(), std::slice::from_ref(&generate));
    // Under way again, and of a version that is revoked now: what the KMS refuses needs no second question.
    desk.open(0, &wrapped(1, 7), TAIL);
    desk.finish(Call::Unwrap(wrapped(1, 6)), Outcome::Unwrapped(Ok(dek(1))));
    assert_eq!(desk.calls(), [Call::Unwrap(wrapped(1, 7))]);
    let revoked = Outcome::Rechecked(Err(KmsError::KekDisabled));
    assert!(desk.finish(Call::Recheck(wrapped(1, 6)), revoked));
    let refused = Outcome::Unwrapped(Err(KmsError::KekDisabled));
    desk.finish(Call::Unwrap(wrapped(1, 7)), refused);
    desk.finish(generate, Outcome::Generated(Err(unavailable())));
    let told = [
        "open 6 1",
        "revoked 1",
        "open 7 KekDisabled",
        "seal payments Unavailable",
    ];
    assert_eq!(desk.told(0), told);
    assert_eq!(desk.calls(), []);
}

/// OPENED-DEKS-2: a version is in use while its keys are asked for or sealed with.
#[test]
fn the_idlest_version_makes_room() {
    let options = KeyOptions {
        versions_max: 2,
        ..KeyOptions::default()
    };
    type Use = fn(&mut Desk);
    let uses: [Use; 2] = [
        |desk| desk.open(0, &wrapped(1, 0), TAIL),
        |desk| desk.used(0, &wrapped(1, 0), 1, 1),
    ];
    for use_the_first in uses {
        let mut desk = Desk::new(&options, 1);
        for version in 1..=3 {
            if version == 3 {
                use_the_first(&mut desk);
            }
            desk.open(0, &wrapped(version, 0), TAIL);
            assert_eq!(desk.calls().len(), 1);
            let call = Call::Unwrap(wrapped(version, 0));
            assert!(!desk.finish(call, Outcome::Unwrapped(Ok(dek(version)))));
        }
        assert_eq!(desk.told(0).last().map(String::as_str), Some("revoked 2"));
    }
}

#[test]
fn names_reach_every_executor_before_the_keys_behind_them_and_replies_keep_their_order() {
    let mut desk = Desk::new(&KeyOptions::default(), 2);
    desk.ledger
        .push_kek_names(this_kms(), KekNames::as_written(1, [9; 4]));
    for executor in 0..2 {
        desk.seal(executor, "payments");
    }
    for call in desk.calls() {
        assert!(!desk.finish(call, generated(1, 0)));
    }
    let first = desk.ledger.pop_reply(0);
    assert!(matches!(first, Some(KeyReply::KekNames { kms, .. }) if kms == this_kms()));
    desk.ledger.unpop_reply(0, first.unwrap());
    for executor in 0..2 {
        assert_eq!(desk.told(executor), ["names", "seal payments 1"]);
    }
}
