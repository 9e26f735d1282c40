//! A record's key, sealed so that equal keys stay equal (ENV-70 to ENV-76):
//!
//! ```text
//! 0x01 | stable key id 4 bytes | AES-256-GCM-SIV(domain key, nonce of zeros, key, "sealwire/1/key" | domain) | tag 16
//! domain key = HKDF-SHA-256(stable key, info = "sealwire/1/key" | u16 BE length | domain)
//! ```
//!
//! - STABLE-KEY-1: what comes of a key depends on the stable key, the domain and the key alone: not on the DEK, on who
//!   seals, nor on when.
//! - STABLE-KEY-2: nothing is allocated for a key.
//! - a sealed key is longer than the key by [`SEALED_KEY_BYTES`], whatever the key is.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use super::short_digest::short_digest;
use super::wipe::wipe;
use super::{Domain, OpenError, SealError};
use crate::crypto::gcm_siv::StableCipher;
use crate::crypto::xaes::TAG_BYTES;
use crate::crypto::{CryptoError, STABLE_KEY_INFO, SecretKey, derive_domain_key};

/// Bytes of a stable key's id.
pub const STABLE_KEY_ID_BYTES: usize = 4;

/// By how many bytes a sealed key is longer than the key (ENV-70).
pub const SEALED_KEY_BYTES: usize = 1 + STABLE_KEY_ID_BYTES + TAG_BYTES;

/// Which stable key sealed a record's key (ENV-73).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StableKeyId(
    /// Its bytes as a big-endian number.
    u32,
);

impl StableKeyId {
    /// Of a stable key that is wrapped into `wrapped` when it is made; it stays when the key is wrapped anew.
    #[must_use]
    pub fn of_wrapped(wrapped: &[u8]) -> Self {
        Self(u32::from_be_bytes(short_digest(wrapped)))
    }

    /// The id that these bytes are.
    #[cfg(feature = "testing")]
    #[must_use]
    pub fn from_bytes(bytes: [u8; STABLE_KEY_ID_BYTES]) -> Self {
        Self(u32::from_be_bytes(bytes))
    }

    /// As it is stored.
    #[must_use]
    pub fn bytes(self) -> [u8; STABLE_KEY_ID_BYTES] {
        self.0.to_be_bytes()
    }

    /// The id that a sealed key names. Untrusted until the key is opened.
    ///
    /// # Errors
    /// [`OpenError::MalformedKey`] for what is no sealed key.
    pub fn in_sealed_key(stored: &[u8]) -> Result<Self, OpenError> {
        match stored {
            [FORMAT_SEALED_KEY, id @ ..] if stored.len() >= SEALED_KEY_BYTES => {
                let id = id.first_chunk().ok_or(OpenError::MalformedKey)?;
                Ok(Self(u32::from_be_bytes(*id)))
            }
            _ => Err(OpenError::MalformedKey),
        }
    }
}

impl fmt::Display for StableKeyId {
    /// Eight hexadecimal digits.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:08x}", self.0)
    }
}

impl fmt::Debug for StableKeyId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

/// A text that is no id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the id of a stable key has 8 hexadecimal digits in lower case")]
pub struct NotAStableKeyId;

impl FromStr for StableKeyId {
    type Err = NotAStableKeyId;

    fn from_str(text: &str) -> Result<Self, NotAStableKeyId> {
        let is_digit = |byte: u8| byte.is_ascii_digit() || matches!(byte, b'a'..=b'f');
        if text.len() != 2 * STABLE_KEY_ID_BYTES || !text.bytes().all(is_digit) {
            return Err(NotAStableKeyId);
        }
        let number = u32::from_str_radix(text, 16).map_err(|_| NotAStableKeyId)?;
        Ok(Self(number))
    }
}

/// A stable key ready to seal and to open the record keys of one domain.
pub struct DomainKey {
    id: StableKeyId,
    cipher: StableCipher,
    additional_data: Box<[u8]>,
}

impl DomainKey {
    /// Derives the key of `domain` from the stable key of this id.
    ///
    /// # Errors
    /// [`CryptoError::Library`].
    pub fn new(stable_key: &SecretKey, id: StableKeyId, domain: &Domain) -> Result<Self, CryptoError> {
        let name = domain.name().as_bytes();
        Ok(Self {
            id,
            cipher: StableCipher::new(&derive_domain_key(stable_key, name)?)?,
            additional_data: [STABLE_KEY_INFO, name].concat().into(),
        })
    }

    /// Which stable key it was derived from.
    #[must_use]
    pub fn id(&self) -> StableKeyId {
        self.id
    }

    /// Appends `key` as it is stored: [`SEALED_KEY_BYTES`] more.
    pub(super) fn seal(&self, key: &[u8], out: &mut Vec<u8>) -> Result<(), SealError> {
        out.push(FORMAT_SEALED_KEY);
        out.extend_from_slice(&self.id.bytes());
        let start = out.len();
        out.resize(start.saturating_add(key.len()), 0);
        let place = out.get_mut(start..).unwrap_or_default();
        let tag = self.cipher.seal(&self.additional_data, key, place)?;
        out.extend_from_slice(&tag);
        Ok(())
    }

    /// Opens the stored key into `key`, which has [`SEALED_KEY_BYTES`] less and is the caller's to wipe on an error.
    pub(super) fn open(&self, stored: &[u8], key: &mut [u8]) -> Result<(), OpenError> {
        if StableKeyId::in_sealed_key(stored)? != self.id {
            return Err(OpenError::UnknownStableKey);
        }
        let sealed = stored.get(1 + STABLE_KEY_ID_BYTES..).unwrap_or_default();
        let (ciphertext, tag) = sealed.split_last_chunk().ok_or(OpenError::MalformedKey)?;
        let tag: &[u8; TAG_BYTES] = tag;
        self.cipher
            .open(&self.additional_data, ciphertext, tag, key)
            .map_err(|error| match error {
                CryptoError::Tag => OpenError::KeyTag,
                other => OpenError::Crypto(other),
            })
    }

    /// Appends to `out` the key that `stored` is, of a record without a seal: nobody vouches for the rest of it.
    ///
    /// # Errors
    /// [`OpenError`]; `out` is then as it was before.
    pub fn open_alone(&self, stored: &[u8], out: &mut Vec<u8>) -> Result<(), OpenError> {
        let start = out.len();
        let length = stored.len().saturating_sub(SEALED_KEY_BYTES);
        out.resize(start.saturating_add(length), 0);
        let opened = self.open(stored, out.get_mut(start..).unwrap_or_default());
        if opened.is_err() {
            wipe(out, start);
        }
        opened
    }
}

/// A domain that a reader accepts, and what opens the keys of its records; `None`: they are not sealed.
#[derive(Clone)]
pub struct AcceptedDomain {
    /// The domain.
    pub domain: Domain,
    /// Of the one stable key that the domain has.
    pub key: Option<Arc<DomainKey>>,
}

impl From<Domain> for AcceptedDomain {
    fn from(domain: Domain) -> Self {
        Self { domain, key: None }
    }
}

/// The first byte of a sealed key (ENV-70).
pub(super) const FORMAT_SEALED_KEY: u8 = 1;

#[cfg(test)]
mod tests {
    use super::*;

    fn domain_key(stable_key: u8, domain: &str) -> DomainKey {
        let stable_key = SecretKey::from_bytes(&mut [stable_key; 32]).unwrap();
        DomainKey::new(
            &stable_key,
            StableKeyId::from_bytes([1, 2, 3, 4]),
            &Domain::new(domain).unwrap(),
        )
        .unwrap()
    }

    fn sealed(by: &DomainKey, key: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        by.seal(key, &mut out).unwrap();
        out
    }

    /// STABLE-KEY-1
    #[test]
    fn equal_keys_of_a_domain_are_equal_and_those_of_others_are_not() {
        let one = domain_key(1, "orders");
        for key in [&b""[..], b"k", &[7; 300]] {
            let stored = sealed(&one, key);
            assert_eq!(stored.len(), key.len() + SEALED_KEY_BYTES);
            assert_eq!(stored, sealed(&domain_key(1, "orders"), key));
            assert_ne!(stored, sealed(&domain_key(1, "order"), key));
            assert_ne!(stored, sealed(&domain_key(2, "orders"), key));
            let mut opened = vec![0; key.len()];
            one.open(&stored, &mut opened).unwrap();
            assert_eq!(opened, key);
        }
    }

    #[test]
    fn every_flipped_bit_and_every_truncation_is_refused() {
        let one = domain_key(1, "orders");
        let stored = sealed(&one, b"order-17");
        let open = |stored: &[u8]| {
            let mut opened = vec![0; stored.len().saturating_sub(SEALED_KEY_BYTES)];
            one.open(stored, &mut opened)
        };
        assert_eq!(open(&stored), Ok(()));
        for bit in 0..stored.len() * 8 {
            let mut flipped = stored.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let expected = match bit / 8 {
                0 => OpenError::MalformedKey,
                1..5 => OpenError::UnknownStableKey,
                _ => OpenError::KeyTag,
            };
            assert_eq!(open(&flipped), Err(expected), "bit {bit}");
        }
        for end in 0..stored.len() {
            let expected = match end < SEALED_KEY_BYTES {
                true => OpenError::MalformedKey,
                false => OpenError::KeyTag,
            };
            assert_eq!(open(&stored[..end]), Err(expected), "{end} bytes");
        }
        assert_eq!(
            domain_key(1, "order").open(&stored, &mut [0; 8]),
            Err(OpenError::KeyTag)
        );
    }

    #[test]
    fn an_id_is_the_start_of_sha_256_and_eight_digits() {
        // SHA-256("abc") of FIPS 180-4.
        let id = StableKeyId::of_wrapped(b"abc");
        assert_eq!(id.bytes(), [0xba, 0x78, 0x16, 0xbf]);
        assert_eq!(id.to_string(), "ba7816bf");
        assert_eq!("ba7816bf".parse(), Ok(id));
        assert_eq!(StableKeyId(1).to_string(), "00000001");
        for text in ["", "ba7816b", "ba7816bf0", "BA7816BF", "+a7816bf", "ba7816bg"] {
            assert_eq!(text.parse::<StableKeyId>(), Err(NotAStableKeyId), "{text}");
        }
    }
}
