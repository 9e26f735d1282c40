//! Sends a few records that are worth protecting, and reads them back from wherever it is told.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{Header, Headers, Message, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult, Producer, ProducerContext};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use rdkafka::{ClientContext, Timestamp};

use super::{PARTITIONS, client};
use crate::Failure;

/// A record as a client has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) key: Option<Vec<u8>>,
    pub(super) value: Option<Vec<u8>>,
    /// Names and values in their order, duplicates included.
    pub(super) headers: Vec<(String, Option<Vec<u8>>)>,
    pub(super) timestamp_ms: Option<i64>,
}

/// Where a record stands in its topic.
pub(super) type Place = (i32, i64);

/// Sends the records through `bootstrap`; each with the place that the broker gave it.
pub(super) fn send_orders(bootstrap: &str, topic: &str) -> Result<BTreeMap<Place, Record>, Failure> {
    let producer: BaseProducer<Deliveries> = client(bootstrap)
        .set("enable.idempotence", "true")
        .create_with_context(Deliveries::default())?;
    let records = orders();
    for (index, record) in records.iter().enumerate() {
        let mut headers = OwnedHeaders::new();
        for (name, value) in &record.headers {
            headers = headers.insert(Header {
                key: name,
                value: value.as_deref(),
            });
        }
        let mut message: BaseRecord<'_, [u8], [u8], Box<usize>> =
            BaseRecord::with_opaque_to(topic, Box::new(index)).headers(headers);
        message.key = record.key.as_deref();
        message.payload = record.value.as_deref();
        message.timestamp = record.timestamp_ms;
        producer.send(message).map_err(|(error, _)| error)?;
    }
    producer.flush(PATIENCE)?;
    let places = producer.context().take()?;
    let sent: BTreeMap<Place, Record> = places
        .into_iter()
        .filter_map(|(index, place)| Some((place, records.get(index)?.clone())))
        .collect();
    match sent.len() == records.len() {
        true => Ok(sent),
        false => Err(format!("{} of {} records were acknowledged", sent.len(), records.len()).into()),
    }
}

/// Reads `count` records of `topic`, from its beginning, from all partitions.
pub(super) fn read(bootstrap: &str, topic: &str, count: usize) -> Result<BTreeMap<Place, Record>, Failure> {
    let consumer: BaseConsumer = client(bootstrap)
        .set("group.id", "quickstart-reader")
        .set("enable.auto.commit", "false")
        .set("check.crcs", "true")
        .create()?;
    let mut partitions = TopicPartitionList::new();
    for partition in 0..PARTITIONS {
        partitions.add_partition_offset(topic, partition, Offset::Beginning)?;
    }
    consumer.assign(&partitions)?;
    let mut records = BTreeMap::new();
    let deadline = Instant::now() + PATIENCE;
    while records.len() < count {
        if Instant::now() > deadline {
            return Err(format!(
                "{} of {count} records of {topic} came back from {bootstrap}",
                records.len()
            )
            .into());
        }
        let Some(message) = consumer.poll(Duration::from_millis(100)) else {
            continue;
        };
        let message = message?;
        let headers = message.headers().map(|headers| {
            let each = headers
                .iter()
                .map(|header| (header.key.to_owned(), header.value.map(<[u8]>::to_vec)));
            each.collect()
        });
        let record = Record {
            key: message.key().map(<[u8]>::to_vec),
            value: message.payload().map(<[u8]>::to_vec),
            headers: headers.unwrap_or_default(),
            timestamp_ms: match message.timestamp() {
                Timestamp::CreateTime(timestamp) => Some(timestamp),
                _ => None,
            },
        };
        records.insert((message.partition(), message.offset()), record);
    }
    Ok(records)
}

/// With anything that is asked.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);

/// What is sent.
pub(super) fn orders() -> Vec<Record> {
    let order = |number: usize, value: Option<&str>, headers: &[(&str, &str)]| Record {
        key: Some(format!("order-{number}").into_bytes()),
        value: value.map(|text| text.as_bytes().to_vec()),
        headers: headers
            .iter()
            .map(|(name, value)| ((*name).to_owned(), Some(value.as_bytes().to_vec())))
            .collect(),
        timestamp_ms: Some(1_767_225_600_000 + number as i64),
    };
    vec![
        order(
            1,
            Some(r#"{"card":"4111 1111 1111 1111","amount":"12.50"}"#),
            &[("trace", "a1b2")],
        ),
        order(
            2,
            Some(r#"{"iban":"DE02 1203 0000 0000 2020 51","amount":"9.99"}"#),
            &[("tag", "x"), ("tag", "y")],
        ),
        order(3, Some(""), &[]),
        order(4, Some("Grüße, 注文を受け付けました"), &[("empty", "")]),
    ]
}

/// Collects where each record went.
#[derive(Default)]
struct Deliveries {
    results: std::sync::Mutex<Vec<Result<(usize, Place), String>>>,
}

impl Deliveries {
    fn take(&self) -> Result<Vec<(usize, Place)>, Failure> {
        let mut results = self.results.lock().map_err(|_| "a delivery callback panicked")?;
        results
            .drain(..)
            .map(|result| result.map_err(Failure::from))
            .collect()
    }
}

impl ClientContext for Deliveries {}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = Box<usize>;

    fn delivery(&self, delivery: &DeliveryResult<'_>, index: Box<usize>) {
        let result = match delivery {
            Ok(message) => Ok((*index, (message.partition(), message.offset()))),
            Err((error, _)) => Err(error.to_string()),
        };
        if let Ok(mut results) = self.results.lock() {
            results.push(result);
        }
    }
}
