//! Seals of which a part was altered, or that another seal's part was put into.

use super::{CORRUPT, NOT_ALLOWED, RIG, Target, assert_corrupt};
use crate::support::broker_properties::Login;
use crate::support::operations::{From, Options};
use crate::support::records::{Bytes, Record, assert_delivered};
use crate::support::skipped;
use crate::support::stored_seal::StoredSeal;

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
    assert_corrupt("sealed-moved", |target| {
        let mut seal = target.seal(0);
        let mut value = target.stolen().value.expect("a value").0;
        value.append(&mut seal.hidden);
        let mut record = target.stolen_with(seal);
        record.value = Some(Bytes(value));
        record
    });
}

#[test]
fn end_of_the_value_moved_into_the_header_section() {
    assert_corrupt("sealed-shortened", |target| {
        let mut seal = target.seal(0);
        let mut value = target.stolen().value.expect("a value").0;
        let end = value.split_off(value.len() - 4);
        seal.hidden.splice(0..0, end);
        let mut record = target.stolen_with(seal);
        record.value = Some(Bytes(value));
        record
    });
}

/// `sealed` claimed to be `free`: the parts are authenticated.
#[test]
fn parts_altered() {
    assert_corrupt("bound-parts", |target| {
        let mut seal = target.seal(0);
        seal.parts = 0;
        target.stolen_with(seal)
    });
}

#[test]
fn unknown_format() {
    assert_corrupt("sealed-format", |target| {
        let mut seal = target.seal(0);
        seal.format = 2;
        target.stolen_with(seal)
    });
}

/// Corrupt like any record of which a byte was altered, and not a matter of permissions.
#[test]
fn wrapped_dek_altered() {
    assert_corrupt("sealed-altered-dek", |target| {
        let mut seal = target.seal(0);
        *seal.wrapped_dek.last_mut().expect("a wrapped key") ^= 1;
        target.stolen_with(seal)
    });
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
    target.assert_refused(target.stolen_with(seal), NOT_ALLOWED);
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
    target.assert_refused(target.stolen_with(seal), CORRUPT);
}
