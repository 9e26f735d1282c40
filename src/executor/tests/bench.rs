//! A real executor on its own thread. The test plays whatever is around it: acceptor, control thread, key service,
//! clients, and a broker that everybody is logged in to.

use std::convert::Infallible;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use glommio::{CpuSet, ExecutorJoinHandle};
use tokio::sync::oneshot;

use crate::channel::{Receiver, Sender, channel};
use crate::config::{ClientAuth, HostPort, Limits, ListenerConfig};
use crate::executor::{ExecutorListener, ExecutorSetup, spawn};
use crate::ids::{ClusterId, Id as _, KmsId, ListenerId};
use crate::keys::{KeyOptions, KeyReply, KeyRequest};
use crate::messages::{Accepted, ControlRequest, ExecutorMessage, Seats};
use crate::metrics::Snapshot;
use crate::pipeline::{AddressBook, Cluster, ClusterRules, ListenerMap, Pipeline};
use crate::rules::{Matcher, Rule, RuleAction, RuleSet, SealTemplate, Template};
use crate::testing::{BatchBuilder, RecordInput};

/// Much longer than a tick: the machine may be busy.
pub(super) const EVENTUALLY: Duration = Duration::from_secs(20);
/// Several ticks.
pub(super) const TICKS: Duration = Duration::from_millis(200);

/// An executor and the ends of all its channels. It is stopped at the end, however that comes.
pub(super) struct Bench {
    pub(super) messages: Sender<ExecutorMessage>,
    pub(super) control: Receiver<ControlRequest>,
    /// What the executor puts its requests in, too.
    pub(super) to_control: Sender<ControlRequest>,
    pub(super) key_requests: Receiver<KeyRequest>,
    pub(super) to_keys: Sender<KeyRequest>,
    pub(super) seats: Arc<Seats>,
    pub(super) alive: oneshot::Receiver<Infallible>,
    pub(super) broker: Broker,
    accepted: Sender<Accepted>,
    _key_replies: Sender<KeyReply>,
    entrance: TcpListener,
    handle: Option<ExecutorJoinHandle<()>>,
}

impl Bench {
    /// Channels to the control thread and to the key service hold `capacity`.
    pub(super) fn start(limits: Limits, capacity: usize) -> Self {
        let (messages, executor_messages) = channel(64);
        let (accepted, executor_accepted) = channel(64);
        let (key_replies, executor_replies) = channel(64);
        let (to_control, control) = channel(capacity);
        let (to_keys, key_requests) = channel(capacity);
        let (started, has_started) = oneshot::channel();
        let (executor_alive, alive) = oneshot::channel();
        let seats = Arc::<Seats>::default();
        let online = CpuSet::online().expect("the machine's cores");
        let cpu = online.into_iter().next().expect("a core").cpu;
        let setup = ExecutorSetup {
            executor: 0,
            messages: executor_messages,
            accepted: executor_accepted,
            key_replies: executor_replies,
            key_service: to_keys.clone(),
            control: to_control.clone(),
            listeners: (0..2).map(ListenerId::from_number).map(listener).collect(),
            executors: 1,
            handshakes_max: limits.handshakes_of_each(1),
            seats: Arc::clone(&seats),
            door: channel(1).0,
            came_back: Arc::default(),
            started,
            alive: executor_alive,
        };
        let handle = spawn(setup, cpu, move || pipeline(limits)).expect("the executor's thread starts");
        has_started.blocking_recv().expect("it runs");
        Self {
            messages,
            control,
            to_control,
            key_requests,
            to_keys,
            seats,
            alive,
            broker: Broker::start(),
            accepted,
            _key_replies: key_replies,
            entrance: TcpListener::bind(("127.0.0.1", 0)).expect("a port"),
            handle: Some(handle),
        }
    }

    /// A client that comes in by listener `number`, as the acceptor would hand it over.
    pub(super) fn connect(&self, number: u32) -> Client {
        self.come_in(number, None, &[])
    }

    /// A client that comes in by the port of a node of listener 0, and has said something by then.
    pub(super) fn connect_to_node(&self, node_id: i32) -> Client {
        let heartbeat = framed(&[0, 12, 0, 0, 0, 0, 0, 7, 0xff, 0xff, 0, 0]);
        self.come_in(0, Some(node_id), &heartbeat)
    }

    fn come_in(&self, number: u32, node: Option<i32>, first_words: &[u8]) -> Client {
        let address = self.entrance.local_addr().expect("an address");
        let mut client = TcpStream::connect(address).expect("connecting");
        client.write_all(first_words).expect("a socket's buffer is empty");
        client.set_read_timeout(Some(EVENTUALLY)).expect("a time-out");
        let (stream, peer) = self.entrance.accept().expect("the client");
        stream.set_nonblocking(true).expect("as the acceptor's are");
        self.seats.taken.fetch_add(1, Ordering::Relaxed);
        let accepted = Accepted {
            stream,
            peer,
            listener: ListenerId::from_number(number),
            node,
        };
        assert!(self.accepted.try_send(accepted).is_ok(), "there is room");
        Client(client)
    }

    /// A client of listener 0 that the broker has answered.
    pub(super) fn served(&mut self) -> Client {
        let mut client = self.connect(0);
        client.send(12, 0, &[7; 20]);
        // Known from an earlier client, perhaps.
        until("an answer", || {
            self.answer_names();
            client.has_input().then_some(())
        });
        client.receive();
        client
    }

    /// Answers look-ups of the broker's name as the control thread would; what else it is asked is dropped.
    pub(super) fn answer_names(&mut self) {
        while let Some(request) = self.control.try_recv() {
            self.answer_name(request);
        }
    }

    pub(super) fn answer_name(&self, request: ControlRequest) {
        if let ControlRequest::Resolve { host, .. } = request
            && host == broker_of(ListenerId::from_number(0))
        {
            let addresses = vec![self.broker.address];
            self.tell(ExecutorMessage::Resolved { host, addresses });
        }
    }

    pub(super) fn tell(&self, message: ExecutorMessage) {
        assert!(self.messages.try_send(message).is_ok(), "there is room");
    }

    pub(super) fn counters(&self) -> Snapshot {
        let (reply, mut answer) = oneshot::channel();
        self.tell(ExecutorMessage::Snapshot(reply));
        until("the counters", || answer.try_recv().ok())
    }

    /// Tells the executor to end, and waits until its thread has.
    pub(super) fn stop(&mut self) {
        if let Some(handle) = self.handle.take() {
            self.tell(ExecutorMessage::Stop);
            handle.join().expect("it ends well");
        }
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        if !thread::panicking() {
            self.stop();
        }
    }
}

/// Listener 1 leads to a name that nobody looks up.
fn broker_of(listener: ListenerId) -> HostPort {
    let host = if listener == ListenerId::from_number(0) {
        "kafka.test"
    } else {
        "nowhere.test"
    };
    HostPort {
        host: host.to_owned(),
        port: 9092,
    }
}

fn listener(id: ListenerId) -> (ListenerId, ExecutorListener) {
    let config = ListenerConfig {
        id,
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
    let listener = ExecutorListener {
        map: Arc::new(ListenerMap::new(ClusterId::from_number(0), &config)),
        routes: None,
        tls: None,
        upstream_tls: None,
        bootstrap: vec![broker_of(id)],
        proxies: None,
    };
    (id, listener)
}

/// Seals the topic `sealed` and knows no other.
fn pipeline(limits: Limits) -> Pipeline {
    let matcher = Matcher::exact("sealed").expect("a topic");
    let kek = Template::parse("payments", &matcher, "main").expect("a name");
    let rules = RuleSet::new(vec![Rule {
        matcher,
        action: RuleAction::Seal(Box::new(SealTemplate::new(KmsId::from_number(0), kek))),
    }]);
    let cluster = Cluster::new(
        ClusterRules::new("main".into(), rules, 100),
        AddressBook::default(),
    );
    let clusters = [(ClusterId::from_number(0), cluster)];
    Pipeline::new(0, limits, &KeyOptions::default(), clusters.into_iter().collect())
}

/// A client, without any library.
pub(super) struct Client(TcpStream);

impl Client {
    /// A request without a client id.
    pub(super) fn send(&mut self, api_key: i16, version: i16, body: &[u8]) {
        let head = [
            &api_key.to_be_bytes()[..],
            &version.to_be_bytes(),
            &[0, 0, 0, 7, 0xff, 0xff],
        ];
        self.say(&framed(&[&head.concat(), body].concat()));
    }

    /// Produce version 3 with a record for each of the first partitions of a topic.
    pub(super) fn produce(&mut self, topic: &str, partitions: u32) {
        let record = RecordInput {
            value: Some(b"value"),
            ..RecordInput::default()
        };
        let batch = framed(&BatchBuilder::new().record(record).build().expect("a batch"));
        let name = u16::try_from(topic.len()).expect("a topic's name").to_be_bytes();
        // No transaction, acks of the leader, a second, one topic.
        let mut body = [
            &[0xff, 0xff, 0, 1, 0, 0, 3, 0xe8, 0, 0, 0, 1][..],
            &name,
            topic.as_bytes(),
        ]
        .concat();
        body.extend(partitions.to_be_bytes());
        for partition in 0..partitions {
            body.extend(partition.to_be_bytes());
            body.extend(&batch);
        }
        self.send(0, 3, &body);
    }

    pub(super) fn say(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).expect("sending");
    }

    /// The next answer, without its length.
    pub(super) fn receive(&mut self) -> Vec<u8> {
        read_frame(&mut self.0).expect("an answer")
    }

    /// Whether there is something to read, its end included.
    pub(super) fn has_input(&self) -> bool {
        self.0.set_nonblocking(true).expect("a socket");
        let peeked = self.0.peek(&mut [0]);
        self.0.set_nonblocking(false).expect("a socket");
        peeked.is_ok()
    }

    /// Waits until the other side has ended, with a reset or without.
    pub(super) fn is_closed(&mut self) -> bool {
        let mut bytes = [0; 1024];
        until("the end", || match self.0.read(&mut bytes) {
            Ok(0) => Some(true),
            Ok(_) => None,
            Err(error) => Some(error.kind() == std::io::ErrorKind::ConnectionReset),
        })
    }
}

/// Upon this the broker leaves, too.
pub(super) const LEAVE_GROUP: u8 = 13;

/// Answers everything with nothing: no brokers that are served, nothing stored, no error.
pub(super) struct Broker {
    address: SocketAddr,
    open: Arc<AtomicUsize>,
}

impl Broker {
    /// Its threads end with their connections, and with the process.
    fn start() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
        let address = listener.local_addr().expect("an address");
        let open = Arc::<AtomicUsize>::default();
        let count = Arc::clone(&open);
        thread::spawn(move || {
            for socket in listener.incoming().flatten() {
                count.fetch_add(1, Ordering::SeqCst);
                let count = Arc::clone(&count);
                thread::spawn(move || {
                    answer(&socket);
                    count.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        Self { address, open }
    }

    /// How many connections the other side has not closed.
    pub(super) fn open(&self) -> usize {
        self.open.load(Ordering::SeqCst)
    }
}

fn answer(mut socket: &TcpStream) {
    while let Some(request) = read_frame(&mut socket) {
        let body: &[u8] = match request[1] {
            LEAVE_GROUP => break,
            // Metadata 1: node 7 at k:9, no rack, no controller, no topics.
            3 => &[
                0, 0, 0, 1, 0, 0, 0, 7, 0, 1, b'k', 0, 0, 0, 9, 0xff, 0xff, 0, 0, 0, 7, 0, 0, 0, 0,
            ],
            // Produce 3: no topics, no throttling.
            0 => &[0; 8],
            // Heartbeat 0.
            12 => &[0; 2],
            // ApiVersions.
            _ => &[0; 7],
        };
        if socket
            .write_all(&framed(&[&request[4..8], body].concat()))
            .is_err()
        {
            return;
        }
    }
    // The other side may be gone.
    let _ = socket.shutdown(Shutdown::Both);
}

fn framed(content: &[u8]) -> Vec<u8> {
    let length = u32::try_from(content.len()).expect("a frame's length");
    [&length.to_be_bytes()[..], content].concat()
}

fn read_frame(socket: &mut impl Read) -> Option<Vec<u8>> {
    let mut length = [0; 4];
    socket.read_exact(&mut length).ok()?;
    let mut frame = vec![0; usize::try_from(u32::from_be_bytes(length)).ok()?];
    socket.read_exact(&mut frame).ok()?;
    Some(frame)
}

/// What `look` finds in the end.
pub(super) fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(begun.elapsed() < EVENTUALLY, "{what} does not come");
        thread::park_timeout(Duration::from_millis(2));
    }
}
