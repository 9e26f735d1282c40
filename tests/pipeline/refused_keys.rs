//! Fetch responses under keys that the KMS refuses: each is told, and however many there are, each is asked for about
//! once.

use std::time::Duration;

use sealwire::config::Limits;
use sealwire::ids::{Id as _, KmsId};
use sealwire::keys::ledger::{Call, Intervals, Ledger, Outcome};
use sealwire::keys::{CallBudget, KeyOptions};
use sealwire::kms::KmsError;

use crate::rig::{Dek, Halt, PAYMENTS, Rig, batch, batch_of, dek, sealed, sealed_record_by_record};
use crate::wire::{Fetched, delivered, fetch_request, fetch_response, fetched, only_frame};

/// As a file keystore has it.
const VERDICT_MEMORY: Duration = Duration::from_secs(1);
/// What a batch may ask for.
const KEYS_MAX: usize = 4096;

/// A consumer, and a KMS with the key service in front of it.
struct Bench {
    rig: Rig,
    ledger: Ledger,
    /// What the KMS says; `None`: it opens.
    refuses: Option<KmsError>,
    unwraps: usize,
    /// How many calls it answers in how much time.
    calls_max: usize,
    step: Duration,
}

impl Bench {
    fn new(refuses: KmsError, fetch_hold: Duration) -> Self {
        let far = Duration::from_secs(1000);
        let intervals = Intervals {
            version_poll: far,
            recheck: far,
            verdict_memory: VERDICT_MEMORY,
            budget: CallBudget::default(),
        };
        let limits = Limits {
            fetch_hold,
            ..Rig::new().pipeline.limits
        };
        Self {
            rig: Rig::with(limits),
            ledger: Ledger::new(&KeyOptions::default(), &[(KmsId::from_number(0), intervals)], 1),
            refuses: Some(refuses),
            unwraps: 0,
            calls_max: 64,
            step: Duration::from_millis(1),
        }
    }

    fn answer(&mut self) {
        for request in self.rig.pipeline.keys.take_requests() {
            self.ledger.accept(request, self.rig.now);
        }
        for _ in 0..self.calls_max {
            let Some(job) = self.ledger.next_job(self.rig.now) else {
                break;
            };
            assert!(matches!(job.call, Call::Unwrap(_)));
            self.unwraps += 1;
            let result = match &self.refuses {
                Some(error) => Err(error.clone()),
                None => Ok(PAYMENTS.secret()),
            };
            self.ledger.finish(job, Outcome::Unwrapped(result), self.rig.now);
        }
        while let Some(reply) = self.ledger.pop_reply(0) {
            self.rig.apply(reply);
        }
    }

    fn fetch(&mut self, stored: &Fetched) -> Fetched {
        assert_eq!(self.rig.client_sends(&fetch_request(11, 3)), Ok(Halt::More));
        let response = fetch_response(11, 3, std::slice::from_ref(stored));
        let mut halt = self.rig.broker_sends(&response).unwrap();
        let begun = self.rig.now;
        while halt != Halt::More {
            self.answer();
            self.rig.pass_time(self.step);
            assert!(self.rig.now - begun <= Duration::from_secs(6), "held for ever");
            halt = self.rig.broker_sends(&[]).unwrap();
        }
        delivered(&only_frame(&self.rig.at_client()), 11).remove(0)
    }
}

/// A batch of so many records, each under a key of its own.
fn stored(topic: &str, count: u16) -> Fetched {
    let values = vec!["value"; usize::from(count)];
    let clear = batch_of(&values).build().unwrap();
    let key = |record| -> Dek { dek("payments", record) };
    fetched(topic, 0, &sealed_record_by_record(&clear, topic, key))
}

/// OPEN-BATCH-6
///
/// What was 540 000 unwraps in 20 seconds, and no end of it.
#[test]
fn a_batch_of_keys_that_do_not_unwrap_is_passed_however_many_they_are() {
    for (topic, count) in [
        ("skip-a", 300),
        ("skip-a", 6000),
        ("null-a", 6000),
        ("skip-a", 60_000),
    ] {
        let stored = stored(topic, count);
        let mut bench = Bench::new(KmsError::Malformed, Duration::from_millis(200));
        let got = (0..4)
            .map(|_| bench.fetch(&stored))
            .find(|got| !got.records.is_empty());
        let got = got.expect("it is passed");
        assert_eq!(got.error_code, 0);
        assert!(
            got.records.len() < stored.records.len() / 2,
            "nothing of it opens"
        );
        assert_eq!(bench.unwraps, usize::from(count).min(KEYS_MAX), "{topic} {count}");
        assert_eq!(bench.rig.audit().len(), 1);
    }
}

/// The first is not forgotten before the last is known: not by an executor, nor by the key service.
#[test]
fn a_slow_kms_takes_its_time_and_is_asked_for_each_key_once() {
    for (count, step) in [(300, 1), (1000, 25)] {
        let stored = stored("skip-a", count);
        let mut bench = Bench::new(KmsError::Malformed, Duration::from_millis(200));
        (bench.calls_max, bench.step) = (1, Duration::from_millis(step));
        let begun = bench.rig.now;
        while bench.fetch(&stored).records.is_empty() {
            assert!(bench.rig.now - begun < Duration::from_secs(60), "it stands still");
        }
        assert_eq!(bench.unwraps, usize::from(count));
    }
}

#[test]
fn a_batch_under_too_many_keys_is_refused_where_nothing_is_skipped() {
    let at_most = stored("sealed-a", 4096);
    let beyond = stored("sealed-a", 4097);
    for (stored, reason) in [(&at_most, "wrapped_dek_malformed"), (&beyond, "too_many_keys")] {
        let mut bench = Bench::new(KmsError::Malformed, Duration::from_millis(200));
        bench.calls_max = 4096;
        let mut told = Vec::new();
        for _ in 0..8 {
            assert_eq!(bench.fetch(stored), stored.emptied(2));
            told.extend(bench.rig.audit());
        }
        // Once a key in front of those that are too many is known to be bad, it is the reason.
        assert_eq!(
            (told.len(), told[0], told[7]),
            (8, reason, "wrapped_dek_malformed")
        );
        assert!(bench.unwraps <= KEYS_MAX, "{}", bench.unwraps);
    }
}

/// What was "no data" mostly: the verdict had been forgotten when the hold was over.
#[test]
fn each_fetch_tells_that_a_key_is_refused_however_long_it_is_held() {
    let (short, long) = (batch(&["value"]), batch(&["x".repeat(3 << 20).as_str()]));
    for (error, code) in [
        (KmsError::KekDisabled, 29),
        (KmsError::KekDestroyed, 29),
        (KmsError::KekNotFound, 29),
        (KmsError::Malformed, 2),
    ] {
        for hold in [1, 200, 300, 500, 2000] {
            for (clear, pause) in [(&short, 0), (&short, 300), (&short, 700), (&long, 0)] {
                let stored = fetched("sealed-a", 0, &sealed(clear, &PAYMENTS, "sealed-a"));
                let mut bench = Bench::new(error.clone(), Duration::from_millis(hold));
                bench.step = Duration::from_millis(hold.min(20));
                for _ in 0..8 {
                    assert_eq!(
                        bench.fetch(&stored),
                        stored.emptied(code),
                        "{error:?} {hold} {pause}"
                    );
                    bench.rig.pass_time(Duration::from_millis(pause));
                }
            }
        }
    }
}

/// Both memories, and the answer that is held: 2 s and the hold.
#[test]
fn a_key_that_is_enabled_again_is_noticed() {
    for hold in [200, 500] {
        let hold = Duration::from_millis(hold);
        let clear = batch(&["value"]);
        let stored = fetched("sealed-a", 0, &sealed(&clear, &PAYMENTS, "sealed-a"));
        let mut bench = Bench::new(KmsError::KekDisabled, hold);
        for _ in 0..4 {
            assert_eq!(bench.fetch(&stored), stored.emptied(29));
        }
        bench.refuses = None;
        let enabled = bench.rig.now;
        while bench.fetch(&stored) != stored.with(&clear) {
            let passed = bench.rig.now - enabled;
            assert!(passed <= 2 * VERDICT_MEMORY + hold, "{passed:?}");
        }
    }
}
