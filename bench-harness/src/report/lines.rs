//! Lines of JSON, one object each, with `schema`, `kind` and `run` first: `run`, then `sample`, `row` and `limit`.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use serde::Serialize;

use super::SCHEMA;
use crate::Failure;
use crate::statistics::Row;

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

/// The rows among the lines of a file.
pub(crate) fn rows(text: &str) -> Result<Vec<Row>, Failure> {
    let mut rows = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let failed = |error: &dyn std::fmt::Display| format!("line {}: {error}", number + 1);
        let value: serde_json::Value = serde_json::from_str(line).map_err(|error| failed(&error))?;
        if value["schema"] != SCHEMA {
            return Err(failed(&format!("schema {} is not {SCHEMA}", value["schema"])).into());
        }
        if value["kind"] == "row" {
            rows.push(serde_json::from_value(value).map_err(|error| failed(&error))?);
        }
    }
    Ok(rows)
}
