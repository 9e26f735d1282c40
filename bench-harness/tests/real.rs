//! A small scenario with a real broker, a Java client and librdkafka, and the real proxy.
#![cfg(feature = "measurements")]

#[expect(dead_code, reason = "other tests use more of it")]
#[path = "../../tests/support/configuration.rs"]
mod configuration;

use std::fs::Permissions;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use self::configuration::{Cluster, Configuration};

const SCENARIO: &str = r#"
summary = "a real broker in small"
what = "open"
client = ["java", "librdkafka"]
frame_kib = 16
record_bytes = 1000
systems = ["direct", "haproxy-64k", "sealwire"]
rounds = 1
sample_ms = 20
warm_up_ms = 10
"#;

const PACED: &str = r#"
summary = "fetched as it comes"
what = "open"
client = "librdkafka"
frame_kib = 16
record_bytes = 1000
rate_mb_per_s = 5.0
systems = ["direct", "sealwire"]
rounds = 1
sample_ms = 300
warm_up_ms = 10
"#;

/// A proxy that runs before there is a broker, and lets everything pass.
struct Peer {
    process: Child,
    port: u16,
    broker_port: u16,
}

impl Peer {
    fn start(program: &Path, directory: &Path) -> Self {
        let listeners = [(); 4].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
        let [broker_port, port, node_port, admin_port] =
            listeners.map(|listener| listener.local_addr().unwrap().port());
        let cluster = Cluster {
            brokers: vec![format!("127.0.0.1:{broker_port}")],
            port,
            nodes: vec![(1, node_port)],
            rules: "[[cluster.main.topics]]\nmatch = \"*\"\npass = true\n",
            ..Cluster::default()
        };
        let text = Configuration::with("[runtime]\nexecutors = 1\n")
            .cluster(&cluster)
            .admin(admin_port)
            .text();
        let file = directory.join("peer.toml");
        std::fs::write(&file, text).unwrap();
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "--"]).arg(program);
        command.args(["run", "--config"]).arg(&file);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        Self {
            process: command.spawn().unwrap(),
            port,
            broker_port,
        }
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "programs are found as they are for everybody"
)]
fn who_has_no_kafka_is_told_what_fetches_it() {
    let directory = tempfile::tempdir().unwrap();
    let maven = directory.path().join("mvn");
    std::fs::write(&maven, "#!/bin/sh\necho no network here\nexit 1\n").unwrap();
    std::fs::set_permissions(&maven, Permissions::from_mode(0o755)).unwrap();
    let path = std::env::var("PATH").unwrap();
    let mut harness = Command::new(env!("CARGO_BIN_EXE_bench-harness"));
    harness
        .args(["run", "--real", "--program", "/bin/true"])
        .env("SEALWIRE_TEST_CACHE", directory.path().join("cache"))
        .env("PATH", format!("{}:{path}", directory.path().display()));
    let output = harness.output().unwrap();
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success());
    for part in [
        "--real: Kafka 4.3.1 is not in .cache/",
        "\"mvn\"",
        "no network here",
    ] {
        assert!(errors.contains(part), "{errors}");
    }
    assert!(!errors.contains("panicked"), "{errors}");
}

/// That records are sealed and opened, and that no client went past a relay, the harness itself has to see.
#[test]
fn a_real_broker_is_driven_through_every_system() {
    let directory = tempfile::tempdir().unwrap();
    for (name, scenario) in [("small.toml", SCENARIO), ("paced.toml", PACED)] {
        std::fs::write(directory.path().join(name), scenario).unwrap();
    }
    let harness = Path::new(env!("CARGO_BIN_EXE_bench-harness"));
    let mut command = Command::new(harness);
    command.current_dir(directory.path()).args([
        "run",
        "--real",
        "small.toml",
        "paced.toml",
        "--json",
        "small.jsonl",
    ]);
    let beside = harness.with_file_name("sealwire");
    // Where it has not been built the harness builds it, and nobody is there beforehand.
    let peer = beside.is_file().then(|| Peer::start(&beside, directory.path()));
    if let Some(peer) = &peer {
        let of_peer = format!("mine=127.0.0.1:{},pid={}", peer.port, peer.process.id());
        command.arg("--program").arg(beside);
        command.args(["--peer", &of_peer, "--broker-port", &peer.broker_port.to_string()]);
    }
    let output = command.output().unwrap();
    let [out, errors] = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
    assert!(output.status.success(), "{out}\n{errors}");
    let text = std::fs::read_to_string(directory.path().join("small.jsonl")).unwrap();
    let lines: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let turns_of = |scenario| {
        let turns = lines
            .iter()
            .filter(|line| line["kind"] == "sample" && !line["round"].is_null());
        let turns = turns.filter(move |line| line["scenario"] == scenario);
        turns.collect::<Vec<&Value>>()
    };
    let turns = turns_of("small");
    let skipped = lines[0]["skipped"].as_array().unwrap();
    let systems =
        3 + usize::from(peer.is_some()) - skipped.iter().filter(|one| one["what"] == "haproxy-64k").count();
    assert_eq!(turns.len(), 2 * systems, "{out}");
    for turn in turns {
        let records = turn["records"].as_u64().unwrap();
        assert!(
            records >= 1000 && turn["bytes"].as_u64() == Some(records * 1000),
            "{turn}"
        );
        assert!(turn["broker_cpu_ns"].as_u64().unwrap() > 0, "{turn}");
        assert_eq!(turn["of_system"].is_null(), turn["system"] == "direct", "{turn}");
    }
    assert!(out.contains("the broker, with sealwire: "), "{out}");
    // FOLLOWING-1: records that nobody has opened would not be what was produced.
    let paced = turns_of("paced");
    assert_eq!(paced.len(), 2 + usize::from(peer.is_some()), "{out}");
    for turn in paced {
        let p50 = turn["latency_ns"]["p50"].as_u64().unwrap();
        // A producer lingers for 5 ms, and a fetch waits for 500 ms at most.
        assert!((1_000_000..400_000_000).contains(&p50), "{turn}");
        assert!(turn["records"].as_u64() >= Some(1500), "{turn}");
    }
}
