//! The pseudo-random function that salts come from: HMAC-SHA-256 (RFC 2104) under a key that is drawn once.
//!
//! What goes in is the caller's ([`crate::envelope::SaltSource`]); what comes out looks random to whoever does not have
//! the key, and differs where the input does.

use aws_lc_rs::hmac;

use super::{CryptoError, SecretKey};
use crate::crypto::xaes::SALT_BYTES;

/// The key of the function.
pub(crate) struct SaltKey {
    key: hmac::Key,
}

impl SaltKey {
    /// A key from the kernel's random number generator.
    ///
    /// # Errors
    /// [`CryptoError::Random`].
    pub(crate) fn generate() -> Result<Self, CryptoError> {
        Ok(Self::new(&SecretKey::generate()?))
    }

    pub(crate) fn new(key: &SecretKey) -> Self {
        Self {
            key: hmac::Key::new(hmac::HMAC_SHA256, key.expose()),
        }
    }

    /// The first 12 bytes of HMAC-SHA-256 over `input`.
    pub(crate) fn salt(&self, input: &[u8]) -> [u8; SALT_BYTES] {
        let mut salt = [0; SALT_BYTES];
        for (to, from) in salt.iter_mut().zip(hmac::sign(&self.key, input).as_ref()) {
            *to = *from;
        }
        salt
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 4231, test case 1, its key of 20 bytes filled up with zeros to 32, as HMAC itself does.
    #[test]
    fn salts_are_the_front_of_hmac_sha_256() -> Result<(), CryptoError> {
        let mut key = [0; 32];
        key[..20].fill(0x0b);
        let key = SaltKey::new(&SecretKey::from_bytes(&mut key)?);
        let expected = [
            0xb0, 0x34, 0x4c, 0x61, 0xd8, 0xdb, 0x38, 0x53, 0x5c, 0xa8, 0xaf, 0xce,
        ];
        assert_eq!(key.salt(b"Hi There"), expected);
        Ok(())
    }
}
