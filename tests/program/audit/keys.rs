//! What happens to keys and KMSs, in the audit log of the real program.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Value, json};

use super::{CANARY, EVENTUALLY, serve};
use crate::support::fault_layer::{FaultLayer, LayerFault};
use crate::support::frames::start_broker;
use crate::support::keystore::Keystore;
use crate::support::launch::DataFolder;
use crate::support::proxy::Proxy;
use crate::support::raw_client::{RawClient, batch};
use crate::support::secret_files::write_secret;
use crate::support::wait;

/// KEY-EVENT-1
#[test]
fn what_happens_to_a_key_is_in_the_file() {
    let keystore = Keystore::create(&["orders"]);
    let mut audited = Audited::start(&keystore.configuration("").text());
    audited.until_produced(0);
    audited.expect("key_made", &[("version", "1".into())]);
    keystore.command("rotate", &["orders"]);
    audited.expect(
        "key_rotated",
        &[("version_before", "1".into()), ("version", "2".into())],
    );
    audited.expect("key_made", &[("version", "2".into())]);
    keystore.command("disable", &["orders"]);
    let disabled = ("reason", Value::from("kek_disabled"));
    let mut revoked =
        [(); 2].map(|()| audited.next("key_revoked", std::slice::from_ref(&disabled))["version"].take());
    revoked.sort_by_key(Value::to_string);
    assert_eq!(revoked, ["1", "2"]);
    audited.until_produced(POLICY_VIOLATION);
    audited.expect("key_refused", &[("version", Value::Null), disabled]);
    keystore.command("enable", &["orders"]);
    audited.until_produced(0);
    audited.expect("key_made", &[("version", "2".into())]);
    audited.proxy.terminate();
}

#[test]
fn what_happens_to_the_keyring_and_its_keys_is_in_the_file() {
    let keystore = Keystore::create(&["orders", "keyring"]);
    keystore.add_stable_keys("keyring", &["spare", "*"]);
    let mut audited = Audited::start(&keystore.configuration("").text());
    let first = audited.next("keyring_loaded", &[("fingerprint_before", Value::Null)]);
    let of_kek = ("kek", Value::from("keyring"));
    keystore.command("disable", &["keyring"]);
    let refused = [of_kek.clone(), ("reason", "kek_disabled".into())];
    let mut keys = [(); 2].map(|()| audited.next("stable_key_refused", &refused)["stable_key"].take());
    keystore.command("enable", &["keyring"]);
    let mut given = [(); 2]
        .map(|()| audited.next("stable_key_given", std::slice::from_ref(&of_kek))["stable_key"].take());
    for ids in [&mut keys, &mut given] {
        ids.sort_by_key(Value::to_string);
    }
    assert_eq!(keys, given);
    keystore.assign_to_new("orders", "key-0");
    let before = ("fingerprint_before", first["fingerprint"].clone());
    let second = audited.next("keyring_loaded", &[before]);
    assert_ne!(second["fingerprint"], first["fingerprint"]);
    // Which the log has as well: under which key the domain was sealed, and under which it is now.
    wait::until("a line on the domain", EVENTUALLY, || {
        let output = audited.proxy.output();
        let told =
            |line: &str| line.contains("orders") && line.contains("(key-1)") && line.contains("(key-0)");
        output.lines().any(told).then_some(())
    });
    let output = audited.proxy.output();
    let fingerprint = first["fingerprint"].as_str().expect("text");
    let start = output.lines().find(|line| line.contains("sealwire serves"));
    assert!(start.is_some_and(|line| line.contains(fingerprint)), "{output}");
    audited.proxy.terminate();
}

#[test]
fn a_kms_that_is_away_for_too_long_and_what_lapses_for_it_are_in_the_file() {
    let answers = LayerFault::By(Arc::new(like_vault(Arc::default())));
    let vault = FaultLayer::before(0);
    vault.set(answers.clone());
    let folder = DataFolder::create("vault");
    let mut audited = Audited::start(&vault_table(&vault, &folder));
    audited.until_produced(0);
    audited.expect("key_made", &[("version", "1".into())]);
    vault.set(LayerFault::Refuse);
    let lost = audited.next("kms_lost", &[("reason", "unavailable".into())]);
    assert_eq!(lost["kms"], "local", "{lost}");
    audited.expect("key_lapsed", &[("version", "1".into())]);
    audited.until_produced(NOT_ENOUGH_REPLICAS);
    vault.set(answers);
    let found = audited.next("kms_found", &[("kms", "local".into())]);
    let away = found["away_seconds"].as_u64();
    assert!(away.is_some_and(|away| away >= 1), "{found}");
    audited.until_produced(0);
    audited.expect("key_made", &[("version", "1".into())]);
    audited.proxy.terminate();
}

#[test]
fn a_kms_that_gives_wrong_keys_is_in_the_file_once_one_was_used_and_once_none_was() {
    let lies = Arc::new(AtomicBool::new(false));
    let vault = FaultLayer::alone(like_vault(Arc::clone(&lies)));
    let folder = DataFolder::create("vault");
    let mut audited = Audited::start(&vault_table(&vault, &folder));
    audited.until_produced(0);
    audited.expect("key_made", &[("version", "1".into())]);
    lies.store(true, Ordering::Release);
    let wrong = |reason: &str| [("version", "1".into()), ("reason", reason.into())];
    audited.expect("key_wrong", &wrong("sealed"));
    audited.until_produced(NOT_ENOUGH_REPLICAS);
    audited.expect("key_wrong", &wrong("unused"));
    lies.store(false, Ordering::Release);
    audited.until_produced(0);
    audited.expect("key_made", &[("version", "1".into())]);
    audited.proxy.terminate();
}

/// The program with an audit log, and a KMS of which one rule names a KEK, in front of a broker that stores nothing and
/// says that it has.
struct Audited {
    proxy: Proxy,
    client: RawClient,
    file: PathBuf,
    _folder: DataFolder,
    /// Lines up to the last one that was expected.
    taken: usize,
}

impl Audited {
    /// `kms`: the table of the KMS `local`.
    fn start(kms: &str) -> Self {
        let folder = DataFolder::create("audit");
        let file = folder.path().join("audit.jsonl");
        let tables = format!(
            "[runtime]\nexecutors = 1\n[limits]\nseal_wait = \"100ms\"\noutage_grace = \"5s\"\n\
             [audit]\nto = {file:?}\non_full = \"hold\"\n{kms}"
        );
        let rules = "[[cluster.main.topics]]\nmatch = \"orders\"\nkms = \"local\"\nkek = \"orders\"\n";
        let proxy = Proxy::start_with_tables(&start_broker(serve), &[0], &tables, rules);
        Self {
            client: RawClient::connect(&proxy.bootstrap()),
            proxy,
            file,
            _folder: folder,
            taken: 0,
        }
    }

    /// Returns when a client that sends a record is told this.
    fn until_produced(&mut self, error_code: i16) {
        wait::until("an answer to producers", EVENTUALLY, || {
            let answer = self.client.produce("orders", batch(None, CANARY));
            (answer.error_code == error_code).then_some(())
        });
    }

    /// A line about the KEK, behind those that were expected before.
    fn expect(&mut self, event: &str, fields: &[(&str, Value)]) {
        let line = self.next(event, fields);
        assert_eq!((&line["kms"], &line["kek"]), (&"local".into(), &"orders".into()));
    }

    /// The next line of this event with these fields, behind those that were expected before.
    fn next(&mut self, event: &str, fields: &[(&str, Value)]) -> Value {
        let is_it = |line: &Value| {
            line["event"] == event && fields.iter().all(|(field, value)| line[*field] == *value)
        };
        let (place, line) = wait::until(event, EVENTUALLY, || {
            let text = fs::read_to_string(&self.file).ok()?;
            let lines = text
                .lines()
                .map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
            let mut behind = lines.enumerate().skip(self.taken);
            behind.find(|(_, line)| is_it(line))
        });
        self.taken = place + 1;
        line
    }
}

/// A Vault with one KEK, which wraps a data key as what it is; while it `lies`, it unwraps each to another one.
fn like_vault(lies: Arc<AtomicBool>) -> impl Fn(&str) -> String + Send + Sync + 'static {
    let made = AtomicU8::new(0);
    move |call: &str| {
        let (head, body) = call.split_once("\r\n\r\n").expect("a whole call");
        let path = head.split(' ').nth(1).expect("a path");
        let data = match path {
            "/v1/auth/token/lookup-self" => json!({ "ttl": 0 }),
            "/v1/transit/keys/orders" => json!({ "type": "aes256-gcm96", "latest_version": 1 }),
            "/v1/transit/datakey/plaintext/orders" => {
                let key = BASE64.encode([made.fetch_add(1, Ordering::AcqRel) | 0x80; 32]);
                json!({ "plaintext": key, "ciphertext": format!("vault:v1:{key}") })
            }
            "/v1/transit/decrypt/orders" => {
                let asked: Value = serde_json::from_str(body).expect("JSON");
                let ciphertext = asked["ciphertext"].as_str().expect("text");
                let key = ciphertext.strip_prefix("vault:v1:").expect("its own");
                let other = BASE64.encode([7; 32]);
                json!({ "plaintext": if lies.load(Ordering::Acquire) { &other } else { key } })
            }
            _ => panic!("nobody asks for that: {head}"),
        };
        let body = json!({ "data": data }).to_string();
        format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())
    }
}

/// The KMS `local`; which token the proxy shows is all the same.
fn vault_table(vault: &FaultLayer, folder: &DataFolder) -> String {
    let token = folder.path().join("token");
    write_secret(&token, "token");
    format!(
        "[kms.local]\nprovider = \"vault\"\naddress = {:?}\nallow_plaintext = true\n\
         login = {{ method = \"token\", token = {{ file = {token:?} }} }}\n",
        vault.address()
    )
}

const NOT_ENOUGH_REPLICAS: i16 = 19;
const POLICY_VIOLATION: i16 = 44;
