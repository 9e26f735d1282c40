//! The brokers of these tests: each way of logging in, nobody may do anything without a right, and the log says who
//! did what.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::sync::LazyLock;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use regex::Regex;
use sealwire::testing::tokens::{SigningKey, key_set};
use serde_json::json;
use tempfile::TempDir;

use super::pairs::{CLIENTS, Client, Pair, Upstream};
use crate::support::artifacts::KafkaVersion;
use crate::support::broker_properties::{self as brokers, Login};
use crate::support::cluster::KafkaCluster;
use crate::support::java::Java;
use crate::support::rig::Rig;

pub(super) const PASSWORD: &str = "of-the-brokers-51c8";

/// Who issues tokens, for clients and for the proxy itself.
pub(super) struct Issuer {
    folder: TempDir,
    key: SigningKey,
}

impl Issuer {
    /// Where its keys are published.
    pub(super) fn keys(&self) -> PathBuf {
        self.folder.path().join("jwks.json")
    }

    /// A token of somebody, good for as long as the tests take.
    pub(super) fn token(&self, name: &str) -> String {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is later");
        let begun = now.saturating_sub(Duration::from_secs(100)).as_secs();
        let claims = json!({
            "iss": brokers::ISSUER, "aud": brokers::AUDIENCE, "sub": name, "iat": begun, "exp": begun + 3600,
        });
        self.key.token(&claims)
    }
}

pub(super) static ISSUER: LazyLock<Issuer> = LazyLock::new(|| {
    let issuer = Issuer {
        folder: TempDir::new().expect("a folder"),
        key: SigningKey::rsa("first"),
    };
    fs::write(issuer.keys(), key_set([&issuer.key])).expect("written");
    issuer
});

static CLUSTER: LazyLock<KafkaCluster> = LazyLock::new(|| {
    let url = format!("file://{}", ISSUER.keys().display());
    let java = Java::of(KafkaVersion::Current)
        .with_property(brokers::ALLOWED_URLS, &url)
        .with_property(brokers::AUTHORIZER_LOG, "DEBUG");
    let mut more = brokers::verifying_tokens(Login::SaslTls, &url);
    more.push((
        "listener.name.logintls.plain.sasl.jaas.config".to_owned(),
        plain_users(),
    ));
    let more = more.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let rights = [
        (
            "authorizer.class.name",
            "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        ),
        ("super.users", "User:ANONYMOUS"),
        ("delegation.token.secret.key", "of-these-brokers"),
    ];
    let more: Vec<_> = rights.into_iter().chain(more).collect();
    let logins = [Login::Plaintext, Login::SaslTls, Login::MutualTls];
    KafkaCluster::start_with(java, 1, &logins, &more)
});

/// Whoever some pair has brokers see by PLAIN.
fn plain_users() -> String {
    let by_plain = |pair: &Pair| matches!(pair.upstream, Upstream::OnePlain | Upstream::AccountPlain);
    let users: BTreeSet<String> = Pair::possible().filter(by_plain).map(Pair::seen).collect();
    let users: Vec<String> = users
        .iter()
        .map(|user| format!("user_{user}=\"{PASSWORD}\""))
        .collect();
    let module = "org.apache.kafka.common.security.plain.PlainLoginModule";
    format!("{module} required {};", users.join(" "))
}

/// Each principal that some pair has brokers see may use what is called after that pair.
pub(super) static RIG: LazyLock<Rig> = LazyLock::new(|| {
    let rig = Rig::assemble(&CLUSTER, Login::Plaintext);
    for pair in Pair::possible() {
        rig.allow(&format!("User:{}", pair.seen()), &pair.prefix());
    }
    let accounts = CLIENTS.map(Client::account);
    let others = ["own-scram", "own-delegating", Client::Broker.principal()];
    for user in accounts.iter().map(String::as_str).chain(others) {
        rig.set_password(user, PASSWORD);
    }
    for client in CLIENTS.into_iter().filter(|client| client.has_a_name()) {
        let owner = format!("User:{}", client.principal());
        rig.set_tokens_right("User:own-delegating", &owner, true);
    }
    rig
});

/// A decision of the brokers' authorizer, as their log has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Decision {
    pub(super) principal: String,
    pub(super) is_allowed: bool,
    pub(super) operation: String,
    /// Topic, Group, TransactionalId, Cluster.
    pub(super) kind: String,
    pub(super) resource: String,
}

/// All so far, but those about the administrator.
pub(super) fn decisions() -> Vec<Decision> {
    let line = Regex::new(concat!(
        r"Principal = User:(?<principal>.+?) is (?<verdict>Allowed|Denied) operation = (?<operation>\w+) ",
        r"from host = \S+ on resource = (?<kind>\w+):LITERAL:(?<resource>\S+) for request",
    ));
    let line = line.expect("a pattern");
    let output = RIG.cluster.output();
    let found = line.captures_iter(&output).map(|found| Decision {
        principal: found["principal"].to_owned(),
        is_allowed: &found["verdict"] == "Allowed",
        operation: found["operation"].to_owned(),
        kind: found["kind"].to_owned(),
        resource: found["resource"].to_owned(),
    });
    found
        .filter(|decision| decision.principal != "ANONYMOUS")
        .collect()
}
