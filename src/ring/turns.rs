//! Which of glommio's calls of io_uring_enter(2) are made, and when.
//!
//! glommio enters its two rings four times for each turn of an executor and four times more to sleep, mostly to arm
//! timers that it takes back in the next turn. Here entries are held back until somebody needs them: liburing counts
//! what waits in the queue that is shared with the kernel, and asks for all of it again at the next call.
//!
//! A turn of an executor, by the calls that it makes:
//!
//! ```text
//! awake   main: the poll that linked the rings is taken back; latency: the timer of the sleep is taken back;
//!         main: a timer that counts completions; both rings are looked at
//! runs    latency: the preemption timer; if its eventfd was read, it is read again; tasks run
//! full    main, latency: what tasks have asked for; latency: the preemption timer is taken back;
//!         main: another timer that counts; both rings are looked at
//! asleep  latency: a timer for the sleep; main: a poll links the rings; main: it waits
//! ```
//!
//! Before tasks run, glommio looks at the latency ring once more. If anything has completed in it, it runs none of
//! them, and sleeps all the same if nobody waits for what has completed: a call that is made too late stops an
//! executor, for good if the task with its only timer was to run. Therefore:
//!
//! - TURNS-1: between the last look at the latency ring and the tasks nothing completes in it that would not without
//!   this module: nothing is submitted to it then, and no timer of a sleep is in the kernel, for it is the wait itself
//!   that ends in time.
//! - TURNS-2: an executor sleeps with nothing held back but the timer of that sleep, for glommio does not sleep while
//!   anything else waits, and nothing is held back from when the preemption timer is taken back until tasks run. Nor is
//!   anything held back in the main ring beyond half of it. Entries are submitted in their order.
//! - TURNS-3: timers that nobody waits for never reach the kernel. Those are the preemption timer, since tasks bound
//!   their own turns; the timer that counts completions, with the write that it is linked to; and any that is taken
//!   back in the same breath. What stands for them completes at once, for glommio keeps accounts.
//! - TURNS-4: where the queues cannot be read, a wait cannot end in time, or the rings are not those of an executor
//!   with [`PREEMPT_AFTER`], every call is made as it comes.
//! - TURNS-5: no sleep lasts longer than [`SLEEP_MAX`], whatever glommio overlooks.
//! - TURNS-6: nor is there one for a timer that is due within [`SLEEP_MIN`]: to set a clock takes longer.
//! - TURNS-7: where the main ring defers (RING-2), what is due in it is seen behind the call that submits what tasks
//!   have asked for, which each turn makes before it may sleep; and a wait ends at once when something is due.
//!
//! Executor threads only.

use std::cell::RefCell;
use std::ffi::c_int;
use std::time::Duration;

use super::submissions::{Entry, OP_TIMEOUT, Parameters, Submissions, Timespec};

/// What becomes of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Call {
    /// It is made as it is.
    Make,
    /// It is not made; so many entries are said to be submitted.
    Skip(c_int),
    /// It waits, and does more than was asked for.
    Sleep(Sleep),
    /// It is not made: there is nothing to wait for.
    Wake,
}

/// A wait that submits entries first and ends in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sleep {
    pub(super) to_submit: u32,
    pub(super) at_most: Timespec,
}

/// The rings of an executor.
#[derive(Debug, Default)]
struct Turns {
    rings: Vec<Ring>,
    /// Their descriptors, once it has shown which they are.
    main: Option<c_int>,
    latency: Option<c_int>,
    stage: Stage,
    #[cfg(test)]
    counts: Counts,
}

/// How far an executor is since it last slept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stage {
    /// It has not begun to run tasks.
    Awake,
    /// Tasks run.
    Runs,
    /// All is submitted.
    #[default]
    Full,
}

#[derive(Debug)]
struct Ring {
    descriptor: c_int,
    submissions: Submissions,
}

/// Calls that glommio wanted to make, and what became of them.
#[cfg(test)]
#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    asked: u32,
    made: u32,
    /// Sleeps that nothing but a completion or [`SLEEP_MAX`] would end.
    untimed: u32,
}

thread_local! {
    static TURNS: RefCell<Turns> = RefCell::default();
}

/// Notes a ring that this thread has set up.
pub(super) fn created(descriptor: c_int, parameters: &Parameters) {
    with(|turns| {
        // If the number was used before, the ring that had it is closed.
        turns.rings.retain(|ring| ring.descriptor != descriptor);
        // It may be that of another executor.
        (turns.main, turns.latency, turns.stage) = (None, None, Stage::Full);
        if let Some(submissions) = Submissions::map(descriptor, parameters) {
            turns.rings.push(Ring {
                descriptor,
                submissions,
            });
        }
    });
}

/// Says what to do about a call of io_uring_enter(2).
pub(super) fn call(descriptor: c_int, to_submit: u32, min_complete: u32) -> Call {
    with(|turns| {
        let call = turns.decide(descriptor, to_submit, min_complete);
        #[cfg(test)]
        turns.counts.count(call);
        call
    })
    .unwrap_or(Call::Make)
}

/// `None` when the thread is about to end.
fn with<T>(use_it: impl FnOnce(&mut Turns) -> T) -> Option<T> {
    TURNS
        .try_with(|turns| turns.try_borrow_mut().ok().map(|mut turns| use_it(&mut turns)))
        .ok()
        .flatten()
}

impl Turns {
    fn decide(&mut self, descriptor: c_int, to_submit: u32, min_complete: u32) -> Call {
        let Some(queue) = queue_of(&mut self.rings, descriptor) else {
            return Call::Make;
        };
        let last = queue.last();
        if last.is_some_and(|last| is_preemption_timer(&last)) {
            self.latency = Some(descriptor);
        } else if last.is_some_and(|last| is_write_of_a_timer(&last)) {
            self.main = Some(descriptor);
        }
        let (Some(main), Some(latency)) = (self.main, self.latency) else {
            return Call::Make;
        };
        if descriptor == main && to_submit == 0 && min_complete > 0 {
            return self.sleep(main, latency);
        }
        match last.filter(|_| to_submit > 0 && min_complete == 0) {
            Some(last) if descriptor == latency => latency_ring(&mut self.stage, queue, &last),
            Some(last) if descriptor == main => main_ring(self.stage, queue, &last, latency),
            _ => Call::Make,
        }
    }

    /// The executor waits for the main ring, with which the latency ring is linked.
    fn sleep(&mut self, main: c_int, latency: c_int) -> Call {
        self.stage = Stage::Awake;
        let timer = queue_of(&mut self.rings, latency)
            .and_then(|queue| queue.last())
            .and_then(|last| last.duration());
        #[cfg(test)]
        {
            self.counts.untimed += u32::from(timer.is_none());
        }
        // TURNS-6
        if timer.is_some_and(|timer| timer < SLEEP_MIN) {
            return Call::Wake;
        }
        let to_submit = queue_of(&mut self.rings, main).map_or(0, |queue| queue.waiting() as u32);
        Call::Sleep(Sleep {
            to_submit,
            // TURNS-5
            at_most: timer.map_or(SLEEP_MAX, |timer| timer.min(SLEEP_MAX)),
        })
    }
}

fn queue_of(rings: &mut [Ring], descriptor: c_int) -> Option<&mut Submissions> {
    let ring = rings.iter_mut().find(|ring| ring.descriptor == descriptor);
    ring.map(|ring| &mut ring.submissions)
}

fn latency_ring(stage: &mut Stage, queue: &mut Submissions, last: &Entry) -> Call {
    // TURNS-1: tasks run next.
    if is_preemption_timer(last) {
        *stage = Stage::Runs;
        return Call::Skip(0);
    }
    // The same, after another thread has woken it; or the wait that comes next ends in time.
    if last.opcode == OP_READ || last.duration().is_some() {
        return Call::Skip(1);
    }
    drop_timers(queue);
    if *stage == Stage::Awake && queue.is_void() {
        return Call::Skip(0);
    }
    // The preemption timer is taken back, or a task wants something of this ring.
    *stage = Stage::Full;
    Call::Make
}

fn main_ring(stage: Stage, queue: &mut Submissions, last: &Entry, latency: c_int) -> Call {
    if queue.waiting() == 1 && last.opcode == OP_POLL_ADD && last.descriptor == latency {
        // The wait comes next.
        return Call::Skip(1);
    }
    if stage != Stage::Full && queue.waiting() < WAITING_MAX {
        return Call::Skip(0);
    }
    drop_timers(queue);
    Call::Make
}

/// TURNS-3
fn drop_timers(queue: &mut Submissions) {
    let waiting = queue.waiting();
    for place in 0..waiting {
        let Some(timer) = queue.get(place).filter(|entry| entry.opcode == OP_TIMEOUT) else {
            continue;
        };
        let next = place.saturating_add(1);
        let is_cancelled = |place: &usize| {
            let entry = queue.get(*place);
            entry.is_some_and(|entry| entry.opcode == OP_CANCEL && entry.address == timer.user_data)
        };
        let cancel = (next..waiting).find(is_cancelled);
        let write = queue
            .get(next)
            .filter(|entry| timer.is_linked() && is_write_of_a_timer(entry));
        if cancel.is_none() && write.is_none() {
            continue;
        }
        queue.make_void(place);
        if write.is_some() {
            queue.make_void(next);
        }
        if let Some(cancel) = cancel {
            queue.make_void(cancel);
        }
    }
}

fn is_preemption_timer(entry: &Entry) -> bool {
    entry.duration() == Some(Timespec::from(PREEMPT_AFTER))
}

/// What follows upon the timer that counts completions.
fn is_write_of_a_timer(entry: &Entry) -> bool {
    entry.opcode == OP_WRITE && entry.user_data == 0
}

#[cfg(test)]
impl Counts {
    fn count(&mut self, call: Call) {
        self.asked += 1;
        self.made += u32::from(!matches!(call, Call::Skip(_) | Call::Wake));
    }
}

/// What executors are to be started with as glommio's preemption timer, which is known by it.
pub(crate) const PREEMPT_AFTER: Duration = Duration::new(100, 7);
/// Not more than a turn takes.
const SLEEP_MIN: Timespec = Timespec::new(0, 10_000);
/// Five ticks of an executor.
const SLEEP_MAX: Timespec = Timespec::new(0, 100_000_000);
/// Half a ring.
const WAITING_MAX: usize = 64;
const OP_POLL_ADD: u8 = 6;
const OP_CANCEL: u8 = 14;
const OP_READ: u8 = 22;
const OP_WRITE: u8 = 23;

#[cfg(test)]
mod tests;
