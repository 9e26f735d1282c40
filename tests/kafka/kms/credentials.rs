//! The proxy's own credentials at a KMS: outlived, replaced, refused.

use std::time::{Duration, Instant};

use super::site::NOT_ENOUGH_REPLICAS;
use super::{EVENTUALLY, IN_NETWORK, RIG, Site, each};
use crate::support::wait;

#[test]
fn credentials_that_end_are_renewed_and_those_that_were_replaced_are_used() {
    each(&IN_NETWORK, |kms| {
        for kek in ["first", "second", "third", "fourth"] {
            kms.make(kek);
        }
        let site = Site::with(kms, "seal_wait = \"2s\"");
        let topics =
            ["first", "second", "third", "fourth"].map(|kek| RIG.topic(&format!("{kek}-credentials"), 1));
        let [first, second, third, fourth] = &topics;
        kms.replace_credentials(LIFE);
        assert_eq!(site.send(first), 0, "{}", kms.name());

        // Each KEK that was not used yet needs a call.
        kms.outlive_credentials(LIFE);
        assert_eq!(site.send(second), 0, "{}: renewed", kms.name());

        kms.replace_credentials(Duration::from_secs(3600));
        kms.refuse_former_credentials();
        assert_eq!(site.send(third), 0, "{}: replaced in time", kms.name());
        assert_eq!(site.metric("sealwire_refused_partitions_total"), 0.0);

        kms.refuse_credentials();
        assert_eq!(site.send(fourth), NOT_ENOUGH_REPLICAS, "{}", kms.name());
        let said = site.proxy.output();
        assert!(
            said.contains("the KMS refuses the proxy's credentials"),
            "{}: {said}",
            kms.name()
        );
        for topic in [first, second, third] {
            assert_eq!(site.send(topic), 0, "{}: at hand", kms.name());
            assert_eq!(site.read(topic), (0, true), "{}: at hand", kms.name());
        }

        kms.replace_credentials(Duration::from_secs(3600));
        let replaced = Instant::now();
        wait::until("the new ones to be used", EVENTUALLY, || {
            (site.send(fourth) == 0).then_some(())
        });
        let recovery = replaced.elapsed();
        assert!(recovery < SECONDS, "{}: after {recovery:?}", kms.name());
    });
}

/// Of a token that is renewed.
const LIFE: Duration = Duration::from_secs(5);
/// Files are read anew 5 s after those that were refused, at the latest; calls go on a little later.
const SECONDS: Duration = Duration::from_secs(10);
