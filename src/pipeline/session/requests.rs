//! A session's requests: what the client sends is judged by the policy table, and streamed, held or answered here.
//!
//! - ADMIN-FOR-1: what changes the cluster goes to no broker from a client that has a name and may not; it is told so
//!   in the request's own form, and the connection stays.

use std::ops::ControlFlow;
use std::time::Instant;

use super::held::Held;
use super::in_flight::{Answer, Pending};
use super::login::{self, is_ordinary};
use super::own_purpose::OwnPurpose;
use super::refused_items::RefusedItems;
use super::run::{self, NextFrame, frame_length, malformed};
use super::{Session, Step, Wait};
use crate::metrics::{CloseReason, Direction, RequestRefusal, TimeKind};
use crate::pipeline::Pipeline;
use crate::pipeline::produce::{ProduceFrame, ProduceWork, Produced};
use crate::pipeline::work::{Pause, Progress};
use crate::protocol::api_key::{API_VERSIONS, FETCH, SASL_AUTHENTICATE};
use crate::protocol::frame::{LENGTH_PREFIX_BYTES, RequestHead};
use crate::protocol::hops::{self, Way};
use crate::protocol::policy::{ApiPolicy, RequestHandling, ResponseHandling};
use crate::protocol::preface::Preface;
use crate::protocol::produce_response::Refusal;
use crate::protocol::request_refusal::{self, Why};
use crate::protocol::{ProtocolError, api_versions, fetch_request};

/// What is to be done with a request that is not streamed.
pub(super) enum ApartRequest {
    /// Before it goes anywhere the broker is asked.
    Ask(OwnPurpose),
    /// It is taken when so many bytes are there, its length among them.
    Frame(RequestHead, usize, Treatment),
}

pub(super) enum Treatment {
    /// ApiVersions in a version that is too high.
    RefuseVersion,
    /// ApiVersions that shows its way.
    PassVersions,
    Produce,
    /// A later login, where logins end here, or one where there are none.
    Login,
    /// What is not its client's to send; the name that says so.
    Refuse(Why, Option<Box<str>>),
    /// Metadata, but for the topics that stand at these positions of it.
    OwnTopics(Vec<usize>),
    /// A list, but for these.
    OwnItems(RefusedItems),
}

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
        if self.closing.is_some() || !self.takes_requests() {
            return Ok(Step::Blocked(Wait::Room));
        }
        // OWN-2
        if let Some(step) = self.own.wait(now)? {
            return Ok(step);
        }
        if self.at_broker.is_some()
            && self.request_left == 0
            && let Some(step) = self.renew(pipeline, now, out)?
        {
            return Ok(step);
        }
        if self.request_left > 0 && !input.is_empty() {
            self.check_broker_login(pipeline, now)?;
        }
        let streamed = self.request_left.min(input.len());
        self.request_left = self.request_left.saturating_sub(streamed);
        let next = run::run(streamed, |run| self.next_request(pipeline, now, input, run))?;
        let (head, whole, action) = match next {
            ControlFlow::Break(step) => return Ok(step),
            ControlFlow::Continue(ApartRequest::Ask(purpose)) => {
                return self.ask(purpose, pipeline, now, out);
            }
            ControlFlow::Continue(ApartRequest::Frame(head, whole, action)) => (head, whole, action),
        };
        let Some(frame) = input.get(LENGTH_PREFIX_BYTES..whole) else {
            return Ok(Step::More);
        };
        match action {
            Treatment::RefuseVersion => self.refuse_version(pipeline, head, frame.len()),
            Treatment::PassVersions => self.pass_versions(pipeline, head, frame, out),
            Treatment::Login => self.take_login(pipeline, now, head, frame),
            Treatment::Refuse(why, name) => self.refuse(pipeline, head, frame, why, name.as_deref()),
            Treatment::OwnTopics(refused) => self.ask_for_own_topics(pipeline, head, frame, &refused, out),
            Treatment::OwnItems(refused) => self.ask_for_own_items(pipeline, head, frame, &refused, out),
            Treatment::Produce => self.produce(pipeline, now, head, frame, out),
        }
    }

    /// Looks at the request behind the first `run` bytes, which are streamed.
    fn next_request(
        &mut self,
        pipeline: &mut Pipeline,
        now: Instant,
        input: &mut [u8],
        run: usize,
    ) -> Result<NextFrame<ApartRequest>, CloseReason> {
        if self.request_left == 0 && self.drain_left.is_some_and(|left| run >= left) {
            return Ok(NextFrame::Step(Step::Blocked(Wait::Room)));
        }
        // AT-BROKER-4
        if run > 0 && self.renewal_is_due(now) {
            return Ok(NextFrame::Step(Step::Blocked(Wait::Room)));
        }
        let rest = input.get_mut(run..).unwrap_or_default();
        if rest.len() < HEAD_BYTES {
            return run::beginning(rest, REQUEST_BYTES_MIN);
        }
        let (frame_bytes, head) = request_head(rest)?;
        self.client.note(rest);
        let policy = self
            .listener
            .policy
            .api(head.api_key)
            .ok_or(CloseReason::DeniedApi)?;
        let local = head.api_key == API_VERSIONS && head.api_version > policy.max;
        self.check_request(pipeline, policy, head, frame_bytes, local)?;
        let is_login = self.ends_here(head.api_key, frame_bytes)?;
        if !is_login {
            self.is_in_time(head.api_key, now)?;
        }
        if !is_login && !self.login.permits(head.api_key) {
            // AUTH-5
            if !is_ordinary(head.api_key) || !self.in_flight.iter().any(is_token) {
                return Err(CloseReason::DeniedApi);
            }
            return Ok(NextFrame::Step(Step::Blocked(Wait::Room)));
        }
        let whole = frame_bytes.saturating_add(LENGTH_PREFIX_BYTES);
        let apart = |action| Ok(NextFrame::Apart(ApartRequest::Frame(head, whole, action)));
        if self.withholds(pipeline, policy, frame_bytes) {
            return Ok(NextFrame::Apart(ApartRequest::Ask(OwnPurpose::Brokers)));
        }
        if !self.in_flight.has_room(frame_bytes) {
            return Ok(NextFrame::Step(Step::Blocked(Wait::Room)));
        }
        if is_login {
            return apart(Treatment::Login);
        }
        if local {
            return apart(Treatment::RefuseVersion);
        }
        if hops::shows_way(head) {
            return apart(Treatment::PassVersions);
        }
        if policy.admin && !self.listener.may_administer(&self.client) {
            return self.refused(head, whole, Treatment::Refuse(Why::NotNamed, None));
        }
        // Where a held request goes on, it was judged when it began.
        if self.produce.is_none()
            && let Some(next) = self.judge(pipeline, policy, head, rest, whole)?
        {
            return Ok(next);
        }
        if policy.request == RequestHandling::Hold {
            return apart(Treatment::Produce);
        }
        let answer = match policy.response {
            _ if head.api_key == FETCH => match self.look_at_fetch(pipeline, now, head, rest, whole)? {
                ControlFlow::Break(step) => return Ok(NextFrame::Step(step)),
                ControlFlow::Continue(answer) => answer,
            },
            ResponseHandling::Stream => Answer::Stream,
            ResponseHandling::Hold => Answer::Rewrite,
        };
        let here = whole.min(rest.len());
        self.note_request(pipeline, head, frame_bytes, answer);
        self.request_left = whole.saturating_sub(here);
        Ok(NextFrame::Streamed(here))
    }

    fn check_request(
        &mut self,
        pipeline: &Pipeline,
        policy: &ApiPolicy,
        head: RequestHead,
        frame_bytes: usize,
        local: bool,
    ) -> Result<(), CloseReason> {
        if !local && !self.listener.policy.allows(policy, head.api_version) {
            self.fault = Some(ProtocolError::UnsupportedVersion {
                api_key: head.api_key,
                version: head.api_version,
            });
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

    /// Changes what a Fetch request, the first `whole` bytes of `input`, asks for, where that is called for, and says
    /// what is to be done with its answer, or what has to be done first.
    fn look_at_fetch(
        &mut self,
        pipeline: &mut Pipeline,
        now: Instant,
        head: RequestHead,
        input: &mut [u8],
        whole: usize,
    ) -> Result<ControlFlow<Step, Answer>, CloseReason> {
        let bytes_max = self.pace.response_bytes_max(now);
        let blanks_rack = self.listener.hides() && whole <= WALKED_BYTES_MAX;
        // Topics that are named are remembered, which is not for strangers to make us do.
        let is_walked = self.is_logged_in() && whole <= WALKED_BYTES_MAX;
        let looked_at = match bytes_max {
            _ if is_walked || blanks_rack => whole,
            Some(_) => whole.min(FETCH_HEAD_BYTES),
            None => 0,
        };
        let here = whole.min(input.len());
        if here < looked_at {
            return Ok(ControlFlow::Break(Step::More));
        }
        let frame = input.get_mut(LENGTH_PREFIX_BYTES..here).unwrap_or_default();
        // One that is not well formed, or whose head is longer than anybody's, goes as it is.
        if let Some(bytes_max) = bytes_max {
            let _ = fetch_request::limit_response(frame, head.api_version, bytes_max);
        }
        let answer = if is_walked {
            match self.answer_to_fetch(pipeline, frame, head.api_version)? {
                Some(answer) => answer,
                None => return Ok(ControlFlow::Break(Step::Yield)),
            }
        } else {
            self.passing.forget_session();
            Answer::Rewrite
        };
        // HIDDEN-3
        if blanks_rack {
            pipeline.work.charge(frame.len());
            let _ = fetch_request::blank_rack(frame, head.api_version);
        }
        Ok(ControlFlow::Continue(answer))
    }

    fn refuse_version(
        &mut self,
        pipeline: &mut Pipeline,
        head: RequestHead,
        frame_bytes: usize,
    ) -> Result<Step, CloseReason> {
        let mut answer = Vec::new();
        api_versions::write_unsupported_version(head.correlation_id, self.listener.policy, &mut answer)
            .map_err(malformed)?;
        self.note_request(pipeline, head, frame_bytes, Answer::Local(answer));
        Ok(Step::Wrote(frame_bytes.saturating_add(LENGTH_PREFIX_BYTES)))
    }

    /// ADMIN-FOR-1, OWN-NAMES-1
    fn refuse(
        &mut self,
        pipeline: &mut Pipeline,
        head: RequestHead,
        frame: &[u8],
        why: Why,
        name: Option<&str>,
    ) -> Result<Step, CloseReason> {
        let api = self
            .listener
            .policy
            .api(head.api_key)
            .ok_or(CloseReason::DeniedApi)?;
        let mut answer = Vec::new();
        pipeline.work.charge_parsed(frame.len());
        request_refusal::write(why, head, api, frame, &mut answer).map_err(malformed)?;
        let reason = match why {
            Why::NotNamed | Why::NotAttempted | Why::WithinLogin => RequestRefusal::Cluster,
            Why::Foreign(whose) => whose.into(),
        };
        pipeline.refuse_request(self.listener.cluster, &self.client, api, (reason, name));
        let bytes = frame.len().max(answer.len());
        self.note_request(pipeline, head, bytes, Answer::Local(answer));
        Ok(Step::Wrote(frame.len().saturating_add(LENGTH_PREFIX_BYTES)))
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
        let mut held = match self.produce.take() {
            Some(held) => *held,
            None => {
                let work = ProduceWork::begin(&mut pipeline.produce, frame, head.api_version)?;
                Held::begin(work, frame.len(), pipeline.work.turn_bytes(), out, now)
            }
        };
        let until = held.hold_for(pipeline.limits.seal_wait, now);
        let request = ProduceFrame {
            cluster: self.listener.cluster,
            asking: self.listener.asking(&self.client),
            client: &self.client,
            connection: self.connection,
            frame,
            version: head.api_version,
            since: held.since(),
            overdue: held.is_overdue(now),
            may_grow: pipeline.may_grow(self.connection),
            now,
        };
        let guard = &mut self.guard;
        let advanced = held.advance(pipeline, request.may_grow, out, |work, pipeline, target| {
            work.advance(pipeline, &request, guard, target)
        });
        let waits = matches!(advanced, Ok(Progress::Done(Produced::Waiting { .. })));
        held.park(&mut pipeline.metrics.gauges.produce_parked, waits);
        if !matches!(advanced, Ok(Progress::Paused(Pause::Spent))) {
            pipeline.grown(self.connection);
        }
        let whole = held.whole();
        let step = match advanced {
            Ok(Progress::Paused(pause)) => held.pause(pause, now, out),
            Ok(Progress::Done(Produced::Waiting { look_again })) => {
                held.keep(out);
                Step::Blocked(Wait::News(look_again.map_or(until, |again| again.min(until))))
            }
            Ok(Progress::Done(Produced::Verbatim { acks })) => {
                self.finished = Some((TimeKind::Produce, held.waited(now)));
                held.end(pipeline);
                self.note_produce(pipeline, head, frame.len(), acks, Vec::new());
                return Ok(Step::Forward(whole));
            }
            Ok(Progress::Done(Produced::Written { acks, refusals })) => {
                held.deliver(out);
                self.finished = Some((TimeKind::Produce, held.waited(now)));
                held.end(pipeline);
                self.note_produce(pipeline, head, frame.len(), acks, refusals);
                return Ok(Step::Wrote(whole));
            }
            Err(reason) => {
                held.end(pipeline);
                return Err(reason);
            }
        };
        self.produce = Some(Box::new(held));
        Ok(step)
    }

    /// A Produce request is on its way.
    fn note_produce(
        &mut self,
        pipeline: &mut Pipeline,
        head: RequestHead,
        frame_bytes: usize,
        acks: i16,
        refusals: Vec<Refusal>,
    ) {
        if acks == 0 {
            // No answer will come.
            pipeline.metrics.frames(Direction::Request).frame(head.api_key);
            self.login.requested(head.api_key);
            return;
        }
        // Refusals are memory, whatever became of the frame.
        let refusal_bytes: usize = refusals.iter().map(Refusal::bytes).sum();
        let bytes = frame_bytes.saturating_add(refusal_bytes);
        self.note_request(pipeline, head, bytes, Answer::Produce(refusals));
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
const WALKED_BYTES_MAX: usize = 64 * 1024;
/// API key, API version, correlation id.
const REQUEST_BYTES_MIN: usize = 8;
