//! What one address, or one principal, may take of an executor: connections, and logins that fail.
//!
//! - SHARES-1: a connection is counted for as long as its [`Share`] is there, however it ends.
//! - SHARES-2: logins that fail are counted by the minute, of so many addresses; the one that was silent for longest is
//!   forgotten.
//! - SHARES-3: the acceptor is told of an address that is shut out, when it comes all the same: once, and again as long
//!   as its queue is full.
//!
//! Executor threads only.

use std::cell::RefCell;
use std::collections::HashMap;
use std::net::IpAddr;
use std::num::NonZeroUsize;
use std::rc::Rc;
use std::time::{Duration, Instant};

use lru::LruCache;

use crate::channel::Sender;
use crate::config::Limits;
use crate::identity::Principal;
use crate::ids::ClusterId;
use crate::messages::ShutOut;

/// See the module.
pub(super) struct Shares {
    per_address: usize,
    per_principal: usize,
    failures_max: usize,
    connections: RefCell<HashMap<Holder, usize>>,
    failures: RefCell<LruCache<IpAddr, Failures>>,
    door: Sender<ShutOut>,
}

/// Who has connections. A principal means something only with its cluster.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Holder {
    Address(IpAddr),
    Principal(ClusterId, Principal),
}

struct Failures {
    since: Instant,
    count: usize,
    /// The acceptor knows that there were too many.
    is_told: bool,
}

/// One connection of somebody's (SHARES-1).
pub(super) struct Share {
    shares: Rc<Shares>,
    holder: Holder,
}

impl Shares {
    /// Those of each of so many executors; `door` leads to the acceptor.
    pub(super) fn new(limits: &Limits, executors: usize, door: Sender<ShutOut>) -> Self {
        let of_each = |all: usize| all.div_ceil(executors.max(1));
        Self {
            per_address: of_each(limits.connections_per_address_max),
            per_principal: of_each(limits.connections_per_principal_max),
            failures_max: of_each(limits.failed_logins_per_address_max),
            connections: RefCell::default(),
            failures: RefCell::new(LruCache::new(ADDRESSES_MAX)),
            door,
        }
    }

    /// One more connection of this one; `None` where he has all that he may have.
    pub(super) fn take(self: &Rc<Self>, holder: Holder) -> Option<Share> {
        let most = match holder {
            Holder::Address(_) => self.per_address,
            Holder::Principal(..) => self.per_principal,
        };
        let mut connections = self.connections.borrow_mut();
        let count = connections.get(&holder).copied().unwrap_or(0);
        if count >= most {
            return None;
        }
        connections.insert(holder.clone(), count.saturating_add(1));
        Some(Share {
            shares: Rc::clone(self),
            holder,
        })
    }

    /// Whether somebody at this address may try to log in.
    pub(super) fn may_log_in(&self, address: IpAddr, now: Instant) -> bool {
        let mut failures = self.failures.borrow_mut();
        let failures = failures.peek_mut(&address);
        let too_many =
            failures.filter(|failures| !failures.are_over(now) && failures.count >= self.failures_max);
        let Some(failures) = too_many else {
            return true;
        };
        if !failures.is_told
            && let Some(until) = failures.since.checked_add(COUNTED_FOR)
        {
            // SHARES-3
            failures.is_told = self.door.try_send(ShutOut { address, until }).is_ok();
        }
        false
    }

    /// A login from this address has failed.
    pub(super) fn failed(&self, address: IpAddr, now: Instant) {
        let mut failures = self.failures.borrow_mut();
        let failures = failures.get_or_insert_mut(address, || Failures::since(now));
        if failures.are_over(now) {
            *failures = Failures::since(now);
        }
        failures.count = failures.count.saturating_add(1);
    }
}

impl Failures {
    fn since(now: Instant) -> Self {
        Self {
            since: now,
            count: 0,
            is_told: false,
        }
    }

    fn are_over(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.since) >= COUNTED_FOR
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut connections = self.shares.connections.borrow_mut();
        if let Some(count) = connections.get_mut(&self.holder) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                connections.remove(&self.holder);
            }
        }
    }
}

const COUNTED_FOR: Duration = Duration::from_secs(60);
const ADDRESSES_MAX: NonZeroUsize = NonZeroUsize::new(10_000).expect("it is not zero");

#[cfg(test)]
mod tests {
    use super::*;
    use crate::channel::channel;
    use crate::ids::Id as _;

    fn shares(limits: Limits, executors: usize) -> Rc<Shares> {
        Rc::new(Shares::new(&limits, executors, channel(1).0))
    }

    fn address(last: u8) -> IpAddr {
        [10, 0, 0, last].into()
    }

    /// SHARES-1
    #[test]
    fn an_address_has_its_share_and_gets_it_back() {
        let limits = Limits {
            connections_per_address_max: 5,
            ..Limits::default()
        };
        let shares = shares(limits, 2);
        let take = |last| shares.take(Holder::Address(address(last)));
        let mut held: Vec<_> = (0..3).map(|_| take(1).expect("there are three")).collect();
        assert!(take(1).is_none(), "half of five, and what is over");
        assert!(take(2).is_some(), "that of another one");
        held.pop();
        held.push(take(1).expect("one is free"));
        drop(held);
        assert!(shares.connections.borrow().is_empty());
    }

    #[test]
    fn a_principal_is_one_of_its_cluster() {
        let limits = Limits {
            connections_per_principal_max: 1,
            ..Limits::default()
        };
        let shares = shares(limits, 1);
        let alice = Principal::named("alice").expect("a name");
        let take = |cluster| shares.take(Holder::Principal(ClusterId::from_number(cluster), alice.clone()));
        let (first, again, elsewhere) = (take(0), take(0), take(1));
        assert!(first.is_some() && again.is_none() && elsewhere.is_some());
    }

    /// SHARES-2
    #[test]
    fn who_fails_too_often_waits_for_the_minute_to_end() {
        let limits = Limits {
            failed_logins_per_address_max: 3,
            ..Limits::default()
        };
        let (shares, now) = (shares(limits, 1), Instant::now());
        for _ in 0..3 {
            assert!(shares.may_log_in(address(1), now));
            shares.failed(address(1), now);
        }
        let later = now + COUNTED_FOR - Duration::from_millis(1);
        assert!(!shares.may_log_in(address(1), later));
        assert!(shares.may_log_in(address(2), later));
        assert!(shares.may_log_in(address(1), now + COUNTED_FOR));
        shares.failed(address(1), now + COUNTED_FOR);
        assert!(shares.may_log_in(address(1), now + COUNTED_FOR));
    }

    /// SHARES-3
    #[test]
    fn the_acceptor_is_told_once_of_whoever_comes_although_he_is_shut_out() {
        let limits = Limits {
            failed_logins_per_address_max: 1,
            ..Limits::default()
        };
        let (door, mut told) = channel(1);
        let (shares, now) = (Shares::new(&limits, 1, door), Instant::now());
        for last in [1, 2] {
            shares.failed(address(last), now);
        }
        assert_eq!(told.try_recv(), None, "they have not come again");
        for last in [1, 2, 1, 2] {
            assert!(!shares.may_log_in(address(last), now));
        }
        let told_of = |last, since: Instant| {
            let (address, until) = (address(last), since + COUNTED_FOR);
            Some(ShutOut { address, until })
        };
        assert_eq!(told.try_recv(), told_of(1, now));
        assert_eq!(told.try_recv(), None, "there was no room for another one");
        for last in [1, 2] {
            assert!(!shares.may_log_in(address(last), now));
        }
        assert_eq!(told.try_recv(), told_of(2, now));
        // In a minute of its own it is told of again.
        let later = now + COUNTED_FOR;
        shares.failed(address(1), later);
        assert!(!shares.may_log_in(address(1), later));
        assert_eq!(told.try_recv(), told_of(1, later));
    }
}
