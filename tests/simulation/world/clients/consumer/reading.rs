//! What a consumer makes of answers: records of whole batches, in order, without those of aborted transactions where it
//! reads what is committed.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use kafka_protocol::messages::fetch_response::PartitionData;
use kafka_protocol::messages::{FetchResponse, ListOffsetsResponse};
use sealwire::record_batch::{BatchHeader, BatchKind, Batches, stored_records};

use super::{Asked, Consumer, Delivered};
use crate::wire::decode_response;
use crate::world::clients::Place;
use crate::world::clients::errors::{Reading, reading};
use crate::world::clients::network::Event;
use crate::world::clients::value::{Value, is_refused};

impl Consumer {
    pub(super) fn takes_in(&mut self, event: Event) {
        match event {
            Event::Answered {
                correlation_id,
                frame,
            } => match self.asked.remove(&correlation_id).expect("an answer to nothing") {
                (node, Asked::Offsets { version, places }) => {
                    let answer: ListOffsetsResponse = decode_response(&frame, version);
                    self.network.throttle(node, answer.throttle_time_ms, self.now);
                    self.learns_offsets(&places, &answer);
                }
                (node, Asked::Fetch { version, places }) => {
                    let answer: FetchResponse = decode_response(&frame, version);
                    self.network.throttle(node, answer.throttle_time_ms, self.now);
                    self.learns_records(node, &places, &answer);
                }
            },
            Event::Unanswered { correlation_id } => {
                if let Some((node, Asked::Fetch { places, .. })) = self.asked.remove(&correlation_id) {
                    if let Some(session) = self.sessions.get_mut(&node) {
                        session.begin_anew(false);
                    }
                    for place in places.keys() {
                        self.position_of(place).preferred = None;
                    }
                }
            }
        }
    }

    fn position_of(&mut self, place: &Place) -> &mut super::Position {
        self.positions.get_mut(place).expect("a partition that it reads")
    }

    fn learns_offsets(&mut self, places: &[Place], answer: &ListOffsetsResponse) {
        for topic in &answer.topics {
            for partition in &topic.partitions {
                let place = (topic.name.0.to_string(), partition.partition_index);
                assert!(places.contains(&place), "{place:?} was not asked for");
                match reading(partition.error_code) {
                    Reading::Data => self.position_of(&place).offset = Some(partition.offset),
                    Reading::OutOfRange | Reading::Again | Reading::Refused => self.asks_again(&place),
                }
            }
        }
    }

    fn asks_again(&mut self, place: &Place) {
        self.network.refresh(self.now);
        let not_before = self.now + RETRY_BACK_OFF;
        self.position_of(place).not_before = not_before;
    }

    fn learns_records(&mut self, node: i32, places: &BTreeMap<Place, i64>, answer: &FetchResponse) {
        let session = self.sessions.get_mut(&node).expect("it was asked");
        match answer.error_code {
            0 => {}
            70 | 71 => return session.begin_anew(answer.error_code == 70),
            other => panic!("no consumer knows the code {other} of a fetch"),
        }
        let is_full = session.is_full();
        // KIP-219: a broker that throttles leaves out all partitions, and opens no session.
        if is_full && answer.responses.is_empty() && answer.throttle_time_ms > 0 {
            return session.begin_anew(false);
        }
        session.answered(answer.session_id);
        let mut answered = BTreeSet::new();
        for topic in &answer.responses {
            for partition in &topic.partitions {
                let place = (topic.topic.0.to_string(), partition.partition_index);
                let asked = *places
                    .get(&place)
                    .unwrap_or_else(|| panic!("{place:?} was not asked for"));
                self.learns_partition(node, &place, asked, partition);
                answered.insert(place);
            }
        }
        // Java throws such an answer away; here neither a broker nor anybody between may give one.
        assert!(
            !is_full || answered.iter().eq(places.keys()),
            "a full answer lacks partitions: {answered:?}"
        );
    }

    fn learns_partition(&mut self, node: i32, place: &Place, asked: i64, partition: &PartitionData) {
        let is_leader = self.network.cluster.leader(place) == Some(node);
        match reading(partition.error_code) {
            Reading::Data => {}
            // A follower may be behind: only the leader knows.
            Reading::OutOfRange if is_leader => {
                self.position_of(place).offset = None;
                return;
            }
            Reading::OutOfRange | Reading::Again => {
                self.position_of(place).preferred = None;
                return self.asks_again(place);
            }
            Reading::Refused => {
                let told = (place.clone(), partition.error_code);
                *self.refusals.entry(told).or_default() += 1;
                if is_refused(&place.0) {
                    self.position_of(place).not_before = Duration::MAX;
                    return;
                }
                return self.asks_again(place);
            }
        }
        let end = if self.settings.read_committed {
            partition.last_stable_offset
        } else {
            partition.high_watermark
        };
        let preferred = partition.preferred_read_replica.0;
        let until = self.now + PREFERRED_AGE_MAX;
        let position = self.position_of(place);
        // A follower knows of an older end.
        if is_leader {
            position.end = Some(end);
        }
        if preferred >= 0 {
            position.preferred = Some((preferred, until));
            if !self.network.cluster.nodes.contains_key(&preferred) {
                // The leader knows it still, or again.
                self.asks_again(place);
            }
            return;
        }
        if position.offset == Some(asked) {
            self.reads(place, asked, partition);
        }
    }

    fn reads(&mut self, place: &Place, asked: i64, partition: &PartitionData) {
        let records = partition.records.clone().unwrap_or_default();
        let mut next = asked;
        let mut aborted = Aborted::new(self.settings.read_committed, partition);
        for slice in Batches::new(&records).map_while(Result::ok) {
            let BatchKind::V2(header) = slice.kind else {
                panic!("an old message set")
            };
            let batch = slice.span.of(&records);
            if !aborted.hides(&header, batch) && !header.attributes.is_control() {
                self.reads_batch(place, next, &header, batch);
            }
            next = next.max(header.base_offset + i64::from(header.last_offset_delta) + 1);
        }
        self.position_of(place).offset = Some(next);
    }

    fn reads_batch(&mut self, place: &Place, from: i64, header: &BatchHeader, batch: &[u8]) {
        let mut plain = Vec::new();
        let (bytes, mut cursor) =
            stored_records(batch, header, PLAIN_BYTES_MAX, &mut self.decompressor, &mut plain)
                .expect("a batch that a client can read");
        while let Some(record) = cursor.next(bytes).expect("a record") {
            let offset = header.base_offset + i64::from(record.offset_delta);
            let value = record.value.expect("a value").of(bytes);
            if offset >= from {
                self.delivered.push(Delivered {
                    place: place.clone(),
                    offset,
                    value: Value::read(&place.0, value),
                });
            }
        }
    }
}

/// The transactions of a partition that were aborted, as the broker names them beside the records.
struct Aborted {
    /// First offset and producer, the next one last.
    coming: Vec<(i64, i64)>,
    producers: BTreeSet<i64>,
}

impl Aborted {
    fn new(read_committed: bool, partition: &PartitionData) -> Self {
        let named = partition.aborted_transactions.iter().flatten();
        let mut coming: Vec<(i64, i64)> = named
            .filter(|_| read_committed)
            .map(|aborted| (aborted.first_offset, aborted.producer_id.0))
            .collect();
        coming.sort_unstable_by(|one, other| other.cmp(one));
        Self {
            coming,
            producers: BTreeSet::new(),
        }
    }

    /// Whether the next batch is of an aborted transaction.
    fn hides(&mut self, header: &BatchHeader, batch: &[u8]) -> bool {
        let last_offset = header.base_offset + i64::from(header.last_offset_delta);
        while let Some((_, producer)) = self.coming.pop_if(|(first, _)| *first <= last_offset) {
            self.producers.insert(producer);
        }
        if header.attributes.is_control() {
            if is_abort(header, batch) {
                self.producers.remove(&header.producer_id);
            }
            return false;
        }
        header.attributes.is_transactional() && self.producers.contains(&header.producer_id)
    }
}

/// Whether the one record of a control batch is the marker of an abort: its key is version 0, type 0.
fn is_abort(header: &BatchHeader, batch: &[u8]) -> bool {
    let record = sealwire::record_batch::RecordCursor::stored(header, sealwire::record_batch::HEADER_BYTES)
        .next(batch)
        .expect("a record")
        .expect("a marker");
    record.key.expect("a key").of(batch)[2..4] == [0, 0]
}

const RETRY_BACK_OFF: Duration = Duration::from_millis(100);
/// How long a consumer keeps to a replica before it asks the leader again.
const PREFERRED_AGE_MAX: Duration = Duration::from_secs(60);
const PLAIN_BYTES_MAX: usize = 16 << 20;
