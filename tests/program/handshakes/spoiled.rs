//! Clients that send what belongs into no handshake behind their ClientHello.

use std::io::Write;

use rustls::Error;

use super::{Bench, EVENTUALLY, assert_served};
use crate::support::wait;

/// HANDSHAKE-3: each is told, and nobody else notices.
#[test]
fn whoever_sends_garbage_behind_its_hello_is_told_and_disturbs_nobody() {
    let bench = Bench::start(&[]);
    let mut established = bench.served();
    let mut spoiled = 0.0;
    for is_tls12 in [true, false] {
        for (what, garbage) in garbage() {
            let mut client = bench.shaking(is_tls12);
            let hello = client.words();
            let sent = [hello, garbage].concat();
            // It may be closed before all of it is sent.
            let _ = client.socket.write_all(&sent);
            let told = client.is_told();
            let is_told = matches!(told, Some(Error::AlertReceived(_)));
            // Whoever has sent more than it may is not heard to the end.
            let has_said_too_much = told.is_none() && what.starts_with("too many");
            assert!(
                is_told || has_said_too_much,
                "{what}, TLS 1.2 {is_tls12}: {told:?}"
            );
            drop(client);
            spoiled += 1.0;
            assert_served(&mut established);
        }
    }
    wait::until("that all are counted", EVENTUALLY, || {
        (bench.closed("tls_failed") == spoiled).then_some(())
    });
    drop(bench.served());
    bench.is_quiet_but_for(1);
    let log = bench.proxy.output();
    assert_eq!(log.matches("TLS was not agreed on").count(), 1, "{log}");
    drop(established);
    let Bench { mut proxy, .. } = bench;
    proxy.terminate();
}

fn garbage() -> Vec<(&'static str, Vec<u8>)> {
    let record = |kind: u8, content: &[u8]| {
        let length = u16::try_from(content.len()).expect("a record's length");
        [&[kind, 3, 3][..], &length.to_be_bytes(), content].concat()
    };
    vec![
        ("text", b"GET / HTTP/1.1\r\n\r\n".repeat(1000)),
        ("a kind of record that there is not", record(99, &[7; 100])),
        ("a record that is too long", [23, 3, 3, 0xff, 0xff].repeat(2000)),
        ("ciphertext under no key", record(23, &[7; 1000]).repeat(50)),
        (
            "a message that there is not",
            record(22, &[200, 0, 0, 4, 1, 2, 3, 4]),
        ),
        (
            "a Finished that is none",
            record(22, &[&[20, 0, 0, 32][..], &[7; 32]].concat()),
        ),
        (
            "too many pieces of a message",
            record(22, &[1, 0xff, 0xff, 0xff]).repeat(20_000),
        ),
        ("too many empty records", record(22, &[]).repeat(20_000)),
        ("too many warnings", record(21, &[1, 90]).repeat(1000)),
    ]
}
