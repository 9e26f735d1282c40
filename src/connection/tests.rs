//! A relay between two sockets in memory: back-pressure, wake-ups, half-close, drain, limits, and what may not pass.

mod wire;

use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use self::wire::{Socket, beaten, fetch, fetched, frame, heartbeat, produce, produce_all, request};
use super::{Relay, Turn};
use crate::channel::{Receiver, channel};
use crate::config::{ClientAuth, Limits, ListenerConfig};
use crate::crypto::SecretKey;
use crate::envelope::WrappedDek;
use crate::executor::messages::ControlRequest;
use crate::executor::registry::{Request, Status};
use crate::executor::shared::Shared;
use crate::keys::{DeliveredDek, KeyOptions, KeyReply, KeyRequest};
use crate::metrics::CloseReason;
use crate::pipeline::{AddressBook, ClusterRules, ListenerMap, Pipeline, Session};
use crate::record_batch::{BatchBuilder, Codec, RecordInput};
use crate::rules::{KmsIndex, Matcher, Rule, RuleAction, RuleSet, SealTemplate, Template};

/// Room enough for everything a test sends.
const ROOMY: usize = 1 << 30;
/// What must not get past a rule that seals.
const CANARY: &[u8] = b"canary-in-clear";

struct Wakes(AtomicUsize);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

fn listener() -> Arc<ListenerMap> {
    let config = ListenerConfig {
        name: "lan".to_owned(),
        listen: ([127, 0, 0, 1], 9192).into(),
        client_auth: ClientAuth::Network,
        advertised_host: "proxy".to_owned(),
        nodes: vec![1],
        node_ports: vec![9193],
    };
    Arc::new(ListenerMap::new(0, &config))
}

/// A relay with everything around it.
struct Bench {
    client: Socket,
    broker: Socket,
    shared: Rc<Shared>,
    status: Rc<Status>,
    relay: Pin<Box<Relay<Socket, Socket>>>,
    wakes: Arc<Wakes>,
    key_requests: Receiver<KeyRequest>,
    control: Receiver<ControlRequest>,
}

impl Bench {
    fn new(limits: Limits) -> Self {
        Self::with_room(limits, ROOMY, ROOMY)
    }

    fn with_room(limits: Limits, client_room: usize, broker_room: usize) -> Self {
        let matcher = Matcher::exact("sealed").expect("a topic");
        let kek = Template::parse("payments", &matcher).expect("a name");
        let rules = RuleSet::new(vec![
            Rule {
                matcher,
                action: RuleAction::Seal(Box::new(SealTemplate::new(KmsIndex(0), kek))),
            },
            Rule {
                matcher: Matcher::exact("passed").expect("a topic"),
                action: RuleAction::Pass,
            },
        ]);
        let cluster = ClusterRules::new("main".into(), rules, Arc::new([]), 100);
        let books = vec![AddressBook::default()];
        let pipeline = Pipeline::new(0, limits.clone(), &KeyOptions::default(), vec![cluster], books);
        let (control_sender, control) = channel(64);
        let (key_sender, key_requests) = channel(64);
        let shared = Rc::new(Shared::new(0, pipeline, control_sender, key_sender));
        let (_, status) = shared.registry.borrow_mut().add(Instant::now());
        let session = Session::new(listener(), 1, &limits, None);
        let (client, broker) = (Socket::with_room(client_room), Socket::with_room(broker_room));
        let relay = Relay::new(
            client.clone(),
            broker.clone(),
            session,
            Rc::clone(&status),
            Rc::clone(&shared),
        );
        Self {
            client,
            broker,
            shared,
            status,
            relay: Box::pin(relay),
            wakes: Arc::new(Wakes(AtomicUsize::new(1))),
            key_requests,
            control,
        }
    }

    /// Polls for as long as the relay is woken or has more to do; fails when it never comes to rest. Says why it ended, if it
    /// did.
    fn settle(&mut self) -> Option<CloseReason> {
        for _ in 0..1000 {
            match self.turn() {
                Some(Turn::Ended(reason)) => return Some(reason),
                Some(Turn::GaveWay) => {}
                None => return None,
            }
        }
        panic!("the relay has more to do for ever");
    }

    /// Polls until the relay has had its turn; `None` when it rests.
    fn turn(&mut self) -> Option<Turn> {
        let waker = Waker::from(Arc::clone(&self.wakes));
        loop {
            if self.wakes.0.swap(0, Ordering::Relaxed) == 0 {
                return None;
            }
            if let Poll::Ready(turn) = self.relay.as_mut().poll(&mut Context::from_waker(&waker)) {
                if turn == Turn::GaveWay {
                    self.wakes.0.fetch_add(1, Ordering::Relaxed);
                }
                return Some(turn);
            }
        }
    }

    /// Another connection of the same executor, with its client and its broker.
    fn neighbour(&self) -> (Socket, Socket, Pin<Box<Relay<Socket, Socket>>>) {
        let (client, broker) = (Socket::with_room(ROOMY), Socket::with_room(ROOMY));
        let (_, status) = self.shared.registry.borrow_mut().add(Instant::now());
        let session = Session::new(listener(), 2, &Limits::default(), None);
        let relay = Relay::new(
            client.clone(),
            broker.clone(),
            session,
            status,
            Rc::clone(&self.shared),
        );
        (client, broker, Box::pin(relay))
    }

    /// The key service delivers a key to seal with.
    fn deliver_sealing_key(&self) {
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
            kms: 0,
            kek: "payments".into(),
            result: Ok(DeliveredDek {
                dek: SecretKey::from_bytes(&mut [7; 32]).expect("a key"),
                wrapped: wrapped.into(),
                batches_max: 100,
                bytes_max: 1 << 30,
                expires_at: now + Duration::from_secs(3600),
            }),
        };
        self.shared.pipeline.borrow_mut().keys.apply(reply, now);
        self.shared.announce_news();
    }
}

fn record(value: &[u8]) -> RecordInput<'_> {
    RecordInput {
        timestamp: 1,
        key: Some(b"key"),
        value: Some(value),
        headers: &[],
    }
}

fn batch() -> Vec<u8> {
    BatchBuilder::new()
        .record(record(CANARY))
        .build()
        .expect("a batch")
}

fn holds_canary(bytes: &[u8]) -> bool {
    bytes.windows(CANARY.len()).any(|window| window == CANARY)
}

#[test]
fn what_the_broker_does_not_take_is_not_read_from_the_client() {
    let mut bench = Bench::with_room(Limits::default(), ROOMY, 10);
    let first = heartbeat(1);
    bench.client.arrive(&first);
    assert_eq!(bench.settle(), None);
    assert_eq!(bench.broker.take_written(), first[..10]);
    let later: Vec<u8> = (2..500).flat_map(heartbeat).collect();
    bench.client.arrive(&later);
    assert_eq!(bench.settle(), None);
    assert_eq!(bench.client.unread(), later.len());
    bench.broker.make_room(ROOMY);
    assert_eq!(bench.settle(), None);
    assert_eq!(bench.broker.take_written(), [&first[10..], &later].concat());
}

#[test]
fn what_the_client_does_not_take_is_not_read_from_the_broker() {
    let mut bench = Bench::with_room(Limits::default(), 0, ROOMY);
    for correlation_id in 0..100 {
        bench.client.arrive(&heartbeat(correlation_id));
    }
    assert_eq!(bench.settle(), None);
    let long = |correlation_id: i32| frame(&[&correlation_id.to_be_bytes(), &vec![5; 1 << 20]]);
    let answers: Vec<u8> = (0..20).flat_map(long).collect();
    bench.broker.arrive(&answers);
    assert_eq!(bench.settle(), None);
    assert!(
        bench.broker.unread() > 18 << 20,
        "{} bytes are unread",
        bench.broker.unread()
    );
    let mut received = Vec::new();
    while received.len() < answers.len() {
        bench.client.make_room(1 << 20);
        assert_eq!(bench.settle(), None);
        received.append(&mut bench.client.take_written());
    }
    assert!(received == answers, "order and content are kept");
}

#[test]
fn requests_beyond_the_bound_wait_for_answers() {
    let mut bench = Bench::new(Limits {
        in_flight_requests_max: 2,
        ..Limits::default()
    });
    for correlation_id in 1..=4 {
        bench.client.arrive(&heartbeat(correlation_id));
    }
    assert_eq!(bench.settle(), None);
    assert_eq!(bench.broker.take_written(), [heartbeat(1), heartbeat(2)].concat());
    for correlation_id in 1..=4 {
        bench.broker.arrive(&beaten(correlation_id));
        assert_eq!(bench.settle(), None);
        assert_eq!(bench.client.take_written(), beaten(correlation_id));
        let next = if correlation_id < 3 {
            heartbeat(correlation_id + 2)
        } else {
            Vec::new()
        };
        assert_eq!(bench.broker.take_written(), next);
    }
}

#[test]
fn an_idle_pair_holds_no_memory_after_traffic() {
    let mut bench = Bench::with_room(Limits::default(), 5, 5);
    bench.client.arrive(&heartbeat(1));
    assert_eq!(bench.settle(), None);
    assert!(bench.shared.pipeline.borrow().metrics.gauges.bytes_held > 0);
    bench.broker.make_room(ROOMY);
    bench.client.make_room(ROOMY);
    bench.broker.arrive(&beaten(1));
    assert_eq!(bench.settle(), None);
    assert_eq!(bench.client.take_written(), beaten(1));
    assert_eq!(bench.shared.pipeline.borrow().metrics.gauges.bytes_held, 0);
}

#[test]
fn a_client_that_ends_its_side_still_gets_its_answer() {
    let mut bench = Bench::new(Limits::default());
    bench.client.arrive(&heartbeat(1));
    bench.client.end();
    assert_eq!(bench.settle(), None);
    assert_eq!(bench.broker.take_written(), heartbeat(1));
    assert!(bench.broker.is_closed());
    bench.broker.arrive(&beaten(1));
    bench.broker.end();
    assert_eq!(bench.settle(), Some(CloseReason::BrokerClosed));
    assert_eq!(bench.client.take_written(), beaten(1));
}

#[test]
fn a_client_without_acknowledgements_may_leave_before_its_key_comes() {
    let mut bench = Bench::new(Limits::default());
    bench.client.arrive(&produce(1, 0, "sealed", &batch()));
    bench.client.end();
    assert_eq!(bench.settle(), None);
    assert!(bench.broker.take_written().is_empty() && !bench.broker.is_closed());
    bench.deliver_sealing_key();
    assert_eq!(bench.settle(), Some(CloseReason::ClientClosed));
    let stored = bench.broker.take_written();
    assert!(stored.len() > batch().len() && !holds_canary(&stored));
    assert!(bench.broker.is_closed());
}

/// A client that closes its socket before an answer has come resets it when the answer comes.
#[test]
fn what_a_client_sent_before_it_was_gone_is_stored() {
    let mut bench = Bench::new(Limits::default());
    bench.client.arrive(&heartbeat(1));
    bench.client.arrive(&produce(2, 0, "sealed", &batch()));
    assert_eq!(bench.settle(), None);
    bench.client.arrive(&produce(3, 0, "sealed", &batch()));
    bench.client.reset();
    // The answer finds nobody, while the first batch waits for its key and the second was not read.
    bench.broker.arrive(&beaten(1));
    assert_eq!(bench.settle(), None);
    assert_eq!(bench.broker.take_written(), heartbeat(1));
    bench.deliver_sealing_key();
    assert_eq!(bench.settle(), Some(CloseReason::ClientClosed));
    let stored = bench.broker.take_written();
    assert!(stored.len() > 2 * batch().len() && !holds_canary(&stored));
    assert!(bench.broker.is_closed() && bench.client.take_written().is_empty());
}

#[test]
fn a_request_waits_for_its_key_and_later_ones_wait_behind_it() {
    let mut bench = Bench::new(Limits::default());
    bench.client.arrive(&heartbeat(1));
    bench.client.arrive(&produce(2, -1, "sealed", &batch()));
    bench.client.arrive(&heartbeat(3));
    assert_eq!(bench.settle(), None);
    assert_eq!(bench.broker.take_written(), heartbeat(1));
    assert!(matches!(
        bench.key_requests.try_recv(),
        Some(KeyRequest::Seal { .. })
    ));
    // An answer meanwhile does not disturb the wait.
    bench.broker.arrive(&beaten(1));
    assert_eq!(bench.settle(), None);
    assert!(bench.broker.take_written().is_empty());
    bench.deliver_sealing_key();
    assert_eq!(bench.settle(), None);
    let sent = bench.broker.take_written();
    assert!(sent.ends_with(&heartbeat(3)) && !holds_canary(&sent));
}

#[test]
fn an_address_is_spread_before_the_client_hears_of_it() {
    let mut bench = Bench::new(Limits::default());
    bench.client.arrive(&request(3, 0, 1, &[0; 4]));
    let told = |host: &str, port: i32| {
        let length = i16::try_from(host.len()).expect("a host");
        frame(&[
            &1_i32.to_be_bytes(),
            &[0, 0, 0, 1, 0, 0, 0, 1],
            &length.to_be_bytes(),
            host.as_bytes(),
            &port.to_be_bytes(),
            &[0; 4],
        ])
    };
    bench.broker.arrive(&told("kafka-1.internal", 9092));
    assert_eq!(bench.settle(), None);
    assert!(bench.client.take_written().is_empty());
    let Some(ControlRequest::Learn { cluster: 0, learned }) = bench.control.try_recv() else {
        panic!("the address is to be spread");
    };
    // Other news come first: the address is neither told nor spread again.
    bench.shared.announce_news();
    assert_eq!(bench.settle(), None);
    assert!(bench.client.take_written().is_empty() && bench.control.try_recv().is_none());
    for address in learned {
        assert!(bench.shared.pipeline.borrow_mut().addresses[0].learn(address));
    }
    bench.shared.announce_news();
    assert_eq!(bench.settle(), None);
    assert_eq!(bench.client.take_written(), told("proxy", 9193));
}

#[test]
fn a_drain_ends_although_the_client_goes_on_sending() {
    let mut bench = Bench::new(Limits::default());
    let (begun, rest) = {
        let third = heartbeat(3);
        (third[..15].to_vec(), third[15..].to_vec())
    };
    bench.client.arrive(&heartbeat(1));
    bench.client.arrive(&begun[..5]);
    assert_eq!(bench.settle(), None);
    bench.shared.registry.borrow_mut().drain();
    bench.client.arrive(&begun[5..]);
    bench.client.arrive(&rest);
    bench.client.arrive(&heartbeat(4));
    assert_eq!(bench.settle(), None);
    assert_eq!(
        bench.broker.take_written(),
        [heartbeat(1), heartbeat(3)].concat(),
        "what was begun is finished, and nothing is begun"
    );
    bench.client.arrive(&heartbeat(5));
    bench.broker.arrive(&beaten(1));
    assert_eq!(bench.settle(), None);
    assert_eq!(bench.client.take_written(), beaten(1));
    bench.broker.arrive(&beaten(3));
    assert_eq!(bench.settle(), Some(CloseReason::Drain));
    assert_eq!(bench.client.take_written(), beaten(3));
}

#[test]
fn a_drain_waits_for_a_request_that_waits_for_its_key() {
    let mut bench = Bench::new(Limits::default());
    bench.client.arrive(&produce(1, 0, "sealed", &batch()));
    assert_eq!(bench.settle(), None);
    bench.shared.registry.borrow_mut().drain();
    assert_eq!(bench.settle(), None);
    bench.deliver_sealing_key();
    assert_eq!(bench.settle(), Some(CloseReason::Drain));
    assert!(!bench.broker.take_written().is_empty());
}

#[test]
fn a_quiet_connection_drains_at_once() {
    let mut bench = Bench::new(Limits::default());
    assert_eq!(bench.settle(), None);
    bench.shared.registry.borrow_mut().drain();
    assert_eq!(bench.settle(), Some(CloseReason::Drain));
}

#[test]
fn a_broker_may_take_its_time_with_the_first_request() {
    let unproven = Duration::from_secs(10);
    let ask = |bench: &Bench| {
        let later = Instant::now() + unproven;
        let registry = bench.shared.registry.borrow();
        registry.close_idle(later, Duration::from_secs(600), unproven);
        bench.status.request()
    };
    for whole in [heartbeat(1), fetch(1)] {
        let mut bench = Bench::new(Limits::default());
        bench.client.arrive(&whole);
        assert_eq!(bench.settle(), None);
        assert_eq!(ask(&bench), Request::Run, "the broker has it and is to answer");
    }
    let mut bench = Bench::new(Limits::default());
    bench.client.arrive(&produce(1, 0, "sealed", &batch()));
    assert_eq!(bench.settle(), None);
    bench.deliver_sealing_key();
    assert_eq!(bench.settle(), None);
    assert_eq!(ask(&bench), Request::Run, "there never is an answer");

    let stranger = Request::Close(CloseReason::IdleUnauthenticated);
    for part in [&heartbeat(1)[..25], &request(18, 0, 1, &[])] {
        let mut bench = Bench::new(Limits::default());
        bench.client.arrive(part);
        assert_eq!(bench.settle(), None);
        assert_eq!(ask(&bench), stranger);
        assert_eq!(bench.settle(), Some(CloseReason::IdleUnauthenticated));
    }
}

#[test]
fn slow_reading_is_activity() {
    let mut bench = Bench::with_room(Limits::default(), 0, ROOMY);
    bench.client.arrive(&heartbeat(1));
    bench.broker.arrive(&frame(&[&1_i32.to_be_bytes(), &[5; 1000]]));
    assert_eq!(bench.settle(), None);
    let before = bench.status.last_active();
    bench.client.make_room(10);
    assert_eq!(bench.settle(), None);
    assert!(bench.status.last_active() > before);
    assert_eq!(bench.client.take_written().len(), 10);
}

#[test]
fn a_batch_that_waited_in_vain_is_not_overtaken() {
    let mut bench = Bench::new(Limits {
        seal_wait: Duration::ZERO,
        ..Limits::default()
    });
    let numbered = |sequence| {
        let batch = BatchBuilder::new()
            .producer(7, 0, sequence)
            .record(record(CANARY));
        batch.build().expect("a batch")
    };
    bench.client.arrive(&produce(1, -1, "sealed", &numbered(0)));
    assert_eq!(bench.settle(), None);
    bench.shared.alarms.borrow_mut().wake_due(Instant::now());
    assert_eq!(bench.settle(), None);
    let nothing = bench.broker.take_written();
    assert!(nothing.len() < 40, "an empty request keeps the order");
    bench.deliver_sealing_key();
    let mut sent = Vec::new();
    for (correlation_id, sequence) in [(2, 1), (3, 0), (4, 1)] {
        let batch = numbered(sequence);
        bench
            .client
            .arrive(&produce(correlation_id, -1, "sealed", &batch));
        assert_eq!(bench.settle(), None);
        sent.push(bench.broker.take_written().len() > batch.len());
    }
    assert_eq!(sent, [false, true, true]);
    assert!(bench.client.take_written().is_empty());
    // The broker's answers, which know nothing of the refused partitions.
    bench
        .broker
        .arrive(&frame(&[&1_i32.to_be_bytes(), &[0; 4], &[0; 4]]));
    assert_eq!(bench.settle(), None);
    let answer = bench.client.take_written();
    let not_stored = [&b"sealed"[..], &[0, 0, 0, 1, 0, 0, 0, 0, 0, 19]].concat();
    assert!(
        answer
            .windows(not_stored.len())
            .any(|window| window == not_stored)
    );
}

#[test]
fn neighbours_are_served_while_a_long_request_is_sealed() {
    const PARTITIONS: usize = 16;
    let mut bench = Bench::new(Limits::default());
    bench.shared.pipeline.borrow_mut().piece_bytes = 1;
    bench.deliver_sealing_key();
    let (client, broker, mut neighbour) = bench.neighbour();
    let one = batch();
    bench
        .client
        .arrive(&produce_all(1, -1, "sealed", &[one.as_slice(); PARTITIONS]));
    let mut turns = 0;
    while bench.turn() == Some(Turn::GaveWay) {
        assert!(bench.broker.take_written().is_empty(), "it goes out whole");
        turns += 1;
        client.arrive(&heartbeat(turns));
        let rests = neighbour.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        assert!(rests.is_pending());
        assert_eq!(broker.take_written(), heartbeat(turns));
    }
    // Each batch is checked in a turn and sealed in one, and the last turn is the one that ends.
    assert_eq!(turns, 2 * PARTITIONS as i32 - 1);
    let sent = bench.broker.take_written();
    assert!(sent.len() > PARTITIONS * one.len() && !holds_canary(&sent));
}

#[test]
fn a_request_that_is_sealed_in_pieces_is_accounted_for_and_leaves_nothing() {
    let held = |bench: &Bench| bench.shared.pipeline.borrow().metrics.gauges.bytes_held;
    let one = batch();
    let long = produce_all(1, 0, "sealed", &[one.as_slice(); 8]);
    let begin = || {
        let mut bench = Bench::new(Limits::default());
        bench.shared.pipeline.borrow_mut().piece_bytes = 1;
        bench.deliver_sealing_key();
        bench.client.arrive(&long);
        // The last turns before it is whole.
        for _ in 0..14 {
            assert_eq!(bench.turn(), Some(Turn::GaveWay));
        }
        assert!(
            held(&bench) > 2 * long.len() as u64,
            "what is read and what is written"
        );
        bench
    };
    let mut bench = begin();
    assert_eq!(bench.settle(), None);
    assert!(bench.broker.take_written().len() > long.len());
    assert_eq!(held(&bench), 0);

    let Bench { relay, shared, .. } = begin();
    drop(relay);
    let pipeline = shared.pipeline.borrow();
    assert_eq!(pipeline.metrics.gauges.bytes_held, 0);
}

#[test]
fn a_client_that_leaves_while_its_request_is_sealed_has_it_stored() {
    let mut bench = Bench::new(Limits::default());
    bench.shared.pipeline.borrow_mut().piece_bytes = 1;
    bench.deliver_sealing_key();
    let one = batch();
    bench.client.arrive(&produce_all(1, 0, "sealed", &[&one, &one]));
    bench.client.end();
    assert_eq!(bench.turn(), Some(Turn::GaveWay));
    assert!(!bench.broker.is_closed());
    assert_eq!(bench.settle(), Some(CloseReason::ClientClosed));
    assert!(bench.broker.take_written().len() > 2 * one.len());
}

/// Six batches of 900 kB for `topic`.
fn long_request(topic: &str) -> Vec<u8> {
    let value = vec![b'x'; 900_000];
    let one = BatchBuilder::new()
        .record(record(&value))
        .build()
        .expect("a batch");
    produce_all(1, -1, topic, &[one.as_slice(); 6])
}

#[test]
fn long_output_is_written_in_turns_however_fast_it_is_read() {
    for topic in ["sealed", "passed"] {
        let mut bench = Bench::new(Limits::default());
        bench.deliver_sealing_key();
        let long = long_request(topic);
        bench.client.arrive(&long);
        bench.client.arrive(&heartbeat(2));
        let (mut most, mut sent) = (0, Vec::new());
        loop {
            let turn = bench.turn();
            let mut written = bench.broker.take_written();
            most = most.max(written.len());
            sent.append(&mut written);
            match turn {
                Some(Turn::GaveWay) => {}
                None => break,
                Some(Turn::Ended(reason)) => panic!("{reason:?}"),
            }
        }
        assert!(most <= 2 << 20, "{topic}: {most} bytes in one turn");
        let before = sent.strip_suffix(heartbeat(2).as_slice());
        let before = before.expect("what is behind it comes behind it");
        assert!(before.len() >= long.len());
        assert_eq!(before == long, topic == "passed");
        assert_eq!(bench.shared.pipeline.borrow().metrics.gauges.bytes_held, 0);
    }
}

#[test]
fn a_long_request_that_passes_goes_out_of_what_it_was_read_into() {
    let mut bench = Bench::with_room(Limits::default(), ROOMY, 0);
    let long = long_request("passed");
    bench.client.arrive(&long);
    assert_eq!(bench.settle(), None);
    let held = bench.shared.pipeline.borrow().metrics.gauges.bytes_held as usize;
    // Memory that grows with what arrives is at most twice as long.
    assert!(
        (long.len()..2 * long.len() + 1024).contains(&held),
        "{held} bytes"
    );
    bench.shared.registry.borrow_mut().drain();
    bench.client.arrive(&heartbeat(2));
    let mut sent = Vec::new();
    while sent.len() < long.len() {
        bench.broker.make_room(500_000);
        assert_eq!(bench.settle(), None);
        sent.append(&mut bench.broker.take_written());
    }
    assert!(sent == long, "nothing is begun while draining");
    let answer = frame(&[&1_i32.to_be_bytes(), &[0; 8]]);
    bench.broker.arrive(&answer);
    assert_eq!(bench.settle(), Some(CloseReason::Drain));
    assert_eq!(bench.client.take_written(), answer);
}

#[test]
fn a_client_that_is_gone_does_not_stop_what_a_broker_still_sends() {
    let mut bench = Bench::with_room(Limits::default(), 0, ROOMY);
    bench.client.arrive(&fetch(1));
    bench.client.arrive(&heartbeat(2));
    bench.broker.arrive(&fetched(1, "passed", &vec![7; 3_000_000]));
    bench.broker.arrive(&beaten(2));
    assert_eq!(bench.settle(), None);
    bench.client.reset();
    assert_eq!(bench.settle(), Some(CloseReason::ClientClosed));
    assert!(bench.client.take_written().is_empty());
}

/// What a client gets of `records` in a topic whose rule accepts nothing but sealed records, and whether it is held first.
fn delivered(records: &[u8]) -> (Vec<u8>, bool) {
    let fetch_hold = Duration::from_millis(1);
    let mut bench = Bench::new(Limits {
        fetch_hold,
        ..Limits::default()
    });
    bench.client.arrive(&fetch(1));
    bench.broker.arrive(&fetched(1, "sealed", records));
    assert_eq!(bench.settle(), None);
    let at_once = bench.client.take_written();
    if !at_once.is_empty() {
        return (at_once, false);
    }
    let over = Instant::now() + fetch_hold;
    while Instant::now() < over {
        std::hint::spin_loop();
    }
    bench.shared.alarms.borrow_mut().wake_due(Instant::now());
    assert_eq!(bench.settle(), None);
    (bench.client.take_written(), true)
}

#[test]
fn what_no_seal_vouches_for_is_not_delivered() {
    let plain = BatchBuilder::new().record(record(CANARY));
    let build = |builder: BatchBuilder| builder.build().expect("a batch");
    let whole = build(plain.clone());
    for (what, records) in [
        ("plaintext", whole.clone()),
        ("a count of zero", build(plain.clone().record_count(0))),
        (
            "a count of zero, compressed",
            build(plain.clone().codec(Codec::Zstd).record_count(0)),
        ),
        ("the control bit", build(plain.clone().control())),
        ("a part of a batch", whole[..whole.len() - 1].to_vec()),
        ("a negative count", build(plain.record_count(-1))),
    ] {
        let (bytes, held) = delivered(&records);
        assert!(held, "{what}");
        assert_eq!(bytes.len(), fetched(1, "sealed", &[]).len(), "{what}");
    }
    let emptied = build(BatchBuilder::new().last_offset_delta(4));
    assert_eq!(delivered(&emptied), (fetched(1, "sealed", &emptied), false));
    let marker = RecordInput {
        key: Some(&[0, 0, 0, 1]),
        ..record(&[0, 0, 0, 0, 0, 3])
    };
    let control = build(BatchBuilder::new().transactional().control().record(marker));
    let tail = [&control[..], &whole[..40]].concat();
    assert_eq!(delivered(&tail), (fetched(1, "sealed", &control), false));
}
