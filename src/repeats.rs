//! What was said lately, so that clients who ask again and again do not fill the log, and neither do many who ask for
//! different things.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]

use std::collections::HashMap;
use std::hash::Hash;
use std::time::{Duration, Instant};

/// Remembers keys for [`KEPT`], and lets [`LINES_MAX`] of them pass in a second.
pub(crate) struct Repeats<K> {
    said: HashMap<K, Instant>,
    /// When the current second began, and what was said and what was left out in it.
    second: Option<Instant>,
    lines: usize,
    unsaid: u64,
}

/// What is to be said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum News {
    /// Nothing: it was said lately, or too much was said in this second.
    None,
    /// It. Before it: that so many other things were left out in the seconds before.
    Say { left_out: u64 },
}

impl<K: Hash + Eq> Repeats<K> {
    pub(crate) fn new() -> Self {
        Self {
            said: HashMap::new(),
            second: None,
            lines: 0,
            unsaid: 0,
        }
    }

    /// Whether `key` is to be said.
    pub(crate) fn news(&mut self, key: K, now: Instant) -> News {
        let fresh = |at: &Instant| now.saturating_duration_since(*at) < KEPT;
        if self.said.get(&key).is_some_and(fresh) {
            return News::None;
        }
        let news = self.another(now);
        if news != News::None && self.said.len() < KEYS_MAX {
            self.said.insert(key, now);
        }
        news
    }

    /// Whether something is to be said that is never the same.
    pub(crate) fn another(&mut self, now: Instant) -> News {
        let fresh = |at: &Instant| now.saturating_duration_since(*at) < KEPT;
        let is_over = |second: Instant| now.saturating_duration_since(second) >= SECOND;
        if self.second.is_none_or(is_over) {
            self.second = Some(now);
            self.lines = 0;
            // Here, and not for each key that finds no room.
            if self.said.len() >= KEYS_MAX {
                self.said.retain(|_, at| fresh(at));
            }
        }
        if self.lines >= LINES_MAX {
            self.unsaid = self.unsaid.saturating_add(1);
            return News::None;
        }
        self.lines = self.lines.saturating_add(1);
        News::Say {
            left_out: std::mem::take(&mut self.unsaid),
        }
    }
}

/// The same is said once a minute.
pub(crate) const KEPT: Duration = Duration::from_secs(60);
/// More than anybody reads; a line costs some ten microseconds.
pub(crate) const LINES_MAX: usize = 100;
const SECOND: Duration = Duration::from_secs(1);
/// Keys remembered: somewhat more than can be said in [`KEPT`].
const KEYS_MAX: usize = 10_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_has_room_for_so_many_lines_and_the_next_says_what_it_left_out() {
        let mut repeats = Repeats::new();
        let now = Instant::now();
        for key in 0..LINES_MAX {
            assert_eq!(repeats.news(key, now), News::Say { left_out: 0 });
        }
        let almost = now + SECOND - Duration::from_nanos(1);
        for key in LINES_MAX..LINES_MAX + 7 {
            assert_eq!(repeats.news(key, almost), News::None);
        }
        assert_eq!(
            repeats.news(LINES_MAX, now + SECOND),
            News::Say { left_out: 7 },
            "what was left out was not said"
        );
        assert_eq!(repeats.news(0, now + SECOND), News::None, "said a second ago");
    }

    #[test]
    fn keys_that_find_no_room_cost_no_more_than_others() {
        let mut repeats = Repeats::new();
        let now = Instant::now();
        let begun = Instant::now();
        for key in 0..1_000_000_u32 {
            repeats.news(key, now + Duration::from_micros(u64::from(key) * 20));
        }
        assert!(repeats.said.len() <= KEYS_MAX);
        assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    }
}
