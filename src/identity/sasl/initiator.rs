//! Logins of the proxy's own, the initiator's side of SASL: what is said to a broker, and what its messages mean.
//!
//! - INITIATOR-1: a broker that does not prove by its signature that it knows of the password is not logged in at.
//! - INITIATOR-2: nothing is hashed for a broker, nor proven to it, whose nonce does not go on from ours, or that wants
//!   other than [`ITERATIONS_MIN`](super::verifier::ITERATIONS_MIN) to
//!   [`ITERATIONS_MAX`](super::verifier::ITERATIONS_MAX) iterations.
//! - INITIATOR-3: a password is hashed once for each salt, whoever logs in with it, and by one at a time for each
//!   broker, which keeps none of the others waiting, nor has what was hashed for them forgotten; see [`Hashing`].
//!
//! Pure. Any thread, but for hashing.

mod credential;
mod scram;

use std::fmt;
use std::sync::Arc;

use zeroize::Zeroizing;

pub use self::credential::{Account, Credential, Proof};
use self::scram::{Challenged, Opening};
use super::exchange::LoginMechanism;
use crate::crypto::CryptoError;

/// A message to a broker. It may hold a secret.
pub type Message = Zeroizing<Vec<u8>>;

/// A login that is under way.
pub struct Initiation {
    credential: Arc<Credential>,
    state: State,
}

enum State {
    /// SCRAM: the first message is out.
    Opened(Opening),
    /// SCRAM: the broker's first message is here, and the password is hashed as it says.
    Challenged(Challenged),
    /// SCRAM: our proof is out, and this has to come back.
    Proven(Zeroizing<Vec<u8>>),
    /// PLAIN and OAUTHBEARER: all is said.
    Said,
    /// OAUTHBEARER: the broker has said that it does not take the token, and is let say so in its protocol.
    Refused,
    /// The broker has taken us.
    Over,
}

/// What comes next.
pub enum Next {
    /// This is to be sent.
    Send(Message),
    /// The password has to be hashed ([`Initiation::hashing`]); then [`Initiation::resume`].
    Hash,
    /// We are logged in.
    Done,
}

/// What is wrong with a broker's message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// It does not have the form of its mechanism: what is missing, or should not be there.
    Malformed(&'static str),
    /// Its nonce does not go on from ours (INITIATOR-2).
    OtherNonce,
    /// So many iterations (INITIATOR-2).
    Iterations(u32),
    /// It does not know the password (INITIATOR-1).
    WrongSignature,
}

impl Initiation {
    /// Begins a login; with it, the first message.
    ///
    /// # Errors
    /// [`CryptoError::Random`].
    pub fn begin(credential: Arc<Credential>) -> Result<(Self, Message), CryptoError> {
        let (state, message) = match credential.proof() {
            Proof::Plain(account) => (State::Said, account.plain()),
            Proof::Scram(_, account, extension) => {
                let opening = Opening::new(account.user(), *extension)?;
                let message = opening.message();
                (State::Opened(opening), message)
            }
            Proof::Token(token) => (State::Said, bearer(token)),
        };
        Ok((Self { credential, state }, message))
    }

    /// What the mechanism is.
    #[must_use]
    pub fn mechanism(&self) -> LoginMechanism {
        self.credential.mechanism()
    }

    /// Takes what the broker has answered without an error.
    ///
    /// # Errors
    /// [`Fault`].
    pub fn take(&mut self, answer: &[u8]) -> Result<Next, Fault> {
        match &self.state {
            State::Opened(opening) => {
                self.state = State::Challenged(opening.challenged(answer)?);
                self.resume()
            }
            State::Proven(signature) => {
                scram::verify(answer, signature)?;
                self.done()
            }
            State::Said if answer.is_empty() => self.done(),
            State::Said if self.mechanism() == LoginMechanism::OauthBearer => {
                self.state = State::Refused;
                Ok(Next::Send(Zeroizing::new(vec![SEPARATOR])))
            }
            State::Said => Err(Fault::Malformed("an answer to PLAIN that is not empty")),
            State::Challenged(_) | State::Refused | State::Over => {
                Err(Fault::Malformed("an answer that nothing was asked for"))
            }
        }
    }

    /// Goes on after [`Next::Hash`].
    ///
    /// # Errors
    /// [`Fault`].
    pub fn resume(&mut self) -> Result<Next, Fault> {
        let (State::Challenged(challenged), Proof::Scram(mechanism, account, _)) =
            (&self.state, self.credential.proof())
        else {
            return Err(Fault::Malformed("an answer that nothing was asked for"));
        };
        let Some(keys) = account.keys(challenged.salting()) else {
            return Ok(Next::Hash);
        };
        let (message, signature) = challenged.prove(*mechanism, &keys);
        self.state = State::Proven(signature);
        Ok(Next::Send(message))
    }

    /// The password that [`Next::Hash`] asks for, for whoever is called so; `None` while somebody else hashes it for
    /// that broker (INITIATOR-3).
    #[must_use]
    pub fn hashing(&self, broker: &str) -> Option<Hashing> {
        let (State::Challenged(challenged), Some(account)) = (&self.state, self.credential.account()) else {
            return None;
        };
        account.begin_hashing(broker).then(|| Hashing {
            credential: Arc::clone(&self.credential),
            broker: broker.into(),
            salting: challenged.salting().clone(),
        })
    }

    fn done(&mut self) -> Result<Next, Fault> {
        self.state = State::Over;
        Ok(Next::Done)
    }
}

/// A password that is to be hashed. Nobody else hashes it for the same broker until this is dropped.
pub struct Hashing {
    credential: Arc<Credential>,
    broker: Box<str>,
    salting: credential::Salting,
}

impl Hashing {
    /// Hashes it: from then on whoever logs in with it finds the result (INITIATOR-3). Milliseconds, up to a second.
    pub fn run(&self) {
        if let Proof::Scram(mechanism, account, _) = self.credential.proof() {
            account.hash(*mechanism, &self.broker, &self.salting);
        }
    }

    /// Who wants it hashed.
    #[must_use]
    pub fn broker(&self) -> &str {
        &self.broker
    }
}

impl Drop for Hashing {
    fn drop(&mut self) {
        if let Some(account) = self.credential.account() {
            account.end_hashing(&self.broker);
        }
    }
}

/// RFC 7628: `n,,^Aauth=Bearer TOKEN^A^A`.
fn bearer(token: &str) -> Message {
    const BEFORE: &[u8] = b"n,,\x01auth=Bearer ";
    let mut message = Zeroizing::new(Vec::with_capacity(BEFORE.len() + token.len() + 2));
    message.extend_from_slice(BEFORE);
    message.extend_from_slice(token.as_bytes());
    message.extend_from_slice(&[SEPARATOR, SEPARATOR]);
    message
}

const SEPARATOR: u8 = 1;

/// For the log.
impl fmt::Display for Fault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed(what) => formatter.write_str(what),
            Self::OtherNonce => formatter.write_str("its nonce does not go on from ours"),
            Self::Iterations(number) => write!(
                formatter,
                "it wants the password hashed {number} times, and {} to {} are taken",
                super::verifier::ITERATIONS_MIN,
                super::verifier::ITERATIONS_MAX
            ),
            Self::WrongSignature => formatter.write_str("it does not know the password"),
        }
    }
}

#[cfg(test)]
mod tests;
