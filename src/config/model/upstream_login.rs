//! `[cluster.NAME.upstream_login]`: whom brokers see.

use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::broker_login::{AccountsError, BrokerAccounts};
use crate::durable_file::{self, FileError};

/// Whom brokers see, where the proxy itself logs in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UpstreamLogin {
    /// An account for each principal, by this file.
    PerPrincipal(PathBuf),
}

/// Why a file of accounts cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AccountsFileError {
    /// It cannot be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// What is in it.
    #[error("{}: {error}", path.display())]
    Content {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        error: AccountsError,
    },
}

/// Reads a file of accounts; what `before` held as well is kept. It blocks.
///
/// # Errors
/// [`AccountsFileError`].
pub fn read_accounts(path: &Path, before: &BrokerAccounts) -> Result<BrokerAccounts, AccountsFileError> {
    let (bytes, _) = durable_file::read(path, FILE_BYTES_MAX)?;
    let bytes = Zeroizing::new(bytes);
    BrokerAccounts::parse(&String::from_utf8_lossy(&bytes), before).map_err(|error| {
        AccountsFileError::Content {
            path: path.to_path_buf(),
            error,
        }
    })
}

/// Ten thousand accounts, with 400 bytes each.
const FILE_BYTES_MAX: usize = 4 * 1024 * 1024;
