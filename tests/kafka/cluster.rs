//! Three brokers and two proxies, while leaders move and proxies are restarted: nothing is lost, and
//! nothing is doubled where the producer is idempotent.

mod two_listeners;

use std::collections::BTreeSet;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use crate::support::agent::Agent;
use crate::support::broker_properties::Login;
use crate::support::operations::{From, Options, Stream};
use crate::support::proxy::Proxy;
use crate::support::raw_client::RawClient;
use crate::support::records::{Record, assert_same};
use crate::support::rig::{Rig, Topic, unique};
use crate::support::shared;
use crate::support::skipped;
use crate::support::streams::{assert_exactly_once, assert_nothing_lost};
use crate::support::wait;

pub(crate) static RIG: LazyLock<Rig> =
    LazyLock::new(|| Rig::assemble(shared::three_brokers(), Login::Plaintext));

const PARTITIONS: i32 = 3;
/// Records a second of each stream.
const RATE: u32 = 200;
/// A broker that is killed is missed after 9 s, and then leads nothing any more.
pub(crate) const FAIL_OVER_LIMIT: Duration = Duration::from_secs(60);
/// A second for what is held, and the rest for the end of the program on a busy machine; it had been `drain_timeout`,
/// 30 s.
const HELD_DRAIN_MAX: Duration = Duration::from_secs(10);

fn replicated_topic(rig: &Rig, prefix: &str) -> String {
    let topic = unique(prefix);
    let configs = [("min.insync.replicas", "2")];
    rig.create(&Topic {
        name: &topic,
        partitions: PARTITIONS,
        replicas: 3,
        configs: &configs,
    });
    topic
}

pub(crate) fn await_in_sync(rig: &Rig, topic: &str) {
    wait::until("all replicas to be in sync", FAIL_OVER_LIMIT, || {
        rig.partitions(topic)
            .iter()
            .all(|partition| partition.isr.len() == 3)
            .then_some(())
    });
}

/// Has another broker lead the topic's first partition, and returns when it does.
fn move_first_leader(rig: &Rig, topic: &str) {
    let partition = rig.partitions(topic).remove(0);
    let mut replicas = partition.replicas;
    replicas.sort_by_key(|replica| *replica == partition.leader);
    assert_ne!(replicas[0], partition.leader);
    rig.move_leader(topic, 0, &replicas);
    wait::until("the leader to move", FAIL_OVER_LIMIT, || {
        (rig.partitions(topic)[0].leader == replicas[0]).then_some(())
    });
}

/// A producer and a consumer of one library on one topic.
pub(crate) struct Pair<'a> {
    agent: &'a Agent,
    producer: Stream,
    consumer: Stream,
    idempotent: bool,
}

impl<'a> Pair<'a> {
    fn start(agent: &'a Agent, writing: &Options, reading: &Options, topic: &str, idempotent: bool) -> Self {
        let options = writing.clone().acks("all").set("idempotent", idempotent);
        let producer = agent.stream_produce(&options, topic, PARTITIONS, RATE);
        let consumer = agent.stream_consume(reading, &From::partitions(topic, PARTITIONS));
        Pair {
            agent,
            producer,
            consumer,
            idempotent,
        }
    }

    /// How many records the consumer has got.
    fn count(&self) -> usize {
        self.agent.stream_status(&self.consumer).count
    }

    pub(crate) fn finish(self) {
        if self.idempotent {
            assert_exactly_once(self.agent, self.producer, self.consumer);
        } else {
            assert_nothing_lost(self.agent, self.producer, self.consumer);
        }
    }
}

/// A pair of each library on a topic of its own, both of which have got going.
pub(crate) fn both_libraries<'a>(rig: &'a Rig, prefix: &str) -> ([String; 2], [Pair<'a>; 2]) {
    let topics = [replicated_topic(rig, prefix), replicated_topic(rig, prefix)];
    let options = rig.options();
    let start = |agent, topic| Pair::start(agent, &options, &options, topic, true);
    let pairs = [
        start(rig.java, &topics[0]),
        start(shared::librdkafka(), &topics[1]),
    ];
    go_on(&pairs, 200);
    (topics, pairs)
}

/// Returns when each consumer has got `more` than it has now.
pub(crate) fn go_on(pairs: &[Pair<'_>], more: usize) {
    let before: Vec<usize> = pairs.iter().map(Pair::count).collect();
    for (pair, before) in pairs.iter().zip(before) {
        pair.agent.stream_await(&pair.consumer, before + more);
    }
}

#[test]
fn every_broker_is_reached_by_its_own_port() {
    let _undisturbed = shared::three_brokers_as_they_are();
    let rig = &*RIG;
    if let Some(proxy) = rig.proxy() {
        let mut nodes: Vec<(i32, String)> = rig
            .nodes_seen(&rig.options())
            .iter()
            .map(|node| (node.id, format!("{}:{}", node.host, node.port)))
            .collect();
        nodes.sort();
        let expected: Vec<(i32, String)> = (1..).zip((0..3).map(|place| proxy.node_address(place))).collect();
        assert_eq!(nodes, expected);
    }
    for agent in [rig.java, shared::librdkafka()] {
        let topic = replicated_topic(rig, "sealed-spread");
        let leaders: BTreeSet<i32> = rig
            .partitions(&topic)
            .iter()
            .map(|partition| partition.leader)
            .collect();
        assert_eq!(leaders.len(), 3, "each broker leads a partition");
        let sent: Vec<Record> = (0..300)
            .map(|number: i32| {
                Record::new(&topic, number.to_string(), "spread").partition(number % PARTITIONS)
            })
            .collect();
        let deliveries = agent.produce(&rig.options().set("idempotent", true), &sent);
        for protocol in ["classic", "consumer"] {
            let group = unique("group");
            let read = agent.consume(
                &rig.options().group(&group, protocol),
                &From::topic(&topic),
                sent.len(),
            );
            assert_same(&sent, &deliveries, &read);
        }
    }
}

/// HIDDEN-1 to HIDDEN-3. A consumer in the hidden broker's rack reads from the leader, a group that it coordinates
/// hears why there is nothing, and the operator does.
#[test]
#[expect(clippy::too_many_lines, reason = "one story")]
fn a_broker_that_is_not_in_nodes_is_told_of_and_misleads_nobody() {
    let _undisturbed = shared::three_brokers_as_they_are();
    let rig = &*RIG;
    let Some(proxy) = rig.proxy_of(vec![1, 2]) else {
        return skipped::there_is_no_proxy();
    };
    let topic = unique("sealed-racks");
    rig.create(&Topic {
        name: &topic,
        partitions: 1,
        replicas: 3,
        configs: &[],
    });
    rig.move_leader(&topic, 0, &[1, 2, 3]);
    await_in_sync(rig, &topic);
    let options = Options::at(proxy.bootstrap());
    let sent: Vec<Record> = (0..50)
        .map(|number: i32| Record::new(&topic, number.to_string(), "value").partition(0))
        .collect();
    let deliveries = rig.java.produce(&options, &sent);
    let asked = || {
        proxy.metric(
            "sealwire_frames_total",
            &["direction=\"request\"", "api=\"Fetch\""],
        )
    };
    let before = asked();
    let near_hidden = options.clone().extra("client.rack", "rack-3");
    let read = rig
        .java
        .consume(&near_hidden, &From::partitions(&topic, 1), sent.len());
    assert_same(&sent, &deliveries, &read);
    assert!(asked() - before < 200.0, "{} fetches", asked() - before);

    // One of four coordinators is the hidden broker: others may lead what it led before it was stopped.
    let mut client = RawClient::connect(&proxy.bootstrap());
    wait::until("the topic of groups", FAIL_OVER_LIMIT, || {
        (client.coordinator(&unique("any")).0 != 15).then_some(())
    });
    rig.move_leader("__consumer_offsets", 0, &[3, 1, 2]);
    let mut groups = (0..).map(|_| unique("hidden"));
    let found = groups.by_ref().take(200).map(|group| {
        wait::until("a coordinator", FAIL_OVER_LIMIT, || {
            let (code, message, node) = client.coordinator(&group);
            // They are being made.
            (code != 15).then(|| (group.clone(), code, message, node))
        })
    });
    let mut hidden = None;
    for (group, code, message, node) in found {
        if code == 0 {
            assert!([1, 2].contains(&node), "{node}");
            continue;
        }
        assert_eq!((code, node), (44, -1), "{message}");
        assert!(message.contains("`nodes`"), "{message}");
        hidden = Some(group);
        break;
    }
    let hidden = hidden.expect("a group with a hidden coordinator");
    for protocol in ["classic", "consumer"] {
        let options = options.clone().group(&hidden, protocol);
        let limit = Duration::from_secs(15);
        let (read, error) = rig
            .java
            .consume_until_error(&options, &From::topic(&topic), limit);
        assert!(read.is_empty());
        let error = error.unwrap_or_else(|| panic!("{protocol}: no error"));
        assert!(error.contains("PolicyViolation"), "{protocol}: {error}");
    }
    let refused = shared::librdkafka().try_consume(
        &options.clone().group(&hidden, "classic"),
        &From::topic(&topic),
        1,
        Duration::from_secs(15),
    );
    let error = refused.expect_err("an error of librdkafka");
    assert!(
        error.contains("POLICY_VIOLATION") && error.contains("`nodes`"),
        "{error}"
    );
    // Whoever has another coordinator is served.
    let visible = groups
        .find(|group| client.coordinator(group).0 == 0)
        .expect("a group");
    let read = rig.java.consume(
        &options.group(&visible, "classic"),
        &From::topic(&topic),
        sent.len(),
    );
    assert_same(&sent, &deliveries, &read);

    let lines = proxy
        .output()
        .lines()
        .filter(|line| line.contains("a broker is hidden"))
        .count();
    assert_eq!(lines, 1, "{}", proxy.output());
    assert!(
        proxy.output().contains("Write nodes = \"1-3\""),
        "{}",
        proxy.output()
    );
    assert_eq!(
        proxy.metric("sealwire_hidden_brokers", &["listener=\"test\""]),
        1.0
    );
    assert!(proxy.metric("sealwire_hidden_coordinators_total", &[]) >= 1.0);
    assert!(proxy.readiness().contains("1-3"), "{}", proxy.readiness());
}

#[test]
fn leader_moves_under_load() {
    let _undisturbed = shared::three_brokers_as_they_are();
    let rig = &*RIG;
    let (topics, pairs) = both_libraries(rig, "sealed-moved");
    for topic in &topics {
        move_first_leader(rig, topic);
    }
    go_on(&pairs, 400);
    pairs.into_iter().for_each(Pair::finish);
}

#[test]
fn two_proxies_read_what_the_other_has_written() {
    let _undisturbed = shared::three_brokers_as_they_are();
    let rig = &*RIG;
    let second = rig.another_proxy(Login::Plaintext);
    let ways = [rig.options(), rig.options_at(second.as_ref())];
    for (writing, reading) in [(&ways[0], &ways[1]), (&ways[1], &ways[0])] {
        let topic = replicated_topic(rig, "sealed-shared");
        let sent: Vec<Record> = (0..300)
            .map(|number: i32| {
                Record::new(&topic, number.to_string(), "shared")
                    .header("h", "v")
                    .partition(number % PARTITIONS)
            })
            .collect();
        let deliveries = rig.java.produce(writing, &sent);
        for agent in [rig.java, shared::librdkafka()] {
            let read = agent.consume(reading, &From::partitions(&topic, PARTITIONS), sent.len());
            assert_same(&sent, &deliveries, &read);
        }
    }
    // Two producers, each at one proxy, and two consumers that each read all by the other's.
    let topics = [
        replicated_topic(rig, "sealed-crossed"),
        replicated_topic(rig, "sealed-crossed"),
    ];
    let pairs = [
        Pair::start(rig.java, &ways[0], &ways[1], &topics[0], true),
        Pair::start(rig.java, &ways[1], &ways[0], &topics[1], true),
    ];
    go_on(&pairs, 200);
    pairs.into_iter().for_each(Pair::finish);
    if let Some(mut proxy) = second {
        // However many connections and executors asked: the other's data key once, its own at most once.
        let unwraps = proxy.metric("sealwire_deks_unwrapped_total", &[]);
        assert!(
            (1.0..=2.0).contains(&unwraps),
            "{unwraps} unwraps for two data keys"
        );
        proxy.terminate();
    }
}

#[test]
fn proxy_is_stopped_and_started_under_load() {
    restart_under_load(Proxy::terminate);
}

#[test]
fn proxy_is_killed_and_started_under_load() {
    restart_under_load(Proxy::kill);
}

/// A coordinator holds the answer to a member until all have come again, for `max.poll.interval.ms`: five minutes.
#[test]
fn proxy_is_stopped_while_a_coordinator_holds_a_member() {
    let _undisturbed = shared::three_brokers_as_they_are();
    let rig = &*RIG;
    let Some(mut proxy) = rig.another_proxy(Login::Plaintext) else {
        return skipped::there_is_no_proxy();
    };
    let topic = replicated_topic(rig, "sealed-drain");
    let options = Options::at(proxy.bootstrap());
    let sent: Vec<Record> = (0..30)
        .map(|number: i32| Record::new(&topic, number.to_string(), "value").partition(number % PARTITIONS))
        .collect();
    rig.java.produce(&options, &sent);
    // A member that does not come again, at whichever broker coordinates the group.
    let group = unique("held");
    let (mut member, id) = wait::until("a member of the group", FAIL_OVER_LIMIT, || {
        rig.cluster.nodes().into_iter().find_map(|node| {
            let mut member = RawClient::connect(&rig.cluster.address_of(node));
            let id = member.join_group(&group, 60_000).ok()?;
            Some((member, id))
        })
    });
    let joins = |proxy: &Proxy| {
        proxy.metric(
            "sealwire_frames_total",
            &["direction=\"request\"", "api=\"JoinGroup\""],
        )
    };
    let consumer = rig
        .java
        .stream_consume(&options.clone().group(&group, "classic"), &From::topic(&topic));
    // The first answer tells it its id, the second is held.
    wait::until("the consumer to wait for its group", FAIL_OVER_LIMIT, || {
        (joins(&proxy) >= 2.0 && proxy.metric("sealwire_requests_in_flight", &[]) >= 1.0).then_some(())
    });
    let begun = Instant::now();
    proxy.terminate();
    let stopped = begun.elapsed();
    assert!(stopped < HELD_DRAIN_MAX, "{stopped:?}");
    proxy.start_again();
    member.leave_group(&group, &id);
    rig.java.stream_await(&consumer, sent.len());
    let report = rig.java.stream_stop(consumer);
    assert_eq!(report.entries.len(), sent.len(), "{report:?}");
    proxy.terminate();
}

fn restart_under_load(stop: fn(&mut Proxy)) {
    let _undisturbed = shared::three_brokers_as_they_are();
    let rig = &*RIG;
    let mut proxy = rig.another_proxy(Login::Plaintext);
    let options = rig.options_at(proxy.as_ref());
    let pairs: Vec<Pair<'_>> = [
        (rig.java, true),
        (rig.java, false),
        (shared::librdkafka(), true),
        (shared::librdkafka(), false),
    ]
    .map(|(agent, idempotent)| {
        let topic = replicated_topic(rig, "sealed-restart");
        Pair::start(agent, &options, &options, &topic, idempotent)
    })
    .into();
    go_on(&pairs, 200);
    for _ in 0..2 {
        if let Some(proxy) = &mut proxy {
            stop(proxy);
            proxy.start_again();
        }
        go_on(&pairs, 400);
    }
    pairs.into_iter().for_each(Pair::finish);
}
