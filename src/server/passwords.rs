//! Passwords, those that clients have sent and the proxy's own, hashed by threads that may take their time.
//!
//! Two of either kind are hashed at a time; the others wait. How many wait is bounded by whoever asks (LOGIN-1,
//! INITIATOR-3); and no broker that wants a password hashed anew all the time makes clients wait for theirs.
//!
//! Control thread only.

use std::sync::Arc;

use tokio::sync::Semaphore;

use super::aside::aside;
use super::sending::send;
use crate::channel::Sender;
use crate::identity::sasl::Failure;
use crate::identity::sasl::exchange::PasswordCheck;
use crate::identity::sasl::initiator::Hashing;
use crate::messages::ExecutorMessage;

/// See the module.
pub(super) struct Passwords {
    of_clients: Arc<Semaphore>,
    own: Arc<Semaphore>,
}

impl Default for Passwords {
    fn default() -> Self {
        Self {
            of_clients: Arc::new(Semaphore::new(AT_A_TIME)),
            own: Arc::new(Semaphore::new(AT_A_TIME)),
        }
    }
}

impl Passwords {
    /// Has a password hashed, and tells the executor.
    pub(super) fn check(&self, executor: Sender<ExecutorMessage>, connection: u32, check: PasswordCheck) {
        let places = Arc::clone(&self.of_clients);
        tokio::spawn(async move {
            let Ok(_place) = places.acquire().await else {
                return;
            };
            let result = aside(move || check.run()).await;
            let result = result.unwrap_or(Err(Failure::Malformed("its password could not be hashed")));
            send(&executor, ExecutorMessage::PasswordChecked { connection, result }).await;
        });
    }

    /// Has a password of the proxy's own hashed, and tells all executors.
    pub(super) fn hash(&self, executors: Vec<Sender<ExecutorMessage>>, hashing: Hashing) {
        let places = Arc::clone(&self.own);
        tokio::spawn(async move {
            let Ok(_place) = places.acquire().await else {
                return;
            };
            // Should it not be hashed, whoever waits for it asks again.
            let _ = aside(move || hashing.run()).await;
            for executor in &executors {
                send(executor, ExecutorMessage::PasswordHashed).await;
            }
        });
    }
}

/// With 0.6 to 3.4 ms each; executors have cores of their own to work on.
const AT_A_TIME: usize = 2;
