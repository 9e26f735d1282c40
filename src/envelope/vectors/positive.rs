//! Vectors that open.

use super::stored::{Clear, Header, How, Stored, header, seal, section, varint, vector};
use super::{Vector, to_hex};
use crate::envelope::HeaderMode::{self, Bound, Free, Sealed};
use crate::envelope::seal::COUNTER_MAX;

/// A key, a value and three headers, two of them of one name.
pub(super) fn ordinary() -> Clear {
    Clear::new(Some(b"order-17"), Some(b"{\"amount\": 12}"), &three_headers())
}

fn three_headers() -> Vec<Header> {
    vec![
        header("trace", Some("a1")),
        header("trace", Some("")),
        header("flag", None),
    ]
}

pub(super) fn vectors() -> Vec<Vector> {
    let mut all = Vec::new();
    for mode in [Sealed, Bound, Free] {
        for (what, requirement, clear) in shapes() {
            let name = format!("{}-{what}", mode.name());
            all.push(sealed_by_product(&name, requirement, &clear, &How::new(mode)));
        }
    }
    for counter in [1, 127, 128, COUNTER_MAX] {
        let how = How {
            counter,
            ..How::new(Sealed)
        };
        all.push(sealed_by_product(
            &format!("counter-{counter}"),
            "ENV-15",
            &ordinary(),
            &how,
        ));
    }
    for length in [1, 127, 128, 2048] {
        let how = How {
            wrapped_dek: vec![0x5a; length],
            ..How::new(Sealed)
        };
        all.push(sealed_by_product(
            &format!("wrapped-dek-of-{length}"),
            "ENV-13",
            &ordinary(),
            &how,
        ));
    }
    for (what, domain) in [
        ("of-one-byte", "o".to_owned()),
        ("not-ascii", "bestellungen-größe".to_owned()),
    ] {
        let how = How {
            domain,
            ..How::new(Bound)
        };
        all.push(sealed_by_product(
            &format!("domain-{what}"),
            "ENV-30",
            &ordinary(),
            &how,
        ));
    }
    let mut second = sealed_by_product(
        "domain-is-the-second-accepted",
        "ENV-44",
        &ordinary(),
        &How::new(Sealed),
    );
    second.domains = vec!["payments".to_owned(), "orders".to_owned()];
    all.push(second);
    all.push(shared_hint());
    all.push(padded_header_count());
    all.extend(moved_markers());
    all.extend(free_headers_changed());
    all
}

/// Keys, values and headers null, empty and of lengths around the borders of their length fields.
fn shapes() -> Vec<(&'static str, &'static str, Clear)> {
    let plain = |key, value| Clear::new(key, value, &[]);
    let mut deltas = ordinary();
    deltas.fixed = [&[0x55][..], &varint(-1_234_567_890_123), &varint(1_000_000)].concat();
    let many: Vec<Header> = (0..63)
        .map(|index| header(&format!("h{index}"), Some("x")))
        .collect();
    let long = [header("long", Some(&"x".repeat(700))), header("", None)];
    vec![
        ("ordinary", "ENV-47", ordinary()),
        ("no-headers", "ENV-5", plain(Some(b"k"), Some(b"hello"))),
        ("key-null", "ENV-32", plain(None, Some(b"hello"))),
        ("key-empty", "ENV-32", plain(Some(b""), Some(b"hello"))),
        ("key-of-300", "ENV-32", plain(Some(&[0x6b; 300]), Some(b"hello"))),
        ("value-null", "ENV-3", plain(Some(b"k"), None)),
        (
            "value-null-with-headers",
            "ENV-3",
            Clear::new(Some(b"k"), None, &three_headers()),
        ),
        ("value-empty", "ENV-3", plain(Some(b"k"), Some(b""))),
        (
            "value-empty-with-headers",
            "ENV-3",
            Clear::new(Some(b"k"), Some(b""), &three_headers()),
        ),
        ("all-null", "ENV-33", plain(None, None)),
        ("value-of-63", "ENV-8", plain(Some(b"k"), Some(&[0x76; 63]))),
        ("value-of-64", "ENV-8", plain(Some(b"k"), Some(&[0x76; 64]))),
        ("deltas-and-attributes", "ENV-1", deltas),
        ("63-headers", "ENV-5", Clear::new(Some(b"k"), Some(b"v"), &many)),
        (
            "headers-longer-than-the-seal",
            "ENV-24",
            Clear::new(Some(b"k"), Some(b"v"), &long),
        ),
    ]
}

fn sealed_by_product(name: &str, requirement: &'static str, clear: &Clear, how: &How) -> Vector {
    let mut vector = vector(name, requirement, &seal(name, clear, how));
    vector.domains = vec![how.domain.clone()];
    vector.wrapped_dek = to_hex(&how.wrapped_dek);
    vector.opened = Some(to_hex(&clear.bytes()));
    vector
}

/// Two domains with the hint 4e90b729: the first does not fit, the second does.
fn shared_hint() -> Vector {
    let how = How {
        domain: "orders-168275".to_owned(),
        ..How::new(Sealed)
    };
    let mut vector = sealed_by_product("domain-hint-shared-by-two", "ENV-44", &ordinary(), &how);
    vector.domains = vec!["orders-145599".to_owned(), "orders-168275".to_owned()];
    vector
}

/// A header count in two bytes instead of one, as no client known writes it: restored as it was, because it is sealed.
fn padded_header_count() -> Vector {
    let mut clear = ordinary();
    clear.section = vec![0x80, 0x00];
    sealed_by_product("sealed-padded-header-count", "ENV-47", &clear, &How::new(Sealed))
}

fn moved_markers() -> Vec<Vector> {
    let moved = |mode: HeaderMode, to: usize| {
        let name = format!("{}-marker-moved-to-{to}", mode.name());
        let mut stored = Stored::of(&seal(&name, &ordinary(), &How::new(mode)));
        let marker = stored.headers.remove(0);
        stored.headers.insert(to, marker);
        let mut vector = vector(&name, "ENV-40", &stored.bytes());
        vector.opened = Some(to_hex(&ordinary().bytes()));
        vector
    };
    vec![moved(Bound, 1), moved(Bound, 3), moved(Free, 2), moved(Free, 3)]
}

fn free_headers_changed() -> Vec<Vector> {
    let changed = |name: &str, change: &dyn Fn(&mut Vec<Header>)| {
        let mut stored = Stored::of(&seal(name, &ordinary(), &How::new(Free)));
        change(&mut stored.headers);
        let mut clear = ordinary();
        clear.section = section(&stored.headers[1..]);
        let mut vector = vector(name, "ENV-43", &stored.bytes());
        vector.opened = Some(to_hex(&clear.bytes()));
        vector
    };
    vec![
        changed("free-header-added", &|headers| {
            headers.push(header("added", Some("by a tool")))
        }),
        changed("free-header-removed", &|headers| drop(headers.remove(2))),
        changed("free-header-altered", &|headers| headers[1].1 = None),
    ]
}
