//! Who comes to a KMS of which others want more than it may be asked.

use std::num::NonZeroU32;

use super::super::turns::CALLS_TO_A_TURN;
use super::*;

const A_TURN: usize = CALLS_TO_A_TURN as usize;

/// One that may be asked ten times a second.
fn slow(calls_max: usize) -> Desk {
    let budget = CallBudget {
        calls_max,
        per_second_max: NonZeroU32::new(10),
    };
    Desk::with_budget(&without_grace(), budget, 1)
}

fn is_check(call: &Call) -> bool {
    matches!(call, Call::Recheck(_) | Call::PollVersion(_))
}

/// CALL-TURNS-1: a client names a KEK that is not there with each request, more of them than may be asked for.
#[test]
fn who_names_kek_after_kek_keeps_neither_checks_nor_readers_from_their_kms() {
    for calls_max in [2, 64] {
        let mut desk = slow(calls_max);
        desk.generate_first(&[0]);
        let mut begun = Vec::new();
        for number in 0..A_TURN * 8 {
            for kek in [2 * number, 2 * number + 1] {
                desk.seal(0, &format!("missing-{kek}"));
            }
            let blob = 100 + u32::try_from(number).expect("a few");
            desk.open(0, &wrapped(1, blob), TAIL);
            desk.open(0, &wrapped(1, 1000 + blob), BACKFILL);
            desk.pass(Duration::from_millis(100));
            for call in desk.calls() {
                let answer = match &call {
                    Call::Generate(_) => Outcome::Generated(Err(KmsError::KekNotFound)),
                    call => good_answer(call, 0),
                };
                desk.finish(call.clone(), answer);
                begun.push(call);
            }
        }
        let asked = |blob: u32| {
            let first = wrapped(1, blob);
            begun
                .iter()
                .position(|call| *call == Call::Unwrap(Arc::clone(&first)))
        };
        for blob in [100, 1100] {
            let at = asked(blob).expect("it is unwrapped");
            assert!(at <= A_TURN + 3, "{blob} only after {at} calls");
        }
        // The DEK is compared, then its version rechecked and polled each second.
        let checks = begun.iter().filter(|call| is_check(call)).count();
        assert!(checks >= 6, "{checks} of {}", begun.len());
        let made = begun
            .iter()
            .filter(|call| matches!(call, Call::Generate(_)))
            .count();
        assert!(
            made * 2 > begun.len(),
            "most are still for those that seal: {made}"
        );
    }
}

/// CALL-TURNS-1: where fewer calls may begin than rechecks are due.
#[test]
fn rechecks_that_use_a_rate_up_leave_readers_their_turn() {
    let mut desk = slow(64);
    let versions = 1..=30;
    for version in versions.clone() {
        desk.open(0, &wrapped(version, 0), TAIL);
    }
    let (mut begun, mut steps) = (0, 0);
    while begun < versions.len() {
        desk.pass(Duration::from_millis(100));
        steps += 1;
        assert!(
            steps <= versions.len() * A_TURN,
            "{begun} of them after {steps} calls"
        );
        for call in desk.calls() {
            begun += usize::from(matches!(call, Call::Unwrap(_)));
            let answer = good_answer(&call, 0);
            desk.finish(call, answer);
        }
    }
    for (blob, demand) in [(200, TAIL), (201, BACKFILL)] {
        desk.open(0, &wrapped(1, blob), demand);
        let mut before = 0;
        'asked: loop {
            desk.pass(Duration::from_millis(100));
            for call in desk.calls() {
                let answer = good_answer(&call, 0);
                let is_it = call == Call::Unwrap(wrapped(1, blob));
                desk.finish(call, answer);
                if is_it {
                    break 'asked;
                }
                before += 1;
                assert!(before <= A_TURN, "{blob} waits");
            }
        }
        assert!(before > 0, "rechecks go first");
    }
}

/// CALL-TURNS-1: those that seal hold every slot, and take each that is free again.
#[test]
fn a_check_has_its_turn_in_whichever_slot_is_free() {
    let mut desk = Desk::with_calls_max(8, 1);
    desk.generate_first(&[0]);
    for number in 0..100 {
        desk.seal(0, &format!("missing-{number}"));
    }
    let mut running = desk.calls();
    assert_eq!(running.len(), 8);
    desk.pass(INTERVALS.recheck);
    for ended in 1.. {
        let call = running.remove(0);
        let refused = Outcome::Generated(Err(KmsError::KekNotFound));
        desk.finish(call, refused);
        running.extend(desk.calls());
        if running.iter().any(is_check) {
            break;
        }
        assert!(ended < A_TURN, "no check after {ended} calls");
    }
}
