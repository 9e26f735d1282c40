//! What is true of every world.
//!
//! - CHECKS-1: no broker can read what is to be sealed, neither on its way nor in what is stored.
//! - CHECKS-2: what a client wants of a node reaches that node and no other.
//! - CHECKS-3: what was acknowledged is stored and delivered, in order, once (the accounts of the crowd say so), and
//!   all that was begun ends once nothing goes wrong any more.
//! - CHECKS-4: no DEK seals more batches than it may, or more bytes but for the last batch of each executor, or for
//!   longer.
//! - CHECKS-6: a KMS is asked for each wrapped DEK once at a time (SIM-KMS-1).
//! - CHECKS-7: a consumer to which nothing is delivered does not spin.
//! - CHECKS-8: a consumer is told of altered records (2) only where a broker has lied, or a KMS about
//!   what is in a DEK.
//! - CHECKS-9: a drain that ends in time has closed every connection.
//! - CHECKS-10: of a topic that no rule names nothing is stored; who produces to it is told so, or loses his connection
//!   where he wants no answer, and who fetches from it is told so.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

use sealwire::envelope::form::{Form, form_of};
use sealwire::keys::DekLimits;
use sealwire::record_batch::{Decompressor, stored_records};

use super::key_checks::KeyChecks;
use super::program::EXECUTORS;
use super::trace::say;
use super::{TOPICS, World};
use crate::rig::contains;
use crate::world::brokers::{Event, Stored};
use crate::world::clients::producer::Reason;
use crate::world::clients::value::{is_passed, is_refused};
use crate::world::faults::Fault;

#[derive(Default)]
pub(super) struct Checks {
    pub(super) keys: KeyChecks,
    /// When some executor stood still.
    stalls: Vec<(Duration, Duration)>,
    /// By consumer: what it has fetched since it was given something.
    idle: BTreeMap<usize, Idle>,
}

#[derive(Default)]
struct Idle {
    since: Duration,
    fetches: u64,
}

/// Where and when a batch was stored.
type StoredAt = (&'static str, i32, i64, Duration, usize);

impl Checks {
    /// CHECKS-1; `before` is what the broker has not taken yet.
    pub(super) fn broker_can_read(&self, before: &[u8], written: &[u8]) {
        let seam = before.len().saturating_sub(WORD.len());
        let bytes = [&before[seam..], written].concat();
        assert!(!contains(&bytes, WORD), "a broker can read it");
    }

    /// An executor does nothing from `now` to `until`.
    pub(super) fn executor_stalls(&mut self, now: Duration, until: Duration) {
        self.stalls.push((now, until));
    }

    /// How much of this time an executor stood still that has just gone on at `until`: what it had done goes out then,
    /// and it has heard of nothing. Others have no such excuse.
    pub(super) fn stalled(&self, from: Duration, until: Duration) -> Duration {
        let stalls = self.stalls.iter();
        stalls
            .filter(|(_, ended)| (*ended..*ended + GONE_ON_WITHIN).contains(&until))
            .map(|(began, ended)| until.min(*ended).saturating_sub(from.max(*began)))
            .sum()
    }

    /// CHECKS-7
    fn fetches(&mut self, consumer: usize, now: Duration) {
        let idle = self.idle.entry(consumer).or_default();
        idle.fetches += 1;
        let elapsed = now.saturating_sub(idle.since);
        let allowed = FETCHES_AT_ONCE + elapsed.as_millis() as u64 * FETCHES_A_SECOND / 1000;
        assert!(
            idle.fetches <= allowed,
            "consumer {consumer} has fetched {} times in {elapsed:?} and was given nothing",
            idle.fetches
        );
    }
}

impl World {
    /// Looks at what has happened since it looked last.
    pub(super) fn look(&mut self) {
        let now = self.program.now;
        for event in self.brokers.take_events() {
            say(now, format_args!("{event:?}"));
            match event {
                Event::Request {
                    node,
                    api_key,
                    client_id,
                    user,
                    ..
                } => self.requested(node, api_key, &client_id, user.as_deref()),
                Event::Login {
                    reached,
                    connection,
                    ended,
                    at,
                } => self.login_ended((reached, connection), ended, at),
                Event::LoginBegun {
                    connection,
                    number,
                    answered,
                } => self.check_renewal(connection, number, answered),
                Event::Late {
                    connection,
                    number,
                    over,
                    ..
                } => self.check_late(connection, number, over),
                Event::Outlaw {
                    node,
                    api_key,
                    client_id,
                    why,
                } => panic!("node {node} was sent a request ({api_key}) of {client_id}, and {why}"),
                Event::Malformed { node, .. } => panic!("node {node} was sent what is no request"),
                Event::BadBatch {
                    node,
                    topic,
                    partition,
                    code,
                } => {
                    panic!("node {node} was sent a batch for {topic}-{partition} that it cannot take: {code}")
                }
                Event::Lie { .. } => {}
            }
        }
        let mut given = Vec::new();
        self.crowd
            .note(|consumer, delivered| given.push((consumer, delivered.clone())));
        for (consumer, delivered) in given {
            say(now, format_args!("consumer {consumer} is given {delivered:?}"));
            let idle = Idle {
                since: now,
                fetches: 0,
            };
            self.checks.idle.insert(consumer, idle);
            self.check_delivered(&delivered);
        }
        self.kms.iter().for_each(|kms| kms.check());
    }

    /// CHECKS-2
    fn requested(&mut self, node: i32, api_key: i16, client_id: &str, user: Option<&str>) {
        let Some((client, wanted)) = client_id.split_once('@') else {
            return;
        };
        let is_for_any = ALIKE_EVERYWHERE.contains(&api_key);
        let wanted: Option<i32> = wanted.parse().ok();
        assert!(
            is_for_any || wanted.is_none_or(|wanted| wanted == node),
            "a request ({api_key}) of {client} for node {wanted:?} has reached node {node}"
        );
        let client: usize = client.parse().expect("clients have numbers");
        if !ALIKE_FOR_ALL.contains(&api_key) {
            self.check_user(client, user);
        }
        if api_key == FETCH && !self.resting {
            let consumer = client - self.crowd.producers.len();
            self.checks.fetches(consumer, self.program.now);
        }
    }

    /// CHECKS-9
    pub(super) fn check_drained(&self) {
        let open = self.links.clients.iter().find(|(_, link)| !link.is_over());
        assert!(
            open.is_none(),
            "{:?} is open, and the program says that it is drained",
            open.map(|(key, _)| key)
        );
    }

    /// CHECKS-8
    pub(super) fn check_told(&self) {
        let consumers = self.crowd.consumers.iter();
        let mut told = consumers.flat_map(|consumer| consumer.refusals().keys());
        let altered = told.find(|(_, code)| *code == CORRUPT_MESSAGE);
        assert!(
            altered.is_none() || LIES.iter().any(|lie| self.seen.contains(lie)),
            "{altered:?}, and nobody has lied"
        );
    }

    /// CHECKS-10; the clients are not done before each is told.
    pub(super) fn check_refused(&self) {
        for (topic, partitions) in TOPICS.iter().filter(|(topic, _)| is_refused(topic)) {
            for partition in 0..*partitions {
                assert!(
                    self.brokers.log(topic, partition).is_empty()
                        && self.brokers.lost(topic, partition).is_empty(),
                    "no rule names {topic}, and something is stored there"
                );
            }
        }
        for producer in &self.crowd.producers {
            let mut failed = producer
                .failed()
                .iter()
                .filter(|failed| is_refused(&failed.place.0));
            let other = failed
                .find(|failed| matches!(failed.reason, Reason::Refused(code) if code != POLICY_VIOLATION));
            assert!(other.is_none(), "{other:?}, and no rule names the topic");
        }
    }

    /// CHECKS-1, CHECKS-4, CHECKS-5, CHECKS-14
    pub(super) fn check_stored(&self) {
        let mut batches: BTreeMap<Vec<u8>, BTreeSet<StoredAt>> = BTreeMap::new();
        for (topic, partitions) in TOPICS.iter().filter(|(topic, _)| !is_passed(topic)) {
            for partition in 0..*partitions {
                let stored = self.brokers.log(topic, partition).iter();
                for batch in stored.chain(self.brokers.lost(topic, partition)) {
                    for wrapped in wrapped_deks(batch) {
                        self.check_dek(&wrapped, batch.at);
                        let place = (
                            *topic,
                            partition,
                            batch.header.base_offset,
                            batch.at,
                            batch.bytes.len(),
                        );
                        batches.entry(wrapped).or_default().insert(place);
                    }
                }
            }
        }
        for (wrapped, sealed) in batches {
            let DekLimits {
                batches_max,
                bytes_max,
                ..
            } = self.program.keys.dek;
            assert!(
                sealed.len() as u64 <= batches_max,
                "{wrapped:02x?} has sealed {} batches of {batches_max}: {sealed:?}",
                sealed.len()
            );
            // Stored batches are longer than what was sealed in them.
            let (longest, sum) = sealed.iter().fold((0, 0), |(longest, sum), (.., bytes)| {
                (longest.max(*bytes), sum + bytes)
            });
            let least = sum.saturating_sub(EXECUTORS * longest) as u64 / GROWTH_MAX;
            assert!(
                least <= bytes_max,
                "{wrapped:02x?} has sealed {least} bytes of {bytes_max} and more"
            );
        }
    }

    fn check_dek(&self, wrapped: &[u8], stored_at: Duration) {
        let (_, made) = self.made(wrapped);
        let made_at = self.since_beginning(made.at);
        let stalled = self.checks.stalled(made_at, stored_at);
        let most = 2 * self.program.keys.dek.age_max + ON_ITS_WAY_MAX + stalled;
        let age = stored_at.saturating_sub(made_at);
        assert!(
            age <= most,
            "a DEK has sealed {age:?} after it was made, and may for {most:?}"
        );
        self.check_leave(wrapped, stored_at, "sealed");
    }
}

/// Every wrapped DEK of a stored batch; none of markers.
pub(super) fn wrapped_deks(stored: &Rc<Stored>) -> BTreeSet<Vec<u8>> {
    let (header, bytes) = (&stored.header, &stored.bytes);
    let mut found = BTreeSet::new();
    if header.attributes.is_control() {
        return found;
    }
    let (mut decompressor, mut plain) = (Decompressor::new(), Vec::new());
    let records = stored_records(
        bytes,
        header,
        bytes.len() * GROWN_MAX,
        &mut decompressor,
        &mut plain,
    );
    let (bytes, mut cursor) = records.expect("records");
    // What is compressed has escaped the search for the word.
    assert!(!contains(bytes, WORD), "a record is stored in clear");
    while let Some(record) = cursor.next(bytes).expect("a record") {
        let Ok(Form::RecordSeal(marker)) = form_of(bytes, &record) else {
            panic!("a record is not sealed")
        };
        found.insert(marker.wrapped_dek(bytes).to_vec());
    }
    found
}

/// LZ4 makes no more of a byte.
const GROWN_MAX: usize = 255;
/// What the values of sealed topics are full of.
const WORD: &str = "sesame";
const CORRUPT_MESSAGE: i16 = 2;
const POLICY_VIOLATION: i16 = 44;
/// After which records may seem to be altered.
const LIES: [Fault; 2] = [Fault::Lied, Fault::KmsGivesOtherDeks];
const FETCH: i16 = 1;
/// ApiVersions, and what the program may ask for a client in its own name.
const ALIKE_FOR_ALL: [i16; 1] = [18];
/// Metadata, FindCoordinator, ApiVersions.
const ALIKE_EVERYWHERE: [i16; 3] = [3, 10, 18];
/// Who has stood still has heard of everything by then.
const GONE_ON_WITHIN: Duration = Duration::from_secs(1);
pub(super) const ON_ITS_WAY_MAX: Duration = Duration::from_secs(3);
/// A short record grows by its seal, to this many times its length at most.
const GROWTH_MAX: u64 = 20;
/// Of three nodes, twice a second each is what a consumer asks that waits for something new.
const FETCHES_A_SECOND: u64 = 40;
const FETCHES_AT_ONCE: u64 = 60;
