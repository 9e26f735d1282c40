//! Which plots a scenario has: what it varies lies across, and each kind of work has a plot of its own.

use serde_json::{Map, Value};

use super::Section;
use super::plot::{Across, Form, Mark, Plot, Series};
use crate::measure::Measure;
use crate::statistics::{Comparison, Row};

/// What the points of a scenario differ in.
struct Shape {
    /// The field that lies across, if it is a number.
    across: Option<String>,
    /// Otherwise the fields whose combinations do.
    names: Vec<String>,
    /// Those that plots differ in, besides the kind of work.
    apart: Vec<String>,
}

/// Those of a section, in its order. Titles begin with what is plotted.
pub(super) fn plots(section: &Section<'_>) -> Vec<Plot> {
    let shape = Shape::of(&section.rows);
    let panels = shape.panels(&section.rows);
    let mut plots = Vec::new();
    if section.is_of_latency() {
        plots.extend(
            panels
                .iter()
                .flat_map(|(title, rows)| latencies(&shape, title, rows)),
        );
        return plots;
    }
    // A curve is judged by its slope; frames of one size by who is beside.
    if !shape.is_curve() {
        plots.extend(
            panels
                .iter()
                .filter_map(|(title, rows)| ratios(&shape, title, rows)),
        );
    }
    if shape.across.is_some() || plots.is_empty() {
        plots.extend(panels.iter().map(|(title, rows)| costs(&shape, title, rows)));
    }
    // The same work may be in several scenarios.
    for plot in plots
        .iter_mut()
        .filter(|plot| !plot.title.ends_with(section.scenario))
    {
        plot.title += &format!(" ({})", section.scenario);
    }
    plots
}

/// Whether the section is about sizes of frames, and not about a curve of something else.
pub(super) fn is_of_frames(section: &Section<'_>) -> bool {
    !section.is_of_latency() && Shape::of(&section.rows).across.as_deref() == Some(FRAME)
}

impl Shape {
    fn of(rows: &[&Row]) -> Self {
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

    fn is_curve(&self) -> bool {
        self.across.as_deref().is_some_and(|name| name != FRAME)
    }

    /// Rows that share a plot, with what they have in common.
    fn panels<'a>(&self, rows: &[&'a Row]) -> Vec<(String, Vec<&'a Row>)> {
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

    fn title(&self, row: &Row) -> String {
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
    fn across(&self, rows: &[&Row]) -> (Across, Vec<usize>) {
        let label = |row: &&&Row| {
            let point = fields(row);
            let names = self.across.iter().chain(&self.names);
            let values: Vec<String> = names.map(|name| written(point.get(name))).collect();
            values.join(", ")
        };
        let all: Vec<String> = rows.iter().map(|row| label(&row)).collect();
        let mut labels: Vec<String> = Vec::new();
        for label in &all {
            if !labels.contains(label) {
                labels.push(label.clone());
            }
        }
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

    fn plot(
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
        let mut series: Vec<Series> = Vec::new();
        for (row, place) in rows.iter().zip(places) {
            let Some(mark) = value(row) else { continue };
            add(&mut series, &row.system, Mark { place, ..mark });
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

fn add(series: &mut Vec<Series>, system: &str, mark: Mark) {
    if let Some(series) = series.iter_mut().find(|series| series.name == system) {
        series.marks.push(mark);
        return;
    }
    series.push(Series {
        name: system.to_owned(),
        style: style(system),
        marks: vec![mark],
    });
}

/// CPU of each system as a multiple of the reference's, where there is one.
fn ratios(shape: &Shape, title: &str, rows: &[&Row]) -> Option<Plot> {
    let reference = rows.iter().find_map(|row| Some(of_cpu(row)?.with.clone()))?;
    let title = format!("CPU per GB against {reference}: {title}");
    let measure = format!("CPU per GB, {reference} = 1");
    Some(shape.plot(title, Form::Bars, measure, rows, |row| {
        let ratio = of_cpu(row)?;
        Some(Mark {
            place: 0,
            value: ratio.spread.median,
            low: ratio.interval.low,
            high: ratio.interval.high,
            within_noise: ratio.is_within_noise(),
        })
    }))
}

fn costs(shape: &Shape, title: &str, rows: &[&Row]) -> Plot {
    let title = format!("CPU seconds per GB: {title}");
    shape.plot(title, Form::Lines, "CPU s/GB".to_owned(), rows, |row| {
        mark(row, Measure::CpuSPerGb)
    })
}

/// The quantiles of each system, a plot for each point.
fn latencies(shape: &Shape, title: &str, rows: &[&Row]) -> Vec<Plot> {
    let mut plots: Vec<Plot> = Vec::new();
    for row in rows {
        let title = match shape.across.as_deref() {
            Some(FRAME) => format!("Latency: {title}, {} KiB", row.point.frame_kib),
            _ => format!("Latency: {}", row.label),
        };
        let plot = match plots.iter_mut().position(|plot| plot.title == title) {
            Some(place) => plots.get_mut(place),
            None => {
                let labels = QUANTILES.map(|(label, _)| label.to_owned()).into();
                let across = Across::even("share of requests", labels);
                let measure = "no more than ms".to_owned();
                plots.push(Plot {
                    title,
                    form: Form::Lines,
                    across,
                    measure,
                    series: Vec::new(),
                });
                plots.last_mut()
            }
        };
        let Some(plot) = plot else { continue };
        for (place, (_, measure)) in QUANTILES.into_iter().enumerate() {
            if let Some(mark) = mark(row, measure) {
                add(&mut plot.series, &row.system, Mark { place, ..mark });
            }
        }
    }
    plots
}

fn mark(row: &Row, measure: Measure) -> Option<Mark> {
    let spread = row.measures.get(&measure)?;
    Some(Mark {
        place: 0,
        value: spread.median,
        low: spread.min,
        high: spread.max,
        within_noise: false,
    })
}

fn of_cpu(row: &Row) -> Option<&Comparison> {
    row.comparison(Measure::CpuSPerGb)
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
        Some(value) => value.to_string(),
        None => String::new(),
    }
}

/// A field's name for people.
fn words(name: &str) -> String {
    match name {
        FRAME => "KiB of a frame".to_owned(),
        "record_bytes" => "bytes of a record".to_owned(),
        "codec" => "codec of the client".to_owned(),
        "keks" => "KEKs".to_owned(),
        "deks" => "wrapped DEKs".to_owned(),
        "rate_mb_per_s" => "MB/s".to_owned(),
        other => other.replace('_', " "),
    }
}

/// Each system looks the same everywhere.
pub(super) fn style(system: &str) -> usize {
    let known = KNOWN.iter().position(|name| *name == system);
    let other = system
        .bytes()
        .fold(0_usize, |sum, byte| sum.wrapping_add(usize::from(byte)));
    known.unwrap_or(KNOWN.len() + other % OTHERS)
}

const FRAME: &str = "frame_kib";
/// Together they are the kind of work.
const WORK: [&str; 2] = ["what", "direction"];
const QUANTILES: [(&str, Measure); 5] = [
    ("50 %", Measure::LatencyP50Ms),
    ("90 %", Measure::LatencyP90Ms),
    ("99 %", Measure::LatencyP99Ms),
    ("99.9 %", Measure::LatencyP999Ms),
    ("99.99 %", Measure::LatencyP9999Ms),
];
const KNOWN: [&str; 5] = [
    "direct",
    "haproxy-16k",
    "haproxy-64k",
    "sealwire-pass",
    "sealwire",
];
/// Colours that the style sheet has for peers.
const OTHERS: usize = 3;
