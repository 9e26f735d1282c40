//! From what the configuration says of a KMS to the KMS: the one place that knows all providers.

use std::path::PathBuf;
use std::sync::Arc;

use super::Kms;
#[cfg(feature = "kms-aws")]
use super::aws::{AwsKms, AwsSettings};
use super::file::FileKms;
use super::keystore::{KeystoreError, MasterKeySource};
#[cfg(feature = "kms-vault")]
use super::vault::{VaultKms, VaultSettings};

/// What a KMS is and how it is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum KmsKind {
    /// The file keystore.
    File {
        /// The keystore.
        path: PathBuf,
        /// What unwraps it.
        master_key: MasterKeySource,
    },
    /// AWS KMS.
    #[cfg(feature = "kms-aws")]
    Aws(Box<AwsSettings>),
    /// The transit engine of a Vault.
    #[cfg(feature = "kms-vault")]
    Vault(Box<VaultSettings>),
}

impl KmsKind {
    /// Opens it; one in a network is not connected to. Blocks: to be called before executors run, or on a thread that
    /// may wait.
    ///
    /// # Errors
    /// What [`FileKms::open`] says.
    pub fn open(&self) -> Result<Arc<dyn Kms>, KeystoreError> {
        Ok(match self {
            Self::File { path, master_key } => Arc::new(FileKms::open(path, master_key)?),
            #[cfg(feature = "kms-aws")]
            Self::Aws(settings) => Arc::new(AwsKms::new((**settings).clone())),
            #[cfg(feature = "kms-vault")]
            Self::Vault(settings) => Arc::new(VaultKms::new((**settings).clone())),
        })
    }
}

/// Providers that this program has.
pub const PROVIDERS: &[&str] = &[
    "file",
    #[cfg(feature = "kms-aws")]
    "aws",
    #[cfg(feature = "kms-vault")]
    "vault",
];

/// Providers that a program of this version can be built with, with the feature that each needs.
pub const FEATURES: [(&str, &str); 2] = [("aws", "kms-aws"), ("vault", "kms-vault")];
