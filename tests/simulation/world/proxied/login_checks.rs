//! What is true of worlds with logins, beside what is true of every world.
//!
//! - CHECKS-11: nothing of a client reaches a broker before the login that was made for him, within one or behind the
//!   end of one, nor by another account than his; and what is renewed is renewed when all before it is answered.
//! - CHECKS-12: an account that brokers refuse is tried no sooner again than its back-off allows.
//! - CHECKS-13: what clients prove themselves with reaches no broker but where tokens are sent on, what accounts do no
//!   client, and neither the log.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use sealwire::broker_login::back_off;

use super::World;
use super::login_setup::Upstream;
use super::logins::user_of;
use crate::rig::contains;
use crate::world::brokers::{ConnectionId, Ended, Verdict};
use crate::world::people::{ACCOUNTS_SECRET, CLIENTS_SECRET, TOKEN_SECRET};

/// When the requests of one connection to a broker were begun, and when the program heard of its logins.
#[derive(Default)]
pub(super) struct Requests {
    begun: Vec<Duration>,
    /// Of the request that is being written: what is still to come, once its length is known.
    left: usize,
    length: Vec<u8>,
    /// Logins whose end was sent and has not arrived.
    pub(super) sent: VecDeque<(Duration, String, Ended)>,
    /// How long the end of the last one was on its way.
    delay: Duration,
}

impl Requests {
    /// The program has written more.
    pub(super) fn note(&mut self, mut written: &[u8], now: Duration) {
        while let Some((first, rest)) = written.split_first() {
            if self.left > 0 {
                let taken = self.left.min(written.len());
                self.left -= taken;
                written = &written[taken..];
                continue;
            }
            if self.length.is_empty() {
                self.begun.push(now);
            }
            self.length.push(*first);
            written = rest;
            if let Some(length) = self.length.first_chunk() {
                self.left = i32::from_be_bytes(*length).try_into().expect("a length");
                self.length.clear();
            }
        }
    }

    fn begun(&self, number: u64) -> Duration {
        self.begun[number as usize - 1]
    }
}

/// How accounts fare at brokers, as the program has to know by what it was told.
#[derive(Default)]
pub(super) struct Tries {
    /// By user and address: a broker that refuses is left alone, and others are tried.
    refused: BTreeMap<(String, String), Refusal>,
    accepted: BTreeMap<String, Duration>,
    /// Nobody knows before then which password was meant.
    unsure_until: Duration,
}

struct Refusal {
    at: Duration,
    times: u32,
}

impl Tries {
    /// Of accounts whose passwords have just been replaced.
    pub(super) fn replaced(now: Duration) -> Self {
        Self {
            unsure_until: now + UNSURE_FOR,
            ..Self::default()
        }
    }

    /// The program hears what has become of a login.
    fn heard(&mut self, broker: &str, ended: &Ended, now: Duration) {
        let Some(user) = &ended.user else { return };
        if matches!(ended.verdict, Verdict::Accepted(_)) {
            self.refused.remove(&(user.clone(), broker.to_owned()));
            self.accepted.insert(user.clone(), now);
            return;
        }
        let accepted = self.accepted.get(user);
        let is_unsure = now < self.unsure_until || accepted.is_some_and(|at| now < *at + HEARD_WITHIN);
        if is_unsure || !ended.is_first {
            return;
        }
        let known = self
            .refused
            .entry((user.clone(), broker.to_owned()))
            .or_insert(Refusal { at: now, times: 0 });
        let is_counted = known.times == 0 || now >= known.at + back_off(known.times - 1);
        if is_counted {
            (known.at, known.times) = (now, known.times + 1);
        }
    }
}

/// Checks.
impl World {
    /// CHECKS-11
    pub(super) fn check_user(&self, client: usize, user: Option<&str>) {
        let Some(logins) = &self.logins else { return };
        let expected = logins.setup.user_at_brokers(user_of(client));
        assert_eq!(
            user,
            expected.as_deref(),
            "a request of {client} has reached a broker by another account"
        );
    }

    /// CHECKS-11
    pub(super) fn check_renewal(&self, connection: ConnectionId, number: u64, answered: Duration) {
        let begun = self.links.requests[&connection].begun(number);
        assert!(
            begun >= answered,
            "a login was begun at {begun:?}, and what went before it was answered at {answered:?}"
        );
    }

    /// CHECKS-11
    pub(super) fn check_late(&self, connection: ConnectionId, number: u64, over: Duration) {
        let requests = &self.links.requests[&connection];
        let begun = requests.begun(number);
        let stalled = self.checks.stalled(over.saturating_sub(STALL_SEEN), begun);
        let known = over + requests.delay + stalled;
        assert!(
            begun <= known,
            "a request was begun at {begun:?}, and its login at the broker was over at {over:?}, {known:?} as the \
             program knew"
        );
    }

    /// CHECKS-12
    pub(super) fn login_ended(
        &mut self,
        (broker, connection): (String, ConnectionId),
        ended: Ended,
        at: Duration,
    ) {
        let requests = self.links.requests.get_mut(&connection).expect("it has written");
        let begun = requests.begun(ended.begun_by);
        requests.sent.push_back((at, broker.clone(), ended.clone()));
        let Some(logins) = &mut self.logins else { return };
        if let (Verdict::Accepted(_), false) = (ended.verdict, ended.is_first) {
            logins.renewed += 1;
        }
        let refused = ended
            .user
            .as_ref()
            .and_then(|user| logins.tries.refused.get(&(user.clone(), broker)));
        let Some(refused) = refused.filter(|_| ended.is_first) else {
            return;
        };
        if logins.setup.upstream == Upstream::ForwardToken {
            return;
        }
        let heard = refused.at + HEARD_WITHIN + self.checks.stalled(refused.at, begun);
        let until = refused.at + back_off(refused.times - 1);
        assert!(
            begun <= heard || begun >= until,
            "a refused account ({ended:?}) was tried again at {begun:?}, before {until:?}; refused {} times, last \
             at {:?}",
            refused.times,
            refused.at
        );
    }

    /// What a broker has said has arrived.
    pub(super) fn broker_heard(&mut self, connection: ConnectionId) {
        let now = self.program.now;
        let Some(requests) = self.links.requests.get_mut(&connection) else {
            return;
        };
        while let Some((sent, broker, ended)) = requests.sent.pop_front() {
            requests.delay = now - sent;
            if let Some(logins) = &mut self.logins {
                logins.tries.heard(&broker, &ended, now);
            }
        }
    }

    /// CHECKS-13
    pub(super) fn check_secrets_at_broker(&self, bytes: &[u8]) {
        let Some(logins) = &self.logins else { return };
        assert!(
            !contains(bytes, CLIENTS_SECRET),
            "a client's password reaches a broker"
        );
        let is_sent_on = logins.setup.upstream == Upstream::ForwardToken;
        assert!(
            is_sent_on || !contains(bytes, TOKEN_SECRET),
            "a client's token reaches a broker"
        );
    }

    /// CHECKS-13
    pub(super) fn check_secrets_at_client(&self, bytes: &[u8]) {
        assert!(
            self.logins.is_none() || !contains(bytes, ACCOUNTS_SECRET),
            "an account's password reaches a client"
        );
    }
}

/// What the world draws is longer than what an executor takes to look at what has come.
const HEARD_WITHIN: Duration = Duration::from_millis(400);
const UNSURE_FOR: Duration = Duration::from_secs(3);
const STALL_SEEN: Duration = Duration::from_secs(10);
