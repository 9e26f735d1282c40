//! One pinned thread with its own rings, connections, keys and counters.
//!
//! ```text
//! acceptor --Accepted--> +----------+ --ControlRequest--> control thread
//!                        | executor |
//! control --messages---> +----------+ <--KeyReply-------- key service
//! ```
//!
//! - EXECUTOR-MAIN-1: an executor never waits on a lock, calls no KMS, reads no file, writes no log line.
//! - EXECUTOR-MAIN-2: messages are taken in before connections, so that a client which was told of a node finds its address.
//! - EXECUTOR-MAIN-3: it ends by cancelling every task, or sockets and rings would stay open.
//! - EXECUTOR-MAIN-4: a wake-up that glommio loses is made up for by the next tick.
//! - EXECUTOR-MAIN-5: one that ends unasked is noticed by the control thread, which then ends the program.
//! - EXECUTOR-MAIN-6: a connection that has had its turn goes on only after the sockets of all were looked at
//!   ([`others_first`]).
//! - EXECUTOR-MAIN-7: a broker is connected to when the client has said something, so that whoever only connects costs none.

pub(crate) mod alarms;
pub(crate) mod buffers;
mod dial;
mod errands;
pub(crate) mod held;
mod others_first;
mod parting;
pub(crate) mod registry;
pub(crate) mod shared;
pub(crate) mod way_back;

use std::cell::RefCell;
use std::collections::HashMap;
use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Poll;
use std::time::{Duration, Instant};

use glommio::timer::Timer;
use glommio::{ExecutorJoinHandle, GlommioError, LocalExecutorBuilder, Placement, Task};
use tokio::sync::oneshot;

use self::dial::{Listener, connect, first_word};
use self::others_first::others_first;
use self::parting::Sockets;
use self::shared::Shared;
use self::way_back::CameBack;
use crate::channel::{Receiver, Sender};
use crate::clocks::Clocks;
use crate::connection::{Relay, Turn};
use crate::identity::Client;
use crate::ids::{ById, ListenerId};
use crate::keys::{KeyReply, KeyRequest};
use crate::messages::{Accepted, ControlRequest, ExecutorMessage, Notice, NoticeKind, Seats};
use crate::metrics::CloseReason;
use crate::pipeline::{Pipeline, Session};

pub(crate) use self::dial::Listener as ExecutorListener;

/// What an executor is started with.
pub(crate) struct ExecutorSetup {
    pub(crate) executor: usize,
    /// The core to run on.
    pub(crate) cpu: usize,
    pub(crate) messages: Receiver<ExecutorMessage>,
    pub(crate) accepted: Receiver<Accepted>,
    pub(crate) key_replies: Receiver<KeyReply>,
    pub(crate) key_service: Sender<KeyRequest>,
    pub(crate) control: Sender<ControlRequest>,
    /// Listeners of all clusters.
    pub(crate) listeners: ById<ListenerId, Listener>,
    /// Counts that are shared with the acceptor.
    pub(crate) seats: Arc<Seats>,
    /// Shared by all executors.
    pub(crate) came_back: Arc<CameBack>,
    /// Told once the executor runs.
    pub(crate) started: oneshot::Sender<()>,
    /// Never told anything: it is gone when the executor has ended.
    pub(crate) alive: oneshot::Sender<Infallible>,
}

/// Starts an executor; `pipeline` is made on its thread.
pub(crate) fn spawn(
    setup: ExecutorSetup,
    pipeline: impl FnOnce() -> Pipeline + Send + 'static,
) -> Result<ExecutorJoinHandle<()>, GlommioError<()>> {
    LocalExecutorBuilder::new(Placement::Fixed(setup.cpu))
        .name(&format!("executor-{}", setup.executor))
        .io_memory(IO_MEMORY_BYTES)
        .spawn(move || {
            let shared = Shared::new(setup.executor, pipeline(), setup.control, setup.key_service);
            let shared = Rc::new(shared.with_came_back(setup.came_back));
            let executor = Executor {
                shared,
                messages: setup.messages,
                accepted: setup.accepted,
                key_replies: setup.key_replies,
                listeners: setup
                    .listeners
                    .iter()
                    .map(|(id, listener)| (id, Rc::new(listener.clone())))
                    .collect(),
                seats: setup.seats,
                tasks: HashMap::new(),
                finished: Rc::default(),
                drained: None,
                idle_checked: Instant::now(),
                _alive: setup.alive,
            };
            // Whoever waits for it may have given up.
            let _ = setup.started.send(());
            executor.run()
        })
}

struct Executor {
    shared: Rc<Shared>,
    messages: Receiver<ExecutorMessage>,
    accepted: Receiver<Accepted>,
    key_replies: Receiver<KeyReply>,
    listeners: ById<ListenerId, Rc<Listener>>,
    seats: Arc<Seats>,
    tasks: HashMap<u64, Task<()>>,
    /// Connections whose task has ended.
    finished: Rc<RefCell<Vec<u64>>>,
    drained: Option<oneshot::Sender<()>>,
    idle_checked: Instant,
    _alive: oneshot::Sender<Infallible>,
}

impl Executor {
    async fn run(mut self) {
        loop {
            let mut tick = pin!(Timer::new(TICK));
            let stop = poll_fn(|context| {
                // Registers for all three before it looks at the clock (CHANNEL-2).
                if self.take_messages(context) {
                    return Poll::Ready(true);
                }
                self.take_key_replies(context);
                while let Poll::Ready(accepted) = self.accepted.poll_recv(context) {
                    // EXECUTOR-MAIN-2: what was said before this client connected is in the queue by now.
                    if self.take_messages(context) {
                        return Poll::Ready(true);
                    }
                    self.serve(accepted);
                }
                tick.as_mut().poll(context).map(|_| false)
            })
            .await;
            if stop {
                break;
            }
            self.tick();
        }
        for (_, task) in self.tasks.drain() {
            task.cancel().await;
        }
    }

    /// Takes in what the control thread has said; says whether the executor is to end.
    fn take_messages(&mut self, context: &mut std::task::Context<'_>) -> bool {
        while let Poll::Ready(message) = self.messages.poll_recv(context) {
            if self.take_message(message) {
                return true;
            }
        }
        false
    }

    fn take_message(&mut self, message: ExecutorMessage) -> bool {
        match message {
            ExecutorMessage::Learned { cluster, learned } => {
                let mut pipeline = self.shared.pipeline.borrow_mut();
                if let Some(book) = pipeline.addresses_mut(cluster) {
                    let registry = self.shared.registry.borrow();
                    for address in learned.iter() {
                        if book.learn(address.clone()) {
                            registry.close_moved(cluster, address);
                        }
                    }
                }
            }
            ExecutorMessage::Spread { cluster } => self.shared.announce_addresses(cluster),
            ExecutorMessage::Resolved { host, addresses } => self.shared.resolved(host, addresses),
            ExecutorMessage::Snapshot(reply) => {
                let mut pipeline = self.shared.pipeline.borrow_mut();
                pipeline.metrics.gauges.sealing_keys = pipeline.keys.sealing_count() as u64;
                pipeline.metrics.gauges.opening_keys = pipeline.keys.opened_count() as u64;
                // Whoever asked may have given up.
                let _ = reply.send(pipeline.metrics.snapshot());
            }
            ExecutorMessage::Drain(drained) => {
                self.shared.registry.borrow_mut().drain(Instant::now());
                self.drained = Some(drained);
            }
            ExecutorMessage::Stop => return true,
        }
        false
    }

    fn take_key_replies(&mut self, context: &mut std::task::Context<'_>) {
        let mut news = false;
        while let Poll::Ready(reply) = self.key_replies.poll_recv(context) {
            self.shared.pipeline.borrow_mut().apply(reply, Instant::now());
            news = true;
        }
        if news {
            self.shared.announce_keys();
        }
    }

    /// Everything that is done at regular times.
    fn tick(&mut self) {
        let now = Instant::now();
        self.shared.alarms.borrow_mut().wake_due(now);
        let mut pipeline = self.shared.pipeline.borrow_mut();
        if let Some(clocks) = Clocks::read() {
            pipeline.observe_clocks(clocks);
        }
        pipeline.keys.tick(now);
        for _ in 0..self.seats.refused.swap(0, Ordering::Relaxed) {
            pipeline.metrics.connections.accepted += 1;
            pipeline.metrics.connections.closed(CloseReason::Limit);
        }
        self.shared.errands.hidden(pipeline.take_hidden_news());
        self.shared.errands.tick(&mut pipeline.audit);
        let (idle, unproven) = (
            pipeline.limits.idle_timeout,
            pipeline.limits.idle_timeout_unauthenticated,
        );
        drop(pipeline);
        self.shared.send_key_requests();
        if now.saturating_duration_since(self.idle_checked) >= IDLE_CHECK {
            self.idle_checked = now;
            self.shared.registry.borrow().close_idle(now, idle, unproven);
        }
        self.shared.relieve(now);
        for id in self.finished.borrow_mut().drain(..) {
            self.tasks.remove(&id);
        }
        // PARTING-3
        if self.shared.registry.borrow().len() == 0
            && self.shared.partings.get() == 0
            && let Some(drained) = self.drained.take()
        {
            let _ = drained.send(());
        }
    }

    fn serve(&mut self, accepted: Accepted) {
        let Some(listener) = self.listeners.get(accepted.listener).map(Rc::clone) else {
            self.seats.taken.fetch_sub(1, Ordering::Relaxed);
            return;
        };
        let (id, status) = self.shared.registry.borrow_mut().add(Instant::now());
        let shared = Rc::clone(&self.shared);
        let finished = Rc::clone(&self.finished);
        let seats = Arc::clone(&self.seats);
        shared.pipeline.borrow_mut().metrics.connections.accepted += 1;
        let task = glommio::spawn_local(async move {
            // Whether the task ends or is cancelled; after all else.
            let _seat = Seat { id, finished, seats };
            let ended = Ended {
                id,
                shared: Rc::clone(&shared),
                reason: CloseReason::Drain,
            };
            let arrival = Arrival {
                id,
                listener: accepted.listener,
                node: accepted.node,
                peer: accepted.peer,
            };
            let mut sockets = Sockets::of(accepted.stream);
            let reason = serve_connection(&mut sockets, arrival, listener, status, Rc::clone(&shared)).await;
            // PARTING-2
            ended.finish(reason);
            sockets.part(&shared).await;
        });
        self.tasks.insert(id, task);
    }
}

/// How a connection came in.
#[derive(Clone, Copy)]
struct Arrival {
    /// Its number.
    id: u64,
    listener: ListenerId,
    /// The node whose port it was.
    node: Option<i32>,
    peer: SocketAddr,
}

/// Serves a connection until it ends.
#[expect(clippy::too_many_lines, reason = "longer than a screen: to be split")]
async fn serve_connection(
    sockets: &mut Sockets,
    arrival: Arrival,
    listener: Rc<Listener>,
    status: Rc<registry::Status>,
    shared: Rc<Shared>,
) -> CloseReason {
    let Arrival { id, node, .. } = arrival;
    let cluster = listener.map.cluster;
    // The number only tells connections apart; that it wraps does no harm.
    let connection = id as u32;
    let sender = Client::at(arrival.peer);
    let first_word = match unless_asked(&status, first_word(&mut sockets.client)).await {
        Ok(Some(first_word)) => first_word,
        Ok(None) => return CloseReason::ClientClosed,
        Err(reason) => return reason,
    };
    status.waits_for_broker(Instant::now(), true);
    let connecting = connect(&listener, node, connection, first_word, &shared);
    let connected = unless_asked(&status, connecting).await;
    status.waits_for_broker(Instant::now(), false);
    let (broker, address) = match connected {
        Ok(Ok(connected)) => connected,
        Ok(Err(failed)) => {
            for (address, error) in failed {
                shared.errands.notice(Notice {
                    kind: NoticeKind::NoBroker {
                        cluster,
                        node,
                        address,
                        error,
                    },
                    client: sender.clone(),
                    fault: None,
                });
            }
            return CloseReason::ConnectFailed;
        }
        Err(reason) => return reason,
    };
    let node = node.map(|node_id| (node_id, address));
    let session = {
        let mut pipeline = shared.pipeline.borrow_mut();
        pipeline.metrics.connections.broker_connected += 1;
        if let (Some((node_id, address)), Some(book)) = (&node, pipeline.addresses(cluster)) {
            // It may have been learned while we connected (PLACE-2).
            if book.contradicts(*node_id, address) {
                return CloseReason::Learned;
            }
            let mut registry = shared.registry.borrow_mut();
            registry.place(id, cluster, *node_id, address.clone());
        }
        Session::new(
            Arc::clone(&listener.map),
            connection,
            &pipeline.limits,
            node.clone(),
        )
        .of(sender)
    };
    let broker = sockets.broker.insert(broker);
    let mut relay = Relay::new(&mut sockets.client, broker, session, status, Rc::clone(&shared));
    loop {
        match (&mut relay).await {
            Turn::GaveWay => others_first().await,
            Turn::Ended(reason) => {
                if reason == CloseReason::Loop {
                    // Before its sockets are closed: whoever has asked looks then.
                    shared.came_back.note();
                }
                let mut pipeline = shared.pipeline.borrow_mut();
                if let Some((node_id, address)) = &node
                    && relay.met_silence(reason)
                    && let Some(book) = pipeline.addresses_mut(cluster)
                {
                    book.doubt(*node_id, address);
                }
                drop(pipeline);
                if is_worth_a_notice(reason) {
                    shared.errands.notice(Notice {
                        kind: NoticeKind::Closed {
                            listener: arrival.listener,
                            reason,
                            looks_like: relay.session().looks_like(),
                        },
                        client: relay.session().client().clone(),
                        fault: relay.session().fault().map(|fault| fault.to_string()),
                    });
                }
                return reason;
            }
        }
    }
}

/// Whether somebody who is on call would want to know who it was: not what happens whenever peers come and go.
fn is_worth_a_notice(reason: CloseReason) -> bool {
    matches!(
        reason,
        CloseReason::BrokerSilent
            | CloseReason::Loop
            | CloseReason::TooManyProxies
            | CloseReason::FrameTooLarge
            | CloseReason::MalformedFrame
            | CloseReason::UnexpectedResponse
            | CloseReason::VersionOutsideRange
            | CloseReason::DeniedApi
            | CloseReason::AcksZeroUnsealable
            | CloseReason::Limit
            | CloseReason::Internal
    )
}

/// Waits for `what`, of a client of which nothing was read yet, unless the executor asks for something first.
async fn unless_asked<T>(status: &registry::Status, what: impl Future<Output = T>) -> Result<T, CloseReason> {
    let mut what = pin!(what);
    poll_fn(|context| {
        status.register(context.waker());
        match status.request() {
            registry::Request::Run => what.as_mut().poll(context).map(Ok),
            registry::Request::Drain => Poll::Ready(Err(CloseReason::Drain)),
            registry::Request::Leave(reason) | registry::Request::Close(reason) => Poll::Ready(Err(reason)),
        }
    })
    .await
}

/// Counts a connection out, whether its task ends or is cancelled.
struct Ended {
    id: u64,
    shared: Rc<Shared>,
    reason: CloseReason,
}

impl Ended {
    fn finish(mut self, reason: CloseReason) {
        self.reason = reason;
    }
}

impl Drop for Ended {
    fn drop(&mut self) {
        self.shared
            .pipeline
            .borrow_mut()
            .metrics
            .connections
            .closed(self.reason);
        self.shared.registry.borrow_mut().remove(self.id);
    }
}

/// The place that a connection takes until its sockets are closed.
struct Seat {
    id: u64,
    finished: Rc<RefCell<Vec<u64>>>,
    seats: Arc<Seats>,
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.finished.borrow_mut().push(self.id);
        self.seats.taken.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The least that glommio takes; nothing here uses it (RING-3).
const IO_MEMORY_BYTES: usize = 65_536;
/// Bounds the harm of glommio's lost wake-ups, at 0.2 % of a core.
const TICK: Duration = Duration::from_millis(20);
/// How often idle connections are looked for.
const IDLE_CHECK: Duration = Duration::from_secs(1);
