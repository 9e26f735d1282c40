//! Providers of key management against real servers, with and without a layer of faults between.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "no executor runs in tests but those of the program"
)]

#[path = "../support/fixture.rs"]
mod support;

mod aws;
mod keyring;
mod probe;
mod vault;

use sealwire::crypto::{SecretKey, unwrap_key, wrap_key};

/// Whether what one wraps the other unwraps.
fn are_same(one: &SecretKey, other: &SecretKey) -> bool {
    let wrapped = wrap_key(one, b"", one).expect("wrapped");
    unwrap_key(other, b"", &wrapped).is_ok()
}
