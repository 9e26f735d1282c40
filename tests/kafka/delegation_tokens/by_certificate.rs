//! Tokens are made at a listener that takes certificates, for whoever the proxy's says, and used at one with SASL.

use std::sync::LazyLock;
use std::thread;
use std::time::Duration;

use tempfile::TempDir;

use super::{CLIENTS, Door, assemble_for, cluster_of, prefix};
use crate::support::agent::Agent;
use crate::support::broker_properties::Login;
use crate::support::certificates;
use crate::support::cluster::KafkaCluster;
use crate::support::operations::{From, Options};
use crate::support::proxy::ProxyTls;
use crate::support::records::{Record, assert_delivered, assert_same};
use crate::support::rig::{Rig, unique};
use crate::support::shared;
use crate::support::skipped;
use crate::upstream_logins::write_clients;

static CLUSTER: LazyLock<KafkaCluster> =
    LazyLock::new(|| cluster_of(&[Login::Plaintext, Login::SaslTls, Login::MutualTls], &[]));
static RIG: LazyLock<Rig> = LazyLock::new(|| assemble_for(&CLUSTER, "User:CN=kafka-proxy"));

/// The client reads and writes what is its own at the brokers, and not what is the other's.
fn use_what_is_its_own(agent: &Agent, options: &Options, client: &str, other: &str) {
    let topic = RIG.topic(&format!("{}orders", prefix(client)), 2);
    let sent: Vec<_> = (0..20)
        .map(|number| Record::new(&topic, number.to_string(), "an order").partition(number % 2))
        .collect();
    let deliveries = agent.produce(options, &sent);
    assert_delivered(&deliveries);
    let group = options.clone().group(&unique(&prefix(client)), "classic");
    let read = agent.consume(&group, &From::topic(&topic), sent.len());
    assert_same(&sent, &deliveries, &read);

    let foreign = RIG.topic(&format!("{}orders", prefix(other)), 1);
    let record = Record::new(&foreign, "1", "an order").partition(0);
    let told = agent.try_produce(&options.clone().acks("all"), &[record]);
    let is_written = told.is_ok_and(|told| told.iter().any(|delivery| delivery.error.is_none()));
    assert!(
        !is_written,
        "{:?} {client} has written to {foreign}",
        agent.library()
    );
    assert_eq!(RIG.end_offsets(&foreign, 1), [0]);
}

#[test]
fn tokens_are_made_for_the_proxys_certificate() {
    let [one, other] = CLIENTS;
    let folder = TempDir::new().expect("a folder");
    let users = folder.path().join("users");
    write_clients(&users);
    let authorities = &certificates::of_brokers().authorities;
    let own = authorities.client("kafka-proxy", None).files;
    let made_at = RIG.cluster.bootstrap_of(Login::MutualTls);
    let tls = ProxyTls {
        sasl: Some(format!("credentials = {users:?}")),
        upstream: Some(format!(
            "ca = {:?}\ncertificate = {:?}\nkey = {:?}",
            authorities.of_servers(),
            own.certificate,
            own.key
        )),
        upstream_login: Some(format!("kind = \"delegation_tokens\"\nmade_at = [{made_at:?}]\n")),
        ..ProxyTls::default()
    };
    let Some(mut door) = Door::of(&RIG, Login::SaslTls, &tls, folder) else {
        return skipped::there_is_no_proxy();
    };
    thread::scope(|scope| {
        for agent in [RIG.java, shared::librdkafka(), shared::franz_go()] {
            let door = &door;
            scope.spawn(move || {
                use_what_is_its_own(agent, &door.options(one), one, other);
                use_what_is_its_own(agent, &door.options(other), other, one);
            });
        }
    });
    assert_eq!(door.logins("failed") + door.logins("refused"), 0.0);
    assert_eq!(door.count("sealwire_delegation_token_failures_total"), 0.0);
    door.assert_few_tokens(2, Duration::from_secs(4 * 3600));
    // The self-check has asked them too.
    let output = door.proxy.output();
    assert!(output.contains(&format!("main {made_at}")), "{output}");
    door.proxy.terminate();
}
