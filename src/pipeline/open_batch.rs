//! One stored batch opened: surveyed first (forms, KEKs, keys), then written anew with the clients' own records.
//!
//! - OPEN-BATCH-1: nothing is opened before every record of the batch was looked at and every key is at hand.
//! - OPEN-BATCH-2: on a refusal or a missing key the output is what it was.
//! - OPEN-BATCH-3: a batch without a sealed record goes on as it is, if the rule accepts each of its records. A compressed
//!   one is written anew all the same unless plaintext is accepted: what lies behind the end of a gzip or LZ4 stream is
//!   ignored here as Java ignores it, and another client might read records there.

use std::rc::Rc;
use std::time::Instant;

use super::refusal::FetchRefusal;
use super::seal_batch::{KEPT_BYTES_MAX, codec_of};
use super::topics::Topic;
use crate::envelope::{Form, Marked, Marker, Opener, OpeningKey, find_marker};
use crate::keys::{Demand, ExecutorKeys, Lookup};
use crate::record_batch::varint::{put_varint, varint_bytes};
use crate::record_batch::{
    BatchError, BatchHeader, BatchWriter, Codec, Decompressor, HEADER_BYTES, RecordCursor, RecordLayout,
    crc_matches,
};
use crate::rules::{Forms, OnUnreadable, SealRule};

/// What became of a batch.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Opened {
    /// It goes on as it is.
    Unchanged,
    /// The new batch was appended to the output.
    Written {
        /// Records that were opened.
        records: u64,
        /// Records that were left out or emptied because they do not open.
        unreadable: Option<(u64, FetchRefusal)>,
    },
    /// A key was asked for and is not there yet.
    Waiting,
    /// The batch may not be delivered.
    Refused(FetchRefusal),
}

/// What opening needs and uses again.
pub(super) struct Opening {
    opener: Opener,
    decompressor: Decompressor,
    decompressed: Vec<u8>,
    plans: Vec<Plan>,
    keys: Vec<Rc<OpeningKey>>,
}

/// What is to be done with one record.
struct Plan {
    record: RecordLayout,
    action: Action,
}

enum Action {
    /// Open it with the key at this position.
    Open(Marker, usize),
    /// Its form is accepted as it is.
    Copy,
    /// It does not open; the rule says what to do.
    Unreadable(FetchRefusal),
}

/// What a batch is opened for.
pub(super) struct Context<'a> {
    pub(super) topic: &'a Topic,
    pub(super) rule: &'a SealRule,
    pub(super) demand: Demand,
    pub(super) decompressed_bytes_max: usize,
    pub(super) now: Instant,
}

impl Opening {
    pub(super) fn new(opener: Opener, decompressor: Decompressor) -> Self {
        Self {
            opener,
            decompressor,
            decompressed: Vec::new(),
            plans: Vec::new(),
            keys: Vec::new(),
        }
    }

    /// Keys were dropped: what was derived from them goes as well.
    pub(super) fn forget(&mut self) {
        self.opener.forget();
    }

    /// Opens `batch`, a whole batch of format 2 with records that are no control records. With `survey_only` keys are
    /// asked for and nothing is opened.
    pub(super) fn open(
        &mut self,
        batch: &mut [u8],
        header: &BatchHeader,
        context: &Context<'_>,
        keys: &mut ExecutorKeys,
        survey_only: bool,
        out: &mut Vec<u8>,
    ) -> Opened {
        let start = out.len();
        let opened = self
            .try_open(batch, header, context, keys, survey_only, out)
            .unwrap_or_else(Opened::Refused);
        if !matches!(opened, Opened::Written { .. }) {
            out.truncate(start);
        }
        self.keys.clear();
        if self.decompressed.capacity() > KEPT_BYTES_MAX {
            self.decompressed = Vec::new();
        }
        if self.plans.capacity() > KEPT_PLANS_MAX {
            self.plans = Vec::new();
        }
        opened
    }

    fn try_open(
        &mut self,
        batch: &mut [u8],
        header: &BatchHeader,
        context: &Context<'_>,
        keys: &mut ExecutorKeys,
        survey_only: bool,
        out: &mut Vec<u8>,
    ) -> Result<Opened, FetchRefusal> {
        // Opening gives the batch a new checksum, which must not hide that the stored one was wrong.
        if !crc_matches(batch) {
            return Err(BatchError::Checksum.into());
        }
        let codec = codec_of(header)?;
        let mut decompressed = std::mem::take(&mut self.decompressed);
        decompressed.clear();
        let outcome = self.open_records(
            batch,
            &mut decompressed,
            codec,
            header,
            context,
            keys,
            survey_only,
            out,
        );
        self.decompressed = decompressed;
        outcome
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "two of them are one buffer lent to two of its users"
    )]
    fn open_records(
        &mut self,
        batch: &mut [u8],
        decompressed: &mut Vec<u8>,
        codec: Codec,
        header: &BatchHeader,
        context: &Context<'_>,
        keys: &mut ExecutorKeys,
        survey_only: bool,
        out: &mut Vec<u8>,
    ) -> Result<Opened, FetchRefusal> {
        let first = if codec == Codec::None {
            HEADER_BYTES
        } else {
            let compressed = batch.get(HEADER_BYTES..).ok_or(BatchError::Truncated)?;
            self.decompressor
                .decompress(codec, compressed, context.decompressed_bytes_max, decompressed)
                .map_err(BatchError::from)?;
            0
        };
        let records: &[u8] = if codec == Codec::None { batch } else { decompressed };
        let survey = self.survey(records, header, first, context, keys)?;
        if survey.waiting {
            return Ok(Opened::Waiting);
        }
        // OPEN-BATCH-3
        let as_it_is = codec == Codec::None || context.rule.accept.contains(Forms::PLAINTEXT);
        if survey_only || (survey.sealed == 0 && survey.unreadable == 0 && as_it_is) {
            return Ok(Opened::Unchanged);
        }
        let writer = BatchWriter::begin(out, batch)?;
        let records: &mut [u8] = if codec == Codec::None { batch } else { decompressed };
        self.write(records, header, writer, context, out)
    }

    /// Looks at every record: what it is, and whether its key is at hand.
    fn survey(
        &mut self,
        records: &[u8],
        header: &BatchHeader,
        first: usize,
        context: &Context<'_>,
        keys: &mut ExecutorKeys,
    ) -> Result<Survey, FetchRefusal> {
        self.plans.clear();
        self.keys.clear();
        let mut survey = Survey::default();
        let mut cursor = RecordCursor::stored(header, first);
        while let Some(record) = cursor.next(records)? {
            let action = match self.action(records, &record, context, keys) {
                Ok(Some(action)) => action,
                Ok(None) => {
                    survey.waiting = true;
                    continue;
                }
                Err(refusal)
                    if refusal.is_unreadable_record()
                        && context.rule.on_unreadable != OnUnreadable::Refuse =>
                {
                    Action::Unreadable(refusal)
                }
                Err(refusal) => return Err(refusal),
            };
            match action {
                Action::Open(..) => survey.sealed += 1,
                Action::Copy => {}
                Action::Unreadable(_) => survey.unreadable += 1,
            }
            self.plans.push(Plan { record, action });
        }
        Ok(survey)
    }

    /// What is to be done with a record; `None`: its key is on the way.
    fn action(
        &mut self,
        records: &[u8],
        record: &RecordLayout,
        context: &Context<'_>,
        keys: &mut ExecutorKeys,
    ) -> Result<Option<Action>, FetchRefusal> {
        let marker = match find_marker(records, record)? {
            Marked::One(marker) => marker,
            Marked::None(form) => {
                return if context.rule.accept.contains(accepted_as(form)) {
                    Ok(Some(Action::Copy))
                } else {
                    Err(FetchRefusal::Form(form))
                };
            }
        };
        let wrapped = marker.wrapped_dek(records);
        if let Some(position) = self.keys.iter().rposition(|key| key.wrapped_dek() == wrapped) {
            return Ok(Some(Action::Open(marker, position)));
        }
        let kms = context.topic.kms_of(wrapped).ok_or(FetchRefusal::KekNotNamed)?;
        match keys.opening(kms, wrapped, context.demand, context.now) {
            Lookup::Ready(key) => {
                self.keys.push(key);
                Ok(Some(Action::Open(marker, self.keys.len() - 1)))
            }
            Lookup::Failed(failure) if !failure.is_outage() => Err(FetchRefusal::Key(failure)),
            Lookup::Waiting | Lookup::Failed(_) => Ok(None),
        }
    }

    fn write(
        &mut self,
        records: &mut [u8],
        header: &BatchHeader,
        writer: BatchWriter,
        context: &Context<'_>,
        out: &mut Vec<u8>,
    ) -> Result<Opened, FetchRefusal> {
        let mut opened = 0;
        let mut dropped = 0;
        let mut unreadable: Option<(u64, FetchRefusal)> = None;
        for plan in &self.plans {
            let refusal = match &plan.action {
                Action::Open(marker, position) => {
                    let key = self.keys.get(*position).ok_or(FetchRefusal::KekNotNamed)?;
                    let domains = &context.topic.domains;
                    match self
                        .opener
                        .open_record(key, records, &plan.record, marker, domains, out)
                    {
                        Ok(()) => {
                            opened += 1;
                            continue;
                        }
                        Err(error) => FetchRefusal::Open(error),
                    }
                }
                Action::Copy => {
                    out.extend_from_slice(plan.record.whole().of(records));
                    continue;
                }
                Action::Unreadable(refusal) => refusal.clone(),
            };
            match context.rule.on_unreadable {
                OnUnreadable::Refuse => return Err(refusal),
                OnUnreadable::Skip => dropped += 1,
                OnUnreadable::Null => write_emptied(records, &plan.record, out),
            }
            let count = unreadable.as_ref().map_or(0, |(count, _)| *count);
            unreadable = Some((count + 1, refusal));
        }
        // INVARIANT: at most `record_count` plans were made, so the difference is not negative.
        writer.finish_with(out, header.record_count.saturating_sub(dropped))?;
        Ok(Opened::Written {
            records: opened,
            unreadable,
        })
    }
}

#[derive(Default)]
struct Survey {
    sealed: usize,
    unreadable: usize,
    waiting: bool,
}

/// Writes the record with its key, a null value and no headers.
fn write_emptied(records: &[u8], record: &RecordLayout, out: &mut Vec<u8>) {
    const NULL: i32 = -1;
    let kept = record.fixed_and_key().of(records);
    let body_bytes = kept.len() + varint_bytes(NULL) + varint_bytes(0);
    // INVARIANT: the record is shorter than the one that it stands for, whose length is an i32.
    put_varint(out, i32::try_from(body_bytes).unwrap_or(i32::MAX));
    out.extend_from_slice(kept);
    put_varint(out, NULL);
    put_varint(out, 0);
}

/// The form as a rule's `accept` names it.
pub(super) fn accepted_as(form: Form) -> Forms {
    match form {
        Form::Sealwire => Forms::SEALWIRE,
        Form::Kroxylicious => Forms::KROXYLICIOUS,
        Form::Tombstone => Forms::TOMBSTONE,
        Form::Plaintext => Forms::PLAINTEXT,
    }
}

/// Room for plans that is kept: about 5 MiB; a batch of more records pays for its own.
const KEPT_PLANS_MAX: usize = 16 * 1024;
