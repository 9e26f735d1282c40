//! Message sets of format 0 and 1, from before Kafka 0.11: nobody can seal them, so that they must not get past the
//! proxy where records are sealed, and are the broker's business where they are not.

use std::sync::LazyLock;

use crate::support::broker_properties::Login;
use crate::support::operations::From;
use crate::support::raw_client::{RawClient, batch};
use crate::support::rig::Rig;
use crate::support::shared;
use crate::support::skipped;

static CURRENT: LazyLock<Rig> = LazyLock::new(|| Rig::assemble(shared::one_broker(), Login::Plaintext));
static OLDER: LazyLock<Rig> = LazyLock::new(|| Rig::assemble(shared::older_broker(), Login::Plaintext));

/// Two messages each, as Kafka's Java classes have written them.
const MESSAGE_SETS: [&str; 2] = [
    include_str!("../../src/record_batch/vectors/java-magic0.hex"),
    include_str!("../../src/record_batch/vectors/java-magic1.hex"),
];

/// The message set of this format, with offsets from 0 as a producer has them.
fn message_set(magic: usize) -> Vec<u8> {
    let digits: Vec<char> = MESSAGE_SETS[magic]
        .chars()
        .filter(|digit| !digit.is_whitespace())
        .collect();
    let mut set: Vec<u8> = digits
        .chunks(2)
        .map(|pair| u8::from_str_radix(&String::from_iter(pair), 16).expect("hexadecimal digits"))
        .collect();
    // Offset, size, checksum of what follows, format: the offset is not covered.
    let (mut at, mut offset) = (0, 0i64);
    while at < set.len() {
        assert_eq!(usize::from(set[at + 16]), magic);
        set[at..at + 8].copy_from_slice(&offset.to_be_bytes());
        let size: [u8; 4] = set[at + 8..at + 12].try_into().expect("four bytes");
        at += 12 + usize::try_from(u32::from_be_bytes(size)).expect("a small message");
        offset += 1;
    }
    assert_eq!(offset, 2);
    set
}

#[test]
fn refused_where_records_are_sealed() {
    refused_and_nothing_stored(&CURRENT);
}

#[test]
fn refused_where_records_are_sealed_at_an_older_broker() {
    refused_and_nothing_stored(&OLDER);
}

fn refused_and_nothing_stored(rig: &Rig) {
    for prefix in ["sealed-old", "bound-old", "migrating-old"] {
        let topic = rig.topic(prefix, 1);
        let mut client = RawClient::connect(&rig.bootstrap());
        for magic in [0, 1] {
            let refused = client.produce(&topic, message_set(magic));
            assert_eq!(refused.error_code, INVALID_RECORD, "{refused:?}");
            if let Some(proxy) = rig.proxy() {
                // By the proxy: the broker has not seen it.
                let message = refused.error_message.unwrap_or_default();
                assert!(message.contains(&format!("message format {magic}")), "{message}");
                let labels = [
                    "operation=\"produce\"",
                    &format!("topic=\"{topic}\""),
                    "reason=\"unsupported\"",
                ];
                let count = proxy.metric("sealwire_refused_partitions_total", &labels);
                assert_eq!(count, 1.0 + f64::from(u8::try_from(magic).expect("0 or 1")));
            }
        }
        assert_eq!(rig.end_offsets(&topic, 1), [0]);
        // The connection is as good as before.
        let stored = client.produce(&topic, batch(None, "of today"));
        assert_eq!((stored.error_code, stored.base_offset), (0, 0), "{stored:?}");
        let read = rig.java.consume(&rig.options(), &From::partitions(&topic, 1), 1);
        let values: Vec<_> = read.into_iter().map(|record| record.value).collect();
        assert_eq!(values, [Some("of today".into())]);
    }
}

#[test]
fn left_to_the_broker_where_records_are_passed_through() {
    answered_as_by_the_broker(&CURRENT);
}

#[test]
fn left_to_an_older_broker_where_records_are_passed_through() {
    answered_as_by_the_broker(&OLDER);
}

fn answered_as_by_the_broker(rig: &Rig) {
    let topic = rig.topic("public-old", 1);
    let mut straight = RawClient::connect(&rig.cluster.bootstrap());
    let mut client = RawClient::connect(&rig.bootstrap());
    for magic in [0, 1] {
        let expected = straight.produce(&topic, message_set(magic));
        assert_eq!(expected.error_code, INVALID_RECORD, "{expected:?}");
        assert_eq!(client.produce(&topic, message_set(magic)), expected);
    }
    if let Some(proxy) = rig.proxy() {
        let label = format!("topic=\"{topic}\"");
        assert_eq!(proxy.metric("sealwire_refused_partitions_total", &[&label]), 0.0);
    }
    assert_eq!(rig.end_offsets(&topic, 1), [0]);
    let stored = client.produce(&topic, batch(None, "of today"));
    assert_eq!((stored.error_code, stored.base_offset), (0, 0), "{stored:?}");
}

#[test]
fn without_acknowledgement_the_connection_is_closed() {
    let rig = &*CURRENT;
    let topic = rig.topic("sealed-old", 1);
    for magic in [0, 1] {
        let mut client = RawClient::connect(&rig.bootstrap());
        client.produce_unacknowledged(&topic, message_set(magic));
        client.assert_closed();
    }
    assert_eq!(rig.end_offsets(&topic, 1), [0]);
}

/// Requests of version 2 are where brokers up to 3.9 take old message sets; the proxy does not serve them, whatever the
/// topic's rule.
#[test]
fn requests_of_old_versions_get_nothing_past_the_proxy() {
    let rig = &*OLDER;
    let stored = |topic: &str| rig.end_offsets(topic, 1);
    // The control: straight at the broker they are stored.
    let topic = rig.topic("sealed-old", 1);
    let mut straight = RawClient::connect(&rig.cluster.bootstrap());
    straight.send_frame(&produce_of_version_2(&topic, &message_set(1)));
    straight.receive_frame();
    assert_eq!(stored(&topic), [2]);

    let Some(proxy) = rig.proxy() else {
        return skipped::there_is_no_proxy();
    };
    for prefix in ["sealed-old", "public-old"] {
        for magic in [0, 1] {
            let topic = rig.topic(prefix, 1);
            let mut client = RawClient::connect(&proxy.bootstrap());
            client.send_frame(&produce_of_version_2(&topic, &message_set(magic)));
            client.assert_closed();
            assert_eq!(stored(&topic), [0]);
        }
    }
}

/// No library encodes it any more.
fn produce_of_version_2(topic: &str, message_set: &[u8]) -> Vec<u8> {
    let text = |text: &str| {
        let length = i16::try_from(text.len()).expect("a short text");
        [&length.to_be_bytes(), text.as_bytes()].concat()
    };
    let length = i32::try_from(message_set.len()).expect("a small set");
    [
        // API key, version, correlation id, client id.
        &[0, 0, 0, 2, 0, 0, 0, 1][..],
        &text("raw"),
        // Acknowledged by all, within ten seconds.
        &(-1i16).to_be_bytes(),
        &10_000i32.to_be_bytes(),
        // One topic, one partition, number 0.
        &1i32.to_be_bytes(),
        &text(topic),
        &1i32.to_be_bytes(),
        &0i32.to_be_bytes(),
        &length.to_be_bytes(),
        message_set,
    ]
    .concat()
}

const INVALID_RECORD: i16 = 87;
