//! `sealwire inspect` at a real broker: its log segment and its answers tell the same of every record, and what they
//! tell is what a client of the broker finds there.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;
use std::sync::LazyLock;

use aws_lc_rs::digest::{SHA256, digest};
use serde_json::{Value, json};

use crate::support::broker_properties::Login;
use crate::support::cache;
use crate::support::operations::{From, Options, Outcome};
use crate::support::records::{Consumed, Record, assert_delivered};
use crate::support::rig::Rig;
use crate::support::shared;
use crate::support::stored_seal::{MARKER, StoredSeal};

static RIG: LazyLock<Rig> = LazyLock::new(|| Rig::assemble(shared::one_broker(), Login::Plaintext));

/// In values and headers; must not show.
const CONTENT: &str = "content-51d7";
const PARTITIONS: i32 = 2;

/// One record of each kind for each partition.
fn records(topic: &str) -> Vec<Record> {
    let kinds = [
        Record::new(topic, "headers", CONTENT)
            .header("first", CONTENT)
            .null_header("second"),
        Record::new(topic, "", "").without_key().header("", ""),
        Record::new(topic, "null", "").without_value(),
        Record::new(topic, "null, headers", "")
            .without_value()
            .header("first", CONTENT),
        // The last: behind the batch of an old record the broker begins another segment.
        Record::new(topic, "plain", CONTENT.repeat(20)).timestamp(1_600_000_000_000),
    ];
    (0..PARTITIONS)
        .flat_map(|partition| kinds.clone().map(|record| record.partition(partition)))
        .collect()
}

#[test]
fn segments_and_topic_tell_the_same_of_sealed_headers() {
    let topic = RIG.topic("sealed-facts", PARTITIONS);
    assert_delivered(&RIG.java.produce(&RIG.options(), &records(&topic)));
    assert_facts(&topic, Some(("sealed", "orders")));
}

#[test]
fn segments_and_topic_tell_the_same_of_bound_headers() {
    let topic = RIG.topic("bound-facts", PARTITIONS);
    assert_delivered(&RIG.java.produce(&RIG.options().codec("gzip"), &records(&topic)));
    assert_facts(&topic, Some(("bound", "orders")));
}

#[test]
fn segments_and_topic_tell_the_same_of_free_headers() {
    let topic = RIG.topic("free-facts", PARTITIONS);
    assert_delivered(&RIG.java.produce(&RIG.options(), &records(&topic)));
    assert_facts(&topic, Some(("free", "orders")));
}

/// A second proxy seals under the version that the KEK has got meanwhile.
#[test]
fn versions_of_a_key_are_told_apart() {
    let topic = RIG.topic("invoices-facts", PARTITIONS);
    assert_delivered(&RIG.java.produce(&RIG.options(), &records(&topic)));
    let mut second = None;
    if let Some(keystore) = &RIG.keystore {
        keystore.command("rotate", &["invoices"]);
        second = RIG.another_proxy(Login::Plaintext);
    }
    let options = match &second {
        Some(proxy) => Options::at(proxy.bootstrap()),
        None => RIG.options(),
    };
    assert_delivered(&RIG.java.produce(&options, &records(&topic)));
    let items = assert_facts(&topic, Some(("sealed", "invoices")));
    if let Some(mut proxy) = second {
        proxy.terminate();
        let mut records: BTreeMap<&str, usize> = BTreeMap::new();
        for item in &items {
            let version = item["seal"]["wrapped_dek"]["version"].as_str();
            *records.entry(version.expect("a version")).or_default() += 1;
        }
        let each = records_of_one_batch() * usize::try_from(PARTITIONS).expect("a number");
        assert_eq!(records, BTreeMap::from([("01", each), ("02", each)]));
    }
}

#[test]
fn segments_and_topic_tell_the_same_of_what_is_passed_through() {
    for codec in ["none", "gzip", "snappy", "lz4", "zstd"] {
        let topic = RIG.topic("public-facts", PARTITIONS);
        assert_delivered(&RIG.java.produce(&RIG.options().codec(codec), &records(&topic)));
        let items = assert_facts(&topic, None);
        assert!(items.iter().all(|item| item["codec"] == codec), "{items:#?}");
    }
}

/// Through the proxy records are opened: plaintext, and a hint why.
#[test]
fn a_proxy_is_no_broker_and_inspect_says_so() {
    let topic = RIG.topic("sealed-hint", PARTITIONS);
    assert_delivered(&RIG.java.produce(&RIG.options(), &records(&topic)));
    let stored = summarised(&RIG.cluster.bootstrap(), &topic);
    assert!(stored.1.is_empty(), "{}", stored.1);
    if RIG.keystore.is_none() {
        return;
    }
    let (opened, hint) = summarised(&RIG.bootstrap(), &topic);
    assert!(opened["summary"]["counts"]["sealwire"].is_null(), "{opened}");
    assert!(hint.contains("answers like a Sealwire"), "{hint}");
    assert!(hint.contains(&RIG.bootstrap()), "{hint}");
}

/// What `inspect --summary --json` says at an address, and what it says beside it.
fn summarised(bootstrap: &str, topic: &str) -> (Value, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sealwire"));
    command.args([
        "inspect",
        "--summary",
        "--json",
        "--bootstrap",
        bootstrap,
        "--topic",
        topic,
    ]);
    let output = command.output().expect("running sealwire");
    assert!(output.status.success(), "{output:?}");
    let summary = serde_json::from_slice(&output.stdout).expect("one line of JSON");
    (summary, String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn transactions_show_as_records_and_markers() {
    let topic = RIG.topic("sealed-facts-transactions", PARTITIONS);
    let transactions = [
        (Outcome::Abort, records(&topic)),
        (Outcome::Commit, records(&topic)),
    ];
    let options = RIG.options().transactional(&topic);
    assert_delivered(&RIG.java.transact(&options, &transactions));
    assert_facts(&topic, Some(("sealed", "orders")));
    let summary: Value = serde_json::from_str(&inspect(&from_topic(&topic, &["--summary", "--json"])))
        .expect("one line of JSON");
    // One for each partition of each transaction.
    assert_eq!(summary["summary"]["counts"]["control"], 2 * PARTITIONS);
}

/// What `--help` says: through a proxy there is nothing of a seal to be seen.
#[test]
fn through_the_proxy_records_are_opened() {
    let topic = RIG.topic("sealed-facts-opened", 1);
    let record = Record::new(&topic, "key", CONTENT).partition(0);
    assert_delivered(&RIG.java.produce(&RIG.options(), &[record]));
    let text = inspect(&["--bootstrap", &RIG.bootstrap(), "--topic", &topic].map(str::to_owned));
    assert!(
        text.contains("offset 0: plaintext; key 3 B, value 12 B,"),
        "{text}"
    );
}

/// Panics unless both sources tell the same, and what a client of the broker finds; gives the records as `--json` shows
/// them. `seal`: how headers are treated and which KEK it is.
fn assert_facts(topic: &str, seal: Option<(&str, &str)>) -> Vec<Value> {
    let seal = seal.filter(|_| RIG.seals());
    let segments = segments(topic);
    assert_eq!(segments.len(), usize::try_from(PARTITIONS).expect("a number"));
    let of_segments: Vec<String> = segments.iter().map(|path| path.display().to_string()).collect();
    let text = inspect(&of_segments);
    assert_eq!(text, inspect(&from_topic(topic, &[])));
    assert!(!text.contains(CONTENT), "{text}");

    let by_segments = inspect(&[&of_segments[..], &["--json".to_owned()]].concat());
    assert_eq!(by_segments, inspect(&from_topic(topic, &["--json"])));
    assert!(!by_segments.contains(CONTENT), "{by_segments}");
    let mut items: Vec<Value> = by_segments
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect();
    let summary = items.pop().expect("sums at the end");
    assert_sums(topic, &items, &summary["summary"]);

    let lines = text
        .lines()
        .zip(&items)
        .filter(|(_, item)| item["form"] != "control");
    let (lines, items): (Vec<&str>, Vec<Value>) = lines.map(|(line, item)| (line, item.clone())).unzip();
    let mut stored = RIG
        .java
        .consume(&RIG.direct(), &From::partitions(topic, PARTITIONS), items.len());
    stored.sort_by_key(|record| (record.partition, record.offset));
    assert_eq!(stored.len(), items.len(), "records of {topic}");
    for ((record, item), line) in stored.iter().zip(&items).zip(lines) {
        assert_record(record, item, line, seal);
    }
    items
}

fn assert_record(stored: &Consumed, item: &Value, line: &str, seal: Option<(&str, &str)>) {
    let place = format!("{}-{} offset {}", stored.topic, stored.partition, stored.offset);
    assert!(line.starts_with(&format!("{place}: ")), "{line}");
    assert_eq!(item["topic"], stored.topic, "{place}");
    assert_eq!(item["partition"], stored.partition, "{place}");
    assert_eq!(item["offset"], stored.offset, "{place}");
    assert_eq!(item["timestamp"], stored.timestamp, "{place}");
    let length =
        |bytes: &Option<crate::support::records::Bytes>| json!(bytes.as_ref().map(|bytes| bytes.0.len()));
    assert_eq!(item["key_bytes"], length(&stored.key), "{place}");
    assert_eq!(item["value_bytes"], length(&stored.value), "{place}");
    let others = stored.headers.iter().filter(|header| header.0 != MARKER).count();
    assert_eq!(item["headers"], others, "{place}");
    let form = match (seal, &stored.value) {
        (Some(_), _) => "sealwire",
        (None, None) => "tombstone",
        (None, Some(_)) => "plaintext",
    };
    assert_eq!(item["form"], form, "{place}");
    let Some((headers, kek)) = seal else {
        assert_eq!(item.get("seal"), None, "{place}");
        return;
    };
    let found = StoredSeal::of(&stored.headers);
    let dek = found.dek();
    assert_eq!((found.format, dek.provider), (1, 1), "{place}");
    assert_eq!(dek.kek, kek.as_bytes(), "{place}");
    // Lengths below 64 are one byte in a header, and those below 8192 two.
    let marker_bytes = 1 + MARKER.len() + 2 + seal_bytes(&found);
    let told = json!({
        "format": 1,
        "headers": headers,
        "key_sealed": false,
        "stable_key": null,
        "domain_hint": hex(&digest(&SHA256, stored.topic.as_bytes()).as_ref()[..4]),
        "domain_is_topic": true,
        "wrapped_dek": {
            "provider": 1,
            "provider_name": "file keystore",
            "authority": hex(&dek.authority),
            "kek": kek,
            "version": hex(&dek.version),
            "blob_bytes": dek.blob.len(),
        },
        "wrapped_dek_bytes": found.wrapped_dek.len(),
        "counter": found.counter,
        "hidden_bytes": found.hidden.len(),
        "marker_bytes": marker_bytes,
    });
    assert_eq!(item["seal"], told, "{place}");
    assert_eq!(found.hidden.is_empty(), headers != "sealed", "{place}");
    assert_seal_line(line, item, (headers, kek), &found);
}

fn assert_seal_line(line: &str, item: &Value, (headers, kek): (&str, &str), found: &StoredSeal) {
    let dek = found.dek();
    let [version] = dek.version[..] else {
        panic!("a keystore's first versions are one byte: {:?}", dek.version);
    };
    for part in [
        format!(
            "sealwire format 1, headers {headers}, domain {}",
            hex(&found.domain_hint)
        ),
        format!(" (the topic's), file keystore, authority {}", hex(&dek.authority)),
        format!(
            "KEK {kek}, version {version}, wrapped DEK {} B",
            found.wrapped_dek.len()
        ),
        format!(
            "{} headers, record {} B, codec {}",
            item["headers"],
            item["record_bytes"],
            item["codec"].as_str().unwrap_or_default()
        ),
        format!("seal {} B", item["seal"]["marker_bytes"]),
    ] {
        assert!(line.contains(&part), "{part:?} is not in {line:?}");
    }
}

/// Sums are those of the records, and what Kafka's own tool says of the batches: what is stored, and where nothing is
/// compressed, what records have.
fn assert_sums(topic: &str, items: &[Value], summary: &Value) {
    let sum = |pointer: &str| -> u64 {
        items
            .iter()
            .filter_map(|item| item.pointer(pointer)?.as_u64())
            .sum()
    };
    let record_bytes = sum("/record_bytes");
    assert_eq!(summary["record_bytes"], record_bytes, "{topic}");
    assert_eq!(summary["marker_bytes"], sum("/seal/marker_bytes"), "{topic}");
    let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
    for item in items {
        *counts.entry(item["form"].as_str().expect("a form")).or_default() += 1;
    }
    assert_eq!(summary["counts"], json!(counts), "{topic}");
    let batches = sizes_of_batches(topic);
    let stored_bytes: u64 = batches.iter().sum();
    assert_eq!(summary["stored"]["batches"], batches.len(), "{topic}");
    assert_eq!(summary["stored"]["stored_bytes"], stored_bytes, "{topic}");
    if items
        .iter()
        .all(|item| item["codec"] == "none" || item["form"] == "control")
    {
        let headers_bytes = BATCH_HEADER_BYTES * batches.len() as u64;
        assert_eq!(record_bytes + headers_bytes, stored_bytes, "{topic}");
    }
}

/// Those that hold records.
fn sizes_of_batches(topic: &str) -> Vec<u64> {
    let dump = RIG.cluster.dump_log(&format!("{topic}-"));
    let batches = dump
        .lines()
        .filter(|line| line.starts_with("baseOffset: ") && line.contains(" isControl: false "));
    batches
        .map(|line| {
            let (_, rest) = line.split_once(" size: ").expect("a batch has a size");
            rest.split(' ')
                .next()
                .and_then(|size| size.parse().ok())
                .expect("a size is a number")
        })
        .collect()
}

/// A seal's length from the lengths of its parts.
fn seal_bytes(seal: &StoredSeal) -> usize {
    let header = seal.header();
    let value = header.1.expect("a seal is never null").0.len();
    assert!((64..8192).contains(&value), "{value} bytes");
    value
}

fn records_of_one_batch() -> usize {
    records("any").len() / usize::try_from(PARTITIONS).expect("a number")
}

/// The topic's segments in the order of its partitions.
fn segments(topic: &str) -> Vec<PathBuf> {
    let mut segments = RIG.cluster.segments(&format!("{topic}-"));
    segments.sort();
    segments
}

/// Arguments that read the topic from its broker.
fn from_topic(topic: &str, more: &[&str]) -> Vec<String> {
    let bootstrap = RIG.cluster.bootstrap();
    [&["--bootstrap", &bootstrap, "--topic", topic], more]
        .concat()
        .into_iter()
        .map(str::to_owned)
        .collect()
}

fn inspect(arguments: &[String]) -> String {
    let mut program = Command::new(env!("CARGO_BIN_EXE_sealwire"));
    cache::run(program.arg("inspect").args(arguments))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

const BATCH_HEADER_BYTES: u64 = 61;
