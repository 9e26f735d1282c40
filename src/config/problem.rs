//! What is wrong with a configuration, said so that an operator can repair it: where, which key, which value, what to
//! write.
//!
//! - PROBLEM-1: what stands under a `master_key`, in a table about logins, or under a key of something that this
//!   version does not have (passwords among them), is never repeated: someone may have written the secret itself there.

use std::fmt;
use std::path::PathBuf;

/// Where a value was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// In the configuration file.
    File {
        /// The file as it was named.
        path: PathBuf,
        /// From 1; `None` where the problem is that something is not there.
        line: Option<usize>,
    },
    /// In an environment variable of this name.
    Environment(String),
    /// In a flag of the command line: its name and key.
    Flag(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File {
                path,
                line: Some(line),
            } => write!(formatter, "{}:{line}", path.display()),
            Self::File { path, line: None } => write!(formatter, "{}", path.display()),
            Self::Environment(variable) => write!(formatter, "environment variable {variable}"),
            Self::Flag(flag) => write!(formatter, "flag {flag}"),
        }
    }
}

/// One mistake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// Where.
    pub origin: Origin,
    /// Which key, from the root: `cluster.main.listeners[0].listen`. Empty where the text is not TOML at all.
    pub key: String,
    /// What was written there, shortened; `None` where nothing was, or where it may be a secret.
    pub value: Option<String>,
    /// What is wrong with it.
    pub problem: String,
    /// What to write or do instead.
    pub fix: String,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.origin)?;
        match (&self.value, self.key.is_empty()) {
            (_, true) => {}
            (Some(value), false) => write!(formatter, ": {} = {value}", self.key)?,
            (None, false) => write!(formatter, ": {}", self.key)?,
        }
        write!(
            formatter,
            "\n    problem: {}\n    instead: {}",
            self.problem, self.fix
        )
    }
}

/// Every mistake that was found, in the order of the file; never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigErrors {
    errors: Vec<ConfigError>,
}

impl ConfigErrors {
    pub(super) fn new(errors: Vec<ConfigError>) -> Self {
        Self {
            errors: in_order(errors),
        }
    }

    /// The mistakes.
    #[cfg(feature = "testing")]
    pub fn errors(&self) -> &[ConfigError] {
        &self.errors
    }
}

impl fmt::Display for ConfigErrors {
    /// One block a mistake, an empty line between them.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.errors.iter().enumerate() {
            if index > 0 {
                write!(formatter, "\n\n")?;
            }
            write!(formatter, "{error}")?;
        }
        if self.errors.len() >= MISTAKES_MAX {
            write!(
                formatter,
                "\n\nThere may be more: no more than {MISTAKES_MAX} mistakes are looked for."
            )?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}

/// Each once, in the order of the file.
pub(super) fn in_order(mut errors: Vec<ConfigError>) -> Vec<ConfigError> {
    // Stable: problems of one line stay in the order in which they were found; variables and flags come last.
    errors.sort_by_key(|error| match &error.origin {
        Origin::File { line, .. } => (0, line.unwrap_or(0)),
        Origin::Environment(_) => (1, 0),
        Origin::Flag(_) => (2, 0),
    });
    errors.dedup();
    errors
}

/// The name among `known` that was probably meant by `written`.
pub(super) fn did_you_mean<'k>(written: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    known
        .into_iter()
        .map(|name| (distance(written, name), name))
        .filter(|(distance, name)| *distance <= (name.len() / 3).max(1))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

/// How many letters have to be changed, added, left out or swapped with their neighbour (optimal string alignment).
#[cfg_attr(
    not(test),
    expect(
        clippy::arithmetic_side_effects,
        reason = "counts letters of names of 64 bytes; `usize::MAX / 2` is the largest"
    )
)]
fn distance(left: &str, right: &str) -> usize {
    // Keys are short; what is not is no misspelling of one.
    if left.len() > NAME_BYTES_MAX || right.len() > NAME_BYTES_MAX {
        return usize::MAX;
    }
    let right: Vec<char> = right.chars().collect();
    let mut before: Vec<usize> = Vec::new();
    let mut previous: Vec<usize> = (0..=right.len()).collect();
    let mut last_letter = None;
    for (row, letter) in left.chars().enumerate() {
        let mut current = vec![row + 1];
        for (column, &other) in right.iter().enumerate() {
            let at = |line: &[usize], index: usize| line.get(index).copied().unwrap_or(usize::MAX / 2);
            let mut best = at(&previous, column) + usize::from(letter != other);
            best = best
                .min(at(&previous, column + 1) + 1)
                .min(at(&current, column) + 1);
            let swapped = column > 0 && last_letter == Some(other) && right.get(column - 1) == Some(&letter);
            if swapped {
                best = best.min(at(&before, column - 1) + 1);
            }
            current.push(best);
        }
        before = std::mem::replace(&mut previous, current);
        last_letter = Some(letter);
    }
    previous.last().copied().unwrap_or(0)
}

const NAME_BYTES_MAX: usize = 64;

/// More than anyone repairs in one go; finding the line of each takes time.
pub(super) const MISTAKES_MAX: usize = 100;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distance_counts_edits_and_swaps() {
        for (left, right, expected) in [
            ("", "", 0),
            ("", "abc", 3),
            ("lisen", "listen", 1),
            ("lsiten", "listen", 1),
            ("node", "nodes", 1),
            ("kek", "kms", 2),
        ] {
            assert_eq!(distance(left, right), expected, "{left} {right}");
        }
    }

    #[test]
    fn only_near_names_are_suggested() {
        let known = ["listen", "name", "nodes", "kek"];
        assert_eq!(did_you_mean("lisen", known), Some("listen"));
        assert_eq!(did_you_mean("kke", known), Some("kek"));
        assert_eq!(did_you_mean("bootstrap", known), None);
        assert_eq!(did_you_mean(&"x".repeat(100_000), known), None);
    }
}
