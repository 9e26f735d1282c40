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
