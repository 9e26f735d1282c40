//! A relay with everything around it, polled by hand.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use super::wire::{frame, request};
use crate::channel::{Receiver, channel};
use crate::config::{ClientAuth, HostPort, Limits, ListenerConfig};
use crate::connection::registry::Status;
use crate::connection::shared::Shared;
use crate::connection::stream::StreamHeld;
use crate::connection::{Relay, Stream, TurnOutcome, Wire};
use crate::crypto::SecretKey;
use crate::envelope::WrappedDek;
use crate::ids::{ClusterId, Id as _, KmsId, ListenerId};
use crate::keys::{DeliveredDek, KeyOptions, KeyReply, KeyRequest};
use crate::messages::{ControlRequest, LearnedAddress};
use crate::metrics::CloseReason;
use crate::pipeline::{AddressBook, Cluster, ClusterRules, ListenerMap, Pipeline, Session, Step};
use crate::rules::{Matcher, Rule, RuleAction, RuleSet, SealTemplate, Template};
use crate::testing::{BatchBuilder, MemoryStream, RecordInput};

/// Room enough for everything a test sends.
pub(super) const ROOMY: usize = 1 << 30;
/// What must not get past a rule that seals.
pub(super) const CANARY: &[u8] = b"canary-in-clear";

pub(super) struct Wakes(AtomicUsize);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// A wire that the test can reach while the relay has it.
#[derive(Clone)]
pub(super) struct Link(pub(super) Rc<RefCell<Wire<MemoryStream>>>);

impl Link {
    fn to(stream: &MemoryStream) -> Self {
        Self(Rc::new(RefCell::new(Wire::plain(stream.clone()))))
    }
}

impl Stream for Link {
    fn poll_read(&mut self, context: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        Stream::poll_read(&mut *self.0.borrow_mut(), context, buffer)
    }

    fn poll_write(&mut self, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Stream::poll_write(&mut *self.0.borrow_mut(), context, bytes)
    }

    fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Stream::poll_flush(&mut *self.0.borrow_mut(), context)
    }

    fn poll_close(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Stream::poll_close(&mut *self.0.borrow_mut(), context)
    }

    fn held(&self) -> StreamHeld {
        self.0.borrow().held()
    }
}

pub(super) fn listener() -> Arc<ListenerMap> {
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
    Arc::new(ListenerMap::new(main(), &config))
}

/// The only cluster.
pub(super) fn main() -> ClusterId {
    ClusterId::from_number(0)
}

/// A relay with everything around it.
pub(super) struct Bench {
    pub(super) client: MemoryStream,
    pub(super) broker: MemoryStream,
    pub(super) shared: Rc<Shared>,
    /// The connection's number in the registry.
    pub(super) id: u64,
    pub(super) status: Rc<Status>,
    pub(super) relay: Pin<Box<Relay<Link, Link>>>,
    /// What the relay reads from and writes to.
    pub(super) client_link: Link,
    pub(super) broker_link: Link,
    pub(super) wakes: Arc<Wakes>,
    pub(super) key_requests: Receiver<KeyRequest>,
    pub(super) control: Receiver<ControlRequest>,
}

impl Bench {
    pub(super) fn new(limits: Limits) -> Self {
        Self::with_room(limits, ROOMY, ROOMY)
    }

    /// This executor learns an address; says whether that was news.
    pub(super) fn learn(&self, learned: LearnedAddress) -> bool {
        let mut pipeline = self.shared.pipeline.borrow_mut();
        let book = pipeline.addresses_mut(main()).expect("the only cluster");
        book.learn(learned)
    }

    /// With a client that the broker has not answered yet.
    pub(super) fn stranger(limits: Limits) -> Self {
        Self::begin(limits, ROOMY, ROOMY, None, |_, _| {})
    }

    /// With a client that came on the port of node 1, connected to `kafka-1:9092`.
    pub(super) fn at_node() -> Self {
        let address = HostPort {
            host: "kafka-1".to_owned(),
            port: 9092,
        };
        let bench = Self::begin(
            Limits::default(),
            ROOMY,
            ROOMY,
            Some((1, address.clone())),
            |_, _| {},
        );
        bench
            .shared
            .registry
            .borrow_mut()
            .place(bench.id, main(), 1, address);
        bench
    }

    pub(super) fn with_room(limits: Limits, client_room: usize, broker_room: usize) -> Self {
        Self::begin(limits, client_room, broker_room, None, log_in)
    }

    fn begin(
        limits: Limits,
        client_room: usize,
        broker_room: usize,
        node: Option<(i32, HostPort)>,
        prepare: impl FnOnce(&mut Session, &mut Pipeline),
    ) -> Self {
        let matcher = Matcher::exact("sealed").expect("a topic");
        let kek = Template::parse("payments", &matcher, "main").expect("a name");
        let rules = RuleSet::new(vec![
            Rule {
                matcher,
                action: RuleAction::Seal(Box::new(SealTemplate::new(KmsId::from_number(0), kek))),
            },
            Rule {
                matcher: Matcher::exact("passed").expect("a topic"),
                action: RuleAction::Pass(None),
            },
        ]);
        let cluster = ClusterRules::new("main".into(), rules, 100);
        let cluster = Cluster::new(cluster, AddressBook::default());
        let pipeline = Pipeline::new(
            0,
            limits.clone(),
            &KeyOptions::default(),
            [(main(), cluster)].into_iter().collect(),
        );
        let (control_sender, control) = channel(64);
        let (key_sender, key_requests) = channel(64);
        let shared = Rc::new(Shared::new(0, pipeline, control_sender, key_sender));
        let (id, status) = shared.registry.borrow_mut().add(Instant::now());
        let mut session = Session::new(listener(), 1, &limits, node);
        prepare(&mut session, &mut shared.pipeline.borrow_mut());
        let (client, broker) = (
            MemoryStream::with_room(client_room),
            MemoryStream::with_room(broker_room),
        );
        let (client_link, broker_link) = (Link::to(&client), Link::to(&broker));
        let relay = Relay::new(
            client_link.clone(),
            broker_link.clone(),
            session,
            Rc::clone(&status),
            Rc::clone(&shared),
            Instant::now(),
        );
        Self {
            client,
            broker,
            shared,
            id,
            status,
            relay: Box::pin(relay),
            client_link,
            broker_link,
            wakes: Arc::new(Wakes(AtomicUsize::new(1))),
            key_requests,
            control,
        }
    }

    /// Polls for as long as the relay is woken or has more to do; fails when it never comes to rest. Says why it ended,
    /// if it did.
    pub(super) fn settle(&mut self) -> Option<CloseReason> {
        for _ in 0..1000 {
            match self.turn() {
                Some(TurnOutcome::Ended(reason)) => return Some(reason),
                Some(TurnOutcome::GaveWay) => {}
                None => return None,
            }
        }
        panic!("the relay has more to do for ever");
    }

    /// Polls until the relay has had its turn; `None` when it rests.
    pub(super) fn turn(&mut self) -> Option<TurnOutcome> {
        let waker = Waker::from(Arc::clone(&self.wakes));
        loop {
            if self.wakes.0.swap(0, Ordering::Relaxed) == 0 {
                return None;
            }
            if let Poll::Ready(turn) = self
                .relay
                .poll_turn(&mut Context::from_waker(&waker), Instant::now())
            {
                if turn == TurnOutcome::GaveWay {
                    self.wakes.0.fetch_add(1, Ordering::Relaxed);
                }
                return Some(turn);
            }
        }
    }

    /// Another connection of the same executor, with its client and its broker.
    pub(super) fn neighbour(&self) -> (MemoryStream, MemoryStream, Pin<Box<Relay<Link, Link>>>) {
        self.join(log_in)
    }

    /// The same, with a client that the broker has not answered yet.
    pub(super) fn strange_neighbour(&self) -> (MemoryStream, MemoryStream, Pin<Box<Relay<Link, Link>>>) {
        self.join(|_, _| {})
    }

    fn join(
        &self,
        prepare: impl FnOnce(&mut Session, &mut Pipeline),
    ) -> (MemoryStream, MemoryStream, Pin<Box<Relay<Link, Link>>>) {
        let (client, broker) = (MemoryStream::with_room(ROOMY), MemoryStream::with_room(ROOMY));
        let (_, status) = self.shared.registry.borrow_mut().add(Instant::now());
        let limits = self.shared.pipeline.borrow().limits.clone();
        let mut session = Session::new(listener(), 2, &limits, None);
        prepare(&mut session, &mut self.shared.pipeline.borrow_mut());
        let relay = Relay::new(
            Link::to(&client),
            Link::to(&broker),
            session,
            status,
            Rc::clone(&self.shared),
            Instant::now(),
        );
        (client, broker, Box::pin(relay))
    }

    /// The key service delivers a key to seal with.
    pub(super) fn deliver_sealing_key(&self) {
        let mut wrapped = Vec::new();
        WrappedDek {
            provider: 1,
            authority: [9; 4],
            kek: b"payments",
            version: &[1],
            blob: &[0],
        }
        .write(&mut wrapped)
        .expect("a wrapped DEK");
        let now = Instant::now();
        let reply = KeyReply::Sealing {
            key: crate::keys::KeyId::first("payments"),
            result: Ok(DeliveredDek {
                dek: SecretKey::from_bytes(&mut [7; 32]).expect("a key"),
                wrapped: wrapped.into(),
                batches_max: 100,
                bytes_max: 1 << 30,
                expires_at: now + Duration::from_secs(3600),
            }),
        };
        self.shared.pipeline.borrow_mut().apply(reply, now);
        self.shared.announce_keys();
    }
}

/// The broker has named a broker to the client, one that the listener does not serve.
pub(super) fn log_in(session: &mut Session, pipeline: &mut Pipeline) {
    let mut out = Vec::new();
    let mut asked = request(3, 0, 0, &[0; 4]);
    let step = session.requests(pipeline, Instant::now(), &mut asked, &mut out);
    assert_eq!(step, Ok(Step::Forward(asked.len())));
    let broker = [&[0, 0, 0, 7, 0, 1][..], b"k", &[0, 0, 0, 9]].concat();
    let mut told = frame(&[&[0; 4], &[0, 0, 0, 1], &broker, &[0; 4]]);
    let topics = told.len() - 4;
    let mut step = session.responses(pipeline, Instant::now(), &mut told, &mut out);
    while step == Ok(Step::Yield) {
        pipeline.work.begin_turn();
        step = session.responses(pipeline, Instant::now(), &mut told, &mut out);
    }
    assert_eq!(step, Ok(Step::Wrote(topics)));
    let step = session.responses(pipeline, Instant::now(), &mut told[topics..], &mut out);
    assert_eq!(step, Ok(Step::Forward(4)));
}

pub(super) fn record(value: &[u8]) -> RecordInput<'_> {
    RecordInput {
        timestamp: 1,
        key: Some(b"key"),
        value: Some(value),
        headers: &[],
    }
}

pub(super) fn batch() -> Vec<u8> {
    BatchBuilder::new()
        .record(record(CANARY))
        .build()
        .expect("a batch")
}

pub(super) fn holds_canary(bytes: &[u8]) -> bool {
    bytes.windows(CANARY.len()).any(|window| window == CANARY)
}
