//! The loop of one connection: read, let the session work, write; both directions in one task.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures_lite::io::{AsyncRead, AsyncWrite};

use super::half::{Blocked, Half};
use crate::executor::registry::{Request, Status};
use crate::executor::shared::Shared;
use crate::metrics::{CloseReason, Direction, TimeKind};
use crate::pipeline::{Pipeline, Session, Step, Wait};

/// A connected pair. Awaiting it runs the connection until it ends or has had its turn; then it is to be awaited again.
pub(crate) struct Relay<C, B> {
    client: C,
    broker: B,
    session: Session,
    requests: Half,
    responses: Half,
    status: Rc<Status>,
    shared: Rc<Shared>,
    /// The deadline that the alarms were last told, so that they are told once.
    alarm: Option<Instant>,
    /// For which news the alarms were last asked.
    news_asked: Option<u64>,
}

/// What became of a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// There is more to do; others first, those included whose sockets have become ready meanwhile.
    GaveWay,
    /// The connection has ended.
    Ended(CloseReason),
}

impl<C, B> Relay<C, B>
where
    C: AsyncRead + AsyncWrite + Unpin,
    B: AsyncRead + AsyncWrite + Unpin,
{
    pub(crate) fn new(
        client: C,
        broker: B,
        session: Session,
        status: Rc<Status>,
        shared: Rc<Shared>,
    ) -> Self {
        Self {
            client,
            broker,
            session,
            requests: Half::default(),
            responses: Half::default(),
            status,
            shared,
            alarm: None,
            news_asked: None,
        }
    }

    fn run(&mut self, context: &mut Context<'_>) -> Result<Poll<Turn>, CloseReason> {
        let now = Instant::now();
        if let Request::Close(reason) = self.status.request() {
            return Err(reason);
        }
        self.status.register(context.waker());
        for _ in 0..ROUNDS_MAX {
            let draining = self.status.request() == Request::Drain;
            if draining {
                self.session.drain(self.requests.untaken());
            }
            let may_read = self.session.takes_requests();
            let requests = OneWay {
                direction: Direction::Request,
                source: &mut self.client,
                sink: &mut self.broker,
                half: &mut self.requests,
                session: &mut self.session,
                shared: &self.shared,
                now,
                may_read,
                wrote: false,
                write_left: WRITTEN_BYTES_MAX,
                gives_way: false,
            }
            .pump(context)?;
            let responses = OneWay {
                direction: Direction::Response,
                source: &mut self.broker,
                sink: &mut self.client,
                half: &mut self.responses,
                session: &mut self.session,
                shared: &self.shared,
                now,
                may_read: true,
                wrote: false,
                write_left: WRITTEN_BYTES_MAX,
                gives_way: false,
            }
            .pump(context)?;
            if requests != Moved::Nothing || responses != Moved::Nothing {
                let held = self.requests.accounted.saturating_add(self.responses.accounted);
                self.status.touch(now, self.session.is_proven(), held);
            }
            self.end_if_done(draining)?;
            if requests == Moved::Enough || responses == Moved::Enough {
                break;
            }
            if requests != Moved::Input && responses != Moved::Input {
                self.wait(context, now);
                return Ok(Poll::Pending);
            }
        }
        // The other half may wait for something meanwhile.
        self.wait(context, now);
        Ok(Poll::Ready(Turn::GaveWay))
    }

    fn end_if_done(&self, draining: bool) -> Result<(), CloseReason> {
        if self.responses.has_output() {
            return Ok(());
        }
        if let Some(reason) = self.session.closing() {
            return Err(reason);
        }
        if self.responses.ended {
            return Err(CloseReason::BrokerClosed);
        }
        // The client is gone, and what it had sent has been answered.
        if self.responses.sink_gone && self.requests.end_passed_on && self.session.is_quiet() {
            return Err(CloseReason::ClientClosed);
        }
        let drained = draining && !self.session.takes_requests() && self.session.is_quiet();
        if drained && !self.requests.has_output() && self.responses.is_empty() {
            return Err(CloseReason::Drain);
        }
        Ok(())
    }

    /// Arranges to be woken by what the halves wait for apart from their sockets.
    fn wait(&mut self, context: &mut Context<'_>, now: Instant) {
        let mut deadline: Option<Instant> = None;
        let mut news = false;
        for half in [&self.requests, &self.responses] {
            let until = match &half.blocked {
                Some(Blocked { wait, .. }) => match wait {
                    Wait::Room => None,
                    Wait::Until(until) => Some(*until),
                    Wait::News(until) | Wait::Addresses(_, until) => {
                        news = true;
                        Some(*until)
                    }
                },
                None => None,
            };
            let starved = half.starved_since.map(|_| now + STARVED_RETRY);
            deadline = [deadline, until, starved].into_iter().flatten().min();
        }
        let Some(deadline) = deadline else { return };
        let mut alarms = self.shared.alarms.borrow_mut();
        if news {
            alarms.on_news(context.waker(), &mut self.news_asked);
            self.shared.send_key_requests();
        }
        if self.alarm != Some(deadline) {
            alarms.at(context.waker(), deadline);
            self.alarm = Some(deadline);
        }
    }
}

impl<C, B> Future for Relay<C, B>
where
    C: AsyncRead + AsyncWrite + Unpin,
    B: AsyncRead + AsyncWrite + Unpin,
{
    type Output = Turn;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Turn> {
        match self.run(context) {
            Ok(turn) => turn,
            Err(reason) => Poll::Ready(Turn::Ended(reason)),
        }
    }
}

impl<C, B> Drop for Relay<C, B> {
    fn drop(&mut self) {
        for half in [&mut self.requests, &mut self.responses] {
            self.shared.release(half);
        }
        self.session.abandon(&mut self.shared.pipeline.borrow_mut());
    }
}

/// What came of one call of [`OneWay::pump`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Moved {
    /// Nothing.
    Nothing,
    /// Only what had been queued was written, and not all of it: the socket says when to go on.
    Output,
    /// Input was read or worked off: there may be more to do.
    Input,
    /// As much was done as others should wait for.
    Enough,
}

/// One direction, for the length of one call.
struct OneWay<'a, R, W> {
    direction: Direction,
    source: &'a mut R,
    sink: &'a mut W,
    half: &'a mut Half,
    session: &'a mut Session,
    shared: &'a Shared,
    now: Instant,
    may_read: bool,
    /// Anything was written.
    wrote: bool,
    /// How many bytes more may be written.
    write_left: usize,
    /// There is more to do at once, and it is the turn of others.
    gives_way: bool,
}

impl<R: AsyncRead + Unpin, W: AsyncWrite + Unpin> OneWay<'_, R, W> {
    /// Moves what can be moved.
    fn pump(&mut self, context: &mut Context<'_>) -> Result<Moved, CloseReason> {
        let worked = self.pump_once(context)?;
        self.settle();
        Ok(match (worked, self.wrote) {
            _ if self.gives_way => Moved::Enough,
            (true, _) => Moved::Input,
            (false, true) => Moved::Output,
            (false, false) => Moved::Nothing,
        })
    }

    fn pump_once(&mut self, context: &mut Context<'_>) -> Result<bool, CloseReason> {
        if !self.flush(context)? {
            return Ok(false);
        }
        let mut moved = false;
        if self.may_look() {
            self.half.blocked = None;
            self.half.unfinished = false;
            let consumed = self.work_on_rest(context)?;
            moved = consumed > 0 || self.half.has_output();
            if !self.flush(context)? {
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
                Wait::Room => true,
                Wait::Until(until) => self.now >= *until,
                Wait::News(until) | Wait::Addresses(_, until) => {
                    self.now >= *until || *news != self.shared.pipeline.borrow().news
                }
            },
        }
    }

    /// Reads once and works on what came.
    fn read(&mut self, context: &mut Context<'_>) -> Result<bool, CloseReason> {
        if self.half.ended {
            return self.pass_end_on(context);
        }
        if !self.may_read || !self.shared.may_hold(self.half, self.now)? {
            return Ok(false);
        }
        let mut buffer = self.shared.read_buffer.borrow_mut();
        let bytes = match Pin::new(&mut *self.source).poll_read(context, &mut buffer) {
            Poll::Pending => return Ok(false),
            Poll::Ready(Ok(0)) => {
                drop(buffer);
                self.half.ended = true;
                return self.pass_end_on(context).map(|_| true);
            }
            Poll::Ready(Ok(bytes)) => bytes,
            // A client that is gone may have sent all that it wanted: what came before still goes to the broker.
            Poll::Ready(Err(error)) if self.direction == Direction::Request && is_gone(&error) => {
                drop(buffer);
                self.half.ended = true;
                return self.pass_end_on(context).map(|_| true);
            }
            Poll::Ready(Err(error)) => return Err(self.read_failed(&error)),
        };
        self.shared
            .pipeline
            .borrow_mut()
            .metrics
            .frames(self.direction)
            .bytes_in += bytes as u64;
        let Some(arrived) = buffer.get_mut(..bytes) else {
            return Err(CloseReason::Internal);
        };
        if self.half.input.is_empty() {
            let consumed = self.work(arrived, context)?;
            let rest = arrived.get(consumed..).unwrap_or_default();
            if !rest.is_empty() {
                self.half.input = self.shared.pool.borrow_mut().take();
                self.half.input.extend_from_slice(rest);
            }
        } else {
            self.half.input.extend_from_slice(arrived);
            drop(buffer);
            self.work_on_rest(context)?;
        }
        self.flush(context)?;
        Ok(true)
    }

    /// Lets the session work on what was left of the input; says how much of it was used up.
    fn work_on_rest(&mut self, context: &mut Context<'_>) -> Result<usize, CloseReason> {
        let mut input = std::mem::take(&mut self.half.input);
        let rest = input.get_mut(self.half.consumed..).unwrap_or_default();
        let consumed = self.work(rest, context);
        self.half.input = input;
        let consumed = consumed?;
        self.half.consume(consumed);
        Ok(consumed)
    }

    /// Lets the session work on `input`; says how much of it is used up.
    fn work(&mut self, input: &mut [u8], context: &mut Context<'_>) -> Result<usize, CloseReason> {
        let mut pipeline = self.shared.pipeline.borrow_mut();
        let pipeline = &mut *pipeline;
        if self.half.output.capacity() == 0 {
            self.half.output = self.shared.pool.borrow_mut().take();
        }
        let mut at = 0;
        // Reading is over; what follows is the proxy's own time.
        let mut begun = Instant::now();
        loop {
            let rest = input.get_mut(at..).unwrap_or_default();
            let step = match self.direction {
                Direction::Request => {
                    self.session
                        .requests(pipeline, self.now, rest, &mut self.half.output)?
                }
                Direction::Response => {
                    self.session
                        .responses(pipeline, self.now, rest, &mut self.half.output)?
                }
            };
            let finished = self.session.take_finished();
            match step {
                Step::Forward(bytes) => {
                    let verbatim = rest.get(..bytes).ok_or(CloseReason::Internal)?;
                    at += self.forward(verbatim, pipeline, context)?;
                    let (kind, waited) = finished.unwrap_or((TimeKind::Streamed, Duration::ZERO));
                    clock(&mut begun, kind, waited, pipeline);
                    if self.half.verbatim > 0 {
                        self.half.unfinished = true;
                        break;
                    }
                }
                Step::Wrote(bytes) => {
                    at += bytes;
                    if let Some((kind, waited)) = finished {
                        clock(&mut begun, kind, waited, pipeline);
                    }
                }
                Step::More => break,
                Step::Blocked(mut wait) => {
                    // At once: the session says it only once, and may be asked again before the relay comes to rest.
                    if let Wait::Addresses(learned, _) = &mut wait {
                        let learned = std::mem::take(learned);
                        self.shared.learn(self.session.cluster(), learned);
                    }
                    self.half.blocked = Some(Blocked {
                        wait,
                        news: pipeline.news,
                    });
                    break;
                }
                Step::Yield => {
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
        Ok(at)
    }

    /// Sends bytes as they are: straight from the input if nothing is queued before them. Says how many of them are sent or
    /// queued; the rest, when it is long, stays in the input and goes out from there.
    fn forward(
        &mut self,
        verbatim: &[u8],
        pipeline: &mut Pipeline,
        context: &mut Context<'_>,
    ) -> Result<usize, CloseReason> {
        let mut sent = 0;
        if !self.half.has_output() && !self.half.sink_gone && self.write_left > 0 {
            let first = verbatim.get(..self.write_left).unwrap_or(verbatim);
            match Pin::new(&mut *self.sink).poll_write(context, first) {
                Poll::Ready(Ok(bytes)) => sent = bytes,
                Poll::Ready(Err(error)) => self.write_failed(&error)?,
                Poll::Pending => {}
            }
            self.write_left = self.write_left.saturating_sub(sent);
            pipeline.metrics.frames(self.direction).bytes_out += sent as u64;
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
    fn flush(&mut self, context: &mut Context<'_>) -> Result<bool, CloseReason> {
        if self.half.sink_gone {
            self.half.drop_output();
        }
        if !self.half.has_output() {
            return Ok(true);
        }
        let (flushed, outcome) = self.half.poll_flush(self.sink, context, self.write_left);
        self.write_left = self.write_left.saturating_sub(flushed);
        match outcome {
            Poll::Ready(Ok(())) => self.gives_way |= self.half.has_output(),
            Poll::Ready(Err(error)) => self.write_failed(&error)?,
            Poll::Pending => {}
        }
        self.wrote |= flushed > 0;
        self.shared
            .pipeline
            .borrow_mut()
            .metrics
            .frames(self.direction)
            .bytes_out += flushed as u64;
        Ok(!self.half.has_output())
    }

    /// Gives back buffers that are empty, and tells the executor how much is held.
    fn settle(&mut self) {
        let mut pool = self.shared.pool.borrow_mut();
        if self.half.input.is_empty() {
            pool.give(&mut self.half.input);
        }
        if !self.half.has_output() {
            self.half.drop_output();
            pool.give(&mut self.half.output);
        }
        drop(pool);
        let elsewhere = self.session.bytes_held(self.direction);
        self.shared.account(self.half, elsewhere);
    }

    /// The source has ended: the sink is told once everything before it is written.
    fn pass_end_on(&mut self, context: &mut Context<'_>) -> Result<bool, CloseReason> {
        if self.half.end_passed_on || self.half.has_output() || self.direction == Direction::Response {
            return Ok(false);
        }
        match Pin::new(&mut *self.sink).poll_close(context) {
            Poll::Ready(Ok(())) => {
                self.half.end_passed_on = true;
                // Nobody is left to answer.
                if self.session.is_quiet() {
                    return Err(CloseReason::ClientClosed);
                }
                Ok(true)
            }
            Poll::Ready(Err(_)) => Err(CloseReason::ClientClosed),
            Poll::Pending => Ok(false),
        }
    }

    fn read_failed(&self, error: &io::Error) -> CloseReason {
        match self.direction {
            Direction::Request => CloseReason::ClientError,
            Direction::Response if is_gone(error) => CloseReason::BrokerClosed,
            Direction::Response => CloseReason::BrokerError,
        }
    }

    /// A client that is gone is no reason to drop what it has sent before: answers are thrown away until its own end is read.
    fn write_failed(&mut self, error: &io::Error) -> Result<(), CloseReason> {
        if self.direction == Direction::Response && is_gone(error) {
            self.half.sink_gone = true;
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
fn is_gone(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe
    )
}

/// Counts what was done since `begun`, which is set to now, and before that had waited for `waited`.
fn clock(begun: &mut Instant, kind: TimeKind, waited: Duration, pipeline: &mut Pipeline) {
    let now = Instant::now();
    let worked = now.saturating_duration_since(*begun);
    pipeline.metrics.time(kind, waited.saturating_add(worked));
    *begun = now;
}

/// Rounds of one wake-up: with 256 KiB a read, 2 MiB before others get their turn.
const ROUNDS_MAX: usize = 8;
/// Bytes that are written before others get their turn: a peer that reads as fast as we write never makes us wait.
const WRITTEN_BYTES_MAX: usize = 2 * 1024 * 1024;
/// What is copied of bytes that go out as they are, so that what they were read into can be used again; a read is no longer.
const QUEUED_COPY_MAX: usize = 256 * 1024;
/// Queued output beyond which nothing more is made of the input.
const OUTPUT_HIGH_BYTES: usize = 512 * 1024;
/// How often a half that the bound on held bytes keeps from reading tries again.
const STARVED_RETRY: Duration = Duration::from_millis(20);
