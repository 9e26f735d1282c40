//! How a client logs in on each of its connections, and again before that is over (KIP-368): it sends nothing else
//! meanwhile, and what was sent before is still answered.

use std::sync::Arc;
use std::time::Duration;

use kafka_protocol::messages::{
    ApiKey, SaslAuthenticateRequest, SaslAuthenticateResponse, SaslHandshakeRequest, SaslHandshakeResponse,
};
use sealwire::identity::sasl::initiator::{Credential, Initiation, Message, Next};

use super::Network;
use super::link::Asked;
use crate::wire::{decode_response, text};
use crate::world::clients::{Action, Family, LinkId};

/// Who a client is.
pub(crate) struct Login {
    pub(crate) credential: Arc<Credential>,
    /// Whom it says it is when it logs in again, once.
    pub(crate) again_as: Option<Arc<Credential>>,
    /// It logs in again when it is too late.
    pub(crate) is_late: bool,
    /// How many logins it has renewed, and how many of these it began while requests were unanswered.
    pub(crate) renewed: u64,
    pub(crate) renewed_in_flight: u64,
}

/// Where one connection stands.
#[derive(Default)]
pub(super) struct LinkLogin {
    is_under_way: bool,
    is_known: bool,
    credential: Option<Arc<Credential>>,
    initiation: Option<Initiation>,
    /// When it logs in again.
    again_at: Option<Duration>,
}

impl LinkLogin {
    /// Whether nothing but the login itself may be sent.
    pub(super) fn is_under_way(&self) -> bool {
        self.is_under_way
    }

    /// When there is something to do.
    pub(super) fn due(&self) -> Option<Duration> {
        self.again_at.filter(|_| !self.is_under_way)
    }
}

impl Network {
    /// From now on it logs in, on new connections.
    pub(crate) fn set_login(&mut self, login: Login) {
        self.login = Some(login);
    }

    pub(crate) fn login(&mut self) -> Option<&mut Login> {
        self.login.as_mut()
    }

    /// Logs in again where it is time to.
    pub(super) fn renew_logins(&mut self) {
        let due = self.links.iter().filter(|(_, link)| {
            let due = link.login.due();
            link.is_ready && due.is_some_and(|due| due <= self.now)
        });
        for id in due.map(|(&id, _)| id).collect::<Vec<_>>() {
            self.begin_login(id);
        }
    }

    /// The peer has said what it can do; whether anything may be sent to it now.
    pub(super) fn is_known(&mut self, id: LinkId) -> bool {
        let is_known = self.login.is_none() || self.links.get(&id).is_some_and(|link| link.login.is_known);
        if !is_known {
            self.begin_login(id);
        }
        is_known
    }

    fn begin_login(&mut self, id: LinkId) {
        let Some((login, link)) = self.login.as_mut().zip(self.links.get_mut(&id)) else {
            return;
        };
        let is_in_flight = link.login.is_known && !link.unanswered.is_empty();
        login.renewed_in_flight += u64::from(is_in_flight);
        let other = login.again_as.take_if(|_| link.login.is_known);
        let credential = other.unwrap_or_else(|| Arc::clone(&login.credential));
        let body = SaslHandshakeRequest::default().with_mechanism(text(credential.mechanism().name()));
        link.login.is_under_way = true;
        link.login.credential = Some(credential);
        self.send(id, (ApiKey::SaslHandshake, 1), &body, Asked::Mechanism);
    }

    /// The peer has answered the choice of a mechanism.
    pub(super) fn mechanism_answered(&mut self, id: LinkId, frame: &[u8], now: Duration) {
        let answer: SaslHandshakeResponse = decode_response(frame, 1);
        let link = self.links.get_mut(&id).expect("the connection is there");
        let credential = link.login.credential.take().expect("it was chosen");
        if answer.error_code != 0 {
            return self.give_up(id, now);
        }
        let (initiation, first) = Initiation::begin(credential).expect("randomness");
        link.login.initiation = Some(initiation);
        self.say(id, &first);
    }

    fn say(&mut self, id: LinkId, message: &Message) {
        let body = SaslAuthenticateRequest::default().with_auth_bytes(message.to_vec().into());
        self.send(id, (ApiKey::SaslAuthenticate, 2), &body, Asked::Token);
    }

    /// The peer has answered a message of a login.
    pub(super) fn token_answered(&mut self, id: LinkId, frame: &[u8], now: Duration) {
        let answer: SaslAuthenticateResponse = decode_response(frame, 2);
        if answer.error_code != 0 {
            assert_eq!(answer.error_code, SASL_AUTHENTICATION_FAILED);
            return self.give_up(id, now);
        }
        let link = self.links.get_mut(&id).expect("the connection is there");
        let initiation = link.login.initiation.as_mut().expect("it is under way");
        match initiation
            .take(&answer.auth_bytes)
            .expect("the proxy says what is right")
        {
            Next::Send(message) => self.say(id, &message),
            Next::Hash => panic!("all that clients hash is hashed"),
            Next::Done => self.logged_in(id, answer.session_lifetime_ms, now),
        }
    }

    fn logged_in(&mut self, id: LinkId, lifetime_ms: i64, now: Duration) {
        let is_late = self.login.as_ref().is_some_and(|login| login.is_late);
        let link = self.links.get_mut(&id).expect("the connection is there");
        let lifetime = Duration::from_millis(u64::try_from(lifetime_ms).expect("a time"));
        let percent = if is_late {
            LATE_PERCENT
        } else {
            AGAIN_PERCENT + id.0 % 10
        };
        link.login.again_at = (lifetime_ms > 0).then(|| now + lifetime * percent / 100);
        link.login.initiation = None;
        link.login.is_under_way = false;
        let is_first = !std::mem::replace(&mut link.login.is_known, true);
        if !is_first {
            self.login.iter_mut().for_each(|login| login.renewed += 1);
            return;
        }
        match self.settings.family {
            // The one that logs in is another part of it than the one that asks.
            Family::Java => self.ask_versions(id, JAVA_VERSIONS, now),
            Family::Librdkafka => self.has_said_what_it_can(id),
        }
    }

    /// A login has failed: both families close, and come again.
    fn give_up(&mut self, id: LinkId, now: Duration) {
        self.actions.push(Action::Close { id });
        self.ended(id, now);
    }
}

/// Java's clients wait for 85 to 95 % of the time.
const AGAIN_PERCENT: u32 = 85;
const LATE_PERCENT: u32 = 120;
const JAVA_VERSIONS: i16 = 4;
const SASL_AUTHENTICATION_FAILED: i16 = 58;
