//! One connection of the load: writes a shared frame, then reads one.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, IoSlice};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Instant;

use super::frame::{Frame, HEAD_BYTES, TopicDigits};
use super::incoming::{Incoming, Received};
use super::socket::Socket;

/// Whose end it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    /// A client of the system that the group stands for and that listens at the address, the `member`th of them.
    Client {
        group: usize,
        member: usize,
        address: SocketAddr,
    },
    /// The stand-in broker.
    Broker,
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
    pub(super) incoming: Incoming,
    /// Of a client: when its request in flight was sent, or was to be sent.
    pub(super) sent_at: Option<Instant>,
    /// Of a client: when further requests were to be sent, that wait for the one in flight.
    pub(super) due: VecDeque<Instant>,
    socket: Socket,
    outgoing: Option<Outgoing>,
    answer_due: bool,
}

/// A frame on its way out: a head of its own, the rest shared.
struct Outgoing {
    head: [u8; HEAD_BYTES],
    frame: Rc<[u8]>,
    sent: usize,
}

impl Connection {
    pub(super) fn new(socket: Socket, side: Side) -> Self {
        Self {
            side,
            incoming: Incoming::new(side),
            sent_at: None,
            due: VecDeque::new(),
            socket,
            outgoing: None,
            answer_due: false,
        }
    }

    /// Ends it as who has nothing more to say.
    pub(super) fn close(self) {
        self.socket.close();
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

    /// Does what can be done without waiting. Broker and client alternate: nothing is read while something is written,
    /// but for what TLS has to read before it writes.
    pub(super) fn advance(&mut self, buffer: &mut [u8], capturing: bool) -> io::Result<Progress> {
        if !self.write()? && !self.socket.is_handshaking() {
            return Ok(Progress::Blocked);
        }
        match self.read(buffer, capturing) {
            Err(error) if has_to_wait(&error) => Ok(Progress::Blocked),
            other => other,
        }
    }

    /// Whether everything is written.
    fn write(&mut self) -> io::Result<bool> {
        match self.write_all() {
            Err(error) if has_to_wait(&error) => Ok(false),
            done => done.map(|()| true),
        }
    }

    fn write_all(&mut self) -> io::Result<()> {
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
            match self.socket.write(&[IoSlice::new(head), IoSlice::new(rest)]) {
                Ok(written) => outgoing.sent += written,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.socket.flush()
    }

    fn read(&mut self, buffer: &mut [u8], capturing: bool) -> io::Result<Progress> {
        loop {
            if let Some(received) = self.incoming.take()? {
                self.answer_due = false;
                return Ok(Progress::Received(received));
            }
            if self.socket.read(&mut self.incoming, buffer, capturing)? == 0 {
                return Ok(Progress::Closed);
            }
        }
    }
}

fn has_to_wait(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::NotConnected)
}
