//! A connection from its acceptance to its end, stage by stage.
//!
//! | stage | waits for | at most | reads |
//! |---|---|---|---|
//! | route | nobody | | |
//! | preface, if the listener wants one | the load balancer | 10 s, and its time | 4 KiB, nothing behind it |
//! | TLS | the client | `tls.handshake_timeout`, and its time | 64 KiB |
//! | login, if it ends here | the client; hashes | its time; 10 s | 16 requests of 64 KiB, nothing behind them |
//! | first word | the client | its time | nothing: 14 bytes are looked at |
//! | token, if brokers make one for the client | the control thread | 10 s | nothing |
//! | dial: a question | the broker that would be connected to | 1 s | 16 KiB of its answer |
//! | dial | names and brokers | `limits.connect_timeout` for each address | nothing |
//! | versions, behind a login | the broker | 1 s | 16 KiB of its answer |
//! | login at the broker, if the proxy makes one | the broker; hashes | 10 s | 64 KiB, nothing behind its answers |
//! | relay | both | as [`Relay`] says | as [`Relay`] says |
//!
//! The client's time is `limits.idle_timeout_unauthenticated` for all stages together, until the broker has shown that
//! it takes the client. The registry of connections keeps it (`close_idle`), by what [`Arrival::clients_stage`] and
//! [`Arrival::brokers_stage`] tell it, and no stage does so again. A stage that reads before the relay does has its
//! stream [`Bounded`](super::bounded::Bounded), with a time and a number of bytes of its own.
//!
//! - SERVE-1: what the executor asks of a connection ends whichever stage it is in.
//! - SERVE-2: a broker is connected to when the client has said something, so that whoever only connects costs none.
//! - SERVE-3: a connection is counted out once, whether its task ends or is cancelled.
//! - SERVE-4: what a load balancer says of a client is taken from where the listener says that load balancers are, and
//!   from nowhere else.
//!
//! Executor threads only.

mod broker_login;
mod login;
mod tls;

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Poll;

use self::login::LoggedIn;
use super::dial::{Caller, Dialling, FirstWord, Listener, first_word};
use super::handshake::bounds::Handshakes;
use super::offered::Offered;
use super::others_first::OthersFirst;
use super::parting::Sockets;
use super::platform::Platform;
use super::preface::{self, NoPreface};
use super::shares::{Holder, Share, Shares};
use super::stage_memory::StageMemory;
use crate::clocks;
use crate::config::{ClientAuth, HostPort};
use crate::connection::{Relay, Request, Shared, Status, TurnOutcome, Wire};
use crate::identity::{Client, Principal};
use crate::ids::{ById, ClusterId, ListenerId};
use crate::messages::{Accepted, ConnectError, Notice, NoticeKind, Seats, TlsNews};
use crate::metrics::{CloseReason, Direction};
use crate::pipeline::{ReachedBroker, Session};
use crate::transport::proxy_protocol::{Networks, Source};
use crate::transport::tls_client::ClientSet;

/// What the connections of one executor are served with.
pub(super) struct Serving {
    pub(super) shared: Rc<Shared>,
    pub(super) dialling: Dialling,
    pub(super) handshakes: Rc<Handshakes>,
    /// Whoever has come in keeps what there was then.
    pub(super) listeners: RefCell<ById<ListenerId, Rc<Listener>>>,
    pub(super) seats: Arc<Seats>,
    /// Connections whose task has ended.
    pub(super) finished: RefCell<Vec<u64>>,
    /// Connections that have ended and whose sockets are not closed yet.
    pub(super) partings: Cell<usize>,
    /// What brokers offer, for clients that have not logged in.
    pub(super) offered: Offered,
    /// Has a clone for each answer that is held back.
    pub(super) held_back: Rc<()>,
    /// What each address and principal may take.
    pub(super) shares: Rc<Shares>,
    /// For whoever has more to do.
    pub(super) others_first: Rc<OthersFirst>,
}

/// Serves a client that has come in, to the closing of its sockets; its number is `id`.
pub(super) async fn serve<P: Platform>(
    serving: Rc<Serving>,
    accepted: Accepted<P::Accepted>,
    id: u64,
    status: Rc<Status>,
) {
    // After all else.
    let _seat = Seat {
        id,
        serving: Rc::clone(&serving),
    };
    let ended = Ended {
        id,
        shared: Rc::clone(&serving.shared),
        reason: CloseReason::Drain,
    };
    let mut sockets = Sockets::<P>::of(accepted.stream);
    let mut arrival = Arrival {
        id,
        listener: accepted.listener,
        node: accepted.node,
        client: Client::at(accepted.peer),
        status,
        shares: Vec::new(),
        serving: Rc::clone(&serving),
    };
    let Err(reason) = arrival.stages(&mut sockets).await;
    serving.shared.send_wanted_keys();
    // PARTING-2
    ended.finish(reason);
    let Serving {
        shared,
        partings,
        others_first,
        ..
    } = &*serving;
    sockets.part(shared, partings, others_first).await;
}

/// A client that has come in.
struct Arrival {
    /// Its number.
    id: u64,
    listener: ListenerId,
    /// The node whose port it was, or whose name it asks for.
    node: Option<i32>,
    client: Client,
    status: Rc<Status>,
    /// What it takes of its address's, and its principal's.
    shares: Vec<Share>,
    serving: Rc<Serving>,
}

/// A broker that was connected to for a client.
struct Reached<P: Platform> {
    broker: Wire<P::Socket>,
    /// Where it was reached.
    address: HostPort,
    /// The node that the client came for, and where it was reached.
    node: Option<(i32, HostPort)>,
}

impl Serving {
    /// What is in force of TLS from now on.
    pub(super) fn take_tls(&self, news: &TlsNews) {
        let mut listeners = self.listeners.borrow_mut();
        match news {
            TlsNews::Listener(id, set) => {
                if let Some(listener) = listeners.get_mut(*id) {
                    Rc::make_mut(listener).tls = Some(Arc::clone(set));
                }
            }
            TlsNews::Upstream(cluster, set) => {
                let of_cluster = listeners
                    .values_mut()
                    .filter(|listener| listener.map.cluster == *cluster);
                for listener in of_cluster {
                    Rc::make_mut(listener).upstream_tls = Some(Arc::clone(set));
                }
            }
        }
    }
}

impl Arrival {
    /// Every stage, one after the other: what it waits for, and whose time that is.
    async fn stages<P: Platform>(&mut self, sockets: &mut Sockets<P>) -> Result<Infallible, CloseReason> {
        let mut listener = self.listener()?;
        if let Some(proxies) = &listener.proxies {
            self.preface::<P>(sockets.client.socket_mut(), proxies).await?;
        }
        let address = self.client.address.map(|address| Holder::Address(address.ip()));
        self.take_share(address, CloseReason::AddressLimit)?;
        self.shake_hands(&mut listener, sockets).await?;
        let serving = Rc::clone(&self.serving);
        let cluster = listener.map.cluster;
        let memory = StageMemory::new(&serving.shared, self.id, Direction::Request, cluster);
        // What a login takes is given back with it.
        let logged_in = Box::pin(self.log_in(&listener, sockets, &memory)).await?;
        let principal = self.client.principal.clone();
        let principal = principal.map(|principal| Holder::Principal(cluster, principal));
        self.take_share(principal, CloseReason::PrincipalLimit)?;
        if listener.map.client_auth == ClientAuth::Network {
            self.client.principal = Some(Principal::network());
        }
        let first_word = match logged_in.as_ref().is_some_and(LoggedIn::is_owed) {
            // He waits for an answer, and says nothing.
            true => FirstWord::Other,
            false => self.first_word(sockets, &memory).await?,
        };
        memory.park(true);
        let bearer = logged_in.as_ref().and_then(|login| login.bearer.clone());
        let reached = Box::pin(self.reach_broker::<P>(&listener, first_word, logged_in.as_ref())).await;
        if let Some(logged_in) = &logged_in {
            let failed = reached.as_ref().err().copied();
            let told = self.tell_outcome::<P>(&listener, logged_in, failed, &mut sockets.client);
            Box::pin(told).await?;
        }
        drop(memory);
        let (reached, at_broker) = reached?;
        let mut session = self.session(&listener, &reached)?;
        if let Some((at_broker, account)) = at_broker {
            let broker = ReachedBroker {
                address: reached.address.to_string(),
                node: self.node,
            };
            session = session.at_broker(at_broker, broker, account, bearer);
        }
        if let Some(login) = logged_in {
            session = session.logged_in(self.listener, login.principal, login.lifetime, login.at);
        }
        self.relay(sockets, reached, session).await
    }

    /// What the client says first.
    async fn first_word<P: Platform>(
        &self,
        sockets: &mut Sockets<P>,
        memory: &StageMemory<'_>,
    ) -> Result<FirstWord, CloseReason> {
        let said = self
            .clients_stage(pin!(first_word(&mut sockets.client, memory)))
            .await?;
        said.ok_or_else(|| {
            let failure = sockets.client.tls().and_then(|tls| tls.session().failure());
            failure.map_or(CloseReason::ClientClosed, |failure| self.note_failure(failure))
        })
    }

    /// Counts the connection among those of an address or a principal, or closes it for `reason`.
    fn take_share(&mut self, holder: Option<Holder>, reason: CloseReason) -> Result<(), CloseReason> {
        let Some(holder) = holder else { return Ok(()) };
        match self.serving.shares.take(holder) {
            Some(share) => {
                self.shares.push(share);
                Ok(())
            }
            None => {
                self.notice_end(reason, None, self.client.clone(), None);
                Err(reason)
            }
        }
    }

    /// A stage in which the client is waited for. It is lent: a future that is passed on takes its place again in each
    /// that it is passed through, for as long as the connection lasts.
    async fn clients_stage<T>(&self, mut stage: Pin<&mut impl Future<Output = T>>) -> Result<T, CloseReason> {
        poll_fn(|context| {
            self.status.register(context.waker());
            match self.status.request() {
                Request::Run => stage.as_mut().poll(context).map(Ok),
                Request::Drain => Poll::Ready(Err(CloseReason::Drain)),
                Request::Leave(reason) | Request::Close(reason) => Poll::Ready(Err(reason)),
            }
        })
        .await
    }

    /// A stage in which others are waited for than the client: it takes nothing of the client's time.
    #[expect(clippy::disallowed_methods, reason = "it reads the clock for what decides")]
    async fn brokers_stage<T>(&self, stage: Pin<&mut impl Future<Output = T>>) -> Result<T, CloseReason> {
        self.status.waits_for_broker(clocks::now(), true);
        let done = self.clients_stage(stage).await;
        self.status.waits_for_broker(clocks::now(), false);
        done
    }

    /// The listener whose client it is: that of the port that it came to, until it has asked for another one's name.
    fn listener(&self) -> Result<Rc<Listener>, CloseReason> {
        let listeners = self.serving.listeners.borrow();
        listeners.get(self.listener).cloned().ok_or(CloseReason::Internal)
    }

    /// Whose connection it is, as a load balancer says that comes from one of `proxies` (SERVE-4).
    async fn preface<P: Platform>(
        &mut self,
        socket: &mut P::Socket,
        proxies: &Networks,
    ) -> Result<(), CloseReason> {
        let peer = self.client.address.map(|address| address.ip());
        let taken = match peer.is_some_and(|peer| proxies.contain(peer)) {
            true => self.clients_stage(pin!(preface::take::<P>(socket))).await?,
            false => Err(NoPreface::from_elsewhere()),
        };
        match taken {
            Ok(Source::Proxied(address)) => self.client = Client::at(address),
            Ok(Source::Own) => {}
            Err(NoPreface { reason, fault }) => {
                if is_worth_a_notice(reason) {
                    self.notice_end(reason, None, self.client.clone(), fault);
                }
                return Err(reason);
            }
        }
        Ok(())
    }

    async fn dial<P: Platform>(
        &self,
        listener: &Listener,
        shown: Option<&Arc<ClientSet>>,
        first_word: FirstWord,
    ) -> Result<Reached<P>, CloseReason> {
        let Self { node, serving, .. } = self;
        let caller = Caller {
            listener,
            tls: shown.or(listener.upstream_tls.as_ref()),
            connection: self.id,
            first_word,
            shared: &serving.shared,
            others_first: &serving.others_first,
        };
        let dialled = serving.dialling.connect::<P>(caller, *node).await;
        let failed = match dialled {
            Ok((broker, address)) => {
                let node = node.map(|node_id| (node_id, address.clone()));
                return Ok(Reached {
                    broker,
                    address,
                    node,
                });
            }
            Err(failed) => failed,
        };
        for (address, error) in failed {
            self.note_no_broker(listener.map.cluster, address, error);
        }
        Err(CloseReason::ConnectFailed)
    }

    fn note_no_broker(&self, cluster: ClusterId, address: HostPort, error: ConnectError) {
        self.serving.shared.errands.notice(Notice {
            kind: NoticeKind::NoBroker {
                cluster,
                node: self.node,
                address,
                error,
            },
            client: self.client.clone(),
            fault: None,
        });
    }

    fn session<P: Platform>(
        &self,
        listener: &Listener,
        reached: &Reached<P>,
    ) -> Result<Session, CloseReason> {
        let shared = &self.serving.shared;
        let cluster = listener.map.cluster;
        let mut pipeline = shared.pipeline.borrow_mut();
        pipeline.metrics.connections.reach_broker();
        if let (Some((node_id, address)), Some(book)) = (&reached.node, pipeline.addresses(cluster)) {
            // It may have been learned while we connected (PLACE-2).
            if book.contradicts(*node_id, address) {
                return Err(CloseReason::Learned);
            }
            let mut registry = shared.registry.borrow_mut();
            registry.place(self.id, cluster, *node_id, address.clone());
        }
        let map = Arc::clone(&listener.map);
        let session = Session::new(map, self.number(), &pipeline.limits, reached.node.clone());
        Ok(session.of(self.client.clone()))
    }

    #[expect(clippy::disallowed_methods, reason = "it reads the clock for what decides")]
    async fn relay<P: Platform>(
        &self,
        sockets: &mut Sockets<P>,
        reached: Reached<P>,
        session: Session,
    ) -> Result<Infallible, CloseReason> {
        let broker = sockets.broker.insert(reached.broker);
        let (status, shared) = (Rc::clone(&self.status), Rc::clone(&self.serving.shared));
        let mut relay = Relay::new(
            &mut sockets.client,
            broker,
            session,
            status,
            shared,
            clocks::now(),
        );
        loop {
            match poll_fn(|context| relay.poll_turn(context, clocks::now())).await {
                TurnOutcome::GaveWay => self.serving.others_first.go::<P>().await,
                TurnOutcome::Ended(reason) => {
                    let met_silence = relay.met_silence(reason);
                    let node = reached.node.as_ref().filter(|_| met_silence);
                    self.note_end(relay.session(), node, reason);
                    let cluster = relay.session().cluster();
                    drop(relay);
                    return Err(self
                        .end_of_tls(sockets, cluster, reached.address)
                        .unwrap_or(reason));
                }
            }
        }
    }

    /// `silent`: the node that has answered nothing.
    fn note_end(&self, session: &Session, silent: Option<&(i32, HostPort)>, reason: CloseReason) {
        let Serving { shared, dialling, .. } = &*self.serving;
        if reason == CloseReason::Loop {
            // Before its sockets are closed: whoever has asked looks then.
            dialling.came_back.note();
        }
        let mut pipeline = shared.pipeline.borrow_mut();
        if let Some((node_id, address)) = silent
            && let Some(book) = pipeline.addresses_mut(session.cluster())
        {
            book.doubt(*node_id, address);
        }
        drop(pipeline);
        if let Some(fault) = session.broker_login_fault() {
            self.notice_broker_login(session.cluster(), fault.clone());
        }
        if let Some((why, claimed)) = session.login_refusal() {
            self.notice_login(why, claimed);
        }
        if is_worth_a_notice(reason) {
            let fault = session.fault().map(|fault| fault.to_string());
            self.notice_end(reason, session.looks_like(), session.client().clone(), fault);
        }
    }

    fn notice_end(
        &self,
        reason: CloseReason,
        looks_like: Option<&'static str>,
        client: Client,
        fault: Option<String>,
    ) {
        self.serving.shared.errands.notice(Notice {
            kind: NoticeKind::Closed {
                listener: self.listener,
                reason,
                looks_like,
            },
            client,
            fault,
        });
    }

    /// Only tells connections apart: that it wraps does no harm.
    fn number(&self) -> u32 {
        self.id as u32
    }
}

/// Whether somebody who is on call would want to know who it was: not what happens whenever peers come and go.
fn is_worth_a_notice(reason: CloseReason) -> bool {
    matches!(
        reason,
        CloseReason::BrokerSilent
            | CloseReason::Loop
            | CloseReason::TooManyProxies
            | CloseReason::ProxySource
            | CloseReason::ProxyPreface
            | CloseReason::FrameTooLarge
            | CloseReason::MalformedFrame
            | CloseReason::UnexpectedResponse
            | CloseReason::VersionOutsideRange
            | CloseReason::DeniedApi
            | CloseReason::AcksZeroUnsealable
            | CloseReason::Limit
            | CloseReason::Internal
    )
}

/// Counts a connection out (SERVE-3).
struct Ended {
    id: u64,
    shared: Rc<Shared>,
    reason: CloseReason,
}

impl Ended {
    fn finish(mut self, reason: CloseReason) {
        self.reason = reason;
    }
}

impl Drop for Ended {
    fn drop(&mut self) {
        let connections = &mut self.shared.pipeline.borrow_mut().metrics.connections;
        connections.closed(self.reason);
        self.shared.registry.borrow_mut().remove(self.id);
    }
}

/// The place that a connection takes until its sockets are closed.
struct Seat {
    id: u64,
    serving: Rc<Serving>,
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.serving.finished.borrow_mut().push(self.id);
        self.serving.seats.taken.fetch_sub(1, Ordering::Relaxed);
    }
}
