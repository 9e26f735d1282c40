//! Whether the keyring can be used: before the program runs, each stable key is unwrapped and compared as the start
//! does it. And which rules and topics seal record keys without having a stable key for them.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::keks::{ANSWER_MAX, Depth};
use super::topics::{SealedTopic, sealed_topics};
use super::{Row, Verdict, left, some_of};
use crate::config::{ClusterConfig, Config};
use crate::kafka_client::FoundCluster;
use crate::keyring::{Keyring, KeyringKey, KmsByName, read_file};
use crate::kms::Kms;

pub(super) async fn look(
    config: &Config,
    kms: &[Result<Arc<dyn Kms>, String>],
    depth: Depth,
    deadline: Instant,
) -> Vec<Row> {
    let Some(path) = config.keyring.clone() else {
        return Vec::new();
    };
    let reading = spawn_blocking(move || read_file(&path).map_err(|error| error.to_string()));
    let read = match timeout(left(deadline, ANSWER_MAX), reading).await {
        Ok(Ok(read)) => read,
        _ => Err("it cannot be read in time".to_owned()),
    };
    let keyring = match read {
        Ok((keyring, _)) => keyring,
        Err(why) => return vec![Row::new("keyring", Verdict::Failed, why)],
    };
    let mut rows = vec![facts(config, &keyring)];
    // A program that runs has opened them.
    if depth == Depth::Use {
        let names = config.kms.iter().map(|settings| settings.name.clone());
        let kms = KmsByName::new(names.zip(kms.iter().cloned()));
        keys(config, &keyring, &kms, deadline, &mut rows).await;
    }
    rows.extend(unpinned(config, &keyring));
    rows
}

/// What a configuration alone says of rules that have no stable key: warnings, one for each.
pub(crate) fn warnings(config: &Config) -> Vec<String> {
    let Some(Ok((keyring, _))) = config.keyring.as_deref().map(read_file) else {
        return Vec::new();
    };
    let rows = unpinned(config, &keyring);
    rows.map(|Row { subject, finding, .. }| format!("{subject}: {finding}"))
        .collect()
}

fn facts(config: &Config, keyring: &Keyring) -> Row {
    let (keys, pins) = (keyring.keys().len(), keyring.pins().len());
    let counts = format!(
        "stable keys: {keys}, pins: {pins}, fingerprint {}",
        keyring.fingerprint()
    );
    match pins {
        0 => {
            let next = next(config, keyring, "DOMAIN");
            let finding = format!("{counts}; without a pin nothing is sealed with it; next: {next}");
            Row::new("keyring", Verdict::Warning, finding)
        }
        _ => Row::new("keyring", Verdict::Good, counts),
    }
}

fn next(config: &Config, keyring: &Keyring, domain: &str) -> String {
    let path = config.keyring.as_deref().unwrap_or(Path::new("KEYRING"));
    keyring.next_for(path, domain)
}

/// One row for each stable key.
async fn keys(config: &Config, keyring: &Keyring, kms: &KmsByName, deadline: Instant, rows: &mut Vec<Row>) {
    for (place, key) in keyring.keys().iter().enumerate() {
        let asked_at = Instant::now();
        if asked_at >= deadline {
            let rest = keyring.keys().len().saturating_sub(place);
            let finding = format!("{rest} of them were not asked for in time");
            return rows.push(Row::new("stable keys", Verdict::Unknown, finding));
        }
        let asked = timeout(left(deadline, ANSWER_MAX), kms.open(key)).await;
        let is_pinned = keyring.pins().iter().any(|pin| pin.key() == key.id());
        let why = match asked {
            Ok(Ok(_)) => {
                let by = kms.of(key.wrapped()).map_or("", |(name, _)| name);
                let finding = format!(
                    "it was unwrapped and compared in {} ms: KMS {by}, KEK {}",
                    asked_at.elapsed().as_millis(),
                    key.kek_name()
                );
                rows.push(Row::new(subject(key), Verdict::Good, finding));
                continue;
            }
            Ok(Err(reason)) => reason.with_advice(|kms, kek, error| config.advice(kms, kek, error)),
            Err(_) => "its KMS did not answer in time".to_owned(),
        };
        rows.push(match is_pinned {
            true => Row::new(
                subject(key),
                Verdict::Failed,
                format!("{why}: the program does not start"),
            ),
            false => Row::new(
                subject(key),
                Verdict::Warning,
                format!("{why}: no pin names it, so that the program starts without it"),
            ),
        });
    }
}

fn subject(key: &KeyringKey) -> String {
    format!("stable key {} ({})", key.name(), key.id())
}

/// Rules that seal the keys of one domain, for which there is no stable key.
fn unpinned(config: &Config, keyring: &Keyring) -> impl Iterator<Item = Row> {
    let sealing = config.seal_rules().filter(|rule| rule.seal.keys.sealed);
    sealing.filter_map(move |rule| {
        let domain = rule.seal.domain.for_every_topic(rule.matcher)?;
        if keyring.key_of(&domain).is_some() {
            return None;
        }
        let subject = format!("{} rule {}", rule.cluster.name, rule.index.saturating_add(1));
        let finding = format!(
            "match {}: its domain has no stable key, so that producers are refused (error 44); next: {}",
            rule.matcher,
            next(config, keyring, &domain)
        );
        Some(Row::new(subject, Verdict::Warning, finding))
    })
}

/// Whether what a broker has of topics whose keys are sealed has stable keys.
pub(super) fn look_at_topics(
    config: &Config,
    keyring: &Keyring,
    cluster: &ClusterConfig,
    found: &FoundCluster,
) -> Option<Row> {
    let mut topics = sealed_topics(cluster, &found.topics);
    topics.retain(|topic| topic.keys.sealed);
    pinned(&cluster.name, &topics, keyring, &|domain| {
        next(config, keyring, domain)
    })
}

/// `None` where no topic has sealed keys.
fn pinned(
    cluster: &str,
    topics: &[SealedTopic],
    keyring: &Keyring,
    next: &dyn Fn(&str) -> String,
) -> Option<Row> {
    let subject = format!("{cluster} stable keys");
    let is_unpinned = |topic: &&SealedTopic| keyring.key_of(topic.domain.name()).is_none();
    let unpinned: Vec<&SealedTopic> = topics.iter().filter(is_unpinned).collect();
    let names: Vec<String> = unpinned.iter().map(|topic| topic.name.clone()).collect();
    match (topics, &*unpinned) {
        ([], _) => None,
        (topics, []) => {
            let finding = format!("{} topics with sealed keys have one", topics.len());
            Some(Row::new(subject, Verdict::Good, finding))
        }
        (_, [first, ..]) => {
            let finding = format!(
                "no pin takes the domain of {}: producers are refused (error 44); next, for {}: {}",
                some_of(&names),
                first.name,
                next(first.domain.name())
            );
            Some(Row::new(subject, Verdict::Warning, finding))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::SecretKey;
    use crate::envelope::Domain;
    use crate::kms::KekNames;
    use crate::rules::RecordKeys;

    #[test]
    fn topics_without_a_stable_key_are_named() -> Result<(), Box<dyn std::error::Error>> {
        let mut keyring = Keyring::default();
        let wrapped = KekNames::as_written(1, [7; 4]).wrapped("record-keys", &[1], &[1; 60]);
        let key = SecretKey::from_bytes(&mut [1; 32])?;
        let id = keyring.add("orders", &key, &wrapped.ok_or("it fits")?, 0)?;
        keyring.assign("orders-*", id, false)?;
        let row = |names: &[&str]| {
            let topics: Vec<_> = names
                .iter()
                .map(|name| SealedTopic {
                    name: (*name).to_owned(),
                    keys: RecordKeys {
                        sealed: true,
                        accept_others: false,
                    },
                    domain: Domain::new(*name).unwrap_or_else(|error| panic!("{error}")),
                    max_message_bytes: 1000,
                    is_compact: true,
                })
                .collect();
            let next = |domain: &str| keyring.next_for(Path::new("keys/keyring.json"), domain);
            pinned("main", &topics, &keyring, &next)
        };
        assert_eq!(row(&[]), None);
        let good = row(&["orders-1", "orders-2"]).ok_or("a row")?;
        assert_eq!(
            (good.verdict, &*good.finding),
            (Verdict::Good, "2 topics with sealed keys have one")
        );
        let bad = row(&["orders-1", "orders", "other"]).ok_or("a row")?;
        assert_eq!(bad.verdict, Verdict::Warning);
        assert_eq!(
            bad.finding,
            "no pin takes the domain of orders, other: producers are refused (error 44); next, for orders: sealwire \
             keyring assign keys/keyring.json orders orders"
        );
        Ok(())
    }
}
