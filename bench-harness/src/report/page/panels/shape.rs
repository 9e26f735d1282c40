//! What the points of a scenario differ in, and so what lies across its plots, and what they differ in.

use serde_json::{Map, Value};

use super::super::across::Across;
use super::super::once;
use super::super::plot::{Form, Mark, Plot, add};
use super::style;
use crate::statistics::Row;

/// What the points of a scenario differ in.
pub(super) struct Shape {
    /// The field that lies across, if it is a number.
    pub(super) across: Option<String>,
    /// Otherwise the fields whose combinations do.
    names: Vec<String>,
    /// Those that plots differ in, besides the kind of work.
    apart: Vec<String>,
}

impl Shape {
    pub(super) fn of(rows: &[&Row]) -> Self {
        let points: Vec<Map<String, Value>> = rows.iter().map(|row| fields(row)).collect();
        let Some(first) = points.first() else {
            return Self {
                across: None,
                names: Vec::new(),
                apart: Vec::new(),
            };
        };
        let varies = |name: &&String| points.iter().any(|point| point.get(*name) != first.get(*name));
        let names = first.keys().filter(|name| !WORK.contains(&name.as_str()));
        let mut varied: Vec<String> = names.filter(varies).cloned().collect();
        let is_number = |name: &String| {
            points
                .iter()
                .all(|point| point.get(name).is_some_and(Value::is_number))
        };
        let numbers = || varied.iter().filter(|name| is_number(name));
        let across = numbers()
            .find(|name| *name != FRAME)
            .or_else(|| numbers().next())
            .cloned();
        match across {
            Some(across) => {
                varied.retain(|name| *name != across);
                Self {
                    across: Some(across),
                    names: Vec::new(),
                    apart: varied,
                }
            }
            None if varied.is_empty() => Self {
                across: Some(FRAME.to_owned()),
                names: varied,
                apart: Vec::new(),
            },
            None => Self {
                across: None,
                names: varied,
                apart: Vec::new(),
            },
        }
    }

    pub(super) fn is_curve(&self) -> bool {
        self.across.as_deref().is_some_and(|name| name != FRAME)
    }

    /// Rows that share a plot, with what they have in common.
    pub(super) fn panels<'a>(&self, rows: &[&'a Row]) -> Vec<(String, Vec<&'a Row>)> {
        let mut panels: Vec<(String, Vec<&Row>)> = Vec::new();
        for row in rows {
            let title = self.title(row);
            match panels.iter_mut().find(|(other, _)| *other == title) {
                Some((_, rows)) => rows.push(row),
                None => panels.push((title, vec![row])),
            }
        }
        panels
    }

    pub(super) fn title(&self, row: &Row) -> String {
        let point = fields(row);
        let mut title = row.point.work().to_owned();
        if self.across.as_deref() != Some(FRAME) && !self.names.iter().any(|name| name == FRAME) {
            title += &format!(", {} KiB", row.point.frame_kib);
        }
        for name in self.apart.iter().filter(|name| *name != FRAME) {
            title += &format!(", {} {}", words(name), written(point.get(name)));
        }
        title
    }

    /// The axis at the bottom, and where on it each row is.
    pub(super) fn across(&self, rows: &[&Row]) -> (Across, Vec<usize>) {
        let label = |row: &&&Row| {
            let point = fields(row);
            let names = self.across.iter().chain(&self.names);
            let values: Vec<String> = names.map(|name| written(point.get(name))).collect();
            values.join(", ")
        };
        let all: Vec<String> = rows.iter().map(|row| label(&row)).collect();
        let labels = once(all.iter().cloned());
        if let Some(name) = &self.across {
            let mut values: Vec<f64> = labels.iter().filter_map(|label| label.parse().ok()).collect();
            values.sort_by(f64::total_cmp);
            values.dedup();
            let place = |label: &String| {
                let value: f64 = label.parse().unwrap_or_default();
                values
                    .iter()
                    .position(|other| *other == value)
                    .unwrap_or_default()
            };
            let places = all.iter().map(place).collect();
            return (Across::logarithmic(&words(name), &values), places);
        }
        let place = |label: &String| labels.iter().position(|other| other == label).unwrap_or_default();
        let names: Vec<String> = self.names.iter().map(|name| words(name)).collect();
        let places = all.iter().map(place).collect();
        (Across::even(&names.join(", "), labels), places)
    }

    pub(super) fn plot(
        &self,
        title: String,
        form: Form,
        measure: String,
        rows: &[&Row],
        value: impl Fn(&Row) -> Option<Mark>,
    ) -> Plot {
        let (mut across, places) = self.across(rows);
        if form == Form::Bars {
            across = across.evenly();
        }
        let mut series: Vec<_> = Vec::new();
        for (row, place) in rows.iter().zip(places) {
            let Some(mark) = value(row) else { continue };
            add(
                &mut series,
                &row.system,
                style(&row.system),
                Mark { place, ..mark },
            );
        }
        for series in &mut series {
            series.marks.sort_by_key(|mark| mark.place);
        }
        Plot {
            title,
            form,
            across,
            measure,
            series,
        }
    }
}

fn fields(row: &Row) -> Map<String, Value> {
    match serde_json::to_value(&row.point) {
        Ok(Value::Object(fields)) => fields,
        _ => Map::new(),
    }
}

fn written(value: Option<&Value>) -> String {
    match value {
        Some(Value::String(text)) => text.clone(),
        // Without the `.0` of a number that has a point.
        Some(Value::Number(number)) => number.as_f64().unwrap_or_default().to_string(),
        Some(value) => value.to_string(),
        None => String::new(),
    }
}

/// A field's name for people.
fn words(name: &str) -> String {
    match name {
        FRAME => "KiB of a frame".to_owned(),
        RECORD => "bytes of a record".to_owned(),
        "codec" => "codec of the client".to_owned(),
        "keks" => "KEKs".to_owned(),
        "deks" => "wrapped DEKs".to_owned(),
        "rate_mb_per_s" => "MB/s".to_owned(),
        other => other.replace('_', " "),
    }
}

pub(super) const FRAME: &str = "frame_kib";
pub(super) const RECORD: &str = "record_bytes";
/// Together they are the kind of work.
const WORK: [&str; 2] = ["what", "direction"];
