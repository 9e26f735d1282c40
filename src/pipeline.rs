//! What happens to frames between client and broker: bytes in, bytes out, or "waiting for a key".
//!
//! ```text
//! Session (one a connection)                 Pipeline (one an executor)
//!   requests:  peek, policy, in_flight         keys, rules by topic, addresses of brokers,
//!              produce -> seal_batch           buffers that are used again, counters
//!   responses: in_flight, fetch -> open,
//!              addresses, api_versions
//! ```
//!
//! - PIPELINE-1: no socket, no clock (the time is a parameter), no thread: tests, fuzzers and the running program drive
//!   the same code.
//! - PIPELINE-2: requests leave in the order in which they came, and so do responses.
//! - PIPELINE-3: policy fails closed: a topic that no rule names is refused in both directions, and what cannot be
//!   sealed or opened is refused, never passed.
//! - PIPELINE-4: nothing is allocated for each record; buffers are the executor's and used again.
//! - PIPELINE-5: one turn of a connection does a bounded amount of work ([`Work`]), in the middle of a batch too; then
//!   the executor is given to others ([`Step::Yield`]).
//! - PIPELINE-6: while the executor holds as much memory as it may, one frame at a time goes on to take more, so that
//!   each is finished in the end.
//!
//! Executor threads only.

#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]

mod addresses;
mod batch_keys;
mod broker_logins;
mod decompressing;
mod fetch;
mod hidden;
mod listener_map;
mod logins;
mod open;
mod pace;
mod produce;
mod refusal;
mod refused_stable_key;
mod seal_batch;
mod session;
mod stable_keys;
mod told_gaps;
mod topics;
mod work;

use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use crate::audit::{
    AuditEvent, AuditQueue, AuditState, KekName, Login, Operation, Reason, RefusedRecords, RefusedRequest,
};
use crate::broker_login::{BrokerAccounts, TokenBook, TokenWish};
use crate::clocks::{ClockWatch, Clocks};
use crate::config::Limits;
use crate::foreign::SHOWN_BYTES_MAX;
use crate::identity::sasl::initiator::Hashing;
use crate::identity::{Client, Principal};
use crate::ids::{ById, ClusterId};
use crate::keys::{Applied, ExecutorKeys, KeyOptions, KeyReply, StableKeys};
use crate::metrics::{CloseReason, ExecutorMetrics, RequestRefusal};
use crate::protocol::hops::Identity;
use crate::protocol::policy::ApiPolicy;

pub use crate::messages::{HiddenBrokers, LearnedAddress, LookSubject, TopicLook};
pub use addresses::AddressBook;
pub(crate) use broker_logins::EndedLogin;
pub use listener_map::ListenerMap;
pub use logins::{LoginPolicy, Logins, Refusal as LoginRefusal, Round, Rounds, bearer_of};
pub use produce::{GuardFull, ProducerSequence, SequenceGuard};
pub use refusal::{FetchRefusal, ProduceRefusal};
pub use refused_stable_key::RefusedStableKey;
pub use session::{BrokerFault, BrokerSession, FAILURE_DELAY, HASH_WAIT, ReachedBroker, Session, Step, Wait};
pub use stable_keys::TopicKeys;
pub use topics::{ClusterRules, Topic};
pub use work::{TURN_BYTES, Work};

/// What all sessions of one executor share.
pub struct Pipeline {
    /// Sealing and opening keys, and what is asked of the key service.
    pub keys: ExecutorKeys,
    /// Counters.
    pub metrics: ExecutorMetrics,
    /// Bounds and waits.
    pub limits: Limits,
    /// The clusters.
    pub clusters: ById<ClusterId, Cluster>,
    /// What is to be told to the audit log; the executor takes it away.
    pub audit: AuditQueue,
    /// Whether the audit log can go on.
    pub audit_state: Arc<AuditState>,
    /// Who may log in at listeners where logins end.
    pub logins: Logins,
    /// Passwords of the proxy's own that are to be hashed; the executor takes them away.
    pub hashings: Vec<(ClusterId, Hashing)>,
    /// Delegation tokens that are to be made; likewise.
    pub token_wishes: Vec<(ClusterId, TokenWish)>,
    /// Topics that are to be looked at before they are written to; likewise.
    pub topic_looks: Vec<LookSubject>,
    /// What ApiVersions requests say of this program when they go on, so that it knows itself again.
    pub identity: Identity,
    /// How often something came that is waited for.
    pub news: News,
    /// What is left of the present turn.
    pub work: Work,
    /// The connection that takes memory although the executor is full (PIPELINE-6).
    growing: Option<u32>,
    /// As they were read last.
    clocks: Clocks,
    clock_watch: ClockWatch,
    /// What Produce requests use one after the other.
    produce: produce::ProducePool,
    /// What Fetch responses use one after the other.
    fetch: fetch::FetchPool,
}

/// What an executor knows of one cluster.
pub struct Cluster {
    /// What happens to its topics.
    pub rules: ClusterRules,
    /// Known addresses of its brokers.
    pub addresses: AddressBook,
    /// Who the proxy is at its brokers, where it logs in there.
    pub accounts: Option<Arc<BrokerAccounts>>,
    /// The same, where brokers make tokens for that.
    pub tokens: Option<TokenBook>,
    /// Brokers that clients are not told of.
    hidden: hidden::HiddenByListener,
}

impl Cluster {
    /// A cluster of which this is known at first.
    #[must_use]
    pub fn new(rules: ClusterRules, addresses: AddressBook) -> Self {
        Self {
            rules,
            addresses,
            accounts: None,
            tokens: None,
            hidden: hidden::HiddenByListener::default(),
        }
    }
}

/// Counts what has come: who waits looks again only when the count has grown.
#[derive(Clone, Copy, Debug, Default)]
pub struct News {
    /// Keys, and refusals of keys.
    pub keys: u64,
    /// Addresses were spread. Apart from keys: a broker that tells others all the time would have everything looked at
    /// again that waits for a key.
    pub addresses: u64,
    /// Passwords were hashed.
    pub logins: u64,
}

/// What is refused: its place, and why.
struct Refused<'a> {
    cluster: ClusterId,
    client: &'a Client,
    topic: &'a Topic,
    partition: i32,
    offset: i64,
    operation: Operation,
    reason: Reason,
    kek: Option<KekName>,
}

impl Pipeline {
    /// The pipeline of executor number `executor`; clusters in the order of the configuration.
    #[must_use]
    pub fn new(
        executor: usize,
        limits: Limits,
        options: &KeyOptions,
        clusters: ById<ClusterId, Cluster>,
    ) -> Self {
        Self {
            keys: ExecutorKeys::new(executor, options),
            metrics: ExecutorMetrics::new(executor, limits.topics_max),
            limits,
            clusters,
            audit: AuditQueue::default(),
            audit_state: Arc::default(),
            logins: Logins::default(),
            hashings: Vec::new(),
            token_wishes: Vec::new(),
            topic_looks: Vec::new(),
            identity: Identity::default(),
            news: News::default(),
            work: Work::new(TURN_BYTES),
            growing: None,
            clocks: Clocks::default(),
            clock_watch: ClockWatch::default(),
            produce: produce::ProducePool::new(executor),
            fetch: fetch::FetchPool::default(),
        }
    }

    /// How often there was news of what is waited for.
    #[must_use]
    pub fn news_of(&self, wait: &Wait) -> u64 {
        match wait {
            Wait::Addresses(..) => self.news.addresses,
            Wait::Login(_) => self.news.logins,
            Wait::News(_) | Wait::Room | Wait::Until(_) | Wait::Answer(_) => self.news.keys,
        }
    }

    /// Takes note of the clocks, on every tick of the executor and, while a sealing key is at hand, before each turn of
    /// requests. When they show that the machine slept or that its time was set, it may have been copied meanwhile: no
    /// data key from before seals any more, a batch that is half sealed begins again with another. Keys that open stay,
    /// since nothing is drawn for opening.
    pub fn observe_clocks(&mut self, clocks: Clocks) {
        self.clocks = clocks;
        self.logins.set_time(clocks.realtime);
        if self.clock_watch.observe(clocks).is_some() {
            self.keys.withdraw_sealing();
        }
    }

    /// Frees memory that was not needed since this was called last.
    pub(crate) fn trim(&mut self) {
        self.fetch.opening.decompressors.trim();
        self.produce.trim();
    }

    /// What is known of the addresses of a cluster's brokers.
    #[must_use]
    pub fn addresses(&self, cluster: ClusterId) -> Option<&AddressBook> {
        self.clusters.get(cluster).map(|cluster| &cluster.addresses)
    }

    /// The same, to be changed.
    pub fn addresses_mut(&mut self, cluster: ClusterId) -> Option<&mut AddressBook> {
        self.clusters
            .get_mut(cluster)
            .map(|cluster| &mut cluster.addresses)
    }

    /// Which listeners have come to hide other brokers than before, since the last call.
    pub fn take_hidden_news(&mut self) -> Vec<HiddenBrokers> {
        let clusters = self.clusters.values_mut();
        clusters.flat_map(|cluster| cluster.hidden.take_news()).collect()
    }

    /// Takes in what the key service says; whatever waits for keys is to look again.
    pub fn apply(&mut self, reply: KeyReply, now: Instant) {
        match self.keys.apply(reply, now) {
            Applied::Answered => {}
            // Sub-keys were derived from the keys that were just dropped.
            Applied::Dropped => self.fetch.opening.forget(),
            Applied::Named { kms, names } => {
                for cluster in self.clusters.values_mut() {
                    cluster.rules.name_keks(kms, names);
                }
            }
        }
    }

    /// Takes in what record keys are sealed with from now on.
    pub fn take_stable_keys(&mut self, keys: &Arc<StableKeys>) {
        for cluster in self.clusters.values_mut() {
            cluster.rules.take_stable_keys(Arc::clone(keys));
        }
        self.metrics.forget_stable_keys();
    }

    /// A topic was looked at.
    pub fn take_topic_look(&mut self, subject: &LookSubject, look: TopicLook, now: Instant) {
        if let Some(cluster) = self.clusters.get_mut(subject.cluster) {
            cluster.rules.take_look(subject, look, now);
        }
    }

    /// How a topic of this name would be looked at.
    #[cfg(feature = "testing")]
    pub fn look_subject(&mut self, cluster: ClusterId, topic: &str) -> Option<LookSubject> {
        let topic = self.topic(cluster, topic).ok()?;
        Some(topic.look_subject(cluster))
    }

    /// Whether records may be written to a topic as its rule says, as far as its log is concerned; `None` while nobody
    /// knows yet.
    fn looked_at(
        &mut self,
        cluster: ClusterId,
        topic: &Topic,
        now: Instant,
    ) -> Option<Result<(), ProduceRefusal>> {
        if !topic.needs_look.is_due(now) {
            return Some(Ok(()));
        }
        let (known, is_to_be_asked) = self.clusters.get_mut(cluster)?.rules.look(topic, now);
        if is_to_be_asked {
            self.topic_looks.push(topic.look_subject(cluster));
        }
        match known? {
            TopicLook::Good | TopicLook::Unknown => Some(Ok(())),
            TopicLook::Unfit(reason) => Some(Err(ProduceRefusal::KeysUnfit(reason))),
        }
    }

    /// Whether the frame of this connection may take more memory than is usual (PIPELINE-6).
    fn may_grow(&mut self, connection: u32) -> bool {
        let held = usize::try_from(self.metrics.gauges.bytes_held).unwrap_or(usize::MAX);
        held < self.limits.executor_bytes_max || *self.growing.get_or_insert(connection) == connection
    }

    /// The frame of this connection takes no more memory for now.
    fn grown(&mut self, connection: u32) {
        if self.growing == Some(connection) {
            self.growing = None;
        }
    }

    /// The topic of this name with its rule.
    fn topic(&mut self, cluster: ClusterId, name: &str) -> Result<Rc<Topic>, CloseReason> {
        let cluster = self.clusters.get_mut(cluster).ok_or(CloseReason::Internal)?;
        Ok(cluster.rules.topic(name, &mut self.metrics, &mut self.work))
    }

    /// The rules of a cluster, and what is counted as work.
    fn rules(&mut self, cluster: ClusterId) -> Result<(&ClusterRules, &mut Work), CloseReason> {
        let cluster = self.clusters.get(cluster).ok_or(CloseReason::Internal)?;
        Ok((&cluster.rules, &mut self.work))
    }

    /// A request was not passed on, for this reason and name: counted, and told to the audit log.
    fn refuse_request(
        &mut self,
        cluster: ClusterId,
        client: &Client,
        api: &'static ApiPolicy,
        (reason, name): (RequestRefusal, Option<&str>),
    ) {
        self.metrics.connections.refuse_request(reason);
        let Some(cluster) = self.clusters.get(cluster) else {
            return;
        };
        self.audit.push_request(RefusedRequest {
            cluster: Arc::clone(&cluster.rules.name),
            client: client.clone(),
            api: api.name,
            reason,
            name: name.map(|name| {
                name.get(..name.floor_char_boundary(SHOWN_BYTES_MAX))
                    .unwrap_or_default()
                    .into()
            }),
        });
    }

    /// Tells the audit log of a login in `cluster`, where it wants to know: why it was refused, if it was, and whose it
    /// was to be.
    pub(crate) fn audit_login(
        &mut self,
        cluster: ClusterId,
        client: &Client,
        mechanism: Option<&'static str>,
        again: bool,
        refused: Option<(&'static str, Option<Principal>)>,
    ) {
        let Some(cluster) = self.clusters.get(cluster).filter(|_| self.audit_state.is_on()) else {
            return;
        };
        let login = Login {
            cluster: Arc::clone(&cluster.rules.name),
            client: client.clone(),
            mechanism,
            again,
        };
        self.audit.push_event(match refused {
            Some((reason, claimed)) => AuditEvent::LoginRefused {
                login,
                reason,
                claimed,
            },
            None => AuditEvent::LoginAccepted(login),
        });
    }

    /// Tells the audit log of a refusal.
    fn audit(&mut self, refused: Refused<'_>) {
        let Some(cluster) = self.clusters.get(refused.cluster) else {
            return;
        };
        let topic = refused.topic;
        let (name, reason) = if topic.is_legal {
            (Arc::clone(&topic.name), refused.reason)
        } else {
            (topic.shown_name().into(), Reason::IllegalName)
        };
        self.audit.push(RefusedRecords {
            cluster: Arc::clone(&cluster.rules.name),
            client: refused.client.clone(),
            operation: refused.operation,
            topic: name,
            partition: refused.partition,
            offset: refused.offset,
            reason,
            kek: refused.kek,
        });
    }
}
