//! Whether what clients are told resolves, the `advertised_host` of each listener, and whether they may stumble over
//! its certificates. Blocks for as long as the resolver takes.

use std::net::ToSocketAddrs as _;
use std::time::SystemTime;

use super::{Row, Verdict};
use crate::config::{ClusterConfig, ListenerConfig};
use crate::transport::tls_server::ListenerTls;

pub(super) fn look(cluster: &ClusterConfig) -> Vec<Row> {
    let listeners = cluster.listeners.iter();
    let open = open_beside_others(cluster).map(|listener| {
        let finding = "its clients have no names, so that lists of principals (open_for, seal_for) do not bind them: \
            whoever reaches it reads and writes what they keep from others";
        let subject = format!("{}/{listener} client_auth", cluster.name);
        Row::new(subject, Verdict::Warning, finding)
    });
    let looked_at = listeners.flat_map(|listener| {
        // One name of a broker stands for all.
        let names = listener.names().take(2).map(|(_, host)| host);
        let host = listener
            .bootstrap_host
            .is_none()
            .then(|| listener.advertised_host.clone());
        let hosts = names.chain(host);
        let rows = hosts.map(|host| row(&cluster.name, &listener.name, &host));
        rows.chain(of_files(&cluster.name, &listener.name, listener.tls.as_ref()))
            .collect::<Vec<_>>()
    });
    open.chain(looked_at).collect()
}

/// Listeners whose clients have no names, where others' have them.
fn open_beside_others(cluster: &ClusterConfig) -> impl Iterator<Item = &str> {
    let names = |listener: &&ListenerConfig| listener.client_auth.names_clients();
    let some_have_names = cluster.listeners.iter().any(|listener| names(&listener));
    let open = cluster
        .listeners
        .iter()
        .filter(move |listener| some_have_names && !names(listener));
    open.map(|listener| listener.name.as_str())
}

/// What is no mistake, and may be one. Files that cannot be used keep the program from starting.
fn of_files(cluster: &str, listener: &str, tls: Option<&ListenerTls>) -> Vec<Row> {
    let subject = format!("{cluster}/{listener} TLS");
    match tls.map(|tls| tls.load(SystemTime::now())) {
        None => Vec::new(),
        Some(Ok(set)) => {
            let doubts = set.doubts.into_iter();
            doubts
                .map(|doubt| Row::new(subject.clone(), Verdict::Warning, doubt))
                .collect()
        }
        Some(Err(error)) => vec![Row::new(subject, Verdict::Failed, error.to_string())],
    }
}

/// A warning at worst: clients may know names that this host does not.
fn row(cluster: &str, listener: &str, host: &str) -> Row {
    let subject = format!("{cluster}/{listener} advertised_host");
    // Any port: only the name is looked up.
    let resolved = (host, 0).to_socket_addrs().map(|mut found| found.next());
    let why_not = match resolved {
        Ok(Some(address)) => {
            return Row::new(
                subject,
                Verdict::Good,
                format!("{host} resolves here, to {}", address.ip()),
            );
        }
        Ok(None) => "it has no address".to_owned(),
        Err(error) => error.to_string(),
    };
    let finding = format!(
        "{host} does not resolve here ({why_not}): clients that cannot resolve it reach no broker after the bootstrap"
    );
    Row::new(subject, Verdict::Warning, finding)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::testing::authority::{Authority, Wanted};
    use crate::testing::tls_meeting::listener;

    #[test]
    fn a_name_that_does_not_resolve_is_a_warning() {
        for host in ["localhost", "127.0.0.1", "::1"] {
            assert_eq!(row("main", "lan", host).verdict, Verdict::Good, "{host}");
        }
        // RFC 2606: never resolves.
        let row = row("main", "lan", "proxy.invalid");
        assert_eq!(row.verdict, Verdict::Warning);
        assert!(row.finding.contains("proxy.invalid does not resolve"), "{row:?}");
    }

    #[test]
    fn whoever_is_bound_by_no_list_is_a_warning_where_others_are() {
        let with = |auths: &[&str]| {
            let listeners = auths.iter().zip(1_u16..).map(|(auth, number)| {
                let table = match *auth {
                    "sasl" => "[cluster.main.listeners.sasl]\ncredentials = \"users\"\n",
                    _ => "",
                };
                let (port, nodes) = (9000 + 10 * number, [(0, 9001 + 10 * number)]);
                let name = format!("l{number}");
                let listener =
                    crate::testing::configuration::listener("main", &name, auth, "127.0.0.1", port, &nodes);
                format!("{listener}{table}")
            });
            let listeners: String = listeners.collect();
            let text = format!(
                "[cluster.main]\nbootstrap = [\"kafka:9092\"]\n{listeners}[[cluster.main.topics]]\n\
                 match = \"*\"\npass = true\n"
            );
            let config = crate::config::Config::from_toml_text(&text, "/sealwire.toml".as_ref())
                .unwrap_or_else(|errors| panic!("{errors}\n{text}"));
            let rows = look(&config.clusters[0]).into_iter();
            rows.filter(|row| row.verdict == Verdict::Warning)
                .map(|row| row.subject)
                .collect::<Vec<_>>()
        };
        assert!(with(&["network", "broker"]).is_empty() && with(&["sasl"]).is_empty());
        assert_eq!(with(&["sasl", "network", "sasl"]), ["main/l2 client_auth"]);
        assert_eq!(with(&["broker", "sasl"]), ["main/l1 client_auth"]);
    }

    #[test]
    fn a_chain_with_strangers_is_a_warning() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let root = Authority::root("root");
        let issued = root.issue(&Wanted::for_hosts(&["a"]));
        let files = issued.write(folder.path(), "server");
        let tls = listener(vec![files.clone()]);
        let told = || of_files("main", "lan", Some(&tls));
        assert_eq!(told(), []);
        let stranger = root.intermediate("stranger").pem();
        fs::write(&files.certificate, format!("{}{stranger}", issued.chain)).expect("it is written");
        let rows = told();
        assert_eq!(rows.len(), 1);
        assert_eq!(
            (rows[0].subject.as_str(), rows[0].verdict),
            ("main/lan TLS", Verdict::Warning)
        );
        assert!(
            rows[0].finding.starts_with("1 certificates behind the first in"),
            "{rows:?}"
        );
        fs::remove_file(&files.key).expect("it is removed");
        assert_eq!(told()[0].verdict, Verdict::Failed);
    }
}
