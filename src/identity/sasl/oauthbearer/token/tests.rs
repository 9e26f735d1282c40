//! Good tokens, and what is wrong with others.

use aws_lc_rs::hmac;
use serde_json::json;

use super::*;
use crate::testing::tokens::{SigningKey, encoded, key_set, unsigned};

const NOW: Duration = Duration::from_secs(1_700_000_000);

fn rules() -> TokenRules {
    TokenRules {
        issuer: "https://issuer.example.com".to_owned(),
        audiences: vec!["kafka".to_owned(), "sealwire".to_owned()],
        algorithms: vec![Algorithm::RS256, Algorithm::ES256, Algorithm::EdDSA],
        principal_claim: "sub".to_owned(),
    }
}

fn claims() -> Value {
    json!({
        "iss": "https://issuer.example.com",
        "aud": "kafka",
        "iat": NOW.as_secs() - 10,
        "exp": NOW.as_secs() + 300,
        "sub": "alice",
    })
}

/// The same with another value of this name; without it where that is null.
fn with(name: &str, value: Value) -> Value {
    let mut claims = claims();
    match (value, claims.as_object_mut().expect("an object")) {
        (Value::Null, claims) => drop(claims.remove(name)),
        (value, claims) => drop(claims.insert(name.to_owned(), value)),
    }
    claims
}

fn set(keys: &[&SigningKey]) -> KeySet {
    KeySet::parse(key_set(keys.iter().copied()).as_bytes()).expect("a set")
}

#[test]
fn a_token_of_each_type_of_key_is_taken() {
    let keys = [SigningKey::rsa("r"), SigningKey::ec("e"), SigningKey::ed("d")];
    let set = set(&[&keys[0], &keys[1], &keys[2]]);
    for key in &keys {
        let bearer = rules().check(&key.token(&claims()), &set, NOW);
        let bearer = bearer.unwrap_or_else(|fault| panic!("{}: {fault}", key.algorithm()));
        assert_eq!(bearer.principal.name(), "alice");
        assert_eq!(bearer.ends, NOW + Duration::from_secs(300));
    }
    let probabilistic = keys[0].sign(&json!({"alg": "PS256", "kid": "r"}), &claims());
    assert_eq!(
        rules().check(&probabilistic, &set, NOW),
        Err(TokenFault::Algorithm)
    );
    let rules = TokenRules {
        algorithms: vec![Algorithm::PS256],
        ..rules()
    };
    assert!(rules.check(&probabilistic, &set, NOW).is_ok());
}

/// TOKEN-1
#[test]
fn no_secret_and_no_lack_of_one_is_taken_for_a_signature() {
    let (key, other) = (SigningKey::rsa("k"), SigningKey::rsa("k"));
    let set = set(&[&key]);
    let fault = |token: &str| rules().check(token, &set, NOW).expect_err("it is refused");
    for algorithm in ["none", "None", "HS256", "HS512", "RS1", ""] {
        let header = json!({"alg": algorithm, "kid": "k"});
        let signed = unsigned(&header, &claims());
        assert_eq!(fault(&format!("{signed}.")), TokenFault::Algorithm, "{algorithm}");
        let secret = hmac::Key::new(hmac::HMAC_SHA256, &key.mistaken_secret());
        let signature = encoded(hmac::sign(&secret, signed.as_bytes()).as_ref());
        let token = format!("{signed}.{signature}");
        assert_eq!(fault(&token), TokenFault::Algorithm, "{algorithm}");
    }
    // Of an algorithm that is listed.
    let header = json!({"alg": "RS256", "kid": "k"});
    assert_eq!(
        fault(&format!("{}.", unsigned(&header, &claims()))),
        TokenFault::Signature
    );
    assert_eq!(fault(&other.token(&claims())), TokenFault::Signature);
    let good = key.token(&claims());
    let (_, signature) = good.rsplit_once('.').expect("three parts");
    let others = with("sub", json!("mallory"));
    let changed = format!("{}.{signature}", unsigned(&header, &others));
    assert_eq!(fault(&changed), TokenFault::Signature);
    let critical = key.sign(&json!({"alg": "RS256", "kid": "k", "crit": ["b64"]}), &claims());
    assert_eq!(fault(&critical), TokenFault::Critical);
    // Its own key within it vouches for nothing.
    let own = other.sign(
        &json!({"alg": "RS256", "kid": "k", "jwk": other.jwk(), "jku": "http://127.0.0.1/"}),
        &claims(),
    );
    assert_eq!(fault(&own), TokenFault::Signature);
}

/// KEY-SET-1, KEY-SET-2
#[test]
fn a_key_is_used_for_what_it_is_only() {
    let (rsa, ec) = (SigningKey::rsa("k"), SigningKey::ec("e"));
    let set_of = |jwk: Value| KeySet::parse(json!({"keys": [jwk]}).to_string().as_bytes());
    let check = |jwk: Value, token: &str| rules().check(token, &set_of(jwk).expect("a set"), NOW);
    let token = rsa.token(&claims());
    let named = |name: &str, value: Value| {
        let mut jwk = rsa.jwk();
        jwk[name] = value;
        jwk
    };
    assert!(check(named("alg", json!("RS256")), &token).is_ok());
    assert_eq!(
        check(named("alg", json!("RS512")), &token),
        Err(TokenFault::OtherKey)
    );
    let under_other = rsa.sign(&json!({"alg": "ES256", "kid": "k"}), &claims());
    assert_eq!(check(rsa.jwk(), &under_other), Err(TokenFault::OtherKey));
    for unusable in [
        named("use", json!("enc")),
        named("key_ops", json!(["sign"])),
        named("alg", json!("RSA-OAEP")),
        named("alg", json!("HS256")),
        named("alg", json!("ES256")),
        named("kty", json!("oct")),
        named("d", json!("AQAB")),
        named("n", json!(encoded(&[0xff; 128]))),
        named("n", json!("not base64!")),
        named("kid", json!("k".repeat(ID_BYTES_MAX + 1))),
        json!({"kty": "oct", "k": "c2VjcmV0", "kid": "k", "alg": "HS256"}),
    ] {
        let shown = unusable.to_string();
        let read = set_of(unusable);
        assert!(
            matches!(read, Err(super::super::key_set::KeySetError::Empty)),
            "{shown}"
        );
    }
    // One that cannot be used does not spoil the others.
    let both = json!({"keys": [{"kty": "future"}, 7, ec.jwk(), rsa.jwk()]}).to_string();
    let both = KeySet::parse(both.as_bytes()).expect("a set");
    assert_eq!(both.key_count(), 2);
    assert!(rules().check(&token, &both, NOW).is_ok());
}

#[test]
fn keys_are_found_by_their_ids() {
    let [one, other, nameless] = ["k", "k", ""].map(SigningKey::ec);
    let set = set(&[&one, &other, &nameless]);
    for key in [&one, &other, &nameless] {
        assert!(
            rules().check(&key.token(&claims()), &set, NOW).is_ok(),
            "two of one id, and one without"
        );
    }
    let unknown = one.sign(&json!({"alg": "ES256", "kid": "other"}), &claims());
    assert_eq!(rules().check(&unknown, &set, NOW), Err(TokenFault::UnknownKey));
    assert_eq!(key_id(&unknown).as_deref(), Some("other"));
    let nameless = one.sign(&json!({"alg": "ES256"}), &claims());
    assert_eq!(rules().check(&nameless, &set, NOW), Err(TokenFault::Signature));
    assert_eq!(key_id(&nameless), None);
    for (bytes, id) in [(ID_BYTES_MAX, true), (ID_BYTES_MAX + 1, false)] {
        let long = one.sign(&json!({"alg": "ES256", "kid": "k".repeat(bytes)}), &claims());
        assert_eq!(key_id(&long).is_some(), id);
    }
}

/// TOKEN-2
#[test]
fn every_claim_is_looked_at() {
    let key = SigningKey::ec("k");
    let set = set(&[&key]);
    let at = |seconds: i64| json!(i64::try_from(NOW.as_secs()).expect("it fits") + seconds);
    for (name, value, expected) in [
        (
            "iss",
            json!("https://issuer.example.com/"),
            Some(TokenFault::Issuer),
        ),
        (
            "iss",
            json!(["https://issuer.example.com"]),
            Some(TokenFault::Issuer),
        ),
        ("iss", Value::Null, Some(TokenFault::Issuer)),
        ("aud", json!("other"), Some(TokenFault::Audience)),
        ("aud", json!(["other", 7]), Some(TokenFault::Audience)),
        ("aud", json!([]), Some(TokenFault::Audience)),
        ("aud", Value::Null, Some(TokenFault::Audience)),
        ("aud", json!(["other", "sealwire"]), None),
        ("exp", Value::Null, Some(TokenFault::NoClaim("exp"))),
        ("exp", json!("soon"), Some(TokenFault::NoClaim("exp"))),
        ("exp", json!(-1), Some(TokenFault::NoClaim("exp"))),
        ("exp", json!(1e300), Some(TokenFault::NoClaim("exp"))),
        ("exp", at(-30), Some(TokenFault::Expired)),
        ("exp", at(-29), None),
        ("iat", Value::Null, Some(TokenFault::NoClaim("iat"))),
        ("iat", json!("then"), Some(TokenFault::NoClaim("iat"))),
        ("nbf", at(31), Some(TokenFault::NotYet)),
        ("nbf", at(30), None),
        ("nbf", json!("then"), Some(TokenFault::NoClaim("nbf"))),
        ("sub", Value::Null, Some(TokenFault::Principal)),
        ("sub", json!(7), Some(TokenFault::Principal)),
        ("sub", json!(" "), Some(TokenFault::Principal)),
        ("sub", json!("n".repeat(USER_BYTES_MAX)), None),
        (
            "sub",
            json!("n".repeat(USER_BYTES_MAX + 1)),
            Some(TokenFault::Principal),
        ),
        ("scope", json!({"any": ["thing"]}), None),
    ] {
        let claims = with(name, value.clone());
        let fault = rules().check(&key.token(&claims), &set, NOW).err();
        assert_eq!(fault, expected, "{name}: {value}");
    }
    let rules = TokenRules {
        principal_claim: "client_id".to_owned(),
        ..rules()
    };
    let token = key.token(&with("client_id", json!("orders")));
    let bearer = rules.check(&token, &set, NOW).expect("it is good");
    assert_eq!(bearer.principal.to_string(), "User:orders");
}

#[test]
fn what_is_no_token_is_refused() {
    let key = SigningKey::ec("k");
    let set = set(&[&key]);
    let good = key.token(&claims());
    let parts: Vec<_> = good.split('.').collect();
    let header = encoded(br#"{"alg":"ES256","kid":"k","alg":"ES256"}"#);
    for token in [
        String::new(),
        "..".to_owned(),
        parts[..2].join("."),
        format!("{good}.{}", parts[2]),
        format!("{good}="),
        format!("!{good}"),
        format!("{header}.{}.{}", parts[1], parts[2]),
        format!("{}.{}.{}", "h".repeat(HEADER_BYTES_MAX + 1), parts[1], parts[2]),
        format!("{good}{}", "A".repeat(TOKEN_BYTES_MAX)),
    ] {
        let fault = rules().check(&token, &set, NOW);
        assert!(
            matches!(fault, Err(TokenFault::Malformed | TokenFault::Signature)),
            "{fault:?}"
        );
    }
    // Signed, and nonsense all the same.
    for claims in [json!([]), json!("text"), json!(7)] {
        assert_eq!(
            rules().check(&key.token(&claims), &set, NOW),
            Err(TokenFault::Malformed)
        );
    }
}

#[test]
fn a_set_is_bounded() {
    use super::super::key_set::{KeySetError, SET_BYTES_MAX};
    let key = SigningKey::ec("k");
    let parse = |text: &str| KeySet::parse(text.as_bytes()).map(|set| set.key_count());
    let of = |count: usize| json!({"keys": vec![key.jwk(); count]}).to_string();
    assert_eq!(parse(&of(200)), Ok(200));
    assert_eq!(parse(&of(201)), Err(KeySetError::TooMany));
    let mut padded = of(1);
    padded.push_str(&" ".repeat(SET_BYTES_MAX - padded.len()));
    assert_eq!(parse(&padded), Ok(1));
    padded.push(' ');
    assert_eq!(parse(&padded), Err(KeySetError::TooLong));
    for malformed in ["", "[]", "{}", "{\"keys\": {}}", "<html>", "{\"keys\": [}"] {
        assert_eq!(parse(malformed), Err(KeySetError::Malformed), "{malformed}");
    }
    let deep = format!("{{\"keys\":{}}}", "[".repeat(100_000));
    assert_eq!(parse(&deep), Err(KeySetError::Malformed));
    assert_eq!(parse("{\"keys\": []}"), Err(KeySetError::Empty));
}
