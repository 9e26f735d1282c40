//! What a run has found out so far, for `perf/history.jsonl`.
//!
//! - KEPT-1: scenarios that are finished are recorded, once, however the run ends: at its end, by an error or by a
//!   signal. One that is under way is not: in the history it would stand for the whole.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

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

/// Of a run, and where it goes. None where nothing is to be recorded, or it was.
#[derive(Clone)]
pub(crate) struct Kept(Arc<Mutex<Option<(PathBuf, Recorded)>>>);

impl Kept {
    /// `path`: where it is recorded, if it is.
    pub(crate) fn begin(run: &Run, path: Option<PathBuf>) -> Self {
        let recorded = Recorded {
            run: Run {
                scenarios: Vec::new(),
                ..run.clone()
            },
            rows: Vec::new(),
            limits: Vec::new(),
            failures: Vec::new(),
        };
        let kept = Self(Arc::new(Mutex::new(path.map(|path| (path, recorded)))));
        let by_signal = kept.clone();
        before_leaving(Box::new(move || by_signal.record().map(drop)));
        kept
    }

    /// One without a single row says nothing.
    pub(crate) fn finished(&self, scenario: &str, found: Found) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, recorded)) = kept.as_mut().filter(|_| !found.rows.is_empty()) {
            recorded.run.scenarios.push(scenario.to_owned());
            recorded.rows.extend(found.rows);
            recorded.limits.extend(found.limits);
            recorded.failures.extend(found.failures);
        }
    }

    /// KEPT-1. Says where, if there was anything to record.
    pub(crate) fn record(&self) -> Result<Option<PathBuf>, Failure> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some((path, recorded)) = kept.filter(|(_, recorded)| !recorded.rows.is_empty()) else {
            return Ok(None);
        };
        history::record(&path, &recorded)?;
        Ok(Some(path))
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
        let nothing = Kept::begin(&run, Some(path.clone()));
        nothing.finished("a", found(Vec::new()));
        assert!(nothing.record().unwrap().is_none() && !path.exists());
        let kept = Kept::begin(&run, Some(path.clone()));
        kept.finished("a", found(vec![row()]));
        do_before_leaving();
        assert!(kept.record().unwrap().is_none(), "it was recorded twice");
        let text = std::fs::read_to_string(&path).unwrap();
        let line: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(line["run"]["scenarios"], serde_json::json!(["a"]));
        assert_eq!(line["rows"].as_array().unwrap().len(), 1);
    }
}
