//! The nodes of a cluster and the partitions that they share: what is true of it, whoever asks.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use kafka_protocol::ResponseError;

use super::Event;
use super::lies::Lying;
use super::logins::Logins;
use super::partition::Partition;
use super::sessions::Sessions;
use super::transactions::Transactions;
use crate::dice::Dice;

pub(super) struct Cluster {
    pub(super) nodes: BTreeMap<i32, Node>,
    pub(super) topics: BTreeMap<String, Topic>,
    pub(super) transactions: Transactions,
    /// `max.message.bytes` of all topics.
    pub(super) max_message_bytes: usize,
    pub(super) lying: Lying,
    /// A node that is said to be elsewhere in each answer, and where the last said it was.
    pub(super) restless: Option<(i32, Cell<u16>)>,
    /// How one logs in, where one has to.
    pub(super) logins: Option<Logins>,
    pub(super) dice: Dice,
    pub(super) events: Vec<Event>,
    /// Counts what happens that requests or replicas may wait for.
    pub(super) changes: u64,
    /// Those that a tick has taken in.
    ticked: u64,
}

pub(super) struct Node {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) up: bool,
    /// Whether the controller takes it to be there.
    pub(super) registered: bool,
    /// When the controller finds out that it is not.
    fenced_at: Option<Duration>,
    pub(super) sessions: Sessions,
}

pub(super) struct Topic {
    pub(super) partitions: Vec<Partition>,
}

/// Topic and partition.
pub(super) type Place<'a> = (&'a str, i32);

/// As long it takes at most until a controller misses a node.
const FENCED_WITHIN_MS: u64 = 300;
/// `max.message.bytes` unless it is set.
const MAX_MESSAGE_BYTES: usize = 1_048_588;

impl Cluster {
    pub(super) fn new(nodes: &[i32], topics: &[(&str, i32)], replicas: usize, seed: u64) -> Self {
        let node = |id: &i32| Node {
            host: format!("10.0.0.{id}"),
            port: 9092,
            up: true,
            registered: true,
            fenced_at: None,
            sessions: Sessions::new(*id),
        };
        let mut first = nodes.iter().cycle();
        let mut partition = || {
            let from = nodes.iter().cycle().skip_while({
                let first = *first.next().unwrap();
                move |node| **node != first
            });
            let replicas: Vec<i32> = from.copied().take(replicas.min(nodes.len())).collect();
            Partition::new(&replicas)
        };
        let topics = topics
            .iter()
            .map(|(name, count)| {
                let partitions = (0..*count).map(|_| partition()).collect();
                ((*name).to_owned(), Topic { partitions })
            })
            .collect();
        Self {
            nodes: nodes.iter().map(|id| (*id, node(id))).collect(),
            topics,
            transactions: Transactions::default(),
            max_message_bytes: MAX_MESSAGE_BYTES,
            lying: Lying::default(),
            restless: None,
            logins: None,
            dice: Dice(seed),
            events: Vec::new(),
            changes: 1,
            ticked: 1,
        }
    }

    /// Those that the controller takes to be there.
    pub(super) fn registered(&self) -> impl Iterator<Item = (i32, &Node)> {
        self.nodes
            .iter()
            .filter(|(_, node)| node.registered)
            .map(|(id, node)| (*id, node))
    }

    pub(super) fn up(&self) -> BTreeSet<i32> {
        self.nodes
            .iter()
            .filter(|(_, node)| node.up)
            .map(|(id, _)| *id)
            .collect()
    }

    pub(super) fn partition(&self, (topic, partition): Place<'_>) -> Result<&Partition, ResponseError> {
        let topic = self.topics.get(topic);
        topic
            .and_then(|topic| topic.partitions.get(usize::try_from(partition).ok()?))
            .ok_or(ResponseError::UnknownTopicOrPartition)
    }

    pub(super) fn partition_mut(
        &mut self,
        (topic, partition): Place<'_>,
    ) -> Result<&mut Partition, ResponseError> {
        let topic = self.topics.get_mut(topic);
        topic
            .and_then(|topic| topic.partitions.get_mut(usize::try_from(partition).ok()?))
            .ok_or(ResponseError::UnknownTopicOrPartition)
    }

    fn partitions_mut(&mut self) -> impl Iterator<Item = &mut Partition> {
        self.topics.values_mut().flat_map(|topic| &mut topic.partitions)
    }

    pub(super) fn stop(&mut self, id: i32) {
        let node = self.nodes.get_mut(&id).unwrap();
        node.up = false;
        node.sessions.evict_all();
        self.changes += 1;
    }

    /// A node that comes back is no leader any more where another one is in sync: the controller fences it before it
    /// takes it in again.
    pub(super) fn start(&mut self, id: i32) {
        if self.nodes[&id].up {
            return;
        }
        self.fence(id);
        let node = self.nodes.get_mut(&id).unwrap();
        node.up = true;
        node.registered = true;
        node.fenced_at = None;
        let registered: BTreeSet<i32> = self.registered().map(|(id, _)| id).collect();
        for partition in self.partitions_mut() {
            if !registered.contains(&partition.leader) && partition.in_sync.contains(&id) {
                partition.elect(id);
            }
        }
        self.changes += 1;
    }

    pub(super) fn evict_sessions(&mut self, id: i32) {
        self.nodes.get_mut(&id).unwrap().sessions.evict_all();
        self.changes += 1;
    }

    fn fence(&mut self, id: i32) {
        self.nodes.get_mut(&id).unwrap().registered = false;
        let registered: BTreeSet<i32> = self.registered().map(|(id, _)| id).collect();
        for partition in self.partitions_mut() {
            partition.fence(id, &registered);
        }
    }

    /// Another leader for one of the partitions that can have one.
    pub(super) fn move_leader(&mut self) {
        let up = self.up();
        let registered: BTreeSet<i32> = self.registered().map(|(id, _)| id).collect();
        let dice = &mut self.dice;
        let mut movable: Vec<(&mut Partition, Vec<i32>)> = Vec::new();
        for partition in self.topics.values_mut().flat_map(|topic| &mut topic.partitions) {
            let others: Vec<i32> = partition
                .in_sync
                .iter()
                .copied()
                .filter(|node| *node != partition.leader && up.contains(node) && registered.contains(node))
                .collect();
            if !others.is_empty() {
                movable.push((partition, others));
            }
        }
        if movable.is_empty() {
            return;
        }
        let (partition, others) = movable.swap_remove(dice.below(movable.len() as u64) as usize);
        partition.elect(others[dice.below(others.len() as u64) as usize]);
        self.changes += 1;
    }

    /// What happens in a cluster without its clients.
    pub(super) fn tick(&mut self, now: Duration) {
        let down: Vec<i32> = self
            .nodes
            .iter()
            .filter(|(_, node)| node.registered && !node.up)
            .map(|(id, _)| *id)
            .collect();
        for id in down {
            let within_ms = 1 + self.dice.below(FENCED_WITHIN_MS);
            let node = self.nodes.get_mut(&id).unwrap();
            let at = *node
                .fenced_at
                .get_or_insert(now + Duration::from_millis(within_ms));
            if at <= now {
                node.fenced_at = None;
                self.fence(id);
                self.changes += 1;
            }
        }
        let up = self.up();
        let dice = &mut self.dice;
        for partition in self.topics.values_mut().flat_map(|topic| &mut topic.partitions) {
            self.changes += u64::from(partition.replicate(&up, now, dice));
        }
        self.tick_transactions(now);
        self.ticked = self.changes;
    }

    pub(super) fn next_due(&self) -> Option<Duration> {
        if self.changes != self.ticked {
            return Some(Duration::ZERO);
        }
        let up = self.up();
        let fences = self.nodes.values().filter_map(|node| node.fenced_at);
        let partitions = self.topics.values().flat_map(|topic| &topic.partitions);
        let replicas = partitions.filter_map(|partition| partition.next_due(&up));
        fences.chain(replicas).chain(self.transactions.next_due()).min()
    }
}
