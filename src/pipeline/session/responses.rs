//! A session's responses: matched to their requests by position, and streamed or written anew.

use std::time::{Duration, Instant};

use super::draft::{Draft, Made};
use super::in_flight::{Answer, Pending};
use super::place::Whereabouts;
use super::{
    FULL_RETRY, HeldFetch, Learning, Next, Session, Step, Wait, end_of_run, frame_length, malformed, park,
};
use crate::metrics::{CloseReason, TimeKind};
use crate::pipeline::Pipeline;
use crate::pipeline::fetch::{FetchFrame, FetchWork, Fetched};
use crate::pipeline::hidden::NamedBrokers;
use crate::protocol::api_key::{API_VERSIONS, FETCH, FIND_COORDINATOR, METADATA, PRODUCE, SASL_AUTHENTICATE};
use crate::protocol::frame::{LENGTH_PREFIX_BYTES, response_correlation_id, response_header_end};
use crate::protocol::policy::{api_policy, response_header_flexible};
use crate::protocol::{addresses, api_versions, produce_response};

impl Session {
    /// Takes bytes from the broker; what goes to the client is forwarded or appended to `out`.
    pub fn responses(
        &mut self,
        pipeline: &mut Pipeline,
        now: Instant,
        input: &mut [u8],
        out: &mut Vec<u8>,
    ) -> Result<Step, CloseReason> {
        let mut run = self.response_left.min(input.len());
        self.response_left -= run;
        self.rest_follows &= self.response_left > 0;
        loop {
            match self.next_response(pipeline, now, input, run, out) {
                Ok(Next::Streamed(bytes)) => run += bytes,
                Ok(Next::Step(step)) => return Ok(step),
                Err(_) if run > 0 => return Ok(Step::Forward(run)),
                Err(reason) => return Err(reason),
            }
        }
    }

    /// Looks at the response behind the first `run` bytes, which are streamed.
    fn next_response(
        &mut self,
        pipeline: &mut Pipeline,
        now: Instant,
        input: &mut [u8],
        run: usize,
        out: &mut Vec<u8>,
    ) -> Result<Next, CloseReason> {
        if self.answers_itself() {
            if run > 0 {
                return Ok(Next::Step(Step::Forward(run)));
            }
            if let Some(Pending {
                answer: Answer::Local(frame),
                ..
            }) = self.answered(pipeline, 0)
            {
                out.extend_from_slice(&frame);
            }
            return Ok(Next::Step(Step::Wrote(0)));
        }
        let Some(rest) = input.get(run..).filter(|rest| rest.len() >= RESPONSE_HEAD_BYTES) else {
            return end_of_run(run, input, RESPONSE_BYTES_MIN);
        };
        let frame_bytes = frame_length(rest, RESPONSE_BYTES_MIN)?;
        let front = self.in_flight.front().ok_or(CloseReason::UnexpectedResponse)?;
        let correlation_id = rest.get(LENGTH_PREFIX_BYTES..).and_then(response_correlation_id);
        if correlation_id != Some(front.correlation_id) {
            return Err(CloseReason::UnexpectedResponse);
        }
        let (api_key, whole) = (front.api_key, frame_bytes.saturating_add(LENGTH_PREFIX_BYTES));
        if matches!(front.answer, Answer::Stream) {
            let here = whole.min(rest.len());
            self.answered(pipeline, 0);
            self.response_left = whole - here;
            return Ok(Next::Streamed(here));
        }
        let own = matches!(front.answer, Answer::Own);
        let bytes_max = if own {
            OWN_ANSWER_BYTES_MAX
        } else {
            response_bytes_max(pipeline, api_key)
        };
        if frame_bytes > bytes_max {
            return Err(CloseReason::FrameTooLarge);
        }
        if run > 0 {
            return Ok(Next::Step(Step::Forward(run)));
        }
        match input.get_mut(LENGTH_PREFIX_BYTES..whole) {
            Some(frame) if own => self.take_own_answer(pipeline, now, frame).map(Next::Step),
            Some(frame) => self.rewrite(pipeline, now, frame, out).map(Next::Step),
            None => Ok(Next::Step(Step::More)),
        }
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
        if api_key != FETCH {
            // All at once, but for what is not looked at; many of these may lie one behind the other.
            pipeline.work.charge(frame.len());
        }
        let whole = frame.len().saturating_add(LENGTH_PREFIX_BYTES);
        let mut sasl_error = 0;
        if addresses::carries_addresses(api_key, version)
            && let Some(wait) = self.learn(pipeline, now, api_key, version, frame)?
        {
            return Ok(Step::Blocked(wait));
        }
        self.finished = Some((TimeKind::Held, Duration::ZERO));
        match api_key {
            FETCH => {
                self.finished = None;
                return self.fetch(pipeline, now, version, frame, out);
            }
            PRODUCE => {
                let refusals = match self.in_flight.front().map(|front| &front.answer) {
                    Some(Answer::Produce(refusals)) => refusals.as_slice(),
                    _ => &[],
                };
                pipeline.count_too_large(self.listener.cluster, frame, version);
                let address_of = &mut |node| self.listener.address_of(node);
                let is_written = produce_response::merge(frame, version, refusals, address_of, out);
                if !is_written.map_err(malformed)? {
                    self.answered(pipeline, sasl_error);
                    return Ok(Step::Forward(whole));
                }
            }
            API_VERSIONS => api_versions::intersect(frame, version, out).map_err(malformed)?,
            SASL_AUTHENTICATE => {
                sasl_error = body_error_code(frame, api_key, version)?;
                self.answered(pipeline, sasl_error);
                return Ok(Step::Forward(whole));
            }
            _ if addresses::carries_addresses(api_key, version) => {
                let (written, unserved) = self
                    .listener
                    .rewrite(api_key, version, frame, out)
                    .map_err(malformed)?;
                if api_key == FIND_COORDINATOR {
                    pipeline.metrics.connections.coordinators_hidden += unserved;
                }
                let whereabouts = self.take_note(api_key, version, frame)?;
                if whereabouts == Whereabouts::Elsewhere {
                    self.leave(CloseReason::Learned);
                }
                self.answered(pipeline, sasl_error);
                // What needs no change is not copied.
                self.response_left = frame.len().saturating_sub(written);
                self.rest_follows = self.response_left > 0;
                return Ok(Step::Wrote(written.saturating_add(LENGTH_PREFIX_BYTES)));
            }
            _ => {
                self.answered(pipeline, sasl_error);
                return Ok(Step::Forward(whole));
            }
        }
        self.answered(pipeline, sasl_error);
        Ok(Step::Wrote(whole))
    }

    /// Whether the response tells addresses that are not known to every executor yet.
    pub(super) fn learn(
        &mut self,
        pipeline: &mut Pipeline,
        now: Instant,
        api_key: i16,
        version: i16,
        frame: &[u8],
    ) -> Result<Option<Wait>, CloseReason> {
        let cluster = pipeline
            .clusters
            .get_mut(self.listener.cluster)
            .ok_or(CloseReason::Internal)?;
        let book = &cluster.addresses;
        let mut named = NamedBrokers::default();
        let mut news = book
            .news(&self.listener, api_key, version, frame, &mut named)
            .map_err(|error| {
                self.fault = Some(error);
                malformed(error)
            })?;
        if api_key == METADATA {
            cluster.hidden.note(&self.listener, named);
        }
        if let Some(learning) = &self.learning {
            // What has been told since they were handed over need not be what this response says: brokers disagree while one
            // moves, and a response may contradict itself. Its nodes are served all the same.
            news.retain(|learned| {
                let before = learning.tellings_before.get(&learned.node_id);
                before == Some(&book.tellings(learned.node_id))
            });
        }
        if news.is_empty() {
            self.learning = None;
            return Ok(None);
        }
        if let Some(learning) = &self.learning {
            if now >= learning.until {
                return Err(CloseReason::Internal);
            }
            return Ok(Some(Wait::Addresses(Vec::new(), learning.until)));
        }
        let until = now + LEARN_WAIT;
        let nodes = news.iter().map(|learned| learned.node_id);
        self.learning = Some(Learning {
            until,
            tellings_before: nodes.map(|node| (node, book.tellings(node))).collect(),
        });
        Ok(Some(Wait::Addresses(news, until)))
    }

    #[expect(clippy::too_many_lines, reason = "longer than a screen: to be split")]
    fn fetch(
        &mut self,
        pipeline: &mut Pipeline,
        now: Instant,
        version: i16,
        frame: &mut [u8],
        out: &mut Vec<u8>,
    ) -> Result<Step, CloseReason> {
        let whole = frame.len().saturating_add(LENGTH_PREFIX_BYTES);
        let mut fetch = FetchFrame {
            cluster: self.listener.cluster,
            client: &self.client,
            told_gaps: &self.told_gaps,
            frame,
            version,
            connection: self.connection,
            may_grow: pipeline.may_grow(self.connection),
            begun: self.fetch.as_ref().map_or(now, |held| held.since),
            now,
        };
        let mut held = match self.fetch.take() {
            Some(held) => held,
            None => Box::new(HeldFetch {
                work: FetchWork::begin(&mut pipeline.fetch, fetch.frame, version)?,
                draft: Draft::new(fetch.frame.len() > pipeline.work.turn_bytes(), out),
                since: now,
                hold: None,
                waits: false,
                parked: false,
            }),
        };
        let overdue = held.hold.is_some_and(|until| now >= until);
        if let Some(until) = held.hold
            && !overdue
            && !held.waits
        {
            self.fetch = Some(held);
            return Ok(Step::Blocked(Wait::Until(until)));
        }
        let advanced = loop {
            match held.draft.make_room(&mut pipeline.work, fetch.may_grow) {
                Made::Ready => {}
                Made::Spent => break Ok(Fetched::Partly),
                Made::Full => break Ok(Fetched::Full),
            }
            let target = held.draft.target(out);
            let advanced = held.work.advance(pipeline, &mut fetch, target);
            let Ok(Fetched::Room(bytes)) = advanced else {
                break advanced;
            };
            held.keep(out);
            held.draft.want_room(bytes);
        };
        if !matches!(advanced, Ok(Fetched::Partly)) {
            pipeline.grown(self.connection);
        }
        if advanced.is_err() {
            park(&mut pipeline.metrics.gauges.fetch_parked, &mut held.parked, false);
        }
        match advanced? {
            Fetched::Partly | Fetched::Room(_) => {
                held.keep(out);
                self.fetch = Some(held);
                return Ok(Step::Yield);
            }
            Fetched::Full => {
                held.keep(out);
                self.fetch = Some(held);
                return Ok(Step::Blocked(Wait::Until(now + FULL_RETRY)));
            }
            Fetched::Verbatim => {
                if held.work.delivers() {
                    self.pace.delivered();
                }
                self.finished = Some((TimeKind::Fetch, now.saturating_duration_since(held.since)));
                held.work.finish(&mut pipeline.fetch);
                self.answered(pipeline, 0);
                return Ok(Step::Forward(whole));
            }
            Fetched::Nothing { waits } if !overdue => {
                held.work.retract(held.draft.target(out));
                held.work = held.work.again();
                held.waits = waits;
                if waits {
                    park(&mut pipeline.metrics.gauges.fetch_parked, &mut held.parked, true);
                }
                let hold = self.pace.hold(pipeline.limits.fetch_hold, whole);
                let until = *held.hold.get_or_insert(now + hold);
                self.fetch = Some(held);
                return Ok(Step::Blocked(if waits {
                    Wait::News(until)
                } else {
                    Wait::Until(until)
                }));
            }
            Fetched::Nothing { .. } => self.pace.nothing(now, whole),
            Fetched::Written if held.work.delivers() => self.pace.delivered(),
            Fetched::Written => {}
        }
        held.draft.deliver(out);
        self.told_gaps.tell(held.work.take_tellings());
        self.finished = Some((TimeKind::Fetch, now.saturating_duration_since(held.since)));
        park(&mut pipeline.metrics.gauges.fetch_parked, &mut held.parked, false);
        held.work.finish(&mut pipeline.fetch);
        self.answered(pipeline, 0);
        Ok(Step::Wrote(whole))
    }
}

impl HeldFetch {
    /// The response is not done: what is written of it goes on in the draft.
    fn keep(&mut self, out: &mut Vec<u8>) {
        if let Some(start) = self.work.start() {
            let moved = self.draft.keep(out, start);
            self.work.move_forward(moved);
        }
    }
}

fn response_bytes_max(pipeline: &Pipeline, api_key: i16) -> usize {
    if api_key == FETCH {
        return pipeline.limits.fetch_response_bytes_max;
    }
    api_policy(api_key).map_or(0, |policy| policy.response_bytes_max)
}

/// The error code that a response's body begins with.
fn body_error_code(frame: &[u8], api_key: i16, version: i16) -> Result<i16, CloseReason> {
    let at = response_header_end(frame, response_header_flexible(api_key, version)).map_err(malformed)?;
    let bytes = frame
        .get(at..)
        .and_then(|body| body.first_chunk())
        .ok_or(CloseReason::MalformedFrame)?;
    Ok(i16::from_be_bytes(*bytes))
}

/// Length, correlation id.
const RESPONSE_HEAD_BYTES: usize = LENGTH_PREFIX_BYTES + 4;
/// Correlation id.
pub(super) const RESPONSE_BYTES_MIN: usize = 4;
/// Ten thousand brokers, at a hundred bytes each.
const OWN_ANSWER_BYTES_MAX: usize = 1024 * 1024;
/// The control thread answers within a tick; seconds are a hang.
const LEARN_WAIT: Duration = Duration::from_secs(2);
