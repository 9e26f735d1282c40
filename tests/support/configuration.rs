//! The text of a configuration, for tests and measurements: keystores, clusters with one listener each, an admin port.
//! Everything listens on loopback.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// The tables so far.
#[derive(Debug, Default)]
pub(crate) struct Configuration(String);

impl Configuration {
    /// Tables as they stand, such as `[runtime]` and `[limits]`.
    pub(crate) fn with(tables: &str) -> Self {
        Configuration(format!("{tables}\n"))
    }

    /// A KMS that is a keystore in a file.
    pub(crate) fn keystore(self, kms: &str, keystore: &Path, master_key: &Path) -> Self {
        self.and(format_args!(
            "[kms.{kms}]\nprovider = \"file\"\npath = {keystore:?}\nmaster_key = {{ file = {master_key:?} }}\n"
        ))
    }

    pub(crate) fn cluster(self, cluster: &Cluster<'_>) -> Self {
        let Cluster {
            name,
            brokers,
            port,
            nodes,
            rules,
            more,
            tls,
            sasl,
            passes_logins,
        } = cluster;
        let client_auth = if sasl.is_some() {
            "sasl"
        } else if tls.is_some_and(|tls| tls.client_ca.is_some()) {
            "mtls"
        } else if *passes_logins {
            "broker"
        } else {
            "network"
        };
        let tls = tls.map_or_else(String::new, |tls| tls.table(name));
        let sasl = sasl.map_or_else(String::new, |keys| {
            format!("[cluster.{name}.listeners.sasl]\n{keys}\n")
        });
        let listener = listener(name, "test", client_auth, "127.0.0.1", *port, nodes);
        let rules = if matches!(client_auth, "network" | "broker") {
            (*rules).to_owned()
        } else {
            open_to_all(rules)
        };
        self.and(format_args!(
            "[cluster.{name}]\nbootstrap = {brokers:?}\n{more}\n{listener}{tls}{sasl}{rules}\n"
        ))
    }

    pub(crate) fn admin(self, port: u16) -> Self {
        self.and(format_args!("[admin]\nlisten = \"127.0.0.1:{port}\"\n"))
    }

    pub(crate) fn text(self) -> String {
        self.0
    }

    fn and(mut self, table: std::fmt::Arguments<'_>) -> Self {
        self.0.write_fmt(table).expect("writing to a string");
        self
    }
}

/// The rules, with everybody named in those that seal and name nobody yet.
fn open_to_all(rules: &str) -> String {
    let mut opened = String::new();
    for (place, table) in rules.split("[[").enumerate() {
        if place > 0 {
            opened.push_str("[[");
        }
        opened.push_str(table);
        let names = |key: &str| table.contains(key);
        if names("kek =") && !names("open_for =") && !names("seal_for =") {
            opened.push_str("\nopen_for = [\"User:*\"]\nseal_for = [\"User:*\"]\n");
        }
    }
    opened
}

/// A listener of `cluster` on loopback; one beside that of [`Cluster`] stands before its rules.
pub(crate) fn listener(
    cluster: &str,
    name: &str,
    client_auth: &str,
    advertised_host: &str,
    port: u16,
    nodes: &[(i32, u16)],
) -> String {
    let (ids, ports): (Vec<i32>, Vec<u16>) = nodes.iter().copied().unzip();
    format!(
        "[[cluster.{cluster}.listeners]]\nname = {name:?}\nlisten = \"127.0.0.1:{port}\"\n\
         client_auth = {client_auth:?}\nadvertised_host = {advertised_host:?}\n\
         nodes = {ids:?}\nnode_ports = {ports:?}\n"
    )
}

/// A cluster behind one listener.
#[derive(Debug, Clone)]
pub(crate) struct Cluster<'a> {
    pub(crate) name: &'a str,
    /// `host:port` each.
    pub(crate) brokers: Vec<String>,
    /// Where clients bootstrap.
    pub(crate) port: u16,
    /// The ids of brokers, each with the port that leads to it.
    pub(crate) nodes: Vec<(i32, u16)>,
    /// The `[[cluster.NAME.topics]]` tables.
    pub(crate) rules: &'a str,
    /// More keys of the cluster, such as `state_file`.
    pub(crate) more: &'a str,
    /// Of its listener; without it, clients speak plain TCP.
    pub(crate) tls: Option<&'a ListenerTls>,
    /// Where logins end at it: the keys of its `sasl`.
    pub(crate) sasl: Option<&'a str>,
    /// Clients log in at the brokers.
    pub(crate) passes_logins: bool,
}

/// What a listener shows its clients, and asks of them.
#[derive(Debug, Clone)]
pub(crate) struct ListenerTls {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
    /// With it, every client has to have a certificate.
    pub(crate) client_ca: Option<PathBuf>,
    /// More keys of the table, such as `crl`.
    pub(crate) more: String,
}

impl ListenerTls {
    /// Of the listener of `cluster` that it stands behind.
    pub(crate) fn table(&self, cluster: &str) -> String {
        let ca = self.client_ca.as_ref();
        let ca = ca.map_or_else(String::new, |path| format!("client_ca = {path:?}\n"));
        format!(
            "[cluster.{cluster}.listeners.tls]\ncertificate = {:?}\nkey = {:?}\n{ca}{}\n",
            self.certificate, self.key, self.more
        )
    }
}

impl Default for Cluster<'_> {
    fn default() -> Self {
        Cluster {
            name: "main",
            brokers: Vec::new(),
            port: 0,
            nodes: Vec::new(),
            rules: "",
            more: "",
            tls: None,
            sasl: None,
            passes_logins: false,
        }
    }
}
