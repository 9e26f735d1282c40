//! Kafka Streams: a table that a stream is joined with, two streams joined within a window, and sums by another key, by
//! exactly once, with all that it stores for itself. What comes out is what comes out over plain topics, also after
//! its state was thrown away.

use std::collections::BTreeMap;
use std::fs;
use std::sync::LazyLock;
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use super::{RIG, assert_keys_are_sealed, readable};
use crate::support::agent::{Agent, Library};
use crate::support::launch::DataFolder;
use crate::support::operations::{From, Options};
use crate::support::records::{Bytes, Consumed, Record, assert_delivered};
use crate::support::rig::{Topic, unique};
use crate::support::wait;

static STREAMS: LazyLock<Agent> = LazyLock::new(|| Agent::start(Library::KafkaStreams));

#[test]
fn kafka_streams_gives_what_it_gives_over_plain_topics() {
    let base = now() - 3 * HOUR;
    let sealed = Application::create("stable-tables", RIG.options(), RIG.bootstrap());
    let plain = Application::create("plain-tables", RIG.direct(), RIG.cluster.bootstrap());
    let [over_sealed, over_plain] = thread::scope(|scope| {
        let played = [&sealed, &plain].map(|application| scope.spawn(move || application.play(base)));
        played.map(|thread| thread.join().expect("it was played"))
    });
    assert_eq!(over_sealed, over_plain);

    let found = readable(&[KEY, VALUE]);
    let is_plain = |path: &&std::path::PathBuf| path.to_string_lossy().contains(&plain.name);
    let plain_files = found.iter().filter(is_plain).count();
    assert!(plain_files > 0, "readable where nothing is sealed");
    if RIG.seals() {
        assert_eq!(found.len(), plain_files, "readable at rest: {found:?}");
        for topic in INTERNAL {
            assert_keys_are_sealed(&sealed.topic(topic), PARTITIONS);
        }
    }
}

/// One application with its topics.
struct Application {
    name: String,
    /// How records come in and are read.
    options: Options,
    bootstrap: String,
    folder: DataFolder,
}

/// What came out of one.
#[derive(Debug, PartialEq, Eq)]
struct Played {
    first: Outputs,
    stores: Value,
    /// How many records each store was restored from.
    restored: BTreeMap<String, u64>,
    last: Outputs,
}

#[derive(Debug, PartialEq, Eq)]
struct Outputs {
    joined: Vec<Output>,
    paid: Vec<Output>,
    /// Of each region the last.
    totals: BTreeMap<String, String>,
}

/// Key, value, timestamp.
type Output = (String, String, i64);

impl Application {
    fn create(prefix: &str, options: Options, bootstrap: String) -> Self {
        let application = Application {
            name: unique(prefix),
            options,
            bootstrap,
            folder: DataFolder::create("streams"),
        };
        let names = ["customers", "orders", "payments", "joined", "paid", "totals"];
        let names = names.map(|name| application.topic(name));
        let compacted: &[(&str, &str)] = &[("cleanup.policy", "compact")];
        let topics: Vec<Topic<'_>> = names
            .iter()
            .map(|name| Topic {
                name,
                partitions: PARTITIONS,
                replicas: 1,
                configs: if name.ends_with("customers") {
                    compacted
                } else {
                    &[]
                },
            })
            .collect();
        RIG.create_all(&topics);
        application
    }

    fn topic(&self, name: &str) -> String {
        format!("{}-{name}", self.name)
    }

    fn play(&self, base: i64) -> Played {
        self.produce(self.customers(base));
        self.produce(self.orders(base, 0..ROUNDS));
        self.produce(self.payments(base, 0..ROUNDS - 1));
        let restored = self.start();
        assert_eq!(restored.values().sum::<u64>(), 0, "there is nothing yet");
        let first = self.outputs(ROUNDS, 2);
        let stores = self.stores();
        self.call("stop", json!({}));

        fs::remove_dir_all(self.folder.path()).expect("its state is removed");
        let restored = self.start();
        assert_eq!(self.stores(), stores, "restored");
        // What was restored is what new records are joined with and added to.
        self.produce(self.payments(base, ROUNDS - 1..ROUNDS));
        self.produce(self.orders(base, ROUNDS..ROUNDS + 1));
        let last = self.outputs(ROUNDS + 1, 3);
        self.call("stop", json!({}));
        Played {
            first,
            stores,
            restored,
            last,
        }
    }

    fn produce(&self, records: Vec<Record>) {
        assert_delivered(&RIG.java.produce(&self.options, &records));
    }

    /// The last of them is deleted.
    fn customers(&self, base: i64) -> Vec<Record> {
        let record = |customer: i64| {
            let region = format!("{KEY}-region-{}", customer % 5);
            let value = format!("{region} {VALUE}-name-{customer}");
            Record::new(&self.topic("customers"), key(customer), value).timestamp(base)
        };
        let deleted = record(CUSTOMERS - 1).without_value().timestamp(base + 1);
        (0..CUSTOMERS).map(record).chain([deleted]).collect()
    }

    /// One of each customer in each round.
    fn orders(&self, base: i64, rounds: std::ops::Range<i64>) -> Vec<Record> {
        let text = |round, customer| format!("{VALUE}-order-{round} {}", customer * 7 + round);
        self.of_each("orders", base + MINUTE, rounds, text)
    }

    /// In time for orders of every other round.
    fn payments(&self, base: i64, rounds: std::ops::Range<i64>) -> Vec<Record> {
        let text = |round, _| format!("{VALUE}-payment-{round}");
        let (paid, late): (Vec<i64>, Vec<i64>) = rounds.partition(|round| round % 2 == 0);
        let of = |rounds: Vec<i64>, delay: i64| {
            let rounds = rounds.into_iter();
            rounds.flat_map(move |round| {
                self.of_each("payments", base + MINUTE + delay, round..round + 1, text)
            })
        };
        of(paid, MINUTE).chain(of(late, 10 * MINUTE)).collect()
    }

    fn of_each(
        &self,
        topic: &str,
        base: i64,
        rounds: std::ops::Range<i64>,
        text: impl Fn(i64, i64) -> String,
    ) -> Vec<Record> {
        let topic = &self.topic(topic);
        let places = rounds.flat_map(|round| (0..CUSTOMERS).map(move |customer| (round, customer)));
        let record = |(round, customer)| {
            Record::new(topic, key(customer), text(round, customer))
                .timestamp(base + 20 * MINUTE * round + customer)
        };
        places.map(record).collect()
    }

    fn start(&self) -> BTreeMap<String, u64> {
        let body = json!({"bootstrap": self.bootstrap, "folder": self.folder.path()});
        serde_json::from_value(self.call("start", body)).expect("numbers of records")
    }

    /// When all orders and payments of the first rounds have been taken in.
    fn stores(&self) -> Value {
        wait::until("all orders and payments", LIMIT, || {
            let stores = self.call("stores", json!({}));
            let count = |store: &str| stores[store].as_object().map(serde_json::Map::len);
            let is_whole = count("pairs-this-join-store") == Some(taken(ROUNDS))
                && count("pairs-other-join-store") == Some(taken(ROUNDS - 1));
            is_whole.then_some(stores)
        })
    }

    /// After so many rounds, in so many of which orders were paid.
    fn outputs(&self, rounds: i64, paid: i64) -> Outputs {
        let joined = usize::try_from(rounds * (CUSTOMERS - 1)).expect("a few");
        let read = |topic: &str, count: usize| {
            let from = From::partitions(&self.topic(topic), PARTITIONS);
            let options = self.options.clone().read_committed();
            let read = RIG.java.consume(&options, &from, count);
            assert_eq!(read.len(), count, "{topic} of {}", self.name);
            read.into_iter().map(output)
        };
        let sorted = |outputs: &mut dyn Iterator<Item = Output>| {
            let mut outputs: Vec<Output> = outputs.collect();
            outputs.sort();
            outputs
        };
        Outputs {
            joined: sorted(&mut read("joined", joined)),
            paid: sorted(&mut read("paid", taken(paid))),
            totals: read("totals", joined)
                .map(|(region, total, _)| (region, total))
                .collect(),
        }
    }

    fn call(&self, op: &str, mut body: Value) -> Value {
        body["application"] = json!(self.name);
        let answer = STREAMS.call(op, body, LIMIT);
        answer.unwrap_or_else(|error| panic!("{op} {}: {error}\n{}", self.name, STREAMS.log_end()))
    }
}

fn key(customer: i64) -> String {
    format!("{KEY}-customer-{customer}")
}

fn taken(rounds: i64) -> usize {
    usize::try_from(rounds * CUSTOMERS).expect("a few")
}

fn output(record: Consumed) -> Output {
    let text = |bytes: Option<Bytes>| String::from_utf8(bytes.expect("not null").0).expect("text");
    (text(record.key), text(record.value), record.timestamp)
}

fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    i64::try_from(since.as_millis()).expect("milliseconds")
}

/// What Kafka Streams makes for itself.
const INTERNAL: [&str; 5] = [
    "customers-changelog",
    "regions-changelog",
    "by-region-repartition",
    "pairs-this-join-store-changelog",
    "pairs-other-join-store-changelog",
];
/// In every key.
const KEY: &str = "key-6b1e";
/// In every value that comes in.
const VALUE: &str = "value-93ac";
const PARTITIONS: i32 = 2;
const CUSTOMERS: i64 = 40;
/// Before the state is thrown away.
const ROUNDS: i64 = 5;
const MINUTE: i64 = 60_000;
const HOUR: i64 = 60 * MINUTE;
const LIMIT: Duration = Duration::from_secs(90);
