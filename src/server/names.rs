//! Looks brokers' names up for executors.
//!
//! - NAMES-1: every question is answered within [`LOOKUP_TIMEOUT`], with nothing if need be.
//! - NAMES-2: at most [`LOOKUPS_MAX`] threads wait for a resolver, which may take longer than that: the rest of the
//!   pool stays free for the state files and for KMSs.
//! - NAMES-3: an address that leads back to this program is no answer (OWN-PORTS-1).
#![expect(clippy::disallowed_types, reason = "resolvers are threads that may wait")]

use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::sending::send;
use crate::channel::Sender;
use crate::clocks;
use crate::config::{HostPort, OwnPorts};
use crate::messages::ExecutorMessage;
use crate::repeats::{News, Repeats};

/// See the module.
pub(super) struct LookUps {
    lookups: Arc<Semaphore>,
    /// LookUps that lead nowhere: each is said once a minute.
    said: Arc<Mutex<Repeats<HostPort>>>,
    own_ports: Arc<OwnPorts>,
}

impl LookUps {
    pub(super) fn new(own_ports: OwnPorts) -> Self {
        Self {
            lookups: Arc::new(Semaphore::new(LOOKUPS_MAX)),
            said: Arc::new(Mutex::new(Repeats::new())),
            own_ports: Arc::new(own_ports),
        }
    }

    /// Answers an executor, some time.
    pub(super) fn look_up(&self, executor: Sender<ExecutorMessage>, host: HostPort) {
        let lookups = Arc::clone(&self.lookups);
        let own_ports = Arc::clone(&self.own_ports);
        let said = Arc::clone(&self.said);
        tokio::spawn(async move {
            let found = match timeout(LOOKUP_TIMEOUT, addresses_of(&host, lookups, own_ports)).await {
                Ok(found) => found,
                Err(_) => Err(std::io::Error::other("it was not resolved in time")),
            };
            let addresses = found.unwrap_or_else(|error| {
                // INVARIANT: only the control thread takes it, and never across an await.
                let mut said = said.lock().unwrap_or_else(PoisonError::into_inner);
                if said.news(host.clone(), clocks::now()) != News::None {
                    tracing::warn!(host = %host, %error, "a broker's name leads nowhere");
                }
                Vec::new()
            });
            send(&executor, ExecutorMessage::Resolved { host, addresses }).await;
        });
    }
}

/// An address that is written as one needs no resolver.
async fn addresses_of(
    host: &HostPort,
    lookups: Arc<Semaphore>,
    own_ports: Arc<OwnPorts>,
) -> std::io::Result<Vec<SocketAddr>> {
    if let Ok(address) = host.host.parse::<IpAddr>() {
        return leading_elsewhere(std::iter::once((address, host.port).into()), &own_ports);
    }
    let turn = lookups.acquire_owned().await.map_err(std::io::Error::other)?;
    let host = host.clone();
    spawn_blocking(move || {
        let found = (host.host.as_str(), host.port).to_socket_addrs();
        // Not before: whoever asked may have given up, and the thread still waits.
        drop(turn);
        leading_elsewhere(found?, &own_ports)
    })
    .await?
}

fn leading_elsewhere(
    found: impl Iterator<Item = SocketAddr>,
    own_ports: &OwnPorts,
) -> std::io::Result<Vec<SocketAddr>> {
    let (own, others): (Vec<_>, Vec<_>) = found
        .take(ADDRESSES_MAX)
        .partition(|address| own_ports.include(*address));
    if others.is_empty() && !own.is_empty() {
        return Err(std::io::Error::other(
            "it is a port of this proxy: a broker's advertised address, or bootstrap, node_addresses or the state \
             file, is wrong",
        ));
    }
    Ok(others)
}

/// Longer than any resolver's own retries are worth.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(5);
/// Of the 512 threads that tokio starts for what blocks.
const LOOKUPS_MAX: usize = 32;
/// Addresses of one name that are tried.
const ADDRESSES_MAX: usize = 16;

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::channel::{Receiver, channel};

    async fn answer(messages: &mut Receiver<ExecutorMessage>) -> (HostPort, Vec<SocketAddr>) {
        let message = timeout(3 * LOOKUP_TIMEOUT, messages.recv()).await;
        match message.expect("an answer in time") {
            ExecutorMessage::Resolved { host, addresses } => (host, addresses),
            _ => panic!("another message"),
        }
    }

    /// NAMES-1, NAMES-2: as many as may wait for a resolver do, and it hangs.
    #[tokio::test]
    async fn a_resolver_that_hangs_has_so_many_threads_and_every_question_an_answer() {
        let names = LookUps::new(OwnPorts::default());
        let hang = names.lookups.acquire_many(LOOKUPS_MAX as u32);
        let hanging = hang.await.expect("nobody has asked yet");
        let (executor, mut messages) = channel(4);
        let [asked, literal] = ["localhost", "127.0.0.1"].map(|host| HostPort {
            host: host.to_owned(),
            port: 9092,
        });
        let begun = Instant::now();
        names.look_up(executor.clone(), asked.clone());
        names.look_up(executor.clone(), literal.clone());
        let address: SocketAddr = ([127, 0, 0, 1], 9092).into();
        assert_eq!(
            answer(&mut messages).await,
            (literal, vec![address]),
            "nobody is asked"
        );
        assert_eq!(answer(&mut messages).await, (asked.clone(), Vec::new()));
        assert!(begun.elapsed() >= LOOKUP_TIMEOUT, "{:?}", begun.elapsed());
        drop(hanging);
        names.look_up(executor, asked.clone());
        let (host, addresses) = answer(&mut messages).await;
        assert_eq!(host, asked);
        assert!(addresses.contains(&address), "{addresses:?}");
    }
}
