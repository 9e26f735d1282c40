//! Logins that end at the proxy: who may log in at which listener, and what each message of a login is answered with.
//!
//! The first login comes before the connection is relayed, and before its broker is connected to; later ones (KIP-368)
//! come in the middle of everything else. Both are [`Rounds`].
//!
//! - LOGIN-1: passwords are hashed elsewhere: one at a time for each connection, and so many for an executor. Whoever
//!   finds no room is closed without an answer, which clients take for a reason to try again.
//! - LOGIN-2: where it is not known who may log in, nobody is told that he may not.
//! - LOGIN-3: who has logged in stays who he is: a later login of somebody else fails.
//! - LOGIN-4: what a client is told does not depend on why its login has failed.
//! - LOGIN-5: between the choice of a mechanism and the end of the login nothing else is taken, another choice neither:
//!   it is refused in its own form, as by a broker, and the login has failed.

mod unknown_keys;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use self::unknown_keys::{Search, UnknownKeys};

use crate::broker_login::{self, BrokerAccount};
use crate::identity::Principal;
use crate::identity::sasl::Failure;
use crate::identity::sasl::exchange::{
    Answer, Checked, CheckedNews, Exchange, LoginMechanism, PasswordCheck, UNKNOWN_KEY,
};
use crate::identity::sasl::oauthbearer;
use crate::ids::{ById, ListenerId};
use crate::metrics::CloseReason;
use crate::protocol::error_code::{NONE, UNSUPPORTED_SASL_MECHANISM};
use crate::protocol::frame::RequestHead;
use crate::protocol::policy::ApiPolicy;
use crate::protocol::request_refusal::{self, Why};
use crate::protocol::sasl::{self, TokenAnswer};

/// How clients log in at one listener.
#[derive(Clone)]
pub struct LoginPolicy {
    /// Which ways there are, the preferred first.
    pub mechanisms: Vec<LoginMechanism>,
    /// For how long a login is good at most; `None`: as long as its connection.
    pub lifetime: Option<Duration>,
    /// Who may log in.
    pub against: Checked,
}

impl LoginPolicy {
    /// What the mechanisms are called.
    pub(super) fn names(&self) -> impl Iterator<Item = &'static str> + '_ {
        self.mechanisms.iter().map(|mechanism| mechanism.name())
    }
}

/// What an executor knows of logins.
#[derive(Default)]
pub struct Logins {
    listeners: ById<ListenerId, LoginPolicy>,
    checks: Checks,
    /// Where keys can be fetched.
    unknown_keys: ById<ListenerId, UnknownKeys>,
    wanted_keys: Vec<ListenerId>,
    /// Since 1970, as it was read last; `None`: not yet.
    realtime: Option<Duration>,
}

/// Passwords that are being hashed, by the number of the connection.
#[derive(Default)]
struct Checks {
    unsent: Vec<(u32, PasswordCheck)>,
    asked: HashMap<u32, Option<Result<Principal, Failure>>>,
}

impl Logins {
    /// How clients log in at this listener from now on.
    pub fn set(&mut self, listener: ListenerId, policy: LoginPolicy) {
        if policy.against.may_find_keys {
            self.unknown_keys.insert(listener, UnknownKeys::default());
        }
        self.listeners.insert(listener, policy);
    }

    /// Who may log in at this listener from now on.
    pub fn take_news(&mut self, listener: ListenerId, news: CheckedNews) {
        if let CheckedNews::Keys(_, Some(begun)) = &news
            && let Some(keys) = self.unknown_keys.get_mut(listener)
        {
            keys.fetched(*begun);
        }
        if let Some(policy) = self.listeners.get_mut(listener) {
            policy.against.take(news);
        }
    }

    /// The listeners whose key sets are to be fetched and were not taken away yet.
    pub fn take_wanted_keys(&mut self) -> impl Iterator<Item = ListenerId> + '_ {
        self.wanted_keys.drain(..)
    }

    /// What time it is since 1970: tokens have an end.
    pub(super) fn set_time(&mut self, realtime: Duration) {
        self.realtime = Some(realtime);
    }

    /// How clients log in at this listener, where they do.
    #[must_use]
    pub fn policy(&self, listener: ListenerId) -> Option<&LoginPolicy> {
        self.listeners.get(listener)
    }

    /// What is to be hashed and was not taken away yet.
    pub fn take_checks(&mut self) -> impl Iterator<Item = (u32, PasswordCheck)> + '_ {
        self.checks.unsent.drain(..)
    }

    /// A password was hashed. Whoever has gone meanwhile is not there any more.
    pub fn checked(&mut self, connection: u32, result: Result<Principal, Failure>) {
        if let Some(asked) = self.checks.asked.get_mut(&connection) {
            *asked = Some(result);
        }
    }

    /// A token names a key that is not in the set.
    fn look_for(&mut self, listener: ListenerId, id: &str) -> Search {
        let keys = self.unknown_keys.get_mut(listener).zip(self.realtime);
        let search = keys.map_or(Search::IsUnderWay, |(keys, now)| keys.search(id, now));
        if search == Search::Begins {
            self.wanted_keys.push(listener);
        }
        search
    }

    /// The connection is gone.
    pub fn forget(&mut self, connection: u32) {
        self.checks.asked.remove(&connection);
        self.checks.unsent.retain(|(asking, _)| *asking != connection);
    }
}

/// The login of one connection.
#[derive(Default)]
pub struct Rounds {
    exchange: Option<Exchange>,
    /// What was agreed on last.
    mechanism: Option<LoginMechanism>,
    /// Who it has been so far.
    known: Option<Principal>,
    /// Whose the login that is under way, or was last, is to be: see [`Exchange::claimed`].
    claimed: Option<Principal>,
}

/// What a message of a login is answered with.
pub enum Round {
    /// This frame; there is more to come.
    Answer(Vec<u8>),
    /// This frame, and the client is this one, for so long.
    Known {
        answer: Vec<u8>,
        principal: Principal,
        lifetime: Option<Duration>,
    },
    /// Nothing yet: look again when passwords were hashed.
    Wait,
    /// This frame, after a while; then the connection ends.
    Failed { answer: Vec<u8>, why: Refusal },
    /// The connection ends without a word, and counts as a login that has failed (UNKNOWN-KEYS-2).
    NewKey,
    /// The connection ends without a word.
    Closed(CloseReason),
}

/// Why a login has failed, for the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The listener does not have the mechanism that was asked for.
    NoSuchMechanism,
    /// What the client has said does not convince.
    Unconvincing(LoginMechanism, Failure),
    /// Somebody else than the connection's first.
    SomebodyElse,
    /// Another request came before the login was over.
    OutOfTurn,
}

impl Refusal {
    /// A fixed word for it, for the audit log.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            Self::NoSuchMechanism => "no_such_mechanism",
            Self::Unconvincing(_, failure) => failure.reason(),
            Self::SomebodyElse => "somebody_else",
            Self::OutOfTurn => "out_of_turn",
        }
    }

    /// What the mechanism is called, where one is to blame.
    #[must_use]
    pub fn mechanism(self) -> Option<&'static str> {
        match self {
            Self::Unconvincing(mechanism, _) => Some(mechanism.name()),
            Self::NoSuchMechanism | Self::SomebodyElse | Self::OutOfTurn => None,
        }
    }
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NoSuchMechanism => {
                formatter.write_str("it asks for a mechanism that the listener does not have")
            }
            Self::Unconvincing(mechanism, failure) => write!(formatter, "{}: {failure}", mechanism.name()),
            Self::SomebodyElse => formatter.write_str("a later login names somebody else than the first"),
            Self::OutOfTurn => formatter.write_str("it asks for something else before its login is over"),
        }
    }
}

/// The account at brokers of the client whose token this SaslAuthenticate request, without its length, holds, where
/// it does.
#[must_use]
pub fn bearer_of(head: RequestHead, frame: &[u8]) -> Option<Arc<BrokerAccount>> {
    let said = sasl::token(frame, head.api_version).ok()?;
    let message = oauthbearer::Message::parse(said).ok()?;
    Some(broker_login::bearer(message.token()))
}

impl Rounds {
    /// Of a client that is known already.
    #[must_use]
    pub fn again(known: Principal) -> Self {
        Self {
            known: Some(known),
            ..Self::default()
        }
    }

    /// Why the login will fail, where the client is told so before it is over.
    #[must_use]
    pub fn refusal(&self) -> Option<Refusal> {
        let exchange = self.exchange.as_ref()?;
        let failure = exchange.refused()?;
        Some(Refusal::Unconvincing(exchange.mechanism(), failure))
    }

    /// Whose the login is to be, as far as it is known that there is such a one; it proves nothing.
    #[must_use]
    pub fn claimed(&self) -> Option<Principal> {
        self.claimed.clone()
    }

    /// What the mechanism is called that was agreed on last.
    #[must_use]
    pub fn mechanism(&self) -> Option<&'static str> {
        self.mechanism.map(LoginMechanism::name)
    }

    /// Whether a mechanism was agreed on, and the login is not over.
    #[must_use]
    pub fn is_under_way(&self) -> bool {
        self.exchange.is_some()
    }

    /// Refuses a request, without its length, that comes while a login is under way (LOGIN-5).
    pub fn out_of_turn(&mut self, api: &ApiPolicy, head: RequestHead, frame: &[u8]) -> Round {
        let is_refused = self.refusal().is_some();
        self.exchange = None;
        // Who does not read what a token was refused with takes whatever is answered for the answer: aiokafka believes
        // in a cluster without brokers.
        if is_refused {
            return Round::Closed(CloseReason::LoginFailed);
        }
        if !api.allows(head.api_version) {
            return Round::Closed(CloseReason::VersionOutsideRange);
        }
        let mut answer = Vec::new();
        let is_short = frame.len() <= request_refusal::FRAME_BYTES_MAX;
        match is_short.then(|| request_refusal::write(Why::WithinLogin, head, api, frame, &mut answer)) {
            Some(Ok(())) => Round::Failed {
                answer,
                why: Refusal::OutOfTurn,
            },
            _ => Round::Closed(CloseReason::DeniedApi),
        }
    }

    /// Takes a SaslHandshake request, without its length.
    pub fn handshake(&mut self, policy: &LoginPolicy, head: RequestHead, frame: &[u8]) -> Round {
        let Ok(wanted) = sasl::mechanism(frame) else {
            return Round::Closed(CloseReason::MalformedFrame);
        };
        let wanted = wanted.parse().ok();
        let agreed = wanted.filter(|wanted| policy.mechanisms.contains(wanted));
        // LOGIN-2
        if agreed.is_some_and(|agreed| !policy.against.is_known(agreed)) {
            return Round::Closed(CloseReason::LoginUnavailable);
        }
        let names: Vec<_> = policy.names().collect();
        let code = agreed.map_or(UNSUPPORTED_SASL_MECHANISM, |_| NONE);
        let mut answer = Vec::new();
        if sasl::write_handshake(head, code, &names, &mut answer).is_err() {
            return Round::Closed(CloseReason::Internal);
        }
        self.mechanism = agreed;
        self.claimed = None;
        self.exchange = agreed.map(Exchange::new);
        match agreed {
            Some(_) => Round::Answer(answer),
            None => Round::Failed {
                answer,
                why: Refusal::NoSuchMechanism,
            },
        }
    }

    /// Takes a SaslAuthenticate request, without its length, of connection number `connection` of `listener`; the same
    /// again after [`Round::Wait`].
    pub fn authenticate(
        &mut self,
        logins: &mut Logins,
        listener: ListenerId,
        connection: u32,
        head: RequestHead,
        frame: &[u8],
    ) -> Round {
        let (Some(policy), Some(exchange)) = (logins.listeners.get(listener), &mut self.exchange) else {
            return answer_with(head, TokenAnswer::OutOfTurn, Round::Answer);
        };
        let mechanism = exchange.mechanism();
        let checked = match logins.checks.asked.get_mut(&connection) {
            Some(None) => return Round::Wait,
            Some(checked) => checked.take(),
            None => None,
        };
        logins.checks.asked.remove(&connection);
        let taken = match checked {
            Some(result) => result.map(|principal| Answer::Known {
                principal,
                message: Vec::new(),
                lifetime: None,
            }),
            None => match sasl::token(frame, head.api_version) {
                Ok(token) => exchange.take(token, &policy.against, logins.realtime),
                Err(_) => return Round::Closed(CloseReason::MalformedFrame),
            },
        };
        self.claimed = exchange.claimed();
        match taken {
            Ok(Answer::Challenge(token)) => {
                answer_with(head, TokenAnswer::Accepted(&token, None), Round::Answer)
            }
            Ok(Answer::Check(check)) => {
                // LOGIN-1
                if logins.checks.asked.len() >= CHECKS_MAX {
                    return Round::Closed(CloseReason::LoginUnavailable);
                }
                logins.checks.asked.insert(connection, None);
                logins.checks.unsent.push((connection, check));
                Round::Wait
            }
            Ok(Answer::UnknownKey(id)) => match logins.look_for(listener, &id) {
                Search::WasInVain => {
                    let told = exchange.refuse(UNKNOWN_KEY);
                    answer_with(head, TokenAnswer::Accepted(&told, None), Round::Answer)
                }
                Search::Begins | Search::NoRoom => Round::NewKey,
                Search::IsUnderWay => Round::Closed(CloseReason::LoginUnavailable),
            },
            Ok(Answer::Unavailable) => Round::Closed(CloseReason::LoginUnavailable),
            Ok(Answer::Known {
                principal,
                message,
                lifetime,
            }) => {
                self.exchange = None;
                // LOGIN-3
                if self.known.as_ref().is_some_and(|known| *known != principal) {
                    self.claimed = Some(principal);
                    return failed(head, mechanism, Refusal::SomebodyElse);
                }
                self.known = Some(principal.clone());
                let lifetime = lifetime.into_iter().chain(policy.lifetime).min();
                answer_with(head, TokenAnswer::Accepted(&message, lifetime), |answer| {
                    Round::Known {
                        answer,
                        principal,
                        lifetime,
                    }
                })
            }
            Err(failure) => {
                self.exchange = None;
                failed(head, mechanism, Refusal::Unconvincing(mechanism, failure))
            }
        }
    }
}

/// LOGIN-4
fn failed(head: RequestHead, mechanism: LoginMechanism, why: Refusal) -> Round {
    let told = Failure::told(mechanism.name());
    answer_with(head, TokenAnswer::Failed(&told), |answer| Round::Failed {
        answer,
        why,
    })
}

fn answer_with(head: RequestHead, answer: TokenAnswer<'_>, round: impl FnOnce(Vec<u8>) -> Round) -> Round {
    let mut frame = Vec::new();
    match sasl::write_answer(head, answer, &mut frame) {
        Ok(()) => round(frame),
        Err(_) => Round::Closed(CloseReason::Internal),
    }
}

/// Passwords of one executor that are being hashed, or wait for it: with 4 ms each, what a client still waits for.
const CHECKS_MAX: usize = 500;

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;

    use super::*;
    use crate::identity::sasl::credentials::Credentials;
    use crate::identity::sasl::oauthbearer::key_set::KeySet;
    use crate::identity::sasl::oauthbearer::token::TokenRules;
    use crate::identity::sasl::verifier::{Mechanism, Verifier};
    use crate::ids::Id as _;
    use crate::protocol::api_key::{METADATA, SASL_AUTHENTICATE, SASL_HANDSHAKE};
    use crate::protocol::policy::Policy;
    use crate::testing::tokens::{SigningKey, key_set};

    const PLAIN: LoginMechanism = LoginMechanism::Plain;

    fn listener() -> ListenerId {
        ListenerId::from_number(3)
    }

    fn logins(credentials: Option<Credentials>) -> Logins {
        let mut logins = Logins::default();
        let policy = LoginPolicy {
            mechanisms: vec![PLAIN],
            lifetime: None,
            against: Checked {
                credentials: credentials.map(Arc::new),
                ..Checked::default()
            },
        };
        logins.set(listener(), policy);
        logins
    }

    fn alice_and_bob() -> Credentials {
        let mut credentials = Credentials::new().expect("random numbers");
        for user in ["alice", "bob"] {
            let verifier = Verifier::new(Mechanism::Sha256, b"secret", 4096).expect("hashed");
            credentials
                .set(user, Mechanism::Sha256, verifier)
                .expect("a name");
        }
        credentials
    }

    fn head(api_key: i16) -> RequestHead {
        RequestHead {
            api_key,
            api_version: 1,
            correlation_id: 7,
        }
    }

    /// Header without a client id, then `body`.
    fn request(api_key: i16, body: &[u8]) -> Vec<u8> {
        let mut frame = Vec::new();
        for number in [api_key, 1, 0, 7, -1] {
            frame.extend_from_slice(&number.to_be_bytes());
        }
        frame.extend_from_slice(body);
        frame
    }

    fn shake_hands(rounds: &mut Rounds, logins: &Logins, name: &str) -> Round {
        let body = [&[0, name.len() as u8][..], name.as_bytes()].concat();
        let policy = logins.policy(listener()).expect("it has one");
        rounds.handshake(policy, head(SASL_HANDSHAKE), &request(SASL_HANDSHAKE, &body))
    }

    fn say(rounds: &mut Rounds, logins: &mut Logins, connection: u32, token: &str) -> Round {
        let body = [&(token.len() as i32).to_be_bytes()[..], token.as_bytes()].concat();
        let frame = request(SASL_AUTHENTICATE, &body);
        rounds.authenticate(logins, listener(), connection, head(SASL_AUTHENTICATE), &frame)
    }

    fn hash(logins: &mut Logins) {
        let checks: Vec<_> = logins.take_checks().collect();
        for (connection, check) in checks {
            logins.checked(connection, check.run());
        }
    }

    /// A login by PLAIN, from its handshake to its end.
    fn log_in(rounds: &mut Rounds, logins: &mut Logins, token: &str) -> Round {
        assert!(matches!(shake_hands(rounds, logins, "PLAIN"), Round::Answer(_)));
        assert!(matches!(say(rounds, logins, 1, token), Round::Wait));
        hash(logins);
        say(rounds, logins, 1, token)
    }

    /// LOGIN-1
    #[test]
    fn one_password_of_a_connection_is_hashed_at_a_time_and_so_many_in_all() {
        let mut logins = logins(Some(alice_and_bob()));
        let bound = u32::try_from(CHECKS_MAX).expect("not many");
        let mut all: Vec<Rounds> = (0..=bound).map(|_| Rounds::default()).collect();
        for rounds in &mut all {
            shake_hands(rounds, &logins, "PLAIN");
        }
        for (connection, rounds) in (0..).zip(&mut all) {
            for _ in 0..2 {
                let round = say(rounds, &mut logins, connection, "\0alice\0secret");
                let is_taken = connection < bound;
                assert_eq!(matches!(round, Round::Wait), is_taken);
                assert!(is_taken || matches!(round, Round::Closed(CloseReason::LoginUnavailable)));
            }
        }
        assert_eq!(logins.take_checks().count(), CHECKS_MAX);
        // Who leaves makes room.
        logins.forget(0);
        let round = say(&mut all[CHECKS_MAX], &mut logins, bound, "\0alice\0secret");
        assert!(matches!(round, Round::Wait));
    }

    /// LOGIN-2
    #[test]
    fn nobody_is_refused_before_it_is_known_who_may_log_in() {
        let round = shake_hands(&mut Rounds::default(), &logins(None), "PLAIN");
        assert!(matches!(round, Round::Closed(CloseReason::LoginUnavailable)));
    }

    /// LOGIN-3
    #[test]
    fn a_later_login_of_somebody_else_fails() {
        let mut logins = logins(Some(alice_and_bob()));
        let mut rounds = Rounds::default();
        for again in 0..2 {
            let round = log_in(&mut rounds, &mut logins, "\0alice\0secret");
            assert!(matches!(round, Round::Known { .. }), "login {again}");
        }
        let round = log_in(&mut rounds, &mut logins, "\0bob\0secret");
        assert!(matches!(
            round,
            Round::Failed {
                why: Refusal::SomebodyElse,
                ..
            }
        ));
        let mut stranger = Rounds::default();
        assert!(matches!(
            log_in(&mut stranger, &mut logins, "\0bob\0secret"),
            Round::Known { .. }
        ));
    }

    /// LOGIN-5
    #[test]
    fn nothing_else_is_taken_within_a_login() {
        let mut logins = logins(Some(alice_and_bob()));
        let frame = request(SASL_HANDSHAKE, b"\0\x05PLAIN");
        let api = Policy::BY_NAME.api(SASL_HANDSHAKE).expect("it is let through");
        for (frame, version, is_answered) in
            [(&frame[..], 1, true), (&frame[..8], 1, false), (&frame, 2, false)]
        {
            let mut rounds = Rounds::default();
            shake_hands(&mut rounds, &logins, "PLAIN");
            let head = RequestHead {
                api_version: version,
                ..head(SASL_HANDSHAKE)
            };
            match rounds.out_of_turn(api, head, frame) {
                Round::Failed { answer, why } => {
                    assert!(is_answered && why == Refusal::OutOfTurn);
                    assert_eq!(answer, [0, 0, 0, 10, 0, 0, 0, 7, 0, 34, 0, 0, 0, 0]);
                }
                Round::Closed(_) => assert!(!is_answered),
                _ => panic!("it is over"),
            }
            assert!(!rounds.is_under_way());
        }
        let long = request(SASL_HANDSHAKE, &vec![0; request_refusal::FRAME_BYTES_MAX]);
        let round = Rounds::default().out_of_turn(api, head(SASL_HANDSHAKE), &long);
        assert!(matches!(round, Round::Closed(CloseReason::DeniedApi)));
        assert!(matches!(
            log_in(&mut Rounds::default(), &mut logins, "\0alice\0secret"),
            Round::Known { .. }
        ));
    }

    /// LOGIN-4
    #[test]
    fn what_is_told_does_not_depend_on_why() {
        let mut logins = logins(Some(alice_and_bob()));
        let answers = [
            ("\0alice\0wrong", "User:alice"),
            ("\0nobody\0secret", ""),
            ("bob\0alice\0secret", "User:alice"),
            ("no such form", ""),
        ]
        .map(|(token, claimed)| {
            let mut rounds = Rounds::default();
            let Round::Failed { answer, .. } = log_in(&mut rounds, &mut logins, token) else {
                panic!("{token:?} is let in")
            };
            let told = rounds
                .claimed()
                .map_or(String::new(), |claimed| claimed.to_string());
            assert_eq!(told, claimed, "{token:?}");
            answer
        });
        assert!(answers.iter().all(|answer| *answer == answers[0]));
    }

    #[test]
    fn a_mechanism_that_the_listener_does_not_have_is_answered_with_those_that_it_has() {
        let logins = logins(Some(alice_and_bob()));
        for name in ["SCRAM-SHA-256", "GSSAPI", "plain", ""] {
            match shake_hands(&mut Rounds::default(), &logins, name) {
                Round::Failed { answer, why } => {
                    assert_eq!(why, Refusal::NoSuchMechanism);
                    assert!(answer.ends_with(b"\0\x05PLAIN"), "{answer:?}");
                }
                _ => panic!("{name:?} is agreed on"),
            }
        }
    }

    /// What goes by tokens of `key`, for at most ten minutes.
    fn bearers(key: &SigningKey) -> Logins {
        let rules = TokenRules {
            issuer: "issuer".to_owned(),
            audiences: vec!["kafka".to_owned()],
            algorithms: vec![jsonwebtoken::Algorithm::ES256],
            principal_claim: "sub".to_owned(),
        };
        let mut logins = Logins::default();
        let policy = LoginPolicy {
            mechanisms: vec![LoginMechanism::OauthBearer],
            lifetime: Some(Duration::from_secs(600)),
            against: Checked {
                token_rules: Some(Arc::new(rules)),
                ..Checked::default()
            },
        };
        logins.set(listener(), policy);
        let keys = KeySet::parse(key_set([key]).as_bytes()).expect("a set");
        logins.take_news(
            listener(),
            CheckedNews::Keys(Arc::new(keys), Some(Duration::from_secs(1000))),
        );
        logins
    }

    /// A client's message with a token of `user`, which ends so many seconds from 1000 on.
    fn bearer(key: &SigningKey, user: &str, ends: i64) -> String {
        let claims = json!({"iss": "issuer", "aud": "kafka", "sub": user, "iat": 900, "exp": 1000 + ends});
        format!("n,,\u{1}auth=Bearer {}\u{1}\u{1}", key.token(&claims))
    }

    fn say_at(rounds: &mut Rounds, logins: &mut Logins, message: &str) -> Round {
        logins.set_time(Duration::from_secs(1000));
        assert!(matches!(
            shake_hands(rounds, logins, "OAUTHBEARER"),
            Round::Answer(_)
        ));
        say(rounds, logins, 1, message)
    }

    #[test]
    fn a_login_ends_with_its_token() {
        let key = SigningKey::ec("k");
        let mut logins = bearers(&key);
        for (ends, expected) in [(599, 599), (601, 600), (1, 1), (0, 1), (-29, 1)] {
            let message = bearer(&key, "alice", ends);
            let round = say_at(&mut Rounds::default(), &mut logins, &message);
            let Round::Known {
                principal, lifetime, ..
            } = round
            else {
                panic!("{ends}: it is good")
            };
            assert_eq!(principal.to_string(), "User:alice");
            assert_eq!(lifetime, Some(Duration::from_secs(expected)), "{ends}");
        }
        // LOGIN-3
        let mut rounds = Rounds::default();
        say_at(&mut rounds, &mut logins, &bearer(&key, "alice", 60));
        let round = say_at(&mut rounds, &mut logins, &bearer(&key, "bob", 60));
        assert!(matches!(
            round,
            Round::Failed {
                why: Refusal::SomebodyElse,
                ..
            }
        ));
    }

    /// LOGIN-4
    #[test]
    fn a_token_that_does_not_convince_is_refused_in_two_steps() {
        let (key, other) = (SigningKey::ec("k"), SigningKey::ec("k"));
        let mut logins = bearers(&key);
        let mut said = Vec::new();
        for (message, is_signed) in [
            (bearer(&key, "alice", -30), true),
            (bearer(&other, "alice", 60), false),
            ("n,,\u{1}auth=Bearer nonsense\u{1}\u{1}".to_owned(), false),
        ] {
            let mut rounds = Rounds::default();
            let Round::Answer(first) = say_at(&mut rounds, &mut logins, &message) else {
                panic!("{message:?}: the client is told before it is over")
            };
            assert_eq!(rounds.claimed(), Principal::named("alice").filter(|_| is_signed));
            let text = String::from_utf8_lossy(&first).into_owned();
            assert!(text.contains("{\"status\":\"invalid_token\"}"), "{text:?}");
            // The same once more does not help.
            let last = match message.len() % 2 {
                0 => "\u{1}".to_owned(),
                _ => bearer(&key, "alice", 60),
            };
            let Round::Failed { answer, .. } = say(&mut rounds, &mut logins, 1, &last) else {
                panic!("{message:?}: it is over")
            };
            said.push((first, answer));
            assert!(!rounds.is_under_way());
            // Whoever goes on as if it was let in hears nothing more.
            let mut deaf = Rounds::default();
            say_at(&mut deaf, &mut logins, &message);
            let frame = request(METADATA, &[]);
            let api = Policy::BY_NAME.api(METADATA).expect("it is let through");
            let round = deaf.out_of_turn(api, head(METADATA), &frame);
            assert!(matches!(round, Round::Closed(CloseReason::LoginFailed)));
        }
        assert!(said.windows(2).all(|pair| pair[0] == pair[1]), "{said:?}");
        // Of a message there are none.
        for message in [
            bearer(&key, "alice", 60).replacen("n,,", "n,a=bob,", 1),
            "nonsense".to_owned(),
        ] {
            let round = say_at(&mut Rounds::default(), &mut logins, &message);
            let Round::Failed { answer, .. } = round else {
                panic!("{message:?}: it is over")
            };
            assert_eq!(answer, said[0].1);
        }
    }

    /// LOGIN-2
    #[test]
    fn no_token_is_refused_without_the_time_or_the_keys() {
        let key = SigningKey::ec("k");
        let mut logins = bearers(&key);
        let mut rounds = Rounds::default();
        shake_hands(&mut rounds, &logins, "OAUTHBEARER");
        let round = say(&mut rounds, &mut logins, 1, &bearer(&key, "alice", 60));
        assert!(matches!(round, Round::Closed(CloseReason::LoginUnavailable)));
        let mut policy = logins.policy(listener()).expect("it has one").clone();
        policy.against.keys = None;
        logins.set(listener(), policy);
        let round = shake_hands(&mut Rounds::default(), &logins, "OAUTHBEARER");
        assert!(matches!(round, Round::Closed(CloseReason::LoginUnavailable)));
    }

    /// LOGIN-2, UNKNOWN-KEYS-1
    #[test]
    fn a_key_that_nobody_knows_yet_is_looked_for() {
        let (known, new) = (SigningKey::ec("k"), SigningKey::ec("new"));
        let mut logins = bearers(&known);
        let mut policy = logins.policy(listener()).expect("it has one").clone();
        policy.against.may_find_keys = true;
        logins.set(listener(), policy);
        logins.set_time(Duration::from_secs(1000));
        let log_in = |logins: &mut Logins| {
            let mut rounds = Rounds::default();
            shake_hands(&mut rounds, logins, "OAUTHBEARER");
            let round = say(&mut rounds, logins, 1, &bearer(&new, "alice", 60));
            (round, rounds.refusal())
        };
        for is_new in [true, false, false] {
            let (round, _) = log_in(&mut logins);
            assert_eq!(matches!(round, Round::NewKey), is_new);
            assert!(is_new || matches!(round, Round::Closed(CloseReason::LoginUnavailable)));
            assert_eq!(logins.take_wanted_keys().count(), usize::from(is_new));
        }
        let publish = |logins: &mut Logins, keys: &[&SigningKey]| {
            let keys = KeySet::parse(key_set(keys.iter().copied()).as_bytes()).expect("a set");
            logins.take_news(
                listener(),
                CheckedNews::Keys(Arc::new(keys), Some(Duration::from_secs(1000))),
            );
        };
        publish(&mut logins, &[&known]);
        let (round, refusal) = log_in(&mut logins);
        assert!(
            matches!(round, Round::Answer(_)),
            "the issuer does not know it either"
        );
        assert_eq!(
            refusal,
            Some(Refusal::Unconvincing(LoginMechanism::OauthBearer, UNKNOWN_KEY))
        );
        publish(&mut logins, &[&known, &new]);
        assert!(matches!(log_in(&mut logins).0, Round::Known { .. }));
    }
}
