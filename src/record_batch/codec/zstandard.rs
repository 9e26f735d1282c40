//! Zstandard (RFC 8878): frames, skippable ones included, follow one another to the input's end, as zstd-jni reads
//! them.

use zstd::zstd_safe::{
    DCtx, DParameter, InBuffer, OutBuffer, ResetDirective, get_error_name, get_frame_content_size,
};

use super::{BEHIND, CONTEXT_BYTES_KEPT, CodecError, Output, Stepped};

/// The context of the last stream, and with it its window, to be used again.
#[derive(Default)]
pub(super) struct Contexts {
    context: Option<DCtx<'static>>,
}

impl Contexts {
    pub(super) fn begin(&mut self) -> Result<Reading, CodecError> {
        let mut context = match self.context.take() {
            Some(context) => context,
            None => DCtx::try_create().ok_or(CodecError::OutOfMemory)?,
        };
        context.reset(ResetDirective::SessionOnly).map_err(error)?;
        context
            .set_parameter(DParameter::WindowLogMax(WINDOW_LOG_MAX))
            .map_err(error)?;
        Ok(Reading { context })
    }

    pub(super) fn end(&mut self, reading: Reading) {
        // A window is as large as a frame announces (touched only as far as it is filled): not to be kept for ever.
        if reading.context.sizeof() <= CONTEXT_BYTES_KEPT {
            self.context = Some(reading.context);
        }
    }

    #[cfg(test)]
    pub(super) fn context_bytes(&self) -> usize {
        self.context.as_ref().map_or(0, DCtx::sizeof)
    }
}

/// Frames that are half read.
pub(super) struct Reading {
    context: DCtx<'static>,
}

impl Reading {
    pub(super) fn step(
        &mut self,
        input: &[u8],
        at: &mut usize,
        output: &mut Output<'_>,
    ) -> Result<Stepped, CodecError> {
        // With room for all of a frame's content, the window is not needed: zstd decodes in place.
        let announced = match get_frame_content_size(input) {
            Ok(Some(announced)) => usize::try_from(announced).unwrap_or(usize::MAX),
            Ok(None) | Err(_) => 0,
        };
        let plausible = input.len().saturating_mul(PLAUSIBLE_EXPANSION);
        let window = output.streaming_window(announced, plausible)?;
        if let Some(room) = output.room_for(window) {
            return Ok(room);
        }
        let rest = input.get(*at..).unwrap_or_default();
        let mut source = InBuffer::around(rest.get(..INPUT_STEP_BYTES).unwrap_or(rest));
        let mut target = OutBuffer::around(output.window(window));
        let hint = self
            .context
            .decompress_stream(&mut target, &mut source)
            .map_err(error)?;
        let (taken, made) = (source.pos(), target.pos());
        output.add(made);
        *at = at.saturating_add(taken);
        if output.produced() > output.limit {
            return Err(output.exceeded());
        }
        // A frame has ended, a skippable one perhaps.
        if hint == 0 {
            if *at == input.len() {
                return Ok(Stepped::Finished);
            }
            output.pass_over(NAME, BEHIND)?;
        }
        if taken == 0 && made == 0 {
            return Err(CodecError::Truncated(NAME));
        }
        Ok(Stepped::More)
    }

    /// What the context owns. A window counts as long as it may become, although it is touched only as far as it is
    /// filled.
    pub(super) fn bytes_held(&self) -> usize {
        self.context.sizeof()
    }
}

fn error(code: usize) -> CodecError {
    CodecError::Malformed {
        codec: NAME,
        what: get_error_name(code),
    }
}

const NAME: &str = "zstd";

/// Bytes of input that a step takes at most: ten thousand blocks of nothing, which take the library a hundred
/// nanoseconds each and more.
const INPUT_STEP_BYTES: usize = 32 << 10;

/// 128 MiB, what every reader of Kafka accepts.
const WINDOW_LOG_MAX: u32 = 27;

/// How far an announced size is believed before bytes have shown it; more is grown into.
const PLAUSIBLE_EXPANSION: usize = 16;
