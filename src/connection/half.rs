//! One direction of a connection: what was read and not worked off, and what is to be written.
//!
//! - HALF-1: a secret by which the proxy proves to brokers who it is leaves nothing in memory that others get: output
//!   that may hold one is wiped once it is written, or dropped. It is moved no more once it is there.

use std::io;
use std::task::{Context, Poll};
use std::time::Instant;

use zeroize::Zeroize as _;

use super::held::{HalfKey, PACE_BYTES};
use super::input::Input;
use super::stream::Stream;
use crate::metrics::CloseReason;
use crate::pipeline::Wait;

/// One direction; see the module.
pub(crate) struct Half {
    pub(crate) key: HalfKey,
    /// Read and not consumed yet: the beginning of a frame that is held, or what lies behind one that waits.
    pub(crate) input: Input,
    /// How long the last frame was that was held, if it came in several reads: the next one is likely like it.
    pub(crate) expected: usize,
    /// To be written from `written` on.
    pub(crate) output: Vec<u8>,
    /// There may be a secret in it, and it is wiped when it is written (HALF-1).
    pub(crate) is_secret: bool,
    pub(crate) written: usize,
    /// Something was written and has not gone out (STREAM-1).
    pub(crate) unflushed: bool,
    /// Behind the output, so many bytes of `input` go out as they are, and are not to be looked at again.
    pub(crate) verbatim: usize,
    /// What has to happen before `input` is looked at again.
    pub(crate) blocked: Option<Blocked>,
    /// `input` may hold whole frames that were not looked at, because the output had to be written first.
    pub(crate) unfinished: bool,
    /// Why the connection ends, once what stands before the frame that is not to pass is written.
    pub(crate) failed: Option<CloseReason>,
    /// All that has come was read and worked on, and more is wanted: the source is waited for.
    pub(crate) awaits_source: bool,
    /// No more will be read.
    pub(crate) ended: bool,
    /// The other side was told so.
    pub(crate) end_passed_on: bool,
    /// Nobody was left to be answered then.
    pub(crate) ended_quietly: bool,
    /// Nobody reads what is written any more: it is dropped.
    pub(crate) sink_gone: bool,
    /// Bytes that the executor has on account for this half.
    pub(crate) accounted: usize,
    /// A frame that is too long to pass by has asked for its turn.
    pub(crate) turn: Option<LongFrame>,
    /// When the last [`PACE_BYTES`] had been moved, and how much was moved since.
    pub(crate) paced_at: Instant,
    moved: usize,
}

/// A frame that takes turns with those of others.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LongFrame {
    /// Bytes of it that the session has not used up; what it has may still have to be written.
    pub(crate) left: usize,
}

/// Why a half does not go on.
#[derive(Debug)]
pub(crate) struct Blocked {
    pub(crate) wait: Wait,
    /// [`Pipeline::news_of`](crate::pipeline::Pipeline::news_of) it when it stopped.
    pub(crate) news: u64,
}

impl Half {
    pub(crate) fn new(key: HalfKey, now: Instant) -> Self {
        Self {
            key,
            input: Input::default(),
            expected: 0,
            output: Vec::new(),
            is_secret: false,
            written: 0,
            unflushed: false,
            verbatim: 0,
            blocked: None,
            unfinished: false,
            failed: None,
            awaits_source: false,
            ended: false,
            end_passed_on: false,
            ended_quietly: false,
            sink_gone: false,
            accounted: 0,
            turn: None,
            paced_at: now,
            moved: 0,
        }
    }

    /// Bytes were read or written, or worked off.
    pub(crate) fn note_moved(&mut self, bytes: usize, now: Instant) {
        self.moved = self.moved.saturating_add(bytes);
        if self.moved >= PACE_BYTES {
            self.moved = 0;
            self.paced_at = now;
        }
    }

    /// Whether the long frame is gone: worked off and written.
    pub(crate) fn has_ended_its_turn(&self) -> bool {
        self.turn.is_some_and(|frame| frame.left == 0) && !self.has_output()
    }

    /// Whether something is still to be written.
    pub(crate) fn has_output(&self) -> bool {
        self.written < self.output.len() || self.verbatim > 0
    }

    /// Whether all that is to be written has gone out.
    pub(crate) fn is_delivered(&self) -> bool {
        !self.has_output() && !self.unflushed
    }

    /// Whether nothing is held in either direction.
    pub(crate) fn is_empty(&self) -> bool {
        self.input.is_empty() && !self.has_output()
    }

    /// Bytes that were read and that the session has not taken.
    pub(crate) fn untaken(&self) -> usize {
        self.input.rest().len().saturating_sub(self.verbatim)
    }

    /// Bytes of memory that this half owns.
    pub(crate) fn bytes_held(&self) -> usize {
        self.input.capacity().saturating_add(self.output.capacity())
    }

    /// Queues `bytes` behind what is to be written.
    pub(crate) fn queue(&mut self, mut bytes: Vec<u8>) {
        if self.output.is_empty() {
            self.output = bytes;
        } else {
            self.output.extend_from_slice(&bytes);
            if self.is_secret {
                bytes.zeroize();
            }
        }
    }

    /// Nothing of the output is needed any more (HALF-1).
    fn clear_output(&mut self) {
        if std::mem::take(&mut self.is_secret) {
            self.output.zeroize();
        }
        self.output.clear();
        self.written = 0;
    }

    /// Forgets what is to be written.
    pub(crate) fn drop_output(&mut self) {
        self.clear_output();
        if self.verbatim > 0 {
            let verbatim = std::mem::take(&mut self.verbatim);
            self.input.consume(verbatim);
        }
    }

    /// Writes what is to be written, up to `bytes_max`; ready when so much or all is. With it, how many bytes were
    /// written.
    pub(crate) fn poll_write_out<W: Stream>(
        &mut self,
        sink: &mut W,
        context: &mut Context<'_>,
        bytes_max: usize,
    ) -> (usize, Poll<io::Result<()>>) {
        let mut written = 0_usize;
        let outcome = loop {
            let queued = self.output.get(self.written..).unwrap_or_default();
            let is_queued = !queued.is_empty();
            let rest = if is_queued {
                queued
            } else {
                self.input.rest().get(..self.verbatim).unwrap_or_default()
            };
            let rest = rest.get(..bytes_max.saturating_sub(written)).unwrap_or(rest);
            if rest.is_empty() {
                break Poll::Ready(Ok(()));
            }
            match sink.poll_write(context, rest) {
                Poll::Ready(Ok(0)) => break Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(bytes)) => {
                    written = written.saturating_add(bytes);
                    if is_queued {
                        self.written = self.written.saturating_add(bytes);
                    } else {
                        self.verbatim = self.verbatim.saturating_sub(bytes);
                        self.input.consume(bytes);
                    }
                }
                Poll::Ready(Err(error)) => break Poll::Ready(Err(error)),
                Poll::Pending => break Poll::Pending,
            }
        };
        if self.written >= self.output.len() {
            self.clear_output();
        }
        self.unflushed |= written > 0;
        (written, outcome)
    }
}
