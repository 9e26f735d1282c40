//! What a KMS is asked while it is away, and how much of it may be asked at all.

use std::num::NonZeroU32;

use super::super::breaker::{ASKED_AGAIN_AFTER, OUTAGES_TO_OPEN};
use super::*;

/// As much time as a breaker waits at most.
const DELAY_MAX: Duration = Duration::from_millis(500);

fn outage() -> Outcome {
    Outcome::Unwrapped(Err(KmsError::Unavailable(String::new())))
}

/// Executor 0 holds a DEK, and its KMS is away: as many calls as it takes have failed.
fn away(options: &KeyOptions) -> (Desk, Arc<[u8]>) {
    let mut desk = Desk::new(options, 2);
    let known = desk.generate_first(&[0]);
    for blob in 100..100 + OUTAGES_TO_OPEN {
        desk.open(0, &wrapped(1, blob), TAIL);
    }
    for call in desk.calls() {
        desk.finish(call, outage());
    }
    desk.told(0);
    let standing = desk.ledger.standing(this_kms(), desk.now);
    assert_eq!((standing.running, standing.breaker), (0, BreakerState::Open));
    (desk, known)
}

/// LEDGER-5: while what is at hand goes on.
#[test]
fn while_a_kms_is_away_nobody_waits_for_it() {
    let (mut desk, known) = away(&KeyOptions::default());
    desk.open(1, &wrapped(1, 7), TAIL);
    desk.open(1, &wrapped(1, 8), BACKFILL);
    desk.seal(1, "orders");
    let refused = [
        "open 7 Unavailable",
        "open 8 Unavailable",
        "seal orders Unavailable",
    ];
    assert_eq!(desk.told(1), refused);
    assert_eq!(desk.calls(), []);
    desk.seal(1, "payments");
    desk.open(1, &known, TAIL);
    assert_eq!(desk.told(1), ["seal payments 1", "open 0 1"]);
    assert_eq!(desk.calls(), []);
}

/// LEDGER-5: whoever stands in the queue when it opens, and LEDGER-1: is answered once.
#[test]
fn what_was_not_begun_when_a_kms_went_away_is_refused() {
    let mut desk = Desk::with_calls_max(8, 1);
    for blob in 0..20 {
        desk.open(0, &wrapped(1, blob), TAIL);
    }
    let calls = desk.calls();
    assert_eq!(calls.len(), 6);
    for name in ["a", "b", "c"] {
        desk.seal(0, name);
    }
    assert_eq!(desk.calls().len(), 2);
    for call in calls {
        desk.finish(call, outage());
    }
    let mut told = desk.told(0);
    told.sort_unstable();
    let mut refused: Vec<String> = (0..20).map(|blob| format!("open {blob} Unavailable")).collect();
    refused.push("seal c Unavailable".to_owned());
    refused.sort_unstable();
    assert_eq!(told, refused);
    // Those under way are answered when they end; the first that is makes all good at once.
    desk.finish(Call::Generate("a".into()), generated(1, 50));
    assert_eq!(desk.told(0), ["seal a 1"]);
    desk.pass(KeyOptions::default().outage_memory);
    desk.open(0, &wrapped(1, 3), TAIL);
    assert!(desk.calls().contains(&Call::Unwrap(wrapped(1, 3))));
}

/// LEDGER-5, BREAKER-2: and it is noticed within seconds that the KMS is back, whoever asks, if anybody does.
#[test]
fn one_call_at_a_time_finds_out_whether_a_kms_is_back() {
    type Ask = fn(&mut Desk);
    let asks: [Ask; 4] = [
        |desk| desk.open(1, &wrapped(1, 7), TAIL),
        |desk| desk.open(1, &wrapped(1, 7), BACKFILL),
        |desk| desk.seal(1, "orders"),
        // A recheck and a poll are due.
        |_| {},
    ];
    for ask in asks {
        let options = KeyOptions {
            spread_seed: 9,
            ..KeyOptions::default()
        };
        let (mut desk, _) = away(&options);
        let mut probes = 0;
        let away_until = desk.now + Duration::from_secs(60);
        while desk.now < away_until {
            desk.pass(Duration::from_millis(250));
            ask(&mut desk);
            let calls = desk.calls();
            assert!(calls.len() <= 1, "{calls:?}");
            // Meanwhile others do not wait for it.
            if let [call] = calls.as_slice() {
                probes += 1;
                desk.open(0, &wrapped(1, 77), TAIL);
                assert_eq!(
                    desk.told(0).last().map(String::as_str),
                    Some("open 77 Unavailable")
                );
                assert_eq!(desk.calls(), []);
                let failed = call.outage("away");
                desk.finish(call.clone(), failed);
            }
        }
        assert!((30..=240).contains(&probes), "{probes} in a minute");
        let back_at = desk.now;
        while desk.ledger.standing(this_kms(), desk.now).breaker != BreakerState::Closed {
            desk.pass(Duration::from_millis(250));
            ask(&mut desk);
            for call in desk.calls() {
                let answer = match &call {
                    Call::Generate(_) => generated(1, 60),
                    Call::Unwrap(_) => Outcome::Unwrapped(Err(KmsError::KekNotFound)),
                    Call::Recheck(_) => Outcome::Rechecked(Ok(dek(1))),
                    Call::PollVersion(_) => Outcome::Version(Ok(None)),
                };
                desk.finish(call, answer);
            }
        }
        assert!(desk.now - back_at <= DELAY_MAX + Duration::from_millis(500));
    }
}

/// BREAKER-1
#[test]
fn verdicts_and_throttling_are_answers() {
    for answer in [
        KmsError::KekDisabled,
        KmsError::Malformed,
        KmsError::Throttled {
            after: Duration::from_millis(1),
        },
    ] {
        let mut desk = Desk::new(&KeyOptions::default(), 1);
        for blob in 0..OUTAGES_TO_OPEN * 4 {
            desk.open(0, &wrapped(1, blob), TAIL);
            desk.now += Duration::from_millis(1);
            let outcome = if blob % OUTAGES_TO_OPEN == 0 {
                Outcome::Unwrapped(Err(answer.clone()))
            } else {
                outage()
            };
            if let Some(call) = desk.calls().pop() {
                desk.finish(call, outcome);
            }
        }
        assert_eq!(
            desk.ledger.standing(this_kms(), desk.now).breaker,
            BreakerState::Closed,
            "{answer:?}"
        );
    }
}

/// BREAKER-3: who has asked for a key and was refused may never come again, as where a load balancer believes
/// `/readyz`.
#[test]
fn where_nobody_asks_a_kms_that_is_away_is_asked_again() {
    let seals = KeyRequest::Seal {
        executor: 0,
        key: "payments".into(),
        used_up: None,
    };
    let opens = KeyRequest::Open {
        executor: 0,
        kms: this_kms(),
        wrapped: wrapped(1, 7),
        demand: TAIL,
    };
    for (request, again) in [
        (seals, Call::PollVersion("payments".into())),
        (opens, Call::Unwrap(wrapped(1, 7))),
    ] {
        let mut desk = Desk::new(&KeyOptions::default(), 1);
        desk.ledger.accept(request, desk.now);
        let mut calls = desk.calls();
        for round in 0..20 {
            let call = calls.pop().expect("one");
            let outage = call.outage("away");
            desk.finish(call, outage);
            desk.pass(ASKED_AGAIN_AFTER - Duration::from_millis(1));
            assert_eq!(desk.calls(), [], "round {round}");
            desk.pass(Duration::from_millis(1));
            calls = desk.calls();
            assert_eq!(calls, std::slice::from_ref(&again), "round {round}");
            desk.pass(ASKED_AGAIN_AFTER);
            assert_eq!(desk.calls(), [], "one at a time");
        }
        assert_eq!(desk.told(0).len(), 1, "the first call's");
        let answer = match again {
            Call::Unwrap(_) => Outcome::Unwrapped(Ok(dek(1))),
            _ => Outcome::Version(Ok(Some(vec![1]))),
        };
        desk.finish(again, answer);
        desk.pass(ASKED_AGAIN_AFTER);
        assert!(
            desk.calls().iter().all(|call| matches!(call, Call::Recheck(_))),
            "it is there"
        );
        assert_eq!(desk.told(0), Vec::<String>::new(), "nobody has asked");
    }
}

/// BREAKER-3: whoever wants to know the same meanwhile waits for the same call.
#[test]
fn a_reader_joins_the_call_that_was_made_by_itself() {
    for is_begun in [false, true] {
        let mut desk = Desk::new(&KeyOptions::default(), 2);
        desk.open(0, &wrapped(1, 7), TAIL);
        let call = desk.calls().pop().expect("one");
        let outage = call.outage("away");
        desk.finish(call, outage);
        desk.told(0);
        desk.pass(ASKED_AGAIN_AFTER);
        let mut begun = Vec::new();
        if is_begun {
            begun = desk.calls();
        }
        desk.open(1, &wrapped(1, 7), TAIL);
        begun.extend(desk.calls());
        assert_eq!(begun, [Call::Unwrap(wrapped(1, 7))]);
        desk.finish(Call::Unwrap(wrapped(1, 7)), Outcome::Unwrapped(Ok(dek(1))));
        assert_eq!((desk.told(0).len(), desk.told(1).len()), (0, 1));
    }
}

/// BREAKER-3: once the grace is over no recheck asks any more.
#[test]
fn a_kms_is_asked_again_when_all_keys_have_lapsed() {
    let options = KeyOptions {
        outage_grace: INTERVALS.recheck * 4,
        ..KeyOptions::default()
    };
    let mut desk = Desk::new(&options, 1);
    let known = wrapped(1, 7);
    desk.open(0, &known, TAIL);
    desk.calls();
    desk.finish(Call::Unwrap(Arc::clone(&known)), Outcome::Unwrapped(Ok(dek(1))));
    let end = desk.now + options.outage_grace + ASKED_AGAIN_AFTER * 2;
    let mut asked = Vec::new();
    while desk.now < end {
        desk.pass(INTERVALS.recheck);
        for call in desk.calls() {
            let outage = call.outage("away");
            desk.finish(call.clone(), outage);
            asked.push(call);
        }
    }
    assert_eq!(asked.pop(), Some(Call::Unwrap(known)), "after {asked:?}");
}

/// Of this KMS only, for calls of any kind, sealing first.
#[test]
fn no_more_calls_begin_in_a_second_than_may() {
    let budget = CallBudget {
        per_second_max: NonZeroU32::new(10),
        ..CallBudget::default()
    };
    let mut desk = Desk::with_budget(&KeyOptions::default(), budget, 1);
    for blob in 0..40 {
        desk.open(0, &wrapped(1, blob), TAIL);
    }
    assert!(!desk.ledger.is_paced());
    assert_eq!(desk.calls().len(), 1);
    assert!(desk.ledger.is_paced(), "the service looks again soon");
    desk.seal(0, "orders");
    desk.now += Duration::from_millis(99);
    assert_eq!(desk.calls(), []);
    desk.now += Duration::from_millis(1);
    assert_eq!(desk.calls(), [Call::Generate("orders".into())]);
    let mut begun = 0;
    for _ in 0..200 {
        desk.now += Duration::from_millis(5);
        begun += desk.calls().len();
    }
    assert_eq!(begun, 10);
    let elsewhere = KeyRequest::Seal {
        executor: 0,
        key: KeyId {
            kms: other_kms(),
            .."other".into()
        },
        used_up: None,
    };
    desk.ledger.accept(elsewhere, desk.now);
    assert_eq!(desk.calls().len(), 1);
}

/// 200 KEKs that came into use together are asked about apart, each in its interval.
#[test]
fn what_came_into_use_together_is_not_asked_about_in_one_tick() {
    let options = KeyOptions {
        spread_seed: 3,
        outage_grace: Duration::MAX,
        ..KeyOptions::default()
    };
    let intervals = Intervals {
        version_poll: Duration::from_secs(60),
        recheck: Duration::from_secs(300),
        ..INTERVALS
    };
    let mut desk = Desk::new(&options, 1);
    desk.ledger = Ledger::new(&options, &[(this_kms(), intervals)], 1);
    for number in 0..200 {
        desk.seal(0, &format!("kek-{number}"));
    }
    let mut made = 0;
    loop {
        let calls = desk.calls();
        if calls.is_empty() {
            break;
        }
        for call in calls {
            made += 1;
            desk.finish(call, generated(made, 0));
        }
    }
    assert_eq!(made, 200);
    let step = Duration::from_millis(250);
    let (mut most, mut polls, mut proofs) = (0, 0, 0);
    for _ in 0..240 {
        desk.pass(step);
        let calls = desk.calls();
        most = most.max(calls.len());
        for call in calls {
            let answer = match &call {
                Call::Recheck(wrapped) => {
                    let parsed = WrappedDek::parse(wrapped).expect("it parses");
                    Outcome::Rechecked(Ok(dek(parsed.version[0])))
                }
                _ => Outcome::Version(Ok(None)),
            };
            polls += usize::from(matches!(call, Call::PollVersion(_)));
            proofs += usize::from(matches!(call, Call::Recheck(_)));
            desk.finish(call, answer);
        }
    }
    assert_eq!((polls, proofs), (200, 200), "each once");
    assert!(most <= 30, "{most} in one tick");
}
