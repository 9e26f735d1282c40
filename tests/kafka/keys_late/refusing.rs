//! A KEK that is disabled while it is in use: refused for good in both directions, and healed by itself.

use std::time::Duration;

use kafka_protocol::messages::fetch_response::PartitionData;
use sealwire::kms::KmsError;

use super::{EVENTUALLY, RIG, agents};
use crate::support::faulty_proxy::FaultyProxy;
use crate::support::operations::From;
use crate::support::raw_client::RawClient;
use crate::support::records::{Record, assert_delivered};
use crate::support::skipped;
use crate::support::wait;

#[test]
fn warm_key_that_is_disabled_is_refused_and_others_are_not() {
    let Some(proxy) = FaultyProxy::start(&RIG, 2, Duration::from_secs(2)) else {
        return skipped::there_is_no_proxy();
    };
    let (late, steady) = (RIG.topic("late-k8", 1), RIG.topic("steady", 1));
    let records = [&late, &steady].map(|topic| Record::new(topic, "key", "value").partition(0));
    assert_delivered(&RIG.java.produce(&proxy.options(), &records));

    proxy.faults.refuse(Some(KmsError::KekDisabled));
    wait::until("the recheck to notice", EVENTUALLY, || {
        (proxy.metric("sealwire_kek_revocations_total", &["kms=\"late\""]) > 0.0).then_some(())
    });
    for agent in agents() {
        let deliveries = agent.produce(&proxy.options().set("idempotent", false), &records);
        let error = deliveries[0]
            .error
            .as_deref()
            .unwrap_or("delivered")
            .to_lowercase();
        assert!(error.contains("policy"), "{:?}: {error}", agent.library());
        assert_eq!(deliveries[1].error, None, "{:?}: the other key", agent.library());
    }
    // Both in one response. Until the KMS has said so again for the reader, it is "no data yet".
    let mut client = RawClient::connect(&proxy.address());
    wait::until("the fetch to be refused", EVENTUALLY, || {
        let partitions = client.fetch(&[&late, &steady]);
        let [refused, untouched] = &partitions[..] else {
            panic!("two partitions were asked for: {partitions:?}");
        };
        let is_empty = |partition: &PartitionData| {
            partition
                .records
                .as_ref()
                .is_none_or(|records| records.is_empty())
        };
        assert!(is_empty(refused), "{refused:?}");
        assert!(untouched.error_code == 0 && !is_empty(untouched), "{untouched:?}");
        assert!(
            [0, TOPIC_AUTHORIZATION_FAILED].contains(&refused.error_code),
            "{refused:?}"
        );
        (refused.error_code == TOPIC_AUTHORIZATION_FAILED).then_some(())
    });
    let refused = RIG
        .java
        .try_consume(&proxy.options(), &From::partitions(&late, 1), 1, EVENTUALLY);
    let error = refused.expect_err("a topic whose key is disabled");
    assert!(error.contains("TopicAuthorization"), "{error}");

    proxy.faults.refuse(None);
    wait::until("the key to be good again", EVENTUALLY, || {
        let deliveries = RIG.java.produce(&proxy.options(), &records);
        deliveries
            .iter()
            .all(|delivery| delivery.error.is_none())
            .then_some(())
    });
    // What the reader was refused is remembered for a while, and not until somebody has sealed.
    let read = wait::until("the records to be read again", EVENTUALLY, || {
        let from = From::partitions(&late, 1);
        RIG.java.try_consume(&proxy.options(), &from, 2, EVENTUALLY).ok()
    });
    assert_eq!(read.len(), 2);
}

const TOPIC_AUTHORIZATION_FAILED: i16 = 29;
