//! Hostile bytes: no panic, no announced memory, nothing accepted that is cut short or too long.

use kafka_protocol::messages::ApiKey;
use proptest::prelude::*;
use sealwire::protocol::addresses::{self, Rewrite};
use sealwire::protocol::fetch_response::FetchResponse;
use sealwire::protocol::frame::{RequestHead, response_header_end};
use sealwire::protocol::partitions::{RecordsRewriting, RecordsStep};
use sealwire::protocol::policy::Policy;
use sealwire::protocol::produce_request::{ProduceRequest, Rewriting, Writing};
use sealwire::protocol::produce_response::{self, Refusal};
use sealwire::protocol::{PRODUCE_PARTITIONS_MAX, ProtocolError, api_key, api_versions};

use super::allocations::tally;
use super::draw::Draw;
use super::messages;
use super::ranges::{FETCH_VERSIONS, PRODUCE_VERSIONS};
use super::wire::{request, response, unprefixed};
use crate::fuzz_corpus::targets::whole::{
    Becomes, ProducedBecomes, rewrite_produce, rewrite_records, stream_fetch,
};

/// Memory that a walk may hold for each byte of the frame. The worst are Produce partitions: 6 bytes on the wire, 64 in
/// a layout whose vector doubles.
const BYTES_PER_BYTE_MAX: usize = 40;

/// A message, and how it is read.
#[derive(Debug, Clone)]
struct Sample {
    api_key: i16,
    is_request: bool,
    version: i16,
    frame: Vec<u8>,
}

impl Sample {
    fn with(&self, frame: &[u8]) -> Self {
        Self {
            frame: frame.to_vec(),
            ..self.clone()
        }
    }

    /// Runs everything that the proxy would run over the frame. What is accepted must come out as it came in, and
    /// survive changes.
    #[expect(clippy::too_many_lines, reason = "one branch for each message")]
    fn walk(&self, layouts: &mut Layouts) -> Result<(), ProtocolError> {
        let Self {
            api_key,
            version,
            frame,
            ..
        } = self;
        let (api_key, version) = (*api_key, *version);
        let _ = RequestHead::peek(frame);
        let _ = (
            response_header_end(frame, false),
            response_header_end(frame, true),
        );
        let out = &mut layouts.out;
        out.clear();
        if self.is_request {
            let layout = &mut layouts.produce;
            layout.parse(frame, version)?;
            rewrite_produce(layout, frame, out, &mut |_, _| ProducedBecomes::Kept)?;
            assert_eq!(unprefixed(out), frame);
            out.clear();
            rewrite_produce(layout, frame, out, &mut |position, out| {
                out.extend_from_slice(layout.records(frame, position));
                [ProducedBecomes::Cut, ProducedBecomes::Written][position % 2]
            })?;
            unprefixed(out);
            return Ok(());
        }
        match api_key {
            api_key::API_VERSIONS => {
                api_versions::intersect(frame, version, Policy::BY_NAME, out)?;
                unprefixed(out);
                return Ok(());
            }
            api_key::FETCH => {
                let layout = &mut layouts.fetch;
                let parsed = layout.parse(frame, version);
                if version <= 12 {
                    for piece_bytes in [1, frame.len().max(1)] {
                        let streamed = stream_fetch(frame, version, piece_bytes, &mut |_, _| ());
                        assert_eq!(streamed, parsed, "STREAM-WALK-1");
                    }
                }
                parsed?;
                let found = layout.partitions();
                let unserved = &mut |_| Rewrite::Unserved;
                rewrite_records(found, frame, out, &mut |_| Becomes::Kept, unserved)?;
                unprefixed(out);
                out.clear();
                let each = &mut |position| {
                    let records = found.records(frame, position);
                    [Becomes::Blank(Some(2)), Becomes::Records(records)][position % 2]
                };
                rewrite_records(found, frame, out, each, unserved)?;
                unprefixed(out);
                out.clear();
            }
            api_key::PRODUCE if version <= 12 => {
                let refusal = Refusal {
                    topic: "t".into(),
                    partition: 1,
                    error_code: 44,
                    message: "no".into(),
                };
                let unserved = &mut |_| Rewrite::Unserved;
                produce_response::merge(frame, version, &[refusal], unserved, &mut |_, _| (), out)?;
                unprefixed(out);
                out.clear();
            }
            _ => {}
        }
        let mut nodes = 0;
        addresses::visit(api_key, version, frame, &mut |broker| {
            assert!(broker.node_id >= 0 && broker.port >= 0 && !broker.host.is_empty());
            nodes += 1;
        })?;
        let written = addresses::rewrite(api_key, version, frame, &mut |_| Rewrite::Unserved, out)?;
        out.extend_from_slice(&frame[written..]);
        unprefixed(out);
        let mut left = 0;
        let emitted = unprefixed(out).to_vec();
        addresses::visit(api_key, version, &emitted, &mut |_| left += 1).unwrap();
        assert_eq!(left, 0, "ADDR-1: {nodes} addresses were to go");
        Ok(())
    }
}

impl Sample {
    /// How much of the frame is looked at: all of it but the topics of Metadata (ADDR-3).
    fn looked_at(&self) -> usize {
        if self.is_request || self.api_key != api_key::METADATA {
            return self.frame.len();
        }
        let unserved = &mut |_| Rewrite::Unserved;
        addresses::rewrite(self.api_key, self.version, &self.frame, unserved, &mut Vec::new()).unwrap()
    }
}

#[derive(Default)]
struct Layouts {
    produce: ProduceRequest,
    fetch: FetchResponse,
    out: Vec<u8>,
}

/// One message of every kind in every version.
fn samples(seed: u64) -> Vec<Sample> {
    let mut samples = Vec::new();
    let mut add = |api_key, is_request, version, frame| {
        samples.push(Sample {
            api_key,
            is_request,
            version,
            frame,
        });
    };
    for version in PRODUCE_VERSIONS {
        let draw = &mut Draw::new(seed);
        let body = messages::produce_request(draw, version);
        add(
            api_key::PRODUCE,
            true,
            version,
            request(draw, ApiKey::Produce, version, &body),
        );
        let body = messages::produce_response(draw, version);
        add(api_key::PRODUCE, false, version, response(draw, version, &body));
    }
    for version in FETCH_VERSIONS {
        let draw = &mut Draw::new(seed);
        let body = messages::fetch_response(draw, version);
        add(api_key::FETCH, false, version, response(draw, version, &body));
    }
    for version in 0..=13 {
        let draw = &mut Draw::new(seed);
        let body = messages::metadata_response(draw, version);
        add(api_key::METADATA, false, version, response(draw, version, &body));
    }
    for version in 0..=6 {
        let draw = &mut Draw::new(seed);
        let body = messages::find_coordinator_response(draw, version);
        add(
            api_key::FIND_COORDINATOR,
            false,
            version,
            response(draw, version, &body),
        );
    }
    for version in 0..=2 {
        let draw = &mut Draw::new(seed);
        let body = messages::describe_cluster_response(draw, version);
        add(
            api_key::DESCRIBE_CLUSTER,
            false,
            version,
            response(draw, version, &body),
        );
    }
    for version in 0..=4 {
        let draw = &mut Draw::new(seed);
        let body = messages::api_versions_response(draw, version);
        add(
            api_key::API_VERSIONS,
            false,
            version,
            response(draw, version, &body),
        );
    }
    let draw = &mut Draw::new(seed);
    let body = messages::share_fetch_response(draw);
    add(api_key::SHARE_FETCH, false, 1, response(draw, 1, &body));
    let body = messages::share_acknowledge_response(draw);
    add(api_key::SHARE_ACKNOWLEDGE, false, 1, response(draw, 1, &body));
    samples
}

/// Walks a sample with fresh layouts and says what became of it, having checked the memory that it took.
fn walk_bounded(sample: &Sample) -> Result<(), ProtocolError> {
    let mut result = Ok(());
    let tally = tally(|| result = sample.walk(&mut Layouts::default()));
    // The refusal, and the smallest vectors.
    let bound = 1024 + sample.frame.len() * BYTES_PER_BYTE_MAX;
    assert!(
        tally.peak as usize <= bound,
        "{} bytes for a frame of {}",
        tally.peak,
        sample.frame.len()
    );
    result
}

/// WIRE-3
#[test]
fn every_truncation_and_any_byte_more_is_refused() {
    for seed in 0..6 {
        for sample in samples(seed) {
            walk_bounded(&sample).unwrap();
            let looked_at = sample.looked_at();
            let step = 1 + sample.frame.len() / 2_000;
            for end in (0..sample.frame.len()).step_by(step) {
                let cut = sample.with(&sample.frame[..end]);
                assert_eq!(walk_bounded(&cut).is_err(), end < looked_at, "{cut:?}");
            }
            for byte in [0, 1] {
                let mut longer = sample.clone();
                longer.frame.push(byte);
                let is_looked_at = looked_at == sample.frame.len();
                assert_eq!(walk_bounded(&longer).is_err(), is_looked_at, "{longer:?}");
            }
        }
    }
}

/// WIRE-2
#[test]
fn huge_counts_cost_nothing() {
    let counts: [&[u8]; 5] = [
        &[0x7f, 0xff, 0xff, 0xff],
        &[0x80, 0, 0, 0],
        &[0xff, 0xff, 0xff, 0xff, 0x0f],
        &[0xff, 0xff, 0xff, 0xff, 0x07],
        &[0xff, 0xff, 0xff, 0xff, 0xff],
    ];
    for sample in samples(3) {
        for at in 0..sample.frame.len().min(200) {
            for count in counts {
                let mut lying = sample.clone();
                let end = (at + count.len()).min(lying.frame.len());
                lying.frame.splice(at..end, count.iter().copied());
                let _ = walk_bounded(&lying);
            }
        }
    }
}

/// WIRE-5, RESPONSE-5, REWRITING-2
#[test]
fn what_was_written_is_taken_back_when_the_frame_is_another_one() {
    let draw = &mut Draw::new(7);
    let mut out = b"before".to_vec();

    let version = 12;
    let mut body = messages::fetch_response(draw, version);
    while body.responses.iter().all(|topic| topic.partitions.is_empty()) {
        body = messages::fetch_response(draw, version);
    }
    let frame = response(draw, version, &body);
    let mut layout = FetchResponse::default();
    layout.parse(&frame, version).unwrap();
    let found = layout.partitions();
    let mut rewriting = RecordsRewriting::default();
    let unserved = &mut |_| Rewrite::Unserved;
    let mut advance = |rewriting: &mut RecordsRewriting, frame: &[u8], out: &mut Vec<u8>| {
        rewriting.advance(found, frame, out, usize::MAX, unserved)
    };
    assert_eq!(
        advance(&mut rewriting, &frame, &mut out),
        Ok(RecordsStep::Partition(0))
    );
    rewriting.replace(found).unwrap();
    assert_eq!(
        advance(&mut rewriting, &frame, &mut out),
        Ok(RecordsStep::Records(0))
    );
    out.extend(b"records");
    let shorter = &frame[..frame.len() - 1];
    assert_eq!(
        advance(&mut rewriting, shorter, &mut out),
        Err(ProtocolError::LayoutMismatch)
    );
    assert_eq!(out, b"before");

    let frame = crowded_produce_request(2);
    let mut layout = ProduceRequest::default();
    layout.parse(&frame, 9).unwrap();
    let mut rewriting = Rewriting::begin(&layout, &frame, &mut out).unwrap();
    assert_eq!(
        rewriting.advance(&layout, &frame, &mut out, 10),
        Ok(Writing::Copied(10))
    );
    assert!(out.len() > b"before".len());
    let advanced = rewriting.advance(&layout, &frame[..10], &mut out, usize::MAX);
    assert_eq!(advanced, Err(ProtocolError::LayoutMismatch));
    assert_eq!(out, b"before");
}

/// A Produce request of version 9 with one topic of `partitions` partitions without records.
fn crowded_produce_request(partitions: usize) -> Vec<u8> {
    let mut frame = vec![
        0, 0, 0, 9, 0, 0, 0, 1, 0xff, 0xff, 0, 0, 0, 1, 0, 0, 0, 0, 2, 2, b't',
    ];
    sealwire::protocol::writer::put_array_len(&mut frame, true, partitions).unwrap();
    for partition in 0..partitions {
        frame.extend((partition as i32).to_be_bytes());
        frame.extend([0, 0]);
    }
    frame.extend([0, 0]);
    frame
}

#[test]
fn partitions_are_bounded_in_number() {
    let mut layout = ProduceRequest::default();
    layout
        .parse(&crowded_produce_request(PRODUCE_PARTITIONS_MAX), 9)
        .unwrap();
    assert_eq!(layout.partitions.len(), PRODUCE_PARTITIONS_MAX);
    let result = layout.parse(&crowded_produce_request(PRODUCE_PARTITIONS_MAX + 1), 9);
    assert_eq!(result, Err(ProtocolError::TooManyPartitions));
    assert!(layout.partitions.is_empty() && layout.topics.is_empty());

    let frame = crowded_produce_request(PRODUCE_PARTITIONS_MAX);
    walk_bounded(&Sample {
        api_key: api_key::PRODUCE,
        is_request: true,
        version: 9,
        frame,
    })
    .unwrap();
}

#[test]
fn a_layout_gives_unusual_memory_back() {
    let mut layout = ProduceRequest::default();
    layout
        .parse(&crowded_produce_request(PRODUCE_PARTITIONS_MAX), 9)
        .unwrap();
    layout.parse(&crowded_produce_request(3), 9).unwrap();
    assert!(
        layout.partitions.capacity() <= 4096,
        "{}",
        layout.partitions.capacity()
    );
}

#[test]
fn of_a_partition_that_is_named_twice_the_last_counts() {
    let mut frame = crowded_produce_request(3);
    let last = frame.len() - 2 - 3;
    assert_eq!(frame[last], 2);
    frame[last] = 0;
    let superseded = |frame: &[u8]| {
        let mut layout = ProduceRequest::default();
        layout.parse(frame, 9).unwrap();
        let partitions = layout.partitions.iter();
        partitions
            .map(|partition| partition.superseded)
            .collect::<Vec<_>>()
    };
    assert_eq!(superseded(&frame), [true, false, false]);

    // The same in two entries of one topic, which by itself is allowed.
    for (second, expected) in [(1, [false, false]), (0, [true, false])] {
        let mut frame = vec![0, 0, 0, 9, 0, 0, 0, 1, 0xff, 0xff, 0, 0, 0, 1, 0, 0, 0, 0, 3];
        for partition in [0, second] {
            frame.extend([2, b't', 2, 0, 0, 0, partition, 0, 0, 0]);
        }
        frame.push(0);
        assert_eq!(superseded(&frame), expected);
    }
}

#[test]
fn versions_that_are_not_known_are_refused() {
    for sample in samples(1) {
        for version in [-1, i16::MIN, i16::MAX, 19] {
            let sample = Sample {
                version,
                ..sample.clone()
            };
            let refused = Err(ProtocolError::UnsupportedVersion {
                api_key: sample.api_key,
                version,
            });
            assert_eq!(walk_bounded(&sample), refused);
        }
    }
    let refused = Err(ProtocolError::UnsupportedVersion {
        api_key: 12,
        version: 0,
    });
    assert_eq!(addresses::visit(12, 0, &[0; 8], &mut |_| {}), refused);
}

#[test]
fn a_layout_refuses_another_frame() {
    let frame = crowded_produce_request(3);
    let mut layout = ProduceRequest::default();
    layout.parse(&frame, 9).unwrap();
    let mut out = vec![7];
    let result = rewrite_produce(&layout, &frame[1..], &mut out, &mut |_, _| ProducedBecomes::Kept);
    assert_eq!((result, &out[..]), (Err(ProtocolError::LayoutMismatch), &[7][..]));
    let result = rewrite_produce(&layout, &frame, &mut out, &mut |_, out| {
        out.clear();
        ProducedBecomes::Written
    });
    assert_eq!(result, Err(ProtocolError::LayoutMismatch));
}

#[test]
fn a_warm_layout_allocates_nothing() {
    for sample in samples(11) {
        let writes_in_place = sample.is_request || sample.api_key == api_key::FETCH && sample.version < 16;
        if !writes_in_place {
            continue;
        }
        let Sample { frame, version, .. } = &sample;
        let layouts = &mut Layouts::default();
        sample.walk(layouts).unwrap();
        let Layouts { produce, fetch, out } = layouts;
        out.clear();
        out.reserve(2 * frame.len() + 64);
        let tally = tally(|| {
            if sample.is_request {
                produce.parse(frame, *version).unwrap();
                rewrite_produce(produce, frame, out, &mut |_, _| ProducedBecomes::Kept).unwrap();
            } else {
                fetch.parse(frame, *version).unwrap();
                let unserved = &mut |_| Rewrite::Unserved;
                let each = &mut |position| match position % 2 {
                    0 => Becomes::Kept,
                    _ => Becomes::Records(b"opened"),
                };
                rewrite_records(fetch.partitions(), frame, out, each, unserved).unwrap();
            }
        });
        assert_eq!(tally.calls, 0, "API {} version {version}", sample.api_key);
    }
}

proptest! {
    /// WIRE-1
    #[test]
    fn flipped_bytes_do_not_panic(seed: u64) {
        let draw = &mut Draw::new(seed);
        for sample in samples(seed) {
            for _ in 0..4 {
                let mut flipped = sample.clone();
                for _ in 0..1 + draw.below(4) {
                    let at = draw.below(flipped.frame.len());
                    flipped.frame[at] = match draw.below(3) {
                        0 => flipped.frame[at] ^ (1 << draw.below(8)),
                        1 => draw.of(&[0, 1, 0x7f, 0x80, 0xff]),
                        _ => draw.word() as u8,
                    };
                }
                let _ = walk_bounded(&flipped);
            }
        }
    }

    #[test]
    fn random_bytes_do_not_panic(seed: u64, frame in proptest::collection::vec(any::<u8>(), 0..300)) {
        for sample in samples(seed % 4) {
            let _ = walk_bounded(&sample.with(&frame));
        }
    }
}
