//! A map in a compacted topic of one partition, as registries of schemas keep theirs: keys and values are JSON, what is
//! deleted gets a tombstone, and whoever starts writes a record that says nothing, and reads to the end before it
//! serves. The map is the same after each start, through whichever proxy, before and after the log was cleaned.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::json;

use super::{RIG, assert_keys_are_sealed, readable};
use crate::support::broker_properties::Login;
use crate::support::operations::{From, Options};
use crate::support::records::{Bytes, Record, assert_delivered};
use crate::support::rig::{Topic, unique};
use crate::support::wait;

#[test]
fn a_map_in_a_compacted_topic_outlives_restarts_and_the_log_cleaner() {
    let topic = &compacted("stable-schemas");
    let other = RIG.another_proxy(Login::Plaintext);
    let [options, other] = [RIG.options(), RIG.options_at(other.as_ref())];
    let mut first = Registry::open(&options, topic);
    assert!(first.entries.is_empty());
    first.write(0..SUBJECTS, 1);
    first.delete(3, 1);

    let mut second = Registry::open(&other, topic);
    assert_eq!(second.entries, first.entries);
    second.write(2..SUBJECTS, 2);
    second.delete(5, 1);
    second.delete(5, 2);

    let third = Registry::open(&options, topic);
    assert_eq!(third.entries, second.entries);
    let (written, deleted) = (2 * SUBJECTS + SUBJECTS - 2, 3);
    assert_eq!(third.entries.len(), count(written - deleted));

    wait::until("each key once, and no tombstone", LIMIT, || {
        // Nothing is cleaned in the segment that is written to: each start begins a new one.
        let opened = Registry::open(&other, topic);
        assert_eq!(opened.entries, third.entries);
        is_clean(topic, third.entries.len()).then_some(())
    });
    let mut last = Registry::open(&options, topic);
    assert_eq!(last.entries, third.entries);
    last.write(3..4, 1);
    assert_eq!(Registry::open(&other, topic).entries, last.entries);

    if RIG.seals() {
        assert_keys_are_sealed(topic, 1);
        let found = readable(&[KEY, VALUE]);
        assert!(found.is_empty(), "readable at rest: {found:?}");
    }
}

/// As it has the map in memory.
struct Registry {
    options: Options,
    topic: String,
    entries: BTreeMap<Bytes, Bytes>,
}

impl Registry {
    fn open(options: &Options, topic: &str) -> Self {
        let mut registry = Registry {
            options: options.clone(),
            topic: topic.to_owned(),
            entries: BTreeMap::new(),
        };
        let nothing = Record::new(topic, NOTHING, "").without_value();
        registry.send(vec![nothing]);
        for record in RIG.java.read_to_end(options, &From::partitions(topic, 1)) {
            let key = record.key.expect("every key is JSON");
            match record.value {
                Some(value) => registry.entries.insert(key, value),
                None => registry.entries.remove(&key),
            };
        }
        registry
    }

    /// A version of each subject, and the level of each.
    fn write(&mut self, subjects: std::ops::Range<u32>, version: u32) {
        let mut records = Vec::new();
        for subject in subjects {
            let schema = json!({"subject": subject, "schema": format!("{VALUE} {version}")});
            let level = json!({"level": format!("{VALUE} after {version}")});
            for (key, value) in [
                (schema_key(subject, version), schema),
                (level_key(subject), level),
            ] {
                self.entries
                    .insert(key.as_str().into(), value.to_string().as_str().into());
                records.push(Record::new(&self.topic, key, value.to_string()));
            }
        }
        self.send(records);
    }

    /// A version of a subject.
    fn delete(&mut self, subject: u32, version: u32) {
        let key = schema_key(subject, version);
        self.entries.remove(&key.as_str().into());
        self.send(vec![Record::new(&self.topic, key, "").without_value()]);
    }

    fn send(&self, records: Vec<Record>) {
        assert_delivered(&RIG.java.produce(&self.options, &records));
    }
}

/// Whether the broker has these many entries and nothing else, but for what was written for the last starts.
fn is_clean(topic: &str, entries: usize) -> bool {
    let stored = RIG.java.read_to_end(&RIG.direct(), &From::partitions(topic, 1));
    let (tombstones, kept): (Vec<_>, Vec<_>) = stored.into_iter().partition(|record| record.value.is_none());
    let distinct: BTreeSet<_> = kept.iter().map(|record| &record.key).collect();
    let of_what: BTreeSet<_> = tombstones.iter().map(|record| &record.key).collect();
    // Those of all starts have the same key.
    kept.len() == entries && distinct.len() == entries && of_what.len() == 1
}

/// Which the cleaner takes up at once.
fn compacted(prefix: &str) -> String {
    let name = unique(prefix);
    RIG.create(&Topic {
        name: &name,
        partitions: 1,
        replicas: 1,
        configs: &[
            ("cleanup.policy", "compact"),
            ("segment.ms", "50"),
            ("min.cleanable.dirty.ratio", "0.01"),
            ("delete.retention.ms", "50"),
        ],
    });
    name
}

fn schema_key(subject: u32, version: u32) -> String {
    json!({"keytype": "SCHEMA", "subject": format!("{KEY}-{subject}"), "version": version}).to_string()
}

fn level_key(subject: u32) -> String {
    json!({"keytype": "CONFIG", "subject": format!("{KEY}-{subject}")}).to_string()
}

fn count(subjects: u32) -> usize {
    usize::try_from(subjects).expect("a few")
}

/// What is written at a start.
const NOTHING: &str = r#"{"keytype":"NOOP","magic":0}"#;
/// In every other key.
const KEY: &str = "key-d41a";
/// In every value.
const VALUE: &str = "value-77f5";
const SUBJECTS: u32 = 20;
const LIMIT: Duration = Duration::from_secs(60);
