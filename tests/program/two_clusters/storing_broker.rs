//! A broker of the test's own that stores what it is sent, a batch for each topic.

use std::collections::BTreeMap;
use std::io::Write;
use std::net::TcpStream;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use kafka_protocol::messages::fetch_response::{FetchableTopicResponse, PartitionData};
use kafka_protocol::messages::{
    ApiKey, FetchRequest, FetchResponse, MetadataRequest, ProduceRequest, ProduceResponse,
};

use crate::support::HOST;
use crate::support::frames::{
    all_stored, answer, decoded, head, log_dirs_answer, only_broker, read_frame, start_broker,
};

/// Node 0 of a cluster: keeps the last batch of each topic, and delivers that.
pub(super) struct StoringBroker {
    pub(super) address: String,
    pub(super) stored: Arc<Mutex<Stored>>,
}

/// By topic.
pub(super) type Stored = BTreeMap<String, Vec<u8>>;

impl StoringBroker {
    pub(super) fn start(folder: &'static str) -> Self {
        let stored = Arc::new(Mutex::new(Stored::new()));
        let kept = Arc::clone(&stored);
        let address = start_broker(move |socket| serve(socket, folder, &kept));
        Self { address, stored }
    }
}

/// Closes over what it does not know.
fn serve(mut socket: TcpStream, folder: &'static str, stored: &Mutex<Stored>) {
    let port = socket.local_addr().expect("an address").port();
    while let Some(request) = read_frame(&mut socket) {
        let (api_key, version, correlation_id) = head(&request);
        let answer = match ApiKey::try_from(api_key) {
            Ok(ApiKey::DescribeLogDirs) => log_dirs_answer(&request, folder),
            Ok(ApiKey::Metadata) => {
                answer::<MetadataRequest>(version, correlation_id, &only_broker(HOST, port))
            }
            Ok(ApiKey::Produce) => {
                let response = store(decoded(request, version), stored);
                answer::<ProduceRequest>(version, correlation_id, &response)
            }
            Ok(ApiKey::Fetch) => {
                let response = deliver(decoded(request, version), stored);
                answer::<FetchRequest>(version, correlation_id, &response)
            }
            _ => return,
        };
        if socket.write_all(&answer).is_err() {
            return;
        }
    }
}

fn store(request: ProduceRequest, stored: &Mutex<Stored>) -> ProduceResponse {
    let mut stored = stored.lock().expect("no broker panics");
    let topics = request.topic_data.into_iter().map(|topic| {
        for partition in topic.partition_data {
            let records = partition.records.expect("records").to_vec();
            stored.insert(topic.name.to_string(), records);
        }
        topic.name
    });
    all_stored(topics)
}

fn deliver(request: FetchRequest, stored: &Mutex<Stored>) -> FetchResponse {
    let stored = stored.lock().expect("no broker panics");
    let responses = request.topics.into_iter().map(|topic| {
        let records = stored.get(topic.topic.as_str()).cloned();
        let partition = PartitionData::default()
            .with_high_watermark(1)
            .with_records(records.map(Bytes::from));
        FetchableTopicResponse::default()
            .with_topic(topic.topic)
            .with_partitions(vec![partition])
    });
    FetchResponse::default().with_responses(responses.collect())
}
