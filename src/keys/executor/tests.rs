//! What an executor has, asks for once, remembers and gives up.

use super::*;
use crate::crypto::SecretKey;
use crate::envelope::wrapped_dek::WrappedDek;
use crate::ids::Id as _;
use crate::keys::ledger::version_prefix;

mod needed;

const TAIL: Demand = Demand {
    urgency: Urgency::Tail,
    connection: 1,
};
const BACKFILL: Demand = Demand {
    urgency: Urgency::Backfill,
    connection: 2,
};

fn wrapped(version: u8, blob: u8) -> Arc<[u8]> {
    let mut bytes = Vec::new();
    let written = WrappedDek {
        provider: 1,
        authority: [9; 4],
        kek: b"payments",
        version: &[version],
        blob: &[blob],
    }
    .write(&mut bytes);
    assert!(written.is_ok());
    bytes.into()
}

fn dek() -> SecretKey {
    match SecretKey::from_bytes(&mut [7; 32]) {
        Ok(key) => key,
        Err(error) => panic!("{error}"),
    }
}

fn delivered(version: u8, batches_max: u64, expires_at: Instant) -> KeyReply {
    KeyReply::Sealing {
        key: KeyId::first("payments"),
        result: Ok(DeliveredDek {
            dek: dek(),
            wrapped: wrapped(version, 0),
            batches_max,
            bytes_max: 1000,
            expires_at,
        }),
    }
}

fn opened(version: u8, blob: u8) -> KeyReply {
    KeyReply::Opened {
        wrapped: wrapped(version, blob),
        result: Ok(dek()),
    }
}

fn short<T>(lookup: &KeyLookup<T>) -> String {
    match lookup {
        KeyLookup::Ready(_) => "ready".to_owned(),
        KeyLookup::Waiting => "waiting".to_owned(),
        KeyLookup::Failed(failure) => format!("{failure:?}"),
    }
}

/// One executor's keys with their own clock.
struct Bench {
    keys: ExecutorKeys,
    kek: KeyId,
    now: Instant,
}

impl Bench {
    fn new(options: &KeyOptions) -> Self {
        Self {
            keys: ExecutorKeys::new(4, options),
            kek: KeyId::first("payments"),
            now: Instant::now(),
        }
    }

    fn seal(&mut self) -> String {
        short(&self.keys.sealing(&self.kek, self.now))
    }

    /// Seals a batch of `bytes` bytes, if there is a key.
    fn seal_batch(&mut self, bytes: u64) -> String {
        let found = self.keys.sealing(&self.kek, self.now);
        if let KeyLookup::Ready(share) = &found {
            assert!(share.take_batch(self.now).is_some());
            share.note_bytes(bytes);
        }
        short(&found)
    }

    fn share(&mut self) -> Rc<SealingShare> {
        match self.keys.sealing(&self.kek, self.now) {
            KeyLookup::Ready(share) => share,
            other => panic!("{}", short(&other)),
        }
    }

    fn open(&mut self, version: u8, blob: u8, demand: Demand) -> String {
        short(&self.keys.opening(
            KmsId::from_number(0),
            &wrapped(version, blob),
            demand,
            self.now,
            self.now,
        ))
    }

    fn apply(&mut self, reply: KeyReply) -> Applied {
        self.keys.apply(reply, self.now)
    }

    /// Requests in short, for comparison.
    fn sent(&mut self) -> Vec<String> {
        let short = |request| match request {
            KeyRequest::Seal {
                executor,
                key,
                used_up,
                ..
            } => format!(
                "{executor} seal {} {}",
                key.kek,
                if used_up.is_some() { "again" } else { "first" }
            ),
            KeyRequest::Open { wrapped, demand, .. } => {
                format!("open {} {:?}", wrapped[wrapped.len() - 1], demand.urgency)
            }
            KeyRequest::Used { batches, bytes, .. } => format!("used {batches} {bytes}"),
        };
        self.keys.take_requests().into_iter().map(short).collect()
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        self.keys.tick(self.now);
    }

    fn far(&self) -> Instant {
        self.now + Duration::from_secs(3600)
    }
}

#[test]
fn a_key_is_asked_for_once_however_often_it_is_looked_up() {
    let mut bench = Bench::new(&KeyOptions::default());
    for _ in 0..1000 {
        assert_eq!(bench.seal(), "waiting");
        assert_eq!(bench.open(1, 5, TAIL), "waiting");
        assert_eq!(bench.open(1, 6, BACKFILL), "waiting");
    }
    assert_eq!(
        bench.sent(),
        ["4 seal payments first", "open 5 Tail", "open 6 Backfill"]
    );
    bench.apply(delivered(1, 100, bench.far()));
    bench.apply(opened(1, 5));
    for _ in 0..3 {
        assert_eq!(bench.seal(), "ready");
        assert_eq!(bench.open(1, 5, TAIL), "ready");
        assert_eq!(bench.open(1, 6, BACKFILL), "waiting");
    }
    assert!(bench.sent().is_empty());
    // More urgent than it was: said once more.
    assert_eq!(bench.open(1, 6, TAIL), "waiting");
    assert_eq!(bench.open(1, 6, TAIL), "waiting");
    assert_eq!(bench.sent(), ["open 6 Tail"]);
}

/// EXECUTOR-6
#[test]
fn a_dek_that_comes_twice_gives_its_share_once() {
    let mut bench = Bench::new(&KeyOptions::default());
    assert_eq!(bench.seal(), "waiting");
    bench.apply(delivered(1, 2, bench.far()));
    assert_eq!(bench.seal_batch(10), "ready");
    bench.apply(delivered(1, 2, bench.far()));
    assert_eq!(bench.seal_batch(10), "ready");
    assert_eq!(bench.seal_batch(10), "waiting");
    bench.apply(delivered(1, 2, bench.far()));
    assert_eq!(bench.seal_batch(10), "waiting", "it was used up");
    // What is asked for anew after a long time is still its successor.
    bench.pass(4 * KeyOptions::default().call_timeout);
    assert_eq!(bench.seal_batch(10), "waiting");
    bench.apply(delivered(1, 2, bench.far()));
    assert_eq!(bench.seal_batch(10), "waiting");
    assert_eq!(
        bench.sent(),
        [
            "4 seal payments first",
            "used 2 20",
            "4 seal payments again",
            "4 seal payments again"
        ]
    );
    bench.apply(delivered(2, 2, bench.far()));
    assert_eq!(bench.seal_batch(10), "ready");
}

#[test]
fn what_does_not_fit_into_the_channel_is_kept_in_order() {
    let mut bench = Bench::new(&KeyOptions::default());
    for blob in 0..5 {
        bench.open(1, blob, TAIL);
    }
    let mut room = 2;
    let mut blobs = Vec::new();
    let mut send = |request| match request {
        KeyRequest::Open { ref wrapped, .. } if room > 0 => {
            room -= 1;
            blobs.push(wrapped[wrapped.len() - 1]);
            Ok(())
        }
        request => Err(request),
    };
    bench.keys.send_requests(&mut send);
    assert_eq!(blobs, [0, 1]);
    assert!(bench.keys.has_requests());
    // What is more urgent overtakes what could not be sent.
    bench.seal();
    assert_eq!(
        bench.sent(),
        [
            "4 seal payments first",
            "open 2 Tail",
            "open 3 Tail",
            "open 4 Tail"
        ]
    );
    assert!(!bench.keys.has_requests());
}

#[test]
fn failures_are_remembered_for_a_moment() {
    let options = KeyOptions::default();
    let mut bench = Bench::new(&options);
    for failure in [KeyFailure::Unavailable, KeyFailure::KekDisabled] {
        bench.seal();
        bench.open(1, 5, TAIL);
        assert_eq!(bench.sent().len(), 2);
        bench.apply(KeyReply::Sealing {
            key: KeyId::first("payments"),
            result: Err(failure),
        });
        bench.apply(KeyReply::Opened {
            wrapped: wrapped(1, 5),
            result: Err(failure),
        });
        let opening_memory = options.executor_memory_of_opening(failure);
        bench.pass(options.executor_memory - Duration::from_millis(1));
        assert_eq!(bench.seal(), format!("{failure:?}"));
        bench.pass(Duration::from_millis(1));
        assert_eq!(bench.seal(), "waiting");
        bench.pass(opening_memory - options.executor_memory);
        assert_eq!(bench.open(1, 5, TAIL), "waiting");
        assert_eq!(bench.sent().len(), 2);
        bench.apply(opened(1, 6));
        bench.apply(KeyReply::Opened {
            wrapped: wrapped(1, 5),
            result: Err(failure),
        });
        bench.apply(KeyReply::Sealing {
            key: KeyId::first("payments"),
            result: Err(failure),
        });
        bench.pass(options.executor_memory);
    }
}

/// EXECUTOR-5, on both sides of the moment at which a frame is begun.
#[test]
fn a_verdict_stands_for_the_frames_that_were_begun_while_it_did() {
    let options = KeyOptions::default();
    for failure in [
        KeyFailure::KekDisabled,
        KeyFailure::KekDestroyed,
        KeyFailure::KekNotFound,
        KeyFailure::Malformed,
    ] {
        let mut bench = Bench::new(&options);
        let refuse = || KeyReply::Opened {
            wrapped: wrapped(1, 5),
            result: Err(failure),
        };
        let waiting = bench.now;
        assert_eq!(bench.open(1, 5, TAIL), "waiting");
        assert_eq!(bench.sent().len(), 1);
        bench.apply(refuse());
        bench.pass(options.executor_memory_of_opening(failure) - Duration::from_millis(1));
        let last = bench.now;
        bench.pass(Duration::from_secs(10));
        let open = |bench: &mut Bench, begun| {
            let now = bench.now;
            short(
                &bench
                    .keys
                    .opening(KmsId::from_number(0), &wrapped(1, 5), TAIL, begun, now),
            )
        };
        let refused = format!("{failure:?}");
        assert_eq!(open(&mut bench, waiting), refused, "it came meanwhile");
        assert_eq!(open(&mut bench, last), refused);
        assert!(bench.sent().is_empty());
        assert_eq!(open(&mut bench, last + Duration::from_millis(1)), "waiting");
        assert_eq!(bench.sent().len(), 1);
        assert_eq!(open(&mut bench, last), refused, "whatever later ones ask");
        bench.apply(opened(1, 5));
        assert_eq!(open(&mut bench, last), "ready");
    }
}

#[test]
fn an_outage_leaves_the_sealing_key_and_a_verdict_takes_it() {
    let mut bench = Bench::new(&KeyOptions::default());
    bench.apply(delivered(1, 100, bench.far()));
    let fail = |failure| KeyReply::Sealing {
        key: KeyId::first("payments"),
        result: Err(failure),
    };
    bench.apply(fail(KeyFailure::Unavailable));
    assert_eq!(bench.seal(), "ready");
    bench.apply(fail(KeyFailure::KekDisabled));
    assert_eq!(bench.seal(), "KekDisabled");
    // A new key makes the failure past.
    bench.apply(delivered(2, 100, bench.far()));
    assert_eq!(bench.seal(), "ready");
}

/// EXECUTOR-3
#[test]
fn opened_keys_are_bounded_and_one_in_use_outlives_its_eviction() {
    let options = KeyOptions {
        opened_keys_max: 2,
        needed_keys_max: 2,
        ..KeyOptions::default()
    };
    let mut bench = Bench::new(&options);
    bench.apply(opened(1, 1));
    let KeyLookup::Ready(held) =
        bench
            .keys
            .opening(KmsId::from_number(0), &wrapped(1, 1), TAIL, bench.now, bench.now)
    else {
        panic!("the key was delivered");
    };
    bench.apply(opened(1, 2));
    bench.apply(opened(1, 3));
    assert_eq!(bench.keys.opened_count(), 2);
    assert_eq!(bench.open(1, 3, TAIL), "ready");
    assert_eq!(bench.open(1, 2, TAIL), "ready");
    // Garbage that is refused takes no opened key's place.
    for blob in 10..200 {
        bench.open(1, blob, TAIL);
        bench.apply(KeyReply::Opened {
            wrapped: wrapped(1, blob),
            result: Err(KeyFailure::Malformed),
        });
    }
    assert_eq!(bench.open(1, 3, TAIL), "ready");
    assert_eq!(bench.open(1, 2, TAIL), "ready");
    assert_eq!(bench.open(1, 1, TAIL), "waiting");
    assert_eq!(**held.wrapped(), *wrapped(1, 1));
}

/// EXECUTOR-4
#[test]
fn needed_keys_are_kept_beyond_those_that_are_remembered_and_no_longer() {
    let options = KeyOptions {
        opened_keys_max: 16,
        needed_keys_max: 100,
        ..KeyOptions::default()
    };
    let mut bench = Bench::new(&options);
    let start = bench.now;
    for blob in 0..100 {
        bench.apply(opened(blob % 2, blob));
    }
    for blob in 0..100 {
        assert_eq!(bench.open(blob % 2, blob, TAIL), "ready", "{blob}");
    }
    // One past the bound: the one that was not used for longest goes.
    bench.apply(opened(1, 101));
    assert_eq!(bench.keys.opened_count(), 100);
    assert_eq!(bench.open(0, 0, TAIL), "waiting");
    bench.now = start + options.needed_for - Duration::from_millis(1);
    bench.keys.tick(bench.now);
    assert_eq!(bench.keys.opened_count(), 100);
    // What is looked up is needed anew.
    for blob in 60..100 {
        assert_eq!(bench.open(blob % 2, blob, TAIL), "ready");
    }
    bench.now = start + options.needed_for;
    bench.keys.tick(bench.now);
    assert_eq!(bench.keys.opened_count(), 40);
    bench.apply(KeyReply::Revoked {
        prefix: version_prefix(&wrapped(1, 99)).unwrap_or_default().into(),
    });
    assert_eq!(bench.keys.opened_count(), 20, "whatever keeps them");
    assert_eq!(bench.open(1, 99, TAIL), "waiting");
    bench.now += options.needed_for;
    bench.keys.tick(bench.now);
    assert_eq!(bench.keys.opened_count(), 16);
}

/// The machine slept: what was delivered before seals no batch more, and what is asked for is another DEK.
#[test]
fn a_withdrawn_sealing_key_is_replaced_and_not_asked_for_again() {
    let mut bench = Bench::new(&KeyOptions::default());
    bench.apply(delivered(1, 100, bench.far()));
    let share = bench.share();
    assert!(share.take_batch(bench.now).is_some());
    bench.keys.withdraw_sealing();
    assert!(!share.holds(bench.now));
    assert!(share.take_batch(bench.now).is_none());
    assert!(matches!(
        bench.keys.sealing(&bench.kek, bench.now),
        KeyLookup::Waiting
    ));
    let used_up = bench
        .keys
        .take_requests()
        .into_iter()
        .find_map(|request| match request {
            KeyRequest::Seal { used_up, .. } => Some(used_up),
            _ => None,
        });
    assert_eq!(used_up, Some(Some(wrapped(1, 0))));
}

/// KEYS-5
#[test]
fn what_waits_is_bounded() {
    let options = KeyOptions {
        waiting_max: 2,
        ..KeyOptions::default()
    };
    let mut bench = Bench::new(&options);
    for blob in 1..=3 {
        assert_eq!(bench.open(1, blob, TAIL), "waiting");
    }
    assert_eq!(bench.sent(), ["open 1 Tail", "open 2 Tail"]);
    bench.apply(opened(1, 1));
    assert_eq!(bench.open(1, 3, TAIL), "waiting");
    assert_eq!(bench.sent(), ["open 3 Tail"]);
}

#[test]
fn revocation_takes_exactly_the_keys_of_the_version() {
    let mut bench = Bench::new(&KeyOptions::default());
    bench.apply(delivered(1, 100, bench.far()));
    bench.apply(opened(1, 1));
    bench.apply(opened(2, 1));
    bench.apply(opened(11, 1));
    assert_eq!(bench.open(1, 1, TAIL), "ready");
    let prefix = crate::keys::ledger::version_prefix(&wrapped(1, 1)).map(Arc::from);
    let Some(prefix) = prefix else {
        panic!("it was parsed")
    };
    assert_eq!(bench.apply(KeyReply::Revoked { prefix }), Applied::Dropped);
    assert_eq!(bench.open(1, 1, TAIL), "waiting");
    assert_eq!(bench.seal(), "waiting");
    assert_eq!(bench.open(2, 1, TAIL), "ready");
    assert_eq!(bench.open(11, 1, TAIL), "ready");
    bench.apply(delivered(2, 100, bench.far()));
    let released = KeyReply::Released {
        key: KeyId::first("payments"),
    };
    assert_eq!(bench.apply(released), Applied::Dropped);
    assert_eq!(bench.seal(), "waiting");
}

#[test]
fn a_share_is_never_exceeded_and_use_is_reported() {
    let mut bench = Bench::new(&KeyOptions::default());
    bench.keys.tick(bench.now);
    bench.apply(delivered(1, 3, bench.far()));
    for _ in 0..2 {
        assert_eq!(bench.seal_batch(10), "ready");
    }
    assert!(bench.sent().is_empty());
    bench.pass(REPORT_INTERVAL);
    assert_eq!(bench.sent(), ["used 2 20"]);
    bench.pass(REPORT_INTERVAL);
    assert!(bench.sent().is_empty(), "nothing new");
    assert_eq!(bench.seal_batch(10), "ready");
    assert_eq!(bench.seal(), "waiting");
    // The report stands before the request that depends on it.
    assert_eq!(bench.sent(), ["used 1 10", "4 seal payments again"]);
    // Bytes count too: the batch that passes the limit is the last.
    bench.apply(delivered(2, 100, bench.far()));
    assert_eq!(bench.seal_batch(999), "ready");
    assert_eq!(bench.seal_batch(1), "ready");
    assert_eq!(bench.seal(), "waiting");
}

/// SHARE-1
#[test]
fn whoever_holds_a_share_takes_no_batch_more_than_it_has() {
    let mut bench = Bench::new(&KeyOptions::default());
    bench.apply(delivered(1, 3, bench.far()));
    // Two requests that were both told that there is a key.
    let (one, other) = (bench.share(), bench.share());
    assert!(one.take_batch(bench.now).is_some());
    assert!(other.take_batch(bench.now).is_some());
    assert!(one.take_batch(bench.now).is_some());
    assert!(other.take_batch(bench.now).is_none());
    assert!(one.take_batch(bench.now).is_none());
    one.note_bytes(30);
    assert_eq!(bench.seal(), "waiting");
    assert_eq!(bench.sent(), ["used 3 30", "4 seal payments again"]);
}

/// SHARE-2, SHARE-3
#[test]
fn a_share_that_is_held_ends_with_its_time_and_when_it_is_taken_away() {
    let options = KeyOptions {
        sealing_keys_max: 1,
        needed_for: Duration::ZERO,
        ..KeyOptions::default()
    };
    type Taker = fn(&mut Bench) -> KeyReply;
    let takers: [(&str, Taker); 5] = [
        ("released", |_| KeyReply::Released {
            key: KeyId::first("payments"),
        }),
        ("revoked", |_| KeyReply::Revoked {
            prefix: wrapped(1, 0)[..10].into(),
        }),
        ("refused", |_| KeyReply::Sealing {
            key: KeyId::first("payments"),
            result: Err(KeyFailure::KekDisabled),
        }),
        ("replaced", |bench| delivered(2, 100, bench.far())),
        ("evicted", |bench| {
            let KeyReply::Sealing { result, .. } = delivered(3, 100, bench.far()) else {
                panic!("a sealing key")
            };
            KeyReply::Sealing {
                key: KeyId::first("orders"),
                result,
            }
        }),
    ];
    for (what, taker) in takers {
        let mut bench = Bench::new(&options);
        bench.apply(delivered(1, 100, bench.far()));
        let share = bench.share();
        assert!(share.take_batch(bench.now).is_some(), "{what}");
        let reply = taker(&mut bench);
        bench.apply(reply);
        assert!(share.take_batch(bench.now).is_none(), "{what}");
    }
    let mut bench = Bench::new(&options);
    let end = bench.now + Duration::from_secs(10);
    bench.apply(delivered(1, 100, end));
    let share = bench.share();
    assert!(share.take_batch(end - Duration::from_nanos(1)).is_some());
    assert!(share.take_batch(end).is_none());
}

#[test]
fn a_sealing_key_is_not_used_after_its_time() {
    let mut bench = Bench::new(&KeyOptions::default());
    let end = bench.now + Duration::from_secs(10);
    bench.apply(delivered(1, 100, end));
    bench.pass(Duration::from_secs(10) - Duration::from_nanos(1));
    assert_eq!(bench.seal(), "ready");
    bench.pass(Duration::from_nanos(1));
    assert_eq!(bench.seal(), "waiting");
    assert_eq!(bench.sent(), ["4 seal payments again"]);
}

#[test]
fn a_request_without_an_answer_is_repeated() {
    let options = KeyOptions::default();
    let mut bench = Bench::new(&options);
    bench.seal();
    bench.open(1, 1, TAIL);
    assert_eq!(bench.sent().len(), 2);
    bench.pass(options.call_timeout * 3 - Duration::from_millis(1));
    bench.seal();
    bench.open(1, 1, TAIL);
    assert!(bench.sent().is_empty());
    bench.pass(Duration::from_millis(1));
    bench.seal();
    bench.open(1, 1, TAIL);
    assert_eq!(bench.sent().len(), 2);
}
