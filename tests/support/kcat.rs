//! kcat, the command-line client on Debian's librdkafka 2.0: a specimen of old clients.

use std::io::Write;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use serde::Deserialize;

use super::{artifacts, cache};

/// What kcat prints for a record with `-J`. Keys and values are text.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct KcatRecord {
    pub(crate) partition: i32,
    pub(crate) offset: i64,
    #[serde(rename = "ts")]
    pub(crate) timestamp: i64,
    pub(crate) key: Option<String>,
    #[serde(rename = "payload")]
    pub(crate) value: Option<String>,
    /// Names and values in turn.
    #[serde(default)]
    pub(crate) headers: Vec<String>,
}

/// Produces one record for each `key\tvalue` of `records`, all with the same headers.
pub(crate) fn produce(
    bootstrap: &str,
    topic: &str,
    partition: i32,
    properties: &[&str],
    headers: &[(&str, &str)],
    records: &[(&str, &str)],
) {
    let mut command = kcat(bootstrap, properties);
    command.args(["-P", "-t", topic, "-p", &partition.to_string(), "-K", "\t"]);
    for (name, value) in headers {
        command.arg("-H").arg(format!("{name}={value}"));
    }
    let mut child = command
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("starting kcat");
    let mut input = child.stdin.take().expect("standard input is a pipe");
    for (key, value) in records {
        writeln!(input, "{key}\t{value}").expect("kcat reads its input");
    }
    drop(input);
    let output = child.wait_with_output().expect("waiting for kcat");
    assert!(
        output.status.success(),
        "kcat: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// Reads a partition from the beginning to its end.
pub(crate) fn consume(bootstrap: &str, topic: &str, partition: i32, properties: &[&str]) -> Vec<KcatRecord> {
    let mut command = kcat(bootstrap, properties);
    command.args([
        "-C",
        "-J",
        "-e",
        "-q",
        "-o",
        "beginning",
        "-t",
        topic,
        "-p",
        &partition.to_string(),
    ]);
    let output = command.output().expect("starting kcat");
    assert!(
        output.status.success(),
        "kcat: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    // Straight from the broker, sealed records are anything but text.
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect()
}

/// Asks for the names of topics; if it cannot, what kcat prints of why. It tries for `limit`, to the second.
pub(crate) fn try_reach(bootstrap: &str, properties: &[&str], limit: Duration) -> Result<(), String> {
    let mut command = kcat(bootstrap, properties);
    let Output { status, stderr, .. } = command
        .args(["-L", "-m", &limit.as_secs().to_string()])
        .output()
        .expect("starting kcat");
    match status.success() {
        true => Ok(()),
        false => Err(String::from_utf8_lossy(&stderr).into_owned()),
    }
}

fn kcat(bootstrap: &str, properties: &[&str]) -> Command {
    // A kcat that cannot reach its broker would wait for ever.
    let mut command = Command::new("timeout");
    cache::leave_cargo(&mut command);
    command.args(["60", artifacts::kcat(), "-b", bootstrap]);
    for property in properties {
        command.args(["-X", property]);
    }
    command
}
