//! Clients that want to shake hands again.

use sealwire::testing::tls_meeting::{Meeting, Version};

use super::{Bench, EVENTUALLY, assert_served};
use crate::openssl::OpenSsl;
use crate::support::wait;

/// TLS-6
#[test]
fn a_renegotiation_is_refused_and_disturbs_nobody() {
    let bench = Bench::start(&[]);
    let mut established = bench.served();
    let mut openssl = OpenSsl::start("s_client", Meeting::of(Version::Tls12), |_, command| {
        command.args(["-brief", "-connect", &bench.proxy.bootstrap()]);
    });
    wait::until("a handshake", EVENTUALLY, || {
        let output = openssl.process.output();
        output.contains("CONNECTION ESTABLISHED").then_some(())
    });
    openssl.types(b"R\n");
    let told = wait::within(EVENTUALLY, || {
        let output = openssl.process.output();
        output.contains("no renegotiation").then_some(())
    });
    assert!(told.is_some(), "{}", openssl.process.output());
    assert_eq!(bench.closed("tls_failed"), 1.0);
    assert_served(&mut established);
    bench.is_quiet_but_for(1);
    let Bench { mut proxy, .. } = bench;
    drop(established);
    proxy.terminate();
}
