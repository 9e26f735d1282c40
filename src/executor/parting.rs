//! How the sockets of a connection are closed: writing is shut down, and what the peer still sends is read and dropped,
//! until it ends.
//!
//! To close a socket with unread input sends a reset, and the kernel then drops what it has not sent yet: the end of an
//! answer, or of a request that nobody acknowledges.
//!
//! - PARTING-1: a socket is parted from for [`PARTING_MAX`] and [`DROPPED_BYTES_MAX`] at most, both of a connection at
//!   the same time; one of a broker with whom TLS was not agreed on before another is tried.
//! - PARTING-2: the connection is counted as closed before, and owns no memory any more. It keeps its place among
//!   `limits.connections_max`, so that there are never more sockets than that allows.
//! - PARTING-3: a drain waits for it, or the end of the program would be the reset.
//!
//! Executor threads only.

use std::cell::Cell;
use std::future::poll_fn;
use std::io;
use std::task::Poll;
use std::time::Duration;

use futures_lite::future::zip;

use super::counted::Counted;
use super::others_first::OthersFirst;
use super::platform::Platform;
use crate::clocks;
use crate::connection::{Shared, Stream, Wire};

/// The sockets of a connection.
pub(super) struct Sockets<P: Platform> {
    pub(super) client: Wire<P::Socket>,
    /// Once it is connected.
    pub(super) broker: Option<Wire<P::Socket>>,
}

impl<P: Platform> Sockets<P> {
    /// Those of a client that was just accepted.
    pub(super) fn of(client: P::Accepted) -> Self {
        Self {
            client: Wire::plain(P::adopt(client)),
            broker: None,
        }
    }

    /// Closes both; `partings` counts it meanwhile.
    pub(super) async fn part(self, shared: &Shared, partings: &Cell<usize>, others_first: &OthersFirst) {
        let _counted = Counted::new(partings);
        let broker = async {
            if let Some(broker) = self.broker {
                part_from::<P>(broker, shared, others_first).await;
            }
        };
        zip(part_from::<P>(self.client, shared, others_first), broker).await;
    }
}

/// Shuts writing down, and reads until the peer has ended or enough was read (PARTING-1).
#[expect(clippy::disallowed_methods, reason = "it reads the clock for what decides")]
pub(super) async fn part_from<P: Platform>(
    mut wire: Wire<P::Socket>,
    shared: &Shared,
    others_first: &OthersFirst,
) {
    let deadline = clocks::now() + PARTING_MAX;
    let mut is_alarmed = false;
    let closed = poll_fn(|context| {
        if clocks::now() >= deadline {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        if !is_alarmed {
            is_alarmed = true;
            shared.alarms.borrow_mut().at(context.waker(), deadline);
        }
        wire.poll_close(context)
    });
    if closed.await.is_err() {
        return;
    }
    // What is dropped need not be opened first.
    let socket = wire.socket_mut();
    let mut dropped = 0_usize;
    while dropped < DROPPED_BYTES_MAX {
        let read = poll_fn(|context| {
            if clocks::now() >= deadline {
                return Poll::Ready(Ok(0));
            }
            let mut inputs = shared.inputs.borrow_mut();
            let mut buffer = inputs.take(DROPPED_AT_ONCE);
            buffer.resize(buffer.len().max(DROPPED_AT_ONCE), 0);
            let read = socket.poll_read(context, &mut buffer);
            inputs.give(buffer);
            read
        });
        match read.await {
            Ok(bytes) if bytes > 0 => {
                dropped = dropped.saturating_add(bytes);
                // Less is all that there was.
                if bytes >= DROPPED_AT_ONCE {
                    others_first.go::<P>().await;
                }
            }
            Ok(_) | Err(_) => return,
        }
    }
}

/// A peer that lives ends its side as soon as it hears of ours.
const PARTING_MAX: Duration = Duration::from_secs(1);
const DROPPED_AT_ONCE: usize = 64 * 1024;
/// Twice of what the kernels of both sides hold on the way by default (6 MiB and 4 MiB at most), rounded down.
const DROPPED_BYTES_MAX: usize = 16 * 1024 * 1024;
