//! One socket of the load: writes a shared frame, reads a frame's head, lets the kernel discard the rest.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::mem::MaybeUninit;
use std::rc::Rc;
use std::time::Instant;

use mio::net::TcpStream;
use socket2::SockRef;

use super::frame::{Frame, HEAD_BYTES, TopicDigits};

/// Whose end it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    /// A client of the system that the group stands for, the `member`th of them.
    Client { group: usize, member: usize },
    /// The stand-in broker.
    Broker,
}

/// A frame that has arrived whole.
pub(super) struct Received {
    /// Its length, prefix included.
    pub(super) bytes: usize,
    /// Of a request: its API key.
    pub(super) api_key: i16,
    /// Of a request: its correlation id, as sent.
    pub(super) correlation_id: [u8; 4],
    /// Of a request: how it begins.
    pub(super) head: [u8; HEAD_BYTES],
    /// The frame, prefix included, where it was kept.
    pub(super) frame: Option<Vec<u8>>,
}

pub(super) enum Progress {
    /// The socket has to become ready.
    Blocked,
    /// A frame is there.
    Received(Received),
    /// The peer has closed.
    Closed,
}

pub(super) struct Connection {
    pub(super) side: Side,
    /// Of a client: where the next response is kept.
    pub(super) keep: Option<Vec<u8>>,
    /// Of a client: when its request in flight was sent, or was to be sent.
    pub(super) sent_at: Option<Instant>,
    /// Of a client: when further requests were to be sent, that wait for the one in flight.
    pub(super) due: VecDeque<Instant>,
    stream: TcpStream,
    outgoing: Option<Outgoing>,
    head: Vec<u8>,
    /// Bytes of the frame that have been read, its prefix included.
    seen: usize,
    kept: Option<Vec<u8>>,
    answer_due: bool,
}

/// A frame on its way out: a head of its own, the rest shared.
struct Outgoing {
    head: [u8; HEAD_BYTES],
    frame: Rc<[u8]>,
    sent: usize,
}

/// Prefix and correlation id of a response.
const RESPONSE_HEAD_BYTES: usize = 8;
/// Prefix, API key, version and correlation id of a request.
const REQUEST_HEAD_BYTES: usize = 12;
/// What is read for the head; a small frame is whole with it.
const FIRST_READ_BYTES: usize = 4096;
/// One discarding read.
const DISCARD_BYTES: usize = 4 << 20;

impl Connection {
    pub(super) fn new(stream: TcpStream, side: Side) -> Self {
        Self {
            side,
            keep: None,
            sent_at: None,
            due: VecDeque::new(),
            stream,
            outgoing: None,
            head: Vec::with_capacity(HEAD_BYTES),
            seen: 0,
            kept: None,
            answer_due: false,
        }
    }

    pub(super) fn is_client_of(&self, wanted: usize) -> bool {
        matches!(self.side, Side::Client { group, .. } if group == wanted)
    }

    /// Which one of its group.
    pub(super) fn member(&self) -> usize {
        match self.side {
            Side::Client { member, .. } => member,
            Side::Broker => 0,
        }
    }

    /// Whether a client waits for an answer, or anybody has something to write.
    pub(super) fn waits(&self) -> bool {
        self.answer_due || self.outgoing.is_some()
    }

    /// Queues a frame and writes what the socket takes, with `correlation_id` and `topic` in place of the frame's own.
    pub(super) fn send(
        &mut self,
        frame: &Frame,
        topic: Option<TopicDigits>,
        correlation_id: Option<[u8; 4]>,
    ) {
        let mut head = [0; HEAD_BYTES];
        for (to, from) in head.iter_mut().zip(frame.bytes.iter()) {
            *to = *from;
        }
        if let Some(id) = correlation_id {
            for (to, from) in head.iter_mut().skip(4).zip(id) {
                *to = from;
            }
        }
        if let (Some(topic), Some(at)) = (topic, frame.topic_at) {
            topic.write(&mut head, at);
        }
        self.answer_due = matches!(self.side, Side::Client { .. });
        self.outgoing = Some(Outgoing {
            head,
            frame: Rc::clone(&frame.bytes),
            sent: 0,
        });
        // A failure shows when the loop comes to this connection, which it does: an error makes the socket ready.
        let _ = self.write();
    }

    /// Does what can be done without waiting. Broker and client alternate: nothing is read while something is written.
    pub(super) fn advance(&mut self, buffer: &mut [u8], capturing: bool) -> io::Result<Progress> {
        if !self.write()? {
            return Ok(Progress::Blocked);
        }
        match self.read(buffer, capturing) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(Progress::Blocked),
            Err(error) if error.kind() == ErrorKind::NotConnected => Ok(Progress::Blocked),
            other => other,
        }
    }

    /// Whether everything is written.
    fn write(&mut self) -> io::Result<bool> {
        while let Some(outgoing) = &mut self.outgoing {
            let head_bytes = HEAD_BYTES.min(outgoing.frame.len());
            let head = outgoing.head.get(outgoing.sent..head_bytes).unwrap_or_default();
            let rest = outgoing
                .frame
                .get(outgoing.sent.max(head_bytes)..)
                .unwrap_or_default();
            if head.is_empty() && rest.is_empty() {
                self.outgoing = None;
                break;
            }
            match self
                .stream
                .write_vectored(&[IoSlice::new(head), IoSlice::new(rest)])
            {
                Ok(written) => outgoing.sent += written,
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::NotConnected) => {
                    return Ok(false);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    fn read(&mut self, buffer: &mut [u8], capturing: bool) -> io::Result<Progress> {
        loop {
            if self.head.len() < self.head_wanted() {
                let room = buffer.get_mut(..FIRST_READ_BYTES).unwrap_or_default();
                let read = self.stream.read(room)?;
                if read == 0 {
                    return Ok(Progress::Closed);
                }
                let bytes = buffer.get(..read).unwrap_or_default();
                let missing = HEAD_BYTES - self.head.len();
                self.head.extend(bytes.iter().take(missing));
                self.seen += read;
                self.keep_bytes(bytes, capturing);
                continue;
            }
            let frame_bytes = self.number(0).saturating_add(4);
            if self.seen >= frame_bytes {
                if self.seen > frame_bytes {
                    return Err(io::Error::other("two frames where one was expected"));
                }
                return Ok(Progress::Received(self.take(frame_bytes)));
            }
            let left = frame_bytes - self.seen;
            let read = if self.kept.is_some() {
                let room = left.min(buffer.len());
                let read = self.stream.read(buffer.get_mut(..room).unwrap_or_default())?;
                let bytes = buffer.get(..read).unwrap_or_default();
                self.kept.get_or_insert_default().extend_from_slice(bytes);
                read
            } else {
                discard(&self.stream, left)?
            };
            if read == 0 {
                return Ok(Progress::Closed);
            }
            self.seen += read;
        }
    }

    /// How much of the frame has to be there before its kind is known, and its topic.
    fn head_wanted(&self) -> usize {
        match self.side {
            Side::Client { .. } => RESPONSE_HEAD_BYTES,
            Side::Broker if self.head.len() < REQUEST_HEAD_BYTES => REQUEST_HEAD_BYTES,
            Side::Broker => HEAD_BYTES.min(self.number(0).saturating_add(4)),
        }
    }

    /// Starts to keep the frame where its content is wanted.
    fn keep_bytes(&mut self, bytes: &[u8], capturing: bool) {
        let wanted = match self.side {
            Side::Client { .. } => self.keep.is_some(),
            // What is not payload has to be answered, so it has to be read.
            Side::Broker => capturing || !matches!(self.api_key(), 0 | 1),
        };
        if wanted || self.kept.is_some() {
            self.kept.get_or_insert_default().extend_from_slice(bytes);
        }
    }

    fn take(&mut self, bytes: usize) -> Received {
        let mut head = [0; HEAD_BYTES];
        for (to, from) in head.iter_mut().zip(&self.head) {
            *to = *from;
        }
        let received = Received {
            bytes,
            head,
            api_key: self.api_key(),
            correlation_id: match self.head.get(8..12) {
                Some([a, b, c, d]) => [*a, *b, *c, *d],
                _ => [0; 4],
            },
            frame: self.kept.take(),
        };
        if let (Some(keep), Some(frame)) = (&mut self.keep, &received.frame) {
            keep.clone_from(frame);
        }
        self.head.clear();
        self.seen = 0;
        self.answer_due = false;
        received
    }

    fn api_key(&self) -> i16 {
        match self.head.get(4..6) {
            Some([a, b]) => i16::from_be_bytes([*a, *b]),
            _ => i16::MAX,
        }
    }

    fn number(&self, at: usize) -> usize {
        match self.head.get(at..at + 4) {
            Some([a, b, c, d]) => u32::from_be_bytes([*a, *b, *c, *d]) as usize,
            _ => usize::MAX,
        }
    }
}

/// Reads and discards at most `bytes` without copying them.
fn discard(stream: &TcpStream, bytes: usize) -> io::Result<usize> {
    // Linux does not touch the buffer with MSG_TRUNC on TCP; a buffer of that length has to be there all the same.
    thread_local! {
        static NOWHERE: std::cell::RefCell<Vec<MaybeUninit<u8>>> =
            std::cell::RefCell::new(vec![MaybeUninit::uninit(); DISCARD_BYTES]);
    }
    NOWHERE.with_borrow_mut(|nowhere| {
        let room = nowhere.get_mut(..bytes.min(DISCARD_BYTES)).unwrap_or_default();
        SockRef::from(stream).recv_with_flags(room, MSG_TRUNC)
    })
}

/// `MSG_TRUNC` of Linux, the same on every architecture.
const MSG_TRUNC: i32 = 0x20;
