//! Key sets that are fetched: whose signatures tokens have to bear, from where their issuer publishes them.
//!
//! - KEY-SETS-1: an issuer that does not answer, or says what cannot be understood, changes nothing, and the log says
//!   so once until it does again. No answer is waited for longer than [`FETCH_TIMEOUT`], or taken beyond what a set
//!   may have.
//! - KEY-SETS-2: an issuer is asked at the [`PACE`] of its own, and sooner where a token names a key that the set does
//!   not have, but not within a pause, whatever clients say.
//!
//! Control thread only; sets and certificates are read by threads that may take their time.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout, timeout_at};

use super::sending::send;
use crate::admin::KeySetFacts;
use crate::channel::Sender;
use crate::config::{Config, KeySetSource, KeySetUrl};
use crate::identity::sasl::exchange::CheckedNews;
use crate::identity::sasl::oauthbearer::key_set::KeySet;
use crate::ids::{ById, ListenerId};
use crate::issuer::{FETCH_TIMEOUT, FetchError, fetch};
use crate::messages::ExecutorMessage;

/// See the module.
pub(super) struct KeySets {
    fetched: Vec<Fetched>,
    told: Arc<watch::Sender<Vec<KeySetFacts>>>,
}

/// How the sets are asked for.
#[derive(Default)]
pub(super) struct KeySetRequests(ById<ListenerId, Arc<Notify>>);

/// How often an issuer is asked.
#[derive(Clone, Copy)]
struct Pace {
    /// From one time to the next.
    interval: Duration,
    /// The same where the last one was in vain.
    retry: Duration,
    /// Between two at least, whoever asks.
    pause: Duration,
}

/// One listener's set.
struct Fetched {
    listener: ListenerId,
    source: KeySetUrl,
    pace: Pace,
    is_wanted: Arc<Notify>,
    is_failing: bool,
    /// Its place among the facts.
    place: usize,
}

impl KeySets {
    pub(super) fn of(config: &Config) -> Self {
        let (mut fetched, mut facts) = (Vec::new(), Vec::new());
        for cluster in &config.clusters {
            for listener in &cluster.listeners {
                let bearer = listener.sasl.as_ref().and_then(|sasl| sasl.oauthbearer.as_ref());
                let Some(KeySetSource::Url(source)) = bearer.map(|bearer| &bearer.keys) else {
                    continue;
                };
                fetched.push(Fetched {
                    listener: listener.id,
                    source: source.clone(),
                    pace: PACE,
                    is_wanted: Arc::default(),
                    is_failing: false,
                    place: facts.len(),
                });
                facts.push(KeySetFacts {
                    cluster: cluster.name.clone(),
                    listener: listener.name.clone(),
                    ..KeySetFacts::default()
                });
            }
        }
        let told = Arc::new(watch::Sender::new(facts));
        Self { fetched, told }
    }

    /// What is in force, whenever it changes.
    pub(super) fn watch(&self) -> watch::Receiver<Vec<KeySetFacts>> {
        self.told.subscribe()
    }

    pub(super) fn requests(&self) -> KeySetRequests {
        let mut requests = ById::default();
        for one in &self.fetched {
            requests.insert(one.listener, Arc::clone(&one.is_wanted));
        }
        KeySetRequests(requests)
    }

    /// Fetches them for as long as it is polled.
    pub(super) async fn follow(self, executors: Vec<Sender<ExecutorMessage>>) {
        let mut following = JoinSet::new();
        for one in self.fetched {
            let (told, executors) = (Arc::clone(&self.told), executors.clone());
            following.spawn(one.follow(told, executors));
        }
        while following.join_next().await.is_some() {}
    }
}

impl KeySetRequests {
    /// A token names a key that this listener's set does not have.
    pub(super) fn fetch(&self, listener: ListenerId) {
        if let Some(is_wanted) = self.0.get(listener) {
            is_wanted.notify_one();
        }
    }
}

impl Fetched {
    async fn follow(
        mut self,
        told: Arc<watch::Sender<Vec<KeySetFacts>>>,
        executors: Vec<Sender<ExecutorMessage>>,
    ) {
        loop {
            // All who have asked so far are served by this one.
            let _ = timeout(Duration::ZERO, self.is_wanted.notified()).await;
            let begun = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).ok();
            let fetched = fetch(&self.source, FETCH_TIMEOUT).await;
            let next = match &fetched {
                Ok(_) => self.pace.interval,
                Err(_) => self.pace.retry,
            };
            self.tell(&told, &fetched);
            if let Ok(keys) = fetched {
                let keys = Arc::new(keys);
                for executor in &executors {
                    let news = CheckedNews::Keys(Arc::clone(&keys), begun);
                    send(executor, ExecutorMessage::Logins(self.listener, news)).await;
                }
            }
            let ended = Instant::now();
            // KEY-SETS-2
            let _ = timeout_at(ended + next, self.is_wanted.notified()).await;
            sleep_until(ended + self.pace.pause).await;
        }
    }

    /// KEY-SETS-1
    fn tell(&mut self, told: &watch::Sender<Vec<KeySetFacts>>, fetched: &Result<KeySet, FetchError>) {
        let mut listener = String::new();
        told.send_modify(|facts| {
            let Some(facts) = facts.get_mut(self.place) else {
                return;
            };
            listener = format!("{}/{}", facts.cluster, facts.listener);
            match fetched {
                Ok(keys) => {
                    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
                    facts.fetched = now.unwrap_or_default().as_secs();
                    facts.keys = keys.key_count();
                }
                Err(_) => facts.failures = facts.failures.saturating_add(1),
            }
        });
        let was_failing = std::mem::replace(&mut self.is_failing, fetched.is_err());
        let url = self.source.url.as_str();
        match fetched {
            Ok(keys) if was_failing => {
                tracing::info!(
                    listener,
                    url,
                    keys = keys.key_count(),
                    "the key set of oauthbearer is fetched again"
                );
            }
            Ok(keys) => tracing::debug!(
                listener,
                url,
                keys = keys.key_count(),
                "the key set of oauthbearer was fetched"
            ),
            Err(reason) if !was_failing => tracing::error!(
                listener,
                url,
                %reason,
                "the key set of oauthbearer cannot be fetched: the last one stays in force; until there is one, no \
                 token is taken; it is tried again every {} s", self.pace.retry.as_secs()
            ),
            Err(_) => {}
        }
    }
}

const PACE: Pace = Pace {
    interval: Duration::from_secs(3600),
    retry: Duration::from_secs(30),
    pause: Duration::from_secs(10),
};

#[cfg(test)]
mod tests {

    use super::*;
    use crate::channel::channel;
    use crate::ids::Id as _;
    use crate::issuer::tests::{Issuer, one_key};
    use crate::testing::Published;

    /// KEY-SETS-1, KEY-SETS-2
    #[tokio::test]
    async fn an_issuer_is_asked_at_a_pace_of_its_own_and_may_fail() {
        const PAUSE: Duration = Duration::from_millis(500);
        let issuer = Issuer::new(one_key());
        let (executor, mut messages) = channel(100);
        let listener = ListenerId::from_number(0);
        let told = Arc::new(watch::Sender::new(vec![KeySetFacts::default()]));
        let one = Fetched {
            listener,
            source: issuer.source(),
            pace: Pace {
                interval: PAUSE * 1000,
                retry: PAUSE * 3,
                pause: PAUSE,
            },
            is_wanted: Arc::default(),
            is_failing: false,
            place: 0,
        };
        let sets = KeySets {
            fetched: vec![one],
            told: Arc::clone(&told),
        };
        let requests = sets.requests();
        let mut seen = told.subscribe();
        let following = tokio::spawn(sets.follow(vec![executor]));
        let mut next = async || {
            seen.changed().await.expect("it is tried");
            (seen.borrow_and_update().clone().remove(0), Instant::now())
        };
        let (first, at) = next().await;
        assert_eq!((first.keys, first.failures), (1, 0));
        issuer.server.publish(Published::Text("<html>".to_owned()));
        for _ in 0..100 {
            requests.fetch(listener);
        }
        let (second, again) = next().await;
        assert!(again - at >= PAUSE, "{:?}", again - at);
        assert_eq!((second.keys, second.failures), (1, 1), "the last set is kept");
        // Nobody asks for the next.
        let (third, later) = next().await;
        assert!(later - again >= PAUSE * 3, "{:?}", later - again);
        assert_eq!((third.failures, issuer.server.asked()), (2, 3));
        let told = std::iter::from_fn(|| messages.try_recv());
        assert_eq!(told.count(), 1, "of what is no set nobody is told");
        following.abort();
    }
}
