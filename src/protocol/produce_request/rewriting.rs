//! A Produce request written anew, step by step: what stays is copied piece by piece, and each partition waits for a
//! decision.
//!
//! ```text
//! advance -> Copied     call again
//!         -> Partition  keep, cut, or records
//!         -> Records    its new records are appended to the output; then written, keep, or cut
//!         -> End
//! ```
//!
//! - REWRITING-1: a step copies at most as much as it is told; nothing is copied twice.
//! - REWRITING-2: on an error the output is what it was (`WIRE-5`).

use super::super::error::ProtocolError;
use super::super::splice::Emission;
use super::super::writer::{LengthForm, LengthSlot};
use super::{ProducePartition, ProduceRequest, ProduceTopic};

/// How far a request is written anew; see the module.
#[derive(Debug)]
pub struct Rewriting {
    emission: Emission,
    /// What comes when the source is copied up to `target`.
    next: Next,
    target: usize,
    topics_count: Option<LengthSlot>,
    /// Index of the topic that is written, or comes next.
    topic: usize,
    topics_kept: usize,
    open: Option<WrittenTopic>,
}

/// Where a [`Rewriting`] stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Writing {
    /// So many bytes were copied, and there is more to do.
    Copied(usize),
    /// The partition of this index waits for a decision.
    Partition(usize),
    /// What is appended now are the records of the partition of this index.
    Records(usize),
    /// All is written.
    End,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    TopicsCount,
    Topic,
    PartitionsCount,
    Partition,
    /// The length of the records is copied.
    RecordsLength,
    Records,
    /// The partition is copied to its end.
    PartitionEnd,
    TopicEnd,
    FrameEnd,
}

#[derive(Debug)]
struct WrittenTopic {
    /// Where in the output it begins.
    start: usize,
    partitions_count: Option<LengthSlot>,
    /// Index of the partition that is written, or comes next.
    partition: usize,
    kept: usize,
    /// Where in the output that partition begins.
    partition_start: usize,
    records: Option<LengthSlot>,
}

impl Rewriting {
    /// Begins to write the request that `layout` was parsed from behind what `out` holds.
    pub fn begin(layout: &ProduceRequest, frame: &[u8], out: &mut Vec<u8>) -> Result<Self, ProtocolError> {
        if frame.len() != layout.frame_bytes {
            return Err(ProtocolError::LayoutMismatch);
        }
        Ok(Self {
            emission: Emission::begin(out),
            next: Next::TopicsCount,
            target: layout.topics_count.end,
            topics_count: None,
            topic: 0,
            topics_kept: 0,
            open: None,
        })
    }

    /// Goes on to the next decision, copying at most `bytes_max`.
    pub fn advance(
        &mut self,
        layout: &ProduceRequest,
        frame: &[u8],
        out: &mut Vec<u8>,
        bytes_max: usize,
    ) -> Result<Writing, ProtocolError> {
        let advanced = self.advance_or_leave_rest(layout, frame, out, bytes_max);
        if advanced.is_err() {
            self.emission.take_back_all(out);
        }
        advanced
    }

    fn advance_or_leave_rest(
        &mut self,
        layout: &ProduceRequest,
        frame: &[u8],
        out: &mut Vec<u8>,
        bytes_max: usize,
    ) -> Result<Writing, ProtocolError> {
        let form = LengthForm::of(layout.flexible);
        let mut left = bytes_max;
        loop {
            let copied = self.emission.copy_towards(frame, out, self.target, left)?;
            left = left.saturating_sub(copied);
            if self.emission.copied() < self.target {
                return Ok(Writing::Copied(bytes_max));
            }
            match self.next {
                Next::TopicsCount => {
                    self.topics_count = Some(LengthSlot::adopt(out, form, layout.topics_count.len())?);
                    self.next = Next::Topic;
                }
                Next::Topic => self.begin_topic(layout, out)?,
                Next::PartitionsCount => {
                    let topic = topic_of(layout, self.topic)?;
                    let open = self.open.as_mut().ok_or(ProtocolError::LayoutMismatch)?;
                    let slot = LengthSlot::adopt(out, form, topic.partitions_count.len())?;
                    open.partitions_count = Some(slot);
                    self.next = Next::Partition;
                }
                Next::Partition => {
                    let topic = topic_of(layout, self.topic)?;
                    let open = self.open.as_mut().ok_or(ProtocolError::LayoutMismatch)?;
                    if open.partition < topic.partitions.end {
                        open.partition_start = out.len();
                        return Ok(Writing::Partition(open.partition));
                    }
                    self.close_topic(topic, out)?;
                }
                Next::RecordsLength => {
                    let open = self.open.as_mut().ok_or(ProtocolError::LayoutMismatch)?;
                    let partition = partition_of(layout, open.partition)?;
                    let slot = LengthSlot::adopt(out, form, partition.records_length.len())?;
                    open.records = Some(slot);
                    self.next = Next::Records;
                }
                Next::Records => {
                    let open = self.open.as_ref().ok_or(ProtocolError::LayoutMismatch)?;
                    return Ok(Writing::Records(open.partition));
                }
                Next::PartitionEnd => {
                    let open = self.open.as_mut().ok_or(ProtocolError::LayoutMismatch)?;
                    open.kept = open.kept.saturating_add(1);
                    open.partition = open.partition.saturating_add(1);
                    self.next = Next::Partition;
                }
                Next::TopicEnd => {
                    self.topics_kept = self.topics_kept.saturating_add(1);
                    self.topic = self.topic.saturating_add(1);
                    self.next = Next::Topic;
                }
                Next::FrameEnd => {
                    self.emission.fill_length(out, 0)?;
                    return Ok(Writing::End);
                }
            }
        }
    }

    /// The partition goes on as it came; what was appended for its records is taken back.
    pub fn keep(&mut self, layout: &ProduceRequest, out: &mut Vec<u8>) -> Result<(), ProtocolError> {
        let open = self.open.as_mut().ok_or(ProtocolError::LayoutMismatch)?;
        let partition = partition_of(layout, open.partition)?;
        if let Some(records) = open.records.take() {
            out.truncate(records.content_start());
            records.leave();
        }
        self.go_on(Next::PartitionEnd, partition.end);
        Ok(())
    }

    /// The partition gets other records: they are to be appended when [`Writing::Records`] says so.
    pub fn records(&mut self, layout: &ProduceRequest) -> Result<(), ProtocolError> {
        let open = self.open.as_ref().ok_or(ProtocolError::LayoutMismatch)?;
        let partition = partition_of(layout, open.partition)?;
        self.go_on(Next::RecordsLength, partition.records_length.end);
        Ok(())
    }

    /// Between two pieces of the records that are appended: see [`LengthSlot::widen`].
    pub fn widen(&mut self, out: &mut Vec<u8>) -> Result<usize, ProtocolError> {
        let open = self.open.as_mut().ok_or(ProtocolError::LayoutMismatch)?;
        open.records.as_mut().map_or(Ok(0), |records| records.widen(out))
    }

    /// The records of the partition are what was appended.
    pub fn written(&mut self, layout: &ProduceRequest, out: &mut Vec<u8>) -> Result<(), ProtocolError> {
        let open = self.open.as_mut().ok_or(ProtocolError::LayoutMismatch)?;
        let partition = partition_of(layout, open.partition)?;
        let records = open.records.take().ok_or(ProtocolError::LayoutMismatch)?;
        records.fill_with_content_len(out)?;
        if let Some(records) = &partition.records {
            self.emission.skip_to(records.end)?;
        }
        self.go_on(Next::PartitionEnd, partition.end);
        Ok(())
    }

    /// The partition is left out.
    pub fn cut(&mut self, layout: &ProduceRequest, out: &mut Vec<u8>) -> Result<(), ProtocolError> {
        let open = self.open.as_mut().ok_or(ProtocolError::LayoutMismatch)?;
        let partition = partition_of(layout, open.partition)?;
        open.records = None;
        open.partition = open.partition.saturating_add(1);
        out.truncate(open.partition_start);
        self.emission.skip_to(partition.end)?;
        self.go_on(Next::Partition, partition.end);
        Ok(())
    }

    /// What was written was moved forward in its buffer by `bytes`.
    pub fn move_forward(&mut self, bytes: usize) {
        self.emission.move_forward(bytes);
        if let Some(count) = &mut self.topics_count {
            count.move_forward(bytes);
        }
        if let Some(open) = &mut self.open {
            open.start = open.start.saturating_sub(bytes);
            open.partition_start = open.partition_start.saturating_sub(bytes);
            let slots = [&mut open.partitions_count, &mut open.records];
            for slot in slots.into_iter().flatten() {
                slot.move_forward(bytes);
            }
        }
    }

    /// How far the source is copied or left out.
    pub fn copied(&self) -> usize {
        self.emission.copied()
    }

    /// Bytes of the source that are to be copied before the next decision: as many fit into the output, or it grows.
    pub fn copies_next(&self) -> usize {
        self.target.saturating_sub(self.copied())
    }

    /// Where in the output the request begins, its length included.
    pub fn start(&self) -> usize {
        self.emission.start()
    }

    fn go_on(&mut self, next: Next, target: usize) {
        self.next = next;
        self.target = target;
    }

    /// Begins with the next topic, or fills in how many there were.
    fn begin_topic(&mut self, layout: &ProduceRequest, out: &mut Vec<u8>) -> Result<(), ProtocolError> {
        let Some(topic) = layout.topics.get(self.topic) else {
            let count = self.topics_count.take().ok_or(ProtocolError::LayoutMismatch)?;
            fill(count, out, self.topics_kept, layout.topics.len())?;
            self.go_on(Next::FrameEnd, layout.frame_bytes);
            return Ok(());
        };
        self.open = Some(WrittenTopic {
            start: out.len(),
            partitions_count: None,
            partition: topic.partitions.start,
            kept: 0,
            partition_start: out.len(),
            records: None,
        });
        self.go_on(Next::PartitionsCount, topic.partitions_count.end);
        Ok(())
    }

    /// All partitions of the topic are written or left out.
    fn close_topic(&mut self, topic: &ProduceTopic, out: &mut Vec<u8>) -> Result<(), ProtocolError> {
        let open = self.open.take().ok_or(ProtocolError::LayoutMismatch)?;
        if open.kept == 0 && !topic.partitions.is_empty() {
            out.truncate(open.start);
            self.emission.skip_to(topic.end)?;
            self.topic = self.topic.saturating_add(1);
            self.go_on(Next::Topic, topic.end);
            return Ok(());
        }
        let count = open.partitions_count.ok_or(ProtocolError::LayoutMismatch)?;
        fill(count, out, open.kept, topic.partitions.len())?;
        self.go_on(Next::TopicEnd, topic.end);
        Ok(())
    }
}

/// A count that is what it was keeps its bytes.
fn fill(slot: LengthSlot, out: &mut Vec<u8>, count: usize, before: usize) -> Result<(), ProtocolError> {
    if count == before {
        slot.leave();
        return Ok(());
    }
    slot.fill(out, count)
}

fn topic_of(layout: &ProduceRequest, topic: usize) -> Result<&ProduceTopic, ProtocolError> {
    layout.topics.get(topic).ok_or(ProtocolError::LayoutMismatch)
}

fn partition_of(layout: &ProduceRequest, partition: usize) -> Result<&ProducePartition, ProtocolError> {
    layout
        .partitions
        .get(partition)
        .ok_or(ProtocolError::LayoutMismatch)
}
