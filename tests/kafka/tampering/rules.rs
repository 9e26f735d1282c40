//! What a rule lets past, and what it does not: forms that it accepts, what it says of the unreadable, and its having
//! been tightened.

use std::time::Duration;

use super::{CORRUPT, RIG, Target};
use crate::support::broker_properties::Login;
use crate::support::operations::{From, Options};
use crate::support::records::{Consumed, Header, Record, assert_delivered};
use crate::support::rig::RULES;
use crate::support::skipped;

/// While topics are migrated, a rule may accept what was never sealed; what claims to be sealed must still verify.
#[test]
fn accepted_plaintext_does_not_excuse_a_broken_seal() {
    let Some(target) = Target::prepare("migrating-broken") else {
        return;
    };
    let plain = Record::new(&target.topic, "p", "never sealed")
        .header("h", "v")
        .partition(0);
    target.assert_accepted(plain, "never sealed", &[Header("h".to_owned(), Some("v".into()))]);
    let mut record = target.stolen();
    record.value = target.stored[1].value.clone();
    target.inject(&record);
    let rig = &*RIG;
    let limit = Duration::from_secs(20);
    let (read, error) =
        rig.java
            .consume_until_error(&rig.options(), &From::partitions(&target.topic, 1), limit);
    assert_eq!(read.len(), target.sent.len() + 1, "{read:?}");
    assert!(error.is_some_and(|error| error.contains(CORRUPT)));
}

/// Nobody vouches for an accepted tombstone: it says which key, and nothing else.
#[test]
fn headers_of_an_accepted_tombstone_are_dropped() {
    let Some(target) = Target::prepare("nulled-tombstone") else {
        return;
    };
    let tombstone = Record::new(&target.topic, "a", "")
        .without_value()
        .header("injected", "by the broker")
        .partition(0);
    target.inject(&tombstone);
    let rig = &*RIG;
    let count = target.sent.len() + 1;
    let read = rig
        .java
        .consume(&rig.options(), &From::partitions(&target.topic, 1), count);
    let last = read.last().expect("records");
    assert_eq!((&last.key, &last.value), (&Some("a".into()), &None));
    assert_eq!(last.headers, []);
}

/// A record from before the rule was tightened, with a header that the broker has added.
#[test]
fn a_tightened_rule_binds_readers() {
    let Some(target) = Target::prepare("free-tightened") else {
        return;
    };
    let rig = &*RIG;
    let record = target.stolen().header("injected", "later");
    target.inject(&record);
    for (headers, readable) in [("", false), ("open_headers = \"free\"", true)] {
        let rules = RULES.replace("headers = \"free\"", headers);
        let Some(mut tightened) = rig.another_proxy_with(Login::Plaintext, &rules) else {
            return skipped::there_is_no_proxy();
        };
        let options = Options::at(tightened.bootstrap());
        let from = From::partitions(&target.topic, 1);
        if readable {
            let read = rig.java.consume(&options, &from, target.sent.len() + 1);
            assert_eq!(read.last().map(|last| last.headers.len()), Some(3), "{read:?}");
        } else {
            let limit = Duration::from_secs(20);
            let (read, error) = rig.java.consume_until_error(&options, &from, limit);
            assert!(read.is_empty(), "{read:?}");
            assert!(error.is_some_and(|error| error.contains(CORRUPT)));
        }
        tightened.terminate();
    }
}

#[test]
fn unreadable_records_are_skipped_where_the_rule_says_so() {
    if let Some(read) = read_past_an_unreadable_record("skipped-plain", &[0, 1, 2, 3, 5]) {
        assert_eq!(read[4].value, Some("after".into()));
    }
}

#[test]
fn unreadable_records_are_nulled_where_the_rule_says_so() {
    if let Some(read) = read_past_an_unreadable_record("nulled-plain", &[0, 1, 2, 3, 4, 5]) {
        assert_eq!((&read[4].key, &read[4].value), (&Some("x".into()), &None));
        assert_eq!(read[5].value, Some("after".into()));
    }
}

/// What readers get of a topic with one record that was never sealed, and one behind it: what stands at these offsets.
#[track_caller]
fn read_past_an_unreadable_record(prefix: &str, expected: &[i64]) -> Option<Vec<Consumed>> {
    let target = Target::prepare(prefix)?;
    target.inject(&Record::new(&target.topic, "x", "never sealed").partition(0));
    let rig = &*RIG;
    let after = vec![Record::new(&target.topic, "e", "after").partition(0)];
    assert_delivered(&rig.java.produce(&rig.options(), &after));
    let read = rig.java.consume(
        &rig.options(),
        &From::partitions(&target.topic, 1),
        expected.len(),
    );
    let offsets: Vec<i64> = read.iter().map(|record| record.offset).collect();
    assert_eq!(offsets, expected);
    Some(read)
}
