//! Whether limits are kept.

use serde::{Deserialize, Serialize};

use super::samples::Samples;
use super::{How, Interval, Row, Sample, median, of_medians, of_pairs};
use crate::measure::Measure;
use crate::measure::machine::CpuKind;
use crate::scenario::{Bound, CIPHER, FIRST_POINT, Limit, Point, Scenario};

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
    /// The limit for programs; runs that were recorded before it was told have none.
    #[serde(default)]
    pub(crate) edge: Option<Edge>,
}

/// The number of a limit, and what it is of.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Edge {
    pub(crate) of: Measure,
    pub(crate) divided_by: Option<String>,
    pub(crate) less: Option<String>,
    pub(crate) at: f64,
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
            edge: Some(Edge {
                of: limit.of,
                divided_by: limit.divided_by.clone(),
                less: limit.less.clone(),
                at: edge,
            }),
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

impl Samples<'_> {
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
                let ratio = median(&own)? / median(&first)?;
                Some((ratio, of_medians(&own, &first)?))
            }
            (_, Some(other)) => paired(other, How::Difference),
            (Some(other), None) if other != CIPHER => paired(other, How::Ratio),
            _ => Some((median(&own)?, of_pairs(&own)?)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::rows;
    use super::super::sample::of_cpu;
    use super::*;

    fn scenario(limits: &str) -> Scenario {
        let text =
            format!("summary = \"x\"\nwhat = \"seal\"\nframe_kib = 64\nconnections = [1, 10]\n{limits}");
        Scenario::parse("test", &text).unwrap()
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
            samples.push(of_cpu(one, "haproxy", round, 100));
            samples.push(of_cpu(one, "sealwire", round, 200));
            samples.push(of_cpu(ten, "haproxy", round, 100));
            samples.push(of_cpu(ten, "sealwire", round, 240));
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
            let mut samples = [of_cpu(point, "sealwire", 0, 1)];
            samples[0].measured.exchanged.load_cpu_share = share;
            let rows = rows(&samples, point, &["sealwire".to_owned()], "haproxy");
            let verdicts = verdicts(&scenario, &samples, &rows, CpuKind::Avx512);
            assert_eq!(verdicts.len(), judged);
            assert_eq!(unjudged(&scenario, &verdicts, CpuKind::Avx512).len(), 1 - judged);
        }
    }
}
