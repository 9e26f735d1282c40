//! The first stage of a connection that a load balancer makes: what it says of where that comes from.
//!
//! - PREFACE-4: nothing behind the preface is taken from the socket: what follows is looked at, and left where it is.
//!
//! Executor threads only.

use std::io;
use std::time::Duration;

use futures_lite::io::AsyncReadExt as _;

use super::bounded::Bounded;
use super::platform::{Platform, Socket};
use crate::metrics::CloseReason;
use crate::transport::proxy_protocol::{PREFACE_BYTES_MAX, Parsed, Refusal, Source, parse};

/// Why there was no preface: how that is counted, and, where somebody should hear of it, what was wrong.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct NoPreface {
    pub(super) reason: CloseReason,
    pub(super) fault: Option<String>,
}

/// Takes a preface from `socket`, and nothing else.
pub(super) async fn take<P: Platform>(socket: &mut impl Socket) -> Result<Source, NoPreface> {
    let mut stream = Bounded::<P, _>::new(socket, AT_MOST, PREFACE_BYTES_MAX);
    // What was taken, and behind it what is looked at: all of it is the preface's while there is more to come
    // (PREFACE-1).
    let (mut bytes, mut taken) = (vec![0; LOOKED_AT_BYTES], 0_usize);
    loop {
        let failed = |error: io::Error| NoPreface::of(&error, taken);
        let place = bytes.get_mut(taken..).unwrap_or_default();
        let seen = match stream.peek(place).await.map_err(failed)? {
            0 => return Err(NoPreface::ended(taken)),
            looked_at => taken.saturating_add(looked_at),
        };
        let parsed = parse(bytes.get(..seen).unwrap_or_default()).map_err(NoPreface::refused)?;
        let (end, more) = match parsed {
            Parsed::More { at_most } => (seen, at_most.min(LOOKED_AT_BYTES)),
            Parsed::Whole { bytes, .. } => (bytes, 0),
        };
        // They are there: nothing is waited for.
        let place = bytes.get_mut(taken..end).unwrap_or_default();
        stream.read_exact(place).await.map_err(failed)?;
        taken = end;
        match parsed {
            Parsed::More { .. } => bytes.resize(taken.saturating_add(more), 0),
            Parsed::Whole { source, .. } => return Ok(source),
        }
    }
}

impl NoPreface {
    fn refused(refusal: Refusal) -> Self {
        Self::with_fault(refusal.to_string())
    }

    /// Nobody there is believed.
    pub(super) fn from_elsewhere() -> Self {
        Self {
            reason: CloseReason::ProxySource,
            fault: Some("it does not come from proxy_protocol_sources".to_owned()),
        }
    }

    /// Whoever only connects, and says nothing, is nothing to write of.
    fn ended(taken: usize) -> Self {
        match taken {
            0 => Self::quiet(CloseReason::ClientClosed),
            _ => Self::with_fault("the connection ended within its PROXY preface".to_owned()),
        }
    }

    fn of(error: &io::Error, taken: usize) -> Self {
        match (error.kind(), taken) {
            (io::ErrorKind::TimedOut, 0) => Self::quiet(CloseReason::IdleUnauthenticated),
            (io::ErrorKind::TimedOut, _) => {
                let seconds = AT_MOST.as_secs();
                Self::with_fault(format!("the PROXY preface was not whole within {seconds} s"))
            }
            _ => Self::quiet(CloseReason::ClientError),
        }
    }

    fn with_fault(fault: String) -> Self {
        Self {
            reason: CloseReason::ProxyPreface,
            fault: Some(fault),
        }
    }

    fn quiet(reason: CloseReason) -> Self {
        Self { reason, fault: None }
    }
}

/// Load balancers say it at once.
const AT_MOST: Duration = Duration::from_secs(10);
/// Most prefaces are shorter.
const LOOKED_AT_BYTES: usize = 256;
