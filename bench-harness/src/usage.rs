//! What a process uses, as the kernel counts it.

use std::fs;
use std::time::Duration;

use crate::Failure;

/// CPU time of all threads of process `id`: the first number of each `/proc/ID/task/*/schedstat`, nanoseconds on a
/// core.
///
/// More precise than `/proc/ID/stat`, which counts ticks. Threads that have ended are not in it: measure processes that
/// keep theirs.
pub(crate) fn cpu(id: u32) -> Result<Duration, Failure> {
    let mut total = Duration::ZERO;
    for task in fs::read_dir(format!("/proc/{id}/task"))? {
        let Ok(text) = fs::read_to_string(task?.path().join("schedstat")) else {
            continue;
        };
        let on_core = text.split_ascii_whitespace().next().ok_or("an empty schedstat")?;
        total += Duration::from_nanos(on_core.parse()?);
    }
    Ok(total)
}

/// Memory of process `id`, in bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Memory {
    /// Resident now.
    pub(crate) resident: u64,
    /// The most that ever was.
    pub(crate) peak: u64,
}

/// Reads `VmRSS` and `VmHWM` of `/proc/ID/status`.
pub(crate) fn memory(id: u32) -> Result<Memory, Failure> {
    let status = fs::read_to_string(format!("/proc/{id}/status"))?;
    let kib = |name: &str| -> Result<u64, Failure> {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        let number = line.and_then(|line| line.split_ascii_whitespace().next());
        Ok(number
            .ok_or_else(|| format!("no {name} for process {id}"))?
            .parse()?)
    };
    Ok(Memory {
        resident: kib("VmRSS:")? * 1024,
        peak: kib("VmHWM:")? * 1024,
    })
}

/// Lets this process, and those that it starts, have as many open sockets as the system allows.
pub(crate) fn raise_descriptor_limit() -> Result<u64, Failure> {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit)?;
    Ok(limit.current.unwrap_or(u64::MAX))
}

/// Binds the calling thread to `core`.
pub(crate) fn pin(core: usize) -> Result<(), Failure> {
    let mut set = rustix::thread::CpuSet::new();
    set.set(core);
    rustix::thread::sched_setaffinity(None, &set)?;
    Ok(())
}
