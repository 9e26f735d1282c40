//! Addresses of brokers, as the proxy knows them and connects to them.
//!
//! - ADDRESS-2: an address is known to every executor before a client hears of its node: a response with news waits
//!   until the control thread has spread it.
//! - ADDRESS-3: an address from the configuration or the state file may be out of date: until a response has told it, a
//!   broker that is not reached or does not answer there is looked for through a bootstrap broker.

use std::collections::{HashMap, HashSet};

use super::hidden::NamedBrokers;
use super::listener_map::ListenerMap;
use crate::config::HostPort;
use crate::messages::LearnedAddress;
use crate::protocol::ProtocolError;
use crate::protocol::addresses::{BrokerEndpoint, is_host, visit};

/// The addresses of one cluster's brokers, by node id. Names, not IP addresses.
#[derive(Clone, Debug, Default)]
pub struct AddressBook {
    nodes: HashMap<i32, BookEntry>,
    /// What was told of these is not known to every executor yet.
    spreading: HashSet<i32>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct BookEntry {
    address: HostPort,
    /// A response of this process' time has told it (ADDRESS-3).
    told: bool,
    /// Every executor knows it (ADDRESS-2).
    spread: bool,
    /// How many addresses have been spread for this node; another one than before came in between where it differs.
    tellings: u64,
}

impl AddressBook {
    /// A book with these entries, which no response has told yet. What is no host is left out: a state file may say
    /// anything.
    pub fn new(entries: impl IntoIterator<Item = (i32, HostPort)>) -> Self {
        let untold = |(node_id, address)| {
            let entry = BookEntry {
                address,
                told: false,
                spread: true,
                tellings: 0,
            };
            (node_id, entry)
        };
        Self {
            nodes: entries
                .into_iter()
                .filter(|(_, address)| is_host(&address.host))
                .map(untold)
                .collect(),
            spreading: HashSet::new(),
        }
    }

    /// Where the broker is, as last heard.
    pub fn get(&self, node_id: i32) -> Option<&HostPort> {
        self.nodes.get(&node_id).map(|entry| &entry.address)
    }

    /// Whether a response has told the broker's address (ADDRESS-3).
    pub fn is_told(&self, node_id: i32) -> bool {
        self.nodes.get(&node_id).is_some_and(|entry| entry.told)
    }

    /// Whether a response has told that the broker is somewhere else than at `address`.
    pub fn contradicts(&self, node_id: i32, address: &HostPort) -> bool {
        self.nodes
            .get(&node_id)
            .is_some_and(|entry| entry.told && entry.address != *address)
    }

    /// Nobody answered at `address`: it is forgotten unless a response has told it (ADDRESS-3).
    pub fn doubt(&mut self, node_id: i32, address: &HostPort) {
        if self
            .nodes
            .get(&node_id)
            .is_some_and(|entry| !entry.told && entry.address == *address)
        {
            self.nodes.remove(&node_id);
        }
    }

    /// Notes where a broker is, as a response told it; says whether that is news. It is connected to there from now on,
    /// and clients are told of the node once it is [`Self::spread`].
    pub fn learn(&mut self, learned: LearnedAddress) -> bool {
        let LearnedAddress { node_id, address } = learned;
        if !self.has_room(node_id) {
            return false;
        }
        self.spreading.insert(node_id);
        let before = self.nodes.get(&node_id);
        if before.is_some_and(|entry| entry.told && entry.address == address) {
            return false;
        }
        let entry = BookEntry {
            address,
            told: true,
            spread: false,
            tellings: self.tellings(node_id),
        };
        self.nodes.insert(node_id, entry);
        true
    }

    /// Every executor has learned what this book has learned so far (ADDRESS-2).
    pub fn spread(&mut self) {
        for node_id in self.spreading.drain() {
            if let Some(entry) = self.nodes.get_mut(&node_id) {
                entry.spread = true;
                entry.tellings = entry.tellings.wrapping_add(1);
            }
        }
    }

    /// How many addresses have been spread for a node.
    pub(super) fn tellings(&self, node_id: i32) -> u64 {
        self.nodes.get(&node_id).map_or(0, |entry| entry.tellings)
    }

    /// All entries, by node id.
    pub fn entries(&self) -> Vec<(i32, &HostPort)> {
        let mut entries: Vec<_> = self
            .nodes
            .iter()
            .map(|(id, entry)| (*id, &entry.address))
            .collect();
        entries.sort_by_key(|(id, _)| *id);
        entries
    }

    /// What a response says of the listener's nodes that the book does not have yet; what it says of others goes to
    /// `named`.
    pub(super) fn news(
        &self,
        listener: &ListenerMap,
        api_key: i16,
        version: i16,
        frame: &[u8],
        named: &mut NamedBrokers,
    ) -> Result<Vec<LearnedAddress>, ProtocolError> {
        let mut news: Vec<LearnedAddress> = Vec::new();
        let mut seen = HashSet::new();
        visit(api_key, version, frame, &mut |endpoint| {
            let Ok(port) = u16::try_from(endpoint.port) else {
                return;
            };
            if port == 0 {
                return;
            }
            let learned = |endpoint: BrokerEndpoint<'_>| LearnedAddress {
                node_id: endpoint.node_id,
                address: HostPort {
                    host: endpoint.host.to_owned(),
                    port,
                },
            };
            if !listener.serves(endpoint.node_id) {
                return named.hidden(learned(endpoint));
            }
            named.served();
            let is_known = |entry: &BookEntry| {
                entry.told
                    && entry.spread
                    && entry.address.port == port
                    && entry.address.host == endpoint.host
            };
            if self.nodes.get(&endpoint.node_id).is_some_and(is_known) {
                return;
            }
            if self.has_room(endpoint.node_id) && seen.insert(endpoint.node_id) {
                news.push(learned(endpoint));
            }
        })?;
        Ok(news)
    }

    fn has_room(&self, node_id: i32) -> bool {
        self.nodes.len() < NODES_MAX || self.nodes.contains_key(&node_id)
    }
}

/// Brokers of one cluster that are remembered; the largest clusters have a few hundred.
const NODES_MAX: usize = 10_000;

#[cfg(test)]
mod tests {
    use super::*;

    /// ADDRESS-3.
    #[test]
    fn only_what_no_response_has_told_is_doubted() {
        let at = |port| HostPort {
            host: "kafka".to_owned(),
            port,
        };
        let mut book = AddressBook::new([(1, at(9092))]);
        assert!(!book.contradicts(1, &at(9093)), "it may be out of date");
        book.doubt(1, &at(9093));
        assert_eq!(book.get(1), Some(&at(9092)), "that was another address");
        book.doubt(1, &at(9092));
        assert_eq!(book.get(1), None);
        book.learn(LearnedAddress {
            node_id: 1,
            address: at(9092),
        });
        book.doubt(1, &at(9092));
        assert!(!book.contradicts(1, &at(9092)) && book.contradicts(1, &at(9093)));
    }

    /// ADDR-4
    #[test]
    fn what_is_no_host_in_a_state_file_is_left_out() {
        let at = |host: &str| HostPort {
            host: host.to_owned(),
            port: 9092,
        };
        let book = AddressBook::new([(1, at("kafka_1")), (2, at("a\nb")), (3, at(&"h".repeat(256)))]);
        assert_eq!(book.entries(), [(1, &at("kafka_1"))]);
    }

    #[test]
    fn a_full_book_still_follows_the_nodes_that_it_has() {
        let at = |node_id, port| LearnedAddress {
            node_id,
            address: HostPort {
                host: "kafka".to_owned(),
                port,
            },
        };
        let mut book = AddressBook::default();
        for node_id in 0..NODES_MAX as i32 {
            assert!(book.learn(at(node_id, 9092)));
        }
        assert!(!book.learn(at(-1, 9092)), "one more is not remembered");
        assert!(book.learn(at(7, 9093)) && !book.learn(at(7, 9093)));
        assert_eq!(book.get(7).map(|address| address.port), Some(9093));
    }
}
