//! Kafka's wire protocol, as far as the proxy has to understand it.
//!
//! Own walkers, with every read checked, for the messages that are on the hot path or that the proxy rewrites. They
//! find positions in a frame and copy everything that they do not mean to change, so that unknown tagged fields, their
//! order, and whatever else a newer peer adds inside an audited version, survive byte for byte.
//!
//! Vocabulary: a *frame* is a Kafka frame without its 4-byte length prefix (header and body). Functions that emit one
//! append prefix, header and body to `out`. Positions are relative to the start of the frame.
//!
//! Invariants, on any input whatever:
//! - WIRE-1: nothing here panics, indexes out of range or overflows.
//! - WIRE-2: no memory is reserved because a count or length announced it. A count is first compared with the bytes
//!   that are left, and a reservation is capped.
//! - WIRE-3: a message is parsed to its last byte. Truncated, negative, null where null is not allowed, over-long
//!   varints and trailing bytes are typed errors.
//! - WIRE-4: what is not changed is emitted byte for byte.
//! - WIRE-5: on an error `out` is as long as it was before the call.
//!
//! Pure functions over byte slices: no sockets, no clock, no threads; any thread may call them.

#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]

pub mod addresses;
pub mod api_key;
pub mod api_versions;
mod bounds;
pub mod brokers_request;
pub mod cursor;
mod endpoints;
mod error;
pub mod error_code;
pub mod fetch_request;
pub mod fetch_response;
pub mod frame;
pub mod hops;
pub mod metadata_topics;
pub mod names;
pub mod own_request;
mod parsing;
pub mod partitions;
pub mod policy;
pub mod preface;
pub mod produce_request;
pub mod produce_response;
pub mod request_refusal;
pub mod sasl;
mod splice;
pub mod writer;

pub use bounds::{PARTITIONS_MAX, PRODUCE_PARTITIONS_MAX};
pub use cursor::Cursor;
pub use error::ProtocolError;
