//! Connections, frames and bytes.

use super::reason::{BrokerLoginKind, BrokerLoginResult, CloseReason, RequestRefusal, labels};

labels! {
    /// Which way something goes.
    Direction {
        /// From client to broker.
        Request => "request",
        /// From broker to client.
        Response => "response",
    }
}

/// Connections of clients. The connection to the broker lives and dies with it and is not counted apart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConnectionCounters {
    /// Connections taken over from the acceptor.
    pub accepted: u64,
    /// Connections to brokers that were established.
    pub broker_connected: u64,
    /// Coordinators of groups and transactions that clients were not told of, since no listener's `nodes` has them.
    pub coordinators_hidden: u64,
    /// Clients that have ended a TLS connection without saying so (close_notify).
    pub clients_unannounced: u64,
    /// Brokers that have.
    pub brokers_unannounced: u64,
    /// Logins that ended at the proxy, and well.
    pub logins_accepted: u64,
    /// Those that did not.
    pub logins_refused: u64,
    broker_logins: [[u64; BrokerLoginResult::COUNT]; BrokerLoginKind::COUNT],
    requests_refused: [u64; RequestRefusal::COUNT],
    closed: [u64; CloseReason::COUNT],
}

impl ConnectionCounters {
    /// Counts a connection that came in.
    pub fn accept(&mut self) {
        self.accepted = self.accepted.wrapping_add(1);
    }

    /// Counts a connection to a broker that was established.
    pub fn reach_broker(&mut self) {
        self.broker_connected = self.broker_connected.wrapping_add(1);
    }

    /// Counts a connection that ended.
    pub fn closed(&mut self, reason: CloseReason) {
        // INVARIANT: the array has one place for every reason.
        let count = &mut self.closed[reason.index()];
        *count = count.wrapping_add(1);
    }

    /// Counts a connection whose client, or whose broker, has ended TLS without saying so.
    pub fn ended_unannounced(&mut self, client: bool, broker: bool) {
        self.clients_unannounced = self.clients_unannounced.wrapping_add(client.into());
        self.brokers_unannounced = self.brokers_unannounced.wrapping_add(broker.into());
    }

    /// Counts a request that was not its client's to send.
    pub fn refuse_request(&mut self, reason: RequestRefusal) {
        // INVARIANT: the array has one place for every reason.
        let count = &mut self.requests_refused[reason.index()];
        *count = count.wrapping_add(1);
    }

    /// How many such there were for `reason`.
    pub fn requests_refused(&self, reason: RequestRefusal) -> u64 {
        self.requests_refused[reason.index()]
    }

    /// Counts a login that ended at the proxy.
    pub fn login(&mut self, accepted: bool) {
        self.logins_accepted = self.logins_accepted.wrapping_add(accepted.into());
        self.logins_refused = self.logins_refused.wrapping_add((!accepted).into());
    }

    /// Counts a login of the proxy's own at a broker.
    pub fn broker_login(&mut self, kind: BrokerLoginKind, result: BrokerLoginResult) {
        // INVARIANT: the arrays have one place for every kind and result.
        let count = &mut self.broker_logins[kind.index()][result.index()];
        *count = count.wrapping_add(1);
    }

    /// How many logins of that kind at brokers have ended so.
    pub fn broker_logins(&self, kind: BrokerLoginKind, result: BrokerLoginResult) -> u64 {
        self.broker_logins[kind.index()][result.index()]
    }

    /// How many ended for `reason`.
    pub fn closed_by(&self, reason: CloseReason) -> u64 {
        self.closed[reason.index()]
    }

    /// How many are open now.
    pub fn open(&self) -> u64 {
        let closed = self
            .closed
            .iter()
            .fold(0u64, |sum, count| sum.wrapping_add(*count));
        self.accepted.wrapping_sub(closed)
    }

    pub(super) fn merge(&mut self, other: &Self) {
        self.accepted = self.accepted.wrapping_add(other.accepted);
        self.broker_connected = self.broker_connected.wrapping_add(other.broker_connected);
        self.coordinators_hidden = self.coordinators_hidden.wrapping_add(other.coordinators_hidden);
        self.clients_unannounced = self.clients_unannounced.wrapping_add(other.clients_unannounced);
        self.brokers_unannounced = self.brokers_unannounced.wrapping_add(other.brokers_unannounced);
        self.logins_accepted = self.logins_accepted.wrapping_add(other.logins_accepted);
        self.logins_refused = self.logins_refused.wrapping_add(other.logins_refused);
        for (count, added) in self.requests_refused.iter_mut().zip(other.requests_refused) {
            *count = count.wrapping_add(added);
        }
        let others = other.broker_logins.iter().flatten();
        for (count, added) in self.broker_logins.iter_mut().flatten().zip(others) {
            *count = count.wrapping_add(*added);
        }
        for (count, added) in self.closed.iter_mut().zip(other.closed) {
            *count = count.wrapping_add(added);
        }
    }
}

/// Frames of one direction by API key, and the bytes of both sockets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FrameCounters {
    by_api: [u64; API_KEYS + 1],
    /// Bytes read from the side that sends in this direction, length prefixes included.
    pub bytes_in: u64,
    /// Bytes written to the side that receives in this direction, length prefixes included.
    pub bytes_out: u64,
}

impl Default for FrameCounters {
    fn default() -> Self {
        Self {
            by_api: [0; API_KEYS + 1],
            bytes_in: 0,
            bytes_out: 0,
        }
    }
}

impl FrameCounters {
    /// Counts one frame; keys outside 0..128 share one place.
    pub fn frame(&mut self, api_key: i16) {
        let place = usize::try_from(api_key).unwrap_or(API_KEYS).min(API_KEYS);
        // INVARIANT: `place` is at most API_KEYS, the last of API_KEYS + 1 places.
        let count = &mut self.by_api[place];
        *count = count.wrapping_add(1);
    }

    /// Counts bytes that were read.
    pub fn read(&mut self, bytes: usize) {
        self.bytes_in = self.bytes_in.wrapping_add(bytes as u64);
    }

    /// Counts bytes that were written.
    pub fn written(&mut self, bytes: usize) {
        self.bytes_out = self.bytes_out.wrapping_add(bytes as u64);
    }

    /// The counts that are not zero: `None` is the shared place of keys outside 0..128.
    pub fn by_api(&self) -> impl Iterator<Item = (Option<i16>, u64)> + '_ {
        self.by_api.iter().enumerate().filter_map(|(place, count)| {
            let key = i16::try_from(place).ok().filter(|_| place < API_KEYS);
            (*count > 0).then_some((key, *count))
        })
    }

    pub(super) fn merge(&mut self, other: &Self) {
        for (count, added) in self.by_api.iter_mut().zip(other.by_api) {
            *count = count.wrapping_add(added);
        }
        self.bytes_in = self.bytes_in.wrapping_add(other.bytes_in);
        self.bytes_out = self.bytes_out.wrapping_add(other.bytes_out);
    }
}

/// Kafka 4.4's highest API key is 92; twice the room for what comes.
const API_KEYS: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_at_and_past_the_bound_are_told_apart() {
        let mut frames = FrameCounters::default();
        for key in [0, 127, 128, i16::MAX, -1, i16::MIN] {
            frames.frame(key);
        }
        let counts: Vec<_> = frames.by_api().collect();
        assert_eq!(counts, [(Some(0), 1), (Some(127), 1), (None, 4)]);
    }

    #[test]
    fn open_is_accepted_less_closed() {
        let mut connections = ConnectionCounters {
            accepted: 3,
            ..ConnectionCounters::default()
        };
        connections.closed(CloseReason::Idle);
        connections.closed(CloseReason::Drain);
        assert_eq!(connections.open(), 1);
        assert_eq!(connections.closed_by(CloseReason::Idle), 1);
    }
}
