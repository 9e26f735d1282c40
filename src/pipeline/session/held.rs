//! A frame that is held until it is whole, and then worked off turn by turn: a Produce request or a Fetch response.
//!
//! - FRAME-HELD-1: what is written of a frame stands in its draft when a step ends, and goes out when all of it is
//!   written (DRAFT-1).
//! - FRAME-HELD-2: a frame is counted as one that waits while it does, once, and not when it has ended, however it
//!   ends.

use std::time::{Duration, Instant};

use super::draft::Draft;
use super::{Step, Wait};
use crate::metrics::CloseReason;
use crate::pipeline::Pipeline;
use crate::pipeline::fetch::FetchWork;
use crate::pipeline::produce::ProduceWork;
use crate::pipeline::work::{Pause, Progress};
use crate::protocol::frame::LENGTH_PREFIX_BYTES;

/// See the module.
pub(super) struct Held<W> {
    pub(super) work: W,
    draft: Draft,
    frame_bytes: usize,
    since: Instant,
    /// When it is not held any longer, whatever it waits for.
    until: Option<Instant>,
    /// It is counted as one that waits.
    parked: bool,
}

/// What is done with a frame.
pub(super) trait FrameWork {
    /// Where in the output what is written of the frame begins; `None` while nothing is.
    fn start(&self) -> Option<usize>;
    /// What was written was moved forward in its buffer by `bytes`.
    fn move_forward(&mut self, bytes: usize);
    /// Bytes of memory that it owns besides the output.
    fn bytes_held(&self) -> usize;
}

impl<W: FrameWork> Held<W> {
    /// Begins with a frame of so many bytes, at `now`.
    pub(super) fn begin(work: W, frame_bytes: usize, turn_bytes: usize, out: &[u8], now: Instant) -> Self {
        Self {
            work,
            draft: Draft::new(frame_bytes > turn_bytes, out),
            frame_bytes,
            since: now,
            until: None,
            parked: false,
        }
    }

    /// How long the frame is, its length included.
    pub(super) fn whole(&self) -> usize {
        self.frame_bytes.saturating_add(LENGTH_PREFIX_BYTES)
    }

    /// Since when it is held.
    pub(super) fn since(&self) -> Instant {
        self.since
    }

    /// How long it has been held.
    pub(super) fn waited(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.since)
    }

    /// From `now` on it is held for so long, unless an end was set before; says until when it is.
    pub(super) fn hold_for(&mut self, time: Duration, now: Instant) -> Instant {
        *self.until.get_or_insert(now.checked_add(time).unwrap_or(now))
    }

    /// Until when it is held.
    pub(super) fn until(&self) -> Option<Instant> {
        self.until
    }

    /// Whether it has been held for as long as it may be.
    pub(super) fn is_overdue(&self, now: Instant) -> bool {
        self.until.is_some_and(|until| now >= until)
    }

    /// Works on with `step`, making the room that it wants, until it is done or something else stops it. Memory beyond
    /// what is usual is taken only if it `may_grow`.
    pub(super) fn advance<T>(
        &mut self,
        pipeline: &mut Pipeline,
        may_grow: bool,
        out: &mut Vec<u8>,
        mut step: impl FnMut(&mut W, &mut Pipeline, &mut Vec<u8>) -> Result<Progress<T>, CloseReason>,
    ) -> Result<Progress<T>, CloseReason> {
        loop {
            if let Err(pause) = self.draft.make_room(&mut pipeline.work, may_grow) {
                return Ok(Progress::Paused(pause));
            }
            match step(&mut self.work, pipeline, self.draft.target(out))? {
                Progress::Paused(Pause::Room(bytes)) => {
                    self.keep(out);
                    self.draft.want_room(bytes);
                }
                progress => return Ok(progress),
            }
        }
    }

    /// It is not done: what is written of it goes on in the draft (FRAME-HELD-1).
    pub(super) fn keep(&mut self, out: &mut Vec<u8>) {
        if let Some(start) = self.work.start() {
            let moved = self.draft.keep(out, start);
            self.work.move_forward(moved);
        }
    }

    /// It goes on later.
    pub(super) fn pause(&mut self, pause: Pause, now: Instant, out: &mut Vec<u8>) -> Step {
        self.keep(out);
        match pause {
            Pause::Spent | Pause::Room(_) => Step::Yield,
            Pause::Full => now
                .checked_add(FULL_RETRY)
                .map_or(Step::Yield, |until| Step::Blocked(Wait::Until(until))),
        }
    }

    /// The work, and where it writes.
    pub(super) fn parts<'a>(&'a mut self, out: &'a mut Vec<u8>) -> (&'a mut W, &'a mut Vec<u8>) {
        (&mut self.work, self.draft.target(out))
    }

    /// All is written, and goes out.
    pub(super) fn deliver(&mut self, out: &mut Vec<u8>) {
        self.draft.deliver(out);
    }

    /// Counts it as waiting, or not any more (FRAME-HELD-2).
    pub(super) fn park(&mut self, gauge: &mut u64, waits: bool) {
        if self.parked != waits {
            self.parked = waits;
            *gauge = if waits {
                gauge.saturating_add(1)
            } else {
                gauge.saturating_sub(1)
            };
        }
    }

    /// Whether it is counted as waiting.
    pub(super) fn is_parked(&self) -> bool {
        self.parked
    }

    /// Bytes of memory in which it is decompressed and written.
    pub(super) fn bytes_held(&self) -> usize {
        self.draft.bytes_held().saturating_add(self.work.bytes_held())
    }
}

impl Held<ProduceWork> {
    /// It ends, whatever has come of it.
    pub(super) fn end(mut self, pipeline: &mut Pipeline) {
        self.park(&mut pipeline.metrics.gauges.produce_parked, false);
        self.work.finish(&mut pipeline.produce);
    }
}

impl Held<FetchWork> {
    /// It ends, whatever has come of it.
    pub(super) fn end(mut self, pipeline: &mut Pipeline) {
        self.park(&mut pipeline.metrics.gauges.fetch_parked, false);
        self.work.finish(&mut pipeline.fetch);
    }
}

impl FrameWork for ProduceWork {
    fn start(&self) -> Option<usize> {
        Self::start(self)
    }

    fn move_forward(&mut self, bytes: usize) {
        Self::move_forward(self, bytes);
    }

    fn bytes_held(&self) -> usize {
        Self::bytes_held(self)
    }
}

impl FrameWork for FetchWork {
    fn start(&self) -> Option<usize> {
        Self::start(self)
    }

    fn move_forward(&mut self, bytes: usize) {
        Self::move_forward(self, bytes);
    }

    fn bytes_held(&self) -> usize {
        Self::bytes_held(self)
    }
}

/// How soon a frame that may take no more memory tries again.
const FULL_RETRY: Duration = Duration::from_millis(20);
