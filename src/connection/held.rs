//! What the connections of one executor hold of frames, and who has to go when it is too much.
//!
//! - HELD-1: frames up to [`PASSING_BYTES_MAX`] pass by. Longer ones, however many stand still, never keep one of them
//!   from being read: a quarter of the bound is theirs alone, and whoever has begun one may read it to its end.
//! - HELD-2: longer frames that are held take turns ([`turns`]), by their announced length and in order of arrival.
//!   That is accounting only: memory follows what came.
//! - HELD-3: what connections hold that have not proven to be logged in is bounded in sum. The one that holds most is
//!   closed at once when it is more.
//! - HELD-4: when there is no room for short frames, or none for the one long frame that always goes on, connections
//!   are closed that hold most of those that move less than [`PACE_BYTES`] in [`PATIENCE`]. Who waits for us is none of
//!   them; who waits for a broker's answer is. Nobody is closed where that makes no room, or for one who has gone.
//! - HELD-5: requests that are held never keep a short answer from being read: many of them wait for nothing else.
//!
//! Pure: the time is a parameter. Executor threads only.

mod starved;
#[cfg(test)]
mod tests;
mod turns;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::task::Waker;
use std::time::{Duration, Instant};

use self::starved::Starved;
use self::turns::{Turn, Waiting};
use crate::ids::ClusterId;
use crate::metrics::Direction;

pub(crate) use self::turns::Turned;

/// One direction of one connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct HalfKey {
    pub(crate) connection: u64,
    pub(crate) direction: Direction,
}

/// What a half says of itself whenever that has changed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Holding {
    /// The connection's cluster.
    pub(crate) cluster: ClusterId,
    /// Bytes of memory.
    pub(crate) bytes: usize,
    /// The broker has shown that it takes this client.
    pub(crate) proven: bool,
    /// When it had last moved [`PACE_BYTES`] more, or began to hold something.
    pub(crate) paced_at: Instant,
    /// It waits for a key, an address or a point in time, not for its peers.
    pub(crate) parked: bool,
}

/// The account; see the module.
pub(crate) struct HeldBytes {
    bytes_max: usize,
    halves: HashMap<HalfKey, HeldHalf>,
    /// Bytes of each [`Class`].
    sums: [usize; Class::COUNT],
    /// By cluster: who waits for a turn, the first one first.
    waiting: BTreeMap<ClusterId, Waiting>,
    next_ticket: u64,
    /// What frames that have their turn may need, and how many of them there are; the same by cluster.
    taken: usize,
    taken_count: usize,
    taken_by_cluster: BTreeMap<ClusterId, usize>,
    /// What those hold that have lost their turn.
    lost: usize,
    /// Whoever found no room for a short frame.
    starved_requests: Starved,
    starved_answers: Starved,
    /// Connections to be closed.
    victims: Vec<u64>,
}

struct HeldHalf {
    direction: Direction,
    holding: Holding,
    turn: Turn,
    /// Since when it can move: it had no turn before, or waited for us.
    since: Instant,
    /// Its connection is among those to be closed.
    closing: bool,
}

/// On whose account something is held; in the order of the sums.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    /// Short requests, what is streamed of others, and beginnings of those that wait for their turn.
    PassingRequest,
    /// The same of answers.
    PassingResponse,
    /// Anything of a connection that is not proven, unless a broker answers it at length.
    Unproven,
    /// Frames that have their turn, or had it.
    Long,
    /// Connections that are about to be closed.
    Closing,
}

impl Class {
    const COUNT: usize = 5;
}

impl HeldHalf {
    fn class(&self) -> Class {
        if self.closing {
            Class::Closing
        } else if self.turn.is_long() {
            Class::Long
        } else if !self.holding.proven {
            Class::Unproven
        } else if self.direction == Direction::Request {
            Class::PassingRequest
        } else {
            Class::PassingResponse
        }
    }

    /// Whether it has not moved for so long that others go first.
    fn stands_still(&self, now: Instant) -> bool {
        let since = self.since.max(self.holding.paced_at);
        now.saturating_duration_since(since) >= PATIENCE
    }
}

impl HeldBytes {
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self {
            bytes_max,
            halves: HashMap::new(),
            sums: [0; Class::COUNT],
            waiting: BTreeMap::new(),
            next_ticket: 0,
            taken: 0,
            taken_count: 0,
            taken_by_cluster: BTreeMap::new(),
            lost: 0,
            starved_requests: Starved::default(),
            starved_answers: Starved::default(),
            victims: Vec::new(),
        }
    }

    /// All that is held.
    pub(crate) fn total(&self) -> usize {
        self.sums.iter().sum()
    }

    /// Whether any frame waits for its turn.
    pub(crate) fn is_any_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// How many frames wait for their turn.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.values().map(Waiting::len).sum()
    }

    /// Notes what a half holds now.
    pub(crate) fn hold(&mut self, key: HalfKey, holding: Holding, now: Instant) {
        self.change(key, holding, |half| {
            if half.holding.parked && !holding.parked {
                half.since = now;
            }
            half.holding = holding;
        });
        self.bound_unproven(now);
        if self.taken_count == 0 {
            self.admit(now);
        }
    }

    /// A half has ended.
    pub(crate) fn forget(&mut self, key: HalfKey, now: Instant) {
        self.starved(key.direction).remove(key);
        self.finish(key, now);
        if let Some(half) = self.halves.remove(&key) {
            self.subtract(half.class(), half.holding.bytes);
        }
    }

    /// Whether a short frame may be begun now; if not, `waker` is woken when one may be (HELD-1).
    pub(crate) fn may_pass(&mut self, key: HalfKey, waker: &Waker) -> bool {
        let has_room = self.has_room_to_pass(key.direction, &self.sums);
        let starved = self.starved(key.direction);
        if has_room {
            starved.remove(key);
        } else {
            starved.add(key, waker);
        }
        has_room
    }

    /// What is done at regular times: turns are lost, and who stands still is closed if others need the room.
    pub(crate) fn tick(&mut self, now: Instant) {
        self.lose_turns(now);
        for direction in [Direction::Response, Direction::Request] {
            if self.starved(direction).is_empty() {
                continue;
            }
            self.make_room_to_pass(direction, now);
            if self.has_room_to_pass(direction, &self.sums) {
                self.starved(direction).wake_all();
            }
        }
    }

    /// HELD-4.
    fn make_room_to_pass(&mut self, direction: Direction, now: Instant) {
        for connection in self.in_the_way(direction, now) {
            if self.has_room_to_pass(direction, &self.sums) {
                return;
            }
            self.close(connection);
            self.admit(now);
        }
    }

    /// The connections without which there would be room, as few as may be; none where there would not be.
    fn in_the_way(&self, direction: Direction, now: Instant) -> Vec<u64> {
        let mut sums = self.sums;
        if self.has_room_to_pass(direction, &sums) {
            return Vec::new();
        }
        let still = self.halves.iter().filter(|(key, half)| {
            half.class() != Class::Closing
                && half.holding.bytes > 0
                && self.is_to_blame(**key, half)
                && half.stands_still(now)
        });
        let mut still: Vec<_> = still
            .map(|(key, half)| (half.holding.bytes, key.connection))
            .collect();
        still.sort_unstable_by(|one, other| other.cmp(one));
        let (mut known, mut chosen) = (BTreeSet::new(), Vec::new());
        for (_, connection) in still {
            if !known.insert(connection) {
                continue;
            }
            chosen.push(connection);
            for half in both(connection).iter().filter_map(|key| self.halves.get(key)) {
                if let Some(sum) = sums.get_mut(half.class() as usize) {
                    *sum = sum.saturating_sub(half.holding.bytes);
                }
            }
            if self.has_room_to_pass(direction, &sums) {
                return chosen;
            }
        }
        Vec::new()
    }

    fn starved(&mut self, direction: Direction) -> &mut Starved {
        match direction {
            Direction::Request => &mut self.starved_requests,
            Direction::Response => &mut self.starved_answers,
        }
    }

    /// The connections that are to be closed; each is named once.
    pub(crate) fn take_victims(&mut self) -> Vec<u64> {
        std::mem::take(&mut self.victims)
    }

    /// Whether there is room where so much is held of each [`Class`].
    fn has_room_to_pass(&self, direction: Direction, sums: &[usize; Class::COUNT]) -> bool {
        let [requests, answers, unproven, long, _closing] = *sums;
        let passing = answers.saturating_add(requests);
        passing.saturating_add(unproven).saturating_add(long) < self.bytes_max
            || passing < self.bytes_max / PASSING_PART
            // HELD-5.
            || direction == Direction::Response && answers < self.bytes_max / ANSWERS_PART
    }

    /// HELD-3.
    fn bound_unproven(&mut self, now: Instant) {
        while self.sum(Class::Unproven) > self.unproven_bytes_max() {
            let largest = self.largest(|_, half| half.class() == Class::Unproven);
            let Some(connection) = largest else { return };
            self.close(connection);
            self.admit(now);
        }
    }

    fn unproven_bytes_max(&self) -> usize {
        let least = UNPROVEN_BYTES_MIN.min(self.bytes_max / PASSING_PART);
        (self.bytes_max / UNPROVEN_PART).max(least)
    }

    /// Whether it is the fault of its peers that a half stands still.
    fn is_to_blame(&self, key: HalfKey, half: &HeldHalf) -> bool {
        !half.holding.parked && !matches!(half.turn, Turn::Waiting { .. }) && !self.awaits_long_answer(key)
    }

    /// Whether these are requests of a connection whose answer waits for its turn: they may wait for room among those
    /// in flight, and that is then up to us (TURN-2).
    fn awaits_long_answer(&self, key: HalfKey) -> bool {
        let [_, answers] = both(key.connection);
        let answer = self.halves.get(&answers);
        key.direction == Direction::Request
            && answer.is_some_and(|answer| matches!(answer.turn, Turn::Waiting { .. }))
    }

    /// The connection of the half that holds most of those that are `eligible` and hold anything.
    fn largest(&self, eligible: impl Fn(HalfKey, &HeldHalf) -> bool) -> Option<u64> {
        let halves = self.halves.iter();
        halves
            .filter(|(key, half)| {
                half.class() != Class::Closing && half.holding.bytes > 0 && eligible(**key, half)
            })
            .max_by_key(|(key, half)| (half.holding.bytes, key.connection))
            .map(|(key, _)| key.connection)
    }

    /// The connection is to be closed: what it holds is as good as gone, and so is its turn.
    fn close(&mut self, connection: u64) {
        self.victims.push(connection);
        for key in both(connection) {
            self.end_turn(key);
            let Some(half) = self.halves.get_mut(&key) else {
                continue;
            };
            let (class, bytes) = (half.class(), half.holding.bytes);
            half.closing = true;
            self.subtract(class, bytes);
            self.add(Class::Closing, bytes);
        }
    }

    /// Changes a half, which is made if need be, and the sums with it; one that holds nothing and has no turn is
    /// dropped.
    fn change(&mut self, key: HalfKey, holding: Holding, change: impl FnOnce(&mut HeldHalf)) {
        let half = self.halves.entry(key).or_insert(HeldHalf {
            direction: key.direction,
            holding: Holding { bytes: 0, ..holding },
            turn: Turn::None,
            since: holding.paced_at,
            closing: false,
        });
        let before = (half.class(), half.holding.bytes, half.turn.is_lost());
        change(half);
        let after = (half.class(), half.holding.bytes, half.turn.is_lost());
        if after.1 == 0 && matches!(half.turn, Turn::None) && !half.closing {
            self.halves.remove(&key);
        }
        self.subtract(before.0, before.1);
        self.add(after.0, after.1);
        let lost = |(_, bytes, lost): (Class, usize, bool)| if lost { bytes } else { 0 };
        self.lost = self.lost.saturating_sub(lost(before)).saturating_add(lost(after));
    }

    fn sum(&self, class: Class) -> usize {
        self.sums.get(class as usize).copied().unwrap_or(0)
    }

    fn add(&mut self, class: Class, bytes: usize) {
        if let Some(sum) = self.sums.get_mut(class as usize) {
            *sum = sum.saturating_add(bytes);
        }
    }

    fn subtract(&mut self, class: Class, bytes: usize) {
        if let Some(sum) = self.sums.get_mut(class as usize) {
            *sum = sum.saturating_sub(bytes);
        }
    }

    /// What is held and is not about to be given back.
    fn lasting(&self) -> usize {
        self.total().saturating_sub(self.sum(Class::Closing))
    }
}

fn both(connection: u64) -> [HalfKey; 2] {
    [Direction::Request, Direction::Response].map(|direction| HalfKey {
        connection,
        direction,
    })
}

/// A frame up to this length, its prefix included, needs no turn: nearly all requests and answers but records of busy
/// topics.
pub(crate) const PASSING_BYTES_MAX: usize = 64 * 1024;
/// Bytes that are to be moved in [`PATIENCE`]. At a tenth of what 50 MiB, the clients' default for a fetch, need to
/// arrive within their default time-out of 30 seconds, nobody is served by waiting.
pub(crate) const PACE_BYTES: usize = 64 * 1024;
/// How long a frame keeps its turn, and a connection its memory when others need it, without a move: longer than a lost
/// packet takes to be sent again.
pub(crate) const PATIENCE: Duration = Duration::from_secs(1);
/// A quarter of the bound is for short frames alone: thousands of connections with a few frames each.
const PASSING_PART: usize = 4;
/// An eighth of the bound is for short answers, on top of it.
const ANSWERS_PART: usize = 8;
/// A sixteenth of the bound is for connections that are not proven: a login takes a few KiB.
const UNPROVEN_PART: usize = 16;
/// A few first requests fit all the same when the bound is small.
const UNPROVEN_BYTES_MIN: usize = 4 * 1024 * 1024;
