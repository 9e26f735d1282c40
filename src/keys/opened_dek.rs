//! One DEK on one executor: the DEK itself, and what each format derives from it.
//!
//! - OPENED-DEK-1: what a format needs is derived when it is needed first, once, and is wiped together with the DEK.
//! - whoever looks a DEK up for opening can only open with it: what seals is given out by a
//!   [`SealingShare`](super::SealingShare) alone, which counts.

use std::cell::OnceCell;
use std::sync::Arc;

use crate::crypto::SecretKey;
use crate::envelope::{OpenError, OpeningKey, SealError, SealingKey};

/// See the module.
pub struct OpenedDek {
    dek: SecretKey,
    wrapped: Arc<[u8]>,
    opens_records: OnceCell<OpeningKey>,
    seals_records: OnceCell<SealingKey>,
}

impl OpenedDek {
    /// The DEK that was unwrapped from `wrapped`.
    #[must_use]
    pub fn new(dek: SecretKey, wrapped: Arc<[u8]>) -> Self {
        Self {
            dek,
            wrapped,
            opens_records: OnceCell::new(),
            seals_records: OnceCell::new(),
        }
    }

    /// As it goes into each record.
    #[must_use]
    pub fn wrapped(&self) -> &Arc<[u8]> {
        &self.wrapped
    }

    /// What opens records of format 1.
    ///
    /// # Errors
    /// [`OpenError::Crypto`].
    #[inline]
    pub fn opens_records(&self) -> Result<&OpeningKey, OpenError> {
        derived(&self.opens_records, || OpeningKey::new(&self.dek, &self.wrapped))
    }

    /// What seals records in format 1.
    pub(super) fn seals_records(&self) -> Result<&SealingKey, SealError> {
        derived(&self.seals_records, || SealingKey::new(&self.dek, &*self.wrapped))
    }
}

#[inline]
fn derived<T, E>(cell: &OnceCell<T>, derive: impl FnOnce() -> Result<T, E>) -> Result<&T, E> {
    if let Some(derived) = cell.get() {
        return Ok(derived);
    }
    let derived = derive()?;
    Ok(cell.get_or_init(|| derived))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// OPENED-DEK-1
    #[test]
    fn a_key_is_derived_once_and_not_before_it_is_needed() -> Result<(), Box<dyn std::error::Error>> {
        let dek = OpenedDek::new(SecretKey::generate()?, Arc::from(&b"wrapped"[..]));
        assert!(dek.opens_records.get().is_none() && dek.seals_records.get().is_none());
        let first: *const OpeningKey = dek.opens_records()?;
        assert!(std::ptr::eq(first, dek.opens_records()?));
        assert!(dek.seals_records.get().is_none());
        assert!(dek.seals_records().is_ok());
        // A wrapped DEK that cannot be stored seals nothing, and is asked again.
        let empty = OpenedDek::new(SecretKey::generate()?, Arc::from(&[][..]));
        assert_eq!(empty.seals_records().err(), Some(SealError::WrappedDekLength));
        assert_eq!(empty.seals_records().err(), Some(SealError::WrappedDekLength));
        Ok(())
    }
}
