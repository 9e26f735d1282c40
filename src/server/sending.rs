//! What the control thread sends to an executor whose channel may be full: it tries again, and nobody else waits for
//! that.
//!
//! Control thread only.

use std::time::Duration;

use tokio::time::sleep;

use crate::channel::Sender;
use crate::messages::ExecutorMessage;

/// Puts a message into an executor's channel, however long it is full (CONTROL-2).
pub(super) async fn send(executor: &Sender<ExecutorMessage>, message: ExecutorMessage) {
    let mut message = message;
    while let Err(back) = executor.try_send(message) {
        message = back;
        sleep(RETRY_AFTER).await;
    }
}

/// Puts a message for each executor into its channel, one after the other.
pub(super) async fn tell_all(executors: Vec<Sender<ExecutorMessage>>, message: impl Fn() -> ExecutorMessage) {
    for executor in &executors {
        send(executor, message()).await;
    }
}

/// An executor empties its channel with every tick of 20 ms.
pub(super) const RETRY_AFTER: Duration = Duration::from_millis(5);

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;
    use tokio::time::timeout;

    use super::*;
    use crate::channel::channel;

    /// CONTROL-2
    #[tokio::test]
    async fn a_message_that_finds_no_room_is_sent_when_there_is_some() {
        let (executor, mut messages) = channel(1);
        assert!(executor.try_send(ExecutorMessage::Stop).is_ok());
        let (drained, mut wait) = oneshot::channel();
        let mut sending = Box::pin(send(&executor, ExecutorMessage::Drain(drained)));
        let early = timeout(3 * RETRY_AFTER, &mut sending).await;
        assert!(early.is_err(), "there is no room");
        assert!(matches!(messages.try_recv(), Some(ExecutorMessage::Stop)));
        sending.await;
        let Some(ExecutorMessage::Drain(drained)) = messages.try_recv() else {
            panic!("it is there");
        };
        assert!(drained.send(()).is_ok() && wait.try_recv().is_ok());
    }
}
