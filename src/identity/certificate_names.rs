//! A principal out of a client's certificate: its subject, by Kafka's rules (`ssl.principal.mapping.rules`), or one of
//! its subject alternative names.
//!
//! - PRINCIPAL-1: a certificate has one principal or none. What is ambiguous (two names where one is wanted), cannot be
//!   read as text, is empty or too long has none: nobody is taken for somebody else because of how a name is shown.
//! - PRINCIPAL-2: the subject is written as the JDK writes it for Kafka's broker, to the byte, so that rules and ACLs
//!   of a broker mean the same here.
//! - PRINCIPAL-3: what is done for a certificate is bounded by its length, and that by [`CERTIFICATE_BYTES_MAX`];
//!   regular expressions take time in proportion to the name.
//!
//! Pure: whether anybody vouches for the certificate has been decided before.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]

mod der;
mod pattern;
mod replacement;
mod rules;
mod subject;
#[cfg(test)]
mod tests;

use x509_parser::oid_registry::OID_X509_EXT_SUBJECT_ALT_NAME;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::principal::Principal;

pub use self::pattern::PatternError;
pub use self::replacement::ReplacementError;
pub use self::rules::{Rules, RulesError, RulesProblem};

/// A subject, which is DER, as Kafka's brokers write it; `None` where it is none, or no text.
#[must_use]
pub fn subject_text(subject: &[u8]) -> Option<String> {
    subject::text(subject).ok()
}

/// How a certificate becomes a principal.
#[derive(Clone, Debug)]
pub enum PrincipalMapping {
    /// By rules over its subject.
    Subject(Rules),
    /// The one URI among its subject alternative names, such as a SPIFFE id. Kafka has no such thing.
    SanUri,
    /// The one DNS name among them. Kafka has no such thing.
    SanDns,
}

/// Why a certificate has no principal (PRINCIPAL-1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NoPrincipal {
    /// It is no certificate, or longer than [`CERTIFICATE_BYTES_MAX`].
    #[error("the certificate cannot be read")]
    Unreadable,
    /// A name says that it is text, and is not.
    #[error("its name is not text")]
    NotText,
    /// No rule fits.
    #[error("no rule fits its subject")]
    NoRule,
    /// Not exactly one name of the kind that is wanted.
    #[error("it has {0} such subject alternative names, not one")]
    NotOne(usize),
    /// What came of it.
    #[error("its name would be empty or longer than a principal may be")]
    Length,
}

impl PrincipalMapping {
    /// The principal of a certificate that was verified before.
    ///
    /// # Errors
    /// It has none.
    pub fn principal(&self, certificate_der: &[u8]) -> Result<Principal, NoPrincipal> {
        if certificate_der.len() > CERTIFICATE_BYTES_MAX {
            return Err(NoPrincipal::Unreadable);
        }
        let parsed = X509Certificate::from_der(certificate_der);
        let (_, certificate) = parsed
            .ok()
            .filter(|(behind, _)| behind.is_empty())
            .ok_or(NoPrincipal::Unreadable)?;
        let name = match self {
            Self::Subject(rules) => rules.name_of(&subject::text(certificate.subject().as_raw())?)?,
            Self::SanUri => alternative_name(&certificate, URI)?,
            Self::SanDns => alternative_name(&certificate, DNS)?,
        };
        Principal::new(&name).ok_or(NoPrincipal::Length)
    }
}

/// The one that has this tag, in printable ASCII.
fn alternative_name(certificate: &X509Certificate<'_>, tag: u8) -> Result<String, NoPrincipal> {
    let extension = certificate.get_extension_unique(&OID_X509_EXT_SUBJECT_ALT_NAME);
    let Some(extension) = extension.map_err(|_| NoPrincipal::Unreadable)? else {
        return Err(NoPrincipal::NotOne(0));
    };
    let names = der::parts(extension.value, SEQUENCE).ok_or(NoPrincipal::Unreadable)?;
    let found: Vec<&[u8]> = names
        .iter()
        .filter(|name| name.tag == tag)
        .map(|name| name.content)
        .collect();
    let [name] = found.as_slice() else {
        return Err(NoPrincipal::NotOne(found.len()));
    };
    let is_text = name.iter().all(u8::is_ascii_graphic);
    let text = std::str::from_utf8(name).ok().filter(|_| is_text);
    text.map(str::to_owned).ok_or(NoPrincipal::NotText)
}

const SEQUENCE: u8 = 0x30;
const DNS: u8 = 0x82;
const URI: u8 = 0x86;
/// More than any that rustls takes in a handshake of 64 KiB.
pub const CERTIFICATE_BYTES_MAX: usize = 64 * 1024;
