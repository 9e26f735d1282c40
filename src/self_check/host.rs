//! What the process may use: descriptors, lockable memory, io_uring.

use std::fs;

use super::{Row, Verdict};
use crate::config::{Config, Executors};
use crate::ring;

pub(super) fn look(config: &Config) -> Vec<Row> {
    let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let executors = match config.runtime.executors {
        Executors::Count(count) => count.get(),
        Executors::Auto => std::thread::available_parallelism().map_or(1, Into::into),
    };
    vec![
        // The program raises this one as far as it may.
        descriptors(config, executors, limit(&limits, "Max open files", Which::Hard)),
        lockable(
            executors,
            limit(&limits, "Max locked memory", Which::Soft),
            may_lock_all(),
        ),
        io_uring(),
    ]
}

/// What the kernel allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Limit {
    Unlimited,
    At(u64),
}

/// Each limit is two.
#[derive(Clone, Copy)]
enum Which {
    Soft = 0,
    Hard = 1,
}

/// The limit of this name in the text of proc(5)'s `limits`.
fn limit(limits: &str, name: &str, which: Which) -> Option<Limit> {
    let line = limits.lines().find_map(|line| line.strip_prefix(name))?;
    match line.split_ascii_whitespace().nth(which as usize)? {
        "unlimited" => Some(Limit::Unlimited),
        number => number.parse().ok().map(Limit::At),
    }
}

fn descriptors(config: &Config, executors: usize, limit: Option<Limit>) -> Row {
    let listeners = config.clusters.iter().flat_map(|cluster| &cluster.listeners);
    let ports: usize = listeners
        .map(|listener| listener.node_ports.len().saturating_add(1))
        .sum();
    let connections = config.limits.connections_max;
    let needed = connections
        .saturating_mul(2)
        .saturating_add(ports)
        .saturating_add(executors.saturating_mul(PER_EXECUTOR))
        .saturating_add(BESIDE) as u64;
    let subject = "descriptors";
    match limit {
        None => Row::new(
            subject,
            Verdict::Unknown,
            "the kernel does not say how many are allowed",
        ),
        Some(Limit::At(limit)) if limit < needed => Row::new(
            subject,
            Verdict::Warning,
            format!(
                "{limit} are allowed, and limits.connections_max = {connections} needs {needed}: raise the limit \
                 (LimitNOFILE=, ulimit -n), or lower connections_max"
            ),
        ),
        Some(Limit::At(limit)) => Row::new(
            subject,
            Verdict::Good,
            format!("{limit} are allowed, {needed} may be needed"),
        ),
        Some(Limit::Unlimited) => Row::new(subject, Verdict::Good, "as many as wanted"),
    }
}

fn lockable(executors: usize, limit: Option<Limit>, all: bool) -> Row {
    let subject = "lockable memory";
    let needed = (executors as u64)
        .saturating_mul(RINGS_BYTES.saturating_add(KEYS_BYTES))
        .saturating_add(SERVICE_KEYS_BYTES);
    match limit {
        _ if all => Row::new(subject, Verdict::Good, "this user is exempt from the limit"),
        None => Row::new(
            subject,
            Verdict::Unknown,
            "the kernel does not say how much is allowed",
        ),
        Some(Limit::Unlimited) => Row::new(subject, Verdict::Good, "as much as wanted"),
        Some(Limit::At(limit)) if limit < needed => Row::new(
            subject,
            Verdict::Warning,
            format!(
                "{limit} bytes are allowed, {needed} are needed: raise the memlock limit (LimitMEMLOCK=, ulimit -l)"
            ),
        ),
        Some(Limit::At(limit)) => Row::new(
            subject,
            Verdict::Good,
            format!("{limit} bytes are allowed, {needed} are needed"),
        ),
    }
}

/// CAP_IPC_LOCK, capabilities(7).
fn may_lock_all() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let set = effective.and_then(|set| u64::from_str_radix(set.trim(), 16).ok());
    set.is_some_and(|set| set & (1 << CAP_IPC_LOCK) != 0)
}

fn io_uring() -> Row {
    let subject = "io_uring";
    if let Err(error) = ring::preflight() {
        return Row::new(subject, Verdict::Failed, error.to_string());
    }
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let release = release.trim();
    let major = release
        .split('.')
        .next()
        .and_then(|major| major.parse::<u32>().ok());
    let mode = if major.is_some_and(|major| major >= 6) {
        "in its fastest mode"
    } else {
        "without the ring flags of Linux 6.0, which make small frames cheaper"
    };
    Row::new(
        subject,
        Verdict::Good,
        format!("it works, {mode} (Linux {release})"),
    )
}

/// Rings, timers and wake-ups.
const PER_EXECUTOR: usize = 10;
/// What connections leave to probes, name look-ups and files, and what is open from the start.
const BESIDE: usize = 256;
/// Locked for the rings of an executor.
const RINGS_BYTES: u64 = 48 * 1024;
/// Locked for the keys on their way to an executor.
const KEYS_BYTES: u64 = 32 * 1024;
/// Locked for the keys of the key service, with the default limits and one KMS.
const SERVICE_KEYS_BYTES: u64 = 640 * 1024;
const CAP_IPC_LOCK: u32 = 14;

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: &str = "\
Limit                     Soft Limit           Hard Limit           Units
Max open files            1024                 524288               files
Max locked memory         8388608              8388608              bytes
Max address space         unlimited            unlimited            bytes
";

    #[test]
    fn limits_are_read() {
        let found = |name, which| limit(LIMITS, name, which);
        assert_eq!(found("Max open files", Which::Soft), Some(Limit::At(1024)));
        assert_eq!(found("Max open files", Which::Hard), Some(Limit::At(524_288)));
        assert_eq!(found("Max address space", Which::Soft), Some(Limit::Unlimited));
        assert_eq!(found("Max something", Which::Soft), None);
        let own = fs::read_to_string("/proc/self/limits").expect("proc(5)");
        for name in ["Max open files", "Max locked memory"] {
            assert!(limit(&own, name, Which::Soft).is_some(), "{name}");
        }
    }

    #[test]
    fn what_is_enough_is_good_and_one_byte_less_is_not() {
        let needed = 2 * (RINGS_BYTES + KEYS_BYTES) + SERVICE_KEYS_BYTES;
        assert_eq!(lockable(2, Some(Limit::At(needed)), false).verdict, Verdict::Good);
        assert_eq!(
            lockable(2, Some(Limit::At(needed - 1)), false).verdict,
            Verdict::Warning
        );
        assert_eq!(lockable(2, Some(Limit::At(0)), true).verdict, Verdict::Good);
        assert_eq!(lockable(2, Some(Limit::Unlimited), false).verdict, Verdict::Good);
        assert_eq!(io_uring().verdict, Verdict::Good, "or no test runs at all");
    }
}
