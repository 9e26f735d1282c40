//! The stage in which a client logs in, where logins end at the proxy: before anything of it goes to a broker, and
//! before a broker is connected to for it.
//!
//! - SERVE-LOGIN-1: nothing is taken from whoever has not logged in but the three requests of a login, at most
//!   [`REQUESTS_MAX`] of them, each bounded.
//! - SERVE-LOGIN-2: no byte behind the last request of the login is read: it belongs to what comes after.
//! - SERVE-LOGIN-3: the answer to a login that has failed is held back by a timer, of so many connections; beyond that
//!   they are closed without an answer. The time runs from the request on: how long a password took to hash, if there
//!   is such a user at all, cannot be seen in it.
//!
//! Executor threads only.

use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use futures_lite::io::{AsyncReadExt as _, AsyncWriteExt as _};
use zeroize::Zeroizing;

use super::{Arrival, Reached};
use crate::broker_login::BrokerAccount;
use crate::clocks;
use crate::connection::{AskedNews, NewsKind, Wire};
use crate::executor::dial::{FirstWord, Listener};
use crate::executor::parting::Sockets;
use crate::executor::platform::Platform;
use crate::executor::stage_memory::StageMemory;
use crate::executor::way_back;
use crate::identity::Principal;
use crate::messages::{Notice, NoticeKind};
use crate::metrics::{CloseReason, Direction};
use crate::pipeline::{Cluster, FAILURE_DELAY, HASH_WAIT, LoginRefusal, Round, Rounds, bearer_of};
use crate::protocol::api_key::{API_VERSIONS, SASL_AUTHENTICATE, SASL_HANDSHAKE};
use crate::protocol::api_versions::{self, OfferedApis};
use crate::protocol::frame::{LENGTH_PREFIX_BYTES, RequestHead};
use crate::protocol::hops::{self, Way};
use crate::protocol::sasl::{self, TokenAnswer};

/// A client that has logged in.
pub(super) struct LoggedIn {
    pub(super) principal: Principal,
    pub(super) lifetime: Option<Duration>,
    pub(super) at: Instant,
    /// By which mechanism.
    mechanism: Option<&'static str>,
    /// Which APIs it was told of.
    told: Option<Rc<OfferedApis>>,
    /// What it is to be answered when the broker has taken the login that is made for it, and to which request.
    owed: Option<(RequestHead, Vec<u8>)>,
    /// Its token, where the proxy logs in by that.
    pub(super) bearer: Option<Arc<BrokerAccount>>,
}

impl LoggedIn {
    /// Whether the client waits for the answer to its login.
    pub(super) fn is_owed(&self) -> bool {
        self.owed.is_some()
    }
}

impl Arrival {
    /// Has the client log in, where its listener asks for that.
    #[expect(clippy::disallowed_methods, reason = "it reads the clock for what decides")]
    pub(super) async fn log_in<P: Platform>(
        &mut self,
        listener: &Listener,
        sockets: &mut Sockets<P>,
        memory: &StageMemory<'_>,
    ) -> Result<Option<LoggedIn>, CloseReason> {
        let is_asked = {
            let pipeline = self.serving.shared.pipeline.borrow();
            pipeline.logins.policy(self.listener).is_some()
        };
        if !is_asked {
            if self.client.principal.is_some() {
                self.let_in_by_certificate(listener)?;
            }
            return Ok(None);
        }
        self.is_audited()?;
        // Without an answer: whoever shares the address with him tries again.
        let address = self.client.address.map(|address| address.ip());
        let shares = &self.serving.shares;
        if address.is_some_and(|address| !shares.may_log_in(address, clocks::now())) {
            self.notice_end(CloseReason::LoginLimit, None, self.client.clone(), None);
            let mut pipeline = self.serving.shared.pipeline.borrow_mut();
            let reason = CloseReason::LoginLimit.as_str();
            let refused = Some((reason, None));
            pipeline.audit_login(listener.map.cluster, &self.client, None, false, refused);
            return Err(CloseReason::LoginLimit);
        }
        let mut stage = LoginStage::default();
        let done = self
            .exchange::<P>(listener, &mut sockets.client, memory, &mut stage)
            .await;
        let mut pipeline = self.serving.shared.pipeline.borrow_mut();
        pipeline.logins.forget(self.number());
        drop(pipeline);
        memory.hold(0);
        done.map(Some)
    }

    fn let_in_by_certificate(&self, listener: &Listener) -> Result<(), CloseReason> {
        self.is_audited()?;
        let mut pipeline = self.serving.shared.pipeline.borrow_mut();
        pipeline.audit_login(listener.map.cluster, &self.client, Some("mtls"), false, None);
        Ok(())
    }

    /// AUDIT-4
    fn is_audited(&self) -> Result<(), CloseReason> {
        match self.serving.shared.pipeline.borrow().audit_state.holds() {
            true => Err(CloseReason::LoginUnavailable),
            false => Ok(()),
        }
    }

    #[expect(clippy::disallowed_methods, reason = "it reads the clock for what decides")]
    async fn exchange<P: Platform>(
        &mut self,
        listener: &Listener,
        client: &mut Wire<P::Socket>,
        memory: &StageMemory<'_>,
        stage: &mut LoginStage,
    ) -> Result<LoggedIn, CloseReason> {
        for _ in 0..REQUESTS_MAX {
            let frame = self.read_request(client, memory).await?;
            let begun = clocks::now();
            let request = frame.get(LENGTH_PREFIX_BYTES..).unwrap_or_default();
            let head = RequestHead::peek(request).ok_or(CloseReason::MalformedFrame)?;
            self.client.note(&frame);
            {
                let mut pipeline = self.serving.shared.pipeline.borrow_mut();
                pipeline.metrics.frames(Direction::Request).frame(head.api_key);
            }
            let answer = match head.api_key {
                API_VERSIONS if !stage.rounds.is_under_way() => {
                    self.versions::<P>(listener, stage, head, request).await?
                }
                key if key == SASL_HANDSHAKE || stage.rounds.is_under_way() => {
                    match self.round::<P>(listener, stage, head, request).await? {
                        Round::Answer(answer) => {
                            // Some clients hear that and say nothing more.
                            if let Some(why) = stage.rounds.refusal() {
                                self.note_refused_login(listener, why, stage.rounds.claimed());
                                stage.is_noted = true;
                            }
                            answer
                        }
                        Round::Known {
                            answer,
                            principal,
                            lifetime,
                        } => {
                            let mut known = stage.known(principal, lifetime);
                            match self.makes_logins(listener) {
                                true => {
                                    let forwards = self.forwards_tokens(listener);
                                    known.bearer = forwards.then(|| bearer_of(head, request)).flatten();
                                    known.owed = Some((head, answer));
                                }
                                false => self.send(client, &answer, head).await?,
                            }
                            self.client.principal = Some(known.principal.clone());
                            if known.owed.is_none() {
                                self.note_login(listener, known.mechanism);
                            }
                            return Ok(known);
                        }
                        Round::Failed { answer, why } => {
                            if !stage.is_noted {
                                self.note_refused_login(listener, why, stage.rounds.claimed());
                            }
                            memory.hold(frame.capacity().saturating_add(answer.capacity()));
                            self.hold_back::<P>(begun).await?;
                            self.send(client, &answer, head).await?;
                            return Err(CloseReason::LoginFailed);
                        }
                        Round::Wait => return Err(CloseReason::LoginUnavailable),
                        Round::NewKey => {
                            self.count_failure();
                            return Err(CloseReason::LoginUnavailable);
                        }
                        Round::Closed(reason) => return Err(reason),
                    }
                }
                // As a broker does.
                _ => return Err(CloseReason::DeniedApi),
            };
            self.send(client, &answer, head).await?;
        }
        Err(CloseReason::DeniedApi)
    }

    async fn read_request<S: crate::connection::Stream + Unpin>(
        &mut self,
        client: &mut Wire<S>,
        memory: &StageMemory<'_>,
    ) -> Result<Zeroizing<Vec<u8>>, CloseReason> {
        let frame_max = {
            let pipeline = self.serving.shared.pipeline.borrow();
            FRAME_BYTES_MAX.min(pipeline.limits.unauthenticated_request_bytes_max)
        };
        let read = self
            .clients_stage(pin!(read_frame(client, frame_max, memory)))
            .await?;
        read.map_err(|reason| {
            let failure = client.tls().and_then(|tls| tls.session().failure());
            failure.map_or(reason, |failure| self.note_failure(failure))
        })
    }

    /// Whether the proxy logs in at brokers for the listener's clients.
    fn makes_logins(&self, listener: &Listener) -> bool {
        let pipeline = self.serving.shared.pipeline.borrow();
        let cluster = pipeline.clusters.get(listener.map.cluster);
        cluster.is_some_and(Cluster::makes_logins)
    }

    /// Whether it does so by what clients show.
    fn forwards_tokens(&self, listener: &Listener) -> bool {
        let pipeline = self.serving.shared.pipeline.borrow();
        let cluster = pipeline.clusters.get(listener.map.cluster);
        let accounts = cluster.and_then(|cluster| cluster.accounts.as_ref());
        accounts.is_some_and(|accounts| accounts.forwards_tokens())
    }

    /// Tells a client that waits for it what has become of its login, now that the one that was made for it at the
    /// broker has ended, `failed` if it has (SERVE-BROKER-LOGIN-1).
    #[expect(clippy::disallowed_methods, reason = "it reads the clock for what decides")]
    pub(super) async fn tell_outcome<P: Platform>(
        &self,
        listener: &Listener,
        logged_in: &LoggedIn,
        failed: Option<CloseReason>,
        client: &mut Wire<P::Socket>,
    ) -> Result<(), CloseReason> {
        let Some((head, answer)) = &logged_in.owed else {
            return Ok(());
        };
        match failed {
            None => {
                self.send(client, answer, *head).await?;
                self.note_login(listener, logged_in.mechanism);
                Ok(())
            }
            Some(CloseReason::BrokerLogin) => {
                self.note_nobody_at_brokers(listener, logged_in);
                let mut refused = Vec::new();
                sasl::write_answer(*head, TokenAnswer::Failed(NOT_AT_BROKER), &mut refused)
                    .map_err(|_| CloseReason::Internal)?;
                self.hold_back::<P>(clocks::now()).await?;
                self.send(client, &refused, *head).await
            }
            Some(_) => Ok(()),
        }
    }

    /// One request of the login, until it is known what it is answered with.
    #[expect(clippy::disallowed_methods, reason = "it reads the clock for what decides")]
    async fn round<P: Platform>(
        &self,
        listener: &Listener,
        stage: &mut LoginStage,
        head: RequestHead,
        request: &[u8],
    ) -> Result<Round, CloseReason> {
        let api = listener
            .map
            .policy
            .api(head.api_key)
            .ok_or(CloseReason::DeniedApi)?;
        if !api.allows(head.api_version) {
            return Err(CloseReason::VersionOutsideRange);
        }
        let shared = &self.serving.shared;
        let mut take = || {
            let mut pipeline = shared.pipeline.borrow_mut();
            let logins = &mut pipeline.logins;
            match (head.api_key, logins.policy(self.listener)) {
                (SASL_AUTHENTICATE, Some(_)) if stage.rounds.is_under_way() => {
                    let (listener, number) = (self.listener, self.number());
                    stage.rounds.authenticate(logins, listener, number, head, request)
                }
                _ if stage.rounds.is_under_way() => stage.rounds.out_of_turn(api, head, request),
                (SASL_HANDSHAKE, Some(policy)) => stage.rounds.handshake(policy, head, request),
                _ => Round::Closed(CloseReason::DeniedApi),
            }
        };
        let deadline = clocks::now()
            .checked_add(HASH_WAIT)
            .ok_or(CloseReason::Internal)?;
        let mut asked = AskedNews::default();
        let waited = poll_fn(|context| {
            let round = take();
            if !matches!(round, Round::Wait) || clocks::now() >= deadline {
                return Poll::Ready(round);
            }
            shared.send_password_checks();
            let mut alarms = shared.alarms.borrow_mut();
            alarms.on_news(NewsKind::Logins, context.waker(), &mut asked);
            alarms.at(context.waker(), deadline);
            Poll::Pending
        });
        self.brokers_stage(pin!(waited)).await
    }

    /// What a client is told of the brokers' APIs, which has not logged in: once.
    async fn versions<P: Platform>(
        &self,
        listener: &Listener,
        stage: &mut LoginStage,
        head: RequestHead,
        request: &[u8],
    ) -> Result<Vec<u8>, CloseReason> {
        // As brokers do.
        if stage.told.is_some() {
            return Err(CloseReason::DeniedApi);
        }
        let policy = listener.map.policy;
        let api = policy.api(API_VERSIONS).ok_or(CloseReason::DeniedApi)?;
        let mut answer = Vec::new();
        if !api.allows(head.api_version) {
            api_versions::write_unsupported_version(head.correlation_id, policy, &mut answer)
                .map_err(|_| CloseReason::Internal)?;
            return Ok(answer);
        }
        let names_software = api_versions::names_software(request, head.api_version);
        if !names_software.map_err(|_| CloseReason::MalformedFrame)? {
            api_versions::write_invalid_request(head.correlation_id, head.api_version, &mut answer)
                .map_err(|_| CloseReason::Internal)?;
            return Ok(answer);
        }
        if hops::shows_way(head) {
            let identity = self.serving.shared.pipeline.borrow().identity;
            match hops::pass(request, &identity, &mut Vec::new()) {
                Ok(Way::Onward) => {}
                Ok(Way::Round) => {
                    self.serving.dialling.came_back.note();
                    return Err(CloseReason::Loop);
                }
                Ok(Way::TooLong) => return Err(CloseReason::TooManyProxies),
                Err(_) => return Err(CloseReason::MalformedFrame),
            }
        }
        let place = (listener.map.cluster, self.node);
        let ask = async {
            let Reached { broker, .. } = self.dial::<P>(listener, None, FirstWord::Other).await?;
            self.ask_versions::<P>(broker).await
        };
        let offered = self.serving.offered.at(place, ask);
        let offered = self.brokers_stage(pin!(offered)).await??;
        offered
            .write(head.correlation_id, head.api_version, policy, &mut answer)
            .map_err(|_| CloseReason::Internal)?;
        stage.told = Some(offered);
        Ok(answer)
    }

    async fn ask_versions<P: Platform>(
        &self,
        broker: impl futures_lite::io::AsyncRead + futures_lite::io::AsyncWrite + Unpin,
    ) -> Result<OfferedApis, CloseReason> {
        let identity = self.serving.shared.pipeline.borrow().identity;
        let answer = way_back::question::<P, _>(broker, &identity)
            .await
            .map_err(|_| CloseReason::BrokerSilent)?;
        match OfferedApis::parse(&answer) {
            Ok(Some(offered)) => Ok(offered),
            _ => Err(CloseReason::BrokerSilent),
        }
    }

    /// Whether the broker that was connected to offers what the client was told (OFFERED-2).
    #[expect(clippy::disallowed_methods, reason = "it reads the clock for what decides")]
    pub(super) async fn compare_versions<P: Platform>(
        &self,
        listener: &Listener,
        logged_in: &LoggedIn,
        broker: &mut Wire<P::Socket>,
    ) -> Result<(), CloseReason> {
        let Some(told) = &logged_in.told else {
            return Ok(());
        };
        let asked = self.ask_versions::<P>(broker);
        let offered = self.brokers_stage(pin!(asked)).await??;
        let fits = told.is_within(&offered, listener.map.policy);
        let place = (listener.map.cluster, self.node);
        self.serving.offered.note(place, offered, clocks::now());
        if fits { Ok(()) } else { Err(CloseReason::Learned) }
    }

    /// SERVE-LOGIN-3
    #[expect(clippy::disallowed_methods, reason = "it reads the clock for what decides")]
    async fn hold_back<P: Platform>(&self, begun: Instant) -> Result<(), CloseReason> {
        let held_back = &self.serving.held_back;
        if Rc::strong_count(held_back) > HELD_BACK_MAX {
            return Err(CloseReason::LoginFailed);
        }
        let _one = Rc::clone(held_back);
        let rest = FAILURE_DELAY.saturating_sub(clocks::now().saturating_duration_since(begun));
        self.brokers_stage(pin!(P::timer(rest))).await?;
        Ok(())
    }

    async fn send<S: crate::connection::Stream + Unpin>(
        &self,
        client: &mut Wire<S>,
        answer: &[u8],
        head: RequestHead,
    ) -> Result<(), CloseReason> {
        let sent = async {
            client.write_all(answer).await?;
            client.flush().await
        };
        let sent: io::Result<()> = self.clients_stage(pin!(sent)).await?;
        sent.map_err(|_| CloseReason::ClientError)?;
        let mut pipeline = self.serving.shared.pipeline.borrow_mut();
        pipeline.metrics.frames(Direction::Response).frame(head.api_key);
        Ok(())
    }

    /// Tells of a login that has failed.
    fn note_refused_login(&self, listener: &Listener, why: LoginRefusal, claimed: Option<Principal>) {
        let mut pipeline = self.serving.shared.pipeline.borrow_mut();
        pipeline.metrics.connections.login(false);
        let (cluster, client) = (listener.map.cluster, &self.client);
        let refused = Some((why.reason(), claimed.clone()));
        pipeline.audit_login(cluster, client, why.mechanism(), false, refused);
        drop(pipeline);
        self.count_failure();
        self.notice_login(why, claimed);
    }

    /// Tells of a client that has proven who it is, and is nobody at the brokers; why is told with their login.
    fn note_nobody_at_brokers(&self, listener: &Listener, logged_in: &LoggedIn) {
        let mut pipeline = self.serving.shared.pipeline.borrow_mut();
        pipeline.metrics.connections.login(false);
        let refused = Some((NOBODY_AT_BROKERS, Some(logged_in.principal.clone())));
        let cluster = listener.map.cluster;
        pipeline.audit_login(cluster, &self.client, logged_in.mechanism, false, refused);
    }

    /// One more login that has failed, of this address.
    #[expect(clippy::disallowed_methods, reason = "it reads the clock for what decides")]
    fn count_failure(&self) {
        if let Some(address) = self.client.address {
            self.serving.shares.failed(address.ip(), clocks::now());
        }
    }

    /// Tells of a client that is let in.
    fn note_login(&self, listener: &Listener, mechanism: Option<&'static str>) {
        let mut pipeline = self.serving.shared.pipeline.borrow_mut();
        pipeline.metrics.connections.login(true);
        pipeline.audit_login(listener.map.cluster, &self.client, mechanism, false, None);
    }

    /// Has the log tell of a login that has failed, once in a while for each address and user.
    pub(super) fn notice_login(&self, why: LoginRefusal, claimed: Option<Principal>) {
        self.serving.shared.errands.notice(Notice {
            kind: NoticeKind::Login {
                listener: self.listener,
                address: self.client.address.map(|address| address.ip()),
                claimed,
            },
            client: self.client.clone(),
            fault: Some(why.to_string()),
        });
    }
}

#[derive(Default)]
struct LoginStage {
    rounds: Rounds,
    /// The login has failed, and that is counted.
    is_noted: bool,
    told: Option<Rc<OfferedApis>>,
}

impl LoginStage {
    #[expect(clippy::disallowed_methods, reason = "it reads the clock for what decides")]
    fn known(&mut self, principal: Principal, lifetime: Option<Duration>) -> LoggedIn {
        LoggedIn {
            principal,
            lifetime,
            at: clocks::now(),
            told: self.told.take(),
            mechanism: self.rounds.mechanism(),
            owed: None,
            bearer: None,
        }
    }
}

/// Reads one request, its length included, and nothing behind it. What has come is noted on `memory`; nothing is
/// reserved for what is announced. It may hold a password, and is wiped.
async fn read_frame<S: crate::connection::Stream + Unpin>(
    client: &mut Wire<S>,
    bytes_max: usize,
    memory: &StageMemory<'_>,
) -> Result<Zeroizing<Vec<u8>>, CloseReason> {
    let mut prefix = [0; LENGTH_PREFIX_BYTES];
    let mut at = 0;
    while at < prefix.len() {
        let place = prefix.get_mut(at..).unwrap_or_default();
        match client.read(place).await {
            Ok(0) if at == 0 => return Err(CloseReason::ClientClosed),
            Ok(0) => return Err(CloseReason::MalformedFrame),
            Ok(bytes) => at = at.saturating_add(bytes),
            Err(_) => return Err(CloseReason::ClientError),
        }
    }
    let length = usize::try_from(i32::from_be_bytes(prefix)).map_err(|_| CloseReason::MalformedFrame)?;
    if length > bytes_max {
        return Err(CloseReason::FrameTooLarge);
    }
    let mut frame = Zeroizing::new(prefix.to_vec());
    let whole = length.saturating_add(LENGTH_PREFIX_BYTES);
    while frame.len() < whole {
        let at = frame.len();
        let end = whole.min(at.saturating_add(PIECE_BYTES));
        // Moved by hand: what grows by itself leaves the old place as it was.
        let mut grown = Zeroizing::new(Vec::with_capacity(end));
        grown.extend_from_slice(&frame);
        grown.resize(end, 0);
        frame = grown;
        memory.hold(frame.capacity());
        let place = frame.get_mut(at..).unwrap_or_default();
        client
            .read_exact(place)
            .await
            .map_err(|error| match error.kind() {
                io::ErrorKind::UnexpectedEof => CloseReason::ClientClosed,
                _ => CloseReason::ClientError,
            })?;
    }
    Ok(frame)
}

/// A broker's `sasl.server.max.receive.size`, and less than that: tokens are short.
const FRAME_BYTES_MAX: usize = 64 * 1024;
/// What a frame grows by.
const PIECE_BYTES: usize = 4096;
/// Two questions for versions, a handshake and the rounds of a mechanism, and again where the first was in vain.
const REQUESTS_MAX: usize = 16;
/// Answers that are held back at a time.
const HELD_BACK_MAX: usize = 1000;
/// For whoever proved who he is, and is nobody at the brokers.
const NOT_AT_BROKER: &str = "Authentication failed: the brokers behind the proxy do not take this login";
/// Why its login has failed, in the audit log.
const NOBODY_AT_BROKERS: &str = CloseReason::BrokerLogin.as_str();
