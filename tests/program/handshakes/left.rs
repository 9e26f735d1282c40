//! Clients that leave in the middle: they end their side, close, or reset, wherever they are.

use std::io::Write;
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use socket2::SockRef;

use super::{Bench, EVENTUALLY, Shaking, assert_served};
use crate::support::wait;

/// How far a client has come.
#[derive(Clone, Copy, Debug)]
enum Stage {
    Connected,
    /// Half of its ClientHello is sent.
    Dripping,
    /// It has sent it, and reads no answer.
    Greeted,
    /// It has the answer and does not go on.
    Answered,
    /// It has sent half of what it has to say then.
    Finishing,
    /// The handshake is over, and nothing was said.
    Met,
    /// Half a request was.
    Asking,
}

/// How it leaves.
#[derive(Clone, Copy, Debug)]
enum Leave {
    HalfClosed,
    Closed,
    Reset,
}

const STAGES: [Stage; 7] = [
    Stage::Connected,
    Stage::Dripping,
    Stage::Greeted,
    Stage::Answered,
    Stage::Finishing,
    Stage::Met,
    Stage::Asking,
];
const LEAVES: [Leave; 3] = [Leave::HalfClosed, Leave::Closed, Leave::Reset];
/// Of each: what is left behind by one may be overlooked.
const CLIENTS: usize = 5;

#[test]
fn whoever_leaves_at_whatever_stage_leaves_nothing_behind_and_disturbs_nobody() {
    let bench = Bench::start(&[]);
    let mut established = bench.served();
    let mut left = 0.0;
    for stage in STAGES {
        for leave in LEAVES {
            let half_closed: Vec<TcpStream> = (0..CLIENTS)
                .filter_map(|number| {
                    let client = at(stage, bench.shaking(number % 2 == 0));
                    left += 1.0;
                    leave_by(leave, client.socket)
                })
                .collect();
            assert_served(&mut established);
            // Long before any time is over.
            bench.is_quiet_but_for(1);
            drop(half_closed);
        }
    }
    assert_eq!(
        bench.closed("client_closed") + bench.closed("client_error"),
        left,
        "{}",
        bench.proxy.metrics()
    );
    let log = bench.proxy.output();
    assert!(
        !log.contains("TLS was not agreed on"),
        "who only leaves is nothing to write of: {log}"
    );
    drop(bench.served());
    drop(established);
    let Bench { mut proxy, .. } = bench;
    proxy.terminate();
}

fn at(stage: Stage, mut client: Shaking) -> Shaking {
    let halves = |client: &mut Shaking| {
        let words = client.words();
        client
            .socket
            .write_all(&words[..words.len() / 2])
            .expect("it is there");
    };
    match stage {
        Stage::Connected => return client,
        Stage::Dripping => {
            halves(&mut client);
            return client;
        }
        _ => client.says(),
    }
    if matches!(stage, Stage::Greeted) {
        return client;
    }
    while !client.session.wants_write() {
        assert_eq!(client.hears().expect("an answer"), Ok(true));
    }
    match stage {
        Stage::Answered => return client,
        Stage::Finishing => {
            halves(&mut client);
            return client;
        }
        _ => {}
    }
    loop {
        client.says();
        if !client.session.is_handshaking() {
            break;
        }
        assert_eq!(client.hears().expect("an answer"), Ok(true));
    }
    if matches!(stage, Stage::Asking) {
        client
            .session
            .writer()
            .write_all(&[0, 0, 0, 40, 0, 35])
            .expect("into memory");
        client.says();
    }
    client
}

/// What is kept of its socket.
fn leave_by(leave: Leave, socket: TcpStream) -> Option<TcpStream> {
    match leave {
        Leave::HalfClosed => {
            socket.shutdown(Shutdown::Write).expect("it is connected");
            Some(socket)
        }
        Leave::Closed => None,
        Leave::Reset => {
            let at_once = Some(Duration::ZERO);
            SockRef::from(&socket)
                .set_linger(at_once)
                .expect("it is connected");
            None
        }
    }
}

/// HELD-3: behind the handshake, and before anything is relayed.
#[test]
fn half_a_record_of_one_who_has_met_is_accounted_for() {
    let bench = Bench::start(&[]);
    let mut client = bench.shaking(false);
    client.says();
    while client.session.is_handshaking() {
        assert!(client.hears().expect("no reset").expect("an answer"));
        client.says();
    }
    client
        .session
        .writer()
        .write_all(&[0; 10_000])
        .expect("into memory");
    let words = client.words();
    client
        .socket
        .write_all(&words[..words.len() - 1])
        .expect("it is read");
    wait::until("that it is on the account", EVENTUALLY, || {
        (bench.proxy.metric("sealwire_held_bytes", &[]) >= 10_000.0).then_some(())
    });
    drop(client);
    bench.is_quiet_but_for(0);
}
