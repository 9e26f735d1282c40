//! The configuration file of a test broker.

use std::fmt::Write;
use std::path::Path;

use super::HOST;
use super::certificates::{self, Flaw};

/// How clients log in on a listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Login {
    /// No SASL; brokers and administrators use it too.
    Plaintext,
    /// PLAIN, SCRAM-SHA-256, SCRAM-SHA-512 and OAUTHBEARER.
    Sasl,
    /// The same, and the broker ends sessions that do not authenticate again within [`REAUTHENTICATION_MS`].
    SaslReauthenticating,
    /// What [`Login::Sasl`] has, over TLS.
    SaslTls,
    /// TLS, without SASL; no certificate is asked for.
    Tls,
    /// The same in version 1.2 only.
    Tls12,
    /// The same with a certificate that has something wrong with it.
    FlawedTls(Flaw),
    /// TLS with a certificate of the client, whose subject is its principal.
    MutualTls,
    /// No SASL; it listens at the one port, and sends clients to the other, where something forwards to it.
    Relayed { port: u16, advertised: u16 },
}

impl Login {
    pub(crate) fn listener(self) -> String {
        match self {
            Login::Plaintext => "PLAINTEXT".to_owned(),
            Login::Sasl => "LOGIN".to_owned(),
            Login::SaslReauthenticating => "REAUTH".to_owned(),
            Login::SaslTls => "LOGINTLS".to_owned(),
            Login::Tls => "TLS".to_owned(),
            Login::Tls12 => "OLDERTLS".to_owned(),
            Login::FlawedTls(flaw) => format!("{flaw:?}").to_uppercase(),
            Login::MutualTls => "MUTUAL".to_owned(),
            Login::Relayed { port, .. } => format!("RELAYED{port}"),
        }
    }

    /// Whether clients log in by SASL.
    pub(crate) fn is_sasl(self) -> bool {
        self.protocol().starts_with("SASL_")
    }

    fn protocol(self) -> &'static str {
        match self {
            Login::Plaintext | Login::Relayed { .. } => "PLAINTEXT",
            Login::Sasl | Login::SaslReauthenticating => "SASL_PLAINTEXT",
            Login::SaslTls => "SASL_SSL",
            Login::Tls | Login::Tls12 | Login::FlawedTls(_) | Login::MutualTls => "SSL",
        }
    }
}

/// A listener's login and port.
pub(crate) type Listener = (Login, u16);

/// One broker, which is a controller as well.
#[derive(Debug)]
pub(crate) struct BrokerProperties<'a> {
    pub(crate) node: i32,
    pub(crate) data: &'a Path,
    pub(crate) listeners: &'a [Listener],
    pub(crate) controller_port: u16,
    /// Node and controller port of every broker.
    pub(crate) voters: &'a [(i32, u16)],
    pub(crate) more: &'a [(String, String)],
}

impl BrokerProperties<'_> {
    /// The text of `server.properties`.
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        let mut line =
            |name: &str, value: String| writeln!(text, "{name}={value}").expect("writing to a string");
        line("process.roles", "broker,controller".to_owned());
        line("node.id", self.node.to_string());
        line("broker.rack", format!("rack-{}", self.node));
        let voters: Vec<String> = self
            .voters
            .iter()
            .map(|(node, port)| format!("{node}@{HOST}:{port}"))
            .collect();
        line("controller.quorum.voters", voters.join(","));
        line("controller.listener.names", "CONTROLLER".to_owned());
        let of_each = |text: &dyn Fn(&Listener) -> String| {
            let texts: Vec<String> = self.listeners.iter().map(text).collect();
            texts.join(",")
        };
        let addresses = of_each(&|(login, port)| format!("{}://{HOST}:{port}", login.listener()));
        line(
            "listeners",
            format!("{addresses},CONTROLLER://{HOST}:{}", self.controller_port),
        );
        let advertised = of_each(&|(login, port)| {
            let port = match login {
                Login::Relayed { advertised, .. } => advertised,
                _ => port,
            };
            format!("{}://{HOST}:{port}", login.listener())
        });
        line("advertised.listeners", advertised);
        line("inter.broker.listener.name", Login::Plaintext.listener());
        let protocols = of_each(&|(login, _)| format!("{}:{}", login.listener(), login.protocol()));
        line(
            "listener.security.protocol.map",
            format!("CONTROLLER:PLAINTEXT,{protocols}"),
        );
        line("log.dirs", self.data.display().to_string());

        let copies = self.voters.len().min(3).to_string();
        let in_sync = self.voters.len().min(2).to_string();
        for topic in [
            "offsets.topic",
            "transaction.state.log",
            "share.coordinator.state.topic",
        ] {
            line(&format!("{topic}.replication.factor"), copies.clone());
            line(&format!("{topic}.num.partitions"), "4".to_owned());
        }
        for topic in ["transaction.state.log", "share.coordinator.state.topic"] {
            line(&format!("{topic}.min.isr"), in_sync.clone());
        }
        for (name, value) in FIXED {
            line(name, (*value).to_owned());
        }
        for (login, _) in self.listeners {
            for (name, value) in login_properties(*login) {
                line(&name, value);
            }
        }
        for (name, value) in self.more {
            line(name, value.clone());
        }
        text
    }
}

fn login_properties(login: Login) -> Vec<(String, String)> {
    let listener = format!("listener.name.{}", login.listener().to_lowercase());
    match login {
        Login::Plaintext | Login::Relayed { .. } => Vec::new(),
        Login::Sasl | Login::SaslReauthenticating => sasl_properties(login, &listener),
        Login::SaslTls => [sasl_properties(login, &listener), tls_properties(&listener, None)].concat(),
        Login::Tls => tls_properties(&listener, None),
        Login::Tls12 => {
            let versions = (format!("{listener}.ssl.enabled.protocols"), "TLSv1.2".to_owned());
            [tls_properties(&listener, None), vec![versions]].concat()
        }
        Login::FlawedTls(flaw) => tls_properties(&listener, Some(flaw)),
        Login::MutualTls => {
            let asked = (format!("{listener}.ssl.client.auth"), "required".to_owned());
            [tls_properties(&listener, None), vec![asked]].concat()
        }
    }
}

/// PEM files; clients are believed who have a certificate of the brokers' authority for clients.
fn tls_properties(listener: &str, flaw: Option<Flaw>) -> Vec<(String, String)> {
    let certificates = certificates::of_brokers();
    let shown = certificates.shown(flaw).together.display().to_string();
    let believed = certificates.authorities.of_clients().display().to_string();
    [("keystore", shown), ("truststore", believed)]
        .into_iter()
        .flat_map(|(store, file)| {
            let name = |key: &str| format!("{listener}.ssl.{store}.{key}");
            [(name("type"), "PEM".to_owned()), (name("location"), file)]
        })
        .collect()
}

fn sasl_properties(login: Login, listener: &str) -> Vec<(String, String)> {
    let modules = "org.apache.kafka.common.security";
    let scram = format!("{modules}.scram.ScramLoginModule required;");
    let mut properties = vec![
        (
            format!("{listener}.sasl.enabled.mechanisms"),
            MECHANISMS.join(","),
        ),
        (
            format!("{listener}.plain.sasl.jaas.config"),
            format!("{modules}.plain.PlainLoginModule required user_{USER}=\"{PASSWORD}\";"),
        ),
        (
            format!("{listener}.scram-sha-256.sasl.jaas.config"),
            scram.clone(),
        ),
        (format!("{listener}.scram-sha-512.sasl.jaas.config"), scram),
        (
            format!("{listener}.oauthbearer.sasl.jaas.config"),
            format!("{modules}.oauthbearer.OAuthBearerLoginModule required;"),
        ),
    ];
    if login == Login::SaslReauthenticating {
        for mechanism in MECHANISMS {
            let mechanism = mechanism.to_lowercase();
            let name = format!("{listener}.{mechanism}.connections.max.reauth.ms");
            properties.push((name, REAUTHENTICATION_MS.to_string()));
        }
    }
    properties
}

/// The listener verifies tokens, by the set of keys at `url`, which the broker's JVM has to be allowed to read
/// ([`ALLOWED_URLS`]).
pub(crate) fn verifying_tokens(login: Login, url: &str) -> Vec<(String, String)> {
    let listener = format!("listener.name.{}", login.listener().to_lowercase());
    let security = "org.apache.kafka.common.security.oauthbearer";
    let own = |name: &str, value: &str| (format!("sasl.oauthbearer.{name}"), value.to_owned());
    vec![
        (
            format!("{listener}.oauthbearer.sasl.server.callback.handler.class"),
            format!("{security}.OAuthBearerValidatorCallbackHandler"),
        ),
        own("jwks.endpoint.url", url),
        own("expected.audience", AUDIENCE),
        own("expected.issuer", ISSUER),
    ]
}

/// Who has issued tokens, and for whom.
pub(crate) const ISSUER: &str = "https://login.example.com";
pub(crate) const AUDIENCE: &str = "kafka";
/// The system property by which a JVM may fetch keys from there.
pub(crate) const ALLOWED_URLS: &str = "org.apache.kafka.sasl.oauthbearer.allowed.urls";
/// The system property that says what brokers log of rights: who was allowed what from DEBUG on.
pub(crate) const AUTHORIZER_LOG: &str = "sealwire.test.authorizer";
pub(crate) const MECHANISMS: [&str; 4] = ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER"];
pub(crate) const USER: &str = "alice";
pub(crate) const PASSWORD: &str = "alice-secret";
pub(crate) const REAUTHENTICATION_MS: u32 = 5000;

const FIXED: &[(&str, &str)] = &[
    ("auto.create.topics.enable", "false"),
    ("group.initial.rebalance.delay.ms", "0"),
    // Room for 8 MiB records and what sealing adds.
    ("message.max.bytes", "20971520"),
    ("replica.fetch.max.bytes", "20971520"),
    // Small heaps, and small files for the search for readable bytes.
    ("log.cleaner.dedupe.buffer.size", "2000000"),
    ("log.index.size.max.bytes", "1048576"),
    // How long the cleaner rests when there is nothing to do, a quarter of a minute otherwise.
    ("log.cleaner.backoff.ms", "200"),
];
