//! The proxy logs in at the brokers for its clients: they see each client as somebody of their own.

mod administrators;
mod own_names;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::agent::Agent;
use crate::support::artifacts::KafkaVersion;
use crate::support::broker_properties::Login;
use crate::support::certificates;
use crate::support::cluster::KafkaCluster;
use crate::support::operations::{From, Options};
use crate::support::proxy::{Proxy, ProxyTls};
use crate::support::records::Record;
use crate::support::rig::Rig;
use crate::support::secret_files::{write_secret, write_users};
use crate::support::shared;
use crate::support::skipped;
use crate::support::streams::assert_exactly_once;
use crate::support::wait;

/// Nobody may do anything there without a right; whoever comes without a login is the administrator.
static CLUSTER: LazyLock<KafkaCluster> = LazyLock::new(|| {
    let logins = [
        Login::Plaintext,
        Login::Sasl,
        Login::SaslReauthenticating,
        Login::MutualTls,
    ];
    let rights = [
        (
            "authorizer.class.name",
            "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        ),
        ("super.users", "User:ANONYMOUS"),
    ];
    KafkaCluster::start(KafkaVersion::Current, 1, &logins, &rights)
});

static RIG: LazyLock<Rig> = LazyLock::new(|| {
    let rig = Rig::assemble(&CLUSTER, Login::Plaintext);
    for team in TEAMS {
        rig.set_password(team, BROKERS_PASSWORD);
        rig.allow(&format!("User:{team}"), &prefix(team));
        // A group of this name is what librdkafka's streams ask for, used or not.
        rig.allow(&format!("User:{team}"), "none");
    }
    rig
});

/// What a team may use at the brokers begins so; the first word is that of a rule that seals.
fn prefix(team: &str) -> String {
    format!("sealed-{team}-")
}

/// A proxy at which `app-1` and others log in, and what it has for them at the brokers.
struct Door {
    proxy: Proxy,
    folder: TempDir,
}

impl Door {
    fn open(login: Login, accounts: &str, sasl: &str) -> Option<Self> {
        Self::open_with(login, "accounts.toml", accounts, sasl, |path| {
            format!("kind = \"per_principal\"\naccounts = {path:?}")
        })
    }

    /// `keys`: of `upstream_login`, by the path of the file with that name and text.
    fn open_with(
        login: Login,
        name: &str,
        text: &str,
        sasl: &str,
        keys: impl Fn(&Path) -> String,
    ) -> Option<Self> {
        let folder = TempDir::new().expect("a folder");
        let users = folder.path().join("users");
        write_clients(&users);
        let path = folder.path().join(name);
        write_secret(&path, text);
        let tls = ProxyTls {
            sasl: Some(format!("credentials = {users:?}\n{sasl}")),
            upstream_login: Some(keys(&path)),
            ..ProxyTls::default()
        };
        Some(Self {
            proxy: RIG.another_proxy_with_tls(login, &tls)?,
            folder,
        })
    }

    fn options(&self, user: &str) -> Options {
        Options::at(self.proxy.bootstrap()).sasl("SCRAM-SHA-512", user, PASSWORD)
    }

    fn accounts(&self) -> PathBuf {
        self.folder.path().join("accounts.toml")
    }

    /// From now on there is an audit log.
    fn audit(&mut self) {
        let file = self.audit_file();
        self.proxy.terminate();
        self.proxy.start_again_with(&[&format!("audit.to={file:?}")]);
    }

    fn audit_file(&self) -> PathBuf {
        self.folder.path().join("audit.jsonl")
    }

    /// The first line of the audit log that has all of `words`; no line has a secret.
    fn audited(&self, words: &[(&str, Value)]) -> Value {
        let text = fs::read_to_string(self.audit_file()).expect("it is read");
        for secret in ["wrong", PASSWORD, BROKERS_PASSWORD] {
            assert!(!text.contains(secret), "{text}");
        }
        let lines = text.lines().map(|line| serde_json::from_str(line).expect("JSON"));
        let mut lines = lines.filter(|line: &Value| words.iter().all(|(field, value)| line[field] == *value));
        lines.next().unwrap_or_else(|| panic!("{words:?} in {text}"))
    }

    fn logins(&self, result: &str) -> f64 {
        let label = format!("result=\"{result}\"");
        self.proxy.metric("sealwire_broker_logins_total", &[&label])
    }
}

/// [`USERS`], each by [`PASSWORD`].
pub(crate) fn write_clients(path: &Path) {
    write_users(path, &USERS.map(|user| (user, PASSWORD)));
}

/// Clients of each library that tells what it is refused with, all at once.
pub(crate) fn assert_nobody_is_let_in(java: &Agent, users: &[&str], options: impl Fn(&str) -> Options) {
    thread::scope(|scope| {
        for agent in [java, shared::librdkafka(), shared::franz_go(), shared::kafkajs()] {
            for user in users {
                let options = options(user);
                scope.spawn(move || {
                    let error = agent
                        .try_reach(&options, Duration::from_secs(10))
                        .expect_err("nobody is let in");
                    let error = error.to_lowercase();
                    assert!(
                        error.contains("the brokers behind the proxy do not take this login"),
                        "{:?} {user}: {error}",
                        agent.library()
                    );
                });
            }
        }
    });
}

fn account(principals: &[&str], mechanism: &str, user: &str, password: &str) -> String {
    format!(
        "[[account]]\nprincipals = {principals:?}\nmechanism = {mechanism:?}\nuser = {user:?}\n\
         password = {password:?}\n"
    )
}

/// `app-1` is the first team by one hash, `app-2` and `app-3` the second by the other.
fn two_teams() -> String {
    let [one, other] = TEAMS;
    account(&["User:app-1"], "SCRAM-SHA-256", one, BROKERS_PASSWORD)
        + &account(
            &["User:app-[^1]", "User:app-*"],
            "SCRAM-SHA-512",
            other,
            BROKERS_PASSWORD,
        )
}

/// Brokers see the team of whom a certificate is shown, and that changes while clients are served.
#[test]
fn certificates_of_accounts_are_followed() {
    let [one, other] = TEAMS;
    let authorities = &certificates::of_brokers().authorities;
    let [first, second] = [one, other].map(|team| {
        RIG.allow(&format!("User:CN={team}"), &prefix(team));
        let files = authorities.client(team, None).files;
        format!(
            "[[account]]\nprincipals = [\"User:app-1\"]\ncertificate = {:?}\nkey = {:?}\n",
            files.certificate, files.key
        )
    });
    let door = Door::open_with(Login::MutualTls, "accounts.toml", &first, "", |path| {
        // The proxy's own is for asking which APIs there are.
        let own = authorities.client("sealwire", None).files;
        format!(
            "kind = \"per_principal\"\naccounts = {path:?}\n[cluster.main.upstream_tls]\nca = {:?}\n\
                 certificate = {:?}\nkey = {:?}",
            authorities.of_servers(),
            own.certificate,
            own.key
        )
    });
    let Some(mut door) = door else {
        return skipped::there_is_no_proxy();
    };
    door.audit();
    let writes = |team: &str| {
        let topic = RIG.topic(&prefix(team), 1);
        let record = Record::new(&topic, "1", CANARY).partition(0);
        let sent = shared::librdkafka().try_produce(&door.options("app-1"), &[record]);
        sent.is_ok_and(|sent| sent.iter().all(|delivery| delivery.error.is_none()))
    };
    assert!(writes(one) && !writes(other));
    assert_eq!(door.logins("failed") + door.logins("refused"), 0.0);
    write_secret(&door.accounts(), &second);
    wait::until("the other certificate is shown", Duration::from_secs(30), || {
        writes(other).then_some(())
    });
    assert!(!writes(one));
    for team in TEAMS {
        door.audited(&[
            ("event", json!("broker_login_accepted")),
            ("principal", json!("User:app-1")),
            ("mechanism", json!("mtls")),
            ("account", json!(format!("CN={team}"))),
        ]);
    }
    door.proxy.terminate();
}

/// Both logins have an end: the client's own, and the one at the broker, which comes apart from it.
#[test]
fn logins_at_brokers_are_renewed_while_records_flow() {
    let _alone = shared::under_load();
    let [one, other] = TEAMS;
    let Some(mut door) = Door::open(
        Login::SaslReauthenticating,
        &two_teams(),
        "session_lifetime = \"6s\"",
    ) else {
        return skipped::there_is_no_proxy();
    };
    door.audit();
    let agents = [RIG.java, shared::librdkafka(), shared::franz_go(), RIG.java];
    let streams = agents
        .into_iter()
        .zip([("app-1", one), ("app-2", other)].into_iter().cycle());
    let streams: Vec<_> = streams
        .map(|(agent, (user, team))| {
            let topic = RIG.topic(&format!("{}flow", prefix(team)), 1);
            let options = door.options(user);
            let producer = agent.stream_produce(&options, &topic, 1, 50);
            let consumer = agent.stream_consume(&options, &From::partitions(&topic, 1));
            (agent, producer, consumer)
        })
        .collect();
    let closed = |door: &Door| {
        ["login_expired", "broker_login", "broker_closed"].map(|reason| {
            let label = format!("reason={reason:?}");
            door.proxy.metric("sealwire_connections_closed_total", &[&label])
        })
    };
    // Clients that find their way end some of their first connections.
    thread::sleep(Duration::from_secs(10));
    let (closed_before, before) = (closed(&door), door.logins("renewed"));
    thread::sleep(Duration::from_secs(30));
    let (closed_after, renewed) = (closed(&door), door.logins("renewed") - before);
    for (agent, producer, consumer) in streams {
        assert_exactly_once(agent, producer, consumer);
    }
    assert_eq!(closed_after, closed_before);
    assert_eq!(door.logins("failed"), 0.0);
    // Eight streams, each every 5 s at the latest, whatever its client does.
    assert!(renewed >= 8.0 * 5.0, "{renewed} logins");
    for (user, mechanism, team) in [
        ("User:app-1", "SCRAM-SHA-256", one),
        ("User:app-2", "SCRAM-SHA-512", other),
    ] {
        for again in [false, true] {
            let line = door.audited(&[
                ("event", json!("broker_login_accepted")),
                ("principal", json!(user)),
                ("kind", json!("per_principal")),
                ("mechanism", json!(mechanism)),
                ("account", json!(team)),
                (
                    "broker",
                    json!(RIG.cluster.bootstrap_of(Login::SaslReauthenticating)),
                ),
                ("node", json!(RIG.cluster.nodes()[0])),
                ("again", json!(again)),
            ]);
            assert!(!line["client"].is_null(), "{line}");
        }
    }
    door.proxy.terminate();
}

/// SERVE-BROKER-LOGIN-1, STANDING-1, STANDING-2
#[test]
fn an_account_that_the_broker_refuses_is_not_tried_again_and_again() {
    let [one, _] = TEAMS;
    let accounts = account(&["User:app-1"], "SCRAM-SHA-512", one, "wrong")
        + &account(&["User:app-2"], "PLAIN", "nobody", "wrong");
    let accounts = accounts.replace("\"PLAIN\"", "\"SCRAM-SHA-256\"");
    let Some(mut door) = Door::open(Login::Sasl, &accounts, "") else {
        return skipped::there_is_no_proxy();
    };
    door.audit();
    assert_nobody_is_let_in(RIG.java, &USERS, |user| door.options(user));
    // 1, 2, 4 s, one after the other, for each of two accounts.
    let output = door.proxy.output();
    assert!(output.contains("the broker refuses the login"), "{output}");
    assert!(output.contains("no account is for this principal"), "{output}");
    for secret in ["wrong", PASSWORD] {
        assert!(!output.contains(secret), "{output}");
    }
    let asked = door.logins("refused");
    assert!((2.0..=10.0).contains(&asked), "{asked}");
    let broker = json!(RIG.cluster.bootstrap_of(Login::Sasl));
    for (user, account) in [
        ("app-1", Some(("SCRAM-SHA-512", one))),
        ("app-2", Some(("SCRAM-SHA-256", "nobody"))),
        ("app-3", None),
    ] {
        let reason = account.map_or("no_account", |_| "refused");
        let (mechanism, name) = account.unzip();
        door.audited(&[
            ("event", json!("broker_login_refused")),
            ("principal", json!(format!("User:{user}"))),
            ("reason", json!(reason)),
            ("mechanism", json!(mechanism)),
            ("account", json!(name)),
            ("broker", account.map_or(Value::Null, |_| broker.clone())),
        ]);
        if let Some((mechanism, name)) = account {
            let told = output.lines().find(|line| {
                line.contains("could not log in at a broker")
                    && line.contains(&format!("\"{mechanism} {name}\""))
            });
            let told = told.unwrap_or_else(|| panic!("{name} in {output}"));
            assert!(told.contains(&format!("User:{user}")), "{told}");
        }
    }
    door.proxy.terminate();
}

/// ACCESS-FILES-1, ACCOUNTS-2
#[test]
fn the_file_of_accounts_is_followed() {
    let [one, _] = TEAMS;
    let accounts = account(&["User:app-1"], "SCRAM-SHA-512", one, "wrong");
    let Some(mut door) = Door::open(Login::Sasl, &accounts, "") else {
        return skipped::there_is_no_proxy();
    };
    let reaches = |user: &str| {
        shared::librdkafka()
            .try_reach(&door.options(user), Duration::from_secs(5))
            .is_ok()
    };
    assert!(!reaches("app-1"));
    write_secret(&door.accounts(), "[[account]]\nprincipals = 7\n");
    wait::until("the log says so", Duration::from_secs(30), || {
        door.proxy.output().contains("cannot be used").then_some(())
    });
    write_secret(
        &door.accounts(),
        &account(&["User:app-1"], "SCRAM-SHA-512", one, BROKERS_PASSWORD),
    );
    wait::until("the right password is used", Duration::from_secs(30), || {
        reaches("app-1").then_some(())
    });
    assert!(!reaches("app-2"));
    door.proxy.terminate();
}

const TEAMS: [&str; 2] = ["team-a", "team-b"];
const USERS: [&str; 3] = ["app-1", "app-2", "app-3"];
pub(crate) const PASSWORD: &str = "clients-secret";
const BROKERS_PASSWORD: &str = "brokers-secret";
const CANARY: &str = "upstream-canary-77b2";
