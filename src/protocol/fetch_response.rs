//! Fetch responses, versions 4 to 18: finds the records of each partition, and the brokers' addresses.
//!
//! A layout is reused from frame to frame and allocates nothing once it has grown to the traffic.

use super::api_key::FETCH;
use super::bounds::PARTITIONS_MAX;
use super::cursor::{Cursor, parse_some};
use super::error::ProtocolError;
use super::frame;
use super::partitions::{PartitionPlace, ResponsePartitions, TopicPlace};

/// Positions in one Fetch response. Default, then [`Self::parse`] for each frame.
#[derive(Debug, Default)]
pub struct FetchResponse {
    partitions: ResponsePartitions,
    parsing: Parsing,
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
        self.clear();
        let begun = self.fill_head(frame, version);
        if begun.is_err() {
            self.clear();
        }
        begun
    }

    /// Parses about `bytes_max` bytes more, records aside, of the frame that it was begun with; says whether that is
    /// all. On an error the layout is empty.
    pub fn parse_on(&mut self, frame: &[u8], bytes_max: usize) -> Result<bool, ProtocolError> {
        let parsed = self.fill(frame, bytes_max);
        if parsed.is_err() {
            self.clear();
        }
        parsed
    }

    /// What was found.
    pub fn partitions(&self) -> &ResponsePartitions {
        &self.partitions
    }

    fn clear(&mut self) {
        self.partitions.clear();
        self.parsing = Parsing::default();
    }

    fn fill_head(&mut self, frame: &[u8], version: i16) -> Result<(), ProtocolError> {
        if !(4..=18).contains(&version) {
            return Err(ProtocolError::UnsupportedVersion {
                api_key: FETCH,
                version,
            });
        }
        let flexible = version >= 12;
        self.partitions.flexible = flexible;
        self.partitions.frame_bytes = frame.len();
        let mut cursor = Cursor::new(frame);
        frame::skip_response_header(&mut cursor, flexible)?;
        cursor.i32()?; // throttle time
        if version >= 7 {
            cursor.skip(2 + 4)?; // error code, session id
        }
        let topics = cursor.array_len_non_null(flexible, topic_bytes_min(version))?;
        self.partitions.topics.reserve(Cursor::reservable(topics));
        self.parsing = Parsing {
            version,
            at: cursor.position(),
            topics_left: topics,
            topic: None,
            partition: None,
        };
        Ok(())
    }

    fn fill(&mut self, frame: &[u8], bytes_max: usize) -> Result<bool, ProtocolError> {
        if frame.len() != self.partitions.frame_bytes {
            return Err(ProtocolError::LayoutMismatch);
        }
        let mut parsing = std::mem::take(&mut self.parsing);
        let mut at = parsing.at;
        let done = parse_some(frame, &mut at, bytes_max, |cursor| {
            self.fill_next(cursor, &mut parsing, frame)
        })?;
        self.parsing = Parsing { at, ..parsing };
        Ok(done)
    }

    /// Parses what comes next, and says how many bytes of it are records, which are not looked at; `None` behind the
    /// last byte.
    fn fill_next(
        &mut self,
        cursor: &mut Cursor<'_>,
        parsing: &mut Parsing,
        frame: &[u8],
    ) -> Result<Option<usize>, ProtocolError> {
        let version = parsing.version;
        let layout = &mut self.partitions;
        if let Some(open) = &mut parsing.partition {
            if !open.fill(cursor, version)? {
                return Ok(Some(0));
            }
            let records = open.partition.records.clone().unwrap_or_default();
            let parsed = parsing.partition.take().map(|open| open.partition);
            layout.partitions.extend(parsed);
            return Ok(Some(records.len()));
        }
        if let Some(open) = &mut parsing.topic {
            if let Some(left) = open.partitions_left.checked_sub(1) {
                open.partitions_left = left;
                parsing.partition = Some(OpenPartition::begin(cursor, version, layout.topics.len())?);
                return Ok(Some(0));
            }
            cursor.skip_tagged_fields_if(layout.flexible)?;
            layout.topics.extend(parsing.topic.take().map(|open| open.topic));
            return Ok(Some(0));
        }
        if let Some(left) = parsing.topics_left.checked_sub(1) {
            parsing.topics_left = left;
            parsing.topic = Some(OpenTopic::begin(cursor, version, layout)?);
            return Ok(Some(0));
        }
        if version >= 16 {
            layout.endpoints.parse_tagged(cursor, frame)?;
        } else {
            cursor.skip_tagged_fields_if(layout.flexible)?;
        }
        cursor.expect_end()?;
        Ok(None)
    }
}

/// How far a frame is parsed.
#[derive(Debug, Default)]
struct Parsing {
    version: i16,
    at: usize,
    topics_left: usize,
    topic: Option<OpenTopic>,
    partition: Option<OpenPartition>,
}

#[derive(Debug)]
struct OpenTopic {
    topic: TopicPlace,
    partitions_left: usize,
}

impl OpenTopic {
    fn begin(
        cursor: &mut Cursor<'_>,
        version: i16,
        layout: &mut ResponsePartitions,
    ) -> Result<Self, ProtocolError> {
        let flexible = layout.flexible;
        let (name, id) = if version >= 13 {
            let id = cursor.uuid()?;
            (cursor.position()..cursor.position(), Some(id))
        } else {
            (cursor.string_span(flexible)?, None)
        };
        let count = cursor.array_len_non_null(flexible, partition_bytes_min(version))?;
        if count > PARTITIONS_MAX.saturating_sub(layout.len()) || layout.topics.len() >= PARTITIONS_MAX {
            return Err(ProtocolError::TooManyPartitions);
        }
        layout.partitions.reserve(Cursor::reservable(count));
        Ok(Self {
            topic: TopicPlace { name, id },
            partitions_left: count,
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
        let flexible = version >= 12;
        let index = cursor.i32()?;
        let error_code_at = cursor.position();
        let error_code = cursor.i16()?;
        let high_watermark = cursor.i64()?;
        cursor.i64()?; // last stable offset
        if version >= 5 {
            cursor.i64()?; // log start offset
        }
        // Each has a producer id and a first offset.
        let aborted = cursor.array_len(flexible, if flexible { 17 } else { 16 })?;
        Ok(Self {
            partition: PartitionPlace {
                index,
                error_code,
                high_watermark,
                topic,
                error_code_at,
                records: None,
                records_length: 0..0,
                end: 0,
            },
            aborted_left: aborted.unwrap_or(0),
        })
    }

    /// Parses some aborted transactions, or what is behind them; says whether the partition is whole.
    fn fill(&mut self, cursor: &mut Cursor<'_>, version: i16) -> Result<bool, ProtocolError> {
        let flexible = version >= 12;
        for _ in 0..self.aborted_left.min(ABORTED_AT_ONCE) {
            cursor.skip(16)?;
            cursor.skip_tagged_fields_if(flexible)?;
        }
        self.aborted_left = self.aborted_left.saturating_sub(ABORTED_AT_ONCE);
        if self.aborted_left > 0 {
            return Ok(false);
        }
        let partition = &mut self.partition;
        if version >= 11 {
            cursor.i32()?; // the replica that the consumer should ask instead
        }
        let length_start = cursor.position();
        partition.records = cursor.bytes_span(flexible)?;
        let length_end = partition
            .records
            .as_ref()
            .map_or(cursor.position(), |records| records.start);
        partition.records_length = length_start..length_end;
        cursor.skip_tagged_fields_if(flexible)?;
        partition.end = cursor.position();
        Ok(true)
    }
}

/// Aborted transactions that are stepped over between two looks at how much was parsed.
const ABORTED_AT_ONCE: usize = 1024;

/// A topic has a name or an id, a partition count, and a count of tagged fields where flexible.
fn topic_bytes_min(version: i16) -> usize {
    match version {
        13.. => 16 + 1 + 1,
        12 => 1 + 1 + 1,
        _ => 2 + 4,
    }
}

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
