//! Requests of the proxy's own among the client's: in whatever company they are, each answer finds whom it is for.

use sealwire::config::Limits;
use sealwire::metrics::CloseReason;
use sealwire::pipeline::Wait;

use crate::place::{ANSWER_WAIT, NODE, at_node, here, tell, withheld};
use crate::rig::{Halt, PAYMENTS, Rig, batch};
use crate::wire::{
    api_versions_request, correlation_ids, fetch_request, fetch_response, frames, own_answer, passed_on,
    prefixed, produce, to_produce,
};

const HERE: [(i32, &str, i32); 1] = [(NODE, "kafka-2", 9092)];

/// OWN-1: what needs no answer takes no place in the order.
#[test]
fn a_produce_request_without_acknowledgement_goes_behind_ours_and_is_not_waited_for() {
    let mut rig = at_node();
    let records = batch(&["value"]);
    let silent = produce(9, 1, 0, &[to_produce("pass-a", 0, &records)]);
    let fetches = [fetch_request(11, 2), fetch_request(11, 3)];
    let id = withheld(&mut rig, &[silent.as_slice(), &fetches.concat()].concat());
    tell(&mut rig, &own_answer(id, &HERE));
    assert_eq!(rig.client_sends(&[]), Ok(Halt::More));
    assert_eq!(rig.at_broker(), [silent, fetches.concat()].concat());
    rig.broker_sends(&[fetch_response(11, 2, &[]), fetch_response(11, 3, &[])].concat())
        .unwrap();
    assert_eq!(correlation_ids(&rig.at_client()), [2, 3]);
    assert!(rig.session.is_quiet());
}

/// OWN-1: what brokers take before a login, or answer by heart, may stand in front of ours, however much of it there
/// is; OWN-4: it leaves no room among the client's requests, and ours needs none.
#[test]
fn the_bound_of_requests_in_flight_is_the_clients() {
    let limits = Limits {
        in_flight_requests_max: 2,
        ..Limits::default()
    };
    let mut rig = Rig::stranger(limits, Some((NODE, here())));
    let before = [api_versions_request(3, 1), api_versions_request(3, 2)];
    let until = rig.now + ANSWER_WAIT;
    let sent = [before.concat(), fetch_request(11, 3)].concat();
    assert_eq!(rig.client_sends(&sent), Ok(Halt::Blocked(Wait::Answer(until))));
    let reached = frames(&rig.at_broker());
    assert_eq!(reached.len(), 3, "both, and ours");
    let passed = [passed_on(&before[0]), passed_on(&before[1])].concat();
    assert_eq!(reached[..2], frames(&passed));
}

/// OWN-1: behind a request that the broker may take minutes for ours would be late without its fault.
#[test]
fn ours_waits_for_what_the_broker_may_hold() {
    let mut rig = Rig::stranger(Limits::default(), None);
    rig.give_sealing(&PAYMENTS);
    let polling = fetch_request(11, 1);
    assert_eq!(rig.client_sends(&polling), Ok(Halt::More));
    assert_eq!(rig.at_broker(), polling);
    let records = batch(&["value"]);
    let sealed = produce(9, 2, -1, &[to_produce("sealed-a", 0, &records)]);
    assert_eq!(rig.client_sends(&sealed), Ok(Halt::Blocked(Wait::Room)));
    assert_eq!(rig.at_broker(), b"");
    rig.pass_time(ANSWER_WAIT * 10);
    assert_eq!(rig.client_sends(&[]), Ok(Halt::Blocked(Wait::Room)), "not late");
}

/// OWN-2, SESSION-4: a drain takes the answer, and then what was read of the client's before it began.
#[test]
fn a_drain_ends_with_ours_answered_and_the_clients_behind_it() {
    let fetch = fetch_request(11, 7);
    let mut rig = at_node();
    let id = withheld(&mut rig, &[fetch.as_slice(), &fetch].concat());
    rig.session.drain(fetch.len());
    assert!(!rig.session.is_quiet() && rig.session.takes_requests());
    tell(&mut rig, &own_answer(id, &HERE));
    assert_eq!(rig.client_sends(&[]), Ok(Halt::Blocked(Wait::Room)));
    assert_eq!(rig.at_broker(), fetch, "one was read when the drain began");
    assert!(!rig.session.takes_requests());
    rig.broker_sends(&fetch_response(11, 7, &[])).unwrap();
    assert!(rig.session.is_quiet());
}

/// OWN-1: nothing is asked on a connection that is going to end.
#[test]
fn a_connection_that_ends_asks_nothing_more() {
    let mut rig = at_node();
    rig.session.drain(0);
    let halted = rig.client_sends(&fetch_request(11, 7));
    assert_eq!(halted, Ok(Halt::Blocked(Wait::Room)));
    assert_eq!(rig.at_broker(), b"");
    assert!(rig.session.is_quiet());
}

/// OWN-3.
#[test]
fn an_answer_to_ours_that_is_not_understood_closes_and_reaches_nobody() {
    for body in [&[0x7f, 0xff, 0xff, 0xff][..], &[0, 0, 0, 1, 0, 0], b""] {
        let mut rig = at_node();
        let id = withheld(&mut rig, &fetch_request(11, 7));
        let answer = prefixed(&[&id.to_be_bytes()[..], body].concat());
        assert_eq!(
            rig.broker_sends(&answer),
            Err(CloseReason::MalformedFrame),
            "{body:?}"
        );
        assert_eq!(rig.at_client(), b"");
        assert_eq!(
            rig.client_sends(&[]),
            Ok(Halt::Blocked(Wait::Answer(rig.now + ANSWER_WAIT)))
        );
        assert_eq!(rig.at_broker(), b"");
    }
}

/// FLIGHT-1: the answer in ours's place is ours, and has to say so.
#[test]
fn an_answer_in_the_place_of_ours_with_another_number_closes() {
    let mut rig = at_node();
    let id = withheld(&mut rig, &fetch_request(11, 7));
    let answer = own_answer(id.wrapping_add(1), &HERE);
    assert_eq!(rig.broker_sends(&answer), Err(CloseReason::UnexpectedResponse));
}
