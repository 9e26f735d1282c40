//! Logged in at a Vault: a token, had from somewhere, renewed while it can be and had anew when it cannot.
//!
//! - VAULT-LOGIN-1: one login at a time. One that was refused is not tried again before [`RefusedLogin::until`], unless
//!   what it says has changed: accounts may be locked.
//! - VAULT-LOGIN-2: a token is used until it has ended, whatever becomes of renewing it.
//! - VAULT-LOGIN-3: secrets are read anew for each login, and a token that stands in a file every [`LOOK_INTERVAL`].
//! - VAULT-LOGIN-4: a standby may send calls on to another server: once for each call, and by HTTPS where the address
//!   that is configured has it. That server has to be vouched for like the first.
//! - VAULT-LOGIN-5: whether a token is known is asked by one call at a time, whose answer serves all that were refused
//!   before it was made: this is what the budget of calls does not count.
#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "the control thread uses it, executors never"
)]

use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use reqwest::header::{HeaderMap, HeaderValue};
use reqwest::{Method, StatusCode, Url};
use serde::Deserialize;
use tokio::sync::Notify;
use tokio::task::spawn_blocking;
use tokio::time::timeout;
use zeroize::Zeroizing;

use super::answers::{check_refusal, outage_of, refused_login};
use crate::durable_file;
use crate::kms::KmsError;
use crate::kms::http::{HttpAnswer, HttpCall, HttpClient, Plaintext, unavailable};
use crate::secret_source::SecretSource;
use crate::transport::tls_client::UpstreamTls;

/// A server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VaultServer {
    /// `https://HOST:PORT`, or `http` where that is allowed.
    pub address: Url,
    /// Of Vault Enterprise or OpenBao.
    pub namespace: Option<String>,
    /// Without it, plain HTTP.
    pub tls: Option<UpstreamTls>,
}

/// How the proxy logs in.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum VaultLogin {
    /// By a token that somebody has made, and perhaps replaces.
    Token(SecretSource),
    /// By a role and its secret.
    AppRole {
        /// Where the method is mounted.
        mount: String,
        /// Whose secret it is.
        role_id: String,
        /// The secret.
        secret_id: SecretSource,
    },
    /// By a token that the platform puts into a file and replaces: of a Kubernetes service account, or any JWT.
    Jwt {
        /// Where the method is mounted.
        mount: String,
        /// As whom.
        role: String,
        /// The token.
        file: PathBuf,
    },
    /// By the certificate that TLS shows.
    Certificate {
        /// Where the method is mounted.
        mount: String,
        /// As whom, where several roles take it.
        role: Option<String>,
    },
}

/// What is asked of a Vault.
pub(super) struct VaultRequest {
    method: Method,
    path: Vec<String>,
    body: Option<Zeroizing<Vec<u8>>>,
}

impl VaultRequest {
    pub(super) fn new(method: Method, path: &[&str], body: Option<Zeroizing<Vec<u8>>>) -> Self {
        Self {
            method,
            path: path.iter().map(|&part| part.to_owned()).collect(),
            body,
        }
    }
}

/// A body of a request.
pub(super) fn json_body(body: &serde_json::Value) -> Zeroizing<Vec<u8>> {
    Zeroizing::new(body.to_string().into_bytes())
}

/// A server and our token there.
pub(super) struct Session {
    server: VaultServer,
    login: VaultLogin,
    http: HttpClient,
    token: Mutex<Option<Arc<Token>>>,
    refused: Mutex<Option<RefusedLogin>>,
    logging_in: tokio::sync::Mutex<()>,
    /// What the server said of a token last.
    looked_up: tokio::sync::Mutex<Option<LookedUp>>,
    /// There is another token.
    is_new: Notify,
}

struct Token {
    text: Zeroizing<String>,
    had_at: Instant,
    /// From when it was had or renewed; `None`: for ever.
    lease: Option<Duration>,
    /// How much of its lease is used by the time when it is renewed.
    renewed_at: Option<Duration>,
    is_renewable: bool,
}

struct LookedUp {
    token: Arc<Token>,
    asked_at: Instant,
    is_known: bool,
}

struct RefusedLogin {
    /// What it said.
    said: Zeroizing<String>,
    /// Why, for the log.
    words: String,
    until: Instant,
    times: u32,
}

impl Token {
    fn has_ended(&self) -> bool {
        self.lease.is_some_and(|lease| self.had_at.elapsed() >= lease)
    }

    /// Had just now; `seconds` as the server gives them.
    fn new(text: Zeroizing<String>, seconds: u64, is_renewable: bool) -> Self {
        let lease = lease(seconds);
        Self {
            text,
            had_at: Instant::now(),
            lease,
            renewed_at: lease.map(part_before_renewal),
            is_renewable,
        }
    }

    fn renewed_after(&self) -> Option<Duration> {
        Some(self.renewed_at?.saturating_sub(self.had_at.elapsed()))
    }
}

impl Session {
    pub(super) fn new(server: VaultServer, login: VaultLogin) -> Self {
        Self {
            http: HttpClient::new(server.tls.clone(), Plaintext::Refused),
            server,
            login,
            token: Mutex::new(None),
            refused: Mutex::new(None),
            logging_in: tokio::sync::Mutex::new(()),
            looked_up: tokio::sync::Mutex::new(None),
            is_new: Notify::new(),
        }
    }

    /// Asks with a token. The answer is 403 only where the token is good.
    pub(super) async fn ask(&self, request: &VaultRequest) -> Result<HttpAnswer, KmsError> {
        let token = self.token(None).await?;
        let answer = self.send(request, Some(&token)).await?;
        if answer.status != StatusCode::FORBIDDEN || self.is_known(&token).await? {
            return Ok(answer);
        }
        let newer = self.token(Some(&token)).await?;
        let answer = self.send(request, Some(&newer)).await?;
        if answer.status != StatusCode::FORBIDDEN || self.is_known(&newer).await? {
            return Ok(answer);
        }
        Err(KmsError::CredentialsRefused(
            "it gives a token and does not know it a moment later".to_owned(),
        ))
    }

    /// Keeps a token for as long as it is dropped not. Nothing is asked before somebody needs one.
    pub(super) async fn keep(&self) {
        let mut again = RENEW_AGAIN;
        loop {
            let due = self.current().and_then(|token| token.renewed_after());
            let wait = due.unwrap_or(LOOK_INTERVAL).clamp(again, LOOK_INTERVAL);
            if timeout(wait, self.is_new.notified()).await.is_ok() {
                continue;
            }
            let Some(token) = self.current() else { continue };
            // VAULT-LOGIN-2: whatever comes of it.
            let is_due = token.renewed_after().is_some_and(|after| after.is_zero());
            let kept = if self.is_replaced(&token).await {
                Ok(false)
            } else if is_due {
                self.renew(&token).await
            } else {
                Ok(true)
            };
            let had = match kept {
                Ok(false) => self.token(Some(&token)).await.map(drop),
                Ok(true) => Ok(()),
                Err(error) => Err(error),
            };
            // Whoever is away, or asked too often, is asked less and less.
            again = match had {
                Err(KmsError::Throttled { after }) => after.clamp(again, RENEW_AGAIN_MAX),
                Err(_) => again.saturating_mul(2).min(RENEW_AGAIN_MAX),
                Ok(()) => RENEW_AGAIN,
            };
        }
    }

    /// The token at hand, unless it has ended or is `bad`; else one that is had now.
    async fn token(&self, bad: Option<&Arc<Token>>) -> Result<Arc<Token>, KmsError> {
        let good = || {
            let token = self.current()?;
            let is_bad = bad.is_some_and(|bad| bad.text == token.text) || token.has_ended();
            (!is_bad).then_some(token)
        };
        if let Some(token) = good() {
            return Ok(token);
        }
        let _alone = self.logging_in.lock().await;
        if let Some(token) = good() {
            return Ok(token);
        }
        let token = Arc::new(self.log_in().await?);
        *lock(&self.token) = Some(Arc::clone(&token));
        self.is_new.notify_one();
        Ok(token)
    }

    fn current(&self) -> Option<Arc<Token>> {
        lock(&self.token).clone()
    }

    async fn log_in(&self) -> Result<Token, KmsError> {
        let said = self.read_secret().await?;
        let times = match &*lock(&self.refused) {
            Some(refused) if refused.said == said && Instant::now() < refused.until => {
                return Err(KmsError::CredentialsRefused(refused.words.clone()));
            }
            Some(refused) if refused.said == said => refused.times,
            _ => 0,
        };
        let taken = match &self.login {
            VaultLogin::Token(_) => self.look_up(&said).await,
            _ => self.log_in_by(&said).await,
        };
        match &taken {
            Ok(_) => *lock(&self.refused) = None,
            Err(KmsError::CredentialsRefused(words)) => {
                *lock(&self.refused) = Some(RefusedLogin {
                    said,
                    words: words.clone(),
                    until: Instant::now() + back_off(times),
                    times: times.saturating_add(1),
                });
            }
            Err(_) => {}
        }
        taken
    }

    /// VAULT-LOGIN-3
    async fn read_secret(&self) -> Result<Zeroizing<String>, KmsError> {
        let login = self.login.clone();
        let shown = self.server.tls.as_ref().and_then(|tls| tls.client.as_ref());
        let certificate = shown.map(|files| files.certificate.clone());
        let read = spawn_blocking(move || match login {
            VaultLogin::Token(source)
            | VaultLogin::AppRole {
                secret_id: source, ..
            } => {
                let line = source.read_line().map_err(|error| error.to_string())?;
                line.ok_or_else(|| NO_SECRET.to_owned())
            }
            VaultLogin::Jwt { file, .. } => {
                let (bytes, _) =
                    durable_file::read(&file, JWT_BYTES_MAX).map_err(|error| error.to_string())?;
                let bytes = Zeroizing::new(bytes);
                let text = str::from_utf8(&bytes).map(|text| Zeroizing::new(text.trim().to_owned()));
                text.map_err(|_| format!("{} is no text", file.display()))
            }
            // What is not there is a fault of the call that shows it.
            VaultLogin::Certificate { .. } => Ok(certificate
                .and_then(|path| fs::read_to_string(path).ok())
                .map(Zeroizing::new)
                .unwrap_or_default()),
        });
        let read = read
            .await
            .map_err(|_| unavailable("no thread is left to read the secret"))?;
        read.map_err(KmsError::NoSecret)
    }

    /// Whether the file with the token has another one by now.
    async fn is_replaced(&self, token: &Token) -> bool {
        matches!(&self.login, VaultLogin::Token(SecretSource::File(_)))
            && self.read_secret().await.is_ok_and(|said| said != token.text)
    }

    async fn log_in_by(&self, said: &str) -> Result<Token, KmsError> {
        let (mount, body) = match &self.login {
            VaultLogin::AppRole { mount, role_id, .. } => (
                mount,
                serde_json::json!({ "role_id": role_id, "secret_id": said }),
            ),
            VaultLogin::Jwt { mount, role, .. } => (mount, serde_json::json!({ "role": role, "jwt": said })),
            VaultLogin::Certificate {
                mount,
                role: Some(role),
            } => (mount, serde_json::json!({ "name": role })),
            VaultLogin::Certificate { mount, role: None } => (mount, serde_json::json!({})),
            VaultLogin::Token(_) => return Err(unavailable("a token is no login")),
        };
        if matches!(&self.login, VaultLogin::Certificate { .. }) {
            // The connections that there are show the certificate that they were made with.
            self.http.drop_all();
        }
        let mut path = vec!["auth"];
        path.extend(mount.split('/'));
        path.push("login");
        let answer = self
            .send(
                &VaultRequest::new(Method::POST, &path, Some(json_body(&body))),
                None,
            )
            .await?;
        match answer.status {
            StatusCode::OK => Self::token_of(&answer.body),
            StatusCode::BAD_REQUEST | StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                Err(refused_login(&path.join("/"), &answer))
            }
            _ => Err(outage_of(&answer)),
        }
    }

    /// What there is to know of a token that stands somewhere.
    async fn look_up(&self, said: &Zeroizing<String>) -> Result<Token, KmsError> {
        #[derive(Deserialize)]
        struct LookUp {
            data: About,
        }
        #[derive(Deserialize)]
        struct About {
            ttl: u64,
            #[serde(default)]
            renewable: bool,
        }
        let token = Token::new(said.clone(), 0, false);
        let answer = self.send(&look_up_self(), Some(&token)).await?;
        match answer.status {
            StatusCode::OK => {
                let about: LookUp = serde_json::from_slice(&answer.body)
                    .map_err(|_| unavailable("its answer is not what it should be"))?;
                Ok(Token::new(token.text, about.data.ttl, about.data.renewable))
            }
            StatusCode::FORBIDDEN => Err(KmsError::CredentialsRefused(UNKNOWN_TOKEN.to_owned())),
            _ => Err(outage_of(&answer)),
        }
    }

    /// Whether the server knows the token, with which a call was just refused: then 403 is about what was asked for
    /// (VAULT-2).
    async fn is_known(&self, token: &Arc<Token>) -> Result<bool, KmsError> {
        let refused_at = Instant::now();
        let mut looked_up = self.looked_up.lock().await;
        // VAULT-LOGIN-5
        if let Some(last) = &*looked_up
            && Arc::ptr_eq(&last.token, token)
            && last.asked_at >= refused_at
        {
            return Ok(last.is_known);
        }
        let asked_at = Instant::now();
        let answer = self.send(&look_up_self(), Some(token)).await?;
        let is_known = match answer.status {
            StatusCode::OK => true,
            StatusCode::FORBIDDEN => false,
            _ => return Err(outage_of(&answer)),
        };
        *looked_up = Some(LookedUp {
            token: Arc::clone(token),
            asked_at,
            is_known,
        });
        Ok(is_known)
    }

    /// Whether the token is good for a while longer.
    async fn renew(&self, token: &Arc<Token>) -> Result<bool, KmsError> {
        if !token.is_renewable {
            return Ok(false);
        }
        let path = ["auth", "token", "renew-self"];
        let request = VaultRequest::new(Method::POST, &path, Some(json_body(&serde_json::json!({}))));
        let answer = self.send(&request, Some(token)).await?;
        match answer.status {
            StatusCode::OK => {}
            StatusCode::BAD_REQUEST | StatusCode::FORBIDDEN => return Ok(false),
            _ => return Err(outage_of(&answer)),
        }
        let renewed = Self::token_of(&answer.body)?;
        // Renewed for less than there was: its longest time is nearly over.
        let is_shorter = renewed.lease < token.lease && renewed.lease.is_some();
        let mut current = lock(&self.token);
        if current
            .as_ref()
            .is_some_and(|current| Arc::ptr_eq(current, token))
        {
            *current = Some(Arc::new(renewed));
        }
        Ok(!is_shorter || matches!(self.login, VaultLogin::Token(_)))
    }

    fn token_of(body: &[u8]) -> Result<Token, KmsError> {
        #[derive(Deserialize)]
        struct LoggedIn {
            auth: Auth,
        }
        #[derive(Deserialize)]
        struct Auth {
            client_token: String,
            lease_duration: u64,
            #[serde(default)]
            renewable: bool,
        }
        let LoggedIn { auth } = serde_json::from_slice(body)
            .map_err(|_| unavailable("its answer to the login is not what it should be"))?;
        let text = Zeroizing::new(auth.client_token);
        Ok(Token::new(text, auth.lease_duration, auth.renewable))
    }

    async fn send(&self, request: &VaultRequest, token: Option<&Token>) -> Result<HttpAnswer, KmsError> {
        let mut url = self.server.address.clone();
        url.path_segments_mut()
            .map_err(|()| unavailable("its address cannot be used"))?
            .pop_if_empty()
            .push("v1")
            .extend(&request.path);
        let mut call = HttpCall {
            method: request.method.clone(),
            url,
            headers: self.headers(token)?,
            body: request.body.as_ref().map(|body| body.as_slice()),
        };
        let answer = self.http.send(&call).await?;
        if !matches!(
            answer.status,
            StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT
        ) {
            return check_refusal(&answer).map(|()| answer);
        }
        call.url = self.elsewhere(&call.url, &answer)?;
        let answer = self.http.send(&call).await?;
        check_refusal(&answer).map(|()| answer)
    }

    /// VAULT-LOGIN-4
    fn elsewhere(&self, url: &Url, answer: &HttpAnswer) -> Result<Url, KmsError> {
        let location = answer.location().and_then(|to| url.join(to).ok());
        location
            .filter(|to| to.scheme() == url.scheme() && to.path() == url.path())
            .ok_or_else(|| unavailable("a standby sends the call to where it cannot go"))
    }

    fn headers(&self, token: Option<&Token>) -> Result<HeaderMap, KmsError> {
        let mut headers = HeaderMap::new();
        headers.insert("X-Vault-Request", HeaderValue::from_static("true"));
        let value = |text: &str| -> Result<HeaderValue, KmsError> {
            let mut value = HeaderValue::from_str(text)
                .map_err(|_| unavailable("a token or namespace cannot be sent"))?;
            value.set_sensitive(true);
            Ok(value)
        };
        if let Some(namespace) = &self.server.namespace {
            headers.insert("X-Vault-Namespace", value(namespace)?);
        }
        if let Some(token) = token {
            headers.insert("X-Vault-Token", value(&token.text)?);
        }
        Ok(headers)
    }
}

fn look_up_self() -> VaultRequest {
    VaultRequest::new(Method::GET, &["auth", "token", "lookup-self"], None)
}

/// Of a token; without one it never ends.
fn lease(seconds: u64) -> Option<Duration> {
    (seconds > 0).then(|| Duration::from_secs(seconds.min(LEASE_SECONDS_MAX)))
}

/// Between half and two thirds of a lease: proxies that were started together do not renew together.
fn part_before_renewal(lease: Duration) -> Duration {
    let mut drawn = [0];
    // Nothing secret comes of it. Without it: half.
    let _ = getrandom::fill(&mut drawn);
    let [drawn] = drawn;
    let half = lease.checked_div(2).unwrap_or_default();
    half.saturating_add(half.mul_f64(f64::from(drawn) / f64::from(u8::MAX) / 3.0))
}

/// VAULT-LOGIN-1
fn back_off(times: u32) -> Duration {
    let wait = BACK_OFF_MIN.saturating_mul(1_u32.checked_shl(times).unwrap_or(u32::MAX));
    wait.min(BACK_OFF_MAX)
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

const NO_SECRET: &str = "the secret for the login is empty, has several lines, or is no text";
const UNKNOWN_TOKEN: &str = "auth/token/lookup-self answers with status 403: the token is wrong or has ended, or no \
                             policy of it has read on that path, as the policy default has";
/// How often it is looked whether there is anything to do about a token.
const LOOK_INTERVAL: Duration = Duration::from_secs(10);
/// How soon after a renewal that came to nothing.
const RENEW_AGAIN: Duration = Duration::from_secs(1);
/// The same while the server is away, below [`LOOK_INTERVAL`]: a token is renewed when a third of its time or more is
/// left.
const RENEW_AGAIN_MAX: Duration = Duration::from_secs(8);
/// Vault locks an account for 15 minutes after five failures in a row.
const BACK_OFF_MIN: Duration = Duration::from_secs(5);
const BACK_OFF_MAX: Duration = Duration::from_secs(300);
/// Of a service account: a few hundred bytes of claims.
const JWT_BYTES_MAX: usize = 16 * 1024;
/// A hundred years.
const LEASE_SECONDS_MAX: u64 = 100 * 366 * 24 * 60 * 60;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn renewals_come_in_time_and_not_together() {
        let lease = Duration::from_secs(3600);
        let drawn: Vec<Duration> = (0..200).map(|_| part_before_renewal(lease)).collect();
        let first = drawn.iter().min().expect("there are some");
        let last = drawn.iter().max().expect("there are some");
        assert!(
            *first >= lease / 2 && *last <= lease * 2 / 3,
            "{first:?} to {last:?}"
        );
        assert!(*last - *first > lease / 10, "{first:?} to {last:?}");
    }
}
