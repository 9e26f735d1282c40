//! As many KEKs, topics and data keys as large installations have.

use std::collections::HashMap;
use std::num::NonZeroU32;

use super::*;

fn kek_of(topic: u32) -> String {
    format!("kek-{}", topic % KEKS)
}

/// With the intervals of production.
fn desk(budget: CallBudget, executors: usize) -> Desk {
    let options = KeyOptions {
        spread_seed: 3,
        ..without_grace()
    };
    Desk::seldom_asking(&options, budget, executors)
}

impl Desk {
    fn answer(&mut self, call: Call) {
        let outcome = good_answer(&call, u32::MAX);
        assert!(!self.finish(call, outcome));
    }
}

/// Everything comes at once: producers and consumers of every topic, on every executor, and no key is there.
#[test]
fn a_cold_start_costs_a_call_for_each_kek_and_each_wrapped_dek() {
    let mut desk = desk(CallBudget::default(), EXECUTORS);
    for executor in 0..EXECUTORS {
        for topic in 0..TOPICS {
            desk.seal(executor, &kek_of(topic));
            // A DEK for each topic, which a cluster of other proxies has made.
            let connection = topic % 50;
            let demand = Demand { connection, ..TAIL };
            desk.open(executor, &wrapped_under(&kek_of(topic), 1, topic), demand);
        }
    }
    let mut asked: HashMap<String, u32> = HashMap::new();
    let (mut generated, mut unwrapped) = (0, 0);
    loop {
        let calls = desk.calls();
        if calls.is_empty() {
            break;
        }
        for call in calls {
            generated += u32::from(matches!(call, Call::Generate(_)));
            unwrapped += u32::from(matches!(call, Call::Unwrap(_)));
            *asked.entry(format!("{call:?}")).or_default() += 1;
            desk.answer(call);
        }
    }
    assert_eq!((generated, unwrapped), (KEKS, TOPICS));
    assert!(asked.values().all(|&times| times == 1), "each once: {asked:?}");
    for executor in 0..EXECUTORS {
        let (mut sealing, mut opened) = (0, 0);
        for reply in desk.replies(executor) {
            match reply {
                KeyReply::Sealing { result: Ok(_), .. } => sealing += 1,
                KeyReply::Opened { result: Ok(_), .. } => opened += 1,
                _ => panic!("executor {executor} is told something else"),
            }
        }
        assert_eq!((sealing, opened), (KEKS, TOPICS), "executor {executor}");
    }

    // What follows by itself (each new DEK is compared with what its KMS makes of it, each version is asked for) comes
    // apart: 200 of each in the first minute.
    let (mut begun, mut most) = (0, 0);
    for _ in 0..240 {
        desk.pass(Duration::from_millis(250));
        let calls = desk.calls();
        begun += calls.len();
        most = most.max(calls.len());
        for call in calls {
            desk.answer(call);
        }
    }
    assert_eq!(begun, 2 * KEKS as usize);
    assert!(most <= 30, "{most} in a tick");
}

/// One topic's year is read at the pace that its KMS allows, each DEK once; whoever else needs a key for the first time
/// meanwhile has the next call, and what is at hand is answered at once.
#[test]
fn a_year_of_history_is_read_at_the_pace_of_the_kms_and_disturbs_nobody() {
    let budget = CallBudget {
        calls_max: 8,
        per_second_max: NonZeroU32::new(PER_SECOND),
    };
    let mut desk = desk(budget, EXECUTORS);
    desk.seal(0, "warm");
    let begun_at = desk.now;
    let (mut asked, mut unwrapped, mut newcomers) = (0, 0, 0);
    let mut under_way = Vec::new();
    // In each step the calls end that began in the one before, and the budget has room for one.
    let step = Duration::from_secs(1) / PER_SECOND;
    while unwrapped < HISTORY {
        desk.pass(step);
        for call in std::mem::take(&mut under_way) {
            let is_history = matches!(&call, Call::Unwrap(wrapped) if is_of_history(wrapped));
            unwrapped += u32::from(is_history);
            desk.answer(call);
        }
        // A reader looks some batches ahead.
        while asked < HISTORY && asked < unwrapped + LOOKED_AHEAD {
            desk.open(1, &wrapped_under("history", 1, asked), BACKFILL);
            asked += 1;
        }
        let calls = desk.calls();
        assert!(calls.len() <= BURST, "{} in a step", calls.len());
        under_way = calls;
        if desk.now - begun_at > Duration::from_secs(2) * (newcomers + 1) {
            // A producer whose KEK nobody has used, a reader at the end of a log, and a producer that has its key.
            let wanted = [
                Call::Generate(format!("new-{newcomers}").as_str().into()),
                Call::Unwrap(wrapped_under("tail", 1, newcomers)),
            ];
            desk.seal(2, &format!("new-{newcomers}"));
            desk.open(3, &wrapped_under("tail", 1, newcomers), TAIL);
            desk.seal(3, "warm");
            let told = desk.told(3);
            assert!(told.contains(&"seal warm 1".to_owned()), "{told:?}");
            let mut begun = Vec::new();
            while begun.len() < wanted.len() {
                desk.pass(step);
                let calls = desk.calls();
                begun.extend(calls.iter().filter(|call| !is_upkeep(call)).cloned());
                under_way.extend(calls);
            }
            assert_eq!(begun, wanted, "newcomer {newcomers}");
            newcomers += 1;
        }
        for executor in 0..EXECUTORS {
            desk.replies(executor);
        }
    }
    assert_eq!(asked, HISTORY);
    assert!(newcomers > 50, "{newcomers}");
    let took = desk.now - begun_at;
    let at_best = Duration::from_secs((HISTORY / PER_SECOND).into());
    assert!(
        took > at_best && took < at_best * 5 / 4,
        "{took:?}, {at_best:?} at best"
    );

    // All of it is remembered: it is read again without a call.
    for blob in 0..HISTORY {
        desk.open(2, &wrapped_under("history", 1, blob), BACKFILL);
    }
    assert!(desk.calls().iter().all(is_upkeep));
    assert_eq!(desk.replies(2).len(), HISTORY as usize);
}

fn is_of_history(wrapped: &[u8]) -> bool {
    WrappedDek::parse(wrapped).is_ok_and(|parsed| parsed.kek == b"history")
}

/// What the ledger does without being asked.
fn is_upkeep(call: &Call) -> bool {
    matches!(call, Call::Recheck(_) | Call::PollVersion(_))
}

const EXECUTORS: usize = 4;
const TOPICS: u32 = 1000;
const KEKS: u32 = 200;
/// One a day, made by 27 proxies.
const HISTORY: u32 = 10_000;
const PER_SECOND: u32 = 50;
/// CALL-RATE-1
const BURST: usize = 5;
const LOOKED_AHEAD: u32 = 300;
