//! What the process may use: descriptors, lockable memory, io_uring.

use std::fs;

use rlimit::Resource;

use super::descriptors::Descriptors;
use super::{Row, Verdict};
use crate::config::{Config, Executors};
use crate::ring;

pub(super) fn look(config: &Config, descriptors: Option<Descriptors>) -> Vec<Row> {
    let executors = match config.runtime.executors {
        Executors::Count(count) => count.get(),
        Executors::Auto => std::thread::available_parallelism().map_or(1, Into::into),
    };
    vec![
        descriptors
            .unwrap_or_else(|| Descriptors::expected(config, executors))
            .row(config.limits.connections_max),
        lockable(
            executors,
            Resource::MEMLOCK.get().ok().map(|(soft, _)| soft),
            may_lock_all(),
        ),
        io_uring(),
    ]
}

fn lockable(executors: usize, limit: Option<u64>, all: bool) -> Row {
    let subject = "lockable memory";
    let executors = executors as u64;
    let keys = executors
        .saturating_mul(KEYS_BYTES)
        .saturating_add(SERVICE_KEYS_BYTES);
    let needed = executors
        .saturating_mul(RINGS_BYTES)
        .saturating_add(keys.min(KEYS_BYTES_MAX));
    match limit {
        _ if all => Row::new(subject, Verdict::Good, "this user is exempt from the limit"),
        None => Row::new(
            subject,
            Verdict::Unknown,
            "the kernel does not say how much is allowed",
        ),
        Some(rlimit::INFINITY) => Row::new(subject, Verdict::Good, "as much as wanted"),
        Some(limit) if limit < needed => Row::new(
            subject,
            Verdict::Warning,
            format!(
                "{limit} bytes are allowed, {needed} are needed: raise the memlock limit (LimitMEMLOCK=, ulimit -l)"
            ),
        ),
        Some(limit) => Row::new(
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

/// Locked for the rings of an executor.
const RINGS_BYTES: u64 = 48 * 1024;
/// Locked for the keys that an executor keeps and those on their way to it, with the default limits.
const KEYS_BYTES: u64 = 192 * 1024;
/// Locked for the keys of the key service, with the default limits and one KMS.
const SERVICE_KEYS_BYTES: u64 = 640 * 1024;
/// Locked for keys at most; what finds no place there has one on the heap.
const KEYS_BYTES_MAX: u64 = 4 * 1024 * 1024;
const CAP_IPC_LOCK: u32 = 14;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_enough_is_good_and_one_byte_less_is_not() {
        let needed = 2 * (RINGS_BYTES + KEYS_BYTES) + SERVICE_KEYS_BYTES;
        assert_eq!(lockable(2, Some(needed), false).verdict, Verdict::Good);
        assert_eq!(lockable(2, Some(needed - 1), false).verdict, Verdict::Warning);
        assert_eq!(lockable(2, Some(0), true).verdict, Verdict::Good);
        assert_eq!(lockable(2, Some(rlimit::INFINITY), false).verdict, Verdict::Good);
        // As docs/operations.md has it: the kernel's default is enough for eighty executors.
        assert_eq!(lockable(80, Some(8 << 20), false).verdict, Verdict::Good);
        assert_eq!(io_uring().verdict, Verdict::Good, "or no test runs at all");
    }
}
