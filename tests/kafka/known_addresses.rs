//! What a state file says of a broker that is down leads to nobody else. By itself, as `broker_killed`.

use std::fs;

use crate::right_broker::{
    FAIL_OVER_LIMIT, NODES, RIG, answered_by, connections_until_answered, settings, start, stopped_proxy,
};
use crate::support::shared;
use crate::support::skipped;
use crate::support::wait;

#[test]
fn a_state_file_whose_broker_is_down_leads_to_nobody_else() {
    let _alone = shared::three_brokers_alone();
    let rig = &*RIG;
    let Some(mut proxy) = stopped_proxy(rig) else {
        return skipped::there_is_no_proxy();
    };
    let mut settings = settings(rig, &[]);
    settings.push("cluster.main.state_file=addresses.json".to_owned());
    let known = NODES.map(|node| format!("\"{node}\": \"{}\"", rig.cluster.address_of(node)));
    fs::write(proxy.file("addresses.json"), format!("{{{}}}", known.join(", "))).expect("the state file");
    rig.cluster.kill_broker(3);
    start(&mut proxy, &settings);
    assert_eq!(connections_until_answered(&proxy, 1), 1);
    assert_eq!(connections_until_answered(&proxy, 2), 1);
    for _ in 0..5 {
        assert_eq!(answered_by(&proxy, 3), None, "broker 3 is down");
    }
    rig.cluster.restart_broker(3);
    wait::until("broker 3 behind its port", FAIL_OVER_LIMIT, || {
        answered_by(&proxy, 3).inspect(|by| assert_eq!(*by, 3))
    });
    assert_eq!(connections_until_answered(&proxy, 3), 1);
    proxy.terminate();
}
