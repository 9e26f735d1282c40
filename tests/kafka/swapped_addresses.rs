//! Brokers that have swapped their addresses are told apart. By itself, as `broker_killed`.

use crate::right_broker::{
    FAIL_OVER_LIMIT, Flow, NODES, RECOVERY_LIMIT, RIG, await_right_brokers, connections_until_answered,
    go_on, settings, start, stopped_proxy,
};
use crate::support::agent::{Agent, Library};
use crate::support::operations::Options;
use crate::support::shared;
use crate::support::skipped;
use crate::support::wait;

#[test]
fn brokers_that_swap_addresses_are_told_apart() {
    let _alone = shared::three_brokers_alone();
    let rig = &*RIG;
    let Some(mut proxy) = stopped_proxy(rig) else {
        return skipped::there_is_no_proxy();
    };
    start(&mut proxy, &settings(rig, &[]));
    let options = Options::at(proxy.bootstrap());
    // Each is learned, and a connection that stays open.
    for node in NODES {
        connections_until_answered(&proxy, node);
    }
    let newer = Agent::start(Library::NewerJava);
    let flows: Vec<Flow<'_>> = [&newer, shared::librdkafka()]
        .map(|agent| Flow::start(rig, agent, &options))
        .into();
    go_on(&flows, 50, FAIL_OVER_LIMIT);
    rig.cluster.swap_addresses(2, 3);
    go_on(&flows, 50, FAIL_OVER_LIMIT);
    await_right_brokers(rig, &proxy);
    for node in [2, 3] {
        // Brokers disagree for as long as one of them has not caught up; each telling closes what leads elsewhere.
        wait::until("brokers to agree", RECOVERY_LIMIT, || {
            (connections_until_answered(&proxy, node) == 1).then_some(())
        });
    }
    for flow in flows {
        flow.finish();
    }
    proxy.terminate();
}
