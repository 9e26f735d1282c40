//! A Fetch response: each partition is opened, passed, or emptied with a code.
//!
//! The response is written anew in one pass: what lies between two records fields is copied. A long one is worked off turn by
//! turn, so that it does not stall the executor's other connections.
//!
//! - FETCH-OPEN-1: partitions stay in place, whatever happens to their records (KIP-227).
//! - FETCH-OPEN-2: batches in front of one that may not be delivered are delivered first, with code 0; the code comes when
//!   that batch is the first.
//! - FETCH-OPEN-3: a batch whose key is on the way ends what is delivered of its partition: code 0, watermarks untouched. All
//!   keys of a response are asked for at once.
//! - FETCH-OPEN-4: a response that delivers nothing because of us is held, or clients spin ([`super::pace`]).
//! - FETCH-OPEN-5: a truncated tail is dropped, even if it is all there is: some clients read records out of a part of a
//!   batch, and nobody has verified them.
//! - FETCH-OPEN-6: opening makes a response longer where batches were compressed. Once it is longer than it was, and than
//!   `decompressed_batch_bytes_max`, what lies behind is left for the client's next fetch.
//! - FETCH-OPEN-7: of a batch whose records are all left out nothing is delivered: where others are delivered, what a client
//!   gets has a gap, as after compaction. Where a partition would deliver nothing else, one batch stands for the gap
//!   ([`Gap`](crate::record_batch::Gap)), or the client could not get past it; where it does not get past it even so,
//!   the response delivers nothing ([`super::told_gaps`]).

mod partition;
mod recordless;

use std::ops::Range;
use std::rc::Rc;
use std::time::Instant;

use self::partition::OpenPartition;
use super::open_batch::{OpenDraft, OpeningPool};
use super::refusal::FetchRefusal;
use super::seal_batch::has_room;
use super::told_gaps::{Telling, ToldGaps};
use super::topics::Topic;
use super::work::{PARSED_BYTES, PARSING_WORK, PARTITION_WORK, STEP_MAX};
use super::{Pipeline, Refused};
use crate::identity::Client;
use crate::metrics::{CloseReason, Direction};
use crate::protocol::error_code;
use crate::protocol::fetch_response::{FetchPartition, FetchResponse};
use crate::protocol::writer::{LengthForm, LengthSlot};
use crate::rules::Action;

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
    /// Partitions that were looked at before anything is written: all of them pass, or are empty.
    passed: usize,
    /// The partition that comes next.
    partition: usize,
    /// What is done with it, once the frame is copied up to `copy_until`.
    next: Next,
    copy_until: usize,
    /// The partition that is half done.
    open: Option<OpenPartition>,
    /// How much of the frame is copied or replaced.
    copied: usize,
    /// Where the response begins in the output.
    start: usize,
    length: Option<LengthSlot>,
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

/// What comes when the frame is copied so far.
enum Next {
    /// A partition, or the end.
    Partition,
    /// The error code of a partition whose records are replaced.
    ErrorCode(Replacing),
    /// The length of these records.
    RecordsLength(Replacing, usize),
    /// The records of the open partition.
    Records,
    End,
}

/// Why the records of a partition are replaced.
enum Replacing {
    /// They are opened.
    Open(Rc<Topic>),
    /// They may not be delivered, for a reason that has this code; `None` keeps the broker's.
    Refused(Option<i16>),
}

/// A response and what is known about it.
pub(super) struct FetchFrame<'a> {
    pub(super) cluster: usize,
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

/// How far the work is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Fetched {
    /// The turn is over; call again.
    Partly,
    /// The output has to have room for so many bytes more first.
    Room(usize),
    /// More memory is needed than may be taken now.
    Full,
    /// Every partition is passed: it goes on as it is.
    Verbatim,
    /// The response is written.
    Written,
    /// The response is written, and delivers nothing because of us: it is to be held.
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
            passed: 0,
            partition: 0,
            next: Next::Partition,
            copy_until: 0,
            open: None,
            copied: 0,
            start: 0,
            length: None,
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

    /// To be worked off once more, from the start.
    pub(super) fn again(mut self) -> Self {
        self.noted_before.append(&mut self.noted);
        self.noted_before.sort_unstable();
        self.tellings.clear();
        Self {
            partition: 0,
            next: Next::Partition,
            copy_until: 0,
            open: None,
            copied: 0,
            start: 0,
            length: None,
            delivers: false,
            waits: false,
            emptied: false,
            ..self
        }
    }

    /// Bytes of memory that it owns besides the output.
    pub(super) fn bytes_held(&self) -> usize {
        let draft = self.open.as_ref().and_then(|open| open.draft.as_ref());
        draft.map_or(0, OpenDraft::bytes_held)
    }

    /// Works until the response is written or the turn is over. What is written stands at the end of `out`, and is to be there
    /// again with the next call.
    #[expect(clippy::too_many_lines, reason = "longer than a screen: to be split")]
    pub(super) fn advance(
        &mut self,
        pipeline: &mut Pipeline,
        fetch: &mut FetchFrame<'_>,
        out: &mut Vec<u8>,
    ) -> Result<Fetched, CloseReason> {
        let malformed = |_| CloseReason::MalformedFrame;
        while !self.parsed {
            self.parsed = self
                .layout
                .parse_on(fetch.frame, PARSED_BYTES)
                .map_err(malformed)?;
            if !self.parsed {
                pipeline.work.charge(PARSING_WORK);
                if pipeline.work.is_spent() {
                    return Ok(Fetched::Partly);
                }
            }
        }
        if self.length.is_none() {
            match self.look_for_work(pipeline, fetch)? {
                None => {}
                Some(fetched) => return Ok(fetched),
            }
            self.start = out.len();
            // Opening makes records shorter; the frame is in hand, so that its length is no mere announcement.
            out.reserve(fetch.frame.len().saturating_add(SLACK_BYTES));
            self.length = Some(LengthSlot::reserve(out, LengthForm::Int32, 0).map_err(malformed)?);
        }
        loop {
            if self.copied < self.copy_until {
                let piece = self.copy_until.saturating_sub(self.copied).min(STEP_MAX);
                if !has_room(out, piece) {
                    return Ok(Fetched::Room(piece));
                }
                self.copy_to(self.copied.saturating_add(piece), fetch.frame, out)?;
                pipeline.work.charge_copied(piece);
                if self.copied < self.copy_until && pipeline.work.is_spent() {
                    return Ok(Fetched::Partly);
                }
                continue;
            }
            match std::mem::replace(&mut self.next, Next::Partition) {
                Next::Partition if self.partition > 0 && pipeline.work.is_spent() => {
                    return Ok(Fetched::Partly);
                }
                Next::Partition => {
                    pipeline.work.charge(PARTITION_WORK);
                    self.enter(pipeline, fetch)?;
                }
                Next::ErrorCode(replacing) => {
                    let error_code_at = out.len();
                    self.copy_until = self.present()?.records_length.start;
                    if let Replacing::Refused(Some(code)) = &replacing {
                        out.extend_from_slice(&code.to_be_bytes());
                        self.copied = self.copied.saturating_add(size_of::<i16>());
                    }
                    self.next = Next::RecordsLength(replacing, error_code_at);
                }
                Next::RecordsLength(replacing, error_code_at) => {
                    self.begin_records(fetch.version, replacing, error_code_at, out)?;
                }
                Next::Records => {
                    self.next = Next::Records;
                    if let Some(stopped) = self.next_batch(pipeline, fetch, out)? {
                        return Ok(stopped);
                    }
                    if pipeline.work.is_spent() {
                        return Ok(Fetched::Partly);
                    }
                }
                Next::End => {
                    self.next = Next::End;
                    if let Some(length) = self.length.take() {
                        length.fill_with_content_len(out).map_err(malformed)?;
                    }
                    return Ok(if self.emptied && !self.delivers {
                        Fetched::Nothing { waits: self.waits }
                    } else {
                        Fetched::Written
                    });
                }
            }
        }
    }

    /// Looks for a partition that does not pass; `None` once there is one.
    fn look_for_work(
        &mut self,
        pipeline: &mut Pipeline,
        fetch: &FetchFrame<'_>,
    ) -> Result<Option<Fetched>, CloseReason> {
        while self.passed < self.layout.partitions.len() {
            let topic = topic_of(&self.layout, pipeline, fetch, self.passed)?;
            let bytes = self.layout.records(fetch.frame, self.passed).len();
            match topic.rule.as_ref().map(|rule| &rule.action) {
                Some(Action::Pass | Action::KafkaInternal) if bytes > 0 => {
                    self.delivers = true;
                    pipeline.metrics.topic(topic.metrics).passed(0, bytes as u64);
                }
                Some(Action::Pass | Action::KafkaInternal) => {}
                Some(Action::Seal(_)) if bytes == 0 => {}
                _ => return Ok(None),
            }
            self.passed = self.passed.saturating_add(1);
            pipeline.work.charge(PARTITION_WORK);
            if pipeline.work.is_spent() {
                return Ok(Some(Fetched::Partly));
            }
        }
        Ok(Some(Fetched::Verbatim))
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
        self.length.as_ref().map(|_| self.start)
    }

    /// What was written was moved forward in its buffer by `bytes`.
    pub(super) fn move_forward(&mut self, bytes: usize) {
        self.start = self.start.saturating_sub(bytes);
        if let Some(length) = &mut self.length {
            length.move_forward(bytes);
        }
        if let Next::RecordsLength(_, error_code_at) = &mut self.next {
            *error_code_at = error_code_at.saturating_sub(bytes);
        }
        if let Some(open) = &mut self.open {
            open.error_code_at = open.error_code_at.saturating_sub(bytes);
            open.records_length.move_forward(bytes);
            if let Some(draft) = &mut open.draft {
                draft.move_forward(bytes);
            }
        }
    }

    /// Takes back what was written.
    pub(super) fn retract(&self, out: &mut Vec<u8>) {
        out.truncate(self.start);
    }

    fn present(&self) -> Result<&FetchPartition, CloseReason> {
        let partition = self.layout.partitions.get(self.partition);
        partition.ok_or(CloseReason::MalformedFrame)
    }

    /// Says what is done with the next partition, or that there is none.
    fn enter(&mut self, pipeline: &mut Pipeline, fetch: &mut FetchFrame<'_>) -> Result<(), CloseReason> {
        let Some(partition) = self.layout.partitions.get(self.partition) else {
            self.copy_until = fetch.frame.len();
            self.next = Next::End;
            return Ok(());
        };
        let (error_code_at, error_code, end) = (partition.error_code_at, partition.error_code, partition.end);
        let (index, bytes) = (partition.index, records_of(partition).len());
        let topic = topic_of(&self.layout, pipeline, fetch, self.partition)?;
        let refusal = match topic.rule.as_ref().map(|rule| &rule.action) {
            Some(Action::Seal(_)) if bytes > 0 => {
                self.copy_until = error_code_at;
                self.next = Next::ErrorCode(Replacing::Open(topic));
                return Ok(());
            }
            Some(Action::Pass | Action::KafkaInternal | Action::Seal(_)) => {
                // The others were counted when work was looked for.
                if bytes > 0 && self.partition >= self.passed {
                    self.delivers = true;
                    pipeline.metrics.topic(topic.metrics).passed(0, bytes as u64);
                }
                self.copy_until = end;
                self.partition = self.partition.saturating_add(1);
                self.next = Next::Partition;
                return Ok(());
            }
            Some(Action::Reject { .. }) => FetchRefusal::Rejected,
            None => FetchRefusal::NoRule,
        };
        // A broker's own error says more than ours.
        let ours = error_code == error_code::NONE;
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
            self.note(pipeline, fetch, &noted);
        }
        self.emptied = true;
        self.copy_until = error_code_at;
        self.next = Next::ErrorCode(Replacing::Refused(ours.then(|| refusal.error_code())));
        Ok(())
    }

    /// Everything in front of the length of the records is copied.
    fn begin_records(
        &mut self,
        version: i16,
        replacing: Replacing,
        error_code_at: usize,
        out: &mut Vec<u8>,
    ) -> Result<(), CloseReason> {
        let malformed = |_| CloseReason::MalformedFrame;
        let form = LengthForm::of(version >= FLEXIBLE_FROM);
        let partition = self.present()?;
        let (records, end) = (records_of(partition), partition.end);
        match replacing {
            Replacing::Open(topic) => {
                let records_length = LengthSlot::reserve(out, form, records.len()).map_err(malformed)?;
                self.open = Some(OpenPartition {
                    topic,
                    error_code_at,
                    records_length,
                    at: records.start,
                    ended: false,
                    draft: None,
                    copying: None,
                    gap: None,
                });
                self.next = Next::Records;
            }
            Replacing::Refused(_) => {
                let empty = LengthSlot::reserve(out, form, 0).map_err(malformed)?;
                empty.fill(out, 0).map_err(malformed)?;
                self.copy_until = end;
                self.partition = self.partition.saturating_add(1);
                self.next = Next::Partition;
            }
        }
        self.copied = records.end;
        Ok(())
    }

    fn copy_to(&mut self, position: usize, frame: &[u8], out: &mut Vec<u8>) -> Result<(), CloseReason> {
        out.extend_from_slice(
            frame
                .get(self.copied..position)
                .ok_or(CloseReason::MalformedFrame)?,
        );
        self.copied = position;
        Ok(())
    }

    fn note(&mut self, pipeline: &mut Pipeline, fetch: &FetchFrame<'_>, noted: &Noted<'_>) {
        if self.noted_before.binary_search(&self.partition).is_ok() {
            return;
        }
        self.noted.push(self.partition);
        pipeline.metrics.topic(noted.topic.metrics).refused(
            Direction::Response,
            noted.refusal.reason(),
            noted.records,
            noted.bytes as u64,
        );
        pipeline.audit(Refused {
            cluster: fetch.cluster,
            client: fetch.client,
            topic: noted.topic,
            partition: noted.partition,
            offset: noted.offset,
            operation: "fetch",
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

fn topic_of(
    layout: &FetchResponse,
    pipeline: &mut Pipeline,
    fetch: &FetchFrame<'_>,
    position: usize,
) -> Result<Rc<Topic>, CloseReason> {
    let name = layout
        .topic_name(fetch.frame, position)
        .ok_or(CloseReason::MalformedFrame)?;
    pipeline.topic(fetch.cluster, name)
}

/// Where the records lie; behind the length where they are null.
fn records_of(partition: &FetchPartition) -> Range<usize> {
    partition
        .records
        .clone()
        .unwrap_or(partition.records_length.end..partition.records_length.end)
}

/// Room for what steps want before they write: a buffer that lacks a few bytes at its end would be moved whole.
const SLACK_BYTES: usize = 4096;
/// The first version of Fetch with compact fields.
const FLEXIBLE_FROM: i16 = 12;
