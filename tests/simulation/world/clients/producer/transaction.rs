//! Transactions of a producer, as before brokers began them by themselves: an epoch of its coordinator's, partitions
//! that are added before anything goes to them, an end.
//!
//! - a transaction in which something failed for good is aborted, and the next one has a new epoch.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::dice::Dice;
use crate::world::clients::Place;

/// How a transaction ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Committed,
    Aborted,
    /// The producer was fenced before it was told.
    Unknown,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// The next epoch is wanted, after `former` where there is one.
    Identity,
    Idle,
    Open,
    Ending(Outcome),
}

/// What the coordinator was asked.
#[derive(Clone)]
pub(super) enum Question {
    Coordinator,
    Identity,
    Add(Vec<Place>),
    End(Outcome),
}

pub(super) struct Transactions {
    pub(super) id: String,
    pub(super) coordinator: Option<i32>,
    pub(super) stage: Stage,
    pub(super) asked: Option<Question>,
    /// Batches that the open transaction is still to have.
    pub(super) left: u64,
    /// How the open one is to end if nothing fails.
    pub(super) outcome: Outcome,
    pub(super) added: BTreeSet<Place>,
    /// Something failed for good.
    pub(super) fails: bool,
    /// The epoch is another's: only a new one without looking back helps.
    pub(super) fenced: bool,
    outcomes: Vec<Outcome>,
    resting: bool,
    pub(super) not_before: Duration,
}

impl Transactions {
    pub(super) fn new(id: String) -> Self {
        Self {
            id,
            coordinator: None,
            stage: Stage::Identity,
            asked: None,
            left: 0,
            outcome: Outcome::Committed,
            added: BTreeSet::new(),
            fails: false,
            fenced: false,
            outcomes: Vec::new(),
            resting: false,
            not_before: Duration::ZERO,
        }
    }

    pub(super) fn id(&self) -> &str {
        &self.id
    }

    pub(super) fn coordinator(&self) -> Option<i32> {
        self.coordinator
    }

    pub(super) fn outcomes(&self) -> &[Outcome] {
        &self.outcomes
    }

    pub(super) fn is_idle(&self) -> bool {
        self.stage == Stage::Idle
    }

    pub(super) fn rest(&mut self) {
        self.resting = true;
        self.left = 0;
    }

    pub(super) fn next_due(&self) -> Duration {
        self.not_before
    }

    /// The number of the transaction that a new batch belongs to, if one may be made; begins one.
    pub(super) fn take_batch(&mut self, dice: &mut Dice) -> Option<u32> {
        if self.stage == Stage::Idle && !self.resting {
            self.stage = Stage::Open;
            self.left = 1 + dice.below(6);
            self.outcome = if dice.below(4) == 0 {
                Outcome::Aborted
            } else {
                Outcome::Committed
            };
        }
        if self.stage != Stage::Open || self.fails {
            return None;
        }
        self.left = self.left.checked_sub(1)?;
        Some(u32::try_from(self.outcomes.len()).unwrap())
    }

    pub(super) fn may_send_to(&self, place: &Place) -> bool {
        !self.fails && self.added.contains(place)
    }

    pub(super) fn must_abort(&mut self, is_fenced: bool) {
        self.fails = true;
        self.fenced |= is_fenced;
    }

    pub(super) fn end(&mut self, outcome: Outcome) {
        self.outcomes.push(outcome);
        self.added.clear();
        self.stage = if self.fails { Stage::Identity } else { Stage::Idle };
        self.fails = false;
    }
}
