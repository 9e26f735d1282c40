//! Connections that send anything but Kafka: the proxy stays up, its other connections are not disturbed, and its
//! memory stays bounded.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use crate::support::broker_properties::Login;
use crate::support::operations::From;
use crate::support::rig::Rig;
use crate::support::shared;
use crate::support::skipped;
use crate::support::streams::assert_exactly_once;

#[test]
fn hostile_connections_harm_nobody() {
    let rig = Rig::assemble(shared::one_broker(), Login::Plaintext);
    let Some(proxy) = rig.proxy() else {
        return skipped::there_is_no_proxy();
    };
    let topic = rig.topic("sealed-undisturbed", 1);
    let producer = rig
        .java
        .stream_produce(&rig.options().set("idempotent", true), &topic, 1, 200);
    let consumer = rig
        .java
        .stream_consume(&rig.options(), &From::partitions(&topic, 1));
    rig.java.stream_await(&consumer, 400);
    let connections = rig.java.stream_status(&producer).connections;

    let before = proxy.resident_bytes();
    let addresses = [proxy.bootstrap(), proxy.node_address(0)];
    for round in 0..ROUNDS {
        thread::scope(|scope| {
            for attacker in 0..ATTACKERS {
                let address = &addresses[usize::try_from(attacker % 2).expect("0 or 1")];
                let seed = 1 + round * ATTACKERS + attacker;
                scope.spawn(move || attack(address, seed));
            }
        });
        let resident = proxy.resident_bytes();
        let growth = resident.saturating_sub(before);
        assert!(
            growth < GROWTH_BYTES_MAX,
            "round {round}: {growth} bytes more than before, {resident} in all"
        );
    }

    let more = rig.java.stream_status(&consumer).count + 400;
    rig.java.stream_await(&consumer, more);
    let now = rig.java.stream_status(&producer).connections;
    assert!(
        now <= connections,
        "the producer had to connect again: {connections}, then {now}"
    );
    assert_exactly_once(rig.java, producer, consumer);
}

const ROUNDS: u64 = 4;
const ATTACKERS: u64 = 60;
/// Sixty connections that each announce 100 MiB would be 6 GB if an announcement were believed.
const GROWTH_BYTES_MAX: u64 = 64 << 20;

/// One hostile connection; every seed is another.
fn attack(address: &str, seed: u64) {
    let mut dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let bytes = hostile(&mut dice, seed);
    let mut socket = TcpStream::connect(address).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
    socket
        .set_read_timeout(Some(PATIENCE))
        .expect("setting a time-out");
    socket
        .set_write_timeout(Some(PATIENCE))
        .expect("setting a time-out");
    // The proxy may close at any byte.
    let _ = socket.write_all(&bytes);
    let mut answer = [0; 4096];
    while matches!(socket.read(&mut answer), Ok(count) if count > 0) {}
}

/// A connection that waits for the rest of a frame may be held for the proxy's idle time; we do not wait that long.
const PATIENCE: Duration = Duration::from_millis(1500);

fn hostile(dice: &mut Dice, seed: u64) -> Vec<u8> {
    match seed % 10 {
        // Noise.
        0 => dice.bytes(4000),
        // Lengths that lie: far too long, negative, empty, too short for a header.
        1 => framed(100 << 20, &dice.bytes(300)),
        2 => framed(i32::MAX, &dice.bytes(300)),
        3 => framed(-1, &dice.bytes(300)),
        4 => framed(0, &dice.bytes(300)),
        5 => framed(6, &dice.bytes(300)),
        // A produce request of noise.
        6 => request(0, 9, &dice.bytes(2000)),
        // A produce request that announces as many topics as a number can say.
        7 => request(
            0,
            7,
            &[
                &[0xff, 0xff, 0, 1, 0, 0, 0x75, 0x30][..],
                &[0x7f, 0xff, 0xff, 0xff],
            ]
            .concat(),
        ),
        // An API that is not there, and a version that is not there.
        8 => request(0x1234, 0, &dice.bytes(100)),
        // A fetch request of noise, behind a good request for the versions.
        _ => [
            request(18, 0, &[]),
            request(1, 12, &dice.bytes(2000)),
            request(1, 0x7fff, &[]),
        ]
        .concat(),
    }
}

/// API key, version, correlation id, client id "x", the body.
fn request(api_key: i16, version: i16, body: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    frame.extend(api_key.to_be_bytes());
    frame.extend(version.to_be_bytes());
    frame.extend([0, 0, 0, 7, 0, 1, b'x']);
    frame.extend(body);
    framed(
        i32::try_from(frame.len()).expect("frames of the test are short"),
        &frame,
    )
}

fn framed(length: i32, frame: &[u8]) -> Vec<u8> {
    [&length.to_be_bytes()[..], frame].concat()
}

/// The same numbers for the same seed.
struct Dice(u64);

impl Dice {
    fn bytes(&mut self, count_max: u64) -> Vec<u8> {
        let count = usize::try_from(1 + self.roll() % count_max).expect("counts of the test are small");
        std::iter::repeat_with(|| self.roll().to_le_bytes()[3])
            .take(count)
            .collect()
    }

    fn roll(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}
