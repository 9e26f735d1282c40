//! File descriptors: how many the process may have, and how many connections that is enough for.
//!
//! - DESCRIPTORS-1: connections never take the last ones: [`RESERVE`] are left for probes, name look-ups, keystores and
//!   state files, so that `/livez` answers however many clients come.
//! - DESCRIPTORS-2: the soft limit is raised to the hard one first, as servers do: the soft one is low for programs
//!   that use `select`, which this one does not.

use std::fs;

use rlimit::Resource;

use super::{Row, Verdict};
use crate::config::Config;

/// What the process may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Descriptors {
    limit: u64,
    /// Open before any connection is: rings, ports, and what whoever started the program left open.
    open: u64,
}

impl Descriptors {
    /// Raises the limit as far as may be, and looks what is open.
    pub(crate) fn raise() -> Self {
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

    /// What a program with this configuration and so many executors would have.
    pub(super) fn expected(config: &Config, executors: usize) -> Self {
        let listeners = config.clusters.iter().flat_map(|cluster| &cluster.listeners);
        let ports: usize = listeners
            .map(|listener| listener.node_ports.len().saturating_add(1))
            .sum();
        let limit = Resource::NOFILE.get().map_or(SOFT_DEFAULT, |(_, hard)| hard);
        let open = executors.saturating_mul(PER_EXECUTOR).saturating_add(ports) as u64;
        Self {
            limit,
            open: open.saturating_add(FROM_THE_START),
        }
    }

    /// What the self-check says of it.
    pub(super) fn row(self, connections_max: usize) -> Row {
        let (limit, needed) = (self.limit, self.needed(connections_max));
        let served = self.connections_at_most();
        let (verdict, finding) = if served < connections_max {
            let finding = format!(
                "{limit} are allowed, and limits.connections_max = {connections_max} needs {needed}: {served} \
                 connections are served; raise the limit (LimitNOFILE=, ulimit -n), or lower connections_max"
            );
            (Verdict::Warning, finding)
        } else {
            (
                Verdict::Good,
                format!("{limit} are allowed, {needed} may be needed"),
            )
        };
        Row::new("descriptors", verdict, finding)
    }

    /// How many connections are served, of `connections_max` that were asked for; says so where they are fewer.
    pub(crate) fn connections(self, connections_max: usize) -> usize {
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
/// 32 connections to the admin page, 32 resolvers with two sockets each, sockets that are closed but not gone yet
/// (glommio closes them with the next turn of its ring), and a few files.
const RESERVE: u64 = 192;
const SOFT_DEFAULT: u64 = 1024;
const OPEN_DEFAULT: u64 = 64;
/// Rings, timers and wake-ups.
const PER_EXECUTOR: usize = 10;
/// The runtime of the control thread, logs and signals.
const FROM_THE_START: u64 = 20;

#[cfg(test)]
mod tests {
    use super::*;

    /// DESCRIPTORS-2
    #[test]
    fn the_soft_limit_is_raised_to_the_hard_one() {
        let (_, hard) = Resource::NOFILE.get().expect("limits");
        Resource::NOFILE.set(hard - 1, hard).expect("a lower limit");
        assert_eq!(Descriptors::raise().limit, hard);
        assert_eq!(Resource::NOFILE.get().expect("limits"), (hard, hard));
    }

    #[test]
    fn connections_leave_the_reserve_and_as_many_as_fit_are_served() {
        let with = |limit| Descriptors { limit, open: 30 };
        let enough = with(1000).needed(1000);
        assert_eq!(enough, 2000 + 30 + RESERVE);
        assert_eq!(with(enough).connections(1000), 1000);
        assert_eq!(with(enough - 1).connections(1000), 999);
        assert_eq!(with(0).connections(1000), 1, "one is tried in any case");
        assert_eq!(with(enough).row(1000).verdict, Verdict::Good);
        assert_eq!(with(enough - 1).row(1000).verdict, Verdict::Warning);
        assert_eq!(
            with(enough - 1).row(999).verdict,
            Verdict::Good,
            "as it says itself"
        );
    }
}
