//! How much of what a peer shows beside its certificate is looked at.
//!
//! - CHAIN-1: webpki, which looks for a way from a certificate to an authority, tries each that there is: certificates
//!   that name themselves and each other have 200 000 of them, which keeps an executor for seconds, and nobody needs a
//!   key that is trusted to show them. With one certificate of each name there is one way. Whoever looks for ways has
//!   the chain checked before. What is left takes 0.7 ms to read at most, and one signature for each certificate.

use std::collections::HashSet;

use rustls::pki_types::CertificateDer;
use rustls::{CertificateError, Error, OtherError};
use webpki::EndEntityCert;

/// What is wrong with a chain, for the operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ChainFault {
    /// More than [`CERTIFICATES_MAX`].
    #[error(
        "more than {CERTIFICATES_MAX} certificates are shown with it: six may lie between it and an authority that is \
         trusted"
    )]
    TooMany,
    /// More than [`BYTES_MAX`].
    #[error("the certificates that are shown with it have more than {} KiB", BYTES_MAX >> 10)]
    TooLong,
    /// Two have the same subject.
    #[error("two of the certificates that are shown with it have the same subject: leave all away but one")]
    SameSubject,
}

/// CHAIN-1, for what is shown behind the peer's own certificate.
///
/// # Errors
/// [`ChainFault`], within rustls' own.
pub(super) fn check(shown: &[CertificateDer<'_>]) -> Result<(), Error> {
    fault(shown).map_or(Ok(()), |fault| {
        let fault = OtherError(std::sync::Arc::new(fault));
        Err(CertificateError::Other(fault).into())
    })
}

fn fault(shown: &[CertificateDer<'_>]) -> Option<ChainFault> {
    if shown.len() > CERTIFICATES_MAX {
        return Some(ChainFault::TooMany);
    }
    if shown.iter().map(|der| der.len()).sum::<usize>() > BYTES_MAX {
        return Some(ChainFault::TooLong);
    }
    // What webpki cannot read it passes over, too.
    let read = shown.iter().filter_map(|der| EndEntityCert::try_from(der).ok());
    let mut subjects = HashSet::new();
    let mut subjects_are_new = read.map(|certificate| subjects.insert(certificate.subject().to_vec()));
    (!subjects_are_new.all(|is_new| is_new)).then_some(ChainFault::SameSubject)
}

/// As many as webpki lets lie between, and the authority itself, which many show without need.
const CERTIFICATES_MAX: usize = 7;
/// Four of the largest that there are, with ML-DSA-87, or sixteen with 4096 bits of RSA. Each is read again at each
/// step of the way.
const BYTES_MAX: usize = 32 << 10;
