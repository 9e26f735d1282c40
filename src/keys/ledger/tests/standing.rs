//! What the metrics page is told.

use super::*;
use crate::keys::ledger::breaker::OUTAGES_TO_OPEN;

fn standing(desk: &Desk) -> KmsStanding {
    desk.ledger.standing(this_kms(), desk.now)
}

#[test]
fn a_sealing_key_is_told_of_with_its_age_and_use() {
    let mut desk = Desk::new(&KeyOptions::default(), 2);
    assert!(standing(&desk).sealing.is_empty());
    let known = desk.generate_first(&[0, 1]);
    desk.now += Duration::from_secs(60);
    desk.used(0, &known, 3, 300);
    desk.used(1, &known, 4, 40);
    let told = standing(&desk);
    let [dek] = &told.sealing[..] else {
        panic!("{told:?}");
    };
    assert_eq!((&*dek.kek, dek.batches, dek.bytes), ("payments", 7, 340));
    assert_eq!(dek.age, Duration::from_secs(60));
    assert_eq!(dek.age + dek.left, KeyOptions::default().dek.age_max);
}

#[test]
fn calls_that_wait_run_or_are_spared_and_keys_that_are_remembered_are_counted() {
    let mut desk = Desk::new(&KeyOptions::default(), 1);
    desk.open(0, &wrapped(1, 1), TAIL);
    desk.open(0, &wrapped(1, 2), BACKFILL);
    desk.seal(0, "orders");
    assert_eq!((standing(&desk).waiting, standing(&desk).running), (3, 0));
    let calls = desk.calls();
    assert_eq!((standing(&desk).waiting, standing(&desk).running), (0, 3));
    for call in calls {
        match &call {
            Call::Unwrap(_) => desk.finish(call, Outcome::Unwrapped(Ok(dek(1)))),
            _ => desk.finish(call, Outcome::Generated(Err(KmsError::KekNotFound))),
        };
    }
    assert_eq!((standing(&desk).opened, standing(&desk).opened_hits), (2, 0));
    desk.open(0, &wrapped(1, 1), TAIL);
    assert_eq!((standing(&desk).opened, standing(&desk).opened_hits), (2, 1));

    assert_eq!(standing(&desk).spared, 0);
    for blob in 100..101 + OUTAGES_TO_OPEN {
        desk.open(0, &wrapped(1, blob), TAIL);
    }
    // The last one of these is not begun any more.
    for call in desk
        .calls()
        .into_iter()
        .take(usize::try_from(OUTAGES_TO_OPEN).expect("small"))
    {
        desk.finish(
            call,
            Outcome::Unwrapped(Err(KmsError::Unavailable(String::new()))),
        );
    }
    desk.open(0, &wrapped(1, 200), TAIL);
    assert_eq!(standing(&desk).breaker, BreakerState::Open);
    assert_eq!(standing(&desk).spared, 1);
}
