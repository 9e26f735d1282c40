//! An attacker at the broker alters, moves and injects records: readers get nothing of it, and everything before it.

use std::sync::LazyLock;
use std::time::Duration;

mod skipped_ends;
use crate::support::broker_properties::Login;
use crate::support::operations::{From, Options};
use crate::support::records::{Bytes, Consumed, Header, Record, assert_delivered};
use crate::support::rig::{RULES, Rig};
use crate::support::shared;
use crate::support::skipped;
use crate::support::stored_seal::{MARKER, StoredSeal};

static RIG: LazyLock<Rig> = LazyLock::new(|| Rig::assemble(shared::one_broker(), Login::Plaintext));

/// What a reader is told when a record does not verify.
const CORRUPT: &str = "corrupt message";
/// What a reader is told when the rule does not name the record's key.
const NOT_ALLOWED: &str = "TopicAuthorization";

/// A topic with records that were sent through the proxy, and what the broker holds of them.
struct Target {
    topic: String,
    sent: Vec<Record>,
    stored: Vec<Consumed>,
}

impl Target {
    /// `None` where no proxy seals: then there is nothing to tamper with, and the test is skipped.
    #[track_caller]
    fn prepare(prefix: &str) -> Option<Self> {
        let rig = &*RIG;
        if !rig.seals() {
            skipped::there_is_no_proxy();
            return None;
        }
        let topic = rig.topic(prefix, 2);
        let sent = vec![
            Record::new(&topic, "a", "the value of a")
                .header("h", "header of a")
                .header("i", "")
                .partition(0),
            Record::new(&topic, "b", "the value of b")
                .header("h", "header of b")
                .header("i", "")
                .partition(0),
            Record::new(&topic, "c", "")
                .header("h", "header of c")
                .partition(0),
            Record::new(&topic, "d", "")
                .without_value()
                .header("h", "header of d")
                .partition(0),
        ];
        assert_delivered(&rig.java.produce(&rig.options(), &sent));
        // The other partition, which must not suffer.
        let other = vec![Record::new(&topic, "other", "undisturbed").partition(1)];
        assert_delivered(&rig.java.produce(&rig.options(), &other));
        let stored = rig
            .java
            .consume(&rig.direct(), &From::partitions(&topic, 1), sent.len());
        assert_eq!(stored.len(), sent.len());
        Some(Target { topic, sent, stored })
    }

    fn seal(&self, index: usize) -> StoredSeal {
        StoredSeal::of(&self.stored[index].headers)
    }

    /// Puts the record into the broker's log behind the back of the proxy.
    fn inject(&self, record: &Record) {
        assert_delivered(&RIG.java.produce(&RIG.direct(), std::slice::from_ref(record)));
    }

    /// Injects the record; readers get all before it, then an error that says `refusal`, and never the record.
    fn assert_refused(&self, record: Record, refusal: &str) {
        self.inject(&record);
        let rig = &*RIG;
        let limit = Duration::from_secs(20);
        let (read, error) =
            rig.java
                .consume_until_error(&rig.options(), &From::partitions(&self.topic, 1), limit);
        let error = error.unwrap_or_else(|| panic!("no error for {record:?}; read: {read:?}"));
        assert!(
            error.to_lowercase().contains(&refusal.to_lowercase()),
            "{record:?}: {error}"
        );
        assert_eq!(read.len(), self.sent.len(), "what came before {record:?}");
        for (sent, read) in self.sent.iter().zip(&read) {
            assert_eq!(
                (&sent.key, &sent.value, &sent.headers),
                (&read.key, &read.value, &read.headers)
            );
        }
        let other = From::Partitions(vec![(self.topic.clone(), 1)]);
        let read = rig.java.consume(&rig.options(), &other, 1);
        assert_eq!(read[0].value, Some("undisturbed".into()));
    }

    /// Injects the record; readers get it with this value and these headers.
    fn assert_accepted(&self, record: Record, value: &str, headers: &[Header]) {
        self.inject(&record);
        let rig = &*RIG;
        let count = self.sent.len() + 1;
        let read = rig
            .java
            .consume(&rig.options(), &From::partitions(&self.topic, 1), count);
        let last = read.last().expect("records");
        assert_eq!(read.len(), count);
        assert_eq!((&last.key, &last.value), (&record.key, &Some(value.into())));
        assert_eq!(last.headers, headers);
    }
}

/// The control: what is refused below is not refused because it came from a client of the broker.
#[test]
fn replayed_whole_is_accepted() {
    let Some(target) = Target::prepare("sealed-replayed") else {
        return;
    };
    let replayed = target.stored[0].again(&target.topic);
    target.assert_accepted(replayed, "the value of a", &target.sent[0].headers);
}

#[test]
fn value_of_another_record() {
    let Some(target) = Target::prepare("sealed-pasted") else {
        return;
    };
    let mut record = target.stored[0].again(&target.topic);
    record.value = target.stored[1].value.clone();
    target.assert_refused(record, CORRUPT);
}

#[test]
fn seal_of_another_record() {
    let Some(target) = Target::prepare("sealed-seal") else {
        return;
    };
    let mut record = target.stored[0].again(&target.topic);
    record.headers = target.stored[1].headers.clone();
    target.assert_refused(record, CORRUPT);
}

#[test]
fn under_another_key() {
    let Some(target) = Target::prepare("sealed-key") else {
        return;
    };
    let mut record = target.stored[0].again(&target.topic);
    record.key = target.stored[1].key.clone();
    target.assert_refused(record, CORRUPT);
}

#[test]
fn without_its_key() {
    let Some(target) = Target::prepare("sealed-no-key") else {
        return;
    };
    target.assert_refused(target.stored[0].again(&target.topic).without_key(), CORRUPT);
}

#[test]
fn in_another_topic() {
    let Some(from) = Target::prepare("sealed-from") else {
        return;
    };
    let Some(target) = Target::prepare("sealed-to") else {
        return;
    };
    target.assert_refused(from.stored[0].again(&target.topic), CORRUPT);
}

/// The hint says only where to look: the tag decides.
#[test]
fn in_another_topic_with_its_hint() {
    let Some(from) = Target::prepare("sealed-from") else {
        return;
    };
    let Some(target) = Target::prepare("sealed-to") else {
        return;
    };
    let mut seal = from.seal(0);
    seal.domain_hint = target.seal(0).domain_hint;
    let mut record = from.stored[0].again(&target.topic);
    record.headers = vec![seal.header()];
    target.assert_refused(record, CORRUPT);
}

#[test]
fn header_section_moved_into_the_value() {
    let Some(target) = Target::prepare("sealed-moved") else {
        return;
    };
    let mut seal = target.seal(0);
    let mut record = target.stored[0].again(&target.topic);
    let mut value = record.value.take().unwrap_or_else(|| panic!("a value")).0;
    value.append(&mut seal.hidden);
    record.value = Some(Bytes(value));
    record.headers = vec![seal.header()];
    target.assert_refused(record, CORRUPT);
}

#[test]
fn end_of_the_value_moved_into_the_header_section() {
    let Some(target) = Target::prepare("sealed-shortened") else {
        return;
    };
    let mut seal = target.seal(0);
    let mut record = target.stored[0].again(&target.topic);
    let mut value = record.value.take().unwrap_or_else(|| panic!("a value")).0;
    let end = value.split_off(value.len() - 4);
    seal.hidden.splice(0..0, end);
    record.value = Some(Bytes(value));
    record.headers = vec![seal.header()];
    target.assert_refused(record, CORRUPT);
}

#[test]
fn null_for_empty() {
    let Some(target) = Target::prepare("sealed-null") else {
        return;
    };
    target.assert_refused(target.stored[2].again(&target.topic).without_value(), CORRUPT);
}

#[test]
fn empty_for_null() {
    let Some(target) = Target::prepare("sealed-empty") else {
        return;
    };
    let mut record = target.stored[3].again(&target.topic);
    record.value = Some("".into());
    target.assert_refused(record, CORRUPT);
}

#[test]
fn marker_stripped() {
    let Some(target) = Target::prepare("sealed-stripped") else {
        return;
    };
    let mut record = target.stored[0].again(&target.topic);
    record.headers.retain(|header| header.0 != MARKER);
    target.assert_refused(record, CORRUPT);
}

#[test]
fn marker_doubled() {
    let Some(target) = Target::prepare("sealed-doubled") else {
        return;
    };
    let mut record = target.stored[0].again(&target.topic);
    record.headers.push(target.seal(0).header());
    target.assert_refused(record, CORRUPT);
}

/// Where headers are sealed, a header that stands beside the marker was added behind the proxy.
#[test]
fn header_added_beside_sealed_ones() {
    let Some(target) = Target::prepare("sealed-added") else {
        return;
    };
    target.assert_refused(
        target.stored[0].again(&target.topic).header("added", "later"),
        CORRUPT,
    );
}

#[test]
fn bound_header_altered() {
    let Some(target) = Target::prepare("bound-altered") else {
        return;
    };
    let mut record = target.stored[0].again(&target.topic);
    let header = record
        .headers
        .iter_mut()
        .find(|header| header.0 == "h")
        .unwrap_or_else(|| panic!("a header"));
    header.1 = Some("altered".into());
    target.assert_refused(record, CORRUPT);
}

#[test]
fn bound_header_added() {
    let Some(target) = Target::prepare("bound-added") else {
        return;
    };
    target.assert_refused(
        target.stored[0].again(&target.topic).header("added", "later"),
        CORRUPT,
    );
}

#[test]
fn bound_headers_in_another_order() {
    let Some(target) = Target::prepare("bound-order") else {
        return;
    };
    let mut record = target.stored[0].again(&target.topic);
    let last = record.headers.len() - 1;
    record.headers.swap(last - 1, last);
    target.assert_refused(record, CORRUPT);
}

/// The marker is found wherever it stands.
#[test]
fn marker_behind_bound_headers_is_accepted() {
    let Some(target) = Target::prepare("bound-behind") else {
        return;
    };
    let mut record = target.stored[0].again(&target.topic);
    record.headers.rotate_left(1);
    assert_eq!(
        record.headers.last().map(|header| header.0.as_str()),
        Some(MARKER)
    );
    target.assert_accepted(record, "the value of a", &target.sent[0].headers);
}

/// Free headers are what tools may add behind the proxy.
#[test]
fn free_header_added_is_accepted() {
    let Some(target) = Target::prepare("free-added") else {
        return;
    };
    let record = target.stored[0].again(&target.topic).header("added", "later");
    let headers = [
        &target.sent[0].headers[..],
        &record.headers[record.headers.len() - 1..],
    ]
    .concat();
    target.assert_accepted(record, "the value of a", &headers);
}

#[test]
fn free_value_altered() {
    let Some(target) = Target::prepare("free-altered") else {
        return;
    };
    let mut record = target.stored[0].again(&target.topic);
    record.value = target.stored[1].value.clone();
    target.assert_refused(record, CORRUPT);
}

/// `sealed` claimed to be `free`: the parts are authenticated.
#[test]
fn parts_altered() {
    let Some(target) = Target::prepare("bound-parts") else {
        return;
    };
    let mut seal = target.seal(0);
    seal.parts = 0;
    let mut record = target.stored[0].again(&target.topic);
    record.headers = vec![seal.header()];
    target.assert_refused(record, CORRUPT);
}

#[test]
fn wrapped_dek_of_a_key_that_the_rule_does_not_name() {
    let Some(other) = Target::prepare("invoices-dek") else {
        return;
    };
    let Some(target) = Target::prepare("sealed-dek") else {
        return;
    };
    let mut seal = target.seal(0);
    seal.wrapped_dek = other.seal(0).wrapped_dek;
    let mut record = target.stored[0].again(&target.topic);
    record.headers = vec![seal.header()];
    target.assert_refused(record, NOT_ALLOWED);
}

/// A second instance has a data key of its own under the same KEK.
#[test]
fn wrapped_dek_of_another_instance() {
    let Some(target) = Target::prepare("sealed-instance") else {
        return;
    };
    let rig = &*RIG;
    let Some(mut second) = rig.another_proxy(Login::Plaintext) else {
        return skipped::there_is_no_proxy();
    };
    let topic = rig.topic("sealed-second", 1);
    let sent = vec![Record::new(&topic, "a", "from the second").partition(0)];
    assert_delivered(&rig.java.produce(&Options::at(second.bootstrap()), &sent));
    second.terminate();
    let stored = rig.java.consume(&rig.direct(), &From::partitions(&topic, 1), 1);
    let mut seal = target.seal(0);
    seal.wrapped_dek = StoredSeal::of(&stored[0].headers).wrapped_dek;
    assert_ne!(seal, target.seal(0), "each instance has a data key of its own");
    let mut record = target.stored[0].again(&target.topic);
    record.headers = vec![seal.header()];
    target.assert_refused(record, CORRUPT);
}

#[test]
fn plaintext_injected() {
    let Some(target) = Target::prepare("sealed-injected") else {
        return;
    };
    let record = Record::new(&target.topic, "a", "never sealed")
        .header("h", "v")
        .partition(0);
    target.assert_refused(record, CORRUPT);
}

#[test]
fn unmarked_tombstone_injected() {
    let Some(target) = Target::prepare("sealed-tombstone") else {
        return;
    };
    target.assert_refused(
        Record::new(&target.topic, "a", "").without_value().partition(0),
        CORRUPT,
    );
}

#[test]
fn unknown_format() {
    let Some(target) = Target::prepare("sealed-format") else {
        return;
    };
    let mut seal = target.seal(0);
    seal.format = 2;
    let mut record = target.stored[0].again(&target.topic);
    record.headers = vec![seal.header()];
    target.assert_refused(record, CORRUPT);
}

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
    let mut record = target.stored[0].again(&target.topic);
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
    let record = target.stored[0].again(&target.topic).header("injected", "later");
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

/// Corrupt like any record of which a byte was altered, and not a matter of permissions.
#[test]
fn wrapped_dek_altered() {
    let Some(target) = Target::prepare("sealed-altered-dek") else {
        return;
    };
    let mut seal = target.seal(0);
    *seal.wrapped_dek.last_mut().expect("a wrapped key") ^= 1;
    let mut record = target.stored[0].again(&target.topic);
    record.headers = vec![seal.header()];
    target.assert_refused(record, CORRUPT);
}

#[test]
fn unreadable_records_are_skipped_where_the_rule_says_so() {
    let Some(target) = Target::prepare("skipped-plain") else {
        return;
    };
    let injected = Record::new(&target.topic, "x", "never sealed").partition(0);
    target.inject(&injected);
    let rig = &*RIG;
    let after = vec![Record::new(&target.topic, "e", "after").partition(0)];
    assert_delivered(&rig.java.produce(&rig.options(), &after));
    let read = rig.java.consume(
        &rig.options(),
        &From::partitions(&target.topic, 1),
        target.sent.len() + 1,
    );
    let offsets: Vec<i64> = read.iter().map(|record| record.offset).collect();
    assert_eq!(offsets, [0, 1, 2, 3, 5]);
    assert_eq!(read[4].value, Some("after".into()));
}

#[test]
fn unreadable_records_are_nulled_where_the_rule_says_so() {
    let Some(target) = Target::prepare("nulled-plain") else {
        return;
    };
    let injected = Record::new(&target.topic, "x", "never sealed").partition(0);
    target.inject(&injected);
    let rig = &*RIG;
    let after = vec![Record::new(&target.topic, "e", "after").partition(0)];
    assert_delivered(&rig.java.produce(&rig.options(), &after));
    let read = rig.java.consume(
        &rig.options(),
        &From::partitions(&target.topic, 1),
        target.sent.len() + 2,
    );
    let offsets: Vec<i64> = read.iter().map(|record| record.offset).collect();
    assert_eq!(offsets, [0, 1, 2, 3, 4, 5]);
    assert_eq!((&read[4].key, &read[4].value), (&Some("x".into()), &None));
    assert_eq!(read[5].value, Some("after".into()));
}

/// A client's own header of the marker's name is refused when it is produced, and stored nowhere.
#[test]
fn client_sends_a_marker_of_its_own() {
    let Some(target) = Target::prepare("sealed-own") else {
        return;
    };
    let rig = &*RIG;
    let record = Record::new(&target.topic, "a", "value")
        .header(MARKER, "forged")
        .partition(0);
    let deliveries = rig.java.produce(&rig.options(), &[record]);
    let error = deliveries[0].error.as_deref().unwrap_or("delivered");
    assert!(error.contains("InvalidRecord"), "{error}");
    assert_eq!(rig.end_offsets(&target.topic, 1), [4]);
}
