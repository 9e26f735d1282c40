//! What executors, the acceptor and the control thread say to each other, apart from keys.

use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::AtomicUsize;

use tokio::sync::oneshot;

use crate::config::HostPort;
use crate::metrics::Snapshot;
use crate::pipeline::{AuditEvent, LearnedAddress};

/// From an executor to the control thread.
pub(crate) enum ControlRequest {
    /// A response told these addresses: every executor is to know them.
    Learn {
        cluster: usize,
        learned: Vec<LearnedAddress>,
    },
    /// The addresses of this host are wanted.
    Resolve { executor: usize, host: HostPort },
    /// For the audit log.
    Audit(Vec<AuditEvent>),
    /// A connection could not be made.
    ConnectFailed { cluster: usize, node: Option<i32> },
}

/// From the control thread to an executor.
pub(crate) enum ExecutorMessage {
    /// These addresses are known to everybody.
    Learned {
        cluster: usize,
        learned: Vec<LearnedAddress>,
    },
    /// Answer to [`ControlRequest::Resolve`]; empty when there is none.
    Resolved {
        host: HostPort,
        addresses: Vec<SocketAddr>,
    },
    /// The counters are wanted.
    Snapshot(oneshot::Sender<Snapshot>),
    /// Finish what is in flight and take nothing new; says so when no connection is left.
    Drain(oneshot::Sender<()>),
    /// End now.
    Stop,
}

/// What the acceptor and an executor both count.
#[derive(Default)]
pub(crate) struct Seats {
    /// Connections that the executor has, or that wait for it.
    pub(crate) taken: AtomicUsize,
    /// Connections that the acceptor has closed because of a limit, until the executor puts them among its counters.
    pub(crate) refused: AtomicUsize,
}

/// From the acceptor to an executor: a client has connected.
pub(crate) struct Accepted {
    pub(crate) stream: TcpStream,
    /// Position of the listener among those of all clusters.
    pub(crate) listener: usize,
    /// The node whose port it was; `None` for the bootstrap port.
    pub(crate) node: Option<i32>,
}
