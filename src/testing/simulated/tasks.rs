//! Tasks that go on when they are told to, and timers that fire when the time is set.

#![expect(clippy::disallowed_methods, reason = "it reads the simulated time")]

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use crossbeam::queue::SegQueue;

use crate::clocks;

thread_local! {
    static TASKS: Tasks = Tasks::default();
}

/// All tasks and timers of a world; clones are the same.
#[derive(Clone, Default)]
pub struct Tasks(Rc<State>);

#[derive(Default)]
struct State {
    tasks: RefCell<BTreeMap<u64, Entry>>,
    next_task: RefCell<u64>,
    /// Whose task is polled: what it spawns is the same executor's.
    polled: Cell<usize>,
    /// Executors that do nothing, each until then.
    stalled: RefCell<BTreeMap<usize, Instant>>,
    /// Which tasks were woken; wakers may be anywhere.
    woken: Arc<SegQueue<u64>>,
    /// Those of them that have not gone on yet, in the order in which they were woken.
    awake: RefCell<Vec<u64>>,
    timers: RefCell<BTreeMap<(Instant, u64), Waker>>,
    next_timer: RefCell<u64>,
}

struct Entry {
    executor: usize,
    /// `None` while it is polled.
    future: Option<Pin<Box<dyn Future<Output = ()>>>>,
    waker: Arc<TaskWaker>,
}

struct TaskWaker {
    task: u64,
    is_awake: AtomicBool,
    woken: Arc<SegQueue<u64>>,
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        if !self.is_awake.swap(true, Ordering::Relaxed) {
            self.woken.push(self.task);
        }
    }
}

/// A task; it goes on without this too.
pub struct Task(u64);

impl Tasks {
    /// Those of this thread.
    #[must_use]
    pub fn of_thread() -> Self {
        TASKS.with(Self::clone)
    }

    /// Drops every task and timer.
    pub fn clear(&self) {
        // What is dropped may spawn, wake or set timers.
        while let Some((_, entry)) = { self.0.tasks.borrow_mut().pop_first() } {
            drop(entry);
        }
        self.0.timers.borrow_mut().clear();
        while self.0.woken.pop().is_some() {}
        self.0.awake.borrow_mut().clear();
        self.0.stalled.borrow_mut().clear();
    }

    /// Adds an executor, which is a task that is awake.
    pub fn spawn_executor(&self, executor: usize, future: impl Future<Output = ()> + 'static) {
        self.0.polled.set(executor);
        self.spawn(future);
    }

    /// None of an executor's tasks goes on for so long, as when its core has other things to do.
    pub fn stall(&self, executor: usize, by: Duration) {
        self.0.stalled.borrow_mut().insert(executor, clocks::now() + by);
    }

    fn is_stalled(&self, executor: usize) -> bool {
        let stalled = self.0.stalled.borrow();
        stalled.get(&executor).is_some_and(|until| clocks::now() < *until)
    }

    /// Adds a task of the executor that is at it, which is awake.
    pub fn spawn(&self, future: impl Future<Output = ()> + 'static) -> Task {
        let task = {
            let mut next = self.0.next_task.borrow_mut();
            *next += 1;
            *next
        };
        let waker = Arc::new(TaskWaker {
            task,
            is_awake: AtomicBool::new(false),
            woken: Arc::clone(&self.0.woken),
        });
        Arc::clone(&waker).wake();
        let future: Pin<Box<dyn Future<Output = ()>>> = Box::pin(future);
        let entry = Entry {
            executor: self.0.polled.get(),
            future: Some(future),
            waker,
        };
        self.0.tasks.borrow_mut().insert(task, entry);
        Task(task)
    }

    /// Ends a task.
    pub fn cancel(&self, task: &Task) {
        let entry = self.0.tasks.borrow_mut().remove(&task.0);
        drop(entry);
    }

    /// How many tasks could go on.
    #[must_use]
    pub fn awake(&self) -> usize {
        let mut awake = self.0.awake.borrow_mut();
        while let Some(task) = self.0.woken.pop() {
            awake.push(task);
        }
        let tasks = self.0.tasks.borrow();
        awake.retain(|task| tasks.contains_key(task));
        drop(tasks);
        awake.iter().filter(|task| self.may_go_on(**task)).count()
    }

    fn may_go_on(&self, task: u64) -> bool {
        let tasks = self.0.tasks.borrow();
        tasks
            .get(&task)
            .is_some_and(|entry| !self.is_stalled(entry.executor))
    }

    /// Polls one of those that [`Self::awake`] has counted.
    pub fn poll(&self, nth: usize) {
        let task = {
            let mut awake = self.0.awake.borrow_mut();
            let mut positions = (0..awake.len()).filter(|position| self.may_go_on(awake[*position]));
            let Some(position) = positions.nth(nth) else {
                return;
            };
            awake.remove(position)
        };
        let taken = self.0.tasks.borrow_mut().get_mut(&task).and_then(|entry| {
            entry.waker.is_awake.store(false, Ordering::Relaxed);
            self.0.polled.set(entry.executor);
            Some((entry.future.take()?, Arc::clone(&entry.waker)))
        });
        let Some((mut future, waker)) = taken else { return };
        let polled = future
            .as_mut()
            .poll(&mut Context::from_waker(&Waker::from(waker)));
        let done = {
            let mut tasks = self.0.tasks.borrow_mut();
            match (polled, tasks.get_mut(&task)) {
                (Poll::Pending, Some(entry)) => {
                    entry.future = Some(future);
                    None
                }
                _ => Some((tasks.remove(&task), future)),
            }
        };
        drop(done);
    }

    /// When the first timer is due.
    #[must_use]
    pub fn next_timer(&self) -> Option<Instant> {
        let timers = self.0.timers.borrow();
        timers.first_key_value().map(|((deadline, _), _)| *deadline)
    }

    /// Wakes whoever waits for a timer that is due.
    pub fn fire_timers(&self) {
        let now = clocks::now();
        loop {
            let waker = {
                let mut timers = self.0.timers.borrow_mut();
                let due = timers.first_entry().filter(|first| first.key().0 <= now);
                due.map(|due| due.remove())
            };
            let Some(waker) = waker else { return };
            waker.wake();
        }
    }

    /// A timer that begins now.
    #[must_use]
    pub fn timer(&self, after: Duration) -> SimulatedTimer {
        SimulatedTimer {
            deadline: clocks::now() + after,
            number: None,
            tasks: self.clone(),
        }
    }
}

/// Ready when the time is set to its deadline or later.
pub struct SimulatedTimer {
    deadline: Instant,
    number: Option<u64>,
    tasks: Tasks,
}

impl Future for SimulatedTimer {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if clocks::now() >= self.deadline {
            return Poll::Ready(());
        }
        let state = Rc::clone(&self.tasks.0);
        let number = *self.number.get_or_insert_with(|| {
            let mut next = state.next_timer.borrow_mut();
            *next += 1;
            *next
        });
        let key = (self.deadline, number);
        state.timers.borrow_mut().insert(key, context.waker().clone());
        Poll::Pending
    }
}

impl Drop for SimulatedTimer {
    fn drop(&mut self) {
        if let Some(number) = self.number {
            let waker = self.tasks.0.timers.borrow_mut().remove(&(self.deadline, number));
            drop(waker);
        }
    }
}
