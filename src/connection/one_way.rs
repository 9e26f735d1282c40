//! One direction of a connection: read, let the session work, write.
//!
//! - GATHER-1: frames that came together and go out as they are go out together: each write wakes its reader. What came
//!   alone waits for nothing.

use std::io;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use super::half::{Blocked, Half};
use super::held::{PACE_BYTES, PASSING_BYTES_MAX};
use super::shared::Shared;
use super::stream::Stream;
use crate::clocks::{self, Clocks};
use crate::metrics::{CloseReason, Direction, TimeKind};
use crate::pipeline::{Pipeline, Session, Step, Wait};

/// What came of one call of [`OneWay::pump`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Moved {
    /// Nothing.
    Nothing,
    /// Only what had been queued was written, and not all of it: the socket says when to go on.
    Output,
    /// Input was read or worked off: there may be more to do.
    Input,
    /// As much was done as others should wait for.
    Enough,
}

/// How far an input was worked through.
struct Worked {
    /// Bytes of it that are used up.
    at: usize,
    /// The last so many of them are still to go out as they are (GATHER-1).
    run: usize,
    /// What comes next may not pass.
    failed: Option<CloseReason>,
}

/// One direction, for the length of one call.
pub(super) struct OneWay<'a, R, W> {
    pub(super) direction: Direction,
    pub(super) source: &'a mut R,
    pub(super) sink: &'a mut W,
    pub(super) half: &'a mut Half,
    pub(super) session: &'a mut Session,
    pub(super) shared: &'a Shared,
    pub(super) now: Instant,
    pub(super) may_read: bool,
    /// Anything was written.
    wrote: bool,
    /// How many bytes more may be written.
    write_left: usize,
    /// There is more to do at once, and it is the turn of others.
    pub(super) gives_way: bool,
}

impl<'a, R: Stream, W: Stream> OneWay<'a, R, W> {
    pub(super) fn new(
        direction: Direction,
        (source, sink): (&'a mut R, &'a mut W),
        half: &'a mut Half,
        session: &'a mut Session,
        shared: &'a Shared,
        now: Instant,
    ) -> Self {
        Self {
            direction,
            source,
            sink,
            half,
            may_read: direction == Direction::Response || session.takes_requests(),
            session,
            shared,
            now,
            wrote: false,
            write_left: WRITTEN_BYTES_MAX,
            gives_way: false,
        }
    }

    /// Moves what can be moved.
    pub(super) fn pump(&mut self, context: &mut Context<'_>) -> Result<Moved, CloseReason> {
        self.half.awaits_source = false;
        let worked = self.pump_once(context);
        // Also where it ends: what was written before should not be lost.
        let flushed = self.flush(context);
        let worked = worked?;
        flushed?;
        if let Some(reason) = self.half.failed
            && self.half.is_delivered()
        {
            return Err(reason);
        }
        self.settle();
        Ok(match (worked, self.wrote) {
            _ if self.gives_way => Moved::Enough,
            (true, _) => Moved::Input,
            (false, true) => Moved::Output,
            (false, false) => Moved::Nothing,
        })
    }

    fn pump_once(&mut self, context: &mut Context<'_>) -> Result<bool, CloseReason> {
        if !self.write_out(context)? {
            self.session.rest(&mut self.shared.pipeline.borrow_mut());
            return Ok(false);
        }
        if self.half.failed.is_some() {
            return Ok(false);
        }
        let mut moved = false;
        if self.may_look() {
            self.half.blocked = None;
            self.half.unfinished = false;
            let consumed = self.work_on_rest(context)?;
            moved = consumed > 0 || self.half.has_output();
            if !self.write_out(context)? {
                return Ok(moved);
            }
        }
        if self.half.blocked.is_some() || self.half.unfinished {
            return Ok(moved);
        }
        Ok(self.read(context)? || moved)
    }

    /// Whether input that was left is to be looked at (again).
    fn may_look(&self) -> bool {
        if self.direction == Direction::Response
            && self.half.blocked.is_none()
            && self.session.answers_itself()
        {
            return true;
        }
        match &self.half.blocked {
            None => self.half.unfinished,
            Some(Blocked { wait, news }) => match wait {
                Wait::Room | Wait::Answer(_) => true,
                Wait::Until(until) => self.now >= *until,
                Wait::News(until) | Wait::Addresses(_, until) | Wait::Login(until) => {
                    self.now >= *until || *news != self.shared.pipeline.borrow().news_of(wait)
                }
            },
        }
    }

    /// Lets the session work on what was left of the input; says how much of it was used up.
    pub(super) fn work_on_rest(&mut self, context: &mut Context<'_>) -> Result<usize, CloseReason> {
        let mut input = std::mem::take(&mut self.half.input);
        let consumed = self.work(input.rest_mut(), context);
        self.half.input = input;
        let consumed = consumed?;
        self.half.input.consume(consumed);
        Ok(consumed)
    }

    /// Lets the session work on `input`; says how much of it is used up.
    fn work(&mut self, input: &mut [u8], context: &mut Context<'_>) -> Result<usize, CloseReason> {
        let mut pipeline = self.shared.pipeline.borrow_mut();
        let pipeline = &mut *pipeline;
        if self.half.output.capacity() == 0 {
            self.half.output = self.shared.outputs.borrow_mut().take_empty(input.len());
        }
        // HALF-1
        self.half.is_secret |= self.direction == Direction::Request && self.session.renews_login();
        // Nothing is sealed without a key that is at hand by now, and there is none to be withdrawn.
        if self.direction == Direction::Request
            && pipeline.keys.sealing_count() > 0
            && let Some(clocks) = Clocks::read()
        {
            pipeline.observe_clocks(clocks);
        }
        let Worked { mut at, run, failed } = self.work_through(input, pipeline, context)?;
        if run > 0 {
            at = self.send_run(input, at, run, pipeline, context)?;
        }
        self.half.unfinished |= self.half.verbatim > 0;
        if let Some(reason) = failed {
            if self.half.is_delivered() {
                return Err(reason);
            }
            self.half.failed = Some(reason);
            self.half.unfinished = true;
        }
        Ok(at)
    }

    /// Works step by step until more has to come, or something else comes first.
    #[expect(clippy::disallowed_methods, reason = "it reads the clock for what decides")]
    fn work_through(
        &mut self,
        input: &mut [u8],
        pipeline: &mut Pipeline,
        context: &mut Context<'_>,
    ) -> Result<Worked, CloseReason> {
        let (mut at, mut run, mut failed) = (0, 0_usize, None);
        // Reading is over; what follows is the proxy's own time.
        let mut begun = clocks::now();
        loop {
            let rest = input.get_mut(at..).unwrap_or_default();
            let before = self.half.output.len();
            let step = match self.step(rest, pipeline) {
                Ok(step) => step,
                Err(reason) => {
                    // Nothing of that frame goes out; what stands before it does.
                    self.half.output.truncate(before);
                    failed = Some(reason);
                    break;
                }
            };
            let finished = self.session.take_finished();
            if let (Some(frame), Step::Forward(bytes) | Step::Wrote(bytes)) = (&mut self.half.turn, &step) {
                // It need not be in one step: the rest of some responses goes on as it is.
                frame.left = frame.left.saturating_sub(*bytes);
            }
            match step {
                Step::Forward(bytes) => {
                    at = at.saturating_add(bytes);
                    run = run.saturating_add(bytes);
                    if self.half.has_output() || run >= GATHERED_BYTES {
                        at = self.send_run(input, at, std::mem::take(&mut run), pipeline, context)?;
                    }
                    let (kind, waited) = finished.unwrap_or((TimeKind::Streamed, Duration::ZERO));
                    clock(&mut begun, kind, waited, pipeline);
                    if self.half.verbatim > 0 {
                        break;
                    }
                }
                Step::Wrote(bytes) => {
                    if run > 0 {
                        let written = std::mem::take(&mut self.half.output);
                        at = self.send_run(input, at, std::mem::take(&mut run), pipeline, context)?;
                        // What is written anew goes out behind all of it.
                        let end = at.saturating_add(std::mem::take(&mut self.half.verbatim));
                        let rest = input.get(at..end).ok_or(CloseReason::Internal)?;
                        self.half.output.extend_from_slice(rest);
                        at = end;
                        self.half.queue(written);
                    }
                    at = at.saturating_add(bytes);
                    if let Some((kind, waited)) = finished {
                        clock(&mut begun, kind, waited, pipeline);
                    }
                }
                Step::More => break,
                Step::Blocked(wait) => {
                    self.block(wait, pipeline);
                    break;
                }
                Step::Yield => {
                    self.half.note_moved(PACE_BYTES, self.now);
                    self.half.unfinished = true;
                    self.gives_way = true;
                    break;
                }
            }
            if self.half.output.len().saturating_sub(self.half.written) >= OUTPUT_HIGH_BYTES {
                // More than a socket takes at once: write before more is made.
                self.half.unfinished = true;
                break;
            }
        }
        Ok(Worked { at, run, failed })
    }

    #[inline]
    fn step(&mut self, rest: &mut [u8], pipeline: &mut Pipeline) -> Result<Step, CloseReason> {
        let output = &mut self.half.output;
        match self.direction {
            Direction::Request => self.session.requests(pipeline, self.now, rest, output),
            Direction::Response => self.session.responses(pipeline, self.now, rest, output),
        }
    }

    /// Sends the last `run` bytes of what stands before `at`; says up to where all is sent or queued.
    fn send_run(
        &mut self,
        input: &[u8],
        at: usize,
        run: usize,
        pipeline: &mut Pipeline,
        context: &mut Context<'_>,
    ) -> Result<usize, CloseReason> {
        let from = at.saturating_sub(run);
        let run = input.get(from..at).ok_or(CloseReason::Internal)?;
        Ok(from.saturating_add(self.forward(run, pipeline, context)?))
    }

    fn block(&mut self, mut wait: Wait, pipeline: &Pipeline) {
        // At once: the session says it only once, and may be asked again before the relay comes to rest.
        if let Wait::Addresses(learned, _) = &mut wait {
            let learned = std::mem::take(learned);
            self.shared.errands.learn(self.session.cluster(), learned);
        }
        let news = pipeline.news_of(&wait);
        self.half.blocked = Some(Blocked { wait, news });
    }

    /// Sends bytes as they are: straight from the input if nothing is queued before them. Says how many of them are
    /// sent or queued; the rest, when it is long, stays in the input and goes out from there.
    fn forward(
        &mut self,
        verbatim: &[u8],
        pipeline: &mut Pipeline,
        context: &mut Context<'_>,
    ) -> Result<usize, CloseReason> {
        let mut sent = 0;
        if !self.half.has_output() && !self.half.sink_gone && self.write_left > 0 {
            let first = verbatim.get(..self.write_left).unwrap_or(verbatim);
            match self.sink.poll_write(context, first) {
                Poll::Ready(Ok(bytes)) => {
                    sent = bytes;
                    self.half.unflushed = true;
                }
                Poll::Ready(Err(error)) => self.write_failed(&error)?,
                Poll::Pending => {}
            }
            self.write_left = self.write_left.saturating_sub(sent);
            self.half.note_moved(sent, self.now);
            pipeline.metrics.frames(self.direction).written(sent);
        }
        if self.half.sink_gone {
            return Ok(verbatim.len());
        }
        let rest = verbatim.get(sent..).unwrap_or_default();
        if rest.len() > QUEUED_COPY_MAX {
            self.half.verbatim = rest.len();
            return Ok(sent);
        }
        self.half.output.extend_from_slice(rest);
        Ok(verbatim.len())
    }

    /// Writes what is queued; says whether all of it is written.
    pub(super) fn write_out(&mut self, context: &mut Context<'_>) -> Result<bool, CloseReason> {
        if self.half.sink_gone {
            self.half.drop_output();
        }
        if !self.half.has_output() {
            return Ok(true);
        }
        let (written, outcome) = self.half.poll_write_out(self.sink, context, self.write_left);
        self.write_left = self.write_left.saturating_sub(written);
        match outcome {
            Poll::Ready(Ok(())) => self.gives_way |= self.half.has_output(),
            Poll::Ready(Err(error)) => self.write_failed(&error)?,
            Poll::Pending => {}
        }
        self.wrote |= written > 0;
        self.half.note_moved(written, self.now);
        let mut pipeline = self.shared.pipeline.borrow_mut();
        pipeline.metrics.frames(self.direction).written(written);
        Ok(!self.half.has_output())
    }

    /// Has what was written go out, as far as it can (STREAM-1).
    fn flush(&mut self, context: &mut Context<'_>) -> Result<(), CloseReason> {
        if !self.half.unflushed {
            return Ok(());
        }
        match self.sink.poll_flush(context) {
            Poll::Ready(Ok(())) => {
                self.half.unflushed = false;
                self.wrote = true;
            }
            Poll::Ready(Err(error)) => self.write_failed(&error)?,
            Poll::Pending => {}
        }
        Ok(())
    }

    /// Gives back buffers that are empty, and tells the executor how much is held.
    fn settle(&mut self) {
        let mut inputs = self.shared.inputs.borrow_mut();
        if self.half.input.is_empty() {
            self.half.input.end(&mut inputs);
        } else if self.half.blocked.is_some() && self.half.input.rest().len() <= PASSING_BYTES_MAX {
            // What waits may wait for long.
            let bytes = self.half.input.rest().len();
            self.half.input.fit(bytes, &mut inputs);
        }
        drop(inputs);
        if self.half.output.is_empty() {
            let output = std::mem::take(&mut self.half.output);
            self.shared.outputs.borrow_mut().give(output);
        }
        let holding = self.holding();
        self.shared.account(self.half, holding, self.now);
        self.end_turn();
    }

    /// The source has ended: the sink is told once everything before it is written.
    pub(super) fn pass_end_on(&mut self, context: &mut Context<'_>) -> Result<bool, CloseReason> {
        if self.half.end_passed_on || self.half.has_output() || self.direction == Direction::Response {
            return Ok(false);
        }
        match self.sink.poll_close(context) {
            Poll::Ready(Ok(())) => {
                self.half.end_passed_on = true;
                self.half.unflushed = false;
                self.half.ended_quietly = self.session.is_quiet();
                Ok(true)
            }
            Poll::Ready(Err(_)) => Err(CloseReason::ClientClosed),
            Poll::Pending => Ok(false),
        }
    }

    pub(super) fn read_failed(&self, error: &io::Error) -> CloseReason {
        match self.direction {
            Direction::Request => CloseReason::ClientError,
            Direction::Response if is_gone(error) => CloseReason::BrokerClosed,
            Direction::Response => CloseReason::BrokerError,
        }
    }

    /// A client that is gone is no reason to drop what it has sent before: answers are thrown away until its own end is
    /// read.
    fn write_failed(&mut self, error: &io::Error) -> Result<(), CloseReason> {
        if self.direction == Direction::Response && is_gone(error) {
            self.half.sink_gone = true;
            self.half.unflushed = false;
            self.half.drop_output();
            return Ok(());
        }
        Err(match self.direction {
            Direction::Request if is_gone(error) => CloseReason::BrokerClosed,
            Direction::Request => CloseReason::BrokerError,
            Direction::Response => CloseReason::ClientError,
        })
    }
}

/// Whether `error` says that the peer has closed or reset the connection.
pub(super) fn is_gone(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe
    )
}

/// Counts what was done since `begun`, which is set to now, and before that had waited for `waited`.
#[expect(clippy::disallowed_methods, reason = "it reads the clock for what decides")]
fn clock(begun: &mut Instant, kind: TimeKind, waited: Duration, pipeline: &mut Pipeline) {
    let now = clocks::now();
    let worked = now.saturating_duration_since(*begun);
    pipeline.metrics.time(kind, waited.saturating_add(worked));
    *begun = now;
}

/// Bytes that are written before others get their turn: a peer that reads as fast as we write never makes us wait.
const WRITTEN_BYTES_MAX: usize = 2 * 1024 * 1024;
/// What is copied of bytes that go out as they are, so that what they were read into can be used by others; more stays
/// there until it is written.
const QUEUED_COPY_MAX: usize = 64 * 1024;
/// So much of what goes out as it is is written at once, whatever follows it (GATHER-1).
const GATHERED_BYTES: usize = 256 * 1024;
/// Queued output beyond which nothing more is made of the input.
const OUTPUT_HIGH_BYTES: usize = 512 * 1024;
