//! Which topics a rule is about: an exact name, a glob, or a regular expression over the whole name.
//!
//! - MATCH-1: a matcher sees the whole name, never a part of it.
//! - matching takes time linear in the name for a regular expression, and at most pattern times name for a glob.
//! - MATCH-3: [`Matcher::covers`] never says yes where a topic exists that only the later matcher takes.

use std::fmt;

use regex::{Regex, RegexBuilder};

use crate::rules::{is_legal_topic_name, is_topic_name_byte};

/// Which topics a rule is about.
#[derive(Clone, Debug)]
pub enum Matcher {
    /// One topic.
    Exact(Box<str>),
    /// `*` stands for any characters (none included), `?` for one; a topic's name has no separators.
    Glob(Glob),
    /// A regular expression over the whole name.
    Regex(TopicRegex),
}

/// A pattern with `*` and `?`.
#[derive(Clone, Debug)]
pub struct Glob {
    text: Box<str>,
    pub(super) tokens: Box<[Token]>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Token {
    Byte(u8),
    /// Any byte.
    AnyByte,
    /// Any of them, or none.
    AnyBytes,
}

/// A regular expression that is anchored at both ends.
#[derive(Clone, Debug)]
pub struct TopicRegex {
    text: Box<str>,
    anchored: Regex,
}

/// Why a `match` is not one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MatcherError {
    /// Nothing to match.
    #[error("is empty")]
    Empty,
    /// A character that no topic's name has.
    #[error(
        "has {0:?}, which no topic name can have (letters, digits, `.`, `_`, `-`; in a glob also `*` and `?`)"
    )]
    Character(char),
    /// Longer than any topic's name.
    #[error("is not a topic name: 1 to 249 characters, and neither `.` nor `..`")]
    NotATopicName,
    /// Not a regular expression, or one that is too large.
    #[error("is not a regular expression: {0}")]
    Regex(String),
}

/// What a matcher took out of a name.
#[derive(Debug)]
pub enum Captures<'t> {
    /// The matcher has no groups.
    None,
    /// Groups of a regular expression.
    Regex(regex::Captures<'t>),
}

impl Captures<'_> {
    /// What the group took; `None` where there is no such group or where it took no part in the match.
    pub fn get(&self, group: &Group) -> Option<&str> {
        match (self, group) {
            (Captures::None, _) => None,
            (Captures::Regex(captures), Group::Number(number)) => {
                captures.get(*number).map(|found| found.as_str())
            }
            (Captures::Regex(captures), Group::Name(name)) => captures.name(name).map(|found| found.as_str()),
        }
    }
}

/// A group of a regular expression.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Group {
    /// From 1; 0 is the whole name.
    Number(usize),
    /// `(?<name>…)`.
    Name(Box<str>),
}

impl Matcher {
    /// One topic.
    pub fn exact(name: &str) -> Result<Self, MatcherError> {
        check_characters(name, "")?;
        if is_legal_topic_name(name) {
            Ok(Self::Exact(name.into()))
        } else {
            Err(MatcherError::NotATopicName)
        }
    }

    /// A pattern with `*` and `?`.
    pub fn glob(text: &str) -> Result<Self, MatcherError> {
        check_characters(text, "*?")?;
        Ok(Self::Glob(Glob {
            text: text.into(),
            tokens: tokens(text),
        }))
    }

    /// One name of something that may be called anything.
    pub fn exact_of_any(name: &str) -> Result<Self, MatcherError> {
        match name {
            "" => Err(MatcherError::Empty),
            name => Ok(Self::Exact(name.into())),
        }
    }

    /// A pattern of such names.
    pub fn glob_of_any(text: &str) -> Result<Self, MatcherError> {
        match text {
            "" => Err(MatcherError::Empty),
            text => Ok(Self::Glob(Glob {
                text: text.into(),
                tokens: tokens(text),
            })),
        }
    }

    /// A regular expression; it is anchored at both ends. Its compiled form is limited to 1 MiB.
    pub fn regex(text: &str) -> Result<Self, MatcherError> {
        if text.is_empty() {
            return Err(MatcherError::Empty);
        }
        // Compiled alone first: `a)(b` must be a mistake, not two groups of the anchored whole.
        let compile = |pattern: &str| {
            RegexBuilder::new(pattern)
                .size_limit(REGEX_BYTES_MAX)
                .dfa_size_limit(REGEX_BYTES_MAX)
                .build()
                .map_err(|error| MatcherError::Regex(last_line(&error.to_string())))
        };
        compile(text)?;
        let anchored = compile(&format!(r"\A(?:{text})\z"))?;
        Ok(Self::Regex(TopicRegex {
            text: text.into(),
            anchored,
        }))
    }

    /// What the matcher takes out of `topic`; `None` where it does not match.
    pub fn captures<'t>(&self, topic: &'t str) -> Option<Captures<'t>> {
        match self {
            Self::Exact(name) => (**name == *topic).then_some(Captures::None),
            Self::Glob(glob) => wildcard(&glob.tokens, topic.len(), |at| {
                topic.as_bytes().get(at).map(|&byte| Token::Byte(byte))
            })
            .then_some(Captures::None),
            Self::Regex(regex) => regex.anchored.captures(topic).map(Captures::Regex),
        }
    }

    /// Whether the matcher takes `topic`.
    pub fn matches(&self, topic: &str) -> bool {
        self.captures(topic).is_some()
    }

    /// Whether a template may speak of `group`.
    pub fn has_group(&self, group: &Group) -> bool {
        match (self, group) {
            (Self::Regex(regex), Group::Number(number)) => *number < regex.anchored.captures_len(),
            (Self::Regex(regex), Group::Name(name)) => {
                regex.anchored.capture_names().any(|found| found == Some(name))
            }
            _ => false,
        }
    }

    /// Whether this matcher is known to take every topic that `later` takes. `false` may also mean "not known": between
    /// two regular expressions only equal texts are recognised.
    pub fn covers(&self, later: &Self) -> bool {
        if self.is_catch_all() {
            return true;
        }
        match (self, later) {
            (_, Self::Exact(name)) => self.matches(name),
            (Self::Glob(glob), Self::Glob(other)) => wildcard(&glob.tokens, other.tokens.len(), |at| {
                other.tokens.get(at).copied()
            }),
            (Self::Regex(regex), Self::Regex(other)) => regex.text == other.text,
            _ => false,
        }
    }

    /// Whether the matcher is known to take every topic.
    pub fn is_catch_all(&self) -> bool {
        match self {
            Self::Exact(_) => false,
            Self::Glob(glob) => *glob.tokens == [Token::AnyBytes],
            Self::Regex(regex) => matches!(&*regex.text, ".*" | ".+" | "^.*$" | "^.+$" | "(.*)" | "(.+)"),
        }
    }
}

impl fmt::Display for Matcher {
    /// As it stands in the configuration.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(name) => write!(formatter, "{{ exact = {name:?} }}"),
            Self::Glob(glob) => write!(formatter, "{:?}", glob.text),
            Self::Regex(regex) => write!(formatter, "{{ regex = {:?} }}", regex.text),
        }
    }
}

/// What the characters of a pattern with `*` and `?` stand for.
pub(super) fn tokens(pattern: &str) -> Box<[Token]> {
    let mut tokens = Vec::with_capacity(pattern.len());
    for byte in pattern.bytes() {
        let token = match byte {
            b'*' => Token::AnyBytes,
            b'?' => Token::AnyByte,
            other => Token::Byte(other),
        };
        if token != Token::AnyBytes || tokens.last() != Some(&Token::AnyBytes) {
            tokens.push(token);
        }
    }
    tokens.into()
}

/// Whether `pattern` takes every text that the `length` tokens of `subject` stand for. A wildcard of the subject is
/// only taken by a wildcard of the pattern that is at least as wide.
#[cfg_attr(
    not(test),
    expect(
        clippy::arithmetic_side_effects,
        reason = "positions in slices, one past their ends at most"
    )
)]
pub(super) fn wildcard(pattern: &[Token], length: usize, subject: impl Fn(usize) -> Option<Token>) -> bool {
    let (mut at_pattern, mut at_subject) = (0usize, 0usize);
    // Where the last `*` stood, and how much of the subject it has taken so far.
    let mut retry: Option<(usize, usize)> = None;
    while at_subject < length {
        let taken = match (pattern.get(at_pattern), subject(at_subject)) {
            (Some(Token::AnyBytes), _) => {
                retry = Some((at_pattern, at_subject));
                at_pattern += 1;
                continue;
            }
            (Some(Token::AnyByte), Some(Token::Byte(_) | Token::AnyByte)) => true,
            (Some(Token::Byte(wanted)), Some(Token::Byte(found))) => *wanted == found,
            _ => false,
        };
        if taken {
            at_pattern += 1;
            at_subject += 1;
        } else if let Some((star, from)) = retry {
            retry = Some((star, from + 1));
            at_pattern = star + 1;
            at_subject = from + 1;
        } else {
            return false;
        }
    }
    pattern
        .get(at_pattern..)
        .is_some_and(|rest| rest.iter().all(|token| *token == Token::AnyBytes))
}

fn check_characters(text: &str, wildcards: &str) -> Result<(), MatcherError> {
    if text.is_empty() {
        return Err(MatcherError::Empty);
    }
    let legal = |c: char| wildcards.contains(c) || u8::try_from(c).is_ok_and(is_topic_name_byte);
    match text.chars().find(|&c| !legal(c)) {
        Some(illegal) => Err(MatcherError::Character(illegal)),
        None => Ok(()),
    }
}

/// The regex crate draws a picture over several lines and ends with the reason.
fn last_line(text: &str) -> String {
    text.lines()
        .last()
        .unwrap_or(text)
        .trim_start_matches("error: ")
        .to_owned()
}

/// One rule's expression may not take the memory of the whole process.
const REGEX_BYTES_MAX: usize = 1 << 20;
