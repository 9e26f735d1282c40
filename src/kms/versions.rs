//! Versions of KEKs that are numbers, as wrapped DEKs carry them: shortest big-endian.

/// `number` without the zero bytes in front.
pub(super) fn shortest(number: &[u8; 4]) -> &[u8] {
    let zeros = number.iter().take_while(|&&byte| byte == 0).count();
    number.get(zeros..).unwrap_or_default()
}

/// The number that [`shortest`] wrote, `None` for any other bytes.
pub(super) fn version_number(version: &[u8]) -> Option<u32> {
    if version.is_empty() || version.len() > 4 || version.first() == Some(&0) {
        return None;
    }
    Some(
        version
            .iter()
            .fold(0, |number, &byte| (number << 8) | u32::from(byte)),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_has_one_writing() {
        for (number, bytes) in [
            (1_u32, &[1][..]),
            (255, &[255]),
            (256, &[1, 0]),
            (u32::MAX, &[255; 4]),
        ] {
            assert_eq!(shortest(&number.to_be_bytes()), bytes);
            assert_eq!(version_number(bytes), Some(number));
        }
        for other in [&[][..], &[0], &[0, 1], &[1; 5]] {
            assert_eq!(version_number(other), None, "{other:?}");
        }
    }
}
