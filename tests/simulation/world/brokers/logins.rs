//! Logins at nodes: SASL as brokers speak it, sessions that end (KIP-368), and what goes wrong with both.
//!
//! - who has not logged in gets nothing but ApiVersions; nor does anything else come within a login.
//! - a login is renewed by who it was, and no sooner than a second after the last.
//! - a request behind the end of a login closes its connection.
//!
//! What no client may do is an [`Event::Outlaw`].

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use kafka_protocol::messages::{
    ApiKey, SaslAuthenticateRequest, SaslAuthenticateResponse, SaslHandshakeRequest, SaslHandshakeResponse,
};
use sealwire::identity::sasl::exchange::{Answer, Checked, Exchange, LoginMechanism};

use super::requests::key_and_version;
use crate::dice::Dice;
use crate::wire::{decode_request, response, text};
use crate::world::people::{account_password, people};

/// How one logs in at all nodes.
pub(crate) struct Logins {
    versions: BTreeMap<String, u8>,
    checked: Checked,
    /// How long a login is good: between these.
    lifetime: Option<(Duration, Duration)>,
    pub(crate) trouble: LoginTrouble,
    /// Since 1970.
    realtime: Duration,
}

/// What goes wrong with logins, of a thousand each, and whom they refuse whatever he proves.
#[derive(Clone, Debug, Default)]
pub(crate) struct LoginTrouble {
    pub(crate) refused: BTreeSet<String>,
    pub(crate) silent: u64,
    pub(crate) cut: u64,
    pub(crate) wrong_signature: u64,
}

/// What has become of a login.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// For so long.
    Accepted(Option<Duration>),
    Refused,
}

/// A login that has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ended {
    /// Whose it was to be, where that was said.
    pub(crate) user: Option<String>,
    pub(crate) is_first: bool,
    /// The number of the request that it began with, of its connection.
    pub(crate) begun_by: u64,
    pub(crate) verdict: Verdict,
}

/// Where a connection stands.
#[derive(Default)]
pub(super) struct LoginState {
    pub(super) user: Option<String>,
    since: Duration,
    until: Option<Duration>,
    under_way: Option<UnderWay>,
    /// It waits for an answer that never comes.
    pub(super) is_silent: bool,
}

struct UnderWay {
    exchange: Exchange,
    begun_by: u64,
}

/// What becomes of a request.
pub(super) enum Judged {
    /// It is none of a login, and may be served.
    Passes,
    Answered(Vec<u8>),
    /// And then the connection ends.
    Refused(Vec<u8>),
    /// There is no answer.
    Silent,
    Closed,
    /// The login was over when it came: since when.
    Late(Duration),
    /// No client may send that, for this reason.
    Outlaw(&'static str),
}

/// A request as it reached a node.
pub(super) struct Asked<'r> {
    pub(super) frame: &'r [u8],
    /// The how-manieth of its connection it is.
    pub(super) number: u64,
    pub(super) now: Duration,
}

impl Logins {
    pub(crate) fn new(
        accounts: impl IntoIterator<Item = String>,
        lifetime: Option<(Duration, Duration)>,
    ) -> Self {
        let versions = accounts.into_iter().map(|account| (account, 0)).collect();
        Self {
            checked: people().checked_at_brokers(&versions),
            versions,
            lifetime,
            trouble: LoginTrouble::default(),
            realtime: Duration::ZERO,
        }
    }

    /// The account has another password from now on.
    pub(crate) fn set_password(&mut self, account: &str, version: u8) {
        self.versions.insert(account.to_owned(), version);
        self.checked = people().checked_at_brokers(&self.versions);
    }

    pub(crate) fn set_time(&mut self, realtime: Duration) {
        self.realtime = realtime;
    }

    /// Judges a request; with it, the login that it ends.
    pub(super) fn judge(
        &self,
        state: &mut LoginState,
        asked: &Asked<'_>,
        dice: &mut Dice,
    ) -> (Judged, Option<Ended>) {
        let (key, version) = key_and_version(asked.frame);
        let api = ApiKey::try_from(key);
        let judged = match api {
            Ok(ApiKey::ApiVersions) if state.under_way.is_none() => Judged::Passes,
            Ok(ApiKey::SaslHandshake) => state.handshake(asked, version),
            Ok(ApiKey::SaslAuthenticate) => return self.authenticate(state, asked, version, dice),
            _ if state.under_way.is_some() => Judged::Outlaw("it comes within a login"),
            _ if state.user.is_none() => Judged::Outlaw("nobody has logged in"),
            _ => match state.until {
                Some(until) if asked.now > until => Judged::Late(until),
                _ => Judged::Passes,
            },
        };
        (judged, None)
    }

    fn authenticate(
        &self,
        state: &mut LoginState,
        asked: &Asked<'_>,
        version: i16,
        dice: &mut Dice,
    ) -> (Judged, Option<Ended>) {
        let Some(mut under_way) = state.under_way.take() else {
            return (Judged::Outlaw("no mechanism was chosen"), None);
        };
        let mut happens = |of_thousand: u64| dice.below(1000) < of_thousand;
        if happens(self.trouble.silent) {
            state.is_silent = true;
            return (Judged::Silent, None);
        }
        if happens(self.trouble.cut) {
            return (Judged::Closed, None);
        }
        let request: SaslAuthenticateRequest = decode_request(asked.frame, version);
        let is_wrong = happens(self.trouble.wrong_signature);
        let (said, user) = self.take(&mut under_way.exchange, &request.auth_bytes);
        let (message, is_known) = match said {
            Some(said) => said,
            None => return state.refuse(&under_way, asked, version, user),
        };
        if !is_known {
            state.under_way = Some(under_way);
            return (Judged::Answered(answer(asked, version, 0, message, None)), None);
        }
        let user = user.expect("whoever is known has a name");
        if self.trouble.refused.contains(&user) {
            return state.refuse(&under_way, asked, version, Some(user));
        }
        if state.user.as_ref().is_some_and(|known| *known != user) {
            return (Judged::Outlaw("somebody else logs in on the connection"), None);
        }
        if is_wrong && under_way.exchange.mechanism() != LoginMechanism::Plain && !message.is_empty() {
            let mut message = message;
            let last = message.len() / 2;
            message[last] = if message[last] == b'A' { b'B' } else { b'A' };
            return (Judged::Answered(answer(asked, version, 0, message, None)), None);
        }
        let lifetime = self.lifetime.map(|(least, most)| {
            least + Duration::from_millis(dice.below((most - least).as_millis() as u64 + 1))
        });
        let ended = Ended {
            user: Some(user.clone()),
            is_first: state.user.is_none(),
            begun_by: under_way.begun_by,
            verdict: Verdict::Accepted(lifetime),
        };
        state.user = Some(user);
        state.since = asked.now;
        state.until = lifetime.map(|lifetime| asked.now + lifetime);
        (
            Judged::Answered(answer(asked, version, 0, message, lifetime)),
            Some(ended),
        )
    }

    /// What a message of a login is answered with, and whether that is its end; `None`: it is refused. With it, whose
    /// login it is to be.
    fn take(&self, exchange: &mut Exchange, message: &[u8]) -> (Option<(Vec<u8>, bool)>, Option<String>) {
        if exchange.mechanism() == LoginMechanism::Plain {
            let mut parts = message.split(|byte| *byte == 0).skip(1);
            let mut next = || String::from_utf8_lossy(parts.next().unwrap_or_default()).into_owned();
            let (user, password) = (next(), next());
            let version = self.versions.get(&user);
            let is_right = version.is_some_and(|version| account_password(&user, *version) == password);
            return (is_right.then(|| (Vec::new(), true)), Some(user));
        }
        let taken = exchange.take(message, &self.checked, Some(self.realtime));
        let claimed = exchange.claimed().map(|claimed| claimed.name().to_owned());
        match taken {
            Ok(Answer::Challenge(challenge)) => (Some((challenge, false)), claimed),
            Ok(Answer::Known {
                principal, message, ..
            }) => (Some((message, true)), Some(principal.name().to_owned())),
            Ok(_) => panic!("all that is needed to judge a login is there"),
            Err(_) => (None, claimed),
        }
    }
}

impl LoginState {
    fn handshake(&mut self, asked: &Asked<'_>, version: i16) -> Judged {
        let request: SaslHandshakeRequest = decode_request(asked.frame, version);
        let Ok(mechanism) = request.mechanism.parse::<LoginMechanism>() else {
            return Judged::Outlaw("there is no such mechanism");
        };
        if self.under_way.is_some() {
            return Judged::Outlaw("a mechanism was chosen before");
        }
        if self.user.is_some() {
            if self.until.is_none() {
                return Judged::Outlaw("the login has no end");
            }
            if asked.now < self.since + RENEWED_AFTER {
                return Judged::Outlaw("it logs in again within a second");
            }
        }
        self.under_way = Some(UnderWay {
            exchange: Exchange::new(mechanism),
            begun_by: asked.number,
        });
        let body = SaslHandshakeResponse::default().with_mechanisms(vec![text(mechanism.name())]);
        Judged::Answered(response(version, correlation_id(asked.frame), &body))
    }

    fn refuse(
        &self,
        under_way: &UnderWay,
        asked: &Asked<'_>,
        version: i16,
        user: Option<String>,
    ) -> (Judged, Option<Ended>) {
        let ended = Ended {
            user,
            is_first: self.user.is_none(),
            begun_by: under_way.begun_by,
            verdict: Verdict::Refused,
        };
        let refused = answer(asked, version, SASL_AUTHENTICATION_FAILED, Vec::new(), None);
        (Judged::Refused(refused), Some(ended))
    }
}

fn answer(
    asked: &Asked<'_>,
    version: i16,
    code: i16,
    message: Vec<u8>,
    lifetime: Option<Duration>,
) -> Vec<u8> {
    let lifetime = lifetime.map_or(0, |lifetime| lifetime.as_millis() as i64);
    let body = SaslAuthenticateResponse::default()
        .with_error_code(code)
        .with_error_message((code != 0).then(|| text("Authentication failed")))
        .with_auth_bytes(message.into())
        .with_session_lifetime_ms(lifetime);
    response(version, correlation_id(asked.frame), &body)
}

fn correlation_id(frame: &[u8]) -> i32 {
    i32::from_be_bytes(frame[4..8].try_into().expect("a frame has eight bytes"))
}

/// As brokers have it.
const RENEWED_AFTER: Duration = Duration::from_secs(1);
const SASL_AUTHENTICATION_FAILED: i16 = 58;
