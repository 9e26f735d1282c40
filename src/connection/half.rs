//! One direction of a connection: what was read and not worked off, and what is to be written.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;

use futures_lite::io::AsyncWrite;

use crate::pipeline::Wait;

/// One direction; see the module.
#[derive(Default)]
pub(crate) struct Half {
    /// From `consumed` on: read and not consumed yet, the beginning of a frame that is held, or what lies behind one that
    /// waits.
    pub(crate) input: Vec<u8>,
    pub(crate) consumed: usize,
    /// To be written from `written` on.
    pub(crate) output: Vec<u8>,
    pub(crate) written: usize,
    /// What has to happen before `input` is looked at again.
    pub(crate) blocked: Option<Blocked>,
    /// `input` may hold whole frames that were not looked at, because the output had to be written first.
    pub(crate) unfinished: bool,
    /// No more will be read.
    pub(crate) ended: bool,
    /// The other side was told so.
    pub(crate) end_passed_on: bool,
    /// Nobody reads what is written any more: it is dropped.
    pub(crate) sink_gone: bool,
    /// Bytes that the executor has on account for this half.
    pub(crate) accounted: usize,
    /// Since when the executor's bound on held bytes keeps this half from reading.
    pub(crate) starved_since: Option<Instant>,
}

/// Why a half does not go on.
#[derive(Debug)]
pub(crate) struct Blocked {
    pub(crate) wait: Wait,
    /// [`Pipeline::news`](crate::pipeline::Pipeline::news) when it stopped.
    pub(crate) news: u64,
}

impl Half {
    /// Whether something is still to be written.
    pub(crate) fn has_output(&self) -> bool {
        self.written < self.output.len()
    }

    /// Whether nothing is held in either direction.
    pub(crate) fn is_empty(&self) -> bool {
        self.input.is_empty() && !self.has_output()
    }

    /// Bytes that were read and not consumed.
    pub(crate) fn unconsumed(&self) -> usize {
        self.input.len().saturating_sub(self.consumed)
    }

    /// Consumes `bytes` more. What is left moves to the front only when it is the smaller part: a thousand small requests
    /// may wait here and go one by one.
    pub(crate) fn consume(&mut self, bytes: usize) {
        self.consumed = self.consumed.saturating_add(bytes).min(self.input.len());
        if self.consumed > self.input.len() / 2 {
            self.input.drain(..self.consumed);
            self.consumed = 0;
        }
    }

    /// Bytes of memory that this half owns.
    pub(crate) fn bytes_held(&self) -> usize {
        self.input.capacity().saturating_add(self.output.capacity())
    }

    /// Forgets what is to be written.
    pub(crate) fn drop_output(&mut self) {
        self.output.clear();
        self.written = 0;
    }

    /// Writes what is to be written, up to `bytes_max`; ready when so much or all is.
    pub(crate) fn poll_flush<W: AsyncWrite + Unpin>(
        &mut self,
        sink: &mut W,
        context: &mut Context<'_>,
        bytes_max: usize,
    ) -> Poll<io::Result<()>> {
        let end = self.written.saturating_add(bytes_max).min(self.output.len());
        while let Some(rest) = self.output.get(self.written..end).filter(|rest| !rest.is_empty()) {
            match Pin::new(&mut *sink).poll_write(context, rest) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(bytes)) => self.written = self.written.saturating_add(bytes),
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => return Poll::Pending,
            }
        }
        if !self.has_output() {
            self.drop_output();
        }
        Poll::Ready(Ok(()))
    }
}
