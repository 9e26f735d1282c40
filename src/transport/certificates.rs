//! Certificates, keys and revocation lists, read from PEM files and checked as clients and brokers will check them.
//!
//! - CERTIFICATES-1: a file is read bounded, and what it holds is checked before it is used: a chain with its key, in
//!   date; a revocation list in date.
//! - CERTIFICATES-2: a private key is in no message, and no memory is given back with it in: the bytes of its file, and
//!   what is made of them up to rustls' own key, are wiped.
//!
//! Everything here blocks: it belongs to the start and to threads that may wait for a disk.

mod facts;
mod private_key;

pub use self::facts::{CertificateFacts, DnsName, RevocationFacts};

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use rustls::RootCertStore;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use zeroize::{Zeroize as _, Zeroizing};

use self::private_key::NoKey;
use crate::durable_file::{self, FileError};

/// A chain and its private key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateFiles {
    /// PEM: the certificate itself first, then those that vouch for it.
    pub certificate: PathBuf,
    /// PEM: PKCS #8, PKCS #1 or SEC 1, not encrypted.
    pub key: PathBuf,
}

/// Why files cannot be used for TLS. The messages are for the operator.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CertificateError {
    /// A file cannot be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// A file holds nothing of what it is for.
    #[error("{} holds no {what} in PEM form (-----BEGIN …-----)", path.display())]
    Nothing {
        /// Which file.
        path: PathBuf,
        /// What was looked for.
        what: &'static str,
    },
    /// A key needs a password.
    #[error(
        "{} is encrypted: write it without a password (openssl pkey), in a file that others cannot read",
        .0.display()
    )]
    EncryptedKey(PathBuf),
    /// Others can read a key, or its group can change it.
    #[error(
        "{} can be accessed by others than its owner and its group (mode {mode:04o}): run chmod 0640 {}",
        path.display(),
        path.display()
    )]
    Exposed {
        /// Which file.
        path: PathBuf,
        /// Its rights.
        mode: u32,
    },
    /// A certificate is to vouch for others, and may not.
    #[error(
        "a certificate in {} is none of an authority (CA:TRUE), which could vouch for anybody here: name the authority \
         that has signed it",
        .0.display()
    )]
    NoAuthority(PathBuf),
    /// What stands in a file cannot be understood.
    #[error("{} holds a {what} that cannot be read: {why}", path.display())]
    Malformed {
        /// Which file.
        path: PathBuf,
        /// What it should hold.
        what: &'static str,
        /// Why.
        why: String,
    },
    /// The key is not that of the certificate.
    #[error("{} is not the key of the first certificate in {}", key.display(), certificate.display())]
    OtherKey {
        /// The chain.
        certificate: PathBuf,
        /// The key.
        key: PathBuf,
    },
    /// It has ended, or not begun.
    #[error("the certificate in {} is valid from {from} to {to} only", path.display())]
    OutOfDate {
        /// Which file.
        path: PathBuf,
        /// Its beginning.
        from: String,
        /// Its end.
        to: String,
    },
    /// A revocation list is too old.
    #[error("the revocation list in {} was to be replaced by {due}", path.display())]
    OldRevocations {
        /// Which file.
        path: PathBuf,
        /// When the next one was due.
        due: String,
    },
    /// The system has no roots.
    #[error("the system has no root certificates: {0}")]
    NoSystemRoots(String),
    /// rustls refuses what these files say.
    #[error("{what}: {source}")]
    Refused {
        /// What was to be made of them.
        what: &'static str,
        /// Why it cannot be.
        source: rustls::Error,
    },
}

/// A chain with its key, ready for handshakes, and what it says of itself.
pub(crate) struct OwnCertificate {
    pub(crate) certified: Arc<CertifiedKey>,
    pub(crate) facts: CertificateFacts,
}

impl OwnCertificate {
    /// CERTIFICATES-1
    pub(crate) fn load(
        files: &CertificateFiles,
        provider: &CryptoProvider,
        now: SystemTime,
    ) -> Result<Self, CertificateError> {
        let chain = read_certificates(&files.certificate)?;
        let facts = CertificateFacts::of_first(&chain, &files.certificate)?;
        facts.check_dates(now)?;
        let key = read_key(&files.key)?;
        let certified = CertifiedKey::from_der(chain, key, provider).map_err(|source| match source {
            rustls::Error::InconsistentKeys(_) => CertificateError::OtherKey {
                certificate: files.certificate.clone(),
                key: files.key.clone(),
            },
            other => CertificateError::Malformed {
                path: files.key.clone(),
                what: KEY,
                why: other.to_string(),
            },
        })?;
        Ok(Self {
            certified: Arc::new(certified),
            facts,
        })
    }
}

/// Every certificate of a file, in its order; at least one.
pub(crate) fn read_certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, CertificateError> {
    let (bytes, _) = durable_file::read(path, CHAIN_BYTES_MAX)?;
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    some_of(read, path, CERTIFICATE)
}

fn read_key(path: &Path) -> Result<PrivateKeyDer<'static>, CertificateError> {
    // CERTIFICATES-2
    let bytes = Zeroizing::new(durable_file::read(path, KEY_BYTES_MAX)?.0);
    let mut key = private_key::decode(&bytes).map_err(|fault| {
        let path = path.to_path_buf();
        if bytes
            .windows(ENCRYPTED_MARK.len())
            .any(|window| window == ENCRYPTED_MARK)
        {
            return CertificateError::EncryptedKey(path);
        }
        match fault {
            NoKey::Absent => CertificateError::Nothing { path, what: KEY },
            NoKey::Malformed => CertificateError::Malformed {
                path,
                what: KEY,
                why: "it is no PEM".to_owned(),
            },
        }
    })?;
    let mode = fs::metadata(path)
        .map_err(FileError::failed("read", path))?
        .mode()
        & 0o777;
    if mode & FORBIDDEN_MODE != 0 {
        key.zeroize();
        return Err(CertificateError::Exposed {
            path: path.to_path_buf(),
            mode,
        });
    }
    Ok(key)
}

/// Every revocation list of a file, each in date, and until when they are.
pub(crate) fn read_revocations(
    path: &Path,
    now: SystemTime,
) -> Result<(Vec<CertificateRevocationListDer<'static>>, RevocationFacts), CertificateError> {
    let (bytes, _) = durable_file::read(path, REVOCATIONS_BYTES_MAX)?;
    let read: Result<Vec<_>, _> = CertificateRevocationListDer::pem_slice_iter(&bytes).collect();
    let lists = some_of(read, path, REVOCATIONS)?;
    let mut next_update = None;
    for list in &lists {
        let due = facts::next_update(list, path, now)?;
        next_update = next_update.into_iter().chain(due).min();
    }
    let path = path.to_path_buf();
    Ok((lists, RevocationFacts { path, next_update }))
}

/// The certificates of a file as roots that are trusted: those of authorities, in date. One of a bundle that has ended
/// vouches for nobody any more.
pub(crate) fn read_roots(path: &Path, now: SystemTime) -> Result<RootCertStore, CertificateError> {
    let mut roots = RootCertStore::empty();
    let mut ended = None;
    for certificate in read_certificates(path)? {
        let facts = CertificateFacts::of_first(std::slice::from_ref(&certificate), path)?;
        if !facts.is_authority {
            return Err(CertificateError::NoAuthority(path.to_path_buf()));
        }
        if let Err(error) = facts.check_dates(now) {
            ended = Some(error);
            continue;
        }
        roots
            .add(certificate)
            .map_err(|error| CertificateError::Malformed {
                path: path.to_path_buf(),
                what: CERTIFICATE,
                why: error.to_string(),
            })?;
    }
    match ended.filter(|_| roots.is_empty()) {
        Some(error) => Err(error),
        None => Ok(roots),
    }
}

/// The roots that this host trusts.
pub(crate) fn system_roots() -> Result<RootCertStore, CertificateError> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    // One that rustls cannot use is no reason to trust none.
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        let why = found.errors.first().map(ToString::to_string);
        let why = why.unwrap_or_else(|| "none were found".to_owned());
        return Err(CertificateError::NoSystemRoots(why));
    }
    Ok(roots)
}

fn some_of<T>(
    read: Result<Vec<T>, rustls::pki_types::pem::Error>,
    path: &Path,
    what: &'static str,
) -> Result<Vec<T>, CertificateError> {
    match read {
        Ok(items) if items.is_empty() => Err(CertificateError::Nothing {
            path: path.to_path_buf(),
            what,
        }),
        Ok(items) => Ok(items),
        Err(_) => Err(CertificateError::Malformed {
            path: path.to_path_buf(),
            what,
            why: "it is no PEM".to_owned(),
        }),
    }
}

const CERTIFICATE: &str = "certificate";
const KEY: &str = "private key";
const REVOCATIONS: &str = "revocation list";
/// What openssl and others call such a key, old form and new.
const ENCRYPTED_MARK: &[u8] = b"ENCRYPTED";
/// A chain of some certificates of 2 KiB; a bundle of all public roots is 250 KiB.
const CHAIN_BYTES_MAX: usize = 4 << 20;
/// Rights that nobody may have.
const FORBIDDEN_MODE: u32 = 0o027;
/// RSA with 16 384 bits takes 13 KiB.
const KEY_BYTES_MAX: usize = 64 << 10;
/// About half a million revoked certificates.
const REVOCATIONS_BYTES_MAX: usize = 32 << 20;

#[cfg(test)]
mod tests;
