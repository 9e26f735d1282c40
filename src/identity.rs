//! Who is at the other end of a connection.
//!
//! Pure: no socket, no clock, no thread.

mod client;

pub use client::Client;
