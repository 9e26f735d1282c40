//! Requests of all kinds with their answers, of lengths at which something changes.

use proptest::prelude::*;

use super::bench::record;
use super::wire::{bytes, fetch, fetch_of, fetched_all, frame, named, produce, request};
use crate::testing::BatchBuilder;

/// A request, and what is to be answered to it.
#[derive(Clone, Debug)]
pub(super) enum Exchange {
    /// Both pass unread, with so many bytes.
    Unread(usize, usize),
    /// A Produce request of about so many bytes that passes whole.
    Produce(usize),
    /// The same with a partition that is cut out, and whose refusal is written into the answer.
    ProduceInPart(usize),
    /// A Fetch whose answer has so many bytes and passes whole.
    Fetch(usize),
    /// The same with a partition whose records are not delivered.
    FetchInPart(usize),
    /// A Fetch for a topic that passes, whose answer has so many bytes and is streamed.
    FetchStreamed(usize),
    /// An answer that is written anew up to so many bytes at its end, which pass.
    Metadata(usize),
    /// It goes nowhere, and is answered here.
    Versions,
}

/// Bytes that differ from place to place.
fn content(bytes: usize, seed: usize) -> Vec<u8> {
    let mix = |at: usize| (at ^ seed.wrapping_mul(0x9e37)).wrapping_mul(0x9e37_79b9) >> 13;
    (0..bytes).map(|at| mix(at) as u8).collect()
}

impl Exchange {
    /// The request and the broker's answer; the answer is empty if the broker hears of nothing.
    pub(super) fn frames(&self, id: i32) -> (Vec<u8>, Vec<u8>) {
        let seed = id as usize;
        let batch = |bytes: usize| {
            let value = content(bytes, seed);
            BatchBuilder::new()
                .record(record(&value))
                .build()
                .expect("a batch")
        };
        let answer = |parts: &[&[u8]]| frame(&[&[&id.to_be_bytes()[..]], parts].concat());
        match *self {
            Self::Unread(asked, answered) => (
                request(12, 0, id, &content(asked, seed)),
                answer(&[&content(answered, seed)]),
            ),
            Self::Produce(bytes) => (produce(id, -1, "passed", &batch(bytes)), answer(&[&[0; 8]])),
            Self::ProduceInPart(bytes) => {
                let topics = [one("passed", &[], &batch(bytes)), one("nobody's", &[], &batch(9))].concat();
                let body = [&[0xff; 4][..], &[0, 0, 0, 9, 0, 0, 0, 2], &topics].concat();
                (request(0, 3, id, &body), answer(&[&[0; 8]]))
            }
            Self::Fetch(bytes) => {
                let topic = one("passed", FETCHED, &content(bytes, seed));
                (fetch(id), answer(&[&[0; 4], &[0, 0, 0, 1], &topic]))
            }
            Self::FetchInPart(bytes) => {
                // What delivers nothing at all would be held back.
                let passed = one("passed", FETCHED, &content(bytes + 1, seed));
                let topics = [passed, one("nobody's", FETCHED, &batch(9))].concat();
                (fetch(id), answer(&[&[0; 4], &[0, 0, 0, 2], &topics]))
            }
            Self::FetchStreamed(bytes) => {
                let topics = [("passed", &content(bytes, seed)[..]), ("passed", b"more")];
                (fetch_of(id, "passed"), fetched_all(id, &topics))
            }
            Self::Metadata(bytes) => {
                let broker = [&[0, 0, 0, 7, 0, 1][..], b"k", &[0, 0, 0, 9]].concat();
                let topics = [&[0; 4][..], &content(bytes, seed)].concat();
                (
                    request(3, 0, id, &[0; 4]),
                    answer(&[&[0, 0, 0, 1], &broker, &topics]),
                )
            }
            Self::Versions => (request(18, 99, id, &[]), Vec::new()),
        }
    }
}

/// A topic with its only partition, which has `fields` and `records`.
fn one(topic: &str, fields: &[u8], records: &[u8]) -> Vec<u8> {
    let partition = [&[0, 0, 0, 1, 0, 0, 0, 0], fields, &bytes(records)].concat();
    [named(topic), partition].concat()
}

/// Error code, high watermark, last stable offset, no aborted transactions.
const FETCHED: &[u8; 22] = b"\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\xff\xff\xff\xff";

/// Lengths around which something changes, and short ones.
pub(super) fn length() -> impl Strategy<Value = usize> {
    prop_oneof![
        4 => 0..200_usize,
        2 => 200..20_000_usize,
        2 => (KIB * 64 - 60)..(KIB * 64 + 5),
        1 => (KIB * 64)..(KIB * 400),
        1 => (KIB * 256 - 60)..(KIB * 256 + 5),
        1 => (KIB * 1024 - 60)..(KIB * 1024 + 5),
    ]
}

pub(super) fn exchange() -> impl Strategy<Value = Exchange> {
    prop_oneof![
        4 => (length(), length()).prop_map(|(asked, answered)| Exchange::Unread(asked, answered)),
        2 => length().prop_map(Exchange::Produce),
        1 => length().prop_map(Exchange::ProduceInPart),
        2 => length().prop_map(Exchange::Fetch),
        1 => length().prop_map(Exchange::FetchInPart),
        2 => length().prop_map(Exchange::FetchStreamed),
        1 => length().prop_map(Exchange::Metadata),
        1 => Just(Exchange::Versions),
    ]
}

pub(super) const KIB: usize = 1024;
