//! Certificates with subjects as hard as one likes: DER by hand, since no library writes what it holds to be wrong.
//!
//! They are signed by nobody. Whatever reads names of a certificate reads it after somebody else has verified it.

/// A certificate with this subject, and with these subject alternative names: each a tag (`0x82` DNS, `0x86` URI) and
/// its text.
#[must_use]
pub fn certificate(subject: &[u8], alternative_names: &[(u8, &str)]) -> Vec<u8> {
    let algorithm = of(0x30, &[der(6, ECDSA_WITH_SHA256)]);
    let validity = of(0x30, &[der(0x17, b"260101000000Z"), der(0x17, b"360101000000Z")]);
    let curve = of(0x30, &[der(6, EC_PUBLIC_KEY), der(6, P256)]);
    let point = [&[0, 4][..], GENERATOR].concat();
    let mut parts = vec![
        of(0xa0, &[der(2, &[2])]),
        der(2, &[1]),
        algorithm.clone(),
        cn(b"ca"),
        validity,
        subject.to_vec(),
        of(0x30, &[curve, der(3, &point)]),
    ];
    if !alternative_names.is_empty() {
        let names = alternative_names
            .iter()
            .map(|(tag, name)| der(*tag, name.as_bytes()));
        let names = of(0x30, &names.collect::<Vec<_>>());
        let extension = of(0x30, &[der(6, ALTERNATIVE_NAMES), der(4, &names)]);
        parts.push(of(0xa3, &[of(0x30, &[extension])]));
    }
    let signature = of(0x30, &[der(2, &[1]), der(2, &[1])]);
    let signature = der(3, &[&[0][..], &signature].concat());
    of(0x30, &[of(0x30, &parts), algorithm, signature])
}

/// A subject: its parts in the order of the encoding, each of one attribute or several.
#[must_use]
pub fn name(parts: &[Vec<Vec<u8>>]) -> Vec<u8> {
    let parts: Vec<Vec<u8>> = parts.iter().map(|attributes| of(0x31, attributes)).collect();
    of(0x30, &parts)
}

/// An attribute: what it is, and a value by the tag of its type.
#[must_use]
pub fn attribute(oid: &[u8], tag: u8, value: &[u8]) -> Vec<u8> {
    of(0x30, &[der(6, oid), der(tag, value)])
}

/// A subject of one CN, which is UTF-8 or says so.
#[must_use]
pub fn cn(value: &[u8]) -> Vec<u8> {
    name(&[vec![attribute(CN, 0x0c, value)]])
}

/// One element.
fn der(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len();
    let head = match length {
        0..128 => vec![tag, length as u8],
        128..256 => vec![tag, 0x81, length as u8],
        _ => vec![tag, 0x82, (length >> 8) as u8, length as u8],
    };
    [&head, content].concat()
}

/// One element of others.
fn of(tag: u8, parts: &[Vec<u8>]) -> Vec<u8> {
    der(tag, &parts.concat())
}

/// OIDs.
pub const CN: &[u8] = &[0x55, 4, 3];
/// `2.5.4.10`
pub const ORGANIZATION: &[u8] = &[0x55, 4, 10];
const ECDSA_WITH_SHA256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2];
const EC_PUBLIC_KEY: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1];
const P256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7];
const ALTERNATIVE_NAMES: &[u8] = &[0x55, 0x1d, 17];
/// Of P-256: a point that every implementation takes.
const GENERATOR: &[u8] = b"\x6b\x17\xd1\xf2\xe1\x2c\x42\x47\xf8\xbc\xe6\xe5\x63\xa4\x40\xf2\x77\x03\x7d\x81\x2d\xeb\x33\
    \xa0\xf4\xa1\x39\x45\xd8\x98\xc2\x96\x4f\xe3\x42\xe2\xfe\x1a\x7f\x9b\x8e\xe7\xeb\x4a\x7c\x0f\x9e\x16\x2b\xce\x33\
    \x57\x6b\x31\x5e\xce\xcb\xb6\x40\x68\x37\xbf\x51\xf5";

/// Subjects that are hard to show, and how the JDK shows them: `tests/kafka` asks it.
#[must_use]
pub fn hard() -> Vec<(Vec<u8>, String)> {
    let escaped = ESCAPED
        .iter()
        .map(|(value, shown)| (cn(value.as_bytes()), format!("CN={shown}")));
    [of_parts(), of_types(), escaped.collect()].concat()
}

/// Of several parts, and of attributes without a keyword.
fn of_parts() -> Vec<(Vec<u8>, String)> {
    let only = |oid: &[u8], tag, value: &[u8]| name(&[vec![attribute(oid, tag, value)]]);
    let [dc, uid] = [25, 1].map(|last| [0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 1, last]);
    let email = [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 1];
    vec![
        (
            name(&[
                vec![attribute(&[0x55, 4, 6], 0x13, b"DE")],
                vec![attribute(ORGANIZATION, 0x0c, b"Example, Inc")],
                vec![
                    attribute(CN, 0x0c, b"b"),
                    attribute(&[0x55, 4, 11], 0x0c, b"a"),
                ],
                vec![attribute(CN, 0x0c, b"alice")],
                vec![attribute(&email, 0x16, b"alice@example.com")],
            ]),
            "1.2.840.113549.1.9.1=#1611616c696365406578616d706c652e636f6d,CN=alice,CN=b+OU=a,O=Example\\, Inc,C=DE"
                .to_owned(),
        ),
        (
            name(&[
                vec![
                    attribute(&dc, 0x16, b"example"),
                    attribute(&uid, 0x0c, b"u"),
                ],
                vec![
                    attribute(&[0x55, 4, 9], 0x0c, b"s"),
                    attribute(&[0x55, 4, 5], 0x13, b"12"),
                ],
                vec![attribute(&[0x55, 4, 7], 0x0c, b"l"), attribute(&[0x55, 4, 8], 0x0c, b"st")],
            ]),
            "L=l+ST=st,STREET=s+2.5.4.5=#13023132,DC=example+UID=u".to_owned(),
        ),
        // Title, given name, an OID of nobody, large numbers.
        (only(&[0x55, 4, 12], 0x0c, b"Dr"), "2.5.4.12=#0c024472".to_owned()),
        (only(&[0x55, 4, 42], 0x0c, b"A"), "2.5.4.42=#0c0141".to_owned()),
        (only(&[0x88, 0x37, 3], 0x0c, b"x"), "2.999.3=#0c0178".to_owned()),
        (only(&[0x2b, 0x8f, 0xff, 0xff, 0xff, 0x7f], 0x0c, b"x"), "1.3.4294967295=#0c0178".to_owned()),
        (only(&[39, 1], 0x0c, b"x"), "0.39.1=#0c0178".to_owned()),
    ]
}

/// Text of all types, and what is none.
fn of_types() -> Vec<(Vec<u8>, String)> {
    let only = |oid: &[u8], tag, value: &[u8]| name(&[vec![attribute(oid, tag, value)]]);
    vec![
        (only(CN, 0x13, b"printable"), "CN=printable".to_owned()),
        (only(CN, 0x16, b"a@b"), "CN=a@b".to_owned()),
        (only(CN, 0x14, b"t61"), "CN=t61".to_owned()),
        (only(CN, 0x1b, b"general"), "CN=general".to_owned()),
        (only(CN, 0x1e, b"\0a\0b"), "CN=\\00a\\00b".to_owned()),
        (only(CN, 0x1c, b"\0\0\0a"), "CN=#1c0400000061".to_owned()),
        (only(CN, 0x12, b"12"), "CN=#12023132".to_owned()),
        (only(CN, 0x1a, b"vis"), "CN=#1a03766973".to_owned()),
        (only(CN, 0x02, &[5]), "CN=#020105".to_owned()),
        (only(CN, 0x0c, &[b'x'; 300]), format!("CN={}", "x".repeat(300))),
        (
            only(&[0x55, 4, 12], 0x0c, &[b'x'; 200]),
            format!("2.5.4.12=#0c81c8{}", "78".repeat(200)),
        ),
    ]
}

/// What stands behind a backslash, and where.
const ESCAPED: &[(&str, &str)] = &[
    ("", ""),
    (" ", "\\ "),
    ("   ", "\\ \\ \\ "),
    (" a b ", "\\ a b\\ "),
    ("a  ", "a\\ \\ "),
    ("#a", "\\#a"),
    ("a#", "a\\#"),
    ("a=b,c+d\"e\\f<g>h;i", "a\\=b\\,c\\+d\\\"e\\\\f\\<g\\>h\\;i"),
    (" \\ ", "\\ \\\\\\ "),
    (" , ", "\\ \\,\\ "),
    ("\ra\r", "\\\ra\\\r"),
    ("a\0b\n\tc\x7f", "a\\00b\n\tc\x7f"),
    ("\0", "\\00"),
    (" \0 ", "\\ \\00\\ "),
    ("é漢😀\u{202e}", "é漢😀\u{202e}"),
    ("CN=root/$1", "CN\\=root/$1"),
];
