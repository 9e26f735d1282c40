//! Streams of frames of all kinds, however they are cut and however little is taken of them: what goes out is what a
//! session makes of one whole frame after the other.

use std::task::{Context, Waker};
use std::time::Instant;

use proptest::prelude::*;

use super::bench::{Bench, ROOMY, listener, log_in};
use super::exchanges::{Exchange, KIB, exchange, length};
use super::wire::{produce, request};
use crate::config::Limits;
use crate::metrics::{CloseReason, Direction};
use crate::pipeline::{Pipeline, Session, Step, Work};

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

/// What becomes of the client when it has sent everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Client {
    Stays,
    Leaves,
    IsGone,
}

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
    /// What was sent by the client and the broker and has not arrived: the end of it, of so many bytes.
    on_the_way: [Vec<u8>; 2],
    late_bytes: usize,
    to_client: Vec<u8>,
    to_broker: Vec<u8>,
    ended: Option<CloseReason>,
}

impl Progress {
    /// Lets the client or the broker send up to `bytes`, and nobody before he was asked.
    fn send(&mut self, bench: &Bench, traffic: &Traffic, direction: Direction, bytes: usize) {
        let [from_client, from_broker] = &mut self.on_the_way;
        let (stream, all, sent, end, on_the_way) = match direction {
            Direction::Request => (
                &bench.client,
                &traffic.from_client,
                &mut self.client_sent,
                traffic.from_client.len(),
                from_client,
            ),
            Direction::Response => {
                let may_answer = traffic.may_answer(self.to_broker.len());
                (
                    &bench.broker,
                    &traffic.from_broker,
                    &mut self.broker_sent,
                    may_answer,
                    from_broker,
                )
            }
        };
        let end = end.min(*sent + bytes);
        on_the_way.extend(stream.sent(&all[*sent..end], RECORD_BYTES));
        let arrived = on_the_way.len().saturating_sub(self.late_bytes);
        stream.arrive_in_parts(&on_the_way.drain(..arrived).collect::<Vec<u8>>());
        *sent = end;
    }

    /// Runs until the connection waits, and looks at what has come of it.
    fn settle(&mut self, bench: &mut Bench, traffic: &Traffic) {
        self.ended = self.ended.or_else(|| bench.settle());
        self.to_broker.append(&mut bench.broker.take_written());
        self.to_client.append(&mut bench.client.take_written());
        let goes_on = [
            traffic.to_broker.starts_with(&self.to_broker),
            traffic.to_client.starts_with(&self.to_client),
        ];
        assert_eq!(
            goes_on, [true; 2],
            "something else goes to the broker or to the client"
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

    /// Everything is sent, and taken by those who are there.
    fn finish(&mut self, bench: &mut Bench, traffic: &Traffic, client: Client) {
        self.late_bytes = 0;
        self.send(bench, traffic, Direction::Request, ROOMY);
        match client {
            Client::Stays => {}
            Client::Leaves => bench.client.end(),
            Client::IsGone => bench.client.reset(),
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

/// Of a stream that is encrypted.
const RECORD_BYTES: u16 = 1000;

/// Whether a frame of another connection that needs all of the room for long ones has its turn.
fn has_turn(bench: &Bench, bytes: usize) -> bool {
    let (client, _, mut neighbour) = bench.neighbour();
    let long = produce(1, -1, "passed", &vec![0; bytes]);
    client.arrive(&long[..bytes / 2]);
    let mut context = Context::from_waker(Waker::noop());
    while neighbour.poll_turn(&mut context, Instant::now()).is_ready() {}
    client.unread() == 0
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

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    /// INPUT-1, GATHER-1; and nothing is held when nothing is left, no turn either.
    #[test]
    fn what_goes_out_is_what_a_session_makes_of_each_frame(
        exchanges in proptest::collection::vec(exchange(), 1..12),
        refused in any::<bool>(),
        acts in proptest::collection::vec(act(), 0..60),
        buffered in proptest::option::weighted(0.3, prop_oneof![1 => 1..10_usize, 2 => 10_000..100_000_usize]),
        late_bytes in 0..300_usize,
        client in prop_oneof![Just(Client::Stays), Just(Client::Leaves), Just(Client::IsGone)],
        turn_bytes in prop_oneof![Just(50 * KIB), Just(KIB * KIB)],
    ) {
        const BYTES_MAX: usize = 8 * KIB * KIB;
        let traffic = Traffic::of(&exchanges, refused);
        let limits = Limits { executor_bytes_max: BYTES_MAX, ..Limits::default() };
        let mut bench = Bench::with_room(limits, 0, 0);
        bench.shared.pipeline.borrow_mut().work = Work::new(turn_bytes);
        for stream in [&bench.client, &bench.broker] {
            buffered.into_iter().for_each(|bytes| stream.encrypt(bytes));
        }
        let mut progress = Progress {
            late_bytes,
            ..Progress::default()
        };
        for act in &acts {
            progress.act(&mut bench, &traffic, act);
        }
        progress.finish(&mut bench, &traffic, client);
        prop_assert_eq!(progress.to_broker.len(), traffic.to_broker.len());
        if refused {
            prop_assert_eq!(progress.ended, Some(CloseReason::DeniedApi));
            return Ok(());
        }
        prop_assert_eq!(bench.broker.is_closed(), client != Client::Stays);
        if client == Client::IsGone {
            prop_assert_eq!(progress.ended, Some(CloseReason::ClientClosed));
            return Ok(());
        }
        prop_assert_eq!(progress.to_client.len(), traffic.to_client.len());
        prop_assert_eq!(bench.shared.pipeline.borrow().metrics.gauges.bytes_held, 0);
        prop_assert!(has_turn(&bench, BYTES_MAX / 2), "a turn is left");
    }
}
