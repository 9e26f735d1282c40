//! Kafka's wire protocol, as far as the proxy has to understand it.
//!
//! Own walkers, with every read checked, for the messages that are on the hot path or that the proxy rewrites. They
//! find positions in a frame and copy everything that they do not mean to change, so that unknown tagged fields, their order, and
//! whatever else a newer peer adds inside an audited version, survive byte for byte.
//!
//! Vocabulary: a *frame* is a Kafka frame without its 4-byte length prefix (header and body). Functions that emit one append
//! prefix, header and body to `out`. Positions are relative to the start of the frame.
//!
//! Invariants, on any input whatever:
//! - `WIRE-1`: nothing here panics, indexes out of range or overflows.
//! - `WIRE-2`: no memory is reserved because a count or length announced it. A count is first compared with the bytes that are
//!   left, and a reservation is capped.
//! - `WIRE-3`: a message is parsed to its last byte. Truncated, negative, null where null is not allowed, over-long varints and
//!   trailing bytes are typed errors.
//! - `WIRE-4`: what is not changed is emitted byte for byte.
//! - `WIRE-5`: on an error `out` is as long as it was before the call.
//!
//! Pure functions over byte slices: no sockets, no clock, no threads; any thread may call them.

pub mod addresses;
pub mod api_key;
pub mod api_versions;
pub mod brokers_request;
pub mod cursor;
pub mod error_code;
pub mod fetch_request;
pub mod fetch_response;
pub mod frame;
pub mod hops;
pub mod policy;
pub mod preface;
pub mod produce_request;
pub mod produce_response;
mod splice;
pub mod writer;

pub use cursor::{Cursor, ProtocolError};

/// Partitions that one Fetch response may name. A broker leads a few thousand partitions; the bound keeps
/// the memory of a layout (about 100 bytes a partition, from 6 bytes on the wire) below 16 MiB.
pub const PARTITIONS_MAX: usize = 131_072;
/// Partitions, and topics, in one Produce request or response: a broker leads some thousands. The response is worked off in one
/// step.
pub const PRODUCE_PARTITIONS_MAX: usize = 32_768;

/// The most elements that are reserved because a count announced them (`WIRE-2`); beyond it vectors grow with what is parsed.
const RESERVED_ELEMENTS_MAX: usize = 1024;

/// Layouts that are reused give memory back after a frame that needed more elements than this.
const RETAINED_ELEMENTS_MAX: usize = 4096;

/// Empties a reused vector, and shrinks it when an unusual frame has blown it up.
fn recycle<T>(elements: &mut Vec<T>) {
    elements.clear();
    elements.shrink_to(RETAINED_ELEMENTS_MAX);
}
