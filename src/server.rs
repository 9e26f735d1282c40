//! The running program: executors, acceptor and control thread, from start to clean end.
//!
//! ```text
//! main thread        reads the configuration, opens keystores, starts the rest, and is the control thread
//! acceptor           takes connections and spreads them evenly
//! executor 0..n      see `executor`
//! ```
//!
//! - SERVER-1: nothing is served before every listener is bound and every executor runs.
//! - SERVER-2: SIGTERM and SIGINT drain: nothing new is accepted, what is in flight is finished, at most for
//!   `limits.drain_timeout`; then every task is cancelled and every thread joined. Ports are closed at once, since it
//!   takes a second or two where brokers answer: a successor can bind them meanwhile.
//! - SERVER-3: an executor that ends unasked ends the program with an error, at once: the rest could not serve its
//!   share.
//! - SERVER-4: the self-check runs beside, when clients are served already, and is left behind when the program ends.
#![expect(
    clippy::disallowed_methods,
    reason = "threads that are not executors read the clock themselves"
)]

mod acceptor;
mod control;
mod hidden;
mod names;
mod notices;
mod sending;
mod spread;
mod state_file;
mod threads;

use std::error::Error;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::SystemTime;

use tokio::sync::oneshot;

use self::acceptor::Acceptor;
use self::control::{Control, ControlLinks};
use self::state_file::ClusterAddresses;
use self::threads::{Threads, executor_cpus};
use crate::admin::ProcessFacts;
use crate::channel::channel;
use crate::config::{Config, ForgeableKek, OwnPorts};
use crate::crypto::memory;
use crate::executor::{ExecutorListener, ExecutorSetup, spawn};
use crate::ids::{ById, ListenerId};
use crate::keys::{KeyOptions, KeyService, NamedKms};
use crate::kms::Kms;
use crate::kms::keystore::KeystoreError;
use crate::messages::CameBack;
use crate::messages::Seats;
use crate::pipeline::{Cluster, ClusterRules, ListenerMap, Pipeline};
use crate::protocol::hops::Identity;
use crate::ring;
use crate::self_check::{self, descriptors::Descriptors};

/// Why the program does not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServerError {
    /// io_uring cannot be used.
    #[error(transparent)]
    Ring(#[from] ring::RingError),
    /// A keystore does not open.
    #[error("kms {name:?}: {source}")]
    Keystore {
        /// The KMS's name in the configuration.
        name: String,
        /// What is wrong.
        source: KeystoreError,
    },
    /// A rule uses a KEK with a public wrapping key, and does not say that it may.
    #[error(transparent)]
    ForgeableKek(#[from] ForgeableKek),
    /// A port cannot be listened on.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the kernel said.
        source: io::Error,
    },
    /// An executor did not start.
    #[error("executor {0} does not start: {1}")]
    Executor(usize, String),
    /// The ring flags were not set: the program was linked without its own io_uring stubs.
    #[error("this build does not set its io_uring flags: src/ring.rs was not linked")]
    RingFlags,
    /// The runtime of the control thread does not start.
    #[error("the control thread does not start: {0}")]
    Control(io::Error),
}

/// Runs the proxy on this thread until SIGTERM or SIGINT, and drains.
///
/// # Errors
/// [`ServerError`] before anything is served.
pub fn run(config: Config) -> Result<(), Box<dyn Error>> {
    let server = Server::prepare(config, |kms| kms)?;
    let (_stop, stopped) = oneshot::channel();
    server.run(stopped, true)?;
    Ok(())
}

/// A proxy that runs inside a test: the same as [`run`], on threads of its own.
#[cfg(feature = "testing")]
pub struct Running {
    stop: oneshot::Sender<()>,
    thread: JoinHandle<Result<(), ServerError>>,
}

#[cfg(feature = "testing")]
impl Running {
    /// Starts a proxy whose KMSs are wrapped by `layer`.
    ///
    /// # Errors
    /// [`ServerError`] when it does not start.
    pub fn start(
        config: Config,
        layer: impl Fn(Arc<dyn Kms>) -> Arc<dyn Kms> + Send + 'static,
    ) -> Result<Self, ServerError> {
        let server = Server::prepare(config, layer)?;
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::Builder::new()
            .name("control".to_owned())
            .spawn(move || server.run(stopped, false))
            .map_err(ServerError::Control)?;
        Ok(Self { stop, thread })
    }

    /// Drains and ends it.
    ///
    /// # Errors
    /// What the control thread ended with.
    pub fn stop(self) -> Result<(), ServerError> {
        let _ = self.stop.send(());
        self.thread.join().unwrap_or_else(|_| {
            Err(ServerError::Control(io::Error::other(
                "the control thread panicked",
            )))
        })
    }
}

/// Everything that can fail is done; nothing is served yet.
struct Server {
    config: Config,
    kms: Vec<NamedKms>,
    acceptor: Acceptor,
    addresses: Vec<ClusterAddresses>,
    admin: Option<std::net::TcpListener>,
    facts: ProcessFacts,
    cpus: Vec<usize>,
}

impl Server {
    fn prepare(config: Config, layer: impl Fn(Arc<dyn Kms>) -> Arc<dyn Kms>) -> Result<Self, ServerError> {
        ring::preflight()?;
        let cpus = executor_cpus(config.runtime.executors);
        let dumpable = !memory::forbid_core_dumps();
        let protection = memory::initialise(key_slots(&config, cpus.len()));
        if dumpable || !protection.is_complete() {
            tracing::warn!(
                locked = protection.locked,
                excluded_from_dumps = protection.excluded_from_dumps,
                core_dumps_forbidden = !dumpable,
                "the kernel does not protect key memory fully: raise the memlock limit (LimitMEMLOCK=)"
            );
        }
        let kms = config
            .kms
            .iter()
            .map(|kms| {
                let opened = kms.kind.open().map_err(|source| ServerError::Keystore {
                    name: kms.name.clone(),
                    source,
                })?;
                Ok(NamedKms {
                    id: kms.id,
                    name: kms.name.clone(),
                    kms: layer(opened),
                })
            })
            .collect::<Result<Vec<_>, ServerError>>()?;
        let public = kms
            .iter()
            .filter(|named| named.kms.wraps_publicly())
            .map(|named| named.id);
        let public: Vec<_> = public.collect();
        if let Some(forgeable) = config
            .forgeable_keks(|id| public.contains(&id))
            .into_iter()
            .next()
        {
            return Err(forgeable.into());
        }
        let addresses = config.clusters.iter().map(ClusterAddresses::read).collect();
        let acceptor = Acceptor::bind(&config)?;
        let admin = config
            .admin
            .as_ref()
            .map(|admin| acceptor::listen(admin.listen))
            .transpose()?;
        Ok(Self {
            kms,
            acceptor,
            addresses,
            admin,
            facts: ProcessFacts {
                started: SystemTime::now(),
                keys_locked: protection.locked,
                keys_excluded_from_dumps: protection.excluded_from_dumps,
            },
            cpus,
            config,
        })
    }

    /// Starts the threads and is the control thread until told to stop.
    #[expect(clippy::too_many_lines, reason = "longer than a screen: to be split")]
    fn run(self, stopped: oneshot::Receiver<()>, signals: bool) -> Result<(), ServerError> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(ServerError::Control)?;
        let options = key_options(&self.config);
        let came_back = Arc::<CameBack>::default();
        let mut identity = Identity::default();
        getrandom::fill(&mut identity).map_err(|error| ServerError::Control(io::Error::other(error)))?;
        let (control_sender, control_receiver) = channel(CONTROL_CAPACITY);
        let (key_sender, key_receiver) = channel(KEY_CAPACITY);
        let kms_list: Arc<[Arc<dyn Kms>]> = self.kms.iter().map(|named| Arc::clone(&named.kms)).collect();

        let mut executors = Threads::default();
        let mut key_replies = Vec::new();
        let mut accepted_senders = Vec::new();
        let mut executors_ended = Vec::new();
        let listeners = executor_listeners(&self.config);
        for (executor, cpu) in self.cpus.iter().copied().enumerate() {
            let (message_sender, messages) = channel(MESSAGE_CAPACITY);
            let (accepted_sender, accepted) = channel(ACCEPTED_CAPACITY);
            let (reply_sender, replies) = channel(KEY_CAPACITY);
            let seats = Arc::new(Seats::default());
            let (started_sender, started) = oneshot::channel();
            let (alive, ended) = oneshot::channel();
            let setup = ExecutorSetup {
                came_back: Arc::clone(&came_back),
                executor,
                cpu,
                messages,
                accepted,
                key_replies: replies,
                key_service: key_sender.clone(),
                control: control_sender.clone(),
                listeners: listeners.clone(),
                seats: Arc::clone(&seats),
                started: started_sender,
                alive,
            };
            let pipeline = pipeline_maker(executor, &self.config, &options, &self.addresses, identity);
            let handle =
                spawn(setup, pipeline).map_err(|error| ServerError::Executor(executor, error.to_string()))?;
            executors.add(message_sender, handle);
            key_replies.push(reply_sender);
            accepted_senders.push((accepted_sender, seats));
            executors_ended.push(ended);
            executors.wait_for_start(&runtime, executor, started)?;
        }
        if ring::rings_created() == 0 {
            return Err(ServerError::RingFlags);
        }

        let key_service = KeyService::new(self.kms, key_receiver, key_replies, &options);
        let drain_timeout = self.config.limits.drain_timeout;
        // Rings and ports are there by now.
        let descriptors = Descriptors::raise();
        let connections_max = descriptors.connections(self.config.limits.connections_max);
        let acceptor = self
            .acceptor
            .start(accepted_senders, connections_max)
            .map_err(ServerError::Control)?;
        log_start(&self.config, self.cpus.len(), &self.facts);
        if self.config.runtime.self_check {
            let running = self_check::Running {
                descriptors,
                came_back,
            };
            runtime.spawn(self_check::log(self.config.clone(), kms_list, running));
        }
        let links = ControlLinks {
            connections: (connections_max, self.config.limits.connections_max),
            requests: control_receiver,
            executors: executors.messages().to_vec(),
            executors_ended,
            addresses: self.addresses,
            kms_names: self.config.kms.iter().map(|kms| kms.name.clone()).collect(),
            ids: self.config.ids.clone(),
        };
        let control = Control::new(links, OwnPorts::of(&self.config));
        runtime.block_on(control.run(
            key_service,
            self.admin,
            self.facts,
            stopped,
            signals,
            || acceptor.stop(),
            drain_timeout,
        ));
        // What still waits for a disk or a resolver is not waited for.
        runtime.shutdown_background();
        executors.stop()
    }
}

fn key_options(config: &Config) -> KeyOptions {
    let defaults = KeyOptions::default();
    KeyOptions {
        sealing_keys_max: config.limits.sealing_keys_max,
        opened_keys_max: config.limits.opened_keys_max,
        service_keys_max: defaults.service_keys_max.max(config.limits.opened_keys_max),
        ..defaults
    }
}

/// Places in locked memory: every data key that the key service may hold for each KMS, those that executors keep, and
/// those that are on their way to them. What an executor needs beyond that for a while has its place on the heap.
fn key_slots(config: &Config, executors: usize) -> usize {
    let options = key_options(config);
    let each = options.service_keys_max.saturating_add(options.sealing_keys_max);
    let executors_keep = options.opened_keys_max.saturating_add(options.sealing_keys_max);
    let of_executors = executors.saturating_mul(executors_keep.saturating_add(KEYS_ON_THEIR_WAY));
    config
        .kms
        .len()
        .saturating_mul(each)
        .saturating_add(of_executors)
        .min(KEY_SLOTS_MAX)
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

fn pipeline_maker(
    executor: usize,
    config: &Config,
    options: &KeyOptions,
    addresses: &[ClusterAddresses],
    identity: Identity,
) -> impl FnOnce() -> Pipeline + Send + 'static {
    let limits = config.limits.clone();
    let options = options.clone();
    let clusters: Vec<_> = config
        .clusters
        .iter()
        .zip(addresses)
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

fn log_start(config: &Config, executors: usize, facts: &ProcessFacts) {
    let listeners: Vec<String> = config
        .clusters
        .iter()
        .flat_map(|cluster| {
            cluster
                .listeners
                .iter()
                .map(move |listener| format!("{}/{} on {}", cluster.name, listener.name, listener.listen))
        })
        .collect();
    let rules: usize = config
        .clusters
        .iter()
        .map(|cluster| cluster.rules.rules().len())
        .sum();
    let kms: Vec<&str> = config.kms.iter().map(|kms| kms.name.as_str()).collect();
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        executors,
        listeners = listeners.join(", "),
        rules,
        kms = kms.join(", "),
        keys_locked = facts.keys_locked,
        keys_excluded_from_dumps = facts.keys_excluded_from_dumps,
        "sealwire serves"
    );
}

/// Look-ups, addresses and audit lines of all executors that wait for the control thread.
const CONTROL_CAPACITY: usize = 4096;
/// Key requests of all executors, and replies to each; what does not fit is sent a tick later.
const KEY_CAPACITY: usize = 4096;
/// Messages to one executor.
const MESSAGE_CAPACITY: usize = 1024;
/// Connections that wait for one executor, which looks at least every 20 ms.
const ACCEPTED_CAPACITY: usize = 1024;
/// Keys on their way to one executor, which takes them in every 20 ms; more have places on the heap for that time.
const KEYS_ON_THEIR_WAY: usize = 1024;
/// 1024 pages of 128 keys: 4 MiB, half of what the kernel lets a process lock by default.
const KEY_SLOTS_MAX: usize = 128 * 1024;
