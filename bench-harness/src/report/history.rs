//! `perf/history.jsonl`: a line for each recorded run, with its rows and limits.

use std::collections::BTreeSet;
use std::fmt::Display;
use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::{Recorded, SCHEMA, directory};
use crate::Failure;

#[derive(Serialize)]
struct Line<'a> {
    schema: u32,
    kind: &'static str,
    #[serde(flatten)]
    recorded: &'a Recorded,
}

/// Where it is.
pub(crate) fn path() -> Result<PathBuf, Failure> {
    Ok(directory()?.join("history.jsonl"))
}

/// Appends a run to the file there.
pub(super) fn record(path: &Path, recorded: &Recorded) -> Result<(), Failure> {
    let line = Line {
        schema: SCHEMA,
        kind: RECORDED,
        recorded,
    };
    let mut text = serde_json::to_string(&line)?;
    text.push('\n');
    let mut file = OpenOptions::new().create(true).append(true).open(path)?;
    Ok(file.write_all(text.as_bytes())?)
}

/// The recorded run of that name: `last`, `last~1` (the one before), when it began, or the beginning of its commit.
pub(crate) fn find(name: &str) -> Result<Recorded, Failure> {
    let (path, text) = read()?;
    let line = choose(&text, name)?.ok_or_else(|| format!("no recorded run {name} in {}", path.display()))?;
    Ok(serde_json::from_str(line)?)
}

/// Whether a file is a history, and not of one run.
pub(crate) fn is_one(path: &Path) -> bool {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let first: Option<serde_json::Value> = text
        .lines()
        .next()
        .and_then(|line| serde_json::from_str(line).ok());
    first.is_some_and(|line| line["kind"] == RECORDED)
}

/// All runs of the file that this program understands, the oldest first.
pub(crate) fn all(path: &Path) -> Result<Vec<Recorded>, Failure> {
    let named = |error: &dyn Display| format!("{}: {error}", path.display());
    let text = std::fs::read_to_string(path).map_err(|error| named(&error))?;
    let mut all = Vec::new();
    for line in text.lines() {
        let value: serde_json::Value = serde_json::from_str(line).map_err(|error| named(&error))?;
        if value["schema"] == SCHEMA {
            all.push(serde_json::from_value(value).map_err(|error| named(&error))?);
        }
    }
    Ok(all)
}

/// Of each scenario the newest run, the newest run first; a run has only the scenarios that no newer one has.
pub(crate) fn newest(all: &[Recorded]) -> Vec<Recorded> {
    let (mut seen, mut newest) = (BTreeSet::new(), Vec::new());
    for recorded in all.iter().rev() {
        let mut recorded = recorded.clone();
        recorded
            .run
            .scenarios
            .retain(|scenario| seen.insert(scenario.clone()));
        if !recorded.run.scenarios.is_empty() {
            newest.push(recorded);
        }
    }
    newest
}

fn read() -> Result<(PathBuf, String), Failure> {
    let path = path()?;
    let text = std::fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    Ok((path, text))
}

fn choose<'a>(text: &'a str, name: &str) -> Result<Option<&'a str>, Failure> {
    let back = match name.strip_prefix("last") {
        Some("") => Some(0),
        Some(rest) => rest.strip_prefix('~').and_then(|back| back.parse::<usize>().ok()),
        None => None,
    };
    for (place, line) in text.lines().rev().enumerate() {
        let value: serde_json::Value = serde_json::from_str(line)?;
        let [started, commit] =
            ["started", "commit"].map(|field| value["run"][field].as_str().unwrap_or_default());
        let is_named = match back {
            Some(back) => back == place,
            None => started == name || (name.len() >= COMMIT_DIGITS_MIN && commit.starts_with(name)),
        };
        if is_named {
            return Ok(Some(line));
        }
    }
    Ok(None)
}

const RECORDED: &str = "recorded";
const COMMIT_DIGITS_MIN: usize = 7;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_found_by_its_place_its_time_and_its_commit() {
        let line = |started: &str, commit: &str| {
            format!(r#"{{"run":{{"started":"{started}","commit":"{commit}"}},"rows":[]}}"#)
        };
        let text = [
            line("2026-01-01T00:00:00Z", "0123456789ab"),
            line("2026-02-01T00:00:00Z", "fedcba987654"),
        ];
        let text = text.join("\n");
        for (name, commit) in [
            ("last", Some("fedcba987654")),
            ("last~1", Some("0123456789ab")),
            ("2026-01-01T00:00:00Z", Some("0123456789ab")),
            ("0123456", Some("0123456789ab")),
            ("last~2", None),
            ("0123", None),
            ("", None),
        ] {
            let found = choose(&text, name).unwrap();
            assert_eq!(found.is_some(), commit.is_some(), "{name}");
            assert!(
                found.unwrap_or_default().contains(commit.unwrap_or_default()),
                "{name}"
            );
        }
    }

    #[test]
    fn each_scenario_is_shown_as_it_was_measured_last() {
        let line = |started: &str, scenarios: &[&str], schema: u32| {
            let run = serde_json::json!({
                "started": started, "scenarios": scenarios, "seed": 1, "commit": null, "versions": [], "skipped": [],
                "envelope": { "seal_ns": 1.0, "open_ns": 1.0 },
                "machine": {
                    "cpu": "", "cores": 2, "memory_mb": 1, "kernel": "", "cpu_features": [], "cpu_kind": "aesni"
                },
            });
            serde_json::json!({ "schema": schema, "kind": "recorded", "run": run, "rows": [], "limits": [] })
                .to_string()
        };
        let text = [
            line("1", &["pass", "seal"], SCHEMA),
            line("2", &["seal", "open"], SCHEMA),
            line("3", &["seal"], SCHEMA),
            line("4", &["pass"], SCHEMA + 1),
        ];
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("history.jsonl");
        std::fs::write(&path, text.join("\n")).unwrap();
        assert!(is_one(&path) && !is_one(directory.path()));
        let told: Vec<String> = newest(&all(&path).unwrap())
            .iter()
            .map(|recorded| format!("{}: {}", recorded.run.started, recorded.run.scenarios.join(" ")))
            .collect();
        assert_eq!(told, ["3: seal", "2: open", "1: pass"]);
    }
}
