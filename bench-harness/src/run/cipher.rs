//! What nobody who seals can do without: AES-256-GCM over each record, and two checksums over the batch (the client's
//! is checked, another one is written). What a proxy adds to passing is to be read beside it.

use std::time::{Duration, Instant};

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use sealwire::record_batch::crc_matches;

use crate::Failure;
use crate::load::plain_batch;
use crate::scenario::{Point, What};

/// Seconds for 10^9 bytes of frames of the point, on this core: the least of five attempts. None where nothing is
/// sealed or opened.
pub(crate) fn seconds_per_gb(point: &Point) -> Result<Option<f64>, Failure> {
    // Sealing and opening take the same: counter mode, and a tag over the ciphertext.
    if !matches!(point.what, What::Seal | What::Open) {
        return Ok(None);
    }
    let (batch, records) = plain_batch(point)?;
    let record_bytes = batch.len() / records.max(1);
    // One buffer for all, as a proxy has one: first touches of fresh pages cost more than the cipher.
    let mut records: Vec<Vec<u8>> = vec![vec![b'.'; record_bytes]; records];
    let key = UnboundKey::new(&AES_256_GCM, &[7; 32]).map_err(|_| "no cipher")?;
    let key = LessSafeKey::new(key);
    let mut best = Duration::MAX;
    for _ in 0..5 {
        let (start, mut batches) = (Instant::now(), 0_u32);
        while start.elapsed() < ATTEMPT {
            for record in &mut records {
                encipher(&key, record)?;
            }
            if !(crc_matches(&batch) && crc_matches(std::hint::black_box(&batch))) {
                return Err("a batch with a wrong checksum".into());
            }
            batches += 1;
        }
        best = best.min(start.elapsed() / batches.max(1));
    }
    Ok(Some(best.as_secs_f64() * 1e9 / (point.frame_kib << 10) as f64))
}

fn encipher(key: &LessSafeKey, record: &mut [u8]) -> Result<(), Failure> {
    let nonce = Nonce::assume_unique_for_key([0; 12]);
    let tag = key.seal_in_place_separate_tag(nonce, Aad::from(&ASSOCIATED), record);
    let _tag = std::hint::black_box(tag.map_err(|_| "no cipher")?);
    Ok(())
}

/// About as many bytes as a record's associated data has.
const ASSOCIATED: [u8; 40] = [0; 40];
const ATTEMPT: Duration = Duration::from_millis(20);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::Direction;

    #[test]
    fn small_records_take_more_for_each_byte_and_what_passes_takes_none() {
        let of = |what, record_bytes| {
            let mut point = Point::of(what, Direction::Produce);
            (point.frame_kib, point.record_bytes) = (64, record_bytes);
            seconds_per_gb(&point).unwrap()
        };
        let [small, large] = [64, 4096].map(|bytes| of(What::Seal, bytes).unwrap());
        assert!(small > large && large > 0.01, "{small} {large}");
        assert!(of(What::Pass, 1024).is_none());
    }
}
