//! Every client over every combination of what the two sides of the proxy speak: produce, consume, groups, and
//! transactions where the client has them.

use std::sync::LazyLock;
use std::thread;

use super::{SIDES, Side, client_tls, proxy_tls};
use crate::support::agent::Agent;
use crate::support::artifacts::KafkaVersion;
use crate::support::broker_properties::Login;
use crate::support::cluster::KafkaCluster;
use crate::support::kcat;
use crate::support::operations::{ClientTls, From, Options, Outcome};
use crate::support::proxy::Proxy;
use crate::support::records::{Record, assert_delivered, assert_same};
use crate::support::rig::{Rig, unique};
use crate::support::shared;

pub(super) static RIG: LazyLock<Rig> =
    LazyLock::new(|| Rig::assemble(shared::broker_with_tls(), Login::Plaintext));

#[test]
fn each_client_over_each_combination() {
    let agents = [
        RIG.java,
        shared::librdkafka(),
        shared::aiokafka(),
        shared::franz_go(),
        shared::kafkajs(),
    ];
    over_each_combination(&RIG, &agents);
}

#[test]
fn older_brokers_over_each_combination() {
    static OLDER: LazyLock<Rig> = LazyLock::new(|| Rig::assemble(shared::older_broker(), Login::Plaintext));
    let agents = [shared::java(KafkaVersion::Older)];
    over_each_combination(&OLDER, &agents);
}

/// To a broker, whoever comes through the proxy is the principal of the proxy's certificate.
#[test]
fn brokers_see_the_principal_of_the_proxys_certificate() {
    let rig = &*RIG;
    let topic = rig.topic("sealed-principal", 1);
    rig.allow_writing(&topic, "User:CN=sealwire");
    let sent = [Record::new(&topic, "key", "value").partition(0)];
    for (upstream, is_let_in) in [(Side::Mutual, true), (Side::Tls, false)] {
        let way = Way::between(rig, upstream, upstream);
        let deliveries = shared::librdkafka().produce(&way.options(), &sent);
        let errors: Vec<_> = deliveries.iter().filter_map(|one| one.error.clone()).collect();
        assert_eq!(errors.is_empty(), is_let_in, "{upstream:?}: {errors:?}");
        assert!(is_let_in || errors[0].contains("authorization"), "{errors:?}");
    }
}

fn over_each_combination(rig: &'static Rig, agents: &[&'static Agent]) {
    let combinations = ways(rig);
    let ways = &combinations;
    thread::scope(|scope| {
        for agent in agents {
            scope.spawn(move || ways.iter().for_each(|way| way.try_agent(rig, agent)));
        }
        scope.spawn(|| ways.iter().for_each(|way| way.try_kcat(rig)));
    });
    let readable = rig.cluster.canary_in_data_dir(CANARY.as_bytes());
    assert_eq!(readable.is_empty(), rig.seals(), "readable at rest: {readable:?}");
    for way in combinations {
        way.end();
    }
}

/// One combination.
struct Way {
    listening: Side,
    upstream: Side,
    proxy: Option<Proxy>,
    bootstrap: String,
    tls: Option<ClientTls>,
}

/// All nine; on the direct route the three that a broker has.
fn ways(rig: &Rig) -> Vec<Way> {
    let upstream = if rig.seals() { &SIDES[..] } else { &SIDES[..1] };
    let pairs = SIDES
        .iter()
        .flat_map(|listening| upstream.iter().map(move |upstream| (*listening, *upstream)));
    pairs
        .map(|(listening, upstream)| Way::between(rig, listening, upstream))
        .collect()
}

impl Way {
    fn between(rig: &Rig, listening: Side, upstream: Side) -> Self {
        let proxy = rig.another_proxy_with_tls(upstream.login(), &proxy_tls(listening, upstream));
        let direct = |cluster: &KafkaCluster| cluster.bootstrap_of(listening.login());
        Way {
            listening,
            upstream,
            bootstrap: proxy
                .as_ref()
                .map_or_else(|| direct(rig.cluster), Proxy::bootstrap),
            tls: client_tls(listening, proxy.is_some()),
            proxy,
        }
    }

    fn options(&self) -> Options {
        let options = Options::at(&self.bootstrap);
        match &self.tls {
            Some(tls) => options.tls(tls),
            None => options,
        }
    }

    fn name(&self) -> String {
        format!("{:?} to {:?}", self.listening, self.upstream)
    }

    fn try_agent(&self, rig: &Rig, agent: &Agent) {
        let name = format!("{:?}, {}", agent.library(), self.name());
        let topic = rig.topic("sealed-tls", 2);
        let options = self.options();
        let sent = records(&topic, &name);
        let deliveries = agent.produce(&options, &sent);
        let group = unique("tls");
        let read = agent.consume(
            &options.clone().group(&group, "classic"),
            &From::topic(&topic),
            sent.len(),
        );
        assert_same(&sent, &deliveries, &read);
        rig.assert_read_by(&group, &topic, 2);

        let aborted = records(&topic, "aborted");
        let committed = records(&topic, "committed");
        let transactions = [(Outcome::Abort, aborted), (Outcome::Commit, committed.clone())];
        let in_transactions = agent.transact(&options.clone().transactional(&topic), &transactions);
        assert_delivered(&in_transactions);
        let sent = [sent, committed].concat();
        let deliveries = [&deliveries[..], &in_transactions[COUNT..]].concat();
        let read = agent.consume(
            &options.read_committed(),
            &From::partitions(&topic, 2),
            sent.len(),
        );
        assert_same(&sent, &deliveries, &read);
    }

    fn try_kcat(&self, rig: &Rig) {
        let topic = rig.topic("sealed-tls", 1);
        let properties = self.tls.as_ref().map_or_else(Vec::new, ClientTls::librdkafka);
        let properties: Vec<&str> = properties.iter().map(String::as_str).collect();
        let sent = [("key 1", CANARY), ("key 2", "value 2")];
        kcat::produce(&self.bootstrap, &topic, 0, &properties, &[("header", "1")], &sent);
        let read = kcat::consume(&self.bootstrap, &topic, 0, &properties);
        let read: Vec<(&str, &str)> = read
            .iter()
            .map(|record| {
                (
                    record.key.as_deref().unwrap_or(""),
                    record.value.as_deref().unwrap_or(""),
                )
            })
            .collect();
        assert_eq!(read, sent, "kcat, {}", self.name());
    }

    fn end(mut self) {
        if let Some(proxy) = &mut self.proxy {
            proxy.terminate();
        }
    }
}

fn records(topic: &str, text: &str) -> Vec<Record> {
    (0..COUNT)
        .map(|number| {
            Record::new(topic, number.to_string(), format!("{CANARY} {text} {number}"))
                .header("header", text)
                .partition(i32::from(number % 2 == 1))
        })
        .collect()
}

const COUNT: usize = 20;

/// In every value: what must not be found at rest.
const CANARY: &str = "tls-canary-5d1c";
