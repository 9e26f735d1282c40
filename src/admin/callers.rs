//! Who is connected to the endpoint: a listener that takes everybody in, and lets go of those that say nothing.
//!
//! - CALLERS-1: a connection is closed when its request has not come within [`CallerPatience::request`], or is not
//!   answered and read within [`CallerPatience::connection`], whatever its peer does.
//! - CALLERS-2: of connections whose request has not come there are [`CallerPatience::callers_max`]; one more takes
//!   the place of the oldest, so that a probe never waits for those that say nothing.
#![expect(clippy::disallowed_types, reason = "the control thread alone takes it")]

use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use tokio::task::yield_now;
use tokio::time::{Sleep, sleep};

use crate::repeats::{News, Repeats};

/// How long, and for how many, the endpoint waits.
#[derive(Clone, Copy)]
pub(super) struct CallerPatience {
    /// Connections whose request has not come.
    pub(super) callers_max: usize,
    /// From the connection to the whole head of the request.
    pub(super) request: Duration,
    /// From the connection to its end.
    pub(super) connection: Duration,
}

/// One connection, as the handlers of its request see it.
#[derive(Clone, Default)]
pub(super) struct Caller(Arc<CallState>);

#[derive(Default)]
struct CallState {
    asked: AtomicBool,
    /// Given back when the connection has ended.
    place: Mutex<Option<OwnedSemaphorePermit>>,
}

impl Caller {
    /// The request has come.
    pub(super) fn has_asked(&self) {
        self.0.asked.store(true, Ordering::Relaxed);
    }

    /// Keeps `place` for as long as the connection lives.
    pub(super) fn keep(&self, place: OwnedSemaphorePermit) {
        *self.0.place.lock().unwrap_or_else(PoisonError::into_inner) = Some(place);
    }

    fn is_silent(&self) -> bool {
        !self.0.asked.load(Ordering::Relaxed)
    }
}

impl Connected<IncomingStream<'_, PatientListener>> for Caller {
    fn connect_info(stream: IncomingStream<'_, PatientListener>) -> Self {
        stream.io().caller.clone()
    }
}

/// See the module.
pub(super) struct PatientListener {
    listener: TcpListener,
    patience: CallerPatience,
    /// Oldest first; some of them may have asked, or be gone.
    silent: VecDeque<Silent>,
    /// Why nobody could be accepted, as the log was told lately.
    said: Repeats<Option<i32>>,
}

struct Silent {
    caller: Caller,
    /// Dropped: the connection is to end.
    stay: oneshot::Sender<()>,
}

impl PatientListener {
    pub(super) fn new(listener: TcpListener, patience: CallerPatience) -> Self {
        Self {
            listener,
            patience,
            silent: VecDeque::new(),
            said: Repeats::new(),
        }
    }

    /// CALLERS-2
    fn take_in(&mut self, stream: TcpStream) -> BoundedStream {
        self.silent
            .retain(|silent| silent.caller.is_silent() && !silent.stay.is_closed());
        if self.silent.len() >= self.patience.callers_max {
            self.silent.pop_front();
        }
        let caller = Caller::default();
        let (stay, sent_away) = oneshot::channel();
        self.silent.push_back(Silent {
            caller: caller.clone(),
            stay,
        });
        BoundedStream {
            stream,
            caller,
            sent_away,
            request_due: Box::pin(sleep(self.patience.request)),
            end_due: Box::pin(sleep(self.patience.connection)),
        }
    }
}

impl Listener for PatientListener {
    type Io = BoundedStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (BoundedStream, SocketAddr) {
        loop {
            // Whoever was taken in before has its turn first, or it could be sent away before its request was looked
            // at.
            yield_now().await;
            match self.listener.accept().await {
                Ok((stream, peer)) => return (self.take_in(stream), peer),
                // Out of descriptors, or the peer is gone already: neither may spin.
                Err(error) => {
                    if self.said.news(error.raw_os_error(), Instant::now()) != News::None {
                        tracing::warn!(%error, "the admin endpoint cannot accept a connection; the same is not said \
                            again for a minute");
                    }
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// A socket that fails when its time is over.
pub(super) struct BoundedStream {
    stream: TcpStream,
    caller: Caller,
    sent_away: oneshot::Receiver<()>,
    request_due: Pin<Box<Sleep>>,
    end_due: Pin<Box<Sleep>>,
}

impl BoundedStream {
    fn check(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        let is_over = self.end_due.as_mut().poll(context).is_ready()
            || (self.caller.is_silent()
                && (self.request_due.as_mut().poll(context).is_ready()
                    || Pin::new(&mut self.sent_away).poll(context).is_ready()));
        if is_over {
            return Err(io::ErrorKind::TimedOut.into());
        }
        Ok(())
    }
}

impl AsyncRead for BoundedStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.check(context)?;
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for BoundedStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.check(context)?;
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check(context)?;
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
