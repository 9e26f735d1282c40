//! What becomes of the addresses in responses.

use super::{HOST_BYTES_MAX, NOT_SERVED, Rewrite, rewrite, visit};
use crate::protocol::ProtocolError;
use crate::protocol::api_key::{FETCH, FIND_COORDINATOR};

/// A Fetch response of version 16 without topics, with the given tagged fields.
fn fetch_with_tags(tags: &[u8]) -> Vec<u8> {
    [&[0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9, 1], tags].concat()
}

/// Two node endpoints, 2 and 3, between two unknown fields.
const TAGS: &[u8] = &[
    3, //
    1, 1, 0xaa, // an unknown field
    0, 25, 3, // field 0: 25 bytes, two endpoints
    0, 0, 0, 2, 2, b'a', 0, 0, 0x23, 0x84, 0, 0, //
    0, 0, 0, 3, 2, b'b', 0, 0, 0x23, 0x85, 0, 0, //
    9, 1, 0xbb, // another
];

fn rewritten(frame: &[u8], served: &[i32]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut map = |node_id: i32| match served.contains(&node_id) {
        true => Rewrite::Replace {
            host: "proxy",
            port: 9193,
        },
        false => Rewrite::Unserved,
    };
    rewrite(FETCH, 16, frame, &mut map, &mut out).unwrap();
    out.split_off(4)
}

#[test]
fn endpoints_are_replaced_and_cut_and_the_field_shrinks() {
    let expected = [
        3, //
        1, 1, 0xaa, //
        0, 17, 2, //
        0, 0, 0, 3, 6, b'p', b'r', b'o', b'x', b'y', 0, 0, 0x23, 0xe9, 0, 0, //
        9, 1, 0xbb,
    ];
    assert_eq!(
        rewritten(&fetch_with_tags(TAGS), &[3]),
        fetch_with_tags(&expected)
    );
}

#[test]
fn the_field_goes_when_nothing_is_left_of_it() {
    let expected = [2, 1, 1, 0xaa, 9, 1, 0xbb];
    assert_eq!(rewritten(&fetch_with_tags(TAGS), &[]), fetch_with_tags(&expected));
}

#[test]
fn an_empty_field_stays() {
    let frame = fetch_with_tags(&[1, 0, 1, 1]);
    assert_eq!(rewritten(&frame, &[]), frame);
}

#[test]
fn a_field_that_lies_about_its_size_is_refused() {
    let mut none = |_: super::BrokerEndpoint<'_>| {};
    for size in [24, 26] {
        let mut tags = TAGS.to_vec();
        tags[5] = size;
        assert!(
            visit(FETCH, 16, &fetch_with_tags(&tags), &mut none).is_err(),
            "{size}"
        );
    }
    let twice = fetch_with_tags(&[2, 0, 1, 1, 0, 1, 1]);
    assert_eq!(
        visit(FETCH, 16, &twice, &mut none),
        Err(ProtocolError::DuplicateTag { at: 20 })
    );
}

/// ADDR-4
#[test]
fn a_host_is_a_name_or_an_address_and_bounded() {
    let longest = "h".repeat(HOST_BYTES_MAX);
    let good = [
        "kafka-1.example.com",
        "kafka_1",
        "10.0.0.1",
        "fe80::1%eth0",
        &longest,
    ];
    let too_long = "h".repeat(HOST_BYTES_MAX + 1);
    let bad = [
        "a b",
        "a\nb",
        "\u{1b}[2J",
        "caf\u{e9}",
        "a\u{202e}",
        "a=b",
        "a/b",
        "a\"",
        &too_long,
    ];
    for host in good.into_iter().chain(bad) {
        let mut frame = vec![0, 0, 0, 1, 0, 0, 0, 0, 0, 4];
        frame.extend((host.len() as u16).to_be_bytes());
        frame.extend(host.as_bytes());
        frame.extend([0, 0, 0x23, 0x84]);
        let mut seen = 0;
        let visited = visit(FIND_COORDINATOR, 0, &frame, &mut |_| seen += 1);
        if good.contains(&host) {
            assert_eq!((visited, seen), (Ok(()), 1), "{host}");
        } else {
            assert_eq!(visited, Err(ProtocolError::NotAHost { at: 12 }), "{host:?}");
        }
    }
}

#[test]
fn a_coordinator_that_is_not_served_is_told_as_a_policy_violation() {
    let rewritten = |version, frame: &[u8]| {
        let mut out = Vec::new();
        rewrite(
            FIND_COORDINATOR,
            version,
            frame,
            &mut |_| Rewrite::Unserved,
            &mut out,
        )
        .unwrap();
        out
    };
    let none = [0xff, 0xff, 0xff, 0xff, 0, 0, 0xff, 0xff, 0xff, 0xff];
    let frame = [0, 0, 0, 1, 0, 0, 0, 0, 0, 4, 0, 1, b'h', 0, 0, 0x23, 0x84];
    let expected = [&[0, 0, 0, 16, 0, 0, 0, 1, 0, 44][..], &none].concat();
    assert_eq!(rewritten(0, &frame), expected);
    // What the broker says itself stays.
    let mut failed = frame;
    failed[5] = 30;
    assert_eq!(rewritten(0, &failed)[8..10], [0, 30]);
    // Throttle time, error, and a message, which may be null.
    let address = &frame[6..];
    for message in [&[0xff, 0xff][..], &[0, 2, b'n', b'o']] {
        let frame = [&[0, 0, 0, 1, 0, 0, 0, 0, 0, 0][..], message, address].concat();
        let length = u8::try_from(NOT_SERVED.len()).unwrap();
        let told = [&[0, 44, 0, length], NOT_SERVED.as_bytes()].concat();
        let expected = [&[0, 0, 0, 1, 0, 0, 0, 0][..], &told, &none].concat();
        assert_eq!(rewritten(1, &frame)[4..], expected);
    }
}
