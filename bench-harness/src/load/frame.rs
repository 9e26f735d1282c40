//! A frame that is shared by all who send it, but for its head: correlation id and topic are written into a copy of
//! that.

use std::rc::Rc;

use crate::Failure;

/// A whole frame with its length prefix.
#[derive(Clone)]
pub(crate) struct Frame {
    pub(super) bytes: Rc<[u8]>,
    /// Where the digits of its topic's name are; none where it has no topic, or none that differs.
    pub(super) topic_at: Option<usize>,
}

impl Frame {
    /// A frame that is always sent as it is.
    pub(crate) fn fixed(bytes: Vec<u8>) -> Self {
        Self {
            bytes: Rc::from(bytes),
            topic_at: None,
        }
    }

    /// A frame for `topic`, and for any other of the same prefix.
    pub(crate) fn of_topic(bytes: Vec<u8>, topic: &str) -> Result<Self, Failure> {
        let head = bytes.get(..HEAD_BYTES.min(bytes.len())).unwrap_or_default();
        let at = head
            .windows(topic.len())
            .position(|window| window == topic.as_bytes())
            .ok_or("a frame without its topic at the beginning")?;
        Ok(Self {
            bytes: Rc::from(bytes),
            topic_at: Some(at + topic.len() - DIGITS),
        })
    }

    /// Bytes with the prefix.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }
}

/// Which topic of a prefix: KEK and number as digits, so that a rule can tell the KEK from the name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TopicDigits([u8; DIGITS]);

impl TopicDigits {
    /// Those of topic `number`, where `keks` KEKs are taken in turn. Both are below 100 000.
    pub(crate) fn of(number: usize, keks: usize) -> Self {
        let mut digits = [b'-'; DIGITS];
        let numbers = [(4, number % keks.max(1)), (10, number)];
        for (last, mut number) in numbers {
            for digit in digits.iter_mut().take(last + 1).skip(last - 4).rev() {
                *digit = b'0' + (number % 10) as u8;
                number /= 10;
            }
        }
        Self(digits)
    }

    /// Those that stand in the head of a frame.
    pub(super) fn found(head: &[u8], at: usize) -> Option<Self> {
        let digits: [u8; DIGITS] = head.get(at..at + DIGITS)?.try_into().ok()?;
        let is_number = digits
            .iter()
            .all(|digit| digit.is_ascii_digit() || *digit == b'-');
        is_number.then_some(Self(digits))
    }

    /// The KEK's number.
    pub(crate) fn kek(self) -> usize {
        let [kek @ .., _, _, _, _, _, _] = self.0;
        kek.iter().fold(0, |number, digit| {
            number * 10 + usize::from(digit.wrapping_sub(b'0'))
        })
    }

    /// The topic's name.
    pub(crate) fn name(self, prefix: &str) -> String {
        format!("{prefix}{}", String::from_utf8_lossy(&self.0))
    }

    pub(super) fn write(self, head: &mut [u8], at: usize) {
        for (to, from) in head.iter_mut().skip(at).zip(self.0) {
            *to = from;
        }
    }
}

/// `KKKKK-NNNNN`.
const DIGITS: usize = 11;
/// What of a frame is copied, so that it can be written to; topics stand in the first 100 bytes.
pub(super) const HEAD_BYTES: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_say_kek_and_number() {
        let digits = TopicDigits::of(4711, 10);
        assert_eq!(digits.name("sealed-"), "sealed-00001-04711");
        assert_eq!(digits.kek(), 1);
        assert_eq!(TopicDigits::of(3, 1).name("x-"), "x-00000-00003");
        assert_eq!(
            TopicDigits::found(b"ab00002-00012", 2),
            Some(TopicDigits::of(12, 5))
        );
    }

    #[test]
    fn a_topic_is_found_and_replaced() {
        let frame = Frame::of_topic(b"....sealed-00000-00000....".to_vec(), "sealed-00000-00000").unwrap();
        let mut head = frame.bytes.to_vec();
        TopicDigits::of(12, 5).write(&mut head, frame.topic_at.unwrap());
        assert_eq!(head, b"....sealed-00002-00012....");
        assert!(Frame::of_topic(b"nothing".to_vec(), "sealed-00000-00000").is_err());
    }
}
