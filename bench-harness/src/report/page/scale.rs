//! Where values lie on an axis, as a share of its length, and which of them are written beside it.

/// The upright axis of a plot.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Scale {
    /// From nothing to this: bars have to begin at nothing, or their lengths lie.
    FromZero(f64),
    Logarithmic {
        low: f64,
        high: f64,
    },
}

impl Scale {
    /// Bars as high as these.
    pub(super) fn from_zero(values: &[f64]) -> Self {
        let most = values.iter().copied().fold(0.0, f64::max);
        // Room for the number above.
        Self::FromZero(if most > 0.0 { most * 1.1 } else { 1.0 })
    }

    /// Points at these, those that are not above nothing left out. At least half a decade: what is flat has to look
    /// flat.
    pub(super) fn logarithmic(values: &[f64]) -> Self {
        let shown = || {
            values
                .iter()
                .copied()
                .filter(|value| *value > 0.0 && value.is_finite())
        };
        let (mut low, mut high) = (
            below(shown().fold(f64::INFINITY, f64::min)),
            above(shown().fold(0.0, f64::max)),
        );
        if !low.is_finite() || high <= 0.0 {
            (low, high) = (0.1, 10.0);
        }
        while high / low < 5.0 {
            (low, high) = (below(low * 0.99), above(high * 1.01));
        }
        Self::Logarithmic { low, high }
    }

    /// From 0 at the bottom to 1 at the top; what lies outside is at the edge.
    pub(super) fn at(self, value: f64) -> f64 {
        let share = match self {
            Self::FromZero(high) => value / high,
            Self::Logarithmic { low, high } => (value.max(low) / low).ln() / (high / low).ln(),
        };
        share.clamp(0.0, 1.0)
    }

    /// What is written beside the axis.
    pub(super) fn ticks(self) -> Vec<f64> {
        match self {
            Self::FromZero(high) => {
                let step = above(high / 6.0);
                let count = (high / step).floor() as usize;
                (0..=count).map(|tick| tick as f64 * step).collect()
            }
            Self::Logarithmic { low, high } => {
                // Of three decades or more only the powers of ten.
                let is_long = high / low > 500.0;
                let mut ticks = Vec::new();
                let mut tick = low;
                while tick <= high * 1.001 {
                    if !is_long || power_of_ten(tick) > tick * 0.999 {
                        ticks.push(tick);
                    }
                    tick = above(tick * 1.01);
                }
                ticks
            }
        }
    }
}

/// The greatest power of ten that is not above.
fn power_of_ten(value: f64) -> f64 {
    10.0_f64.powf((value.log10() + 1e-9).floor())
}

/// The least of 1, 2 and 5 times powers of ten that is not below.
fn above(value: f64) -> f64 {
    let power = power_of_ten(value);
    let rounds = [1.0, 2.0, 5.0].map(|factor| factor * power);
    rounds
        .into_iter()
        .find(|round| *round >= value * 0.999_999)
        .unwrap_or(power * 10.0)
}

/// The greatest of 1, 2 and 5 times powers of ten that is not above.
fn below(value: f64) -> f64 {
    let power = power_of_ten(value);
    let rounds = [5.0, 2.0].map(|factor| factor * power);
    rounds
        .into_iter()
        .find(|round| *round <= value * 1.000_001)
        .unwrap_or(power)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logarithmic_axes_hold_all_and_end_at_round_numbers() {
        let scale = Scale::logarithmic(&[0.21, 0.0, 14.1]);
        assert_eq!(scale, Scale::Logarithmic { low: 0.2, high: 20.0 });
        assert!((scale.at(2.0) - 0.5).abs() < 1e-9);
        assert_eq!((scale.at(0.0), scale.at(100.0)), (0.0, 1.0));
        let ticks: Vec<String> = scale.ticks().iter().map(|tick| format!("{tick:.1}")).collect();
        assert_eq!(ticks, ["0.2", "0.5", "1.0", "2.0", "5.0", "10.0", "20.0"]);
        let long = Scale::logarithmic(&[0.01, 90.0]).ticks();
        assert_eq!(long.len(), 5, "{long:?}");
    }

    #[test]
    fn what_is_flat_looks_flat() {
        for value in [1e-6, 0.3, 1.0, 7.0, 1e9] {
            let Scale::Logarithmic { low, high } = Scale::logarithmic(&[value, value]) else {
                panic!("logarithmic")
            };
            assert!(low <= value && value <= high && high / low >= 5.0, "{low} {high}");
        }
        let nothing = Scale::logarithmic(&[]);
        assert_eq!(nothing, Scale::Logarithmic { low: 0.1, high: 10.0 });
    }

    #[test]
    fn bars_begin_at_nothing() {
        let scale = Scale::from_zero(&[1.0, 2.6]);
        assert_eq!((scale.at(0.0), scale.ticks().first()), (0.0, Some(&0.0)));
        assert!(scale.at(2.6) < 1.0 && scale.ticks().len() >= 4, "{scale:?}");
        assert_eq!(Scale::from_zero(&[]), Scale::FromZero(1.0));
    }
}
