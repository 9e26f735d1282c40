//! How fast a consumer comes back that is stuck: whose Fetch responses deliver nothing because of us.
//!
//! The broker sends again and again what cannot be delivered, as fast as it is asked. So the answer is held, twice as
//! long with each in a row, and the broker is asked for little; as soon as anything is delivered, all is as if nothing
//! had been.
//!
//! - PACE-1: a stuck consumer costs [`BYTES_PER_SECOND`] in small responses and as much in whole ones, which come all
//!   the same now and then: a partition whose turn comes late in a response must not starve behind one that is stuck.
//! - PACE-2: no answer is held for longer than [`HOLD_MAX`] (or `limits.fetch_hold`, if that is longer), and none for
//!   longer than its bytes are worth: what lies beside a stuck partition and is idle may have news meanwhile.
//!
//! Pure: the time is a parameter. One for each connection.

use std::time::{Duration, Instant};

/// See the module.
#[derive(Default)]
pub(super) struct Pace {
    /// Responses in a row that delivered nothing because of us.
    in_a_row: u32,
    /// Until then the broker is asked for little.
    little_until: Option<Instant>,
    /// The last request was such a one.
    asked_little: bool,
}

impl Pace {
    /// How long to hold a response of so many bytes that delivers nothing; `least` is what was configured.
    pub(super) fn hold(&self, least: Duration, bytes: usize) -> Duration {
        let doubled = least.saturating_mul(2_u32.saturating_pow(self.in_a_row));
        let worth = time_of(bytes).min(HOLD_MAX);
        doubled.min(worth).max(least)
    }

    /// A response of so many bytes has delivered nothing.
    pub(super) fn nothing(&mut self, now: Instant, bytes: usize) {
        self.in_a_row = self.in_a_row.saturating_add(1);
        if !self.asked_little {
            self.little_until = now.checked_add(time_of(bytes).min(LITTLE_MAX));
        }
    }

    /// Something was delivered.
    pub(super) fn delivered(&mut self) {
        *self = Self::default();
    }

    /// How many bytes the broker is to send at most in answer to a request; `None` for what the client wants.
    pub(super) fn response_bytes_max(&mut self, now: Instant) -> Option<i32> {
        self.asked_little = self.little_until.is_some_and(|until| now < until);
        self.asked_little.then_some(LITTLE_BYTES)
    }
}

/// How long so many bytes may take a stuck consumer.
fn time_of(bytes: usize) -> Duration {
    let millis = (bytes as u64).saturating_mul(1000) / BYTES_PER_SECOND;
    Duration::from_millis(millis)
}

/// For each of two kinds of responses: with both, a stuck consumer costs its broker a mebibyte a second.
const BYTES_PER_SECOND: u64 = 512 * 1024;
/// Two answers in a second; the broker sends one batch at least, however long.
const LITTLE_BYTES: i32 = 256 * 1024;
/// Clients whose heartbeats go over the same connection, behind a held answer, send one three seconds after the last
/// was answered and are dropped from their group after ten; and kafka-go waits ten for any answer. Others wait longer:
/// Java and sarama 30 s, librdkafka 60 s, each with heartbeats on a connection of their own but sarama.
const HOLD_MAX: Duration = Duration::from_secs(5);
/// 64 MiB in whole responses; nobody waits longer for a partition beside a stuck one.
const LITTLE_MAX: Duration = Duration::from_secs(128);

#[cfg(test)]
mod tests {
    use super::*;

    const LEAST: Duration = Duration::from_millis(200);

    #[test]
    fn the_hold_doubles_to_what_the_bytes_are_worth_and_starts_anew() {
        let now = Instant::now();
        let mut pace = Pace::default();
        let mut holds = Vec::new();
        for _ in 0..7 {
            holds.push(pace.hold(LEAST, 64 << 20).as_millis());
            pace.nothing(now, 64 << 20);
        }
        assert_eq!(holds, [200, 400, 800, 1600, 3200, 5000, 5000]);
        assert_eq!(pace.hold(LEAST, 1 << 20), Duration::from_secs(2));
        assert_eq!(pace.hold(LEAST, 100), LEAST, "a short one costs nothing");
        let longer = Duration::from_secs(9);
        assert_eq!(pace.hold(longer, 100), longer, "as configured");
        pace.delivered();
        assert_eq!(pace.hold(LEAST, 64 << 20), LEAST);
        for _ in 0..1000 {
            pace.nothing(now, 1);
        }
        assert_eq!(pace.hold(LEAST, 64 << 20), HOLD_MAX);
    }

    #[test]
    fn little_is_asked_for_until_the_whole_ones_bytes_are_made_up_for() {
        let now = Instant::now();
        let mut pace = Pace::default();
        assert_eq!(pace.response_bytes_max(now), None);
        pace.nothing(now, 8 << 20);
        let whole = now + Duration::from_secs(16);
        let almost = whole - Duration::from_nanos(1);
        assert_eq!(pace.response_bytes_max(almost), Some(LITTLE_BYTES));
        pace.nothing(almost, 256 << 10);
        assert_eq!(
            pace.response_bytes_max(whole),
            None,
            "a small one prolongs nothing"
        );
        pace.nothing(whole, 8 << 20);
        assert!(pace.response_bytes_max(whole).is_some());
        pace.delivered();
        assert_eq!(pace.response_bytes_max(whole), None);
    }
}
