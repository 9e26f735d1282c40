//! Two listeners of one cluster in one process, with clients at both at once: each client is told of its own
//! listener's ports only, and whoever comes or goes at one concerns nobody at the other.

use std::collections::BTreeSet;
use std::thread;

use kafka_protocol::messages::{DescribeClusterRequest, FindCoordinatorRequest, MetadataRequest};
use kafka_protocol::protocol::StrBytes;

use super::{FAIL_OVER_LIMIT, Pair, RIG, go_on, move_first_leader, replicated_topic};
use crate::support::broker_properties::Login;
use crate::support::configuration::listener;
use crate::support::operations::Options;
use crate::support::ports::ReservedPort;
use crate::support::raw_client::{RawClient, batch, produce_request};
use crate::support::rig::{RULES, unique};
use crate::support::{HOST, shared, skipped, wait};

/// How often leaders move, and how often all is asked meanwhile.
const MOVES: usize = 2;
const ROUNDS: usize = 10;
/// What the second listener advertises; where it listens as well.
const OTHER_HOST: &str = "localhost";

#[test]
fn clients_of_each_listener_are_told_of_its_own_ports_only() {
    let _undisturbed = shared::three_brokers_as_they_are();
    let rig = &*RIG;
    let (port, node_ports) = (ReservedPort::take(), [(); 3].map(|()| ReservedPort::take()));
    let nodes: Vec<(i32, u16)> = (1..)
        .zip(node_ports.each_ref().map(ReservedPort::number))
        .collect();
    let other = listener("main", "other", "network", OTHER_HOST, port.number(), &nodes);
    let Some(mut proxy) = rig.another_proxy_with(Login::Plaintext, &(other + RULES)) else {
        return skipped::there_is_no_proxy();
    };
    let own_nodes = (1..=3).zip(0..).map(|(node, place)| {
        let address = proxy.node_address(place);
        let (_, port) = address.rsplit_once(':').expect("an address");
        (node, port.parse().expect("a port"))
    });
    let sides = [
        Side::of(HOST, proxy.bootstrap(), own_nodes),
        Side::of(OTHER_HOST, port.address(), nodes.into_iter()),
    ];
    let mut clients = sides.each_ref().map(Clients::connect);

    let topics = [(); 4].map(|()| replicated_topic(rig, "sealed-listeners"));
    let [java, native] = [
        ("metadata.max.age.ms", rig.java),
        ("topic.metadata.refresh.interval.ms", shared::librdkafka()),
    ]
    .map(|(refresh, agent)| {
        let options = |side: &Side| Options::at(&side.bootstrap).extra(refresh, "500");
        (agent, sides.each_ref().map(options))
    });
    // The first two read at one what is written at the other.
    let mut pairs = vec![
        Pair::start(java.0, &java.1[0], &java.1[1], &topics[0], true),
        Pair::start(native.0, &native.1[1], &native.1[0], &topics[1], true),
        Pair::start(native.0, &native.1[0], &native.1[0], &topics[2], true),
    ];
    go_on(&pairs, 200);
    for _ in 0..MOVES {
        thread::scope(|scope| {
            for clients in &mut clients {
                let topic = &topics[3];
                scope.spawn(move || clients.ask_all(topic));
            }
            topics.iter().for_each(|topic| move_first_leader(rig, topic));
        });
        go_on(&pairs, 100);
    }
    for topic in &topics[..3] {
        let labels = ["cluster=\"main\"", &format!("topic=\"{topic}\"")];
        assert!(
            proxy.metric("sealwire_sealed_records_total", &labels) > 0.0,
            "{topic}"
        );
    }

    // Connections that a consumer at the other listener has ever made: one that is lost is made anew.
    let made = |pair: &Pair<'_>| pair.agent.stream_status(&pair.consumer).connections;
    let made_before = made(&pairs[0]);
    let [gone, mut staying] = clients;
    drop(gone);
    pairs.pop().expect("a pair at the first listener").finish();
    staying.ask_all(&topics[3]);
    go_on(&pairs, 200);
    assert_eq!(
        made(&pairs[0]),
        made_before,
        "whoever leaves one listener is missed at the other"
    );
    pairs.into_iter().for_each(Pair::finish);
    drop(staying);
    proxy.terminate();
}

/// Node, host and port, as answers have them.
type Broker = (i32, String, i32);

/// What clients of one listener may be told.
struct Side {
    bootstrap: String,
    brokers: BTreeSet<Broker>,
}

impl Side {
    fn of(host: &str, bootstrap: String, nodes: impl Iterator<Item = (i32, u16)>) -> Self {
        Side {
            bootstrap,
            brokers: nodes
                .map(|(node, port)| (node, host.to_owned(), port.into()))
                .collect(),
        }
    }

    fn assert_own(&self, what: &str, node: i32, host: &StrBytes, port: i32) {
        let told = (node, host.to_string(), port);
        assert!(
            self.brokers.contains(&told),
            "{what} tells of {told:?}, not {:?}",
            self.brokers
        );
    }
}

/// Connections to all ports of a listener that stay open for as long as the test lasts.
struct Clients<'a> {
    side: &'a Side,
    at_bootstrap: RawClient,
    at_nodes: Vec<RawClient>,
}

impl<'a> Clients<'a> {
    fn connect(side: &'a Side) -> Self {
        let mut at_bootstrap = RawClient::connect(&side.bootstrap);
        // It is known where the nodes are once this is answered.
        at_bootstrap.ask(12, &MetadataRequest::default());
        let at_node = |(_, _, port): &Broker| RawClient::connect(&format!("{HOST}:{port}"));
        Clients {
            side,
            at_bootstrap,
            at_nodes: side.brokers.iter().map(at_node).collect(),
        }
    }

    /// Everything in which a broker tells of brokers, again and again.
    fn ask_all(&mut self, topic: &str) {
        let mut hints = 0;
        for _ in 0..ROUNDS {
            self.ask_for_brokers();
            self.ask_for_coordinators();
            hints += self.ask_for_leader(topic);
        }
        // Two of three brokers do not lead, but for a moment in which nobody does.
        assert!(hints >= ROUNDS, "{hints} hints");
    }

    fn ask_for_brokers(&mut self) {
        for client in self.at_nodes.iter_mut().chain([&mut self.at_bootstrap]) {
            let metadata = client.ask(12, &MetadataRequest::default()).brokers;
            let metadata = metadata
                .iter()
                .map(|broker| (broker.node_id.0, broker.host.to_string(), broker.port));
            assert_eq!(
                metadata.collect::<BTreeSet<Broker>>(),
                self.side.brokers,
                "Metadata"
            );
            let described = client.ask(1, &DescribeClusterRequest::default()).brokers;
            let described = described
                .iter()
                .map(|broker| (broker.broker_id.0, broker.host.to_string(), broker.port));
            assert_eq!(
                described.collect::<BTreeSet<Broker>>(),
                self.side.brokers,
                "DescribeCluster"
            );
        }
    }

    fn ask_for_coordinators(&mut self) {
        let group = StrBytes::from_string(unique("listener"));
        let (one, many) = wait::until("coordinators", FAIL_OVER_LIMIT, || {
            let one = FindCoordinatorRequest::default().with_key(group.clone());
            let one = self.at_bootstrap.ask(3, &one);
            let many = FindCoordinatorRequest::default().with_coordinator_keys(vec![group.clone()]);
            let many = self.at_bootstrap.ask(4, &many).coordinators.remove(0);
            (one.error_code == 0 && many.error_code == 0).then_some((one, many))
        });
        self.side
            .assert_own("FindCoordinator 3", one.node_id.0, &one.host, one.port);
        self.side
            .assert_own("FindCoordinator 4", many.node_id.0, &many.host, many.port);
    }

    /// Sends a record to each broker; gives how many named another as the leader.
    fn ask_for_leader(&mut self, topic: &str) -> usize {
        let request = produce_request(topic, batch(None, "for whoever leads"), -1);
        let mut hints = 0;
        for client in &mut self.at_nodes {
            for hint in client.ask(10, &request).node_endpoints {
                self.side
                    .assert_own("Produce", hint.node_id.0, &hint.host, hint.port);
                hints += 1;
            }
        }
        hints
    }
}
