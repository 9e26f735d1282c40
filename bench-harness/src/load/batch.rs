//! The record batches that are sent: records of one size, as many as make a frame of a given size.

use bytes::Bytes;
use sealwire::record_batch::Codec;
use sealwire::testing::{BatchBuilder, RecordInput};

use crate::scenario::ClientCodec;
use crate::{Failure, requests};

/// Every record's value starts with it: where it can be read, nothing is sealed.
pub(crate) const CANARY: &[u8] = b"canary in a coal mine";

/// A batch as a client makes it, and without the client's compression.
pub(crate) struct Batch {
    pub(crate) sent: Bytes,
    pub(crate) plain: Bytes,
    pub(crate) records: usize,
}

/// One batch of records of about `record_bytes` that makes, before the client compresses it, a produce frame of exactly
/// `frame_bytes`, prefix included.
pub(crate) fn batch(
    topic: &str,
    frame_bytes: usize,
    record_bytes: usize,
    codec: ClientCodec,
) -> Result<Batch, Failure> {
    let fits = |records: usize, last: usize| -> Result<usize, Failure> {
        let batch = builder(records, record_bytes, last).build()?;
        Ok(requests::produce_request(topic, Bytes::from(batch))?.len())
    };
    // The protocol around them takes the place of a few small records.
    let mut records = (frame_bytes / record_bytes).max(1);
    while records > 1 && fits(records, 0)? > frame_bytes {
        records -= 1;
    }
    let mut last = record_bytes / 2;
    // The last record takes up what is left; its own varints may move it by a byte or two.
    for _ in 0..5 {
        let length = fits(records, last)?;
        if length == frame_bytes {
            let builder = builder(records, record_bytes, last);
            return Ok(Batch {
                plain: Bytes::from(builder.build()?),
                sent: Bytes::from(builder.codec(library_codec(codec)).build()?),
                records,
            });
        }
        last = (last + frame_bytes).saturating_sub(length);
    }
    Err(format!("no batch makes a frame of {frame_bytes} bytes").into())
}

fn builder(records: usize, record_bytes: usize, last_value_bytes: usize) -> BatchBuilder {
    let mut builder = BatchBuilder::new();
    let mut text = Text(1);
    for index in 0..records {
        let value = text.take(match index + 1 == records {
            true => last_value_bytes,
            false => record_bytes.saturating_sub(RECORD_FRAMING_BYTES),
        });
        builder = builder.record(RecordInput {
            timestamp: 1_700_000_000_000,
            value: Some(&value),
            ..RecordInput::default()
        });
    }
    builder
}

/// Length, attributes, deltas, key length, value length and header count of a record of 1 KiB.
const RECORD_FRAMING_BYTES: usize = 11;

/// Words and numbers that compress about as well as what applications send: to a half or a third.
struct Text(u64);

impl Text {
    fn take(&mut self, bytes: usize) -> Vec<u8> {
        let mut text = [CANARY, b"; "].concat();
        while text.len() < bytes {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let word = WORDS.get((self.0 >> 60) as usize % WORDS.len()).unwrap_or(&"");
            text.extend_from_slice(format!("{word}{:07x},", (self.0 >> 28) & 0x0fff_ffff).as_bytes());
        }
        text.truncate(bytes);
        text
    }
}

const WORDS: [&str; 8] = [
    "\"order\":",
    "\"customer\":",
    "\"amount\":",
    "\"currency\":\"EUR\",\"at\":",
    "\"street\":",
    "\"card\":",
    "\"item\":",
    "\"note\":",
];

fn library_codec(codec: ClientCodec) -> Codec {
    match codec {
        ClientCodec::None => Codec::None,
        ClientCodec::Lz4 => Codec::Lz4,
        ClientCodec::Zstd => Codec::Zstd,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOPIC: &str = "public-00000-00000";

    #[test]
    fn frames_have_exactly_the_size_that_was_asked_for() {
        for (kib, record_bytes) in [
            (1, 1024),
            (16, 1024),
            (64, 100),
            (512, 10 << 10),
            (1024, 1024),
            (1, 100),
        ] {
            let made = batch(TOPIC, kib << 10, record_bytes, ClientCodec::None).unwrap();
            let frame = requests::produce_request(TOPIC, made.sent.clone()).unwrap();
            assert_eq!(frame.len(), kib << 10, "{record_bytes}");
            assert!(made.records * record_bytes <= kib << 10);
            assert!((made.records + 4) * record_bytes > kib << 10, "{}", made.records);
        }
    }

    #[test]
    fn clients_compress_to_about_a_half() {
        for codec in [ClientCodec::Lz4, ClientCodec::Zstd] {
            let made = batch(TOPIC, 64 << 10, 1024, codec).unwrap();
            let ratio = made.plain.len() as f64 / made.sent.len() as f64;
            assert!((1.3..4.0).contains(&ratio), "{codec:?} {ratio}");
        }
    }
}
