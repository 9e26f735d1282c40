//! Who is at the other end of a connection.
//!
//! Pure: no socket, no clock, no thread.

pub mod certificate_names;
mod client;
mod principal;
pub mod sasl;

pub use client::Client;
pub use principal::Principal;
