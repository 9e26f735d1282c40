//! A broker of three dies while records flow, and comes back. By itself, since the other tests of three brokers wait
//! for its end, and those behind it in the alphabet do not need them.

use crate::cluster::{FAIL_OVER_LIMIT, Pair, RIG, await_in_sync, both_libraries, go_on};
use crate::support::shared;
use crate::support::wait;

#[test]
fn broker_is_killed_under_load() {
    let _alone = shared::three_brokers_alone();
    let rig = &*RIG;
    let (topics, pairs) = both_libraries(rig, "sealed-killed");
    let victim = rig.partitions(&topics[0])[0].leader;
    rig.cluster.kill_broker(victim);
    for topic in &topics {
        wait::until("other brokers to lead", FAIL_OVER_LIMIT, || {
            let state = rig.partitions(topic);
            state
                .iter()
                .all(|partition| partition.leader >= 1 && partition.leader != victim)
                .then_some(())
        });
    }
    go_on(&pairs, 400);
    rig.cluster.restart_broker(victim);
    for topic in &topics {
        await_in_sync(rig, topic);
    }
    go_on(&pairs, 400);
    pairs.into_iter().for_each(Pair::finish);
}
