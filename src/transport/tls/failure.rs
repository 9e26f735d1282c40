//! Why a TLS connection was not made, or has ended.

use std::fmt::Display;
use std::io;

use rustls::{AlertDescription, CommonState, Error};

use super::refusal;
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

    /// The socket failed in the handshake with a broker, which has gone so far.
    pub(crate) fn of_brokers_socket(error: &io::Error, handshake: &CommonState) -> Self {
        let failure = Self::of_socket(error);
        if failure.kind != FailureKind::Left || handshake.protocol_version().is_some() {
            return failure;
        }
        // To Kafka a ClientHello is a request of 369 MB.
        let silent = "the broker has left without a word of TLS, as a listener without TLS does: name its TLS \
                      listener, or remove upstream_tls";
        Self::new(FailureKind::Left, silent)
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
        let in_words = match &error {
            Error::InvalidCertificate(refused) => refusal::in_words(refused),
            _ => None,
        };
        match in_words {
            Some(text) => Self::new(kind, text),
            None => Self::new(kind, error),
        }
    }
}
