//! What executors, the acceptor and the control thread say to each other, apart from keys.

use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use tokio::sync::oneshot;

use crate::config::HostPort;
use crate::metrics::Snapshot;
use crate::pipeline::{AuditEvent, LearnedAddress};

/// From an executor to the control thread.
pub(crate) enum ControlRequest {
    /// Responses told these addresses: every executor is to know them. One at a time from each executor for each cluster,
    /// which is answered by [`ExecutorMessage::Spread`].
    Learn {
        cluster: usize,
        learned: Vec<LearnedAddress>,
    },
    /// The addresses of this host are wanted.
    Resolve { executor: usize, host: HostPort },
    /// For the audit log. Each executor has one on its way, until `turn` is dropped.
    Audit { events: Vec<AuditEvent>, turn: Arc<()> },
    /// Connections to these nodes could not be made.
    ConnectFailed(Vec<Unreachable>),
}

/// A node of a cluster, or its bootstrap brokers, that could not be connected to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Unreachable {
    pub(crate) cluster: usize,
    pub(crate) node: Option<i32>,
}

/// From the control thread to an executor.
pub(crate) enum ExecutorMessage {
    /// These addresses are where brokers are now.
    Learned {
        cluster: usize,
        learned: Arc<[LearnedAddress]>,
    },
    /// Every executor has what [`Self::Learned`] said of this cluster so far: clients may be told.
    Spread { cluster: usize },
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
