//! Brokers that there are and that a listener does not serve: its clients are told nothing of them (ADDRESS-1).
//!
//! - HIDDEN-1: what is hidden is what the last list of brokers named and the listener does not serve; a list that names
//!   nobody says nothing.
//! - HIDDEN-2: it is news when it changes, once for each listener until the news are taken.
//! - HIDDEN-3: while any is hidden, whichever executor was told of it, fetch requests that lie at hand whole do not say
//!   in which rack the client is: a broker would send it to a replica that it cannot see, again and again, and give it
//!   nothing.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::listener_map::ListenerMap;
use crate::messages::{HiddenBrokers, LearnedAddress};

/// What the listeners of one cluster hide; see the module.
#[derive(Default)]
pub(super) struct HiddenByListener {
    listeners: HashMap<Arc<str>, Vec<LearnedAddress>>,
    news: Vec<HiddenBrokers>,
}

/// The brokers of one list, as it is read.
#[derive(Default)]
pub(super) struct NamedBrokers {
    /// Any that the listener serves.
    served: bool,
    hidden: BTreeMap<i32, LearnedAddress>,
}

impl NamedBrokers {
    pub(super) fn served(&mut self) {
        self.served = true;
    }

    pub(super) fn hidden(&mut self, learned: LearnedAddress) {
        if self.hidden.len() < HIDDEN_MAX {
            self.hidden.insert(learned.node_id, learned);
        }
    }
}

impl HiddenByListener {
    /// Takes note of a list of brokers (HIDDEN-1).
    pub(super) fn note(&mut self, listener: &ListenerMap, named: NamedBrokers) {
        let NamedBrokers { served, hidden } = named;
        if !served && hidden.is_empty() {
            return;
        }
        listener.set_hides(!hidden.is_empty());
        let hidden: Vec<LearnedAddress> = hidden.into_values().collect();
        if self.listeners.get(&listener.name).map_or(&[][..], Vec::as_slice) == hidden {
            return;
        }
        self.listeners.insert(Arc::clone(&listener.name), hidden.clone());
        self.news.retain(|news| news.listener != listener.name);
        let hidden_ids = hidden.iter().map(|learned| learned.node_id);
        let mut wanted: Vec<i32> = listener.nodes().chain(hidden_ids).collect();
        wanted.sort_unstable();
        self.news.push(HiddenBrokers {
            cluster: listener.cluster,
            listener: Arc::clone(&listener.name),
            hidden,
            wanted,
        });
    }

    /// What has changed since the last call (HIDDEN-2).
    pub(super) fn take_news(&mut self) -> Vec<HiddenBrokers> {
        std::mem::take(&mut self.news)
    }
}

/// Hidden brokers that are named, of one listener.
const HIDDEN_MAX: usize = 1000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{ClientAuth, HostPort, ListenerConfig};
    use crate::ids::{ClusterId, Id as _, ListenerId};

    fn named(served: bool, hidden: &[i32]) -> NamedBrokers {
        let mut named = NamedBrokers::default();
        if served {
            named.served();
        }
        for node_id in hidden {
            named.hidden(LearnedAddress {
                node_id: *node_id,
                address: HostPort {
                    host: "kafka".to_owned(),
                    port: 9092,
                },
            });
        }
        named
    }

    /// HIDDEN-1, HIDDEN-2, HIDDEN-3
    #[test]
    fn what_one_executor_was_told_holds_for_all_and_nodes_that_are_down_stay() {
        let listener = ListenerMap::new(
            ClusterId::from_number(0),
            &ListenerConfig {
                id: ListenerId::from_number(0),
                name: "lan".to_owned(),
                listen: ([127, 0, 0, 1], 9192).into(),
                client_auth: ClientAuth::Network,
                sasl: None,
                tls: None,
                proxy_protocol_sources: None,
                advertised_host: "proxy".to_owned(),
                bootstrap_host: None,
                nodes: vec![2, 0, 1],
                node_ports: vec![9195, 9193, 9194],
            },
        );
        let elsewhere = listener.clone();
        let mut one = HiddenByListener::default();
        one.note(&listener, named(true, &[101]));
        assert!(elsewhere.hides());
        let news = one.take_news();
        assert_eq!(news.len(), 1);
        assert_eq!(news[0].wanted, [0, 1, 2, 101]);
        one.note(&listener, named(true, &[101]));
        assert_eq!(one.take_news(), []);
        one.note(&listener, named(false, &[]));
        assert!(elsewhere.hides(), "a list that names nobody says nothing");

        let mut other = HiddenByListener::default();
        other.note(&elsewhere, named(true, &[]));
        assert!(!listener.hides());
        other.note(&elsewhere, named(true, &[7]));
        one.note(&listener, named(true, &[101]));
        assert!(elsewhere.hides());
    }
}
