//! The limits of a DEK, between a ledger and executors that seal under it at the same time.

use proptest::prelude::*;

use super::*;
use crate::keys::{DekLimits, ExecutorKeys, KeyLookup};

const EXECUTORS: usize = 3;

/// Executors that seal as long as anybody lets them, and a KMS that made one DEK and makes no other.
struct Race {
    desk: Desk,
    executors: Vec<ExecutorKeys>,
    sealed: [(u64, u64); EXECUTORS],
}

impl Race {
    fn new(dek: DekLimits) -> Self {
        let options = KeyOptions {
            dek,
            ..KeyOptions::default()
        };
        let mut race = Self {
            desk: Desk::new(&options, EXECUTORS),
            executors: (0..EXECUTORS)
                .map(|executor| ExecutorKeys::new(executor, &options))
                .collect(),
            sealed: [(0, 0); EXECUTORS],
        };
        for executor in &mut race.executors {
            assert!(matches!(
                executor.sealing(&"payments".into(), race.desk.now),
                KeyLookup::Waiting
            ));
        }
        race.exchange();
        for call in race.desk.calls() {
            race.desk.finish(call, generated(1, 0));
        }
        race.exchange();
        race
    }

    /// Whether `executor` could seal a batch of `bytes`.
    fn seal(&mut self, executor: usize, bytes: u64) -> bool {
        let now = self.desk.now;
        let KeyLookup::Ready(share) = self.executors[executor].sealing(&"payments".into(), now) else {
            return false;
        };
        let sealed = share.take_batch(now).is_some();
        if sealed {
            share.note_bytes(bytes);
            self.sealed[executor].0 += 1;
            self.sealed[executor].1 += bytes;
        }
        sealed
    }

    /// Everybody says what there is to say; calls for another DEK fail.
    fn exchange(&mut self) {
        for executor in &mut self.executors {
            executor.tick(self.desk.now);
            for request in executor.take_requests() {
                self.desk.ledger.accept(request, self.desk.now);
            }
        }
        if self.sealed != [(0, 0); EXECUTORS] {
            for call in self.desk.calls() {
                if matches!(call, Call::Generate(_)) {
                    let outage = KmsError::Unavailable(String::new());
                    self.desk.finish(call, Outcome::Generated(Err(outage)));
                }
            }
        }
        for (number, executor) in self.executors.iter_mut().enumerate() {
            for reply in self.desk.replies(number) {
                executor.apply(reply, self.desk.now);
            }
        }
    }

    /// All seal in turns that `order` draws until nobody can any more.
    fn run(&mut self, order: &[usize], bytes: u64) {
        let mut in_vain = 0;
        for &executor in order.iter().cycle() {
            in_vain = if self.seal(executor, bytes) {
                0
            } else {
                in_vain + 1
            };
            self.desk.now += Duration::from_millis(300);
            self.exchange();
            if in_vain > order.len() * 4 {
                return;
            }
        }
    }
}

fn far() -> DekLimits {
    DekLimits::default()
}

proptest! {
    /// KEYS-3: all of each share, and not one batch more, whoever is first.
    #[test]
    fn executors_that_race_seal_as_many_batches_as_the_limit_says(
        mut order in proptest::collection::vec(0..EXECUTORS, 1..20),
    ) {
        order.extend(0..EXECUTORS);
        let mut race = Race::new(DekLimits { batches_max: 30, ..far() });
        race.run(&order, 1);
        prop_assert_eq!(race.sealed, [(10, 10); EXECUTORS]);
    }

    /// KEYS-3: the last batch of each may end past its share of the bytes, and none comes after it.
    #[test]
    fn executors_that_race_seal_as_many_bytes_as_the_limit_says(
        mut order in proptest::collection::vec(0..EXECUTORS, 1..20),
        bytes in prop_oneof![Just((25, 4)), Just((26, 4)), Just((100, 1)), Just((99, 2)), Just((1000, 1))],
    ) {
        order.extend(0..EXECUTORS);
        let mut race = Race::new(DekLimits { bytes_max: 300, ..far() });
        race.run(&order, bytes.0);
        prop_assert_eq!(race.sealed, [(bytes.1, bytes.0 * bytes.1); EXECUTORS]);
    }
}

/// EXECUTOR-2: up to twice its age, and not at it, without a word of the key service.
#[test]
fn at_twice_its_age_nobody_seals() {
    let limits = DekLimits {
        age_max: Duration::from_secs(10),
        ..far()
    };
    for (age, seals) in [
        (limits.age_max * 2 - Duration::from_nanos(1), true),
        (limits.age_max * 2, false),
    ] {
        let mut race = Race::new(limits);
        race.desk.now += age;
        let all = [0, 1, 2].map(|executor| race.seal(executor, 1));
        assert_eq!(all, [seals; EXECUTORS], "{age:?}");
        // Nor when they ask again.
        race.exchange();
        assert_eq!(race.seal(0, 1), seals);
    }
}
