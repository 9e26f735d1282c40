//! Record batches as Kafka stores and sends them (magic 2): walker, writer, codecs and the checks of a broker.
//!
//! Data is never modelled as owned records: everything here hands out positions ([`Span`]) in the bytes that came from
//! the wire, so that what nobody has to change is copied as it is.
//!
//! - BATCH-1: no announced count or length is believed: nothing is reserved, indexed or skipped by it unchecked.
//! - BATCH-2: nothing is allocated per record or per header.
//! - BATCH-3: what is re-emitted unchanged is equal byte for byte: deltas, sequences, timestamps, counts and attributes
//!   are copied, never computed again. (Only the codec bits, the length and the CRC are ever patched.)
//!
//! Plain functions over byte slices: any thread may call them. A [`codec::Decompressor`] belongs to one executor.

#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]

pub mod batches;
pub mod codec;
pub mod compact;
pub mod error;
pub mod gap;
pub mod header;
pub mod record;
pub mod records;
pub mod span;
pub mod stored_records;
pub mod validate;
pub mod varint;
pub mod writer;

pub use batches::{BatchKind, BatchSlice, Batches};
pub use codec::{Codec, CodecError, Decompression, Decompressor, Stepped};
pub use compact::{CompactFrame, Middle, SHARED_RECORD_BYTES_MAX};
pub use error::{BatchError, RecordError};
pub use gap::{GAP_BYTES, Gap, GapForm};
pub use header::{Attributes, BatchChecksum, BatchHeader, HEADER_BYTES, crc_matches};
pub use record::{HeaderSpan, HeaderWalk, RecordLayout, header_section, headers, parse_record};
pub use records::RecordCursor;
pub use span::Span;
pub use stored_records::stored_records;
#[cfg(feature = "testing")]
pub use validate::check_produced;
pub use validate::check_produced_with;
pub use writer::{BatchWriter, ClosedBatch};

#[cfg(test)]
mod tests;
