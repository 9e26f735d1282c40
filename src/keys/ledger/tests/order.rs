//! Which call is made next, and which wait: for their turn, for a slot, for a KMS that wants to be left alone.

use super::*;
use crate::keys::ledger::lane::LEFT_ALONE_MAX;

#[test]
fn urgent_calls_come_first_and_always_find_a_slot() {
    let mut desk = Desk::with_calls_max(8, 1);
    for blob in 0..20 {
        desk.open(0, &wrapped(1, blob), BACKFILL);
    }
    for blob in 20..40 {
        desk.open(0, &wrapped(1, blob), TAIL);
    }
    for name in ["a", "b", "c"] {
        desk.seal(0, name);
    }
    let calls = desk.calls();
    let sealing = calls.iter().filter(|call| matches!(call, Call::Generate(_)));
    assert_eq!(sealing.count(), 3);
    assert!(matches!(calls[0], Call::Generate(_)));
    // Tailing readers fill up to three quarters; backfill starts below half.
    assert_eq!(calls.len(), 6);
    assert!(calls.contains(&Call::Unwrap(wrapped(1, 20))));
    assert!(!calls.contains(&Call::Unwrap(wrapped(1, 0))));
    // More sealing still gets through.
    desk.seal(0, "d");
    desk.seal(0, "e");
    desk.seal(0, "f");
    assert_eq!(desk.calls().len(), 2);
}

#[test]
fn a_request_that_becomes_urgent_moves_ahead_and_is_made_once() {
    let mut desk = Desk::with_calls_max(1, 2);
    desk.open(0, &wrapped(1, 0), BACKFILL);
    desk.open(0, &wrapped(1, 1), BACKFILL);
    desk.open(1, &wrapped(1, 1), TAIL);
    let mut order = Vec::new();
    while let [call] = desk.calls().as_slice() {
        order.push(call.clone());
        desk.finish(call.clone(), Outcome::Unwrapped(Ok(dek(1))));
    }
    assert_eq!(order, [Call::Unwrap(wrapped(1, 1)), Call::Unwrap(wrapped(1, 0))]);
    assert_eq!(desk.told(0), ["open 1 1", "open 0 1"]);
    assert_eq!(desk.told(1), ["open 1 1"]);
}

#[test]
fn connections_take_turns() {
    let mut desk = Desk::with_calls_max(1, 1);
    for blob in 0..3 {
        desk.open(0, &wrapped(1, blob), BACKFILL);
    }
    let other = Demand {
        connection: 77,
        ..BACKFILL
    };
    desk.open(0, &wrapped(1, 9), other);
    assert_eq!(desk.unwrap_in_order(), [0, 9, 1, 2]);
}

/// LEDGER-4: sealing, opening, rechecks and polls alike, and of this KMS only.
#[test]
fn a_kms_that_wants_to_be_left_alone_is() {
    let mut desk = Desk::new(&KeyOptions::default(), 1);
    desk.generate_first(&[0]);
    desk.open(0, &wrapped(1, 7), TAIL);
    desk.open(0, &wrapped(1, 8), TAIL);
    assert_eq!(desk.calls().len(), 2);
    let throttled = |after| Outcome::Unwrapped(Err(KmsError::Throttled { after }));
    let seconds = Duration::from_secs;
    desk.finish(Call::Unwrap(wrapped(1, 7)), throttled(seconds(5)));
    // A shorter time that comes later takes nothing away.
    desk.finish(Call::Unwrap(wrapped(1, 8)), throttled(seconds(1)));
    assert_eq!(desk.told(0), ["open 7 Unavailable", "open 8 Unavailable"]);
    desk.seal(0, "others");
    desk.open(0, &wrapped(1, 9), TAIL);
    desk.pass(INTERVALS.version_poll + INTERVALS.recheck);
    assert_eq!(desk.calls(), []);
    let elsewhere = KeyRequest::Seal {
        executor: 0,
        key: KeyId {
            kms: other_kms(),
            .."payments".into()
        },
        used_up: None,
    };
    desk.ledger.accept(elsewhere, desk.now);
    assert_eq!(desk.jobs().len(), 1, "another KMS is asked");
    desk.pass(seconds(5) - INTERVALS.version_poll - INTERVALS.recheck - Duration::from_nanos(1));
    assert_eq!(desk.calls(), []);
    desk.pass(Duration::from_nanos(1));
    assert_eq!(
        desk.calls().len(),
        4,
        "a recheck, a poll and both that were asked for meanwhile"
    );

    // However long it says.
    desk.finish(Call::Unwrap(wrapped(1, 9)), throttled(Duration::MAX));
    desk.open(0, &wrapped(1, 10), TAIL);
    desk.pass(LEFT_ALONE_MAX - Duration::from_nanos(1));
    assert_eq!(desk.calls(), []);
    desk.pass(Duration::from_nanos(1));
    assert!(desk.calls().contains(&Call::Unwrap(wrapped(1, 10))));
}

/// LEDGER-2
#[test]
fn a_stalled_kms_does_not_stall_another() {
    let mut desk = Desk::with_calls_max(2, 1);
    for name in ["a", "b", "c"] {
        desk.seal(0, name);
    }
    assert_eq!(desk.calls().len(), 2);
    let elsewhere = KeyId {
        kms: other_kms(),
        .."other".into()
    };
    let request = KeyRequest::Seal {
        executor: 0,
        key: elsewhere.clone(),
        used_up: None,
    };
    desk.ledger.accept(request, desk.now);
    assert_eq!(
        desk.jobs(),
        [Job {
            kms: other_kms(),
            call: Call::Generate(elsewhere)
        }]
    );
}
