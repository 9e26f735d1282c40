//! How the names of KEKs that rules write become what records carry, as a value: the control thread asks the
//! [`Kms`](super::Kms) for it and pushes it to executors, which then compare without asking anybody.
//!
//! - KEK-NAMES-1: they are in every executor's channel before the first client is accepted: a record is never refused
//!   because the name of its KEK was not known yet.

use crate::envelope::wrapped_dek::kms_text;
use crate::envelope::{KekId, WrappedDek};

/// The names of one KMS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KekNames {
    provider: u8,
    authority: [u8; 4],
}

impl KekNames {
    /// Names of a KMS whose records carry a KEK's name as rules write it.
    #[must_use]
    pub fn as_written(provider: u8, authority: [u8; 4]) -> Self {
        Self { provider, authority }
    }

    /// What wrapped DEKs of `kek` start with; `None` where no KEK can have this name.
    #[must_use]
    pub fn id(&self, kek: &str) -> Option<KekId> {
        KekId::new(self.provider, self.authority, kek.as_bytes()).ok()
    }

    /// Which KMS it is, for whoever reads it.
    #[must_use]
    pub fn kms_text(&self) -> String {
        kms_text(self.provider, self.authority)
    }

    /// Whether a key was wrapped under a KEK of this KMS.
    #[must_use]
    pub fn have_wrapped(&self, wrapped: &[u8]) -> bool {
        let parts = WrappedDek::parse(wrapped).ok();
        let kek = parts.and_then(|parts| str::from_utf8(parts.kek).ok());
        let id = kek.and_then(|kek| self.id(kek));
        id.is_some_and(|id| id.matches(wrapped))
    }

    /// What a DEK of `kek` looks like whose KMS has wrapped it into `blob`; `None` where no KEK can have this name, or
    /// there is no room for the rest.
    #[must_use]
    pub fn wrapped(&self, kek: &str, version: &[u8], blob: &[u8]) -> Option<Vec<u8>> {
        let mut wrapped = Vec::new();
        let parts = WrappedDek {
            provider: self.provider,
            authority: self.authority,
            kek: kek.as_bytes(),
            version,
            blob,
        };
        parts.write(&mut wrapped).ok()?;
        Some(wrapped)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_of_255_bytes_is_carried_and_a_longer_one_cannot_be() {
        let names = KekNames::as_written(1, [7; 4]);
        let id = names.id("payments");
        assert_eq!(id, KekId::new(1, [7; 4], b"payments").ok());
        assert!(names.id(&"n".repeat(255)).is_some());
        assert_eq!(names.id(&"n".repeat(256)), None);
    }
}
