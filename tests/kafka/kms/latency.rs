//! The KMS is not on the way of a record: it stops under load, and nobody who produces can tell.

use std::time::{Duration, Instant};

use super::{EVENTUALLY, IN_NETWORK, RIG, Site, each};
use crate::support::operations::From;
use crate::support::raw_client::{RawClient, batch};
use crate::support::shared;
use crate::support::streams::assert_exactly_once;
use crate::support::wait;

/// Each time in the life of a data key that its successor is asked for while nobody answers, and again when somebody
/// does.
#[test]
fn a_kms_that_stops_under_load_does_not_change_how_long_producing_takes() {
    let _alone = shared::under_load();
    each(&IN_NETWORK, |kms| {
        for kek in ["loaded", "measured"] {
            kms.make(kek);
        }
        let site = Site::with(kms, &format!("data_key_batches_max = {BATCHES_MAX}"));
        let [loaded, measured] = ["loaded", "measured"].map(|kek| RIG.topic(&format!("{kek}-latency"), 1));
        let options = site.options().set("idempotent", true);
        let producer = RIG.java.stream_produce(&options, &loaded, 1, 100);
        let consumer = RIG
            .java
            .stream_consume(&site.options(), &From::partitions(&loaded, 1));
        RIG.java.stream_await(&consumer, 100);

        let mut client = site.raw();
        let (mut answering, mut stopped) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            // In between, so that both have the same neighbours.
            produce(&mut client, &measured, WARM_UP);
            answering.extend(produce(&mut client, &measured, ASKED));
            let made = site.metric("sealwire_deks_made_total");
            kms.freeze();
            stopped.extend(produce(&mut client, &measured, ASKED));
            site.until_metric("sealwire_kms_calls_in_flight", 1.0, EVENTUALLY);
            kms.thaw();
            wait::until("the next data key", EVENTUALLY, || {
                (site.metric("sealwire_deks_made_total") > made).then_some(())
            });
        }
        let (before, during) = (Times::of(answering), Times::of(stopped));
        assert!(
            during.half < before.half * 3 / 2 + GRAIN && during.most < before.most * 3 + GRAIN,
            "{}: {before:?} while it answers, {during:?} while it does not",
            kms.name()
        );
        assert_exactly_once(RIG.java, producer, consumer);
    });
}

/// How long each of `count` batches took.
fn produce(client: &mut RawClient, topic: &str, count: usize) -> Vec<Duration> {
    let once = |_| {
        let started = Instant::now();
        assert_eq!(client.produce(topic, batch(None, "measured")).error_code, 0);
        started.elapsed()
    };
    (0..count).map(once).collect()
}

/// What half of the batches took, and nineteen of twenty, at most.
#[derive(Debug)]
struct Times {
    half: Duration,
    most: Duration,
}

impl Times {
    fn of(mut times: Vec<Duration>) -> Self {
        times.sort_unstable();
        Self {
            half: times[times.len() / 2],
            most: times[times.len() * 19 / 20],
        }
    }
}

const ROUNDS: usize = 3;
/// One data key's, of which its successor is asked for at half: while the KMS is stopped.
const BATCHES_MAX: usize = 1024;
const WARM_UP: usize = 150;
const ASKED: usize = 300;
/// Less is noise.
const GRAIN: Duration = Duration::from_millis(2);
