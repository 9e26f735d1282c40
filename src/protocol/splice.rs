//! Emits a frame that is mostly the source: everything between two edits is copied as it stands (`WIRE-4`).

use super::cursor::ProtocolError;
use super::frame::LENGTH_PREFIX_BYTES;
use super::writer::{LengthForm, LengthSlot};

/// A frame being emitted. Edits go forward through the source: copy up to one, write to [`Self::out`], skip what it replaces.
pub(super) struct Splice<'a, 'o> {
    source: &'a [u8],
    copied: usize,
    frame_start: usize,
    out: &'o mut Vec<u8>,
}

/// What remains of a [`Splice`] between two calls.
#[derive(Debug)]
pub(super) struct Emission {
    copied: usize,
    frame_start: usize,
    length: LengthSlot,
}

impl Emission {
    /// Begins a new frame at the end of `out`.
    pub(super) fn begin(source: &[u8], out: &mut Vec<u8>) -> Result<Self, ProtocolError> {
        let frame_start = out.len();
        // The source's bytes are there, so this is no announced length.
        out.reserve(source.len().saturating_add(LENGTH_PREFIX_BYTES));
        let length = LengthSlot::reserve(out, LengthForm::Int32, 0)?;
        Ok(Self {
            copied: 0,
            frame_start,
            length,
        })
    }

    /// Runs `edit` from where the last one ended. On an error the frame is taken back (`WIRE-5`).
    pub(super) fn edit<T>(
        &mut self,
        source: &[u8],
        out: &mut Vec<u8>,
        edit: impl FnOnce(&mut Splice<'_, '_>) -> Result<T, ProtocolError>,
    ) -> Result<T, ProtocolError> {
        let mut splice = Splice {
            source,
            copied: self.copied,
            frame_start: self.frame_start,
            out,
        };
        let result = edit(&mut splice);
        self.copied = splice.copied;
        if result.is_err() {
            out.truncate(self.frame_start);
        }
        result
    }

    /// Copies the rest of the source and fills the 4-byte length in. On an error the frame is taken back (`WIRE-5`).
    pub(super) fn finish(mut self, source: &[u8], out: &mut Vec<u8>) -> Result<(), ProtocolError> {
        self.edit(source, out, |splice| splice.copy_to(source.len()))?;
        let filled = self.length.fill_with_content_len(out);
        if filled.is_err() {
            out.truncate(self.frame_start);
        }
        filled
    }

    /// What was written was moved forward in its buffer by `bytes`.
    pub(super) fn move_forward(&mut self, bytes: usize) {
        self.frame_start = self.frame_start.saturating_sub(bytes);
        self.length.move_forward(bytes);
    }
}

impl<'a, 'o> Splice<'a, 'o> {
    /// Runs `edit` over a new frame at the end of `out`, then copies the rest of the source and fills the 4-byte length in.
    /// On an error `out` is what it was (`WIRE-5`).
    pub(super) fn emit(
        source: &'a [u8],
        out: &'o mut Vec<u8>,
        edit: impl FnOnce(&mut Splice<'_, '_>) -> Result<(), ProtocolError>,
    ) -> Result<(), ProtocolError> {
        let mut emission = Emission::begin(source, out)?;
        emission.edit(source, out, edit)?;
        emission.finish(source, out)
    }

    /// What is written so far, earlier frames included. Positions in it stay valid while nothing before them is filled in.
    pub(super) fn out(&mut self) -> &mut Vec<u8> {
        self.out
    }

    pub(super) fn written(&self) -> usize {
        self.out.len()
    }

    /// Copies the source from where the last edit ended to `position`.
    pub(super) fn copy_to(&mut self, position: usize) -> Result<(), ProtocolError> {
        let unchanged = self
            .source
            .get(self.copied..position)
            .ok_or(ProtocolError::LayoutMismatch)?;
        self.out.extend_from_slice(unchanged);
        self.copied = position;
        Ok(())
    }

    /// Leaves the source up to `position` out.
    pub(super) fn skip_to(&mut self, position: usize) -> Result<(), ProtocolError> {
        if position < self.copied || position > self.source.len() {
            return Err(ProtocolError::LayoutMismatch);
        }
        self.copied = position;
        Ok(())
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

    /// Takes back what was written since `mark`, which [`Self::written`] said. What it took from the source is left out.
    pub(super) fn take_back(&mut self, mark: usize) -> Result<(), ProtocolError> {
        if mark < self.frame_start || mark > self.out.len() {
            return Err(ProtocolError::LayoutMismatch);
        }
        self.out.truncate(mark);
        Ok(())
    }

    /// How far it is, for [`Self::rewind`].
    pub(super) fn mark(&self) -> SpliceMark {
        SpliceMark {
            written: self.out.len(),
            copied: self.copied,
        }
    }

    /// Goes back to `mark`, in the source too.
    pub(super) fn rewind(&mut self, mark: SpliceMark) -> Result<(), ProtocolError> {
        self.take_back(mark.written)?;
        self.copied = mark.copied;
        Ok(())
    }

    /// Overwrites two bytes that were written already.
    pub(super) fn patch_i16(&mut self, at: usize, value: i16) -> Result<(), ProtocolError> {
        let end = at.checked_add(2).ok_or(ProtocolError::LayoutMismatch)?;
        let field = self.out.get_mut(at..end).ok_or(ProtocolError::LayoutMismatch)?;
        field.copy_from_slice(&value.to_be_bytes());
        Ok(())
    }
}

/// See [`Splice::mark`].
pub(super) struct SpliceMark {
    pub(super) written: usize,
    copied: usize,
}
