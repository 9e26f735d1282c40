//! What must hold of records that flowed while something happened to the cluster or to the proxy.

use std::collections::BTreeMap;

use super::agent::Agent;
use super::operations::{Outcome, Stream, StreamReport};

/// Stops both; panics unless everything that was sent was delivered, stored in order, and read exactly once, where the
/// producer was told.
pub(crate) fn assert_exactly_once(agent: &Agent, producer: Stream, consumer: Stream) {
    let sent = agent.stream_stop(producer);
    assert_read_once(agent, &sent, consumer);
}

/// The same of a producer whose transaction is committed first.
pub(crate) fn assert_committed_once(agent: &Agent, producer: Stream, consumer: Stream) {
    let sent = agent.transaction_stop(producer, Outcome::Commit);
    assert_read_once(agent, &sent, consumer);
}

/// Stops the consumer; panics unless it has read once, and nothing else, what the producer was told is stored.
pub(crate) fn assert_read_once(agent: &Agent, sent: &StreamReport, consumer: Stream) {
    let read = read_all(agent, sent, sent.entries.len(), consumer);
    let mut read = read.entries;
    let mut sent = sent.entries.clone();
    read.sort_unstable();
    sent.sort_unstable();
    let missing: Vec<_> = sent
        .iter()
        .filter(|entry| read.binary_search(entry).is_err())
        .take(5)
        .collect();
    assert!(
        missing.is_empty(),
        "{:?} lost (partition, offset, sequence) {missing:?} …",
        agent.library()
    );
    let extra: Vec<_> = read
        .iter()
        .filter(|entry| sent.binary_search(entry).is_err())
        .take(5)
        .collect();
    assert!(
        extra.is_empty(),
        "{:?} read what was not sent there: {extra:?} …",
        agent.library()
    );
    assert_eq!(sent, read, "{:?}", agent.library());
    // Sorted by partition and offset: what was sent later was stored later.
    let overtaken = sent
        .windows(2)
        .find(|pair| pair[0].0 == pair[1].0 && pair[0].2 > pair[1].2);
    assert!(
        overtaken.is_none(),
        "{:?} out of order: {overtaken:?}",
        agent.library()
    );
}

/// Stops both; panics unless everything that was sent was delivered and read. A producer that is not idempotent may
/// have its records stored twice: all is read when what the producer was told of last is.
pub(crate) fn assert_nothing_lost(agent: &Agent, producer: Stream, consumer: Stream) {
    let sent = agent.stream_stop(producer);
    let mut ends: BTreeMap<i32, i64> = BTreeMap::new();
    for (partition, offset, _) in &sent.entries {
        let end = ends.entry(*partition).or_default();
        *end = (*end).max(offset + 1);
    }
    let stored = usize::try_from(ends.values().sum::<i64>()).expect("not many records");
    let read = read_all(agent, &sent, stored, consumer);
    let mut read: Vec<i64> = read.entries.iter().map(|entry| entry.2).collect();
    read.sort_unstable();
    let missing: Vec<_> = sent
        .entries
        .iter()
        .filter(|entry| read.binary_search(&entry.2).is_err())
        .take(5)
        .collect();
    assert!(
        missing.is_empty(),
        "{:?} lost (partition, offset, sequence) {missing:?} …",
        agent.library()
    );
}

/// Panics unless the producer has delivered all that it has sent.
pub(crate) fn assert_delivered(agent: &Agent, sent: &StreamReport) {
    assert!(
        sent.failures.is_empty(),
        "{:?} did not deliver: {:?}",
        agent.library(),
        sent.failures
    );
    let mut sequences: Vec<i64> = sent.entries.iter().map(|entry| entry.2).collect();
    sequences.sort_unstable();
    let every: Vec<i64> = (0..).take(sequences.len()).collect();
    assert_eq!(sequences, every, "{:?}: deliveries reported", agent.library());
}

/// What the consumer has read once it has got so many records.
fn read_all(agent: &Agent, sent: &StreamReport, count: usize, consumer: Stream) -> StreamReport {
    assert_delivered(agent, sent);
    agent.stream_await(&consumer, count);
    let read = agent.stream_stop(consumer);
    assert!(
        read.failures.is_empty(),
        "{:?} did not read: {:?}",
        agent.library(),
        read.failures
    );
    read
}
