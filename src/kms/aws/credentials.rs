//! The proxy's credentials at AWS, apart from the calls that they sign (AWS-3): from the SDK's chain of sources, which
//! reads files and asks servers.
#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "the control thread uses it, executors never"
)]

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use aws_config::Region;
use aws_config::profile::ProfileFileCredentialsProvider;
use aws_config::provider_config::ProviderConfig;
use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider, future};
use aws_runtime::env_config::file::{EnvConfigFileKind, EnvConfigFiles};

use super::AwsSettings;
use super::transport::SdkTransport;
use crate::kms::KmsError;
use crate::kms::http::unavailable;

/// See the module.
pub(super) struct KeptCredentials {
    source: CredentialsSource,
    kept: Mutex<Kept>,
    /// One at a time.
    having: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct Kept {
    current: Option<Credentials>,
    /// Counts those that there were.
    generation: u64,
    /// When it was last tried to have others ahead of need.
    ahead_at: Option<Instant>,
    /// When the source had none but those that were refused.
    same_at: Option<Instant>,
    /// When it gave none, and why.
    failed: Option<(Instant, KmsError)>,
}

impl KeptCredentials {
    pub(super) fn of(source: CredentialsSource) -> Self {
        Self {
            source,
            kept: Mutex::default(),
            having: tokio::sync::Mutex::new(()),
        }
    }

    /// As the SDK takes it.
    pub(super) fn shared(kept: &Arc<Self>) -> SharedCredentialsProvider {
        SharedCredentialsProvider::new(AtHand(Arc::clone(kept)))
    }

    /// Sees to it that there are some; gives which.
    pub(super) async fn have(&self) -> Result<u64, KmsError> {
        if let Some(generation) = self.good() {
            return Ok(generation);
        }
        let _alone = self.having.lock().await;
        if let Some(generation) = self.good() {
            return Ok(generation);
        }
        if let Some((at, error)) = &self.kept().failed
            && at.elapsed() < FAILED_FOR
        {
            return Err(error.clone());
        }
        self.load().await
    }

    /// Others than these, which were refused; whether there are.
    pub(super) async fn renew(&self, refused: u64) -> bool {
        let _alone = self.having.lock().await;
        let before = {
            let kept = self.kept();
            if kept.generation != refused {
                return true;
            }
            let failed_at = kept.failed.as_ref().map(|(at, _)| *at);
            if is_recent(failed_at) || is_recent(kept.same_at) {
                return false;
            }
            kept.current.clone()
        };
        if self.load().await.is_err() {
            return false;
        }
        let mut kept = self.kept();
        let is_new = !are_same(kept.current.as_ref(), before.as_ref());
        kept.same_at = (!is_new).then(Instant::now);
        is_new
    }

    /// Has others ahead of the end of those that there are, once somebody has needed some.
    pub(super) async fn keep(&self) {
        loop {
            tokio::time::sleep(LOOK_INTERVAL).await;
            let is_due = {
                let kept = self.kept();
                let ends = kept.current.as_ref().and_then(Credentials::expiry);
                !is_recent(kept.ahead_at)
                    && ends.is_some_and(|ends| {
                        // In the past there is nothing left.
                        ends.duration_since(SystemTime::now()).unwrap_or_default() < AHEAD
                    })
            };
            if is_due {
                let _alone = self.having.lock().await;
                // Those that there are go on to be used. What is new may end as soon, or be the same.
                let _ = self.load().await;
                self.kept().ahead_at = Some(Instant::now());
            }
        }
    }

    fn good(&self) -> Option<u64> {
        let kept = self.kept();
        let current = kept.current.as_ref()?;
        let has_ended = current.expiry().is_some_and(|ends| ends <= SystemTime::now());
        (!has_ended).then_some(kept.generation)
    }

    async fn load(&self) -> Result<u64, KmsError> {
        let loaded = self.ask().await;
        let mut kept = self.kept();
        match loaded {
            Ok(credentials) => {
                kept.failed = None;
                kept.current = Some(credentials);
                kept.generation = kept.generation.wrapping_add(1);
                Ok(kept.generation)
            }
            Err(error) => {
                kept.failed = Some((Instant::now(), error.clone()));
                Err(error)
            }
        }
    }

    async fn ask(&self) -> Result<Credentials, KmsError> {
        // What the SDK says may repeat an answer.
        let loaded = tokio::time::timeout(LOAD_TIMEOUT, self.source.ask()).await;
        loaded
            .map_err(|_| unavailable("no credentials of the proxy's own could be had in time"))?
            .map_err(|error| match error {
                CredentialsError::CredentialsNotLoaded(_) => unavailable(NONE),
                CredentialsError::InvalidConfiguration(_) => {
                    unavailable("the configuration of the proxy's own credentials is not right")
                }
                _ => unavailable("whoever gives the proxy's own credentials does not"),
            })
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_recent(at: Option<Instant>) -> bool {
    at.is_some_and(|at| at.elapsed() < AGAIN_AFTER)
}

fn are_same(one: Option<&Credentials>, other: Option<&Credentials>) -> bool {
    let parts = |credentials: &Credentials| {
        let token = credentials.session_token().map(str::to_owned);
        (
            credentials.access_key_id().to_owned(),
            credentials.secret_access_key().to_owned(),
            token,
        )
    };
    one.map(parts) == other.map(parts)
}

/// Where they come from: the SDK's chain of sources, or one file. It is built anew each time, since it reads files
/// once.
pub(super) struct CredentialsSource {
    region: Region,
    profile: Option<String>,
    file: Option<PathBuf>,
    transport: SdkTransport,
}

impl CredentialsSource {
    pub(super) fn new(settings: &AwsSettings, transport: SdkTransport) -> Self {
        Self {
            region: Region::new(settings.region.clone()),
            profile: settings.profile.clone(),
            file: settings.credentials_file.clone(),
            transport,
        }
    }

    async fn ask(&self) -> Result<Credentials, CredentialsError> {
        let mut loader = aws_config::defaults(super::behavior())
            .http_client(self.transport.clone())
            .region(self.region.clone());
        // What the configuration names is meant, and nothing instead: the chain would pass over a profile that is not
        // there, and take what the environment has before any.
        if self.profile.is_some() || self.file.is_some() {
            // Profiles may assume a role, which asks somebody.
            let asking = ProviderConfig::without_region()
                .with_region(Some(self.region.clone()))
                .with_behavior_version(Some(super::behavior()))
                .with_http_client(self.transport.clone());
            let mut source = ProfileFileCredentialsProvider::builder().configure(&asking);
            if let Some(file) = &self.file {
                let files = EnvConfigFiles::builder().with_file(EnvConfigFileKind::Credentials, file);
                source = source.profile_files(files.build());
            }
            if let Some(profile) = &self.profile {
                source = source.profile_name(profile);
            }
            loader = loader.credentials_provider(source.build());
        }
        let loaded = loader.load().await;
        let source = loaded.credentials_provider();
        let source = source.ok_or_else(|| CredentialsError::not_loaded(NONE))?;
        source.provide_credentials().await
    }
}

/// Gives what is at hand, and asks nobody.
struct AtHand(Arc<KeptCredentials>);

impl fmt::Debug for AtHand {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("AtHand")
    }
}

impl ProvideCredentials for AtHand {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        let current = self.0.kept().current.clone();
        future::ProvideCredentials::ready(current.ok_or_else(|| CredentialsError::not_loaded(NONE)))
    }
}

const NONE: &str =
    "there are no credentials of the proxy's own: none in the environment, a profile, or from the host";
/// Of the sources that ask somebody, STS has the slowest.
const LOAD_TIMEOUT: Duration = Duration::from_secs(8);
/// Before they end: as long as the SDK's own sources are willing to give new ones.
const AHEAD: Duration = Duration::from_secs(5 * 60);
const AGAIN_AFTER: Duration = Duration::from_secs(5);
/// For whoever needs some and has none: sources in turn may take seconds, for each call anew.
const FAILED_FOR: Duration = Duration::from_secs(2);
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
