//! The broker, and a proxy with a cluster for each kind of login.
//!
//! Whoever logs in is one and the same user, at the proxy and at the broker.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use sealwire::identity::sasl::initiator::{Account, Proof};
use sealwire::identity::sasl::verifier::Mechanism;
use sealwire::testing::tokens::{SigningKey, key_set};
use sealwire::transport::certificates::CertificateFiles;

use super::kinds::{Client, KINDS, Kind, Upstream};
use crate::children::pause;
use crate::proxy::{Cluster, Configuration, ListenerTls, Proxy, program};
use crate::real::kafka::broker_properties::{AUDIENCE, ISSUER, Login, PASSWORD, USER};
use crate::real::kafka::certificates::of_brokers;
use crate::real::kafka::cluster::KafkaCluster;
use crate::real::kafka::secret_files::{write_secret, write_users};
use crate::real::kafka::{self, NODE};
use crate::{Failure, ports};

pub(super) struct Site {
    pub(super) proxy: Proxy,
    _broker: KafkaCluster,
    pub(super) files: Files,
    /// Where clients bootstrap, for each of [`KINDS`].
    ports: Vec<u16>,
}

/// What configurations and clients need.
pub(super) struct Files {
    directory: PathBuf,
    /// Who vouches for proxy and broker.
    pub(super) authority: PathBuf,
    /// What clients show the proxy, and the proxy the broker.
    pub(super) client: CertificateFiles,
    /// Good for as long as a run takes.
    token: String,
}

impl Site {
    pub(super) fn start(given: Option<&Path>, directory: &Path) -> Result<Self, Failure> {
        kafka::check()?;
        let program = given.map_or_else(program, |given| Ok(given.to_owned()))?;
        let files = Files::write(directory)?;
        let broker = kafka::start_for_logins(&files.path(KEYS));
        kafka::create_topic(&broker, TOPIC, true)?;
        let [admin, rest @ ..] = ports::free::<{ 1 + 2 * KINDS.len() }>()?;
        let (ports, nodes) = rest.split_at(KINDS.len());
        let configuration = Configuration::with("[runtime]\nexecutors = 1\nself_check = false").admin(admin);
        let places = KINDS.into_iter().zip(ports.iter().zip(nodes));
        let configuration = places.fold(configuration, |configuration, (kind, (port, node))| {
            files.add(configuration, kind, &broker, [*port, *node])
        });
        let proxy = Proxy::start_by(
            &program,
            directory,
            &configuration.text(),
            admin,
            None,
            &mut || {
                pause(Duration::from_millis(20));
                Ok(())
            },
        )?;
        Ok(Self {
            proxy,
            _broker: broker,
            files,
            ports: ports.to_owned(),
        })
    }

    /// Each with the port where its clients bootstrap.
    pub(super) fn kinds(&self) -> impl Iterator<Item = (Kind, u16)> {
        KINDS.into_iter().zip(self.ports.iter().copied())
    }
}

impl Files {
    fn write(directory: &Path) -> Result<Self, Failure> {
        let certificates = &of_brokers().authorities;
        let key = SigningKey::rsa("first");
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
        let claims = serde_json::json!({
            "iss": ISSUER, "aud": AUDIENCE, "sub": USER, "iat": now, "exp": now + TOKEN_SECONDS,
        });
        let files = Self {
            directory: directory.to_owned(),
            authority: certificates.of_servers(),
            client: certificates.client(USER, None).files,
            token: key.token(&claims),
        };
        fs::write(files.path(KEYS), key_set([&key]))?;
        write_users(&files.path(USERS), &[(USER, PASSWORD)]);
        write_secret(&files.path(PASSWORD_FILE), PASSWORD);
        let account = format!("mechanism = {OWN_MECHANISM:?}\nuser = {USER:?}\npassword = {PASSWORD:?}\n");
        let account = format!("[[account]]\nprincipals = [\"User:{USER}\"]\n{account}");
        write_secret(&files.path(ACCOUNTS), &account);
        Ok(files)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// What a client logs in with, if it does.
    pub(super) fn proof(&self, client: Client) -> Option<Proof> {
        let account = || Account::new(USER.to_owned(), PASSWORD.to_owned().into());
        match client {
            Client::Nobody | Client::Tls | Client::Certificate => None,
            Client::Scram256 => Some(Proof::Scram(Mechanism::Sha256, account(), None)),
            Client::Scram512 => Some(Proof::Scram(Mechanism::Sha512, account(), None)),
            Client::Plain => Some(Proof::Plain(account())),
            Client::Token => Some(Proof::Token(self.token.clone().into())),
        }
    }

    /// Adds the cluster of a kind.
    fn add(
        &self,
        configuration: Configuration,
        kind: Kind,
        broker: &KafkaCluster,
        [port, node]: [u16; 2],
    ) -> Configuration {
        let name = kind.cluster();
        let shown = &of_brokers().shown(None).files;
        let tls = ListenerTls {
            certificate: shown.certificate.clone(),
            key: shown.key.clone(),
            client_ca: (kind.client == Client::Certificate).then(|| of_brokers().authorities.of_clients()),
            more: String::new(),
        };
        // Where brokers see one and the same, a topic is nobody's who is not named.
        let named = match kind.upstream {
            Upstream::One => "open_for = [\"User:*\"]\nseal_for = [\"User:*\"]\n",
            _ => "",
        };
        configuration.cluster(&Cluster {
            name: &name,
            brokers: vec![broker.bootstrap_of(login(kind.upstream))],
            port,
            nodes: vec![(NODE, node)],
            rules: &format!("[[cluster.{name}.topics]]\nmatch = {TOPIC:?}\npass = true\n{named}"),
            more: &self.upstream(&name, kind.upstream),
            tls: (kind.client != Client::Nobody).then_some(&tls),
            sasl: self.sasl(&name, kind.client).as_deref(),
            ..Cluster::default()
        })
    }

    /// How brokers are spoken to, and whom they see.
    fn upstream(&self, name: &str, upstream: Upstream) -> String {
        if upstream == Upstream::Nobody {
            return String::new();
        }
        let tls = format!("[cluster.{name}.upstream_tls]\nca = {:?}\n", self.authority);
        let own = |kind: &str| {
            let password = self.path(PASSWORD_FILE);
            format!(
                "kind = {kind:?}\nmechanism = {OWN_MECHANISM:?}\nuser = {USER:?}\n\
                 password = {{ file = {password:?} }}\n"
            )
        };
        let keys = match upstream {
            Upstream::Nobody | Upstream::Tls => return tls,
            Upstream::Certificate => {
                let CertificateFiles { certificate, key } = &self.client;
                return format!("{tls}certificate = {certificate:?}\nkey = {key:?}\n");
            }
            Upstream::One => own("one"),
            Upstream::DelegationTokens => own("delegation_tokens"),
            Upstream::PerPrincipal => {
                format!("kind = \"per_principal\"\naccounts = {:?}\n", self.path(ACCOUNTS))
            }
            Upstream::ForwardToken => "kind = \"forward_token\"\nbroker_may_replay = true\n".to_owned(),
        };
        format!("{tls}[cluster.{name}.upstream_login]\n{keys}")
    }

    /// Of the listener, where logins end there.
    fn sasl(&self, name: &str, client: Client) -> Option<String> {
        let by = |mechanism: &str| {
            let users = self.path(USERS);
            Some(format!("mechanisms = [{mechanism:?}]\ncredentials = {users:?}"))
        };
        match client {
            Client::Nobody | Client::Tls | Client::Certificate => None,
            Client::Scram256 | Client::Scram512 | Client::Plain => by(client.name()),
            Client::Token => Some(format!(
                "mechanisms = [\"OAUTHBEARER\"]\n[cluster.{name}.listeners.sasl.oauthbearer]\njwks_file = {:?}\n\
                 issuer = {ISSUER:?}\naudience = [{AUDIENCE:?}]",
                self.path(KEYS)
            )),
        }
    }
}

/// The broker's listener for it.
fn login(upstream: Upstream) -> Login {
    match upstream {
        Upstream::Nobody => Login::Plaintext,
        Upstream::Tls => Login::Tls,
        Upstream::Certificate => Login::MutualTls,
        _ => Login::SaslTls,
    }
}

pub(super) const TOPIC: &str = "measured";
/// Of the proxy's accounts at the broker.
const OWN_MECHANISM: &str = "SCRAM-SHA-256";
const TOKEN_SECONDS: u64 = 7200;
const KEYS: &str = "jwks.json";
const USERS: &str = "users";
const PASSWORD_FILE: &str = "password";
const ACCOUNTS: &str = "accounts.toml";
