//! Keyrings are read, changed and compared.

use proptest::prelude::*;

use super::*;

fn key(byte: u8) -> SecretKey {
    SecretKey::from_bytes(&mut [byte; 32]).unwrap()
}

fn two_keys() -> (Keyring, StableKeyId, StableKeyId) {
    let mut keyring = Keyring::default();
    let one = keyring
        .add("one", &key(1), b"wrapped one", 1_700_000_000)
        .unwrap();
    let two = keyring
        .add("two", &key(2), b"wrapped two", 1_700_000_001)
        .unwrap();
    (keyring, one, two)
}

/// KEYRING-3
#[test]
fn a_domain_keeps_its_key_unless_its_topic_is_new() {
    let (mut keyring, one, two) = two_keys();
    assert_eq!(keyring.key_of("orders"), None);
    assert_eq!(keyring.assign("orders", one, false).unwrap(), Assigned::Done);
    assert_eq!(
        keyring.assign("orders", one, false).unwrap(),
        Assigned::NothingToChange
    );
    for domain in ["orders", "o*"] {
        let refused = keyring.assign(domain, two, false);
        match domain {
            "orders" => assert!(matches!(refused, Err(KeyringError::Pinned { key, .. }) if key == one)),
            // What has a key keeps it: the glob is for others.
            _ => assert_eq!(refused.unwrap(), Assigned::Done),
        }
        assert_eq!(keyring.key_of("orders"), Some(one));
    }
    assert_eq!(keyring.key_of("offers"), Some(two));
    let refused = keyring.assign("offers", one, false).unwrap_err().to_string();
    assert!(
        refused.contains("\"o*\"") && refused.contains("--topic-is-new"),
        "{refused}"
    );
    assert_eq!(keyring.assign("offers", one, true).unwrap(), Assigned::Done);
    assert_eq!(keyring.key_of("offers"), Some(one));
    assert_eq!(keyring.key_of("other"), Some(two));
    // Two of the same text are never there, whichever way they came.
    assert_eq!(keyring.assign("orders", two, true).unwrap(), Assigned::Done);
    assert_eq!(keyring.key_of("orders"), Some(two));
    assert!(Keyring::parse(&keyring.to_json().unwrap()).is_ok());
}

/// KEYRING-2
#[test]
fn an_id_stands_for_one_key_alone() {
    let (mut keyring, one, two) = two_keys();
    let known = keyring.key(one).unwrap();
    assert!(known.open(key(1)).is_ok());
    assert!(matches!(known.open(key(2)), Err(KeyringError::WrongKey(id)) if id == one));
    assert!(keyring.rewrap(one, key(2), b"again").is_err());
    keyring.rewrap(one, key(1), b"again").unwrap();
    let known = keyring.key(one).unwrap();
    assert_eq!((known.id(), known.wrapped()), (one, &b"again"[..]));
    assert!(known.open(key(1)).is_ok());
    for name in ["one", "two"] {
        assert!(matches!(
            keyring.add(name, &key(3), b"three", 0),
            Err(KeyringError::KeyExists(_))
        ));
    }
    assert_eq!(keyring.named("two").unwrap().id(), two);
    assert_eq!(keyring.named(&two.to_string()).unwrap().id(), two);
    assert!(keyring.named("three").is_err());
}

#[test]
fn what_is_written_is_read_and_seals_alike() {
    let (mut keyring, one, _) = two_keys();
    keyring.assign("orders", one, false).unwrap();
    let read = Keyring::parse(&keyring.to_json().unwrap()).unwrap();
    assert_eq!(read.to_json().unwrap(), keyring.to_json().unwrap());
    assert_eq!((read.revision(), read.keys().len(), read.pins().len()), (3, 2, 1));
    let fingerprint = keyring.fingerprint();
    assert_eq!(fingerprint.len(), 32);
    keyring.rewrap(one, key(1), b"again").unwrap();
    assert_eq!(keyring.fingerprint(), fingerprint);
    keyring.assign("payments", one, false).unwrap();
    assert_ne!(keyring.fingerprint(), fingerprint);
}

#[test]
fn mistakes_are_named() {
    let (mut keyring, one, _) = two_keys();
    keyring.assign("orders", one, false).unwrap();
    let good = String::from_utf8(keyring.to_json().unwrap()).unwrap();
    let id = one.to_string();
    for (from, to, said) in [
        ("sealwire-keyring", "sealwire-keystore", "sealwire-keyring"),
        (
            "\"format_version\": 1",
            "\"format_version\": 2",
            "format_version is 2",
        ),
        ("\"revision\"", "\"revisions\"", "unknown field"),
        (
            "\"name\": \"two\"",
            "\"name\": \"one\"",
            "two stable keys have the name one",
        ),
        (
            "\"name\": \"two\"",
            "\"name\": \"t o\"",
            "cannot name a stable key",
        ),
        ("\"domain\": \"orders\"", "\"domain\": \"\"", "is empty"),
        (
            &format!("\"key\": \"{id}\""),
            "\"key\": \"00000000\"",
            "which is not there",
        ),
        (&id, "0000", "8 hexadecimal digits"),
    ] {
        assert!(good.contains(from), "{from}");
        let error = Keyring::parse(good.replace(from, to).as_bytes())
            .unwrap_err()
            .to_string();
        assert!(error.contains(said), "{from}: {error}");
    }
    for cut in 0..good.len() - 1 {
        assert!(Keyring::parse(&good.as_bytes()[..cut]).is_err());
    }
}

proptest! {
    /// KEYRING-1
    #[test]
    fn hostile_bytes_never_panic(
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
    ) {
        let (mut keyring, one, _) = two_keys();
        keyring.assign("o*", one, false).unwrap();
        let mut bytes = keyring.to_json().unwrap();
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if let Ok(keyring) = Keyring::parse(&bytes) {
            let _ = (keyring.key_of("orders"), keyring.fingerprint(), keyring.to_json());
        }
    }
}
