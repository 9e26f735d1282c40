//! The RFC's examples, a client of the tests' own, and what nobody may get away with.

use proptest::prelude::*;

use aws_lc_rs::pbkdf2;

use super::*;
use crate::identity::sasl::verifier::{ITERATIONS_MIN, accepted};

/// The client's side.
struct Client<'c> {
    mechanism: Mechanism,
    password: &'c str,
    header: &'c str,
    bare: String,
}

impl<'c> Client<'c> {
    fn new(mechanism: Mechanism, user: &str, password: &'c str) -> Self {
        let user = escaped(user);
        Self {
            mechanism,
            password,
            header: "n,,",
            bare: format!("n={user},r=clientnonce"),
        }
    }

    fn first(&self) -> Vec<u8> {
        format!("{}{}", self.header, self.bare).into_bytes()
    }

    /// The final message, with `binding` and `nonce` as they are to be said; and what the server has to answer.
    fn last(&self, challenge: &[u8], binding: &str, nonce: impl Fn(&str) -> String) -> (String, String) {
        let challenge = std::str::from_utf8(challenge).expect("text");
        let parts: Vec<&str> = challenge.split(',').collect();
        let [said_nonce, salt, iterations] = parts[..] else {
            panic!("{challenge}")
        };
        let salt = BASE64.decode(&salt[2..]).expect("base64");
        let iterations = accepted(iterations[2..].parse().expect("a number")).expect("enough");
        let nonce = nonce(&said_nonce[2..]);
        let without_proof = format!("c={},r={nonce}", BASE64.encode(binding));
        let signed = format!("{},{challenge},{without_proof}", self.bare);
        let mut salted = vec![0; self.mechanism.digest().output_len()];
        pbkdf2::derive(
            self.mechanism.pbkdf2(),
            iterations,
            &salt,
            self.password.as_bytes(),
            &mut salted,
        );
        let client_key = self.mechanism.keyed(&salted, b"Client Key");
        let stored_key = self.mechanism.hashed(client_key.as_ref());
        let signature = self.mechanism.keyed(&stored_key, signed.as_bytes());
        let both = client_key.as_ref().iter().zip(signature.as_ref());
        let proof: Vec<u8> = both.map(|(key, signed)| key ^ signed).collect();
        let server_key = self.mechanism.keyed(&salted, b"Server Key");
        let answer = self.mechanism.keyed(server_key.as_ref(), signed.as_bytes());
        (
            format!("{without_proof},p={}", BASE64.encode(proof)),
            format!("v={}", BASE64.encode(answer)),
        )
    }
}

pub(crate) fn credentials_of(user: &str, password: &str) -> Credentials {
    let mut credentials = Credentials::new().expect("randomness");
    for mechanism in [Mechanism::Sha256, Mechanism::Sha512] {
        let verifier = Verifier::new(mechanism, password.as_bytes(), ITERATIONS_MIN).expect("randomness");
        credentials.set(user, mechanism, verifier).expect("a name");
    }
    credentials
}

fn nonce() -> ServerNonce {
    ServerNonce::new().expect("randomness")
}

/// RFC 7677, section 3; and the same exchange for SHA-512 as it is published with other implementations.
#[test]
fn published_exchanges() {
    let salt = BASE64.decode("W22ZaJ0SNY7soEsUEjb6gQ==").expect("base64");
    let mut credentials = Credentials::new().expect("randomness");
    let verifier = Verifier::under(
        Mechanism::Sha256,
        b"pencil",
        salt,
        accepted(4096).expect("enough"),
    );
    credentials
        .set("user", Mechanism::Sha256, verifier)
        .expect("a name");
    let server_nonce = ServerNonce("%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0".to_owned());
    let first = b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO";
    let challenge =
        Challenge::new(Mechanism::Sha256, first, &credentials, &server_nonce).expect("a first message");
    assert_eq!(
        challenge.message(),
        b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
    );
    let last = b"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
                 p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
    let answer = challenge.finish(last).expect("the password is right");
    assert_eq!(answer, b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn whoever_knows_the_password_is_let_in_and_nobody_else(
        user in "\\PC{1,20}",
        password in "\\PC{1,20}",
        other in "\\PC{1,20}",
    ) {
        let credentials = credentials_of(&user, &password);
        for mechanism in [Mechanism::Sha256, Mechanism::Sha512] {
            let client = Client::new(mechanism, &user, &password);
            let challenge = Challenge::new(mechanism, &client.first(), &credentials, &nonce())
                .expect("a first message");
            prop_assert_eq!(challenge.user(), &user);
            let (last, answer) = client.last(challenge.message(), "n,,", str::to_owned);
            prop_assert_eq!(challenge.finish(last.as_bytes()), Ok(answer.into_bytes()));
            let client = Client { password: &other, ..client };
            let (last, _) = client.last(challenge.message(), "n,,", str::to_owned);
            let expected = if other == password { Ok(()) } else { Err(Failure::WrongPassword) };
            prop_assert_eq!(challenge.finish(last.as_bytes()).map(drop), expected);
        }
    }

    #[test]
    fn no_message_panics(
        first in ".{0,80}",
        last in ".{0,80}",
        bytes in proptest::collection::vec(any::<u8>(), 0..60),
    ) {
        let credentials = credentials_of("alice", "secret");
        let _ = Challenge::new(Mechanism::Sha256, first.as_bytes(), &credentials, &nonce());
        let _ = Challenge::new(Mechanism::Sha256, &bytes, &credentials, &nonce());
        let challenge = Challenge::new(Mechanism::Sha256, b"n,,n=alice,r=x", &credentials, &nonce());
        let challenge = challenge.expect("a first message");
        let _ = challenge.finish(last.as_bytes());
        let _ = challenge.finish(&bytes);
        let _ = challenge.finish(format!("c=biws,r={last},p=").as_bytes());
    }
}

/// SCRAM-1, SCRAM-2: one of two logins proves nothing for the other.
#[test]
fn what_was_said_before_is_not_believed_again() {
    let credentials = credentials_of("alice", "secret");
    let mechanism = Mechanism::Sha256;
    let client = Client::new(mechanism, "alice", "secret");
    let open =
        || Challenge::new(mechanism, &client.first(), &credentials, &nonce()).expect("a first message");
    let challenge = open();
    let (last, _) = client.last(challenge.message(), "n,,", str::to_owned);
    assert!(challenge.finish(last.as_bytes()).is_ok());
    assert_eq!(open().finish(last.as_bytes()), Err(Failure::OtherNonce));
    for other in [
        |nonce: &str| format!("x{nonce}"),
        |nonce: &str| nonce[1..].to_owned(),
        |nonce: &str| nonce.strip_prefix("clientnonce").expect("ours").to_owned(),
        |_: &str| "clientnonce".to_owned(),
    ] {
        let (last, _) = client.last(challenge.message(), "n,,", other);
        assert_eq!(
            challenge.finish(last.as_bytes()),
            Err(Failure::OtherNonce),
            "{last}"
        );
    }
    for binding in ["y,,", "", "n,,x", "n,a=alice,", "p=tls-unique,,"] {
        let (last, _) = client.last(challenge.message(), binding, str::to_owned);
        assert_eq!(
            challenge.finish(last.as_bytes()),
            Err(Failure::OtherBinding),
            "{binding}"
        );
    }
    let (last, _) = client.last(challenge.message(), "n,,", str::to_owned);
    let extended = last.replace(",p=", ",x=y,p=");
    assert_eq!(
        challenge.finish(extended.as_bytes()),
        Err(Failure::WrongPassword),
        "what is added is signed as well"
    );
    let short = format!(
        "{},p={}",
        last.split_once(",p=").expect("a proof").0,
        BASE64.encode("short")
    );
    assert!(matches!(
        challenge.finish(short.as_bytes()),
        Err(Failure::Malformed(_))
    ));
}

#[test]
fn first_messages() {
    let credentials = credentials_of("a=b,c", "secret");
    let open = |message: &str| {
        Challenge::new(Mechanism::Sha256, message.as_bytes(), &credentials, &nonce())
            .map(|challenge| challenge.user().to_owned())
    };
    for message in [
        "n,,n=a=3Db=2Cc,r=x",
        "n,a=a=3Db=2Cc,n=a=3Db=2Cc,r=x",
        "n,,n=a=3Db=2Cc,r=x,tokenauth=false,ext=1",
    ] {
        assert_eq!(open(message), Ok("a=b,c".to_owned()), "{message}");
    }
    assert_eq!(
        open("n,a=bob,n=a=3Db=2Cc,r=x"),
        Err(Failure::OtherAuthorizationId)
    );
    for message in [
        "",
        "n",
        "n,,",
        "y,,n=alice,r=x",
        "p=tls-unique,,n=alice,r=x",
        "n,,m=x,n=alice,r=x",
        "n,,n=,r=x",
        "n,,n=a=2c,r=x",
        "n,,n=a=,r=x",
        "n,,n=alice",
        "n,,n=alice,r=",
        "n,,n=alice,r=a b",
        "n,,r=x,n=alice",
        "n,,n=alice,r=x,tokenauth=true",
        "n,,n=alice,r=x,tokenauth=TRUE",
        "n,,n=alice,r=x,tokenauth",
        "n,b=alice,n=alice,r=x",
        "n,,n=ali\0ce,r=x",
    ] {
        assert!(matches!(open(message), Err(Failure::Malformed(_))), "{message:?}");
    }
    let long = |bytes: usize| format!("n,,n={},r=x", "x".repeat(bytes));
    assert!(open(&long(USER_BYTES_MAX)).is_ok());
    assert!(open(&long(USER_BYTES_MAX + 1)).is_err());
}

/// SASL-1
#[test]
fn who_is_not_known_looks_like_who_is() {
    let credentials = credentials_of("alice", "secret");
    let shape = |user: &str| {
        let client = Client::new(Mechanism::Sha512, user, "secret");
        let challenge = Challenge::new(Mechanism::Sha512, &client.first(), &credentials, &nonce());
        let challenge = challenge.expect("a first message");
        let (last, _) = client.last(challenge.message(), "n,,", str::to_owned);
        let message = String::from_utf8(challenge.message().to_vec()).expect("text");
        let salt = message.split(',').nth(1).expect("a salt").to_owned();
        (salt, message.len(), challenge.finish(last.as_bytes()).map(drop))
    };
    let (known, unknown) = (shape("alice"), shape("mallory"));
    assert_eq!((known.2, unknown.2), (Ok(()), Err(Failure::UnknownUser)));
    assert_eq!(known.0.len(), unknown.0.len());
    assert_eq!(unknown.0, shape("mallory").0, "asked twice, it is the same");
    assert_ne!(unknown.0, shape("mallorx").0);
    let read_again = Credentials::parse(&credentials.text()).expect("what was written");
    let again = Challenge::new(Mechanism::Sha512, b"n,,n=mallory,r=x", &read_again, &nonce());
    let again = again.expect("a first message");
    let message = std::str::from_utf8(again.message()).expect("text");
    assert!(message.contains(&unknown.0), "and with another instance");
}
