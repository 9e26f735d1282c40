//! Executors are started, one after the other, with what each has of its own and what all have alike.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;

use tokio::runtime::Runtime;
use tokio::sync::oneshot;

use super::ServerError;
use super::state_file::ClusterAddresses;
use super::threads::Threads;
use crate::channel::{Sender, channel};
use crate::config::Config;
use crate::executor::{ExecutorListener, ExecutorSetup, spawn};
use crate::ids::{ById, ListenerId};
use crate::keys::{KeyOptions, KeyReply, KeyRequest};
use crate::messages::{Accepted, CameBack, ControlRequest, Seats};
use crate::pipeline::{Cluster, ClusterRules, ListenerMap, Pipeline};
use crate::protocol::hops::Identity;
use crate::ring;

/// What all executors are started with.
pub(super) struct Start<'a> {
    pub(super) config: &'a Config,
    pub(super) options: &'a KeyOptions,
    pub(super) addresses: &'a [ClusterAddresses],
    pub(super) came_back: &'a Arc<CameBack>,
    pub(super) control: Sender<ControlRequest>,
    pub(super) key_service: Sender<KeyRequest>,
}

/// The executors that run, and the ways to them, each by an executor's number.
#[derive(Default)]
pub(super) struct Started {
    pub(super) threads: Threads,
    pub(super) key_replies: Vec<Sender<KeyReply>>,
    pub(super) accepted: Vec<(Sender<Accepted>, Arc<Seats>)>,
    /// Resolve when an executor has ended.
    pub(super) ended: Vec<oneshot::Receiver<Infallible>>,
}

impl Start<'_> {
    /// Starts one executor on each of `cpus`, and waits for each until it runs.
    pub(super) fn executors(self, cpus: &[usize], runtime: &Runtime) -> Result<Started, ServerError> {
        let mut identity = Identity::default();
        getrandom::fill(&mut identity).map_err(|error| ServerError::Control(io::Error::other(error)))?;
        let listeners = executor_listeners(self.config);
        let mut started = Started::default();
        for (executor, cpu) in cpus.iter().copied().enumerate() {
            let (message_sender, messages) = channel(MESSAGE_CAPACITY);
            let (accepted_sender, accepted) = channel(ACCEPTED_CAPACITY);
            let (reply_sender, key_replies) = channel(KEY_CAPACITY);
            let seats = Arc::new(Seats::default());
            let (started_sender, runs) = oneshot::channel();
            let (alive, ended) = oneshot::channel();
            let setup = ExecutorSetup {
                came_back: Arc::clone(self.came_back),
                executor,
                cpu,
                messages,
                accepted,
                key_replies,
                key_service: self.key_service.clone(),
                control: self.control.clone(),
                listeners: listeners.clone(),
                seats: Arc::clone(&seats),
                started: started_sender,
                alive,
            };
            let pipeline = self.pipeline_maker(executor, identity);
            let handle =
                spawn(setup, pipeline).map_err(|error| ServerError::Executor(executor, error.to_string()))?;
            started.threads.add(message_sender, handle);
            started.key_replies.push(reply_sender);
            started.accepted.push((accepted_sender, seats));
            started.ended.push(ended);
            started.threads.wait_for_start(runtime, executor, runs)?;
        }
        if ring::rings_created() == 0 {
            return Err(ServerError::RingFlags);
        }
        Ok(started)
    }

    /// Makes what decides about frames, on the executor's own thread.
    fn pipeline_maker(
        &self,
        executor: usize,
        identity: Identity,
    ) -> impl FnOnce() -> Pipeline + Send + use<> {
        let limits = self.config.limits.clone();
        let options = self.options.clone();
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
                )
            })
            .collect();
        move || {
            let clusters = clusters
                .into_iter()
                .map(|(id, name, rules, book)| {
                    let rules = ClusterRules::new(name, rules, limits.topics_max);
                    (id, Cluster::new(rules, book))
                })
                .collect();
            let mut pipeline = Pipeline::new(executor, limits, &options, clusters);
            pipeline.identity = identity;
            pipeline
        }
    }
}

fn executor_listeners(config: &Config) -> ById<ListenerId, ExecutorListener> {
    let listeners = config.clusters.iter().flat_map(|cluster| {
        cluster.listeners.iter().map(|listener| {
            let executors = ExecutorListener {
                map: Arc::new(ListenerMap::new(cluster.id, listener)),
                bootstrap: cluster.bootstrap.clone(),
            };
            (listener.id, executors)
        })
    });
    listeners.collect()
}

/// Key requests of all executors, and replies to each; what does not fit is sent a tick later.
pub(super) const KEY_CAPACITY: usize = 4096;
/// Messages to one executor.
const MESSAGE_CAPACITY: usize = 1024;
/// Connections that wait for one executor, which looks at least every 20 ms.
const ACCEPTED_CAPACITY: usize = 1024;
