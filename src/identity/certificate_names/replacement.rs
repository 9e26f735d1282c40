//! What a rule writes instead of a subject, as Java's `replaceAll` has it: `$1` and `${name}` are groups, `$0` all of
//! it, and `\` takes the next character as it is.
//!
//! A number is read as far as there is such a group (`$12` with one group is `$1` and `2`), and where there is none
//! (`$4` with three) the text stands as it is, as Kafka has it. What Kafka would fail at when somebody connects is an
//! error here when the rule is read.

use regex::{Captures, Regex};

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct Replacement(Vec<Piece>);

#[derive(Clone, Debug)]
enum Piece {
    Text(String),
    Group(usize),
}

/// Why it cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReplacementError {
    /// A `$` alone.
    #[error(
        "has a $ in its replacement with neither a number nor a name behind it: write \\$ for the character"
    )]
    Dollar,
    /// A number where the pattern has no group at all.
    #[error("has ${0} in its replacement, and its pattern has no group")]
    NoGroup(usize),
    /// A name that the pattern does not have.
    #[error("has a group in its replacement that its pattern does not have: {0}")]
    NoSuchName(String),
    /// A `\` at the end.
    #[error("has a \\ with nothing behind it in its replacement")]
    Backslash,
}

impl Replacement {
    /// For what `pattern` finds.
    pub(super) fn parse(text: &str, pattern: &Regex) -> Result<Self, ReplacementError> {
        let groups = pattern.captures_len().saturating_sub(1);
        let (mut pieces, mut said) = (Vec::new(), String::new());
        let mut rest = text.chars();
        while let Some(character) = rest.next() {
            match character {
                '\\' => said.push(rest.next().ok_or(ReplacementError::Backslash)?),
                '$' => match group(rest.as_str(), groups, pattern)? {
                    Some((group, behind)) => {
                        pieces.push(Piece::Text(std::mem::take(&mut said)));
                        pieces.push(Piece::Group(group));
                        rest = behind.chars();
                    }
                    None => said.push('$'),
                },
                other => said.push(other),
            }
        }
        pieces.push(Piece::Text(said));
        Ok(Self(pieces))
    }

    /// `None` if it were longer than `bytes_max`.
    pub(super) fn expand(&self, found: &Captures<'_>, bytes_max: usize) -> Option<String> {
        let mut text = String::new();
        for piece in &self.0 {
            text.push_str(match piece {
                Piece::Text(said) => said,
                // A group that took no part is empty.
                Piece::Group(group) => found.get(*group).map_or("", |found| found.as_str()),
            });
            if text.len() > bytes_max {
                return None;
            }
        }
        Some(text)
    }
}

/// The group that is meant by what stands behind a `$`, and what is behind that; `None` where there is none.
fn group<'t>(
    text: &'t str,
    groups: usize,
    pattern: &Regex,
) -> Result<Option<(usize, &'t str)>, ReplacementError> {
    if let Some(named) = text.strip_prefix('{') {
        let (name, behind) = named.split_once('}').ok_or(ReplacementError::Dollar)?;
        let found = pattern.capture_names().position(|known| known == Some(name));
        let group = found.ok_or_else(|| ReplacementError::NoSuchName(name.to_owned()))?;
        return Ok(Some((group, behind)));
    }
    let mut number = None;
    let mut rest = text;
    while let Some(digit) = rest.chars().next().and_then(|digit| digit.to_digit(10)) {
        let longer = number
            .map_or(0, |number: usize| number.saturating_mul(10))
            .saturating_add(digit as usize);
        if longer > groups {
            break;
        }
        number = Some(longer);
        rest = rest.get(1..).unwrap_or_default();
    }
    match (number, rest.chars().next().and_then(|digit| digit.to_digit(10))) {
        (Some(number), _) => Ok(Some((number, rest))),
        (None, Some(digit)) if groups == 0 => Err(ReplacementError::NoGroup(digit as usize)),
        (None, Some(_)) => Ok(None),
        (None, None) => Err(ReplacementError::Dollar),
    }
}
