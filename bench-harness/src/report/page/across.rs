//! The axis at the bottom of a plot.

/// Its name, and what stands along it.
pub(super) struct Across {
    pub(super) name: String,
    /// Where along it, as a share of its length, and what stands there.
    pub(super) places: Vec<(f64, String)>,
}

impl Across {
    /// By their logarithms; each the same way apart if one of them has none.
    pub(super) fn logarithmic(name: &str, values: &[f64]) -> Self {
        let least = values.iter().copied().fold(f64::INFINITY, f64::min);
        let most = values.iter().copied().fold(0.0, f64::max);
        let labels = values.iter().map(|value| format!("{value}"));
        if least <= 0.0 || most <= least {
            return Self::even(name, labels.collect());
        }
        let at = |value: f64| 0.05 + 0.9 * (value / least).ln() / (most / least).ln();
        Self {
            name: name.to_owned(),
            places: values.iter().map(|value| at(*value)).zip(labels).collect(),
        }
    }

    pub(super) fn even(name: &str, labels: Vec<String>) -> Self {
        let share = 1.0 / labels.len().max(1) as f64;
        let at = |place: usize| (place as f64 + 0.5) * share;
        Self {
            name: name.to_owned(),
            places: labels
                .into_iter()
                .enumerate()
                .map(|(place, label)| (at(place), label))
                .collect(),
        }
    }

    /// The same places, each the same way apart.
    pub(super) fn evenly(self) -> Self {
        Self::even(
            &self.name,
            self.places.into_iter().map(|(_, label)| label).collect(),
        )
    }

    /// As a share of its length.
    pub(super) fn at(&self, place: usize) -> f64 {
        self.places.get(place).map_or(0.0, |(share, _)| *share)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_factors_are_equal_distances() {
        let across = Across::logarithmic("connections", &[1.0, 10.0, 100.0]);
        let [first, second, third] = [0, 1, 2].map(|place| across.at(place));
        assert!((third - second - (second - first)).abs() < 1e-6);
        let with_nothing = Across::logarithmic("idle", &[0.0, 10.0, 1000.0]);
        assert!(with_nothing.at(0) < with_nothing.at(1) && with_nothing.at(1) < with_nothing.at(2));
    }
}
