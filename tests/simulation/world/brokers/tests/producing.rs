//! Produce: sequences, replicas, restarts, quotas.

use sealwire::record_batch::Codec;
use sealwire::testing::RecordInput;

use super::super::Event;
use super::*;

const OUT_OF_ORDER: i16 = 45;
const INVALID_EPOCH: i16 = 47;

/// PRODUCERS-1.
#[test]
fn five_batches_of_a_producer_are_known_again_and_no_sixth() {
    let mut bench = Bench::new();
    let id = bench.connect(1);
    for sequence in 0..6 {
        assert_eq!(
            bench.produce(id, 1, 0, &numbered(0, sequence)),
            (0, sequence.into())
        );
    }
    for sequence in 1..6 {
        assert_eq!(
            bench.produce(id, 1, 0, &numbered(0, sequence)),
            (0, sequence.into())
        );
    }
    assert_eq!(bench.produce(id, 1, 0, &numbered(0, 0)), (OUT_OF_ORDER, -1));
    assert_eq!(bench.produce(id, 1, 0, &numbered(0, 7)), (OUT_OF_ORDER, -1));
    assert_eq!(bench.produce(id, 1, 0, &numbered(0, 6)), (0, 6));
    bench.pass_ms(5);
    bench.produce(id, 1, 0, &numbered(0, 7));
    let arrived = bench.brokers.log("a", 0).iter().map(|batch| batch.at.as_millis());
    assert!(arrived.eq([0, 0, 0, 0, 0, 0, 0, 5]));
}

/// The same sequences with other bounds are no duplicate.
#[test]
fn a_batch_is_known_by_its_first_and_last_sequence() {
    let mut bench = Bench::new();
    let id = bench.connect(1);
    let two = batch_of(&["one", "two"]).producer(7, 0, 0);
    assert_eq!(bench.produce(id, 1, 0, &two), (0, 0));
    assert_eq!(bench.produce(id, 1, 0, &numbered(0, 0)), (OUT_OF_ORDER, -1));
    assert_eq!(bench.produce(id, 1, 0, &two), (0, 0));
    assert_eq!(bench.produce(id, 1, 0, &numbered(0, 2)), (0, 2));
}

/// PRODUCERS-2.
#[test]
fn who_is_unknown_begins_anywhere_and_a_new_epoch_with_0() {
    let mut bench = Bench::new();
    let id = bench.connect(1);
    assert_eq!(bench.produce(id, 1, 0, &numbered(3, 40)), (0, 0));
    assert_eq!(bench.produce(id, 1, 0, &numbered(4, 41)), (OUT_OF_ORDER, -1));
    assert_eq!(bench.produce(id, 1, 0, &numbered(4, 0)), (0, 1));
    assert_eq!(bench.produce(id, 1, 0, &numbered(3, 41)), (INVALID_EPOCH, -1));
}

#[test]
fn behind_the_greatest_sequence_comes_0() {
    let mut bench = Bench::new();
    let id = bench.connect(1);
    let two = batch_of(&["one", "two"]);
    assert_eq!(
        bench.produce(id, 1, 0, &two.clone().producer(7, 0, i32::MAX - 2)),
        (0, 0)
    );
    assert_eq!(
        bench.produce(id, 1, 0, &two.clone().producer(7, 0, i32::MAX)),
        (0, 2)
    );
    assert_eq!(bench.produce(id, 1, 0, &two.producer(7, 0, 1)), (0, 4));
}

/// BROKERS-2, PARTITION-1, and of what the logs then know REPLICAS-1, REPLICAS-2.
#[test]
fn what_all_have_survives_a_restart_and_what_one_has_is_lost() {
    let mut bench = Bench::new();
    let id = bench.connect(1);
    assert_eq!(bench.produce(id, -1, 0, &numbered(0, 0)), (0, 0));
    assert_eq!(bench.produce(id, 1, 0, &numbered(0, 1)), (0, 1));
    bench.brokers.stop(1);
    assert!(bench.brokers.is_closed(id));
    assert_eq!(bench.brokers.connect("10.0.0.1", 9092), None);
    bench.pass_ms(400);
    assert_eq!(bench.brokers.leader("a", 0), 2);
    let lost = bench.brokers.lost("a", 0);
    assert_eq!(
        lost.iter()
            .map(|batch| batch.header.base_sequence)
            .collect::<Vec<_>>(),
        [1]
    );

    // The new leader knows the producer as far as it has the log, and the old one is cut off.
    bench.brokers.start(1);
    let id = bench.connect(2);
    assert_eq!(bench.produce(id, -1, 0, &numbered(0, 0)), (0, 0));
    assert_eq!(bench.produce(id, -1, 0, &numbered(0, 2)), (OUT_OF_ORDER, -1));
    assert_eq!(bench.produce(id, -1, 0, &numbered(0, 1)), (0, 1));
    bench.pass_ms(2000);
    bench.brokers.stop(2);
    bench.pass_ms(400);
    assert_eq!(
        (bench.brokers.leader("a", 0), bench.brokers.log("a", 0).len()),
        (1, 2)
    );
    assert_eq!(bench.brokers.lost("a", 0).len(), 1);
}

#[test]
fn the_last_one_in_sync_is_waited_for() {
    let mut bench = Bench::new();
    let id = bench.connect(1);
    assert_eq!(bench.produce(id, -1, 0, &numbered(0, 0)), (0, 0));
    bench.brokers.stop(2);
    bench.pass_ms(400);
    assert_eq!(bench.produce(id, -1, 0, &numbered(0, 1)), (0, 1));
    bench.brokers.stop(1);
    bench.brokers.start(2);
    bench.pass_ms(2000);
    let id = bench.connect(2);
    let metadata = bench.metadata(id, 12);
    let partition = &metadata.topics[0].partitions[0];
    assert_eq!((partition.error_code, partition.leader_id.0), (5, -1));
    let in_sync: Vec<i32> = partition.isr_nodes.iter().map(|node| node.0).collect();
    assert_eq!(in_sync, [1]);
    assert_eq!(bench.produce(id, -1, 0, &numbered(0, 2)), (6, -1));
    bench.brokers.start(1);
    let id = bench.connect(1);
    assert_eq!(bench.produce(id, -1, 0, &numbered(0, 2)), (0, 2));
    assert!(bench.brokers.lost("a", 0).is_empty());
}

#[test]
fn who_waits_for_all_is_told_when_the_leader_moves() {
    let mut bench = Bench::new();
    let id = bench.connect(1);
    bench.send(
        id,
        &request(ApiKey::Produce, 9, 5, &to_produce(-1, 0, &numbered(0, 0))),
    );
    assert!(bench.output(id).is_empty());
    while bench.brokers.leader("a", 0) == 1 {
        bench.brokers.move_leader();
    }
    bench.pass_ms(1);
    let told: ProduceResponse = decode_response(&only_frame(&bench.output(id)), 9);
    assert_eq!(told.responses[0].partition_responses[0].error_code, 6);
}

#[test]
fn nobody_answers_acks_0_and_an_error_ends_the_connection() {
    let mut bench = Bench::new();
    let (leader, other) = (bench.connect(1), bench.connect(2));
    for id in [leader, other] {
        bench.send(
            id,
            &request(ApiKey::Produce, 9, 5, &to_produce(0, 0, &numbered(0, 0))),
        );
        assert!(bench.output(id).is_empty());
    }
    assert_eq!(bench.brokers.log("a", 0).len(), 1);
    assert!(!bench.brokers.is_closed(leader) && bench.brokers.is_closed(other));
    let is_malformed = |event: &Event| matches!(event, Event::Malformed { .. });
    assert!(!bench.brokers.take_events().iter().any(is_malformed));
}

#[test]
fn who_has_used_up_his_quota_is_told_and_not_heard_for_as_long() {
    let mut bench = Bench::new();
    bench.brokers.set_quota(Some(1000));
    let id = bench.connect(1);
    let big = batch_of(&["x".repeat(900).as_str()]);
    let answer: ProduceResponse = bench.ask(id, (ApiKey::Produce, 9), &to_produce(1, 0, &big));
    let throttle_ms = answer.throttle_time_ms as u64;
    assert!((400..1000).contains(&throttle_ms), "{throttle_ms}");
    bench.send(id, &request(ApiKey::Metadata, 9, 6, &MetadataRequest::default()));
    bench.pass_ms(throttle_ms - 1);
    assert!(bench.output(id).is_empty());
    bench.pass_ms(2);
    assert!(!bench.output(id).is_empty());
}

#[test]
fn a_batch_is_refused_and_told_of_when_its_bytes_are_wrong() {
    let mut bench = Bench::new();
    let id = bench.connect(1);
    bench.brokers.set_max_message_bytes(200);
    let good = batch_of(&["one", "two"]);
    let cases = [
        (good.clone(), 0),
        (good.clone().codec(Codec::Zstd), 0),
        (good.clone().record_count(3), 87),
        (good.clone().record_count(3).last_offset_delta(2), 87),
        (
            good.clone()
                .record_at(7, RecordInput::default())
                .last_offset_delta(2),
            87,
        ),
        (good.clone().control(), 87),
        (good.clone().base_offset(1), 87),
        (batch_of(&["x".repeat(200).as_str()]), 10),
    ];
    for (batch, expected) in cases {
        assert_eq!(bench.produce(id, 1, 0, &batch).0, expected, "{batch:?}");
        let told = bench
            .brokers
            .take_events()
            .into_iter()
            .find_map(|event| match event {
                Event::BadBatch { code, .. } => Some(code),
                _ => None,
            });
        assert_eq!(told.unwrap_or(0), expected);
    }
    let mut body = to_produce(1, 0, &good);
    let data = &mut body.topic_data[0].partition_data[0];
    let mut altered = data.records.clone().unwrap().to_vec();
    *altered.last_mut().unwrap() ^= 1;
    data.records = Some(Bytes::from(altered));
    let answer: ProduceResponse = bench.ask(id, (ApiKey::Produce, 9), &body);
    assert_eq!(answer.responses[0].partition_responses[0].error_code, 2);
    assert_eq!(bench.brokers.log("a", 0).len(), 2);
}
