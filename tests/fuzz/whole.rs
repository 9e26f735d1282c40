//! Frames written anew to their end, by the step-by-step interfaces that the pipeline drives; small steps, so that they
//! end everywhere.

use sealwire::protocol::ProtocolError;
use sealwire::protocol::addresses::Rewrite;
use sealwire::protocol::fetch_response::{FetchStream, Walked};
use sealwire::protocol::partitions::{RecordsRewriting, RecordsStep, ResponsePartitions};
use sealwire::protocol::produce_request::{ProduceRequest, Rewriting, Writing};

/// What becomes of a partition of a response.
#[derive(Clone, Copy)]
pub(crate) enum Becomes<'a> {
    Kept,
    Blank(Option<i16>),
    Records(&'a [u8]),
}

/// Writes a response with what `each` says of its partitions. One in which nothing is changed goes on as it is.
pub(crate) fn rewrite_records<'r, 'm>(
    layout: &ResponsePartitions,
    frame: &[u8],
    out: &mut Vec<u8>,
    each: &mut dyn FnMut(usize) -> Becomes<'r>,
    addresses: &mut dyn FnMut(i32) -> Rewrite<'m>,
) -> Result<(), ProtocolError> {
    let mut rewriting = RecordsRewriting::default();
    let mut records = &b""[..];
    let mut decided = 0;
    loop {
        let before = out.len();
        let step = rewriting.advance(layout, frame, out, STEP_BYTES, addresses)?;
        let written = out.len().saturating_sub(before);
        assert!(
            decided == layout.len() || written <= STEP_BYTES + LENGTHS_BYTES,
            "RESPONSE-4"
        );
        match step {
            RecordsStep::Copied => {}
            RecordsStep::Partition(position) => {
                decided += 1;
                match each(position) {
                    Becomes::Kept => rewriting.keep(layout)?,
                    Becomes::Blank(code) => rewriting.blank(layout, code)?,
                    Becomes::Records(new) => {
                        records = new;
                        rewriting.replace(layout)?;
                    }
                }
            }
            RecordsStep::Records(_) if records.is_empty() => rewriting.end_records(layout, out)?,
            RecordsStep::Records(_) => {
                let (piece, rest) = records.split_at(records.len().min(STEP_BYTES));
                rewriting.widen(out)?;
                out.extend_from_slice(piece);
                records = rest;
            }
            RecordsStep::End { changed: true } => return Ok(()),
            RecordsStep::End { changed: false } => {
                out.extend(u32::try_from(frame.len()).unwrap().to_be_bytes());
                out.extend_from_slice(frame);
                return Ok(());
            }
        }
    }
}

/// Walks a Fetch response of which `piece_bytes` come at a time, as it streams; `each` is told what it is made of.
pub(crate) fn stream_fetch<'a>(
    frame: &'a [u8],
    version: i16,
    piece_bytes: usize,
    each: &mut dyn FnMut(&'a [u8], Walked<'a>),
) -> Result<(), ProtocolError> {
    let mut stream = FetchStream::begin(version, frame.len())?;
    let mut here = 0;
    loop {
        let at = stream.position();
        let Some((bytes, walked)) = stream.walk(&frame[at..here])? else {
            assert!(here < frame.len(), "it is all there");
            assert!(here - at < FIELD_BYTES_MAX, "STREAM-WALK-3");
            here = frame.len().min(here + piece_bytes);
            continue;
        };
        assert_eq!(stream.position(), at + bytes);
        if walked == Walked::End {
            assert_eq!(stream.position(), frame.len(), "STREAM-WALK-2");
            return Ok(());
        }
        each(&frame[at..at + bytes], walked);
    }
}

/// What becomes of a partition of a request.
#[derive(Clone, Copy)]
pub(crate) enum ProducedBecomes {
    /// It goes on as it came; what the callback appended is taken back.
    Kept,
    /// Its records are what the callback appended.
    Written,
    /// It is left out; what the callback appended is taken back.
    Cut,
}

/// Writes a request with what `each` makes of its partitions: it may append new records.
pub(crate) fn rewrite_produce(
    layout: &ProduceRequest,
    frame: &[u8],
    out: &mut Vec<u8>,
    each: &mut dyn FnMut(usize, &mut Vec<u8>) -> ProducedBecomes,
) -> Result<(), ProtocolError> {
    let mut rewriting = Rewriting::begin(layout, frame, out)?;
    loop {
        match rewriting.advance(layout, frame, out, STEP_BYTES)? {
            Writing::Copied(_) => {}
            Writing::Partition(_) => rewriting.records(layout)?,
            Writing::Records(position) => match each(position, out) {
                ProducedBecomes::Kept => rewriting.keep(layout, out)?,
                ProducedBecomes::Written => rewriting.written(layout, out)?,
                ProducedBecomes::Cut => rewriting.cut(layout, out)?,
            },
            Writing::End => return Ok(()),
        }
    }
}

const STEP_BYTES: usize = 37;
/// Of the frame, and of records.
const LENGTHS_BYTES: usize = 4 + 5;
/// A name with its length, and a count.
const FIELD_BYTES_MAX: usize = 0x7fff + 5 + 5;
