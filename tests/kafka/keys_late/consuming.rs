//! Consumers whose opening key is late: "no data yet", without spinning, and other partitions go on.

use std::thread;
use std::time::{Duration, Instant};

use sealwire::kms::KmsError;

use super::{EVENTUALLY, RECOVERY, RIG};
use crate::support::agent::Agent;
use crate::support::faulty_proxy::FaultyProxy;
use crate::support::operations::{From, Stream};
use crate::support::raw_client::RawClient;
use crate::support::records::{Record, assert_delivered, assert_same};
use crate::support::shared;
use crate::support::skipped;
use crate::support::wait;

#[test]
fn held_keys_are_no_data_yet_and_nobody_spins() {
    let Some(proxy) = FaultyProxy::start(&RIG, 2, Duration::from_secs(2)) else {
        return skipped::there_is_no_proxy();
    };
    proxy.faults.hold();
    late_then_read(&proxy, "k10", || proxy.faults.release());
}

#[test]
fn outage_is_no_data_yet_and_neither_clients_nor_the_proxy_spin() {
    let Some(proxy) = FaultyProxy::start(&RIG, 2, Duration::from_secs(2)) else {
        return skipped::there_is_no_proxy();
    };
    proxy.faults.refuse(Some(KmsError::Unavailable("test".into())));
    let started = Instant::now();
    late_then_read(&proxy, "k11", || {
        let seconds = started.elapsed().as_secs_f64();
        let calls = proxy.metric("sealwire_kms_calls_total", &["outcome=\"outage\""]);
        assert!(
            calls >= 2.0 && calls <= seconds * CALLS_PER_SECOND_MAX,
            "{calls} calls in {seconds} s"
        );
        proxy.faults.refuse(None);
    });
}

/// PACE-1, PACE-2: of each consumer, and they go on as soon as the keys are there.
#[test]
fn consumers_that_wait_cost_their_broker_little() {
    let Some(proxy) = FaultyProxy::start(&RIG, 2, Duration::from_secs(2)) else {
        return skipped::there_is_no_proxy();
    };
    proxy.faults.hold();
    let late = RIG.topic("late-k22", LONG_PARTITIONS);
    let value = "x".repeat(LONG_VALUE_BYTES);
    let sent: Vec<Record> = (0..LONG_RECORDS)
        .map(|number| Record::new(&late, number.to_string(), &value).partition(number % LONG_PARTITIONS))
        .collect();
    assert_delivered(&RIG.java.produce(&RIG.options(), &sent));
    let streams = [RIG.java, shared::librdkafka()].map(|agent: &Agent| {
        let from = From::partitions(&late, LONG_PARTITIONS);
        (agent, agent.stream_consume(&proxy.options(), &from))
    });
    let bytes = || proxy.metric("sealwire_read_bytes_total", &["direction=\"response\""]);
    let pause = |what: &str, time: Duration| {
        let begun = Instant::now();
        wait::until(what, EVENTUALLY, || (begun.elapsed() >= time).then_some(()));
    };
    wait::until("that they fetch", EVENTUALLY, || {
        (bytes() > f64::from(LONG_PARTITIONS) * MEBIBYTE).then_some(())
    });
    pause("the ten seconds", Duration::from_secs(10));
    let (before, begun) = (bytes(), Instant::now());
    pause("the time in which bytes are counted", STUCK_COUNTING);
    let cost = (bytes() - before) / MEBIBYTE;
    let most = 2.0 * (begun.elapsed().as_secs_f64() + f64::from(LONG_PARTITIONS));
    assert!(cost <= most, "{cost} MiB, of {most}");
    assert!(cost > 0.1, "nobody fetches");
    proxy.faults.release();
    for (agent, stream) in streams {
        agent.stream_await(&stream, sent.len());
        let report = agent.stream_stop(stream);
        assert!(report.failures.is_empty(), "{:?}", report.failures);
    }
}

#[expect(clippy::too_many_lines, reason = "one story")]
fn late_then_read(proxy: &FaultyProxy, kek: &str, heal: impl FnOnce()) {
    // Sealed by another proxy: this one has never seen the key.
    let (late, steady) = (RIG.topic(&format!("late-{kek}"), 2), RIG.topic("steady", 3));
    let records = |topic: &str, partitions: &[i32], count: i32| -> Vec<Record> {
        let places = partitions.iter().cycle();
        (0..count)
            .zip(places)
            .map(|(number, partition)| Record::new(topic, number.to_string(), "value").partition(*partition))
            .collect()
    };
    let mut sent = records(&late, &[0, 1], LATE_RECORDS);
    sent.extend(records(&steady, &[2], STEADY_RECORDS));
    let mut deliveries = RIG.java.produce(&RIG.options(), &sent);
    assert_delivered(&deliveries);

    // Partition numbers differ, so that a stream's entries tell the topics apart.
    let places = vec![(late.clone(), 0), (late.clone(), 1), (steady.clone(), 2)];
    let from = From::Partitions(places);
    let agents: [&Agent; 2] = [RIG.java, shared::librdkafka()];
    let streams: Vec<(&Agent, Stream)> = agents
        .into_iter()
        .map(|agent| (agent, agent.stream_consume(&proxy.options(), &from)))
        .collect();
    let all = sent.len() + usize::try_from(MORE_RECORDS).expect("a number");
    let steady_count = usize::try_from(STEADY_RECORDS + MORE_RECORDS).expect("a number");
    thread::scope(|scope| {
        let others = [shared::aiokafka(), shared::franz_go()]
            .map(|agent| scope.spawn(|| agent.consume(&proxy.options(), &from, all)));
        for (agent, stream) in &streams {
            agent.stream_await(
                stream,
                steady_count - usize::try_from(MORE_RECORDS).expect("a number"),
            );
        }
        assert_no_data_yet(proxy, &late);

        let rate = fetches_per_second(proxy);
        assert!(rate > 0.5, "nobody fetches");
        assert!(
            rate <= FETCHES_PER_SECOND_MAX * CONSUMERS,
            "{rate} fetches a second by {CONSUMERS} consumers"
        );

        // The other partition goes on, and fast.
        let more = records(&steady, &[2], MORE_RECORDS);
        deliveries.extend(RIG.java.produce(&proxy.options(), &more));
        assert_delivered(&deliveries);
        let produced = Instant::now();
        for (agent, stream) in &streams {
            agent.stream_await(stream, steady_count);
        }
        assert!(produced.elapsed() < RECOVERY, "the other partition is disturbed");
        for (agent, stream) in &streams {
            assert_eq!(
                agent.stream_status(stream).count,
                steady_count,
                "read without a key"
            );
        }

        heal();
        let healed = Instant::now();
        for (agent, stream) in &streams {
            agent.stream_await(stream, all);
        }
        let recovery = healed.elapsed();
        assert!(recovery < RECOVERY + POLLING, "recovered in {recovery:?}");
        let sent = [&sent[..], &more].concat();
        for other in others {
            assert_same(&sent, &deliveries, &other.join().expect("a consumer"));
        }
        for (agent, stream) in streams {
            let report = agent.stream_stop(stream);
            assert!(report.failures.is_empty(), "{:?}", report.failures);
            let mut read: Vec<(i32, i64)> = report.entries.iter().map(|entry| (entry.0, entry.1)).collect();
            let mut stored: Vec<(i32, i64)> = deliveries
                .iter()
                .map(|delivery| (delivery.partition, delivery.offset))
                .collect();
            read.sort_unstable();
            stored.sort_unstable();
            assert_eq!(read, stored, "{:?}", agent.library());
        }
    });
}

/// Without a consumer's library in between: the code, the watermark, and the other partition's data in the same
/// response.
fn assert_no_data_yet(proxy: &FaultyProxy, late: &str) {
    let probe = RIG.topic("steady-probe", 1);
    let record = Record::new(&probe, "key", "value").partition(0);
    assert_delivered(&RIG.java.produce(&proxy.options(), &[record]));
    let mut client = RawClient::connect(&proxy.address());
    let partitions = client.fetch(&[late, &probe]);
    let [waiting, flowing] = &partitions[..] else {
        panic!("two partitions were asked for: {partitions:?}");
    };
    let bytes = |records: &Option<bytes::Bytes>| records.as_ref().map_or(0, bytes::Bytes::len);
    assert_eq!((waiting.error_code, bytes(&waiting.records)), (0, 0));
    assert_eq!(waiting.high_watermark, i64::from(LATE_RECORDS / 2));
    assert_eq!(flowing.error_code, 0);
    assert!(
        bytes(&flowing.records) > 0,
        "the other partition's data waits too"
    );
    // Alone it is held, so that a client does not spin.
    let asked = Instant::now();
    let partitions = client.fetch(&[late]);
    assert_eq!(bytes(&partitions[0].records), 0);
    assert!(
        asked.elapsed() >= Duration::from_millis(190),
        "held for {:?}",
        asked.elapsed()
    );
}

fn fetches_per_second(proxy: &FaultyProxy) -> f64 {
    let fetches = || {
        proxy.metric(
            "sealwire_frames_total",
            &["direction=\"request\"", "api=\"Fetch\""],
        )
    };
    let (before, started) = (fetches(), Instant::now());
    wait::until("the time in which fetches are counted", EVENTUALLY, || {
        (started.elapsed() >= COUNTING).then_some(())
    });
    (fetches() - before) / started.elapsed().as_secs_f64()
}

/// Of which clients fetch a mebibyte each at a time, by default.
const LONG_PARTITIONS: i32 = 6;
const LONG_RECORDS: i32 = 120;
const LONG_VALUE_BYTES: usize = 100_000;
const STUCK_COUNTING: Duration = Duration::from_secs(8);
const MEBIBYTE: f64 = 1_048_576.0;
const LATE_RECORDS: i32 = 200;
const STEADY_RECORDS: i32 = 50;
const MORE_RECORDS: i32 = 20;
/// Java's and librdkafka's streams, aiokafka and franz-go.
const CONSUMERS: f64 = 4.0;
/// With a response that carries nothing held for 200 ms a consumer comes five times a second.
const FETCHES_PER_SECOND_MAX: f64 = 10.0;
/// An outage is remembered for half a second.
const CALLS_PER_SECOND_MAX: f64 = 6.0;
const COUNTING: Duration = Duration::from_secs(3);
/// The test looks every 20 ms, and Java's loop turns every 200 ms.
const POLLING: Duration = Duration::from_millis(250);
