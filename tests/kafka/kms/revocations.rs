//! A KEK in use that is taken away, in each way that its KMS has, and given back.

use std::time::Duration;

use super::site::{POLICY_VIOLATION, TOPIC_AUTHORIZATION_FAILED};
use super::{ALL, EVENTUALLY, RIG, Revocation, Site, each};
use crate::support::operations::From;
use crate::support::records::{Record, assert_delivered};
use crate::support::wait;

#[test]
fn a_kek_that_is_taken_away_is_refused_at_its_recheck_and_good_again_when_it_is_given_back() {
    each(&ALL, |kms| {
        let revocations = kms.revocations();
        let keks: Vec<String> = (0..revocations.len()).map(|place| format!("k{place}")).collect();
        keks.iter().for_each(|kek| kms.make(kek));
        kms.make("steady");
        // Rechecks come four times in the grace.
        let site = Site::with(kms, "outage_grace = \"20s\"");
        let topics: Vec<String> = keks
            .iter()
            .map(|kek| RIG.topic(&format!("{kek}-taken"), 1))
            .collect();
        let steady = RIG.topic("steady-taken", 1);
        let records: Vec<Record> = topics
            .iter()
            .chain([&steady])
            .map(|topic| Record::new(topic, "key", "value").partition(0))
            .collect();
        assert_delivered(&RIG.java.produce(&site.options(), &records));
        for topic in topics.iter().chain([&steady]) {
            RIG.java.consume(&site.options(), &From::partitions(topic, 1), 1);
        }

        for (kek, how) in keks.iter().zip(revocations) {
            kms.revoke(kek, *how);
        }
        for (topic, how) in topics.iter().zip(revocations) {
            let case = format!("{}, {how:?}", kms.name());
            wait::until(
                &format!("{case}: what was sealed to be refused"),
                RECHECK + EVENTUALLY,
                || (site.read(topic) == (TOPIC_AUTHORIZATION_FAILED, false)).then_some(()),
            );
            assert_eq!(site.send(topic), expected(*how), "{case}");
        }
        let refused = &topics[0];
        let told = RIG
            .java
            .produce(&site.options(), &[Record::new(refused, "key", "never stored")]);
        let told = told[0].error.as_deref().unwrap_or("delivered").to_lowercase();
        assert!(told.contains("policy"), "{}: {told}", kms.name());
        let from = From::partitions(refused, 1);
        let told = RIG.java.try_consume(&site.options(), &from, 1, EVENTUALLY);
        let told = told.expect_err("its key was taken away");
        assert!(told.contains("TopicAuthorization"), "{}: {told}", kms.name());
        assert_eq!(site.send(&steady), 0, "{}: another KEK", kms.name());
        assert_eq!(site.read(&steady), (0, true), "{}: another KEK", kms.name());

        for (kek, how) in keks.iter().zip(revocations) {
            kms.restore(kek, *how);
        }
        for (topic, how) in topics.iter().zip(revocations) {
            let case = format!("{}, {how:?}", kms.name());
            wait::until(&format!("{case}: to be good again"), EVENTUALLY, || {
                (site.send(topic) == 0 && site.read(topic) == (0, true)).then_some(())
            });
        }
    });
}

/// Of whoever produces.
fn expected(how: Revocation) -> i16 {
    match how {
        Revocation::FormerVersions => 0,
        _ => POLICY_VIOLATION,
    }
}

const RECHECK: Duration = Duration::from_secs(5);
