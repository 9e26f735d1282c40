//! SASL passes through untouched; only the exchange itself does before it has succeeded.

use sealwire::config::Limits;
use sealwire::metrics::CloseReason;
use sealwire::pipeline::Wait;

use crate::rig::{Halt, Rig};
use crate::wire::{
    api_versions_request, handshake_request, handshake_response, metadata_request, metadata_response,
    token_request, token_response,
};

/// A round of the exchange, in which nothing may be changed.
fn round(rig: &mut Rig, request: &[u8], response: &[u8]) {
    assert_eq!(rig.client_sends(request), Ok(Halt::More));
    assert_eq!(rig.at_broker(), request);
    assert_eq!(rig.broker_sends(response), Ok(Halt::More));
    assert_eq!(rig.at_client(), response);
}

fn handshaken() -> Rig {
    let mut rig = Rig::stranger(Limits::default(), None);
    round(&mut rig, &handshake_request(1), &handshake_response(1));
    rig
}

#[test]
fn a_login_of_several_rounds_goes_through_and_opens_the_rest() {
    let mut rig = handshaken();
    assert!(!rig.session.is_proven());
    round(&mut rig, &token_request(2, 100), &token_response(2, 0));
    round(&mut rig, &token_request(3, 100), &token_response(3, 0));
    assert!(rig.session.is_proven());
    assert_eq!(rig.client_sends(&metadata_request(4)), Ok(Halt::More));
    assert_eq!(
        rig.client_sends(&token_request(5, 100)),
        Err(CloseReason::DeniedApi),
        "the exchange is over"
    );
}

/// AUTH-1.
#[test]
fn before_success_nothing_but_the_exchange_passes() {
    let mut rig = handshaken();
    assert_eq!(
        rig.client_sends(&metadata_request(2)),
        Err(CloseReason::DeniedApi)
    );

    let mut rig = handshaken();
    round(&mut rig, &token_request(2, 100), &token_response(2, 58));
    assert!(!rig.session.is_proven());
    assert_eq!(
        rig.client_sends(&metadata_request(3)),
        Err(CloseReason::DeniedApi)
    );

    let mut rig = Rig::stranger(Limits::default(), None);
    assert_eq!(
        rig.client_sends(&token_request(1, 100)),
        Err(CloseReason::DeniedApi)
    );
}

/// AUTH-5
#[test]
fn what_comes_behind_a_token_waits_for_its_answer() {
    for (code, then) in [(0, Ok(Halt::More)), (58, Err(CloseReason::DeniedApi))] {
        let mut rig = handshaken();
        let (token, behind) = (token_request(2, 100), metadata_request(3));
        let pipelined = [&token[..], &behind].concat();
        assert_eq!(
            rig.client_sends(&pipelined),
            Ok(Halt::Blocked(Wait::Room)),
            "it is not let through on trust"
        );
        assert_eq!(rig.at_broker(), token);
        rig.broker_sends(&token_response(2, code)).unwrap();
        assert_eq!(rig.at_client(), token_response(2, code));
        assert_eq!(rig.client_sends(&[]), then);
        assert_eq!(rig.at_broker(), if code == 0 { behind } else { Vec::new() });
    }
    // Nothing waits behind a handshake: a broker wants a token next.
    let mut rig = Rig::stranger(Limits::default(), None);
    let pipelined = [handshake_request(1), metadata_request(2)].concat();
    assert_eq!(rig.client_sends(&pipelined), Err(CloseReason::DeniedApi));
}

/// AUTH-3.
#[test]
fn a_live_connection_may_log_in_again() {
    let mut rig = handshaken();
    round(&mut rig, &token_request(2, 100), &token_response(2, 0));
    assert_eq!(rig.client_sends(&metadata_request(3)), Ok(Halt::More));
    rig.at_broker();
    // The answer to the request before it is still on its way.
    assert_eq!(rig.client_sends(&handshake_request(4)), Ok(Halt::More));
    let answers = [metadata_response(3, &[]), handshake_response(4)].concat();
    assert_eq!(rig.broker_sends(&answers), Ok(Halt::More));
    rig.at_broker();
    rig.at_client();
    round(&mut rig, &token_request(5, 100), &token_response(5, 0));
    assert_eq!(rig.client_sends(&metadata_request(6)), Ok(Halt::More));
}

/// AUTH-2.
#[test]
fn a_token_may_have_as_many_bytes_as_a_broker_takes_and_not_more() {
    let empty = token_request(2, 0).len() - 4;
    // The length of 512 KiB takes two bytes more than that of nothing.
    let largest = 524_288 - empty - 2;
    let sent = token_request(2, largest);
    assert_eq!(sent.len() - 4, 524_288);
    let mut rig = handshaken();
    assert_eq!(rig.client_sends(&sent), Ok(Halt::More));
    let mut rig = handshaken();
    assert_eq!(
        rig.client_sends(&token_request(2, largest + 1)),
        Err(CloseReason::FrameTooLarge)
    );
}

#[test]
fn an_operator_may_allow_less() {
    let mut rig = Rig::stranger(Limits::default(), None);
    let sent = api_versions_request(3, 1);
    rig.pipeline.limits.unauthenticated_request_bytes_max = sent.len() - 4;
    assert_eq!(rig.client_sends(&sent), Ok(Halt::More));
    rig.pipeline.limits.unauthenticated_request_bytes_max -= 1;
    assert_eq!(rig.client_sends(&sent), Err(CloseReason::FrameTooLarge));
}
