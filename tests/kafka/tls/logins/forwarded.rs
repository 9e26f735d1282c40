//! Clients' own tokens, sent on to brokers that verify them themselves.

use std::fs;
use std::sync::LazyLock;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use sealwire::testing::tokens::{SigningKey, key_set};
use serde_json::json;
use tempfile::TempDir;

use super::super::{Side, client_tls, proxy_tls};
use super::compared::tokens::broker;
use crate::support::broker_properties::Login;
use crate::support::cluster::KafkaCluster;
use crate::support::operations::{From, Options};
use crate::support::proxy::{Proxy, ProxyTls};
use crate::support::rig::{Rig, unique};
use crate::support::shared;
use crate::support::skipped;
use crate::support::streams::assert_exactly_once;
use crate::support::wait;

static FOLDER: LazyLock<TempDir> = LazyLock::new(|| TempDir::new().expect("a folder"));
static KEYS: LazyLock<[SigningKey; 2]> =
    LazyLock::new(|| [SigningKey::rsa("first"), SigningKey::rsa("second")]);

/// It knows the first key alone, and whoever comes without a login is its administrator.
static CLUSTER: LazyLock<KafkaCluster> = LazyLock::new(|| {
    let set = FOLDER.path().join("brokers-jwks.json");
    fs::write(&set, key_set([&KEYS[0]])).expect("written");
    let rights = [
        (
            "authorizer.class.name",
            "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        ),
        ("super.users", "User:ANONYMOUS"),
    ];
    broker(set.to_str().expect("a name"), &rights)
});
static RIG: LazyLock<Rig> = LazyLock::new(|| Rig::assemble(&CLUSTER, Login::Plaintext));

/// It knows both keys.
fn open(more: &str) -> Option<Proxy> {
    let set = FOLDER.path().join("jwks.json");
    fs::write(&set, key_set([&KEYS[0], &KEYS[1]])).expect("written");
    let sasl = format!(
        "mechanisms = [\"OAUTHBEARER\"]\n{more}\n[cluster.main.listeners.sasl.oauthbearer]\n\
         jwks_file = {set:?}\nissuer = \"https://login.example.com\"\naudience = [\"kafka\"]"
    );
    let tls = ProxyTls {
        sasl: Some(sasl),
        upstream_login: Some(
            "kind = \"forward_token\"\nallow_plaintext = true\nbroker_may_replay = true".to_owned(),
        ),
        ..proxy_tls(Side::Tls, Side::Plain)
    };
    RIG.another_proxy_with_tls(Login::Sasl, &tls)
}

fn options(proxy: &Proxy, key: &SigningKey, user: &str) -> Options {
    let path = FOLDER.path().join(unique(user));
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is later");
    let now = now.as_secs();
    let claims = json!({
        "iss": "https://login.example.com", "aud": "kafka", "sub": user, "iat": now - 100, "exp": now + 600,
    });
    fs::write(&path, key.token(&claims)).expect("written");
    let tls = client_tls(Side::Tls, true).expect("it has TLS");
    Options::at(proxy.bootstrap()).bearer(&path).tls(&tls)
}

/// SERVE-BROKER-LOGIN-1: whose tokens the broker takes is the broker's to say.
#[test]
fn a_token_that_the_broker_does_not_take_lets_nobody_in() {
    let Some(mut proxy) = open("") else {
        return skipped::there_is_no_proxy();
    };
    for agent in [RIG.java, shared::librdkafka(), shared::franz_go()] {
        agent
            .try_reach(&options(&proxy, &KEYS[0], "alice"), Duration::from_secs(10))
            .expect("the broker knows the key");
        let error = agent
            .try_reach(&options(&proxy, &KEYS[1], "alice"), Duration::from_secs(10))
            .expect_err("the broker does not know the key");
        let error = error.to_lowercase();
        assert!(
            error.contains("the brokers behind the proxy do not take this login"),
            "{:?}: {error}",
            agent.library()
        );
    }
    proxy.terminate();
}

/// AT-BROKER-2
#[test]
fn a_newer_token_is_sent_on_while_records_flow() {
    let Some(mut proxy) = open("session_lifetime = \"3s\"") else {
        return skipped::there_is_no_proxy();
    };
    RIG.allow("User:alice", "sealed-alice-");
    let topic = RIG.topic("sealed-alice", 1);
    let alice = options(&proxy, &KEYS[0], "alice");
    let producer = RIG.java.stream_produce(&alice, &topic, 1, 50);
    let consumer = RIG.java.stream_consume(&alice, &From::partitions(&topic, 1));
    let logins = || proxy.metric("sealwire_broker_logins_total", &["result=\"renewed\""]);
    let before = logins();
    for stream in [&producer, &consumer] {
        wait::until("later logins of the client", Duration::from_secs(60), || {
            (RIG.java.stream_status(stream).reauthentications >= 4.0).then_some(())
        });
    }
    wait::until("as many at the broker", Duration::from_secs(10), || {
        (logins() - before >= 8.0).then_some(())
    });
    assert_exactly_once(RIG.java, producer, consumer);
    let closed = proxy.metric("sealwire_connections_closed_total", &["reason=\"broker_login\""]);
    assert_eq!(closed, 0.0);
    proxy.terminate();
}
