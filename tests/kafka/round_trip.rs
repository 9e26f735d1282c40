//! A record comes back through the proxy exactly as it was sent, and what the broker stores of it is sealed.

use std::sync::LazyLock;

use crate::support::broker_properties::Login;
use crate::support::operations::{From, Outcome};
use crate::support::records::{
    Consumed, Record, assert_delivered, assert_same, assert_same_contents, assert_same_sequence,
};
use crate::support::rig::{Rig, Topic, unique};
use crate::support::shared;
use crate::support::skipped;

static RIG: LazyLock<Rig> = LazyLock::new(|| Rig::assemble(shared::one_broker(), Login::Plaintext));

/// Records with every combination of key, value and headers that Kafka allows.
fn assorted(topic: &str, canary: &str) -> Vec<Record> {
    vec![
        Record::new(topic, "plain", canary).timestamp(1_600_000_000_000),
        Record::new(topic, "headers", canary)
            .header("first", canary)
            .header("second", ""),
        Record::new(topic, "duplicates", canary)
            .header("same", "1")
            .header("same", canary)
            .null_header("same")
            .header("Same", "2"),
        Record::new(topic, "empty value", ""),
        Record::new(topic, "empty value, headers", "").header("only", canary),
        Record::new(topic, "null value", "").without_value(),
        Record::new(topic, "", canary),
        Record::new(topic, "", canary).without_key().header("", canary),
        Record::new(topic, [0, 255, 128], [0, 255, 13, 10]).timestamp(0),
        Record::new(topic, "unicode", "Gr\u{fc}\u{df}e").header("k\u{f6}nig", [1, 0, 2]),
    ]
}

fn spread(mut records: Vec<Record>, partitions: i32) -> Vec<Record> {
    for (record, partition) in records.iter_mut().zip((0..partitions).cycle()) {
        record.partition = Some(partition);
    }
    records
}

/// What the broker holds for records read through the proxy: everything but value and headers is the same.
fn assert_broker_agrees(rig: &Rig, topic: &str, partitions: i32, through: &[Consumed]) {
    let stored = rig
        .java
        .consume(&rig.direct(), &From::partitions(topic, partitions), through.len());
    assert_eq!(stored.len(), through.len(), "records stored");
    for stored in stored {
        let place = (stored.partition, stored.offset);
        let read = through.iter().find(|read| (read.partition, read.offset) == place);
        let read = read.unwrap_or_else(|| panic!("{topic} {place:?} was not read"));
        assert_eq!(stored.key, read.key, "key of {place:?}");
        assert_eq!(stored.timestamp, read.timestamp, "timestamp of {place:?}");
        assert_eq!(
            stored.timestamp_type, read.timestamp_type,
            "timestamp type of {place:?}"
        );
        let length = |record: &Consumed| record.value.as_ref().map(|value| value.0.len());
        assert_eq!(length(&stored), length(read), "value length of {place:?}");
        if rig.seals() {
            let markers = stored
                .headers
                .iter()
                .filter(|header| header.0 == "sealwire")
                .count();
            assert_eq!(markers, 1, "markers of {place:?}");
            // A short ciphertext may be equal to its plaintext by chance.
            let short = length(read).is_none_or(|length| length < 8);
            assert!(
                short || stored.value != read.value,
                "value of {place:?} is readable"
            );
        }
    }
}

#[test]
fn nothing_is_readable_at_rest() {
    let rig = &*RIG;
    let canary = "canary-4f1c-at-rest";
    let sealed = rig.topic("sealed-rest", 1);
    let bound = rig.topic("bound-rest", 1);
    let public = rig.topic("public-rest", 1);
    let options = rig.options();
    for topic in [&sealed, &bound, &public] {
        // One batch a codec: what is stored compressed would hide from a search for bytes, not from the log dump.
        for codec in ["none", "gzip"] {
            let record = Record::new(topic, "key", canary).partition(0);
            let record = if topic == &bound {
                record
            } else {
                record.header("header", canary)
            };
            let sent = vec![record.clone(), record];
            assert_delivered(&rig.java.produce(&options.clone().codec(codec), &sent));
        }
        let read = rig.java.consume(&options, &From::partitions(topic, 1), 4);
        assert!(
            read.iter().all(|record| record.value == Some(canary.into())),
            "{read:?}"
        );
    }

    // The check can fail: it finds what is passed through.
    let found = rig.cluster.canary_in_data_dir(canary.as_bytes());
    let of = |topic: &str| {
        found
            .iter()
            .filter(|file| file.to_string_lossy().contains(topic))
            .count()
    };
    assert!(
        of(&public) > 0,
        "the canary is not found in the topic that is passed through"
    );
    assert!(
        rig.cluster.dump_log(&public).matches(canary).count() >= 4,
        "the dump does not show the canary"
    );
    let stored = rig.java.consume(&rig.direct(), &From::partitions(&public, 1), 4);
    assert!(
        stored
            .iter()
            .all(|record| record.headers[0].1 == Some(canary.into())),
        "{stored:?}"
    );

    if let Some(proxy) = rig.proxy() {
        assert!(!proxy.output().contains(canary), "readable in the proxy's log");
        assert_eq!(of(&public), found.len(), "readable at rest: {found:?}");
        for topic in [&sealed, &bound] {
            assert!(
                !rig.cluster.dump_log(topic).contains(canary),
                "readable in the log dump of {topic}"
            );
            // Headers do not show in the dump, so they are read from the broker.
            let stored = rig.java.consume(&rig.direct(), &From::partitions(topic, 1), 4);
            assert!(
                !format!("{stored:?}").contains(canary),
                "readable for a client of the broker: {stored:?}"
            );
        }
    }
}

#[test]
fn every_codec_every_combination() {
    let rig = &*RIG;
    for prefix in [
        "sealed-codec",
        "bound-codec",
        "free-codec",
        "invoices-codec",
        "public-codec",
    ] {
        let topic = rig.topic(prefix, 3);
        let (mut sent, mut deliveries) = (Vec::new(), Vec::new());
        for codec in ["none", "gzip", "snappy", "lz4", "zstd"] {
            let records = spread(assorted(&topic, &format!("{codec} {}", "text ".repeat(200))), 3);
            deliveries.extend(rig.java.produce(&rig.options().codec(codec), &records));
            sent.extend(records);
        }
        let read = rig
            .java
            .consume(&rig.options(), &From::partitions(&topic, 3), sent.len());
        assert_same(&sent, &deliveries, &read);
        if !prefix.starts_with("public") {
            assert_broker_agrees(rig, &topic, 3, &read);
        }
    }
}

#[test]
fn acknowledged_by_nobody_by_the_leader_by_all() {
    let rig = &*RIG;
    for acks in ["0", "1", "all"] {
        let topic = rig.topic("sealed-acks", 2);
        let sent = spread(assorted(&topic, "acknowledged"), 2);
        let deliveries = rig
            .java
            .produce(&rig.options().acks(acks).set("idempotent", false), &sent);
        assert_delivered(&deliveries);
        let read = rig
            .java
            .consume(&rig.options(), &From::partitions(&topic, 2), sent.len());
        assert_same_sequence(&sent, &read);
        if acks != "0" {
            assert_same(&sent, &deliveries, &read);
        }
    }
}

#[test]
fn transactions_commit_and_abort() {
    let rig = &*RIG;
    let topic = rig.topic("sealed-transactions", 2);
    let records = |text: &str| spread(assorted(&topic, text), 2);
    let transactions = [
        (Outcome::Commit, records("committed first")),
        (Outcome::Abort, records("aborted")),
        (Outcome::Commit, records("committed second")),
    ];
    let deliveries = rig
        .java
        .transact(&rig.options().transactional(&topic), &transactions);
    assert_delivered(&deliveries);

    let all: Vec<Record> = transactions
        .iter()
        .flat_map(|(_, records)| records.clone())
        .collect();
    let uncommitted = rig
        .java
        .consume(&rig.options(), &From::partitions(&topic, 2), all.len());
    assert_same(&all, &deliveries, &uncommitted);

    let each = transactions[0].1.len();
    let committed: Vec<Record> = all.iter().take(each).chain(&all[2 * each..]).cloned().collect();
    let learned: Vec<_> = deliveries
        .iter()
        .take(each)
        .chain(&deliveries[2 * each..])
        .cloned()
        .collect();
    let options = rig.options().read_committed();
    let read = rig
        .java
        .consume(&options, &From::partitions(&topic, 2), committed.len());
    assert_same(&committed, &learned, &read);
}

#[test]
fn consumed_and_produced_in_one_transaction() {
    let rig = &*RIG;
    let (source, target) = (rig.topic("sealed-source", 2), rig.topic("invoices-target", 2));
    let sent: Vec<Record> = (0..500)
        .map(|number: i32| {
            Record::new(&source, format!("{number}"), format!("value {number}"))
                .header("number", number.to_be_bytes())
        })
        .collect();
    let deliveries = rig.java.produce(&rig.options(), &sent);
    assert_delivered(&deliveries);
    let group = unique("copiers");
    let options = rig
        .options()
        .group(&group, "classic")
        .read_committed()
        .transactional(&group);
    assert_eq!(rig.java.copy(&options, &source, &target, sent.len()), sent.len());

    let read = rig.java.consume(
        &rig.options().read_committed(),
        &From::partitions(&target, 2),
        sent.len(),
    );
    assert_same_contents(&sent, &read);

    rig.assert_read_by(&group, &source, 2);
}

#[test]
fn groups_of_both_protocols() {
    let rig = &*RIG;
    for protocol in ["classic", "consumer"] {
        let topic = rig.topic("sealed-groups", 3);
        let sent = spread(assorted(&topic, "for groups"), 3);
        let deliveries = rig.java.produce(&rig.options(), &sent);
        let group = unique(protocol);
        let options = rig.options().group(&group, protocol);
        let read = rig.java.consume(&options, &From::topic(&topic), sent.len());
        assert_same(&sent, &deliveries, &read);

        rig.assert_read_by(&group, &topic, 3);

        // The group goes on from there.
        let more = vec![Record::new(&topic, "more", protocol).partition(1)];
        let deliveries = rig.java.produce(&rig.options(), &more);
        let read = rig.java.consume(&options, &From::topic(&topic), 1);
        assert_same(&more, &deliveries, &read);
    }
}

#[test]
fn large_records() {
    let rig = &*RIG;
    let topic = rig.topic("sealed-large", 1);
    let sizes = [1 << 20, 5_000_000, 8 << 20];
    let mut sent: Vec<Record> = sizes
        .iter()
        .map(|size| Record::new(&topic, format!("{size}"), patterned(*size)).partition(0))
        .collect();
    // Large headers and a large key as well.
    sent.push(
        Record::new(&topic, patterned(200_000), "small")
            .header("large", patterned(1 << 20))
            .partition(0),
    );
    let options = rig
        .options()
        .set("record_bytes_max", 16 << 20)
        .extra("buffer.memory", "67108864");
    let mut deliveries = Vec::new();
    for codec in ["none", "zstd"] {
        deliveries.extend(rig.java.produce(&options.clone().codec(codec), &sent));
    }
    let twice: Vec<Record> = sent.iter().chain(&sent).cloned().collect();
    let read = rig
        .java
        .consume(&rig.options(), &From::partitions(&topic, 1), twice.len());
    assert_same(&twice, &deliveries, &read);
}

#[test]
fn a_hundred_thousand_small_records() {
    let rig = &*RIG;
    let topic = rig.topic("sealed-small", 4);
    let sent: Vec<Record> = (0..100_000)
        .map(|number: i32| {
            let record =
                Record::new(&topic, number.to_be_bytes(), format!("value {number}")).partition(number % 4);
            if number % 10 == 0 {
                record.header("tenth", number.to_le_bytes())
            } else {
                record
            }
        })
        .collect();
    let deliveries = rig
        .java
        .produce(&rig.options().codec("lz4").set("linger_ms", 5), &sent);
    let read = rig
        .java
        .consume(&rig.options(), &From::partitions(&topic, 4), sent.len());
    assert_same(&sent, &deliveries, &read);
    assert_eq!(rig.end_offsets(&topic, 4), vec![25_000; 4]);
}

#[test]
fn several_rules_in_one_request() {
    let rig = &*RIG;
    let topics: Vec<String> = [
        "sealed-mixed",
        "bound-mixed",
        "free-mixed",
        "invoices-mixed",
        "public-mixed",
    ]
    .iter()
    .map(|prefix| rig.topic(prefix, 2))
    .collect();
    let sent: Vec<Record> = (0..200)
        .map(|number: usize| {
            let topic = &topics[number % topics.len()];
            let partition = i32::try_from(number / topics.len() % 2).expect("0 or 1");
            Record::new(topic, format!("{number}"), format!("mixed {number}"))
                .header("number", format!("{number}"))
                .partition(partition)
        })
        .collect();
    // All partitions have the same leader, so that what lingers is sent in one request: seen at a proxy that nobody
    // else uses.
    let proxy = rig.another_proxy(Login::Plaintext);
    let options = rig.options_at(proxy.as_ref());
    let deliveries = rig.java.produce(&options.set("linger_ms", 2000), &sent);
    if let Some(proxy) = &proxy {
        let requests = proxy.metric(
            "sealwire_frames_total",
            &["direction=\"request\"", "api=\"Produce\""],
        );
        assert!(
            (1.0..=3.0).contains(&requests),
            "{requests} requests for ten partitions"
        );
    }
    let partitions: Vec<(String, i32)> = topics
        .iter()
        .flat_map(|topic| [(topic.clone(), 0), (topic.clone(), 1)])
        .collect();
    let read = rig
        .java
        .consume(&rig.options(), &From::Partitions(partitions), sent.len());
    assert_same(&sent, &deliveries, &read);
}

#[test]
fn refused_topics_leave_the_others_of_a_request_alone() {
    let rig = &*RIG;
    if !rig.seals() {
        return skipped::there_is_no_proxy();
    }
    let sealed = rig.topic("sealed-neighbour", 1);
    let refused = [
        rig.topic("forbidden-neighbour", 1),
        rig.topic("unruled-neighbour", 1),
    ];
    let mut sent = vec![Record::new(&sealed, "1", "before").partition(0)];
    sent.extend(
        refused
            .iter()
            .map(|topic| Record::new(topic, "2", "never stored").partition(0)),
    );
    sent.push(Record::new(&sealed, "3", "after").partition(0));
    let deliveries = rig.java.produce(&rig.options().set("linger_ms", 200), &sent);
    for (topic, delivery) in refused.iter().zip(&deliveries[1..]) {
        let error = delivery.error.as_deref().unwrap_or("delivered");
        assert!(
            error.contains("PolicyViolation") && error.contains(topic),
            "{error}"
        );
        assert_eq!(rig.end_offsets(topic, 1), [0], "{topic} holds records");
    }
    let kept = [sent[0].clone(), sent[3].clone()];
    let learned = [deliveries[0].clone(), deliveries[3].clone()];
    let read = rig.java.consume(&rig.options(), &From::partitions(&sealed, 1), 2);
    assert_same(&kept, &learned, &read);

    // Readers are refused as well, though the broker would have something for them.
    let injected = vec![Record::new(&refused[0], "4", "straight to the broker").partition(0)];
    assert_delivered(&rig.java.produce(&rig.direct(), &injected));
    let limit = std::time::Duration::from_secs(20);
    let read = rig
        .java
        .try_consume(&rig.options(), &From::partitions(&refused[0], 1), 1, limit);
    let error = read.expect_err("a forbidden topic is not read");
    assert!(error.contains("TopicAuthorization"), "{error}");
}

#[test]
fn time_of_appending() {
    let rig = &*RIG;
    let topic = unique("sealed-append");
    let configs = [("message.timestamp.type", "LogAppendTime")];
    rig.create(&Topic {
        name: &topic,
        partitions: 1,
        replicas: 1,
        configs: &configs,
    });
    let sent: Vec<Record> = (0..20)
        .map(|number: i32| Record::new(&topic, number.to_string(), "stamped").partition(0))
        .collect();
    let deliveries = rig.java.produce(&rig.options(), &sent);
    let read = rig
        .java
        .consume(&rig.options(), &From::partitions(&topic, 1), sent.len());
    assert_same(&sent, &deliveries, &read);
    assert!(
        read.iter().all(|record| record.timestamp_type == "append"),
        "{read:?}"
    );
    assert_broker_agrees(rig, &topic, 1, &read);
}

#[test]
fn metrics_count_what_was_sealed_opened_and_passed() {
    let rig = &*RIG;
    let Some(proxy) = rig.proxy() else {
        return skipped::there_is_no_proxy();
    };
    let topics = [rig.topic("sealed-counted", 1), rig.topic("public-counted", 1)];
    for topic in &topics {
        let sent: Vec<Record> = (0..25)
            .map(|number: i32| Record::new(topic, number.to_string(), "counted").partition(0))
            .collect();
        assert_delivered(&rig.java.produce(&rig.options(), &sent));
        rig.java
            .consume(&rig.options(), &From::partitions(topic, 1), sent.len());
    }
    let count = |name: &str, topic: &str| proxy.metric(name, &[&format!("topic=\"{topic}\"")]);
    assert_eq!(count("sealwire_sealed_records_total", &topics[0]), 25.0);
    assert_eq!(count("sealwire_opened_records_total", &topics[0]), 25.0);
    assert_eq!(count("sealwire_passed_payload_bytes_total", &topics[0]), 0.0);
    assert_eq!(count("sealwire_sealed_records_total", &topics[1]), 0.0);
    assert!(count("sealwire_passed_payload_bytes_total", &topics[1]) > 0.0);
}

#[test]
fn clients_are_sent_to_the_proxy_only() {
    let rig = &*RIG;
    if let Some(proxy) = rig.proxy() {
        let nodes = rig.nodes_seen(&rig.options());
        let seen: Vec<String> = nodes
            .iter()
            .map(|node| format!("{}:{}", node.host, node.port))
            .collect();
        assert_eq!(seen, [proxy.node_address(0)]);
        assert_eq!(nodes[0].id, 1, "node ids are the cluster's");
    }
}

/// Bytes that neither repeat soon nor compress away.
fn patterned(length: usize) -> Vec<u8> {
    let mut state: u32 = 0x9e37_79b9;
    std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state.to_le_bytes()[0]
    })
    .take(length)
    .collect()
}
