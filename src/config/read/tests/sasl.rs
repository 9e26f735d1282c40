//! `[cluster.NAME.listeners.sasl]`.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use super::{BASE, load, only_mistake};
use crate::config::{Config, KeySetSource, KeySetUrl, Overrides};
use crate::identity::sasl::exchange::LoginMechanism;
use crate::identity::sasl::oauthbearer::token::TokenRules;
use crate::testing::authority::Authority;
use crate::transport::tls_client::Trust;

const TOPICS: &str = "[[cluster.main.topics]]";
const OAUTHBEARER: &str = "[cluster.main.listeners.sasl.oauthbearer]\njwks_file = \"jwks.json\"\n\
    issuer = \"https://login.example.com\"\naudience = [\"kafka\", \"k\"]\n";

/// The base with logins over TLS, of these lines.
fn with(lines: &str) -> String {
    let tables = format!(
        "[cluster.main.listeners.tls]\ncertificate = \"server.pem\"\nkey = \"server.key\"\n\
         [cluster.main.listeners.sasl]\n{lines}\n"
    );
    let text = BASE.replace("\"network\"", "\"sasl\"");
    text.replacen(TOPICS, &format!("{tables}{TOPICS}"), 1)
}

/// Clients begin up to a second before the end, and no two logins come within a second.
#[test]
fn a_login_is_good_for_so_long_that_clients_can_log_in_again() {
    let read = |lifetime: &str| {
        let lines = "mechanisms = [\"OAUTHBEARER\"]\nsession_lifetime = LIFETIME\n".to_owned() + OAUTHBEARER;
        load(&with(&lines.replace("LIFETIME", &format!("{lifetime:?}"))))
    };
    assert!(read("2s").is_ok_and(|config| {
        let sasl = config.clusters[0].listeners[0].sasl.clone();
        sasl.is_some_and(|sasl| sasl.session_lifetime == Some(Duration::from_secs(2)))
    }));
    let text = read("1999ms").expect_err("it is too short").to_string();
    assert!(
        text.contains("session_lifetime") && text.contains("less than 2s"),
        "{text}"
    );
}

#[test]
fn everything_of_tokens_is_read() {
    let lines = format!(
        "mechanisms = [\"OAUTHBEARER\"]\nsession_lifetime = \"1m\"\n{OAUTHBEARER}algorithms = [\"ES256\", \"EdDSA\"]\n\
         principal_claim = \"client_id\""
    );
    let read = |lines: &str| {
        let config = load(&with(lines)).unwrap_or_else(|errors| panic!("{errors}"));
        config.clusters[0].listeners[0].sasl.clone().expect("it has it")
    };
    let sasl = read(&lines);
    assert_eq!(sasl.mechanisms, [LoginMechanism::OauthBearer]);
    assert_eq!(
        (sasl.credentials, sasl.session_lifetime),
        (None, Some(Duration::from_secs(60)))
    );
    let bearer = sasl.oauthbearer.expect("it has it");
    assert_eq!(bearer.keys, KeySetSource::File(PathBuf::from("dir/jwks.json")));
    let expected = TokenRules {
        issuer: "https://login.example.com".to_owned(),
        audiences: vec!["kafka".to_owned(), "k".to_owned()],
        algorithms: vec![jsonwebtoken::Algorithm::ES256, jsonwebtoken::Algorithm::EdDSA],
        principal_claim: "client_id".to_owned(),
    };
    assert_eq!(*bearer.rules, expected);
    for (ca, trust) in [
        ("", Trust::System),
        ("jwks_ca = \"system\"\n", Trust::System),
        ("jwks_ca = \"ca.pem\"\n", Trust::File(PathBuf::from("dir/ca.pem"))),
    ] {
        let url = "https://login.example.com/keys";
        let lines = lines.replace(
            "jwks_file = \"jwks.json\"\n",
            &format!("jwks_url = {url:?}\n{ca}"),
        );
        let url = url.parse().expect("a URL");
        let bearer = read(&lines).oauthbearer.expect("it has it");
        assert_eq!(bearer.keys, KeySetSource::Url(KeySetUrl { url, trust }));
    }
    let both = read(&format!(
        "credentials = \"users\"\nmechanisms = [\"PLAIN\", \"OAUTHBEARER\"]\n{OAUTHBEARER}"
    ));
    assert!(both.credentials.is_some());
    let bearer = both.oauthbearer.expect("it has it");
    assert_eq!(bearer.rules.algorithms, [jsonwebtoken::Algorithm::RS256]);
    assert_eq!(bearer.rules.principal_claim, "sub");
}

#[test]
fn each_mistake_is_refused() {
    let good = format!("mechanisms = [\"OAUTHBEARER\"]\n{OAUTHBEARER}");
    let with_url = |url: &str| good.replace("jwks_file = \"jwks.json\"", &format!("jwks_url = {url:?}"));
    for (lines, expected) in [
        (String::new(), "has no credentials"),
        ("mechanisms = [\"OAUTHBEARER\"]".to_owned(), "has no oauthbearer"),
        (
            format!("credentials = \"users\"\n{OAUTHBEARER}"),
            "no client can log in by a token",
        ),
        (format!("credentials = \"users\"\n{good}"), "asks for a password"),
        (
            good.replace("[\"OAUTHBEARER\"]", "[\"OAUTHBEARER\", \"PLAIN\"]"),
            "has no credentials",
        ),
        (
            good.replace("jwks_file = \"jwks.json\"\n", ""),
            "does not say whose tokens are believed",
        ),
        (
            format!("{good}jwks_url = \"https://login.example.com/keys\""),
            "says in two ways whose tokens are believed",
        ),
        (format!("{good}jwks_ca = \"ca.pem\""), "nothing is fetched"),
        (
            with_url("http://login.example.com/keys"),
            "not an address of HTTPS",
        ),
        (
            with_url("https://alice:secret@login.example.com/"),
            "not an address of HTTPS",
        ),
        (
            with_url("https://login.example.com/#keys"),
            "not an address of HTTPS",
        ),
        (with_url("login.example.com"), "not an address of HTTPS"),
        (good.replace("issuer =", "principal_claim ="), "has no issuer"),
        (
            good.replace("\"https://login.example.com\"", "\"\""),
            "nothing in it",
        ),
        (good.replace("[\"kafka\", \"k\"]", "[]"), "nothing in it"),
        (good.replace("\"k\"]", "\"\"]"), "nothing in it"),
        (good.replace("[\"kafka\", \"k\"]", "\"kafka\""), "not a list"),
        (format!("{good}algorithms = []"), "nothing in it"),
        (format!("{good}algorithms = [\"HS256\"]"), "no such algorithm"),
        (format!("{good}algorithms = [\"none\"]"), "no such algorithm"),
        (format!("{good}principal_claim = \"\""), "nothing in it"),
    ] {
        let mistake = only_mistake(load(&with(&lines)));
        assert!(
            mistake.to_string().contains(expected),
            "{lines}\n{mistake}\n{expected}"
        );
    }
    // Whoever reads a token can use it.
    let plain = with(&good).replace("[cluster.main.listeners.tls]", "[cluster.main.listeners.other]");
    let plain = plain
        .replace("certificate = \"server.pem\"\nkey = \"server.key\"\n", "")
        .replace("[cluster.main.listeners.other]\n", "");
    let mistake = only_mistake(load(&plain)).to_string();
    assert!(mistake.contains("anybody on the way"), "{mistake}");
}

#[test]
fn who_vouches_for_an_issuer_has_to_be_somebody() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("sealwire.toml");
    let url = "jwks_url = \"https://login.example.com/keys\"\njwks_ca = \"ca.pem\"\n";
    let tokens = OAUTHBEARER.replace("jwks_file = \"jwks.json\"\n", url);
    let text = with(&format!("mechanisms = [\"OAUTHBEARER\"]\n{tokens}"));
    fs::write(&path, text).expect("written");
    let told = |authorities: &str| {
        fs::write(folder.path().join("ca.pem"), authorities).expect("written");
        // Other files are not there.
        let errors = Config::load(&path, Overrides::default()).expect_err("mistakes");
        let of_key = errors
            .errors()
            .iter()
            .filter(|error| error.key.ends_with(".jwks_ca"));
        of_key.map(|error| error.problem.clone()).collect::<Vec<_>>()
    };
    assert_eq!(told(&Authority::root("root").pem()), Vec::<String>::new());
    for nobody in ["", "nonsense"] {
        let told = told(nobody);
        assert!(
            matches!(told.as_slice(), [one] if one.contains("ca.pem")),
            "{told:?}"
        );
    }
}
