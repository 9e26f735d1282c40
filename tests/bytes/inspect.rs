//! `sealwire inspect` over segments and over a broker's answers: every form is named, and no content is shown.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::PathBuf;

use clap::Parser;
use kafka_protocol::messages::fetch_response::{FetchableTopicResponse, PartitionData};
use kafka_protocol::messages::list_offsets_response::{
    ListOffsetsPartitionResponse, ListOffsetsTopicResponse,
};
use kafka_protocol::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use kafka_protocol::messages::{
    ApiKey, FetchRequest, FetchResponse, ListOffsetsRequest, ListOffsetsResponse, MetadataRequest,
    MetadataResponse, TopicName,
};
use kafka_protocol::protocol::StrBytes;
use proptest::prelude::*;
use sealwire::cli::inspect::{self, InspectArguments, InspectError};
use sealwire::envelope::HeaderMode;
use sealwire::kafka_client::ClientError;
use sealwire::record_batch::{BatchHeader, Codec};
use sealwire::testing::{BatchBuilder, BatchSeals, RecordInput};

use crate::support::frames::{self, decoded, head, read_frame};

const SECRET: &[u8] = b"a secret that must not be shown";

#[derive(Parser)]
struct Program {
    #[command(flatten)]
    arguments: InspectArguments,
}

fn inspect(arguments: &[&str]) -> (String, Result<(), InspectError>) {
    let program = Program::try_parse_from([&["inspect"], arguments].concat()).unwrap();
    let mut out = Vec::new();
    let done = inspect::run(&program.arguments, &mut out, &mut Vec::new());
    (String::from_utf8(out).unwrap(), done)
}

/// A folder `payments-3` with one segment.
struct Segment {
    path: PathBuf,
    _directory: tempfile::TempDir,
}

impl Segment {
    fn new(batches: &[Vec<u8>]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let folder = directory.path().join("payments-3");
        std::fs::create_dir(&folder).unwrap();
        let path = folder.join("00000000000000000000.log");
        std::fs::write(&path, batches.concat()).unwrap();
        Self {
            path,
            _directory: directory,
        }
    }

    fn path(&self) -> &str {
        self.path.to_str().unwrap()
    }
}

fn plain(base_offset: i64, codec: Codec, records: usize) -> Vec<u8> {
    let mut builder = BatchBuilder::new().base_offset(base_offset).codec(codec);
    for _ in 0..records {
        builder = builder.record(RecordInput {
            timestamp: 1_700_000_000_000,
            key: Some(b"key"),
            value: Some(SECRET),
            headers: &[(b"trace", Some(SECRET))],
        });
    }
    builder.build().unwrap()
}

fn sealed(base_offset: i64, records: usize, domain: &str, mode: HeaderMode) -> Vec<u8> {
    sealed_as(
        Codec::None,
        &plain(base_offset, Codec::None, records),
        domain,
        mode,
    )
}

fn sealed_as(stored_codec: Codec, batch: &[u8], domain: &str, mode: HeaderMode) -> Vec<u8> {
    let seals = BatchSeals::new(b"pay\x1b[2Jments", domain, mode).unwrap();
    seals.seal(batch, stored_codec).unwrap()
}

fn one(base_offset: i64, value: Option<&[u8]>, headers: &[(&[u8], Option<&[u8]>)]) -> Vec<u8> {
    let record = RecordInput {
        value,
        headers,
        ..RecordInput::default()
    };
    BatchBuilder::new()
        .base_offset(base_offset)
        .record(record)
        .build()
        .unwrap()
}

/// INSPECT-1
#[test]
fn every_form_in_a_segment_is_named_and_nothing_is_shown() {
    let segment = Segment::new(&[
        sealed(10, 2, "payments", HeaderMode::Sealed),
        sealed(12, 1, "orders", HeaderMode::Bound),
        plain(13, Codec::Gzip, 1),
        one(14, None, &[]),
        one(15, Some(b""), &[(b"kroxylicious.io/encryption", Some(b"x"))]),
        one(16, Some(SECRET), &[(b"sealwire", Some(b"\x02future"))]),
        BatchBuilder::new()
            .base_offset(17)
            .control()
            .record(RecordInput::default())
            .build()
            .unwrap(),
        one(
            18,
            Some(&[b"\x00\x18\x0aKEK-\x1brdersvault:v1:AAAA\x00", &[7; 28][..]].concat()),
            &[(b"kroxylicious.io/encryption", Some(b"\x02"))],
        ),
    ]);
    let (text, done) = inspect(&[segment.path()]);
    done.unwrap();
    let lines: Vec<&str> = text.lines().collect();
    for (line, parts) in lines.iter().zip([
        &[
            "payments-3 offset 10: sealwire format 1, headers sealed",
            "(the topic's)",
            "file keystore",
            "version 7",
        ][..],
        &[
            "offset 11: sealwire",
            "authority aabbccdd",
            "KEK pay\\x1b[2Jments",
            "value 31 B",
            "0 headers",
        ],
        &[
            "offset 12: sealwire format 1, headers bound",
            "(not the topic's)",
            "1 headers",
        ],
        &["offset 13: plaintext", "codec gzip", "time 1700000000000"],
        &["offset 14: tombstone", "value null"],
        &["offset 15: kroxylicious"],
        &["offset 16: unreadable: ", "format"],
        &["offset 17: control batch"],
        &["offset 18: kroxylicious format 2, KEK KEK-\\x1brders; key"],
        &["control 1, kroxylicious 2, plaintext 1, sealwire 3, tombstone 1, unreadable 1"],
    ]) {
        for part in parts {
            assert!(line.contains(part), "{part:?} is not in {line:?}");
        }
    }
    assert_eq!(lines.len(), 10);
    assert!(!text.contains(std::str::from_utf8(SECRET).unwrap()));
    assert!(!text.contains('\x1b'));
}

#[test]
fn json_lines_carry_the_same_facts() {
    let segment = Segment::new(&[sealed(5, 1, "payments", HeaderMode::Sealed), one(6, None, &[])]);
    let (text, done) = inspect(&[segment.path(), "--json"]);
    done.unwrap();
    let lines: Vec<serde_json::Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines.len(), 3);
    let seal = &lines[0]["seal"];
    assert_eq!(lines[0]["offset"], 5);
    assert_eq!(lines[0]["partition"], 3);
    assert_eq!(seal["wrapped_dek"]["provider"], 1);
    assert_eq!(seal["wrapped_dek"]["version"], "07");
    assert_eq!(seal["domain_is_topic"], true);
    assert!(seal["hidden_bytes"].as_u64().unwrap() > 0);
    assert_eq!(lines[1]["value_bytes"], serde_json::Value::Null);
    assert_eq!(lines[2]["summary"]["counts"]["sealwire"], 1);
}

/// A null key is sealed under nothing, whatever its rule says.
#[test]
fn records_are_counted_by_the_stable_key_of_their_key() {
    let keyless = one(7, Some(SECRET), &[]);
    let seals = BatchSeals::new(b"payments", "payments", HeaderMode::Sealed).unwrap();
    let seals = seals.with_sealed_keys().unwrap();
    let batches = [plain(5, Codec::None, 2), keyless].map(|batch| seals.seal(&batch, Codec::None).unwrap());
    let segment = Segment::new(&batches);
    let (text, done) = inspect(&[segment.path()]);
    done.unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let (_, id) = lines[0].split_once(", key sealed under ").unwrap();
    let id = &id[..8];
    assert!(
        lines[1].contains(&format!(", key sealed under {id}, domain ")),
        "{text}"
    );
    assert!(
        !lines[2].contains("key sealed") && lines[2].contains("; key null, "),
        "{text}"
    );
    assert!(
        lines[3].contains(&format!("; keys sealed under {id} 2; ")),
        "{text}"
    );
    let (text, done) = inspect(&[segment.path(), "--summary", "--json"]);
    done.unwrap();
    let sums: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(sums["summary"]["stable_keys"], serde_json::json!({ id: 2 }));
}

/// Whatever happens to headers and however the batch is written: what its client's had is told to the byte.
#[test]
fn batches_say_what_sealing_has_added() {
    for mode in [HeaderMode::Sealed, HeaderMode::Bound, HeaderMode::Free] {
        for codec in [Codec::None, Codec::Lz4] {
            let values: [&[u8]; 3] = [&[1; 40], &[2; 70], &[3; 9000]];
            // With 63 and the marker their number takes a byte more.
            let mut headers: [(&[u8], Option<&[u8]>); 63] = [(b"", None); 63];
            headers[0] = (b"trace", Some(SECRET));
            let records = (0..300).map(|number| RecordInput {
                key: Some(b"key"),
                value: values.get(number % 4).copied(),
                headers: &headers[..[0, 1, 2, 62, 63][number % 5]],
                ..RecordInput::default()
            });
            let clear = records.fold(BatchBuilder::new().base_offset(7), BatchBuilder::record);
            let clear = clear.build().unwrap();
            let stored = sealed_as(codec, &clear, "payments", mode);
            let segment = Segment::new(std::slice::from_ref(&stored));
            let (text, done) = inspect(&[segment.path(), "--batches", "--json"]);
            done.unwrap();
            let lines: Vec<serde_json::Value> = text
                .lines()
                .map(|line| serde_json::from_str(line).unwrap())
                .collect();
            let sizes = serde_json::json!({
                "batches": 1,
                "records": 300,
                "stored_bytes": stored.len(),
                "clear_bytes": clear.len(),
                "added_bytes": stored.len() - clear.len(),
            });
            assert_eq!(lines.len(), 2);
            assert_eq!((&lines[0]["offset"], &lines[0]["batch"]), (&7.into(), &sizes));
            assert_eq!(lines[0]["codec"], codec.name());
            assert_eq!(lines[1]["summary"]["sealed"], sizes);
        }
    }
}

#[test]
fn batches_are_shown_instead_of_records() {
    let compact = sealed_as(
        Codec::Lz4,
        &plain(3, Codec::None, 9),
        "payments",
        HeaderMode::Sealed,
    );
    let segment = Segment::new(&[plain(0, Codec::Zstd, 3), compact.clone()]);
    let (text, done) = inspect(&[segment.path(), "--batches"]);
    done.unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let (clear, stored) = (plain(3, Codec::None, 9).len(), compact.len());
    let added = stored - clear;
    let [sealed, each] = [stored, added].map(|bytes| format!("{:.1} B a record", bytes as f64 / 9.0));
    let percent = added as f64 * 100.0 / clear as f64;
    assert!(
        lines[0].starts_with("payments-3 offset 0: batch of 3 records, codec zstd, "),
        "{text}"
    );
    assert!(lines[0].ends_with("; not sealed"), "{text}");
    assert_eq!(
        lines[1],
        format!(
            "payments-3 offset 3: batch of 9 records, codec lz4, {stored} B stored, {sealed}; \
             sealing adds {added} B to {clear} B, {each} (+{percent:.1}%)"
        )
    );
    // Sums are of both, what was added of the sealed one.
    assert!(
        lines[2].starts_with("plaintext 3, sealwire 9; 2 batches, "),
        "{text}"
    );
    assert!(
        lines[2].contains(&format!("sealing adds {added} B to {clear} B")),
        "{text}"
    );
    assert_eq!(
        inspect(&[segment.path(), "--batches", "--offset", "3"])
            .0
            .lines()
            .count(),
        2
    );
}

#[test]
fn offset_and_count_choose_records() {
    let segment = Segment::new(&[plain(0, Codec::None, 4), plain(4, Codec::Zstd, 4)]);
    let offsets = |arguments: &[&str]| -> Vec<i64> {
        let (text, done) = inspect(&[&[segment.path(), "--json"], arguments].concat());
        done.unwrap();
        let values = text
            .lines()
            .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
        values.filter_map(|value| value["offset"].as_i64()).collect()
    };
    assert_eq!(offsets(&["--offset", "3", "--count", "2"]), [3, 4]);
    assert_eq!(offsets(&["--offset", "7"]), [7]);
    assert_eq!(offsets(&["--offset", "8"]), Vec::<i64>::new());
    assert_eq!(offsets(&["--count", "0"]), Vec::<i64>::new());
}

#[test]
fn a_segment_that_ends_early_ends_quietly_and_a_broken_one_does_not() {
    let mut cut = plain(0, Codec::None, 1);
    cut.extend(&plain(1, Codec::None, 1)[..40]);
    assert!(inspect(&[Segment::new(&[cut]).path()]).1.is_ok());
    let mut preallocated = plain(0, Codec::None, 1);
    preallocated.extend([0; 100]);
    assert!(inspect(&[Segment::new(&[preallocated]).path()]).1.is_ok());
    let mut broken = plain(0, Codec::None, 1);
    broken.extend([0xff; 100]);
    let (text, done) = inspect(&[Segment::new(&[broken]).path()]);
    assert!(
        matches!(done, Err(InspectError::Batch { at, .. }) if at > 0),
        "{done:?}"
    );
    assert!(text.contains("offset 0: plaintext"));
    let mut flipped = plain(0, Codec::None, 1);
    *flipped.last_mut().unwrap() ^= 1;
    assert!(inspect(&[Segment::new(&[flipped]).path()]).0.contains("checksum"));
}

#[test]
fn arguments_that_do_not_fit_are_refused() {
    for arguments in [
        &["inspect"][..],
        &["inspect", "--bootstrap", "h:1"],
        &["inspect", "--topic", "t"],
        &["inspect", "0.log", "--bootstrap", "h:1", "--topic", "t"],
    ] {
        assert!(Program::try_parse_from(arguments).is_err(), "{arguments:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn hostile_segments_do_no_harm(
        mut bytes in proptest::collection::vec(any::<u8>(), 0..400),
        flips in proptest::collection::vec((0usize..4000, any::<u8>()), 0..6),
    ) {
        let mut segment = [sealed(0, 3, "payments", HeaderMode::Sealed), plain(3, Codec::Lz4, 2)].concat();
        for (at, value) in flips {
            let length = segment.len();
            segment[at % length] = value;
        }
        segment.append(&mut bytes);
        let _ = inspect(&[Segment::new(&[segment]).path()]);
    }
}

#[test]
fn a_topic_is_read_from_the_leader_of_each_partition() {
    let bootstrap = start_broker(vec![
        vec![
            sealed(0, 2, "payments", HeaderMode::Sealed),
            plain(2, Codec::Snappy, 1),
        ],
        vec![one(0, None, &[])],
    ]);
    let (text, done) = inspect(&["--bootstrap", &bootstrap, "--topic", "payments"]);
    done.unwrap();
    let starts: Vec<&str> = text
        .lines()
        .filter_map(|line| line.split(&[';', ','][..]).next())
        .collect();
    assert_eq!(
        starts[..4],
        [
            "payments-0 offset 0: sealwire format 1",
            "payments-0 offset 1: sealwire format 1",
            "payments-0 offset 2: plaintext",
            "payments-1 offset 0: tombstone",
        ],
        "{text}"
    );
    let (text, done) = inspect(&[
        "--bootstrap",
        &bootstrap,
        "--topic",
        "payments",
        "--partition",
        "0",
        "--offset",
        "1",
        "--count",
        "1",
    ]);
    done.unwrap();
    assert!(text.starts_with("payments-0 offset 1: sealwire"), "{text}");
    assert_eq!(text.lines().count(), 2);
    let (_, done) = inspect(&[
        "--bootstrap",
        &bootstrap,
        "--topic",
        "payments",
        "--partition",
        "9",
    ]);
    assert!(matches!(done, Err(InspectError::NoLeader { partition: 9, .. })));
    let (_, done) = inspect(&["--bootstrap", &bootstrap, "--topic", "unknown"]);
    assert!(matches!(
        done,
        Err(InspectError::Client(ClientError::Refused { code: 3, .. }))
    ));
}

#[test]
fn a_listener_that_is_not_kafka_is_an_error() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        // All of it: what is left unread when this closes would take the answer with it.
        let mut length = [0; 4];
        stream.read_exact(&mut length).unwrap();
        let mut request = vec![0; u32::from_be_bytes(length) as usize];
        stream.read_exact(&mut request).unwrap();
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").unwrap();
    });
    let (_, done) = inspect(&["--bootstrap", &address, "--topic", "t"]);
    assert!(
        matches!(done, Err(InspectError::Client(ClientError::Broker { .. }))),
        "{done:?}"
    );
    server.join().unwrap();
}

/// A broker with the topic `payments`, which answers the three requests of `inspect`, for as long as the test runs. Of
/// the question which APIs it has it knows nothing: it closes the connection.
fn start_broker(partitions: Vec<Vec<Vec<u8>>>) -> String {
    frames::start_broker(move |mut socket| {
        let port = socket.local_addr().unwrap().port();
        while let Some(request) = read_frame(&mut socket)
            && let Some(answer) = answer(request, port, &partitions)
        {
            socket.write_all(&answer).unwrap();
        }
    })
}

fn answer(request: Vec<u8>, port: u16, partitions: &[Vec<Vec<u8>>]) -> Option<Vec<u8>> {
    let (key, version, id) = head(&request);
    Some(match ApiKey::try_from(key).unwrap() {
        ApiKey::ApiVersions => return None,
        ApiKey::Metadata => {
            let known = request.windows(8).any(|window| window == b"payments");
            frames::answer::<MetadataRequest>(version, id, &metadata(port, partitions.len(), known))
        }
        ApiKey::ListOffsets => {
            let partition = ListOffsetsPartitionResponse::default().with_offset(0);
            let topic = ListOffsetsTopicResponse::default().with_partitions(vec![partition]);
            let offsets = ListOffsetsResponse::default().with_topics(vec![topic]);
            frames::answer::<ListOffsetsRequest>(version, id, &offsets)
        }
        ApiKey::Fetch => {
            let fetched = fetched(&decoded(request, version), partitions);
            frames::answer::<FetchRequest>(version, id, &fetched)
        }
        other => panic!("nobody asks for {other:?}"),
    })
}

fn fetched(fetch: &FetchRequest, partitions: &[Vec<Vec<u8>>]) -> FetchResponse {
    let asked = &fetch.topics[0].partitions[0];
    let batches = &partitions[asked.partition as usize];
    let end = batches.iter().map(|batch| last_offset(batch) + 1).max();
    // One batch an answer, and the start of the next one: brokers cut by bytes.
    let mut wanted = batches
        .iter()
        .filter(|batch| last_offset(batch) >= asked.fetch_offset);
    let mut records = wanted.next().cloned().unwrap_or_default();
    records.extend(wanted.next().iter().flat_map(|next| &next[..next.len() / 2]));
    let partition = PartitionData::default()
        .with_partition_index(asked.partition)
        .with_high_watermark(end.unwrap_or(0))
        .with_records(Some(records.into()));
    let topic = FetchableTopicResponse::default()
        .with_topic(TopicName(StrBytes::from_static_str("payments")))
        .with_partitions(vec![partition]);
    FetchResponse::default().with_responses(vec![topic])
}

fn last_offset(batch: &[u8]) -> i64 {
    let header = BatchHeader::parse(batch).unwrap();
    header.base_offset + i64::from(header.last_offset_delta)
}

fn metadata(port: u16, partitions: usize, known: bool) -> MetadataResponse {
    let broker = MetadataResponseBroker::default()
        .with_node_id(4.into())
        .with_host(StrBytes::from_static_str("127.0.0.1"))
        .with_port(i32::from(port));
    let partitions = (0..partitions).map(|index| {
        MetadataResponsePartition::default()
            .with_partition_index(index as i32)
            .with_leader_id(4.into())
    });
    let mut topic = MetadataResponseTopic::default()
        .with_name(Some(TopicName(StrBytes::from_static_str("payments"))))
        .with_partitions(partitions.collect());
    if !known {
        topic = topic.with_error_code(3).with_partitions(Vec::new());
    }
    MetadataResponse::default()
        .with_brokers(vec![broker])
        .with_topics(vec![topic])
}
