//! The kernel's clocks, read together, and what they say when they part: that the process was asleep with its machine,
//! or that somebody has set the time, as happens to a copy of a machine when it wakes.
//!
//! - [`now`] and [`Clocks::read`] are the places that read a clock for what decides; everything else is given what was
//!   read.
//! - CLOCKS-2: a reading that was interrupted is none: clocks that were read apart from each other would differ by the
//!   pause.
//! - CLOCKS-3: NTP is not taken for a jump: where it slews it changes the pace of all three clocks alike, and a
//!   correction by a step of less than [`GAP_MIN`] is let pass.
//!
//! It does not notice a pause in which no clock has moved: a copy of a machine that goes on within [`GAP_MIN`] of the
//! other, or whose clocks nobody sets.
//!
//! Any thread.

#[cfg(feature = "testing")]
pub mod simulated;

use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

/// The time by which everything here waits and decides: CLOCK_MONOTONIC.
#[inline]
#[must_use]
#[expect(clippy::disallowed_methods, reason = "this is where it is read")]
pub fn now() -> Instant {
    #[cfg(feature = "testing")]
    if let Some(time) = simulated::time() {
        return time.now;
    }
    Instant::now()
}

/// Three clocks at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Clocks {
    /// CLOCK_MONOTONIC: stands still while the machine sleeps.
    pub monotonic: Duration,
    /// CLOCK_BOOTTIME: goes on while the machine sleeps, is never set.
    pub boottime: Duration,
    /// CLOCK_REALTIME: since 1970, set at will.
    pub realtime: Duration,
}

impl Clocks {
    /// Reads all three, in about a tenth of a microsecond; `None` when the thread was interrupted meanwhile.
    #[must_use]
    pub fn read() -> Option<Self> {
        #[cfg(feature = "testing")]
        if let Some(time) = simulated::time() {
            return Some(time.clocks);
        }
        let monotonic = read(ClockId::Monotonic);
        let (boottime, realtime) = (read(ClockId::Boottime), read(ClockId::Realtime));
        let took = read(ClockId::Monotonic).saturating_sub(monotonic);
        (took <= READ_MAX).then_some(Self {
            monotonic,
            boottime,
            realtime,
        })
    }
}

fn read(clock: ClockId) -> Duration {
    let time = clock_gettime(clock);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// How two clocks have parted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClocksParted {
    /// The machine slept for so long.
    Suspended(Duration),
    /// The time was set forward or back by so much.
    TimeSet(Duration),
}

/// Compares each reading with the one before it.
#[derive(Debug, Default)]
pub struct ClockWatch {
    last: Option<Clocks>,
}

impl ClockWatch {
    /// Takes a reading in; says how the clocks have parted since the last one.
    pub fn observe(&mut self, clocks: Clocks) -> Option<ClocksParted> {
        let last = self.last.replace(clocks)?;
        let apart = |ahead: fn(&Clocks) -> Duration, behind: fn(&Clocks) -> Duration| {
            // How much `ahead` has gained on `behind`: both have advanced, or were set.
            (ahead(&clocks) + behind(&last)).abs_diff(ahead(&last) + behind(&clocks))
        };
        let suspended = apart(|at| at.boottime, |at| at.monotonic);
        let set = apart(|at| at.realtime, |at| at.boottime);
        if suspended >= GAP_MIN {
            Some(ClocksParted::Suspended(suspended))
        } else if set >= GAP_MIN {
            Some(ClocksParted::TimeSet(set))
        } else {
            None
        }
    }
}

/// Above the 128 ms up to which ntpd slews and does not step, and far above what the two readings' own pauses add up
/// to.
pub const GAP_MIN: Duration = Duration::from_millis(200);
/// Reading takes 0.1 microseconds; what takes longer than this was interrupted.
const READ_MAX: Duration = Duration::from_millis(1);

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn at(monotonic_ms: u32, slept_ms: u32, set_ms: i64) -> Clocks {
        let boottime = MS * (monotonic_ms + slept_ms);
        let realtime = 1_700_000_000_000 + i64::from(monotonic_ms + slept_ms) + set_ms;
        Clocks {
            monotonic: MS * monotonic_ms,
            boottime,
            realtime: Duration::from_millis(realtime.unsigned_abs()),
        }
    }

    #[test]
    fn clocks_that_go_on_together_part_at_no_pace() {
        let mut watch = ClockWatch::default();
        for seconds in [0, 1, 2, 100, 1_000_000] {
            assert_eq!(watch.observe(at(seconds * 1000, 0, 0)), None);
        }
    }

    #[test]
    fn a_suspend_shows_and_shows_once() {
        let mut watch = ClockWatch::default();
        assert_eq!(watch.observe(at(1000, 0, 0)), None);
        assert_eq!(watch.observe(at(1020, 199, 0)), None);
        assert_eq!(
            watch.observe(at(1040, 399, 0)),
            Some(ClocksParted::Suspended(MS * 200))
        );
        assert_eq!(watch.observe(at(1060, 399, 0)), None);
    }

    #[test]
    fn a_time_that_is_set_shows_forward_and_back() {
        let mut watch = ClockWatch::default();
        assert_eq!(watch.observe(at(1000, 0, 0)), None);
        for (set, seen) in [
            (199, None),
            (399, Some(ClocksParted::TimeSet(MS * 200))),
            (399, None),
            (200, None),
            (0, Some(ClocksParted::TimeSet(MS * 200))),
            (-3_600_000, Some(ClocksParted::TimeSet(MS * 3_600_000))),
        ] {
            assert_eq!(watch.observe(at(1020, 0, set)), seen, "{set}");
        }
    }

    /// NTP slews by 500 ppm, 0.5 ms a second; were it to show at all, a day of it would not add up.
    #[test]
    fn what_ntp_slews_is_no_jump() {
        let mut watch = ClockWatch::default();
        for second in 0..86_400 {
            assert_eq!(watch.observe(at(second * 1000, 0, i64::from(second) / 2)), None);
        }
    }

    /// CLOCKS-2
    #[test]
    fn the_kernels_clocks_are_read_together() {
        let readings = std::iter::repeat_with(Clocks::read).flatten();
        let mut watch = ClockWatch::default();
        for clocks in readings.take(1000) {
            assert!(clocks.monotonic <= clocks.boottime);
            assert_eq!(watch.observe(clocks), None);
        }
    }
}
