//! Whether an address leads back to this very program, by way of a port forward or of another proxy: asked before
//! clients are connected there whose own ApiVersions request cannot show it.
//!
//! The question is an ApiVersions request of our own ([`hops::question`]) on a connection of its own, since brokers
//! that want a login take one such request on a connection and no second one. An address leads back if the question has
//! come back meanwhile.
//!
//! - WAY-BACK-1: an answer holds for [`HOLDS_FOR`] and [`HOLDS_CONNECTIONS`], whichever is less: an address that leads
//!   back from now on makes so many connections at most before it is asked again.
//! - WAY-BACK-2: whoever does not answer within [`ANSWER_WAIT`], or closes, and leads not back here, is connected to
//!   all the same.
//!
//! Executor threads only.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io;
use std::time::{Duration, Instant};

use futures_lite::io::{AsyncRead, AsyncWrite};

use super::bounded::Bounded;
use super::platform::Platform;
use crate::config::HostPort;
use crate::connection::Wire;
use crate::messages::CameBack;
use crate::protocol::frame::LENGTH_PREFIX_BYTES;
use crate::protocol::hops::{self, Identity};
use crate::protocol::own_request::CORRELATION_ID;

/// Addresses that were found to lead to somebody else.
#[derive(Default)]
pub(super) struct FoundElsewhere(RefCell<HashMap<HostPort, Finding>>);

struct Finding {
    until: Instant,
    connections_left: u32,
}

impl FoundElsewhere {
    /// Whether a client may be connected to `address` without asking first.
    pub(super) fn admits(&self, address: &HostPort, now: Instant) -> bool {
        let mut asked = self.0.borrow_mut();
        let Some(answer) = asked.get_mut(address).filter(|answer| now < answer.until) else {
            return false;
        };
        let Some(left) = answer.connections_left.checked_sub(1) else {
            return false;
        };
        answer.connections_left = left;
        true
    }

    /// `address` has answered.
    pub(super) fn answered(&self, address: &HostPort, now: Instant) {
        let mut asked = self.0.borrow_mut();
        if asked.len() >= ASKED_MAX {
            asked.clear();
        }
        let finding = Finding {
            until: now + HOLDS_FOR,
            connections_left: HOLDS_CONNECTIONS,
        };
        asked.insert(address.clone(), finding);
    }
}

/// What became of a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WayBack {
    /// Somebody else has answered.
    Elsewhere,
    /// It has come back.
    Here,
    /// Nobody has answered (WAY-BACK-2).
    Unknown,
}

/// Asks whoever is at the other end of `stream`.
pub(super) async fn ask<P: Platform>(
    stream: Wire<P::Socket>,
    identity: &Identity,
    came_back: &CameBack,
) -> WayBack {
    let before = came_back.count();
    match question::<P, _>(stream, identity).await {
        Ok(_) => WayBack::Elsewhere,
        Err(_) if came_back.count() != before => WayBack::Here,
        Err(_) => WayBack::Unknown,
    }
}

/// Asks whoever is at the other end of `stream` which APIs there are, in our own name: the answer, without its length.
pub(super) async fn question<P: Platform, S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    identity: &Identity,
) -> io::Result<Vec<u8>> {
    let mut stream = Bounded::<P, _>::new(stream, ANSWER_WAIT, ANSWER_BYTES_MAX);
    let mut question = Vec::new();
    hops::question(CORRELATION_ID, identity, &mut question).map_err(io::Error::other)?;
    stream
        .ask(&question, ANSWER_BYTES_MAX - LENGTH_PREFIX_BYTES)
        .await
}

/// A broker knows the answer by heart.
const ANSWER_WAIT: Duration = Duration::from_secs(1);
/// More than any broker's list of versions takes.
const ANSWER_BYTES_MAX: usize = 16 * 1024;
const HOLDS_FOR: Duration = Duration::from_secs(60);
const HOLDS_CONNECTIONS: u32 = 100;
/// Ten times as many brokers as clusters have that are large.
const ASKED_MAX: usize = 10_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_holds_for_a_while_and_for_some_connections() {
        let at = |port| HostPort {
            host: "kafka".to_owned(),
            port,
        };
        let (asked, now) = (FoundElsewhere::default(), Instant::now());
        assert!(!asked.admits(&at(1), now));
        asked.answered(&at(1), now);
        asked.answered(&at(2), now);
        for _ in 0..HOLDS_CONNECTIONS {
            assert!(asked.admits(&at(1), now));
        }
        assert!(!asked.admits(&at(1), now), "it is asked again");
        assert!(asked.admits(&at(2), now + HOLDS_FOR - Duration::from_millis(1)));
        assert!(!asked.admits(&at(2), now + HOLDS_FOR));
    }
}
