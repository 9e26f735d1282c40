//! One stored batch opened: record after record is looked at (form, KEK, key) and written as its client wrote it.
//!
//! A batch is opened in as many steps as it takes. Nothing is kept for each record.
//!
//! - OPEN-BATCH-1: a record is opened only when its key is at hand. The first one whose key is not takes back what was
//!   written of the batch; the rest is only looked at, so that all keys are asked for at once.
//! - OPEN-BATCH-2: on a refusal or a missing key the output is what it was.
//! - OPEN-BATCH-3: a batch without a sealed record goes on as it is, if the rule accepts each of its records. A
//!   compressed one is written anew all the same unless plaintext is accepted: what lies behind the end of a gzip or
//!   LZ4 stream is ignored here as Java ignores it, and another client might read records there.
//! - OPEN-BATCH-4: when keys are taken away while a batch is being opened, it is begun anew.
//! - OPEN-BATCH-5: where plaintext is not accepted, what nobody vouches for is at most a key with a null value: an
//!   accepted tombstone comes without its headers.
//! - OPEN-BATCH-6: a batch asks for so many keys at most as can be remembered together, or it would ask for ever;
//!   records under others do not open ([`BatchKeys`]).

mod batch;
mod record;
mod survey;

use std::time::Instant;

pub(super) use self::batch::OpenDraft;
use super::decompressing::DecompressorPool;
use super::refusal::FetchRefusal;
use super::topics::Topic;
use super::work::Work;
use crate::envelope::Opener;
use crate::keys::{Demand, ExecutorKeys};
use crate::record_batch::BatchHeader;
use crate::rules::SealRule;

/// What became of a batch.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Opened {
    /// It goes on as it is.
    Unchanged,
    /// The new batch was appended to the output.
    Written {
        /// Records that were opened.
        records: u64,
        /// Bytes of the new batch.
        bytes: usize,
        /// Records that were left out or emptied because they do not open.
        unreadable: Option<(u64, FetchRefusal)>,
    },
    /// All its records are left out because they do not open, and nothing is written.
    Skipped {
        /// The batch.
        header: BatchHeader,
        /// How many they are, and why.
        unreadable: (u64, FetchRefusal),
    },
    /// A key was asked for and is not there yet.
    Waiting,
    /// The batch may not be delivered.
    Refused(FetchRefusal),
}

/// What batches use one after the other; one per executor.
#[derive(Default)]
pub(super) struct OpeningPool {
    opener: Opener,
    pub(super) decompressors: DecompressorPool,
    /// How often keys were taken away (OPEN-BATCH-4).
    forgotten: u64,
}

impl OpeningPool {
    /// Keys were dropped: what was derived from them goes as well.
    pub(super) fn forget(&mut self) {
        self.opener.forget();
        self.forgotten = self.forgotten.wrapping_add(1);
    }
}

/// What a batch is opened with: the executor's.
pub(super) struct Means<'a> {
    pub(super) keys: &'a mut ExecutorKeys,
    pub(super) work: &'a mut Work,
    pub(super) pool: &'a mut OpeningPool,
}

/// What a batch is opened for, with each call.
pub(super) struct Context<'a> {
    pub(super) topic: &'a Topic,
    pub(super) rule: &'a SealRule,
    pub(super) demand: Demand,
    /// Records are opened; else only what they say of themselves is looked at.
    pub(super) opens: bool,
    /// Nothing may stand in the batch but its records: it goes on itself.
    pub(super) records_only: bool,
    pub(super) decompressed_bytes_max: usize,
    pub(super) may_grow: bool,
    /// When the frame was begun that it stands in.
    pub(super) begun: Instant,
    pub(super) now: Instant,
}
