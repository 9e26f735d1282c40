//! Whether the DEKs that seal are what their KMS makes of their wrapped form: what is sealed with another one can be
//! read by nobody who has to ask for it.
//!
//! - PROOF-1: each DEK is unwrapped within seconds of its making, and compared: its version is rechecked by it, early
//!   then and in its time later.
//! - PROOF-2: one that the KMS unwraps to another one, or not at all, seals nothing from then on, on any executor.
//!   Which of the two was wrong, the making or the unwrapping, is not known: those who read keep the one that was
//!   sealed with, since what was sealed opens with no other.
//! - PROOF-3: a KMS that has once been found to do so is believed no more: each DEK that it makes from then on is
//!   proved before anything is sealed with it. One that is wrong again is an outage for those who wait, and the next is
//!   made as late as after a verdict.
//! - a refusal, or an outage, proves nothing: the DEK seals on, as the recheck of its version decides.

use std::sync::Arc;
use std::time::Instant;

use super::{Making, NewDek, SealingDeks};
use crate::crypto::SecretKey;
use crate::keys::ledger::finding::WrongDek;
use crate::keys::ledger::outboxes::Outboxes;
use crate::keys::request::{KeyFailure, KeyId};
use crate::kms::KmsError;

/// What a recheck says of the DEKs that seal, or are to.
pub(in crate::keys::ledger) enum Proof {
    /// Nothing.
    None,
    /// It is the right one; or one that seals from now on.
    Right(Option<NewDek>),
    Wrong(WrongDek),
}

impl SealingDeks {
    /// Takes in what a recheck by `wrapped`, made under `key`, brought.
    pub(in crate::keys::ledger) fn proved(
        &mut self,
        key: &KeyId,
        wrapped: &Arc<[u8]>,
        result: &Result<SecretKey, KmsError>,
        now: Instant,
        outboxes: &mut Outboxes,
    ) -> Proof {
        let is_it = |fetch: &Making| matches!(&fetch.unproved, Some(made) if *made.wrapped == **wrapped);
        if self.fetching.get(key).is_some_and(is_it) {
            return self.proved_before_use(key, result, now, outboxes);
        }
        let Some(active) = self.active.peek(key).filter(|active| active.wrapped == *wrapped) else {
            return Proof::None;
        };
        match result {
            Ok(dek) if dek.is_same(&active.dek) => Proof::Right(None),
            Ok(_) | Err(KmsError::Malformed) => {
                let sealed_for = active.age(now);
                self.is_doubted = true;
                if let Some(active) = self.active.pop(key) {
                    self.release(key, &active, outboxes);
                }
                Proof::Wrong(WrongDek::Sealed(sealed_for))
            }
            Err(_) => Proof::None,
        }
    }

    /// PROOF-3
    fn proved_before_use(
        &mut self,
        key: &KeyId,
        result: &Result<SecretKey, KmsError>,
        now: Instant,
        outboxes: &mut Outboxes,
    ) -> Proof {
        let Some(mut fetch) = self.fetching.remove(key) else {
            return Proof::None;
        };
        let Some(made) = fetch.unproved.take() else {
            return Proof::None;
        };
        match result {
            Ok(_) if fetch.revoked => {
                self.make_again(key, fetch);
                Proof::None
            }
            Ok(dek) if dek.is_same(&made.dek) => {
                Proof::Right(self.install(key, fetch.waiters, made, now, outboxes))
            }
            Ok(_) | Err(KmsError::Malformed) => {
                let error = KmsError::Unavailable("it made a wrong data key".to_owned());
                self.failed(key, &error, fetch.waiters, now, outboxes);
                let memory = self.options.verdict_memory;
                self.refused
                    .remember(key.clone(), KeyFailure::Unavailable, now, memory);
                Proof::Wrong(WrongDek::Unused)
            }
            Err(error) => {
                self.failed(key, error, fetch.waiters, now, outboxes);
                Proof::None
            }
        }
    }
}
