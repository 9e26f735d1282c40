//! Connecting a client to its broker.

use std::fmt::Display;
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use super::handshake::{self, bounds::Handshakes};
use super::names::ResolvedNames;
use super::others_first::OthersFirst;
use super::parting;
use super::platform::{Platform, Socket};
use super::stage_memory::StageMemory;
use super::way_back::{self, FoundElsewhere, WayBack};
use crate::clocks;
use crate::config::HostPort;
use crate::connection::{Shared, Stream as _, Wire};
use crate::messages::{CameBack, ConnectError};
use crate::pipeline::ListenerMap;
use crate::protocol::frame::{LENGTH_PREFIX_BYTES, REQUEST_HEAD_BYTES, RequestHead};
use crate::protocol::hops;
use crate::transport::proxy_protocol::Networks;
use crate::transport::route::Routes;
use crate::transport::tls_client::ClientSet;
use crate::transport::tls_server::ServerSet;

/// A listener, as an executor needs it.
#[derive(Clone)]
pub(crate) struct Listener {
    pub(crate) map: Arc<ListenerMap>,
    pub(crate) bootstrap: Vec<HostPort>,
    /// Of a port that several listeners, or brokers, share: where the name that a client asks for leads to.
    pub(crate) routes: Option<Arc<Routes>>,
    /// TLS towards clients.
    pub(crate) tls: Option<Arc<ServerSet>>,
    /// TLS towards brokers.
    pub(crate) upstream_tls: Option<Arc<ClientSet>>,
    /// From where load balancers come that say whose connection it is; none: clients come themselves.
    pub(crate) proxies: Option<Arc<Networks>>,
}

/// Waits until the client says something; `None` where it leaves without a word, as probes of load balancers do. Until
/// then no broker has to be troubled. Says what the first request is, where enough of it is there. What TLS holds is
/// noted on `memory`.
pub(super) async fn first_word<S: Socket>(
    client: &mut Wire<S>,
    memory: &StageMemory<'_>,
) -> Option<FirstWord> {
    let mut beginning = [0; LENGTH_PREFIX_BYTES + REQUEST_HEAD_BYTES];
    let peeked = if client.tls().is_none() {
        client.peek(&mut beginning).await
    } else {
        poll_fn(|context| {
            let peeked = client.poll_peek_tls(context, &mut beginning);
            let held = client.held();
            memory.hold(held.unread.saturating_add(held.unsent));
            peeked
        })
        .await
    };
    let bytes = peeked.ok().filter(|bytes| *bytes > 0)?;
    let head = beginning
        .get(LENGTH_PREFIX_BYTES..bytes)
        .and_then(RequestHead::peek);
    Some(match head {
        Some(head) if hops::shows_way(head) => FirstWord::ShowsWay,
        _ => FirstWord::Other,
    })
}

/// What a client's first request is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FirstWord {
    /// It shows which proxies it has passed.
    ShowsWay,
    /// It does not, or too little of it is there.
    Other,
}

/// For whom a broker is connected to.
#[derive(Clone, Copy)]
pub(super) struct Caller<'a> {
    /// Where the client has come in.
    pub(super) listener: &'a Listener,
    /// How brokers are spoken to, where that is by TLS.
    pub(super) tls: Option<&'a Arc<ClientSet>>,
    /// The number of its connection.
    pub(super) connection: u64,
    pub(super) first_word: FirstWord,
    pub(super) shared: &'a Shared,
    pub(super) others_first: &'a OthersFirst,
}

/// How brokers are reached, for all connections of an executor.
pub(super) struct Dialling {
    pub(super) names: ResolvedNames,
    elsewhere: FoundElsewhere,
    handshakes: Rc<Handshakes>,
    /// Shared by all executors.
    pub(super) came_back: Arc<CameBack>,
}

impl Dialling {
    pub(super) fn new(handshakes: Rc<Handshakes>, came_back: Arc<CameBack>) -> Self {
        Self {
            names: ResolvedNames::default(),
            elsewhere: FoundElsewhere::default(),
            handshakes,
            came_back,
        }
    }

    /// Connects to the broker that the client came for; where its address is not known, or may be out of date and leads
    /// nowhere, to a bootstrap broker, which may be another one. With it: the address that was connected to. When
    /// nobody could be reached: what was tried, and why it failed.
    pub(super) async fn connect<P: Platform>(
        &self,
        caller: Caller<'_>,
        node: Option<i32>,
    ) -> Result<(Wire<P::Socket>, HostPort), Vec<(HostPort, ConnectError)>> {
        let Caller { listener, shared, .. } = caller;
        let mut failed = Vec::new();
        if let Some(node_id) = node {
            let (known, told) = {
                let pipeline = shared.pipeline.borrow();
                let book = pipeline.addresses(listener.map.cluster);
                let known = book.and_then(|book| book.get(node_id).cloned());
                (known, book.is_some_and(|book| book.is_told(node_id)))
            };
            if let Some(address) = known {
                match self.connect_unless_back::<P>(&address, caller).await {
                    Ok(stream) => return Ok((stream, address)),
                    Err(error) => failed.push((address, error)),
                }
                // A broker that is down is down for clients too; only an address that may be out of date is looked for
                // elsewhere.
                if told {
                    return Err(failed);
                }
            }
        }
        // Connections begin with different bootstrap brokers, so that one that is down does not delay them all.
        let first = usize::try_from(caller.connection)
            .ok()
            .and_then(|turn| turn.checked_rem(listener.bootstrap.len()))
            .unwrap_or(0);
        let (later, sooner) = listener.bootstrap.split_at_checked(first).unwrap_or_default();
        for address in sooner.iter().chain(later) {
            match self.connect_unless_back::<P>(address, caller).await {
                Ok(stream) => return Ok((stream, address.clone())),
                Err(error) => failed.push((address.clone(), error)),
            }
        }
        Err(failed)
    }

    /// Connects, unless the address leads back here. A client whose first request shows that is let through without
    /// asking.
    #[expect(clippy::disallowed_methods, reason = "it reads the clock for what decides")]
    async fn connect_unless_back<P: Platform>(
        &self,
        host: &HostPort,
        caller: Caller<'_>,
    ) -> Result<Wire<P::Socket>, ConnectError> {
        if caller.first_word == FirstWord::Other && !self.elsewhere.admits(host, clocks::now()) {
            let identity = caller.shared.pipeline.borrow().identity;
            let stream = self.connect_to::<P>(host, caller).await?;
            match way_back::ask::<P>(stream, &identity, &self.came_back).await {
                WayBack::Elsewhere => self.elsewhere.answered(host, clocks::now()),
                WayBack::Here => return Err(ConnectError::LeadsBack),
                WayBack::Unknown => {}
            }
        }
        self.connect_to::<P>(host, caller).await
    }

    #[expect(clippy::disallowed_methods, reason = "it reads the clock for what decides")]
    async fn connect_to<P: Platform>(
        &self,
        host: &HostPort,
        caller: Caller<'_>,
    ) -> Result<Wire<P::Socket>, ConnectError> {
        let shared = caller.shared;
        let deadline = clocks::now() + shared.pipeline.borrow().limits.connect_timeout;
        let mut failure = ConnectError::NoAddress;
        for address in self.names.resolve(host, deadline, shared).await {
            let left = deadline.saturating_duration_since(clocks::now());
            if left.is_zero() {
                failure = ConnectError::TimedOut;
                break;
            }
            match P::connect(address, left).await {
                Ok(socket) => {
                    let left = deadline.saturating_duration_since(clocks::now());
                    return self.shake_hands::<P>(socket, host, left, caller).await;
                }
                Err(error) => failure = error.into(),
            }
        }
        self.names.forget(host);
        Err(failure)
    }

    /// Agrees on TLS with a broker, where the cluster's brokers speak it. Whoever fails to is not asked at another
    /// address: he is there.
    async fn shake_hands<P: Platform>(
        &self,
        socket: P::Socket,
        host: &HostPort,
        at_most: Duration,
        caller: Caller<'_>,
    ) -> Result<Wire<P::Socket>, ConnectError> {
        let mut wire = Wire::plain(socket);
        let Caller {
            listener,
            tls,
            shared,
            ..
        } = caller;
        let Some(tls) = tls else {
            return Ok(wire);
        };
        let failed = |error: &dyn Display| ConnectError::Tls(error.to_string().into());
        let name = tls.name_of(&host.host).map_err(|error| failed(&error))?;
        let config = Arc::clone(&tls.config);
        let under_way = self
            .handshakes
            .with_broker(shared, caller.connection, listener.map.cluster);
        match handshake::connect::<P, _>(&mut wire, under_way, at_most, config, name).await {
            Ok(()) => Ok(wire),
            Err(failure) => {
                // Or the alert that tells the broker why might not reach it.
                parting::part_from::<P>(wire, shared, caller.others_first).await;
                Err(failed(&failure))
            }
        }
    }
}
