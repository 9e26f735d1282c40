//! What a producer has for one partition: what waits, what is under way, and which sequence comes next.
//!
//! - a batch keeps its sequence until all that is under way has come back and a new epoch begins.
//! - a batch that goes again goes alone: nothing with a sequence is sent while a lower one is under way again.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use super::batch::{Batch, Identity};
use crate::world::clients::{Family, LinkId};

struct UnderWay {
    /// Of the request that it went with.
    correlation_id: i32,
    node: i32,
    batch: Batch,
}

#[derive(Default)]
pub(super) struct Lane {
    pub(super) next_number: u64,
    /// Whose sequences these are.
    identity: Option<Identity>,
    next_sequence: i32,
    pub(super) waiting: VecDeque<Batch>,
    under_way: Vec<UnderWay>,
    /// A sequence will never come: what follows needs a new epoch.
    pub(super) is_broken: bool,
    /// Sequences of batches of which nobody knows whether they are stored.
    doubtful: BTreeSet<i32>,
    /// The sequence of its first batch that was said to be stored, and by which node.
    first_stored: Option<(i32, i32)>,
    /// The connection on which what wants no answer was sent last.
    told_on: Option<LinkId>,
    /// See [`super::Producer::may_be_out_of_order`].
    pub(super) may_be_out_of_order: bool,
    /// Of values that may have been stored before, and were sent again with a new epoch: no broker knows them again.
    pub(super) sent_anew: BTreeSet<u64>,
}

impl Lane {
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.under_way.is_empty()
    }

    pub(super) fn is_quiet(&self) -> bool {
        self.under_way.is_empty()
    }

    /// Takes the batch that may be sent now, with its stamp; `identity` is `None` for producers without one.
    pub(super) fn take_next(
        &mut self,
        family: Family,
        identity: Option<Identity>,
        now: Duration,
    ) -> Option<Batch> {
        let head = self.waiting.front()?;
        if head.not_before > now || (family == Family::Librdkafka && !self.is_quiet()) {
            return None;
        }
        let Some(identity) = identity else {
            return self.waiting.pop_front();
        };
        if let Some(sequence) = head.sequence() {
            let is_lowest = self
                .under_way
                .iter()
                .all(|other| other.batch.sequence() > Some(sequence));
            return if is_lowest { self.waiting.pop_front() } else { None };
        }
        if self.is_broken {
            return None;
        }
        if self.identity != Some(identity) {
            if !self.is_quiet() {
                return None;
            }
            self.identity = Some(identity);
            self.next_sequence = 0;
        }
        let mut batch = self.waiting.pop_front()?;
        batch.set_stamp(Some((identity, self.next_sequence)));
        self.next_sequence += batch.count();
        Some(batch)
    }

    /// Whether it may begin anew: what waits is known not to be stored, since the first of it is.
    pub(super) fn is_mendable(&self) -> bool {
        let first = self.waiting.front().and_then(Batch::sequence);
        self.is_broken && self.is_quiet() && first.is_none_or(|first| !self.doubtful.contains(&first))
    }

    pub(super) fn sent(&mut self, correlation_id: i32, node: i32, batch: Batch) {
        if let Some(sequence) = batch.sequence() {
            self.doubtful.remove(&sequence);
        }
        self.under_way.push(UnderWay {
            correlation_id,
            node,
            batch,
        });
    }

    /// Something goes out that wants no answer. On another connection it may overtake what is still on its way.
    pub(super) fn told(&mut self, id: LinkId) {
        self.may_be_out_of_order |= self.told_on.replace(id).is_some_and(|last| last != id);
    }

    pub(super) fn take_back(&mut self, correlation_id: i32) -> Option<Batch> {
        let is_it = |other: &UnderWay| other.correlation_id == correlation_id;
        let at = self.under_way.iter().position(is_it)?;
        Some(self.under_way.remove(at).batch)
    }

    pub(super) fn is_stored(&mut self, batch: &Batch, node: i32) {
        let stored = batch.sequence().map(|sequence| (sequence, node));
        self.first_stored = self.first_stored.or(stored);
    }

    /// `batch` was not stored, for all that is known. It was the first one, and what follows it is stored or under way,
    /// to another node than `node` where one is named.
    pub(super) fn note_missing(&mut self, batch: &Batch, node: Option<i32>) {
        let follows = match self.first_stored {
            Some((first, _)) => batch.sequence() < Some(first),
            None => self.is_under_way_elsewhere(node),
        };
        self.may_be_out_of_order |= follows;
    }

    /// `batch` was refused for now by `node`, which might lead. If what follows it went to another one meanwhile, which
    /// leads too as far as is known, that one has taken it; what went to the same one has to be refused there.
    pub(super) fn note_refused(&mut self, batch: &Batch, node: i32) {
        self.may_be_out_of_order |= match self.first_stored {
            Some((first, stored_by)) => stored_by != node && batch.sequence() < Some(first),
            None => self.is_under_way_elsewhere(Some(node)),
        };
    }

    fn is_under_way_elsewhere(&self, node: Option<i32>) -> bool {
        self.under_way.iter().any(|other| Some(other.node) != node)
    }

    /// Whether a batch with a lower sequence is unfinished, so that this one came too early.
    pub(super) fn has_lower(&self, batch: &Batch) -> bool {
        let waiting = self.waiting.iter();
        let under_way = self.under_way.iter().map(|other| &other.batch);
        waiting
            .chain(under_way)
            .any(|other| other.sequence().is_some() && other.sequence() < batch.sequence())
    }

    /// `batch` went to `node` and was not answered.
    pub(super) fn note_doubt(&mut self, batch: &Batch, node: i32) {
        self.doubtful.extend(batch.sequence());
        self.note_missing(batch, Some(node));
    }

    /// Takes out what was made by `deadline`: a client gives up what is not stored in time. Java does so with what is
    /// under way too; librdkafka waits for the answer, and sends nothing new until then.
    pub(super) fn take_overdue(&mut self, family: Family, deadline: Duration) -> Vec<Batch> {
        if self.oldest(family).is_none_or(|oldest| oldest > deadline) {
            return Vec::new();
        }
        let is_overdue = |batch: &Batch| batch.made <= deadline;
        let waiting = std::mem::take(&mut self.waiting).into_iter();
        let (mut overdue, waiting): (Vec<Batch>, _) = waiting.partition(is_overdue);
        self.waiting = waiting.into();
        if family == Family::Java {
            let under_way = self.under_way.extract_if(.., |other| is_overdue(&other.batch));
            overdue.extend(under_way.map(|mut other| {
                other.batch.may_be_stored = true;
                other.batch
            }));
        }
        self.is_broken |= overdue.iter().any(|batch| batch.stamp.is_some());
        overdue
    }

    /// When the oldest batch was made that can be overdue.
    pub(super) fn oldest(&self, family: Family) -> Option<Duration> {
        let under_way = self.under_way.iter().filter(|_| family == Family::Java);
        let batches = self.waiting.iter().chain(under_way.map(|other| &other.batch));
        batches.map(|batch| batch.made).min()
    }

    /// In the order of sequences; without sequences before all that waits, whatever was before it.
    pub(super) fn put_back(&mut self, mut batch: Batch, not_before: Duration) {
        batch.not_before = not_before;
        let is_behind = |other: &Batch| match (other.sequence(), batch.sequence()) {
            (Some(other), Some(own)) => other > own,
            _ => true,
        };
        let at = self.waiting.iter().position(is_behind);
        self.waiting.insert(at.unwrap_or(self.waiting.len()), batch);
    }

    /// What waits begins anew at sequence 0, with the next epoch.
    pub(super) fn begin_anew(&mut self) {
        self.identity = None;
        self.is_broken = false;
        self.doubtful.clear();
        for batch in &mut self.waiting {
            batch.set_stamp(None);
            if batch.may_be_stored {
                self.sent_anew.extend(batch.numbers.clone());
            }
        }
    }

    /// When a batch that waits may go that may not yet.
    pub(super) fn next_due(&self) -> Option<Duration> {
        self.waiting.front().map(|batch| batch.not_before)
    }
}
