//! Logins that end at the proxy: who may log in at which listener, and what each message of a login is answered with.
//!
//! The first login comes before the connection is relayed, and before its broker is connected to; later ones (KIP-368)
//! come in the middle of everything else. Both are [`Rounds`].
//!
//! - LOGIN-1: passwords are hashed elsewhere: one at a time for each connection, and so many for an executor. Whoever
//!   finds no room is closed without an answer, which clients take for a reason to try again.
//! - LOGIN-2: where it is not known who may log in, nobody is told that he may not.
//! - LOGIN-3: who has logged in stays who he is: a later login of somebody else fails.
//! - LOGIN-4: what a client is told does not depend on why its login has failed.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use crate::identity::Principal;
use crate::identity::sasl::Failure;
use crate::identity::sasl::credentials::Credentials;
use crate::identity::sasl::exchange::{Answer, Exchange, LoginMechanism, PasswordCheck};
use crate::ids::{ById, ListenerId};
use crate::metrics::CloseReason;
use crate::protocol::error_code::{ILLEGAL_SASL_STATE, NONE, UNSUPPORTED_SASL_MECHANISM};
use crate::protocol::frame::RequestHead;
use crate::protocol::sasl::{self, TokenAnswer};

/// How clients log in at one listener.
#[derive(Clone)]
pub struct LoginPolicy {
    /// Which ways there are, the preferred first.
    pub mechanisms: Vec<LoginMechanism>,
    /// For how long a login is good; `None`: as long as its connection.
    pub lifetime: Option<Duration>,
    /// Who may log in; `None` until that is known.
    pub credentials: Option<Arc<Credentials>>,
}

impl LoginPolicy {
    /// What the mechanisms are called.
    pub(super) fn names(&self) -> impl Iterator<Item = &'static str> + '_ {
        self.mechanisms.iter().map(|mechanism| mechanism.name())
    }
}

/// What an executor knows of logins.
#[derive(Default)]
pub struct Logins {
    listeners: ById<ListenerId, LoginPolicy>,
    checks: Checks,
}

/// Passwords that are being hashed, by the number of the connection.
#[derive(Default)]
struct Checks {
    unsent: Vec<(u32, PasswordCheck)>,
    asked: HashMap<u32, Option<Result<Principal, Failure>>>,
}

impl Logins {
    /// How clients log in at this listener from now on.
    pub fn set(&mut self, listener: ListenerId, policy: LoginPolicy) {
        self.listeners.insert(listener, policy);
    }

    /// Who may log in at this listener from now on.
    pub fn set_credentials(&mut self, listener: ListenerId, credentials: Arc<Credentials>) {
        if let Some(policy) = self.listeners.get_mut(listener) {
            policy.credentials = Some(credentials);
        }
    }

    /// How clients log in at this listener, where they do.
    #[must_use]
    pub fn policy(&self, listener: ListenerId) -> Option<&LoginPolicy> {
        self.listeners.get(listener)
    }

    /// What is to be hashed and was not taken away yet.
    pub fn take_checks(&mut self) -> impl Iterator<Item = (u32, PasswordCheck)> + '_ {
        self.checks.unsent.drain(..)
    }

    /// A password was hashed. Whoever has gone meanwhile is not there any more.
    pub fn checked(&mut self, connection: u32, result: Result<Principal, Failure>) {
        if let Some(asked) = self.checks.asked.get_mut(&connection) {
            *asked = Some(result);
        }
    }

    /// The connection is gone.
    pub fn forget(&mut self, connection: u32) {
        self.checks.asked.remove(&connection);
        self.checks.unsent.retain(|(asking, _)| *asking != connection);
    }
}

/// The login of one connection.
#[derive(Default)]
pub struct Rounds {
    exchange: Option<Exchange>,
    /// Who it has been so far.
    known: Option<Principal>,
}

/// What a message of a login is answered with.
pub enum Round {
    /// This frame; there is more to come.
    Answer(Vec<u8>),
    /// This frame, and the client is this one, for so long.
    Known {
        answer: Vec<u8>,
        principal: Principal,
        mechanism: LoginMechanism,
        lifetime: Option<Duration>,
    },
    /// Nothing yet: look again when passwords were hashed.
    Wait,
    /// This frame, after a while; then the connection ends.
    Failed { answer: Vec<u8>, why: Refusal },
    /// The connection ends without a word.
    Closed(CloseReason),
}

/// Why a login has failed, for the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The listener does not have the mechanism that was asked for.
    NoSuchMechanism,
    /// What the client has said does not convince.
    Unconvincing(LoginMechanism, Failure),
    /// Somebody else than the connection's first.
    SomebodyElse,
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NoSuchMechanism => {
                formatter.write_str("it asks for a mechanism that the listener does not have")
            }
            Self::Unconvincing(mechanism, failure) => write!(formatter, "{}: {failure}", mechanism.name()),
            Self::SomebodyElse => formatter.write_str("a later login names somebody else than the first"),
        }
    }
}

impl Rounds {
    /// Of a client that is known already.
    #[must_use]
    pub fn again(known: Principal) -> Self {
        Self {
            exchange: None,
            known: Some(known),
        }
    }

    /// Whether a mechanism was agreed on, and the login is not over.
    #[must_use]
    pub fn is_under_way(&self) -> bool {
        self.exchange.is_some()
    }

    /// Takes a SaslHandshake request, without its length.
    pub fn handshake(&mut self, policy: &LoginPolicy, head: RequestHead, frame: &[u8]) -> Round {
        let Ok(wanted) = sasl::mechanism(frame) else {
            return Round::Closed(CloseReason::MalformedFrame);
        };
        // LOGIN-2
        if policy.credentials.is_none() {
            return Round::Closed(CloseReason::LoginUnavailable);
        }
        let wanted = wanted.parse().ok();
        let agreed = wanted.filter(|wanted| policy.mechanisms.contains(wanted));
        let names: Vec<_> = policy.names().collect();
        let code = agreed.map_or(UNSUPPORTED_SASL_MECHANISM, |_| NONE);
        let mut answer = Vec::new();
        if sasl::write_handshake(head, code, &names, &mut answer).is_err() {
            return Round::Closed(CloseReason::Internal);
        }
        self.exchange = agreed.map(Exchange::new);
        match agreed {
            Some(_) => Round::Answer(answer),
            None => Round::Failed {
                answer,
                why: Refusal::NoSuchMechanism,
            },
        }
    }

    /// Takes a SaslAuthenticate request, without its length, of connection number `connection` of `listener`; the same
    /// again after [`Round::Wait`].
    pub fn authenticate(
        &mut self,
        logins: &mut Logins,
        listener: ListenerId,
        connection: u32,
        head: RequestHead,
        frame: &[u8],
    ) -> Round {
        let (Some(policy), Some(exchange)) = (logins.listeners.get(listener), &mut self.exchange) else {
            return answer_with(head, TokenAnswer::Refused(ILLEGAL_SASL_STATE), Round::Answer);
        };
        let (mechanism, lifetime) = (exchange.mechanism(), policy.lifetime);
        let Some(credentials) = &policy.credentials else {
            return Round::Closed(CloseReason::LoginUnavailable);
        };
        let checked = match logins.checks.asked.get_mut(&connection) {
            Some(None) => return Round::Wait,
            Some(checked) => checked.take(),
            None => None,
        };
        logins.checks.asked.remove(&connection);
        let taken = match checked {
            Some(result) => result.map(|principal| Answer::Known(principal, Vec::new())),
            None => match sasl::token(frame, head.api_version) {
                Ok(token) => exchange.take(token, credentials),
                Err(_) => return Round::Closed(CloseReason::MalformedFrame),
            },
        };
        match taken {
            Ok(Answer::Challenge(token)) => {
                answer_with(head, TokenAnswer::Accepted(&token, None), Round::Answer)
            }
            Ok(Answer::Check(check)) => {
                // LOGIN-1
                if logins.checks.asked.len() >= CHECKS_MAX {
                    return Round::Closed(CloseReason::LoginUnavailable);
                }
                logins.checks.asked.insert(connection, None);
                logins.checks.unsent.push((connection, check));
                Round::Wait
            }
            Ok(Answer::Known(principal, token)) => {
                self.exchange = None;
                // LOGIN-3
                if self.known.as_ref().is_some_and(|known| *known != principal) {
                    return failed(head, mechanism, Refusal::SomebodyElse);
                }
                self.known = Some(principal.clone());
                answer_with(head, TokenAnswer::Accepted(&token, lifetime), |answer| {
                    Round::Known {
                        answer,
                        principal,
                        mechanism,
                        lifetime,
                    }
                })
            }
            Err(failure) => {
                self.exchange = None;
                failed(head, mechanism, Refusal::Unconvincing(mechanism, failure))
            }
        }
    }
}

/// LOGIN-4
fn failed(head: RequestHead, mechanism: LoginMechanism, why: Refusal) -> Round {
    let told = Failure::told(mechanism.name());
    answer_with(head, TokenAnswer::Failed(&told), |answer| Round::Failed {
        answer,
        why,
    })
}

fn answer_with(head: RequestHead, answer: TokenAnswer<'_>, round: impl FnOnce(Vec<u8>) -> Round) -> Round {
    let mut frame = Vec::new();
    match sasl::write_answer(head, answer, &mut frame) {
        Ok(()) => round(frame),
        Err(_) => Round::Closed(CloseReason::Internal),
    }
}

/// Passwords of one executor that are being hashed, or wait for it: with 4 ms each, what a client still waits for.
const CHECKS_MAX: usize = 500;
