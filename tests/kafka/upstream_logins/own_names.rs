//! Brokers see one and the same, who may do everything there: what is whose is the proxy's to say.

mod compared;

use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use super::{CANARY, Door, RIG, TEAMS, prefix};
use crate::support::agent::{Agent, Library};
use crate::support::broker_properties::Login;
use crate::support::operations::{From, Options, Outcome};
use crate::support::records::{Record, assert_delivered, assert_same};
use crate::support::rig::unique;
use crate::support::shared;
use crate::support::skipped;

/// Topics, groups and transactional ids of each team are its own; some topics are read by both.
pub(super) fn keys() -> String {
    let [one, other] = TEAMS;
    let mut keys = "kind = \"one\"\n".to_owned();
    for (team, user) in [(one, "User:app-1"), (other, "User:app-2")] {
        let (prefix, lists) = (
            prefix(team),
            format!("open_for = [{user:?}]\nseal_for = [{user:?}]"),
        );
        keys += &format!(
            "[[cluster.main.groups_for]]\nmatch = \"{prefix}*\"\nfor = [{user:?}]\n\
             [[cluster.main.topics]]\nmatch = \"{prefix}read-*\"\nkms = \"local\"\nkek = \"orders\"\n\
             open_for = [\"User:*\"]\nseal_for = [{user:?}]\n\
             [[cluster.main.topics]]\nmatch = \"{prefix}*\"\nkms = \"local\"\nkek = \"orders\"\n{lists}\n\
             [[cluster.main.topics]]\nmatch = \"public-{team}-*\"\npass = true\n{lists}\n"
        );
    }
    // A group of this name is what librdkafka asks for, used or not.
    keys + "[[cluster.main.groups_for]]\nmatch = \"none\"\nfor = [\"User:*\"]\n"
}

pub(super) fn records(topic: &str) -> Vec<Record> {
    (0..20)
        .map(|number| Record::new(topic, number.to_string(), CANARY).partition(0))
        .collect()
}

/// How members of groups are told what is theirs, by each library.
fn protocols(agent: &Agent) -> &'static [&'static str] {
    match agent.library() {
        Library::FranzGo => &["classic"],
        _ => &["classic", "consumer"],
    }
}

fn uses_its_own(agent: &Agent, options: &Options, team: &str) {
    for name in [prefix(team), format!("public-{team}-")] {
        let topic = RIG.topic(&format!("{name}orders"), 1);
        let sent = records(&topic);
        let deliveries = agent.produce(options, &sent);
        for protocol in protocols(agent) {
            let group = options.clone().group(&unique(&prefix(team)), protocol);
            assert_same(
                &sent,
                &deliveries,
                &agent.consume(&group, &From::topic(&topic), sent.len()),
            );
        }
        let id = options.clone().transactional(&unique(&prefix(team)));
        assert_delivered(&agent.transact(&id, &[(Outcome::Commit, sent.clone()), (Outcome::Commit, sent)]));
    }
}

/// What a client shows who uses what is another's; the group is there, and has read.
fn uses_anothers(agent: &Agent, options: &Options, team: &str, other: &str) {
    let own = RIG.topic(&format!("{}mine", prefix(team)), 1);
    let sent = records(&own);
    agent.produce(options, &sent);
    let fails = |what: &str, error: Option<String>, named: [&str; 2]| {
        let error = error.unwrap_or_else(|| panic!("{:?} has used {what}", agent.library()));
        let lower = error.to_lowercase().replace([' ', '_'], "");
        assert!(
            named.iter().any(|name| lower.contains(name)),
            "{:?} {what}: {error}",
            agent.library()
        );
    };
    for protocol in protocols(agent) {
        let group = options.clone().group(&unique(&prefix(other)), protocol);
        let read = agent.try_consume(&group, &From::topic(&own), sent.len(), SOON);
        fails(
            "a group",
            shown(agent, read, sent.len()),
            ["groupauthorization", "group:"],
        );
    }
    let id = options.clone().transactional(&unique(&prefix(other)));
    let written = agent.try_transact(&id, &[(Outcome::Commit, sent.clone())]);
    fails(
        "a transactional id",
        written.err(),
        ["transactionalid", "transactionalidauthorization"],
    );
    let foreign = RIG.topic(&format!("{}theirs", prefix(other)), 1);
    let group = options.clone().group(&unique(&prefix(team)), "classic");
    let read = agent.try_consume(&group, &From::topic(&foreign), 1, SOON);
    fails(
        "a topic",
        shown(agent, read, 1),
        ["topicauthorization", "notauthorized"],
    );
    let record = Record::new(&foreign, "1", CANARY).partition(0);
    let written = agent.try_produce(&options.clone().acks("all"), &[record]);
    let written = written.map(|told| told.into_iter().find_map(|one| one.error));
    assert!(!matches!(written, Ok(None)), "{:?} has written", agent.library());
    assert_eq!(RIG.end_offsets(&foreign, 1), [0]);
}

/// The error of a client that was to read so many records; what a library keeps to itself is in its log.
fn shown<T>(agent: &Agent, read: Result<Vec<T>, String>, count: usize) -> Option<String> {
    match read {
        Err(error) => Some(error),
        Ok(read) if read.len() < count => Some(agent.log_end()),
        Ok(_) => None,
    }
}

/// OWN-NAMES-1, GROUPS-FOR-1
#[test]
fn clients_use_what_is_their_own_where_brokers_see_one() {
    let [one, other] = TEAMS;
    let Some(mut door) = Door::open_with(Login::Plaintext, "none", "", "", |_| keys()) else {
        return skipped::there_is_no_proxy();
    };
    thread::scope(|scope| {
        for agent in [RIG.java, shared::librdkafka(), shared::franz_go()] {
            let door = &door;
            scope.spawn(move || {
                uses_its_own(agent, &door.options("app-1"), one);
                uses_its_own(agent, &door.options("app-2"), other);
                uses_anothers(agent, &door.options("app-1"), one, other);
            });
        }
    });
    for about in ["topic", "group", "transactional_id"] {
        let label = format!("about={about:?}");
        let refused = door.proxy.metric("sealwire_refused_requests_total", &[&label]);
        assert!(refused > 0.0, "{about}");
    }
    door.proxy.terminate();
}

/// What a client hears of others' topics and groups by the ways of an administrator.
#[test]
fn what_is_anothers_is_not_described() {
    let [one, other] = TEAMS;
    let Some(mut door) = Door::open_with(Login::Plaintext, "none", "", "", |_| keys()) else {
        return skipped::there_is_no_proxy();
    };
    let ask = |user: &str, op: &str, mut body: Value| -> Result<Value, String> {
        body["options"] = json!(door.options(user));
        RIG.java.call(op, body, Duration::from_secs(60))
    };
    let topic = RIG.topic(&format!("{}orders", prefix(one)), 1);
    let shared_topic = RIG.topic(&format!("{}read-orders", prefix(one)), 1);
    let sent = records(&topic);
    RIG.java.produce(&door.options("app-1"), &sent);
    let group = unique(&prefix(one));
    let options = door.options("app-1").group(&group, "classic");
    RIG.java.consume(&options, &From::topic(&topic), sent.len());
    for (op, body, error) in [
        (
            "end_offsets",
            json!({"partitions": [[topic, 0]]}),
            "TopicAuthorizationException",
        ),
        (
            "describe_topics",
            json!({"topics": [topic]}),
            "TopicAuthorizationException",
        ),
        (
            "committed_offsets",
            json!({"group": group}),
            "GroupAuthorizationException",
        ),
    ] {
        let own = ask("app-1", op, body.clone());
        assert!(own.is_ok(), "{op}: {own:?}");
        let told = ask("app-2", op, body).expect_err("it is another's");
        assert!(told.contains(error), "{op}: {told}");
    }
    // One that both may read is described, and stays one team's to write.
    let body = json!({"topics": [shared_topic]});
    assert!(ask("app-2", "describe_topics", body).is_ok());
    let record = Record::new(&shared_topic, "1", CANARY).partition(0);
    let told = RIG.java.produce(&door.options("app-2"), &[record]);
    assert!(told[0].error.is_some(), "{told:?}");
    let id = door.options("app-2").transactional(&unique(&prefix(other)));
    let record = Record::new(&shared_topic, "1", CANARY).partition(0);
    let told = RIG.java.try_transact(&id, &[(Outcome::Abort, vec![record])]);
    assert!(told.is_err() || told.is_ok_and(|told| told[0].error.is_some()));
    assert_eq!(RIG.end_offsets(&shared_topic, 1), [0]);
    door.proxy.terminate();
}

const SOON: Duration = Duration::from_secs(8);
