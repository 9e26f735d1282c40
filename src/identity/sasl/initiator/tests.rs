//! Our own server at the other end, the RFC's example, and brokers that lie.

use proptest::prelude::*;

use super::scram::Opening;
use super::*;
use crate::identity::sasl::plain;
use crate::identity::sasl::scram::tests::credentials_of;
use crate::identity::sasl::scram::{Challenge, ServerNonce};
use crate::identity::sasl::verifier::{ITERATIONS_MAX, ITERATIONS_MIN, Mechanism};

fn account(user: &str, password: &str) -> Account {
    Account::new(user.to_owned(), Zeroizing::new(password.to_owned()))
}

fn scram(mechanism: Mechanism, user: &str, password: &str) -> Arc<Credential> {
    Arc::new(Credential::new(Proof::Scram(
        mechanism,
        account(user, password),
        None,
    )))
}

fn sent(next: Result<Next, Fault>) -> Message {
    match next {
        Ok(Next::Send(message)) => message,
        Ok(Next::Hash) => panic!("the password is hashed"),
        Ok(Next::Done) => panic!("it is not over"),
        Err(fault) => panic!("{fault}"),
    }
}

/// Hashes, and goes on.
fn hashed(initiation: &mut Initiation, next: Result<Next, Fault>) -> Message {
    assert!(matches!(next, Ok(Next::Hash)));
    initiation.hashing(A_BROKER).expect("something to hash").run();
    sent(initiation.resume())
}

fn fault(next: Result<Next, Fault>) -> Fault {
    next.map(drop).expect_err("it is refused")
}

/// RFC 7677, section 3.
#[test]
fn the_published_exchange() {
    let account = account("user", "pencil");
    let opening = Opening::with_nonce("user", None, "rOprNGfwEbeRWgbNEkqO".to_owned());
    assert_eq!(*opening.message(), b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO");
    let challenged = opening
        .challenged(b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096")
        .expect("a challenge");
    account.hash(Mechanism::Sha256, A_BROKER, challenged.salting());
    let keys = account.keys(challenged.salting()).expect("it is hashed");
    let (last, signature) = challenged.prove(Mechanism::Sha256, &keys);
    let expected = "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
                    p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
    assert_eq!(*last, expected.as_bytes());
    let answer = b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=";
    assert_eq!(super::scram::verify(answer, &signature), Ok(()));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn a_server_takes_whoever_knows_the_password(
        user in "\\PC{1,20}",
        password in "\\PC{1,20}",
        other in "\\PC{1,20}",
    ) {
        let credentials = credentials_of(&user, &password);
        for mechanism in [Mechanism::Sha256, Mechanism::Sha512] {
            for said in [&password, &other] {
                let (mut initiation, first) = Initiation::begin(scram(mechanism, &user, said)).expect("randomness");
                let nonce = ServerNonce::new().expect("randomness");
                let challenge = Challenge::new(mechanism, &first, &credentials, &nonce).expect("a first message");
                let next = initiation.take(challenge.message());
                let last = hashed(&mut initiation, next);
                match challenge.finish(&last) {
                    Ok(answer) => {
                        prop_assert_eq!(said, &password);
                        prop_assert!(matches!(initiation.take(&answer), Ok(Next::Done)));
                    }
                    Err(_) => prop_assert_ne!(said, &password),
                }
            }
        }
    }

    #[test]
    fn no_answer_panics(
        answers in proptest::collection::vec("(r=|v=|e=)?.{0,60}", 0..3),
        bytes in proptest::collection::vec(any::<u8>(), 0..60),
    ) {
        let token = Credential::new(Proof::Token(Zeroizing::new("x.y.z".to_owned())));
        let plain = Credential::new(Proof::Plain(account("alice", "secret")));
        for credential in [scram(Mechanism::Sha256, "alice", "secret"), Arc::new(token), Arc::new(plain)] {
            let (mut initiation, _) = Initiation::begin(credential).expect("randomness");
            for answer in &answers {
                let _ = initiation.take(answer.as_bytes());
            }
            let _ = initiation.take(&bytes);
        }
    }
}

/// What the broker says in its first message, and what comes of it. `NONCE`: ours.
fn challenged_by(answer: &str) -> Result<Next, Fault> {
    let (mut initiation, first) =
        Initiation::begin(scram(Mechanism::Sha256, "alice", "secret")).expect("randomness");
    let first = std::str::from_utf8(&first).expect("text");
    let (_, nonce) = first.split_once(",r=").expect("a nonce");
    initiation.take(answer.replace("NONCE", nonce).as_bytes())
}

/// INITIATOR-2
#[test]
fn nothing_is_hashed_for_a_broker_that_asks_for_too_much() {
    let with = |iterations: &str| challenged_by(&format!("r=NONCEx,s=c2FsdHNhbHQ=,i={iterations}"));
    assert!(matches!(with("4096"), Ok(Next::Hash)));
    assert!(matches!(with("1000000"), Ok(Next::Hash)));
    for iterations in [0, 1, ITERATIONS_MIN - 1, ITERATIONS_MAX + 1, 1 << 31, u32::MAX] {
        assert_eq!(
            fault(with(&iterations.to_string())),
            Fault::Iterations(iterations)
        );
    }
    for text in ["4294967296", "-4096", "", "4096x"] {
        assert!(matches!(fault(with(text)), Fault::Malformed(_)), "{text}");
    }
}

/// INITIATOR-2
#[test]
fn the_nonce_goes_on_from_ours() {
    for nonce in ["x", "NONCE", "xNONCE", "NONCE y", ""] {
        let challenged = challenged_by(&format!("r={nonce},s=c2FsdHNhbHQ=,i=4096"));
        assert_eq!(fault(challenged), Fault::OtherNonce, "{nonce}");
    }
    for malformed in [
        "",
        "e=other-error",
        "m=ext,r=NONCEx,s=c2FsdA==,i=4096",
        "s=c2FsdA==,r=NONCEx,i=4096",
        "r=NONCEx,s=!,i=4096",
        "r=NONCEx,s=,i=4096",
        "r=NONCEx,s=c2FsdA==",
    ] {
        assert!(
            matches!(fault(challenged_by(malformed)), Fault::Malformed(_)),
            "{malformed}"
        );
    }
}

/// INITIATOR-1
#[test]
fn a_broker_that_does_not_know_the_password_is_not_believed() {
    let signatures: [(&str, Fault); 4] = [
        (
            "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=",
            Fault::WrongSignature,
        ),
        ("v=", Fault::WrongSignature),
        (
            "e=invalid-proof",
            Fault::Malformed("a final message of a broker without a signature"),
        ),
        (
            "",
            Fault::Malformed("a final message of a broker without a signature"),
        ),
    ];
    for (answer, expected) in signatures {
        let credentials = credentials_of("alice", "secret");
        let (mut initiation, first) =
            Initiation::begin(scram(Mechanism::Sha512, "alice", "secret")).expect("randomness");
        let nonce = ServerNonce::new().expect("randomness");
        let challenge =
            Challenge::new(Mechanism::Sha512, &first, &credentials, &nonce).expect("a first message");
        let next = initiation.take(challenge.message());
        hashed(&mut initiation, next);
        assert_eq!(fault(initiation.take(answer.as_bytes())), expected, "{answer}");
    }
}

/// INITIATOR-3
#[test]
fn a_password_is_hashed_once_for_each_salt() {
    let credential = scram(Mechanism::Sha256, "alice", "secret");
    let next = |salt: &str| {
        let (mut initiation, first) = Initiation::begin(Arc::clone(&credential)).expect("randomness");
        let first = std::str::from_utf8(&first).expect("text").to_owned();
        let (_, nonce) = first.split_once(",r=").expect("a nonce");
        let next = initiation.take(format!("r={nonce}x,s={salt},i=4096").as_bytes());
        (initiation, next)
    };
    let (mut one, asked) = next("c2FsdHNhbHQ=");
    let (mut other, asked_too) = next("c2FsdHNhbHQ=");
    assert!(matches!(asked_too, Ok(Next::Hash)));
    let hashing = other.hashing(A_BROKER);
    assert!(hashing.is_some() && one.hashing(A_BROKER).is_none(), "one hashes");
    drop(hashing);
    hashed(&mut one, asked);
    sent(other.resume());
    sent(next("c2FsdHNhbHQ=").1);
    assert!(matches!(next("b3RoZXI=").1, Ok(Next::Hash)), "another salt");

    // A broker that says another salt each time keeps what it is sent from nobody else.
    let (hostile, _) = next("bmV3");
    let endless = hostile.hashing("hostile").expect("something to hash");
    let (waits, _) = next("b3RoZXI=");
    drop(waits.hashing(A_BROKER).expect("whatever the other hashes"));
    assert!(next("bmV4dA==").0.hashing("hostile").is_none(), "one at a time");
    drop(endless);
    for salt in ["bmV3", "bmV4dA==", "bGFzdA=="].repeat(4) {
        let (initiation, next) = next(salt);
        if matches!(next, Ok(Next::Hash)) {
            initiation.hashing("hostile").expect("something to hash").run();
        }
    }
    sent(next("c2FsdHNhbHQ=").1);
}

const A_BROKER: &str = "kafka-1:9092";

#[test]
fn plain_and_tokens_are_said_at_once() {
    let plain = Arc::new(Credential::new(Proof::Plain(account("alice", "s,e=c"))));
    let (mut initiation, first) = Initiation::begin(Arc::clone(&plain)).expect("randomness");
    let said = plain::Message::parse(&first).expect("PLAIN");
    assert_eq!((said.user, said.password), ("alice", "s,e=c"));
    assert!(matches!(initiation.take(b""), Ok(Next::Done)));
    assert!(matches!(fault(initiation.take(b"")), Fault::Malformed(_)));
    let (mut initiation, _) = Initiation::begin(plain).expect("randomness");
    assert!(matches!(fault(initiation.take(b"x")), Fault::Malformed(_)));

    let token = Credential::new(Proof::Token(Zeroizing::new("x.y.z".to_owned())));
    let token = Arc::new(token);
    let (mut initiation, first) = Initiation::begin(Arc::clone(&token)).expect("randomness");
    assert_eq!(*first, b"n,,\x01auth=Bearer x.y.z\x01\x01");
    assert!(matches!(initiation.take(b""), Ok(Next::Done)));
    // The broker says why in its protocol only when it was told that we have heard (RFC 7628).
    let (mut initiation, _) = Initiation::begin(token).expect("randomness");
    let heard = sent(initiation.take(b"{\"status\":\"invalid_token\"}"));
    assert_eq!(*heard, [1]);
    assert!(matches!(fault(initiation.take(b"")), Fault::Malformed(_)));
}

#[test]
fn a_delegation_token_says_so() {
    let proof = Proof::Scram(Mechanism::Sha256, account("a,b", "hmac"), Some("tokenauth=true"));
    let (_, first) = Initiation::begin(Arc::new(Credential::new(proof))).expect("randomness");
    let first = std::str::from_utf8(&first).expect("text");
    assert!(
        first.starts_with("n,,n=a=2Cb,r=") && first.ends_with(",tokenauth=true"),
        "{first}"
    );
}

#[test]
fn nothing_secret_is_shown() {
    for proof in [
        Proof::Plain(account("alice", "hunter2")),
        Proof::Scram(Mechanism::Sha512, account("alice", "hunter2"), None),
        Proof::Token(Zeroizing::new("hunter2".to_owned())),
    ] {
        let shown = format!("{:?}", Credential::new(proof));
        assert!(!shown.contains("hunter2"), "{shown}");
    }
}
