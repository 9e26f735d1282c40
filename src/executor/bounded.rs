//! A peer's stream in a stage before anything is relayed: it may be waited for so long, and be read so many bytes of.
//!
//! - BOUNDED-1: at the deadline reading and writing end with [`io::ErrorKind::TimedOut`], however the peer drips, and
//!   so does what is waited for [`within`](Bounded::within) it.
//! - BOUNDED-2: no byte is read past the bound: whoever sends more gets [`io::ErrorKind::InvalidData`].
//!
//! Executor threads only.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_lite::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use super::platform::{Platform, Socket};
use crate::connection::Stream;
use crate::protocol::frame::LENGTH_PREFIX_BYTES;

/// See the module.
pub(super) struct Bounded<P: Platform, S> {
    stream: S,
    deadline: P::Timer,
    bytes_left: usize,
}

impl<P: Platform, S> Bounded<P, S> {
    /// `stream` from now on.
    pub(super) fn new(stream: S, at_most: Duration, bytes_max: usize) -> Self {
        Self {
            stream,
            deadline: P::timer(at_most),
            bytes_left: bytes_max,
        }
    }

    /// What the peer has sent, without taking it, as [`Socket::peek`] has it (BOUNDED-1).
    pub(super) async fn peek(&mut self, buffer: &mut [u8]) -> io::Result<usize>
    where
        S: Socket,
    {
        within::<P, _>(&mut self.deadline, self.stream.peek(buffer)).await?
    }

    /// Sends a frame, its length included, and reads one, without its length. It is read whole, or the connection would
    /// be reset; what is longer than `bytes_max` is cut.
    pub(super) async fn ask(&mut self, frame: &[u8], bytes_max: usize) -> io::Result<Vec<u8>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        self.write_all(frame).await?;
        self.flush().await?;
        let mut prefix = [0; LENGTH_PREFIX_BYTES];
        self.read_exact(&mut prefix).await?;
        let length = usize::try_from(u32::from_be_bytes(prefix)).unwrap_or(usize::MAX);
        let mut answer = vec![0; length.min(bytes_max)];
        self.read_exact(&mut answer).await?;
        Ok(answer)
    }

    /// What is waited for otherwise, if it comes in time (BOUNDED-1).
    pub(super) async fn within<T>(&mut self, wait: impl Future<Output = T>) -> io::Result<T> {
        within::<P, _>(&mut self.deadline, wait).await
    }

    fn in_time(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        in_time::<P>(&mut self.deadline, context)
    }
}

/// BOUNDED-1
async fn within<P: Platform, T>(deadline: &mut P::Timer, wait: impl Future<Output = T>) -> io::Result<T> {
    let mut wait = pin!(wait);
    poll_fn(|context| {
        in_time::<P>(deadline, context)?;
        wait.as_mut().poll(context).map(Ok)
    })
    .await
}

/// BOUNDED-1. Also has the task woken at the deadline.
fn in_time<P: Platform>(deadline: &mut P::Timer, context: &mut Context<'_>) -> io::Result<()> {
    match Pin::new(deadline).poll(context) {
        Poll::Ready(_) => Err(io::ErrorKind::TimedOut.into()),
        Poll::Pending => Ok(()),
    }
}

impl<P: Platform, S: AsyncRead + Unpin> AsyncRead for Bounded<P, S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        self.in_time(context)?;
        let place = bounded(buffer, self.bytes_left)?;
        let bytes = ready!(Pin::new(&mut self.stream).poll_read(context, place))?;
        self.bytes_left = self.bytes_left.saturating_sub(bytes);
        Poll::Ready(Ok(bytes))
    }
}

impl<P: Platform, S: AsyncWrite + Unpin> AsyncWrite for Bounded<P, S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.in_time(context)?;
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.in_time(context)?;
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_close(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.in_time(context)?;
        Pin::new(&mut self.stream).poll_close(context)
    }
}

impl<P: Platform, S: Stream> Stream for Bounded<P, S> {
    fn poll_read(&mut self, context: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        self.in_time(context)?;
        let place = bounded(buffer, self.bytes_left)?;
        let bytes = ready!(self.stream.poll_read(context, place))?;
        self.bytes_left = self.bytes_left.saturating_sub(bytes);
        Poll::Ready(Ok(bytes))
    }

    fn poll_write(&mut self, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.in_time(context)?;
        self.stream.poll_write(context, bytes)
    }

    fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.in_time(context)?;
        self.stream.poll_flush(context)
    }

    fn poll_close(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.in_time(context)?;
        self.stream.poll_close(context)
    }
}

/// As much of `buffer` as may be read into (BOUNDED-2).
fn bounded(buffer: &mut [u8], bytes_left: usize) -> io::Result<&mut [u8]> {
    let room = buffer.len().min(bytes_left);
    let place = buffer.get_mut(..room).unwrap_or_default();
    if place.is_empty() {
        return Err(io::ErrorKind::InvalidData.into());
    }
    Ok(place)
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use glommio::LocalExecutor;
    use glommio::timer::Timer;

    use super::*;
    use crate::executor::platform::Glommio;

    const LONG: Duration = Duration::from_secs(60);
    const SHORT: Duration = Duration::from_millis(50);

    /// Sends a byte every now and then, for ever, and takes nothing.
    struct Dripping(Timer);

    impl AsyncRead for Dripping {
        fn poll_read(
            mut self: Pin<&mut Self>,
            context: &mut Context<'_>,
            buffer: &mut [u8],
        ) -> Poll<io::Result<usize>> {
            ready!(Pin::new(&mut self.0).poll(context));
            self.0 = Timer::new(Duration::from_millis(1));
            buffer[0] = 7;
            Poll::Ready(Ok(1))
        }
    }

    impl AsyncWrite for Dripping {
        fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, _: &[u8]) -> Poll<io::Result<usize>> {
            Poll::Pending
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Pending
        }

        fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Pending
        }
    }

    fn dripping() -> Dripping {
        Dripping(Timer::new(Duration::from_millis(1)))
    }

    fn run<T>(test: impl Future<Output = T>) -> T {
        LocalExecutor::default().run(test)
    }

    /// BOUNDED-1
    #[test]
    fn a_peer_that_drips_or_takes_nothing_has_its_time_and_no_more() {
        run(async {
            let begun = Instant::now();
            let mut read = Vec::new();
            let mut stream = Bounded::<Glommio, _>::new(dripping(), SHORT, usize::MAX);
            let error = stream.read_to_end(&mut read).await.expect_err("it is over");
            assert_eq!(error.kind(), io::ErrorKind::TimedOut);
            assert!(!read.is_empty(), "what came in time is read");
            let mut stream = Bounded::<Glommio, _>::new(dripping(), SHORT, 1);
            let error = stream.write_all(b"question").await.expect_err("it is over");
            assert_eq!(error.kind(), io::ErrorKind::TimedOut);
            for kind in [
                Bounded::<Glommio, _>::new(dripping(), SHORT, 1).flush().await,
                Bounded::<Glommio, _>::new(dripping(), SHORT, 1).close().await,
            ] {
                assert_eq!(kind.map_err(|error| error.kind()), Err(io::ErrorKind::TimedOut));
            }
            assert!(
                (4 * SHORT..LONG).contains(&begun.elapsed()),
                "{:?}",
                begun.elapsed()
            );
        });
    }

    /// BOUNDED-2
    #[test]
    fn no_byte_past_the_bound_is_read() {
        run(async {
            let sent: &[u8] = &[7; 100];
            let mut all = [0; 100];
            let mut exact = Bounded::<Glommio, _>::new(sent, LONG, 100);
            exact.read_exact(&mut all).await.expect("as many as it may");
            let mut source = sent;
            let mut one_less = Bounded::<Glommio, _>::new(&mut source, LONG, 99);
            let error = one_less.read_exact(&mut all).await.expect_err("one too many");
            assert_eq!(error.kind(), io::ErrorKind::InvalidData);
            assert_eq!(source.len(), 1, "it is left where it was");
        });
    }
}
