//! Requests that no library sends and that a broker takes, or refuses: through the proxy they end as at the broker, in
//! sealed topics too.

use std::sync::LazyLock;

use bytes::Bytes;
use kafka_protocol::messages::ProduceResponse;
use kafka_protocol::protocol::Decodable;
use sealwire::record_batch::varint::put_varint;
use sealwire::record_batch::{BatchHeader, Codec, Decompressor, HEADER_BYTES, Span, stored_records};
use sealwire::testing::BatchBuilder;
use sealwire::testing::compress;
use sealwire::testing::fit_length_and_crc;

use crate::support::broker_properties::Login;
use crate::support::operations::{From, Options};
use crate::support::raw_client::{RawClient, batch};
use crate::support::records::{Record, assert_same};
use crate::support::rig::Rig;
use crate::support::shared;
use crate::support::skipped;

static RIG: LazyLock<Rig> = LazyLock::new(|| {
    let cluster = shared::one_broker();
    let rules = "[[cluster.main.topics]]\nmatch = \"*\"\nkms = \"local\"\nkek = \"orders\"\n";
    Rig::assemble_with(cluster, Login::Plaintext, &["orders"], rules)
});

/// Codes that may be given instead of others with which a broker refuses: there is no use in trying again.
const REFUSED_FOR_GOOD: [i16; 2] = [76, 87];
/// What a broker made of a request: of each partition its number, code and first offset.
type Outcome = Vec<(String, i32, i16, i64)>;

#[test]
fn records_end_as_at_the_broker() {
    let rig = &*RIG;
    let (sealed, direct) = (rig.topic("sealed-unusual", 1), rig.topic("sealed-unusual", 1));
    let mut through = RawClient::connect(&rig.bootstrap());
    let mut straight = RawClient::connect(&rig.cluster.bootstrap());
    let mut others = Vec::new();
    for (name, records) in unusual_records() {
        let ends = [(&mut through, &sealed), (&mut straight, &direct)].map(|(client, topic)| {
            let request = Request::default().partition(topic.as_bytes(), 0, Some(&records));
            let outcome = client.outcome_of(&request);
            (outcome[0].2, outcome[0].3 >= 0)
        });
        let [(code, is_stored), at_broker] = ends;
        let both_refuse = !is_stored && !at_broker.1 && REFUSED_FOR_GOOD.contains(&code);
        if ends[0] != at_broker && !both_refuse {
            let [through, straight] = ends;
            others.push(format!(
                "{name}: {through:?} through the proxy, {straight:?} at the broker"
            ));
        }
    }
    assert!(others.is_empty(), "{others:#?}");
    let stored = [(&mut through, &sealed), (&mut straight, &direct)].map(|(client, topic)| {
        let fetched = client.fetch(&[topic.as_str()]);
        assert_eq!(fetched[0].error_code, 0);
        records_of(fetched[0].records.as_ref().expect("records"))
    });
    assert!(stored[1].len() > 10, "{stored:?}");
    assert_eq!(stored[0], stored[1], "through the proxy, and at the broker");
}

/// Each is sent to the same topic, one after the other.
#[expect(clippy::too_many_lines, reason = "a list of cases")]
fn unusual_records() -> Vec<(String, Vec<u8>)> {
    let mut all = Vec::new();
    for codec in [Codec::None, Codec::Gzip, Codec::Zstd] {
        for deltas in [
            [0, 1],
            [1, 0],
            [0, 0],
            [7, 3],
            [-1, 0],
            [0, i32::MAX],
            [i32::MIN, 1],
        ] {
            let records = deltas.map(|delta| record(delta, 1, &[b'v', delta.to_le_bytes()[0]]));
            let name = format!("deltas {deltas:?}, {codec:?}");
            all.push((name, around(&records.concat(), 2, codec)));
        }
        for null in [-1, -2, i32::MIN] {
            let name = format!("a key of length {null}, {codec:?}");
            let mut body = vec![0, 0, 0];
            put_varint(&mut body, null);
            body.extend([2, b'x', 0]);
            all.push((name, around(&framed(&body), 1, codec)));
            let name = format!("a header's value of length {null}, {codec:?}");
            let mut body = vec![0, 0, 0, 1, 2, b'x', 2, 2, b'h'];
            put_varint(&mut body, null);
            all.push((name, around(&framed(&body), 1, codec)));
            let name = format!("a header's name of length {null}, {codec:?}");
            let mut body = vec![0, 0, 0, 1, 2, b'x', 2];
            put_varint(&mut body, null);
            body.push(0);
            all.push((name, around(&framed(&body), 1, codec)));
            let name = format!("{null} headers, {codec:?}");
            let mut body = vec![0, 0, 0, 1, 2, b'x'];
            put_varint(&mut body, null);
            all.push((name, around(&framed(&body), 1, codec)));
        }
        let good = record(0, 1, b"good");
        all.push((
            format!("attributes, {codec:?}"),
            around(&framed(&[0xff, 0, 0, 1, 2, b'a', 0]), 1, codec),
        ));
        all.push((
            format!("a name that is not UTF-8, {codec:?}"),
            around(&framed(&[0, 0, 0, 1, 2, b'u', 2, 4, 0xc3, 0x28, 0]), 1, codec),
        ));
        let long = [&[0, 0, 0, 1, 2, b'x', 0][..], b"more"].concat();
        all.push((
            format!("a record that is too long, {codec:?}"),
            around(&framed(&long), 1, codec),
        ));
        let behind = [&good[..], b"x"].concat();
        all.push((
            format!("a byte behind the records, {codec:?}"),
            around(&behind, 1, codec),
        ));
        all.push((format!("fewer records, {codec:?}"), around(&good, 2, codec)));
        all.push((
            format!("more records, {codec:?}"),
            around(&good.repeat(2), 1, codec),
        ));
        all.push((format!("no records, {codec:?}"), around(&[], 0, codec)));
    }
    let good = || batch(None, "good");
    // A broker drops up to eleven bytes that are no batch, which are refused here; nobody sends them.
    for behind in [12, 16, 17, 61] {
        all.push((
            format!("{behind} bytes behind the batch"),
            [good(), vec![0; behind]].concat(),
        ));
    }
    for missing in [1, 5, 20] {
        let mut short = good();
        short.truncate(short.len() - missing);
        all.push((format!("{missing} bytes missing"), short));
    }
    for length in [0, 1, 11, 12, 16, 17, 60, 61] {
        all.push((format!("only {length} bytes"), good()[..length].to_vec()));
    }
    all.push(("two batches".to_owned(), [good(), good()].concat()));
    let built = |name: &str, builder: BatchBuilder| (name.to_owned(), builder.build().expect("a batch"));
    let one = || {
        BatchBuilder::new().record(sealwire::testing::RecordInput {
            timestamp: 1_700_000_000_000,
            value: Some(b"one"),
            ..Default::default()
        })
    };
    all.push(built("a base offset", one().base_offset(5)));
    all.push(built("another last offset delta", one().last_offset_delta(4)));
    all.push(built("a control batch", one().control()));
    let patched = |name: &str, at: usize, bytes: &[u8], is_fitted: bool| {
        let mut batch = good();
        batch[at..at + bytes.len()].copy_from_slice(bytes);
        if is_fitted {
            fit_length_and_crc(&mut batch);
        }
        (name.to_owned(), batch)
    };
    all.push(patched("a wrong checksum", 17, &[1, 2, 3, 4], false));
    all.push(patched("format 3", 16, &[3], true));
    all.push(patched("a length of 48", 8, &48_i32.to_be_bytes(), false));
    all.push(patched("a length of -1", 8, &(-1_i32).to_be_bytes(), false));
    all.push(patched("a leader epoch", 12, &[0, 0, 0, 9], true));
    all.push(patched("timestamps by the log", 22, &[0x08], true));
    all.push(patched("a delete horizon", 22, &[0x40], true));
    all.push(patched("unknown attributes", 21, &[0x7f], true));
    all.push(patched("codec 5", 22, &[5], true));
    all.push(patched("a producer's epoch without its id", 51, &[0, 1], true));
    all.push(patched(
        "a sequence without a producer's id",
        53,
        &[0, 0, 0, 1],
        true,
    ));
    all.push(("the last".to_owned(), good()));
    all
}

#[test]
#[expect(clippy::too_many_lines, reason = "one story")]
fn requests_end_as_at_the_broker() {
    let rig = &*RIG;
    let mut others = Vec::new();
    let requests: Vec<(&str, Make)> = vec![
        ("a client id that is not UTF-8", |topic| {
            let mut request = Request::default().partition(topic.as_bytes(), 0, Some(&batch(None, "a")));
            request.client_id = vec![0xc3, 0x28];
            request
        }),
        ("a partition named twice", |topic| {
            Request::default()
                .partition(topic.as_bytes(), 0, Some(&batch(None, "first")))
                .partition(topic.as_bytes(), 1, Some(&batch(None, "other")))
                .partition(topic.as_bytes(), 0, Some(&batch(None, "last")))
        }),
        ("a topic named twice", |topic| {
            let mut request = Request::default()
                .partition(topic.as_bytes(), 0, Some(&batch(None, "0")))
                .partition(topic.as_bytes(), 1, Some(&batch(None, "1")));
            request.is_split = true;
            request
        }),
        ("a partition of a topic named twice", |topic| {
            let mut request = Request::default()
                .partition(topic.as_bytes(), 1, Some(&batch(None, "first")))
                .partition(topic.as_bytes(), 1, Some(&batch(None, "last")));
            request.is_split = true;
            request
        }),
        ("a partition that is not there", |topic| {
            Request::default().partition(topic.as_bytes(), 99, Some(&batch(None, "x")))
        }),
        ("a negative partition", |topic| {
            Request::default().partition(topic.as_bytes(), -1, Some(&batch(None, "x")))
        }),
        ("acks of 2", |topic| {
            let mut request = Request::default().partition(topic.as_bytes(), 0, Some(&batch(None, "x")));
            request.acks = 2;
            request
        }),
        ("a topic that is not UTF-8", |topic| {
            let name = [topic.as_bytes(), &[0xc3, 0x28]].concat();
            Request::default()
                .partition(&name, 0, Some(&batch(None, "x")))
                .partition(topic.as_bytes(), 0, Some(&batch(None, "beside it")))
        }),
        ("nothing", |_| Request::default()),
    ];
    for (name, make) in requests {
        let ends = [rig.bootstrap(), rig.cluster.bootstrap()].map(|address| {
            // The names have the same length.
            let topic = rig.topic("sealed-unusual", 2);
            let mut client = RawClient::connect(&address);
            let outcome: Vec<_> = client
                .outcome_of(&make(&topic))
                .into_iter()
                .map(|(name, partition, code, offset)| {
                    // What no rule can name is refused here, and unknown there.
                    let code = if code == 44 { 3 } else { code };
                    (name.replace(&topic, "T"), partition, code, offset)
                })
                .collect();
            let mut reader = RawClient::connect(&address);
            let fetched = reader.fetch(&[topic.as_str()]);
            let records = fetched[0].records.as_ref().map(records_of).unwrap_or_default();
            (outcome, records, rig.end_offsets(&topic, 2))
        });
        if ends[0] != ends[1] {
            others.push((name, ends));
        }
    }
    assert!(
        others.is_empty(),
        "through the proxy, and at the broker: {others:#?}"
    );
}

/// PRODUCE-SEAL-8: what does not fit into a request any more, once it is sealed, comes again in smaller company.
#[test]
fn a_producer_of_many_partitions_gets_all_through_however_much_sealing_adds() {
    let rig = &*RIG;
    let Some(mut proxy) = rig.another_proxy(Login::Plaintext) else {
        return skipped::there_is_no_proxy();
    };
    proxy.terminate();
    // As much as the client sends at a time, and no batch of it is as long.
    proxy.start_again_with(&["limits.request_bytes_max=1048588"]);
    const PARTITIONS: i32 = 20;
    let topic = rig.topic("sealed-crowded", PARTITIONS);
    let value = "v".repeat(200);
    let sent: Vec<Record> = (0..16_000)
        .map(|number: i32| {
            Record::new(&topic, number.to_string(), value.as_str()).partition(number % PARTITIONS)
        })
        .collect();
    let options = Options::at(proxy.bootstrap());
    let writing = options
        .clone()
        .extra("max.request.size", "1000000")
        .extra("batch.size", "120000")
        .extra("linger.ms", "1000");
    let deliveries = rig.java.produce(&writing, &sent);
    let read = rig
        .java
        .consume(&options, &From::partitions(&topic, PARTITIONS), sent.len());
    assert_same(&sent, &deliveries, &read);
    let refused = |reason: &str| {
        let reason = format!("reason=\"{reason}\"");
        proxy.metric("sealwire_refused_partitions_total", &[&reason])
    };
    assert!(refused("request_full") > 0.0, "every request had room");
    assert_eq!(refused("too_large"), 0.0);
}

/// Makes a request to a topic of two partitions.
type Make = fn(&str) -> Request;

/// What is sent to one partition.
struct ToPartition {
    topic: Vec<u8>,
    index: i32,
    records: Option<Vec<u8>>,
}

/// A Produce request of version 8.
#[derive(Default)]
struct Request {
    client_id: Vec<u8>,
    acks: i16,
    partitions: Vec<ToPartition>,
    /// Each partition under a topic of its own, be it the same.
    is_split: bool,
}

impl Request {
    fn partition(mut self, topic: &[u8], index: i32, records: Option<&[u8]>) -> Self {
        self.partitions.push(ToPartition {
            topic: topic.to_vec(),
            index,
            records: records.map(<[u8]>::to_vec),
        });
        self
    }

    fn frame(&self) -> Vec<u8> {
        let text = |text: &[u8]| [&i16::try_from(text.len()).expect("a name").to_be_bytes(), text].concat();
        let acks = if self.acks == 0 { -1 } else { self.acks };
        let mut frame = [&[0, 0, 0, 8, 0, 0, 0, 1][..], &text(&self.client_id)].concat();
        frame.extend([0xff, 0xff]);
        frame.extend(acks.to_be_bytes());
        frame.extend(10_000_i32.to_be_bytes());
        let topics: Vec<&[ToPartition]> = if self.is_split {
            self.partitions.chunks(1).collect()
        } else {
            self.partitions
                .chunk_by(|one, other| one.topic == other.topic)
                .collect()
        };
        frame.extend(length(topics.len()).to_be_bytes());
        for partitions in topics {
            frame.extend(text(&partitions[0].topic));
            frame.extend(length(partitions.len()).to_be_bytes());
            for ToPartition { index, records, .. } in partitions {
                frame.extend(index.to_be_bytes());
                frame.extend(
                    records
                        .as_ref()
                        .map_or(-1, |records| length(records.len()))
                        .to_be_bytes(),
                );
                frame.extend_from_slice(records.as_deref().unwrap_or_default());
            }
        }
        frame
    }
}

impl RawClient {
    fn outcome_of(&mut self, request: &Request) -> Outcome {
        self.send_frame(&request.frame());
        let Some(answer) = self.receive_frame_if_any() else {
            return vec![("closed".to_owned(), 0, 0, 0)];
        };
        let mut answer = Bytes::from(answer);
        let _ = answer.split_to(4);
        let response = ProduceResponse::decode(&mut answer, 8).expect("an answer");
        let mut outcome: Outcome = response
            .responses
            .iter()
            .flat_map(|topic| {
                let name = topic.name.to_string();
                let partitions = topic.partition_responses.iter();
                partitions.map(move |partition| {
                    (
                        name.clone(),
                        partition.index,
                        partition.error_code,
                        partition.base_offset,
                    )
                })
            })
            .collect();
        outcome.sort();
        outcome
    }
}

/// A record that was read.
#[derive(Debug, PartialEq, Eq)]
struct Read {
    offset: i64,
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
}

fn records_of(records: &Bytes) -> Vec<Read> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(Ok(header)) = records
        .get(at..)
        .filter(|rest| !rest.is_empty())
        .map(BatchHeader::parse)
    {
        let batch = &records[at..at + header.batch_bytes()];
        at += batch.len();
        let mut plain = Vec::new();
        let (plain, mut cursor) =
            stored_records(batch, &header, 1 << 20, &mut Decompressor::default(), &mut plain)
                .expect("records that decompress");
        while let Some(record) = cursor.next(plain).expect("a record") {
            let bytes = |span: Span| plain[span.range()].to_vec();
            let offset = header.base_offset + i64::from(record.offset_delta);
            found.push(Read {
                offset,
                key: record.key.map(bytes),
                value: record.value.map(bytes),
            });
        }
    }
    found
}

/// A record without key and headers.
fn record(delta: i32, key: u8, value: &[u8]) -> Vec<u8> {
    let mut body = vec![0, 0];
    put_varint(&mut body, delta);
    body.push(key);
    put_varint(&mut body, length(value.len()));
    body.extend_from_slice(value);
    body.push(0);
    framed(&body)
}

fn framed(body: &[u8]) -> Vec<u8> {
    let mut record = Vec::new();
    put_varint(&mut record, length(body.len()));
    record.extend_from_slice(body);
    record
}

fn around(records: &[u8], count: i32, codec: Codec) -> Vec<u8> {
    let mut stream = Vec::new();
    compress(codec, records, &mut stream).expect("records that compress");
    let builder = BatchBuilder::new()
        .record_count(count)
        .last_offset_delta(count - 1);
    let mut batch = builder.build().expect("an empty batch");
    batch.truncate(HEADER_BYTES);
    batch[22] |= codec.number();
    batch.extend_from_slice(&stream);
    fit_length_and_crc(&mut batch);
    batch
}

fn length(bytes: usize) -> i32 {
    i32::try_from(bytes).expect("a length")
}
