//! A client without a library's habits: one request, one answer, exactly the bytes that the test wants.

use std::io::{self, BufRead as _, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::fetch_response::PartitionData;
use kafka_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::produce_response::PartitionProduceResponse;
use kafka_protocol::messages::sync_group_request::SyncGroupRequestAssignment;
use kafka_protocol::messages::{
    DescribeLogDirsRequest, FetchRequest, FindCoordinatorRequest, JoinGroupRequest, LeaveGroupRequest,
    ProduceRequest, ResponseHeader, SaslAuthenticateRequest, SaslHandshakeRequest, SyncGroupRequest,
};
use kafka_protocol::protocol::{Decodable, HeaderVersion, Request, StrBytes};
use rustls::{ClientConnection, HandshakeKind};
use sealwire::broker_login::{BrokerAccount, BrokerLogin, Outcome};
use sealwire::identity::sasl::initiator::{Account, Credential, Proof};
use sealwire::identity::sasl::verifier::Mechanism;
use sealwire::testing::{BatchBuilder, RecordInput};
use sealwire::transport::tls_client::UpstreamTls;
use socket2::{Domain, Socket, Type};

use super::frames;

pub(crate) struct RawClient {
    socket: TcpStream,
    tls: Option<Box<ClientConnection>>,
    correlation_id: i32,
}

impl RawClient {
    pub(crate) fn connect(address: &str) -> Self {
        Self::over(TcpStream::connect(address).expect("connecting"))
    }

    /// The same from this address of ours.
    pub(crate) fn connect_from(source: &str, address: &str) -> Self {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        let source: SocketAddr = format!("{source}:0").parse().expect("an address");
        socket.bind(&source.into()).expect("one of ours");
        let address: SocketAddr = address.parse().expect("an address");
        socket.connect(&address.into()).expect("connecting");
        Self::over(socket.into())
    }

    fn over(socket: TcpStream) -> Self {
        socket
            .set_read_timeout(Some(ANSWER_LIMIT))
            .expect("setting a time-out");
        RawClient {
            socket,
            tls: None,
            correlation_id: 0,
        }
    }

    /// The same by TLS, as one that has connected to `host`; what is wrong where hands are not shaken.
    pub(crate) fn connect_by_tls(address: &str, host: &str, tls: &UpstreamTls) -> Result<Self, String> {
        let set = tls.load(SystemTime::now()).expect("files of TLS");
        Self::connect_with(address, set.session(host).expect("a name"))
    }

    /// The same with a session of one's own.
    pub(crate) fn connect_with(address: &str, mut session: ClientConnection) -> Result<Self, String> {
        let mut client = Self::connect(address);
        while session.is_handshaking() {
            let carried = session.complete_io(&mut client.socket);
            carried.map_err(|error| error.to_string())?;
        }
        client.tls = Some(Box::new(session));
        Ok(client)
    }

    /// Whether a session was resumed, where it has TLS.
    pub(crate) fn handshake_kind(&self) -> Option<HandshakeKind> {
        self.tls.as_ref()?.handshake_kind()
    }

    fn read_exact(&mut self, bytes: &mut [u8]) -> io::Result<()> {
        match &mut self.tls {
            None => self.socket.read_exact(bytes),
            Some(tls) => rustls::Stream::new(&mut **tls, &mut self.socket).read_exact(bytes),
        }
    }

    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        match &mut self.tls {
            None => self.socket.write_all(bytes),
            Some(tls) => rustls::Stream::new(&mut **tls, &mut self.socket).write_all(bytes),
        }
    }

    /// Sends a request and gives its answer.
    pub(crate) fn ask<R: Request>(&mut self, version: i16, request: &R) -> R::Response {
        self.send(version, request);
        self.receive::<R>(version)
    }

    /// The same; `None` when the connection is closed instead.
    pub(crate) fn ask_if_any<R: Request>(&mut self, version: i16, request: &R) -> Option<R::Response> {
        self.send(version, request);
        self.is_answered().then(|| self.receive::<R>(version))
    }

    /// Sends a batch to partition 0 of a topic and gives what the answer says of it.
    pub(crate) fn produce(&mut self, topic: &str, batch: Vec<u8>) -> PartitionProduceResponse {
        self.ask(PRODUCE_VERSION, &produce_request(topic, batch, -1))
            .responses
            .into_iter()
            .next()
            .and_then(|topic| topic.partition_responses.into_iter().next())
            .expect("an answer for the partition")
    }

    /// Sends a batch without wanting an answer.
    pub(crate) fn produce_unacknowledged(&mut self, topic: &str, batch: Vec<u8>) {
        self.send(PRODUCE_VERSION, &produce_request(topic, batch, 0));
    }

    /// Fetches partition 0 of each topic from its beginning, in a session of one request.
    pub(crate) fn fetch(&mut self, topics: &[&str]) -> Vec<PartitionData> {
        let topics = topics
            .iter()
            .map(|topic| {
                FetchTopic::default()
                    .with_topic(StrBytes::from_string((*topic).to_owned()).into())
                    .with_partitions(vec![
                        FetchPartition::default()
                            .with_partition(0)
                            .with_current_leader_epoch(-1)
                            .with_fetch_offset(0)
                            .with_log_start_offset(-1)
                            .with_partition_max_bytes(1 << 20),
                    ])
            })
            .collect();
        let request = FetchRequest::default()
            .with_replica_id((-1).into())
            .with_max_wait_ms(500)
            .with_min_bytes(1)
            .with_max_bytes(1 << 24)
            .with_session_epoch(-1)
            .with_topics(topics);
        self.ask(FETCH_VERSION, &request)
            .responses
            .into_iter()
            .flat_map(|topic| topic.partitions)
            .collect()
    }

    /// Asks the broker for its data folders, which no two brokers share; `None` when the connection is closed instead.
    pub(crate) fn log_dirs(&mut self) -> Option<Vec<String>> {
        let request = DescribeLogDirsRequest::default().with_topics(Some(Vec::new()));
        let answer = self.ask_if_any(LOG_DIRS_VERSION, &request)?;
        let folders = answer.results.iter().map(|result| result.log_dir.to_string());
        Some(folders.collect())
    }

    /// Joins a group as its only member and leader, so that it is stable; gives the member's id, or Kafka's error.
    pub(crate) fn join_group(&mut self, group: &str, patience_ms: i32) -> Result<String, i16> {
        let group_id = StrBytes::from_string(group.to_owned());
        // The first to ask makes the broker create what coordinators keep their groups in.
        let request = FindCoordinatorRequest::default().with_key(group_id.clone());
        let found = self.ask(FIND_COORDINATOR_VERSION, &request);
        if found.error_code != 0 {
            return Err(found.error_code);
        }
        let protocol = JoinGroupRequestProtocol::default().with_name(StrBytes::from_static_str("range"));
        let request = JoinGroupRequest::default()
            .with_group_id(group_id.clone().into())
            .with_session_timeout_ms(patience_ms)
            .with_rebalance_timeout_ms(patience_ms)
            .with_protocol_type(StrBytes::from_static_str("consumer"))
            .with_protocols(vec![protocol]);
        let joined = self.ask(JOIN_GROUP_VERSION, &request);
        if joined.error_code != 0 {
            return Err(joined.error_code);
        }
        let assignment = SyncGroupRequestAssignment::default().with_member_id(joined.member_id.clone());
        let request = SyncGroupRequest::default()
            .with_group_id(group_id.into())
            .with_generation_id(joined.generation_id)
            .with_member_id(joined.member_id.clone())
            .with_assignments(vec![assignment]);
        match self.ask(SYNC_GROUP_VERSION, &request).error_code {
            0 => Ok(joined.member_id.to_string()),
            code => Err(code),
        }
    }

    /// Leaves the group.
    pub(crate) fn leave_group(&mut self, group: &str, member: &str) {
        let request = LeaveGroupRequest::default()
            .with_group_id(StrBytes::from_string(group.to_owned()).into())
            .with_member_id(StrBytes::from_string(member.to_owned()));
        assert_eq!(self.ask(LEAVE_GROUP_VERSION, &request).error_code, 0);
    }

    /// Asks for a group's coordinator: error, message and node.
    pub(crate) fn coordinator(&mut self, group: &str) -> (i16, String, i32) {
        let key = StrBytes::from_string(group.to_owned());
        let answer = self.ask(3, &FindCoordinatorRequest::default().with_key(key));
        let message = answer
            .error_message
            .map_or(String::new(), |text| text.to_string());
        (answer.error_code, message, answer.node_id.0)
    }

    /// Begins a login by SCRAM under a name that the broker knows, as far as that goes without the password; the broker
    /// accepts this first round.
    pub(crate) fn begin_scram(&mut self, user: &str) {
        let handshake =
            SaslHandshakeRequest::default().with_mechanism(StrBytes::from_static_str("SCRAM-SHA-256"));
        assert_eq!(self.ask(1, &handshake).error_code, 0);
        let first = format!("n,,n={user},r=anything");
        let token = SaslAuthenticateRequest::default().with_auth_bytes(first.into());
        assert_eq!(self.ask(1, &token).error_code, 0);
    }

    /// Sends a whole login by SCRAM whose proof is made up, and waits for no answer; the connection may have been
    /// closed by then.
    pub(crate) fn fail_scram(&mut self) -> io::Result<()> {
        let mechanism = StrBytes::from_static_str("SCRAM-SHA-256");
        let handshake = SaslHandshakeRequest::default().with_mechanism(mechanism);
        let proof = "A".repeat(43);
        let token = |message: String| SaslAuthenticateRequest::default().with_auth_bytes(message.into());
        let frames = [
            frames::request(1, 1, "raw", &handshake),
            frames::request(1, 2, "raw", &token("n,,n=guessed,r=anything".to_owned())),
            frames::request(1, 3, "raw", &token(format!("c=biws,r=anything,p={proof}="))),
        ];
        let mut bytes = Vec::new();
        for frame in frames {
            let length = i32::try_from(frame.len()).expect("a small frame");
            bytes.extend_from_slice(&length.to_be_bytes());
            bytes.extend_from_slice(&frame);
        }
        self.write_all(&bytes)
    }

    /// Logs in by PLAIN without waiting for any answer before the next request, an ordinary one among them; gives the
    /// codes of the answers to the handshake and to the token, and what came for the ordinary one.
    pub(crate) fn pipeline_plain(&mut self, user: &str, password: &str) -> (i16, i16, Vec<u8>) {
        let handshake = SaslHandshakeRequest::default().with_mechanism(StrBytes::from_static_str("PLAIN"));
        self.send(1, &handshake);
        let token = format!("\0{user}\0{password}");
        self.send(
            1,
            &SaslAuthenticateRequest::default().with_auth_bytes(token.into()),
        );
        self.send(
            LOG_DIRS_VERSION,
            &DescribeLogDirsRequest::default().with_topics(Some(Vec::new())),
        );
        self.correlation_id -= 2;
        let handshaken = self.receive::<SaslHandshakeRequest>(1).error_code;
        self.correlation_id += 1;
        let logged_in = self.receive::<SaslAuthenticateRequest>(1).error_code;
        self.correlation_id += 1;
        (handshaken, logged_in, self.receive_frame())
    }

    /// Logs in by SCRAM-SHA-512, as the proxy does at brokers.
    pub(crate) fn log_in(&mut self, user: &str, password: &str) {
        let account = Account::new(user.to_owned(), password.to_owned().into());
        let credential = Credential::new(Proof::Scram(Mechanism::Sha512, account, None));
        let mut login = BrokerLogin::new(&BrokerAccount::new(credential)).expect("a login");
        loop {
            self.correlation_id += 1;
            let mut request = Vec::new();
            login.write(self.correlation_id, &mut request).expect("a request");
            self.write_all(&request).expect("sending");
            let mut outcome = login.take(&self.receive_frame());
            while let Ok(Outcome::Hash) = outcome {
                login.hashing("the proxy").expect("nobody else hashes it").run();
                outcome = login.resume();
            }
            match outcome.expect("it is let in") {
                Outcome::Done(_) => return,
                Outcome::Ask | Outcome::Hash => {}
            }
        }
    }

    /// Returns when the other side has closed the connection; panics if it sends anything before, or does not close it.
    pub(crate) fn assert_closed(&mut self) {
        match self.socket.read(&mut [0; 1]) {
            Ok(0) => {}
            Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
            other => panic!("the connection was to be closed, but: {other:?}"),
        }
    }

    /// Sends what no library can encode any more; it goes behind its length.
    pub(crate) fn send_frame(&mut self, frame: &[u8]) {
        let length = i32::try_from(frame.len()).expect("a small frame");
        let whole = [&length.to_be_bytes(), frame].concat();
        self.write_all(&whole).expect("sending");
    }

    /// The next answer, or `None` when the connection is closed instead.
    pub(crate) fn receive_frame_if_any(&mut self) -> Option<Vec<u8>> {
        self.is_answered().then(|| self.receive_frame())
    }

    /// The next answer, as much of it as comes before the connection is closed.
    pub(crate) fn receive_what_comes(&mut self) -> Vec<u8> {
        let mut length = [0; 4];
        if !self.is_answered() || self.read_exact(&mut length).is_err() {
            return Vec::new();
        }
        let mut frame = Vec::new();
        let mut byte = [0];
        while frame.len() < u32::from_be_bytes(length) as usize && self.read_exact(&mut byte).is_ok() {
            frame.push(byte[0]);
        }
        frame
    }

    /// Waits for an answer to begin; `false` when the connection is closed instead.
    fn is_answered(&mut self) -> bool {
        let begun = match &mut self.tls {
            None => self.socket.peek(&mut [0; 1]),
            Some(tls) => rustls::Stream::new(&mut **tls, &mut self.socket)
                .fill_buf()
                .map(<[u8]>::len),
        };
        match begun {
            Ok(bytes) => bytes > 0,
            Err(error) if error.kind() == ErrorKind::ConnectionReset => false,
            Err(error) => panic!("neither an answer nor an end: {error}"),
        }
    }

    /// The next answer, whatever it is, without its length.
    pub(crate) fn receive_frame(&mut self) -> Vec<u8> {
        let mut length = [0; 4];
        self.read_exact(&mut length).expect("an answer");
        let length = usize::try_from(i32::from_be_bytes(length)).expect("a length");
        let mut frame = vec![0; length];
        self.read_exact(&mut frame).expect("a whole answer");
        frame
    }

    fn send<R: Request>(&mut self, version: i16, request: &R) {
        self.correlation_id += 1;
        let frame = frames::request(version, self.correlation_id, "raw", request);
        self.send_frame(&frame);
    }

    fn receive<R: Request>(&mut self, version: i16) -> R::Response {
        let mut frame = Bytes::from(self.receive_frame());
        let header =
            ResponseHeader::decode(&mut frame, R::Response::header_version(version)).expect("a header");
        assert_eq!(header.correlation_id, self.correlation_id);
        R::Response::decode(&mut frame, version).expect("an answer")
    }
}

/// A batch of one record. Of an idempotent producer where `producer` says its id and the batch's sequence.
pub(crate) fn batch(producer: Option<(i64, i32)>, value: &str) -> Vec<u8> {
    let mut builder = BatchBuilder::new().record(RecordInput {
        timestamp: 1_700_000_000_000,
        value: Some(value.as_bytes()),
        ..RecordInput::default()
    });
    if let Some((id, sequence)) = producer {
        builder = builder.producer(id, 0, sequence);
    }
    builder.build().expect("a batch")
}

/// For partition 0 of a topic.
pub(crate) fn produce_request(topic: &str, batch: Vec<u8>, acks: i16) -> ProduceRequest {
    let partition = PartitionProduceData::default()
        .with_index(0)
        .with_records(Some(batch.into()));
    let topic = TopicProduceData::default()
        .with_name(StrBytes::from_string(topic.to_owned()).into())
        .with_partition_data(vec![partition]);
    ProduceRequest::default()
        .with_acks(acks)
        .with_timeout_ms(10_000)
        .with_topic_data(vec![topic])
}

const PRODUCE_VERSION: i16 = 9;
const FETCH_VERSION: i16 = 11;
const LOG_DIRS_VERSION: i16 = 1;
const FIND_COORDINATOR_VERSION: i16 = 0;
/// Below those in which a member has to ask for its id first.
const JOIN_GROUP_VERSION: i16 = 2;
const SYNC_GROUP_VERSION: i16 = 1;
const LEAVE_GROUP_VERSION: i16 = 1;
const ANSWER_LIMIT: Duration = Duration::from_secs(20);
