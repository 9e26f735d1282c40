//! How many calls of one KMS begin in a second.
//!
//! - CALL-RATE-1: in any time no more begin than the rate allows in it, and a tenth of a second's worth, or one.

use std::num::NonZeroU32;
use std::time::{Duration, Instant};

/// A bucket that holds a tenth of a second's worth of calls, written as the time at which it is full again.
pub(super) struct CallRate {
    /// What one call costs; `None`: any number may begin.
    interval: Option<Duration>,
    /// How far ahead of its time a call may begin.
    ahead: Duration,
    full_at: Option<Instant>,
}

impl CallRate {
    pub(super) fn new(per_second_max: Option<NonZeroU32>) -> Self {
        let interval = per_second_max.and_then(|rate| Duration::from_secs(1).checked_div(rate.get()));
        let burst = per_second_max.map_or(1, |rate| (rate.get() / 10).max(1));
        Self {
            interval,
            ahead: interval
                .unwrap_or_default()
                .saturating_mul(burst.saturating_sub(1)),
            full_at: None,
        }
    }

    /// Whether a call may begin now.
    pub(super) fn lets_pass(&self, now: Instant) -> bool {
        let over = self.full_at.map(|at| at.saturating_duration_since(now));
        over.is_none_or(|over| over <= self.ahead)
    }

    /// A call begins that was let pass.
    pub(super) fn began(&mut self, now: Instant) {
        if let Some(interval) = self.interval {
            self.full_at = self.full_at.unwrap_or(now).max(now).checked_add(interval);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// CALL-RATE-1
    #[test]
    fn no_more_calls_begin_than_the_rate_allows() {
        for (rate, at_once, in_10_s) in [
            (1, 1, 10),
            (5, 1, 50),
            (10, 1, 100),
            (100, 10, 1009),
            (999, 99, 10_088),
        ] {
            let start = Instant::now();
            let mut calls = CallRate::new(NonZeroU32::new(rate));
            let mut begun = |now| {
                let mut count = 0;
                while calls.lets_pass(now) {
                    calls.began(now);
                    count += 1;
                }
                count
            };
            assert_eq!(begun(start), at_once, "{rate}");
            assert_eq!(begun(start), 0, "{rate}");
            // Looked at every 5 ms.
            let rest: u32 = (1..2000)
                .map(|step| begun(start + Duration::from_millis(5) * step))
                .sum();
            let all = at_once + rest;
            assert!(all <= in_10_s && all + rate / 100 + 1 >= in_10_s, "{rate}: {all}");
            // What was not used adds up to no more than at first.
            assert_eq!(begun(start + Duration::from_secs(1000)), at_once, "{rate}");
        }
        let mut calls = CallRate::new(None);
        let now = Instant::now();
        for _ in 0..100_000 {
            assert!(calls.lets_pass(now));
            calls.began(now);
        }
    }
}
