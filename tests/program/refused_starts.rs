//! What keeps the program from starting, inside of a test: a KMS whose wrapping keys are public and a rule that does
//! not say so; a port that is taken.

use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;

use sealwire::config::Config;
use sealwire::kms::Kms;
use sealwire::server::Running;
use sealwire::testing::FaultyKms;

use crate::support::configuration::{Cluster, Configuration};
use crate::support::keystore::Keystore;
use crate::support::ports::ReservedPort;

#[test]
fn a_rule_whose_kek_anybody_can_wrap_under_is_refused_at_the_start() {
    let keystore = Keystore::create(&["payments"]);
    let (port, node_port) = (ReservedPort::take(), ReservedPort::take());
    let text = Configuration::default()
        .keystore("cloud", &keystore.path(), &keystore.master_key())
        .cluster(&Cluster {
            brokers: vec!["127.0.0.1:1".to_owned()],
            port: port.number(),
            nodes: vec![(0, node_port.number())],
            rules: "[[cluster.main.topics]]\nmatch = \"payments-*\"\nkms = \"cloud\"\nkek = \"payments\"\n",
            ..Cluster::default()
        })
        .text();
    let config = Config::from_toml_text(&text, Path::new("/sealwire.toml"))
        .unwrap_or_else(|errors| panic!("{errors}"));
    let started = Running::start(config, |kms| {
        let (layer, faults) = FaultyKms::around(kms);
        faults.wrap_publicly();
        Arc::new(layer) as Arc<dyn Kms>
    });
    let error = started.err().expect("it does not start").to_string();
    for said in [
        "rule 1 (match \"payments-*\")",
        "\"payments\"",
        "KMS cloud",
        "forgeable_kek = true",
    ] {
        assert!(error.contains(said), "{error}");
    }
}

/// SERVER-1: the last of three ports is taken, and nobody is served at the others.
#[test]
fn a_port_that_is_taken_keeps_every_other_from_being_served() {
    let [port, first, last] = [(); 3].map(|()| ReservedPort::take());
    let taken = TcpListener::bind(last.address()).expect("it is ours");
    let text = Configuration::default()
        .cluster(&Cluster {
            brokers: vec!["127.0.0.1:1".to_owned()],
            port: port.number(),
            nodes: vec![(0, first.number()), (1, last.number())],
            rules: "[[cluster.main.topics]]\nmatch = \"*\"\npass = true\n",
            ..Cluster::default()
        })
        .text();
    let start = || {
        let config = Config::from_toml_text(&text, Path::new("/sealwire.toml"));
        Running::start(config.unwrap_or_else(|errors| panic!("{errors}")), |kms| kms)
    };
    let error = start().err().expect("it does not start").to_string();
    assert!(
        error.starts_with(&format!("cannot listen on {}", last.address())),
        "{error}"
    );
    for closed in [&port, &first] {
        assert!(TcpStream::connect(closed.address()).is_err());
    }
    drop(taken);
    let running = start().expect("all ports are free");
    for open in [&port, &first, &last] {
        assert!(TcpStream::connect(open.address()).is_ok());
    }
    running.stop().expect("it ends well");
}
