//! Those who have come in, in turns with those who are there.
//!
//! - NEWCOMERS-1: so many are taken, and then others have a turn ([`OthersFirst::go_in_between`]), however many come.
//!
//! Executor threads only.

use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use super::others_first::OthersFirst;
use super::platform::Platform;
use crate::channel::Receiver;

/// See the module.
pub(super) struct Newcomers<T> {
    accepted: Receiver<T>,
    others_first: Rc<OthersFirst>,
    /// Since others had a turn.
    taken: usize,
    /// Over when they have had one.
    others: Option<Pin<Box<dyn Future<Output = ()>>>>,
}

impl<T> Newcomers<T> {
    pub(super) fn new(accepted: Receiver<T>, others_first: Rc<OthersFirst>) -> Self {
        Self {
            accepted,
            others_first,
            taken: 0,
            others: None,
        }
    }

    /// The next one.
    pub(super) fn poll_next<P: Platform>(&mut self, context: &mut Context<'_>) -> Poll<T> {
        if self.taken >= NEWCOMERS_MAX {
            let others_first = &self.others_first;
            let others = self.others.get_or_insert_with(|| {
                let others_first = Rc::clone(others_first);
                Box::pin(async move { others_first.go_in_between::<P>().await })
            });
            ready!(others.as_mut().poll(context));
            self.others = None;
            self.taken = 0;
        }
        let next = self.accepted.poll_recv(context);
        self.taken = match next {
            Poll::Ready(_) => self.taken.saturating_add(1),
            Poll::Pending => 0,
        };
        next
    }
}

/// Where each is closed at once, it takes a millisecond or two.
const NEWCOMERS_MAX: usize = 16;

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use glommio::{LocalExecutorBuilder, Placement};

    use super::*;
    use crate::channel::channel;
    use crate::executor::platform::Glommio;
    use crate::ring::PREEMPT_AFTER;

    /// NEWCOMERS-1
    #[test]
    fn of_many_who_have_come_in_a_few_are_taken_at_a_time() {
        let executor = LocalExecutorBuilder::new(Placement::Unbound)
            .io_memory(65_536)
            .preempt_timer(PREEMPT_AFTER)
            .spawn(|| async {
                const ALL: usize = 3 * NEWCOMERS_MAX + 1;
                let (sender, accepted) = channel(ALL);
                for number in 0..ALL {
                    assert!(sender.try_send(number).is_ok());
                }
                let mut newcomers = Newcomers::new(accepted, Rc::default());
                let (mut came, mut turns) = (Vec::new(), Vec::new());
                poll_fn(|context| {
                    let before = came.len();
                    while let Poll::Ready(number) = newcomers.poll_next::<Glommio>(context) {
                        came.push(number);
                    }
                    turns.push(came.len() - before);
                    match came.len() {
                        ALL => Poll::Ready(()),
                        _ => Poll::Pending,
                    }
                })
                .await;
                assert_eq!(came, (0..ALL).collect::<Vec<_>>(), "in their order");
                // It is woken in between as well, and takes none then.
                turns.retain(|taken| *taken > 0);
                assert_eq!(turns, [NEWCOMERS_MAX, NEWCOMERS_MAX, NEWCOMERS_MAX, 1]);
            })
            .expect("the executor's thread starts");
        executor.join().expect("it runs");
    }
}
