//! What an executor runs on: sockets, timers and tasks of its thread. In production that is [`Glommio`]; a simulated
//! world is another one, in which nothing happens by itself.
//!
//! Executor threads only.

use std::future::{Future, poll_fn};
use std::io;
use std::net::{SocketAddr, TcpStream as StdTcpStream};
use std::pin::Pin;
use std::time::Duration;

use futures_lite::io::{AsyncRead, AsyncWrite};
use glommio::net::TcpStream;
use glommio::timer::Timer;

use crate::connection::{Stream, Wire};

/// See the module.
pub(crate) trait Platform: 'static {
    /// A client's socket, as the acceptor hands it over from its own thread.
    type Accepted;
    /// A socket of this executor.
    type Socket: Socket;
    /// Ready when its time has come and whoever waits for a socket has been looked at before.
    type Timer: Future + Unpin;
    /// A task that runs beside the executor's loop, until it ends or is cancelled.
    type Task;

    /// Takes an accepted socket over for this executor.
    fn adopt(accepted: Self::Accepted) -> Self::Socket;
    /// Connects, or fails when `at_most` is over.
    fn connect(address: SocketAddr, at_most: Duration) -> impl Future<Output = io::Result<Self::Socket>>;
    /// A timer that begins now.
    fn timer(after: Duration) -> Self::Timer;
    /// Starts a task on this thread.
    fn spawn(task: impl Future<Output = ()> + 'static) -> Self::Task;
    /// Ends a task where it waits; ready when everything that it owned is gone.
    fn cancel(task: Self::Task) -> impl Future<Output = ()>;
}

/// A connected socket.
pub(crate) trait Socket: Stream + AsyncRead + AsyncWrite + Unpin {
    /// Waits until the peer has sent something, or is gone, and copies what there is without taking it: no bytes mean
    /// that it has ended without a word.
    fn peek(&mut self, buffer: &mut [u8]) -> impl Future<Output = io::Result<usize>>;
}

/// io_uring.
pub(crate) struct Glommio;

impl Platform for Glommio {
    type Accepted = StdTcpStream;
    type Socket = TcpStream;
    type Timer = Timer;
    type Task = glommio::Task<()>;

    fn adopt(accepted: StdTcpStream) -> TcpStream {
        let stream = TcpStream::from(glommio_socket2::Socket::from(accepted));
        without_delay(stream)
    }

    async fn connect(address: SocketAddr, at_most: Duration) -> io::Result<TcpStream> {
        let stream = TcpStream::connect_timeout(address, at_most).await?;
        Ok(without_delay(stream))
    }

    fn timer(after: Duration) -> Timer {
        Timer::new(after)
    }

    fn spawn(task: impl Future<Output = ()> + 'static) -> glommio::Task<()> {
        glommio::spawn_local(task)
    }

    async fn cancel(task: glommio::Task<()>) {
        task.cancel().await;
    }
}

/// Small frames must not wait for acknowledgements. A socket that refuses it fails at the first read.
fn without_delay(stream: TcpStream) -> TcpStream {
    let _ = stream.set_nodelay(true);
    stream
}

/// What is shown is what the peer has said, not its ciphertext.
impl<S: Socket> Socket for Wire<S> {
    async fn peek(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.tls().is_none() {
            return self.socket_mut().peek(buffer).await;
        }
        poll_fn(|context| self.poll_peek_tls(context, buffer)).await
    }
}

impl<S: Socket> Socket for &mut S {
    async fn peek(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        (**self).peek(buffer).await
    }
}

impl Socket for TcpStream {
    async fn peek(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        // Without room nothing is read: it is ready when there is something, or when there is nothing more.
        poll_fn(|context| AsyncRead::poll_read(Pin::new(&mut *self), context, &mut [])).await?;
        Ok(TcpStream::peek(self, buffer).await?)
    }
}
