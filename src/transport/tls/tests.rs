//! Two sessions that talk to each other, byte by byte if need be.

use std::sync::Arc;

use proptest::prelude::*;
use rustls::{CommonState, HandshakeKind};

use super::*;
use crate::buffers::BufferPool;
use crate::testing::tls_meeting::{Meeting, VERSIONS, Version, server_name};

mod hostile;
mod keys;

/// A session, and everything that it has opened.
struct End {
    session: TlsSession,
    pool: BufferPool,
    opened: Vec<u8>,
}

impl End {
    fn server(meeting: Meeting) -> Self {
        let mut session = TlsSession::listening();
        session.answer(meeting.server()).expect("a configuration");
        Self::of(session)
    }

    fn client(meeting: Meeting) -> Self {
        Self::of(TlsSession::client(meeting.client(), server_name()).expect("a configuration"))
    }

    fn of(session: TlsSession) -> Self {
        Self {
            session,
            pool: BufferPool::default(),
            opened: Vec::new(),
        }
    }

    /// Takes what is to be sent, at most so much.
    fn send(&mut self, bytes_max: usize) -> Vec<u8> {
        let outgoing = self.session.outgoing();
        let sent = outgoing[..outgoing.len().min(bytes_max)].to_vec();
        self.session.sent(sent.len());
        self.session.rest(&mut self.pool);
        sent
    }

    fn receive(&mut self, bytes: &[u8]) {
        let room = self.session.room(bytes.len() + 3, &mut self.pool);
        room[..bytes.len()].copy_from_slice(bytes);
        self.session.add(bytes.len());
    }

    /// Opens what there is, so much at a time.
    fn open(&mut self, bytes_max: usize) -> Result<(), TlsFailure> {
        loop {
            let mut place = vec![0; bytes_max];
            let opened = self.session.open(&mut place, &mut self.pool)?;
            self.opened.extend(&place[..opened]);
            self.session.rest(&mut self.pool);
            if opened == 0 {
                return Ok(());
            }
        }
    }

    /// Seals all of it, and hands each buffer that is full to `sent`.
    fn seal(&mut self, plaintext: &[u8], mut sent: impl FnMut(Vec<u8>)) -> Result<(), TlsFailure> {
        let mut rest = plaintext;
        while !rest.is_empty() {
            let sealed = self.session.seal(rest, &mut self.pool)?;
            rest = &rest[sealed..];
            sent(self.send(usize::MAX));
        }
        Ok(())
    }
}

/// Passes what they send to each other until neither has anything to say, in pieces of `piece` bytes at most.
fn pass(one: &mut End, other: &mut End, piece: usize) -> Result<(), TlsFailure> {
    let mut turns = 0;
    while !one.session.outgoing().is_empty() || !other.session.outgoing().is_empty() {
        let (there, back) = (one.send(piece), other.send(piece));
        other.receive(&there);
        one.receive(&back);
        for end in [&mut *one, &mut *other] {
            end.session.shake_hands(&mut end.pool)?;
            end.open(4096)?;
        }
        turns += 1;
        assert!(turns < 200_000, "they never come to an end");
    }
    Ok(())
}

/// Two ends that have met.
fn met(meeting: Meeting) -> (End, End) {
    let (mut client, mut server) = (End::client(meeting), End::server(meeting));
    assert_eq!(client.session.shake_hands(&mut client.pool), Ok(false));
    pass(&mut client, &mut server, usize::MAX).expect("they meet");
    for end in [&mut client, &mut server] {
        assert_eq!(end.session.shake_hands(&mut end.pool), Ok(true));
    }
    (client, server)
}

/// What a server sends for the next time is read as part of the traffic, and the session of the next time has keys of
/// its own.
#[test]
fn a_resumed_session_is_as_good_as_a_whole_one() {
    for version in VERSIONS {
        let meeting = Meeting::of(version);
        let (of_client, of_server) = (meeting.client(), meeting.server());
        for expected in [HandshakeKind::Full, HandshakeKind::Resumed] {
            let client = TlsSession::client(Arc::clone(&of_client), server_name()).expect("a configuration");
            let mut server = TlsSession::listening();
            server.answer(Arc::clone(&of_server)).expect("a configuration");
            let (mut client, mut server) = (End::of(client), End::of(server));
            assert_eq!(client.session.shake_hands(&mut client.pool), Ok(false));
            pass(&mut client, &mut server, usize::MAX).expect("they meet");
            for end in [&client, &server] {
                let kind = end.session.state().and_then(CommonState::handshake_kind);
                assert_eq!(kind, Some(expected), "{version:?}");
            }
            let (question, answer) = (bytes(40_000, 1), bytes(50_000, 2));
            client
                .seal(&question, |sent| server.receive(&sent))
                .expect("sealed");
            server
                .seal(&answer, |sent| client.receive(&sent))
                .expect("sealed");
            for (end, expected) in [(&mut server, &question), (&mut client, &answer)] {
                end.open(4096).expect("opened");
                assert!(end.opened == *expected);
            }
        }
    }
}

fn bytes(length: usize, seed: u8) -> Vec<u8> {
    (0..length)
        .map(|at| (at / 7) as u8 ^ (at as u8).wrapping_mul(31) ^ seed)
        .collect()
}

#[test]
fn what_one_seals_the_other_opens_in_every_version() {
    for version in VERSIONS {
        for mutual in [false, true] {
            let (mut client, mut server) = met(Meeting {
                mutual,
                ..Meeting::of(version)
            });
            assert_eq!(server.session.peer_certificates().is_some(), mutual);
            assert!(client.session.peer_certificates().is_some());
            for length in [1, 100, 16_384, 16_385, 65_536, 1_000_000] {
                let (question, answer) = (bytes(length, 1), bytes(length, 2));
                client
                    .seal(&question, |sent| server.receive(&sent))
                    .expect("sealed");
                server
                    .seal(&answer, |sent| client.receive(&sent))
                    .expect("sealed");
                server.open(7777).expect("opened");
                client.open(333).expect("opened");
                assert!(
                    server.opened == question && client.opened == answer,
                    "{version:?} {length}"
                );
                (server.opened, client.opened) = (Vec::new(), Vec::new());
            }
        }
    }
}

/// TLS-2: also after traffic, and with the buffers of the pool beside.
#[test]
fn whoever_has_nothing_in_hand_holds_no_buffer() {
    for version in VERSIONS {
        let (mut client, mut server) = met(Meeting::of(version));
        client
            .seal(&bytes(300_000, 0), |sent| server.receive(&sent))
            .expect("sealed");
        server.open(100_000).expect("opened");
        for end in [&client, &server] {
            assert_eq!(end.session.held(), (0, 0), "{version:?}");
        }
        // A record that has come in part is all that is held, whatever it was read into.
        client
            .seal(&[7; 5000], |sent| {
                let room = server.session.room(128 * 1024, &mut server.pool);
                room[..4000].copy_from_slice(&sent[..4000]);
                server.session.add(4000);
            })
            .expect("sealed");
        server.open(100_000).expect("nothing yet");
        assert!((4000..20_000).contains(&server.session.held().0));
    }
}

/// TLS-2: what is to be sent has a bound.
#[test]
fn no_more_is_sealed_than_may_wait() {
    let (mut client, _server) = met(Meeting::of(Version::Tls13));
    let plaintext = bytes(1_000_000, 0);
    let first = client.session.seal(&plaintext, &mut client.pool).expect("sealed");
    assert_eq!(first, 64 * 1024);
    assert_eq!(
        client.session.seal(&plaintext, &mut client.pool),
        Ok(0),
        "it is full"
    );
    client.send(30_000);
    let more = client.session.seal(&plaintext, &mut client.pool).expect("sealed");
    assert!((1..=30_000).contains(&more), "{more}");
    assert!(client.session.outgoing().len() < 66 * 1024);
}

/// TLS-4
#[test]
fn a_goodbye_is_told_from_an_end_and_data_before_it_is_read() {
    for version in VERSIONS {
        let (mut client, mut server) = met(Meeting::of(version));
        client
            .seal(b"last words", |sent| server.receive(&sent))
            .expect("sealed");
        assert!(!server.session.has_ended());
        client.session.close(&mut client.pool);
        client.session.close(&mut client.pool);
        let goodbye = client.send(usize::MAX);
        assert!((5..40).contains(&goodbye.len()), "once: {}", goodbye.len());
        server.receive(&goodbye);
        server.open(4).expect("opened");
        assert_eq!(
            (server.opened.as_slice(), server.session.has_ended()),
            (&b"last words"[..], true)
        );
        // The answer still goes out, and is read.
        server
            .seal(b"answer", |sent| client.receive(&sent))
            .expect("sealed");
        client.open(100).expect("opened");
        assert_eq!(client.opened, b"answer");
        server.session.close(&mut server.pool);
        client.receive(&server.send(usize::MAX));
        client.open(100).expect("nothing");
        assert!(client.session.has_ended());
        assert!(
            client.session.seal(b"more", &mut client.pool).is_err(),
            "after the goodbye"
        );
    }
}

#[test]
fn peeking_takes_nothing() {
    let (mut client, mut server) = met(Meeting::of(Version::Tls13));
    assert_eq!(server.session.peek(&mut server.pool), Ok(&[][..]));
    client
        .seal(b"first word", |sent| server.receive(&sent))
        .expect("sealed");
    for _ in 0..2 {
        assert_eq!(server.session.peek(&mut server.pool), Ok(&b"first word"[..]));
    }
    server.open(3).expect("opened");
    assert_eq!(server.opened, b"first word");
}

fn meeting() -> impl Strategy<Value = Meeting> {
    let version = prop_oneof![Just(Version::Tls12), Just(Version::Tls13)];
    (version, any::<bool>()).prop_map(|(version, mutual)| Meeting {
        mutual,
        ..Meeting::of(version)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    /// However the bytes are cut and wherever they are opened to.
    #[test]
    fn any_cut_of_the_stream_is_the_same_stream(
        meeting in meeting(),
        piece in prop_oneof![1..30_usize, 30..20_000_usize],
        room in prop_oneof![1..30_usize, 30..70_000_usize],
        texts in proptest::collection::vec((any::<bool>(), 1..40_000_usize), 1..6),
    ) {
        let (mut client, mut server) = (End::client(meeting), End::server(meeting));
        client.session.shake_hands(&mut client.pool)?;
        pass(&mut client, &mut server, piece)?;
        let (mut asked, mut answered) = (Vec::new(), Vec::new());
        for (from_client, length) in texts {
            let text = bytes(length, length as u8);
            let (from, to, all) = if from_client {
                (&mut client, &mut server, &mut asked)
            } else {
                (&mut server, &mut client, &mut answered)
            };
            let mut sent = Vec::new();
            from.seal(&text, |bytes| sent.extend(bytes))?;
            for piece in sent.chunks(piece) {
                to.receive(piece);
                to.open(room)?;
            }
            all.extend(text);
        }
        prop_assert!(server.opened == asked && client.opened == answered);
        prop_assert_eq!([client.session.held(), server.session.held()], [(0, 0); 2]);
    }
}
