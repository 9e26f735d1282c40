//! Takes connections and hands each to the executor that has the fewest.
//!
//! The kernel's own spreading (SO_REUSEPORT) is lopsided for the few heavy connections that Kafka clients open.
//!
//! - ACCEPTOR-1: a connection beyond `limits.connections_max`, or beyond what there are descriptors for, is closed at
//!   once, and so is one that an executor cannot take. All are counted as accepted, and as closed by a limit; the log
//!   says it once a minute.
//! - ACCEPTOR-2: a port that cannot be accepted from is left alone for a while, longer each time: who knocks waits in
//!   the kernel.
//! - ACCEPTOR-3: where it is certain from where a client comes and that it has to log in, one is closed at once whose
//!   address the executor that would have it has shut out; it is counted, and the executor has told the log.
//!
//! Bootstrap and node ports are all bound before any is accepted from (SERVER-1).

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::task::LocalSet;

use super::ServerError;
use super::shut_out::ShutOutAddresses;
use crate::channel::Sender;
use crate::clocks;
use crate::config::{ClientAuth, Config, ListenerConfig};
use crate::ids::ListenerId;
use crate::messages::{Accepted, Seats};
use crate::repeats::{News, Repeats};

/// Bound ports; see the module.
pub(super) struct Acceptor {
    ports: Vec<Port>,
    at_the_door: BTreeSet<ListenerId>,
}

struct Port {
    socket: TcpListener,
    listener: ListenerId,
    node: Option<i32>,
}

/// One executor, as the acceptor sees it.
pub(super) struct ExecutorSeats<S = TcpStream> {
    pub(super) queue: Sender<Accepted<S>>,
    pub(super) seats: Arc<Seats>,
    pub(super) shut_out: ShutOutAddresses,
}

/// Listeners on whose ports whoever connects is who he says, and has to log in (ACCEPTOR-3): no load balancer stands
/// before them, nor does a name lead to others.
pub(super) fn closed_at_the_door(config: &Config) -> BTreeSet<ListenerId> {
    let all = || config.clusters.iter().flat_map(|cluster| &cluster.listeners);
    let suits = |listener: &ListenerConfig| {
        listener.client_auth == ClientAuth::Sasl && listener.proxy_protocol_sources.is_none()
    };
    all()
        .filter(|listener| all().filter(|other| other.listen == listener.listen).all(suits))
        .map(|listener| listener.id)
        .collect()
}

impl Acceptor {
    /// Binds every port of the configuration.
    pub(super) fn bind(config: &Config) -> Result<Self, ServerError> {
        let (mut ports, mut shared) = (Vec::new(), BTreeSet::new());
        for settings in config.clusters.iter().flat_map(|cluster| &cluster.listeners) {
            let listener = settings.id;
            // The first of those that share a port has it: names tell which one is meant.
            if settings.bootstrap_host.is_none() || shared.insert(settings.listen) {
                ports.push(Port {
                    socket: listen(settings.listen)?,
                    listener,
                    node: None,
                });
            }
            for (node, address) in settings.node_listeners() {
                ports.push(Port {
                    socket: listen(address)?,
                    listener,
                    node: Some(node),
                });
            }
        }
        Ok(Self {
            ports,
            at_the_door: closed_at_the_door(config),
        })
    }

    /// Starts accepting, on a thread of its own.
    pub(super) fn start(
        self,
        places: Vec<ExecutorSeats>,
        connections_max: usize,
    ) -> io::Result<RunningAcceptor> {
        let (stop, stopped) = oneshot::channel();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let thread = std::thread::Builder::new()
            .name("acceptor".to_owned())
            .spawn(move || {
                let tasks = LocalSet::new();
                let entrance = Rc::new(Entrance::new(places, connections_max, self.at_the_door));
                for port in self.ports {
                    tasks.spawn_local(accept(port, Rc::clone(&entrance)));
                }
                // An error means that nobody is left who could stop us.
                let _ = runtime.block_on(tasks.run_until(stopped));
            })?;
        Ok(RunningAcceptor { stop, thread })
    }
}

/// An acceptor at work.
pub(super) struct RunningAcceptor {
    stop: oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

impl RunningAcceptor {
    /// Closes every port.
    pub(super) fn stop(self) {
        let _ = self.stop.send(());
        if self.thread.join().is_err() {
            tracing::error!("the acceptor panicked");
        }
    }
}

/// Binds a port. A restart may take it at once (SO_REUSEADDR), a second program may not (no SO_REUSEPORT).
pub(super) fn listen(address: SocketAddr) -> Result<TcpListener, ServerError> {
    let bind = || {
        let socket = socket2::Socket::new(
            socket2::Domain::for_address(address),
            socket2::Type::STREAM,
            Some(socket2::Protocol::TCP),
        )?;
        socket.set_reuse_address(true)?;
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        Ok(TcpListener::from(socket))
    };
    bind().map_err(|source| ServerError::Listen { address, source })
}

/// What all ports lead to.
pub(super) struct Entrance<S = TcpStream> {
    places: Vec<ExecutorSeats<S>>,
    connections_max: usize,
    at_the_door: BTreeSet<ListenerId>,
    /// What the log was told lately.
    said: RefCell<Repeats<Trouble>>,
}

/// Why connections are not served; said once a minute each.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Trouble {
    NotAccepted(Option<i32>),
    TooMany,
    Busy,
}

async fn accept(port: Port, entrance: Rc<Entrance>) {
    let socket = match tokio::net::TcpListener::from_std(port.socket) {
        Ok(socket) => socket,
        Err(error) => {
            tracing::error!(%error, "a port cannot be accepted from");
            return;
        }
    };
    let mut pause = PAUSE_MIN;
    loop {
        let accepted = socket.accept().await;
        let (stream, peer) = match accepted.and_then(|(stream, peer)| Ok((stream.into_std()?, peer))) {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of descriptors, or a client that is gone already: the next attempt may do better.
                if entrance.has_news(Trouble::NotAccepted(error.raw_os_error())) {
                    tracing::warn!(%error, "a connection was not accepted; the same is not said again for a minute");
                }
                tokio::time::sleep(pause).await;
                pause = pause.saturating_mul(2).min(PAUSE_MAX);
                continue;
            }
        };
        pause = PAUSE_MIN;
        entrance.let_in(stream, peer, port.listener, port.node);
    }
}

impl<S> Entrance<S> {
    pub(super) fn new(
        places: Vec<ExecutorSeats<S>>,
        connections_max: usize,
        at_the_door: BTreeSet<ListenerId>,
    ) -> Self {
        Self {
            places,
            connections_max,
            at_the_door,
            said: RefCell::new(Repeats::new()),
        }
    }

    /// Hands a connection to the executor that has the fewest, or drops it (ACCEPTOR-1, ACCEPTOR-3).
    pub(super) fn let_in(&self, stream: S, peer: SocketAddr, listener: ListenerId, node: Option<i32>) {
        let taken = |place: &ExecutorSeats<S>| place.seats.taken.load(Ordering::Relaxed);
        let total: usize = self.places.iter().map(taken).sum();
        let Some(place) = self.places.iter().min_by_key(|place| taken(place)) else {
            return;
        };
        let ExecutorSeats {
            queue,
            seats,
            shut_out,
        } = place;
        if self.at_the_door.contains(&listener) && shut_out.has(peer.ip(), clocks::now()) {
            seats.shut_out.fetch_add(1, Ordering::Relaxed);
            return;
        }
        if total >= self.connections_max {
            seats.refused.fetch_add(1, Ordering::Relaxed);
            if self.has_news(Trouble::TooMany) {
                let connections_max = self.connections_max;
                tracing::warn!(connections_max, client = %peer, "a connection was closed: no more are served");
            }
            return;
        }
        seats.taken.fetch_add(1, Ordering::Relaxed);
        let accepted = Accepted {
            stream,
            peer,
            listener,
            node,
        };
        if queue.try_send(accepted).is_err() {
            seats.taken.fetch_sub(1, Ordering::Relaxed);
            seats.refused.fetch_add(1, Ordering::Relaxed);
            if self.has_news(Trouble::Busy) {
                tracing::warn!(client = %peer, "a connection was closed: its executor takes no more at the moment");
            }
        }
    }

    fn has_news(&self, trouble: Trouble) -> bool {
        self.said.borrow_mut().news(trouble, clocks::now()) != News::None
    }
}

/// Connections that wait in the kernel while the acceptor is busy.
const BACKLOG: i32 = 4096;
/// Keep a lack of descriptors from becoming a busy loop.
const PAUSE_MIN: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use std::net::IpAddr;
    use std::path::Path;
    use std::time::Instant;

    use super::*;
    use crate::channel::channel;
    use crate::ids::Id as _;
    use crate::messages::ShutOut;

    /// ACCEPTOR-3
    #[test]
    fn whoever_an_executor_has_shut_out_is_closed_before_it_has_him() {
        let ((queue, mut came), (door, news)) = (channel(8), channel(8));
        let seats = Arc::<Seats>::default();
        let place = ExecutorSeats {
            queue,
            seats: Arc::clone(&seats),
            shut_out: ShutOutAddresses::new(news),
        };
        let [sasl, other] = [0, 1].map(ListenerId::from_number);
        let entrance = Entrance::new(vec![place], 100, BTreeSet::from([sasl]));
        let mut is_let_in = |last: u8, listener| {
            let address = IpAddr::from([10, 0, 0, last]);
            entrance.let_in((), SocketAddr::new(address, 5000), listener, None);
            came.try_recv().is_some()
        };
        assert!(is_let_in(1, sasl));
        let (address, until) = (
            IpAddr::from([10, 0, 0, 1]),
            Instant::now() + Duration::from_secs(3600),
        );
        assert!(door.try_send(ShutOut { address, until }).is_ok());
        assert!(!is_let_in(1, sasl));
        assert!(is_let_in(2, sasl) && is_let_in(1, other));
        let counts = [&seats.taken, &seats.shut_out, &seats.refused];
        let counts = counts.map(|count| count.load(Ordering::Relaxed));
        assert_eq!(counts, [3, 1, 0]);
    }

    /// ACCEPTOR-3
    #[test]
    fn it_has_to_be_certain_who_comes_and_that_he_logs_in() {
        let listener = |number: u16, keys: &str| {
            format!(
                "[[cluster.main.listeners]]\nname = \"l{number}\"\nlisten = \"0.0.0.0:{number}\"\n\
                 advertised_host = \"proxy.example.com\"\nnodes = \"0\"\nnode_ports = \"{}\"\n{keys}\n",
                number + 1000
            )
        };
        let sasl = "client_auth = \"sasl\"\nsasl = { credentials = \"users\" }";
        let text = [
            "[cluster.main]\nbootstrap = [\"kafka-1:9092\"]\n".to_owned(),
            listener(9192, sasl),
            listener(9193, "client_auth = \"network\""),
            listener(
                9194,
                &format!("{sasl}\nproxy_protocol = \"required\"\nproxy_protocol_sources = [\"10.0.0.0/8\"]"),
            ),
            "[[cluster.main.topics]]\nmatch = \"*\"\npass = true\n".to_owned(),
        ]
        .concat();
        let config = Config::from_toml_text(&text, Path::new("sealwire.toml"));
        let mut config = config.unwrap_or_else(|errors| panic!("{errors}"));
        let first = BTreeSet::from([ListenerId::from_number(0)]);
        assert_eq!(closed_at_the_door(&config), first);
        // Names lead to both by one port.
        let [one, other, _] = &mut config.clusters[0].listeners[..] else {
            panic!("three listeners")
        };
        other.listen = one.listen;
        assert_eq!(closed_at_the_door(&config), BTreeSet::new());
    }
}
