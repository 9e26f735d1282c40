//! The control thread: spreads addresses, looks names up, writes the audit log, serves the admin page, and ends the
//! program.
//!
//! - CONTROL-1: addresses reach every executor before any client is told of them ([`super::spread`]).
//! - CONTROL-2: a message that does not fit into an executor's channel is tried again after a tick; none is dropped.
//! - CONTROL-3: everything on this thread has its turn: no loop here runs for longer than [`TURN`] before it lets
//!   others go, whatever executors send, nothing waits for a disk, a resolver or whoever reads the log, and what is
//!   logged is bounded by the second. Revocations, probes and signals never wait for what a client or a broker can
//!   cause.

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::time::Duration;

use async_trait::async_trait;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{JoinSet, yield_now};
use tokio::time::{sleep_until, timeout};

use super::access_files::{AccessFiles, AccessNews, GroupNews};
use super::broker_tokens::BrokerTokens;
use super::delegation_tokens::DelegationTokens;
use super::hidden::HiddenLog;
use super::key_sets::{KeySetRequests, KeySets};
use super::names::LookUps;
use super::notices::Notices;
use super::passwords::Passwords;
use super::sending::{send, tell_all};
use super::spread::Spread;
use super::stable_keys::StableKeysFile;
use super::state_file::{ClusterAddresses, StateFile};
use super::tls_files::TlsFiles;
use super::topic_looks::TopicLooks;
use crate::admin::{
    AccessFacts, BrokerTokenFacts, Collection, EXECUTOR_TIMEOUT, Hidden, KeySetFacts, KeyringFacts,
    ProcessFacts, Source, TlsFacts, TokenFacts, serve,
};
use crate::audit::{AuditList, AuditLog, AuditState};
use crate::channel::{Receiver, Sender};
use crate::clocks;
use crate::config::OwnPorts;
use crate::ids::{ById, ClusterId, Ids};
use crate::keys::{KeyService, KeyStatistics, StableKeys, ToldKeyEvent, ToldKeyEvents};
use crate::messages::{ControlRequest, ExecutorMessage, TlsNews};
use crate::metrics::Snapshot;
use crate::pipeline::AddressBook;

/// What the control thread is given.
pub(super) struct ControlLinks {
    pub(super) requests: Receiver<ControlRequest>,
    pub(super) executors: Vec<Sender<ExecutorMessage>>,
    /// How many connections are served, and how many should be.
    pub(super) connections: (usize, usize),
    /// Resolve when an executor has ended.
    pub(super) executors_ended: Vec<oneshot::Receiver<Infallible>>,
    pub(super) addresses: Vec<ClusterAddresses>,
    pub(super) kms_names: Vec<String>,
    pub(super) ids: Ids,
    pub(super) audit: AuditLog,
}

/// What is looked at again and again, for executors.
pub(super) struct Followed {
    pub(super) tls: TlsFiles,
    pub(super) logins: AccessFiles,
    pub(super) key_sets: KeySets,
    pub(super) tokens: DelegationTokens,
    pub(super) broker_tokens: BrokerTokens,
    pub(super) stable_keys: Option<StableKeysFile>,
    pub(super) topic_looks: TopicLooks,
}

/// When the program ends, and how.
pub(super) struct Ending<F> {
    /// Says when.
    pub(super) stopped: oneshot::Receiver<()>,
    /// SIGTERM and SIGINT do, instead.
    pub(super) signals: bool,
    /// Called first.
    pub(super) stop_accepting: F,
    /// How long what is in flight may take.
    pub(super) drain_timeout: Duration,
}

/// See the module.
pub(super) struct Control {
    links: ControlLinks,
    spreads: ById<ClusterId, Spread>,
    state_files: Vec<(StateFile, watch::Receiver<AddressBook>)>,
    names: LookUps,
    passwords: Passwords,
    key_sets: KeySetRequests,
    tokens: DelegationTokens,
    topic_looks: TopicLooks,
    /// Groups that have changed.
    groups: mpsc::Receiver<GroupNews>,
    /// What happens to the keyring and its keys, for the audit log.
    keyring_events: mpsc::Receiver<AuditList>,
    /// What happens to keys, for the audit log; `None`: nobody tells yet.
    key_events: Option<ToldKeyEvents>,
    notices: Notices,
    hidden: HiddenLog,
}

impl Control {
    pub(super) fn new(mut links: ControlLinks, own_ports: OwnPorts) -> Self {
        let mut spreads = ById::default();
        let mut state_files = Vec::new();
        for ClusterAddresses { cluster, book, file } in links.addresses.drain(..) {
            let name = links.ids.clusters.name(cluster).to_owned();
            let spread = Spread::new(cluster, name, book);
            state_files.extend(file.map(|file| (file, spread.watch())));
            spreads.insert(cluster, spread);
        }
        Self {
            spreads,
            state_files,
            names: LookUps::new(own_ports),
            passwords: Passwords::default(),
            key_sets: KeySetRequests::default(),
            tokens: DelegationTokens::default(),
            topic_looks: TopicLooks::default(),
            // Nobody says so yet.
            groups: mpsc::channel(1).1,
            keyring_events: mpsc::channel(1).1,
            key_events: None,
            hidden: HiddenLog::new(links.ids.clusters.clone()),
            notices: Notices::new(links.ids.clone()),
            links,
        }
    }

    /// What is known of each cluster's addresses, whenever it changes.
    #[cfg(feature = "testing")]
    pub(super) fn watch_books(&self) -> Vec<(ClusterId, watch::Receiver<AddressBook>)> {
        let spreads = self.spreads.iter();
        spreads
            .map(|(cluster, spread)| (cluster, spread.watch()))
            .collect()
    }

    /// Runs until a signal or whoever started it says that it ends; then executors drain.
    pub(super) async fn run(
        mut self,
        mut key_service: KeyService,
        followed: Followed,
        admin: Option<std::net::TcpListener>,
        facts: ProcessFacts,
        ending: Ending<impl FnOnce()>,
    ) {
        let draining = Arc::new(AtomicBool::new(false));
        let facts_source = Arc::new(Facts {
            executors: self.links.executors.clone(),
            keys: key_service.statistics(),
            kms_names: self.links.kms_names.clone(),
            draining: Arc::clone(&draining),
            hidden: self.hidden.watch(),
            tls: followed.tls.watch(),
            access: followed.logins.watch(),
            key_sets: followed.key_sets.watch(),
            tokens: followed.tokens.watch(),
            broker_tokens: followed.broker_tokens.watch(),
            keyring: followed.stable_keys.as_ref().map(StableKeysFile::watch),
            connections: self.links.connections,
            audit: self.links.audit.state(),
        });
        let executors = self.links.executors.clone();
        let executors_ended = std::mem::take(&mut self.links.executors_ended);
        self.key_events = Some(key_service.events());
        let mut following = JoinSet::new();
        following.spawn(async move { match key_service.run().await {} });
        self.key_sets = followed.key_sets.requests();
        self.tokens = followed.tokens;
        self.topic_looks = followed.topic_looks;
        following.spawn(follow_tls(followed.tls, executors.clone()));
        let (groups, changed) = mpsc::channel(GROUPS_WAITING);
        self.groups = changed;
        following.spawn(follow_access(followed.logins, executors.clone(), groups));
        following.spawn(followed.key_sets.follow(executors.clone()));
        following.spawn(followed.broker_tokens.follow(executors.clone()));
        self.follow_stable_keys(&mut following, followed.stable_keys);
        following.spawn(serve_admin(admin, facts_source, facts));
        let mut state_files = JoinSet::new();
        for (file, book) in self.state_files.drain(..) {
            state_files.spawn(file.keep(book));
        }
        let drain_timeout = ending.drain_timeout;
        let drained = async {
            tokio::select! {
                () = wait_for_stop(ending.stopped, ending.signals) => {}
                () = any_ended(executors_ended) => {
                    tracing::error!("an executor has ended by itself; the program ends");
                    (ending.stop_accepting)();
                    return;
                }
            }
            draining.store(true, Ordering::Relaxed);
            tracing::info!(timeout = ?drain_timeout, "draining");
            (ending.stop_accepting)();
            if !drain(&executors, drain_timeout).await {
                tracing::warn!("connections were still busy at the end of drain_timeout and are closed");
            }
        };
        tokio::select! {
            () = drained => {}
            never = self.serve() => match never {},
        }
        following.abort_all();
        // What was learned last is written.
        self.spreads = ById::default();
        let written = async { while state_files.join_next().await.is_some() {} };
        if timeout(STATE_WRITE_MAX, written).await.is_err() {
            tracing::warn!("a state file could not be written in time");
        }
        // What connections that have ended have left to say.
        let _ = timeout(AUDIT_LAST_WORDS, self.serve()).await;
        self.links.audit.end(clocks::now()).await;
    }

    /// Serves executors in turns, between which everything else on this thread has its own (CONTROL-3).
    pub(super) async fn serve(&mut self) -> Infallible {
        loop {
            let now = clocks::now();
            let executors = &self.links.executors;
            let next = self
                .spreads
                .values_mut()
                .filter_map(|spread| spread.advance(now, executors))
                .min();
            let mut turn = Some(now + TURN);
            tokio::select! {
                // What is asked for goes first: the sleep only wakes, and whoever is due is looked at in each round.
                biased;
                // Few at a time, and each of them was asked for.
                Some(ended) = self.tokens.ended() => self.tokens.take(&self.links.executors, ended),
                request = self.links.requests.recv() => self.serve_one(request),
                Some(GroupNews { cluster, rules, group }) = self.groups.recv() => {
                    self.links.audit.tell_rules(&cluster, rules, Some(&group), clocks::now());
                }
                Some(ended) = self.topic_looks.ended() => self.topic_looks.take(&self.links.executors, ended),
                // KEY-EVENT-1: while the log has no room they wait where there is a bound.
                told = next_key_event(&mut self.key_events), if !self.links.audit.is_waiting() => {
                    self.links.audit.tell_key(told, clocks::now());
                }
                Some(list) = self.keyring_events.recv(), if !self.links.audit.is_waiting() => {
                    self.links.audit.tell_keyring(list, clocks::now());
                }
                () = sleep_until(next.unwrap_or(now).into()), if next.is_some() => turn = None,
                () = self.links.audit.room(), if self.links.audit.is_waiting() => turn = None,
            }
            while turn.is_some_and(|end| clocks::now() < end)
                && let Some(request) = self.links.requests.try_recv()
            {
                self.serve_one(request);
            }
            if self.links.audit.is_waiting() {
                self.links.audit.advance(clocks::now());
            }
            yield_now().await;
        }
    }

    fn follow_stable_keys(&mut self, following: &mut JoinSet<()>, file: Option<StableKeysFile>) {
        let Some(file) = file else { return };
        let (audit, events) = mpsc::channel(1);
        self.keyring_events = events;
        let executors = self.links.executors.clone();
        let tell = move |keys: Arc<StableKeys>| {
            tell_all(executors.clone(), move || {
                ExecutorMessage::StableKeys(Arc::clone(&keys))
            })
        };
        following.spawn(file.follow(tell, audit));
    }

    fn serve_one(&mut self, request: ControlRequest) {
        match request {
            ControlRequest::Learn { cluster, learned } => {
                if let Some(spread) = self.spreads.get_mut(cluster) {
                    spread.want(learned);
                }
            }
            ControlRequest::Resolve { executor, host } => {
                if let Some(executor) = self.links.executors.get(executor) {
                    self.names.look_up(executor.clone(), host);
                }
            }
            ControlRequest::CheckPassword {
                executor,
                connection,
                check,
            } => {
                if let Some(executor) = self.links.executors.get(executor) {
                    self.passwords.check(executor.clone(), connection, check);
                }
            }
            ControlRequest::HashPassword { cluster, hashing } => {
                self.passwords
                    .hash(self.links.executors.clone(), cluster, hashing);
            }
            ControlRequest::MakeToken {
                executor,
                cluster,
                wish,
            } => self.tokens.ask(&self.links.executors, executor, cluster, wish),
            ControlRequest::LookAtTopic(subject) => {
                self.topic_looks.ask(&self.links.executors, subject);
            }
            ControlRequest::FetchKeys { listener } => self.key_sets.fetch(listener),
            ControlRequest::Audit { list, turn } => {
                self.links.audit.take(list, Some(turn), clocks::now());
            }
            ControlRequest::Notices(notices) => {
                let now = clocks::now();
                for notice in &notices {
                    self.notices.write(notice, now);
                }
            }
            ControlRequest::Hidden(news) => {
                let now = clocks::now();
                for news in &news {
                    self.hidden.take(news, now);
                }
            }
        }
    }
}

/// None ever where nobody tells.
async fn next_key_event(events: &mut Option<ToldKeyEvents>) -> ToldKeyEvent {
    match events {
        Some(events) => events.recv().await,
        None => std::future::pending().await,
    }
}

async fn follow_tls(files: TlsFiles, executors: Vec<Sender<ExecutorMessage>>) {
    let tell = |news: TlsNews| tell_all(executors.clone(), move || ExecutorMessage::Tls(news.clone()));
    files.follow(tell).await;
}

async fn follow_access(
    files: AccessFiles,
    executors: Vec<Sender<ExecutorMessage>>,
    groups: mpsc::Sender<GroupNews>,
) {
    let tell = |news| tell_access(executors.clone(), groups.clone(), news);
    files.follow(tell).await;
}

pub(super) async fn tell_access(
    executors: Vec<Sender<ExecutorMessage>>,
    groups: mpsc::Sender<GroupNews>,
    news: AccessNews,
) {
    match news {
        AccessNews::Logins(listener, news) => {
            tell_all(executors, || ExecutorMessage::Logins(listener, news.clone())).await;
        }
        AccessNews::Accounts(cluster, accounts) => {
            let message = || ExecutorMessage::Accounts(cluster, Arc::clone(&accounts));
            tell_all(executors, message).await;
        }
        // Nobody listens any more where the program ends.
        AccessNews::Group(group) => _ = groups.send(group).await,
    }
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

/// Lets connections end what they have begun; whether they had within `at_most`.
pub(super) async fn drain(executors: &[Sender<ExecutorMessage>], at_most: Duration) -> bool {
    let drained = async {
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
    };
    timeout(at_most, drained).await.is_ok()
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
    hidden: watch::Receiver<Vec<Hidden>>,
    tls: watch::Receiver<Vec<TlsFacts>>,
    access: watch::Receiver<Vec<AccessFacts>>,
    key_sets: watch::Receiver<Vec<KeySetFacts>>,
    tokens: watch::Receiver<Vec<TokenFacts>>,
    broker_tokens: watch::Receiver<Vec<BrokerTokenFacts>>,
    keyring: Option<watch::Receiver<Option<KeyringFacts>>>,
    connections: (usize, usize),
    audit: Arc<AuditState>,
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
            hidden: self.hidden.borrow().clone(),
            tls: self.tls.borrow().clone(),
            access: self.access.borrow().clone(),
            key_sets: self.key_sets.borrow().clone(),
            tokens: self.tokens.borrow().clone(),
            broker_tokens: self.broker_tokens.borrow().clone(),
            keyring: self.keyring.as_ref().and_then(|facts| facts.borrow().clone()),
            connections: self.connections,
            audit: Arc::clone(&self.audit),
        }
    }
}

/// What executors ask for is served for so long before others on this thread get their turn.
const TURN: Duration = Duration::from_millis(1);
/// Changed groups that wait for the control thread; whoever follows them waits as well.
const GROUPS_WAITING: usize = 16;
/// Executors tell with each tick of 20 ms what they have for the audit log.
const AUDIT_LAST_WORDS: Duration = Duration::from_millis(100);
/// How long the end of the program waits for a disk.
const STATE_WRITE_MAX: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use super::*;

    /// EXECUTOR-MAIN-5, SERVER-3
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
