//! The older line of brokers, 3.9, with its own Java client and with newer and older others.

use std::sync::LazyLock;

use crate::support::artifacts::KafkaVersion;
use crate::support::broker_properties::Login;
use crate::support::kcat;
use crate::support::operations::{From, Outcome};
use crate::support::records::{Record, assert_delivered, assert_same, assorted};
use crate::support::rig::{Rig, unique};
use crate::support::shared;

static RIG: LazyLock<Rig> = LazyLock::new(|| Rig::assemble(shared::older_broker(), Login::Plaintext));

#[test]
fn clients_old_and_new_with_every_codec() {
    let rig = &*RIG;
    let newer = shared::java(KafkaVersion::Current);
    let librdkafka = shared::librdkafka();
    let agents = [rig.java, newer, librdkafka];
    let topic = rig.topic("sealed-older", 2);
    let (mut sent, mut deliveries) = (Vec::new(), Vec::new());
    for agent in agents {
        for codec in ["none", "gzip", "snappy", "lz4", "zstd"] {
            let records = assorted(&topic, codec);
            deliveries.extend(agent.produce(&rig.options().codec(codec), &records));
            sent.extend(records);
        }
    }
    for agent in agents {
        let read = agent.consume(&rig.options(), &From::partitions(&topic, 2), sent.len());
        assert_same(&sent, &deliveries, &read);
    }
}

#[test]
fn groups_of_both_protocols() {
    let rig = &*RIG;
    let newer = shared::java(KafkaVersion::Current);
    let librdkafka = shared::librdkafka();
    let both = &["classic", "consumer"][..];
    // librdkafka does not join a preview's group, not even straight at the broker.
    for (agent, protocols) in [(rig.java, both), (newer, both), (librdkafka, &both[..1])] {
        for &protocol in protocols {
            let topic = rig.topic("sealed-groups", 2);
            let sent = assorted(&topic, protocol);
            let deliveries = agent.produce(&rig.options(), &sent);
            let group = unique(protocol);
            let options = rig.options().group(&group, protocol);
            let read = agent.consume(&options, &From::topic(&topic), sent.len());
            assert_same(&sent, &deliveries, &read);
            rig.assert_read_by(&group, &topic, 2);
        }
    }
    if let Some(proxy) = rig.proxy() {
        // Nobody went back to the classic protocol.
        let heartbeats = proxy.metric("sealwire_frames_total", &["api=\"ConsumerGroupHeartbeat\""]);
        assert!(heartbeats > 0.0, "no group of the new protocol");
    }
}

#[test]
fn transactions() {
    let rig = &*RIG;
    let topic = rig.topic("sealed-transactions", 2);
    let transactions = [
        (Outcome::Abort, assorted(&topic, "aborted")),
        (Outcome::Commit, assorted(&topic, "committed")),
    ];
    let deliveries = rig
        .java
        .transact(&rig.options().transactional(&topic), &transactions);
    assert_delivered(&deliveries);
    let committed = &transactions[1].1;
    let options = rig.options().read_committed();
    let read = rig
        .java
        .consume(&options, &From::partitions(&topic, 2), committed.len());
    assert_same(committed, &deliveries[committed.len()..], &read);
}

#[test]
fn nothing_is_readable_at_rest() {
    let rig = &*RIG;
    let canary = "canary-9b27-older";
    let (sealed, public) = (rig.topic("sealed-rest", 1), rig.topic("public-rest", 1));
    for topic in [&sealed, &public] {
        let sent = vec![
            Record::new(topic, "key", canary)
                .header("header", canary)
                .partition(0),
        ];
        let deliveries = rig.java.produce(&rig.options(), &sent);
        let read = rig.java.consume(&rig.options(), &From::partitions(topic, 1), 1);
        assert_same(&sent, &deliveries, &read);
    }
    let by_kcat = kcat::consume(&rig.bootstrap(), &sealed, 0, &[]);
    assert_eq!(by_kcat[0].value.as_deref(), Some(canary));

    let found = rig.cluster.canary_in_data_dir(canary.as_bytes());
    let public_files = found
        .iter()
        .filter(|file| file.to_string_lossy().contains(&public))
        .count();
    assert!(
        public_files > 0,
        "the canary is not found in the topic that is passed through"
    );
    assert!(
        rig.cluster.dump_log(&public).contains(canary),
        "the dump does not show the canary"
    );
    if rig.seals() {
        assert_eq!(found.len(), public_files, "readable at rest: {found:?}");
        assert!(
            !rig.cluster.dump_log(&sealed).contains(canary),
            "readable in the log dump"
        );
    }
}
