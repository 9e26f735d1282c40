//! Passwords, those that clients have sent and the proxy's own, hashed by threads that may take their time.
//!
//! Two of either kind are hashed at a time; the others wait. How many of clients' wait is bounded by whoever asks
//! (LOGIN-1); and no broker that wants a password hashed anew all the time makes clients wait for theirs, nor other
//! brokers and other clusters for long ([`turns`]).
//!
//! Control thread only.
#![expect(clippy::disallowed_types, reason = "no executor takes it")]

mod turns;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Semaphore;

use self::turns::Turns;
use super::aside::aside;
use super::sending::send;
use crate::channel::Sender;
use crate::identity::sasl::Failure;
use crate::identity::sasl::exchange::PasswordCheck;
use crate::identity::sasl::initiator::Hashing;
use crate::ids::ClusterId;
use crate::messages::ExecutorMessage;

/// See the module.
pub(super) struct Passwords {
    of_clients: Arc<Semaphore>,
    own: Arc<Semaphore>,
    turns: Arc<Mutex<Turns<Hashing>>>,
}

impl Default for Passwords {
    fn default() -> Self {
        Self {
            of_clients: Arc::new(Semaphore::new(AT_A_TIME)),
            own: Arc::new(Semaphore::new(AT_A_TIME)),
            turns: Arc::default(),
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
    pub(super) fn hash(&self, executors: Vec<Sender<ExecutorMessage>>, cluster: ClusterId, hashing: Hashing) {
        let broker: Arc<str> = hashing.broker().into();
        // What finds no room is asked for again.
        turns_of(&self.turns).push((cluster, broker), hashing);
        let (places, turns) = (Arc::clone(&self.own), Arc::clone(&self.turns));
        tokio::spawn(async move {
            let Ok(_place) = places.acquire().await else {
                return;
            };
            // Whoever ends one goes on with what it has kept waiting.
            while let Some((broker, hashing)) = next_of(&turns) {
                // Should it not be hashed, whoever waits for it asks again.
                let _ = aside(move || hashing.run()).await;
                turns_of(&turns).end(&broker);
                for executor in &executors {
                    send(executor, ExecutorMessage::PasswordHashed).await;
                }
            }
        });
    }
}

/// Nobody panics who holds it, and nobody waits with it.
fn turns_of(turns: &Mutex<Turns<Hashing>>) -> MutexGuard<'_, Turns<Hashing>> {
    turns.lock().unwrap_or_else(PoisonError::into_inner)
}

fn next_of(turns: &Mutex<Turns<Hashing>>) -> Option<(turns::Broker, Hashing)> {
    turns_of(turns).next()
}

/// With 0.6 to 3.4 ms each; executors have cores of their own to work on.
const AT_A_TIME: usize = 2;
