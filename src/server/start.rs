//! Executors are started, one after the other, with what each has of its own and what all have alike.

use std::collections::HashMap;
use std::convert::Infallible;
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

use tokio::runtime::Runtime;
use tokio::sync::oneshot;

use super::ServerError;
use super::acceptor::ExecutorSeats;
use super::access_files::AccessNews;
use super::shut_out::ShutOutAddresses;
use super::state_file::ClusterAddresses;
use super::threads::Threads;
use crate::audit::AuditState;
use crate::broker_login::{BrokerAccounts, TokenBook};
use crate::channel::{Sender, channel};
use crate::config::{ClusterConfig, Config, KeySetSource, OwnAccount, UpstreamLogin};
use crate::executor::{ExecutorListener, ExecutorSetup, Platform, spawn};
use crate::identity::sasl::exchange::Checked;
use crate::ids::{ById, ClusterId, ListenerId};
use crate::keys::{KeyOptions, KeyReply, KeyRequest, StableKeys};
use crate::messages::{CameBack, ControlRequest, ExecutorMessage, Seats, TlsNews};
use crate::pipeline::{Cluster, ClusterRules, ListenerMap, LoginPolicy, Pipeline};
use crate::protocol::hops::Identity;
use crate::ring;
use crate::transport::route::{Destination, Routes};

/// What all executors are started with.
pub(super) struct Start<'a> {
    pub(super) config: &'a Config,
    pub(super) options: &'a KeyOptions,
    pub(super) addresses: &'a [ClusterAddresses],
    /// What was read of every TLS in the configuration.
    pub(super) tls: &'a [TlsNews],
    /// What was read of who may log in, and as whom.
    pub(super) logins: &'a [AccessNews],
    pub(super) came_back: &'a Arc<CameBack>,
    pub(super) audit: &'a Arc<AuditState>,
    /// What record keys are sealed with.
    pub(super) stable_keys: Option<Arc<StableKeys>>,
    pub(super) control: Sender<ControlRequest>,
    pub(super) key_service: Sender<KeyRequest>,
    /// What this program knows itself by.
    pub(super) identity: Identity,
    pub(super) capacities: Capacities,
    /// How many executors there will be.
    pub(super) executor_count: usize,
}

/// How much waits for one executor, at most.
#[derive(Clone, Copy, Debug)]
pub struct Capacities {
    /// Messages of the control thread.
    pub messages: usize,
    /// Connections, which it looks for at least every 20 ms.
    pub accepted: usize,
    /// Replies of the key service; what does not fit is sent a tick later. So many requests of all executors wait for
    /// it.
    pub keys: usize,
}

impl Capacities {
    /// Those of the program.
    pub const DEFAULT: Self = Self {
        messages: 1024,
        accepted: 1024,
        keys: 4096,
    };
}

/// The ways to all executors, each by an executor's number.
pub(super) struct Ways<S> {
    pub(super) messages: Vec<Sender<ExecutorMessage>>,
    pub(super) accepted: Vec<ExecutorSeats<S>>,
    pub(super) key_replies: Vec<Sender<KeyReply>>,
    /// Resolve when an executor has ended.
    pub(super) ended: Vec<oneshot::Receiver<Infallible>>,
}

impl<S> Default for Ways<S> {
    fn default() -> Self {
        Self {
            messages: Vec::new(),
            accepted: Vec::new(),
            key_replies: Vec::new(),
            ended: Vec::new(),
        }
    }
}

/// What a program knows itself by, drawn anew by each.
pub(super) fn new_identity() -> Result<Identity, ServerError> {
    let mut identity = Identity::default();
    getrandom::fill(&mut identity).map_err(|error| ServerError::Control(io::Error::other(error)))?;
    Ok(identity)
}

impl Start<'_> {
    /// Starts one executor on each of `cpus`, and waits for each until it runs.
    pub(super) fn executors(
        self,
        cpus: &[usize],
        runtime: &Runtime,
    ) -> Result<(Threads, Ways<TcpStream>), ServerError> {
        let (mut threads, mut ways) = (Threads::default(), Ways::default());
        for (executor, cpu) in cpus.iter().copied().enumerate() {
            let (setup, messages, started) = self.executor(&mut ways);
            let pipeline = self.pipeline_maker(executor);
            let handle = spawn(setup, cpu, pipeline)
                .map_err(|error| ServerError::Executor(executor, error.to_string()))?;
            threads.add(messages, handle);
            threads.wait_for_start(runtime, executor, started)?;
        }
        if ring::rings_created() == 0 {
            return Err(ServerError::RingFlags);
        }
        Ok((threads, ways))
    }

    /// What one more executor is started with; how it is told something, and what resolves when it runs.
    pub(super) fn executor<P: Platform>(
        &self,
        ways: &mut Ways<P::Accepted>,
    ) -> (ExecutorSetup<P>, Sender<ExecutorMessage>, oneshot::Receiver<()>) {
        let executor = ways.messages.len();
        let (message_sender, messages) = channel(self.capacities.messages);
        let (accepted_sender, accepted) = channel(self.capacities.accepted);
        let (reply_sender, key_replies) = channel(self.capacities.keys);
        let (door, shut_out) = channel(self.capacities.messages);
        let seats = Arc::new(Seats::default());
        let (started_sender, started) = oneshot::channel();
        let (alive, ended) = oneshot::channel();
        ways.messages.push(message_sender.clone());
        ways.accepted.push(ExecutorSeats {
            queue: accepted_sender,
            seats: Arc::clone(&seats),
            shut_out: ShutOutAddresses::new(shut_out),
        });
        ways.key_replies.push(reply_sender);
        ways.ended.push(ended);
        let setup = ExecutorSetup {
            door,
            came_back: Arc::clone(self.came_back),
            executor,
            messages,
            accepted,
            key_replies,
            key_service: self.key_service.clone(),
            control: self.control.clone(),
            listeners: executor_listeners(self.config, self.tls),
            executors: self.executor_count,
            handshakes_max: self.config.limits.handshakes_of_each(self.executor_count),
            seats,
            started: started_sender,
            alive,
        };
        (setup, message_sender, started)
    }

    /// Makes what decides about frames, on the executor's own thread.
    pub(super) fn pipeline_maker(&self, executor: usize) -> impl FnOnce() -> Pipeline + Send + use<> {
        let identity = self.identity;
        let audit_state = Arc::clone(self.audit);
        let limits = self.config.limits.clone();
        let options = self.options.clone();
        let logins = login_policies(self.config, self.logins);
        let stable_keys = self.stable_keys.clone();
        let clusters: Vec<_> = self
            .config
            .clusters
            .iter()
            .zip(self.addresses)
            .map(|(cluster, known)| {
                (
                    cluster.id,
                    Arc::<str>::from(cluster.name.as_str()),
                    cluster.rules.clone(),
                    known.book.clone(),
                    accounts(cluster, self.logins),
                    matches!(
                        cluster.upstream_login,
                        Some(UpstreamLogin::DelegationTokens { .. })
                    ),
                )
            })
            .collect();
        move || {
            let clusters = clusters
                .into_iter()
                .map(|(id, name, rules, book, accounts, by_tokens)| {
                    let rules = ClusterRules::new(name, rules, limits.topics_max);
                    let mut cluster = Cluster::new(rules, book);
                    cluster.accounts = accounts;
                    cluster.tokens = by_tokens.then(TokenBook::default);
                    (id, cluster)
                })
                .collect();
            let mut pipeline = Pipeline::new(executor, limits, &options, clusters);
            for (listener, policy) in logins {
                pipeline.logins.set(listener, policy);
            }
            if let Some(keys) = stable_keys {
                pipeline.take_stable_keys(&keys);
            }
            pipeline.identity = identity;
            pipeline.audit_state = audit_state;
            pipeline
        }
    }
}

/// Who the proxy is at brokers of a cluster, where it logs in there: nobody, where that was not read.
fn accounts(cluster: &ClusterConfig, read: &[AccessNews]) -> Option<Arc<BrokerAccounts>> {
    match cluster.upstream_login.as_ref()? {
        UpstreamLogin::One(OwnAccount::Certificate) => return None,
        UpstreamLogin::One(OwnAccount::Fetched(_)) => {
            return Some(Arc::new(BrokerAccounts::missing("no token was fetched yet")));
        }
        UpstreamLogin::ForwardToken => return Some(Arc::new(BrokerAccounts::of_clients())),
        UpstreamLogin::DelegationTokens { .. } => return None,
        UpstreamLogin::One(_) | UpstreamLogin::PerPrincipal { .. } => {}
    }
    let of_cluster = read.iter().find_map(|news| match news {
        AccessNews::Accounts(id, accounts) if *id == cluster.id => Some(Arc::clone(accounts)),
        _ => None,
    });
    Some(of_cluster.unwrap_or_default())
}

/// How clients log in at each listener where logins end.
fn login_policies(config: &Config, read: &[AccessNews]) -> Vec<(ListenerId, LoginPolicy)> {
    let listeners = config.clusters.iter().flat_map(|cluster| &cluster.listeners);
    let policies = listeners.filter_map(|listener| {
        let sasl = listener.sasl.as_ref()?;
        let mut against = Checked {
            token_rules: sasl.oauthbearer.as_ref().map(|bearer| Arc::clone(&bearer.rules)),
            may_find_keys: sasl
                .oauthbearer
                .as_ref()
                .is_some_and(|bearer| matches!(bearer.keys, KeySetSource::Url(_))),
            ..Checked::default()
        };
        for news in read {
            if let AccessNews::Logins(id, news) = news
                && *id == listener.id
            {
                against.take(news.clone());
            }
        }
        let policy = LoginPolicy {
            mechanisms: sasl.mechanisms.clone(),
            lifetime: sasl.session_lifetime,
            against,
        };
        Some((listener.id, policy))
    });
    policies.collect()
}

/// A listener whose TLS was not read is served to nobody.
fn executor_listeners(config: &Config, read: &[TlsNews]) -> ById<ListenerId, ExecutorListener> {
    let listener_set = |wanted: ListenerId| {
        read.iter().find_map(|news| match news {
            TlsNews::Listener(id, set) if *id == wanted => Some(Arc::clone(set)),
            _ => None,
        })
    };
    let upstream_set = |wanted: ClusterId| {
        read.iter().find_map(|news| match news {
            TlsNews::Upstream(id, set) if *id == wanted => Some(Arc::clone(set)),
            _ => None,
        })
    };
    let routes = &routes(config);
    let listeners = config.clusters.iter().flat_map(|cluster| {
        let upstream_tls = upstream_set(cluster.id);
        let is_read = cluster.upstream_tls.is_some() == upstream_tls.is_some();
        cluster.listeners.iter().filter_map(move |listener| {
            let tls = listener_set(listener.id);
            let is_read = is_read && listener.tls.is_some() == tls.is_some();
            let mut map = ListenerMap::new(cluster.id, listener).administered_by(cluster.admin_for.clone());
            if cluster.upstream_login.is_some() {
                map = map.of_own_logins();
            }
            if let Some(UpstreamLogin::One(_)) = cluster.upstream_login {
                map = map.authorising(cluster.groups_for.clone());
            }
            let executors = ExecutorListener {
                map: Arc::new(map),
                bootstrap: cluster.bootstrap.clone(),
                routes: listener
                    .bootstrap_host
                    .as_ref()
                    .and_then(|_| routes.get(&listener.listen).cloned()),
                tls,
                upstream_tls: upstream_tls.clone(),
                proxies: listener.proxy_protocol_sources.clone().map(Arc::new),
            };
            is_read.then_some((listener.id, executors))
        })
    });
    listeners.collect()
}

/// Where names lead to, at each port that listeners share.
fn routes(config: &Config) -> HashMap<SocketAddr, Arc<Routes>> {
    let mut routes: HashMap<SocketAddr, Routes> = HashMap::new();
    for listener in config.clusters.iter().flat_map(|cluster| &cluster.listeners) {
        for (node, name) in listener.names() {
            let destination = Destination {
                listener: listener.id,
                node,
            };
            routes.entry(listener.listen).or_default().add(&name, destination);
        }
    }
    let shared = routes.into_iter();
    shared
        .map(|(address, routes)| (address, Arc::new(routes)))
        .collect()
}
