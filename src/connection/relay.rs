//! The loop of one connection: both directions in one task, turn by turn.

use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use super::alarms::{AskedNews, NewsKind};
use super::half::{Blocked, Half};
use super::held::HalfKey;
use super::one_way::{Moved, OneWay};
use super::registry::{Request, Status};
use super::shared::Shared;
use super::stream::Stream;
use crate::metrics::{CloseReason, Direction};
use crate::pipeline::{Session, Wait};

/// A connected pair. Polling it runs the connection until it ends or has had its turn; then it is to be polled again.
pub(crate) struct Relay<C, B> {
    client: C,
    broker: B,
    session: Session,
    requests: Half,
    responses: Half,
    status: Rc<Status>,
    shared: Rc<Shared>,
    /// The deadline that the alarms were last told, so that they are told once.
    alarm: Option<Instant>,
    /// For which news the alarms were last asked.
    asked: AskedNews,
    /// Which direction has its turn first.
    responses_first: bool,
    /// Until when a drain waits for answers that the broker may hold for minutes.
    polls_until: Option<Instant>,
}

/// What became of a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TurnOutcome {
    /// There is more to do; others first, those included whose sockets have become ready meanwhile.
    GaveWay,
    /// The connection has ended.
    Ended(CloseReason),
}

impl<C: Stream, B: Stream> Relay<C, B> {
    pub(crate) fn new(
        client: C,
        broker: B,
        session: Session,
        status: Rc<Status>,
        shared: Rc<Shared>,
        now: Instant,
    ) -> Self {
        let half = |direction| {
            let connection = status.id();
            let key = HalfKey {
                connection,
                direction,
            };
            Half::new(key, now)
        };
        Self {
            client,
            broker,
            session,
            requests: half(Direction::Request),
            responses: half(Direction::Response),
            status,
            shared,
            alarm: None,
            asked: AskedNews::default(),
            responses_first: false,
            polls_until: None,
        }
    }

    /// What is known of the connection.
    pub(crate) fn session(&self) -> &Session {
        &self.session
    }

    /// Whether a connection that ends so says that no broker is there: it has answered nothing.
    pub(crate) fn met_silence(&self, reason: CloseReason) -> bool {
        let is_brokers_end = matches!(
            reason,
            CloseReason::BrokerClosed
                | CloseReason::BrokerError
                | CloseReason::BrokerSilent
                | CloseReason::IdleUnauthenticated
        );
        // A client may be tired of waiting sooner than we.
        !self.session.has_heard() && (is_brokers_end || self.session.waits_for_broker())
    }

    /// A turn that begins at `now`.
    pub(crate) fn poll_turn(&mut self, context: &mut Context<'_>, now: Instant) -> Poll<TurnOutcome> {
        match self.run(context, now) {
            Ok(turn) => turn,
            Err(reason) => Poll::Ready(TurnOutcome::Ended(reason)),
        }
    }

    fn run(&mut self, context: &mut Context<'_>, now: Instant) -> Result<Poll<TurnOutcome>, CloseReason> {
        match self.status.request() {
            Request::Close(reason) => return Err(reason),
            Request::Leave(reason) => self.session.leave(reason),
            Request::Run | Request::Drain => {}
        }
        self.status.register(context.waker());
        self.shared.pipeline.borrow_mut().work.begin_turn();
        // Either socket may be why this turn has come.
        for half in [&mut self.requests, &mut self.responses] {
            half.awaits_source = false;
        }
        for _ in 0..ROUNDS_MAX {
            let draining = self.status.request() == Request::Drain;
            if draining {
                self.session.drain(self.requests.untaken());
            }
            self.polls_until = self.status.drain_began().map(|began| began + POLLS_WAIT);
            let (requests, responses) = if self.responses_first {
                let responses = self.pump(Direction::Response, context, now)?;
                (self.pump(Direction::Request, context, now)?, responses)
            } else {
                let requests = self.pump(Direction::Request, context, now)?;
                (requests, self.pump(Direction::Response, context, now)?)
            };
            if requests != Moved::Nothing || responses != Moved::Nothing {
                self.status.touch(now, self.session.is_proven());
                // Who does not read what has come does not wait for more.
                let waits_for_broker = self.session.waits_for_broker() && self.responses.is_delivered();
                self.status.waits_for_broker(now, waits_for_broker);
                if self.requests.end_passed_on {
                    self.status.client_left();
                }
            }
            self.end_if_done(draining, now)?;
            if requests == Moved::Enough || responses == Moved::Enough {
                break;
            }
            if requests != Moved::Input && responses != Moved::Input {
                self.responses_first = false;
                self.wait(context, now);
                return Ok(Poll::Pending);
            }
        }
        // Both directions share the work of a turn: while there is more than one has, neither is always the first.
        self.responses_first = !self.responses_first;
        // The other half may wait for something meanwhile.
        self.wait(context, now);
        Ok(Poll::Ready(TurnOutcome::GaveWay))
    }

    /// Whether a direction that had its chance in this turn goes on only when its socket says so: that wakes the task.
    fn only_waits(&self, direction: Direction) -> bool {
        match direction {
            Direction::Request => self.requests.awaits_source,
            Direction::Response => self.responses.awaits_source && !self.session.answers_itself(),
        }
    }

    fn pump(
        &mut self,
        direction: Direction,
        context: &mut Context<'_>,
        now: Instant,
    ) -> Result<Moved, CloseReason> {
        if self.only_waits(direction) {
            return Ok(Moved::Nothing);
        }
        match direction {
            Direction::Request => OneWay::new(
                direction,
                (&mut self.client, &mut self.broker),
                &mut self.requests,
                &mut self.session,
                &self.shared,
                now,
            )
            .pump(context),
            Direction::Response => OneWay::new(
                direction,
                (&mut self.broker, &mut self.client),
                &mut self.responses,
                &mut self.session,
                &self.shared,
                now,
            )
            .pump(context),
        }
    }

    fn end_if_done(&self, draining: bool, now: Instant) -> Result<(), CloseReason> {
        // CONNECTION-6
        if self.still_at().is_some_and(|still_at| now >= still_at) && self.waits_for_client() {
            return Err(CloseReason::Drain);
        }
        // CONNECTION-7
        if !self.responses.is_delivered() {
            return Ok(());
        }
        if let Some(reason) = self.session.closing() {
            return Err(reason);
        }
        if self.responses.ended {
            return Err(CloseReason::BrokerClosed);
        }
        // The client is gone, and what it had sent has been answered.
        let has_left = self.requests.ended_quietly || self.responses.sink_gone && self.requests.end_passed_on;
        if has_left && self.session.is_quiet() {
            return Err(CloseReason::ClientClosed);
        }
        let drained = draining && !self.session.takes_requests() && self.session.is_quiet();
        if drained && self.requests.is_delivered() && self.responses.is_empty() {
            return Err(CloseReason::Drain);
        }
        // CONNECTION-5: what has come of such an answer is left behind as well, since the client asks again.
        let polls_are_over = self.polls_until.is_some_and(|until| now >= until);
        if polls_are_over
            && !self.session.takes_requests()
            && self.session.only_polls()
            && self.requests.is_delivered()
        {
            return Err(CloseReason::Drain);
        }
        Ok(())
    }

    /// While draining: when nothing has moved for as long as a client is waited for.
    fn still_at(&self) -> Option<Instant> {
        let polls_until = self.polls_until?;
        Some(polls_until.max(self.status.last_active() + POLLS_WAIT))
    }

    /// Whether nothing goes on unless the client does something, or can matter to one that has left. What it has sent
    /// was all passed on then, but for a frame that it has begun and one that waits behind answers that it does not
    /// take.
    fn waits_for_client(&self) -> bool {
        let (requests, responses) = (&self.requests, &self.responses);
        if !requests.is_delivered() {
            return false;
        }
        if requests.awaits_source {
            return !responses.is_delivered() || self.session.owes_only_polls();
        }
        let is_at_rest = match &requests.blocked {
            None => !requests.unfinished && (requests.ended || !self.session.takes_requests()),
            Some(Blocked { wait, .. }) => *wait == Wait::Room,
        };
        let has_left = requests.end_passed_on || responses.sink_gone && requests.untaken() == 0;
        is_at_rest && (!responses.is_delivered() || has_left)
    }

    /// Arranges to be woken by what the halves wait for apart from their sockets.
    fn wait(&mut self, context: &mut Context<'_>, now: Instant) {
        let drain = [self.polls_until, self.still_at()];
        let mut deadline = drain.into_iter().flatten().filter(|until| *until > now).min();
        let (mut keys, mut passwords) = (false, false);
        let mut alarms = self.shared.alarms.borrow_mut();
        for half in [&self.requests, &self.responses] {
            let until = match &half.blocked {
                Some(Blocked { wait, .. }) => match wait {
                    Wait::Room => None,
                    Wait::Until(until) | Wait::Answer(until) => Some(*until),
                    Wait::News(until) => {
                        alarms.on_news(NewsKind::Keys, context.waker(), &mut self.asked);
                        keys = true;
                        Some(*until)
                    }
                    Wait::Addresses(_, until) => {
                        alarms.on_news(NewsKind::Addresses, context.waker(), &mut self.asked);
                        Some(*until)
                    }
                    Wait::Login(until) => {
                        alarms.on_news(NewsKind::Logins, context.waker(), &mut self.asked);
                        passwords = true;
                        Some(*until)
                    }
                },
                None => None,
            };
            deadline = [deadline, until].into_iter().flatten().min();
        }
        let Some(deadline) = deadline else { return };
        if keys {
            self.shared.send_key_requests();
        }
        if passwords {
            self.shared.send_password_checks();
        }
        if self.alarm != Some(deadline) {
            alarms.at(context.waker(), deadline);
            self.alarm = Some(deadline);
        }
    }
}

impl<C, B> Drop for Relay<C, B> {
    fn drop(&mut self) {
        for half in [&mut self.requests, &mut self.responses] {
            self.shared.release(half);
        }
        self.session.abandon(&mut self.shared.pipeline.borrow_mut());
    }
}

/// How long a drain waits for answers that the broker may hold for minutes (CONNECTION-5), most of which come within
/// half a second, and for clients that do nothing (CONNECTION-6).
const POLLS_WAIT: Duration = Duration::from_secs(1);
/// Rounds of one wake-up: with 256 KiB a read, 2 MiB before others get their turn.
const ROUNDS_MAX: usize = 8;
