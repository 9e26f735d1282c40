//! What a certificate says of itself, and a revocation list of its age.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustls::pki_types::{CertificateDer, CertificateRevocationListDer};
use x509_parser::prelude::{ASN1Time, CertificateRevocationList, FromDer as _, GeneralName, X509Certificate};

use super::{CERTIFICATE, CertificateError, REVOCATIONS};

/// See the module.
#[derive(Clone, Debug)]
pub struct CertificateFacts {
    /// The file that it came from.
    pub path: PathBuf,
    /// Seconds since 1970.
    pub not_before: i64,
    /// Seconds since 1970.
    pub not_after: i64,
    /// The host names among its subject alternative names, as far as they can be compared.
    pub dns_names: Vec<DnsName>,
    /// The addresses among them.
    pub addresses: Vec<IpAddr>,
    /// It may vouch for others: rustls, and so clients that are built on it, take no such certificate for a host's.
    pub is_authority: bool,
}

impl CertificateFacts {
    pub(super) fn of_first(chain: &[CertificateDer<'_>], path: &Path) -> Result<Self, CertificateError> {
        let malformed = |why: String| CertificateError::Malformed {
            path: path.to_path_buf(),
            what: CERTIFICATE,
            why,
        };
        let der = chain.first().map(AsRef::as_ref).unwrap_or_default();
        let (_, certificate) =
            X509Certificate::from_der(der).map_err(|error| malformed(error.to_string()))?;
        let names = certificate
            .subject_alternative_name()
            .map_err(|error| malformed(error.to_string()))?;
        let (mut dns_names, mut addresses) = (Vec::new(), Vec::new());
        for name in names.iter().flat_map(|names| &names.value.general_names) {
            match name {
                GeneralName::DNSName(name) => dns_names.extend(DnsName::parse(name)),
                GeneralName::IPAddress(bytes) => addresses.extend(address(bytes)),
                _ => {}
            }
        }
        Ok(Self {
            path: path.to_path_buf(),
            not_before: certificate.validity().not_before.timestamp(),
            not_after: certificate.validity().not_after.timestamp(),
            dns_names,
            addresses,
            is_authority: certificate.is_ca(),
        })
    }

    /// Whether it is valid now.
    pub(super) fn check_dates(&self, now: SystemTime) -> Result<(), CertificateError> {
        if (self.not_before..=self.not_after).contains(&seconds(now)) {
            return Ok(());
        }
        Err(CertificateError::OutOfDate {
            path: self.path.clone(),
            from: shown(self.not_before),
            to: shown(self.not_after),
        })
    }

    /// Whether a client that has connected to `host` will take it.
    pub fn covers(&self, host: &str) -> bool {
        match host.parse::<IpAddr>() {
            Ok(address) => self.addresses.contains(&address),
            Err(_) => self.dns_names.iter().any(|name| name.covers(host)),
        }
    }
}

/// A host name of a certificate, in lower case; its first label may be `*`, which stands for one label.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DnsName(String);

impl DnsName {
    fn parse(name: &str) -> Option<Self> {
        // Others are no names of hosts: nobody is going to ask for them.
        (!name.is_empty() && name.len() <= NAME_BYTES_MAX && name.is_ascii())
            .then(|| Self(name.to_ascii_lowercase()))
    }

    /// RFC 6125, 6.4.3: a wildcard stands for the whole leftmost label.
    pub fn covers(&self, host: &str) -> bool {
        match self.0.strip_prefix("*.") {
            Some(parent) => host
                .split_once('.')
                .is_some_and(|(label, rest)| !label.is_empty() && rest.eq_ignore_ascii_case(parent)),
            None => host.eq_ignore_ascii_case(&self.0),
        }
    }
}

/// Until when the revocation lists of a file are good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RevocationFacts {
    /// The file that they came from.
    pub path: PathBuf,
    /// When the first of them is to be replaced, in seconds since 1970; `None`: none says so.
    pub next_update: Option<i64>,
}

/// Says when the list is to be replaced, if it does; that has to be later.
pub(super) fn next_update(
    list: &CertificateRevocationListDer<'_>,
    path: &Path,
    now: SystemTime,
) -> Result<Option<i64>, CertificateError> {
    let (_, parsed) =
        CertificateRevocationList::from_der(list).map_err(|error| CertificateError::Malformed {
            path: path.to_path_buf(),
            what: REVOCATIONS,
            why: error.to_string(),
        })?;
    let due = parsed.next_update().map(|due| due.timestamp());
    match due.filter(|due| *due < seconds(now)) {
        Some(due) => Err(CertificateError::OldRevocations {
            path: path.to_path_buf(),
            due: shown(due),
        }),
        None => Ok(due),
    }
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    if let Ok(four) = <[u8; 4]>::try_from(bytes) {
        return Some(four.into());
    }
    <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from)
}

pub(super) fn seconds(time: SystemTime) -> i64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

fn shown(seconds: i64) -> String {
    ASN1Time::from_timestamp(seconds).map_or_else(|_| format!("{seconds} s"), |time| time.to_string())
}

/// RFC 1035.
const NAME_BYTES_MAX: usize = 255;
