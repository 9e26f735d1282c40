//! A Fetch response, versions 4 to 12, walked while it streams: nothing of it is kept.
//!
//! - STREAM-WALK-1: of what comes in whatever pieces it finds what [`FetchResponse`](super::FetchResponse) finds in the
//!   whole frame, and takes nothing that the latter refuses.
//! - STREAM-WALK-2: a topic's name is said before anything behind it is walked; nothing behind the message's end is
//!   walked. One that ends short of what it counts is found out with its last byte.
//! - STREAM-WALK-3: what has to be at hand at once is one field of bounded length, 32 KiB at most (a name); tagged
//!   fields and records are walked piece by piece. What the frame has no room for is refused before it has come.

use super::{
    ABORTED_BYTES, FETCH, Head, PartitionHead, ProtocolError, partition_count, skip_preferred_replica,
};
use crate::protocol::cursor::Cursor;

/// See the module. One for each response.
#[derive(Debug)]
pub struct FetchStream {
    version: i16,
    frame_bytes: usize,
    /// Bytes of the frame that are not walked yet.
    left: usize,
    /// What comes behind `skipped` and the tagged fields.
    next: Next,
    /// Bytes that come first, and are not looked at.
    skipped: usize,
    /// Those are records.
    in_records: bool,
    /// Tagged fields that come behind them.
    tags_left: usize,
    topics_left: usize,
    topics: usize,
    partitions_left: usize,
    partitions: usize,
    aborted_left: usize,
}

#[derive(Clone, Copy, Debug)]
enum Next {
    Header,
    Head,
    Topic,
    Partition,
    Aborted,
    PartitionEnd,
    End,
}

/// What was walked.
#[derive(Debug, PartialEq, Eq)]
pub enum Walked<'a> {
    /// The response is of the fetch session with this number; 0: of none.
    Session(i32),
    /// This is the name of a topic, whose partitions follow.
    Topic(&'a str),
    /// Records of the topic that was named last.
    Records,
    /// What lies between these.
    Other,
    /// The message has ended, and so has the frame.
    End,
}

impl FetchStream {
    /// Begins with a response frame of `version` that announces `frame_bytes` bytes.
    pub fn begin(version: i16, frame_bytes: usize) -> Result<Self, ProtocolError> {
        if !(4..=12).contains(&version) {
            return Err(ProtocolError::UnsupportedVersion {
                api_key: FETCH,
                version,
            });
        }
        Ok(Self {
            version,
            frame_bytes,
            left: frame_bytes,
            next: Next::Header,
            skipped: 0,
            in_records: false,
            tags_left: 0,
            topics_left: 0,
            topics: 0,
            partitions_left: 0,
            partitions: 0,
            aborted_left: 0,
        })
    }

    /// How many bytes of the frame are not walked yet.
    pub fn left(&self) -> usize {
        self.left
    }

    /// How many bytes of the frame are walked.
    pub fn position(&self) -> usize {
        self.frame_bytes.saturating_sub(self.left)
    }

    /// Walks on through `input`, which begins with the first byte of the frame that is not walked yet; says how many
    /// bytes it has walked, and what they are. `None`: more have to be there first. On an error it stands where it
    /// stood.
    pub fn walk<'a>(&mut self, input: &'a [u8]) -> Result<Option<(usize, Walked<'a>)>, ProtocolError> {
        let input = input.get(..self.left).unwrap_or(input);
        if self.skipped > 0 {
            return Ok(self.skip(input.len()));
        }
        let missing = self.left.saturating_sub(input.len());
        let mut cursor = Cursor::of_part(input, missing);
        match self.walk_field(&mut cursor) {
            Ok(walked) => {
                let bytes = cursor.position();
                self.left = self.left.saturating_sub(bytes);
                Ok(Some((bytes, walked)))
            }
            Err(ProtocolError::NotYet) => Ok(None),
            Err(error) => Err(error.in_part_at(self.position())),
        }
    }

    fn skip(&mut self, here: usize) -> Option<(usize, Walked<'static>)> {
        let bytes = self.skipped.min(here);
        if bytes == 0 {
            return None;
        }
        self.skipped = self.skipped.saturating_sub(bytes);
        self.left = self.left.saturating_sub(bytes);
        let walked = if self.in_records {
            Walked::Records
        } else {
            Walked::Other
        };
        self.in_records &= self.skipped > 0;
        Some((bytes, walked))
    }

    /// Walks one field, or a few that are short. Nothing is changed before all of them are read.
    fn walk_field<'a>(&mut self, cursor: &mut Cursor<'a>) -> Result<Walked<'a>, ProtocolError> {
        let version = self.version;
        let flexible = version >= 12;
        if let Some(tags_left) = self.tags_left.checked_sub(1) {
            (_, self.skipped) = cursor.tagged_field_head()?;
            self.tags_left = tags_left;
            return Ok(Walked::Other);
        }
        match self.next {
            Next::Header => {
                cursor.i32()?; // correlation id
                self.go_on(cursor, Next::Head)?;
            }
            Next::Head => {
                let head = Head::parse(cursor, version)?;
                self.topics_left = head.topics;
                self.next = Next::Topic;
                return Ok(Walked::Session(head.session_id));
            }
            Next::Topic => match self.topics_left.checked_sub(1) {
                None => self.go_on(cursor, Next::End)?,
                Some(topics_left) => {
                    let name = cursor.string_non_null(flexible)?;
                    let count = partition_count(cursor, version, self.topics, self.partitions)?;
                    self.topics_left = topics_left;
                    self.topics = self.topics.saturating_add(1);
                    self.partitions_left = count;
                    self.partitions = self.partitions.saturating_add(count);
                    self.next = Next::Partition;
                    return Ok(Walked::Topic(name));
                }
            },
            Next::Partition => match self.partitions_left.checked_sub(1) {
                None => self.go_on(cursor, Next::Topic)?,
                Some(partitions_left) => {
                    self.aborted_left = PartitionHead::parse(cursor, version)?.aborted;
                    self.partitions_left = partitions_left;
                    self.next = Next::Aborted;
                }
            },
            Next::Aborted => match self.aborted_left.checked_sub(1) {
                None => {
                    skip_preferred_replica(cursor, version)?;
                    self.skipped = cursor.bytes_length(flexible)?.unwrap_or(0);
                    self.in_records = self.skipped > 0;
                    self.next = Next::PartitionEnd;
                }
                Some(aborted_left) => {
                    cursor.skip(ABORTED_BYTES)?;
                    self.go_on(cursor, Next::Aborted)?;
                    self.aborted_left = aborted_left;
                }
            },
            Next::PartitionEnd => self.go_on(cursor, Next::Partition)?,
            Next::End => {
                cursor.expect_end()?;
                return Ok(Walked::End);
            }
        }
        Ok(Walked::Other)
    }

    /// Behind a section of tagged fields, where there is one, comes `next`.
    fn go_on(&mut self, cursor: &mut Cursor<'_>, next: Next) -> Result<(), ProtocolError> {
        if self.version >= 12 {
            self.tags_left = cursor.tag_count()?;
        }
        self.next = next;
        Ok(())
    }
}
