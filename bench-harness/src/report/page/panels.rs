//! Which plots a scenario has: what it varies lies across, and each kind of work has a plot of its own.

mod edges;
mod shape;
mod times;

use self::shape::{FRAME, RECORD, Shape};
use self::times::{QUANTILES, STARTS, times};
use super::Section;
use super::plot::{Form, Mark, Plot};
use crate::measure::Measure;
use crate::statistics::Row;

/// Those of a section, in its order. Titles begin with what is plotted.
pub(super) fn plots(section: &Section<'_>) -> Vec<Plot> {
    let mut plots = of_shape(section);
    // The same work may be in several scenarios, and the same scenario of several runs.
    for plot in plots
        .iter_mut()
        .filter(|plot| !plot.title.ends_with(&section.name))
    {
        plot.title += &format!(" ({})", section.name);
    }
    plots
}

fn of_shape(section: &Section<'_>) -> Vec<Plot> {
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
        let of_panel = |(title, rows): &(String, Vec<&Row>)| times(steps, &shape, section, title, rows);
        return panels.iter().flat_map(of_panel).collect();
    }
    let mut plots = Vec::new();
    // A curve is judged by its slope; frames of one size by who is beside.
    if !shape.is_curve() {
        let name = format!("CPU per {}", cost_of(section).1);
        let of_panel = |panel| ratios((Measure::CpuSPerGb, &name), &shape, section, panel);
        plots.extend(panels.iter().filter_map(of_panel));
    }
    // With a real broker throughput is what is left of the host; otherwise it is the load's.
    let mut of_broker = Vec::new();
    for shown in [
        (Measure::BrokerCpuSPerGb, "The broker's CPU per GB"),
        (Measure::MbPerS, "Throughput"),
    ] {
        let of_panel = |panel| ratios(shown, &shape, section, panel);
        let has_broker = |row: &&Row| row.measures.contains_key(&Measure::BrokerCpuSPerGb);
        if section.rows.iter().any(has_broker) {
            of_broker.extend(panels.iter().filter_map(of_panel));
        }
    }
    if shape.across.is_some() || plots.is_empty() || is_of_connections(section) {
        let costs = if shape.across.as_deref() == Some(RECORD) {
            &[Measure::CpuSPerMillionRecords, Measure::CpuSPerGb][..]
        } else {
            &[cost_of(section).0]
        };
        for of in costs {
            plots.extend(panels.iter().map(|panel| cost(*of, &shape, section, panel)));
        }
    }
    plots.extend(of_broker);
    plots.retain(|plot| !plot.series.is_empty());
    plots
}

/// Whether the section is about sizes of frames, and not about a curve of something else.
pub(super) fn is_of_frames(section: &Section<'_>) -> bool {
    !section.is_of_latency()
        && !section.is_of_starts()
        && Shape::of(&section.rows).across.as_deref() == Some(FRAME)
}

/// What the CPU of its points is told for.
fn cost_of(section: &Section<'_>) -> (Measure, &'static str) {
    let first = section.rows.first();
    first.map_or((Measure::CpuSPerGb, "GB"), |row| row.point.cost())
}

/// Whether each request has a connection of its own.
pub(super) fn is_of_connections(section: &Section<'_>) -> bool {
    section.rows.iter().all(|row| row.point.reconnects)
}

/// A number of each system as a multiple of the reference's, where there is one.
fn ratios(
    (of, name): (Measure, &str),
    shape: &Shape,
    section: &Section<'_>,
    (title, rows): &(String, Vec<&Row>),
) -> Option<Plot> {
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
            limit: edges::of_ratio(section, row, of, &reference),
        })
    }))
}

fn cost(of: Measure, shape: &Shape, section: &Section<'_>, (title, rows): &(String, Vec<&Row>)) -> Plot {
    let (name, unit) = match of {
        Measure::CpuSPerMillionRecords => ("CPU seconds per million records", "CPU s/million"),
        Measure::CpuUsPerFrame => ("CPU microseconds per connection", "CPU µs/connection"),
        _ => ("CPU seconds per GB", "CPU s/GB"),
    };
    let title = format!("{name}: {title}");
    shape.plot(title, Form::Lines, unit.to_owned(), rows, |row| {
        mark(section, row, of)
    })
}

fn mark(section: &Section<'_>, row: &Row, measure: Measure) -> Option<Mark> {
    let spread = row.measures.get(&measure)?;
    Some(Mark {
        place: 0,
        value: spread.median,
        low: spread.min,
        high: spread.max,
        within_noise: false,
        limit: edges::of_measure(section, row, measure),
    })
}

/// Each system looks the same everywhere.
fn style(system: &str) -> usize {
    let known = KNOWN.iter().position(|name| *name == system);
    let other = system
        .bytes()
        .fold(0_usize, |sum, byte| sum.wrapping_add(usize::from(byte)));
    known.unwrap_or(KNOWN.len() + other % OTHERS)
}

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
pub(super) mod tests {
    use super::super::super::Run;
    use super::super::tables;
    use super::*;
    use crate::scenario::{Point, Scenario};
    use crate::statistics::Spread;

    pub(in super::super) fn run() -> Run {
        serde_json::from_value(serde_json::json!({
            "started": "1", "scenarios": ["mine"], "seed": 1, "commit": null, "versions": [], "skipped": [],
            "envelope": { "seal_ns": 1.0, "open_ns": 1.0 },
            "machine": {
                "cpu": "", "cores": 2, "memory_mb": 1, "kernel": "", "cpu_features": [], "cpu_kind": "aesni"
            },
        }))
        .unwrap()
    }

    /// Of `sealwire`, at each point of a scenario.
    pub(in super::super) fn rows(scenario: &str) -> Vec<Row> {
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
    fn where_each_request_has_a_connection_costs_are_told_for_connections() {
        let (run, mut rows) = (
            run(),
            rows("frame_kib = 1\ntls = [\"none\", \"rsa\"]\nreconnects = true"),
        );
        for row in &mut rows {
            for (measure, value) in [(Measure::CpuUsPerFrame, 360.0), (Measure::FramesPerS, 2000.0)] {
                row.measures.insert(measure, Spread::of(vec![value]).unwrap());
            }
        }
        let section = Section {
            run: &run,
            scenario: "mine",
            name: "mine".to_owned(),
            rows: rows.iter().collect(),
            limits: Vec::new(),
        };
        let plots = plots(&section);
        let titles: Vec<&str> = plots.iter().map(|plot| plot.title.as_str()).collect();
        assert_eq!(
            titles,
            ["seal", "open"].map(|work| format!("CPU microseconds per connection: {work}, 1 KiB (mine)"))
        );
        assert_eq!(plots[0].series[0].marks[0].value, 360.0);
        let table = tables::numbers(&section);
        assert!(
            table.contains("connections/s") && table.contains("2000"),
            "{table}"
        );
        assert!(!table.contains("CPU s/GB"), "{table}");
    }

    #[test]
    fn each_kind_of_work_has_a_plot_of_what_is_varied() {
        let run = run();
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
            let section = Section {
                run: &run,
                scenario: "mine",
                name: "mine".to_owned(),
                rows: rows.iter().collect(),
                limits: Vec::new(),
            };
            let shape = Shape::of(&section.rows);
            let panels = shape.panels(&section.rows);
            assert_eq!(panels.iter().map(|(title, _)| title).collect::<Vec<_>>(), titles);
            for panel in &panels {
                let plot = cost(Measure::CpuSPerGb, &shape, &section, panel);
                assert_eq!(plot.across.name, across);
                let marks: Vec<usize> = plot.series[0].marks.iter().map(|mark| mark.place).collect();
                assert_eq!(marks, (0..places).collect::<Vec<_>>(), "{scenario}");
            }
        }
    }
}
