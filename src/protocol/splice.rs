//! Emits a frame that is mostly the source: everything between two edits is copied as it stands (`WIRE-4`).

use super::error::ProtocolError;
use super::frame::LENGTH_PREFIX_BYTES;
use super::writer::{LengthForm, LengthSlot};

/// A frame that is emitted in several calls. It goes forward through the source.
#[derive(Debug)]
pub(super) struct Emission {
    copied: usize,
    frame_start: usize,
}

/// A frame being emitted, at hand for edits: copy up to one, write to [`Self::out`], skip what it replaces.
pub(super) struct Splice<'a, 'o> {
    source: &'a [u8],
    emission: &'o mut Emission,
    out: &'o mut Vec<u8>,
}

impl Emission {
    /// Begins a new frame at the end of `out`, with a place for its length.
    pub(super) fn begin(out: &mut Vec<u8>) -> Self {
        let frame_start = out.len();
        out.extend_from_slice(&[0; LENGTH_PREFIX_BYTES]);
        Self {
            copied: 0,
            frame_start,
        }
    }

    /// How far the source is copied or left out.
    pub(super) fn copied(&self) -> usize {
        self.copied
    }

    /// Where in the output the frame begins.
    pub(super) fn start(&self) -> usize {
        self.frame_start
    }

    /// For edits from here on.
    pub(super) fn splice<'a, 'o>(&'o mut self, source: &'a [u8], out: &'o mut Vec<u8>) -> Splice<'a, 'o> {
        Splice {
            source,
            emission: self,
            out,
        }
    }

    /// Copies the source on, up to `target` and at most `bytes_max` bytes; says how many.
    pub(super) fn copy_towards(
        &mut self,
        source: &[u8],
        out: &mut Vec<u8>,
        target: usize,
        bytes_max: usize,
    ) -> Result<usize, ProtocolError> {
        let rest = source
            .get(self.copied..target)
            .ok_or(ProtocolError::LayoutMismatch)?;
        let piece = rest.get(..bytes_max).unwrap_or(rest);
        out.extend_from_slice(piece);
        self.copied = self.copied.saturating_add(piece.len());
        Ok(piece.len())
    }

    /// Leaves the source up to `position` out.
    pub(super) fn skip_to(&mut self, position: usize) -> Result<(), ProtocolError> {
        if position < self.copied {
            return Err(ProtocolError::LayoutMismatch);
        }
        self.copied = position;
        Ok(())
    }

    /// Everything is written but `behind` bytes that are to follow: fills the frame's length in.
    pub(super) fn fill_length(&self, out: &mut [u8], behind: usize) -> Result<(), ProtocolError> {
        let frame = out
            .get_mut(self.frame_start..)
            .ok_or(ProtocolError::LayoutMismatch)?;
        let length = frame
            .len()
            .saturating_add(behind)
            .checked_sub(LENGTH_PREFIX_BYTES);
        let length = length
            .and_then(|length| i32::try_from(length).ok())
            .ok_or(ProtocolError::TooLong)?;
        let prefix = frame
            .first_chunk_mut::<LENGTH_PREFIX_BYTES>()
            .ok_or(ProtocolError::LayoutMismatch)?;
        *prefix = length.to_be_bytes();
        Ok(())
    }

    /// Takes back everything that was written (`WIRE-5`).
    pub(super) fn take_back_all(&self, out: &mut Vec<u8>) {
        out.truncate(self.frame_start);
    }

    /// What was written was moved forward in its buffer by `bytes`.
    pub(super) fn move_forward(&mut self, bytes: usize) {
        self.frame_start = self.frame_start.saturating_sub(bytes);
    }
}

impl<'a, 'o> Splice<'a, 'o> {
    /// Runs `edit` over a new frame at the end of `out`, then copies the rest of the source and fills the 4-byte length
    /// in. On an error `out` is what it was (`WIRE-5`).
    pub(super) fn emit(
        source: &'a [u8],
        out: &'o mut Vec<u8>,
        edit: impl FnOnce(&mut Splice<'_, '_>) -> Result<(), ProtocolError>,
    ) -> Result<(), ProtocolError> {
        Self::emit_before(source, out, 0, edit)
    }

    /// [`Self::emit`] for the beginning of a frame: the length counts `behind` more bytes that are to follow.
    pub(super) fn emit_before(
        source: &'a [u8],
        out: &'o mut Vec<u8>,
        behind: usize,
        edit: impl FnOnce(&mut Splice<'_, '_>) -> Result<(), ProtocolError>,
    ) -> Result<(), ProtocolError> {
        // The source's bytes are there, so this is no announced length.
        out.reserve(source.len().saturating_add(LENGTH_PREFIX_BYTES));
        let mut emission = Emission::begin(out);
        let mut splice = emission.splice(source, out);
        let edited = edit(&mut splice).and_then(|()| splice.copy_to(source.len()));
        let emitted = edited.and_then(|()| emission.fill_length(out, behind));
        if emitted.is_err() {
            emission.take_back_all(out);
        }
        emitted
    }

    /// What is written so far, earlier frames included. Positions in it stay valid while nothing before them is filled
    /// in.
    pub(super) fn out(&mut self) -> &mut Vec<u8> {
        self.out
    }

    pub(super) fn written(&self) -> usize {
        self.out.len()
    }

    /// Copies the source from where the last edit ended to `position`.
    pub(super) fn copy_to(&mut self, position: usize) -> Result<(), ProtocolError> {
        let copied = self
            .emission
            .copy_towards(self.source, self.out, position, usize::MAX);
        copied.map(|_| ())
    }

    /// Leaves the source up to `position` out.
    pub(super) fn skip_to(&mut self, position: usize) -> Result<(), ProtocolError> {
        if position > self.source.len() {
            return Err(ProtocolError::LayoutMismatch);
        }
        self.emission.skip_to(position)
    }

    /// Copies up to `field.end` and takes the last field over as a slot.
    pub(super) fn copy_slot(
        &mut self,
        form: LengthForm,
        field: &std::ops::Range<usize>,
    ) -> Result<LengthSlot, ProtocolError> {
        self.copy_to(field.end)?;
        LengthSlot::adopt(self.out, form, field.len())
    }

    /// Takes back what was written since `mark`, which [`Self::written`] said. What it took from the source is left
    /// out.
    pub(super) fn take_back(&mut self, mark: usize) -> Result<(), ProtocolError> {
        if mark < self.emission.start() || mark > self.out.len() {
            return Err(ProtocolError::LayoutMismatch);
        }
        self.out.truncate(mark);
        Ok(())
    }
}
