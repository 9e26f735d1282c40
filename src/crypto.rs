//! Everything that touches key bytes or a cipher: the key type, the memory it lives in, and the AEADs over aws-lc-rs.
//!
//! - key bytes live in [`SecretKey`] and nowhere else in this program's own memory, temporary copies are wiped
//!   before the function that made them returns. (Cipher contexts live on AWS-LC's heap, which wipes them when they are
//!   freed but does not lock them.)
//! - no error of this module says anything about a key, a plaintext or where in a text a check failed.
//!
//! Any thread may call it; nothing here waits.

pub(crate) mod gcm_siv;
mod hkdf;
pub mod key_wrap;
pub mod memory;
pub(crate) mod salt;
pub mod secret;
pub mod wiped_heap;
#[cfg(test)]
mod wycheproof;
pub mod xaes;

pub use hkdf::{KEY_CHECK_BYTES, key_check};
#[cfg(test)]
pub(crate) use hkdf::{KEY_CHECK_INFO, RECORD_KEY_INFO};
pub(crate) use hkdf::{STABLE_KEY_INFO, derive_domain_key};
pub use key_wrap::{WRAPPED_KEY_BYTES, unwrap_key, wrap_key};
pub use memory::{MemoryProtection, forbid_core_dumps, initialise};
pub use secret::SecretKey;
pub use wiped_heap::WipedHeap;
pub(crate) use wiped_heap::wipe_on_this_thread;
pub use xaes::{BatchKey, RecordKey};

/// Why a cryptographic operation gave no result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CryptoError {
    /// The kernel gave no random bytes.
    #[error("the kernel's random number generator failed")]
    Random,
    /// A key was offered that is not 32 bytes long.
    #[error("a key must be 32 bytes long")]
    KeyLength,
    /// A wrapped DEK is longer than its length field can say (65535 bytes).
    #[error("a wrapped data key is too long to derive a record key from")]
    WrappedDekLength,
    /// A domain is longer than its length field can say (65535 bytes).
    #[error("a domain is too long to derive a key from")]
    DomainLength,
    /// AWS-LC refused to derive, schedule or encrypt, for want of memory or because lengths do not fit together.
    #[error("the cryptographic library refused an operation")]
    Library,
    /// The tag does not verify: wrong key, wrong additional data or altered bytes; it is not known which.
    #[error("the tag does not verify")]
    Tag,
}
