//! Sealed and opened under a KEK that is rotated meanwhile.

use std::time::{Duration, Instant};

use super::site::dek_of;
use super::{ALL, EVENTUALLY, RIG, Site, each};
use crate::support::operations::From;
use crate::support::records::{Record, assert_delivered, assert_same, assorted};
use crate::support::wait;

#[test]
fn what_a_kek_seals_is_sealed_opens_and_moves_on_to_its_new_version_within_a_minute() {
    each(&ALL, |kms| {
        kms.make("turned");
        let site = Site::with(kms, "");
        let topic = RIG.topic("turned-orders", 2);
        let canary = format!("canary-of-{}-8a31", kms.name());
        let mut sent = assorted(&topic, &canary);
        let mut deliveries = RIG.java.produce(&site.options(), &sent);
        assert_delivered(&deliveries);
        let made = site.metric("sealwire_deks_made_total");

        kms.rotate("turned");
        let rotated = Instant::now();
        wait::until(
            "the new version to be noticed",
            NOTICED_WITHIN + EVENTUALLY,
            || {
                wait::pause(Duration::from_millis(200));
                (site.metric("sealwire_deks_made_total") > made).then_some(())
            },
        );
        let noticed = rotated.elapsed();
        assert!(
            noticed < NOTICED_WITHIN + SLACK,
            "{}: after {noticed:?}",
            kms.name()
        );

        let later: Vec<Record> = assorted(&topic, &canary);
        deliveries.extend(RIG.java.produce(&site.options(), &later));
        sent.extend(later);
        let read = RIG
            .java
            .consume(&site.options(), &From::partitions(&topic, 2), sent.len());
        assert_same(&sent, &deliveries, &read);

        let stored = RIG
            .java
            .consume(&RIG.direct(), &From::partitions(&topic, 2), sent.len());
        assert!(
            !format!("{stored:?}").contains(&canary),
            "{}: readable at the broker",
            kms.name()
        );
        let mut deks: Vec<_> = stored.iter().map(dek_of).collect();
        deks.sort_by(|one, other| one.blob.cmp(&other.blob));
        deks.dedup();
        let [one, other] = &deks[..] else {
            panic!("{}: {} data keys", kms.name(), deks.len());
        };
        assert_eq!(one.kek, kms.in_rule("turned").as_bytes());
        assert_eq!((one.provider, one.authority), (other.provider, other.authority));
        assert_eq!(one.kek, other.kek);
        assert_ne!(one.version, other.version, "{}", kms.name());
        assert!(
            !site.proxy.output().contains(&canary),
            "{}: in the log",
            kms.name()
        );
    });
}

/// Of rotations, at every KMS.
const NOTICED_WITHIN: Duration = Duration::from_secs(60);
/// For a machine that is busy.
const SLACK: Duration = Duration::from_secs(10);
