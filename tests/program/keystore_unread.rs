//! A keystore that changes while the system does not let it be read.

use std::process::Command;
use std::time::Duration;

use crate::support::keystore::Keystore;
use crate::support::proxy::{Proxy, ProxySetup};
use crate::support::wait;

/// What was disabled meanwhile is disabled as soon as the file can be read, though it has not changed again.
#[test]
fn a_change_that_could_not_be_read_is_read_when_it_can_be() {
    let keystore = Keystore::create(&["orders"]);
    let proxy = Proxy::start(&ProxySetup {
        brokers: "127.0.0.1:1".to_owned(),
        nodes: vec![0],
        keystore: &keystore,
        rules: "[[cluster.main.topics]]\nmatch = \"*\"\nkms = \"local\"\nkek = \"orders\"\n",
        executors: 1,
    });
    let said = |text: &str| proxy.output().matches(text).count();
    limit_descriptors(&proxy, "0:");
    keystore.command("disable", &["orders"]);
    wait::until("a look in vain", LIMIT, || (said(UNREAD) > 0).then_some(()));
    wait::pause(2 * LOOKS);
    assert_eq!((said(UNREAD), said(READ)), (1, 0), "it is told of once");
    limit_descriptors(&proxy, "1024:");
    wait::until("the next look", LIMIT, || (said(READ) > 0).then_some(()));
    wait::pause(2 * LOOKS);
    assert_eq!((said(UNREAD), said(READ)), (1, 1), "it is read once");
}

/// The soft limit of open files: a file can be looked at without a descriptor, and not be read.
fn limit_descriptors(proxy: &Proxy, soft: &str) {
    let mut command = Command::new("prlimit");
    command.args(["--pid", &proxy.id().to_string(), &format!("--nofile={soft}")]);
    let status = command.status().expect("prlimit is started");
    assert!(status.success(), "{status}");
}

const UNREAD: &str = "the keystore changed but cannot be used";
const READ: &str = "keystore changed and was read again";

/// The time between two looks.
const LOOKS: Duration = Duration::from_millis(250);
const LIMIT: Duration = Duration::from_secs(30);
