//! Documents of keystores: vectors, editing, hostile ones.

use proptest::prelude::*;
use zeroize::Zeroizing;

use super::*;
use crate::crypto::SecretKey;
use crate::kms::KmsError;

pub(crate) const KEY_VECTOR: &str = include_str!("../../../tests/vectors/keystore/key.json");
const PASSPHRASE_VECTOR: &str = include_str!("../../../tests/vectors/keystore/passphrase.json");

pub(crate) fn master(byte: u8) -> MasterSecret {
    match SecretKey::from_bytes(&mut [byte; 32]) {
        Ok(key) => MasterSecret::Key(key),
        Err(error) => panic!("{error}"),
    }
}

fn passphrase(text: &str) -> MasterSecret {
    MasterSecret::Passphrase(Zeroizing::new(text.as_bytes().to_vec()))
}

fn open(bytes: &[u8], secret: MasterSecret) -> Result<OpenKeystore, KeystoreError> {
    Keystore::parse(bytes)?.authenticate(secret)
}

fn states(keystore: &OpenKeystore, kek: &str) -> Vec<(u32, KekState)> {
    keystore
        .keks()
        .filter(|(name, _)| name.as_str() == kek)
        .flat_map(|(_, versions)| versions.iter().map(|version| (version.number(), version.state())))
        .collect()
}

/// Files that another implementation made from the documentation.
#[test]
fn vectors_open_and_hold_what_they_were_made_with() -> Result<(), KeystoreError> {
    for (vector, secret) in [
        (KEY_VECTOR, master(0x11)),
        (PASSPHRASE_VECTOR, passphrase("correct horse battery")),
        (PASSPHRASE_VECTOR, passphrase("correct horse battery\r\n")),
    ] {
        let keystore = open(vector.as_bytes(), secret)?;
        assert_eq!(keystore.revision(), 7);
        assert_eq!(keystore.id(), &std::array::from_fn(|index| index as u8));
        assert_eq!(keystore.current_version("payments"), Ok(3));
        assert_eq!(
            keystore.unwrap_kek("payments", 3).map(|key| *key.expose()),
            Ok([0x43; 32])
        );
        assert_eq!(
            keystore.unwrap_kek("payments", 2).map(|key| *key.expose()),
            Ok([0x42; 32])
        );
        for (kek, version, error) in [
            ("payments", 1, KmsError::KekDestroyed),
            ("payments", 4, KmsError::KekVersionNotFound("4".to_owned())),
            ("audit.log", 1, KmsError::KekDisabled),
            ("payment", 1, KmsError::KekNotFound),
        ] {
            assert_eq!(
                keystore.unwrap_kek(kek, version).err(),
                Some(error),
                "{kek} {version}"
            );
        }
        assert_eq!(keystore.current_version("audit.log"), Err(KmsError::KekDisabled));
    }
    Ok(())
}

#[test]
fn wrong_secrets_are_told_from_alterations() {
    let refused = |vector: &str, secret| {
        open(vector.as_bytes(), secret)
            .err()
            .map(|error| error.to_string())
    };
    let wrong = Some(KeystoreError::WrongMasterKey.to_string());
    assert_eq!(refused(KEY_VECTOR, master(0x12)), wrong);
    assert_eq!(
        refused(PASSPHRASE_VECTOR, passphrase("correct horse batterY")),
        wrong
    );
    let altered = Some(KeystoreError::Altered.to_string());
    for vector in [KEY_VECTOR, PASSPHRASE_VECTOR] {
        let newer = vector.replace("\"revision\": 7", "\"revision\": 8");
        let secret = if vector == KEY_VECTOR {
            master(0x11)
        } else {
            passphrase("correct horse battery")
        };
        assert_eq!(refused(&newer, secret), altered);
    }
    // The kind of secret is said before anything is derived.
    for (vector, secret) in [
        (KEY_VECTOR, passphrase("correct horse battery")),
        (PASSPHRASE_VECTOR, master(0x11)),
    ] {
        assert!(matches!(
            open(vector.as_bytes(), secret),
            Err(KeystoreError::MasterKey(_))
        ));
    }
}

/// Whoever can write the file can make it unusable and nothing else.
#[test]
fn no_flipped_bit_is_accepted() {
    for at in 0..KEY_VECTOR.len() {
        for bit in 0..8 {
            let mut altered = KEY_VECTOR.as_bytes().to_vec();
            altered[at] ^= 1 << bit;
            // JSON lets white space be another white space.
            let same = altered[at].is_ascii_whitespace() && KEY_VECTOR.as_bytes()[at].is_ascii_whitespace();
            assert!(
                same || open(&altered, master(0x11)).is_err(),
                "byte {at} bit {bit}"
            );
        }
    }
}

/// KEYSTORE-1, CONTENTS-2
#[test]
fn no_field_can_be_changed_without_the_master_key() {
    for (from, to) in [
        ("\"state\": \"disabled\"", "\"state\": \"current\""),
        ("\"state\": \"decrypt-only\"", "\"state\": \"disabled\""),
        ("\"revision\": 7", "\"revision\": 9"),
        ("1700000000", "1700000001"),
        ("audit.log", "audit.lag"),
        ("\"version\": 3", "\"version\": 4"),
        // A wrapped key of another version.
        (
            "goKCgoKCgoKCgoKClOVd0IYKkhWjAFyYp8ryZQXr13iauiEXV2H2+3GDMb2fERXNBa7V0c9AQGqUstPK",
            "g4ODg4ODg4ODg4ODquc7kSIprLPmc+st1ejYWi3k4FqBNhwsuprPdci5/naSPUMpfkENCaCnRfdGYPh1",
        ),
    ] {
        let altered = KEY_VECTOR.replacen(from, to, 1);
        assert_ne!(altered, KEY_VECTOR, "{from}");
        assert!(
            matches!(
                open(altered.as_bytes(), master(0x11)),
                Err(KeystoreError::Altered)
            ),
            "{from}"
        );
    }
    for (from, to) in [
        ("\"state\": \"destroyed\"", "\"state\": \"disabled\""),
        ("\"state\": \"decrypt-only\"", "\"state\": \"current\""),
        ("\"state\": \"decrypt-only\"", "\"state\": \"destroyed\""),
        ("\"version\": 2", "\"version\": 3"),
        ("\"version\": 1", "\"version\": 0"),
        ("audit.log", "audit log"),
        ("\"kind\": \"key\"", "\"kind\": \"none\""),
        ("\"format_version\": 1", "\"format_version\": 2"),
        ("sealwire-keystore", "sealwire-keyring"),
        ("\"revision\": 7", "\"revision\": 7, \"more\": 1"),
    ] {
        let altered = KEY_VECTOR.replacen(from, to, 1);
        assert_ne!(altered, KEY_VECTOR, "{from}");
        let error = open(altered.as_bytes(), master(0x11)).err();
        assert!(
            matches!(
                error,
                Some(KeystoreError::Format(_) | KeystoreError::KeystoreKek(_))
            ),
            "{from}: {error:?}"
        );
    }
}

/// What is wrong is said with the name that it is about, and no value is repeated: it may be a key in the wrong place.
///
/// CONTENTS-1
#[test]
fn faults_of_a_file_are_named() {
    let long = format!(
        "{}\"audit.log\": [",
        format!("\"{}\": [], ", "n".repeat(10_000)).repeat(2)
    );
    let cases = [
        (
            "\"audit.log\": [",
            "\"payments\": [], \"audit.log\": [",
            "repeated name `payments`, line",
        ),
        (
            "\"audit.log\": [",
            "\"\\u001b[2J\": [], \"\\u001b[2J\": [], \"audit.log\": [",
            "repeated name `\\x1b[2J`",
        ),
        ("\"audit.log\": [", long.as_str(), "repeated name `nnn"),
        (
            "\"revision\": 7",
            "\"revision\": 7, \"revision\": 7",
            "duplicate field `revision`, line",
        ),
        (
            "\"revision\": 7",
            "\"revision\": 7, \"more\": 1",
            "unknown field `more`, line",
        ),
        ("\"revision\": 7,", "", "missing field `revision`, line"),
        (
            "\"revision\": 7",
            "\"revision\": \"hunter2, expected u64\"",
            "an ill-typed field: expected u64, line",
        ),
        (
            "\"state\": \"disabled\"",
            "\"state\": \"hunter2\"",
            "an ill-typed field: expected one of `current`",
        ),
        (
            "\"state\": \"destroyed\"",
            "\"state\": \"disabled\"",
            "key-encryption key payments: version 1: it must hold",
        ),
        (
            "\"wrapped\": \"",
            "\"wrapped\": \"hunter2",
            ": wrapped must be 60 bytes in base64",
        ),
    ];
    for (from, to, what) in cases {
        let altered = KEY_VECTOR.replacen(from, to, 1);
        assert_ne!(altered, KEY_VECTOR, "{from}");
        let error = Keystore::parse(altered.as_bytes())
            .err()
            .map(|error| error.to_string());
        let error = error.unwrap_or_default();
        assert!(error.contains(what), "{what}: {error}");
        assert!(error.len() < 500 && !error.contains("hunter2"), "{error}");
        assert!(
            error.bytes().all(|byte| (b' '..=b'~').contains(&byte)),
            "{error:?}"
        );
    }
}

/// A map would keep the last of two and lose the other without a word; names are compared as they decode.
#[test]
fn what_stands_there_twice_is_refused() {
    let duplicates = [
        ("\"audit.log\": [", "\"payments\": [], \"audit.log\": ["),
        ("\"audit.log\": [", "\"audit\\u002elog\": [], \"audit.log\": ["),
        ("\"revision\": 7", "\"revision\": 7, \"revision\": 7"),
        ("\"kind\": \"key\"", "\"kind\": \"key\", \"kind\": \"key\""),
        ("\"version\": 3", "\"version\": 3, \"version\": 3"),
        ("\"mac\":", "\"keks\": {}, \"mac\":"),
    ];
    for (from, to) in duplicates {
        let altered = KEY_VECTOR.replacen(from, to, 1);
        assert_ne!(altered, KEY_VECTOR, "{from}");
        assert!(
            matches!(Keystore::parse(altered.as_bytes()), Err(KeystoreError::Format(_))),
            "{to}"
        );
    }
    // The very same entry once more: it would open, were it dropped.
    let at = KEY_VECTOR.find("\"audit.log\"").unwrap();
    let end = at + KEY_VECTOR[at..].find(']').unwrap() + 1;
    let doubled = format!("{},{}", &KEY_VECTOR[..end], &KEY_VECTOR[at..]);
    let error = open(doubled.as_bytes(), master(0x11)).err();
    assert!(matches!(error, Some(KeystoreError::Format(_))), "{error:?}");
}

/// KEYSTORE-2, MASTER-1
#[test]
fn the_cost_of_key_derivation_is_bounded() {
    let with = |memory: u64, iterations: u64, lanes: u64| {
        let text = PASSPHRASE_VECTOR
            .replace("\"memory_kib\": 8192", &format!("\"memory_kib\": {memory}"))
            .replace("\"iterations\": 2", &format!("\"iterations\": {iterations}"))
            .replace("\"lanes\": 2", &format!("\"lanes\": {lanes}"));
        Keystore::parse(text.as_bytes()).is_ok()
    };
    for (memory, iterations, lanes, accepted) in [
        (8 * 1024, 1, 1, true),
        (8 * 1024 - 1, 1, 1, false),
        (1024 * 1024, 4, 16, true),
        (1024 * 1024 + 1, 4, 16, false),
        (1024 * 1024, 5, 16, false),
        (1024 * 1024, 4, 17, false),
        (8 * 1024, 512, 1, true),
        (8 * 1024, 513, 1, false),
        (8 * 1024, 0, 1, false),
        (8 * 1024, 1, 0, false),
        (100 * 1024 * 1024, 1, 1, false),
        (4_294_967_295, 4_294_967_295, 4_294_967_295, false),
        (4_294_967_296, 1, 1, false),
    ] {
        assert_eq!(
            with(memory, iterations, lanes),
            accepted,
            "{memory} {iterations} {lanes}"
        );
    }
}

#[test]
fn passphrases_have_a_least_length() -> Result<(), KeystoreError> {
    assert!(matches!(
        OpenKeystore::create(passphrase("elevenbytes")),
        Err(KeystoreError::MasterKey(_))
    ));
    assert!(matches!(
        OpenKeystore::create(passphrase("elevenbytes\n")),
        Err(KeystoreError::MasterKey(_))
    ));
    let mut keystore = OpenKeystore::create(passphrase("twelve bytes\n"))?;
    let bytes = keystore.to_json()?;
    assert!(open(&bytes, passphrase("twelve bytes")).is_ok());
    Ok(())
}

#[test]
fn a_kek_lives_from_add_to_destroy() -> Result<(), KeystoreError> {
    use KekState::{Current, DecryptOnly, Destroyed, Disabled};
    let mut keystore = OpenKeystore::create(master(1))?;
    keystore.add("a")?;
    keystore.add("b")?;
    assert!(matches!(keystore.add("a"), Err(KeystoreError::KekExists(_))));
    assert!(matches!(keystore.rotate("c"), Err(KeystoreError::KekUnknown(_))));
    assert_eq!(keystore.rotate("a")?, 2);
    assert_eq!(states(&keystore, "a"), [(1, DecryptOnly), (2, Current)]);
    assert!(matches!(
        keystore.disable("a", Some(3)),
        Err(KeystoreError::VersionUnknown(_, 3))
    ));

    assert_eq!(keystore.disable("a", None)?, [1, 2]);
    assert_eq!(keystore.disable("a", None)?, [0_u32; 0]);
    assert_eq!(keystore.current_version("a"), Err(KmsError::KekDisabled));
    assert_eq!(keystore.enable("a", Some(1))?, [1]);
    assert_eq!(states(&keystore, "a"), [(1, DecryptOnly), (2, Disabled)]);
    assert_eq!(keystore.current_version("a"), Err(KmsError::KekDisabled));
    assert_eq!(keystore.enable("a", None)?, [2]);
    assert_eq!(states(&keystore, "a"), [(1, DecryptOnly), (2, Current)]);

    assert_eq!(keystore.disable("a", Some(2))?, [2]);
    assert_eq!(keystore.rotate("a")?, 3);
    assert_eq!(keystore.enable("a", None)?, [2]);
    assert_eq!(
        states(&keystore, "a"),
        [(1, DecryptOnly), (2, DecryptOnly), (3, Current)]
    );

    assert_eq!(keystore.destroy("a", Some(1))?, [1]);
    assert!(matches!(
        keystore.disable("a", Some(1)),
        Err(KeystoreError::VersionDestroyed(_, 1))
    ));
    assert!(matches!(
        keystore.enable("a", Some(1)),
        Err(KeystoreError::VersionDestroyed(_, 1))
    ));
    let bytes = keystore.to_json()?;
    let mut again = open(&bytes, master(1))?;
    assert_eq!(
        states(&again, "a"),
        [(1, Destroyed), (2, DecryptOnly), (3, Current)]
    );
    assert_eq!(again.unwrap_kek("a", 1).err(), Some(KmsError::KekDestroyed));
    assert_eq!(again.destroy("a", None)?, [2, 3]);
    assert_eq!(again.current_version("a"), Err(KmsError::KekDestroyed));
    assert_eq!(again.current_version("b"), Ok(1));
    let bytes = again.to_json()?;
    assert_eq!(again.revision(), 2);
    assert!(!String::from_utf8_lossy(&bytes).contains("\"a\": []"));
    Ok(())
}

#[test]
fn names_of_keks() {
    for name in ["a", "payments", "prod/topic-1_x.y", &"n".repeat(255), "~!"] {
        assert!(KeystoreKek::new(name).is_ok(), "{name}");
    }
    for name in ["", " ", "a b", "a\n", "ü", "\u{7f}", &"n".repeat(256)] {
        assert!(KeystoreKek::new(name).is_err(), "{name:?}");
    }
}

#[test]
fn size_is_bounded() {
    let padded = |length: usize| {
        let mut bytes = KEY_VECTOR.as_bytes().to_vec();
        bytes.resize(length, b' ');
        open(&bytes, master(0x11)).is_ok()
    };
    assert!(padded(KEYSTORE_BYTES_MAX));
    assert!(!padded(KEYSTORE_BYTES_MAX + 1));
}

/// JSON of the right outline with anything in its fields.
fn hostile_document() -> impl Strategy<Value = String> {
    let number = prop_oneof![Just(0_u64), Just(1), Just(8192), Just(u64::MAX), any::<u64>()];
    let state = prop_oneof![
        Just("current".to_owned()),
        Just("destroyed".to_owned()),
        ".{0,12}".prop_map(|text: String| text)
    ];
    let text = prop_oneof!["[A-Za-z0-9+/]{0,90}={0,2}", ".{0,40}"];
    let version = (
        number.clone(),
        state,
        number.clone(),
        proptest::option::of(text.clone()),
    )
        .prop_map(|(version, state, created, wrapped)| {
            serde_json::json!({
                "version": version, "state": state, "created_unix_seconds": created, "wrapped": wrapped,
            })
        });
    (
        proptest::collection::btree_map(".{0,300}", proptest::collection::vec(version, 0..4), 0..4),
        [number.clone(), number.clone(), number.clone(), number],
        [text.clone(), text.clone(), text.clone(), text],
    )
        .prop_map(|(keks, [revision, memory, iterations, lanes], [id, salt, check, mac])| {
            serde_json::json!({
                "format": "sealwire-keystore", "format_version": 1, "keystore_id": id, "revision": revision,
                "master_key": {
                    "kind": "argon2id", "salt": salt, "memory_kib": memory, "iterations": iterations, "lanes": lanes,
                },
                "check": check, "keks": keks, "mac": mac,
            })
            .to_string()
        })
}

proptest! {
    #[test]
    fn hostile_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _ = Keystore::parse(&bytes);
    }

    #[test]
    fn hostile_documents_never_panic_and_never_open(document in hostile_document()) {
        // Authentication is only reached with a derivation in bounds; with a key it costs nothing here.
        if let Ok(keystore) = Keystore::parse(document.as_bytes()) {
            prop_assert!(keystore.authenticate(master(0x11)).is_err());
        }
    }

    #[test]
    fn cut_and_spliced_documents_never_open(
        cut in 0..KEY_VECTOR.len(), length in 1..200_usize, insert in "[\\[\\]{}\",:0-9a-z]{0,20}",
    ) {
        let end = (cut + length).min(KEY_VECTOR.len());
        let altered = format!("{}{insert}{}", &KEY_VECTOR[..cut], &KEY_VECTOR[end..]);
        let same_text = |text: &str| text.chars().filter(|symbol| !symbol.is_whitespace()).collect::<String>();
        prop_assume!(same_text(&altered) != same_text(KEY_VECTOR));
        prop_assert!(open(altered.as_bytes(), master(0x11)).is_err());
    }

    #[test]
    fn deep_nesting_is_refused(depth in 1..100_000_usize) {
        let text = format!("{{\"format\":\"sealwire-keystore\",\"format_version\":1,\"keks\":{}", "[".repeat(depth));
        prop_assert!(Keystore::parse(text.as_bytes()).is_err());
    }
}
