//! Bounded lock-free channels between threads: a crossbeam `ArrayQueue` and one waker.
//!
//! - CHANNEL-1: nobody waits on a lock: a full queue gives the value back, an empty one registers the waker and
//!   returns.
//! - CHANNEL-2: no wake-up is lost: the receiver registers its waker and then looks once more before it waits.
//!
//! Many senders, one receiver. Senders may sit on any thread; the receiver belongs to one task.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};

use atomic_waker::AtomicWaker;
use crossbeam::queue::ArrayQueue;

/// Creates a channel that holds at most `capacity` values.
pub fn channel<T>(capacity: usize) -> (Sender<T>, Receiver<T>) {
    let shared = Arc::new(ChannelState {
        queue: ArrayQueue::new(capacity.max(1)),
        receiver: AtomicWaker::new(),
    });
    (
        Sender {
            shared: Arc::clone(&shared),
        },
        Receiver { shared },
    )
}

/// The sending end; clones share the queue.
pub struct Sender<T> {
    shared: Arc<ChannelState<T>>,
}

impl<T> Sender<T> {
    /// Queues `value` and wakes the receiver; gives it back when the queue is full.
    pub fn try_send(&self, value: T) -> Result<(), T> {
        self.shared.queue.push(value)?;
        self.shared.receiver.wake();
        Ok(())
    }

    /// As if the wake-up were lost.
    #[cfg(test)]
    pub(crate) fn try_send_without_waking(&self, value: T) -> Result<(), T> {
        self.shared.queue.push(value)
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
        }
    }
}

/// The receiving end.
pub struct Receiver<T> {
    shared: Arc<ChannelState<T>>,
}

impl<T> Receiver<T> {
    /// Takes the oldest value, if there is one.
    pub fn try_recv(&mut self) -> Option<T> {
        self.shared.queue.pop()
    }

    /// Takes the oldest value, or arranges for the task to be woken by the next one.
    pub fn poll_recv(&mut self, context: &mut Context<'_>) -> Poll<T> {
        if let Some(value) = self.shared.queue.pop() {
            return Poll::Ready(value);
        }
        self.shared.receiver.register(context.waker());
        match self.shared.queue.pop() {
            Some(value) => Poll::Ready(value),
            None => Poll::Pending,
        }
    }

    /// Waits for the next value.
    pub async fn recv(&mut self) -> T {
        poll_fn(|context| self.poll_recv(context)).await
    }
}

struct ChannelState<T> {
    queue: ArrayQueue<T>,
    receiver: AtomicWaker,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// CHANNEL-1
    #[test]
    fn a_full_channel_gives_the_value_back() {
        let (sender, mut receiver) = channel(1);
        assert_eq!(sender.try_send(1), Ok(()));
        assert_eq!(sender.try_send(2), Err(2));
        assert_eq!(receiver.try_recv(), Some(1));
        assert_eq!(sender.try_send(3), Ok(()));
    }

    /// CHANNEL-2: one that is lost leaves the receiver waiting for ever.
    #[test]
    fn values_cross_threads_in_order_and_none_is_lost() {
        const VALUES: u32 = 100_000;
        let (sender, mut receiver) = channel(16);
        let producer = std::thread::spawn(move || {
            for value in 0..VALUES {
                let mut pending = value;
                while let Err(back) = sender.try_send(pending) {
                    pending = back;
                    std::thread::yield_now();
                }
            }
        });
        let received: Vec<u32> = futures_lite::future::block_on(async {
            let mut received = Vec::new();
            for _ in 0..VALUES {
                received.push(receiver.recv().await);
            }
            received
        });
        assert!(producer.join().is_ok());
        assert!(received.iter().copied().eq(0..VALUES));
    }
}
