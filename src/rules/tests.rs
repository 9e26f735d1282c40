//! Which rule a topic gets, and what templates become.

use proptest::prelude::*;

use super::*;
use crate::ids::Id as _;

fn glob(text: &str) -> Matcher {
    Matcher::glob(text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn regex(text: &str) -> Matcher {
    Matcher::regex(text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn exact(name: &str) -> Matcher {
    Matcher::exact(name).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn template(text: &str, matcher: &Matcher) -> Template {
    Template::parse(text, matcher, "main").unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn seal(matcher: Matcher, kek: &str) -> Rule {
    let kek = template(kek, &matcher);
    Rule {
        matcher,
        action: RuleAction::Seal(Box::new(SealTemplate::new(KmsId::from_number(0), kek))),
    }
}

fn pass(matcher: Matcher) -> Rule {
    Rule {
        matcher,
        action: RuleAction::Pass(None),
    }
}

fn kek_of(rules: &RuleSet, topic: &str) -> Option<String> {
    match rules.resolve(topic)?.action {
        Action::Seal(seal) => Some(seal.kek.to_string()),
        _ => None,
    }
}

fn reason_of(rules: &RuleSet, topic: &str) -> String {
    match rules.resolve(topic).map(|rule| rule.action) {
        Some(Action::Reject { reason }) => reason.as_deref().unwrap_or_default().to_owned(),
        other => panic!("{topic}: {other:?}"),
    }
}

/// MATCH-1
#[test]
fn globs_match_whole_names() {
    for (pattern, topic, expected) in [
        ("payments-*", "payments-", true),
        ("payments-*", "payments-eu", true),
        ("payments-*", "xpayments-eu", false),
        ("payments-*", "payments", false),
        ("*", "anything.at_all-9", true),
        ("*", "", true),
        ("?", "", false),
        ("?", "a", true),
        ("?", "ab", false),
        ("a*b*c", "abc", true),
        ("a*b*c", "a--b--b--c", true),
        ("a*b*c", "a--b--c-", false),
        ("*-dlq", "orders-dlq-dlq", true),
        ("a.c", "abc", false),
        ("?*?", "a", false),
        ("?*?", "ab", true),
    ] {
        assert_eq!(glob(pattern).matches(topic), expected, "{pattern} {topic}");
    }
}

#[test]
fn regexes_are_anchored_whatever_they_say() {
    assert!(regex("a|ab").matches("ab"));
    assert!(!regex("a|b").matches("ab"));
    assert!(!regex("a").matches("a\n"));
    assert!(!regex("a$").matches("a\nb") && !regex("(?m)^a$").matches("b\na"));
    assert!(regex("(?i)abc").matches("ABC"));
    for bad in [
        "",
        "(",
        "a)(b",
        "a)|(b",
        r"\1",
        "(?x) a # comment",
        "(?:a{1000}){1000}",
    ] {
        assert!(Matcher::regex(bad).is_err(), "{bad}");
    }
    let said = Matcher::regex("(").map_err(|error| error.to_string());
    assert_eq!(
        said.err().as_deref(),
        Some("is not a regular expression: unclosed group")
    );
}

#[test]
fn names_that_no_topic_can_have_are_refused_in_patterns() {
    for bad in ["", "a b", "a/b", "ä", "a\n", "[ab]", "{a,b}"] {
        assert!(
            Matcher::glob(bad).is_err() && Matcher::exact(bad).is_err(),
            "{bad:?}"
        );
    }
    assert!(Matcher::exact("a*").is_err() && Matcher::exact("..").is_err());
    assert!(Matcher::exact(&"a".repeat(249)).is_ok() && Matcher::exact(&"a".repeat(250)).is_err());
}

/// RULE-1
#[test]
fn the_first_rule_that_matches_decides() {
    let rules = RuleSet::new(vec![
        seal(glob("a-*"), "first"),
        pass(glob("a-secret")),
        seal(regex("(?<team>[a-z]+)\\.(.+)"), "${team}/${2}/${1}/${topic}/$/$$"),
        pass(glob("b")),
        Rule {
            matcher: glob("*"),
            action: RuleAction::Reject {
                reason: Some("closed".into()),
            },
        },
    ]);
    assert_eq!(rules.rules().len(), 5);
    assert_eq!(kek_of(&rules, "a-secret").as_deref(), Some("first"));
    assert_eq!(
        kek_of(&rules, "core.x.y").as_deref(),
        Some("core/x.y/core/core.x.y/$/$")
    );
    assert!(matches!(
        rules.resolve("b").map(|rule| rule.action),
        Some(Action::Pass(_))
    ));
    assert_eq!(reason_of(&rules, "c"), "closed");
    let named = rules.resolve("b").map(|rule| rule.rule.to_string());
    assert_eq!(named.as_deref(), Some("rule 4 (match \"b\")"));
    assert!(RuleSet::new(vec![pass(glob("b"))]).resolve("c").is_none());
}

/// RULE-3
#[test]
fn kafkas_own_topics_are_outside_of_the_rules() {
    let rules = RuleSet::new(vec![pass(glob("*"))]);
    for topic in KAFKA_TOPICS {
        assert!(
            matches!(
                rules.resolve(topic).map(|rule| rule.action),
                Some(Action::KafkaInternal)
            ),
            "{topic}"
        );
    }
    assert!(matches!(
        rules.resolve("__consumer_offsets_").map(|rule| rule.action),
        Some(Action::Pass(_))
    ));
}

/// RULE-2
#[test]
fn what_cannot_be_expanded_is_refused() {
    let rules = RuleSet::new(vec![
        seal(regex("x-([0-9])?.*"), "${1}"),
        seal(glob("*"), "0123456${topic}"),
    ]);
    assert_eq!(kek_of(&rules, "x-1").as_deref(), Some("1"));
    assert!(reason_of(&rules, "x-").contains("kek is empty"));
    assert!(kek_of(&rules, &"a".repeat(248)).is_some(), "255 bytes");
    assert!(reason_of(&rules, &"a".repeat(249)).contains("256 bytes long"));
    for illegal in ["", ".", "..", "a b", "../../sys", "a\0", "ä", &"a".repeat(250)] {
        assert!(reason_of(&rules, illegal).contains("not a name"), "{illegal:?}");
    }
}

#[test]
fn an_empty_domain_is_refused() {
    let matcher = regex("x(-.*)?");
    let mut template_of_seal = SealTemplate::new(KmsId::from_number(0), Template::plain("k"));
    template_of_seal.domain = template("${1}", &matcher);
    let rules = RuleSet::new(vec![Rule {
        matcher,
        action: RuleAction::Seal(Box::new(template_of_seal)),
    }]);
    assert!(kek_of(&rules, "x-1").is_some());
    assert!(reason_of(&rules, "x").contains("domain"));
}

/// RULE-4
#[test]
fn the_sealing_kek_opens_too_and_none_is_named_twice() {
    let matcher = glob("*");
    let mut sealing = SealTemplate::new(KmsId::from_number(1), Template::topic());
    sealing.open_keks = ["a", "b", "a"]
        .into_iter()
        .map(|kek| (KmsId::from_number(1), Template::plain(kek)))
        .collect();
    sealing
        .open_keks
        .push((KmsId::from_number(0), Template::plain("a")));
    let named: Vec<_> = sealing
        .keks()
        .map(|(kms, kek)| (kms.number(), kek.to_string()))
        .collect();
    let named: Vec<_> = named.iter().map(|(kms, kek)| (*kms, &**kek)).collect();
    assert_eq!(named, [(1, "${topic}"), (1, "a"), (1, "b"), (1, "a"), (0, "a")]);
    let rules = RuleSet::new(vec![Rule {
        matcher,
        action: RuleAction::Seal(Box::new(sealing)),
    }]);
    let Some(Action::Seal(rule)) = rules.resolve("a").map(|rule| rule.action) else {
        panic!("it seals")
    };
    let keks: Vec<_> = rule
        .open_keks
        .iter()
        .map(|(kms, kek)| (kms.number(), &**kek))
        .collect();
    assert_eq!(keks, [(1, "a"), (1, "b"), (0, "a")]);
}

#[test]
fn templates_are_checked_when_they_are_parsed() {
    let matcher = regex("(?<team>a)(b)");
    for (text, good) in [
        ("plain", true),
        ("$", true),
        ("$x", true),
        ("${topic}", true),
        ("${0}", true),
        ("${2}", true),
        ("${3}", false),
        ("${team}", true),
        ("${tea}", false),
        ("${+1}", false),
        ("${}", false),
        ("${team", false),
        ("", false),
        ("${99999999999999999999}", false),
    ] {
        assert_eq!(Template::parse(text, &matcher, "main").is_ok(), good, "{text}");
    }
    assert!(
        Template::parse("${1}", &glob("*"), "main").is_err(),
        "globs have no groups"
    );
    assert_eq!(
        template("$${topic}", &matcher).expand("t", &Captures::None),
        "${topic}"
    );
    assert_eq!(
        template("${cluster}/${topic}/${cluster}", &glob("*")).expand("t", &Captures::None),
        "main/t/main"
    );
    for group in ["topic", "cluster"] {
        let own = regex(&format!("(?<{group}>a)(b)"));
        let text = format!("${{{group}}}");
        let ambiguous = Err(TemplateError::Ambiguous(group.to_owned()));
        assert_eq!(Template::parse(&text, &own, "main"), ambiguous);
        assert!(Template::parse("${2}", &own, "main").is_ok());
    }
}

#[test]
fn forms_are_a_set() {
    let forms = Forms::SEALWIRE.with(Forms::TOMBSTONE);
    assert!(
        forms.contains(Forms::SEALWIRE) && forms.contains(Forms::TOMBSTONE) && forms.contains(Forms::NONE)
    );
    assert!(!forms.contains(Forms::PLAINTEXT) && !Forms::NONE.contains(Forms::SEALWIRE));
    let all = [
        Forms::SEALWIRE,
        Forms::KROXYLICIOUS,
        Forms::TOMBSTONE,
        Forms::PLAINTEXT,
    ];
    for one in all {
        assert_eq!(one.with(one), one);
        for other in all {
            assert_eq!(one.contains(other), one == other);
        }
    }
}

/// MATCH-3
#[test]
fn some_matchers_are_known_to_take_what_others_take() {
    for all in [glob("*"), glob("**"), regex(".*"), regex("(.+)"), regex("^.*$")] {
        assert!(all.is_catch_all(), "{all}");
        assert!(all.covers(&regex("a[bc]")) && all.covers(&glob("a*")) && all.covers(&exact("a")));
    }
    for some in [glob("*?"), glob("a*"), regex("a.*"), regex("."), exact("a")] {
        assert!(!some.is_catch_all(), "{some}");
        assert!(!some.covers(&glob("*")) && !some.covers(&regex(".*")), "{some}");
    }
    assert!(regex("a|b").covers(&regex("a|b")) && regex("a|b").covers(&exact("b")));
    assert!(!regex("a|b").covers(&regex("b")) && !regex("a|b").covers(&exact("c")));
    assert!(exact("a").covers(&exact("a")) && !exact("a").covers(&exact("b")));
}

#[test]
fn patterns_meet_where_a_text_is_taken_by_both() {
    for (one, other, meet) in [
        ("cust*", "customers-*", true),
        ("*-eu", "customers-*", true),
        ("a*b", "b*a", false),
        ("a?", "a", false),
        ("a?", "?b", true),
        ("a*", "*", true),
        ("a*c*e", "abcde", true),
        ("*a", "*b", false),
        ("*", "?", true),
    ] {
        for (one, other) in [(one, other), (other, one)] {
            assert_eq!(glob(one).may_meet(&glob(other)), meet, "{one} {other}");
        }
    }
    assert!(glob("a*").may_meet(&exact("ab")) && exact("ab").may_meet(&glob("a*")));
    assert!(!glob("a*").may_meet(&exact("ba")) && !exact("a").may_meet(&exact("b")));
}

#[test]
fn something_is_known_of_a_template_before_a_topic_is() {
    for (text, matcher, for_every_topic, bytes_min) in [
        ("plain", glob("*"), Some("plain"), 5),
        ("x-${topic}-y", glob("*"), None, 4),
        ("x-${topic}-y", exact("t"), Some("x-t-y"), 4),
        ("${cluster}/${1}", regex("(.)"), None, 5),
        ("${topic}", glob("*"), None, 0),
    ] {
        let template = template(text, &matcher);
        assert_eq!(
            template.for_every_topic(&matcher).as_deref(),
            for_every_topic,
            "{text}"
        );
        assert_eq!(template.bytes_min(), bytes_min, "{text}");
    }
}

/// Few letters, so that random names and patterns meet often.
const NAMES: &str = "[ab.]{1,8}";
const GLOBS: &str = "[ab.*?]{1,8}";

fn by_regex(pattern: &str, topic: &str) -> bool {
    let escaped = ::regex::escape(pattern).replace("\\*", ".*").replace("\\?", ".");
    ::regex::Regex::new(&format!("^{escaped}$")).is_ok_and(|regex| regex.is_match(topic))
}

proptest! {
    #[test]
    fn globs_agree_with_regular_expressions(pattern in GLOBS, topic in NAMES) {
        prop_assert_eq!(glob(&pattern).matches(&topic), by_regex(&pattern, &topic));
    }

    /// MATCH-3
    #[test]
    fn what_covers_takes_everything_of_the_other(
        first in GLOBS, later in GLOBS, topics in proptest::collection::vec(NAMES, 20),
    ) {
        let (first, later) = (glob(&first), glob(&later));
        prop_assert!(first.covers(&first));
        if first.covers(&later) {
            for topic in topics {
                prop_assert!(!later.matches(&topic) || first.matches(&topic), "{} {} {}", first, later, topic);
            }
        }
    }

    #[test]
    fn covering_an_exact_name_is_matching_it(pattern in GLOBS, name in "[ab]{1,6}") {
        let Ok(exact) = Matcher::exact(&name) else { return Ok(()) };
        prop_assert_eq!(glob(&pattern).covers(&exact), glob(&pattern).matches(&name));
    }

    #[test]
    fn resolving_is_first_match_and_deterministic(
        patterns in proptest::collection::vec(GLOBS, 0..8), topic in NAMES,
    ) {
        let rules = RuleSet::new(patterns.iter().map(|pattern| pass(glob(pattern))).collect());
        let expected = patterns.iter().position(|pattern| by_regex(pattern, &topic));
        for _ in 0..2 {
            prop_assert_eq!(rules.resolve(&topic).map(|rule| rule.rule.index), expected.map(Some));
        }
    }

    #[test]
    fn any_name_is_answered_and_no_illegal_one_is_sealed(topic in ".{0,300}") {
        let rules = RuleSet::new(vec![seal(regex("(?s)(.*)"), "k-${1}")]);
        if let Some(Action::Seal(rule)) = rules.resolve(&topic).map(|rule| rule.action) {
            prop_assert!(is_legal_topic_name(&topic));
            prop_assert_eq!(&*rule.kek, format!("k-{topic}"));
            prop_assert_eq!(rule.domain.name(), topic);
        }
    }

    /// TEMPLATE-1
    #[test]
    fn captures_expand_as_the_regex_crate_says(
        topic in "[a-c]{0,4}[.-][a-c]{0,4}", text in "([a-z/]|\\$\\{1\\}|\\$\\{rest\\}|\\$\\{0\\}){1,8}",
    ) {
        let pattern = "(a?)[a-c]*[.-](?<rest>.*)";
        let matcher = regex(pattern);
        let mut expected = String::new();
        if let (Ok(plain), Some(captures)) = (::regex::Regex::new(&format!("^{pattern}$")), matcher.captures(&topic)) {
            if let Some(found) = plain.captures(&topic) {
                found.expand(&text, &mut expected);
            }
            prop_assert_eq!(template(&text, &matcher).expand(&topic, &captures), expected);
        }
    }

    #[test]
    fn no_pattern_or_template_panics(text in ".{0,40}", topic in ".{0,20}") {
        for matcher in [Matcher::exact(&text), Matcher::glob(&text), Matcher::regex(&text)].into_iter().flatten() {
            let template = Template::parse(&text, &matcher, "main");
            if let (Ok(template), Some(captures)) = (template, matcher.captures(&topic)) {
                let _ = template.expand(&topic, &captures);
            }
        }
    }
}
