//! What is left of keys and secrets where they have been: data keys that a KMS in a network has made and unwrapped are
//! looked for in the memory of programs that use them, and in all that these say of themselves.

use std::os::unix::process::ExitStatusExt as _;
use std::process::Command;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use reqwest::Method;
use serde_json::json;
use tokio::runtime::{Builder, Runtime};

use crate::support::broker_properties::Login;
use crate::support::configuration::{Cluster, Configuration};
use crate::support::launch::{DataFolder, Process};
use crate::support::openbao::OpenBao;
use crate::support::operations::{From, Options};
use crate::support::ports::ReservedPort;
use crate::support::process_memory::{Finding, find};
use crate::support::proxy::Proxy;
use crate::support::records::{Record, assert_delivered};
use crate::support::rig::Rig;
use crate::support::secret_files::write_secret;
use crate::support::shared;
use crate::support::skipped;
use crate::support::stored_seal::StoredSeal;
use crate::support::wait;

/// A policy that lets the proxy do all that it does, and nothing else.
const POLICY: &str = "proxy";
const KEK: &str = "orders";

/// What no text of the program may hold.
const VALUE: &str = "value-of-a-record-93c1";

/// Connections to a KMS that nobody uses are closed, and their buffers given back, within 6 s: between two rechecks.
const IDLE_LIMIT: Duration = Duration::from_secs(60);

/// A quarter of `limits.outage_grace`, in which a KEK is asked about, and a busy machine.
const REVOCATION_LIMIT: Duration = Duration::from_secs(90);

/// A KMS, whose administrator says what the keys are.
struct Kms {
    runtime: Runtime,
    server: OpenBao,
    /// The proxies' token, which is theirs alone.
    token: String,
}

impl Kms {
    fn start() -> Self {
        let runtime = Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        let server = runtime.block_on(OpenBao::start_tls());
        let token = runtime.block_on(async {
            server.post(&format!("transit/keys/{KEK}"), json!({})).await;
            server.grant(POLICY, KEK).await;
            let made = server
                .post(
                    "auth/token/create",
                    json!({ "policies": [POLICY], "no_default_policy": false }),
                )
                .await;
            made["auth"]["client_token"].as_str().expect("a token").to_owned()
        });
        Self {
            runtime,
            server,
            token,
        }
    }

    /// The data key of a stored record, as the KMS writes it.
    fn data_key(&self, seal: &StoredSeal) -> String {
        let dek = seal.dek();
        assert_eq!((&dek.kek[..], &dek.version[..]), (KEK.as_bytes(), &[1][..]));
        let ciphertext = format!("vault:v1:{}", BASE64_STANDARD.encode(&dek.blob));
        let path = format!("transit/decrypt/{KEK}");
        let asked = self.server.post(&path, json!({ "ciphertext": ciphertext }));
        let answer = self.runtime.block_on(asked);
        answer["data"]["plaintext"].as_str().expect("a key").to_owned()
    }

    /// The proxies may use the KEK no longer.
    fn revoke(&self) {
        let path = format!("sys/policies/acl/{POLICY}");
        self.runtime
            .block_on(self.server.admin(Method::DELETE, &path, None));
    }
}

/// A proxy whose KMS is that one, and which says as much of itself as it can.
struct Talkative {
    proxy: Proxy,
    listen: ReservedPort,
    _node: ReservedPort,
}

impl Talkative {
    fn start(rig: &Rig, kms: &Kms, name: &str) -> Self {
        let (listen, node) = (ReservedPort::take(), ReservedPort::take());
        let folder = kms.server.folder();
        let token = folder.join(format!("token-{name}"));
        write_secret(&token, &kms.token);
        let tables = format!(
            "[log]\nfilter = \"trace\"\n[audit]\nto = {:?}\n[limits]\noutage_grace = \"1min\"\n\
             [runtime]\nexecutors = 2\n\
             [kms.vault]\nprovider = \"vault\"\naddress = {:?}\nca = {:?}\n\
             [kms.vault.login]\nmethod = \"token\"\ntoken = {{ file = {token:?} }}",
            folder.join(format!("audit-{name}")),
            kms.server.address(),
            kms.server.ca(),
        );
        let rules = format!("[[cluster.main.topics]]\nmatch = \"*\"\nkms = \"vault\"\nkek = \"{KEK}\"\n");
        let configuration = Configuration::with(&tables).cluster(&Cluster {
            brokers: vec![rig.cluster.bootstrap()],
            port: listen.number(),
            nodes: vec![(rig.cluster.nodes()[0], node.number())],
            rules: &rules,
            ..Cluster::default()
        });
        Self {
            proxy: Proxy::start_by(configuration),
            listen,
            _node: node,
        }
    }

    fn options(&self) -> Options {
        Options::at(self.listen.address())
    }

    fn find(&self, bytes: &[u8]) -> std::io::Result<Vec<Finding>> {
        find(self.proxy.id(), bytes)
    }

    /// Looked for once a second: that takes a good part of one.
    fn await_gone(&self, what: &str, bytes: &[u8], limit: Duration) {
        wait::until(&format!("{what} to be gone"), limit, || {
            wait::pause(Duration::from_secs(1));
            self.find(bytes).expect("it runs").is_empty().then_some(())
        });
    }

    /// All that it has said of itself so far.
    fn said(&self, kms: &Kms, name: &str) -> String {
        let audit = kms.server.folder().join(format!("audit-{name}"));
        let audit = std::fs::read_to_string(audit).expect("it writes one");
        [
            self.proxy.output(),
            self.proxy.metrics(),
            self.proxy.readiness(),
            audit,
        ]
        .concat()
    }
}

/// WIPED-HEAP-1: while a data key is used its bytes are in memory that is locked and not dumped, and nowhere else; what
/// the KMS has answered is gone when its connection is; once the key is refused nothing of it is left.
#[test]
fn data_keys_are_where_they_should_be_and_then_nowhere() {
    let rig = Rig::assemble(shared::one_broker(), Login::Plaintext);
    if !rig.seals() {
        return skipped::there_is_no_proxy();
    }
    let kms = Kms::start();
    let topic = rig.topic("key-memory", 1);
    // The one has its key made, the other has it unwrapped.
    let (writer, reader) = (
        Talkative::start(&rig, &kms, "writer"),
        Talkative::start(&rig, &kms, "reader"),
    );
    let records = [Record::new(&topic, "key", VALUE).partition(0)];
    assert_delivered(&rig.java.produce(&writer.options(), &records));
    let from = From::partitions(&topic, 1);
    let read = rig.java.consume(&reader.options(), &from, 1);
    assert_eq!(read[0].value, Some(VALUE.into()));

    let stored = rig.java.consume(&rig.direct(), &from, 1);
    let encoded = kms.data_key(&StoredSeal::of(&stored[0].headers));
    let key = BASE64_STANDARD.decode(&encoded).expect("base64");
    assert_eq!(key.len(), 32);
    if let Err(error) = writer.find(&key) {
        return skipped::cannot_be_looked_at(&error);
    }

    for (name, proxy) in [("writer", &writer), ("reader", &reader)] {
        proxy.await_gone("what the KMS has answered", encoded.as_bytes(), IDLE_LIMIT);
        let found = proxy.find(&key).expect("it runs");
        assert!(!found.is_empty(), "{name} has its key");
        let is_protected = |finding: &Finding| finding.is_locked && finding.is_excluded_from_dumps;
        assert!(found.iter().all(is_protected), "{name}: {found:#?}");
    }

    kms.revoke();
    for proxy in [&writer, &reader] {
        proxy.await_gone("the key", &key, REVOCATION_LIMIT);
        assert_eq!(proxy.find(encoded.as_bytes()).expect("it runs"), []);
    }
    let refused = rig.java.produce(&writer.options(), &records);
    assert!(refused[0].error.is_some(), "the key is refused");

    for (name, proxy) in [("writer", &writer), ("reader", &reader)] {
        assert_says_nothing_of(&key, &kms, name, proxy);
    }
    if !cores_are_kept() {
        return skipped::no_cores_are_kept();
    }
    for mut proxy in [writer, reader] {
        assert!(!proxy.proxy.abort().core_dumped(), "a core was dumped");
    }
}

/// In none of its texts, however they might be written there.
fn assert_says_nothing_of(key: &[u8], kms: &Kms, name: &str, proxy: &Talkative) {
    let said = proxy.said(kms, name);
    assert!(said.contains("TRACE"), "{name} says all that it can");
    assert!(said.contains(KEK), "{name} says what it is about");
    let encoded = BASE64_STANDARD.encode(key);
    let digits: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
    let listed = format!("{key:?}");
    for secret in [
        encoded.as_str(),
        &digits,
        &listed[1..listed.len() - 1],
        &kms.token,
        VALUE,
    ] {
        assert!(!said.contains(secret), "{name} says {secret}");
    }
    let raw = memchr::memmem::find(said.as_bytes(), key);
    assert_eq!(raw, None, "{name} says the key");
}

/// Whether the kernel keeps the core of another program that ends so.
fn cores_are_kept() -> bool {
    let folder = DataFolder::create("core");
    let mut sleep = Command::new("sleep");
    sleep.arg("600").current_dir(folder.path());
    let mut other = Process::start("sleep", &sleep, &folder.path().join("log"));
    other.abort().core_dumped()
}
