//! Requests of the proxy's own: sent to the broker on the client's connection, with answers that the client never sees.
//!
//! [`OwnPurpose::Login`] renews the proxy's own login at the broker ([`at_broker`](super::at_broker)). The answer to
//! [`OwnPurpose::Brokers`] settles three things at once: a broker names the
//! cluster's brokers to nobody who has to log in first (AUTH-4); what it says of their addresses shows whether it is
//! the one that the client came for (PLACE-1); and where the client came for a node of which no address is known, and
//! was connected to any broker, it is the look-up that the client's next connection rests on (ADDRESS-2).
//!
//! - OWN-1: one is under way at most. It goes out between two whole requests of the client, when no other is unanswered
//!   that may take the broker's time, and its answer is taken in its turn, wherever it stands.
//! - OWN-2: meanwhile the client's requests are not read any further than they are; those that were sent before are
//!   answered.
//! - OWN-3: an answer has a bound and a deadline of its own. One that is longer, late, or not understood closes the
//!   connection: what it was to say is not known.
//! - OWN-4: it is no frame of the client: it is not counted as one, nor against how many may be in flight.

use std::time::Instant;

use super::in_flight::{Answer, Pending};
use super::own_purpose::OwnPurpose;
use super::place::Whereabouts;
use super::run::malformed;
use super::{Session, Step, Wait};
use crate::metrics::CloseReason;
use crate::pipeline::Pipeline;
use crate::protocol::brokers_request::write_brokers_request;
use crate::protocol::frame::LENGTH_PREFIX_BYTES;
use crate::protocol::own_request::CORRELATION_ID;
use crate::protocol::policy::{ApiPolicy, RequestHandling};

/// The requests of one connection; see the module.
#[derive(Default)]
pub(super) struct OwnRequests {
    /// Until when the one that is under way is waited for.
    until: Option<Instant>,
}

impl OwnRequests {
    /// What the client's requests have to wait for (OWN-2).
    pub(super) fn wait(&self, now: Instant) -> Result<Option<Step>, CloseReason> {
        match self.until {
            Some(until) if now >= until => Err(CloseReason::BrokerSilent),
            until => Ok(until.map(|until| Step::Blocked(Wait::Answer(until)))),
        }
    }
}

impl Session {
    /// Whether a request has to wait until more is known of the broker and the client.
    pub(super) fn withholds(&self, pipeline: &Pipeline, policy: &ApiPolicy, frame_bytes: usize) -> bool {
        let is_small = policy.request == RequestHandling::Stream
            && frame_bytes <= pipeline.limits.unauthenticated_request_bytes_max;
        !self.place.admits(policy.key) || !(is_small || self.is_logged_in())
    }

    /// Sends a request of our own, as soon as that may be (OWN-1).
    pub(super) fn ask(
        &mut self,
        purpose: OwnPurpose,
        pipeline: &mut Pipeline,
        now: Instant,
        out: &mut Vec<u8>,
    ) -> Result<Step, CloseReason> {
        // What the client has asked may settle it; and a broker answers one request after the other, so that behind one
        // that takes minutes ours would as well.
        if self.in_flight.awaits_ordinary() {
            return Ok(Step::Blocked(Wait::Room));
        }
        let until = now
            .checked_add(purpose.answer_wait())
            .ok_or(CloseReason::Internal)?;
        let bytes = match purpose {
            OwnPurpose::Brokers => write_brokers_request(CORRELATION_ID, out).map_err(malformed)?,
            OwnPurpose::Login { .. } => self.write_renewal(out)?,
        };
        let (api_key, api_version) = purpose.api();
        let pending = Pending {
            api_key,
            api_version,
            correlation_id: CORRELATION_ID,
            bytes,
            answer: Answer::Own(purpose),
        };
        self.requested(pipeline, pending);
        self.own.until = Some(until);
        Ok(Step::Wrote(0))
    }

    /// Takes the answer to a request of our own, which is in hand whole.
    pub(super) fn take_own_answer(
        &mut self,
        purpose: OwnPurpose,
        pipeline: &mut Pipeline,
        now: Instant,
        frame: &[u8],
    ) -> Result<Step, CloseReason> {
        let step = match purpose {
            OwnPurpose::Brokers => self.take_brokers(pipeline, now, frame)?,
            OwnPurpose::Login { .. } => {
                self.take_renewal(pipeline, now, frame)?;
                None
            }
        };
        if let Some(step) = step {
            return Ok(step);
        }
        self.own.until = None;
        self.answered(pipeline, 0);
        Ok(Step::Wrote(frame.len().saturating_add(LENGTH_PREFIX_BYTES)))
    }

    /// Says what comes before the answer is taken.
    fn take_brokers(
        &mut self,
        pipeline: &mut Pipeline,
        now: Instant,
        frame: &[u8],
    ) -> Result<Option<Step>, CloseReason> {
        let (api_key, version) = OwnPurpose::Brokers.api();
        if let Some(step) = self.learn(pipeline, now, api_key, version, frame)? {
            return Ok(Some(step));
        }
        let whereabouts = self.take_note(api_key, version, frame)?;
        if !self.is_logged_in() {
            // As a broker would, and does in a moment.
            return Err(CloseReason::DeniedApi);
        }
        if whereabouts != Whereabouts::Here {
            self.leave(CloseReason::Learned);
        }
        Ok(None)
    }
}
