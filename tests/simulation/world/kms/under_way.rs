//! How a KMS is asked: what is under way, what began lately, and what should not have been.

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sealwire::keys::CallBudget;
use tokio::time::Instant;

use super::{State, lock, now};

/// What a KMS notes of its calls, and what it may be asked.
#[derive(Default)]
pub(super) struct Asked {
    budget: CallBudget,
    unwrapping: BTreeSet<Vec<u8>>,
    calls: usize,
    /// When the calls of the last second began.
    begun: VecDeque<Instant>,
    pub(super) breaches: Vec<String>,
}

impl Asked {
    /// Whoever asks from now on knows nothing of calls that began before.
    pub(super) fn begin_anew(&mut self, budget: CallBudget) {
        self.budget = budget;
        self.begun.clear();
    }

    /// Notes what may not be asked now (SIM-KMS-1, SIM-KMS-2).
    fn begin(&mut self, unwrapped: &mut Option<Vec<u8>>) {
        self.calls += 1;
        if self.calls > self.budget.calls_max {
            self.breaches.push(format!("{} calls at a time", self.calls));
        }
        if let Some(wrapped) = unwrapped.take_if(|wrapped| !self.unwrapping.insert(wrapped.clone())) {
            self.breaches
                .push(format!("unwrapped twice at a time: {wrapped:x?}"));
        }
        let now = now();
        self.begun.push_back(now);
        while self.begun.front().is_some_and(|begun| now - *begun >= SECOND) {
            self.begun.pop_front();
        }
        let begun = self.begun.len();
        if self
            .budget
            .per_second_max
            .is_some_and(|rate| begun > calls_in_a_second(rate.get()))
        {
            self.breaches.push(format!("{begun} calls in a second"));
        }
    }
}

/// How many calls may be seen to begin in a second: of the rate, of what the bucket holds when it begins, and of those
/// that were begun up to a tenth of a second before and had not had their turn.
fn calls_in_a_second(rate: u32) -> usize {
    (rate + 2 * (rate / 10).max(1)) as usize
}

/// A call under way, as long as this lives: also one that is dropped because it took too long is over then.
pub(super) struct UnderWay {
    state: Arc<Mutex<State>>,
    unwrapped: Option<Vec<u8>>,
}

impl UnderWay {
    pub(super) fn begin(state: &Arc<Mutex<State>>, unwrapped: Option<&[u8]>) -> Self {
        let mut unwrapped = unwrapped.map(<[u8]>::to_vec);
        lock(state).asked.begin(&mut unwrapped);
        Self {
            state: Arc::clone(state),
            unwrapped,
        }
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let asked = &mut lock(&self.state).asked;
        asked.calls -= 1;
        if let Some(wrapped) = &self.unwrapped {
            asked.unwrapping.remove(wrapped);
        }
    }
}

const SECOND: Duration = Duration::from_secs(1);
