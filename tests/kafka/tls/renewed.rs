//! Certificates, authorities and revocation lists are replaced while records flow: what is connected stays so, and new
//! connections use what is new.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::time::Duration;

use super::PROXIES;
use super::every_way::RIG;
use crate::support::broker_properties::Login;
use crate::support::certificates::{self, Authorities, Identity};
use crate::support::configuration::ListenerTls;
use crate::support::launch::DataFolder;
use crate::support::operations::{ClientTls, From, Options};
use crate::support::proxy::{Proxy, ProxyTls};
use crate::support::shared;
use crate::support::skipped;
use crate::support::streams::assert_exactly_once;
use crate::support::wait;

/// As Kubernetes shows a secret: a link to a folder, which is put in place of the one before at one stroke.
struct Secret {
    folder: DataFolder,
    states: u32,
}

impl Secret {
    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join("live").join(name)
    }

    fn show(&mut self, server: (&str, &str), revoked: &str, upstream: &Identity) {
        self.states += 1;
        let name = self.states.to_string();
        let folder = self.folder.path().join(&name);
        fs::create_dir(&folder).expect("a folder is made");
        let (chain, key) = server;
        fs::write(folder.join("server.pem"), chain).expect("a file is written");
        fs::write(folder.join("clients.crl"), revoked).expect("a file is written");
        for (file, text) in [("server.key", key), ("proxy.key", &upstream.issued.key)] {
            write_secretly(&folder.join(file), text);
        }
        fs::write(folder.join("proxy.pem"), &upstream.issued.chain).expect("a file is written");
        let next = self.folder.path().join("next");
        symlink(name, &next).expect("a link is made");
        fs::rename(next, self.folder.path().join("live")).expect("it takes the place of the one before");
    }

    fn tls(&self) -> ProxyTls {
        let brokers = certificates::of_brokers().authorities.of_servers();
        ProxyTls {
            listener: Some(ListenerTls {
                certificate: self.file("server.pem"),
                key: self.file("server.key"),
                client_ca: Some(PROXIES.authorities.of_clients()),
                more: format!("crl = [{:?}]", self.file("clients.crl")),
            }),
            upstream: Some(format!(
                "ca = {brokers:?}\ncertificate = {:?}\nkey = {:?}\n",
                self.file("proxy.pem"),
                self.file("proxy.key")
            )),
            ..ProxyTls::default()
        }
    }
}

#[test]
fn files_are_replaced_under_load() {
    let _alone = shared::under_load();
    let rig = &*RIG;
    let clients = &PROXIES.authorities;
    let (staying, leaving) = (&PROXIES.client, clients.client("leaving", None));
    let nobody = clients.revoked(&[]);
    let before = &PROXIES.server;
    let mut secret = Secret {
        folder: DataFolder::create("secret"),
        states: 0,
    };
    secret.show(
        (&before.issued.chain, &before.issued.key),
        &nobody,
        &PROXIES.upstream,
    );
    let Some(mut proxy) = rig.another_proxy_with_tls(Login::MutualTls, &secret.tls()) else {
        return skipped::there_is_no_proxy();
    };
    let old_trust =
        |identity: &Identity| ClientTls::believing(clients.of_servers()).showing(&identity.together);
    let at_proxy = |tls: &ClientTls| Options::at(proxy.bootstrap()).tls(tls);
    let streams = [(rig.java, &leaving), (shared::librdkafka(), staying)].map(|(agent, identity)| {
        let topic = rig.topic("sealed-renewed", 1);
        let options = at_proxy(&old_trust(identity));
        let producer = agent.stream_produce(&options.clone().set("idempotent", true), &topic, 1, 100);
        let consumer = agent.stream_consume(&options, &From::partitions(&topic, 1));
        agent.stream_await(&consumer, 100);
        (agent, producer, consumer)
    });
    assert_eq!(reach(&proxy, &old_trust(&leaving)), Ok(()));
    let path = format!("path=\"{}\"", secret.file("clients.crl").display());
    let left = proxy.metric("sealwire_tls_revocations_left_seconds", &[&path]);
    let days = left / 86_400.0;
    assert!((6.9..=7.0).contains(&days), "{days} days");

    // Another authority vouches for the server, a client is revoked, and brokers see another certificate.
    let after = Authorities::create("next");
    let server = after.server("server", None);
    let upstream = certificates::of_brokers().authorities.client("sealwire", None);
    let revoked = clients.revoked(&[&leaving]);
    secret.show((&server.issued.chain, &server.issued.key), &revoked, &upstream);
    await_lines(&proxy, "new connections use what they hold now", 2);
    let new_trust =
        |identity: &Identity| ClientTls::believing(after.of_servers()).showing(&identity.together);
    assert_eq!(reach(&proxy, &new_trust(staying)), Ok(()), "{}", proxy.output());
    let refused = |tls: &ClientTls| reach(&proxy, tls).expect_err("it was let in");
    assert!(refused(&old_trust(staying)).contains("unknown authority"));
    let error = refused(&new_trust(&leaving));
    assert!(error.contains("revoked"), "{error}");
    assert_eq!(current(&proxy, "clients"), 1.0);

    // A key of another certificate changes nothing.
    secret.show((&server.issued.chain, &before.issued.key), &revoked, &upstream);
    await_lines(&proxy, "cannot be used: what was read before stays in force", 1);
    assert_eq!(
        (current(&proxy, "clients"), current(&proxy, "brokers")),
        (0.0, 1.0)
    );
    assert_eq!(reach(&proxy, &new_trust(staying)), Ok(()));

    for (agent, producer, consumer) in streams {
        let count = agent.stream_status(&consumer).count;
        agent.stream_await(&consumer, count + 100);
        // One to bootstrap and one to the broker, both from before; the other library does not count them.
        let connections = agent.stream_status(&producer).connections;
        assert!(connections <= 2.0, "{connections} connections");
        assert_exactly_once(agent, producer, consumer);
    }
    proxy.terminate();
}

fn reach(proxy: &Proxy, tls: &ClientTls) -> Result<(), String> {
    shared::franz_go().try_reach(&Options::at(proxy.bootstrap()).tls(tls), LIMIT)
}

/// Whether the files of one side are what is in force.
fn current(proxy: &Proxy, side: &str) -> f64 {
    proxy.metric("sealwire_tls_files_current", &[&format!("side=\"{side}\"")])
}

/// Returns when this stands in so many lines of the log.
fn await_lines(proxy: &Proxy, text: &str, lines: usize) {
    wait::until(text, LIMIT, || {
        (proxy.output().matches(text).count() >= lines).then_some(())
    });
}

fn write_secretly(path: &PathBuf, text: &str) {
    use std::os::unix::fs::PermissionsExt as _;

    fs::write(path, text).expect("a key is written");
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).expect("it is its owner's");
}

/// Files are looked at every ten seconds.
const LIMIT: Duration = Duration::from_secs(40);
