//! A KMS that is away for less than the grace.

use std::time::Instant;

use super::{EVENTUALLY, IN_NETWORK, RECOVERY, RIG, Site, each};
use crate::support::operations::From;
use crate::support::records::{Record, assert_delivered};
use crate::support::streams::assert_exactly_once;
use crate::support::wait;

#[test]
fn what_is_at_hand_goes_on_and_what_is_not_waits_without_an_error() {
    each(&IN_NETWORK, |kms| {
        for kek in ["warm", "cold", "unused"] {
            kms.make(kek);
        }
        let mut site = Site::with(kms, "");
        let cold = RIG.topic("cold-outage", 1);
        let sealed: Vec<Record> = (0..COLD_RECORDS)
            .map(|number| Record::new(&cold, number.to_string(), "value").partition(0))
            .collect();
        assert_delivered(&RIG.java.produce(&site.options(), &sealed));
        // What it has at hand of that ends with the process.
        site.proxy.terminate();
        site.proxy.start_again();

        let warm = RIG.topic("warm-outage", 2);
        let options = site.options().set("idempotent", true);
        let producer = RIG.java.stream_produce(&options, &warm, 2, 200);
        let consumer = RIG
            .java
            .stream_consume(&site.options(), &From::partitions(&warm, 2));
        RIG.java.stream_await(&consumer, 100);

        kms.stop();
        let waiting = RIG
            .java
            .stream_consume(&site.options(), &From::partitions(&cold, 1));
        let unused = RIG.topic("unused-outage", 1);
        let refused = RIG
            .java
            .stream_produce(&options.clone().set("back_off_ms", 100), &unused, 1, 20);
        // Both were asked for in vain, until nobody is asked any more.
        site.until_metric("sealwire_kms_calls_spared_total", 1.0, EVENTUALLY);
        let connections = RIG.java.stream_status(&waiting).connections;
        let flowed = RIG.java.stream_status(&consumer).count;
        RIG.java.stream_await(&consumer, flowed + 600);
        let status = RIG.java.stream_status(&waiting);
        assert_eq!(status.count, 0, "{}", kms.name());
        assert!(connections > 0.0, "{}", kms.name());
        assert_eq!(status.connections, connections, "{}: connected anew", kms.name());
        assert_eq!(RIG.java.stream_status(&refused).count, 0, "{}", kms.name());

        kms.resume();
        let back = Instant::now();
        wait::until("what waited to come", EVENTUALLY, || {
            (RIG.java.stream_status(&waiting).count == COLD_RECORDS).then_some(())
        });
        wait::until("what was refused to be stored", EVENTUALLY, || {
            (RIG.java.stream_status(&refused).count > 0).then_some(())
        });
        let recovery = back.elapsed();
        assert!(recovery < RECOVERY, "{}: after {recovery:?}", kms.name());
        let status = RIG.java.stream_status(&waiting);
        assert_eq!(status.connections, connections, "{}: connected anew", kms.name());
        let waited = RIG.java.stream_stop(waiting);
        assert!(
            waited.failures.is_empty(),
            "{}: {:?}",
            kms.name(),
            waited.failures
        );
        let reader = RIG
            .java
            .stream_consume(&site.options(), &From::partitions(&unused, 1));
        assert_exactly_once(RIG.java, refused, reader);
        assert_exactly_once(RIG.java, producer, consumer);
        assert_eq!(site.metric("sealwire_kek_lapses_total"), 0.0, "{}", kms.name());
    });
}

const COLD_RECORDS: usize = 50;
