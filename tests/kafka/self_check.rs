//! `sealwire check-config --probe` and the self-check after the start, against a real broker: what is good, what is
//! wrong, and what cannot be asked.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::process::Command;
use std::sync::LazyLock;
use std::thread;
use std::time::{Duration, Instant};

use crate::support::broker_properties::Login;
use crate::support::configuration::Cluster;
use crate::support::keystore::Keystore;
use crate::support::launch::DataFolder;
use crate::support::ports::ReservedPort;
use crate::support::rig::{Rig, Topic};
use crate::support::shared;
use crate::support::skipped;
use crate::support::{HOST, wait};

static RIG: LazyLock<Rig> = LazyLock::new(|| Rig::assemble(shared::one_broker(), Login::Plaintext));
/// What tests may open of descriptors is enough.
const LIMITS: &str = "[limits]\nconnections_max = 100";
static KEYSTORE: LazyLock<Keystore> = LazyLock::new(|| Keystore::create(&["orders"]));

/// A table, by what was looked at.
struct Table {
    code: Option<i32>,
    text: String,
}

impl Table {
    /// Asserts that the row of this subject has this verdict and says all of `words`.
    fn has(&self, verdict: &str, subject: &str, words: &[&str]) {
        let row = self.text.lines().find(|line| {
            let rest = line.strip_prefix(verdict).map(str::trim_start);
            rest.is_some_and(|rest| rest.starts_with(subject))
        });
        let row = row.unwrap_or_else(|| panic!("no {verdict} {subject} in\n{}", self.text));
        for word in words {
            assert!(row.contains(word), "{word}: {row}");
        }
    }
}

/// What `check-config --probe` makes of one rule for `topics` under `kek`, and of a listener for `node`.
fn probe(bootstrap: &str, node: i32, topics: &str, kek: &str, max_message_bytes: usize) -> Table {
    let folder = DataFolder::create("probe");
    let (listen, node_port) = (ReservedPort::take(), ReservedPort::take());
    let rules = format!(
        "[[cluster.main.topics]]\nmatch = \"{topics}\"\nkms = \"local\"\nkek = \"{kek}\"\n\
         max_message_bytes = {max_message_bytes}\n"
    );
    let text = KEYSTORE
        .configuration(LIMITS)
        .cluster(&Cluster {
            brokers: vec![bootstrap.to_owned()],
            port: listen.number(),
            nodes: vec![(node, node_port.number())],
            rules: &rules,
            ..Cluster::default()
        })
        .text();
    let configuration = folder.path().join("sealwire.toml");
    fs::write(&configuration, text).expect("writing the configuration");
    let output = Command::new(env!("CARGO_BIN_EXE_sealwire"))
        .args(["check-config", "--probe"])
        .arg(&configuration)
        .output()
        .expect("the program runs");
    Table {
        code: output.status.code(),
        text: String::from_utf8(output.stdout).expect("text"),
    }
}

fn small_topic(name: &str) -> String {
    small_topic_with(name, "producer")
}

fn small_topic_with(name: &str, compression: &str) -> String {
    RIG.create(&Topic {
        name,
        partitions: 1,
        replicas: 1,
        configs: &[
            ("max.message.bytes", "1000000"),
            ("compression.type", compression),
        ],
    });
    name.to_owned()
}

#[test]
fn what_is_there_is_good() {
    let topic = small_topic("good-limit");
    let node = RIG.cluster.nodes()[0];
    let bootstrap = RIG.cluster.bootstrap_of(Login::Plaintext);
    let table = probe(&bootstrap, node, &topic, "orders", 1_000_000);
    assert_eq!(table.code, Some(0), "{}", table.text);
    table.has("good", "kms local", &[]);
    table.has("good", "kek local/orders", &[]);
    table.has("good", &format!("main {bootstrap}"), &["a broker answers"]);
    table.has("good", "main broker ids", &[&node.to_string()]);
    table.has("good", "main broker addresses", &[]);
    table.has("good", "main topic limits", &["1 sealed"]);
    table.has("good", "main topic codecs", &["1 topics"]);
    table.has("good", "descriptors", &[]);
    table.has("good", "io_uring", &[]);
}

#[test]
fn what_is_wrong_is_named_and_the_exit_code_says_so() {
    let topic = small_topic_with("wrong-limit", "uncompressed");
    let node = RIG.cluster.nodes()[0];
    let bootstrap = RIG.cluster.bootstrap_of(Login::Plaintext);
    let table = probe(&bootstrap, node + 1, &topic, "missing", 1_000_001);
    assert_eq!(table.code, Some(1), "{}", table.text);
    table.has(
        "failed",
        "kek local/missing",
        &["not in this KMS", "error 44", &topic, "keystore add"],
    );
    table.has(
        "failed",
        "main broker ids",
        &[&node.to_string(), "test", "node_ports"],
    );
    table.has(
        "warning",
        "main topic limits",
        &[&topic, "1000000 bytes", "1000001"],
    );
    table.has(
        "warning",
        "main topic codecs",
        &["wrong-limit (uncompressed)", "anew", "max.message.bytes"],
    );
    // A KEK that is disabled, and nothing else.
    KEYSTORE.command("add", &["asleep"]);
    KEYSTORE.command("disable", &["asleep"]);
    let table = probe(&bootstrap, node, &topic, "asleep", 1_000_000);
    assert_eq!(table.code, Some(1), "{}", table.text);
    table.has("failed", "kek local/asleep", &["disabled", "keystore enable"]);
}

#[test]
fn what_cannot_be_asked_is_unknown_and_nobody_is_a_failure() {
    let node = RIG.cluster.nodes()[0];
    let table = probe(
        &RIG.cluster.bootstrap_of(Login::Sasl),
        node,
        "*",
        "orders",
        1_000_000,
    );
    assert_eq!(table.code, Some(0), "{}", table.text);
    table.has("unknown", "main cluster", &["want a login"]);
    let nobody = ReservedPort::take();
    let table = probe(&nobody.address(), node, "*", "orders", 1_000_000);
    assert_eq!(table.code, Some(1), "{}", table.text);
    table.has("failed", &format!("main {}", nobody.address()), &["refused"]);
    if let Some(proxy) = RIG.proxy() {
        let table = probe(&proxy.bootstrap(), node, "*", "orders", 1_000_000);
        assert_eq!(table.code, Some(1), "{}", table.text);
        table.has(
            "failed",
            &format!("main {}", proxy.bootstrap()),
            &["a Sealwire answers"],
        );
    }
}

/// SELF-CHECK-1: brokers that take connections and say nothing, and one whose answer comes byte by byte, keep nobody
/// else waiting.
#[test]
fn brokers_that_are_stuck_fail_and_keep_no_other_cluster_waiting() {
    let dripping = fake(true);
    let folder = DataFolder::create("probe-stuck");
    let all: Vec<String> = (0..4).map(|_| format!("{HOST}:{}", fake(false))).collect();
    let ports = [(); 4].map(|()| ReservedPort::take());
    let clusters = [
        ("stuck", all.clone()),
        ("dripping", vec![format!("{HOST}:{dripping}")]),
    ];
    let mut configuration = KEYSTORE.configuration(LIMITS);
    for ((name, brokers), ports) in clusters.into_iter().zip(ports.chunks(2)) {
        configuration = configuration.cluster(&Cluster {
            name,
            brokers,
            port: ports[0].number(),
            nodes: vec![(1, ports[1].number())],
            rules: &format!(
                "[[cluster.{name}.topics]]\nmatch = \"{name}-*\"\nkms = \"local\"\nkek = \"orders\""
            ),
            ..Cluster::default()
        });
    }
    let text = configuration.text();
    let configuration = folder.path().join("sealwire.toml");
    fs::write(&configuration, text).expect("writing the configuration");
    let begun = Instant::now();
    let output = Command::new(env!("CARGO_BIN_EXE_sealwire"))
        .args(["check-config", "--probe"])
        .arg(&configuration)
        .output()
        .expect("the program runs");
    let table = Table {
        code: output.status.code(),
        text: String::from_utf8(output.stdout).expect("text"),
    };
    assert_eq!(table.code, Some(1), "{}", table.text);
    for address in &all {
        table.has(
            "failed",
            &format!("stuck {address}"),
            &["does not answer in time"],
        );
    }
    table.has(
        "good",
        &format!("dripping {HOST}:{dripping}"),
        &["a broker answers"],
    );
    table.has("failed", "dripping cluster", &["does not answer in time"]);
    assert!(begun.elapsed() < Duration::from_secs(40), "{:?}", begun.elapsed());
}

/// A port that takes connections and says nothing; or, if `greets`, that answers ApiVersions, and then
/// anything else with a long answer that comes byte by byte.
fn fake(greets: bool) -> u16 {
    let listener = TcpListener::bind((HOST, 0)).expect("a port");
    let port = listener.local_addr().expect("an address").port();
    thread::spawn(move || {
        for mut socket in listener.incoming().flatten() {
            thread::spawn(move || {
                let mut prefix = [0; 4];
                while socket.read_exact(&mut prefix).is_ok() {
                    let mut request = vec![0; usize::try_from(u32::from_be_bytes(prefix)).expect("short")];
                    if socket.read_exact(&mut request).is_err() {
                        return;
                    }
                    if !greets {
                        continue;
                    }
                    let id = &request[4..8];
                    if request[..2] == [0, 18] {
                        let answer = [&[0, 0, 0, 12][..], id, &[0, 0, 1, 0, 0, 0, 0, 0]].concat();
                        let _ = socket.write_all(&answer);
                        continue;
                    }
                    let _ = socket.write_all(&[&[0, 16, 0, 0][..], id].concat());
                    while socket.write_all(&[0]).is_ok() {
                        thread::park_timeout(Duration::from_secs(1));
                    }
                }
            });
        }
    });
    port
}

/// SERVER-4
#[test]
fn a_program_that_has_started_says_the_same_in_its_log() {
    let Some(proxy) = RIG.proxy() else {
        return skipped::there_is_no_proxy();
    };
    wait::until("the self-check", Duration::from_secs(60), || {
        proxy.output().contains(" failed").then_some(())
    });
    let output = proxy.output();
    for said in ["kek local/orders", "kek local/invoices", "main broker ids"] {
        let is_said =
            |line: &str| line.contains("self-check") && line.contains(said) && line.contains("INFO");
        assert!(output.lines().any(is_said), "{said} is not in\n{output}");
    }
    assert!(output.contains("0 failed"), "{output}");
}
