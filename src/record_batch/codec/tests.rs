//! Every codec: what comes back, what is refused, and in how small steps.

use flate2::{Compression, GzBuilder};
use lz4_flex::frame::{BlockMode, BlockSize, FrameEncoder, FrameInfo};
use proptest::prelude::*;
use std::io::Write;

use super::*;
use crate::testing::compress;

const CODECS: [Codec; 5] = [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd];
const MIB: usize = 1 << 20;

fn compressed(codec: Codec, plain: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    compress(codec, plain, &mut out).unwrap();
    out
}

fn decompressed(codec: Codec, input: &[u8], limit: usize) -> Result<Vec<u8>, CodecError> {
    let mut out = b"kept".to_vec();
    let result = Decompressor::new().decompress(codec, input, limit, &mut out);
    assert!(out.starts_with(b"kept"));
    match result {
        Ok(()) => Ok(out.split_off(4)),
        Err(error) => {
            assert_eq!(out.len(), 4, "{codec:?}: {error}");
            Err(error)
        }
    }
}

fn lorem(bytes: usize) -> Vec<u8> {
    (0..)
        .flat_map(|number: u32| format!("line {number} ").into_bytes())
        .take(bytes)
        .collect()
}

#[track_caller]
fn malformed(result: Result<Vec<u8>, CodecError>) {
    assert!(matches!(result, Err(CodecError::Malformed { .. })), "{result:?}");
}

#[test]
fn numbers_and_names() {
    for (number, codec) in (0..).zip(CODECS) {
        assert_eq!(
            (codec.number(), Codec::from_number(number)),
            (number, Some(codec))
        );
    }
    assert!((5..=u8::MAX).all(|number| Codec::from_number(number).is_none()));
    assert_eq!(CODECS.map(Codec::name), ["none", "gzip", "snappy", "lz4", "zstd"]);
}

#[test]
fn the_limit_passes_and_one_byte_less_does_not() {
    for codec in CODECS {
        for size in [1, 1000, 64 << 10, 300_000] {
            let plain = lorem(size);
            let input = compressed(codec, &plain);
            assert_eq!(
                decompressed(codec, &input, size).as_deref(),
                Ok(&plain[..]),
                "{codec:?} {size}"
            );
            let limit = size - 1;
            assert_eq!(
                decompressed(codec, &input, limit),
                Err(CodecError::LimitExceeded { limit })
            );
        }
    }
}

/// CODEC-2
#[test]
fn contexts_are_fit_for_use_after_success_and_error() {
    let plain = lorem(100_000);
    let mut decompressor = Decompressor::new();
    let mut out = Vec::new();
    for round in 0..3 {
        for codec in CODECS {
            let input = compressed(codec, &plain);
            out.clear();
            decompressor
                .decompress(codec, &input, plain.len(), &mut out)
                .unwrap();
            assert_eq!(out, plain, "{codec:?} round {round}");
            assert!(decompressor.decompress(codec, &input, 50_000, &mut out).is_err());
            if codec != Codec::None {
                let cut = input.len() / 2;
                assert!(
                    decompressor
                        .decompress(codec, &input[..cut], MIB, &mut out)
                        .is_err()
                );
            }
            assert_eq!(out.len(), plain.len());
        }
    }
}

#[test]
fn a_batch_that_is_decompressed_says_what_its_context_holds() {
    let mut decompressor = Decompressor::new();
    let held = CODECS.map(|codec| {
        let decompression = decompressor.begin(codec, 0, MIB).unwrap();
        let held = decompression.bytes_held();
        decompressor.end(decompression);
        held
    });
    let [none, gzip, snappy, lz4, zstd] = held;
    assert_eq!((none, gzip, snappy, lz4), (0, gzip::CONTEXT_BYTES, 0, 0));
    assert_eq!(zstd, decompressor.zstd.context_bytes(), "kept for the next batch");
    assert!(gzip > 32 << 10, "its window alone");
    assert!(zstd > 64 << 10);
}

/// CODEC-1
///
/// Real bombs: 64 MiB of zeros against a limit of 1 MiB.
#[test]
fn bombs_end_in_a_typed_error_with_memory_bounded() {
    let zeros = vec![0; 64 * MIB];
    let mut large_blocks = FrameEncoder::with_frame_info(
        FrameInfo::new()
            .block_size(BlockSize::Max4MB)
            .block_mode(BlockMode::Independent),
        Vec::new(),
    );
    large_blocks.write_all(&zeros).unwrap();
    let raw_snappy = snap::raw::Encoder::new().compress_vec(&zeros).unwrap();
    let bombs = [
        (Codec::Gzip, compressed(Codec::Gzip, &zeros)),
        (Codec::Snappy, compressed(Codec::Snappy, &zeros)),
        (Codec::Snappy, raw_snappy),
        (Codec::Lz4, compressed(Codec::Lz4, &zeros)),
        (Codec::Lz4, large_blocks.finish().unwrap()),
        (Codec::Zstd, compressed(Codec::Zstd, &zeros)),
        // This one announces its size.
        (Codec::Zstd, zstd::bulk::compress(&zeros, 3).unwrap()),
    ];
    drop(zeros);
    for (codec, bomb) in bombs {
        let mut out = Vec::new();
        let result = Decompressor::new().decompress(codec, &bomb, MIB, &mut out);
        assert_eq!(result, Err(CodecError::LimitExceeded { limit: MIB }), "{codec:?}");
        assert!(
            out.capacity() <= 2 * MIB + 1,
            "{codec:?} reserved {}",
            out.capacity()
        );
    }
}

#[test]
fn announced_sizes_reserve_nothing() {
    // Raw snappy: 4 GiB - 1 announced in 5 bytes; then 1 MiB, within the limit, in ten.
    let four_gib = [0xff, 0xff, 0xff, 0xff, 0x0f, 0, 0, 0];
    let one_mib = [0x80, 0x80, 0x40, 0, 0, 0, 0, 0, 0, 0];
    // LZ4: content size 2^62, one stored block of one byte.
    let mut descriptor = vec![0x68, 0x40];
    descriptor.extend_from_slice(&(1u64 << 62).to_le_bytes());
    let checksum = (twox_hash::XxHash32::oneshot(0, &descriptor) >> 8) as u8;
    let mut lz4 = 0x184d_2204u32.to_le_bytes().to_vec();
    lz4.extend_from_slice(&descriptor);
    lz4.extend_from_slice(&[checksum, 1, 0, 0, 0x80, b'x', 0, 0, 0, 0]);
    // Zstandard: single segment of 2^40 bytes; windows of 2^28 and of 2^27 around one raw byte.
    let mut segment = vec![0x28, 0xb5, 0x2f, 0xfd, 0xe0];
    segment.extend_from_slice(&(1u64 << 40).to_le_bytes());
    segment.extend_from_slice(&[9, 0, 0, b'x']);
    let window = |log: u8| [0x28, 0xb5, 0x2f, 0xfd, 0, (log - 10) << 3, 9, 0, 0, b'x'];
    let cases: [(Codec, &[u8], bool); 6] = [
        (Codec::Snappy, &four_gib, false),
        (Codec::Snappy, &one_mib, false),
        (Codec::Lz4, &lz4, true),
        (Codec::Zstd, &segment, false),
        (Codec::Zstd, &window(28), false),
        (Codec::Zstd, &window(27), true),
    ];
    for (index, (codec, input, readable)) in cases.into_iter().enumerate() {
        let mut decompressor = Decompressor::new();
        let mut out = Vec::new();
        let result = decompressor.decompress(codec, input, 2 * MIB, &mut out);
        assert_eq!(result.is_ok(), readable, "case {index}: {result:?}");
        assert!(
            out.capacity() <= STEP_BYTES_MIN,
            "case {index}: {}",
            out.capacity()
        );
        assert_eq!(out, if readable { b"x".to_vec() } else { Vec::new() });
        // A window of 128 MiB is not kept.
        assert!(decompressor.zstd.context_bytes() <= CONTEXT_BYTES_KEPT);
    }
}

/// All of this was tried with the readers of kafka-clients 4.3.1; snappy's first line is where they differ.
#[test]
fn what_follows_a_stream_is_treated_as_java_treats_it() {
    let plain = lorem(6000);
    let twice = [plain.as_slice(), &plain].concat();
    for (codec, second, garbage, zeros) in [
        // Java ignores up to three bytes behind the last snappy block.
        (Codec::Snappy, Some(&twice), None, None),
        (Codec::Gzip, Some(&twice), Some(&plain), Some(&plain)),
        (Codec::Lz4, Some(&plain), Some(&plain), Some(&plain)),
        (Codec::Zstd, Some(&twice), None, None),
    ] {
        let one = compressed(codec, &plain);
        let nothing = compressed(codec, &[]);
        let read = |tail: &[u8]| decompressed(codec, &[one.as_slice(), tail].concat(), MIB).ok();
        assert_eq!(read(&one).as_ref(), second, "{codec:?} twice");
        assert_eq!(read(&[1]).as_ref(), garbage, "{codec:?} and a byte");
        assert_eq!(read(&[0; 40]).as_ref(), zeros, "{codec:?} and zeros");
        // An empty stream in front; LZ4 has only one frame.
        let expected = if codec == Codec::Lz4 { &[] } else { &plain[..] };
        let empty_first = decompressed(codec, &[nothing.as_slice(), &one].concat(), MIB);
        assert_eq!(empty_first.as_deref(), Ok(expected), "{codec:?} empty first");
        assert_eq!(decompressed(codec, &nothing, MIB).as_deref(), Ok(&[][..]));
    }
}

#[test]
fn every_truncation_is_an_error() {
    let plain = lorem(3000);
    for codec in [Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
        let input = compressed(codec, &plain);
        for end in 0..input.len() {
            // A snappy stream that is cut between two blocks is a shorter stream: nothing in it says where it ends.
            if codec == Codec::Snappy && end == snappy::HEADER_BYTES {
                continue;
            }
            let result = decompressed(codec, &input[..end], MIB);
            assert!(result.is_err(), "{codec:?} cut at {end} of {}", input.len());
        }
    }
}

#[test]
fn gzip_headers_with_every_field() {
    let plain = lorem(500);
    let mut encoder = GzBuilder::new()
        .extra(vec![7; 300])
        .filename("name")
        .comment("comment")
        .mtime(1)
        .write(Vec::new(), Compression::best());
    encoder.write_all(&plain).unwrap();
    let full = encoder.finish().unwrap();
    assert_eq!(decompressed(Codec::Gzip, &full, MIB).as_deref(), Ok(&plain[..]));
    for end in 0..full.len() {
        assert!(decompressed(Codec::Gzip, &full[..end], MIB).is_err());
    }
    // A header checksum, right and wrong.
    let body = &compressed(Codec::Gzip, &plain)[10..];
    let header = [0x1f, 0x8b, 8, 2, 0, 0, 0, 0, 0, 0xff];
    let checksum = crc_fast::crc32_iso_hdlc(&header) as u16;
    for (checksum, readable) in [(checksum, true), (checksum ^ 1, false)] {
        let input = [&header[..], &checksum.to_le_bytes(), body].concat();
        assert_eq!(decompressed(Codec::Gzip, &input, MIB).is_ok(), readable);
    }
    // Trailer: checksum and size.
    let good = compressed(Codec::Gzip, &plain);
    for from_end in [8, 4] {
        let mut wrong = good.clone();
        let position = wrong.len() - from_end;
        wrong[position] ^= 1;
        malformed(decompressed(Codec::Gzip, &wrong, MIB));
    }
    let mut method = good;
    method[2] = 7;
    malformed(decompressed(Codec::Gzip, &method, MIB));
}

#[test]
fn lz4_frames_with_checksums_and_sizes() {
    let plain = lorem(200_000);
    let frame = |info: FrameInfo| {
        let mut encoder = FrameEncoder::with_frame_info(info.block_mode(BlockMode::Independent), Vec::new());
        encoder.write_all(&plain).unwrap();
        encoder.finish().unwrap()
    };
    let info = || FrameInfo::new().block_size(BlockSize::Max64KB);
    for info in [
        info().block_checksums(true),
        info().content_checksum(true),
        info().content_size(Some(plain.len() as u64)),
        FrameInfo::new().block_size(BlockSize::Max256KB),
        FrameInfo::new().block_size(BlockSize::Max1MB),
        info()
            .block_checksums(true)
            .content_checksum(true)
            .content_size(Some(plain.len() as u64)),
    ] {
        let input = frame(info);
        assert_eq!(decompressed(Codec::Lz4, &input, MIB).as_deref(), Ok(&plain[..]));
        for end in (0..input.len()).rev().take(30) {
            assert_eq!(
                decompressed(Codec::Lz4, &input[..end], MIB),
                Err(CodecError::Truncated("lz4"))
            );
        }
    }
    // A flipped bit in a block is seen by its checksum.
    let mut flipped = frame(info().block_checksums(true));
    flipped[20] ^= 1;
    malformed(decompressed(Codec::Lz4, &flipped, MIB));
    // The content checksum is not looked at, as in Java.
    let mut flipped = frame(info().content_checksum(true));
    *flipped.last_mut().unwrap() ^= 1;
    assert!(decompressed(Codec::Lz4, &flipped, MIB).is_ok());
    // Each for its own reason: but for the checksum itself, the checksum is right.
    let good = frame(info());
    for (position, mask, what) in [
        (0, 1, "this is not an LZ4 frame"),
        (4, 0x80, "the frame's version is not 1"),
        (4, 0x20, "blocks depend on one another"),
        (4, 0x01, "a reserved bit is set, or a dictionary asked for"),
        (5, 0x01, "a reserved bit is set, or a dictionary asked for"),
        (5, 0x80, "a reserved bit is set, or a dictionary asked for"),
        (5, 0x70, "the block size is unknown"),
        (6, 1, "the header's checksum does not match"),
    ] {
        let mut broken = good.clone();
        broken[position] ^= mask;
        if position != 6 {
            broken[6] = (twox_hash::XxHash32::oneshot(0, &broken[4..6]) >> 8) as u8;
        }
        let refused = CodecError::Malformed { codec: "lz4", what };
        assert_eq!(decompressed(Codec::Lz4, &broken, MIB), Err(refused));
    }
    let mut linked = FrameEncoder::with_frame_info(info().block_mode(BlockMode::Linked), Vec::new());
    linked.write_all(&plain).unwrap();
    malformed(decompressed(Codec::Lz4, &linked.finish().unwrap(), MIB));
}

#[test]
fn lz4_blocks_at_and_over_their_size() {
    // Stored blocks of exactly 64 KiB and of one byte more, in a frame of 64 KiB blocks.
    for (size, readable) in [(64 << 10, true), ((64 << 10) + 1, false)] {
        let mut frame = compressed(Codec::Lz4, &[])[..7].to_vec();
        frame.extend_from_slice(&(size as u32 | 0x8000_0000).to_le_bytes());
        frame.extend_from_slice(&vec![b'x'; size]);
        frame.extend_from_slice(&[0; 4]);
        assert_eq!(decompressed(Codec::Lz4, &frame, MIB).is_ok(), readable);
    }
    // A compressed block that holds more than 64 KiB.
    for (size, readable) in [(64 << 10, true), ((64 << 10) + 1, false)] {
        let mut frame = compressed(Codec::Lz4, &[])[..7].to_vec();
        let block = lz4_flex::block::compress(&vec![b'x'; size]);
        frame.extend_from_slice(&(block.len() as u32).to_le_bytes());
        frame.extend_from_slice(&block);
        frame.extend_from_slice(&[0; 4]);
        for limit in [MIB, 64 << 10] {
            let result = decompressed(Codec::Lz4, &frame, limit);
            if readable {
                assert_eq!(result.map(|plain| plain.len()), Ok(size));
            } else {
                malformed(result);
            }
        }
        let limit = (64 << 10) - 1;
        let exceeded = Err(CodecError::LimitExceeded { limit });
        assert_eq!(decompressed(Codec::Lz4, &frame, limit), exceeded);
    }
}

#[test]
fn snappy_framing_by_hand() {
    let block = |plain: &[u8]| snap::raw::Encoder::new().compress_vec(plain).unwrap();
    let framed = |version: i32, blocks: &[(i32, &[u8])]| {
        let mut stream = snappy::MAGIC.to_vec();
        stream.extend_from_slice(&version.to_be_bytes());
        stream.extend_from_slice(&1i32.to_be_bytes());
        for (length, block) in blocks {
            stream.extend_from_slice(&length.to_be_bytes());
            stream.extend_from_slice(block);
        }
        stream
    };
    let (one, two) = (block(b"one "), block(b"two"));
    let lengths = (one.len() as i32, two.len() as i32);
    let good = framed(1, &[(lengths.0, &one), (lengths.1, &two)]);
    assert_eq!(
        decompressed(Codec::Snappy, &good, 7).as_deref(),
        Ok(&b"one two"[..])
    );
    assert_eq!(
        decompressed(Codec::Snappy, &good, 6),
        Err(CodecError::LimitExceeded { limit: 6 })
    );
    assert_eq!(
        decompressed(Codec::Snappy, &one, MIB).as_deref(),
        Ok(&b"one "[..])
    );
    malformed(decompressed(Codec::Snappy, &framed(0, &[(lengths.0, &one)]), MIB));
    malformed(decompressed(Codec::Snappy, &framed(1, &[(-1, &one)]), MIB));
    let truncated = Err(CodecError::Truncated("snappy"));
    assert_eq!(
        decompressed(Codec::Snappy, &framed(1, &[(i32::MAX, &one)]), MIB),
        truncated
    );
    assert_eq!(
        decompressed(Codec::Snappy, &framed(1, &[(0, &[])]), MIB),
        truncated
    );
    assert_eq!(decompressed(Codec::Snappy, &[], MIB), truncated);
}

#[test]
fn zstd_skippable_frames_and_dictionaries() {
    let plain = lorem(1000);
    let one = compressed(Codec::Zstd, &plain);
    let skippable = [0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3];
    let mixed = [&skippable[..], &one, &skippable].concat();
    assert_eq!(decompressed(Codec::Zstd, &mixed, MIB).as_deref(), Ok(&plain[..]));
    let mut compressor = zstd::bulk::Compressor::with_dictionary(3, &plain).unwrap();
    let with_dictionary = compressor.compress(&plain).unwrap();
    assert!(decompressed(Codec::Zstd, &with_dictionary, MIB).is_err());
}

/// CODEC-5.
#[test]
fn a_batch_of_nothing_but_records_is_one_stream() {
    let read = |codec, input: &[u8]| {
        let mut decompression = Decompressor::new().begin(codec, 0, MIB).unwrap().records_only();
        let mut out = Vec::with_capacity(4 * MIB);
        loop {
            match decompression.step(input, &mut out)? {
                Stepped::More => {}
                Stepped::Finished => break,
                Stepped::Room(bytes) => out.reserve(bytes),
            }
        }
        out.truncate(decompression.end());
        Ok(out)
    };
    let skippable = [0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3];
    for (plain, codec) in [1, 6000, 200_000, MIB]
        .into_iter()
        .flat_map(|bytes| CODECS[1..].iter().map(move |codec| (lorem(bytes), *codec)))
    {
        let one = compressed(codec, &plain);
        assert_eq!(read(codec, &one).as_ref(), Ok(&plain));
        for behind in [
            &one,
            &compressed(codec, &[]),
            &b"text"[..],
            &[0],
            &[0; 40],
            &skippable,
        ] {
            let followed = [one.as_slice(), behind].concat();
            assert!(read(codec, &followed).is_err(), "{codec:?} and {behind:?}");
        }
    }
    let plain = lorem(1000);
    malformed(read(
        Codec::Zstd,
        &[&skippable[..], &compressed(Codec::Zstd, &plain)].concat(),
    ));
    for header in [
        GzBuilder::new().extra("text"),
        GzBuilder::new().filename("text"),
        GzBuilder::new().comment("text"),
    ] {
        let mut encoder = header.write(Vec::new(), Compression::best());
        encoder.write_all(&plain).unwrap();
        malformed(read(Codec::Gzip, &encoder.finish().unwrap()));
    }
    for version in [8..12, 12..16] {
        let mut stream = compressed(Codec::Snappy, &plain);
        stream[version].copy_from_slice(b"\0ext");
        malformed(read(Codec::Snappy, &stream));
    }
    // One block without framing.
    let block = snap::raw::Encoder::new().compress_vec(&plain).unwrap();
    assert_eq!(read(Codec::Snappy, &block).as_ref(), Ok(&plain));
    assert!(read(Codec::Snappy, &[&block[..], b"text"].concat()).is_err());
}

/// What each step made, and what it used of the input.
type Steps = Vec<(usize, usize)>;

/// CODEC-3: all steps, and what came out.
fn steps(codec: Codec, input: &[u8], limit: usize) -> (Steps, Result<Vec<u8>, CodecError>) {
    steps_over(Vec::new(), codec, input, limit)
}

/// The same where the output has something in its place already.
fn steps_over(
    mut out: Vec<u8>,
    codec: Codec,
    input: &[u8],
    limit: usize,
) -> (Steps, Result<Vec<u8>, CodecError>) {
    let mut decompressor = Decompressor::new();
    let mut decompression = decompressor.begin(codec, 0, limit).unwrap();
    let mut steps = Vec::new();
    loop {
        let before = (decompression.end(), decompression.consumed());
        let capacity = out.capacity();
        let stepped = decompression.step(input, &mut out);
        assert_eq!(out.capacity(), capacity, "who has it decompressed makes the room");
        match stepped {
            Ok(Stepped::Room(bytes)) => {
                let after = (decompression.end(), decompression.consumed());
                assert_eq!(after, before, "nothing was done");
                assert_eq!(out.len(), before.0, "whoever makes room moves nothing else");
                out.reserve_exact(bytes);
            }
            Ok(progress) => {
                steps.push((
                    decompression.end() - before.0,
                    decompression.consumed() - before.1,
                ));
                if progress == Stepped::Finished {
                    out.truncate(decompression.end());
                    return (steps, Ok(out));
                }
            }
            Err(error) => return (steps, Err(error)),
        }
    }
}

#[test]
fn long_batches_are_decompressed_in_short_steps() {
    let zeros = vec![0; 8 * MIB];
    let noise: Vec<u8> = (0..3 * MIB as u32)
        .map(|number| (number.wrapping_mul(2_654_435_761) >> 13) as u8)
        .collect();
    let raw = |plain: &[u8]| snap::raw::Encoder::new().compress_vec(plain).unwrap();
    for plain in [&zeros, &noise, &lorem(3 * MIB)] {
        let inputs = CODECS.map(|codec| (codec, compressed(codec, plain)));
        for (codec, input) in inputs.into_iter().chain([(Codec::Snappy, raw(plain))]) {
            let (steps, out) = steps(codec, &input, plain.len());
            assert!(out.as_deref() == Ok(plain), "{codec:?}");
            let used: usize = steps.iter().map(|(_, used)| used).sum();
            // All but the end mark of LZ4, behind which nothing is looked at.
            let end_mark = if codec == Codec::Lz4 { 4 } else { 0 };
            assert_eq!(used, input.len() - end_mark, "{codec:?}");
            for (made, used) in &steps {
                assert!(
                    *made <= STEP_BYTES_MAX && *used <= STEP_BYTES_MAX + 100,
                    "{codec:?}: {made}, {used}"
                );
            }
        }
    }
    // The longest blocks that there are: begun, then step by step.
    let (steps, out) = steps(Codec::Lz4, &in_blocks_of_4_mib(&zeros), zeros.len());
    assert!(out.as_ref() == Ok(&zeros));
    assert_eq!(steps.iter().map(|(made, _)| *made).max(), Some(STEP_BYTES_MAX));
    // A block that can hold no more than 1 MiB is a step.
    let plain = &zeros[..MIB];
    let (steps, out) = self::steps(Codec::Lz4, &in_blocks_of_4_mib(plain), MIB);
    assert!(out.as_deref() == Ok(plain));
    assert_eq!(steps.iter().map(|(made, _)| *made).max(), Some(MIB));
}

fn in_blocks_of_4_mib(plain: &[u8]) -> Vec<u8> {
    let info = FrameInfo::new()
        .block_size(BlockSize::Max4MB)
        .block_mode(BlockMode::Independent)
        .block_checksums(true);
    let mut frame = FrameEncoder::with_frame_info(info, Vec::new());
    frame.write_all(plain).unwrap();
    frame.finish().unwrap()
}

/// A frame around one block of LZ4 of at most 4 MiB.
fn around_block(block: &[u8]) -> Vec<u8> {
    let mut frame = vec![0x04, 0x22, 0x4d, 0x18, 0x60, 0x70, 0x73];
    frame.extend_from_slice(&(block.len() as u32).to_le_bytes());
    frame.extend_from_slice(block);
    frame.extend_from_slice(&[0; 4]);
    frame
}

/// A block of LZ4 that is a long one, with this at its end.
fn long_lz4_block(tail: &[u8]) -> Vec<u8> {
    let plain = [&vec![7; 2 * MIB], &lorem(60_000)[..], tail].concat();
    lz4_flex::block::compress(&plain)
}

/// CODEC-1: what a long block is refused for; what the topic allows comes before what a block may have.
#[test]
fn long_lz4_blocks_end_where_they_may() {
    let good = long_lz4_block(b"tail");
    let bytes = 2 * MIB + 60_004;
    let read =
        |block: &[u8], limit| decompressed(Codec::Lz4, &around_block(block), limit).map(|out| out.len());
    assert_eq!(read(&good, bytes), Ok(bytes));
    for limit in [bytes - 1, MIB + 1] {
        assert_eq!(read(&good, limit), Err(CodecError::LimitExceeded { limit }));
    }
    let invalid = CodecError::Malformed {
        codec: "lz4",
        what: "a block is invalid",
    };
    for cut in [1, 2, 5, 1000, good.len() - 20, good.len() - 3] {
        assert_eq!(read(&good[..good.len() - cut], bytes), Err(invalid), "{cut}");
    }
    // Four literals, then a match: of nothing, from in front of the block, without an end, longer than a block.
    let with = |rest: &[u8]| {
        let mut block = [b"\x4fabcd", rest].concat();
        block.resize(20_000, 255);
        read(&block, 8 * MIB)
    };
    for (rest, why) in [
        (&[0, 0, 0][..], "distance 0"),
        (&[5, 0, 0], "distance 5"),
        (&[4, 0], "no end"),
    ] {
        assert_eq!(with(rest), Err(invalid), "{why}");
    }
    let of_4_mib = lz4_flex::block::compress(&vec![7; 4 * MIB]);
    assert_eq!(read(&of_4_mib, 8 * MIB), Ok(4 * MIB));
    let longer = lz4_flex::block::compress(&vec![7; 4 * MIB + 1]);
    assert_eq!(read(&longer, 8 * MIB), Err(invalid));
    // Its checksum is looked at behind its last step.
    let mut frame = in_blocks_of_4_mib(&vec![7; 2 * MIB]);
    let checksum = frame.len() - 12;
    frame[checksum] ^= 1;
    malformed(decompressed(Codec::Lz4, &frame, 2 * MIB));
}

/// Streams that make nothing for as long as they please, one thing after the other.
#[test]
fn what_makes_nothing_takes_short_steps_too() {
    let nothing = |codec| compressed(codec, &[]);
    // Empty blocks of zstd: raw, of no byte, not the last.
    let mut blocks = vec![0x28, 0xb5, 0x2f, 0xfd, 0, 0x58];
    blocks.extend_from_slice(&[0; 3 * 400_000]);
    // And of gzip: stored, of no byte, not the last.
    let mut stored = nothing(Codec::Gzip)[..10].to_vec();
    stored.extend_from_slice(&[0, 0, 0, 0xff, 0xff].repeat(100_000));
    let mut lz4 = nothing(Codec::Lz4)[..7].to_vec();
    let empty_block = lz4_flex::block::compress(&[]);
    for _ in 0..10_000 {
        lz4.extend_from_slice(&(empty_block.len() as u32).to_le_bytes());
        lz4.extend_from_slice(&empty_block);
    }
    let framing = nothing(Codec::Snappy);
    for (codec, input) in [
        (Codec::Gzip, nothing(Codec::Gzip).repeat(10_000)),
        (Codec::Gzip, stored),
        (Codec::Zstd, nothing(Codec::Zstd).repeat(40_000)),
        (Codec::Zstd, blocks),
        (Codec::Lz4, lz4),
        (Codec::Snappy, framing.repeat(10_000)),
    ] {
        let (steps, _) = steps(codec, &input, MIB);
        assert!(steps.len() > 1, "{codec:?}");
        assert!(
            steps
                .iter()
                .all(|(made, used)| *made == 0 && *used <= STEP_BYTES_MAX),
            "{codec:?}"
        );
    }
}

#[test]
fn a_name_in_a_gzip_header_is_looked_at_so_far() {
    let plain = lorem(500);
    let named = |bytes: usize| {
        let mut encoder = GzBuilder::new()
            .filename(vec![b'n'; bytes])
            .write(Vec::new(), Compression::best());
        encoder.write_all(&plain).unwrap();
        encoder.finish().unwrap()
    };
    // With the zero behind it.
    let longest = (64 << 10) - 1;
    assert_eq!(
        decompressed(Codec::Gzip, &named(longest), MIB).as_deref(),
        Ok(&plain[..])
    );
    assert!(decompressed(Codec::Gzip, &named(longest + 1), MIB).is_err());
}

/// A block of `snap` padded with literals until it is a long one.
fn long_block(tail: &[u8]) -> Vec<u8> {
    let mut plain = vec![7; MIB];
    plain.extend_from_slice(tail);
    snap::raw::Encoder::new().compress_vec(&plain).unwrap()
}

/// CODEC-3: what does not compress is longer than what it holds.
#[test]
fn a_snappy_block_of_one_mib_is_a_step_unless_it_is_longer_itself() {
    let zeros = vec![0; MIB];
    let block = snap::raw::Encoder::new().compress_vec(&zeros).unwrap();
    let (in_one, out) = steps(Codec::Snappy, &block, MIB);
    assert!(out.as_ref() == Ok(&zeros));
    assert_eq!(in_one, [(MIB, block.len())]);
    let noise: Vec<u8> = (0..MIB as u32)
        .map(|seed| twox_hash::XxHash32::oneshot(seed, b"") as u8)
        .collect();
    let block = snap::raw::Encoder::new().compress_vec(&noise).unwrap();
    assert!(block.len() > MIB);
    let (steps, out) = steps(Codec::Snappy, &block, MIB);
    assert!(out.as_ref() == Ok(&noise));
    assert!(steps.iter().all(|(made, _)| *made <= STEP_BYTES_MAX));
}

/// A block of snappy by hand: the length that it announces, and a literal.
fn one_literal(announced: &[u8], literal: &[u8]) -> Vec<u8> {
    let length = (literal.len() as u32 - 1).to_le_bytes();
    [announced, &[62 << 2], &length[..3], literal].concat()
}

/// The library never writes an offset of four bytes; others may.
#[test]
fn a_long_snappy_block_may_copy_from_far_back() {
    let mut plain = lorem(MIB);
    let mut block = one_literal(&[0xa5, 0x80, 0x40], &plain);
    let (length, offset) = (37, 700_000);
    block.push(((length - 1) << 2 | 3) as u8);
    block.extend_from_slice(&(offset as u32).to_le_bytes());
    let from = plain.len() - offset;
    plain.extend_from_within(from..from + length);
    assert_eq!(
        snap::raw::Decoder::new().decompress_vec(&block).ok(),
        Some(plain.clone())
    );
    assert!(decompressed(Codec::Snappy, &block, plain.len()) == Ok(plain));
}

/// The library writes none that is longer than 64 KiB, of which four fill a step exactly; others may.
#[test]
fn a_literal_of_a_snappy_block_may_take_many_steps() {
    let plain = lorem(MIB + MIB / 2);
    let block = one_literal(&[0x80, 0x80, 0x60], &plain);
    let (steps, out) = steps(Codec::Snappy, &block, plain.len());
    assert!(out.as_ref() == Ok(&plain));
    let made: Vec<usize> = steps.iter().map(|(made, _)| *made).collect();
    let begun_and_six = [&[0][..], &[STEP_BYTES_MAX; 6]].concat();
    assert_eq!(made, begun_and_six);
}

#[test]
fn long_snappy_blocks_end_where_they_say() {
    let good = long_block(b"tail");
    assert_eq!(
        decompressed(Codec::Snappy, &good, 2 * MIB).map(|out| out.len()),
        Ok(MIB + 4)
    );
    for cut in [1, 2, 5, good.len() / 2, good.len() - 4] {
        assert!(decompressed(Codec::Snappy, &good[..good.len() - cut], 2 * MIB).is_err());
    }
    malformed(decompressed(
        Codec::Snappy,
        &[&good[..], &[0, b'x']].concat(),
        2 * MIB,
    ));
    // A copy from before the block: 1 MiB and a byte announced, the first tag is a copy with offset 1.
    let mut early = vec![0x81, 0x80, 0x40, 0b0000_0001, 1];
    early.extend_from_slice(&[0xff; 100_000]);
    malformed(decompressed(Codec::Snappy, &early, 2 * MIB));
}

proptest! {
    // Each holds a megabyte.
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn long_snappy_blocks_are_what_the_library_makes_of_them(
        pieces in prop::collection::vec((any::<[u8; 3]>(), 1usize..3000), 1..200),
        damage in prop::option::of((any::<prop::sample::Index>(), any::<u8>())),
    ) {
        let tail: Vec<u8> = pieces.iter().flat_map(|(bytes, count)| bytes.repeat(*count)).collect();
        let mut block = long_block(&tail);
        if let Some((index, byte)) = damage {
            let position = index.index(block.len() - 5) + 5;
            block[position] = byte;
        }
        let library = snap::raw::Decoder::new().decompress_vec(&block).ok();
        let ours = decompressed(Codec::Snappy, &block, 2 * MIB).ok();
        prop_assert!(ours == library);
    }

    #[test]
    fn long_lz4_blocks_are_what_the_library_makes_of_them(
        pieces in prop::collection::vec((any::<[u8; 3]>(), 1usize..3000), 1..100),
        damage in prop::option::of((any::<prop::sample::Index>(), any::<u8>())),
    ) {
        let tail: Vec<u8> = pieces.iter().flat_map(|(bytes, count)| bytes.repeat(*count)).collect();
        let mut block = long_lz4_block(&tail);
        if let Some((index, byte)) = damage {
            let position = index.index(block.len());
            block[position] = byte;
        }
        let library = lz4_flex::block::decompress(&block, 4 * MIB).ok();
        let (steps, ours) = steps_over(vec![0xaa; MIB], Codec::Lz4, &around_block(&block), 4 * MIB);
        prop_assert!(ours.ok() == library, "CODEC-4 as well");
        prop_assert!(steps.iter().all(|(made, _)| *made <= STEP_BYTES_MAX));
    }
}

proptest! {
    #[test]
    fn what_is_compressed_comes_back(
        pieces in prop::collection::vec((any::<u8>(), 1usize..5000), 0..40),
        noise in prop::collection::vec(any::<u8>(), 0..2000),
    ) {
        let mut plain: Vec<u8> = pieces.iter().flat_map(|&(byte, count)| vec![byte; count]).collect();
        plain.extend_from_slice(&noise);
        for codec in CODECS {
            let input = compressed(codec, &plain);
            prop_assert_eq!(decompressed(codec, &input, plain.len()), Ok(plain.clone()));
        }
    }

    /// CODEC-4
    #[test]
    fn what_stood_in_the_place_of_the_records_is_never_seen(
        pieces in prop::collection::vec((any::<u8>(), 1usize..3000), 1..20),
        raw in prop::collection::vec(any::<u8>(), 1..200),
        damage in prop::option::of((any::<prop::sample::Index>(), any::<u8>())),
        stood in 0usize..200_000,
    ) {
        let plain: Vec<u8> = pieces.iter().flat_map(|&(byte, count)| vec![byte; count]).collect();
        let mut any_block = compressed(Codec::Lz4, &[])[..7].to_vec();
        any_block.extend_from_slice(&(raw.len() as u32).to_le_bytes());
        any_block.extend_from_slice(&raw);
        any_block.extend_from_slice(&[0; 4]);
        let inputs = CODECS.map(|codec| (codec, compressed(codec, &plain)));
        for (codec, mut input) in inputs.into_iter().chain([(Codec::Lz4, any_block)]) {
            if let Some((index, byte)) = damage {
                let position = index.index(input.len());
                input[position] = byte;
            }
            let fresh = steps(codec, &input, 100_000).1;
            for byte in [0, 0xaa] {
                let found = steps_over(vec![byte; stood], codec, &input, 100_000).1;
                prop_assert!(found == fresh, "{codec:?} {byte}");
            }
        }
    }

    #[test]
    fn damaged_and_random_streams_never_panic(
        noise in prop::collection::vec(any::<u8>(), 0..200),
        writes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let plain = lorem(2000);
        for codec in CODECS {
            let _ = decompressed(codec, &noise, 100_000);
            let mut input = compressed(codec, &plain);
            for (index, byte) in &writes {
                let position = index.index(input.len());
                input[position] = *byte;
            }
            if let Ok(out) = decompressed(codec, &input, 100_000) {
                prop_assert!(out.len() <= 100_000);
            }
        }
    }
}
