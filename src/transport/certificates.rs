//! Certificates, keys and revocation lists, read from PEM files and checked as clients and brokers will check them.
//!
//! - CERTIFICATES-1: a file is read bounded, and what it holds is checked before it is used: a chain with its key, in
//!   date; a revocation list in date.
//! - CERTIFICATES-2: a private key is in no message, and no memory is given back with it in: the bytes of its file, and
//!   what is made of them up to rustls' own key, are wiped.
//! - CERTIFICATES-3: who vouches for others does so until its end: webpki keeps no dates of authorities. One of several
//!   is left out when files are read, which is done again when one has ended; when the last has, nobody is vouched for.
//!
//! Everything here blocks: it belongs to the start and to threads that may wait for a disk.

mod facts;
mod private_key;
mod revocations;

pub use self::facts::{CertificateFacts, DnsName};
pub use self::revocations::RevocationFacts;
pub(crate) use self::revocations::{Revocations, check_issuers};

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use rustls::RootCertStore;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
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
    #[error("the certificate of {subject} in {} is valid from {from} to {to} only", path.display())]
    OutOfDate {
        /// Which file.
        path: PathBuf,
        /// Whose it is.
        subject: String,
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
    /// A revocation list bears an authority's name, and not its signature.
    #[error(
        "the revocation list in {} bears the name of {issuer}, and is not signed with its key (or in a way that is \
         not taken, as with SHA-1): every client of that authority would be refused",
        path.display()
    )]
    ForgedRevocations {
        /// Which file.
        path: PathBuf,
        /// The name.
        issuer: String,
    },
    /// There are revocation lists, and none of an authority.
    #[error(
        "no revocation list is one of {0}, which client_ca names: every client of that authority would be refused"
    )]
    NoRevocations(String),
    /// Its key cannot be used with what may be negotiated.
    #[error(
        "no cipher suite is for the key of the certificate in {}: name some of its kind (ECDSA or RSA) in \
         cipher_suites, or let versions have \"1.3\"",
        .0.display()
    )]
    NoSuite(PathBuf),
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
    /// What some clients may stumble over.
    pub(crate) doubt: Option<String>,
}

impl OwnCertificate {
    /// CERTIFICATES-1
    pub(crate) fn load(
        files: &CertificateFiles,
        provider: &CryptoProvider,
        now: SystemTime,
    ) -> Result<Self, CertificateError> {
        let chain = read_certificates(&files.certificate)?;
        let path = &files.certificate;
        let [first, behind @ ..] = chain.as_slice() else {
            let (path, what) = (path.clone(), CERTIFICATE);
            return Err(CertificateError::Nothing { path, what });
        };
        let facts = CertificateFacts::of(first, path)?;
        facts.check_dates(now)?;
        // What cannot be read vouches for nothing.
        let behind = behind
            .iter()
            .filter_map(|der| CertificateFacts::of(der, path).ok());
        let strays = check_way(&facts, behind.collect(), now)?;
        let doubt = (strays > 0).then(|| {
            let path = path.display();
            format!("{strays} certificates behind the first in {path} do not vouch for it, which some clients refuse")
        });
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
            doubt,
        })
    }
}

/// Whether each certificate on the way from the first to an authority is in date; how many of those behind it are not
/// on the way.
fn check_way(
    first: &CertificateFacts,
    mut behind: Vec<CertificateFacts>,
    now: SystemTime,
) -> Result<usize, CertificateError> {
    let mut last = first.clone();
    loop {
        let (vouching, others): (Vec<_>, _) =
            behind.into_iter().partition(|facts| facts.subject == last.issuer);
        behind = others;
        // Of those that are signed by several, one is enough.
        let good = vouching.iter().find(|facts| facts.check_dates(now).is_ok());
        let Some(next) = good.or(vouching.first()) else {
            return Ok(behind.len());
        };
        // Clients have roots of their own.
        if next.subject != next.issuer {
            next.check_dates(now)?;
        }
        last = next.clone();
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

/// Until when authorities vouch for others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthorityFacts {
    /// The file that they came from.
    pub path: PathBuf,
    /// When the first of them ends, in seconds since 1970.
    pub first_end: i64,
    /// When the last one does.
    pub last_end: i64,
}

impl AuthorityFacts {
    /// CERTIFICATES-3
    pub(super) fn check(&self, now: UnixTime) -> Result<(), rustls::Error> {
        let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
        match now <= self.last_end {
            true => Ok(()),
            false => Err(rustls::CertificateError::Expired.into()),
        }
    }
}

/// Who vouches for others, each in date.
pub(crate) struct Authorities {
    pub(crate) roots: RootCertStore,
    /// Of each of them, in the same order.
    pub(crate) facts: Vec<CertificateFacts>,
}

impl Authorities {
    /// The certificates of a file, which are those of authorities. One of a bundle that has ended vouches for nobody
    /// any more.
    pub(crate) fn read(path: &Path, now: SystemTime) -> Result<Self, CertificateError> {
        let (mut roots, mut read) = (RootCertStore::empty(), Vec::new());
        let mut ended = None;
        for certificate in read_certificates(path)? {
            let facts = CertificateFacts::of(&certificate, path)?;
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
            read.push(facts);
        }
        match ended.filter(|_| roots.is_empty()) {
            Some(error) => Err(error),
            None => Ok(Self { roots, facts: read }),
        }
    }

    pub(crate) fn ends(&self, path: &Path) -> AuthorityFacts {
        let ends = self.facts.iter().map(|facts| facts.not_after);
        AuthorityFacts {
            path: path.to_path_buf(),
            first_end: ends.clone().min().unwrap_or(i64::MIN),
            last_end: ends.max().unwrap_or(i64::MIN),
        }
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
/// What openssl and others call such a key, old form and new.
const ENCRYPTED_MARK: &[u8] = b"ENCRYPTED";
/// A chain of some certificates of 2 KiB; a bundle of all public roots is 250 KiB.
const CHAIN_BYTES_MAX: usize = 4 << 20;
/// Rights that nobody may have.
const FORBIDDEN_MODE: u32 = 0o027;
/// RSA with 16 384 bits takes 13 KiB.
const KEY_BYTES_MAX: usize = 64 << 10;

#[cfg(test)]
mod tests;
