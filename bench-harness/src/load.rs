//! Load and sink in one thread: clients that keep one request in flight each, and the stand-in broker that answers
//! them.
//!
//! Both ends sit in one event loop on one core, so that the system between them has the other core to itself. Payload
//! is not copied on either side: it is written from one shared buffer and discarded by the kernel (`MSG_TRUNC`,
//! tcp(7)); with TLS it is sealed and opened.

mod batch;
mod connection;
mod counts;
mod driving;
mod frame;
mod incoming;
mod loopback;
mod pace;
mod socket;
mod tls;
mod traffic;
mod wire;

use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::rc::Rc;
use std::time::{Duration, Instant};

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};

use self::connection::{Connection, Progress, Side};
use self::counts::Counts;
use self::frame::Frame;
pub(crate) use self::loopback::Loopback;
use self::pace::Pace;
use self::socket::Socket;
use self::tls::LoadTls;
pub(crate) use self::traffic::{Plan, Traffic, plain_batch};
use crate::Failure;
use crate::certificates::Certificates;
use crate::scenario::Point;
use crate::systems::Site;

/// The event loop.
pub(crate) struct Load {
    poll: Poll,
    events: Events,
    listener: TcpListener,
    port: u16,
    /// Where both ends speak it.
    tls: Option<LoadTls>,
    connections: Vec<Option<Connection>>,
    /// The group of clients that is driven now.
    driven: Option<usize>,
    /// What they send, and what the broker answers, also after driving has stopped.
    traffic: Option<Rc<Traffic>>,
    pace: Option<Pace>,
    counts: Counts,
    requests: usize,
    answers: usize,
    /// Whether a response of another length is an error: while what is right is being found out, it is not.
    checking: bool,
    /// The last produce request that the broker got, where it is wanted.
    capture: Option<Vec<u8>>,
    capturing: bool,
    buffer: Vec<u8>,
}

/// Every system that the harness starts is reached by its port here.
pub(crate) fn local(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

const LISTENER: Token = Token(usize::MAX);
const CLOCK: Token = Token(usize::MAX - 1);

impl Load {
    /// A broker at `port`, or any if that is 0, without clients yet.
    pub(crate) fn new(port: u16) -> Result<Self, Failure> {
        let poll = Poll::new()?;
        let mut listener = TcpListener::bind(local(port))
            .map_err(|error| format!("the stand-in broker cannot have port {port}: {error}"))?;
        poll.registry()
            .register(&mut listener, LISTENER, Interest::READABLE)?;
        Ok(Self {
            port: listener.local_addr()?.port(),
            poll,
            events: Events::with_capacity(1024),
            listener,
            tls: None,
            connections: Vec::new(),
            driven: None,
            traffic: None,
            pace: None,
            counts: Counts::default(),
            requests: 0,
            answers: 0,
            checking: false,
            capture: None,
            capturing: false,
            buffer: vec![0; 64 << 10],
        })
    }

    /// Where the broker listens.
    pub(crate) fn broker_port(&self) -> u16 {
        self.port
    }

    /// Has both ends speak what `point` says from now on, with certificates that are made in `directory`. Where systems
    /// find the broker then.
    pub(crate) fn site(&mut self, point: &Point, directory: &Path) -> Result<Site, Failure> {
        let certificates = Certificates::make(point, directory)?;
        self.tls = certificates.as_ref().map(LoadTls::new).transpose()?;
        Ok(Site {
            certificates,
            ..Site::pinned(self.port)
        })
    }

    /// Opens `count` client connections to the system at `address`, which `group` names from then on, and says hello on
    /// each.
    pub(crate) fn connect(&mut self, group: usize, address: SocketAddr, count: usize) -> Result<(), Failure> {
        let hello = Frame::fixed(wire::api_versions_request()?);
        // In portions: a system's backlog is finite.
        for portion in (0..count).collect::<Vec<_>>().chunks(128) {
            for member in portion.iter().copied() {
                let side = Side::Client {
                    group,
                    member,
                    address,
                };
                let place = self.add(TcpStream::connect(address)?, side)?;
                if let Some(Some(connection)) = self.connections.get_mut(place) {
                    connection.send(&hello, None, None);
                }
            }
            self.settle()?;
        }
        Ok(())
    }

    /// Closes the clients of `group`.
    pub(crate) fn disconnect(&mut self, group: usize) {
        for connection in &mut self.connections {
            if connection
                .as_ref()
                .is_some_and(|connection| connection.is_client_of(group))
            {
                *connection = None;
            }
        }
    }

    /// Closes everything and forgets what was under way, also where that has failed: the next who connect find a broker
    /// as it was at first.
    pub(crate) fn clear(&mut self) {
        self.connections.clear();
        (self.driven, self.traffic, self.pace) = (None, None, None);
        (self.checking, self.capturing, self.capture) = (false, false, None);
        self.counts = Counts::default();
    }

    /// Connections, those of the broker too.
    fn open(&self) -> usize {
        self.connections.iter().flatten().count()
    }

    /// Until the broker's ends of what was closed are closed too: as long as any of them goes.
    fn wait_for_those_who_leave(&mut self) -> Result<(), Failure> {
        loop {
            let before = self.open();
            self.run(Duration::from_millis(20))?;
            if self.open() == before {
                return Ok(());
            }
        }
    }

    /// Runs for `duration`.
    pub(crate) fn run(&mut self, duration: Duration) -> Result<(), Failure> {
        let deadline = Instant::now() + duration;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            self.turn(left)?;
        }
    }

    /// What was exchanged since it was last asked.
    fn take_counts(&mut self) -> Counts {
        std::mem::take(&mut self.counts)
    }

    /// Turns until no client waits for anything.
    fn settle(&mut self) -> Result<(), Failure> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let waiting = self
                .connections
                .iter()
                .flatten()
                .filter(|connection| connection.waits())
                .count();
            if waiting == 0 {
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err(format!(
                    "{waiting} requests were not answered within {} s",
                    PATIENCE.as_secs()
                )
                .into());
            }
            self.turn(Duration::from_millis(50))?;
        }
    }

    fn turn(&mut self, timeout: Duration) -> Result<(), Failure> {
        match self.poll.poll(&mut self.events, Some(timeout)) {
            Err(error) if error.kind() == ErrorKind::Interrupted => return Ok(()),
            done => done?,
        }
        let ready: Vec<Token> = self.events.iter().map(|event| event.token()).collect();
        for token in ready {
            match token {
                LISTENER => self.accept()?,
                CLOCK => {}
                Token(place) => self.advance(place)?,
            }
        }
        self.send_what_is_due()
    }

    fn accept(&mut self) -> Result<(), Failure> {
        loop {
            match self.listener.accept() {
                Ok((stream, _)) => {
                    let place = self.add(stream, Side::Broker)?;
                    // Bytes may be there already, and their edge was not ours to see.
                    self.advance(place)?;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn add(&mut self, stream: TcpStream, side: Side) -> Result<usize, Failure> {
        let place = match self.connections.iter().position(Option::is_none) {
            Some(free) => free,
            None => {
                self.connections.push(None);
                self.connections.len() - 1
            }
        };
        self.put(place, stream, side)?;
        Ok(place)
    }

    fn put(&mut self, place: usize, mut stream: TcpStream, side: Side) -> Result<(), Failure> {
        let interest = Interest::READABLE | Interest::WRITABLE;
        self.poll
            .registry()
            .register(&mut stream, Token(place), interest)?;
        stream.set_nodelay(true).or_else(ignore_not_connected)?;
        let tls = self.tls.as_ref().map(|tls| match side {
            Side::Client { address, .. } => tls.client(address),
            Side::Broker => tls.broker(),
        });
        if let Some(slot) = self.connections.get_mut(place) {
            *slot = Some(Connection::new(Socket::new(stream, tls.transpose()?), side));
        }
        Ok(())
    }

    /// Ends a client's connection, and opens another one in its place.
    fn reconnect(&mut self, place: usize) -> Result<(), Failure> {
        let ended = self.connections.get_mut(place).and_then(Option::take);
        if let Some(ended) = ended
            && let side @ Side::Client { address, .. } = ended.side
        {
            ended.close();
            self.put(place, TcpStream::connect(address)?, side)?;
        }
        Ok(())
    }

    /// Lets one connection do all that it can.
    fn advance(&mut self, place: usize) -> Result<(), Failure> {
        loop {
            let Some(Some(connection)) = self.connections.get_mut(place) else {
                return Ok(());
            };
            match connection.advance(&mut self.buffer, self.capturing) {
                Ok(Progress::Blocked) => return Ok(()),
                Ok(Progress::Closed) => return self.closed(place),
                Ok(Progress::Received(received)) => self.received(place, received)?,
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return self.closed(place),
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn closed(&mut self, place: usize) -> Result<(), Failure> {
        let connection = self.connections.get_mut(place).and_then(Option::take);
        match connection.map(|connection| connection.side) {
            Some(Side::Client { .. }) => Err("the system closed a connection".into()),
            _ => Ok(()),
        }
    }
}

/// A request that is not answered for so long is lost.
const PATIENCE: Duration = Duration::from_secs(20);
/// A client's socket is still connecting when its options are set; Linux takes TCP_NODELAY all the same.
fn ignore_not_connected(error: io::Error) -> io::Result<()> {
    match error.kind() {
        ErrorKind::NotConnected => Ok(()),
        _ => Err(error),
    }
}

#[cfg(test)]
mod tests;
