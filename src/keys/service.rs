//! The key service: the [`Ledger`] with its clock, its channels and its KMSs.
//!
//! - one task on the control thread's current-thread runtime runs it; calls to KMSs are tasks beside it, so that a
//!   slow KMS delays nobody but those who wait for it.
//! - SERVICE-2: every call ends: with its answer, or as an outage after [`KeyOptions::call_timeout`], or when it
//!   panics.
//! - SERVICE-3: a reply that does not fit into an executor's channel waits here and is sent before later ones.
//! - no lock is held across an await (there is none), and no error that is logged holds key material.
//! - SERVICE-6: what a KMS need not be asked for is refused without a call and says nothing of whether it answers:
//!   whoever makes up records or names could otherwise end an outage of which others are told at once (LEDGER-5).
//! - SERVICE-5: what a KMS does by itself runs for as long as the service, and is begun again when it panics.
#![expect(
    clippy::disallowed_methods,
    reason = "the control thread reads the clock itself"
)]

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::MissedTickBehavior;

use super::event::{Absence, KekVersion, KeyEvent, KeyEventKind, KeyEvents, ToldKeyEvents, key_events};
use super::ledger::{Call, Finding, FindingKind, Intervals, Job, Ledger, Outcome, WrongDek};
use super::request::{KeyFailure, KeyId, KeyReply, KeyRequest, Purpose};
use super::statistics::{CallKind, CallOutcome, KeyStatistics, KmsStatistics};
use super::{CallBudget, KeyOptions};
use crate::channel::{Receiver, Sender};
use crate::clocks::{self, ClockWatch, Clocks, ClocksParted};
use crate::foreign::Foreign;
use crate::ids::KmsId;
use crate::kms::{KekNames, Kms, KmsError};
use crate::repeats::{News, Repeats};

/// One KMS as the configuration names it.
pub struct NamedKms {
    /// What requests call it.
    pub id: KmsId,
    /// For the log.
    pub name: String,
    /// The provider.
    pub kms: Arc<dyn Kms>,
    /// How much it may be asked.
    pub budget: CallBudget,
}

/// The key service of the process.
pub struct KeyService {
    kms: Vec<NamedKms>,
    /// As they were pushed to executors, in the order of `kms`.
    kek_names: Vec<Option<KekNames>>,
    requests: Receiver<KeyRequest>,
    replies: Vec<Sender<KeyReply>>,
    ledger: Ledger,
    calls: JoinSet<EndedCall>,
    /// What each running call is, so that one that panics can be ended too.
    running: HashMap<Id, Job>,
    statistics: Arc<KeyStatistics>,
    call_timeout: Duration,
    /// Key-encryption keys that were refused lately, by KMS, and what was said of them.
    refused: Repeats<(KmsId, Arc<[u8]>, KeyFailure, &'static str)>,
    /// Key-encryption keys of which a wrong data key was found lately, by KMS, and what follows.
    wrong: Repeats<(KmsId, Arc<[u8]>, &'static str)>,
    /// For the audit log, where somebody takes them.
    events: Option<KeyEvents>,
    clocks: ClockWatch,
}

impl KeyService {
    /// A service for `kms`, whose statistics are in their order, and for one executor for each of `replies`.
    #[must_use]
    pub fn new(
        kms: Vec<NamedKms>,
        requests: Receiver<KeyRequest>,
        replies: Vec<Sender<KeyReply>>,
        options: &KeyOptions,
    ) -> Self {
        let intervals: Vec<(KmsId, Intervals)> = kms
            .iter()
            .map(|named| {
                let intervals = Intervals {
                    version_poll: named.kms.version_poll_interval(),
                    recheck: named.kms.recheck_interval(),
                    verdict_memory: named.kms.verdict_memory(),
                    budget: named.budget,
                };
                (named.id, intervals)
            })
            .collect();
        let mut service = Self {
            ledger: Ledger::new(options, &intervals, replies.len()),
            statistics: Arc::new(KeyStatistics::new(kms.len())),
            kek_names: vec![None; kms.len()],
            kms,
            requests,
            replies,
            calls: JoinSet::new(),
            running: HashMap::new(),
            call_timeout: options.call_timeout,
            refused: Repeats::new(),
            wrong: Repeats::new(),
            events: None,
            clocks: ClockWatch::default(),
        };
        // KEK-NAMES-1
        service.push_kek_names();
        service.send_replies();
        service
    }

    /// Counters, for the metrics page.
    #[must_use]
    pub fn statistics(&self) -> Arc<KeyStatistics> {
        Arc::clone(&self.statistics)
    }

    /// Asks for the version of these KEKs, so that it is known whether their KMSs are there before anybody needs a key.
    pub fn look_for(&mut self, keks: impl IntoIterator<Item = (KmsId, Arc<str>)>) {
        for (kms, kek) in keks {
            self.ledger.look_for(KeyId {
                kms,
                kek,
                purpose: Purpose::RecordSeal,
            });
        }
    }

    /// What happens to keys and KMSs from now on, for the audit log.
    #[must_use]
    pub fn events(&mut self) -> ToldKeyEvents {
        let (events, told) = key_events();
        self.events = Some(events);
        told
    }

    /// Serves until it is dropped. On a tokio runtime with time enabled.
    pub async fn run(mut self) -> Infallible {
        let mut backgrounds = JoinSet::new();
        for named in &self.kms {
            backgrounds.spawn(background(named.name.clone(), Arc::clone(&named.kms)));
        }
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            self.start_calls();
            let unsent = self.send_replies();
            tokio::select! {
                biased;
                _ = ticks.tick() => {
                    self.look_at_clocks();
                    for (named, statistics) in self.kms.iter().zip(&self.statistics.kms) {
                        statistics.set_stale(named.kms.is_stale());
                    }
                    self.push_kek_names();
                    self.tick();
                }
                Some(ended) = self.calls.join_next_with_id() => self.end_call(ended),
                request = self.requests.recv() => {
                    self.accept(request);
                    self.start_calls();
                    // Busy executors must not keep the calls and the admin page from running.
                    tokio::task::yield_now().await;
                }
                // An executor empties its channel on each of its own ticks, without saying so.
                () = tokio::time::sleep(RESEND_AFTER), if unsent || self.ledger.is_paced() => {}
            }
        }
    }

    fn tick(&mut self) {
        for (named, statistics) in self.kms.iter().zip(&self.statistics.kms) {
            statistics.set_standing(self.ledger.standing(named.id, clocks::now()));
        }
        for found in self.ledger.tick(clocks::now()) {
            self.say_found(found);
        }
    }

    /// Tells of what the ledger has found.
    fn say_found(&mut self, found: Finding) {
        let Some((named, statistics)) = self.of(found.kms) else {
            return;
        };
        let kek = KekVersion::of(&found.version);
        let (kms, shown) = (named.name.as_str(), Foreign::new(&*kek.kek).to_string());
        let kind = match found.kind {
            FindingKind::Made { before } => {
                if let Some(before) = before {
                    let kek = kek.clone();
                    self.tell(found.kms, KeyEventKind::Rotated { kek, before });
                }
                KeyEventKind::Made(kek)
            }
            FindingKind::Unwrapped => KeyEventKind::Unwrapped(kek),
            FindingKind::Revoked(failure) => {
                statistics.revocations.increment();
                tracing::warn!(
                    kms,
                    kek = &*shown,
                    "a key-encryption key in use is refused: every key under it was dropped"
                );
                KeyEventKind::Revoked(kek, failure)
            }
            FindingKind::Lapsed => {
                statistics.lapses.increment();
                tracing::error!(
                    kms,
                    kek = &*shown,
                    "a key-encryption key was not confirmed by its KMS for limits.outage_grace: every key under it was \
                     dropped, and comes back when the KMS answers"
                );
                KeyEventKind::Lapsed(kek)
            }
            FindingKind::WrongDek(wrong) => {
                statistics.wrong_deks.increment();
                self.say_wrong(found.kms, Arc::clone(&kek.kek), wrong);
                KeyEventKind::Wrong(kek, wrong)
            }
        };
        self.tell(found.kms, kind);
    }

    /// For the audit log (KEY-EVENT-1).
    fn tell(&self, kms: KmsId, kind: KeyEventKind) {
        if let Some(events) = &self.events {
            let kms = self.name(kms).into();
            events.tell(KeyEvent { kms, kind });
        }
    }

    /// Names a key-encryption key under which a KMS has made or unwrapped a wrong data key, once a minute.
    fn say_wrong(&mut self, kms: KmsId, kek: Arc<[u8]>, wrong: WrongDek) {
        let (sealed_for, consequence) = match wrong {
            WrongDek::Sealed(sealed_for) => (
                Some(sealed_for),
                "nothing more is sealed with it, and another one is made; what was sealed with it can be read through \
                 this process alone, while it runs: copy it",
            ),
            WrongDek::Unused => (
                None,
                "it was not used, and producers wait until the KMS makes one that is right",
            ),
            WrongDek::Opened => (
                None,
                "it was forgotten, and is unwrapped anew by whoever needs it",
            ),
        };
        let shown = Foreign::new(&*kek).to_string();
        if self.wrong.news((kms, kek, consequence), clocks::now()) != News::None {
            tracing::error!(
                kms = self.name(kms),
                kek = &*shown,
                ?sealed_for,
                "a KMS unwraps another data key than the one that it has made or unwrapped before: {consequence}"
            );
        }
    }

    /// Tells executors what KEKs are called in records, where that is not what they were told before.
    fn push_kek_names(&mut self) {
        for (named, pushed) in self.kms.iter().zip(&mut self.kek_names) {
            let names = named.kms.kek_names();
            if pushed.replace(names) != Some(names) {
                self.ledger.push_kek_names(named.id, names);
            }
        }
    }

    /// Before any DEK is given out, and with every tick.
    fn look_at_clocks(&mut self) {
        if let Some(clocks) = Clocks::read() {
            self.observe_clocks(clocks);
        }
    }

    fn observe_clocks(&mut self, clocks: Clocks) {
        if let Some(gap) = self.clocks.observe(clocks) {
            self.ledger.drop_sealing();
            if let ClocksParted::Suspended(gap) = gap {
                self.ledger.slept(gap, clocks::now());
            }
            tracing::warn!(
                ?gap,
                "the machine slept or its time was set: new data keys are made, since a copy of it may have those in \
                 use"
            );
        }
    }

    /// Takes in `first` and a bounded number of requests that wait behind it.
    fn accept(&mut self, first: KeyRequest) {
        self.look_at_clocks();
        let now = clocks::now();
        self.take_in(first, now);
        for _ in 1..REQUESTS_AT_ONCE {
            match self.requests.try_recv() {
                Some(request) => self.take_in(request, now),
                None => break,
            }
        }
    }

    fn take_in(&mut self, request: KeyRequest, now: Instant) {
        let Some((job, error)) = self.refused_unasked(&request) else {
            return self.ledger.accept(request, now);
        };
        if self.ledger.refuse(request, KeyFailure::from(&error), now)
            && let Some(kind) = self.say_refused(&job, Some(&error))
        {
            self.tell(job.kms, kind);
        }
    }

    /// The call that a request would cost, and what can be said instead of it (SERVICE-6).
    fn refused_unasked(&self, request: &KeyRequest) -> Option<(Job, KmsError)> {
        match request {
            KeyRequest::Seal { key, .. } => {
                let error = self.of(key.kms)?.0.kms.check_kek(&key.kek).err()?;
                let call = Call::Generate(key.clone());
                Some((Job { kms: key.kms, call }, error))
            }
            KeyRequest::Open { kms, wrapped, .. } => {
                let error = self.of(*kms)?.0.kms.check_wrapped(wrapped).err()?;
                let call = Call::Unwrap(Arc::clone(wrapped));
                Some((Job { kms: *kms, call }, error))
            }
            KeyRequest::Used { .. } => None,
        }
    }

    fn start_calls(&mut self) {
        while let Some(job) = self.ledger.next_job(clocks::now()) {
            let Some((named, _)) = self.of(job.kms) else {
                continue;
            };
            let call = call(Arc::clone(&named.kms), job.clone(), self.call_timeout);
            let handle = self.calls.spawn(call);
            self.running.insert(handle.id(), job);
        }
    }

    fn end_call(&mut self, ended: Result<(Id, EndedCall), JoinError>) {
        let (id, answer) = match ended {
            Ok((id, answer)) => (id, Some(answer)),
            Err(error) => (error.id(), None),
        };
        let Some(job) = self.running.remove(&id) else {
            return;
        };
        let answer = answer.unwrap_or_else(|| EndedCall {
            outcome: job.call.outage("the call ended abnormally"),
            took: Duration::ZERO,
        });
        self.count(&job, &answer);
        let (kms, refused) = (job.kms, self.say_refused(&job, answer.error()));
        match self.ledger.finish(job, answer.outcome, clocks::now()) {
            Some(found) => self.say_found(found),
            None => refused.into_iter().for_each(|kind| self.tell(kms, kind)),
        }
    }

    /// Names a key-encryption key that the KMS refuses, once a minute; returns what the audit log is told, where it was
    /// not in use.
    fn say_refused(&mut self, job: &Job, error: Option<&KmsError>) -> Option<KeyEventKind> {
        let error = error.filter(|error| error.refuses_kek())?;
        let (kek, failure) = (kek_of(&job.call), KeyFailure::from(error));
        let consequence = consequence(&job.call, error);
        let kind = (job.kms, Arc::clone(&kek.kek), failure, consequence);
        if self.refused.news(kind, clocks::now()) != News::None {
            tracing::warn!(
                kms = self.name(job.kms),
                kek = &*Foreign::new(&*kek.kek).to_string(),
                reason = %error,
                "a key-encryption key is refused: {consequence}"
            );
        }
        Some(KeyEventKind::Refused(kek, failure))
    }

    fn count(&self, job: &Job, answer: &EndedCall) {
        let Some((_, statistics)) = self.of(job.kms) else {
            return;
        };
        statistics.latency(kind_of(&job.call)).record(answer.took);
        let error = answer.error();
        if error.is_none() {
            counter(statistics, &job.call).increment();
        }
        statistics
            .calls(kind_of(&job.call), CallOutcome::of(error))
            .increment();
        let outage = error.filter(|error| !error.is_verdict());
        let now = clocks::now();
        let before = statistics.state(now);
        if statistics.set_answering(outage.is_none(), now) {
            let kind = match outage {
                Some(reason) => {
                    tracing::error!(kms = self.name(job.kms), %reason, "KMS unavailable");
                    KeyEventKind::Lost(Absence::of(reason))
                }
                None => {
                    tracing::info!(kms = self.name(job.kms), "KMS available again");
                    KeyEventKind::Found(before.silence())
                }
            };
            self.tell(job.kms, kind);
        }
    }

    fn name(&self, kms: KmsId) -> &str {
        self.of(kms).map_or("?", |(named, _)| named.name.as_str())
    }

    fn of(&self, kms: KmsId) -> Option<(&NamedKms, &KmsStatistics)> {
        let mut known = self.kms.iter().zip(&self.statistics.kms);
        known.find(|(named, _)| named.id == kms)
    }

    /// Sends what fits; returns whether something is left.
    fn send_replies(&mut self) -> bool {
        let mut unsent = false;
        for (executor, sender) in self.replies.iter().enumerate() {
            while let Some(reply) = self.ledger.pop_reply(executor) {
                if let Err(back) = sender.try_send(reply) {
                    self.ledger.unpop_reply(executor, back);
                    unsent = true;
                    break;
                }
            }
        }
        unsent
    }
}

struct EndedCall {
    outcome: Outcome,
    took: Duration,
}

impl EndedCall {
    fn error(&self) -> Option<&KmsError> {
        self.outcome.error()
    }
}

/// The key-encryption key that a call is about: a rule's, or a record's.
fn kek_of(call: &Call) -> KekVersion {
    match call {
        Call::Generate(key) | Call::PollVersion(key) => KekVersion::any(&key.kek),
        Call::Unwrap(wrapped) | Call::Recheck(wrapped) => KekVersion::of(wrapped),
    }
}

/// What a refusal of the key-encryption key of `call` means, and no more: of its versions others may be good.
fn consequence(call: &Call, error: &KmsError) -> &'static str {
    match (call, error) {
        (Call::Generate(_) | Call::PollVersion(_), _) => "nothing is sealed under it",
        (_, KmsError::KekVersionNotFound(_)) => {
            "what names this version of it is not opened: altered records, or a keystore that was restored from an old \
             backup"
        }
        (Call::Unwrap(_) | Call::Recheck(_), _) => {
            "what is sealed under the version that is refused is not opened"
        }
    }
}

/// Makes one call, with its deadline.
async fn call(kms: Arc<dyn Kms>, job: Job, timeout: Duration) -> EndedCall {
    let started = clocks::now();
    let question = async {
        match &job.call {
            Call::Generate(key) => Outcome::Generated(generate(&*kms, &key.kek).await),
            Call::Unwrap(wrapped) => Outcome::Unwrapped(kms.unwrap_dek(wrapped).await),
            Call::Recheck(wrapped) => Outcome::Rechecked(kms.recheck(wrapped).await),
            Call::PollVersion(key) => Outcome::Version(kms.current_version(&key.kek).await),
        }
    };
    let outcome = match tokio::time::timeout(timeout, question).await {
        Ok(outcome) => outcome,
        Err(_) => job.call.outage("no answer in time"),
    };
    EndedCall {
        outcome,
        took: started.elapsed(),
    }
}

/// Runs what a KMS does by itself, again whenever it panics (SERVICE-5).
async fn background(name: String, kms: Arc<dyn Kms>) {
    loop {
        let kms = Arc::clone(&kms);
        // Whoever drops this future ends the task as well.
        let mut task = JoinSet::new();
        task.spawn(async move { kms.background().await });
        match task.join_next().await {
            Some(Err(error)) if error.is_panic() => {
                tracing::error!(
                    kms = name.as_str(),
                    "what the KMS does by itself ended abnormally; it begins again"
                );
                tokio::time::sleep(BACKGROUND_AGAIN_AFTER).await;
            }
            _ => return,
        }
    }
}

/// A DEK that does not name the KEK it was asked for would seal records that no rule opens: refused.
async fn generate(kms: &dyn Kms, kek: &str) -> Result<crate::kms::GeneratedDek, KmsError> {
    let id = kms.kek_names().id(kek).ok_or(KmsError::KekNotFound)?;
    let generated = kms.generate_dek(kek).await?;
    if id.matches(&generated.wrapped) {
        Ok(generated)
    } else {
        Err(KmsError::Unavailable(
            "it answered with a data key under another key-encryption key".to_owned(),
        ))
    }
}

fn kind_of(call: &Call) -> CallKind {
    match call {
        Call::Generate(_) => CallKind::Generate,
        Call::Unwrap(_) => CallKind::Unwrap,
        Call::Recheck(_) => CallKind::Recheck,
        Call::PollVersion(_) => CallKind::Version,
    }
}

fn counter<'s>(statistics: &'s KmsStatistics, call: &Call) -> &'s super::statistics::Counter {
    match call {
        Call::Generate(_) => &statistics.generated,
        Call::Unwrap(_) => &statistics.unwrapped,
        Call::Recheck(_) => &statistics.rechecked,
        Call::PollVersion(_) => &statistics.version_polls,
    }
}

/// How often due polls and rechecks are looked for.
const TICK: Duration = Duration::from_millis(250);

/// How soon what a KMS does by itself begins again after it panicked.
const BACKGROUND_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// How soon an executor's full channel is tried again, below the 20 ms of an executor's own tick; and calls that wait
/// for their turn in the second.
const RESEND_AFTER: Duration = Duration::from_millis(5);

/// Requests that are taken in before calls are started and replies sent.
const REQUESTS_AT_ONCE: usize = 256;

#[cfg(test)]
mod tests;
