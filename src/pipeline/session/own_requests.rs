//! What a session asks the broker for itself, on the client's connection, before it lets the client's request through.
//!
//! One answer settles both doubts: a broker names the cluster's brokers to nobody who has to log in first (AUTH-4), and what it says of
//! their addresses shows whether it is the one that the client came for (PLACE-1).
//!
//! - QUESTION-1: it is asked once at most, between two whole requests of the client, and its answer comes in its turn.
//! - QUESTION-2: meanwhile the client's request is not read any further than it is, and nothing behind it.

use std::time::{Duration, Instant};

use super::in_flight::{Answer, Pending};
use super::login::is_ordinary;
use super::place::Whereabouts;
use super::{Session, Step, Wait, malformed};
use crate::metrics::CloseReason;
use crate::pipeline::Pipeline;
use crate::protocol::api_key::METADATA;
use crate::protocol::brokers_request::{BROKERS_REQUEST_VERSION, write_brokers_request};
use crate::protocol::frame::LENGTH_PREFIX_BYTES;
use crate::protocol::policy::{ApiPolicy, RequestHandling};

impl Session {
    /// Whether a request has to wait until more is known of the broker and the client.
    pub(super) fn withholds(&self, pipeline: &Pipeline, policy: &ApiPolicy, frame_bytes: usize) -> bool {
        let is_small = policy.request == RequestHandling::Stream
            && frame_bytes <= pipeline.limits.unauthenticated_request_bytes_max;
        !self.place.admits(policy.key) || !(is_small || self.is_logged_in())
    }

    /// Asks, or goes on waiting for an answer.
    pub(super) fn ask(
        &mut self,
        pipeline: &mut Pipeline,
        now: Instant,
        out: &mut Vec<u8>,
    ) -> Result<Step, CloseReason> {
        if let Some(until) = self.asked_until {
            if now >= until {
                return Err(CloseReason::BrokerSilent);
            }
            return Ok(Step::Blocked(Wait::Answer(until)));
        }
        // What the client has asked may settle it; and a broker answers one request after the other, so that behind one that
        // takes minutes ours would as well.
        if self.in_flight.iter().any(|pending| is_ordinary(pending.api_key)) {
            return Ok(Step::Blocked(Wait::Room));
        }
        let bytes = write_brokers_request(CORRELATION_ID, out).map_err(malformed)?;
        pipeline.metrics.gauges.requests_in_flight += 1;
        self.login.requested(METADATA);
        self.in_flight.push(Pending {
            api_key: METADATA,
            api_version: BROKERS_REQUEST_VERSION,
            correlation_id: CORRELATION_ID,
            bytes,
            answer: Answer::Own,
        });
        self.asked_until = Some(now + ANSWER_WAIT);
        Ok(Step::Wrote(0))
    }

    /// Takes note of what an answer says of brokers.
    pub(super) fn take_note(
        &mut self,
        api_key: i16,
        version: i16,
        frame: &[u8],
    ) -> Result<Whereabouts, CloseReason> {
        if self.is_logged_in() && !self.place.is_sought() {
            return Ok(Whereabouts::Here);
        }
        let told = self
            .place
            .take_answer(api_key, version, frame)
            .map_err(malformed)?;
        if told.any {
            self.login.named_brokers();
        }
        Ok(told.whereabouts)
    }

    /// Takes the answer to the session's own question.
    pub(super) fn take_own_answer(
        &mut self,
        pipeline: &mut Pipeline,
        now: Instant,
        frame: &[u8],
    ) -> Result<Step, CloseReason> {
        if let Some(wait) = self.learn(pipeline, now, METADATA, BROKERS_REQUEST_VERSION, frame)? {
            return Ok(Step::Blocked(wait));
        }
        let whereabouts = self.take_note(METADATA, BROKERS_REQUEST_VERSION, frame)?;
        if !self.is_logged_in() {
            // As a broker would, and does in a moment.
            return Err(CloseReason::DeniedApi);
        }
        if whereabouts != Whereabouts::Here {
            self.leave(CloseReason::Learned);
        }
        self.asked_until = None;
        self.answered(pipeline, 0);
        Ok(Step::Wrote(frame.len().saturating_add(LENGTH_PREFIX_BYTES)))
    }
}

/// Answers are matched by position (FLIGHT-1): any number will do.
const CORRELATION_ID: i32 = 0x5ea1;
/// A broker knows the answer by heart; seconds are a hang, and half of the time that a client without a login is given.
const ANSWER_WAIT: Duration = Duration::from_secs(5);
