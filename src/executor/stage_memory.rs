//! Memory that a connection holds before it is relayed: on the executor's account, as that of connections that are not
//! logged in (HELD-3).
//!
//! Executor threads only.

use std::cell::Cell;
use std::time::Instant;

use crate::clocks;
use crate::connection::{HalfKey, Holding, Shared};
use crate::ids::ClusterId;
use crate::metrics::Direction;

/// Of one side of a connection, until it is dropped.
pub(super) struct StageMemory<'a> {
    shared: &'a Shared,
    key: HalfKey,
    cluster: ClusterId,
    begun: Instant,
    bytes: Cell<usize>,
}

impl<'a> StageMemory<'a> {
    /// Nothing yet.
    #[expect(clippy::disallowed_methods, reason = "it reads the clock for what decides")]
    pub(super) fn new(shared: &'a Shared, connection: u64, direction: Direction, cluster: ClusterId) -> Self {
        Self {
            shared,
            key: HalfKey {
                connection,
                direction,
            },
            cluster,
            begun: clocks::now(),
            bytes: Cell::new(0),
        }
    }

    pub(super) fn shared(&self) -> &'a Shared {
        self.shared
    }

    /// It holds so many bytes while its peer is waited for.
    pub(super) fn hold(&self, bytes: usize) {
        self.bytes.set(bytes);
        self.park(false);
    }

    /// Whether somebody else is waited for than its peer.
    #[expect(clippy::disallowed_methods, reason = "it reads the clock for what decides")]
    pub(super) fn park(&self, parked: bool) {
        let holding = Holding {
            cluster: self.cluster,
            bytes: self.bytes.get(),
            proven: false,
            paced_at: self.begun,
            parked,
        };
        self.shared.hold(self.key, holding, clocks::now());
    }
}

impl Drop for StageMemory<'_> {
    #[expect(clippy::disallowed_methods, reason = "it reads the clock for what decides")]
    fn drop(&mut self) {
        self.shared.forget(self.key, clocks::now());
    }
}
