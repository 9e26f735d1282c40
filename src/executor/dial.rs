//! Connecting a client to its broker.

use std::future::poll_fn;
use std::io;
use std::net::TcpStream as StdTcpStream;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Instant;

use futures_lite::io::AsyncRead as _;
use glommio::net::TcpStream;

use super::messages::ConnectError;
use super::shared::Shared;
use crate::config::HostPort;
use crate::pipeline::ListenerMap;

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

/// Waits until the client says something; `false` where it leaves without a word, as probes of load balancers do. Until then no
/// broker has to be troubled.
pub(crate) async fn speaks(client: &mut TcpStream) -> bool {
    // Without room nothing is read: it is ready when there is something, or when there is nothing more.
    let ready = poll_fn(|context| Pin::new(&mut *client).poll_read(context, &mut [])).await;
    ready.is_ok() && client.peek(&mut [0]).await.is_ok_and(|bytes| bytes > 0)
}

/// Connects to the broker that the client came for; where its address is not known, or may be out of date and leads nowhere, to
/// a bootstrap broker, which may be another one. With it: the address that was connected to. When nobody could be reached: what
/// was tried, and why it failed.
pub(crate) async fn connect(
    listener: &Listener,
    node: Option<i32>,
    turn: u32,
    shared: &Shared,
) -> Result<(TcpStream, HostPort), Vec<(HostPort, ConnectError)>> {
    let mut failed = Vec::new();
    if let Some(node_id) = node {
        let (known, told) = {
            let pipeline = shared.pipeline.borrow();
            let book = pipeline.addresses.get(listener.map.cluster);
            let known = book.and_then(|book| book.get(node_id).cloned());
            (known, book.is_some_and(|book| book.is_told(node_id)))
        };
        if let Some(address) = known {
            match connect_to(&address, shared).await {
                Ok(stream) => return Ok((stream, address)),
                Err(error) => failed.push((address, error)),
            }
            // A broker that is down is down for clients too; only an address that may be out of date is looked for elsewhere.
            if told {
                return Err(failed);
            }
        }
    }
    // Connections begin with different bootstrap brokers, so that one that is down does not delay them all.
    let first = usize::try_from(turn).unwrap_or(0) % listener.bootstrap.len().max(1);
    let (later, sooner) = listener.bootstrap.split_at_checked(first).unwrap_or_default();
    for address in sooner.iter().chain(later) {
        match connect_to(address, shared).await {
            Ok(stream) => return Ok((stream, address.clone())),
            Err(error) => failed.push((address.clone(), error)),
        }
    }
    Err(failed)
}

async fn connect_to(host: &HostPort, shared: &Shared) -> Result<TcpStream, ConnectError> {
    let deadline = Instant::now() + shared.pipeline.borrow().limits.connect_timeout;
    let mut failure = ConnectError::NoAddress;
    for address in shared.resolve(host, deadline).await {
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
    shared.forget_name(host);
    Err(failure)
}
