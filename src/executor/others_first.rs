//! How a task that has more to do lets others go first.
//!
//! To wake oneself and return is not enough: glommio runs the tasks that are awake, again and again, and looks at its
//! rings only when none is, so that whoever waits for a socket would wait for the whole of the work. (Its preemption
//! timer is there for that; executors do without, [`ring`](crate::ring) says why.) A glommio timer, however, fires only
//! when the rings have been looked at.

use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use futures_lite::future::poll_fn;

use super::platform::Platform;

/// Ready when every other task that was awake has run and the sockets of all have been looked at.
///
/// Costs a few microseconds, and no sleep: a timer that is due is no reason to wait.
pub(super) async fn others_first<P: Platform>() {
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
}

/// Over by the time that the rings have been looked at, and not before the timer is set.
const SOON: Duration = Duration::from_micros(1);

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::rc::Rc;

    use futures_lite::{AsyncReadExt, AsyncWriteExt};
    use glommio::net::UnixStream;
    use glommio::{LocalExecutorBuilder, Placement};

    use super::*;
    use crate::executor::platform::Glommio;
    use crate::ring::PREEMPT_AFTER;

    /// EXECUTOR-MAIN-6: waking itself, a task would take all of its turns before the first byte arrives.
    #[test]
    fn whoever_waits_for_a_socket_goes_first() {
        const TURNS: usize = 500;
        let executor = LocalExecutorBuilder::new(Placement::Unbound)
            .io_memory(65_536)
            .preempt_timer(PREEMPT_AFTER)
            .spawn(|| async {
                let (mut one, mut other) = UnixStream::pair().expect("a pair of sockets");
                let served = Rc::new(Cell::new(0));
                let counter = Rc::clone(&served);
                let neighbour = glommio::spawn_local(async move {
                    let mut byte = [0];
                    loop {
                        one.read_exact(&mut byte).await.expect("a question");
                        one.write_all(&byte).await.expect("an answer");
                    }
                });
                let asking = glommio::spawn_local(async move {
                    let mut byte = [0];
                    loop {
                        other.write_all(&byte).await.expect("a question");
                        other.read_exact(&mut byte).await.expect("an answer");
                        counter.set(counter.get() + 1);
                    }
                });
                for _ in 0..TURNS {
                    others_first::<Glommio>().await;
                }
                let _: Option<()> = neighbour.cancel().await;
                let _: Option<()> = asking.cancel().await;
                served.get()
            })
            .expect("the executor's thread starts");
        let served: usize = executor.join().expect("the executor runs");
        assert!(
            served >= TURNS / 10,
            "{served} questions were answered in {TURNS} turns"
        );
    }
}
