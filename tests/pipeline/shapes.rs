//! The hostile set: frames that cost much more than they are long, or that are as long as may be.
//!
//! `hostile.rs` here and `tests/neighbours/main.rs` use these, and so does `bench-harness hostile`. The seeds of the
//! fuzz targets whose names begin with `hostile-` are of the same kind, and smaller.

use std::time::Duration;

use kafka_protocol::messages::fetch_response::{AbortedTransaction, FetchableTopicResponse, PartitionData};
use kafka_protocol::messages::{FetchResponse, ProducerId, TopicName};
use sealwire::protocol::{PARTITIONS_MAX, PRODUCE_PARTITIONS_MAX};
use sealwire::record_batch::varint::put_varint;
use sealwire::record_batch::{Codec, HEADER_BYTES};
use sealwire::testing::BatchBuilder;
use sealwire::testing::compress;
use sealwire::testing::fit_length_and_crc;

use super::rig::{PAYMENTS, Rig, sealed};
use super::wire::{ToProduce, fetch_request, fetch_response, fetched, produce, response, text, to_produce};

/// One way to keep an executor busy.
pub(crate) struct Shape {
    pub(crate) name: &'static str,
    pub(crate) make: fn() -> Frames,
}

/// What is sent, whole frames with their lengths.
pub(crate) enum Frames {
    /// By the client.
    Requests(Vec<u8>),
    /// By the broker, to a fetch request of the client.
    Response { request: Vec<u8>, response: Vec<u8> },
}

impl Frames {
    /// Sends it all, turn by turn; the longest of them.
    pub(crate) fn longest_step(&self) -> Duration {
        let mut rig = Rig::measured();
        match self {
            Self::Requests(requests) => {
                // What refused partitions are worth is another test's business.
                let _ = rig.client_sends(requests);
            }
            Self::Response { request, response } => {
                rig.client_sends(request).expect("a fetch request goes on");
                rig.longest_step = Duration::ZERO;
                let _ = rig.broker_sends(response);
            }
        }
        rig.longest_step
    }
}

/// All of them.
pub(crate) const SHAPES: &[Shape] = &[
    Shape {
        name: "produce: 1000 bombs of zstd",
        make: || bombs_produced(Codec::Zstd, 1000),
    },
    Shape {
        name: "produce: 30 bombs of gzip",
        make: || bombs_produced(Codec::Gzip, 30),
    },
    Shape {
        name: "produce: 30 bombs of lz4",
        make: || bombs_produced(Codec::Lz4, 30),
    },
    Shape {
        name: "produce: 20 bombs of snappy",
        make: || bombs_produced(Codec::Snappy, 20),
    },
    Shape {
        name: "produce: two million records in a batch",
        make: || produced_one("sealed-a", &batch_of_many(2_000_000, Some(b"x"), Codec::Zstd)),
    },
    Shape {
        name: "produce: 150 batches that just fit",
        make: || {
            let batch = batch_of_many(7000, Some(&[b'x'; 20]), Codec::Zstd);
            Frames::Requests(produce(9, 5, -1, &repeated("sealed-a", &batch, 150)))
        },
    },
    Shape {
        name: "produce: 400 requests, a bomb each",
        make: || {
            let one = produce(9, 5, -1, &repeated("sealed-a", &bomb(Codec::Zstd), 1));
            Frames::Requests(one.repeat(400))
        },
    },
    Shape {
        name: "produce: 90 MiB refused",
        make: || produced_one("sealed-a", &plain(90 * MIB)),
    },
    Shape {
        name: "produce: 90 MiB passed behind a sealed batch",
        make: || {
            let (one, large) = (batch_of_many(1, Some(b"x"), Codec::None), plain(90 * MIB));
            Frames::Requests(produce(
                9,
                5,
                -1,
                &[to_produce("sealed-a", 0, &one), to_produce("pass-a", 0, &large)],
            ))
        },
    },
    Shape {
        name: "produce: 128 topics, one refused, 80 MiB",
        make: || {
            let large = plain(80 * MIB / 127);
            let names: Vec<String> = (0..127).map(|number| format!("pass-{number}")).collect();
            let mut all: Vec<ToProduce<'_>> = names.iter().map(|name| to_produce(name, 0, &large)).collect();
            all.push(to_produce("unknown", 0, &large[..0]));
            Frames::Requests(produce(9, 5, -1, &all))
        },
    },
    Shape {
        name: "produce: 32768 partitions of one topic",
        make: || {
            Frames::Requests(produce(
                9,
                5,
                -1,
                &repeated("sealed-a", b"", PRODUCE_PARTITIONS_MAX),
            ))
        },
    },
    Shape {
        name: "produce: 32768 topics",
        make: || {
            let names: Vec<String> = (0..PRODUCE_PARTITIONS_MAX)
                .map(|number| format!("unknown-{number}"))
                .collect();
            let all: Vec<ToProduce<'_>> = names.iter().map(|name| to_produce(name, 0, b"")).collect();
            Frames::Requests(produce(9, 5, -1, &all))
        },
    },
    Shape {
        name: "produce: 60 records of 500000 headers",
        make: || {
            let batch = batch(&headers(500_000, 0), 1, Codec::None);
            Frames::Requests(produce(9, 5, -1, &repeated("sealed-a", &batch, 60)))
        },
    },
    Shape {
        name: "produce: zstd blocks of nothing",
        make: || {
            let mut stream = vec![0x28, 0xb5, 0x2f, 0xfd, 0, 0x58];
            stream.resize(60 * MIB, 0);
            produced_one("sealed-a", &around(&stream, 1, Codec::Zstd))
        },
    },
    Shape {
        name: "produce: gzip members of nothing",
        make: || {
            let mut one = Vec::new();
            compress(Codec::Gzip, &[], &mut one).expect("an empty member");
            produced_one("sealed-a", &around(&one.repeat(1_000_000), 1, Codec::Gzip))
        },
    },
    Shape {
        name: "fetch: 300 bombs of zstd",
        make: || answered("sealed-a", &bomb(Codec::Zstd).repeat(300)),
    },
    Shape {
        name: "fetch: 10 bombs of gzip, plaintext accepted",
        make: || answered("mixed-a", &bomb(Codec::Gzip).repeat(10)),
    },
    Shape {
        name: "fetch: 10 bombs of lz4, plaintext accepted",
        make: || answered("mixed-a", &bomb(Codec::Lz4).repeat(10)),
    },
    Shape {
        name: "fetch: lz4 blocks of 4 MiB, one match each, plaintext accepted",
        make: || answered("mixed-a", &lz4_blocks(false).repeat(10)),
    },
    Shape {
        name: "fetch: lz4 blocks of 4 MiB, matches of four bytes, plaintext accepted",
        make: || answered("mixed-a", &lz4_blocks(true).repeat(2)),
    },
    Shape {
        name: "fetch: 10 bombs in one block of snappy each, plaintext accepted",
        make: || {
            let records = record(0, Some(&vec![0; 60 * MIB]), &[0]);
            let block = snappy_block(&records);
            answered("mixed-a", &around(&block, 1, Codec::Snappy).repeat(10))
        },
    },
    Shape {
        name: "fetch: 9.58 million tombstones, accepted",
        make: || answered("tombs-a", &tombstones()),
    },
    Shape {
        name: "fetch: 9.58 million tombstones, skipped",
        make: || answered("skip-a", &tombstones()),
    },
    Shape {
        name: "fetch: 9.58 million tombstones, emptied",
        make: || answered("null-a", &tombstones()),
    },
    Shape {
        name: "fetch: 9.58 million tombstones in front of plaintext",
        make: || {
            let mut records: Vec<u8> = (0..9_580_000).flat_map(|_| record(0, None, &[0])).collect();
            records.extend(record(0, Some(b"x"), &[0]));
            answered("tombs-a", &batch(&records, 9_580_001, Codec::Zstd))
        },
    },
    Shape {
        name: "fetch: sealed records with long keys, compressed",
        make: || {
            let clear = keyed(500, 100_000);
            let stored = sealed(&clear, &PAYMENTS, "sealed-a");
            answered("sealed-a", &recompressed(&stored).repeat(10))
        },
    },
    Shape {
        name: "fetch: 200 MiB sealed",
        make: || {
            let stored = sealed(&keyed(1000, 1000), &PAYMENTS, "sealed-a");
            answered("sealed-a", &stored.repeat(200 * MIB / stored.len()))
        },
    },
    Shape {
        name: "fetch: 200 MiB passed in front of a sealed batch",
        make: || {
            let stored = sealed(&keyed(1, 10), &PAYMENTS, "sealed-a");
            let partitions = [
                fetched("pass-a", 0, &plain(200 * MIB)),
                fetched("sealed-a", 0, &stored),
            ];
            Frames::Response {
                request: fetch_request(12, 5),
                response: fetch_response(12, 5, &partitions),
            }
        },
    },
    Shape {
        name: "fetch: 200 MiB of plaintext, refused",
        make: || answered("sealed-a", &plain(200 * MIB)),
    },
    Shape {
        name: "fetch: 131072 partitions, refused",
        make: || {
            let one = fetched("unknown", 0, b"");
            Frames::Response {
                request: fetch_request(12, 5),
                response: fetch_response(12, 5, &vec![one; PARTITIONS_MAX]),
            }
        },
    },
    Shape {
        name: "fetch: 131072 topics that pass",
        make: || {
            let topics: Vec<_> = (0..PARTITIONS_MAX)
                .map(|number| fetched(&format!("pass-{number}"), 0, b""))
                .collect();
            Frames::Response {
                request: fetch_request(12, 5),
                response: fetch_response(12, 5, &topics),
            }
        },
    },
    Shape {
        name: "fetch: 30 records of 500000 headers",
        make: || {
            let one = headers(500_000, 0);
            answered("sealed-a", &batch(&one, 1, Codec::Zstd).repeat(30))
        },
    },
    Shape {
        name: "fetch: a million aborted transactions",
        make: || {
            let aborted = vec![AbortedTransaction::default().with_producer_id(ProducerId(7)); 1_000_000];
            let stored = sealed(&keyed(1, 10), &PAYMENTS, "sealed-a");
            let partition = PartitionData::default()
                .with_aborted_transactions(Some(aborted))
                .with_records(Some(stored.into()));
            let topic = FetchableTopicResponse::default()
                .with_topic(TopicName(text("sealed-a")))
                .with_partitions(vec![partition]);
            Frames::Response {
                request: fetch_request(12, 5),
                response: response(12, 5, &FetchResponse::default().with_responses(vec![topic])),
            }
        },
    },
];

/// 64 MiB of zeros, in one record.
pub(crate) fn bomb(codec: Codec) -> Vec<u8> {
    batch(&record(0, Some(&vec![0; 64 * MIB - 64]), &[0]), 1, codec)
}

fn bombs_produced(codec: Codec, count: usize) -> Frames {
    Frames::Requests(produce(9, 5, -1, &repeated("sealed-a", &bomb(codec), count)))
}

fn produced_one(topic: &str, batch: &[u8]) -> Frames {
    Frames::Requests(produce(9, 5, -1, &repeated(topic, batch, 1)))
}

fn answered(topic: &str, records: &[u8]) -> Frames {
    Frames::Response {
        request: fetch_request(12, 5),
        response: fetch_response(12, 5, &[fetched(topic, 0, records)]),
    }
}

fn repeated<'a>(topic: &'a str, batch: &'a [u8], count: usize) -> Vec<ToProduce<'a>> {
    (0..)
        .take(count)
        .map(|partition| to_produce(topic, partition, batch))
        .collect()
}

/// One batch of 9.58 million records that are as short as can be, 64 MiB once decompressed.
pub(crate) fn tombstones() -> Vec<u8> {
    batch(&record(0, None, &[0]).repeat(9_580_000), 9_580_000, Codec::Zstd)
}

fn batch_of_many(count: i32, value: Option<&[u8]>, codec: Codec) -> Vec<u8> {
    let records: Vec<u8> = (0..count).flat_map(|delta| record(delta, value, &[0])).collect();
    batch(&records, count, codec)
}

/// A batch of one record of about so many bytes, not compressed.
fn plain(bytes: usize) -> Vec<u8> {
    batch(&record(0, Some(&vec![b'x'; bytes - 100]), &[0]), 1, Codec::None)
}

/// Records with a key of so many bytes, ready to be sealed.
fn keyed(count: i32, key_bytes: usize) -> Vec<u8> {
    let key = vec![b'k'; key_bytes];
    let records: Vec<u8> = (0..count)
        .flat_map(|delta| {
            let mut body = vec![0, 0];
            put_varint(&mut body, delta);
            put_varint(&mut body, length(key.len()));
            body.extend_from_slice(&key);
            body.extend_from_slice(&[2, b'v', 0]);
            framed(&body)
        })
        .collect();
    batch(&records, count, Codec::None)
}

/// A record without key or value and with so many headers, each of two bytes.
fn headers(count: i32, delta: i32) -> Vec<u8> {
    let mut section = Vec::new();
    put_varint(&mut section, count);
    section.extend([0, 1].repeat(usize::try_from(count).expect("a count")));
    record(delta, None, &section)
}

/// A record without key; `headers` begin with their count.
fn record(delta: i32, value: Option<&[u8]>, headers: &[u8]) -> Vec<u8> {
    let mut body = vec![0, 0];
    put_varint(&mut body, delta);
    body.push(1);
    put_varint(&mut body, value.map_or(-1, |value| length(value.len())));
    body.extend_from_slice(value.unwrap_or_default());
    body.extend_from_slice(headers);
    framed(&body)
}

fn framed(body: &[u8]) -> Vec<u8> {
    let mut record = Vec::new();
    put_varint(&mut record, length(body.len()));
    record.extend_from_slice(body);
    record
}

fn length(bytes: usize) -> i32 {
    i32::try_from(bytes).expect("the length of a record")
}

fn batch(records: &[u8], count: i32, codec: Codec) -> Vec<u8> {
    let mut stream = Vec::new();
    compress(codec, records, &mut stream).expect("records that compress");
    around(&stream, count, codec)
}

/// A batch around records that are compressed already.
fn around(stream: &[u8], count: i32, codec: Codec) -> Vec<u8> {
    let builder = BatchBuilder::new()
        .record_count(count)
        .last_offset_delta(count - 1);
    let mut batch = builder.build().expect("an empty batch");
    batch.truncate(HEADER_BYTES);
    batch[22] |= codec.number();
    batch.extend_from_slice(stream);
    fit_length_and_crc(&mut batch);
    batch
}

fn recompressed(stored: &[u8]) -> Vec<u8> {
    let mut stream = Vec::new();
    compress(Codec::Zstd, &stored[HEADER_BYTES..], &mut stream).expect("records that compress");
    let mut batch = stored[..HEADER_BYTES].to_vec();
    batch[22] |= Codec::Zstd.number();
    batch.extend_from_slice(&stream);
    fit_length_and_crc(&mut batch);
    batch
}

/// A record of zeros in the largest blocks of LZ4: in each a match of four bytes after the other, or a single one.
fn lz4_blocks(of_four: bool) -> Vec<u8> {
    let plain = record(0, Some(&vec![0; 60 * MIB - 64]), &[0]);
    // Magic number, independent blocks of 4 MiB, and the header's checksum.
    let mut stream = vec![0x04, 0x22, 0x4d, 0x18, 0x60, 0x70, 0x73];
    for text in plain.chunks(4 * MIB) {
        let (head, middle) = text.split_at(12);
        let (middle, tail) = middle.split_at(middle.len() - 12);
        // Token and distance; and once more until what is left is as long as the last match.
        let mut block = [&[0xc0], head].concat();
        let last = if of_four {
            middle.len() % 4 + 4
        } else {
            middle.len()
        };
        let fours = (middle.len() - last) / 4;
        block.extend([1, 0, 0].repeat(fours));
        let token = block.len() - if fours == 0 { 13 } else { 1 };
        block.extend_from_slice(&[1, 0]);
        let of = last - 4;
        block[token] |= of.min(15) as u8;
        if let Some(rest) = of.checked_sub(15) {
            block.resize(block.len() + rest / 255, 255);
            block.push((rest % 255) as u8);
        }
        block.push(0xc0);
        block.extend_from_slice(tail);
        stream.extend_from_slice(&(block.len() as u32).to_le_bytes());
        stream.extend_from_slice(&block);
    }
    stream.extend_from_slice(&[0; 4]);
    around(&stream, 1, Codec::Lz4)
}

/// As librdkafka writes them: one block for all, by hand, of a literal and of copies of it.
fn snappy_block(plain: &[u8]) -> Vec<u8> {
    let mut block = Vec::new();
    let mut left = plain.len();
    while left >= 0x80 {
        block.push((left & 0x7f) as u8 | 0x80);
        left >>= 7;
    }
    block.push(left as u8);
    // Record and value begin with lengths; what follows is zeros.
    let head = plain
        .iter()
        .rposition(|byte| *byte != 0)
        .map_or(1, |last| last + 2);
    block.push(((head - 1) << 2) as u8);
    block.extend_from_slice(&plain[..head]);
    let mut rest = plain.len() - head;
    while rest > 0 {
        let bytes = rest.min(64);
        block.extend_from_slice(&[((bytes - 1) << 2 | 2) as u8, 1, 0]);
        rest -= bytes;
    }
    block
}

const MIB: usize = 1 << 20;
