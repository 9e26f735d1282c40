//! Brokers see one and the same, who may do everything there: who changes the cluster is the proxy's to say.

use super::own_names::{keys, records};
use super::{Door, RIG, TEAMS, prefix};
use crate::support::agent::{Agent, Library};
use crate::support::broker_properties::{self as brokers, Login};
use crate::support::operations::{From, Options};
use crate::support::rig::unique;
use crate::support::shared;
use crate::support::skipped;
use crate::tls::logins::administrators::{self, REFUSED, REFUSED_BY_LIBRDKAFKA, assert_refused};

/// A topic of `app-1`, and a group that has read it and has nobody in it any more.
fn topic_with_a_group(door: &Door) -> String {
    let topic = RIG.topic(&format!("{}changed", prefix(TEAMS[0])), 1);
    let options = door.options("app-1");
    let sent = records(&topic);
    RIG.java.produce(&options, &sent);
    let group = options.group(&format!("{topic}-group"), "classic");
    RIG.java.consume(&group, &From::topic(&topic), sent.len());
    topic
}

fn refused(agent: &Agent) -> &'static [(&'static str, &'static str)] {
    match agent.library() {
        Library::Librdkafka => &REFUSED_BY_LIBRDKAFKA,
        _ => &REFUSED,
    }
}

/// Of an error, which has a text behind it.
fn name(outcome: &str) -> &str {
    outcome.split(':').next().unwrap_or_default()
}

/// ADMIN-FOR-1: as by a broker that has given its client no right; whose topic it is may not change it either.
#[test]
fn whom_admin_for_names_changes_the_cluster_where_brokers_see_one() {
    let Some(mut door) = Door::open_with(Login::Plaintext, "none", "", "", |_| keys()) else {
        return skipped::there_is_no_proxy();
    };
    door.proxy.terminate();
    door.proxy
        .start_again_with(&["cluster.main.admin_for=[\"User:app-3\"]"]);
    for agent in [RIG.java, shared::librdkafka()] {
        let topic = topic_with_a_group(&door);
        let other = unique(&prefix(TEAMS[0]));
        let changes = |user: &str| administrators::changes(agent, &door.options(user), &topic, &other);
        let at_the_broker = Options::at(RIG.cluster.bootstrap_of(Login::Sasl));
        let nobody = at_the_broker.sasl("PLAIN", brokers::USER, brokers::PASSWORD);
        let straight = administrators::changes(agent, &nobody, &topic, &other);
        // Whose topic it is.
        assert_refused(&changes("app-1"), refused(agent));
        for (change, outcome) in changes("app-2") {
            let expected = name(&straight[&change]);
            assert!(
                change == NOT_OFFERED || name(&outcome) == expected,
                "{change}: {outcome}, and a broker says {expected}"
            );
        }
        assert_eq!(RIG.partitions(&topic).len(), 1);
        // Whatever one who may do everything at the broker is told there.
        let told = changes("app-3");
        for (change, outcome) in &told {
            let expected = match change.as_str() {
                "alterReplicaLogDirs" => "LogDirNotFoundException",
                // librdkafka shows what is said of each partition nowhere.
                "electLeaders" if agent.library() != Library::Librdkafka => "ElectionNotNeeded",
                "deleteConsumerGroupOffsets" => "GroupIdNotFoundException",
                "unregisterBroker" => "BrokerIdNotRegisteredException",
                NOT_OFFERED => "UnsupportedVersionException",
                _ => "done",
            };
            assert!(outcome.starts_with(expected), "{change}: {told:#?}");
        }
        assert_eq!(RIG.partitions(&other).len(), 1);
    }
    for about in ["topic", "group", "cluster"] {
        let label = format!("about={about:?}");
        let refused = door.proxy.metric("sealwire_refused_requests_total", &[&label]);
        assert!(refused > 0.0, "{about}");
    }
    door.proxy.terminate();
}

/// It would be about the proxy's own login.
const NOT_OFFERED: &str = "describeUserScramCredentials";
