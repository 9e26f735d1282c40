//! Delegation tokens: brokers make them for the proxy's own account, one for each principal that is to log in there,
//! and executors log in by them.
//!
//! - DELEGATION-1: one wish for each principal is under way, whoever asks, and [`AT_A_TIME`] of all; one that has
//!   waited for its turn longer than anybody waits for it is given up.
//! - DELEGATION-2: what brokers refuse is left alone, for longer each time, as a refused account is (STANDING-2); what
//!   cannot be asked, for [`OUTAGE`].
//! - DELEGATION-3: a token that brokers have refused is replaced once; where they refuse the next one too, that is
//!   a refusal as well.
//! - DELEGATION-4: of at most [`PRINCIPALS_MAX`] principals of all clusters something is kept; the one that was asked
//!   for least recently is forgotten.
//!
//! Control thread; brokers are asked by threads that may wait.

mod maker;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::spawn_blocking;
use tokio::time::sleep;

use self::maker::{Maker, NotMade};
use super::ServerError;
use super::sending::send;
use crate::admin::TokenFacts;
use crate::broker_login::{BrokerAccount, DelegationToken, NoToken, TokenNews, TokenWish, back_off};
use crate::channel::Sender;
use crate::clocks;
use crate::config::Config;
use crate::identity::Principal;
use crate::ids::{ById, ClusterId};
use crate::messages::ExecutorMessage;

/// See the module.
pub(super) struct DelegationTokens {
    makers: ById<ClusterId, (Arc<Maker>, usize)>,
    known: HashMap<(ClusterId, Principal), Entry>,
    places: Arc<Semaphore>,
    end: mpsc::Sender<Ended>,
    ended: mpsc::Receiver<Ended>,
    told: Arc<watch::Sender<Vec<TokenFacts>>>,
}

/// What has become of one wish.
pub(super) struct Ended {
    cluster: ClusterId,
    principal: Principal,
    made: Result<DelegationToken, NotMade>,
}

#[derive(Default)]
struct Entry {
    token: Option<DelegationToken>,
    failed: Option<NoToken>,
    /// How often that was, in a row.
    failures: u32,
    /// How many tokens brokers have refused, in a row.
    refused: u32,
    /// Executors that wait for one that is being made.
    askers: Vec<usize>,
    asked: Option<Instant>,
}

impl DelegationTokens {
    /// Of all clusters where it is logged in so; the secret of the proxy's own account has to be there.
    pub(super) fn of(config: &Config) -> Result<Self, ServerError> {
        let (mut makers, mut facts) = (ById::default(), Vec::new());
        for cluster in &config.clusters {
            if let Some(maker) = Maker::of(cluster) {
                maker.own_account().map_err(|reason| ServerError::Access {
                    whose: format!("cluster {:?}", cluster.name),
                    reason,
                })?;
                makers.insert(cluster.id, (Arc::new(maker), facts.len()));
                facts.push(TokenFacts {
                    cluster: cluster.name.clone(),
                    ..TokenFacts::default()
                });
            }
        }
        Ok(Self {
            makers,
            told: Arc::new(watch::Sender::new(facts)),
            ..Self::default()
        })
    }

    /// How many there are, whenever that changes.
    pub(super) fn watch(&self) -> watch::Receiver<Vec<TokenFacts>> {
        self.told.subscribe()
    }

    /// The next wish that has ended, for [`Self::take`].
    pub(super) async fn ended(&mut self) -> Option<Ended> {
        self.ended.recv().await
    }

    /// An executor wants a token.
    pub(super) fn ask(
        &mut self,
        executors: &[Sender<ExecutorMessage>],
        executor: usize,
        cluster: ClusterId,
        wish: TokenWish,
    ) {
        let (Some((maker, _)), Some(way)) = (self.makers.get(cluster), executors.get(executor)) else {
            return;
        };
        let maker = Arc::clone(maker);
        let TokenWish {
            principal,
            instead_of,
        } = wish;
        let now = clocks::now();
        let key = (cluster, principal.clone());
        if !self.make_room(&key) {
            return;
        }
        let entry = self.known.entry(key).or_default();
        entry.asked = Some(now);
        entry.forget_refused(instead_of.as_ref(), now);
        for news in entry.answers(now) {
            tell(way, cluster, &principal, news);
        }
        if !entry.is_to_be_made(now) {
            return;
        }
        let is_under_way = !entry.askers.is_empty();
        if !entry.askers.contains(&executor) {
            entry.askers.push(executor);
        }
        if !is_under_way {
            self.make(maker, cluster, principal);
        }
    }

    /// DELEGATION-1
    fn make(&self, maker: Arc<Maker>, cluster: ClusterId, principal: Principal) {
        let (places, end) = (Arc::clone(&self.places), self.end.clone());
        let begun = clocks::now();
        tokio::spawn(async move {
            let turn = places.acquire_owned().await;
            let is_late = clocks::now().saturating_duration_since(begun) > WAITED_FOR;
            let made = match turn {
                Ok(turn) if !is_late => {
                    let owner = principal.clone();
                    let made = spawn_blocking(move || {
                        let made = maker.make(&owner);
                        // Not before: whoever asked may have given up, and the thread still waits.
                        drop(turn);
                        made
                    });
                    made.await.unwrap_or_else(|error| Err(NotMade::outage(&error)))
                }
                _ => Err(NotMade::outage(&"too many tokens are to be made at once")),
            };
            if made.is_ok() {
                sleep(KNOWN_AFTER).await;
            }
            // Nobody listens any more where the program ends.
            let _ = end
                .send(Ended {
                    cluster,
                    principal,
                    made,
                })
                .await;
        });
    }

    /// Tells whoever has asked.
    pub(super) fn take(&mut self, executors: &[Sender<ExecutorMessage>], ended: Ended) {
        let Ended {
            cluster,
            principal,
            made,
        } = ended;
        let place = self.makers.get(cluster).map(|(_, place)| *place);
        let is_made = made.is_ok();
        if let Some(entry) = self.known.get_mut(&(cluster, principal.clone())) {
            let news = entry.take(made, clocks::now());
            for asker in std::mem::take(&mut entry.askers) {
                if let Some(way) = executors.get(asker) {
                    tell(way, cluster, &principal, news.clone());
                }
            }
        }
        let known = self.known.iter();
        let known = known.filter(|((of, _), entry)| *of == cluster && entry.token.is_some());
        let known = known.count() as u64;
        self.told.send_modify(|facts| {
            if let Some(facts) = place.and_then(|place| facts.get_mut(place)) {
                facts.made = facts.made.saturating_add(u64::from(is_made));
                facts.failures = facts.failures.saturating_add(u64::from(!is_made));
                facts.known = known;
            }
        });
    }

    /// DELEGATION-4; whether there is room.
    fn make_room(&mut self, key: &(ClusterId, Principal)) -> bool {
        if self.known.len() < PRINCIPALS_MAX || self.known.contains_key(key) {
            return true;
        }
        let idle = self.known.iter().filter(|(_, entry)| entry.askers.is_empty());
        let oldest = idle
            .min_by_key(|(_, entry)| entry.asked)
            .map(|(key, _)| key.clone());
        oldest.is_some_and(|oldest| self.known.remove(&oldest).is_some())
    }
}

impl Default for DelegationTokens {
    fn default() -> Self {
        let (end, ended) = mpsc::channel(AT_A_TIME);
        Self {
            makers: ById::default(),
            known: HashMap::new(),
            places: Arc::new(Semaphore::new(AT_A_TIME)),
            end,
            ended,
            told: Arc::new(watch::Sender::new(Vec::new())),
        }
    }
}

impl Entry {
    /// DELEGATION-3
    fn forget_refused(&mut self, refused: Option<&Arc<BrokerAccount>>, now: Instant) {
        let token = self.token.as_ref().zip(refused);
        if token.is_none_or(|(known, refused)| !Arc::ptr_eq(&known.account, refused)) {
            return;
        }
        self.token = None;
        self.refused = self.refused.saturating_add(1);
        if self.refused > 1 {
            let refusal = NotMade {
                is_refused: true,
                why:
                    "brokers refuse the tokens that they have made: look at sasl.enabled.mechanisms of their \
                      listener, and whether all have the same delegation.token.secret.key"
                        .into(),
            };
            self.fail(refusal, now);
        }
    }

    fn fail(&mut self, NotMade { is_refused, why }: NotMade, now: Instant) -> NoToken {
        let wait = if is_refused {
            back_off(self.failures)
        } else {
            OUTAGE
        };
        if is_refused {
            self.failures = self.failures.saturating_add(1);
        }
        let failed = NoToken {
            is_refused,
            why: why.into(),
            until: now.checked_add(wait).unwrap_or(now),
        };
        self.failed = Some(failed.clone());
        failed
    }

    /// What is known at once: the token that there is, and why there is no newer one.
    fn answers(&mut self, now: Instant) -> Vec<TokenNews> {
        self.token = self.token.take().filter(|token| now < token.ends);
        self.failed = self.failed.take().filter(|failed| now < failed.until);
        let token = self.token.clone().map(Ok);
        token.into_iter().chain(self.failed.clone().map(Err)).collect()
    }

    fn is_to_be_made(&self, now: Instant) -> bool {
        self.failed.is_none() && self.token.as_ref().is_none_or(|token| now >= token.renew_at)
    }

    fn take(&mut self, made: Result<DelegationToken, NotMade>, now: Instant) -> TokenNews {
        match made {
            Ok(token) => {
                // One that has served its time was none that brokers refuse.
                if self.token.is_some() {
                    self.refused = 0;
                }
                self.failures = self.refused.saturating_sub(1);
                self.failed = None;
                self.token = Some(token.clone());
                Ok(token)
            }
            Err(not_made) => Err(self.fail(not_made, now)),
        }
    }
}

/// An executor whose channel is full is waited for by nobody.
fn tell(executor: &Sender<ExecutorMessage>, cluster: ClusterId, principal: &Principal, news: TokenNews) {
    let (executor, principal) = (executor.clone(), principal.clone());
    tokio::spawn(async move {
        let message = ExecutorMessage::Token {
            cluster,
            principal,
            news,
        };
        send(&executor, message).await;
    });
}

/// As many as there may be users.
const PRINCIPALS_MAX: usize = 10_000;
/// Brokers take some 50 ms for each.
const AT_A_TIME: usize = 8;
/// As long as executors wait for one.
const WAITED_FOR: Duration = Duration::from_secs(10);
/// By when a broker that follows its controller knows of a token: 280 to 540 ms after it was made.
const KNOWN_AFTER: Duration = Duration::from_millis(500);
/// For how long brokers are left alone that could not be asked.
const OUTAGE: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests;
