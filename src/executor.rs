//! One pinned thread with its own rings, connections, keys and counters.
//!
//! ```text
//! acceptor --Accepted--> +----------+ --ControlRequest--> control thread
//!                        | executor |
//! control --messages---> +----------+ <--KeyReply-------- key service
//! ```
//!
//! - EXECUTOR-MAIN-1: an executor never waits on a lock, calls no KMS, reads no file, writes no log line.
//! - EXECUTOR-MAIN-2: messages are taken in before connections, so that a client which was told of a node finds its
//!   address.
//! - EXECUTOR-MAIN-3: it ends by cancelling every task, or sockets and rings would stay open.
//! - EXECUTOR-MAIN-4: a wake-up that glommio loses is made up for by the next tick.
//! - EXECUTOR-MAIN-5: one that ends unasked is noticed by the control thread, which then ends the program.
//! - EXECUTOR-MAIN-6: a connection that has had its turn goes on only after the sockets of all were looked at
//!   ([`others_first`]).
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]

mod bounded;
mod counted;
mod dial;
mod handshake;
mod names;
mod newcomers;
mod offered;
mod others_first;
mod parting;
mod platform;
mod preface;
mod serve;
mod shares;
mod stage_memory;
#[cfg(test)]
mod tests;
mod way_back;

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use glommio::{ExecutorJoinHandle, GlommioError, LocalExecutorBuilder, Placement};
use tokio::sync::oneshot;

use self::dial::{Dialling, Listener};
use self::handshake::bounds::Handshakes;
use self::newcomers::Newcomers;
use self::offered::Offered;
use self::others_first::OthersFirst;
use self::platform::Glommio;
use self::serve::{Serving, serve};
use self::shares::Shares;
use crate::channel::{Receiver, Sender};
use crate::clocks::{self, Clocks};
use crate::connection::Shared;
use crate::ids::{ById, ListenerId};
use crate::keys::{KeyReply, KeyRequest};
use crate::messages::{Accepted, CameBack, ControlRequest, ExecutorMessage, Seats, ShutOut};
use crate::metrics::CloseReason;
use crate::pipeline::Pipeline;
use crate::ring::PREEMPT_AFTER;

pub(crate) use self::dial::Listener as ExecutorListener;
pub(crate) use self::platform::Platform;
#[cfg(feature = "testing")]
pub(crate) use self::platform::Socket;

/// What an executor is started with.
pub(crate) struct ExecutorSetup<P: Platform> {
    pub(crate) executor: usize,
    pub(crate) messages: Receiver<ExecutorMessage>,
    pub(crate) accepted: Receiver<Accepted<P::Accepted>>,
    pub(crate) key_replies: Receiver<KeyReply>,
    pub(crate) key_service: Sender<KeyRequest>,
    pub(crate) control: Sender<ControlRequest>,
    /// Listeners of all clusters.
    pub(crate) listeners: ById<ListenerId, Listener>,
    /// How many executors there are.
    pub(crate) executors: usize,
    /// TLS handshakes with clients at a time.
    pub(crate) handshakes_max: usize,
    /// Counts that are shared with the acceptor.
    pub(crate) seats: Arc<Seats>,
    /// Leads to the acceptor.
    pub(crate) door: Sender<ShutOut>,
    /// Shared by all executors.
    pub(crate) came_back: Arc<CameBack>,
    /// Told once the executor runs.
    pub(crate) started: oneshot::Sender<()>,
    /// Never told anything: it is gone when the executor has ended.
    pub(crate) alive: oneshot::Sender<Infallible>,
}

/// Starts an executor on a core; `pipeline` is made on its thread.
pub(crate) fn spawn(
    setup: ExecutorSetup<Glommio>,
    cpu: usize,
    pipeline: impl FnOnce() -> Pipeline + Send + 'static,
) -> Result<ExecutorJoinHandle<()>, GlommioError<()>> {
    LocalExecutorBuilder::new(Placement::Fixed(cpu))
        .name(&format!("executor-{}", setup.executor))
        .io_memory(IO_MEMORY_BYTES)
        .preempt_timer(PREEMPT_AFTER)
        .spawn(move || run(setup, pipeline()))
}

/// Is an executor, until it is told to stop.
#[expect(clippy::disallowed_methods, reason = "it reads the clock for what decides")]
pub(crate) async fn run<P: Platform>(setup: ExecutorSetup<P>, pipeline: Pipeline) {
    let others_first = Rc::new(OthersFirst::default());
    let handshakes = Rc::new(Handshakes::new(
        &pipeline.limits,
        setup.handshakes_max,
        Rc::clone(&others_first),
    ));
    let shares = Rc::new(Shares::new(&pipeline.limits, setup.executors, setup.door));
    let shared = Shared::new(setup.executor, pipeline, setup.control, setup.key_service);
    let listeners = setup.listeners.iter();
    let serving = Serving {
        shared: Rc::new(shared),
        dialling: Dialling::new(Rc::clone(&handshakes), setup.came_back),
        handshakes,
        listeners: RefCell::new(
            listeners
                .map(|(id, listener)| (id, Rc::new(listener.clone())))
                .collect(),
        ),
        seats: setup.seats,
        finished: RefCell::default(),
        partings: Cell::new(0),
        offered: Offered::default(),
        held_back: Rc::default(),
        shares,
        others_first: Rc::clone(&others_first),
    };
    let executor = Executor::<P> {
        serving: Rc::new(serving),
        messages: setup.messages,
        newcomers: Newcomers::new(setup.accepted, others_first),
        key_replies: setup.key_replies,
        tasks: HashMap::new(),
        drained: None,
        idle_checked: clocks::now(),
        is_audit_held: false,
        _alive: setup.alive,
    };
    // Whoever waits for it may have given up.
    let _ = setup.started.send(());
    executor.run().await;
}

struct Executor<P: Platform> {
    serving: Rc<Serving>,
    messages: Receiver<ExecutorMessage>,
    newcomers: Newcomers<Accepted<P::Accepted>>,
    key_replies: Receiver<KeyReply>,
    tasks: HashMap<u64, P::Task>,
    drained: Option<oneshot::Sender<()>>,
    idle_checked: Instant,
    /// The audit log could not go on when it was looked at last.
    is_audit_held: bool,
    _alive: oneshot::Sender<Infallible>,
}

impl<P: Platform> Executor<P> {
    async fn run(mut self) {
        loop {
            let mut tick = pin!(P::timer(TICK));
            let stop = poll_fn(|context| {
                // Registers for all three before it looks at the clock (CHANNEL-2).
                if self.take_messages(context) {
                    return Poll::Ready(true);
                }
                self.take_key_replies(context);
                while let Poll::Ready(accepted) = self.newcomers.poll_next::<P>(context) {
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
            P::cancel(task).await;
        }
        // Nobody takes it any more.
        let pipeline = self.serving.shared.pipeline.borrow();
        pipeline.audit_state.count_lost(pipeline.audit.waiting());
    }

    /// Takes in what the control thread has said; says whether the executor is to end.
    fn take_messages(&mut self, context: &mut Context<'_>) -> bool {
        while let Poll::Ready(message) = self.messages.poll_recv(context) {
            if self.take_message(message) {
                return true;
            }
        }
        false
    }

    #[expect(clippy::disallowed_methods, reason = "it reads the clock for what decides")]
    fn take_message(&mut self, message: ExecutorMessage) -> bool {
        match message {
            ExecutorMessage::Learned { cluster, learned } => {
                let mut pipeline = self.serving.shared.pipeline.borrow_mut();
                if let Some(book) = pipeline.addresses_mut(cluster) {
                    let registry = self.serving.shared.registry.borrow();
                    for address in learned.iter() {
                        if book.learn(address.clone()) {
                            registry.close_moved(cluster, address);
                        }
                    }
                }
            }
            ExecutorMessage::Spread { cluster } => self.serving.shared.announce_addresses(cluster),
            ExecutorMessage::Resolved { host, addresses } => {
                self.serving.dialling.names.resolved(host, addresses)
            }
            ExecutorMessage::PasswordChecked { connection, result } => {
                self.serving.shared.announce_password(connection, result);
            }
            ExecutorMessage::PasswordHashed => self.serving.shared.announce_logins(),
            ExecutorMessage::Accounts(cluster, accounts) => {
                let mut pipeline = self.serving.shared.pipeline.borrow_mut();
                if let Some(cluster) = pipeline.clusters.get_mut(cluster) {
                    cluster.accounts = Some(accounts);
                }
            }
            ExecutorMessage::Token {
                cluster,
                principal,
                news,
            } => {
                let mut pipeline = self.serving.shared.pipeline.borrow_mut();
                let cluster = pipeline.clusters.get_mut(cluster);
                if let Some(book) = cluster.and_then(|cluster| cluster.tokens.as_mut()) {
                    book.take(&principal, news, clocks::now());
                }
                drop(pipeline);
                self.serving.shared.announce_logins();
            }
            ExecutorMessage::Logins(listener, news) => {
                let mut pipeline = self.serving.shared.pipeline.borrow_mut();
                pipeline.logins.take_news(listener, news);
            }
            ExecutorMessage::Tls(news) => self.serving.take_tls(&news),
            ExecutorMessage::StableKeys(keys) => {
                self.serving.shared.pipeline.borrow_mut().take_stable_keys(&keys);
            }
            ExecutorMessage::TopicLook(subject, look) => {
                let mut pipeline = self.serving.shared.pipeline.borrow_mut();
                pipeline.take_topic_look(&subject, look, clocks::now());
                drop(pipeline);
                self.serving.shared.announce_keys();
            }
            ExecutorMessage::Snapshot(reply) => {
                let mut pipeline = self.serving.shared.pipeline.borrow_mut();
                pipeline.metrics.gauges.sealing_keys = pipeline.keys.sealing_count() as u64;
                pipeline.metrics.gauges.opening_keys = pipeline.keys.opened_count() as u64;
                // Whoever asked may have given up.
                let _ = reply.send(pipeline.metrics.snapshot());
            }
            ExecutorMessage::Drain(drained) => {
                self.serving.shared.registry.borrow_mut().drain(clocks::now());
                self.drained = Some(drained);
            }
            ExecutorMessage::Stop => return true,
        }
        false
    }

    #[expect(clippy::disallowed_methods, reason = "it reads the clock for what decides")]
    fn take_key_replies(&mut self, context: &mut Context<'_>) {
        let mut news = false;
        while let Poll::Ready(reply) = self.key_replies.poll_recv(context) {
            self.serving
                .shared
                .pipeline
                .borrow_mut()
                .apply(reply, clocks::now());
            news = true;
        }
        if news {
            self.serving.shared.announce_keys();
        }
    }

    /// Everything that is done at regular times.
    #[expect(clippy::disallowed_methods, reason = "it reads the clock for what decides")]
    fn tick(&mut self) {
        let now = clocks::now();
        self.serving.shared.alarms.borrow_mut().wake_due(now);
        let mut pipeline = self.serving.shared.pipeline.borrow_mut();
        if let Some(clocks) = Clocks::read() {
            pipeline.observe_clocks(clocks);
        }
        pipeline.keys.tick(now);
        let seats = &self.serving.seats;
        for (closed, reason) in [
            (&seats.refused, CloseReason::Limit),
            (&seats.shut_out, CloseReason::LoginLimit),
        ] {
            for _ in 0..closed.swap(0, Ordering::Relaxed) {
                pipeline.metrics.connections.accept();
                pipeline.metrics.connections.closed(reason);
            }
        }
        let is_held = pipeline.audit_state.holds();
        let goes_on = std::mem::replace(&mut self.is_audit_held, is_held) && !is_held;
        self.serving.shared.errands.hidden(pipeline.take_hidden_news());
        self.serving.shared.errands.tick(&mut pipeline.audit);
        let (idle, unproven) = (
            pipeline.limits.idle_timeout,
            pipeline.limits.idle_timeout_unauthenticated,
        );
        drop(pipeline);
        if goes_on {
            // What waits for the audit log waits as for keys (AUDIT-4).
            self.serving.shared.announce_keys();
        }
        self.serving.shared.send_key_requests();
        self.serving.shared.send_password_checks();
        if now.saturating_duration_since(self.idle_checked) >= IDLE_CHECK {
            self.idle_checked = now;
            self.serving
                .shared
                .registry
                .borrow()
                .close_idle(now, idle, unproven);
            self.serving.shared.trim();
        }
        self.serving.shared.relieve(now);
        for id in self.serving.finished.borrow_mut().drain(..) {
            self.tasks.remove(&id);
        }
        // PARTING-3
        if self.serving.shared.registry.borrow().len() == 0
            && self.serving.partings.get() == 0
            && let Some(drained) = self.drained.take()
        {
            let _ = drained.send(());
        }
    }

    #[expect(clippy::disallowed_methods, reason = "it reads the clock for what decides")]
    fn serve(&mut self, accepted: Accepted<P::Accepted>) {
        let shared = &self.serving.shared;
        let (id, status) = shared.registry.borrow_mut().add(clocks::now());
        shared.pipeline.borrow_mut().metrics.connections.accept();
        let served = serve::<P>(Rc::clone(&self.serving), accepted, id, status);
        self.tasks.insert(id, P::spawn(served));
    }
}

/// The least that glommio takes; nothing here uses it (RING-3).
const IO_MEMORY_BYTES: usize = 65_536;
/// Bounds the harm of glommio's lost wake-ups, at 0.2 % of a core.
const TICK: Duration = Duration::from_millis(20);
/// How often idle connections are looked for.
const IDLE_CHECK: Duration = Duration::from_secs(1);
