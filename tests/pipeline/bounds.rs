//! Every cap on frames and on what is in flight: at the limit it passes, one past it does not.

use sealwire::config::Limits;
use sealwire::metrics::{CloseReason, Direction};
use sealwire::pipeline::Wait;
use sealwire::protocol::policy::{Policy, ResponseHandling};

use crate::rig::{Halt, Rig, batch};
use crate::wire::{fetch_request, fetch_response, fetched, metadata_request, prefixed, produce, to_produce};

const LIST_OFFSETS: i16 = 2;

/// The first bytes of a request that announces `bytes` bytes.
fn announced(api_key: i16, version: i16, bytes: usize) -> Vec<u8> {
    let length = i32::try_from(bytes).unwrap();
    [
        &length.to_be_bytes()[..],
        &api_key.to_be_bytes(),
        &version.to_be_bytes(),
        &1i32.to_be_bytes(),
    ]
    .concat()
}

fn small_request() -> Vec<u8> {
    prefixed(&announced(LIST_OFFSETS, 7, 0)[4..])
}

#[test]
fn a_request_may_have_as_many_bytes_as_allowed() {
    for api_key in [LIST_OFFSETS, 0] {
        let bytes_max = Limits::default().request_bytes_max;
        let fits = Rig::new().client_sends(&announced(api_key, 7, bytes_max));
        assert_eq!(fits, Ok(Halt::More));
        let over = Rig::new().client_sends(&announced(api_key, 7, bytes_max + 1));
        assert_eq!(over, Err(CloseReason::FrameTooLarge));
    }
}

#[test]
fn an_answer_that_is_held_may_have_as_many_bytes_as_its_api_allows() {
    for policy in Policy::BY_NAME.apis() {
        let answer = |bytes: usize| {
            let mut rig = Rig::new();
            let request = announced(policy.key, policy.min, 8);
            let version = policy.min;
            let sent = match policy.key {
                0 => produce(version, 1, -1, &[to_produce("pass-a", 0, b"")]),
                // The exchange takes a token only behind a handshake.
                36 => {
                    rig.client_sends(&announced(17, 1, 8)).unwrap();
                    rig.broker_sends(&prefixed(&[0, 0, 0, 1, 0, 0])).unwrap();
                    request
                }
                _ => request,
            };
            assert_eq!(rig.client_sends(&sent), Ok(Halt::More), "{}", policy.name);
            let length = i32::try_from(bytes).unwrap();
            rig.broker_sends(&[length.to_be_bytes(), 1i32.to_be_bytes()].concat())
        };
        match policy.response {
            ResponseHandling::Stream => {
                assert_eq!(answer(i32::MAX as usize), Ok(Halt::More), "{}", policy.name);
            }
            ResponseHandling::Hold => {
                let bytes_max = if policy.key == 1 {
                    Limits::default().fetch_response_bytes_max
                } else {
                    policy.response_bytes_max
                };
                assert_eq!(answer(bytes_max), Ok(Halt::More), "{}", policy.name);
                assert_eq!(
                    answer(bytes_max + 1),
                    Err(CloseReason::FrameTooLarge),
                    "{}",
                    policy.name
                );
            }
        }
    }
}

#[test]
fn lengths_that_cannot_be_close() {
    for length in [-1, 0, 3, 7] {
        let mut request = announced(LIST_OFFSETS, 7, 8);
        request[..4].copy_from_slice(&i32::to_be_bytes(length));
        assert_eq!(
            Rig::new().client_sends(&request),
            Err(CloseReason::MalformedFrame),
            "{length}"
        );
        let mut rig = Rig::new();
        assert_eq!(
            rig.client_sends(&request[..4]),
            Err(CloseReason::MalformedFrame),
            "{length}: said with the first four bytes"
        );
    }
    assert_eq!(Rig::new().client_sends(&small_request()), Ok(Halt::More));
    for (length, fits) in [(-1i32, false), (3, false), (4, true)] {
        let mut rig = Rig::new();
        rig.client_sends(&small_request()).unwrap();
        let answer = [length.to_be_bytes(), 1i32.to_be_bytes()].concat();
        let expected = if fits {
            Ok(Halt::More)
        } else {
            Err(CloseReason::MalformedFrame)
        };
        assert_eq!(rig.broker_sends(&answer), expected, "{length}");
    }
}

/// SESSION-2.
#[test]
fn versions_and_apis_outside_the_table_close() {
    for policy in Policy::BY_NAME.apis() {
        let send = |version| Rig::new().client_sends(&announced(policy.key, version, 100));
        if policy.key != 36 {
            assert_eq!(send(policy.min), Ok(Halt::More), "{}", policy.name);
            assert_eq!(send(policy.max), Ok(Halt::More), "{}", policy.name);
        }
        assert_eq!(
            send(policy.min - 1),
            Err(CloseReason::VersionOutsideRange),
            "{}",
            policy.name
        );
        if policy.key != 18 {
            assert_eq!(
                send(policy.max + 1),
                Err(CloseReason::VersionOutsideRange),
                "{}",
                policy.name
            );
        }
    }
    for api_key in [-1, 4, 58, 78, 1000] {
        let sent = announced(api_key, 0, 100);
        assert_eq!(
            Rig::new().client_sends(&sent),
            Err(CloseReason::DeniedApi),
            "{api_key}"
        );
    }
}

#[test]
fn at_the_bound_of_requests_in_flight_no_more_is_taken_until_one_is_answered() {
    let limits = Limits {
        in_flight_requests_max: 3,
        ..Limits::default()
    };
    let mut rig = Rig::with(limits);
    let request = small_request();
    assert_eq!(
        rig.client_sends(&request.repeat(5)),
        Ok(Halt::Blocked(Wait::Room))
    );
    assert_eq!(rig.at_broker(), request.repeat(3));
    assert_eq!(rig.broker_sends(&prefixed(&[0, 0, 0, 1])), Ok(Halt::More));
    assert_eq!(rig.client_sends(&[]), Ok(Halt::Blocked(Wait::Room)));
    assert_eq!(rig.at_broker(), request);
    assert_eq!(rig.broker_sends(&prefixed(&[0, 0, 0, 1])), Ok(Halt::More));
    assert_eq!(rig.client_sends(&[]), Ok(Halt::More));
    assert_eq!(rig.at_broker(), request);
}

#[test]
fn bytes_in_flight_are_bounded_and_one_request_always_goes() {
    let request = small_request();
    let limits = Limits {
        in_flight_bytes_max: 2 * (request.len() - 4),
        ..Limits::default()
    };
    let mut rig = Rig::with(limits);
    assert_eq!(
        rig.client_sends(&request.repeat(3)),
        Ok(Halt::Blocked(Wait::Room))
    );
    assert_eq!(rig.at_broker(), request.repeat(2));

    let limits = Limits {
        in_flight_bytes_max: 1,
        ..Limits::default()
    };
    let mut rig = Rig::with(limits);
    let sent = [
        metadata_request(1),
        produce(9, 2, -1, &[to_produce("pass-a", 0, &batch(&["open"]))]),
    ];
    assert_eq!(rig.client_sends(&sent.concat()), Ok(Halt::Blocked(Wait::Room)));
    assert_eq!(rig.at_broker(), sent[0]);
}

/// SESSION-1.
#[test]
fn nothing_is_kept_for_a_length_that_is_only_announced() {
    let mut rig = Rig::new();
    let bytes_max = rig.pipeline.limits.request_bytes_max;
    rig.client_sends(&announced(0, 9, bytes_max)).unwrap();
    rig.client_sends(&[0; 100]).unwrap();
    assert_eq!(rig.at_broker(), b"");
    assert_eq!(rig.session.bytes_held(Direction::Request), 0);
    rig.session.abandon(&mut rig.pipeline);
}

#[test]
fn an_answer_that_cannot_be_parsed_closes() {
    let mut rig = Rig::new();
    rig.client_sends(&fetch_request(11, 1)).unwrap();
    let good = fetch_response(11, 1, &[fetched("sealed-a", 0, b"")]);
    let cut = prefixed(&good[4..good.len() - 1]);
    assert_eq!(rig.broker_sends(&cut), Err(CloseReason::MalformedFrame));
    assert_eq!(rig.at_client(), b"");
}
