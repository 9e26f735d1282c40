//! System calls of a process, counted by `perf stat` in a turn of their own: counting takes time.
//!
//! `perf` is started with its counters off, and told by a named pipe when to count and when not to, so that what it
//! counts is what the load exchanged in between.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::fs::{CWD, FileType, Mode, mknodat};
use serde::Serialize;

use crate::Failure;
use crate::children::{Child, Start, find, pause};

/// Of one turn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct SystemCalls {
    pub(crate) all: u64,
    /// `io_uring_enter`.
    pub(crate) ring_enters: u64,
    /// `read`, `recvfrom` and the like.
    pub(crate) reads: u64,
    /// `write`, `sendto` and the like.
    pub(crate) writes: u64,
    pub(crate) membarriers: u64,
    /// `madvise`, `mmap`, `munmap`.
    pub(crate) memory: u64,
}

/// Counts one process.
pub(crate) struct Tracer {
    perf: Child,
    control: File,
    acknowledged: File,
    report: PathBuf,
}

impl Tracer {
    /// Why it cannot be had, if it cannot.
    pub(crate) fn unavailable() -> Option<String> {
        let Some(perf) = find("perf") else {
            return Some("perf is not installed".to_owned());
        };
        let tried = Command::new(perf)
            .args(["stat", "-e", "raw_syscalls:sys_enter", "--", "true"])
            .output();
        let works = tried.is_ok_and(|output| output.status.success());
        (!works)
            .then(|| "perf may not count system calls here (kernel.perf_event_paranoid, tracefs)".to_owned())
    }

    /// Attaches to `process`; its files go into `directory`.
    pub(crate) fn attach(process: u32, directory: &Path) -> Result<Self, Failure> {
        let perf = find("perf").ok_or("perf is not installed")?;
        let [control, acknowledged, report] =
            ["perf.control", "perf.acknowledged", "perf.csv"].map(|name| directory.join(name));
        for pipe in [&control, &acknowledged] {
            let _ = std::fs::remove_file(pipe);
            mknodat(CWD, pipe, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0)?;
        }
        // Opened for both, so that neither side waits for the other to open.
        let open = |path: &Path| OpenOptions::new().read(true).write(true).open(path);
        let (control_file, acknowledged_file) = (open(&control)?, open(&acknowledged)?);
        let process = process.to_string();
        let pipes = format!("fifo:{},{}", control.display(), acknowledged.display());
        let events: Vec<String> = EVENTS.iter().map(|(_, event)| (*event).to_owned()).collect();
        let events = events.join(",");
        let report_path = report.as_os_str();
        let mut arguments: Vec<&std::ffi::OsStr> =
            ["stat", "-x", ",", "-D", "-1", "-e", &events, "-p", &process]
                .map(std::ffi::OsStr::new)
                .into();
        arguments.extend(["--control", &pipes, "-o"].map(std::ffi::OsStr::new));
        arguments.push(report_path);
        let perf = Child::start(&Start {
            program: &perf,
            arguments,
            core: None,
            log: &directory.join("perf.log"),
        })?;
        Ok(Self {
            perf,
            control: control_file,
            acknowledged: acknowledged_file,
            report,
        })
    }

    /// From now on.
    pub(crate) fn begin(&mut self) -> Result<(), Failure> {
        self.tell("enable")
    }

    /// Until now.
    pub(crate) fn end(mut self) -> Result<SystemCalls, Failure> {
        self.tell("disable")?;
        self.perf.interrupt();
        let deadline = Instant::now() + PATIENCE;
        loop {
            if self.perf.check().is_err() {
                return parse(&std::fs::read_to_string(&self.report)?);
            }
            if Instant::now() > deadline {
                return Err("perf does not end".into());
            }
            pause(Duration::from_millis(10));
        }
    }

    fn tell(&mut self, word: &str) -> Result<(), Failure> {
        self.perf.check()?;
        self.control.write_all(format!("{word}\n").as_bytes())?;
        let mut answer = [0; 5];
        self.acknowledged.read_exact(&mut answer)?;
        Ok(())
    }
}

type Field = fn(&mut SystemCalls) -> &mut u64;

/// What is counted, and as what.
const EVENTS: &[(Field, &str)] = &[
    (|calls| &mut calls.all, "raw_syscalls:sys_enter"),
    (
        |calls| &mut calls.ring_enters,
        "syscalls:sys_enter_io_uring_enter",
    ),
    (|calls| &mut calls.reads, "syscalls:sys_enter_read"),
    (|calls| &mut calls.reads, "syscalls:sys_enter_readv"),
    (|calls| &mut calls.reads, "syscalls:sys_enter_recvfrom"),
    (|calls| &mut calls.reads, "syscalls:sys_enter_recvmsg"),
    (|calls| &mut calls.writes, "syscalls:sys_enter_write"),
    (|calls| &mut calls.writes, "syscalls:sys_enter_writev"),
    (|calls| &mut calls.writes, "syscalls:sys_enter_sendto"),
    (|calls| &mut calls.writes, "syscalls:sys_enter_sendmsg"),
    (|calls| &mut calls.membarriers, "syscalls:sys_enter_membarrier"),
    (|calls| &mut calls.memory, "syscalls:sys_enter_madvise"),
    (|calls| &mut calls.memory, "syscalls:sys_enter_mmap"),
    (|calls| &mut calls.memory, "syscalls:sys_enter_munmap"),
];

const PATIENCE: Duration = Duration::from_secs(5);

/// Lines of `count,unit,event,…`.
fn parse(report: &str) -> Result<SystemCalls, Failure> {
    let mut calls = SystemCalls::default();
    for (field, event) in EVENTS {
        let line = report
            .lines()
            .find(|line| line.split(',').nth(2) == Some(*event))
            .ok_or_else(|| format!("perf counted no {event}"))?;
        let count = line.split(',').next().unwrap_or_default();
        *field(&mut calls) += match count {
            // It did not run meanwhile.
            "<not counted>" => 0,
            count => count.parse::<u64>().map_err(|_| format!("perf says {line}"))?,
        };
    }
    Ok(calls)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_added_up_by_kind() {
        let mut report = String::from("# started on a day\n\n");
        for (place, (_, event)) in EVENTS.iter().enumerate() {
            report += &format!("{},,{event},1000,100.00,,\n", 1 << place);
        }
        let calls = parse(&report).unwrap();
        assert_eq!((calls.all, calls.ring_enters), (1, 2));
        assert_eq!(
            (calls.reads, calls.writes),
            (4 + 8 + 16 + 32, 64 + 128 + 256 + 512)
        );
        assert_eq!((calls.membarriers, calls.memory), (1024, 2048 + 4096 + 8192));
        assert!(parse("").is_err());
        assert!(parse(&report.replace("1,,raw", "<not supported>,,raw")).is_err());
    }
}
