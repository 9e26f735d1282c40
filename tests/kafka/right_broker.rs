//! The port of node N is broker N or closes: after restarts that remember nothing, and with addresses that are out of
//! date.

use std::net::TcpListener;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use crate::support::HOST;
use crate::support::agent::{Agent, Library};
use crate::support::artifacts::KafkaVersion;
use crate::support::broker_properties::Login;
use crate::support::operations::{From, Options, Stream};
use crate::support::proxy::Proxy;
use crate::support::raw_client::RawClient;
use crate::support::rig::{Rig, Topic, unique};
use crate::support::shared;
use crate::support::skipped;
use crate::support::streams::assert_read_once;
use crate::support::wait;

pub(crate) static RIG: LazyLock<Rig> =
    LazyLock::new(|| Rig::assemble(shared::three_brokers(), Login::Plaintext));

pub(crate) const NODES: [i32; 3] = [1, 2, 3];
const PARTITIONS: i32 = 3;
/// Records a second of each producer.
const RATE: u32 = 50;
/// Clients come back within a second; the rest is for a machine that has more to do.
pub(crate) const RECOVERY_LIMIT: Duration = Duration::from_secs(30);
/// A broker that is killed is missed after 9 s.
pub(crate) const FAIL_OVER_LIMIT: Duration = Duration::from_secs(60);

/// Keys for the command line: broker 1 is the only one to ask first, and where the others are said to be.
pub(crate) fn settings(rig: &Rig, said: &[(i32, String)]) -> Vec<String> {
    let mut settings = vec![format!(
        "cluster.main.bootstrap=[\"{}\"]",
        rig.cluster.address_of(1)
    )];
    if !said.is_empty() {
        let addresses: Vec<String> = said
            .iter()
            .map(|(node, address)| format!("{node} = \"{address}\""))
            .collect();
        settings.push(format!(
            "cluster.main.node_addresses={{ {} }}",
            addresses.join(", ")
        ));
    }
    settings
}

/// Each node with the address of the next one.
fn rotated(rig: &Rig) -> Vec<(i32, String)> {
    NODES
        .map(|node| (node, rig.cluster.address_of(node % 3 + 1)))
        .into()
}

pub(crate) fn start(proxy: &mut Proxy, settings: &[String]) {
    let settings: Vec<&str> = settings.iter().map(String::as_str).collect();
    proxy.start_again_with(&settings);
}

/// A proxy in front of the rig's cluster, which is not running yet.
pub(crate) fn stopped_proxy(rig: &Rig) -> Option<Proxy> {
    let mut proxy = rig.another_proxy(Login::Plaintext)?;
    proxy.terminate();
    Some(proxy)
}

/// Whose data folder is answered on a new connection to the port of a node, whose first request only that node can
/// answer; `None` when the connection is closed instead.
pub(crate) fn answered_by(proxy: &Proxy, node: i32) -> Option<i32> {
    let place = usize::try_from(node - 1).expect("nodes count from 1");
    let folders = RawClient::connect(&proxy.node_address(place)).log_dirs()?;
    let folder = folders.first().expect("a broker has a folder");
    let named = |candidate: &i32| folder.contains(&format!("/broker-{candidate}/"));
    Some(NODES.into_iter().find(named).expect("a broker's folder"))
}

/// How many connections it takes until the node answers, and nobody else before.
pub(crate) fn connections_until_answered(proxy: &Proxy, node: i32) -> usize {
    for count in 1..=3 {
        if let Some(by) = answered_by(proxy, node) {
            assert_eq!(by, node, "the port of node {node} leads to broker {by}");
            return count;
        }
    }
    panic!("node {node} is not reached by three connections");
}

/// Returns when there are as many connections to each broker as clients have asked for.
pub(crate) fn await_right_brokers(rig: &Rig, proxy: &Proxy) {
    wait::until("every connection to lead to its broker", RECOVERY_LIMIT, || {
        let right = NODES.into_iter().zip(0..).all(|(node, place)| {
            let address = rig.cluster.address_of(node);
            let (_, port) = address.rsplit_once(':').expect("an address");
            let (at_node, at_bootstrap) = proxy.connections_at(place);
            // Whoever bootstraps is led to broker 1.
            let wanted = at_node + if node == 1 { at_bootstrap } else { 0 };
            proxy.connections_to(port.parse().expect("a port")) == wanted
        });
        right.then_some(())
    });
}

#[test]
fn a_node_port_is_its_broker_from_the_first_request_on() {
    let _undisturbed = shared::three_brokers_as_they_are();
    let rig = &*RIG;
    let Some(mut proxy) = stopped_proxy(rig) else {
        return skipped::there_is_no_proxy();
    };
    // Nothing is known, or everything is wrong.
    for said in [Vec::new(), rotated(rig)] {
        start(&mut proxy, &settings(rig, &said));
        for node in NODES {
            let connections = connections_until_answered(&proxy, node);
            assert!(connections <= 2, "{connections} connections to node {node}");
            assert_eq!(connections_until_answered(&proxy, node), 1, "it is known now");
        }
        proxy.terminate();
    }
    // Somebody is there who never answers.
    let silent = TcpListener::bind((HOST, 0)).expect("a free port");
    let address = silent.local_addr().expect("a bound port").to_string();
    let mut settings = settings(rig, &[(2, address)]);
    // Each executor finds out by itself, and the next connection may be another one's.
    settings.push("runtime.executors=1".to_owned());
    start(&mut proxy, &settings);
    let begun = Instant::now();
    assert_eq!(answered_by(&proxy, 2), None);
    assert!(begun.elapsed() < Duration::from_secs(10));
    assert!(connections_until_answered(&proxy, 2) <= 2);
    let silences = proxy.metric("sealwire_connections_closed_total", &["reason=\"broker_silent\""]);
    assert_eq!(silences, 1.0);
    proxy.terminate();
}

/// One producer, and a consumer for each way to go on when a position is out of range: at another broker it may be.
pub(crate) struct Flow<'a> {
    agent: &'a Agent,
    producer: Stream,
    consumers: Vec<Stream>,
}

impl<'a> Flow<'a> {
    pub(crate) fn start(rig: &Rig, agent: &'a Agent, options: &Options) -> Self {
        let topic = unique("sealed-flow");
        rig.create(&Topic {
            name: &topic,
            partitions: PARTITIONS,
            replicas: 3,
            configs: &[("min.insync.replicas", "2")],
        });
        let writing = options.clone().acks("all").set("idempotent", true);
        let producer = agent.stream_produce(&writing, &topic, PARTITIONS, RATE);
        let consumers = ["earliest", "latest"].map(|reset| {
            let reading = options.clone().set("reset", reset);
            agent.stream_consume(&reading, &From::partitions(&topic, PARTITIONS))
        });
        Self {
            agent,
            producer,
            consumers: consumers.into(),
        }
    }

    fn counts(&self) -> Vec<usize> {
        std::iter::once(&self.producer)
            .chain(&self.consumers)
            .map(|stream| self.agent.stream_status(stream).count)
            .collect()
    }

    pub(crate) fn finish(self) {
        let sent = self.agent.stream_stop(self.producer);
        for consumer in self.consumers {
            assert_read_once(self.agent, &sent, consumer);
        }
    }
}

/// Returns when each stream has had `more` records than before.
pub(crate) fn go_on(flows: &[Flow<'_>], more: usize, limit: Duration) {
    let before: Vec<Vec<usize>> = flows.iter().map(Flow::counts).collect();
    wait::until("all streams to go on", limit, || {
        let mut pairs = flows.iter().zip(&before);
        pairs
            .all(|(flow, before)| {
                let counts = flow.counts();
                counts
                    .iter()
                    .zip(before)
                    .all(|(count, before)| *count >= before + more)
            })
            .then_some(())
    });
}

#[test]
fn restarts_that_remember_nothing_lead_no_client_astray() {
    let _undisturbed = shared::three_brokers_as_they_are();
    let rig = &*RIG;
    let Some(mut proxy) = stopped_proxy(rig) else {
        return skipped::there_is_no_proxy();
    };
    let newer = Agent::start(Library::NewerJava);
    start(&mut proxy, &settings(rig, &[]));
    // Fresh metadata for longer than the test lasts: nobody asks for it but because of a connection that was lost.
    let options = Options::at(proxy.bootstrap()).extra("metadata.max.age.ms", "3600000");
    let flows: Vec<Flow<'_>> = [
        rig.java,
        shared::librdkafka(),
        shared::java(KafkaVersion::Older),
        &newer,
        shared::franz_go(),
    ]
    .map(|agent| Flow::start(rig, agent, &options))
    .into();
    go_on(&flows, 50, FAIL_OVER_LIMIT);
    await_right_brokers(rig, &proxy);
    for said in [Vec::new(), rotated(rig), Vec::new(), rotated(rig)] {
        proxy.kill();
        start(&mut proxy, &settings(rig, &said));
        go_on(&flows, 1, RECOVERY_LIMIT);
        await_right_brokers(rig, &proxy);
        go_on(&flows, 50, RECOVERY_LIMIT);
    }
    for flow in flows {
        flow.finish();
    }
    proxy.terminate();
}
