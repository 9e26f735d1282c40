//! Why a login has failed: for the log, and never for the client.

use std::fmt;

use super::oauthbearer::REFUSED;
use super::oauthbearer::token::TokenFault;

/// What is wrong with a message of a login, or with who sent it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Failure {
    /// The message does not have the form of its mechanism: what is missing, or should not be there.
    Malformed(&'static str),
    /// There is no such user, or not with this mechanism.
    UnknownUser,
    /// The password is not that of the user, or what was to prove that it is known does not.
    WrongPassword,
    /// The nonce is not the one that was agreed on.
    OtherNonce,
    /// What the client says of channel binding is not what it said first.
    OtherBinding,
    /// It asks to act as somebody else.
    OtherAuthorizationId,
    /// Its token does not convince.
    Token(TokenFault),
}

impl Failure {
    /// A fixed word for it, for the audit log.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            Self::Malformed(_) => "malformed",
            Self::UnknownUser => "unknown_user",
            Self::WrongPassword => "wrong_password",
            Self::OtherNonce => "other_nonce",
            Self::OtherBinding => "other_binding",
            Self::OtherAuthorizationId => "other_authorization_id",
            Self::Token(fault) => fault.reason(),
        }
    }

    /// What a client is told, whatever the reason: the words of a Kafka broker.
    pub fn told(mechanism: &str) -> String {
        match mechanism {
            "PLAIN" => "Authentication failed: Invalid username or password".to_owned(),
            "OAUTHBEARER" => REFUSED.to_owned(),
            _ => format!(
                "Authentication failed during authentication due to invalid credentials with SASL mechanism {mechanism}"
            ),
        }
    }
}

/// For the log.
impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Malformed(what) => what,
            Self::UnknownUser => "no such user with this mechanism",
            Self::WrongPassword => "the password is wrong",
            Self::OtherNonce => "the nonce is not the one that was agreed on",
            Self::OtherBinding => "what it says of channel binding has changed",
            Self::OtherAuthorizationId => "it asks to act as somebody else",
            Self::Token(fault) => return fault.fmt(formatter),
        })
    }
}
