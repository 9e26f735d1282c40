//! Clients straight at the broker: what is counted is what was exchanged, whole frames of the right length only.

use std::io::Write as _;

use bytes::Bytes;

use super::*;
use crate::scenario::Scenario;

const GROUP: usize = 0;

fn points(text: &str) -> Vec<Point> {
    let text = format!("summary = \"x\"\n{text}");
    Scenario::parse("test", &text).unwrap().points()
}

fn prepare(load: &mut Load, point: &Point, readable: bool) -> Result<Rc<Traffic>, Failure> {
    let plan = Plan {
        point,
        prefix: "public-",
        readable: Some(readable),
        history: &|_: &Bytes| Err("there is none".into()),
    };
    Traffic::prepare(load, GROUP, &plan).map(Rc::new)
}

fn connected(connections: usize) -> Load {
    let mut load = Load::new(0).unwrap();
    let address = local(load.broker_port());
    load.connect(GROUP, address, connections).unwrap();
    load
}

#[test]
fn the_load_exchanges_with_its_own_broker() {
    let mut load = connected(5);
    for point in points(
        "what = \"pass\"\nframe_kib = [1, 16, 512]\ntopics = [1, 7]\ndirections = [\"produce\", \"fetch\", \"both\"]",
    ) {
        let traffic = prepare(&mut load, &point, true).unwrap();
        load.start(GROUP, &traffic, None).unwrap();
        // Half a second at most, because a busy machine has stopped for 50 ms before.
        load.run(Duration::from_millis(200)).unwrap();
        load.stop().unwrap();
        let counts = load.take_counts();
        assert!(counts.frames > 5, "{point:?}: {}", counts.frames);
        assert_eq!(counts.latency_ns.len(), counts.frames);
        assert!(counts.bytes as usize > counts.frames as usize * (point.frame_kib << 10));
        assert_eq!(counts.records % counts.frames, 0);
    }
}

#[test]
fn with_tls_the_same_is_exchanged_and_who_speaks_none_is_an_error() {
    let directory = crate::children::scratch_directory().unwrap();
    let text = "what = \"pass\"\ntls = \"ecdsa\"\nframe_kib = [1, 512]\nreconnects = [false, true]\n\
                directions = [\"produce\", \"fetch\", \"both\"]";
    let points = points(text);
    let mut load = Load::new(0).unwrap();
    load.site(&points[0], directory.path()).unwrap();
    let address = local(load.broker_port());
    load.connect(GROUP, address, 5).unwrap();
    for point in points {
        let traffic = prepare(&mut load, &point, true).unwrap();
        load.start(GROUP, &traffic, None).unwrap();
        load.run(Duration::from_millis(300)).unwrap();
        load.stop().unwrap();
        let counts = load.take_counts();
        assert!(counts.frames > 5, "{point:?}: {}", counts.frames);
        assert!(counts.bytes as usize > counts.frames as usize * (point.frame_kib << 10));
    }
    let mut plain = std::net::TcpStream::connect(address).unwrap();
    plain.write_all(&wire::api_versions_request().unwrap()).unwrap();
    assert!(load.run(PATIENCE).is_err(), "the broker takes nothing else");
}

#[test]
fn what_should_be_sealed_and_is_not_is_an_error_and_so_is_a_refusal() {
    let mut load = connected(2);
    let [point] = &points("what = \"seal\"\nframe_kib = 1")[..] else {
        panic!("one point")
    };
    assert!(prepare(&mut load, point, false).is_err(), "nobody sealed it");
    let mut traffic = Rc::into_inner(prepare(&mut load, point, true).unwrap()).unwrap();
    traffic.exchanges[0].response_bytes += 1;
    load.start(GROUP, &Rc::new(traffic), None).unwrap();
    assert!(
        load.run(Duration::from_millis(500)).is_err(),
        "a refusal must not count"
    );
}

#[test]
fn at_a_rate_as_many_are_sent_as_are_due() {
    let mut load = connected(3);
    let [point] =
        &points("what = \"pass\"\ndirections = \"produce\"\nframe_kib = 1\nrate_mb_per_s = 1.0")[..]
    else {
        panic!("one point")
    };
    let traffic = prepare(&mut load, point, true).unwrap();
    load.start(GROUP, &traffic, point.rate_mb_per_s).unwrap();
    load.run(Duration::from_millis(300)).unwrap();
    let counts = load.take_counts();
    load.stop().unwrap();
    let due = 300_000.0 / traffic.mean_bytes();
    let sent = counts.frames as f64;
    // What a busy machine holds up for a moment is sent afterwards; what it holds up at the end is missing.
    assert!(sent > due * 0.5 && sent < due * 1.2, "{sent} of {due}");
    assert_eq!(counts.dropped, 0);
}

/// Whoever waits while the system stands still waits from when his request was due.
#[test]
fn at_a_rate_a_stop_is_paid_for_by_everybody_who_waits_meanwhile() {
    let mut load = connected(3);
    let text = "what = \"pass\"\ndirections = \"produce\"\nframe_kib = 1\nrate_mb_per_s = 1.0";
    let [point] = &points(text)[..] else {
        panic!("one point")
    };
    let traffic = prepare(&mut load, point, true).unwrap();
    load.start(GROUP, &traffic, point.rate_mb_per_s).unwrap();
    crate::children::pause(Duration::from_millis(200));
    load.run(Duration::from_millis(50)).unwrap();
    let counts = load.take_counts();
    load.stop().unwrap();
    // About 180 were due in the first 200 ms, and 45 in the 50 ms after that: half of all waited for 70 ms or longer.
    let median = counts.latency_ns.value_at_quantile(0.5) / 1_000_000;
    assert!(median > 50, "{median} ms of {}", counts.frames);
}
