//! What a client waits while others send what costs most: real sockets, the real executor, and the worst of the hostile
//! set (WORK-1). All of the set is measured by `bench-harness hostile`.
//!
//! A program of its own, so that no test runs beside it.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "no executor runs in tests but those of the program"
)]

use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use sealwire::config::Config;
use sealwire::server::Running;

mod broker;
mod handshakes;
#[allow(dead_code)]
#[path = "../pipeline/rig.rs"]
mod rig;
#[allow(dead_code)]
#[path = "../pipeline/shapes.rs"]
mod shapes;
mod siege;
#[path = "../support/fixture.rs"]
mod support;
#[allow(dead_code)]
#[path = "../pipeline/wire.rs"]
mod wire;

use broker::{Broker, NODE};
use shapes::SHAPES;
use siege::{Besieged, RULES, Waits, besiege};
use support::configuration::Cluster;
use support::keystore::Keystore;
use support::ports::ReservedPort;

/// One test at a time.
static ALONE: Mutex<()> = Mutex::new(());
/// How long the executor serves others, at most, while a neighbour waits for one answer.
const WAIT_MAX: Duration = Duration::from_millis(50);
/// The same by the clock on the wall. Other programs use the processors as well, and how much they do is not to count.
const WALL_MAX: Duration = Duration::from_secs(5);
/// A wait that was longer once and not again was the machine's.
const TRIES: usize = 3;
const SIEGE: Duration = Duration::from_secs(1);

const WORST: [&str; 5] = [
    "produce: 1000 bombs of zstd",
    "produce: two million records in a batch",
    "produce: 32768 topics",
    "fetch: 300 bombs of zstd",
    "fetch: 9.58 million tombstones, accepted",
];

#[test]
fn a_neighbour_waits_little_whatever_others_send() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let keystore = Keystore::create(&["quickstart"]);
    let broker = Broker::start().expect("a broker");
    let (bootstrap, node) = (ReservedPort::take(), ReservedPort::take());
    let text = keystore
        .configuration("[runtime]\nexecutors = 1\nself_check = false\n[limits]\ndrain_timeout = \"1s\"")
        .cluster(&Cluster {
            brokers: vec![broker.address()],
            port: bootstrap.number(),
            nodes: vec![(NODE, node.number())],
            rules: RULES,
            ..Cluster::default()
        })
        .text();
    let config = Config::from_toml_text(&text, Path::new("/sealwire.toml"))
        .unwrap_or_else(|errors| panic!("{errors}\n{text}"));
    let running = Running::start(config, |kms| kms).expect("the proxy starts");
    let besieged = Besieged {
        address: bootstrap.address(),
        process: std::process::id(),
        broker,
    };
    let mut too_long = Vec::new();
    for name in WORST {
        let shape = SHAPES.iter().find(|shape| shape.name == name);
        let shape = shape.unwrap_or_else(|| panic!("{name} is not in the hostile set"));
        let siege = || {
            let waits = besiege(&besieged, (shape.make)(), SIEGE);
            let waits = waits.unwrap_or_else(|error| panic!("{name}: {error}"));
            assert!(waits.rounds > 0, "{name}: the proxy took nothing in");
            waits
        };
        let is_long = |waits: &Waits| waits.executor_ran > WAIT_MAX || waits.longest > WALL_MAX;
        let tries: Vec<Waits> = (0..TRIES).map(|_| siege()).take_while(is_long).collect();
        if tries.len() == TRIES {
            too_long.extend(tries.iter().map(|waits| format!("{name}: {waits}")));
        }
    }
    running.stop().expect("the proxy ends well");
    assert!(
        too_long.is_empty(),
        "longer than {WAIT_MAX:?} each time: {too_long:#?}"
    );
}
