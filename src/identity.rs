//! Who is at the other end of a connection.
//!
//! Pure: no socket, no clock, no thread.

pub mod certificate_names;
mod client;
mod principal;
#[cfg_attr(
    not(feature = "testing"),
    expect(
        dead_code,
        reason = "no listener takes logins itself; the command line keeps who may log in"
    )
)]
pub mod sasl;

pub use client::Client;
pub use principal::Principal;
