//! What is made of a run: a table for whoever waits for it, lines of JSON for programs, a line of `perf/history.jsonl`
//! for later runs to be compared with, a page with plots for readers.

mod date;
pub(crate) mod history;
mod kept;
pub(crate) mod lines;
pub(crate) mod page;
mod progress;
mod table;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

pub(crate) use self::date::utc;
pub(crate) use self::kept::{Destinations, Found, Kept};
pub(crate) use self::progress::Progress;
pub(crate) use self::table::{of_point, of_verdicts};
use crate::Failure;
use crate::measure::machine::Machine;
use crate::scenario::{Point, Scenario};
use crate::statistics::{Row, Verdict};
use crate::systems::{Skipped, Version};

/// What a run was. A line of the JSON: `kind` is `run`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Run {
    /// When it began, which is its name too: all other lines carry it as `run`.
    pub(crate) started: String,
    pub(crate) scenarios: Vec<String>,
    pub(crate) seed: u64,
    pub(crate) machine: Machine,
    pub(crate) commit: Option<String>,
    pub(crate) versions: Vec<Version>,
    /// What could not be had.
    pub(crate) skipped: Vec<Skipped>,
    pub(crate) envelope: Envelope,
    /// Of exchanges of 64 KiB, counted beforehand; runs that were recorded before that was told have none.
    #[serde(default)]
    pub(crate) allocations: BTreeMap<String, u64>,
}

/// A run and what came of it, as it is kept.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Recorded {
    pub(crate) run: Run,
    pub(crate) rows: Vec<Row>,
    pub(crate) limits: Vec<Verdict>,
    /// Runs that were recorded before they survived any have none.
    #[serde(default)]
    pub(crate) failures: Vec<Failed>,
}

/// A point that could not be measured. A line of the JSON: `kind` is `failure`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Failed {
    pub(crate) scenario: String,
    pub(crate) point: Point,
    /// The point in words.
    pub(crate) label: String,
    pub(crate) why: String,
}

impl Failed {
    pub(crate) fn new(scenario: &Scenario, point: Point, failure: &Failure) -> Self {
        Self {
            scenario: scenario.name.clone(),
            label: point.label(),
            point,
            why: failure.to_string(),
        }
    }
}

impl Recorded {
    /// From a file that `run --json` wrote; or a recorded one by its name.
    pub(crate) fn load(name: &str) -> Result<Self, Failure> {
        if !Path::new(name).is_file() {
            return history::find(name);
        }
        let text = std::fs::read_to_string(name)?;
        lines::read(&text).map_err(|failure| format!("{name}: {failure}").into())
    }
}

/// What the envelope takes on this CPU, without sockets: ciphers differ by a factor of two between CPUs.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Envelope {
    /// A record of 1 KiB.
    pub(crate) seal_ns: f64,
    pub(crate) open_ns: f64,
}

/// Of a run without rows.
pub(crate) const NO_POINT: &str = "no point of the run was finished: was it interrupted?";

/// Of everything that is written. It grows by one when a field changes its meaning or goes.
pub(crate) const SCHEMA: u32 = 1;

/// Where results are kept: `perf/` of the sources this program was built from, or of the working directory.
pub(crate) fn directory() -> Result<PathBuf, Failure> {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("../perf");
    let directory = match sources
        .parent()
        .is_some_and(|workspace| workspace.join("Cargo.toml").is_file())
    {
        true => sources,
        false => PathBuf::from("perf"),
    };
    std::fs::create_dir_all(&directory)?;
    Ok(directory)
}
