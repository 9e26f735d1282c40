//! A KMS that is away for longer than the grace.

use std::time::Instant;

use super::site::NOT_ENOUGH_REPLICAS;
use super::{EVENTUALLY, IN_NETWORK, RECOVERY, RIG, Site, each};
use crate::support::operations::From;
use crate::support::streams::assert_exactly_once;
use crate::support::wait;

#[test]
fn keys_that_nobody_has_confirmed_for_the_grace_lapse_and_all_comes_back_by_itself() {
    each(&IN_NETWORK, |kms| {
        kms.make("lapsing");
        let site = Site::with(kms, "outage_grace = \"5s\"\nseal_wait = \"100ms\"");
        let topic = RIG.topic("lapsing-orders", 2);
        let options = site.options().set("idempotent", true).set("back_off_ms", 100);
        let producer = RIG.java.stream_produce(&options, &topic, 2, 100);
        let consumer = RIG
            .java
            .stream_consume(&site.options(), &From::partitions(&topic, 2));
        RIG.java.stream_await(&consumer, 100);
        let connections = RIG.java.stream_status(&consumer).connections;

        kms.stop();
        site.until_metric("sealwire_kek_lapses_total", 1.0, EVENTUALLY);
        // Both as long as nobody can say whether the KEK was taken away; nobody is told that it was.
        wait::until("producers to be put off", EVENTUALLY, || {
            (site.send(&topic) == NOT_ENOUGH_REPLICAS).then_some(())
        });
        assert_eq!(site.read(&topic), (0, false), "{}", kms.name());
        let before = RIG.java.stream_status(&consumer).count;

        kms.resume();
        let back = Instant::now();
        wait::until("records to flow again", EVENTUALLY, || {
            (RIG.java.stream_status(&consumer).count >= before + 100).then_some(())
        });
        let recovery = back.elapsed();
        assert!(recovery < RECOVERY, "{}: after {recovery:?}", kms.name());
        let status = RIG.java.stream_status(&consumer);
        assert_eq!(status.connections, connections, "{}: connected anew", kms.name());
        assert_exactly_once(RIG.java, producer, consumer);
        assert_eq!(
            site.metric("sealwire_kek_revocations_total"),
            0.0,
            "{}",
            kms.name()
        );
    });
}
