//! Zstandard (RFC 8878): frames, skippable ones included, follow one another to the input's end, as zstd-jni reads them.

use zstd::zstd_safe::{
    CCtx, CParameter, DCtx, DParameter, InBuffer, OutBuffer, ResetDirective, get_error_name,
    get_frame_content_size,
};

use super::{CONTEXT_BYTES_KEPT, CodecError, Output};

/// Decodes frames; the context, and with it the window, is kept.
#[derive(Default)]
pub(super) struct Decoder {
    context: Option<DCtx<'static>>,
}

impl Decoder {
    pub(super) fn decompress(&mut self, input: &[u8], output: &mut Output<'_>) -> Result<(), CodecError> {
        let mut context = match self.context.take() {
            Some(context) => context,
            None => DCtx::try_create().ok_or(CodecError::OutOfMemory)?,
        };
        let result = decompress_with(&mut context, input, output);
        // A window is as large as a frame announces (touched only as far as it is filled): not to be kept for ever.
        if context.sizeof() <= CONTEXT_BYTES_KEPT {
            self.context = Some(context);
        }
        result
    }

    #[cfg(test)]
    pub(super) fn context_bytes(&self) -> usize {
        self.context.as_ref().map_or(0, DCtx::sizeof)
    }
}

pub(super) fn compress(records: &[u8], out: &mut Vec<u8>) -> Result<(), CodecError> {
    let mut context = CCtx::try_create().ok_or(CodecError::OutOfMemory)?;
    context
        .set_parameter(CParameter::CompressionLevel(zstd::DEFAULT_COMPRESSION_LEVEL))
        .map_err(|_| CodecError::Compress(NAME))?;
    out.reserve(zstd::zstd_safe::compress_bound(records.len()));
    let at = out.len();
    let mut target = OutBuffer::around_pos(out, at);
    let mut source = InBuffer::around(records);
    // Streamed like Java's: the frame does not announce its content's size.
    context
        .compress_stream(&mut target, &mut source)
        .map_err(|_| CodecError::Compress(NAME))?;
    match context.end_stream(&mut target) {
        Ok(0) if source.pos() == records.len() => Ok(()),
        _ => Err(CodecError::Compress(NAME)),
    }
}

fn decompress_with(context: &mut DCtx<'_>, input: &[u8], output: &mut Output<'_>) -> Result<(), CodecError> {
    context.reset(ResetDirective::SessionOnly).map_err(error)?;
    context
        .set_parameter(DParameter::WindowLogMax(WINDOW_LOG_MAX))
        .map_err(error)?;
    // With room for all of a frame's content, the window is not needed: zstd decodes in place.
    let announced = match get_frame_content_size(input) {
        Ok(Some(announced)) => usize::try_from(announced).unwrap_or(usize::MAX),
        Ok(None) | Err(_) => 0,
    };
    let plausible = input.len().saturating_mul(PLAUSIBLE_EXPANSION);
    let mut source = InBuffer::around(input);
    loop {
        output.grow(announced, plausible)?;
        let (taken, produced) = (source.pos(), output.bytes.len());
        let mut target = OutBuffer::around_pos(output.bytes, produced);
        let hint = context
            .decompress_stream(&mut target, &mut source)
            .map_err(error)?;
        if output.produced() > output.limit {
            return Err(output.exceeded());
        }
        if source.pos() == input.len() && hint == 0 {
            return Ok(());
        }
        if source.pos() == taken && output.bytes.len() == produced {
            return Err(CodecError::Truncated(NAME));
        }
    }
}

fn error(code: usize) -> CodecError {
    CodecError::Malformed {
        codec: NAME,
        what: get_error_name(code),
    }
}

const NAME: &str = "zstd";

/// 128 MiB, what every reader of Kafka accepts.
const WINDOW_LOG_MAX: u32 = 27;

/// How far an announced size is believed before bytes have shown it; more is grown into.
const PLAUSIBLE_EXPANSION: usize = 16;
