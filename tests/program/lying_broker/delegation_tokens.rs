//! A broker that makes tokens, and does not take them.

use std::io::Write as _;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use kafka_protocol::messages::{CreateDelegationTokenRequest, CreateDelegationTokenResponse};

use super::upstream_login::Lie;
use super::*;

#[derive(Default)]
struct Maker {
    /// When a token was made.
    made: Mutex<Vec<Instant>>,
    /// When somebody was refused who came by one.
    refused: Mutex<Vec<Instant>>,
}

impl Maker {
    fn serve(&self, mut socket: TcpStream) {
        while let Some(request) = read_frame(&mut socket) {
            let (key, version, id) = head(&request);
            let answer = match key {
                ApiVersionsRequest::KEY => answer::<ApiVersionsRequest>(version, id, &everything()),
                SaslHandshakeRequest::KEY => {
                    answer::<SaslHandshakeRequest>(version, id, &SaslHandshakeResponse::default())
                }
                SaslAuthenticateRequest::KEY => {
                    let said = decoded::<SaslAuthenticateRequest>(request, version).auth_bytes;
                    let is_token = String::from_utf8_lossy(&said).ends_with("tokenauth=true");
                    let mut response = SaslAuthenticateResponse::default();
                    if is_token {
                        self.refused.lock().expect("no panic").push(Instant::now());
                        response.error_code = 58;
                    }
                    answer::<SaslAuthenticateRequest>(version, id, &response)
                }
                CreateDelegationTokenRequest::KEY => {
                    let request = decoded::<CreateDelegationTokenRequest>(request, version);
                    let owner = request.owner_principal_name.expect("for somebody");
                    assert_eq!((owner.as_str(), request.max_lifetime_ms), ("reader", 3_600_000));
                    self.made.lock().expect("no panic").push(Instant::now());
                    let response = CreateDelegationTokenResponse::default()
                        .with_token_id(StrBytes::from_static_str("a-token"))
                        .with_hmac(Bytes::from_static(b"hmac"))
                        .with_expiry_timestamp_ms(3_600_000);
                    answer::<CreateDelegationTokenRequest>(version, id, &response)
                }
                other => panic!("the proxy has asked for {other}"),
            };
            if socket.write_all(&answer).is_err() {
                return;
            }
        }
    }

    fn counts(&self) -> (usize, usize) {
        let count = |list: &Mutex<Vec<Instant>>| list.lock().expect("no panic").len();
        (count(&self.made), count(&self.refused))
    }
}

/// SERVE-BROKER-LOGIN-4, TOKENS-2, DELEGATION-3
#[test]
fn a_token_that_is_not_taken_is_tried_for_a_while_and_replaced_once() {
    let maker = Arc::<Maker>::default();
    let broker = Arc::clone(&maker);
    let brokers = start_broker(move |socket| broker.serve(socket));
    let keys = "kind = \"delegation_tokens\"\nmechanism = \"PLAIN\"\nuser = \"own\"\n\
        password = { file = FILE }\ntoken_lifetime = \"1h\"";
    let mut scene = Scene::before(brokers, Arc::default(), Some((keys, "hunter2")));
    for tokens in [1, 2] {
        let (_, before) = maker.counts();
        let (_client, told) = scene.try_to_log_in("reader", PASSWORD);
        assert!(told.is_none(), "clients try again: {told:?}");
        let (made, refused) = maker.counts();
        assert_eq!(made, tokens);
        assert!((5..=45).contains(&(refused - before)), "{refused} logins");
        let made = maker.made.lock().expect("no panic")[tokens - 1];
        let last = *maker.refused.lock().expect("no panic").last().expect("one");
        let settled = last - made;
        assert!(
            settled >= Duration::from_secs(9) && settled < Duration::from_secs(13),
            "{settled:?}"
        );
    }
    let counts = maker.counts();
    let (_client, told) = scene.try_to_log_in("reader", PASSWORD);
    assert_eq!(told.expect("an answer").error_code, 58);
    assert_eq!(maker.counts(), counts, "nobody is asked");
    let output = scene.proxy.output();
    assert!(output.contains("another token is made"), "{output}");
    for secret in ["hunter2", "aG1hYw"] {
        assert!(!output.contains(secret), "{output}");
    }
    scene.proxy.terminate();
}

/// STANDING-4
#[test]
fn a_broker_that_refuses_the_proxys_own_account_keeps_nobody_from_the_tokens_of_others() {
    let maker = Arc::<Maker>::default();
    let broker = Arc::clone(&maker);
    let makes = start_broker(move |socket| broker.serve(socket));
    let refuses = start_broker(|socket| Lie::Refusal.serve(socket));
    let keys = "kind = \"delegation_tokens\"\nmechanism = \"PLAIN\"\nuser = \"own\"\n\
        password = { file = FILE }\ntoken_lifetime = \"1h\"";
    let brokers = format!("{refuses},{makes}");
    let mut scene = Scene::before(brokers, Arc::default(), Some((keys, "hunter2")));
    // No broker takes the token, which is another matter.
    scene.try_to_log_in("reader", PASSWORD);
    assert_eq!(maker.counts().0, 1);
    scene.proxy.terminate();
}
