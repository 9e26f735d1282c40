//! Keys late, keys refused: what real clients make of a KMS that delays, refuses or does not answer.
//!
//! Each test has a proxy of its own with a fault layer around one KMS ([`crate::support::faulty_proxy`]); topics under
//! the other KMS show that nobody else is disturbed. Each case has a KEK of its own, so that its keys are not known
//! yet.

use std::sync::LazyLock;
use std::time::Duration;

mod consuming;
mod guarding;
mod producing;
mod refusing;
mod streaming;

use crate::support::agent::Agent;
use crate::support::broker_properties::Login;
use crate::support::faulty_proxy::rules;
use crate::support::rig::Rig;
use crate::support::shared;

/// Its own proxy seals under the same KEKs, and knows nothing of faults.
static RIG: LazyLock<Rig> = LazyLock::new(|| {
    Rig::assemble_with(
        shared::one_broker(),
        Login::Plaintext,
        &KEKS,
        &rules("local", "local"),
    )
});

/// One for each case.
const KEKS: [&str; 24] = [
    "steady", "k0", "k1", "k2", "k3", "k4", "k5", "k6", "k7", "k8", "k9", "k10", "k11", "k12", "k13", "k14",
    "k15", "k16", "k17", "k18", "k19", "k20", "k21", "k22",
];

fn agents() -> [&'static Agent; 4] {
    [
        RIG.java,
        shared::librdkafka(),
        shared::aiokafka(),
        shared::franz_go(),
    ]
}

/// How soon after the KMS is well again records flow, apart from what a client's own back-off adds.
const RECOVERY: Duration = Duration::from_secs(1);
/// Longest that a test waits for something that happens at once on an idle machine.
const EVENTUALLY: Duration = Duration::from_secs(30);
