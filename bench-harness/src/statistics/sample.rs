//! One turn of one system at one point of a scenario: what everything else is made of.

use serde::Serialize;

use crate::measure::Measured;
use crate::scenario::Point;

/// A line of the JSON: `kind` is `sample`.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Sample {
    pub(crate) scenario: String,
    pub(crate) point: Point,
    pub(crate) system: String,
    /// Systems of one round ran one after the other, in shuffled order. None: a turn of its own, in which system calls
    /// were counted, which costs time.
    pub(crate) round: Option<usize>,
    #[serde(flatten)]
    pub(crate) measured: Measured,
}
