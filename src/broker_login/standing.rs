//! How a credential fares at brokers, so that a wrong one does not lock an account that others use.
//!
//! - STANDING-1: one that no broker has taken yet is tried by one connection at a time; others wait for what becomes of
//!   that.
//! - STANDING-2: after a refusal nobody tries it for [`BACK_OFF_MIN`], then one connection, and twice as long after
//!   each further one, up to [`BACK_OFF_MAX`]. Meanwhile clients are refused without a broker being asked.
//! - STANDING-3: only a broker's verdict counts: one that is away, or answers nothing, says nothing of the credential.
//!
//! Lock-free: executors share it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;

/// See the module. Clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Standing(Arc<Known>);

#[derive(Debug, Default)]
struct Known {
    is_proven: AtomicBool,
    is_tried: AtomicBool,
    refused: ArcSwapOption<Refused>,
}

#[derive(Debug)]
struct Refused {
    until: Instant,
    times: u32,
}

/// Whether a credential may be tried.
pub enum Admission {
    /// As one that brokers take.
    Free,
    /// Alone: the outcome decides for the others.
    Alone(Trial),
    /// Somebody else is trying it: ask again soon.
    Later,
    /// It was refused a moment ago.
    Refused,
}

/// Somebody tries the credential, until this is dropped.
pub struct Trial(Standing);

impl Drop for Trial {
    fn drop(&mut self) {
        let Standing(known) = &self.0;
        known.is_tried.store(false, Ordering::Release);
    }
}

impl Standing {
    /// Whether it may be tried now.
    #[must_use]
    pub fn admit(&self, now: Instant) -> Admission {
        let Self(known) = self;
        if known.is_proven.load(Ordering::Acquire) {
            return Admission::Free;
        }
        if self.is_left_alone(now) {
            return Admission::Refused;
        }
        if known.is_tried.swap(true, Ordering::AcqRel) {
            return Admission::Later;
        }
        let trial = Trial(self.clone());
        // Whoever tried it last may have ended between the two looks.
        match self.is_left_alone(now) {
            true => Admission::Refused,
            false => Admission::Alone(trial),
        }
    }

    /// A broker has taken it.
    pub fn accepted(&self) {
        let Self(known) = self;
        if !known.is_proven.load(Ordering::Acquire) {
            known.refused.store(None);
            known.is_proven.store(true, Ordering::Release);
        }
    }

    /// A broker has refused it.
    pub fn refused(&self, now: Instant) {
        // Of those that were tried together as one that brokers take, one counts.
        if self.is_left_alone(now) {
            return;
        }
        let Self(known) = self;
        let times = known.refused.load().as_ref().map_or(0, |before| before.times);
        let until = now.checked_add(back_off(times)).unwrap_or(now);
        let times = times.saturating_add(1);
        known.refused.store(Some(Arc::new(Refused { until, times })));
        known.is_proven.store(false, Ordering::Release);
    }

    /// Whether a broker has refused it, and none has taken it since.
    #[must_use]
    pub fn is_refused(&self) -> bool {
        self.0.refused.load().is_some()
    }

    /// STANDING-2
    fn is_left_alone(&self, now: Instant) -> bool {
        let refused = self.0.refused.load();
        refused.as_ref().is_some_and(|refused| now < refused.until)
    }
}

/// For how long something is left alone that was refused, after so many times before (STANDING-2).
#[must_use]
pub fn back_off(times: u32) -> Duration {
    let wait = BACK_OFF_MIN.saturating_mul(1_u32.checked_shl(times).unwrap_or(u32::MAX));
    wait.min(BACK_OFF_MAX)
}

/// A user that was made a moment ago is not known to every broker.
const BACK_OFF_MIN: Duration = Duration::from_secs(1);
/// A dozen tries in an hour; whoever mends it waits no longer.
const BACK_OFF_MAX: Duration = Duration::from_secs(300);

#[cfg(test)]
mod tests {
    use super::*;

    fn is_alone(standing: &Standing, now: Instant) -> bool {
        matches!(standing.admit(now), Admission::Alone(_))
    }

    /// STANDING-1
    #[test]
    fn one_that_nobody_has_taken_is_tried_alone() {
        let (standing, now) = (Standing::default(), Instant::now());
        let trial = standing.admit(now);
        assert!(matches!(trial, Admission::Alone(_)));
        assert!(matches!(standing.admit(now), Admission::Later));
        drop(trial);
        assert!(is_alone(&standing, now), "the broker was away");
        standing.accepted();
        for _ in 0..2 {
            assert!(matches!(standing.admit(now), Admission::Free));
        }
    }

    /// STANDING-2
    #[test]
    fn a_refused_one_is_left_alone_for_longer_and_longer() {
        let (standing, mut now) = (Standing::default(), Instant::now());
        for seconds in [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300] {
            standing.refused(now);
            // Others who were on their way with it.
            standing.refused(now);
            let wait = Duration::from_secs(seconds);
            assert!(matches!(standing.admit(now), Admission::Refused));
            let nearly = now + wait - Duration::from_millis(1);
            assert!(matches!(standing.admit(nearly), Admission::Refused), "{seconds}");
            now += wait;
            assert!(is_alone(&standing, now), "{seconds}");
        }
        standing.accepted();
        standing.refused(now);
        assert!(matches!(standing.admit(now), Admission::Refused));
        assert!(
            is_alone(&standing, now + Duration::from_secs(1)),
            "it begins anew"
        );
    }
}
