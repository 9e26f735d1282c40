//! Compact batches at real brokers: what they store, what every client library reads straight from them, and what
//! becomes of such a batch where a topic forces a codec.

use std::fs;
use std::sync::LazyLock;
use std::time::Duration;

use crc_fast::CrcAlgorithm;
use sealwire::record_batch::{Codec, Decompressor, HEADER_BYTES};
use serde_json::{Value, json};

use crate::support::agent::Agent;
use crate::support::artifacts::KafkaVersion;
use crate::support::broker_properties::Login;
use crate::support::compact_shapes::{Shape, shapes};
use crate::support::group_reader::{GroupReader, ReaderLibrary, checksum};
use crate::support::operations::From;
use crate::support::raw_client::RawClient;
use crate::support::records::{Bytes, Consumed};
use crate::support::rig::{Rig, Topic, unique};
use crate::support::{kcat, shared, skipped, wait};

static RIG: LazyLock<Rig> = LazyLock::new(|| Rig::assemble(shared::one_broker(), Login::Plaintext));
static OLDER: LazyLock<Rig> = LazyLock::new(|| Rig::assemble(shared::older_broker(), Login::Plaintext));

/// A topic of one partition, which keeps the shapes' records: they are years old, and a broker deletes such ones half a
/// minute after its start.
fn topic_with(rig: &Rig, prefix: &str, configs: &[(&str, &str)]) -> String {
    let name = unique(prefix);
    let configs = [&[("retention.ms", "-1")], configs].concat();
    rig.create(&Topic {
        name: &name,
        partitions: 1,
        replicas: 1,
        configs: &configs,
    });
    name
}

/// Sends the batch through the proxy; the code of the answer.
fn produce(rig: &Rig, topic: &str, shape: &Shape) -> i16 {
    let batch = shape.batch.build().expect("a batch");
    RawClient::connect(&rig.bootstrap())
        .produce(topic, batch)
        .error_code
}

/// What a client reads straight at the broker is sealed, and all of it is there: the key is in clear, the value has its
/// length, and the marker stands in front of the record's own headers.
fn assert_sealed(stored: &[Consumed], opened: &[Consumed], who: &str) {
    assert_eq!(stored.len(), opened.len(), "{who}");
    for (stored, opened) in stored.iter().zip(opened) {
        let place = (who, opened.offset);
        assert_eq!(stored.offset, opened.offset, "{place:?}");
        assert_eq!(stored.timestamp, opened.timestamp, "{place:?}");
        assert_eq!(stored.key, opened.key, "{place:?}");
        let bytes = |record: &Consumed| record.value.as_ref().map(|value| value.0.len());
        assert_eq!(bytes(stored), bytes(opened), "{place:?}");
        let marker = stored.headers.first().map(|header| header.0.as_str());
        assert_eq!(marker, Some("sealwire"), "{place:?}");
        let own = &stored.headers[1..];
        assert!(own.is_empty() || own == opened.headers, "{place:?}");
    }
}

/// Every library reads every shape of `rig`'s broker.
fn assert_read_by_all(rig: &Rig) {
    if !rig.seals() {
        return skipped::there_is_no_proxy();
    }
    let agents: [(&str, &Agent); 5] = [
        ("Java 4.3", shared::java(KafkaVersion::Current)),
        ("Java 3.9", shared::java(KafkaVersion::Older)),
        ("librdkafka", shared::librdkafka()),
        ("franz-go", shared::franz_go()),
        ("aiokafka", shared::aiokafka()),
    ];
    for prefix in ["sealed-shapes", "bound-shapes", "free-shapes"] {
        let topic = topic_with(rig, prefix, &[("max.message.bytes", "20971520")]);
        let mut count = 0;
        // Once with all that there are: how headers are treated shows in a few.
        let few = |shape: &Shape| prefix.starts_with("sealed") || shape.records <= 400;
        let mut codecs = Vec::new();
        for shape in shapes().into_iter().filter(few) {
            assert_eq!(produce(rig, &topic, &shape), 0, "{}", shape.name);
            count += shape.records;
            codecs.push(if shape.is_compact { LZ4 } else { NONE });
        }
        let batches = stored_batches(rig, &topic);
        assert_eq!(codecs_of(&batches), codecs, "{topic}");
        let from = From::partitions(&topic, 1);
        let opened = rig.java.consume(&rig.options(), &from, count);
        assert_eq!(opened.len(), count);
        let stored = rig.java.consume(&rig.direct(), &from, count);
        assert_sealed(&stored, &opened, &topic);
        for (who, agent) in agents {
            assert!(
                agent.consume(&rig.direct(), &from, count) == stored,
                "{topic}: {who}"
            );
        }
        assert_read_by_groups(&rig.cluster.bootstrap(), &topic, &stored);
        if prefix.starts_with("sealed") {
            // The others hold headers without a value, which are no text.
            assert_read_by_kcat(&rig.cluster.bootstrap(), &topic, &stored);
            agents[..2]
                .iter()
                .for_each(|(who, java)| assert_read_by_lz4_java(java, who, &batches));
        }
    }
}

/// sarama and kafka-go read the same.
fn assert_read_by_groups(bootstrap: &str, topic: &str, stored: &[Consumed]) {
    let line = |record: &Consumed| format!("{} {:08x}", record.offset, checksum(record));
    let expected: Vec<String> = stored.iter().map(line).collect();
    for library in [ReaderLibrary::Sarama, ReaderLibrary::KafkaGo] {
        let mut reader = GroupReader::start(library, bootstrap, topic, &unique("group"));
        wait::until("all records", EVENTUALLY, || {
            (reader.lines().len() >= expected.len()).then_some(())
        });
        assert!(reader.lines() == expected, "{topic}: {library:?}");
    }
}

/// kcat prints text, which what is sealed is not: its keys and the marker.
fn assert_read_by_kcat(bootstrap: &str, topic: &str, stored: &[Consumed]) {
    let read = kcat::consume(bootstrap, topic, 0, &[]);
    assert_eq!(read.len(), stored.len(), "{topic}");
    for (read, stored) in read.iter().zip(stored) {
        assert_eq!(read.offset, stored.offset, "{topic}");
        let key = read.key.as_ref().map(|key| Bytes::from(key.as_str()));
        assert_eq!(key, stored.key, "{topic}: {}", read.offset);
        assert_eq!(read.headers[0], "sealwire", "{topic}: {}", read.offset);
    }
}

/// The library of the JVM that Kafka itself uses for blocks only.
fn assert_read_by_lz4_java(java: &Agent, who: &str, batches: &[Vec<u8>]) {
    for batch in batches.iter().filter(|batch| batch[22] & 7 == LZ4) {
        let (frame, mut text) = (&batch[HEADER_BYTES..], Vec::new());
        let decompressed = Decompressor::new().decompress(Codec::Lz4, frame, 64 << 20, &mut text);
        decompressed.expect("a frame");
        let expected =
            json!({"bytes": text.len(), "crc": crc_fast::checksum(CrcAlgorithm::Crc32IsoHdlc, &text)});
        let order = json!({"frame": Bytes::from(frame)});
        let read: Result<Value, _> = java.call("decompress_lz4", order, EVENTUALLY);
        assert_eq!(read, Ok(expected), "{who}");
    }
}

#[test]
fn every_library_reads_every_shape_straight_from_brokers() {
    // One after the other: each client reads all of it into memory.
    assert_read_by_all(&RIG);
    assert_read_by_all(&OLDER);
}

fn codecs_of(batches: &[Vec<u8>]) -> Vec<u8> {
    batches.iter().map(|batch| batch[22] & 7).collect()
}

/// A topic's batches, as they lie in the only segment.
fn stored_batches(rig: &Rig, topic: &str) -> Vec<Vec<u8>> {
    let segments = rig.cluster.segments(topic);
    let segment = fs::read(&segments[0]).expect("reading a segment");
    let (mut batches, mut at) = (Vec::new(), 0);
    while let Some(length) = segment.get(at + 8..at + 12) {
        let length = i32::from_be_bytes(length.try_into().expect("four bytes"));
        if length == 0 {
            // What the broker has allocated and not written.
            break;
        }
        let end = at + 12 + usize::try_from(length).expect("a length");
        batches.push(segment[at..end].to_vec());
        at = end;
    }
    batches
}

/// A broker writes a batch anew whose codec is not the topic's.
#[test]
fn batches_open_whatever_codec_a_topic_forces() {
    if !RIG.seals() {
        return skipped::there_is_no_proxy();
    }
    for rig in [&*RIG, &*OLDER] {
        let shape = Shape::some("forced", 500);
        let stored = |forced: &str, codec: u8| {
            let configs = [("compression.type", forced)];
            let topic = topic_with(rig, &format!("sealed-forced-{forced}"), &configs);
            assert_eq!(produce(rig, &topic, &shape), 0, "{forced}");
            let batches = stored_batches(rig, &topic);
            assert_eq!(codecs_of(&batches), [codec], "{forced}");
            let from = From::partitions(&topic, 1);
            let opened = rig.java.consume(&rig.options(), &from, shape.records);
            assert_eq!(opened.len(), shape.records, "{forced}");
            let is_whole = |record: &Consumed| record.value == Some([b'v'; 150].into());
            assert!(opened.iter().all(is_whole), "{forced}");
            let direct = rig.java.consume(&rig.direct(), &from, shape.records);
            assert_sealed(&direct, &opened, forced);
            batches[0].len()
        };
        let as_sent = stored("producer", LZ4);
        assert_eq!(stored("lz4", LZ4), as_sent);
        let plain = stored("uncompressed", NONE);
        // A marker in each record but the first.
        assert!(plain > as_sent + 80 * (shape.records - 1), "{plain} {as_sent}");
        for (forced, codec) in [("gzip", 1), ("snappy", 2), ("zstd", 4)] {
            let bytes = stored(forced, codec);
            assert!(bytes < plain, "{forced}: {bytes} of {plain}");
        }
    }
}

/// What a topic stores uncompressed counts so: the broker refuses the batch that fits as it was sent.
#[test]
fn batches_that_a_topic_forces_to_be_uncompressed_count_as_they_are_stored() {
    if !RIG.seals() {
        return skipped::there_is_no_proxy();
    }
    let shape = Shape::some("uncompressed", 500);
    let produced = |compression: &str| {
        let configs = [("compression.type", compression), ("max.message.bytes", "120000")];
        produce(&RIG, &topic_with(&RIG, "sealed-limit", &configs), &shape)
    };
    assert_eq!(produced("producer"), 0);
    assert_eq!(produced("uncompressed"), 10);
}

/// Longest that a reader may take for all records of a topic.
const EVENTUALLY: Duration = Duration::from_secs(60);
const NONE: u8 = 0;
const LZ4: u8 = 3;
