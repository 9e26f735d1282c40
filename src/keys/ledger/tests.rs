//! Calls, shares, verdicts and revocations, without a KMS: answers are made by hand.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use proptest::prelude::*;

use super::lane::LEFT_ALONE_MAX;
use super::*;
use crate::crypto::SecretKey;
use crate::envelope::wrapped_dek::WrappedDek;
use crate::ids::Id as _;
use crate::keys::{CallBudget, Purpose, Urgency};
use crate::kms::GeneratedDek;

mod budget;
mod calls;
mod crowds;
mod findings;
mod outage;
mod racing;
mod room;
mod scale;
mod shares;
mod standing;
mod turns;
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

#[test]
fn a_thousand_askers_cost_one_unwrap_and_get_a_copy_each() {
    let mut desk = Desk::new(&KeyOptions::default(), 1000);
    let key = wrapped(1, 7);
    for executor in 0..1000 {
        desk.open(executor, &key, if executor % 2 == 0 { TAIL } else { BACKFILL });
    }
    assert_eq!(desk.calls(), [Call::Unwrap(Arc::clone(&key))]);
    desk.finish(Call::Unwrap(Arc::clone(&key)), Outcome::Unwrapped(Ok(dek(5))));
    for executor in 0..1000 {
        assert_eq!(desk.told(executor), ["open 7 5"]);
    }
    // Whoever asks later is answered without a call.
    desk.open(3, &key, TAIL);
    assert!(desk.calls().is_empty());
    assert_eq!(desk.told(3), ["open 7 5"]);
}

#[test]
fn a_thousand_askers_cost_one_generate_and_share_the_dek() {
    let mut desk = Desk::new(&KeyOptions::default(), 1000);
    for executor in 0..1000 {
        desk.seal(executor, "payments");
    }
    assert_eq!(desk.calls(), [Call::Generate("payments".into())]);
    desk.finish(Call::Generate("payments".into()), generated(1, 0));
    for executor in 0..1000 {
        assert_eq!(desk.told(executor), ["seal payments 1"]);
    }
    desk.seal(0, "payments");
    assert!(desk.calls().is_empty());
    assert_eq!(desk.told(0), ["seal payments 1"]);
    // What this process sealed with, it opens without a call.
    desk.open(1, &wrapped(1, 0), TAIL);
    assert!(desk.calls().is_empty());
    assert_eq!(desk.told(1), ["open 0 1"]);
}

#[test]
fn failures_are_remembered_as_long_as_their_kind() {
    let options = KeyOptions::default();
    for (error, failure, memory) in [
        (KmsError::KekDisabled, "KekDisabled", options.verdict_memory),
        (
            KmsError::CredentialsRefused(String::new()),
            "Unavailable",
            options.outage_memory,
        ),
        (
            KmsError::Unavailable(String::new()),
            "Unavailable",
            options.outage_memory,
        ),
    ] {
        let mut desk = Desk::new(&options, 1);
        let key = wrapped(1, 7);
        let unwrap = Call::Unwrap(Arc::clone(&key));
        desk.open(0, &key, TAIL);
        desk.seal(0, "payments");
        assert_eq!(desk.calls().len(), 2);
        desk.finish(unwrap, Outcome::Unwrapped(Err(error.clone())));
        desk.finish(
            Call::Generate("payments".into()),
            Outcome::Generated(Err(error.clone())),
        );
        let told = [format!("open 7 {failure}"), format!("seal payments {failure}")];
        assert_eq!(desk.told(0), told);
        desk.pass(memory - Duration::from_millis(1));
        desk.open(0, &key, TAIL);
        desk.seal(0, "payments");
        assert!(desk.calls().is_empty());
        assert_eq!(desk.told(0), told);
        desk.pass(Duration::from_millis(1));
        desk.open(0, &key, TAIL);
        desk.seal(0, "payments");
        assert_eq!(desk.calls().len(), 2, "{error:?}");
    }
}

/// A batch needs what is known of all its keys together, however slowly a KMS says it.
#[test]
fn what_does_not_unwrap_is_remembered_for_longer_than_a_kek_that_may_be_enabled() {
    let options = KeyOptions::default();
    let mut desk = Desk::new(&options, 1);
    let key = wrapped(1, 7);
    desk.open(0, &key, TAIL);
    assert_eq!(desk.calls().len(), 1);
    let unwrap = Call::Unwrap(Arc::clone(&key));
    desk.finish(unwrap, Outcome::Unwrapped(Err(KmsError::Malformed)));
    desk.pass(options.altered_memory - Duration::from_millis(1));
    desk.open(0, &key, TAIL);
    assert!(desk.calls().is_empty());
    assert_eq!(desk.told(0), ["open 7 Malformed", "open 7 Malformed"]);
    desk.pass(Duration::from_millis(1));
    desk.open(0, &key, TAIL);
    assert_eq!(desk.calls().len(), 1);
}

#[test]
fn caches_and_queues_are_bounded() {
    let options = KeyOptions {
        service_keys_max: 2,
        waiting_max: 3,
        ..KeyOptions::default()
    };
    let mut desk = Desk::new(&options, 1);
    for blob in 0..4 {
        desk.open(0, &wrapped(1, blob), TAIL);
    }
    // The fourth was one too many.
    assert_eq!(desk.told(0), ["open 3 Unavailable"]);
    for call in desk.calls() {
        desk.finish(call, Outcome::Unwrapped(Ok(dek(1))));
    }
    assert_eq!(desk.told(0).len(), 3);
    // Of three opened ones the first newcomer was dropped.
    desk.open(0, &wrapped(1, 0), TAIL);
    desk.open(0, &wrapped(1, 2), TAIL);
    assert!(desk.calls().is_empty());
    desk.open(0, &wrapped(1, 1), TAIL);
    assert_eq!(desk.calls(), [Call::Unwrap(wrapped(1, 1))]);
    for name in ["a", "b", "c", "d"] {
        desk.seal(0, name);
    }
    assert_eq!(desk.told(0), ["open 0 1", "open 2 1", "seal d Unavailable"]);
}

/// OPENED-DEKS-1
#[test]
fn what_does_not_unwrap_takes_no_opened_key_its_place() {
    let options = KeyOptions {
        service_keys_max: 1,
        versions_max: 1,
        ..KeyOptions::default()
    };
    let mut desk = Desk::new(&options, 1);
    desk.open(0, &wrapped(1, 0), TAIL);
    assert_eq!(desk.calls().len(), 1);
    desk.finish(Call::Unwrap(wrapped(1, 0)), Outcome::Unwrapped(Ok(dek(1))));
    for (garbage, error) in (1..50).zip([KmsError::Malformed, KmsError::KekNotFound].iter().cycle()) {
        desk.open(0, &wrapped(2, garbage), TAIL);
        assert_eq!(desk.calls().len(), 1);
        desk.finish(
            Call::Unwrap(wrapped(2, garbage)),
            Outcome::Unwrapped(Err(error.clone())),
        );
    }
    desk.open(0, &wrapped(1, 0), TAIL);
    assert_eq!(desk.calls(), []);
    assert_eq!(desk.told(0).last().map(String::as_str), Some("open 0 1"));
}

/// OPENED-DEKS-4: as if each executor had let go of what it was given.
#[test]
fn what_eight_executors_ask_for_again_and_again_is_unwrapped_once() {
    let options = KeyOptions {
        opened_keys_max: 16,
        ..KeyOptions::default()
    };
    let mut desk = Desk::new(&options, 8);
    let mut unwraps = 0;
    for _ in 0..3 {
        for executor in 0..8 {
            for blob in 0..1000 {
                desk.open(executor, &wrapped(1, blob), TAIL);
            }
            loop {
                let calls = desk.calls();
                if calls.is_empty() {
                    break;
                }
                unwraps += calls.len();
                for call in calls {
                    desk.finish(call, Outcome::Unwrapped(Ok(dek(1))));
                }
            }
            assert_eq!(desk.told(executor).len(), 1000);
        }
    }
    assert_eq!(unwraps, 1000);
}

/// The machine slept: neither the DEKs in use nor those of calls under way seal on, nor are they given out again.
///
/// KEYS-6, SEALING-DEKS-2
#[test]
fn dropped_sealing_keys_are_taken_from_every_executor_and_made_anew() {
    let mut desk = Desk::new(&KeyOptions::default(), 2);
    for executor in 0..2 {
        desk.seal(executor, "payments");
    }
    for call in desk.calls() {
        desk.finish(call, generated(1, 1));
    }
    assert_eq!(desk.told(0), ["seal payments 1"]);
    assert_eq!(desk.told(1), ["seal payments 1"]);
    desk.seal(0, "orders");
    let under_way = desk.calls();
    assert_eq!(under_way, [Call::Generate("orders".into())]);

    desk.ledger.drop_sealing();
    assert_eq!(desk.told(0), ["released payments"]);
    assert_eq!(desk.told(1), ["released payments"]);
    for call in under_way {
        desk.finish(call, generated(1, 2));
    }
    assert!(desk.told(0).is_empty(), "what was under way is made again");
    desk.seal(1, "payments");
    let calls = desk.calls();
    assert_eq!(
        calls,
        [Call::Generate("orders".into()), Call::Generate("payments".into())]
    );
    for (blob, call) in (3..).zip(calls) {
        desk.finish(call, generated(2, blob));
    }
    assert_eq!(desk.told(0), ["seal orders 2"]);
    assert_eq!(desk.told(1), ["seal payments 2"]);
    // What was opened stays.
    desk.open(0, &wrapped(1, 1), TAIL);
    assert_eq!(desk.told(0), ["open 1 1"]);
    assert!(desk.calls().is_empty());
}

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

#[test]
fn rotation_is_noticed_by_the_poll_and_reaches_every_holder_unasked() {
    let mut desk = Desk::new(&KeyOptions::default(), 3);
    desk.generate_first(&[0, 1]);
    desk.pass(INTERVALS.version_poll);
    let poll = Call::PollVersion("payments".into());
    let recheck = Call::Recheck(wrapped(1, 0));
    assert_eq!(desk.calls(), [recheck.clone(), poll.clone()]);
    // Nothing moved: nothing is fetched; and no second poll before its time.
    desk.finish(recheck, Outcome::Rechecked(Ok(dek(1))));
    desk.finish(poll.clone(), Outcome::Version(Ok(Some(vec![1]))));
    desk.pass(INTERVALS.version_poll - Duration::from_millis(1));
    assert!(desk.calls().is_empty());
    desk.pass(Duration::from_millis(1));
    assert!(desk.calls().contains(&poll));
    desk.finish(poll, Outcome::Version(Ok(Some(vec![2]))));
    assert_eq!(desk.calls(), [Call::Generate("payments".into())]);
    // The old one seals on meanwhile.
    desk.seal(2, "payments");
    assert_eq!(desk.told(2), ["seal payments 1"]);
    desk.finish(Call::Generate("payments".into()), generated(2, 1));
    for executor in 0..3 {
        assert_eq!(desk.told(executor), ["seal payments 2"]);
    }
}

/// KEYS-4
#[test]
fn a_refused_recheck_takes_every_key_of_the_version_away() {
    let mut desk = Desk::new(&KeyOptions::default(), 2);
    let sealing = desk.generate_first(&[0]);
    let other_version = wrapped(2, 5);
    desk.open(1, &other_version, TAIL);
    desk.open(1, &wrapped(1, 6), TAIL);
    for call in desk.calls() {
        desk.finish(call, Outcome::Unwrapped(Ok(dek(6))));
    }
    assert_eq!(desk.told(1), ["open 5 6", "open 6 6"]);
    desk.pass(INTERVALS.recheck);
    let calls = desk.calls();
    assert_eq!(calls.len(), 3, "two versions and one poll: {calls:?}");
    // An outage is no verdict.
    let outage = || KmsError::Unavailable(String::new());
    assert!(!desk.finish(
        Call::Recheck(Arc::clone(&other_version)),
        Outcome::Rechecked(Err(outage()))
    ));
    assert!(desk.finish(
        Call::Recheck(Arc::clone(&sealing)),
        Outcome::Rechecked(Err(KmsError::KekDisabled))
    ));
    for executor in 0..2 {
        assert_eq!(desk.told(executor), ["revoked 1"]);
    }
    // Nothing of version 1 is given out any more; version 2 is.
    desk.open(1, &other_version, TAIL);
    assert_eq!(desk.told(1), ["open 5 6"]);
    desk.open(0, &sealing, TAIL);
    desk.seal(0, "payments");
    assert_eq!(desk.calls().len(), 2);
    assert!(desk.told(0).is_empty());
}

/// LEDGER-3
#[test]
fn what_was_under_way_when_its_version_was_revoked_is_asked_again() {
    let mut desk = Desk::new(&KeyOptions::default(), 1);
    let known = desk.generate_first(&[0]);
    desk.pass(INTERVALS.recheck);
    let late = wrapped(1, 8);
    desk.open(0, &late, TAIL);
    desk.seal_after(0, "payments", Some(Arc::clone(&known)));
    let calls = desk.calls();
    assert!(calls.contains(&Call::Unwrap(Arc::clone(&late))));
    assert!(calls.contains(&Call::Generate("payments".into())));
    desk.finish(
        Call::Recheck(known),
        Outcome::Rechecked(Err(KmsError::KekDestroyed)),
    );
    desk.finish(Call::Unwrap(Arc::clone(&late)), Outcome::Unwrapped(Ok(dek(1))));
    desk.finish(Call::Generate("payments".into()), generated(1, 9));
    assert_eq!(desk.told(0), ["revoked 1"]);
    assert_eq!(
        desk.calls(),
        [Call::Generate("payments".into()), Call::Unwrap(Arc::clone(&late))]
    );
    desk.finish(
        Call::Unwrap(late),
        Outcome::Unwrapped(Err(KmsError::KekDestroyed)),
    );
    assert_eq!(desk.told(0), ["open 8 KekDestroyed"]);
}

/// SEALING-DEKS-3
#[test]
fn a_verdict_on_the_kek_stops_sealing_and_an_outage_does_not() {
    let mut desk = Desk::new(&KeyOptions::default(), 2);
    desk.generate_first(&[0, 1]);
    let poll = Call::PollVersion("payments".into());
    desk.pass(INTERVALS.version_poll);
    desk.calls();
    desk.finish(
        poll.clone(),
        Outcome::Version(Err(KmsError::Unavailable(String::new()))),
    );
    assert!(desk.told(0).is_empty());
    desk.pass(INTERVALS.version_poll);
    desk.calls();
    desk.finish(poll, Outcome::Version(Err(KmsError::KekDisabled)));
    for executor in 0..2 {
        assert_eq!(desk.told(executor), ["seal payments KekDisabled"]);
    }
    desk.seal(0, "payments");
    assert_eq!(desk.told(0), ["seal payments KekDisabled"]);
}

/// OPENED-DEKS-3
#[test]
fn a_kek_that_is_good_again_is_good_for_readers_too() {
    let mut desk = Desk::new(&KeyOptions::default(), 1);
    let (sealed, other) = (wrapped(1, 7), wrapped(2, 8));
    for asked in [&sealed, &other] {
        desk.open(0, asked, TAIL);
        assert_eq!(desk.calls().len(), 1);
        let refused = Outcome::Unwrapped(Err(KmsError::KekDisabled));
        desk.finish(Call::Unwrap(Arc::clone(asked)), refused);
    }
    assert_eq!(desk.told(0), ["open 7 KekDisabled", "open 8 KekDisabled"]);
    desk.seal(0, "payments");
    assert_eq!(desk.calls(), [Call::Generate("payments".into())]);
    desk.finish(Call::Generate("payments".into()), generated(1, 9));
    assert_eq!(desk.told(0), ["seal payments 1"]);
    // Version 1 is asked about again at once, of version 2 nothing is known.
    desk.open(0, &sealed, TAIL);
    desk.open(0, &other, TAIL);
    assert_eq!(desk.calls(), [Call::Unwrap(sealed)]);
    assert_eq!(desk.told(0), ["open 8 KekDisabled"]);
}

/// SEALING-DEKS-1
#[test]
fn shares_never_add_up_to_more_than_the_limit() {
    let options = KeyOptions {
        dek: crate::keys::DekLimits {
            batches_max: 100,
            bytes_max: 1000,
            ..crate::keys::DekLimits::default()
        },
        ..KeyOptions::default()
    };
    let mut desk = Desk::new(&options, 3);
    desk.seal(0, "payments");
    desk.calls();
    desk.finish(Call::Generate("payments".into()), generated(1, 0));
    desk.seal(1, "payments");
    let share = |reply: KeyReply| match reply {
        KeyReply::Sealing { result: Ok(key), .. } => (key.batches_max, key.bytes_max),
        _ => (0, 0),
    };
    assert_eq!(
        desk.replies(0).into_iter().map(share).collect::<Vec<_>>(),
        [(33, 333)]
    );
    assert_eq!(
        desk.replies(1).into_iter().map(share).collect::<Vec<_>>(),
        [(33, 333)]
    );
    // One that lost its key and asks again gets what it has left.
    desk.used(0, &wrapped(1, 0), 30, 100);
    desk.seal(0, "payments");
    assert_eq!(
        desk.replies(0).into_iter().map(share).collect::<Vec<_>>(),
        [(3, 233)]
    );
    assert!(desk.calls().is_empty());
    // At half of the limit the next one is fetched ahead, and everyone gets it.
    desk.used(1, &wrapped(1, 0), 20, 100);
    assert_eq!(desk.calls(), [Call::Generate("payments".into())]);
    desk.used(0, &wrapped(1, 0), 3, 0);
    desk.seal(0, "payments");
    assert!(desk.told(0).is_empty(), "its share is used up: it waits");
    desk.finish(Call::Generate("payments".into()), generated(2, 0));
    assert_eq!(desk.told(0), ["seal payments 2"]);
    assert_eq!(desk.told(1), ["seal payments 2"]);
    assert!(desk.told(2).is_empty());
}

#[test]
fn age_replaces_what_is_used_and_releases_what_is_not() {
    let options = without_grace();
    let half = options.dek.age_max / 2;
    let mut desk = Desk::new(&options, 1);
    let key = desk.generate_first(&[0]);
    desk.used(0, &key, 1, 1);
    desk.pass(half);
    assert!(!desk.calls().contains(&Call::Generate("payments".into())));
    desk.pass(half);
    assert!(desk.calls().contains(&Call::Generate("payments".into())));
    // While the KMS is away the old one goes on, until twice its age.
    let outage = KmsError::Unavailable(String::new());
    desk.finish(Call::Generate("payments".into()), Outcome::Generated(Err(outage)));
    desk.seal(0, "payments");
    assert_eq!(desk.told(0), ["seal payments 1"]);
    desk.pass(half);
    desk.pass(half);
    assert_eq!(desk.told(0), ["released payments"]);

    let mut desk = Desk::new(&options, 1);
    desk.generate_first(&[0]);
    desk.pass(options.dek.age_max);
    assert!(!desk.calls().contains(&Call::Generate("payments".into())));
    assert_eq!(desk.told(0), ["released payments"]);
}

#[test]
fn the_idlest_sealing_key_is_released_for_another() {
    let options = KeyOptions {
        sealing_keys_max: 2,
        needed_for: Duration::ZERO,
        ..KeyOptions::default()
    };
    let mut desk = Desk::new(&options, 1);
    for name in ["a", "b"] {
        desk.seal(0, name);
        desk.calls();
        desk.finish(Call::Generate(name.into()), generated(1, 0));
    }
    desk.seal(0, "a");
    desk.seal(0, "c");
    desk.calls();
    desk.finish(Call::Generate("c".into()), generated(1, 0));
    assert_eq!(
        desk.told(0),
        ["seal a 1", "seal b 1", "seal a 1", "seal c 1", "released b"]
    );
}

/// OPENED-DEKS-2
#[test]
fn versions_in_use_are_bounded_and_their_keys_go_with_them() {
    let options = KeyOptions {
        versions_max: 2,
        ..KeyOptions::default()
    };
    let mut desk = Desk::new(&options, 1);
    for version in 1..=3 {
        desk.open(0, &wrapped(version, 0), TAIL);
        desk.calls();
        desk.finish(
            Call::Unwrap(wrapped(version, 0)),
            Outcome::Unwrapped(Ok(dek(version))),
        );
    }
    assert_eq!(desk.told(0), ["open 0 1", "open 0 2", "open 0 3", "revoked 1"]);
    desk.open(0, &wrapped(1, 0), TAIL);
    assert_eq!(desk.calls(), [Call::Unwrap(wrapped(1, 0))]);
}

#[test]
fn requests_that_make_no_sense_are_answered() {
    let mut desk = Desk::new(&KeyOptions::default(), 1);
    desk.open(0, &Arc::from([1, 2, 3].as_slice()), TAIL);
    let stray = KeyRequest::Open {
        executor: 0,
        kms: KmsId::from_number(9),
        wrapped: wrapped(1, 1),
        demand: TAIL,
    };
    desk.ledger.accept(stray, desk.now);
    let stray = KeyRequest::Seal {
        executor: 0,
        key: KeyId {
            kms: KmsId::from_number(9),
            .."payments".into()
        },
        used_up: None,
    };
    desk.ledger.accept(stray, desk.now);
    assert!(desk.calls().is_empty());
    assert_eq!(
        desk.told(0),
        [
            "open 3 Malformed",
            "open 1 KekNotFound",
            "seal payments KekNotFound"
        ]
    );
    // An executor that does not exist gets nothing and does no harm.
    desk.open(1, &wrapped(1, 1), TAIL);
    desk.open(usize::MAX, &wrapped(1, 2), TAIL);
    assert!(desk.calls().is_empty());
}

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
