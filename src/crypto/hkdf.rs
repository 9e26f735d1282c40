//! Keys derived from keys: HKDF-SHA-256 (RFC 5869).

use aws_lc_rs::hkdf;

use super::{CryptoError, SecretKey};

/// What the record key's derivation is bound to, in front of the wrapped DEK (ENV-20).
pub(crate) const RECORD_KEY_INFO: &[u8] = b"sealwire/1/record";

/// The record key of `dek`:
/// `HKDF-SHA-256(ikm = DEK, salt = empty, info = "sealwire/1/record" | u16 BE length | wrapped DEK)` (ENV-20). The
/// wrapped DEK is part of it, so a record that names another one does not open.
///
/// # Errors
/// [`CryptoError::WrappedDekLength`] when `wrapped_dek` is longer than 65535 bytes, [`CryptoError::Library`].
pub(crate) fn derive_record_key(dek: &SecretKey, wrapped_dek: &[u8]) -> Result<SecretKey, CryptoError> {
    let length = u16::try_from(wrapped_dek.len()).map_err(|_| CryptoError::WrappedDekLength)?;
    derive(dek, &[RECORD_KEY_INFO, &length.to_be_bytes(), wrapped_dek])
}

/// What the derivation of a domain's key is bound to, in front of the domain (ENV-71); the additional data of what is
/// sealed under it begins in the same way (ENV-72).
pub(crate) const STABLE_KEY_INFO: &[u8] = b"sealwire/1/key";

/// What a stable key's check is bound to, in front of the key's id (`docs/keyring.md`).
pub(crate) const KEY_CHECK_INFO: &[u8] = b"sealwire/1/key-check";

/// Bytes of a stable key's check.
pub const KEY_CHECK_BYTES: usize = 16;

/// What seals the record keys of one domain under a stable key:
/// `HKDF-SHA-256(ikm = stable key, salt = empty, info = "sealwire/1/key" | u16 BE length | domain)` (ENV-71).
///
/// # Errors
/// [`CryptoError::DomainLength`] when `domain` is longer than 65535 bytes, [`CryptoError::Library`].
pub(crate) fn derive_domain_key(stable_key: &SecretKey, domain: &[u8]) -> Result<SecretKey, CryptoError> {
    let length = u16::try_from(domain.len()).map_err(|_| CryptoError::DomainLength)?;
    derive(stable_key, &[STABLE_KEY_INFO, &length.to_be_bytes(), domain])
}

/// What shows that a key is the one that a keyring means by an id, and says nothing of the key:
/// `HKDF-SHA-256(ikm = stable key, salt = empty, info = "sealwire/1/key-check" | id)`.
///
/// # Errors
/// [`CryptoError::Library`].
pub fn key_check(stable_key: &SecretKey, id: [u8; 4]) -> Result<[u8; KEY_CHECK_BYTES], CryptoError> {
    let mut check = [0; KEY_CHECK_BYTES];
    derive_into(stable_key.expose(), &[KEY_CHECK_INFO, &id], &mut check)?;
    Ok(check)
}

/// 32 bytes of HKDF-SHA-256 with an empty salt; `info` is the concatenation of its parts.
fn derive(ikm: &SecretKey, info: &[&[u8]]) -> Result<SecretKey, CryptoError> {
    SecretKey::fill_with(|bytes| derive_into(ikm.expose(), info, bytes))
}

pub(super) fn derive_into(ikm: &[u8], info: &[&[u8]], output: &mut [u8]) -> Result<(), CryptoError> {
    let pseudo_random_key = hkdf::Salt::none(hkdf::HKDF_SHA256).extract(ikm);
    let expanded = pseudo_random_key
        .expand(info, OutputLength(output.len()))
        .map_err(|_| CryptoError::Library)?;
    expanded.fill(output).map_err(|_| CryptoError::Library)
}

struct OutputLength(usize);

impl hkdf::KeyType for OutputLength {
    fn len(&self) -> usize {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// HKDF with HMAC as RFC 5869 writes it, for one block of output.
    fn reference(ikm: &[u8], info: &[u8]) -> Vec<u8> {
        use aws_lc_rs::hmac::{HMAC_SHA256, Key, sign};
        let extracted = sign(&Key::new(HMAC_SHA256, &[0; 32]), ikm);
        let mut block = info.to_vec();
        block.push(1);
        sign(&Key::new(HMAC_SHA256, extracted.as_ref()), &block)
            .as_ref()
            .to_vec()
    }

    #[test]
    fn record_key_is_hkdf_over_the_wrapped_dek() -> Result<(), CryptoError> {
        let dek = SecretKey::from_bytes(&mut [0x0b; 32])?;
        let wrapped = [0xc5; 300];
        let mut info = b"sealwire/1/record".to_vec();
        info.extend_from_slice(&[0x01, 0x2c]);
        info.extend_from_slice(&wrapped);
        assert_eq!(
            derive_record_key(&dek, &wrapped)?.expose()[..],
            reference(&[0x0b; 32], &info)
        );
        Ok(())
    }

    #[test]
    fn keys_of_domains_and_checks_are_hkdf_too() -> Result<(), CryptoError> {
        let key = SecretKey::from_bytes(&mut [0x0c; 32])?;
        assert_eq!(
            derive_domain_key(&key, b"orders")?.expose()[..],
            reference(&[0x0c; 32], b"sealwire/1/key\x00\x06orders")
        );
        assert_eq!(
            key_check(&key, [1, 2, 3, 4])?,
            reference(&[0x0c; 32], b"sealwire/1/key-check\x01\x02\x03\x04")[..16]
        );
        assert!(derive_domain_key(&key, &[b'd'; 65535]).is_ok());
        assert!(matches!(
            derive_domain_key(&key, &[b'd'; 65536]),
            Err(CryptoError::DomainLength)
        ));
        Ok(())
    }

    #[test]
    fn length_field_bounds_the_wrapped_dek() -> Result<(), CryptoError> {
        let dek = SecretKey::from_bytes(&mut [1; 32])?;
        assert!(derive_record_key(&dek, &[0; 65535]).is_ok());
        assert!(matches!(
            derive_record_key(&dek, &[0; 65536]),
            Err(CryptoError::WrappedDekLength)
        ));
        Ok(())
    }
}
