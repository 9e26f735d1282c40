//! One login, from the mechanism that the client has chosen to its end: what each of its messages is answered with.
//!
//! Hashing a password is somebody else's work: a [`PasswordCheck`] is sent to whom it may take milliseconds.
//!
//! Pure. Any thread.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use zeroize::Zeroizing;

use super::credentials::Credentials;
use super::scram::{Challenge, ServerNonce};
use super::verifier::Mechanism;
use super::{Failure, plain};
use crate::identity::Principal;

/// How a client may log in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LoginMechanism {
    /// Over TLS only.
    Plain,
    /// By either hash.
    Scram(Mechanism),
}

impl LoginMechanism {
    /// Every one that there is.
    pub const ALL: [Self; 3] = [
        Self::Scram(Mechanism::Sha512),
        Self::Scram(Mechanism::Sha256),
        Self::Plain,
    ];

    /// As the protocol names it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Plain => "PLAIN",
            Self::Scram(mechanism) => mechanism.name(),
        }
    }

    /// Whether what the client sends is a secret that whoever reads it could use.
    #[must_use]
    pub fn needs_tls(self) -> bool {
        self == Self::Plain
    }
}

impl FromStr for LoginMechanism {
    type Err = ();

    fn from_str(name: &str) -> Result<Self, ()> {
        Self::ALL
            .into_iter()
            .find(|mechanism| mechanism.name() == name)
            .ok_or(())
    }
}

/// A login that is under way.
pub struct Exchange {
    mechanism: LoginMechanism,
    /// SCRAM's first message has been answered.
    challenge: Option<Box<Challenge>>,
}

/// What a message is answered with.
pub enum Answer {
    /// This, and then there is more to come.
    Challenge(Vec<u8>),
    /// The client is this user, and is told so with these bytes.
    Known(Principal, Vec<u8>),
    /// What the check says.
    Check(PasswordCheck),
}

impl Exchange {
    /// The client has chosen this one.
    #[must_use]
    pub fn new(mechanism: LoginMechanism) -> Self {
        Self {
            mechanism,
            challenge: None,
        }
    }

    /// Which one the client has chosen.
    #[must_use]
    pub fn mechanism(&self) -> LoginMechanism {
        self.mechanism
    }

    /// Takes the client's next message.
    ///
    /// # Errors
    /// [`Failure`]: the login is over.
    pub fn take(&mut self, message: &[u8], credentials: &Arc<Credentials>) -> Result<Answer, Failure> {
        match (self.mechanism, &self.challenge) {
            (LoginMechanism::Plain, _) => Ok(Answer::Check(PasswordCheck {
                credentials: Arc::clone(credentials),
                message: Zeroizing::new(message.to_vec()),
            })),
            (LoginMechanism::Scram(mechanism), None) => {
                let nonce = ServerNonce::new().map_err(|_| Failure::Malformed("no random numbers"))?;
                let challenge = Challenge::new(mechanism, message, credentials, &nonce)?;
                let answer = challenge.message().to_vec();
                self.challenge = Some(Box::new(challenge));
                Ok(Answer::Challenge(answer))
            }
            (LoginMechanism::Scram(_), Some(challenge)) => {
                let proof = challenge.finish(message)?;
                Ok(Answer::Known(principal(challenge.user())?, proof))
            }
        }
    }
}

/// A user's password that is to be hashed.
pub struct PasswordCheck {
    credentials: Arc<Credentials>,
    message: Zeroizing<Vec<u8>>,
}

impl PasswordCheck {
    /// Whose password it is. It takes a millisecond, or several.
    ///
    /// # Errors
    /// [`Failure`].
    pub fn run(&self) -> Result<Principal, Failure> {
        let message = plain::Message::parse(&self.message)?;
        message.verify(&self.credentials)?;
        principal(message.user)
    }
}

/// Nothing of a password.
impl fmt::Debug for PasswordCheck {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("PasswordCheck")
    }
}

fn principal(user: &str) -> Result<Principal, Failure> {
    Principal::new(user).ok_or(Failure::Malformed("a name that no user can have"))
}
