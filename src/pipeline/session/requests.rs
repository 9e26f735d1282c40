//! A session's requests: what the client sends is judged by the policy table, and streamed, held or answered here.

use std::time::Instant;

use super::draft::{Draft, Made};
use super::in_flight::{Answer, Pending};
use super::login::{self, is_ordinary};
use super::{
    FULL_RETRY, Held, HeldProduce, Next, Session, Step, Wait, end_of_run, frame_length, malformed, park,
};
use crate::metrics::{CloseReason, Direction, TimeKind};
use crate::pipeline::Pipeline;
use crate::pipeline::produce::{ProduceFrame, ProduceWork, Produced};
use crate::protocol::api_key::{API_VERSIONS, FETCH, SASL_AUTHENTICATE};
use crate::protocol::frame::{LENGTH_PREFIX_BYTES, RequestHead};
use crate::protocol::hops::{self, Way};
use crate::protocol::policy::{ApiPolicy, RequestHandling, ResponseHandling, api_policy};
use crate::protocol::preface::Preface;
use crate::protocol::produce_response::Refusal;
use crate::protocol::{api_versions, fetch_request};

impl Session {
    /// Takes bytes from the client; what goes to the broker is forwarded or appended to `out`.
    pub fn requests(
        &mut self,
        pipeline: &mut Pipeline,
        now: Instant,
        input: &mut [u8],
        out: &mut Vec<u8>,
    ) -> Result<Step, CloseReason> {
        let step = match self.next_requests(pipeline, now, input, out) {
            Ok(step) => step,
            Err(reason) => {
                if !self.begun {
                    self.preface = Preface::of(input);
                }
                return Err(reason);
            }
        };
        if let (Some(left), Step::Forward(bytes) | Step::Wrote(bytes)) = (&mut self.drain_left, &step) {
            *left = left.saturating_sub(*bytes);
        }
        Ok(step)
    }

    fn next_requests(
        &mut self,
        pipeline: &mut Pipeline,
        now: Instant,
        input: &mut [u8],
        out: &mut Vec<u8>,
    ) -> Result<Step, CloseReason> {
        if self.closing.is_some() {
            return Ok(Step::Blocked(Wait::Room));
        }
        // Frames that are streamed and lie one behind the other go out in one write.
        let mut run = self.request_left.min(input.len());
        self.request_left -= run;
        loop {
            if self.request_left == 0 && self.drain_left.is_some_and(|left| run >= left) {
                return Ok(if run > 0 {
                    Step::Forward(run)
                } else {
                    Step::Blocked(Wait::Room)
                });
            }
            match self.next_request(pipeline, now, input, run, out) {
                Ok(Next::Streamed(bytes)) => run += bytes,
                Ok(Next::Step(step)) => return Ok(step),
                // What lies before it goes out first; then the same bytes are looked at again.
                Err(_) if run > 0 => return Ok(Step::Forward(run)),
                Err(reason) => return Err(reason),
            }
        }
    }

    /// Looks at the request behind the first `run` bytes, which are streamed.
    #[expect(clippy::too_many_lines, reason = "longer than a screen: to be split")]
    fn next_request(
        &mut self,
        pipeline: &mut Pipeline,
        now: Instant,
        input: &mut [u8],
        run: usize,
        out: &mut Vec<u8>,
    ) -> Result<Next, CloseReason> {
        let Some(rest) = input.get(run..).filter(|rest| rest.len() >= HEAD_BYTES) else {
            return end_of_run(run, input, REQUEST_BYTES_MIN);
        };
        let (frame_bytes, head) = request_head(rest)?;
        self.client.note(rest);
        let policy = api_policy(head.api_key).ok_or(CloseReason::DeniedApi)?;
        let local = head.api_key == API_VERSIONS && head.api_version > policy.max;
        self.check_request(pipeline, policy, head, frame_bytes, local)?;
        if !self.login.permits(head.api_key) {
            // AUTH-5
            if !is_ordinary(head.api_key) || !self.in_flight.iter().any(is_token) {
                return Err(CloseReason::DeniedApi);
            }
            return Ok(Next::Step(if run > 0 {
                Step::Forward(run)
            } else {
                Step::Blocked(Wait::Room)
            }));
        }
        if self.withholds(pipeline, policy, frame_bytes) {
            if run > 0 {
                return Ok(Next::Step(Step::Forward(run)));
            }
            return self.ask(pipeline, now, out).map(Next::Step);
        }
        if !self.in_flight.has_room(frame_bytes) {
            return Ok(Next::Step(if run > 0 {
                Step::Forward(run)
            } else {
                Step::Blocked(Wait::Room)
            }));
        }
        let whole = frame_bytes.saturating_add(LENGTH_PREFIX_BYTES);
        let shows_way = hops::shows_way(head);
        if policy.request == RequestHandling::Hold || local || shows_way {
            if run > 0 {
                return Ok(Next::Step(Step::Forward(run)));
            }
            let Some(frame) = input.get(LENGTH_PREFIX_BYTES..whole) else {
                return Ok(Next::Step(Step::More));
            };
            let step = if local {
                self.refuse_version(pipeline, head, frame_bytes)
            } else if shows_way {
                self.pass_versions(pipeline, head, frame, out)
            } else {
                self.produce(pipeline, now, head, frame, out)
            };
            return step.map(Next::Step);
        }
        let answer = match policy.response {
            ResponseHandling::Stream => Answer::Stream,
            ResponseHandling::Hold => Answer::Rewrite,
        };
        let here = whole.min(rest.len());
        if head.api_key == FETCH {
            let bytes_max = self.pace.response_bytes_max(now);
            // HIDDEN-3
            let blanks_rack = self.listener.hides() && whole <= BLANKED_BYTES_MAX;
            let looked_at = match bytes_max {
                _ if blanks_rack => whole,
                Some(_) => whole.min(FETCH_HEAD_BYTES),
                None => 0,
            };
            if here < looked_at {
                return Ok(Next::Step(if run > 0 { Step::Forward(run) } else { Step::More }));
            }
            let here = run.saturating_add(LENGTH_PREFIX_BYTES)..run.saturating_add(here);
            let frame = input.get_mut(here).unwrap_or_default();
            // One that is not well formed, or whose head is longer than anybody's, goes as it is.
            if let Some(bytes_max) = bytes_max {
                let _ = fetch_request::limit_response(frame, head.api_version, bytes_max);
            }
            if blanks_rack {
                pipeline.work.charge(frame.len());
                let _ = fetch_request::blank_rack(frame, head.api_version);
            }
        }
        self.note_request(pipeline, head, frame_bytes, answer);
        self.request_left = whole - here;
        Ok(Next::Streamed(here))
    }

    fn check_request(
        &self,
        pipeline: &Pipeline,
        policy: &ApiPolicy,
        head: RequestHead,
        frame_bytes: usize,
        local: bool,
    ) -> Result<(), CloseReason> {
        if !local && !policy.allows(head.api_version) {
            return Err(CloseReason::VersionOutsideRange);
        }
        let limits = &pipeline.limits;
        let bytes_max = if policy.before_auth {
            login::FRAME_BYTES_MAX.min(limits.unauthenticated_request_bytes_max)
        } else {
            limits.request_bytes_max
        };
        if frame_bytes > bytes_max {
            return Err(CloseReason::FrameTooLarge);
        }
        Ok(())
    }

    fn refuse_version(
        &mut self,
        pipeline: &mut Pipeline,
        head: RequestHead,
        frame_bytes: usize,
    ) -> Result<Step, CloseReason> {
        let mut answer = Vec::new();
        api_versions::write_unsupported_version(head.correlation_id, &mut answer).map_err(malformed)?;
        self.note_request(pipeline, head, frame_bytes, Answer::Local(answer));
        Ok(Step::Wrote(frame_bytes.saturating_add(LENGTH_PREFIX_BYTES)))
    }

    /// An ApiVersions request that shows which proxies it has passed goes on and shows this one as well (SESSION-5).
    fn pass_versions(
        &mut self,
        pipeline: &mut Pipeline,
        head: RequestHead,
        frame: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<Step, CloseReason> {
        let whole = frame.len().saturating_add(LENGTH_PREFIX_BYTES);
        let step = match hops::pass(frame, &pipeline.identity, out) {
            Ok(Way::Onward) => Step::Wrote(whole),
            Ok(Way::Round) => return Err(CloseReason::Loop),
            Ok(Way::TooLong) => return Err(CloseReason::TooManyProxies),
            // Brokers close on it as well; and what went on as it is could go round for ever.
            Err(_) => return Err(CloseReason::MalformedFrame),
        };
        self.note_request(pipeline, head, frame.len(), Answer::Rewrite);
        Ok(step)
    }

    #[expect(clippy::too_many_lines, reason = "longer than a screen: to be split")]
    fn produce(
        &mut self,
        pipeline: &mut Pipeline,
        now: Instant,
        head: RequestHead,
        frame: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<Step, CloseReason> {
        if pipeline.work.is_spent() {
            return Ok(Step::Yield);
        }
        let mut produce = match self.produce.take() {
            Some(produce) => *produce,
            None => HeldProduce {
                work: ProduceWork::begin(&mut pipeline.produce, frame, head.api_version)?,
                draft: Draft::new(frame.len() > pipeline.work.turn_bytes(), out),
                held: Held {
                    since: now,
                    until: now + pipeline.limits.seal_wait,
                },
                parked: false,
            },
        };
        let held = produce.held;
        let request = ProduceFrame {
            cluster: self.listener.cluster,
            client: &self.client,
            frame,
            version: head.api_version,
            since: held.since,
            overdue: now >= held.until,
            may_grow: pipeline.may_grow(self.connection),
            now,
        };
        let produced = loop {
            match produce.draft.make_room(&mut pipeline.work, request.may_grow) {
                Made::Ready => {}
                Made::Spent => break Ok(Produced::Partly),
                Made::Full => break Ok(Produced::Full),
            }
            let target = produce.draft.target(out);
            let produced = produce.work.advance(pipeline, &request, &mut self.guard, target);
            let Ok(Produced::Room(bytes)) = produced else {
                break produced;
            };
            produce.keep(out);
            produce.draft.want_room(bytes);
        };
        let waits = matches!(produced, Ok(Produced::Waiting { .. }));
        park(
            &mut pipeline.metrics.gauges.produce_parked,
            &mut produce.parked,
            waits,
        );
        if !matches!(produced, Ok(Produced::Partly)) {
            pipeline.grown(self.connection);
        }
        let whole = frame.len().saturating_add(LENGTH_PREFIX_BYTES);
        let (step, acks, refusals) = match produced {
            Ok(Produced::Partly | Produced::Room(_)) => {
                produce.keep(out);
                self.produce = Some(Box::new(produce));
                return Ok(Step::Yield);
            }
            Ok(Produced::Full) => {
                produce.keep(out);
                self.produce = Some(Box::new(produce));
                return Ok(Step::Blocked(Wait::Until(now + FULL_RETRY)));
            }
            Ok(Produced::Waiting { look_again }) => {
                produce.keep(out);
                self.produce = Some(Box::new(produce));
                let until = look_again.map_or(held.until, |again| again.min(held.until));
                return Ok(Step::Blocked(Wait::News(until)));
            }
            Ok(Produced::Verbatim { acks }) => (Step::Forward(whole), acks, Vec::new()),
            Ok(Produced::Written { acks, refusals }) => {
                produce.draft.deliver(out);
                (Step::Wrote(whole), acks, refusals)
            }
            Err(reason) => {
                produce.work.finish(&mut pipeline.produce);
                return Err(reason);
            }
        };
        produce.work.finish(&mut pipeline.produce);
        self.finished = Some((TimeKind::Produce, now.saturating_duration_since(held.since)));
        if acks == 0 {
            // No answer will come.
            pipeline.metrics.frames(Direction::Request).frame(head.api_key);
            self.login.requested(head.api_key);
        } else {
            // Refusals are memory, whatever became of the frame.
            let refusal_bytes: usize = refusals.iter().map(Refusal::bytes).sum();
            let bytes = frame.len().saturating_add(refusal_bytes);
            self.note_request(pipeline, head, bytes, Answer::Produce(refusals));
        }
        Ok(step)
    }
}

impl HeldProduce {
    /// The request is not done: what is written of it goes on in the draft.
    fn keep(&mut self, out: &mut Vec<u8>) {
        if let Some(start) = self.work.start() {
            let moved = self.draft.keep(out, start);
            self.work.move_forward(moved);
        }
    }
}

fn is_token(pending: &Pending) -> bool {
    pending.api_key == SASL_AUTHENTICATE
}

/// Length and head of the request that `input` begins with; at least [`HEAD_BYTES`] are there.
pub(super) fn request_head(input: &[u8]) -> Result<(usize, RequestHead), CloseReason> {
    let length = frame_length(input, REQUEST_BYTES_MIN)?;
    let head = input
        .get(LENGTH_PREFIX_BYTES..)
        .and_then(RequestHead::peek)
        .ok_or(CloseReason::MalformedFrame)?;
    Ok((length, head))
}

/// Length, API key, API version, correlation id.
const HEAD_BYTES: usize = LENGTH_PREFIX_BYTES + 8;
/// Of a Fetch request: its header, with a client id of ordinary length, and its limits.
const FETCH_HEAD_BYTES: usize = 1024;
/// Fetch requests that are looked at to their end: those of 1500 partitions, and what changes in larger sessions.
const BLANKED_BYTES_MAX: usize = 64 * 1024;
/// API key, API version, correlation id.
const REQUEST_BYTES_MIN: usize = 8;
