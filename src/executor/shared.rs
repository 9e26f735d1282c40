//! What the tasks of one executor share: one pipeline, one read buffer, one pool, and the way to the control thread.
//!
//! - SHARED-1: a `RefCell` here is borrowed within one poll and never across an await.
//! - SHARED-2: a request that does not fit into the channel to the control thread waits here and is sent by the next tick.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::future::poll_fn;
use std::net::SocketAddr;
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use super::alarms::Alarms;
use super::buffers::{BufferPool, READ_BUFFER_BYTES};
use super::messages::ControlRequest;
use super::registry::Registry;
use crate::channel::Sender;
use crate::config::HostPort;
use crate::connection::Half;
use crate::keys::KeyRequest;
use crate::metrics::CloseReason;
use crate::pipeline::{LearnedAddress, Pipeline};

/// See the module.
pub(crate) struct Shared {
    pub(crate) executor: usize,
    pub(crate) pipeline: RefCell<Pipeline>,
    pub(crate) read_buffer: RefCell<Vec<u8>>,
    pub(crate) pool: RefCell<BufferPool>,
    pub(crate) alarms: RefCell<Alarms>,
    pub(crate) registry: RefCell<Registry>,
    control: Sender<ControlRequest>,
    unsent: RefCell<VecDeque<ControlRequest>>,
    key_service: Sender<KeyRequest>,
    names: RefCell<HashMap<HostPort, Lookup>>,
    bytes_held: Cell<usize>,
    bytes_held_max: usize,
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
        let bytes_held_max = pipeline.limits.executor_bytes_max;
        Self {
            executor,
            pipeline: RefCell::new(pipeline),
            read_buffer: RefCell::new(vec![0; READ_BUFFER_BYTES]),
            pool: RefCell::default(),
            alarms: RefCell::default(),
            registry: RefCell::default(),
            control,
            unsent: RefCell::default(),
            key_service,
            names: RefCell::default(),
            bytes_held: Cell::new(0),
            bytes_held_max,
        }
    }

    /// Asks the control thread for something, now or with the next tick.
    pub(crate) fn ask(&self, request: ControlRequest) {
        let mut unsent = self.unsent.borrow_mut();
        if unsent.is_empty() {
            if let Err(request) = self.control.try_send(request) {
                unsent.push_back(request);
            }
        } else if unsent.len() < UNSENT_MAX {
            // Beyond the bound whoever asked runs into its own deadline.
            unsent.push_back(request);
        }
    }

    /// Has addresses made known to every executor.
    pub(crate) fn learn(&self, cluster: usize, learned: Vec<LearnedAddress>) {
        self.ask(ControlRequest::Learn { cluster, learned });
    }

    /// Sends what could not be sent before.
    pub(crate) fn send_unsent(&self) {
        let mut unsent = self.unsent.borrow_mut();
        while let Some(request) = unsent.pop_front() {
            if let Err(request) = self.control.try_send(request) {
                unsent.push_front(request);
                break;
            }
        }
    }

    /// Keys or addresses have arrived: whoever waits for one looks again.
    pub(crate) fn announce_news(&self) {
        self.pipeline.borrow_mut().news += 1;
        self.alarms.borrow_mut().wake_all();
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
            self.ask(ControlRequest::Resolve {
                executor: self.executor,
                host: host.clone(),
            });
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

    /// Whether a half may read more; past the bound it waits, and a half that holds part of a frame is given up after a while,
    /// so that others can finish theirs.
    pub(crate) fn may_hold(&self, half: &mut Half, now: Instant) -> Result<bool, CloseReason> {
        if !self.is_full() {
            half.starved_since = None;
            return Ok(true);
        }
        let since = *half.starved_since.get_or_insert(now);
        if !half.input.is_empty() && now.saturating_duration_since(since) >= STARVED_MAX {
            return Err(CloseReason::Limit);
        }
        Ok(false)
    }

    /// Whether as much is held as may be.
    pub(crate) fn is_full(&self) -> bool {
        self.bytes_held.get() >= self.bytes_held_max
    }

    /// Notes how much memory a half holds now, with what is held for it `elsewhere`.
    pub(crate) fn account(&self, half: &mut Half, elsewhere: usize) {
        let holds = half.bytes_held().saturating_add(elsewhere);
        if holds != half.accounted {
            self.bytes_held.set(
                self.bytes_held
                    .get()
                    .saturating_sub(half.accounted)
                    .saturating_add(holds),
            );
            half.accounted = holds;
            self.pipeline.borrow_mut().metrics.gauges.bytes_held = self.bytes_held.get() as u64;
        }
    }

    /// The half has ended: its buffers go back to the pool.
    pub(crate) fn release(&self, half: &mut Half) {
        let mut pool = self.pool.borrow_mut();
        pool.give(&mut half.input);
        pool.give(&mut half.output);
        drop(pool);
        self.account(half, 0);
    }
}

/// Requests to the control thread that wait for room in the channel.
const UNSENT_MAX: usize = 10_000;
/// How long a look-up is used again.
const NAME_KEPT: Duration = Duration::from_secs(30);
/// How long a failed look-up is.
const FAILURE_KEPT: Duration = Duration::from_secs(1);
/// How long the control thread takes to answer, whatever resolvers do; it is asked again then.
const ANSWER_EXPECTED: Duration = Duration::from_secs(6);
/// Hosts that are remembered.
const NAMES_MAX: usize = 1024;
/// How long a half may hold part of a frame without reading more of it.
const STARVED_MAX: Duration = Duration::from_secs(5);
