//! What consumers of topics that pass are sent is streamed: with each library, with fetch sessions and without.

use crate::support::broker_properties::Login;
use crate::support::operations::From;
use crate::support::records::{Record, assert_delivered, assert_same};
use crate::support::rig::Rig;
use crate::support::shared;
use crate::support::skipped;

#[test]
fn no_library_has_a_fetch_of_a_topic_that_passes_held() {
    // Its proxy counts for nobody else.
    let rig = Rig::assemble(shared::one_broker(), Login::Plaintext);
    let Some(proxy) = rig.proxy() else {
        return skipped::there_is_no_proxy();
    };
    let held = || proxy.metric("sealwire_proxy_seconds_count", &["kind=\"fetch\""]);
    let agents = [
        rig.java,
        shared::librdkafka(),
        shared::aiokafka(),
        shared::franz_go(),
    ];
    let read_all = |name: &str| {
        let before = held();
        for agent in agents {
            let topic = rig.topic(name, 2);
            let value = "x".repeat(20_000);
            let sent: Vec<Record> = (0..200)
                .map(|number: i32| {
                    Record::new(&topic, number.to_string(), value.as_str()).partition(number % 2)
                })
                .collect();
            let deliveries = agent.produce(&rig.options(), &sent);
            assert_delivered(&deliveries);
            let read = agent.consume(&rig.options(), &From::partitions(&topic, 2), sent.len());
            assert_same(&sent, &deliveries, &read);
        }
        held() - before
    };
    // Java and franz-go end their sessions with a request that names nothing, the answer to which is held.
    let passed = read_all("public-streamed");
    assert!(passed <= 2.0, "{passed} were held");
    let sealed = read_all("sealed-held");
    assert!(sealed >= 8.0, "each library fetches twice at least: {sealed}");
}
