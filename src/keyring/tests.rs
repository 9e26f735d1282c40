//! Documents of keyrings, pins, and what tells keys and rings apart.

use std::fmt::Debug;

use proptest::prelude::*;

use super::*;
use crate::kms::KekNames;

type TestResult = Result<(), Box<dyn std::error::Error>>;

fn key(byte: u8) -> SecretKey {
    SecretKey::from_bytes(&mut [byte; 32]).unwrap_or_else(|error| panic!("{error}"))
}

fn wrapped(kek: &str, version: u8, blob: u8) -> Box<[u8]> {
    let wrapped = KekNames::as_written(2, [7; 4]).wrapped(kek, &[version], &[blob; 60]);
    wrapped.map_or_else(|| panic!("it fits"), Vec::into_boxed_slice)
}

/// Two keys; domains of customers seal with the first, orders with the second.
fn ring() -> Result<(Keyring, [StableKeyId; 2]), KeyringError> {
    let mut ring = Keyring::default();
    let first = ring.add("customers", &key(1), &wrapped("payments", 1, 1), 1_700_000_000)?;
    let second = ring.add("orders", &key(2), &wrapped("payments", 1, 2), 1_700_000_001)?;
    assign(&mut ring, "customers-*", "customers", false)?;
    assign(&mut ring, "orders", &second.to_string(), false)?;
    Ok((ring, [first, second]))
}

fn assign(ring: &mut Keyring, domain: &str, key: &str, topic_is_new: bool) -> Result<Assigned, KeyringError> {
    let id = ring.named(key)?.id();
    ring.assign(domain, id, topic_is_new)
}

fn text_of(ring: &Keyring) -> Result<String, Box<dyn std::error::Error>> {
    Ok(String::from_utf8(ring.to_json()?)?)
}

fn said<T: Debug>(result: Result<T, KeyringError>) -> String {
    result.map_or_else(|error| error.to_string(), |value| format!("{value:?}"))
}

#[test]
fn what_was_written_is_read_and_the_document_is_pinned() -> TestResult {
    let (ring, [first, second]) = ring()?;
    assert_eq!(first, StableKeyId::of_wrapped(&wrapped("payments", 1, 1)));
    let bytes = ring.to_json()?;
    let again = Keyring::parse(&bytes)?;
    assert_eq!(
        (again.revision(), again.keys().len(), again.pins().len()),
        (4, 2, 2)
    );
    assert_eq!(format!("{again:?}"), format!("{ring:?}"));
    let document: serde_json::Value = serde_json::from_slice(&bytes)?;
    assert_eq!(
        document["pins"],
        serde_json::json!([
            { "domain": "customers-*", "key": first.to_string() },
            { "domain": "orders", "key": second.to_string() },
        ])
    );
    let entry = &document["keys"][0];
    let fields: Vec<_> = entry.as_object().ok_or("no object")?.keys().collect();
    assert_eq!(fields, ["check", "created_unix_seconds", "id", "name", "wrapped"]);
    assert_eq!(
        (
            &entry["name"],
            &entry["created_unix_seconds"],
            &document["format"],
            &document["format_version"]
        ),
        (
            &"customers".into(),
            &1_700_000_000.into(),
            &"sealwire-keyring".into(),
            &1.into()
        )
    );
    Ok(())
}

#[test]
fn the_first_pin_that_matches_decides_and_without_one_nothing_is_sealed() -> TestResult {
    let (mut ring, [first, second]) = ring()?;
    assert_eq!(assign(&mut ring, "*", "orders", false)?, Assigned::Done);
    for (domain, id) in [
        ("customers-eu", first),
        ("customers-", first),
        ("orders", second),
        ("order", second),
    ] {
        assert_eq!(ring.key_of(domain), Some(id), "{domain}");
    }
    ring.pins.pop();
    for domain in ["order", "orders-eu", "customers", ""] {
        assert_eq!(ring.key_of(domain), None, "{domain}");
    }
    Ok(())
}

/// KEYRING-3
#[test]
fn what_is_pinned_stays_unless_the_topic_is_new() -> TestResult {
    let (mut ring, [first, second]) = ring()?;
    let before = ring.fingerprint();
    for (domain, key) in [
        ("customers-eu", "customers"),
        ("customers-*", "customers"),
        ("customers-eu-*", &first.to_string()),
        ("orders", "orders"),
    ] {
        for topic in [false, true] {
            assert_eq!(
                assign(&mut ring, domain, key, topic)?,
                Assigned::NothingToChange,
                "{domain}"
            );
        }
    }
    for (domain, key) in [
        ("customers-eu", "orders"),
        ("customers-*", "orders"),
        ("customers-??", "orders"),
        ("orders", "customers"),
    ] {
        let refused = said(assign(&mut ring, domain, key, false));
        for part in [
            "the log cleaner",
            "docs/keys-of-records.md",
            "--topic-is-new",
            "(pin ",
        ] {
            assert!(refused.contains(part), "{domain}: {refused}");
        }
    }
    let refused = said(assign(&mut ring, "customers-eu", "orders", false));
    assert!(
        refused.contains(&format!("the stable key {first} already (pin \"customers-*\")")),
        "{refused}"
    );
    // A pattern in front of another one could be about topics that live, whatever is said of it.
    let refused = said(assign(&mut ring, "customers-eu-*", "orders", true));
    assert!(
        refused.contains("assign each new domain by its whole name"),
        "{refused}"
    );
    assert_eq!(ring.fingerprint(), before, "what was refused has changed nothing");

    assert_eq!(assign(&mut ring, "customers-eu", "orders", true)?, Assigned::Done);
    assert_eq!(ring.key_of("customers-eu"), Some(second));
    assert_eq!(ring.key_of("customers-us"), Some(first));
    assert_eq!(assign(&mut ring, "orders", "customers", true)?, Assigned::Done);
    let texts: Vec<_> = ring.pins().iter().map(|pin| (pin.text(), pin.key())).collect();
    assert_eq!(
        texts,
        [
            ("customers-eu", second),
            ("customers-*", first),
            ("orders", first)
        ]
    );
    // A wider pattern behind changes nothing for whoever had a pin.
    assign(&mut ring, "*", "orders", false)?;
    assert_eq!(ring.key_of("customers-us"), Some(first));
    Ok(())
}

/// A pin that decided nothing, since one in front took all of it, is not left behind.
#[test]
fn a_domain_has_one_pin_of_its_text() -> TestResult {
    let (mut ring, [first, second]) = ring()?;
    ring.pins.push(Pin {
        text: "customers-eu".to_owned(),
        domains: Matcher::exact_of_any("customers-eu")?,
        key: first,
    });
    assign(&mut ring, "customers-eu", "orders", true)?;
    let texts: Vec<_> = ring.pins().iter().map(|pin| (pin.text(), pin.key())).collect();
    assert_eq!(
        texts,
        [
            ("customers-eu", second),
            ("customers-*", first),
            ("orders", second)
        ]
    );
    Ok(())
}

/// KEYRING-3
#[test]
fn a_pin_goes_with_its_topics_and_a_key_with_its_pins() -> TestResult {
    let (mut ring, [first, second]) = ring()?;
    assert!(said(ring.unassign("orders", false)).contains("say --topic-is-gone"));
    assert_eq!(ring.key_of("orders"), Some(second));
    assert!(matches!(
        ring.unassign("customers-eu", true),
        Err(KeyringError::PinUnknown { but, .. }) if but == ": \"customers-*\" takes it"
    ));
    assert!(matches!(
        ring.remove(second),
        Err(KeyringError::StillPinned { pin, .. }) if pin == "orders"
    ));
    let revision = ring.revision();
    assert_eq!(ring.unassign("orders", true)?, second);
    assert_eq!((ring.key_of("orders"), ring.revision()), (None, revision + 1));
    ring.remove(second)?;
    let again = Keyring::parse(&ring.to_json()?)?;
    assert!(again.key(second).is_none() && again.key(first).is_some());
    assert_eq!(
        (again.key_of("customers-eu"), again.revision()),
        (Some(first), revision + 2)
    );
    Ok(())
}

#[test]
fn what_is_pinned_before_a_pattern_is_known() -> TestResult {
    let (mut ring, _) = ring()?;
    assign(&mut ring, "order*", "customers", false)?;
    assert_eq!(ring.pins_before("order*"), ["orders"]);
    assign(&mut ring, "*", "orders", false)?;
    assert_eq!(ring.pins_before("*"), ["customers-*", "orders", "order*"]);
    assert_eq!(ring.pins_before("orders"), Vec::<&str>::new());
    Ok(())
}

/// KEYRING-2
#[test]
fn a_key_opens_only_under_its_own_entry() -> TestResult {
    let (ring, [first, second]) = ring()?;
    let entry = |ring: &Keyring, id| {
        ring.key(id)
            .map(|entry| entry.open(key(1)).map(|key| key.is_same(&self::key(1))))
    };
    assert!(matches!(entry(&ring, first), Some(Ok(true))));
    assert!(matches!(
        entry(&ring, second),
        Some(Err(KeyringError::WrongKey(_)))
    ));
    // Swapped: the wrapped forms, or the ids.
    let text = text_of(&ring)?;
    let (one, other) = (first.to_string(), second.to_string());
    let swapped = text.replace(&one, "?").replace(&other, &one).replace('?', &other);
    let swapped = Keyring::parse(swapped.as_bytes())?;
    for (id, byte) in [(first, 2), (second, 1)] {
        let entry = swapped.key(id).ok_or("it is there")?;
        assert!(
            matches!(entry.open(key(byte)), Err(KeyringError::WrongKey(_))),
            "{id}"
        );
    }
    Ok(())
}

#[test]
fn wrapping_anew_keeps_the_id_and_takes_no_other_key() -> TestResult {
    let (mut ring, [first, _]) = ring()?;
    let before = ring.fingerprint();
    let refused = ring.rewrap(first, key(2), &wrapped("payments", 2, 9));
    assert!(matches!(refused, Err(KeyringError::WrongKey(_))));
    assert!(ring.rewrap(first, key(1), &[]).is_err());
    ring.rewrap(first, key(1), &wrapped("others", 2, 9))?;
    let entry = ring.key(first).ok_or("it is there")?;
    assert_eq!(
        entry.kek().map(|parts| (parts.kek, parts.version)),
        Some((&b"others"[..], &[2][..]))
    );
    assert!(entry.open(key(1)).is_ok());
    assert_eq!(ring.fingerprint(), before);
    assert!(
        ring.rewrap(StableKeyId::from_bytes([0; 4]), key(1), &wrapped("others", 2, 9))
            .is_err()
    );
    Ok(())
}

#[test]
fn names_and_ids_stand_for_one_key_each() -> TestResult {
    let (mut ring, [first, _]) = ring()?;
    assert_eq!(ring.named("customers")?.id(), first);
    assert_eq!(ring.named(&first.to_string())?.name(), "customers");
    assert!(said(ring.named("nobody").map(KeyringKey::id)).contains("no stable key \"nobody\""));
    let mut add = |name: &str, blob| said(ring.add(name, &key(3), &wrapped("payments", 1, blob), 0));
    assert!(add("customers", 3).contains("a stable key customers already"));
    assert!(
        add("others", 1).contains("run the command again"),
        "the id is taken"
    );
    for name in ["", "two words", "ümlaut", "9f86d081", "a\nb", &"n".repeat(256)] {
        assert!(add(name, 3).contains("cannot name a stable key"), "{name:?}");
    }
    // No id: one digit too many, or capitals.
    assert_eq!(add("9f86d0811", 3).len(), 8);
    assert_eq!(add("9F86D081", 4).len(), 8);
    Ok(())
}

#[test]
fn rings_that_seal_alike_have_one_fingerprint_and_others_another() -> TestResult {
    let (one, [_, second]) = ring()?;
    let mut other = Keyring::default();
    // Made in another order, called otherwise, and wrapped anew since.
    other.add("o", &key(2), &wrapped("payments", 1, 2), 5)?;
    let first = other.add("c", &key(1), &wrapped("payments", 1, 1), 6)?;
    other.rewrap(second, key(2), &wrapped("others", 9, 9))?;
    assign(&mut other, "customers-*", "c", false)?;
    assert_ne!(one.fingerprint(), other.fingerprint(), "a pin is missing");
    assign(&mut other, "orders", "o", false)?;
    assert_eq!(one.fingerprint(), other.fingerprint());
    assert_eq!(one.fingerprint(), "07febb5ca2d72af461fa087a44760768");

    other.pins.reverse();
    assert_ne!(
        one.fingerprint(),
        other.fingerprint(),
        "pins are tried in their order"
    );
    other.pins.reverse();
    for change in [
        |ring: &mut Keyring| ring.keys[0].check[15] ^= 1,
        |ring: &mut Keyring| ring.keys.truncate(1),
        |ring: &mut Keyring| ring.pins[1].key = ring.pins[0].key,
        |ring: &mut Keyring| ring.pins[1].text = "orders2".into(),
    ] {
        let (mut changed, _) = ring()?;
        change(&mut changed);
        assert_ne!(one.fingerprint(), changed.fingerprint());
    }
    assert_eq!(other.key_of("customers-eu"), Some(first));
    Ok(())
}

#[expect(clippy::too_many_lines, reason = "a list of cases")]
#[test]
fn what_is_no_keyring_is_refused_with_words() -> TestResult {
    let (ring, [first, second]) = ring()?;
    let text = text_of(&ring)?;
    let first = &first.to_string();
    let second = &second.to_string();
    let long = format!("\"wrapped\": \"{}\"", "A".repeat(2736));
    let some = text
        .lines()
        .find(|line| line.contains("\"wrapped\""))
        .ok_or("a key")?
        .trim()
        .trim_end_matches(',');
    let check = text
        .lines()
        .find(|line| line.contains("\"check\""))
        .ok_or("a key")?
        .trim();
    for (from, to, says) in [
        (
            "sealwire-keyring",
            "sealwire-keystore",
            "does not say `sealwire-keyring`",
        ),
        (
            "\"format_version\": 1",
            "\"format_version\": 2",
            "format_version is 2, this version of sealwire reads 1",
        ),
        (
            "\"revision\"",
            "\"later\": 1, \"revision\"",
            "unknown field `later`",
        ),
        (
            "\"created_unix_seconds\"",
            "\"state\": 1, \"created_unix_seconds\"",
            "unknown field `state`",
        ),
        (
            "\"domain\": \"orders\"",
            "\"domain\": \"orders\", \"a\": 1",
            "unknown field `a`",
        ),
        (
            "\"domain\": \"orders\"",
            "\"domain\": \"customers-*\"",
            "two pins are for the same domains",
        ),
        ("\"domain\": \"orders\"", "\"domain\": \"\"", "is empty"),
        (
            "\"name\": \"orders\"",
            "\"name\": \"customers\"",
            "two stable keys have the name customers",
        ),
        (
            "\"name\": \"orders\"",
            "\"name\": \"a b\"",
            "cannot name a stable key",
        ),
        (
            &format!("\"id\": \"{second}\""),
            &format!("\"id\": \"{first}\""),
            "two stable keys have the id",
        ),
        (
            &format!("\"id\": \"{second}\""),
            "\"id\": \"9F86D081\"",
            "8 hexadecimal digits",
        ),
        (
            &format!("\"key\": \"{second}\""),
            "\"key\": \"00000000\"",
            "a pin names the stable key 00000000",
        ),
        (
            &format!("\"key\": \"{second}\""),
            "\"key\": \"orders\"",
            "8 hexadecimal digits",
        ),
        (some, &long, ": wrapped: the wrapped data key is"),
        (
            some,
            "\"wrapped\": \"AgcHBwc=\"",
            ": wrapped: the wrapped data key is",
        ),
        (some, "\"wrapped\": \"?\"", ": wrapped: the wrapped data key is"),
        (check, "\"check\": \"AAAA\"", "check must be 16 bytes in base64"),
    ] {
        assert!(text.contains(from), "{from}");
        let refused = said(Keyring::parse(text.replace(from, to).as_bytes()));
        assert!(refused.contains(says), "{to}: {refused}");
    }
    let large = [text.as_bytes(), &vec![b' '; KEYRING_BYTES_MAX]].concat();
    assert!(said(Keyring::parse(&large)).contains("it is too large"));
    for bytes in [&b""[..], b"{", b"[]", b"null", &text.as_bytes()[..text.len() / 2]] {
        assert!(said(Keyring::parse(bytes)).contains("not a keyring"), "{bytes:?}");
    }
    Ok(())
}

#[test]
fn a_file_is_made_and_read_and_named_in_errors() -> TestResult {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("keyring.json");
    assert!(matches!(read_file(&path), Err(KeyringError::File(_))));
    let (ring, _) = ring()?;
    lock_file(&path)?.replace(&ring.to_json()?)?;
    assert_eq!(read_file(&path)?.0.fingerprint(), ring.fingerprint());
    std::fs::write(&path, "nothing")?;
    let refused = said(read_file(&path).map(drop));
    assert!(refused.contains("keyring.json: not a keyring"), "{refused}");
    Ok(())
}

proptest! {
    /// KEYRING-1: whatever the bytes are, nothing panics; what is read is written so that it is read as the same.
    #[test]
    fn hostile_bytes_are_read_or_refused(
        at in any::<prop::sample::Index>(),
        bytes in prop::collection::vec(any::<u8>(), 0..8),
        cut in any::<prop::sample::Index>(),
        noise in prop::collection::vec(any::<u8>(), 0..256),
    ) {
        prop_assert!(Keyring::parse(&noise).is_err());
        let (ring, _) = ring().map_err(|error| TestCaseError::fail(error.to_string()))?;
        let mut text = ring.to_json().map_err(|error| TestCaseError::fail(error.to_string()))?;
        let from = at.index(text.len());
        let to = (from + bytes.len()).min(text.len());
        text.splice(from..to, bytes);
        for text in [&text[..], &text[..cut.index(text.len())]] {
            if let Ok(read) = Keyring::parse(text) {
                let written = read.to_json().map(|bytes| Keyring::parse(&bytes).map(|again| format!("{again:?}")));
                match written {
                    Ok(again) => prop_assert_eq!(again.ok(), Some(format!("{read:?}"))),
                    Err(error) => prop_assert!(matches!(error, KeyringError::Full), "{}", error),
                }
            }
        }
    }
}
