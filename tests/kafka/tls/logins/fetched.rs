//! The proxy's own tokens, fetched from whoever gives them, for brokers that verify them.

use std::fs;
use std::path::PathBuf;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use sealwire::testing::tokens::{SigningKey, key_set};
use sealwire::testing::{HttpsServer, Published};
use serde_json::json;
use tempfile::TempDir;

use super::compared::tokens::broker;
use crate::support::broker_properties::Login;
use crate::support::cluster::KafkaCluster;
use crate::support::operations::{From, Options};
use crate::support::proxy::{Proxy, ProxyTls};
use crate::support::rig::Rig;
use crate::support::secret_files::write_secret;
use crate::support::shared;
use crate::support::skipped;
use crate::support::streams::assert_exactly_once;
use crate::support::wait;
use crate::upstream_logins::{PASSWORD, write_clients};

static FOLDER: LazyLock<TempDir> = LazyLock::new(|| TempDir::new().expect("a folder"));
static KEY: LazyLock<SigningKey> = LazyLock::new(|| SigningKey::rsa("own"));

/// Whoever comes without a login is its administrator; the proxy's own tokens may use one prefix.
static CLUSTER: LazyLock<KafkaCluster> = LazyLock::new(|| {
    let set = FOLDER.path().join("brokers-jwks.json");
    fs::write(&set, key_set([&*KEY])).expect("written");
    let rights = [
        (
            "authorizer.class.name",
            "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        ),
        ("super.users", "User:ANONYMOUS"),
    ];
    broker(set.to_str().expect("a name"), &rights)
});
static RIG: LazyLock<Rig> = LazyLock::new(|| {
    let rig = Rig::assemble(&CLUSTER, Login::Plaintext);
    for prefix in [PREFIX, "none"] {
        rig.allow("User:sealwire", prefix);
    }
    rig
});

/// A proxy that fetches its tokens, and whoever gives them.
struct Door {
    proxy: Proxy,
    giver: HttpsServer,
    secret: PathBuf,
    _folder: TempDir,
}

impl Door {
    fn open(published: Published, secret: &str) -> Option<Self> {
        let folder = TempDir::new().expect("a folder");
        let giver = HttpsServer::start(published);
        let [users, ca, path] = ["users", "ca.pem", "secret"].map(|name| folder.path().join(name));
        write_clients(&users);
        fs::write(&ca, giver.authority()).expect("written");
        write_secret(&path, secret);
        let keys = format!(
            "kind = \"one\"\nmechanism = \"OAUTHBEARER\"\nallow_plaintext = true\n\
             token = {{ endpoint = \"{}\", ca = {ca:?}, client_id = \"sealwire\", \
             client_secret = {{ file = {path:?} }} }}\n\
             [[cluster.main.groups_for]]\nmatch = \"*\"\nfor = [\"User:*\"]\n",
            giver.url()
        );
        let tls = ProxyTls {
            sasl: Some(format!("credentials = {users:?}")),
            upstream_login: Some(keys),
            ..ProxyTls::default()
        };
        Some(Self {
            proxy: RIG.another_proxy_with_tls(Login::Sasl, &tls)?,
            giver,
            secret: path,
            _folder: folder,
        })
    }

    fn options(&self) -> Options {
        Options::at(self.proxy.bootstrap()).sasl("SCRAM-SHA-512", "app-1", PASSWORD)
    }

    fn reaches(&self) -> Result<(), String> {
        shared::librdkafka().try_reach(&self.options(), Duration::from_secs(3))
    }

    fn fetches(&self, result: &str) -> f64 {
        let label = format!("result=\"{result}\"");
        self.proxy
            .metric("sealwire_broker_token_fetches_total", &[&label])
    }

    fn closed(&self, reason: &str) -> f64 {
        let label = format!("reason=\"{reason}\"");
        self.proxy.metric("sealwire_connections_closed_total", &[&label])
    }

    fn logins(&self, result: &str) -> f64 {
        let label = format!("result=\"{result}\"");
        self.proxy.metric("sealwire_broker_logins_total", &[&label])
    }
}

/// Gives one to the client with the right secret, by [`KEY`].
fn give(request: &str) -> String {
    static GIVEN: AtomicU64 = AtomicU64::new(0);
    // sealwire:clients-own-secret
    if !request.contains("Basic c2VhbHdpcmU6Y2xpZW50cy1vd24tc2VjcmV0\r\n") {
        let text = "{\"error\":\"invalid_client\"}";
        return format!("HTTP/1.1 401 No\r\nContent-Length: {}\r\n\r\n{text}", text.len());
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is later");
    let now = now.as_secs();
    let claims = json!({
        "iss": "https://login.example.com", "aud": "kafka", "sub": "sealwire", "iat": now,
        "exp": now + GOOD_FOR.as_secs(), "jti": GIVEN.fetch_add(1, Ordering::Relaxed).to_string(),
    });
    let text = json!({
        "access_token": KEY.token(&claims), "token_type": "Bearer", "expires_in": GOOD_FOR.as_secs(),
    });
    let text = text.to_string();
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{text}", text.len())
}

/// BROKER-TOKENS-1, AT-BROKER-2: connections go on by newer tokens, also where one comes late; and where there is none,
/// nobody hears that a login is wrong.
#[test]
fn tokens_are_replaced_while_records_flow() {
    let _alone = shared::under_load();
    let Some(mut door) = Door::open(Published::By(give), SECRET) else {
        return skipped::there_is_no_proxy();
    };
    let agents = [RIG.java, shared::librdkafka(), shared::franz_go()];
    let streams: Vec<_> = agents
        .into_iter()
        .map(|agent| {
            let topic = RIG.topic(&format!("{PREFIX}flow"), 1);
            let producer = agent.stream_produce(&door.options(), &topic, 1, 50);
            let consumer = agent.stream_consume(&door.options(), &From::partitions(&topic, 1));
            agent.stream_await(&consumer, 50);
            (agent, producer, consumer)
        })
        .collect();
    let reasons = [
        "login_expired",
        "broker_login",
        "login_unavailable",
        "broker_closed",
    ];
    let before = reasons.map(|reason| door.closed(reason));
    let (given, logins) = (door.fetches("given"), door.logins("renewed"));
    wait::until("later tokens", 6 * GOOD_FOR, || {
        (door.fetches("given") >= given + 3.0).then_some(())
    });
    // The endpoint is away when the next is due, and comes back before the last one ends.
    door.giver.publish(Published::Raw(String::new()));
    let failed = wait::until("it is asked in vain", 2 * GOOD_FOR, || {
        Some(door.fetches("failed")).filter(|failed| *failed > 0.0)
    });
    door.giver.publish(Published::By(give));
    let given = door.fetches("given");
    wait::until("another token", GOOD_FOR, || {
        (door.fetches("given") > given && failed > 0.0).then_some(())
    });
    for (agent, producer, consumer) in streams {
        assert_exactly_once(agent, producer, consumer);
    }
    assert_eq!(
        reasons.map(|reason| door.closed(reason)),
        before,
        "{}",
        door.proxy.output()
    );
    // Six streams and three tokens at least.
    assert!(
        door.logins("renewed") - logins >= 18.0,
        "{}",
        door.logins("renewed")
    );
    assert_eq!(door.logins("refused") + door.logins("failed"), 0.0);
    assert_nobody_is_told_while_there_is_none(&door);
    let output = door.proxy.output();
    assert!(!output.contains(SECRET) && !output.contains("eyJ"), "{output}");
    door.proxy.terminate();
}

/// The endpoint is away for longer than a token is good.
fn assert_nobody_is_told_while_there_is_none(door: &Door) {
    door.giver.publish(Published::Silence);
    wait::until("the last token has ended", 2 * GOOD_FOR, || {
        door.proxy
            .readiness()
            .contains("there is no token for brokers")
            .then_some(())
    });
    let unavailable = door.closed("login_unavailable");
    let error = door.reaches().expect_err("there is no token");
    assert!(
        !error.to_lowercase().contains("do not take this login"),
        "{error}"
    );
    assert!(door.closed("login_unavailable") > unavailable && door.closed("broker_login") == 0.0);
    door.giver.publish(Published::By(give));
    wait::until("clients are served again", Duration::from_secs(60), || {
        door.reaches().ok()
    });
    let output = door.proxy.output();
    assert!(output.contains("it gives a token that is good for"), "{output}");
    assert!(
        output.contains("brokers take the proxy's own account"),
        "{output}"
    );
    assert!(
        output.contains("a token for brokers is fetched again"),
        "{output}"
    );
}

/// BROKER-TOKENS-2
#[test]
fn a_client_that_is_refused_is_told_of_and_not_tried_all_the_time() {
    let Some(mut door) = Door::open(Published::By(give), "wrong") else {
        return skipped::there_is_no_proxy();
    };
    wait::until("it is refused", Duration::from_secs(20), || {
        (door.fetches("refused") > 0.0).then_some(())
    });
    let readiness = door.proxy.readiness();
    assert!(readiness.contains("refuses the proxy's client"), "{readiness}");
    let unavailable = door.closed("login_unavailable");
    let error = door.reaches().expect_err("there is no token");
    assert!(
        !error.to_lowercase().contains("do not take this login"),
        "{error}"
    );
    assert!(door.closed("login_unavailable") > unavailable);
    let output = door.proxy.output();
    assert!(
        output.contains("status 401 Unauthorized (invalid_client)"),
        "{output}"
    );
    assert!(output.contains("there is no token to log in with"), "{output}");
    assert!(!output.contains("wrong"), "{output}");
    // One by whoever follows it, one by the self-check.
    assert_eq!((door.fetches("refused"), door.giver.asked()), (1.0, 2));
    write_secret(&door.secret, SECRET);
    wait::until("the right secret is used", Duration::from_secs(20), || {
        door.reaches().ok()
    });
    assert_eq!(
        (door.fetches("refused"), door.fetches("given") >= 1.0),
        (1.0, true)
    );
    let readiness = door.proxy.readiness();
    assert!(!readiness.contains("refuses the proxy's client"), "{readiness}");
    door.proxy.terminate();
}

const SECRET: &str = "clients-own-secret";
const PREFIX: &str = "sealed-fetched-";
/// Of a token.
const GOOD_FOR: Duration = Duration::from_secs(10);
