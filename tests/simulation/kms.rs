//! The KMS of the simulated world: late, in any order, sometimes not at all; and it takes keys away, stable ones too.
//! And who looks at topics: as late.

use sealwire::keys::{KeyFailure, KeyReply, KeyRequest};

use super::{Event, KEYS, World};
use crate::rig::{Dek, Rig, contains, dek};

impl World {
    pub(super) fn kms_acts(&mut self) {
        self.asked.extend(self.rig.pipeline.keys.take_requests());
        while !self.asked.is_empty() && (self.resting || self.dice.below(3) > 0) {
            let at = self.dice.below(self.asked.len() as u64) as usize;
            let trouble = if self.resting { 0 } else { self.dice.below(6) };
            match self.asked.swap_remove(at) {
                KeyRequest::Seal { key, .. } => {
                    let key = dek(name_of(&key.kek), self.dice.below(3) as u16);
                    if trouble == 1 {
                        self.rig.refuse_sealing(&key, KeyFailure::Unavailable);
                    } else {
                        self.rig.give_sealing(&key);
                    }
                }
                KeyRequest::Open { wrapped, .. } => {
                    let key = dek_of(&wrapped);
                    match trouble {
                        1 => self.rig.refuse_opened(&key, KeyFailure::Unavailable),
                        2 => self.rig.refuse_opened(&key, KeyFailure::KekDisabled),
                        _ => self.rig.give_opened(&key),
                    }
                }
                KeyRequest::Used { .. } => {}
            }
        }
    }

    /// The topic with sealed keys is looked at, if somebody has asked.
    pub(super) fn topics_are_looked_at(&mut self) {
        if self.resting || self.dice.below(2) == 0 {
            for subject in std::mem::take(&mut self.rig.pipeline.topic_looks) {
                self.rig.topics_fit(&[&subject.topic]);
            }
        }
    }

    /// The stable key is there, and may be used: as one that was opened anew.
    pub(super) fn stable_key_comes(&mut self) {
        let keys = Rig::stable_key_of(&[KEYS]);
        self.rig.pipeline.take_stable_keys(&keys);
        self.stable_keys = keys;
    }

    /// The stable key is refused, in the middle of whatever is under way, or is there again.
    pub(super) fn stable_key_goes_or_comes(&mut self) {
        let at_hand = self.stable_keys.keys().find(|key| key.refusal().is_none());
        match at_hand.cloned() {
            Some(key) => key.refuse(KeyFailure::KekDisabled),
            None => self.stable_key_comes(),
        }
    }

    pub(super) fn kms_takes_away(&mut self) {
        if self.dice.below(2) > 0 {
            return;
        }
        if self.dice.below(4) == 0 {
            self.stable_key_goes_or_comes();
        }
        let kek = ["payments", "other"][self.dice.below(2) as usize];
        let held = self.rig.pipeline.keys.sealing_count();
        self.rig.apply(KeyReply::Released {
            key: sealwire::keys::KeyId::first(kek),
        });
        if self.yielded && self.rig.pipeline.keys.sealing_count() < held {
            self.seen.insert(Event::KeyTakenMeanwhile);
        }
    }
}

fn name_of(kek: &str) -> &'static str {
    if kek == "other" { "other" } else { "payments" }
}

fn dek_of(wrapped: &[u8]) -> Dek {
    let kek = if contains(wrapped, "other") {
        "other"
    } else {
        "payments"
    };
    dek(kek, (*wrapped.last().unwrap()).into())
}
