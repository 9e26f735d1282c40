//! An executor's share of one DEK: the key, and how much may still be sealed under it.
//!
//! A request that is sealed in pieces holds shares for longer than one call, and what it shares them with goes on
//! meanwhile:
//!
//! - SHARE-1: each batch is taken from the share right before it is sealed, so that no number of partitions exceeds it.
//! - SHARE-2: a share that was withdrawn (its KEK was refused, another DEK came, or there was no room for it) gives no
//!   batch any more, whoever still holds it.
//! - SHARE-3: nor is a batch that was taken from it sealed on: whoever does so in pieces asks before each.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use crate::envelope::SealingKey;
use crate::keys::OpenedDek;
use crate::keys::request::{DeliveredDek, Purpose};

/// See the module.
pub struct SealingShare {
    dek: OpenedDek,
    expires_at: Instant,
    batches_left: Cell<u64>,
    bytes_left: Cell<u64>,
    batches_unreported: Cell<u64>,
    bytes_unreported: Cell<u64>,
    withdrawn: Cell<bool>,
}

impl SealingShare {
    pub(super) fn new(purpose: Purpose, delivered: DeliveredDek) -> Option<Rc<Self>> {
        let dek = OpenedDek::new(delivered.dek, delivered.wrapped);
        // What cannot be sealed under is no share: whoever looks for one would find it again and again.
        match purpose {
            Purpose::RecordSeal => dek.seals_records().ok()?,
        };
        Some(Rc::new(Self {
            dek,
            expires_at: delivered.expires_at,
            batches_left: Cell::new(delivered.batches_max),
            bytes_left: Cell::new(delivered.bytes_max),
            batches_unreported: Cell::new(0),
            bytes_unreported: Cell::new(0),
            withdrawn: Cell::new(false),
        }))
    }

    /// Whether a batch may be sealed under it now.
    #[must_use]
    pub fn is_usable(&self, now: Instant) -> bool {
        !self.withdrawn.get()
            && self.batches_left.get() > 0
            && self.bytes_left.get() > 0
            && now < self.expires_at
    }

    /// The key to seal one batch with, which counts from now on whatever comes of it; `None` when another share is to
    /// be looked up.
    #[must_use]
    pub fn take_batch(&self, now: Instant) -> Option<&SealingKey> {
        if !self.is_usable(now) {
            return None;
        }
        self.batches_left.set(self.batches_left.get().saturating_sub(1));
        self.batches_unreported
            .set(self.batches_unreported.get().saturating_add(1));
        self.dek.seals_records().ok()
    }

    /// Whether a batch that was taken may be sealed on: neither was the share withdrawn nor has its time ended
    /// (SHARE-3).
    #[must_use]
    pub fn holds(&self, now: Instant) -> bool {
        !self.withdrawn.get() && now < self.expires_at
    }

    /// Counts the bytes of a batch that was sealed.
    pub fn note_bytes(&self, bytes: u64) {
        self.bytes_left.set(self.bytes_left.get().saturating_sub(bytes));
        self.bytes_unreported
            .set(self.bytes_unreported.get().saturating_add(bytes));
    }

    /// As it goes into each record.
    #[must_use]
    pub fn wrapped_dek(&self) -> &Arc<[u8]> {
        self.dek.wrapped()
    }

    /// SHARE-2.
    pub(super) fn withdraw(&self) {
        self.withdrawn.set(true);
    }

    /// Batches and bytes since the last call; `None` when there were none.
    pub(super) fn take_unreported(&self) -> Option<(u64, u64)> {
        if self.batches_unreported.get() == 0 {
            return None;
        }
        Some((self.batches_unreported.take(), self.bytes_unreported.take()))
    }
}
