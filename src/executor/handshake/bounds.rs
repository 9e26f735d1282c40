//! What TLS handshakes get of an executor: its time, and its memory.
//!
//! - HANDSHAKES-1: one of them computes in a turn of the executor, with clients and with brokers alike, in the order in
//!   which they have what they need from their peers. Who waits for a peer is in nobody's way.
//! - HANDSHAKES-2: `limits.handshakes_per_second_max` of clients are answered, in the order of their ClientHellos. What
//!   is begun goes on beside that: it would have been for nothing.
//! - HANDSHAKES-3: so many with clients are under way ([`Limits::handshakes_of_each`]). For one more the oldest ends
//!   that waits for its client, so that nobody keeps others out by saying nothing; where all of them wait for us, the
//!   new one is refused.
//! - HANDSHAKES-4: what they hold of what has come and is to be sent is on the executor's account, as that of
//!   connections that are not logged in (HELD-3).
//!
//! Executor threads only.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::sync::{Semaphore, SemaphorePermit};

use crate::clocks;
use crate::config::Limits;
use crate::connection::{HalfKey, Holding, Shared};
use crate::executor::others_first::OthersFirst;
use crate::executor::platform::Platform;
use crate::ids::ClusterId;
use crate::metrics::{CloseReason, Direction};

/// All handshakes of an executor; see the module.
pub(in crate::executor) struct Handshakes {
    /// Of one who computes, or is about to: whoever else has more to do waits behind one handshake, not behind all.
    /// Tokio's is fair, and one who has gone hands it on.
    turn: Semaphore,
    others_first: Rc<OthersFirst>,
    /// Of one who is to be answered next.
    next: Semaphore,
    /// Between two answers.
    interval: Duration,
    answered_next: Cell<Option<Instant>>,
    under_way_max: usize,
    /// Connections that wait for their clients, the oldest first.
    silent: RefCell<BTreeSet<u64>>,
    /// How many wait for us.
    queued: Cell<usize>,
}

impl Handshakes {
    /// At most `under_way_max` with clients at a time.
    pub(in crate::executor) fn new(
        limits: &Limits,
        under_way_max: usize,
        others_first: Rc<OthersFirst>,
    ) -> Self {
        let a_second = u32::try_from(limits.handshakes_per_second_max).unwrap_or(u32::MAX);
        Self {
            turn: Semaphore::new(1),
            others_first,
            next: Semaphore::new(1),
            interval: Duration::from_secs(1).checked_div(a_second).unwrap_or_default(),
            answered_next: Cell::new(None),
            under_way_max,
            silent: RefCell::default(),
            queued: Cell::new(0),
        }
    }

    /// Begins one with the client of `connection`.
    ///
    /// # Errors
    /// It is refused (HANDSHAKES-3).
    pub(in crate::executor) fn with_client<'a>(
        &'a self,
        shared: &'a Shared,
        connection: u64,
        cluster: ClusterId,
    ) -> Result<UnderWay<'a>, CloseReason> {
        let mut silent = self.silent.borrow_mut();
        if silent.len().saturating_add(self.queued.get()) >= self.under_way_max {
            let refused = CloseReason::HandshakeLimit;
            let oldest = silent.pop_first().ok_or(refused)?;
            shared.registry.borrow().close(oldest, refused);
        }
        silent.insert(connection);
        drop(silent);
        self.count(shared);
        Ok(UnderWay::new(
            self,
            shared,
            connection,
            cluster,
            Direction::Request,
        ))
    }

    /// Begins one with a broker for the client of `connection`.
    pub(in crate::executor) fn with_broker<'a>(
        &'a self,
        shared: &'a Shared,
        connection: u64,
        cluster: ClusterId,
    ) -> UnderWay<'a> {
        UnderWay::new(self, shared, connection, cluster, Direction::Response)
    }

    fn count(&self, shared: &Shared) {
        let gauges = &mut shared.pipeline.borrow_mut().metrics.gauges;
        gauges.handshakes_silent = self.silent.borrow().len() as u64;
        gauges.handshakes_queued = self.queued.get() as u64;
    }
}

/// A handshake, until it is over.
pub(in crate::executor) struct UnderWay<'a> {
    all: &'a Handshakes,
    shared: &'a Shared,
    key: HalfKey,
    cluster: ClusterId,
    begun: Instant,
    /// Bytes of memory.
    held: Cell<usize>,
}

impl<'a> UnderWay<'a> {
    #[expect(clippy::disallowed_methods, reason = "it reads the clock for what decides")]
    fn new(
        all: &'a Handshakes,
        shared: &'a Shared,
        connection: u64,
        cluster: ClusterId,
        direction: Direction,
    ) -> Self {
        Self {
            all,
            shared,
            key: HalfKey {
                connection,
                direction,
            },
            cluster,
            begun: clocks::now(),
            held: Cell::new(0),
        }
    }

    /// What its connection is part of.
    pub(super) fn shared(&self) -> &'a Shared {
        self.shared
    }

    /// Notes that it holds so many bytes of memory (HANDSHAKES-4).
    pub(super) fn hold(&self, bytes: usize) {
        self.held.set(bytes);
        self.account(false);
    }

    /// Waits until its client may be answered (HANDSHAKES-2).
    #[expect(clippy::disallowed_methods, reason = "it reads the clock for what decides")]
    pub(super) async fn may_be_answered<P: Platform>(&self) {
        let _queued = Queued::new(self);
        // It is never closed.
        let _next = self.all.next.acquire().await;
        let now = clocks::now();
        // Who was late, or was not there, does not slow down those that follow.
        let earliest = now.checked_sub(CATCHES_UP_FOR).unwrap_or(now);
        let due = self.all.answered_next.get().map_or(now, |due| due.max(earliest));
        if due > now {
            P::timer(due.saturating_duration_since(now)).await;
        }
        self.all.answered_next.set(due.checked_add(self.all.interval));
    }

    /// Waits for its turn to compute, which lasts until what comes of this is dropped (HANDSHAKES-1).
    pub(super) async fn turn<P: Platform>(&self) -> Option<SemaphorePermit<'a>> {
        let _queued = Queued::new(self);
        // It is never closed.
        let turn = self.all.turn.acquire().await.ok();
        self.all.others_first.go::<P>().await;
        turn
    }

    #[expect(clippy::disallowed_methods, reason = "it reads the clock for what decides")]
    fn account(&self, parked: bool) {
        let holding = Holding {
            cluster: self.cluster,
            bytes: self.held.get(),
            proven: false,
            paced_at: self.begun,
            parked,
        };
        self.shared.hold(self.key, holding, clocks::now());
    }
}

impl Drop for UnderWay<'_> {
    #[expect(clippy::disallowed_methods, reason = "it reads the clock for what decides")]
    fn drop(&mut self) {
        self.shared.forget(self.key, clocks::now());
        if self.key.direction == Direction::Request {
            self.all.silent.borrow_mut().remove(&self.key.connection);
            self.all.count(self.shared);
        }
    }
}

/// Waits for us, and not for its peer.
struct Queued<'a> {
    handshake: &'a UnderWay<'a>,
    /// It was among those that wait for their clients.
    was_silent: bool,
}

impl<'a> Queued<'a> {
    fn new(handshake: &'a UnderWay<'_>) -> Self {
        let all = handshake.all;
        let was_silent = all.silent.borrow_mut().remove(&handshake.key.connection);
        let queued = all.queued.get();
        all.queued.set(queued.saturating_add(was_silent.into()));
        handshake.account(true);
        all.count(handshake.shared);
        Self {
            handshake,
            was_silent,
        }
    }
}

impl Drop for Queued<'_> {
    fn drop(&mut self) {
        let UnderWay { all, key, shared, .. } = self.handshake;
        if self.was_silent {
            all.queued.set(all.queued.get().saturating_sub(1));
            all.silent.borrow_mut().insert(key.connection);
        }
        self.handshake.account(false);
        all.count(shared);
    }
}

/// Timers fire late where there is much to do. So much of a pause is made up for, at once.
const CATCHES_UP_FOR: Duration = Duration::from_millis(100);
