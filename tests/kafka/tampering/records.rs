//! Records that were altered, moved or injected whole.

use super::{CORRUPT, Target, assert_altered_is_corrupt, assert_corrupt};
use crate::support::records::Record;

#[test]
fn value_of_another_record() {
    assert_altered_is_corrupt("sealed-pasted", |target, record| {
        record.value = target.stored[1].value.clone();
    });
}

#[test]
fn seal_of_another_record() {
    assert_altered_is_corrupt("sealed-seal", |target, record| {
        record.headers = target.stored[1].headers.clone();
    });
}

#[test]
fn under_another_key() {
    assert_altered_is_corrupt("sealed-key", |target, record| {
        record.key = target.stored[1].key.clone();
    });
}

#[test]
fn without_its_key() {
    assert_corrupt("sealed-no-key", |target| target.stolen().without_key());
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

#[test]
fn null_for_empty() {
    assert_corrupt("sealed-null", |target| {
        target.stored[2].again(&target.topic).without_value()
    });
}

#[test]
fn empty_for_null() {
    assert_corrupt("sealed-empty", |target| {
        let mut record = target.stored[3].again(&target.topic);
        record.value = Some("".into());
        record
    });
}

#[test]
fn free_value_altered() {
    assert_altered_is_corrupt("free-altered", |target, record| {
        record.value = target.stored[1].value.clone();
    });
}

#[test]
fn plaintext_injected() {
    assert_corrupt("sealed-injected", |target| {
        Record::new(&target.topic, "a", "never sealed")
            .header("h", "v")
            .partition(0)
    });
}

#[test]
fn unmarked_tombstone_injected() {
    assert_corrupt("sealed-tombstone", |target| {
        Record::new(&target.topic, "a", "").without_value().partition(0)
    });
}
