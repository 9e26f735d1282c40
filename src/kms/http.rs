//! A KMS in a network, spoken to by HTTP/1.1.
//!
//! - HTTP-1: a call ends within [`CALL_TIMEOUT`], connecting within [`CONNECT_TIMEOUT`], whatever the server does.
//! - HTTP-2: no proxy is used and no redirect followed by itself: where calls go is what the configuration says.
//! - HTTP-3: no more of an answer is taken than [`ANSWER_BYTES_MAX`], and what was taken is wiped.
//! - HTTP-4: calls are rare, so most meet a connection that has been idle: what a middle box has silently cut is found
//!   out by the first. A call whose connection fails is made once more, by a client that has no connections yet. A
//!   client that failed is not used again, and none longer than [`CLIENT_LIFE`]: files of certificates are read anew.
//!
//! The control thread.
#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "the control thread uses it, executors never"
)]

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use reqwest::header::HeaderMap;
#[cfg(feature = "kms-vault")]
use reqwest::header::{HeaderName, LOCATION, RETRY_AFTER};
use reqwest::redirect::Policy;
use reqwest::{Body, Client, Method, StatusCode, Url};
use rustls::{ClientConfig, RootCertStore};
use tokio::task::spawn_blocking;
use zeroize::Zeroizing;

use super::KmsError;
use crate::transport::error_words::in_words;
use crate::transport::suites::TlsChoice;
use crate::transport::tls_client::UpstreamTls;

/// Calls to one KMS.
pub(super) struct HttpClient {
    /// Without it the server is spoken to in plain HTTP.
    tls: Option<UpstreamTls>,
    plaintext: Plaintext,
    current: Mutex<Option<Arc<Made>>>,
}

/// Whether calls may go without TLS, where there is TLS.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Plaintext {
    /// To nobody.
    Refused,
    /// To servers of this host or this network that have none.
    #[cfg(feature = "kms-aws")]
    Allowed,
}

struct Made {
    client: Client,
    at: Instant,
}

/// What is asked. What it holds may be secret.
pub(super) struct HttpCall<'a> {
    pub(super) method: Method,
    pub(super) url: Url,
    pub(super) headers: HeaderMap,
    pub(super) body: Option<&'a [u8]>,
}

/// What was answered. The body may be secret, and is for no log.
pub(super) struct HttpAnswer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Zeroizing<Vec<u8>>,
}

#[cfg(feature = "kms-vault")]
impl HttpAnswer {
    /// For how long the server wants to be left alone.
    pub(super) fn retry_after(&self) -> Option<Duration> {
        self.text(RETRY_AFTER)?.parse().ok().map(Duration::from_secs)
    }

    /// Where the server sends the call.
    pub(super) fn location(&self) -> Option<&str> {
        self.text(LOCATION)
    }

    fn text(&self, name: HeaderName) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

impl HttpClient {
    pub(super) fn new(tls: Option<UpstreamTls>, plaintext: Plaintext) -> Self {
        Self {
            tls,
            plaintext,
            current: Mutex::new(None),
        }
    }

    /// Makes one call.
    ///
    /// # Errors
    /// [`KmsError::Unavailable`].
    pub(super) async fn send(&self, call: &HttpCall<'_>) -> Result<HttpAnswer, KmsError> {
        match tokio::time::timeout(CALL_TIMEOUT, self.send_or_again(call)).await {
            Ok(answer) => answer,
            Err(_) => {
                self.drop_all();
                Err(unavailable("no answer in time"))
            }
        }
    }

    async fn send_or_again(&self, call: &HttpCall<'_>) -> Result<HttpAnswer, KmsError> {
        let made = self.client().await?;
        let error = match send_by(&made.client, call).await {
            Ok(answer) => return Ok(answer),
            Err(error) => error,
        };
        self.drop_failed(&made);
        // What could not be connected to a moment ago is not there; what was too long would be so again.
        if matches!(error, Failure::Connect(_) | Failure::TooLong) {
            return Err(error.into());
        }
        let made = self.client().await?;
        send_by(&made.client, call).await.map_err(|error| {
            self.drop_failed(&made);
            error.into()
        })
    }

    async fn client(&self) -> Result<Arc<Made>, KmsError> {
        if let Some(made) = &*self.current()
            && made.at.elapsed() < CLIENT_LIFE
        {
            return Ok(Arc::clone(made));
        }
        let made = Arc::new(Made {
            client: self.make().await?,
            at: Instant::now(),
        });
        *self.current() = Some(Arc::clone(&made));
        Ok(made)
    }

    async fn make(&self) -> Result<Client, KmsError> {
        let mut builder = Client::builder()
            .no_proxy()
            .redirect(Policy::none())
            .connect_timeout(CONNECT_TIMEOUT)
            .pool_idle_timeout(IDLE_MAX);
        builder = if let Some(tls) = self.tls.clone() {
            let loaded = spawn_blocking(move || tls.load(SystemTime::now())).await;
            let set = loaded
                .map_err(|_| unavailable("no thread is left to read its certificates"))?
                .map_err(|error| unavailable(&error.to_string()))?;
            builder
                .tls_backend_preconfigured((*set.config).clone())
                .https_only(self.plaintext == Plaintext::Refused)
        } else {
            // Without one of ours it looks for one of the process, which there is not.
            builder.tls_backend_preconfigured(trusting_nobody()?)
        };
        builder
            .build()
            .map_err(|error| unavailable(&in_words(&error.without_url())))
    }

    fn drop_failed(&self, failed: &Arc<Made>) {
        let mut current = self.current();
        if current.as_ref().is_some_and(|made| Arc::ptr_eq(made, failed)) {
            *current = None;
        }
    }

    /// Has the next call make connections of its own, by what the files say then.
    pub(super) fn drop_all(&self) {
        *self.current() = None;
    }

    fn current(&self) -> std::sync::MutexGuard<'_, Option<Arc<Made>>> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn send_by(client: &Client, call: &HttpCall<'_>) -> Result<HttpAnswer, Failure> {
    let mut request = client
        .request(call.method.clone(), call.url.clone())
        .headers(call.headers.clone());
    if let Some(body) = call.body {
        request = request.body(Body::from(bytes::Bytes::from_owner(Zeroizing::new(
            body.to_vec(),
        ))));
    }
    let mut response = request.send().await?;
    let headers = std::mem::take(response.headers_mut());
    // Room for all that is ever expected at once: growing would leave copies behind.
    let mut body = Zeroizing::new(Vec::with_capacity(ANSWER_BYTES_USUAL));
    while let Some(chunk) = response.chunk().await? {
        if body.len().saturating_add(chunk.len()) > ANSWER_BYTES_MAX {
            return Err(Failure::TooLong);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(HttpAnswer {
        status: response.status(),
        headers,
        body,
    })
}

enum Failure {
    Connect(String),
    Broken(String),
    TooLong,
}

impl From<reqwest::Error> for Failure {
    fn from(error: reqwest::Error) -> Self {
        let is_connect = error.is_connect();
        let words = in_words(&error.without_url());
        if is_connect {
            Self::Connect(words)
        } else {
            Self::Broken(words)
        }
    }
}

impl From<Failure> for KmsError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Connect(words) | Failure::Broken(words) => Self::Unavailable(words),
            Failure::TooLong => unavailable("its answer is longer than any that is expected"),
        }
    }
}

pub(super) fn unavailable(what: &str) -> KmsError {
    KmsError::Unavailable(what.to_owned())
}

fn trusting_nobody() -> Result<ClientConfig, KmsError> {
    let choice = TlsChoice::default();
    let builder = ClientConfig::builder_with_provider(choice.provider())
        .with_protocol_versions(&choice.versions())
        .map_err(|_| unavailable("there are no versions of TLS"))?;
    Ok(builder
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth())
}

/// Of one call, both tries included: a KMS answers within milliseconds, and the key service waits 10 s for all that it
/// takes to make one, a login included.
pub(super) const CALL_TIMEOUT: Duration = Duration::from_secs(4);
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// A connection keeps the answer that it brought last in its buffers, a data key in clear among it, until it ends. Load
/// balancers cut what is idle for a minute or more.
const IDLE_MAX: Duration = Duration::from_secs(3);
const CLIENT_LIFE: Duration = Duration::from_secs(60);
const ANSWER_BYTES_MAX: usize = 64 * 1024;
const ANSWER_BYTES_USUAL: usize = 4 * 1024;
