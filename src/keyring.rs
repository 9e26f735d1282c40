//! The keyring: stable keys, under which record keys are sealed, wrapped by KMSs, and which domain has which. One JSON
//! file that all instances share; specified in `docs/keyring.md`.
//!
//! ```text
//! bytes --Keyring::parse--> Keyring --edit, to_json--> bytes
//!                              |
//!                              +--KeyringKey::open(what its KMS unwraps)--> crate::keys::StableKeys
//! ```
//!
//! - KEYRING-1: a hostile file costs bounded memory and time, and never panics.
//! - KEYRING-2: a key is used only once it was compared with what the keyring says of it: an id never stands for
//!   another key than the one that it was made for.
//! - KEYRING-3: the stable key of a domain never changes, and is never taken from it, unless whoever does so says that
//!   the topic is new, or gone.
//! - stable keys are in clear only in a [`crate::crypto::SecretKey`].
//!
//! Reading and writing blocks: that belongs to the command line and the control thread. What was opened any thread may
//! hold.

#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]

mod document;
mod edit;
mod unwrap;

use std::path::{Path, PathBuf};
use std::time::Duration;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{Context, SHA256};

pub use self::document::{FORMAT_VERSION, KEYRING_BYTES_MAX};
pub use self::edit::Assigned;
pub(crate) use self::unwrap::{KmsByName, NotOpened, kek_text};
use crate::crypto::{CryptoError, KEY_CHECK_BYTES, SecretKey, key_check};
use crate::durable_file::{self, FileError, FileIdentity, FileLock, Keeper};
use crate::envelope::{StableKeyId, WrappedDek};
use crate::foreign::{Foreign, shell_word};
use crate::rules::{Matcher, MatcherError};

/// Why a keyring could not be read, changed or written. The messages are for the operator and hold no secrets.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyringError {
    /// A file cannot be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// There is one already, and `create` never overwrites.
    #[error("{} exists already; choose another path or move it away", .0.display())]
    Exists(PathBuf),
    /// What is wrong with a keyring file, with its name.
    #[error("{}: {source}", path.display())]
    Of {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: Box<KeyringError>,
    },
    /// The content is no keyring of a known format.
    #[error("not a keyring that this version reads: {0}")]
    Format(String),
    /// What was unwrapped is not the key that the keyring means.
    #[error(
        "what the KMS unwrapped is not the stable key {0}: the keyring was altered, or the KMS is not the one that \
         wrapped it; restore the keyring from a backup"
    )]
    WrongKey(StableKeyId),
    /// A cipher refused.
    #[error(transparent)]
    Crypto(#[from] CryptoError),
    /// Not a name that a stable key can have.
    #[error(
        "{0:?} cannot name a stable key: 1 to 255 printable ASCII characters without spaces, and nothing that could be \
         an id (8 hexadecimal digits)"
    )]
    Name(String),
    /// There is such a key.
    #[error("the keyring has a stable key {0} already; choose another name")]
    KeyExists(String),
    /// One new key in four thousand millions has the id of another one.
    #[error("the new stable key happens to have the id of {0}; run the command again")]
    IdExists(String),
    /// No key of this name or id.
    #[error("the keyring has no stable key {key:?}; it has: {known}")]
    KeyUnknown {
        /// What was asked for.
        key: String,
        /// Names of some that it has.
        known: String,
    },
    /// What should match domains does not.
    #[error("the domain {text:?} {source}")]
    Pattern {
        /// What was written.
        text: String,
        /// What is wrong with it.
        source: MatcherError,
    },
    /// Longer than any domain.
    #[error("a domain has 65535 bytes at most")]
    DomainLength,
    /// No pin takes the domain.
    #[error("{domain:?} has no stable key, so that nothing is sealed there; next: {next}")]
    NoPin {
        /// The domain.
        domain: String,
        /// What [`Keyring::next_for`] says.
        next: String,
    },
    /// There is no pin of this text.
    #[error("there is no pin {domain:?}{but}")]
    PinUnknown {
        /// What was to be taken away.
        domain: String,
        /// Which pin takes the domain, if one does.
        but: String,
    },
    /// Without its pin a domain has no stable key, or another one (KEYRING-3).
    #[error(
        "without the pin {domain:?} records that are sealed with its stable key {key} do not open, and none can be \
         written; if no topic that it takes has records any more, say --topic-is-gone"
    )]
    MayLive {
        /// The pin's text.
        domain: String,
        /// Its key.
        key: StableKeyId,
    },
    /// A key is not taken from the domains that have it.
    #[error(
        "the stable key {key} is that of the pin {pin:?}: take the pin away first (sealwire keyring unassign)"
    )]
    StillPinned {
        /// The key.
        key: StableKeyId,
        /// The first pin that names it.
        pin: String,
    },
    /// A glob in front of another one could change the stable key of topics that nobody thinks of.
    #[error(
        "the pin {pin:?} takes all that {domain:?} does, with the stable key {key}: assign each new domain by its \
         whole name; a pattern before it could change the key of topics that have records"
    )]
    Covered {
        /// What a key was to be assigned to.
        domain: String,
        /// The key that it has.
        key: StableKeyId,
        /// By which pin.
        pin: String,
    },
    /// The domain has another stable key (KEYRING-3).
    #[error(
        "{domain:?} has the stable key {key} already (pin {pin:?}), and a topic that has records must keep it: old and \
         new ciphertext of one record key would be two keys to the log cleaner, and deleted data would come back. Read \
         docs/keys-of-records.md; if no topic of this domain has records yet, say --topic-is-new"
    )]
    Pinned {
        /// What a key was to be assigned to.
        domain: String,
        /// Its key.
        key: StableKeyId,
        /// By which pin.
        pin: String,
    },
    /// The file would be longer than it may.
    #[error("the keyring is full: its file would exceed 8 MiB")]
    Full,
}

impl KeyringError {
    /// For `map_err`: which file it is that has something wrong with it.
    pub(crate) fn of(path: &Path) -> impl FnOnce(Self) -> Self {
        move |source| Self::Of {
            path: path.to_path_buf(),
            source: Box::new(source),
        }
    }
}

/// A keyring as its file says. Cloning copies no key in clear: there is none.
#[derive(Clone, Debug, Default)]
pub struct Keyring {
    revision: u64,
    keys: Vec<KeyringKey>,
    pins: Vec<Pin>,
}

/// A stable key, wrapped.
#[derive(Clone, Debug)]
pub struct KeyringKey {
    id: StableKeyId,
    name: String,
    created_unix_seconds: u64,
    wrapped: Box<[u8]>,
    check: [u8; KEY_CHECK_BYTES],
}

/// Which domains have which stable key.
#[derive(Clone, Debug)]
pub struct Pin {
    text: String,
    domains: Matcher,
    key: StableKeyId,
}

impl Keyring {
    /// How often it was changed.
    #[must_use]
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// Its keys, in the order in which they were made.
    #[must_use]
    pub fn keys(&self) -> &[KeyringKey] {
        &self.keys
    }

    /// Its pins, in the order in which they are tried.
    #[must_use]
    pub fn pins(&self) -> &[Pin] {
        &self.pins
    }

    /// The stable key of a domain: that of the first pin that takes it. `None`: it has none.
    #[must_use]
    pub fn key_of(&self, domain: &str) -> Option<StableKeyId> {
        let pin = self.pins.iter().find(|pin| pin.domains.matches(domain));
        pin.map(Pin::key)
    }

    /// The key of this id.
    #[must_use]
    pub fn key(&self, id: StableKeyId) -> Option<&KeyringKey> {
        self.keys.iter().find(|key| key.id == id)
    }

    /// The pins in front of the one of this text that take some of what it would take.
    #[must_use]
    pub fn pins_before(&self, text: &str) -> Vec<&str> {
        let Some(own) = self.pins.iter().find(|pin| pin.text == text) else {
            return Vec::new();
        };
        let before = self.pins.iter().take_while(|pin| pin.text != text);
        let meeting = before.filter(|pin| pin.domains.may_meet(&own.domains));
        meeting.map(Pin::text).collect()
    }

    /// The commands that give a domain a stable key, to be pasted; `path` is the keyring's.
    #[must_use]
    pub fn next_for(&self, path: &Path, domain: &str) -> String {
        let path = shell_word(&path.to_string_lossy());
        let domain = shell_word(domain);
        match &*self.keys {
            [] => format!(
                "sealwire keyring new {path} NAME --config FILE --kms KMS --kek KEK, then sealwire keyring assign \
                 {path} {domain} NAME"
            ),
            [key] => format!(
                "sealwire keyring assign {path} {domain} {}",
                shell_word(&key.name)
            ),
            _ => format!("sealwire keyring assign {path} {domain} KEY"),
        }
    }

    /// 32 hexadecimal digits that are the same for two keyrings that seal in the same way, whatever names, times, KEKs
    /// and revisions they have.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        let mut keys: Vec<_> = self.keys.iter().map(|key| (key.id.bytes(), key.check)).collect();
        keys.sort_unstable();
        let mut digest = Context::new(&SHA256);
        digest.update(&(keys.len() as u64).to_be_bytes());
        for (id, check) in keys {
            digest.update(&id);
            digest.update(&check);
        }
        for pin in &self.pins {
            digest.update(&(pin.text.len() as u64).to_be_bytes());
            digest.update(pin.text.as_bytes());
            digest.update(&pin.key.bytes());
        }
        let digest = digest.finish();
        let half = digest.as_ref().iter().take(FINGERPRINT_BYTES);
        half.map(|byte| format!("{byte:02x}")).collect()
    }
}

impl KeyringKey {
    /// Its id, which records carry.
    #[must_use]
    pub fn id(&self) -> StableKeyId {
        self.id
    }

    /// Its name, for people.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// When it was made, in seconds since 1970.
    #[must_use]
    pub fn created_unix_seconds(&self) -> u64 {
        self.created_unix_seconds
    }

    /// The key as a KMS has wrapped it: in the layout of a wrapped DEK, with its KEK and that KEK's version.
    #[must_use]
    pub fn wrapped(&self) -> &[u8] {
        &self.wrapped
    }

    /// Under which KEK, as its wrapped form says, which anybody may have written.
    #[must_use]
    pub fn kek(&self) -> Option<WrappedDek<'_>> {
        WrappedDek::parse(&self.wrapped).ok()
    }

    /// The name of that KEK, as it may be shown.
    #[must_use]
    pub fn kek_name(&self) -> String {
        let kek = self.kek().map(|parts| Foreign::new(parts.kek).to_string());
        kek.unwrap_or_default()
    }

    /// Whether what was opened of `other` is what this one opens to, or nobody can know without asking a KMS.
    #[must_use]
    pub fn opens_as(&self, other: &Self) -> bool {
        self.id == other.id && self.wrapped == other.wrapped && self.check == other.check
    }

    /// The key, as it was unwrapped, if it is this one (KEYRING-2).
    ///
    /// # Errors
    /// [`KeyringError::WrongKey`], [`KeyringError::Crypto`].
    pub fn open(&self, unwrapped: SecretKey) -> Result<SecretKey, KeyringError> {
        let check = key_check(&unwrapped, self.id.bytes())?;
        verify_slices_are_equal(&check, &self.check).map_err(|_| KeyringError::WrongKey(self.id))?;
        Ok(unwrapped)
    }
}

impl Pin {
    /// A domain, or a glob over domains.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The stable key that they have.
    #[must_use]
    pub fn key(&self) -> StableKeyId {
        self.key
    }
}

/// Reads a keyring file. Blocks; at most [`KEYRING_BYTES_MAX`] bytes are read.
///
/// # Errors
/// [`KeyringError::File`], and, with the file's name, what [`Keyring::parse`] says.
pub fn read_file(path: &Path) -> Result<(Keyring, FileIdentity), KeyringError> {
    let (bytes, identity) = durable_file::read(path, KEYRING_BYTES_MAX)?;
    let keyring = Keyring::parse(&bytes).map_err(KeyringError::of(path))?;
    Ok((keyring, identity))
}

/// The right to change the keyring at `path`: whoever changes it holds this from before reading until after writing.
/// Waits for [`LOCK_PATIENCE`] at most.
///
/// # Errors
/// [`KeyringError::File`].
pub fn lock_file(path: &Path) -> Result<FileLock, KeyringError> {
    Ok(FileLock::acquire_within(path, Keeper::People, LOCK_PATIENCE)?)
}

/// A command that changes a keyring asks a KMS, once for each key.
const LOCK_PATIENCE: Duration = Duration::from_secs(10);
const FINGERPRINT_BYTES: usize = 16;

#[cfg(test)]
mod tests;
