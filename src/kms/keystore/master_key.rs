//! Where the master key comes from, and the keys that are derived from it.
//!
//! - MASTER-1: the cost of Argon2id that a file may ask for is bounded before any of it is spent.
//! - MASTER-2: a key file or passphrase file that others than its owner may access is refused ([`SecretSource`]).

use std::path::{Path, PathBuf};

use argon2::{Algorithm, Argon2, Block, Params, Version};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::{hkdf, hmac};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::{Zeroize as _, Zeroizing};

use super::KeystoreError;
use crate::crypto::{CryptoError, SecretKey};
use crate::durable_file;
use crate::secret_source::{SecretError, SecretSource, without_line_end};

/// Where the master key of a keystore comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MasterKeySource {
    /// A file of exactly 32 random bytes that only its owner may access.
    File(PathBuf),
    /// An environment variable: the 32 bytes in base64, or the passphrase where the keystore was made with one.
    Environment(String),
    /// A file that holds the passphrase and that only its owner may access; one line end after it is ignored.
    PassphraseFile(PathBuf),
    /// A file of this name in `$CREDENTIALS_DIRECTORY` (systemd.exec, LoadCredential=): the 32 bytes, or the passphrase
    /// where the keystore was made with one. systemd guards the folder, so the mode of the file is not looked at.
    SystemdCredential(String),
}

/// What a source held.
pub enum MasterSecret {
    /// Certainly a key.
    Key(SecretKey),
    /// Certainly a passphrase.
    Passphrase(Zeroizing<Vec<u8>>),
    /// Text of an environment variable: base64 of a key, or a passphrase; the keystore says which.
    Text(Zeroizing<Vec<u8>>),
    /// Content of a credential: key bytes, or a passphrase; the keystore says which.
    Bytes(Zeroizing<Vec<u8>>),
}

impl MasterKeySource {
    /// Reads the secret. Blocks on small files.
    ///
    /// # Errors
    /// [`KeystoreError::File`], [`KeystoreError::Permissions`], [`KeystoreError::MasterKey`].
    pub fn read(&self) -> Result<MasterSecret, KeystoreError> {
        let read = |source: &SecretSource| source.read().map_err(KeystoreError::from);
        match self {
            Self::File(path) => {
                let mut bytes = read(&SecretSource::File(path.clone()))?;
                let length = bytes.len();
                SecretKey::from_bytes(&mut bytes).map(MasterSecret::Key).map_err(|_| {
                    KeystoreError::MasterKey(format!(
                        "{} has {length} bytes; a key file has exactly 32 (a passphrase goes into a passphrase file)",
                        path.display()
                    ))
                })
            }
            Self::PassphraseFile(path) => {
                read(&SecretSource::File(path.clone())).map(MasterSecret::Passphrase)
            }
            Self::Environment(name) => read(&SecretSource::Environment(name.clone())).map(MasterSecret::Text),
            Self::SystemdCredential(name) => {
                read(&SecretSource::SystemdCredential(name.clone())).map(MasterSecret::Bytes)
            }
        }
    }
}

impl From<SecretError> for KeystoreError {
    fn from(error: SecretError) -> Self {
        match error {
            SecretError::Permissions { path, mode } => Self::Permissions { path, mode },
            SecretError::Read { path, source } => Self::file("read", &path)(source),
            other => Self::MasterKey(other.to_string()),
        }
    }
}

impl MasterSecret {
    fn into_key(self) -> Result<SecretKey, KeystoreError> {
        let mut bytes = match self {
            Self::Key(key) => return Ok(key),
            Self::Bytes(bytes) => bytes,
            Self::Text(text) => Zeroizing::new(STANDARD.decode(text.trim_ascii()).unwrap_or_default()),
            Self::Passphrase(_) => {
                return Err(KeystoreError::MasterKey(
                    "the keystore was made with a key file, not with a passphrase".to_owned(),
                ));
            }
        };
        SecretKey::from_bytes(&mut bytes).map_err(|_| {
            KeystoreError::MasterKey(
                "the keystore was made with a key: 32 bytes are needed, in an environment variable as base64"
                    .to_owned(),
            )
        })
    }

    fn into_passphrase(self) -> Result<Zeroizing<Vec<u8>>, KeystoreError> {
        let mut passphrase = match self {
            Self::Passphrase(bytes) | Self::Text(bytes) | Self::Bytes(bytes) => bytes,
            Self::Key(_) => {
                return Err(KeystoreError::MasterKey(
                    "the keystore was made with a passphrase, not with a key file".to_owned(),
                ));
            }
        };
        let kept = without_line_end(&passphrase).len();
        passphrase.truncate(kept);
        if passphrase.len() < PASSPHRASE_BYTES_MIN {
            return Err(KeystoreError::MasterKey(format!(
                "a passphrase has at least {PASSPHRASE_BYTES_MIN} bytes"
            )));
        }
        Ok(passphrase)
    }

    /// Which derivation a keystore gets that is made with this secret: a passphrase costs Argon2id, all else is a key.
    ///
    /// # Errors
    /// [`KeystoreError::Crypto`] when the kernel gives no random bytes.
    pub fn new_derivation(&self) -> Result<KeyDerivation, KeystoreError> {
        match self {
            Self::Passphrase(_) => Argon2Parameters::fresh().map(KeyDerivation::Argon2id),
            Self::Key(_) | Self::Text(_) | Self::Bytes(_) => Ok(KeyDerivation::Key),
        }
    }
}

/// How the master key is got from the secret.
#[derive(Clone, PartialEq, Eq)]
pub enum KeyDerivation {
    /// The secret is the key.
    Key,
    /// The secret is a passphrase, stretched by Argon2id version 1.3 (RFC 9106).
    Argon2id(Argon2Parameters),
}

impl KeyDerivation {
    /// Its part of the MAC's transcript.
    pub(super) fn write_transcript(&self, text: &mut Vec<u8>) {
        match self {
            Self::Key => text.push(0),
            Self::Argon2id(parameters) => {
                text.push(1);
                text.extend_from_slice(&parameters.salt);
                for number in [parameters.memory_kib, parameters.iterations, parameters.lanes] {
                    text.extend_from_slice(&number.to_be_bytes());
                }
            }
        }
    }

    fn derive(&self, secret: MasterSecret) -> Result<SecretKey, KeystoreError> {
        match self {
            Self::Key => secret.into_key(),
            Self::Argon2id(parameters) => parameters.stretch(&secret.into_passphrase()?),
        }
    }
}

/// What Argon2id costs, within bounds.
#[derive(Clone, PartialEq, Eq)]
pub struct Argon2Parameters {
    salt: [u8; 16],
    memory_kib: u32,
    iterations: u32,
    lanes: u32,
}

impl Argon2Parameters {
    /// # Errors
    /// [`KeystoreError::Format`] when a bound is exceeded (MASTER-1).
    pub(super) fn new(
        salt: [u8; 16],
        memory_kib: u32,
        iterations: u32,
        lanes: u32,
    ) -> Result<Self, KeystoreError> {
        let work_kib = u64::from(memory_kib).saturating_mul(u64::from(iterations));
        if !(MEMORY_KIB_MIN..=MEMORY_KIB_MAX).contains(&memory_kib)
            || !(1..=LANES_MAX).contains(&lanes)
            || iterations == 0
            || work_kib > WORK_KIB_MAX
        {
            return Err(KeystoreError::Format(format!(
                "key derivation out of bounds: memory_kib {MEMORY_KIB_MIN} to {MEMORY_KIB_MAX}, lanes 1 to \
                 {LANES_MAX}, memory_kib times iterations at most {WORK_KIB_MAX}"
            )));
        }
        Ok(Self {
            salt,
            memory_kib,
            iterations,
            lanes,
        })
    }

    /// What a new keystore gets: RFC 9106, section 4, the second recommended option.
    fn fresh() -> Result<Self, KeystoreError> {
        let mut salt = [0; 16];
        getrandom::fill(&mut salt).map_err(|_| KeystoreError::Crypto("no random bytes"))?;
        Self::new(salt, 64 * 1024, 3, 4)
    }

    pub(super) fn salt(&self) -> &[u8; 16] {
        &self.salt
    }

    pub(super) fn memory_kib(&self) -> u32 {
        self.memory_kib
    }

    pub(super) fn iterations(&self) -> u32 {
        self.iterations
    }

    pub(super) fn lanes(&self) -> u32 {
        self.lanes
    }

    fn stretch(&self, passphrase: &[u8]) -> Result<SecretKey, KeystoreError> {
        let parameters = Params::new(self.memory_kib, self.iterations, self.lanes, Some(32))
            .map_err(|_| KeystoreError::Crypto("Argon2id refused its parameters"))?;
        let mut memory = Vec::new();
        memory
            .try_reserve_exact(parameters.block_count())
            .map_err(|_| KeystoreError::Crypto("not enough memory for Argon2id"))?;
        memory.resize(parameters.block_count(), Block::default());
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, parameters);
        let stretched = SecretKey::fill_with(|out| {
            argon2
                .hash_password_into_with_memory(passphrase, &self.salt, out, &mut memory)
                .map_err(|_| CryptoError::Library)
        });
        memory.iter_mut().for_each(|block| block.zeroize());
        stretched.map_err(|_| KeystoreError::Crypto("Argon2id refused its parameters"))
    }
}

/// The keys that a keystore is used with; the master key itself is dropped once they are derived.
///
/// HKDF-SHA-256 (RFC 5869) with the master key as input, the keystore's id as salt, and one text for each.
pub(crate) struct MasterKeys {
    id: [u8; 16],
    derivation: KeyDerivation,
    wrapping: SecretKey,
    mac: SecretKey,
    check: [u8; 16],
}

impl MasterKeys {
    pub(super) fn derive(
        secret: MasterSecret,
        derivation: &KeyDerivation,
        id: &[u8; 16],
    ) -> Result<Self, KeystoreError> {
        let master = derivation.derive(secret)?;
        let extracted = hkdf::Salt::new(hkdf::HKDF_SHA256, id).extract(master.expose());
        let expand = |info: &str, out: &mut [u8]| {
            extracted
                .expand(&[info.as_bytes()], Length(out.len()))
                .and_then(|key_material| key_material.fill(out))
                .map_err(|_| CryptoError::Library)
        };
        let failed = |_| KeystoreError::Crypto("HKDF");
        let key = |info: &str| SecretKey::fill_with(|bytes| expand(info, bytes)).map_err(failed);
        let mut check = [0; 16];
        expand("sealwire/keystore/1/check", &mut check).map_err(failed)?;
        Ok(Self {
            id: *id,
            derivation: derivation.clone(),
            wrapping: key("sealwire/keystore/1/wrap")?,
            mac: key("sealwire/keystore/1/mac")?,
            check,
        })
    }

    /// Whether these keys were derived for a keystore of this id and derivation, from the right secret.
    pub(super) fn belong_to(&self, id: &[u8; 16], derivation: &KeyDerivation, check: &[u8; 16]) -> bool {
        self.id == *id
            && self.derivation == *derivation
            && verify_slices_are_equal(&self.check, check).is_ok()
    }

    pub(super) fn check(&self) -> [u8; 16] {
        self.check
    }

    pub(super) fn wrapping_key(&self) -> &SecretKey {
        &self.wrapping
    }

    pub(super) fn mac_key(&self) -> hmac::Key {
        hmac::Key::new(hmac::HMAC_SHA256, self.mac.expose())
    }
}

/// Makes a key file of 32 random bytes, mode 0600, on disk when this returns.
///
/// # Errors
/// [`KeystoreError::File`], also when `path` exists.
pub fn create_key_file(path: &Path) -> Result<(), KeystoreError> {
    let key = SecretKey::generate().map_err(|_| KeystoreError::Crypto("no random bytes"))?;
    Ok(durable_file::create(path, key.expose())?)
}

struct Length(usize);

impl hkdf::KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}

/// Shorter passphrases fall to guessing whatever Argon2id costs.
const PASSPHRASE_BYTES_MIN: usize = 12;

/// 8 MiB: less is no obstacle to anyone, so such a file was not made by this program.
const MEMORY_KIB_MIN: u32 = 8 * 1024;

/// 1 GiB: a hostile file must not take the host down.
const MEMORY_KIB_MAX: u32 = 1024 * 1024;

/// As many as can do some good.
const LANES_MAX: u32 = 16;

/// Memory written in all passes together, 4 GiB: a few seconds.
const WORK_KIB_MAX: u64 = 4 * 1024 * 1024;
