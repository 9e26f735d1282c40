//! Brokers make tokens for the proxy's clients, by which it logs in: they see each client by its own name.

mod by_certificate;

use std::path::Path;
use std::sync::LazyLock;
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::support::artifacts::KafkaVersion;
use crate::support::broker_properties::{self as brokers, Login};
use crate::support::cluster::KafkaCluster;
use crate::support::operations::{From, Options};
use crate::support::proxy::{Proxy, ProxyTls};
use crate::support::rig::Rig;
use crate::support::secret_files::write_secret;
use crate::support::shared;
use crate::support::skipped;
use crate::support::streams::assert_exactly_once;
use crate::support::wait;
use crate::upstream_logins::{PASSWORD, assert_nobody_is_let_in, write_clients};

/// Nobody may do anything there without a right; tokens are good for [`GOOD_FOR`].
static CLUSTER: LazyLock<KafkaCluster> = LazyLock::new(|| {
    let good_for = GOOD_FOR.as_millis().to_string();
    cluster(&[("delegation.token.expiry.time.ms", good_for.as_str())])
});

static RIG: LazyLock<Rig> = LazyLock::new(|| assemble(&CLUSTER));

/// One that is killed.
static FRAGILE: LazyLock<KafkaCluster> = LazyLock::new(|| cluster(&[]));

fn cluster(more: &[(&str, &str)]) -> KafkaCluster {
    cluster_of(
        &[Login::Plaintext, Login::Sasl, Login::SaslReauthenticating],
        more,
    )
}

fn cluster_of(logins: &[Login], more: &[(&str, &str)]) -> KafkaCluster {
    let properties = [
        (
            "authorizer.class.name",
            "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        ),
        ("super.users", "User:ANONYMOUS"),
        ("delegation.token.secret.key", "of-these-brokers"),
    ];
    let properties: Vec<_> = properties.iter().chain(more).copied().collect();
    KafkaCluster::start(KafkaVersion::Current, 1, logins, &properties)
}

/// The proxy's own account may have tokens made for these clients, and nothing else.
fn assemble(cluster: &'static KafkaCluster) -> Rig {
    let rig = assemble_for(cluster, &format!("User:{OWN}"));
    rig.set_password(OWN, OWN_PASSWORD);
    rig
}

fn assemble_for(cluster: &'static KafkaCluster, own: &str) -> Rig {
    let rig = Rig::assemble(cluster, Login::Plaintext);
    for client in CLIENTS {
        let principal = format!("User:{client}");
        rig.set_tokens_right(own, &principal, true);
        rig.allow(&principal, &prefix(client));
        // A group of this name is what librdkafka's streams ask for, used or not.
        rig.allow(&principal, "none");
    }
    rig
}

/// What a client may use at the brokers begins so; the first word is that of a rule that seals.
fn prefix(client: &str) -> String {
    format!("sealed-{client}-")
}

/// A proxy that has tokens made for its clients.
struct Door {
    proxy: Proxy,
    folder: TempDir,
    opened: Instant,
}

impl Door {
    fn open(rig: &Rig, login: Login) -> Option<Self> {
        Self::open_with(rig, login, OWN_PASSWORD, "session_lifetime = \"6s\"")
    }

    fn open_with(rig: &Rig, login: Login, password: &str, sasl: &str) -> Option<Self> {
        let (folder, keys) = own_account(password);
        let users = folder.path().join("users");
        write_clients(&users);
        let tls = ProxyTls {
            sasl: Some(format!("credentials = {users:?}\n{sasl}")),
            upstream_login: Some(keys),
            ..ProxyTls::default()
        };
        Self::of(rig, login, &tls, folder)
    }

    fn of(rig: &Rig, login: Login, tls: &ProxyTls, folder: TempDir) -> Option<Self> {
        Some(Self {
            proxy: rig.another_proxy_with_tls(login, tls)?,
            folder,
            opened: Instant::now(),
        })
    }

    fn options(&self, user: &str) -> Options {
        Options::at(self.proxy.bootstrap()).sasl("SCRAM-SHA-512", user, PASSWORD)
    }

    fn reaches(&self, user: &str) -> Result<(), String> {
        shared::librdkafka().try_reach(&self.options(user), Duration::from_secs(15))
    }

    fn count(&self, name: &str) -> f64 {
        self.proxy.metric(name, &["cluster=\"main\""])
    }

    fn logins(&self, result: &str) -> f64 {
        let label = format!("result=\"{result}\"");
        self.proxy.metric("sealwire_broker_logins_total", &[&label])
    }

    /// TOKENS-1: a token for each principal, and another in the second half of its time.
    fn assert_few_tokens(&self, principals: u32, good_for: Duration) {
        let made = self.count("sealwire_delegation_tokens_made_total");
        let times = self.opened.elapsed().as_secs_f64() / (good_for.as_secs_f64() / 2.0);
        let most = f64::from(principals) * (1.0 + times.floor());
        assert!(
            (1.0..=most).contains(&made),
            "{made} tokens for {principals} principals, {most} at most"
        );
        assert_eq!(self.count("sealwire_delegation_tokens"), f64::from(principals));
    }
}

fn own_account(password: &str) -> (TempDir, String) {
    let folder = TempDir::new().expect("a folder");
    let path = folder.path().join("password");
    write_secret(&path, password);
    let keys = own_keys(&path);
    (folder, keys)
}

fn own_keys(password: &Path) -> String {
    format!(
        "kind = \"delegation_tokens\"\nmechanism = \"SCRAM-SHA-512\"\nuser = {OWN:?}\n\
         password = {{ file = {password:?} }}\n"
    )
}

/// TOKENS-1, TOKENS-2: sessions of 5 s, tokens of 40.
#[test]
fn tokens_are_made_anew_while_records_flow() {
    let _alone = shared::under_load();
    let [one, other] = CLIENTS;
    let Some(mut door) = Door::open(&RIG, Login::SaslReauthenticating) else {
        return skipped::there_is_no_proxy();
    };
    let agents = [RIG.java, shared::librdkafka(), shared::franz_go(), RIG.java];
    let streams = agents.into_iter().zip([one, other].into_iter().cycle());
    let streams: Vec<_> = streams
        .map(|(agent, client)| {
            let topic = RIG.topic(&format!("{}flow", prefix(client)), 1);
            let options = door.options(client);
            let producer = agent.stream_produce(&options, &topic, 1, 50);
            let consumer = agent.stream_consume(&options, &From::partitions(&topic, 1));
            (agent, producer, consumer)
        })
        .collect();
    let closed = |door: &Door| {
        [
            "login_expired",
            "broker_login",
            "login_unavailable",
            "broker_closed",
        ]
        .map(|reason| {
            let label = format!("reason={reason:?}");
            door.proxy.metric("sealwire_connections_closed_total", &[&label])
        })
    };
    // Clients that find their way end some of their first connections.
    thread::sleep(Duration::from_secs(10));
    let (closed_before, before) = (closed(&door), door.logins("renewed"));
    // The first token has ended, and the one after it has come.
    thread::sleep(GOOD_FOR + GOOD_FOR / 2);
    let (closed_after, renewed) = (closed(&door), door.logins("renewed") - before);
    for (agent, producer, consumer) in streams {
        assert_exactly_once(agent, producer, consumer);
    }
    assert_eq!(closed_after, closed_before, "{}", door.proxy.output());
    assert_eq!(door.logins("failed") + door.logins("refused"), 0.0);
    assert!(renewed >= 8.0 * 9.0, "{renewed} logins");
    let made = door.count("sealwire_delegation_tokens_made_total");
    assert!(made >= 4.0, "{made} tokens");
    door.assert_few_tokens(2, GOOD_FOR);
    door.proxy.terminate();
}

/// DELEGATION-1: whoever comes first, and however many.
#[test]
fn one_token_is_made_for_all_connections_of_a_client() {
    let Some(mut door) = Door::open(&RIG, Login::Sasl) else {
        return skipped::there_is_no_proxy();
    };
    thread::scope(|scope| {
        for _ in 0..4 {
            for agent in [RIG.java, shared::librdkafka(), shared::franz_go()] {
                let options = door.options(CLIENTS[0]);
                scope.spawn(move || {
                    agent
                        .try_reach(&options, Duration::from_secs(20))
                        .expect("it is let in")
                });
            }
        }
    });
    assert!(door.logins("accepted") >= 12.0);
    assert_eq!(door.logins("failed") + door.logins("refused"), 0.0);
    assert_eq!(door.count("sealwire_delegation_token_failures_total"), 0.0);
    door.assert_few_tokens(1, GOOD_FOR);
    let output = door.proxy.output();
    assert!(
        output.contains("brokers take the proxy's own account"),
        "{output}"
    );
    door.proxy.terminate();
}

/// DELEGATION-2, TOKENS-3: the right is wanting, comes, and goes; connections that there are outlive it.
#[test]
fn without_the_right_nobody_comes_in_and_the_log_says_what_to_do() {
    let Some(mut door) = Door::open(&RIG, Login::Sasl) else {
        return skipped::there_is_no_proxy();
    };
    let own = format!("User:{OWN}");
    assert_nobody_is_let_in(RIG.java, &["app-3"], |user| door.options(user));
    let output = door.proxy.output();
    assert!(output.contains("allow it CREATE_TOKENS for"), "{output}");
    for secret in [OWN_PASSWORD, PASSWORD] {
        assert!(!output.contains(secret), "{output}");
    }
    let failures = door.count("sealwire_delegation_token_failures_total");
    assert!((1.0..=5.0).contains(&failures), "{failures}");
    RIG.set_tokens_right(&own, "User:app-3", true);
    wait::until("the right is used", Duration::from_secs(60), || {
        door.reaches("app-3").ok()
    });
    RIG.set_tokens_right(&own, "User:app-3", false);
    let begun = Instant::now();
    door.reaches("app-3").expect("its token is good");
    wait::until("its token has ended", 2 * GOOD_FOR, || {
        door.reaches("app-3").err()
    });
    assert!(begun.elapsed() > GOOD_FOR / 3, "{:?}", begun.elapsed());
    door.proxy.terminate();
}

/// STANDING-2: of the proxy's own account, whoever comes.
#[test]
fn an_own_account_that_brokers_refuse_is_left_alone() {
    let Some(mut door) = Door::open_with(&RIG, Login::Sasl, "wrong", "") else {
        return skipped::there_is_no_proxy();
    };
    thread::scope(|scope| {
        for user in ["app-1", "app-2"].repeat(3) {
            let door = &door;
            scope.spawn(move || door.reaches(user).expect_err("nobody is let in"));
        }
    });
    let output = door.proxy.output();
    assert!(
        output.contains("brokers do not take the proxy's own account"),
        "{output}"
    );
    assert!(!output.contains("wrong"), "{output}");
    write_secret(&door.folder.path().join("password"), OWN_PASSWORD);
    wait::until("the right password is used", Duration::from_secs(60), || {
        door.reaches("app-1").ok()
    });
    door.proxy.terminate();
}

#[test]
fn brokers_without_tokens_are_told_of() {
    let rig = Rig::assemble(shared::one_broker(), Login::Sasl);
    let folder = TempDir::new().expect("a folder");
    let [users, password] = ["users", "password"].map(|name| folder.path().join(name));
    write_clients(&users);
    write_secret(&password, brokers::PASSWORD);
    let keys = own_keys(&password).replace(OWN, brokers::USER);
    let tls = ProxyTls {
        sasl: Some(format!("credentials = {users:?}")),
        upstream_login: Some(keys),
        ..ProxyTls::default()
    };
    let Some(mut door) = Door::of(&rig, Login::Sasl, &tls, folder) else {
        return skipped::there_is_no_proxy();
    };
    let error = door.reaches("app-1").expect_err("nobody is let in");
    assert!(error.contains("do not take this login"), "{error}");
    let output = door.proxy.output();
    assert!(output.contains("delegation.token.secret.key"), "{output}");
    door.proxy.terminate();
}

/// SERVE-BROKER-LOGIN-2: the broker is killed and comes back, and knows its tokens.
#[test]
fn a_broker_that_restarts_loses_nothing() {
    let rig = assemble(&FRAGILE);
    let [one, other] = CLIENTS;
    let Some(mut door) = Door::open(&rig, Login::SaslReauthenticating) else {
        return skipped::there_is_no_proxy();
    };
    let streams: Vec<_> = [(rig.java, one), (shared::franz_go(), other)]
        .into_iter()
        .map(|(agent, client)| {
            let topic = rig.topic(&format!("{}restart", prefix(client)), 1);
            let options = door.options(client);
            let producer = agent.stream_produce(&options, &topic, 1, 50);
            let consumer = agent.stream_consume(&options, &From::partitions(&topic, 1));
            agent.stream_await(&consumer, 50);
            (agent, producer, consumer)
        })
        .collect();
    FRAGILE.kill_broker(1);
    thread::sleep(Duration::from_secs(2));
    let counts: Vec<_> = streams
        .iter()
        .map(|(agent, _, consumer)| agent.stream_status(consumer).count)
        .collect();
    FRAGILE.restart_broker(1);
    for ((agent, _, consumer), count) in streams.iter().zip(counts) {
        agent.stream_await(consumer, count + 100);
    }
    for (agent, producer, consumer) in streams {
        assert_exactly_once(agent, producer, consumer);
    }
    let made = door.count("sealwire_delegation_tokens_made_total");
    assert!((2.0..=4.0).contains(&made), "{made} tokens");
    door.proxy.terminate();
}

const CLIENTS: [&str; 2] = ["app-1", "app-2"];
const OWN: &str = "sealwire";
const OWN_PASSWORD: &str = "own-secret-91c4";
const GOOD_FOR: Duration = Duration::from_secs(40);
