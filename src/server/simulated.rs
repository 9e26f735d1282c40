//! The program without sockets, threads or time of its own: executors on a simulated platform, the acceptor's
//! spreading, the key service and the control thread, each of which goes on when it is told to. What is left out is
//! what only the machine can do: ports, signals, files, the admin page.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use tokio::runtime::Runtime;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{JoinHandle, yield_now};

use super::acceptor::{Entrance, closed_at_the_door};
use super::access_files::AccessNews;
use super::control::{Control, ControlLinks, drain, tell_access};
use super::start::{Start, Ways};
use super::state_file::ClusterAddresses;
use crate::audit::AuditLog;
use crate::broker_login::BrokerAccounts;
use crate::channel::{Sender, channel};
use crate::clocks::simulated::{self, SimulatedTime};
use crate::config::{Config, OwnPorts};
use crate::executor::run;
use crate::identity::sasl::exchange::CheckedNews;
use crate::ids::{ClusterId, ListenerId};
use crate::keys::{CallBudget, KeyOptions, KeyService, NamedKms};
use crate::kms::Kms;
use crate::messages::{CameBack, ExecutorMessage};
use crate::pipeline::AddressBook;
use crate::protocol::hops::Identity;
use crate::testing::MemoryStream;
use crate::testing::simulated::{SimulatedPlatform, SimulatedSocket, Tasks};

pub use super::start::Capacities;

/// How a simulated program is made.
pub struct SimulatedSettings {
    /// What it runs with; its listeners are only numbers.
    pub config: Config,
    /// In the order of the configuration.
    pub kms: Vec<SimulatedKms>,
    /// What a state file has kept of each cluster's addresses.
    pub books: Vec<AddressBook>,
    /// What the files say of who may log in, and as whom.
    pub access: Vec<SimulatedAccess>,
    /// How many executors.
    pub executors: usize,
    /// Bounds of their channels.
    pub capacities: Capacities,
    /// What waits for the control thread, at most.
    pub control_capacity: usize,
    /// What executors and the key service run with, instead of what the configuration says.
    pub keys: KeyOptions,
}

/// A KMS, and how much it may be asked.
pub struct SimulatedKms {
    /// The provider.
    pub kms: Arc<dyn Kms>,
    /// How much it may be asked, instead of what the configuration says.
    pub budget: CallBudget,
}

/// What a file says that is followed.
#[derive(Clone)]
pub enum SimulatedAccess {
    /// Who may log in at a listener.
    Logins(ListenerId, CheckedNews),
    /// Who the proxy is at brokers of a cluster.
    Accounts(ClusterId, Arc<BrokerAccounts>),
}

impl From<SimulatedAccess> for AccessNews {
    fn from(access: SimulatedAccess) -> Self {
        match access {
            SimulatedAccess::Logins(listener, news) => Self::Logins(listener, news),
            SimulatedAccess::Accounts(cluster, accounts) => Self::Accounts(cluster, accounts),
        }
    }
}

impl SimulatedSettings {
    fn addresses(&self) -> Vec<ClusterAddresses> {
        let clusters = self.config.clusters.iter().zip(&self.books);
        clusters
            .map(|(cluster, book)| ClusterAddresses {
                cluster: cluster.id,
                book: book.clone(),
                file: None,
            })
            .collect()
    }

    fn named_kms(&self) -> Vec<NamedKms> {
        let known = self.config.kms.iter().zip(&self.kms);
        known
            .map(|(known, simulated)| NamedKms {
                id: known.id,
                name: known.name.clone(),
                kms: Arc::clone(&simulated.kms),
                budget: simulated.budget,
            })
            .collect()
    }

    fn ports(&self) -> Vec<Port> {
        let listeners = self.config.clusters.iter().flat_map(|cluster| &cluster.listeners);
        listeners
            .flat_map(|listener| {
                let nodes = listener.node_listeners();
                let nodes = nodes.map(|(node, address)| (address, listener.id, Some(node)));
                std::iter::once((listener.listen, listener.id, None)).chain(nodes)
            })
            .collect()
    }
}

/// Where it listens, for which listener, and for which node.
type Port = (SocketAddr, ListenerId, Option<i32>);

/// Tells executors of each file that has changed, one after the other.
async fn tell_of_files(
    executors: Vec<Sender<ExecutorMessage>>,
    mut changed: mpsc::UnboundedReceiver<AccessNews>,
) {
    // Groups of rules are in none of these.
    let (groups, _) = mpsc::channel(1);
    while let Some(news) = changed.recv().await {
        tell_access(executors.clone(), groups.clone(), news).await;
    }
}

/// Goes on with `task` unless something else holds the thread.
fn unless_held<T>(task: impl Future<Output = T>) -> impl Future<Output = T> {
    let mut task = Box::pin(task);
    poll_fn(move |context| {
        if simulated::is_held() {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        task.as_mut().poll(context)
    })
}

/// A program that runs as far as it is told to; one on a thread.
pub struct SimulatedServer {
    tasks: Tasks,
    runtime: Runtime,
    entrance: Entrance<SimulatedSocket>,
    ports: Vec<Port>,
    books: Vec<(ClusterId, watch::Receiver<AddressBook>)>,
    /// The key service and the control thread.
    beside: Vec<JoinHandle<()>>,
    executors: Vec<Sender<ExecutorMessage>>,
    /// Files that have changed.
    access: mpsc::UnboundedSender<AccessNews>,
    /// Says whether connections had ended in time.
    draining: Option<oneshot::Receiver<bool>>,
    /// Time that has passed while the control thread was blocked.
    owed: Cell<Duration>,
}

impl SimulatedServer {
    /// Starts it, at the time that `runtime` and the thread's clocks say. `runtime` is a current-thread one whose clock
    /// is paused.
    ///
    /// # Panics
    /// When the configuration names another number of KMSs or clusters than is given.
    #[must_use]
    pub fn start(runtime: Runtime, settings: SimulatedSettings) -> Self {
        let config = &settings.config;
        let is_whole =
            settings.kms.len() == config.kms.len() && settings.books.len() == config.clusters.len();
        assert!(is_whole, "one for each");
        let options = &settings.keys;
        let addresses = settings.addresses();
        let logins: Vec<AccessNews> = settings.access.iter().cloned().map(AccessNews::from).collect();
        let (control, requests) = channel(settings.control_capacity);
        let (key_sender, key_requests) = channel(settings.capacities.keys);
        let start = Start {
            stable_keys: None,
            config,
            options,
            addresses: &addresses,
            tls: &[],
            logins: &logins,
            came_back: &Arc::<CameBack>::default(),
            audit: &Arc::default(),
            control,
            key_service: key_sender,
            identity: Identity::default(),
            capacities: settings.capacities,
            executor_count: settings.executors,
        };
        let tasks = Tasks::of_thread();
        let mut ways = Ways::default();
        for executor in 0..settings.executors {
            let (setup, ..) = start.executor::<SimulatedPlatform>(&mut ways);
            tasks.spawn_executor(executor, run(setup, start.pipeline_maker(executor)()));
        }
        drop(start);
        let key_service = KeyService::new(settings.named_kms(), key_requests, ways.key_replies, options);
        let connections_max = config.limits.connections_max;
        let links = ControlLinks {
            requests,
            executors: ways.messages.clone(),
            connections: (connections_max, connections_max),
            executors_ended: ways.ended,
            addresses,
            kms_names: config.kms.iter().map(|kms| kms.name.clone()).collect(),
            ids: config.ids.clone(),
            audit: AuditLog::default(),
        };
        let mut control = Control::new(links, OwnPorts::of(config));
        let books = control.watch_books();
        let (access, changed) = mpsc::unbounded_channel();
        let beside = vec![
            runtime.spawn(tell_of_files(ways.messages.clone(), changed)),
            runtime.spawn(unless_held(async move { match key_service.run().await {} })),
            runtime.spawn(async move { match control.serve().await {} }),
        ];
        Self {
            ports: settings.ports(),
            entrance: Entrance::new(ways.accepted, connections_max, closed_at_the_door(config)),
            tasks,
            runtime,
            books,
            beside,
            executors: ways.messages,
            access,
            draining: None,
            owed: Cell::new(Duration::ZERO),
        }
    }

    /// A client at `from` connects to a port; its view of the connection, into which the program can write `room`
    /// bytes. `None`: nobody listens there.
    pub fn connect(&self, from: SocketAddr, to: SocketAddr, room: usize) -> Option<MemoryStream> {
        if self.is_draining() {
            return None;
        }
        let (_, listener, node) = self.ports.iter().find(|(port, ..)| *port == to)?;
        let (socket, stream) = SimulatedSocket::accepted(room);
        self.entrance.let_in(socket, from, *listener, *node);
        Some(stream)
    }

    /// It is told to end, as by a signal: nobody is let in any more, and what is begun is ended within `at_most`.
    pub fn drain(&mut self, at_most: Duration) {
        let (ended, draining) = oneshot::channel();
        let executors = self.executors.clone();
        let drained = async move {
            // Whoever drives it may have no use for it.
            let _ = ended.send(drain(&executors, at_most).await);
        };
        self.beside.push(self.runtime.spawn(drained));
        self.draining = Some(draining);
    }

    /// A file has changed that is followed; executors hear of it one after the other.
    pub fn take_access(&self, access: SimulatedAccess) {
        // The program may have ended.
        let _ = self.access.send(access.into());
    }

    /// Whether it is being drained.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.draining.is_some()
    }

    /// Once a drain is over: whether all connections had ended by themselves.
    pub fn drained(&mut self) -> Option<bool> {
        self.draining.as_mut()?.try_recv().ok()
    }

    /// How many tasks of executors could go on.
    #[must_use]
    pub fn awake(&self) -> usize {
        self.tasks.awake()
    }

    /// Lets one of them go on.
    pub fn poll(&self, nth: usize) {
        self.tasks.poll(nth);
    }

    /// Lets the control thread and the key service have a turn.
    pub fn control_turn(&self) {
        if !simulated::is_blocked() {
            self.runtime.block_on(yield_now());
        }
    }

    /// The control thread goes on with nothing for so long, as when the machine has other things to do.
    pub fn stall_control(&self, by: Duration) {
        self.runtime.spawn(simulated::hold(by));
        self.control_turn();
    }

    /// An executor goes on with nothing for so long; the others do.
    pub fn stall_executor(&self, executor: usize, by: Duration) {
        self.tasks.stall(executor, by);
    }

    /// When the first timer of an executor is due, at the earliest: at most a tick away.
    #[must_use]
    pub fn next_timer(&self) -> Option<Instant> {
        self.tasks.next_timer()
    }

    /// Sets the time, for the clocks that wait and for those that are compared.
    pub fn pass(&self, by: Duration, time: SimulatedTime) {
        simulated::set(Some(time));
        let owed = self.owed.get().saturating_add(by);
        if simulated::is_blocked() {
            self.owed.set(owed);
        } else {
            self.owed.set(Duration::ZERO);
            self.runtime.block_on(tokio::time::advance(owed));
        }
        self.tasks.fire_timers();
    }

    /// What is known of each cluster's addresses.
    #[must_use]
    pub fn books(&self) -> Vec<AddressBook> {
        self.books.iter().map(|(_, book)| book.borrow().clone()).collect()
    }

    /// Cuts it off, as a crash does; the runtime and its clock can be used again.
    #[must_use]
    pub fn kill(self) -> Runtime {
        self.tasks.clear();
        for task in self.beside {
            task.abort();
            // It ends by being aborted.
            let _ = self.runtime.block_on(task);
        }
        drop(SimulatedPlatform::take_dials());
        self.runtime
    }
}
