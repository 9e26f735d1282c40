//! What is drawn by lot: numbers, pieces of what is on the way, batches.

use sealwire::record_batch::Codec;

use crate::KEYS;
use crate::rig::keyed_batch_of;

/// A batch as the client made it.
#[derive(Clone)]
pub(super) struct Batch {
    pub(super) sequence: i32,
    /// Without compression, as it must come back.
    pub(super) clear: Vec<u8>,
    /// As it is sent.
    pub(super) sent: Vec<u8>,
}

/// The same numbers for the same seed (SplitMix64).
pub(super) struct Dice(pub(super) u64);

impl Dice {
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }

    /// Some of the bytes that are on the way: a few, or all.
    pub(super) fn piece(&mut self, bytes: &mut Vec<u8>, all: bool) -> Vec<u8> {
        let length = match self.below(4) {
            _ if all => bytes.len(),
            0 => bytes.len(),
            1 => bytes.len().min(1 + self.below(8) as usize),
            _ => bytes.len().min(self.below(2000) as usize),
        };
        bytes.drain(..length).collect()
    }

    pub(super) fn batch(&mut self, topic: &str, sequence: i32) -> Batch {
        let word = if topic == "pass-a" { "open" } else { "sesame" };
        let value = word.repeat(1 + self.below(20) as usize);
        let key = match topic {
            KEYS => format!("sesame-{}", self.below(5)),
            _ => "key".to_owned(),
        };
        let records = vec![(key.as_bytes(), value.as_str()); 1 + self.below(4) as usize];
        let builder = keyed_batch_of(records).producer(7, 0, sequence);
        let codecs = [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd];
        let codec = if topic == "pass-a" {
            Codec::None
        } else {
            codecs[self.below(5) as usize]
        };
        Batch {
            sequence,
            clear: builder.build().unwrap(),
            sent: builder.codec(codec).build().unwrap(),
        }
    }
}
