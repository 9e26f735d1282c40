//! Tokens for the proxy itself, by the credentials of a client (RFC 6749, 4.4): what it shows to brokers.
//!
//! - ISSUER-2: of an answer nothing gets into a log but fixed words: whoever is asked was sent a secret.
//! - ISSUER-3: a token is taken if it is a bearer token of the characters that such have (RFC 6750, 2.1), and if it is
//!   said how long it is good for: by `expires_in`, else by its own `exp`.
#![expect(clippy::disallowed_methods, reason = "no executor uses it")]

use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::StatusCode;
use reqwest::header::{ACCEPT, CONTENT_TYPE};
use serde::Deserialize;
use serde_json::Value;
use tokio::task::spawn_blocking;
use zeroize::Zeroizing;

use super::{AskError, ask, body};
use crate::config::{OwnAccountError, TokenEndpoint};
use crate::transport::certificates::CertificateError;

/// A token, and how long it is good for from now on.
pub(crate) struct FetchedToken {
    pub(crate) token: Zeroizing<String>,
    pub(crate) good_for: Duration,
}

/// Why there is no token.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TokenError {
    #[error("client_secret: {0}")]
    Secret(#[from] OwnAccountError),
    #[error("ca: {0}")]
    Trust(CertificateError),
    #[error("{0}")]
    Http(String),
    #[error("it answers with status {0}")]
    Status(StatusCode),
    /// It will not be taken later either, until somebody changes something.
    #[error(
        "it refuses the client with status {status} ({code}): look at client_id, client_secret, scope and audience"
    )]
    Refused {
        status: StatusCode,
        /// A fixed word (ISSUER-2).
        code: &'static str,
    },
    #[error("its answer {0}")]
    Answer(&'static str),
    #[error("no thread is left to read certificates and secrets")]
    NoThread,
}

impl From<AskError> for TokenError {
    fn from(error: AskError) -> Self {
        match error {
            AskError::Trust(error) => Self::Trust(error),
            AskError::Http(error) => Self::Http(error),
            AskError::TooLong => Self::Answer("is longer than any token"),
            AskError::NoThread => Self::NoThread,
        }
    }
}

#[derive(Deserialize)]
struct Given {
    access_token: String,
    token_type: String,
    expires_in: Option<Value>,
}

#[derive(Deserialize)]
struct NotGiven {
    error: String,
}

/// Fetches a token with the secret that the client has now.
pub(crate) async fn fetch_token(
    endpoint: &TokenEndpoint,
    at_most: Duration,
) -> Result<FetchedToken, TokenError> {
    let own = endpoint.clone();
    let secret = spawn_blocking(move || own.secret()).await;
    let secret = secret.map_err(|_| TokenError::NoThread)??;
    let asked = SystemTime::now();
    let response = ask(&endpoint.trust, at_most, |client| {
        // RFC 6749, 2.3.1.
        let [id, secret] = [&endpoint.client_id, &*secret].map(|text| Zeroizing::new(form_encoded(text)));
        client
            .post(endpoint.url.clone())
            .basic_auth(&*id, Some(&*secret))
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header(ACCEPT, "application/json")
            .body(form(endpoint))
    });
    let response = response.await?;
    let status = response.status();
    match status {
        StatusCode::OK => taken(&body(response, ANSWER_BYTES_MAX).await?, asked),
        StatusCode::BAD_REQUEST | StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            let code = match body(response, ANSWER_BYTES_MAX).await {
                Ok(bytes) => refusal_code(&bytes),
                Err(_) => NO_CODE,
            };
            Err(TokenError::Refused { status, code })
        }
        status => Err(TokenError::Status(status)),
    }
}

fn form(endpoint: &TokenEndpoint) -> String {
    let mut form = "grant_type=client_credentials".to_owned();
    for (name, value) in [("scope", &endpoint.scope), ("audience", &endpoint.audience)] {
        if let Some(value) = value {
            form.push_str(&format!("&{name}={}", form_encoded(value)));
        }
    }
    form
}

fn form_encoded(text: &str) -> String {
    utf8_percent_encode(text, FORM).to_string()
}

/// ISSUER-3
fn taken(answer: &[u8], asked: SystemTime) -> Result<FetchedToken, TokenError> {
    let given: Given =
        serde_json::from_slice(answer).map_err(|_| TokenError::Answer("is not that of a token endpoint"))?;
    let Given {
        access_token,
        token_type,
        expires_in,
    } = given;
    let token = Zeroizing::new(access_token);
    if !token_type.eq_ignore_ascii_case("bearer") {
        return Err(TokenError::Answer(
            "has a token that is no bearer token (token_type)",
        ));
    }
    let is_of_token = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~+/=".contains(&byte);
    if token.is_empty() || token.len() > TOKEN_BYTES_MAX || !token.bytes().all(is_of_token) {
        return Err(TokenError::Answer(
            "has a token that is empty, too long, or has characters of none",
        ));
    }
    let good_for = match expires_in {
        Some(seconds) => {
            whole_seconds(&seconds).ok_or(TokenError::Answer("has an expires_in that is no number"))?
        }
        None => {
            let ends =
                end_of(&token).ok_or(TokenError::Answer("does not say how long the token is good for"))?;
            let asked = asked.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
            ends.saturating_sub(asked)
        }
    };
    if good_for < GOOD_FOR_MIN {
        return Err(TokenError::Answer(
            "has a token that is good for a few seconds only, or none",
        ));
    }
    Ok(FetchedToken {
        token,
        good_for: good_for.min(GOOD_FOR_MAX),
    })
}

/// Some write it as a text.
fn whole_seconds(value: &Value) -> Option<Duration> {
    let seconds = match value {
        Value::Number(number) => number.as_u64(),
        Value::String(text) => text.parse().ok(),
        _ => None,
    };
    seconds.map(Duration::from_secs)
}

/// What a JWT says of its end: of the issuer's own answer, so no signature is looked at.
fn end_of(token: &str) -> Option<Duration> {
    let claims = token.split('.').nth(1)?;
    let claims = Zeroizing::new(URL_SAFE_NO_PAD.decode(claims).ok()?);
    let claims: Value = serde_json::from_slice(&claims).ok()?;
    claims.get("exp")?.as_u64().map(Duration::from_secs)
}

/// RFC 6749, 5.2, and what is in use besides.
fn refusal_code(answer: &[u8]) -> &'static str {
    let said: Option<NotGiven> = serde_json::from_slice(answer).ok();
    let known = said.and_then(|said| CODES.into_iter().find(|code| *code == said.error));
    known.unwrap_or(NO_CODE)
}

const CODES: [&str; 8] = [
    "invalid_client",
    "invalid_request",
    "invalid_grant",
    "unauthorized_client",
    "unsupported_grant_type",
    "invalid_scope",
    "invalid_target",
    "access_denied",
];
const NO_CODE: &str = "no error that is known";
/// Of `application/x-www-form-urlencoded`, everything may be escaped; what is in most names is not, for those who do
/// not expect it to be.
const FORM: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');
/// As the proxy takes from its clients.
const TOKEN_BYTES_MAX: usize = 32 * 1024;
/// A token, and what stands beside it.
const ANSWER_BYTES_MAX: usize = 64 * 1024;
/// It has to reach executors and brokers first.
const GOOD_FOR_MIN: Duration = Duration::from_secs(5);
/// Whatever is said: an account that was taken away does not go on for longer.
const GOOD_FOR_MAX: Duration = Duration::from_secs(7 * 24 * 3600);

#[cfg(test)]
pub(crate) mod tests;
