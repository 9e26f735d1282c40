//! Pipelining, order, and that it makes no difference how the bytes are cut.

use bytes::Bytes;
use kafka_protocol::messages::RequestHeader;
use kafka_protocol::protocol::Decodable;
use sealwire::metrics::CloseReason;

use crate::rig::{Halt, PAYMENTS, Rig, batch, sealed};
use crate::wire::{
    api_versions_request, correlation_ids, delivered, fetch_request, fetch_response, fetched, frames,
    metadata_request, metadata_response, only_frame, passed_on, prefixed, produce, stored, to_produce,
};

/// A ListOffsets frame of `bytes` bytes: streamed in both directions.
pub(crate) fn streamed(correlation_id: i32, bytes: usize) -> Vec<u8> {
    let mut frame = vec![0, 2, 0, 7];
    frame.extend(correlation_id.to_be_bytes());
    frame.resize(bytes, 0x5a);
    prefixed(&frame)
}

/// The answer to it.
pub(crate) fn streamed_answer(correlation_id: i32, bytes: usize) -> Vec<u8> {
    let mut frame = correlation_id.to_be_bytes().to_vec();
    frame.resize(bytes, 0xa5);
    prefixed(&frame)
}

#[test]
fn answers_go_out_in_the_order_of_their_requests_the_proxys_own_among_them() {
    let mut rig = Rig::with_keys();
    let records = batch(&["value"]);
    let requests = [
        api_versions_request(99, 1),
        streamed(2, 40),
        api_versions_request(99, 3),
        produce(9, 4, -1, &[to_produce("unknown", 0, &records)]),
        api_versions_request(99, 5),
        fetch_request(11, 6),
        api_versions_request(99, 7),
    ];
    assert_eq!(rig.client_sends(&requests.concat()), Ok(Halt::More));
    let reached: Vec<i16> = frames(&rig.at_broker())
        .iter()
        .map(|frame| i16::from_be_bytes(*frame.first_chunk().unwrap()))
        .collect();
    assert_eq!(
        reached,
        [2, 0, 1],
        "what the proxy answers never reaches the broker"
    );

    assert!(rig.session.answers_itself());
    assert_eq!(rig.broker_sends(&[]), Ok(Halt::More));
    assert_eq!(correlation_ids(&rig.at_client()), [1], "2 is not answered yet");
    let produced = produce(9, 4, -1, &[]);
    let answers = [
        streamed_answer(2, 70),
        stored(9, 4, &produced[4..]),
        fetch_response(11, 6, &[fetched("pass-a", 0, b"records")]),
    ];
    assert_eq!(rig.broker_sends(&answers.concat()), Ok(Halt::More));
    assert_eq!(correlation_ids(&rig.at_client()), [2, 3, 4, 5, 6, 7]);
    assert!(rig.session.is_quiet());
    assert_eq!(rig.pipeline.metrics.gauges.requests_in_flight, 0);
}

/// SESSION-2.
#[test]
fn an_api_versions_request_that_is_too_new_is_told_what_to_try_instead() {
    let mut rig = Rig::new();
    assert_eq!(rig.client_sends(&api_versions_request(6, -2)), Ok(Halt::More));
    assert_eq!(rig.broker_sends(&[]), Ok(Halt::More));
    let answer = only_frame(&rig.at_client());
    let expected = [0xff, 0xff, 0xff, 0xfe, 0, 35, 0, 0, 0, 1, 0, 18, 0, 0, 0, 5];
    assert_eq!(answer, expected);
    assert_eq!(rig.client_sends(&api_versions_request(5, 1)), Ok(Halt::More));
    assert_eq!(
        rig.at_broker(),
        passed_on(&api_versions_request(5, 1)),
        "the newest one is the broker's to answer"
    );
    assert_eq!(
        rig.client_sends(&api_versions_request(-1, 1)),
        Err(CloseReason::VersionOutsideRange)
    );
}

/// SESSION-5
#[test]
fn an_api_versions_request_says_where_it_has_been_and_does_not_come_back() {
    let mut rig = Rig::new();
    rig.pipeline.identity = [7; 16];
    let sent = api_versions_request(4, 1);
    // In two pieces: it is held until it is whole.
    assert_eq!(rig.client_sends(&sent[..20]), Ok(Halt::More));
    assert!(rig.at_broker().is_empty());
    assert_eq!(rig.client_sends(&sent[20..]), Ok(Halt::More));
    let onward = rig.at_broker();
    let mut frame = Bytes::copy_from_slice(&onward[4..]);
    let header = RequestHeader::decode(&mut frame, 2).unwrap();
    let said: Vec<_> = header.unknown_tagged_fields.into_iter().collect();
    assert_eq!(said, [(0x5ea1, Bytes::from_static(&[7; 16]))]);
    assert_eq!(
        frame,
        sent[sent.len() - frame.len()..],
        "the body is the client's"
    );
    let mut other = Rig::new();
    assert_eq!(other.client_sends(&onward), Ok(Halt::More));
    let onward = other.at_broker();
    for rig in [&mut Rig::new(), &mut other] {
        assert_eq!(rig.client_sends(&onward), Err(CloseReason::Loop));
        assert!(rig.at_broker().is_empty());
    }
    let mut back = Rig::new();
    back.pipeline.identity = [7; 16];
    assert_eq!(back.client_sends(&onward), Err(CloseReason::Loop));
    // Nor does one that has passed more proxies than anybody chains, or whose way cannot be read.
    let mut frame = onward;
    for place in 2..9 {
        let mut next = Rig::new();
        next.pipeline.identity = [100 + place; 16];
        let expected = if place < 8 {
            Ok(Halt::More)
        } else {
            Err(CloseReason::TooManyProxies)
        };
        assert_eq!(next.client_sends(&frame), expected, "{place}");
        frame = if place < 8 { next.at_broker() } else { frame };
    }
    let mut rig = Rig::new();
    let unreadable = [&[0, 0, 0, 11, 0, 18, 0, 3, 0, 0, 0, 1, 0, 0][..], &[99]].concat();
    assert_eq!(rig.client_sends(&unreadable), Err(CloseReason::MalformedFrame));
    assert!(rig.at_broker().is_empty());
    // An old version has no place for it, and goes on as it is.
    let old = api_versions_request(2, 1);
    assert_eq!(Rig::new().client_sends(&old), Ok(Halt::More));
}

#[test]
fn api_versions_answers_are_cut_down() {
    let mut rig = Rig::new();
    rig.client_sends(&api_versions_request(0, 7)).unwrap();
    // Produce 0-13, Fetch 4-18, ShareFetch 1-2.
    let body = [
        0, 0, 0, 7, 0, 0, 0, 0, 0, 3, 0, 0, 0, 0, 0, 13, 0, 1, 0, 4, 0, 18, 0, 78, 0, 1, 0, 2,
    ];
    assert_eq!(rig.broker_sends(&prefixed(&body)), Ok(Halt::More));
    let expected = [0, 0, 0, 7, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 12, 0, 1, 0, 4, 0, 12];
    assert_eq!(only_frame(&rig.at_client()), expected);
}

#[test]
fn correlation_ids_may_repeat_and_answers_are_matched_by_their_place() {
    let mut rig = Rig::with_keys();
    let clear = batch(&["value"]);
    let stored = sealed(&clear, &PAYMENTS, "sealed-a");
    let requests = [streamed(1, 20), fetch_request(11, 1), streamed(1, 20)].concat();
    assert_eq!(rig.client_sends(&requests), Ok(Halt::More));
    let answers = [
        streamed_answer(1, 30),
        fetch_response(11, 1, &[fetched("sealed-a", 0, &stored)]),
        streamed_answer(1, 31),
    ];
    assert_eq!(rig.broker_sends(&answers.concat()), Ok(Halt::More));
    let answered = frames(&rig.at_client());
    assert_eq!(prefixed(&answered[0]), answers[0]);
    assert_eq!(delivered(&answered[1], 11), [fetched("sealed-a", 0, &clear)]);
    assert_eq!(prefixed(&answered[2]), answers[2]);
}

#[test]
fn an_answer_to_nothing_or_to_something_else_closes_and_what_came_before_it_arrives() {
    let mut rig = Rig::new();
    assert_eq!(
        rig.broker_sends(&streamed_answer(1, 30)),
        Err(CloseReason::UnexpectedResponse)
    );
    let mut rig = Rig::new();
    rig.client_sends(&[streamed(1, 20), streamed(2, 20)].concat())
        .unwrap();
    let good = streamed_answer(1, 30);
    assert_eq!(
        rig.broker_sends(&[good.clone(), streamed_answer(3, 30)].concat()),
        Err(CloseReason::UnexpectedResponse)
    );
    assert_eq!(rig.at_client(), good);
}

#[test]
fn good_requests_in_front_of_a_bad_one_reach_the_broker() {
    let mut rig = Rig::new();
    let good = [streamed(1, 20), metadata_request(2)].concat();
    let mut bad = streamed(3, 20);
    bad[5] = 99;
    assert_eq!(
        rig.client_sends(&[good.clone(), bad].concat()),
        Err(CloseReason::DeniedApi)
    );
    assert_eq!(rig.at_broker(), good);
}

/// Feeds a whole conversation in pieces of `piece` bytes; says what came out on either side.
fn converse(piece: usize, requests: &[u8], responses: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let mut rig = Rig::with_keys();
    for piece in requests.chunks(piece) {
        assert_eq!(rig.client_sends(piece), Ok(Halt::More));
    }
    for piece in responses.chunks(piece) {
        assert_eq!(rig.broker_sends(piece), Ok(Halt::More));
    }
    assert!(rig.session.is_quiet());
    (rig.at_broker(), rig.at_client())
}

#[test]
fn it_makes_no_difference_how_the_bytes_are_cut() {
    let clear = batch(&["value", "more"]);
    let stored_batch = sealed(&clear, &PAYMENTS, "sealed-a");
    let produced = produce(
        9,
        4,
        -1,
        &[to_produce("pass-a", 0, b"open"), to_produce("unknown", 0, &clear)],
    );
    let kept = produce(9, 4, -1, &[to_produce("pass-a", 0, b"open")]);
    let requests = [
        api_versions_request(99, 1),
        streamed(2, 300),
        metadata_request(3),
        produced,
        fetch_request(12, 5),
        streamed(6, 8),
        api_versions_request(99, 7),
    ]
    .concat();
    let responses = [
        streamed_answer(2, 4),
        metadata_response(3, &[(7, "unserved", 1)]),
        stored(9, 4, &kept[4..]),
        fetch_response(
            12,
            5,
            &[
                fetched(
                    "sealed-a",
                    0,
                    &[stored_batch.as_slice(), &stored_batch[..30]].concat(),
                ),
                fetched("unknown", 0, &clear),
            ],
        ),
        streamed_answer(6, 500),
    ]
    .concat();
    let whole = converse(usize::MAX, &requests, &responses);
    assert_eq!(correlation_ids(&whole.1), [1, 2, 3, 4, 5, 6, 7]);
    for piece in 1..40 {
        assert_eq!(
            converse(piece, &requests, &responses),
            whole,
            "{piece} bytes at a time"
        );
    }
}

/// SESSION-4.
#[test]
fn a_drain_takes_what_was_read_to_the_end_of_its_last_frame() {
    let mut rig = Rig::new();
    let requests = [streamed(1, 20), streamed(2, 20), streamed(3, 20)].concat();
    rig.session.drain(30);
    let halted = rig.client_sends(&requests);
    assert!(matches!(halted, Ok(Halt::Blocked(_))), "{halted:?}");
    assert_eq!(rig.at_broker(), [streamed(1, 20), streamed(2, 20)].concat());
    assert!(!rig.session.takes_requests());
    let answers = [streamed_answer(1, 30), streamed_answer(2, 30)].concat();
    assert_eq!(rig.broker_sends(&answers), Ok(Halt::More));
    assert_eq!(rig.at_client(), answers);
    assert!(rig.session.is_quiet());
}

#[test]
fn a_connection_that_ends_leaves_nothing_counted_as_in_flight() {
    let mut rig = Rig::with_keys();
    let requests = [streamed(1, 20), fetch_request(11, 2), api_versions_request(99, 3)].concat();
    rig.client_sends(&requests).unwrap();
    assert_eq!(rig.pipeline.metrics.gauges.requests_in_flight, 3);
    rig.broker_sends(&streamed_answer(1, 30)).unwrap();
    assert_eq!(rig.pipeline.metrics.gauges.requests_in_flight, 2);
    rig.session.abandon(&mut rig.pipeline);
    assert_eq!(rig.pipeline.metrics.gauges.requests_in_flight, 0);
}
