//! What the process may use: descriptors, lockable memory, io_uring.

use std::fs;

use rlimit::Resource;

use super::descriptors::Descriptors;
use super::{Row, Verdict};
use crate::config::{Config, Executors};
use crate::crypto::memory::mapped_bytes;
use crate::keys::KeyOptions;
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
            locked_keys_bytes(config, executors),
            Resource::MEMLOCK.get().ok().map(|(soft, _)| soft),
            may_lock_all(),
        ),
        io_uring(),
    ]
}

fn locked_keys_bytes(config: &Config, executors: usize) -> u64 {
    let options = KeyOptions::bounded(&config.limits);
    mapped_bytes(options.locked_keys(config.kms.len(), executors)) as u64
}

fn lockable(executors: usize, keys_bytes: u64, limit: Option<u64>, all: bool) -> Row {
    let subject = "lockable memory";
    let needed = (executors as u64)
        .saturating_mul(RINGS_BYTES)
        .saturating_add(keys_bytes);
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
    let mut numbers = release.split('.').map_while(|number| number.parse::<u32>().ok());
    let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    let mode = if version >= (6, 1) {
        "in its fastest mode"
    } else {
        "without ring flags of Linux 6.1, which make small frames cheaper"
    };
    Row::new(
        subject,
        Verdict::Good,
        format!("it works, {mode} (Linux {release})"),
    )
}

/// Locked for the rings of an executor.
const RINGS_BYTES: u64 = 48 * 1024;
const CAP_IPC_LOCK: u32 = 14;

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::testing::configuration::{Cluster, Configuration};

    #[test]
    fn what_is_enough_is_good_and_one_byte_less_is_not() {
        let keys = 1 << 20;
        let needed = 2 * RINGS_BYTES + keys;
        assert_eq!(lockable(2, keys, Some(needed), false).verdict, Verdict::Good);
        assert_eq!(
            lockable(2, keys, Some(needed - 1), false).verdict,
            Verdict::Warning
        );
        assert_eq!(lockable(2, keys, Some(0), true).verdict, Verdict::Good);
        let infinite = Some(rlimit::INFINITY);
        assert_eq!(lockable(2, keys, infinite, false).verdict, Verdict::Good);
        assert_eq!(io_uring().verdict, Verdict::Good, "or no test runs at all");
    }

    /// As docs/operations.md has it.
    #[test]
    fn so_much_is_locked_for_keys() {
        let text = Configuration::default()
            .keystore("local", Path::new("keystore.json"), Path::new("master.key"))
            .cluster(&Cluster::ruled(
                "[[cluster.main.topics]]\nmatch = \"*\"\nkms = \"local\"\nkek = \"any\"\n",
            ))
            .text();
        let mut config = Config::from_toml_text(&text, Path::new("sealwire.toml")).expect("a configuration");
        let sentinel = locked_keys_bytes(&config, 0) - (640 << 10);
        assert!(sentinel <= 64 << 10, "a page: {sentinel}");
        for (executors, bytes) in [(1, (640 + 288) << 10), (4, (640 + 4 * 288) << 10), (80, 4 << 20)] {
            let locked = locked_keys_bytes(&config, executors);
            assert_eq!(locked, bytes + sentinel, "{executors} executors");
        }
        // The kernel's default is enough for eighty executors.
        let row = lockable(80, locked_keys_bytes(&config, 80), Some(8 << 20), false);
        assert_eq!(row.verdict, Verdict::Good);
        config.limits.opened_keys_max = 0;
        assert!(locked_keys_bytes(&config, 1) < (640 + 288) << 10);
        config.kms.clear();
        assert!(locked_keys_bytes(&config, 0) <= 64 << 10);
    }
}
