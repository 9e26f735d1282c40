//! The configuration: a cluster for each pair, all before the same brokers.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::LazyLock;

use sealwire::transport::certificates::CertificateFiles;
use tempfile::TempDir;

use super::broker::{ISSUER, PASSWORD, RIG};
use super::pairs::{CLIENTS, Client, Pair, Upstream};
use crate::support::broker_properties::{self as brokers, Login};
use crate::support::certificates::{self, Authorities, Identity};
use crate::support::configuration::{Cluster, Configuration, ListenerTls};
use crate::support::operations::{ClientTls, Options};
use crate::support::ports::ReservedPort;
use crate::support::secret_files::{write_secret, write_users};

/// By SCRAM and PLAIN, at the proxy.
const CLIENTS_PASSWORD: &str = "of-the-clients-7e02";

/// Where clients of a pair come in.
pub(super) struct Entrance {
    pub(super) pair: Pair,
    bootstrap: ReservedPort,
    node: ReservedPort,
}

/// What configurations name.
struct Files {
    folder: TempDir,
    authorities: Authorities,
    server: Identity,
    client: Identity,
    /// What brokers are shown, by its common name.
    shown: BTreeMap<String, CertificateFiles>,
}

static FILES: LazyLock<Files> = LazyLock::new(|| {
    let authorities = Authorities::create("pairs");
    let files = Files {
        folder: TempDir::new().expect("a folder"),
        server: authorities.server("server", None),
        client: authorities.client("by-certificate", None),
        authorities,
        shown: certificates_for_brokers(),
    };
    let users = [Client::Scram256, Client::Scram512, Client::Plain].map(Client::principal);
    write_users(&files.path("users"), &users.map(|user| (user, CLIENTS_PASSWORD)));
    write_secret(&files.path("password"), PASSWORD);
    write_secret(&files.path("token"), &ISSUER.token("own-token"));
    write_secret(
        &files.path("clients-token"),
        &ISSUER.token(Client::Token.principal()),
    );
    for upstream in [
        Upstream::AccountPlain,
        Upstream::AccountScram,
        Upstream::AccountCertificate,
    ] {
        let pairs = CLIENTS.map(|client| Pair { client, upstream });
        let accounts = pairs.iter().filter(|pair| pair.refusal().is_none());
        let text: String = accounts.map(|pair| files.account(*pair)).collect();
        write_secret(&files.path(&format!("{upstream:?}.toml")), &text);
    }
    files
});

fn certificates_for_brokers() -> BTreeMap<String, CertificateFiles> {
    let own = Pair::all().map(|pair| pair.own().to_owned());
    let names: BTreeSet<String> = own.chain(CLIENTS.map(Client::account)).collect();
    let authorities = &certificates::of_brokers().authorities;
    let issue = |name: String| {
        let files = authorities.client(&name, None).files;
        (name, files)
    };
    names.into_iter().map(issue).collect()
}

impl Files {
    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A certificate that brokers believe.
    fn shown(&self, name: &str) -> String {
        let files = &self.shown[name];
        format!("certificate = {:?}\nkey = {:?}\n", files.certificate, files.key)
    }

    /// In a file of accounts.
    fn account(&self, pair: Pair) -> String {
        let principal = format!("User:{}", pair.client.principal());
        let by = |mechanism: &str| {
            let user = pair.seen();
            format!("mechanism = {mechanism:?}\nuser = {user:?}\npassword = {PASSWORD:?}\n")
        };
        let proof = match (pair.upstream, pair.client) {
            (Upstream::AccountCertificate, client) => self.shown(&client.account()),
            (Upstream::AccountPlain, _) => by("PLAIN"),
            (_, Client::Scram256) => by("SCRAM-SHA-256"),
            _ => by("SCRAM-SHA-512"),
        };
        format!("[[account]]\nprincipals = [{principal:?}]\n{proof}")
    }
}

impl Entrance {
    pub(super) fn of(pair: Pair) -> Self {
        Self {
            pair,
            bootstrap: ReservedPort::take(),
            node: ReservedPort::take(),
        }
    }

    /// As a client comes in.
    pub(super) fn options(&self) -> Options {
        let files = &*FILES;
        let options = Options::at(self.bootstrap.address());
        let tls = ClientTls::believing(files.authorities.of_servers());
        let by = |mechanism: &str| {
            let options = Options::at(self.bootstrap.address()).tls(&tls);
            options.sasl(mechanism, self.pair.client.principal(), CLIENTS_PASSWORD)
        };
        match self.pair.client {
            Client::Network => options,
            Client::Broker => {
                let user = Client::Broker.principal();
                options.tls(&tls).sasl("SCRAM-SHA-512", user, PASSWORD)
            }
            Client::Certificate => options.tls(&tls.clone().showing(&files.client.together)),
            Client::Scram256 => by("SCRAM-SHA-256"),
            Client::Scram512 => by("SCRAM-SHA-512"),
            Client::Plain => by("PLAIN"),
            Client::Token => options.tls(&tls).bearer(&files.path("clients-token")),
        }
    }

    pub(super) fn add_to(&self, configuration: Configuration) -> Configuration {
        let (pair, name) = (self.pair, self.pair.name());
        let files = &*FILES;
        let login = if pair.is_by_certificate() {
            Login::MutualTls
        } else {
            Login::SaslTls
        };
        let tls = ListenerTls {
            certificate: files.server.files.certificate.clone(),
            key: files.server.files.key.clone(),
            client_ca: (pair.client == Client::Certificate).then(|| files.authorities.of_clients()),
            more: String::new(),
        };
        let rules = format!(
            "[[cluster.{name}.topics]]\nmatch = \"sealed-*\"\nkms = \"local\"\nkek = \"orders\"\n\
             domain = \"${{cluster}}/${{topic}}\"\n"
        );
        configuration.cluster(&Cluster {
            name: &name,
            brokers: vec![RIG.cluster.bootstrap_of(login)],
            port: self.bootstrap.number(),
            nodes: vec![(RIG.cluster.nodes()[0], self.node.number())],
            rules: &rules,
            more: &upstream(pair),
            tls: (pair.client != Client::Network).then_some(&tls),
            sasl: sasl(pair).as_deref(),
            passes_logins: pair.client == Client::Broker,
        })
    }
}

/// Of the cluster: how its brokers are spoken to, and whom they see.
fn upstream(pair: Pair) -> String {
    let (name, files) = (pair.name(), &*FILES);
    let ca = certificates::of_brokers().authorities.of_servers();
    let own = if pair.is_by_certificate() {
        files.shown(pair.own())
    } else {
        String::new()
    };
    let by = |mechanism: &str| {
        format!(
            "mechanism = {mechanism:?}\nuser = {:?}\npassword = {{ file = {:?} }}",
            pair.own(),
            files.path("password")
        )
    };
    let keys = match pair.upstream {
        Upstream::Pass => "kind = \"pass\"".to_owned(),
        Upstream::OnePlain => format!("kind = \"one\"\n{}", by("PLAIN")),
        Upstream::OneScram => format!("kind = \"one\"\n{}", by("SCRAM-SHA-256")),
        Upstream::OneToken => format!(
            "kind = \"one\"\nmechanism = \"OAUTHBEARER\"\ntoken = {{ file = {:?} }}",
            files.path("token")
        ),
        Upstream::OneCertificate => "kind = \"one\"".to_owned(),
        Upstream::AccountPlain | Upstream::AccountScram | Upstream::AccountCertificate => format!(
            "kind = \"per_principal\"\naccounts = {:?}",
            files.path(&format!("{:?}.toml", pair.upstream))
        ),
        Upstream::DelegationToken => format!("kind = \"delegation_tokens\"\n{}", by("SCRAM-SHA-512")),
        Upstream::ForwardToken => "kind = \"forward_token\"\nbroker_may_replay = true".to_owned(),
    };
    let groups = if pair.upstream.is_one() && pair.client.has_a_name() {
        format!("[[cluster.{name}.groups_for]]\nmatch = \"sealed-*\"\nfor = [\"User:*\"]\n")
    } else {
        String::new()
    };
    format!(
        "[cluster.{name}.upstream_tls]\nca = {ca:?}\n{own}\n[cluster.{name}.upstream_login]\n{keys}\n{groups}"
    )
}

/// Of the listener, where logins end there.
fn sasl(pair: Pair) -> Option<String> {
    let files = &*FILES;
    let by = |mechanism: &str| {
        format!(
            "mechanisms = [{mechanism:?}]\ncredentials = {:?}",
            files.path("users")
        )
    };
    Some(match pair.client {
        Client::Network | Client::Broker | Client::Certificate => return None,
        Client::Scram256 => by("SCRAM-SHA-256"),
        Client::Scram512 => by("SCRAM-SHA-512"),
        Client::Plain => by("PLAIN"),
        Client::Token => format!(
            "mechanisms = [\"OAUTHBEARER\"]\n[cluster.{}.listeners.sasl.oauthbearer]\njwks_file = {:?}\n\
             issuer = {:?}\naudience = [{:?}]",
            pair.name(),
            ISSUER.keys(),
            brokers::ISSUER,
            brokers::AUDIENCE
        ),
    })
}
