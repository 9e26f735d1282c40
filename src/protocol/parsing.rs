//! Messages that name topics and their partitions, parsed piece by piece: nobody else waits for all of a long one.

use super::cursor::Cursor;
use super::error::ProtocolError;

/// How far a message is parsed.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Parsing {
    version: i16,
    frame_bytes: usize,
    at: usize,
    topics_left: usize,
    /// Of the topic that is begun.
    partitions_left: Option<usize>,
}

/// Where things are in a message, found step by step. Steps are short: nothing in them is repeated as often as a peer
/// likes.
pub(super) trait Layout {
    fn parsing(&mut self) -> &mut Parsing;

    /// Empties it, but for [`Self::parsing`].
    fn empty(&mut self);

    /// Everything in front of the first topic; says how many topics there are.
    fn parse_head(&mut self, cursor: &mut Cursor<'_>, version: i16) -> Result<usize, ProtocolError>;

    /// A topic up to its first partition; says how many partitions there are.
    fn begin_topic(
        &mut self,
        cursor: &mut Cursor<'_>,
        version: i16,
        frame: &[u8],
    ) -> Result<usize, ProtocolError>;

    /// A partition, or some of it. Once it is whole, says how many bytes of it are records.
    fn parse_partition(
        &mut self,
        cursor: &mut Cursor<'_>,
        version: i16,
        frame: &[u8],
    ) -> Result<Option<usize>, ProtocolError>;

    /// What is behind a topic's last partition.
    fn end_topic(&mut self, cursor: &mut Cursor<'_>) -> Result<(), ProtocolError>;

    /// What is behind the last topic, but for the end itself.
    fn parse_tail(
        &mut self,
        cursor: &mut Cursor<'_>,
        version: i16,
        frame: &[u8],
    ) -> Result<(), ProtocolError>;
}

/// Begins to parse a frame of `version`. On an error the layout is empty.
pub(super) fn begin(layout: &mut impl Layout, frame: &[u8], version: i16) -> Result<(), ProtocolError> {
    layout.empty();
    let mut cursor = Cursor::new(frame);
    let topics_left = layout
        .parse_head(&mut cursor, version)
        .inspect_err(|_| clear(layout))?;
    *layout.parsing() = Parsing {
        version,
        frame_bytes: frame.len(),
        at: cursor.position(),
        topics_left,
        partitions_left: None,
    };
    Ok(())
}

/// Parses about `bytes_max` bytes more, records aside, of the frame that `layout` was begun with; says whether that is
/// all. On an error the layout is empty.
pub(super) fn go_on(layout: &mut impl Layout, frame: &[u8], bytes_max: usize) -> Result<bool, ProtocolError> {
    let mut parsing = *layout.parsing();
    let done = parsing
        .go_on(layout, frame, bytes_max)
        .inspect_err(|_| clear(layout))?;
    *layout.parsing() = parsing;
    Ok(done)
}

fn clear(layout: &mut impl Layout) {
    layout.empty();
    *layout.parsing() = Parsing::default();
}

impl Parsing {
    fn go_on(
        &mut self,
        layout: &mut impl Layout,
        frame: &[u8],
        bytes_max: usize,
    ) -> Result<bool, ProtocolError> {
        if frame.len() != self.frame_bytes {
            return Err(ProtocolError::LayoutMismatch);
        }
        let mut cursor = Cursor::within(frame, &(self.at..frame.len()))?;
        let mut looked_at = 0_usize;
        while looked_at < bytes_max {
            let Some(records) = self.step(layout, &mut cursor, frame)? else {
                return Ok(true);
            };
            let passed = cursor.position().saturating_sub(self.at);
            looked_at = looked_at.saturating_add(passed.saturating_sub(records));
            self.at = cursor.position();
        }
        Ok(false)
    }

    /// Parses what comes next, and says how many bytes of it are records, which are not looked at; `None` behind the
    /// last byte.
    fn step(
        &mut self,
        layout: &mut impl Layout,
        cursor: &mut Cursor<'_>,
        frame: &[u8],
    ) -> Result<Option<usize>, ProtocolError> {
        let version = self.version;
        if let Some(partitions_left) = self.partitions_left {
            let Some(left) = partitions_left.checked_sub(1) else {
                self.partitions_left = None;
                layout.end_topic(cursor)?;
                return Ok(Some(0));
            };
            let whole = layout.parse_partition(cursor, version, frame)?;
            if whole.is_some() {
                self.partitions_left = Some(left);
            }
            return Ok(Some(whole.unwrap_or(0)));
        }
        if let Some(left) = self.topics_left.checked_sub(1) {
            self.topics_left = left;
            self.partitions_left = Some(layout.begin_topic(cursor, version, frame)?);
            return Ok(Some(0));
        }
        layout.parse_tail(cursor, version, frame)?;
        cursor.expect_end()?;
        Ok(None)
    }
}

/// The least that a topic takes: a name or an id, a partition count, and a count of tagged fields where flexible.
pub(super) fn topic_bytes_min(version: i16, flexible: bool) -> usize {
    match (version, flexible) {
        (13.., _) => 16 + 1 + 1,
        (_, true) => 1 + 1 + 1,
        (_, false) => 2 + 4,
    }
}
