//! A stream of bytes to a peer, as the loop of a connection needs it: plain TCP, or anything that has something to do
//! between what is written and what goes out, such as a layer of encryption.
//!
//! - STREAM-1: what was written is on its way only once it is flushed: a connection ends, and waits for a peer, no
//!   sooner.
//! - STREAM-2: whoever is pending wakes the task when to go on is worth it, whichever direction it needs for that. To
//!   write never takes in what a read waits for: until the task is woken, a read that is pending stays so.
//!
//! Executor threads only.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_lite::io::{AsyncRead, AsyncWrite};
use glommio::net::TcpStream;

/// See the module.
pub(crate) trait Stream {
    /// Reads into `buffer`, the executor's own: 0 bytes are the end of what the peer sends.
    fn poll_read(&mut self, context: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>>;
    /// Takes some of `bytes`, into a bounded buffer of its own where it has one.
    fn poll_write(&mut self, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>>;
    /// Ready when all that was written has gone out.
    fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>>;
    /// Flushes, and tells the peer that nothing more is written; ready when that has gone out too.
    fn poll_close(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>>;
    /// Memory of its own, which is on the account of whoever reads and writes it.
    fn held(&self) -> StreamHeld {
        StreamHeld::default()
    }
}

/// Bytes of memory that a stream owns between two calls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct StreamHeld {
    /// Of what has come and is not read.
    pub(crate) unread: usize,
    /// Of what was written and has not gone out.
    pub(crate) unsent: usize,
}

/// The kernel takes what is written, and nothing is left to flush.
impl Stream for TcpStream {
    #[inline]
    fn poll_read(&mut self, context: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        AsyncRead::poll_read(Pin::new(self), context, buffer)
    }

    #[inline]
    fn poll_write(&mut self, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        AsyncWrite::poll_write(Pin::new(self), context, bytes)
    }

    #[inline]
    fn poll_flush(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        AsyncWrite::poll_close(Pin::new(self), context)
    }
}

impl<S: Stream> Stream for &mut S {
    #[inline]
    fn poll_read(&mut self, context: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        (**self).poll_read(context, buffer)
    }

    #[inline]
    fn poll_write(&mut self, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        (**self).poll_write(context, bytes)
    }

    #[inline]
    fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        (**self).poll_flush(context)
    }

    fn poll_close(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        (**self).poll_close(context)
    }

    #[inline]
    fn held(&self) -> StreamHeld {
        (**self).held()
    }
}
