//! Sockets in memory whose room and arrivals a test decides, and frames to send over them.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use crate::connection::Stream;

/// The relay's end of a socket; clones are the test's view of it.
#[derive(Clone, Default)]
pub(super) struct Socket(Rc<RefCell<State>>);

#[derive(Default)]
struct State {
    arriving: VecDeque<u8>,
    ended: bool,
    reader: Option<Waker>,
    written: Vec<u8>,
    room: usize,
    writer: Option<Waker>,
    /// How much it takes before anything is sent; `None`: it sends at once.
    buffer_bytes: Option<usize>,
    buffered: Vec<u8>,
    closing: bool,
    closed: bool,
    reset: bool,
}

impl Socket {
    /// A socket that takes `room` bytes.
    pub(super) fn with_room(room: usize) -> Self {
        let socket = Self::default();
        socket.0.borrow_mut().room = room;
        socket
    }

    /// From now on it keeps up to `bytes` until it is flushed, as a layer of encryption does, and says goodbye at its
    /// end.
    pub(super) fn buffer(&self, bytes: usize) {
        self.0.borrow_mut().buffer_bytes = Some(bytes);
    }

    /// The other side sends.
    pub(super) fn arrive(&self, bytes: &[u8]) {
        let mut state = self.0.borrow_mut();
        state.arriving.extend(bytes);
        if let Some(waker) = state.reader.take() {
            waker.wake();
        }
    }

    /// The other side sends no more.
    pub(super) fn end(&self) {
        let mut state = self.0.borrow_mut();
        state.ended = true;
        if let Some(waker) = state.reader.take() {
            waker.wake();
        }
    }

    /// The other side is gone: what it has sent can still be read, nothing can be written.
    pub(super) fn reset(&self) {
        self.0.borrow_mut().reset = true;
        self.make_room(0);
        if let Some(waker) = self.0.borrow_mut().reader.take() {
            waker.wake();
        }
    }

    /// The other side has read: so many bytes more can be written.
    pub(super) fn make_room(&self, bytes: usize) {
        let mut state = self.0.borrow_mut();
        state.room += bytes;
        if let Some(waker) = state.writer.take() {
            waker.wake();
        }
    }

    /// From now on so many bytes can be written.
    pub(super) fn leave_room(&self, bytes: usize) {
        self.0.borrow_mut().room = 0;
        self.make_room(bytes);
    }

    /// Bytes that were sent to us and not read.
    pub(super) fn unread(&self) -> usize {
        self.0.borrow().arriving.len()
    }

    /// What was written since the last call.
    pub(super) fn take_written(&self) -> Vec<u8> {
        std::mem::take(&mut self.0.borrow_mut().written)
    }

    /// Whether the relay has said that it writes no more.
    pub(super) fn is_closed(&self) -> bool {
        self.0.borrow().closed
    }
}

impl Stream for Socket {
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
            state.buffered.extend_from_slice(CLOSE_NOTIFY);
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

/// What a stream that buffers says at its end.
pub(super) const CLOSE_NOTIFY: &[u8] = b"bye";

/// A frame with its length in front.
pub(super) fn frame(parts: &[&[u8]]) -> Vec<u8> {
    let content = parts.concat();
    let length = i32::try_from(content.len()).expect("a small frame");
    [&length.to_be_bytes(), &content[..]].concat()
}

/// A request without a client id.
pub(super) fn request(api_key: i16, version: i16, correlation_id: i32, body: &[u8]) -> Vec<u8> {
    frame(&[
        &api_key.to_be_bytes(),
        &version.to_be_bytes(),
        &correlation_id.to_be_bytes(),
        &[0xff, 0xff],
        body,
    ])
}

/// A heartbeat: passed on unread in both directions.
pub(super) fn heartbeat(correlation_id: i32) -> Vec<u8> {
    request(12, 0, correlation_id, &[7; 20])
}

/// The answer to a heartbeat.
pub(super) fn beaten(correlation_id: i32) -> Vec<u8> {
    frame(&[&correlation_id.to_be_bytes(), &[0, 0]])
}

/// Produce version 3 with one batch for partition 0 of `topic`.
pub(super) fn produce(correlation_id: i32, acks: i16, topic: &str, batch: &[u8]) -> Vec<u8> {
    produce_all(correlation_id, acks, topic, &[batch])
}

/// Produce version 3 with one batch for each of the first partitions of `topic`.
pub(super) fn produce_all(correlation_id: i32, acks: i16, topic: &str, batches: &[&[u8]]) -> Vec<u8> {
    let count = i32::try_from(batches.len()).expect("a few partitions");
    let mut body = [
        &[0xff, 0xff],
        &acks.to_be_bytes()[..],
        &1000_i32.to_be_bytes(),
        &one_topic(topic),
        &count.to_be_bytes(),
    ]
    .concat();
    for (partition, batch) in (0_i32..).zip(batches) {
        body.extend(partition.to_be_bytes());
        body.extend(bytes(batch));
    }
    request(0, 3, correlation_id, &body)
}

/// Fetch version 4; what it asks for is not looked at.
pub(super) fn fetch(correlation_id: i32) -> Vec<u8> {
    request(1, 4, correlation_id, &[0; 20])
}

/// The answer to a fetch: `records` of partition 0 of `topic`.
pub(super) fn fetched(correlation_id: i32, topic: &str, records: &[u8]) -> Vec<u8> {
    frame(&[
        &correlation_id.to_be_bytes(),
        &[0; 4],
        &one_partition(topic),
        // Error code, high watermark, last stable offset, no aborted transactions.
        &[0; 2 + 8 + 8],
        &[0xff; 4],
        &bytes(records),
    ])
}

fn one_partition(topic: &str) -> Vec<u8> {
    [one_topic(topic).as_slice(), &[0, 0, 0, 1, 0, 0, 0, 0]].concat()
}

fn one_topic(topic: &str) -> Vec<u8> {
    let length = i16::try_from(topic.len()).expect("a topic's name");
    [&[0, 0, 0, 1], &length.to_be_bytes()[..], topic.as_bytes()].concat()
}

fn bytes(content: &[u8]) -> Vec<u8> {
    frame(&[content])
}
