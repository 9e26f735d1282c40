//! Later logins of a connection whose first one ended at the proxy (KIP-368): in the middle of everything else, and
//! answered in their turn.
//!
//! - RELOGIN-1: when the time of a login is over, the next request ends the connection, unless it begins another login.
//! - RELOGIN-2: a login is asked for only where logins have an end, and once a second at most; others are answered with
//!   error 34, as a broker does, and change nothing.
//! - RELOGIN-3: a login that has failed is answered after a while, when all before it is answered, and ends the
//!   connection.
//! - RELOGIN-4: where the network vouches for clients nobody logs in, nor where a certificate does and the
//!   configuration says whom brokers see, and no broker is asked to let somebody in: error 34, as from a broker's
//!   listener without SASL.

use std::time::{Duration, Instant};

use super::in_flight::Answer;
use super::{Session, Step, Wait};
use crate::identity::{Client, Principal};
use crate::ids::{ClusterId, ListenerId};
use crate::metrics::CloseReason;
use crate::pipeline::Pipeline;
use crate::pipeline::logins::{LoginPolicy, Refusal, Round, Rounds};
use crate::protocol::api_key::{API_VERSIONS, SASL_AUTHENTICATE, SASL_HANDSHAKE};
use crate::protocol::error_code::ILLEGAL_SASL_STATE;
use crate::protocol::frame::{LENGTH_PREFIX_BYTES, RequestHead};
use crate::protocol::policy::Policy;
use crate::protocol::request_refusal;
use crate::protocol::sasl::{self, TokenAnswer};

/// Where a connection stands whose client has logged in at the proxy.
pub(super) struct Relogin {
    listener: ListenerId,
    rounds: Rounds,
    /// The end of the login's time.
    until: Option<Instant>,
    /// When the last one ended well.
    last: Instant,
    /// Until when a password's hash is waited for.
    hashed_by: Option<Instant>,
    /// What is said, and when, before the connection ends.
    failed: Option<(Vec<u8>, Instant)>,
    /// Why the last one has failed, and whose it was to be.
    why: Option<(Refusal, Option<Principal>)>,
}

impl Session {
    /// The same, of a client that has logged in at `listener` just now, for so long.
    #[must_use]
    pub fn logged_in(
        mut self,
        listener: ListenerId,
        principal: Principal,
        lifetime: Option<Duration>,
        now: Instant,
    ) -> Self {
        self.client.principal = Some(principal.clone());
        self.login.known();
        self.relogin = Some(Box::new(Relogin {
            listener,
            rounds: Rounds::again(principal),
            until: lifetime.and_then(|lifetime| now.checked_add(lifetime)),
            last: now,
            hashed_by: None,
            failed: None,
            why: None,
        }));
        self
    }

    /// Why a later login has failed, where that has ended the connection, and whose it was to be.
    pub fn login_refusal(&self) -> Option<(Refusal, Option<Principal>)> {
        self.relogin.as_ref()?.why.clone()
    }

    /// Whether a request of this API, and of so many bytes, is about logins and ends here: where no broker is asked to
    /// let somebody in, its own, and whatever comes within one (LOGIN-5).
    pub(super) fn ends_here(&self, api_key: i16, frame_bytes: usize) -> Result<bool, CloseReason> {
        if matches!(api_key, SASL_HANDSHAKE | SASL_AUTHENTICATE) {
            return Ok(self.relogin.is_some() || self.listener.ends_logins());
        }
        let relogin = self.relogin.as_ref();
        let is_within = relogin.is_some_and(|relogin| relogin.is_under_way() || relogin.failed.is_some());
        if is_within && frame_bytes > request_refusal::FRAME_BYTES_MAX {
            return Err(CloseReason::DeniedApi);
        }
        Ok(is_within)
    }

    /// Whether a request of this API may be taken now, where logins end at the proxy (RELOGIN-1).
    pub(super) fn is_in_time(&self, api_key: i16, now: Instant) -> Result<(), CloseReason> {
        let Some(relogin) = &self.relogin else {
            return Ok(());
        };
        if api_key != API_VERSIONS && relogin.until.is_some_and(|until| now >= until) {
            return Err(CloseReason::LoginExpired);
        }
        Ok(())
    }

    /// Takes a request of a login, without its length.
    pub(super) fn take_login(
        &mut self,
        pipeline: &mut Pipeline,
        now: Instant,
        head: RequestHead,
        frame: &[u8],
    ) -> Result<Step, CloseReason> {
        let whole = frame.len().saturating_add(LENGTH_PREFIX_BYTES);
        let Some(relogin) = &mut self.relogin else {
            // RELOGIN-4
            let answer = out_of_turn(head, None)?;
            self.note_request(pipeline, head, frame.len(), Answer::Local(answer));
            return Ok(Step::Wrote(whole));
        };
        let whose = (self.listener.cluster, &self.client);
        if let Some((answer, until)) = &mut relogin.failed {
            if now < *until {
                return Ok(Step::Blocked(Wait::Until(*until)));
            }
            // RELOGIN-3
            if !self.in_flight.is_empty() {
                return Ok(Step::Blocked(Wait::Room));
            }
            let answer = std::mem::take(answer);
            self.note_request(pipeline, head, frame.len(), Answer::Local(answer));
            self.leave(CloseReason::LoginFailed);
            return Ok(Step::Wrote(whole));
        }
        let may_begin = head.api_key == SASL_HANDSHAKE && relogin.may_begin(now);
        if !(relogin.is_under_way() || may_begin) {
            let answer = out_of_turn(head, pipeline.logins.policy(relogin.listener))?;
            self.note_request(pipeline, head, frame.len(), Answer::Local(answer));
            return Ok(Step::Wrote(whole));
        }
        let policy = self.listener.policy;
        let answer = match relogin.round(pipeline, policy, self.connection, head, frame) {
            Round::Answer(answer) => {
                if let Some(why) = relogin.rounds.refusal() {
                    relogin.note_refusal(pipeline, whose, why);
                }
                answer
            }
            Round::Known { answer, lifetime, .. } => {
                relogin.until = lifetime.and_then(|lifetime| now.checked_add(lifetime));
                relogin.note_known(pipeline, whose, now);
                if let Some(at_broker) = &mut self.at_broker {
                    at_broker.take_token(head, frame, now);
                }
                answer
            }
            Round::Wait => {
                let until = now.checked_add(HASH_WAIT).ok_or(CloseReason::Internal)?;
                let until = *relogin.hashed_by.get_or_insert(until);
                if now >= until {
                    return Err(CloseReason::LoginUnavailable);
                }
                return Ok(Step::Blocked(Wait::Login(until)));
            }
            Round::Failed { answer, why } => {
                // From the request on, as the first time: hashing does not show.
                let asked = relogin.hashed_by.and_then(|by| by.checked_sub(HASH_WAIT));
                let until = asked.unwrap_or(now).checked_add(FAILURE_DELAY);
                let until = until.ok_or(CloseReason::Internal)?;
                relogin.failed = Some((answer, until));
                relogin.note_refusal(pipeline, whose, why);
                return Ok(Step::Blocked(Wait::Until(until)));
            }
            Round::NewKey => return Err(CloseReason::LoginUnavailable),
            Round::Closed(reason) => return Err(reason),
        };
        self.note_request(pipeline, head, frame.len(), Answer::Local(answer));
        Ok(Step::Wrote(whole))
    }
}

impl Relogin {
    /// RELOGIN-2
    fn may_begin(&self, now: Instant) -> bool {
        self.until.is_some() && now.saturating_duration_since(self.last) >= LOGIN_INTERVAL
    }

    /// What a request of a login is answered with.
    fn round(
        &mut self,
        pipeline: &mut Pipeline,
        policy: Policy,
        connection: u32,
        head: RequestHead,
        frame: &[u8],
    ) -> Round {
        // AUDIT-4
        if pipeline.audit_state.holds() {
            return Round::Closed(CloseReason::LoginUnavailable);
        }
        let logins = &mut pipeline.logins;
        match (
            head.api_key,
            logins.policy(self.listener),
            policy.api(head.api_key),
        ) {
            (SASL_AUTHENTICATE, ..) => {
                self.rounds
                    .authenticate(logins, self.listener, connection, head, frame)
            }
            (_, _, Some(api)) if self.is_under_way() => self.rounds.out_of_turn(api, head, frame),
            (_, Some(policy), _) => self.rounds.handshake(policy, head, frame),
            _ => Round::Closed(CloseReason::Internal),
        }
    }

    /// A login has ended well.
    fn note_known(&mut self, pipeline: &mut Pipeline, (cluster, client): (ClusterId, &Client), now: Instant) {
        self.hashed_by = None;
        self.why = None;
        self.last = now;
        pipeline.metrics.connections.login(true);
        pipeline.audit_login(cluster, client, self.rounds.mechanism(), true, None);
    }

    /// A login has failed: once.
    fn note_refusal(
        &mut self,
        pipeline: &mut Pipeline,
        (cluster, client): (ClusterId, &Client),
        why: Refusal,
    ) {
        let claimed = self.rounds.claimed();
        if self.why.replace((why, claimed.clone())).is_none() {
            pipeline.metrics.connections.login(false);
            let refused = Some((why.reason(), claimed));
            pipeline.audit_login(cluster, client, why.mechanism(), true, refused);
        }
    }

    /// A mechanism was agreed on, and the login is not over: a token belongs here.
    fn is_under_way(&self) -> bool {
        self.rounds.is_under_way()
    }
}

/// RELOGIN-2, RELOGIN-4
fn out_of_turn(head: RequestHead, policy: Option<&LoginPolicy>) -> Result<Vec<u8>, CloseReason> {
    let mut answer = Vec::new();
    let written = if head.api_key == SASL_HANDSHAKE {
        let names: Vec<_> = policy.into_iter().flat_map(LoginPolicy::names).collect();
        sasl::write_handshake(head, ILLEGAL_SASL_STATE, &names, &mut answer)
    } else {
        sasl::write_answer(head, TokenAnswer::OutOfTurn, &mut answer)
    };
    written.map_err(|_| CloseReason::Internal)?;
    Ok(answer)
}

/// How long the answer to a login that has failed is held back. Brokers do so for 0.3 s, seen from outside.
pub const FAILURE_DELAY: Duration = Duration::from_millis(300);
/// How long a password's hash is waited for: clients wait for three times as long.
pub const HASH_WAIT: Duration = Duration::from_secs(10);
/// As brokers have it.
const LOGIN_INTERVAL: Duration = Duration::from_secs(1);
