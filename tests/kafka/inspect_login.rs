//! `sealwire inspect` at real brokers that take nobody without a login: by arguments, and as the proxy does.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::LazyLock;
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::json;
use tempfile::TempDir;

use crate::support::broker_properties::{Login, PASSWORD, USER};
use crate::support::certificates;
use crate::support::configuration::{Cluster, Configuration};
use crate::support::records::{Record, assert_delivered};
use crate::support::rig::Rig;
use crate::support::secret_files::{write_secret, write_users};
use crate::support::shared;

static RIG: LazyLock<Rig> = LazyLock::new(|| Rig::assemble(shared::broker_with_tls(), Login::Plaintext));

const PARTITIONS: i32 = 2;

/// Files with secrets.
struct Secrets {
    folder: TempDir,
}

impl Secrets {
    fn new() -> Self {
        Self {
            folder: TempDir::new().expect("a folder"),
        }
    }

    fn put(&self, name: &str, text: &str) -> String {
        let path = self.folder.path().join(name);
        write_secret(&path, text);
        path.display().to_string()
    }
}

fn run(arguments: &[&str], topic: &str) -> Output {
    Command::new(env!("CARGO_BIN_EXE_sealwire"))
        .arg("inspect")
        .args(arguments)
        .args(["--topic", topic])
        .output()
        .expect("the program runs")
}

fn shown(arguments: &[&str], topic: &str) -> String {
    let output = run(arguments, topic);
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    assert!(output.stderr.is_empty(), "{output:?}");
    String::from_utf8(output.stdout).expect("text")
}

fn complaint(arguments: &[&str], topic: &str) -> String {
    let output = run(arguments, topic);
    assert!(
        !output.status.success() && output.stdout.is_empty(),
        "{arguments:?}: {output:?}"
    );
    String::from_utf8(output.stderr).expect("text")
}

fn servers() -> PathBuf {
    certificates::of_brokers().authorities.of_servers()
}

fn with_tls(login: Login) -> [String; 4] {
    let ca = servers().display().to_string();
    let bootstrap = RIG.cluster.bootstrap_of(login);
    ["--bootstrap".to_owned(), bootstrap, "--tls-ca".to_owned(), ca]
}

fn filled_topic() -> String {
    let topic = RIG.topic("sealed-inspect-login", PARTITIONS);
    let records: Vec<Record> = (0..PARTITIONS)
        .map(|partition| Record::new(&topic, "key", "value").partition(partition))
        .collect();
    assert_delivered(&RIG.java.produce(&RIG.options(), &records));
    topic
}

/// What a broker believes that checks no signature.
fn unsigned_token() -> String {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("later")
        .as_secs();
    let part = |value: serde_json::Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let claims = json!({ "sub": USER, "iat": now, "exp": now + 600 });
    format!("{}.{}.", part(json!({ "alg": "none" })), part(claims))
}

#[test]
fn each_login_is_shown_what_is_shown_without_one() {
    let topic = filled_topic();
    let expected = shown(&["--bootstrap", &RIG.cluster.bootstrap()], &topic);
    let expected_records = usize::try_from(PARTITIONS).expect("a number");
    assert_eq!(
        expected.matches("offset 0: ").count(),
        expected_records,
        "{expected}"
    );
    let secrets = Secrets::new();
    let password = secrets.put("password", &format!("{PASSWORD}\n"));
    let tls = with_tls(Login::SaslTls);
    let tls = tls.each_ref().map(String::as_str);
    for mechanism in ["SCRAM-SHA-512", "SCRAM-SHA-256", "PLAIN"] {
        let login = [
            "--login-user",
            USER,
            "--login-mechanism",
            mechanism,
            "--login-password-file",
            &password,
        ];
        assert_eq!(
            shown(&[&tls[..], &login].concat(), &topic),
            expected,
            "{mechanism}"
        );
    }
    let token = secrets.put("token", &unsigned_token());
    let login = ["--login-token-file", &token];
    assert_eq!(shown(&[&tls[..], &login].concat(), &topic), expected);
}

/// By `bootstrap`, `upstream_tls` and the account of its own in `upstream_login`.
#[test]
fn brokers_are_reached_as_the_proxy_reaches_them() {
    let topic = filled_topic();
    let expected = shown(&["--bootstrap", &RIG.cluster.bootstrap()], &topic);
    let secrets = Secrets::new();
    secrets.put("password", PASSWORD);
    secrets.put("token", &unsigned_token());
    let by_password = |mechanism: &str| {
        format!("mechanism = \"{mechanism}\"\nuser = \"{USER}\"\npassword = {{ file = \"password\" }}")
    };
    for (login, kind, own) in [
        (Login::SaslTls, "one", by_password("SCRAM-SHA-512")),
        (Login::SaslTls, "one", by_password("PLAIN")),
        (Login::SaslTls, "delegation_tokens", by_password("SCRAM-SHA-256")),
        (
            Login::SaslTls,
            "one",
            "mechanism = \"OAUTHBEARER\"\ntoken = { file = \"token\" }".to_owned(),
        ),
        (Login::MutualTls, "one", String::new()),
    ] {
        let path = configuration(secrets.folder.path(), login, kind, &own);
        let path = path.display().to_string();
        assert_eq!(shown(&["--config", &path], &topic), expected, "{login:?} {own}");
        let other = ["--config", &path, "--cluster", "other"];
        assert!(complaint(&other, &topic).contains("no cluster \"other\""));
    }
}

/// Of a proxy with its own account there.
fn configuration(folder: &Path, login: Login, kind: &str, own: &str) -> PathBuf {
    let client = certificates::of_brokers().authorities.client("inspector", None);
    let more = format!(
        "[cluster.main.upstream_tls]\nca = {:?}\ncertificate = {:?}\nkey = {:?}\n\
         [cluster.main.upstream_login]\nkind = \"{kind}\"\n{own}\n",
        servers(),
        client.files.certificate,
        client.files.key,
    );
    let users = folder.join("users");
    write_users(&users, &[(USER, PASSWORD)]);
    let text = Configuration::default()
        .cluster(&Cluster {
            // The first one that answers is asked.
            brokers: vec![NOBODY.to_owned(), RIG.cluster.bootstrap_of(login)],
            nodes: vec![(RIG.cluster.nodes()[0], 2)],
            port: 3,
            rules: "[[cluster.main.topics]]\nmatch = \"*\"\npass = true\n",
            more: &more,
            sasl: Some("credentials = \"users\""),
            ..Cluster::default()
        })
        .text();
    let path = folder.join("sealwire.toml");
    fs::write(&path, text).expect("written");
    path
}

/// INSPECT-3
#[test]
fn who_is_not_let_in_is_told_why() {
    let topic = filled_topic();
    let tls = with_tls(Login::SaslTls);
    let tls = tls.each_ref().map(String::as_str);
    let nobody = complaint(&tls, &topic);
    assert!(
        nobody.contains("it may want a login: give --login-user"),
        "{nobody}"
    );
    let secrets = Secrets::new();
    let wrong = secrets.put("wrong", "hunter2");
    let login = |mechanism| {
        [
            "--login-user",
            USER,
            "--login-mechanism",
            mechanism,
            "--login-password-file",
            &wrong,
        ]
    };
    let refused = complaint(&[&tls[..], &login("SCRAM-SHA-512")].concat(), &topic);
    assert!(
        refused.contains(&RIG.cluster.bootstrap_of(Login::SaslTls))
            && refused.contains("Authentication failed"),
        "{refused}"
    );
    assert!(!refused.contains("hunter2"), "{refused}");
    // Nothing is sent that a listener could learn (INSPECT-3).
    let heard = complaint(&[&["--bootstrap", NOBODY][..], &login("PLAIN")].concat(), &topic);
    assert!(heard.contains("plain TCP"), "{heard}");
    let token = ["--bootstrap", NOBODY, "--login-token-file", &wrong];
    assert!(complaint(&token, &topic).contains("plain TCP"));
}

/// Where nobody listens.
const NOBODY: &str = "127.0.0.1:1";
