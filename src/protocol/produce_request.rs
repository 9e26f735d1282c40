//! Produce requests, versions 3 to 13: finds the records of each partition and writes the request anew with some of them replaced or cut.
//!
//! A layout is reused from frame to frame and allocates nothing once it has grown to the traffic.

use std::ops::Range;

use super::api_key::PRODUCE;
use super::cursor::{Cursor, ProtocolError};
use super::splice::{Emission, Splice};
use super::writer::{LengthForm, LengthSlot};
use super::{PARTITIONS_MAX, frame, recycle};

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

/// How far a request is written anew; see [`ProduceRequest::rewrite_on`].
#[derive(Debug)]
pub struct Rewriting {
    emission: Emission,
    topics_count: LengthSlot,
    topics: TopicsRewriting,
}

#[derive(Debug, Default)]
struct TopicsRewriting {
    /// Index of the topic that is written, or comes next.
    next: usize,
    kept: usize,
    /// Where in that topic the writing stopped.
    open: Option<OpenTopic>,
}

#[derive(Debug)]
struct OpenTopic {
    /// Where in the output it begins.
    start: usize,
    partitions_count: LengthSlot,
    /// Index of the partition that comes next.
    next: usize,
    kept: usize,
}

impl Rewriting {
    fn begin(layout: &ProduceRequest, frame: &[u8], out: &mut Vec<u8>) -> Result<Self, ProtocolError> {
        let mut emission = Emission::begin(frame, out)?;
        let form = LengthForm::of(layout.flexible);
        let topics_count =
            emission.edit(frame, out, |splice| splice.copy_slot(form, &layout.topics_count))?;
        Ok(Self {
            emission,
            topics_count,
            topics: TopicsRewriting::default(),
        })
    }

    /// What was written was moved forward in its buffer by `bytes`.
    pub fn move_forward(&mut self, bytes: usize) {
        self.emission.move_forward(bytes);
        self.topics_count.move_forward(bytes);
        if let Some(open) = &mut self.topics.open {
            open.start = open.start.saturating_sub(bytes);
            open.partitions_count.move_forward(bytes);
        }
    }
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

    /// Writes the request with what `each` makes of its partitions, length prefix included, in one go: [`Self::rewrite_on`].
    pub fn rewrite(
        &self,
        frame: &[u8],
        out: &mut Vec<u8>,
        each: &mut dyn FnMut(usize, &mut Vec<u8>) -> PartitionRewrite,
    ) -> Result<(), ProtocolError> {
        self.rewrite_on(frame, &mut None, out, &mut |position, out| {
            Some(each(position, out))
        })?;
        Ok(())
    }

    /// Writes the request with what `each` makes of its partitions, length prefix included, and says whether it is done.
    ///
    /// `each` is called once for every partition, in order, with its index in [`Self::partitions`] and with `out`, to which it may append the new
    /// records. A topic that loses its last partition is left out too; a request that loses its last topic is still
    /// written, since the broker's answer to it keeps the order of responses.
    ///
    /// Where `each` says `None` the rewriting stops: what it appended is taken back, and a later call with the same frame, `rewriting` and
    /// output begins with that partition. `rewriting` is `None` before the first call and after the last. On an error `out` is what it was.
    pub fn rewrite_on(
        &self,
        frame: &[u8],
        rewriting: &mut Option<Rewriting>,
        out: &mut Vec<u8>,
        each: &mut dyn FnMut(usize, &mut Vec<u8>) -> Option<PartitionRewrite>,
    ) -> Result<bool, ProtocolError> {
        if frame.len() != self.frame_bytes {
            return Err(ProtocolError::LayoutMismatch);
        }
        let mut state = match rewriting.take() {
            Some(state) => state,
            None => Rewriting::begin(self, frame, out)?,
        };
        let Rewriting { emission, topics, .. } = &mut state;
        let done = emission.edit(frame, out, |splice| {
            while let Some(topic) = self.topics.get(topics.next) {
                if !self.rewrite_topic(topic, topics, splice, each)? {
                    return Ok(false);
                }
                topics.next = topics.next.saturating_add(1);
            }
            Ok(true)
        })?;
        if !done {
            *rewriting = Some(state);
            return Ok(false);
        }
        let Rewriting {
            mut emission,
            topics_count,
            topics,
        } = state;
        if topics.kept == self.topics.len() {
            topics_count.leave();
        } else {
            emission.edit(frame, out, |splice| topics_count.fill(splice.out(), topics.kept))?;
        }
        emission.finish(frame, out)?;
        Ok(true)
    }

    /// Writes what is left of one topic, and says whether that is all of it.
    fn rewrite_topic(
        &self,
        topic: &ProduceTopic,
        topics: &mut TopicsRewriting,
        splice: &mut Splice<'_, '_>,
        each: &mut dyn FnMut(usize, &mut Vec<u8>) -> Option<PartitionRewrite>,
    ) -> Result<bool, ProtocolError> {
        let form = LengthForm::of(self.flexible);
        let mut open = match topics.open.take() {
            Some(open) => open,
            None => OpenTopic {
                start: splice.mark().written,
                partitions_count: splice.copy_slot(form, &topic.partitions_count)?,
                next: topic.partitions.start,
                kept: 0,
            },
        };
        while open.next < topic.partitions.end {
            let partition = self
                .partitions
                .get(open.next)
                .ok_or(ProtocolError::LayoutMismatch)?;
            let mark = splice.mark();
            let length_slot = splice.copy_slot(form, &partition.records_length)?;
            match each(open.next, splice.out()) {
                None => {
                    splice.rewind(mark)?;
                    topics.open = Some(open);
                    return Ok(false);
                }
                Some(PartitionRewrite::Keep) => {
                    splice.take_back(length_slot.content_start())?;
                    length_slot.leave();
                    splice.copy_to(partition.end)?;
                    open.kept = open.kept.saturating_add(1);
                }
                Some(PartitionRewrite::Written) => {
                    length_slot.fill_with_content_len(splice.out())?;
                    if let Some(records) = &partition.records {
                        splice.skip_to(records.end)?;
                    }
                    splice.copy_to(partition.end)?;
                    open.kept = open.kept.saturating_add(1);
                }
                Some(PartitionRewrite::Cut) => {
                    splice.take_back(mark.written)?;
                    splice.skip_to(partition.end)?;
                }
            }
            open.next = open.next.saturating_add(1);
        }
        if open.kept == 0 && !topic.partitions.is_empty() {
            splice.take_back(open.start)?;
            splice.skip_to(topic.end)?;
            return Ok(true);
        }
        if open.kept == topic.partitions.len() {
            open.partitions_count.leave();
        } else {
            open.partitions_count.fill(splice.out(), open.kept)?;
        }
        splice.copy_to(topic.end)?;
        topics.kept = topics.kept.saturating_add(1);
        Ok(true)
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
