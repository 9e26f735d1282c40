//! Compresses records as Kafka's own clients do, for batches that tests make: the program only reads compressed
//! batches.

use std::io::Write as _;

use flate2::{Compress, Compression, FlushCompress, Status};
use lz4_flex::frame::{BlockMode, BlockSize, FrameEncoder, FrameInfo};
use zstd::zstd_safe::{CCtx, CParameter, InBuffer, OutBuffer};

use crate::record_batch::Codec;

/// The compressor of a codec failed, which none is known to do for input that fits a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the {0} compressor failed")]
pub struct CompressError(&'static str);

/// Appends `records` to `out`, compressed as Kafka's own clients do it (default levels).
///
/// # Errors
///
/// [`CompressError`].
pub fn compress(codec: Codec, records: &[u8], out: &mut Vec<u8>) -> Result<(), CompressError> {
    let compressed = match codec {
        Codec::None => {
            out.extend_from_slice(records);
            Some(())
        }
        Codec::Gzip => gzip(records, out),
        Codec::Snappy => snappy(records, out),
        Codec::Lz4 => lz4(records, out),
        Codec::Zstd => zstandard(records, out),
    };
    compressed.ok_or(CompressError(codec.name()))
}

fn gzip(records: &[u8], out: &mut Vec<u8>) -> Option<()> {
    // Deflate, no flags, no time, no extra flags, unknown system: what Java writes (until 16; 255 since).
    out.extend_from_slice(&[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff]);
    let mut state = Compress::new(Compression::default(), false);
    loop {
        // INVARIANT: total_in never exceeds what was offered.
        let rest = records.get(state.total_in() as usize..).unwrap_or_default();
        out.reserve(rest.len() / 2 + 64);
        match state.compress_vec(rest, out, FlushCompress::Finish) {
            Ok(Status::StreamEnd) => break,
            Ok(Status::Ok | Status::BufError) => {}
            Err(_) => return None,
        }
    }
    out.extend_from_slice(&crc_fast::crc32_iso_hdlc(records).to_le_bytes());
    out.extend_from_slice(&(records.len() as u32).to_le_bytes());
    Some(())
}

fn snappy(records: &[u8], out: &mut Vec<u8>) -> Option<()> {
    out.extend_from_slice(&XERIAL);
    out.extend_from_slice(&1i32.to_be_bytes());
    out.extend_from_slice(&1i32.to_be_bytes());
    let mut encoder = snap::raw::Encoder::new();
    for plain in records.chunks(BLOCK_BYTES) {
        let block = encoder.compress_vec(plain).ok()?;
        let length = i32::try_from(block.len()).ok()?;
        out.extend_from_slice(&length.to_be_bytes());
        out.extend_from_slice(&block);
    }
    Some(())
}

fn lz4(records: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let info = FrameInfo::new()
        .block_size(BlockSize::Max64KB)
        .block_mode(BlockMode::Independent);
    let mut encoder = FrameEncoder::with_frame_info(info, out);
    encoder.write_all(records).ok()?;
    encoder.finish().ok()?;
    Some(())
}

fn zstandard(records: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let mut context = CCtx::try_create()?;
    context
        .set_parameter(CParameter::CompressionLevel(zstd::DEFAULT_COMPRESSION_LEVEL))
        .ok()?;
    out.reserve(zstd::zstd_safe::compress_bound(records.len()));
    let at = out.len();
    let mut target = OutBuffer::around_pos(out, at);
    let mut source = InBuffer::around(records);
    // Streamed like Java's: the frame does not announce its content's size.
    context.compress_stream(&mut target, &mut source).ok()?;
    match context.end_stream(&mut target) {
        Ok(0) if source.pos() == records.len() => Some(()),
        _ => None,
    }
}

/// The magic number of snappy-java's framing, in front of its two versions.
const XERIAL: [u8; 8] = [0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0];

/// Plain bytes a block, snappy-java's default.
const BLOCK_BYTES: usize = 32 << 10;
