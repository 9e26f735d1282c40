//! What has to hold: a bound on one measure, of one system, at some points, on some CPUs.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::Point;
use crate::Failure;
use crate::measure::Measure;
use crate::measure::machine::CpuKind;

/// One `[[limits]]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Limit {
    /// Of what.
    pub(crate) of: Measure,
    /// Whose.
    #[serde(default = "default_system")]
    pub(crate) system: String,
    /// The measure divided by this system's, in pairs; or by the same system's at the scenario's first point.
    pub(crate) divided_by: Option<String>,
    /// The measure less this system's, in pairs.
    pub(crate) less: Option<String>,
    /// No more than this.
    pub(crate) most: Option<f64>,
    /// No less than this.
    pub(crate) least: Option<f64>,
    /// Only at points that have this value, or one of these, in each of these fields.
    #[serde(default)]
    at: BTreeMap<String, serde_json::Value>,
    /// Only on such a CPU.
    pub(crate) cpu: Option<CpuKind>,
}

/// Which side of a number is good.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Bound {
    Most(f64),
    Least(f64),
}

impl Limit {
    pub(super) fn check(&self, points: &[Point]) -> Result<(), Failure> {
        let of = self.of.name();
        if self.most.is_some() == self.least.is_some() {
            return Err(format!("limits, {of}: one of `most` and `least` has to be there").into());
        }
        let two = self.divided_by.is_some() && self.less.is_some();
        if two && self.divided_by.as_deref() != Some(CIPHER) {
            return Err(format!("limits, {of}: `less` and `divided_by` only with \"{CIPHER}\"").into());
        }
        if !points.iter().any(|point| self.is_at(point)) {
            return Err(format!(
                "limits, {of}: no point of the scenario is at {}",
                serde_json::json!(self.at)
            )
            .into());
        }
        Ok(())
    }

    /// Whom it names.
    pub(super) fn systems(&self) -> impl Iterator<Item = &str> {
        let others = self.divided_by.iter().chain(&self.less).map(String::as_str);
        let others = others.filter(|name| ![CIPHER, FIRST_POINT].contains(name));
        others.chain([self.system.as_str()])
    }

    /// Where its number lies.
    pub(crate) fn bound(&self) -> Bound {
        match (self.most, self.least) {
            (None, Some(least)) => Bound::Least(least),
            (most, _) => Bound::Most(most.unwrap_or(f64::INFINITY)),
        }
    }

    /// Whether it says something of this point on this CPU.
    pub(crate) fn is_for(&self, point: &Point, cpu: CpuKind) -> bool {
        self.is_at(point) && self.cpu.is_none_or(|kind| kind == cpu)
    }

    /// Whether it can be said of this point: the first one is not compared with itself.
    pub(crate) fn is_due(&self, point: &Point, points: &[Point]) -> bool {
        let is_of_curve = self.divided_by.as_deref() == Some(FIRST_POINT);
        !is_of_curve || self.first_point(point, points).is_some()
    }

    /// The first point of the same size of frames and kind of work, for all others of them.
    pub(crate) fn first_point<'a>(&self, point: &Point, points: &'a [Point]) -> Option<&'a Point> {
        let kind = |point: &Point| (point.frame_kib, point.what, point.direction);
        let first = points.iter().find(|other| kind(other) == kind(point));
        first.filter(|first| *first != point)
    }

    fn is_at(&self, point: &Point) -> bool {
        let fields = serde_json::to_value(point).unwrap_or_default();
        self.at.iter().all(|(name, wanted)| match wanted {
            serde_json::Value::Array(wanted) => wanted.contains(&fields[name]),
            wanted => fields.get(name) == Some(wanted),
        })
    }

    /// In words.
    pub(crate) fn text(&self) -> String {
        let (side, number) = match self.bound() {
            Bound::Most(most) => ("at most", most),
            Bound::Least(least) => ("at least", least),
        };
        let what = self.of.name();
        match (&self.divided_by, &self.less) {
            (Some(_), Some(other)) => {
                format!("{what} {side} {number} times the cipher and two checksums more than {other}")
            }
            (Some(other), None) => format!("{what} {side} {number} times {other}"),
            (None, Some(other)) => format!("{what} {side} {number} more than {other}"),
            (None, None) => format!("{what} {side} {number}"),
        }
    }
}

impl Bound {
    /// Whether `value` is on its good side.
    pub(crate) fn is_kept(self, value: f64) -> bool {
        match self {
            Self::Most(most) => value <= most,
            Self::Least(least) => value >= least,
        }
    }
}

/// Instead of a system's name: the same system at the scenario's first point of that frame size.
pub(crate) const FIRST_POINT: &str = "first";

/// Instead of a system's name: what AES-GCM and two checksums take by themselves for the same records on this CPU.
pub(crate) const CIPHER: &str = "cipher";

fn default_system() -> String {
    "sealwire".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_kept_at_the_bound_and_missed_past_it() {
        assert!(Bound::Most(1.15).is_kept(1.15));
        assert!(!Bound::Most(1.15).is_kept(1.151));
        assert!(Bound::Least(0.9).is_kept(0.9));
        assert!(!Bound::Least(0.9).is_kept(0.899));
        assert!(!Bound::Most(1.0).is_kept(f64::NAN));
    }
}
