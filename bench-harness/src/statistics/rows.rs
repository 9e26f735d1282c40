//! One row for each system at each point: its numbers, and how they compare with others of the same rounds.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::samples::Samples;
use super::{Interval, Sample, Spread};
use crate::measure::Measure;
use crate::scenario::Point;

/// A line of the JSON: `kind` is `row`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Row {
    pub(crate) scenario: String,
    pub(crate) point: Point,
    /// The point in words.
    pub(crate) label: String,
    pub(crate) system: String,
    /// In at least half of its turns the load could not have done more: what says how fast it was says nothing of the
    /// system.
    pub(crate) load_saturated: bool,
    /// In at least half of its turns not all was sent that was due.
    pub(crate) rate_missed: bool,
    /// What the cipher and two checksums take by themselves for what is sealed or opened at the point.
    pub(crate) cipher_s_per_gb: Option<f64>,
    pub(crate) measures: BTreeMap<Measure, Spread>,
    pub(crate) comparisons: Vec<Comparison>,
}

/// A number of a system beside that of another in the same rounds.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Comparison {
    pub(crate) of: Measure,
    /// With whom.
    pub(crate) with: String,
    pub(crate) how: How,
    pub(crate) spread: Spread,
    pub(crate) interval: Interval,
}

impl Row {
    /// How this number is beside that of another.
    pub(crate) fn comparison(&self, of: Measure) -> Option<&Comparison> {
        self.comparisons.iter().find(|comparison| comparison.of == of)
    }
}

impl Comparison {
    pub(crate) fn is_ratio(&self) -> bool {
        self.how == How::Ratio
    }

    /// Chance alone may have made it: that there is no difference lies within the interval.
    pub(crate) fn is_within_noise(&self) -> bool {
        self.interval.has(match self.how {
            How::Ratio => 1.0,
            How::Difference => 0.0,
        })
    }
}

/// Divided by the other's, or less the other's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum How {
    Ratio,
    Difference,
}

/// The rows of a point, in the order of `systems`.
pub(crate) fn rows(samples: &[Sample], point: &Point, systems: &[String], reference: &str) -> Vec<Row> {
    let row = |system: &String| Samples(samples).row(point, system, reference);
    systems.iter().filter_map(row).collect()
}

impl Samples<'_> {
    fn row(&self, point: &Point, system: &str, reference: &str) -> Option<Row> {
        let first = self.of(point, system).next()?;
        let turns = self.of(point, system).filter(|sample| sample.round.is_some());
        let (mut saturated, mut dropped, mut all) = (0, 0, 0);
        for turn in turns {
            all += 1;
            saturated += usize::from(turn.measured.exchanged.is_load_saturated());
            dropped += usize::from(turn.measured.exchanged.dropped > 0);
        }
        let measures = Measure::ALL
            .into_iter()
            .filter_map(|measure| Some((measure, Spread::of(self.values(measure, point, system))?)));
        let compare = |(of, with, how)| self.comparison(of, point, system, with, how);
        Some(Row {
            scenario: first.scenario.clone(),
            point: point.clone(),
            label: point.label(),
            system: system.to_owned(),
            load_saturated: all > 0 && saturated * 2 >= all,
            rate_missed: all > 0 && dropped * 2 >= all,
            cipher_s_per_gb: None,
            measures: measures.collect(),
            comparisons: [
                (Measure::CpuSPerGb, reference, How::Ratio),
                (Measure::BrokerCpuSPerGb, reference, How::Ratio),
                (Measure::MbPerS, DIRECT, How::Ratio),
                (Measure::LatencyP50Ms, DIRECT, How::Difference),
                (Measure::LatencyP99Ms, DIRECT, How::Difference),
            ]
            .into_iter()
            .filter_map(compare)
            .collect(),
        })
    }
}

/// Whom speed is compared with: nobody between client and broker.
const DIRECT: &str = "direct";

#[cfg(test)]
mod tests {
    use super::super::sample::of_cpu;
    use super::*;
    use crate::scenario::{Direction, What};

    /// STATISTICS-1.
    #[test]
    fn ratios_pair_samples_of_one_round() {
        let point = &Point::of(What::Seal, Direction::Produce);
        let samples = [
            of_cpu(point, "haproxy", 0, 128),
            of_cpu(point, "sealwire", 0, 192),
            of_cpu(point, "sealwire", 1, 1024),
            of_cpu(point, "haproxy", 1, 256),
        ];
        let systems = ["haproxy", "sealwire"].map(str::to_owned);
        let rows = rows(&samples, point, &systems, "haproxy");
        assert!(rows[0].comparisons.is_empty(), "nobody is compared with himself");
        let ratio = &rows[1].comparisons[0];
        assert_eq!((ratio.of, ratio.how), (Measure::CpuSPerGb, How::Ratio));
        assert_eq!(ratio.spread.values, [1.5, 4.0]);
        assert_eq!(ratio.spread.median, 2.75);
    }

    #[test]
    fn a_load_at_its_limit_is_told() {
        let point = &Point::of(What::Seal, Direction::Produce);
        let mut samples = [of_cpu(point, "a", 0, 1), of_cpu(point, "a", 1, 1)];
        let is_told = |samples: &[Sample]| rows(samples, point, &["a".to_owned()], "b")[0].load_saturated;
        assert!(!is_told(&samples));
        samples[1].measured.exchanged.load_cpu_share = 0.96;
        assert!(is_told(&samples));
    }
}
