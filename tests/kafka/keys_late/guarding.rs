//! The same by a client that sends exactly what the test wants: the sequence guard, and requests without
//! acknowledgement.

use std::time::{Duration, Instant};

use super::{EVENTUALLY, RIG};
use crate::support::faulty_proxy::FaultyProxy;
use crate::support::operations::From;
use crate::support::raw_client::{RawClient, batch};
use crate::support::records::{Record, assert_delivered};
use crate::support::skipped;
use crate::support::wait;

/// What librdkafka loses silently without the guard: the first batch of a partition is refused, the next one goes
/// through.
#[test]
fn batch_behind_a_refused_one_waits_for_it() {
    let Some(proxy) = FaultyProxy::start(&RIG, 1, SEAL_WAIT) else {
        return skipped::there_is_no_proxy();
    };
    let (topic, other) = (RIG.topic("late-k8", 1), RIG.topic("late-k8", 1));
    proxy.faults.hold();
    let mut client = RawClient::connect(&proxy.address());
    let asked = Instant::now();
    let refused = client.produce(&topic, batch(Some((PRODUCER, 0)), "first"));
    assert_eq!(refused.error_code, NOT_ENOUGH_REPLICAS, "{refused:?}");
    assert!(asked.elapsed() >= SEAL_WAIT, "refused before seal_wait was over");
    let message = refused
        .error_message
        .map(|text| text.to_string())
        .unwrap_or_default();
    assert!(message.contains("KMS") && message.contains(&topic), "{message}");

    proxy.faults.release();
    let record = Record::new(&other, "key", "the key is there").partition(0);
    assert_delivered(&RIG.java.produce(&proxy.options(), &[record]));
    let held_back = client.produce(&topic, batch(Some((PRODUCER, 1)), "second"));
    assert_eq!(held_back.error_code, NOT_ENOUGH_REPLICAS, "{held_back:?}");
    assert_eq!(proxy.refused(&topic, "sequence_guard"), 1.0);
    assert_eq!(RIG.end_offsets(&topic, 1), [0]);

    // Other producers are none of the guard's business.
    let another = client.produce(&topic, batch(Some((PRODUCER + 1, 0)), "another producer"));
    assert_eq!((another.error_code, another.base_offset), (0, 0));
    let plain = client.produce(&topic, batch(None, "plain"));
    assert_eq!((plain.error_code, plain.base_offset), (0, 1));

    for (sequence, value) in [(0, "first"), (1, "second")] {
        let stored = client.produce(&topic, batch(Some((PRODUCER, sequence)), value));
        assert_eq!(
            (stored.error_code, stored.base_offset),
            (0, 2 + i64::from(sequence))
        );
    }
    let read = RIG
        .java
        .consume(&proxy.options(), &From::partitions(&topic, 1), 4);
    let values: Vec<_> = read.iter().map(|record| record.value.clone()).collect();
    let expected = ["another producer", "plain", "first", "second"].map(|text| Some(text.into()));
    assert_eq!(values, expected);
}

#[test]
fn connection_is_closed_where_no_answer_is_wanted() {
    let Some(proxy) = FaultyProxy::start(&RIG, 1, SEAL_WAIT) else {
        return skipped::there_is_no_proxy();
    };
    let topic = RIG.topic("late-k9", 1);
    proxy.faults.hold();
    let mut client = RawClient::connect(&proxy.address());
    client.produce_unacknowledged(&topic, batch(None, "never stored"));
    client.assert_closed();
    let closed = |reason: &str| {
        proxy.metric(
            "sealwire_connections_closed_total",
            &[&format!("reason=\"{reason}\"")],
        )
    };
    wait::until("the connection to be counted", EVENTUALLY, || {
        (closed("acks_zero_unsealable") == 1.0).then_some(())
    });
    assert_eq!(RIG.end_offsets(&topic, 1), [0]);

    proxy.faults.release();
    let mut client = RawClient::connect(&proxy.address());
    wait::until("the key", EVENTUALLY, || {
        (client.produce(&topic, batch(None, "the key is there")).error_code == 0).then_some(())
    });
    client.produce_unacknowledged(&topic, batch(None, "stored"));
    wait::until("a record without acknowledgement", EVENTUALLY, || {
        (RIG.end_offsets(&topic, 1) == [2]).then_some(())
    });
}

const SEAL_WAIT: Duration = Duration::from_millis(500);
const NOT_ENOUGH_REPLICAS: i16 = 19;
/// Kafka takes any number that it does not know for that of a new producer.
const PRODUCER: i64 = 4_000_000;
