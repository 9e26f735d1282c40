//! A rule that is changed between clear and sealed keys: what a log cleaner would take for other keys is not written,
//! and what is stored in the other way is not read, unless the topic is none that is compacted and the rule says so.
//! And instances whose keyrings differ can be told apart.

use std::collections::BTreeMap;
use std::process::Command;
use std::time::Duration;

use super::RIG;
use super::compaction::{compacted, create_compacted};
use crate::support::broker_properties::Login;
use crate::support::cache;
use crate::support::keystore::Keystore;
use crate::support::operations::From;
use crate::support::proxy::{Proxy, ProxySetup};
use crate::support::records::{Record, assert_delivered};
use crate::support::wait;

fn proxy(keystore: &Keystore, keys: &str) -> Proxy {
    proxy_of("*", keystore, keys)
}

fn proxy_of(topics: &str, keystore: &Keystore, keys: &str) -> Proxy {
    Proxy::start(&ProxySetup {
        brokers: RIG.cluster.bootstrap_of(Login::Plaintext),
        nodes: RIG.cluster.nodes(),
        keystore,
        rules: &format!(
            "[[cluster.main.topics]]\nmatch = \"{topics}\"\nkms = \"local\"\nkek = \"orders\"\n{keys}\n"
        ),
        executors: 1,
    })
}

/// With one stable key for all domains.
fn keystore() -> Keystore {
    let keystore = Keystore::create(&["orders"]);
    keystore.add_stable_keys("orders", &["*"]);
    keystore
}

/// What `check-config --probe` exits with and prints.
fn probe(proxy: &Proxy) -> (Option<i32>, String) {
    let mut program = Command::new(env!("CARGO_BIN_EXE_sealwire"));
    program.args(["check-config", "--probe"]);
    let output = program
        .arg(proxy.file("sealwire.toml"))
        .output()
        .expect("the program runs");
    (
        output.status.code(),
        String::from_utf8_lossy(&output.stdout).into_owned(),
    )
}

#[test]
fn a_compacted_topic_keeps_the_kind_of_keys_that_it_has() {
    let Some(_) = RIG.proxy() else { return };
    let keystore = keystore();
    let [clear, sealed] = ["key = \"clear\"", "key = \"stable\""].map(|keys| proxy(&keystore, keys));
    for (before, after, stored) in [(&clear, &sealed, "clear"), (&sealed, &clear, "sealed")] {
        let topic = &compacted("stable-switched", COMPACT);
        let record = || [Record::new(topic, "key", "value")];
        let [before, after] = [before, after].map(|proxy| RIG.options_at(Some(proxy)));
        assert_delivered(&RIG.java.produce(&before, &record()));
        let refused = RIG.java.produce(&after, &record()).remove(0);
        let error = refused.error.unwrap_or_default();
        assert!(
            error.contains(&format!("has records whose keys are {stored}"))
                && error.contains("keys-of-records.md"),
            "{error}"
        );
        let (read, error) =
            RIG.java
                .consume_until_error(&after, &From::partitions(topic, 1), Duration::from_secs(20));
        assert!(read.is_empty() && error.is_some(), "{read:?}");
        // Which may be asked before, too.
        let rule = match stored {
            "clear" => "key = \"stable\"",
            _ => "key = \"clear\"",
        };
        let (code, table) = probe(&proxy_of(topic, &keystore, rule));
        assert_eq!(code, Some(1), "{table}");
        let told = |line: &str| line.starts_with("failed") && line.contains(stored) && line.contains(topic);
        assert!(table.lines().any(told), "{table}");
        // Whoever writes as before is not concerned.
        assert_delivered(&RIG.java.produce(&before, &record()));
    }
    assert_eq!(
        sealed.metric("sealwire_refused_partitions_total", &["reason=\"keys_unfit\""]),
        1.0
    );
}

/// TOPIC-LOOK-3
#[test]
fn a_topic_that_was_refused_is_written_to_once_it_is_deleted_and_made_anew() {
    let Some(_) = RIG.proxy() else { return };
    let keystore = keystore();
    let [clear, sealed] = ["key = \"clear\"", "key = \"stable\""].map(|keys| proxy(&keystore, keys));
    let topic = &compacted("stable-anew", COMPACT);
    let produce = |proxy: &Proxy| {
        let record = [Record::new(topic, "key", "value")];
        RIG.java
            .produce(&RIG.options_at(Some(proxy)), &record)
            .remove(0)
            .error
    };
    assert_eq!(produce(&clear), None);
    assert!(produce(&sealed).is_some_and(|error| error.contains("whose keys are clear")));
    RIG.delete(topic);
    create_compacted(topic, COMPACT);
    // Which is found out within a minute and what a look takes.
    wait::until("the new topic to be written to", LOOKED_AT_AGAIN, || {
        produce(&sealed).is_none().then_some(())
    });
    let output = sealed.output();
    for said in ["a topic is not written to", "a topic is written to again"] {
        assert_eq!(output.matches(said).count(), 1, "{said} in {output}");
    }
}

#[test]
fn a_compacted_topic_is_not_written_to_under_another_stable_key() {
    let Some(_) = RIG.proxy() else { return };
    let keystore = Keystore::create(&["orders"]);
    keystore.add_stable_keys("orders", &["spare", "*"]);
    let sealed = proxy(&keystore, "key = \"stable\"");
    let topic = &compacted("stable-other-key", COMPACT);
    let produce = || {
        let record = [Record::new(topic, "key", "value")];
        RIG.java
            .produce(&RIG.options_at(Some(&sealed)), &record)
            .remove(0)
            .error
    };
    assert_eq!(produce(), None);
    // What is said of the topic is not so.
    let [own, spare] = ["key-1", "key-0"].map(|key| keystore.assign_to_new(topic, key));
    let refused = wait::until("the changed keyring to be in force", LIMIT, produce);
    assert!(
        refused.contains(&format!("sealed under the stable key {own}"))
            && refused.contains(&format!("the keyring has {spare}")),
        "{refused}"
    );
    let (code, table) = probe(&proxy_of(topic, &keystore, "key = \"stable\""));
    assert_eq!(code, Some(1), "{table}");
    let told = |line: &str| line.starts_with("failed") && line.contains(&own) && line.contains(topic);
    assert!(table.lines().any(told), "{table}");
    // With its own again it goes on.
    keystore.assign_to_new(topic, "key-1");
    wait::until("the keyring to be mended", LIMIT, || {
        produce().is_none().then_some(())
    });
}

#[test]
fn a_topic_that_is_not_compacted_may_be_switched_where_the_rule_says_so() {
    let Some(_) = RIG.proxy() else { return };
    let keystore = keystore();
    let clear = proxy(&keystore, "key = \"clear\"\naccept_sealed_keys = true");
    let sealed = proxy(&keystore, "key = \"stable\"\naccept_clear_keys = true");
    let topic = &RIG.topic("stable-retained", 1);
    for (round, proxy) in [&clear, &sealed, &clear].into_iter().enumerate() {
        let record = Record::new(topic, "key", format!("value {round}"));
        assert_delivered(&RIG.java.produce(&RIG.options_at(Some(proxy)), &[record]));
    }
    for proxy in [&clear, &sealed] {
        let options = RIG.options_at(Some(proxy));
        let read = RIG.java.consume(&options, &From::partitions(topic, 1), 3);
        assert!(
            read.iter().all(|record| record.key == Some("key".into())),
            "{read:?}"
        );
    }
    // Which would be different keys to a log cleaner.
    let topic = &compacted("stable-both-kinds", COMPACT);
    for proxy in [&clear, &sealed] {
        let record = Record::new(topic, "key", "value");
        let refused = RIG
            .java
            .produce(&RIG.options_at(Some(proxy)), &[record])
            .remove(0);
        let error = refused.error.unwrap_or_default();
        assert!(error.contains("the topic is compacted"), "{error}");
    }
}

#[test]
fn instances_with_different_keyrings_show_it_and_do_not_read_each_other() {
    let Some(_) = RIG.proxy() else { return };
    let one = keystore();
    let proxies = [
        proxy(&one, "key = \"stable\""),
        proxy(&keystore(), "key = \"stable\""),
        proxy(&one, "key = \"stable\""),
    ];
    let topic = &RIG.topic("stable-instances", 1);
    let shown: Vec<BTreeMap<&str, String>> = proxies
        .iter()
        .map(|proxy| {
            let record = Record::new(topic, "key", "value");
            assert_delivered(&RIG.java.produce(&RIG.options_at(Some(proxy)), &[record]));
            let metrics = proxy.metrics();
            let line = |start: &str| {
                let lines: Vec<_> = metrics.lines().filter(|line| line.starts_with(start)).collect();
                assert_eq!(lines.len(), 1, "{start}");
                lines.concat()
            };
            ["sealwire_stable_key_info{", "sealwire_keyring_info{"]
                .map(|start| (start, line(start)))
                .into()
        })
        .collect();
    assert_eq!(shown[0], shown[2]);
    for (name, line) in &shown[0] {
        assert_ne!(line, &shown[1][name]);
    }
    // And so does what is stored: one record each, under two keys.
    let mut inspect = Command::new(env!("CARGO_BIN_EXE_sealwire"));
    inspect.args([
        "inspect",
        "--bootstrap",
        &RIG.cluster.bootstrap(),
        "--topic",
        topic,
    ]);
    let found = cache::run(&mut inspect);
    for (place, records) in [(0, 2), (1, 1)] {
        let id = shown[place]["sealwire_stable_key_info{"]
            .split('"')
            .rev()
            .nth(1)
            .expect("a key");
        let sealed_under = format!("key sealed under {id}");
        assert_eq!(
            found.matches(&sealed_under).count(),
            records,
            "{sealed_under} in {found}"
        );
    }
}

const COMPACT: &[(&str, &str)] = &[("cleanup.policy", "compact")];
/// For a changed keyring to be in force.
const LIMIT: Duration = Duration::from_secs(30);
/// For a refused topic to be looked at again.
const LOOKED_AT_AGAIN: Duration = Duration::from_secs(120);
