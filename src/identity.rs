//! Who is at the other end of a connection.
//!
//! Pure: no socket, no clock, no thread.

#[cfg_attr(
    not(feature = "testing"),
    allow(
        dead_code,
        reason = "listeners that ask clients for certificates are to take it"
    )
)]
pub mod certificate_names;
mod client;
#[cfg_attr(not(feature = "testing"), allow(dead_code, reason = "as `certificate_names`"))]
mod principal;

pub use client::Client;
pub use principal::Principal;
