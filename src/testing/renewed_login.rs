//! A login at a broker that is renewed in the middle of a connection by a secret that is sent as it is: through a relay
//! as it runs, between ends in memory that keep nothing of what they hear.

use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use zeroize::{Zeroize as _, Zeroizing};

use super::MemoryStream;
use crate::broker_login::{BrokerAccount, BrokerAccounts};
use crate::channel::channel;
use crate::config::{ClientAuth, Limits, ListenerConfig};
use crate::connection::{Relay, Shared, Stream, StreamHeld};
use crate::identity::sasl::initiator::Credential;
use crate::identity::{Client, Principal};
use crate::ids::{ClusterId, Id as _, ListenerId};
use crate::keys::KeyOptions;
use crate::pipeline::{
    AddressBook, BrokerSession, Cluster, ClusterRules, ListenerMap, Pipeline, ReachedBroker, Session,
};
use crate::protocol::api_key::{SASL_AUTHENTICATE, SASL_HANDSHAKE};
use crate::protocol::frame::{LENGTH_PREFIX_BYTES, RequestHead};
use crate::protocol::sasl::{TokenAnswer, write_answer, write_handshake};
use crate::rules::RuleSet;

/// How the request goes out that holds the secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sending {
    /// So many bytes at a time, as those before and behind it.
    InParts(usize),
    /// Up to so many bytes, and then the connection is cut.
    CutAfter(usize),
}

/// Has a client ask something when the login by this credential is due to be renewed, and says whether what it asked
/// has come to the broker.
///
/// # Panics
/// Where the relay does something else than is to be expected.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "time does not pass here")]
pub fn renew_login(credential: Credential, sending: Sending) -> bool {
    let accounts = BrokerAccounts::for_all(credential, &BrokerAccounts::default());
    let account = accounts.of(Principal::network().name()).expect("for everybody");
    let account = Arc::clone(account);
    let now = Instant::now();
    let shared = shared(accounts);
    let (_, status) = shared.registry.borrow_mut().add(now);
    let (client, broker) = (MemoryStream::with_room(1 << 20), BrokerEnd::default());
    let mut relay = Relay::new(
        client.clone(),
        broker.clone(),
        session(account, now),
        status,
        Rc::clone(&shared),
        now,
    );
    client.arrive(ASKED);
    let mut context = Context::from_waker(Waker::noop());
    for _ in 0..POLLS_MAX {
        let is_agreed = broker.is_agreed();
        broker.make_room(match sending {
            Sending::InParts(bytes) => bytes,
            Sending::CutAfter(bytes) if is_agreed => bytes,
            Sending::CutAfter(_) => HEARD_BYTES_MAX,
        });
        let turn = relay.poll_turn(&mut context, now);
        assert!(turn.is_pending(), "it ends, or gives way: {turn:?}");
        if is_agreed && matches!(sending, Sending::CutAfter(_)) {
            return false;
        }
        if broker.answer() == Some(ASKED_API) {
            return true;
        }
    }
    panic!("nothing has come of it");
}

/// An executor with one cluster, whose brokers know these accounts.
fn shared(accounts: BrokerAccounts) -> Rc<Shared> {
    let rules = ClusterRules::new("main".into(), RuleSet::new(Vec::new()), 1);
    let mut cluster = Cluster::new(rules, AddressBook::default());
    cluster.accounts = Some(Arc::new(accounts));
    let clusters = [(ClusterId::from_number(0), cluster)].into_iter().collect();
    let pipeline = Pipeline::new(0, Limits::default(), &KeyOptions::default(), clusters);
    let ((control, _), (keys, _)) = (channel(1), channel(1));
    Rc::new(Shared::new(0, pipeline, control, keys))
}

/// One for whose client the proxy has logged in a while ago.
fn session(account: Arc<BrokerAccount>, now: Instant) -> Session {
    let config = ListenerConfig {
        id: ListenerId::from_number(0),
        name: "lan".to_owned(),
        listen: ([127, 0, 0, 1], 9192).into(),
        client_auth: ClientAuth::Network,
        sasl: None,
        tls: None,
        proxy_protocol_sources: None,
        advertised_host: "proxy".to_owned(),
        bootstrap_host: None,
        nodes: vec![1],
        node_ports: vec![9193],
    };
    let listener = Arc::new(ListenerMap::new(ClusterId::from_number(0), &config));
    let client = Client {
        principal: Some(Principal::network()),
        ..Client::default()
    };
    let made = BrokerSession {
        lifetime: Some(LIFETIME),
        since: now.checked_sub(AGE).expect("the host is up for so long"),
    };
    let session = Session::new(listener, 1, &Limits::default(), None).of(client);
    let broker = ReachedBroker {
        address: "kafka:9092".to_owned(),
        node: None,
    };
    session.at_broker(made, broker, account, None)
}

/// The relay's end of a connection to a broker that takes every login.
#[derive(Clone, Default)]
struct BrokerEnd {
    heard: Rc<RefCell<Heard>>,
    answers: MemoryStream,
}

/// What came and was not answered; it is wiped when it was.
struct Heard {
    bytes: Zeroizing<Vec<u8>>,
    room: usize,
    /// A mechanism was agreed on.
    is_agreed: bool,
}

impl Default for Heard {
    fn default() -> Self {
        Self {
            bytes: Zeroizing::new(Vec::with_capacity(HEARD_BYTES_MAX)),
            room: 0,
            is_agreed: false,
        }
    }
}

impl BrokerEnd {
    fn make_room(&self, bytes: usize) {
        self.heard.borrow_mut().room = bytes;
    }

    fn is_agreed(&self) -> bool {
        self.heard.borrow().is_agreed
    }

    /// Answers a request that has come whole, and says which API it was.
    fn answer(&self) -> Option<i16> {
        let mut heard = self.heard.borrow_mut();
        let (length, frame) = heard.bytes.split_first_chunk::<LENGTH_PREFIX_BYTES>()?;
        if frame.len() < usize::try_from(u32::from_be_bytes(*length)).ok()? {
            return None;
        }
        let head = RequestHead::peek(frame)?;
        let mut answer = Vec::new();
        let written = match head.api_key {
            SASL_HANDSHAKE => write_handshake(head, 0, &["PLAIN", "OAUTHBEARER"], &mut answer),
            SASL_AUTHENTICATE => write_answer(head, TokenAnswer::Accepted(b"", None), &mut answer),
            _ => Ok(()),
        };
        written.expect("it is short");
        heard.is_agreed |= head.api_key == SASL_HANDSHAKE;
        heard.bytes.zeroize();
        assert_eq!(heard.bytes.capacity(), HEARD_BYTES_MAX, "it was never moved");
        self.answers.arrive(&answer);
        Some(head.api_key)
    }
}

impl Stream for BrokerEnd {
    fn poll_read(&mut self, context: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        self.answers.poll_read(context, buffer)
    }

    fn poll_write(&mut self, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let mut heard = self.heard.borrow_mut();
        let left = HEARD_BYTES_MAX.saturating_sub(heard.bytes.len());
        let taken = bytes.get(..heard.room.min(left)).unwrap_or(bytes);
        if taken.is_empty() {
            // It is polled again without being woken.
            return Poll::Pending;
        }
        heard.bytes.extend_from_slice(taken);
        heard.room = heard.room.saturating_sub(taken.len());
        Poll::Ready(Ok(taken.len()))
    }

    fn poll_flush(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn held(&self) -> StreamHeld {
        StreamHeld::default()
    }
}

const LIFETIME: Duration = Duration::from_secs(10);
/// When it is due, whichever connection it is, and not over.
const AGE: Duration = Duration::from_millis(9600);
/// A Heartbeat request (version 0) of group `g`.
const ASKED: &[u8] = b"\0\0\0\x13\0\x0c\0\0\0\0\0\x01\xff\xff\0\x01g\0\0\0\0\0\0";
const ASKED_API: i16 = 12;
/// More than any request here has.
const HEARD_BYTES_MAX: usize = 8 * 1024;
/// As many as the longest request has bytes, and a few.
const POLLS_MAX: usize = 2 * HEARD_BYTES_MAX;
