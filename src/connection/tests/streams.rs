//! Streams of frames of all kinds, however they are cut and however little is taken of them: what goes out is what a
//! session makes of one whole frame after the other.

use std::time::Instant;

use proptest::prelude::*;

use super::bench::{Bench, ROOMY, listener, log_in, record};
use super::wire::{bytes, fetch, frame, named, produce, request};
use crate::config::Limits;
use crate::metrics::{CloseReason, Direction};
use crate::pipeline::{Pipeline, Session, Step, Work};
use crate::testing::{BatchBuilder, MemoryStream};

/// A request, and what is to be answered to it.
#[derive(Clone, Debug)]
enum Exchange {
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
    /// An answer that is written anew up to so many bytes at its end, which pass.
    Metadata(usize),
    /// It goes nowhere, and is answered here.
    Versions,
}

/// Something that happens to the connection.
#[derive(Clone, Debug)]
enum Act {
    ClientSends(usize),
    BrokerSends(usize),
    ClientTakes(usize),
    BrokerTakes(usize),
    /// Others of the executor give back a buffer of so many bytes, with what they had in it.
    Given(usize),
    Trimmed,
}

/// Bytes that differ from place to place.
fn content(bytes: usize, seed: usize) -> Vec<u8> {
    let mix = |at: usize| (at ^ seed.wrapping_mul(0x9e37)).wrapping_mul(0x9e37_79b9) >> 13;
    (0..bytes).map(|at| mix(at) as u8).collect()
}

impl Exchange {
    /// The request and the broker's answer; the answer is empty if the broker hears of nothing.
    fn frames(&self, id: i32) -> (Vec<u8>, Vec<u8>) {
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

/// What a session makes of one whole frame.
fn made_of(
    session: &mut Session,
    pipeline: &mut Pipeline,
    direction: Direction,
    mut frame: Vec<u8>,
) -> Result<Vec<u8>, CloseReason> {
    let (mut at, mut out) = (0, Vec::new());
    while at < frame.len() || direction == Direction::Response && session.answers_itself() {
        let (rest, now) = (&mut frame[at..], Instant::now());
        let step = match direction {
            Direction::Request => session.requests(pipeline, now, rest, &mut out),
            Direction::Response => session.responses(pipeline, now, rest, &mut out),
        };
        match step? {
            Step::Forward(bytes) => {
                out.extend_from_slice(&frame[at..at + bytes]);
                at += bytes;
            }
            Step::Wrote(bytes) => at += bytes,
            Step::Yield => pipeline.work.begin_turn(),
            step => panic!("{step:?} for a whole frame"),
        }
    }
    Ok(out)
}

/// All that is sent, and what is to come of it.
#[derive(Default)]
struct Traffic {
    from_client: Vec<u8>,
    to_broker: Vec<u8>,
    from_broker: Vec<u8>,
    to_client: Vec<u8>,
    /// Up to where the broker has sent what it may when it has received so much.
    answers: Vec<(usize, usize)>,
}

impl Traffic {
    fn of(exchanges: &[Exchange], refused: bool) -> Self {
        let bench = Bench::new(Limits::default());
        let pipeline = &mut *bench.shared.pipeline.borrow_mut();
        let mut session = Session::new(listener(), 2, &Limits::default(), None);
        log_in(&mut session, pipeline);
        let mut traffic = Self::default();
        for (id, exchange) in (100..).zip(exchanges) {
            let (request, answer) = exchange.frames(id);
            traffic.from_client.extend_from_slice(&request);
            traffic.from_broker.extend_from_slice(&answer);
            let made = made_of(&mut session, pipeline, Direction::Request, request);
            traffic.to_broker.extend(made.expect("a request"));
            let made = made_of(&mut session, pipeline, Direction::Response, answer);
            traffic.to_client.extend(made.expect("an answer"));
            traffic
                .answers
                .push((traffic.to_broker.len(), traffic.from_broker.len()));
        }
        if refused {
            let denied = request(999, 0, 1, &[]);
            let refusal = made_of(&mut session, pipeline, Direction::Request, denied.clone());
            assert_eq!(refusal, Err(CloseReason::DeniedApi));
            traffic.from_client.extend(denied);
        }
        traffic
    }

    /// Up to where the broker may send when it has received so much.
    fn may_answer(&self, received: usize) -> usize {
        let answered = self.answers.iter().filter(|(asked, _)| *asked <= received);
        answered.map(|(_, end)| *end).max().unwrap_or(0)
    }
}

/// How far a connection is.
#[derive(Default)]
struct Progress {
    client_sent: usize,
    broker_sent: usize,
    to_client: Vec<u8>,
    to_broker: Vec<u8>,
    ended: Option<CloseReason>,
}

impl Progress {
    /// Lets the client or the broker send up to `bytes`, and nobody before he was asked.
    fn send(&mut self, bench: &Bench, traffic: &Traffic, direction: Direction, bytes: usize) {
        let (stream, all, sent, end) = match direction {
            Direction::Request => (
                &bench.client,
                &traffic.from_client,
                &mut self.client_sent,
                traffic.from_client.len(),
            ),
            Direction::Response => {
                let may_answer = traffic.may_answer(self.to_broker.len());
                (
                    &bench.broker,
                    &traffic.from_broker,
                    &mut self.broker_sent,
                    may_answer,
                )
            }
        };
        let end = end.min(*sent + bytes);
        stream.arrive(&all[*sent..end]);
        *sent = end;
    }

    /// Runs until the connection waits, and looks at what has come of it.
    fn settle(&mut self, bench: &mut Bench, traffic: &Traffic) {
        self.ended = self.ended.or_else(|| bench.settle());
        self.to_broker.append(&mut bench.broker.take_written());
        self.to_client.append(&mut bench.client.take_written());
        assert!(
            traffic.to_broker.starts_with(&self.to_broker),
            "to the broker goes something else"
        );
        assert!(
            traffic.to_client.starts_with(&self.to_client),
            "to the client goes something else"
        );
    }

    fn act(&mut self, bench: &mut Bench, traffic: &Traffic, act: &Act) {
        match *act {
            Act::ClientSends(bytes) => self.send(bench, traffic, Direction::Request, bytes),
            Act::BrokerSends(bytes) => self.send(bench, traffic, Direction::Response, bytes),
            Act::ClientTakes(bytes) => bench.client.make_room(bytes),
            Act::BrokerTakes(bytes) => bench.broker.make_room(bytes),
            Act::Given(bytes) => {
                bench.shared.inputs.borrow_mut().give(vec![0xee; bytes]);
                bench.shared.outputs.borrow_mut().give(vec![0xdd; bytes]);
            }
            Act::Trimmed => bench.shared.trim(),
        }
        self.settle(bench, traffic);
    }

    /// Everything is sent and taken; the client `leaves` behind what it has sent.
    fn finish(&mut self, bench: &mut Bench, traffic: &Traffic, leaves: bool) {
        self.send(bench, traffic, Direction::Request, ROOMY);
        if leaves {
            bench.client.end();
        }
        self.settle(bench, traffic);
        bench.client.make_room(ROOMY);
        bench.broker.make_room(ROOMY);
        for _ in 0..=traffic.answers.len() {
            self.settle(bench, traffic);
            bench.shared.relieve(Instant::now());
            self.send(bench, traffic, Direction::Response, ROOMY);
        }
        self.settle(bench, traffic);
    }
}

/// Whether a frame of another connection that needs all of the room for long ones has its turn.
fn has_turn(bench: &Bench, bytes: usize) -> bool {
    let (client, _, mut neighbour) = bench.neighbour();
    let long = produce(1, -1, "passed", &vec![0; bytes]);
    client.arrive(&long[..bytes / 2]);
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    while neighbour.poll_turn(&mut context, Instant::now()).is_ready() {}
    client.unread() == 0
}

/// Lengths around which something changes, and short ones.
fn length() -> impl Strategy<Value = usize> {
    prop_oneof![
        4 => 0..200_usize,
        2 => 200..20_000_usize,
        2 => (KIB * 64 - 60)..(KIB * 64 + 5),
        1 => (KIB * 64)..(KIB * 400),
        1 => (KIB * 256 - 60)..(KIB * 256 + 5),
        1 => (KIB * 1024 - 60)..(KIB * 1024 + 5),
    ]
}

fn exchange() -> impl Strategy<Value = Exchange> {
    prop_oneof![
        4 => (length(), length()).prop_map(|(asked, answered)| Exchange::Unread(asked, answered)),
        2 => length().prop_map(Exchange::Produce),
        1 => length().prop_map(Exchange::ProduceInPart),
        2 => length().prop_map(Exchange::Fetch),
        1 => length().prop_map(Exchange::FetchInPart),
        1 => length().prop_map(Exchange::Metadata),
        1 => Just(Exchange::Versions),
    ]
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        3 => length().prop_map(Act::ClientSends),
        3 => length().prop_map(Act::BrokerSends),
        3 => length().prop_map(Act::ClientTakes),
        3 => length().prop_map(Act::BrokerTakes),
        1 => length().prop_map(Act::Given),
        1 => Just(Act::Trimmed),
    ]
}

const KIB: usize = 1024;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    /// INPUT-1, GATHER-1; and nothing is held when nothing is left, no turn either.
    #[test]
    fn what_goes_out_is_what_a_session_makes_of_each_frame(
        exchanges in proptest::collection::vec(exchange(), 1..12),
        refused in any::<bool>(),
        acts in proptest::collection::vec(act(), 0..60),
        buffered in proptest::option::weighted(0.3, prop_oneof![1 => 1..10_usize, 2 => 10_000..100_000_usize]),
        leaves in any::<bool>(),
        turn_bytes in prop_oneof![Just(50 * KIB), Just(KIB * KIB)],
    ) {
        const BYTES_MAX: usize = 8 * KIB * KIB;
        let mut traffic = Traffic::of(&exchanges, refused);
        if leaves && !refused && buffered.is_some() {
            traffic.to_broker.extend(MemoryStream::GOODBYE);
        }
        let limits = Limits { executor_bytes_max: BYTES_MAX, ..Limits::default() };
        let mut bench = Bench::with_room(limits, 0, 0);
        bench.shared.pipeline.borrow_mut().work = Work::new(turn_bytes);
        for stream in [&bench.client, &bench.broker] {
            buffered.into_iter().for_each(|bytes| stream.buffer(bytes));
        }
        let mut progress = Progress::default();
        for act in &acts {
            progress.act(&mut bench, &traffic, act);
        }
        progress.finish(&mut bench, &traffic, leaves);
        prop_assert_eq!(progress.to_broker.len(), traffic.to_broker.len());
        if refused {
            prop_assert_eq!(progress.ended, Some(CloseReason::DeniedApi));
            return Ok(());
        }
        prop_assert_eq!(progress.to_client.len(), traffic.to_client.len());
        prop_assert_eq!(bench.broker.is_closed(), leaves);
        prop_assert_eq!(bench.shared.pipeline.borrow().metrics.gauges.bytes_held, 0);
        prop_assert!(has_turn(&bench, BYTES_MAX / 2), "a turn is left");
    }
}
