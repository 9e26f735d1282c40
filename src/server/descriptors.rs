//! File descriptors: how many the process may have, and how many connections that is enough for.
//!
//! - DESCRIPTORS-1: connections never take the last ones: [`RESERVE`] are left for probes, name look-ups, keystores and state
//!   files, so that `/livez` answers however many clients come.
//! - DESCRIPTORS-2: the soft limit is raised to the hard one first, as servers do: the soft one is low for programs that use
//!   `select`, which this one does not.

use std::fs;

use rlimit::Resource;

/// What the process may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Descriptors {
    limit: u64,
    /// Open before any connection is: rings, ports, and what whoever started the program left open.
    open: u64,
}

impl Descriptors {
    /// Raises the limit as far as may be, and looks what is open.
    pub(super) fn raise() -> Self {
        let limit = match Resource::NOFILE.get() {
            Ok((soft, hard)) if soft < hard && Resource::NOFILE.set(hard, hard).is_ok() => hard,
            Ok((soft, _)) => soft,
            // The kernel's own default.
            Err(_) => SOFT_DEFAULT,
        };
        // Without /proc: what a program has open that serves nothing yet.
        let open = fs::read_dir("/proc/self/fd").map_or(OPEN_DEFAULT, |open| open.count() as u64);
        Self { limit, open }
    }

    /// How many connections are served, of `connections_max` that were asked for; says so where they are fewer.
    pub(super) fn connections(self, connections_max: usize) -> usize {
        let served = self.connections_at_most();
        if served >= connections_max {
            return connections_max;
        }
        tracing::warn!(
            limit = self.limit,
            needed = self.needed(connections_max),
            connections_max,
            connections_served = served,
            "the limit of file descriptors is too low for limits.connections_max: raise it (LimitNOFILE=, ulimit -n)"
        );
        served
    }

    fn connections_at_most(self) -> usize {
        let left = self.limit.saturating_sub(self.open).saturating_sub(RESERVE);
        usize::try_from(left / EACH_CONNECTION)
            .unwrap_or(usize::MAX)
            .max(1)
    }

    fn needed(self, connections: usize) -> u64 {
        (connections as u64)
            .saturating_mul(EACH_CONNECTION)
            .saturating_add(self.open)
            .saturating_add(RESERVE)
    }
}

/// The client's socket and the broker's.
const EACH_CONNECTION: u64 = 2;
/// 32 connections to the admin page, 32 resolvers with two sockets each, sockets that are closed but not gone yet (glommio closes
/// them with the next turn of its ring), and a few files.
const RESERVE: u64 = 192;
const SOFT_DEFAULT: u64 = 1024;
const OPEN_DEFAULT: u64 = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_the_reserve_and_as_many_as_fit_are_served() {
        let with = |limit| Descriptors { limit, open: 30 };
        let enough = with(1000).needed(1000);
        assert_eq!(enough, 2000 + 30 + RESERVE);
        assert_eq!(with(enough).connections(1000), 1000);
        assert_eq!(with(enough - 1).connections(1000), 999);
        assert_eq!(with(0).connections(1000), 1, "one is tried in any case");
    }
}
