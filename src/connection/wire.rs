//! A socket with or without TLS: what a relay, and the stages before it, read and write.
//!
//! Executor threads only.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_lite::io::{AsyncRead, AsyncWrite};

use super::encrypted::Encrypted;
use super::stream::{Stream, StreamHeld};

/// See the module.
pub(crate) struct Wire<S> {
    socket: S,
    tls: Option<Box<Encrypted>>,
}

impl<S> Wire<S> {
    /// A socket as it is.
    pub(crate) fn plain(socket: S) -> Self {
        Self { socket, tls: None }
    }

    /// From here on everything goes by way of `tls`, whose handshake comes first. With it: the socket itself.
    pub(crate) fn begin_tls(&mut self, tls: Encrypted) -> (&mut Encrypted, &mut S) {
        (self.tls.insert(Box::new(tls)), &mut self.socket)
    }

    /// Its TLS, if it has any.
    pub(crate) fn tls(&self) -> Option<&Encrypted> {
        self.tls.as_deref()
    }

    /// The socket itself, to read and drop what is of no interest any more.
    pub(crate) fn socket_mut(&mut self) -> &mut S {
        &mut self.socket
    }
}

impl<S: Stream> Wire<S> {
    /// As [`Encrypted::poll_peek`]; nothing where there is no TLS.
    pub(crate) fn poll_peek_tls(
        &mut self,
        context: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        match &mut self.tls {
            None => Poll::Ready(Ok(0)),
            Some(tls) => tls.poll_peek(&mut self.socket, context, buffer),
        }
    }
}

impl<S: Stream> Stream for Wire<S> {
    #[inline]
    fn poll_read(&mut self, context: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        match &mut self.tls {
            None => self.socket.poll_read(context, buffer),
            Some(tls) => tls.poll_read(&mut self.socket, context, buffer),
        }
    }

    #[inline]
    fn poll_write(&mut self, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.tls {
            None => self.socket.poll_write(context, bytes),
            Some(tls) => tls.poll_write(&mut self.socket, context, bytes),
        }
    }

    #[inline]
    fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.tls {
            None => self.socket.poll_flush(context),
            Some(tls) => tls.poll_flush(&mut self.socket, context),
        }
    }

    fn poll_close(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.tls {
            None => self.socket.poll_close(context),
            Some(tls) => tls.poll_close(&mut self.socket, context),
        }
    }

    #[inline]
    fn held(&self) -> StreamHeld {
        self.tls
            .as_deref()
            .map_or_else(StreamHeld::default, |tls| tls.held())
    }
}

impl<S: Stream + Unpin> AsyncRead for Wire<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        Stream::poll_read(self.get_mut(), context, buffer)
    }
}

impl<S: Stream + Unpin> AsyncWrite for Wire<S> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Stream::poll_write(self.get_mut(), context, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Stream::poll_flush(self.get_mut(), context)
    }

    fn poll_close(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Stream::poll_close(self.get_mut(), context)
    }
}
