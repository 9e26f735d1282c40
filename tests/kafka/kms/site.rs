//! A proxy whose only KMS is the one under test, and what its clients get from it.

use std::time::Duration;

use super::{KmsUnderTest, RIG};
use crate::support::operations::Options;
use crate::support::proxy::Proxy;
use crate::support::raw_client::{RawClient, batch};
use crate::support::records::Consumed;
use crate::support::stored_seal::{StoredDek, StoredSeal};
use crate::support::wait;

/// Topics `KEK-…` are sealed under the KEK of that name.
pub(super) struct Site {
    pub(super) proxy: Proxy,
}

impl Site {
    /// `limits`: lines of that table.
    pub(super) fn with(kms: &(impl KmsUnderTest + ?Sized), limits: &str) -> Self {
        let tables = format!(
            "[runtime]\nexecutors = 1\n[limits]\n{limits}\n[kms.tried]\n{}\n",
            kms.table()
        );
        let rules = format!(
            "[[cluster.main.topics]]\nmatch = {{ regex = '^([a-z0-9]+)-.*$' }}\nkms = \"tried\"\nkek = \"{}\"\n",
            kms.in_rule("${1}")
        );
        let (brokers, nodes) = (RIG.cluster.bootstrap(), RIG.cluster.nodes());
        Self {
            proxy: Proxy::start_with_tables(&brokers, &nodes, &tables, &rules),
        }
    }

    pub(super) fn options(&self) -> Options {
        Options::at(self.proxy.bootstrap())
    }

    pub(super) fn raw(&self) -> RawClient {
        RawClient::connect(&self.proxy.bootstrap())
    }

    /// The sum of all series of a metric.
    pub(super) fn metric(&self, name: &str) -> f64 {
        self.proxy.metric(name, &[])
    }

    /// Returns when a metric is this at least.
    pub(super) fn until_metric(&self, name: &str, least: f64, limit: Duration) {
        wait::until(&format!("{name} to be {least}"), limit, || {
            (self.metric(name) >= least).then_some(())
        });
    }

    /// What a client is told that sends a record there now: Kafka's number, 0 where it is stored.
    pub(super) fn send(&self, topic: &str) -> i16 {
        self.raw().produce(topic, batch(None, "sent")).error_code
    }

    /// What a client is told that reads the first records of a topic now: Kafka's number, and whether there were any.
    pub(super) fn read(&self, topic: &str) -> (i16, bool) {
        let partitions = self.raw().fetch(&[topic]);
        let records = partitions[0].records.as_ref();
        (
            partitions[0].error_code,
            records.is_some_and(|records| !records.is_empty()),
        )
    }
}

/// What a record that was read at the broker says of its data key.
pub(super) fn dek_of(stored: &Consumed) -> StoredDek {
    StoredSeal::of(&stored.headers).dek()
}

pub(super) const NOT_ENOUGH_REPLICAS: i16 = 19;
pub(super) const TOPIC_AUTHORIZATION_FAILED: i16 = 29;
pub(super) const POLICY_VIOLATION: i16 = 44;
