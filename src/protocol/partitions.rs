//! Where a response has its partitions, their records, and brokers' addresses: what responses that carry records have
//! in common.
//!
//! Whoever works on the records sees no position of the wire: partitions have numbers from 0, in the order of the
//! frame, and what becomes of their records is said to a [`RecordsRewriting`].

mod rewriting;

use std::ops::Range;

use super::bounds::recycle;
use super::endpoints::Endpoints;

pub use self::rewriting::{RecordsRewriting, RecordsStep};

/// The partitions of one response.
#[derive(Debug, Default)]
pub struct ResponsePartitions {
    pub(super) topics: Vec<TopicPlace>,
    /// Of all topics, in the order of the frame.
    pub(super) partitions: Vec<PartitionPlace>,
    pub(super) endpoints: Endpoints,
    pub(super) flexible: bool,
    pub(super) frame_bytes: usize,
}

/// One topic of a response.
#[derive(Debug)]
pub(super) struct TopicPlace {
    /// Its name in the frame, UTF-8; empty where it has an id.
    pub(super) name: Range<usize>,
    pub(super) id: Option<[u8; 16]>,
}

/// One partition of a response.
#[derive(Debug)]
pub struct PartitionPlace {
    /// The partition's number.
    pub index: i32,
    pub error_code: i16,
    pub high_watermark: i64,
    /// Index of its topic.
    pub(super) topic: usize,
    /// Where in the frame the error code (i16) is.
    pub(super) error_code_at: usize,
    /// Its records (without the length); `None` is null.
    pub(super) records: Option<Range<usize>>,
    /// The field that holds the records' length.
    pub(super) records_length: Range<usize>,
    /// Behind the partition's last byte.
    pub(super) end: usize,
}

impl PartitionPlace {
    /// Bytes of it in front of its records.
    pub fn head_bytes(&self) -> usize {
        self.records_length.start.saturating_sub(self.error_code_at)
    }
}

impl ResponsePartitions {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.partitions.len()
    }

    /// Whether there is none.
    #[cfg(feature = "testing")]
    pub fn is_empty(&self) -> bool {
        self.partitions.is_empty()
    }

    /// The partition of this number.
    pub fn get(&self, position: usize) -> Option<&PartitionPlace> {
        self.partitions.get(position)
    }

    /// The name of a partition's topic. `None` when topics have ids, or when this is not the frame that was parsed.
    pub fn topic_name<'a>(&self, frame: &'a [u8], position: usize) -> Option<&'a str> {
        let topic = self.topics.get(self.get(position)?.topic)?;
        if topic.id.is_some() {
            return None;
        }
        std::str::from_utf8(frame.get(topic.name.clone())?).ok()
    }

    /// A partition's records in the frame; empty where they are null.
    pub fn records<'a>(&self, frame: &'a [u8], position: usize) -> &'a [u8] {
        self.get(position)
            .and_then(|partition| frame.get(partition.records.clone()?))
            .unwrap_or_default()
    }

    /// The same, to be opened in place.
    pub fn records_mut<'a>(&self, frame: &'a mut [u8], position: usize) -> &'a mut [u8] {
        self.get(position)
            .and_then(|partition| frame.get_mut(partition.records.clone()?))
            .unwrap_or_default()
    }

    pub(super) fn clear(&mut self) {
        recycle(&mut self.topics);
        recycle(&mut self.partitions);
        self.endpoints.clear();
        self.frame_bytes = 0;
    }
}
