//! librdkafka, in this process. Latency is that of a record from when it was due until the broker has said that it has
//! it.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use rdkafka::client::ClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Message, ToBytes};
use rdkafka::producer::{BaseRecord, Producer, ProducerContext, ThreadedProducer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::order::{Done, MESSAGE_BYTES_MAX, Order, PARTITIONS, PATIENCE};
use crate::Failure;
use crate::children::pause;
use crate::measure::{Latency, process};

/// What brokers have said so far.
#[derive(Clone)]
pub(super) struct Deliveries {
    start: Instant,
    of: Arc<Mutex<Delivered>>,
}

struct Delivered {
    latency_ns: Histogram<u64>,
    failed: Option<KafkaError>,
}

impl ClientContext for Deliveries {}

impl ProducerContext for Deliveries {
    /// Nanoseconds from the start to when it was due; nothing of those that warm up.
    type DeliveryOpaque = Box<Option<u64>>;

    fn delivery(&self, result: &DeliveryResult<'_>, due: Self::DeliveryOpaque) {
        let now = process::nanoseconds(self.start.elapsed());
        let mut delivered = self.of.lock().unwrap_or_else(PoisonError::into_inner);
        match (result, *due) {
            (Err((error, _)), _) => delivered.failed = Some(error.clone()),
            (Ok(_), Some(due)) => delivered.latency_ns.saturating_record(now.saturating_sub(due)),
            (Ok(_), None) => {}
        }
    }
}

pub(super) fn produce(order: &Order<'_>) -> Result<Done, Failure> {
    let (producer, deliveries) = producer(order)?;
    let value = value(order.point.record_bytes);
    let interval = order.rate().map_or(0.0, |rate| 1.0 / rate);
    let mut timed_from = deliveries.start;
    for index in 0..order.warm_up + order.records {
        if index == order.warm_up {
            timed_from = Instant::now();
        }
        let mut due = deliveries.start.elapsed();
        if interval > 0.0 {
            due = Duration::from_secs_f64(interval * index as f64);
            pause(due.saturating_sub(deliveries.start.elapsed()));
        }
        let due = (index >= order.warm_up).then(|| process::nanoseconds(due));
        let record: BaseRecord<'_, (), [u8], _> = BaseRecord::with_opaque_to(order.topic, Box::new(due));
        send(&producer, record.payload(&value))?;
    }
    let latency_ns = deliveries.end(&producer)?;
    Ok(done(order.records, timed_from.elapsed(), Some(&latency_ns)))
}

pub(super) fn producer(order: &Order<'_>) -> Result<(ThreadedProducer<Deliveries>, Deliveries), Failure> {
    let deliveries = Deliveries {
        start: Instant::now(),
        of: Arc::new(Mutex::new(Delivered {
            latency_ns: histogram()?,
            failed: None,
        })),
    };
    let producer = client(order.bootstrap)
        .set("acks", "1")
        .set("batch.size", order.batch_bytes())
        .set("message.max.bytes", MESSAGE_BYTES_MAX)
        .set("linger.ms", order.linger_ms())
        .set("compression.type", order.codec())
        .create_with_context(deliveries.clone())?;
    Ok((producer, deliveries))
}

impl Deliveries {
    /// Waits until the broker has everything.
    pub(super) fn end(&self, producer: &ThreadedProducer<Self>) -> Result<Histogram<u64>, Failure> {
        producer.flush(PATIENCE)?;
        let delivered = self.of.lock().unwrap_or_else(PoisonError::into_inner);
        match &delivered.failed {
            Some(error) => Err(error.clone().into()),
            None => Ok(delivered.latency_ns.clone()),
        }
    }
}

pub(super) fn send<K: ToBytes + ?Sized>(
    producer: &ThreadedProducer<Deliveries>,
    mut record: BaseRecord<'_, K, [u8], Box<Option<u64>>>,
) -> Result<(), Failure> {
    while let Err((error, back)) = producer.send(record) {
        if error != KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull) {
            return Err(error.into());
        }
        pause(Duration::from_millis(1));
        record = back;
    }
    Ok(())
}

/// All records of the topic, from its beginning.
pub(super) fn fetch(order: &Order<'_>) -> Result<Done, Failure> {
    let consumer = consumer(order.bootstrap)?;
    let mut partitions = TopicPartitionList::new();
    for partition in 0..PARTITIONS {
        partitions.add_partition_offset(order.topic, partition, Offset::Beginning)?;
    }
    consumer.assign(&partitions)?;
    let deadline = Instant::now() + PATIENCE;
    let (mut first, mut fetched) = (None, 0);
    while fetched < order.records {
        if Instant::now() > deadline {
            return Err(format!("{fetched} of {} records have come", order.records).into());
        }
        let Some(message) = consumer.poll(Duration::from_millis(100)) else {
            continue;
        };
        let message = message?;
        first.get_or_insert_with(Instant::now);
        if message.payload().map(<[u8]>::len) != Some(order.point.record_bytes) {
            return Err("a record is not as it was produced".into());
        }
        fetched += 1;
    }
    let wall = first.map_or(Duration::ZERO, |first| first.elapsed());
    Ok(done(fetched, wall, None))
}

/// Of the record that was produced last to the topic, in whichever partition.
pub(super) fn last_value(bootstrap: SocketAddr, topic: &str) -> Result<Vec<u8>, Failure> {
    let consumer = consumer(bootstrap)?;
    let mut partitions = TopicPartitionList::new();
    for partition in 0..PARTITIONS {
        let (start, end) = consumer.fetch_watermarks(topic, partition, PATIENCE)?;
        if start < end {
            partitions.add_partition_offset(topic, partition, Offset::Offset(end - 1))?;
        }
    }
    consumer.assign(&partitions)?;
    let message = consumer.poll(PATIENCE).ok_or("the broker has nothing")??;
    Ok(message.payload().unwrap_or_default().to_vec())
}

/// Where clients that bootstrap there are sent.
pub(super) fn advertised_ports(bootstrap: SocketAddr, topic: &str) -> Result<Vec<u16>, Failure> {
    let metadata = consumer(bootstrap)?.fetch_metadata(Some(topic), PATIENCE)?;
    let ports = metadata.brokers().iter().map(|broker| broker.port());
    Ok(ports.map(u16::try_from).collect::<Result<_, _>>()?)
}

/// Of every record that is produced here.
pub(super) fn value(bytes: usize) -> Vec<u8> {
    // Hardly compressible, as those of Java's tool are.
    let mut dice = crate::statistics::Dice::new(1);
    (0..bytes).map(|_| b'A' + dice.below(26) as u8).collect()
}

pub(super) fn done(records: u64, wall: Duration, latency_ns: Option<&Histogram<u64>>) -> Done {
    Done {
        records_per_second: records as f64 / wall.as_secs_f64().max(1e-9),
        frames: 0,
        latency_ns: latency_ns.map(Latency::of),
    }
}

pub(super) fn consumer(bootstrap: SocketAddr) -> Result<BaseConsumer, Failure> {
    Ok(client(bootstrap)
        .set("group.id", "measured")
        .set("enable.auto.commit", "false")
        .create()?)
}

fn client(bootstrap: SocketAddr) -> ClientConfig {
    let mut client = ClientConfig::new();
    client.set("bootstrap.servers", bootstrap.to_string());
    client
}

/// Of nanoseconds.
pub(super) fn histogram() -> Result<Histogram<u64>, Failure> {
    Ok(Histogram::new_with_max(LATENCY_NS_MAX, 3)?)
}

/// A minute is no latency any more.
const LATENCY_NS_MAX: u64 = 60_000_000_000;
