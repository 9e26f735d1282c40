//! A session's responses: matched to their requests by position, and streamed or written anew.

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use super::held::Held;
use super::in_flight::{Answer, Pending};
use super::own_purpose::OwnPurpose;
use super::place::Whereabouts;
use super::run::{self, NextFrame, frame_length, malformed};
use super::{Session, Step, Wait};
use crate::metrics::{CloseReason, TimeKind};
use crate::pipeline::Pipeline;
use crate::pipeline::fetch::{Delivery, FetchFrame, FetchWork};
use crate::pipeline::work::{Pause, Progress};
use crate::protocol::api_key::{API_VERSIONS, FETCH, FIND_COORDINATOR, PRODUCE, SASL_AUTHENTICATE};
use crate::protocol::frame::{LENGTH_PREFIX_BYTES, response_correlation_id, response_header_end};
use crate::protocol::{addresses, api_versions, metadata_topics, produce_response};

/// What is to be done with an answer that is not streamed.
pub(super) enum ApartResponse {
    /// The proxy's own goes out.
    Local,
    /// So many bytes, length included, are taken; by whom: the client, or whatever the proxy has asked for itself.
    Frame(usize, Option<OwnPurpose>),
    /// So many are, and more follow.
    Beginning(usize),
}

impl Session {
    /// Takes bytes from the broker; what goes to the client is forwarded or appended to `out`.
    pub fn responses(
        &mut self,
        pipeline: &mut Pipeline,
        now: Instant,
        input: &mut [u8],
        out: &mut Vec<u8>,
    ) -> Result<Step, CloseReason> {
        let streamed = match self.passing.is_streaming() {
            true => 0,
            false => self.response_left.min(input.len()),
        };
        self.response_left = self.response_left.saturating_sub(streamed);
        self.rest_follows &= self.response_left > 0;
        let next = run::run(streamed, |run| self.next_response(pipeline, input, run))?;
        let (whole, purpose) = match next {
            ControlFlow::Break(step) => return Ok(step),
            ControlFlow::Continue(ApartResponse::Local) => {
                if let Some(Pending {
                    answer: Answer::Local(frame),
                    ..
                }) = self.answered(pipeline, 0)
                {
                    out.extend_from_slice(&frame);
                }
                return Ok(Step::Wrote(0));
            }
            ControlFlow::Continue(ApartResponse::Frame(whole, purpose)) => (whole, purpose),
            ControlFlow::Continue(ApartResponse::Beginning(bytes)) => {
                let frame_bytes = frame_length(input, RESPONSE_BYTES_MIN)?;
                return match input.get(LENGTH_PREFIX_BYTES..bytes) {
                    Some(frame) => self.insert_refused(pipeline, frame_bytes, frame, out),
                    None => Ok(Step::More),
                };
            }
        };
        match (input.get_mut(LENGTH_PREFIX_BYTES..whole), purpose) {
            (Some(frame), Some(purpose)) => self.take_own_answer(purpose, pipeline, now, frame),
            (Some(frame), None) => self.rewrite(pipeline, now, frame, out),
            (None, _) => Ok(Step::More),
        }
    }

    /// Looks at the response behind the first `run` bytes, which are streamed.
    fn next_response(
        &mut self,
        pipeline: &mut Pipeline,
        input: &[u8],
        run: usize,
    ) -> Result<NextFrame<ApartResponse>, CloseReason> {
        let rest = input.get(run..).unwrap_or_default();
        if self.passing.is_streaming() {
            return self.pass_on(pipeline, rest);
        }
        if self.answers_itself() {
            return Ok(NextFrame::Apart(ApartResponse::Local));
        }
        if rest.len() < RESPONSE_HEAD_BYTES {
            return run::beginning(rest, RESPONSE_BYTES_MIN);
        }
        let frame_bytes = frame_length(rest, RESPONSE_BYTES_MIN)?;
        let front = self.in_flight.front().ok_or(CloseReason::UnexpectedResponse)?;
        let correlation_id = rest.get(LENGTH_PREFIX_BYTES..).and_then(response_correlation_id);
        if correlation_id != Some(front.correlation_id) {
            return Err(CloseReason::UnexpectedResponse);
        }
        let whole = frame_bytes.saturating_add(LENGTH_PREFIX_BYTES);
        let (bytes_max, purpose) = match &front.answer {
            Answer::Stream => {
                let here = whole.min(rest.len());
                self.answered(pipeline, 0);
                self.response_left = whole.saturating_sub(here);
                return Ok(NextFrame::Streamed(here));
            }
            Answer::Inserted(insertion)
                if !addresses::carries_addresses(front.api_key, front.api_version) =>
            {
                let looked_at = insertion.looked_at(frame_bytes);
                let bytes = looked_at.saturating_add(LENGTH_PREFIX_BYTES);
                return Ok(NextFrame::Apart(ApartResponse::Beginning(bytes)));
            }
            Answer::Own(purpose) => (purpose.answer_bytes_max(), Some(*purpose)),
            Answer::Metadata(_) => (metadata_topics::RESPONSE_BYTES_MAX, None),
            Answer::Rewrite
            | Answer::Passing { .. }
            | Answer::Inserted(_)
            | Answer::Produce(_)
            | Answer::Local(_) => (self.response_bytes_max(pipeline, front.api_key), None),
        };
        if frame_bytes > bytes_max {
            return Err(CloseReason::FrameTooLarge);
        }
        if let Answer::Passing { .. } = front.answer {
            return self.begin_passing(pipeline, frame_bytes);
        }
        Ok(NextFrame::Apart(ApartResponse::Frame(whole, purpose)))
    }

    /// Rewrites the answer to the oldest request, which is in hand whole.
    fn rewrite(
        &mut self,
        pipeline: &mut Pipeline,
        now: Instant,
        frame: &mut [u8],
        out: &mut Vec<u8>,
    ) -> Result<Step, CloseReason> {
        if pipeline.work.is_spent() {
            return Ok(Step::Yield);
        }
        let front = self.in_flight.front().ok_or(CloseReason::UnexpectedResponse)?;
        let (api_key, version) = (front.api_key, front.api_version);
        if self.names.is_telling() {
            return self.write_own_topics(pipeline, version, frame, out);
        }
        let carries_addresses = addresses::carries_addresses(api_key, version);
        if api_key != FETCH {
            // All at once, but for what is not looked at; many of these may lie one behind the other.
            pipeline.work.charge(frame.len());
        }
        if carries_addresses && let Some(step) = self.learn(pipeline, now, api_key, version, frame)? {
            return Ok(step);
        }
        if matches!(
            self.in_flight.front().map(|front| &front.answer),
            Some(Answer::Metadata(_))
        ) {
            return self.write_own_topics(pipeline, version, frame, out);
        }
        if api_key == FETCH {
            return self.fetch(pipeline, now, version, frame, out);
        }
        self.finished = Some((TimeKind::Held, Duration::ZERO));
        let whole = frame.len().saturating_add(LENGTH_PREFIX_BYTES);
        let mut sasl_error = 0;
        let step = match api_key {
            PRODUCE if self.merge_refusals(pipeline, version, frame, out)? => Step::Wrote(whole),
            API_VERSIONS => {
                api_versions::intersect(frame, version, self.listener.policy, out).map_err(malformed)?;
                Step::Wrote(whole)
            }
            SASL_AUTHENTICATE => {
                sasl_error = self.sasl_error_code(frame, version)?;
                Step::Forward(whole)
            }
            _ if carries_addresses && api_key != PRODUCE => {
                let start = out.len();
                let written = self.map_addresses(pipeline, api_key, version, frame, out)?;
                if let Some(Answer::Inserted(insertion)) = self.in_flight.front().map(|front| &front.answer) {
                    insertion.insert(start, out).map_err(malformed)?;
                }
                // What needs no change is not copied.
                self.response_left = frame.len().saturating_sub(written);
                self.rest_follows = self.response_left > 0;
                Step::Wrote(written.saturating_add(LENGTH_PREFIX_BYTES))
            }
            _ => Step::Forward(whole),
        };
        self.answered(pipeline, sasl_error);
        Ok(step)
    }

    /// Puts what was refused here into the answer to a Produce request; says whether anything had to be written for
    /// that.
    fn merge_refusals(
        &mut self,
        pipeline: &mut Pipeline,
        version: i16,
        frame: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<bool, CloseReason> {
        let refusals = match self.in_flight.front().map(|front| &front.answer) {
            Some(Answer::Produce(refusals)) => refusals.as_slice(),
            _ => &[],
        };
        let listener = &self.listener;
        let address_of = &mut |node| listener.address_of(node);
        let each_error = &mut |topic: &str, code| pipeline.count_too_large(listener.cluster, topic, code);
        produce_response::merge(frame, version, refusals, address_of, each_error, out).map_err(malformed)
    }

    /// Writes an answer that names brokers anew; says how much of the frame that stands for.
    pub(super) fn map_addresses(
        &mut self,
        pipeline: &mut Pipeline,
        api_key: i16,
        version: i16,
        frame: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<usize, CloseReason> {
        let rewritten = self.listener.rewrite(api_key, version, frame, out);
        let (written, unserved) = rewritten.map_err(malformed)?;
        if api_key == FIND_COORDINATOR {
            let hidden = &mut pipeline.metrics.connections.coordinators_hidden;
            *hidden = hidden.saturating_add(unserved);
        }
        if self.take_note(api_key, version, frame)? == Whereabouts::Elsewhere {
            self.leave(CloseReason::Learned);
        }
        Ok(written)
    }

    fn fetch(
        &mut self,
        pipeline: &mut Pipeline,
        now: Instant,
        version: i16,
        frame: &mut [u8],
        out: &mut Vec<u8>,
    ) -> Result<Step, CloseReason> {
        let mut held = match self.fetch.take() {
            Some(held) => held,
            None => {
                let work = FetchWork::begin(&mut pipeline.fetch, frame, version)?;
                Box::new(Held::begin(
                    work,
                    frame.len(),
                    pipeline.work.turn_bytes(),
                    out,
                    now,
                ))
            }
        };
        if let Some(until) = held.until()
            && !held.is_overdue(now)
            && !held.is_parked()
        {
            self.fetch = Some(held);
            return Ok(Step::Blocked(Wait::Until(until)));
        }
        let mut fetch = FetchFrame {
            listener: &self.listener,
            client: &self.client,
            told_gaps: &self.told_gaps,
            frame,
            version,
            connection: self.connection,
            may_grow: pipeline.may_grow(self.connection),
            begun: held.since(),
            now,
        };
        let advanced = held.advance(pipeline, fetch.may_grow, out, |work, pipeline, target| {
            work.advance(pipeline, &mut fetch, target)
        });
        if !matches!(advanced, Ok(Progress::Paused(Pause::Spent))) {
            pipeline.grown(self.connection);
        }
        match advanced {
            Ok(Progress::Paused(pause)) => {
                let step = held.pause(pause, now, out);
                self.fetch = Some(held);
                Ok(step)
            }
            Ok(Progress::Done(Delivery::Nothing { waits })) if !held.is_overdue(now) => {
                let (work, target) = held.parts(out);
                work.retract(target);
                held.park(&mut pipeline.metrics.gauges.fetch_parked, waits);
                let hold = self.pace.hold(pipeline.limits.fetch_hold, held.whole());
                let until = held.hold_for(hold, now);
                self.fetch = Some(held);
                let wait = if waits { Wait::News } else { Wait::Until };
                Ok(Step::Blocked(wait(until)))
            }
            Ok(Progress::Done(fetched)) => Ok(self.end_fetch(pipeline, now, held, &fetched, out)),
            Err(reason) => {
                held.end(pipeline);
                Err(reason)
            }
        }
    }

    /// The response goes out.
    fn end_fetch(
        &mut self,
        pipeline: &mut Pipeline,
        now: Instant,
        mut held: Box<Held<FetchWork>>,
        fetched: &Delivery,
        out: &mut Vec<u8>,
    ) -> Step {
        let whole = held.whole();
        if let Delivery::Nothing { .. } = fetched {
            self.pace.nothing(now, whole);
        } else if held.work.delivers() {
            self.pace.delivered();
        }
        let step = if *fetched == Delivery::Verbatim {
            Step::Forward(whole)
        } else {
            held.deliver(out);
            self.told_gaps.tell(held.work.take_tellings());
            Step::Wrote(whole)
        };
        self.finished = Some((TimeKind::Fetch, held.waited(now)));
        held.end(pipeline);
        self.answered(pipeline, 0);
        step
    }

    fn response_bytes_max(&self, pipeline: &Pipeline, api_key: i16) -> usize {
        if api_key == FETCH {
            return pipeline.limits.fetch_response_bytes_max;
        }
        let api = self.listener.policy.api(api_key);
        api.map_or(0, |api| api.response_bytes_max)
    }

    /// The error code that the body of a SaslAuthenticate response begins with.
    fn sasl_error_code(&self, frame: &[u8], version: i16) -> Result<i16, CloseReason> {
        let api = self.listener.policy.api(SASL_AUTHENTICATE);
        let flexible = api.is_some_and(|api| api.response_header_flexible(version));
        let at = response_header_end(frame, flexible).map_err(malformed)?;
        let bytes = frame
            .get(at..)
            .and_then(|body| body.first_chunk())
            .ok_or(CloseReason::MalformedFrame)?;
        Ok(i16::from_be_bytes(*bytes))
    }
}

/// Length, correlation id.
const RESPONSE_HEAD_BYTES: usize = LENGTH_PREFIX_BYTES + 4;
/// Correlation id.
pub(super) const RESPONSE_BYTES_MIN: usize = 4;
