//! Zigzag variable-length integers of records (varint: i32, varlong: i64), as Kafka's `ByteUtils` writes them.
//!
//! Reading accepts padded forms (clients may write them); writing is always canonical. One and two bytes, nearly all
//! there is in practice, are read and written without a loop.

use bytes::BufMut;

/// Why an integer cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum VarintError {
    /// The bytes end inside it.
    #[error("the bytes end inside a variable-length integer")]
    Truncated,
    /// More than 5 bytes (varlong: 10), or bits beyond the type's width in the last one.
    #[error("a variable-length integer is too long")]
    TooLong,
}

/// Reads a varint at `at`: its value and the position behind it.
#[expect(
    clippy::arithmetic_side_effects,
    reason = "the bytes read are inside the buffer, so no position overflows"
)]
#[inline(always)]
pub fn read_varint(buf: &[u8], at: usize) -> Result<(i32, usize), VarintError> {
    let Some(&first) = buf.get(at) else {
        return Err(VarintError::Truncated);
    };
    if first < 0x80 {
        return Ok((unzigzag_32(u32::from(first)), at + 1));
    }
    if let Some(&second) = buf.get(at + 1)
        && second < 0x80
    {
        let raw = u32::from(first & 0x7f) | (u32::from(second) << 7);
        return Ok((unzigzag_32(raw), at + 2));
    }
    let (raw, bytes) = read_long_form(buf, at, VARINT_BYTES_MAX, u64::from(u32::MAX))?;
    // INVARIANT: `read_long_form` refuses what is above u32::MAX.
    Ok((unzigzag_32(raw as u32), at + bytes))
}

/// Reads a varlong at `at`: its value and the position behind it.
#[expect(
    clippy::arithmetic_side_effects,
    reason = "the bytes read are inside the buffer, so no position overflows"
)]
#[inline(always)]
pub fn read_varlong(buf: &[u8], at: usize) -> Result<(i64, usize), VarintError> {
    let Some(&first) = buf.get(at) else {
        return Err(VarintError::Truncated);
    };
    if first < 0x80 {
        return Ok((unzigzag_64(u64::from(first)), at + 1));
    }
    if let Some(&second) = buf.get(at + 1)
        && second < 0x80
    {
        let raw = u64::from(first & 0x7f) | (u64::from(second) << 7);
        return Ok((unzigzag_64(raw), at + 2));
    }
    let (raw, bytes) = read_long_form(buf, at, VARLONG_BYTES_MAX, u64::MAX)?;
    Ok((unzigzag_64(raw), at + bytes))
}

/// Appends `value` in its shortest form.
///
/// # Panics
/// When `out` cannot grow and is shorter than [`varint_bytes`].
#[inline(always)]
pub fn put_varint(out: &mut impl BufMut, value: i32) {
    let raw = zigzag_32(value);
    if raw < 0x80 {
        out.put_u8(raw as u8);
    } else if raw < 0x4000 {
        out.put_slice(&[raw as u8 | 0x80, (raw >> 7) as u8]);
    } else {
        put_raw(out, u64::from(raw));
    }
}

/// Appends `value` in its shortest form.
///
/// # Panics
/// When `out` cannot grow and is shorter than what is written, 10 bytes at most.
#[cfg(feature = "testing")]
pub fn put_varlong(out: &mut impl BufMut, value: i64) {
    put_raw(out, zigzag_64(value));
}

/// How many bytes (1 to 5) `put_varint` writes for `value`.
#[inline(always)]
pub fn varint_bytes(value: i32) -> usize {
    raw_bytes(u64::from(zigzag_32(value)))
}

#[expect(
    clippy::arithmetic_side_effects,
    reason = "ten bytes at most are shifted within 128 bits"
)]
#[cold]
fn read_long_form(
    buf: &[u8],
    at: usize,
    bytes_max: usize,
    value_max: u64,
) -> Result<(u64, usize), VarintError> {
    let rest = buf.get(at..).unwrap_or_default();
    let mut raw: u128 = 0;
    for (index, &byte) in rest.iter().take(bytes_max).enumerate() {
        raw |= u128::from(byte & 0x7f) << (7 * index);
        if byte < 0x80 {
            return match u64::try_from(raw) {
                Ok(raw) if raw <= value_max => Ok((raw, index + 1)),
                _ => Err(VarintError::TooLong),
            };
        }
    }
    if rest.len() < bytes_max {
        Err(VarintError::Truncated)
    } else {
        Err(VarintError::TooLong)
    }
}

#[inline(never)]
fn put_raw(out: &mut impl BufMut, mut raw: u64) {
    while raw >= 0x80 {
        out.put_u8(raw as u8 | 0x80);
        raw >>= 7;
    }
    out.put_u8(raw as u8);
}

#[expect(
    clippy::arithmetic_side_effects,
    reason = "there are no more than 64 leading zeros"
)]
#[inline(always)]
fn raw_bytes(raw: u64) -> usize {
    match raw {
        0..0x80 => 1,
        0x80..0x4000 => 2,
        _ => (64 - raw.leading_zeros() as usize).div_ceil(7),
    }
}

#[inline(always)]
fn zigzag_32(value: i32) -> u32 {
    ((value << 1) ^ (value >> 31)) as u32
}

#[expect(clippy::arithmetic_side_effects, reason = "it is 0 or 1 that is negated")]
#[inline(always)]
fn unzigzag_32(raw: u32) -> i32 {
    (raw >> 1) as i32 ^ -((raw & 1) as i32)
}

#[cfg(feature = "testing")]
fn zigzag_64(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

#[expect(clippy::arithmetic_side_effects, reason = "it is 0 or 1 that is negated")]
#[inline(always)]
fn unzigzag_64(raw: u64) -> i64 {
    (raw >> 1) as i64 ^ -((raw & 1) as i64)
}

const VARINT_BYTES_MAX: usize = 5;
const VARLONG_BYTES_MAX: usize = 10;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Values and bytes from Kafka's `ByteUtilsTest`.
    #[test]
    fn vectors_of_kafka() {
        let varints: [(i32, &[u8]); 12] = [
            (0, &[0x00]),
            (-1, &[0x01]),
            (1, &[0x02]),
            (63, &[0x7e]),
            (-64, &[0x7f]),
            (64, &[0x80, 0x01]),
            (-65, &[0x81, 0x01]),
            (8191, &[0xfe, 0x7f]),
            (-8192, &[0xff, 0x7f]),
            (8192, &[0x80, 0x80, 0x01]),
            (i32::MAX, &[0xfe, 0xff, 0xff, 0xff, 0x0f]),
            (i32::MIN, &[0xff, 0xff, 0xff, 0xff, 0x0f]),
        ];
        for (value, bytes) in varints {
            assert_eq!(read_varint(bytes, 0), Ok((value, bytes.len())));
            assert_eq!(read_varlong(bytes, 0), Ok((i64::from(value), bytes.len())));
            let mut out = Vec::new();
            put_varint(&mut out, value);
            assert_eq!(out, bytes);
            assert_eq!(varint_bytes(value), bytes.len());
        }
        let longest: [(i64, u8); 2] = [(i64::MAX, 0xfe), (i64::MIN, 0xff)];
        for (value, first) in longest {
            let bytes = [first, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01];
            assert_eq!(read_varlong(&bytes, 0), Ok((value, 10)));
        }
    }

    #[test]
    fn limits_of_length_and_width() {
        // Padded forms pass up to the longest, one byte more does not.
        assert_eq!(read_varint(&[0x80, 0x80, 0x80, 0x80, 0x00], 0), Ok((0, 5)));
        assert_eq!(
            read_varint(&[0x80, 0x80, 0x80, 0x80, 0x80, 0x00], 0),
            Err(VarintError::TooLong)
        );
        let padded = [0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x00];
        assert_eq!(read_varlong(&padded, 0), Ok((0, 10)));
        // The last byte has room for four bits (varlong: one).
        assert_eq!(read_varint(&[0xff, 0xff, 0xff, 0xff, 0x0f], 0), Ok((i32::MIN, 5)));
        assert_eq!(
            read_varint(&[0xff, 0xff, 0xff, 0xff, 0x10], 0),
            Err(VarintError::TooLong)
        );
        let mut wide = [0xff; 10];
        wide[9] = 0x02;
        assert_eq!(read_varlong(&wide, 0), Err(VarintError::TooLong));
        wide[9] = 0x80;
        assert_eq!(read_varlong(&wide, 0), Err(VarintError::TooLong));
        for bytes in [&[][..], &[0x80], &[0x80, 0x80], &[0xff, 0xff, 0xff, 0xff]] {
            assert_eq!(read_varint(bytes, 0), Err(VarintError::Truncated));
        }
        assert_eq!(read_varint(&[0], 1), Err(VarintError::Truncated));
        assert_eq!(read_varint(&[0], usize::MAX), Err(VarintError::Truncated));
    }

    proptest! {
        #[test]
        fn written_values_read_back(int in any::<i32>(), long in any::<i64>(), shift in 0u32..64) {
            let (int, long) = (int >> (shift % 32), long >> shift);
            let mut out = vec![0xaa];
            put_varint(&mut out, int);
            prop_assert_eq!(out.len() - 1, varint_bytes(int));
            prop_assert_eq!(read_varint(&out, 1), Ok((int, out.len())));
            let before = out.len();
            put_varlong(&mut out, long);
            prop_assert_eq!(read_varlong(&out, before), Ok((long, out.len())));
        }
    }
}
