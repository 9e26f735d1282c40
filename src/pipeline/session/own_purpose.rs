//! What a request of the proxy's own is for: what is sent, and how long and how late its answer may be (OWN-3).
//!
//! A new purpose is a variant and its line in each table here; what its answer says is taken in
//! [`own_requests`](super::own_requests).

use std::time::Duration;

use crate::protocol::ProtocolError;
use crate::protocol::api_key::METADATA;
use crate::protocol::brokers_request::{BROKERS_REQUEST_VERSION, write_brokers_request};

/// See the module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OwnPurpose {
    /// Which brokers the cluster has, and where.
    Brokers,
}

impl OwnPurpose {
    pub(super) fn api(self) -> (i16, i16) {
        match self {
            Self::Brokers => (METADATA, BROKERS_REQUEST_VERSION),
        }
    }

    /// Appends the request; says how long its frame is.
    pub(super) fn write(self, out: &mut Vec<u8>) -> Result<usize, ProtocolError> {
        match self {
            Self::Brokers => write_brokers_request(CORRELATION_ID, out),
        }
    }

    /// How long the answer may be (OWN-3).
    pub(super) fn answer_bytes_max(self) -> usize {
        match self {
            // Ten thousand brokers, at a hundred bytes each.
            Self::Brokers => 1024 * 1024,
        }
    }

    /// How long the answer may take (OWN-3).
    pub(super) fn answer_wait(self) -> Duration {
        match self {
            // A broker knows it by heart; seconds are a hang, and half of the time that a client without a login is
            // given.
            Self::Brokers => Duration::from_secs(5),
        }
    }
}

/// Answers are matched by position (FLIGHT-1): any number will do.
pub(super) const CORRELATION_ID: i32 = 0x5ea1;
