//! Counters of the key service, for the metrics page and readiness. Written by the control thread, readable from any.
#![expect(
    clippy::disallowed_methods,
    reason = "the control thread reads the clock itself"
)]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;

use super::event::Absence;
use super::ledger::KmsStanding;
use crate::kms::KmsError;

/// Counters of all KMSs, in the order of the configuration.
#[derive(Debug)]
pub struct KeyStatistics {
    /// One for each KMS.
    pub kms: Vec<KmsStatistics>,
}

impl KeyStatistics {
    pub(super) fn new(kms_count: usize) -> Self {
        Self {
            kms: (0..kms_count).map(|_| KmsStatistics::new()).collect(),
        }
    }

    /// Statistics of KMSs that answered their last call, or did not.
    #[cfg(test)]
    pub(crate) fn for_test(answered: &[bool]) -> Self {
        let statistics = Self::new(answered.len());
        for (kms, answered) in statistics.kms.iter().zip(answered) {
            kms.set_answering(*answered, Instant::now());
        }
        statistics
    }
}

/// Counters of one KMS, since the process started.
#[derive(Debug)]
pub struct KmsStatistics {
    /// DEKs made.
    pub generated: Counter,
    /// Wrapped DEKs unwrapped because a reader needed one.
    pub unwrapped: Counter,
    /// Known DEKs unwrapped anew to see whether their KEK is still enabled.
    pub rechecked: Counter,
    /// Questions for the current version of a KEK.
    pub version_polls: Counter,
    /// KEK versions whose keys were taken away from every executor.
    pub revocations: Counter,
    /// KEK versions whose keys were taken away because the KMS has not confirmed them for too long.
    pub lapses: Counter,
    /// DEKs that the KMS unwraps to others than those that it had made or unwrapped before.
    pub wrong_deks: Counter,
    /// What it reads its KEKs from cannot be used any more, and what was read before stays in force.
    stale: AtomicBool,
    /// Calls that have ended; see [`KmsStatistics::calls`].
    calls: [[Counter; CallOutcome::ALL.len()]; CallKind::ALL.len()],
    /// As of the last tick.
    standing: ArcSwap<KmsStanding>,
    /// How long calls took, failed ones included; see [`KmsStatistics::latency`].
    latencies: [LatencyBuckets; CallKind::ALL.len()],
    state: AtomicU64,
    started: Instant,
}

/// What a KMS is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallKind {
    /// To make a DEK.
    Generate,
    /// To unwrap a DEK for a reader.
    Unwrap,
    /// To unwrap a known DEK anew.
    Recheck,
    /// To say a KEK's current version.
    Version,
}

impl CallKind {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 4] = [Self::Generate, Self::Unwrap, Self::Recheck, Self::Version];

    /// The metrics' label.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Generate => "generate",
            Self::Unwrap => "unwrap",
            Self::Recheck => "recheck",
            Self::Version => "version",
        }
    }
}

/// How a call has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallOutcome {
    /// With what was asked for.
    Answered,
    /// The KMS says no: disabled, destroyed, denied, not found, malformed.
    Verdict,
    /// Too much is asked of it.
    Throttled,
    /// It refuses the proxy's own credentials.
    CredentialsRefused,
    /// Without an answer, or with none that makes sense; time-outs included.
    Outage,
}

impl CallOutcome {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Answered,
        Self::Verdict,
        Self::Throttled,
        Self::CredentialsRefused,
        Self::Outage,
    ];

    pub(super) fn of(error: Option<&KmsError>) -> Self {
        match error {
            None => Self::Answered,
            Some(error) if error.is_verdict() => Self::Verdict,
            Some(outage) => match Absence::of(outage) {
                Absence::Throttled => Self::Throttled,
                Absence::CredentialsRefused => Self::CredentialsRefused,
                Absence::Unavailable => Self::Outage,
            },
        }
    }

    /// The metrics' label.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::Verdict => "verdict",
            Self::Throttled => "throttled",
            Self::CredentialsRefused => "credentials_refused",
            Self::Outage => "outage",
        }
    }
}

/// Whether a KMS answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KmsState {
    /// It was never asked.
    Unasked,
    /// It answered when it was last asked; a verdict is an answer.
    Answering,
    /// It has not answered for so long: since the first call that failed after the last one that did not.
    Silent(Duration),
}

impl KmsState {
    /// For how long it has not answered.
    #[must_use]
    pub fn silence(self) -> Duration {
        match self {
            Self::Silent(silence) => silence,
            Self::Unasked | Self::Answering => Duration::ZERO,
        }
    }
}

impl KmsStatistics {
    fn new() -> Self {
        Self {
            generated: Counter::default(),
            unwrapped: Counter::default(),
            rechecked: Counter::default(),
            version_polls: Counter::default(),
            revocations: Counter::default(),
            lapses: Counter::default(),
            wrong_deks: Counter::default(),
            stale: AtomicBool::new(false),
            calls: Default::default(),
            standing: ArcSwap::default(),
            latencies: Default::default(),
            state: AtomicU64::new(UNASKED),
            started: Instant::now(),
        }
    }

    /// Latencies of one kind of call.
    #[must_use]
    pub fn latency(&self, kind: CallKind) -> &LatencyBuckets {
        let [generate, unwrap, recheck, version] = &self.latencies;
        match kind {
            CallKind::Generate => generate,
            CallKind::Unwrap => unwrap,
            CallKind::Recheck => recheck,
            CallKind::Version => version,
        }
    }

    /// Whether what it reads its KEKs from cannot be used any more ([`crate::kms::Kms::is_stale`]).
    #[must_use]
    pub fn is_stale(&self) -> bool {
        self.stale.load(Ordering::Relaxed)
    }

    pub(crate) fn set_stale(&self, stale: bool) {
        self.stale.store(stale, Ordering::Relaxed);
    }

    /// Calls of one kind that have ended in this way.
    #[must_use]
    pub fn calls(&self, kind: CallKind, outcome: CallOutcome) -> &Counter {
        let [generate, unwrap, recheck, version] = &self.calls;
        let [answered, verdict, throttled, credentials, outage] = match kind {
            CallKind::Generate => generate,
            CallKind::Unwrap => unwrap,
            CallKind::Recheck => recheck,
            CallKind::Version => version,
        };
        match outcome {
            CallOutcome::Answered => answered,
            CallOutcome::Verdict => verdict,
            CallOutcome::Throttled => throttled,
            CallOutcome::CredentialsRefused => credentials,
            CallOutcome::Outage => outage,
        }
    }

    /// How things stood with it a moment ago.
    #[must_use]
    pub fn standing(&self) -> Arc<KmsStanding> {
        self.standing.load_full()
    }

    pub(super) fn set_standing(&self, standing: KmsStanding) {
        self.standing.store(Arc::new(standing));
    }

    /// Whether it answers at `now`.
    #[must_use]
    pub fn state(&self, now: Instant) -> KmsState {
        match self.state.load(Ordering::Relaxed) {
            UNASKED => KmsState::Unasked,
            ANSWERING => KmsState::Answering,
            since_ms => {
                let since = Duration::from_millis(since_ms.saturating_sub(SILENT_FROM));
                KmsState::Silent(now.saturating_duration_since(self.started).saturating_sub(since))
            }
        }
    }

    /// Notes at `now` whether a call was answered; returns whether that is news. That a KMS answers at all is none.
    pub(super) fn set_answering(&self, answering: bool, now: Instant) -> bool {
        let before = self.state.load(Ordering::Relaxed);
        let was_silent = before >= SILENT_FROM;
        if answering {
            self.state.store(ANSWERING, Ordering::Relaxed);
        } else if !was_silent {
            let since = now.saturating_duration_since(self.started).as_millis();
            let since_ms = u64::try_from(since).unwrap_or(u64::MAX);
            self.state
                .store(since_ms.saturating_add(SILENT_FROM), Ordering::Relaxed);
        }
        was_silent == answering
    }
}

/// Values of `state`; from [`SILENT_FROM`] on: milliseconds from `started` to the first call that was not answered.
const UNASKED: u64 = 0;
const ANSWERING: u64 = 1;
const SILENT_FROM: u64 = 2;

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// The number.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    pub(super) fn increment(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// Latencies in buckets with the upper bounds [`LATENCY_BOUNDS_US`], and one above.
#[derive(Debug, Default)]
pub struct LatencyBuckets {
    counts: [AtomicU64; LATENCY_BOUNDS_US.len() + 1],
    sum_us: AtomicU64,
}

/// Upper bounds of the buckets, in microseconds: from a file keystore's microseconds to a timeout.
pub const LATENCY_BOUNDS_US: [u64; 11] = [
    100, 300, 1_000, 3_000, 10_000, 30_000, 100_000, 300_000, 1_000_000, 3_000_000, 10_000_000,
];

impl LatencyBuckets {
    /// Number of calls in each bucket, not cumulated; the last one is above all bounds.
    #[must_use]
    pub fn counts(&self) -> [u64; LATENCY_BOUNDS_US.len() + 1] {
        std::array::from_fn(|index| {
            self.counts
                .get(index)
                .map_or(0, |count| count.load(Ordering::Relaxed))
        })
    }

    /// All latencies together, in microseconds.
    #[must_use]
    pub fn sum_us(&self) -> u64 {
        self.sum_us.load(Ordering::Relaxed)
    }

    pub(super) fn record(&self, took: Duration) {
        let took_us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let bucket = LATENCY_BOUNDS_US.partition_point(|&bound| bound < took_us);
        if let Some(count) = self.counts.get(bucket) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        self.sum_us.fetch_add(took_us, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latencies_fall_into_the_bucket_whose_bound_they_do_not_exceed() {
        let buckets = LatencyBuckets::default();
        for us in [0, 100, 101, 10_000_000, 10_000_001] {
            buckets.record(Duration::from_micros(us));
        }
        assert_eq!(buckets.counts(), [2, 1, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1]);
        assert_eq!(buckets.sum_us(), 20_000_202);
    }

    #[test]
    fn an_outage_is_news_once_and_has_a_beginning() {
        let kms = KmsStatistics::new();
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(kms.state(start), KmsState::Unasked);
        assert!(!kms.set_answering(true, start));
        assert_eq!(kms.state(start), KmsState::Answering);
        assert!(kms.set_answering(false, after(10)));
        assert!(!kms.set_answering(false, after(20)));
        let KmsState::Silent(silent) = kms.state(after(30)) else {
            panic!("it is silent");
        };
        // The beginning is kept in milliseconds.
        assert!(silent.abs_diff(Duration::from_secs(20)) < Duration::from_millis(2));
        assert!(kms.set_answering(true, after(30)));
        assert_eq!(kms.state(after(30)), KmsState::Answering);
    }

    #[test]
    fn a_kms_that_never_answered_is_silent_from_its_first_call() {
        let kms = KmsStatistics::new();
        assert!(kms.set_answering(false, Instant::now()));
        assert!(matches!(kms.state(Instant::now()), KmsState::Silent(_)));
    }
}
