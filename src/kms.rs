//! What a key management service is to the proxy: it makes DEKs, unwraps them, and says which version of a KEK is
//! current.
//!
//! ```text
//! keys::service --> Kms --> file::FileKms --> keystore (one JSON file)
//!                       --> vault::VaultKms, aws::AwsKms --> http
//!                       --> testing::FaultyKms (feature `testing`) --> any other Kms
//! ```
//!
//! - only the control thread calls a [`Kms`]; an executor never does.
//! - KMS-2: a provider unwraps nothing that does not name its own provider number, authority and one of its KEKs.
//! - KMS-3: an outage is never reported as a verdict about a key, and a verdict never as an outage
//!   ([`KmsError::refuses_kek`]).
//! - KMS-4: what can be said without a call ([`Kms::check_kek`], [`Kms::check_wrapped`]) is said before one is made: it
//!   is no answer of the KMS, and ends no outage.
//! - no error carries key bytes or the body of a response.

#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]

mod advice;
#[cfg(feature = "kms-aws")]
pub mod aws;
pub mod file;
#[cfg(any(feature = "kms-aws", feature = "kms-vault"))]
mod http;
mod kek_names;
pub mod keystore;
mod open;
#[cfg(feature = "kms-vault")]
pub mod vault;
mod versions;

pub use kek_names::KekNames;
pub use open::{FEATURES, KmsKind, PROVIDERS};

use std::time::Duration;

use async_trait::async_trait;

use crate::crypto::SecretKey;
#[cfg(any(feature = "kms-aws", feature = "kms-vault"))]
use crate::envelope::WrappedDek;

/// One key management service. Calls are answered on the control thread's runtime and may be dropped at any await.
#[async_trait]
pub trait Kms: Send + Sync {
    /// How names of KEKs become what wrapped DEKs start with; needs no call and no existing KEK. The key service asks a
    /// few times a second and pushes what changed to executors.
    fn kek_names(&self) -> KekNames;

    /// Whether there can be a KEK of this name at all (KMS-4).
    ///
    /// # Errors
    /// [`KmsError::KekNotFound`].
    fn check_kek(&self, kek: &str) -> Result<(), KmsError> {
        self.kek_names().id(kek).map(drop).ok_or(KmsError::KekNotFound)
    }

    /// Whether the KMS can be asked to unwrap this (KMS-4).
    ///
    /// # Errors
    /// [`KmsError::KekNotFound`], [`KmsError::Malformed`].
    fn check_wrapped(&self, _: &[u8]) -> Result<(), KmsError> {
        Ok(())
    }

    /// A fresh DEK, in clear and wrapped under the current version of `kek`.
    ///
    /// # Errors
    /// Any [`KmsError`] but `Malformed`.
    async fn generate_dek(&self, kek: &str) -> Result<GeneratedDek, KmsError>;

    /// A key that exists, wrapped under the current version of `kek` as [`Kms::generate_dek`] wraps those that it
    /// makes: what moves a stable key to another version or another KMS. The running proxy never calls it.
    ///
    /// # Errors
    /// Any [`KmsError`] but `Malformed`.
    async fn wrap(&self, kek: &str, key: &SecretKey) -> Result<Box<[u8]>, KmsError>;

    /// The DEK inside `wrapped` (layout: [`crate::envelope::WrappedDek`]).
    ///
    /// # Errors
    /// Any [`KmsError`].
    async fn unwrap_dek(&self, wrapped: &[u8]) -> Result<SecretKey, KmsError>;

    /// Whether the version of the KEK that `wrapped` names is still good: asks the KMS for the DEK inside once more,
    /// whatever is remembered of it, so that it can be compared with the one that is known.
    ///
    /// # Errors
    /// Any [`KmsError`].
    async fn recheck(&self, wrapped: &[u8]) -> Result<SecretKey, KmsError>;

    /// The version field that a DEK made now would carry, `None` where the KMS shows no versions.
    ///
    /// # Errors
    /// Any [`KmsError`] but `Malformed`.
    async fn current_version(&self, kek: &str) -> Result<Option<Vec<u8>>, KmsError>;

    /// What it does without being asked: renewing a login, following a file. The key service runs it beside its calls
    /// for as long as it runs itself, and again when it panics; whatever has nothing to do returns at once.
    async fn background(&self) {}

    /// Whether its wrapping keys are public, so that anybody can make a DEK that it unwraps: a rule that uses its KEKs
    /// has to allow it (`forgeable_kek`). No call is made.
    fn wraps_publicly(&self) -> bool;

    /// Whether its source has become something that cannot be used, so that what was read before stays in force. The
    /// key service asks a few times a second.
    fn is_stale(&self) -> bool {
        false
    }

    /// How often the key service may ask for [`Kms::current_version`] of a KEK in use.
    fn version_poll_interval(&self) -> Duration {
        Duration::from_secs(60)
    }

    /// How often the key service rechecks each KEK version in use, to notice that it was disabled.
    fn recheck_interval(&self) -> Duration {
        Duration::from_secs(300)
    }

    /// How long the key service may at most remember a definite refusal before it asks again: as long as it takes until
    /// a KEK that was enabled again is good again.
    fn verdict_memory(&self) -> Duration {
        Duration::from_secs(10)
    }
}

/// A new DEK.
pub struct GeneratedDek {
    /// In clear.
    pub dek: SecretKey,
    /// As it is stored with each record.
    pub wrapped: Box<[u8]>,
}

/// A wrapped key of these parts.
#[cfg(any(feature = "kms-aws", feature = "kms-vault"))]
fn written(parts: &WrappedDek<'_>) -> Result<Box<[u8]>, KmsError> {
    let mut wrapped = Vec::new();
    parts
        .write(&mut wrapped)
        .map_err(|_| http::unavailable("its wrapped data key is too long"))?;
    Ok(wrapped.into_boxed_slice())
}

/// Why a KMS gave no key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KmsError {
    /// Not reached, timed out, or answering nonsense. The text is for the log; it holds no response body.
    #[error("the KMS is unavailable: {0}")]
    Unavailable(String),
    /// The proxy has nothing to log in with: a secret of its own cannot be read. An outage for whoever asked.
    #[cfg_attr(
        not(feature = "kms-vault"),
        expect(
            dead_code,
            reason = "who logs in has a secret; the file keystore has no such fault"
        )
    )]
    #[error("the proxy has nothing to log in at the KMS with: {0}")]
    NoSecret(String),
    /// Too much was asked of the KMS, which wants to be left alone for this long. An outage for whoever asked.
    #[cfg_attr(
        not(any(feature = "kms-aws", feature = "kms-vault", feature = "testing")),
        expect(
            dead_code,
            reason = "what a KMS in a network answers; the file keystore has no such fault"
        )
    )]
    #[error("the KMS is asked too often, and wants to be left alone for {after:?}")]
    Throttled {
        /// Counted from when it was said.
        after: Duration,
    },
    /// The KMS refuses the proxy's own credentials: says nothing about any key. The text says what it was shown, for
    /// the log.
    #[cfg_attr(
        not(any(feature = "kms-aws", feature = "kms-vault", feature = "testing")),
        expect(
            dead_code,
            reason = "what a KMS in a network answers; the file keystore has no such fault"
        )
    )]
    #[error("the KMS refuses the proxy's credentials: {0}")]
    CredentialsRefused(String),
    /// The KEK, or the version that is needed, is disabled.
    #[error("the key-encryption key is disabled")]
    KekDisabled,
    /// The KEK, or the version that is needed, was destroyed.
    #[error("the key-encryption key was destroyed")]
    KekDestroyed,
    /// The KMS does not let the proxy use the KEK. The text says what is missing, for the log.
    #[cfg_attr(
        not(any(feature = "kms-aws", feature = "kms-vault", test)),
        expect(
            dead_code,
            reason = "what a KMS in a network answers; the file keystore has no such fault"
        )
    )]
    #[error("the key-encryption key may not be used: {0}")]
    KekDenied(String),
    /// The KEK is of a kind that the proxy does not use. The text says why, for the log.
    #[error("the key-encryption key cannot be used: {0}")]
    KekUnsuitable(String),
    /// There is no such KEK in this KMS.
    #[error("the key-encryption key is not in this KMS")]
    KekNotFound,
    /// The KEK is there and this version of it is not: whoever names it was altered, or the KMS was restored from an
    /// old backup. Nothing tells one from the other, so nobody may take it for a record that will never open.
    #[error("the key-encryption key has no version {0} in this KMS")]
    KekVersionNotFound(String),
    /// The wrapped DEK is none of this KMS, or does not verify.
    #[error("the wrapped data key is malformed or was altered")]
    Malformed,
}

impl KmsError {
    /// Whether this is a definite answer about what was asked for, as against an outage.
    #[must_use]
    pub fn is_verdict(&self) -> bool {
        matches!(self, Self::Malformed) || self.refuses_kek()
    }

    /// Whether the KEK version itself is refused, so that no key under it may be used any longer.
    #[must_use]
    pub fn refuses_kek(&self) -> bool {
        matches!(
            self,
            Self::KekDisabled
                | Self::KekDestroyed
                | Self::KekDenied(_)
                | Self::KekUnsuitable(_)
                | Self::KekNotFound
                | Self::KekVersionNotFound(_)
        )
    }
}
