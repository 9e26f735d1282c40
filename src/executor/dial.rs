//! Connecting a client to its broker.

use std::future::poll_fn;
use std::io;
use std::net::TcpStream as StdTcpStream;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Instant;

use futures_lite::io::AsyncRead as _;
use glommio::net::TcpStream;

use super::names::ResolvedNames;
use super::way_back::{self, FoundElsewhere, WayBack};
use crate::config::HostPort;
use crate::connection::Shared;
use crate::messages::{CameBack, ConnectError};
use crate::pipeline::ListenerMap;
use crate::protocol::frame::{LENGTH_PREFIX_BYTES, REQUEST_HEAD_BYTES, RequestHead};
use crate::protocol::hops;

/// A listener, as an executor needs it.
#[derive(Clone)]
pub(crate) struct Listener {
    pub(crate) map: Arc<ListenerMap>,
    pub(crate) bootstrap: Vec<HostPort>,
}

/// Takes an accepted socket over for this executor.
pub(crate) fn adopt(stream: StdTcpStream) -> TcpStream {
    let stream = TcpStream::from(glommio_socket2::Socket::from(stream));
    // Small frames must not wait for acknowledgements. A socket that refuses it fails at the first read.
    let _ = stream.set_nodelay(true);
    stream
}

/// Waits until the client says something; `None` where it leaves without a word, as probes of load balancers do. Until
/// then no broker has to be troubled. Says what the first request is, where enough of it is there.
pub(crate) async fn first_word(client: &mut TcpStream) -> Option<FirstWord> {
    // Without room nothing is read: it is ready when there is something, or when there is nothing more.
    let ready = poll_fn(|context| Pin::new(&mut *client).poll_read(context, &mut [])).await;
    ready.ok()?;
    let mut beginning = [0; LENGTH_PREFIX_BYTES + REQUEST_HEAD_BYTES];
    let bytes = client
        .peek(&mut beginning)
        .await
        .ok()
        .filter(|bytes| *bytes > 0)?;
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

/// How brokers are reached, for all connections of an executor.
pub(super) struct Dialling {
    pub(super) names: ResolvedNames,
    elsewhere: FoundElsewhere,
    /// Shared by all executors.
    pub(super) came_back: Arc<CameBack>,
}

impl Dialling {
    pub(super) fn new(came_back: Arc<CameBack>) -> Self {
        Self {
            names: ResolvedNames::default(),
            elsewhere: FoundElsewhere::default(),
            came_back,
        }
    }

    /// Connects to the broker that the client came for; where its address is not known, or may be out of date and leads
    /// nowhere, to a bootstrap broker, which may be another one. With it: the address that was connected to. When
    /// nobody could be reached: what was tried, and why it failed.
    pub(super) async fn connect(
        &self,
        listener: &Listener,
        node: Option<i32>,
        turn: u32,
        first_word: FirstWord,
        shared: &Shared,
    ) -> Result<(TcpStream, HostPort), Vec<(HostPort, ConnectError)>> {
        let mut failed = Vec::new();
        if let Some(node_id) = node {
            let (known, told) = {
                let pipeline = shared.pipeline.borrow();
                let book = pipeline.addresses(listener.map.cluster);
                let known = book.and_then(|book| book.get(node_id).cloned());
                (known, book.is_some_and(|book| book.is_told(node_id)))
            };
            if let Some(address) = known {
                match self.connect_unless_back(&address, first_word, shared).await {
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
        let first = usize::try_from(turn)
            .ok()
            .and_then(|turn| turn.checked_rem(listener.bootstrap.len()))
            .unwrap_or(0);
        let (later, sooner) = listener.bootstrap.split_at_checked(first).unwrap_or_default();
        for address in sooner.iter().chain(later) {
            match self.connect_unless_back(address, first_word, shared).await {
                Ok(stream) => return Ok((stream, address.clone())),
                Err(error) => failed.push((address.clone(), error)),
            }
        }
        Err(failed)
    }

    /// Connects, unless the address leads back here. A client whose first request shows that is let through without
    /// asking.
    #[expect(clippy::disallowed_methods, reason = "it reads the clock for what decides")]
    async fn connect_unless_back(
        &self,
        host: &HostPort,
        first_word: FirstWord,
        shared: &Shared,
    ) -> Result<TcpStream, ConnectError> {
        if first_word == FirstWord::Other && !self.elsewhere.admits(host, Instant::now()) {
            let identity = shared.pipeline.borrow().identity;
            let stream = self.connect_to(host, shared).await?;
            match way_back::ask(stream, &identity, &self.came_back).await {
                WayBack::Elsewhere => self.elsewhere.answered(host, Instant::now()),
                WayBack::Here => return Err(ConnectError::LeadsBack),
                WayBack::Unknown => {}
            }
        }
        self.connect_to(host, shared).await
    }

    #[expect(clippy::disallowed_methods, reason = "it reads the clock for what decides")]
    async fn connect_to(&self, host: &HostPort, shared: &Shared) -> Result<TcpStream, ConnectError> {
        let deadline = Instant::now() + shared.pipeline.borrow().limits.connect_timeout;
        let mut failure = ConnectError::NoAddress;
        for address in self.names.resolve(host, deadline, shared).await {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                failure = ConnectError::TimedOut;
                break;
            }
            match TcpStream::connect_timeout(address, left).await {
                Ok(stream) => {
                    let _ = stream.set_nodelay(true);
                    return Ok(stream);
                }
                Err(error) => failure = io::Error::from(error).into(),
            }
        }
        self.names.forget(host);
        Err(failure)
    }
}
