//! A transaction is open, with batches on their way, while the proxy goes and comes back: what is committed is read
//! whole and once, and nothing is read of what is aborted.

use std::collections::BTreeSet;
use std::sync::LazyLock;
use std::thread;
use std::time::Duration;

use crate::support::agent::Agent;
use crate::support::broker_properties::Login;
use crate::support::operations::{From, Options, Outcome, Stream};
use crate::support::proxy::Proxy;
use crate::support::records::{self, Record};
use crate::support::rig::{Rig, Topic, unique};
use crate::support::shared;
use crate::support::streams::{assert_committed_once, assert_delivered};
use crate::support::wait;

/// Three brokers: coordinators and leaders are reached by ports of their own.
static RIG: LazyLock<Rig> = LazyLock::new(|| Rig::assemble(shared::three_brokers(), Login::Plaintext));

const PARTITIONS: i32 = 3;
/// Records a second: so many that there is always a batch on its way.
const RATE: u32 = 500;
const COPYING_LIMIT: Duration = Duration::from_secs(60);

/// A transaction that a library has open, with batches on their way all the time, and a consumer that must see nothing
/// of it before it is committed.
struct Transaction<'a> {
    agent: &'a Agent,
    topic: String,
    writing: Options,
    producer: Stream,
    consumer: Stream,
}

impl<'a> Transaction<'a> {
    fn begin(agent: &'a Agent, options: &Options) -> Self {
        let topic = replicated_topic("sealed-open");
        let writing = options.clone().transactional(&topic);
        let reading = options.clone().read_committed();
        let producer = agent.stream_produce(&writing, &topic, PARTITIONS, RATE);
        let consumer = agent.stream_consume(&reading, &From::partitions(&topic, PARTITIONS));
        Transaction {
            agent,
            topic,
            writing,
            producer,
            consumer,
        }
    }

    fn delivered(&self) -> usize {
        self.agent.stream_status(&self.producer).count
    }

    fn read(&self) -> usize {
        self.agent.stream_status(&self.consumer).count
    }

    fn commit(self) {
        assert_committed_once(self.agent, self.producer, self.consumer);
    }

    /// What is committed behind it, a record in each partition, is all that is read.
    fn abort(self) {
        let agent = self.agent;
        let aborted = agent.transaction_stop(self.producer, Outcome::Abort);
        assert_delivered(agent, &aborted);
        let after: Vec<Record> = (0..PARTITIONS)
            .map(|partition| Record::new(&self.topic, "-1", "after").partition(partition))
            .collect();
        let deliveries = agent.transact(&self.writing, &[(Outcome::Commit, after)]);
        let committed: BTreeSet<(i32, i64, i64)> = deliveries
            .iter()
            .map(|delivery| (delivery.partition, delivery.offset, -1))
            .collect();
        agent.stream_await(&self.consumer, committed.len());
        let read = agent.stream_stop(self.consumer);
        assert_eq!(read.failures, [], "{:?}", agent.library());
        assert_eq!(read.entries.len(), committed.len(), "{:?}", agent.library());
        assert_eq!(
            BTreeSet::from_iter(read.entries),
            committed,
            "{:?}",
            agent.library()
        );
        // It was there to be read, once: a marker in each partition behind each transaction.
        let stored: i64 = RIG.end_offsets(&self.topic, PARTITIONS).iter().sum();
        let expected = aborted.entries.len() + 3 * committed.len();
        assert_eq!(usize::try_from(stored), Ok(expected), "{:?}", agent.library());
    }
}

#[test]
fn proxy_is_stopped_and_started() {
    restart_in_transactions(Proxy::terminate);
}

#[test]
fn proxy_is_killed_and_started() {
    restart_in_transactions(Proxy::kill);
}

/// Offsets are committed in the transactions, as Kafka Streams does it.
#[test]
fn proxy_is_stopped_and_killed_while_records_are_copied() {
    let _undisturbed = shared::three_brokers_as_they_are();
    let rig = &*RIG;
    let mut proxy = rig.another_proxy(Login::Plaintext);
    let options = rig.options_at(proxy.as_ref());
    let (source, target) = (
        replicated_topic("sealed-source"),
        replicated_topic("invoices-target"),
    );
    let sent: Vec<Record> = (0..3000)
        .map(|number: i32| {
            Record::new(&source, number.to_string(), "copied")
                .header("number", number.to_be_bytes())
                .partition(number % PARTITIONS)
        })
        .collect();
    records::assert_delivered(&rig.java.produce(&options, &sent));
    let group = unique("copiers");
    // A transaction for each few records.
    let copying = options
        .clone()
        .group(&group, "classic")
        .transactional(&group)
        .read_committed()
        .extra("max.poll.records", "100");
    thread::scope(|scope| {
        let copied = scope.spawn(|| rig.java.copy(&copying, &source, &target, sent.len()));
        for (part, stop) in [(1, Proxy::terminate as fn(&mut Proxy)), (2, Proxy::kill)] {
            let stored = || rig.end_offsets(&target, PARTITIONS).iter().sum::<i64>();
            wait::until("records to be copied", COPYING_LIMIT, || {
                (stored() >= part * 500).then_some(())
            });
            if let Some(proxy) = &mut proxy {
                assert!(!copied.is_finished(), "nothing was left to be copied");
                stop(proxy);
                proxy.start_again();
            }
        }
        assert_eq!(copied.join().expect("the copier"), sent.len());
    });
    let reading = options.read_committed();
    let read = rig
        .java
        .consume(&reading, &From::partitions(&target, PARTITIONS), sent.len());
    records::assert_same_contents(&sent, &read);
    rig.assert_read_by(&group, &source, PARTITIONS);
}

fn replicated_topic(prefix: &str) -> String {
    let topic = unique(prefix);
    RIG.create(&Topic {
        name: &topic,
        partitions: PARTITIONS,
        replicas: 3,
        configs: &[],
    });
    topic
}

fn restart_in_transactions(stop: fn(&mut Proxy)) {
    let _undisturbed = shared::three_brokers_as_they_are();
    let rig = &*RIG;
    let mut proxy = rig.another_proxy(Login::Plaintext);
    let options = rig.options_at(proxy.as_ref());
    let pairs =
        [rig.java, shared::librdkafka()].map(|agent| [(); 2].map(|()| Transaction::begin(agent, &options)));
    await_records_of_each(&pairs);
    if let Some(proxy) = &mut proxy {
        stop(proxy);
        proxy.start_again();
    }
    await_records_of_each(&pairs);
    for transaction in pairs.iter().flatten() {
        assert_eq!(
            transaction.read(),
            0,
            "{:?} reads what is not committed",
            transaction.agent.library()
        );
    }
    for [committed, aborted] in pairs {
        committed.commit();
        aborted.abort();
    }
}

/// Returns when each transaction has 500 records more than now.
fn await_records_of_each(transactions: &[[Transaction<'_>; 2]]) {
    let each = || transactions.iter().flatten();
    let before: Vec<usize> = each().map(Transaction::delivered).collect();
    for (transaction, before) in each().zip(before) {
        transaction
            .agent
            .stream_await(&transaction.producer, before + 500);
    }
}
