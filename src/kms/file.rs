//! The file keystore as a KMS (provider 1): wraps DEKs under the keystore's KEKs and follows its file.
//!
//! ```text
//! kek      the KEK's name            version  shortest big-endian, no byte 0 in front
//! blob     nonce 12 | ciphertext 32 | tag 16: AES-256-GCM under the KEK, bound to
//!          "sealwire/keystore/1/dek" | the wrapped DEK's own bytes before the blob
//! ```
//!
//! - FILE-KMS-1: the file is looked at on every call, at most every [`LOOK_INTERVAL`], and every [`FOLLOW_INTERVAL`]
//!   without one.
//! - FILE-KMS-2: a file that is missing, broken, altered, another keystore or no successor of what is in force
//!   ([`super::keystore::succession`]) changes nothing: what was read before stays in force, and the log says so once
//!   for each such file.
//! - no lock is held across an await; nobody waits for the file but the one call that re-reads it, on the control
//!   thread: milliseconds at most for the largest keystore, and no Argon2id, since the derived keys are kept.
#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "the control thread and its tasks use it, executors never"
)]

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::{ArcSwap, Guard};
use async_trait::async_trait;

use super::keystore::succession::{self, NotASuccessor};
use super::keystore::{Keystore, KeystoreError, MasterKeySource, OpenKeystore, open_file, read_file};
use super::versions::{shortest, version_number};
use super::{GeneratedDek, KekNames, Kms, KmsError};
use crate::crypto::{SecretKey, unwrap_key, wrap_key};
use crate::durable_file::{FileError, FileIdentity};
use crate::envelope::WrappedDekError;
use crate::envelope::wrapped_dek::{WrappedDek, provider};

/// A keystore file in use.
pub struct FileKms {
    path: PathBuf,
    authority: [u8; 4],
    content: ArcSwap<OpenKeystore>,
    watch: Mutex<Watch>,
    stale: AtomicBool,
}

impl FileKms {
    /// Reads and verifies the keystore at `path`. Blocks, with a passphrase for about a second (Argon2id): to be called
    /// before executors run, or on a thread that may wait.
    ///
    /// # Errors
    /// Any [`KeystoreError`] of reading and authenticating.
    pub fn open(path: &Path, master_key: &MasterKeySource) -> Result<Self, KeystoreError> {
        let (content, identity) = open_file(path, master_key)?;
        Ok(Self {
            path: path.to_path_buf(),
            authority: content.authority(),
            content: ArcSwap::from_pointee(content),
            watch: Mutex::new(Watch {
                looked_at: Instant::now(),
                seen: Seen::File(identity),
                unread: None,
            }),
            stale: AtomicBool::new(false),
        })
    }

    /// The keystore as it was last read.
    #[cfg(test)]
    pub fn content(&self) -> Guard<Arc<OpenKeystore>> {
        self.content.load()
    }

    /// Looks whether the file changed and takes the change over. `now` is a parameter so that tests need not wait.
    pub fn follow_file(&self, now: Instant) {
        // Whoever holds the lock is doing just this; the content at hand is good enough meanwhile.
        let mut watch = match self.watch.try_lock() {
            Ok(watch) => watch,
            Err(std::sync::TryLockError::Poisoned(poisoned)) => PoisonError::into_inner(poisoned),
            Err(std::sync::TryLockError::WouldBlock) => return,
        };
        if now.saturating_duration_since(watch.looked_at) < LOOK_INTERVAL {
            return;
        }
        watch.looked_at = now;
        let found = FileIdentity::of(&self.path).map_or(Seen::Missing, Seen::File);
        if found == watch.seen && watch.unread.is_none() {
            return;
        }
        let again = self.read_again();
        self.stale.store(again.is_err(), Ordering::Relaxed);
        match again {
            Ok((content, identity)) => {
                watch.seen = Seen::File(identity);
                watch.unread = None;
                tracing::info!(
                    path = %self.path.display(),
                    revision = content.revision(),
                    "keystore changed and was read again"
                );
                self.say_enabled(&content);
                self.content.store(Arc::new(content));
            }
            Err(reason) => {
                // What could not be read is not seen: it is read at the next look, and told of once.
                let is_told = watch.unread.as_ref() == Some(&found);
                if reason.may_pass() {
                    watch.unread = Some(found);
                } else {
                    watch.seen = found;
                }
                if !is_told {
                    tracing::error!(
                        path = %self.path.display(),
                        %reason,
                        revision = self.content.load().revision(),
                        "the keystore changed but cannot be used; its former content stays in force"
                    );
                }
            }
        }
    }

    fn read_again(&self) -> Result<(OpenKeystore, FileIdentity), RereadError> {
        let (bytes, identity) = read_file(&self.path)?;
        let former = self.content.load();
        let content = Keystore::parse(&bytes)?.authenticate_with(former.master_keys())?;
        succession::check(&former, &content)?;
        Ok((content, identity))
    }

    /// Names what `next` makes usable again (SUCCESSION-2), in one line whose length is bounded.
    fn say_enabled(&self, next: &OpenKeystore) {
        let former = self.content.load();
        let mut enabled = succession::enabled(&former, next);
        let named: Vec<String> = enabled
            .by_ref()
            .take(ENABLED_NAMED_MAX)
            .map(|(name, number)| format!("{name} version {number}"))
            .collect();
        if !named.is_empty() {
            tracing::warn!(
                path = %self.path.display(),
                keks = named.join(", "),
                more = enabled.count(),
                "a key-encryption key that was disabled was enabled: if nobody meant to, a copy of the keystore was \
                 changed apart"
            );
        }
    }

    fn content_now(&self) -> Guard<Arc<OpenKeystore>> {
        self.follow_file(Instant::now());
        self.content.load()
    }

    fn generate(&self, kek: &str) -> Result<GeneratedDek, KmsError> {
        let dek = SecretKey::generate().map_err(|_| local_failure("no random bytes"))?;
        let wrapped = self.wrap_now(kek, &dek)?;
        Ok(GeneratedDek { dek, wrapped })
    }

    fn wrap_now(&self, kek: &str, dek: &SecretKey) -> Result<Box<[u8]>, KmsError> {
        let content = self.content_now();
        let number = content.current_version(kek)?;
        let key = content.unwrap_kek(kek, number)?;
        let number = number.to_be_bytes();
        let mut wrapped = WrappedDek {
            provider: provider::FILE_KEYSTORE,
            authority: self.authority,
            kek: kek.as_bytes(),
            version: shortest(&number),
            blob: &[],
        };
        let mut prefix = Vec::new();
        wrapped
            .write(&mut prefix)
            .map_err(|_| local_failure("a KEK's name is too long"))?;
        let blob = wrap_key(&key, &dek_aad(&prefix), dek)
            .map_err(|_| local_failure("a data key could not be wrapped"))?;
        wrapped.blob = &blob;
        let mut bytes = Vec::with_capacity(prefix.len().saturating_add(blob.len()));
        wrapped
            .write(&mut bytes)
            .map_err(|_| local_failure("a KEK's name is too long"))?;
        Ok(bytes.into_boxed_slice())
    }

    fn unwrap(&self, wrapped: &[u8]) -> Result<SecretKey, KmsError> {
        let WrappedDek {
            provider,
            authority,
            kek,
            version,
            blob,
        } = WrappedDek::parse(wrapped).map_err(|_: WrappedDekError| KmsError::Malformed)?;
        if provider != provider::FILE_KEYSTORE || authority != self.authority {
            return Err(KmsError::KekNotFound);
        }
        let kek = str::from_utf8(kek).map_err(|_| KmsError::KekNotFound)?;
        let number = version_number(version).ok_or(KmsError::Malformed)?;
        let key = self.content_now().unwrap_kek(kek, number)?;
        // The blob is a suffix of what it was parsed from.
        let prefix = wrapped.strip_suffix(blob).ok_or(KmsError::Malformed)?;
        unwrap_key(&key, &dek_aad(prefix), blob).map_err(|_| KmsError::Malformed)
    }
}

#[async_trait]
impl Kms for FileKms {
    fn kek_names(&self) -> KekNames {
        KekNames::as_written(provider::FILE_KEYSTORE, self.authority)
    }

    async fn generate_dek(&self, kek: &str) -> Result<GeneratedDek, KmsError> {
        self.generate(kek)
    }

    async fn wrap(&self, kek: &str, key: &SecretKey) -> Result<Box<[u8]>, KmsError> {
        self.wrap_now(kek, key)
    }

    async fn unwrap_dek(&self, wrapped: &[u8]) -> Result<SecretKey, KmsError> {
        self.unwrap(wrapped)
    }

    async fn recheck(&self, wrapped: &[u8]) -> Result<SecretKey, KmsError> {
        self.unwrap(wrapped)
    }

    async fn background(&self) {
        loop {
            tokio::time::sleep(FOLLOW_INTERVAL).await;
            self.follow_file(Instant::now());
        }
    }

    fn wraps_publicly(&self) -> bool {
        false
    }

    async fn current_version(&self, kek: &str) -> Result<Option<Vec<u8>>, KmsError> {
        let number = self.content_now().current_version(kek)?;
        Ok(Some(shortest(&number.to_be_bytes()).to_vec()))
    }

    fn is_stale(&self) -> bool {
        self.stale.load(Ordering::Relaxed)
    }

    fn version_poll_interval(&self) -> Duration {
        Duration::from_secs(1)
    }

    fn recheck_interval(&self) -> Duration {
        Duration::from_secs(1)
    }

    fn verdict_memory(&self) -> Duration {
        Duration::from_secs(1)
    }
}

/// What is known of the file; compared with what is found at the next look.
struct Watch {
    looked_at: Instant,
    seen: Seen,
    /// What was found since and could not be read.
    unread: Option<Seen>,
}

#[derive(PartialEq, Eq)]
enum Seen {
    Missing,
    File(FileIdentity),
}

#[derive(Debug, thiserror::Error)]
enum RereadError {
    #[error(transparent)]
    Keystore(#[from] KeystoreError),
    #[error(transparent)]
    Successor(#[from] NotASuccessor),
}

impl RereadError {
    /// Whether the same file may be read in a moment: the system would not let it be read.
    fn may_pass(&self) -> bool {
        matches!(
            self,
            Self::Keystore(KeystoreError::File(FileError::Failed { .. }))
        )
    }
}

fn dek_aad(prefix: &[u8]) -> Vec<u8> {
    [b"sealwire/keystore/1/dek".as_slice(), prefix].concat()
}

fn local_failure(what: &str) -> KmsError {
    KmsError::Unavailable(what.to_owned())
}

/// How often the file is looked at when no call does: well within the second in which a change is to be in force.
const FOLLOW_INTERVAL: Duration = Duration::from_millis(250);

/// Shortest time between two looks at the file: thousands of unwraps must not be thousands of stat calls.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);

/// Versions that one line about enabled ones names.
const ENABLED_NAMED_MAX: usize = 10;

#[cfg(test)]
mod tests;
