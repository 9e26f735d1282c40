//! The file keystore: KEKs with versions and states in one JSON file, under a master key. Specified in
//! `docs/keystore.md`.
//!
//! ```text
//! bytes --Keystore::parse--> Keystore --authenticate(master secret)--> OpenKeystore --edit, to_json--> bytes
//! ```
//!
//! - KEYSTORE-1: nothing in the file decides anything before its MAC was verified: [`OpenKeystore`] is the proof of it.
//! - KEYSTORE-2: a hostile file costs bounded memory and time: its size, its key derivation and all counts are limited
//!   before they are acted on.
//! - a KEK is in clear only inside a [`crate::crypto::SecretKey`], for the time of one wrap or unwrap.
//! - a reader sees the old file or the new one, and two writers never overwrite each other: [`crate::durable_file`].
//!
//! Everything here blocks (files, Argon2id) and belongs to the command line and the control thread, never to an
//! executor.

mod contents;
mod document;
mod edit;
mod master_key;
pub(crate) mod succession;

pub use contents::{KEK_NAME_BYTES_MAX, KekState, KekVersion, Keystore, KeystoreKek, OpenKeystore};
pub use document::{FORMAT_VERSION, KEYSTORE_BYTES_MAX};
pub(crate) use document::{json_fault, read_versioned};
pub use master_key::{Argon2Parameters, KeyDerivation, MasterKeySource, MasterSecret, create_key_file};

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::durable_file::{self, FileError, FileIdentity, FileLock, Keeper};

/// Why a keystore could not be read, opened, changed or written. The messages are for the operator and hold no secrets.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeystoreError {
    /// A file cannot be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// There is one already, and `create` never overwrites.
    #[error("{} exists already; choose another path or move it away", .0.display())]
    Exists(PathBuf),
    /// What is wrong with a keystore file, with its name.
    #[error("{}: {source}", path.display())]
    Of {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: Box<KeystoreError>,
    },
    /// The content is no keystore of a known format.
    #[error("not a keystore that this version reads: {0}")]
    Format(String),
    /// The master key is not the one that the keystore was made with.
    #[error(
        "the master key or passphrase does not belong to this keystore: name the one that it was created with, or \
         restore the keystore that belongs to it"
    )]
    WrongMasterKey,
    /// The master key is right, the file was altered by something that does not have it.
    #[error(
        "the keystore was altered outside of `sealwire keystore` (its authentication code does not verify); restore it \
         from a backup"
    )]
    Altered,
    /// No master key was found where it should be, or it has not the right form.
    #[error("master key: {0}")]
    MasterKey(String),
    /// Others than the owner may read the secret.
    #[error(
        "{} can be accessed by others than its owner (mode {mode:04o}); run: chmod 0600 {}",
        path.display(),
        path.display()
    )]
    Permissions {
        /// The secret's file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Not a name that a KEK can have.
    #[error("{0:?} cannot name a key-encryption key: 1 to 255 printable ASCII characters without spaces")]
    KeystoreKek(String),
    /// `add` of a KEK that is there.
    #[error("there is a key-encryption key {0} already; `rotate` gives it a new version")]
    KekExists(String),
    /// No KEK of this name.
    #[error("there is no key-encryption key {0} in this keystore; `list` shows what there is")]
    KekUnknown(String),
    /// The KEK has no such version.
    #[error("key-encryption key {0} has no version {1}; `list` shows what there is")]
    VersionUnknown(String, u32),
    /// A destroyed version cannot be anything else any more.
    #[error("version {1} of key-encryption key {0} was destroyed; that cannot be undone")]
    VersionDestroyed(String, u32),
    /// The name that confirms a destruction is another one.
    #[error("--confirm must repeat the name {0}: destroying a key cannot be undone")]
    NotConfirmed(String),
    /// The keystore holds as many KEKs or versions as its format allows.
    #[error("the keystore is full: {0}")]
    Full(&'static str),
    /// The kernel gave no random bytes, or a cipher refused.
    #[error("cryptographic operation failed: {0}")]
    Crypto(&'static str),
}

impl KeystoreError {
    /// For `map_err`: which file it is that has something wrong with it.
    fn of(path: &Path) -> impl FnOnce(Self) -> Self {
        move |source| Self::Of {
            path: path.to_path_buf(),
            source: Box::new(source),
        }
    }

    pub(crate) fn file(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let failed = FileError::failed(what, path);
        move |source| Self::File(failed(source))
    }
}

/// Reads a keystore file. Blocks; at most [`KEYSTORE_BYTES_MAX`] bytes are read.
///
/// # Errors
/// [`KeystoreError::File`].
pub fn read_file(path: &Path) -> Result<(Vec<u8>, FileIdentity), KeystoreError> {
    Ok(durable_file::read(path, KEYSTORE_BYTES_MAX)?)
}

/// The right to change the keystore at `path`: whoever changes it holds this from before reading until after writing.
/// Waits for [`LOCK_PATIENCE`] at most.
///
/// # Errors
/// [`KeystoreError::File`].
pub fn lock_file(path: &Path) -> Result<FileLock, KeystoreError> {
    Ok(FileLock::acquire_within(path, Keeper::People, LOCK_PATIENCE)?)
}

/// Reads the keystore at `path` and verifies all of it. Blocks, with a passphrase for about a second (Argon2id).
///
/// # Errors
/// Any [`KeystoreError`] of reading and authenticating, with the file's name.
pub fn open_file(
    path: &Path,
    master_key: &MasterKeySource,
) -> Result<(OpenKeystore, FileIdentity), KeystoreError> {
    let (keystore, identity) = parse_file(path)?;
    let opened = keystore
        .authenticate(master_key.read()?)
        .map_err(KeystoreError::of(path))?;
    Ok((opened, identity))
}

/// Reads the keystore at `path`, which anybody may have written.
///
/// # Errors
/// [`KeystoreError::File`], [`KeystoreError::Of`].
pub fn parse_file(path: &Path) -> Result<(Keystore, FileIdentity), KeystoreError> {
    let (bytes, identity) = read_file(path)?;
    let keystore = Keystore::parse(&bytes).map_err(KeystoreError::of(path))?;
    Ok((keystore, identity))
}

/// A command that changes a keystore takes about a second with a passphrase.
const LOCK_PATIENCE: Duration = Duration::from_secs(10);

#[cfg(test)]
pub(crate) mod tests;
