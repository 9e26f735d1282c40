//! What the tasks of one executor share: one pipeline, pools of buffers, and the way to the control thread.
//!
//! - a `RefCell` here is borrowed within one poll and never across an await.

use std::cell::RefCell;
use std::rc::Rc;
use std::task::Waker;
use std::time::Instant;

use super::alarms::{Alarms, NewsKind};
use super::errands::Errands;
use super::half::Half;
use super::held::{HalfKey, HeldBytes, Holding, Turned};
use super::registry::Registry;
use crate::buffers::BufferPool;
use crate::channel::Sender;
use crate::clocks;
use crate::identity::Principal;
use crate::identity::sasl::Failure;
use crate::ids::ClusterId;
use crate::keys::KeyRequest;
use crate::messages::ControlRequest;
use crate::metrics::CloseReason;
use crate::pipeline::Pipeline;

/// See the module.
pub(crate) struct Shared {
    pub(crate) pipeline: RefCell<Pipeline>,
    /// What is read into; an idle connection has none of them.
    pub(crate) inputs: RefCell<BufferPool>,
    pub(crate) outputs: RefCell<BufferPool>,
    /// Of TLS: what is read into before it is opened, and what waits to be sent.
    pub(crate) ciphertexts: Rc<RefCell<BufferPool>>,
    pub(crate) alarms: RefCell<Alarms>,
    pub(crate) registry: RefCell<Registry>,
    pub(crate) errands: Errands,
    key_service: Sender<KeyRequest>,
    held: RefCell<HeldBytes>,
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
            inputs: RefCell::default(),
            outputs: RefCell::default(),
            ciphertexts: Rc::default(),
            alarms: RefCell::default(),
            registry: RefCell::default(),
            errands: Errands::new(executor, control),
            key_service,
            held: RefCell::new(held),
        }
    }

    /// Keys have arrived, or refusals of them: whoever waits for one looks again.
    pub(crate) fn announce_keys(&self) {
        let mut pipeline = self.pipeline.borrow_mut();
        pipeline.news.keys = pipeline.news.keys.wrapping_add(1);
        drop(pipeline);
        self.alarms.borrow_mut().wake_all(NewsKind::Keys);
    }

    /// Every executor knows what was learned of a cluster: whoever waits to tell a client looks again.
    pub(crate) fn announce_addresses(&self, cluster: ClusterId) {
        let mut pipeline = self.pipeline.borrow_mut();
        pipeline.news.addresses = pipeline.news.addresses.wrapping_add(1);
        if let Some(book) = pipeline.addresses_mut(cluster) {
            book.spread();
        }
        drop(pipeline);
        self.errands.spread(cluster);
        self.alarms.borrow_mut().wake_all(NewsKind::Addresses);
    }

    /// Has passwords hashed, and tokens made, that are waited for.
    pub(crate) fn send_password_checks(&self) {
        let mut pipeline = self.pipeline.borrow_mut();
        for (connection, check) in pipeline.logins.take_checks() {
            self.errands.check_password(connection, check);
        }
        for (cluster, hashing) in pipeline.hashings.drain(..) {
            self.errands.hash_password(cluster, hashing);
        }
        for (cluster, wish) in pipeline.token_wishes.drain(..) {
            self.errands.make_token(cluster, wish);
        }
    }

    /// Has key sets fetched that a token has shown to be old.
    pub(crate) fn send_wanted_keys(&self) {
        for listener in self.pipeline.borrow_mut().logins.take_wanted_keys() {
            self.errands.fetch_keys(listener);
        }
    }

    /// The password that a connection waits for was hashed.
    pub(crate) fn announce_password(&self, connection: u32, result: Result<Principal, Failure>) {
        self.pipeline.borrow_mut().logins.checked(connection, result);
        self.announce_logins();
    }

    /// A password was hashed: whoever waits for one looks again.
    pub(crate) fn announce_logins(&self) {
        let mut pipeline = self.pipeline.borrow_mut();
        pipeline.news.logins = pipeline.news.logins.wrapping_add(1);
        drop(pipeline);
        self.alarms.borrow_mut().wake_all(NewsKind::Logins);
    }

    /// Sends the pipeline's key requests, and has topics looked at.
    pub(crate) fn send_key_requests(&self) {
        let mut pipeline = self.pipeline.borrow_mut();
        for subject in pipeline.topic_looks.drain(..) {
            self.errands.look_at_topic(subject);
        }
        let keys = &mut pipeline.keys;
        if keys.has_requests() {
            keys.send_requests(|request| self.key_service.try_send(request));
        }
    }

    /// Whether a short frame may be begun; if not, `waker` is woken when one may be.
    pub(crate) fn may_pass(&self, half: &Half, waker: &Waker) -> bool {
        self.held.borrow_mut().may_pass(half.key, waker)
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
            self.hold(half.key, holding, now);
        }
    }

    /// Notes how much memory a connection holds that is not relayed yet, as what its half `key` will; to be
    /// [forgotten](Self::forget) before there is that half.
    pub(crate) fn hold(&self, key: HalfKey, holding: Holding, now: Instant) {
        self.held.borrow_mut().hold(key, holding, now);
        self.after_accounting();
    }

    /// Nothing is held under `key` any more.
    pub(crate) fn forget(&self, key: HalfKey, now: Instant) {
        self.held.borrow_mut().forget(key, now);
        self.after_accounting();
    }

    /// The half has ended: its buffers go back to the pool.
    #[expect(clippy::disallowed_methods, reason = "it reads the clock for what decides")]
    pub(crate) fn release(&self, half: &mut Half) {
        half.input.end(&mut self.inputs.borrow_mut());
        half.drop_output();
        self.outputs.borrow_mut().give(std::mem::take(&mut half.output));
        self.forget(half.key, clocks::now());
    }

    /// Makes room where connections stand still and others wait.
    pub(crate) fn relieve(&self, now: Instant) {
        self.held.borrow_mut().tick(now);
        self.after_accounting();
    }

    /// Frees buffers that nobody has needed since this was called last.
    pub(crate) fn trim(&self) {
        self.inputs.borrow_mut().trim();
        self.outputs.borrow_mut().trim();
        self.ciphertexts.borrow_mut().trim();
        self.pipeline.borrow_mut().trim();
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
