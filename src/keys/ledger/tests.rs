//! Calls, shares, verdicts and revocations, without a KMS: answers are made by hand.

use std::time::Duration;

use super::*;
use crate::crypto::SecretKey;
use crate::envelope::wrapped_dek::WrappedDek;
use crate::ids::Id as _;
use crate::keys::{CallBudget, Purpose, Urgency};
use crate::kms::GeneratedDek;

mod answers;
mod bounds;
mod budget;
mod calls;
mod crowds;
mod findings;
mod order;
mod outage;
mod racing;
mod room;
mod scale;
mod shares;
mod standing;
mod steps;
mod successors;
mod turns;
mod verdicts;
mod wrong;

const INTERVALS: Intervals = Intervals {
    version_poll: Duration::from_secs(1),
    recheck: Duration::from_secs(1),
    verdict_memory: Duration::from_secs(10),
    budget: CallBudget {
        calls_max: 64,
        per_second_max: None,
    },
};
const TAIL: Demand = Demand {
    urgency: Urgency::Tail,
    connection: 1,
};
const BACKFILL: Demand = Demand {
    urgency: Urgency::Backfill,
    connection: 2,
};

fn wrapped(version: u8, blob: u32) -> Arc<[u8]> {
    wrapped_under("payments", version, blob)
}

fn wrapped_under(kek: &str, version: u8, blob: u32) -> Arc<[u8]> {
    let mut bytes = Vec::new();
    let written = WrappedDek {
        provider: 1,
        authority: [9; 4],
        kek: kek.as_bytes(),
        version: &[version],
        blob: &blob.to_be_bytes(),
    }
    .write(&mut bytes);
    assert!(written.is_ok());
    bytes.into()
}

fn dek(byte: u8) -> SecretKey {
    match SecretKey::from_bytes(&mut [byte; 32]) {
        Ok(key) => key,
        Err(error) => panic!("{error}"),
    }
}

fn generated(version: u8, blob: u32) -> Outcome {
    Outcome::Generated(Ok(GeneratedDek {
        dek: dek(version),
        wrapped: wrapped(version, blob)[..].into(),
    }))
}

/// A KMS that need not confirm anything.
fn without_grace() -> KeyOptions {
    KeyOptions {
        outage_grace: Duration::MAX,
        ..KeyOptions::default()
    }
}

fn this_kms() -> KmsId {
    KmsId::from_number(5)
}

fn other_kms() -> KmsId {
    KmsId::from_number(2)
}

/// Of [`this_kms`].
impl From<&str> for KeyId {
    fn from(kek: &str) -> Self {
        Self {
            kms: this_kms(),
            kek: kek.into(),
            purpose: Purpose::RecordSeal,
        }
    }
}

/// What a KMS answers that has every KEK, in its first version; the DEK that it makes is number `made`.
fn good_answer(call: &Call, made: u32) -> Outcome {
    match call {
        Call::Generate(key) => Outcome::Generated(Ok(GeneratedDek {
            dek: dek(1),
            wrapped: wrapped_under(&key.kek, 1, made)[..].into(),
        })),
        Call::Unwrap(_) => Outcome::Unwrapped(Ok(dek(1))),
        Call::Recheck(_) => Outcome::Rechecked(Ok(dek(1))),
        Call::PollVersion(_) => Outcome::Version(Ok(Some(vec![1]))),
    }
}

/// A ledger with its own clock.
struct Desk {
    ledger: Ledger,
    now: Instant,
}

impl Desk {
    fn new(options: &KeyOptions, executors: usize) -> Self {
        Self::with_budget(options, CallBudget::default(), executors)
    }

    fn with_budget(options: &KeyOptions, budget: CallBudget, executors: usize) -> Self {
        let intervals = Intervals { budget, ..INTERVALS };
        Self {
            ledger: Ledger::new(
                options,
                &[(this_kms(), intervals), (other_kms(), intervals)],
                executors,
            ),
            now: Instant::now(),
        }
    }

    /// With the intervals of KMSs in a network.
    fn seldom_asking(options: &KeyOptions, budget: CallBudget, executors: usize) -> Self {
        let intervals = Intervals {
            version_poll: Duration::from_secs(60),
            recheck: Duration::from_secs(300),
            budget,
            ..INTERVALS
        };
        Self {
            ledger: Ledger::new(options, &[(this_kms(), intervals)], executors),
            now: Instant::now(),
        }
    }

    fn with_calls_max(calls_max: usize, executors: usize) -> Self {
        let budget = CallBudget {
            calls_max,
            ..CallBudget::default()
        };
        Self::with_budget(&KeyOptions::default(), budget, executors)
    }

    fn seal(&mut self, executor: usize, kek: &str) {
        self.seal_after(executor, kek, None);
    }

    fn seal_after(&mut self, executor: usize, kek: &str, used_up: Option<Arc<[u8]>>) {
        let request = KeyRequest::Seal {
            executor,
            key: kek.into(),
            used_up,
        };
        self.ledger.accept(request, self.now);
    }

    fn open(&mut self, executor: usize, wrapped: &Arc<[u8]>, demand: Demand) {
        let request = KeyRequest::Open {
            executor,
            kms: this_kms(),
            wrapped: Arc::clone(wrapped),
            demand,
        };
        self.ledger.accept(request, self.now);
    }

    fn used(&mut self, executor: usize, wrapped: &Arc<[u8]>, batches: u64, bytes: u64) {
        let request = KeyRequest::Used {
            executor,
            key: "payments".into(),
            wrapped: Arc::clone(wrapped),
            batches,
            bytes,
        };
        self.ledger.accept(request, self.now);
    }

    fn jobs(&mut self) -> Vec<Job> {
        std::iter::from_fn(|| self.ledger.next_job(self.now)).collect()
    }

    fn calls(&mut self) -> Vec<Call> {
        self.jobs().into_iter().map(|job| job.call).collect()
    }

    /// Whether keys were revoked.
    fn finish(&mut self, call: Call, outcome: Outcome) -> bool {
        matches!(self.find(call, outcome), Some(FindingKind::Revoked(_)))
    }

    /// What is worth telling.
    fn find(&mut self, call: Call, outcome: Outcome) -> Option<FindingKind> {
        let job = Job {
            kms: this_kms(),
            call,
        };
        let found = self.ledger.finish(job, outcome, self.now)?;
        assert_eq!(found.kms, this_kms());
        Some(found.kind)
    }

    /// Makes one call to unwrap after the other; the last bytes of what was unwrapped.
    fn unwrap_in_order(&mut self) -> Vec<u8> {
        let mut order = Vec::new();
        while let [Call::Unwrap(wrapped)] = self.calls().as_slice() {
            order.push(wrapped[wrapped.len() - 1]);
            self.finish(Call::Unwrap(Arc::clone(wrapped)), Outcome::Unwrapped(Ok(dek(1))));
        }
        order
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        self.ledger.tick(self.now);
    }

    fn replies(&mut self, executor: usize) -> Vec<KeyReply> {
        std::iter::from_fn(|| self.ledger.pop_reply(executor)).collect()
    }

    /// Replies in short, for comparison.
    fn told(&mut self, executor: usize) -> Vec<String> {
        let short = |reply| match reply {
            KeyReply::Sealing { key, result } => match result {
                Ok(dek) => format!("seal {} {}", key.kek, dek.dek.expose()[0]),
                Err(failure) => format!("seal {} {failure:?}", key.kek),
            },
            KeyReply::Opened { wrapped, result } => match result {
                Ok(key) => format!("open {} {}", wrapped[wrapped.len() - 1], key.expose()[0]),
                Err(failure) => format!("open {} {failure:?}", wrapped[wrapped.len() - 1]),
            },
            KeyReply::Released { key } => format!("released {}", key.kek),
            KeyReply::Revoked { prefix } => format!("revoked {}", prefix[prefix.len() - 1]),
            KeyReply::KekNames { .. } => "names".to_owned(),
        };
        self.replies(executor).into_iter().map(short).collect()
    }

    fn generate_first(&mut self, executors: &[usize]) -> Arc<[u8]> {
        for &executor in executors {
            self.seal(executor, "payments");
        }
        assert_eq!(self.calls(), [Call::Generate("payments".into())]);
        self.finish(Call::Generate("payments".into()), generated(1, 0));
        for &executor in executors {
            assert_eq!(self.told(executor), ["seal payments 1"]);
        }
        wrapped(1, 0)
    }
}
