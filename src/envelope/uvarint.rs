//! Unsigned variable-length integers of the seal: base 128, lowest group first, shortest form only (ENV-16).

use bytes::BufMut;

use super::OpenError;

/// Reads the integer at `at`: its value and the position behind it.
///
/// # Errors
/// [`OpenError::SealTruncated`]; [`OpenError::SealNotCanonical`] when it could be shorter;
/// [`OpenError::SealOutOfRange`] when it is worth more than 2^32-1.
#[inline]
#[expect(
    clippy::arithmetic_side_effects,
    reason = "35 bits at most, and positions of bytes of a slice"
)]
pub(super) fn read_uvarint(bytes: &[u8], at: usize) -> Result<(u32, usize), OpenError> {
    let mut value: u64 = 0;
    let mut shift = 0;
    for (index, &byte) in bytes
        .get(at..)
        .unwrap_or_default()
        .iter()
        .enumerate()
        .take(UVARINT_BYTES_MAX)
    {
        value |= u64::from(byte & 0x7f) << shift;
        shift += 7;
        if byte < 0x80 {
            if byte == 0 && index > 0 {
                return Err(OpenError::SealNotCanonical);
            }
            let value = u32::try_from(value).map_err(|_| OpenError::SealOutOfRange)?;
            // INVARIANT: at + index is the position of a byte of a slice.
            return Ok((value, at + index + 1));
        }
    }
    // Either the bytes end, or five of them announce a sixth.
    if shift < UVARINT_BYTES_MAX * 7 {
        Err(OpenError::SealTruncated)
    } else {
        Err(OpenError::SealOutOfRange)
    }
}

/// Appends `value` in its shortest form.
///
/// # Panics
/// When `out` cannot grow and is shorter than [`uvarint_bytes`].
#[inline]
pub(super) fn put_uvarint(out: &mut impl BufMut, mut value: u32) {
    while value >= 0x80 {
        // Truncation to the low byte is meant.
        out.put_u8(value as u8 | 0x80);
        value >>= 7;
    }
    out.put_u8(value as u8);
}

/// How many bytes (1 to 5) [`put_uvarint`] writes for `value`.
#[inline]
#[expect(clippy::arithmetic_side_effects, reason = "of 32 bits at least one is set")]
pub(super) fn uvarint_bytes(value: u32) -> usize {
    let bits = 32 - (value | 1).leading_zeros() as usize;
    bits.div_ceil(7)
}

/// Enough for 32 bits.
const UVARINT_BYTES_MAX: usize = 5;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn shortest_form_only() {
        let refused: [(&[u8], OpenError); 8] = [
            (&[], OpenError::SealTruncated),
            (&[0x80], OpenError::SealTruncated),
            (&[0xff, 0xff, 0xff, 0xff], OpenError::SealTruncated),
            (&[0x80, 0x00], OpenError::SealNotCanonical),
            (&[0xff, 0x80, 0x00], OpenError::SealNotCanonical),
            (&[0x80, 0x80, 0x80, 0x80, 0x00], OpenError::SealNotCanonical),
            (&[0xff, 0xff, 0xff, 0xff, 0x1f], OpenError::SealOutOfRange),
            (&[0x80, 0x80, 0x80, 0x80, 0x80, 0x01], OpenError::SealOutOfRange),
        ];
        for (bytes, error) in refused {
            assert_eq!(read_uvarint(bytes, 0), Err(error), "{bytes:?}");
        }
        assert_eq!(read_uvarint(&[0], 1), Err(OpenError::SealTruncated));
        assert_eq!(read_uvarint(&[0], usize::MAX), Err(OpenError::SealTruncated));
        assert_eq!(
            read_uvarint(&[0xff, 0xff, 0xff, 0xff, 0x0f], 0),
            Ok((u32::MAX, 5))
        );
        assert_eq!(read_uvarint(&[9, 0xac, 0x02, 9], 1), Ok((300, 3)));
    }

    proptest! {
        #[test]
        fn written_values_read_back(value in any::<u32>(), shift in 0u32..32) {
            let value = value >> shift;
            let mut out = vec![0xaa];
            put_uvarint(&mut out, value);
            prop_assert_eq!(out.len() - 1, uvarint_bytes(value));
            prop_assert_eq!(read_uvarint(&out, 1), Ok((value, out.len())));
        }

        #[test]
        fn what_is_read_is_written_back_unchanged(bytes in proptest::collection::vec(any::<u8>(), 0..8)) {
            if let Ok((value, end)) = read_uvarint(&bytes, 0) {
                let mut out = Vec::new();
                put_uvarint(&mut out, value);
                prop_assert_eq!(&out[..], &bytes[..end]);
            }
        }
    }
}
