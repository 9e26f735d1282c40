//! A cluster of brokers, as a client sees it by its connections: bytes in, bytes out, at the time that it is told.
//!
//! It knows what real brokers do with what the program rewrites: leaders and followers, addresses that move, producers
//! and their sequences, transactions and their markers, fetch sessions, quotas, restarts that lose what was not
//! replicated. It keeps what was stored and what was lost, and tells of each request and of each lie.
//!
//! - BROKERS-1: answers of a connection come in the order of its requests, and one request at a time is worked on.
//! - BROKERS-2: what was acknowledged by all that are in sync is never lost.
//! - deterministic: the same calls with the same seed have the same results.

mod batch_checks;
mod cluster;
mod connection;
mod fetch;
mod lies;
mod log;
mod logins;
mod metadata;
mod offsets;
mod partition;
mod produce;
mod producers;
mod requests;
mod sessions;
mod transaction_requests;
mod transactions;

#[cfg(test)]
mod tests;

use std::cell::Cell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use self::cluster::Cluster;
use self::connection::{Connection, Waiting};
use self::logins::{Asked, Judged};
use self::requests::{Outcome, client_id, key_and_version};

pub(crate) use self::lies::Lie;
pub(crate) use self::log::Stored;
pub(crate) use self::logins::{Ended, LoginTrouble, Logins, Verdict};

/// A connection to a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ConnectionId(pub(crate) u64);

/// What happened at a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    Request {
        node: i32,
        connection: ConnectionId,
        api_key: i16,
        api_version: i16,
        /// Of the whole frame.
        bytes: usize,
        at: Duration,
        client_id: String,
        /// Whose connection it is, where one has to log in.
        user: Option<String>,
    },
    /// A login at a node has ended.
    Login {
        /// The address that the program has reached it by.
        reached: String,
        connection: ConnectionId,
        ended: Ended,
        at: Duration,
    },
    /// A mechanism was chosen by the `number`th request of the connection, which was answered last at `answered`.
    LoginBegun {
        connection: ConnectionId,
        number: u64,
        answered: Duration,
    },
    /// A node closed the connection because its login was over when this request came, the `number`th.
    Late {
        connection: ConnectionId,
        number: u64,
        over: Duration,
        at: Duration,
    },
    /// A node closed the connection because no client may send what came.
    Outlaw {
        node: i32,
        api_key: i16,
        client_id: String,
        why: &'static str,
    },
    /// The node closed the connection because of what came: no client may send that.
    Malformed { node: i32, connection: ConnectionId },
    /// A batch was refused because of its bytes.
    BadBatch {
        node: i32,
        topic: String,
        partition: i32,
        code: i16,
    },
    /// A partition's records in an answer are not what is stored at that offset.
    Lie {
        node: i32,
        topic: String,
        partition: i32,
        offset: i64,
        lie: Lie,
    },
}

pub(crate) struct Brokers {
    cluster: Cluster,
    connections: BTreeMap<ConnectionId, Connection>,
    last_connection: u64,
    /// Bytes a second that each connection made from now on may have.
    quota: Option<u32>,
}

impl Brokers {
    /// Nodes, each at `10.0.0.<id>:9092`; topics, each with its number of partitions; on how many nodes each partition
    /// is.
    pub(crate) fn new(nodes: &[i32], topics: &[(&str, i32)], replicas: usize, seed: u64) -> Self {
        Self {
            cluster: Cluster::new(nodes, topics, replicas, seed),
            connections: BTreeMap::new(),
            last_connection: 0,
            quota: None,
        }
    }

    /// A connection to who is there now; `None` if nobody listens.
    pub(crate) fn connect(&mut self, host: &str, port: u16) -> Option<ConnectionId> {
        let is_there = |node: &cluster::Node| node.up && node.host == host && node.port == port;
        let (id, _) = self.cluster.nodes.iter().find(|(_, node)| is_there(node))?;
        self.last_connection += 1;
        let connection = ConnectionId(self.last_connection);
        let mut opened = Connection::new(*id, self.quota);
        opened.reached = format!("{host}:{port}");
        self.connections.insert(connection, opened);
        Some(connection)
    }

    /// The node that a connection reached.
    pub(crate) fn node(&self, id: ConnectionId) -> Option<i32> {
        self.connections.get(&id).map(|connection| connection.node)
    }

    pub(crate) fn receive(&mut self, id: ConnectionId, bytes: &[u8], now: Duration) {
        if let Some(connection) = self.connections.get_mut(&id)
            && !connection.closed
        {
            connection.input.extend_from_slice(bytes);
            self.advance(id, now);
        }
    }

    /// What goes out by now.
    pub(crate) fn take_output(&mut self, id: ConnectionId, now: Duration) -> Vec<u8> {
        self.advance(id, now);
        match self.connections.get_mut(&id) {
            Some(connection) => std::mem::take(&mut connection.output),
            None => Vec::new(),
        }
    }

    /// The node has closed it. What it had sent before is still there to be taken.
    pub(crate) fn is_closed(&self, id: ConnectionId) -> bool {
        self.connections
            .get(&id)
            .is_none_or(|connection| connection.closed)
    }

    /// The peer has closed it.
    pub(crate) fn end(&mut self, id: ConnectionId) {
        self.connections.remove(&id);
    }

    /// What happens without input: elections, replication, markers, and answers that are due or can be given now.
    pub(crate) fn tick(&mut self, now: Duration) {
        self.cluster.tick(now);
        let ids: Vec<_> = self.connections.keys().copied().collect();
        for id in ids {
            self.advance(id, now);
        }
    }

    /// When [`Self::tick`] has something to do that no input causes; a time that is past means at once.
    pub(crate) fn next_due(&self) -> Option<Duration> {
        let connections = self.connections.values().filter_map(Connection::next_due);
        connections.chain(self.cluster.next_due()).min()
    }

    /// Answers what can be answered, request after request.
    fn advance(&mut self, id: ConnectionId, now: Duration) {
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        let (node, cluster) = (connection.node, &mut self.cluster);
        while !connection.closed && connection.is_heard(now) {
            let Some(waiting) = &mut connection.waiting else {
                if begin_next(cluster, id, connection, now) {
                    continue;
                }
                return;
            };
            if connection.looked_at == cluster.changes && now < waiting.due() {
                return;
            }
            connection.looked_at = cluster.changes;
            let answer = match waiting {
                Waiting::Produce(waiting) => cluster.answer_produce(node, waiting, now),
                Waiting::Fetch(waiting) => cluster.answer_fetch(node, waiting, &mut connection.quota, now),
            };
            let Some(answer) = answer else { return };
            connection.waiting = None;
            connection.send(answer, now);
        }
    }
}

/// Takes the next request of a connection on; whether there was one.
fn begin_next(cluster: &mut Cluster, id: ConnectionId, connection: &mut Connection, now: Duration) -> bool {
    let node = connection.node;
    let outcome = match connection.next_frame() {
        Ok(None) => return false,
        Ok(Some(frame)) => {
            let (api_key, api_version) = key_and_version(&frame);
            connection.requests += 1;
            if cluster.logins.is_some() && !judge(cluster, id, connection, &frame, now) {
                return true;
            }
            cluster.events.push(Event::Request {
                node,
                connection: id,
                api_key,
                api_version,
                bytes: frame.len(),
                at: now,
                client_id: client_id(&frame),
                user: connection.login.user.clone(),
            });
            cluster.receive(node, &frame, &mut connection.quota, now)
        }
        Err(malformed) => Err(malformed),
    };
    match outcome {
        Ok(Outcome::Answer(answer)) => connection.send(answer, now),
        Ok(Outcome::Nothing) => {}
        Ok(Outcome::Close) => connection.close(),
        Ok(Outcome::Waits(waiting)) => {
            connection.waiting = Some(waiting);
            connection.looked_at = cluster.changes;
        }
        Err(connection::Malformed) => {
            connection.close();
            cluster.events.push(Event::Malformed { node, connection: id });
        }
    }
    true
}

/// Whether a request may be served; what is one of a login is answered here.
fn judge(
    cluster: &mut Cluster,
    id: ConnectionId,
    connection: &mut Connection,
    frame: &[u8],
    now: Duration,
) -> bool {
    let Some(logins) = &cluster.logins else {
        return true;
    };
    let asked = Asked {
        frame,
        number: connection.requests,
        now,
    };
    let (judged, ended) = logins.judge(&mut connection.login, &asked, &mut cluster.dice);
    let (api_key, _) = key_and_version(frame);
    if api_key == SASL_HANDSHAKE {
        cluster.events.push(Event::LoginBegun {
            connection: id,
            number: asked.number,
            answered: connection.answered,
        });
    }
    cluster.events.extend(ended.map(|ended| Event::Login {
        reached: connection.reached.clone(),
        connection: id,
        ended,
        at: now,
    }));
    match judged {
        Judged::Passes => return true,
        Judged::Answered(answer) => connection.send(answer.into(), now),
        Judged::Refused(answer) => {
            connection.send(answer.into(), now);
            connection.close();
        }
        Judged::Silent => {}
        Judged::Closed => connection.close(),
        Judged::Late(over) => {
            connection.close();
            cluster.events.push(Event::Late {
                connection: id,
                number: asked.number,
                over,
                at: now,
            });
        }
        Judged::Outlaw(why) => {
            connection.close();
            cluster.events.push(Event::Outlaw {
                node: connection.node,
                api_key,
                client_id: client_id(frame),
                why,
            });
        }
    }
    false
}

const SASL_HANDSHAKE: i16 = 17;

/// Faults.
impl Brokers {
    /// The node is gone, with its connections and sessions; sometimes with what it had sent on them.
    pub(crate) fn stop(&mut self, node: i32) {
        self.cluster.stop(node);
        for connection in self
            .connections
            .values_mut()
            .filter(|connection| connection.node == node)
        {
            connection.close();
            if self.cluster.dice.below(2) == 0 {
                connection.output.clear();
            }
        }
    }

    /// From now on one has to log in, on new connections.
    pub(crate) fn set_logins(&mut self, logins: Logins) {
        self.cluster.logins = Some(logins);
    }

    /// How one logs in, where one has to.
    pub(crate) fn logins(&mut self) -> Option<&mut Logins> {
        self.cluster.logins.as_mut()
    }

    /// The node ends a connection, in the middle of whatever it is at.
    pub(crate) fn cut(&mut self, id: ConnectionId) {
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.close();
        }
    }

    pub(crate) fn start(&mut self, node: i32) {
        self.cluster.start(node);
    }

    /// Starts those that are down.
    pub(crate) fn start_all(&mut self) {
        let nodes = self.cluster.nodes.iter();
        let down: Vec<i32> = nodes.filter(|(_, node)| !node.up).map(|(id, _)| *id).collect();
        down.into_iter().for_each(|node| self.start(node));
    }

    pub(crate) fn is_up(&self, node: i32) -> bool {
        self.cluster.nodes[&node].up
    }

    pub(crate) fn address(&self, node: i32) -> (&str, u16) {
        let node = &self.cluster.nodes[&node];
        (&node.host, node.port)
    }

    pub(crate) fn swap_addresses(&mut self, one: i32, other: i32) {
        let nodes = &mut self.cluster.nodes;
        let address =
            |nodes: &BTreeMap<i32, cluster::Node>, id: i32| (nodes[&id].host.clone(), nodes[&id].port);
        let (of_one, of_other) = (address(nodes, one), address(nodes, other));
        for (id, (host, port)) in [(one, of_other), (other, of_one)] {
            let node = nodes.get_mut(&id).unwrap();
            (node.host, node.port) = (host, port);
        }
    }

    pub(crate) fn move_address(&mut self, node: i32, port: u16) {
        self.cluster.nodes.get_mut(&node).unwrap().port = port;
    }

    /// Another leader for some partition, if one can have one.
    pub(crate) fn move_leader(&mut self) {
        self.cluster.move_leader();
    }

    /// As a node does when too many sessions are open.
    pub(crate) fn evict_sessions(&mut self, node: i32) {
        self.cluster.evict_sessions(node);
    }

    /// Every answer says of this node that it is somewhere else, where nobody is.
    pub(crate) fn set_restless(&mut self, node: Option<i32>) {
        self.cluster.restless = node.map(|node| (node, Cell::default()));
    }

    /// A few per cent of the answers about these topics are lies of these kinds; none with an empty list.
    pub(crate) fn set_lying(&mut self, lies: &[Lie], topics: &[&str]) {
        self.cluster.lying.lies = lies.to_vec();
        self.cluster.lying.topics = topics.iter().map(|topic| (*topic).to_owned()).collect();
    }

    /// What each connection may have a second from now on.
    pub(crate) fn set_quota(&mut self, bytes_per_second: Option<u32>) {
        self.quota = bytes_per_second;
        for connection in self.connections.values_mut() {
            connection.quota.bytes_per_second = bytes_per_second;
        }
    }

    /// `max.message.bytes` of all topics.
    pub(crate) fn set_max_message_bytes(&mut self, bytes: usize) {
        self.cluster.max_message_bytes = bytes;
    }
}

/// For checks.
impl Brokers {
    /// The log of a partition as its leader has it.
    pub(crate) fn log(&self, topic: &str, partition: i32) -> &[Rc<Stored>] {
        self.cluster
            .partition((topic, partition))
            .unwrap()
            .leading()
            .log
            .batches()
    }

    /// Up to where everybody may read.
    pub(crate) fn high_watermark(&self, topic: &str, partition: i32) -> i64 {
        self.cluster
            .partition((topic, partition))
            .unwrap()
            .leading()
            .high_watermark
    }

    /// What elections have taken from the partition's log, in their order.
    pub(crate) fn lost(&self, topic: &str, partition: i32) -> &[Rc<Stored>] {
        &self.cluster.partition((topic, partition)).unwrap().lost
    }

    pub(crate) fn leader(&self, topic: &str, partition: i32) -> i32 {
        self.cluster.partition((topic, partition)).unwrap().leader
    }

    /// What has happened since it was asked last.
    pub(crate) fn take_events(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.cluster.events)
    }
}
