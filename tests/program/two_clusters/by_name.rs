//! The same two clusters behind one port: the name that a client asks for by TLS says whose it is, and which broker it
//! wants.

use kafka_protocol::messages::MetadataRequest;
use sealwire::testing::authority::{Authority, Wanted};
use sealwire::transport::certificates::CertificateFiles;
use sealwire::transport::suites::TlsChoice;
use sealwire::transport::tls_client::{Trust, UpstreamTls};

use super::storing_broker::StoringBroker;
use super::{EVENTUALLY, MAIN, OTHER, Side, exchange};
use crate::support::keystore::Keystore;
use crate::support::launch::DataFolder;
use crate::support::ports::ReservedPort;
use crate::support::proxy::{Proxy, ProxySetup};
use crate::support::raw_client::RawClient;
use crate::support::wait;

#[test]
fn one_port_leads_to_every_broker_of_every_cluster() {
    let keystore = Keystore::create(&[MAIN.kek, OTHER.kek]);
    let brokers = [MAIN, OTHER].map(|side| StoringBroker::start(side.folder));
    let (folder, port) = (DataFolder::create("by-name"), ReservedPort::take());
    let authority = Authority::root("authority");
    let files = [MAIN, OTHER].map(|side| {
        let issued = authority.issue(&Wanted::for_hosts(&[&bootstrap_of(side), &node_of(side)]));
        issued.write(folder.path(), side.name)
    });
    let trusted = folder.path().join("authority.pem");
    std::fs::write(&trusted, authority.pem()).expect("the authority is written");
    let alice = authority
        .issue(&Wanted::named("alice"))
        .write(folder.path(), "alice");
    // Of one of the two clusters clients have to show who they are.
    let asked = format!("client_ca = {trusted:?}\nprincipal_mapping_rules = \"RULE:^CN=(.*)$/$1/U\"\n");
    let rules = [
        listener(MAIN, &port, &files[0]).replace("\"network\"", "\"mtls\""),
        asked,
        MAIN.rules().replace(
            "\nkek",
            "\nopen_for = [\"User:ALICE\"]\nseal_for = [\"User:A*\"]\nkek",
        ),
        format!("[cluster.other]\nbootstrap = [{:?}]\n", brokers[1].address),
        listener(OTHER, &port, &files[1]),
        OTHER.rules(),
    ];
    let mut proxy = Proxy::start(&ProxySetup {
        brokers: brokers[0].address.clone(),
        nodes: vec![0],
        keystore: &keystore,
        rules: &rules.concat(),
        executors: 2,
    });

    let tls = UpstreamTls {
        trust: Trust::File(trusted),
        server_name: None,
        client: Some(alice),
        choice: TlsChoice::default(),
    };
    let connect = |host: &str| RawClient::connect_by_tls(&port.address(), host, &tls);
    for side in [MAIN, OTHER] {
        for host in [bootstrap_of(side), node_of(side)] {
            // A node's name leads nowhere until it is known where the node is.
            let mut client = wait::until("a way to the broker", EVENTUALLY, || {
                let mut client = connect(&host).unwrap_or_else(|error| panic!("{host}: {error}"));
                client.log_dirs().map(|_| client)
            });
            exchange(&mut client, side, 0);
            let told = client.ask(METADATA_VERSION, &MetadataRequest::default()).brokers;
            let told: Vec<_> = told
                .iter()
                .map(|broker| (broker.host.to_string(), broker.port))
                .collect();
            assert_eq!(told, [(node_of(side), i32::from(port.number()))]);
        }
    }
    // An address is no name: nothing is asked for.
    for host in ["nobody.example.test", "b1.main.example.test", "127.0.0.1"] {
        let refused = connect(host).err().expect("nobody has this name");
        assert!(
            refused.contains("UnrecognizedName") || refused.contains("UnrecognisedName"),
            "{refused}"
        );
    }
    let refused = proxy.metric("sealwire_connections_closed_total", &["reason=\"tls_failed\""]);
    assert_eq!(refused, 3.0, "{}", proxy.metrics());
    proxy.terminate();
    assert_named(&proxy.output());
}

/// The audit log names clients of the cluster that asks them for certificates; all of the others are one.
fn assert_named(log: &str) {
    let audited = |side: Side| {
        let of_side = |line: &&str| {
            line.contains("sealwire::audit") && line.contains(&format!("cluster=\"{}\"", side.name))
        };
        log.lines()
            .find(of_side)
            .unwrap_or_else(|| panic!("{log}"))
            .to_owned()
    };
    assert!(audited(MAIN).contains("principal=\"User:ALICE\""), "{log}");
    assert!(audited(OTHER).contains("principal=\"User:NETWORK\""), "{log}");
}

fn bootstrap_of(side: Side) -> String {
    format!("{}.example.test", side.name)
}

fn node_of(side: Side) -> String {
    format!("b0.{}.example.test", side.name)
}

/// A listener of the side's cluster, whose brokers are told apart by name.
fn listener(side: Side, port: &ReservedPort, files: &CertificateFiles) -> String {
    let CertificateFiles { certificate, key } = files;
    let (name, bootstrap, listen) = (side.name, bootstrap_of(side), port.address());
    format!(
        "[[cluster.{name}.listeners]]\nname = \"named\"\nlisten = {listen:?}\nclient_auth = \"network\"\n\
         advertised_host = \"b$(node).{bootstrap}\"\nbootstrap_host = {bootstrap:?}\nnodes = \"0\"\n\
         [cluster.{name}.listeners.tls]\ncertificate = {certificate:?}\nkey = {key:?}\n"
    )
}

const METADATA_VERSION: i16 = 5;
