//! One key encrypted under another: AES-256-GCM with a random nonce, as the file keystore stores KEKs and DEKs.
//!
//! ```text
//! nonce 12 bytes | ciphertext 32 bytes | tag 16 bytes
//! ```
//!
//! A random 96-bit nonce is good for 2^32 wraps under one key (NIST SP 800-38D, 8.3): a KEK wraps one DEK per process
//! and day, a master key a handful of KEKs. The caller's additional data says what the wrapped key is for.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};

use super::memory::KEY_BYTES;
use super::{CryptoError, SecretKey};

/// Bytes of a wrapped key.
pub const WRAPPED_KEY_BYTES: usize = NONCE_BYTES + KEY_BYTES + TAG_BYTES;

/// Encrypts `key` under `wrapping_key`, bound to `additional_data`.
///
/// # Errors
/// [`CryptoError::Random`] and [`CryptoError::Library`].
pub fn wrap_key(
    wrapping_key: &SecretKey,
    additional_data: &[u8],
    key: &SecretKey,
) -> Result<[u8; WRAPPED_KEY_BYTES], CryptoError> {
    let mut wrapped = [0; WRAPPED_KEY_BYTES];
    let (nonce, rest) = wrapped.split_at_mut(NONCE_BYTES);
    let (ciphertext, tag) = rest.split_at_mut(KEY_BYTES);
    getrandom::fill(nonce).map_err(|_| CryptoError::Random)?;
    let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| CryptoError::Library)?;
    cipher(wrapping_key)?
        .seal_out_of_place_scatter(
            nonce,
            Aad::from(additional_data),
            key.expose(),
            ciphertext,
            &[],
            tag,
        )
        .map_err(|_| CryptoError::Library)?;
    Ok(wrapped)
}

/// Decrypts what [`wrap_key`] made; the key's bytes go straight into locked memory.
///
/// # Errors
/// [`CryptoError::Tag`] when `wrapped` has another length, was made under another key or with other additional data, or
/// was altered; [`CryptoError::Library`].
pub fn unwrap_key(
    wrapping_key: &SecretKey,
    additional_data: &[u8],
    wrapped: &[u8],
) -> Result<SecretKey, CryptoError> {
    let wrapped: &[u8; WRAPPED_KEY_BYTES] = wrapped.try_into().map_err(|_| CryptoError::Tag)?;
    let (nonce, rest) = wrapped.split_at(NONCE_BYTES);
    let (ciphertext, tag) = rest.split_at(KEY_BYTES);
    let cipher = cipher(wrapping_key)?;
    SecretKey::fill_with(|bytes| open(&cipher, nonce, additional_data, ciphertext, tag, bytes))
}

pub(super) fn open(
    cipher: &LessSafeKey,
    nonce: &[u8],
    additional_data: &[u8],
    ciphertext: &[u8],
    tag: &[u8],
    text: &mut [u8],
) -> Result<(), CryptoError> {
    let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| CryptoError::Library)?;
    cipher
        .open_separate_gather(nonce, Aad::from(additional_data), ciphertext, tag, text)
        .map_err(|_| CryptoError::Tag)
}

pub(super) fn cipher(key: &SecretKey) -> Result<LessSafeKey, CryptoError> {
    let unbound = UnboundKey::new(&AES_256_GCM, key.expose()).map_err(|_| CryptoError::Library)?;
    Ok(LessSafeKey::new(unbound))
}

const NONCE_BYTES: usize = 12;
const TAG_BYTES: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrapped_keys_come_back() -> Result<(), CryptoError> {
        let (kek, dek) = (SecretKey::generate()?, SecretKey::generate()?);
        let wrapped = wrap_key(&kek, b"for a test", &dek)?;
        assert!(unwrap_key(&kek, b"for a test", &wrapped)?.expose() == dek.expose());
        assert!(wrap_key(&kek, b"for a test", &dek)? != wrapped);
        Ok(())
    }

    #[test]
    fn every_flipped_bit_and_every_other_length_is_refused() -> Result<(), CryptoError> {
        let (kek, dek) = (SecretKey::generate()?, SecretKey::generate()?);
        let wrapped = wrap_key(&kek, b"a", &dek)?;
        let refused = |bytes: &[u8]| matches!(unwrap_key(&kek, b"a", bytes), Err(CryptoError::Tag));
        for bit in 0..WRAPPED_KEY_BYTES * 8 {
            let mut flipped = wrapped;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(refused(&flipped), "bit {bit}");
        }
        for end in 0..WRAPPED_KEY_BYTES {
            assert!(refused(&wrapped[..end]), "{end} bytes");
        }
        let mut longer = wrapped.to_vec();
        longer.push(0);
        assert!(refused(&longer));
        assert!(matches!(unwrap_key(&kek, b"b", &wrapped), Err(CryptoError::Tag)));
        assert!(matches!(unwrap_key(&dek, b"a", &wrapped), Err(CryptoError::Tag)));
        Ok(())
    }

    /// The pieces stand where the format says.
    #[test]
    fn layout_is_nonce_ciphertext_tag() -> Result<(), CryptoError> {
        let (kek, dek) = (
            SecretKey::from_bytes(&mut [0; 32])?,
            SecretKey::from_bytes(&mut [0; 32])?,
        );
        let wrapped = wrap_key(&kek, b"", &dek)?;
        let (nonce, rest) = wrapped.split_first_chunk::<12>().unwrap();
        let mut expected = vec![0; 32];
        let tag = cipher(&kek)?
            .seal_in_place_separate_tag(Nonce::assume_unique_for_key(*nonce), Aad::empty(), &mut expected)
            .unwrap();
        expected.extend_from_slice(tag.as_ref());
        assert_eq!(rest, expected);
        Ok(())
    }
}
