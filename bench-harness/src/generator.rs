//! What drives a run: makes requests through each system in its turn, and counts what comes back.

use std::path::Path;
use std::time::Duration;

use crate::Failure;
use crate::measure::Exchanged;
use crate::scenario::Point;
use crate::systems::{Fleet, Site};

/// Clients and their broker.
pub(crate) trait Generator {
    /// Where the broker listens.
    fn broker_port(&self) -> u16;

    /// Where systems find the broker at `point`; what they need of it in files is in `directory`.
    fn site(&mut self, point: &Point, directory: &Path) -> Result<Site, Failure>;

    /// Does for a moment what the broker has to do while systems start.
    fn attend(&mut self) -> Result<(), Failure>;

    /// Connects to every system, and makes sure that what is to come is exchanged as it should be. What the fleet keeps
    /// in files is in `directory`; turns will be as long as `turn`.
    fn begin(&mut self, point: &Point, turn: &Turn, fleet: &Fleet, directory: &Path) -> Result<(), Failure>;

    /// How long the first request took through the system at `place`, from before its client connected; none where it
    /// is not known.
    fn first_frame(&self, _place: usize) -> Option<Duration> {
        None
    }

    /// One turn of the system at `place` of the fleet. Calls `mark` where what counts begins, and where it ends.
    fn turn(
        &mut self,
        place: usize,
        turn: &Turn,
        mark: &mut dyn FnMut() -> Result<(), Failure>,
    ) -> Result<Exchanged, Failure>;

    /// Leaves the systems, before they are stopped, whatever became of the point.
    fn end(&mut self);
}

/// How long a turn is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Turn {
    pub(crate) warm_up: Duration,
    pub(crate) duration: Duration,
}
