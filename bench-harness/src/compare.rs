//! `compare`: two runs beside each other, row by row, and whether what differs is more than chance.

use std::fmt::Write as _;

use clap::Args;

use crate::Failure;
use crate::measure::{Better, Measure};
use crate::report::{NO_POINT, Recorded};
use crate::statistics::{self, Interval, Row, median, of_medians};

/// Options of `compare`.
#[derive(Args)]
pub(crate) struct Options {
    /// The earlier one: a file that `run --json` wrote; or a recorded run: `last`, `last~1`, its time, its commit.
    before: String,
    /// The later one.
    after: String,
    /// Which numbers.
    #[arg(long, value_delimiter = ',', default_values = MEASURES)]
    measures: Vec<String>,
}

/// What is asked first.
const MEASURES: [&str; 5] = [
    "cpu_s_per_gb",
    "mb_per_s",
    "latency_p50_ms",
    "latency_p99_ms",
    "peak_mb",
];

pub(crate) fn run(options: &Options) -> Result<(), Failure> {
    let [before, after] = [&options.before, &options.after].map(|name| Recorded::load(name));
    let (before, after) = (before?, after?);
    for recorded in [&before, &after] {
        if recorded.rows.is_empty() {
            return Err(format!("{}: {NO_POINT}", recorded.run.started).into());
        }
        let commit = recorded.run.commit.as_deref().unwrap_or("unknown");
        tell!(
            "{}: commit {commit}, {}",
            recorded.run.started,
            recorded.run.machine.text()
        );
    }
    if before.run.machine.text() != after.run.machine.text() {
        tell!("These are two machines: a difference may be theirs, also where it is outside of the noise.");
    }
    let mut measures = Vec::new();
    for name in &options.measures {
        let known = Measure::ALL.into_iter().find(|measure| measure.name() == name);
        measures.push(known.ok_or_else(|| format!("no measure {name}"))?);
    }
    let (text, rounds) = table(&before.rows, &after.rows, &measures);
    if text.is_empty() {
        return Err("the two runs have no point and system in common".into());
    }
    tell_part!("{text}");
    if let Some(warning) = statistics::too_few(rounds) {
        tell!("{warning}");
    }
    Ok(())
}

/// The table, and the fewest rounds that a number of it is of.
fn table(before: &[Row], after: &[Row], measures: &[Measure]) -> (String, usize) {
    let (mut text, mut rounds) = (String::new(), usize::MAX);
    for later in after {
        let same = |row: &&Row| row.point == later.point && row.system == later.system;
        let Some(earlier) = before.iter().find(same) else {
            continue;
        };
        let found = measures
            .iter()
            .filter_map(|measure| Some((measure, Change::of(*measure, earlier, later)?)));
        for (measure, change) in found {
            rounds = rounds.min(change.rounds);
            let _ = writeln!(
                text,
                "{}, {}: {} {}",
                later.label,
                later.system,
                measure.name(),
                change.text(*measure)
            );
        }
    }
    (text, rounds)
}

/// The later number divided by the earlier one.
struct Change {
    ratio: f64,
    interval: Interval,
    /// Of the run that had fewer.
    rounds: usize,
    /// By whom both were divided first, because hosts drift.
    relative_to: Option<String>,
    /// It is of speed, and in one of the runs the load was at its limit.
    by_load: bool,
}

impl Change {
    /// Where both runs have the ratio to the same reference, of that: it does not know how fast the host was.
    fn of(measure: Measure, earlier: &Row, later: &Row) -> Option<Self> {
        let ratios = |row: &Row| {
            let mut comparisons = row.comparisons.iter();
            let found = comparisons.find(|comparison| comparison.of == measure && comparison.is_ratio());
            found.map(|found| (found.with.clone(), found.spread.values.clone()))
        };
        let paired = ratios(earlier).zip(ratios(later));
        let relative = paired.filter(|((with, _), (other, _))| with == other);
        let (relative_to, before, after) = match relative {
            Some(((with, before), (_, after))) => (Some(with), before, after),
            None => {
                let values = |row: &Row| Some(row.measures.get(&measure)?.values.clone());
                (None, values(earlier)?, values(later)?)
            }
        };
        Some(Self {
            ratio: median(&after)? / median(&before)?,
            interval: of_medians(&after, &before)?,
            rounds: after.len().min(before.len()),
            relative_to,
            by_load: measure.is_of_speed() && (earlier.load_saturated || later.load_saturated),
        })
    }

    fn text(&self, measure: Measure) -> String {
        let Interval { low, high } = self.interval;
        let verdict = match measure.better() {
            _ if self.by_load => "the load was at its limit: says nothing of the system",
            _ if self.interval.has(1.0) => "inside the noise: no difference is shown",
            Better::Less if self.ratio < 1.0 => "better",
            Better::More if self.ratio > 1.0 => "better",
            _ => "WORSE",
        };
        let relative = match &self.relative_to {
            Some(with) => format!(" relative to {with}"),
            None => String::new(),
        };
        format!(
            "{:.3} times [{low:.3}-{high:.3}]{relative}: {verdict}",
            self.ratio
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As `run --json` writes it, but for what is not read here.
    fn row(system: &str, cpu: [f64; 5], ratio: Option<[f64; 5]>, saturated: bool) -> Row {
        let spread = |values: [f64; 5]| {
            let [min, _, median, _, max] = values;
            serde_json::json!({ "median": median, "min": min, "max": max, "values": values })
        };
        let point = serde_json::json!({
            "what": "seal", "direction": "produce", "frame_kib": 64, "record_bytes": 1024,
            "codec": "none", "stored_codec": "lz4", "connections": 16, "topics": 1, "rules": 2, "keks": 1, "deks": 1,
            "idle_connections": 0, "rate_mb_per_s": null
        });
        let comparisons: Vec<_> = ratio
            .map(|ratio| {
                serde_json::json!({
                    "of": "cpu_s_per_gb", "with": "haproxy-64k", "how": "ratio", "spread": spread(ratio),
                    "interval": { "low": 0.0, "high": 0.0 },
                })
            })
            .into_iter()
            .collect();
        let row = serde_json::json!({
            "scenario": "seal", "point": point, "label": "seal 64 KiB", "system": system,
            "load_saturated": saturated, "rate_missed": false, "cipher_s_per_gb": null,
            "measures": { "cpu_s_per_gb": spread(cpu), "mb_per_s": spread(cpu) },
            "comparisons": comparisons,
        });
        serde_json::from_value(row).unwrap()
    }

    const SLOW: [f64; 5] = [2.0, 2.02, 2.04, 2.06, 2.08];
    const FAST: [f64; 5] = [1.0, 1.01, 1.02, 1.03, 1.04];

    fn said(before: &Row, after: &Row, measure: Measure) -> String {
        table(
            std::slice::from_ref(before),
            std::slice::from_ref(after),
            &[measure],
        )
        .0
    }

    #[test]
    fn the_run_with_fewer_rounds_decides_whether_intervals_mean_something() {
        let full = row("sealwire", SLOW, None, false);
        let with = |rounds: usize| {
            let mut row = full.clone();
            for spread in row.measures.values_mut() {
                spread.values.truncate(rounds);
            }
            row
        };
        for (before, after, warned) in [(5, 5, false), (4, 5, true), (5, 4, true)] {
            let (_, rounds) = table(&[with(before)], &[with(after)], &[Measure::CpuSPerGb]);
            assert_eq!(statistics::too_few(rounds).is_some(), warned, "{before}, {after}");
        }
    }

    #[test]
    fn what_is_less_is_better_and_more_is_worse_unless_it_is_speed() {
        let [slow, fast] = [SLOW, FAST].map(|values| row("sealwire", values, None, false));
        assert!(said(&slow, &fast, Measure::CpuSPerGb).contains("0.500 times"));
        assert!(said(&slow, &fast, Measure::CpuSPerGb).ends_with(": better\n"));
        assert!(said(&fast, &slow, Measure::CpuSPerGb).ends_with(": WORSE\n"));
        assert!(said(&fast, &slow, Measure::MbPerS).ends_with(": better\n"));
    }

    #[test]
    fn no_claim_is_made_inside_the_noise_or_of_a_load_at_its_limit() {
        let noisy = [0.8, 0.9, 1.03, 1.1, 1.3];
        let [one, other] = [FAST, noisy].map(|values| row("sealwire", values, None, false));
        assert!(said(&one, &other, Measure::CpuSPerGb).contains("inside the noise"));
        let saturated = row("sealwire", SLOW, None, true);
        assert!(said(&one, &saturated, Measure::MbPerS).contains("says nothing"));
        assert!(said(&one, &saturated, Measure::CpuSPerGb).contains("WORSE"));
    }

    /// The host was half as fast in the second run, for the reference too.
    #[test]
    fn ratios_to_the_same_reference_are_compared_where_there_are_some() {
        let before = row("sealwire", FAST, Some(FAST), false);
        let after = row("sealwire", SLOW, Some(FAST), false);
        let said = said(&before, &after, Measure::CpuSPerGb);
        assert!(
            said.contains("relative to haproxy-64k") && said.contains("inside the noise"),
            "{said}"
        );
    }

    #[test]
    fn rows_of_other_systems_are_not_compared() {
        let [one, other] = ["sealwire", "direct"].map(|system| row(system, FAST, None, false));
        assert_eq!(said(&one, &other, Measure::CpuSPerGb), "");
    }
}
