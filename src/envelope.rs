//! Envelope format 1: one Kafka record to one sealed Kafka record, and back. Specified in `docs/envelope.md`, whose
//! requirements (ENV-…) the code cites.
//!
//! Sealing: [`SealingKey::begin`] for each batch, then [`BatchSealer::seal_record`] for each record. Opening:
//! [`form_of`], the key for [`Marker::wrapped_dek`], [`Opener::open_record`].
//!
//! It never talks to a KMS, never looks at a topic's rule, never waits and never logs; it is given keys and bytes. Keys
//! may be shared between threads, an [`Opener`] belongs to one executor and a [`BatchSealer`] to one attempt to seal
//! one batch.

#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]

mod additional_data;
pub mod domain;
pub mod error;
pub mod form;
pub mod kroxylicious;
pub mod opening;
#[cfg(test)]
mod round_trip;
pub mod salt;
pub mod seal;
pub mod sealing;
mod short_digest;
pub mod stable_key;
mod uvarint;
#[cfg(test)]
mod vectors;
mod wipe;
pub mod wrapped_dek;

pub use domain::{Domain, DomainError};
pub use error::{OpenError, SealError};
pub use form::{Form, FormKind, MarkedRecord, Marker, form_of};
pub use opening::{Opener, OpeningKey};
pub use salt::{BatchPlace, SaltSource};
pub use seal::{HeaderMode, MARKER, Parts, Seal};
pub use sealing::{BatchSealer, SealBuffers, SealTerms, SealingKey};
pub use stable_key::{AcceptedDomain, DomainKey, StableKeyId};
pub use wrapped_dek::{KekId, WRAPPED_DEK_BYTES_MAX, WrappedDek, WrappedDekError};
