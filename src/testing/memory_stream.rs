//! Streams in memory whose room and arrivals a test decides: as plain TCP, or as a layer of encryption that buffers.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use crate::connection::Stream;

/// The program's end of a stream; clones are the test's view of it.
#[derive(Clone, Debug, Default)]
pub struct MemoryStream(Rc<RefCell<State>>);

#[derive(Debug, Default)]
struct State {
    arriving: VecDeque<u8>,
    ended: bool,
    reader: Option<Waker>,
    written: Vec<u8>,
    writes: usize,
    room: usize,
    writer: Option<Waker>,
    /// How much it takes before anything is sent; `None`: it sends at once.
    buffer_bytes: Option<usize>,
    buffered: Vec<u8>,
    closing: bool,
    closed: bool,
    reset: bool,
}

impl MemoryStream {
    /// What one that buffers says at its end.
    pub const GOODBYE: &[u8] = b"bye";

    /// A stream that takes `room` bytes.
    pub fn with_room(room: usize) -> Self {
        let stream = Self::default();
        stream.0.borrow_mut().room = room;
        stream
    }

    /// From now on it keeps up to `bytes` until it is flushed, as a layer of encryption does, and says goodbye at its
    /// end.
    pub fn buffer(&self, bytes: usize) {
        self.0.borrow_mut().buffer_bytes = Some(bytes);
    }

    /// The other side sends.
    pub fn arrive(&self, bytes: &[u8]) {
        let mut state = self.0.borrow_mut();
        state.arriving.extend(bytes);
        if let Some(waker) = state.reader.take() {
            waker.wake();
        }
    }

    /// The other side sends no more.
    pub fn end(&self) {
        let mut state = self.0.borrow_mut();
        state.ended = true;
        if let Some(waker) = state.reader.take() {
            waker.wake();
        }
    }

    /// The other side is gone: what it has sent can still be read, nothing can be written.
    pub fn reset(&self) {
        self.0.borrow_mut().reset = true;
        self.make_room(0);
        if let Some(waker) = self.0.borrow_mut().reader.take() {
            waker.wake();
        }
    }

    /// The other side has read: so many bytes more can be written.
    pub fn make_room(&self, bytes: usize) {
        let mut state = self.0.borrow_mut();
        state.room += bytes;
        if let Some(waker) = state.writer.take() {
            waker.wake();
        }
    }

    /// From now on so many bytes can be written.
    pub fn leave_room(&self, bytes: usize) {
        self.0.borrow_mut().room = 0;
        self.make_room(bytes);
    }

    /// Bytes that were sent to us and not read.
    pub fn unread(&self) -> usize {
        self.0.borrow().arriving.len()
    }

    /// What was written since the last call.
    pub fn take_written(&self) -> Vec<u8> {
        std::mem::take(&mut self.0.borrow_mut().written)
    }

    /// In how many calls something was written, since the last time it was asked.
    pub fn take_writes(&self) -> usize {
        std::mem::take(&mut self.0.borrow_mut().writes)
    }

    /// Whether the program has said that it writes no more.
    pub fn is_closed(&self) -> bool {
        self.0.borrow().closed
    }

    /// The program has dropped its end: what it has written can still be read, nothing more comes, and nobody reads.
    pub fn hang_up(&self) {
        self.0.borrow_mut().closed = true;
    }

    /// Copies what has come and was not read, without taking it; ready when there is something, or nothing more.
    pub(crate) fn poll_peek(&self, context: &Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut state = self.0.borrow_mut();
        if state.arriving.is_empty() && !state.ended && !state.reset {
            state.reader = Some(context.waker().clone());
            return Poll::Pending;
        }
        let count = buffer.len().min(state.arriving.len());
        for (place, byte) in buffer.iter_mut().zip(&state.arriving) {
            *place = *byte;
        }
        Poll::Ready(Ok(count))
    }
}

impl Stream for MemoryStream {
    fn poll_read(&mut self, context: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut state = self.0.borrow_mut();
        if state.arriving.is_empty() {
            if state.reset {
                return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
            }
            if state.ended {
                return Poll::Ready(Ok(0));
            }
            state.reader = Some(context.waker().clone());
            return Poll::Pending;
        }
        let count = buffer.len().min(state.arriving.len());
        for (place, byte) in buffer.iter_mut().zip(state.arriving.drain(..count)) {
            *place = byte;
        }
        Poll::Ready(Ok(count))
    }

    fn poll_write(&mut self, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let mut state = self.0.borrow_mut();
        assert!(!state.closed && !state.closing, "written after the close");
        if state.reset {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let room = state.buffer_bytes.map_or(state.room, |buffer_bytes| {
            buffer_bytes.saturating_sub(state.buffered.len())
        });
        let count = bytes.len().min(room);
        if count == 0 {
            // A full buffer is written out without being asked.
            return match state.send(context) {
                Poll::Ready(()) if state.buffer_bytes.is_some() => {
                    state.buffered.extend_from_slice(&bytes[..1]);
                    Poll::Ready(Ok(1))
                }
                _ => {
                    state.writer = Some(context.waker().clone());
                    Poll::Pending
                }
            };
        }
        state.buffered.extend_from_slice(&bytes[..count]);
        state.writes += 1;
        if state.buffer_bytes.is_none() {
            assert!(state.send(context).is_ready(), "there was room");
        }
        Poll::Ready(Ok(count))
    }

    fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut state = self.0.borrow_mut();
        if state.reset {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        state.send(context).map(Ok)
    }

    fn poll_close(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut state = self.0.borrow_mut();
        if state.buffer_bytes.is_some() && !state.closing {
            state.buffered.extend_from_slice(MemoryStream::GOODBYE);
        }
        state.closing = true;
        if state.send(context).is_pending() {
            return Poll::Pending;
        }
        state.closed = true;
        Poll::Ready(Ok(()))
    }
}

impl State {
    /// Sends what there is room for; ready when nothing is left.
    fn send(&mut self, context: &Context<'_>) -> Poll<()> {
        let count = self.buffered.len().min(self.room);
        self.room -= count;
        self.written.extend(self.buffered.drain(..count));
        if self.buffered.is_empty() {
            return Poll::Ready(());
        }
        self.writer = Some(context.waker().clone());
        Poll::Pending
    }
}
