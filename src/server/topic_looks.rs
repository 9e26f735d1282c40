//! The first use of a topic whose record keys are sealed, or might be: whether it is compacted, and what its log holds.
//!
//! - TOPIC-LOOK-1: each topic is looked at once, whoever asks, and [`AT_A_TIME`] at a time; every executor is told.
//! - TOPIC-LOOK-2: what could not be found out keeps nobody from writing; the log says so.
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
use crate::messages::{ExecutorMessage, TopicLook};
use crate::rules::{Action, RecordKeys};
use crate::self_check::{KeyWatcher, KeysFit};

/// See the module.
pub(super) struct TopicLooks {
    clusters: ById<ClusterId, Arc<ClusterConfig>>,
    looks: HashMap<(ClusterId, Arc<str>), State>,
    places: Arc<Semaphore>,
    end: mpsc::Sender<Ended>,
    ended: mpsc::Receiver<Ended>,
}

enum State {
    UnderWay,
    Found(TopicLook),
    /// To be asked again from then on.
    Unknown(Instant),
}

/// What has become of one look.
pub(super) struct Ended {
    cluster: ClusterId,
    topic: Arc<str>,
    fit: KeysFit,
}

impl Default for TopicLooks {
    /// Of no cluster.
    fn default() -> Self {
        let (end, ended) = mpsc::channel(AT_A_TIME);
        Self {
            clusters: ById::default(),
            looks: HashMap::new(),
            places: Arc::new(Semaphore::new(AT_A_TIME)),
            end,
            ended,
        }
    }
}

impl TopicLooks {
    pub(super) fn of(config: &Config) -> Self {
        let clusters = config.clusters.iter();
        let clusters = clusters.map(|cluster| (cluster.id, Arc::new(cluster.clone())));
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
    pub(super) fn ask(&mut self, executors: &[Sender<ExecutorMessage>], cluster: ClusterId, topic: Arc<str>) {
        let key = (cluster, topic);
        let now = clocks::now();
        match self.looks.get(&key) {
            Some(State::UnderWay) => return,
            Some(State::Found(look)) => return tell(executors, &key, look),
            Some(State::Unknown(until)) if now < *until => return tell(executors, &key, &TopicLook::Good),
            Some(State::Unknown(_)) | None => {}
        }
        let (Some(config), Some(keys)) = (self.clusters.get(cluster), self.keys_of(&key)) else {
            return;
        };
        if self.looks.len() >= LOOKS_MAX {
            self.looks.retain(|_, state| matches!(state, State::UnderWay));
        }
        if self.looks.len() >= LOOKS_MAX {
            // Asked again when a producer comes again.
            return;
        }
        let (config, places, end) = (Arc::clone(config), Arc::clone(&self.places), self.end.clone());
        let topic = Arc::clone(&key.1);
        self.looks.insert(key, State::UnderWay);
        tokio::spawn(async move {
            // Nobody closes it.
            let Ok(_place) = places.acquire().await else {
                return;
            };
            let asked = Arc::clone(&topic);
            let looked = spawn_blocking(move || {
                let deadline = clocks::now() + LOOK_MAX;
                match KeyWatcher::of(&config, deadline) {
                    Ok(watcher) => watcher.look(&asked, keys, deadline),
                    Err(error) => KeysFit::Unknown(error),
                }
            });
            let fit = looked
                .await
                .unwrap_or_else(|_| KeysFit::Unknown("it could not be looked at".to_owned()));
            let _ = end.send(Ended { cluster, topic, fit }).await;
        });
    }

    fn keys_of(&self, (cluster, topic): &(ClusterId, Arc<str>)) -> Option<RecordKeys> {
        match self.clusters.get(*cluster)?.rules.resolve(topic)?.action {
            Action::Seal(rule) => Some(rule.keys),
            _ => None,
        }
    }

    /// A look has ended.
    pub(super) fn take(&mut self, executors: &[Sender<ExecutorMessage>], ended: Ended) {
        let Ended { cluster, topic, fit } = ended;
        let name = self
            .clusters
            .get(cluster)
            .map(|cluster| cluster.name.clone())
            .unwrap_or_default();
        let (state, look) = match fit {
            KeysFit::Yes => (State::Found(TopicLook::Good), TopicLook::Good),
            KeysFit::No(reason) => {
                let topic = Foreign::new(&*topic);
                tracing::error!(
                    cluster = name, %topic, reason,
                    "a topic is not written to: its keys do not go together with its rule"
                );
                let look = TopicLook::Unfit(reason.into());
                (State::Found(look.clone()), look)
            }
            KeysFit::Unknown(reason) => {
                let (topic, reason) = (Foreign::new(&*topic), Foreign::new(&reason));
                tracing::warn!(
                    cluster = name, %topic, %reason,
                    "whether a topic is compacted and has keys of another kind could not be looked up"
                );
                (State::Unknown(clocks::now() + ASK_AGAIN_AFTER), TopicLook::Good)
            }
        };
        let key = (cluster, topic);
        tell(executors, &key, &look);
        self.looks.insert(key, state);
    }
}

fn tell(executors: &[Sender<ExecutorMessage>], (cluster, topic): &(ClusterId, Arc<str>), look: &TopicLook) {
    let (cluster, topic, look) = (*cluster, Arc::clone(topic), look.clone());
    let message = move || ExecutorMessage::TopicLook(cluster, Arc::clone(&topic), look.clone());
    tokio::spawn(tell_all(executors.to_vec(), message));
}

/// Brokers are asked about so many topics at the same time.
const AT_A_TIME: usize = 4;
/// Topics of which something is remembered.
const LOOKS_MAX: usize = 10_000;
/// For one topic.
const LOOK_MAX: Duration = Duration::from_secs(10);
const ASK_AGAIN_AFTER: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests;
