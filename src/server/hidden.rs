//! Brokers that clients are not told of, since no listener's `nodes` has them: one line in the log for each, and what
//! the probes and `/metrics` say of it.
//!
//! Pure: the time is a parameter. The control thread only.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::watch;

use crate::admin::Hidden;
use crate::ids::{ClusterId, Names};
use crate::messages::HiddenBrokers;
use crate::repeats::{News, Repeats};

/// See the module.
pub(super) struct HiddenLog {
    cluster_names: Names<ClusterId>,
    /// By cluster and listener. One that hides nothing any more stays, so that its gauge goes to 0.
    listeners: BTreeMap<(ClusterId, Arc<str>), Hidden>,
    said: Repeats<(ClusterId, Arc<str>, i32)>,
    told: watch::Sender<Vec<Hidden>>,
}

impl HiddenLog {
    pub(super) fn new(cluster_names: Names<ClusterId>) -> Self {
        Self {
            cluster_names,
            listeners: BTreeMap::new(),
            said: Repeats::new(),
            told: watch::Sender::new(Vec::new()),
        }
    }

    /// What is hidden, whenever it changes.
    pub(super) fn watch(&self) -> watch::Receiver<Vec<Hidden>> {
        self.told.subscribe()
    }

    /// A listener hides other brokers than before, as far as one executor knows.
    pub(super) fn take(&mut self, news: &HiddenBrokers, now: Instant) {
        let cluster = self.cluster_names.name(news.cluster).to_owned();
        let key = (news.cluster, Arc::clone(&news.listener));
        let before = self.listeners.get(&key);
        let nodes = ranges(&news.wanted);
        for learned in &news.hidden {
            let is_known = before.is_some_and(|before| before.nodes.contains(&learned.node_id));
            let id = (news.cluster, Arc::clone(&news.listener), learned.node_id);
            if !is_known && self.said.news(id, now) != News::None {
                tracing::warn!(
                    cluster,
                    listener = &*news.listener,
                    node = learned.node_id,
                    address = learned.address.to_string(),
                    "a broker is hidden from clients, since `nodes` does not have it: they find no leader for its \
                     partitions, and groups that it coordinates get error 44. Write nodes = \"{nodes}\", and as many \
                     node_ports"
                );
            }
        }
        let hidden = Hidden {
            cluster,
            listener: news.listener.to_string(),
            nodes: news.hidden.iter().map(|learned| learned.node_id).collect(),
            all: nodes,
        };
        self.listeners.insert(key, hidden);
        self.told.send_replace(self.listeners.values().cloned().collect());
    }
}

/// Ascending numbers as the configuration has them: `0-2,7`; cut when it gets long.
fn ranges(nodes: &[i32]) -> String {
    let mut ranges: Vec<(i32, i32)> = Vec::new();
    for node in nodes {
        match ranges.last_mut() {
            Some((_, end)) if end.checked_add(1) == Some(*node) => *end = *node,
            _ => ranges.push((*node, *node)),
        }
    }
    let is_cut = ranges.len() > RANGES_MAX;
    ranges.truncate(RANGES_MAX);
    let texts = ranges.iter().map(|(first, last)| {
        if first == last {
            first.to_string()
        } else {
            format!("{first}-{last}")
        }
    });
    let mut text = texts.collect::<Vec<_>>().join(",");
    if is_cut {
        text.push_str(",...");
    }
    text
}

/// As many as one can read.
const RANGES_MAX: usize = 20;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::HostPort;
    use crate::ids::Id as _;
    use crate::messages::LearnedAddress;

    fn news(hidden: &[i32]) -> HiddenBrokers {
        HiddenBrokers {
            cluster: ClusterId::from_number(0),
            listener: "lan".into(),
            hidden: hidden
                .iter()
                .map(|node_id| LearnedAddress {
                    node_id: *node_id,
                    address: HostPort {
                        host: "kafka".to_owned(),
                        port: 9092,
                    },
                })
                .collect(),
            wanted: [&[0, 1], hidden].concat(),
        }
    }

    #[test]
    fn what_is_hidden_is_told_until_it_is_not() {
        let mut names = Names::default();
        names.id_of("main");
        let mut log = HiddenLog::new(names);
        let told = log.watch();
        let now = Instant::now();
        log.take(&news(&[7, 8]), now);
        assert_eq!(
            *told.borrow(),
            [Hidden {
                cluster: "main".to_owned(),
                listener: "lan".to_owned(),
                nodes: vec![7, 8],
                all: "0-1,7-8".to_owned(),
            }]
        );
        log.take(&news(&[]), now);
        assert!(told.borrow()[0].nodes.is_empty());
    }

    #[test]
    fn nodes_are_written_as_the_configuration_has_them() {
        assert_eq!(ranges(&[]), "");
        assert_eq!(ranges(&[1]), "1");
        assert_eq!(ranges(&[0, 1, 2, 7, 100, 101]), "0-2,7,100-101");
        let apart: Vec<i32> = (0..21).map(|node| node * 2).collect();
        assert!(ranges(&apart[..20]).ends_with(",38"));
        assert!(ranges(&apart).ends_with(",38,..."));
        assert_eq!(ranges(&[i32::MAX]), i32::MAX.to_string());
    }
}
