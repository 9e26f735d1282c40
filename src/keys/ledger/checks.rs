//! What a KMS is to be asked without anybody waiting for the answer.

use std::collections::{HashSet, VecDeque};

use super::call::Call;

/// Polls and rechecks, each queued or running once at most: as many as there are KEKs and versions in use.
#[derive(Default)]
pub(super) struct Checks {
    pub(super) queue: VecDeque<Call>,
    /// Queued or running.
    pub(super) under_way: HashSet<Call>,
}

impl Checks {
    /// Queues `call`; not when the same is under way, perhaps for a DEK that was replaced since.
    pub(super) fn push(&mut self, call: Call) -> bool {
        let is_new = self.under_way.insert(call.clone());
        if is_new {
            self.queue.push_back(call);
        }
        is_new
    }
}
