//! What executors, the acceptor and the control thread say to each other, apart from keys.
//!
//! Values only: it knows nobody who sends or takes them.

use std::net::{IpAddr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Instant;

use tokio::sync::oneshot;

use crate::audit::AuditList;
use crate::broker_login::{AccountName, BrokerAccounts, TokenNews, TokenWish};
use crate::config::HostPort;
use crate::envelope::StableKeyId;
use crate::identity::sasl::Failure;
use crate::identity::sasl::exchange::{CheckedNews, PasswordCheck};
use crate::identity::sasl::initiator::Hashing;
use crate::identity::{Client, Principal};
use crate::ids::{ClusterId, ListenerId};
use crate::keys::StableKeys;
use crate::metrics::{BrokerLoginFault, CloseReason, Snapshot};
use crate::transport::tls_client::ClientSet;
use crate::transport::tls_server::ServerSet;

/// From an executor to the control thread.
pub(crate) enum ControlRequest {
    /// Responses told these addresses: every executor is to know them. One at a time from each executor for each
    /// cluster, which is answered by [`ExecutorMessage::Spread`].
    Learn {
        cluster: ClusterId,
        learned: Vec<LearnedAddress>,
    },
    /// The addresses of this host are wanted.
    Resolve { executor: usize, host: HostPort },
    /// The password that connection number `connection` has sent is to be hashed.
    CheckPassword {
        executor: usize,
        connection: u32,
        check: PasswordCheck,
    },
    /// A password of the proxy's own is to be hashed: every executor is told.
    HashPassword { cluster: ClusterId, hashing: Hashing },
    /// Brokers are to make a delegation token.
    MakeToken {
        executor: usize,
        cluster: ClusterId,
        wish: TokenWish,
    },
    /// A topic is to be looked at, before it is written to.
    LookAtTopic(LookSubject),
    /// A token names a key that this listener's set does not have.
    FetchKeys { listener: ListenerId },
    /// For the audit log. Each executor has one on its way, until `turn` is dropped.
    Audit { list: AuditList, turn: Arc<()> },
    /// For the log.
    Notices(Vec<Notice>),
    /// These listeners hide other brokers than before.
    Hidden(Vec<HiddenBrokers>),
}

/// A topic that is looked at, and what its log is compared with.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct LookSubject {
    pub cluster: ClusterId,
    pub topic: Arc<str>,
    /// What its record keys are to be sealed under; `None` where they are not, or the keyring has none for it.
    pub stable_key: Option<StableKeyId>,
}

/// Whether the record keys in a topic's log go together with those that its rule stores.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TopicLook {
    /// They do.
    Good,
    /// It could not be found out, which keeps nobody from writing.
    Unknown,
    /// They do not, in words: nothing is written.
    Unfit(Arc<str>),
}

/// An address that a response told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LearnedAddress {
    pub node_id: i32,
    pub address: HostPort,
}

/// What one listener hides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HiddenBrokers {
    pub cluster: ClusterId,
    pub listener: Arc<str>,
    /// Ascending by node id; at most a thousand.
    pub hidden: Vec<LearnedAddress>,
    /// What `nodes` would have to be: the ids that it has, whether these brokers are up or not, and those that are
    /// hidden; ascending.
    pub wanted: Vec<i32>,
}

/// Something that an operator should hear of, once for each kind in a while.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Notice {
    pub(crate) kind: NoticeKind,
    pub(crate) client: Client,
    /// What could not be understood, in words.
    pub(crate) fault: Option<String>,
}

/// What is said of a kind is said of the first of it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum NoticeKind {
    /// No broker could be connected to for a client; this address was tried.
    NoBroker {
        cluster: ClusterId,
        /// The node for whose port it was; `None` for the bootstrap port.
        node: Option<i32>,
        address: HostPort,
        error: ConnectError,
    },
    /// TLS was not agreed on with a client; the fault says why.
    Handshake {
        listener: ListenerId,
        address: Option<IpAddr>,
        /// Of what its first bytes look like, if of anything but TLS.
        looks_like: Option<&'static str>,
    },
    /// A client could not log in; the fault says why.
    Login {
        listener: ListenerId,
        address: Option<IpAddr>,
        /// Whose login it was to be, as far as it is known that there is such a one.
        claimed: Option<Principal>,
    },
    /// The proxy could not log in at a broker for this principal; the fault says why. One kind of fault hides no
    /// other.
    BrokerLogin {
        cluster: ClusterId,
        principal: Option<Principal>,
        reason: BrokerLoginFault,
        /// By which account, where there is one.
        account: Option<AccountName>,
    },
    /// A connection was closed for what its client, or its broker, sent, or for a limit.
    Closed {
        listener: ListenerId,
        reason: CloseReason,
        /// Of what its first bytes look like, if of anything but Kafka.
        looks_like: Option<&'static str>,
    },
}

/// Why a broker could not be connected to.
#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub(crate) enum ConnectError {
    #[error("its name leads to no address")]
    NoAddress,
    #[error("no answer within limits.connect_timeout")]
    TimedOut,
    #[error(
        "it leads back to this proxy, by way of a port forward, a load balancer or another proxy: look at bootstrap, \
         node_addresses, the state file and the brokers' advertised addresses"
    )]
    LeadsBack,
    #[error("this process has no file descriptor left: raise its limit (LimitNOFILE=, ulimit -n)")]
    NoDescriptor,
    #[error("{}", std::io::Error::from_raw_os_error(*.0))]
    System(i32),
    #[error("TLS was not agreed on: {0}")]
    Tls(Arc<str>),
    #[error("the connection was not made")]
    Other,
}

impl From<std::io::Error> for ConnectError {
    fn from(error: std::io::Error) -> Self {
        match error.raw_os_error() {
            Some(libc::EMFILE | libc::ENFILE) => Self::NoDescriptor,
            Some(libc::ETIMEDOUT) => Self::TimedOut,
            Some(code) => Self::System(code),
            None if error.kind() == std::io::ErrorKind::TimedOut => Self::TimedOut,
            None => Self::Other,
        }
    }
}

/// From the control thread to an executor.
pub(crate) enum ExecutorMessage {
    /// These addresses are where brokers are now.
    Learned {
        cluster: ClusterId,
        learned: Arc<[LearnedAddress]>,
    },
    /// Every executor has what [`Self::Learned`] said of this cluster so far: clients may be told.
    Spread { cluster: ClusterId },
    /// Answer to [`ControlRequest::Resolve`]; empty when there is none.
    Resolved {
        host: HostPort,
        addresses: Vec<SocketAddr>,
    },
    /// Answer to [`ControlRequest::CheckPassword`].
    PasswordChecked {
        connection: u32,
        result: Result<Principal, Failure>,
    },
    /// Answer to [`ControlRequest::HashPassword`], whoever asked.
    PasswordHashed,
    /// Answer to [`ControlRequest::MakeToken`].
    Token {
        cluster: ClusterId,
        principal: Principal,
        news: TokenNews,
    },
    /// Who the proxy is at brokers of a cluster from now on.
    Accounts(ClusterId, Arc<BrokerAccounts>),
    /// Who may log in at a listener from now on.
    Logins(ListenerId, CheckedNews),
    /// What is in force of TLS from now on, for new connections.
    Tls(TlsNews),
    /// What record keys are sealed with from now on.
    StableKeys(Arc<StableKeys>),
    /// A topic was looked at.
    TopicLook(LookSubject, TopicLook),
    /// The counters are wanted.
    Snapshot(oneshot::Sender<Snapshot>),
    /// Finish what is in flight and take nothing new; says so when no connection is left.
    Drain(oneshot::Sender<()>),
    /// End now.
    Stop,
}

/// Certificates and what belongs to them, as their files were read last.
#[derive(Clone)]
pub(crate) enum TlsNews {
    /// Of a listener.
    Listener(ListenerId, Arc<ServerSet>),
    /// Of a cluster towards its brokers.
    Upstream(ClusterId, Arc<ClientSet>),
}

/// An address from which an executor takes no logins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ShutOut {
    pub(crate) address: IpAddr,
    /// When it does again.
    pub(crate) until: Instant,
}

/// What the acceptor and an executor both count.
#[derive(Default)]
pub(crate) struct Seats {
    /// Connections that the executor has, or that wait for it.
    pub(crate) taken: AtomicUsize,
    /// Connections that the acceptor has closed because of a limit, until the executor puts them among its counters.
    pub(crate) refused: AtomicUsize,
    /// The same of those that it has closed because the executor has shut out where they come from.
    pub(crate) shut_out: AtomicUsize,
}

/// How often something has come back to this program.
#[derive(Default)]
pub(crate) struct CameBack(AtomicU64);

impl CameBack {
    /// Something has.
    pub(crate) fn note(&self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }

    /// To be compared with a later count.
    pub(crate) fn count(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }
}

/// From the acceptor to an executor: a client has connected.
pub(crate) struct Accepted<S = TcpStream> {
    pub(crate) stream: S,
    /// Where it connected from.
    pub(crate) peer: SocketAddr,
    pub(crate) listener: ListenerId,
    /// The node whose port it was; `None` for the bootstrap port.
    pub(crate) node: Option<i32>,
}
