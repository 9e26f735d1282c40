//! How a task that has more to do lets others go first.
//!
//! To wake oneself and return is not enough: glommio runs the tasks that are awake, again and again, and looks at its
//! rings only when none is, so that whoever waits for a socket would wait for the whole of the work. (Its preemption
//! timer is there for that; executors do without, [`ring`](crate::ring) says why.) A glommio timer, however, fires only
//! when the rings have been looked at.
//!
//! - OTHERS-1: between two tasks that go on, the rings are looked at, and whoever has something from its socket runs:
//!   it waits for one turn of one task, however many have more to do.
//! - OTHERS-2: tasks go on in the order in which they have begun to wait.
//! - OTHERS-3: one that is no part of that queue goes on behind one of the queue, however long that is. There are two
//!   such: one that shakes hands, and one that takes in whoever comes.

use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use futures_lite::future::{poll_fn, yield_now};
use tokio::sync::Semaphore;

use super::platform::Platform;

/// The tasks of one executor that let others go first.
#[derive(Debug)]
pub(super) struct OthersFirst {
    /// Its one permit is held by the task that goes on next. Tokio's is fair, needs no runtime, and is not lost with a
    /// task that ends.
    next: Semaphore,
    /// Held by the one of the queue that waits for that permit, or has it.
    queue: Semaphore,
}

impl Default for OthersFirst {
    fn default() -> Self {
        Self {
            next: Semaphore::new(1),
            queue: Semaphore::new(1),
        }
    }
}

impl OthersFirst {
    /// Ready when it is this task's turn, and every other task that was awake has run and the sockets of all have been
    /// looked at.
    ///
    /// Costs a few microseconds, and no sleep: a timer that is due is no reason to wait.
    pub(super) async fn go<P: Platform>(&self) {
        let _queue = self.queue.acquire().await;
        self.go_in_between::<P>().await;
    }

    /// The same for a task that is no part of the queue (OTHERS-3).
    pub(super) async fn go_in_between<P: Platform>(&self) {
        let _next = self.next.acquire().await;
        let mut waited = false;
        while !waited {
            let mut timer = pin!(P::timer(SOON));
            poll_fn(|context| {
                let fired = timer.as_mut().poll(context);
                // One that was due before it was looked at has let nobody go first.
                waited |= fired.is_pending();
                fired.map(|_| ())
            })
            .await;
        }
        // Timers fire before the rings are looked at.
        yield_now().await;
    }
}

/// Over by the time that the rings have been looked at, and not before the timer is set.
const SOON: Duration = Duration::from_micros(1);

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};
    use std::rc::Rc;

    use futures_lite::{AsyncReadExt, AsyncWriteExt};
    use glommio::net::UnixStream;
    use glommio::{LocalExecutorBuilder, Placement};

    use super::*;
    use crate::executor::platform::Glommio;
    use crate::ring::PREEMPT_AFTER;

    /// Runs `test` on an executor as the program has them.
    fn on_executor<T: Send + 'static>(test: impl AsyncFnOnce() -> T + Send + 'static) -> T {
        let executor = LocalExecutorBuilder::new(Placement::Unbound)
            .io_memory(65_536)
            .preempt_timer(PREEMPT_AFTER)
            .spawn(move || async move { test().await })
            .expect("the executor's thread starts");
        executor.join().expect("the executor runs")
    }

    /// Tasks that always have more to do, and count their turns in `turns`.
    fn workers(
        count: usize,
        turns: &Rc<Cell<usize>>,
        others_first: &Rc<OthersFirst>,
    ) -> Vec<glommio::Task<()>> {
        let works = |_| {
            let (turns, others_first) = (Rc::clone(turns), Rc::clone(others_first));
            glommio::spawn_local(async move {
                loop {
                    turns.set(turns.get() + 1);
                    others_first.go::<Glommio>().await;
                }
            })
        };
        (0..count).map(works).collect()
    }

    async fn cancel(tasks: Vec<glommio::Task<()>>) {
        for task in tasks {
            let _: Option<()> = task.cancel().await;
        }
    }

    /// How many turns so many tasks have had in all, at most, while one who asks through a socket waited for an
    /// answer. He asks [`QUESTIONS`] times.
    fn turns_while_one_waits(count: usize) -> usize {
        on_executor(async move || {
            let (mut one, mut other) = UnixStream::pair().expect("a pair of sockets");
            let (turns, others_first) = (Rc::new(Cell::new(0)), Rc::new(OthersFirst::default()));
            let mut tasks = workers(count, &turns, &others_first);
            tasks.push(glommio::spawn_local(async move {
                let mut byte = [0];
                loop {
                    one.read_exact(&mut byte).await.expect("a question");
                    one.write_all(&byte).await.expect("an answer");
                }
            }));
            let mut most = 0;
            for _ in 0..QUESTIONS {
                let asked = turns.get();
                let mut byte = [0];
                other.write_all(&byte).await.expect("a question");
                other.read_exact(&mut byte).await.expect("an answer");
                most = most.max(turns.get() - asked);
            }
            cancel(tasks).await;
            most
        })
    }

    /// EXECUTOR-MAIN-6: waking itself, a task would take all of its turns before the first byte arrives.
    #[test]
    fn whoever_waits_for_a_socket_goes_first() {
        let turns = turns_while_one_waits(1);
        assert!(turns <= 2, "{turns} turns");
    }

    /// OTHERS-1: a turn until the question is seen, and one until the answer is.
    #[test]
    fn it_goes_first_however_many_have_more_to_do() {
        let turns = turns_while_one_waits(20);
        assert!(turns <= 2, "{turns} turns");
    }

    /// OTHERS-2
    #[test]
    fn tasks_take_turns() {
        const TASKS: usize = 5;
        let order: Vec<usize> = on_executor(async || {
            let (order, others_first) = (Rc::new(RefCell::default()), Rc::new(OthersFirst::default()));
            let works = |task| {
                let (order, others_first) = (Rc::clone(&order), Rc::clone(&others_first));
                glommio::spawn_local(async move {
                    for _ in 0..3 {
                        others_first.go::<Glommio>().await;
                        let order: &RefCell<Vec<usize>> = &order;
                        order.borrow_mut().push(task);
                    }
                })
            };
            let tasks: Vec<_> = (0..TASKS).map(works).collect();
            for task in tasks {
                task.await;
            }
            order.take()
        });
        assert_eq!(order, Vec::from_iter((0..TASKS).cycle().take(3 * TASKS)));
    }

    /// OTHERS-3
    #[test]
    fn one_that_is_not_in_the_queue_waits_for_one_of_it() {
        let waited: Vec<usize> = on_executor(async || {
            let (turns, others_first) = (Rc::new(Cell::new(0)), Rc::new(OthersFirst::default()));
            let tasks = workers(20, &turns, &others_first);
            others_first.go::<Glommio>().await;
            let mut waited = Vec::new();
            for _ in 0..50 {
                let before = turns.get();
                others_first.go_in_between::<Glommio>().await;
                waited.push(turns.get() - before);
            }
            cancel(tasks).await;
            waited
        });
        assert!(waited.iter().all(|turns| *turns <= 2), "{waited:?}");
        assert!(
            waited.iter().sum::<usize>() >= 40,
            "the queue goes on as well: {waited:?}"
        );
    }

    const QUESTIONS: usize = 500;
}
