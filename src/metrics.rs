//! Counters and latency histograms: plain numbers, each set owned by exactly one thread.
//!
//! An executor increments its own [`ExecutorMetrics`]. Nobody shares: a reader asks the owner for a [`Snapshot`] over a
//! channel and merges what comes back. Nothing here reads anything else of the program. (The key service counts in
//! [`crate::keys::statistics`].)
//!
//! - no atomics, no locks, and no allocation when a known topic is counted.
//! - METRICS-2: whatever clients send, the number of topics counted apart is bounded; the rest shares one bucket.
//! - counters wrap rather than panic; at one increment a nanosecond that takes 584 years.
//! - METRICS-4: merging snapshots in any order gives the same numbers.

mod connection;
mod executor;
mod latency;
mod reason;
mod topic;

pub use connection::{ConnectionCounters, Direction, FrameCounters};
pub use executor::{ExecutorMetrics, Gauges, KeyCacheCounters, Snapshot, StableKeyTable, TimeKind};
pub use latency::Latency;
pub use reason::{
    BrokerLoginFault, BrokerLoginKind, BrokerLoginResult, CloseReason, RefusalReason, RequestRefusal,
};
pub use topic::{RefusalCount, TopicCounters, TopicIndex, TopicName};
