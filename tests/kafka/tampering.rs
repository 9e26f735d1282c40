//! An attacker at the broker alters, moves and injects records: readers get nothing of it, and everything before it.

use std::sync::LazyLock;
use std::time::Duration;

mod headers;
mod records;
mod rules;
mod seals;
mod skipped_ends;

use crate::support::broker_properties::Login;
use crate::support::operations::From;
use crate::support::records::{Consumed, Header, Record, assert_delivered};
use crate::support::rig::Rig;
use crate::support::shared;
use crate::support::skipped;
use crate::support::stored_seal::StoredSeal;

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

    /// The first record as the broker holds it, to be altered.
    fn stolen(&self) -> Record {
        self.stored[0].again(&self.topic)
    }

    /// The same with this for its seal.
    fn stolen_with(&self, seal: StoredSeal) -> Record {
        let mut record = self.stolen();
        record.headers = vec![seal.header()];
        record
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

/// What is made of a topic's records is refused as corrupt.
#[track_caller]
fn assert_corrupt(prefix: &str, make: impl FnOnce(&Target) -> Record) {
    if let Some(target) = Target::prepare(prefix) {
        target.assert_refused(make(&target), CORRUPT);
    }
}

/// The same of the first record, altered.
#[track_caller]
fn assert_altered_is_corrupt(prefix: &str, alter: impl FnOnce(&Target, &mut Record)) {
    assert_corrupt(prefix, |target| {
        let mut record = target.stolen();
        alter(target, &mut record);
        record
    });
}

/// The control: what is refused below is not refused because it came from a client of the broker.
#[test]
fn replayed_whole_is_accepted() {
    let Some(target) = Target::prepare("sealed-replayed") else {
        return;
    };
    let replayed = target.stolen();
    target.assert_accepted(replayed, "the value of a", &target.sent[0].headers);
}
