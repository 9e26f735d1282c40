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

/// An executor empties its channel with every tick of 20 ms.
pub(super) const RETRY_AFTER: Duration = Duration::from_millis(5);
