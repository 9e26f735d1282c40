//! What the documents say that the program costs is what was recorded last.

use serde_json::Value;

use super::read;

/// What was recorded last of a scenario at frames of that size.
fn recorded(scenario: &str, direction: &str, frame_kib: u64) -> Value {
    let history = read("perf/history.jsonl");
    let runs = history
        .lines()
        .rev()
        .map(|line| serde_json::from_str::<Value>(line).expect("a line of JSON"));
    runs.flat_map(|run| run["rows"].as_array().expect("rows").clone())
        .find(|row| {
            let point = &row["point"];
            (&row["scenario"], &row["system"]) == (&scenario.into(), &"sealwire".into())
                && (&point["direction"], &point["frame_kib"]) == (&direction.into(), &frame_kib.into())
        })
        .unwrap_or_else(|| panic!("{scenario}, {direction}, {frame_kib} KiB: never recorded"))
}

/// The median ratio of CPU per GB to HAProxy with buffers of 64 KiB, in frames of 64 KiB.
fn ratio(scenario: &str, direction: &str) -> f64 {
    let row = recorded(scenario, direction, 64);
    let comparisons = row["comparisons"].as_array().expect("comparisons");
    let ratio = comparisons
        .iter()
        .find(|compared| compared["of"] == "cpu_s_per_gb" && compared["with"] == "haproxy-64k");
    ratio
        .and_then(|ratio| ratio["spread"]["median"].as_f64())
        .expect("a ratio")
}

/// The document's text in one line.
fn text_of(path: &str) -> String {
    read(path).split_whitespace().collect::<Vec<_>>().join(" ")
}

fn says(path: &str, what: &str) {
    assert!(text_of(path).contains(what), "{path} has to say: {what}");
}

#[test]
fn what_readme_says_of_costs_is_what_was_recorded_last() {
    says(
        "README.md",
        &format!(
            "passing {:.2} times as much when producing and {:.2} when fetching, sealing {:.2}, opening {:.2}",
            ratio("pass", "produce"),
            ratio("pass", "fetch"),
            ratio("seal", "produce"),
            ratio("open", "fetch"),
        ),
    );
    let memory: Value = serde_json::from_str(&read("perf/memory.json")).expect("JSON");
    let peak = memory["measured"]["busy_peak_bytes"]
        .as_f64()
        .expect("a number of bytes");
    let peak = peak / f64::from(1 << 20);
    says(
        "README.md",
        &format!("100 busy connections peaks at [{peak:.0} MiB]"),
    );
}

#[test]
fn hosts_are_sized_by_what_was_recorded_last() {
    let kinds = [
        ("passed, produced", "pass", "produce"),
        ("sealed", "seal", "produce"),
        ("opened", "open", "fetch"),
    ];
    let mut at_64_kib = Vec::new();
    for (name, scenario, direction) in kinds {
        let cells = [16, 64, 512].map(|frame_kib| {
            let row = recorded(scenario, direction, frame_kib);
            row["measures"]["cpu_s_per_gb"]["median"]
                .as_f64()
                .expect("seconds")
        });
        let [small, middle, large] = cells.map(|seconds| format!("{seconds:.2}"));
        says(
            "docs/performance.md",
            &format!("| {name} | {small} s/GB | {middle} s/GB | {large} s/GB |"),
        );
        at_64_kib.push(middle);
    }
    let [_, sealed, opened] = &at_64_kib[..] else {
        unreachable!()
    };
    let [sealing, opening] = [sealed, opened].map(|seconds| seconds.parse::<f64>().expect("a number"));
    let sum = 0.2_f64.mul_add(sealing, 0.6 * opening);
    says(
        "docs/performance.md",
        &format!("0.2 × {sealed} + 3 × 0.2 × {opened} = {sum:.2} s a second"),
    );
}
