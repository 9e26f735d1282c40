//! `[kms.NAME]` with `provider = "vault"`.

use std::path::PathBuf;

use super::{BASE, load, only_mistake};
use crate::config::KmsKind;
use crate::kms::vault::{VaultLogin, VaultSettings};
use crate::secret_source::SecretSource;
use crate::transport::tls_client::Trust;

const KEYSTORE: &str =
    "provider = \"file\"\npath = \"keystore.json\"\nmaster_key = { file = \"master.key\" }\n";
const TOKEN: &str = "login = { method = \"token\", token = { env = \"TOKEN\" } }";

/// The base with a Vault of these lines instead of the keystore.
fn with(lines: &str) -> String {
    BASE.replacen(KEYSTORE, &format!("provider = \"vault\"\n{lines}\n"), 1)
}

fn read(lines: &str) -> VaultSettings {
    let config = load(&with(lines)).unwrap_or_else(|errors| panic!("{errors}"));
    let KmsKind::Vault(settings) = config.kms[0].kind.clone() else {
        panic!("a Vault")
    };
    *settings
}

#[test]
fn everything_that_may_be_said_is_read() {
    let plain = read(&format!("address = \"https://vault:8200\"\n{TOKEN}"));
    assert_eq!(plain.server.address.as_str(), "https://vault:8200/");
    assert_eq!(
        (plain.mount.as_str(), &plain.server.namespace),
        ("transit", &None)
    );
    assert_eq!(
        plain.login,
        VaultLogin::Token(SecretSource::Environment("TOKEN".to_owned()))
    );
    let tls = plain.server.tls.expect("it speaks TLS");
    assert_eq!((tls.trust, tls.client), (Trust::System, None));

    let full = read(
        "address = \"https://vault:8200/\"\nmount = \"/team/transit/\"\nnamespace = \"payments\"\n\
         identity = \"old\"\nca = \"ca.pem\"\ncertificate = \"own.pem\"\nkey = \"own.key\"\n\
         login = { method = \"certificate\", mount = \"tls\" }",
    );
    assert_eq!(full.mount, "team/transit");
    assert_eq!(full.server.namespace.as_deref(), Some("payments"));
    assert_eq!(full.identity.as_deref(), Some("old"));
    let tls = full.server.tls.expect("it speaks TLS");
    assert_eq!(tls.trust, Trust::File(PathBuf::from("dir/ca.pem")));
    assert_eq!(tls.client.expect("its own").key, PathBuf::from("dir/own.key"));
    assert_eq!(
        full.login,
        VaultLogin::Certificate {
            mount: "tls".to_owned(),
            role: None
        }
    );
    let unsafe_one = format!("address = \"http://127.0.0.1:8200\"\nallow_plaintext = true\n{TOKEN}");
    assert_eq!(read(&unsafe_one).server.tls, None);
}

#[test]
fn every_login_is_read() {
    let login = |lines: &str| {
        read(&format!(
            "address = \"https://vault:8200\"\nlogin = {{ {lines} }}"
        ))
        .login
    };
    let file = |path: &str| SecretSource::File(PathBuf::from("dir").join(path));
    assert_eq!(
        login("method = \"approle\", role_id = \"r\", secret_id = { file = \"s\" }"),
        VaultLogin::AppRole {
            mount: "approle".to_owned(),
            role_id: "r".to_owned(),
            secret_id: file("s")
        }
    );
    let jwt = |mount: &str, file: &str| VaultLogin::Jwt {
        mount: mount.to_owned(),
        role: "r".to_owned(),
        file: PathBuf::from(file),
    };
    assert_eq!(
        login("method = \"kubernetes\", role = \"r\""),
        jwt(
            "kubernetes",
            "/var/run/secrets/kubernetes.io/serviceaccount/token"
        )
    );
    assert_eq!(
        login("method = \"jwt\", role = \"r\", jwt_file = \"t\", mount = \"nomad\""),
        jwt("nomad", "dir/t")
    );
}

/// What stands for a server in records changes with each part that makes it another one, and with nothing else.
#[test]
fn what_records_call_it_is_its_address_namespace_and_mount() {
    let of = |lines: &str| read(&format!("{lines}\n{TOKEN}")).authority();
    let one = of("address = \"https://vault:8200\"");
    assert_eq!(one, of("address = \"https://vault:8200/\"\nmount = \"transit\""));
    assert_eq!(one, of("address = \"https://vault:8200\"\nca = \"ca.pem\""));
    assert_eq!(
        one,
        of("address = \"https://new:8200\"\nidentity = \"https://vault:8200/\"")
    );
    for other in [
        "address = \"https://vault:8201\"",
        "address = \"https://vault:8200\"\nmount = \"other\"",
        "address = \"https://vault:8200\"\nnamespace = \"n\"",
    ] {
        assert_ne!(one, of(other), "{other}");
    }
}

const AT: &str = "address = \"https://vault:8200\"";

/// PROBLEM-1 of what may be a secret; each mistake is told where it is.
#[test]
fn mistakes_are_told() {
    let at = AT;
    for (lines, key, says) in [
        (TOKEN.to_owned(), "kms.local.address", "has no address"),
        (at.to_owned(), "kms.local.login", "has no login"),
        (
            format!("address = \"vault:8200\"\n{TOKEN}"),
            "kms.local.address",
            "not the address of a server",
        ),
        (
            format!("address = \"https://u:hunter2@v\"\n{TOKEN}"),
            "kms.local.address",
            "not the address of a server",
        ),
        (
            format!("address = \"http://vault:8200\"\n{TOKEN}"),
            "kms.local.address",
            "sent as they are",
        ),
        (
            format!("address = \"http://vault:8200\"\nallow_plaintext = true\nca = \"ca.pem\"\n{TOKEN}"),
            "kms.local.ca",
            "nobody shows a certificate",
        ),
        (
            format!("address = \"https://vault:8200/v1\"\n{TOKEN}"),
            "kms.local.address",
            "it has a path",
        ),
        (
            format!("{at}\nallow_plaintext = \"yes\"\n{TOKEN}"),
            "kms.local.allow_plaintext",
            "neither true nor false",
        ),
        (
            format!("{at}\n{TOKEN}\nmount = \"../sys\""),
            "kms.local.mount",
            "not a path",
        ),
        (
            format!("{at}\n{TOKEN}\npath = \"keystore.json\""),
            "kms.local.path",
            "does without it",
        ),
        (
            format!("{at}\n{TOKEN}\ncertificate = \"own.pem\""),
            "kms.local.key",
            "has no key",
        ),
    ] {
        assert_mistaken(&lines, key, says);
    }
    let spaced = with(&format!("{at}\n{TOKEN}")).replace("kek = \"payments\"", "kek = \"a/b\"");
    assert_eq!(only_mistake(load(&spaced)).key, "cluster.main.topics[0].kek");
}

#[test]
fn mistakes_of_the_login_are_told() {
    for (login, key, says) in [
        ("method = \"ldap\"", "method", "no such method"),
        ("method = \"token\"", "token", "has no token"),
        (
            "method = \"token\", role = \"r\", token = { env = \"T\" }",
            "role",
            "does without it",
        ),
        ("method = \"certificate\"", "method", "there is none"),
        ("method = \"jwt\", role = \"r\"", "jwt_file", "has no jwt_file"),
        (
            "method = \"approle\", role_id = \"r\"",
            "secret_id",
            "has no secret_id",
        ),
    ] {
        let lines = format!("{AT}\nlogin = {{ {login} }}");
        assert_mistaken(&lines, &format!("kms.local.login.{key}"), says);
    }
}

/// They are told together, and none sends anybody to brokers' logins.
#[test]
fn mistakes_of_a_kms_do_not_hide_each_other() {
    let lines = "address = \"vault\"\ncalls_max = 0\ncalls_per_second_max = 0\n\
                 login = { method = \"userpass\", username = \"proxy\", password = \"hunter2\" }";
    let told = load(&with(lines)).expect_err("mistakes").to_string();
    for key in ["address", "calls_max", "calls_per_second_max", "login.method"] {
        assert!(told.contains(&format!("kms.local.{key}")), "{key}: {told}");
    }
    for key in ["username", "password"] {
        let problem = told
            .split("\n\n")
            .find(|problem| problem.contains(&format!("login.{key}")));
        assert!(
            problem.is_some_and(|problem| problem.contains("the keys here are method")),
            "{key}: {told}"
        );
    }
    assert!(!told.contains("hunter2"), "{told}");
}

#[test]
fn providers_of_another_name_are_known() {
    for (name, meant) in [
        ("openbao", "vault"),
        ("Vault", "vault"),
        ("hashicorp-vault", "vault"),
        ("aws-kms", "aws"),
        ("AWS", "aws"),
        ("keystore", "file"),
    ] {
        let text = BASE.replace("provider = \"file\"", &format!("provider = \"{name}\""));
        let mistake = only_mistake(load(&text));
        assert_eq!(
            (mistake.problem.as_str(), mistake.fix),
            ("there is no such provider", format!("write {meant:?}")),
            "{name}"
        );
    }
}

fn assert_mistaken(lines: &str, key: &str, says: &str) {
    let mistake = only_mistake(load(&with(lines)));
    assert_eq!(mistake.key, key, "{lines}");
    assert!(mistake.to_string().contains(says), "{lines}: {mistake}");
    assert!(!mistake.to_string().contains("hunter2"), "{mistake}");
}
