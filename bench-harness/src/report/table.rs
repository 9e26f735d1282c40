//! Rows and limits as text for a terminal.

use std::fmt::Write as _;

use crate::measure::Measure;
use crate::statistics::{Row, Verdict};

/// The rows of one point.
pub(crate) fn of_point(rows: &[Row]) -> String {
    let mut text = String::new();
    let Some(first) = rows.first() else {
        return text;
    };
    let [cost, speed] = match first.point.reconnects {
        true => ["CPU us/conn. (min-max)", "conn./s"],
        false => ["CPU s/GB (min-max)", "MB/s"],
    };
    let _ = writeln!(
        text,
        "\n{}\n  {:16} {:>26} {:>26} {:>9} {:>17} {:>8} {:>8} {:>15}",
        first.label,
        "",
        cost,
        "ratio [95 %]",
        speed,
        "ms p50 / p99",
        "peak MB",
        "wakes/fr",
        "calls/fr, enter"
    );
    for row in rows {
        let _ = writeln!(text, "  {}", line(row));
    }
    for row in rows {
        text += &cold(row).unwrap_or_default();
        text += &of_broker(row);
    }
    for note in notes(rows.iter()) {
        let _ = writeln!(text, "  {note}");
    }
    text
}

fn line(row: &Row) -> String {
    let median = |measure: Measure| row.measures.get(&measure).map(|spread| spread.median);
    let speed = match row.point.reconnects {
        true => Measure::FramesPerS,
        false => Measure::MbPerS,
    };
    let (cost, _) = row.point.cost();
    let cpu = row.measures.get(&cost).map(|cpu| {
        let digits = match cpu.median {
            ..1.0 => 3,
            ..100.0 => 2,
            _ => 0,
        };
        format!(
            "{:.digits$} ({:.digits$}-{:.digits$})",
            cpu.median, cpu.min, cpu.max
        )
    });
    let ratio = row.comparison(Measure::CpuSPerGb);
    let ratio = ratio.map(|ratio| {
        let (interval, median) = (ratio.interval, ratio.spread.median);
        format!("{median:.2} [{:.2}-{:.2}]", interval.low, interval.high)
    });
    let speed = median(speed).map(|speed| {
        let mark = if row.load_saturated { "*" } else { "" };
        format!("{speed:.0}{mark}")
    });
    let latency = median(Measure::LatencyP50Ms).zip(median(Measure::LatencyP99Ms));
    let latency = latency.map(|(half, most)| {
        let mark = if row.rate_missed { "!" } else { "" };
        format!("{half:.3} / {most:.3}{mark}")
    });
    let calls = median(Measure::SystemCallsPerFrame).map(|calls| {
        let enters = median(Measure::RingEntersPerFrame).unwrap_or_default();
        format!("{calls:.1}, {enters:.1}")
    });
    let shown = |value: Option<String>| value.unwrap_or_else(|| "-".to_owned());
    format!(
        "{:16} {:>26} {:>26} {:>9} {:>17} {:>8} {:>8} {:>15}",
        row.system,
        shown(cpu),
        shown(ratio),
        shown(speed),
        shown(latency),
        shown(median(Measure::PeakMb).map(|peak| format!("{peak:.1}"))),
        shown(median(Measure::WakeUpsPerFrame).map(|wakes| format!("{wakes:.2}"))),
        shown(calls),
    )
}

/// Of systems that are started anew for each round: a median of one start says nothing.
fn cold(row: &Row) -> Option<String> {
    let first = row
        .measures
        .get(&Measure::FirstFrameMs)
        .filter(|first| first.values.len() > 1)?;
    let start = row.measures.get(&Measure::StartMs);
    let start = start.map(|start| format!("ready in {:.0} ms, ", start.median));
    Some(format!(
        "  {:16} {}first request answered in {:.2} ms ({:.2}-{:.2})\n",
        row.system,
        start.unwrap_or_default(),
        first.median,
        first.min,
        first.max
    ))
}

/// What a real broker used meanwhile, in a line of its own.
fn of_broker(row: &Row) -> String {
    let Some(cpu) = row.measures.get(&Measure::BrokerCpuSPerGb) else {
        return String::new();
    };
    let mut comparisons = row.comparisons.iter();
    let ratio = comparisons.find(|comparison| comparison.of == Measure::BrokerCpuSPerGb);
    let ratio = ratio.map_or_else(String::new, |ratio| {
        let (interval, median, with) = (ratio.interval, ratio.spread.median, &ratio.with);
        format!(
            ", {median:.2} [{:.2}-{:.2}] times {with}",
            interval.low, interval.high
        )
    });
    format!(
        "  the broker, with {}: {:.2} CPU s/GB{ratio}\n",
        row.system, cpu.median
    )
}

/// What limits say, a line each.
pub(crate) fn of_verdicts(verdicts: &[Verdict]) -> String {
    let mut text = String::new();
    for verdict in verdicts {
        let word = if verdict.kept { "kept" } else { "MISSED" };
        let close = if verdict.close { ", inside the noise" } else { "" };
        let _ = writeln!(
            text,
            "{word:6} {}, {}, {}: {:.3} [{:.3}-{:.3}], limit: {}{close}",
            verdict.scenario,
            verdict.label,
            verdict.system,
            verdict.value,
            verdict.interval.low,
            verdict.interval.high,
            verdict.limit
        );
    }
    text
}

/// What signs beside numbers of these rows mean.
pub(super) fn notes<'a>(mut rows: impl Iterator<Item = &'a Row> + Clone) -> Vec<&'static str> {
    let saturated = rows.clone().any(|row| row.load_saturated).then_some(SATURATED);
    let missed = rows.any(|row| row.rate_missed).then_some(RATE_MISSED);
    saturated.into_iter().chain(missed).collect()
}

const SATURATED: &str =
    "* the load had all of its core: the system may be faster. CPU per GB holds all the same";
const RATE_MISSED: &str =
    "! not all was sent that was due: latency is that of a system that is too slow for the rate";
