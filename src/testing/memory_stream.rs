//! Streams in memory whose room and arrivals a test decides: as plain TCP, or as a layer of encryption, which buffers,
//! delivers in records and fails.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use crate::connection::{Stream, StreamHeld};

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
    /// What has come of a record that is not whole.
    record: Vec<u8>,
    /// How much can be read of each record that is.
    records: VecDeque<usize>,
    /// The first of them is opened.
    opened: bool,
    /// A record was altered on its way: nothing behind it can be read.
    failed: bool,
    closing: bool,
    closed: bool,
    reset: bool,
}

impl MemoryStream {
    /// A stream that takes `room` bytes.
    pub fn with_room(room: usize) -> Self {
        let stream = Self::default();
        stream.0.borrow_mut().room = room;
        stream
    }

    /// From now on it is as a layer of encryption: it keeps up to `bytes` until it is flushed, says goodbye before it
    /// is closed, and takes in records.
    pub fn encrypt(&self, bytes: usize) {
        self.0.borrow_mut().buffer_bytes = Some(bytes);
    }

    /// What the other side sends that has `bytes` to say: those themselves, or records of up to `record_bytes` of them.
    #[must_use]
    pub fn sent(&self, bytes: &[u8], record_bytes: u16) -> Vec<u8> {
        if self.0.borrow().buffer_bytes.is_none() {
            return bytes.to_vec();
        }
        let records = bytes.chunks(usize::from(record_bytes.max(1)));
        records
            .flat_map(|record| {
                let length = record.len() as u16;
                [&length.to_be_bytes()[..], record].concat()
            })
            .collect()
    }

    /// The other side sends, and it arrives whole.
    pub fn arrive(&self, bytes: &[u8]) {
        self.take_in(|state| {
            state.arriving.extend(bytes);
            let records = bytes.chunks(RECORD_BYTES_MAX);
            state.records.extend(records.map(<[u8]>::len));
        });
    }

    /// A part of what the other side has [`sent`](Self::sent) arrives.
    pub fn arrive_in_parts(&self, part: &[u8]) {
        self.take_in(|state| match state.buffer_bytes {
            None => state.arriving.extend(part),
            Some(_) => state.take_records(part),
        });
    }

    /// Somebody on the way alters what comes next; says whether that is noticed, which it is not without encryption.
    pub fn alter(&self) -> bool {
        let is_encrypted = self.0.borrow().buffer_bytes.is_some();
        self.take_in(|state| state.failed = is_encrypted);
        is_encrypted
    }

    fn take_in(&self, came: impl FnOnce(&mut State)) {
        let mut state = self.0.borrow_mut();
        came(&mut state);
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
        let state = self.0.borrow();
        state.arriving.len() + state.record.len()
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
        if state.arriving.is_empty() && !state.ended && !state.reset && !state.failed {
            state.reader = Some(context.waker().clone());
            return Poll::Pending;
        }
        if state.failed && state.arriving.is_empty() {
            return Poll::Ready(Err(io::ErrorKind::InvalidData.into()));
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
            if state.failed {
                return Poll::Ready(Err(io::ErrorKind::InvalidData.into()));
            }
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
        state.has_read(count);
        Poll::Ready(Ok(count))
    }

    fn poll_write(&mut self, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let mut state = self.0.borrow_mut();
        assert!(!state.closed && !state.closing, "written after the close");
        if state.reset {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        if state.failed {
            return Poll::Ready(Err(io::ErrorKind::InvalidData.into()));
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
            state.buffered.extend_from_slice(GOODBYE);
        }
        state.closing = true;
        if state.send(context).is_pending() {
            return Poll::Pending;
        }
        state.closed = true;
        Poll::Ready(Ok(()))
    }

    fn held(&self) -> StreamHeld {
        let state = self.0.borrow();
        match state.buffer_bytes {
            None => StreamHeld::default(),
            Some(_) => StreamHeld {
                unread: state.record.len() + state.records.front().filter(|_| state.opened).unwrap_or(&0),
                unsent: state.buffered.len(),
            },
        }
    }
}

impl State {
    /// Takes what has come in; what its whole records hold can be read then.
    fn take_records(&mut self, part: &[u8]) {
        if self.failed {
            return;
        }
        self.record.extend(part);
        while let Some(length) = self.record.first_chunk() {
            let end = length.len() + usize::from(u16::from_be_bytes(*length));
            if self.record.len() < end {
                break;
            }
            self.records.push_back(end - length.len());
            self.arriving
                .extend(self.record.drain(..end).skip(size_of::<u16>()));
        }
    }

    fn has_read(&mut self, mut bytes: usize) {
        while let Some(record) = self.records.front_mut() {
            if *record > bytes {
                *record -= bytes;
                self.opened |= bytes > 0;
                return;
            }
            bytes -= *record;
            self.opened = false;
            self.records.pop_front();
        }
    }

    /// Sends what there is room for; ready when nothing is left.
    fn send(&mut self, context: &Context<'_>) -> Poll<()> {
        let count = self.buffered.len().min(self.room);
        self.room -= count;
        let goodbye = match self.closing && self.buffer_bytes.is_some() {
            true => GOODBYE.len(),
            false => 0,
        };
        // What it says at the end is no word of whoever writes.
        let said = count.min(self.buffered.len().saturating_sub(goodbye));
        self.written.extend(self.buffered.drain(..count).take(said));
        if self.buffered.is_empty() {
            return Poll::Ready(());
        }
        self.writer = Some(context.waker().clone());
        Poll::Pending
    }
}

/// As TLS has it.
const RECORD_BYTES_MAX: usize = 16_384;
/// What one that encrypts says at its end.
const GOODBYE: &[u8] = b"bye";
