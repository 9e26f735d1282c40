//! PLAIN (RFC 4616): a name and a password, as they are. Over TLS only.

use super::credentials::Credentials;
use super::{Failure, USER_BYTES_MAX};

/// What a client says: who it is, and its password.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Message<'m> {
    /// Empty where it says nothing.
    pub authorization_id: &'m str,
    /// In front of the password.
    pub user: &'m str,
    /// As the client has it; there is no SASLprep in Kafka.
    pub password: &'m str,
}

impl<'m> Message<'m> {
    /// Reads `[authorization id] NUL user NUL password`.
    ///
    /// # Errors
    /// [`Failure::Malformed`].
    pub fn parse(message: &'m [u8]) -> Result<Self, Failure> {
        let text = std::str::from_utf8(message).map_err(|_| Failure::Malformed("PLAIN that is no UTF-8"))?;
        let mut parts = text.split('\0');
        let (Some(authorization_id), Some(user), Some(password), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(Failure::Malformed("PLAIN that does not have three parts"));
        };
        if user.is_empty() || password.is_empty() {
            return Err(Failure::Malformed("PLAIN without a user or a password"));
        }
        if user.len() > USER_BYTES_MAX || password.len() > PASSWORD_BYTES_MAX {
            return Err(Failure::Malformed(
                "PLAIN with a user or a password that is too long",
            ));
        }
        Ok(Self {
            authorization_id,
            user,
            password,
        })
    }

    /// Whether it asks to act as itself.
    ///
    /// # Errors
    /// [`Failure::OtherAuthorizationId`].
    pub fn check(&self) -> Result<(), Failure> {
        match self.authorization_id.is_empty() || self.authorization_id == self.user {
            true => Ok(()),
            false => Err(Failure::OtherAuthorizationId),
        }
    }

    /// Whether the password is the user's. Takes a millisecond, or several: not on an executor. It takes as long for
    /// users that there are not (SASL-1).
    ///
    /// # Errors
    /// [`Failure::UnknownUser`], [`Failure::WrongPassword`].
    pub fn verify(&self, credentials: &Credentials) -> Result<(), Failure> {
        let known = credentials.any_of(self.user);
        let decoy;
        let (mechanism, verifier) = match known {
            Some(known) => known,
            None => {
                decoy = credentials.decoy(super::verifier::Mechanism::Sha256, self.user);
                (super::verifier::Mechanism::Sha256, &decoy)
            }
        };
        let is_right = verifier.is_password(mechanism, self.password.as_bytes());
        match (known, is_right) {
            (None, _) => Err(Failure::UnknownUser),
            (Some(_), false) => Err(Failure::WrongPassword),
            (Some(_), true) => Ok(()),
        }
    }
}

/// Longer than any that is in use.
pub const PASSWORD_BYTES_MAX: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::sasl::verifier::{Mechanism, Verifier};

    #[test]
    fn three_parts_and_nothing_else() {
        for (message, expected) in [
            (&b"\0alice\0secret"[..], Ok(("alice", "secret"))),
            (b"alice\0alice\0secret", Ok(("alice", "secret"))),
            ("\0Grüße,=\0注文 ".as_bytes(), Ok(("Grüße,=", "注文 "))),
            (b"bob\0alice\0secret", Err(Failure::OtherAuthorizationId)),
        ] {
            let message = Message::parse(message).expect("three parts");
            let checked = message.check().map(|()| (message.user, message.password));
            assert_eq!(checked, expected);
        }
        let long = [&b"\0"[..], &[b'x'; USER_BYTES_MAX + 1], b"\0secret"].concat();
        for message in [
            &b""[..],
            b"\0",
            b"\0alice",
            b"\0alice\0",
            b"\0\0secret",
            b"\0alice\0secret\0",
            b"\0alice\0sec\0ret",
            b"\0\xff\0secret",
            &long,
        ] {
            assert!(
                matches!(Message::parse(message), Err(Failure::Malformed(_))),
                "{message:?}"
            );
        }
    }

    #[test]
    fn whoever_knows_the_password_is_let_in() {
        let mut credentials = Credentials::new().expect("randomness");
        for (user, mechanism) in [("alice", Mechanism::Sha256), ("bob", Mechanism::Sha512)] {
            let verifier =
                Verifier::new(mechanism, format!("of {user}").as_bytes(), 4096).expect("randomness");
            credentials.set(user, mechanism, verifier).expect("a name");
        }
        for (user, password, expected) in [
            ("alice", "of alice", Ok(())),
            ("bob", "of bob", Ok(())),
            ("alice", "of bob", Err(Failure::WrongPassword)),
            ("alice", "of alic", Err(Failure::WrongPassword)),
            ("Alice", "of alice", Err(Failure::UnknownUser)),
        ] {
            let message = Message {
                authorization_id: "",
                user,
                password,
            };
            assert_eq!(message.verify(&credentials), expected);
        }
    }
}
