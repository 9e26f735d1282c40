//! Whether a record that one rule opens could be opened by another one, of another cluster.
//!
//! - SHARING-1: a no is certain, whatever topics there are. A yes may be wrong: of a regular expression and its groups
//!   only the letters are known, a reference that stands twice counts as two, and rules in front are not looked at.

use super::matcher::{Matcher, Token};
use super::{Rule, RuleAction, Template, is_topic_name_byte};
use crate::ids::KmsId;

/// What records may name for a rule to open them, for all topics that the rule takes.
pub struct Openable {
    keks: Vec<(KmsId, Vec<Token>)>,
    domains: Vec<Vec<Token>>,
}

impl Openable {
    /// `None`: the rule opens nothing.
    pub fn by(rule: &Rule) -> Option<Self> {
        let RuleAction::Seal(seal) = &rule.action else {
            return None;
        };
        let pattern = |template: &Template| template.pattern(&rule.matcher);
        let further = seal
            .open_keks
            .iter()
            .map(|(kms, template)| (*kms, pattern(template)));
        let domains = std::iter::once(&seal.domain).chain(&seal.open_domains);
        Some(Self {
            keks: std::iter::once((seal.kms, pattern(&seal.kek)))
                .chain(further)
                .collect(),
            domains: domains.map(pattern).collect(),
        })
    }

    /// Whether there could be a record that opens under both rules. `same_kms` says which KMSs have the same keys.
    pub fn meets(&self, other: &Self, same_kms: impl Fn(KmsId, KmsId) -> bool) -> bool {
        let kek_of_both = |(kms, kek): &(KmsId, Vec<Token>)| {
            let by_other = |(other_kms, other_kek): &(KmsId, Vec<Token>)| {
                same_kms(*kms, *other_kms) && meet(kek, other_kek)
            };
            other.keks.iter().any(by_other)
        };
        let domain_of_both = |domain: &Vec<Token>| other.domains.iter().any(|other| meet(domain, other));
        self.domains.iter().any(domain_of_both) && self.keks.iter().any(kek_of_both)
    }
}

impl Matcher {
    /// Every topic that it takes is one of these texts.
    pub(super) fn pattern(&self) -> Vec<Token> {
        match self {
            Self::Exact(name) => name.bytes().map(Token::Byte).collect(),
            Self::Glob(glob) => glob.tokens.to_vec(),
            Self::Regex(_) => vec![Token::AnyBytes],
        }
    }

    /// Whether there may be a topic that both take.
    pub fn may_meet(&self, other: &Self) -> bool {
        meet(&self.pattern(), &other.pattern())
    }
}

/// Whether one text is among those of both patterns; wildcards stand for bytes of topic names alone.
fn meet(first: &[Token], other: &[Token]) -> bool {
    let alike = |(first, other): &(&Token, &Token)| matches!(first, Token::Byte(_)) && first == other;
    let prefix = first.iter().zip(other).take_while(alike).count();
    let (first, other) = (
        first.get(prefix..).unwrap_or_default(),
        other.get(prefix..).unwrap_or_default(),
    );
    // Most pairs are told apart here, so that many rules cost little.
    if let (Some(Token::Byte(_)), Some(Token::Byte(_))) = (first.first(), other.first()) {
        return false;
    }
    // Which lengths of `other` end together with what is done of `first`.
    let mut ends = vec![false; other.len().saturating_add(1)];
    if let Some(start) = ends.first_mut() {
        *start = true;
    }
    pass_over_wildcards(&mut ends, other, None);
    for token in first {
        let mut next = vec![false; ends.len()];
        for (at, reached) in ends.iter().enumerate().filter(|(_, reached)| **reached) {
            let beyond = at.saturating_add(1);
            // A `*` takes nothing; a `*` of the other takes this token and stands where it stood.
            let stays = *token == Token::AnyBytes
                || (other.get(at) == Some(&Token::AnyBytes) && in_topic_names(*token));
            let goes_on = other.get(at).is_some_and(|other| single_meets(*token, *other));
            for (at, reached) in [(at, *reached && stays), (beyond, goes_on)] {
                if let Some(next) = next.get_mut(at) {
                    *next |= reached;
                }
            }
        }
        pass_over_wildcards(&mut next, other, Some(*token));
        ends = next;
    }
    ends.last() == Some(&true)
}

/// A `*` of `other` may take nothing, and a `*` that was just taken of the first pattern takes what wildcards can.
fn pass_over_wildcards(ends: &mut [bool], other: &[Token], taken: Option<Token>) {
    for (at, token) in other.iter().enumerate() {
        let passes = *token == Token::AnyBytes || (taken == Some(Token::AnyBytes) && in_topic_names(*token));
        if passes
            && ends.get(at) == Some(&true)
            && let Some(beyond) = ends.get_mut(at.saturating_add(1))
        {
            *beyond = true;
        }
    }
}

/// Whether two tokens of one byte stand for the same.
fn single_meets(first: Token, other: Token) -> bool {
    match (first, other) {
        (Token::AnyBytes, _) | (_, Token::AnyBytes) => false,
        (Token::Byte(first), Token::Byte(other)) => first == other,
        (first, other) => in_topic_names(first) && in_topic_names(other),
    }
}

fn in_topic_names(token: Token) -> bool {
    match token {
        Token::Byte(byte) => is_topic_name_byte(byte),
        Token::AnyByte | Token::AnyBytes => true,
    }
}

#[cfg(test)]
mod tests {
    use crate::ids::Id as _;
    use proptest::prelude::*;

    use super::super::SealTemplate;
    use super::*;

    fn openable(matcher: &Matcher, adjust: impl FnOnce(&mut SealTemplate)) -> Openable {
        let mut seal = SealTemplate::new(KmsId::from_number(0), Template::plain("k"));
        adjust(&mut seal);
        let rule = Rule {
            matcher: matcher.clone(),
            action: RuleAction::Seal(Box::new(seal)),
        };
        Openable::by(&rule).expect("it seals")
    }

    fn parsed(text: &str, matcher: &Matcher, cluster: &str) -> Template {
        Template::parse(text, matcher, cluster).unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    fn matcher(text: &str) -> Matcher {
        let matcher = match text.strip_prefix("regex:") {
            Some(text) => Matcher::regex(text),
            None => Matcher::glob(text),
        };
        matcher.unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn domains_of_two_clusters_meet_where_a_topic_could_have_both() {
        for (first, domain, other, other_domain, meets) in [
            ("*", "${topic}", "*", "${topic}", true),
            ("a-*", "${topic}", "b-*", "${topic}", false),
            ("a-*", "${topic}", "*-b", "${topic}", true),
            ("a-?", "${topic}", "a-??", "${topic}", false),
            ("a?", "${topic}", "b", "ab", true),
            ("a?", "${topic}", "b", "a/", false),
            ("*", "${cluster}/${topic}", "*", "${cluster}/${topic}", false),
            ("*", "${topic}@${cluster}", "*", "${topic}@${cluster}", false),
            ("*", "${cluster}/${topic}", "*", "${topic}", false),
            ("*", "${cluster}.${topic}", "*", "${topic}", true),
            ("a-*", "all", "b-*", "all", true),
            ("a-*", "all", "b-*", "al", false),
            ("*", "${topic}", "b-*", "one:${topic}", false),
            ("*", "one:${topic}", "b-*", "one:${topic}", true),
            ("regex:(a)-(.*)", "${1}:${2}", "x", "b:c", true),
            ("regex:(a)-(.*)", "${1}:${2}", "x", "b/c", false),
            ("regex:(a)-(.*)", "${0}", "x", "${topic}", true),
        ] {
            let (first, other) = (matcher(first), matcher(other));
            let one = openable(&first, |rule| rule.domain = parsed(domain, &first, "one"));
            let two = openable(&other, |rule| rule.domain = parsed(other_domain, &other, "two"));
            assert_eq!(
                one.meets(&two, |_, _| true),
                meets,
                "{first} {domain} {other} {other_domain}"
            );
            assert_eq!(
                two.meets(&one, |_, _| true),
                meets,
                "{first} {domain} {other} {other_domain}"
            );
            assert!(!one.meets(&two, |_, _| false), "other keys");
        }
    }

    #[test]
    fn one_kek_and_one_domain_of_several_are_enough() {
        let any = matcher("*");
        let main = openable(&any, |_| {});
        type Adjust = fn(&mut SealTemplate);
        let adjusted: [(Adjust, bool); 6] = [
            (|rule| rule.kek = Template::plain("other"), false),
            (|rule| rule.kek = Template::topic(), true),
            (|rule| rule.domain = Template::plain("a/b"), false),
            (
                |rule| {
                    rule.kek = Template::plain("other");
                    rule.open_keks = vec![(KmsId::from_number(0), Template::plain("k"))];
                },
                true,
            ),
            (
                |rule| {
                    rule.domain = Template::plain("a/b");
                    rule.open_domains = vec![Template::topic()];
                },
                true,
            ),
            (
                |rule| {
                    rule.kek = Template::plain("other");
                    rule.open_keks = vec![(KmsId::from_number(1), Template::plain("k"))];
                },
                false,
            ),
        ];
        for (index, (adjust, meets)) in adjusted.into_iter().enumerate() {
            let other = openable(&any, adjust);
            assert_eq!(main.meets(&other, |one, two| one == two), meets, "{index}");
        }
        let passing = Rule {
            matcher: any,
            action: RuleAction::Pass(None),
        };
        assert!(Openable::by(&passing).is_none());
    }

    proptest! {
        /// Any text that both take is found, and with few letters and short patterns most of them are there.
        ///
        /// SHARING-1
        #[test]
        fn patterns_meet_exactly_where_a_text_is_taken_by_both(
            first in "[ab*?]{1,5}", other in "[ab*?]{1,5}",
        ) {
            let (first, other) = (matcher(&first), matcher(&other));
            let mut texts = vec![String::new()];
            let mut found = false;
            // As long as both patterns together, which is enough for the shortest text of both.
            for _ in 0..=8 {
                found = found || texts.iter().any(|text| first.matches(text) && other.matches(text));
                texts = texts.iter().flat_map(|text| [format!("{text}a"), format!("{text}b")]).collect();
            }
            prop_assert_eq!(meet(&first.pattern(), &other.pattern()), found, "{} {}", first, other);
        }
    }
}
