//! What a KMS knows, and what the lot says about a call.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use sealwire::kms::KmsError;
use tokio::time::Instant;

use super::under_way::Asked;
use super::{Made, Refusal, Trouble};
use crate::dice::Dice;

pub(super) struct State {
    pub(super) dice: Dice,
    pub(super) trouble: Trouble,
    /// Newest version of each KEK; the first is 1.
    pub(super) keks: BTreeMap<String, u32>,
    pub(super) made: BTreeMap<Vec<u8>, Made>,
    /// When keys under each version of a KEK were given out.
    pub(super) confirmed: BTreeMap<(String, u32), Vec<Instant>>,
    pub(super) refusals: Vec<Refusal>,
    /// Wrapped DEKs for which another one was given out.
    pub(super) wrongly_opened: BTreeSet<Vec<u8>>,
    pub(super) asked: Asked,
}

pub(super) enum Fault {
    Silent,
    Fails(KmsError),
}

impl State {
    /// How long a call takes until it is judged, what goes wrong with it, and how long the answer takes.
    pub(super) fn draw_call(&mut self) -> (Duration, Option<Fault>, Duration) {
        let trouble = self.trouble.clone();
        let half_ms = u64::try_from(trouble.latency_max.as_millis()).unwrap() / 2;
        let before = Duration::from_millis(self.dice.below(half_ms + 1));
        let after = Duration::from_millis(self.dice.below(half_ms + 1));
        let throttled = KmsError::Throttled {
            after: Duration::from_millis(self.dice.below(1000)),
        };
        let faults = [
            (trouble.silent, Fault::Silent),
            (
                trouble.unavailable,
                Fault::Fails(KmsError::Unavailable("drawn".to_owned())),
            ),
            (trouble.throttled, Fault::Fails(throttled)),
            (
                trouble.credentials_refused,
                Fault::Fails(KmsError::CredentialsRefused(String::new())),
            ),
        ];
        let mut drawn = self.dice.below(1000);
        for (of_thousand, fault) in faults {
            match drawn.checked_sub(of_thousand) {
                Some(rest) => drawn = rest,
                None => return (before, Some(fault), after),
            }
        }
        (before, None, after)
    }

    pub(super) fn draw_dek(&mut self) -> [u8; 32] {
        std::array::from_fn(|_| self.dice.below(256) as u8)
    }

    /// The number of `version` of `kek`, or of its current one, if it may be used.
    pub(super) fn usable(&self, kek: &str, version: Option<u32>) -> Result<u32, KmsError> {
        let &current = self.keks.get(kek).ok_or(KmsError::KekNotFound)?;
        let version = version.unwrap_or(current);
        if version > current {
            return Err(KmsError::KekVersionNotFound(version.to_string()));
        }
        let is_refused =
            |refusal: &Refusal| refusal.until.is_none() && refusal.version == version && refusal.kek == kek;
        if self.refusals.iter().any(is_refused) {
            return Err(KmsError::KekDisabled);
        }
        Ok(version)
    }

    /// A key under the version of `wrapped` is given out.
    pub(super) fn confirm(&mut self, wrapped: &[u8], now: Instant) {
        if let Some(made) = self.made.get(wrapped) {
            let version = (made.kek.clone(), made.version);
            self.confirmed.entry(version).or_default().push(now);
        }
    }

    /// The refusal of this version that is not over.
    pub(super) fn refusal(&mut self, kek: &str, version: u32) -> Option<&mut Refusal> {
        let mut open = self.refusals.iter_mut().filter(|refusal| refusal.until.is_none());
        open.find(|refusal| refusal.kek == kek && refusal.version == version)
    }
}
