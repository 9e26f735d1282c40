//! Clusters and client programs that all tests of one process share. Each starts when a test first asks for it, and
//! ends with the process: [`super::launch`] sees to that, however it ends.
//!
//! Topics and groups have names of their own ([`super::rig::unique`]), proxies and keystores belong to a file or to a
//! test. Who stops a broker or moves it says so, and is alone meanwhile.

use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::agent::{Agent, Library};
use super::artifacts::KafkaVersion;
use super::broker_properties::Login;
use super::certificates::Flaw;
use super::cluster::KafkaCluster;

/// One broker, which is asked for a login on two of its listeners.
pub(crate) fn one_broker() -> &'static KafkaCluster {
    static CLUSTER: LazyLock<KafkaCluster> = LazyLock::new(|| {
        let logins = [Login::Plaintext, Login::Sasl, Login::SaslReauthenticating];
        KafkaCluster::start(KafkaVersion::Current, 1, &logins, &[])
    });
    &CLUSTER
}

/// One broker with each kind of listener with TLS, and an authorizer that lets everybody do what no rule is
/// for.
pub(crate) fn broker_with_tls() -> &'static KafkaCluster {
    static CLUSTER: LazyLock<KafkaCluster> = LazyLock::new(|| {
        let flawed = Flaw::ALL.map(Login::FlawedTls);
        let good = [
            Login::Plaintext,
            Login::Tls,
            Login::Tls12,
            Login::MutualTls,
            Login::SaslTls,
        ];
        let rights = [
            (
                "authorizer.class.name",
                "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            ),
            ("allow.everyone.if.no.acl.found", "true"),
        ];
        KafkaCluster::start(KafkaVersion::Current, 1, &[&good[..], &flawed].concat(), &rights)
    });
    &CLUSTER
}

/// One broker of the older version, which has the new protocol of groups as a preview.
pub(crate) fn older_broker() -> &'static KafkaCluster {
    static CLUSTER: LazyLock<KafkaCluster> = LazyLock::new(|| {
        let protocols = [("group.coordinator.rebalance.protocols", "classic,consumer")];
        let logins = [Login::Plaintext, Login::Tls, Login::MutualTls];
        KafkaCluster::start(KafkaVersion::Older, 1, &logins, &protocols)
    });
    &CLUSTER
}

/// Three brokers in racks of their own, from which a client may read the nearest replica.
pub(crate) fn three_brokers() -> &'static KafkaCluster {
    static CLUSTER: LazyLock<KafkaCluster> = LazyLock::new(|| {
        let selector = "org.apache.kafka.common.replica.RackAwareReplicaSelector";
        let more = [("replica.selector.class", selector)];
        KafkaCluster::start(KafkaVersion::Current, 3, &[Login::Plaintext], &more)
    });
    &CLUSTER
}

/// Held by a test that has clients of several kinds at work for a while and times of its own to keep: two at once leave
/// each other too little of a small machine.
pub(crate) fn under_load() -> MutexGuard<'static, ()> {
    static UNDER_LOAD: Mutex<()> = Mutex::new(());
    UNDER_LOAD.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Held by a test that needs the three brokers to stay as they are.
pub(crate) fn three_brokers_as_they_are() -> RwLockReadGuard<'static, ()> {
    // A test that failed has put the brokers back, or the next one fails as it should.
    THREE_BROKERS.read().unwrap_or_else(PoisonError::into_inner)
}

/// Held by a test that stops one of the three brokers or moves it, and has all as they were when it ends.
pub(crate) fn three_brokers_alone() -> RwLockWriteGuard<'static, ()> {
    THREE_BROKERS.write().unwrap_or_else(PoisonError::into_inner)
}

static THREE_BROKERS: RwLock<()> = RwLock::new(());

/// The client of the broker's own version.
pub(crate) fn java(version: KafkaVersion) -> &'static Agent {
    static CURRENT: LazyLock<Agent> = LazyLock::new(|| Agent::start(Library::Java(KafkaVersion::Current)));
    static OLDER: LazyLock<Agent> = LazyLock::new(|| Agent::start(Library::Java(KafkaVersion::Older)));
    match version {
        KafkaVersion::Current => &CURRENT,
        KafkaVersion::Older => &OLDER,
    }
}

pub(crate) fn librdkafka() -> &'static Agent {
    static AGENT: LazyLock<Agent> = LazyLock::new(|| Agent::start(Library::Librdkafka));
    &AGENT
}

pub(crate) fn aiokafka() -> &'static Agent {
    static AGENT: LazyLock<Agent> = LazyLock::new(|| Agent::start(Library::Aiokafka));
    &AGENT
}

pub(crate) fn franz_go() -> &'static Agent {
    static AGENT: LazyLock<Agent> = LazyLock::new(|| Agent::start(Library::FranzGo));
    &AGENT
}

pub(crate) fn kafkajs() -> &'static Agent {
    static AGENT: LazyLock<Agent> = LazyLock::new(|| Agent::start(Library::Kafkajs));
    &AGENT
}
