//! Who is told what: replies that wait for their executor, and sets of executors.

use std::collections::VecDeque;

use crate::keys::KeyReply;

/// Replies that wait to be sent, for each executor. Answers are bounded by what the executor asked and was not answered
/// yet; what comes unasked is rare (a rotation, a revocation).
pub(super) struct Outboxes(pub(super) Vec<VecDeque<KeyReply>>);

impl Outboxes {
    pub(super) fn push(&mut self, executor: usize, reply: KeyReply) {
        if let Some(outbox) = self.0.get_mut(executor) {
            outbox.push_back(reply);
        }
    }
}

/// A set of executors.
#[derive(Debug, Clone, Default)]
pub(super) struct ExecutorSet(Vec<bool>);

impl ExecutorSet {
    pub(super) fn insert(&mut self, executor: usize) {
        if self.0.len() <= executor {
            self.0.resize(executor.saturating_add(1), false);
        }
        if let Some(member) = self.0.get_mut(executor) {
            *member = true;
        }
    }

    pub(super) fn add_all(&mut self, others: &Self) {
        others.iter().for_each(|executor| self.insert(executor));
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = usize> + '_ {
        self.0
            .iter()
            .enumerate()
            .filter_map(|(executor, &member)| member.then_some(executor))
    }
}
