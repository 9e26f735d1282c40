//! What a process uses, as the kernel counts it.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::time::Duration;

use crate::Failure;

/// CPU time of process `id`, thread by thread: the first number of each `/proc/ID/task/*/schedstat`, nanoseconds on a
/// core.
///
/// More precise than `/proc/ID/stat`, which counts ticks. Threads that have ended are not in it: measure processes that
/// keep theirs.
pub(crate) fn cpu(id: u32) -> Result<BTreeMap<OsString, Duration>, Failure> {
    let mut threads = BTreeMap::new();
    for task in fs::read_dir(format!("/proc/{id}/task"))? {
        let task = task?;
        let Ok(text) = fs::read_to_string(task.path().join("schedstat")) else {
            continue;
        };
        let on_core = text.split_ascii_whitespace().next().ok_or("an empty schedstat")?;
        threads.insert(task.file_name(), Duration::from_nanos(on_core.parse()?));
    }
    Ok(threads)
}

/// CPU time of process `id`, with that of threads that have ended, in ticks of 10 ms.
pub(crate) fn cpu_of_all(id: u32) -> Result<Duration, Failure> {
    let stat = fs::read_to_string(format!("/proc/{id}/stat"))?;
    // The name, which may hold anything, is in parentheses; `utime` is the 12th word after it.
    let (_, words) = stat.rsplit_once(')').ok_or("a stat without a name")?;
    let words = words.split_ascii_whitespace().skip(11).take(2);
    let ticks: u64 = words.map(str::parse::<u64>).sum::<Result<_, _>>()?;
    Ok(Duration::from_secs(ticks) / u32::try_from(rustix::param::clock_ticks_per_second())?)
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

/// How often the threads of process `id` have left their core: voluntarily (to sleep until they are woken) and not.
pub(crate) fn switches(id: u32) -> Result<[u64; 2], Failure> {
    let mut total = [0; 2];
    for task in fs::read_dir(format!("/proc/{id}/task"))? {
        let Ok(status) = fs::read_to_string(task?.path().join("status")) else {
            continue;
        };
        for line in status.lines() {
            let names = ["voluntary_ctxt_switches:", "nonvoluntary_ctxt_switches:"];
            for (total, name) in total.iter_mut().zip(names) {
                if let Some(number) = line.strip_prefix(name) {
                    *total += number.trim().parse::<u64>()?;
                }
            }
        }
    }
    Ok(total)
}

/// Lets the peak of process `id` begin anew (proc(5), `clear_refs`); not every kernel lets everybody.
pub(crate) fn reset_peak(id: u32) {
    let _ = fs::write(format!("/proc/{id}/clear_refs"), "5");
}

/// CPU time of the calling thread.
pub(crate) fn own_cpu() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(
        u64::try_from(time.tv_sec).unwrap_or_default(),
        u32::try_from(time.tv_nsec).unwrap_or_default(),
    )
}

/// Nanoseconds as a number that JSON can hold.
pub(crate) fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// Lets this process, and those that it starts, have as many open sockets as the system allows. How many that is.
pub(crate) fn raise_descriptor_limit() -> Result<u64, Failure> {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    let mut most = limit;
    // Some may have more than the hard limit.
    most.maximum = limit.maximum.max(Some(DESCRIPTORS));
    most.current = most.maximum;
    if setrlimit(Resource::Nofile, most).is_err() {
        limit.current = limit.maximum;
        setrlimit(Resource::Nofile, limit)?;
    }
    Ok(getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX))
}

/// For 10 000 connections to each of five systems, both ends in this process.
const DESCRIPTORS: u64 = 250_000;

/// Binds the calling thread to `core`.
pub(crate) fn pin(core: usize) -> Result<(), Failure> {
    let mut set = rustix::thread::CpuSet::new();
    set.set(core);
    rustix::thread::sched_setaffinity(None, &set)?;
    Ok(())
}
