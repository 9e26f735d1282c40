//! Logins, message by message, at a broker that the tests play.

use zeroize::Zeroizing;

use super::*;
use crate::identity::sasl::credentials::Credentials;
use crate::identity::sasl::initiator::{Account, Proof};
use crate::identity::sasl::scram::{Challenge, ServerNonce};
use crate::identity::sasl::verifier::{ITERATIONS_MIN, Mechanism, Verifier};
use crate::protocol::frame::{LENGTH_PREFIX_BYTES, RequestHead};
use crate::protocol::sasl::{TokenAnswer, mechanism, token, write_answer, write_handshake};

fn secret() -> Account {
    Account::new("alice".to_owned(), Zeroizing::new("hunter2".to_owned()))
}

fn login(proof: Proof) -> BrokerLogin {
    BrokerLogin::new(&BrokerAccount::new(Credential::new(proof))).expect("something to say")
}

fn request(login: &BrokerLogin) -> (RequestHead, Vec<u8>) {
    let mut out = Vec::new();
    login.write(7, &mut out).expect("it is short");
    let frame = out.split_off(LENGTH_PREFIX_BYTES);
    let head = RequestHead::peek(&frame).expect("a head");
    assert_eq!(login.api(), (head.api_key, head.api_version));
    (head, frame)
}

fn agree(login: &mut BrokerLogin, name: &str) {
    let (head, frame) = request(login);
    assert_eq!(mechanism(&frame), Ok(name));
    let mut answer = Vec::new();
    write_handshake(head, 0, &[name], &mut answer).expect("written");
    let outcome = login.take(&answer[LENGTH_PREFIX_BYTES..]);
    assert!(matches!(outcome, Ok(Outcome::Ask)), "{outcome:?}");
}

fn say(login: &mut BrokerLogin, answer: TokenAnswer<'_>) -> Result<Outcome, LoginError> {
    let (head, _) = request(login);
    let mut out = Vec::new();
    write_answer(head, answer, &mut out).expect("written");
    login.take(&out[LENGTH_PREFIX_BYTES..])
}

#[test]
fn by_scram() {
    let mut credentials = Credentials::new().expect("randomness");
    let verifier = Verifier::new(Mechanism::Sha256, b"hunter2", ITERATIONS_MIN).expect("randomness");
    credentials
        .set("alice", Mechanism::Sha256, verifier)
        .expect("a name");
    let mut login = login(Proof::Scram(Mechanism::Sha256, secret(), None));
    agree(&mut login, "SCRAM-SHA-256");
    let (head, first) = request(&login);
    let first = token(&first, head.api_version).expect("a token").to_vec();
    let nonce = ServerNonce::new().expect("randomness");
    let challenge = Challenge::new(Mechanism::Sha256, &first, &credentials, &nonce).expect("a first message");
    let outcome = say(&mut login, TokenAnswer::Accepted(challenge.message(), None));
    assert!(matches!(outcome, Ok(Outcome::Hash)));
    assert!(
        matches!(login.resume(), Ok(Outcome::Hash)),
        "it is not hashed yet"
    );
    login.hashing("kafka-1:9092").expect("something to hash").run();
    assert!(matches!(login.resume(), Ok(Outcome::Ask)));
    let (head, last) = request(&login);
    let answer = challenge.finish(token(&last, head.api_version).expect("a token"));
    let answer = answer.expect("the password is right");
    let lifetime = Some(Duration::from_secs(9));
    match say(&mut login, TokenAnswer::Accepted(&answer, lifetime)) {
        Ok(Outcome::Done(told)) => assert_eq!(told, lifetime),
        other => panic!("{other:?}"),
    }
}

#[test]
fn by_plain() {
    let mut login = login(Proof::Plain(secret()));
    agree(&mut login, "PLAIN");
    let (head, said) = request(&login);
    assert_eq!(token(&said, head.api_version), Ok(&b"\0alice\0hunter2"[..]));
    let outcome = say(&mut login, TokenAnswer::Accepted(b"", None));
    assert!(matches!(outcome, Ok(Outcome::Done(None))));
}

#[test]
fn a_refused_token_is_refused_in_two_steps() {
    let mut login = login(Proof::Token(Zeroizing::new("x.y.z".to_owned())));
    agree(&mut login, "OAUTHBEARER");
    let outcome = say(
        &mut login,
        TokenAnswer::Accepted(b"{\"status\":\"invalid_token\"}", None),
    );
    assert!(matches!(outcome, Ok(Outcome::Ask)));
    let error = say(&mut login, TokenAnswer::Failed("{\"status\":\"invalid_token\"}"));
    let error = error.expect_err("it is refused");
    assert!(matches!(error, LoginError::Refused { code: 58, .. }), "{error}");
}

/// BROKER-LOGIN-1
#[test]
fn refusals_are_shown_escaped() {
    let mut plain = login(Proof::Plain(secret()));
    let (head, _) = request(&plain);
    let mut answer = Vec::new();
    write_handshake(head, 33, &["GSSAPI"], &mut answer).expect("written");
    let error = plain.take(&answer[LENGTH_PREFIX_BYTES..]).expect_err("refused");
    assert!(matches!(error, LoginError::Refused { code: 33, .. }), "{error}");
    assert!(!error.is_verdict(), "it is about the mechanism");

    let mut scram = login(Proof::Scram(Mechanism::Sha512, secret(), None));
    agree(&mut scram, "SCRAM-SHA-512");
    let text = format!("no\n\u{1b}[2J{}", "x".repeat(10_000));
    let error = say(&mut scram, TokenAnswer::Failed(&text)).expect_err("refused");
    let shown = error.to_string();
    assert!(error.is_verdict() && shown.contains("no\\n"), "{shown}");
    assert!(shown.len() < 512 && !shown.contains(['\n', '\u{1b}']), "{shown}");
    // Who was sent a password may say it.
    let mut plain = login(Proof::Plain(secret()));
    agree(&mut plain, "PLAIN");
    let error = say(&mut plain, TokenAnswer::Failed("hunter2 is wrong")).expect_err("refused");
    assert!(!error.to_string().contains("hunter2"), "{error}");
}

#[test]
fn answers_that_nobody_can_read_are_errors() {
    for answer in [&b""[..], &[0; 4], &[0; 6], &[0xff; 64]] {
        let mut login = login(Proof::Plain(secret()));
        assert!(login.take(answer).is_err());
        let mut login = self::login(Proof::Plain(secret()));
        agree(&mut login, "PLAIN");
        assert!(login.take(answer).is_err());
    }
}

/// For logs: nothing of what proves it.
#[test]
fn an_account_is_called_by_its_mechanism_and_user() {
    let token = Account::new("id\n".to_owned(), Zeroizing::new("hmac".to_owned()));
    let extension = Some("tokenauth=true");
    for (proof, shown) in [
        (Proof::Plain(secret()), "PLAIN alice"),
        (
            Proof::Scram(Mechanism::Sha512, secret(), None),
            "SCRAM-SHA-512 alice",
        ),
        (
            Proof::Scram(Mechanism::Sha256, token, extension),
            "SCRAM-SHA-256 id\\n",
        ),
        (Proof::Token(Zeroizing::new("eyJ0".to_owned())), "OAUTHBEARER"),
    ] {
        let account = BrokerAccount::new(Credential::new(proof));
        assert_eq!(account.name.to_string(), shown);
    }
}
