//! A login at the proxy goes as one at a broker: the same is said to both, and what they answer is compared, step by
//! step. Where they differ on purpose, the reason is in the table.

pub(super) mod tokens;
mod within;

use std::time::Duration;

use aws_lc_rs::{digest, hmac, pbkdf2};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use kafka_protocol::messages::alter_user_scram_credentials_request::ScramCredentialUpsertion;
use kafka_protocol::messages::{
    AlterUserScramCredentialsRequest, ApiVersionsRequest, FindCoordinatorRequest, SaslAuthenticateRequest,
    SaslHandshakeRequest,
};
use kafka_protocol::protocol::StrBytes;
use sealwire::transport::suites::TlsChoice;
use sealwire::transport::tls_client::{Trust, UpstreamTls};

use super::super::Side;
use super::super::every_way::RIG;
use super::Door;
use crate::support::broker_properties::{Login, PASSWORD, USER};
use crate::support::certificates;
use crate::support::raw_client::RawClient;
use crate::support::secret_files::write_users;
use crate::support::skipped;
use crate::support::wait;

/// What comes upon one step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Heard {
    /// An error code, and nothing with it.
    Code(i16),
    /// The same with bytes, or mechanisms.
    More(i16),
    /// The connection is served.
    Served,
    /// The connection is closed.
    End,
}

use Heard::{Code, End, More, Served};

/// What each side has to answer, from the first step to the last.
#[derive(Clone, Copy)]
enum Expected {
    Both(&'static [Heard]),
    Apart {
        broker: &'static [Heard],
        proxy: &'static [Heard],
        why: &'static str,
    },
}

use Expected::{Apart, Both};

/// A broker and a proxy that have the same users, behind TLS.
struct Sides {
    broker: UpstreamTls,
    door: Door,
}

impl Sides {
    fn open() -> Option<Self> {
        let mut door = Door::open(Side::Tls, "mechanisms = [\"PLAIN\", \"SCRAM-SHA-256\"]")?;
        write_users(&door.users(), &[(USER, PASSWORD), (HARD_USER, PASSWORD)]);
        door.restart(&[]);
        let broker = UpstreamTls {
            trust: Trust::File(certificates::of_brokers().authorities.of_servers()),
            server_name: None,
            client: None,
            choice: TlsChoice::default(),
        };
        Some(Self { broker, door })
    }

    fn connect_to_broker(&self) -> RawClient {
        let address = RIG.cluster.bootstrap_of(Login::SaslTls);
        let (host, _) = address.rsplit_once(':').expect("a port");
        RawClient::connect_by_tls(&address, host, &self.broker).expect("hands are shaken")
    }

    /// Has both told the same by each line of a table; what they answer has to be what stands there.
    fn compare<S>(mut self, table: &[(&str, S, Expected)], talk: impl Fn(&mut RawClient, &S) -> Vec<Heard>) {
        let connect = || [self.connect_to_broker(), self.door.connect()];
        compare(connect, table, talk);
        self.door.proxy.terminate();
    }
}

/// The same to a broker and a proxy, in this order.
fn compare<S>(
    connect: impl Fn() -> [RawClient; 2],
    table: &[(&str, S, Expected)],
    talk: impl Fn(&mut RawClient, &S) -> Vec<Heard>,
) {
    let mut wrong = Vec::new();
    for (what, said, expected) in table {
        let heard = connect().map(|mut client| talk(&mut client, said));
        let (broker, proxy, why) = match *expected {
            Both(answers) => (answers, answers, "both are alike"),
            Apart { broker, proxy, why } => {
                assert_ne!(broker, proxy, "{what}: {why}");
                (broker, proxy, why)
            }
        };
        if heard != [broker, proxy] {
            wrong.push(format!(
                "{what} ({why}): broker {:?}, proxy {:?}",
                heard[0], heard[1]
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn handshake(client: &mut RawClient, mechanism: &str) -> Heard {
    let mechanism = StrBytes::from_string(mechanism.to_owned());
    let request = SaslHandshakeRequest::default().with_mechanism(mechanism);
    let answer = client.ask_if_any(1, &request);
    answer.map_or(End, |answer| {
        heard(answer.error_code, answer.mechanisms.is_empty())
    })
}

/// What a token is answered with, and the bytes of that.
fn authenticate(client: &mut RawClient, token: &[u8]) -> (Heard, Vec<u8>) {
    let request = SaslAuthenticateRequest::default().with_auth_bytes(token.to_vec().into());
    match client.ask_if_any(1, &request) {
        None => (End, Vec::new()),
        Some(answer) => {
            let heard = heard(answer.error_code, answer.auth_bytes.is_empty());
            (heard, answer.auth_bytes.to_vec())
        }
    }
}

fn heard(code: i16, is_bare: bool) -> Heard {
    if is_bare { Code(code) } else { More(code) }
}

/// Whether the client is let in, or sent away.
fn end(client: &mut RawClient) -> Heard {
    client.log_dirs().map_or(End, |_| Served)
}

/// SCRAM's client, up to its second message.
struct Scram {
    /// The first message behind its header.
    bare: String,
    challenge: String,
}

impl Scram {
    /// Agrees on the mechanism and says this; what is answered, and what is to be said next.
    fn begin(client: &mut RawClient, first: &[u8]) -> (Heard, Option<Self>) {
        assert_eq!(handshake(client, "SCRAM-SHA-256"), More(0));
        let (heard, challenge) = authenticate(client, first);
        let next = (heard == More(0)).then(|| {
            let first = std::str::from_utf8(first).expect("it was taken");
            let bare = first.splitn(3, ',').nth(2).expect("a message behind its header");
            Self {
                bare: bare.to_owned(),
                challenge: String::from_utf8(challenge).expect("text"),
            }
        });
        (heard, next)
    }

    fn nonce(&self) -> &str {
        let nonce = self.challenge.split(',').next();
        nonce.and_then(|nonce| nonce.strip_prefix("r=")).expect("a nonce")
    }

    /// Puts the proof behind the rest of the second message.
    fn proven(&self, without_proof: &str) -> String {
        let parts: Vec<&str> = self.challenge.split(',').collect();
        let [_, salt, iterations] = parts[..] else {
            panic!("{}", self.challenge)
        };
        let salt = BASE64.decode(&salt["s=".len()..]).expect("base64");
        let iterations = iterations["i=".len()..].parse().expect("a number");
        let signed = format!("{},{},{without_proof}", self.bare, self.challenge);
        let client_key = keyed(&salted(&salt, iterations), b"Client Key");
        let stored_key = digest::digest(&digest::SHA256, &client_key);
        let signature = keyed(stored_key.as_ref(), signed.as_bytes());
        let pairs = client_key.iter().zip(&signature);
        let proof: Vec<u8> = pairs.map(|(key, signed)| key ^ signed).collect();
        format!("{without_proof},p={}", BASE64.encode(proof))
    }
}

fn keyed(key: &[u8], message: &[u8]) -> Vec<u8> {
    let key = hmac::Key::new(hmac::HMAC_SHA256, key);
    hmac::sign(&key, message).as_ref().to_vec()
}

fn salted(salt: &[u8], iterations: u32) -> [u8; digest::SHA256_OUTPUT_LEN] {
    let mut salted = [0; digest::SHA256_OUTPUT_LEN];
    let iterations = iterations.try_into().expect("more than none");
    pbkdf2::derive(
        pbkdf2::PBKDF2_HMAC_SHA256,
        iterations,
        salt,
        PASSWORD.as_bytes(),
        &mut salted,
    );
    salted
}

/// The broker learns of a user with a name that has to be escaped.
fn add_hard_user(sides: &Sides) {
    let salt = b"salt of the test";
    let user = ScramCredentialUpsertion::default()
        .with_name(StrBytes::from_static_str(HARD_USER))
        .with_mechanism(1)
        .with_iterations(4096)
        .with_salt(salt.to_vec().into())
        .with_salted_password(salted(salt, 4096).to_vec().into());
    let request = AlterUserScramCredentialsRequest::default().with_upsertions(vec![user]);
    let mut client = RawClient::connect(&RIG.cluster.bootstrap_of(Login::Plaintext));
    assert_eq!(client.ask(0, &request).results[0].error_code, 0);
    wait::until("the broker knows its user", Duration::from_secs(30), || {
        let mut client = sides.connect_to_broker();
        Scram::begin(&mut client, b"n,,n=alice=3Da=2Cb,r=nonce")
            .1
            .map(|_| ())
    });
}

#[test]
fn choosing_a_mechanism() {
    let Some(sides) = Sides::open() else {
        return skipped::there_is_no_proxy();
    };
    let table = [
        ("known", "PLAIN", Both(&[More(0)])),
        ("unknown", "GSSAPI", Both(&[More(33), End])),
        ("empty", "", Both(&[More(33), End])),
        ("lower case", "plain", Both(&[More(33), End])),
    ];
    sides.compare(&table, |client, mechanism| {
        let heard = handshake(client, mechanism);
        match heard {
            More(0) => vec![heard],
            _ => vec![heard, end(client)],
        }
    });
}

#[test]
fn plain() {
    let Some(sides) = Sides::open() else {
        return skipped::there_is_no_proxy();
    };
    let refused = Both(&[Code(58), End]);
    let table: [(&str, &[u8], Expected); 10] = [
        ("right", b"\0alice\0alice-secret", Both(&[Code(0), Served])),
        ("wrong password", b"\0alice\0wrong", refused),
        ("unknown user", b"\0mallory\0alice-secret", refused),
        (
            "authorization id of another",
            b"bob\0alice\0alice-secret",
            refused,
        ),
        (
            "authorization id of itself",
            b"alice\0alice\0alice-secret",
            Both(&[Code(0), Served]),
        ),
        ("two parts", b"alice\0alice-secret", refused),
        ("four parts", b"\0alice\0alice-secret\0", refused),
        ("empty user", b"\0\0alice-secret", refused),
        ("empty password", b"\0alice\0", refused),
        ("not UTF-8", b"\0alice\0alice-secret\xff", refused),
    ];
    sides.compare(&table, |client, token| {
        assert_eq!(handshake(client, "PLAIN"), More(0));
        vec![authenticate(client, token).0, end(client)]
    });
}

#[test]
fn first_messages_of_scram() {
    let Some(sides) = Sides::open() else {
        return skipped::there_is_no_proxy();
    };
    add_hard_user(&sides);
    let let_in = Both(&[More(0), More(0), Served]);
    let refused = Both(&[Code(58), End]);
    let table: [(&str, &[u8], Expected); 16] = [
        ("plain", b"n,,n=alice,r=nonce", let_in),
        (
            "channel binding that the client could do",
            b"y,,n=alice,r=nonce",
            refused,
        ),
        ("channel binding", b"p=tls-unique,,n=alice,r=nonce", refused),
        ("authorization id of itself", b"n,a=alice,n=alice,r=nonce", let_in),
        ("authorization id of another", b"n,a=bob,n=alice,r=nonce", refused),
        (
            "a token of a broker",
            b"n,,n=alice,r=nonce,tokenauth=true",
            refused,
        ),
        ("another extension", b"n,,n=alice,r=nonce,x=y", let_in),
        (
            "a name with both that are escaped",
            b"n,,n=alice=3Da=2Cb,r=nonce",
            let_in,
        ),
        ("another escape", b"n,,n=alice=41,r=nonce", refused),
        ("an equals sign", b"n,,n=alice=,r=nonce", refused),
        ("no nonce", b"n,,n=alice", refused),
        ("empty nonce", b"n,,n=alice,r=", refused),
        ("no user", b"n,,n=,r=nonce", refused),
        ("not UTF-8", b"n,,n=alice\xff,r=nonce", refused),
        ("empty", b"", refused),
        (
            "unknown user",
            b"n,,n=mallory,r=nonce",
            Apart {
                broker: &[Code(58), End],
                proxy: &[More(0), Code(58), End],
                why: "whoever guesses names does not learn which there are",
            },
        ),
    ];
    sides.compare(&table, |client, first| {
        let (heard, scram) = Scram::begin(client, first);
        let mut all = vec![heard];
        if let Some(scram) = scram {
            let header = std::str::from_utf8(first).expect("it was taken");
            let header = header.strip_suffix(&scram.bare).expect("its end");
            let rest = format!("c={},r={}", BASE64.encode(header), scram.nonce());
            all.push(authenticate(client, scram.proven(&rest).as_bytes()).0);
        }
        all.push(end(client));
        all
    });
}

/// What is said second, of what was answered first.
type Second = fn(&Scram) -> String;

#[test]
fn second_messages_of_scram() {
    let Some(sides) = Sides::open() else {
        return skipped::there_is_no_proxy();
    };
    sides.compare(&SECOND, |client, second| {
        let (_, scram) = Scram::begin(client, b"n,,n=alice,r=nonce");
        let message = second(&scram.expect("a challenge"));
        vec![authenticate(client, message.as_bytes()).0, end(client)]
    });
}

/// One step of a client.
#[derive(Clone, Copy)]
enum Step {
    /// By a client of this name.
    Versions(&'static str),
    Handshake,
    Password,
    Coordinator,
}

#[test]
fn requests_before_a_login_is_over() {
    use Step::{Coordinator, Handshake, Password, Versions};
    let Some(sides) = Sides::open() else {
        return skipped::there_is_no_proxy();
    };
    sides.compare(&STEPS, |client, steps| {
        let mut all = Vec::new();
        for step in *steps {
            let heard = match *step {
                Versions(name) => versions(client, name),
                Handshake => handshake(client, "PLAIN"),
                Password => authenticate(client, format!("\0{USER}\0{PASSWORD}").as_bytes()).0,
                Coordinator => {
                    let answer = client.ask_if_any(3, &FindCoordinatorRequest::default());
                    answer.map_or(End, |answer| heard(answer.error_code, answer.host.is_empty()))
                }
            };
            all.push(heard);
            if heard == End {
                return all;
            }
        }
        all.push(end(client));
        all
    });
}

fn versions(client: &mut RawClient, name: &'static str) -> Heard {
    let request = ApiVersionsRequest::default()
        .with_client_software_name(StrBytes::from_static_str(name))
        .with_client_software_version(StrBytes::from_static_str("1"));
    let answer = client.ask_if_any(3, &request);
    answer.map_or(End, |answer| heard(answer.error_code, answer.api_keys.is_empty()))
}

/// Of whom a client speaks as `alice=3Da=2Cb`.
const HARD_USER: &str = "alice=a,b";

/// Second messages.
const SECOND: [(&str, Second, Expected); 15] = [
    (
        "right",
        |scram| scram.proven(&format!("c=biws,r={}", scram.nonce())),
        LET_IN_SECOND,
    ),
    (
        "another nonce",
        |scram| scram.proven(&format!("c=biws,r=x{}", scram.nonce())),
        REFUSED,
    ),
    (
        "more than the nonce",
        |scram| scram.proven(&format!("c=biws,r={}x", scram.nonce())),
        REFUSED,
    ),
    (
        "the client's nonce only",
        |scram| scram.proven("c=biws,r=nonce"),
        REFUSED,
    ),
    (
        "a proof of another login",
        |scram| {
            let other = Scram {
                bare: scram.bare.clone(),
                challenge: scram.challenge.replacen("r=nonce", "r=nonceX", 1),
            };
            let rest = format!("c=biws,r={}", scram.nonce());
            let earlier = other.proven(&format!("c=biws,r={}", other.nonce()));
            let (_, proof) = earlier.rsplit_once(",p=").expect("a proof");
            format!("{rest},p={proof}")
        },
        REFUSED,
    ),
    (
        "an altered proof",
        |scram| {
            let message = scram.proven(&format!("c=biws,r={}", scram.nonce()));
            let (rest, proof) = message.rsplit_once(",p=").expect("a proof");
            let mut proof = BASE64.decode(proof).expect("base64");
            proof[0] ^= 1;
            format!("{rest},p={}", BASE64.encode(proof))
        },
        REFUSED,
    ),
    (
        "a short proof",
        |scram| format!("c=biws,r={},p=AAAA", scram.nonce()),
        UNANSWERED,
    ),
    (
        "a proof that is no base64",
        |scram| format!("c=biws,r={},p=!", scram.nonce()),
        REFUSED,
    ),
    (
        "another channel binding",
        |scram| scram.proven(&format!("c=eSws,r={}", scram.nonce())),
        Apart {
            broker: &[More(0), Served],
            proxy: &[Code(58), End],
            why: "what the client said first has to be what it says here (RFC 5802)",
        },
    ),
    (
        "an extension",
        |scram| scram.proven(&format!("c=biws,r={},x=y", scram.nonce())),
        Apart {
            broker: &[Code(58), End],
            proxy: &[More(0), Served],
            why: "what is signed is what was received, to the byte (RFC 5802)",
        },
    ),
    (
        "no channel binding",
        |scram| scram.proven(&format!("r={}", scram.nonce())),
        REFUSED,
    ),
    ("no nonce", |scram| scram.proven("c=biws"), REFUSED),
    ("no proof", |scram| format!("c=biws,r={}", scram.nonce()), REFUSED),
    (
        "an empty proof",
        |scram| format!("c=biws,r={},p=", scram.nonce()),
        UNANSWERED,
    ),
    ("empty", |_| String::new(), REFUSED),
];

const LET_IN_SECOND: Expected = Both(&[More(0), Served]);
const REFUSED: Expected = Both(&[Code(58), End]);
const UNANSWERED: Expected = Apart {
    broker: &[End, End],
    proxy: &[Code(58), End],
    why: "each failure is answered in the same words",
};

/// Requests in front of the end of a login.
const STEPS: [(&str, &[Step], Expected); 9] = [
    (
        "in order",
        &[NAMED, Step::Handshake, Step::Password],
        Both(&[More(0), More(0), Code(0), Served]),
    ),
    ("no login", &[Step::Coordinator], Both(&[End])),
    (
        "versions only",
        &[NAMED, Step::Coordinator],
        Both(&[More(0), End]),
    ),
    ("versions twice", &[NAMED, NAMED], Both(&[More(0), End])),
    (
        "versions within",
        &[Step::Handshake, NAMED],
        Both(&[More(0), Code(34), End]),
    ),
    ("a password without a mechanism", &[Step::Password], Both(&[End])),
    (
        "versions for a client without a name",
        &[Step::Versions(""), Step::Versions("a_b"), NAMED, NAMED],
        Both(&[Code(42), Code(42), More(0), End]),
    ),
    (
        "another request within",
        &[Step::Handshake, Step::Coordinator],
        Both(&[More(0), Code(34), End]),
    ),
    (
        "two mechanisms",
        &[Step::Handshake, Step::Handshake],
        Both(&[More(0), Code(34), End]),
    ),
];

const NAMED: Step = Step::Versions("raw");
