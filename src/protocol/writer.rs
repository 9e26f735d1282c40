//! Writing of Kafka's primitive types, and of lengths that are known only after what they measure.
//!
//! Everything is big endian and every varint is in its shortest form, but for a count in front of much
//! ([`LengthSlot`]).

use super::bounds::STRING_BYTES_MAX;
use super::error::ProtocolError;

pub fn put_i16(out: &mut Vec<u8>, value: i16) {
    out.extend_from_slice(&value.to_be_bytes());
}

pub fn put_i32(out: &mut Vec<u8>, value: i32) {
    out.extend_from_slice(&value.to_be_bytes());
}

pub fn put_i64(out: &mut Vec<u8>, value: i64) {
    out.extend_from_slice(&value.to_be_bytes());
}

pub fn put_uvarint(out: &mut Vec<u8>, value: u32) {
    let (bytes, width) = encode_uvarint(value);
    out.extend_from_slice(bytes.get(..width).unwrap_or_default());
}

/// A nullable string: length as i16 or compact, then the text. Longer than 32,767 bytes is [`ProtocolError::TooLong`].
pub fn put_string(out: &mut Vec<u8>, flexible: bool, text: Option<&str>) -> Result<(), ProtocolError> {
    let Some(text) = text else {
        if flexible {
            put_uvarint(out, 0);
        } else {
            put_i16(out, -1);
        }
        return Ok(());
    };
    if text.len() > STRING_BYTES_MAX {
        return Err(ProtocolError::TooLong);
    }
    if flexible {
        put_uvarint(out, compact(text.len())?);
    } else {
        put_i16(
            out,
            i16::try_from(text.len()).map_err(|_| ProtocolError::TooLong)?,
        );
    }
    out.extend_from_slice(text.as_bytes());
    Ok(())
}

/// The element count of an array: i32, or compact.
pub fn put_array_len(out: &mut Vec<u8>, flexible: bool, count: usize) -> Result<(), ProtocolError> {
    if flexible {
        put_uvarint(out, compact(count)?);
    } else {
        put_i32(out, i32::try_from(count).map_err(|_| ProtocolError::TooLong)?);
    }
    Ok(())
}

/// How a length field is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LengthForm {
    /// i32.
    Int32,
    /// Unsigned varint of the value plus one (KIP-482's compact arrays, strings and bytes).
    Compact,
    /// Unsigned varint of the value (sizes and counts of tagged fields).
    Varint,
}

impl LengthForm {
    /// The form of an array's count or a byte string's length.
    pub fn of(flexible: bool) -> Self {
        if flexible { Self::Compact } else { Self::Int32 }
    }

    fn encode(self, value: usize) -> Result<([u8; 5], usize), ProtocolError> {
        match self {
            Self::Int32 => {
                let value = i32::try_from(value).map_err(|_| ProtocolError::TooLong)?;
                let [a, b, c, d] = value.to_be_bytes();
                Ok(([a, b, c, d, 0], 4))
            }
            Self::Compact => compact(value).map(encode_uvarint),
            Self::Varint => {
                let value = i32::try_from(value).map_err(|_| ProtocolError::TooLong)?;
                Ok(encode_uvarint(value.unsigned_abs()))
            }
        }
    }
}

/// A length or count that was reserved in `out` and is filled in when what follows it is complete.
///
/// The width of a varint is guessed; when the guess was wrong, what follows is moved, so that the field is in its
/// shortest form; where more than 2 MiB would have to be moved to make it shorter it is padded instead.
#[derive(Debug)]
#[must_use = "a reserved length has to be filled in"]
pub struct LengthSlot {
    form: LengthForm,
    at: usize,
    width: usize,
}

impl LengthSlot {
    /// Reserves a field of the width that `guess` would need.
    pub fn reserve(out: &mut Vec<u8>, form: LengthForm, guess: usize) -> Result<Self, ProtocolError> {
        let (bytes, width) = form.encode(guess)?;
        let at = out.len();
        out.extend_from_slice(bytes.get(..width).unwrap_or_default());
        Ok(Self { form, at, width })
    }

    /// Takes over a field that was copied to the end of `out` with the bytes that it has in the source, for as long as
    /// its value may still turn out to be unchanged: then the slot is dropped by [`Self::leave`] and even a padded
    /// varint stays as it was.
    pub fn adopt(out: &[u8], form: LengthForm, width: usize) -> Result<Self, ProtocolError> {
        let at = out
            .len()
            .checked_sub(width)
            .ok_or(ProtocolError::LayoutMismatch)?;
        Ok(Self { form, at, width })
    }

    /// Where in `out` the content begins.
    pub fn content_start(&self) -> usize {
        self.at.saturating_add(self.width)
    }

    /// Bytes written to `out` since the field.
    pub fn content_len(&self, out: &[u8]) -> Result<usize, ProtocolError> {
        out.len()
            .checked_sub(self.content_start())
            .ok_or(ProtocolError::LayoutMismatch)
    }

    /// The field and what follows it were moved forward in their buffer by `bytes`.
    pub fn move_forward(&mut self, bytes: usize) {
        self.at = self.at.saturating_sub(bytes);
    }

    /// Makes the field as wide as what was written since needs it by now. Whoever writes much piece by piece calls this
    /// behind each piece: at the end all of it would have to be moved at once. Says by how many bytes what was written
    /// has moved back.
    pub fn widen(&mut self, out: &mut Vec<u8>) -> Result<usize, ProtocolError> {
        let length = self.content_len(out)?;
        let (_, width) = self.form.encode(length)?;
        let more = width.saturating_sub(self.width);
        if more > 0 {
            let (start, end) = (self.content_start(), out.len());
            out.resize(end.saturating_add(more), 0);
            out.copy_within(start..end, start.saturating_add(more));
            self.width = width;
        }
        Ok(more)
    }

    /// Keeps the bytes that are there.
    pub fn leave(self) {}

    /// Writes the value.
    #[expect(
        clippy::arithmetic_side_effects,
        reason = "what is behind the field begins at or before the end, and widths are compared first"
    )]
    pub fn fill(self, out: &mut Vec<u8>, value: usize) -> Result<(), ProtocolError> {
        let (mut bytes, mut width) = self.form.encode(value)?;
        let start = self.content_start();
        let length = out.len();
        if length < start {
            return Err(ProtocolError::LayoutMismatch);
        }
        if width < self.width && length - start > MOVED_BYTES_MAX {
            pad(&mut bytes, width, self.width);
            width = self.width;
        }
        if width > self.width {
            out.resize(length.saturating_add(width - self.width), 0);
            out.copy_within(start..length, start + (width - self.width));
        } else if width < self.width {
            out.copy_within(start..length, start - (self.width - width));
            out.truncate(length - (self.width - width));
        }
        let field = out
            .get_mut(self.at..self.at.saturating_add(width))
            .ok_or(ProtocolError::LayoutMismatch)?;
        field.copy_from_slice(bytes.get(..width).unwrap_or_default());
        Ok(())
    }

    /// Writes how many bytes follow the field.
    pub fn fill_with_content_len(self, out: &mut Vec<u8>) -> Result<(), ProtocolError> {
        let length = self.content_len(out)?;
        self.fill(out, length)
    }
}

/// Makes a varint longer without changing its value.
fn pad(bytes: &mut [u8; 5], from: usize, to: usize) {
    for (position, byte) in bytes.iter_mut().enumerate().take(to) {
        if position >= from {
            *byte = 0;
        }
        if position.saturating_add(1) < to {
            *byte |= 0x80;
        }
    }
}

/// More than this is not moved to make a varint shorter: it is padded then, as every reader takes it. A length of less
/// is one that counts what follows it; a count of topics or partitions may stand in front of 100 MiB.
const MOVED_BYTES_MAX: usize = 1 << 21;

fn compact(length: usize) -> Result<u32, ProtocolError> {
    // Java holds the length in an int.
    let length = i32::try_from(length).map_err(|_| ProtocolError::TooLong)?;
    Ok(length.unsigned_abs().saturating_add(1))
}

fn encode_uvarint(mut value: u32) -> ([u8; 5], usize) {
    let mut bytes = [0; 5];
    let mut width = 0_usize;
    for byte in &mut bytes {
        width = width.saturating_add(1);
        if value < 0x80 {
            *byte = value as u8;
            break;
        }
        *byte = (value as u8 & 0x7f) | 0x80;
        value >>= 7;
    }
    (bytes, width)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::protocol::Cursor;

    #[test]
    fn a_slot_moves_its_content_when_the_guess_was_wrong() {
        for (form, guess, value) in [
            (LengthForm::Compact, 0, 126),
            (LengthForm::Compact, 126, 127),
            (LengthForm::Compact, 127, 126),
            (LengthForm::Compact, 20_000, 3),
            (LengthForm::Varint, 3, 20_000),
            (LengthForm::Int32, 0, 70_000),
        ] {
            let mut out = vec![0xaa; 3];
            let slot = LengthSlot::reserve(&mut out, form, guess).unwrap();
            let content: Vec<u8> = (0..value).map(|byte| byte as u8).collect();
            out.extend_from_slice(&content);
            slot.fill_with_content_len(&mut out).unwrap();

            let mut cursor = Cursor::new(&out);
            cursor.skip(3).unwrap();
            let read = match form {
                LengthForm::Varint => cursor.uvarint().unwrap() as usize,
                form => cursor.array_len_non_null(form == LengthForm::Compact, 1).unwrap(),
            };
            assert_eq!(read, value, "{form:?} {guess}");
            assert_eq!(cursor.take(value).unwrap(), content);
            cursor.expect_end().unwrap();
        }
    }

    #[test]
    fn a_slot_whose_content_was_truncated_away_is_an_error() {
        let mut out = Vec::new();
        let slot = LengthSlot::reserve(&mut out, LengthForm::Int32, 0).unwrap();
        out.truncate(3);
        assert_eq!(
            slot.fill_with_content_len(&mut out),
            Err(ProtocolError::LayoutMismatch)
        );
    }

    #[test]
    fn long_strings_are_refused() {
        let text = "x".repeat(0x8000);
        for flexible in [false, true] {
            let mut out = Vec::new();
            assert_eq!(
                put_string(&mut out, flexible, Some(&text)),
                Err(ProtocolError::TooLong)
            );
            put_string(&mut out, flexible, Some(&text[1..])).unwrap();
            assert_eq!(Cursor::new(&out).string(flexible).unwrap(), Some(&text[1..]));
        }
    }

    proptest! {
        #[test]
        fn varints_come_back(value: u32) {
            let mut out = Vec::new();
            put_uvarint(&mut out, value);
            let mut cursor = Cursor::new(&out);
            prop_assert_eq!(cursor.uvarint(), Ok(value));
            prop_assert_eq!(cursor.remaining(), 0);
        }
    }
}
