//! Two clusters, each behind a listener of its own, in one process and under load at the same time: nothing of one is
//! the other's. Their topics have the same names, their rules differ, and so do their brokers' folders.

mod by_name;
mod storing_broker;

use std::sync::Barrier;
use std::thread;
use std::time::Duration;

use self::storing_broker::StoringBroker;
use crate::support::configuration::{Cluster, Configuration};
use crate::support::keystore::Keystore;
use crate::support::ports::ReservedPort;
use crate::support::proxy::{Proxy, ProxySetup};
use crate::support::raw_client::{RawClient, batch};
use crate::support::wait;

#[test]
fn clients_brokers_rules_metrics_and_audit_lines_of_two_clusters_never_mix() {
    let keystore = Keystore::create(&[MAIN.kek, OTHER.kek]);
    let brokers = [MAIN, OTHER].map(|side| StoringBroker::start(side.folder));
    let (port, node_port) = (ReservedPort::take(), ReservedPort::take());
    let mut proxy = start_proxy(&keystore, &brokers, &port, &node_port);
    let sides = [
        (MAIN, [proxy.bootstrap(), proxy.node_address(0)]),
        (OTHER, [port.address(), node_port.address()]),
    ];

    let together = Barrier::new(4);
    thread::scope(|scope| {
        for (side, ports) in &sides {
            for port in ports {
                let together = &together;
                scope.spawn(move || {
                    // A node's port closes until it is known where the node is.
                    let mut client = wait::until("a way to the broker", EVENTUALLY, || {
                        let mut client = RawClient::connect(port);
                        client.log_dirs().map(|_| client)
                    });
                    together.wait();
                    (0..side.rounds).for_each(|round| exchange(&mut client, *side, round));
                });
            }
        }
    });

    for (side, broker) in [MAIN, OTHER].into_iter().zip(&brokers) {
        let stored = broker.stored.lock().expect("no broker panics");
        let topics: Vec<&str> = stored.keys().map(String::as_str).collect();
        assert_eq!(topics, [CROSSED, SHARED], "what {} was sent", side.name);
        for (topic, records) in &*stored {
            let holds = |text: &str| contains(records, text);
            let passed = topic == CROSSED && side.passes_crossed;
            assert_eq!(holds(side.value), passed, "{topic} of {} in clear", side.name);
            assert_eq!(holds(side.kek), !passed, "{topic} of {} by its key", side.name);
            assert!(
                !holds(side.foreign().value) && !holds(side.foreign().kek),
                "{topic} of {}",
                side.name
            );
        }
    }
    assert_counted(&proxy);

    // A record of the one cluster that is copied into the other does not open there.
    let copied = brokers[0].stored.lock().expect("no broker panics")[SHARED].clone();
    let replaced = brokers[1]
        .stored
        .lock()
        .expect("no broker panics")
        .insert(SHARED.to_owned(), copied);
    assert!(replaced.is_some());
    let refused = RawClient::connect(&port.address()).fetch(&[SHARED]).remove(0);
    assert_eq!(refused.error_code, 29, "TOPIC_AUTHORIZATION_FAILED");
    assert!(refused.records.is_none_or(|records| records.is_empty()));
    exchange(&mut RawClient::connect(&proxy.bootstrap()), MAIN, 0);
    assert_eq!(
        refusals(&proxy, OTHER, "kek_not_named"),
        1.0,
        "{}",
        proxy.metrics()
    );
    assert_eq!(
        refusals(&proxy, MAIN, "kek_not_named"),
        0.0,
        "{}",
        proxy.metrics()
    );

    proxy.terminate();
    assert_audited(&proxy.output());
}

/// What every client does of its own cluster's, and what it gets.
fn exchange(client: &mut RawClient, side: Side, round: usize) {
    let Side { name, folder, .. } = side;
    assert_eq!(client.log_dirs().expect("an answer"), [folder], "{name}'s broker");
    let value = format!("{} {round}", side.value);
    for topic in [SHARED, CROSSED] {
        let stored = client.produce(topic, batch(None, &value));
        assert_eq!(
            stored.error_code, 0,
            "{topic} of {name}: {:?}",
            stored.error_message
        );
    }
    let refused = client.produce(side.foreign().only, batch(None, &value));
    assert_eq!(
        refused.error_code,
        44,
        "{name} has no rule for {}",
        side.foreign().only
    );
    wait::until("records", EVENTUALLY, || {
        let fetched = client.fetch(&[SHARED, CROSSED]);
        let records = fetched.iter().map(|partition| {
            assert_eq!(partition.error_code, 0, "{name}");
            partition.records.as_deref().unwrap_or_default()
        });
        let records: Vec<&[u8]> = records.collect();
        let foreign = records
            .iter()
            .any(|records| contains(records, side.foreign().value));
        assert!(!foreign, "{name} got the other's");
        let own = records.iter().all(|records| contains(records, side.value));
        (records.len() == 2 && own).then_some(())
    });
}

/// The counts of both clusters, each of its own clients.
fn assert_counted(proxy: &Proxy) {
    let text = proxy.metrics();
    for side in [MAIN, OTHER] {
        let exchanges = (side.rounds * 2) as f64;
        let of_topic = |metric: &str, topic: &str| {
            let labels = [format!("cluster=\"{}\"", side.name), format!("topic=\"{topic}\"")];
            proxy.metric(metric, &labels.each_ref().map(String::as_str))
        };
        let sealed = |topic: &str| of_topic("sealwire_sealed_records_total", topic);
        let passed = |topic: &str| of_topic("sealwire_passed_payload_bytes_total", topic);
        assert_eq!(sealed(SHARED), exchanges, "{}\n{text}", side.name);
        assert_eq!(passed(SHARED), 0.0, "{}\n{text}", side.name);
        let crossed = if side.passes_crossed { 0.0 } else { exchanges };
        assert_eq!(sealed(CROSSED), crossed, "{}\n{text}", side.name);
        assert_eq!(
            passed(CROSSED) > 0.0,
            side.passes_crossed,
            "{}\n{text}",
            side.name
        );
        assert_eq!(
            refusals(proxy, side, "no_rule"),
            exchanges,
            "{}\n{text}",
            side.name
        );
        assert_eq!(
            refusals(proxy, side, "kek_not_named"),
            0.0,
            "{}\n{text}",
            side.name
        );
    }
}

fn refusals(proxy: &Proxy, side: Side, reason: &str) -> f64 {
    let labels = [
        format!("cluster=\"{}\"", side.name),
        format!("reason=\"{reason}\""),
    ];
    let labels = labels.each_ref().map(String::as_str);
    proxy.metric("sealwire_refused_partitions_total", &labels)
}

/// One line for each refusal, under the cluster whose client met it.
fn assert_audited(log: &str) {
    let mut lines: Vec<(&str, &str, &str)> = log
        .lines()
        .filter(|line| line.contains("sealwire::audit"))
        .map(|line| {
            let field = |name: &str| {
                let (_, rest) = line
                    .split_once(&format!(" {name}=\""))
                    .unwrap_or_else(|| panic!("{line}"));
                rest.split_once('"').expect("a closing quote").0
            };
            if field("reason") == "kek_not_named" {
                assert!(line.contains(MAIN.kek), "{line}");
            }
            (field("cluster"), field("topic"), field("reason"))
        })
        .collect();
    lines.sort_unstable();
    let expected = [
        (MAIN.name, OTHER.only, "no_rule"),
        (OTHER.name, MAIN.only, "no_rule"),
        (OTHER.name, SHARED, "kek_not_named"),
    ];
    assert_eq!(lines, expected, "{log}");
}

/// One of the two clusters.
#[derive(Clone, Copy)]
struct Side {
    name: &'static str,
    folder: &'static str,
    kek: &'static str,
    /// What all values of its clients begin with.
    value: &'static str,
    /// A topic for which it alone has a rule.
    only: &'static str,
    /// Whether its rule for [`CROSSED`] lets records through as they are.
    passes_crossed: bool,
    /// How often each of its clients does everything.
    rounds: usize,
}

impl Side {
    fn foreign(self) -> Side {
        if self.name == MAIN.name { OTHER } else { MAIN }
    }

    fn rules(self) -> String {
        let Side { name, kek, .. } = self;
        let rule = |topic: &str, pass: bool| {
            let what = if pass {
                "pass = true".to_owned()
            } else {
                format!("kms = \"local\"\nkek = \"{kek}\"")
            };
            format!("[[cluster.{name}.topics]]\nmatch = \"{topic}\"\n{what}\n")
        };
        [
            rule(SHARED, false),
            rule(CROSSED, self.passes_crossed),
            rule(self.only, false),
        ]
        .concat()
    }
}

const MAIN: Side = Side {
    name: "main",
    folder: "/data/main",
    kek: "key-of-main",
    value: "said in main",
    only: "only-main",
    passes_crossed: true,
    rounds: 30,
};
const OTHER: Side = Side {
    name: "other",
    folder: "/data/other",
    kek: "key-of-other",
    value: "told in other",
    only: "only-other",
    passes_crossed: false,
    rounds: 45,
};
/// Sealed in both, by a key of each.
const SHARED: &str = "shared";
/// Sealed in one of them.
const CROSSED: &str = "crossed";
const EVENTUALLY: Duration = Duration::from_secs(30);

fn start_proxy(
    keystore: &Keystore,
    brokers: &[StoringBroker; 2],
    port: &ReservedPort,
    node_port: &ReservedPort,
) -> Proxy {
    let rules = Configuration::with(&MAIN.rules()).cluster(&Cluster {
        name: OTHER.name,
        brokers: vec![brokers[1].address.clone()],
        port: port.number(),
        // The same id as in the other cluster.
        nodes: vec![(0, node_port.number())],
        rules: &OTHER.rules(),
        ..Cluster::default()
    });
    let mut proxy = Proxy::start(&ProxySetup {
        brokers: brokers[0].address.clone(),
        nodes: vec![0],
        keystore,
        rules: &rules.text(),
        executors: 2,
    });
    proxy.terminate();
    proxy.start_again_with(&["runtime.self_check=false"]);
    proxy
}

fn contains(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}
