//! The control thread: spreads addresses, looks names up, writes the audit log, serves the admin page, and ends the program.
//!
//! - CONTROL-1: addresses reach every executor before the one that asked is told, through the same channels.
//! - CONTROL-2: a message that does not fit into an executor's channel is tried again after a tick; none is dropped.

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};

use super::audit::AuditLog;
use super::state_file::StateFile;
use crate::admin::{Collection, EXECUTOR_TIMEOUT, ProcessFacts, Source, serve};
use crate::channel::{Receiver, Sender};
use crate::config::HostPort;
use crate::executor::messages::{ControlRequest, ExecutorMessage};
use crate::keys::{KeyService, KeyStatistics};
use crate::metrics::Snapshot;
use crate::pipeline::{AddressBook, LearnedAddress};

/// What the control thread is given.
pub(super) struct ControlLinks {
    pub(super) requests: Receiver<ControlRequest>,
    pub(super) executors: Vec<Sender<ExecutorMessage>>,
    /// Resolve when an executor has ended.
    pub(super) executors_ended: Vec<oneshot::Receiver<Infallible>>,
    pub(super) books: Vec<AddressBook>,
    pub(super) state_files: Vec<Option<StateFile>>,
    pub(super) kms_names: Vec<String>,
    pub(super) cluster_names: Vec<String>,
}

/// See the module.
pub(super) struct Control {
    links: ControlLinks,
    audit: AuditLog,
}

impl Control {
    pub(super) fn new(links: ControlLinks) -> Self {
        Self {
            links,
            audit: AuditLog::default(),
        }
    }

    /// Runs until a signal (where `signals` says so) or `stopped`; then `stop_accepting` is called and executors drain.
    #[expect(
        clippy::too_many_arguments,
        reason = "everything that the control thread runs, once"
    )]
    pub(super) async fn run(
        mut self,
        key_service: KeyService,
        admin: Option<std::net::TcpListener>,
        facts: ProcessFacts,
        stopped: oneshot::Receiver<()>,
        signals: bool,
        stop_accepting: impl FnOnce(),
        drain_timeout: Duration,
    ) {
        let draining = Arc::new(AtomicBool::new(false));
        let facts_source = Arc::new(Facts {
            executors: self.links.executors.clone(),
            keys: key_service.statistics(),
            kms_names: self.links.kms_names.clone(),
            draining: Arc::clone(&draining),
        });
        let executors = self.links.executors.clone();
        let executors_ended = std::mem::take(&mut self.links.executors_ended);
        let keys = tokio::spawn(key_service.run());
        let admin = tokio::spawn(serve_admin(admin, facts_source, facts));
        let drained = async {
            tokio::select! {
                () = wait_for_stop(stopped, signals) => {}
                () = any_ended(executors_ended) => {
                    tracing::error!("an executor has ended by itself; the program ends");
                    stop_accepting();
                    return;
                }
            }
            draining.store(true, Ordering::Relaxed);
            tracing::info!(timeout = ?drain_timeout, "draining");
            stop_accepting();
            if timeout(drain_timeout, drain(&executors)).await.is_err() {
                tracing::warn!("connections were still busy at the end of drain_timeout and are closed");
            }
        };
        tokio::select! {
            () = drained => {}
            never = self.serve() => match never {},
        }
        keys.abort();
        admin.abort();
    }

    async fn serve(&mut self) -> Infallible {
        loop {
            match self.links.requests.recv().await {
                ControlRequest::Learn { cluster, learned } => self.learn(cluster, learned).await,
                ControlRequest::Resolve { executor, host } => {
                    if let Some(executor) = self.links.executors.get(executor).cloned() {
                        tokio::spawn(resolve(executor, host));
                    }
                }
                ControlRequest::Audit(events) => {
                    let now = Instant::now();
                    for event in &events {
                        self.audit.write(event, now);
                    }
                }
                ControlRequest::ConnectFailed { cluster, node } => {
                    let cluster = self.links.cluster_names.get(cluster).map_or("?", String::as_str);
                    tracing::warn!(
                        cluster,
                        node,
                        "no broker could be connected to; the client was disconnected"
                    );
                }
            }
        }
    }

    async fn learn(&mut self, cluster: usize, learned: Vec<LearnedAddress>) {
        if let Some(book) = self.links.books.get_mut(cluster) {
            let mut news = false;
            for address in &learned {
                news |= book.learn(address.clone());
            }
            if news {
                let name = self.links.cluster_names.get(cluster).map_or("?", String::as_str);
                tracing::info!(
                    cluster = name,
                    nodes = learned.len(),
                    "addresses of brokers learned"
                );
                if let Some(Some(file)) = self.links.state_files.get(cluster) {
                    file.write(book);
                }
            }
        }
        for executor in &self.links.executors {
            let learned = learned.clone();
            send(executor, ExecutorMessage::Learned { cluster, learned }).await;
        }
    }
}

/// Puts a message into an executor's channel, however long it is full (CONTROL-2).
async fn send(executor: &Sender<ExecutorMessage>, message: ExecutorMessage) {
    let mut message = message;
    while let Err(back) = executor.try_send(message) {
        message = back;
        sleep(RETRY_AFTER).await;
    }
}

async fn resolve(executor: Sender<ExecutorMessage>, host: HostPort) {
    let looked_up = timeout(
        RESOLVE_TIMEOUT,
        tokio::net::lookup_host((host.host.as_str(), host.port)),
    );
    let addresses = match looked_up.await {
        Ok(Ok(addresses)) => addresses.take(ADDRESSES_MAX).collect(),
        Ok(Err(error)) => {
            tracing::warn!(host = %host, %error, "a broker's name is not resolved");
            Vec::new()
        }
        Err(_) => {
            tracing::warn!(host = %host, "a broker's name was not resolved in time");
            Vec::new()
        }
    };
    send(&executor, ExecutorMessage::Resolved { host, addresses }).await;
}

/// Waits until one of the executors has ended.
async fn any_ended(mut executors: Vec<oneshot::Receiver<Infallible>>) {
    poll_fn(|context| {
        let ended = executors
            .iter_mut()
            .any(|executor| Pin::new(executor).poll(context).is_ready());
        if ended { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}

async fn wait_for_stop(stopped: oneshot::Receiver<()>, signals: bool) {
    if !signals {
        // Whoever could stop us is gone: the same.
        let _ = stopped.await;
        return;
    }
    match (signal(SignalKind::terminate()), signal(SignalKind::interrupt())) {
        (Ok(mut terminate), Ok(mut interrupt)) => {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        }
        (Err(error), _) | (_, Err(error)) => {
            tracing::error!(%error, "signals cannot be received; the program only ends by SIGKILL");
            std::future::pending::<()>().await;
        }
    }
}

async fn drain(executors: &[Sender<ExecutorMessage>]) {
    let mut waits = Vec::new();
    for executor in executors {
        let (drained, wait) = oneshot::channel();
        send(executor, ExecutorMessage::Drain(drained)).await;
        waits.push(wait);
    }
    for wait in waits {
        // An executor that is gone has nothing left to drain.
        let _ = wait.await;
    }
}

async fn serve_admin(listener: Option<std::net::TcpListener>, source: Arc<Facts>, facts: ProcessFacts) {
    let Some(listener) = listener else { return };
    let served = match tokio::net::TcpListener::from_std(listener) {
        Ok(listener) => serve(listener, source, facts).await,
        Err(error) => Err(error),
    };
    if let Err(error) = served {
        tracing::error!(%error, "the admin page ended");
    }
}

/// Where the admin page gets its facts.
struct Facts {
    executors: Vec<Sender<ExecutorMessage>>,
    keys: Arc<KeyStatistics>,
    kms_names: Vec<String>,
    draining: Arc<AtomicBool>,
}

#[async_trait]
impl Source for Facts {
    async fn collect(&self) -> Collection {
        let mut waits = Vec::new();
        for executor in &self.executors {
            let (reply, wait) = oneshot::channel();
            let sent = executor.try_send(ExecutorMessage::Snapshot(reply)).is_ok();
            waits.push(sent.then_some(wait));
        }
        let deadline = tokio::time::Instant::now() + EXECUTOR_TIMEOUT;
        let mut executors: Vec<Option<Snapshot>> = Vec::new();
        for wait in waits {
            executors.push(match wait {
                Some(wait) => tokio::time::timeout_at(deadline, wait)
                    .await
                    .ok()
                    .and_then(Result::ok),
                None => None,
            });
        }
        Collection {
            executors,
            keys: Some(Arc::clone(&self.keys)),
            kms_names: self.kms_names.clone(),
            draining: self.draining.load(Ordering::Relaxed),
        }
    }
}

/// An executor empties its channel with every tick of 20 ms.
const RETRY_AFTER: Duration = Duration::from_millis(5);
/// Longer than any resolver's own retries are worth.
const RESOLVE_TIMEOUT: Duration = Duration::from_secs(5);
/// Addresses of one name that are tried.
const ADDRESSES_MAX: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_executor_that_ends_is_noticed() {
        let (one, first) = oneshot::channel::<Infallible>();
        let (other, second) = oneshot::channel();
        let mut ended = Box::pin(any_ended(vec![first, second]));
        let early = timeout(Duration::ZERO, &mut ended).await;
        assert!(early.is_err(), "both are alive");
        drop(other);
        ended.await;
        drop(one);
    }
}
