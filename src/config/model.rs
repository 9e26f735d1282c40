//! What a loaded configuration is: types that cannot hold a mistake, so that code behind them does not check again.

mod forgeable;
mod groups;
mod limits;
mod log_filter;
mod sasl;
mod upstream_login;

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::num::{NonZeroU32, NonZeroUsize};
use std::path::PathBuf;

use crate::config::problem::ConfigError;
use crate::ids::{ClusterId, Ids, KmsId, ListenerId};
use crate::kms::{KmsError, KmsKind};
use crate::rules::{GroupRules, Matcher, Principals, RuleAction, RuleSet, SealTemplate};
use crate::transport::proxy_protocol::Networks;
use crate::transport::tls_client::UpstreamTls;
use crate::transport::tls_server::ListenerTls;

pub use self::forgeable::ForgeableKek;
pub use self::groups::{GroupFile, GroupFileError};
pub use self::limits::Limits;
pub use self::log_filter::LogFilter;
pub use self::sasl::{
    CredentialsFileError, KeySetFileError, KeySetSource, KeySetUrl, ListenerSasl, OauthBearerConfig,
    read_credentials, read_key_set,
};
pub use self::upstream_login::{
    AccountsFileError, OwnAccount, OwnAccountError, TokenEndpoint, UpstreamLogin, read_accounts,
};

/// How many executors run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Executors {
    /// One for each core of the process' affinity mask.
    Auto,
    /// This many.
    Count(NonZeroUsize),
}

/// `[runtime]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuntimeConfig {
    /// How many executors run.
    pub executors: Executors,
    /// Whether the configuration is compared with what is there after the start.
    pub self_check: bool,
}

/// A host and a port, as an operator writes them. The name is looked up when it is used, never stored as an address.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HostPort {
    /// A name, an IPv4 address, or an IPv6 address without brackets.
    pub host: String,
    /// 1 to 65535.
    pub port: u16,
}

impl fmt::Display for HostPort {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(formatter, "[{}]:{}", self.host, self.port)
        } else {
            write!(formatter, "{}:{}", self.host, self.port)
        }
    }
}

/// `[kms.NAME]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KmsConfig {
    /// What stands for its name.
    pub id: KmsId,
    /// The name that rules use.
    pub name: String,
    /// What it is.
    pub kind: KmsKind,
    /// How many calls of it may be under way.
    pub calls_max: usize,
    /// How many calls of it may begin in a second; `None`: any number.
    pub calls_per_second_max: Option<NonZeroU32>,
}

/// Who vouches for the clients of a listener. There is no default.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ClientAuth {
    /// The network does: only trusted clients reach the listener.
    Network,
    /// The brokers do: clients log in there.
    Broker,
    /// The authorities of the listener's `tls.client_ca` do, by certificates.
    Mtls,
    /// The proxy itself does: clients log in.
    Sasl,
}

impl ClientAuth {
    /// Whether each client has a name that no broker can influence.
    #[must_use]
    pub fn names_clients(self) -> bool {
        match self {
            Self::Network | Self::Broker => false,
            Self::Mtls | Self::Sasl => true,
        }
    }
}

/// `[[cluster.NAME.listeners]]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenerConfig {
    /// What stands for its name and that of its cluster.
    pub id: ListenerId,
    /// For messages and metrics; unique in its cluster.
    pub name: String,
    /// Where clients bootstrap.
    pub listen: SocketAddr,
    /// Who vouches for its clients.
    pub client_auth: ClientAuth,
    /// TLS towards clients, on all its ports.
    pub tls: Option<ListenerTls>,
    /// How clients log in, with [`ClientAuth::Sasl`].
    pub sasl: Option<ListenerSasl>,
    /// From where load balancers connect that say whose connection it is; none: clients connect themselves.
    pub proxy_protocol_sources: Option<Networks>,
    /// The host that clients are told for every broker, with `$(node)` for its id where brokers are told apart by name.
    pub advertised_host: String,
    /// The host of the bootstrap port, where brokers are told apart by name.
    pub bootstrap_host: Option<String>,
    /// Broker ids, in the order of `node_ports`, if there are any; no id twice.
    pub nodes: Vec<i32>,
    /// One port for each of `nodes`, bound on the address of `listen`; none where brokers are told apart by name.
    pub node_ports: Vec<u16>,
}

impl ListenerConfig {
    /// What clients are told of each node: its id, a host and a port.
    pub fn node_addresses(&self) -> impl Iterator<Item = (i32, String, u16)> + '_ {
        let ports = self.node_ports.iter().copied();
        let ports = ports.chain(std::iter::repeat(self.listen.port()));
        self.nodes
            .iter()
            .zip(ports)
            .map(|(&node, port)| (node, self.host_of(node), port))
    }

    /// The name of each node, and that of the bootstrap port (`None`), where brokers are told apart by it.
    pub fn names(&self) -> impl Iterator<Item = (Option<i32>, String)> + '_ {
        let nodes = self.nodes.iter().map(|&node| (Some(node), self.host_of(node)));
        let bootstrap = self.bootstrap_host.iter();
        bootstrap.flat_map(move |host| std::iter::once((None, host.clone())).chain(nodes.clone()))
    }

    fn host_of(&self, node: i32) -> String {
        node_host(&self.advertised_host, node)
    }

    /// Broker ids with the port that each is served on.
    pub fn node_listeners(&self) -> impl Iterator<Item = (i32, SocketAddr)> + '_ {
        self.nodes
            .iter()
            .zip(&self.node_ports)
            .map(|(&node, &port)| (node, SocketAddr::new(self.listen.ip(), port)))
    }
}

/// The name of one broker, out of the pattern for all.
pub(super) fn node_host(pattern: &str, node: i32) -> String {
    pattern.replace(NODE_MARK, &node.to_string())
}

/// What stands for a broker's id in `advertised_host`.
pub(super) const NODE_MARK: &str = "$(node)";

/// `[cluster.NAME]`.
#[derive(Clone, Debug)]
pub struct ClusterConfig {
    /// What stands for its name.
    pub id: ClusterId,
    /// For messages and metrics.
    pub name: String,
    /// Brokers that are asked first; at least one.
    pub bootstrap: Vec<HostPort>,
    /// TLS towards brokers.
    pub upstream_tls: Option<UpstreamTls>,
    /// Whom brokers see, where the proxy itself logs in.
    pub upstream_login: Option<UpstreamLogin>,
    /// At least one.
    pub listeners: Vec<ListenerConfig>,
    /// What happens to each topic; at least one rule.
    pub rules: RuleSet,
    /// Who may change the cluster, of clients that have names; `None`: nobody.
    pub admin_for: Option<Principals>,
    /// Who may use which groups and transactional ids, where brokers see one and the same whoever the client is.
    pub groups_for: GroupRules,
    /// Groups of principals that stand in files; the rules know their members.
    pub group_files: Vec<GroupFile>,
    /// Seeded addresses of brokers, by id.
    pub node_addresses: BTreeMap<i32, HostPort>,
    /// Keeps the last known addresses of brokers over a restart.
    pub state_file: Option<PathBuf>,
}

impl ClusterConfig {
    /// Every rule that seals, in order.
    pub fn seal_rules(&self) -> impl Iterator<Item = PlacedTemplate<'_>> {
        let rules = self.rules.rules().iter().enumerate();
        rules.filter_map(|(index, rule)| match &rule.action {
            RuleAction::Seal(seal) => Some(PlacedTemplate {
                cluster: self,
                index,
                matcher: &rule.matcher,
                seal,
            }),
            _ => None,
        })
    }
}

/// A rule that seals, and where it stands.
#[derive(Clone, Copy, Debug)]
pub struct PlacedTemplate<'a> {
    /// Whose rule it is.
    pub cluster: &'a ClusterConfig,
    /// Its position among all rules of the cluster, from 0.
    pub index: usize,
    /// Which topics.
    pub matcher: &'a Matcher,
    /// What it says.
    pub seal: &'a SealTemplate,
}

/// `[admin]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdminConfig {
    /// Where `/metrics`, `/livez` and `/readyz` are served.
    pub listen: SocketAddr,
}

/// How log lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// `[log]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogConfig {
    /// How lines are written.
    pub format: LogFormat,
    /// Which lines are written.
    pub filter: LogFilter,
}

/// `[audit]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditConfig {
    /// Where lines go.
    pub to: AuditTarget,
    /// What happens while they cannot be written.
    pub on_full: OnFull,
}

/// Where the audit log is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AuditTarget {
    /// Standard output.
    Stdout,
    /// This file; lines are appended.
    File(PathBuf),
}

/// What happens while the audit log cannot be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnFull {
    /// What would be audited waits.
    Hold,
    /// It goes on, and events that find no room are lost.
    Drop,
}

/// The whole configuration.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Config {
    /// `[runtime]`.
    pub runtime: RuntimeConfig,
    /// `[limits]`.
    pub limits: Limits,
    /// In order of name.
    pub kms: Vec<KmsConfig>,
    /// `[keyring]`: the file that stable keys of record keys are in.
    pub keyring: Option<PathBuf>,
    /// In order of name; at least one.
    pub clusters: Vec<ClusterConfig>,
    /// `[admin]`; without it no admin port is opened.
    pub admin: Option<AdminConfig>,
    /// `[log]`.
    pub log: LogConfig,
    /// `[audit]`; without it refusals are written to the log.
    pub audit: Option<AuditConfig>,
    /// The names of all this, and those of the configurations before it.
    pub ids: Ids,
    /// What is no mistake, and hardly meant so; in the order of the file.
    pub warnings: Vec<ConfigError>,
}

impl Config {
    /// What to do about what a KMS says of a KEK, to stand behind it; empty where it does not refuse the KEK.
    pub(crate) fn advice(&self, kms: &str, kek: &str, error: &KmsError) -> String {
        let settings = self.kms.iter().find(|settings| settings.name == kms);
        match settings.filter(|_| error.refuses_kek()) {
            Some(settings) => format!("; {}", settings.kind.advice(error, kek)),
            None => String::new(),
        }
    }

    /// Every rule that seals, cluster by cluster.
    pub fn seal_rules(&self) -> impl Iterator<Item = PlacedTemplate<'_>> {
        self.clusters.iter().flat_map(ClusterConfig::seal_rules)
    }
}
