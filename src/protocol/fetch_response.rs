//! Fetch responses, versions 4 to 18: finds the records of each partition and writes the response anew with some of them replaced or blanked.
//!
//! A layout is reused from frame to frame and allocates nothing once it has grown to the traffic.

use std::ops::Range;

use super::addresses::{Endpoints, Rewrite};
use super::api_key::FETCH;
use super::cursor::{Cursor, ProtocolError};
use super::splice::Splice;
use super::writer::LengthForm;
use super::{PARTITIONS_MAX, frame, recycle};

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
    /// Parses a response frame of `version`. On an error the layout is empty.
    pub fn parse(&mut self, frame: &[u8], version: i16) -> Result<(), ProtocolError> {
        self.clear();
        let result = self.fill(frame, version);
        if result.is_err() {
            self.clear();
        }
        result
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
    }

    fn fill(&mut self, frame: &[u8], version: i16) -> Result<(), ProtocolError> {
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
        for _ in 0..topics {
            self.fill_topic(&mut cursor, version)?;
        }
        if version >= 16 {
            self.endpoints.parse_tagged(&mut cursor, frame)?;
        } else if flexible {
            cursor.skip_tagged_fields()?;
        }
        cursor.expect_end()
    }

    fn fill_topic(&mut self, cursor: &mut Cursor<'_>, version: i16) -> Result<(), ProtocolError> {
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
        for _ in 0..count {
            let partition = parse_partition(cursor, version, self.topics.len())?;
            self.partitions.push(partition);
        }
        cursor.skip_tagged_fields_if(self.flexible)?;
        self.topics.push(FetchTopic {
            name,
            id,
            partitions: first..self.partitions.len(),
        });
        Ok(())
    }
}

fn parse_partition(
    cursor: &mut Cursor<'_>,
    version: i16,
    topic: usize,
) -> Result<FetchPartition, ProtocolError> {
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
    for _ in 0..aborted.unwrap_or(0) {
        cursor.skip(16)?;
        cursor.skip_tagged_fields_if(flexible)?;
    }
    let aborted_transactions = aborted_start..cursor.position();

    let preferred_read_replica = if version >= 11 { cursor.i32()? } else { -1 };
    let length_start = cursor.position();
    let records = cursor.bytes_span(flexible)?;
    let length_end = records
        .as_ref()
        .map_or(cursor.position(), |records| records.start);
    cursor.skip_tagged_fields_if(flexible)?;
    Ok(FetchPartition {
        topic,
        index,
        error_code,
        error_code_at,
        high_watermark,
        last_stable_offset,
        log_start_offset,
        aborted_transactions,
        preferred_read_replica,
        records,
        records_length: length_start..length_end,
        end: cursor.position(),
    })
}

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
