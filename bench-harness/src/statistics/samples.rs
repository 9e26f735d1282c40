//! The turns of a scenario: numbers of one system at one point, and how they compare with those of another.

use super::{Comparison, How, Sample, Spread, of_pairs};
use crate::measure::Measure;
use crate::scenario::Point;

pub(super) struct Samples<'a>(pub(super) &'a [Sample]);

impl Samples<'_> {
    pub(super) fn of<'a>(&'a self, point: &'a Point, system: &'a str) -> impl Iterator<Item = &'a Sample> {
        self.0
            .iter()
            .filter(move |sample| sample.system == system && sample.point == *point)
    }

    pub(super) fn values(&self, measure: Measure, point: &Point, system: &str) -> Vec<f64> {
        self.of(point, system)
            .filter_map(|sample| measure.of(&sample.measured))
            .collect()
    }

    /// In pairs of one round (STATISTICS-1).
    pub(super) fn comparison(
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
}
