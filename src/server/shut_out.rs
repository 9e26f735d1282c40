//! Addresses that an executor has shut out, because too many logins from there have failed: its connections are closed
//! where they are accepted, before they cost that executor anything.
//!
//! - SHUT-OUT-1: an address is shut out until the point in time that the executor has said, and no longer.
//! - SHUT-OUT-2: so many addresses are known; the one that has not come for longest is forgotten, and the executor
//!   closes its connections itself.

use std::cell::RefCell;
use std::net::IpAddr;
use std::num::NonZeroUsize;
use std::time::Instant;

use lru::LruCache;

use crate::channel::Receiver;
use crate::messages::ShutOut;

/// See the module.
pub(super) struct ShutOutAddresses {
    news: RefCell<Receiver<ShutOut>>,
    known: RefCell<LruCache<IpAddr, Instant>>,
}

impl ShutOutAddresses {
    /// Those of one executor, which are told by `news`.
    pub(super) fn new(news: Receiver<ShutOut>) -> Self {
        Self {
            news: RefCell::new(news),
            known: RefCell::new(LruCache::new(ADDRESSES_MAX)),
        }
    }

    /// Whether nobody from there is let in now.
    pub(super) fn has(&self, address: IpAddr, now: Instant) -> bool {
        let mut known = self.known.borrow_mut();
        while let Some(ShutOut { address, until }) = self.news.borrow_mut().try_recv() {
            known.put(address, until);
        }
        let is_shut_out = known.get(&address).is_some_and(|until| now < *until);
        if !is_shut_out {
            known.pop(&address);
        }
        is_shut_out
    }
}

/// As many as an executor counts failed logins of.
const ADDRESSES_MAX: NonZeroUsize = NonZeroUsize::new(10_000).expect("it is not zero");

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::channel::channel;

    /// SHUT-OUT-1, SHUT-OUT-2
    #[test]
    fn addresses_are_shut_out_for_their_time_and_so_many_of_them() {
        let (sender, news) = channel(ADDRESSES_MAX.get() + 1);
        let (addresses, now) = (ShutOutAddresses::new(news), Instant::now());
        let address = |number: usize| IpAddr::from(u32::try_from(number).expect("a number").to_be_bytes());
        let until = now + Duration::from_secs(60);
        let tell = |number| {
            let address = address(number);
            assert!(sender.try_send(ShutOut { address, until }).is_ok());
        };
        assert!(!addresses.has(address(0), now));
        tell(0);
        assert!(addresses.has(address(0), until - Duration::from_nanos(1)));
        assert!(!addresses.has(address(1), now));
        assert!(!addresses.has(address(0), until));
        assert!(!addresses.has(address(0), now), "it is forgotten then");
        (0..=ADDRESSES_MAX.get()).for_each(tell);
        assert!(!addresses.has(address(0), now), "there is no room for the first");
        assert!(addresses.has(address(1), now) && addresses.has(address(ADDRESSES_MAX.get()), now));
    }
}
