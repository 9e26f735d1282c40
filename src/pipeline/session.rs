//! One connection, both directions: frames are told apart, judged by the policy table, and streamed or rewritten.
//!
//! A session is fed with the bytes that have arrived and says what to do with them, one [`Step`] at a time. It never
//! keeps input: what it has not consumed it wants to see again, with more behind it.
//!
//! - SESSION-1: what is streamed is not looked at beyond its first 8 bytes, but for fetches ([`passing`]); what is
//!   held is bounded by its API's cap, and nothing is reserved for a length that is only announced.
//! - SESSION-2: a request outside the policy table, or outside the range that ApiVersions was answered with, closes the
//!   connection; ApiVersions itself in a version that is too high is answered with error 35, as a broker does.
//! - SESSION-3: answers go out in the order of their requests, the proxy's own among them.
//! - SESSION-4: a drain ends although the client goes on sending: what was read when it began is taken to the end of
//!   its last frame, and nothing behind it.
//! - SESSION-5: a connection that comes from this very program, by way of a port forward or of another proxy, is closed
//!   when its ApiVersions request shows it, or each connection would make another one.

mod announced;
mod at_broker;
mod draft;
mod held;
mod in_flight;
mod learning;
mod login;
mod own_names;
mod own_purpose;
mod own_requests;
mod passing;
mod place;
mod refused_items;
mod relogin;
mod requests;
mod responses;
mod run;

use std::sync::Arc;
use std::time::{Duration, Instant};

use self::at_broker::AtBroker;
pub use self::at_broker::{BrokerFault, BrokerSession, ReachedBroker};
use self::held::Held;
use self::in_flight::{Answer, InFlight, Pending};
use self::learning::Learning;
use self::login::Login;
use self::own_names::OwnNames;
use self::own_requests::OwnRequests;
use self::passing::Passing;
use self::place::Place;
use self::relogin::Relogin;
pub use self::relogin::{FAILURE_DELAY, HASH_WAIT};
use super::Pipeline;
use super::fetch::FetchWork;
use super::listener_map::ListenerMap;
use super::pace::Pace;
use super::produce::{ProduceWork, SequenceGuard};
use super::told_gaps::ToldGaps;
use crate::config::{HostPort, Limits};
use crate::identity::Client;
use crate::ids::ClusterId;
use crate::messages::LearnedAddress;
use crate::metrics::{CloseReason, Direction, TimeKind};
use crate::protocol::ProtocolError;
use crate::protocol::frame::RequestHead;
use crate::protocol::policy::Policy;
use crate::protocol::preface::Preface;

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
    /// An answer, until this point in time.
    Answer(Instant),
    /// A key ([`Pipeline::news`]), or this point in time.
    News(Instant),
    /// This point in time.
    Until(Instant),
    /// That addresses are known to every executor ([`Pipeline::news_of`]), until the point in time. These are to
    /// be handed over; none where that was done before.
    Addresses(Vec<LearnedAddress>, Instant),
    /// That passwords were hashed, until this point in time.
    Login(Instant),
}

/// One connection; see the module.
pub struct Session {
    listener: Arc<ListenerMap>,
    connection: u32,
    client: Client,
    in_flight: InFlight,
    login: Login,
    /// Of a client that has logged in at the proxy.
    relogin: Option<Box<Relogin>>,
    /// Of a client for whom the proxy has logged in at the broker.
    at_broker: Option<Box<AtBroker>>,
    guard: SequenceGuard,
    /// Bytes of the current frame that are still to be streamed.
    request_left: usize,
    response_left: usize,
    /// What is left of the response lies at hand, behind its beginning, which was written anew.
    rest_follows: bool,
    /// While draining: bytes that were read when it began and are not taken yet. A frame that begins behind them is not
    /// taken any more.
    drain_left: Option<usize>,
    produce: Option<Box<Held<ProduceWork>>>,
    fetch: Option<Box<Held<FetchWork>>>,
    passing: Passing,
    names: OwnNames,
    pace: Pace,
    told_gaps: ToldGaps,
    learning: Option<Learning>,
    place: Place,
    own: OwnRequests,
    /// The client has sent a request.
    begun: bool,
    /// What the client's first bytes look like, where they are no request.
    preface: Option<Preface>,
    /// What could not be understood.
    fault: Option<ProtocolError>,
    /// The broker has answered anything at all.
    heard: bool,
    closing: Option<CloseReason>,
    /// What the last step has finished, and how long it had waited before.
    finished: Option<(TimeKind, Duration)>,
}

impl Session {
    /// A session of the client connection number `connection` of its executor. `node`: the node on whose port the
    /// client came, and the address that was connected to.
    pub fn new(
        listener: Arc<ListenerMap>,
        connection: u32,
        limits: &Limits,
        node: Option<(i32, HostPort)>,
    ) -> Self {
        Self {
            listener,
            connection,
            client: Client::default(),
            in_flight: InFlight::new(limits.in_flight_requests_max, limits.in_flight_bytes_max),
            login: Login::default(),
            relogin: None,
            at_broker: None,
            guard: SequenceGuard::default(),
            request_left: 0,
            response_left: 0,
            rest_follows: false,
            drain_left: None,
            produce: None,
            fetch: None,
            passing: Passing::default(),
            names: OwnNames::default(),
            pace: Pace::default(),
            told_gaps: ToldGaps::default(),
            learning: None,
            place: Place::new(node),
            own: OwnRequests::default(),
            begun: false,
            preface: None,
            fault: None,
            heard: false,
            closing: None,
            finished: None,
        }
    }

    /// The same, of a client that is named in refusals.
    #[must_use]
    pub fn of(self, client: Client) -> Self {
        Self { client, ..self }
    }

    /// Who is at the other end.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// What the client's first bytes look like, if they are no Kafka request and of a kind that is known.
    pub fn looks_like(&self) -> Option<&'static str> {
        self.preface.map(Preface::as_str)
    }

    /// What of a response could not be understood, where that has closed the connection.
    pub fn fault(&self) -> Option<ProtocolError> {
        self.fault
    }

    /// Position of the cluster in the configuration.
    pub fn cluster(&self) -> ClusterId {
        self.listener.cluster
    }

    /// To be called when the connection ends: what was counted as in flight is not any more.
    pub fn abandon(&mut self, pipeline: &mut Pipeline) {
        pipeline.grown(self.connection);
        if self.relogin.is_some() {
            pipeline.logins.forget(self.connection);
        }
        let unanswered = self.in_flight.len() as u64;
        let gauge = &mut pipeline.metrics.gauges.requests_in_flight;
        *gauge = gauge.saturating_sub(unanswered);
        if let Some(held) = self.produce.take() {
            held.end(pipeline);
        }
        if let Some(held) = self.fetch.take() {
            held.end(pipeline);
        }
    }

    /// To be called when frames do not go on for now, whatever they wait for: others may take memory (PIPELINE-6).
    pub fn rest(&self, pipeline: &mut Pipeline) {
        pipeline.grown(self.connection);
    }

    /// What kind of held frame the last step has finished, and how long it had waited in the proxy before that step
    /// began; to be asked once after every step. Whoever has the clock adds what the step itself took.
    pub fn take_finished(&mut self) -> Option<(TimeKind, Duration)> {
        self.finished.take()
    }

    /// Whether the broker has shown that it takes this client.
    pub fn is_proven(&self) -> bool {
        self.login.is_proven()
    }

    /// Whether the broker has a whole request of the client, or of the session itself, to answer.
    pub fn waits_for_broker(&self) -> bool {
        !self.in_flight.is_empty() && self.request_left == 0
    }

    /// Whether the broker has shown for certain that the client is logged in, or need not be: only then are records
    /// worked on, and long requests taken.
    pub fn is_logged_in(&self) -> bool {
        self.login.is_logged_in()
    }

    /// Whether the broker has answered anything at all.
    pub fn has_heard(&self) -> bool {
        self.heard
    }

    /// Whether no request is unanswered and no frame half way through.
    pub fn is_quiet(&self) -> bool {
        self.in_flight.is_empty() && self.request_left == 0 && self.response_left == 0
    }

    /// Whether no frame is half way through, and nothing is unanswered but what brokers may hold for minutes, and
    /// behind it what changes nothing: nothing is lost when the connection ends.
    pub fn only_polls(&self) -> bool {
        self.request_left == 0
            && self.response_left == 0
            && are_polls(self.listener.policy, self.in_flight.iter())
    }

    /// The same, but for a request of which the client has sent a part, and which nobody can answer.
    pub fn owes_only_polls(&self) -> bool {
        let begun = usize::from(self.request_left > 0);
        let whole = self.in_flight.len().saturating_sub(begun);
        self.response_left == 0 && are_polls(self.listener.policy, self.in_flight.iter().take(whole))
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

    /// Bytes of memory in which a frame of that direction is decompressed and written turn by turn.
    pub fn bytes_held(&self, direction: Direction) -> usize {
        match direction {
            Direction::Request => self.produce.as_ref().map_or(0, |held| held.bytes_held()),
            Direction::Response => self.fetch.as_ref().map_or(0, |held| held.bytes_held()),
        }
    }

    /// Why the connection is to be closed once everything is written.
    pub fn closing(&self) -> Option<CloseReason> {
        // The answer that taught or says why is still to go out.
        self.closing
            .filter(|_| self.learning.is_none() && !self.rest_follows && !self.answers_itself())
    }

    /// From now on nothing is taken from the client, and the connection is to be closed once what is at hand is
    /// written.
    pub fn leave(&mut self, reason: CloseReason) {
        self.closing.get_or_insert(reason);
    }

    /// From now on only frames that begin within the `read` bytes at hand are taken (SESSION-4).
    pub fn drain(&mut self, read: usize) {
        self.drain_left.get_or_insert(read);
    }

    /// Whether bytes from the client are wanted: always, but while draining only to finish what was begun.
    pub fn takes_requests(&self) -> bool {
        self.request_left > 0 || self.drain_left != Some(0)
    }

    fn note_request(&mut self, pipeline: &mut Pipeline, head: RequestHead, bytes: usize, answer: Answer) {
        pipeline.metrics.frames(Direction::Request).frame(head.api_key);
        self.begun = true;
        let pending = Pending {
            api_key: head.api_key,
            api_version: head.api_version,
            correlation_id: head.correlation_id,
            bytes,
            answer,
        };
        self.requested(pipeline, pending);
    }

    /// A request is on its way, and will be answered.
    fn requested(&mut self, pipeline: &mut Pipeline, pending: Pending) {
        let gauge = &mut pipeline.metrics.gauges.requests_in_flight;
        *gauge = gauge.saturating_add(1);
        self.login.requested(pending.api_key);
        self.in_flight.push(pending);
    }

    /// The answer to the oldest request has come.
    fn answered(&mut self, pipeline: &mut Pipeline, sasl_error: i16) -> Option<Pending> {
        let pending = self.in_flight.pop()?;
        self.learning = None;
        if !matches!(pending.answer, Answer::Own(_)) {
            pipeline
                .metrics
                .frames(Direction::Response)
                .frame(pending.api_key);
        }
        self.heard |= !matches!(pending.answer, Answer::Local(_));
        pipeline.metrics.gauges.requests_in_flight =
            pipeline.metrics.gauges.requests_in_flight.saturating_sub(1);
        self.login.answered(pending.api_key, sasl_error);
        Some(pending)
    }
}

/// Whether the first of these may be held by the broker for minutes, and all are asked again without harm.
fn are_polls<'a>(policy: Policy, pending: impl Iterator<Item = &'a Pending>) -> bool {
    let mut apis = pending.map(|pending| policy.api(pending.api_key));
    apis.next()
        .is_none_or(|first| first.is_some_and(|api| api.may_be_held))
        && apis.all(|api| api.is_some_and(|api| api.may_be_held || api.changes_nothing))
}
