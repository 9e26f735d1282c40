//! How long a frame is that is going to be held, as soon as it says so.

use super::Session;
use super::in_flight::Answer;
use super::requests::request_head;
use super::responses::RESPONSE_BYTES_MIN;
use super::run::frame_length;
use crate::metrics::Direction;
use crate::protocol::addresses;
use crate::protocol::api_key::API_VERSIONS;
use crate::protocol::frame::LENGTH_PREFIX_BYTES;
use crate::protocol::hops;
use crate::protocol::policy::RequestHandling;

impl Session {
    /// Bytes of the frame that `input` begins with, its length included, if it is to be held until it is whole. Whoever
    /// keeps an account of memory asks; nothing is reserved for it (SESSION-1).
    pub fn announced(&self, direction: Direction, input: &[u8]) -> Option<usize> {
        let length = match direction {
            Direction::Request => self.announced_request(input)?,
            Direction::Response => self.announced_response(input)?,
        };
        Some(length.saturating_add(LENGTH_PREFIX_BYTES))
    }

    fn announced_request(&self, input: &[u8]) -> Option<usize> {
        if self.request_left > 0 {
            return None;
        }
        let (length, head) = request_head(input).ok()?;
        let policy = self.listener.policy.api(head.api_key)?;
        let answered_here = head.api_key == API_VERSIONS && head.api_version > policy.max;
        let is_held = policy.request == RequestHandling::Hold || self.judges_all_of(policy, length);
        (is_held || answered_here || hops::shows_way(head)).then_some(length)
    }

    fn announced_response(&self, input: &[u8]) -> Option<usize> {
        let front = self.in_flight.front()?;
        let is_held = match front.answer {
            Answer::Inserted(_) => addresses::carries_addresses(front.api_key, front.api_version),
            Answer::Stream | Answer::Passing { .. } | Answer::Local(_) => false,
            Answer::Rewrite | Answer::Metadata(_) | Answer::Produce(_) | Answer::Own(_) => true,
        };
        if self.response_left > 0 || !is_held {
            return None;
        }
        frame_length(input, RESPONSE_BYTES_MIN).ok()
    }
}
