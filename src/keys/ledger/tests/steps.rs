//! Whatever executors ask and a KMS answers, in any order: every question is answered, and no limit is passed.

use std::collections::{HashMap, HashSet};

use proptest::prelude::*;

use super::*;

/// What happens next in the simulation.
#[derive(Debug, Clone)]
enum Step {
    Open {
        executor: usize,
        version: u8,
        blob: u32,
        urgent: bool,
    },
    Seal {
        executor: usize,
    },
    Use {
        executor: usize,
        batches: u64,
    },
    Pass(u64),
    Finish {
        which: usize,
        outcome: u8,
    },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..3_usize, 1..3_u8, 0..6_u32, any::<bool>()).prop_map(|(executor, version, blob, urgent)| Step::Open {
            executor, version, blob, urgent,
        }),
        2 => (0..3_usize).prop_map(|executor| Step::Seal { executor }),
        1 => (0..3_usize, 1..20_u64).prop_map(|(executor, batches)| Step::Use { executor, batches }),
        2 => (1..900_u64).prop_map(Step::Pass),
        5 => (0..8_usize, 0..8_u8).prop_map(|(which, outcome)| Step::Finish { which, outcome }),
    ]
}

/// Plays steps against a ledger and checks what it says against what was asked.
struct Simulation {
    desk: Desk,
    running: Vec<Call>,
    opening: HashSet<(usize, Arc<[u8]>)>,
    sealing: HashSet<usize>,
    /// For each DEK that was given out: what each executor may still seal under it.
    shares: HashMap<Arc<[u8]>, HashMap<usize, u64>>,
    /// The DEK that each executor has.
    holds: HashMap<usize, Arc<[u8]>>,
    spent: HashMap<Arc<[u8]>, u64>,
    made: u32,
}

const CALLS_MAX: usize = 4;
const BATCHES_MAX: u64 = 60;

impl Simulation {
    fn new() -> Self {
        let options = KeyOptions {
            service_keys_max: 4,
            versions_max: 2,
            dek: crate::keys::DekLimits {
                batches_max: BATCHES_MAX,
                ..crate::keys::DekLimits::default()
            },
            ..KeyOptions::default()
        };
        Self {
            desk: Desk::with_budget(
                &options,
                CallBudget {
                    calls_max: CALLS_MAX,
                    per_second_max: None,
                },
                3,
            ),
            running: Vec::new(),
            opening: HashSet::new(),
            sealing: HashSet::new(),
            shares: HashMap::new(),
            holds: HashMap::new(),
            spent: HashMap::new(),
            made: 100,
        }
    }

    fn play(&mut self, step: Step) {
        match step {
            Step::Open {
                executor,
                version,
                blob,
                urgent,
            } => {
                let key = wrapped(version, blob);
                self.opening.insert((executor, Arc::clone(&key)));
                self.desk
                    .open(executor, &key, if urgent { TAIL } else { BACKFILL });
            }
            Step::Seal { executor } => {
                self.sealing.insert(executor);
                let used_up = self.holds.remove(&executor);
                self.desk.seal_after(executor, "payments", used_up);
            }
            Step::Use { executor, batches } => {
                if let Some(key) = self.holds.get(&executor).cloned() {
                    let share = self
                        .shares
                        .entry(Arc::clone(&key))
                        .or_default()
                        .entry(executor)
                        .or_default();
                    let sealed = batches.min(*share);
                    *share -= sealed;
                    let spent = self.spent.entry(Arc::clone(&key)).or_default();
                    *spent += sealed;
                    assert!(*spent <= BATCHES_MAX, "KEYS-3");
                    self.desk.used(executor, &key, sealed, sealed);
                }
            }
            Step::Pass(milliseconds) => self.desk.pass(Duration::from_millis(milliseconds)),
            Step::Finish { which, outcome } => {
                if !self.running.is_empty() {
                    let call = self.running.remove(which % self.running.len());
                    self.finish(call, outcome);
                }
            }
        }
        self.settle();
    }

    fn finish(&mut self, call: Call, outcome: u8) {
        let error = match outcome {
            0 => Some(KmsError::Unavailable(String::new())),
            1 => Some(KmsError::KekDisabled),
            2 => Some(KmsError::Malformed),
            _ => None,
        };
        self.made += 1;
        let outcome = match (&call, error) {
            (Call::Generate(_), Some(error)) => Outcome::Generated(Err(error)),
            (Call::Generate(_), None) => generated(1, self.made),
            (Call::PollVersion(_), Some(error)) => Outcome::Version(Err(error)),
            (Call::PollVersion(_), None) => Outcome::Version(Ok(Some(vec![outcome % 2 + 1]))),
            (Call::Recheck(_), Some(error)) => Outcome::Rechecked(Err(error)),
            (Call::Recheck(_), None) if outcome == 7 => Outcome::Rechecked(Ok(dek(9))),
            (Call::Recheck(_), None) => Outcome::Rechecked(Ok(dek(1))),
            (Call::Unwrap(_), Some(error)) => Outcome::Unwrapped(Err(error)),
            (Call::Unwrap(_), None) => Outcome::Unwrapped(Ok(dek(1))),
        };
        self.desk.finish(call, outcome);
    }

    /// Starts what may be started and takes in what was said.
    fn settle(&mut self) {
        for call in self.desk.calls() {
            assert!(
                !self.running.contains(&call),
                "KEYS-2: {call:?} is under way already"
            );
            self.running.push(call);
        }
        assert!(self.running.len() <= CALLS_MAX);
        for executor in 0..3 {
            for reply in self.desk.replies(executor) {
                match reply {
                    KeyReply::Opened { wrapped, .. } => {
                        assert!(
                            self.opening.remove(&(executor, wrapped)),
                            "LEDGER-1: nobody asked"
                        );
                    }
                    KeyReply::Sealing { result, .. } => {
                        self.sealing.remove(&executor);
                        match result {
                            Ok(key) => {
                                let share = self.shares.entry(Arc::clone(&key.wrapped)).or_default();
                                share.insert(executor, key.batches_max);
                                self.holds.insert(executor, key.wrapped);
                            }
                            Err(failure) if !failure.is_outage() => {
                                self.holds.remove(&executor);
                            }
                            Err(_) => {}
                        }
                    }
                    KeyReply::Released { .. } => {
                        self.holds.remove(&executor);
                    }
                    KeyReply::Revoked { prefix } => {
                        if self
                            .holds
                            .get(&executor)
                            .is_some_and(|key| key.starts_with(&prefix))
                        {
                            self.holds.remove(&executor);
                        }
                    }
                    KeyReply::KekNames { .. } => {}
                }
            }
        }
    }
}

proptest! {
    #[test]
    fn whatever_happens_every_question_is_answered_and_no_limit_is_passed(
        steps in proptest::collection::vec(step(), 1..120),
    ) {
        let mut simulation = Simulation::new();
        for step in steps {
            simulation.play(step);
        }
        // Everything that runs ends well: then nobody is left waiting.
        for _ in 0..200 {
            simulation.play(Step::Finish { which: 0, outcome: 3 });
        }
        prop_assert!(simulation.opening.is_empty(), "LEDGER-1");
        prop_assert!(simulation.sealing.is_empty(), "LEDGER-1");
    }
}
