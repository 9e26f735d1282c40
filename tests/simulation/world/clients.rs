//! Models of Kafka clients: what they ask, of whom, in which order, and what they make of the answers.
//!
//! ```text
//! Producer, Consumer --> Network --> Action    bytes of whole requests, connections to open and to close
//!                   <-- Event <--    received, connected, failed, closed
//! ```
//!
//! - pure: the time is a parameter, and nothing is drawn but from the [`Dice`]; bytes come in pieces of any size.
//! - what no client would take is a panic: answers out of order, partitions that were not asked for, codes that a
//!   client does not know.
//! - after anything has come in a client acts: [`Client::next_due`] tells of nothing that is due already.

pub(crate) mod account;
mod asker;
pub(crate) mod consumer;
mod errors;
pub(crate) mod network;
pub(crate) mod producer;
#[cfg(test)]
mod tests;
pub(crate) mod value;

use std::collections::BTreeMap;
use std::time::Duration;

pub(crate) use self::asker::Asker;
pub(crate) use self::consumer::Consumer;
use self::network::{Address, Network};
pub(crate) use self::producer::Producer;
use crate::dice::Dice;

/// A client's own number of one of its connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct LinkId(pub(crate) u32);

/// What a client does to the network.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Connect { id: LinkId, host: String, port: u16 },
    Send { id: LinkId, bytes: Vec<u8> },
    Close { id: LinkId },
}

/// A topic and a partition.
pub(crate) type Place = (String, i32);

/// Whose manners a client has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Family {
    /// Asks a bootstrap address for Metadata, then connects to the nodes that lead something; one request for all
    /// partitions of a node; honours throttling; incremental fetch sessions.
    Java,
    /// Connects to all nodes at once and asks one of them for Metadata; one partition for each Produce request, and
    /// never two batches of a partition under way; no fetch sessions.
    Librdkafka,
}

/// What every client is told.
#[derive(Clone, Debug)]
pub(crate) struct ClientSettings {
    pub(crate) family: Family,
    pub(crate) bootstrap: Vec<Address>,
    /// The partitions that it uses.
    pub(crate) places: Vec<Place>,
    pub(crate) request_timeout: Duration,
}

impl ClientSettings {
    /// One for each partition.
    fn by_place<T: Default>(&self) -> BTreeMap<Place, T> {
        let places = self.places.iter().cloned();
        places.map(|place| (place, T::default())).collect()
    }
}

/// One client.
pub(crate) trait Client {
    fn network(&mut self) -> &mut Network;

    /// Takes in what has come, and does what is due.
    fn act(&mut self, now: Duration, dice: &mut Dice) -> Vec<Action>;

    /// When there is something to do that nothing from outside causes.
    fn next_due(&self) -> Option<Duration>;

    /// Begins nothing new from now on; what is begun is ended.
    fn rest(&mut self);

    /// Whether all that was begun has ended.
    fn is_done(&self) -> bool;

    fn connected(&mut self, id: LinkId, now: Duration) {
        self.network().connected(id, now);
    }

    /// Nobody listens there, or the connection could not be made.
    fn failed(&mut self, id: LinkId, now: Duration) {
        self.network().ended(id, now);
    }

    fn received(&mut self, id: LinkId, bytes: &[u8], now: Duration) {
        self.network().received(id, bytes, now);
    }

    /// The peer has closed the connection.
    fn closed(&mut self, id: LinkId, now: Duration) {
        self.network().ended(id, now);
    }
}
