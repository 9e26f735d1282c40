//! What is noticed of logins that fail: what the log says of them, and which of them count.

use std::time::Duration;

use kafka_protocol::messages::SaslAuthenticateRequest;
use sealwire::testing::tokens::{SigningKey, key_set};
use sealwire::testing::{HttpsServer, Published};
use serde_json::json;

use super::super::Side;
use super::{Door, PASSWORD, TokenDoor, authenticate, choice, handshake};
use crate::support::shared;
use crate::support::skipped;
use crate::support::wait;

/// What the log says for whoever has to find out: whose login has failed, and what is not let through.
#[test]
fn the_log_names_whose_login_it_was_and_what_was_asked_for() {
    let Some(mut door) = Door::open(Side::Tls, "mechanisms = [\"PLAIN\"]") else {
        return skipped::there_is_no_proxy();
    };
    let [mut wrong, mut newer] = [door.connect(), door.connect()];
    for (client, password, code) in [(&mut wrong, "wrong", 58), (&mut newer, PASSWORD, 0)] {
        assert_eq!(handshake(client, "PLAIN"), 0);
        assert_eq!(authenticate(client, password).0, code);
    }
    let metadata = [&[0, 3, 0, 99, 0, 0, 0, 7, 0xff, 0xff, 0][..], &[0; 20]].concat();
    newer.send_frame(&metadata);
    assert_eq!(newer.receive_frame_if_any(), None);
    let output = wait::until("both lines", Duration::from_secs(10), || {
        let output = door.proxy.output();
        let is_told = ["a client could not log in", "version_outside_range"];
        is_told.iter().all(|what| output.contains(what)).then_some(output)
    });
    for told in [
        r#"claimed="User:alice=a,b \\xc3\\xbc""#,
        "version 99 of API 3 (Metadata)",
    ] {
        assert!(output.contains(told), "{told}: {output}");
    }
    door.proxy.terminate();
}

/// UNKNOWN-KEYS-2: whoever makes up keys is stopped, and not who comes with a new one before it is known.
#[test]
fn an_address_may_name_so_many_keys_that_nobody_knows() {
    let key = SigningKey::rsa("first");
    let issuer = HttpsServer::start(Published::Text(key_set([&key])));
    let Some(mut tokens) = TokenDoor::at_issuer(&issuer, key) else {
        return skipped::there_is_no_proxy();
    };
    tokens.door.restart(&["limits.failed_logins_per_address_max=3"]);
    wait::until("the set", Duration::from_secs(30), || {
        let options = tokens.options(&tokens.key, "known", 600);
        shared::librdkafka()
            .try_reach(&options, Duration::from_secs(5))
            .ok()
    });
    issuer.publish(Published::Silence);
    let name = |id: &str| {
        let mut client = tokens.door.connect();
        if client.ask_if_any(1, &choice("OAUTHBEARER")).is_some() {
            let token = SigningKey::ec(id).token(&json!({}));
            let message = format!("n,,\u{1}auth=Bearer {token}\u{1}\u{1}");
            let request = SaslAuthenticateRequest::default().with_auth_bytes(message.into());
            assert_eq!(client.ask_if_any(1, &request), None);
        }
    };
    let closed = |reason: &str| {
        let reason = format!("reason=\"{reason}\"");
        tokens
            .door
            .proxy
            .metric("sealwire_connections_closed_total", &[&reason])
    };
    for id in ["new", "new", "new", "new", "new", "made-up-1", "made-up-2"] {
        assert_eq!(closed("login_limit"), 0.0, "{id}");
        name(id);
    }
    name("new");
    assert_eq!((closed("login_limit"), closed("login_unavailable")), (1.0, 7.0));
    tokens.door.proxy.terminate();
}
