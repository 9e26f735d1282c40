//! Fetch: followers, sessions, bounds; and where a node is.

use super::*;
use crate::wire::correlation_ids;

/// FETCH-1, PARTITION-2.
#[test]
fn a_follower_shows_what_it_knows_all_to_have() {
    let mut bench = Bench::new();
    let (leader, follower, other) = (bench.connect(1), bench.connect(2), bench.connect(3));
    assert_eq!(bench.produce(leader, 1, 0, &numbered(0, 0)), (0, 0));
    for id in [leader, follower] {
        let first = bench.fetch(id, 11, 0);
        assert_eq!((first.error_code, first.high_watermark), (0, 0));
        assert_eq!(first.records.unwrap().len(), 0);
    }
    assert_eq!(bench.fetch(follower, 11, 1).error_code, 1, "behind its end");
    assert_eq!(bench.fetch(follower, 10, 0).error_code, 6, "an older client");
    assert_eq!(bench.fetch(other, 11, 0).error_code, 6);
    bench.pass_ms(2000);
    let then = bench.fetch(follower, 11, 0);
    assert_eq!((then.error_code, then.high_watermark), (0, 1));
    assert_eq!(then.records.unwrap(), bench.brokers.log("a", 0)[0].bytes);
}

#[test]
fn who_says_where_he_is_is_sent_to_the_follower_there() {
    let mut bench = Bench::new();
    let leader = bench.connect(1);
    bench.produce(leader, -1, 0, &numbered(0, 0));
    let ask = |bench: &mut Bench, rack: &str| {
        let body = to_fetch(&[(0, 0)]).with_rack_id(text(rack));
        let answer: FetchResponse = bench.ask(leader, (ApiKey::Fetch, 11), &body);
        let partition = &answer.responses[0].partitions[0];
        (
            partition.preferred_read_replica.0,
            partition.records.as_ref().unwrap().is_empty(),
        )
    };
    assert_eq!(ask(&mut bench, "rack-2"), (2, true));
    assert_eq!(ask(&mut bench, "rack-3"), (-1, false));
    assert_eq!(ask(&mut bench, "rack-1"), (-1, false));
}

/// A session's number, its error, and what it says of which partitions.
fn told(answer: &FetchResponse) -> (i32, i16, Vec<i32>) {
    let partitions = answer.responses.iter().flat_map(|topic| &topic.partitions);
    let partitions = partitions.map(|partition| partition.partition_index);
    (answer.session_id, answer.error_code, partitions.collect())
}

/// SESSIONS-1.
#[test]
fn a_session_is_told_what_has_changed_and_each_epoch_once() {
    /// The first of node 1.
    const SESSION: i32 = 1_000_001;
    let mut bench = Bench::new();
    bench.brokers = Brokers::new(&[1], &[("a", 2)], 1, 7);
    let id = bench.connect(1);
    let ask = |bench: &mut Bench, body: FetchRequest, session: i32, epoch: i32| {
        let body = body.with_session_id(session).with_session_epoch(epoch);
        told(&bench.ask(id, (ApiKey::Fetch, 12), &body))
    };
    let nothing = || FetchRequest::default().with_min_bytes(1);
    assert_eq!(
        ask(&mut bench, to_fetch(&[(0, 0), (1, 0)]), 0, 0),
        (SESSION, 0, vec![0, 1])
    );
    assert_eq!(ask(&mut bench, nothing(), SESSION, 1), (SESSION, 0, vec![]));
    let writer = bench.connect(1);
    bench.produce(writer, 1, 1, &numbered(0, 0));
    assert_eq!(ask(&mut bench, nothing(), SESSION, 2), (SESSION, 0, vec![1]));
    assert_eq!(
        ask(&mut bench, nothing(), SESSION, 3),
        (SESSION, 0, vec![1]),
        "as long as it is not read"
    );
    assert_eq!(
        ask(&mut bench, to_fetch(&[(1, 1)]), SESSION, 4),
        (SESSION, 0, vec![])
    );
    assert_eq!(ask(&mut bench, nothing(), SESSION, 4), (0, 71, vec![]));
    assert_eq!(
        ask(&mut bench, to_fetch(&[(1, 5)]), SESSION, 5),
        (SESSION, 0, vec![1])
    );
    assert_eq!(
        ask(&mut bench, nothing(), SESSION, 6),
        (SESSION, 0, vec![1]),
        "an error each time"
    );
    assert_eq!(ask(&mut bench, nothing(), 9, 1), (0, 70, vec![]));
    bench.brokers.evict_sessions(1);
    assert_eq!(ask(&mut bench, nothing(), SESSION, 7), (0, 70, vec![]));
}

/// Nothing behind it is answered before: BROKERS-1.
#[test]
fn a_poll_is_answered_when_there_is_something_or_its_time_is_over() {
    let mut bench = Bench::new();
    let (reader, writer) = (bench.connect(1), bench.connect(1));
    let poll = request(ApiKey::Fetch, 11, 5, &to_fetch(&[(0, 0)]).with_max_wait_ms(100));
    bench.send(reader, &poll);
    bench.send(
        reader,
        &request(ApiKey::Metadata, 9, 6, &MetadataRequest::default()),
    );
    bench.pass_ms(99);
    assert!(bench.output(reader).is_empty());
    bench.pass_ms(1);
    assert_eq!(correlation_ids(&bench.output(reader)), [5, 6]);
    let long = to_fetch(&[(0, 0)]).with_max_wait_ms(10_000);
    bench.send(reader, &request(ApiKey::Fetch, 11, 5, &long));
    bench.produce(writer, -1, 0, &numbered(0, 0));
    bench.pass_ms(1);
    assert!(!bench.output(reader).is_empty());
}

/// FETCH-2.
#[test]
fn the_first_batch_is_whole_and_the_last_one_is_cut_off() {
    let mut bench = Bench::new();
    bench.brokers = Brokers::new(&[1], &[("a", 2)], 1, 7);
    let id = bench.connect(1);
    for sequence in 0..3 {
        bench.produce(id, 1, 0, &numbered(0, sequence));
    }
    bench.produce(id, 1, 1, &numbered(0, 0));
    let batch = bench.brokers.log("a", 0)[0].bytes.len();
    for (max_bytes, expected) in [
        (1, [batch, 0]),
        (batch * 2 - 1, [batch * 2 - 1, 0]),
        (batch * 4, [batch * 3, batch]),
    ] {
        let body = to_fetch(&[(0, 0), (1, 0)]).with_max_bytes(max_bytes as i32);
        let answer: FetchResponse = bench.ask(id, (ApiKey::Fetch, 11), &body);
        let partitions = &answer.responses[0].partitions;
        let bytes = [0, 1].map(|index: usize| partitions[index].records.as_ref().unwrap().len());
        assert_eq!(bytes, expected, "{max_bytes}");
    }
}

#[test]
fn an_address_leads_to_who_is_there_when_it_is_dialed() {
    let mut bench = Bench::new();
    let before = bench.connect(1);
    bench.brokers.swap_addresses(1, 2);
    bench.brokers.move_address(3, 7000);
    let after = bench.brokers.connect("10.0.0.1", 9092).unwrap();
    assert_eq!(
        (bench.brokers.node(before), bench.brokers.node(after)),
        (Some(1), Some(2))
    );
    for version in [0, 1, 9, 13] {
        let metadata = bench.metadata(after, version);
        let nodes = metadata.brokers.iter();
        let nodes: Vec<_> = nodes
            .map(|node| (node.node_id.0, node.host.as_str(), node.port))
            .collect();
        assert_eq!(
            nodes,
            [
                (1, "10.0.0.2", 9092),
                (2, "10.0.0.1", 9092),
                (3, "10.0.0.3", 7000)
            ]
        );
        assert_eq!(metadata.topics.len(), 2);
    }
}
