//! Sockets in memory and connections that somebody else makes.

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use futures_lite::io::{AsyncRead, AsyncWrite};

use super::tasks::{SimulatedTimer, Task, Tasks};
use crate::connection::{Stream, StreamHeld};
use crate::executor::{Platform, Socket};
use crate::testing::MemoryStream;

thread_local! {
    static DIALS: RefCell<Vec<Dial>> = const { RefCell::new(Vec::new()) };
}

/// See the folder's module.
pub struct SimulatedPlatform;

impl Platform for SimulatedPlatform {
    type Accepted = SimulatedSocket;
    type Socket = SimulatedSocket;
    type Timer = SimulatedTimer;
    type Task = Task;

    fn adopt(accepted: SimulatedSocket) -> SimulatedSocket {
        accepted
    }

    async fn connect(address: SocketAddr, at_most: Duration) -> io::Result<SimulatedSocket> {
        let mut timer = Self::timer(at_most);
        let dial = Dial {
            address,
            state: Rc::default(),
        };
        DIALS.with_borrow_mut(|dials| dials.push(dial.clone()));
        poll_fn(|context| {
            let mut state = dial.state.borrow_mut();
            if let Some(outcome) = state.outcome.take() {
                return Poll::Ready(outcome);
            }
            state.waker = Some(context.waker().clone());
            drop(state);
            let timed_out = Pin::new(&mut timer).poll(context);
            timed_out.map(|()| Err(io::ErrorKind::TimedOut.into()))
        })
        .await
    }

    fn timer(after: Duration) -> SimulatedTimer {
        Tasks::of_thread().timer(after)
    }

    fn spawn(task: impl Future<Output = ()> + 'static) -> Task {
        Tasks::of_thread().spawn(task)
    }

    async fn cancel(task: Task) {
        Tasks::of_thread().cancel(&task);
    }
}

impl SimulatedPlatform {
    /// The connections that executors have wanted since the last call.
    pub fn take_dials() -> Vec<Dial> {
        DIALS.take()
    }
}

/// A connection that an executor wants.
#[derive(Clone)]
pub struct Dial {
    address: SocketAddr,
    state: Rc<RefCell<DialState>>,
}

#[derive(Default)]
struct DialState {
    outcome: Option<io::Result<SimulatedSocket>>,
    waker: Option<Waker>,
}

impl Dial {
    /// Where to.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Whoever is there takes it: the stream is its view of the connection.
    #[must_use]
    pub fn accept(self, room: usize) -> MemoryStream {
        let stream = MemoryStream::with_room(room);
        self.end(Ok(SimulatedSocket(stream.clone())));
        stream
    }

    /// Nobody is there.
    pub fn refuse(self) {
        self.end(Err(io::ErrorKind::ConnectionRefused.into()));
    }

    fn end(self, outcome: io::Result<SimulatedSocket>) {
        let mut state = self.state.borrow_mut();
        state.outcome = Some(outcome);
        let waker = state.waker.take();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

/// The program's end of a connection, which is closed when it is dropped.
pub struct SimulatedSocket(MemoryStream);

impl SimulatedSocket {
    /// A client's, as it is accepted; with it: the client's view of it.
    pub(crate) fn accepted(room: usize) -> (Self, MemoryStream) {
        let stream = MemoryStream::with_room(room);
        (Self(stream.clone()), stream)
    }
}

impl Drop for SimulatedSocket {
    fn drop(&mut self) {
        self.0.hang_up();
    }
}

impl Socket for SimulatedSocket {
    async fn peek(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        poll_fn(|context| self.0.poll_peek(context, buffer)).await
    }
}

impl Stream for SimulatedSocket {
    fn poll_read(&mut self, context: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        self.0.poll_read(context, buffer)
    }

    fn poll_write(&mut self, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.0.poll_write(context, bytes)
    }

    fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.poll_flush(context)
    }

    fn poll_close(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.poll_close(context)
    }

    fn held(&self) -> StreamHeld {
        self.0.held()
    }
}

impl AsyncRead for SimulatedSocket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        Stream::poll_read(&mut *self, context, buffer)
    }
}

impl AsyncWrite for SimulatedSocket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Stream::poll_write(&mut *self, context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Stream::poll_flush(&mut *self, context)
    }

    fn poll_close(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Stream::poll_close(&mut *self, context)
    }
}
