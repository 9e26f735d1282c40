//! Produce requests, versions 3 to 13: finds the records of each partition and writes the request anew with some of them replaced or cut.
//!
//! A layout is reused from frame to frame and allocates nothing once it has grown to the traffic.

use std::collections::HashSet;
use std::hash::BuildHasher;
use std::ops::Range;

use super::api_key::PRODUCE;
use super::cursor::{Cursor, ProtocolError, parse_some};
use super::{PRODUCE_PARTITIONS_MAX, RETAINED_ELEMENTS_MAX, frame, recycle};

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
    /// Partitions that were parsed: the hash of the topic, and the number.
    identities: HashSet<(u64, i32)>,
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
}

/// What becomes of a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PartitionRewrite {
    /// It goes on as it came; what the callback appended is taken back.
    Keep,
    /// Its records are what the callback appended.
    Written,
    /// It is left out; what the callback appended is taken back.
    Cut,
}

impl ProduceRequest {
    /// Parses a request frame of `version`, in one go. On an error the layout is empty.
    ///
    /// A partition that occurs twice is [`ProtocolError::DuplicatePartition`]: brokers answer it with one entry, so that a refusal of one
    /// of the two could not be told.
    pub fn parse(&mut self, frame: &[u8], version: i16) -> Result<(), ProtocolError> {
        self.begin(frame, version)?;
        while !self.parse_on(frame, usize::MAX)? {}
        Ok(())
    }

    /// Begins to parse a request frame of `version`. On an error the layout is empty.
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

    /// Writes the request with what `each` makes of its partitions, length prefix included, in one go: a [`Rewriting`] to its end.
    ///
    /// `each` is called once for every partition, in order, with its index in [`Self::partitions`] and with `out`, to which it may append
    /// the new records. A topic all of whose partitions are cut is left out as well. On an error `out` is what it was.
    pub fn rewrite(
        &self,
        frame: &[u8],
        out: &mut Vec<u8>,
        each: &mut dyn FnMut(usize, &mut Vec<u8>) -> PartitionRewrite,
    ) -> Result<(), ProtocolError> {
        let mut rewriting = Rewriting::begin(self, frame, out)?;
        loop {
            match rewriting.advance(self, frame, out, usize::MAX)? {
                Writing::Copied(_) => {}
                Writing::Partition(_) => rewriting.records(self)?,
                Writing::Records(position) => match each(position, out) {
                    PartitionRewrite::Keep => rewriting.keep(self, out)?,
                    PartitionRewrite::Written => rewriting.written(self, out)?,
                    PartitionRewrite::Cut => rewriting.cut(self, out)?,
                },
                Writing::End => return Ok(()),
            }
        }
    }

    fn clear(&mut self) {
        recycle(&mut self.topics);
        recycle(&mut self.partitions);
        self.identities.clear();
        self.identities.shrink_to(RETAINED_ELEMENTS_MAX);
        self.parsing = Parsing::default();
        self.acks = 0;
        self.timeout_ms = 0;
        self.transactional = false;
        self.transactional_id = None;
        self.topics_count = 0..0;
        self.frame_bytes = 0;
    }

    fn fill_head(&mut self, frame: &[u8], version: i16) -> Result<(), ProtocolError> {
        if !(3..=13).contains(&version) {
            return Err(ProtocolError::UnsupportedVersion {
                api_key: PRODUCE,
                version,
            });
        }
        let flexible = version >= 9;
        self.flexible = flexible;
        self.frame_bytes = frame.len();
        let mut cursor = Cursor::new(frame);
        frame::skip_request_header(&mut cursor, flexible)?;

        let id = cursor.string(flexible)?.map(str::len);
        // INVARIANT: the text was just read, so that the position is at least its length.
        self.transactional_id = id.map(|length| cursor.position() - length..cursor.position());
        self.transactional = self.transactional_id.is_some();
        self.acks = cursor.i16()?;
        self.timeout_ms = cursor.i32()?;

        let count_start = cursor.position();
        let topics = cursor.array_len_non_null(flexible, topic_bytes_min(version))?;
        self.topics_count = count_start..cursor.position();
        self.topics.reserve(Cursor::reservable(topics));
        self.parsing = Parsing {
            version,
            at: cursor.position(),
            topics_left: topics,
            topic: None,
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
        let flexible = self.flexible;
        if let Some(open) = &mut parsing.topic {
            if let Some(left) = open.partitions_left.checked_sub(1) {
                open.partitions_left = left;
                let (topic_hash, topic) = (open.hash, self.topics.len());
                let partition = parse_partition(cursor, flexible, topic)?;
                let records = partition.records.clone().unwrap_or_default();
                self.note_identity(&open.topic, topic_hash, &partition, frame)?;
                self.partitions.push(partition);
                return Ok(Some(records.len()));
            }
            cursor.skip_tagged_fields_if(flexible)?;
            if self.topics.len() >= PRODUCE_PARTITIONS_MAX {
                return Err(ProtocolError::TooManyPartitions);
            }
            let mut topic = open.topic.clone();
            topic.partitions.end = self.partitions.len();
            topic.end = cursor.position();
            self.topics.push(topic);
            parsing.topic = None;
            return Ok(Some(0));
        }
        if let Some(left) = parsing.topics_left.checked_sub(1) {
            parsing.topics_left = left;
            parsing.topic = Some(self.begin_topic(cursor, parsing.version, frame)?);
            return Ok(Some(0));
        }
        cursor.skip_tagged_fields_if(flexible)?;
        cursor.expect_end()?;
        Ok(None)
    }

    fn begin_topic(
        &mut self,
        cursor: &mut Cursor<'_>,
        version: i16,
        frame: &[u8],
    ) -> Result<OpenTopic, ProtocolError> {
        let (name, id) = if version >= 13 {
            let id = cursor.uuid()?;
            (cursor.position()..cursor.position(), Some(id))
        } else {
            (cursor.string_span(self.flexible)?, None)
        };
        let count_start = cursor.position();
        let count = cursor.array_len_non_null(self.flexible, partition_bytes_min(self.flexible))?;
        let first = self.partitions.len();
        if count > PRODUCE_PARTITIONS_MAX.saturating_sub(first) {
            return Err(ProtocolError::TooManyPartitions);
        }
        self.partitions.reserve(Cursor::reservable(count));
        let hash = self.identities.hasher().hash_one((id, frame.get(name.clone())));
        Ok(OpenTopic {
            topic: ProduceTopic {
                name,
                id,
                partitions: first..first,
                partitions_count: count_start..cursor.position(),
                end: 0,
            },
            hash,
            partitions_left: count,
        })
    }

    /// Remembers a partition, unless it was there before.
    fn note_identity(
        &mut self,
        topic: &ProduceTopic,
        topic_hash: u64,
        partition: &ProducePartition,
        frame: &[u8],
    ) -> Result<(), ProtocolError> {
        if self.identities.insert((topic_hash, partition.index)) {
            return Ok(());
        }
        // Names are known by their hash, which two may have in common.
        let is_the_same = |other: &&ProducePartition| {
            let of_same_topic = match self.topics.get(other.topic) {
                Some(known) => {
                    known.id == topic.id && frame.get(known.name.clone()) == frame.get(topic.name.clone())
                }
                None => true,
            };
            other.index == partition.index && of_same_topic
        };
        match self.partitions.iter().find(is_the_same) {
            Some(_) => Err(ProtocolError::DuplicatePartition {
                partition: partition.index,
            }),
            None => Ok(()),
        }
    }
}

fn parse_partition(
    cursor: &mut Cursor<'_>,
    flexible: bool,
    topic: usize,
) -> Result<ProducePartition, ProtocolError> {
    let index = cursor.i32()?;
    let length_start = cursor.position();
    let records = cursor.bytes_span(flexible)?;
    let length_end = records
        .as_ref()
        .map_or(cursor.position(), |records| records.start);
    cursor.skip_tagged_fields_if(flexible)?;
    Ok(ProducePartition {
        topic,
        index,
        records,
        records_length: length_start..length_end,
        end: cursor.position(),
    })
}

/// How far a frame is parsed.
#[derive(Debug, Default)]
struct Parsing {
    version: i16,
    at: usize,
    topics_left: usize,
    topic: Option<OpenTopic>,
}

#[derive(Debug)]
struct OpenTopic {
    /// Without its end yet.
    topic: ProduceTopic,
    /// Of its name or id.
    hash: u64,
    partitions_left: usize,
}

/// A topic has a name or an id, a partition count, and a count of tagged fields where flexible.
fn topic_bytes_min(version: i16) -> usize {
    match version {
        13.. => 16 + 1 + 1,
        9.. => 1 + 1 + 1,
        _ => 2 + 4,
    }
}

/// A partition has a number, the length of its records, and a count of tagged fields where flexible.
fn partition_bytes_min(flexible: bool) -> usize {
    if flexible { 4 + 1 + 1 } else { 4 + 4 }
}
