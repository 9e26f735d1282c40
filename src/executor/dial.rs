//! Connecting a client to its broker.

use std::net::TcpStream as StdTcpStream;
use std::sync::Arc;
use std::time::Instant;

use glommio::net::TcpStream;

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

/// Connects to the broker that the client came for; where its address is not known, or may be out of date and leads nowhere, to
/// a bootstrap broker, which may be another one. With it: the address that was connected to. `None` when nobody could be reached.
pub(crate) async fn connect(
    listener: &Listener,
    node: Option<i32>,
    turn: u32,
    shared: &Shared,
) -> Option<(TcpStream, HostPort)> {
    if let Some(node_id) = node {
        let (known, told) = {
            let pipeline = shared.pipeline.borrow();
            let book = pipeline.addresses.get(listener.map.cluster)?;
            (book.get(node_id).cloned(), book.is_told(node_id))
        };
        if let Some(address) = known {
            let stream = connect_to(&address, shared).await;
            // A broker that is down is down for clients too; only an address that may be out of date is looked for elsewhere.
            if stream.is_some() || told {
                return stream.map(|stream| (stream, address));
            }
        }
    }
    // Connections begin with different bootstrap brokers, so that one that is down does not delay them all.
    let first = usize::try_from(turn).unwrap_or(0) % listener.bootstrap.len().max(1);
    let (later, sooner) = listener.bootstrap.split_at_checked(first)?;
    for address in sooner.iter().chain(later) {
        if let Some(stream) = connect_to(address, shared).await {
            return Some((stream, address.clone()));
        }
    }
    None
}

async fn connect_to(host: &HostPort, shared: &Shared) -> Option<TcpStream> {
    let deadline = Instant::now() + shared.pipeline.borrow().limits.connect_timeout;
    for address in shared.resolve(host, deadline).await {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            break;
        }
        if let Ok(stream) = TcpStream::connect_timeout(address, left).await {
            let _ = stream.set_nodelay(true);
            return Some(stream);
        }
    }
    shared.forget_name(host);
    None
}
