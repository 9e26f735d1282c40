//! What samples say together: medians, spreads, and how far chance may have moved a ratio.
//!
//! - STATISTICS-1: a ratio is only ever taken between samples of one round: the speed of a host drifts by more than
//!   what is to be measured.

mod interval;
mod rows;
mod sample;
mod samples;
mod verdicts;

use serde::ser::SerializeSeq;
use serde::{Deserialize, Serialize, Serializer};

pub(crate) use self::interval::{Interval, of_medians, of_pairs};
pub(crate) use self::rows::{Comparison, How, Row, rows};
pub(crate) use self::sample::Sample;
pub(crate) use self::verdicts::{Edge, Verdict, unjudged, verdicts};

/// What to say of intervals of so few rounds, if they mean little: the least and the most of them have the true median
/// between them too seldom.
pub(crate) fn too_few(rounds: usize) -> Option<String> {
    let warning =
        || format!("rounds: {rounds}, too few for intervals at 95 %; judge by {ROUNDS_MIN} or more");
    (rounds < ROUNDS_MIN).then(warning)
}

const ROUNDS_MIN: usize = 5;

/// Median and range, and what they are of.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Spread {
    #[serde(serialize_with = "short")]
    pub(crate) median: f64,
    #[serde(serialize_with = "short")]
    pub(crate) min: f64,
    #[serde(serialize_with = "short")]
    pub(crate) max: f64,
    /// Each round's, in order.
    #[serde(serialize_with = "all_short")]
    pub(crate) values: Vec<f64>,
}

impl Spread {
    /// Of at least one value.
    pub(crate) fn of(values: Vec<f64>) -> Option<Self> {
        let median = median(&values)?;
        Some(Self {
            median,
            min: values.iter().copied().fold(f64::INFINITY, f64::min),
            max: values.iter().copied().fold(f64::NEG_INFINITY, f64::max),
            values,
        })
    }
}

/// Five digits are more than any measurement has, and a third of what a line of the history would be long.
fn short<S: Serializer>(number: &f64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(five_digits(*number))
}

fn all_short<S: Serializer>(numbers: &[f64], serializer: S) -> Result<S::Ok, S::Error> {
    let mut list = serializer.serialize_seq(Some(numbers.len()))?;
    for number in numbers {
        list.serialize_element(&five_digits(*number))?;
    }
    list.end()
}

fn five_digits(number: f64) -> f64 {
    format!("{number:.4e}").parse().unwrap_or(number)
}

/// The middle of at least one value.
pub(crate) fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    let upper = *sorted.get(middle)?;
    match sorted.len() % 2 {
        0 => Some((upper + *sorted.get(middle.checked_sub(1)?)?) / 2.0),
        _ => Some(upper),
    }
}

/// Numbers that a seed repeats.
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Below `end`, which is not 0.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        // SplitMix64: no seed is a bad one, and every output bit is good.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        ((u128::from(mixed) * end as u128) >> 64) as usize
    }

    /// Breaks up the order of `items`.
    pub(crate) fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last + 1));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_of_odd_and_even_numbers() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), Some(2.5));
        assert_eq!(median(&[]), None);
        let spread = Spread::of(vec![3.0, 1.0, 2.0]).unwrap();
        assert_eq!((spread.min, spread.max, spread.values[0]), (1.0, 3.0, 3.0));
    }

    #[test]
    fn numbers_are_written_short() {
        let spread = Spread::of(vec![1.0 / 3.0, 123_456.789, 0.0]).unwrap();
        let written = serde_json::to_string(&spread).unwrap();
        assert_eq!(
            written,
            r#"{"median":0.33333,"min":0.0,"max":123460.0,"values":[0.33333,123460.0,0.0]}"#
        );
    }

    #[test]
    fn a_seed_repeats_its_order() {
        let orders = [0, 1].map(|_| {
            let mut order: Vec<usize> = (0..20).collect();
            Dice::new(42).shuffle(&mut order);
            order
        });
        assert_eq!(orders[0], orders[1]);
        assert_ne!(orders[0], (0..20).collect::<Vec<_>>());
    }

    #[test]
    fn dice_are_fair() {
        let mut dice = Dice::new(1);
        let mut seen = [0_usize; 6];
        for _ in 0..60_000 {
            seen[dice.below(6)] += 1;
        }
        assert!(
            seen.iter().all(|count| (9_600..10_400).contains(count)),
            "{seen:?}"
        );
    }
}
