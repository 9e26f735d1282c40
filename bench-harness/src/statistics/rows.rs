//! One row for each system at each point: its numbers, how they compare with others of the same round, and whether
//! limits are kept.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Interval, Sample, Spread, of_medians, of_pairs};
use crate::measure::Measure;
use crate::measure::machine::CpuKind;
use crate::scenario::{Bound, CIPHER, FIRST_POINT, Limit, Point, Scenario};

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

/// Whether a limit is kept at a point. A line of the JSON: `kind` is `limit`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Verdict {
    pub(crate) scenario: String,
    pub(crate) label: String,
    pub(crate) system: String,
    pub(crate) limit: String,
    pub(crate) value: f64,
    pub(crate) interval: Interval,
    pub(crate) kept: bool,
    /// The limit lies within the interval: another run may say the opposite.
    pub(crate) close: bool,
}

/// The rows of a point, in the order of `systems`.
pub(crate) fn rows(samples: &[Sample], point: &Point, systems: &[String], reference: &str) -> Vec<Row> {
    let row = |system: &String| Samples(samples).row(point, system, reference);
    systems.iter().filter_map(row).collect()
}

/// What limits of a scenario say to its samples.
pub(crate) fn verdicts(scenario: &Scenario, samples: &[Sample], rows: &[Row], cpu: CpuKind) -> Vec<Verdict> {
    let points = scenario.points();
    let verdict = |limit: &Limit, point: &Point| {
        let (mut value, mut interval) = Samples(samples).limited(limit, point, &points)?;
        let row = rows
            .iter()
            .find(|row| row.point == *point && row.system == limit.system)?;
        if limit.of.is_of_speed() && row.load_saturated {
            return None;
        }
        if limit.divided_by.as_deref() == Some(CIPHER) {
            let cipher = row.cipher_s_per_gb?;
            value /= cipher;
            interval = Interval {
                low: interval.low / cipher,
                high: interval.high / cipher,
            };
        }
        let bound = limit.bound();
        let (Bound::Most(edge) | Bound::Least(edge)) = bound;
        Some(Verdict {
            scenario: scenario.name.clone(),
            label: point.label(),
            system: limit.system.clone(),
            limit: limit.text(),
            value,
            interval,
            kept: bound.is_kept(value),
            close: interval.has(edge),
        })
    };
    let of_limit = |limit| {
        points
            .iter()
            .filter(move |point| Limit::is_for(limit, point, cpu))
            .filter_map(move |point| verdict(limit, point))
    };
    scenario.limits.iter().flat_map(of_limit).collect()
}

/// What limits could not be said of, in words: who they compare with did not take part, what they are of was not
/// measured, or the load was at its limit.
pub(crate) fn unjudged(scenario: &Scenario, verdicts: &[Verdict], cpu: CpuKind) -> Vec<String> {
    let points = scenario.points();
    let text = |limit: &Limit| {
        let of_limit = |verdict: &&Verdict| verdict.limit == limit.text() && verdict.system == limit.system;
        let due: Vec<String> = points
            .iter()
            .filter(|point| limit.is_for(point, cpu) && limit.is_due(point, &points))
            .map(Point::label)
            .filter(|label| {
                !verdicts
                    .iter()
                    .filter(of_limit)
                    .any(|verdict| verdict.label == *label)
            })
            .collect();
        let first = due.first()?;
        let more = match due.len() - 1 {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        Some(format!(
            "{}, {first}{more}, {}: {}",
            scenario.name,
            limit.system,
            limit.text()
        ))
    };
    scenario.limits.iter().filter_map(text).collect()
}

struct Samples<'a>(&'a [Sample]);

impl Samples<'_> {
    fn of<'a>(&'a self, point: &'a Point, system: &'a str) -> impl Iterator<Item = &'a Sample> {
        self.0
            .iter()
            .filter(move |sample| sample.system == system && sample.point == *point)
    }

    fn values(&self, measure: Measure, point: &Point, system: &str) -> Vec<f64> {
        self.of(point, system)
            .filter_map(|sample| measure.of(&sample.measured))
            .collect()
    }

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

    /// In pairs of one round (STATISTICS-1).
    fn comparison(
        &self,
        of: Measure,
        point: &Point,
        system: &str,
        with: &str,
        how: How,
    ) -> Option<Comparison> {
        if system == with {
            return None;
        }
        let pairs = self.of(point, system).filter_map(|sample| {
            let mut others = self.of(point, with);
            let other = others.find(|other| other.round == sample.round)?;
            let (own, other) = (of.of(&sample.measured)?, of.of(&other.measured)?);
            Some(match how {
                How::Ratio => own / other,
                How::Difference => own - other,
            })
        });
        let values: Vec<f64> = pairs.filter(|value| value.is_finite()).collect();
        Some(Comparison {
            of,
            with: with.to_owned(),
            how,
            interval: of_pairs(&values)?,
            spread: Spread::of(values)?,
        })
    }

    /// The number that a limit is about, where it was measured.
    fn limited(&self, limit: &Limit, point: &Point, points: &[Point]) -> Option<(f64, Interval)> {
        let system = limit.system.as_str();
        let own = self.values(limit.of, point, system);
        let paired = |other: &str, how| {
            let comparison = self.comparison(limit.of, point, system, other, how)?;
            Some((comparison.spread.median, comparison.interval))
        };
        match (&limit.divided_by, &limit.less) {
            (Some(first), _) if first == FIRST_POINT => {
                let first = limit.first_point(point, points)?;
                let first = self.values(limit.of, first, system);
                let ratio = super::median(&own)? / super::median(&first)?;
                Some((ratio, of_medians(&own, &first)?))
            }
            (_, Some(other)) => paired(other, How::Difference),
            (Some(other), None) if other != CIPHER => paired(other, How::Ratio),
            _ => Some((super::median(&own)?, of_pairs(&own)?)),
        }
    }
}

/// Whom speed is compared with: nobody between client and broker.
const DIRECT: &str = "direct";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::{Exchanged, Measured, System};

    fn scenario(limits: &str) -> Scenario {
        let text =
            format!("summary = \"x\"\nwhat = \"seal\"\nframe_kib = 64\nconnections = [1, 10]\n{limits}");
        Scenario::parse("test", &text).unwrap()
    }

    fn sample(point: &Point, system: &str, round: usize, cpu_ns: u64) -> Sample {
        Sample {
            scenario: "test".to_owned(),
            point: point.clone(),
            system: system.to_owned(),
            round: Some(round),
            measured: Measured {
                exchanged: Exchanged {
                    wall_ns: 1_000_000_000,
                    frames: 10,
                    records: 640,
                    bytes: 1_000_000_000,
                    dropped: 0,
                    latency_ns: None,
                    load_cpu_share: 0.5,
                    broker_cpu_ns: None,
                },
                of_system: Some(System {
                    cpu_ns,
                    resident_bytes: 0,
                    peak_bytes: 0,
                    voluntary_switches: 0,
                    involuntary_switches: 0,
                    kms_calls: None,
                }),
                system_calls: None,
                start_ns: None,
                first_frame_ns: None,
            },
        }
    }

    /// STATISTICS-1.
    #[test]
    fn ratios_pair_samples_of_one_round() {
        let point = &scenario("").points()[0];
        let samples = [
            sample(point, "haproxy", 0, 128),
            sample(point, "sealwire", 0, 192),
            sample(point, "sealwire", 1, 1024),
            sample(point, "haproxy", 1, 256),
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
        let point = &scenario("").points()[0];
        let mut samples = [sample(point, "a", 0, 1), sample(point, "a", 1, 1)];
        let is_told = |samples: &[Sample]| rows(samples, point, &["a".to_owned()], "b")[0].load_saturated;
        assert!(!is_told(&samples));
        samples[1].measured.exchanged.load_cpu_share = 0.96;
        assert!(is_told(&samples));
    }

    #[test]
    fn limits_are_kept_or_missed_where_they_hold() {
        let scenario = scenario(
            "[[limits]]\nof = \"cpu_s_per_gb\"\ndivided_by = \"haproxy\"\nmost = 2.0\n\
             [[limits]]\nof = \"cpu_s_per_gb\"\ndivided_by = \"first\"\nmost = 1.1\n\
             [[limits]]\nof = \"cpu_s_per_gb\"\nless = \"haproxy\"\ndivided_by = \"cipher\"\nmost = 1.9\n\
             at = { connections = 1 }\n\
             [[limits]]\nof = \"cpu_s_per_gb\"\nmost = 0.0\ncpu = \"aesni\"\n",
        );
        let [one, ten] = &scenario.points()[..] else {
            panic!("two points")
        };
        let mut samples = Vec::new();
        for round in 0..3 {
            samples.push(sample(one, "haproxy", round, 100));
            samples.push(sample(one, "sealwire", round, 200));
            samples.push(sample(ten, "haproxy", round, 100));
            samples.push(sample(ten, "sealwire", round, 240));
        }
        let systems = ["haproxy", "sealwire"].map(str::to_owned);
        let rows_of = |point| rows(&samples, point, &systems, "haproxy");
        let mut rows: Vec<Row> = [one, ten].into_iter().flat_map(rows_of).collect();
        for row in &mut rows {
            row.cipher_s_per_gb = Some(5e-8);
        }
        let verdicts = verdicts(&scenario, &samples, &rows, CpuKind::Avx512);
        let told: Vec<(f64, bool, bool)> = verdicts
            .iter()
            .map(|verdict| (verdict.value, verdict.kept, verdict.close))
            .collect();
        assert_eq!(
            told,
            [
                (2.0, true, true),
                (2.4, false, false),
                (1.2, false, false),
                (2.0, false, false)
            ]
        );
        assert!(unjudged(&scenario, &verdicts, CpuKind::Avx512).is_empty());
        let said = unjudged(&scenario, &verdicts[1..], CpuKind::Aesni);
        assert_eq!(said.len(), 2, "{said:?}");
        assert!(
            said[0].contains("seal 64 KiB, connections 1, sealwire: cpu_s_per_gb at most 2"),
            "{said:?}"
        );
        assert!(
            said[1].contains(" and 1 more, sealwire: cpu_s_per_gb at most 0"),
            "{said:?}"
        );
    }

    #[test]
    fn a_limit_of_speed_is_not_judged_where_the_load_was_at_its_own() {
        let scenario = scenario("[[limits]]\nof = \"mb_per_s\"\nleast = 1.0\nat = { connections = 1 }\n");
        let point = &scenario.points()[0];
        for (share, judged) in [(0.5, 1), (0.97, 0)] {
            let mut samples = [sample(point, "sealwire", 0, 1)];
            samples[0].measured.exchanged.load_cpu_share = share;
            let rows = rows(&samples, point, &["sealwire".to_owned()], "haproxy");
            let verdicts = verdicts(&scenario, &samples, &rows, CpuKind::Avx512);
            assert_eq!(verdicts.len(), judged);
            assert_eq!(unjudged(&scenario, &verdicts, CpuKind::Avx512).len(), 1 - judged);
        }
    }
}
