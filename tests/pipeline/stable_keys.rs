//! Sealed record keys: equal ones stay equal, what is refused, and a stable key that is taken away.

use std::sync::Arc;
use std::time::Duration;

use sealwire::crypto::SecretKey;
use sealwire::envelope::StableKeyId;
use sealwire::envelope::stable_key::SEALED_KEY_BYTES;
use sealwire::keyring::Keyring;
use sealwire::keys::{KeyFailure, StableKey, StableKeys};
use sealwire::pipeline::TopicLook;
use sealwire::record_batch::HEADER_BYTES;
use sealwire::testing::{BatchBuilder, RecordInput};

use crate::fetch::records_of;
use crate::produce::exchange;
use crate::rig::{Halt, PAYMENTS, Rig, batch, contains, dek, keys_of, main, sealed, with_checksum};
use crate::wire::{frames, produce, to_produce};

/// Of the topics whose keys are sealed: `keys-a` and others have one stable key, `keys-b` another, `keys-c` none.
struct Bench {
    rig: Rig,
    keyring: Keyring,
}

const VERSION: i16 = 9;

fn secret(byte: u8) -> SecretKey {
    SecretKey::from_bytes(&mut [byte; 32]).unwrap()
}

impl Bench {
    fn new() -> Self {
        let mut keyring = Keyring::default();
        for (byte, domains) in [
            (1, &["keys-a", "both-keys-a", "clear-a", "dead-keys-a"][..]),
            (2, &["keys-b"]),
        ] {
            let name = format!("key-{byte}");
            let wrapped = dek("keyring", byte.into()).wrapped();
            let id = keyring.add(&name, &secret(byte), &wrapped, 0).unwrap();
            for domain in domains {
                keyring.assign(domain, id, false).unwrap();
            }
        }
        let mut bench = Self {
            rig: Rig::with_keys(),
            keyring,
        };
        bench.give(|_| None);
        let topics = [
            "keys-a",
            "both-keys-a",
            "dead-keys-a",
            "keys-b",
            "sealed-a",
            "clear-a",
        ];
        bench.rig.topics_fit(&topics);
        // Which names no topic in the metrics that was not used.
        bench.give(|_| None);
        bench
    }

    /// Executors get the keyring; `refused` says what has become of a key.
    fn give(&mut self, refused: impl Fn(&str) -> Option<KeyFailure>) -> Arc<StableKeys> {
        let keys = self.keyring.keys().iter().zip(1..).map(|(key, byte)| {
            Arc::new(match refused(key.name()) {
                None => StableKey::opened(key, secret(byte)),
                Some(failure) => StableKey::refused(key, failure),
            })
        });
        let keys = Arc::new(StableKeys::new(self.keyring.clone(), keys.collect::<Vec<_>>()));
        self.rig.pipeline.take_stable_keys(&keys);
        keys
    }

    fn id(&self, name: &str) -> StableKeyId {
        self.keyring.named(name).unwrap().id()
    }

    /// What reaches the broker of a batch, if it does; else the code and message that the client gets.
    fn produce(&mut self, topic: &str, records: &[u8]) -> Result<Vec<u8>, (i16, String)> {
        self.rig.forget_output();
        let (reached, verdicts) = exchange(&mut self.rig, VERSION, &[to_produce(topic, 0, records)]);
        match reached.into_iter().next() {
            Some((_, _, stored)) => Ok(stored),
            None => Err((verdicts[0].error_code, verdicts[0].message.clone())),
        }
    }

    fn reasons(&mut self) -> Vec<&'static str> {
        self.rig.audit()
    }

    /// The topics that are to be looked at.
    fn asked(&mut self) -> Vec<String> {
        let asked = std::mem::take(&mut self.rig.pipeline.topic_looks);
        asked.iter().map(|subject| subject.topic.to_string()).collect()
    }
}

fn keyed(keys: &[Option<&[u8]>]) -> Vec<u8> {
    let add = |batch: BatchBuilder, key: &Option<&[u8]>| {
        batch.record(RecordInput {
            timestamp: 1_700_000_000_000,
            key: *key,
            value: Some(b"value"),
            headers: &[],
        })
    };
    keys.iter().fold(BatchBuilder::new(), add).build().unwrap()
}

#[test]
fn equal_keys_are_stored_equally_and_come_back_and_others_are_not() {
    let mut bench = Bench::new();
    let clear = keyed(&[
        Some(b"key-canary"),
        None,
        Some(b""),
        Some(b"key-canary"),
        Some(b"other"),
    ]);
    let stored = bench.produce("keys-a", &clear).unwrap();
    assert!(!contains(&stored, "key-canary"));
    let keys = keys_of(&stored);
    assert_eq!(keys[0], keys[3]);
    assert_eq!(keys[1], None);
    assert_eq!(keys[2].as_ref().map(Vec::len), Some(SEALED_KEY_BYTES));
    assert_ne!(keys[0], keys[4]);
    let id = bench.id("key-1").bytes();
    assert!(keys.iter().flatten().all(|key| key[0] == 1 && key[1..5] == id));
    // Under another data key, in another batch, in another domain.
    assert_eq!(keys_of(&bench.produce("keys-a", &clear).unwrap()), keys);
    assert_ne!(keys_of(&bench.produce("both-keys-a", &clear).unwrap()), keys);
    assert_eq!(records_of(&mut bench.rig, "keys-a", &stored).records, clear);
    let shown = bench.rig.pipeline.metrics.snapshot().stable_keys;
    let shown: Vec<_> = shown.iter().map(|((_, domain), key)| (&**domain, *key)).collect();
    let id = bench.id("key-1");
    assert_eq!(shown, [("both-keys-a", id), ("keys-a", id)]);
}

/// TOPIC-KEYS-1
#[test]
fn a_domain_without_a_stable_key_seals_nothing() {
    let mut bench = Bench::new();
    let (code, message) = bench
        .produce("keys-c", &keyed(&[Some(b"key-canary")]))
        .unwrap_err();
    assert_eq!(code, 44);
    assert!(
        message.contains("sealwire keyring assign") && message.contains("keys-c"),
        "{message}"
    );
    assert_eq!(bench.reasons(), ["no_stable_key"]);
    // Nor without a keyring.
    let mut rig = Rig::with_keys();
    let (reached, verdicts) = exchange(&mut rig, VERSION, &[to_produce("keys-a", 0, &keyed(&[None]))]);
    assert_eq!((reached.len(), verdicts[0].error_code), (0, 44));
}

/// TOPIC-KEYS-2
#[test]
fn a_stable_key_that_is_refused_seals_and_opens_nothing_until_it_is_given_again() {
    let mut bench = Bench::new();
    let clear = keyed(&[Some(b"key")]);
    let stored = bench.produce("keys-a", &clear).unwrap();
    let keys = bench.give(|_| None);
    // First of all whoever holds it hears of it.
    keys.key(bench.id("key-1"))
        .unwrap()
        .refuse(KeyFailure::KekDisabled);
    for _ in 0..2 {
        let (code, message) = bench.produce("keys-a", &clear).unwrap_err();
        assert_eq!(code, 44);
        assert!(message.contains("is disabled (keyring)"), "{message}");
        let read = records_of(&mut bench.rig, "keys-a", &stored);
        assert_eq!((read.error_code, read.records), (29, Vec::new()));
        assert_eq!(bench.reasons(), ["kek_refused", "kek_disabled"]);
        // Then the keyring comes without it.
        bench.give(|name| (name == "key-1").then_some(KeyFailure::KekDisabled));
    }
    assert!(
        bench.produce("keys-b", &clear).is_ok(),
        "others are not concerned"
    );
    bench.give(|_| None);
    assert!(bench.produce("keys-a", &clear).is_ok());
    assert_eq!(records_of(&mut bench.rig, "keys-a", &stored).records, clear);
}

#[test]
fn keys_that_are_stored_in_the_other_way_are_refused_unless_the_rule_takes_them() {
    let mut bench = Bench::new();
    let clear = batch(&["one"]);
    // Clear keys: where keys are sealed, and where both are taken.
    for (topic, code) in [("keys-a", 2), ("both-keys-a", 0), ("sealed-a", 0)] {
        let read = records_of(&mut bench.rig, topic, &sealed(&clear, &PAYMENTS, topic));
        assert_eq!(read.error_code, code, "{topic}");
    }
    assert_eq!(bench.reasons(), ["clear_key"]);
    let without = keyed(&[None]);
    let read = records_of(&mut bench.rig, "keys-a", &sealed(&without, &PAYMENTS, "keys-a"));
    assert_eq!((read.error_code, read.records), (0, without), "null is neither");
    // Sealed ones, of a topic whose rule was changed: what it seals, others of its domain would as well.
    let stored = bench.produce("both-keys-a", &clear).unwrap();
    assert_eq!(records_of(&mut bench.rig, "both-keys-a", &stored).records, clear);
    let [refused, taken, elsewhere] =
        ["sealed-a", "clear-a", "keys-a"].map(|topic| records_of(&mut bench.rig, topic, &stored));
    assert_eq!((refused.error_code, elsewhere.error_code), (2, 2));
    assert_eq!(taken.records, clear);
    assert_eq!(bench.reasons(), ["key_sealed", "unknown_domain"]);
}

#[test]
fn unknown_foreign_and_altered_keys_are_refused_for_reasons_of_their_own() {
    let mut bench = Bench::new();
    let clear = keyed(&[Some(b"key")]);
    let stored = bench.produce("keys-b", &clear).unwrap();
    assert_eq!(records_of(&mut bench.rig, "keys-b", &stored).records, clear);
    // The domain is given the other key, as for a new topic.
    let one = bench.id("key-1");
    bench.keyring.assign("keys-b", one, true).unwrap();
    bench.give(|_| None);
    bench.rig.topics_fit(&["keys-b"]);
    let refused = |bench: &mut Bench, stored: &[u8]| {
        assert_eq!(records_of(&mut bench.rig, "keys-b", stored).error_code, 2);
        bench.reasons()
    };
    assert_eq!(refused(&mut bench, &stored), ["foreign_stable_key"]);
    let of_one = bench.produce("keys-b", &clear).unwrap();
    // Another keyring, which has neither.
    let mut other = Keyring::default();
    let three = other
        .add("key-1", &secret(1), &dek("keyring", 3).wrapped(), 0)
        .unwrap();
    other.assign("keys-b", three, false).unwrap();
    let before = std::mem::replace(&mut bench.keyring, other);
    bench.give(|_| None);
    assert_eq!(refused(&mut bench, &stored), ["unknown_stable_key"]);
    bench.keyring = before;
    bench.give(|_| None);
    // A plain batch of one record: the key stands behind length, attributes and deltas.
    let at = HEADER_BYTES + usize::from(of_one[HEADER_BYTES] > 0x7f) + 1 + 3 + 1;
    for (behind, reason) in [
        (0, "malformed_key"),
        (1, "unknown_stable_key"),
        (5, "key_tag"),
        (10, "key_tag"),
    ] {
        let mut altered = of_one.clone();
        altered[at + behind] ^= 0x10;
        let altered = with_checksum(altered);
        assert_eq!(refused(&mut bench, &altered), [reason]);
    }
}

/// Of a topic that was not looked at yet.
#[test]
fn what_a_topics_log_holds_is_found_out_before_it_is_written_to() {
    let mut bench = Bench::new();
    let one = bench.id("key-1");
    bench.keyring.assign("keys-new", one, false).unwrap();
    bench.give(|_| None);
    let clear = keyed(&[Some(b"key")]);
    let request = produce(VERSION, 5, -1, &[to_produce("keys-new", 0, &clear)]);
    let halted = bench.rig.client_sends(&request);
    assert!(matches!(halted, Ok(Halt::Blocked(_))), "{halted:?}");
    assert_eq!(
        bench.asked(),
        ["keys-new"],
        "once, however often it is looked for"
    );
    bench.rig.topics_fit(&["keys-new"]);
    bench.rig.pass_time(Duration::from_millis(100));
    assert_eq!(bench.rig.client_sends(&[]), Ok(Halt::More));
    assert_eq!(frames(&bench.rig.at_broker()).len(), 1);

    let mut bench = Bench::new();
    bench.rig.topic_is_unfit("keys-a", "it holds clear keys");
    let (code, message) = bench.produce("keys-a", &clear).unwrap_err();
    assert_eq!(code, 44);
    assert!(message.contains("it holds clear keys"), "{message}");
    assert_eq!(bench.reasons(), ["keys_unfit"]);
}

#[test]
fn a_topic_is_looked_at_anew_now_and_then_and_nobody_waits_for_that() {
    let clear = keyed(&[Some(b"key")]);
    let unfit = || TopicLook::Unfit("it holds clear keys".into());
    for (look, lifetime, is_written) in [
        (TopicLook::Good, 600, true),
        (TopicLook::Unknown, 60, true),
        (unfit(), 60, false),
    ] {
        let mut bench = Bench::new();
        bench.rig.topic_is("keys-a", look);
        bench
            .rig
            .pass_time(Duration::from_secs(lifetime) - Duration::from_millis(1));
        assert_eq!(bench.produce("keys-a", &clear).is_ok(), is_written);
        assert!(bench.asked().is_empty());
        bench.rig.pass_time(Duration::from_millis(1));
        // What was known stays so until the answer is there.
        for _ in 0..2 {
            assert_eq!(bench.produce("keys-a", &clear).is_ok(), is_written);
        }
        assert_eq!(bench.asked(), ["keys-a"]);
        let now = if is_written { unfit() } else { TopicLook::Good };
        bench.rig.topic_is("keys-a", now);
        assert_eq!(bench.produce("keys-a", &clear).is_ok(), !is_written);
    }
}

#[test]
fn a_topic_whose_stable_key_changes_is_looked_at_before_it_is_written_to() {
    let mut bench = Bench::new();
    let clear = keyed(&[Some(b"key")]);
    let before = bench.rig.pipeline.look_subject(main(), "keys-a").unwrap();
    let two = bench.id("key-2");
    bench.keyring.assign("keys-a", two, true).unwrap();
    bench.give(|_| None);
    assert!(
        bench.produce("keys-b", &clear).is_ok(),
        "others are not concerned"
    );
    let request = produce(VERSION, 5, -1, &[to_produce("keys-a", 0, &clear)]);
    bench.rig.forget_output();
    let halted = bench.rig.client_sends(&request);
    assert!(matches!(halted, Ok(Halt::Blocked(_))), "{halted:?}");
    let asked = std::mem::take(&mut bench.rig.pipeline.topic_looks);
    assert_eq!(asked[0].stable_key, Some(two));
    // What was found out for the key before is no answer.
    let now = bench.rig.now;
    bench.rig.pipeline.take_topic_look(&before, TopicLook::Good, now);
    bench.rig.pass_time(Duration::from_millis(100));
    let halted = bench.rig.client_sends(&[]);
    assert!(matches!(halted, Ok(Halt::Blocked(_))), "{halted:?}");
    bench.rig.topics_fit(&["keys-a"]);
    bench.rig.pass_time(Duration::from_millis(100));
    assert_eq!(bench.rig.client_sends(&[]), Ok(Halt::More));
    assert_eq!(frames(&bench.rig.at_broker()).len(), 1);
}

/// A tombstone that somebody wrote behind the proxy: to the key that a broker has.
fn tombstone(key: &[u8]) -> Vec<u8> {
    let record = RecordInput {
        timestamp: 1_700_000_000_000,
        key: Some(key),
        value: None,
        headers: &[],
    };
    BatchBuilder::new().record(record).build().unwrap()
}

#[test]
fn an_accepted_tombstone_of_a_sealed_key_comes_with_the_key_that_it_was() {
    let mut bench = Bench::new();
    let clear = keyed(&[Some(b"key")]);
    let stored = bench.produce("dead-keys-a", &clear).unwrap();
    let key = keys_of(&stored)[0].clone().unwrap();
    let read = records_of(&mut bench.rig, "dead-keys-a", &tombstone(&key));
    assert_eq!((read.error_code, read.records), (0, tombstone(b"key")));
    for refused in [&b"key"[..], &key[..key.len() - 1]] {
        let read = records_of(&mut bench.rig, "dead-keys-a", &tombstone(refused));
        assert_eq!(read.error_code, 2);
    }
    assert_eq!(bench.reasons(), ["clear_key", "key_tag"]);
    // And not at all where the rule does not say so.
    assert_eq!(
        records_of(&mut bench.rig, "keys-a", &tombstone(&key)).error_code,
        2
    );
}

/// As a key that a client chose nobody would know it.
#[test]
fn an_accepted_tombstone_of_a_sealed_key_that_does_not_open_is_refused_where_clear_keys_are_taken() {
    let mut bench = Bench::new();
    let clear = keyed(&[Some(b"key")]);
    let stored_key = |bench: &mut Bench, topic| {
        keys_of(&bench.produce(topic, &clear).unwrap())[0]
            .clone()
            .unwrap()
    };
    let own = stored_key(&mut bench, "both-keys-a");
    let of_another = stored_key(&mut bench, "keys-b");
    let of_a_neighbour = stored_key(&mut bench, "keys-a");
    let read = |bench: &mut Bench, key: &[u8]| {
        let read = records_of(&mut bench.rig, "both-keys-a", &tombstone(key));
        (read.error_code, read.records)
    };
    for (stored, key) in [(&own[..], &b"key"[..]), (b"clear", b"clear"), (b"", b"")] {
        assert_eq!(read(&mut bench, stored), (0, tombstone(key)));
    }
    for refused in [&of_another, &of_a_neighbour] {
        assert_eq!(read(&mut bench, refused).0, 2);
    }
    assert_eq!(bench.reasons(), ["foreign_stable_key", "key_tag"]);
    bench.give(|_| Some(KeyFailure::KekDisabled));
    assert_eq!(read(&mut bench, &own), (29, Vec::new()));
    assert_eq!(bench.reasons(), ["kek_disabled"]);
}

/// COMPACT-1
#[test]
fn how_long_a_batch_is_does_not_depend_on_its_keys() {
    let mut bench = Bench::new();
    let mut length = |keys: [&[u8]; 3]| {
        let batch = keyed(&keys.map(Some));
        bench.produce("keys-a", &batch).unwrap().len()
    };
    assert_eq!(
        length([b"same-key-of-25-bytes-or-so"; 3]),
        length([
            b"one--key-of-25-bytes-or-so",
            b"two--key-of-25-bytes-or-so",
            b"six--key-of-25-bytes-or-so"
        ])
    );
}
