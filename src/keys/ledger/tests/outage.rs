//! How long keys are used on while their KMS confirms nothing.

use super::*;

fn unavailable() -> KmsError {
    KmsError::Unavailable(String::new())
}

/// A grace of ten rechecks.
fn graceful() -> KeyOptions {
    KeyOptions {
        outage_grace: INTERVALS.recheck * 10,
        ..KeyOptions::default()
    }
}

/// Ends every call that may be made now as an outage.
fn fail_all(desk: &mut Desk, error: &KmsError) {
    for call in desk.calls() {
        let outcome = match &call {
            Call::Generate(_) => Outcome::Generated(Err(error.clone())),
            Call::Unwrap(_) => Outcome::Unwrapped(Err(error.clone())),
            Call::Recheck(_) => Outcome::Rechecked(Err(error.clone())),
            Call::PollVersion(_) => Outcome::Version(Err(error.clone())),
        };
        assert!(!desk.finish(call, outcome), "an outage revokes nothing");
    }
}

/// KEYS-7: past its soft age too; then it is an outage for all, until the first answer.
#[test]
fn what_is_warm_goes_on_through_an_outage_until_the_grace_is_over() {
    for error in [
        unavailable(),
        KmsError::CredentialsRefused(String::new()),
        KmsError::Throttled {
            after: Duration::from_millis(100),
        },
    ] {
        let mut options = graceful();
        options.dek.age_max = options.outage_grace * 2 / 3;
        let mut desk = Desk::new(&options, 2);
        let key = desk.generate_first(&[0, 1]);
        desk.used(0, &key, 1, 1);
        let over = desk.now + options.outage_grace;
        let step = Duration::from_millis(250);
        while desk.now + step < over {
            desk.pass(step);
            fail_all(&mut desk, &error);
            desk.seal(0, "payments");
            desk.open(1, &key, TAIL);
            assert_eq!(desk.told(0), ["seal payments 1"], "{error:?}");
            assert_eq!(desk.told(1), ["open 0 1"]);
        }
        desk.pass(over - desk.now);
        for executor in 0..2 {
            assert_eq!(desk.told(executor), ["revoked 1"]);
        }
        desk.pass(options.outage_memory);
        desk.seal(0, "payments");
        desk.open(1, &key, TAIL);
        fail_all(&mut desk, &error);
        assert_eq!(desk.told(0), ["seal payments Unavailable"]);
        assert_eq!(desk.told(1), ["open 0 Unavailable"]);
        // The first answers make all good, within seconds.
        let (back_at, mut good) = (desk.now, [false; 2]);
        while good != [true; 2] {
            assert!(desk.now - back_at < Duration::from_secs(6), "{error:?}");
            desk.pass(step);
            desk.seal(0, "payments");
            desk.open(1, &key, TAIL);
            for call in desk.calls() {
                let answer = match &call {
                    Call::Generate(_) => generated(1, 9),
                    Call::Unwrap(_) => Outcome::Unwrapped(Ok(dek(1))),
                    Call::Recheck(_) => Outcome::Rechecked(Ok(dek(1))),
                    Call::PollVersion(_) => Outcome::Version(Ok(None)),
                };
                desk.finish(call, answer);
            }
            good[0] |= desk.told(0).contains(&"seal payments 1".to_owned());
            good[1] |= desk.told(1).contains(&"open 0 1".to_owned());
        }
    }
}

/// OPENED-DEKS-5
#[test]
fn making_unwrapping_and_rechecking_confirm_a_version_and_nothing_else_does() {
    type Confirm = fn(&mut Desk, &Arc<[u8]>);
    let confirmations: [(Confirm, bool); 5] = [
        (
            |desk, _| {
                desk.seal(0, "orders");
                desk.calls();
                desk.finish(Call::Generate("orders".into()), generated(1, 5));
            },
            true,
        ),
        (
            |desk, _| {
                desk.open(0, &wrapped(1, 6), TAIL);
                desk.calls();
                desk.finish(Call::Unwrap(wrapped(1, 6)), Outcome::Unwrapped(Ok(dek(1))));
            },
            true,
        ),
        (
            |desk, key| {
                desk.calls();
                desk.finish(Call::Recheck(Arc::clone(key)), Outcome::Rechecked(Ok(dek(1))));
            },
            true,
        ),
        (
            |desk, key| {
                desk.calls();
                let altered = Outcome::Rechecked(Err(KmsError::Malformed));
                desk.finish(Call::Recheck(Arc::clone(key)), altered);
            },
            false,
        ),
        (
            |desk, key| {
                // Of another version, and what is at hand.
                desk.open(0, &wrapped(2, 6), TAIL);
                desk.calls();
                desk.finish(Call::Unwrap(wrapped(2, 6)), Outcome::Unwrapped(Ok(dek(2))));
                desk.open(0, key, TAIL);
            },
            false,
        ),
    ];
    for (number, (confirm, confirms)) in confirmations.into_iter().enumerate() {
        let options = graceful();
        let mut desk = Desk::new(&options, 1);
        let key = desk.generate_first(&[0]);
        desk.pass(INTERVALS.recheck);
        confirm(&mut desk, &key);
        desk.told(0);
        desk.pass(options.outage_grace - Duration::from_nanos(1));
        let lapsed = desk.told(0).contains(&"revoked 1".to_owned());
        assert_eq!(lapsed, !confirms, "{number}");
        desk.pass(Duration::from_nanos(1));
        assert_eq!(
            desk.told(0).contains(&"revoked 1".to_owned()),
            confirms,
            "{number}"
        );
    }
}

/// OPENED-DEKS-5: within seconds, however seldom its KMS is asked otherwise.
#[test]
fn what_could_not_be_rechecked_is_rechecked_again_soon() {
    let seldom = Intervals {
        recheck: Duration::from_secs(300),
        version_poll: Duration::from_secs(1000),
        ..INTERVALS
    };
    let options = KeyOptions {
        spread_seed: 1,
        ..KeyOptions::default()
    };
    for (outcome, soon) in [
        (Err(unavailable()), true),
        (Err(KmsError::Malformed), false),
        (Ok(dek(1)), false),
    ] {
        let mut desk = Desk::new(&options, 1);
        desk.ledger = Ledger::new(&options, &[(this_kms(), seldom)], 1);
        let recheck = Call::Recheck(desk.generate_first(&[0]));
        desk.pass(seldom.recheck);
        assert_eq!(desk.calls(), std::slice::from_ref(&recheck));
        desk.finish(recheck.clone(), Outcome::Rechecked(outcome));
        desk.pass(Duration::from_secs(2));
        assert_eq!(desk.calls(), [], "not at once");
        desk.pass(Duration::from_secs(2));
        assert_eq!(desk.calls() == [recheck], soon);
    }
}

/// OPENED-DEKS-5: a grace that is shorter than the interval takes nothing from a KMS that answers.
#[test]
fn a_short_grace_asks_more_often() {
    let options = KeyOptions {
        outage_grace: INTERVALS.recheck / 2,
        ..KeyOptions::default()
    };
    let mut desk = Desk::new(&options, 1);
    let recheck = Call::Recheck(desk.generate_first(&[0]));
    for _ in 0..20 {
        desk.pass(options.outage_grace / 4);
        assert!(desk.calls().contains(&recheck));
        desk.finish(recheck.clone(), Outcome::Rechecked(Ok(dek(1))));
    }
    assert_eq!(desk.told(0), Vec::<String>::new());
}

/// KEYS-7: the clock stands still while the machine sleeps, and a revocation does not.
#[test]
fn time_that_the_machine_slept_counts() {
    for (slept, lapses) in [(Duration::ZERO, false), (Duration::from_nanos(1), true)] {
        let options = graceful();
        let mut desk = Desk::new(&options, 1);
        desk.open(0, &wrapped(1, 7), TAIL);
        desk.calls();
        desk.finish(Call::Unwrap(wrapped(1, 7)), Outcome::Unwrapped(Ok(dek(1))));
        desk.told(0);
        let slept = options.outage_grace - Duration::from_millis(1) - Duration::from_nanos(1) + slept;
        desk.ledger.slept(slept, desk.now);
        desk.pass(Duration::from_millis(1));
        assert_eq!(desk.told(0).is_empty(), !lapses);
        if !lapses {
            assert_eq!(
                desk.calls(),
                [Call::Recheck(wrapped(1, 7))],
                "it is asked for at once"
            );
        }
    }
}
