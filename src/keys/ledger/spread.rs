//! How far apart what is due at the same time is done: a KMS is not to be asked about all its KEKs in one tick, nor by
//! all proxies in one moment after it was away.

use std::time::Duration;

/// Draws numbers (SplitMix64) of which nothing secret depends.
pub(super) struct Spread {
    /// 0: nothing is spread.
    state: u64,
}

impl Spread {
    pub(super) fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// `interval`, or up to a quarter less.
    pub(super) fn shorten(&mut self, interval: Duration) -> Duration {
        self.less(interval, quarter_of(interval))
    }

    /// `interval`, or up to three quarters less: for what many begin at the same time and do once.
    pub(super) fn scatter(&mut self, interval: Duration) -> Duration {
        self.less(interval, interval.saturating_sub(quarter_of(interval)))
    }

    fn less(&mut self, interval: Duration, less_max: Duration) -> Duration {
        if self.state == 0 {
            return interval;
        }
        let parts = u32::try_from(self.draw() >> 32).unwrap_or(u32::MAX);
        let less = less_max.mul_f64(f64::from(parts) / f64::from(u32::MAX));
        interval.saturating_sub(less)
    }

    /// For another generator; `None`: nothing is spread.
    pub(super) fn seed(&mut self) -> Option<u64> {
        (self.state != 0).then(|| self.draw())
    }

    fn draw(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

pub(super) fn quarter_of(interval: Duration) -> Duration {
    interval.checked_div(4).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_due_together_is_done_apart_and_never_late() {
        let interval = Duration::from_secs(60);
        let mut spread = Spread::new(7);
        let mut in_a_second = [0; 60];
        for _ in 0..3000 {
            let due = spread.shorten(interval);
            assert!(due >= Duration::from_secs(45) && due <= interval, "{due:?}");
            in_a_second[usize::try_from(due.as_secs()).unwrap_or(0).min(59)] += 1;
        }
        // 200 in each of 15 seconds.
        assert!(in_a_second.iter().all(|&count| count < 300), "{in_a_second:?}");
        assert_eq!(in_a_second.iter().filter(|&&count| count > 100).count(), 15);
        let scattered: Vec<Duration> = (0..3000).map(|_| spread.scatter(interval)).collect();
        assert!(
            scattered
                .iter()
                .all(|due| *due >= interval / 4 && *due <= interval)
        );
        let early = scattered.iter().filter(|due| **due < interval * 5 / 8);
        assert!((1300..1700).contains(&early.count()));
        assert_eq!(Spread::new(0).shorten(interval), interval);
        assert_eq!(Spread::new(0).scatter(interval), interval);
    }
}
