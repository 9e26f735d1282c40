//! What is between clients and the program, and between the program and brokers: bytes on their way, in pieces of any
//! size, connections that are made late, refused, cut off.

use std::collections::BTreeMap;

use sealwire::testing::MemoryStream;
use sealwire::testing::simulated::{Dial, SimulatedPlatform};

use super::World;
use super::login_checks::Requests;
use super::trace::say;
use crate::dice::Dice;
use crate::wire::prefixed;
use crate::world::brokers::ConnectionId;
use crate::world::clients::LinkId;

/// A client's connection to the program.
pub(super) struct ClientLink {
    pub(super) stream: MemoryStream,
    to_program: Vec<u8>,
    to_client: Vec<u8>,
    /// The client has closed it: what still comes is dropped.
    left: bool,
    /// The node that it leads to, if not to any.
    node: Option<i32>,
    /// Bytes that the client has not read yet.
    unread: usize,
}

/// The program's connection to a broker.
pub(super) struct BrokerLink {
    stream: MemoryStream,
    to_broker: Vec<u8>,
    to_program: Vec<u8>,
    /// The broker has ended, and the program was told.
    ended: bool,
}

#[derive(Default)]
pub(super) struct Links {
    /// By the number of the client and its own number of the connection.
    pub(super) clients: BTreeMap<(usize, LinkId), ClientLink>,
    pub(super) brokers: BTreeMap<ConnectionId, BrokerLink>,
    dials: Vec<Dial>,
    /// Of every connection to a broker that there was.
    pub(super) requests: BTreeMap<ConnectionId, Requests>,
}

impl Links {
    /// A broker's connection ends, with some of what was on its way to the program.
    pub(super) fn cut(&mut self, connection: ConnectionId, dice: &mut Dice) {
        if let Some(link) = self.brokers.get_mut(&connection) {
            let left = dice.below(link.to_program.len() as u64 + 1) as usize;
            link.to_program.truncate(left);
        }
        if let Some(requests) = self.requests.get_mut(&connection) {
            requests.sent.clear();
        }
    }
}

impl ClientLink {
    pub(super) fn new(stream: MemoryStream, node: Option<i32>) -> Self {
        Self {
            stream,
            to_program: Vec::new(),
            to_client: Vec::new(),
            left: false,
            node,
            unread: 0,
        }
    }

    /// Whether either end has closed it.
    pub(super) fn is_over(&self) -> bool {
        self.left || self.stream.is_closed()
    }

    /// A whole request of a client, which is told by its client id: who it is and which node it wants.
    pub(super) fn send(&mut self, client: usize, request: &[u8]) {
        let (head, rest) = request.split_at(CLIENT_ID_AT);
        let (length, rest) = rest.split_first_chunk().expect("a client id");
        let rest = &rest[usize::from(u16::from_be_bytes(*length))..];
        let node = self.node.map_or("any".to_owned(), |node| node.to_string());
        let id = format!("{client}@{node}");
        let frame = [&head[4..], &(id.len() as u16).to_be_bytes(), id.as_bytes(), rest].concat();
        self.say(&prefixed(&frame));
    }

    /// What goes to the program first, or next.
    pub(super) fn say(&mut self, bytes: &[u8]) {
        self.to_program.extend(self.stream.sent(bytes, RECORD_BYTES));
    }
}

impl World {
    /// Gives pieces of what is on its way on; says whether there was anything.
    pub(super) fn carry(&mut self) -> bool {
        let dialled = self.answer_dials();
        let of_clients = self.carry_clients();
        let of_brokers = self.carry_brokers();
        dialled || of_clients || of_brokers
    }

    /// The program has ended well: what it had written arrives.
    pub(super) fn deliver_all(&mut self) {
        let now = self.program.now;
        for ((client, id), mut link) in std::mem::take(&mut self.links.clients) {
            link.to_client.extend(link.stream.take_written());
            if !link.left {
                self.digest.add(&link.to_client);
                self.client(client).received(id, &link.to_client, now);
                self.client(client).closed(id, now);
            }
        }
        for (connection, mut link) in std::mem::take(&mut self.links.brokers) {
            let written = link.stream.take_written();
            self.checks.broker_can_read(&link.to_broker, &written);
            self.digest.add(&written);
            link.to_broker.extend(written);
            self.brokers.receive(connection, &link.to_broker, now);
            self.brokers.end(connection);
        }
    }

    /// The program has crashed: nothing of any connection is left.
    pub(super) fn cut_all(&mut self) {
        let now = self.program.now;
        for ((client, link), _) in std::mem::take(&mut self.links.clients) {
            self.client(client).closed(link, now);
        }
        for connection in std::mem::take(&mut self.links.brokers).into_keys() {
            self.brokers.end(connection);
        }
        self.links.dials.clear();
    }

    fn answer_dials(&mut self) -> bool {
        self.links.dials.extend(SimulatedPlatform::take_dials());
        let mut answered = false;
        for dial in std::mem::take(&mut self.links.dials) {
            if !self.resting && self.dice.below(3) == 0 {
                self.links.dials.push(dial);
                continue;
            }
            answered = true;
            let address = dial.address();
            say(
                self.program.now,
                format_args!("the program connects to {address}"),
            );
            match self.brokers.connect(&address.ip().to_string(), address.port()) {
                None => dial.refuse(),
                Some(connection) => {
                    let stream = dial.accept(self.room);
                    self.encrypt_some(&stream);
                    let link = BrokerLink {
                        stream,
                        to_broker: Vec::new(),
                        to_program: Vec::new(),
                        ended: false,
                    };
                    self.links.brokers.insert(connection, link);
                }
            }
        }
        answered
    }

    /// Half of the connections speak TLS, or what is like it.
    pub(super) fn encrypt_some(&mut self, stream: &MemoryStream) {
        if self.dice.below(2) == 0 {
            stream.encrypt(1 << (6 + self.dice.below(9)));
        }
    }

    /// Somebody alters what one of the connections carries; whether that can be noticed.
    pub(super) fn alter(&mut self) -> bool {
        let of_clients = self.links.clients.values().map(|link| &link.stream);
        let streams: Vec<_> = of_clients
            .chain(self.links.brokers.values().map(|link| &link.stream))
            .collect();
        match streams.len() as u64 {
            0 => false,
            count => streams[self.dice.below(count) as usize].alter(),
        }
    }

    fn carry_clients(&mut self) -> bool {
        let (now, mut carried) = (self.program.now, false);
        let mut clients = std::mem::take(&mut self.links.clients);
        clients.retain(|key, link| {
            let written = link.stream.take_written();
            link.unread += written.len();
            // A client reads when it likes.
            if self.resting || self.dice.below(4) > 0 {
                link.stream.make_room(std::mem::take(&mut link.unread));
            }
            let is_over = link.stream.is_closed();
            if link.left {
                // A kernel says so when something comes for a socket that is closed.
                if !written.is_empty() {
                    link.stream.reset();
                }
                return !is_over;
            }
            link.to_client.extend(written);
            if !link.to_program.is_empty() {
                carried = true;
                let piece = self.dice.piece(&mut link.to_program, self.resting);
                link.stream.arrive_in_parts(&piece);
            }
            if !link.to_client.is_empty() {
                carried = true;
                let piece = self.dice.piece(&mut link.to_client, self.resting);
                self.digest.add(&piece);
                self.check_secrets_at_client(&piece);
                self.client(key.0).received(key.1, &piece, now);
            } else if is_over {
                carried = true;
                link.stream.end();
                say(now, format_args!("{key:?} is closed by the program"));
                self.client(key.0).closed(key.1, now);
                return false;
            }
            true
        });
        // A client may have opened none meanwhile: that takes its turn.
        self.links.clients = clients;
        carried
    }

    fn carry_brokers(&mut self) -> bool {
        let (now, mut carried) = (self.program.now, false);
        let mut brokers = std::mem::take(&mut self.links.brokers);
        brokers.retain(|connection, link| {
            let written = link.stream.take_written();
            link.stream.make_room(written.len());
            self.checks.broker_can_read(&link.to_broker, &written);
            self.check_secrets_at_broker(&written);
            let requests = self.links.requests.entry(*connection).or_default();
            requests.note(&written, now);
            self.digest.add(&written);
            link.to_broker.extend(written);
            if !link.to_broker.is_empty() {
                carried = true;
                let piece = self.dice.piece(&mut link.to_broker, self.resting);
                self.brokers.receive(*connection, &piece, now);
            }
            let output = self.brokers.take_output(*connection, now);
            link.to_program.extend(link.stream.sent(&output, RECORD_BYTES));
            if !link.to_program.is_empty() {
                carried = true;
                let piece = self.dice.piece(&mut link.to_program, self.resting);
                link.stream.arrive_in_parts(&piece);
                if link.to_program.is_empty() {
                    self.broker_heard(*connection);
                }
            } else if self.brokers.is_closed(*connection) && !link.ended {
                carried = true;
                link.ended = true;
                if self.dice.below(2) == 0 {
                    link.stream.end();
                } else {
                    link.stream.reset();
                }
            }
            if link.stream.is_closed() && link.to_broker.is_empty() {
                // It hears of our end as well, and has nobody to tell anything.
                link.stream.end();
                self.brokers.end(*connection);
                return false;
            }
            true
        });
        self.links.brokers = brokers;
        carried
    }

    /// A client has closed its end, with or without a word.
    pub(super) fn client_leaves(&mut self, key: (usize, LinkId)) {
        let is_polite = self.dice.below(2) == 0;
        if let Some(link) = self.links.clients.get_mut(&key) {
            say(self.program.now, format_args!("{key:?} is closed by the client"));
            link.left = true;
            if is_polite {
                link.stream.arrive_in_parts(&link.to_program);
                link.stream.end();
            } else {
                link.stream.reset();
            }
        }
    }
}

/// Shorter than TLS has them, so that most of what is sent takes several.
const RECORD_BYTES: u16 = 512;
/// Length, key, version, correlation id.
const CLIENT_ID_AT: usize = 4 + 2 + 2 + 4;
