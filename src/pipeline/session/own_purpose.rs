//! What a request of the proxy's own is for: what is sent, and how long and how late its answer may be (OWN-3).
//!
//! A new purpose is a variant and its line in each table here; what its answer says is taken in
//! [`own_requests`](super::own_requests).

use std::time::Duration;

use crate::broker_login;
use crate::protocol::api_key::{METADATA, SASL_AUTHENTICATE, SASL_HANDSHAKE};
use crate::protocol::brokers_request::BROKERS_REQUEST_VERSION;
use crate::protocol::sasl::{OWN_AUTHENTICATE_VERSION, OWN_HANDSHAKE_VERSION};

/// See the module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OwnPurpose {
    /// Which brokers the cluster has, and where.
    Brokers,
    /// To renew the proxy's login there: to say by which mechanism, or to go on.
    Login { is_handshake: bool },
}

impl OwnPurpose {
    pub(super) fn api(self) -> (i16, i16) {
        match self {
            Self::Brokers => (METADATA, BROKERS_REQUEST_VERSION),
            Self::Login { is_handshake: true } => (SASL_HANDSHAKE, OWN_HANDSHAKE_VERSION),
            Self::Login { is_handshake: false } => (SASL_AUTHENTICATE, OWN_AUTHENTICATE_VERSION),
        }
    }

    /// How long the answer may be (OWN-3).
    pub(super) fn answer_bytes_max(self) -> usize {
        match self {
            // Ten thousand brokers, at a hundred bytes each.
            Self::Brokers => 1024 * 1024,
            Self::Login { .. } => broker_login::ANSWER_BYTES_MAX,
        }
    }

    /// How long the answer may take (OWN-3).
    pub(super) fn answer_wait(self) -> Duration {
        match self {
            // A broker knows it by heart; seconds are a hang, and half of the time that a client without a login is
            // given.
            Self::Brokers | Self::Login { .. } => Duration::from_secs(5),
        }
    }
}
