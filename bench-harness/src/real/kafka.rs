//! One broker of Kafka, as the tests start theirs: the same jars, from the same cache.
//!
//! What starts it is looked for beforehand; a broker that does not start then ends the harness as it would end a test.

#![allow(dead_code, reason = "the tests use the rest")]

#[path = "../../../tests/support/artifacts.rs"]
mod artifacts;
#[path = "../../../tests/support/broker_properties.rs"]
pub(crate) mod broker_properties;
#[path = "../../../tests/support/cache.rs"]
mod cache;
#[path = "../../../tests/support/certificates.rs"]
pub(crate) mod certificates;
#[path = "../../../tests/support/cluster.rs"]
pub(crate) mod cluster;
#[path = "../../../tests/support/debian.rs"]
mod debian;
#[path = "../../../tests/support/java.rs"]
mod java;
#[path = "../../../tests/support/launch.rs"]
mod launch;
#[path = "../../../tests/support/maven.rs"]
mod maven;
#[path = "../../../tests/support/ports.rs"]
mod ports;
#[path = "../../../tests/support/secret_files.rs"]
pub(crate) mod secret_files;
#[path = "../../../tests/support/wait.rs"]
mod wait;

use std::net::TcpListener;
use std::path::Path;

use self::artifacts::{KafkaVersion, jars};
use self::broker_properties::{ALLOWED_URLS, Login, verifying_tokens};
use self::cluster::KafkaCluster;
use self::java::Java;
use super::order::{MESSAGE_BYTES_MAX, PARTITIONS};
use crate::Failure;
use crate::children::find;
use crate::systems::{HAPROXY_16K, HAPROXY_64K, Relay};

/// What the tests' modules ask of the one above them.
const HOST: &str = "127.0.0.1";
/// The broker's id.
pub(crate) const NODE: i32 = 1;

/// Whether what starts it is there.
pub(crate) fn check() -> Result<(), Failure> {
    for program in ["java", "setpriv"] {
        if find(program).is_none() {
            return Err(format!("{program} is not installed").into());
        }
    }
    let fetched = jars(KafkaVersion::Current).map(drop);
    fetched.map_err(|said| {
        format!(
            "Kafka {} is not in .cache/, and could not be fetched. The same command fetches it, with Maven \
             (Debian: apt-get install maven), where that reaches its repository. This time: {said}",
            version()
        )
        .into()
    })
}

/// Each relay by TCP has a listener that sends clients to it.
pub(super) fn relays() -> Result<Vec<Relay>, Failure> {
    let [port, broker_port, another_port, another_broker_port] = crate::ports::free::<4>()?;
    Ok(vec![
        Relay {
            system: HAPROXY_16K,
            port,
            broker_port,
        },
        Relay {
            system: HAPROXY_64K,
            port: another_port,
            broker_port: another_broker_port,
        },
    ])
}

/// With a listener at `port` as well, if it is not 0, for proxies that were told of it beforehand.
pub(super) fn start(relays: &[Relay], port: u16) -> Result<KafkaCluster, Failure> {
    let mut logins = vec![Login::Plaintext];
    if port != 0 {
        drop(TcpListener::bind((HOST, port)).map_err(|error| format!("--broker-port {port}: {error}"))?);
        logins.push(Login::Relayed {
            port,
            advertised: port,
        });
    }
    logins.extend(relays.iter().map(|relay| Login::Relayed {
        port: relay.broker_port,
        advertised: relay.port,
    }));
    let java = Java::that_runs_long(KafkaVersion::Current);
    Ok(KafkaCluster::start_with(java, 1, &logins, PROPERTIES))
}

/// With listeners for each way in which a proxy may show who it is; tokens are verified by the set of keys in a file.
pub(crate) fn start_for_logins(keys: &Path) -> KafkaCluster {
    let url = format!("file://{}", keys.display());
    let java = Java::that_runs_long(KafkaVersion::Current).with_property(ALLOWED_URLS, &url);
    let verifying = verifying_tokens(Login::SaslTls, &url);
    let verifying = verifying
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()));
    let own_tokens = ("delegation.token.secret.key", "of-this-broker");
    let properties: Vec<_> = verifying.chain([own_tokens]).collect();
    let logins = [Login::Plaintext, Login::Tls, Login::MutualTls, Login::SaslTls];
    KafkaCluster::start_with(java, 1, &logins, &properties)
}

/// The version of broker and tools.
pub(crate) fn version() -> &'static str {
    KafkaVersion::Current.number()
}

/// A topic that keeps everything; or what was produced last, so that no run fills the disk, or the memory.
pub(crate) fn create_topic(cluster: &KafkaCluster, name: &str, keeps: bool) -> Result<(), Failure> {
    let mut tool = of_topics(cluster, "--create", name);
    tool.args([
        "--partitions",
        &PARTITIONS.to_string(),
        "--replication-factor",
        "1",
    ]);
    tool.args(["--config", &format!("max.message.bytes={MESSAGE_BYTES_MAX}")]);
    if !keeps {
        for property in [
            "retention.bytes=67108864",
            "segment.bytes=33554432",
            "file.delete.delay.ms=500",
        ] {
            tool.args(["--config", property]);
        }
    }
    let output = tool.output()?;
    match output.status.success() {
        true => Ok(()),
        false => Err(format!("topic {name}: {}", String::from_utf8_lossy(&output.stdout)).into()),
    }
}

/// As well as it goes: the broker ends soon.
pub(super) fn delete_topics(cluster: &KafkaCluster, names: &[&str]) {
    // The tool takes a pattern, and a second to start.
    let _ = of_topics(cluster, "--delete", &names.join("|")).output();
}

fn of_topics(cluster: &KafkaCluster, what: &str, name: &str) -> std::process::Command {
    let mut tool = cluster.tool("org.apache.kafka.tools.TopicCommand");
    tool.args(["--bootstrap-server", &cluster.bootstrap(), what, "--topic", name]);
    tool
}

const PROPERTIES: &[(&str, &str)] = &[
    ("log.retention.check.interval.ms", "1000"),
    ("log.initial.task.delay.ms", "1000"),
    ("log.segment.delete.delay.ms", "500"),
    // One of 1 MiB is full before a segment is.
    ("log.index.size.max.bytes", "10485760"),
];
