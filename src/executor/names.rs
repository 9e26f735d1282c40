//! The addresses of hosts, looked up by the control thread and remembered for a while.
//!
//! Whoever asks waits until its own deadline at most, whatever becomes of the question.
//!
//! Executor threads only.

use std::cell::RefCell;
use std::collections::HashMap;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use crate::clocks;
use crate::config::HostPort;
use crate::connection::Shared;

/// See the module.
#[derive(Default)]
pub(super) struct ResolvedNames(RefCell<HashMap<HostPort, NameState>>);

/// What is known of a host's addresses.
enum NameState {
    Asked { wakers: Vec<Waker>, at: Instant },
    Found { addresses: Vec<SocketAddr>, at: Instant },
    Failed { at: Instant },
}

impl ResolvedNames {
    /// The addresses of a host; empty when there are none, or none that were found by `deadline`.
    #[expect(clippy::disallowed_methods, reason = "it reads the clock for what decides")]
    pub(super) async fn resolve(
        &self,
        host: &HostPort,
        deadline: Instant,
        shared: &Shared,
    ) -> Vec<SocketAddr> {
        let mut alarmed = false;
        poll_fn(|context| {
            let now = clocks::now();
            if now >= deadline {
                return Poll::Ready(Vec::new());
            }
            if !alarmed {
                alarmed = true;
                shared.alarms.borrow_mut().at(context.waker(), deadline);
            }
            let fresh = |at: Instant| now.saturating_duration_since(at) < NAME_KEPT;
            let mut names = self.0.borrow_mut();
            match names.get_mut(host) {
                Some(NameState::Found { addresses, at }) if fresh(*at) => {
                    return Poll::Ready(addresses.clone());
                }
                Some(NameState::Failed { at }) if now.saturating_duration_since(*at) < FAILURE_KEPT => {
                    return Poll::Ready(Vec::new());
                }
                Some(NameState::Asked { wakers, at }) => {
                    if !wakers.iter().any(|known| known.will_wake(context.waker())) {
                        wakers.push(context.waker().clone());
                    }
                    if now.saturating_duration_since(*at) < ANSWER_EXPECTED {
                        return Poll::Pending;
                    }
                    // The request, or its answer, did not fit anywhere.
                    *at = now;
                }
                _ => {
                    if names.len() >= NAMES_MAX {
                        names.retain(|_, state| matches!(state, NameState::Asked { .. }));
                    }
                    let wakers = vec![context.waker().clone()];
                    names.insert(host.clone(), NameState::Asked { wakers, at: now });
                }
            }
            drop(names);
            shared.errands.resolve(host.clone());
            Poll::Pending
        })
        .await
    }

    /// The control thread's answer to a look-up.
    #[expect(clippy::disallowed_methods, reason = "it reads the clock for what decides")]
    pub(super) fn resolved(&self, host: HostPort, addresses: Vec<SocketAddr>) {
        let at = clocks::now();
        let state = if addresses.is_empty() {
            NameState::Failed { at }
        } else {
            NameState::Found { addresses, at }
        };
        if let Some(NameState::Asked { wakers, .. }) = self.0.borrow_mut().insert(host, state) {
            wakers.into_iter().for_each(Waker::wake);
        }
    }

    /// No connection came about: the name is looked up again next time.
    pub(super) fn forget(&self, host: &HostPort) {
        let mut names = self.0.borrow_mut();
        if matches!(names.get(host), Some(NameState::Found { .. })) {
            names.remove(host);
        }
    }
}

/// How long a look-up is used again.
const NAME_KEPT: Duration = Duration::from_secs(30);
/// How long a failed look-up is.
const FAILURE_KEPT: Duration = Duration::from_secs(1);
/// How long the control thread takes to answer, whatever resolvers do; it is asked again then.
const ANSWER_EXPECTED: Duration = Duration::from_secs(6);
/// Hosts that are remembered.
const NAMES_MAX: usize = 1024;
