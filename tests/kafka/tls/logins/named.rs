//! Whom rules name: who reads, who writes, and groups that change.

use std::fs;
use std::time::Duration;

use kafka_protocol::messages::ApiVersionsRequest;

use super::super::Side;
use super::super::every_way::RIG;
use super::{CANARY, Door, PASSWORD, USER, authenticate, handshake};
use crate::support::configuration::listener;
use crate::support::operations::{From, Options};
use crate::support::ports::ReservedPort;
use crate::support::records::{Record, assert_same};
use crate::support::secret_files::write_users;
use crate::support::shared;
use crate::support::skipped;
use crate::support::wait;

/// The rule for sealed topics names the group `others` as readers, which is this, and `writer`.
pub(super) fn name(door: &mut Door, others: &str) {
    name_with(door, others, "");
}

/// The same, with more keys of the rule.
fn name_with(door: &mut Door, others: &str, more: &str) {
    let sealing = format!("seal_for = [\"User:writer\"]\n{more}");
    let groups = format!("[cluster.main.groups]\nothers = {others}\n[[cluster.main.listeners]]");
    let opening = "open_for = [\"User:nobody\", \"group:others\"]";
    replace(
        door,
        &[
            ("open_for = [\"User:*\"]", opening),
            ("seal_for = [\"User:*\"]", &sealing),
            ("[[cluster.main.listeners]]", &groups),
        ],
    );
    door.restart(&[]);
}

/// What its configuration says is replaced by what is beside it, for the next start.
pub(super) fn replace(door: &Door, changes: &[(&str, &str)]) {
    let file = door.proxy.file("sealwire.toml");
    let mut text = fs::read_to_string(&file).expect("its configuration");
    for (old, new) in changes {
        assert!(text.contains(old), "{old}: {text}");
        text = text.replace(old, new);
    }
    fs::write(&file, text).expect("written");
}

/// Whoever the rule does not name gets nothing opened and nothing sealed, whatever the broker allows; the others do not
/// notice.
#[test]
fn only_those_whom_the_rule_names_read_and_write() {
    let Some(mut door) = Door::open(Side::Tls, "mechanisms = [\"SCRAM-SHA-256\"]") else {
        return skipped::there_is_no_proxy();
    };
    write_users(
        &door.users(),
        &[("writer", PASSWORD), ("reader", PASSWORD), ("bob", PASSWORD)],
    );
    name(&mut door, "[\"User:read??\"]");
    let topic = RIG.topic("sealed-named", 1);
    let options = |user: &str| door.options("SCRAM-SHA-256", user, PASSWORD);
    let sent: Vec<_> = (0..5)
        .map(|number| Record::new(&topic, number.to_string(), CANARY).partition(0))
        .collect();
    let deliveries = RIG.java.produce(&options("writer"), &sent);
    let from = From::partitions(&topic, 1);
    let read = RIG.java.consume(&options("reader"), &from, sent.len());
    assert_same(&sent, &deliveries, &read);
    for user in ["bob", "writer"] {
        let refused = RIG
            .java
            .try_consume(&options(user), &from, 1, Duration::from_secs(10));
        let error = refused.expect_err("nobody names him among readers");
        assert!(error.contains("TopicAuthorizationException"), "{error}");
        let refused = shared::librdkafka().try_consume(&options(user), &from, 1, Duration::from_secs(5));
        assert!(
            refused.is_err() || refused.is_ok_and(|read| read.is_empty()),
            "{user} reads"
        );
    }
    for user in ["bob", "reader"] {
        for agent in [RIG.java, shared::librdkafka()] {
            let deliveries = agent.produce(&options(user), &sent[..1]);
            let error = deliveries[0].error.as_deref().unwrap_or_default().to_lowercase();
            assert!(error.contains("policy"), "{user}: {error}");
        }
    }
    let log = door.proxy.output();
    let told = |user: &str, operation: &str| {
        log.lines().any(|line| {
            let words = [&format!("User:{user}"), operation, "not_named"];
            line.contains("sealwire::audit") && words.iter().all(|word| line.contains(*word))
        })
    };
    for (user, operation) in [
        ("bob", "fetch"),
        ("writer", "fetch"),
        ("bob", "produce"),
        ("reader", "produce"),
    ] {
        assert!(told(user, operation), "{user}, {operation}: {log}");
    }
    door.proxy.terminate();
}

/// ACCESS-2, ACCESS-FILES-1: on the connections that there are.
#[test]
fn a_group_is_what_its_file_says() {
    let Some(mut door) = Door::open(Side::Tls, "mechanisms = [\"PLAIN\"]") else {
        return skipped::there_is_no_proxy();
    };
    write_users(&door.users(), &[(USER, PASSWORD), ("writer", PASSWORD)]);
    let group = door.folder.path().join("others.group");
    let set = |text: &str| {
        let new = group.with_extension("new");
        fs::write(&new, text).expect("written");
        fs::rename(&new, &group).expect("renamed");
    };
    let member = format!("# readers\nUser:{USER}\n");
    set(&member);
    name(&mut door, &format!("{group:?}"));
    let topic = RIG.topic("sealed-named", 1);
    let sent = [Record::new(&topic, "1", CANARY).partition(0)];
    let deliveries = RIG
        .java
        .produce(&door.options("PLAIN", "writer", PASSWORD), &sent);
    assert_eq!(deliveries[0].error, None);
    let mut client = door.connect();
    client.ask(2, &ApiVersionsRequest::default());
    assert_eq!(handshake(&mut client, "PLAIN"), 0);
    assert_eq!(authenticate(&mut client, PASSWORD).0, 0);
    let mut until = |what: &str, error: i16| {
        wait::until(what, Duration::from_secs(30), || {
            (client.fetch(&[&topic])[0].error_code == error).then_some(())
        });
    };
    until("a member reads", 0);
    set("User:somebody-else\n");
    until("who is taken out reads no more", 29);
    set(&member);
    until("who is put in reads", 0);
    set("nonsense\n");
    wait::until("it is told", Duration::from_secs(30), || {
        let told = "the file of a group has changed and cannot be used";
        door.proxy.output().contains(told).then_some(())
    });
    until("nothing has changed", 0);
    door.proxy.terminate();
}

/// Whoever reaches a listener whose clients have no names is bound by no list; at the other one they hold.
#[test]
fn a_list_binds_those_who_have_names() {
    let Some(mut door) = Door::open(Side::Tls, "mechanisms = [\"SCRAM-SHA-256\"]") else {
        return skipped::there_is_no_proxy();
    };
    write_users(&door.users(), &[("writer", PASSWORD), ("bob", PASSWORD)]);
    name(&mut door, "[\"User:reader\"]");
    let (port, node) = (ReservedPort::take(), ReservedPort::take());
    let nodes = [(RIG.cluster.nodes()[0], node.number())];
    let open = listener("main", "open", "network", "127.0.0.1", port.number(), &nodes);
    let file = door.proxy.file("sealwire.toml");
    let text = fs::read_to_string(&file).expect("its configuration");
    let both = text.replacen(
        "[[cluster.main.topics]]",
        &format!("{open}[[cluster.main.topics]]"),
        1,
    );
    fs::write(&file, both).expect("written");
    door.restart(&["runtime.self_check=true"]);
    let topic = RIG.topic("sealed-named", 1);
    let sent: Vec<_> = (0..5)
        .map(|number| Record::new(&topic, number.to_string(), CANARY).partition(0))
        .collect();
    let from = From::partitions(&topic, 1);
    let nobody = Options::at(port.address());
    let deliveries = RIG.java.produce(&nobody, &sent);
    assert_same(&sent, &deliveries, &RIG.java.consume(&nobody, &from, sent.len()));
    let bob = door.options("SCRAM-SHA-256", "bob", PASSWORD);
    let refused = RIG.java.try_consume(&bob, &from, 1, Duration::from_secs(10));
    let error = refused.expect_err("nobody names him");
    assert!(error.contains("TopicAuthorizationException"), "{error}");
    wait::until("it is warned of", Duration::from_secs(30), || {
        let log = door.proxy.output();
        log.contains("main/open client_auth").then_some(())
    });
    door.proxy.terminate();
}

/// RAW-1, RAW-2: Java copies sealed records into another topic without having read them, in a transaction, and whoever
/// may read that one reads what was written.
#[test]
fn a_mirror_copies_what_it_cannot_read() {
    let Some(mut door) = Door::open(Side::Tls, "mechanisms = [\"SCRAM-SHA-256\"]") else {
        return skipped::there_is_no_proxy();
    };
    let users = ["writer", "reader", "mirror"].map(|user| (user, PASSWORD));
    write_users(&door.users(), &users);
    let (source, target) = (RIG.topic("sealed-source", 1), RIG.topic("sealed-target", 1));
    let more = format!("raw_for = [\"User:mirror\"]\nopen_domains = [{source:?}]");
    name_with(&mut door, "[\"User:reader\"]", &more);
    let options = |user: &str| door.options("SCRAM-SHA-256", user, PASSWORD);
    let sent: Vec<_> = (0..20)
        .map(|number| {
            Record::new(&source, number.to_string(), CANARY)
                .header("h", CANARY)
                .partition(0)
        })
        .collect();
    let deliveries = RIG.java.produce(&options("writer"), &sent);
    assert!(deliveries.iter().all(|delivery| delivery.error.is_none()));
    let mirror = options("mirror");
    for agent in [RIG.java, shared::librdkafka()] {
        let read = agent.consume(&mirror, &From::partitions(&source, 1), sent.len());
        let text = format!("{read:?}");
        assert!(text.contains("sealwire") && !text.contains(CANARY), "{text}");
    }
    let copying = mirror.clone().group(&target, "classic").transactional(&target);
    assert_eq!(RIG.java.copy(&copying, &source, &target, sent.len()), sent.len());
    let expected: Vec<_> = sent
        .iter()
        .map(|record| Record {
            topic: target.clone(),
            ..record.clone()
        })
        .collect();
    let read = RIG
        .java
        .consume(&options("reader"), &From::partitions(&target, 1), sent.len());
    assert_eq!(read.len(), expected.len());
    for (record, expected) in read.iter().zip(&expected) {
        assert_eq!((&record.key, &record.value), (&expected.key, &expected.value));
    }
    // Of its own it stores nothing.
    for agent in [RIG.java, shared::librdkafka()] {
        let deliveries = agent.produce(&mirror, &sent[..1]);
        let error = deliveries[0].error.as_deref().unwrap_or_default().to_lowercase();
        assert!(error.contains("policy"), "{error}");
    }
    wait::until("it is audited", Duration::from_secs(10), || {
        let log = door.proxy.output();
        let says = |line: &str| line.contains("not_sealed") && line.contains("User:mirror");
        log.lines().any(says).then_some(())
    });
    door.proxy.terminate();
}
