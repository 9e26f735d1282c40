//! The seal: the value of the marker header (ENV-10 to ENV-18).
//!
//! ```text
//! format       u8       0x01
//! parts        u8       bits 0-1 headers, bit 2 key sealed, the rest zero
//! domain_hint  4 bytes
//! wrapped_dek  uvarint length (1..2048), bytes
//! salt         12 bytes
//! counter      uvarint (0..2^31-1)
//! hidden       the header section's ciphertext, only where headers are sealed
//! tag          16 bytes
//! ```
//!
//! - SEAL-1: what parses has one encoding only, so parsing and writing it again gives the same bytes.
//! - nothing is looked up, allocated or decrypted here; the seal's fields are untrusted until the tag verifies.

use crate::crypto::xaes::{SALT_BYTES, TAG_BYTES};
use crate::record_batch::Span;

use super::OpenError;
use super::uvarint::{put_uvarint, read_uvarint};
use super::wrapped_dek::WRAPPED_DEK_BYTES_MAX;

/// Key of the marker header (ENV-4).
pub const MARKER: &[u8] = b"sealwire";

/// The format that this module reads and writes: a seal for each record (ENV-10).
pub const FORMAT_RECORD_SEAL: u8 = 1;

/// Largest counter (ENV-15): a batch cannot have more records than an i32 counts.
pub const COUNTER_MAX: u32 = 0x7fff_ffff;

/// Bytes of the domain hint.
pub const DOMAIN_HINT_BYTES: usize = 4;

/// What happens to a record's own headers. Later is stronger (ENV-50).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum HeaderMode {
    /// Readable at rest and unauthenticated: tools behind the proxy may add, change and remove headers.
    Free,
    /// Readable at rest, authenticated: a record whose headers were changed does not open.
    Bound,
    /// Encrypted and authenticated.
    #[default]
    Sealed,
}

impl HeaderMode {
    /// The word for configuration, messages and tools.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Free => "free",
            Self::Bound => "bound",
            Self::Sealed => "sealed",
        }
    }
}

/// What a seal covers besides the value: the byte `parts` (ENV-11).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parts {
    /// What happened to the record's headers.
    pub headers: HeaderMode,
    /// The record's key is sealed under a stable key.
    pub key_sealed: bool,
}

impl Parts {
    /// Reads the byte.
    ///
    /// # Errors
    /// [`OpenError::SealReservedBits`] for header mode 3 and for bits 3 to 7.
    pub fn from_byte(byte: u8) -> Result<Self, OpenError> {
        let headers = match byte & !KEY_SEALED {
            0 => HeaderMode::Free,
            1 => HeaderMode::Bound,
            2 => HeaderMode::Sealed,
            _ => return Err(OpenError::SealReservedBits),
        };
        Ok(Self {
            headers,
            key_sealed: byte & KEY_SEALED != 0,
        })
    }

    /// The byte.
    #[must_use]
    pub fn to_byte(self) -> u8 {
        let headers = match self.headers {
            HeaderMode::Free => 0,
            HeaderMode::Bound => 1,
            HeaderMode::Sealed => 2,
        };
        if self.key_sealed {
            headers | KEY_SEALED
        } else {
            headers
        }
    }
}

/// A seal taken apart; spans are positions in the buffer that was parsed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seal {
    /// What it covers.
    pub parts: Parts,
    /// Which domain it is bound to (ENV-12).
    pub domain_hint: [u8; DOMAIN_HINT_BYTES],
    /// The wrapped DEK: 1 to 2048 bytes.
    pub wrapped_dek: Span,
    /// The batch's salt.
    pub salt: [u8; SALT_BYTES],
    /// The record's number under that salt.
    pub counter: u32,
    /// Ciphertext of the header section; empty unless headers are sealed, and never empty where they are.
    pub hidden: Span,
    /// The authentication tag.
    pub tag: [u8; TAG_BYTES],
}

impl Seal {
    /// Takes the seal at `buf[span]` apart.
    ///
    /// # Errors
    /// [`OpenError`]: unknown format, truncated, reserved bits, integers out of range or not in their shortest form.
    #[inline]
    #[expect(clippy::arithmetic_side_effects, reason = "see the INVARIANT line")]
    pub fn parse(buf: &[u8], span: Span) -> Result<Self, OpenError> {
        let bytes = buf.get(..span.end).ok_or(OpenError::SealTruncated)?;
        let mut at = span.start;
        let [format] = take::<1>(bytes, &mut at)?;
        if format != FORMAT_RECORD_SEAL {
            return Err(OpenError::UnknownFormat { format });
        }
        let [parts] = take::<1>(bytes, &mut at)?;
        let parts = Parts::from_byte(parts)?;
        let domain_hint = take(bytes, &mut at)?;
        let (wrapped_length, start) = read_uvarint(bytes, at)?;
        let wrapped_length = wrapped_length as usize;
        if wrapped_length == 0 || wrapped_length > WRAPPED_DEK_BYTES_MAX {
            return Err(OpenError::SealOutOfRange);
        }
        // INVARIANT: a position in a slice and at most 2048 do not overflow; `take` checks that it is inside.
        at = start + wrapped_length;
        let wrapped_dek = Span { start, end: at };
        let salt = take(bytes, &mut at)?;
        let (counter, hidden_start) = read_uvarint(bytes, at)?;
        if counter > COUNTER_MAX {
            return Err(OpenError::SealOutOfRange);
        }
        let hidden_end = bytes
            .len()
            .checked_sub(TAG_BYTES)
            .ok_or(OpenError::SealTruncated)?;
        at = hidden_end;
        let tag = take(bytes, &mut at)?;
        if hidden_end < hidden_start || (hidden_end > hidden_start) != (parts.headers == HeaderMode::Sealed) {
            return Err(OpenError::SealTruncated);
        }
        let hidden = Span {
            start: hidden_start,
            end: hidden_end,
        };
        Ok(Self {
            parts,
            domain_hint,
            wrapped_dek,
            salt,
            counter,
            hidden,
            tag,
        })
    }
}

/// What the seals of a batch have in common, to be written: format to salt. The counter follows.
#[derive(Debug, Clone, Copy)]
pub(super) struct SealHead<'a> {
    pub(super) parts: Parts,
    pub(super) domain_hint: [u8; DOMAIN_HINT_BYTES],
    /// 1 to 2048 bytes.
    pub(super) wrapped_dek: &'a [u8],
    pub(super) salt: &'a [u8; SALT_BYTES],
}

impl SealHead<'_> {
    /// Appends format to salt.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&[FORMAT_RECORD_SEAL, self.parts.to_byte()]);
        out.extend_from_slice(&self.domain_hint);
        // INVARIANT: `SealingKey::new` refuses wrapped DEKs above 2048 bytes.
        put_uvarint(out, self.wrapped_dek.len() as u32);
        out.extend_from_slice(self.wrapped_dek);
        out.extend_from_slice(self.salt);
    }
}

/// The next `N` bytes.
#[inline]
#[expect(clippy::arithmetic_side_effects, reason = "the bytes were there")]
fn take<const N: usize>(bytes: &[u8], at: &mut usize) -> Result<[u8; N], OpenError> {
    let rest = bytes.get(*at..).ok_or(OpenError::SealTruncated)?;
    let taken = rest.first_chunk().ok_or(OpenError::SealTruncated)?;
    *at += N;
    Ok(*taken)
}

/// Bit 2 of `parts`.
const KEY_SEALED: u8 = 0x04;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn seal(parts: u8, wrapped: &[u8], counter: u32, hidden: &[u8]) -> Vec<u8> {
        let head = SealHead {
            parts: Parts::from_byte(parts).unwrap(),
            domain_hint: [1, 2, 3, 4],
            wrapped_dek: wrapped,
            salt: &[5; 12],
        };
        let mut out = Vec::new();
        head.write(&mut out);
        put_uvarint(&mut out, counter);
        out.extend_from_slice(hidden);
        out.extend_from_slice(&[0xee; 16]);
        out
    }

    fn parse(bytes: &[u8]) -> Result<Seal, OpenError> {
        Seal::parse(
            bytes,
            Span {
                start: 0,
                end: bytes.len(),
            },
        )
    }

    #[test]
    fn encoding_is_pinned() {
        let bytes = seal(2, b"wrapped", 300, b"hh");
        let expected = [
            &[1, 2, 1, 2, 3, 4, 7][..],
            b"wrapped",
            &[5; 12],
            &[0xac, 0x02],
            b"hh",
            &[0xee; 16],
        ]
        .concat();
        assert_eq!(bytes, expected);
        let parsed = parse(&bytes).unwrap();
        assert_eq!(
            parsed.parts,
            Parts {
                headers: HeaderMode::Sealed,
                key_sealed: false
            }
        );
        assert_eq!(parsed.domain_hint, [1, 2, 3, 4]);
        assert_eq!(parsed.wrapped_dek.of(&bytes), b"wrapped");
        assert_eq!(
            (parsed.salt, parsed.counter, parsed.tag),
            ([5; 12], 300, [0xee; 16])
        );
        assert_eq!(parsed.hidden.of(&bytes), b"hh");
    }

    #[test]
    fn every_truncation_is_refused() {
        for bytes in [
            seal(0, b"w", 0, b""),
            seal(1, b"w", 128, b""),
            seal(2, b"w", 1, b"h"),
        ] {
            for end in 0..bytes.len() {
                assert!(parse(&bytes[..end]).is_err(), "{end} of {bytes:?}");
            }
        }
        assert_eq!(
            Seal::parse(&[1], Span { start: 0, end: 2 }),
            Err(OpenError::SealTruncated)
        );
        assert_eq!(
            Seal::parse(&[1], Span { start: 2, end: 1 }),
            Err(OpenError::SealTruncated)
        );
    }

    #[test]
    fn hidden_is_there_where_headers_are_sealed_and_only_there() {
        for (parts, empty, one) in [
            (0, true, false),
            (1, true, false),
            (2, false, true),
            (4, true, false),
            (6, false, true),
        ] {
            assert_eq!(parse(&seal(parts, b"w", 0, b"")).is_ok(), empty, "{parts}");
            assert_eq!(parse(&seal(parts, b"w", 0, b"h")).is_ok(), one, "{parts}");
        }
    }

    #[test]
    fn other_formats_and_reserved_bits_are_refused() {
        let good = seal(0, b"w", 0, b"");
        for byte in 0..=255 {
            let mut other = good.clone();
            other[0] = byte;
            assert_eq!(
                parse(&other).err(),
                (byte != 1).then_some(OpenError::UnknownFormat { format: byte })
            );
            let parts = Parts::from_byte(byte);
            assert_eq!(parts.is_ok(), byte & 3 != 3 && byte < 8, "{byte}");
            if let Ok(parts) = parts {
                assert_eq!(parts.to_byte(), byte);
            }
        }
    }

    #[test]
    fn ranges() {
        let long = [7; 2049];
        assert!(parse(&seal(0, &long[..2048], COUNTER_MAX, b"")).is_ok());
        assert_eq!(parse(&seal(0, &long, 0, b"")), Err(OpenError::SealOutOfRange));
        assert_eq!(parse(&seal(0, b"", 0, b"")), Err(OpenError::SealOutOfRange));
        assert_eq!(
            parse(&seal(0, b"w", COUNTER_MAX + 1, b"")),
            Err(OpenError::SealOutOfRange)
        );
    }

    proptest! {
        /// SEAL-1
        #[test]
        fn whatever_parses_has_one_encoding(
            mut bytes in proptest::collection::vec(any::<u8>(), 0..120),
            parts in 0u8..7,
            length in 0u8..60,
        ) {
            for (at, byte) in [(0, 1), (1, parts), (6, length)] {
                if let Some(place) = bytes.get_mut(at) {
                    *place = byte;
                }
            }
            if let Ok(seal) = parse(&bytes) {
                let mut out = Vec::new();
                SealHead {
                    parts: seal.parts,
                    domain_hint: seal.domain_hint,
                    wrapped_dek: seal.wrapped_dek.of(&bytes),
                    salt: &seal.salt,
                }
                .write(&mut out);
                put_uvarint(&mut out, seal.counter);
                out.extend_from_slice(seal.hidden.of(&bytes));
                out.extend_from_slice(&seal.tag);
                prop_assert_eq!(out, bytes);
            }
        }
    }
}
