//! Fetch responses, versions 4 to 18: finds the records of each partition and writes the response anew with some of them replaced or blanked.
//!
//! A layout is reused from frame to frame and allocates nothing once it has grown to the traffic.

use std::ops::Range;

use super::api_key::FETCH;
use super::bounds::{PARTITIONS_MAX, recycle};
use super::cursor::{Cursor, parse_some};
use super::endpoints::{Endpoints, Rewrite};
use super::error::ProtocolError;
use super::frame;
use super::splice::Splice;
use super::writer::LengthForm;

/// Positions in one Fetch response. Default, then [`Self::parse`] for each frame.
#[derive(Debug, Default)]
pub struct FetchResponse {
    pub throttle_time_ms: i32,
    /// Of the whole response; 0 before version 7.
    pub error_code: i16,
    /// KIP-227's session; 0 before version 7.
    pub session_id: i32,
    pub topics: Vec<FetchTopic>,
    /// The partitions of all topics, in the order of the frame.
    pub partitions: Vec<FetchPartition>,
    endpoints: Endpoints,
    flexible: bool,
    frame_bytes: usize,
    parsing: Parsing,
}

/// One topic of a Fetch response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchTopic {
    /// The topic's name in the frame, UTF-8; empty from version 13 on.
    pub name: Range<usize>,
    /// The topic's id; `None` up to version 12.
    pub id: Option<[u8; 16]>,
    /// Its partitions, as a range of [`FetchResponse::partitions`].
    pub partitions: Range<usize>,
}

/// One partition of a Fetch response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchPartition {
    /// Index of its topic in [`FetchResponse::topics`].
    pub topic: usize,
    /// The partition's number.
    pub index: i32,
    pub error_code: i16,
    /// Where in the frame the error code (i16) is.
    pub error_code_at: usize,
    pub high_watermark: i64,
    pub last_stable_offset: i64,
    /// -1 before version 5.
    pub log_start_offset: i64,
    /// The aborted transactions with their count; the count is null for consumers that read uncommitted records.
    pub aborted_transactions: Range<usize>,
    /// The replica that the consumer should ask instead, or -1 (also before version 11).
    pub preferred_read_replica: i32,
    /// Its records (without the length); `None` is null.
    pub records: Option<Range<usize>>,
    /// The field that holds the records' length.
    pub records_length: Range<usize>,
    /// Behind the partition's last byte.
    pub end: usize,
}

/// What becomes of a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecordsRewrite {
    /// It goes on as it came; what the callback appended is taken back.
    Keep,
    /// Its records are what the callback appended; none is an empty field, not null.
    Written,
    /// Its records become an empty field (not null, which older clients do not take) and its error code the one given. Watermarks stay. What the
    /// callback appended is taken back.
    Blank { error_code: i16 },
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

    /// Parses about `bytes_max` bytes more, records aside, of the frame that it was begun with; says whether that is all. On an
    /// error the layout is empty.
    pub fn parse_on(&mut self, frame: &[u8], bytes_max: usize) -> Result<bool, ProtocolError> {
        let parsed = self.fill(frame, bytes_max);
        if parsed.is_err() {
            self.clear();
        }
        parsed
    }

    /// The name of a partition's topic. `None` when topics have ids, or when this is not the frame that was parsed.
    pub fn topic_name<'a>(&self, frame: &'a [u8], partition: usize) -> Option<&'a str> {
        let topic = self.topics.get(self.partitions.get(partition)?.topic)?;
        if topic.id.is_some() {
            return None;
        }
        std::str::from_utf8(frame.get(topic.name.clone())?).ok()
    }

    /// A partition's records in the frame; empty where they are null.
    pub fn records<'a>(&self, frame: &'a [u8], partition: usize) -> &'a [u8] {
        self.partitions
            .get(partition)
            .and_then(|partition| frame.get(partition.records.clone()?))
            .unwrap_or_default()
    }

    /// Writes the response with what `each` makes of its partitions, length prefix included.
    ///
    /// `each` is called once for every partition, in order, with its index in [`Self::partitions`] and with `out`, to which it may append the new
    /// records. No partition is ever left out: a client that asked for one discards a full response without it (KIP-227).
    /// Broker addresses (version 16 on) are copied; see [`Self::rewrite_with_addresses`].
    pub fn rewrite(
        &self,
        frame: &[u8],
        out: &mut Vec<u8>,
        each: &mut dyn FnMut(usize, &mut Vec<u8>) -> RecordsRewrite,
    ) -> Result<(), ProtocolError> {
        self.emit(frame, out, each, None)
    }

    /// The same, with the broker addresses of versions 16 on rewritten in the same pass.
    pub fn rewrite_with_addresses<'m>(
        &self,
        frame: &[u8],
        out: &mut Vec<u8>,
        each: &mut dyn FnMut(usize, &mut Vec<u8>) -> RecordsRewrite,
        addresses: &mut dyn FnMut(i32) -> Rewrite<'m>,
    ) -> Result<(), ProtocolError> {
        self.emit(frame, out, each, Some(addresses))
    }

    pub(super) fn endpoints(&self) -> &Endpoints {
        &self.endpoints
    }

    fn emit<'m>(
        &self,
        frame: &[u8],
        out: &mut Vec<u8>,
        each: &mut dyn FnMut(usize, &mut Vec<u8>) -> RecordsRewrite,
        addresses: Option<&mut dyn FnMut(i32) -> Rewrite<'m>>,
    ) -> Result<(), ProtocolError> {
        if frame.len() != self.frame_bytes {
            return Err(ProtocolError::LayoutMismatch);
        }
        Splice::emit(frame, out, |splice| {
            for (position, partition) in self.partitions.iter().enumerate() {
                self.rewrite_partition(position, partition, splice, each)?;
            }
            match addresses {
                Some(addresses) => self.endpoints.rewrite(splice, addresses),
                None => Ok(()),
            }
        })
    }

    fn rewrite_partition(
        &self,
        position: usize,
        partition: &FetchPartition,
        splice: &mut Splice<'_, '_>,
        each: &mut dyn FnMut(usize, &mut Vec<u8>) -> RecordsRewrite,
    ) -> Result<(), ProtocolError> {
        let form = LengthForm::of(self.flexible);
        splice.copy_to(partition.error_code_at)?;
        let error_code_written_at = splice.written();
        let length_slot = splice.copy_slot(form, &partition.records_length)?;
        let rewrite = each(position, splice.out());
        match rewrite {
            RecordsRewrite::Keep => {
                splice.take_back(length_slot.content_start())?;
                length_slot.leave();
                return splice.copy_to(partition.end);
            }
            RecordsRewrite::Written => length_slot.fill_with_content_len(splice.out())?,
            RecordsRewrite::Blank { error_code } => {
                splice.take_back(length_slot.content_start())?;
                length_slot.fill(splice.out(), 0)?;
                splice.patch_i16(error_code_written_at, error_code)?;
            }
        }
        if let Some(records) = &partition.records {
            splice.skip_to(records.end)?;
        }
        splice.copy_to(partition.end)
    }

    fn clear(&mut self) {
        recycle(&mut self.topics);
        recycle(&mut self.partitions);
        self.endpoints.clear();
        self.throttle_time_ms = 0;
        self.error_code = 0;
        self.session_id = 0;
        self.frame_bytes = 0;
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
        self.flexible = flexible;
        self.frame_bytes = frame.len();
        let mut cursor = Cursor::new(frame);
        frame::skip_response_header(&mut cursor, flexible)?;
        self.throttle_time_ms = cursor.i32()?;
        if version >= 7 {
            self.error_code = cursor.i16()?;
            self.session_id = cursor.i32()?;
        }
        let topics = cursor.array_len_non_null(flexible, topic_bytes_min(version))?;
        self.topics.reserve(Cursor::reservable(topics));
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
        if frame.len() != self.frame_bytes {
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

    /// Parses what comes next, and says how many bytes of it are records, which are not looked at; `None` behind the last byte.
    fn fill_next(
        &mut self,
        cursor: &mut Cursor<'_>,
        parsing: &mut Parsing,
        frame: &[u8],
    ) -> Result<Option<usize>, ProtocolError> {
        let version = parsing.version;
        if let Some(open) = &mut parsing.partition {
            if !open.fill(cursor, version)? {
                return Ok(Some(0));
            }
            let records = open.partition.records.clone().unwrap_or_default();
            self.partitions
                .extend(parsing.partition.take().map(|open| open.partition));
            return Ok(Some(records.len()));
        }
        if let Some(open) = &mut parsing.topic {
            if let Some(left) = open.partitions_left.checked_sub(1) {
                open.partitions_left = left;
                parsing.partition = Some(OpenPartition::begin(cursor, version, self.topics.len())?);
                return Ok(Some(0));
            }
            cursor.skip_tagged_fields_if(self.flexible)?;
            self.topics.push(FetchTopic {
                name: open.name.clone(),
                id: open.id,
                partitions: open.first..self.partitions.len(),
            });
            parsing.topic = None;
            return Ok(Some(0));
        }
        if let Some(left) = parsing.topics_left.checked_sub(1) {
            parsing.topics_left = left;
            parsing.topic = Some(self.begin_topic(cursor, version)?);
            return Ok(Some(0));
        }
        if version >= 16 {
            self.endpoints.parse_tagged(cursor, frame)?;
        } else if self.flexible {
            cursor.skip_tagged_fields()?;
        }
        cursor.expect_end()?;
        Ok(None)
    }

    fn begin_topic(&mut self, cursor: &mut Cursor<'_>, version: i16) -> Result<OpenTopic, ProtocolError> {
        let (name, id) = if version >= 13 {
            let id = cursor.uuid()?;
            (cursor.position()..cursor.position(), Some(id))
        } else {
            (cursor.string_span(self.flexible)?, None)
        };
        let first = self.partitions.len();
        let count = cursor.array_len_non_null(self.flexible, partition_bytes_min(version))?;
        if count > PARTITIONS_MAX.saturating_sub(first) || self.topics.len() >= PARTITIONS_MAX {
            return Err(ProtocolError::TooManyPartitions);
        }
        self.partitions.reserve(Cursor::reservable(count));
        Ok(OpenTopic {
            name,
            id,
            first,
            partitions_left: count,
        })
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
    name: Range<usize>,
    id: Option<[u8; 16]>,
    first: usize,
    partitions_left: usize,
}

/// A partition that is parsed up to one of its aborted transactions.
#[derive(Debug)]
struct OpenPartition {
    partition: FetchPartition,
    aborted_left: usize,
}

impl OpenPartition {
    fn begin(cursor: &mut Cursor<'_>, version: i16, topic: usize) -> Result<Self, ProtocolError> {
        let flexible = version >= 12;
        let index = cursor.i32()?;
        let error_code_at = cursor.position();
        let error_code = cursor.i16()?;
        let high_watermark = cursor.i64()?;
        let last_stable_offset = cursor.i64()?;
        let log_start_offset = if version >= 5 { cursor.i64()? } else { -1 };
        let aborted_start = cursor.position();
        // Each has a producer id and a first offset.
        let aborted = cursor.array_len(flexible, if flexible { 17 } else { 16 })?;
        Ok(Self {
            partition: FetchPartition {
                topic,
                index,
                error_code,
                error_code_at,
                high_watermark,
                last_stable_offset,
                log_start_offset,
                aborted_transactions: aborted_start..aborted_start,
                preferred_read_replica: -1,
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
        partition.aborted_transactions.end = cursor.position();
        if version >= 11 {
            partition.preferred_read_replica = cursor.i32()?;
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
    let fixed = 4 + 2 + 8 + 8;
    match version {
        12.. => fixed + 8 + 1 + 4 + 1 + 1,
        11 => fixed + 8 + 4 + 4 + 4,
        5.. => fixed + 8 + 4 + 4,
        _ => fixed + 4 + 4,
    }
}
