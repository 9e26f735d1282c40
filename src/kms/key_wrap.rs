//! One key encrypted under another: AES-256-GCM with a random nonce, 60 bytes.
//!
//! ```text
//! nonce       12 bytes, random
//! ciphertext  32 bytes
//! tag         16 bytes
//! ```
//!
//! - WRAP-1: a nonce is drawn for each call and used once. A KEK may wrap 2^32 keys before two nonces are likelier than
//!   2^-32 to be equal (NIST SP 800-38D, 8.3); a process wraps a few each day.
//! - WRAP-2: no key leaves [`unwrap`] unless its tag verified; what was decrypted otherwise is wiped.
//!
//! Any thread may call it.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use zeroize::Zeroizing;

use crate::crypto::SecretKey;

/// Bytes of a wrapped key.
pub const WRAPPED_KEY_BYTES: usize = NONCE_BYTES + KEY_BYTES + TAG_BYTES;

/// A wrapped key as it is stored.
pub type WrappedKey = [u8; WRAPPED_KEY_BYTES];

/// Why a key was not wrapped or unwrapped. It is not said what exactly did not match.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a key could not be wrapped or unwrapped")]
pub struct KeyWrapError;

/// Encrypts `key` under `kek`, bound to `aad`.
///
/// # Errors
/// When the kernel gives no random bytes or the library refuses.
pub fn wrap(kek: &SecretKey, aad: &[u8], key: &SecretKey) -> Result<WrappedKey, KeyWrapError> {
    let mut nonce = [0; NONCE_BYTES];
    getrandom::fill(&mut nonce).map_err(|_| KeyWrapError)?;
    let mut text = Zeroizing::new(*key.expose());
    let tag = cipher(kek)?
        .seal_in_place_separate_tag(
            Nonce::assume_unique_for_key(nonce),
            Aad::from(aad),
            text.as_mut_slice(),
        )
        .map_err(|_| KeyWrapError)?;
    let mut wrapped = [0; WRAPPED_KEY_BYTES];
    let (nonce_field, rest) = wrapped.split_at_mut(NONCE_BYTES);
    let (text_field, tag_field) = rest.split_at_mut(KEY_BYTES);
    nonce_field.copy_from_slice(&nonce);
    text_field.copy_from_slice(text.as_slice());
    // INVARIANT: AES_256_GCM's tag is TAG_BYTES long.
    tag_field.copy_from_slice(tag.as_ref());
    Ok(wrapped)
}

/// Decrypts what [`wrap`] made under the same `kek` and `aad`.
///
/// # Errors
/// When `wrapped` has another length, was made under another key or other additional data, or was altered.
pub fn unwrap(kek: &SecretKey, aad: &[u8], wrapped: &[u8]) -> Result<SecretKey, KeyWrapError> {
    let wrapped: &WrappedKey = wrapped.try_into().map_err(|_| KeyWrapError)?;
    let (nonce, sealed) = wrapped.split_first_chunk::<NONCE_BYTES>().ok_or(KeyWrapError)?;
    let mut text = Zeroizing::new([0_u8; KEY_BYTES + TAG_BYTES]);
    text.copy_from_slice(sealed);
    let key = cipher(kek)?
        .open_in_place(
            Nonce::assume_unique_for_key(*nonce),
            Aad::from(aad),
            text.as_mut_slice(),
        )
        .map_err(|_| KeyWrapError)?;
    SecretKey::from_bytes(key).map_err(|_| KeyWrapError)
}

fn cipher(kek: &SecretKey) -> Result<LessSafeKey, KeyWrapError> {
    UnboundKey::new(&AES_256_GCM, kek.expose())
        .map(LessSafeKey::new)
        .map_err(|_| KeyWrapError)
}

const NONCE_BYTES: usize = 12;
const KEY_BYTES: usize = 32;
const TAG_BYTES: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    fn key(byte: u8) -> SecretKey {
        SecretKey::from_bytes(&mut [byte; 32]).unwrap_or_else(|error| panic!("{error}"))
    }

    #[test]
    fn round_trip_and_every_bit_flip_and_truncation_is_refused() -> Result<(), KeyWrapError> {
        let (kek, dek) = (key(1), key(2));
        let wrapped = wrap(&kek, b"bound", &dek)?;
        assert!(unwrap(&kek, b"bound", &wrapped)?.expose() == dek.expose());
        for at in 0..wrapped.len() {
            for bit in 0..8 {
                let mut altered = wrapped;
                altered[at] ^= 1 << bit;
                assert!(unwrap(&kek, b"bound", &altered).is_err(), "byte {at} bit {bit}");
            }
            assert!(unwrap(&kek, b"bound", &wrapped[..at]).is_err(), "length {at}");
        }
        assert!(unwrap(&kek, b"Bound", &wrapped).is_err());
        assert!(unwrap(&key(3), b"bound", &wrapped).is_err());
        Ok(())
    }

    #[test]
    fn nonces_differ() -> Result<(), KeyWrapError> {
        let kek = key(1);
        assert_ne!(wrap(&kek, b"", &kek)?[..12], wrap(&kek, b"", &kek)?[..12]);
        Ok(())
    }

    /// AES-256-GCM with key 01…01, nonce 02…02, text 03…03 and additional data "aad"; made with Python's cryptography 48.
    #[test]
    fn layout_is_pinned_by_a_vector() -> Result<(), KeyWrapError> {
        let mut wrapped = [0_u8; WRAPPED_KEY_BYTES];
        wrapped[..12].fill(2);
        wrapped[12..].copy_from_slice(&VECTOR);
        assert_eq!(unwrap(&key(1), b"aad", &wrapped)?.expose(), &[3; 32]);
        Ok(())
    }

    const VECTOR: [u8; 48] = [
        0x04, 0xd5, 0xca, 0x4a, 0x49, 0x54, 0xc2, 0xfe, 0xd0, 0xcf, 0xbf, 0xcb, 0x5f, 0xa4, 0xc1, 0xb1,
        0xa1, 0xb6, 0xd2, 0xec, 0xe8, 0xb2, 0x8e, 0x72, 0xde, 0x84, 0xe3, 0xf8, 0x7b, 0xf8, 0x77, 0x7c,
        0xb8, 0x13, 0xdd, 0x73, 0x81, 0x0e, 0xac, 0xa5, 0xe2, 0xcb, 0x6f, 0x7a, 0xd6, 0x25, 0x0b, 0x23,
    ];
}
