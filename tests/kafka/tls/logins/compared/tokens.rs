//! Tokens at the proxy, and at a broker that verifies them by the same set of keys.

use std::fs;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::hmac;
use kafka_protocol::messages::{CreateDelegationTokenRequest, FindCoordinatorRequest};
use sealwire::testing::tokens::{SigningKey, encoded, key_set, unsigned};
use serde_json::{Value, json};

use super::super::TokenDoor;
use super::{Apart, Both, Code, End, Expected, More, Served, authenticate, compare, end, handshake};
use crate::support::artifacts::KafkaVersion;
use crate::support::broker_properties::{self as brokers, Login};
use crate::support::cluster::KafkaCluster;
use crate::support::java::Java;
use crate::support::raw_client::RawClient;
use crate::support::skipped;
use crate::support::wait;

/// What a client says, and what it says when it was refused.
struct Said {
    first: String,
    then: Then,
}

#[derive(Clone)]
enum Then {
    /// `^A`, or something else.
    Message(String),
    /// Another request.
    Coordinator,
}

type Line = (&'static str, Said, Expected);

/// What a client says with this token.
fn bearing(token: &str) -> String {
    format!("n,,\u{1}auth=Bearer {token}\u{1}\u{1}")
}

fn line(what: &'static str, first: String, expected: Expected) -> Line {
    let then = Then::Message("\u{1}".to_owned());
    (what, Said { first, then }, expected)
}

/// Claims of a token that is good for ten minutes, with these in their place; without those that are null.
fn claims(others: Value) -> Value {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is later");
    let mut claims = json!({
        "iss": "https://login.example.com", "aud": "kafka", "sub": "alice",
        "iat": now.as_secs() - 100, "exp": now.as_secs() + 600,
    });
    let all = claims.as_object_mut().expect("an object");
    for (name, value) in others.as_object().expect("an object") {
        match value {
            Value::Null => drop(all.remove(name)),
            // From now on.
            Value::Number(seconds) if matches!(&**name, "iat" | "exp" | "nbf") => {
                let seconds = seconds.as_i64().expect("it is whole");
                let at = i64::try_from(now.as_secs()).expect("it is now") + seconds;
                all.insert(name.clone(), at.into());
            }
            value => drop(all.insert(name.clone(), value.clone())),
        }
    }
    claims
}

fn about_claims(key: &SigningKey) -> Vec<Line> {
    let lines = [
        ("good", json!({}), TAKEN),
        ("expired", json!({"exp": -40}), REFUSED),
        ("expired just now", json!({"exp": -20}), ENDS_AT_ONCE),
        ("no end", json!({"exp": null}), REFUSED),
        ("an end that is no number", json!({"exp": "soon"}), REFUSED),
        ("no beginning", json!({"iat": null}), REFUSED),
        ("issued in the future", json!({"iat": 300}), TAKEN),
        ("not valid yet", json!({"nbf": 300}), REFUSED),
        ("valid in a moment", json!({"nbf": 20}), TAKEN),
        ("another audience", json!({"aud": "other"}), REFUSED),
        ("no audience", json!({"aud": null}), REFUSED),
        ("several audiences", json!({"aud": ["other", "kafka"]}), TAKEN),
        (
            "several other audiences",
            json!({"aud": ["other", "another"]}),
            REFUSED,
        ),
        (
            "another issuer",
            json!({"iss": "https://login.example.org"}),
            REFUSED,
        ),
        ("no issuer", json!({"iss": null}), REFUSED),
        ("no name", json!({"sub": null}), REFUSED),
        ("an empty name", json!({"sub": ""}), REFUSED),
        ("a blank name", json!({"sub": " "}), REFUSED),
        ("a name that is a number", json!({"sub": 7}), REFUSED),
        ("scopes", json!({"scope": ["a", "b"]}), TAKEN),
    ];
    let lines =
        lines.map(|(what, others, expected)| line(what, bearing(&key.token(&claims(others))), expected));
    lines.into()
}

fn about_signatures(key: &SigningKey) -> Vec<Line> {
    let good = claims(json!({}));
    let with_header = |header: Value| bearing(&key.sign(&header, &good));
    let token = key.token(&good);
    let (signed, signature) = token.rsplit_once('.').expect("three parts");
    let none = unsigned(&json!({"alg": "none", "kid": "first"}), &good);
    let symmetric = unsigned(&json!({"alg": "HS256", "kid": "first"}), &good);
    let secret = hmac::Key::new(hmac::HMAC_SHA256, &key.mistaken_secret());
    let mistaken = encoded(hmac::sign(&secret, symmetric.as_bytes()).as_ref());
    let mut changed: Vec<char> = signature.chars().collect();
    changed[10] = if changed[10] == 'A' { 'B' } else { 'A' };
    let changed: String = changed.into_iter().collect();
    let (header, _) = signed.split_once('.').expect("two parts");
    let others = encoded(claims(json!({"sub": "mallory"})).to_string().as_bytes());
    vec![
        line("no algorithm", bearing(&format!("{none}.")), REFUSED),
        line(
            "the public key as a secret",
            bearing(&format!("{symmetric}.{mistaken}")),
            REFUSED,
        ),
        line(
            "an unknown key",
            with_header(json!({"alg": "RS256", "kid": "other"})),
            REFUSED,
        ),
        line("no key", with_header(json!({"alg": "RS256"})), BY_ANY_KEY),
        line(
            "another algorithm of the key",
            with_header(json!({"alg": "PS256", "kid": "first"})),
            ANY_ALGORITHM,
        ),
        line(
            "another type",
            with_header(json!({"alg": "RS256", "kid": "first", "typ": "x"})),
            TAKEN,
        ),
        line(
            "extensions of its own",
            with_header(json!({"alg": "RS256", "kid": "first", "crit": ["x"], "x": 1})),
            REFUSED,
        ),
        line(
            "somebody else's key",
            bearing(&SigningKey::rsa("first").token(&good)),
            REFUSED,
        ),
        line(
            "a signature that is cut",
            bearing(&token[..token.len() - 8]),
            REFUSED,
        ),
        line(
            "a signature that is changed",
            bearing(&format!("{signed}.{changed}")),
            REFUSED,
        ),
        line("no signature", bearing(&format!("{signed}.")), REFUSED),
        line(
            "other claims",
            bearing(&format!("{header}.{others}.{signature}")),
            REFUSED,
        ),
        line("two parts", bearing(signed), REFUSED),
        line("garbage", bearing("abc"), REFUSED),
        line("a padded token", bearing(&format!("{token}=")), PADDED),
    ]
}

fn about_messages(key: &SigningKey) -> Vec<Line> {
    let token = key.token(&claims(json!({})));
    let message = |text: &str| text.replace('^', "\u{1}").replace("TOKEN", &token);
    let lines = [
        ("empty", "", AT_ONCE),
        ("no token", "n,,^auth=Bearer ^^", AT_ONCE),
        ("no auth", "n,,^^", AT_ONCE),
        (
            "an authorization id of itself",
            "n,a=alice,^auth=Bearer TOKEN^^",
            TAKEN,
        ),
        (
            "an authorization id of another",
            "n,a=bob,^auth=Bearer TOKEN^^",
            AT_ONCE,
        ),
        ("an empty authorization id", "n,a=,^auth=Bearer TOKEN^^", AT_ONCE),
        ("channel binding", "y,,^auth=Bearer TOKEN^^", AT_ONCE),
        ("an extension", "n,,^auth=Bearer TOKEN^traceId=1 2^^", TAKEN),
        (
            "an extension in front",
            "n,,^traceId=1^auth=Bearer TOKEN^^",
            TAKEN,
        ),
        (
            "an extension with a number in its name",
            "n,,^auth=Bearer TOKEN^k1=v^^",
            AT_ONCE,
        ),
        (
            "an extension without a value",
            "n,,^auth=Bearer TOKEN^k=^^",
            AT_ONCE,
        ),
        ("an extension that is none", "n,,^auth=Bearer TOKEN^k^^", AT_ONCE),
        ("two auth", "n,,^auth=Bearer abc^auth=Bearer TOKEN^^", THE_LAST),
        ("an extension twice", "n,,^auth=Bearer TOKEN^k=a^k=b^^", TAKEN),
        ("the scheme in small letters", "n,,^auth=bearer TOKEN^^", TAKEN),
        ("the scheme in capitals", "n,,^auth=BEARER TOKEN^^", TAKEN),
        ("another scheme", "n,,^auth=Basic TOKEN^^", UNANSWERED),
        ("many blanks", "n,,^auth=Bearer   TOKEN^^", TAKEN),
        ("the key in capitals", "n,,^AUTH=Bearer TOKEN^^", AT_ONCE),
        ("one end", "n,,^auth=Bearer TOKEN^", AT_ONCE),
        ("three ends", "n,,^auth=Bearer TOKEN^^^", AT_ONCE),
        ("`^A` first", "^", AT_ONCE),
    ];
    lines
        .map(|(what, text, expected)| line(what, message(text), expected))
        .into()
}

/// What is said when a token was refused.
fn about_second_steps(key: &SigningKey) -> Vec<Line> {
    let good = bearing(&key.token(&claims(json!({}))));
    let lines = [
        ("the token once more", Then::Message(bearing("abc")), ANOTHER_TRY),
        ("a good token", Then::Message(good), A_GOOD_ONE),
        ("nothing", Then::Message(String::new()), REFUSED),
        ("a request", Then::Coordinator, A_REQUEST),
    ];
    let lines = lines.map(|(what, then, expected)| {
        let first = bearing("abc");
        (what, Said { first, then }, expected)
    });
    lines.into()
}

fn talk(client: &mut RawClient, said: &Said) -> Vec<super::Heard> {
    assert_eq!(handshake(client, "OAUTHBEARER"), More(0));
    let (heard, told) = authenticate(client, said.first.as_bytes());
    let mut all = vec![heard];
    if heard == More(0) {
        assert_eq!(told, br#"{"status":"invalid_token"}"#, "{}", said.first);
        all.push(match &said.then {
            Then::Message(message) => authenticate(client, message.as_bytes()).0,
            Then::Coordinator => {
                let answer = client.ask_if_any(3, &FindCoordinatorRequest::default());
                answer.map_or(End, |answer| {
                    super::heard(answer.error_code, answer.host.is_empty())
                })
            }
        });
    }
    all.push(end(client));
    all
}

/// A broker whose only way in but the open one is by tokens that a key of this file has signed.
pub(in super::super) fn broker(set: &str, more: &[(&str, &str)]) -> KafkaCluster {
    let url = format!("file://{set}");
    let java = Java::of(KafkaVersion::Current).with_property(brokers::ALLOWED_URLS, &url);
    let verifying = brokers::verifying_tokens(Login::Sasl, &url);
    let verifying = verifying
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()));
    // Whoever asks for a token of the broker's own is told who he is.
    let own = [("delegation.token.secret.key", "secret")];
    let more: Vec<_> = own
        .into_iter()
        .chain(verifying)
        .chain(more.iter().copied())
        .collect();
    let logins = [Login::Plaintext, Login::Sasl];
    KafkaCluster::start_with(java, 1, &logins, &more)
}

#[test]
fn tokens() {
    let Some(mut door) = TokenDoor::open("") else {
        return skipped::there_is_no_proxy();
    };
    let folder = door.door.folder.path();
    let audit = folder.join("audit.jsonl");
    let set = folder.join("jwks.json");
    let set = set.to_str().expect("a name").to_owned();
    fs::write(&set, key_set([&door.key])).expect("written");
    door.door.restart(&[&format!("audit.to={audit:?}")]);
    let cluster = broker(&set, &[]);
    let key = &door.key;
    let connect = || {
        let broker = RawClient::connect(&cluster.bootstrap_of(Login::Sasl));
        [broker, door.door.connect()]
    };
    let mut table = about_claims(key);
    table.extend(about_signatures(key));
    table.extend(about_messages(key));
    table.extend(about_second_steps(key));
    compare(connect, &table, talk);
    // Both take him for the same.
    let name = "Zoë, of =1";
    let message = bearing(&key.token(&claims(json!({ "sub": name }))));
    let [mut at_broker, mut at_proxy] = connect();
    for client in [&mut at_broker, &mut at_proxy] {
        assert_eq!(handshake(client, "OAUTHBEARER"), More(0));
        assert_eq!(authenticate(client, message.as_bytes()).0, Code(0));
    }
    let request = CreateDelegationTokenRequest::default().with_max_lifetime_ms(1000);
    let token = at_broker.ask(3, &request);
    assert_eq!(
        (token.principal_type.as_str(), token.principal_name.as_str()),
        ("User", name)
    );
    let shown = r#""principal":"User:Zo\\xc3\\xab, of =1""#;
    wait::until("the login", Duration::from_secs(10), || {
        let text = fs::read_to_string(&audit).ok()?;
        text.contains(shown).then_some(())
    });
    door.door.proxy.terminate();
    cluster.stop();
}

const TAKEN: Expected = Both(&[Code(0), Served]);
const REFUSED: Expected = Both(&[More(0), Code(58), End]);
/// Where the message is to blame, and not the token.
const AT_ONCE: Expected = Both(&[Code(58), End]);
const ENDS_AT_ONCE: Expected = Apart {
    broker: &[Code(0), End],
    proxy: &[Code(0), Served],
    why: "a login is good for a second at least: clocks differ",
};
const BY_ANY_KEY: Expected = Apart {
    broker: &[Code(0), Served],
    proxy: &[More(0), Code(58), End],
    why: "a token without a key's id is only for keys without one: none is tried that might fit",
};
const ANY_ALGORITHM: Expected = Apart {
    broker: &[Code(0), Served],
    proxy: &[More(0), Code(58), End],
    why: "algorithms are those that the configuration lists",
};
const PADDED: Expected = Apart {
    broker: &[Code(0), Served],
    proxy: &[Code(58), End],
    why: "there is no padding in a token (RFC 7515), and one way of writing it",
};
const THE_LAST: Expected = Apart {
    broker: &[Code(0), Served],
    proxy: &[Code(58), End],
    why: "of two tokens nobody can say which one is meant",
};
const UNANSWERED: Expected = Apart {
    broker: &[End, End],
    proxy: &[Code(58), End],
    why: "each failure is answered",
};
const ANOTHER_TRY: Expected = Apart {
    broker: &[More(0), More(0), Served],
    proxy: &[More(0), Code(58), End],
    why: "who was refused has no other try on the connection",
};
const A_GOOD_ONE: Expected = Apart {
    broker: &[More(0), Code(0), Served],
    proxy: &[More(0), Code(58), End],
    why: "who was refused has no other try on the connection",
};
const A_REQUEST: Expected = Apart {
    broker: &[More(0), Code(34), End],
    proxy: &[More(0), End, End],
    why: "aiokafka does not read what it was refused with, and takes an answer for that of a cluster without brokers",
};
