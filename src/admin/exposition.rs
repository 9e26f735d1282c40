//! The text of `/metrics`: every name that Sealwire exports, each with its labels and meaning. `docs/metrics.md` lists
//! the same.

mod families;

use std::fmt::Error;
use std::time::{Duration, Instant, SystemTime};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::registry::Registry;

use self::families::{BYTES, Buckets, Families, Labels, NONE, SECONDS};
use super::{Collection, ProcessFacts};
use crate::keys::statistics::{CallKind, KmsState, KmsStatistics};
use crate::metrics::{CloseReason, Direction, RefusalCount, Snapshot, TimeKind, TopicCounters};
use crate::protocol::policy::api_name;

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
        self.topics(&mut families)?;
        self.refusals(&mut families)?;
        self.time(&mut families)?;
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

    #[expect(clippy::too_many_lines, reason = "longer than a screen: to be split")]
    fn connections(&self, families: &mut Families<'_>) -> Result<(), Error> {
        let connections = &self.sum.connections;
        let accepted = [(NONE, connections.accepted)];
        families.counter(
            "sealwire_connections_accepted",
            "Client connections accepted",
            None,
            accepted,
        )?;
        families.counter(
            "sealwire_broker_connections",
            "Connections to brokers established",
            None,
            [(NONE, connections.broker_connected)],
        )?;
        families.gauge(
            "sealwire_hidden_brokers",
            "Brokers that clients are not told of, since the listener's nodes do not have them",
            None,
            self.collection.hidden.iter().map(|hidden| {
                let labels = vec![
                    ("cluster", hidden.cluster.clone()),
                    ("listener", hidden.listener.clone()),
                ];
                (labels, hidden.nodes.len() as u64)
            }),
        )?;
        families.counter(
            "sealwire_hidden_coordinators",
            "Answers that named a coordinator which clients are not told of",
            None,
            [(NONE, connections.coordinators_hidden)],
        )?;
        families.counter(
            "sealwire_connections_closed",
            "Client connections that ended, by reason",
            None,
            CloseReason::ALL.iter().map(|reason| {
                (
                    vec![("reason", text_of(reason.as_str()))],
                    connections.closed_by(*reason),
                )
            }),
        )?;
        families.gauge(
            "sealwire_connections_open",
            "Client connections open now, by executor",
            None,
            self.sum
                .connections_open_by_executor
                .iter()
                .map(|(executor, open)| (vec![("executor", executor.to_string())], *open)),
        )?;
        families.counter(
            "sealwire_frames",
            "Kafka frames, by direction and API",
            None,
            Direction::ALL.iter().flat_map(|direction| {
                let frames = self.sum.frames(*direction).by_api();
                frames.map(move |(key, count)| (api_labels(*direction, key), count))
            }),
        )?;
        let by_direction = |bytes: fn(&Snapshot, Direction) -> u64| {
            Direction::ALL
                .iter()
                .map(move |direction| (direction_label(*direction), bytes(&self.sum, *direction)))
        };
        let read = by_direction(|sum, direction| sum.frames(direction).bytes_in);
        families.counter(
            "sealwire_read",
            "Bytes read from sockets, by direction",
            BYTES,
            read,
        )?;
        let written = by_direction(|sum, direction| sum.frames(direction).bytes_out);
        families.counter(
            "sealwire_written",
            "Bytes written to sockets, by direction",
            BYTES,
            written,
        )?;
        let gauges = self.sum.gauges;
        let held = [(NONE, gauges.bytes_held)];
        families.gauge("sealwire_held", "Bytes of frames held in buffers", BYTES, held)?;
        families.gauge(
            "sealwire_frames_queued",
            "Long frames that wait for their turn",
            None,
            [(NONE, gauges.frames_queued)],
        )?;
        families.gauge(
            "sealwire_requests_in_flight",
            "Requests sent to brokers and not answered yet",
            None,
            [(NONE, gauges.requests_in_flight)],
        )?;
        families.gauge(
            "sealwire_frames_parked",
            "Frames that wait for a key",
            None,
            [("produce", gauges.produce_parked), ("fetch", gauges.fetch_parked)]
                .map(|(kind, count)| (vec![("kind", text_of(kind))], count)),
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

    fn keys(&self, families: &mut Families<'_>) -> Result<(), Error> {
        let (cache, gauges) = (self.sum.key_cache, self.sum.gauges);
        families.counter(
            "sealwire_key_lookups",
            "Look-ups in the executors' own keys, by outcome",
            None,
            [
                ("ready", cache.ready),
                ("waiting", cache.waiting),
                ("failed", cache.failed),
            ]
            .map(|(outcome, count)| (vec![("outcome", text_of(outcome))], count)),
        )?;
        families.gauge(
            "sealwire_keys_held",
            "Keys that executors hold, each executor's copy counted",
            None,
            [("sealing", gauges.sealing_keys), ("opening", gauges.opening_keys)]
                .map(|(purpose, count)| (vec![("purpose", text_of(purpose))], count)),
        )?;
        self.kms(families)
    }

    #[expect(clippy::too_many_lines, reason = "longer than a screen: to be split")]
    fn kms(&self, families: &mut Families<'_>) -> Result<(), Error> {
        type Read = fn(&KmsStatistics) -> u64;
        let label = |name: &str| vec![("kms", name.to_owned())];
        let counters: [(&str, &str, Read); 6] = [
            ("sealwire_deks_made", "DEKs made for sealing", |kms| {
                kms.generated.get()
            }),
            ("sealwire_deks_unwrapped", "DEKs unwrapped for opening", |kms| {
                kms.unwrapped.get()
            }),
            (
                "sealwire_deks_rechecked",
                "KEK versions in use of which the KMS was asked whether they are still good",
                |kms| kms.rechecked.get(),
            ),
            (
                "sealwire_kek_version_polls",
                "Questions for the current version of a KEK",
                |kms| kms.version_polls.get(),
            ),
            (
                "sealwire_kek_revocations",
                "KEK versions whose keys were taken away from every executor",
                |kms| kms.revocations.get(),
            ),
            (
                "sealwire_kms_verdicts",
                "KMS calls that ended in a verdict: disabled, destroyed, not found, malformed",
                |kms| kms.verdicts.get(),
            ),
        ];
        for (name, help, read) in counters {
            let samples = self
                .collection
                .kms()
                .map(|(kms, counters)| (label(kms), read(counters)));
            families.counter(name, help, None, samples)?;
        }
        families.counter(
            "sealwire_kms_outages",
            "KMS calls that were not answered, or whose answer was no verdict, time-outs included",
            None,
            self.collection
                .kms()
                .map(|(name, kms)| (label(name), kms.outages.get())),
        )?;
        let calls = self.collection.kms().flat_map(|(name, kms)| {
            CallKind::ALL.map(|kind| {
                let labels = vec![("kms", name.to_owned()), ("call", text_of(kind.as_str()))];
                (labels, Buckets::of_kms(kms.latency(kind)))
            })
        });
        families.histogram(
            "sealwire_kms_call",
            "How long KMS calls take, failed ones included",
            calls,
        )?;
        let now = Instant::now();
        let states = self
            .collection
            .kms()
            .map(|(name, kms)| (label(name), kms.state(now)));
        families.gauge(
            "sealwire_kms_available",
            "Whether the KMS answered when it was last asked; 1 before it was ever asked",
            None,
            states.clone().map(|(labels, state)| {
                let silent = matches!(state, KmsState::Silent(_));
                (labels, u64::from(!silent))
            }),
        )?;
        families.gauge(
            "sealwire_kms_stale",
            "Whether the KMS's keystore file cannot be used as it is now, and what was read before stays in force",
            None,
            self.collection
                .kms()
                .map(|(name, kms)| (label(name), u64::from(kms.is_stale()))),
        )?;
        families.gauge(
            "sealwire_kms_outage",
            "For how long the KMS has not answered; 0 while it does, and before it was ever asked",
            SECONDS,
            states.map(|(labels, state)| {
                let silent = match state {
                    KmsState::Silent(silent) => silent,
                    KmsState::Unasked | KmsState::Answering => Duration::ZERO,
                };
                (labels, silent.as_secs_f64())
            }),
        )
    }
}

fn text_of(text: &str) -> String {
    text.to_owned()
}

fn direction_label(direction: Direction) -> Labels {
    vec![("direction", text_of(direction.as_str()))]
}

/// Of keys that the policy has never heard of only the number is told: any client may send any.
fn api_labels(direction: Direction, key: Option<i16>) -> Labels {
    vec![
        ("direction", text_of(direction.as_str())),
        ("api", text_of(key.and_then(api_name).unwrap_or("unknown"))),
        (
            "api_key",
            key.map_or_else(|| text_of("other"), |key| key.to_string()),
        ),
    ]
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
