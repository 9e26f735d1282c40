//! A consumer that waits for what comes, at a rate: librdkafka, in this process. Latency is that of a record from when
//! it was due at a producer until the consumer has it.
//!
//! - FOLLOWING-1: only the consumer goes through the system. In every turn a producer sends straight to the broker what
//!   went through that system before, as the broker has it: what is added to `direct` is added by fetching, and by
//!   opening where the records are sealed.

use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{Message, OwnedMessage};
use rdkafka::producer::BaseRecord;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::librdkafka::{consumer, done, histogram, producer, send, value};
use super::order::{Done, Order, PARTITIONS, PATIENCE};
use crate::Failure;
use crate::children::pause;
use crate::measure::process::nanoseconds;

/// All records of a topic, as the broker has them.
pub(super) fn stored(bootstrap: SocketAddr, topic: &str) -> Result<Vec<OwnedMessage>, Failure> {
    let consumer = consumer(bootstrap)?;
    let (mut partitions, mut count) = (TopicPartitionList::new(), 0);
    for partition in 0..PARTITIONS {
        let (start, end) = consumer.fetch_watermarks(topic, partition, PATIENCE)?;
        partitions.add_partition_offset(topic, partition, Offset::Offset(start))?;
        count += end - start;
    }
    consumer.assign(&partitions)?;
    let next = |_| Ok(consumer.poll(PATIENCE).ok_or("the broker has nothing")??.detach());
    (0..count).map(next).collect()
}

/// Fetches as `order` says what is sent to the broker, which is at `straight`, meanwhile.
pub(super) fn fetch(
    order: &Order<'_>,
    straight: SocketAddr,
    stored: &[OwnedMessage],
) -> Result<Done, Failure> {
    let consumer = consumer(order.bootstrap)?;
    let (mut partitions, mut ends) = (TopicPartitionList::new(), Vec::new());
    for partition in 0..PARTITIONS {
        let (_, end) = consumer.fetch_watermarks(order.topic, partition, PATIENCE)?;
        partitions.add_partition_offset(order.topic, partition, Offset::Offset(end))?;
        ends.push(end);
    }
    consumer.assign(&partitions)?;
    let schedule = Schedule {
        start: Instant::now() + ARRIVAL,
        interval: 1.0 / order.rate().ok_or("no rate to fetch at")?,
        ends,
    };
    thread::scope(|scope| {
        let sent = scope.spawn(|| schedule.send(order, straight, stored));
        let received = schedule.receive(order, &consumer);
        sent.join().map_err(|_| "the producer has panicked")??;
        received
    })
}

/// When each record is due, and where it will lie: partitions take turns.
struct Schedule {
    start: Instant,
    interval: f64,
    /// Of the partitions, before the first record.
    ends: Vec<i64>,
}

impl Schedule {
    fn due(&self, index: u64) -> Instant {
        self.start + Duration::from_secs_f64(self.interval * index as f64)
    }

    fn index(&self, partition: i32, offset: i64) -> Option<u64> {
        let end = self.ends.get(usize::try_from(partition).ok()?)?;
        let turn = u64::try_from(offset - end).ok()?;
        Some(turn * PARTITIONS as u64 + u64::try_from(partition).ok()?)
    }

    fn send(&self, order: &Order<'_>, straight: SocketAddr, stored: &[OwnedMessage]) -> Result<(), Failure> {
        let order = Order {
            bootstrap: straight,
            ..*order
        };
        let (producer, deliveries) = producer(&order)?;
        let of_turns = stored.iter().cycle();
        for (index, stored) in (0..order.warm_up + order.records).zip(of_turns) {
            pause(self.due(index).saturating_duration_since(Instant::now()));
            let mut record: BaseRecord<'_, [u8], [u8], _> =
                BaseRecord::with_opaque_to(order.topic, Box::new(None));
            record = record.partition((index % PARTITIONS as u64) as i32);
            record.key = stored.key();
            record.payload = stored.payload();
            record.headers = stored.headers().cloned();
            send(&producer, record)?;
        }
        deliveries.end(&producer).map(drop)
    }

    fn receive(&self, order: &Order<'_>, consumer: &BaseConsumer) -> Result<Done, Failure> {
        let expected = value(order.point.record_bytes);
        let all = order.warm_up + order.records;
        let mut latency_ns = histogram()?;
        for received in 0..all {
            let message = consumer.poll(SILENCE);
            let message = message.ok_or_else(|| format!("{received} of {all} records have come"))??;
            let now = Instant::now();
            if message.payload() != Some(&expected[..]) {
                return Err("a record is not as it was produced".into());
            }
            let index = self.index(message.partition(), message.offset());
            let index = index.ok_or("a record that was there before")?;
            if index >= order.warm_up {
                latency_ns.saturating_record(nanoseconds(now.saturating_duration_since(self.due(index))));
            }
        }
        let wall = self.due(order.warm_up).elapsed();
        Ok(done(order.records, wall, Some(&latency_ns)))
    }
}

/// Until the consumer waits at the broker.
const ARRIVAL: Duration = Duration::from_millis(500);
/// Nothing comes any more.
const SILENCE: Duration = Duration::from_secs(20);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_known_by_where_it_lies() {
        let schedule = Schedule {
            start: Instant::now(),
            interval: 0.001,
            ends: vec![10, 0, 7, 2],
        };
        assert_eq!(schedule.index(0, 10), Some(0));
        assert_eq!(schedule.index(3, 2), Some(3));
        assert_eq!(schedule.index(0, 11), Some(4));
        assert_eq!(schedule.index(2, 9), Some(10));
        assert_eq!(schedule.index(0, 9), None);
        assert_eq!(schedule.index(4, 9), None);
        assert_eq!(schedule.due(10) - schedule.start, Duration::from_millis(10));
    }
}
