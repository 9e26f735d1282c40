//! PIPELINE-1: sessions driven without sockets, clocks or threads: what goes in on either side, and what comes out on
//! the other.
//!
//! The requests and responses are the oracle's, batches are the builder's, keys are made here and handed over when a
//! test says so.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "no executor runs in tests but those of the program"
)]

mod addresses;
mod administrators;
mod at_broker;
mod audit_held;
mod bounds;
mod compact;
mod fetch;
mod fetch_keys;
mod hostile;
mod login;
mod many_keys;
mod order;
mod own_names;
mod own_requests;
mod pacing;
mod passing;
mod pieces;
mod place;
mod produce;
mod produce_keys;
mod raw;
mod raw_keys;
mod refused_keys;
#[allow(dead_code, reason = "the simulation uses all of it")]
mod rig;
mod shapes;
mod split_batches;
mod stable_keys;
mod told;
mod unverified;
mod wire;
