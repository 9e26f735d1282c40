//! `[cluster.NAME.listeners.tls]` and `[cluster.NAME.upstream_tls]`.

use std::fs;
use std::path::Path;
use std::time::Duration;

use tempfile::TempDir;

use super::{BASE, load, only_mistake};
use crate::config::read::node::Reach;
use crate::config::read::parse;
use crate::config::read::sources::Inputs;
use crate::config::*;
use crate::ids::Ids;
use crate::testing::authority::{Authority, ExtendedKeyUsagePurpose, Wanted};
use crate::transport::suites::{TlsChoice, suite_named};
use crate::transport::tls_client::Trust;

const TLS: &str = "[cluster.main.listeners.tls]\ncertificate = \"server.pem\"\nkey = \"server.key\"\n";
const TOPICS: &str = "[[cluster.main.topics]]";

/// The base with these tables behind its listener.
fn with(tables: &str) -> String {
    BASE.replacen(TOPICS, &format!("{tables}{TOPICS}"), 1)
}

/// The base with a cluster's `upstream_tls` of these lines.
fn upstream(lines: &str) -> String {
    with(&format!("[cluster.main.upstream_tls]\n{lines}\n"))
}

#[test]
fn everything_of_a_listener_is_read() {
    let text = with(&format!(
        "{TLS}client_ca = \"ca.pem\"\ncrl = [\"a.crl\", \"b.crl\"]\nversions = [\"1.3\"]\n\
         cipher_suites = [\"TLS_AES_256_GCM_SHA384\"]\nhandshake_timeout = \"3s\"\n\
         [[cluster.main.listeners.tls.more_certificates]]\ncertificate = \"other.pem\"\nkey = \"other.key\"\n"
    ));
    let config = load(&text.replace("\"network\"", "\"mtls\"")).unwrap_or_else(|errors| panic!("{errors}"));
    let listener = &config.clusters[0].listeners[0];
    assert_eq!(listener.client_auth, ClientAuth::Mtls);
    let tls = listener.tls.as_ref().expect("it has TLS");
    let files: Vec<_> = tls.files().map(|path| path.display().to_string()).collect();
    assert_eq!(
        files,
        [
            "dir/server.pem",
            "dir/server.key",
            "dir/other.pem",
            "dir/other.key",
            "dir/ca.pem",
            "dir/a.crl",
            "dir/b.crl"
        ]
    );
    assert_eq!(tls.handshake_timeout, Duration::from_secs(3));
    let suites = suite_named("TLS_AES_256_GCM_SHA384").into_iter().collect();
    assert_eq!(
        tls.choice,
        TlsChoice {
            tls12: false,
            tls13: true,
            suites
        }
    );
    let plain = load(&with(TLS)).unwrap_or_else(|errors| panic!("{errors}"));
    let tls = plain.clusters[0].listeners[0].tls.as_ref().expect("it has TLS");
    assert_eq!(tls.choice, TlsChoice::default());
    assert!(tls.client_ca.is_none() && plain.clusters[0].upstream_tls.is_none());
}

#[test]
fn everything_towards_brokers_is_read() {
    let digest = "ab".repeat(32);
    let colons = vec!["AB"; 32].join(":");
    for (lines, trust) in [
        ("ca = \"ca.pem\"".to_owned(), Trust::File("dir/ca.pem".into())),
        ("ca = \"system\"".to_owned(), Trust::System),
        (
            format!("pin_sha256 = [\"{digest}\", \"{colons}\"]"),
            Trust::Pinned(vec![[0xab; 32]; 2]),
        ),
        ("insecure_no_verification = true".to_owned(), Trust::Anybody),
    ] {
        let config = load(&upstream(&lines)).unwrap_or_else(|errors| panic!("{errors}"));
        let tls = config.clusters[0].upstream_tls.as_ref().expect("it has TLS");
        assert_eq!(tls.trust, trust);
        assert!(tls.client.is_none() && tls.server_name.is_none());
    }
    let lines =
        "ca = \"system\"\nserver_name = \"kafka.example.com\"\ncertificate = \"me.pem\"\nkey = \"me.key\"";
    let config = load(&upstream(lines)).unwrap_or_else(|errors| panic!("{errors}"));
    let tls = config.clusters[0].upstream_tls.as_ref().expect("it has TLS");
    let name = tls.server_name.as_ref().map(|name| name.to_str().into_owned());
    assert_eq!(name.as_deref(), Some("kafka.example.com"));
    assert_eq!(tls.files().count(), 2);
}

#[test]
#[expect(clippy::too_many_lines, reason = "a list of cases")]
fn each_mistake_is_refused() {
    let listener = |lines: &str| with(&format!("{TLS}{lines}\n"));
    let ca = "ca = \"system\"\n";
    let cases = [
        (with(&TLS.replace("key = \"server.key\"", "")), "has no key"),
        (with(&TLS.replace("\"server.key\"", "\"\"")), "is empty"),
        (with(&TLS.replace("\"server.key\"", "5")), "not text"),
        (
            listener("client_ca = \"ca.pem\""),
            "no client is asked for a certificate",
        ),
        (
            listener("crl = [\"a.crl\"]"),
            "nobody whose certificate could be revoked",
        ),
        (
            listener("client_ca = \"ca.pem\"\ncrl = [\"a.crl\", \"b.crl\", \"a.crl\"]")
                .replace("\"network\"", "\"mtls\""),
            "this file is named before",
        ),
        (
            listener(
                "[[cluster.main.listeners.tls.more_certificates]]\ncertificate = \"server.pem\"\nkey = \"a\"",
            ),
            "another certificate of this listener is this file",
        ),
        (listener("crl = \"a.crl\""), "not a list"),
        (listener("principal = \"san_uri\""), "no client is asked"),
        (
            listener("principal_mapping_rules = \"DEFAULT\""),
            "no client is asked",
        ),
        (
            listener("client_ca = \"ca.pem\"\nprincipal = \"cn\"").replace("\"network\"", "\"mtls\""),
            "no such name in a certificate",
        ),
        (
            listener("client_ca = \"ca.pem\"\nprincipal_mapping_rules = \"RULE:(\"")
                .replace("\"network\"", "\"mtls\""),
            "rule",
        ),
        (
            listener(
                "client_ca = \"ca.pem\"\nprincipal = \"san_dns\"\nprincipal_mapping_rules = \"DEFAULT\"",
            )
            .replace("\"network\"", "\"mtls\""),
            "rules are for subjects",
        ),
        (listener("versions = [\"1.1\"]"), "no such version"),
        (listener("versions = []"), "without a version"),
        (listener("cipher_suites = [\"AES\"]"), "no such cipher suite"),
        (
            listener("cipher_suites = [\"TLS_AES_256_GCM_SHA384\"]"),
            "leave a version",
        ),
        (listener("handshake_timeout = \"2m\""), "more than 1m"),
        (
            listener("client_ca = \"ca.pem\"\nresumption = true").replace("\"network\"", "\"mtls\""),
            "would bring back a client's certificate",
        ),
        (listener("ca = \"a\""), "no such key"),
        (
            listener("").replace("\"network\"", "\"mtls\""),
            "has no client_ca",
        ),
        (upstream(""), "does not say which brokers"),
        (
            upstream("insecure_no_verification = false"),
            "does not say which brokers",
        ),
        (
            upstream(&format!("{ca}insecure_no_verification = true")),
            "in several ways",
        ),
        (upstream(&format!("{ca}pin_sha256 = []")), "in several ways"),
        (upstream("pin_sha256 = []"), "is empty"),
        (upstream("pin_sha256 = [\"abc\"]"), "not SHA-256"),
        (
            upstream(&format!("pin_sha256 = [\"{}\"]", "é".repeat(32))),
            "not SHA-256",
        ),
        (upstream(&format!("{ca}certificate = \"a\"")), "has no key"),
        (upstream(&format!("{ca}key = \"a\"")), "has no certificate"),
        (upstream(&format!("{ca}server_name = \"a b\"")), "not a host"),
    ];
    for (text, expected) in cases {
        let error = only_mistake(load(&text));
        assert!(error.problem.contains(expected), "{expected}: {error}");
        assert!(!error.fix.is_empty(), "{error}");
    }
}

/// PROBLEM-1
#[test]
fn a_key_in_the_place_of_its_path_is_not_repeated() {
    let text = with(&TLS.replace("\"server.key\"", "\"-----BEGIN PRIVATE KEY-----\\nhunter2\""));
    let error = only_mistake(load(&text)).to_string();
    assert!(
        error.contains("stands here itself") && !error.contains("hunter2"),
        "{error}"
    );
}

/// What `Config::load` makes of a file in `folder` with this text.
fn load_there(folder: &TempDir, text: &str) -> Result<Config, ConfigErrors> {
    let inputs = Inputs {
        text,
        path: folder.path().join("sealwire.toml"),
        ..Inputs::default()
    };
    parse(inputs, Reach::Check, Ids::default())
}

/// Everything that clients would refuse, or that cannot be used, is told before the start.
#[test]
fn files_are_looked_at_with_the_eyes_of_clients() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let problems = |text: &str| match load_there(&folder, text) {
        Ok(_) => String::new(),
        Err(errors) => {
            let ours = errors.errors().iter().filter(|error| error.key.contains("tls"));
            ours.map(|error| error.problem.clone())
                .collect::<Vec<_>>()
                .join("\n")
        }
    };
    let root = Authority::root("root");
    let write = |wanted: &Wanted| root.issue(wanted).write(folder.path(), "server");
    assert!(problems(&with(TLS)).contains("there is no file"));
    let files = write(&Wanted::for_hosts(&["proxy.example.com"]));
    assert_eq!(problems(&with(TLS)), "");
    make_readable_by_others(&files.key);
    assert!(problems(&with(TLS)).contains("can be accessed by others"));
    write(&Wanted::for_hosts(&["*.example.org"]));
    assert!(problems(&with(TLS)).contains("no certificate has proxy.example.com"));
    write(&Wanted {
        is_authority: true,
        ..Wanted::for_hosts(&["proxy.example.com"])
    });
    assert!(problems(&with(TLS)).contains("CA:TRUE"));
    write(&Wanted {
        purposes: vec![ExtendedKeyUsagePurpose::ClientAuth],
        ..Wanted::for_hosts(&["proxy.example.com"])
    });
    assert!(problems(&with(TLS)).contains("is not for servers"));
    let two = with(&format!(
        "{TLS}[[cluster.main.listeners.tls.more_certificates]]\ncertificate = \"other.pem\"\nkey = \"other.key\"\n"
    ));
    // Whoever names no host is shown the first.
    for (host, is_covered) in [
        ("proxy.example.com", true),
        ("192.0.2.1", false),
        ("proxy", false),
        ("a_proxy.example.com", false),
    ] {
        let text = two.replace("proxy.example.com", host);
        root.issue(&Wanted::for_hosts(&[host]))
            .write(folder.path(), "other");
        write(&Wanted::for_hosts(&["another.example.com"]));
        let found = problems(&text);
        let is_told = found.contains(&format!("the first certificate does not have {host}"));
        assert_eq!(is_told, !is_covered, "{host}: {found}");
        write(&Wanted::for_hosts(&[host]));
        assert_eq!(problems(&text), "", "{host}");
    }
    root.issue(&Wanted::for_hosts(&["proxy.example.com"]))
        .write(folder.path(), "other");
    fs::copy(folder.path().join("other.key"), &files.key).expect("it is copied");
    assert!(problems(&with(TLS)).contains("is not the key"));
    assert!(problems(&upstream("ca = \"none.pem\"")).contains("there is no file"));
    fs::write(folder.path().join("none.pem"), "none").expect("it is written");
    assert!(problems(&upstream("ca = \"none.pem\"")).contains("holds no certificate"));
}

fn make_readable_by_others(path: &Path) {
    use std::os::unix::fs::PermissionsExt as _;

    fs::set_permissions(path, fs::Permissions::from_mode(0o644)).expect("its rights are changed");
}

/// The base with brokers that are told apart by name, at one port.
fn by_name() -> String {
    with(TLS)
        .replace(
            "\"proxy.example.com\"",
            "\"b$(node).kafka.example.com\"\nbootstrap_host = \"kafka.example.com\"",
        )
        .replace("node_ports = \"9193-9195\"\n", "")
}

#[test]
fn brokers_are_told_apart_by_name_at_one_port() {
    let config = load(&by_name()).unwrap_or_else(|errors| panic!("{errors}"));
    let listener = &config.clusters[0].listeners[0];
    assert_eq!(
        listener.node_listeners().count(),
        0,
        "no port is bound for a node"
    );
    let told: Vec<_> = listener.node_addresses().collect();
    let name = |node: i32| (node, format!("b{node}.kafka.example.com"), 9192);
    assert_eq!(told, [name(0), name(1), name(2)]);
    let names: Vec<_> = listener.names().map(|(node, _)| node).collect();
    assert_eq!(names, [None, Some(0), Some(1), Some(2)]);
    let by_port = load(BASE).unwrap_or_else(|errors| panic!("{errors}"));
    let listener = &by_port.clusters[0].listeners[0];
    assert_eq!(listener.names().count(), 0);
    let told = listener.node_addresses().nth(1);
    assert_eq!(told, Some((1, "proxy.example.com".to_owned(), 9194)));
}

/// The same with a second cluster whose listener has these names at this address.
fn two_by_name(listen: &str, host: &str, bootstrap: &str) -> String {
    let text = by_name();
    let begin = text.find("[cluster.main]").expect("a cluster");
    let end = text.find("[admin]").expect("the admin port");
    let second = text[begin..end]
        .replace("cluster.main", "cluster.second")
        .replace("0.0.0.0:9192", listen)
        .replace("\"b$(node).kafka.example.com\"", host)
        .replace("\"kafka.example.com\"", bootstrap)
        .replace("kek = \"payments\"", "kek = \"second\"");
    format!("{}{second}{}", &text[..end], &text[end..])
}

#[test]
fn clusters_share_a_port_unless_they_share_a_name() {
    let other = ("\"b$(node).second.example.com\"", "\"second.example.com\"");
    let config = load(&two_by_name("0.0.0.0:9192", other.0, other.1));
    assert_eq!(
        config.unwrap_or_else(|errors| panic!("{errors}")).clusters.len(),
        2
    );
    for (text, expected) in [
        (
            two_by_name("127.0.0.1:9192", other.0, other.1),
            "port 9192 is taken",
        ),
        (
            two_by_name("0.0.0.0:9192", other.0, "\"Kafka.example.com\""),
            "is a name of",
        ),
        (
            two_by_name("0.0.0.0:9192", "\"B$(node).kafka.example.com\"", other.1),
            "is a name of",
        ),
        (
            two_by_name("0.0.0.0:9190", other.0, other.1),
            "port 9190 is taken",
        ),
    ] {
        let errors = load(&text).expect_err("a mistake");
        let told = errors
            .errors()
            .iter()
            .any(|error| error.problem.contains(expected));
        assert!(told, "{expected}: {errors}");
    }
}

#[test]
fn names_that_clients_would_not_ask_for_are_refused() {
    let base = by_name();
    let pattern = "\"b$(node).kafka.example.com\"";
    let host = "\"kafka.example.com\"";
    for (text, expected) in [
        (
            base.replace(pattern, "\"b$(id).example.com\""),
            "does not have $(node) once",
        ),
        (
            base.replace(pattern, "\"$(node).$(node).com\""),
            "does not have $(node) once",
        ),
        (base.replace(pattern, "\"b$(node)\""), "Java's clients do not say"),
        (
            base.replace(pattern, "\"b_$(node).example.com\""),
            "Java's clients do not say",
        ),
        (
            base.replace(pattern, "\"b$(node).example.com.\""),
            "Java's clients do not say",
        ),
        (
            base.replace(pattern, "\"b $(node).example.com\""),
            "neither a name",
        ),
        (
            base.replace(pattern, "\"kafka.$(node)\""),
            "cannot name this in a handshake",
        ),
        (base.replace(host, "\"localhost\""), "Java's clients do not say"),
        (base.replace(host, "\"192.0.2.1\""), "Java's clients do not say"),
        (
            base.replace("bootstrap_host = \"kafka.example.com\"\n", ""),
            "has no bootstrap_host",
        ),
        (
            base.replace("nodes = ", "node_ports = \"9193-9195\"\nnodes = "),
            "told apart by name",
        ),
        (base.replace(TLS, ""), "does not say which name"),
        (
            BASE.replace("nodes = ", "bootstrap_host = \"kafka.example.com\"\nnodes = "),
            "whose brokers have names of their own",
        ),
        (
            BASE.replace("node_ports = \"9193-9195\"\n", ""),
            "has no node_ports",
        ),
    ] {
        let error = only_mistake(load(&text));
        assert!(error.problem.contains(expected), "{expected}: {error}");
    }
}
