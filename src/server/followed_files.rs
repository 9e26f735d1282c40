//! Files that are looked at again and again, for as long as the program runs.
//!
//! - FOLLOWED-1: they are looked at every [`LOOK_INTERVAL`] by threads that may wait for a disk; what is news is told
//!   one after the other, and what is known of them whenever it changes.
//!
//! Control thread only.

use std::time::Duration;

use tokio::sync::watch;
use tokio::task::spawn_blocking;
use tokio::time::sleep;

/// One of them, or some that belong together.
pub(super) trait Followed: Send + 'static {
    /// What they hold now.
    type News: Send + 'static;
    /// What is known of them, for the admin page.
    type Facts: PartialEq;

    /// Looks at them; news where they have changed and can be used. It blocks.
    fn look(&mut self) -> Option<Self::News>;

    fn facts(&self) -> Self::Facts;
}

/// See the module.
pub(super) struct FollowedFiles<F: Followed> {
    /// For the log.
    what: &'static str,
    followed: Vec<F>,
    told: watch::Sender<Vec<F::Facts>>,
}

impl<F: Followed> FollowedFiles<F> {
    /// `what`: what they are together.
    pub(super) fn new(what: &'static str, followed: Vec<F>) -> Self {
        let told = watch::Sender::new(followed.iter().map(F::facts).collect());
        Self { what, followed, told }
    }

    /// What is in force, whenever it changes.
    pub(super) fn watch(&self) -> watch::Receiver<Vec<F::Facts>> {
        self.told.subscribe()
    }

    /// Follows them for as long as it is polled.
    pub(super) async fn follow<T: Future<Output = ()>>(self, mut tell: impl FnMut(F::News) -> T) {
        let Self {
            what,
            mut followed,
            told,
        } = self;
        while !followed.is_empty() {
            sleep(LOOK_INTERVAL).await;
            let looked = spawn_blocking(move || {
                let news: Vec<_> = followed.iter_mut().filter_map(F::look).collect();
                (followed, news)
            });
            let Ok((back, news)) = looked.await else {
                tracing::error!("{what} are not followed any more: restart the program to read them");
                return;
            };
            followed = back;
            let facts: Vec<_> = followed.iter().map(F::facts).collect();
            told.send_if_modified(|before| {
                let is_new = *before != facts;
                *before = facts;
                is_new
            });
            for news in news {
                tell(news).await;
            }
        }
    }
}

/// Whoever renews a certificate does so days before it ends; who is taken out of a file is out within it.
pub(super) const LOOK_INTERVAL: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    /// Counts the looks; every other one finds something, and what comes after `last` panics.
    struct Counter {
        looks: u32,
        last: u32,
    }

    impl Followed for Counter {
        type News = u32;
        type Facts = u32;

        fn look(&mut self) -> Option<u32> {
            self.looks += 1;
            assert!(self.looks <= self.last, "no more");
            self.looks.is_multiple_of(2).then_some(self.looks)
        }

        fn facts(&self) -> u32 {
            self.looks / 2
        }
    }

    /// FOLLOWED-1
    #[tokio::test(start_paused = true)]
    async fn news_are_told_in_their_turn_and_the_end_is_an_end() {
        let files = FollowedFiles::new("counters", vec![Counter { looks: 0, last: 5 }]);
        let facts = files.watch();
        let begun = tokio::time::Instant::now();
        let mut told = Vec::new();
        let tell = |news| {
            told.push(news);
            std::future::ready(())
        };
        files.follow(tell).await;
        assert_eq!(told, [2, 4]);
        assert_eq!(*facts.borrow(), [2]);
        assert!(begun.elapsed() >= 6 * LOOK_INTERVAL);
    }
}
