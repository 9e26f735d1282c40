//! Live and ready, with the reasons when not.

use std::time::{Duration, Instant};

use serde::Serialize;

use super::{Collection, EXECUTOR_TIMEOUT, LIVENESS_TIMEOUT};

/// One KMS as the key service last saw it.
#[derive(Clone, Debug)]
pub struct KmsHealth {
    /// Its name in the configuration.
    pub name: String,
    /// How it answers.
    pub state: KmsState,
}

/// How a KMS answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KmsState {
    /// It has not been asked yet.
    Unasked,
    /// The last call was answered.
    Answering,
    /// Calls have failed for so long; keys at hand are used on.
    Outage(Duration),
    /// Calls have failed for longer than the grace: keys at hand are not used any more.
    OutagePastGrace(Duration),
}

/// The answer of a probe: served as JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Health {
    /// The verdict.
    pub ok: bool,
    /// Why not, one sentence each; empty when all is well.
    pub reasons: Vec<String>,
    /// What is wrong without making the verdict worse.
    pub warnings: Vec<String>,
    /// Executors that answered.
    pub executors_answering: usize,
    /// Executors that there are.
    pub executors: usize,
}

impl Health {
    /// The verdict when the facts themselves did not arrive.
    pub(super) fn unknown() -> Self {
        Self {
            ok: false,
            reasons: vec!["the control thread did not answer in time".to_owned()],
            warnings: Vec::new(),
            executors_answering: 0,
            executors: 0,
        }
    }

    /// Whether new connections should be sent here.
    pub(super) fn ready(collection: &Collection) -> Self {
        let mut health = Self::of_executors(collection);
        if collection.executors.is_empty() {
            health.reasons.push("no executor runs".to_owned());
        }
        for (executor, snapshot) in collection.executors.iter().enumerate() {
            if snapshot.is_none() {
                let seconds = EXECUTOR_TIMEOUT.as_secs();
                let reason = format!("executor {executor} did not answer within {seconds} s");
                health.reasons.push(reason);
            }
        }
        for kms in &collection.kms {
            let name = &kms.name;
            match kms.state {
                KmsState::Unasked | KmsState::Answering => {}
                KmsState::Outage(lasting) => health.warnings.push(format!(
                    "KMS {name:?} has not answered for {} s; keys at hand are used on",
                    lasting.as_secs()
                )),
                KmsState::OutagePastGrace(lasting) => health.reasons.push(format!(
                    "KMS {name:?} has not answered for {} s, longer than outage_grace",
                    lasting.as_secs()
                )),
            }
        }
        if collection.draining {
            health
                .reasons
                .push("draining: the program was told to stop".to_owned());
        }
        health.ok = health.reasons.is_empty();
        health
    }

    fn of_executors(collection: &Collection) -> Self {
        Self {
            ok: true,
            reasons: Vec::new(),
            warnings: Vec::new(),
            executors_answering: collection.executors.iter().flatten().count(),
            executors: collection.executors.len(),
        }
    }
}

/// Remembers since when each executor has been silent, over the questions that were asked.
#[derive(Debug, Default)]
pub(super) struct Liveness {
    silent_since: Vec<Option<Instant>>,
}

impl Liveness {
    /// Takes note of who answered at `now`.
    pub(super) fn observe(&mut self, collection: &Collection, now: Instant) {
        self.silent_since.resize(collection.executors.len(), None);
        for (since, snapshot) in self.silent_since.iter_mut().zip(&collection.executors) {
            *since = match snapshot {
                Some(_) => None,
                None => since.or(Some(now)),
            };
        }
    }

    /// Whether the process still does its work.
    pub(super) fn verdict(&self, collection: &Collection, now: Instant) -> Health {
        let mut health = Health::of_executors(collection);
        for (executor, since) in self.silent_since.iter().enumerate() {
            let Some(since) = since else { continue };
            let silent = now.saturating_duration_since(*since);
            if silent >= LIVENESS_TIMEOUT {
                let seconds = silent.as_secs();
                let reason = format!("executor {executor} has not answered for {seconds} s");
                health.reasons.push(reason);
            }
        }
        health.ok = health.reasons.is_empty();
        health
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Snapshot;

    fn collection(executors: Vec<Option<Snapshot>>, state: KmsState) -> Collection {
        Collection {
            executors,
            kms: vec![KmsHealth {
                name: "local".to_owned(),
                state,
            }],
            ..Collection::default()
        }
    }

    #[test]
    fn ready_when_every_executor_answers_and_kms_is_within_its_grace() {
        let answering = vec![Some(Snapshot::default()), Some(Snapshot::default())];
        let health = Health::ready(&collection(answering.clone(), KmsState::Answering));
        assert!(health.ok && health.warnings.is_empty());
        let outage = KmsState::Outage(Duration::from_secs(5));
        let health = Health::ready(&collection(answering.clone(), outage));
        assert!(health.ok && health.warnings.len() == 1);
        let outage = KmsState::OutagePastGrace(Duration::from_secs(5000));
        let health = Health::ready(&collection(answering, outage));
        assert!(!health.ok && health.reasons.len() == 1);
    }

    #[test]
    fn not_ready_without_executors_with_a_silent_one_or_while_draining() {
        assert!(!Health::ready(&collection(Vec::new(), KmsState::Unasked)).ok);
        let silent = vec![Some(Snapshot::default()), None];
        let health = Health::ready(&collection(silent, KmsState::Unasked));
        assert!(!health.ok);
        assert_eq!((health.executors_answering, health.executors), (1, 2));
        let mut draining = collection(vec![Some(Snapshot::default())], KmsState::Unasked);
        draining.draining = true;
        assert!(!Health::ready(&draining).ok);
    }

    #[test]
    fn alive_until_an_executor_is_silent_for_the_whole_time_out() {
        let start = Instant::now();
        let silent = collection(vec![None], KmsState::Unasked);
        let mut liveness = Liveness::default();
        liveness.observe(&silent, start);
        let before = start + LIVENESS_TIMEOUT - Duration::from_millis(1);
        assert!(liveness.verdict(&silent, before).ok);
        assert!(!liveness.verdict(&silent, start + LIVENESS_TIMEOUT).ok);
        let answering = collection(vec![Some(Snapshot::default())], KmsState::Unasked);
        liveness.observe(&answering, start + LIVENESS_TIMEOUT);
        assert!(liveness.verdict(&answering, start + LIVENESS_TIMEOUT).ok);
    }
}
