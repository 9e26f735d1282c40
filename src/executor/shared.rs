//! What the tasks of one executor share: one pipeline, one read buffer, one pool, and the way to the control thread.
//!
//! - SHARED-1: a `RefCell` here is borrowed within one poll and never across an await.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use super::alarms::{Alarms, News};
use super::buffers::{BufferPool, READ_BUFFER_BYTES};
use super::errands::Errands;
use super::held::{HeldBytes, Holding, Turned};
use super::registry::Registry;
use super::way_back::{Asked, CameBack};
use crate::channel::Sender;
use crate::config::HostPort;
use crate::connection::Half;
use crate::ids::ClusterId;
use crate::keys::KeyRequest;
use crate::messages::ControlRequest;
use crate::metrics::CloseReason;
use crate::pipeline::Pipeline;

/// See the module.
pub(crate) struct Shared {
    pub(crate) pipeline: RefCell<Pipeline>,
    pub(crate) read_buffer: RefCell<Vec<u8>>,
    pub(crate) pool: RefCell<BufferPool>,
    pub(crate) alarms: RefCell<Alarms>,
    pub(crate) registry: RefCell<Registry>,
    pub(crate) errands: Errands,
    /// Connections that have ended and whose sockets are not closed yet.
    pub(super) partings: Cell<usize>,
    key_service: Sender<KeyRequest>,
    names: RefCell<HashMap<HostPort, Lookup>>,
    held: RefCell<HeldBytes>,
    pub(super) asked: Asked,
    pub(super) came_back: Arc<CameBack>,
}

/// What is known of a host's addresses.
enum Lookup {
    Asked { wakers: Vec<Waker>, at: Instant },
    Found { addresses: Vec<SocketAddr>, at: Instant },
    Failed { at: Instant },
}

impl Shared {
    pub(crate) fn new(
        executor: usize,
        pipeline: Pipeline,
        control: Sender<ControlRequest>,
        key_service: Sender<KeyRequest>,
    ) -> Self {
        let held = HeldBytes::new(pipeline.limits.executor_bytes_max);
        Self {
            pipeline: RefCell::new(pipeline),
            read_buffer: RefCell::new(vec![0; READ_BUFFER_BYTES]),
            pool: RefCell::default(),
            alarms: RefCell::default(),
            registry: RefCell::default(),
            errands: Errands::new(executor, control),
            partings: Cell::new(0),
            key_service,
            names: RefCell::default(),
            held: RefCell::new(held),
            asked: Asked::default(),
            came_back: Arc::default(),
        }
    }

    /// The same with a count that is shared with other executors.
    #[must_use]
    pub(super) fn with_came_back(self, came_back: Arc<CameBack>) -> Self {
        Self { came_back, ..self }
    }

    /// Keys have arrived, or refusals of them: whoever waits for one looks again.
    pub(crate) fn announce_keys(&self) {
        self.pipeline.borrow_mut().news.keys += 1;
        self.alarms.borrow_mut().wake_all(News::Keys);
    }

    /// Every executor knows what was learned of a cluster: whoever waits to tell a client looks again.
    pub(crate) fn announce_addresses(&self, cluster: ClusterId) {
        let mut pipeline = self.pipeline.borrow_mut();
        pipeline.news.addresses += 1;
        if let Some(book) = pipeline.addresses_mut(cluster) {
            book.spread();
        }
        drop(pipeline);
        self.errands.spread(cluster);
        self.alarms.borrow_mut().wake_all(News::Addresses);
    }

    /// Sends the pipeline's key requests.
    pub(crate) fn send_key_requests(&self) {
        let keys = &mut self.pipeline.borrow_mut().keys;
        if keys.has_requests() {
            keys.send_requests(|request| self.key_service.try_send(request));
        }
    }

    /// The addresses of a host, looked up by the control thread and remembered for a while; empty when there are none, or
    /// none that were found by `deadline`.
    pub(crate) async fn resolve(&self, host: &HostPort, deadline: Instant) -> Vec<SocketAddr> {
        let mut alarmed = false;
        poll_fn(|context| {
            let now = Instant::now();
            if now >= deadline {
                return Poll::Ready(Vec::new());
            }
            if !alarmed {
                alarmed = true;
                self.alarms.borrow_mut().at(context.waker(), deadline);
            }
            let fresh = |at: Instant| now.saturating_duration_since(at) < NAME_KEPT;
            let mut names = self.names.borrow_mut();
            match names.get_mut(host) {
                Some(Lookup::Found { addresses, at }) if fresh(*at) => return Poll::Ready(addresses.clone()),
                Some(Lookup::Failed { at }) if now.saturating_duration_since(*at) < FAILURE_KEPT => {
                    return Poll::Ready(Vec::new());
                }
                Some(Lookup::Asked { wakers, at }) => {
                    if !wakers.iter().any(|known| known.will_wake(context.waker())) {
                        wakers.push(context.waker().clone());
                    }
                    if now.saturating_duration_since(*at) < ANSWER_EXPECTED {
                        return Poll::Pending;
                    }
                    // The request, or its answer, did not fit anywhere.
                    *at = now;
                }
                _ => {
                    if names.len() >= NAMES_MAX {
                        names.retain(|_, lookup| matches!(lookup, Lookup::Asked { .. }));
                    }
                    let wakers = vec![context.waker().clone()];
                    names.insert(host.clone(), Lookup::Asked { wakers, at: now });
                }
            }
            drop(names);
            self.errands.resolve(host.clone());
            Poll::Pending
        })
        .await
    }

    /// The control thread's answer to a look-up.
    pub(crate) fn resolved(&self, host: HostPort, addresses: Vec<SocketAddr>) {
        let at = Instant::now();
        let lookup = if addresses.is_empty() {
            Lookup::Failed { at }
        } else {
            Lookup::Found { addresses, at }
        };
        if let Some(Lookup::Asked { wakers, .. }) = self.names.borrow_mut().insert(host, lookup) {
            wakers.into_iter().for_each(Waker::wake);
        }
    }

    /// No connection came about: the name is looked up again next time.
    pub(crate) fn forget_name(&self, host: &HostPort) {
        let mut names = self.names.borrow_mut();
        if matches!(names.get(host), Some(Lookup::Found { .. })) {
            names.remove(host);
        }
    }

    /// Whether a short frame may be begun; if not, `waker` is woken when one may be.
    pub(crate) fn may_pass(&self, waker: &Waker) -> bool {
        self.held.borrow_mut().may_pass(waker)
    }

    /// Whether any long frame waits for its turn.
    pub(crate) fn is_any_waiting(&self) -> bool {
        self.held.borrow().is_any_waiting()
    }

    /// A half has begun to hold a frame of `announced` bytes that is too long to pass by: says whether it may go on.
    pub(crate) fn turn(
        &self,
        half: &Half,
        holding: Holding,
        announced: usize,
        waker: &Waker,
        now: Instant,
    ) -> Turned {
        let turned = self
            .held
            .borrow_mut()
            .turn(half.key, holding, announced, waker, now);
        self.after_accounting();
        turned
    }

    /// A half that had lost its turn moves again.
    pub(crate) fn wait_again(&self, half: &Half, waker: &Waker, now: Instant) {
        self.held.borrow_mut().wait_again(half.key, waker, now);
        self.after_accounting();
    }

    /// The long frame of a half is gone.
    pub(crate) fn end_turn(&self, half: &mut Half, now: Instant) {
        half.turn = None;
        self.held.borrow_mut().finish(half.key, now);
        self.after_accounting();
    }

    /// Notes how much memory a half holds now.
    pub(crate) fn account(&self, half: &mut Half, holding: Holding, now: Instant) {
        if holding.bytes > 0 || half.accounted > 0 {
            half.accounted = holding.bytes;
            self.held.borrow_mut().hold(half.key, holding, now);
            self.after_accounting();
        }
    }

    /// The half has ended: its buffers go back to the pool.
    pub(crate) fn release(&self, half: &mut Half) {
        let mut pool = self.pool.borrow_mut();
        pool.give(half.input.take());
        pool.give(std::mem::take(&mut half.output));
        drop(pool);
        self.held.borrow_mut().forget(half.key, Instant::now());
        self.after_accounting();
    }

    /// Makes room where connections stand still and others wait.
    pub(crate) fn relieve(&self, now: Instant) {
        self.held.borrow_mut().tick(now);
        self.after_accounting();
    }

    fn after_accounting(&self) {
        let mut held = self.held.borrow_mut();
        for connection in held.take_victims() {
            self.registry.borrow().close(connection, CloseReason::Limit);
        }
        let gauges = &mut self.pipeline.borrow_mut().metrics.gauges;
        gauges.bytes_held = held.total() as u64;
        gauges.frames_queued = held.waiting() as u64;
    }
}

/// How long a look-up is used again.
const NAME_KEPT: Duration = Duration::from_secs(30);
/// How long a failed look-up is.
const FAILURE_KEPT: Duration = Duration::from_secs(1);
/// How long the control thread takes to answer, whatever resolvers do; it is asked again then.
const ANSWER_EXPECTED: Duration = Duration::from_secs(6);
/// Hosts that are remembered.
const NAMES_MAX: usize = 1024;
