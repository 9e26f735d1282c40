//! How far chance may have moved a median: bootstrap intervals, by drawing again from what was measured.

use serde::{Deserialize, Serialize};

use super::{Dice, median};

/// Where the true value lies, at 95 %, as far as the samples tell.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Interval {
    #[serde(serialize_with = "super::short")]
    pub(crate) low: f64,
    #[serde(serialize_with = "super::short")]
    pub(crate) high: f64,
}

impl Interval {
    /// Whether `value` may be the true one.
    pub(crate) fn has(self, value: f64) -> bool {
        self.low <= value && value <= self.high
    }
}

/// Of the median of `values`, each of which belongs to one round.
pub(crate) fn of_pairs(values: &[f64]) -> Option<Interval> {
    let mut dice = Dice::new(SEED);
    interval(|| median(&draw(values, &mut dice)))
}

/// Of the median of `upper` divided by that of `lower`, which have nothing to do with each other.
pub(crate) fn of_medians(upper: &[f64], lower: &[f64]) -> Option<Interval> {
    let mut dice = Dice::new(SEED);
    interval(|| Some(median(&draw(upper, &mut dice))? / median(&draw(lower, &mut dice))?))
}

fn draw(values: &[f64], dice: &mut Dice) -> Vec<f64> {
    (0..values.len())
        .filter_map(|_| values.get(dice.below(values.len())).copied())
        .collect()
}

fn interval(mut statistic: impl FnMut() -> Option<f64>) -> Option<Interval> {
    let mut drawn = Vec::with_capacity(DRAWS);
    for _ in 0..DRAWS {
        drawn.push(statistic()?);
    }
    drawn.sort_by(f64::total_cmp);
    let at = |share: f64| drawn.get((share * (DRAWS - 1) as f64).round() as usize).copied();
    Some(Interval {
        low: at(0.025)?,
        high: at(0.975)?,
    })
}

const DRAWS: usize = 2000;
/// The same samples have the same interval.
const SEED: u64 = 20;

#[cfg(test)]
mod tests {
    use super::*;

    /// Values around 0 with a deviation of 1: the sum of twelve throws.
    fn normal(dice: &mut Dice) -> f64 {
        (0..12)
            .map(|_| dice.below(1 << 20) as f64 / f64::from(1 << 20))
            .sum::<f64>()
            - 6.0
    }

    #[test]
    fn nothing_varies_where_nothing_varies() {
        let interval = of_pairs(&[1.5; 7]).unwrap();
        assert_eq!((interval.low, interval.high), (1.5, 1.5));
        assert!(of_pairs(&[]).is_none());
        assert!(of_medians(&[], &[1.0]).is_none());
    }

    #[test]
    fn the_same_values_have_the_same_interval() {
        let values = [1.0, 1.2, 0.9, 1.1, 1.3];
        assert_eq!(of_pairs(&values), of_pairs(&values));
    }

    /// Of intervals at 95 % about 95 in 100 hold the truth. Bootstrapping a median of few values is known to hold a
    /// little less or more than it says.
    #[test]
    fn the_truth_is_in_nineteen_of_twenty_intervals() {
        let mut dice = Dice::new(7);
        let mut held = 0;
        for _ in 0..100 {
            let values: Vec<f64> = (0..15).map(|_| 10.0 + normal(&mut dice)).collect();
            held += usize::from(of_pairs(&values).unwrap().has(10.0));
        }
        assert!((88..=99).contains(&held), "{held} of 100");
    }

    #[test]
    fn the_truth_is_in_nineteen_of_twenty_intervals_of_two_runs_too() {
        let mut dice = Dice::new(11);
        let mut held = 0;
        for _ in 0..100 {
            let [upper, lower]: [Vec<f64>; 2] =
                [20.0, 10.0].map(|mean| (0..15).map(|_| mean + normal(&mut dice)).collect());
            held += usize::from(of_medians(&upper, &lower).unwrap().has(2.0));
        }
        assert!((88..=99).contains(&held), "{held} of 100");
    }

    #[test]
    fn more_rounds_make_an_interval_narrower() {
        let mut dice = Dice::new(3);
        let [few, many] = [9, 400].map(|rounds| {
            let values: Vec<f64> = (0..rounds).map(|_| normal(&mut dice)).collect();
            let interval = of_pairs(&values).unwrap();
            interval.high - interval.low
        });
        assert!(many < few / 2.0, "{many} {few}");
    }
}
