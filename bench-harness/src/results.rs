//! Samples, paired ratios, and how they are written down.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Serialize;

use crate::Failure;

/// One system, one case, one round.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Sample {
    /// What was done: direction and frame size.
    pub(crate) case: String,
    /// Who did it.
    pub(crate) system: &'static str,
    /// Systems of one round ran one after the other, in shuffled order.
    pub(crate) round: usize,
    /// Frames there and back.
    pub(crate) exchanges: u64,
    /// Bytes that clients sent and got, in all of them.
    pub(crate) bytes: u64,
    /// CPU time of the relay's process, in nanoseconds.
    pub(crate) cpu_ns: u64,
    /// Wall time, in nanoseconds.
    pub(crate) wall_ns: u64,
}

impl Sample {
    /// CPU milliseconds for 10^9 bytes.
    pub(crate) fn cpu_ms_per_gb(&self) -> f64 {
        self.cpu_ns as f64 * 1e3 / self.bytes.max(1) as f64
    }

    fn cpu_us_per_exchange(&self) -> f64 {
        self.cpu_ns as f64 / 1e3 / self.exchanges.max(1) as f64
    }

    fn gb_per_second(&self) -> f64 {
        self.bytes as f64 / self.wall_ns.max(1) as f64
    }
}

/// Median and range.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
}

impl Spread {
    /// Of at least one value.
    pub(crate) fn of(mut values: Vec<f64>) -> Option<Self> {
        values.sort_by(f64::total_cmp);
        let (first, last) = (*values.first()?, *values.last()?);
        let middle = values.len() / 2;
        let upper = *values.get(middle)?;
        let median = match values.len() % 2 {
            0 => (upper + *values.get(middle.checked_sub(1)?)?) / 2.0,
            _ => upper,
        };
        Some(Self {
            median,
            min: first,
            max: last,
        })
    }
}

/// One line of the table.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Row {
    pub(crate) case: String,
    pub(crate) system: &'static str,
    pub(crate) cpu_ms_per_gb: Spread,
    pub(crate) cpu_us_per_exchange: f64,
    pub(crate) gb_per_second: f64,
    /// CPU against the reference in the same round.
    pub(crate) ratio: Option<Spread>,
}

/// Rows in the order in which cases and systems first appear.
pub(crate) fn rows(samples: &[Sample], reference: &str) -> Vec<Row> {
    let mut groups: Vec<(&str, &'static str, Vec<&Sample>)> = Vec::new();
    for sample in samples {
        let group = groups
            .iter_mut()
            .find(|(case, system, _)| *case == sample.case && *system == sample.system);
        match group {
            Some((_, _, members)) => members.push(sample),
            None => groups.push((&sample.case, sample.system, vec![sample])),
        }
    }
    let references: BTreeMap<(&str, usize), f64> = samples
        .iter()
        .filter(|sample| sample.system == reference)
        .map(|sample| ((sample.case.as_str(), sample.round), sample.cpu_ms_per_gb()))
        .collect();
    let median = |values: Vec<f64>| Spread::of(values).map_or(0.0, |spread| spread.median);
    groups
        .into_iter()
        .filter_map(|(case, system, members)| {
            let ratios = members.iter().filter_map(|sample| {
                let reference = references.get(&(case, sample.round))?;
                Some(sample.cpu_ms_per_gb() / reference)
            });
            Some(Row {
                case: case.to_owned(),
                system,
                cpu_ms_per_gb: Spread::of(members.iter().map(|sample| sample.cpu_ms_per_gb()).collect())?,
                cpu_us_per_exchange: median(
                    members
                        .iter()
                        .map(|sample| sample.cpu_us_per_exchange())
                        .collect(),
                ),
                gb_per_second: median(members.iter().map(|sample| sample.gb_per_second()).collect()),
                ratio: Spread::of(ratios.collect()),
            })
        })
        .collect()
}

/// The rows as a Markdown table.
pub(crate) fn table(rows: &[Row]) -> Result<String, Failure> {
    let mut text = String::from(
        "| case | system | CPU ms/GB, median (min-max) | CPU µs a frame | GB/s | \
         ratio to HAProxy, median (min-max) |\n|---|---|---|---|---|---|\n",
    );
    for row in rows {
        let cpu = row.cpu_ms_per_gb;
        let ratio = row.ratio.map_or_else(String::new, |ratio| {
            format!("{:.2} ({:.2}-{:.2})", ratio.median, ratio.min, ratio.max)
        });
        writeln!(
            text,
            "| {} | {} | {:.0} ({:.0}-{:.0}) | {:.1} | {:.2} | {ratio} |",
            row.case, row.system, cpu.median, cpu.min, cpu.max, row.cpu_us_per_exchange, row.gb_per_second
        )?;
    }
    Ok(text)
}

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

/// What the numbers were measured on. No names of hosts or people.
pub(crate) fn machine() -> String {
    let cpu_information = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let value = |line: &'_ str| line.split_once(": ").map(|(_, value)| value.to_owned());
    let model = cpu_information
        .lines()
        .find(|line| line.starts_with("model name"))
        .and_then(value);
    // Not what this thread may use: it is pinned.
    let cores = cpu_information
        .lines()
        .filter(|line| line.starts_with("processor"))
        .count();
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let kernel: String = release.split('.').take(2).collect::<Vec<_>>().join(".");
    let model = model.unwrap_or_else(|| "unknown CPU".to_owned());
    format!("{model}, {cores} cores, Linux {kernel}, loopback")
}

/// A shuffle that a printed seed repeats.
pub(crate) struct Shuffle(u64);

impl Shuffle {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed | 1)
    }

    pub(crate) fn order(&mut self, items: &mut [usize]) {
        for last in (1..items.len()).rev() {
            // xorshift64: good enough to break up order, and five lines.
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            let other = (self.0 % (last as u64 + 1)) as usize;
            items.swap(last, other);
        }
    }
}

/// Nanoseconds as a number that JSON can hold.
pub(crate) fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(system: &'static str, round: usize, cpu_ns: u64) -> Sample {
        Sample {
            case: "produce".to_owned(),
            system,
            round,
            exchanges: 10,
            bytes: 1 << 30,
            cpu_ns,
            wall_ns: 1_000_000_000,
        }
    }

    #[test]
    fn ratios_pair_samples_of_one_round() {
        let samples = [
            sample("reference", 0, 128),
            sample("other", 0, 192),
            sample("other", 1, 1024),
            sample("reference", 1, 256),
        ];
        let rows = rows(&samples, "reference");
        let ratio = rows[1].ratio.unwrap();
        assert_eq!((ratio.min, ratio.median, ratio.max), (1.5, 2.75, 4.0));
        assert_eq!(rows[0].ratio.unwrap().median, 1.0);
    }

    #[test]
    fn medians_of_odd_and_even_numbers() {
        assert_eq!(Spread::of(vec![3.0, 1.0, 2.0]).unwrap().median, 2.0);
        assert_eq!(Spread::of(vec![4.0, 1.0, 2.0, 3.0]).unwrap().median, 2.5);
        assert!(Spread::of(Vec::new()).is_none());
    }

    #[test]
    fn a_seed_repeats_its_order() {
        let orders = [0, 1].map(|_| {
            let mut order: Vec<usize> = (0..20).collect();
            Shuffle::new(42).order(&mut order);
            order
        });
        assert_eq!(orders[0], orders[1]);
        assert_ne!(orders[0], (0..20).collect::<Vec<_>>());
    }
}
