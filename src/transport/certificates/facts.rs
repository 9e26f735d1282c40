//! What a certificate says of itself.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustls::pki_types::CertificateDer;
use x509_parser::prelude::{ASN1Time, FromDer as _, GeneralName, X509Certificate, X509Name};

use super::{CERTIFICATE, CertificateError};

/// See the module.
#[derive(Clone, Debug)]
pub struct CertificateFacts {
    /// The file that it came from.
    pub path: PathBuf,
    /// DER.
    pub subject: Vec<u8>,
    /// DER.
    pub issuer: Vec<u8>,
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
    /// Its purposes, if it has any, let a server show it.
    pub is_for_servers: bool,
}

impl CertificateFacts {
    pub(super) fn of(der: &CertificateDer<'_>, path: &Path) -> Result<Self, CertificateError> {
        let malformed = |why: String| CertificateError::Malformed {
            path: path.to_path_buf(),
            what: CERTIFICATE,
            why,
        };
        let (_, certificate) =
            X509Certificate::from_der(der).map_err(|error| malformed(error.to_string()))?;
        let purposes = certificate
            .extended_key_usage()
            .map_err(|error| malformed(error.to_string()))?;
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
            subject: certificate.subject().as_raw().to_vec(),
            issuer: certificate.issuer().as_raw().to_vec(),
            not_before: certificate.validity().not_before.timestamp(),
            not_after: certificate.validity().not_after.timestamp(),
            dns_names,
            addresses,
            is_authority: certificate.is_ca(),
            is_for_servers: purposes.is_none_or(|purposes| purposes.value.any || purposes.value.server_auth),
        })
    }

    /// Whether it is valid now.
    pub(super) fn check_dates(&self, now: SystemTime) -> Result<(), CertificateError> {
        if (self.not_before..=self.not_after).contains(&seconds(now)) {
            return Ok(());
        }
        Err(CertificateError::OutOfDate {
            path: self.path.clone(),
            subject: shown_name(&self.subject),
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

/// A name in DER, as the operator knows it.
pub(super) fn shown_name(der: &[u8]) -> String {
    X509Name::from_der(der).map_or_else(|_| "somebody".to_owned(), |(_, name)| name.to_string())
}

pub(super) fn shown(seconds: i64) -> String {
    ASN1Time::from_timestamp(seconds).map_or_else(|_| format!("{seconds} s"), |time| time.to_string())
}

/// RFC 1035.
const NAME_BYTES_MAX: usize = 255;
