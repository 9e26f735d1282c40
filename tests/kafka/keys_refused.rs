//! A key-encryption key that is disabled: topics under it are refused by name and reason, others go on, and it heals by
//! itself once the key is enabled again.

use std::sync::LazyLock;
use std::time::Duration;

use crate::support::broker_properties::Login;
use crate::support::operations::{From, Options};
use crate::support::records::{Record, assert_delivered, assert_same};
use crate::support::rig::Rig;
use crate::support::shared;
use crate::support::skipped;
use crate::support::wait;

static RIG: LazyLock<Rig> = LazyLock::new(|| Rig::assemble(shared::one_broker(), Login::Plaintext));

/// The proxy remembers what a keystore refused for a second, and looks at the file every second; the rest is the
/// clients' and a busy machine's.
const HEALING_LIMIT: Duration = Duration::from_secs(20);

fn records(topic: &str) -> Vec<Record> {
    vec![
        Record::new(topic, "1", "first").header("h", "v").partition(0),
        Record::new(topic, "2", "second").partition(0),
    ]
}

#[test]
fn disabled_key_is_refused_until_it_is_enabled() {
    let rig = &*RIG;
    let Some(keystore) = &rig.keystore else {
        return skipped::there_is_no_proxy();
    };
    let topics = [rig.topic("sealed-disabled", 1), rig.topic("invoices-enabled", 1)];
    let sent: Vec<Record> = topics.iter().flat_map(|topic| records(topic)).collect();
    assert_delivered(&rig.java.produce(&rig.options(), &sent));

    keystore.command("disable", &["orders"]);
    // An instance that has never seen the key in use.
    let Some(mut proxy) = rig.another_proxy(Login::Plaintext) else {
        return skipped::there_is_no_proxy();
    };
    let options = Options::at(proxy.bootstrap());
    let librdkafka = shared::librdkafka();

    for agent in [rig.java, librdkafka] {
        let deliveries = agent.produce(&options.clone().set("idempotent", false), &sent);
        for (delivery, record) in deliveries.iter().zip(&sent) {
            if record.topic == topics[0] {
                let error = delivery.error.as_deref().unwrap_or("delivered").to_lowercase();
                assert!(error.contains("policy"), "{:?}: {error}", agent.library());
            } else {
                assert_eq!(
                    delivery.error,
                    None,
                    "{:?}: the other key's topic",
                    agent.library()
                );
            }
        }
    }
    let refused = rig.java.try_consume(
        &options,
        &From::partitions(&topics[0], 1),
        1,
        Duration::from_secs(20),
    );
    let error = refused.expect_err("a topic whose key is disabled");
    assert!(error.contains("TopicAuthorization"), "{error}");
    // Each of the three producers has stored two records under the other key.
    let read = rig.java.consume(&options, &From::partitions(&topics[1], 1), 6);
    assert_eq!(read.len(), 6);

    keystore.command("enable", &["orders"]);
    wait::until("the key to be good again", HEALING_LIMIT, || {
        let deliveries = rig.java.produce(&options, &records(&topics[0]));
        deliveries
            .iter()
            .all(|delivery| delivery.error.is_none())
            .then_some(())
    });
    // Readers and writers remember the refusal apart.
    let read = wait::until("records under the key to be read again", HEALING_LIMIT, || {
        rig.java
            .try_consume(&options, &From::partitions(&topics[0], 1), 4, HEALING_LIMIT)
            .ok()
    });
    assert_eq!(read.len(), 4);
    assert_eq!(read[0].value, Some("first".into()));
    proxy.terminate();
}

#[test]
fn rotated_key_reads_what_the_earlier_version_sealed() {
    let rig = &*RIG;
    let Some(keystore) = &rig.keystore else {
        return skipped::there_is_no_proxy();
    };
    let topic = rig.topic("invoices-rotated", 1);
    let first = records(&topic);
    let mut deliveries = rig.java.produce(&rig.options(), &first);
    keystore.command("rotate", &["invoices"]);
    let Some(mut proxy) = rig.another_proxy(Login::Plaintext) else {
        return skipped::there_is_no_proxy();
    };
    let options = Options::at(proxy.bootstrap());
    deliveries.extend(rig.java.produce(&options, &first));
    let sent = [&first[..], &first].concat();
    for options in [options, rig.options()] {
        let read = rig
            .java
            .consume(&options, &From::partitions(&topic, 1), sent.len());
        assert_same(&sent, &deliveries, &read);
    }
    proxy.terminate();
}
