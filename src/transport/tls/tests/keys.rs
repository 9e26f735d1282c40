//! Keys that are worn out.

use super::*;

/// A key is changed before its last record, as often as that takes, and what the other end answers is understood.
#[test]
fn keys_are_changed_before_they_are_worn_out() {
    let meeting = Meeting {
        records_per_key: Some(5),
        ..Meeting::of(Version::Tls13)
    };
    let (mut client, mut server) = met(meeting);
    for round in 0..100_u8 {
        let (question, answer) = (bytes(1 + usize::from(round) * 700, round), bytes(100, round));
        client
            .seal(&question, |sent| server.receive(&sent))
            .expect("sealed");
        server.open(1000).expect("opened");
        server
            .seal(&answer, |sent| client.receive(&sent))
            .expect("sealed");
        client.open(1000).expect("opened");
        assert!(server.opened == question && client.opened == answer, "{round}");
        (server.opened, client.opened) = (Vec::new(), Vec::new());
    }
}

/// Both at once, neither reading before the other has changed its own.
#[test]
fn both_may_change_their_keys_at_once() {
    let meeting = Meeting {
        records_per_key: Some(3),
        ..Meeting::of(Version::Tls13)
    };
    let (mut client, mut server) = met(meeting);
    for _ in 0..20 {
        let (mut there, mut back) = (Vec::new(), Vec::new());
        for _ in 0..7 {
            client
                .seal(b"question", |sent| there.extend(sent))
                .expect("sealed");
            server.seal(b"answer", |sent| back.extend(sent)).expect("sealed");
        }
        server.receive(&there);
        client.receive(&back);
        server.open(100).expect("opened");
        client.open(100).expect("opened");
    }
    assert_eq!(server.opened, b"question".repeat(140));
    assert_eq!(client.opened, b"answer".repeat(140));
}

/// TLS 1.2 has no way to change them: the connection ends, and nothing is sealed beyond the limit.
#[test]
fn in_tls_1_2_a_connection_ends_with_its_keys() {
    let meeting = Meeting {
        records_per_key: Some(10),
        ..Meeting::of(Version::Tls12)
    };
    let (mut client, mut server) = met(meeting);
    let mut sealed = 0;
    let failure = loop {
        match client.seal(b"question", |sent| server.receive(&sent)) {
            Ok(()) => sealed += 1,
            Err(failure) => break failure,
        }
    };
    // One was the end of the handshake.
    assert_eq!((sealed, failure.kind), (9, FailureKind::WornOut));
    assert_eq!(client.session.failure(), Some(&failure));
    server.receive(&client.send(usize::MAX));
    server.open(100).expect("opened");
    assert_eq!(server.opened, b"question".repeat(9));
    assert!(server.session.has_ended(), "the peer is told");
    assert!(client.seal(b"more", |_| ()).is_err());
}
