//! Producers whose sealing key is late, or whose KMS does not answer.

use std::collections::BTreeMap;
use std::thread;
use std::time::{Duration, Instant};

use sealwire::kms::KmsError;

use super::{EVENTUALLY, RECOVERY, RIG, agents};
use crate::support::agent::{Agent, Library};
use crate::support::faulty_proxy::FaultyProxy;
use crate::support::operations::{From, Options, Outcome};
use crate::support::records::{Delivery, Record, assert_same};
use crate::support::skipped;
use crate::support::wait;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Idempotent,
    Transactional,
    Plain,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// The KMS does not answer.
    Held,
    /// The KMS answers that it cannot.
    Outage,
}

/// Two topics, one whose key is late and one whose key is fine, and what a producer sends to them in turn.
struct Traffic {
    late: String,
    steady: String,
    records: Vec<Record>,
}

impl Traffic {
    fn prepare(kek: &str) -> Self {
        let late = RIG.topic(&format!("late-{kek}"), 2);
        let steady = RIG.topic("steady", 1);
        let records = (0..LATE_RECORDS + STEADY_RECORDS)
            .map(|number| {
                let (topic, partition) = match number % 5 {
                    4 => (&steady, 0),
                    other => (&late, other % 2),
                };
                Record::new(topic, number.to_string(), "0123456789".repeat(20)).partition(partition)
            })
            .collect();
        Traffic {
            late,
            steady,
            records,
        }
    }

    fn produce(&self, agent: &Agent, options: &Options, mode: Mode) -> Vec<Delivery> {
        // Batches of about fifteen records: five in flight, and many behind them.
        let options = options
            .clone()
            .set("batch_bytes", 4000)
            .set("linger_ms", 5)
            .set("back_off_ms", milliseconds(BACK_OFF));
        let options = match agent.library() {
            Library::Java(_) | Library::NewerJava | Library::Librdkafka => {
                options.extra("max.in.flight.requests.per.connection", "5")
            }
            _ => options,
        };
        match mode {
            Mode::Idempotent => agent.produce(&options.set("idempotent", true), &self.records),
            Mode::Plain => agent.produce(&options.set("idempotent", false), &self.records),
            Mode::Transactional => agent.transact(
                &options.transactional(&self.late),
                &[(Outcome::Commit, self.records.clone())],
            ),
        }
    }

    /// Everything is there once, where the producer was told, and (`ordered`) in the order in which it was sent.
    fn assert_stored(&self, options: &Options, deliveries: &[Delivery], ordered: bool) {
        let partitions = vec![
            (self.late.clone(), 0),
            (self.late.clone(), 1),
            (self.steady.clone(), 0),
        ];
        let options = options.clone().read_committed();
        let read = RIG
            .java
            .consume(&options, &From::Partitions(partitions), self.records.len());
        assert_same(&self.records, deliveries, &read);
        let mut last: BTreeMap<(&str, i32), i64> = BTreeMap::new();
        for delivery in deliveries {
            let place = (delivery.topic.as_str(), delivery.partition);
            let before = last.insert(place, delivery.offset);
            // Nothing ever happened to the topic whose key was fine.
            if ordered || delivery.topic == self.steady {
                assert!(
                    before < Some(delivery.offset),
                    "{place:?} is reordered: {delivery:?}"
                );
            }
        }
    }
}

#[test]
fn past_seal_wait_nothing_is_lost_or_doubled() {
    let cases = [
        ("idempotent", Mode::Idempotent, Fault::Held, "k0"),
        ("transactional", Mode::Transactional, Fault::Held, "k1"),
        ("plain", Mode::Plain, Fault::Held, "k2"),
        ("idempotent outage", Mode::Idempotent, Fault::Outage, "k3"),
    ];
    if !RIG.seals() {
        return skipped::there_is_no_proxy();
    }
    thread::scope(|scope| {
        for agent in agents() {
            scope.spawn(move || {
                let proxy =
                    FaultyProxy::start(&RIG, 1, Duration::from_secs(1)).expect("the route has a proxy");
                for (name, mode, fault, kek) in cases {
                    refused_then_stored(agent, &proxy, name, mode, fault, kek);
                }
            });
        }
    });
}

fn refused_then_stored(agent: &Agent, proxy: &FaultyProxy, name: &str, mode: Mode, fault: Fault, kek: &str) {
    let case = format!("{:?}, {name}", agent.library());
    let traffic = Traffic::prepare(kek);
    let (late, steady) = (&traffic.late, &traffic.steady);
    let refused_as = match fault {
        Fault::Held => {
            proxy.faults.hold();
            "key_waiting"
        }
        Fault::Outage => {
            proxy.faults.refuse(Some(KmsError::Unavailable("test".into())));
            "kms_unavailable"
        }
    };
    thread::scope(|scope| {
        let producing = scope.spawn(|| traffic.produce(agent, &proxy.options(), mode));
        wait::until(&format!("{case}: refusals"), EVENTUALLY, || {
            (proxy.refused(late, refused_as) > 0.0).then_some(())
        });
        wait::until(&format!("{case}: the other topic"), EVENTUALLY, || {
            (proxy.sealed(steady) >= f64::from(STEADY_RECORDS)).then_some(())
        });
        assert_eq!(proxy.sealed(late), 0.0, "{case}: sealed without a key");
        assert_eq!(RIG.end_offsets(late, 2), [0, 0], "{case}: stored without a key");
        let healed = Instant::now();
        proxy.faults.refuse(None);
        proxy.faults.release();
        wait::until(&format!("{case}: recovery"), EVENTUALLY, || {
            (proxy.sealed(late) > 0.0).then_some(())
        });
        let recovery = healed.elapsed();
        assert!(
            recovery < RECOVERY + BACK_OFF * 2,
            "{case}: recovered in {recovery:?}"
        );
        let deliveries = producing.join().expect("the producer");
        traffic.assert_stored(&proxy.options(), &deliveries, mode != Mode::Plain);
    });
    // The others have one batch of a partition on its way at a time, at least until the first one is stored.
    if mode != Mode::Plain && matches!(agent.library(), Library::Java(_)) {
        assert!(
            proxy.refused(late, "sequence_guard") > 0.0,
            "{case}: the guard had nothing to do"
        );
    }
}

#[test]
fn within_seal_wait_nobody_notices_not_even_the_order() {
    let Some(proxy) = FaultyProxy::start(&RIG, 2, Duration::from_secs(20)) else {
        return skipped::there_is_no_proxy();
    };
    // An outage first: it is waited out, and ends; then a KMS that is slow.
    let keks = [("k4", "k5"), ("k6", "k7"), ("k18", "k19"), ("k20", "k21")];
    for (agent, (outage_kek, slow_kek)) in agents().into_iter().zip(keks) {
        let (outage, slow) = (Traffic::prepare(outage_kek), Traffic::prepare(slow_kek));
        let outages = proxy.metric("sealwire_kms_calls_total", &["outcome=\"outage\""]);
        proxy.faults.refuse(Some(KmsError::Unavailable("test".into())));
        thread::scope(|scope| {
            let producing = scope.spawn(|| outage.produce(agent, &proxy.options(), Mode::Plain));
            // More than one: the KMS is asked again while the request is held.
            wait::until("a second failed call", EVENTUALLY, || {
                (proxy.metric("sealwire_kms_calls_total", &["outcome=\"outage\""]) >= outages + 2.0)
                    .then_some(())
            });
            proxy.faults.refuse(None);
            let deliveries = producing.join().expect("the producer");
            outage.assert_stored(&proxy.options(), &deliveries, true);
        });
        proxy.faults.delay(Some(Duration::from_millis(400)));
        let deliveries = slow.produce(agent, &proxy.options(), Mode::Plain);
        proxy.faults.delay(None);
        slow.assert_stored(&proxy.options(), &deliveries, true);
    }
    assert_eq!(proxy.metric("sealwire_refused_partitions_total", &[]), 0.0);
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).expect("a short time")
}

/// What a producer waits before it sends a refused batch again. The libraries' own, up to a second (Java, librdkafka)
/// or five (franz-go), would hide how fast the proxy recovers; some add up to a fifth at random.
const BACK_OFF: Duration = Duration::from_millis(200);
const LATE_RECORDS: i32 = 2400;
const STEADY_RECORDS: i32 = 600;
