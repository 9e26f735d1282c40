//! SASL as a Kafka broker speaks it with its clients, and in [`initiator`] as a client speaks it with its broker: what
//! a message says, and what is answered (RFC 4422).
//!
//! Every reason for which a login fails looks the same from outside: what a client may hear is [`Failure::told`], and
//! why it was is for the log. Secrets are compared in constant time, and none is kept as it came.
//!
//! - SASL-1: whoever is not known takes the same steps as whoever is, with the same sizes and the same work, and is
//!   answered the same each time.
//!
//! Pure: no socket, no clock, no thread. Hashing a password takes milliseconds: see who may call it.

pub mod credentials;
pub mod exchange;
mod failure;
pub mod initiator;
pub mod oauthbearer;
pub mod plain;
pub mod scram;
pub mod verifier;

pub use failure::Failure;

/// Of a user name: longer than anybody types, and short enough for every log.
pub const USER_BYTES_MAX: usize = 1024;
