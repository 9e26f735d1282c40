//! Java's regular expressions as far as `regex` has them with the same meaning; whatever else is refused when a rule is
//! read, so that no rule silently means something else than at a broker.
//!
//! Refused are back-references, look-around, possessive quantifiers and atomic groups, flags other than `i`, `\Q…\E`,
//! classes with names other than Unicode's general categories (`\p{L}`, `\p{Lu}`), `\b` and `\B` (what a word is made
//! of differs between JDKs), and what is an error in Java.
//! `\d`, `\w`, `\s` and `.` are rewritten: they are ASCII, and lines end, as in Java. Two differences stay: `(?i)`
//! also folds letters beyond ASCII, and `$` is the very end, not also what is before a last line's end.

use std::iter::Peekable;
use std::str::Chars;

use regex::{Regex, RegexBuilder};

/// Why a pattern cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PatternError {
    /// It is not known here, or means something else.
    #[error("has {0} in its pattern, which is not supported")]
    Unsupported(String),
    /// It is no regular expression, or a very large one.
    #[error("has a pattern that is no regular expression: {0}")]
    Malformed(String),
}

/// For names that fit as a whole.
pub(super) fn of_whole(pattern: &str) -> Result<Regex, PatternError> {
    let translated = Translation::of(pattern)?;
    let build = |text: &str| {
        let built = RegexBuilder::new(text).size_limit(COMPILED_BYTES_MAX).build();
        built.map_err(|error| PatternError::Malformed(error.to_string()))
    };
    // By itself first: a parenthesis of its own must not close the one around it.
    build(&translated)?;
    build(&format!(r"\A(?:{translated})\z"))
}

/// A pattern that is being rewritten.
struct Translation<'p> {
    rest: Peekable<Chars<'p>>,
    out: String,
    /// How many classes are open.
    classes: usize,
    last: Last,
}

/// What was written last: a quantifier may stand behind an atom only, and `?` behind a quantifier.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Last {
    Other,
    Quantifier,
    Lazy,
}

impl Translation<'_> {
    fn of(pattern: &str) -> Result<String, PatternError> {
        let mut translation = Translation {
            rest: pattern.chars().peekable(),
            out: String::new(),
            classes: 0,
            last: Last::Other,
        };
        while let Some(character) = translation.rest.next() {
            translation.next(character)?;
        }
        Ok(translation.out)
    }

    fn next(&mut self, character: char) -> Result<(), PatternError> {
        let before = std::mem::replace(&mut self.last, Last::Other);
        match (character, self.classes) {
            ('\\', _) => return self.escape(),
            ('[', _) => return self.class(),
            (']', 1..) => self.classes = self.classes.saturating_sub(1),
            ('-' | '~', 1..) if self.rest.peek() == Some(&character) => {
                return Err(unsupported(&format!("{character}{character}")));
            }
            ('.', 0) => {
                self.out.push_str(r"[^\n\r\x{85}\x{2028}\x{2029}]");
                return Ok(());
            }
            ('(', 0) => return self.group(),
            ('*' | '+' | '?' | '{', 0) => return self.quantifier(character, before),
            _ => {}
        }
        self.out.push(character);
        Ok(())
    }

    fn quantifier(&mut self, character: char, before: Last) -> Result<(), PatternError> {
        self.last = match (before, character) {
            (Last::Other, _) => Last::Quantifier,
            (Last::Quantifier, '?') => Last::Lazy,
            _ => return Err(unsupported("a quantifier behind a quantifier")),
        };
        self.out.push(character);
        if character != '{' {
            return Ok(());
        }
        loop {
            match self.rest.next() {
                Some('}') => break,
                Some(counted @ ('0'..='9' | ',')) => self.out.push(counted),
                _ => return Err(unsupported("a { that counts nothing")),
            }
        }
        self.out.push('}');
        Ok(())
    }

    /// Behind `[`.
    fn class(&mut self) -> Result<(), PatternError> {
        self.classes = self.classes.saturating_add(1);
        self.out.push('[');
        if self.rest.next_if_eq(&'^').is_some() {
            self.out.push('^');
        }
        match self.rest.peek() {
            Some(']') => Err(unsupported("a class that begins with ]")),
            Some(':') => Err(unsupported("[:")),
            _ => Ok(()),
        }
    }

    /// Behind `(`.
    fn group(&mut self) -> Result<(), PatternError> {
        self.out.push('(');
        if self.rest.next_if_eq(&'?').is_none() {
            return Ok(());
        }
        self.out.push('?');
        let kind = self.rest.next();
        let is_known = match kind {
            Some(':') => true,
            Some('i') => self.rest.peek().is_some_and(|next| matches!(next, ':' | ')')),
            // And not look-behind.
            Some('<') => self.rest.peek().is_some_and(char::is_ascii_alphabetic),
            _ => false,
        };
        match kind.filter(|_| is_known) {
            Some(kind) => {
                self.out.push(kind);
                Ok(())
            }
            None => Err(unsupported(&format!(
                "(?{}",
                kind.map(String::from).unwrap_or_default()
            ))),
        }
    }

    /// Behind `\`.
    fn escape(&mut self) -> Result<(), PatternError> {
        let escaped = self.rest.next().ok_or_else(|| unsupported("a \\ at its end"))?;
        let is_in_class = self.classes > 0;
        match escaped {
            'd' => self.out.push_str("[0-9]"),
            'D' => self.out.push_str("[^0-9]"),
            'w' => self.out.push_str("[0-9A-Za-z_]"),
            'W' => self.out.push_str("[^0-9A-Za-z_]"),
            's' => self.out.push_str(r"[\t\n\x0B\x0C\r ]"),
            'S' => self.out.push_str(r"[^\t\n\x0B\x0C\r ]"),
            't' | 'n' | 'r' | 'f' | 'a' => self.out.extend(['\\', escaped]),
            'A' | 'z' if !is_in_class => self.out.extend(['\\', escaped]),
            'x' => self.digits(2)?,
            'u' => self.digits(4)?,
            'p' | 'P' => self.category(escaped)?,
            letter if letter.is_ascii_alphanumeric() => return Err(unsupported(&format!("\\{letter}"))),
            other => self.out.push_str(&regex::escape(other.encode_utf8(&mut [0; 4]))),
        }
        Ok(())
    }

    /// So many hexadecimal ones, of a character.
    fn digits(&mut self, count: usize) -> Result<(), PatternError> {
        let digits: String = self.rest.by_ref().take(count).collect();
        if digits.len() != count || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return Err(unsupported(&format!("\\x or \\u without {count} digits")));
        }
        self.out.push_str(&format!("\\x{{{digits}}}"));
        Ok(())
    }

    /// Behind `\p` or `\P`.
    fn category(&mut self, kind: char) -> Result<(), PatternError> {
        let name: String = match self.rest.next() {
            Some('{') => self
                .rest
                .by_ref()
                .take_while(|character| *character != '}')
                .collect(),
            single => single.into_iter().collect(),
        };
        if !(1..=2).contains(&name.len()) || !name.bytes().all(|byte| byte.is_ascii_alphabetic()) {
            return Err(unsupported(&format!("\\{kind}{{{name}}}")));
        }
        self.out.push_str(&format!("\\{kind}{{{name}}}"));
        Ok(())
    }
}

fn unsupported(what: &str) -> PatternError {
    PatternError::Unsupported(what.to_owned())
}

const COMPILED_BYTES_MAX: usize = 1 << 20;
