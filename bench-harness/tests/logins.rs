//! A few logins of each kind, with a real broker and the real proxy.
#![cfg(feature = "measurements")]

use std::path::Path;
use std::process::Command;

/// That somebody leads, the harness itself has to see.
#[test]
fn each_kind_of_login_is_measured() {
    let harness = Path::new(env!("CARGO_BIN_EXE_bench-harness"));
    let mut command = Command::new(harness);
    command.args([
        "logins",
        "--rounds",
        "2",
        "--connections",
        "2",
        "--warm-up",
        "1",
        "--no-write",
    ]);
    // Where it has not been built the harness builds it.
    let beside = harness.with_file_name("sealwire");
    if beside.is_file() {
        command.arg("--program").arg(beside);
    }
    let output = command.output().unwrap();
    let [out, errors] = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
    assert!(output.status.success(), "{out}\n{errors}");
    let rows: Vec<Vec<&str>> = out
        .lines()
        .filter(|line| line.starts_with("| "))
        .map(|line| line.trim_matches('|').split('|').map(str::trim).collect())
        .skip(1)
        .collect();
    let kinds: Vec<[&str; 2]> = rows.iter().map(|row| [row[0], row[1]]).collect();
    assert_eq!(kinds, KINDS, "{out}");
    for row in rows {
        let [p50, p99, cpu] = [2, 3, 4].map(|column| row[column].parse::<f64>().unwrap());
        assert!(0.0 < p50 && p50 <= p99 && 0.0 < cpu, "{row:?}");
    }
}

const KINDS: [[&str; 2]; 11] = [
    ["without TLS", "nobody, without TLS"],
    ["TLS", "nobody"],
    ["TLS with a certificate", "the proxy's certificate"],
    ["SCRAM-SHA-256", "nobody"],
    ["SCRAM-SHA-512", "nobody"],
    ["PLAIN", "nobody"],
    ["OAUTHBEARER", "nobody"],
    ["SCRAM-SHA-256", "`one`, by SCRAM-SHA-256"],
    ["SCRAM-SHA-256", "`per_principal`, by SCRAM-SHA-256"],
    ["SCRAM-SHA-256", "`delegation_tokens`"],
    ["OAUTHBEARER", "`forward_token`"],
];
