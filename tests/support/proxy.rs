//! The proxy's own binary, as an operator would run it.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, ExitStatus};
use std::time::Duration;

use super::admin_page;
use super::configuration::{Cluster, Configuration, ListenerTls};
use super::keystore::Keystore;
use super::launch::{DataFolder, Process};
use super::ports::ReservedPort;
use super::sockets::{Connection, connections};
use super::wait;

/// A running proxy in front of one cluster.
pub(crate) struct Proxy {
    process: Option<Process>,
    bootstrap: ReservedPort,
    nodes: Vec<ReservedPort>,
    admin: ReservedPort,
    folder: DataFolder,
}

/// What a proxy is started with.
#[derive(Debug, Clone)]
pub(crate) struct ProxySetup<'a> {
    /// The brokers' addresses, separated by commas.
    pub(crate) brokers: String,
    pub(crate) nodes: Vec<i32>,
    pub(crate) keystore: &'a Keystore,
    /// The `[[cluster.main.topics]]` tables.
    pub(crate) rules: &'a str,
    pub(crate) executors: u32,
}

/// What a proxy's connections have of TLS; by default neither side has it.
#[derive(Debug, Clone, Default)]
pub(crate) struct ProxyTls {
    /// Towards clients.
    pub(crate) listener: Option<ListenerTls>,
    /// Towards brokers: the keys of `[cluster.main.upstream_tls]`.
    pub(crate) upstream: Option<String>,
    /// Where logins end at the proxy: the keys of the listener's `sasl`.
    pub(crate) sasl: Option<String>,
    /// Clients log in at the brokers.
    pub(crate) passes_logins: bool,
    /// Where the proxy logs in at the brokers: the keys of `[cluster.main.upstream_login]`.
    pub(crate) upstream_login: Option<String>,
}

impl Proxy {
    pub(crate) fn start(setup: &ProxySetup<'_>) -> Self {
        Self::start_with_tls(setup, &ProxyTls::default())
    }

    pub(crate) fn start_with_tls(setup: &ProxySetup<'_>, tls: &ProxyTls) -> Self {
        Self::start_as(setup.nodes.len(), |proxy| proxy.configuration_text(setup, tls))
    }

    /// In front of these brokers, with tables that take the place of a keystore.
    pub(crate) fn start_with_tables(brokers: &str, nodes: &[i32], tables: &str, rules: &str) -> Self {
        Self::start_as(nodes.len(), |proxy| {
            let ports = proxy.nodes.iter().map(ReservedPort::number);
            let cluster = Cluster {
                brokers: brokers.split(',').map(str::to_owned).collect(),
                port: proxy.bootstrap.number(),
                nodes: nodes.iter().copied().zip(ports).collect(),
                rules,
                ..Cluster::default()
            };
            let configuration = Configuration::with(tables).cluster(&cluster);
            configuration.admin(proxy.admin.number()).text()
        })
    }

    /// With this configuration, whose admin port it may add.
    pub(crate) fn start_by(configuration: Configuration) -> Self {
        Self::start_as(0, |proxy| configuration.admin(proxy.admin.number()).text())
    }

    fn start_as(nodes: usize, text: impl FnOnce(&Self) -> String) -> Self {
        let mut proxy = Proxy {
            process: None,
            bootstrap: ReservedPort::take(),
            // Node ports need not be neighbours.
            nodes: (0..nodes).map(|_| ReservedPort::take()).collect(),
            admin: ReservedPort::take(),
            folder: DataFolder::create("proxy"),
        };
        fs::write(proxy.configuration(), text(&proxy)).expect("writing sealwire.toml");
        proxy.start_again();
        proxy
    }

    /// Where clients bootstrap.
    pub(crate) fn bootstrap(&self) -> String {
        self.bootstrap.address()
    }

    /// The port of the node at this place in [`ProxySetup::nodes`].
    pub(crate) fn node_address(&self, place: usize) -> String {
        self.nodes[place].address()
    }

    /// Starts a proxy that was stopped, on the same ports with the same configuration; returns when it is ready.
    pub(crate) fn start_again(&mut self) {
        self.start_again_with(&[]);
    }

    /// The same, with keys of the configuration set on the command line.
    pub(crate) fn start_again_with(&mut self, settings: &[&str]) {
        assert!(self.process.is_none(), "the proxy runs already");
        let mut command = Command::new(env!("CARGO_BIN_EXE_sealwire"));
        command
            .args(["run", "--config"])
            .arg(self.configuration())
            .args(settings.iter().flat_map(|setting| ["--set", setting]))
            .current_dir(self.folder.path());
        let mut process = Process::start("sealwire", &command, &self.folder.path().join("sealwire.log"));
        let admin = self.admin.number();
        wait::until("the proxy's /readyz", START_LIMIT, || {
            process.assert_running();
            admin_page::get(admin, "/readyz").filter(|(status, _)| *status == 200)
        });
        self.process = Some(process);
    }

    /// SIGTERM, and exit code 0 within the time that draining may take.
    pub(crate) fn terminate(&mut self) {
        let mut process = self.process.take().expect("the proxy runs");
        let status = process.terminate(STOP_LIMIT);
        assert_eq!(
            status.code(),
            Some(0),
            "exit code after SIGTERM; the log:\n{}",
            process.output_end()
        );
    }

    /// [`Process::abort`].
    pub(crate) fn abort(&mut self) -> ExitStatus {
        self.process.take().expect("the proxy runs").abort()
    }

    /// SIGKILL, as a crash would be.
    pub(crate) fn kill(&mut self) {
        self.process.take().expect("the proxy runs").kill();
    }

    /// How many connections of clients there are at the port of the node at this place, and at the bootstrap port.
    pub(crate) fn connections_at(&self, place: usize) -> (usize, usize) {
        let connections = self.connections();
        let at = |port: u16| {
            let here = connections.iter().filter(|connection| connection.local == port);
            here.count()
        };
        (at(self.nodes[place].number()), at(self.bootstrap.number()))
    }

    /// How many connections the proxy has to a port.
    pub(crate) fn connections_to(&self, port: u16) -> usize {
        let connections = self.connections();
        connections
            .iter()
            .filter(|connection| connection.remote == port)
            .count()
    }

    fn connections(&self) -> Vec<Connection> {
        connections(self.process.as_ref().expect("the proxy runs").id())
    }

    /// A file of this name in the proxy's own folder.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Of its process.
    pub(crate) fn id(&self) -> u32 {
        self.process.as_ref().expect("the proxy runs").id()
    }

    /// Resident memory of the running process, in bytes.
    pub(crate) fn resident_bytes(&self) -> u64 {
        let id = self.id();
        let status = fs::read_to_string(format!("/proc/{id}/status")).expect("the proxy is alive");
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))
            .expect("a process has VmRSS");
        let kibibytes: u64 = line
            .trim()
            .trim_end_matches(" kB")
            .parse()
            .expect("VmRSS is a number");
        kibibytes * 1024
    }

    pub(crate) fn output(&self) -> String {
        fs::read_to_string(self.folder.path().join("sealwire.log")).unwrap_or_default()
    }

    /// What `/readyz` says.
    pub(crate) fn readiness(&self) -> String {
        let (_, text) = admin_page::get(self.admin.number(), "/readyz").expect("the admin listener answers");
        text
    }

    /// The text of `/metrics`.
    pub(crate) fn metrics(&self) -> String {
        admin_page::metrics(self.admin.number())
    }

    /// The sum of all series of a metric whose labels contain all of `labels` (as `name="value"`).
    pub(crate) fn metric(&self, name: &str, labels: &[&str]) -> f64 {
        admin_page::metric(&self.metrics(), name, labels)
    }

    fn configuration(&self) -> PathBuf {
        self.folder.path().join("sealwire.toml")
    }

    fn configuration_text(&self, setup: &ProxySetup<'_>, tls: &ProxyTls) -> String {
        let upstream = tls.upstream.as_ref();
        let upstream =
            upstream.map_or_else(String::new, |keys| format!("[cluster.main.upstream_tls]\n{keys}"));
        let login = tls.upstream_login.as_ref();
        let login = login.map_or_else(String::new, |keys| {
            format!("[cluster.main.upstream_login]\n{keys}")
        });
        let ports = self.nodes.iter().map(ReservedPort::number);
        setup
            .keystore
            .configuration(&format!("[runtime]\nexecutors = {}", setup.executors))
            .cluster(&Cluster {
                brokers: setup.brokers.split(',').map(str::to_owned).collect(),
                port: self.bootstrap.number(),
                nodes: setup.nodes.iter().copied().zip(ports).collect(),
                rules: setup.rules,
                more: &format!("{upstream}\n{login}"),
                tls: tls.listener.as_ref(),
                sasl: tls.sasl.as_deref(),
                passes_logins: tls.passes_logins,
                ..Cluster::default()
            })
            .admin(self.admin.number())
            .text()
    }
}

const START_LIMIT: Duration = Duration::from_secs(60);
/// The proxy's own `drain_timeout` is 30 s; more than that is a fault.
const STOP_LIMIT: Duration = Duration::from_secs(40);
