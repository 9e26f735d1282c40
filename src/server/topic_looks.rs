//! Topics whose record keys are sealed, or might be, before they are written to and now and then later: whether they
//! are compacted, and what their logs hold.
//!
//! - TOPIC-LOOK-1: each topic is looked at once at a time, whoever asks, and [`AT_A_TIME`] of each cluster: one that
//!   does not answer keeps no other's waiting. Every executor is told. What was found is the answer for a while, which
//!   is shorter than executors wait until they ask again: so they learn what has become of the topic.
//! - TOPIC-LOOK-2: what could not be found out keeps nobody from writing; the log says so, as often as anybody reads.
//! - TOPIC-LOOK-3: the log is told what is found when it is not what was found before.
//! - TOPIC-LOOK-4: the log is told of a topic that nothing is written to for want of a stable key, as producers are.
//!
//! Control thread; brokers are asked by threads that may wait.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{Semaphore, mpsc};
use tokio::task::spawn_blocking;

use super::sending::tell_all;
use crate::channel::Sender;
use crate::clocks;
use crate::config::{ClusterConfig, Config};
use crate::foreign::Foreign;
use crate::ids::{ById, ClusterId};
use crate::messages::{ExecutorMessage, LookSubject, TopicLook};
use crate::pipeline::ProduceRefusal;
use crate::repeats::{News, Repeats};
use crate::rules::{Action, SealRule};
use crate::self_check::{ExpectedKeys, KeyWatcher, KeysFit};

/// See the module.
pub(super) struct TopicLooks {
    clusters: ById<ClusterId, Cluster>,
    looks: HashMap<LookSubject, Looked>,
    /// What the log was told of which topics.
    said: Repeats<(LookSubject, Line)>,
    end: mpsc::Sender<Ended>,
    ended: mpsc::Receiver<Ended>,
}

/// Whose brokers are asked.
struct Cluster {
    config: Arc<ClusterConfig>,
    places: Arc<Semaphore>,
}

/// What is said again and again.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Line {
    Unpinned,
    Unknown,
}

/// What is known of one topic.
#[derive(Default)]
struct Looked {
    is_under_way: bool,
    /// What was found last, and until when that is the answer.
    found: Option<(TopicLook, Instant)>,
}

impl Looked {
    fn is_unfit(&self) -> bool {
        matches!(&self.found, Some((TopicLook::Unfit(_), _)))
    }
}

/// What has become of one look.
pub(super) struct Ended {
    subject: LookSubject,
    fit: KeysFit,
}

impl Default for TopicLooks {
    /// Of no cluster.
    fn default() -> Self {
        let (end, ended) = mpsc::channel(AT_A_TIME);
        Self {
            clusters: ById::default(),
            looks: HashMap::new(),
            said: Repeats::new(),
            end,
            ended,
        }
    }
}

impl TopicLooks {
    pub(super) fn of(config: &Config) -> Self {
        let clusters = config.clusters.iter();
        let clusters = clusters.map(|cluster| {
            let places = Arc::new(Semaphore::new(AT_A_TIME));
            let config = Arc::new(cluster.clone());
            (cluster.id, Cluster { config, places })
        });
        Self {
            clusters: clusters.collect(),
            ..Self::default()
        }
    }

    /// The next look that has ended, for [`Self::take`].
    pub(super) async fn ended(&mut self) -> Option<Ended> {
        self.ended.recv().await
    }

    /// An executor wants to know.
    pub(super) fn ask(&mut self, executors: &[Sender<ExecutorMessage>], subject: LookSubject) {
        let now = clocks::now();
        match self.looks.get(&subject) {
            Some(looked) if looked.is_under_way => return,
            Some(Looked {
                found: Some((look, until)),
                ..
            }) if now < *until => return tell(executors, &subject, look),
            Some(_) | None => {}
        }
        let (Some(cluster), Some(rule)) = (self.clusters.get(subject.cluster), self.rule_of(&subject)) else {
            return;
        };
        let (config, places) = (Arc::clone(&cluster.config), Arc::clone(&cluster.places));
        if rule.keys.sealed && subject.stable_key.is_none() {
            self.log_unpinned(&config.name, &rule, &subject, now);
        }
        let keys = ExpectedKeys::of(&rule, subject.stable_key);
        if self.looks.len() >= LOOKS_MAX {
            self.looks
                .retain(|_, looked| looked.is_under_way || looked.is_unfit());
        }
        if self.looks.len() >= LOOKS_MAX {
            // Asked again when a producer comes again.
            return;
        }
        let end = self.end.clone();
        self.looks.entry(subject.clone()).or_default().is_under_way = true;
        tokio::spawn(async move {
            // Nobody closes it.
            let Ok(_place) = places.acquire().await else {
                return;
            };
            let topic = Arc::clone(&subject.topic);
            let looked = spawn_blocking(move || {
                let deadline = clocks::now() + LOOK_MAX;
                match KeyWatcher::of(&config, deadline) {
                    Ok(watcher) => watcher.look(&topic, &keys, deadline),
                    Err(error) => KeysFit::Unknown(error),
                }
            });
            let fit = looked
                .await
                .unwrap_or_else(|_| KeysFit::Unknown("it could not be looked at".to_owned()));
            let _ = end.send(Ended { subject, fit }).await;
        });
    }

    fn rule_of(&self, subject: &LookSubject) -> Option<SealRule> {
        let rules = &self.clusters.get(subject.cluster)?.config.rules;
        match rules.resolve(&subject.topic)?.action {
            Action::Seal(rule) => Some(rule),
            _ => None,
        }
    }

    /// Tells what producers are told, too, of which many show the code alone; says whether it did.
    fn log_unpinned(&mut self, cluster: &str, rule: &SealRule, subject: &LookSubject, now: Instant) -> bool {
        if !self.is_to_be_said(subject, Line::Unpinned, now) {
            return false;
        }
        let topic = Foreign::new(&*subject.topic);
        let reason = ProduceRefusal::NoStableKey(rule.domain.name().into());
        tracing::warn!(cluster, %topic, %reason, "nothing is written to a topic");
        true
    }

    fn is_to_be_said(&mut self, subject: &LookSubject, line: Line, now: Instant) -> bool {
        let News::Say { left_out } = self.said.news((subject.clone(), line), now) else {
            return false;
        };
        if left_out > 0 {
            tracing::warn!(left_out, "topics were not named: too many in a second");
        }
        true
    }

    /// A look has ended.
    pub(super) fn take(&mut self, executors: &[Sender<ExecutorMessage>], ended: Ended) {
        let Ended { subject, fit } = ended;
        let now = clocks::now();
        let before = self.looks.get(&subject).and_then(|looked| looked.found.as_ref());
        let before = before.map(|(look, _)| look.clone());
        let is_unknown = matches!(fit, KeysFit::Unknown(_)) && before != Some(TopicLook::Unknown);
        let says_unknown = is_unknown && self.is_to_be_said(&subject, Line::Unknown, now);
        let cluster = self.clusters.get(subject.cluster);
        let cluster = cluster.map_or("", |cluster| cluster.config.name.as_str());
        let topic = Foreign::new(&*subject.topic);
        let look = match fit {
            KeysFit::Yes => {
                if matches!(before, Some(TopicLook::Unfit(_))) {
                    tracing::info!(cluster, %topic, "a topic is written to again: its keys go together with its rule");
                }
                TopicLook::Good
            }
            KeysFit::No(reason) => {
                let look = TopicLook::Unfit(reason.as_str().into());
                if before.as_ref() != Some(&look) {
                    tracing::error!(
                        cluster, %topic, reason,
                        "a topic is not written to: its keys do not go together with its rule"
                    );
                }
                look
            }
            KeysFit::Unknown(reason) => {
                if says_unknown {
                    let reason = Foreign::new(&reason);
                    tracing::warn!(
                        cluster, %topic, %reason,
                        "whether a topic is compacted and has keys of another kind could not be looked up"
                    );
                }
                TopicLook::Unknown
            }
        };
        tell(executors, &subject, &look);
        let memory = match look {
            TopicLook::Good => GOOD_FOR,
            TopicLook::Unfit(_) | TopicLook::Unknown => UNFIT_FOR,
        };
        let looked = Looked {
            is_under_way: false,
            found: Some((look, now + memory)),
        };
        self.looks.insert(subject, looked);
    }
}

fn tell(executors: &[Sender<ExecutorMessage>], subject: &LookSubject, look: &TopicLook) {
    let (subject, look) = (subject.clone(), look.clone());
    let message = move || ExecutorMessage::TopicLook(subject.clone(), look.clone());
    tokio::spawn(tell_all(executors.to_vec(), message));
}

/// Brokers are asked about so many topics at the same time.
const AT_A_TIME: usize = 4;
/// Topics of which something is remembered.
const LOOKS_MAX: usize = 10_000;
/// For one topic.
const LOOK_MAX: Duration = Duration::from_secs(10);
/// Half of what executors wait until they ask again (TOPIC-LOOK-1).
const UNFIT_FOR: Duration = Duration::from_secs(30);
const GOOD_FOR: Duration = Duration::from_secs(300);

#[cfg(test)]
mod tests;
