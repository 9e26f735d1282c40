//! Where a connection stands at whose broker the proxy has logged in for its client: that login has an end of its own,
//! and is renewed before that (KIP-368), whatever the client's own login does.
//!
//! - AT-BROKER-1: when most of its time is over, the client's next request waits until it is renewed. Brokers take a
//!   renewal that comes late, as long as nothing else comes before it: a client that is silent renews nothing.
//! - AT-BROKER-2: it is renewed by the account that is the principal's now, with the password that it has now, for
//!   which it waits where that is a token that is to be made. Brokers take no other user and no other mechanism on a
//!   connection: where the account is another one the connection ends, and the client comes back. Where clients' own
//!   tokens are sent on, it is renewed by the one that this client has shown last, as soon as it has.
//! - AT-BROKER-3: a renewal that fails closes the connection: nothing more of the client's goes to the broker. It does
//!   not count against the account: whoever comes back finds out.
//! - AT-BROKER-4: a client that sends requests without a gap is renewed between two of them as well. Where one lies
//!   half sent until nearly the whole time of the login is over, what comes next of it ends the connection: a broker
//!   would do so at its end, without a word.

mod told;

use std::sync::Arc;
use std::time::{Duration, Instant};

pub use self::told::{BrokerFault, ReachedBroker};
use super::own_purpose::OwnPurpose;
use super::{Session, Step, Wait};
use crate::broker_login::{
    ASK_AGAIN, AccountFor, Admission, BrokerAccount, BrokerLogin, LOGIN_WAIT, LOOK_AGAIN, LoginError,
    Outcome, Trial,
};
use crate::metrics::{BrokerLoginFault, CloseReason};
use crate::pipeline::Pipeline;
use crate::pipeline::logins::bearer_of;
use crate::protocol::api_key::SASL_HANDSHAKE;
use crate::protocol::frame::RequestHead;
use crate::protocol::own_request::CORRELATION_ID;

/// A login at a broker that has ended well.
#[derive(Clone, Copy, Debug)]
pub struct BrokerSession {
    /// How long it is good for; `None`: as long as the connection.
    pub lifetime: Option<Duration>,
    /// Since when.
    pub since: Instant,
}

/// See the module.
pub(super) struct AtBroker {
    due: Option<Instant>,
    /// When nothing goes out any more that a renewal has not come before (AT-BROKER-4).
    over: Option<Instant>,
    since: Instant,
    broker: ReachedBroker,
    /// By which account it was made first.
    account: Arc<BrokerAccount>,
    /// The client's own token, where that is sent on.
    bearer: Option<Arc<BrokerAccount>>,
    renewal: Option<Renewal>,
    /// Since when an account is waited for.
    awaited: Option<Instant>,
    fault: Option<BrokerFault>,
}

struct Renewal {
    account: Arc<BrokerAccount>,
    login: BrokerLogin,
    is_hashing: bool,
    until: Instant,
    _trial: Option<Trial>,
}

impl Session {
    /// The same, of a client for whom the proxy has logged in by this account at the broker that was reached there;
    /// `bearer`: which is the client's own token.
    #[must_use]
    pub fn at_broker(
        mut self,
        session: BrokerSession,
        broker: ReachedBroker,
        account: Arc<BrokerAccount>,
        bearer: Option<Arc<BrokerAccount>>,
    ) -> Self {
        self.login.known();
        self.at_broker = Some(Box::new(AtBroker {
            since: session.since,
            broker,
            account,
            bearer,
            due: session.renewal_is_due(self.connection),
            over: session.is_nearly_over(),
            renewal: None,
            awaited: None,
            fault: None,
        }));
        self
    }

    /// Whether what goes to the broker may be a request of a renewal, and so hold a secret.
    pub fn renews_login(&self) -> bool {
        let at_broker = self.at_broker.as_ref();
        at_broker.is_some_and(|at_broker| at_broker.renewal.is_some())
    }

    /// Whether the client's next request has to wait for [`Self::renew`].
    pub(super) fn renewal_is_due(&self, now: Instant) -> bool {
        let due = self.at_broker.as_ref().and_then(|at_broker| at_broker.due);
        due.is_some_and(|due| now >= due)
    }

    /// More has come of a request that is passed on (AT-BROKER-4).
    pub(super) fn check_broker_login(
        &mut self,
        pipeline: &mut Pipeline,
        now: Instant,
    ) -> Result<(), CloseReason> {
        match &mut self.at_broker {
            Some(at_broker) if at_broker.over.is_some_and(|over| now >= over) => {
                let why = "a request lay half sent until the login's time was over";
                at_broker.note(BrokerLoginFault::HalfSent, why);
                self.tell_fault(pipeline);
                Err(CloseReason::BrokerLogin)
            }
            _ => Ok(()),
        }
    }

    /// What has to come before the client's next request (AT-BROKER-1).
    pub(super) fn renew(
        &mut self,
        pipeline: &mut Pipeline,
        now: Instant,
        out: &mut Vec<u8>,
    ) -> Result<Option<Step>, CloseReason> {
        let step = self.begin_or_go_on(pipeline, now, out);
        self.tell_fault(pipeline);
        step
    }

    fn begin_or_go_on(
        &mut self,
        pipeline: &mut Pipeline,
        now: Instant,
        out: &mut Vec<u8>,
    ) -> Result<Option<Step>, CloseReason> {
        let Some(at_broker) = &mut self.at_broker else {
            return Ok(None);
        };
        let renewal = match &mut at_broker.renewal {
            Some(renewal) => renewal,
            None if at_broker.due.is_none_or(|due| now < due) => return Ok(None),
            // OWN-1, and the account is not taken from others meanwhile.
            None if self.in_flight.awaits_ordinary() => {
                return Ok(Some(Step::Blocked(Wait::Room)));
            }
            None => {
                let (cluster, principal) = (self.listener.cluster, self.client.principal.as_ref());
                let bearer = at_broker.bearer.clone().map(AccountFor::Known);
                // AT-BROKER-2
                let account = match bearer.or_else(|| pipeline.account_for(cluster, principal, now)) {
                    Some(AccountFor::Known(account)) => account,
                    Some(AccountFor::Awaited) => return at_broker.wait_for_account(now).map(Some),
                    other => return Err(at_broker.no_account(other)),
                };
                at_broker.awaited = None;
                if !account.is_same_user(&at_broker.account) {
                    let why = "the account of this principal is another one now";
                    at_broker.note_of(Some(&account), BrokerLoginFault::OtherAccount, why);
                    return Err(CloseReason::BrokerLogin);
                }
                match begin(&account, &at_broker.broker.address, now) {
                    Ok(renewal) => at_broker.renewal.insert(renewal),
                    Err(Some(step)) => return Ok(Some(step)),
                    Err(None) => {
                        at_broker.note(BrokerLoginFault::LeftAlone, "the account was refused before");
                        return Err(CloseReason::BrokerLogin);
                    }
                }
            }
        };
        if now >= renewal.until {
            at_broker.note(
                BrokerLoginFault::NotHashed,
                "the password could not be hashed in time",
            );
            return Err(CloseReason::LoginUnavailable);
        }
        if renewal.is_hashing {
            match renewal.login.resume() {
                Ok(Outcome::Hash) => {
                    let hashing = renewal.login.hashing(&at_broker.broker.address);
                    let cluster = self.listener.cluster;
                    pipeline
                        .hashings
                        .extend(hashing.map(|hashing| (cluster, hashing)));
                    let again = now.checked_add(ASK_AGAIN).ok_or(CloseReason::Internal)?;
                    return Ok(Some(Step::Blocked(Wait::Login(renewal.until.min(again)))));
                }
                Ok(_) => renewal.is_hashing = false,
                Err(error) => return Err(at_broker.fail(&error)),
            }
        }
        let is_handshake = renewal.login.api().0 == SASL_HANDSHAKE;
        self.ask(OwnPurpose::Login { is_handshake }, pipeline, now, out)
            .map(Some)
    }

    /// Appends the next request of a renewal, for [`OwnPurpose::Login`].
    pub(super) fn write_renewal(&self, out: &mut Vec<u8>) -> Result<usize, CloseReason> {
        let before = out.len();
        let renewal = self
            .at_broker
            .as_ref()
            .and_then(|at_broker| at_broker.renewal.as_ref());
        let renewal = renewal.ok_or(CloseReason::Internal)?;
        renewal
            .login
            .write(CORRELATION_ID, out)
            .map_err(|_| CloseReason::Internal)?;
        Ok(out.len().saturating_sub(before))
    }

    /// Takes the answer to it.
    pub(super) fn take_renewal(
        &mut self,
        pipeline: &mut Pipeline,
        now: Instant,
        frame: &[u8],
    ) -> Result<(), CloseReason> {
        let at_broker = self.at_broker.as_mut().ok_or(CloseReason::Internal)?;
        let renewal = at_broker.renewal.as_mut().ok_or(CloseReason::Internal)?;
        match renewal.login.take(frame) {
            Ok(Outcome::Ask) => {}
            Ok(Outcome::Hash) => renewal.is_hashing = true,
            Ok(Outcome::Done(lifetime)) => {
                renewal.account.standing.accepted(&at_broker.broker.address);
                let name = renewal.account.name.clone();
                at_broker.renewal = None;
                at_broker.since = now;
                let session = BrokerSession { lifetime, since: now };
                at_broker.due = session.renewal_is_due(self.connection);
                at_broker.over = session.is_nearly_over();
                self.tell_renewal(pipeline, Ok(&name));
            }
            Err(error) => {
                let token = at_broker.refused_token(&error, now);
                let failed = at_broker.fail(&error);
                if let Some(token) = token {
                    let (cluster, principal) = (self.listener.cluster, self.client.principal.as_ref());
                    pipeline.token_refused(cluster, principal, &token);
                }
                self.tell_fault(pipeline);
                return Err(failed);
            }
        }
        Ok(())
    }
}

/// Begins a renewal; or says what to wait for, `None` where the account is left alone.
fn begin(account: &Arc<BrokerAccount>, broker: &str, now: Instant) -> Result<Renewal, Option<Step>> {
    let trial = match account.standing.admit(broker, now) {
        Admission::Free => None,
        Admission::Alone(trial) => Some(trial),
        Admission::Later => {
            return Err(now
                .checked_add(LOOK_AGAIN)
                .map(|at| Step::Blocked(Wait::Until(at))));
        }
        Admission::Refused => return Err(None),
    };
    let until = now.checked_add(LOGIN_WAIT).ok_or(None)?;
    Ok(Renewal {
        account: Arc::clone(account),
        // Of one that TLS shows no login has an end.
        login: BrokerLogin::new(account).ok_or(None)?,
        is_hashing: false,
        until,
        _trial: trial,
    })
}

impl AtBroker {
    /// The client has logged in again, by what this request holds (AT-BROKER-2).
    pub(super) fn take_token(&mut self, head: RequestHead, frame: &[u8], now: Instant) {
        if self.bearer.is_some()
            && let Some(newer) = bearer_of(head, frame)
        {
            self.bearer = Some(newer);
            // Where a login has no end, brokers take no other; and no two within a second.
            let soonest = self.since.checked_add(RENEWAL_INTERVAL).unwrap_or(now);
            self.due = self.due.map(|_| soonest.max(now));
        }
    }

    /// A token is being made.
    fn wait_for_account(&mut self, now: Instant) -> Result<Step, CloseReason> {
        let since = *self.awaited.get_or_insert(now);
        let until = since.checked_add(LOGIN_WAIT).ok_or(CloseReason::Internal)?;
        if now >= until {
            self.note_of(None, BrokerLoginFault::NoTokenInTime, "no token was made in time");
            return Err(CloseReason::LoginUnavailable);
        }
        let again = now.checked_add(ASK_AGAIN).ok_or(CloseReason::Internal)?;
        Ok(Step::Blocked(Wait::Login(until.min(again))))
    }

    /// The token that is good no more, by what a broker says of it (TOKENS-2).
    fn refused_token(&self, error: &LoginError, now: Instant) -> Option<Arc<BrokerAccount>> {
        let account = &self.renewal.as_ref()?.account;
        let is_void = matches!(error, LoginError::Refused { .. }) && !account.is_settling(now);
        (is_void && account.is_token()).then(|| Arc::clone(account))
    }
}

impl BrokerSession {
    /// Connections that were made together are not renewed together.
    fn renewal_is_due(&self, connection: u32) -> Option<Instant> {
        let percent = RENEWAL_PERCENT.saturating_add(connection % RENEWAL_SPREAD_PERCENT);
        let lifetime = self.lifetime?.checked_mul(percent)?.checked_div(100)?;
        self.since.checked_add(lifetime)
    }

    /// AT-BROKER-4
    fn is_nearly_over(&self) -> Option<Instant> {
        let lifetime = self.lifetime?.checked_mul(OVER_PERCENT)?.checked_div(100)?;
        self.since.checked_add(lifetime)
    }
}

/// As Java's clients do: after 85 to 95 % of the time.
const RENEWAL_PERCENT: u32 = 85;
const RENEWAL_SPREAD_PERCENT: u32 = 10;
/// As brokers have it, and a moment more.
const RENEWAL_INTERVAL: Duration = Duration::from_millis(1100);
/// The broker's time has begun before ours, and what is sent takes a while.
const OVER_PERCENT: u32 = 98;
