//! How many keys each KMS was asked for that have not come (EXECUTOR-8).

use std::collections::HashMap;

use crate::ids::KmsId;

#[derive(Default)]
pub(super) struct Waits(HashMap<KmsId, usize>);

impl Waits {
    pub(super) fn of(&self, kms: KmsId) -> usize {
        self.0.get(&kms).copied().unwrap_or_default()
    }

    pub(super) fn one_more(&mut self, kms: KmsId) {
        let count = self.0.entry(kms).or_default();
        *count = count.saturating_add(1);
    }

    pub(super) fn one_less(&mut self, kms: KmsId) {
        if let Some(count) = self.0.get_mut(&kms) {
            *count = count.saturating_sub(1);
        }
    }
}
