//! Producers that go on producing while their key is late, so that there is a next batch behind a refused one: where
//! nobody guards their order and that one goes through, records are lost, silently with some clients.

use std::time::Duration;

use super::{EVENTUALLY, RIG};
use crate::support::agent::Agent;
use crate::support::faulty_proxy::FaultyProxy;
use crate::support::operations::From;
use crate::support::shared;
use crate::support::skipped;
use crate::support::streams::assert_exactly_once;
use crate::support::wait;

#[test]
fn idempotent_streams_are_exact_though_their_first_batches_are_refused() {
    let Some(proxy) = FaultyProxy::start(&RIG, 1, Duration::from_millis(500)) else {
        return skipped::there_is_no_proxy();
    };
    let agents: [&Agent; 2] = [shared::librdkafka(), RIG.java];
    let keks = ["k12", "k13", "k14", "k15", "k16", "k17"];
    let mut guarded = 0.0;
    for (agent, kek) in agents.into_iter().cycle().zip(keks) {
        let topic = RIG.topic(&format!("late-{kek}"), 2);
        let options = proxy.options().set("idempotent", true).set("back_off_ms", 100);
        proxy.faults.hold();
        let producer = agent.stream_produce(&options, &topic, 2, 1000);
        // The key comes while higher sequences are on their way and the refused one is not sent again yet.
        wait::until("the first refusal", EVENTUALLY, || {
            (proxy.refused(&topic, "key_waiting") > 0.0).then_some(())
        });
        proxy.faults.release();
        let consumer = agent.stream_consume(&proxy.options(), &From::partitions(&topic, 2));
        agent.stream_await(&consumer, 1000);
        assert_exactly_once(agent, producer, consumer);
        guarded += proxy.refused(&topic, "sequence_guard");
    }
    assert!(guarded > 0.0, "the guard had nothing to do");
}
