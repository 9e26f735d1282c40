//! Passwords that clients have sent, hashed by threads that may take their time.
//!
//! Two are hashed at a time; the others wait. How many wait is bounded by whoever asks (LOGIN-1).
//!
//! Control thread only.

use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

use super::sending::send;
use crate::channel::Sender;
use crate::identity::sasl::Failure;
use crate::identity::sasl::exchange::PasswordCheck;
use crate::messages::ExecutorMessage;

/// See the module.
pub(super) struct Passwords {
    places: Arc<Semaphore>,
}

impl Default for Passwords {
    fn default() -> Self {
        Self {
            places: Arc::new(Semaphore::new(AT_A_TIME)),
        }
    }
}

impl Passwords {
    /// Has a password hashed, and tells the executor.
    pub(super) fn check(&self, executor: Sender<ExecutorMessage>, connection: u32, check: PasswordCheck) {
        let places = Arc::clone(&self.places);
        tokio::spawn(async move {
            let Ok(_place) = places.acquire().await else {
                return;
            };
            let result = spawn_blocking(move || check.run()).await;
            let result = result.unwrap_or(Err(Failure::Malformed("its password could not be hashed")));
            send(&executor, ExecutorMessage::PasswordChecked { connection, result }).await;
        });
    }
}

/// With 0.6 to 3.4 ms each; executors have cores of their own to work on.
const AT_A_TIME: usize = 2;
