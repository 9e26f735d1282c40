//! One end of a TLS connection, as bytes in and bytes out: [`TlsSession`].
//!
//! ```text
//! socket --> room, add    ciphertext that came    --open-->  plaintext, copied once to where it stays
//! socket <-- outgoing, sent   ciphertext to send  <--seal--  plaintext, in records of 16 KiB at most
//! ```
//!
//! It is rustls's connection without buffers of its own, with ours around it.
//!
//! - TLS-1: no byte of a record is shown before the whole record is verified: it is opened in a buffer that nobody else
//!   sees, and copied out of there.
//! - TLS-2: what is held is bounded: ciphertext of one read and one record, what is opened of one record, and
//!   [`SEALED_BYTES_MAX`](session) of what is to be sent. Whoever has nothing in hand holds no buffer.
//! - TLS-3: after a failure nothing is opened or sealed any more; the alert that says why is among what is to be sent.
//! - TLS-4: a peer that ends without saying so (close_notify) is no failure, since Kafka's frames carry their length;
//!   it can be told from one that says so.
//! - TLS-5: a peer whose records hold next to nothing (empty ones, KeyUpdates) is failed after 64 KiB of them: they are
//!   work for us, and its connection would never have had its turn. One that says a byte in each is served, and some
//!   hundred of its records at a time.
//! - TLS-6: a peer that wants to shake hands again (renegotiation, TLS 1.2) is told that this is not done, and its
//!   connection ends with that: it would do nothing else until it has an answer.
//!
//! Keys are changed before they are worn out: rustls answers a peer's KeyUpdate with what is sealed next, and sends one
//! of its own in place of the last record that a key may seal. TLS 1.2 has no such thing: its connections end there.

mod failure;
mod hello;
mod refusal;
mod session;
#[cfg(test)]
mod tests;
mod window;
mod work;

pub(crate) use failure::{FailureKind, TlsFailure};
pub(crate) use refusal::NotPinned;
pub(crate) use session::{HANDSHAKE_BYTES_MAX, TlsSession};
