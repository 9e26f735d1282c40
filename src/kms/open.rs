//! From what the configuration says of a KMS to the KMS: the one place that knows all providers.

use std::path::PathBuf;
use std::sync::Arc;

use super::Kms;
use super::file::FileKms;
use super::keystore::{KeystoreError, MasterKeySource};

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
}

impl KmsKind {
    /// Opens it. Blocks: to be called before executors run, or on a thread that may wait.
    ///
    /// # Errors
    /// What [`FileKms::open`] says.
    pub fn open(&self) -> Result<Arc<dyn Kms>, KeystoreError> {
        let Self::File { path, master_key } = self;
        Ok(Arc::new(FileKms::open(path, master_key)?))
    }
}
