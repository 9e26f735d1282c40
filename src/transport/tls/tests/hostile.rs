//! Peers that do what they should not, and those that speak something else.

use rustls::AlertDescription;

use super::*;
use crate::protocol::preface::Preface;

/// TLS-1, TLS-3: wherever a record is altered, nothing of it is shown, and what was verified before is.
#[test]
fn nothing_of_an_altered_record_is_shown() {
    for version in VERSIONS {
        // But for the minor version of TLS 1.3, which means nothing (RFC 8446, 5.1).
        let ignored = if version == Version::Tls13 { 2 } else { usize::MAX };
        for at in (0..60).chain([300, 5000, 10_000]).filter(|at| *at != ignored) {
            let (mut client, mut server) = met(Meeting::of(version));
            client
                .seal(b"good", |sent| server.receive(&sent))
                .expect("sealed");
            client
                .seal(&[7; 10_000], |mut sent| {
                    let at = at.min(sent.len() - 1);
                    sent[at] ^= 0x10;
                    // Where its length is altered it may need more.
                    sent.extend([0; 20_000]);
                    server.receive(&sent);
                })
                .expect("sealed");
            let mut place = [0; 20_000];
            let opened = server.session.open(&mut place, &mut server.pool);
            assert_eq!(opened, Ok(4), "{version:?} {at}");
            assert!(place[..4] == *b"good" && place[4..].iter().all(|byte| *byte == 0));
            let failure = server.session.open(&mut place, &mut server.pool);
            let failure = failure.expect_err("it was altered");
            assert_eq!(
                failure.kind,
                FailureKind::Malformed,
                "{version:?} {at}: {failure}"
            );
            assert!(place[4..].iter().all(|byte| *byte == 0));
            assert_eq!(
                server.session.open(&mut place, &mut server.pool),
                Err(failure.clone())
            );
            assert_eq!(
                server.session.seal(b"more", &mut server.pool),
                Err(failure.clone())
            );
            assert_eq!(server.session.peek(&mut server.pool), Err(failure));
            // The peer is told why, and no goodbye comes behind it.
            server.session.close(&mut server.pool);
            client.receive(&server.send(usize::MAX));
            let told = client.open(100).expect_err("an alert");
            assert!(matches!(told.kind, FailureKind::Alert(_)), "{told}");
            assert!(client.session.outgoing().is_empty(), "an alert is not answered");
        }
    }
}

fn listening() -> End {
    End::of(TlsSession::listening())
}

/// What `end` says of what it was sent, in pieces.
fn hear(end: &mut End, bytes: &[u8], piece: usize) -> Result<Option<Option<String>>, TlsFailure> {
    for bytes in bytes.chunks(piece) {
        end.receive(bytes);
        if let Some(name) = end.session.hello(&mut end.pool)? {
            return Ok(Some(name));
        }
        end.session.rest(&mut end.pool);
    }
    Ok(None)
}

#[test]
fn a_name_is_asked_for_and_nobody_may_have_it() {
    for version in VERSIONS {
        for piece in [1, 100, 100_000] {
            let mut client = End::client(Meeting::of(version));
            client
                .session
                .shake_hands(&mut client.pool)
                .expect("a ClientHello");
            let mut server = listening();
            let name = hear(&mut server, &client.send(usize::MAX), piece);
            assert_eq!(name, Ok(Some(Some("broker.test".to_owned()))));
            let refused = server.session.refuse_name(&mut server.pool);
            assert_eq!(refused.kind, FailureKind::UnknownName);
            client.receive(&server.send(usize::MAX));
            let told = client
                .session
                .shake_hands(&mut client.pool)
                .expect_err("an alert");
            assert_eq!(told.kind, FailureKind::Alert(AlertDescription::UnrecognisedName));
        }
    }
}

/// A ClientHello with this name, in records of so many bytes.
fn hello_for(name: &[u8], record: usize) -> Vec<u8> {
    let length = |bytes: usize| (bytes as u16).to_be_bytes();
    let name = [&[0][..], &length(name.len()), name].concat();
    let list = [&length(name.len())[..], &name].concat();
    let extension = [&[0, 0][..], &length(list.len()), &list].concat();
    let groups = [0, 10, 0, 4, 0, 2, 0, 23];
    let signatures = [0, 13, 0, 4, 0, 2, 4, 3];
    let extensions = [&extension[..], &groups, &signatures].concat();
    let body = [
        &[3, 3][..],
        &[7; 32],
        &[0, 0, 2, 0xc0, 0x2b, 1, 0],
        &length(extensions.len()),
        &extensions,
    ]
    .concat();
    let message = [&[1][..], &(body.len() as u32).to_be_bytes()[1..], &body].concat();
    let records = message
        .chunks(record)
        .flat_map(|part| [&[22, 3, 1][..], &length(part.len()), part].concat());
    records.collect()
}

#[test]
fn a_name_of_any_length_is_heard_or_refused() {
    let heard = |name: &[u8], record, piece| hear(&mut listening(), &hello_for(name, record), piece);
    assert_eq!(
        heard(b"KAFKA-1.example.test", 16_384, 7),
        Ok(Some(Some("kafka-1.example.test".to_owned())))
    );
    assert_eq!(
        heard(b"kafka.example.test", 1, 4096),
        Ok(Some(Some("kafka.example.test".to_owned())))
    );
    assert_eq!(
        heard(b"10.1.2.3", 16_384, 4096),
        Ok(Some(None)),
        "an address is no name"
    );
    for name in [
        &[b'x'; 254][..],
        &[b'x'; 60_000],
        &[b'x'; 65_400],
        b"",
        b"a b",
        b"\0",
        &[0xff; 20],
    ] {
        for (record, piece) in [(16_384, 4096), (16_384, 100_000), (1000, 333)] {
            let mut server = listening();
            let failure = hear(&mut server, &hello_for(name, record), piece).expect_err("no name");
            assert!(
                matches!(failure.kind, FailureKind::Malformed | FailureKind::TooMuch),
                "{}: {failure}",
                name.len()
            );
            let alert = server.send(usize::MAX);
            assert!(matches!(alert[..], [21, 3, _, 0, 2, 2, _]), "{alert:?}");
        }
    }
}

/// A message of the handshake may say that it has 16 MiB: no more than 64 KiB of it are taken.
#[test]
fn a_long_message_of_the_handshake_is_refused() {
    let mut endless = vec![22, 3, 1, 0x40, 0, 1, 0xff, 0xff, 0xff];
    endless.extend([0; 16_380]);
    for _ in 0..5 {
        endless.extend([22, 3, 1, 0x40, 0]);
        endless.extend([0; 16_384]);
    }
    let failure = hear(&mut listening(), &endless, 4096).expect_err("it is too long");
    assert!(
        matches!(failure.kind, FailureKind::Malformed | FailureKind::TooMuch),
        "{failure}"
    );
    let mut server = End::server(Meeting::of(Version::Tls13));
    server.receive(&endless);
    server
        .session
        .shake_hands(&mut server.pool)
        .expect_err("it is too long");
    let mut client = End::client(Meeting::of(Version::Tls13));
    client.receive(&endless);
    client
        .session
        .shake_hands(&mut client.pool)
        .expect_err("it is no ServerHello");
}

/// Whoever does not speak TLS is sent no alert, which he would take for something else.
#[test]
fn other_protocols_are_recognised() {
    let api_versions = [
        0, 0, 0, 40, 0, 18, 0, 3, 0, 0, 0, 1, 0, 5, b'k', b'a', b'f', b'k', b'a',
    ];
    for (said, preface) in [
        (&api_versions[..], Preface::Kafka),
        (b"GET / HTTP/1.1\r\n\r\n", Preface::Http),
    ] {
        for piece in [1, 100] {
            let mut server = listening();
            let failure = hear(&mut server, said, piece).expect_err("it is no TLS");
            // One byte at a time rustls gives up before enough is there to tell.
            if piece == 100 {
                assert_eq!(failure.kind, FailureKind::OtherProtocol(preface));
                assert!(server.session.outgoing().is_empty());
            }
        }
    }
}

/// What a meeting sends from `client`'s end or the server's, up to the end.
fn transcript(meeting: Meeting) -> (Vec<u8>, Vec<u8>) {
    let (mut client, mut server) = (End::client(meeting), End::server(meeting));
    client
        .session
        .shake_hands(&mut client.pool)
        .expect("a ClientHello");
    let (mut asked, mut answered) = (Vec::new(), Vec::new());
    while !client.session.outgoing().is_empty() || !server.session.outgoing().is_empty() {
        let (there, back) = (client.send(usize::MAX), server.send(usize::MAX));
        server.receive(&there);
        client.receive(&back);
        asked.extend(there);
        answered.extend(back);
        for end in [&mut client, &mut server] {
            end.session.shake_hands(&mut end.pool).expect("they meet");
        }
    }
    (asked, answered)
}

/// Does with `end` what a connection does, and what it should not: nothing panics, and nothing is shown.
fn go_on_anyhow(end: &mut End) {
    let _ = end.session.shake_hands(&mut end.pool);
    let mut place = [0; 100];
    let opened = end.session.open(&mut place, &mut end.pool);
    assert!(!matches!(opened, Ok(1..)), "{opened:?}");
    let _ = end.session.peek(&mut end.pool);
    let _ = end.session.seal(b"sealed", &mut end.pool);
    end.session.close(&mut end.pool);
    end.send(usize::MAX);
    end.session.rest(&mut end.pool);
    let _ = end.session.shake_hands(&mut end.pool);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Truncated, altered, followed by garbage, closed in the middle: in either role.
    #[test]
    fn nobody_panics_for_what_a_peer_sends_in_the_handshake(
        meeting in meeting(),
        is_client in any::<bool>(),
        cut in 0..6000_usize,
        altered in proptest::option::of((0..6000_usize, 1..=u8::MAX)),
        garbage in proptest::collection::vec(any::<u8>(), 0..200),
        piece in 1..3000_usize,
    ) {
        let (asked, answered) = transcript(meeting);
        let mut sent = if is_client { answered } else { asked };
        sent.truncate(cut);
        if let Some((at, mask)) = altered
            && let Some(byte) = sent.get_mut(at)
        {
            *byte ^= mask;
        }
        sent.extend(garbage);
        let mut ends = vec![if is_client { End::client(meeting) } else { End::server(meeting) }];
        if !is_client {
            let mut listening = listening();
            let _ = hear(&mut listening, &sent, piece);
            ends.push(listening);
        }
        for end in &mut ends {
            let _ = end.session.shake_hands(&mut end.pool);
            for piece in sent.chunks(piece) {
                end.receive(piece);
                if end.session.shake_hands(&mut end.pool).is_err() {
                    break;
                }
            }
            go_on_anyhow(end);
        }
    }

    /// After the handshake, and after our goodbye.
    #[test]
    fn nobody_panics_for_what_comes_later(
        meeting in meeting(),
        garbage in proptest::collection::vec(any::<u8>(), 1..200),
        header in any::<bool>(),
        closed in any::<bool>(),
        is_client in any::<bool>(),
    ) {
        let (mut client, mut server) = met(meeting);
        let end = if is_client { &mut client } else { &mut server };
        if closed {
            end.session.close(&mut end.pool);
        }
        if header {
            end.receive(&[23, 3, 3, 0, garbage.len() as u8]);
        }
        end.receive(&garbage);
        go_on_anyhow(end);
    }
}

/// TLS-5: changes of keys cost us two derivations each, and a byte between them makes rustls take any number.
#[test]
fn a_peer_whose_records_hold_nothing_is_failed() {
    for byte_between in [false, true] {
        let meeting = Meeting::of(Version::Tls13);
        let mut server = End::server(meeting);
        let mut client = rustls::ClientConnection::new(meeting.client(), server_name()).expect("a session");
        let mut sent = 0;
        let outcome = loop {
            let mut bytes = Vec::new();
            while client.wants_write() {
                client.write_tls(&mut bytes).expect("memory");
            }
            sent += bytes.len();
            server.receive(&bytes);
            let shaken = server.session.shake_hands(&mut server.pool);
            let opened = shaken.clone().and_then(|_| server.open(4096));
            let answer = server.send(usize::MAX);
            client.read_tls(&mut answer.as_slice()).expect("memory");
            client.process_new_packets().expect("nothing is wrong with us");
            if opened.is_err() || sent > 300_000 {
                break opened;
            }
            if shaken == Ok(true) && !client.is_handshaking() {
                for _ in 0..30 {
                    client.refresh_traffic_keys().expect("it is met");
                }
                if byte_between {
                    std::io::Write::write_all(&mut client.writer(), b"x").expect("memory");
                }
            }
        };
        // Without a byte between them rustls itself takes 32.
        let failure = outcome.expect_err("it is failed");
        assert_eq!(failure.kind, FailureKind::Malformed, "{failure}");
        assert!(sent < 150_000, "after {sent} bytes");
    }
}

/// TLS-5
#[test]
fn so_many_records_are_opened_at_a_time() {
    let (mut client, mut server) = met(Meeting::of(Version::Tls13));
    for _ in 0..1_000 {
        client.session.seal(b"x", &mut client.pool).expect("sealed");
    }
    let bytes = client.send(usize::MAX);
    server.receive(&bytes);
    let opened = server
        .session
        .open(&mut [0; 2_000], &mut server.pool)
        .expect("opened");
    assert!((100..500).contains(&opened), "{opened}");
    server.open(2_000).expect("nothing more has to come");
    assert_eq!(opened + server.opened.len(), 1_000);
}

/// TLS-5
#[test]
fn records_of_a_byte_each_are_served() {
    for version in VERSIONS {
        let (mut client, mut server) = met(Meeting::of(version));
        for round in 0..10_000 {
            let sealed = client.session.seal(b"x", &mut client.pool).expect("sealed");
            assert_eq!(sealed, 1, "{round}");
            let bytes = client.send(usize::MAX);
            server.receive(&bytes);
            server.open(4096).expect("opened");
        }
        assert_eq!(server.opened.len(), 10_000);
    }
}
