//! Whom rules name by what their certificates say.

use std::fs;
use std::time::Duration;

use super::every_way::RIG;
use super::{PROXIES, Side, client_tls, proxy_tls};
use crate::support::broker_properties::Login;
use crate::support::operations::{ClientTls, From, Options};
use crate::support::records::{Record, assert_same};
use crate::support::shared;
use crate::support::skipped;
use crate::support::wait;

/// ACCESS-1: the same authority vouches for both.
#[test]
fn a_certificate_opens_what_a_rule_names_it_for() {
    let Some(mut proxy) = RIG.another_proxy_with_tls(Login::Plaintext, &proxy_tls(Side::Mutual, Side::Plain))
    else {
        return skipped::there_is_no_proxy();
    };
    let file = proxy.file("sealwire.toml");
    let text = fs::read_to_string(&file).expect("its configuration");
    let named = text
        .replace("open_for = [\"User:*\"]", "open_for = [\"User:CN=appli?ation\"]")
        .replace("seal_for = [\"User:*\"]", "seal_for = [\"User:CN=application\"]");
    assert_ne!(named, text);
    fs::write(&file, named).expect("written");
    proxy.terminate();
    proxy.start_again();
    let topic = RIG.topic("sealed-certificate", 1);
    let options = |tls: &ClientTls| Options::at(proxy.bootstrap()).tls(tls);
    let application = options(&client_tls(Side::Mutual, true).expect("TLS"));
    let visitor = PROXIES.authorities.client("visitor", None);
    let visitor = ClientTls::believing(PROXIES.authorities.of_servers()).showing(&visitor.together);
    let visitor = options(&visitor);
    let sent: Vec<_> = (0..5)
        .map(|number| Record::new(&topic, number.to_string(), "certificate-canary").partition(0))
        .collect();
    let from = From::partitions(&topic, 1);
    for agent in [RIG.java, shared::librdkafka()] {
        let deliveries = agent.produce(&visitor, &sent[..1]);
        let error = deliveries[0].error.as_deref().unwrap_or_default().to_lowercase();
        assert!(error.contains("policy"), "{error}");
    }
    let deliveries = RIG.java.produce(&application, &sent);
    for agent in [RIG.java, shared::librdkafka()] {
        assert_same(
            &sent,
            &deliveries,
            &agent.consume(&application, &from, sent.len()),
        );
    }
    let refused = RIG.java.try_consume(&visitor, &from, 1, Duration::from_secs(10));
    let error = refused.expect_err("no rule names it");
    assert!(error.contains("TopicAuthorizationException"), "{error}");
    for operation in ["produce", "fetch"] {
        wait::until(operation, Duration::from_secs(10), || {
            let words = [
                "sealwire::audit",
                "principal=\"User:CN=visitor\"",
                operation,
                "not_named",
            ];
            let says = |line: &str| words.iter().all(|word| line.contains(word));
            proxy.output().lines().any(says).then_some(())
        });
    }
    proxy.terminate();
}
