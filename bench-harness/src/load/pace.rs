//! When requests are due at a fixed rate, and a clock in the kernel that wakes for the next one: to the microsecond,
//! where `epoll_wait` by itself counts milliseconds.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};

use crate::Failure;

/// Requests at equal distances, on each connection in turn.
pub(super) struct Pace {
    clock: OwnedFd,
    members: Vec<usize>,
    start: Instant,
    interval: Duration,
    sent: u64,
}

impl Pace {
    pub(super) fn new(members: Vec<usize>, interval: Duration) -> Result<Self, Failure> {
        if members.is_empty() || interval.is_zero() {
            return Err("a rate that nobody can send at".into());
        }
        Ok(Self {
            clock: timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK)?,
            members,
            start: Instant::now(),
            interval,
            sent: 0,
        })
    }

    pub(super) fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        registry.register(&mut SourceFd(&self.clock.as_raw_fd()), token, Interest::READABLE)
    }

    pub(super) fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        registry.deregister(&mut SourceFd(&self.clock.as_raw_fd()))
    }

    /// What is due by `now`: on which connection, and when it was due. Call it until there is nothing more.
    pub(super) fn next(&mut self, now: Instant) -> Option<(usize, Instant)> {
        let due = self.due();
        if due > now {
            return None;
        }
        let member = (self.sent % self.members.len() as u64) as usize;
        self.sent += 1;
        Some((self.members.get(member).copied()?, due))
    }

    /// Wakes when the next request is due.
    pub(super) fn arm(&self) -> Result<(), Failure> {
        // 0 would switch it off.
        let wait = self
            .due()
            .saturating_duration_since(Instant::now())
            .max(Duration::from_nanos(1));
        let none = Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        let time = Itimerspec {
            it_interval: none,
            it_value: Timespec {
                tv_sec: i64::try_from(wait.as_secs())?,
                tv_nsec: wait.subsec_nanos().into(),
            },
        };
        timerfd_settime(&self.clock, TimerfdTimerFlags::empty(), &time)?;
        Ok(())
    }

    fn due(&self) -> Instant {
        self.start + Duration::from_secs_f64(self.interval.as_secs_f64() * self.sent as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_due_at_equal_distances_on_each_connection_in_turn() {
        let mut pace = Pace::new(vec![7, 9], Duration::from_millis(10)).unwrap();
        let start = pace.start;
        let mut due = Vec::new();
        while let Some((place, at)) = pace.next(start + Duration::from_millis(25)) {
            due.push((place, (at - start).as_millis()));
        }
        assert_eq!(due, [(7, 0), (9, 10), (7, 20)]);
        assert!(Pace::new(Vec::new(), Duration::from_millis(1)).is_err());
    }
}
