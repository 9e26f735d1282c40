//! Transactions: who may write, what readers of what is committed see, and when.

use kafka_protocol::messages::add_partitions_to_txn_request::AddPartitionsToTxnTopic;
use kafka_protocol::messages::{
    AddPartitionsToTxnRequest, AddPartitionsToTxnResponse, EndTxnRequest, EndTxnResponse,
    FindCoordinatorRequest, FindCoordinatorResponse, InitProducerIdRequest, InitProducerIdResponse,
    ProducerId,
};

use super::*;

/// Who writes in transactions, and where its coordinator is.
struct Writer {
    coordinator: ConnectionId,
    leader: ConnectionId,
    producer: (i64, i16),
}

impl Bench {
    fn writer(&mut self) -> Writer {
        let leader = self.connect(1);
        let body = FindCoordinatorRequest::default()
            .with_key(text("t"))
            .with_key_type(1);
        let found: FindCoordinatorResponse = self.ask(leader, (ApiKey::FindCoordinator, 3), &body);
        let coordinator = self.connect(found.node_id.0);
        let mut writer = Writer {
            coordinator,
            leader,
            producer: (-1, -1),
        };
        writer.producer = self.init(&writer).expect("it is new");
        writer
    }

    fn init(&mut self, writer: &Writer) -> Result<(i64, i16), i16> {
        let body = InitProducerIdRequest::default()
            .with_transactional_id(Some(id_of_transactions()))
            .with_transaction_timeout_ms(5000);
        let given: InitProducerIdResponse = self.ask(writer.coordinator, (ApiKey::InitProducerId, 4), &body);
        match given.error_code {
            0 => Ok((given.producer_id.0, given.producer_epoch)),
            code => Err(code),
        }
    }

    fn add(&mut self, writer: &Writer) -> i16 {
        let topic = AddPartitionsToTxnTopic::default()
            .with_name(topic_name("a"))
            .with_partitions(vec![0]);
        let body = AddPartitionsToTxnRequest::default()
            .with_v3_and_below_transactional_id(id_of_transactions())
            .with_v3_and_below_producer_id(ProducerId(writer.producer.0))
            .with_v3_and_below_producer_epoch(writer.producer.1)
            .with_v3_and_below_topics(vec![topic]);
        let added: AddPartitionsToTxnResponse =
            self.ask(writer.coordinator, (ApiKey::AddPartitionsToTxn, 3), &body);
        added.results_by_topic_v3_and_below[0].results_by_partition[0].partition_error_code
    }

    fn write(&mut self, writer: &Writer, sequence: i32, version: i16) -> i16 {
        let (id, epoch) = writer.producer;
        let batch = batch_of(&["value"]).producer(id, epoch, sequence).transactional();
        let body = to_produce(-1, 0, &batch).with_transactional_id(Some(id_of_transactions()));
        let answer: ProduceResponse = self.ask(writer.leader, (ApiKey::Produce, version), &body);
        answer.responses[0].partition_responses[0].error_code
    }

    fn end(&mut self, writer: &Writer, commit: bool, version: i16) -> (i16, (i64, i16)) {
        let body = EndTxnRequest::default()
            .with_transactional_id(id_of_transactions())
            .with_producer_id(ProducerId(writer.producer.0))
            .with_producer_epoch(writer.producer.1)
            .with_committed(commit);
        let ended: EndTxnResponse = self.ask(writer.coordinator, (ApiKey::EndTxn, version), &body);
        (ended.error_code, (ended.producer_id.0, ended.producer_epoch))
    }

    /// Last stable offset, what is aborted, and how many batches there are, from an offset on.
    fn committed(&mut self, writer: &Writer, offset: i64) -> (i64, Vec<(i64, i64)>, usize) {
        let body = to_fetch(&[(0, offset)]).with_isolation_level(1);
        let answer: FetchResponse = self.ask(writer.leader, (ApiKey::Fetch, 12), &body);
        let partition = &answer.responses[0].partitions[0];
        let aborted = partition.aborted_transactions.iter().flatten();
        let aborted = aborted.map(|aborted| (aborted.producer_id.0, aborted.first_offset));
        let records = partition.records.as_ref().unwrap();
        let batches = sealwire::record_batch::Batches::new(records).count();
        (partition.last_stable_offset, aborted.collect(), batches)
    }
}

/// FETCH-1.
#[test]
fn what_is_open_holds_readers_back_and_what_is_aborted_is_named() {
    let mut bench = Bench::new();
    let writer = bench.writer();
    let id = writer.producer.0;
    bench.produce(writer.leader, -1, 0, &numbered(0, 0));
    assert_eq!(bench.write(&writer, 0, 9), 48, "it is not in the transaction");
    assert_eq!(bench.write(&writer, 0, 11), 120);
    assert_eq!(bench.add(&writer), 0);
    assert_eq!(bench.write(&writer, 0, 9), 0);
    bench.produce(writer.leader, -1, 0, &numbered(0, 1));
    assert_eq!(bench.committed(&writer, 0), (1, vec![], 1));
    assert_eq!(bench.fetch(writer.leader, 12, 0).high_watermark, 3);
    assert_eq!(bench.end(&writer, false, 3).0, 0);
    bench.brokers.tick(bench.now);
    assert_eq!(bench.brokers.log("a", 0).len(), 4, "its marker is there");
    assert_eq!(bench.committed(&writer, 0), (1, vec![], 1), "and not everywhere");
    assert_eq!(bench.add(&writer), 51, "it is not at its end yet");
    bench.pass_ms(2000);
    assert_eq!(bench.committed(&writer, 0), (4, vec![(id, 1)], 4));
    assert_eq!(bench.committed(&writer, 3), (4, vec![(id, 1)], 1));
    assert_eq!(bench.committed(&writer, 4), (4, vec![], 0));

    // The next one is committed.
    assert_eq!(bench.add(&writer), 0);
    assert_eq!(bench.write(&writer, 1, 9), 0);
    assert_eq!(bench.end(&writer, true, 3).0, 0);
    bench.pass_ms(2000);
    assert_eq!(bench.committed(&writer, 4), (6, vec![], 2));
    let marker = &bench.brokers.log("a", 0)[5];
    assert!(marker.header.attributes.is_control());
}

/// TRANSACTIONS-2.
#[test]
fn who_asks_for_an_id_ends_what_is_open_under_it_and_shuts_its_owner_out() {
    let mut bench = Bench::new();
    let before = bench.writer();
    bench.add(&before);
    assert_eq!(bench.write(&before, 0, 9), 0);
    assert_eq!(bench.init(&before), Err(51), "it is being ended");
    bench.pass_ms(2000);
    let (id, epoch) = before.producer;
    assert_eq!(bench.init(&before), Ok((id, epoch + 2)));
    assert_eq!(bench.write(&before, 1, 9), 47);
    assert_eq!(bench.end(&before, true, 3).0, 90);
    assert_eq!(bench.add(&before), 90);
    assert_eq!(bench.committed(&before, 0).1, [(id, 0)]);
}

#[test]
fn later_versions_add_partitions_by_themselves_and_end_each_epoch() {
    let mut bench = Bench::new();
    let mut writer = bench.writer();
    let (id, epoch) = writer.producer;
    assert_eq!(bench.write(&writer, 0, 12), 0);
    assert_eq!(bench.end(&writer, true, 5), (0, (id, epoch + 1)));
    assert_eq!(bench.end(&writer, true, 5), (0, (id, epoch + 1)), "asked again");
    bench.pass_ms(2000);
    assert_eq!(bench.write(&writer, 1, 12), 47);
    writer.producer.1 += 1;
    assert_eq!(bench.write(&writer, 0, 12), 0, "sequences begin anew");
    assert_eq!(bench.committed(&writer, 0).0, 2);
}

#[test]
fn what_takes_too_long_is_aborted_even_while_leaders_restart() {
    let mut bench = Bench::new();
    let writer = bench.writer();
    bench.add(&writer);
    assert_eq!(bench.write(&writer, 0, 9), 0);
    bench.pass_ms(4990);
    bench.brokers.stop(1);
    bench.pass_ms(3000);
    let marker = bench.brokers.log("a", 0).last().unwrap().clone();
    assert!(marker.header.attributes.is_control());
    assert_eq!(marker.header.producer_epoch, writer.producer.1 + 1);
    assert_eq!(
        (bench.brokers.leader("a", 0), bench.brokers.log("a", 0).len()),
        (2, 2)
    );
}

/// TRANSACTIONS-1.
#[test]
fn a_marker_that_an_election_takes_is_written_again() {
    let mut bench = Bench::new();
    let writer = bench.writer();
    bench.add(&writer);
    assert_eq!(bench.write(&writer, 0, 9), 0);
    assert_eq!(bench.end(&writer, true, 3).0, 0);
    bench.brokers.tick(bench.now);
    assert_eq!(bench.brokers.log("a", 0).len(), 2);
    bench.brokers.stop(1);
    bench.pass_ms(400);
    assert_eq!(
        (bench.brokers.leader("a", 0), bench.brokers.lost("a", 0).len()),
        (2, 1)
    );
    let marker = bench.brokers.log("a", 0)[1].clone();
    assert!(marker.header.attributes.is_control());
    assert_eq!(marker.header.producer_id, writer.producer.0);
}

#[test]
fn only_its_coordinator_knows_a_transaction() {
    let mut bench = Bench::new();
    let mut writer = bench.writer();
    let coordinator = bench.brokers.node(writer.coordinator).unwrap();
    let other = (1..4).find(|node| *node != coordinator).unwrap();
    writer.coordinator = bench.connect(other);
    assert_eq!(bench.init(&writer), Err(16));
    assert_eq!(bench.add(&writer), 16);
    assert_eq!(bench.end(&writer, true, 3).0, 16);
}
