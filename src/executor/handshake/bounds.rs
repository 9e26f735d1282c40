//! What TLS handshakes get of an executor: its time, and its memory.
//!
//! - HANDSHAKES-1: one of them computes in a turn of the executor, with clients and with brokers alike, in the order in
//!   which they have what they need from their peers. Who waits for a peer is in nobody's way.
//! - HANDSHAKES-2: `limits.handshakes_per_second_max` of clients are answered, in the order of their ClientHellos. What
//!   is begun goes on beside that: it would have been for nothing. Whoever would wait for more than half of its time is
//!   refused at once, or those in front would be answered when their time is over.
//! - HANDSHAKES-3: so many with clients are under way ([`Limits::handshakes_of_each`]). For one more the one ends that
//!   has waited longest for its ClientHello, so that nobody keeps others out by saying nothing; where all clients have
//!   said theirs, the one that was answered longest ago, if it has not gone on for [`ANSWERED_FOR`]. Otherwise the new
//!   one is refused: what is begun is not thrown away for what is not.
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
use crate::connection::Shared;
use crate::executor::counted::Counted;
use crate::executor::others_first::OthersFirst;
use crate::executor::platform::Platform;
use crate::executor::stage_memory::StageMemory;
use crate::ids::ClusterId;
use crate::metrics::{CloseReason, Direction};

/// A handshake that waits for its client (HANDSHAKES-3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Silent {
    is_answered: bool,
    since: Instant,
    connection: u64,
}

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
    /// How many have said their ClientHello and are not answered.
    unanswered: Cell<usize>,
    under_way_max: usize,
    /// Those that wait for their clients, in the order in which they would end.
    silent: RefCell<BTreeSet<Silent>>,
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
            unanswered: Cell::new(0),
            under_way_max,
            silent: RefCell::default(),
            queued: Cell::new(0),
        }
    }

    /// Begins one with the client of `connection`.
    ///
    /// # Errors
    /// It is refused (HANDSHAKES-3).
    #[expect(clippy::disallowed_methods, reason = "it reads the clock for what decides")]
    pub(in crate::executor) fn with_client<'a>(
        &'a self,
        shared: &'a Shared,
        connection: u64,
        cluster: ClusterId,
    ) -> Result<UnderWay<'a>, CloseReason> {
        let now = clocks::now();
        let mut silent = self.silent.borrow_mut();
        if silent.len().saturating_add(self.queued.get()) >= self.under_way_max {
            let refused = CloseReason::HandshakeLimit;
            let may_end = |first: &Silent| {
                !first.is_answered || now.saturating_duration_since(first.since) >= ANSWERED_FOR
            };
            let first = silent.first().copied().filter(may_end).ok_or(refused)?;
            silent.remove(&first);
            shared.registry.borrow().close(first.connection, refused);
        }
        drop(silent);
        let under_way = UnderWay::new(self, shared, connection, cluster, Direction::Request);
        under_way.wait_for_client(now);
        self.count(shared);
        Ok(under_way)
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
    memory: StageMemory<'a>,
    connection: u64,
    direction: Direction,
    /// Its client was answered.
    is_answered: Cell<bool>,
    /// As long as it waits for its client.
    silent: Cell<Option<Silent>>,
}

impl<'a> UnderWay<'a> {
    fn new(
        all: &'a Handshakes,
        shared: &'a Shared,
        connection: u64,
        cluster: ClusterId,
        direction: Direction,
    ) -> Self {
        Self {
            all,
            memory: StageMemory::new(shared, connection, direction, cluster),
            connection,
            direction,
            is_answered: Cell::new(false),
            silent: Cell::new(None),
        }
    }

    /// What its connection is part of.
    pub(super) fn shared(&self) -> &'a Shared {
        self.memory.shared()
    }

    /// Notes that it holds so many bytes of memory (HANDSHAKES-4).
    pub(super) fn hold(&self, bytes: usize) {
        self.memory.hold(bytes);
    }

    /// From now on it waits for its client.
    fn wait_for_client(&self, now: Instant) {
        let silent = Silent {
            is_answered: self.is_answered.get(),
            since: now,
            connection: self.connection,
        };
        self.all.silent.borrow_mut().insert(silent);
        self.silent.set(Some(silent));
    }

    /// It does not any more; says whether it did, and was not to end for that.
    fn has_heard(&self) -> bool {
        let silent = self.silent.take();
        silent.is_some_and(|silent| self.all.silent.borrow_mut().remove(&silent))
    }

    /// Waits until its client may be answered, which has `at_most` for all of it (HANDSHAKES-2).
    #[expect(clippy::disallowed_methods, reason = "it reads the clock for what decides")]
    pub(super) async fn may_be_answered<P: Platform>(&self, at_most: Duration) {
        let _queued = Queued::new(self);
        let unanswered = &self.all.unanswered;
        let twice = u32::try_from(unanswered.get().saturating_mul(2)).unwrap_or(u32::MAX);
        if self.all.interval.saturating_mul(twice) > at_most {
            let registry = self.shared().registry.borrow();
            registry.close(self.connection, CloseReason::HandshakeLimit);
        }
        let _unanswered = Counted::new(unanswered);
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
        self.is_answered.set(true);
    }

    /// Waits for its turn to compute, which lasts until what comes of this is dropped (HANDSHAKES-1).
    pub(super) async fn turn<P: Platform>(&self) -> Option<SemaphorePermit<'a>> {
        let _queued = Queued::new(self);
        // It is never closed.
        let turn = self.all.turn.acquire().await.ok();
        self.all.others_first.go_in_between::<P>().await;
        turn
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.has_heard();
        if self.direction == Direction::Request {
            self.all.count(self.shared());
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
        let was_silent = handshake.has_heard();
        let queued = all.queued.get();
        all.queued.set(queued.saturating_add(was_silent.into()));
        handshake.memory.park(true);
        all.count(handshake.shared());
        Self {
            handshake,
            was_silent,
        }
    }
}

impl Drop for Queued<'_> {
    #[expect(clippy::disallowed_methods, reason = "it reads the clock for what decides")]
    fn drop(&mut self) {
        let handshake = self.handshake;
        let all = handshake.all;
        if self.was_silent {
            all.queued.set(all.queued.get().saturating_sub(1));
            handshake.wait_for_client(clocks::now());
        }
        handshake.memory.park(false);
        all.count(handshake.shared());
    }
}

/// A client that is there goes on within a round trip, and a moment.
const ANSWERED_FOR: Duration = Duration::from_secs(1);
/// Timers fire late where there is much to do. So much of a pause is made up for, at once.
const CATCHES_UP_FOR: Duration = Duration::from_millis(100);
