//! `[cluster.NAME.upstream_login]`.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::time::Duration;

use super::{BASE, load, only_mistake};
use crate::config::{Config, Overrides, OwnAccount, TokenEndpoint, UpstreamLogin};
use crate::identity::sasl::exchange::LoginMechanism;
use crate::identity::sasl::verifier::Mechanism;
use crate::secret_source::SecretSource;
use crate::transport::tls_client::Trust;

/// The base with these lines.
fn with(lines: &str) -> String {
    let listeners = "[[cluster.main.listeners]]";
    let table = format!("[cluster.main.upstream_login]\n{lines}\n");
    BASE.replacen(listeners, &format!("{table}{listeners}"), 1)
}

/// The same where clients log in.
fn with_names(lines: &str) -> String {
    let sasl = "client_auth = \"sasl\"\nsasl = { credentials = \"users\" }";
    with(lines).replace("client_auth = \"network\"", sasl)
}

fn read(lines: &str) -> Option<UpstreamLogin> {
    let config = load(&with(lines)).unwrap_or_else(|errors| panic!("{errors}"));
    config.clusters[0].upstream_login.clone()
}

#[test]
fn every_way_is_read() {
    assert_eq!(read("kind = \"pass\""), None);
    assert_eq!(
        read("kind = \"per_principal\"\naccounts = \"accounts.toml\""),
        Some(UpstreamLogin::PerPrincipal {
            accounts: PathBuf::from("dir/accounts.toml"),
            allows_plaintext: false,
        })
    );
    assert_eq!(
        read("kind = \"one\""),
        Some(UpstreamLogin::One(OwnAccount::Certificate))
    );
    let scram = "kind = \"one\"\nmechanism = \"SCRAM-SHA-512\"\nuser = \"sealwire\"\npassword";
    for (source, password) in [
        ("{ file = \"secret\" }", SecretSource::File("dir/secret".into())),
        (
            "{ env = \"SECRET\" }",
            SecretSource::Environment("SECRET".to_owned()),
        ),
        (
            "{ systemd_credential = \"kafka\" }",
            SecretSource::SystemdCredential("kafka".to_owned()),
        ),
    ] {
        let expected = OwnAccount::Password {
            mechanism: LoginMechanism::Scram(Mechanism::Sha512),
            user: "sealwire".to_owned(),
            password,
        };
        assert_eq!(
            read(&format!("{scram} = {source}")),
            Some(UpstreamLogin::One(expected))
        );
    }
    let lines = format!("{scram} = {{ env = \"SECRET\" }}\n").replace("\"one\"", "\"delegation_tokens\"");
    for (more, hours) in [("", 4), ("token_lifetime = \"1h\"", 1)] {
        let config = load(&with_names(&format!("{lines}{more}"))).unwrap_or_else(|errors| panic!("{errors}"));
        let Some(UpstreamLogin::DelegationTokens {
            own,
            lifetime,
            made_at,
        }) = &config.clusters[0].upstream_login
        else {
            panic!("another kind");
        };
        assert!(matches!(own, OwnAccount::Password { .. }) && made_at.is_empty());
        assert_eq!(*lifetime, Duration::from_secs(hours * 3600));
    }
    let token =
        "kind = \"one\"\nmechanism = \"OAUTHBEARER\"\nallow_plaintext = true\ntoken = { file = \"token\" }";
    assert_eq!(
        read(token),
        Some(UpstreamLogin::One(OwnAccount::Token(SecretSource::File(
            "dir/token".into()
        ))))
    );
}

#[test]
fn tokens_may_be_made_for_a_certificate() {
    let tls = "[cluster.main.upstream_tls]\nca = \"ca.pem\"\ncertificate = \"a.pem\"\nkey = \"a.key\"";
    let lines = format!("kind = \"delegation_tokens\"\nmade_at = [\"kafka:9094\"]\n{tls}");
    let config = load(&with_names(&lines)).unwrap_or_else(|errors| panic!("{errors}"));
    let login = config.clusters[0].upstream_login.as_ref();
    let Some(UpstreamLogin::DelegationTokens { own, made_at, .. }) = login else {
        panic!("another kind");
    };
    assert_eq!(
        (own, made_at.len(), made_at[0].port),
        (&OwnAccount::Certificate, 1, 9094)
    );
    for (lines, expected) in [
        (
            "kind = \"delegation_tokens\"\nmade_at = [\"kafka:9094\"]",
            "neither a mechanism nor a certificate",
        ),
        (&lines.replace("\"kafka:9094\"", ""), "no broker to ask"),
    ] {
        let mistake = only_mistake(load(&with_names(lines))).to_string();
        assert!(mistake.contains(expected), "{mistake}\n{expected}");
    }
}

#[test]
fn where_tokens_are_fetched_is_read() {
    let fetched =
        format!("kind = \"one\"\nmechanism = \"OAUTHBEARER\"\nallow_plaintext = true\ntoken = {ENDPOINT}");
    let endpoint = |scope: Option<&str>| TokenEndpoint {
        url: "https://login.example.com/token".parse().expect("a URL"),
        trust: Trust::System,
        client_id: "sealwire".to_owned(),
        client_secret: SecretSource::Environment("SECRET".to_owned()),
        scope: scope.map(str::to_owned),
        audience: None,
    };
    for (text, expected) in [
        (fetched.clone(), endpoint(None)),
        (
            fetched.replace("client_id", "scope = \"kafka\", client_id"),
            endpoint(Some("kafka")),
        ),
        (
            fetched.replace("client_id", "ca = \"ca.pem\", audience = \"k\", client_id"),
            TokenEndpoint {
                trust: Trust::File("dir/ca.pem".into()),
                audience: Some("k".to_owned()),
                ..endpoint(None)
            },
        ),
    ] {
        assert_eq!(
            read(&text),
            Some(UpstreamLogin::One(OwnAccount::Fetched(Box::new(expected))))
        );
    }
}

#[test]
fn mistakes_about_tokens_that_are_fetched_are_told() {
    let fetched =
        format!("kind = \"one\"\nmechanism = \"OAUTHBEARER\"\nallow_plaintext = true\ntoken = {ENDPOINT}");
    for (lines, expected) in [
        (fetched.replace("https", "http"), "not an address of HTTPS"),
        (
            fetched.replace("client_id = \"sealwire\", ", ""),
            "has no client_id",
        ),
        (fetched.replace("\"sealwire\"", "\"\""), "nothing in it"),
        (
            fetched.replace(", client_secret = { env = \"SECRET\" }", ""),
            "has no client_secret",
        ),
        (
            fetched.replace("{ env = \"SECRET\" }", "\"hunter2\""),
            "not a table",
        ),
        (
            fetched.replace("client_id", "file = \"x\", client_id"),
            "the token is fetched",
        ),
        (
            fetched.replace(
                "endpoint = \"https://login.example.com/token\"",
                "env = \"TOKEN\"",
            ),
            "nothing is fetched",
        ),
        (fetched.replace("allow_plaintext = true\n", ""), "plain TCP"),
        (format!("{fetched}\nuser = \"x\""), "says who it is"),
    ] {
        let mistake = only_mistake(load(&with(&lines))).to_string();
        assert!(mistake.contains(expected), "{lines}\n{mistake}\n{expected}");
        assert!(!mistake.contains("hunter2"), "{mistake}");
    }
    let tokens = with_names(&fetched.replace("\"one\"", "\"delegation_tokens\""));
    let mistake = only_mistake(load(&tokens)).to_string();
    assert!(
        mistake.contains("not made for a token that is fetched"),
        "{mistake}"
    );
}

const ENDPOINT: &str = "{ endpoint = \"https://login.example.com/token\", client_id = \"sealwire\", \
                        client_secret = { env = \"SECRET\" } }";

#[test]
fn mistakes_are_told() {
    let scram =
        "kind = \"one\"\nmechanism = \"SCRAM-SHA-256\"\nuser = \"sealwire\"\npassword = { env = \"SECRET\" }";
    let per_principal = "kind = \"per_principal\"\naccounts = \"accounts.toml\"";
    for (lines, expected) in [
        ("kind = \"two\"".to_owned(), "no such way"),
        (String::new(), "has no kind"),
        ("kind = \"per_principal\"".to_owned(), "has no accounts"),
        (format!("{per_principal}\nuser = \"x\""), "does without it"),
        ("kind = \"pass\"\naccounts = \"x\"".to_owned(), "does without it"),
        (format!("{scram}\naccounts = \"x\""), "does without it"),
        (scram.replace("SCRAM-SHA-256", "GSSAPI"), "no such mechanism"),
        (scram.replace("SCRAM-SHA-256", "PLAIN"), "plain TCP"),
        (scram.replace("user = \"sealwire\"\n", ""), "has no user"),
        (scram.replace("\"sealwire\"", "\"\""), "no user"),
        (
            scram.replace("mechanism = \"SCRAM-SHA-256\"\n", ""),
            "how to log in",
        ),
        (
            scram.replace("password = { env = \"SECRET\" }", ""),
            "has no password",
        ),
        (
            scram.replace("{ env = \"SECRET\" }", "\"hunter2\""),
            "not a table",
        ),
        (
            scram.replace("{ env = \"SECRET\" }", "{ env = \"A B\" }"),
            "environment variable",
        ),
        (scram.replace("{ env = \"SECRET\" }", "{ }"), "no source"),
        (
            format!("{scram}\ntoken = {{ env = \"TOKEN\" }}"),
            "does without it",
        ),
        (
            format!("{scram}\nallow_plaintext = true").replace("SCRAM-SHA-256", "OAUTHBEARER"),
            "does without it",
        ),
    ] {
        let mistake = only_mistake(load(&with(&lines))).to_string();
        assert!(mistake.contains(expected), "{lines}\n{mistake}\n{expected}");
        assert!(!mistake.contains("hunter2"), "{mistake}");
    }
    let tokens = scram.replace("\"one\"", "\"delegation_tokens\"");
    for (text, expected) in [
        (with(&tokens), "no names of their own"),
        (
            with(&tokens).replace("\"network\"", "\"broker\""),
            "no names of their own",
        ),
        (with_names("kind = \"delegation_tokens\""), "has no mechanism"),
        (
            with_names(&format!("{tokens}\ntoken_lifetime = \"9m\"")),
            "less than 10m",
        ),
        (
            with_names(&format!("{tokens}\naccounts = \"x\"")),
            "does without it",
        ),
    ] {
        let mistake = only_mistake(load(&text)).to_string();
        assert!(mistake.contains(expected), "{mistake}\n{expected}");
    }
    let at_brokers = with(per_principal).replace("\"network\"", "\"broker\"");
    let mistake = only_mistake(load(&at_brokers)).to_string();
    assert!(mistake.contains("clients log in at brokers"), "{mistake}");
}

#[test]
fn tokens_are_sent_on_where_every_client_has_one_and_brokers_may_use_them() {
    let tables = "[cluster.main.listeners.tls]\ncertificate = \"server.pem\"\nkey = \"server.key\"\n\
        [cluster.main.listeners.sasl]\nmechanisms = [\"OAUTHBEARER\"]\n\
        [cluster.main.listeners.sasl.oauthbearer]\njwks_file = \"jwks.json\"\n\
        issuer = \"https://login.example.com\"\naudience = [\"kafka\"]\n";
    let topics = "[[cluster.main.topics]]";
    let forwarding = |keys: &str| {
        let text = with(&format!("kind = \"forward_token\"\n{keys}")).replace("\"network\"", "\"sasl\"");
        text.replacen(topics, &format!("{tables}{topics}"), 1)
    };
    let opening = |text: String| {
        text.replacen(
            "kek = \"payments\"",
            "kek = \"payments\"\nopen_for = [\"User:a\"]",
            1,
        )
    };
    let good = forwarding("allow_plaintext = true");
    assert!(opening(good.clone()).contains("open_for"), "{good}");
    let may_replay = opening(forwarding("allow_plaintext = true\nbroker_may_replay = true"));
    for text in [&good, &may_replay] {
        let config = load(text).unwrap_or_else(|errors| panic!("{errors}"));
        let login = &config.clusters[0].upstream_login;
        assert_eq!(*login, Some(UpstreamLogin::ForwardToken));
    }
    for (text, expected) in [
        (forwarding(""), "plain TCP"),
        (opening(good.clone()), "can log in with it here"),
        (
            good.replace("[\"OAUTHBEARER\"]", "[\"OAUTHBEARER\", \"PLAIN\"]")
                .replace(
                    "[cluster.main.listeners.sasl]",
                    "[cluster.main.listeners.sasl]\ncredentials = \"users\"",
                ),
            "without a token",
        ),
        (
            with("kind = \"forward_token\"\nallow_plaintext = true"),
            "without a token",
        ),
    ] {
        let mistake = only_mistake(load(&text)).to_string();
        assert!(mistake.contains(expected), "{mistake}\n{expected}");
    }
}

#[test]
fn a_file_of_accounts_is_looked_at() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("sealwire.toml");
    fs::write(
        &path,
        with("kind = \"per_principal\"\naccounts = \"accounts.toml\""),
    )
    .expect("written");
    let told = |text: &str, mode: u32| {
        let accounts = folder.path().join("accounts.toml");
        fs::write(&accounts, text).expect("written");
        fs::set_permissions(&accounts, fs::Permissions::from_mode(mode)).expect("its mode");
        // Other files are not there.
        let errors = Config::load(&path, Overrides::default()).expect_err("mistakes");
        let of_key = errors
            .errors()
            .iter()
            .filter(|error| error.key.ends_with(".accounts"));
        of_key
            .map(|error| error.problem.clone())
            .collect::<Vec<_>>()
            .join("\n")
    };
    let account = "[[account]]\nprincipals = [\"User:*\"]\nmechanism = \"SCRAM-SHA-256\"\nuser = \"x\"\n\
                   password = \"y\"\n";
    assert_eq!(told(account, 0o600), "");
    assert!(told(account, 0o644).contains("others than its owner"));
    assert!(told(&account.replace("SCRAM-SHA-256", "PLAIN"), 0o600).contains("plain TCP"));
    let broken = told(&account.replace("user = \"x\"", "user = 7"), 0o600);
    assert!(
        broken.contains("line 4: this is a value of another kind"),
        "{broken}"
    );
}
