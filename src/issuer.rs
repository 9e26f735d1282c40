//! Whoever issues tokens: key sets where they are published, and [tokens](token) for the proxy itself. Asked by HTTPS,
//! over which whoever is there has to show a certificate.
//!
//! - ISSUER-1: no answer is waited for longer than was said, or taken beyond what it may have. Neither proxies nor
//!   redirects are followed.
//!
//! Threads with a runtime; sets, secrets and certificates are read by threads that may take their time.
#![expect(clippy::disallowed_methods, reason = "no executor uses it")]

pub(crate) mod token;

use std::time::{Duration, SystemTime};

use reqwest::redirect::Policy;
use reqwest::{Client, RequestBuilder, Response, StatusCode};
use tokio::task::spawn_blocking;
use zeroize::Zeroizing;

use crate::config::KeySetUrl;
use crate::identity::sasl::oauthbearer::key_set::{KeySet, KeySetError, SET_BYTES_MAX};
use crate::transport::certificates::CertificateError;
use crate::transport::error_words::in_words;
use crate::transport::tls_client::{Trust, UpstreamTls};

/// Why there is no set.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FetchError {
    #[error("jwks_ca: {0}")]
    Trust(#[from] CertificateError),
    #[error("{0}")]
    Http(String),
    #[error("it answers with status {0}")]
    Status(StatusCode),
    #[error("its key set: {0}")]
    Set(#[from] KeySetError),
    #[error("no thread is left to read it")]
    NoThread,
}

/// Why there is no answer.
enum AskError {
    /// The certificates of whoever vouches for it cannot be used.
    Trust(CertificateError),
    Http(String),
    TooLong,
    NoThread,
}

impl From<AskError> for FetchError {
    fn from(error: AskError) -> Self {
        match error {
            AskError::Trust(error) => Self::Trust(error),
            AskError::Http(error) => Self::Http(error),
            AskError::TooLong => Self::Set(KeySetError::TooLong),
            AskError::NoThread => Self::NoThread,
        }
    }
}

impl From<reqwest::Error> for AskError {
    fn from(error: reqwest::Error) -> Self {
        Self::Http(in_words(&error.without_url()))
    }
}

/// Fetches a set.
pub(crate) async fn fetch(source: &KeySetUrl, at_most: Duration) -> Result<KeySet, FetchError> {
    let response = ask(&source.trust, at_most, |client| client.get(source.url.clone())).await?;
    if response.status() != StatusCode::OK {
        return Err(FetchError::Status(response.status()));
    }
    let bytes = body(response, SET_BYTES_MAX).await?;
    let keys = spawn_blocking(move || KeySet::parse(&bytes)).await;
    Ok(keys.map_err(|_| FetchError::NoThread)??)
}

/// Sends a request; the time is for the whole answer (ISSUER-1).
async fn ask(
    trust: &Trust,
    at_most: Duration,
    request: impl FnOnce(&Client) -> RequestBuilder,
) -> Result<Response, AskError> {
    let trust = trust.clone();
    let tls = spawn_blocking(move || UpstreamTls::trusting(trust).load(SystemTime::now()));
    let tls = tls.await.map_err(|_| AskError::NoThread)?;
    let tls = tls.map_err(AskError::Trust)?;
    let client = Client::builder()
        .tls_backend_preconfigured((*tls.config).clone())
        .https_only(true)
        .no_proxy()
        .redirect(Policy::none())
        .timeout(at_most)
        .build()?;
    Ok(request(&client).send().await?)
}

/// What is in an answer.
async fn body(mut response: Response, bytes_max: usize) -> Result<Zeroizing<Vec<u8>>, AskError> {
    let mut bytes = Zeroizing::new(Vec::new());
    while let Some(chunk) = response.chunk().await? {
        if bytes.len().saturating_add(chunk.len()) > bytes_max {
            return Err(AskError::TooLong);
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

/// From the first packet to the last byte.
pub(crate) const FETCH_TIMEOUT: Duration = Duration::from_secs(10);

#[cfg(test)]
pub(crate) mod tests {
    use std::fs;

    use super::*;
    use crate::testing::tokens::{SigningKey, key_set};
    use crate::testing::{HttpsServer, Published};

    /// One that says who vouches for it.
    pub(crate) struct Issuer {
        pub(crate) server: HttpsServer,
        pub(crate) folder: tempfile::TempDir,
    }

    impl Issuer {
        pub(crate) fn new(published: Published) -> Self {
            let server = HttpsServer::start(published);
            let folder = tempfile::TempDir::new().expect("a folder");
            fs::write(folder.path().join("ca.pem"), server.authority()).expect("written");
            Self { server, folder }
        }

        pub(crate) fn source(&self) -> KeySetUrl {
            KeySetUrl {
                url: self.server.url().parse().expect("a URL"),
                trust: Trust::File(self.folder.path().join("ca.pem")),
            }
        }

        async fn fetch(&self) -> Result<KeySet, FetchError> {
            fetch(&self.source(), Duration::from_secs(1)).await
        }
    }

    pub(crate) fn one_key() -> Published {
        Published::Text(key_set([&SigningKey::ec("k")]))
    }

    #[tokio::test]
    async fn a_set_is_fetched_from_whoever_is_vouched_for() {
        let issuer = Issuer::new(one_key());
        let keys = issuer.fetch().await.expect("it is published");
        assert!(keys.knows(Some("k")));
        let other = HttpsServer::start(one_key());
        fs::write(issuer.folder.path().join("ca.pem"), other.authority()).expect("written");
        let error = issuer.fetch().await.expect_err("nobody vouches for it");
        assert!(error.to_string().contains("certificate"), "{error}");
        assert_eq!(issuer.server.asked(), 1);
        fs::write(issuer.folder.path().join("ca.pem"), "").expect("written");
        assert!(matches!(issuer.fetch().await, Err(FetchError::Trust(_))));
    }

    /// ISSUER-1
    #[tokio::test]
    async fn what_is_no_set_is_not_taken() {
        let issuer = Issuer::new(Published::Text("<html>".to_owned()));
        assert!(matches!(
            issuer.fetch().await,
            Err(FetchError::Set(KeySetError::Malformed))
        ));
        issuer.server.publish(Published::Endless);
        assert!(matches!(
            issuer.fetch().await,
            Err(FetchError::Set(KeySetError::TooLong))
        ));
        for (answer, status) in [
            ("HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n".to_owned(), 503),
            (
                format!(
                    "HTTP/1.1 302 Found\r\nLocation: {}\r\nContent-Length: 0\r\n\r\n",
                    Issuer::new(one_key()).server.url()
                ),
                302,
            ),
        ] {
            issuer.server.publish(Published::Raw(answer));
            let fetched = issuer.fetch().await;
            assert!(matches!(fetched, Err(FetchError::Status(found)) if found.as_u16() == status));
        }
        for cut in [
            "",
            "nonsense\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{",
        ] {
            issuer.server.publish(Published::Raw(cut.to_owned()));
            assert!(
                matches!(issuer.fetch().await, Err(FetchError::Http(_))),
                "{cut:?}"
            );
        }
        issuer.server.publish(Published::Silence);
        let error = issuer.fetch().await.expect_err("it says nothing");
        assert!(error.to_string().contains("timed out"), "{error}");
    }
}
