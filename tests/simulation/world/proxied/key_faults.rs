//! What goes wrong at KMSs: in all worlds, and where keys and calls are scarce.

use std::time::Duration;

use super::World;
use super::trace::say;
use crate::world::faults::Fault;
use crate::world::kms::{CALM_LATENCY_MAX, Trouble};

/// Of each KMS the one that rules name.
pub(super) const KEKS: [&str; 2] = ["payments", "other"];

impl World {
    pub(super) fn trouble_kms(&mut self) -> Option<Fault> {
        let at = self.dice.below(2) as usize;
        if self.keys.stays_away(at, self.program.now) {
            return None;
        }
        let mut trouble = Trouble {
            latency_max: Duration::from_millis(self.dice.below(CALM_LATENCY_MAX.as_millis() as u64)),
            ..Trouble::default()
        };
        let fault = match self.dice.below(7) {
            0 => {
                trouble.latency_max = Duration::from_millis(self.dice.below(5000));
                trouble.silent = 100;
                Some(Fault::KmsSlow)
            }
            1 => {
                (trouble.throttled, trouble.unavailable) = (400, 200);
                Some(Fault::KmsThrottles)
            }
            2 => {
                (trouble.under_other_kek, trouble.credentials_refused) = (300, 100);
                Some(Fault::KmsLies)
            }
            3 => {
                trouble.is_down = true;
                Some(Fault::KmsDown)
            }
            4 => {
                trouble.wrong_dek = 300;
                Some(Fault::KmsGivesOtherDeks)
            }
            _ => None,
        };
        say(self.program.now, format_args!("KMS {at}: {trouble:?}"));
        self.set_trouble(at, trouble, fault.is_none());
        fault
    }

    /// A KMS that is of no use, for a while or until what it has confirmed is too old.
    pub(super) fn trouble_scarce_kms(&mut self) {
        let (at, now) = (self.keys.dice.below(2) as usize, self.program.now);
        if self.keys.stays_away(at, now) {
            return;
        }
        let refuses_credentials = Trouble {
            credentials_refused: 1000,
            ..Trouble::default()
        };
        let hangs = Trouble {
            silent: 1000,
            ..Trouble::default()
        };
        let fails = Trouble {
            latency_max: CALM_LATENCY_MAX,
            unavailable: 700,
            ..Trouble::default()
        };
        let is_down = Trouble {
            is_down: true,
            ..Trouble::default()
        };
        let (fault, trouble) = match self.keys.dice.below(5) {
            0 => (Fault::KmsRefusesCredentials, refuses_credentials),
            1 => (Fault::KmsHangs, hangs),
            2 => (Fault::KmsFails, fails),
            _ => {
                let grace = self.program.keys.outage_grace;
                let mut ways = vec![refuses_credentials, hangs, is_down];
                let way = ways.swap_remove(self.keys.dice.below(3) as usize);
                self.set_trouble(at, way.clone(), false);
                self.keys.go_away(at, now + grace + AWAY_PAST_GRACE);
                say(now, format_args!("KMS {at} is away past the grace: {way:?}"));
                return;
            }
        };
        say(now, format_args!("{fault:?}, KMS {at}: {trouble:?}"));
        self.set_trouble(at, trouble, false);
        self.seen.insert(fault);
    }

    pub(super) fn set_trouble(&mut self, at: usize, trouble: Trouble, is_calm: bool) {
        if self.keys.was_away(at, self.program.now) {
            self.seen.insert(Fault::KmsAwayPastGrace);
        }
        let hangs = trouble.silent > 0 || trouble.latency_max > CALM_LATENCY_MAX;
        let call_timeout = self.program.keys.call_timeout;
        self.checks
            .keys
            .kms_changes(at, (is_calm, hangs), self.program.now, call_timeout);
        self.kms[at].set_trouble(trouble);
    }

    pub(super) fn change_kek(&mut self) -> Option<Fault> {
        let at = self.dice.below(2) as usize;
        let (kms, kek) = (&self.kms[at], KEKS[at]);
        let version = 1 + self.dice.below(u64::from(kms.current(kek))) as u32;
        let (drawn, now) = (self.dice.below(4), self.program.now);
        match drawn {
            0 => {
                say(now, format_args!("{kek} has one version more"));
                kms.rotate(kek);
                Some(Fault::Rotated)
            }
            1 => {
                say(now, format_args!("version {version} of {kek} is refused"));
                kms.disable(kek, version);
                Some(Fault::Disabled)
            }
            _ => {
                say(now, format_args!("no version of {kek} is refused"));
                let was_refused = kms.refuses_any();
                (1..=kms.current(kek)).for_each(|version| kms.enable(kek, version));
                was_refused.then_some(Fault::GivenBack)
            }
        }
    }
}

/// So long a KMS stays away beyond the grace: what was sealed or opened before has arrived by then.
const AWAY_PAST_GRACE: Duration = Duration::from_secs(4);
