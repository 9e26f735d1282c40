//! The connections of one executor: when each was last active, and what the executor asks of it.
//!
//! Executor threads only.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::task::Waker;
use std::time::{Duration, Instant};

use crate::config::HostPort;
use crate::ids::ClusterId;
use crate::messages::LearnedAddress;
use crate::metrics::CloseReason;

/// What an executor asks of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Request {
    /// Go on.
    Run,
    /// Finish what is in flight, then close.
    Drain,
    /// Take nothing more, and close once what is at hand is written.
    Leave(CloseReason),
    /// Close now.
    Close(CloseReason),
}

/// One connection, as its executor sees it.
pub(crate) struct Status {
    id: u64,
    accepted: Instant,
    active: Cell<Instant>,
    proven: Cell<bool>,
    /// How long the client was waited for until it was its turn last, and since when it is; `None` while the broker is
    /// waited for.
    clients_time: Cell<Duration>,
    clients_turn: Cell<Option<Instant>>,
    /// The client has ended its side, and the broker has been told.
    client_left: Cell<bool>,
    request: Cell<Request>,
    drain_began: Cell<Option<Instant>>,
    /// The cluster and the node on whose port it came.
    node: Cell<Option<(ClusterId, i32)>>,
    waker: RefCell<Option<Waker>>,
}

impl Status {
    fn new(id: u64, now: Instant) -> Self {
        Self {
            id,
            accepted: now,
            active: Cell::new(now),
            proven: Cell::new(false),
            clients_time: Cell::new(Duration::ZERO),
            clients_turn: Cell::new(Some(now)),
            client_left: Cell::new(false),
            request: Cell::new(Request::Run),
            drain_began: Cell::new(None),
            node: Cell::new(None),
            waker: RefCell::new(None),
        }
    }

    /// Its number among the connections of its executor.
    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    /// Bytes have passed; `proven`: the broker has shown that it takes this client.
    pub(crate) fn touch(&self, now: Instant, proven: bool) {
        self.active.set(now);
        self.proven.set(proven);
    }

    /// Whose turn it is: the broker's to answer, or to be reached, or the client's to send something.
    pub(crate) fn waits_for_broker(&self, now: Instant, waits: bool) {
        match self.clients_turn.get() {
            Some(_) if waits => {
                self.clients_time.set(self.clients_time(now));
                self.clients_turn.set(None);
            }
            None if !waits => self.clients_turn.set(Some(now)),
            _ => {}
        }
    }

    /// The client has ended its side, and all that it had sent was passed on.
    pub(crate) fn client_left(&self) {
        self.client_left.set(true);
    }

    /// How long the client has been waited for in all.
    fn clients_time(&self, now: Instant) -> Duration {
        let since = self.clients_turn.get().unwrap_or(now);
        self.clients_time
            .get()
            .saturating_add(now.saturating_duration_since(since))
    }

    /// What the executor asks.
    pub(crate) fn request(&self) -> Request {
        self.request.get()
    }

    /// When the executor began to drain.
    pub(crate) fn drain_began(&self) -> Option<Instant> {
        self.drain_began.get()
    }

    /// When a byte last passed.
    pub(crate) fn last_active(&self) -> Instant {
        self.active.get()
    }

    /// Remembers whom to wake when the executor asks for something.
    pub(crate) fn register(&self, waker: &Waker) {
        let mut known = self.waker.borrow_mut();
        if !known.as_ref().is_some_and(|known| known.will_wake(waker)) {
            *known = Some(waker.clone());
        }
    }

    /// Those that are to close sooner do.
    fn drain(&self, began: Instant) {
        self.drain_began.set(Some(began));
        self.ask(match self.request() {
            Request::Run => Request::Drain,
            sooner => sooner,
        });
    }

    fn ask(&self, request: Request) {
        self.request.set(request);
        if let Some(waker) = self.waker.borrow().as_ref() {
            waker.wake_by_ref();
        }
    }
}

/// The connections; see the module.
#[derive(Default)]
pub(crate) struct Registry {
    connections: HashMap<u64, Rc<Status>>,
    /// Those of nodes' ports, by cluster and node, and the address to which each leads.
    at_nodes: HashMap<(ClusterId, i32), HashMap<u64, HostPort>>,
    next: u64,
    drain_began: Option<Instant>,
}

impl Registry {
    /// Adds a connection that was accepted at `now`.
    pub(crate) fn add(&mut self, now: Instant) -> (u64, Rc<Status>) {
        self.next = self.next.wrapping_add(1);
        let status = Rc::new(Status::new(self.next, now));
        if let Some(began) = self.drain_began {
            status.drain(began);
        }
        self.connections.insert(self.next, Rc::clone(&status));
        (self.next, status)
    }

    /// Forgets a connection that has ended.
    pub(crate) fn remove(&mut self, id: u64) {
        let node = self.connections.remove(&id).and_then(|status| status.node.get());
        if let Some(node) = node
            && let Some(connections) = self.at_nodes.get_mut(&node)
        {
            connections.remove(&id);
            if connections.is_empty() {
                self.at_nodes.remove(&node);
            }
        }
    }

    /// Notes that a connection came on the port of a node of `cluster` and leads to `address`.
    pub(crate) fn place(&mut self, id: u64, cluster: ClusterId, node_id: i32, address: HostPort) {
        let node = (cluster, node_id);
        if let Some(status) = self.connections.get(&id) {
            status.node.set(Some(node));
            self.at_nodes.entry(node).or_default().insert(id, address);
        }
    }

    /// Closes the connections of a node's port that lead elsewhere than to the address that was learned (PLACE-2).
    pub(crate) fn close_moved(&self, cluster: ClusterId, learned: &LearnedAddress) {
        let connections = self.at_nodes.get(&(cluster, learned.node_id));
        for (id, address) in connections.into_iter().flatten() {
            if *address != learned.address
                && let Some(status) = self.connections.get(id)
            {
                status.ask(Request::Leave(CloseReason::Learned));
            }
        }
    }

    /// Asks every connection, and every later one, to finish.
    pub(crate) fn drain(&mut self, now: Instant) {
        let began = *self.drain_began.get_or_insert(now);
        for status in self.connections.values() {
            status.drain(began);
        }
    }

    /// How many connections there are.
    pub(crate) fn len(&self) -> usize {
        self.connections.len()
    }

    /// Closes a connection that others cannot be served beside.
    pub(crate) fn close(&self, id: u64, reason: CloseReason) {
        if let Some(status) = self.connections.get(&id) {
            status.ask(Request::Close(reason));
        }
    }

    /// Closes connections on which nothing has passed for `idle`, or for `unproven` where the client has left, and
    /// those that the broker has not accepted yet and whose client was waited for `unproven` long, be it in parts, or
    /// that are [`UNPROVEN_AGE_MAX`] times as old: a broker that hangs is not to fill what serves other clusters too.
    pub(crate) fn close_idle(&self, now: Instant, idle: Duration, unproven: Duration) {
        let age_max = unproven.saturating_mul(UNPROVEN_AGE_MAX).min(idle);
        for status in self.connections.values() {
            let age = now.saturating_duration_since(status.accepted);
            let still = now.saturating_duration_since(status.active.get());
            let is_late = status.clients_time(now) >= unproven || age >= age_max;
            if status.client_left.get() && still >= unproven {
                status.ask(Request::Close(CloseReason::ClientClosed));
            } else if !status.proven.get() && is_late {
                status.ask(Request::Close(CloseReason::IdleUnauthenticated));
            } else if still >= idle {
                status.ask(Request::Close(CloseReason::Idle));
            }
        }
    }
}

/// How many times longer a broker may make a client wait that it has not accepted yet than a client may make us wait.
const UNPROVEN_AGE_MAX: u32 = 6;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Id as _;

    #[test]
    fn idle_and_unproven_connections_are_asked_to_close() {
        let mut registry = Registry::default();
        let start = Instant::now();
        let (_, quiet) = registry.add(start);
        let (_, stranger) = registry.add(start);
        quiet.touch(start, true);
        let (idle, unproven) = (Duration::from_secs(600), Duration::from_secs(10));
        registry.close_idle(start + Duration::from_secs(9), idle, unproven);
        assert_eq!(stranger.request(), Request::Run);
        registry.close_idle(start + Duration::from_secs(10), idle, unproven);
        assert_eq!(
            stranger.request(),
            Request::Close(CloseReason::IdleUnauthenticated)
        );
        assert_eq!(quiet.request(), Request::Run);
        registry.close_idle(start + Duration::from_secs(600), idle, unproven);
        assert_eq!(quiet.request(), Request::Close(CloseReason::Idle));
    }

    #[test]
    fn what_waits_for_the_broker_is_not_the_clients_silence() {
        let mut registry = Registry::default();
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let (idle, unproven) = (Duration::from_secs(100), Duration::from_secs(10));
        let (_, status) = registry.add(start);
        // Four seconds are the client's, thirty the broker's.
        status.waits_for_broker(at(4), true);
        registry.close_idle(at(33), idle, unproven);
        status.waits_for_broker(at(34), false);
        status.waits_for_broker(at(36), false);
        registry.close_idle(at(39), idle, unproven);
        assert_eq!(status.request(), Request::Run, "nine seconds");
        registry.close_idle(at(40), idle, unproven);
        let late = Request::Close(CloseReason::IdleUnauthenticated);
        assert_eq!(status.request(), late, "ten seconds");
        // A broker that never answers is not waited for for ever.
        let (_, status) = registry.add(start);
        status.waits_for_broker(at(1), true);
        status.touch(at(50), false);
        registry.close_idle(at(59), idle, unproven);
        assert_eq!(status.request(), Request::Run);
        registry.close_idle(at(60), idle, unproven);
        assert_eq!(status.request(), late);
    }

    #[test]
    fn nobody_waits_long_for_a_client_that_has_left() {
        let mut registry = Registry::default();
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let (idle, unproven) = (Duration::from_secs(100), Duration::from_secs(10));
        for proven in [false, true] {
            let (_, status) = registry.add(start);
            status.waits_for_broker(at(0), true);
            status.client_left();
            // An answer still comes.
            status.touch(at(9), proven);
            registry.close_idle(at(18), idle, unproven);
            assert_eq!(status.request(), Request::Run);
            registry.close_idle(at(19), idle, unproven);
            assert_eq!(status.request(), Request::Close(CloseReason::ClientClosed));
        }
    }

    #[test]
    fn connections_of_a_node_that_has_moved_are_asked_to_leave() {
        let at = |port| HostPort {
            host: "kafka".to_owned(),
            port,
        };
        let learned = |port| LearnedAddress {
            node_id: 1,
            address: at(port),
        };
        let mut registry = Registry::default();
        let now = Instant::now();
        let (bootstrap, (old, at_old), (new, at_new), (other, at_other), (foreign, at_foreign)) = (
            registry.add(now).1,
            registry.add(now),
            registry.add(now),
            registry.add(now),
            registry.add(now),
        );
        let (here, there) = (ClusterId::from_number(0), ClusterId::from_number(1));
        registry.place(old, here, 1, at(9092));
        registry.place(new, here, 1, at(9093));
        registry.place(other, here, 2, at(9092));
        registry.place(foreign, there, 1, at(9092));
        registry.close_moved(here, &learned(9093));
        assert_eq!(at_old.request(), Request::Leave(CloseReason::Learned));
        for stays in [&bootstrap, &at_new, &at_other, &at_foreign] {
            assert_eq!(stays.request(), Request::Run);
        }
        registry.drain(now);
        assert_eq!(
            at_old.request(),
            Request::Leave(CloseReason::Learned),
            "it takes nothing more of what is at hand"
        );
        for id in [old, new, other, foreign] {
            registry.remove(id);
        }
        assert!(registry.at_nodes.is_empty());
    }

    #[test]
    fn draining_reaches_present_and_later_connections() {
        let mut registry = Registry::default();
        let now = Instant::now();
        let (id, present) = registry.add(now);
        registry.drain(now);
        let (_, later) = registry.add(now);
        assert_eq!(present.request(), Request::Drain);
        assert_eq!(later.request(), Request::Drain);
        assert_eq!(later.drain_began(), Some(now));
        registry.remove(id);
        assert_eq!(registry.len(), 1);
    }
}
