//! Clients log in at the broker over TLS on both sides (`SASL_SSL`): the proxy passes the login on, whether it has
//! asked for a certificate or not.

use std::time::Duration;

use super::every_way::RIG;
use super::{Side, client_tls, proxy_tls};
use crate::support::broker_properties::{Login, MECHANISMS, PASSWORD, USER};
use crate::support::operations::{From, Options};
use crate::support::proxy::Proxy;
use crate::support::records::{Record, assert_same};
use crate::support::shared;

#[test]
fn each_mechanism_passes_through_tls() {
    let rig = &*RIG;
    for side in [Side::Tls, Side::Mutual] {
        let proxy = rig.another_proxy_with_tls(Login::SaslTls, &proxy_tls(side, Side::Tls));
        let direct = || rig.cluster.bootstrap_of(Login::SaslTls);
        let bootstrap = proxy.as_ref().map_or_else(direct, Proxy::bootstrap);
        let tls = client_tls(side, proxy.is_some()).expect("both sides have TLS");
        let options = |mechanism, password| Options::at(&bootstrap).sasl(mechanism, USER, password).tls(&tls);
        let agents = [
            rig.java,
            shared::librdkafka(),
            shared::franz_go(),
            shared::aiokafka(),
        ];
        for (agent, mechanism) in agents
            .iter()
            .flat_map(|agent| MECHANISMS.map(|mechanism| (agent, mechanism)))
        {
            let topic = rig.topic("sealed-sasl-tls", 1);
            let sent: Vec<_> = (0..20)
                .map(|number| Record::new(&topic, number.to_string(), CANARY).partition(0))
                .collect();
            let options = options(mechanism, PASSWORD);
            let deliveries = agent.produce(&options, &sent);
            let read = agent.consume(&options, &From::partitions(&topic, 1), sent.len());
            assert_same(&sent, &deliveries, &read);
        }
        let refused = rig
            .java
            .try_reach(&options("SCRAM-SHA-512", "wrong"), Duration::from_secs(20));
        let error = refused.expect_err("a wrong password");
        assert!(error.contains("SaslAuthenticationException"), "{error}");
        if let Some(mut proxy) = proxy {
            proxy.terminate();
        }
    }
    let readable = rig.cluster.canary_in_data_dir(CANARY.as_bytes());
    assert_eq!(readable.is_empty(), rig.seals(), "readable at rest: {readable:?}");
}

/// In every value: what must not be found at rest.
const CANARY: &str = "sasl-tls-canary-90b2";
