//! The stage in which the proxy logs in at the broker that was connected to for a client, where it has an account for
//! that: between dialling and the relay.
//!
//! - SERVE-BROKER-LOGIN-1: a client that logs in at the proxy hears that its login is good when the broker has taken
//!   the one that was made for it; where the broker refuses that, its login fails, in words that say nothing of the
//!   account.
//! - SERVE-BROKER-LOGIN-2: a broker that is away, silent, or not to be understood closes the connection without a word,
//!   upon which clients try again.
//! - SERVE-BROKER-LOGIN-3: a broker that has refused an account is left alone with it for a while, whoever comes
//!   ([`Standing`]).
//! - SERVE-BROKER-LOGIN-4: a broker that does not know of a new token yet is connected to again, until the token has
//!   settled (TOKENS-2). One that refuses it then closes the connection without a word: the next login is by another.
//!
//! Executor threads only.
//!
//! [`Standing`]: crate::broker_login::Standing

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use zeroize::Zeroizing;

use super::login::LoggedIn;
use super::{Arrival, Reached};
use crate::broker_login::{
    ANSWER_BYTES_MAX, ASK_AGAIN, AccountFor, Admission, BrokerAccount, BrokerLogin, LOGIN_WAIT, LOOK_AGAIN,
    LoginError, NoToken, Outcome, Trial,
};
use crate::clocks;
use crate::config::HostPort;
use crate::connection::{AskedNews, NewsKind};
use crate::executor::bounded::Bounded;
use crate::executor::dial::{FirstWord, Listener};
use crate::executor::platform::Platform;
use crate::ids::ClusterId;
use crate::messages::{Notice, NoticeKind};
use crate::metrics::{BrokerLoginFault, CloseReason};
use crate::pipeline::{BrokerFault, BrokerSession, EndedLogin};
use crate::protocol::own_request::CORRELATION_ID;

impl Arrival {
    /// Connects to a broker, and logs in there for the client, where the cluster has accounts for that.
    pub(super) async fn reach_broker<P: Platform>(
        &self,
        listener: &Listener,
        first_word: FirstWord,
        logged_in: Option<&LoggedIn>,
    ) -> Result<(Reached<P>, Option<(BrokerSession, Arc<BrokerAccount>)>), CloseReason> {
        let cluster = listener.map.cluster;
        let bearer = logged_in.and_then(|login| login.bearer.as_ref());
        loop {
            let account = self.brokers_stage(pin!(self.account(cluster, bearer))).await?;
            let account = account.map_err(|failed| self.not_logged_in(cluster, None, &failed))?;
            let shown = account.as_ref().and_then(|account| account.tls());
            let mut reached = self
                .brokers_stage(pin!(self.dial::<P>(listener, shown, first_word)))
                .await??;
            if let Some(logged_in) = logged_in {
                let compared = self.compare_versions::<P>(listener, logged_in, &mut reached.broker);
                Box::pin(compared).await?;
            }
            let Some(account) = account else {
                return Ok((reached, None));
            };
            let logging_in = Box::pin(log_in::<P>(self, &account, &mut reached));
            let done = self.brokers_stage(pin!(logging_in)).await?;
            let at = Some((&reached.address, &*account));
            match self.judged(cluster, &account, done) {
                Ok(session) => {
                    self.tell_login(cluster, at, None);
                    return Ok((reached, Some((session, account))));
                }
                Err(Failed::Settling) => self.brokers_stage(pin!(P::timer(TRY_AGAIN))).await?,
                Err(failed) => return Err(self.not_logged_in(cluster, at, &failed)),
            };
        }
    }

    /// Tells everybody of a login that has failed, `at` this broker by this account.
    fn not_logged_in(
        &self,
        cluster: ClusterId,
        at: Option<(&HostPort, &BrokerAccount)>,
        failed: &Failed,
    ) -> CloseReason {
        let reason = failed.fault();
        self.tell_login(cluster, at, Some(reason));
        // Whoever was refused has told why.
        if reason != BrokerLoginFault::LeftAlone {
            let fault = BrokerFault {
                reason,
                why: failed.to_string(),
                account: at.map(|(_, account)| account.name.clone()),
            };
            self.notice_broker_login(cluster, fault);
        }
        failed.reason()
    }

    /// Counts a first login, and has the audit log tell of it.
    fn tell_login(
        &self,
        cluster: ClusterId,
        at: Option<(&HostPort, &BrokerAccount)>,
        fault: Option<BrokerLoginFault>,
    ) {
        let broker = at.map(|(address, _)| address.to_string());
        let ended = EndedLogin {
            broker: broker.as_deref(),
            node: self.node,
            account: at.map(|(_, account)| &account.name),
            again: false,
            fault,
        };
        let mut pipeline = self.serving.shared.pipeline.borrow_mut();
        pipeline.broker_login(cluster, &self.client, &ended);
    }

    /// Who the proxy is at brokers for the client, if anybody; what is to be made for that is waited for. `bearer`: the
    /// client's own token, where that is sent on.
    #[expect(clippy::disallowed_methods, reason = "it reads the clock for what decides")]
    async fn account(
        &self,
        cluster: ClusterId,
        bearer: Option<&Arc<BrokerAccount>>,
    ) -> Result<Option<Arc<BrokerAccount>>, Failed> {
        if let Some(bearer) = bearer {
            return Ok(Some(Arc::clone(bearer)));
        }
        let shared = &self.serving.shared;
        let until = clocks::now().checked_add(LOGIN_WAIT).ok_or(Failed::NoTokenYet)?;
        let mut asked = AskedNews::default();
        poll_fn(|context| {
            let now = clocks::now();
            let principal = self.client.principal.as_ref();
            let found = shared.pipeline.borrow_mut().account_for(cluster, principal, now);
            shared.send_password_checks();
            match found {
                Some(AccountFor::Known(account)) => return Poll::Ready(Ok(Some(account))),
                Some(AccountFor::NoToken(no_token)) => return Poll::Ready(Err(Failed::NoToken(no_token))),
                Some(AccountFor::Nobody) => return Poll::Ready(Err(Failed::NoAccount)),
                None => return Poll::Ready(Ok(None)),
                Some(AccountFor::Awaited) if now >= until => return Poll::Ready(Err(Failed::NoTokenYet)),
                Some(AccountFor::Awaited) => {}
            }
            let mut alarms = shared.alarms.borrow_mut();
            alarms.on_news(NewsKind::Logins, context.waker(), &mut asked);
            alarms.at(context.waker(), until.min(now + ASK_AGAIN));
            Poll::Pending
        })
        .await
    }

    /// What a refusal means where it is one of a token (SERVE-BROKER-LOGIN-4).
    #[expect(clippy::disallowed_methods, reason = "it reads the clock for what decides")]
    fn judged(
        &self,
        cluster: ClusterId,
        account: &Arc<BrokerAccount>,
        done: Result<BrokerSession, Failed>,
    ) -> Result<BrokerSession, Failed> {
        match done {
            Err(Failed::Login(error @ LoginError::Refused { .. })) if account.is_token() => {
                if account.is_settling(clocks::now()) {
                    return Err(Failed::Settling);
                }
                let mut pipeline = self.serving.shared.pipeline.borrow_mut();
                pipeline.token_refused(cluster, self.client.principal.as_ref(), account);
                Err(Failed::TokenRefused(error))
            }
            done => done,
        }
    }

    /// Has the log tell of a login at a broker that has failed, once in a while for each principal, account and kind of
    /// fault.
    pub(super) fn notice_broker_login(&self, cluster: ClusterId, fault: BrokerFault) {
        let BrokerFault { reason, why, account } = fault;
        self.serving.shared.errands.notice(Notice {
            kind: NoticeKind::BrokerLogin {
                cluster,
                principal: self.client.principal.clone(),
                reason,
                account,
            },
            client: self.client.clone(),
            fault: Some(why),
        });
    }
}

/// Why nobody was logged in.
#[derive(Debug, thiserror::Error)]
enum Failed {
    #[error("no account is for this principal, or the certificate of the one that is cannot be used")]
    NoAccount,
    #[error("the account was refused before, and is left alone for a while")]
    LeftAlone,
    #[error("{}", .0.why)]
    NoToken(NoToken),
    #[error("no token was made in time")]
    NoTokenYet,
    #[error("the broker does not know of the token yet")]
    Settling,
    #[error("another token is made: {0}")]
    TokenRefused(LoginError),
    #[error("another connection tries the account, which takes too long")]
    TriedTooLong,
    #[error(transparent)]
    Login(#[from] LoginError),
    #[error("the broker does not answer the login: {0}")]
    Broker(#[from] std::io::Error),
    #[error("the password could not be hashed in time")]
    Hash,
}

impl Failed {
    /// In one word.
    fn fault(&self) -> BrokerLoginFault {
        match self {
            Self::NoAccount => BrokerLoginFault::NoAccount,
            Self::LeftAlone => BrokerLoginFault::LeftAlone,
            Self::NoToken(_) => BrokerLoginFault::NoToken,
            Self::NoTokenYet => BrokerLoginFault::NoTokenInTime,
            Self::Settling | Self::TokenRefused(_) => BrokerLoginFault::TokenRefused,
            Self::TriedTooLong => BrokerLoginFault::TriedTooLong,
            Self::Login(error) => error.kind(),
            Self::Broker(_) => BrokerLoginFault::BrokerSilent,
            Self::Hash => BrokerLoginFault::NotHashed,
        }
    }

    fn reason(&self) -> CloseReason {
        match self {
            Self::NoToken(NoToken { is_refused: true, .. })
            | Self::NoAccount
            | Self::LeftAlone
            | Self::Login(LoginError::Refused { .. }) => CloseReason::BrokerLogin,
            Self::Login(_) => CloseReason::UnexpectedResponse,
            Self::Broker(_) => CloseReason::BrokerSilent,
            Self::NoToken(_)
            | Self::NoTokenYet
            | Self::Settling
            | Self::TokenRefused(_)
            | Self::TriedTooLong
            | Self::Hash => CloseReason::LoginUnavailable,
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "it reads the clock for what decides")]
async fn log_in<P: Platform>(
    arrival: &Arrival,
    account: &Arc<BrokerAccount>,
    reached: &mut Reached<P>,
) -> Result<BrokerSession, Failed> {
    let begun = clocks::now();
    let Some(mut login) = BrokerLogin::new(account) else {
        // TLS has shown who it is.
        return Ok(BrokerSession {
            lifetime: None,
            since: begun,
        });
    };
    let until = begun.checked_add(LOGIN_WAIT).ok_or(Failed::TriedTooLong)?;
    let Reached { broker, address, .. } = reached;
    let address = &address.to_string();
    let _trial = admit::<P>(account, address, until).await?;
    let mut broker = Bounded::<P, _>::new(broker, LOGIN_WAIT, LOGIN_BYTES_MAX);
    let outcome = loop {
        let mut request = Zeroizing::new(Vec::new());
        login.write(CORRELATION_ID, &mut request)?;
        let answer = broker.ask(&request, ANSWER_BYTES_MAX).await?;
        let outcome = match login.take(&answer) {
            Ok(Outcome::Hash) => hashed(arrival, address, &mut login, until).await?,
            other => other,
        };
        match outcome {
            Ok(Outcome::Done(lifetime)) => break Ok(lifetime),
            Ok(_) => {}
            Err(error) => break Err(error),
        }
    };
    match outcome {
        Ok(lifetime) => {
            account.standing.accepted(address);
            Ok(BrokerSession {
                lifetime,
                since: clocks::now(),
            })
        }
        Err(error) => {
            if error.is_verdict() && !account.is_token() {
                account.standing.refused(address, clocks::now());
            }
            Err(error.into())
        }
    }
}

/// Waits until the account may be tried (SERVE-BROKER-LOGIN-3).
#[expect(clippy::disallowed_methods, reason = "it reads the clock for what decides")]
async fn admit<P: Platform>(
    account: &BrokerAccount,
    broker: &str,
    until: Instant,
) -> Result<Option<Trial>, Failed> {
    loop {
        match account.standing.admit(broker, clocks::now()) {
            Admission::Free => return Ok(None),
            Admission::Alone(trial) => return Ok(Some(trial)),
            Admission::Refused => return Err(Failed::LeftAlone),
            Admission::Later if clocks::now() >= until => return Err(Failed::TriedTooLong),
            Admission::Later => P::timer(LOOK_AGAIN).await,
        };
    }
}

/// Has a password hashed, and goes on when it is.
#[expect(clippy::disallowed_methods, reason = "it reads the clock for what decides")]
async fn hashed(
    arrival: &Arrival,
    broker: &str,
    login: &mut BrokerLogin,
    until: Instant,
) -> Result<Result<Outcome, LoginError>, Failed> {
    let shared = &arrival.serving.shared;
    let cluster = arrival.listener().map_err(|_| Failed::Hash)?.map.cluster;
    let mut asked = AskedNews::default();
    poll_fn(|context| {
        let resumed = login.resume();
        if !matches!(resumed, Ok(Outcome::Hash)) {
            return Poll::Ready(Ok(resumed));
        }
        let now = clocks::now();
        if now >= until {
            return Poll::Ready(Err(Failed::Hash));
        }
        if let Some(hashing) = login.hashing(broker) {
            shared.errands.hash_password(cluster, hashing);
        }
        let mut alarms = shared.alarms.borrow_mut();
        alarms.on_news(NewsKind::Logins, context.waker(), &mut asked);
        alarms.at(context.waker(), until.min(now + ASK_AGAIN));
        Poll::Pending
    })
    .await
}

/// Of all answers of one login.
const LOGIN_BYTES_MAX: usize = 64 * 1024;
/// How soon a broker is asked again that does not know of a token yet.
const TRY_AGAIN: Duration = Duration::from_millis(250);
