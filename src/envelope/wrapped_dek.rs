//! A DEK as it is stored with a record, encrypted under a KEK, and the name of the KEK in front of it (ENV-60 to
//! ENV-64).
//!
//! ```text
//! provider   u8
//! authority  4 bytes
//! kek        u8 length, bytes
//! version    u8 length, bytes
//! blob       the rest
//! ```
//!
//! - WRAPPED-1: `parse` and `write` are inverse to each other: there is one encoding for one value.
//! - WRAPPED-2: a [`KekId`] is compared as bytes with the start of a wrapped DEK; nothing is looked up or trusted
//!   before.

use super::short_digest::short_digest;

/// Longest wrapped DEK, in bytes (ENV-13, ENV-60).
pub const WRAPPED_DEK_BYTES_MAX: usize = 2048;

/// Provider numbers (ENV-61).
pub mod provider {
    /// The file keystore.
    pub const FILE_KEYSTORE: u8 = 1;
    /// HashiCorp Vault transit.
    pub const VAULT_TRANSIT: u8 = 2;
    /// AWS KMS.
    pub const AWS_KMS: u8 = 3;
    /// Azure Key Vault.
    pub const AZURE_KEY_VAULT: u8 = 4;
    /// Google Cloud KMS.
    pub const GOOGLE_CLOUD_KMS: u8 = 5;
    /// PKCS#11.
    pub const PKCS_11: u8 = 6;
    /// Branch key (reserved).
    pub const BRANCH_KEY: u8 = 7;

    /// The provider's name for messages, `None` for a number that is not assigned.
    #[must_use]
    pub fn name(provider: u8) -> Option<&'static str> {
        Some(match provider {
            FILE_KEYSTORE => "file keystore",
            VAULT_TRANSIT => "Vault transit",
            AWS_KMS => "AWS KMS",
            AZURE_KEY_VAULT => "Azure Key Vault",
            GOOGLE_CLOUD_KMS => "Google Cloud KMS",
            PKCS_11 => "PKCS#11",
            BRANCH_KEY => "branch key",
            _ => return None,
        })
    }
}

/// A version for whoever reads it: a big-endian number where it is short, as the file keystore has them; else its
/// bytes. `None`: there is none.
#[must_use]
pub fn version_text(version: &[u8]) -> Option<String> {
    match version.len() {
        0 => None,
        1..=8 => {
            let number = version
                .iter()
                .fold(0u64, |number, byte| (number << 8) | u64::from(*byte));
            Some(number.to_string())
        }
        _ => Some(version.iter().map(|byte| format!("{byte:02x}")).collect()),
    }
}

/// A KMS for whoever reads it: its kind, and what tells it from others of that kind (ENV-62).
#[must_use]
pub fn kms_text(provider: u8, authority: [u8; 4]) -> String {
    let kind = provider::name(provider).unwrap_or("a provider that this version does not know");
    format!("{kind} authority {:08x}", u32::from_be_bytes(authority))
}

/// What stands for a KMS in wrapped DEKs: the first four bytes of SHA-256 of its identity (ENV-62).
#[must_use]
pub fn authority_of(identity: &[u8]) -> [u8; 4] {
    short_digest(identity)
}

/// A wrapped DEK taken apart; the fields borrow from the record or from the KMS provider that makes one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WrappedDek<'a> {
    /// Which kind of KMS wrapped it; see [`provider`].
    pub provider: u8,
    /// First four bytes of SHA-256 of the KMS's identity (ENV-62).
    pub authority: [u8; 4],
    /// The provider's stable name of the KEK, at most 255 bytes (ENV-63).
    pub kek: &'a [u8],
    /// The KEK's version, at most 255 bytes; empty where there is none.
    pub version: &'a [u8],
    /// What the provider needs to unwrap.
    pub blob: &'a [u8],
}

/// Why bytes are no wrapped DEK, or a wrapped DEK cannot be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WrappedDekError {
    /// The bytes end before the fields do.
    #[error("the wrapped data key is truncated")]
    Truncated,
    /// It is, or would be, longer than [`WRAPPED_DEK_BYTES_MAX`].
    #[error("the wrapped data key is longer than 2048 bytes")]
    TooLong,
    /// The KEK's name or version is longer than 255 bytes.
    #[error("the name or the version of a key-encryption key is longer than 255 bytes")]
    FieldTooLong,
}

impl<'a> WrappedDek<'a> {
    /// Takes `bytes` apart. The blob is what remains and may be empty.
    ///
    /// # Errors
    /// [`WrappedDekError::Truncated`] and [`WrappedDekError::TooLong`].
    pub fn parse(bytes: &'a [u8]) -> Result<Self, WrappedDekError> {
        if bytes.len() > WRAPPED_DEK_BYTES_MAX {
            return Err(WrappedDekError::TooLong);
        }
        let (&provider, rest) = bytes.split_first().ok_or(WrappedDekError::Truncated)?;
        let (&authority, rest) = rest.split_first_chunk().ok_or(WrappedDekError::Truncated)?;
        let (kek, rest) = split_counted(rest)?;
        let (version, blob) = split_counted(rest)?;
        Ok(Self {
            provider,
            authority,
            kek,
            version,
            blob,
        })
    }

    /// Appends the encoding to `out`; appends nothing on error.
    ///
    /// # Errors
    /// [`WrappedDekError::FieldTooLong`] and [`WrappedDekError::TooLong`].
    #[expect(clippy::arithmetic_side_effects, reason = "three numbers of one byte")]
    pub fn write(&self, out: &mut Vec<u8>) -> Result<(), WrappedDekError> {
        let kek_length = u8::try_from(self.kek.len()).map_err(|_| WrappedDekError::FieldTooLong)?;
        let version_length = u8::try_from(self.version.len()).map_err(|_| WrappedDekError::FieldTooLong)?;
        // The sum of the first three cannot overflow: 7 + 2 * 255 at most.
        let prefix = 7 + self.kek.len() + self.version.len();
        if self.blob.len() > WRAPPED_DEK_BYTES_MAX - prefix {
            return Err(WrappedDekError::TooLong);
        }
        out.push(self.provider);
        out.extend_from_slice(&self.authority);
        out.push(kek_length);
        out.extend_from_slice(self.kek);
        out.push(version_length);
        out.extend_from_slice(self.version);
        out.extend_from_slice(self.blob);
        Ok(())
    }
}

/// Which KEK, in which KMS: provider, authority and KEK name in the encoding that a wrapped DEK starts with.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KekId {
    prefix: Box<[u8]>,
}

impl KekId {
    /// The id of the KEK that `provider` knows as `kek` in the KMS `authority`.
    ///
    /// # Errors
    /// [`WrappedDekError::FieldTooLong`] when `kek` is longer than 255 bytes.
    #[expect(clippy::arithmetic_side_effects, reason = "a length of one byte")]
    pub fn new(provider: u8, authority: [u8; 4], kek: &[u8]) -> Result<Self, WrappedDekError> {
        let kek_length = u8::try_from(kek.len()).map_err(|_| WrappedDekError::FieldTooLong)?;
        let mut prefix = Vec::with_capacity(6 + kek.len());
        prefix.push(provider);
        prefix.extend_from_slice(&authority);
        prefix.push(kek_length);
        prefix.extend_from_slice(kek);
        Ok(Self {
            prefix: prefix.into_boxed_slice(),
        })
    }

    /// Whether `wrapped` names exactly this KEK (ENV-64). The KEK's length is part of the comparison, so a name that
    /// merely starts alike does not match. What follows the name is not looked at.
    #[must_use]
    pub fn matches(&self, wrapped: &[u8]) -> bool {
        wrapped.starts_with(&self.prefix)
    }
}

/// Splits a byte string with a u8 length off the front of `bytes`.
fn split_counted(bytes: &[u8]) -> Result<(&[u8], &[u8]), WrappedDekError> {
    let (&length, rest) = bytes.split_first().ok_or(WrappedDekError::Truncated)?;
    rest.split_at_checked(usize::from(length))
        .ok_or(WrappedDekError::Truncated)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SAMPLE: WrappedDek<'static> = WrappedDek {
        provider: provider::FILE_KEYSTORE,
        authority: [0xa1, 0xb2, 0xc3, 0xd4],
        kek: b"payments",
        version: &[3],
        blob: &[0xee; 60],
    };

    fn encoded(wrapped: &WrappedDek<'_>) -> Vec<u8> {
        let mut out = Vec::new();
        assert_eq!(wrapped.write(&mut out), Ok(()));
        out
    }

    #[test]
    fn encoding_is_pinned() {
        let bytes = encoded(&SAMPLE);
        let mut expected = vec![1, 0xa1, 0xb2, 0xc3, 0xd4, 8];
        expected.extend_from_slice(b"payments");
        expected.extend_from_slice(&[1, 3]);
        expected.extend_from_slice(&[0xee; 60]);
        assert_eq!(bytes, expected);
        assert_eq!(WrappedDek::parse(&bytes), Ok(SAMPLE));
    }

    #[test]
    fn every_truncation_of_the_prefix_is_refused() {
        let bytes = encoded(&SAMPLE);
        let blob_at = bytes.len() - SAMPLE.blob.len();
        for end in 0..blob_at {
            assert_eq!(
                WrappedDek::parse(&bytes[..end]),
                Err(WrappedDekError::Truncated),
                "{end}"
            );
        }
        assert!(WrappedDek::parse(&bytes[..blob_at]).is_ok());
    }

    #[test]
    fn length_limits() {
        let long = [1_u8; 2049];
        assert!(
            WrappedDek {
                kek: &long[..255],
                ..SAMPLE
            }
            .write(&mut Vec::new())
            .is_ok()
        );
        for refused in [
            WrappedDek {
                kek: &long[..256],
                ..SAMPLE
            },
            WrappedDek {
                version: &long[..256],
                ..SAMPLE
            },
        ] {
            let mut out = Vec::new();
            assert_eq!(refused.write(&mut out), Err(WrappedDekError::FieldTooLong));
            assert!(out.is_empty());
        }
        let prefix = 7 + 8 + 1;
        let most = encoded(&WrappedDek {
            blob: &long[..2048 - prefix],
            ..SAMPLE
        });
        assert_eq!(most.len(), WRAPPED_DEK_BYTES_MAX);
        assert!(WrappedDek::parse(&most).is_ok());
        assert_eq!(
            WrappedDek {
                blob: &long[..2049 - prefix],
                ..SAMPLE
            }
            .write(&mut Vec::new()),
            Err(WrappedDekError::TooLong)
        );
        assert_eq!(WrappedDek::parse(&[0; 2049]), Err(WrappedDekError::TooLong));
        assert!(KekId::new(1, [0; 4], &long[..255]).is_ok());
        assert_eq!(
            KekId::new(1, [0; 4], &long[..256]),
            Err(WrappedDekError::FieldTooLong)
        );
    }

    /// WRAPPED-2
    #[test]
    fn kek_ids_match_exactly() -> Result<(), WrappedDekError> {
        let bytes = encoded(&SAMPLE);
        assert!(KekId::new(1, SAMPLE.authority, b"payments")?.matches(&bytes));
        assert!(!KekId::new(2, SAMPLE.authority, b"payments")?.matches(&bytes));
        assert!(!KekId::new(1, [0; 4], b"payments")?.matches(&bytes));
        assert!(!KekId::new(1, SAMPLE.authority, b"payment")?.matches(&bytes));
        assert!(!KekId::new(1, SAMPLE.authority, b"payments2")?.matches(&bytes));
        assert!(!KekId::new(1, SAMPLE.authority, b"")?.matches(&bytes));
        assert!(!KekId::new(1, SAMPLE.authority, b"payments")?.matches(&[]));
        Ok(())
    }

    proptest! {
        /// WRAPPED-1
        #[test]
        fn whatever_parses_is_written_back_unchanged(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
            if let Ok(wrapped) = WrappedDek::parse(&bytes) {
                prop_assert_eq!(encoded(&wrapped), bytes);
            }
        }
    }
}
