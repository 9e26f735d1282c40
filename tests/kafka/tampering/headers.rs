//! The marker and the headers beside it, in each mode of protection.

use super::{RIG, Target, assert_altered_is_corrupt, assert_corrupt};
use crate::support::records::Record;
use crate::support::stored_seal::MARKER;

#[test]
fn marker_stripped() {
    assert_altered_is_corrupt("sealed-stripped", |_, record| {
        record.headers.retain(|header| header.0 != MARKER);
    });
}

#[test]
fn marker_doubled() {
    assert_altered_is_corrupt("sealed-doubled", |target, record| {
        record.headers.push(target.seal(0).header());
    });
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

/// Where headers are sealed, a header that stands beside the marker was added behind the proxy.
#[test]
fn header_added_beside_sealed_ones() {
    assert_corrupt("sealed-added", |target| target.stolen().header("added", "later"));
}

#[test]
fn bound_header_altered() {
    assert_altered_is_corrupt("bound-altered", |_, record| {
        let header = record.headers.iter_mut().find(|header| header.0 == "h");
        header.expect("a header").1 = Some("altered".into());
    });
}

#[test]
fn bound_header_added() {
    assert_corrupt("bound-added", |target| target.stolen().header("added", "later"));
}

#[test]
fn bound_headers_in_another_order() {
    assert_altered_is_corrupt("bound-order", |_, record| {
        let last = record.headers.len() - 1;
        record.headers.swap(last - 1, last);
    });
}

/// The marker is found wherever it stands.
#[test]
fn marker_behind_bound_headers_is_accepted() {
    let Some(target) = Target::prepare("bound-behind") else {
        return;
    };
    let mut record = target.stolen();
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
    let record = target.stolen().header("added", "later");
    let headers = [
        &target.sent[0].headers[..],
        &record.headers[record.headers.len() - 1..],
    ]
    .concat();
    target.assert_accepted(record, "the value of a", &headers);
}
