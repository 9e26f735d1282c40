//! A load balancer in front says where a connection comes from: what is taken from it, from whom, and what is not.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::support::debian::installed;
use crate::support::frames::{read_frame, start_broker};
use crate::support::keystore::Keystore;
use crate::support::launch::{DataFolder, Process};
use crate::support::ports::ReservedPort;
use crate::support::proxy::{Proxy, ProxySetup};
use crate::support::{HOST, wait};

const FOUR: &str = "192.0.2.1:56324";
const SIX: &str = "[2001:db8::1]:443";
const LINE: &[u8] = b"PROXY TCP4 192.0.2.1 203.0.113.2 56324 9192\r\n";
const LOCAL: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x20\x11\0\x02hm";

/// Version 2 of [`SIX`], with something that is skipped.
fn binary() -> Vec<u8> {
    let mut preface = b"\r\n\r\n\0\r\nQUIT\n\x21\x21\0\x29".to_vec();
    preface.extend(b"\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01");
    preface.extend([0; 16]);
    preface.extend(b"\x01\xbb\x23\xe8\x04\0\x02ab");
    preface
}

/// What shows itself as no Kafka request, and is told with its sender's address: each kind once.
const HELLO: &[u8] = b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03, and what is random";
const HTTP: &[u8] = b"GET / HTTP/1.1\r\n\r\n";
const UNKNOWN_API: &[u8] = b"\0\0\0\x0a\x03\xe7\0\0\0\0\0\x07\0\0";
/// ApiVersions 0.
const QUESTION: &[u8] = b"\0\0\0\x0a\0\x12\0\0\0\0\0\x07\0\0";

/// PREFACE-4
#[test]
fn what_a_load_balancer_says_is_taken_and_nothing_behind_it() {
    let (keystore, broker) = (Keystore::create(&["orders"]), broker());
    let proxy = start(&broker, &keystore, "127.0.0.0/8", "1m");
    let binary = binary();
    for (preface, hostile, address) in [(LINE, HELLO, FOUR), (&binary, HTTP, SIX)] {
        // All at once, byte by byte, and the preface alone.
        let whole = [preface, QUESTION].concat();
        assert!(answers(&mut say(&proxy.bootstrap(), &whole)));
        let mut dripping = say(&proxy.node_address(0), b"");
        for byte in &whole {
            dripping.write_all(&[*byte]).expect("sending");
        }
        assert!(answers(&mut dripping));
        let mut apart = say(&proxy.bootstrap(), preface);
        apart.write_all(QUESTION).expect("sending");
        assert!(answers(&mut apart));
        is_told(&proxy, &[preface, hostile].concat(), address);
    }
    // Of one that speaks for itself, the socket's own address.
    let mut own = say(&proxy.bootstrap(), LOCAL);
    let address = own.local_addr().expect("an address").to_string();
    own.write_all(UNKNOWN_API).expect("sending");
    line_with(&proxy, &address);
    // A probe.
    let before = (closed(&proxy, "client_closed"), lines(&proxy));
    for probe in [LOCAL, b""] {
        drop(say(&proxy.bootstrap(), probe));
    }
    wait::until("that the probes are gone", EVENTUALLY, || {
        (closed(&proxy, "client_closed") >= before.0 + 2.0).then_some(())
    });
    assert_eq!(lines(&proxy), before.1, "{}", proxy.output());
}

/// SERVE-4
#[test]
fn whoever_comes_from_elsewhere_is_closed_whatever_it_says() {
    let (keystore, broker) = (Keystore::create(&["orders"]), broker());
    let proxy = start(&broker, &keystore, "127.0.0.2", "1m");
    for said in [LINE, LOCAL, QUESTION, b""] {
        assert!(is_closed(&mut say(&proxy.bootstrap(), said)));
    }
    assert_eq!(closed(&proxy, "proxy_source"), 4.0);
    let told = line_with(&proxy, "it does not come from proxy_protocol_sources");
    assert!(
        told.contains("127.0.0.1:") && !told.contains("192.0.2.1"),
        "{told}"
    );
}

#[test]
fn a_connection_without_a_preface_or_with_half_of_one_is_closed() {
    let (keystore, broker) = (Keystore::create(&["orders"]), broker());
    let proxy = start(&broker, &keystore, "127.0.0.0/8", "1m");
    let begun = Instant::now();
    let mut slow = say(&proxy.bootstrap(), &LINE[..20]);
    let mut others = 0.0;
    for said in [
        QUESTION,
        HELLO,
        b"PROXY TCP4 1.2.3.4\r\n",
        b"\r\n\r\n\0\r\nQUIT\n\x21\x12\0\x0c, and no more",
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x10\0",
        &[b'x'; 10_000],
        &[b"PROXY UNKNOWN ", &[b'x'; 200][..]].concat(),
    ] {
        assert!(is_closed(&mut say(&proxy.bootstrap(), said)), "{said:?}");
        others += 1.0;
    }
    assert_eq!(closed(&proxy, "proxy_preface"), others);
    drop(say(&proxy.bootstrap(), &LINE[..20]));
    wait::until("the end of half a preface", EVENTUALLY, || {
        (closed(&proxy, "proxy_preface") > others).then_some(())
    });
    assert!(begun.elapsed() < PREFACE_TIME, "the slow one has its time yet");
    assert!(is_closed(&mut slow));
    assert!(begun.elapsed() >= PREFACE_TIME, "{:?}", begun.elapsed());
    assert_eq!(closed(&proxy, "proxy_preface"), others + 2.0);
    // Once for all of them: whichever the log is told of first.
    line_with(&proxy, "reason=\"proxy_preface\"");
}

/// The client's time is the client's, also while a load balancer is waited for.
#[test]
fn a_preface_takes_no_longer_than_clients_may() {
    let (keystore, broker) = (Keystore::create(&["orders"]), broker());
    let proxy = start(&broker, &keystore, "127.0.0.0/8", "1s");
    let begun = Instant::now();
    let mut slow = [say(&proxy.bootstrap(), b""), say(&proxy.bootstrap(), &LINE[..20])];
    assert!(slow.iter_mut().all(is_closed));
    assert!(begun.elapsed() < PREFACE_TIME, "{:?}", begun.elapsed());
    assert_eq!(closed(&proxy, "idle_unauthenticated"), 2.0);
}

/// HAProxy with both versions, and with its own way to look whether somebody is there.
#[test]
fn haproxy_in_front_tells_where_clients_come_from() {
    let program = installed("haproxy", "-v", &["haproxy"]);
    let (keystore, broker) = (Keystore::create(&["orders"]), broker());
    let proxy = start(&broker, &keystore, "127.0.0.0/8", "1m");
    let [line, binary] = [ReservedPort::take(), ReservedPort::take()];
    let server = format!("server proxy {}", proxy.bootstrap());
    let folder = DataFolder::create("haproxy");
    let configuration = folder.path().join("haproxy.cfg");
    let options = "proxy-v2-options crc32c,unique-id check check-send-proxy inter 200ms";
    let text = format!(
        "global\n  maxconn 100\n\
         defaults\n  mode tcp\n  timeout connect 5s\n  timeout client 30s\n  timeout server 30s\n\
         listen line\n  bind {}\n  {server} send-proxy\n\
         listen binary\n  bind {}\n  {server} send-proxy-v2 {options}\n",
        line.address(),
        binary.address(),
    );
    fs::write(&configuration, text).expect("writing its configuration");
    let mut command = Command::new(program);
    command.arg("-db").arg("-f").arg(&configuration);
    let mut haproxy = Process::start("haproxy", &command, &folder.path().join("haproxy.log"));
    for port in [&line, &binary] {
        wait::until("HAProxy's port", EVENTUALLY, || {
            haproxy.assert_running();
            TcpStream::connect(port.address()).ok()
        });
    }
    wait::until("some of its probes", EVENTUALLY, || {
        (closed(&proxy, "client_closed") > 4.0).then_some(())
    });
    assert_eq!(lines(&proxy), 0, "{}", proxy.output());
    for (port, hostile) in [(&line, HELLO), (&binary, HTTP)] {
        let mut client = say(&port.address(), QUESTION);
        assert!(answers(&mut client));
        let mut hostile_client = say(&port.address(), hostile);
        let address = hostile_client.local_addr().expect("an address").to_string();
        assert!(is_closed(&mut hostile_client));
        line_with(&proxy, &address);
    }
}

/// Answers each request that it has no versions at all.
fn broker() -> String {
    start_broker(|mut socket| {
        while let Some(request) = read_frame(&mut socket) {
            let answer = [&[0, 0, 0, 10][..], &request[4..8], &[0; 6]].concat();
            if socket.write_all(&answer).is_err() {
                break;
            }
        }
    })
}

/// Of a listener behind load balancers in `sources`, where clients have `patience` to say who they are.
fn start(broker: &str, keystore: &Keystore, sources: &str, patience: &str) -> Proxy {
    let mut proxy = Proxy::start(&ProxySetup {
        brokers: broker.to_owned(),
        nodes: vec![0],
        keystore,
        // What stands before the rules belongs to the listener.
        rules: &format!(
            "proxy_protocol = \"required\"\nproxy_protocol_sources = [\"{sources}\"]\n\
             [[cluster.main.topics]]\nmatch = \"*\"\nkms = \"local\"\nkek = \"orders\"\n"
        ),
        executors: 2,
    });
    proxy.terminate();
    proxy.start_again_with(&[
        "runtime.self_check=false",
        &format!("limits.idle_timeout_unauthenticated={patience}"),
    ]);
    proxy
}

fn say(address: &str, bytes: &[u8]) -> TcpStream {
    let mut socket = TcpStream::connect(address).expect("connecting");
    socket.set_nodelay(true).expect("small pieces");
    socket.set_read_timeout(Some(EVENTUALLY)).expect("a time-out");
    // It may be closed already.
    let _ = socket.write_all(bytes);
    socket
}

fn answers(socket: &mut TcpStream) -> bool {
    read_frame(socket).is_some_and(|answer| answer[..4] == [0, 0, 0, 7])
}

fn is_closed(socket: &mut TcpStream) -> bool {
    let mut kept = [0; 64];
    loop {
        match socket.read(&mut kept) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(error) => return error.kind() == std::io::ErrorKind::ConnectionReset,
        }
    }
}

fn closed(proxy: &Proxy, reason: &str) -> f64 {
    proxy.metric(
        "sealwire_connections_closed_total",
        &[&format!("reason=\"{reason}\"")],
    )
}

/// Lines of the log on connections.
fn lines(proxy: &Proxy) -> usize {
    let output = proxy.output();
    output.lines().filter(|line| line.contains("client=")).count()
}

fn is_told(proxy: &Proxy, said: &[u8], address: &str) {
    assert!(is_closed(&mut say(&proxy.bootstrap(), said)));
    let told = line_with(proxy, address);
    assert!(!told.contains(HOST), "{told}");
}

/// The line of the log that has this in it.
fn line_with(proxy: &Proxy, part: &str) -> String {
    wait::until(part, EVENTUALLY, || {
        let output = proxy.output();
        output.lines().find(|line| line.contains(part)).map(str::to_owned)
    })
}

const EVENTUALLY: Duration = Duration::from_secs(30);
/// What a preface has at most.
const PREFACE_TIME: Duration = Duration::from_secs(10);
