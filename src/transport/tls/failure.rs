//! Why a TLS connection was not made, or has ended.

use std::fmt::Display;
use std::io;

use rustls::{AlertDescription, CertificateError, Error};

use crate::foreign::Foreign;
use crate::protocol::preface::Preface;

/// Why there is no TLS connection, or none any more.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub(crate) struct TlsFailure {
    pub(crate) kind: FailureKind,
    /// What is wrong, for the log: printable ASCII, bounded.
    text: String,
}

/// What an operator has to do about it differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FailureKind {
    /// The peer speaks something else than TLS.
    OtherProtocol(Preface),
    /// No configuration is for the name that the client asked for (server name indication), or for none.
    UnknownName,
    /// No version, cipher or signature in common.
    Incompatible,
    /// The peer's certificate is missing, or was refused.
    Certificate,
    /// The peer has sent this fatal alert.
    Alert(AlertDescription),
    /// What came is no valid TLS.
    Malformed,
    /// The peer has ended, or reset the connection, before the handshake was over.
    Left,
    /// The handshake took too long.
    TimedOut,
    /// The peer has sent more than a handshake may have.
    TooMuch,
    /// The keys are worn out, and the version has no others (TLS 1.2).
    WornOut,
    /// The socket failed.
    Socket,
    /// A fault of our own.
    Internal,
}

impl TlsFailure {
    pub(crate) fn new(kind: FailureKind, text: impl Display) -> Self {
        Self {
            kind,
            text: Foreign::new(&text.to_string()).to_string(),
        }
    }

    /// The socket failed in the handshake.
    pub(crate) fn of_socket(error: &io::Error) -> Self {
        let kind = match error.kind() {
            io::ErrorKind::TimedOut => FailureKind::TimedOut,
            io::ErrorKind::InvalidData => FailureKind::TooMuch,
            io::ErrorKind::ConnectionReset
            | io::ErrorKind::BrokenPipe
            | io::ErrorKind::UnexpectedEof
            | io::ErrorKind::WriteZero => FailureKind::Left,
            _ => FailureKind::Socket,
        };
        let text = match kind {
            FailureKind::TimedOut => "the handshake took too long".to_owned(),
            FailureKind::TooMuch => "the handshake is longer than it may be".to_owned(),
            FailureKind::Left => "the peer has left in the handshake".to_owned(),
            _ => error.to_string(),
        };
        Self::new(kind, text)
    }
}

impl From<Error> for TlsFailure {
    fn from(error: Error) -> Self {
        let kind = match &error {
            Error::AlertReceived(alert) => FailureKind::Alert(*alert),
            Error::NoCertificatesPresented | Error::InvalidCertificate(_) => FailureKind::Certificate,
            Error::PeerIncompatible(_) | Error::NoApplicationProtocol => FailureKind::Incompatible,
            Error::InappropriateMessage { .. }
            | Error::InappropriateHandshakeMessage { .. }
            | Error::InvalidEncryptedClientHello(_)
            | Error::InvalidMessage(_)
            | Error::DecryptError
            | Error::PeerMisbehaved(_)
            | Error::PeerSentOversizedRecord => FailureKind::Malformed,
            _ => FailureKind::Internal,
        };
        match &error {
            // The names are for whoever looks at the certificate.
            Error::InvalidCertificate(CertificateError::NotValidForNameContext { expected, .. }) => {
                let expected = expected.to_str();
                Self::new(
                    kind,
                    format_args!("the certificate is not for the name {expected}"),
                )
            }
            Error::InvalidCertificate(CertificateError::NotValidForName) => {
                Self::new(kind, "the certificate is not for the name that was asked for")
            }
            _ => Self::new(kind, error),
        }
    }
}
