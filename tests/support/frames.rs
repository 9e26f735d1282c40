//! Brokers that the test plays itself, and the frames that they read and write.

use std::io::Read;
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::describe_log_dirs_response::DescribeLogDirsResult;
use kafka_protocol::messages::metadata_response::MetadataResponseBroker;
use kafka_protocol::messages::produce_response::{PartitionProduceResponse, TopicProduceResponse};
use kafka_protocol::messages::{
    DescribeLogDirsRequest, DescribeLogDirsResponse, MetadataResponse, ProduceResponse, RequestHeader,
    ResponseHeader, TopicName,
};
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion, Request, StrBytes};

use super::HOST;

/// A broker that serves each connection so, on a thread of its own that ends with the test's process; its address.
pub(crate) fn start_broker(serve: impl Fn(TcpStream) + Send + Sync + 'static) -> String {
    let listener = TcpListener::bind((HOST, 0)).expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    let serve = Arc::new(serve);
    thread::spawn(move || {
        for socket in listener.incoming().flatten() {
            let serve = Arc::clone(&serve);
            thread::spawn(move || serve(socket));
        }
    });
    address
}

/// The next frame, without its length; `None` where the peer has ended.
pub(crate) fn read_frame(socket: &mut impl Read) -> Option<Vec<u8>> {
    let mut length = [0; 4];
    socket.read_exact(&mut length).ok()?;
    let mut frame = vec![0; usize::try_from(u32::from_be_bytes(length)).ok()?];
    socket.read_exact(&mut frame).ok()?;
    Some(frame)
}

/// A request frame of a client with this name, without its length.
pub(crate) fn request<R: Request>(
    version: i16,
    correlation_id: i32,
    client: &'static str,
    request: &R,
) -> Vec<u8> {
    let mut frame = BytesMut::new();
    RequestHeader::default()
        .with_request_api_key(R::KEY)
        .with_request_api_version(version)
        .with_correlation_id(correlation_id)
        .with_client_id(Some(StrBytes::from_static_str(client)))
        .encode(&mut frame, R::header_version(version))
        .expect("a header");
    request.encode(&mut frame, version).expect("a request");
    frame.to_vec()
}

/// What a request frame asks for.
pub(crate) fn decoded<R: Request + Decodable>(request: Vec<u8>, version: i16) -> R {
    let mut frame = Bytes::from(request);
    RequestHeader::decode(&mut frame, R::header_version(version)).expect("a header");
    R::decode(&mut frame, version).expect("a request")
}

/// API key, version and correlation id of a request.
pub(crate) fn head(request: &[u8]) -> (i16, i16, i32) {
    let number = |at: usize| i16::from_be_bytes([request[at], request[at + 1]]);
    let correlation_id = i32::from_be_bytes([request[4], request[5], request[6], request[7]]);
    (number(0), number(2), correlation_id)
}

/// A response frame, with its length.
pub(crate) fn answer<R: Request>(version: i16, correlation_id: i32, response: &R::Response) -> Vec<u8> {
    let mut frame = BytesMut::new();
    ResponseHeader::default()
        .with_correlation_id(correlation_id)
        .encode(&mut frame, R::Response::header_version(version))
        .expect("a header");
    response.encode(&mut frame, version).expect("a response");
    let length = u32::try_from(frame.len()).expect("a small frame");
    [&length.to_be_bytes()[..], &frame].concat()
}

/// Metadata of a cluster whose only broker, node 0, is there.
pub(crate) fn only_broker(host: &'static str, port: u16) -> MetadataResponse {
    let broker = MetadataResponseBroker::default()
        .with_host(StrBytes::from_static_str(host))
        .with_port(i32::from(port));
    MetadataResponse::default().with_brokers(vec![broker])
}

/// The answer of a broker that has stored what was sent to partition 0 of each topic.
pub(crate) fn all_stored(topics: impl IntoIterator<Item = TopicName>) -> ProduceResponse {
    let responses = topics.into_iter().map(|topic| {
        TopicProduceResponse::default()
            .with_name(topic)
            .with_partition_responses(vec![PartitionProduceResponse::default()])
    });
    ProduceResponse::default().with_responses(responses.collect())
}

/// The answer to a DescribeLogDirs request: a broker's data folder, by which [`RawClient::log_dirs`] tells brokers
/// apart.
///
/// [`RawClient::log_dirs`]: super::raw_client::RawClient::log_dirs
pub(crate) fn log_dirs_answer(request: &[u8], folder: &'static str) -> Vec<u8> {
    let (_, version, correlation_id) = head(request);
    let result = DescribeLogDirsResult::default().with_log_dir(StrBytes::from_static_str(folder));
    let response = DescribeLogDirsResponse::default().with_results(vec![result]);
    answer::<DescribeLogDirsRequest>(version, correlation_id, &response)
}
