//! Whether a KMS is called at all: not while it is away, but for one call at a time that finds out whether it is back.
//!
//! - BREAKER-1: outages open it; any answer closes it, a verdict about a key and "asked too often" like a key.
//! - BREAKER-2: while it is open no call is begun before its delay is over, and then one until that has ended.
//! - BREAKER-3: an outage is not believed for ever: where nobody asks for anything, one more call is made by itself
//!   [`ASKED_AGAIN_AFTER`] the last one.

use std::time::{Duration, Instant};

use backon::{BackoffBuilder as _, ExponentialBackoff, ExponentialBuilder};

use super::call::Call;
use super::spread::Spread;

pub(super) struct Breaker {
    state: State,
    /// In a row.
    outages: u32,
    /// The last call, where it was an outage.
    failed: Option<(Call, Instant)>,
    delays: ExponentialBackoff,
    spread: Spread,
}

enum State {
    Closed,
    Open {
        until: Instant,
    },
    /// This call finds out.
    Probing(Call),
}

/// When something is asked for, and whether the KMS may be called for it then.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moment {
    pub(super) now: Instant,
    pub(super) may_call: bool,
}

/// For the metrics.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub enum BreakerState {
    /// The KMS is called.
    #[default]
    Closed,
    /// One call finds out whether it is back.
    Probing,
    /// It is not called.
    Open,
}

impl Breaker {
    pub(super) fn new(mut spread: Spread) -> Self {
        Self {
            state: State::Closed,
            outages: 0,
            failed: None,
            delays: delays(&mut spread),
            spread,
        }
    }

    /// Whether a call may begin now.
    pub(super) fn lets_pass(&self, now: Instant) -> bool {
        match self.state {
            State::Closed => true,
            State::Open { until } => now >= until,
            State::Probing(_) => false,
        }
    }

    pub(super) fn moment(&self, now: Instant) -> Moment {
        Moment {
            now,
            may_call: self.lets_pass(now),
        }
    }

    /// A call begins that was let pass.
    pub(super) fn began(&mut self, call: &Call) {
        if matches!(self.state, State::Open { .. }) {
            self.state = State::Probing(call.clone());
        }
    }

    /// A call has ended; returns whether the breaker has opened, for the first time or again.
    pub(super) fn ended(&mut self, call: &Call, answered: bool, now: Instant) -> bool {
        if answered {
            if !matches!(self.state, State::Closed) {
                self.delays = delays(&mut self.spread);
            }
            (self.state, self.outages, self.failed) = (State::Closed, 0, None);
            return false;
        }
        self.failed = Some((call.clone(), now));
        self.outages = self.outages.saturating_add(1);
        let opens = match &self.state {
            State::Closed => self.outages >= OUTAGES_TO_OPEN,
            State::Probing(probe) => probe == call,
            // It was under way when the breaker opened.
            State::Open { .. } => false,
        };
        if opens {
            let delay = self.delays.next().unwrap_or(DELAY_MAX);
            self.state = State::Open {
                until: now.checked_add(delay).unwrap_or(now),
            };
        }
        opens
    }

    /// The call that has failed last, when it is time to see whether the KMS is back (BREAKER-3).
    pub(super) fn asks_again(&self, now: Instant) -> Option<&Call> {
        let (call, at) = self.failed.as_ref()?;
        (now.saturating_duration_since(*at) >= ASKED_AGAIN_AFTER).then_some(call)
    }

    pub(super) fn state(&self) -> BreakerState {
        match self.state {
            State::Closed => BreakerState::Closed,
            State::Probing(_) => BreakerState::Probing,
            State::Open { .. } => BreakerState::Open,
        }
    }
}

/// The waiting times of one outage, with up to as much again that is drawn.
fn delays(spread: &mut Spread) -> ExponentialBackoff {
    let builder = ExponentialBuilder::new()
        .with_min_delay(DELAY_MIN)
        .with_max_delay(DELAY_MAX)
        .with_factor(2.0)
        .without_max_times();
    match spread.seed() {
        Some(seed) => builder.with_jitter().with_jitter_seed(seed),
        None => builder,
    }
    .build()
}

pub(super) const ASKED_AGAIN_AFTER: Duration = Duration::from_secs(2);
/// One that fails may be about one key, or chance.
pub(super) const OUTAGES_TO_OPEN: u32 = 5;
/// Five of them come first.
const DELAY_MIN: Duration = Duration::from_millis(125);
/// Twice that, with what is drawn, is how long a KMS may be back before it is noticed: together with what executors
/// remember it is below the second in which recovery is to be seen.
const DELAY_MAX: Duration = Duration::from_millis(250);

#[cfg(test)]
mod tests {
    use super::*;

    fn call(name: &str) -> Call {
        Call::PollVersion(name.into())
    }

    /// BREAKER-1
    #[test]
    fn five_outages_in_a_row_open_it_and_one_answer_closes_it() {
        let (now, a) = (Instant::now(), call("a"));
        let mut breaker = Breaker::new(Spread::new(0));
        for _ in 0..3 {
            for _ in 1..OUTAGES_TO_OPEN {
                assert!(breaker.lets_pass(now));
                assert!(!breaker.ended(&a, false, now));
            }
            assert!(!breaker.ended(&a, true, now), "it begins to count anew");
        }
        for outage in 1..=OUTAGES_TO_OPEN {
            assert_eq!(breaker.state(), BreakerState::Closed);
            assert_eq!(breaker.ended(&a, false, now), outage == OUTAGES_TO_OPEN);
        }
        assert_eq!(breaker.state(), BreakerState::Open);
        assert!(!breaker.lets_pass(now));
        // One that was under way: whoever answers is back.
        assert!(!breaker.ended(&a, true, now));
        assert_eq!(breaker.state(), BreakerState::Closed);
        assert!(breaker.lets_pass(now));
    }

    /// BREAKER-2
    #[test]
    fn one_call_finds_out_and_the_delay_doubles_up_to_its_bound() {
        let (mut now, probe, other) = (Instant::now(), call("probe"), call("other"));
        let mut breaker = Breaker::new(Spread::new(0));
        for _ in 0..OUTAGES_TO_OPEN {
            breaker.ended(&other, false, now);
        }
        for delay_ms in [125, 250, 250, 250, 250] {
            let delay = Duration::from_millis(delay_ms);
            assert!(
                !breaker.lets_pass(now + delay - Duration::from_nanos(1)),
                "{delay_ms}"
            );
            now += delay;
            assert!(breaker.lets_pass(now), "{delay_ms}");
            breaker.began(&probe);
            assert_eq!(breaker.state(), BreakerState::Probing);
            assert!(
                !breaker.lets_pass(now + Duration::from_secs(100)),
                "one at a time"
            );
            assert!(!breaker.ended(&other, false, now), "it was under way before");
            assert_eq!(breaker.state(), BreakerState::Probing);
            assert!(breaker.ended(&probe, false, now));
        }
        breaker.ended(&probe, true, now);
        for _ in 0..OUTAGES_TO_OPEN {
            breaker.ended(&other, false, now);
        }
        assert!(
            breaker.lets_pass(now + DELAY_MIN),
            "the next outage begins with the shortest"
        );
    }

    #[test]
    fn what_is_drawn_is_at_most_as_much_again() {
        let mut all = Vec::new();
        for seed in 1..100 {
            let (mut now, probe) = (Instant::now(), call("probe"));
            let mut breaker = Breaker::new(Spread::new(seed));
            for _ in 0..OUTAGES_TO_OPEN + 20 {
                breaker.began(&probe);
                breaker.ended(&probe, false, now);
                now += DELAY_MAX * 2;
                assert!(breaker.lets_pass(now), "{seed}");
            }
            if let State::Open { until } = breaker.state {
                all.push(now - until);
            }
        }
        all.sort_unstable();
        all.dedup();
        assert!(
            all.len() > 90,
            "proxies that are told apart by their seed ask apart"
        );
    }
}
