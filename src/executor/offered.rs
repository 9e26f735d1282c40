//! Which APIs brokers offer, remembered for clients that ask before they have logged in: nothing of theirs goes to a
//! broker until then.
//!
//! - OFFERED-1: a broker is asked in our own name, on a connection of our own, by one client's task at a time for each
//!   cluster and node, and once in [`KEPT`]: strangers cost brokers no more than that.
//! - OFFERED-2: what a client was told is compared with what its own broker says once it is connected to; a client that
//!   was told more is disconnected, and comes back to be told better.
//!
//! Executor threads only.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;

use crate::clocks;
use crate::ids::ClusterId;
use crate::metrics::CloseReason;
use crate::protocol::api_versions::OfferedApis;

/// See the module.
#[derive(Default)]
pub(super) struct Offered(RefCell<HashMap<Place, Rc<Known>>>);

/// The cluster, and the node on whose port the client came.
pub(super) type Place = (ClusterId, Option<i32>);

struct Known {
    /// Held by whoever asks.
    asking: Semaphore,
    answer: RefCell<Option<(Rc<OfferedApis>, Instant)>>,
}

impl Offered {
    /// What is offered at `place`, as `ask` finds out where that is not known.
    #[expect(clippy::disallowed_methods, reason = "it reads the clock for what decides")]
    pub(super) async fn at(
        &self,
        place: Place,
        ask: impl Future<Output = Result<OfferedApis, CloseReason>>,
    ) -> Result<Rc<OfferedApis>, CloseReason> {
        let known = self.known(place);
        if let Some(fresh) = known.fresh(clocks::now()) {
            return Ok(fresh);
        }
        let _asking = known.asking.acquire().await.map_err(|_| CloseReason::Internal)?;
        // Somebody else may have asked meanwhile.
        if let Some(fresh) = known.fresh(clocks::now()) {
            return Ok(fresh);
        }
        let answer = Rc::new(ask.await?);
        *known.answer.borrow_mut() = Some((Rc::clone(&answer), clocks::now()));
        Ok(answer)
    }

    /// A broker at `place` has said this.
    pub(super) fn note(&self, place: Place, answer: OfferedApis, now: Instant) {
        *self.known(place).answer.borrow_mut() = Some((Rc::new(answer), now));
    }

    fn known(&self, place: Place) -> Rc<Known> {
        let mut places = self.0.borrow_mut();
        let known = places.entry(place).or_insert_with(|| {
            Rc::new(Known {
                asking: Semaphore::new(1),
                answer: RefCell::default(),
            })
        });
        Rc::clone(known)
    }
}

impl Known {
    fn fresh(&self, now: Instant) -> Option<Rc<OfferedApis>> {
        let answer = self.answer.borrow();
        let (apis, at) = answer.as_ref()?;
        (now.saturating_duration_since(*at) < KEPT).then(|| Rc::clone(apis))
    }
}

/// Brokers change what they offer when they are restarted with another version.
const KEPT: Duration = Duration::from_secs(60);
