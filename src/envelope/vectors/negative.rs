//! Vectors that must be refused.

use super::positive::ordinary;
use super::stored::{
    Clear, DOMAIN, Header, How, Stored, header, nullable, seal, section, unsigned, varint, vector,
    wrapped_dek,
};
use super::{Vector, to_hex};
use crate::envelope::Domain;
use crate::envelope::HeaderMode::{self, Bound, Free, Sealed};

pub(super) fn vectors() -> Vec<Vector> {
    let mut all = Vec::new();
    all.extend(altered_bytes());
    all.extend(moved_records());
    all.extend(null_and_borders());
    all.extend(parts_and_format());
    all.extend(integers());
    all.extend(lengths());
    all.extend(markers());
    all.extend(added_headers());
    all.extend(keys());
    all.extend(authentic_but_wrong());
    all
}

/// Seals `clear`, lets `change` alter it and says why it must be refused.
fn refused(
    name: &str,
    requirement: &'static str,
    reason: &str,
    mode: HeaderMode,
    clear: &Clear,
    change: impl FnOnce(&mut Stored),
) -> Vector {
    let mut stored = Stored::of(&seal(name, clear, &How::new(mode)));
    change(&mut stored);
    refused_bytes(name, requirement, reason, &stored.bytes())
}

fn refused_bytes(name: &str, requirement: &'static str, reason: &str, stored: &[u8]) -> Vector {
    let mut vector = vector(name, requirement, stored);
    vector.refused = Some(reason.to_owned());
    vector
}

fn flip(bytes: &mut [u8], at: usize) {
    bytes[at] ^= 0x01;
}

fn altered_bytes() -> Vec<Vector> {
    let tag = |name: &str, requirement, change: &dyn Fn(&mut Stored)| {
        refused(name, requirement, "tag", Sealed, &ordinary(), |stored| {
            change(stored)
        })
    };
    vec![
        tag("value-first-bit", "ENV-46", &|stored| {
            flip(stored.value.as_mut().unwrap(), 0)
        }),
        tag("value-last-byte", "ENV-46", &|stored| {
            flip(stored.value.as_mut().unwrap(), 13)
        }),
        tag("hidden-bit", "ENV-46", &|stored| flip(&mut stored.seal.hidden, 3)),
        tag("tag-first-byte", "ENV-46", &|stored| {
            flip(&mut stored.seal.tag, 0)
        }),
        tag("tag-last-byte", "ENV-46", &|stored| {
            flip(&mut stored.seal.tag, 15)
        }),
        tag("tag-zero", "ENV-46", &|stored| stored.seal.tag.fill(0)),
        tag("salt-bit", "ENV-21", &|stored| flip(&mut stored.seal.salt, 11)),
        tag("counter-altered", "ENV-22", &|stored| {
            flip(&mut stored.seal.counter, 0)
        }),
        tag("key-bit", "ENV-32", &|stored| {
            flip(stored.key.as_mut().unwrap(), 0)
        }),
        tag("key-longer", "ENV-32", &|stored| {
            stored.key.as_mut().unwrap().push(0)
        }),
        tag("value-shorter", "ENV-33", &|stored| {
            _ = stored.value.as_mut().unwrap().pop()
        }),
        tag("hidden-shorter", "ENV-46", &|stored| _ = stored.seal.hidden.pop()),
        tag("hidden-longer", "ENV-46", &|stored| stored.seal.hidden.push(0)),
        refused(
            "domain-hint-bit",
            "ENV-44",
            "unknown_domain",
            Sealed,
            &ordinary(),
            |stored| {
                flip(&mut stored.seal.domain_hint, 0);
            },
        ),
    ]
}

/// Whole seals under other keys, topics and values.
fn moved_records() -> Vec<Vector> {
    let name = "value-and-seal-under-another-key";
    let other_key = Clear {
        key: Some(b"order-18".to_vec()),
        ..ordinary()
    };
    let other = Stored::of(&seal("other", &other_key, &How::new(Sealed)));
    let swapped_key = refused(name, "ENV-32", "tag", Sealed, &ordinary(), |stored| {
        stored.value = other.value.clone();
        stored.seal = other.seal.clone();
    });
    let swapped_value = refused(
        "value-of-another-record",
        "ENV-46",
        "tag",
        Sealed,
        &ordinary(),
        |stored| {
            stored.value = other.value.clone();
        },
    );
    let swapped_salt = refused(
        "salt-of-another-batch",
        "ENV-21",
        "tag",
        Sealed,
        &ordinary(),
        |stored| {
            stored.seal.salt = other.seal.salt.clone();
        },
    );
    let mut other_topic = refused(
        "another-topic",
        "ENV-44",
        "unknown_domain",
        Sealed,
        &ordinary(),
        |_| (),
    );
    other_topic.domains = vec!["payments".to_owned()];
    let mut no_domain = refused(
        "no-domain-accepted",
        "ENV-44",
        "unknown_domain",
        Sealed,
        &ordinary(),
        |_| (),
    );
    no_domain.domains = Vec::new();
    let mut hinted = refused(
        "another-topic-with-its-hint",
        "ENV-31",
        "tag",
        Sealed,
        &ordinary(),
        |stored| {
            stored.seal.domain_hint = Domain::new("payments").unwrap().hint().to_vec();
        },
    );
    hinted.domains = vec![DOMAIN.to_owned(), "payments".to_owned()];
    vec![
        swapped_key,
        swapped_value,
        swapped_salt,
        other_topic,
        no_domain,
        hinted,
    ]
}

#[expect(clippy::too_many_lines, reason = "a list of cases")]
fn null_and_borders() -> Vec<Vector> {
    let plain = |key: Option<&[u8]>, value: Option<&[u8]>| Clear::new(key, value, &[header("h", Some("v"))]);
    let mut all = Vec::new();
    for mode in [Sealed, Bound, Free] {
        let name = |what: &str| format!("{}-{what}", mode.name());
        let tag = |what: &str, requirement, clear: &Clear, change: &dyn Fn(&mut Stored)| {
            refused(&name(what), requirement, "tag", mode, clear, |stored| {
                change(stored)
            })
        };
        all.push(tag(
            "value-null-for-empty",
            "ENV-33",
            &plain(Some(b"k"), Some(b"")),
            &|stored| stored.value = None,
        ));
        all.push(tag(
            "value-empty-for-null",
            "ENV-33",
            &plain(Some(b"k"), None),
            &|stored| {
                stored.value = Some(Vec::new());
            },
        ));
        all.push(tag(
            "key-null-for-empty",
            "ENV-32",
            &plain(Some(b""), Some(b"v")),
            &|stored| stored.key = None,
        ));
        all.push(tag(
            "key-empty-for-null",
            "ENV-32",
            &plain(None, Some(b"v")),
            &|stored| {
                stored.key = Some(Vec::new());
            },
        ));
        all.push(tag("value-made-a-tombstone", "ENV-33", &ordinary(), &|stored| {
            stored.value = None
        }));
    }
    all.push(refused(
        "border-moved-into-headers",
        "ENV-33",
        "tag",
        Sealed,
        &ordinary(),
        |stored| {
            let first = stored.seal.hidden.remove(0);
            stored.value.as_mut().unwrap().push(first);
        },
    ));
    all.push(refused(
        "border-moved-into-value",
        "ENV-33",
        "tag",
        Sealed,
        &ordinary(),
        |stored| {
            let last = stored.value.as_mut().unwrap().pop().unwrap();
            stored.seal.hidden.insert(0, last);
        },
    ));
    all.push(refused(
        "all-of-the-value-hidden",
        "ENV-33",
        "tag",
        Sealed,
        &ordinary(),
        |stored| {
            let value = stored.value.replace(Vec::new()).unwrap();
            stored.seal.hidden.splice(..0, value);
        },
    ));
    all
}

fn parts_and_format() -> Vec<Vector> {
    let part = |name: &str, mode, byte: u8, reason: &str| {
        refused(name, "ENV-11", reason, mode, &ordinary(), |stored| {
            stored.seal.parts = byte
        })
    };
    let format = |name: &str, byte: u8| {
        refused(name, "ENV-10", "unknown_format", Sealed, &ordinary(), |stored| {
            stored.seal.format = byte
        })
    };
    vec![
        part("parts-3", Sealed, 3, "reserved_bits"),
        part("parts-bit-3", Sealed, 0x0a, "reserved_bits"),
        part("parts-bit-7", Sealed, 0x82, "reserved_bits"),
        part("parts-key-sealed", Sealed, 6, "key_sealed"),
        part("parts-sealed-to-bound", Sealed, 1, "malformed_seal"),
        part("parts-sealed-to-free", Sealed, 0, "malformed_seal"),
        part("parts-bound-to-free", Bound, 0, "tag"),
        part("parts-free-to-bound", Free, 1, "tag"),
        part("parts-free-to-sealed", Free, 2, "malformed_seal"),
        format("format-0", 0),
        format("format-2", 2),
        format("format-255", 255),
    ]
}

fn integers() -> Vec<Vector> {
    let integer = |name: &str, requirement, reason: &str, change: &dyn Fn(&mut Stored)| {
        refused(name, requirement, reason, Sealed, &ordinary(), |stored| {
            change(stored)
        })
    };
    let padded = vec![wrapped_dek().len() as u8 | 0x80, 0x00];
    vec![
        integer("counter-padded", "ENV-16", "non_canonical", &|stored| {
            stored.seal.counter = vec![0x80, 0x00]
        }),
        integer("counter-padded-to-five", "ENV-16", "non_canonical", &|stored| {
            stored.seal.counter = vec![0x80, 0x80, 0x80, 0x80, 0x00];
        }),
        integer("wrapped-length-padded", "ENV-16", "non_canonical", &|stored| {
            stored.seal.wrapped_length = padded.clone();
        }),
        integer("counter-of-33-bits", "ENV-15", "out_of_range", &|stored| {
            stored.seal.counter = unsigned(1 << 32)
        }),
        integer("counter-of-six-bytes", "ENV-15", "out_of_range", &|stored| {
            stored.seal.counter = unsigned(1 << 35)
        }),
        integer("wrapped-length-0", "ENV-13", "out_of_range", &|stored| {
            stored.seal.wrapped_length = vec![0];
            stored.seal.wrapped_dek = Vec::new();
        }),
        integer("wrapped-length-2049", "ENV-13", "out_of_range", &|stored| {
            stored.seal.wrapped_length = unsigned(2049);
            stored.seal.wrapped_dek = vec![0x5a; 2049];
        }),
        integer(
            "wrapped-length-over-the-end",
            "ENV-13",
            "malformed_seal",
            &|stored| {
                stored.seal.wrapped_length = unsigned(2048);
            },
        ),
    ]
}

/// Seals that end early. The record around them is whole.
#[expect(clippy::too_many_lines, reason = "a list of cases")]
fn lengths() -> Vec<Vector> {
    let cut = |name: &str, mode, requirement, reason: &str, cut: &dyn Fn(&mut Vec<u8>)| {
        let stored = Stored::of(&seal(name, &ordinary(), &How::new(mode)));
        let mut bytes = stored.seal.bytes();
        cut(&mut bytes);
        let mut headers = stored.headers.clone();
        headers[0].1 = Some(bytes);
        refused_bytes(
            name,
            requirement,
            reason,
            &stored.bytes_with_section(&section(&headers)),
        )
    };
    let stored = Stored::of(&seal("seal-null", &ordinary(), &How::new(Sealed)));
    let null_seal = section(&[header("sealwire", None)]);
    vec![
        cut("seal-empty", Sealed, "ENV-10", "malformed_seal", &|bytes| {
            bytes.clear()
        }),
        cut("seal-of-one-byte", Sealed, "ENV-11", "malformed_seal", &|bytes| {
            bytes.truncate(1)
        }),
        cut(
            "seal-ends-in-hint",
            Sealed,
            "ENV-12",
            "malformed_seal",
            &|bytes| bytes.truncate(4),
        ),
        cut(
            "seal-ends-in-salt",
            Sealed,
            "ENV-14",
            "malformed_seal",
            &|bytes| bytes.truncate(6 + 1 + 76 + 5),
        ),
        cut("seal-without-tag", Bound, "ENV-18", "malformed_seal", &|bytes| {
            bytes.truncate(bytes.len() - 16)
        }),
        cut(
            "seal-with-half-a-tag",
            Bound,
            "ENV-18",
            "malformed_seal",
            &|bytes| bytes.truncate(bytes.len() - 8),
        ),
        cut(
            "bound-seal-with-a-byte-more",
            Bound,
            "ENV-17",
            "malformed_seal",
            &|bytes| bytes.push(0),
        ),
        cut(
            "free-seal-with-a-byte-more",
            Free,
            "ENV-17",
            "malformed_seal",
            &|bytes| bytes.push(0),
        ),
        cut(
            "sealed-seal-with-a-byte-more",
            Sealed,
            "ENV-18",
            "tag",
            &|bytes| bytes.push(0),
        ),
        refused(
            "sealed-without-hidden",
            "ENV-17",
            "malformed_seal",
            Sealed,
            &ordinary(),
            |stored| {
                stored.seal.hidden.clear();
            },
        ),
        refused_bytes(
            "seal-null",
            "ENV-4",
            "malformed_seal",
            &stored.bytes_with_section(&null_seal),
        ),
    ]
}

#[expect(clippy::too_many_lines, reason = "a list of cases")]
fn markers() -> Vec<Vector> {
    let mut all = Vec::new();
    for mode in [Sealed, Bound, Free] {
        let name = |what: &str| format!("{}-{what}", mode.name());
        all.push(refused(
            &name("marker-doubled"),
            "ENV-41",
            "marker_twice",
            mode,
            &ordinary(),
            |stored| {
                stored.headers.insert(0, header("sealwire", None));
            },
        ));
        all.push(refused(
            &name("marker-stripped"),
            "ENV-40",
            "plaintext",
            mode,
            &ordinary(),
            |stored| {
                drop(stored.headers.remove(0));
            },
        ));
        all.push(refused(
            &name("marker-renamed"),
            "ENV-4",
            "plaintext",
            mode,
            &ordinary(),
            |stored| {
                stored.headers[0] = (b"Sealwire".to_vec(), Some(stored.seal.bytes()));
            },
        ));
    }
    let tombstone = Clear::new(Some(b"k"), None, &[]);
    all.push(refused(
        "tombstone-with-marker-stripped",
        "ENV-40",
        "tombstone",
        Sealed,
        &tombstone,
        |stored| {
            stored.headers.clear();
        },
    ));
    let foreign = section(&[(b"kroxylicious.io/encryption".to_vec(), Some(vec![0, 2]))]);
    let clear = Clear {
        section: foreign,
        ..ordinary()
    };
    all.push(refused_bytes(
        "kroxylicious-record",
        "ENV-40",
        "kroxylicious",
        &clear.bytes(),
    ));
    all.push(refused_bytes(
        "plaintext-injected",
        "ENV-40",
        "plaintext",
        &ordinary().bytes(),
    ));

    // One empty marker besides the real one, the other way round than above.
    let stored = Stored::of(&seal("marker-doubled-behind", &ordinary(), &How::new(Free)));
    let mut headers = vec![
        header("sealwire", Some("")),
        (b"sealwire".to_vec(), Some(stored.seal.bytes())),
    ];
    headers.swap(0, 1);
    let bytes = stored.bytes_with_section(&section(&headers));
    all.push(refused_bytes(
        "marker-doubled-behind",
        "ENV-41",
        "marker_twice",
        &bytes,
    ));
    all
}

fn added_headers() -> Vec<Vector> {
    let added = || header("added", Some("by a tool"));
    let bound = |name: &str, change: &dyn Fn(&mut Vec<Header>)| {
        refused(name, "ENV-34", "tag", Bound, &ordinary(), |stored| {
            change(&mut stored.headers)
        })
    };
    let stored = Stored::of(&seal("section-too-long", &ordinary(), &How::new(Bound)));
    let mut headers = stored.headers.clone();
    headers[0].1 = Some(stored.seal.bytes());
    let mut trailing = section(&headers);
    trailing.push(0);
    let mut short_count = section(&headers);
    short_count[0] = varint(3)[0];
    vec![
        refused(
            "sealed-header-added-behind",
            "ENV-42",
            "extra_headers",
            Sealed,
            &ordinary(),
            |stored| {
                stored.headers.push(added());
            },
        ),
        refused(
            "sealed-header-added-before",
            "ENV-42",
            "extra_headers",
            Sealed,
            &ordinary(),
            |stored| {
                stored.headers.insert(0, added());
            },
        ),
        bound("bound-header-added", &|headers| headers.push(added())),
        bound("bound-header-added-before-the-marker", &|headers| {
            headers.insert(0, added())
        }),
        bound("bound-header-removed", &|headers| drop(headers.pop())),
        bound("bound-all-headers-removed", &|headers| headers.truncate(1)),
        bound("bound-header-altered", &|headers| {
            headers[1].1 = Some(b"a2".to_vec())
        }),
        bound("bound-header-null-for-empty", &|headers| headers[2].1 = None),
        bound("bound-headers-reordered", &|headers| headers.swap(1, 2)),
        refused_bytes(
            "header-section-with-a-byte-more",
            "ENV-40",
            "malformed_record",
            &stored.bytes_with_section(&trailing),
        ),
        refused_bytes(
            "header-count-too-small",
            "ENV-40",
            "malformed_record",
            &stored.bytes_with_section(&short_count),
        ),
    ]
}

fn keys() -> Vec<Vector> {
    let mut other = wrapped_dek();
    flip(&mut other, 75);
    let swapped = |name: &str, reason: &str| {
        refused(name, "ENV-45", reason, Sealed, &ordinary(), |stored| {
            stored.seal.wrapped_dek = other.clone()
        })
    };
    let mut known = swapped("wrapped-dek-swapped-for-a-known-one", "tag");
    known.wrapped_dek = to_hex(&other);
    let mut wrong_dek = refused("another-dek", "ENV-20", "tag", Sealed, &ordinary(), |_| ());
    wrong_dek.dek = to_hex(&[0xff; 32]);
    let mut prefix = refused(
        "wrapped-dek-is-a-prefix",
        "ENV-45",
        "wrong_key",
        Sealed,
        &ordinary(),
        |_| (),
    );
    prefix.wrapped_dek = to_hex(&wrapped_dek()[..75]);
    vec![
        swapped("wrapped-dek-swapped", "wrong_key"),
        known,
        wrong_dek,
        prefix,
    ]
}

/// The tag verifies, and the sealer broke a rule: it is the rule that refuses.
#[expect(clippy::too_many_lines, reason = "a list of cases")]
fn authentic_but_wrong() -> Vec<Vector> {
    let value = b"{\"amount\": 12}";
    let forged =
        |name: &str, requirement, reason: &str, hidden: &[u8], counter: u32, change: &dyn Fn(&mut Stored)| {
            refused(name, requirement, reason, Sealed, &ordinary(), |stored| {
                change(stored);
                stored.forge(&[&value[..], hidden].concat(), counter);
            })
        };
    let good = section(&[header("a", Some("b"))]);
    let mut null_key = varint(1);
    null_key.extend([nullable(None), nullable(Some(b"b"))].concat());
    let nothing = |_: &mut Stored| ();
    vec![
        forged(
            "authentic-section-with-a-byte-more",
            "ENV-48",
            "hidden_headers",
            &[&good[..], &[0]].concat(),
            0,
            &nothing,
        ),
        forged(
            "authentic-section-cut",
            "ENV-48",
            "hidden_headers",
            &good[..good.len() - 1],
            0,
            &nothing,
        ),
        forged(
            "authentic-section-count-too-large",
            "ENV-48",
            "hidden_headers",
            &varint(2),
            0,
            &nothing,
        ),
        forged(
            "authentic-section-count-negative",
            "ENV-48",
            "hidden_headers",
            &varint(-1),
            0,
            &nothing,
        ),
        forged(
            "authentic-section-null-header-key",
            "ENV-48",
            "hidden_headers",
            &null_key,
            0,
            &nothing,
        ),
        forged(
            "authentic-counter-too-large",
            "ENV-15",
            "out_of_range",
            &good,
            1 << 31,
            &|stored| {
                stored.seal.counter = unsigned(1 << 31);
            },
        ),
        forged(
            "authentic-counter-padded",
            "ENV-16",
            "non_canonical",
            &good,
            5,
            &|stored| {
                stored.seal.counter = vec![0x85, 0x00];
            },
        ),
        forged(
            "authentic-reserved-bit",
            "ENV-11",
            "reserved_bits",
            &good,
            0,
            &|stored| stored.seal.parts = 0x12,
        ),
        forged(
            "authentic-parts-3",
            "ENV-11",
            "reserved_bits",
            &good,
            0,
            &|stored| stored.seal.parts = 3,
        ),
        forged(
            "authentic-key-sealed",
            "ENV-11",
            "key_sealed",
            &good,
            0,
            &|stored| stored.seal.parts = 6,
        ),
        forged(
            "authentic-header-beside-the-marker",
            "ENV-42",
            "extra_headers",
            &good,
            0,
            &|stored| {
                stored.headers.push(header("added", None));
            },
        ),
    ]
}
