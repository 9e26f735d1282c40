//! What the tag binds besides the text (ENV-31 to ENV-34):
//!
//! ```text
//! "sealwire/1" | parts u8 | domain: u16 BE length, bytes | stored key: i32 BE length (-1 null), bytes
//!   | value: i32 BE length (-1 null)
//!   | with headers bound: header section without the marker: i32 BE length, bytes
//! ```
//!
//! - AAD-1: every variable field has its length in front and the fields that are there depend on `parts` only, so
//!   different inputs give different bytes.
//! - AAD-2: fixed part, batch and, where they are free, headers are left out (ENV-35).
//! - AAD-3: built in a buffer that is used again; nothing is allocated once that has grown.

use std::ops::Range;

use crate::record_batch::varint::{put_varint, varint_bytes};

use super::seal::Parts;
use super::stable_key::SEALED_KEY_BYTES;
use super::{Domain, DomainKey, SealError};

/// In front of everything.
pub(super) const CONTEXT: &[u8] = b"sealwire/1";

/// What is bound of one record besides its key; lengths fit an i32 because they come out of a Kafka record.
#[derive(Debug, Clone, Copy)]
pub(super) struct RecordBinding<'a> {
    /// The value's length; the same before and after sealing.
    pub(super) value_bytes: Option<usize>,
    /// With headers bound, the record's own headers.
    pub(super) bound_headers: Option<BoundHeaders<'a>>,
}

/// The record's own headers without the marker, in the one or two pieces in which they stand around it.
#[derive(Debug, Clone, Copy)]
pub(super) struct BoundHeaders<'a> {
    /// How many headers the pieces hold together.
    pub(super) count: usize,
    pub(super) before_marker: &'a [u8],
    pub(super) behind_marker: &'a [u8],
}

/// Appends what the records of a batch have in common: everything up to the domain.
pub(super) fn put_context(out: &mut Vec<u8>, parts: Parts, domain: &Domain) {
    out.extend_from_slice(CONTEXT);
    out.push(parts.to_byte());
    let domain = domain.name().as_bytes();
    // INVARIANT: DOMAIN-1, at most 65535 bytes.
    out.extend_from_slice(&(domain.len() as u16).to_be_bytes());
    out.extend_from_slice(domain);
}

/// Appends what follows [`put_context`]: the key as the broker stores it.
#[inline]
pub(super) fn put_stored_key(out: &mut Vec<u8>, stored_key: Option<&[u8]>) {
    put_length(out, stored_key.map(<[u8]>::len));
    out.extend_from_slice(stored_key.unwrap_or_default());
}

/// The same for a key that is to be sealed: what is stored of it is appended, and says where it stands.
#[expect(clippy::arithmetic_side_effects, reason = "lengths of what is in memory")]
pub(super) fn put_sealed_key(
    out: &mut Vec<u8>,
    by: &DomainKey,
    key: &[u8],
) -> Result<Range<usize>, SealError> {
    put_length(out, Some(key.len() + SEALED_KEY_BYTES));
    let start = out.len();
    by.seal(key, out)?;
    Ok(start..out.len())
}

impl RecordBinding<'_> {
    /// Appends what follows the key.
    #[inline]
    #[expect(clippy::arithmetic_side_effects, reason = "lengths of slices in memory")]
    pub(super) fn append(&self, out: &mut Vec<u8>) {
        put_length(out, self.value_bytes);
        if let Some(headers) = self.bound_headers {
            // INVARIANT: counts and lengths of a Kafka record fit an i32.
            let count = headers.count as i32;
            let section = varint_bytes(count) + headers.before_marker.len() + headers.behind_marker.len();
            put_length(out, Some(section));
            put_varint(out, count);
            out.extend_from_slice(headers.before_marker);
            out.extend_from_slice(headers.behind_marker);
        }
    }
}

/// An i32 big-endian, -1 for null.
#[inline]
fn put_length(out: &mut Vec<u8>, length: Option<usize>) {
    // INVARIANT: lengths come out of Kafka records, whose own length is an i32.
    let length = length.map_or(-1, |length| length as i32);
    out.extend_from_slice(&length.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::envelope::{DomainError, HeaderMode};

    fn parts(headers: HeaderMode) -> Parts {
        Parts {
            headers,
            key_sealed: false,
        }
    }

    /// AAD-2
    #[test]
    fn bytes_are_pinned() -> Result<(), DomainError> {
        let domain = Domain::new("ab")?;
        let mut data = Vec::new();
        put_context(&mut data, parts(HeaderMode::Sealed), &domain);
        put_stored_key(&mut data, Some(b"k"));
        RecordBinding {
            value_bytes: Some(258),
            bound_headers: None,
        }
        .append(&mut data);
        assert_eq!(data, b"sealwire/1\x02\x00\x02ab\x00\x00\x00\x01k\x00\x00\x01\x02");
        data.clear();
        put_context(&mut data, parts(HeaderMode::Bound), &domain);
        put_stored_key(&mut data, None);
        RecordBinding {
            value_bytes: None,
            bound_headers: Some(BoundHeaders {
                count: 2,
                before_marker: b"xy",
                behind_marker: b"z",
            }),
        }
        .append(&mut data);
        assert_eq!(
            data,
            b"sealwire/1\x01\x00\x02ab\xff\xff\xff\xff\xff\xff\xff\xff\x00\x00\x00\x04\x04xyz"
        );
        Ok(())
    }

    /// AAD-1
    #[test]
    fn null_and_empty_differ() {
        let data = |stored_key, value_bytes| {
            let mut data = Vec::new();
            put_stored_key(&mut data, stored_key);
            RecordBinding {
                value_bytes,
                bound_headers: None,
            }
            .append(&mut data);
            data
        };
        let all = [
            data(None, None),
            data(None, Some(0)),
            data(Some(&[][..]), None),
            data(Some(&[][..]), Some(0)),
        ];
        for (index, one) in all.iter().enumerate() {
            assert!(all.iter().skip(index + 1).all(|other| other != one));
        }
    }
}
