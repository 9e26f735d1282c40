//! Four client libraries that share no code, and kcat's old librdkafka, read what any other of them has written.

use std::sync::LazyLock;

use crate::support::agent::{Agent, Library};
use crate::support::broker_properties::Login;
use crate::support::kcat::{self, KcatRecord};
use crate::support::operations::{From, Outcome};
use crate::support::records::{Record, assert_delivered, assert_same, assert_same_sequence, assorted};
use crate::support::rig::{Rig, Topic, unique};
use crate::support::shared;

static RIG: LazyLock<Rig> = LazyLock::new(|| Rig::assemble(shared::one_broker(), Login::Plaintext));

const CODECS: [&str; 5] = ["none", "gzip", "snappy", "lz4", "zstd"];

/// All but kcat.
fn agents() -> [&'static Agent; 4] {
    [
        RIG.java,
        shared::librdkafka(),
        shared::aiokafka(),
        shared::franz_go(),
    ]
}

#[test]
fn each_library_reads_what_each_has_written() {
    let rig = &*RIG;
    for producer in agents() {
        let topic = rig.topic("sealed-libraries", 2);
        let (mut sent, mut deliveries) = (Vec::new(), Vec::new());
        for codec in CODECS {
            let records = assorted(&topic, &format!("{:?} {codec} ", producer.library()));
            deliveries.extend(producer.produce(&rig.options().codec(codec), &records));
            sent.extend(records);
        }
        for consumer in agents() {
            let read = consumer.consume(&rig.options(), &From::partitions(&topic, 2), sent.len());
            assert_same(&sent, &deliveries, &read);
        }
    }
}

#[test]
fn each_library_with_every_kind_of_acknowledgement() {
    let rig = &*RIG;
    for agent in agents() {
        for acks in ["0", "1", "all"] {
            let topic = rig.topic("sealed-acks", 2);
            let sent = assorted(&topic, acks);
            let deliveries = agent.produce(&rig.options().acks(acks).set("idempotent", false), &sent);
            assert_delivered(&deliveries);
            // Which half to look at when something is missing.
            let stored = rig
                .java
                .consume(&rig.direct(), &From::partitions(&topic, 2), sent.len());
            assert_eq!(
                stored.len(),
                sent.len(),
                "stored by {:?} with acks={acks}",
                agent.library()
            );
            let read = agent.consume(&rig.options(), &From::partitions(&topic, 2), sent.len());
            assert_eq!(
                read.len(),
                sent.len(),
                "read by {:?} with acks={acks}",
                agent.library()
            );
            assert_same_sequence(&sent, &read);
        }
    }
}

#[test]
fn each_library_idempotent_and_in_groups() {
    let rig = &*RIG;
    for agent in agents() {
        let topic = rig.topic("bound-groups", 2);
        let sent: Vec<Record> = (0..2000)
            .map(|number: i32| {
                Record::new(&topic, number.to_string(), format!("value {number}")).partition(number % 2)
            })
            .collect();
        let deliveries = agent.produce(&rig.options().set("idempotent", true), &sent);
        let protocols: &[&str] = match agent.library() {
            Library::Java(_) | Library::NewerJava | Library::Librdkafka => &["classic", "consumer"],
            Library::Aiokafka | Library::FranzGo | Library::Kafkajs => &["classic"],
            // It is no client.
            Library::KafkaStreams => &[],
        };
        for protocol in protocols {
            let group = unique("group");
            let read = agent.consume(
                &rig.options().group(&group, protocol),
                &From::topic(&topic),
                sent.len(),
            );
            assert_same(&sent, &deliveries, &read);
            rig.assert_read_by(&group, &topic, 2);
        }
    }
}

#[test]
fn each_library_in_transactions() {
    let rig = &*RIG;
    for agent in agents() {
        let topic = rig.topic("sealed-transactions", 2);
        let transactions = [
            (Outcome::Commit, assorted(&topic, "first")),
            (Outcome::Abort, assorted(&topic, "aborted")),
            (Outcome::Commit, assorted(&topic, "second")),
        ];
        let each = transactions[0].1.len();
        let deliveries = agent.transact(&rig.options().transactional(&topic), &transactions);
        assert_delivered(&deliveries);
        let committed: Vec<Record> = [&transactions[0].1[..], &transactions[2].1].concat();
        let learned = [&deliveries[..each], &deliveries[2 * each..]].concat();
        let options = rig.options().read_committed();
        let read = agent.consume(&options, &From::partitions(&topic, 2), committed.len());
        assert_same(&committed, &learned, &read);
        // Java's verdict on what the library has written.
        let read = rig
            .java
            .consume(&options, &From::partitions(&topic, 2), committed.len());
        assert_same(&committed, &learned, &read);
    }
}

#[test]
fn kcat_writes_and_reads() {
    let rig = &*RIG;
    let bootstrap = rig.bootstrap();
    let topic = rig.topic("sealed-kcat", 1);
    let headers = [("same", "1"), ("same", "2"), ("other", "3")];
    for codec in CODECS {
        let property = format!("compression.codec={codec}");
        let records = [("key 1", "value 1"), ("key 2", codec)];
        kcat::produce(&bootstrap, &topic, 0, &[&property], &headers, &records);
    }
    let by_kcat = kcat::consume(&bootstrap, &topic, 0, &[]);
    let by_java = rig.java.consume(&rig.options(), &From::partitions(&topic, 1), 10);
    assert_eq!(by_kcat.len(), 10);
    for ((index, old), record) in by_kcat.iter().enumerate().zip(&by_java) {
        let value = if index % 2 == 0 {
            "value 1"
        } else {
            CODECS[index / 2]
        };
        assert_eq!(old.value.as_deref(), Some(value));
        assert_eq!(old.key.as_deref(), Some(["key 1", "key 2"][index % 2]));
        assert_eq!(old.headers, ["same", "1", "same", "2", "other", "3"]);
        let same = KcatRecord {
            partition: record.partition,
            offset: record.offset,
            timestamp: record.timestamp,
            key: record
                .key
                .as_ref()
                .map(|key| String::from_utf8_lossy(&key.0).into_owned()),
            value: record
                .value
                .as_ref()
                .map(|value| String::from_utf8_lossy(&value.0).into_owned()),
            headers: old.headers.clone(),
        };
        assert_eq!(old, &same);
    }
    for agent in agents() {
        let read = agent.consume(&rig.options(), &From::partitions(&topic, 1), 10);
        assert_eq!(read, by_java, "{:?}", agent.library());
    }
    if rig.seals() {
        // kcat straight at the broker sees neither values nor headers.
        let stored = format!("{:?}", kcat::consume(&rig.cluster.bootstrap(), &topic, 0, &[]));
        assert!(
            !stored.contains("value 1") && !stored.contains("other"),
            "{stored}"
        );
    }
}

/// Sealing makes small records grow, by about 125 bytes each with the file keystore. librdkafka fills batches of 1 MB
/// whatever a topic allows, so that with Kafka's default they would all be refused, for good. What suffices depends on
/// the records' size.
#[test]
fn backlog_of_librdkafka_fits_a_larger_limit() {
    let rig = &*RIG;
    for (value_bytes, max_message_bytes) in [(150, "2097152"), (40, "4194304")] {
        let topic = unique("sealed-backlog");
        let configs = [("max.message.bytes", max_message_bytes)];
        rig.create(&Topic {
            name: &topic,
            partitions: 1,
            replicas: 1,
            configs: &configs,
        });
        let sent: Vec<Record> = (0..30_000)
            .map(|number: i32| {
                Record::new(&topic, number.to_string(), format!("{number:0value_bytes$}")).partition(0)
            })
            .collect();
        // Batches as large as they get: librdkafka's default also stops at 10 000 records.
        let options = rig
            .options()
            .set("linger_ms", 500)
            .extra("batch.num.messages", "1000000");
        let deliveries = shared::librdkafka().produce(&options, &sent);
        let read = shared::librdkafka().consume(&rig.options(), &From::partitions(&topic, 1), sent.len());
        assert_same(&sent, &deliveries, &read);
    }
}
