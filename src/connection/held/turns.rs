//! Turns: long frames that are held go on one after the other, so that those that have begun can be finished.
//!
//! - TURN-1: turns are given in order of arrival, for as long as what the frames announce fits three quarters of the
//!   bound, twice: what is read, and what is written of it.
//! - TURN-2: one always has a turn, however long it is; it may read to its end whatever others hold. It waits only for
//!   those that are worked off or written, or wait for us, since they end by themselves; and not for requests whose own
//!   answer waits for a turn.
//! - TURN-3: while frames of another cluster wait, a cluster has at most half of it; one frame of it goes on all the
//!   same.
//! - TURN-4: who moves less than [`PACE_BYTES`](super::PACE_BYTES) in [`PATIENCE`](super::PATIENCE), or waits for us,
//!   loses its turn if others wait. What it holds stays on the account. If there is more to be read, it waits again,
//!   behind the others, when it shows a sign of life.
//! - TURN-5: nobody is closed for standing still while there is room for the next one.

use std::collections::BTreeMap;
use std::task::Waker;
use std::time::Instant;

use super::{Class, HalfKey, HeldBytes, HeldHalf, Holding, PASSING_PART};
use crate::ids::ClusterId;

/// Where the frame of a half stands.
#[derive(Debug)]
pub(super) enum Turn {
    /// It needs none.
    None,
    /// In the queue of its cluster, with its number; `again`: it had a turn before.
    Waiting {
        ticket: u64,
        again: bool,
        announced: usize,
        waker: Waker,
    },
    /// It has a turn.
    Has { announced: usize },
    /// It had one, and stood still.
    Lost { announced: usize },
}

impl Turn {
    /// Whether what the half holds is that of a frame that has, or had, its turn.
    pub(super) fn is_long(&self) -> bool {
        match self {
            Self::None => false,
            Self::Waiting { again, .. } => *again,
            Self::Has { .. } | Self::Lost { .. } => true,
        }
    }

    /// Whether it is one that had a turn and has none.
    pub(super) fn is_lost(&self) -> bool {
        self.is_long() && !matches!(self, Self::Has { .. })
    }
}

/// Those of one cluster that wait, by their numbers.
pub(super) type Waiting = BTreeMap<u64, HalfKey>;

/// What is said to a half whose frame is long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turned {
    /// Go on.
    Has,
    /// Not yet: it is woken.
    Waits,
    /// It stood still: it may read a little to show that it does not any more, and then [`HeldBytes::wait_again`].
    Lost,
}

impl HeldBytes {
    /// A half has begun to hold a frame of `announced` bytes that is too long to pass by: says whether it may go on.
    pub(crate) fn turn(
        &mut self,
        key: HalfKey,
        holding: Holding,
        announced: usize,
        waker: &Waker,
        now: Instant,
    ) -> Turned {
        let half = self.halves.get_mut(&key);
        if half.as_ref().is_some_and(|half| half.closing) {
            return Turned::Waits;
        }
        match half.map(|half| &mut half.turn) {
            Some(Turn::Has { .. }) => return Turned::Has,
            Some(Turn::Lost { .. }) => return Turned::Lost,
            Some(Turn::Waiting { waker: known, .. }) => {
                known.clone_from(waker);
                return Turned::Waits;
            }
            Some(Turn::None) | None => {}
        }
        let waits = Turn::Waiting {
            ticket: self.next_ticket,
            again: false,
            announced,
            waker: waker.clone(),
        };
        self.queue(key, holding, waits, now)
    }

    /// Who had lost its turn has moved again (TURN-4).
    pub(crate) fn wait_again(&mut self, key: HalfKey, waker: &Waker, now: Instant) {
        if let Some(half) = self.halves.get(&key)
            && let Turn::Lost { announced } = half.turn
        {
            let waits = Turn::Waiting {
                ticket: self.next_ticket,
                again: true,
                announced,
                waker: waker.clone(),
            };
            self.queue(key, half.holding, waits, now);
        }
    }

    /// The frame is gone, or its connection: others have their turn.
    pub(crate) fn finish(&mut self, key: HalfKey, now: Instant) {
        if self.end_turn(key) {
            self.admit(now);
            self.bound_unproven(now);
        }
    }

    /// Takes back the turn of a half, or its place among those that wait; says whether it had any.
    pub(super) fn end_turn(&mut self, key: HalfKey) -> bool {
        let Some(half) = self.halves.get(&key) else {
            return false;
        };
        let ends = !matches!(half.turn, Turn::None);
        if ends {
            self.set_turn(key, half.holding, Turn::None);
        }
        ends
    }

    /// Takes the turns of those that stand still, if others wait (TURN-4).
    pub(super) fn lose_turns(&mut self, now: Instant) {
        if self.waiting.is_empty() {
            return;
        }
        let still = self
            .halves
            .iter()
            .filter(|(_, half)| half.holding.parked || half.stands_still(now));
        let lost = still.filter_map(|(key, half)| match half.turn {
            Turn::Has { announced } => Some((*key, half.holding, announced)),
            _ => None,
        });
        for (key, holding, announced) in lost.collect::<Vec<_>>() {
            self.set_turn(key, holding, Turn::Lost { announced });
        }
        self.admit(now);
    }

    /// `waits` with the next number.
    fn queue(&mut self, key: HalfKey, holding: Holding, waits: Turn, now: Instant) -> Turned {
        self.next_ticket = self.next_ticket.saturating_add(1);
        self.set_turn(key, holding, waits);
        self.admit(now);
        match self.halves.get(&key).map(|half| &half.turn) {
            Some(Turn::Has { .. }) => Turned::Has,
            _ => Turned::Waits,
        }
    }

    /// Gives turns to as many of those that wait as there is room for.
    pub(super) fn admit(&mut self, now: Instant) {
        while let Some((key, need)) = self.next() {
            if !self.fits(need) && !self.makes_way(need, now) {
                return;
            }
            let Some(half) = self.halves.get(&key) else { return };
            let Turn::Waiting { announced, waker, .. } = &half.turn else {
                return;
            };
            waker.wake_by_ref();
            let has = Turn::Has {
                announced: *announced,
            };
            self.set_turn(key, half.holding, has);
            if let Some(half) = self.halves.get_mut(&key) {
                half.since = now;
            }
        }
    }

    /// Whether one may go on beside those that have lost their turn. While it does not fit beside them, those that
    /// stand still are closed (TURN-5), and the others are waited for (TURN-2).
    fn makes_way(&mut self, need: usize, now: Instant) -> bool {
        while self.lost > 0 && self.lasting().saturating_add(need) > self.bytes_max {
            let is_lost = |half: &HeldHalf| matches!(half.turn, Turn::Lost { .. });
            let still = |key: HalfKey, half: &HeldHalf| {
                is_lost(half) && self.is_to_blame(key, half) && half.stands_still(now)
            };
            let is_left = |(key, half): (&HalfKey, &HeldHalf)| {
                half.holding.bytes > 0 && is_lost(half) && !self.awaits_long_answer(*key)
            };
            let Some(connection) = self.largest(still) else {
                return !self.halves.iter().any(is_left);
            };
            self.close(connection);
        }
        true
    }

    /// Who is to have a turn now, and what it may need.
    fn next(&self) -> Option<(HalfKey, usize)> {
        let first = |(cluster, waiting): (&ClusterId, &Waiting)| {
            let (ticket, key) = waiting.first_key_value()?;
            let Turn::Waiting { announced, .. } = self.halves.get(key)?.turn else {
                return None;
            };
            Some((*ticket, *cluster, *key, need(announced)))
        };
        let (_, _, key, need) = self
            .waiting
            .iter()
            .filter_map(first)
            .filter(|(_, cluster, _, need)| !self.has_its_half(*cluster, *need))
            .min_by_key(|(ticket, ..)| *ticket)?;
        // TURN-1, TURN-2.
        (self.taken_count == 0 || self.fits(need)).then_some((key, need))
    }

    fn fits(&self, need: usize) -> bool {
        let moving = self.sum(Class::Long).saturating_sub(self.lost);
        let used = self.taken.max(moving).saturating_add(self.lost);
        used.saturating_add(need) <= self.turns_bytes_max()
    }

    /// TURN-3.
    fn has_its_half(&self, cluster: ClusterId, need: usize) -> bool {
        let others_wait = self.waiting.keys().any(|other| *other != cluster);
        let taken = self.taken_by_cluster.get(&cluster).copied().unwrap_or(0);
        others_wait && taken > 0 && taken.saturating_add(need) > self.turns_bytes_max() / 2
    }

    /// What frames that have their turn may need together.
    pub(super) fn turns_bytes_max(&self) -> usize {
        self.bytes_max.saturating_sub(self.bytes_max / PASSING_PART)
    }

    /// Changes where a half stands, and with it what is counted of turns.
    fn set_turn(&mut self, key: HalfKey, holding: Holding, turn: Turn) {
        let cluster = holding.cluster;
        match self.halves.get(&key).map(|half| &half.turn) {
            Some(Turn::Waiting { ticket, .. }) => {
                if let Some(waiting) = self.waiting.get_mut(&cluster) {
                    waiting.remove(ticket);
                    if waiting.is_empty() {
                        self.waiting.remove(&cluster);
                    }
                }
            }
            Some(Turn::Has { announced }) => {
                let need = need(*announced);
                self.taken = self.taken.saturating_sub(need);
                self.taken_count = self.taken_count.saturating_sub(1);
                if let Some(taken) = self.taken_by_cluster.get_mut(&cluster) {
                    *taken = taken.saturating_sub(need);
                    if *taken == 0 {
                        self.taken_by_cluster.remove(&cluster);
                    }
                }
            }
            Some(Turn::None | Turn::Lost { .. }) | None => {}
        }
        match &turn {
            Turn::Waiting { ticket, .. } => {
                self.waiting.entry(cluster).or_default().insert(*ticket, key);
            }
            Turn::Has { announced } => {
                let need = need(*announced);
                self.taken = self.taken.saturating_add(need);
                self.taken_count = self.taken_count.saturating_add(1);
                let taken = self.taken_by_cluster.entry(cluster).or_default();
                *taken = taken.saturating_add(need);
            }
            Turn::None | Turn::Lost { .. } => {}
        }
        self.change(key, holding, |half| half.turn = turn);
    }
}

/// What a frame may need: what is read, and what is written of it.
fn need(announced: usize) -> usize {
    announced.saturating_mul(2)
}
