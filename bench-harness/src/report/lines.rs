//! Lines of JSON, one object each, with `schema`, `kind` and `run` first: `run`, then `sample`, `row`, `failure` and
//! `limit`.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use serde::Serialize;

use super::{Recorded, SCHEMA};
use crate::Failure;

/// Where they go, if anybody wants them.
pub(crate) struct Lines {
    out: Option<BufWriter<File>>,
    run: String,
}

#[derive(Serialize)]
struct Line<'a, T> {
    schema: u32,
    kind: &'static str,
    run: &'a str,
    #[serde(flatten)]
    body: &'a T,
}

impl Lines {
    pub(crate) fn create(path: Option<&Path>, run: &str) -> Result<Self, Failure> {
        let create = |path: &Path| File::create(path).map_err(|error| format!("{}: {error}", path.display()));
        Ok(Self {
            out: path.map(create).transpose()?.map(BufWriter::new),
            run: run.to_owned(),
        })
    }

    /// One line. It is written out at once: a run that is interrupted has left what it had.
    pub(crate) fn write<T: Serialize>(&mut self, kind: &'static str, body: &T) -> Result<(), Failure> {
        let Some(out) = &mut self.out else {
            return Ok(());
        };
        let line = Line {
            schema: SCHEMA,
            kind,
            run: &self.run,
            body,
        };
        serde_json::to_writer(&mut *out, &line)?;
        out.write_all(b"\n")?;
        Ok(out.flush()?)
    }
}

/// The run that the lines of a file are of. One that was interrupted has fewer rows, and no limits.
pub(crate) fn read(text: &str) -> Result<Recorded, Failure> {
    let (mut run, mut rows, mut limits, mut failures) = (None, Vec::new(), Vec::new(), Vec::new());
    for (number, line) in text.lines().enumerate() {
        let failed = |error: &dyn std::fmt::Display| format!("line {}: {error}", number + 1);
        let value: serde_json::Value = serde_json::from_str(line).map_err(|error| failed(&error))?;
        if value["schema"] != SCHEMA {
            return Err(failed(&format!("schema {} is not {SCHEMA}", value["schema"])).into());
        }
        let understood = match value["kind"].as_str() {
            Some("run") => serde_json::from_value(value).map(|value| run = Some(value)),
            Some("row") => serde_json::from_value(value).map(|value| rows.push(value)),
            Some("limit") => serde_json::from_value(value).map(|value| limits.push(value)),
            Some("failure") => serde_json::from_value(value).map(|value| failures.push(value)),
            _ => Ok(()),
        };
        understood.map_err(|error| failed(&error))?;
    }
    Ok(Recorded {
        run: run.ok_or("no line of the kind `run`")?,
        rows,
        limits,
        failures,
    })
}
