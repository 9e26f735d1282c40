//! Whether the record keys in the log of a compacted topic are stored as its rule stores them: sealed and clear ones
//! beside each other, or ones under two stable keys, would be different keys to a log cleaner. Blocks.
//!
//! It reads, and writes nothing; the records themselves it neither opens nor shows.

use std::sync::Arc;
use std::time::{Instant, SystemTime};

use super::own_account::own_account;
use super::patience::patience;
use super::topics::sealed_topics;
use super::{Row, Verdict, some_of};
use crate::broker_login::BrokerAccount;
use crate::config::ClusterConfig;
use crate::envelope::{Domain, Form, StableKeyId, form_of};
use crate::foreign::Foreign;
use crate::kafka_client::{BrokerClient, ClientError, FoundCluster, TopicSettings};
use crate::keyring::Keyring;
use crate::record_batch::{BatchKind, Batches, Decompressor, stored_records};
use crate::rules::{RecordKeys, SealRule};
use crate::transport::tls_client::ClientSet;

/// Whether a topic and the keys of its rule go together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum KeysFit {
    /// Nothing speaks against it.
    Yes,
    /// They do not, in words.
    No(String),
    /// It could not be found out, in words.
    Unknown(String),
}

/// How the record keys of a topic are to be stored.
pub(crate) struct ExpectedKeys {
    keys: RecordKeys,
    domain: Domain,
    stable_key: Option<StableKeyId>,
}

impl ExpectedKeys {
    /// As `rule` says; `stable_key` is what the keyring has for its domain.
    pub(crate) fn of(rule: &SealRule, stable_key: Option<StableKeyId>) -> Self {
        Self {
            keys: rule.keys,
            domain: rule.domain.clone(),
            stable_key,
        }
    }

    /// What is different about a key that is stored, and how it was to be; `None`: it is as it is to be.
    fn difference(&self, stored: StoredKey) -> Option<(String, String)> {
        match (self.keys.sealed, stored) {
            (false, StoredKey::Clear) => None,
            (true, StoredKey::Clear) => {
                Some(("clear".to_owned(), "its rule has key = \"stable\"".to_owned()))
            }
            (false, StoredKey::Sealed { .. }) => {
                Some(("sealed".to_owned(), "its rule has key = \"clear\"".to_owned()))
            }
            (true, StoredKey::Sealed { id, domain_hint }) => {
                let domain = Foreign::new(self.domain.name());
                if domain_hint != self.domain.hint() {
                    let stored = "sealed for another domain".to_owned();
                    return Some((stored, format!("its rule has the domain \"{domain}\"")));
                }
                let expected = self.stable_key.filter(|expected| *expected != id)?;
                let stored = format!("sealed under the stable key {id}");
                Some((
                    stored,
                    format!("the keyring has {expected} for the domain \"{domain}\""),
                ))
            }
        }
    }
}

/// How a key is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum StoredKey {
    Clear,
    Sealed { id: StableKeyId, domain_hint: [u8; 4] },
}

/// Brokers of one cluster, as the proxy itself reaches them.
pub(crate) struct KeyWatcher {
    bootstrap: Vec<String>,
    tls: Option<ClientSet>,
    account: Option<Arc<BrokerAccount>>,
}

impl KeyWatcher {
    /// # Errors
    /// In words, why they cannot be reached.
    pub(crate) fn of(cluster: &ClusterConfig, deadline: Instant) -> Result<Self, String> {
        let tls = cluster
            .upstream_tls
            .as_ref()
            .map(|tls| tls.load(SystemTime::now()));
        Ok(Self {
            bootstrap: cluster.bootstrap.iter().map(ToString::to_string).collect(),
            tls: tls.transpose().map_err(|error| error.to_string())?,
            account: own_account(cluster, deadline, &mut |_| {}).transpose()?,
        })
    }

    fn connect(&self, address: &str, deadline: Instant) -> Result<BrokerClient, ClientError> {
        let mut client = BrokerClient::connect(address, self.tls.as_ref(), patience(deadline))?;
        client.wait_until(deadline);
        if let Some(account) = &self.account {
            client.log_in(account)?;
        }
        Ok(client)
    }

    /// Asks brokers about one topic.
    pub(crate) fn look(&self, topic: &str, keys: &ExpectedKeys, deadline: Instant) -> KeysFit {
        let unknown = |error: ClientError| KeysFit::Unknown(error.to_string());
        let mut last = KeysFit::Unknown("no broker is named".to_owned());
        for address in &self.bootstrap {
            let asked = self.connect(address, deadline).and_then(|mut client| {
                let settings = client.topic_settings(&[topic.to_owned()], [CLEANUP_POLICY])?;
                Ok((client, settings))
            });
            let (mut client, settings) = match asked {
                Ok(asked) => asked,
                Err(error) => {
                    last = unknown(error);
                    continue;
                }
            };
            let values = settings
                .into_iter()
                .map(|TopicSettings { values, .. }| values)
                .next();
            return self.fit(values.unwrap_or(Ok([None])), keys, topic, &mut client, deadline);
        }
        last
    }

    /// What the settings of a topic, and its log if need be, say.
    fn fit(
        &self,
        values: Result<[Option<String>; 1], i16>,
        keys: &ExpectedKeys,
        topic: &str,
        client: &mut BrokerClient,
        deadline: Instant,
    ) -> KeysFit {
        match values {
            Ok([Some(policy)]) if !is_compacted(&policy) => KeysFit::Yes,
            Ok([Some(_)]) if keys.keys.accept_others => KeysFit::No(ACCEPTS_OTHERS.to_owned()),
            Ok([Some(_)]) => {
                let looked = self.look_into(client, topic, keys, deadline);
                looked.unwrap_or_else(|error| KeysFit::Unknown(error.to_string()))
            }
            Ok([None]) => KeysFit::Unknown("the broker does not say how it is cleaned".to_owned()),
            Err(code) => KeysFit::Unknown(format!(
                "the broker does not say how it is cleaned (error {code})"
            )),
        }
    }

    /// Looks at the first records of each partition of a compacted topic: where the rule was changed, the oldest are
    /// from before.
    fn look_into(
        &self,
        client: &mut BrokerClient,
        topic: &str,
        keys: &ExpectedKeys,
        deadline: Instant,
    ) -> Result<KeysFit, ClientError> {
        let mut unseen = None;
        for leader in client.leaders(topic)?.into_iter().take(PARTITIONS_MAX) {
            let Some(address) = leader.address else {
                unseen = Some(leader.partition);
                continue;
            };
            let mut client = self.connect(&address, deadline)?;
            let first = client.first_offset(topic, leader.partition)?;
            let fetched = client.fetch(topic, leader.partition, first)?;
            let first = first_key(&fetched.records);
            if let Some((stored, expected)) = first.and_then(|stored| keys.difference(stored)) {
                let partition = leader.partition;
                return Ok(KeysFit::No(format!(
                    "partition {partition} of the compacted topic has records whose keys are {stored}, and {expected}: \
                     to the log cleaner they would be other keys, and deleted data would come back. Read \
                     docs/keys-of-records.md: moving means a new topic"
                )));
            }
        }
        Ok(match unseen {
            None => KeysFit::Yes,
            Some(partition) => KeysFit::Unknown(format!("partition {partition} has no leader")),
        })
    }
}

/// Tells of every compacted topic that a broker names whose keys do not go together with its rule.
pub(super) fn look(
    cluster: &ClusterConfig,
    keyring: &Keyring,
    found: &FoundCluster,
    client: &mut BrokerClient,
    deadline: Instant,
    tell: &mut dyn FnMut(Row),
) {
    let subject = format!("{} record keys", cluster.name);
    let mut say = |verdict, finding: String| tell(Row::new(subject.as_str(), verdict, finding));
    let watcher = match KeyWatcher::of(cluster, deadline) {
        Ok(watcher) => watcher,
        Err(error) => return say(Verdict::Unknown, error),
    };
    let (mut unfit, mut unknown, mut good) = (Vec::new(), Vec::new(), 0_usize);
    for topics in sealed_topics(cluster, &found.topics).chunks(TOPICS_AT_ONCE) {
        let names: Vec<String> = topics.iter().map(|topic| topic.name.clone()).collect();
        let settings = match client.topic_settings(&names, [CLEANUP_POLICY]) {
            Ok(settings) => settings,
            Err(error) => return say(Verdict::Unknown, error.to_string()),
        };
        for (topic, TopicSettings { values, .. }) in topics.iter().zip(settings) {
            let name = &topic.name;
            let keys = ExpectedKeys {
                keys: topic.keys,
                domain: topic.domain.clone(),
                stable_key: keyring.key_of(topic.domain.name()),
            };
            match watcher.fit(values, &keys, name, client, deadline) {
                KeysFit::Yes => good = good.saturating_add(1),
                KeysFit::No(why) => unfit.push(format!("{name}: {why}")),
                KeysFit::Unknown(why) => unknown.push(format!("{name}: {why}")),
            }
        }
    }
    for (verdict, found) in [(Verdict::Failed, unfit), (Verdict::Unknown, unknown)] {
        if !found.is_empty() {
            say(verdict, some_of(&found));
        }
    }
    if good > 0 {
        let finding = format!("{good} sealed topics are stored as their rules say, or are not compacted");
        say(Verdict::Good, finding);
    }
}

/// Kafka's name of it.
const CLEANUP_POLICY: &str = "cleanup.policy";

/// Whether a topic of this `cleanup.policy` keeps the last record of each key.
fn is_compacted(policy: &str) -> bool {
    policy.split(',').any(|policy| policy.trim() == "compact")
}

/// The first key that is not null, and is not a sealed one that was altered; `None`: there is none.
fn first_key(records: &[u8]) -> Option<StoredKey> {
    let mut decompressor = Decompressor::new();
    for slice in Batches::new(records).flatten() {
        let BatchKind::V2(header) = &slice.kind else {
            return Some(StoredKey::Clear);
        };
        if header.attributes.is_control() {
            continue;
        }
        let mut plain = Vec::new();
        let batch = slice.span.of(records);
        let Ok((records, mut cursor)) = stored_records(
            batch,
            header,
            DECOMPRESSED_BYTES_MAX,
            &mut decompressor,
            &mut plain,
        ) else {
            continue;
        };
        while let Ok(Some(record)) = cursor.next(records) {
            let Some(key) = record.key else { continue };
            match form_of(records, &record) {
                Ok(Form::RecordSeal(marker)) if marker.seal().parts.key_sealed => {
                    if let Ok(id) = StableKeyId::in_sealed_key(key.of(records)) {
                        let domain_hint = marker.seal().domain_hint;
                        return Some(StoredKey::Sealed { id, domain_hint });
                    }
                }
                // Somebody's else, and opened for readers where it is to a sealed key: it says nothing of the others.
                Ok(Form::Tombstone) => {}
                _ => return Some(StoredKey::Clear),
            }
        }
    }
    None
}

/// What is said of a compacted topic whose rule takes keys in either form.
const ACCEPTS_OTHERS: &str = "the topic is compacted, and its rule has accept_clear_keys or \
     accept_sealed_keys: sealed and clear keys would be different keys to the log cleaner. Read \
     docs/keys-of-records.md: moving means a new topic";

/// In one request, so that answers stay short.
const TOPICS_AT_ONCE: usize = 200;
/// More are not looked at.
const PARTITIONS_MAX: usize = 64;
/// A batch that holds more is not looked into.
const DECOMPRESSED_BYTES_MAX: usize = 16 << 20;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record_batch::Codec;
    use crate::testing::{BatchBuilder, BatchSeals, RecordInput};

    #[test]
    fn the_first_key_that_is_not_null_says_how_keys_are_stored() {
        let batch = |key: Option<&[u8]>| {
            let record = RecordInput {
                timestamp: 0,
                key,
                value: Some(b"value"),
                headers: &[],
            };
            BatchBuilder::new().record(record).record(record).build().unwrap()
        };
        let seals = || BatchSeals::new(b"kek", "orders", crate::envelope::HeaderMode::Sealed).unwrap();
        let clear = seals();
        let sealed = seals().with_sealed_keys().unwrap();
        let (keyed, keyless) = (batch(Some(b"key")), batch(None));
        let store = |by: &BatchSeals, batch: &[u8]| by.seal(batch, Codec::Lz4).unwrap();
        let sealed_key = sealed.accepted();
        let sealed_key = StoredKey::Sealed {
            id: sealed_key.key.expect("it seals keys").id(),
            domain_hint: sealed_key.domain.hint(),
        };
        assert_eq!(first_key(&[]), None);
        assert_eq!(first_key(&keyless), None);
        assert_eq!(first_key(&keyed), Some(StoredKey::Clear));
        assert_eq!(first_key(&store(&clear, &keyed)), Some(StoredKey::Clear));
        assert_eq!(first_key(&store(&sealed, &keyed)), Some(sealed_key));
        let later = [store(&sealed, &keyless), store(&sealed, &keyed), keyed.clone()].concat();
        assert_eq!(first_key(&later), Some(sealed_key));
        // What somebody has deleted behind the proxy says nothing of the others.
        let deleted = RecordInput {
            timestamp: 0,
            key: Some(b"key"),
            value: None,
            headers: &[],
        };
        let deleted = BatchBuilder::new().record(deleted).build().unwrap();
        assert_eq!(first_key(&deleted), None);
        let behind = [deleted, store(&sealed, &keyed)].concat();
        assert_eq!(first_key(&behind), Some(sealed_key));
        // Cut short, as brokers send it.
        assert_eq!(first_key(&keyed[..keyed.len() - 1]), None);
    }

    #[test]
    fn what_would_be_another_key_to_the_log_cleaner_is_different() {
        let [domain, other_domain] = ["orders", "payments"].map(|name| Domain::new(name).unwrap());
        let [id, other_id] = [&b"one"[..], b"two"].map(StableKeyId::of_wrapped);
        let expected = |sealed, stable_key| ExpectedKeys {
            keys: RecordKeys {
                sealed,
                accept_others: false,
            },
            domain: domain.clone(),
            stable_key,
        };
        let sealed = |id, domain: &Domain| StoredKey::Sealed {
            id,
            domain_hint: domain.hint(),
        };
        let own = sealed(id, &domain);
        for (keys, stored, is_different) in [
            (expected(false, None), StoredKey::Clear, false),
            (expected(false, None), own, true),
            (expected(true, Some(id)), StoredKey::Clear, true),
            (expected(true, Some(id)), own, false),
            (expected(true, Some(id)), sealed(other_id, &domain), true),
            (expected(true, Some(id)), sealed(id, &other_domain), true),
            // Nothing is written to it anyway.
            (expected(true, None), own, false),
        ] {
            let found = keys.difference(stored);
            assert_eq!(found.is_some(), is_different, "{stored:?}: {found:?}");
        }
        let (stored, expected) = expected(true, Some(id))
            .difference(sealed(other_id, &domain))
            .unwrap();
        assert!(stored.contains(&other_id.to_string()), "{stored}");
        assert!(
            expected.contains(&id.to_string()) && expected.contains("orders"),
            "{expected}"
        );
    }

    #[test]
    fn policies_that_compact_are_known() {
        for (policy, compacted) in [
            ("delete", false),
            ("compact", true),
            ("compact,delete", true),
            ("delete, compact", true),
            ("", false),
        ] {
            assert_eq!(is_compacted(policy), compacted, "{policy}");
        }
    }
}
