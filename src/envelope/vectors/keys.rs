//! Vectors of sealed record keys.

use super::positive::ordinary;
use super::stored::{Clear, How, Stored, header, seal, stable_key, vector};
use super::{StableKeyFields, Vector, to_hex};
use crate::envelope::HeaderMode::{self, Bound, Free, Sealed};
use crate::envelope::StableKeyId;

pub(super) fn that_open() -> Vec<Vector> {
    let mut all = Vec::new();
    for mode in [Sealed, Bound, Free] {
        for (what, requirement, key, value) in shapes() {
            let clear = Clear::new(key, value, &[header("trace", Some("a1"))]);
            all.push(opens(
                &format!("{}-{what}", mode.name()),
                requirement,
                mode,
                &clear,
            ));
        }
    }
    let name = "sealed-key-null-and-no-stable-key";
    let clear = Clear::new(None, Some(b"hello"), &[]);
    let mut without = vector(name, "ENV-74", &seal(name, &clear, &How::with_keys(Sealed)));
    without.opened = Some(to_hex(&clear.bytes()));
    all.push(without);
    // What a key comes out as is the same whatever else is sealed with it.
    let mut other = ordinary();
    other.value = None;
    other.section = vec![0];
    all.push(opens("sealed-key-again-as-tombstone", "ENV-72", Free, &other));
    let how = How {
        domain: "payments".to_owned(),
        ..How::with_keys(Sealed)
    };
    let mut in_another_domain = vector(
        "sealed-key-of-another-domain",
        "ENV-71",
        &seal("sealed-key-of-another-domain", &ordinary(), &how),
    );
    in_another_domain.domains = vec!["orders".to_owned(), "payments".to_owned()];
    in_another_domain.opened = Some(to_hex(&ordinary().bytes()));
    in_another_domain.stable_key = Some(stable_key());
    all.push(in_another_domain);
    let how = How {
        domain: "orders-168275".to_owned(),
        ..How::with_keys(Sealed)
    };
    let name = "sealed-key-domain-hint-shared-by-two";
    let mut shared = vector(name, "ENV-76", &seal(name, &ordinary(), &how));
    shared.domains = vec!["orders-145599".to_owned(), "orders-168275".to_owned()];
    shared.opened = Some(to_hex(&ordinary().bytes()));
    shared.stable_key = Some(stable_key());
    all.push(shared);
    all
}

type Shape = (
    &'static str,
    &'static str,
    Option<&'static [u8]>,
    Option<&'static [u8]>,
);

fn shapes() -> [Shape; 6] {
    [
        (
            "sealed-key",
            "ENV-72",
            Some(b"order-17"),
            Some(b"{\"amount\": 12}"),
        ),
        ("sealed-key-empty", "ENV-70", Some(b""), Some(b"hello")),
        ("sealed-key-null", "ENV-74", None, Some(b"hello")),
        ("sealed-key-of-300", "ENV-70", Some(&[0x6b; 300]), Some(b"hello")),
        ("sealed-key-of-a-tombstone", "ENV-72", Some(b"order-17"), None),
        (
            "sealed-key-of-empty-value",
            "ENV-72",
            Some(b"order-17"),
            Some(b""),
        ),
    ]
}

fn opens(name: &str, requirement: &'static str, mode: HeaderMode, clear: &Clear) -> Vector {
    let mut vector = vector(name, requirement, &seal(name, clear, &How::with_keys(mode)));
    vector.opened = Some(to_hex(&clear.bytes()));
    vector.stable_key = Some(stable_key());
    vector
}

fn refused(
    name: &str,
    requirement: &'static str,
    reason: &str,
    change: impl FnOnce(&mut Stored, &mut Option<StableKeyFields>),
) -> Vector {
    let mut stored = Stored::of(&seal(name, &ordinary(), &How::with_keys(Sealed)));
    let mut key = Some(stable_key());
    change(&mut stored, &mut key);
    let mut vector = vector(name, requirement, &stored.bytes());
    vector.refused = Some(reason.to_owned());
    vector.stable_key = key;
    vector
}

#[expect(clippy::too_many_lines, reason = "a list of cases")]
pub(super) fn that_do_not() -> Vec<Vector> {
    let key = |name: &str, requirement, reason: &str, change: &dyn Fn(&mut Vec<u8>)| {
        refused(name, requirement, reason, |stored, _| {
            change(stored.key.as_mut().unwrap())
        })
    };
    let other = Clear {
        key: Some(b"order-18".to_vec()),
        ..ordinary()
    };
    let other = Stored::of(&seal("other-key", &other, &How::with_keys(Sealed)));
    let elsewhere = How {
        domain: "payments".to_owned(),
        ..How::with_keys(Sealed)
    };
    let elsewhere = Stored::of(&seal("elsewhere", &ordinary(), &elsewhere));
    let wrapped = [0x78; 76];
    let foreign = StableKeyId::of_wrapped(&wrapped).bytes();
    vec![
        key("sealed-key-format-0", "ENV-70", "malformed_key", &|key| {
            key[0] = 0
        }),
        key("sealed-key-format-2", "ENV-70", "malformed_key", &|key| {
            key[0] = 2
        }),
        key("sealed-key-of-20-bytes", "ENV-70", "malformed_key", &|key| {
            key.truncate(20)
        }),
        key("sealed-key-made-empty", "ENV-70", "malformed_key", &|key| {
            key.clear()
        }),
        key("sealed-key-readable", "ENV-70", "malformed_key", &|key| {
            *key = b"order-17".to_vec()
        }),
        key("sealed-key-id-bit", "ENV-75", "unknown_stable_key", &|key| {
            key[4] ^= 1
        }),
        key(
            "sealed-key-id-of-another",
            "ENV-75",
            "unknown_stable_key",
            &|key| key[1..5].copy_from_slice(&foreign),
        ),
        key("sealed-key-first-bit", "ENV-76", "key_tag", &|key| key[5] ^= 0x80),
        key("sealed-key-tag-last-bit", "ENV-76", "key_tag", &|key| {
            *key.last_mut().unwrap() ^= 1
        }),
        key("sealed-key-shorter", "ENV-76", "key_tag", &|key| _ = key.pop()),
        key("sealed-key-longer", "ENV-76", "key_tag", &|key| key.push(0)),
        refused("sealed-key-of-another-record", "ENV-32", "tag", |stored, _| {
            stored.key = other.key.clone()
        }),
        refused(
            "sealed-key-moved-from-another-domain",
            "ENV-71",
            "key_tag",
            |stored, _| stored.key = elsewhere.key.clone(),
        ),
        refused("sealed-key-made-null", "ENV-32", "tag", |stored, _| {
            stored.key = None
        }),
        refused("sealed-key-parts-say-readable", "ENV-11", "tag", |stored, _| {
            stored.seal.parts = 2
        }),
        refused("sealed-key-value-bit", "ENV-46", "tag", |stored, _| {
            stored.value.as_mut().unwrap()[0] ^= 1
        }),
        refused("sealed-key-wrong-stable-key", "ENV-76", "key_tag", |_, key| {
            if let Some(key) = key {
                key.stable_key = to_hex(&[0x41; 32]);
            }
        }),
        refused(
            "sealed-key-another-stable-key",
            "ENV-75",
            "unknown_stable_key",
            |_, key| {
                if let Some(key) = key {
                    key.wrapped_stable_key = to_hex(&wrapped);
                }
            },
        ),
        refused("sealed-key-no-stable-key", "ENV-74", "key_sealed", |_, key| {
            *key = None
        }),
    ]
}
