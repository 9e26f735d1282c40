//! `ssl.principal.mapping.rules` as Kafka reads it: rules between commas, the first that fits decides.
//!
//! A rule is `DEFAULT`, the whole subject, or `RULE:pattern/replacement/` with nothing, `L` or `U` behind it: the lower
//! or the upper case of what comes of it. A `/` within pattern or replacement stands behind a `\`; commas are free
//! there. A pattern has to fit the whole subject. Blanks around rules, and rules that are empty, mean nothing.

use regex::Regex;

use super::super::principal::NAME_BYTES_MAX;
use super::NoPrincipal;
use super::pattern::{self, PatternError};
use super::replacement::{Replacement, ReplacementError};

/// Rules that can be used: at least one.
#[derive(Clone, Debug)]
pub struct Rules(Vec<Rule>);

#[derive(Clone, Debug)]
enum Rule {
    Default,
    Pattern {
        pattern: Regex,
        replacement: Replacement,
        case: Case,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Case {
    Kept,
    Lower,
    Upper,
}

/// What is wrong with a text of rules, and with which of them, counted from 1.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("rule {number} {problem}")]
pub struct RulesError {
    /// Which one.
    pub number: usize,
    /// What is wrong with it.
    pub problem: RulesProblem,
}

/// What is wrong with a rule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RulesProblem {
    /// Nothing but blanks and commas.
    #[error("is missing: there is none")]
    None,
    /// Too much to look at.
    #[error("is one too many: there may be {RULES_MAX}, of {TEXT_BYTES_MAX} bytes together")]
    TooMany,
    /// Another beginning.
    #[error("is neither DEFAULT nor RULE:pattern/replacement/")]
    Unknown,
    /// A `/` is missing, or stands behind a `\`.
    #[error("has no end: write RULE:pattern/replacement/, and \\/ for a / within")]
    Unfinished,
    /// Something before the next comma.
    #[error("has something behind it that is neither L nor U nor a comma")]
    Behind,
    /// See there.
    #[error(transparent)]
    Pattern(#[from] PatternError),
    /// See there.
    #[error(transparent)]
    Replacement(#[from] ReplacementError),
}

impl Rules {
    /// The text of rules.
    ///
    /// # Errors
    /// What Kafka refuses, when it starts or when somebody connects, and what cannot be done as Kafka does it.
    pub fn parse(text: &str) -> Result<Self, RulesError> {
        let mut rules = Vec::new();
        let mut rest = text;
        loop {
            rest = rest.trim_start_matches(|character| is_blank(character) || character == ',');
            let number = rules.len().saturating_add(1);
            let wrong = |problem| RulesError { number, problem };
            if rest.is_empty() {
                break;
            }
            if number > RULES_MAX || text.len() > TEXT_BYTES_MAX {
                return Err(wrong(RulesProblem::TooMany));
            }
            let (rule, behind) = rule(rest).map_err(wrong)?;
            rest = behind.trim_start_matches(is_blank);
            if !rest.is_empty() && !rest.starts_with(',') {
                return Err(wrong(RulesProblem::Behind));
            }
            rules.push(rule);
        }
        match rules.is_empty() {
            true => Err(RulesError {
                number: 1,
                problem: RulesProblem::None,
            }),
            false => Ok(Self(rules)),
        }
    }

    /// What the first rule that fits makes of a subject.
    ///
    /// # Errors
    /// None fits, or what comes of it is too long.
    pub fn name_of(&self, subject: &str) -> Result<String, NoPrincipal> {
        let mut rules = self.0.iter();
        rules
            .find_map(|rule| rule.apply(subject))
            .unwrap_or(Err(NoPrincipal::NoRule))
    }
}

impl Rule {
    fn apply(&self, subject: &str) -> Option<Result<String, NoPrincipal>> {
        let Self::Pattern {
            pattern,
            replacement,
            case,
        } = self
        else {
            return Some(Ok(subject.to_owned()));
        };
        let found = pattern.captures(subject)?;
        let Some(name) = replacement.expand(&found, NAME_BYTES_MAX) else {
            return Some(Err(NoPrincipal::Length));
        };
        Some(Ok(match case {
            Case::Kept => name,
            Case::Lower => name.to_lowercase(),
            Case::Upper => name.to_uppercase(),
        }))
    }
}

/// The rule that `text` begins with, and what is behind it.
fn rule(text: &str) -> Result<(Rule, &str), RulesProblem> {
    if let Some(behind) = text.strip_prefix("DEFAULT") {
        return Ok((Rule::Default, behind));
    }
    let text = text.strip_prefix("RULE:").ok_or(RulesProblem::Unknown)?;
    let (pattern, text) = up_to_slash(text).ok_or(RulesProblem::Unfinished)?;
    let (replacement, text) = up_to_slash(text).ok_or(RulesProblem::Unfinished)?;
    let (case, behind) = match (text.strip_prefix('L'), text.strip_prefix('U')) {
        (Some(behind), _) => (Case::Lower, behind),
        (_, Some(behind)) => (Case::Upper, behind),
        _ => (Case::Kept, text),
    };
    let pattern = pattern::of_whole(pattern)?;
    let rule = Rule::Pattern {
        replacement: Replacement::parse(replacement, &pattern)?,
        pattern,
        case,
    };
    Ok((rule, behind))
}

/// What stands before the next `/` that is not behind a `\`, and what stands behind it.
fn up_to_slash(text: &str) -> Option<(&str, &str)> {
    let mut characters = text.char_indices();
    while let Some((place, character)) = characters.next() {
        match character {
            '/' => return Some((text.get(..place)?, text.get(place..)?.strip_prefix('/')?)),
            // Kafka's own grammar knows no line's end there.
            '\\' => characters
                .next()
                .filter(|(_, escaped)| !ends_line(*escaped))
                .map(drop)?,
            _ => {}
        }
    }
    None
}

/// `\s` of Java.
fn is_blank(character: char) -> bool {
    matches!(character, ' ' | '\t' | '\n' | '\x0b' | '\x0c' | '\r')
}

/// What `.` of Java leaves out.
fn ends_line(character: char) -> bool {
    matches!(character, '\n' | '\r' | '\u{85}' | '\u{2028}' | '\u{2029}')
}

/// Each may be tried for each connection.
const RULES_MAX: usize = 100;
const TEXT_BYTES_MAX: usize = 64 * 1024;
