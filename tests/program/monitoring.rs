//! What ships for Prometheus and Grafana: its queries are such, name metrics and labels that the program has, and each
//! alert comes when it should, and else does not.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;
use tempfile::TempDir;

use crate::support::package_files::taken_out;

type TestResult = Result<(), Box<dyn std::error::Error>>;

/// For each alert what brings it: series and their values, one a minute.
const FIRE: [(&str, &[(&str, &str)]); 30] = [
    (
        "SealwireTampering",
        &[(
            r#"sealwire_refused_partitions_total{operation="fetch",reason="tag"}"#,
            BORN,
        )],
    ),
    (
        "SealwireKekRefused",
        &[(
            r#"sealwire_refused_partitions_total{operation="produce",reason="kek_refused"}"#,
            GROWS,
        )],
    ),
    (
        "SealwireKeysLate",
        &[(
            r#"sealwire_refused_partitions_total{operation="produce",reason="kms_unavailable"}"#,
            GROWS,
        )],
    ),
    (
        "SealwireBatchesTooLarge",
        &[(
            r#"sealwire_refused_partitions_total{operation="produce",reason="too_large_for_broker"}"#,
            GROWS,
        )],
    ),
    (
        "SealwireForbiddenUse",
        &[(
            r#"sealwire_refused_partitions_total{operation="fetch",reason="not_named"}"#,
            GROWS,
        )],
    ),
    (
        "SealwireKmsAway",
        &[(r#"sealwire_kms_available{kms="vault"}"#, "0x20")],
    ),
    (
        "SealwireKmsAwayForLong",
        &[(r#"sealwire_kms_outage_seconds{kms="vault"}"#, "1000+60x20")],
    ),
    (
        "SealwireKeysLapsed",
        &[(r#"sealwire_kek_lapses_total{kms="vault"}"#, GROWS)],
    ),
    (
        "SealwireKeyRevoked",
        &[(r#"sealwire_kek_revocations_total{kms="vault"}"#, GROWS)],
    ),
    (
        "SealwireKmsWrongKey",
        &[(r#"sealwire_kms_wrong_deks_total{kms="vault"}"#, GROWS)],
    ),
    (
        "SealwireKeystoreStale",
        &[(r#"sealwire_kms_stale{kms="local"}"#, "1x20")],
    ),
    (
        "SealwireKeyringsDiffer",
        &[
            (
                r#"sealwire_stable_key_info{domain="orders",key="00000001",instance="a"}"#,
                "1x20",
            ),
            (
                r#"sealwire_stable_key_info{domain="orders",key="00000002",instance="b"}"#,
                "1x20",
            ),
        ],
    ),
    (
        "SealwireKeyringsDiffer",
        &[
            (r#"sealwire_keyring_info{fingerprint="0a",instance="a"}"#, "1x20"),
            (r#"sealwire_keyring_info{fingerprint="0b",instance="b"}"#, "1x20"),
        ],
    ),
    (
        "SealwireKeyringNotUsable",
        &[("sealwire_keyring_current", "0x20")],
    ),
    (
        "SealwireKeyringNotUsable",
        &[(r#"sealwire_keyring_keys{state="refused"}"#, "1x20")],
    ),
    (
        "SealwireKeyMemoryUnprotected",
        &[(r#"sealwire_key_memory_protected{protection="locked"}"#, "0x20")],
    ),
    (
        "SealwireCertificateEnds",
        &[(
            r#"sealwire_tls_certificate_left_seconds{path="a.pem"}"#,
            "605000-60x20",
        )],
    ),
    (
        "SealwireRevocationListEnds",
        &[(
            r#"sealwire_tls_revocations_left_seconds{path="a.crl"}"#,
            "87000-60x20",
        )],
    ),
    (
        "SealwireFileNotTaken",
        &[(r#"sealwire_access_file_current{kind="credentials"}"#, "0x20")],
    ),
    (
        "SealwireBrokerLoginsFail",
        &[(
            r#"sealwire_broker_logins_total{kind="one",result="refused"}"#,
            GROWS,
        )],
    ),
    (
        "SealwireKeySetOld",
        &[("sealwire_key_set_fetched_timestamp_seconds", "-7000x20")],
    ),
    (
        "SealwireDelegationTokensFail",
        &[("sealwire_delegation_token_failures_total", GROWS)],
    ),
    ("SealwireDown", &[(r#"up{job="sealwire"}"#, "1 1 0x18")]),
    (
        "SealwireExecutorHangs",
        &[
            ("sealwire_executors_answering", "1x20"),
            ("sealwire_executors", "2x20"),
        ],
    ),
    (
        "SealwireFault",
        &[(r#"sealwire_connections_closed_total{reason="internal"}"#, GROWS)],
    ),
    (
        "SealwireBrokersAway",
        &[(
            r#"sealwire_connections_closed_total{reason="connect_failed"}"#,
            GROWS,
        )],
    ),
    ("SealwireBrokersHidden", &[("sealwire_hidden_brokers", "1x20")]),
    ("SealwireFramesQueued", &[("sealwire_frames_queued", "3x20")]),
    ("SealwireAuditHeld", &[("sealwire_audit_held", "1x20")]),
    ("SealwireAuditDropped", &[("sealwire_audit_dropped_total", GROWS)]),
];

/// Nothing at first, which is a counter's first sight, and from then on more with each minute.
const GROWS: &str = "0 0 0 1+1x17";

/// There is none before it counts one.
const BORN: &str = "_x17 1x2";

/// A program that is well, and busy: no alert comes of it.
const CALM: [(&str, &str); 26] = [
    (
        r#"sealwire_refused_partitions_total{operation="fetch",reason="tag"}"#,
        "7x20",
    ),
    (
        r#"sealwire_refused_partitions_total{operation="produce",reason="kms_unavailable"}"#,
        "7x20",
    ),
    (
        r#"sealwire_refused_partitions_total{operation="fetch",reason="kms_unavailable"}"#,
        GROWS,
    ),
    (r#"sealwire_kms_available{kms="vault"}"#, "1x8 0 1x10"),
    (r#"sealwire_kms_outage_seconds{kms="vault"}"#, "0x8 30 0x10"),
    (r#"sealwire_kek_lapses_total{kms="vault"}"#, "2x20"),
    (r#"sealwire_kek_revocations_total{kms="vault"}"#, "2x20"),
    (r#"sealwire_kms_stale{kms="local"}"#, "0x20"),
    (
        r#"sealwire_stable_key_info{domain="orders",key="00000001",instance="a"}"#,
        "1x20",
    ),
    (
        r#"sealwire_stable_key_info{domain="orders",key="00000001",instance="b"}"#,
        "1x20",
    ),
    (
        r#"sealwire_stable_key_info{domain="other",key="00000002",instance="a"}"#,
        "1x20",
    ),
    (r#"sealwire_keyring_info{fingerprint="0a",instance="a"}"#, "1x20"),
    (r#"sealwire_keyring_current"#, "1x20"),
    (r#"sealwire_keyring_keys{state="refused"}"#, "0x20"),
    (r#"sealwire_key_memory_protected{protection="locked"}"#, "1x20"),
    (
        r#"sealwire_tls_certificate_left_seconds{path="a.pem"}"#,
        "700000-60x20",
    ),
    (
        r#"sealwire_tls_revocations_left_seconds{path="a.crl"}"#,
        "90000-60x20",
    ),
    (r#"sealwire_access_file_current{kind="credentials"}"#, "1x20"),
    (
        r#"sealwire_broker_logins_total{kind="one",result="accepted"}"#,
        GROWS,
    ),
    ("sealwire_key_set_fetched_timestamp_seconds", "0+60x20"),
    ("sealwire_executors_answering", "2x20"),
    ("sealwire_executors", "2x20"),
    (
        r#"sealwire_connections_closed_total{reason="client_closed"}"#,
        GROWS,
    ),
    ("sealwire_hidden_brokers", "0x20"),
    ("sealwire_frames_queued", "0 2 0x20"),
    ("sealwire_audit_held", "0x20"),
];

/// Series with their values, and the alerts that are to be there at the end.
type World<'a> = (&'a [(&'a str, &'a str)], &'a [&'a str]);

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("config/monitoring")
}

fn rules() -> PathBuf {
    folder().join("sealwire-rules.yml")
}

/// Every query of the dashboard, with what Grafana puts in for its variables.
fn dashboard_queries() -> Result<Vec<String>, Box<dyn std::error::Error>> {
    let dashboard: Value =
        serde_json::from_str(&fs::read_to_string(folder().join("sealwire-dashboard.json"))?)?;
    let panels = dashboard["panels"].as_array().ok_or("no panels")?;
    let targets = panels
        .iter()
        .filter_map(|panel| panel["targets"].as_array())
        .flatten();
    let queries = targets.map(|target| {
        let query = target["expr"].as_str().ok_or("a target without a query")?;
        Ok(query.replace("$__rate_interval", "1m").replace("$instance", ".*"))
    });
    queries.collect()
}

fn promtool(arguments: &[&str], file: &Path) -> Result<Output, std::io::Error> {
    Command::new(taken_out("prometheus", "usr/bin/promtool"))
        .args(arguments)
        .arg(file)
        .output()
}

fn said(output: &Output) -> String {
    [&output.stdout, &output.stderr]
        .map(|bytes| String::from_utf8_lossy(bytes))
        .concat()
}

/// What promtool says of these.
fn tried(worlds: &[World<'_>]) -> Result<Output, Box<dyn std::error::Error>> {
    let mut text = format!("rule_files: [ {:?} ]\nevaluation_interval: 1m\ntests:\n", rules());
    for (series, alerts) in worlds {
        text.push_str("  - interval: 1m\n    input_series:\n");
        for (series, values) in *series {
            writeln!(text, "      - series: '{series}'\n        values: '{values}'")?;
        }
        text.push_str("    promql_expr_test:\n");
        let query = r#"count by (alertname) (ALERTS{alertstate="firing"})"#;
        writeln!(text, "      - expr: '{query}'\n        eval_time: 19m")?;
        text.push_str(if alerts.is_empty() {
            "        exp_samples: []\n"
        } else {
            "        exp_samples:\n"
        });
        for alert in *alerts {
            writeln!(
                text,
                "          - {{ labels: '{{alertname=\"{alert}\"}}', value: 1 }}"
            )?;
        }
    }
    let scratch = TempDir::new()?;
    let file = scratch.path().join("tests.yml");
    fs::write(&file, text)?;
    Ok(promtool(&["test", "rules"], &file)?)
}

#[test]
fn each_alert_comes_when_it_should_and_alone() -> TestResult {
    let text = fs::read_to_string(rules())?;
    let there_are: BTreeSet<&str> = text
        .lines()
        .filter_map(|line| line.trim().strip_prefix("- alert: "))
        .collect();
    let tried_are: BTreeSet<&str> = FIRE.iter().map(|(alert, _)| *alert).collect();
    assert_eq!(tried_are, there_are);
    let names: Vec<[&str; 1]> = FIRE.iter().map(|(alert, _)| [*alert]).collect();
    let mut worlds: Vec<World<'_>> = FIRE
        .iter()
        .zip(&names)
        .map(|((_, series), name)| (*series, &name[..]))
        .collect();
    worlds.push((&CALM, &[]));
    let output = tried(&worlds)?;
    assert!(output.status.success(), "{}", said(&output));

    // It does look.
    let output = tried(&[(&CALM, &["SealwireKmsAway"])])?;
    assert!(!output.status.success(), "{}", said(&output));
    Ok(())
}

#[test]
fn every_query_is_one() -> TestResult {
    let output = promtool(&["check", "rules"], &rules())?;
    assert!(output.status.success(), "{}", said(&output));

    let queries = dashboard_queries()?;
    assert!(queries.len() > 30, "{}", queries.len());
    let mut text = "groups:\n  - name: dashboard\n    rules:\n".to_owned();
    for (number, query) in queries.iter().enumerate() {
        writeln!(text, "      - record: query_{number}\n        expr: '{query}'")?;
    }
    let scratch = TempDir::new()?;
    let file = scratch.path().join("queries.yml");
    fs::write(&file, text)?;
    let output = promtool(&["check", "rules"], &file)?;
    assert!(output.status.success(), "{}", said(&output));
    Ok(())
}

/// docs/metrics.md is compared with the program by a unit test.
#[test]
fn every_metric_and_label_is_the_programs() -> TestResult {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/metrics.md"))?;
    let mut queries = dashboard_queries()?;
    queries.push(fs::read_to_string(rules())?);
    let mut found = 0;
    for query in &queries {
        for (metric, labels) in selectors(query) {
            let base = ["_bucket", "_count", "_sum"]
                .iter()
                .find_map(|suffix| {
                    metric
                        .strip_suffix(suffix)
                        .filter(|_| metric.contains("_seconds_"))
                })
                .unwrap_or(metric);
            let row = text
                .lines()
                .find(|line| line.starts_with(&format!("| `{base}` |")));
            let row = row.ok_or_else(|| format!("{base} is not in docs/metrics.md: {query}"))?;
            for label in labels {
                let is_known = label == "instance" || row.contains(&format!("`{label}`"));
                assert!(is_known, "{base} has no label {label}: {query}");
            }
            found += 1;
        }
    }
    assert!(found > 60, "{found}");
    Ok(())
}

/// Each metric of a query, with the labels by which it is narrowed down.
fn selectors(query: &str) -> Vec<(&str, Vec<&str>)> {
    let mut found = Vec::new();
    let starts = ["sealwire_", "process_"]
        .iter()
        .flat_map(|prefix| query.match_indices(prefix));
    for (start, _) in starts {
        let rest = &query[start..];
        let end = rest.find(|letter: char| !(letter.is_ascii_alphanumeric() || letter == '_'));
        let (metric, behind) = rest.split_at(end.unwrap_or(rest.len()));
        let within = behind.strip_prefix('{').and_then(|behind| behind.split_once('}'));
        let labels = within.map_or_else(Vec::new, |(within, _)| {
            let matchers = within.split(',').filter_map(|matcher| matcher.split_once('='));
            matchers
                .map(|(label, _)| label.trim().trim_end_matches('!'))
                .collect()
        });
        found.push((metric, labels));
    }
    found
}
