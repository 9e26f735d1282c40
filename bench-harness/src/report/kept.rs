//! What a run has found out so far, for `perf/history.jsonl`, and where whoever ends it early finds it.
//!
//! - KEPT-1: scenarios that are finished are recorded, once, however the run ends: at its end, by an error or by a
//!   signal. One that is under way is not: in the history it would stand for the whole.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Failed, Recorded, Run, history};
use crate::Failure;
use crate::children::before_leaving;
use crate::statistics::{Row, Verdict};

/// Of one scenario.
#[derive(Default)]
pub(crate) struct Found {
    pub(crate) rows: Vec<Row>,
    pub(crate) limits: Vec<Verdict>,
    pub(crate) failures: Vec<Failed>,
}

/// Of a run, and where it goes. None when the run has ended.
#[derive(Clone)]
pub(crate) struct Kept(Arc<Mutex<Option<SoFar>>>);

struct SoFar {
    recorded: Recorded,
    /// Points that were measured, those of the scenario under way as well.
    points: usize,
    to: Destinations,
}

/// Where a run goes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Destinations {
    /// A line for all of it, if it is to be recorded.
    pub(crate) history: Option<PathBuf>,
    /// Lines of JSON as they come, if somebody wants them.
    pub(crate) json: Option<PathBuf>,
}

impl Kept {
    pub(crate) fn begin(run: &Run, to: Destinations) -> Self {
        let recorded = Recorded {
            run: Run {
                scenarios: Vec::new(),
                ..run.clone()
            },
            rows: Vec::new(),
            limits: Vec::new(),
            failures: Vec::new(),
        };
        let so_far = SoFar {
            recorded,
            points: 0,
            to,
        };
        let kept = Self(Arc::new(Mutex::new(Some(so_far))));
        let by_signal = kept.clone();
        before_leaving(Box::new(move || by_signal.interrupt()));
        kept
    }

    /// Another point was measured.
    pub(crate) fn point(&self) {
        if let Some(so_far) = self.lock().as_mut() {
            so_far.points += 1;
        }
    }

    /// One without a single row says nothing.
    pub(crate) fn finished(&self, scenario: &str, found: Found) {
        if let Some(SoFar { recorded, .. }) = self.lock().as_mut().filter(|_| !found.rows.is_empty()) {
            recorded.run.scenarios.push(scenario.to_owned());
            recorded.rows.extend(found.rows);
            recorded.limits.extend(found.limits);
            recorded.failures.extend(found.failures);
        }
    }

    /// KEPT-1. Says where, if there was anything to record.
    pub(crate) fn record(&self) -> Result<Option<PathBuf>, Failure> {
        let so_far = self.lock().take();
        so_far.map_or(Ok(None), |so_far| so_far.record())
    }

    /// KEPT-1, and what to say of a run that is ended early.
    fn interrupt(&self) -> Result<Option<String>, Failure> {
        let Some(so_far) = self.lock().take() else {
            return Ok(None);
        };
        let recorded = so_far.record()?;
        Ok(Some(so_far.told(recorded.is_some())))
    }

    fn lock(&self) -> MutexGuard<'_, Option<SoFar>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SoFar {
    fn record(&self) -> Result<Option<PathBuf>, Failure> {
        match &self.to.history {
            Some(path) if !self.recorded.rows.is_empty() => {
                history::record(path, &self.recorded)?;
                Ok(Some(path.clone()))
            }
            _ => Ok(None),
        }
    }

    fn told(&self, is_recorded: bool) -> String {
        let scenarios = self.recorded.run.scenarios.join(", ");
        let mut told = format!("\ninterrupted after {} measured points: ", self.points);
        told += &match &self.to.json {
            Some(path) => format!("their samples and rows are in {}", path.display()),
            None => "no --json, so that no sample is kept".to_owned(),
        };
        told += &match &self.to.history {
            Some(path) if is_recorded => format!("; recorded in {}: {scenarios}", path.display()),
            Some(_) => "; nothing is recorded, since no scenario was finished".to_owned(),
            None => "; no --record, so that nothing is recorded".to_owned(),
        };
        told
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::children::do_before_leaving;
    use crate::scenario::{Direction, Point, What};

    /// KEPT-1.
    #[test]
    fn what_is_finished_is_recorded_once_also_when_a_signal_ends_the_run() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("history.jsonl");
        let run: Run = serde_json::from_value(serde_json::json!({
            "started": "1", "scenarios": ["a", "b"], "seed": 1, "commit": null, "versions": [], "skipped": [],
            "envelope": { "seal_ns": 1.0, "open_ns": 1.0 },
            "machine": {
                "cpu": "", "cores": 2, "memory_mb": 1, "kernel": "", "cpu_features": [], "cpu_kind": "aesni"
            },
        }))
        .unwrap();
        let row = || Row {
            scenario: "a".to_owned(),
            point: Point::of(What::Pass, Direction::Produce),
            label: "pass".to_owned(),
            system: "sealwire".to_owned(),
            load_saturated: false,
            rate_missed: false,
            cipher_s_per_gb: None,
            measures: [].into(),
            comparisons: Vec::new(),
        };
        let found = |rows| Found {
            rows,
            ..Found::default()
        };
        let to = Destinations {
            history: Some(path.clone()),
            json: None,
        };
        let nothing = Kept::begin(&run, to.clone());
        nothing.finished("a", found(Vec::new()));
        assert!(nothing.record().unwrap().is_none() && !path.exists());
        let kept = Kept::begin(&run, to);
        kept.finished("a", found(vec![row()]));
        let told = do_before_leaving().join("");
        assert!(
            told.contains("history.jsonl: a") && told.contains("no --json"),
            "{told}"
        );
        assert!(kept.record().unwrap().is_none(), "it was recorded twice");
        let text = std::fs::read_to_string(&path).unwrap();
        let line: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(line["run"]["scenarios"], serde_json::json!(["a"]));
        assert_eq!(line["rows"].as_array().unwrap().len(), 1);
    }
}
