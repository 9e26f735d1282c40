//! `on_unreadable = "skip"` where nothing else is left to deliver: at the end of a partition, and at its beginning.

use std::time::Duration;

use super::RIG;
use crate::support::group_reader::{GroupReader, ReaderLibrary};
use crate::support::operations::From;
use crate::support::records::{Record, assert_delivered};
use crate::support::shared;
use crate::support::skipped;
use crate::support::wait;

/// Records of one partition with their offsets as keys; the first is `from`.
fn records(topic: &str, from: i64, count: i64) -> Vec<Record> {
    let numbered = |number: i64| Record::new(topic, number.to_string(), "value").partition(0);
    (from..from + count).map(numbered).collect()
}

/// Nothing is delivered twice, nothing that was not sent, and nobody asks again and again: kafkajs fetched a batch
/// without records without end, it and sarama took a fetch for each record of a batch, and kafka-go delivered what came
/// before it once more with each fetch.
#[test]
fn every_client_goes_past_what_is_left_out_and_waits_for_what_comes() {
    let rig = &*RIG;
    let Some(proxy) = rig.proxy() else {
        return skipped::there_is_no_proxy();
    };
    let agents = [rig.java, shared::librdkafka(), shared::franz_go()];
    let libraries = [
        ReaderLibrary::Kafkajs,
        ReaderLibrary::Sarama,
        ReaderLibrary::KafkaGo,
    ];
    // Records before the ones that are left out, if they do not begin the log; and how these lie in batches.
    for (before, batches, records_each) in [(5, 3, 1), (0, 3, 1), (5, 1, 1000), (0, 1, 100)] {
        let topic = rig.topic("skipped-end", 1);
        let (left_out, after) = (batches * records_each, 2);
        assert_delivered(&rig.java.produce(&rig.options(), &records(&topic, 0, before)));
        let whole = rig.direct().set("linger_ms", 500).set("batch_bytes", 900_000);
        for batch in records(&topic, before, left_out).chunks(records_each as usize) {
            assert_delivered(&rig.java.produce(&whole, batch));
        }
        let streams: Vec<_> = agents
            .iter()
            .map(|agent| agent.stream_consume(&rig.options(), &From::partitions(&topic, 1)))
            .collect();
        let mut readers = libraries.map(|library| {
            GroupReader::start(library, &rig.bootstrap(), &topic, &format!("{topic}-{library:?}"))
        });

        // Each of them has come to the end: what is left out has been counted for each at least once.
        let label = format!("topic=\"{topic}\"");
        let skipped = || proxy.metric("sealwire_skipped_records_total", &[&label]);
        let clients = (agents.len() + readers.len()) as f64;
        wait::until("clients to come to the end", EVENTUALLY, || {
            let arrived = readers
                .iter_mut()
                .all(|reader| reader.offsets().len() as i64 >= before);
            (arrived && skipped() >= clients * left_out as f64).then_some(())
        });
        // For what should not come.
        wait::pause(SETTLE);
        let skipped_by_each = skipped() / clients;
        assert!(
            skipped_by_each <= FETCHES_MAX * left_out as f64,
            "{skipped_by_each} by each"
        );

        let first_after = before + left_out;
        assert_delivered(
            &rig.java
                .produce(&rig.options(), &records(&topic, first_after, after)),
        );
        let expected: Vec<i64> = (0..before).chain(first_after..first_after + after).collect();
        for (agent, stream) in agents.iter().zip(&streams) {
            agent.stream_await(stream, expected.len());
        }
        wait::until("records that come later", EVENTUALLY, || {
            let all = |reader: &mut GroupReader| reader.offsets().last() == expected.last();
            readers.iter_mut().all(all).then_some(())
        });
        wait::pause(SETTLE);
        for (agent, stream) in agents.iter().zip(streams) {
            let entries = agent.stream_stop(stream).entries;
            let offsets: Vec<i64> = entries.iter().map(|entry| entry.1).collect();
            assert_eq!(offsets, expected, "{:?}", agent.library());
        }
        for reader in &mut readers {
            assert_eq!(reader.offsets(), expected, "{:?}", reader.library);
        }
    }
}

const EVENTUALLY: Duration = Duration::from_secs(60);

/// A client that fetches without end does so a hundred times meanwhile.
const SETTLE: Duration = Duration::from_secs(1);

/// How often a client may get what is left out: with what is before it, by itself, and after a group was formed anew.
const FETCHES_MAX: f64 = 8.0;
