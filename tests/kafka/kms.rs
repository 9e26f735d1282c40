//! Each KMS end to end: the program between real clients, a real broker and a real server that keeps the KEKs.
//!
//! What is to hold of every KMS is written once, as a scenario over [`KmsUnderTest`] or [`NetworkKms`]; what is done at
//! a KMS of one kind to bring that about stands in its implementation. A new kind is one more of these, in the lists of
//! [`under_test`].

use std::sync::LazyLock;
use std::thread;
use std::time::Duration;

mod aws;
mod credentials;
mod keystore;
mod lapses;
mod latency;
mod outages;
mod revocations;
mod rotations;
mod site;
mod under_test;
mod vault;

use self::site::Site;
use self::under_test::{ALL, IN_NETWORK, KmsUnderTest, Revocation, Start};
use crate::support::rig::{Rig, Route};
use crate::support::shared;
use crate::support::skipped;

static RIG: LazyLock<Rig> = LazyLock::new(|| Rig::without_proxy(shared::one_broker()));

/// Plays the scenario with each KMS, all at the same time: most of it is waiting.
#[track_caller]
fn each<K: ?Sized>(kinds: &[Start<K>], scenario: impl Fn(&K) + Sync) {
    if Route::chosen() == Route::Direct {
        return skipped::there_is_no_proxy();
    }
    thread::scope(|scope| {
        for start in kinds {
            let scenario = &scenario;
            scope.spawn(move || scenario(&start()));
        }
    });
}

/// Longest that a test waits for something that happens at once on an idle machine.
const EVENTUALLY: Duration = Duration::from_secs(30);
/// How soon after a KMS is back all is well: half a second until that is noticed, and what clients wait themselves.
const RECOVERY: Duration = Duration::from_secs(5);
