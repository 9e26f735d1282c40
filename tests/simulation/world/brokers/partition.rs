//! A partition with its replicas: who leads, who follows how far behind, up to where all have it.
//!
//! - PARTITION-1: what is below the high watermark is on every replica that is in sync, so whoever of these leads next
//!   has it; only what is above can be lost.
//! - PARTITION-2: a follower's high watermark is the one that the leader told it with its last data: it is behind.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::ResponseError;
use sealwire::record_batch::BatchHeader;
use sealwire::testing::{BatchBuilder, RecordInput};

use super::log::{Log, Stored};
use crate::dice::Dice;
use crate::rig::at_offset;

pub(super) struct Partition {
    pub(super) replicas: BTreeMap<i32, Replica>,
    /// It may be down: then the partition has no leader until another one is elected, or this one is back.
    pub(super) leader: i32,
    pub(super) in_sync: BTreeSet<i32>,
    /// Grows with each election.
    pub(super) epoch: i32,
    /// Where the log ended when the leader became it.
    pub(super) epoch_start: i64,
    /// What elections have taken from logs, in their order.
    pub(super) lost: Vec<Rc<Stored>>,
}

#[derive(Default)]
pub(super) struct Replica {
    pub(super) log: Log,
    pub(super) high_watermark: i64,
    /// Up to where the leader knows this one to have its log.
    known_end: i64,
    /// The epoch in which it followed last.
    epoch: i32,
    next_fetch: Duration,
    behind_since: Option<Duration>,
}

/// What became of a batch that a leader took.
#[derive(Clone, Copy)]
pub(super) struct Appended {
    pub(super) base_offset: i64,
    pub(super) end: i64,
    epoch: i32,
}

/// `replica.lag.time.max.ms`, in a world that is in a hurry.
const LAG_MAX: Duration = Duration::from_millis(700);
/// Batches that a follower takes at once.
const FETCHED_BATCHES_MAX: u64 = 8;

impl Partition {
    pub(super) fn new(replicas: &[i32]) -> Self {
        Self {
            replicas: replicas.iter().map(|node| (*node, Replica::default())).collect(),
            leader: replicas[0],
            in_sync: replicas.iter().copied().collect(),
            epoch: 0,
            epoch_start: 0,
            lost: Vec::new(),
        }
    }

    pub(super) fn leading(&self) -> &Replica {
        &self.replicas[&self.leader]
    }

    fn leading_mut(&mut self) -> &mut Replica {
        self.replicas.get_mut(&self.leader).unwrap()
    }

    /// Appends a batch that a client has sent, or says where it is if it is one of its producer's last.
    pub(super) fn produce(
        &mut self,
        header: &BatchHeader,
        records: &[u8],
        now: Duration,
    ) -> Result<Appended, ResponseError> {
        if header.producer_id >= 0
            && let Some(base_offset) = self.leading().log.check_producer(header)?
        {
            return Ok(Appended {
                base_offset,
                end: base_offset + i64::from(header.last_offset_delta) + 1,
                epoch: self.epoch,
            });
        }
        let stored = self.append(header, records, false, now);
        Ok(Appended {
            base_offset: stored.header.base_offset,
            end: stored.end(),
            epoch: self.epoch,
        })
    }

    /// Appends the marker that ends a transaction.
    pub(super) fn mark(&mut self, producer: (i64, i16), commit: bool, now: Duration) -> Rc<Stored> {
        let kind = [0, 0, 0, u8::from(commit)];
        let marker = BatchBuilder::new()
            .producer(producer.0, producer.1, -1)
            .transactional()
            .control()
            .record(RecordInput {
                timestamp: 1_700_000_000_000,
                key: Some(&kind),
                value: Some(&[0; 6]),
                headers: &[],
            })
            .build()
            .unwrap();
        let header = BatchHeader::parse(&marker).unwrap();
        self.append(&header, &marker, !commit, now)
    }

    fn append(&mut self, header: &BatchHeader, records: &[u8], aborts: bool, now: Duration) -> Rc<Stored> {
        let epoch = self.epoch;
        let log = &mut self.leading_mut().log;
        let mut bytes = at_offset(records, log.end());
        bytes[12..16].copy_from_slice(&epoch.to_be_bytes());
        let stored = Rc::new(Stored {
            header: BatchHeader {
                base_offset: log.end(),
                ..*header
            },
            bytes: Bytes::from(bytes),
            at: now,
            aborts,
            position: log.position(log.batches().len()),
        });
        log.append(stored.clone());
        self.advance_high_watermark();
        stored
    }

    /// Whether all that are in sync have it; `None`: not yet.
    pub(super) fn replicated(&self, node: i32, appended: &Appended) -> Option<Result<(), ResponseError>> {
        if self.leader != node || self.epoch != appended.epoch {
            return Some(Err(ResponseError::NotLeaderOrFollower));
        }
        (self.leading().high_watermark >= appended.end).then_some(Ok(()))
    }

    fn advance_high_watermark(&mut self) {
        let end_of = |node: &i32| match &self.replicas[node] {
            replica if *node == self.leader => replica.log.end(),
            replica => replica.known_end,
        };
        let everywhere = self.in_sync.iter().map(end_of).min().unwrap_or_default();
        let leading = self.leading_mut();
        leading.high_watermark = leading.high_watermark.max(everywhere);
    }

    /// Makes a replica the leader. What it does not have is lost.
    pub(super) fn elect(&mut self, node: i32) {
        let log = &self.replicas[&node].log;
        let before = &self.leading().log;
        let lost = before.batches()[before.shared_with(log)..].to_vec();
        self.lost.extend(lost);
        self.epoch_start = log.end();
        self.leader = node;
        self.epoch += 1;
        for replica in self.replicas.values_mut() {
            replica.known_end = 0;
            replica.behind_since = None;
        }
        // Alone it needs nobody.
        self.advance_high_watermark();
    }

    /// A node is gone as far as the controller knows; the others are those that it knows to be there.
    pub(super) fn fence(&mut self, node: i32, registered: &BTreeSet<i32>) {
        if self.leader == node
            && let Some(next) = self.in_sync.iter().find(|other| registered.contains(*other))
        {
            self.elect(*next);
        }
        // The last one in sync stays it: nobody else has everything.
        if self.in_sync.len() > 1 && self.in_sync.remove(&node) {
            self.advance_high_watermark();
        }
    }

    /// The followers that are due and up take what the leader has; whether anything has changed by it.
    pub(super) fn replicate(&mut self, up: &BTreeSet<i32>, now: Duration, dice: &mut Dice) -> bool {
        let mut changed = false;
        if !up.contains(&self.leader) {
            return changed;
        }
        let followers: Vec<i32> = self
            .replicas
            .keys()
            .copied()
            .filter(|node| *node != self.leader)
            .collect();
        for node in followers {
            let due = self.lags(node) && self.replicas[&node].next_fetch <= now;
            if due && up.contains(&node) {
                self.fetch(node, now, dice);
                changed = true;
            }
            changed |= self.judge_lag(node, now);
        }
        changed
    }

    fn fetch(&mut self, node: i32, now: Duration, dice: &mut Dice) {
        let mut follower = self.replicas.remove(&node).unwrap();
        let leading = self.leading();
        if follower.epoch != self.epoch {
            follower.log.truncate(follower.log.shared_with(&leading.log));
            follower.high_watermark = follower.high_watermark.min(follower.log.end());
            follower.epoch = self.epoch;
        }
        // With what it asks for it says what it has.
        follower.known_end = follower.log.end();
        let from = follower.log.batches().len();
        let known = follower.known_end;
        self.replicas.insert(node, follower);
        if known >= self.leading().high_watermark.max(self.epoch_start) {
            self.in_sync.insert(node);
        }
        self.advance_high_watermark();
        let leading = self.leading();
        let count = 1 + dice.below(FETCHED_BATCHES_MAX) as usize;
        let batches: Vec<_> = leading
            .log
            .batches()
            .iter()
            .skip(from)
            .take(count)
            .cloned()
            .collect();
        let high_watermark = leading.high_watermark;
        let follower = self.replicas.get_mut(&node).unwrap();
        for batch in batches {
            follower.log.append(batch);
        }
        follower.high_watermark = high_watermark
            .min(follower.log.end())
            .max(follower.high_watermark);
        // Some are slow for so long that they are in sync no more.
        let pause_ms = match dice.below(100) {
            0 => 200 + dice.below(1500),
            _ => 1 + dice.below(20),
        };
        follower.next_fetch = now + Duration::from_millis(pause_ms);
    }

    /// Whether the follower or the leader would learn something if the one asked the other.
    fn lags(&self, node: i32) -> bool {
        let (leading, follower) = (self.leading(), &self.replicas[&node]);
        follower.epoch != self.epoch
            || follower.known_end < leading.log.end()
            || follower.high_watermark < leading.high_watermark
            || !self.in_sync.contains(&node)
    }

    /// Whether the follower is in sync no more.
    fn judge_lag(&mut self, node: i32, now: Duration) -> bool {
        let end = self.leading().log.end();
        let follower = self.replicas.get_mut(&node).unwrap();
        if follower.known_end >= end {
            follower.behind_since = None;
            return false;
        }
        let since = *follower.behind_since.get_or_insert(now);
        let is_out = now >= since + LAG_MAX && self.in_sync.remove(&node);
        if is_out {
            self.advance_high_watermark();
        }
        is_out
    }

    /// When a follower asks next, or is judged.
    pub(super) fn next_due(&self, up: &BTreeSet<i32>) -> Option<Duration> {
        if !up.contains(&self.leader) {
            return None;
        }
        let followers = self.replicas.iter().filter(|(node, _)| **node != self.leader);
        followers
            .flat_map(|(node, follower)| {
                let asks = up.contains(node) && self.lags(*node);
                let judged = follower
                    .behind_since
                    .filter(|_| self.in_sync.contains(node))
                    .map(|since| since + LAG_MAX);
                [asks.then_some(follower.next_fetch), judged]
            })
            .flatten()
            .min()
    }
}
