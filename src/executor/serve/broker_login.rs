//! The stage in which the proxy logs in at the broker that was connected to for a client, where it has an account for
//! that: between dialling and the relay.
//!
//! - SERVE-BROKER-LOGIN-1: a client that logs in at the proxy hears that its login is good when the broker has taken
//!   the one that was made for it; where the broker refuses that, its login fails, in words that say nothing of the
//!   account.
//! - SERVE-BROKER-LOGIN-2: a broker that is away, silent, or not to be understood closes the connection without a word,
//!   upon which clients try again.
//! - SERVE-BROKER-LOGIN-3: a refused account is left alone for a while, whoever comes ([`Standing`]).
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

use super::Arrival;
use crate::broker_login::{Admission, BrokerAccount, BrokerLogin, LoginError, Outcome, Trial};
use crate::clocks;
use crate::connection::{AskedNews, NewsKind, Wire};
use crate::executor::bounded::Bounded;
use crate::executor::dial::Listener;
use crate::executor::platform::Platform;
use crate::ids::ClusterId;
use crate::messages::{Notice, NoticeKind};
use crate::metrics::{BrokerLoginResult, CloseReason};
use crate::pipeline::BrokerSession;
use crate::transport::tls_client::ClientSet;

/// Who the proxy is at brokers for a client.
pub(super) enum Account {
    /// It logs in nowhere.
    NotNeeded,
    /// None is for its principal.
    Missing,
    /// This.
    Of(Arc<BrokerAccount>),
}

impl Account {
    /// By which TLS brokers are spoken to, where that shows who it is.
    pub(super) fn tls(&self) -> Option<&Arc<ClientSet>> {
        match self {
            Self::NotNeeded | Self::Missing => None,
            Self::Of(account) => account.tls(),
        }
    }
}

impl Arrival {
    /// Who the proxy is at brokers for the client; `bearer`: its own token, where that is sent on.
    pub(super) fn account(&self, listener: &Listener, bearer: Option<&Arc<BrokerAccount>>) -> Account {
        let Some(accounts) = self.accounts(listener) else {
            return Account::NotNeeded;
        };
        let principal = self.client.principal.as_ref();
        let account = principal.and_then(|principal| accounts.of(principal.name()));
        let account = bearer.or(account).cloned();
        account.map_or(Account::Missing, Account::Of)
    }

    /// Logs in for the client, where the cluster has accounts for that.
    pub(super) async fn log_in_at_broker<P: Platform>(
        &self,
        listener: &Listener,
        account: &Account,
        broker: &mut Wire<P::Socket>,
    ) -> Result<Option<BrokerSession>, CloseReason> {
        let done = match account {
            Account::NotNeeded => return Ok(None),
            Account::Missing => Err(Failed::NoAccount),
            Account::Of(account) => {
                self.brokers_stage(pin!(log_in::<P>(self, account, broker)))
                    .await?
            }
        };
        let mut pipeline = self.serving.shared.pipeline.borrow_mut();
        let result = match &done {
            Ok(_) => BrokerLoginResult::Accepted,
            Err(Failed::Login(error)) => error.result(),
            Err(_) => BrokerLoginResult::Failed,
        };
        pipeline.metrics.connections.broker_login(result);
        drop(pipeline);
        done.map(Some).map_err(|failed| {
            self.notice_broker_login(listener.map.cluster, failed.to_string());
            failed.reason()
        })
    }

    /// Has the log tell of a login at a broker that has failed, once in a while for each principal.
    pub(super) fn notice_broker_login(&self, cluster: ClusterId, why: String) {
        self.serving.shared.errands.notice(Notice {
            kind: NoticeKind::BrokerLogin {
                cluster,
                principal: self.client.principal.clone(),
            },
            client: self.client.clone(),
            fault: Some(why),
        });
    }
}

/// Why nobody was logged in.
#[derive(Debug, thiserror::Error)]
enum Failed {
    #[error("no account is for this principal")]
    NoAccount,
    #[error("the account was refused before, and is left alone for a while")]
    LeftAlone,
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
    fn reason(&self) -> CloseReason {
        match self {
            Self::NoAccount | Self::LeftAlone | Self::Login(LoginError::Refused { .. }) => {
                CloseReason::BrokerLogin
            }
            Self::Login(_) => CloseReason::UnexpectedResponse,
            Self::Broker(_) => CloseReason::BrokerSilent,
            Self::TriedTooLong | Self::Hash => CloseReason::LoginUnavailable,
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "it reads the clock for what decides")]
async fn log_in<P: Platform>(
    arrival: &Arrival,
    account: &Arc<BrokerAccount>,
    broker: &mut Wire<P::Socket>,
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
    let _trial = admit::<P>(account, until).await?;
    let mut broker = Bounded::<P, _>::new(broker, LOGIN_WAIT, LOGIN_BYTES_MAX);
    let outcome = loop {
        let mut request = Zeroizing::new(Vec::new());
        login.write(CORRELATION_ID, &mut request)?;
        let answer = broker.ask(&request, ANSWER_BYTES_MAX).await?;
        let outcome = match login.take(&answer) {
            Ok(Outcome::Hash) => hashed(arrival, &mut login, until).await?,
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
            account.standing.accepted();
            Ok(BrokerSession {
                lifetime,
                since: clocks::now(),
            })
        }
        Err(error) => {
            if matches!(error, LoginError::Refused { .. }) {
                account.standing.refused(clocks::now());
            }
            Err(error.into())
        }
    }
}

/// Waits until the account may be tried (SERVE-BROKER-LOGIN-3).
#[expect(clippy::disallowed_methods, reason = "it reads the clock for what decides")]
async fn admit<P: Platform>(account: &BrokerAccount, until: Instant) -> Result<Option<Trial>, Failed> {
    loop {
        match account.standing.admit(clocks::now()) {
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
    login: &mut BrokerLogin,
    until: Instant,
) -> Result<Result<Outcome, LoginError>, Failed> {
    let shared = &arrival.serving.shared;
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
        if let Some(hashing) = login.hashing() {
            shared.errands.hash_password(hashing);
        }
        let mut alarms = shared.alarms.borrow_mut();
        alarms.on_news(NewsKind::Logins, context.waker(), &mut asked);
        alarms.at(context.waker(), until.min(now + HASH_AGAIN));
        Poll::Pending
    })
    .await
}

/// For all of it: a broker answers within milliseconds, and a million iterations take a second.
const LOGIN_WAIT: Duration = Duration::from_secs(10);
const LOGIN_BYTES_MAX: usize = 64 * 1024;
/// More than any step of any mechanism takes.
const ANSWER_BYTES_MAX: usize = 32 * 1024;
/// How soon it is looked again whether an account may be tried: about as long as a login takes.
const LOOK_AGAIN: Duration = Duration::from_millis(20);
/// A request to hash may have found no room.
const HASH_AGAIN: Duration = Duration::from_millis(500);
const CORRELATION_ID: i32 = 0x5ea1;
