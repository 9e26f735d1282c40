//! Checked reading of Kafka's primitive types (Kafka protocol guide, "Protocol Primitive Types"; KIP-482 for the
//! compact forms).
//!
//! All integers are big endian; `flexible` chooses the compact forms of KIP-482 (unsigned varints that hold the length
//! plus one). Varints need not be in their shortest form, since clients are free to pad them, but never exceed five
//! bytes or 32 bits.

use std::ops::Range;

use super::bounds::{RESERVED_ELEMENTS_MAX, STRING_BYTES_MAX, TAGS_MAX};
use super::error::ProtocolError;

/// A reader over a message, which never reads past its end and never allocates.
#[derive(Debug, Clone)]
pub struct Cursor<'a> {
    bytes: &'a [u8],
    position: usize,
    /// Bytes of the message behind `bytes`, which have not come yet.
    missing: usize,
}

impl<'a> Cursor<'a> {
    /// A cursor at the start of `bytes`.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self::of_part(bytes, 0)
    }

    /// A cursor at the start of `bytes`, behind which `missing` more bytes of the message have not come yet. What it
    /// compares with the bytes that are left it compares with all of them; a field that is not whole yet is
    /// [`ProtocolError::NotYet`].
    pub(super) fn of_part(bytes: &'a [u8], missing: usize) -> Self {
        Self {
            bytes,
            position: 0,
            missing,
        }
    }

    /// A cursor over `range` of `bytes` alone, whose positions are those of `bytes`.
    pub fn within(bytes: &'a [u8], range: &Range<usize>) -> Result<Self, ProtocolError> {
        let truncated = ProtocolError::Truncated { at: range.start };
        if range.start > range.end {
            return Err(truncated);
        }
        Ok(Self {
            bytes: bytes.get(..range.end).ok_or(truncated)?,
            position: range.start,
            missing: 0,
        })
    }

    /// The offset of the next byte from the start of the slice.
    pub fn position(&self) -> usize {
        self.position
    }

    /// Bytes of the message that are left.
    pub fn remaining(&self) -> usize {
        let here = self.bytes.len().saturating_sub(self.position);
        here.saturating_add(self.missing)
    }

    /// The next `count` bytes.
    pub fn take(&mut self, count: usize) -> Result<&'a [u8], ProtocolError> {
        let here = self.bytes.get(self.position..).unwrap_or_default();
        let taken = here.get(..count).ok_or_else(|| self.lacks(count))?;
        self.position = self.position.saturating_add(count);
        Ok(taken)
    }

    /// Why the next `count` bytes are not there.
    fn lacks(&self, count: usize) -> ProtocolError {
        if self.missing > 0 && count <= self.remaining() {
            ProtocolError::NotYet
        } else {
            ProtocolError::Truncated { at: self.position }
        }
    }

    /// Steps over `count` bytes.
    pub fn skip(&mut self, count: usize) -> Result<(), ProtocolError> {
        self.take(count).map(|_| ())
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], ProtocolError> {
        let here = self.bytes.get(self.position..).unwrap_or_default();
        let taken = *here.first_chunk::<N>().ok_or_else(|| self.lacks(N))?;
        self.position = self.position.saturating_add(N);
        Ok(taken)
    }

    pub fn i8(&mut self) -> Result<i8, ProtocolError> {
        self.array().map(i8::from_be_bytes)
    }

    /// A boolean: any byte but 0 is true, as in Kafka.
    pub fn boolean(&mut self) -> Result<bool, ProtocolError> {
        self.i8().map(|byte| byte != 0)
    }

    pub fn i16(&mut self) -> Result<i16, ProtocolError> {
        self.array().map(i16::from_be_bytes)
    }

    pub fn i32(&mut self) -> Result<i32, ProtocolError> {
        self.array().map(i32::from_be_bytes)
    }

    pub fn i64(&mut self) -> Result<i64, ProtocolError> {
        self.array().map(i64::from_be_bytes)
    }

    /// A topic id: 16 bytes as they are.
    pub fn uuid(&mut self) -> Result<[u8; 16], ProtocolError> {
        self.array()
    }

    /// An unsigned varint of at most five bytes and 32 bits.
    pub fn uvarint(&mut self) -> Result<u32, ProtocolError> {
        let at = self.position;
        let mut value = 0u32;
        for shift in [0u32, 7, 14, 21, 28] {
            let byte = u8::from_be_bytes(self.array()?);
            if shift == 28 && byte > 0x0f {
                return Err(ProtocolError::VarintTooLong { at });
            }
            value |= u32::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(ProtocolError::VarintTooLong { at })
    }

    /// A length or count: i32, or in the compact form an unsigned varint of the value plus one. `None` is null.
    fn length(&mut self, flexible: bool) -> Result<Option<usize>, ProtocolError> {
        let at = self.position;
        let negative = ProtocolError::NegativeLength { at };
        let length = if flexible {
            i64::from(self.uvarint()?).checked_sub(1).ok_or(negative)?
        } else {
            i64::from(self.i32()?)
        };
        match length {
            -1 => Ok(None),
            // Java holds these in an int, so that 2^31 and above are negative to it.
            0..=0x7fff_ffff => usize::try_from(length).map(Some).map_err(|_| negative),
            _ => Err(negative),
        }
    }

    /// A nullable string. The length is an i16, or a compact one.
    pub fn string(&mut self, flexible: bool) -> Result<Option<&'a str>, ProtocolError> {
        let at = self.position;
        match self.string_length(flexible)? {
            None => Ok(None),
            Some(length) => {
                let bytes = self.take(length)?;
                std::str::from_utf8(bytes)
                    .map(Some)
                    .map_err(|_| ProtocolError::NotUtf8 { at })
            }
        }
    }

    /// A string that cannot be null.
    pub fn string_non_null(&mut self, flexible: bool) -> Result<&'a str, ProtocolError> {
        let at = self.position;
        self.string(flexible)?.ok_or(ProtocolError::NegativeLength { at })
    }

    /// The position of a string's content (no length), checked to be UTF-8, that cannot be null.
    pub fn string_span(&mut self, flexible: bool) -> Result<Range<usize>, ProtocolError> {
        let text = self.string_non_null(flexible)?;
        let end = self.position;
        Ok(end.saturating_sub(text.len())..end)
    }

    /// The same of text that need not be UTF-8: brokers put a replacement character where it is not.
    pub fn text_span(&mut self, flexible: bool) -> Result<Range<usize>, ProtocolError> {
        let at = self.position;
        self.nullable_text_span(flexible)?
            .ok_or(ProtocolError::NegativeLength { at })
    }

    /// Such text itself.
    pub fn text(&mut self, flexible: bool) -> Result<&'a [u8], ProtocolError> {
        let span = self.text_span(flexible)?;
        self.bytes
            .get(span.clone())
            .ok_or(ProtocolError::Truncated { at: span.start })
    }

    /// The same of text that may be null.
    pub fn nullable_text_span(&mut self, flexible: bool) -> Result<Option<Range<usize>>, ProtocolError> {
        let Some(length) = self.string_length(flexible)? else {
            return Ok(None);
        };
        let start = self.position;
        self.skip(length)?;
        Ok(Some(start..self.position))
    }

    fn string_length(&mut self, flexible: bool) -> Result<Option<usize>, ProtocolError> {
        let at = self.position;
        let length = if flexible {
            self.length(true)?
        } else {
            match self.i16()? {
                -1 => None,
                length => Some(usize::try_from(length).map_err(|_| ProtocolError::NegativeLength { at })?),
            }
        };
        match length {
            Some(length) if length > STRING_BYTES_MAX => Err(ProtocolError::NegativeLength { at }),
            length => Ok(length),
        }
    }

    /// The positions of a nullable byte string: of its length, an i32 or a compact one, and of its content.
    #[inline]
    pub fn bytes_spans(
        &mut self,
        flexible: bool,
    ) -> Result<(Range<usize>, Option<Range<usize>>), ProtocolError> {
        let length_start = self.position;
        let length = self.length(flexible)?;
        let start = self.position;
        self.skip(length.unwrap_or(0))?;
        Ok((length_start..start, length.map(|_| start..self.position)))
    }

    /// The length of a nullable byte string, refused when the rest of the message is shorter. The string itself is not
    /// read.
    pub(super) fn bytes_length(&mut self, flexible: bool) -> Result<Option<usize>, ProtocolError> {
        let length = self.length(flexible)?;
        self.expect(length.unwrap_or(0))?;
        Ok(length)
    }

    /// That the rest of the message has `count` bytes.
    fn expect(&self, count: usize) -> Result<(), ProtocolError> {
        if count <= self.remaining() {
            Ok(())
        } else {
            Err(ProtocolError::Truncated { at: self.position })
        }
    }

    /// The element count of a nullable array, refused when the rest of the message cannot hold that many elements of
    /// at least `min_element_size` bytes. The count still bounds nothing but itself: reserve with [`Self::reservable`].
    pub fn array_len(
        &mut self,
        flexible: bool,
        min_element_size: usize,
    ) -> Result<Option<usize>, ProtocolError> {
        let at = self.position;
        match self.length(flexible)? {
            None => Ok(None),
            Some(count) => match count.checked_mul(min_element_size.max(1)) {
                Some(bytes) if bytes <= self.remaining() => Ok(Some(count)),
                _ => Err(ProtocolError::CountTooLarge { at }),
            },
        }
    }

    /// The element count of an array that cannot be null.
    pub fn array_len_non_null(
        &mut self,
        flexible: bool,
        min_element_size: usize,
    ) -> Result<usize, ProtocolError> {
        let at = self.position;
        self.array_len(flexible, min_element_size)?
            .ok_or(ProtocolError::NegativeLength { at })
    }

    /// How many of `count` announced elements may be reserved for (`WIRE-2`).
    pub fn reservable(count: usize) -> usize {
        count.min(RESERVED_ELEMENTS_MAX)
    }

    /// The count of a section of tagged fields (KIP-482). Each of them takes two bytes at least, and there are
    /// [`TAGS_MAX`] at most.
    pub fn tag_count(&mut self) -> Result<usize, ProtocolError> {
        self.tag_count_within(TAGS_MAX)
    }

    /// The same with another bound.
    pub(super) fn tag_count_within(&mut self, most: usize) -> Result<usize, ProtocolError> {
        let at = self.position;
        let count = usize::try_from(self.uvarint()?).map_err(|_| ProtocolError::CountTooLarge { at })?;
        match count.checked_mul(2) {
            Some(bytes) if bytes <= self.remaining() && count <= most => Ok(count),
            _ => Err(ProtocolError::CountTooLarge { at }),
        }
    }

    /// The beginning of a tagged field: its tag, and how long its content is, refused when the rest of the message is
    /// shorter.
    pub(super) fn tagged_field_head(&mut self) -> Result<(u32, usize), ProtocolError> {
        let tag = self.uvarint()?;
        let at = self.position;
        let size = usize::try_from(self.uvarint()?).map_err(|_| ProtocolError::Truncated { at })?;
        self.expect(size)?;
        Ok((tag, size))
    }

    /// One tagged field: its tag, and the position of its content.
    pub fn tagged_field(&mut self) -> Result<(u32, Range<usize>), ProtocolError> {
        let (tag, size) = self.tagged_field_head()?;
        let start = self.position;
        self.skip(size)?;
        Ok((tag, start..self.position))
    }

    /// Steps over a section of tagged fields.
    pub fn skip_tagged_fields(&mut self) -> Result<(), ProtocolError> {
        for _ in 0..self.tag_count()? {
            self.tagged_field()?;
        }
        Ok(())
    }

    /// Steps over a section of tagged fields where there is one.
    pub fn skip_tagged_fields_if(&mut self, flexible: bool) -> Result<(), ProtocolError> {
        if flexible {
            self.skip_tagged_fields()
        } else {
            Ok(())
        }
    }

    /// That the message is used up.
    pub fn expect_end(&self) -> Result<(), ProtocolError> {
        if self.remaining() == 0 {
            Ok(())
        } else {
            Err(ProtocolError::TrailingBytes { at: self.position })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uvarint(bytes: &[u8]) -> Result<u32, ProtocolError> {
        Cursor::new(bytes).uvarint()
    }

    #[test]
    fn varints_end_at_five_bytes_and_32_bits() {
        assert_eq!(uvarint(&[0]), Ok(0));
        assert_eq!(uvarint(&[0x80, 0x01]), Ok(128));
        assert_eq!(uvarint(&[0x80, 0x00]), Ok(0), "padding is legal");
        assert_eq!(uvarint(&[0xff, 0xff, 0xff, 0xff, 0x0f]), Ok(u32::MAX));
        assert_eq!(
            uvarint(&[0xff, 0xff, 0xff, 0xff, 0x1f]),
            Err(ProtocolError::VarintTooLong { at: 0 }),
            "33 bits"
        );
        assert_eq!(
            uvarint(&[0x80, 0x80, 0x80, 0x80, 0x80, 0x00]),
            Err(ProtocolError::VarintTooLong { at: 0 }),
            "six bytes"
        );
        assert_eq!(uvarint(&[0x80]), Err(ProtocolError::Truncated { at: 1 }));
    }

    #[test]
    fn strings_are_bounded_and_utf8() {
        assert_eq!(Cursor::new(&[0xff, 0xff]).string(false), Ok(None));
        assert_eq!(Cursor::new(&[0]).string(true), Ok(None));
        assert_eq!(Cursor::new(&[0, 2, b'a', b'b']).string(false), Ok(Some("ab")));
        assert_eq!(Cursor::new(&[3, b'a', b'b']).string_span(true), Ok(1..3));
        assert_eq!(
            Cursor::new(&[0xff, 0xfe]).string(false),
            Err(ProtocolError::NegativeLength { at: 0 })
        );
        assert_eq!(
            Cursor::new(&[0]).string_non_null(true),
            Err(ProtocolError::NegativeLength { at: 0 })
        );
        assert_eq!(
            Cursor::new(&[0, 3, b'a', b'b']).string(false),
            Err(ProtocolError::Truncated { at: 2 })
        );
        assert_eq!(
            Cursor::new(&[2, 0xff]).string(true),
            Err(ProtocolError::NotUtf8 { at: 0 })
        );
        let mut longest = vec![0x80, 0x80, 0x02];
        longest.resize(3 + 0x7fff, b'x');
        assert_eq!(
            Cursor::new(&longest).string(true).map(|text| text.map(str::len)),
            Ok(Some(0x7fff))
        );
        let mut longer = vec![0x81, 0x80, 0x02];
        longer.resize(3 + 0x8000, b'x');
        assert_eq!(
            Cursor::new(&longer).string(true),
            Err(ProtocolError::NegativeLength { at: 0 })
        );
    }

    #[test]
    fn arrays_announce_no_more_than_there_is() {
        let mut bytes = vec![0, 0, 0, 2];
        bytes.resize(12, 0);
        assert_eq!(Cursor::new(&bytes).array_len(false, 4), Ok(Some(2)));
        assert_eq!(
            Cursor::new(&bytes).array_len(false, 5),
            Err(ProtocolError::CountTooLarge { at: 0 })
        );
        assert_eq!(
            Cursor::new(&[0xff, 0xff, 0xff, 0xff, 0x0f]).array_len(true, 1),
            Err(ProtocolError::NegativeLength { at: 0 })
        );
        assert_eq!(Cursor::new(&[0xff; 4]).array_len(false, 1), Ok(None));
        assert_eq!(
            Cursor::new(&[0x80, 0, 0, 0]).array_len(false, 1),
            Err(ProtocolError::NegativeLength { at: 0 })
        );
        assert_eq!(
            Cursor::new(&[2]).tag_count(),
            Err(ProtocolError::CountTooLarge { at: 0 })
        );
    }

    #[test]
    fn ends_are_checked() {
        let mut cursor = Cursor::new(&[1, 5, 2, 7, 7, 9]);
        assert_eq!(cursor.clone().tag_count(), Ok(1));
        cursor.skip_tagged_fields().unwrap();
        assert_eq!(cursor.expect_end(), Err(ProtocolError::TrailingBytes { at: 5 }));
        assert_eq!(cursor.i8(), Ok(9));
        assert_eq!(cursor.expect_end(), Ok(()));
        assert_eq!(cursor.i64(), Err(ProtocolError::Truncated { at: 6 }));
        assert_eq!(cursor.skip(usize::MAX), Err(ProtocolError::Truncated { at: 6 }));
    }

    #[test]
    fn sections_of_tagged_fields_are_bounded() {
        let section = |count: u8| [&[count][..], &[1, 0].repeat(usize::from(count))].concat();
        let most = u8::try_from(TAGS_MAX).unwrap();
        assert!(Cursor::new(&section(most)).skip_tagged_fields().is_ok());
        assert_eq!(
            Cursor::new(&section(most + 1)).skip_tagged_fields(),
            Err(ProtocolError::CountTooLarge { at: 0 })
        );
    }
}
