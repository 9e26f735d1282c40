//! Metadata without the topics that a client may not use: requests by which it asks for some, and responses.
//!
//! - METADATA-1: what a client may not use is not asked for in its name, so that no broker makes it; it is told that it
//!   may not, whether there is such a topic or not. Where nobody was named it is left out.
//!
//! Both are judged one topic at a time, so that whoever judges can let others go first.

use std::ops::Range;

use super::cursor::Cursor;
use super::error::ProtocolError;
use super::error_code::TOPIC_AUTHORIZATION_FAILED;
use super::frame::{skip_request_header, skip_response_header};
use super::writer::{LengthForm, LengthSlot, put_array_len, put_i16, put_i32, put_string};

/// Responses that are longer are not looked through: a hundred thousand partitions. What is left is written in one
/// step.
pub const RESPONSE_BYTES_MAX: usize = 4 * 1024 * 1024;

/// The topics of a request, one after the other.
pub struct Asked<'f> {
    frame: &'f [u8],
    cursor: Cursor<'f>,
    version: i16,
    /// Where their number stands.
    count: Range<usize>,
    left: usize,
}

/// One of them: its name, where it has one, and where it stands.
type AskedTopic<'f> = (Option<&'f str>, Range<usize>);

impl<'f> Asked<'f> {
    /// Of a request, which has no length.
    ///
    /// # Errors
    /// Where it is not well formed, as of all of this.
    pub fn begin(frame: &'f [u8], version: i16) -> Result<Self, ProtocolError> {
        let flexible = is_flexible(version);
        let mut cursor = Cursor::new(frame);
        skip_request_header(&mut cursor, flexible)?;
        let start = cursor.position();
        let count = cursor.array_len(flexible, 2)?;
        Ok(Self {
            frame,
            version,
            count: start..cursor.position(),
            cursor,
            left: count.unwrap_or(0),
        })
    }

    /// The next topic.
    pub fn next_topic(&mut self) -> Result<Option<AskedTopic<'f>>, ProtocolError> {
        let Some(left) = self.left.checked_sub(1) else {
            return Ok(None);
        };
        self.left = left;
        let start = self.cursor.position();
        if self.version >= 10 {
            self.cursor.skip(16)?;
        }
        let name = self.cursor.string(is_flexible(self.version))?;
        self.cursor.skip_tagged_fields_if(is_flexible(self.version))?;
        Ok(Some((name, start..self.cursor.position())))
    }

    /// Writes a request anew, with its length and without those of its topics that stand in `refused`, by their
    /// positions; says what they are called.
    pub fn write_without(
        mut self,
        refused: &[usize],
        out: &mut Vec<u8>,
    ) -> Result<Vec<Box<str>>, ProtocolError> {
        let frame = self.frame;
        let bytes = |range: Range<usize>| frame.get(range).ok_or(ProtocolError::LayoutMismatch);
        let kept = self
            .left
            .checked_sub(refused.len())
            .ok_or(ProtocolError::LayoutMismatch)?;
        let length = LengthSlot::reserve(out, LengthForm::Int32, 0)?;
        out.extend_from_slice(bytes(0..self.count.start)?);
        put_array_len(out, is_flexible(self.version), kept)?;
        let (mut position, mut refused) = (0_usize, refused.iter().peekable());
        let mut names = Vec::new();
        while let Some((name, range)) = self.next_topic()? {
            if refused.next_if_eq(&&position).is_some() {
                names.push(name.unwrap_or_default().into());
            } else {
                out.extend_from_slice(bytes(range)?);
            }
            position = position.saturating_add(1);
        }
        out.extend_from_slice(bytes(self.cursor.position()..frame.len())?);
        length.fill_with_content_len(out)?;
        Ok(names)
    }
}

/// What of a response is left.
pub struct Told {
    version: i16,
    brokers_end: usize,
    /// Where the number of topics stands.
    count: Range<usize>,
    /// How far it is looked through.
    position: usize,
    left: usize,
    kept: usize,
    /// Where those stand that are kept, as few ranges as there can be.
    runs: Vec<Range<usize>>,
}

impl Told {
    /// Of a response, which has no length.
    pub fn begin(frame: &[u8], version: i16) -> Result<Self, ProtocolError> {
        let flexible = is_flexible(version);
        let mut cursor = Cursor::new(frame);
        skip_response_header(&mut cursor, flexible)?;
        if version >= 3 {
            cursor.skip(4)?;
        }
        for _ in 0..cursor.array_len(flexible, 10)?.unwrap_or(0) {
            cursor.skip(4)?;
            cursor.nullable_text_span(flexible)?;
            cursor.skip(4)?;
            if version >= 1 {
                cursor.nullable_text_span(flexible)?;
            }
            cursor.skip_tagged_fields_if(flexible)?;
        }
        let brokers_end = cursor.position();
        if version >= 2 {
            cursor.nullable_text_span(flexible)?;
        }
        if version >= 1 {
            cursor.skip(4)?;
        }
        let start = cursor.position();
        let left = cursor.array_len(flexible, 2 + 1)?.unwrap_or(0);
        Ok(Self {
            version,
            brokers_end,
            count: start..cursor.position(),
            position: cursor.position(),
            left,
            kept: 0,
            runs: Vec::new(),
        })
    }

    /// Looks at the next topic, which is left out unless it `is_shown`; how many bytes it has, or `None` where there is
    /// no other. What has no name has nothing else to tell.
    pub fn next_topic(
        &mut self,
        frame: &[u8],
        is_shown: impl FnOnce(&str) -> bool,
    ) -> Result<Option<usize>, ProtocolError> {
        let Some(left) = self.left.checked_sub(1) else {
            return Ok(None);
        };
        self.left = left;
        let mut cursor = Cursor::within(frame, &(self.position..frame.len()))?;
        let name = self.topic(&mut cursor)?;
        let range = self.position..cursor.position();
        self.position = range.end;
        let bytes = range.len();
        if name.is_none_or(is_shown) {
            self.kept = self.kept.saturating_add(1);
            match self.runs.last_mut() {
                Some(last) if last.end == range.start => last.end = range.end,
                _ => self.runs.push(range),
            }
        }
        Ok(Some(bytes))
    }

    fn topic<'f>(&self, cursor: &mut Cursor<'f>) -> Result<Option<&'f str>, ProtocolError> {
        let (version, flexible) = (self.version, is_flexible(self.version));
        cursor.skip(2)?;
        let name = cursor.string(flexible)?;
        if version >= 10 {
            cursor.skip(16)?;
        }
        if version >= 1 {
            cursor.skip(1)?;
        }
        for _ in 0..cursor.array_len(flexible, 2 + 4 + 4)?.unwrap_or(0) {
            cursor.skip(if version >= 7 { 2 + 4 + 4 + 4 } else { 2 + 4 + 4 })?;
            for _ in 0..if version >= 5 { 3 } else { 2 } {
                let nodes = cursor.array_len(flexible, 4)?.unwrap_or(0);
                cursor.skip(nodes.saturating_mul(4))?;
            }
            cursor.skip_tagged_fields_if(flexible)?;
        }
        if version >= 8 {
            cursor.skip(4)?;
        }
        cursor.skip_tagged_fields_if(flexible)?;
        Ok(name)
    }

    /// Writes what is left behind the brokers, which `out` has from `start` on, with the length of the whole in front
    /// of them; and what is told of those that were not asked for.
    pub fn write(
        &self,
        frame: &[u8],
        brokers_end: usize,
        refused: &[Box<str>],
        start: usize,
        out: &mut Vec<u8>,
    ) -> Result<(), ProtocolError> {
        let flexible = is_flexible(self.version);
        if brokers_end != self.brokers_end || self.left > 0 {
            return Err(ProtocolError::LayoutMismatch);
        }
        let bytes = |range: Range<usize>| frame.get(range).ok_or(ProtocolError::LayoutMismatch);
        out.extend_from_slice(bytes(self.brokers_end..self.count.start)?);
        put_array_len(out, flexible, self.kept.saturating_add(refused.len()))?;
        for run in &self.runs {
            out.extend_from_slice(bytes(run.clone())?);
        }
        for name in refused {
            self.write_refused(name, out)?;
        }
        out.extend_from_slice(bytes(self.position..frame.len())?);
        let content = out.len().checked_sub(start.saturating_add(4));
        let length = content.and_then(|length| i32::try_from(length).ok());
        let length = length.ok_or(ProtocolError::TooLong)?.to_be_bytes();
        let slot = out.get_mut(start..).and_then(|rest| rest.first_chunk_mut());
        *slot.ok_or(ProtocolError::LayoutMismatch)? = length;
        Ok(())
    }

    fn write_refused(&self, name: &str, out: &mut Vec<u8>) -> Result<(), ProtocolError> {
        let (version, flexible) = (self.version, is_flexible(self.version));
        put_i16(out, TOPIC_AUTHORIZATION_FAILED);
        put_string(out, flexible, Some(name))?;
        if version >= 10 {
            out.extend_from_slice(&[0; 16]);
        }
        if version >= 1 {
            out.push(0);
        }
        put_array_len(out, flexible, 0)?;
        if version >= 8 {
            put_i32(out, i32::MIN);
        }
        if flexible {
            out.push(0);
        }
        Ok(())
    }
}

fn is_flexible(version: i16) -> bool {
    version >= 9
}

#[cfg(test)]
mod tests;
