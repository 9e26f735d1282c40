//! The one type that holds key bytes.
//!
//! - no Clone, no Debug, no Serialize, no comparison by `==`; a copy is asked for by name ([`SecretKey::duplicate`]).
//! - SECRET-2: the bytes are wiped when the key is dropped, and a source that a key is made from is wiped at once, also
//!   when it is refused.
//! - the bytes can be read inside this crate only, by [`SecretKey::expose`].
//!
//! Any thread may hold a key.

use aws_lc_rs::constant_time::verify_slices_are_equal;
use zeroize::Zeroize;

use super::CryptoError;
use super::memory::{KEY_BYTES, KeyCell};

/// A key of 32 bytes: a DEK, a KEK, a master key or a key derived from one.
pub struct SecretKey {
    cell: KeyCell,
}

impl SecretKey {
    /// A new key from the kernel's random number generator (getrandom).
    ///
    /// # Errors
    /// [`CryptoError::Random`] when the kernel gives none.
    pub fn generate() -> Result<Self, CryptoError> {
        let mut cell = KeyCell::zeroed();
        getrandom::fill(cell.bytes_mut()).map_err(|_| CryptoError::Random)?;
        Ok(Self { cell })
    }

    /// A key of the 32 bytes in `source`, which is wiped whether it is accepted or not.
    ///
    /// # Errors
    /// [`CryptoError::KeyLength`] when `source` is not 32 bytes long.
    pub fn from_bytes(source: &mut [u8]) -> Result<Self, CryptoError> {
        let key = Self::fill_with(|bytes| {
            let source: &[u8; KEY_BYTES] = (&*source).try_into().map_err(|_| CryptoError::KeyLength)?;
            bytes.copy_from_slice(source);
            Ok(())
        });
        source.zeroize();
        key
    }

    /// A second copy with the same bytes; every executor holds its own.
    #[must_use]
    pub fn duplicate(&self) -> Self {
        let mut cell = KeyCell::zeroed();
        cell.bytes_mut().copy_from_slice(self.cell.bytes());
        Self { cell }
    }

    /// Whether both are one; it takes as long whatever they are.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        verify_slices_are_equal(self.cell.bytes(), other.cell.bytes()).is_ok()
    }

    /// A key whose bytes `fill` writes in place, so that they never lie anywhere else.
    pub(crate) fn fill_with(
        fill: impl FnOnce(&mut [u8; KEY_BYTES]) -> Result<(), CryptoError>,
    ) -> Result<Self, CryptoError> {
        let mut cell = KeyCell::zeroed();
        fill(cell.bytes_mut())?;
        Ok(Self { cell })
    }

    /// The key bytes. Whoever copies them wipes the copy.
    pub(crate) fn expose(&self) -> &[u8; KEY_BYTES] {
        self.cell.bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// SECRET-2
    #[test]
    fn source_is_wiped_whether_accepted_or_not() {
        let mut right = [7_u8; 32];
        let key = SecretKey::from_bytes(&mut right);
        assert_eq!(right, [0; 32]);
        assert_eq!(key.ok().map(|key| *key.expose()), Some([7; 32]));
        for length in [0, 31, 33] {
            let mut wrong = vec![7_u8; length];
            assert!(matches!(
                SecretKey::from_bytes(&mut wrong),
                Err(CryptoError::KeyLength)
            ));
            assert!(wrong.iter().all(|&byte| byte == 0));
        }
    }

    #[test]
    fn generated_keys_differ_and_duplicates_do_not() -> Result<(), CryptoError> {
        let one = SecretKey::generate()?;
        let two = SecretKey::generate()?;
        assert!(one.expose() != two.expose());
        let copy = one.duplicate();
        assert!(copy.is_same(&one) && !copy.is_same(&two));
        let bytes = *one.expose();
        drop(one);
        assert!(copy.expose() == &bytes);
        Ok(())
    }

    #[test]
    fn keys_cross_threads() {
        fn assert_send<T: Send + Sync>() {}
        assert_send::<SecretKey>();
    }
}
