//! The text of `/metrics`: every name that Sealwire exports, each with its labels and meaning. `docs/metrics.md` lists
//! the same.

mod access;
mod audit;
mod broker_tokens;
mod connections;
mod delegation_tokens;
mod families;
mod key_sets;
mod keyring;
mod keys;
mod tls;

use std::fmt::Error;
use std::time::SystemTime;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::registry::Registry;

use self::families::{BYTES, Buckets, Families, NONE, SECONDS};
use super::{Collection, ProcessFacts};
use crate::metrics::{Direction, RefusalCount, Snapshot, TimeKind, TopicCounters};

/// The content type of [`text`].
pub(super) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Everything in `collection` as OpenMetrics text.
pub fn text(collection: &Collection, facts: ProcessFacts) -> Result<String, Error> {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Exposition {
        sum: Snapshot::merged(collection.executors.iter().flatten()),
        collection: collection.clone(),
        facts,
    }));
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry)?;
    Ok(text)
}

#[derive(Debug)]
struct Exposition {
    sum: Snapshot,
    collection: Collection,
    facts: ProcessFacts,
}

impl Collector for Exposition {
    fn encode(&self, encoder: DescriptorEncoder) -> Result<(), Error> {
        let mut families = Families { encoder };
        self.process(&mut families)?;
        self.connections(&mut families)?;
        self.tls(&mut families)?;
        self.access(&mut families)?;
        self.key_sets(&mut families)?;
        self.broker_tokens(&mut families)?;
        self.delegation_tokens(&mut families)?;
        self.audit(&mut families)?;
        self.traffic(&mut families)?;
        self.under_way(&mut families)?;
        self.topics(&mut families)?;
        self.refusals(&mut families)?;
        self.time(&mut families)?;
        self.keyring(&mut families)?;
        self.keys(&mut families)
    }
}

impl Exposition {
    fn process(&self, families: &mut Families<'_>) -> Result<(), Error> {
        let facts = &self.facts;
        let version = vec![("version", env!("CARGO_PKG_VERSION").to_owned())];
        families.gauge(
            "sealwire_build_info",
            "The program that runs; always 1",
            None,
            [(version, 1u64)],
        )?;
        let started = facts
            .started
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default();
        let started = [(NONE, started.as_secs_f64())];
        families.gauge(
            "process_start_time",
            "When the process started, Unix time",
            SECONDS,
            started,
        )?;
        let resident = resident_bytes().map(|bytes| (NONE, bytes));
        families.gauge(
            "process_resident_memory",
            "Resident memory of the process",
            BYTES,
            resident,
        )?;
        let protections = [
            ("locked", facts.keys_locked),
            ("excluded_from_dumps", facts.keys_excluded_from_dumps),
        ];
        families.gauge(
            "sealwire_key_memory_protected",
            "Whether the kernel granted a protection of the memory that holds keys",
            None,
            protections.map(|(protection, granted)| {
                (vec![("protection", protection.to_owned())], u64::from(granted))
            }),
        )?;
        let executors = self.collection.executors.len() as u64;
        families.gauge(
            "sealwire_executors",
            "Executors that there are",
            None,
            [(NONE, executors)],
        )?;
        let answering = self.collection.executors.iter().flatten().count() as u64;
        families.gauge(
            "sealwire_executors_answering",
            "Executors that answered this scrape in time; the counters of the others are missing from it",
            None,
            [(NONE, answering)],
        )
    }

    fn topics(&self, families: &mut Families<'_>) -> Result<(), Error> {
        type Read = fn(&TopicCounters) -> u64;
        let counters: [(&str, &str, Option<&str>, Read); 8] = [
            ("sealwire_sealed_records", "Records sealed", None, |topic| {
                topic.records_sealed
            }),
            (
                "sealwire_sealed_payload",
                "Bytes of sealed batches as clients sent them",
                BYTES,
                |topic| topic.bytes_sealed,
            ),
            (
                "sealwire_sealed_stored",
                "Bytes of sealed batches as brokers get them",
                BYTES,
                |topic| topic.bytes_sealed_stored,
            ),
            (
                "sealwire_opened_records",
                "Records opened and delivered",
                None,
                |topic| topic.records_opened,
            ),
            (
                "sealwire_opened_payload",
                "Bytes of opened batches as clients get them",
                BYTES,
                |topic| topic.bytes_opened,
            ),
            (
                "sealwire_passed_records",
                "Records passed through unchanged, where they are counted",
                None,
                |topic| topic.records_passed,
            ),
            (
                "sealwire_passed_payload",
                "Bytes of record batches passed through unchanged",
                BYTES,
                |topic| topic.bytes_passed,
            ),
            (
                "sealwire_skipped_records",
                "Records dropped or blanked on fetch by on_unreadable",
                None,
                |topic| topic.records_skipped,
            ),
        ];
        for (name, help, unit, read) in counters {
            let samples = self.sum.topics.iter().map(|(topic, counters)| {
                let labels = vec![
                    ("cluster", topic.cluster.to_string()),
                    ("topic", topic.topic.to_string()),
                ];
                (labels, read(counters))
            });
            families.counter(name, help, unit, samples)?;
        }
        Ok(())
    }

    fn refusals(&self, families: &mut Families<'_>) -> Result<(), Error> {
        type Read = fn(&RefusalCount) -> u64;
        let counters: [(&str, &str, Option<&str>, Read); 3] = [
            (
                "sealwire_refused_partitions",
                "Partitions of requests and responses that were refused",
                None,
                |refusal| refusal.partitions,
            ),
            (
                "sealwire_refused_records",
                "Records in refused partitions, where they could be counted",
                None,
                |refusal| refusal.records,
            ),
            (
                "sealwire_refused_payload",
                "Bytes of batches in refused partitions",
                BYTES,
                |refusal| refusal.bytes,
            ),
        ];
        for (name, help, unit, read) in counters {
            let samples = self.sum.topics.iter().flat_map(|(topic, counters)| {
                counters.refusals().iter().map(move |refusal| {
                    let operation = match refusal.direction {
                        Direction::Request => "produce",
                        Direction::Response => "fetch",
                    };
                    let labels = vec![
                        ("cluster", topic.cluster.to_string()),
                        ("topic", topic.topic.to_string()),
                        ("operation", text_of(operation)),
                        ("reason", text_of(refusal.reason.as_str())),
                    ];
                    (labels, read(refusal))
                })
            });
            families.counter(name, help, unit, samples)?;
        }
        Ok(())
    }

    fn time(&self, families: &mut Families<'_>) -> Result<(), Error> {
        families.histogram(
            "sealwire_proxy",
            "Time that a held frame, or a chunk of a streamed one, spent in the proxy",
            TimeKind::ALL.iter().map(|kind| {
                (
                    vec![("kind", text_of(kind.as_str()))],
                    Buckets::of(self.sum.time(*kind)),
                )
            }),
        )
    }
}

fn text_of(text: &str) -> String {
    text.to_owned()
}

/// `VmRSS` of `/proc/self/status`, which is in KiB (proc(5)); nothing where it cannot be read.
fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.split_ascii_whitespace().next()?.parse().ok()?;
    kib.checked_mul(1024)
}

#[cfg(test)]
mod tests;
