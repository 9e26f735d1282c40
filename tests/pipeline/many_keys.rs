//! Fetch responses under more keys than an executor remembers: each is unwrapped about once, whoever fetches and
//! however often.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use sealwire::ids::{Id as _, KmsId};
use sealwire::keys::ledger::{Call, Intervals, Ledger, Outcome};
use sealwire::keys::{CallBudget, ExecutorKeys, KeyOptions, KeyReply};

use crate::rig::{Dek, Halt, Rig, batch, batch_of, contains, dek, sealed, sealed_record_by_record};
use crate::wire::{delivered, fetch_request, fetch_response, fetched, only_frame};

const KEYS: u16 = 1000;

fn options() -> KeyOptions {
    KeyOptions {
        opened_keys_max: 16,
        ..KeyOptions::default()
    }
}

/// A partition of batches under a key each, and the key service that the consumers share.
struct Bench {
    ledger: Ledger,
    deks: HashMap<Arc<[u8]>, Dek>,
    batches: Vec<Vec<u8>>,
    unwraps: usize,
}

impl Bench {
    fn new(consumers: usize) -> Self {
        let interval = Duration::from_secs(1000);
        let intervals = Intervals {
            version_poll: interval,
            recheck: interval,
            verdict_memory: interval,
            budget: CallBudget::default(),
        };
        let clear = batch(&["value"]);
        let deks: Vec<Dek> = (0..KEYS).map(|number| dek("payments", number)).collect();
        Self {
            ledger: Ledger::new(&options(), &[(KmsId::from_number(0), intervals)], consumers),
            batches: deks.iter().map(|dek| sealed(&clear, dek, "sealed-a")).collect(),
            deks: deks.into_iter().map(|dek| (dek.wrapped(), dek)).collect(),
            unwraps: 0,
        }
    }

    /// Lets the KMS answer at most so many calls; hands over what there is for executor number `consumer`.
    fn answer(&mut self, consumer: usize, rig: &mut Rig, calls_max: usize) {
        for request in rig.pipeline.keys.take_requests() {
            self.ledger.accept(request, rig.now);
        }
        for _ in 0..calls_max {
            let Some(job) = self.ledger.next_job(rig.now) else {
                break;
            };
            let Call::Unwrap(wrapped) = &job.call else {
                panic!("{job:?}")
            };
            self.unwraps += 1;
            let outcome = Outcome::Unwrapped(Ok(self.deks[wrapped].secret()));
            self.ledger.finish(job, outcome, rig.now);
        }
        while let Some(reply) = self.ledger.pop_reply(consumer) {
            rig.apply(reply);
        }
    }

    /// One consumer reads the partition to its end, a KMS answering `calls_max` calls between two looks; says how many
    /// responses it took.
    fn consume(&mut self, consumer: usize, calls_max: usize) -> usize {
        let mut rig = Rig::new();
        rig.pipeline.keys = ExecutorKeys::new(consumer, &options());
        let (mut position, mut responses) = (0, 0);
        while position < self.batches.len() {
            responses += 1;
            assert!(responses <= self.batches.len(), "it stands still at {position}");
            let rest = fetched("sealed-a", 0, &self.batches[position..].concat());
            assert_eq!(rig.client_sends(&fetch_request(11, 3)), Ok(Halt::More));
            let mut halt = rig.broker_sends(&fetch_response(11, 3, &[rest])).unwrap();
            while halt != Halt::More {
                self.answer(consumer, &mut rig, calls_max);
                rig.pass_time(Duration::from_millis(1));
                halt = rig.broker_sends(&[]).unwrap();
            }
            let got = delivered(&only_frame(&rig.at_client()), 11).remove(0).records;
            let one = batch(&["value"]).len();
            assert_eq!(got.len() % one, 0);
            position += got.len() / one;
        }
        responses
    }
}

/// What was 63 714 before: each response asked anew for all keys behind the last sixteen.
#[test]
fn a_thousand_keys_cost_a_thousand_unwraps_where_sixteen_are_remembered() {
    for calls_max in [7, 64, usize::MAX] {
        let mut bench = Bench::new(1);
        bench.consume(0, calls_max);
        assert_eq!(bench.unwraps, usize::from(KEYS), "{calls_max} at a time");
    }
}

#[test]
fn eight_consumers_on_eight_executors_cost_no_more() {
    let mut bench = Bench::new(8);
    for consumer in 0..8 {
        bench.consume(consumer, 64);
    }
    assert_eq!(bench.unwraps, usize::from(KEYS));
}

/// OPEN-BATCH-1 wants all of them at the same time.
#[test]
fn a_batch_of_a_thousand_records_under_a_thousand_keys_opens() {
    let values: Vec<String> = (0..KEYS).map(|number| format!("value-{number}")).collect();
    let values: Vec<&str> = values.iter().map(String::as_str).collect();
    let clear = batch_of(&values).build().unwrap();
    let mut bench = Bench::new(1);
    let mixed = sealed_record_by_record(&clear, "sealed-a", |record| dek("payments", record));
    bench.batches = vec![mixed];
    let mut rig = Rig::new();
    rig.pipeline.keys = ExecutorKeys::new(0, &options());
    assert_eq!(rig.client_sends(&fetch_request(11, 3)), Ok(Halt::More));
    let response = fetch_response(11, 3, &[fetched("sealed-a", 0, &bench.batches[0])]);
    let mut halt = rig.broker_sends(&response).unwrap();
    while halt != Halt::More {
        bench.answer(0, &mut rig, 64);
        rig.pass_time(Duration::from_millis(1));
        halt = rig.broker_sends(&[]).unwrap();
    }
    assert_eq!(delivered(&only_frame(&rig.at_client()), 11)[0].records, clear);
    assert_eq!(bench.unwraps, usize::from(KEYS));
}

/// EXECUTOR-4: what is kept because it is needed is taken away like anything else, and no byte under it goes out.
#[test]
fn a_revocation_reaches_the_keys_that_a_frame_needs() {
    let mut bench = Bench::new(1);
    let mut rig = Rig::new();
    rig.pipeline.keys = ExecutorKeys::new(0, &options());
    assert_eq!(rig.client_sends(&fetch_request(11, 3)), Ok(Halt::More));
    let response = fetch_response(11, 3, &[fetched("sealed-a", 0, &bench.batches.concat())]);
    assert!(matches!(rig.broker_sends(&response), Ok(Halt::Blocked(_))));
    bench.answer(0, &mut rig, usize::MAX);
    assert_eq!(rig.pipeline.keys.opened_count(), usize::from(KEYS));
    let wrapped = dek("payments", 0).wrapped();
    rig.apply(KeyReply::Revoked {
        prefix: wrapped[..wrapped.len() - 40].into(),
    });
    assert_eq!(rig.pipeline.keys.opened_count(), 0);
    assert!(matches!(rig.broker_sends(&[]), Ok(Halt::Blocked(_))));
    rig.pass_time(Duration::from_secs(10));
    assert_eq!(rig.broker_sends(&[]), Ok(Halt::More));
    assert!(!contains(&rig.at_client(), "value"));
}
