//! Clients that log in again and again, by passwords and by tokens, in the middle of records: what their logins go by
//! is replaced meanwhile, and none of them notices.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use kafka_protocol::messages::SaslAuthenticateRequest;
use sealwire::testing::tokens::{SigningKey, key_set};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::super::Side;
use super::super::every_way::RIG;
use super::named::replace;
use super::{CANARY, Door, PASSWORD, choice};
use crate::support::agent::Agent;
use crate::support::operations::{From, Options, Stream};
use crate::support::records::Record;
use crate::support::secret_files::write_users;
use crate::support::shared;
use crate::support::skipped;
use crate::support::streams::assert_exactly_once;
use crate::support::wait;

/// Whoever flows: Java, librdkafka and franz-go, each by a password and by a token.
const BY_PASSWORD: [&str; 3] = ["java", "librdkafka", "franz-go"];
const BY_TOKEN: [&str; 3] = ["java-token", "librdkafka-token", "franz-go-token"];
const SESSION: Duration = Duration::from_secs(4);
/// A session, and what a client takes on a busy machine to notice that it is over and to log in.
const SESSION_AND_LOGIN: Duration = Duration::from_secs(5);
/// Each client needs several of them while it is looked at.
const TOKEN: Duration = Duration::from_secs(16);
/// Kafka's TOPIC_AUTHORIZATION_FAILED.
const NOT_NAMED: i16 = 29;
/// In this time a change is what logins go by, says the documentation.
const FOLLOWED_WITHIN: Duration = Duration::from_secs(15);

/// Writes a token of each user anew all the time, until it is dropped.
struct Issuer {
    keys: Sender<Arc<SigningKey>>,
    folder: PathBuf,
}

impl Issuer {
    fn start(key: Arc<SigningKey>) -> Self {
        let folder = TempDir::new().expect("a folder");
        let path = folder.path().to_owned();
        let (keys, next) = channel();
        write_tokens(folder.path(), &key);
        thread::spawn(move || {
            let mut key = key;
            loop {
                match next.recv_timeout(Duration::from_millis(500)) {
                    Ok(next) => key = next,
                    Err(RecvTimeoutError::Timeout) => {}
                    Err(RecvTimeoutError::Disconnected) => return,
                }
                write_tokens(folder.path(), &key);
            }
        });
        Self { keys, folder: path }
    }

    fn token_file(&self, user: &str) -> PathBuf {
        self.folder.join(user)
    }
}

fn write_tokens(folder: &Path, key: &SigningKey) {
    for user in BY_TOKEN {
        replace_file(&folder.join(user), &token(key, user));
    }
}

fn token(key: &SigningKey, user: &str) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is later");
    let now = now.as_secs();
    key.token(&json!({
        "iss": "https://login.example.com", "aud": "kafka", "sub": user, "iat": now, "exp": now + TOKEN.as_secs(),
    }))
}

fn replace_file(path: &Path, text: &str) {
    let new = path.with_extension("new");
    fs::write(&new, text).expect("written");
    fs::rename(new, path).expect("renamed");
}

/// A proxy at which clients log in by passwords and by tokens, and those who do all the time.
struct Flow {
    door: Door,
    /// Of the key set.
    keys: PathBuf,
    issuer: Issuer,
    /// By which tokens are signed at first.
    first: Arc<SigningKey>,
    streams: Vec<(&'static Agent, Stream, Stream)>,
    /// Accepted logins of each client's address, once all have settled.
    early: Logins,
    _folder: TempDir,
}

/// By principal and address, how many were accepted.
type Logins = BTreeMap<(String, String), usize>;

impl Flow {
    /// `prepare`: of the proxy, before anybody comes.
    fn start(prepare: impl FnOnce(&mut Door)) -> Option<Self> {
        let (folder, first) = (
            TempDir::new().expect("a folder"),
            Arc::new(SigningKey::ec("first")),
        );
        let keys = folder.path().join("jwks.json");
        replace_file(&keys, &key_set([&*first]));
        let more = format!(
            "mechanisms = [\"SCRAM-SHA-512\", \"SCRAM-SHA-256\", \"OAUTHBEARER\"]\nsession_lifetime = \"{}s\"\n\
             [cluster.main.listeners.sasl.oauthbearer]\njwks_file = {keys:?}\n\
             issuer = \"https://login.example.com\"\naudience = [\"kafka\"]\nalgorithms = [\"ES256\"]",
            SESSION.as_secs()
        );
        let mut door = Door::open(Side::Tls, &more)?;
        let audit = door.folder.path().join("audit.jsonl");
        replace(
            &door,
            &[("[admin]", &format!("[audit]\nto = {audit:?}\n[admin]"))],
        );
        let users = BY_PASSWORD.map(|user| (user, PASSWORD));
        write_users(&door.users(), &users);
        prepare(&mut door);
        door.restart(&[]);
        let mut flow = Self {
            door,
            keys,
            issuer: Issuer::start(Arc::clone(&first)),
            first,
            streams: Vec::new(),
            early: Logins::new(),
            _folder: folder,
        };
        flow.begin();
        Some(flow)
    }

    fn begin(&mut self) {
        let agents = [RIG.java, shared::librdkafka(), shared::franz_go()];
        for (number, agent) in agents.into_iter().enumerate() {
            let password = self.door.options("SCRAM-SHA-512", BY_PASSWORD[number], PASSWORD);
            let token = self.by_token(BY_TOKEN[number]);
            for options in [password, token] {
                let options = options.set("idempotent", true);
                let topic = RIG.topic("sealed-flow", 1);
                let producer = agent.stream_produce(&options, &topic, 1, 50);
                let consumer = agent.stream_consume(&options, &From::partitions(&topic, 1));
                self.streams.push((agent, producer, consumer));
            }
        }
        for (agent, _, consumer) in &self.streams {
            agent.stream_await(consumer, 100);
        }
        self.early = self.logins();
    }

    fn by_token(&self, user: &str) -> Options {
        let options = Options::at(self.door.proxy.bootstrap()).bearer(&self.issuer.token_file(user));
        options.tls(self.door.tls.as_ref().expect("it has TLS"))
    }

    /// Of those who flow.
    fn logins(&self) -> Logins {
        let text = fs::read_to_string(self.door.folder.path().join("audit.jsonl")).expect("it is written");
        let mut logins = Logins::new();
        // The last line may be under way.
        for line in text
            .lines()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        {
            let principal = line["principal"].as_str().unwrap_or_default();
            let user = principal.trim_start_matches("User:");
            let flows = BY_PASSWORD.contains(&user) || BY_TOKEN.contains(&user);
            if line["event"] == "login_accepted" && flows {
                let client = line["client"].as_str().expect("an address").to_owned();
                *logins.entry((user.to_owned(), client)).or_default() += 1;
            }
        }
        logins
    }

    fn closed(&self, reason: &str) -> f64 {
        let label = format!("reason={reason:?}");
        let proxy = &self.door.proxy;
        proxy.metric("sealwire_connections_closed_total", &[&label])
    }

    fn counted(&self, result: &str) -> f64 {
        let label = format!("result={result:?}");
        self.door.proxy.metric("sealwire_logins_total", &[&label])
    }

    /// Panics unless each client has logged in as often as `time` implies since [`Self::early`], on the connections
    /// that it had by then, and nothing was lost, nor doubled.
    fn end(mut self, time: Duration) {
        let late = self.logins();
        let expired = self.closed("login_expired");
        for (agent, producer, consumer) in self.streams.drain(..) {
            assert_exactly_once(agent, producer, consumer);
        }
        assert_eq!(expired, 0.0);
        let each = time.as_secs() / SESSION_AND_LOGIN.as_secs();
        for user in BY_PASSWORD.into_iter().chain(BY_TOKEN) {
            let of = |logins: &Logins| logins.iter().filter(|entry| entry.0.0 == user).count();
            assert_eq!(of(&late), of(&self.early), "{user} has connected again: {late:?}");
            let renewed = late.iter().filter(|entry| entry.0.0 == user);
            let renewed = renewed.filter(|(client, logins)| {
                let before = self.early.get(*client).copied().unwrap_or_default();
                (**logins - before) as u64 >= each
            });
            assert!(
                renewed.count() >= 2,
                "a producer and a consumer of {user}: {late:?}"
            );
        }
        self.door.proxy.terminate();
    }

    /// Whoever comes with this token: `None` where he is not let in, or the error by which a topic's records are
    /// refused him, 0 for none.
    fn fetch_by(&self, token: &str, topic: &str) -> Option<i16> {
        let mut client = self.door.connect();
        assert_eq!(client.ask(1, &choice("OAUTHBEARER")).error_code, 0);
        let message = format!("n,,\u{1}auth=Bearer {token}\u{1}\u{1}");
        let request = SaslAuthenticateRequest::default().with_auth_bytes(message.into());
        let answer = client.ask(1, &request);
        if !answer.auth_bytes.is_empty() {
            let text = String::from_utf8_lossy(&answer.auth_bytes);
            assert!(text.contains("invalid_token"), "{text}");
            return None;
        }
        assert_eq!(answer.error_code, 0, "{:?}", answer.error_message);
        Some(client.fetch(&[topic])[0].error_code)
    }

    fn until_followed(&self, what: &str, change: impl FnOnce()) {
        let told = || {
            let log = self.door.proxy.output();
            let lines = log.lines().filter(|line| line.contains(what));
            lines
                .filter(|line| line.contains("go by what it holds now"))
                .count()
        };
        let before = told();
        change();
        wait::until(what, FOLLOWED_WITHIN, || (told() > before).then_some(()));
    }
}

/// Later logins (KIP-368), on the connections that there are; tokens end as well, and are replaced by newer ones.
#[test]
fn logins_are_renewed_while_records_flow() {
    let _alone = shared::under_load();
    let Some(flow) = Flow::start(|_| {}) else {
        return skipped::there_is_no_proxy();
    };
    let before = flow.counted("accepted");
    let time = Duration::from_secs(30);
    wait::pause(time);
    let renewed = flow.counted("accepted") - before;
    // A producer and a consumer of each.
    let clients = 2 * (BY_PASSWORD.len() + BY_TOKEN.len());
    let implied = clients as f64 * (time.as_secs() / SESSION_AND_LOGIN.as_secs()) as f64;
    assert!(renewed >= implied, "{renewed} logins, {implied} implied");
    assert_eq!(flow.counted("refused"), 0.0);
    flow.end(time);
}

/// ACCESS-FILES-1, ACCESS-2: users, a group and keys come and go, and those who stay lose nothing.
#[test]
fn what_logins_go_by_is_replaced_while_records_flow() {
    let _alone = shared::under_load();
    let folder = TempDir::new().expect("a folder");
    let group = folder.path().join("readers.group");
    write_group(&group, &["eve"]);
    let flow = Flow::start(|door| {
        write_users(
            &door.users(),
            &with_others(&[("bob", PASSWORD), ("carol", PASSWORD)]),
        );
        let groups = format!("[cluster.main.groups]\nreaders = {group:?}\n[[cluster.main.listeners]]");
        let open = "open_for = [\"User:nobody\", \"group:readers\"]";
        replace(
            door,
            &[
                ("open_for = [\"User:*\"]", open),
                ("[[cluster.main.listeners]]", &groups),
            ],
        );
    });
    let Some(flow) = flow else {
        return skipped::there_is_no_proxy();
    };
    let begun = SystemTime::now();
    replace_users(&flow);
    replace_group(&flow, &group);
    replace_keys(&flow);
    // By then each has logged in by the last state of all.
    wait::pause(2 * SESSION);
    flow.end(begun.elapsed().expect("it is later"));
}

/// One is removed, one added, and one has another password.
fn replace_users(flow: &Flow) {
    let try_reach = |user: &str, password: &str| {
        let options = flow.door.options("SCRAM-SHA-256", user, password);
        shared::librdkafka().try_reach(&options, Duration::from_secs(4))
    };
    for user in ["bob", "carol"] {
        try_reach(user, PASSWORD).unwrap_or_else(|error| panic!("{user}: {error}"));
    }
    let users = with_others(&[("carol", "another"), ("dave", PASSWORD)]);
    flow.until_followed("the credentials file", || write_users(&flow.door.users(), &users));
    for (user, password) in [("carol", "another"), ("dave", PASSWORD)] {
        try_reach(user, password).unwrap_or_else(|error| panic!("{user}: {error}"));
    }
    for user in ["bob", "carol"] {
        let error = try_reach(user, PASSWORD).expect_err(user).to_lowercase();
        assert!(error.contains("authentication failed"), "{user}: {error}");
    }
}

/// One is taken out of it and one put in.
fn replace_group(flow: &Flow, group: &Path) {
    let topic = RIG.topic("sealed-flow", 1);
    let record = Record::new(&topic, "1", CANARY).partition(0);
    let options = flow.door.options("SCRAM-SHA-256", "dave", PASSWORD);
    assert_eq!(RIG.java.produce(&options, &[record])[0].error, None);
    let fetch = |user: &str| flow.fetch_by(&token(&flow.first, user), &topic);
    assert_eq!((fetch("eve"), fetch("frank")), (Some(0), Some(NOT_NAMED)));
    flow.until_followed("the file of a group", || write_group(group, &["frank"]));
    assert_eq!((fetch("eve"), fetch("frank")), (Some(NOT_NAMED), Some(0)));
}

/// One is added, by which all tokens are signed from then on; then the one before is removed.
fn replace_keys(flow: &Flow) {
    let topic = RIG.topic("sealed-flow", 1);
    let next = Arc::new(SigningKey::ec("second"));
    let is_let_in = |key: &SigningKey| flow.fetch_by(&token(key, "grace"), &topic).is_some();
    let in_either = || (is_let_in(&flow.first), is_let_in(&next));
    assert_eq!(in_either(), (true, false));
    let set = |text: String| flow.until_followed("the key set", || replace_file(&flow.keys, &text));
    set(key_set([&*flow.first, &*next]));
    assert_eq!(in_either(), (true, true));
    flow.issuer.keys.send(Arc::clone(&next)).expect("it goes on");
    // Until the last token by the first key has ended.
    wait::pause(TOKEN + Duration::from_secs(1));
    set(key_set([&*next]));
    assert_eq!(in_either(), (false, true));
}

/// Those who flow, and others.
fn with_others<'a>(others: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let flowing = BY_PASSWORD.map(|user| (user, PASSWORD));
    [&flowing[..], others].concat()
}

fn write_group(path: &Path, others: &[&str]) {
    let members = BY_PASSWORD.iter().chain(&BY_TOKEN).chain(others);
    let lines: Vec<_> = members.map(|user| format!("User:{user}\n")).collect();
    replace_file(path, &lines.concat());
}
