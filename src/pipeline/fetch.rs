//! A Fetch response: each partition is opened, passed, or emptied with a code.
//!
//! What becomes of the records is said here, partition by partition; where they stand in the frame, and whether
//! anything of it is to be written anew, [`RecordsRewriting`] knows. A long response is worked off turn by turn, so
//! that it does not stall the executor's other connections.
//!
//! - FETCH-OPEN-1: partitions stay in place, whatever happens to their records (KIP-227).
//! - FETCH-OPEN-2: batches in front of one that may not be delivered are delivered first, with code 0; the code comes
//!   when that batch is the first.
//! - FETCH-OPEN-3: a batch whose key is on the way ends what is delivered of its partition: code 0, watermarks
//!   untouched. All keys of a response are asked for at once.
//! - FETCH-OPEN-4: a response that delivers nothing because of us is held, or clients spin ([`super::pace`]).
//! - FETCH-OPEN-5: a truncated tail is dropped, even if it is all there is: some clients read records out of a part of
//!   a batch, and nobody has verified them.
//! - FETCH-OPEN-6: opening makes a response longer where batches were compressed. Once it is longer than it was, and
//!   than `decompressed_batch_bytes_max`, what lies behind is left for the client's next fetch.
//! - FETCH-OPEN-7: of a batch whose records are all left out nothing is delivered: where others are delivered, what a
//!   client gets has a gap, as after compaction. Where a partition would deliver nothing else, one batch stands for the
//!   gap ([`Gap`](crate::record_batch::Gap)), or the client could not get past it; where it does not get past it even
//!   so, the response delivers nothing ([`super::told_gaps`]).

mod partition;
mod recordless;

use std::time::Instant;

use self::partition::PartitionWork;
use super::listener_map::ListenerMap;
use super::open::{OpenDraft, OpeningPool};
use super::refusal::FetchRefusal;
use super::seal_batch::has_room;
use super::told_gaps::{Telling, ToldGaps};
use super::topics::Topic;
use super::work::{PARTITION_WORK, Pause, Progress, STEP_MAX};
use super::{Pipeline, Refused};
use crate::audit::Operation;
use crate::growing;
use crate::identity::Client;
use crate::metrics::{CloseReason, Direction};
use crate::protocol::error_code;
use crate::protocol::fetch_response::FetchResponse;
use crate::protocol::partitions::{RecordsRewriting, RecordsStep};
use crate::rules::{Action, Users};

/// What responses use one after the other; one per executor.
#[derive(Default)]
pub(super) struct FetchPool {
    layout: FetchResponse,
    pub(super) opening: OpeningPool,
}

/// A Fetch response being worked off.
pub(super) struct FetchWork {
    layout: FetchResponse,
    parsed: bool,
    rewriting: RecordsRewriting,
    /// The partition whose records are being written.
    open: Option<PartitionWork>,
    /// Any records are delivered.
    delivers: bool,
    /// A partition was cut short because its key is on the way.
    waits: bool,
    /// A partition was emptied or cut short because of us.
    emptied: bool,
    /// Partitions whose refusals were counted and audited.
    noted: Vec<usize>,
    /// The same of earlier times, when the response was held: once is enough.
    noted_before: Vec<usize>,
    /// Gaps that it tells of.
    tellings: Vec<Telling>,
}

/// A response and what is known about it.
pub(super) struct FetchFrame<'a> {
    pub(super) listener: &'a ListenerMap,
    pub(super) client: &'a Client,
    /// Gaps that the client knows of.
    pub(super) told_gaps: &'a ToldGaps,
    /// Without its length.
    pub(super) frame: &'a mut [u8],
    pub(super) version: i16,
    /// Tells the executor's connections apart, for turns at the KMS.
    pub(super) connection: u32,
    /// Memory beyond what is usual may be taken.
    pub(super) may_grow: bool,
    /// When it was begun: what was or is learned of its keys from then on stands for it.
    pub(super) begun: Instant,
    pub(super) now: Instant,
}

/// What has come of a response.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Delivery {
    /// Nothing is changed: it goes on as it is.
    Verbatim,
    /// It is written.
    Written,
    /// It is written, and delivers nothing because of us: it is to be held.
    Nothing {
        /// It may deliver something when a key arrives.
        waits: bool,
    },
}

impl FetchWork {
    /// Begins with a response; its layout is taken from the pool and goes back with [`Self::finish`].
    pub(super) fn begin(pool: &mut FetchPool, frame: &[u8], version: i16) -> Result<Self, CloseReason> {
        let mut layout = std::mem::take(&mut pool.layout);
        layout
            .begin(frame, version)
            .map_err(|_| CloseReason::MalformedFrame)?;
        Ok(Self {
            layout,
            parsed: false,
            rewriting: RecordsRewriting::default(),
            open: None,
            delivers: false,
            waits: false,
            emptied: false,
            noted: Vec::new(),
            noted_before: Vec::new(),
            tellings: Vec::new(),
        })
    }

    /// Gives the layout back.
    pub(super) fn finish(self, pool: &mut FetchPool) {
        if let Some(draft) = self.open.and_then(|open| open.draft) {
            draft.end(&mut pool.opening);
        }
        pool.layout = self.layout;
    }

    /// Takes back what was written: it is to be worked off once more, from the start.
    pub(super) fn retract(&mut self, out: &mut Vec<u8>) {
        self.rewriting.take_back(out);
        self.noted_before.append(&mut self.noted);
        self.noted_before.sort_unstable();
        self.tellings.clear();
        self.open = None;
        self.delivers = false;
        self.waits = false;
        self.emptied = false;
    }

    /// Bytes of memory that it owns besides the output.
    pub(super) fn bytes_held(&self) -> usize {
        let draft = self.open.as_ref().and_then(|open| open.draft.as_ref());
        draft.map_or(0, OpenDraft::bytes_held)
    }

    /// Works until the response is written or the turn is over. What is written stands at the end of `out`, and is to
    /// be there again with the next call.
    pub(super) fn advance(
        &mut self,
        pipeline: &mut Pipeline,
        fetch: &mut FetchFrame<'_>,
        out: &mut Vec<u8>,
    ) -> Result<Progress<Delivery>, CloseReason> {
        let parse_on = |bytes_max| self.layout.parse_on(fetch.frame, bytes_max);
        let parsed = pipeline.work.parse(&mut self.parsed, parse_on);
        if !parsed.map_err(|_| CloseReason::MalformedFrame)? {
            return Ok(Progress::Paused(Pause::Spent));
        }
        loop {
            let room = self.rewriting.copies_next().min(STEP_MAX);
            if !has_room(out, room) {
                return Ok(Progress::Paused(Pause::Room(room)));
            }
            let copied = self.rewriting.copied().unwrap_or(0);
            let addresses = &mut |node_id| fetch.listener.address_of(node_id);
            let partitions = self.layout.partitions();
            let step = self
                .rewriting
                .advance(partitions, fetch.frame, out, STEP_MAX, addresses);
            let step = step.map_err(|_| CloseReason::MalformedFrame)?;
            let copied_now = self.rewriting.copied().unwrap_or(0).saturating_sub(copied);
            pipeline.work.charge_copied(copied_now);
            match step {
                RecordsStep::Copied if pipeline.work.is_spent() => return Ok(Progress::Paused(Pause::Spent)),
                RecordsStep::Copied => {}
                RecordsStep::Partition(1..) if pipeline.work.is_spent() => {
                    return Ok(Progress::Paused(Pause::Spent));
                }
                RecordsStep::Partition(position) => {
                    pipeline.work.charge(PARTITION_WORK);
                    self.decide(pipeline, fetch, position)?;
                    if self.start().is_none() && (self.emptied || self.open.is_some()) {
                        // Opening makes records shorter; the frame is in hand, so that its length is no mere
                        // announcement.
                        growing::reserve(out, fetch.frame.len().saturating_add(SLACK_BYTES));
                    }
                }
                RecordsStep::Records(_) => {
                    if let Some(pause) = self.write_records(pipeline, fetch, out)? {
                        return Ok(Progress::Paused(pause));
                    }
                    if pipeline.work.is_spent() {
                        return Ok(Progress::Paused(Pause::Spent));
                    }
                }
                RecordsStep::End { changed } => return Ok(Progress::Done(self.delivery(changed))),
            }
        }
    }

    fn delivery(&self, changed: bool) -> Delivery {
        if !changed {
            Delivery::Verbatim
        } else if self.emptied && !self.delivers {
            Delivery::Nothing { waits: self.waits }
        } else {
            Delivery::Written
        }
    }

    /// Whether any records are delivered, as far as it is done.
    pub(super) fn delivers(&self) -> bool {
        self.delivers
    }

    /// Gaps that it tells of, once it is written.
    pub(super) fn take_tellings(&mut self) -> Vec<Telling> {
        std::mem::take(&mut self.tellings)
    }

    /// Where in the output the response begins; `None` while nothing of it is written.
    pub(super) fn start(&self) -> Option<usize> {
        self.rewriting.start()
    }

    /// What was written was moved forward in its buffer by `bytes`.
    pub(super) fn move_forward(&mut self, bytes: usize) {
        self.rewriting.move_forward(bytes);
        let draft = self.open.as_mut().and_then(|open| open.draft.as_mut());
        if let Some(draft) = draft {
            draft.move_forward(bytes);
        }
    }

    /// Says what is done with a partition.
    fn decide(
        &mut self,
        pipeline: &mut Pipeline,
        fetch: &mut FetchFrame<'_>,
        position: usize,
    ) -> Result<(), CloseReason> {
        let malformed = |_| CloseReason::MalformedFrame;
        let partitions = self.layout.partitions();
        let partition = partitions.get(position).ok_or(CloseReason::Internal)?;
        let name = partitions.topic_name(fetch.frame, position);
        let name = name.ok_or(CloseReason::MalformedFrame)?;
        let topic = pipeline.topic(fetch.listener.cluster, name)?;
        let bytes = partitions.records(fetch.frame, position).len();
        let refusal = match topic.rule.as_ref().map(|rule| &rule.action) {
            _ if topic.passes(fetch.listener, fetch.client) => {
                if bytes > 0 {
                    self.delivers = true;
                    pipeline.metrics.topic(topic.metrics).passed(0, bytes as u64);
                }
                return self.rewriting.keep(partitions).map_err(malformed);
            }
            Some(Action::Pass(_) | Action::KafkaInternal) => FetchRefusal::NotNamed,
            Some(Action::Seal(rule)) if !rule.access.opens_for(fetch.listener.asking(fetch.client)) => {
                FetchRefusal::NotNamed
            }
            // AUDIT-4
            Some(Action::Seal(_)) if bytes > 0 && pipeline.audit_state.holds() => {
                self.waits = true;
                self.emptied = true;
                return self.rewriting.blank(partitions, None).map_err(malformed);
            }
            Some(Action::Seal(_)) if bytes == 0 => return self.rewriting.keep(partitions).map_err(malformed),
            Some(Action::Seal(_)) => {
                self.open = Some(PartitionWork::begin(position, topic, partition, bytes));
                return self.rewriting.replace(partitions).map_err(malformed);
            }
            Some(Action::Reject { .. }) => FetchRefusal::Rejected,
            None => FetchRefusal::NoRule,
        };
        // OWN-NAMES-2
        let users = topic
            .rule
            .as_ref()
            .map_or(Users::Nobody, |rule| rule.action.users());
        let conceals = fetch.listener.groups_of(fetch.client).is_some()
            && !users.see(fetch.listener.asking(fetch.client));
        // A broker's own error says more than ours.
        let ours = conceals || partition.error_code == error_code::NONE;
        let code = ours.then(|| refusal.error_code());
        let index = partition.index;
        if conceals {
            pipeline.work.charge(partition.head_bytes());
            self.layout
                .conceal(fetch.frame, position, fetch.version)
                .map_err(malformed)?;
        }
        let partitions = self.layout.partitions();
        self.rewriting.blank(partitions, code).map_err(malformed)?;
        self.emptied = true;
        if ours {
            let noted = Noted {
                topic: &topic,
                partition: index,
                offset: -1,
                refusal: &refusal,
                // To count them would take a look at each batch.
                records: 0,
                bytes,
            };
            self.note(pipeline, fetch, position, &noted);
        }
        Ok(())
    }

    fn note(&mut self, pipeline: &mut Pipeline, fetch: &FetchFrame<'_>, position: usize, noted: &Noted<'_>) {
        if self.noted_before.binary_search(&position).is_ok() {
            return;
        }
        self.noted.push(position);
        pipeline.metrics.topic(noted.topic.metrics).refused(
            Direction::Response,
            noted.refusal.reason(),
            noted.records,
            noted.bytes as u64,
        );
        pipeline.audit(Refused {
            cluster: fetch.listener.cluster,
            client: fetch.client,
            topic: noted.topic,
            partition: noted.partition,
            offset: noted.offset,
            operation: Operation::Fetch,
            reason: noted.refusal.audit_reason(),
            kek: noted.refusal.kek().cloned(),
        });
    }
}

/// A refusal, as it is counted and told to the audit log.
struct Noted<'a> {
    topic: &'a Topic,
    partition: i32,
    /// Of the batch; -1 where all of the partition is refused.
    offset: i64,
    refusal: &'a FetchRefusal,
    /// 0 where they are not known.
    records: u64,
    bytes: usize,
}

/// Room for what steps want before they write: a buffer that lacks a few bytes at its end would be moved whole.
const SLACK_BYTES: usize = 4096;
