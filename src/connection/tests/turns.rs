//! Many connections that hold more than there is room for: long frames take turns, short ones pass by, and who stands
//! still keeps nobody waiting.

use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use super::bench::{Bench, Link, ROOMY, record};
use super::wire::{beaten, fetch, fetched, frame, heartbeat, produce, request};
use crate::config::Limits;
use crate::connection::shared::Shared;
use crate::connection::{Relay, TurnOutcome};
use crate::metrics::CloseReason;
use crate::record_batch::Codec;
use crate::testing::{BatchBuilder, MemoryStream};

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;
const PATIENCE: Duration = Duration::from_secs(1);

/// One connection of many.
struct Peer {
    client: MemoryStream,
    broker: MemoryStream,
    /// Gone when it was closed.
    relay: Option<Pin<Box<Relay<Link, Link>>>>,
    ended: Option<CloseReason>,
}

struct Awake;

impl Wake for Awake {
    fn wake(self: Arc<Self>) {}
}

impl Peer {
    fn of((client, broker, relay): (MemoryStream, MemoryStream, Pin<Box<Relay<Link, Link>>>)) -> Self {
        Self {
            client,
            broker,
            relay: Some(relay),
            ended: None,
        }
    }

    /// Runs until it waits for something.
    fn settle(&mut self) {
        let waker = Waker::from(Arc::new(Awake));
        while let Some(relay) = &mut self.relay {
            match relay.poll_turn(&mut Context::from_waker(&waker), Instant::now()) {
                Poll::Pending => return,
                Poll::Ready(TurnOutcome::GaveWay) => {}
                Poll::Ready(TurnOutcome::Ended(reason)) => {
                    self.ended = Some(reason);
                    self.relay = None;
                }
            }
        }
    }
}

/// So many connections of an executor that holds at most `bytes_max`.
struct Crowd {
    shared: Rc<Shared>,
    peers: Vec<Peer>,
    /// For more of them.
    bench: Bench,
    /// How long nothing has happened, so far.
    silence: Duration,
}

impl Crowd {
    fn new(bytes_max: usize, count: usize) -> Self {
        let limits = Limits {
            executor_bytes_max: bytes_max,
            ..Limits::default()
        };
        Self::with(limits, count)
    }

    fn with(limits: Limits, count: usize) -> Self {
        let bench = Bench::new(limits);
        Self {
            shared: Rc::clone(&bench.shared),
            peers: (0..count).map(|_| Peer::of(bench.neighbour())).collect(),
            bench,
            silence: Duration::ZERO,
        }
    }

    /// Runs all, one after the other, until all wait; a turn that one gives up is another's.
    fn settle(&mut self) {
        for _ in 0..2 + self.peers.len() {
            self.peers.iter_mut().for_each(Peer::settle);
        }
    }

    fn held(&self) -> usize {
        let bytes = self.shared.pipeline.borrow().metrics.gauges.bytes_held;
        usize::try_from(bytes).expect("a few bytes")
    }

    /// As if nothing had happened for that long.
    fn after(&mut self, silence: Duration) {
        self.silence += silence;
        self.shared.relieve(Instant::now() + self.silence);
        self.settle();
    }

    fn closed(&self) -> Vec<CloseReason> {
        self.peers.iter().filter_map(|peer| peer.ended).collect()
    }

    /// A neighbour with short frames is served, and before anybody else runs.
    fn assert_serves(&mut self, peer: usize, correlation_id: i32) {
        let peer = &mut self.peers[peer];
        peer.client.arrive(&heartbeat(correlation_id));
        peer.broker.arrive(&beaten(correlation_id));
        peer.settle();
        assert_eq!(peer.broker.take_written(), heartbeat(correlation_id));
        assert_eq!(peer.client.take_written(), beaten(correlation_id));
    }
}

/// A response of exactly so many bytes, its length among them, that passes.
fn response(correlation_id: i32, bytes: usize) -> Vec<u8> {
    let around = fetched(correlation_id, "passed", &[]).len();
    let response = fetched(correlation_id, "passed", &vec![7; bytes - around]);
    assert_eq!(response.len(), bytes);
    response
}

/// TURN-1: what is worked off and only has to be written asks for no turn, which nobody would end.
#[test]
fn a_frame_that_passed_on_from_its_first_read_keeps_nobody_waiting() {
    let mut crowd = Crowd::new(MIB, 2);
    let long = produce(1, 0, "passed", &vec![0; 200 * KIB]);
    crowd.peers[0].broker.leave_room(0);
    crowd.peers[0].client.arrive(&long);
    crowd.settle();
    assert!(crowd.held() >= 200 * KIB, "it is not written");
    crowd.peers[1]
        .client
        .arrive(&produce(1, 0, "passed", &vec![0; 400 * KIB]));
    crowd.settle();
    assert_eq!(crowd.peers[1].client.unread(), 0);
    crowd.peers[0].broker.make_room(ROOMY);
    crowd.settle();
    assert_eq!(crowd.held(), 0);
}

/// HELD-2
#[test]
fn a_response_of_64_kib_passes_by_and_one_byte_more_waits_for_its_turn() {
    for (bytes, passes) in [(64 * KIB, true), (64 * KIB + 1, false)] {
        let mut crowd = Crowd::new(MIB, 2);
        crowd.peers[0].client.arrive(&fetch(1));
        crowd.peers[0].broker.arrive(&response(1, 4 * MIB)[..2 * MIB]);
        crowd.peers[1].client.arrive(&fetch(2));
        let wanted = response(2, bytes);
        crowd.peers[1].broker.arrive(&wanted[..1000]);
        crowd.settle();
        crowd.peers[1].broker.arrive(&wanted[1000..]);
        crowd.settle();
        let (client, broker) = (&crowd.peers[1].client, &crowd.peers[1].broker);
        assert_eq!(client.take_written().len(), if passes { bytes } else { 0 });
        assert_eq!(
            broker.unread(),
            if passes { 0 } else { bytes - 1000 },
            "READING-1"
        );
        let queued = crowd.shared.pipeline.borrow().metrics.gauges.frames_queued;
        assert_eq!(queued, u64::from(!passes));
    }
}

/// Only the beginning of a Metadata response is written anew; the rest goes out of the input.
#[test]
fn a_response_of_which_the_rest_goes_on_as_it_is_gives_its_turn_back() {
    let mut crowd = Crowd::new(MIB, 2);
    let wanted = response(2, 300 * KIB);
    // No broker, and topics that are not looked at.
    let metadata = frame(&[&1_i32.to_be_bytes(), &[0; 4], &vec![7; 300 * KIB]]);
    crowd.peers[0].client.arrive(&request(3, 0, 1, &[0; 4]));
    crowd.peers[0].broker.arrive(&metadata[..200 * KIB]);
    crowd.settle();
    assert!(crowd.held() > 200 * KIB);
    crowd.peers[0].broker.arrive(&metadata[200 * KIB..]);
    crowd.settle();
    assert!(crowd.peers[0].client.take_written() == metadata);
    assert_eq!(crowd.held(), 0);
    crowd.peers[1].client.arrive(&fetch(2));
    crowd.peers[1].broker.arrive(&wanted);
    crowd.settle();
    assert!(crowd.peers[1].client.take_written() == wanted);
}

#[test]
fn a_frame_that_waits_holds_what_one_read_brought() {
    let mut crowd = Crowd::new(2 * MIB, 3);
    for (peer, bytes) in [(0, 4 * MIB), (1, 4 * MIB), (2, 4 * MIB)] {
        crowd.peers[peer].client.arrive(&fetch(1));
        crowd.settle();
        let before = crowd.held();
        crowd.peers[peer].broker.arrive(&response(1, bytes)[..2 * MIB]);
        crowd.settle();
        let grown = crowd.held() - before;
        // The first has its turn. That others wait is known when the third comes.
        let range = [2 * MIB..4 * MIB + 1, 256 * KIB..257 * KIB, 64 * KIB..65 * KIB];
        assert!(range[peer].contains(&grown), "{peer}: {grown}");
    }
}

#[test]
fn a_broker_that_stands_still_loses_its_turn_after_a_second_and_nobody_is_closed() {
    let mut crowd = Crowd::new(16 * MIB, 2);
    let wanted = response(1, 4 * MIB);
    for peer in 0..2 {
        crowd.peers[peer].client.arrive(&fetch(1));
        crowd.settle();
        crowd.peers[peer].broker.arrive(&wanted[..MIB]);
        crowd.settle();
    }
    crowd.peers[1].broker.arrive(&wanted[MIB..]);
    crowd.settle();
    crowd.after(PATIENCE / 2);
    assert!(crowd.peers[1].client.take_written().is_empty());
    crowd.after(PATIENCE / 2);
    assert!(crowd.peers[1].client.take_written() == wanted, "TURN-4");
    crowd.peers[0].broker.arrive(&wanted[MIB..]);
    crowd.settle();
    assert!(crowd.peers[0].client.take_written() == wanted);
    assert_eq!((crowd.closed(), crowd.held()), (Vec::new(), 0));
}

#[test]
fn a_client_that_does_not_read_loses_its_turn_as_well() {
    let mut crowd = Crowd::new(16 * MIB, 2);
    let wanted = response(1, 4 * MIB);
    crowd.peers[0].client.leave_room(0);
    for peer in 0..2 {
        crowd.peers[peer].client.arrive(&fetch(1));
        crowd.peers[peer].broker.arrive(&wanted);
    }
    crowd.settle();
    assert!(crowd.peers[1].client.take_written().is_empty());
    crowd.after(PATIENCE);
    assert!(crowd.peers[1].client.take_written() == wanted);
    crowd.peers[0].client.leave_room(8 * MIB);
    crowd.settle();
    assert!(crowd.peers[0].client.take_written() == wanted);
    assert_eq!(crowd.closed(), []);
}

/// Each would hold a part, none could finish, and all would be closed.
/// HELD-2
#[test]
fn more_than_fits_goes_through_in_turns_and_nobody_is_closed() {
    const PEERS: usize = 16;
    let mut crowd = Crowd::new(4 * MIB, PEERS);
    let (wanted, sent) = (response(1, MIB), produce(1, -1, "passed", &vec![7; MIB]));
    for (peer, arriving) in crowd.peers.iter().enumerate() {
        if peer % 2 == 0 {
            arriving.client.arrive(&fetch(1));
        }
    }
    crowd.settle();
    crowd
        .peers
        .iter()
        .for_each(|peer| drop(peer.broker.take_written()));
    // A little of each in turn.
    for piece in 0..MIB.div_ceil(100 * KIB) + 1 {
        for peer in 0..PEERS {
            let (frame, socket) = match peer % 2 {
                0 => (&wanted, &crowd.peers[peer].broker),
                _ => (&sent, &crowd.peers[peer].client),
            };
            let piece = frame.iter().skip(piece * 100 * KIB).take(100 * KIB);
            socket.arrive(&piece.copied().collect::<Vec<_>>());
            crowd.peers[peer].settle();
        }
        assert!(crowd.held() < 4 * MIB, "{} bytes are held", crowd.held());
    }
    crowd.settle();
    for (number, peer) in crowd.peers.iter().enumerate() {
        let (frame, socket) = match number % 2 {
            0 => (&wanted, &peer.client),
            _ => (&sent, &peer.broker),
        };
        assert!(socket.take_written() == *frame, "{number}");
    }
    assert_eq!((crowd.closed(), crowd.held()), (Vec::new(), 0));
}

/// One request is under way on each connection, and a longer one waits behind it: more of them than there is room for.
fn crowd_that_waits_for_answers() -> Crowd {
    const PEERS: usize = 40;
    let limits = Limits {
        executor_bytes_max: MIB,
        in_flight_requests_max: 1,
        ..Limits::default()
    };
    let mut crowd = Crowd::with(limits, PEERS);
    for peer in 0..PEERS {
        crowd.assert_serves(peer, 1);
        crowd.peers[peer].client.arrive(&heartbeat(2));
    }
    crowd.settle();
    for peer in &crowd.peers {
        assert_eq!(peer.broker.take_written(), heartbeat(2));
        peer.client.arrive(&long_heartbeat());
    }
    crowd.settle();
    assert_eq!(crowd.closed(), []);
    assert!(crowd.held() >= MIB, "{} bytes are held", crowd.held());
    crowd
}

fn long_heartbeat() -> Vec<u8> {
    request(12, 0, 3, &vec![7; 50 * KIB])
}

/// HELD-5
#[test]
fn requests_that_wait_for_answers_do_not_keep_those_from_being_read() {
    let mut crowd = crowd_that_waits_for_answers();
    for peer in &crowd.peers {
        peer.broker.arrive(&beaten(2));
    }
    crowd.settle();
    for (number, peer) in crowd.peers.iter().enumerate() {
        assert_eq!(peer.client.take_written(), beaten(2), "{number}");
        assert!(peer.broker.take_written() == long_heartbeat(), "{number}");
    }
    assert_eq!((crowd.closed(), crowd.held()), (Vec::new(), 0));
}

/// HELD-4
#[test]
fn who_waits_for_a_broker_in_vain_makes_room_for_others() {
    let mut crowd = crowd_that_waits_for_answers();
    let starved = crowd.peers.len() - 1;
    crowd.peers[starved].broker.arrive(&beaten(2));
    crowd.settle();
    assert_eq!(crowd.peers[starved].client.take_written(), beaten(2));
    assert!(crowd.peers[starved].broker.take_written().is_empty(), "no room");
    assert_eq!(crowd.closed(), []);
    // Others were starved as well, and come before it.
    for _ in 0..crowd.peers.len() {
        crowd.after(PATIENCE);
    }
    assert!(crowd.peers[starved].broker.take_written() == long_heartbeat());
    assert!(
        crowd.closed().len() < crowd.peers.len() / 2,
        "no more than it takes"
    );
}

/// HELD-4
#[test]
fn nobody_is_closed_for_one_who_has_gone() {
    let mut crowd = crowd_that_waits_for_answers();
    // Only they were starved.
    for peer in 0..crowd.peers.len() {
        if crowd.peers[peer].client.unread() > 0 {
            crowd.peers[peer].relay = None;
        }
    }
    assert!(crowd.peers.iter().any(|peer| peer.relay.is_none()));
    crowd.shared.relieve(Instant::now() + PATIENCE);
    crowd.settle();
    assert_eq!(crowd.closed(), []);
}

/// HELD-4
#[test]
fn nobody_is_closed_where_that_makes_no_room() {
    const PEERS: usize = 40;
    let limits = Limits {
        executor_bytes_max: MIB,
        in_flight_requests_max: 1,
        ..Limits::default()
    };
    let mut crowd = Crowd::with(limits, PEERS);
    crowd.assert_serves(0, 1);
    // One waits for its broker, and all others for a key.
    crowd.peers[0].client.arrive(&heartbeat(2));
    crowd.settle();
    crowd.peers[0].client.arrive(&heartbeat(3));
    crowd.peers[0].settle();
    let waits = crowd.held();
    assert!(waits > 0);
    let long = BatchBuilder::new().record(record(&vec![7; 50 * KIB]));
    let long = long.build().expect("a batch");
    for peer in 1..PEERS {
        crowd.peers[peer].client.arrive(&produce(1, -1, "sealed", &long));
    }
    crowd.settle();
    assert!(crowd.held() >= MIB + waits, "{} bytes are held", crowd.held());
    assert!(crowd.peers.iter().any(|peer| peer.client.unread() > 0), "no room");
    crowd.after(PATIENCE);
    assert_eq!(crowd.closed(), []);
}

#[test]
fn clients_that_stop_within_a_long_request_keep_nobody_waiting() {
    let mut crowd = Crowd::new(4 * MIB, 5);
    let sent = produce(1, -1, "passed", &vec![7; 3 * MIB]);
    for peer in 0..3 {
        crowd.peers[peer].client.arrive(&sent[..sent.len() - 1]);
        crowd.settle();
        crowd.assert_serves(3, 1);
    }
    // One has read all but the last byte, and is closed when another needs the room; each costs others a second.
    crowd.peers[4].client.arrive(&sent);
    for silent in 0..3 {
        assert!(crowd.peers[4].broker.take_written().is_empty(), "{silent}");
        crowd.after(PATIENCE);
        crowd.assert_serves(3, 1);
    }
    assert!(crowd.peers[4].broker.take_written() == sent);
    assert!(crowd.peers[4].ended.is_none());
}

/// PIPELINE-6
#[test]
fn who_cannot_go_on_leaves_the_memory_that_one_may_take_to_others() {
    let mut bench = Bench::with_room(
        Limits {
            executor_bytes_max: 100 * KIB,
            ..Limits::default()
        },
        ROOMY,
        0,
    );
    let first = BatchBuilder::new().record(record(&vec![7; 150 * KIB]));
    let first = first.build().expect("a batch");
    let long = BatchBuilder::new().codec(Codec::Gzip);
    let long = long.record(record(&vec![7; 900 * KIB])).build().expect("a batch");
    let long = produce(2, -1, "sealed", &long);
    // What stands before the long one cannot be written; all that is held is held here.
    bench.client.arrive(&produce(1, -1, "sealed", &first));
    bench.client.arrive(&long);
    assert_eq!(bench.settle(), None);
    bench.deliver_sealing_key();
    assert_eq!(bench.settle(), None);
    assert!(bench.shared.pipeline.borrow().metrics.gauges.bytes_held >= 100 * KIB as u64);
    let mut neighbour = Peer::of(bench.neighbour());
    neighbour.client.arrive(&long);
    let deadline = Instant::now() + 5 * PATIENCE;
    while neighbour.broker.take_written().len() < 900 * KIB {
        assert!(Instant::now() < deadline, "the neighbour is stuck");
        neighbour.settle();
    }
}

#[test]
fn strangers_keep_nobody_waiting() {
    let mut crowd = Crowd::new(16 * MIB, 1);
    let sent = produce(1, -1, "passed", &vec![7; 2 * MIB]);
    let unsupported = |correlation_id| request(18, 99, correlation_id, &vec![7; 500 * KIB]);
    for _ in 0..14 {
        for frame in [&sent, &unsupported(1)] {
            let stranger = Peer::of(crowd.bench.strange_neighbour());
            stranger.client.arrive(&frame[..frame.len() - 1]);
            crowd.peers.push(stranger);
            crowd.settle();
            crowd.assert_serves(0, 1);
            assert!(crowd.held() <= 4 * MIB, "{} bytes are held", crowd.held());
        }
    }
    // HELD-3: those that hold most had to go at once.
    assert!(!crowd.closed().is_empty());
    assert!(crowd.closed().iter().all(|reason| *reason == CloseReason::Limit));
}

/// READING-3
#[test]
fn a_buffer_is_not_longer_than_the_frame_that_fills_it() {
    let mut crowd = Crowd::new(1 << 30, 1);
    let wanted = response(1, 33 * MIB);
    let peer = &mut crowd.peers[0];
    peer.client.arrive(&fetch(1));
    let mut most = 0;
    for piece in wanted[..wanted.len() - 1].chunks(MIB) {
        peer.broker.arrive(piece);
        peer.settle();
        most = most.max(crowd.shared.pipeline.borrow().metrics.gauges.bytes_held as usize);
    }
    // While it moves both buffers are counted.
    assert!(most <= 33 * MIB + 33 * MIB / 2, "{most}");
    assert_eq!(crowd.held(), 33 * MIB);
    crowd.peers[0].broker.arrive(&wanted[wanted.len() - 1..]);
    crowd.settle();
    assert!(crowd.peers[0].client.take_written() == wanted);
    assert_eq!(crowd.held(), 0);
}

/// READING-3
#[test]
fn neighbours_are_served_while_a_long_buffer_moves() {
    let mut bench = Bench::new(Limits::default());
    let (client, broker, relay) = bench.neighbour();
    let mut neighbour = Peer::of((client, broker, relay));
    bench.client.arrive(&fetch(1));
    let wanted = response(1, 40 * MIB);
    bench.broker.arrive(&wanted);
    let (mut turns, mut received) = (0, Vec::new());
    while bench.turn() == Some(TurnOutcome::GaveWay) {
        turns += 1;
        neighbour.client.arrive(&heartbeat(turns));
        neighbour.settle();
        assert_eq!(neighbour.broker.take_written(), heartbeat(turns));
        received.append(&mut bench.client.take_written());
    }
    received.append(&mut bench.client.take_written());
    assert!(received == wanted);
    // 2 MiB read or written in a turn, and one MiB moved: 32 from 2 to 4 MiB, 4 to 8 and so on, almost.
    assert!(turns >= 20 + 20 + 32, "{turns} turns");
}
