//! Revocation lists: until when they are good, and whose they are.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateRevocationListDer, TrustAnchor};
use x509_parser::asn1_rs::{Any, BitString};
use x509_parser::prelude::{CertificateRevocationList, FromDer as _};

use super::facts::{CertificateFacts, seconds, shown, shown_name};
use super::{Authorities, CertificateError, some_of};
use crate::durable_file;

/// What the revocation lists of a file say of themselves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RevocationFacts {
    /// The file that they came from.
    pub path: PathBuf,
    /// When the first of them is to be replaced, in seconds since 1970; `None`: none says so.
    pub next_update: Option<i64>,
}

/// Every revocation list of a file, and what they say.
pub(crate) struct Revocations {
    pub(crate) lists: Vec<CertificateRevocationListDer<'static>>,
    pub(crate) facts: RevocationFacts,
}

impl Revocations {
    /// Each is in date.
    pub(crate) fn read(path: &Path, now: SystemTime) -> Result<Self, CertificateError> {
        let (bytes, _) = durable_file::read(path, REVOCATIONS_BYTES_MAX)?;
        let read: Result<Vec<_>, _> = CertificateRevocationListDer::pem_slice_iter(&bytes).collect();
        let lists = some_of(read, path, REVOCATIONS)?;
        let mut next_update = None;
        for list in &lists {
            let parsed = parse(list, path)?;
            let due = parsed.next_update().map(|due| due.timestamp());
            if let Some(due) = due.filter(|due| *due < seconds(now)) {
                return Err(CertificateError::OldRevocations {
                    path: path.to_path_buf(),
                    due: shown(due),
                });
            }
            next_update = next_update.into_iter().chain(due).min();
        }
        let path = path.to_path_buf();
        let facts = RevocationFacts { path, next_update };
        Ok(Self { lists, facts })
    }
}

/// Whether clients of each authority can be told from those that are revoked: without a list that its key has signed,
/// and with one under its name that another key has signed, all of them are refused. An authority that has signed
/// another one here needs none: its clients may be that one's. What cannot be looked at, since clients show its issuer,
/// is told.
pub(crate) fn check_issuers(
    read: &[Revocations],
    authorities: &Authorities,
    provider: &CryptoProvider,
) -> Result<Vec<String>, CertificateError> {
    let Authorities { roots, facts } = authorities;
    let mut has_list = vec![false; facts.len()];
    let mut doubts = Vec::new();
    for Revocations { lists, facts: file } in read {
        for list in lists {
            let parsed = parse(list, &file.path)?;
            let issuer = parsed.tbs_cert_list.issuer.as_raw();
            let (mut is_named, mut is_signed) = (false, false);
            for ((root, facts), has_list) in roots.roots.iter().zip(facts).zip(&mut has_list) {
                if facts.subject != issuer {
                    continue;
                }
                is_named = true;
                if has_signed(root, &parsed, provider) {
                    (is_signed, *has_list) = (true, true);
                }
            }
            let (path, issuer) = (file.path.clone(), shown_name(issuer));
            match (is_named, is_signed) {
                (false, _) => doubts.push(format!(
                    "the revocation list in {} is one of {issuer}, which client_ca does not name: it counts for an \
                     authority below those that it names, if at all",
                    path.display()
                )),
                (true, false) => return Err(CertificateError::ForgedRevocations { path, issuer }),
                (true, true) => {}
            }
        }
    }
    let has_signed_another = |one: &CertificateFacts| {
        let mut others = facts.iter().filter(|other| other.subject != one.subject);
        others.any(|other| other.issuer == one.subject)
    };
    let mut without = facts.iter().zip(has_list).filter(|(_, has_list)| !has_list);
    match without.find(|(one, _)| !read.is_empty() && !has_signed_another(one)) {
        Some((one, _)) => Err(CertificateError::NoRevocations(shown_name(&one.subject))),
        None => Ok(doubts),
    }
}

fn parse<'l>(
    list: &'l CertificateRevocationListDer<'_>,
    path: &Path,
) -> Result<CertificateRevocationList<'l>, CertificateError> {
    let parsed = CertificateRevocationList::from_der(list);
    let (_, list) = parsed.map_err(|error| CertificateError::Malformed {
        path: path.to_path_buf(),
        what: REVOCATIONS,
        why: error.to_string(),
    })?;
    Ok(list)
}

/// By any of the ways to sign that are taken: a key is good for one kind only, and webpki looks again.
fn has_signed(
    root: &TrustAnchor<'_>,
    list: &CertificateRevocationList<'_>,
    provider: &CryptoProvider,
) -> bool {
    // Of the key's algorithm and the key, the latter.
    let key = Any::from_der(&root.subject_public_key_info).and_then(|(key, _)| BitString::from_der(key));
    let Ok((_, key)) = key else { return false };
    let mut known = provider.signature_verification_algorithms.all.iter();
    known.any(|algorithm| {
        let verified =
            algorithm.verify_signature(&key.data, list.tbs_cert_list.as_ref(), &list.signature_value.data);
        verified.is_ok()
    })
}

const REVOCATIONS: &str = "revocation list";
/// About half a million revoked certificates.
const REVOCATIONS_BYTES_MAX: usize = 32 << 20;
