//! Fetch responses, versions 4 to 18: finds the records of each partition, and the brokers' addresses. [`FetchStream`]
//! walks those that are not held.
//!
//! A layout is reused from frame to frame and allocates nothing once it has grown to the traffic.

mod stream;

use std::ops::Range;

use super::api_key::FETCH;
use super::bounds::PARTITIONS_MAX;
use super::cursor::Cursor;
use super::error::ProtocolError;
use super::frame;
use super::parsing::{self, Layout, Parsing, topic_bytes_min};
use super::partitions::{PartitionPlace, ResponsePartitions, TopicPlace};

pub use self::stream::{FetchStream, Walked};

/// Positions in one Fetch response. Default, then [`Self::parse`] for each frame.
#[derive(Debug, Default)]
pub struct FetchResponse {
    partitions: ResponsePartitions,
    parsing: Parsing,
    /// The partition that is half parsed.
    open: Option<OpenPartition>,
}

impl FetchResponse {
    /// Parses a response frame of `version`, in one go. On an error the layout is empty.
    pub fn parse(&mut self, frame: &[u8], version: i16) -> Result<(), ProtocolError> {
        self.begin(frame, version)?;
        while !self.parse_on(frame, usize::MAX)? {}
        Ok(())
    }

    /// Begins to parse a response frame of `version`. On an error the layout is empty.
    pub fn begin(&mut self, frame: &[u8], version: i16) -> Result<(), ProtocolError> {
        parsing::begin(self, frame, version)
    }

    /// Parses about `bytes_max` bytes more, records aside, of the frame that it was begun with; says whether that is
    /// all. On an error the layout is empty.
    pub fn parse_on(&mut self, frame: &[u8], bytes_max: usize) -> Result<bool, ProtocolError> {
        parsing::go_on(self, frame, bytes_max)
    }

    /// What was found.
    pub fn partitions(&self) -> &ResponsePartitions {
        &self.partitions
    }

    /// Overwrites what the broker says of a partition in front of its records, but for its number and the error: its
    /// offsets, and transactions that were aborted.
    pub fn conceal(&self, frame: &mut [u8], position: usize, version: i16) -> Result<(), ProtocolError> {
        let place = self
            .partitions
            .get(position)
            .ok_or(ProtocolError::LayoutMismatch)?;
        let start = place.error_code_at.saturating_add(2);
        let head = frame
            .get_mut(start..place.records_length.start)
            .ok_or(ProtocolError::LayoutMismatch)?;
        let offsets = if version >= 5 { 8 + 8 + 8 } else { 8 + 8 };
        let mut cursor = Cursor::new(head);
        cursor.skip(offsets)?;
        let aborted = cursor.array_len(self.partitions.flexible, ABORTED_BYTES)?;
        let mut at = cursor.position();
        let overwrite = |head: &mut [u8], from: usize, bytes: usize| {
            let behind = head.iter_mut().skip(from);
            behind.take(bytes).for_each(|byte| *byte = 0xff);
        };
        overwrite(head, 0, offsets);
        for _ in 0..aborted.unwrap_or(0) {
            overwrite(head, at, ABORTED_BYTES);
            at = at.saturating_add(ABORTED_BYTES);
            let mut cursor = Cursor::within(head, &(at..head.len()))?;
            cursor.skip_tagged_fields_if(self.partitions.flexible)?;
            at = cursor.position();
        }
        // The replica that is to be asked instead: none.
        let left = head.len().saturating_sub(at);
        overwrite(head, at, left);
        Ok(())
    }
}

impl Layout for FetchResponse {
    fn parsing(&mut self) -> &mut Parsing {
        &mut self.parsing
    }

    fn empty(&mut self) {
        self.partitions.clear();
        self.open = None;
    }

    fn parse_head(&mut self, cursor: &mut Cursor<'_>, version: i16) -> Result<usize, ProtocolError> {
        if !(4..=18).contains(&version) {
            return Err(ProtocolError::UnsupportedVersion {
                api_key: FETCH,
                version,
            });
        }
        let flexible = version >= 12;
        self.partitions.flexible = flexible;
        self.partitions.frame_bytes = cursor.remaining();
        frame::skip_response_header(cursor, flexible)?;
        let Head { topics, .. } = Head::parse(cursor, version)?;
        self.partitions.topics.reserve(Cursor::reservable(topics));
        Ok(topics)
    }

    fn begin_topic(
        &mut self,
        cursor: &mut Cursor<'_>,
        version: i16,
        _: &[u8],
    ) -> Result<usize, ProtocolError> {
        let layout = &mut self.partitions;
        let (name, id) = if version >= 13 {
            let id = cursor.uuid()?;
            (cursor.position()..cursor.position(), Some(id))
        } else {
            (cursor.string_span(layout.flexible)?, None)
        };
        let count = partition_count(cursor, version, layout.topics.len(), layout.len())?;
        layout.partitions.reserve(Cursor::reservable(count));
        layout.topics.push(TopicPlace { name, id });
        Ok(count)
    }

    fn parse_partition(
        &mut self,
        cursor: &mut Cursor<'_>,
        version: i16,
        _: &[u8],
    ) -> Result<Option<usize>, ProtocolError> {
        let topic = self.partitions.topics.len().saturating_sub(1);
        let mut open = match self.open.take() {
            Some(open) => open,
            None => OpenPartition::begin(cursor, version, topic)?,
        };
        if !open.parse_on(cursor, version)? {
            self.open = Some(open);
            return Ok(None);
        }
        let records_bytes = open.partition.records.as_ref().map_or(0, Range::len);
        self.partitions.partitions.push(open.partition);
        Ok(Some(records_bytes))
    }

    fn end_topic(&mut self, cursor: &mut Cursor<'_>) -> Result<(), ProtocolError> {
        cursor.skip_tagged_fields_if(self.partitions.flexible)
    }

    fn parse_tail(
        &mut self,
        cursor: &mut Cursor<'_>,
        version: i16,
        frame: &[u8],
    ) -> Result<(), ProtocolError> {
        let layout = &mut self.partitions;
        if version >= 16 {
            return layout.endpoints.parse_tagged(cursor, frame);
        }
        cursor.skip_tagged_fields_if(layout.flexible)
    }
}

/// What a response begins with, behind its header.
struct Head {
    /// 0: none.
    session_id: i32,
    topics: usize,
}

impl Head {
    fn parse(cursor: &mut Cursor<'_>, version: i16) -> Result<Self, ProtocolError> {
        let flexible = version >= 12;
        cursor.i32()?; // throttle time
        let mut session_id = 0;
        if version >= 7 {
            cursor.i16()?; // error code
            session_id = cursor.i32()?;
        }
        Ok(Self {
            session_id,
            topics: cursor.array_len_non_null(flexible, topic_bytes_min(version, flexible))?,
        })
    }
}

/// How many partitions a topic has, behind so many other topics and partitions.
fn partition_count(
    cursor: &mut Cursor<'_>,
    version: i16,
    topics: usize,
    partitions: usize,
) -> Result<usize, ProtocolError> {
    let count = cursor.array_len_non_null(version >= 12, partition_bytes_min(version))?;
    if count > PARTITIONS_MAX.saturating_sub(partitions) || topics >= PARTITIONS_MAX {
        return Err(ProtocolError::TooManyPartitions);
    }
    Ok(count)
}

/// What a partition begins with.
struct PartitionHead {
    index: i32,
    error_code_at: usize,
    error_code: i16,
    high_watermark: i64,
    /// Aborted transactions that follow.
    aborted: usize,
}

impl PartitionHead {
    fn parse(cursor: &mut Cursor<'_>, version: i16) -> Result<Self, ProtocolError> {
        let flexible = version >= 12;
        let index = cursor.i32()?;
        let error_code_at = cursor.position();
        let error_code = cursor.i16()?;
        let high_watermark = cursor.i64()?;
        cursor.i64()?; // last stable offset
        if version >= 5 {
            cursor.i64()?; // log start offset
        }
        // Each has a count of tagged fields where flexible.
        let aborted = cursor.array_len(flexible, ABORTED_BYTES.saturating_add(flexible.into()))?;
        Ok(Self {
            index,
            error_code_at,
            error_code,
            high_watermark,
            aborted: aborted.unwrap_or(0),
        })
    }
}

/// A partition that is parsed up to one of its aborted transactions.
#[derive(Debug)]
struct OpenPartition {
    partition: PartitionPlace,
    aborted_left: usize,
}

impl OpenPartition {
    fn begin(cursor: &mut Cursor<'_>, version: i16, topic: usize) -> Result<Self, ProtocolError> {
        let head = PartitionHead::parse(cursor, version)?;
        Ok(Self {
            partition: PartitionPlace {
                index: head.index,
                error_code: head.error_code,
                high_watermark: head.high_watermark,
                topic,
                error_code_at: head.error_code_at,
                records: None,
                records_length: 0..0,
                end: 0,
            },
            aborted_left: head.aborted,
        })
    }

    /// Parses some aborted transactions, or what is behind them; says whether the partition is whole.
    fn parse_on(&mut self, cursor: &mut Cursor<'_>, version: i16) -> Result<bool, ProtocolError> {
        let flexible = version >= 12;
        for _ in 0..self.aborted_left.min(ABORTED_AT_ONCE) {
            cursor.skip(ABORTED_BYTES)?;
            cursor.skip_tagged_fields_if(flexible)?;
        }
        self.aborted_left = self.aborted_left.saturating_sub(ABORTED_AT_ONCE);
        if self.aborted_left > 0 {
            return Ok(false);
        }
        let partition = &mut self.partition;
        skip_preferred_replica(cursor, version)?;
        (partition.records_length, partition.records) = cursor.bytes_spans(flexible)?;
        cursor.skip_tagged_fields_if(flexible)?;
        partition.end = cursor.position();
        Ok(true)
    }
}

/// Steps over the replica that the consumer should ask instead.
fn skip_preferred_replica(cursor: &mut Cursor<'_>, version: i16) -> Result<(), ProtocolError> {
    if version >= 11 {
        cursor.i32()?;
    }
    Ok(())
}

/// Of an aborted transaction: producer id and first offset.
const ABORTED_BYTES: usize = 8 + 8;
/// Aborted transactions that are stepped over between two looks at how much was parsed.
const ABORTED_AT_ONCE: usize = 1024;

/// The fixed fields of a partition, its two lengths, and a count of tagged fields where flexible.
fn partition_bytes_min(version: i16) -> usize {
    const FIXED: usize = 4 + 2 + 8 + 8;
    match version {
        12.. => FIXED + 8 + 1 + 4 + 1 + 1,
        11 => FIXED + 8 + 4 + 4 + 4,
        5.. => FIXED + 8 + 4 + 4,
        _ => FIXED + 4 + 4,
    }
}
