//! Tokens that the proxy shows to brokers, fetched from the endpoint that gives them (RFC 6749, 4.4).
//!
//! - BROKER-TOKENS-1: another token is fetched when 60 to 75 % of a token's time are over, so that proxies that started
//!   together do not ask together. A token that there is is used until it ends, whatever becomes of the next.
//! - BROKER-TOKENS-2: an endpoint that is away is asked again after a second, and longer each time, up to
//!   [`Pace::outage_max`]; one that refuses the client after [`Pace::refusal`], or as soon as the client's secret is
//!   another one. The log says either once until there is a token again.
//! - BROKER-TOKENS-3: a token that brokers refuse is replaced, once within [`Pace::refused_token`].
//!
//! Control thread only; secrets and certificates are read by threads that may take their time.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::watch;
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::{Instant, sleep_until};
use zeroize::Zeroizing;

use super::ServerError;
use super::sending::send;
use crate::admin::BrokerTokenFacts;
use crate::broker_login::{BrokerAccounts, back_off};
use crate::channel::Sender;
use crate::config::{Config, OwnAccount, TokenEndpoint, UpstreamLogin};
use crate::identity::sasl::initiator::{Credential, Proof};
use crate::ids::ClusterId;
use crate::issuer::FETCH_TIMEOUT;
use crate::issuer::token::{FetchedToken, TokenError, fetch_token};
use crate::messages::ExecutorMessage;

/// See the module.
pub(super) struct BrokerTokens {
    fetched: Vec<Fetched>,
    told: Arc<watch::Sender<Vec<BrokerTokenFacts>>>,
}

/// How often an endpoint is asked.
#[derive(Clone, Copy)]
struct Pace {
    /// At most, where it is away.
    outage_max: Duration,
    /// Where it refuses the client.
    refusal: Duration,
    /// Where brokers refuse what it gives.
    refused_token: Duration,
    /// How often it is looked whether something has changed.
    look: Duration,
}

/// One cluster's token.
struct Fetched {
    cluster: ClusterId,
    name: String,
    endpoint: TokenEndpoint,
    pace: Pace,
    accounts: Arc<BrokerAccounts>,
    /// When the token ends that there is.
    ends: Option<Instant>,
    /// How often it was asked in vain, in a row.
    failures: u32,
    /// With which secret the client was refused last.
    refused: Option<Zeroizing<String>>,
    is_failing: bool,
    /// Its place among the facts.
    place: usize,
}

impl BrokerTokens {
    /// Of all clusters where it is logged in so; the client's secret has to be there.
    pub(super) fn of(config: &Config) -> Result<Self, ServerError> {
        let (mut fetched, mut facts) = (Vec::new(), Vec::new());
        for cluster in &config.clusters {
            let Some(UpstreamLogin::One(OwnAccount::Fetched(endpoint))) = &cluster.upstream_login else {
                continue;
            };
            endpoint.secret().map_err(|error| ServerError::Access {
                whose: format!("cluster {:?}", cluster.name),
                reason: error.to_string(),
            })?;
            fetched.push(Fetched::new(
                cluster.id,
                &cluster.name,
                endpoint,
                PACE,
                facts.len(),
            ));
            facts.push(BrokerTokenFacts {
                cluster: cluster.name.clone(),
                ..BrokerTokenFacts::default()
            });
        }
        let told = Arc::new(watch::Sender::new(facts));
        Ok(Self { fetched, told })
    }

    /// What there is, whenever it changes.
    pub(super) fn watch(&self) -> watch::Receiver<Vec<BrokerTokenFacts>> {
        self.told.subscribe()
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

impl Fetched {
    fn new(cluster: ClusterId, name: &str, endpoint: &TokenEndpoint, pace: Pace, place: usize) -> Self {
        Self {
            cluster,
            name: name.to_owned(),
            endpoint: endpoint.clone(),
            pace,
            accounts: Arc::default(),
            ends: None,
            failures: 0,
            refused: None,
            is_failing: false,
            place,
        }
    }

    async fn follow(
        mut self,
        told: Arc<watch::Sender<Vec<BrokerTokenFacts>>>,
        executors: Vec<Sender<ExecutorMessage>>,
    ) {
        loop {
            // Before it is sent: what changes meanwhile is another one.
            let secret = secret_of(&self.endpoint).await;
            let fetched = fetch_token(&self.endpoint, FETCH_TIMEOUT).await;
            self.log(&fetched);
            let is_refusal = matches!(fetched, Err(TokenError::Refused { .. }));
            self.refused = secret.filter(|_| is_refusal);
            self.tell(&told, &fetched);
            let next = self.take(fetched);
            self.spread(&executors).await;
            self.wait(next, &told, &executors).await;
        }
    }

    /// When it is asked next (BROKER-TOKENS-1, BROKER-TOKENS-2).
    fn take(&mut self, fetched: Result<FetchedToken, TokenError>) -> Instant {
        let now = Instant::now();
        let wait = match fetched {
            Ok(FetchedToken { token, good_for }) => {
                self.failures = 0;
                let credential = Credential::new(Proof::Token(token));
                self.accounts = Arc::new(BrokerAccounts::for_all(credential, &self.accounts));
                self.ends = now.checked_add(good_for);
                good_for.mul_f64(0.6 + 0.15 * fraction())
            }
            Err(error) => {
                if self.ends.is_none() {
                    self.accounts =
                        Arc::new(BrokerAccounts::missing(&format!("no token was fetched: {error}")));
                }
                let most = match error {
                    TokenError::Refused { .. } => self.pace.refusal,
                    _ => back_off(self.failures).min(self.pace.outage_max),
                };
                self.failures = self.failures.saturating_add(1);
                most.mul_f64(0.75 + 0.25 * fraction())
            }
        };
        now.checked_add(wait).unwrap_or(now)
    }

    /// Until it is to be asked again.
    async fn wait(
        &mut self,
        next: Instant,
        told: &watch::Sender<Vec<BrokerTokenFacts>>,
        executors: &[Sender<ExecutorMessage>],
    ) {
        let begun = Instant::now();
        loop {
            let look = Instant::now() + self.pace.look;
            let until = self.ends.map_or(next, |ends| ends.min(next)).min(look);
            sleep_until(until).await;
            let now = Instant::now();
            if self.ends.is_some_and(|ends| now >= ends) {
                self.ends = None;
                self.accounts = Arc::new(BrokerAccounts::missing("the token that was fetched has ended"));
                self.change(told, |facts| facts.ends = 0);
                self.spread(executors).await;
            }
            let is_refused = self.ends.is_some() && self.accounts.is_refused();
            // BROKER-TOKENS-3
            if now >= next || is_refused && now.duration_since(begun) >= self.pace.refused_token {
                return;
            }
            if let Some(refused) = &self.refused {
                let secret = secret_of(&self.endpoint).await;
                if secret.is_some_and(|secret| secret != *refused) {
                    return;
                }
            }
        }
    }

    async fn spread(&self, executors: &[Sender<ExecutorMessage>]) {
        for executor in executors {
            let accounts = Arc::clone(&self.accounts);
            send(executor, ExecutorMessage::Accounts(self.cluster, accounts)).await;
        }
    }

    fn change(
        &self,
        told: &watch::Sender<Vec<BrokerTokenFacts>>,
        change: impl FnOnce(&mut BrokerTokenFacts),
    ) {
        told.send_modify(|facts| {
            if let Some(facts) = facts.get_mut(self.place) {
                change(facts);
            }
        });
    }

    fn tell(&self, told: &watch::Sender<Vec<BrokerTokenFacts>>, fetched: &Result<FetchedToken, TokenError>) {
        let counted = |count: u64| count.saturating_add(1);
        self.change(told, |facts| {
            facts.is_refused = matches!(fetched, Err(TokenError::Refused { .. }));
            match fetched {
                Ok(token) => {
                    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
                    facts.ends = now.unwrap_or_default().saturating_add(token.good_for).as_secs();
                    facts.given = counted(facts.given);
                }
                Err(TokenError::Refused { .. }) => facts.refusals = counted(facts.refusals),
                Err(_) => facts.failures = counted(facts.failures),
            }
        });
    }

    /// BROKER-TOKENS-2
    fn log(&mut self, fetched: &Result<FetchedToken, TokenError>) {
        let was_failing = std::mem::replace(&mut self.is_failing, fetched.is_err());
        let was_refused = self.refused.is_some();
        let (cluster, url) = (&*self.name, self.endpoint.url.as_str());
        match fetched {
            Ok(token) if was_failing => {
                let good_for = token.good_for;
                tracing::info!(cluster, url, ?good_for, "a token for brokers is fetched again");
            }
            Ok(token) => {
                let good_for = token.good_for;
                tracing::debug!(cluster, url, ?good_for, "a token for brokers was fetched");
            }
            Err(reason @ TokenError::Refused { .. }) if !was_refused => tracing::error!(
                cluster,
                url,
                client_id = self.endpoint.client_id,
                %reason,
                "the endpoint gives no token for brokers: it is asked again in some minutes, or when the secret is \
                 another one; a token that there is is used until it ends"
            ),
            Err(reason) if !was_failing => tracing::error!(
                cluster,
                url,
                %reason,
                "no token for brokers can be fetched: one that there is is used until it ends; it is tried again all \
                 the time"
            ),
            Err(_) => {}
        }
    }
}

async fn secret_of(endpoint: &TokenEndpoint) -> Option<Zeroizing<String>> {
    let endpoint = endpoint.clone();
    let read = spawn_blocking(move || endpoint.secret()).await;
    read.ok()?.ok()
}

/// From 0 to 1, by chance.
fn fraction() -> f64 {
    f64::from(getrandom::u32().unwrap_or_default()) / f64::from(u32::MAX)
}

const PACE: Pace = Pace {
    outage_max: Duration::from_secs(60),
    refusal: Duration::from_secs(300),
    refused_token: Duration::from_secs(30),
    look: Duration::from_secs(5),
};

#[cfg(test)]
mod tests;
