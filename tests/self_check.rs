//! `sealwire check-config --probe` and the self-check after the start, against a real broker: what is good, what is wrong, and what
//! cannot be asked.

use std::fs;
use std::process::Command;
use std::sync::LazyLock;
use std::time::Duration;

#[path = "support/fixture.rs"]
mod support;

use support::artifacts::KafkaVersion;
use support::broker_properties::Login;
use support::cluster::KafkaCluster;
use support::keystore::Keystore;
use support::launch::DataFolder;
use support::ports::ReservedPort;
use support::rig::{Rig, Topic};
use support::{HOST, wait};

static RIG: LazyLock<Rig> = LazyLock::new(|| {
    let logins = [Login::Plaintext, Login::Sasl];
    Rig::assemble(
        KafkaCluster::start_with(KafkaVersion::Current, 1, &logins, &[]),
        Login::Plaintext,
    )
});
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
    let text = format!(
        "[limits]\nconnections_max = 100\n\
         [kms.local]\nprovider = \"file\"\npath = \"{}\"\nmaster_key = {{ file = \"{}\" }}\n\
         [cluster.main]\nbootstrap = [\"{bootstrap}\"]\n\
         [[cluster.main.listeners]]\nname = \"lan\"\nlisten = \"{}\"\nclient_auth = \"network\"\n\
         advertised_host = \"{HOST}\"\nnodes = [{node}]\nnode_ports = [{}]\n\
         [[cluster.main.topics]]\nmatch = \"{topics}\"\nkms = \"local\"\nkek = \"{kek}\"\n\
         max_message_bytes = {max_message_bytes}\n",
        KEYSTORE.path().display(),
        KEYSTORE.master_key().display(),
        listen.address(),
        node_port.number(),
    );
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
    RIG.create(&Topic {
        name,
        partitions: 1,
        replicas: 1,
        configs: &[("max.message.bytes", "1000000")],
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
    table.has("good", "descriptors", &[]);
    table.has("good", "io_uring", &[]);
}

#[test]
fn what_is_wrong_is_named_and_the_exit_code_says_so() {
    let topic = small_topic("wrong-limit");
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
        &[&node.to_string(), "lan", "node_ports"],
    );
    table.has(
        "warning",
        "main topic limits",
        &[&topic, "1000000 bytes", "1000001"],
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

/// SERVER-4
#[test]
fn a_program_that_has_started_says_the_same_in_its_log() {
    let Some(proxy) = RIG.proxy() else { return };
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
