//! XAES-256-GCM (c2sp.org/XAES-256-GCM), cut where records share work: one sub-key for each salt, one nonce for each
//! counter.
//!
//! ```text
//! Kx = CMAC-AES256(K, 00 01 58 00 | salt) | CMAC-AES256(K, 00 02 58 00 | salt)
//! record: AES-256-GCM(key = Kx, nonce = counter as 96-bit big-endian)
//! ```
//!
//! - XAES-1: a [`BatchKey`] is never asked to seal twice with one counter; `envelope::sealing`, its only sealing
//!   caller, counts up.
//! - XAES-2: nothing is allocated for a record; the sub-key's cipher context (AWS-LC's heap, wiped when freed) is made
//!   once a salt.
//! - only this crate can seal or open with these keys, so a salt or a counter of somebody's choice cannot come in from
//!   outside.
//!
//! Any thread may hold the keys.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::cmac;
use zeroize::Zeroizing;

use super::hkdf::derive_record_key;
use super::memory::{KEY_BYTES, check_sentinel};
use super::{CryptoError, SecretKey};

/// Bytes of a salt: the first half of the XAES nonce.
pub const SALT_BYTES: usize = 12;

/// Bytes of the authentication tag.
pub const TAG_BYTES: usize = 16;

/// The XAES key that records are sealed under, derived from a DEK.
pub struct RecordKey {
    cmac: cmac::Key,
}

impl RecordKey {
    /// Derives the record key of `dek`, bound to `wrapped_dek` as it is stored (ENV-20).
    ///
    /// # Errors
    /// [`CryptoError::WrappedDekLength`] and [`CryptoError::Library`].
    pub(crate) fn derive(dek: &SecretKey, wrapped_dek: &[u8]) -> Result<Self, CryptoError> {
        Self::new(&derive_record_key(dek, wrapped_dek)?)
    }

    fn new(key: &SecretKey) -> Result<Self, CryptoError> {
        let cmac = cmac::Key::new(cmac::AES_256, key.expose()).map_err(|_| CryptoError::Library)?;
        Ok(Self { cmac })
    }

    /// Derives the sub-key of `salt` (ENV-21): once a batch. A forked child ends here (MEMORY-5): it has this key
    /// still, which is on the cryptographic library's heap.
    ///
    /// # Errors
    /// [`CryptoError::Library`].
    pub(crate) fn batch_key(&self, salt: &[u8; SALT_BYTES]) -> Result<BatchKey, CryptoError> {
        check_sentinel();
        let mut sub_key = Zeroizing::new([0_u8; KEY_BYTES]);
        let (first, second) = sub_key.split_at_mut(CMAC_BYTES);
        self.derive_half(1, salt, first)?;
        self.derive_half(2, salt, second)?;
        BatchKey::of(&sub_key)
    }

    fn derive_half(&self, index: u8, salt: &[u8; SALT_BYTES], half: &mut [u8]) -> Result<(), CryptoError> {
        let mut block = [0_u8; CMAC_BYTES];
        let (prefix, rest) = block.split_at_mut(BLOCK_PREFIX_BYTES);
        prefix.copy_from_slice(&[0, index, b'X', 0]);
        rest.copy_from_slice(salt);
        cmac::sign_to_buffer(&self.cmac, &block, half).map_err(|_| CryptoError::Library)?;
        Ok(())
    }
}

/// The sub-key of one salt.
pub struct BatchKey {
    cipher: LessSafeKey,
}

impl BatchKey {
    pub(super) fn of(sub_key: &[u8; KEY_BYTES]) -> Result<Self, CryptoError> {
        let unbound = UnboundKey::new(&AES_256_GCM, sub_key).map_err(|_| CryptoError::Library)?;
        Ok(Self {
            cipher: LessSafeKey::new(unbound),
        })
    }

    /// Encrypts `plaintext` into `ciphertext`, which must have its length, and returns the tag.
    ///
    /// # Errors
    /// [`CryptoError::Library`] when lengths do not fit together.
    pub(crate) fn seal(
        &self,
        counter: u32,
        additional_data: &[u8],
        plaintext: &[u8],
        ciphertext: &mut [u8],
    ) -> Result<[u8; TAG_BYTES], CryptoError> {
        self.seal_with(nonce(counter), additional_data, plaintext, ciphertext)
    }

    pub(super) fn seal_with(
        &self,
        nonce: Nonce,
        additional_data: &[u8],
        plaintext: &[u8],
        ciphertext: &mut [u8],
    ) -> Result<[u8; TAG_BYTES], CryptoError> {
        let mut tag = [0; TAG_BYTES];
        self.cipher
            .seal_out_of_place_scatter(
                nonce,
                Aad::from(additional_data),
                plaintext,
                ciphertext,
                &[],
                &mut tag,
            )
            .map_err(|_| CryptoError::Library)?;
        Ok(tag)
    }

    /// Verifies and decrypts `ciphertext` into `plaintext`, which must have its length and holds nothing of use on
    /// error: the caller wipes it.
    ///
    /// # Errors
    /// [`CryptoError::Tag`].
    pub(crate) fn open(
        &self,
        counter: u32,
        additional_data: &[u8],
        ciphertext: &[u8],
        tag: &[u8; TAG_BYTES],
        plaintext: &mut [u8],
    ) -> Result<(), CryptoError> {
        self.open_with(nonce(counter), additional_data, ciphertext, tag, plaintext)
    }

    pub(super) fn open_with(
        &self,
        nonce: Nonce,
        additional_data: &[u8],
        ciphertext: &[u8],
        tag: &[u8; TAG_BYTES],
        plaintext: &mut [u8],
    ) -> Result<(), CryptoError> {
        self.cipher
            .open_separate_gather(nonce, Aad::from(additional_data), ciphertext, tag, plaintext)
            .map_err(|_| CryptoError::Tag)
    }
}

/// The second half of the XAES nonce (ENV-22).
fn nonce(counter: u32) -> Nonce {
    let mut bytes = [0_u8; 12];
    let (_, low) = bytes.split_at_mut(8);
    low.copy_from_slice(&counter.to_be_bytes());
    Nonce::assume_unique_for_key(bytes)
}

const CMAC_BYTES: usize = 16;
const BLOCK_PREFIX_BYTES: usize = 4;

#[cfg(test)]
mod tests {
    use shake::Shake128;
    use shake::digest::{ExtendableOutput, Update, XofReader};

    use super::*;

    /// XAES-256-GCM as the specification has it, through the same two steps that records take.
    fn seal_whole(key: &mut [u8], nonce: &[u8], plaintext: &[u8], additional_data: &[u8]) -> Vec<u8> {
        let root = RecordKey::new(&SecretKey::from_bytes(key).unwrap()).unwrap();
        let (salt, low) = nonce.split_first_chunk().unwrap();
        let nonce = || Nonce::try_assume_unique_for_key(low).unwrap();
        let cipher = root.batch_key(salt).unwrap().cipher;
        let mut sealed = vec![0; plaintext.len()];
        let mut tag = [0; TAG_BYTES];
        cipher
            .seal_out_of_place_scatter(
                nonce(),
                Aad::from(additional_data),
                plaintext,
                &mut sealed,
                &[],
                &mut tag,
            )
            .unwrap();
        let mut opened = vec![0; plaintext.len()];
        cipher
            .open_separate_gather(nonce(), Aad::from(additional_data), &sealed, &tag, &mut opened)
            .unwrap();
        assert_eq!(opened, plaintext);
        sealed.extend_from_slice(&tag);
        sealed
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn vectors_of_the_specification() {
        let nonce = b"ABCDEFGHIJKLMNOPQRSTUVWX";
        assert_eq!(
            hex(&seal_whole(&mut [1; 32], nonce, b"XAES-256-GCM", b"")),
            "ce546ef63c9cc60765923609b33a9a1974e96e52daf2fcf7075e2271"
        );
        assert_eq!(
            hex(&seal_whole(
                &mut [3; 32],
                nonce,
                b"XAES-256-GCM",
                b"c2sp.org/XAES-256-GCM"
            )),
            "986ec1832593df5443a179437fd083bf3fdb41abd740a21f71eb769d"
        );
    }

    #[test]
    fn accumulated_vector_of_the_specification() {
        let mut accumulated = Shake128::default();
        let (mut plaintext, mut additional_data) = (Vec::new(), Vec::new());
        let mut stream = Shake128::default().finalize_xof();
        for _ in 0..10_000 {
            let (mut key, mut nonce, mut length) = ([0; 32], [0; 24], [0; 1]);
            stream.read(&mut key);
            stream.read(&mut nonce);
            for bytes in [&mut plaintext, &mut additional_data] {
                stream.read(&mut length);
                bytes.resize(usize::from(length[0]), 0);
                stream.read(bytes);
            }
            accumulated.update(&seal_whole(&mut key, &nonce, &plaintext, &additional_data));
        }
        let mut digest = [0; 32];
        accumulated.finalize_xof().read(&mut digest);
        assert_eq!(
            hex(&digest),
            "e6b9edf2df6cec60c8cbd864e2211b597fb69a529160cd040d56c0c210081939"
        );
    }

    #[test]
    fn counter_is_the_big_endian_end_of_the_nonce() {
        assert_eq!(nonce(0x0102_0304).as_ref(), &[0, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4]);
    }

    #[test]
    fn opens_only_what_was_sealed() -> Result<(), CryptoError> {
        let root = RecordKey::derive(&SecretKey::from_bytes(&mut [9; 32])?, b"wrapped")?;
        let key = root.batch_key(&[4; SALT_BYTES])?;
        let text = [0x5a; 77];
        let (mut sealed, mut opened) = ([0; 77], [0; 77]);
        let tag = key.seal(7, b"data", &text, &mut sealed)?;
        key.open(7, b"data", &sealed, &tag, &mut opened)?;
        assert_eq!(opened, text);
        for (counter, data) in [(8, b"data"), (7, b"date")] {
            assert_eq!(
                key.open(counter, data, &sealed, &tag, &mut opened),
                Err(CryptoError::Tag)
            );
        }
        assert_eq!(
            key.open(7, b"data", &sealed, &tag, &mut opened[1..]),
            Err(CryptoError::Tag)
        );
        assert_eq!(key.seal(1, b"", b"ab", &mut [0; 3]), Err(CryptoError::Library));
        Ok(())
    }
}
