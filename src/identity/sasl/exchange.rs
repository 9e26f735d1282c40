//! One login, from the mechanism that the client has chosen to its end: what each of its messages is answered with.
//!
//! Hashing a password is somebody else's work: a [`PasswordCheck`] is sent to whom it may take milliseconds.
//!
//! Pure. Any thread.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use zeroize::Zeroizing;

use super::credentials::Credentials;
use super::oauthbearer::key_set::KeySet;
use super::oauthbearer::token::{TokenFault, TokenRules, key_id};
use super::oauthbearer::{self, REFUSED};
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
    /// By a token that somebody else has signed. Over TLS only.
    OauthBearer,
}

impl LoginMechanism {
    /// Every one that there is.
    pub const ALL: [Self; 4] = [
        Self::Scram(Mechanism::Sha512),
        Self::Scram(Mechanism::Sha256),
        Self::Plain,
        Self::OauthBearer,
    ];

    /// As the protocol names it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Plain => "PLAIN",
            Self::Scram(mechanism) => mechanism.name(),
            Self::OauthBearer => "OAUTHBEARER",
        }
    }

    /// Whether what the client sends is a secret that whoever reads it could use.
    #[must_use]
    pub fn needs_tls(self) -> bool {
        matches!(self, Self::Plain | Self::OauthBearer)
    }

    /// Whether users and their passwords are kept for it.
    #[must_use]
    pub fn needs_credentials(self) -> bool {
        self != Self::OauthBearer
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

/// What logins at one listener are checked against.
#[derive(Clone, Default)]
pub struct Checked {
    /// Users and what is kept of their passwords; `None` until that is known.
    pub credentials: Option<Arc<Credentials>>,
    /// Which tokens are taken, if any are.
    pub token_rules: Option<Arc<TokenRules>>,
    /// Whose signatures those have to bear; `None` until that is known.
    pub keys: Option<Arc<KeySet>>,
    /// Whether there may be keys that are not known yet: whoever publishes them can be asked.
    pub may_find_keys: bool,
}

/// A part of [`Checked`] that has changed.
#[derive(Clone)]
pub enum CheckedNews {
    /// Users.
    Credentials(Arc<Credentials>),
    /// Keys, and when fetching them was begun, since 1970, where they were fetched.
    Keys(Arc<KeySet>, Option<Duration>),
}

impl Checked {
    /// Whether it is known who may log in by this.
    #[must_use]
    pub fn is_known(&self, mechanism: LoginMechanism) -> bool {
        match mechanism {
            LoginMechanism::Plain | LoginMechanism::Scram(_) => self.credentials.is_some(),
            LoginMechanism::OauthBearer => self.keys.is_some() && self.token_rules.is_some(),
        }
    }

    /// Takes the new part.
    pub fn take(&mut self, news: CheckedNews) {
        match news {
            CheckedNews::Credentials(credentials) => self.credentials = Some(credentials),
            CheckedNews::Keys(keys, _) => self.keys = Some(keys),
        }
    }

    /// Whose a token is, and for how long; `None` where that is not known. `claimed` is whom it names, once its
    /// signature is right.
    fn bearer(
        &self,
        message: &[u8],
        now: Option<Duration>,
        claimed: &mut Option<Principal>,
    ) -> Option<Result<(Principal, Duration), Failure>> {
        let now = now?;
        let (rules, keys) = (self.token_rules.as_ref()?, self.keys.as_ref()?);
        let mut check = || {
            let message = oauthbearer::Message::parse(message)?;
            let claims = rules.verified(message.token(), keys)?;
            *claimed = rules.principal(&claims);
            let bearer = rules.check_claims(&claims, now)?;
            message.check(&bearer.principal)?;
            let rest = bearer.ends.saturating_sub(now);
            Ok((bearer.principal, rest.max(LIFETIME_MIN)))
        };
        Some(check())
    }
}

/// A login that is under way.
pub struct Exchange {
    mechanism: LoginMechanism,
    /// SCRAM's first message has been answered.
    challenge: Option<Box<Challenge>>,
    /// What was wrong with a token, which the client was told of.
    refused: Option<Failure>,
    claimed: Option<Principal>,
}

/// What a message is answered with.
pub enum Answer {
    /// This, and then there is more to come.
    Challenge(Vec<u8>),
    /// The client is known.
    Known {
        /// Who it is.
        principal: Principal,
        /// What it is told that with.
        message: Vec<u8>,
        /// When that ends by itself; a second at least from then on.
        lifetime: Option<Duration>,
    },
    /// What the check says.
    Check(PasswordCheck),
    /// A token names this key, which may be found: then the same message is taken again, or refused by
    /// [`Exchange::refuse`].
    UnknownKey(String),
    /// It is not known who may log in.
    Unavailable,
}

impl Exchange {
    /// The client has chosen this one.
    #[must_use]
    pub fn new(mechanism: LoginMechanism) -> Self {
        Self {
            mechanism,
            challenge: None,
            refused: None,
            claimed: None,
        }
    }

    /// Whose login it is to be, once that is known: a user of the credentials, or whom a token names whose signature is
    /// right. Nobody else: who types his password where the user belongs would have it written down.
    #[must_use]
    pub fn claimed(&self) -> Option<Principal> {
        self.claimed.clone()
    }

    /// Which one the client has chosen.
    #[must_use]
    pub fn mechanism(&self) -> LoginMechanism {
        self.mechanism
    }

    /// Takes the client's next message; `now`: since 1970, where that is known.
    ///
    /// # Errors
    /// [`Failure`]: the login is over.
    pub fn take(
        &mut self,
        message: &[u8],
        against: &Checked,
        now: Option<Duration>,
    ) -> Result<Answer, Failure> {
        match (self.mechanism, &against.credentials, &self.challenge) {
            (LoginMechanism::OauthBearer, ..) => self.take_token(message, against, now),
            (_, None, _) => Ok(Answer::Unavailable),
            (LoginMechanism::Plain, Some(credentials), _) => {
                let user = plain::Message::parse(message).map(|message| message.user);
                self.claimed = user.ok().and_then(|user| known(credentials, user));
                Ok(Answer::Check(PasswordCheck {
                    credentials: Arc::clone(credentials),
                    message: Zeroizing::new(message.to_vec()),
                }))
            }
            (LoginMechanism::Scram(mechanism), Some(credentials), None) => {
                let nonce = ServerNonce::new().map_err(|_| Failure::Malformed("no random numbers"))?;
                let challenge = Challenge::new(mechanism, message, credentials, &nonce)?;
                let answer = challenge.message().to_vec();
                self.claimed = known(credentials, challenge.user());
                self.challenge = Some(Box::new(challenge));
                Ok(Answer::Challenge(answer))
            }
            (LoginMechanism::Scram(_), Some(_), Some(challenge)) => {
                let proof = challenge.finish(message)?;
                Ok(Answer::Known {
                    principal: principal(challenge.user())?,
                    message: proof,
                    lifetime: None,
                })
            }
        }
    }

    /// To refuse a token takes two steps: the client says `^A` in between, or whatever it likes. Where the message is
    /// to blame there is one.
    fn take_token(
        &mut self,
        message: &[u8],
        against: &Checked,
        now: Option<Duration>,
    ) -> Result<Answer, Failure> {
        if let Some(failure) = self.refused {
            return Err(failure);
        }
        match against.bearer(message, now, &mut self.claimed) {
            Some(Ok((principal, lifetime))) => Ok(Answer::Known {
                principal,
                message: Vec::new(),
                lifetime: Some(lifetime),
            }),
            Some(Err(UNKNOWN_KEY)) if against.may_find_keys => Ok(Answer::UnknownKey(key_id_of(message))),
            Some(Err(failure @ Failure::Token(_))) => Ok(Answer::Challenge(self.refuse(failure))),
            Some(Err(failure)) => Err(failure),
            None => Ok(Answer::Unavailable),
        }
    }

    /// A token does not convince; what the client is told of that.
    pub fn refuse(&mut self, failure: Failure) -> Vec<u8> {
        self.refused = Some(failure);
        REFUSED.as_bytes().to_vec()
    }

    /// Why the login will fail, whatever the client says to it; some clients hear it and say nothing more.
    #[must_use]
    pub fn refused(&self) -> Option<Failure> {
        self.refused
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
        message.check()?;
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

/// The id of the key that a message's token names; empty where it names none.
fn key_id_of(message: &[u8]) -> String {
    let message = oauthbearer::Message::parse(message).ok();
    message
        .and_then(|message| key_id(message.token()))
        .unwrap_or_default()
}

/// A user that the credentials have, by whatever mechanism.
fn known(credentials: &Credentials, user: &str) -> Option<Principal> {
    credentials.any_of(user)?;
    Principal::new(user)
}

fn principal(user: &str) -> Result<Principal, Failure> {
    Principal::new(user).ok_or(Failure::Malformed("a name that no user can have"))
}

/// Of a token that ends just now, or has by a clock that is a little ahead: none at all would stand for a login without
/// an end, and sooner than this nobody may log in again.
const LIFETIME_MIN: Duration = Duration::from_secs(1);
/// The one failure that may pass by itself.
pub const UNKNOWN_KEY: Failure = Failure::Token(TokenFault::UnknownKey);
