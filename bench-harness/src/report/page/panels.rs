//! Which plots a scenario has: what it varies lies across, and each kind of work has a plot of its own.

use serde_json::{Map, Value};

use super::Section;
use super::plot::{Across, Form, Mark, Plot, Series};
use crate::measure::Measure;
use crate::statistics::Row;

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
    let steps = if section.is_of_latency() {
        Some(&QUANTILES)
    } else if section.is_of_starts() {
        Some(&STARTS)
    } else {
        None
    };
    if let Some(steps) = steps {
        let of_panel = |(title, rows): &(String, Vec<&Row>)| times(steps, &shape, title, rows);
        return panels.iter().flat_map(of_panel).collect();
    }
    let mut plots = Vec::new();
    // A curve is judged by its slope; frames of one size by who is beside.
    if !shape.is_curve() {
        let of_panel = |panel| ratios(Measure::CpuSPerGb, "CPU per GB", &shape, panel);
        plots.extend(panels.iter().filter_map(of_panel));
    }
    let of_panel = |panel| ratios(Measure::BrokerCpuSPerGb, "The broker's CPU per GB", &shape, panel);
    let of_broker: Vec<Plot> = panels.iter().filter_map(of_panel).collect();
    if shape.across.is_some() || plots.is_empty() {
        plots.extend(panels.iter().map(|(title, rows)| costs(&shape, title, rows)));
    }
    plots.extend(of_broker);
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
    !section.is_of_latency()
        && !section.is_of_starts()
        && Shape::of(&section.rows).across.as_deref() == Some(FRAME)
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

/// A number of each system as a multiple of the reference's, where there is one.
fn ratios(of: Measure, name: &str, shape: &Shape, (title, rows): &(String, Vec<&Row>)) -> Option<Plot> {
    let reference = rows
        .iter()
        .find_map(|row| Some(row.comparison(of)?.with.clone()))?;
    let title = format!("{name} against {reference}: {title}");
    let measure = format!("{name}, {reference} = 1");
    Some(shape.plot(title, Form::Bars, measure, rows, |row| {
        let ratio = row.comparison(of)?;
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

/// How long each system takes to each of some steps, a plot for each point.
fn times(steps: &Steps, shape: &Shape, title: &str, rows: &[&Row]) -> Vec<Plot> {
    let mut plots: Vec<Plot> = Vec::new();
    for row in rows {
        let title = match shape.across.as_deref() {
            Some(FRAME) => format!("{}: {title}, {} KiB", steps.title, row.point.frame_kib),
            _ => format!("{}: {}", steps.title, row.label),
        };
        let plot = match plots.iter_mut().position(|plot| plot.title == title) {
            Some(place) => plots.get_mut(place),
            None => {
                let labels = steps.steps.iter().map(|(label, _)| (*label).to_owned()).collect();
                let across = Across::even(steps.across, labels);
                let measure = steps.measure.to_owned();
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
        for (place, (_, measure)) in steps.steps.iter().enumerate() {
            if let Some(mark) = mark(row, *measure) {
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

/// Times that are plotted beside each other.
struct Steps {
    title: &'static str,
    across: &'static str,
    measure: &'static str,
    steps: &'static [(&'static str, Measure)],
}

const QUANTILES: Steps = Steps {
    title: "Latency",
    across: "share of requests",
    measure: "no more than ms",
    steps: &[
        ("50 %", Measure::LatencyP50Ms),
        ("90 %", Measure::LatencyP90Ms),
        ("99 %", Measure::LatencyP99Ms),
        ("99.9 %", Measure::LatencyP999Ms),
        ("99.99 %", Measure::LatencyP9999Ms),
    ],
};
const STARTS: Steps = Steps {
    title: "Started anew",
    across: "what is there",
    measure: "after ms",
    steps: &[
        ("ready, after its start", Measure::StartMs),
        ("answer, after its request", Measure::FirstFrameMs),
    ],
};
const KNOWN: [&str; 6] = [
    "direct",
    "haproxy-16k",
    "haproxy-64k",
    "sealwire-pass",
    "sealwire",
    "sealwire-none",
];
/// Colours that the style sheet has for peers.
const OTHERS: usize = 2;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::{Point, Scenario};
    use crate::statistics::Spread;

    /// Of `sealwire`, at each point of a scenario.
    fn rows(scenario: &str) -> Vec<Row> {
        let text = format!("summary = \"x\"\nwhat = [\"seal\", \"open\"]\n{scenario}");
        let points = Scenario::parse("mine", &text).unwrap().points();
        let row = |point: Point| Row {
            scenario: "mine".to_owned(),
            label: point.label(),
            point,
            system: "sealwire".to_owned(),
            load_saturated: false,
            rate_missed: false,
            cipher_s_per_gb: None,
            measures: [(Measure::CpuSPerGb, Spread::of(vec![1.0, 2.0]).unwrap())].into(),
            comparisons: Vec::new(),
        };
        points.into_iter().map(row).collect()
    }

    #[test]
    fn each_kind_of_work_has_a_plot_of_what_is_varied() {
        for (scenario, across, titles, places) in [
            ("frame_kib = [1, 16]", "KiB of a frame", ["seal", "open"], 2),
            (
                "frame_kib = 16\ntopics = [1, 10, 100]",
                "topics",
                ["seal, 16 KiB", "open, 16 KiB"],
                3,
            ),
            (
                "frame_kib = 64\ncodec = [\"none\", \"zstd\"]\nstored_codec = [\"none\", \"lz4\"]",
                "codec of the client, stored codec",
                ["seal, 64 KiB", "open, 64 KiB"],
                4,
            ),
        ] {
            let rows = rows(scenario);
            let rows: Vec<&Row> = rows.iter().collect();
            let shape = Shape::of(&rows);
            let panels = shape.panels(&rows);
            assert_eq!(panels.iter().map(|(title, _)| title).collect::<Vec<_>>(), titles);
            for (title, rows) in &panels {
                let plot = costs(&shape, title, rows);
                assert_eq!(plot.across.name, across);
                let marks: Vec<usize> = plot.series[0].marks.iter().map(|mark| mark.place).collect();
                assert_eq!(marks, (0..places).collect::<Vec<_>>(), "{scenario}");
            }
        }
    }
}
