//! Topics with sealed keys under the real log cleaner: of each key exactly the last value is left, and a tombstone
//! removes it, whoever has written, under whatever data key, and whenever.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::{RIG, readable};
use crate::support::agent::Agent;
use crate::support::broker_properties::Login;
use crate::support::operations::{From, Options, Outcome};
use crate::support::records::{Bytes, Record, assert_delivered};
use crate::support::rig::{Topic, unique};
use crate::support::{shared, wait};

#[test]
fn of_each_key_the_last_value_is_left_whoever_has_written_under_whatever_key() {
    for agent in [RIG.java, shared::librdkafka()] {
        let topic = &compacted("stable-left", &[("cleanup.policy", "compact")]);
        let other = RIG.another_proxy(Login::Plaintext);
        let [one, other_options] = [RIG.options(), RIG.options_at(other.as_ref())];
        let mut left = BTreeMap::new();
        // Two instances, each with data keys of its own, write in turn.
        write(agent, &one, topic, 0..KEYS, 1, &mut left);
        write(agent, &other_options, topic, 3..KEYS, 2, &mut left);
        delete(agent, &one, topic, 5..8, &mut left);
        // Another version of the key-encryption key, and another process.
        if let (Some(keystore), Some(mut other)) = (&RIG.keystore, other) {
            keystore.command("rotate", &["orders"]);
            other.terminate();
            other.start_again();
            let options = RIG.options_at(Some(&other));
            write(agent, &options, topic, 6..KEYS, 3, &mut left);
            delete(agent, &options, topic, 10..12, &mut left);
        }
        write(agent, &one, topic, 11..14, 4, &mut left);
        assert_cleaned_to(topic, &left);
    }
    if RIG.seals() {
        let found = readable(&[KEY, VALUE]);
        assert!(found.is_empty(), "readable at rest: {found:?}");
    }
}

#[test]
fn transactions_and_idempotent_producers_go_through_compaction() {
    let topic = &compacted("stable-transacted", &[("cleanup.policy", "compact")]);
    let options = &RIG.options().transactional(&unique("stable-transaction"));
    let mut left = BTreeMap::new();
    let records =
        |keys: std::ops::Range<u32>, round| keys.map(|key| record(topic, key, round)).collect::<Vec<_>>();
    let transactions = [
        (Outcome::Commit, records(0..KEYS, 1)),
        (Outcome::Abort, records(0..KEYS, 2)),
        (Outcome::Commit, records(4..8, 3)),
    ];
    for delivery in RIG.java.transact(options, &transactions) {
        assert_eq!(delivery.error, None);
    }
    for (keys, round) in [(0..KEYS, 1), (4..8, 3)] {
        note(&mut left, keys, round);
    }
    let idempotent = RIG.options().set("idempotent", true);
    write(RIG.java, &idempotent, topic, 8..10, 4, &mut left);
    assert_cleaned_to(topic, &left);
}

#[test]
fn null_keys_and_empty_values_survive_where_retention_deletes_too() {
    let policies = [
        ("cleanup.policy", "compact,delete"),
        ("min.compaction.lag.ms", "100"),
    ];
    let topic = &compacted("stable-both", &policies);
    let mut left = BTreeMap::new();
    write(RIG.java, &RIG.options(), topic, 0..KEYS, 1, &mut left);
    let empty = Record::new(topic, key(2), "");
    left.insert(key(2).as_str().into(), "".into());
    assert_delivered(&RIG.java.produce(&RIG.options(), &[empty]));
    write(RIG.java, &RIG.options(), topic, 0..2, 2, &mut left);
    assert_cleaned_to(topic, &left);

    // A broker takes no record without a key where it compacts.
    let plain = &RIG.topic("stable-kept", 1);
    let without = Record::new(plain, "", VALUE).without_key();
    let empty = Record::new(plain, "", VALUE);
    assert_delivered(&RIG.java.produce(&RIG.options(), &[without, empty]));
    let read = RIG.java.consume(&RIG.options(), &From::partitions(plain, 1), 2);
    let keys: Vec<_> = read.into_iter().map(|record| record.key).collect();
    assert_eq!(keys, [None, Some("".into())]);
}

/// Whoever can write at the broker can delete what he has seen the stored key of. Readers stop at that; where the rule
/// says so, they are told which key it was, and the cleaner does its work.
#[test]
fn a_foreign_tombstone_is_refused_unless_accepted_and_then_deletes() {
    for (prefix, is_accepted) in [("stable-foreign", !RIG.seals()), ("stable-dead", true)] {
        let topic = &compacted(prefix, &[("cleanup.policy", "compact")]);
        let mut left = BTreeMap::new();
        write(RIG.java, &RIG.options(), topic, 0..KEYS, 1, &mut left);
        let from = From::partitions(topic, 1);
        let deleted = RIG.java.consume(&RIG.direct(), &from, 1);
        let mut tombstone = Record::new(topic, "", "").without_value();
        tombstone.key.clone_from(&deleted[0].key);
        assert_delivered(&RIG.java.produce(&RIG.direct(), &[tombstone]));
        let (read, error) = RIG.java.consume_until_error(&RIG.options(), &from, SOON);
        if is_accepted {
            assert_eq!(error, None);
            let last = read
                .last()
                .map(|record| (record.key.clone(), record.value.clone()));
            assert_eq!(last, Some((Some(key(0).as_str().into()), None)));
            left.remove(&key(0).as_str().into());
            assert_cleaned_to(topic, &left);
        } else {
            assert!(read.iter().all(|record| record.value.is_some()), "{read:?}");
            assert!(error.is_some_and(|error| error.contains(CORRUPT)));
        }
    }
}

fn key(number: u32) -> String {
    format!("{KEY}-{number}")
}

fn record(topic: &str, number: u32, round: u32) -> Record {
    Record::new(topic, key(number), format!("{VALUE} {number} {round}"))
}

fn note(left: &mut BTreeMap<Bytes, Bytes>, keys: std::ops::Range<u32>, round: u32) {
    for number in keys {
        let value = format!("{VALUE} {number} {round}");
        left.insert(key(number).as_str().into(), value.as_str().into());
    }
}

fn write(
    agent: &Agent,
    options: &Options,
    topic: &str,
    keys: std::ops::Range<u32>,
    round: u32,
    left: &mut BTreeMap<Bytes, Bytes>,
) {
    let records: Vec<_> = keys.clone().map(|number| record(topic, number, round)).collect();
    assert_delivered(&agent.produce(options, &records));
    note(left, keys, round);
}

fn delete(
    agent: &Agent,
    options: &Options,
    topic: &str,
    keys: std::ops::Range<u32>,
    left: &mut BTreeMap<Bytes, Bytes>,
) {
    let records: Vec<_> = keys
        .clone()
        .map(|number| record(topic, number, 0).without_value())
        .collect();
    assert_delivered(&agent.produce(options, &records));
    for number in keys {
        left.remove(&key(number).as_str().into());
    }
}

/// Waits until the cleaner has left exactly this, with what is written so that it takes up the last segment too.
/// Readers have exactly this, before and after.
fn assert_cleaned_to(topic: &str, left: &BTreeMap<Bytes, Bytes>) {
    let from = From::partitions(topic, 1);
    let read = || -> BTreeMap<Bytes, Bytes> {
        let mut map = BTreeMap::new();
        for record in RIG.java.read_to_end(&RIG.options().read_committed(), &from) {
            let key = record.key.expect("a key");
            match record.value {
                Some(value) => map.insert(key, value),
                None => map.remove(&key),
            };
        }
        map
    };
    assert_eq!(read(), *left);
    let roll = Record::new(topic, ROLL, "").without_value();
    wait::until("each key once, and no tombstone", LIMIT, || {
        // Nothing is cleaned in the segment that is written to.
        assert_delivered(&RIG.java.produce(&RIG.options(), std::slice::from_ref(&roll)));
        let stored = RIG.java.read_to_end(&RIG.direct().read_committed(), &from);
        let (tombstones, kept): (Vec<_>, Vec<_>) =
            stored.into_iter().partition(|record| record.value.is_none());
        let distinct: BTreeSet<_> = kept.iter().map(|record| &record.key).collect();
        let of_what: BTreeSet<_> = tombstones.iter().map(|record| &record.key).collect();
        let is_clean = kept.len() == left.len() && distinct.len() == left.len() && of_what.len() <= 1;
        is_clean.then_some(())
    });
    assert_eq!(read(), *left);
}

/// Of one partition, which the cleaner takes up at once.
pub(super) fn compacted(prefix: &str, policies: &[(&str, &str)]) -> String {
    let name = unique(prefix);
    create_compacted(&name, policies);
    name
}

/// The same under this name.
pub(super) fn create_compacted(name: &str, policies: &[(&str, &str)]) {
    let at_once = [
        ("segment.ms", "50"),
        ("min.cleanable.dirty.ratio", "0.01"),
        ("delete.retention.ms", "50"),
    ];
    RIG.create(&Topic {
        name,
        partitions: 1,
        replicas: 1,
        configs: &[policies, &at_once].concat(),
    });
}

/// Whose tombstone begins a segment.
const ROLL: &str = "roll";
/// In every other key.
const KEY: &str = "key-93be";
/// In every value.
const VALUE: &str = "value-51f0";
const KEYS: u32 = 20;
const LIMIT: Duration = Duration::from_secs(60);
/// Long enough for a reader to come to an end, or to an error.
const SOON: Duration = Duration::from_secs(10);
/// What Java says of error 2.
const CORRUPT: &str = "corrupt message";
