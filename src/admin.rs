//! The admin HTTP endpoint: `/metrics` (OpenMetrics text), `/livez`, `/readyz`. Runs on the control thread.
//!
//! What it shows it asks for at that moment, through [`Source`]; it holds no counters and can change nothing.
//!
//! - ADMIN-1: nobody waits for connections that say nothing: each has [`REQUEST_TIMEOUT`] for its request, and there
//!   are [`CALLERS_MAX`] of them, beyond which a new one takes the place of the oldest.
//! - ADMIN-2: a connection carries one request and is gone [`CONNECTION_TIMEOUT`] after it was accepted, whatever its
//!   peer does.
//! - ADMIN-3: an answer takes at most [`COLLECT_TIMEOUT`] to put together; an executor that does not answer is
//!   reported, not waited for.
//! - ADMIN-4: nothing of a request is echoed, and nothing secret can be asked for.
//! - ADMIN-5: `/metrics`, the one answer that may be long, has [`SCRAPES_MAX`] places, and probes need none of them.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]
#![expect(
    clippy::disallowed_methods,
    reason = "the control thread reads the clock itself"
)]

mod callers;
mod exposition;
mod health;
mod server;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;

pub use exposition::text;
pub use health::Health;
pub use server::serve;

use crate::audit::AuditState;
use crate::keys::statistics::{KeyStatistics, KmsStatistics};
use crate::metrics::Snapshot;

/// Where the endpoint gets its facts: implemented by the control thread's main loop.
#[async_trait]
pub trait Source: Send + Sync + 'static {
    /// Asks every executor for its counters, and waits at most [`EXECUTOR_TIMEOUT`] for answers.
    async fn collect(&self) -> Collection;
}

/// What [`Source::collect`] found.
#[derive(Clone, Debug, Default)]
pub struct Collection {
    /// One entry for each executor, by its number; `None` where it did not answer in time.
    pub executors: Vec<Option<Snapshot>>,
    /// The key service's counters; `None` only where no key service runs.
    pub keys: Option<Arc<KeyStatistics>>,
    /// The KMSs' names, in the order of the configuration, which is that of the counters.
    pub kms_names: Vec<String>,
    /// The program was told to stop.
    pub draining: bool,
    /// What listeners hide, or have hidden.
    pub hidden: Vec<Hidden>,
    /// TLS of each listener and cluster that has it.
    pub tls: Vec<TlsFacts>,
    /// Each file that says who may do something.
    pub access: Vec<AccessFacts>,
    /// Each key set that is fetched.
    pub key_sets: Vec<KeySetFacts>,
    /// Of each cluster whose brokers make delegation tokens.
    pub tokens: Vec<TokenFacts>,
    /// Of each cluster for whose brokers tokens are fetched.
    pub broker_tokens: Vec<BrokerTokenFacts>,
    /// Of `[keyring]`, where there is one.
    pub keyring: Option<KeyringFacts>,
    /// How many connections are served, and how many `limits.connections_max` wants to be.
    pub connections: (usize, usize),
    /// Of `[audit]`.
    pub audit: Arc<AuditState>,
}

/// Brokers that one listener does not serve.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hidden {
    pub cluster: String,
    pub listener: String,
    /// The brokers' ids.
    pub nodes: Vec<i32>,
    /// The ids that it serves and theirs, as `nodes` in the configuration would have them.
    pub all: String,
}

/// What is in force of one listener's TLS, or of a cluster's towards its brokers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsFacts {
    pub cluster: String,
    /// Empty: towards brokers.
    pub listener: String,
    /// The file of each certificate, and when it ends, in seconds since 1970.
    pub certificates: Vec<(String, i64)>,
    /// The file of authorities that others are believed by, and when the first of them ends, in seconds since 1970.
    pub authorities: Option<(String, i64)>,
    /// Each file of revocation lists, and when the first of them is to be replaced, in seconds since 1970.
    pub revocations: Vec<(String, i64)>,
    /// It is what the files hold.
    pub is_current: bool,
    /// Whoever answers is believed.
    pub is_unverified: bool,
}

/// A file that says who may log in, or who belongs to a group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AccessFacts {
    /// `credentials`, `key_set` or `group`.
    pub kind: &'static str,
    pub cluster: String,
    /// Of the listener, or of the group.
    pub name: String,
    /// What is in force is what it holds.
    pub is_current: bool,
}

/// A key set that is fetched for one listener.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeySetFacts {
    pub cluster: String,
    pub listener: String,
    /// How many keys of it can be used; 0 until it was fetched.
    pub keys: usize,
    /// When it was fetched last, in seconds since 1970; 0 until then.
    pub fetched: u64,
    /// How often that was tried in vain.
    pub failures: u64,
}

/// Delegation tokens that brokers of one cluster make for the proxy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TokenFacts {
    pub cluster: String,
    /// How many were made.
    pub made: u64,
    /// How often one was to be made, and was not.
    pub failures: u64,
    /// How many are at hand.
    pub known: u64,
}

/// The token that is fetched for brokers of one cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BrokerTokenFacts {
    pub cluster: String,
    /// When it ends, in seconds since 1970; 0 where there is none.
    pub ends: u64,
    /// How often one was given.
    pub given: u64,
    /// How often the endpoint has refused the client.
    pub refusals: u64,
    /// How often one was to be fetched in vain otherwise.
    pub failures: u64,
    /// The client was refused when it was asked last.
    pub is_refused: bool,
}

/// The keyring that is in force.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyringFacts {
    /// The same for two that seal in the same way.
    pub fingerprint: String,
    /// How often it was changed.
    pub revision: u64,
    /// How many stable keys it has.
    pub keys: u64,
    /// How many of them may not be used.
    pub refused: u64,
    /// It is what the file holds.
    pub is_current: bool,
}

/// What stays true for as long as the process lives.
#[derive(Clone, Copy, Debug)]
pub struct ProcessFacts {
    /// When it started.
    pub started: SystemTime,
    /// Key memory is locked: it cannot be swapped out.
    pub keys_locked: bool,
    /// Key memory is left out of core dumps.
    pub keys_excluded_from_dumps: bool,
}

/// How long executors have to answer one question. They look at their channel at least every 20 ms; a second is a hang.
pub const EXECUTOR_TIMEOUT: Duration = Duration::from_secs(1);
/// A bound on [`Source::collect`] as a whole, should the source itself hang.
pub const COLLECT_TIMEOUT: Duration = Duration::from_secs(3);
/// The longest life of a connection to the endpoint.
pub const CONNECTION_TIMEOUT: Duration = Duration::from_secs(10);
/// A caller that has connected knows what it wants.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(1);
/// Scrapers, probes and people, some of whom are slow.
pub const CALLERS_MAX: usize = 32;
/// A scraper or two, and a person.
pub const SCRAPES_MAX: usize = 4;
/// An executor that has not answered for so long does not come back by itself: `/livez` fails and the process may be
/// replaced.
pub const LIVENESS_TIMEOUT: Duration = Duration::from_secs(30);

impl Collection {
    /// Each KMS's name and counters.
    fn kms(&self) -> impl Iterator<Item = (&str, &KmsStatistics)> + Clone {
        let counters = self.keys.iter().flat_map(|keys| &keys.kms);
        self.kms_names.iter().map(String::as_str).zip(counters)
    }
}
