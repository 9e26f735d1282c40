//! A small scenario with a real broker, a Java client and librdkafka, and the real proxy.
#![cfg(feature = "measurements")]

use std::path::Path;
use std::process::Command;

use serde_json::Value;

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

/// That records are sealed and opened, and that no client went past a relay, the harness itself has to see.
#[test]
fn a_real_broker_is_driven_through_every_system() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("small.toml"), SCENARIO).unwrap();
    let harness = Path::new(env!("CARGO_BIN_EXE_bench-harness"));
    let mut command = Command::new(harness);
    command
        .current_dir(directory.path())
        .args(["run", "--real", "small.toml", "--json", "small.jsonl"]);
    let beside = harness.with_file_name("sealwire");
    if beside.is_file() {
        command.arg("--program").arg(beside);
    }
    let output = command.output().unwrap();
    let [out, errors] = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
    assert!(output.status.success(), "{out}\n{errors}");
    let text = std::fs::read_to_string(directory.path().join("small.jsonl")).unwrap();
    let lines: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let turns: Vec<&Value> = lines
        .iter()
        .filter(|line| line["kind"] == "sample" && !line["round"].is_null())
        .collect();
    let skipped = lines[0]["skipped"].as_array().unwrap();
    let systems = 3 - skipped.iter().filter(|one| one["what"] == "haproxy-64k").count();
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
}
