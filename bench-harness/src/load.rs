//! Load and sink in one thread: clients that keep one request in flight each, and the stand-in broker that answers
//! them.
//!
//! Both ends sit in one event loop on one core, so that the relay between them has the other core to itself. Payload is
//! not copied on either side: it is written from one shared buffer and discarded by the kernel (`MSG_TRUNC`, tcp(7)).

mod connection;

use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::time::{Duration, Instant};

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};

use self::connection::{Connection, Progress, Received, Side};
use crate::{Failure, wire};

/// What the clients of one relay send, and what the broker answers.
#[derive(Clone)]
pub(crate) struct Exchange {
    /// The clients' request.
    pub(crate) request: Rc<[u8]>,
    /// The broker's response; its correlation id is put in.
    pub(crate) response: Rc<[u8]>,
}

/// The event loop.
pub(crate) struct Load {
    poll: Poll,
    events: Events,
    listener: TcpListener,
    port: u16,
    connections: Vec<Option<Connection>>,
    /// What is driven now, and on which group of clients.
    driven: Option<(usize, Exchange)>,
    /// What the broker answers, also after driving has stopped.
    response: Rc<[u8]>,
    exchanges: u64,
    /// Length of the responses that count; anything else is a refusal.
    response_bytes: Option<usize>,
    /// The last produce request that the broker got, where it is wanted.
    capture: Option<Vec<u8>>,
    capturing: bool,
    buffer: Vec<u8>,
}

/// Where the clients' addresses begin: every relay is reached by its port on 127.0.0.1.
fn local(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

const LISTENER: Token = Token(usize::MAX);

impl Load {
    /// A broker without clients yet.
    pub(crate) fn new() -> Result<Self, Failure> {
        let poll = Poll::new()?;
        let mut listener = TcpListener::bind(local(0))?;
        poll.registry()
            .register(&mut listener, LISTENER, Interest::READABLE)?;
        Ok(Self {
            port: listener.local_addr()?.port(),
            poll,
            events: Events::with_capacity(1024),
            listener,
            connections: Vec::new(),
            driven: None,
            response: Rc::from([]),
            exchanges: 0,
            response_bytes: None,
            capture: None,
            capturing: false,
            buffer: vec![0; 64 << 10],
        })
    }

    /// Where the broker listens.
    pub(crate) fn broker_port(&self) -> u16 {
        self.port
    }

    /// Opens `count` client connections to the relay at `port`, which `group` names from then on, and says hello on
    /// each.
    pub(crate) fn connect(&mut self, group: usize, port: u16, count: usize) -> Result<(), Failure> {
        let hello: Rc<[u8]> = Rc::from(wire::api_versions_request()?);
        // In portions: a relay's backlog is finite.
        for portion in (0..count).collect::<Vec<_>>().chunks(128) {
            for _ in portion {
                let stream = TcpStream::connect(local(port))?;
                let token = self.add(stream, Side::Client { group })?;
                if let Some(Some(connection)) = self.connections.get_mut(token) {
                    connection.send(&hello, None);
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
                .is_some_and(|connection| connection.side == (Side::Client { group }))
            {
                *connection = None;
            }
        }
    }

    /// One exchange on one client of `group`: the response, and the request as the broker got it.
    pub(crate) fn once(&mut self, group: usize, exchange: &Exchange) -> Result<(Vec<u8>, Vec<u8>), Failure> {
        self.response = Rc::clone(&exchange.response);
        (self.capturing, self.capture) = (true, None);
        let client = self.client(group).ok_or("no client to send with")?;
        client.keep = Some(Vec::new());
        client.send(&exchange.request, None);
        let done = self.settle();
        self.capturing = false;
        let response = self.client(group).and_then(|client| client.keep.take());
        done?;
        Ok((
            response.unwrap_or_default(),
            self.capture.take().unwrap_or_default(),
        ))
    }

    /// Keeps every client of `group` busy with `exchange`, whose responses have `response_bytes`, until [`Self::stop`].
    pub(crate) fn start(&mut self, group: usize, exchange: &Exchange, response_bytes: usize) {
        self.response = Rc::clone(&exchange.response);
        self.response_bytes = Some(response_bytes);
        self.driven = Some((group, exchange.clone()));
        for connection in self.connections.iter_mut().flatten() {
            if connection.side == (Side::Client { group }) {
                connection.send(&exchange.request, None);
            }
        }
    }

    /// Runs for `duration`; how many exchanges were completed in it.
    pub(crate) fn run(&mut self, duration: Duration) -> Result<u64, Failure> {
        let before = self.exchanges;
        let deadline = Instant::now() + duration;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(self.exchanges - before);
            }
            self.turn(left)?;
        }
    }

    /// Sends nothing new and waits until every request has been answered.
    pub(crate) fn stop(&mut self) -> Result<(), Failure> {
        self.driven = None;
        self.settle()?;
        self.response_bytes = None;
        Ok(())
    }

    fn client(&mut self, group: usize) -> Option<&mut Connection> {
        let mut connections = self.connections.iter_mut().flatten();
        connections.find(|connection| connection.side == (Side::Client { group }))
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
                Token(place) => self.advance(place)?,
            }
        }
        Ok(())
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

    fn add(&mut self, mut stream: TcpStream, side: Side) -> Result<usize, Failure> {
        let place = match self.connections.iter().position(Option::is_none) {
            Some(free) => free,
            None => {
                self.connections.push(None);
                self.connections.len() - 1
            }
        };
        let interest = Interest::READABLE | Interest::WRITABLE;
        self.poll
            .registry()
            .register(&mut stream, Token(place), interest)?;
        stream.set_nodelay(true).or_else(ignore_not_connected)?;
        if let Some(slot) = self.connections.get_mut(place) {
            *slot = Some(Connection::new(stream, side));
        }
        Ok(place)
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
            Some(Side::Client { .. }) => Err("the relay closed a connection".into()),
            _ => Ok(()),
        }
    }

    fn received(&mut self, place: usize, received: Received) -> Result<(), Failure> {
        let Some(Some(connection)) = self.connections.get_mut(place) else {
            return Ok(());
        };
        match connection.side {
            Side::Broker => {
                let payload = matches!(received.api_key, PRODUCE | FETCH);
                if received.api_key == PRODUCE && self.capturing {
                    self.capture = received.frame.clone();
                }
                if payload {
                    connection.send(&self.response, Some(received.correlation_id));
                } else {
                    let frame = received
                        .frame
                        .ok_or("a request was discarded that has to be answered")?;
                    connection.send(&Rc::from(wire::answer(&frame, self.port)?), None);
                }
            }
            Side::Client { group } => {
                let Some((driven, exchange)) = &self.driven else {
                    return self.check(received.bytes);
                };
                if *driven == group {
                    connection.send(&exchange.request, None);
                    self.exchanges += 1;
                }
                self.check(received.bytes)?;
            }
        }
        Ok(())
    }

    fn check(&self, bytes: usize) -> Result<(), Failure> {
        match self.response_bytes {
            Some(expected) if expected != bytes => Err(format!(
                "a response has {bytes} bytes instead of {expected}: something was refused"
            )
            .into()),
            _ => Ok(()),
        }
    }
}

const PRODUCE: i16 = 0;
const FETCH: i16 = 1;

/// A request that is not answered for so long is lost.
const PATIENCE: Duration = Duration::from_secs(20);

/// A client's socket is still connecting when its options are set; Linux takes TCP_NODELAY all the same.
fn ignore_not_connected(error: io::Error) -> io::Result<()> {
    match error.kind() {
        ErrorKind::NotConnected => Ok(()),
        _ => Err(error),
    }
}
