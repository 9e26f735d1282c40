//! What is wrong with a certificate that was refused, in words for whoever can replace it.

use rustls::CertificateError;

use crate::identity::certificate_names::NoPrincipal;
use crate::transport::shown_chain::ChainFault;

/// No pin is that of the certificate that a broker has shown.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error(
    "no pin_sha256 is that of the certificate, whose SHA-256 is {}: compare it with openssl x509 -fingerprint -sha256 \
     of what the broker has",
    hexadecimal(digest)
)]
pub(crate) struct NotPinned {
    /// SHA-256 of the certificate's DER.
    pub(crate) digest: [u8; 32],
}

/// `None`: rustls' own words say it.
pub(super) fn in_words(error: &CertificateError) -> Option<String> {
    match error {
        // The names are for whoever looks at the certificate.
        CertificateError::NotValidForNameContext { expected, .. } => {
            let expected = expected.to_str();
            Some(format!("the certificate is not for the name {expected}"))
        }
        CertificateError::NotValidForName => {
            Some("the certificate is not for the name that was asked for".to_owned())
        }
        CertificateError::UnsupportedSignatureAlgorithmContext { .. } => Some(
            "it, or one that vouches for it, is signed in a way that is not taken, as with SHA-1".to_owned(),
        ),
        CertificateError::Other(other) => {
            if let Some(not_pinned) = other.0.downcast_ref::<NotPinned>() {
                return Some(not_pinned.to_string());
            }
            if let Some(fault) = other.0.downcast_ref::<ChainFault>() {
                return Some(fault.to_string());
            }
            if let Some(why) = other.0.downcast_ref::<NoPrincipal>() {
                return Some(format!("no principal: {why}"));
            }
            match other.0.downcast_ref::<webpki::Error>()? {
                webpki::Error::CaUsedAsEndEntity => Some(
                    "the certificate is one of an authority (CA:TRUE): make one that is not; that of a broker can be \
                     named in pin_sha256 until then"
                        .to_owned(),
                ),
                webpki::Error::MaximumPathDepthExceeded => {
                    Some("more than six certificates lie between it and an authority that is trusted".to_owned())
                }
                _ => None,
            }
        }
        _ => None,
    }
}

fn hexadecimal(digest: &[u8]) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}
