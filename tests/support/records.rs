//! Records as the tests send and get them, and the comparison between the two.

use std::collections::BTreeMap;

use base64::prelude::{BASE64_STANDARD, Engine};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Bytes, as Base64 in JSON.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Bytes(pub(crate) Vec<u8>);

/// A header: its name, and its value or null.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Header(pub(crate) String, pub(crate) Option<Bytes>);

/// A record to be sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Record {
    pub(crate) topic: String,
    pub(crate) partition: Option<i32>,
    pub(crate) key: Option<Bytes>,
    pub(crate) value: Option<Bytes>,
    pub(crate) headers: Vec<Header>,
    /// Milliseconds since 1970; the client's clock when absent.
    pub(crate) timestamp: Option<i64>,
}

impl Record {
    pub(crate) fn new(topic: &str, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Self {
        Record {
            topic: topic.to_owned(),
            partition: None,
            key: Some(Bytes::from(key)),
            value: Some(Bytes::from(value)),
            headers: Vec::new(),
            timestamp: None,
        }
    }

    pub(crate) fn partition(mut self, partition: i32) -> Self {
        self.partition = Some(partition);
        self
    }

    pub(crate) fn without_key(mut self) -> Self {
        self.key = None;
        self
    }

    pub(crate) fn without_value(mut self) -> Self {
        self.value = None;
        self
    }

    pub(crate) fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.headers
            .push(Header(name.to_owned(), Some(Bytes::from(value))));
        self
    }

    pub(crate) fn null_header(mut self, name: &str) -> Self {
        self.headers.push(Header(name.to_owned(), None));
        self
    }

    pub(crate) fn timestamp(mut self, milliseconds: i64) -> Self {
        self.timestamp = Some(milliseconds);
        self
    }
}

/// What became of a record that was sent.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct Delivery {
    pub(crate) topic: String,
    pub(crate) partition: i32,
    /// -1 where the client does not learn it (acks=0) or the record failed.
    pub(crate) offset: i64,
    pub(crate) error: Option<String>,
}

/// A record that was read.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct Consumed {
    pub(crate) topic: String,
    pub(crate) partition: i32,
    pub(crate) offset: i64,
    pub(crate) timestamp: i64,
    pub(crate) timestamp_type: String,
    pub(crate) key: Option<Bytes>,
    pub(crate) value: Option<Bytes>,
    pub(crate) headers: Vec<Header>,
}

impl Consumed {
    /// The same record, to be sent to a topic's partition 0: what an attacker at the broker does who replays it.
    pub(crate) fn again(&self, topic: &str) -> Record {
        Record {
            topic: topic.to_owned(),
            partition: Some(0),
            key: self.key.clone(),
            value: self.value.clone(),
            headers: self.headers.clone(),
            timestamp: Some(self.timestamp),
        }
    }
}

/// Panics unless every record was delivered.
pub(crate) fn assert_delivered(deliveries: &[Delivery]) {
    let failed: Vec<&Delivery> = deliveries
        .iter()
        .filter(|delivery| delivery.error.is_some())
        .take(5)
        .collect();
    assert!(failed.is_empty(), "not delivered, among others: {failed:#?}");
}

/// Panics unless exactly the records that were sent came back, unchanged, at the offsets that the producer was told,
/// and in offset order within each partition.
pub(crate) fn assert_same(sent: &[Record], deliveries: &[Delivery], consumed: &[Consumed]) {
    assert_delivered(deliveries);
    assert_eq!(sent.len(), deliveries.len(), "deliveries");
    assert_in_order(consumed);
    let mut found: BTreeMap<(&str, i32, i64), &Consumed> = BTreeMap::new();
    for record in consumed {
        let place = (record.topic.as_str(), record.partition, record.offset);
        assert!(found.insert(place, record).is_none(), "read twice: {place:?}");
    }
    for (record, delivery) in sent.iter().zip(deliveries) {
        let place = (record.topic.as_str(), delivery.partition, delivery.offset);
        let read = found
            .remove(&place)
            .unwrap_or_else(|| panic!("not read: {place:?}, {record:?}"));
        assert_record(record, read);
    }
    assert!(
        found.is_empty(),
        "read but never sent: {:?}",
        found.keys().take(5).collect::<Vec<_>>()
    );
}

/// As [`assert_same`] for records whose offsets the producer did not learn: their order in each partition decides.
pub(crate) fn assert_same_sequence(sent: &[Record], consumed: &[Consumed]) {
    assert_in_order(consumed);
    assert_eq!(sent.len(), consumed.len(), "number of records");
    for (index, record) in sent.iter().enumerate() {
        let partition = record
            .partition
            .expect("a record that is compared by sequence says its partition");
        let of_partition = |topic: &str, other: i32| topic == record.topic && other == partition;
        let before = sent[..index]
            .iter()
            .filter(|r| of_partition(&r.topic, r.partition.unwrap_or(-1)))
            .count();
        let read = consumed
            .iter()
            .filter(|r| of_partition(&r.topic, r.partition))
            .nth(before);
        assert_record(record, read.unwrap_or_else(|| panic!("not read: {record:?}")));
    }
}

/// Panics unless the records were read once each, with their headers, wherever and in whatever order. Keys must differ.
pub(crate) fn assert_same_contents(sent: &[Record], consumed: &[Consumed]) {
    let mut expected: Vec<_> = sent
        .iter()
        .map(|record| (&record.key, &record.value, &record.headers))
        .collect();
    let mut found: Vec<_> = consumed
        .iter()
        .map(|record| (&record.key, &record.value, &record.headers))
        .collect();
    expected.sort_by_key(|record| record.0.clone());
    found.sort_by_key(|record| record.0.clone());
    let different = expected.iter().zip(&found).find(|(sent, read)| sent != read);
    assert!(different.is_none(), "the first that differ: {different:?}");
    assert_eq!(expected.len(), found.len(), "number of records");
}

fn assert_record(sent: &Record, read: &Consumed) {
    let place = (&read.topic, read.partition, read.offset);
    assert_eq!(sent.topic, read.topic);
    if let Some(partition) = sent.partition {
        assert_eq!(partition, read.partition, "partition of {place:?}");
    }
    assert_eq!(sent.key, read.key, "key of {place:?}");
    assert_eq!(sent.value, read.value, "value of {place:?}");
    assert_eq!(sent.headers, read.headers, "headers of {place:?}");
    if let Some(timestamp) = sent.timestamp {
        assert_eq!(timestamp, read.timestamp, "timestamp of {place:?}");
        assert_eq!(read.timestamp_type, "create", "timestamp type of {place:?}");
    }
}

fn assert_in_order(consumed: &[Consumed]) {
    let mut last: BTreeMap<(&str, i32), i64> = BTreeMap::new();
    for record in consumed {
        if let Some(before) = last.insert((&record.topic, record.partition), record.offset) {
            assert!(
                before < record.offset,
                "{}-{}: {} after {before}",
                record.topic,
                record.partition,
                record.offset
            );
        }
    }
}

impl<T: AsRef<[u8]>> From<T> for Bytes {
    fn from(bytes: T) -> Self {
        Bytes(bytes.as_ref().to_vec())
    }
}

impl std::fmt::Debug for Bytes {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let start = self.0.get(..40).unwrap_or(&self.0);
        write!(formatter, "{} bytes \"{}\"", self.0.len(), start.escape_ascii())
    }
}

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&BASE64_STANDARD.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        BASE64_STANDARD
            .decode(text)
            .map(Bytes)
            .map_err(serde::de::Error::custom)
    }
}

/// Records of every kind with `text` in them, in two partitions by turns.
pub(crate) fn assorted(topic: &str, text: &str) -> Vec<Record> {
    let long = text.repeat(300);
    let records = vec![
        Record::new(topic, "plain", &long).timestamp(1_600_000_000_000),
        Record::new(topic, "headers", &long)
            .header("first", text)
            .header("second", ""),
        Record::new(topic, "duplicates", text)
            .header("same", "1")
            .header("same", text)
            .null_header("same"),
        Record::new(topic, "empty value", "").header("only", text),
        Record::new(topic, "null value", "").without_value(),
        Record::new(topic, "no key", &long).without_key(),
        Record::new(topic, [0, 255, 128], [0, 255, 13, 10]),
    ];
    let partitions = (0..2).cycle();
    records
        .into_iter()
        .zip(partitions)
        .map(|(record, partition)| record.partition(partition))
        .collect()
}
