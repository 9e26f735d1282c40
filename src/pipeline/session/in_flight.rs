//! The requests of one connection that wait for their answers, oldest first.
//!
//! - FLIGHT-1: answers are matched by position, never by correlation id: ids may repeat (Java's SASL client,
//!   constants).
//! - FLIGHT-2: count and bytes are bounded; when full, the client's socket is not read (back-pressure). One request is
//!   always admitted to an empty queue, whatever its size, so that a connection cannot stall for ever. A request of the
//!   proxy's own, of which there is one at most, goes beyond the count.

use std::collections::VecDeque;

use super::login::is_ordinary;
use super::own_purpose::OwnPurpose;
use crate::protocol::produce_response::Refusal;
use crate::protocol::request_refusal::Insertion;

/// One request on its way.
pub(super) struct Pending {
    pub(super) api_key: i16,
    pub(super) api_version: i16,
    pub(super) correlation_id: i32,
    /// Bytes of the request's frame, for the bound.
    pub(super) bytes: usize,
    pub(super) answer: Answer,
}

/// What is done with the answer.
pub(super) enum Answer {
    /// Streamed through unread.
    Stream,
    /// Of topics that pass: streamed through if it has no other ones (PASSING-2).
    Passing {
        /// The broker may open a fetch session with it.
        opens_session: bool,
    },
    /// Held whole and rewritten as its API demands.
    Rewrite,
    /// Metadata, of which topics that are not the client's are left out; these were asked for by their names.
    Metadata(Vec<Box<str>>),
    /// The answer to a part of what was asked; what was refused is put into it.
    Inserted(Insertion),
    /// A Produce answer into which these refusals are merged.
    Produce(Vec<Refusal>),
    /// No broker is asked: the proxy's own answer, a whole frame, goes out when its turn comes.
    Local(Vec<u8>),
    /// The proxy has asked for itself: the client never sees the answer.
    Own(OwnPurpose),
}

/// The queue; see the module.
pub(super) struct InFlight {
    queue: VecDeque<Pending>,
    bytes: usize,
    requests_max: usize,
    bytes_max: usize,
}

impl InFlight {
    pub(super) fn new(requests_max: usize, bytes_max: usize) -> Self {
        Self {
            queue: VecDeque::new(),
            bytes: 0,
            requests_max,
            bytes_max,
        }
    }

    /// Whether a request of `bytes` may be sent now (FLIGHT-2).
    pub(super) fn has_room(&self, bytes: usize) -> bool {
        self.queue.is_empty()
            || (self.queue.len() < self.requests_max && self.bytes.saturating_add(bytes) <= self.bytes_max)
    }

    pub(super) fn push(&mut self, pending: Pending) {
        self.bytes = self.bytes.saturating_add(pending.bytes);
        self.queue.push_back(pending);
    }

    pub(super) fn front(&self) -> Option<&Pending> {
        self.queue.front()
    }

    pub(super) fn pop(&mut self) -> Option<Pending> {
        let pending = self.queue.pop_front()?;
        self.bytes = self.bytes.saturating_sub(pending.bytes);
        if self.queue.is_empty() && self.queue.capacity() > IDLE_CAPACITY_MAX {
            self.queue = VecDeque::new();
        }
        Some(pending)
    }

    /// Whether one is unanswered that may take the broker's time.
    pub(super) fn awaits_ordinary(&self) -> bool {
        self.queue.iter().any(|pending| is_ordinary(pending.api_key))
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Pending> {
        self.queue.iter()
    }

    pub(super) fn len(&self) -> usize {
        self.queue.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }
}

/// An empty queue larger than this gives its memory back: an idle connection is to cost little.
const IDLE_CAPACITY_MAX: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    fn pending(bytes: usize) -> Pending {
        Pending {
            api_key: 3,
            api_version: 12,
            correlation_id: 1,
            bytes,
            answer: Answer::Stream,
        }
    }

    /// FLIGHT-2.
    #[test]
    fn count_and_bytes_are_bounded() {
        let mut queue = InFlight::new(2, 100);
        assert!(queue.has_room(1_000), "an empty queue takes any request");
        queue.push(pending(60));
        assert!(queue.has_room(40));
        assert!(!queue.has_room(41));
        queue.push(pending(40));
        assert!(!queue.has_room(0), "the count is bounded as well");
        queue.pop();
        assert!(queue.has_room(60));
    }
}
