//! A relay with TLS on both sides, between peers that speak it by hand.

use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use proptest::prelude::*;

use super::bench::{Bench, CANARY, Link, ROOMY, batch, holds_canary};
use super::wire::{beaten, fetch, fetched, frame, heartbeat, produce, request};
use crate::buffers::BufferPool;
use crate::config::Limits;
use crate::connection::{Encrypted, Stream as _};
use crate::metrics::CloseReason;
use crate::testing::MemoryStream;
use crate::testing::tls_meeting::{Meeting, VERSIONS, Version, server_name};
use crate::transport::tls::{FailureKind, TlsFailure, TlsSession};

/// Somebody at the other end of one of the relay's streams.
struct Peer {
    session: TlsSession,
    pool: BufferPool,
    stream: MemoryStream,
    /// What was said and is still on its way.
    sent: Vec<u8>,
    heard: Vec<u8>,
}

impl Peer {
    fn new(session: TlsSession, stream: &MemoryStream) -> Self {
        Self {
            session,
            pool: BufferPool::default(),
            stream: stream.clone(),
            sent: Vec::new(),
            heard: Vec::new(),
        }
    }

    /// Says it; it arrives with [`Peer::pass`].
    fn say(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let sealed = self.session.seal(bytes, &mut self.pool).expect("sealed");
            bytes = &bytes[sealed..];
            self.collect();
        }
    }

    fn collect(&mut self) {
        self.sent.extend_from_slice(self.session.outgoing());
        self.session.sent(usize::MAX);
    }

    /// At most so many bytes of what was said arrive. Says how many did.
    fn pass(&mut self, bytes_max: usize) -> usize {
        let bytes = bytes_max.min(self.sent.len());
        let arriving: Vec<u8> = self.sent.drain(..bytes).collect();
        self.stream.arrive(&arriving);
        bytes
    }

    fn say_at_once(&mut self, bytes: &[u8]) {
        self.say(bytes);
        self.pass(usize::MAX);
    }

    /// Takes what was written to it. Says how much that was.
    fn hear(&mut self) -> Result<usize, TlsFailure> {
        let written = self.stream.take_written();
        self.take(&written)
    }

    fn take(&mut self, written: &[u8]) -> Result<usize, TlsFailure> {
        self.session
            .room(written.len(), &mut self.pool)
            .copy_from_slice(written);
        self.session.add(written.len());
        self.session.shake_hands(&mut self.pool)?;
        loop {
            let mut place = [0; 5000];
            let bytes = self.session.open(&mut place, &mut self.pool)?;
            self.heard.extend_from_slice(&place[..bytes]);
            if bytes == 0 {
                // An answer of the handshake.
                self.collect();
                return Ok(written.len());
            }
        }
    }

    fn heard(&mut self) -> Vec<u8> {
        self.hear().expect("opened");
        std::mem::take(&mut self.heard)
    }
}

/// A relay whose client and broker speak TLS and have met it.
struct Both {
    bench: Bench,
    client: Peer,
    broker: Peer,
}

impl Both {
    fn met(meeting: Meeting) -> Self {
        let bench = Bench::with_room(Limits::default(), ROOMY, ROOMY);
        let client = TlsSession::client(meeting.client(), server_name()).expect("a session");
        let mut broker = TlsSession::listening();
        broker.answer(meeting.server()).expect("a session");
        let mut both = Self {
            client: Peer::new(client, &bench.client),
            broker: Peer::new(broker, &bench.broker),
            bench,
        };
        let mut to_client = TlsSession::listening();
        to_client.answer(meeting.server()).expect("a session");
        let to_broker = TlsSession::client(meeting.client(), server_name()).expect("a session");
        both.bench
            .meet(|bench| &bench.client_link, to_client, &mut both.client);
        both.bench
            .meet(|bench| &bench.broker_link, to_broker, &mut both.broker);
        both
    }

    fn settle(&mut self) -> Option<CloseReason> {
        self.bench.settle()
    }
}

impl Bench {
    fn meet(&self, link: fn(&Self) -> &Link, session: TlsSession, peer: &mut Peer) {
        let mut wire = link(self).0.borrow_mut();
        let tls = Encrypted::new(session, Rc::clone(&self.shared.ciphertexts));
        let (tls, socket) = wire.begin_tls(tls);
        let mut context = Context::from_waker(Waker::noop());
        loop {
            let is_over = tls.step(TlsSession::shake_hands).expect("they meet");
            assert!(tls.poll_flush(socket, &mut context).is_ready());
            peer.hear().expect("they meet");
            peer.pass(usize::MAX);
            if is_over {
                break;
            }
            assert!(tls.poll_hear(socket, &mut context).is_ready(), "it has answered");
        }
    }

    fn buffered(&self) -> usize {
        [&self.client_link, &self.broker_link]
            .map(|link| {
                link.0
                    .borrow()
                    .tls()
                    .map_or(0, |tls| tls.held().unread + tls.held().unsent)
            })
            .iter()
            .sum()
    }
}

/// ENCRYPTED-1, ENCRYPTED-4
#[test]
fn what_passes_is_seen_by_nobody_but_the_peers() {
    for version in VERSIONS {
        let mut both = Both::met(Meeting::of(version));
        let produced = produce(1, 1, "passed", &batch());
        both.client.say_at_once(&produced);
        assert_eq!(both.settle(), None);
        let written = both.bench.broker.take_written();
        assert!(holds_canary(&produced) && !holds_canary(&written));
        both.broker.take(&written).expect("opened");
        assert_eq!(both.broker.heard(), produced, "{version:?}");
        let answer = frame(&[&1_i32.to_be_bytes(), &[0, 0, 0, 0], &[0; 4]]);
        both.broker.say_at_once(&answer);
        assert_eq!(both.settle(), None);
        assert_eq!(both.client.heard(), answer);
        assert_eq!(both.bench.buffered(), 0, "an idle pair has none");
    }
}

/// ENCRYPTED-2: the relay is polled only when it is woken, and everything arrives, whatever the sockets take and bring
/// at a time; STREAM-1, STREAM-2.
fn everything_arrives(meeting: Meeting, pieces: &[usize], lengths: &[usize]) {
    let mut both = Both::met(meeting);
    both.bench.client.leave_room(0);
    both.bench.broker.leave_room(0);
    let (mut asked, mut answered) = (Vec::new(), Vec::new());
    let mut owed = Vec::new();
    for (id, length) in (1..).zip(lengths) {
        // Neither is looked into.
        asked.extend(request(12, 0, id, &vec![id as u8; *length]));
        let answer = frame(&[&id.to_be_bytes(), &vec![id as u8; length * 2]]);
        answered.extend_from_slice(&answer);
        owed.push((asked.len(), answer));
    }
    both.client.say(&asked);
    let mut pieces = pieces.iter().cycle();
    let (mut requests, mut answers) = (Vec::new(), Vec::new());
    let mut idle = 0;
    while requests.len() < asked.len() || answers.len() < answered.len() {
        let mut piece = || *pieces.next().expect("for ever");
        let mut moved = both.client.pass(piece()) + both.broker.pass(piece());
        both.bench.client.leave_room(piece());
        both.bench.broker.leave_room(piece());
        assert_eq!(both.settle(), None);
        moved += both.broker.hear().expect("opened") + both.client.hear().expect("opened");
        requests.append(&mut both.broker.heard);
        answers.append(&mut both.client.heard);
        while owed.first().is_some_and(|(asked, _)| *asked <= requests.len()) {
            let (_, answer) = owed.remove(0);
            both.broker.say(&answer);
        }
        idle = if moved == 0 { idle + 1 } else { 0 };
        assert!(
            idle < 20,
            "nothing moves: {} and {}",
            requests.len(),
            answers.len()
        );
    }
    assert!(requests == asked && answers == answered);
    assert_eq!(both.bench.buffered(), 0);
}

#[test]
fn long_frames_go_both_ways_at_once() {
    for version in VERSIONS {
        everything_arrives(
            Meeting::of(version),
            &[300_000, 5000, 70_000],
            &[900_000, 10, 400_000, 3],
        );
    }
}

/// Both ends, on both sides, again and again.
#[test]
fn keys_are_changed_while_frames_pass() {
    let meeting = Meeting {
        records_per_key: Some(4),
        ..Meeting::of(Version::Tls13)
    };
    everything_arrives(meeting, &[100_000, 777], &[200_000, 10, 30, 300_000, 5]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(30))]

    #[test]
    fn no_wake_up_is_lost(
        is_tls13 in any::<bool>(),
        pieces in proptest::collection::vec(prop_oneof![1..200_usize, 200..40_000_usize], 1..6),
        lengths in proptest::collection::vec(prop_oneof![0..500_usize, 0..60_000_usize], 1..6),
    ) {
        let version = if is_tls13 { Version::Tls13 } else { Version::Tls12 };
        everything_arrives(Meeting::of(version), &pieces, &lengths);
    }
}

/// ENCRYPTED-3: nothing of what was altered passes, and the peer is told why when the socket is parted from.
#[test]
fn an_altered_record_ends_the_connection_with_an_alert() {
    for version in VERSIONS {
        let mut both = Both::met(Meeting::of(version));
        both.client.say(&heartbeat(1));
        both.client.say(&produce(2, 1, "passed", &batch()));
        let last = both.client.sent.len() - 1;
        both.client.sent[last] ^= 1;
        both.client.pass(usize::MAX);
        assert_eq!(both.settle(), Some(CloseReason::ClientError));
        assert_eq!(both.broker.heard(), heartbeat(1), "{version:?}");
        let mut wire = both.bench.client_link.0.borrow_mut();
        let kind = wire
            .tls()
            .and_then(|tls| tls.session().failure())
            .map(|failure| failure.kind);
        assert_eq!(kind, Some(FailureKind::Malformed));
        let closed = wire.poll_close(&mut Context::from_waker(Waker::noop()));
        assert!(matches!(closed, Poll::Ready(Ok(()))), "{closed:?}");
        let told = both.client.hear().expect_err("an alert");
        assert!(matches!(told.kind, FailureKind::Alert(_)), "{told}");
    }
}

/// TLS-4: with or without a goodbye, the broker is told, and the answer still comes.
#[test]
fn an_end_is_passed_on_in_tls() {
    for announced in [true, false] {
        let mut both = Both::met(Meeting::of(Version::Tls13));
        both.client.say_at_once(&heartbeat(1));
        if announced {
            both.client.session.close(&mut both.client.pool);
            both.client.collect();
            both.client.pass(usize::MAX);
        }
        both.bench.client.end();
        assert_eq!(both.settle(), None);
        assert_eq!(both.broker.heard(), heartbeat(1));
        assert!(both.broker.session.has_ended(), "it was told");
        both.broker.say_at_once(&beaten(1));
        assert_eq!(both.settle(), None);
        assert_eq!(both.client.heard(), beaten(1));
        both.bench.broker.end();
        assert_eq!(both.settle(), Some(CloseReason::BrokerClosed));
        let wire = both.bench.client_link.0.borrow();
        let unannounced = wire.tls().map(Encrypted::ended_unannounced);
        assert_eq!(unannounced, Some(!announced));
    }
}

/// What TLS holds is on the account of the connection: ciphertext that its client does not take.
#[test]
fn what_is_sealed_and_not_sent_is_held() {
    let mut both = Both::met(Meeting::of(Version::Tls13));
    both.bench.client.leave_room(0);
    both.client.say_at_once(&heartbeat(1));
    assert_eq!(both.settle(), None);
    both.broker.heard();
    let held = |both: &Both| both.bench.shared.pipeline.borrow().metrics.gauges.bytes_held;
    assert_eq!(held(&both), 0);
    let answer = frame(&[&1_i32.to_be_bytes(), &[0; 40_000]]);
    both.broker.say_at_once(&answer);
    assert_eq!(both.settle(), None);
    assert!(held(&both) >= 40_000, "{}", held(&both));
    both.bench.client.leave_room(ROOMY);
    assert_eq!(both.settle(), None);
    assert_eq!((both.client.heard(), held(&both)), (answer, 0));
}

/// A response that is held waits for its key, with what was opened behind it.
#[test]
fn a_frame_that_is_held_is_held_in_plaintext_once() {
    let mut both = Both::met(Meeting::of(Version::Tls13));
    both.client.say_at_once(&fetch(1));
    assert_eq!(both.settle(), None);
    both.broker.heard();
    let response = fetched(1, "passed", &batch());
    let (first, rest) = response.split_at(response.len() / 2);
    both.broker.say_at_once(first);
    assert_eq!(both.settle(), None);
    assert_eq!((both.client.heard(), both.bench.buffered()), (Vec::new(), 0));
    both.broker.say_at_once(rest);
    assert_eq!(both.settle(), None);
    let delivered = both.client.heard();
    assert!(delivered.windows(CANARY.len()).any(|window| window == CANARY));
}
