//! The values of a field: one, or several, of which every combination with those of other fields is a point.

use serde::Deserialize;

use super::Point;

/// One value, or a list of them: a curve.
#[derive(Clone, Debug, Deserialize)]
#[serde(
    untagged,
    expecting = "not a value of the field, nor a list of such values: docs/performance.md has them"
)]
pub(super) enum Values<T> {
    One(T),
    Many(Vec<T>),
}

impl<T: Copy> Values<T> {
    pub(super) fn all(&self) -> &[T] {
        match self {
            Self::One(value) => std::slice::from_ref(value),
            Self::Many(values) => values,
        }
    }
}

/// Each of the points with each of the values, if there are any.
pub(super) fn vary<T: Copy>(
    points: &mut Vec<Point>,
    values: Option<&Values<T>>,
    set: impl Fn(&mut Point, T),
) {
    let Some(values) = values else { return };
    let varied = points.iter().flat_map(|point| {
        values.all().iter().map(|value| {
            let mut point = point.clone();
            set(&mut point, *value);
            point
        })
    });
    *points = varied.collect();
}
