//! `[cluster.NAME.listeners.sasl]`.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use reqwest::Url;

use crate::durable_file::{self, FileError};
use crate::identity::sasl::credentials::{Credentials, CredentialsError};
use crate::identity::sasl::exchange::LoginMechanism;
use crate::identity::sasl::oauthbearer::key_set::{KeySet, KeySetError, SET_BYTES_MAX};
use crate::identity::sasl::oauthbearer::token::TokenRules;
use crate::transport::tls_client::Trust;

/// How clients log in at a listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenerSasl {
    /// Who may log in with a password, if anybody.
    pub credentials: Option<PathBuf>,
    /// Which ways there are, the preferred first; no way twice.
    pub mechanisms: Vec<LoginMechanism>,
    /// For how long a login is good at most; `None`: as long as its connection.
    pub session_lifetime: Option<Duration>,
    /// Which tokens are taken, with [`LoginMechanism::OauthBearer`].
    pub oauthbearer: Option<OauthBearerConfig>,
}

/// Which tokens are taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OauthBearerConfig {
    /// Whose signatures they have to bear.
    pub keys: KeySetSource,
    /// What they have to say.
    pub rules: Arc<TokenRules>,
}

/// Where a JSON Web Key Set is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeySetSource {
    /// In this file.
    File(PathBuf),
    /// Where its issuer publishes it.
    Url(KeySetUrl),
}

/// A key set that is fetched by HTTPS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeySetUrl {
    /// Where it is.
    pub url: Url,
    /// Who vouches for whoever is there.
    pub trust: Trust,
}

/// Why a credentials file cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CredentialsFileError {
    /// It cannot be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// What is in it.
    #[error("{}: {error}", path.display())]
    Content {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        error: CredentialsError,
    },
}

/// Why a key set cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeySetFileError {
    /// It cannot be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// What is in it.
    #[error("{}: {error}", path.display())]
    Content {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        error: KeySetError,
    },
}

/// Reads a JSON Web Key Set. It blocks.
///
/// # Errors
/// [`KeySetFileError`].
pub fn read_key_set(path: &Path) -> Result<KeySet, KeySetFileError> {
    let (bytes, _) = durable_file::read(path, SET_BYTES_MAX)?;
    KeySet::parse(&bytes).map_err(|error| KeySetFileError::Content {
        path: path.to_path_buf(),
        error,
    })
}

/// Reads a credentials file. It blocks.
///
/// # Errors
/// [`CredentialsFileError`].
pub fn read_credentials(path: &Path) -> Result<Credentials, CredentialsFileError> {
    let (bytes, _) = durable_file::read(path, FILE_BYTES_MAX)?;
    Credentials::parse(&String::from_utf8_lossy(&bytes)).map_err(|error| CredentialsFileError::Content {
        path: path.to_path_buf(),
        error,
    })
}

/// That of the file, for as many users as there may be.
const FILE_BYTES_MAX: usize = 64 * 1024 * 1024;
