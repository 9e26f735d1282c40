//! Clients log in at the proxy, and no broker hears of it: each mechanism with each library, over TLS and without,
//! later logins in the middle of records, and who is not let in.

pub(crate) mod administrators;
mod audited;
mod compared;
mod fetched;
mod forwarded;
mod guessed;
mod named;
mod noticed;
mod timing;
mod under_load;

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use kafka_protocol::messages::{ApiVersionsRequest, SaslAuthenticateRequest, SaslHandshakeRequest};
use kafka_protocol::protocol::StrBytes;
use rustls::ClientConnection;
use rustls::pki_types::ServerName;
use sealwire::testing::tokens::{SigningKey, key_set};
use sealwire::testing::{HttpsServer, Published};
use serde_json::json;
use tempfile::TempDir;

use super::every_way::RIG;
use super::resumed::resuming;
use super::{Side, client_tls, proxy_tls};
use crate::support::agent::Agent;
use crate::support::broker_properties::Login;
use crate::support::kcat;
use crate::support::operations::{ClientTls, From, Options, Outcome};
use crate::support::proxy::{Proxy, ProxyTls};
use crate::support::raw_client::RawClient;
use crate::support::records::{Record, assert_delivered, assert_same};
use crate::support::secret_files::write_users;
use crate::support::shared;
use crate::support::skipped;
use crate::support::wait;

/// One of each library.
fn agents() -> [&'static Agent; 5] {
    [
        RIG.java,
        shared::librdkafka(),
        shared::franz_go(),
        shared::aiokafka(),
        shared::kafkajs(),
    ]
}

/// A proxy at which clients log in.
struct Door {
    proxy: Proxy,
    tls: Option<ClientTls>,
    folder: TempDir,
}

impl Door {
    /// `more`: keys of the listener's `sasl`.
    fn open(side: Side, more: &str) -> Option<Self> {
        let folder = TempDir::new().expect("a folder");
        let path = folder.path().join("users");
        write_users(&path, &[(USER, PASSWORD)]);
        let tls = ProxyTls {
            sasl: Some(format!("credentials = {path:?}\n{more}")),
            ..proxy_tls(side, Side::Plain)
        };
        Some(Self {
            proxy: RIG.another_proxy_with_tls(Login::Plaintext, &tls)?,
            tls: client_tls(side, true),
            folder,
        })
    }

    fn connect(&self) -> RawClient {
        let address = self.proxy.bootstrap();
        let name = ServerName::try_from("localhost").expect("a name");
        let session = ClientConnection::new(Arc::new(resuming(true)), name);
        RawClient::connect_with(&address, session.expect("a session")).expect("hands are shaken")
    }

    fn options(&self, mechanism: &str, user: &str, password: &str) -> Options {
        let options = Options::at(self.proxy.bootstrap()).sasl(mechanism, user, password);
        match &self.tls {
            Some(tls) => options.tls(tls),
            None => options,
        }
    }

    fn try_agent(&self, agent: &Agent, mechanism: &str) {
        let topic = RIG.topic("sealed-login", 2);
        let options = self.options(mechanism, USER, PASSWORD);
        let sent: Vec<_> = (0..20)
            .map(|number| Record::new(&topic, number.to_string(), CANARY).partition(number % 2))
            .collect();
        let deliveries = agent.produce(&options, &sent);
        let group = options.clone().group(&topic, "classic");
        let read = agent.consume(&group, &From::topic(&topic), sent.len());
        assert_same(&sent, &deliveries, &read);
        let transactions = [(Outcome::Commit, sent.clone())];
        assert_delivered(&agent.transact(&options.clone().transactional(&topic), &transactions));
        let wrong = self.options(mechanism, USER, "wrong");
        let error = agent
            .try_reach(&wrong, Duration::from_secs(10))
            .expect_err("a wrong password");
        let error = error.to_lowercase();
        assert!(
            error.contains("authentication failed"),
            "{:?} {mechanism}: {error}",
            agent.library()
        );
    }

    /// With other settings, and one executor.
    fn restart(&mut self, settings: &[&str]) {
        self.proxy.terminate();
        let settings = [&["runtime.executors=1"], settings].concat();
        self.proxy.start_again_with(&settings);
    }

    fn users(&self) -> PathBuf {
        self.folder.path().join("users")
    }
}

#[test]
fn each_mechanism_with_each_library() {
    for (side, mechanisms) in [(Side::Tls, &ALL[..]), (Side::Plain, &ALL[..2])] {
        let names = mechanisms
            .iter()
            .map(|name| format!("{name:?}"))
            .collect::<Vec<_>>();
        let Some(mut door) = Door::open(side, &format!("mechanisms = [{}]", names.join(", "))) else {
            return skipped::there_is_no_proxy();
        };
        thread::scope(|scope| {
            for agent in agents() {
                let door = &door;
                scope.spawn(move || {
                    mechanisms
                        .iter()
                        .for_each(|mechanism| door.try_agent(agent, mechanism))
                });
            }
        });
        door.proxy.terminate();
    }
}

/// The tool that operators have at hand, with an old librdkafka: it logs in nowhere where it is not told of version 0
/// of SaslHandshake, and by SCRAM it says another nonce than was agreed on, which is refused.
#[test]
fn kcat_logs_in_by_plain() {
    let Some(mut door) = Door::open(Side::Tls, "mechanisms = [\"PLAIN\", \"SCRAM-SHA-256\"]") else {
        return skipped::there_is_no_proxy();
    };
    // It takes a comma for the end of a property.
    write_users(&door.users(), &[("kcat", "secret")]);
    door.restart(&[]);
    let bootstrap = door.proxy.bootstrap();
    let properties = |mechanism: &str, password: &str| {
        let tls = door.tls.as_ref().map_or_else(Vec::new, ClientTls::librdkafka);
        let login = [
            "security.protocol=sasl_ssl".to_owned(),
            format!("sasl.mechanism={mechanism}"),
            "sasl.username=kcat".to_owned(),
            format!("sasl.password={password}"),
        ];
        [tls, login.to_vec()].concat()
    };
    let topic = RIG.topic("sealed-kcat", 1);
    let right = properties("PLAIN", "secret");
    let right: Vec<&str> = right.iter().map(String::as_str).collect();
    kcat::produce(&bootstrap, &topic, 0, &right, &[], &[("key", CANARY)]);
    let read = kcat::consume(&bootstrap, &topic, 0, &right);
    assert_eq!(read[0].value.as_deref(), Some(CANARY));
    for (mechanism, password) in [("PLAIN", "wrong"), ("SCRAM-SHA-256", "secret")] {
        let wrong = properties(mechanism, password);
        let wrong: Vec<&str> = wrong.iter().map(String::as_str).collect();
        let told = kcat::try_reach(&bootstrap, &wrong, Duration::from_secs(5)).expect_err("it is refused");
        assert!(told.contains("Authentication failed"), "{mechanism}: {told}");
    }
    door.proxy.terminate();
}

/// ACCESS-FILES-1, ACCESS-FILES-2: who is taken out of the file cannot log in any more, who is put in can,
/// and what cannot be read changes nothing.
#[test]
fn the_file_is_followed() {
    let Some(mut door) = Door::open(Side::Tls, "session_lifetime = \"1h\"") else {
        return skipped::there_is_no_proxy();
    };
    let reaches = |user: &str| {
        let options = door.options("SCRAM-SHA-256", user, PASSWORD);
        shared::librdkafka()
            .try_reach(&options, Duration::from_secs(5))
            .is_ok()
    };
    assert!(reaches(USER) && !reaches("bob"));
    fs::write(door.users(), "no such line").expect("written");
    let until_log_says = |what: &str| {
        wait::until(what, Duration::from_secs(30), || {
            door.proxy.output().contains(what).then_some(())
        });
    };
    until_log_says("the credentials file has changed and cannot be used");
    assert!(reaches(USER));
    write_users(&door.users(), &[("bob", PASSWORD)]);
    until_log_says("logins go by what it holds now");
    assert!(reaches("bob") && !reaches(USER));
    door.proxy.terminate();
}

/// Tokens: a listener that knows no password.
struct TokenDoor {
    door: Door,
    key: SigningKey,
}

impl TokenDoor {
    /// Tokens that a file has the key of; `more` is said of logins.
    fn open(more: &str) -> Option<Self> {
        let folder = TempDir::new().expect("a folder");
        let key = SigningKey::rsa("first");
        let set = folder.path().join("jwks.json");
        fs::write(&set, key_set([&key])).expect("written");
        let source = format!("jwks_file = {set:?}");
        Self::open_with(folder, key, &source, more)
    }

    /// The set of keys is fetched from there.
    fn at_issuer(issuer: &HttpsServer, key: SigningKey) -> Option<Self> {
        let folder = TempDir::new().expect("a folder");
        let ca = folder.path().join("issuer.pem");
        fs::write(&ca, issuer.authority()).expect("written");
        let source = format!("jwks_url = {:?}\njwks_ca = {ca:?}", issuer.url());
        Self::open_with(folder, key, &source, "")
    }

    /// The same of any source.
    fn open_with(folder: TempDir, key: SigningKey, source: &str, more: &str) -> Option<Self> {
        let sasl = format!(
            "mechanisms = [\"OAUTHBEARER\"]\n{more}\n[cluster.main.listeners.sasl.oauthbearer]\n\
             {source}\nissuer = \"https://login.example.com\"\naudience = [\"kafka\"]\n\
             algorithms = [\"RS256\", \"ES256\"]"
        );
        let tls = ProxyTls {
            sasl: Some(sasl),
            ..proxy_tls(Side::Tls, Side::Plain)
        };
        let door = Door {
            proxy: RIG.another_proxy_with_tls(Login::Plaintext, &tls)?,
            tls: client_tls(Side::Tls, true),
            folder,
        };
        Some(Self { door, key })
    }

    /// Options with a token of `user` that lasts for so many seconds.
    fn options(&self, key: &SigningKey, user: &str, seconds: u64) -> Options {
        let path = self.door.folder.path().join(format!("{user}-{seconds}.jwt"));
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is later");
        let now = now.as_secs();
        let claims = json!({
            "iss": "https://login.example.com", "aud": "kafka", "sub": user, "iat": now - 100, "exp": now + seconds,
        });
        fs::write(&path, key.token(&claims)).expect("written");
        let options = Options::at(self.door.proxy.bootstrap()).bearer(&path);
        options.tls(self.door.tls.as_ref().expect("it has TLS"))
    }
}

#[test]
fn each_library_logs_in_by_a_token() {
    let Some(mut tokens) = TokenDoor::open("") else {
        return skipped::there_is_no_proxy();
    };
    let stranger = SigningKey::rsa("first");
    let agents = agents();
    for (number, agent) in agents.into_iter().enumerate() {
        let topic = RIG.topic("sealed-login", 1);
        let options = tokens.options(&tokens.key, &format!("user-{number}"), 600);
        let sent: Vec<_> = (0..20)
            .map(|number| Record::new(&topic, number.to_string(), CANARY).partition(0))
            .collect();
        let deliveries = agent.produce(&options, &sent);
        let group = options.clone().group(&topic, "classic");
        assert_same(
            &sent,
            &deliveries,
            &agent.consume(&group, &From::topic(&topic), sent.len()),
        );
        let transactions = [(Outcome::Commit, sent.clone())];
        assert_delivered(&agent.transact(&options.clone().transactional(&topic), &transactions));
        let wrong = tokens.options(&stranger, &format!("stranger-{number}"), 600);
        // In words of its own: not every library reads what a token is refused with.
        let reached = agent.try_reach(&wrong, Duration::from_secs(10));
        assert!(reached.is_err(), "{:?}", agent.library());
    }
    let log = tokens.door.proxy.output();
    assert!(
        log.contains("OAUTHBEARER: the token's signature is wrong"),
        "{log}"
    );
    // Not every library waits for the last word.
    let refused = tokens
        .door
        .proxy
        .metric("sealwire_logins_total", &["result=\"refused\""]);
    assert!(refused >= agents.len() as f64, "{refused}");
    tokens.door.proxy.terminate();
}

/// ACCESS-FILES-1: a key that has come is for the next login, and one that has gone as well.
#[test]
fn the_key_set_is_followed() {
    let Some(mut tokens) = TokenDoor::open("") else {
        return skipped::there_is_no_proxy();
    };
    let next = SigningKey::ec("second");
    let reaches = |key: &SigningKey| {
        let options = tokens.options(key, "alice", 600);
        let reached = shared::librdkafka().try_reach(&options, Duration::from_secs(5));
        reached.is_ok()
    };
    let until_log_says = |what: &str| {
        wait::until(what, Duration::from_secs(30), || {
            tokens.door.proxy.output().contains(what).then_some(())
        });
    };
    let set = tokens.door.folder.path().join("jwks.json");
    assert!(reaches(&tokens.key) && !reaches(&next));
    fs::write(&set, "<html>").expect("written");
    until_log_says("the key set of oauthbearer has changed and cannot be used");
    assert!(reaches(&tokens.key));
    fs::write(&set, key_set([&next])).expect("written");
    until_log_says("the key set of oauthbearer has changed: logins go by what it holds now");
    assert!(reaches(&next) && !reaches(&tokens.key));
    tokens.door.proxy.terminate();
}

/// KEY-SETS-1, UNKNOWN-KEYS-1: clients with a new key get in by themselves, and those with the known one whatever
/// becomes of the issuer.
#[test]
fn the_key_set_is_fetched_when_a_token_names_a_new_key() {
    let (key, next) = (SigningKey::rsa("first"), SigningKey::ec("second"));
    let issuer = HttpsServer::start(Published::Text(key_set([&key])));
    let Some(mut tokens) = TokenDoor::at_issuer(&issuer, key) else {
        return skipped::there_is_no_proxy();
    };
    let reach = |key: &SigningKey, agent: &Agent, user: &str| {
        let options = tokens.options(key, user, 600);
        agent.try_reach(&options, Duration::from_secs(40))
    };
    let agents = agents();
    reach(&tokens.key, RIG.java, "known").expect("its key is in the set");
    // Once for logins, and once by the self-check.
    wait::until("both have asked", Duration::from_secs(10), || {
        (issuer.asked() == 2).then_some(())
    });
    // It has a new key: whoever comes with it is let in before he gives up.
    issuer.publish(Published::Text(key_set([&tokens.key, &next])));
    for (number, agent) in agents.into_iter().enumerate() {
        let reached = reach(&next, agent, &format!("new-{number}"));
        reached.unwrap_or_else(|error| panic!("{:?}: {error}", agent.library()));
    }
    assert_eq!(issuer.asked(), 3);
    // It hangs, and somebody makes ids up: nobody else notices.
    issuer.publish(Published::Silence);
    let stranger = SigningKey::ec("third");
    let refused = tokens.options(&stranger, "stranger", 600);
    let reached = shared::librdkafka().try_reach(&refused, Duration::from_secs(5));
    assert!(reached.is_err());
    for key in [&tokens.key, &next] {
        reach(key, shared::librdkafka(), "known").expect("the last set is in force");
    }
    wait::until(
        "it is told that the issuer hangs",
        Duration::from_secs(40),
        || {
            let log = tokens.door.proxy.output();
            log.contains("the key set of oauthbearer cannot be fetched")
                .then_some(())
        },
    );
    tokens.door.proxy.terminate();
}

fn handshake(client: &mut RawClient, mechanism: &str) -> i16 {
    client.ask(1, &choice(mechanism)).error_code
}

/// The code, what is said, and how long the login is good for.
fn authenticate(client: &mut RawClient, password: &str) -> (i16, String, i64) {
    let token = format!("\0{USER}\0{password}").into();
    let answer = client.ask(1, &SaslAuthenticateRequest::default().with_auth_bytes(token));
    let text = answer
        .error_message
        .map_or(String::new(), |text| text.to_string());
    (answer.error_code, text, answer.session_lifetime_ms)
}

/// SERVE-LOGIN-1, SERVE-LOGIN-2, SERVE-LOGIN-3, OFFERED-1
#[test]
fn nothing_is_done_for_whoever_has_not_logged_in() {
    let Some(mut door) = Door::open(Side::Tls, "mechanisms = [\"PLAIN\"]") else {
        return skipped::there_is_no_proxy();
    };
    let broker = RIG.cluster.bootstrap_of(Login::Plaintext);
    let port = broker
        .rsplit(':')
        .next()
        .and_then(|port| port.parse().ok())
        .expect("a port");
    // Of those who ask which APIs there are none gets a connection to the broker.
    let mut asking: Vec<_> = (0..20).map(|_| door.connect()).collect();
    for client in &mut asking {
        let answer = client.ask(0, &ApiVersionsRequest::default());
        assert_eq!(answer.error_code, 0);
        assert!(answer.api_keys.iter().any(|api| api.api_key == 3));
    }
    let connected = door.proxy.connections_to(port);
    assert_eq!(
        connected, 0,
        "connections to the broker before anybody has logged in"
    );
    // Anything else ends the connection, in every state of the login.
    let [mut early, mut within, mut refused, mut all_at_once, ..] = <[RawClient; 20]>::try_from(asking)
        .map_err(|_| "twenty")
        .expect("as many as were made");
    assert_eq!(early.log_dirs(), None);
    assert_eq!(handshake(&mut within, "PLAIN"), 0);
    assert_eq!(within.coordinator("group").0, 34);
    assert_eq!(within.log_dirs(), None);
    assert_eq!(handshake(&mut door.connect(), "SCRAM-SHA-256"), 33);
    let begun = Instant::now();
    assert_eq!(handshake(&mut refused, "PLAIN"), 0);
    let (code, text, _) = authenticate(&mut refused, "wrong");
    assert_eq!(
        (code, text.as_str()),
        (58, "Authentication failed: Invalid username or password")
    );
    assert!(
        begun.elapsed() >= Duration::from_millis(300),
        "{:?}",
        begun.elapsed()
    );
    assert_eq!(refused.receive_frame_if_any(), None);
    assert_eq!(door.proxy.connections_to(port), 0);
    // What is behind the token is not lost.
    let (handshaken, logged_in, answer) = all_at_once.pipeline_plain(USER, PASSWORD);
    assert_eq!((handshaken, logged_in), (0, 0));
    assert!(answer.len() > 4 + 4 + 4, "{answer:?}");
    assert_eq!(door.proxy.connections_to(port), 1);
    door.proxy.terminate();
}

/// RELOGIN-1, RELOGIN-2, RELOGIN-3, LOGIN-5
#[test]
fn a_login_has_an_end_and_later_ones_have_their_rules() {
    let Some(mut door) = Door::open(Side::Tls, "mechanisms = [\"PLAIN\"]\nsession_lifetime = \"2s\"") else {
        return skipped::there_is_no_proxy();
    };
    let log_in = || {
        let mut client = door.connect();
        assert_eq!(handshake(&mut client, "PLAIN"), 0);
        assert_eq!(authenticate(&mut client, PASSWORD), (0, String::new(), 2000));
        client
    };
    let (mut late, mut renewed, mut wrong, mut hasty) = (log_in(), log_in(), log_in(), log_in());
    // Too soon after the last one: refused, and nothing else happens.
    assert_eq!(handshake(&mut renewed, "PLAIN"), 34);
    assert_eq!(authenticate(&mut renewed, PASSWORD).0, 34);
    assert!(renewed.log_dirs().is_some());
    thread::sleep(Duration::from_millis(1100));
    for client in [&mut renewed, &mut wrong, &mut hasty] {
        assert_eq!(handshake(client, "PLAIN"), 0);
    }
    assert_eq!(hasty.coordinator("group").0, 34);
    assert_eq!(hasty.receive_frame_if_any(), None);
    assert_eq!(authenticate(&mut renewed, PASSWORD), (0, String::new(), 2000));
    assert_eq!(authenticate(&mut wrong, "wrong").0, 58);
    assert_eq!(wrong.receive_frame_if_any(), None);
    thread::sleep(Duration::from_millis(1100));
    assert_eq!(late.log_dirs(), None);
    assert!(renewed.log_dirs().is_some());
    thread::sleep(Duration::from_millis(1100));
    assert_eq!(renewed.log_dirs(), None);
    let closed = |reason: &str| {
        let reason = format!("reason=\"{reason}\"");
        door.proxy.metric("sealwire_connections_closed_total", &[&reason])
    };
    assert_eq!((closed("login_expired"), closed("login_failed")), (2.0, 2.0));
    let logins = |result: &str| {
        door.proxy
            .metric("sealwire_logins_total", &[&format!("result=\"{result}\"")])
    };
    assert_eq!((logins("accepted"), logins("refused")), (5.0, 2.0));
    door.proxy.terminate();
}

/// Where logins have no end there is one of each connection.
#[test]
fn a_second_login_is_refused_where_none_was_offered() {
    let Some(mut door) = Door::open(Side::Tls, "mechanisms = [\"PLAIN\"]") else {
        return skipped::there_is_no_proxy();
    };
    let mut client = door.connect();
    assert_eq!(handshake(&mut client, "PLAIN"), 0);
    assert_eq!(authenticate(&mut client, PASSWORD), (0, String::new(), 0));
    thread::sleep(Duration::from_millis(1100));
    assert_eq!(handshake(&mut client, "PLAIN"), 34);
    assert!(client.log_dirs().is_some());
    door.proxy.terminate();
}

fn choice(mechanism: &str) -> SaslHandshakeRequest {
    SaslHandshakeRequest::default().with_mechanism(StrBytes::from_string(mechanism.to_owned()))
}

/// Each at its bound, and counted.
#[test]
fn addresses_and_principals_have_their_shares() {
    let Some(mut door) = Door::open(Side::Tls, "mechanisms = [\"PLAIN\"]") else {
        return skipped::there_is_no_proxy();
    };
    let closed = |door: &Door, reason: &str| {
        let reason = format!("reason=\"{reason}\"");
        door.proxy.metric("sealwire_connections_closed_total", &[&reason])
    };
    let log_in = |door: &Door, password: &str| {
        let mut client = door.connect();
        assert_eq!(handshake(&mut client, "PLAIN"), 0);
        (authenticate(&mut client, password).0, client)
    };
    door.restart(&["limits.connections_per_principal_max=1"]);
    let (_, mut first) = log_in(&door, PASSWORD);
    assert!(first.log_dirs().is_some());
    assert_eq!(log_in(&door, PASSWORD).1.receive_frame_if_any(), None);
    assert_eq!(closed(&door, "principal_limit"), 1.0);
    drop(first);
    wait::until("the place of one who has left", Duration::from_secs(10), || {
        log_in(&door, PASSWORD).1.log_dirs()
    });

    door.restart(&["limits.connections_per_address_max=2"]);
    let _both = [door.connect(), door.connect()];
    RawClient::connect(&door.proxy.bootstrap()).assert_closed();
    assert_eq!(closed(&door, "address_limit"), 1.0);

    door.restart(&["limits.failed_logins_per_address_max=3"]);
    for _ in 0..3 {
        assert_eq!(log_in(&door, "wrong").0, 58);
    }
    assert_eq!(
        door.connect().receive_frame_if_any(),
        None,
        "whatever the password"
    );
    assert_eq!(closed(&door, "login_limit"), 1.0);
    door.proxy.terminate();
}

const ALL: [&str; 3] = ["SCRAM-SHA-512", "SCRAM-SHA-256", "PLAIN"];
/// With what names may have.
const USER: &str = "alice=a,b ü";
const PASSWORD: &str = "pass, =word ü";
/// In every value: what must not be found at rest.
const CANARY: &str = "login-canary-71aa";
