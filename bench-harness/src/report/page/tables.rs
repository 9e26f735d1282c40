//! The tables of the page. A comparison that chance alone may have made is greyed and said to be that.

use super::super::table::notes;
use super::html::{Cell, Column, Table, number};
use super::panels::is_of_connections;
use super::{Section, once};
use crate::measure::Measure;
use crate::statistics::{Comparison, Row, Spread, Verdict};

/// CPU per GB of each system at each size of frame, how it compares, and what limits say.
pub(super) fn cpu(sections: &[&Section<'_>]) -> Option<String> {
    let rows = || sections.iter().flat_map(|section| section.rows.iter().copied());
    let measured = rows().filter(|row| row.measures.contains_key(&Measure::CpuSPerGb));
    let systems = once(measured.map(|row| row.system.as_str()));
    let reference = rows().find_map(|row| Some(row.comparison(Measure::CpuSPerGb)?.with.as_str()));
    let name = |system: &&str| match reference {
        Some(reference) if reference == *system => Column::Numbers(format!("{system} (= 1)")),
        _ => Column::Numbers((*system).to_owned()),
    };
    let mut columns = vec![Column::Words("Records and frames")];
    columns.extend(systems.iter().map(name));
    columns.push(Column::Words("Limits"));
    let caption =
        "CPU seconds per GB: medians; below them ratios to the reference in the same rounds, at 95 %";
    let mut table = Table::new(caption, &columns);
    for section in sections {
        let mut labels: Vec<&str> = section.rows.iter().map(|row| row.label.as_str()).collect();
        labels.dedup();
        for label in labels {
            let at = |system: &&str| {
                let mut rows = section.rows.iter();
                let found = rows.find(|row| row.label == label && row.system == **system);
                found.map_or_else(Cell::none, |row| cost(row))
            };
            let mut cells: Vec<Cell> = systems.iter().map(at).collect();
            cells.push(said(
                section
                    .limits
                    .iter()
                    .copied()
                    .filter(|limit| limit.label == label),
            ));
            table.row(&section.point(label), &cells);
        }
    }
    (!systems.is_empty()).then(|| table.end())
}

fn cost(row: &Row) -> Cell {
    let Some(cpu) = row.measures.get(&Measure::CpuSPerGb) else {
        return Cell::none();
    };
    let cell = Cell::number(number(cpu.median));
    match row.comparison(Measure::CpuSPerGb) {
        Some(ratio) => cell.note(compared(ratio)).within_noise(ratio.is_within_noise()),
        None => cell,
    }
}

/// Whether all limits of a point are kept, and those that are not.
fn said<'a>(limits: impl Iterator<Item = &'a Verdict>) -> Cell {
    let limits: Vec<&Verdict> = limits.collect();
    let missed: Vec<String> = limits
        .iter()
        .filter(|limit| !limit.kept)
        .map(|limit| format!("{}: {}", limit.limit, number(limit.value)))
        .collect();
    // One limit that is missed beyond doubt is not made doubtful by others.
    let is_noise = match missed.is_empty() {
        true => limits.iter().any(|limit| limit.close),
        false => limits.iter().filter(|limit| !limit.kept).all(|limit| limit.close),
    };
    let cell = match (limits.is_empty(), missed.is_empty()) {
        (true, _) => return Cell::words("–"),
        (_, true) => Cell::verdict(true, if is_noise { "kept, within noise" } else { "kept" }),
        (_, false) => Cell::verdict(
            false,
            if is_noise {
                "missed, within noise"
            } else {
                "MISSED"
            },
        ),
    };
    cell.note(missed.join("; ")).within_noise(is_noise)
}

/// Every number that a reader may want of a section.
pub(super) fn numbers(section: &Section<'_>) -> String {
    let all: &[Shown] = if section.is_of_latency() {
        &OF_LATENCY
    } else if is_of_connections(section) {
        &OF_CONNECTIONS
    } else {
        &OF_CAPACITY
    };
    let has = |(_, cell): &&Shown| section.rows.iter().any(|row| !cell(row).is_none());
    let shown: Vec<&Shown> = all.iter().filter(has).collect();
    let mut columns = vec![Column::Words("Records and frames"), Column::Words("System")];
    columns.extend(shown.iter().map(|(name, _)| Column::Numbers((*name).to_owned())));
    let caption = format!(
        "All numbers of {}: medians of the rounds; in brackets intervals at 95 %",
        section.name
    );
    let mut table = Table::new(&caption, &columns);
    for of_point in section.rows.chunk_by(|one, other| one.label == other.label) {
        let line = |row: &&Row| {
            let cells = shown.iter().map(|(_, cell)| cell(row)).collect();
            (row.system.clone(), cells)
        };
        let lines: Vec<(String, Vec<Cell>)> = of_point.iter().map(line).collect();
        table.group(of_point.first().map_or("", |row| row.label.as_str()), &lines);
    }
    let mut html = table.end();
    for note in notes(section.rows.iter().copied()) {
        html += &format!("<p class=\"foot\">{note}.</p>\n");
    }
    html
}

/// Limits, each with the name of its section.
pub(super) fn limits(caption: &str, limits: &[(&str, &Verdict)]) -> String {
    let columns = [
        Column::Words("Records and frames"),
        Column::Words("Limit"),
        Column::Numbers("Measured".to_owned()),
        Column::Numbers("95 % interval".to_owned()),
        Column::Words("Verdict"),
    ];
    let mut table = Table::new(caption, &columns);
    for (section, limit) in limits {
        let word = if limit.kept { "kept" } else { "MISSED" };
        let verdict = Cell::verdict(limit.kept, format!("{word}{}", noise(limit)));
        let interval = limit.interval;
        let cells = [
            Cell::words(format!("{}: {}", limit.system, limit.limit)),
            Cell::number(number(limit.value)),
            Cell::number(format!("{}–{}", number(interval.low), number(interval.high))),
            verdict.within_noise(limit.close),
        ];
        table.row(&format!("{section}: {}", limit.label), &cells);
    }
    table.end()
}

/// Points that could not be measured, and why, of which the first line is shown.
pub(super) fn failures(failures: &[(String, String)]) -> String {
    let columns = [Column::Words("Records and frames"), Column::Words("Why")];
    let mut table = Table::new("Points that failed: nothing of them is on this page", &columns);
    for (point, why) in failures {
        let why = why.lines().next().unwrap_or_default();
        table.row(point, &[Cell::verdict(false, why)]);
    }
    table.end()
}

/// The limit lies within the interval, so that another run may say the opposite.
fn noise(limit: &Verdict) -> &'static str {
    if limit.close { ", within noise" } else { "" }
}

fn compared(comparison: &Comparison) -> String {
    let (median, interval) = (comparison.spread.median, comparison.interval);
    let noise = if comparison.is_within_noise() {
        "within noise: "
    } else {
        ""
    };
    let digits = if comparison.is_ratio() { 2 } else { 3 };
    format!(
        "{noise}{median:.digits$} [{:.digits$}–{:.digits$}]",
        interval.low, interval.high
    )
}

/// The name of a column, and what stands in it.
type Shown = (&'static str, fn(&Row) -> Cell);

const OF_CAPACITY: [Shown; 14] = [
    ("CPU s/GB", |row| median(row, Measure::CpuSPerGb)),
    ("least–most", range),
    ("ratio", |row| comparison(row, Measure::CpuSPerGb)),
    ("CPU s per 10⁶ records", |row| {
        median(row, Measure::CpuSPerMillionRecords)
    }),
    ("MB/s", speed),
    ("peak MB", |row| median(row, Measure::PeakMb)),
    ("wake-ups a frame", |row| median(row, Measure::WakeUpsPerFrame)),
    ("system calls a frame", |row| {
        median(row, Measure::SystemCallsPerFrame)
    }),
    ("ring enters a read", |row| {
        median(row, Measure::RingEntersPerRead)
    }),
    ("busiest thread", |row| match row.point.executors {
        // All that is of note is done by one.
        1 => Cell::none(),
        _ => median(row, Measure::BusiestThreadShare),
    }),
    ("broker's CPU s/GB", |row| median(row, Measure::BrokerCpuSPerGb)),
    ("its ratio", |row| comparison(row, Measure::BrokerCpuSPerGb)),
    ("ready ms", |row| median(row, Measure::StartMs)),
    ("first answer ms", |row| median(row, Measure::FirstFrameMs)),
];

/// The ratio is that of what each connection carries, which is the same of all.
const OF_CONNECTIONS: [Shown; 8] = [
    ("CPU µs a connection", |row| median(row, Measure::CpuUsPerFrame)),
    ("ratio", |row| comparison(row, Measure::CpuSPerGb)),
    ("connections/s", |row| {
        marked(row, Measure::FramesPerS, row.load_saturated, "*")
    }),
    ("p50 ms", |row| median(row, Measure::LatencyP50Ms)),
    ("p99 ms", |row| median(row, Measure::LatencyP99Ms)),
    ("peak MB", |row| median(row, Measure::PeakMb)),
    ("wake-ups a connection", |row| {
        median(row, Measure::WakeUpsPerFrame)
    }),
    ("system calls a connection", |row| {
        median(row, Measure::SystemCallsPerFrame)
    }),
];

const OF_LATENCY: [Shown; 8] = [
    ("p50 ms", |row| late(row, Measure::LatencyP50Ms)),
    ("added to direct", |row| comparison(row, Measure::LatencyP50Ms)),
    ("p90 ms", |row| late(row, Measure::LatencyP90Ms)),
    ("p99 ms", |row| late(row, Measure::LatencyP99Ms)),
    ("added to direct", |row| comparison(row, Measure::LatencyP99Ms)),
    ("p99.9 ms", |row| late(row, Measure::LatencyP999Ms)),
    ("p99.99 ms", |row| late(row, Measure::LatencyP9999Ms)),
    ("CPU s/GB", |row| median(row, Measure::CpuSPerGb)),
];

fn median(row: &Row, measure: Measure) -> Cell {
    let spread = row.measures.get(&measure);
    spread.map_or_else(Cell::none, |spread| Cell::number(number(spread.median)))
}

fn range(row: &Row) -> Cell {
    let spread = row.measures.get(&Measure::CpuSPerGb);
    let text = |spread: &Spread| format!("{}–{}", number(spread.min), number(spread.max));
    spread.map_or_else(Cell::none, |spread| Cell::number(text(spread)))
}

fn comparison(row: &Row, measure: Measure) -> Cell {
    match row.comparison(measure) {
        Some(found) => Cell::number(compared(found)).within_noise(found.is_within_noise()),
        None => Cell::none(),
    }
}

fn speed(row: &Row) -> Cell {
    marked(row, Measure::MbPerS, row.load_saturated, "*")
}

fn late(row: &Row, measure: Measure) -> Cell {
    marked(row, measure, row.rate_missed, "!")
}

fn marked(row: &Row, measure: Measure, applies: bool, mark: &str) -> Cell {
    let mark = if applies { mark } else { "" };
    let spread = row.measures.get(&measure);
    spread.map_or_else(Cell::none, |spread| Cell::number(number(spread.median) + mark))
}
