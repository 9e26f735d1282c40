//! Many keys at once, between executors and a KMS that takes its time: a reader of a year of history.

use std::collections::HashSet;
use std::num::NonZeroU32;

use super::*;
use crate::keys::{ExecutorKeys, KeyLookup};

const STEP: Duration = Duration::from_millis(10);
const CALL_TIME: Duration = Duration::from_millis(40);

fn kek_name(number: usize) -> String {
    format!("kek-{number}")
}

/// That KEK's DEK of this number.
fn wrapped_by(kek: usize, dek: u32) -> Arc<[u8]> {
    wrapped_under(&kek_name(kek), 1, dek)
}

/// The number of the DEK that this process has made under a KEK.
const MADE: u32 = 0;

/// A KMS that answers each call after [`CALL_TIME`], and executors.
struct Crowd {
    desk: Desk,
    executors: Vec<ExecutorKeys>,
    running: Vec<(Instant, Call)>,
    /// All calls in the order in which they began.
    begun: Vec<Call>,
}

impl Crowd {
    fn new(budget: CallBudget, executors: usize) -> Self {
        let options = KeyOptions {
            spread_seed: 5,
            ..KeyOptions::default()
        };
        let desk = Desk::seldom_asking(&options, budget, executors);
        Self {
            desk,
            executors: (0..executors)
                .map(|executor| ExecutorKeys::new(executor, &options))
                .collect(),
            running: Vec::new(),
            begun: Vec::new(),
        }
    }

    fn seals(&mut self, executor: usize, kek: usize) -> bool {
        let key = KeyId::from(&*kek_name(kek));
        matches!(
            self.executors[executor].sealing(&key, self.desk.now),
            KeyLookup::Ready(_)
        )
    }

    fn opens(&mut self, executor: usize, wrapped: &[u8], demand: Demand) -> bool {
        let now = self.desk.now;
        let lookup = self.executors[executor].opening(this_kms(), wrapped, demand, now, now);
        matches!(lookup, KeyLookup::Ready(_))
    }

    /// Lets time pass in which executors, ledger and KMS do what is to be done.
    fn step(&mut self) {
        for keys in &mut self.executors {
            keys.tick(self.desk.now);
            for request in keys.take_requests() {
                self.desk.ledger.accept(request, self.desk.now);
            }
        }
        let calls = self.desk.calls();
        self.begun.extend(calls.iter().cloned());
        let ends_at = self.desk.now + CALL_TIME;
        self.running.extend(calls.into_iter().map(|call| (ends_at, call)));
        self.desk.pass(STEP);
        let now = self.desk.now;
        for (_, call) in self.running.extract_if(.., |(ends_at, _)| *ends_at <= now) {
            let outcome = good_answer(&call, MADE);
            self.desk.finish(call, outcome);
        }
        for executor in 0..self.executors.len() {
            for reply in self.desk.replies(executor) {
                self.executors[executor].apply(reply, now);
            }
        }
    }

    fn count(&self, is_counted: impl Fn(&Call) -> bool) -> usize {
        self.begun.iter().filter(|call| is_counted(call)).count()
    }
}

/// It asks for half a year at a time, more than an executor may wait for: at the KMS's pace, whether that is set by how
/// many calls may begin or by how long one takes. Whoever else needs a key is next.
#[test]
fn a_year_of_history_goes_at_the_pace_of_the_kms_and_disturbs_nobody() {
    const HISTORY: u32 = 10_000;
    const WARM: usize = 0;
    const HISTORICAL: usize = 1;
    const TAILING: usize = 2;
    // A hundred calls a second, both: half of eight may be backfill.
    let budgets = [
        CallBudget {
            per_second_max: NonZeroU32::new(100),
            ..CallBudget::default()
        },
        CallBudget {
            calls_max: 8,
            per_second_max: None,
        },
    ];
    for budget in budgets {
        let mut crowd = Crowd::new(budget, 2);
        for executor in 0..2 {
            while !crowd.seals(executor, WARM) || !crowd.opens(executor, &wrapped_by(WARM, MADE), TAIL) {
                crowd.step();
            }
        }
        let history: Vec<Arc<[u8]>> = (1..=HISTORY).map(|dek| wrapped_by(HISTORICAL, dek)).collect();
        let is_history: HashSet<Call> = history.iter().cloned().map(Call::Unwrap).collect();
        let begun_at = crowd.desk.now;
        let mut seconds = 0;
        for half in history.chunks(history.len() / 2) {
            let mut missing = half.to_vec();
            while !missing.is_empty() {
                missing.retain(|wrapped| !crowd.opens(0, wrapped, BACKFILL));
                seconds += 1;
                assert!(seconds <= 120, "{} of {budget:?} wait for ever", missing.len());
                // On the executor that waits for history, and on another one.
                let executor = usize::try_from(seconds % 2).unwrap_or(0);
                let (new_kek, news) = (1000 + seconds as usize, wrapped_by(TAILING, seconds));
                let asked_at = crowd.begun.len();
                let mut is_served = false;
                for _ in 0..100 {
                    is_served = crowd.seals(executor, new_kek) & crowd.opens(executor, &news, TAIL);
                    for executor in 0..2 {
                        assert!(crowd.seals(executor, WARM));
                        assert!(crowd.opens(executor, &wrapped_by(WARM, MADE), TAIL));
                    }
                    crowd.step();
                }
                assert!(is_served, "second {seconds} of {budget:?}");
                let since = &crowd.begun[asked_at..];
                let rank = |call| since.iter().position(|begun| *begun == call);
                let made = rank(Call::Generate(KeyId::from(&*kek_name(new_kek))));
                let unwrapped = rank(Call::Unwrap(news)).expect("it was unwrapped");
                assert!(made.expect("it was made") < unwrapped);
                let before = since[..unwrapped].iter().filter(|call| is_history.contains(call));
                assert_eq!(before.count(), 0, "second {seconds} of {budget:?}");
            }
        }
        let of_history = crowd.count(|call| is_history.contains(call));
        assert_eq!(of_history, history.len(), "each once");
        let unwraps = crowd.count(|call| matches!(call, Call::Unwrap(_)));
        assert_eq!(unwraps, history.len() + seconds as usize);
        let took = (crowd.desk.now - begun_at).as_secs();
        assert!((100..=110).contains(&took), "{took} s with {budget:?}");
    }
}
