//! TLS over a stream: carries ciphertext between a [`TlsSession`] and a socket, whatever the socket is.
//!
//! - ENCRYPTED-1: nothing goes out and nothing is shown but by way of the session.
//! - ENCRYPTED-2: whoever is pending has asked the socket, which wakes the task (STREAM-2): the session itself waits
//!   for nothing.
//! - ENCRYPTED-3: what the session has to say itself goes out with what is written next, and at the end at the latest
//!   ([`poll_close`](Encrypted::poll_close)), an alert too. Nothing is waited for from the peer then.
//! - ENCRYPTED-4: between two calls it holds what TLS-2 says, and no buffer where nothing is in hand.
//!
//! Executor threads only.

use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use rustls::ServerConfig;

use super::stream::{Stream, StreamHeld};
use crate::buffers::BufferPool;
use crate::transport::tls::{TlsFailure, TlsSession};

/// See the module.
pub(crate) struct Encrypted {
    session: TlsSession,
    pool: Rc<RefCell<BufferPool>>,
    /// The socket has ended; what the session was told before is its own affair.
    socket_ended: bool,
}

impl Encrypted {
    /// `session`, with buffers out of `pool`.
    pub(crate) fn new(session: TlsSession, pool: Rc<RefCell<BufferPool>>) -> Self {
        Self {
            session,
            pool,
            socket_ended: false,
        }
    }

    /// What is known of the connection.
    pub(crate) fn session(&self) -> &TlsSession {
        &self.session
    }

    /// As [`Stream::held`].
    #[inline]
    pub(crate) fn held(&self) -> StreamHeld {
        let (unread, unsent) = self.session.held();
        StreamHeld { unread, unsent }
    }

    /// Whether the peer has ended without saying so (TLS-4).
    pub(crate) fn ended_unannounced(&self) -> bool {
        self.socket_ended && !self.session.has_ended()
    }

    /// As [`TlsSession::answer`].
    pub(crate) fn answer(&mut self, config: Arc<ServerConfig>) -> Result<(), TlsFailure> {
        self.session.answer(config)
    }

    /// As [`TlsSession::refuse_name`].
    pub(crate) fn refuse_name(&mut self) -> TlsFailure {
        self.session.refuse_name(&mut self.pool.borrow_mut())
    }

    /// Lets the session go on with the handshake. What that leaves to be sent goes out with [`Self::poll_flush`], or
    /// with the end (ENCRYPTED-3).
    pub(crate) fn step<T>(&mut self, step: impl FnOnce(&mut TlsSession, &mut BufferPool) -> T) -> T {
        let done = step(&mut self.session, &mut self.pool.borrow_mut());
        self.rest();
        done
    }

    /// Waits until more of the handshake has come.
    pub(crate) fn poll_hear<S: Stream>(
        &mut self,
        socket: &mut S,
        context: &mut Context<'_>,
    ) -> Poll<Result<(), TlsFailure>> {
        let came = match self.poll_fill(socket, context, HANDSHAKE_READ_BYTES) {
            Poll::Ready(Ok(0)) => Err(io::ErrorKind::UnexpectedEof.into()),
            Poll::Ready(came) => came,
            Poll::Pending => {
                self.rest();
                return Poll::Pending;
            }
        };
        Poll::Ready(
            came.map(|_| ())
                .map_err(|error| self.session.socket_failed(&error)),
        )
    }

    /// As [`Stream::poll_read`]: what is opened already comes first.
    pub(crate) fn poll_read<S: Stream>(
        &mut self,
        socket: &mut S,
        context: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        if buffer.is_empty() {
            return Poll::Ready(Ok(0));
        }
        // As much as is likely to be taken, so that little is left over.
        let wanted = buffer
            .len()
            .saturating_add(HEADERS_BYTES)
            .clamp(RECORD_BYTES, READ_BYTES_MAX);
        let read = loop {
            let opened = self.session.open(buffer, &mut self.pool.borrow_mut());
            match opened {
                Ok(0) if !self.session.has_ended() && !self.socket_ended => {}
                Ok(bytes) => break Poll::Ready(Ok(bytes)),
                Err(_) => break Poll::Ready(Err(io::ErrorKind::InvalidData.into())),
            }
            match self.poll_fill(socket, context, wanted) {
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(error)) => break Poll::Ready(Err(error)),
                Poll::Pending => break Poll::Pending,
            }
        };
        self.rest();
        read
    }

    /// Waits until something is opened, or nothing more comes, and copies it without taking it.
    pub(crate) fn poll_peek<S: Stream>(
        &mut self,
        socket: &mut S,
        context: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        loop {
            let shown = {
                let mut pool = self.pool.borrow_mut();
                let opened = self.session.peek(&mut pool);
                let opened = opened.map_err(|_| io::Error::from(io::ErrorKind::InvalidData))?;
                let bytes = opened.len().min(buffer.len());
                if let (Some(place), Some(shown)) = (buffer.get_mut(..bytes), opened.get(..bytes)) {
                    place.copy_from_slice(shown);
                }
                bytes
            };
            if shown > 0 || self.session.has_ended() || self.socket_ended {
                self.rest();
                return Poll::Ready(Ok(shown));
            }
            match self.poll_fill(socket, context, RECORD_BYTES) {
                Poll::Ready(came) => came?,
                Poll::Pending => {
                    self.rest();
                    return Poll::Pending;
                }
            };
        }
    }

    /// As [`Stream::poll_write`]: seals as much as may be held, and sends when that is reached.
    pub(crate) fn poll_write<S: Stream>(
        &mut self,
        socket: &mut S,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let mut taken = 0_usize;
        let outcome = loop {
            let rest = bytes.get(taken..).unwrap_or_default();
            let sealed = self.session.seal(rest, &mut self.pool.borrow_mut());
            match sealed {
                Ok(sealed) => taken = taken.saturating_add(sealed),
                Err(_) => break Poll::Ready(Err(io::ErrorKind::InvalidData.into())),
            }
            if taken >= bytes.len() {
                break Poll::Ready(Ok(()));
            }
            match self.poll_send(socket, context) {
                Poll::Ready(Ok(())) => {}
                outcome => break outcome,
            }
        };
        match outcome {
            // What was taken counts: a failure is found again, and whoever has more to write asks again.
            _ if taken > 0 => Poll::Ready(Ok(taken)),
            Poll::Ready(Ok(())) => Poll::Ready(Ok(0)),
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => Poll::Pending,
        }
    }

    /// As [`Stream::poll_flush`].
    pub(crate) fn poll_flush<S: Stream>(
        &mut self,
        socket: &mut S,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        ready!(self.poll_send(socket, context))?;
        socket.poll_flush(context)
    }

    /// As [`Stream::poll_close`].
    pub(crate) fn poll_close<S: Stream>(
        &mut self,
        socket: &mut S,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        self.session.close(&mut self.pool.borrow_mut());
        ready!(self.poll_send(socket, context))?;
        socket.poll_close(context)
    }

    /// Reads once, up to `bytes_max`; none: the socket has ended.
    fn poll_fill<S: Stream>(
        &mut self,
        socket: &mut S,
        context: &mut Context<'_>,
        bytes_max: usize,
    ) -> Poll<io::Result<usize>> {
        let mut pool = self.pool.borrow_mut();
        let room = self.session.room(bytes_max, &mut pool);
        let came = ready!(socket.poll_read(context, room))?;
        self.session.add(came);
        self.socket_ended |= came == 0;
        Poll::Ready(Ok(came))
    }

    /// Hands what is sealed to the socket.
    fn poll_send<S: Stream>(&mut self, socket: &mut S, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let outcome = loop {
            let outgoing = self.session.outgoing();
            if outgoing.is_empty() {
                break Poll::Ready(Ok(()));
            }
            match socket.poll_write(context, outgoing) {
                Poll::Ready(Ok(0)) => break Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(bytes)) => self.session.sent(bytes),
                Poll::Ready(Err(error)) => break Poll::Ready(Err(error)),
                Poll::Pending => break Poll::Pending,
            }
        };
        self.rest();
        outcome
    }

    fn rest(&mut self) {
        self.session.rest(&mut self.pool.borrow_mut());
    }
}

/// Ciphertext that is read at a time, at most. It lies in a cache until it is opened.
const READ_BYTES_MAX: usize = 128 * 1024;
/// The longest record: whoever wants little reads a whole one all the same.
const RECORD_BYTES: usize = 16 * 1024 + 256 + 5;
/// Of the records that fit into [`READ_BYTES_MAX`].
const HEADERS_BYTES: usize = 512;
/// Most messages of a handshake are shorter; what comes behind it should not be read.
const HANDSHAKE_READ_BYTES: usize = 4 * 1024;
