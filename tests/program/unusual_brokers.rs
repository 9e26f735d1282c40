//! Brokers that behave as real ones seldom do, each played by the test: what clients get through the proxy then.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use crate::support::frames::{read_frame, start_broker};
use crate::support::keystore::Keystore;
use crate::support::proxy::{Proxy, ProxySetup};
use crate::support::wait;

/// PARTING-1: a client that has sent more than was read of it still gets the end of the last answer.
#[test]
fn the_last_answer_arrives_whole_however_much_was_not_read_of_the_client() {
    let broker = start_broker(|mut socket| {
        read_frame(&mut socket).expect("a request");
        answer(&mut socket, &vec![7; ANSWER_BYTES]);
        // Whatever is asked behind it.
        let _ = socket.shutdown(Shutdown::Write);
        let _ = std::io::copy(&mut socket, &mut std::io::sink());
    });
    let keystore = Keystore::create(&["orders"]);
    let proxy = start_proxy(&broker, &keystore, &["limits.in_flight_requests_max=1"]);
    let mut client = TcpStream::connect(proxy.bootstrap()).expect("connecting");
    let mut sender = client.try_clone().expect("another handle");
    // More than the proxy reads at a time, and less than two kernels hold.
    let requests = request().repeat(40_000);
    thread::scope(|scope| {
        scope.spawn(move || sender.write_all(&requests));
        let closed = "sealwire_connections_closed_total";
        wait::until("the end of the connection", EVENTUALLY, || {
            (proxy.metric(closed, &["reason=\"broker_closed\""]) > 0.0).then_some(())
        });
        let mut length = [0; 4];
        client.read_exact(&mut length).expect("the answer's length");
        let mut got = vec![0; ANSWER_BYTES];
        client.read_exact(&mut got).expect("the whole answer");
        assert_eq!(client.read(&mut [0; 1]).expect("the end"), 0);
    });
}

/// PARTING-1, PARTING-3: neither a client that stays nor one that sends on keeps anything for long.
#[test]
fn what_a_client_leaves_open_is_closed_soon_and_does_not_hold_the_end() {
    let broker = start_broker(|mut socket| {
        read_frame(&mut socket).expect("a request");
        answer(&mut socket, &[7; 64]);
    });
    let keystore = Keystore::create(&["orders"]);
    let mut proxy = start_proxy(&broker, &keystore, &[]);
    let connect = || {
        let mut client = TcpStream::connect(proxy.bootstrap()).expect("connecting");
        client.write_all(&request()).expect("sending");
        read_frame(&mut client).expect("an answer");
        assert_eq!(client.read(&mut [0; 1]).expect("the end"), 0);
        client
    };
    let mut endless = connect();
    let piece = vec![0; 64 << 10];
    let sent = (0..).take_while(|_| endless.write_all(&piece).is_ok()).count() * piece.len();
    assert!(sent < 64 << 20, "{sent} bytes were taken of one that sends on");

    let begun = Instant::now();
    let mut quiet = connect();
    wait::until("the end of a quiet client", EVENTUALLY, || {
        quiet.write_all(&[0]).err().map(|_| ())
    });
    assert!(begun.elapsed() >= PARTING, "{:?} is less", begun.elapsed());
    let another = connect();
    let begun = Instant::now();
    proxy.terminate();
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    drop(another);
}

/// The time that a broker takes for its answers is not the client's.
#[test]
fn a_client_that_waits_for_a_slow_broker_lives_and_a_silent_one_does_not() {
    let broker = start_broker(|mut socket| {
        while read_frame(&mut socket).is_some() {
            wait::pause(3 * UNPROVEN);
            // No error, no APIs.
            answer(&mut socket, &[0; 10]);
        }
    });
    let keystore = Keystore::create(&["orders"]);
    let limit = format!("limits.idle_timeout_unauthenticated={}ms", UNPROVEN.as_millis());
    let proxy = start_proxy(&broker, &keystore, &[&limit]);
    for questions in [0, 1] {
        let begun = Instant::now();
        let mut client = TcpStream::connect(proxy.bootstrap()).expect("connecting");
        for _ in 0..questions {
            // ApiVersions 0.
            let head = [0, 0, 0, 10, 0, 18, 0, 0];
            let asked = client.write_all(&[&head[..], &CORRELATION_ID, &[0xff, 0xff]].concat());
            asked.expect("sending");
            assert!(read_frame(&mut client).is_some(), "an answer, if a late one");
        }
        assert_eq!(client.read(&mut [0; 1]).expect("the end"), 0);
        let took = begun.elapsed();
        let least = UNPROVEN * (1 + 3 * questions);
        assert!(
            (least..least + Duration::from_secs(6)).contains(&took),
            "{took:?}"
        );
    }
    let closed = "sealwire_connections_closed_total";
    assert_eq!(proxy.metric(closed, &["reason=\"idle_unauthenticated\""]), 2.0);
}

/// A broker that hangs does not take the places of those who want something of another: neither with clients that have
/// left, nor with those that wait on.
#[test]
fn clients_of_a_broker_that_never_answers_do_not_fill_the_proxy() {
    const SEATS: usize = 4;
    let broker = start_broker(|mut socket| {
        let frame = read_frame(&mut socket).expect("a request");
        // It hangs over ApiVersions, and does not hear that a client has left.
        while frame.get(1) == Some(&18) {
            thread::park();
        }
        answer(&mut socket, &[7; 64]);
    });
    let keystore = Keystore::create(&["orders"]);
    let limit = format!("limits.idle_timeout_unauthenticated={}ms", UNPROVEN.as_millis());
    let seats = format!("limits.connections_max={SEATS}");
    let proxy = start_proxy(&broker, &keystore, &[&limit, &seats]);
    let is_served = || {
        let mut client = TcpStream::connect(proxy.bootstrap()).expect("connecting");
        client.write_all(&request()).is_ok() && read_frame(&mut client).is_some()
    };
    let closed = "sealwire_connections_closed_total";
    for (leave, least, reason) in [
        (true, UNPROVEN, "reason=\"client_closed\""),
        (false, 6 * UNPROVEN, "reason=\"idle_unauthenticated\""),
    ] {
        wait::until("a free proxy", EVENTUALLY, || {
            (proxy.metric("sealwire_connections_open", &[]) == 0.0).then_some(())
        });
        wait::pause(PARTING);
        let before = proxy.metric(closed, &[reason]);
        let begun = Instant::now();
        let clients = (0..SEATS).map(|_| {
            let mut client = TcpStream::connect(proxy.bootstrap()).expect("connecting");
            // ApiVersions 0.
            let head = [0, 0, 0, 10, 0, 18, 0, 0];
            let asked = client.write_all(&[&head[..], &CORRELATION_ID, &[0xff, 0xff]].concat());
            asked.expect("sending");
            client
        });
        let mut waiting: Vec<TcpStream> = clients.collect();
        if leave {
            waiting.clear();
        }
        wait::until("a place", EVENTUALLY, || is_served().then_some(()));
        let took = begun.elapsed();
        assert!(
            (least..least + Duration::from_secs(6)).contains(&took),
            "{took:?}"
        );
        assert!(proxy.metric(closed, &[reason]) - before >= 1.0, "{reason}");
    }
}

fn start_proxy(broker: &str, keystore: &Keystore, settings: &[&str]) -> Proxy {
    let mut proxy = Proxy::start(&ProxySetup {
        brokers: broker.to_owned(),
        nodes: vec![0],
        keystore,
        rules: "[[cluster.main.topics]]\nmatch = \"sealed*\"\nkms = \"local\"\nkek = \"orders\"\n",
        executors: 1,
    });
    proxy.terminate();
    proxy.start_again_with(settings);
    proxy
}

/// A DescribeLogDirs request of version 1 for no topic, which goes to the broker as it is, and so does its answer.
fn request() -> Vec<u8> {
    let frame = [
        &[0, 35, 0, 1][..],
        &CORRELATION_ID,
        &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
    ]
    .concat();
    [&[0, 0, 0, 14], &frame[..]].concat()
}

/// Answers with so many bytes, the correlation id among them.
fn answer(socket: &mut TcpStream, body: &[u8]) {
    let length = u32::try_from(body.len()).expect("a length").to_be_bytes();
    let frame = [&length[..], &CORRELATION_ID, &body[4..]].concat();
    // The proxy may be gone.
    let _ = socket.write_all(&frame);
}

const CORRELATION_ID: [u8; 4] = [0, 0, 0, 7];
/// Less than a kernel takes for a client that does not read.
const ANSWER_BYTES: usize = 1 << 20;
/// How long a client is waited for that is not logged in, here; the default is ten seconds.
const UNPROVEN: Duration = Duration::from_secs(1);
/// How long a client is given to end its side.
const PARTING: Duration = Duration::from_secs(1);
const EVENTUALLY: Duration = Duration::from_secs(30);
