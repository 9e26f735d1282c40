//! Choices drawn from a seed.

use std::collections::BTreeMap;

use bytes::Bytes;
use kafka_protocol::protocol::StrBytes;

/// SplitMix64: small, and the same on every machine.
pub(crate) struct Draw(u64);

impl Draw {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn word(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }

    pub(crate) fn below(&mut self, end: usize) -> usize {
        (self.word() % end as u64) as usize
    }

    pub(crate) fn one_in(&mut self, odds: usize) -> bool {
        self.below(odds) == 0
    }

    pub(crate) fn i16(&mut self) -> i16 {
        self.word() as i16
    }

    pub(crate) fn i32(&mut self) -> i32 {
        self.word() as i32
    }

    pub(crate) fn i64(&mut self) -> i64 {
        self.word() as i64
    }

    /// An element of `choices`.
    pub(crate) fn of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }

    pub(crate) fn list<T>(&mut self, end: usize, mut element: impl FnMut(&mut Self) -> T) -> Vec<T> {
        (0..self.below(end)).map(|_| element(self)).collect()
    }

    /// Text of 0 to 200 bytes, around the one-byte limit of compact lengths too.
    pub(crate) fn text(&mut self) -> StrBytes {
        let length = self.of(&[0, 1, 3, 9, 30, 126, 127, 128, 200]);
        StrBytes::from_string(
            (0..length)
                .map(|_| char::from(b'a' + self.below(26) as u8))
                .collect(),
        )
    }

    pub(crate) fn name(&mut self) -> StrBytes {
        StrBytes::from_string(format!(
            "topic-{}-ü{}",
            self.word() % 1000,
            "x".repeat(self.below(140))
        ))
    }

    pub(crate) fn nullable_text(&mut self) -> Option<StrBytes> {
        if self.one_in(3) { None } else { Some(self.text()) }
    }

    /// Records: null, empty, and lengths around the limits of varint widths.
    pub(crate) fn records(&mut self) -> Option<Bytes> {
        let length = match self.below(8) {
            0 => return None,
            1 => 0,
            2 => 126,
            3 => 127,
            4 => self.of(&[16_382, 16_383, 16_384]),
            _ => self.below(900),
        };
        Some(self.bytes(length))
    }

    pub(crate) fn bytes(&mut self, length: usize) -> Bytes {
        (0..length).map(|_| self.word() as u8).collect()
    }

    /// Tagged fields that no version of the message knows.
    pub(crate) fn tags(&mut self, flexible: bool) -> BTreeMap<i32, Bytes> {
        if !flexible || !self.one_in(3) {
            return BTreeMap::new();
        }
        self.list(4, |draw| {
            let tag = draw.of(&[10, 11, 127, 128, 20_000, i32::MAX]);
            let length = draw.of(&[0, 1, 5, 127, 130]);
            (tag, draw.bytes(length))
        })
        .into_iter()
        .collect()
    }

    /// The 16 bytes of a topic id.
    pub(crate) fn uuid(&mut self) -> Vec<u8> {
        [self.word().to_be_bytes(), self.word().to_be_bytes()].concat()
    }
}
