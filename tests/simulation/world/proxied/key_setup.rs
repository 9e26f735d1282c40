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
    dice: Dice,
    pub(super) is_scarce: bool,
}

impl KeySetup {
    pub(super) fn new(seed: u64, has_logins: bool) -> Self {
        let mut dice = Dice(!seed);
        let is_scarce = dice.below(2) == 0 && !has_logins;
        Self { dice, is_scarce }
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
