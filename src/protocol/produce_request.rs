//! Produce requests, versions 3 to 13: finds the records of each partition and writes the request anew with some of them replaced or cut.
//!
//! A layout is reused from frame to frame and allocates nothing once it has grown to the traffic.

use std::ops::Range;

use super::api_key::PRODUCE;
use super::cursor::{Cursor, ProtocolError};
use super::{PARTITIONS_MAX, frame, recycle};

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
    by_identity: Vec<u32>,
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
    /// Parses a request frame of `version`. On an error the layout is empty.
    ///
    /// A partition that occurs twice is [`ProtocolError::DuplicatePartition`]: brokers answer it with one entry, so that a refusal of one
    /// of the two could not be told.
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
        recycle(&mut self.by_identity);
        self.acks = 0;
        self.timeout_ms = 0;
        self.transactional = false;
        self.transactional_id = None;
        self.topics_count = 0..0;
        self.frame_bytes = 0;
    }

    fn fill(&mut self, frame: &[u8], version: i16) -> Result<(), ProtocolError> {
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
        for _ in 0..topics {
            self.fill_topic(&mut cursor, version)?;
        }
        cursor.skip_tagged_fields_if(flexible)?;
        cursor.expect_end()?;
        self.refuse_duplicates(frame)
    }

    fn fill_topic(&mut self, cursor: &mut Cursor<'_>, version: i16) -> Result<(), ProtocolError> {
        let flexible = self.flexible;
        let (name, id) = if version >= 13 {
            let id = cursor.uuid()?;
            (cursor.position()..cursor.position(), Some(id))
        } else {
            (cursor.string_span(flexible)?, None)
        };
        let count_start = cursor.position();
        let count = cursor.array_len_non_null(flexible, partition_bytes_min(flexible))?;
        let partitions_count = count_start..cursor.position();
        let first = self.partitions.len();
        if count > PARTITIONS_MAX.saturating_sub(first) {
            return Err(ProtocolError::TooManyPartitions);
        }
        self.partitions.reserve(Cursor::reservable(count));
        for _ in 0..count {
            let index = cursor.i32()?;
            let length_start = cursor.position();
            let records = cursor.bytes_span(flexible)?;
            let length_end = records
                .as_ref()
                .map_or(cursor.position(), |records| records.start);
            cursor.skip_tagged_fields_if(flexible)?;
            self.partitions.push(ProducePartition {
                topic: self.topics.len(),
                index,
                records,
                records_length: length_start..length_end,
                end: cursor.position(),
            });
        }
        cursor.skip_tagged_fields_if(flexible)?;
        if self.topics.len() >= PARTITIONS_MAX {
            return Err(ProtocolError::TooManyPartitions);
        }
        self.topics.push(ProduceTopic {
            name,
            id,
            partitions: first..self.partitions.len(),
            partitions_count,
            end: cursor.position(),
        });
        Ok(())
    }

    /// Sorts the partitions by topic and number, and looks for equal neighbours.
    fn refuse_duplicates(&mut self, frame: &[u8]) -> Result<(), ProtocolError> {
        let Self {
            topics,
            partitions,
            by_identity,
            ..
        } = self;
        if partitions.len() < 2 {
            return Ok(());
        }
        let identity = |position: &u32| {
            let partition = partitions.get(usize::try_from(*position).ok()?)?;
            let topic = topics.get(partition.topic)?;
            Some((topic.id, frame.get(topic.name.clone())?, partition.index))
        };
        by_identity.extend((0u32..).take(partitions.len()));
        by_identity.sort_unstable_by(|one, other| identity(one).cmp(&identity(other)));
        let twice = by_identity.windows(2).find_map(|pair| match pair {
            [one, other] if identity(one) == identity(other) => identity(one),
            _ => None,
        });
        match twice {
            Some((_, _, partition)) => Err(ProtocolError::DuplicatePartition { partition }),
            None => Ok(()),
        }
    }
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
