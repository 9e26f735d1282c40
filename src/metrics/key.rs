//! The key service's own counters: DEKs made, DEKs unwrapped, and how KMSs answered. Owned by the control thread.

use std::time::Duration;

use super::latency::Latency;
use super::reason::labels;

labels! {
    /// What a KMS was asked for.
    KmsOperation {
        /// A new DEK.
        GenerateDek => "generate_dek",
        /// A wrapped DEK in clear.
        UnwrapDek => "unwrap_dek",
        /// The current version of a KEK.
        CurrentVersion => "current_version",
    }
}

labels! {
    /// How it answered.
    KmsOutcome {
        /// As asked.
        Ok => "ok",
        /// Not reachable, throttling, or refusing our credentials: no verdict about the key.
        Unavailable => "unavailable",
        /// A verdict: the KEK is disabled, destroyed or not found, or the wrapped DEK is not one of its.
        Refused => "refused",
    }
}

/// Counters of one KMS, by the name it has in the configuration.
#[derive(Clone, Debug)]
pub struct KmsCounters {
    /// The KMS's name in the configuration.
    pub name: String,
    outcomes: [[u64; KmsOutcome::COUNT]; KmsOperation::COUNT],
    latencies: [Latency; KmsOperation::COUNT],
}

impl KmsCounters {
    fn new(name: String) -> Self {
        Self {
            name,
            outcomes: Default::default(),
            latencies: Default::default(),
        }
    }

    /// How many calls of `operation` ended in `outcome`.
    pub fn calls(&self, operation: KmsOperation, outcome: KmsOutcome) -> u64 {
        self.outcomes[operation.index()][outcome.index()]
    }

    /// How long calls of `operation` took, whatever their outcome.
    pub fn latency(&self, operation: KmsOperation) -> &Latency {
        &self.latencies[operation.index()]
    }
}

/// Everything that the key service counts.
#[derive(Clone, Debug, Default)]
pub struct KeyMetrics {
    kms: Vec<KmsCounters>,
    /// DEKs made for sealing.
    pub deks_made: u64,
    /// DEKs unwrapped for opening.
    pub deks_unwrapped: u64,
    /// Requests of executors that were answered from what another had asked for already.
    pub requests_coalesced: u64,
    /// Requests of executors that were answered from a remembered failure.
    pub failures_remembered: u64,
    /// KMS calls under way now.
    pub calls_in_flight: u64,
    /// Replies that did not fit an executor's channel and wait for room.
    pub replies_waiting: u64,
}

impl KeyMetrics {
    /// Counters for the KMSs of the configuration, in its order: `kms` of [`Self::call`] is the place in it.
    pub fn new(names: impl IntoIterator<Item = String>) -> Self {
        Self {
            kms: names.into_iter().map(KmsCounters::new).collect(),
            ..Self::default()
        }
    }

    /// Counts one finished call; a `kms` that is not in the configuration is ignored.
    pub fn call(&mut self, kms: usize, operation: KmsOperation, outcome: KmsOutcome, took: Duration) {
        let Some(counters) = self.kms.get_mut(kms) else {
            return;
        };
        // INVARIANT: both arrays have one place for every operation and outcome.
        let count = &mut counters.outcomes[operation.index()][outcome.index()];
        *count = count.wrapping_add(1);
        counters.latencies[operation.index()].record(took);
        if outcome == KmsOutcome::Ok {
            match operation {
                KmsOperation::GenerateDek => self.deks_made = self.deks_made.wrapping_add(1),
                KmsOperation::UnwrapDek => self.deks_unwrapped = self.deks_unwrapped.wrapping_add(1),
                KmsOperation::CurrentVersion => {}
            }
        }
    }

    /// The KMSs, in the order of the configuration.
    pub fn kms(&self) -> &[KmsCounters] {
        &self.kms
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_counted_by_kms_operation_and_outcome() {
        let mut metrics = KeyMetrics::new(["local".to_owned()]);
        let took = Duration::from_millis(3);
        metrics.call(0, KmsOperation::GenerateDek, KmsOutcome::Ok, took);
        metrics.call(0, KmsOperation::UnwrapDek, KmsOutcome::Refused, took);
        metrics.call(1, KmsOperation::UnwrapDek, KmsOutcome::Ok, took);
        assert_eq!((metrics.deks_made, metrics.deks_unwrapped), (1, 0));
        let kms = &metrics.kms()[0];
        assert_eq!(kms.calls(KmsOperation::UnwrapDek, KmsOutcome::Refused), 1);
        assert_eq!(kms.latency(KmsOperation::GenerateDek).count(), 1);
    }
}
