//! Text with `${topic}`, `${cluster}`, `${1}` and `${name}` in it: names of KEKs and domains.
//!
//! - TEMPLATE-1: expansion is plain replacement; what a topic's name brings in is never looked at again.

use std::fmt;

use crate::rules::matcher::{Captures, Group, Matcher, Token};

/// Parsed text with references in it. `$$` stands for one `$`; a `$` before anything but `{` and `$` is itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    parts: Box<[Part]>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(Box<str>),
    Topic,
    Group(Group),
}

/// Why a text is not a template.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TemplateError {
    /// Nothing in it.
    #[error("is empty")]
    Empty,
    /// `${` without `}`.
    #[error("has `${{` without `}}` (write `$$` for a plain `$`)")]
    Unclosed,
    /// A reference to a group that the rule's `match` does not have.
    #[error("names `${{{0}}}`, but the rule's `match` has no such group")]
    NoSuchGroup(String),
    /// A group of the rule's own that has the name of a reference with a meaning.
    #[error(
        "names `${{{0}}}`, which the rule's `match` has a group for, and which means something without one: rename the \
         group"
    )]
    Ambiguous(String),
}

impl Template {
    /// Parses `text` for a rule of `cluster`; every group must exist in `matcher`.
    pub fn parse(text: &str, matcher: &Matcher, cluster: &str) -> Result<Self, TemplateError> {
        if text.is_empty() {
            return Err(TemplateError::Empty);
        }
        let mut parts = Vec::new();
        let mut plain = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('$') {
            plain.push_str(before);
            if let Some(after) = after.strip_prefix('$') {
                plain.push('$');
                rest = after;
            } else if let Some(reference) = after.strip_prefix('{') {
                let (name, after) = reference.split_once('}').ok_or(TemplateError::Unclosed)?;
                match Part::reference(name, matcher)? {
                    Reference::Cluster => plain.push_str(cluster),
                    Reference::Part(part) => {
                        if !plain.is_empty() {
                            parts.push(Part::Text(std::mem::take(&mut plain).into()));
                        }
                        parts.push(part);
                    }
                }
                rest = after;
            } else {
                plain.push('$');
                rest = after;
            }
        }
        plain.push_str(rest);
        if !plain.is_empty() {
            parts.push(Part::Text(plain.into()));
        }
        Ok(Self { parts: parts.into() })
    }

    /// `${topic}`.
    #[cfg(feature = "testing")]
    pub fn topic() -> Self {
        Self {
            parts: [Part::Topic].into(),
        }
    }

    /// Text without references.
    #[cfg(feature = "testing")]
    pub fn plain(text: &str) -> Self {
        Self {
            parts: [Part::Text(text.into())].into(),
        }
    }

    /// The text, where it is the same for every topic that `matcher` matches.
    pub fn for_every_topic(&self, matcher: &Matcher) -> Option<String> {
        match matcher {
            Matcher::Exact(topic) => Some(self.expand(topic, &Captures::None)),
            _ => self
                .parts
                .iter()
                .map(|part| match part {
                    Part::Text(plain) => Some(&**plain),
                    _ => None,
                })
                .collect(),
        }
    }

    /// What stands in every expansion.
    pub fn texts(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().filter_map(|part| match part {
            Part::Text(text) => Some(&**text),
            _ => None,
        })
    }

    /// The bytes that every expansion has at least.
    pub fn bytes_min(&self) -> usize {
        self.texts().map(str::len).sum()
    }

    /// Every text for a topic that `matcher` takes is one of these.
    pub(super) fn pattern(&self, matcher: &Matcher) -> Vec<Token> {
        let mut pattern = Vec::new();
        for part in &self.parts {
            match part {
                Part::Text(plain) => pattern.extend(plain.bytes().map(Token::Byte)),
                Part::Topic | Part::Group(Group::Number(0)) => pattern.extend(matcher.pattern()),
                Part::Group(_) => pattern.push(Token::AnyBytes),
            }
        }
        pattern
    }

    /// The text for one topic. A group that took no part in the match stands for nothing.
    pub fn expand(&self, topic: &str, captures: &Captures<'_>) -> String {
        let mut text = String::new();
        for part in &self.parts {
            match part {
                Part::Text(plain) => text.push_str(plain),
                Part::Topic => text.push_str(topic),
                Part::Group(group) => text.push_str(captures.get(group).unwrap_or_default()),
            }
        }
        text
    }
}

impl fmt::Display for Template {
    /// As it may be written, with the cluster's name put in.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.parts.iter().try_for_each(|part| match part {
            Part::Text(text) => formatter.write_str(&text.replace('$', "$$")),
            Part::Topic => formatter.write_str("${topic}"),
            Part::Group(Group::Number(number)) => write!(formatter, "${{{number}}}"),
            Part::Group(Group::Name(name)) => write!(formatter, "${{{name}}}"),
        })
    }
}

/// What stands between `${` and `}`.
enum Reference {
    /// The cluster's name, which is known already.
    Cluster,
    Part(Part),
}

impl Part {
    fn reference(name: &str, matcher: &Matcher) -> Result<Reference, TemplateError> {
        let by_number = name
            .parse::<usize>()
            .ok()
            .filter(|_| name.bytes().all(|byte| byte.is_ascii_digit()));
        let group = by_number.map_or_else(|| Group::Name(name.into()), Group::Number);
        match (name, matcher.has_group(&group)) {
            ("topic" | "cluster", true) => Err(TemplateError::Ambiguous(name.to_owned())),
            ("topic", false) => Ok(Reference::Part(Self::Topic)),
            ("cluster", false) => Ok(Reference::Cluster),
            (_, true) => Ok(Reference::Part(Self::Group(group))),
            (_, false) => Err(TemplateError::NoSuchGroup(name.to_owned())),
        }
    }
}
