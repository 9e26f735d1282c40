//! Envelope format 1: one sealed Kafka record to one clear Kafka record, and back. Specified in `docs/envelope.md`, whose
//! requirements (ENV-…) the code cites.
//!
//! It never talks to a KMS, never looks at a topic's rule and never logs; it is given keys and bytes. One executor calls it
//! at a time for its own records.

pub mod domain;
pub mod seal;
pub mod wrapped_dek;

pub use domain::{Domain, DomainError};
pub use seal::HeaderMode;
pub use wrapped_dek::{KekId, WrappedDek, WrappedDekError};
