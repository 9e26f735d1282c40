//! A small scenario from its file to its lines of JSON, with the real proxy.
#![cfg(feature = "measurements")]

#[allow(clippy::disallowed_methods, reason = "the ban is for executors")]
#[path = "../../tests/support/wait.rs"]
mod wait;

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

const SCENARIO: &str = r#"
summary = "sealing in small"
what = "seal"
frame_kib = 16
connections = 4
topics = 3
systems = ["direct", "haproxy-64k", "sealwire-pass", "sealwire"]
rounds = 2
sample_ms = 60
warm_up_ms = 20

[[limits]]
of = "peak_mb"
most = 100000

[[limits]]
of = "cpu_s_per_gb"
divided_by = "sealwire-pass"
most = 0.0
"#;

fn run(directory: &Path, arguments: &[&str]) -> String {
    succeeded(harness(directory, arguments))
}

/// What it told.
fn succeeded(output: Output) -> String {
    let [out, errors] = texts(&output);
    assert!(output.status.success(), "{out}\n{errors}");
    out
}

/// What it told, and what it told of errors.
fn texts(output: &Output) -> [String; 2] {
    [&output.stdout, &output.stderr].map(|bytes| String::from_utf8(bytes.clone()).unwrap())
}

fn harness(directory: &Path, arguments: &[&str]) -> Output {
    command(directory, arguments).output().unwrap()
}

fn command(directory: &Path, arguments: &[&str]) -> Command {
    let mut harness = Command::new(env!("CARGO_BIN_EXE_bench-harness"));
    harness.current_dir(directory).args(arguments);
    // What cargo has built for the other tests, if it has: the harness would build it as it is released.
    let beside = Path::new(env!("CARGO_BIN_EXE_bench-harness")).with_file_name("sealwire");
    if beside.is_file() && arguments.contains(&"run") {
        harness.arg("--program").arg(beside);
    }
    harness
}

fn lines(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap();
    let lines = text.lines().map(|line| serde_json::from_str(line).unwrap());
    lines.collect()
}

#[test]
fn a_scenario_becomes_lines_that_say_what_the_documents_promise() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("small.toml"), SCENARIO).unwrap();
    let told = run(
        directory.path(),
        &["run", "small.toml", "--json", "small.jsonl", "--seed", "7"],
    );
    assert!(
        told.contains("kept   small") && told.contains("MISSED small"),
        "{told}"
    );
    let lines = lines(&directory.path().join("small.jsonl"));
    let of_kind = |kind| lines.iter().filter(move |line| line["kind"] == kind);
    assert!(
        lines
            .iter()
            .all(|line| line["schema"] == 1 && line["run"] == lines[0]["started"])
    );
    assert_eq!(lines[0]["seed"], 7);
    let skipped = lines[0]["skipped"].as_array().unwrap();
    let systems = 4 - skipped.iter().filter(|one| one["what"] == "haproxy-64k").count();
    assert_eq!(of_kind("row").count(), systems);
    assert_eq!(of_kind("limit").count(), 2);
    let turns: Vec<&Value> = of_kind("sample")
        .filter(|sample| !sample["round"].is_null())
        .collect();
    assert_eq!(turns.len(), systems * 2);
    for turn in &turns {
        assert!(turn["frames"].as_u64().unwrap() > 10, "{turn}");
        assert!(
            turn["bytes"].as_u64().unwrap() > turn["frames"].as_u64().unwrap() * (16 << 10),
            "{turn}"
        );
        assert_eq!(turn["dropped"], 0);
        assert_eq!(turn["of_system"].is_null(), turn["system"] == "direct", "{turn}");
        let latency = &turn["latency_ns"];
        assert!(latency["p50"].as_u64() <= latency["p99"].as_u64() && latency["p50"].as_u64() > Some(1000));
    }
    for row in of_kind("row").filter(|row| row["system"] != "direct") {
        let cpu = row["measures"]["cpu_s_per_gb"]["median"].as_f64().unwrap();
        assert!((0.05..500.0).contains(&cpu), "{row}");
        assert!(
            row["measures"]["peak_mb"]["median"].as_f64().unwrap() > 1.0,
            "{row}"
        );
    }
    every_field_is_documented(&lines);
    let compared = run(directory.path(), &["compare", "small.jsonl", "small.jsonl"]);
    assert!(
        compared.contains("sealwire: cpu_s_per_gb 1.000 times") && !compared.contains("WORSE"),
        "{compared}"
    );
    assert!(
        compared.contains("rounds: 2, too few for intervals"),
        "{compared}"
    );
}

/// Each name of a field, at whatever depth, stands in the page as code.
fn every_field_is_documented(lines: &[Value]) {
    fn names(value: &Value, found: &mut BTreeSet<String>) {
        match value {
            Value::Object(fields) => {
                for (name, value) in fields {
                    found.insert(name.clone());
                    names(value, found);
                }
            }
            Value::Array(values) => values.iter().for_each(|value| names(value, found)),
            _ => {}
        }
    }
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/performance.md");
    let page = std::fs::read_to_string(page).unwrap();
    let mut found = BTreeSet::new();
    lines.iter().for_each(|line| names(line, &mut found));
    // Names of exchanges are those of `perf/budgets.toml`.
    let exchanges = lines[0]["allocations"].as_object().unwrap();
    assert!(!exchanges.is_empty());
    found.retain(|name| !exchanges.contains_key(name));
    assert!(found.len() > 45, "{found:?}");
    found.retain(|name| !page.contains(&format!("`{name}`")));
    assert!(
        found.is_empty(),
        "docs/performance.md does not say what these are: {found:?}"
    );
}

/// A free port, for a broker that somebody has to be told of beforehand.
fn broker_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

/// What a relay has seen of connections.
#[derive(Default)]
struct Seen {
    /// Of those with and of those without TLS: how many there were, and in how many pieces a record could be read.
    tls: [AtomicUsize; 2],
    plain: [AtomicUsize; 2],
}

impl Seen {
    fn look(&self, is_tls: bool, place: usize) {
        let seen = if is_tls { &self.tls } else { &self.plain };
        seen[place].fetch_add(1, Ordering::Relaxed);
    }

    fn counts(&self) -> [[usize; 2]; 2] {
        [&self.tls, &self.plain].map(|seen| [0, 1].map(|place| seen[place].load(Ordering::Relaxed)))
    }
}

/// A relay in front of the broker, which closes the first so many connections.
fn relay(broker_port: u16, closed: usize) -> (SocketAddr, Arc<Seen>) {
    let relay = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = relay.local_addr().unwrap();
    let seen = Arc::new(Seen::default());
    let looks = Arc::clone(&seen);
    std::thread::spawn(move || {
        for client in relay.incoming().skip(closed) {
            let client = client.unwrap();
            let broker = TcpStream::connect(("127.0.0.1", broker_port)).unwrap();
            let mut first = [0];
            let is_tls = client.peek(&mut first).is_ok() && first == [TLS_HANDSHAKE];
            looks.look(is_tls, 0);
            for (from, to) in [
                (client.try_clone().unwrap(), broker.try_clone().unwrap()),
                (broker, client),
            ] {
                to.set_nodelay(true).unwrap();
                let looks = Arc::clone(&looks);
                std::thread::spawn(move || {
                    pass_on(from, to, |piece| {
                        if piece.windows(CANARY.len()).any(|window| window == CANARY) {
                            looks.look(is_tls, 1);
                        }
                    })
                });
            }
        }
    });
    (address, seen)
}

/// Until either end has gone, which the other one learns.
fn pass_on(mut from: TcpStream, mut to: TcpStream, look: impl Fn(&[u8])) {
    let mut piece = vec![0; 64 << 10];
    while let Ok(bytes @ 1..) = from.read(&mut piece) {
        look(&piece[..bytes]);
        if to.write_all(&piece[..bytes]).is_err() {
            break;
        }
    }
    for socket in [from, to] {
        let _ = socket.shutdown(Shutdown::Both);
    }
}

/// What a connection with TLS begins with.
const TLS_HANDSHAKE: u8 = 0x16;
/// In every record of the load.
const CANARY: &[u8] = b"canary in a coal mine";

/// Runs `small.toml` with a peer, and without a proxy.
fn beside_direct(directory: &Path, peer: &str, broker_port: u16, more: &[&str]) -> Output {
    let broker_port = broker_port.to_string();
    let mut arguments = vec!["run", "small.toml", "--systems", "direct", "--peer", peer];
    arguments.extend(["--broker-port", &broker_port]);
    arguments.extend(more);
    harness(directory, &arguments)
}

#[test]
fn a_peer_that_runs_already_takes_part() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("small.toml"), SCENARIO).unwrap();
    let broker_port = broker_port();
    let peer = format!("mine={},pid={}", relay(broker_port, 0).0, std::process::id());
    let told = succeeded(beside_direct(directory.path(), &peer, broker_port, &[]));
    let row = told
        .lines()
        .find(|line| line.trim_start().starts_with("mine "))
        .unwrap();
    let cpu = row.split_whitespace().nth(1).unwrap();
    assert!(cpu.parse::<f64>().unwrap() > 0.01, "{told}");
}

/// Both ends of the load speak nothing but TLS, so that whatever lies between them and is measured does too.
#[test]
fn with_tls_nothing_can_be_read_between_clients_and_broker() {
    let directory = tempfile::tempdir().unwrap();
    let kinds = "tls = [\"none\", \"ecdsa\", \"rsa\", \"mtls\"]";
    let scenario = SCENARIO.replace("topics = 3", kinds);
    std::fs::write(directory.path().join("small.toml"), scenario).unwrap();
    let broker_port = broker_port();
    let (address, seen) = relay(broker_port, 0);
    let (peer, broker_port) = (format!("mine={address}"), broker_port.to_string());
    let mut arguments = vec!["run", "small.toml", "--systems", "direct,haproxy-64k,sealwire"];
    arguments.extend(["--peer", &peer, "--broker-port", &broker_port]);
    run(
        directory.path(),
        &[&arguments[..], &["--json", "small.jsonl"]].concat(),
    );
    let [tls, plain] = seen.counts();
    assert!(
        plain[0] > 0 && plain[1] > 0,
        "the relay reads what can be read: {plain:?}"
    );
    assert!(tls[0] == 3 * plain[0] && tls[1] == 0, "{tls:?} {plain:?}");
    let lines = lines(&directory.path().join("small.jsonl"));
    let skipped = lines[0]["skipped"].as_array().unwrap();
    let systems = 4 - skipped.iter().filter(|one| one["what"] == "haproxy-64k").count();
    let rows = lines.iter().filter(|line| line["kind"] == "row");
    assert_eq!(rows.count(), 4 * systems, "a row for each system at each point");
}

#[test]
fn each_request_has_a_connection_of_its_own_where_it_is_to_have_one() {
    let directory = tempfile::tempdir().unwrap();
    for (reconnects, tls) in [(false, "none"), (true, "none"), (true, "ecdsa")] {
        let more = format!("tls = {tls:?}\nreconnects = {reconnects}");
        let scenario = SCENARIO.replace("topics = 3", &more);
        std::fs::write(directory.path().join("small.toml"), scenario).unwrap();
        let broker_port = broker_port();
        let (address, seen) = relay(broker_port, 0);
        let output = beside_direct(
            directory.path(),
            &format!("mine={address}"),
            broker_port,
            &["--json", "small.jsonl"],
        );
        succeeded(output);
        let lines = lines(&directory.path().join("small.jsonl"));
        let of_peer = lines
            .iter()
            .filter(|line| line["kind"] == "sample" && line["system"] == "mine");
        let frames: u64 = of_peer.map(|sample| sample["frames"].as_u64().unwrap()).sum();
        let connections: usize = seen.counts().iter().map(|counts| counts[0]).sum();
        assert!(frames > 10);
        assert_eq!(
            connections as u64 >= frames,
            reconnects,
            "{connections} for {frames}"
        );
    }
}

/// RUN-1: the peer closes the only connection of the first point.
#[test]
fn a_point_that_fails_is_told_and_the_next_one_is_measured() {
    let directory = tempfile::tempdir().unwrap();
    let scenario = SCENARIO.replace("frame_kib = 16", "frame_kib = [4, 16]");
    std::fs::write(directory.path().join("small.toml"), scenario).unwrap();
    let broker_port = broker_port();
    let peer = format!("mine={}", relay(broker_port, 1).0);
    let output = beside_direct(directory.path(), &peer, broker_port, &["--json", "small.jsonl"]);
    let [out, errors] = texts(&output);
    assert!(!output.status.success(), "{out}\n{errors}");
    assert!(
        out.contains("FAILED small: seal 4 KiB, connections 4, topics 3: mine: "),
        "{out}"
    );
    assert!(out.contains("small: rounds: 2, too few for intervals"), "{out}");
    assert!(errors.contains("1 of 2 points failed"), "{errors}");
    let lines = lines(&directory.path().join("small.jsonl"));
    every_field_is_documented(&lines);
    let of_kind = |kind| lines.iter().filter(move |line| line["kind"] == kind);
    let failures: Vec<&Value> = of_kind("failure").collect();
    assert_eq!(failures.len(), 1);
    assert_eq!(failures[0]["point"]["frame_kib"], 4);
    assert!(of_kind("row").count() == 2 && of_kind("row").all(|row| row["point"]["frame_kib"] == 16));
}

/// KEPT-1: what is told of a run that a signal ends is where the samples are.
#[test]
fn a_run_that_is_interrupted_says_what_was_kept() {
    let directory = tempfile::tempdir().unwrap();
    let scenario = SCENARIO
        .replace("frame_kib = 16", "frame_kib = [4, 16]")
        .replace("rounds = 2", "rounds = 500");
    std::fs::write(directory.path().join("small.toml"), scenario).unwrap();
    let arguments = [
        "run",
        "small.toml",
        "--systems",
        "direct",
        "--json",
        "small.jsonl",
    ];
    let (harness, samples) = (
        start(directory.path(), &arguments),
        directory.path().join("small.jsonl"),
    );
    let has_samples =
        || std::fs::read_to_string(&samples).is_ok_and(|text| text.contains(r#""kind":"sample""#));
    wait::until("a sample", Duration::from_secs(60), || {
        has_samples().then_some(())
    });
    let id = Pid::from_raw(i32::try_from(harness.id()).unwrap()).unwrap();
    kill_process(id, Signal::INT).unwrap();
    let output = harness.wait_with_output().unwrap();
    let [out, errors] = texts(&output);
    assert_eq!(output.status.code(), Some(130), "{out}\n{errors}");
    assert!(
        errors.contains("interrupted after 0 measured points: their samples and rows are in small.jsonl"),
        "{errors}"
    );
    assert!(errors.contains("no --record"), "{errors}");
}

/// TERMINAL-1, as `bench-harness run … | head -1`.
#[test]
fn a_run_whose_reader_goes_ends_without_a_word() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("small.toml"), SCENARIO).unwrap();
    let mut harness = start(directory.path(), &["run", "small.toml", "--systems", "direct"]);
    let mut line = String::new();
    BufReader::new(harness.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    assert!(!line.is_empty());
    let output = harness.wait_with_output().unwrap();
    let [_, errors] = texts(&output);
    assert_eq!(output.status.code(), Some(141), "{errors}");
    assert!(
        !errors.contains("panicked") && !errors.contains("interrupted"),
        "{errors}"
    );
}

/// One that is not waited for.
fn start(directory: &Path, arguments: &[&str]) -> Child {
    let mut harness = command(directory, arguments);
    harness.stdout(Stdio::piped()).stderr(Stdio::piped());
    harness.spawn().unwrap()
}

#[test]
fn two_executors_share_the_work() {
    let directory = tempfile::tempdir().unwrap();
    let scenario = SCENARIO
        .replace("connections = 4", "connections = 64\nexecutors = [1, 2]")
        .replace("topics = 3", "rate_mb_per_s = 30.0");
    std::fs::write(directory.path().join("small.toml"), scenario).unwrap();
    run(
        directory.path(),
        &[
            "run",
            "small.toml",
            "--systems",
            "sealwire",
            "--json",
            "small.jsonl",
        ],
    );
    let lines = lines(&directory.path().join("small.jsonl"));
    let rows = lines.iter().filter(|line| line["kind"] == "row");
    let shares: Vec<f64> = rows
        .map(|row| {
            row["measures"]["busiest_thread_share"]["median"]
                .as_f64()
                .unwrap()
        })
        .collect();
    assert!(shares.len() == 2 && shares[0] > 0.95, "{shares:?}");
    assert!((0.4..0.9).contains(&shares[1]), "{shares:?}");
}

#[test]
fn what_is_wrong_with_a_scenario_is_told_with_its_file() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(
        directory.path().join("wrong.toml"),
        format!("connection = 3\n{SCENARIO}"),
    )
    .unwrap();
    let output = harness(directory.path(), &["run", "wrong.toml"]);
    let [_, errors] = texts(&output);
    assert!(!output.status.success());
    assert_eq!(errors.matches("scenario ").count(), 1, "{errors}");
    assert!(
        errors.contains("wrong.toml") && errors.contains("connection"),
        "{errors}"
    );
}

/// Nothing has been started by then.
#[test]
fn what_a_run_names_and_is_not_there_is_told_first() {
    let directory = tempfile::tempdir().unwrap();
    let whom = SCENARIO.replace("divided_by = \"sealwire-pass\"", "divided_by = \"haproxi\"");
    for (name, scenario) in [("small.toml", SCENARIO), ("whom.toml", &whom)] {
        std::fs::write(directory.path().join(name), scenario).unwrap();
    }
    let cases: [(&[&str], &str); 3] = [
        (
            &["whom.toml", "--program", "/bin/true"],
            "scenario whom: no system haproxi: direct, ",
        ),
        (
            &["small.toml", "--program", "none/sealwire"],
            "--program none/sealwire: there is no such file",
        ),
        (
            &["small.toml", "--peer", "mine=127.0.0.1:1,pid=4000000000"],
            "--peer mine: there is no process 4000000000",
        ),
    ];
    for (arguments, told) in cases {
        let output = Command::new(env!("CARGO_BIN_EXE_bench-harness"))
            .current_dir(directory.path())
            .arg("run")
            .args(arguments)
            .output()
            .unwrap();
        let [out, errors] = texts(&output);
        assert!(!output.status.success() && out.is_empty(), "{out}");
        assert!(errors.contains(told), "{errors}");
    }
}
