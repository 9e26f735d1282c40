//! Tokens (RFC 7519, RFC 7515): who has signed one, for whom, and until when it is good.
//!
//! - TOKEN-1: nothing of a token is believed before its signature: of what stands in front, only the algorithm and the
//!   key's id are read, and both have to be known here. Neither a secret's algorithm (`HS…`) nor `none` is ever.
//! - TOKEN-2: issuer and audience are compared always; a token without a beginning (`iat`) or an end is refused.
//!
//! Of a token nothing gets into a log but what was wrong with it: a [`TokenFault`] has no text of its own. A signature
//! takes 30 to 100 microseconds. Pure: the time comes from whoever asks. Any thread.

use std::borrow::Cow;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::Algorithm;
use jsonwebtoken::crypto::verify;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::key_set::{ID_BYTES_MAX, KeySet};
use crate::identity::Principal;
use crate::identity::sasl::{Failure, USER_BYTES_MAX};

/// Which tokens are taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenRules {
    /// `iss`: exactly this.
    pub issuer: String,
    /// `aud`: one of these.
    pub audiences: Vec<String>,
    /// What it may be signed with; see [`algorithm`].
    pub algorithms: Vec<Algorithm>,
    /// The claim that names the client.
    pub principal_claim: String,
}

/// What a token that convinces says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bearer {
    /// Whose it is.
    pub principal: Principal,
    /// When it ends, since 1970.
    pub ends: Duration,
}

/// What is wrong with a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TokenFault {
    /// Not three parts of base64 with JSON in them, or too long.
    #[error("the token is not well formed")]
    Malformed,
    /// It asks for what nobody here understands.
    #[error("the token has extensions that have to be understood (crit)")]
    Critical,
    /// `none` and `HS…` among them.
    #[error("the token is signed by an algorithm that is not among oauthbearer.algorithms")]
    Algorithm,
    /// The set has no key of its id.
    #[error("the token names a key (kid) that is not in the key set")]
    UnknownKey,
    /// The set has one, of another type or for another algorithm.
    #[error("the key that the token names is not one for its algorithm")]
    OtherKey,
    /// Somebody else has signed it, or it was changed.
    #[error("the token's signature is wrong")]
    Signature,
    /// It lacks this, or has something else in its place.
    #[error("the token has no {0} that could be understood")]
    NoClaim(&'static str),
    /// It was good once.
    #[error("the token has expired (exp)")]
    Expired,
    /// It will be good later: look at the clocks.
    #[error("the token is not valid yet (nbf)")]
    NotYet,
    /// It is another issuer's.
    #[error("the token is another issuer's (iss)")]
    Issuer,
    /// It is meant for somebody else.
    #[error("the token is for another audience (aud)")]
    Audience,
    /// There is no name in it.
    #[error("the token has no name in the claim that oauthbearer.principal_claim says")]
    Principal,
}

impl TokenFault {
    /// A fixed word for it, for the audit log.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            Self::Malformed => "token_malformed",
            Self::Critical => "token_critical",
            Self::Algorithm => "token_algorithm",
            Self::UnknownKey => "token_unknown_key",
            Self::OtherKey => "token_other_key",
            Self::Signature => "token_signature",
            Self::NoClaim(_) => "token_claim_missing",
            Self::Expired => "token_expired",
            Self::NotYet => "token_not_yet_valid",
            Self::Issuer => "token_issuer",
            Self::Audience => "token_audience",
            Self::Principal => "token_principal",
        }
    }
}

impl From<TokenFault> for Failure {
    fn from(fault: TokenFault) -> Self {
        Self::Token(fault)
    }
}

/// The algorithm of this name, if its signatures can be verified by a public key.
#[must_use]
pub fn algorithm(name: &str) -> Option<Algorithm> {
    ALGORITHMS
        .into_iter()
        .find(|(known, _)| *known == name)
        .map(|(_, algorithm)| algorithm)
}

/// Every algorithm that there is, with its name.
pub const ALGORITHMS: [(&str, Algorithm); 9] = [
    ("RS256", Algorithm::RS256),
    ("RS384", Algorithm::RS384),
    ("RS512", Algorithm::RS512),
    ("PS256", Algorithm::PS256),
    ("PS384", Algorithm::PS384),
    ("PS512", Algorithm::PS512),
    ("ES256", Algorithm::ES256),
    ("ES384", Algorithm::ES384),
    ("EdDSA", Algorithm::EdDSA),
];

/// What stands in front of a token, as far as it is read (TOKEN-1).
#[derive(Deserialize)]
struct Header<'h> {
    #[serde(borrow)]
    alg: Cow<'h, str>,
    #[serde(borrow, default)]
    kid: Option<Cow<'h, str>>,
    #[serde(default)]
    crit: Option<serde::de::IgnoredAny>,
}

/// The id of the key that a token names, if it names one.
#[must_use]
pub fn key_id(token: &str) -> Option<String> {
    let (header, _) = token.split_once('.')?;
    let header = decoded(header, HEADER_BYTES_MAX).ok()?;
    let header: Header<'_> = serde_json::from_slice(&header).ok()?;
    header
        .kid
        .filter(|id| id.len() <= ID_BYTES_MAX)
        .map(Cow::into_owned)
}

impl TokenRules {
    /// Whose token it is, as these keys and the time since 1970 say.
    ///
    /// # Errors
    /// [`TokenFault`].
    #[cfg(any(test, feature = "testing"))]
    pub fn check(&self, token: &str, keys: &KeySet, now: Duration) -> Result<Bearer, TokenFault> {
        self.check_claims(&self.verified(token, keys)?, now)
    }

    /// What a token says that one of these keys has signed.
    pub(in crate::identity::sasl) fn verified(
        &self,
        token: &str,
        keys: &KeySet,
    ) -> Result<Map<String, Value>, TokenFault> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(TokenFault::Malformed);
        }
        let (signed, signature) = token.rsplit_once('.').ok_or(TokenFault::Malformed)?;
        let (header, claims) = signed.split_once('.').ok_or(TokenFault::Malformed)?;
        self.check_signature(header, signed, signature, keys)?;
        let claims = decoded(claims, TOKEN_BYTES_MAX)?;
        serde_json::from_slice(&claims).map_err(|_| TokenFault::Malformed)
    }

    /// TOKEN-1
    fn check_signature(
        &self,
        header: &str,
        signed: &str,
        signature: &str,
        keys: &KeySet,
    ) -> Result<(), TokenFault> {
        let header = decoded(header, HEADER_BYTES_MAX)?;
        let header: Header<'_> = serde_json::from_slice(&header).map_err(|_| TokenFault::Malformed)?;
        if header.crit.is_some() {
            return Err(TokenFault::Critical);
        }
        let algorithm = algorithm(&header.alg)
            .filter(|named| self.algorithms.contains(named))
            .ok_or(TokenFault::Algorithm)?;
        let id = header.kid.as_deref();
        if id.is_some_and(|id| id.len() > ID_BYTES_MAX) {
            return Err(TokenFault::Malformed);
        }
        if !keys.knows(id) {
            return Err(TokenFault::UnknownKey);
        }
        let mut fault = TokenFault::OtherKey;
        for key in keys.fitting(id, algorithm) {
            match verify(signature, signed.as_bytes(), key, algorithm) {
                Ok(true) => return Ok(()),
                _ => fault = TokenFault::Signature,
            }
        }
        Err(fault)
    }

    /// TOKEN-2
    pub(in crate::identity::sasl) fn check_claims(
        &self,
        claims: &Map<String, Value>,
        now: Duration,
    ) -> Result<Bearer, TokenFault> {
        let is_issuer = |issuer: &Value| issuer.as_str() == Some(&self.issuer);
        if !claims.get("iss").is_some_and(is_issuer) {
            return Err(TokenFault::Issuer);
        }
        let is_ours = |audience: &Value| {
            let audience = audience.as_str();
            audience.is_some_and(|audience| self.audiences.iter().any(|ours| ours == audience))
        };
        let is_audience = match claims.get("aud") {
            Some(Value::Array(list)) => list.iter().any(is_ours),
            Some(one) => is_ours(one),
            None => false,
        };
        if !is_audience {
            return Err(TokenFault::Audience);
        }
        time(claims, "iat")?.ok_or(TokenFault::NoClaim("iat"))?;
        let ends = time(claims, "exp")?.ok_or(TokenFault::NoClaim("exp"))?;
        if now >= ends.saturating_add(SKEW) {
            return Err(TokenFault::Expired);
        }
        if time(claims, "nbf")?.is_some_and(|begins| begins > now.saturating_add(SKEW)) {
            return Err(TokenFault::NotYet);
        }
        let principal = self.principal(claims).ok_or(TokenFault::Principal)?;
        Ok(Bearer { principal, ends })
    }

    /// Whom it names.
    pub(in crate::identity::sasl) fn principal(&self, claims: &Map<String, Value>) -> Option<Principal> {
        let name = claims.get(&self.principal_claim).and_then(Value::as_str);
        name.filter(|name| !name.trim().is_empty() && name.len() <= USER_BYTES_MAX)
            .and_then(Principal::new)
    }
}

/// A NumericDate: seconds since 1970, perhaps with a fraction.
fn time(claims: &Map<String, Value>, name: &'static str) -> Result<Option<Duration>, TokenFault> {
    let Some(value) = claims.get(name) else {
        return Ok(None);
    };
    let seconds = value.as_f64().ok_or(TokenFault::NoClaim(name))?;
    match Duration::try_from_secs_f64(seconds) {
        Ok(time) => Ok(Some(time)),
        Err(_) => Err(TokenFault::NoClaim(name)),
    }
}

fn decoded(part: &str, bytes_max: usize) -> Result<Vec<u8>, TokenFault> {
    if part.len() > bytes_max {
        return Err(TokenFault::Malformed);
    }
    URL_SAFE_NO_PAD.decode(part).map_err(|_| TokenFault::Malformed)
}

/// By how much clocks may differ, as brokers have it.
pub const SKEW: Duration = Duration::from_secs(30);
/// A token with hundreds of groups in it.
const TOKEN_BYTES_MAX: usize = 32 * 1024;
/// With chains of certificates in front, which some issuers put there.
const HEADER_BYTES_MAX: usize = 8 * 1024;

#[cfg(test)]
mod tests;
