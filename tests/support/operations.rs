//! The operations of the client programs, typed.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::agent::Agent;
use super::records::{Consumed, Delivery, Record, assert_delivered};
use super::wait;

/// Options that every client understands: `tests/clients/PROTOCOL.md`. What is absent keeps the client's default.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct Options {
    #[serde(flatten)]
    fields: Map<String, Value>,
}

impl Options {
    pub(crate) fn at(bootstrap: impl Into<String>) -> Self {
        Options::default().set("bootstrap", bootstrap.into())
    }

    pub(crate) fn set(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.fields.insert(name.to_owned(), value.into());
        self
    }

    pub(crate) fn codec(self, codec: &str) -> Self {
        self.set("codec", codec)
    }

    pub(crate) fn acks(self, acks: &str) -> Self {
        self.set("acks", acks)
    }

    pub(crate) fn group(self, group: &str, protocol: &str) -> Self {
        self.set("group", group).set("group_protocol", protocol)
    }

    pub(crate) fn transactional(self, id: &str) -> Self {
        self.set("transactional_id", id)
    }

    pub(crate) fn read_committed(self) -> Self {
        self.set("isolation", "read_committed")
    }

    pub(crate) fn sasl(self, mechanism: &str, user: &str, password: &str) -> Self {
        self.set(
            "sasl",
            json!({"mechanism": mechanism, "user": user, "password": password}),
        )
    }

    /// OAUTHBEARER with the token that this file has whenever a client logs in.
    pub(crate) fn bearer(self, token_file: &Path) -> Self {
        self.set(
            "sasl",
            json!({"mechanism": "OAUTHBEARER", "user": "", "token_file": token_file}),
        )
    }

    /// TLS, with a look at the server's name; with SASL too, if [`Self::sasl`] is said.
    pub(crate) fn tls(self, tls: &ClientTls) -> Self {
        self.set("tls", serde_json::to_value(tls).expect("paths are text"))
    }

    /// A property of the client's own.
    pub(crate) fn extra(mut self, name: &str, value: &str) -> Self {
        let extra = self.fields.entry("extra").or_insert_with(|| json!({}));
        extra[name] = json!(value);
        self
    }
}

/// What a client knows of TLS.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct ClientTls {
    /// PEM: who vouches for servers.
    pub(crate) ca: PathBuf,
    /// PEM: chain and key of the client's own certificate.
    pub(crate) identity: Option<PathBuf>,
    /// The newest version that it speaks, as `1.2`; the library's default when absent.
    pub(crate) version_max: Option<&'static str>,
}

impl ClientTls {
    pub(crate) fn believing(ca: PathBuf) -> Self {
        ClientTls {
            ca,
            identity: None,
            version_max: None,
        }
    }

    pub(crate) fn showing(mut self, identity: &Path) -> Self {
        self.identity = Some(identity.to_owned());
        self
    }

    /// As librdkafka's properties.
    pub(crate) fn librdkafka(&self) -> Vec<String> {
        let mut properties = vec![
            "security.protocol=ssl".to_owned(),
            format!("ssl.ca.location={}", self.ca.display()),
        ];
        if let Some(identity) = &self.identity {
            for store in ["certificate", "key"] {
                properties.push(format!("ssl.{store}.location={}", identity.display()));
            }
        }
        properties
    }
}

/// How a transaction ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Outcome {
    Commit,
    Abort,
}

/// What to read.
#[derive(Debug, Clone)]
pub(crate) enum From {
    /// By subscription: needs a group.
    Topics(Vec<String>),
    /// By assignment, from the beginning.
    Partitions(Vec<(String, i32)>),
}

impl From {
    pub(crate) fn topic(name: &str) -> Self {
        From::Topics(vec![name.to_owned()])
    }

    pub(crate) fn partitions(topic: &str, count: i32) -> Self {
        From::Partitions(
            (0..count)
                .map(|partition| (topic.to_owned(), partition))
                .collect(),
        )
    }
}

/// A producer or consumer that runs until it is stopped.
#[derive(Debug, Deserialize)]
pub(crate) struct Stream {
    stream: u64,
}

/// What a stream has done so far.
#[derive(Debug, Deserialize)]
pub(crate) struct StreamStatus {
    /// Records delivered or consumed.
    pub(crate) count: usize,
    /// Java only.
    #[serde(default)]
    pub(crate) connections: f64,
    /// Java only: successful SASL re-authentications.
    #[serde(default)]
    pub(crate) reauthentications: f64,
}

/// What a stream has done.
#[derive(Debug, Deserialize)]
pub(crate) struct StreamReport {
    /// Partition, offset, sequence number.
    pub(crate) entries: Vec<(i32, i64, i64)>,
    /// Sequence number (-1: the stream itself), text.
    pub(crate) failures: Vec<(i64, String)>,
}

/// Longest a client may take for one operation.
const CALL_LIMIT: Duration = Duration::from_secs(150);
/// Longest a consumer waits for the records that it was told to expect.
const CONSUME_LIMIT: Duration = Duration::from_secs(60);
/// Longest that a stream may stand still: a broker that is killed is missed after ten seconds.
const STREAM_LIMIT: Duration = Duration::from_secs(90);
/// How long a consumer goes on after the last expected record, to catch what should not come.
const SETTLE: Duration = Duration::from_millis(400);

impl Agent {
    /// Sends the records without a transaction.
    pub(crate) fn produce(&self, options: &Options, records: &[Record]) -> Vec<Delivery> {
        self.try_produce(options, records)
            .unwrap_or_else(|error| panic!("producing: {error}"))
    }

    pub(crate) fn try_produce(&self, options: &Options, records: &[Record]) -> Result<Vec<Delivery>, String> {
        let body = json!({"options": options, "transactions": [{"outcome": null, "records": records}]});
        self.call("produce", body, CALL_LIMIT)
            .map(|answer: Deliveries| answer.deliveries)
    }

    /// The same; gives how many milliseconds the broker has asked it to wait at most. Java only.
    pub(crate) fn produce_and_be_throttled(&self, options: &Options, records: &[Record]) -> f64 {
        let body = json!({"options": options, "transactions": [{"outcome": null, "records": records}]});
        let answer: Throttled = self
            .call("produce", body, CALL_LIMIT)
            .unwrap_or_else(|error| panic!("producing: {error}"));
        assert_delivered(&answer.deliveries);
        answer.throttled_ms
    }

    /// Asks for the names of topics; if it cannot within `limit`, what the library shows of why: its error, and what it
    /// has logged meanwhile.
    pub(crate) fn try_reach(&self, options: &Options, limit: Duration) -> Result<(), String> {
        let body = json!({"options": options, "timeout_ms": milliseconds(limit)});
        let before = self.log().len();
        let answer: Result<Value, String> = self.call("reach", body, CALL_LIMIT);
        answer.map(|_| ()).map_err(|error| {
            let log = self.log();
            format!("{error}\n{}", log.get(before..).unwrap_or_default())
        })
    }

    /// Sends each list in a transaction of its own, one after the other, by one producer.
    pub(crate) fn transact(
        &self,
        options: &Options,
        transactions: &[(Outcome, Vec<Record>)],
    ) -> Vec<Delivery> {
        self.try_transact(options, transactions)
            .unwrap_or_else(|error| panic!("producing in transactions: {error}"))
    }

    pub(crate) fn try_transact(
        &self,
        options: &Options,
        transactions: &[(Outcome, Vec<Record>)],
    ) -> Result<Vec<Delivery>, String> {
        let transactions: Vec<Value> = transactions
            .iter()
            .map(|(outcome, records)| json!({"outcome": outcome, "records": records}))
            .collect();
        let body = json!({"options": options, "transactions": transactions});
        self.call("produce", body, CALL_LIMIT)
            .map(|answer: Deliveries| answer.deliveries)
    }

    /// Reads `count` records, and those that come shortly after them though they should not.
    pub(crate) fn consume(&self, options: &Options, from: &From, count: usize) -> Vec<Consumed> {
        self.try_consume(options, from, count, CONSUME_LIMIT)
            .unwrap_or_else(|error| panic!("consuming: {error}"))
    }

    /// Reads until there are `count` records or the time is up.
    pub(crate) fn try_consume(
        &self,
        options: &Options,
        from: &From,
        count: usize,
        limit: Duration,
    ) -> Result<Vec<Consumed>, String> {
        let mut body = json!({
            "options": options,
            "count": count,
            "timeout_ms": milliseconds(limit),
            "settle_ms": milliseconds(SETTLE),
        });
        from.put_into(&mut body);
        self.call("consume", body, CALL_LIMIT)
            .map(|answer: ConsumedRecords| answer.records)
    }

    /// Reads all that the partitions hold now, however many records that are. Java only.
    pub(crate) fn read_to_end(&self, options: &Options, from: &From) -> Vec<Consumed> {
        let mut body = json!({"options": options});
        from.put_into(&mut body);
        let answer = self.call("read_to_end", body, CALL_LIMIT);
        let read = answer.map(|answer: ConsumedRecords| answer.records);
        read.unwrap_or_else(|error| panic!("reading to the end: {error}"))
    }

    /// Reads until the client reports an error; gives what came before it, and the error if one came within `limit`.
    /// Java only.
    pub(crate) fn consume_until_error(
        &self,
        options: &Options,
        from: &From,
        limit: Duration,
    ) -> (Vec<Consumed>, Option<String>) {
        let mut body = json!({
            "options": options, "count": i32::MAX, "timeout_ms": milliseconds(limit), "until_error": true,
        });
        from.put_into(&mut body);
        let answer: ConsumedRecords = self
            .call("consume", body, CALL_LIMIT)
            .unwrap_or_else(|error| panic!("consuming: {error}"));
        (answer.records, answer.error)
    }

    /// Consumes `source` and produces to `target` with the offsets in the same transactions; gives the number copied.
    pub(crate) fn copy(&self, options: &Options, source: &str, target: &str, count: usize) -> usize {
        let body = json!({
            "options": options, "source": source, "target": target, "count": count,
            "timeout_ms": milliseconds(CONSUME_LIMIT),
        });
        let answer: Copied = self
            .call("copy", body, CALL_LIMIT)
            .unwrap_or_else(|error| panic!("copying: {error}"));
        answer.records
    }

    /// Starts a producer that sends `rate` records a second, spread over the partitions in turn. With a transactional
    /// id it does so in one transaction, which is open until [`Self::transaction_stop`].
    pub(crate) fn stream_produce(
        &self,
        options: &Options,
        topic: &str,
        partitions: i32,
        rate: u32,
    ) -> Stream {
        let body = json!({
            "options": options, "topic": topic, "partitions": partitions, "rate": rate, "value_bytes": 200,
        });
        self.call("stream_produce", body, CALL_LIMIT)
            .unwrap_or_else(|error| panic!("producing: {error}"))
    }

    pub(crate) fn stream_consume(&self, options: &Options, from: &From) -> Stream {
        let mut body = json!({"options": options});
        from.put_into(&mut body);
        self.call("stream_consume", body, CALL_LIMIT)
            .unwrap_or_else(|error| panic!("consuming: {error}"))
    }

    pub(crate) fn stream_status(&self, stream: &Stream) -> StreamStatus {
        self.call("stream_status", json!({"stream": stream.stream}), CALL_LIMIT)
            .unwrap_or_else(|error| panic!("asking a stream: {error}"))
    }

    /// Returns when the stream has delivered or consumed `count` records.
    pub(crate) fn stream_await(&self, stream: &Stream, count: usize) {
        let what = format!("a stream of {:?} to come to {count} records", self.library());
        wait::until(&what, STREAM_LIMIT, || {
            (self.stream_status(stream).count >= count).then_some(())
        });
    }

    pub(crate) fn stream_stop(&self, stream: Stream) -> StreamReport {
        self.stop(json!({"stream": stream.stream}))
    }

    /// Stops a producer, and ends its transaction; where the client cannot, that is a failure in the report.
    pub(crate) fn transaction_stop(&self, stream: Stream, outcome: Outcome) -> StreamReport {
        self.stop(json!({"stream": stream.stream, "outcome": outcome}))
    }

    fn stop(&self, body: Value) -> StreamReport {
        self.call("stream_stop", body, CALL_LIMIT)
            .unwrap_or_else(|error| panic!("stopping a stream: {error}"))
    }
}

impl From {
    fn put_into(&self, body: &mut Value) {
        match self {
            From::Topics(topics) => body["topics"] = json!(topics),
            From::Partitions(partitions) => body["partitions"] = json!(partitions),
        }
    }
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).expect("test deadlines are short")
}

#[derive(Deserialize)]
struct Deliveries {
    deliveries: Vec<Delivery>,
}

#[derive(Deserialize)]
struct Throttled {
    deliveries: Vec<Delivery>,
    throttled_ms: f64,
}

#[derive(Deserialize)]
struct ConsumedRecords {
    records: Vec<Consumed>,
    error: Option<String>,
}

#[derive(Deserialize)]
struct Copied {
    records: usize,
}
