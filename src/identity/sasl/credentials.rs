//! Who may log in, and what of each password is kept: the text of a credentials file.
//!
//! ```text
//! # what stands behind a hash is for people
//! unknown-users secret=base64,iterations=8192
//! alice SCRAM-SHA-256 salt=base64,stored_key=base64,server_key=base64,iterations=8192
//! alice SCRAM-SHA-512 salt=…
//! ```
//!
//! What stands behind user and mechanism is Kafka's own notation. In names `%`, blanks, control characters and a `#` at
//! the beginning are written as in a URL (`%20`). The line `unknown-users` is what users are answered by who are not
//! there (SASL-1): where several instances serve the same clients, all have the same.
//!
//! - CREDENTIALS-1: what is written is read as it was; a user is there once for each mechanism.
//!
//! Any thread. Nothing here hashes a password.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::num::NonZeroU32;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};
use zeroize::Zeroizing;

use super::USER_BYTES_MAX;
use super::verifier::{ITERATIONS_MAX, ITERATIONS_MIN, Mechanism, Verifier};
use crate::crypto::CryptoError;

/// See the module.
pub struct Credentials {
    secret: Zeroizing<Vec<u8>>,
    /// As new users have it.
    iterations: NonZeroU32,
    users: BTreeMap<String, BTreeMap<Mechanism, Verifier>>,
}

/// What is wrong with a credentials file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CredentialsError {
    /// A line that says nothing that is known.
    #[error("line {line}: {what}")]
    Line {
        /// From 1.
        line: usize,
        /// What is wrong with it.
        what: &'static str,
    },
    /// Users who are not there could be told from those who are.
    #[error("the line unknown-users is missing: `sealwire users create` makes a file that has it")]
    NoDecoy,
    /// No name of a user.
    #[error("a user has a name of 1 to {USER_BYTES_MAX} bytes, without control characters")]
    Name,
    /// More than are kept.
    #[error("there are more than {USERS_MAX} users")]
    TooMany,
}

impl Credentials {
    /// Nobody's, with a new secret.
    ///
    /// # Errors
    /// [`CryptoError::Random`].
    pub fn new() -> Result<Self, CryptoError> {
        let mut secret = Zeroizing::new(vec![0; SECRET_BYTES]);
        getrandom::fill(&mut secret).map_err(|_| CryptoError::Random)?;
        Ok(Self {
            secret,
            iterations: ITERATIONS,
            users: BTreeMap::new(),
        })
    }

    /// Reads the text of a file.
    ///
    /// # Errors
    /// [`CredentialsError`].
    pub fn parse(text: &str) -> Result<Self, CredentialsError> {
        let mut decoy = None;
        let mut users: BTreeMap<String, BTreeMap<Mechanism, Verifier>> = BTreeMap::new();
        for (line, entry) in (1..).zip(text.lines()) {
            let wrong = |what| CredentialsError::Line { line, what };
            let entry = entry.trim();
            if entry.is_empty() || entry.starts_with('#') {
                continue;
            }
            let mut words = entry.split_ascii_whitespace();
            match (words.next(), words.next(), words.next(), words.next()) {
                (Some(UNKNOWN), Some(values), None, None) => {
                    if decoy.replace(parse_decoy(values).map_err(wrong)?).is_some() {
                        return Err(wrong("unknown-users is there twice"));
                    }
                }
                (Some(name), Some(mechanism), Some(values), None) => {
                    let name = percent_decode_str(name).decode_utf8();
                    let name = name.map_err(|_| wrong("a name that is no UTF-8"))?;
                    if !is_name(&name) {
                        return Err(wrong("a name that is too long, or has control characters"));
                    }
                    let mechanism: Mechanism = mechanism
                        .parse()
                        .map_err(|()| wrong("the second word is neither SCRAM-SHA-256 nor SCRAM-SHA-512"))?;
                    let verifier = Verifier::parse(mechanism, values).map_err(wrong)?;
                    let of_user = users.entry(name.into_owned()).or_default();
                    if of_user.insert(mechanism, verifier).is_some() {
                        return Err(wrong("a user is there twice with the same mechanism"));
                    }
                    if users.len() > USERS_MAX {
                        return Err(CredentialsError::TooMany);
                    }
                }
                _ => {
                    return Err(wrong(
                        "neither a user, a mechanism and its values, nor unknown-users and its values",
                    ));
                }
            }
        }
        let (secret, iterations) = decoy.ok_or(CredentialsError::NoDecoy)?;
        Ok(Self {
            secret,
            iterations,
            users,
        })
    }

    /// The text of a file, as [`Self::parse`] reads it.
    pub fn text(&self) -> String {
        let mut text = String::from(HEADER);
        let secret = BASE64.encode(&*self.secret);
        // Writing to a string does not fail.
        let _ = writeln!(text, "{UNKNOWN} secret={secret},iterations={}", self.iterations);
        for (user, verifiers) in &self.users {
            let name = utf8_percent_encode(user, ESCAPED).to_string();
            let name = match name.strip_prefix('#') {
                Some(rest) => format!("%23{rest}"),
                None => name,
            };
            for (mechanism, verifier) in verifiers {
                let _ = writeln!(text, "{name} {mechanism} {verifier}");
            }
        }
        text
    }

    /// Has `user` log in with this mechanism by that password; says whether that replaces another one.
    ///
    /// # Errors
    /// [`CredentialsError::Name`], [`CredentialsError::TooMany`].
    pub fn set(
        &mut self,
        user: &str,
        mechanism: Mechanism,
        verifier: Verifier,
    ) -> Result<bool, CredentialsError> {
        if !is_name(user) {
            return Err(CredentialsError::Name);
        }
        if self.users.len() >= USERS_MAX && !self.users.contains_key(user) {
            return Err(CredentialsError::TooMany);
        }
        let of_user = self.users.entry(user.to_owned()).or_default();
        Ok(of_user.insert(mechanism, verifier).is_some())
    }

    /// Has `user` log in no more, with `only` or with any mechanism; says whether he could.
    pub fn remove(&mut self, user: &str, only: Option<Mechanism>) -> bool {
        let Some(of_user) = self.users.get_mut(user) else {
            return false;
        };
        let before = of_user.len();
        of_user.retain(|mechanism, _| only.is_some_and(|only| only != *mechanism));
        let removed = of_user.len() < before;
        if of_user.is_empty() {
            self.users.remove(user);
        }
        removed
    }

    /// Everybody, by name, with each mechanism.
    pub fn users(&self) -> impl Iterator<Item = (&str, Mechanism, &Verifier)> {
        self.users.iter().flat_map(|(user, verifiers)| {
            let each = verifiers.iter();
            each.map(move |(mechanism, verifier)| (user.as_str(), *mechanism, verifier))
        })
    }

    /// What is kept of the password of `user` for this mechanism.
    pub fn of(&self, user: &str, mechanism: Mechanism) -> Option<&Verifier> {
        self.users.get(user)?.get(&mechanism)
    }

    /// What is kept of it for whichever mechanism, the cheapest first.
    pub(super) fn any_of(&self, user: &str) -> Option<(Mechanism, &Verifier)> {
        let (mechanism, verifier) = self.users.get(user)?.first_key_value()?;
        Some((*mechanism, verifier))
    }

    /// What stands for a user that there is not (SASL-1).
    pub(super) fn decoy(&self, mechanism: Mechanism, user: &str) -> Verifier {
        Verifier::decoy(mechanism, &self.secret, user, self.iterations)
    }

    /// How often passwords of new users are hashed, where nothing else is asked for.
    pub fn iterations(&self) -> NonZeroU32 {
        self.iterations
    }
}

fn parse_decoy(values: &str) -> Result<(Zeroizing<Vec<u8>>, NonZeroU32), &'static str> {
    let wrong = "unknown-users is followed by secret=BASE64 of 32 bytes, and iterations=4096 to 1000000";
    let (secret, iterations) = values
        .strip_prefix("secret=")
        .and_then(|values| values.split_once(",iterations="))
        .ok_or(wrong)?;
    let secret = Zeroizing::new(BASE64.decode(secret).map_err(|_| wrong)?);
    let iterations: u32 = iterations.parse().map_err(|_| wrong)?;
    let iterations = NonZeroU32::new(iterations)
        .filter(|iterations| (ITERATIONS_MIN..=ITERATIONS_MAX).contains(&iterations.get()));
    match secret.len() == SECRET_BYTES {
        true => Ok((secret, iterations.ok_or(wrong)?)),
        false => Err(wrong),
    }
}

fn is_name(user: &str) -> bool {
    (1..=USER_BYTES_MAX).contains(&user.len()) && !user.chars().any(char::is_control)
}

/// The first word of its line.
const UNKNOWN: &str = "unknown-users";
const HEADER: &str =
    "# Who may log in: kept by `sealwire users`. Whoever reads this can guess at passwords: mode 0600.\n";
const SECRET_BYTES: usize = 32;
/// Of a file.
pub const USERS_MAX: usize = 100_000;
/// Kafka's own tool has 4096; twice that costs clients a millisecond.
const ITERATIONS: NonZeroU32 = NonZeroU32::new(8192).expect("it is not zero");
/// Of names; control characters are none.
const ESCAPED: &AsciiSet = &CONTROLS.add(b' ').add(b'%');

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn one() -> Credentials {
        let mut credentials = Credentials::new().expect("randomness");
        for mechanism in [Mechanism::Sha256, Mechanism::Sha512] {
            let verifier = Verifier::new(mechanism, b"secret", 4096).expect("randomness");
            credentials.set("alice", mechanism, verifier).expect("a name");
        }
        credentials
    }

    proptest! {
        /// CREDENTIALS-1
        #[test]
        fn what_is_written_is_read(name in "\\PC{1,40}", odd in "[ #%=,]{1,5}") {
            let mut credentials = one();
            let verifier = credentials.of("alice", Mechanism::Sha512).cloned().expect("it was set");
            for name in [name, odd] {
                prop_assert!(credentials.set(&name, Mechanism::Sha512, verifier.clone()).is_ok());
                let read = Credentials::parse(&credentials.text()).expect("what was written");
                prop_assert!(read.of(&name, Mechanism::Sha512) == Some(&verifier));
                prop_assert!(read.text() == credentials.text() && read.users().count() == credentials.users().count());
            }
        }

        #[test]
        fn no_text_panics(text in "(unknown-users|alice|[#\n =,a-z0-9-]){0,200}") {
            let _ = Credentials::parse(&text);
        }
    }

    #[test]
    fn what_is_wrong_is_said_with_its_line() {
        let good = one().text();
        let lines: Vec<&str> = good.lines().collect();
        assert_eq!(lines.len(), 4, "{good}");
        for (text, expected) in [
            (
                good.replace("secret=", "secret=A"),
                "line 2: unknown-users is followed",
            ),
            (
                good.replace("SHA-512", "SHA-1"),
                "line 4: the second word is neither",
            ),
            (
                good.replace(",stored_key", ",stored"),
                "line 3: a part that is none of",
            ),
            (format!("{good}\n\n{}", lines[3]), "line 7: a user is there twice"),
            (
                format!("{good}{}", lines[1]),
                "line 5: unknown-users is there twice",
            ),
            (lines[2..].join("\n"), "the line unknown-users is missing"),
            (good.replace("alice", "%ff"), "line 3: a name that is no UTF-8"),
            (
                good.replace("alice", "%0a"),
                "line 3: a name that is too long, or has control",
            ),
            (
                good.replace("alice SCRAM", "alice b SCRAM"),
                "line 3: neither a user",
            ),
        ] {
            let wrong = Credentials::parse(&text)
                .err()
                .expect("something is wrong")
                .to_string();
            assert!(wrong.starts_with(expected), "{wrong}\n{expected}");
        }
    }

    #[test]
    fn users_come_and_go() {
        let mut credentials = one();
        assert!(credentials.remove("alice", Some(Mechanism::Sha512)));
        assert!(!credentials.remove("alice", Some(Mechanism::Sha512)));
        assert_eq!(credentials.users().count(), 1);
        assert!(credentials.remove("alice", None));
        assert!(!credentials.remove("alice", None));
        let verifier = Verifier::new(Mechanism::Sha256, b"secret", 4096).expect("randomness");
        for name in ["", "a\nb", &"x".repeat(USER_BYTES_MAX + 1)] {
            let set = credentials.set(name, Mechanism::Sha256, verifier.clone());
            assert_eq!(set, Err(CredentialsError::Name));
        }
    }
}
