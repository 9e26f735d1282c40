//! Produce requests, versions 3 to 13: finds the records of each partition and writes the request anew with some of
//! them replaced or cut.
//!
//! A layout is reused from frame to frame and allocates nothing once it has grown to the traffic.

use std::borrow::Cow;
use std::collections::HashMap;
use std::hash::BuildHasher;
use std::ops::Range;

use super::api_key::PRODUCE;
use super::bounds::{PRODUCE_PARTITIONS_MAX, RETAINED_ELEMENTS_MAX, recycle};
use super::cursor::Cursor;
use super::error::ProtocolError;
use super::frame;
use super::frame::LENGTH_PREFIX_BYTES;
use super::parsing::{self, Layout, Parsing, topic_bytes_min};

mod rewriting;

pub use self::rewriting::{Rewriting, Writing};

/// Positions in one Produce request. Default, then [`Self::parse`] for each frame.
#[derive(Debug, Default)]
pub struct ProduceRequest {
    /// 0: no response will come. 1: leader only. -1: all in-sync replicas.
    pub acks: i16,
    pub timeout_ms: i32,
    /// Whether a transactional id is given.
    pub transactional: bool,
    /// The transactional id's text in the frame.
    pub transactional_id: Option<Range<usize>>,
    /// The field that counts the topics.
    pub topics_count: Range<usize>,
    pub topics: Vec<ProduceTopic>,
    /// The partitions of all topics, in the order of the frame.
    pub partitions: Vec<ProducePartition>,
    flexible: bool,
    frame_bytes: usize,
    /// Partitions that were parsed: the hash of the topic, and the number. With it: their index, the last one's where
    /// there are several.
    identities: HashMap<(u64, i32), usize>,
    /// Of the topic that is being parsed: of its name or id.
    topic_hash: u64,
    parsing: Parsing,
}

/// One topic of a Produce request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProduceTopic {
    /// The topic's name in the frame, UTF-8; empty from version 13 on.
    pub name: Range<usize>,
    /// The topic's id; `None` up to version 12.
    pub id: Option<[u8; 16]>,
    /// Its partitions, as a range of [`ProduceRequest::partitions`].
    pub partitions: Range<usize>,
    /// The field that counts the partitions.
    pub partitions_count: Range<usize>,
    /// Behind the topic's last byte.
    pub end: usize,
}

/// One partition of a Produce request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProducePartition {
    /// Index of its topic in [`ProduceRequest::topics`].
    pub topic: usize,
    /// The partition's number.
    pub index: i32,
    /// Its records (without the length); `None` is null.
    pub records: Option<Range<usize>>,
    /// The field that holds the records' length.
    pub records_length: Range<usize>,
    /// Behind the partition's last byte.
    pub end: usize,
    /// It is named again further behind: a broker takes the last.
    pub superseded: bool,
}

impl ProduceRequest {
    /// Parses a request frame of `version`, in one go. On an error the layout is empty.
    #[cfg(feature = "testing")]
    pub fn parse(&mut self, frame: &[u8], version: i16) -> Result<(), ProtocolError> {
        self.begin(frame, version)?;
        while !self.parse_on(frame, usize::MAX)? {}
        Ok(())
    }

    /// Begins to parse a request frame of `version`. On an error the layout is empty.
    pub fn begin(&mut self, frame: &[u8], version: i16) -> Result<(), ProtocolError> {
        parsing::begin(self, frame, version)
    }

    /// Parses about `bytes_max` bytes more, records aside, of the frame that it was begun with; says whether that is
    /// all. On an error the layout is empty.
    pub fn parse_on(&mut self, frame: &[u8], bytes_max: usize) -> Result<bool, ProtocolError> {
        parsing::go_on(self, frame, bytes_max)
    }

    /// The name of a partition's topic, as a broker reads it: with replacement characters where it is not UTF-8. `None`
    /// when topics have ids, or when this is not the frame that was parsed.
    pub fn topic_name<'a>(&self, frame: &'a [u8], partition: usize) -> Option<Cow<'a, str>> {
        let topic = self.topics.get(self.partitions.get(partition)?.topic)?;
        if topic.id.is_some() {
            return None;
        }
        Some(String::from_utf8_lossy(frame.get(topic.name.clone())?))
    }

    /// Whether the partition is named again further behind.
    pub fn is_superseded(&self, partition: usize) -> bool {
        self.partitions
            .get(partition)
            .is_some_and(|partition| partition.superseded)
    }

    /// How long a request would be, its own length included, that had this partition alone, with so many bytes of
    /// records.
    pub fn bytes_alone(&self, partition: usize, records: usize) -> usize {
        let around = || {
            let place = self.partitions.get(partition)?;
            let topic = self.topics.get(place.topic)?;
            let topic_start = match place.topic.checked_sub(1) {
                Some(before) => self.topics.get(before)?.end,
                None => self.topics_count.end,
            };
            let start = match partition.checked_sub(1) {
                Some(before) if before >= topic.partitions.start => self.partitions.get(before)?.end,
                _ => topic.partitions_count.end,
            };
            let parts = [
                LENGTH_PREFIX_BYTES,
                self.topics_count.end,
                topic.partitions_count.end.checked_sub(topic_start)?,
                place.records_length.start.checked_sub(start)?,
                // It is never written shorter than the client has.
                place
                    .records_length
                    .len()
                    .max(length_bytes(self.flexible, records)),
                records,
                self.bytes_behind(partition),
            ];
            Some(parts.into_iter().fold(0, usize::saturating_add))
        };
        around().unwrap_or(usize::MAX)
    }

    /// What comes behind a partition's records where it is the last one.
    pub fn bytes_behind(&self, partition: usize) -> usize {
        let behind = || {
            let place = self.partitions.get(partition)?;
            let topic = self.topics.get(place.topic)?;
            let last = self.partitions.get(topic.partitions.end.checked_sub(1)?)?.end;
            let records_end = place
                .records
                .as_ref()
                .map_or(place.records_length.end, |records| records.end);
            let parts = [
                place.end.checked_sub(records_end)?,
                topic.end.checked_sub(last)?,
                self.frame_bytes.checked_sub(self.topics.last()?.end)?,
            ];
            Some(parts.into_iter().fold(0, usize::saturating_add))
        };
        behind().unwrap_or(usize::MAX)
    }

    /// A partition's records in the frame; empty where they are null.
    pub fn records<'a>(&self, frame: &'a [u8], partition: usize) -> &'a [u8] {
        self.partitions
            .get(partition)
            .and_then(|partition| frame.get(partition.records.clone()?))
            .unwrap_or_default()
    }

    /// Remembers the partition that comes next; one that was there before is superseded.
    fn note_identity(&mut self, partition: &ProducePartition, frame: &[u8]) {
        let position = self.partitions.len();
        let identity = (self.topic_hash, partition.index);
        let Some(before) = self.identities.insert(identity, position) else {
            return;
        };
        // Names are known by their hash, which two may have in common.
        let topic_of = |partition: &ProducePartition| {
            let topic = self.topics.get(partition.topic)?;
            Some((topic.id, frame.get(topic.name.clone())))
        };
        let is_the_same = |other: &ProducePartition| {
            other.index == partition.index && topic_of(other) == topic_of(partition)
        };
        let same = match self.partitions.get(before) {
            Some(other) if is_the_same(other) => Some(before),
            _ => self.partitions.iter().rposition(is_the_same),
        };
        if let Some(other) = same.and_then(|same| self.partitions.get_mut(same)) {
            other.superseded = true;
        }
    }
}

impl Layout for ProduceRequest {
    fn parsing(&mut self) -> &mut Parsing {
        &mut self.parsing
    }

    fn empty(&mut self) {
        recycle(&mut self.topics);
        recycle(&mut self.partitions);
        self.identities.clear();
        self.identities.shrink_to(RETAINED_ELEMENTS_MAX);
        self.acks = 0;
        self.timeout_ms = 0;
        self.transactional = false;
        self.transactional_id = None;
        self.topics_count = 0..0;
        self.frame_bytes = 0;
    }

    fn parse_head(&mut self, cursor: &mut Cursor<'_>, version: i16) -> Result<usize, ProtocolError> {
        if !(3..=13).contains(&version) {
            return Err(ProtocolError::UnsupportedVersion {
                api_key: PRODUCE,
                version,
            });
        }
        let flexible = version >= 9;
        self.flexible = flexible;
        self.frame_bytes = cursor.remaining();
        frame::skip_request_header(cursor, flexible)?;

        self.transactional_id = cursor.nullable_text_span(flexible)?;
        self.transactional = self.transactional_id.is_some();
        self.acks = cursor.i16()?;
        self.timeout_ms = cursor.i32()?;

        let count_start = cursor.position();
        let topics = cursor.array_len_non_null(flexible, topic_bytes_min(version, flexible))?;
        self.topics_count = count_start..cursor.position();
        self.topics.reserve(Cursor::reservable(topics));
        Ok(topics)
    }

    // Always: it has one caller, and a short request would take one percent longer.
    #[inline(always)]
    fn begin_topic(
        &mut self,
        cursor: &mut Cursor<'_>,
        version: i16,
        frame: &[u8],
    ) -> Result<usize, ProtocolError> {
        let (name, id) = if version >= 13 {
            let id = cursor.uuid()?;
            (cursor.position()..cursor.position(), Some(id))
        } else {
            (cursor.text_span(self.flexible)?, None)
        };
        let count_start = cursor.position();
        let count = cursor.array_len_non_null(self.flexible, partition_bytes_min(self.flexible))?;
        let first = self.partitions.len();
        if count > PRODUCE_PARTITIONS_MAX.saturating_sub(first) || self.topics.len() >= PRODUCE_PARTITIONS_MAX
        {
            return Err(ProtocolError::TooManyPartitions);
        }
        self.partitions.reserve(Cursor::reservable(count));
        self.topic_hash = self.identities.hasher().hash_one((id, frame.get(name.clone())));
        self.topics.push(ProduceTopic {
            name,
            id,
            partitions: first..first,
            partitions_count: count_start..cursor.position(),
            end: 0,
        });
        Ok(count)
    }

    // Always: it has one caller, and a short request would take one percent longer.
    #[inline(always)]
    fn parse_partition(
        &mut self,
        cursor: &mut Cursor<'_>,
        _: i16,
        frame: &[u8],
    ) -> Result<Option<usize>, ProtocolError> {
        let index = cursor.i32()?;
        let (records_length, records) = cursor.bytes_spans(self.flexible)?;
        cursor.skip_tagged_fields_if(self.flexible)?;
        let records_bytes = records.as_ref().map_or(0, Range::len);
        let partition = ProducePartition {
            topic: self.topics.len().saturating_sub(1),
            index,
            records,
            records_length,
            end: cursor.position(),
            superseded: false,
        };
        self.note_identity(&partition, frame);
        self.partitions.push(partition);
        Ok(Some(records_bytes))
    }

    fn end_topic(&mut self, cursor: &mut Cursor<'_>) -> Result<(), ProtocolError> {
        cursor.skip_tagged_fields_if(self.flexible)?;
        if let Some(topic) = self.topics.last_mut() {
            topic.partitions.end = self.partitions.len();
            topic.end = cursor.position();
        }
        Ok(())
    }

    fn parse_tail(&mut self, cursor: &mut Cursor<'_>, _: i16, _: &[u8]) -> Result<(), ProtocolError> {
        cursor.skip_tagged_fields_if(self.flexible)
    }
}

/// How long the length of so many bytes of records is.
fn length_bytes(flexible: bool, records: usize) -> usize {
    if !flexible {
        return size_of::<i32>();
    }
    let mut left = records.saturating_add(1) >> 7;
    let mut bytes = 1_usize;
    while left > 0 {
        left >>= 7;
        bytes = bytes.saturating_add(1);
    }
    bytes
}

/// A partition has a number, the length of its records, and a count of tagged fields where flexible.
fn partition_bytes_min(flexible: bool) -> usize {
    if flexible { 4 + 1 + 1 } else { 4 + 4 }
}
