//! Brokers that there are and that a listener does not serve: its clients are told nothing of them (ADDRESS-1).
//!
//! - HIDDEN-1: what is hidden is what the last list of brokers named and the listener does not serve; a list that names nobody says
//!   nothing.
//! - HIDDEN-2: it is news when it changes, once for each listener until the news are taken.
//! - HIDDEN-3: while any is hidden, fetch requests that lie at hand whole do not say in which rack the client is: a broker would
//!   send it to a replica that it cannot see, again and again, and give it nothing.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::addresses::{LearnedAddress, ListenerMap};

/// What one listener hides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HiddenBrokers {
    /// Position of the cluster in the configuration.
    pub cluster: usize,
    pub listener: Arc<str>,
    /// Ascending by node id; at most [`HIDDEN_MAX`].
    pub hidden: Vec<LearnedAddress>,
    /// The ids of all brokers that were named, ascending.
    pub named: Vec<i32>,
}

/// What the listeners of one executor hide; see the module.
#[derive(Default)]
pub(super) struct Hidden {
    listeners: HashMap<(usize, Arc<str>), Vec<LearnedAddress>>,
    news: Vec<HiddenBrokers>,
}

/// The brokers of one list, as it is read.
#[derive(Default)]
pub(super) struct NamedBrokers {
    served: Vec<i32>,
    hidden: BTreeMap<i32, LearnedAddress>,
}

impl NamedBrokers {
    pub(super) fn served(&mut self, node_id: i32) {
        self.served.push(node_id);
    }

    pub(super) fn hidden(&mut self, learned: LearnedAddress) {
        if self.hidden.len() < HIDDEN_MAX {
            self.hidden.insert(learned.node_id, learned);
        }
    }
}

impl Hidden {
    /// Takes note of a list of brokers (HIDDEN-1).
    pub(super) fn note(&mut self, listener: &ListenerMap, named: NamedBrokers) {
        let NamedBrokers { mut served, hidden } = named;
        let key = (listener.cluster, Arc::clone(&listener.name));
        if served.is_empty() && hidden.is_empty() {
            return;
        }
        let hidden: Vec<LearnedAddress> = hidden.into_values().collect();
        if self.listeners.get(&key).map_or(&[][..], Vec::as_slice) == hidden {
            return;
        }
        self.listeners.insert(key, hidden.clone());
        self.news
            .retain(|news| news.cluster != listener.cluster || news.listener != listener.name);
        served.extend(hidden.iter().map(|learned| learned.node_id));
        served.sort_unstable();
        served.dedup();
        self.news.push(HiddenBrokers {
            cluster: listener.cluster,
            listener: Arc::clone(&listener.name),
            hidden,
            named: served,
        });
    }

    /// Whether the listener hides any broker.
    pub(super) fn any(&self, listener: &ListenerMap) -> bool {
        // Nearly always: nothing is hidden anywhere.
        !self.listeners.is_empty()
            && self
                .listeners
                .get(&(listener.cluster, Arc::clone(&listener.name)))
                .is_some_and(|hidden| !hidden.is_empty())
    }

    /// What has changed since the last call (HIDDEN-2).
    pub(super) fn take_news(&mut self) -> Vec<HiddenBrokers> {
        std::mem::take(&mut self.news)
    }
}

/// Hidden brokers that are named, of one listener.
const HIDDEN_MAX: usize = 1000;
