//! A login of the proxy's own at a broker: which requests make it, and what their answers mean. Who sends them, and how
//! long is waited, is the business of whoever logs in: an executor for a client, before its connection is relayed and
//! in the middle of it, and [`kafka_client`](crate::kafka_client).
//!
//! - BROKER-LOGIN-1: what a broker says of a refusal is for the log, and never for a client; where it was sent a
//!   password or a token it is for nobody.
//!
//! A refused login is not tried again and again: see [`Standing`].
//!
//! Pure. Any thread.

mod account_name;
mod accounts;
mod standing;
mod tokens;

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use zeroize::Zeroizing;

pub use self::account_name::AccountName;
pub use self::accounts::{AccountPlace, AccountsError, BrokerAccounts, ReadCertificate};
pub use self::standing::{Admission, Standing, Trial, back_off};
pub use self::tokens::{AccountFor, DelegationToken, NoToken, TokenBook, TokenNews, TokenWish};
use crate::crypto::CryptoError;
use crate::foreign::Foreign;
use crate::identity::sasl::initiator::{Credential, Fault, Hashing, Initiation, Message, Next, Proof};
use crate::metrics::BrokerLoginFault;
use crate::protocol::ProtocolError;
use crate::protocol::api_key::{SASL_AUTHENTICATE, SASL_HANDSHAKE};
use crate::protocol::error_code::{NONE, SASL_AUTHENTICATION_FAILED};
use crate::protocol::sasl::{
    OWN_AUTHENTICATE_VERSION, OWN_HANDSHAKE_VERSION, own_handshake_code, own_token_answer,
    write_own_handshake, write_own_token,
};
use crate::transport::tls_client::ClientSet;

/// Who the proxy is at brokers. One for each credential, as it is now: shared by all executors.
pub struct BrokerAccount {
    /// What it is called.
    pub name: AccountName,
    proof: AccountProof,
    /// How it fares.
    pub standing: Standing,
    /// Since when there is this token, of one that is a delegation token.
    issued: Option<Instant>,
}

enum AccountProof {
    /// Said by SASL.
    Said(Arc<Credential>),
    /// Shown by TLS, before anything is said.
    Shown(Arc<ClientSet>),
}

/// Without what is secret.
impl fmt::Debug for BrokerAccount {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.proof {
            AccountProof::Said(credential) => credential.fmt(formatter),
            AccountProof::Shown(set) => set.certificate.fmt(formatter),
        }
    }
}

impl BrokerAccount {
    /// One that was not tried yet.
    #[must_use]
    pub fn new(credential: Credential) -> Self {
        Self {
            name: AccountName::of_credential(&credential),
            proof: AccountProof::Said(Arc::new(credential)),
            standing: Standing::default(),
            issued: None,
        }
    }

    /// One that is a certificate's, which TLS shows.
    #[must_use]
    pub fn of_certificate(set: Arc<ClientSet>) -> Self {
        Self {
            name: AccountName::of_certificate(&set),
            proof: AccountProof::Shown(set),
            standing: Standing::default(),
            issued: None,
        }
    }

    /// By a delegation token that a broker has made at `issued`.
    #[must_use]
    pub fn of_token(credential: Credential, issued: Instant) -> Self {
        Self {
            issued: Some(issued),
            ..Self::new(credential)
        }
    }

    /// Whether a refusal is one of the token alone, and of nobody's account.
    #[must_use]
    pub fn is_token(&self) -> bool {
        self.issued.is_some()
    }

    /// Whether it is a token that not every broker may know of yet (TOKENS-2).
    #[must_use]
    pub fn is_settling(&self, now: Instant) -> bool {
        self.issued
            .is_some_and(|issued| now.saturating_duration_since(issued) < tokens::SETTLED_AFTER)
    }

    /// By which TLS brokers are spoken to, where that shows who it is.
    #[must_use]
    pub fn tls(&self) -> Option<&Arc<ClientSet>> {
        match &self.proof {
            AccountProof::Said(_) => None,
            AccountProof::Shown(set) => Some(set),
        }
    }

    /// Whether both are one user by one mechanism, with whatever password; or both somebody whose name is elsewhere, as
    /// that of a token is.
    #[must_use]
    pub fn is_same_user(&self, other: &Self) -> bool {
        if self.is_token() && other.is_token() {
            return true;
        }
        let identity = |account: &Self| {
            account.credential().map(|credential| {
                let user = credential.identity().map(|(_, user)| user.to_owned());
                (credential.mechanism(), user)
            })
        };
        identity(self) == identity(other)
    }

    fn credential(&self) -> Option<&Arc<Credential>> {
        match &self.proof {
            AccountProof::Said(credential) => Some(credential),
            AccountProof::Shown(_) => None,
        }
    }
}

/// Somebody by this token, which he has shown.
#[must_use]
pub fn bearer(token: &str) -> Arc<BrokerAccount> {
    let proof = Proof::Token(Zeroizing::new(token.to_owned()));
    Arc::new(BrokerAccount::new(Credential::new(proof)))
}

/// A login that is under way.
pub struct BrokerLogin {
    credential: Arc<Credential>,
    stage: Stage,
}

enum Stage {
    /// The mechanism is not agreed on.
    Begin,
    /// This is to be said next, or was.
    Exchange(Initiation, Message),
}

/// What comes next.
#[derive(Debug)]
pub enum Outcome {
    /// Another request.
    Ask,
    /// A password has to be hashed ([`BrokerLogin::hashing`]); then [`BrokerLogin::resume`].
    Hash,
    /// We are logged in, for so long; `None`: as long as the connection.
    Done(Option<Duration>),
}

/// Why a login has failed. What is shown is escaped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoginError {
    /// The broker does not take us.
    #[error("the broker refuses the login with Kafka error {code}: {text}")]
    Refused {
        /// Kafka's error code.
        code: i16,
        /// What the broker says.
        text: BrokersText,
    },
    /// What the broker says in the exchange is not right.
    #[error("the broker's answer to the login is not right: {0}")]
    Fault(Fault),
    /// An answer cannot be read.
    #[error("the broker's answer to the login cannot be read: {0}")]
    Malformed(#[from] ProtocolError),
    /// Our own.
    #[error("there is no randomness to be had")]
    Crypto,
}

/// What a broker says (BROKER-LOGIN-1): shown escaped and cut.
#[derive(Clone, PartialEq, Eq)]
pub struct BrokersText(Box<str>);

impl fmt::Display for BrokersText {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        Foreign::new(&*self.0).fmt(formatter)
    }
}

impl fmt::Debug for BrokersText {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

impl LoginError {
    /// Whether the broker does not believe us: its verdict on the account (STANDING-3).
    #[must_use]
    pub fn is_verdict(&self) -> bool {
        matches!(
            self,
            Self::Refused {
                code: SASL_AUTHENTICATION_FAILED,
                ..
            }
        )
    }

    /// As it is counted and told.
    #[must_use]
    pub fn kind(&self) -> BrokerLoginFault {
        match self {
            Self::Refused { .. } => BrokerLoginFault::Refused,
            Self::Fault(_) | Self::Malformed(_) => BrokerLoginFault::BrokersAnswer,
            Self::Crypto => BrokerLoginFault::Internal,
        }
    }
}

impl From<Fault> for LoginError {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl From<CryptoError> for LoginError {
    fn from(_: CryptoError) -> Self {
        Self::Crypto
    }
}

impl BrokerLogin {
    /// Of whoever proves it so; `None` where nothing has to be said.
    #[must_use]
    pub fn new(account: &BrokerAccount) -> Option<Self> {
        let credential = account.credential()?;
        Some(Self {
            credential: Arc::clone(credential),
            stage: Stage::Begin,
        })
    }

    /// Key and version of the request that is next, or was sent last.
    #[must_use]
    pub fn api(&self) -> (i16, i16) {
        match self.stage {
            Stage::Begin => (SASL_HANDSHAKE, OWN_HANDSHAKE_VERSION),
            Stage::Exchange(..) => (SASL_AUTHENTICATE, OWN_AUTHENTICATE_VERSION),
        }
    }

    /// Appends the next request, length included. It may hold a secret.
    ///
    /// # Errors
    /// [`LoginError::Malformed`]: it is too long.
    pub fn write(&self, correlation_id: i32, out: &mut Vec<u8>) -> Result<(), LoginError> {
        match &self.stage {
            Stage::Begin => write_own_handshake(correlation_id, self.credential.mechanism().name(), out)?,
            Stage::Exchange(_, message) => write_own_token(correlation_id, message, out)?,
        }
        Ok(())
    }

    /// Takes the answer to it, without its length.
    ///
    /// # Errors
    /// [`LoginError`].
    pub fn take(&mut self, answer: &[u8]) -> Result<Outcome, LoginError> {
        match &mut self.stage {
            Stage::Begin => {
                accepted(own_handshake_code(answer)?, None)?;
                let (initiation, first) = Initiation::begin(Arc::clone(&self.credential))?;
                self.stage = Stage::Exchange(initiation, first);
                Ok(Outcome::Ask)
            }
            Stage::Exchange(initiation, _) => {
                let answer = own_token_answer(answer)?;
                // It was sent a secret, which it may say.
                let is_quiet = self.credential.mechanism().needs_tls();
                accepted(answer.code, answer.text.filter(|_| !is_quiet))?;
                let next = initiation.take(answer.token)?;
                Ok(self.next(next, answer.lifetime))
            }
        }
    }

    /// Goes on after [`Outcome::Hash`].
    ///
    /// # Errors
    /// [`LoginError`].
    pub fn resume(&mut self) -> Result<Outcome, LoginError> {
        let Stage::Exchange(initiation, _) = &mut self.stage else {
            return Ok(Outcome::Ask);
        };
        let next = initiation.resume()?;
        Ok(self.next(next, None))
    }

    /// What has to be hashed, after [`Outcome::Hash`], for the broker at this address.
    #[must_use]
    pub fn hashing(&self, broker: &str) -> Option<Hashing> {
        match &self.stage {
            Stage::Begin => None,
            Stage::Exchange(initiation, _) => initiation.hashing(broker),
        }
    }

    fn next(&mut self, next: Next, lifetime: Option<Duration>) -> Outcome {
        match (next, &mut self.stage) {
            (Next::Send(message), Stage::Exchange(_, last)) => {
                *last = message;
                Outcome::Ask
            }
            (Next::Send(_), Stage::Begin) => Outcome::Ask,
            (Next::Hash, _) => Outcome::Hash,
            (Next::Done, _) => {
                if let Stage::Exchange(_, last) = &mut self.stage {
                    *last = Zeroizing::new(Vec::new());
                }
                Outcome::Done(lifetime)
            }
        }
    }
}

fn accepted(code: i16, text: Option<&str>) -> Result<(), LoginError> {
    match code {
        NONE => Ok(()),
        code => Err(LoginError::Refused {
            code,
            text: BrokersText(
                text.unwrap_or("what it says is not shown")
                    .chars()
                    .take(TEXT_CHARS_MAX)
                    .collect(),
            ),
        }),
    }
}

/// For a whole login: a broker answers within milliseconds, and a million iterations take a second.
pub const LOGIN_WAIT: Duration = Duration::from_secs(10);
/// How soon it is looked again whether an account may be tried: about as long as a login takes.
pub const LOOK_AGAIN: Duration = Duration::from_millis(20);
/// How soon something is asked for again, hashing or a token: there may have been no room for the request.
pub const ASK_AGAIN: Duration = Duration::from_millis(500);
/// Of one answer: more than any step of any mechanism takes.
pub const ANSWER_BYTES_MAX: usize = 32 * 1024;
/// Of what a broker says of a refusal.
const TEXT_CHARS_MAX: usize = 256;

#[cfg(test)]
mod tests;
