//! How much the key service and executors may keep, and ask of a KMS: in some worlds little of everything, so that
//! each bound is reached.

use std::num::NonZeroU32;
use std::time::Duration;

use sealwire::config::Limits;
use sealwire::keys::{CallBudget, DekLimits, KeyOptions};

use super::program::Program;
use super::trace::say;
use crate::dice::Dice;

/// Draws from dice of its own: what else a seed says stays as it is.
pub(super) struct KeySetup {
    pub(super) dice: Dice,
    pub(super) is_scarce: bool,
    /// By KMS: how long it stays away at least.
    away_until: [Option<Duration>; 2],
}

impl KeySetup {
    pub(super) fn new(seed: u64) -> Self {
        let mut dice = Dice(!seed);
        Self {
            is_scarce: dice.below(2) == 0,
            dice,
            away_until: [None; 2],
        }
    }

    pub(super) fn options(&mut self, dek: DekLimits, limits: &Limits) -> KeyOptions {
        let options = KeyOptions {
            dek,
            ..KeyOptions::bounded(limits)
        };
        if !self.is_scarce {
            return options;
        }
        let mut few = |least: usize| least + self.dice.below(8) as usize;
        KeyOptions {
            // A request waits until it has one for each of its topics.
            sealing_keys_max: few(2),
            opened_keys_max: few(1),
            service_keys_max: few(1),
            waiting_max: few(1),
            // Each takes the others' place if there are fewer than are read at the same time.
            versions_max: few(4),
            needed_for: Duration::from_millis(1000 + self.dice.below(3000)),
            call_timeout: Duration::from_millis(1000 + self.dice.below(2000)),
            outage_grace: Duration::from_millis(1000 + self.dice.below(5000)),
            spread_seed: self.dice.below(u64::MAX),
            ..options
        }
    }

    /// Whether what goes wrong next is of those faults that are only seen where all is scarce.
    pub(super) fn trouble_comes(&mut self) -> bool {
        self.is_scarce && self.dice.below(4) == 0
    }

    pub(super) fn go_away(&mut self, kms: usize, until: Duration) {
        self.away_until[kms] = Some(until);
    }

    /// Whether nothing may be changed about it.
    pub(super) fn stays_away(&self, kms: usize, now: Duration) -> bool {
        self.away_until[kms].is_some_and(|until| now < until)
    }

    /// It is away no longer; whether it was for as long as it had to be.
    pub(super) fn was_away(&mut self, kms: usize, now: Duration) -> bool {
        self.away_until[kms].take().is_some_and(|until| now >= until)
    }

    /// For the trace.
    pub(super) fn tell(&self, program: &Program) {
        if self.is_scarce {
            let budgets = [0, 1].map(|kms| program.budget(kms));
            say(program.now, format_args!("{:?}, {budgets:?}", program.keys));
        }
    }

    /// Of one KMS.
    pub(super) fn budget(&mut self) -> CallBudget {
        if !self.is_scarce {
            return CallBudget::default();
        }
        let rate = RATE_MIN + self.dice.below(100) as u32;
        CallBudget {
            calls_max: 1 + self.dice.below(8) as usize,
            per_second_max: NonZeroU32::new(rate).filter(|_| self.dice.below(2) == 0),
        }
    }
}

/// Enough for the rechecks of the versions of a world: with less, nothing else would ever be asked.
const RATE_MIN: u32 = 30;
