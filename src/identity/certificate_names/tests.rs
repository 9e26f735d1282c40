//! Names that are hard to show, rules that are hard to read, and what has no principal.

use proptest::prelude::*;

use super::*;
use crate::identity::principal::NAME_BYTES_MAX;
use crate::testing::subjects::{CN, ORGANIZATION, attribute, certificate, cn, hard, name};

fn by(rules: &str) -> PrincipalMapping {
    PrincipalMapping::Subject(Rules::parse(rules).unwrap_or_else(|error| panic!("{rules}: {error}")))
}

/// What rules make of a subject of one common name.
fn mapped(rules: &str, value: &str) -> Result<String, NoPrincipal> {
    let certificate = certificate(&cn(value.as_bytes()), &[]);
    by(rules)
        .principal(&certificate)
        .map(|principal| principal.name().to_owned())
}

/// PRINCIPAL-2: `tests/kafka` asks the JDK for the same.
#[test]
fn a_subject_is_shown_as_the_jdk_shows_it() {
    for (subject, shown) in hard() {
        let principal = by("DEFAULT").principal(&certificate(&subject, &[]));
        assert_eq!(principal.expect("it has one").name(), shown);
    }
}

/// PRINCIPAL-1
#[test]
fn what_is_ambiguous_or_no_text_has_no_principal() {
    let principal = |subject: &[u8]| by("DEFAULT").principal(&certificate(subject, &[]));
    for bytes in [&b"\xff"[..], b"caf\xe9", b"\xc3", b"a\xed\xa0\x80"] {
        assert_eq!(principal(&cn(bytes)), Err(NoPrincipal::NotText), "{bytes:?}");
        let t61 = name(&[vec![attribute(CN, 0x14, bytes)]]);
        assert_eq!(principal(&t61), Err(NoPrincipal::NotText));
    }
    assert_eq!(principal(&name(&[])), Err(NoPrincipal::Length), "an empty name");
    // What is behind something that cannot be read is not left out.
    let alice = || vec![attribute(CN, 0x0c, b"alice")];
    for part in [vec![], vec![b"\x04\0".to_vec()], vec![attribute(CN, 0x1f, b"x")]] {
        for parts in [
            vec![part.clone()],
            vec![alice(), part.clone()],
            vec![part, alice()],
        ] {
            assert_eq!(
                principal(&name(&parts)),
                Err(NoPrincipal::Unreadable),
                "{parts:?}"
            );
        }
    }
    for oid in [
        &[0x2b, 0x80][..],
        &[0x2b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f],
    ] {
        let subject = name(&[vec![attribute(oid, 0x0c, b"x")]]);
        assert_eq!(principal(&subject), Err(NoPrincipal::Unreadable), "{oid:?}");
    }
    let good = certificate(&cn(b"a"), &[]);
    let longer = [&good[..], &[0]].concat();
    for bytes in [&good[..good.len() - 1], &longer, b"", &[0x30; 70_000]] {
        assert_eq!(by("DEFAULT").principal(bytes), Err(NoPrincipal::Unreadable));
    }
}

#[test]
fn a_name_is_as_long_as_it_may_be_and_no_longer() {
    let longest = "x".repeat(NAME_BYTES_MAX - "CN=".len());
    assert!(mapped("DEFAULT", &longest).is_ok());
    assert_eq!(
        mapped("DEFAULT", &(longest.clone() + "x")),
        Err(NoPrincipal::Length)
    );
    assert_eq!(mapped("RULE:CN=(.*)/$1$1/", &longest), Err(NoPrincipal::Length));
    assert_eq!(mapped("RULE:CN=(.*)/$1$1/", "ab"), Ok("abab".to_owned()));
    assert_eq!(
        mapped("RULE:CN=(.*)/$1/", ""),
        Err(NoPrincipal::Length),
        "an empty name"
    );
}

/// PRINCIPAL-1
#[test]
fn exactly_one_alternative_name_of_its_kind_is_a_principal() {
    let subject = cn(b"a");
    let (uri, dns) = (PrincipalMapping::SanUri, PrincipalMapping::SanDns);
    let id = "spiffe://example.com/payments";
    let one = certificate(&subject, &[(0x86, id), (0x82, "a.example.com")]);
    let name =
        |mapping: &PrincipalMapping, of: &[u8]| mapping.principal(of).map(|found| found.name().to_owned());
    assert_eq!(name(&uri, &one), Ok(id.to_owned()));
    assert_eq!(name(&dns, &one), Ok("a.example.com".to_owned()));
    assert_eq!(name(&by("DEFAULT"), &one), Ok("CN=a".to_owned()));
    let two = certificate(&subject, &[(0x86, id), (0x86, id), (0x82, "")]);
    assert_eq!(name(&uri, &two), Err(NoPrincipal::NotOne(2)));
    assert_eq!(name(&dns, &two), Err(NoPrincipal::Length));
    let unprintable = certificate(&subject, &[(0x86, "spiffe://a b"), (0x82, "é")]);
    for mapping in [&uri, &dns] {
        assert_eq!(name(mapping, &unprintable), Err(NoPrincipal::NotText));
    }
    let none = certificate(&subject, &[]);
    assert_eq!(name(&uri, &none), Err(NoPrincipal::NotOne(0)));
}

#[test]
fn the_first_rule_that_fits_the_whole_name_decides() {
    let rules = [
        r"RULE:CN=(\w+)-(\d+),O=(.*)/$3.$1/L, RULE:CN=admin\/(.*)/\/$1\//U ,",
        r", RULE:CN=([^,+]+)/$1@$2$12/, DEFAULT,",
    ];
    let rules = &rules.concat();
    let subject = |value: &[u8], organization: &[u8]| {
        let parts = [
            vec![attribute(ORGANIZATION, 0x0c, organization)],
            vec![attribute(CN, 0x0c, value)],
        ];
        certificate(&name(&parts), &[])
    };
    let name = |certificate: &[u8]| {
        by(rules)
            .principal(certificate)
            .expect("a principal")
            .name()
            .to_owned()
    };
    assert_eq!(name(&subject(b"App-12", b"EXAMPLE")), "example.app");
    assert_eq!(name(&subject(b"App-12x", b"E")), "CN=App-12x,O=E");
    assert_eq!(mapped(rules, "admin/x"), Ok("/X/".to_owned()));
    assert_eq!(mapped(rules, "alice"), Ok("alice@$2alice2".to_owned()));
    assert_eq!(mapped("RULE:CN=a/b/", "ab"), Err(NoPrincipal::NoRule));
    assert_eq!(mapped("RULE:.*/x/", "ab"), Ok("x".to_owned()), "once");
    assert_eq!(
        mapped("RULE:CN=(?<who>.*)/${who}\\$1/", "ab"),
        Ok("ab$1".to_owned())
    );
    assert_eq!(
        mapped("RULE:CN=(a)|CN=(b)/$1$2/", "b"),
        Ok("b".to_owned()),
        "a group without a part"
    );
    assert_eq!(mapped("RULE:CN=a.b/x/", "a\u{2028}b"), Err(NoPrincipal::NoRule));
    assert_eq!(
        mapped(r"RULE:CN=\d/x/", "٣"),
        Err(NoPrincipal::NoRule),
        "digits are ASCII"
    );
    assert_eq!(mapped(r"RULE:CN=[\w&&[^a]]+/x/", "bé"), Err(NoPrincipal::NoRule));
    assert_eq!(
        mapped(r"RULE:CN=\<\>/x/", "<>"),
        Err(NoPrincipal::NoRule),
        "a name has them escaped"
    );
    assert_eq!(mapped(r"RULE:CN=\\\<\\\>/x/", "<>"), Ok("x".to_owned()));
}

/// What is wrong with rules, and with which.
fn problem(rules: &str) -> Result<(), (usize, RulesProblem)> {
    let parsed = Rules::parse(rules).map(|_| ());
    parsed.map_err(|error| (error.number, error.problem))
}

#[test]
fn rules_that_kafka_cannot_use_are_refused() {
    for rules in ["", " ", ",", " , ,"] {
        assert_eq!(problem(rules), Err((1, RulesProblem::None)), "{rules:?}");
    }
    for (rules, number, expected) in [
        ("default", 1, RulesProblem::Unknown),
        ("DEFAULT,rule:a/b/", 2, RulesProblem::Unknown),
        ("DEFAULTX", 1, RulesProblem::Behind),
        ("DEFAULT DEFAULT", 1, RulesProblem::Behind),
        ("RULE:a/b/LU", 1, RulesProblem::Behind),
        ("RULE:a/b/ L", 1, RulesProblem::Behind),
        ("RULE:a/b/l", 1, RulesProblem::Behind),
        ("RULE:a/b/c/", 1, RulesProblem::Behind),
        ("RULE:a/b", 1, RulesProblem::Unfinished),
        ("RULE:a", 1, RulesProblem::Unfinished),
        ("RULE:a\\/b/", 1, RulesProblem::Unfinished),
        ("RULE:a\\", 1, RulesProblem::Unfinished),
        ("RULE:a\\\n/b/", 1, RulesProblem::Unfinished),
    ] {
        assert_eq!(problem(rules), Err((number, expected)), "{rules}");
    }
    for replacement in ["$", "$x", "a$", "${", "${a", "${b}", "$1"] {
        let found = problem(&format!("RULE:(?<a>x)/ok/,RULE:(?:x)/{replacement}/"));
        assert!(
            matches!(found, Err((2, RulesProblem::Replacement(_)))),
            "{replacement}: {found:?}"
        );
    }
    let many = |count: usize| vec!["DEFAULT"; count].join(",");
    assert_eq!(problem(&many(100)), Ok(()));
    assert_eq!(problem(&many(101)), Err((101, RulesProblem::TooMany)));
}

/// What is no regular expression, or might be another one than in Java.
const REFUSED: &[&str] = &[
    r"(a)\1",
    r"(?=a)",
    r"(?!a)",
    r"(?<=a)",
    r"(?<!a)",
    r"(?>a)",
    r"a*+",
    r"a++",
    r"a?+",
    r"a{2}+",
    r"a**",
    r"a*??",
    r"(?x)a",
    r"(?U)a",
    r"(?s)a",
    r"(?-i)a",
    r"(?P<a>b)",
    r"\Qa\E",
    r"\h",
    r"\R",
    r"\Z",
    r"\G",
    r"\k<a>",
    r"\cA",
    r"\p{Alpha}",
    r"\p{javaLowerCase}",
    r"\p{}",
    r"\p",
    r"\x4",
    r"\u12",
    r"[a--b]",
    r"[~~]",
    r"[[:alpha:]]",
    r"[]a]",
    r"[^]a]",
    r"[\b]",
    r"\bx",
    r"x\B",
    r"a{x}",
    r"a{2",
    r"{2}",
    r"a)(b",
    r"(a",
    r"a)",
    r"[a",
    r"*a",
    r"\",
    r"a{1,2000}{9}",
    r"\uD800",
    r"((a{1000}){1000}){1000}",
];

#[test]
fn patterns_that_are_none_or_would_mean_something_else_are_refused() {
    for pattern in REFUSED {
        let found = problem(&format!("RULE:{pattern}/x/"));
        let is_refused = matches!(
            &found,
            Err((1, RulesProblem::Pattern(_) | RulesProblem::Unfinished))
        );
        assert!(is_refused, "{pattern}: {found:?}");
    }
}

proptest! {
    /// PRINCIPAL-3: nothing panics, and names that differ are shown differently.
    #[test]
    fn different_names_are_shown_differently(one in ".{0,8}", other in ".{0,8}") {
        let [first, second] = [&one, &other].map(|value| mapped("DEFAULT", value).expect("it is text"));
        prop_assert_eq!(first == second, one == other);
    }

    #[test]
    fn no_rules_panic(text in "(RULE:|DEFAULT|[a-z$\\\\/(){}\\[\\]*+?|.^,LU 0-9-]){0,12}", name in ".{0,10}") {
        if let Ok(rules) = Rules::parse(&text) {
            let _ = rules.name_of(&name);
        }
    }

    #[test]
    fn no_certificate_panics(
        place in any::<prop::sample::Index>(),
        byte in any::<u8>(),
        which in any::<prop::sample::Index>(),
    ) {
        let (subject, _) = which.get(&hard()).clone();
        let mut bytes = certificate(&subject, &[(0x86, "spiffe://a"), (0x82, "a")]);
        let place = place.index(bytes.len());
        bytes[place] = byte;
        for mapping in [by("DEFAULT"), PrincipalMapping::SanUri, PrincipalMapping::SanDns] {
            let _ = mapping.principal(&bytes);
            let _ = mapping.principal(&bytes[..place]);
        }
    }
}
