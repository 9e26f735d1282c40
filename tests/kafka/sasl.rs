//! Clients log in at the broker, through a proxy that passes SASL on untouched: every mechanism, re-authentication, and
//! after a restart of the proxy.

use std::sync::LazyLock;
use std::time::Duration;

use kafka_protocol::messages::{SaslAuthenticateRequest, SaslHandshakeRequest};
use kafka_protocol::protocol::StrBytes;

use crate::support::agent::Agent;
use crate::support::broker_properties::{Login, MECHANISMS, PASSWORD, USER};
use crate::support::operations::{From, Options, Stream};
use crate::support::raw_client::{RawClient, batch};
use crate::support::records::{Record, assert_same};
use crate::support::rig::Rig;
use crate::support::shared;
use crate::support::skipped;
use crate::support::streams::assert_exactly_once;
use crate::support::wait;

static RIG: LazyLock<Rig> = LazyLock::new(|| Rig::assemble(shared::one_broker(), Login::Sasl));

fn records(topic: &str, text: &str) -> Vec<Record> {
    (0..20)
        .map(|number: i32| {
            Record::new(topic, number.to_string(), text)
                .header("text", text)
                .partition(number % 2)
        })
        .collect()
}

#[test]
fn each_mechanism_with_each_library() {
    let rig = &*RIG;
    let agents = [
        rig.java,
        shared::librdkafka(),
        shared::aiokafka(),
        shared::franz_go(),
    ];
    for agent in agents {
        for mechanism in MECHANISMS {
            let topic = rig.topic("sealed-sasl", 2);
            let options = rig.options().sasl(mechanism, USER, PASSWORD);
            let sent = records(&topic, mechanism);
            let deliveries = agent.produce(&options, &sent);
            let read = agent.consume(&options, &From::partitions(&topic, 2), sent.len());
            assert_same(&sent, &deliveries, &read);
        }
    }
}

#[test]
fn wrong_password_is_the_brokers_to_refuse() {
    let rig = &*RIG;
    let topic = rig.topic("sealed-refused", 1);
    for mechanism in ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] {
        let options = rig.options().sasl(mechanism, USER, "wrong");
        let limit = Duration::from_secs(20);
        let refused = rig
            .java
            .try_consume(&options, &From::partitions(&topic, 1), 1, limit);
        let error = refused.expect_err("a wrong password");
        assert!(error.contains("SaslAuthenticationException"), "{error}");
    }
    // The right one is served as before, and who does not log in is not.
    let sent = vec![Record::new(&topic, "key", "value").partition(0)];
    let options = rig.options().sasl("PLAIN", USER, PASSWORD);
    let deliveries = rig.java.produce(&options, &sent);
    let read = rig.java.consume(&options, &From::partitions(&topic, 1), 1);
    assert_same(&sent, &deliveries, &read);
    let silent = rig
        .options()
        .extra("default.api.timeout.ms", "3000")
        .extra("request.timeout.ms", "2000");
    let refused = rig
        .java
        .try_consume(&silent, &From::partitions(&topic, 1), 1, Duration::from_secs(6));
    assert!(
        refused.is_err() || refused.is_ok_and(|records| records.is_empty()),
        "served without a login"
    );
}

/// AUTH-5: as at a broker.
#[test]
fn a_login_and_what_comes_behind_it_may_be_sent_at_once() {
    let rig = &*RIG;
    for address in [rig.cluster.bootstrap_of(Login::Sasl), rig.bootstrap()] {
        let mut client = RawClient::connect(&address);
        let (handshaken, logged_in, answer) = client.pipeline_plain(USER, PASSWORD);
        assert_eq!((handshaken, logged_in), (0, 0));
        // Correlation id, throttle time, count, and at least a folder.
        assert!(answer.len() > 4 + 4 + 4, "{answer:?}");
    }
}

/// RELOGIN-4: as at a broker's listener without SASL, word for word; what comes behind it is served.
#[test]
fn nobody_logs_in_where_the_network_vouches_for_clients() {
    let rig = &*RIG;
    let Some(mut proxy) = rig.another_proxy(Login::Plaintext) else {
        return skipped::there_is_no_proxy();
    };
    let told = [rig.cluster.bootstrap_of(Login::Plaintext), proxy.bootstrap()].map(|address| {
        let mut client = RawClient::connect(&address);
        let mechanism = SaslHandshakeRequest::default().with_mechanism(StrBytes::from_static_str("PLAIN"));
        let handshake = client.ask(1, &mechanism);
        let token = SaslAuthenticateRequest::default().with_auth_bytes("\0alice\0secret".into());
        let authenticated = client.ask(2, &token);
        assert!(client.log_dirs().is_some(), "it is served");
        (handshake, authenticated)
    });
    assert_eq!(told[0].0.error_code, 34);
    assert_eq!(told[0], told[1]);
    proxy.terminate();
}

#[test]
fn who_is_not_logged_in_has_nothing_worked_on() {
    let rig = &*RIG;
    let Some(mut proxy) = rig.another_proxy(Login::Sasl) else {
        return skipped::there_is_no_proxy();
    };
    let topic = rig.topic("sealed-strangers", 1);
    let value = "x".repeat(5_000_000);
    for address in [proxy.bootstrap(), proxy.node_address(0)] {
        // Without a word of a login, and after the first of two rounds, which shows no more than a name.
        for begun in [false, true] {
            let mut stranger = RawClient::connect(&address);
            if begun {
                stranger.begin_scram(USER);
            }
            stranger.produce_unacknowledged(&topic, batch(None, "x"));
            stranger.assert_closed();
        }
    }
    let closed = |reason: &str| {
        let label = format!("reason=\"{reason}\"");
        proxy.metric("sealwire_connections_closed_total", &[&label])
    };
    // Kafka closes at once, or answers with an error within a login that has begun.
    assert_eq!((closed("broker_closed"), closed("denied_api")), (2.0, 2.0));
    for (name, what) in [
        ("sealwire_sealed_records_total", "sealed"),
        ("sealwire_refused_partitions_total", "refused"),
    ] {
        assert_eq!(proxy.metric(name, &[]), 0.0, "nothing was {what}");
    }
    // Who is logged in may begin with a long one.
    let options = Options::at(proxy.bootstrap())
        .sasl("SCRAM-SHA-256", USER, PASSWORD)
        .set("record_bytes_max", 6_000_000);
    let sent = [Record::new(&topic, "key", &value).partition(0)];
    let deliveries = rig.java.produce(&options, &sent);
    let read = rig.java.consume(&options, &From::partitions(&topic, 1), 1);
    assert_same(&sent, &deliveries, &read);
    proxy.terminate();
}

/// The broker ends sessions after a few seconds unless the client authenticates again, on the same connection.
#[test]
fn sessions_are_renewed_while_records_flow() {
    let _alone = shared::under_load();
    let rig = &*RIG;
    let proxy = rig.another_proxy(Login::SaslReauthenticating);
    let address = match &proxy {
        Some(proxy) => proxy.bootstrap(),
        None => rig.cluster.bootstrap_of(Login::SaslReauthenticating),
    };
    let streams = MECHANISMS.map(|mechanism| {
        let topic = rig.topic("sealed-renewed", 1);
        let options = Options::at(&address).sasl(mechanism, USER, PASSWORD);
        let producer = rig.java.stream_produce(&options, &topic, 1, 50);
        let consumer = rig.java.stream_consume(&options, &From::partitions(&topic, 1));
        (mechanism, producer, consumer)
    });
    for (mechanism, producer, consumer) in streams {
        for stream in [&producer, &consumer] {
            await_renewals(rig.java, stream, mechanism);
        }
        assert_exactly_once(rig.java, producer, consumer);
    }
    if let Some(mut proxy) = proxy {
        proxy.terminate();
    }
}

/// Waits until `stream` has authenticated again twice without a new connection. On a busy machine a client is late now
/// and then and the broker ends its session, as it should: then the count begins again. Where sessions are lost by the
/// proxy, each is.
fn await_renewals(agent: &Agent, stream: &Stream, mechanism: &str) {
    let mut begun = agent.stream_status(stream);
    let what = format!("two re-authentications by {mechanism} on connections that stay");
    wait::until(&what, Duration::from_secs(60), || {
        let now = agent.stream_status(stream);
        if now.connections > begun.connections {
            begun = now;
            return None;
        }
        (now.reauthentications >= begun.reauthentications + 2.0).then_some(())
    });
}

/// Clients come straight back to a node's port, and log in there, before the new proxy has heard of any node.
#[test]
fn restarted_proxy_serves_clients_that_come_back() {
    let rig = &*RIG;
    let mut proxy = rig.another_proxy(Login::Sasl);
    let address = proxy
        .as_ref()
        .map_or_else(|| rig.bootstrap(), |proxy| proxy.bootstrap());
    let librdkafka = shared::librdkafka();
    let streams: Vec<_> = [(rig.java, "SCRAM-SHA-512"), (librdkafka, "PLAIN")]
        .map(|(agent, mechanism)| {
            let topic = rig.topic("sealed-restart", 1);
            let options = Options::at(&address).sasl(mechanism, USER, PASSWORD);
            let idempotent = options.clone().set("idempotent", true);
            let producer = agent.stream_produce(&idempotent, &topic, 1, 100);
            let consumer = agent.stream_consume(&options, &From::partitions(&topic, 1));
            agent.stream_await(&consumer, 100);
            (agent, producer, consumer)
        })
        .into();
    if let Some(proxy) = &mut proxy {
        proxy.terminate();
        proxy.start_again();
    }
    for (agent, producer, consumer) in streams {
        let before = agent.stream_status(&consumer).count;
        agent.stream_await(&consumer, before + 200);
        assert_exactly_once(agent, producer, consumer);
    }
}

/// What the configuration or a state file says of a node may be out of date: clients that come straight to its port are
/// served through a bootstrap broker until the right address is learned.
#[test]
fn node_that_moved_while_the_proxy_was_down_is_found() {
    let rig = &*RIG;
    let Some(mut proxy) = rig.another_proxy(Login::Sasl) else {
        return skipped::there_is_no_proxy();
    };
    proxy.terminate();
    // Nobody listens on port 1.
    proxy.start_again_with(&["cluster.main.node_addresses={ 1 = \"127.0.0.1:1\" }"]);
    let topic = rig.topic("sealed-moved", 1);
    let options = Options::at(proxy.node_address(0)).sasl("PLAIN", USER, PASSWORD);
    let sent = [Record::new(&topic, "key", "value").header("h", "v").partition(0)];
    let deliveries = rig.java.produce(&options, &sent);
    let read = rig.java.consume(&options, &From::partitions(&topic, 1), 1);
    assert_same(&sent, &deliveries, &read);
    proxy.terminate();
}
