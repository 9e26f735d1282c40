//! One connection, both directions: frames are told apart, judged by the policy table, and streamed or rewritten.
//!
//! A session is fed with the bytes that have arrived and says what to do with them, one [`Step`] at a time. It never keeps
//! input: what it has not consumed it wants to see again, with more behind it.
//!
//! - SESSION-1: what is streamed is not looked at beyond its first 8 bytes; what is held is bounded by its API's cap, and
//!   nothing is reserved for a length that is only announced.
//! - SESSION-2: a request outside the policy table, or outside the range that ApiVersions was answered with, closes the
//!   connection; ApiVersions itself in a version that is too high is answered with error 35, as a broker does.
//! - SESSION-3: answers go out in the order of their requests, the proxy's own among them.
//! - SESSION-4: a drain ends although the client goes on sending: what was read when it began is taken to the end of its
//!   last frame, and nothing behind it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Pipeline;
use super::addresses::{LearnedAddress, ListenerMap};
use super::authentication::{self, API_VERSIONS, Authentication, SASL_AUTHENTICATE};
use super::fetch::{FetchFrame, FetchWork, Fetched};
use super::in_flight::{Answer, InFlight, Pending};
use super::produce::{ProduceFrame, Produced};
use super::sequence_guard::SequenceGuard;
use crate::config::{HostPort, Limits};
use crate::metrics::{CloseReason, Direction, TimeKind};
use crate::protocol::api_key::{FETCH, PRODUCE};
use crate::protocol::frame::{
    LENGTH_PREFIX_BYTES, RequestHead, response_correlation_id, response_header_end,
};
use crate::protocol::policy::{
    ApiPolicy, RequestHandling, ResponseHandling, api_policy, response_header_flexible,
};
use crate::protocol::produce_response::Refusal;
use crate::protocol::{ProtocolError, addresses, api_versions, produce_response};

/// What the next bytes are to be used for.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// The first so many bytes go to the other side as they are.
    Forward(usize),
    /// The first so many bytes are used up; what goes to the other side was appended to the output.
    Wrote(usize),
    /// More bytes are needed.
    More,
    /// Nothing can be done before something has happened.
    Blocked(Wait),
    /// There is more to do; let others go first.
    Yield,
}

/// What a session waits for.
#[derive(Debug, PartialEq, Eq)]
pub enum Wait {
    /// Room among the requests in flight: an answer.
    Room,
    /// A key or an address ([`Pipeline::news`]), or this point in time.
    News(Instant),
    /// This point in time.
    Until(Instant),
    /// That these addresses are made known to every executor ([`Pipeline::news`]), until the point in time.
    Addresses(Vec<LearnedAddress>, Instant),
}

/// One connection; see the module.
pub struct Session {
    listener: Arc<ListenerMap>,
    connection: u32,
    in_flight: InFlight,
    authentication: Authentication,
    guard: SequenceGuard,
    /// Bytes of the current frame that are still to be streamed.
    request_left: usize,
    response_left: usize,
    /// While draining: bytes that were read when it began and are not taken yet. A frame that begins behind them is not
    /// taken any more.
    drain_left: Option<usize>,
    produce: Option<Held>,
    fetch: Option<Box<HeldFetch>>,
    learning: Option<Held>,
    /// The node that the client came for and whose address was not known, and where it was connected to instead.
    unknown_node: Option<(i32, HostPort)>,
    closing: Option<CloseReason>,
    /// What the last step has finished, and how long it had waited before.
    finished: Option<(TimeKind, Duration)>,
}

/// What a look at one frame came to.
enum Next {
    /// So many more bytes are streamed.
    Streamed(usize),
    /// This is to be done next.
    Step(Step),
}

/// Since when a frame is held, and how long it may be.
#[derive(Clone, Copy)]
struct Held {
    since: Instant,
    until: Instant,
    /// It is counted as one that waits.
    parked: bool,
}

struct HeldFetch {
    work: FetchWork,
    /// What is written of a response that is worked off in pieces.
    out: Vec<u8>,
    since: Instant,
    hold: Option<Instant>,
    /// Whether a key may change the outcome.
    waits: bool,
    /// It is counted as one that waits.
    parked: bool,
}

impl Session {
    /// A session of the client connection number `connection` of its executor. `unknown_node`: the node that the client
    /// asked for is not known, and the session is connected to this bootstrap broker to learn its address.
    pub fn new(
        listener: Arc<ListenerMap>,
        connection: u32,
        limits: &Limits,
        unknown_node: Option<(i32, HostPort)>,
    ) -> Self {
        Self {
            listener,
            connection,
            in_flight: InFlight::new(limits.in_flight_requests_max, limits.in_flight_bytes_max),
            authentication: Authentication::default(),
            guard: SequenceGuard::default(),
            request_left: 0,
            response_left: 0,
            drain_left: None,
            produce: None,
            fetch: None,
            learning: None,
            unknown_node,
            closing: None,
            finished: None,
        }
    }

    /// Position of the cluster in the configuration.
    pub fn cluster(&self) -> usize {
        self.listener.cluster
    }

    /// To be called when the connection ends: what was counted as in flight is not any more.
    pub fn abandon(&mut self, pipeline: &mut Pipeline) {
        let unanswered = self.in_flight.len() as u64;
        let gauge = &mut pipeline.metrics.gauges.requests_in_flight;
        *gauge = gauge.saturating_sub(unanswered);
        if let Some(held) = self.produce.take() {
            unpark(&mut pipeline.metrics.gauges.produce_parked, held.parked);
        }
        if let Some(held) = self.fetch.take() {
            unpark(&mut pipeline.metrics.gauges.fetch_parked, held.parked);
            held.work.finish(pipeline);
        }
    }

    /// What kind of held frame the last step has finished, and how long it had waited in the proxy before that step began; to
    /// be asked once after every step. Whoever has the clock adds what the step itself took.
    pub fn take_finished(&mut self) -> Option<(TimeKind, Duration)> {
        self.finished.take()
    }

    /// Whether the broker has shown that it takes this client, or has a whole ordinary request of it to answer.
    pub fn is_proven(&self) -> bool {
        self.authentication.is_proven() || (self.authentication.has_asked() && self.request_left == 0)
    }

    /// Whether no request is unanswered and no frame half way through.
    pub fn is_quiet(&self) -> bool {
        self.in_flight.is_empty() && self.request_left == 0 && self.response_left == 0
    }

    /// Whether an answer of the proxy's own is the next to go out, so that [`Self::responses`] is to be called without
    /// anything having come from the broker.
    pub fn answers_itself(&self) -> bool {
        self.response_left == 0
            && self
                .in_flight
                .front()
                .is_some_and(|pending| matches!(pending.answer, Answer::Local(_)))
    }

    /// Bytes of memory in which a response is written piece by piece.
    pub fn bytes_held(&self) -> usize {
        self.fetch.as_ref().map_or(0, |held| held.out.capacity())
    }

    /// Why the connection is to be closed once everything is written.
    pub fn closing(&self) -> Option<CloseReason> {
        self.closing
    }

    /// From now on only frames that begin within the `read` bytes at hand are taken (SESSION-4).
    pub fn drain(&mut self, read: usize) {
        self.drain_left.get_or_insert(read);
    }

    /// Whether bytes from the client are wanted: always, but while draining only to finish what was begun.
    pub fn takes_requests(&self) -> bool {
        self.request_left > 0 || self.drain_left != Some(0)
    }

    /// Takes bytes from the client; what goes to the broker is forwarded or appended to `out`.
    pub fn requests(
        &mut self,
        pipeline: &mut Pipeline,
        now: Instant,
        input: &mut [u8],
        out: &mut Vec<u8>,
    ) -> Result<Step, CloseReason> {
        let step = self.next_requests(pipeline, now, input, out)?;
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
    fn next_request(
        &mut self,
        pipeline: &mut Pipeline,
        now: Instant,
        input: &[u8],
        run: usize,
        out: &mut Vec<u8>,
    ) -> Result<Next, CloseReason> {
        let Some(rest) = input.get(run..).filter(|rest| rest.len() >= HEAD_BYTES) else {
            return end_of_run(run, input, REQUEST_BYTES_MIN);
        };
        let (frame_bytes, head) = request_head(rest)?;
        let policy = api_policy(head.api_key).ok_or(CloseReason::DeniedApi)?;
        let local = head.api_key == API_VERSIONS && head.api_version > policy.max;
        self.check_request(pipeline, policy, head, frame_bytes, local)?;
        if !self.in_flight.has_room(frame_bytes) {
            return Ok(Next::Step(if run > 0 {
                Step::Forward(run)
            } else {
                Step::Blocked(Wait::Room)
            }));
        }
        let whole = frame_bytes.saturating_add(LENGTH_PREFIX_BYTES);
        if policy.request == RequestHandling::Hold || local {
            if run > 0 {
                return Ok(Next::Step(Step::Forward(run)));
            }
            let Some(frame) = input.get(LENGTH_PREFIX_BYTES..whole) else {
                return Ok(Next::Step(Step::More));
            };
            let step = if local {
                self.refuse_version(pipeline, head, frame_bytes)
            } else {
                self.produce(pipeline, now, head, frame, out)
            };
            return step.map(Next::Step);
        }
        let answer = match policy.response {
            ResponseHandling::Stream => Answer::Stream,
            ResponseHandling::Hold => Answer::Rewrite,
        };
        self.note_request(pipeline, head, frame_bytes, answer);
        let here = whole.min(rest.len());
        self.request_left = whole - here;
        Ok(Next::Streamed(here))
    }

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
        if frame_bytes > response_bytes_max(pipeline, api_key) {
            return Err(CloseReason::FrameTooLarge);
        }
        if run > 0 {
            return Ok(Next::Step(Step::Forward(run)));
        }
        match input.get_mut(LENGTH_PREFIX_BYTES..whole) {
            Some(frame) => self.rewrite(pipeline, now, frame, out).map(Next::Step),
            None => Ok(Next::Step(Step::More)),
        }
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
        if !self.authentication.permits(head.api_key) {
            return Err(CloseReason::DeniedApi);
        }
        let limits = &pipeline.limits;
        let bytes_max = if policy.before_auth {
            authentication::FRAME_BYTES_MAX.min(limits.unauthenticated_request_bytes_max)
        } else {
            limits.request_bytes_max
        };
        if frame_bytes > bytes_max {
            return Err(CloseReason::FrameTooLarge);
        }
        Ok(())
    }

    fn note_request(&mut self, pipeline: &mut Pipeline, head: RequestHead, bytes: usize, answer: Answer) {
        pipeline.metrics.frames(Direction::Request).frame(head.api_key);
        pipeline.metrics.gauges.requests_in_flight += 1;
        self.authentication.requested(head.api_key);
        self.in_flight.push(Pending {
            api_key: head.api_key,
            api_version: head.api_version,
            correlation_id: head.correlation_id,
            bytes,
            answer,
        });
    }

    /// The answer to the oldest request has come.
    fn answered(&mut self, pipeline: &mut Pipeline, sasl_error: i16) -> Option<Pending> {
        let pending = self.in_flight.pop()?;
        pipeline
            .metrics
            .frames(Direction::Response)
            .frame(pending.api_key);
        pipeline.metrics.gauges.requests_in_flight =
            pipeline.metrics.gauges.requests_in_flight.saturating_sub(1);
        self.authentication.answered(pending.api_key, sasl_error);
        Some(pending)
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

    fn produce(
        &mut self,
        pipeline: &mut Pipeline,
        now: Instant,
        head: RequestHead,
        frame: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<Step, CloseReason> {
        let held = *self.produce.get_or_insert_with(|| Held {
            since: now,
            until: now + pipeline.limits.seal_wait,
            parked: false,
        });
        let request = ProduceFrame {
            cluster: self.listener.cluster,
            frame,
            version: head.api_version,
            since: held.since,
            overdue: now >= held.until,
            now,
        };
        let produced = pipeline.seal_request(&request, &mut self.guard, out)?;
        let whole = frame.len().saturating_add(LENGTH_PREFIX_BYTES);
        let (step, acks, refusals) = match produced {
            Produced::Waiting { look_again } => {
                if !held.parked {
                    pipeline.metrics.gauges.produce_parked += 1;
                    self.produce = Some(Held { parked: true, ..held });
                }
                let until = look_again.map_or(held.until, |again| again.min(held.until));
                return Ok(Step::Blocked(Wait::News(until)));
            }
            Produced::Verbatim { acks } => (Step::Forward(whole), acks, Vec::new()),
            Produced::Written { acks, refusals } => (Step::Wrote(whole), acks, refusals),
        };
        self.produce = None;
        unpark(&mut pipeline.metrics.gauges.produce_parked, held.parked);
        self.finished = Some((TimeKind::Produce, now.saturating_duration_since(held.since)));
        if acks == 0 {
            // No answer will come that could prove the client: nothing else may ever be sent on this connection.
            pipeline.metrics.frames(Direction::Request).frame(head.api_key);
            self.authentication.requested(head.api_key);
        } else {
            // Refusals are memory, whatever became of the frame.
            let refusal_bytes: usize = refusals.iter().map(Refusal::bytes).sum();
            let bytes = frame.len().saturating_add(refusal_bytes);
            self.note_request(pipeline, head, bytes, Answer::Produce(refusals));
        }
        Ok(step)
    }

    /// Rewrites the answer to the oldest request, which is in hand whole.
    fn rewrite(
        &mut self,
        pipeline: &mut Pipeline,
        now: Instant,
        frame: &mut [u8],
        out: &mut Vec<u8>,
    ) -> Result<Step, CloseReason> {
        let front = self.in_flight.front().ok_or(CloseReason::UnexpectedResponse)?;
        let (api_key, version) = (front.api_key, front.api_version);
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
                produce_response::merge(
                    frame,
                    version,
                    refusals,
                    &mut |node| self.listener.address_of(node),
                    out,
                )
                .map_err(malformed)?;
            }
            API_VERSIONS => api_versions::intersect(frame, version, out).map_err(malformed)?,
            SASL_AUTHENTICATE => {
                sasl_error = body_error_code(frame, api_key, version)?;
                self.answered(pipeline, sasl_error);
                return Ok(Step::Forward(whole));
            }
            _ if addresses::carries_addresses(api_key, version) => {
                self.listener
                    .rewrite(api_key, version, frame, out)
                    .map_err(malformed)?;
                self.close_if_learned(pipeline);
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
    fn learn(
        &mut self,
        pipeline: &Pipeline,
        now: Instant,
        api_key: i16,
        version: i16,
        frame: &[u8],
    ) -> Result<Option<Wait>, CloseReason> {
        let book = pipeline
            .addresses
            .get(self.listener.cluster)
            .ok_or(CloseReason::Internal)?;
        let news = book
            .news(&self.listener, api_key, version, frame)
            .map_err(malformed)?;
        if news.is_empty() {
            self.learning = None;
            return Ok(None);
        }
        let fresh = self.learning.is_none();
        let held = *self.learning.get_or_insert(Held {
            since: now,
            until: now + LEARN_WAIT,
            parked: false,
        });
        if now >= held.until {
            return Err(CloseReason::Internal);
        }
        Ok(Some(if fresh {
            Wait::Addresses(news, held.until)
        } else {
            Wait::News(held.until)
        }))
    }

    /// The client came for a node that was not known: it is to come back to the right broker now.
    fn close_if_learned(&mut self, pipeline: &Pipeline) {
        let Some((node_id, connected)) = &self.unknown_node else {
            return;
        };
        let known = pipeline
            .addresses
            .get(self.listener.cluster)
            .and_then(|book| book.get(*node_id));
        match known {
            Some(address) if address == connected => self.unknown_node = None,
            Some(_) => self.closing = Some(CloseReason::Learned),
            None => {}
        }
    }

    fn fetch(
        &mut self,
        pipeline: &mut Pipeline,
        now: Instant,
        version: i16,
        frame: &mut [u8],
        out: &mut Vec<u8>,
    ) -> Result<Step, CloseReason> {
        let whole = frame.len().saturating_add(LENGTH_PREFIX_BYTES);
        let in_pieces = frame.len() > PIECE_BYTES;
        let mut fetch = FetchFrame {
            cluster: self.listener.cluster,
            frame,
            version,
            connection: self.connection,
            now,
        };
        let mut held = match self.fetch.take() {
            Some(held) => held,
            None => {
                let work = FetchWork::begin(pipeline, fetch.frame, version)?;
                if work.is_verbatim(pipeline, &fetch)? {
                    work.finish(pipeline);
                    self.finished = Some((TimeKind::Fetch, Duration::ZERO));
                    self.answered(pipeline, 0);
                    return Ok(Step::Forward(whole));
                }
                // Opening makes records shorter; the frame is in hand, so that its length is no mere announcement.
                let out = Vec::with_capacity(if in_pieces { whole } else { 0 });
                Box::new(HeldFetch {
                    work,
                    out,
                    since: now,
                    hold: None,
                    waits: false,
                    parked: false,
                })
            }
        };
        let overdue = held.hold.is_some_and(|until| now >= until);
        if let Some(until) = held.hold
            && !overdue
            && !held.waits
        {
            self.fetch = Some(held);
            return Ok(Step::Blocked(Wait::Until(until)));
        }
        let target = if in_pieces { &mut held.out } else { &mut *out };
        let advanced = held.work.advance(pipeline, &mut fetch, PIECE_BYTES, target);
        if advanced.is_err() {
            unpark(&mut pipeline.metrics.gauges.fetch_parked, held.parked);
        }
        match advanced? {
            Fetched::Partly => {
                self.fetch = Some(held);
                return Ok(Step::Yield);
            }
            Fetched::Nothing { waits } if !overdue => {
                held.work.retract(target);
                held.work = held.work.again();
                held.waits = waits;
                if waits && !held.parked {
                    held.parked = true;
                    pipeline.metrics.gauges.fetch_parked += 1;
                }
                let until = *held.hold.get_or_insert(now + pipeline.limits.fetch_hold);
                self.fetch = Some(held);
                return Ok(Step::Blocked(if waits {
                    Wait::News(until)
                } else {
                    Wait::Until(until)
                }));
            }
            Fetched::Written | Fetched::Nothing { .. } => {}
        }
        if in_pieces {
            if out.is_empty() {
                std::mem::swap(out, &mut held.out);
            } else {
                out.extend_from_slice(&held.out);
            }
        }
        self.finished = Some((TimeKind::Fetch, now.saturating_duration_since(held.since)));
        unpark(&mut pipeline.metrics.gauges.fetch_parked, held.parked);
        held.work.finish(pipeline);
        self.answered(pipeline, 0);
        Ok(Step::Wrote(whole))
    }
}

/// A frame that was counted as waiting waits no more.
fn unpark(gauge: &mut u64, parked: bool) {
    *gauge = gauge.saturating_sub(u64::from(parked));
}

/// Length and head of the request that `input` begins with; at least [`HEAD_BYTES`] are there.
fn request_head(input: &[u8]) -> Result<(usize, RequestHead), CloseReason> {
    let length = frame_length(input, REQUEST_BYTES_MIN)?;
    let head = input
        .get(LENGTH_PREFIX_BYTES..)
        .and_then(RequestHead::peek)
        .ok_or(CloseReason::MalformedFrame)?;
    Ok((length, head))
}

/// No frame begins behind the first `run` bytes of `input`, or only a part of its head is there.
fn end_of_run(run: usize, input: &[u8], bytes_min: usize) -> Result<Next, CloseReason> {
    if run > 0 {
        return Ok(Next::Step(Step::Forward(run)));
    }
    // Whoever announces too little says so with the first four bytes.
    if input.len() >= LENGTH_PREFIX_BYTES {
        frame_length(input, bytes_min)?;
    }
    Ok(Next::Step(Step::More))
}

/// The length that a frame announces, which cannot be below `bytes_min`.
fn frame_length(input: &[u8], bytes_min: usize) -> Result<usize, CloseReason> {
    let prefix = input
        .first_chunk::<LENGTH_PREFIX_BYTES>()
        .ok_or(CloseReason::MalformedFrame)?;
    let length = usize::try_from(i32::from_be_bytes(*prefix)).map_err(|_| CloseReason::MalformedFrame)?;
    if length < bytes_min {
        return Err(CloseReason::MalformedFrame);
    }
    Ok(length)
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

fn malformed(_: ProtocolError) -> CloseReason {
    CloseReason::MalformedFrame
}

/// Length, API key, API version, correlation id.
const HEAD_BYTES: usize = LENGTH_PREFIX_BYTES + 8;
/// Length, correlation id.
const RESPONSE_HEAD_BYTES: usize = LENGTH_PREFIX_BYTES + 4;
/// API key, API version, correlation id.
const REQUEST_BYTES_MIN: usize = 8;
/// Correlation id.
const RESPONSE_BYTES_MIN: usize = 4;
/// Records that are opened before others get their turn: about a millisecond.
const PIECE_BYTES: usize = 1024 * 1024;
/// The control thread answers within a tick; seconds are a hang.
const LEARN_WAIT: Duration = Duration::from_secs(2);
