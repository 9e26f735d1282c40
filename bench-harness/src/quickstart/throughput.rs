//! A first impression of speed. The mock brokers and the client share the machine with the proxy: `run` is what
//! measures.

use std::time::{Duration, Instant};

use rdkafka::Message;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::{PARTITIONS, client};
use crate::Failure;

const RECORD_BYTES: usize = 1024;
/// A mock broker keeps the last 5 MiB of a partition; what is sealed is a tenth longer, and has to fit.
const PORTION_RECORDS: usize = 3 * PARTITIONS as usize * 1024;

/// Produces and consumes `megabytes` in portions and prints the speed of both.
pub(super) fn run(way: &str, bootstrap: &str, topic: &str, megabytes: usize) -> Result<(), Failure> {
    let producer: BaseProducer = client(bootstrap)
        .set("linger.ms", "5")
        .set("batch.size", "262144")
        .set("queue.buffering.max.messages", "1000000")
        .create()?;
    let consumer: BaseConsumer = client(bootstrap)
        .set("group.id", "quickstart-throughput")
        .set("enable.auto.commit", "false")
        .set("fetch.wait.max.ms", "10")
        .create()?;
    let mut ends = Vec::new();
    for partition in 0..PARTITIONS {
        let (_, end) = consumer.fetch_watermarks(topic, partition, PATIENCE)?;
        ends.push(end);
    }
    let portions = (megabytes * 1_000_000 / (PORTION_RECORDS * RECORD_BYTES)).max(1);
    let (mut producing, mut consuming) = (Duration::ZERO, Duration::ZERO);
    for portion in 0..portions {
        let start = Instant::now();
        produce(&producer, topic, portion)?;
        producing += start.elapsed();
        // Assigned only now: a consumer fetches ahead, and would do half of its work while the producer is timed.
        let mut partitions = TopicPartitionList::new();
        for (partition, end) in (0..PARTITIONS).zip(&mut ends) {
            partitions.add_partition_offset(topic, partition, Offset::Offset(*end))?;
            *end += i64::try_from(PORTION_RECORDS)? / i64::from(PARTITIONS);
        }
        let start = Instant::now();
        consumer.assign(&partitions)?;
        consume(&consumer, portion)?;
        consuming += start.elapsed();
        consumer.unassign()?;
    }
    let bytes = (portions * PORTION_RECORDS * RECORD_BYTES) as f64;
    tell!(
        "  {way:26} {:5.0} MB/s produced, {:5.0} MB/s consumed",
        bytes / 1e6 / producing.as_secs_f64(),
        bytes / 1e6 / consuming.as_secs_f64(),
    );
    Ok(())
}

const PATIENCE: Duration = Duration::from_secs(20);

fn produce(producer: &BaseProducer, topic: &str, portion: usize) -> Result<(), Failure> {
    let mut value = vec![b'.'; RECORD_BYTES];
    for index in 0..PORTION_RECORDS {
        stamp(&mut value, portion, index);
        let partition = i32::try_from(index)? % PARTITIONS;
        let mut record: BaseRecord<'_, (), [u8]> = BaseRecord::to(topic).partition(partition).payload(&value);
        while let Err((error, back)) = producer.send(record) {
            if error != KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull) {
                return Err(error.into());
            }
            producer.poll(Duration::from_millis(1));
            record = back;
        }
    }
    producer.flush(PATIENCE)?;
    Ok(())
}

fn consume(consumer: &BaseConsumer, portion: usize) -> Result<(), Failure> {
    let mut seen = vec![false; PORTION_RECORDS];
    let mut left = PORTION_RECORDS;
    let deadline = Instant::now() + PATIENCE;
    while left > 0 {
        if Instant::now() > deadline {
            return Err(format!("{left} of {PORTION_RECORDS} records have not come back").into());
        }
        let Some(message) = consumer.poll(Duration::from_millis(100)) else {
            continue;
        };
        let message = message?;
        let value = message.payload().unwrap_or_default();
        let index = stamped(value, portion).ok_or("a foreign record came back")?;
        match seen.get_mut(index) {
            Some(seen) if !*seen => *seen = true,
            _ => return Err("a record came back twice".into()),
        }
        left -= 1;
    }
    Ok(())
}

/// Each record says which one it is.
fn stamp(value: &mut [u8], portion: usize, index: usize) {
    let text = format!("{portion:08}{index:08}");
    for (to, from) in value.iter_mut().zip(text.bytes()) {
        *to = from;
    }
}

fn stamped(value: &[u8], portion: usize) -> Option<usize> {
    let text = std::str::from_utf8(value.get(..16)?).ok()?;
    let (portion_text, index) = text.split_at_checked(8)?;
    (portion_text.parse() == Ok(portion) && value.len() == RECORD_BYTES).then_some(())?;
    index.parse().ok()
}
