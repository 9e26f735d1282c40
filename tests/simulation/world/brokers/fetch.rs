//! Fetch: waits until there is enough, or long enough, and gives out what a replica may show.
//!
//! - FETCH-1: nothing above the high watermark that this node knows is given out, and to those that read what is
//!   committed nothing above the last stable offset.
//! - FETCH-2: the first batch of an answer is whole however small the bounds are; the last one may be cut off.

use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::fetch_response::{AbortedTransaction, FetchableTopicResponse, PartitionData};
use kafka_protocol::messages::{BrokerId, FetchRequest, FetchResponse, ProducerId};

use super::cluster::Cluster;
use super::connection::{Answer, Quota, Waiting};
use super::metadata::rack_of;
use super::partition::Replica;
use super::requests::{Outcome, Request};
use super::sessions::{Asked, Wanted};

use crate::wire::response;

/// A Fetch request, answered or not.
pub(super) struct WaitingFetch {
    pub(super) due: Duration,
    version: i16,
    correlation_id: i32,
    min_bytes: usize,
    max_bytes: usize,
    committed: bool,
    /// The node in whose rack the client is.
    near: Option<i32>,
    asked: Asked,
}

/// What a replica shows to one who reads it.
struct View<'a> {
    replica: &'a Replica,
    /// The batches that may be given out, by number.
    batches: std::ops::Range<usize>,
    last_stable_offset: i64,
    /// Where it should be read instead.
    preferred: Option<i32>,
}

impl View<'_> {
    fn bytes(&self) -> usize {
        let log = &self.replica.log;
        log.position(self.batches.end) - log.position(self.batches.start)
    }
}

/// The first version in which clients say where they are, and followers answer.
const FOLLOWERS_FROM: i16 = 11;

impl Cluster {
    pub(super) fn fetch(&mut self, request: &Request, body: FetchRequest, quota: &mut Quota) -> Outcome {
        let sessions = &mut self.nodes.get_mut(&request.node).unwrap().sessions;
        let asked = match sessions.asked(&body) {
            Ok(asked) => asked,
            Err(error) => return request.answer(&FetchResponse::default().with_error_code(error.code())),
        };
        let throttle = quota.throttle(request.now);
        if !throttle.is_zero() {
            return throttled(request, &asked, throttle);
        }
        let waiting = WaitingFetch {
            due: request.now + Duration::from_millis(body.max_wait_ms.max(0) as u64),
            version: request.version,
            correlation_id: request.correlation_id,
            min_bytes: usize::try_from(body.min_bytes).unwrap_or(0),
            max_bytes: usize::try_from(body.max_bytes).unwrap_or(0),
            committed: body.isolation_level == 1,
            near: self
                .nodes
                .keys()
                .copied()
                .find(|node| rack_of(*node) == body.rack_id),
            asked,
        };
        match self.answer_fetch(request.node, &waiting, quota, request.now) {
            Some(answer) => Outcome::Answer(answer),
            None => Outcome::Waits(Waiting::Fetch(waiting)),
        }
    }

    /// The answer, if it is time for it.
    pub(super) fn answer_fetch(
        &mut self,
        node: i32,
        waiting: &WaitingFetch,
        quota: &mut Quota,
        now: Duration,
    ) -> Option<Answer> {
        let wanted = match &waiting.asked {
            Asked::Full { partitions, .. } => partitions,
            Asked::Session(id) => match self.nodes[&node].sessions.partitions(*id) {
                Some(partitions) => partitions,
                None => {
                    let error = ResponseError::FetchSessionIdNotFound;
                    let lost = FetchResponse::default().with_error_code(error.code());
                    return Some(response(waiting.version, waiting.correlation_id, &lost).into());
                }
            },
        };
        if now < waiting.due && !self.is_enough(node, waiting, wanted) {
            return None;
        }
        let bytes = self.read(node, waiting, wanted.to_vec());
        quota.use_up(bytes.len(), now);
        Some(bytes.into())
    }

    fn is_enough(&self, node: i32, waiting: &WaitingFetch, wanted: &[Wanted]) -> bool {
        let mut bytes = 0;
        for wanted in wanted {
            match self.view(node, waiting, wanted) {
                Ok(view) if view.preferred.is_none() => bytes += view.bytes().min(wanted.max_bytes),
                // What is there has nothing to wait for.
                _ => return true,
            }
        }
        wanted.is_empty() || bytes >= waiting.min_bytes
    }

    fn view(&self, node: i32, waiting: &WaitingFetch, wanted: &Wanted) -> Result<View<'_>, ResponseError> {
        let partition = self.partition((wanted.topic.0.as_str(), wanted.partition))?;
        let leads = partition.leader == node;
        let replica = partition
            .replicas
            .get(&node)
            .filter(|_| leads || waiting.version >= FOLLOWERS_FROM)
            .ok_or(ResponseError::NotLeaderOrFollower)?;
        if !(0..=replica.log.end()).contains(&wanted.offset) {
            return Err(ResponseError::OffsetOutOfRange);
        }
        let last_stable_offset = replica.log.last_stable_offset(replica.high_watermark);
        let end = if waiting.committed {
            last_stable_offset
        } else {
            replica.high_watermark
        };
        let preferred = waiting.near.filter(|near| {
            let follower = partition.replicas.get(near);
            leads
                && *near != node
                && self.nodes[near].registered
                && follower.is_some_and(|follower| follower.log.end() >= wanted.offset)
        });
        let start = replica.log.index_of(wanted.offset);
        Ok(View {
            replica,
            batches: start..replica.log.index_of(end).max(start),
            last_stable_offset,
            preferred,
        })
    }

    fn read(&mut self, node: i32, waiting: &WaitingFetch, mut wanted: Vec<Wanted>) -> Vec<u8> {
        let is_session = matches!(waiting.asked, Asked::Session(_));
        let mut left = waiting.max_bytes;
        let mut topics: Vec<FetchableTopicResponse> = Vec::new();
        let (mut read, mut unread) = (Vec::new(), Vec::new());
        let mut is_first = true;
        for mut wanted in wanted.drain(..) {
            let data = self.read_partition(node, waiting, &wanted, left, is_first);
            let bytes = data.records.as_ref().map_or(0, Bytes::len);
            left = left.saturating_sub(bytes);
            is_first &= bytes == 0;
            let is_news = bytes > 0
                || data.error_code != 0
                || data.preferred_read_replica.0 >= 0
                || wanted.told_high_watermark != Some(data.high_watermark);
            // An error is told each time, and what comes behind it as well.
            wanted.told_high_watermark = (data.error_code == 0).then_some(data.high_watermark);
            if is_news || !is_session {
                match topics.last_mut() {
                    Some(topic) if topic.topic == wanted.topic => topic.partitions.push(data),
                    _ => topics.push(
                        FetchableTopicResponse::default()
                            .with_topic(wanted.topic.clone())
                            .with_partitions(vec![data]),
                    ),
                }
            }
            // Who has had something comes last the next time.
            if bytes > 0 { &mut read } else { &mut unread }.push(wanted);
        }
        unread.extend(read);
        let sessions = &mut self.nodes.get_mut(&node).unwrap().sessions;
        let session_id = match &waiting.asked {
            Asked::Full { opens: false, .. } => 0,
            Asked::Full { opens: true, .. } => sessions.open(unread),
            Asked::Session(id) => {
                if let Some(partitions) = sessions.partitions_mut(*id) {
                    *partitions = unread;
                }
                *id
            }
        };
        let body = FetchResponse::default()
            .with_session_id(session_id)
            .with_responses(topics);
        response(waiting.version, waiting.correlation_id, &body)
    }

    fn read_partition(
        &mut self,
        node: i32,
        waiting: &WaitingFetch,
        wanted: &Wanted,
        left: usize,
        is_first: bool,
    ) -> PartitionData {
        let data = PartitionData::default().with_partition_index(wanted.partition);
        let view = match self.view(node, waiting, wanted) {
            Ok(view) => view,
            Err(error) => {
                return data
                    .with_error_code(error.code())
                    .with_high_watermark(-1)
                    .with_aborted_transactions(None);
            }
        };
        let log = &view.replica.log;
        let mut data = data
            .with_high_watermark(view.replica.high_watermark)
            .with_last_stable_offset(view.last_stable_offset)
            .with_log_start_offset(0)
            .with_aborted_transactions(None);
        if let Some(preferred) = view.preferred {
            return data.with_preferred_read_replica(BrokerId(preferred));
        }
        let mut bytes = Vec::new();
        let bound = wanted.max_bytes.min(left);
        let mut end = wanted.offset;
        for batch in &log.batches()[view.batches.clone()] {
            let room = bound.saturating_sub(bytes.len());
            let whole_first = bytes.is_empty() && is_first;
            if batch.bytes.len() <= room || whole_first {
                bytes.extend_from_slice(&batch.bytes);
                end = batch.end();
            } else {
                // What would be nothing but a part of a batch is left out.
                if !bytes.is_empty() {
                    bytes.extend_from_slice(&batch.bytes[..room]);
                }
                break;
            }
        }
        if waiting.committed {
            let aborted = log.aborted_between(wanted.offset, end);
            let aborted = aborted.map(|(producer_id, first_offset)| {
                AbortedTransaction::default()
                    .with_producer_id(ProducerId(producer_id))
                    .with_first_offset(first_offset)
            });
            data = data.with_aborted_transactions(Some(aborted.collect()));
        }
        if !bytes.is_empty() {
            self.lie(node, wanted, &mut bytes);
        }
        data.with_records(Some(Bytes::from(bytes)))
    }
}

/// Nothing, until the client may have something again; the epoch of its session has moved even so.
fn throttled(request: &Request, asked: &Asked, throttle: Duration) -> Outcome {
    let session_id = match asked {
        Asked::Full { .. } => 0,
        Asked::Session(id) => *id,
    };
    let body = FetchResponse::default()
        .with_throttle_time_ms(throttle.as_millis() as i32)
        .with_session_id(session_id);
    Outcome::Answer(Answer {
        bytes: response(request.version, request.correlation_id, &body),
        throttle,
    })
}
