//! How things stand with one KMS at a moment, for the metrics page.

use std::sync::Arc;
use std::time::Duration;

use super::breaker::BreakerState;

/// Calls, caches and sealing keys of one KMS.
#[derive(Debug, Clone, Default)]
pub struct KmsStanding {
    /// Whether it is called at all.
    pub breaker: BreakerState,
    /// Calls under way.
    pub running: usize,
    /// Calls that wait until they may begin.
    pub waiting: usize,
    /// How many may be under way.
    pub calls_max: usize,
    /// Questions that were refused at once since it was known to be away, since the process started.
    pub spared: u64,
    /// Opened DEKs that are remembered.
    pub opened: usize,
    /// Questions for an opened DEK that was remembered, since the process started.
    pub opened_hits: u64,
    /// DEKs that seal, those used last first, and no more than [`SEALING_SHOWN_MAX`].
    pub sealing: Vec<SealingStanding>,
}

/// One DEK that seals.
#[derive(Debug, Clone)]
pub struct SealingStanding {
    /// Its KEK, as the rule has it.
    pub kek: Arc<str>,
    /// Since it was made.
    pub age: Duration,
    /// What executors have reported of it.
    pub batches: u64,
    /// Of plaintext.
    pub bytes: u64,
    /// Until the next one is made for its age, if it is used.
    pub left: Duration,
}

/// A rule may make KEKs' names of topics' names: a page of metrics has room for so many.
pub(super) const SEALING_SHOWN_MAX: usize = 500;
