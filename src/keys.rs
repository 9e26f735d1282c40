//! Keys between executors and KMSs: who asks, who answers, and what is remembered on either side.
//!
//! ```text
//!  executor (one of many, pure)                     control thread (tokio, current thread)
//!  ExecutorKeys --KeyRequest--> channel --> KeyService --> Ledger (pure) --jobs--> Kms
//!       ^-------- KeyReply <--- channel <-----+  (one for each executor)
//! ```
//!
//! - an executor never waits for a key: it has one, is told that it is coming, or is told why not.
//! - KEYS-2: one DEK per KEK and process seals for all executors, each of which holds its own copy; a wrapped DEK is
//!   unwrapped once however many ask at the same time.
//! - KEYS-3: what executors may seal under one DEK is handed out in shares that never add up to more than its limits.
//! - KEYS-4: every key that an executor holds is under a KEK version that the key service asks for again and again;
//!   when it is refused, every executor is told to drop what it holds under it.
//! - KEYS-5: every map, queue and cache here has a bound, in [`KeyOptions`].
//! - KEYS-6: when the clocks part ([`crate::clocks`]), no DEK from before seals any more, on either side; opened ones
//!   stay.
//! - KEYS-7: a key is used no longer than [`KeyOptions::outage_grace`] after its KMS last said yes to its KEK version,
//!   by making, unwrapping or rechecking a key under it; then it is refused as by an outage, until the KMS answers.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]

#[cfg(feature = "testing")]
pub mod canary;
pub mod event;
pub mod executor;
pub mod fair_queue;
pub mod ledger;
mod opened_dek;
mod refusals;
pub mod request;
pub mod service;
pub mod stable_keys;
pub mod statistics;

pub use event::{KeyEvent, KeyEventKind, ToldKeyEvent, ToldKeyEvents};
pub use executor::{Applied, ExecutorKeys, KeyLookup, SealingShare};
pub use opened_dek::OpenedDek;
pub use request::{DeliveredDek, Demand, KeyFailure, KeyId, KeyReply, KeyRequest, Purpose, Urgency};
pub use service::{KeyService, NamedKms};
pub use stable_keys::{NoDomainKey, StableKey, StableKeys};
pub use statistics::KeyStatistics;

use std::num::NonZeroU32;
use std::time::Duration;

use crate::config::Limits;

/// Bounds and times of both sides. The defaults are what production runs with.
#[derive(Debug, Clone)]
pub struct KeyOptions {
    /// DEKs that seal, for each KMS and on each executor: as many KEKs can be in use before the idlest is fetched anew;
    /// not one that was needed within [`Self::needed_for`].
    pub sealing_keys_max: usize,
    /// DEKs that seal, those included that are kept beyond `sealing_keys_max` because they are needed: a request may
    /// need one for each of its topics together.
    pub needed_sealing_keys_max: usize,
    /// Opened DEKs that an executor keeps; the least recently used goes first, but not before [`Self::needed_for`].
    pub opened_keys_max: usize,
    /// Opened DEKs that an executor has at most, those included that it keeps beyond `opened_keys_max` because they are
    /// needed.
    pub needed_keys_max: usize,
    /// How long a key is needed since it came or was looked up last: longer than a frame is held for its keys, so that
    /// one that needs more keys than are kept finds all of them together, and asks for each once.
    pub needed_for: Duration,
    /// Opened DEKs that the key service keeps for each KMS: what executors have let go of need not be unwrapped anew.
    pub service_keys_max: usize,
    /// Keys that may be asked for and not answered yet, for each KMS in the key service and on each executor; consumers
    /// at the end of the log may ask for a quarter more ([`Self::waiting_max_before`]).
    pub waiting_max: usize,
    /// Refusals that are remembered, for each KMS in the key service and on each executor: several times what one batch
    /// may need together.
    pub refusals_max: usize,
    /// KEK versions that are rechecked for each KMS; keys under the idlest are dropped when there are more. Twice as
    /// many as may seal, or one would take the other's place.
    pub versions_max: usize,
    /// KEK versions of one KEK that are rechecked: of some KMSs whoever writes records can make up others that are as
    /// good, which are to take the place of no other KEK's.
    pub versions_of_a_kek_max: usize,
    /// A call that takes longer counts as an outage.
    pub call_timeout: Duration,
    /// How long the key service remembers a definite refusal, unless it is for altered bytes.
    pub verdict_memory: Duration,
    /// How long both sides remember that a wrapped DEK does not unwrap, which its bytes decide: long enough that a KMS
    /// of 35 calls a second has said so of all that a batch may have while the first still stands.
    pub altered_memory: Duration,
    /// How long the key service remembers an outage.
    pub outage_memory: Duration,
    /// How long an executor remembers an outage, or that there is no key to seal with, before it asks the key service
    /// again.
    pub executor_memory: Duration,
    /// How long an executor remembers a definite refusal of a key to open with, for frames that begin later
    /// (EXECUTOR-5).
    pub executor_verdict_memory: Duration,
    /// Draws how far apart polls, rechecks and probes are; 0: none is spread.
    pub spread_seed: u64,
    /// How long keys are used on while their KMS confirms nothing: it is away, throttles, or refuses our credentials.
    pub outage_grace: Duration,
    /// Limits of one DEK.
    pub dek: DekLimits,
}

impl KeyOptions {
    /// What production runs with where an operator has set these limits.
    #[must_use]
    pub fn bounded(limits: &Limits) -> Self {
        let defaults = Self::default();
        let wide = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
        Self {
            sealing_keys_max: limits.sealing_keys_max,
            versions_max: defaults
                .versions_max
                .max(limits.sealing_keys_max.saturating_mul(2)),
            opened_keys_max: limits.opened_keys_max,
            service_keys_max: defaults.service_keys_max.max(limits.opened_keys_max),
            outage_grace: limits.outage_grace,
            dek: DekLimits {
                batches_max: wide(limits.data_key_batches_max),
                bytes_max: wide(limits.data_key_bytes_max),
                age_max: limits.data_key_age_max,
            },
            ..defaults
        }
    }

    /// Places in locked memory: every DEK that the key service may hold for each KMS, those that executors keep, and
    /// those that are on their way to them. What an executor needs beyond that for a while has its place on the heap.
    #[must_use]
    pub fn locked_keys(&self, kms: usize, executors: usize) -> usize {
        let of_a_kms = self.service_keys_max.saturating_add(self.sealing_keys_max);
        let of_an_executor = self
            .opened_keys_max
            .saturating_add(self.sealing_keys_max)
            .saturating_add(KEYS_ON_THEIR_WAY);
        kms.saturating_mul(of_a_kms)
            .saturating_add(executors.saturating_mul(of_an_executor))
            .min(LOCKED_KEYS_MAX)
    }

    /// How long the key service remembers `failure`.
    fn memory_of(&self, failure: KeyFailure) -> Duration {
        if failure.is_outage() {
            self.outage_memory
        } else {
            self.verdict_memory
        }
    }

    /// How long the key service remembers that a wrapped DEK was not opened because of `failure`.
    fn memory_of_opening(&self, failure: KeyFailure) -> Duration {
        match failure {
            KeyFailure::Malformed => self.altered_memory,
            _ => self.memory_of(failure),
        }
    }

    /// As many keys to open with may wait before one more of this urgency is asked for: those that read history leave
    /// room to those that do not, whom they would keep waiting otherwise.
    fn waiting_max_before(&self, urgency: Urgency) -> usize {
        let left_free = self.waiting_max.checked_div(4).unwrap_or_default();
        match urgency {
            Urgency::Tail => self.waiting_max.saturating_add(left_free),
            Urgency::Backfill => self.waiting_max,
        }
    }

    /// How long an executor remembers it.
    fn executor_memory_of_opening(&self, failure: KeyFailure) -> Duration {
        match failure {
            KeyFailure::Malformed => self.altered_memory,
            _ if failure.is_outage() => self.executor_memory,
            _ => self.executor_verdict_memory,
        }
    }
}

impl Default for KeyOptions {
    fn default() -> Self {
        Self {
            sealing_keys_max: 1024,
            needed_sealing_keys_max: 8192,
            opened_keys_max: 4096,
            // About 1 KiB each with what the cryptographic library has of it.
            needed_keys_max: 16 * 1024,
            needed_for: Duration::from_secs(30),
            // About 400 bytes each, 32 of them in locked memory.
            service_keys_max: 16 * 1024,
            waiting_max: 4096,
            // About 300 bytes each.
            refusals_max: 16 * 1024,
            versions_max: 16 * 1024,
            versions_of_a_kek_max: 256,
            call_timeout: Duration::from_secs(10),
            verdict_memory: Duration::from_secs(10),
            altered_memory: Duration::from_secs(120),
            outage_memory: Duration::from_millis(500),
            // Both memories together are well below the second in which recovery from an outage is to be seen.
            executor_memory: Duration::from_millis(250),
            // Longer than a client's fetch waits by default: what was learned for one response is told with the next.
            executor_verdict_memory: Duration::from_secs(1),
            spread_seed: 0,
            outage_grace: Duration::from_secs(60 * 60),
            dek: DekLimits::default(),
        }
    }
}

/// How much may be asked of one KMS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CallBudget {
    /// Calls under way.
    pub calls_max: usize,
    /// Calls that begin in a second; `None`: any number.
    pub per_second_max: Option<NonZeroU32>,
}

impl Default for CallBudget {
    fn default() -> Self {
        Self {
            calls_max: 64,
            per_second_max: None,
        }
    }
}

/// How much one DEK may seal, and for how long. Past half of a count the next DEK is fetched ahead.
#[derive(Debug, Clone, Copy)]
pub struct DekLimits {
    /// Batches: 2^28 keep the collision of two random 96-bit salts below 2^-41.
    pub batches_max: u64,
    /// Bytes of plaintext; the last batch may end past it.
    pub bytes_max: u64,
    /// The next DEK is fetched at this age, if the DEK is in use; at twice this age it is used no longer.
    pub age_max: Duration,
}

impl Default for DekLimits {
    fn default() -> Self {
        Self {
            batches_max: 1 << 28,
            bytes_max: 1 << 44,
            age_max: Duration::from_secs(24 * 60 * 60),
        }
    }
}

/// Keys on their way to one executor, which takes them in every 20 ms; more have places on the heap for that time.
const KEYS_ON_THEIR_WAY: usize = 1024;
/// 1024 pages of 128 keys: 4 MiB, half of what the kernel lets a process lock by default.
const LOCKED_KEYS_MAX: usize = 128 * 1024;
