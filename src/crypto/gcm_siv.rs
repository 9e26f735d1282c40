//! AES-256-GCM-SIV (RFC 8452) with a nonce of zeros: what it makes of a text depends on nothing but key, additional
//! data and text, so that equal record keys stay equal (ENV-72).
//!
//! - GCM-SIV-1: a nonce that stays the same shows which texts are equal, and nothing else of them but their length; the
//!   cipher is made for it. (AES-GCM would give its key away.)
//!
//! Any thread may hold the keys.

use aws_lc_rs::aead::{AES_256_GCM_SIV, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};

use super::xaes::TAG_BYTES;
use super::{CryptoError, SecretKey};

/// A key that encrypts equal texts equally.
pub(crate) struct StableCipher {
    cipher: LessSafeKey,
}

impl StableCipher {
    pub(crate) fn new(key: &SecretKey) -> Result<Self, CryptoError> {
        let unbound = UnboundKey::new(&AES_256_GCM_SIV, key.expose()).map_err(|_| CryptoError::Library)?;
        Ok(Self {
            cipher: LessSafeKey::new(unbound),
        })
    }

    /// Encrypts `text` into `ciphertext`, which must have its length, and returns the tag.
    ///
    /// # Errors
    /// [`CryptoError::Library`] when lengths do not fit together.
    pub(crate) fn seal(
        &self,
        additional_data: &[u8],
        text: &[u8],
        ciphertext: &mut [u8],
    ) -> Result<[u8; TAG_BYTES], CryptoError> {
        self.seal_with(ZEROS, additional_data, text, ciphertext)
    }

    pub(super) fn seal_with(
        &self,
        nonce: [u8; NONCE_LEN],
        additional_data: &[u8],
        text: &[u8],
        ciphertext: &mut [u8],
    ) -> Result<[u8; TAG_BYTES], CryptoError> {
        let mut tag = [0; TAG_BYTES];
        let nonce = Nonce::assume_unique_for_key(nonce);
        let aad = Aad::from(additional_data);
        self.cipher
            .seal_out_of_place_scatter(nonce, aad, text, ciphertext, &[], &mut tag)
            .map_err(|_| CryptoError::Library)?;
        Ok(tag)
    }

    /// Verifies and decrypts `ciphertext` into `text`, which must have its length and holds nothing of use on error:
    /// the caller wipes it.
    ///
    /// # Errors
    /// [`CryptoError::Tag`].
    pub(crate) fn open(
        &self,
        additional_data: &[u8],
        ciphertext: &[u8],
        tag: &[u8],
        text: &mut [u8],
    ) -> Result<(), CryptoError> {
        self.open_with(ZEROS, additional_data, ciphertext, tag, text)
    }

    pub(super) fn open_with(
        &self,
        nonce: [u8; NONCE_LEN],
        additional_data: &[u8],
        ciphertext: &[u8],
        tag: &[u8],
        text: &mut [u8],
    ) -> Result<(), CryptoError> {
        let nonce = Nonce::assume_unique_for_key(nonce);
        self.cipher
            .open_separate_gather(nonce, Aad::from(additional_data), ciphertext, tag, text)
            .map_err(|_| CryptoError::Tag)
    }
}

const ZEROS: [u8; NONCE_LEN] = [0; NONCE_LEN];

#[cfg(test)]
mod tests {
    use super::*;

    /// GCM-SIV-1
    #[test]
    fn equal_texts_are_equal_and_anything_else_differs() -> Result<(), CryptoError> {
        let cipher = |byte| StableCipher::new(&SecretKey::from_bytes(&mut [byte; 32])?);
        let seal = |cipher: &StableCipher, data: &[u8], text: &[u8]| {
            let mut sealed = vec![0; text.len()];
            cipher.seal(data, text, &mut sealed).map(|tag| (sealed, tag))
        };
        let (one, other) = (cipher(1)?, cipher(2)?);
        let sealed = seal(&one, b"data", b"a text")?;
        assert_eq!(sealed, seal(&cipher(1)?, b"data", b"a text")?);
        assert_ne!(sealed, seal(&one, b"data", b"a texu")?);
        assert_ne!(sealed, seal(&one, b"date", b"a text")?);
        assert_ne!(sealed, seal(&other, b"data", b"a text")?);
        assert_eq!(one.seal(b"", b"ab", &mut [0; 3]), Err(CryptoError::Library));
        Ok(())
    }

    #[test]
    fn opens_only_what_was_sealed() -> Result<(), CryptoError> {
        let cipher = StableCipher::new(&SecretKey::from_bytes(&mut [1; 32])?)?;
        for length in [0, 1, 15, 16, 17, 300] {
            let text = vec![0x5a; length];
            let (mut sealed, mut opened) = (vec![0; length], vec![0; length]);
            let tag = cipher.seal(b"data", &text, &mut sealed)?;
            cipher.open(b"data", &sealed, &tag, &mut opened)?;
            assert_eq!(opened, text);
            assert_eq!(
                cipher.open(b"date", &sealed, &tag, &mut opened),
                Err(CryptoError::Tag)
            );
            for (shorter, tag) in [
                (&sealed[..length.saturating_sub(1)], &tag[..]),
                (&sealed, &tag[..15]),
            ] {
                if (shorter.len(), tag.len()) != (length, TAG_BYTES) {
                    let opened = cipher.open(b"data", shorter, tag, &mut opened[..shorter.len()]);
                    assert_eq!(opened, Err(CryptoError::Tag));
                }
            }
        }
        Ok(())
    }
}
