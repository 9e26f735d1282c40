//! Processes that the harness starts, and that must not outlive it.
//!
//! Three nets: a [`Child`] stops its process when it is dropped; SIGINT and SIGTERM stop all of them and exit; and
//! where `setpriv` is there (util-linux), the kernel ends them should the harness be killed outright.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::Failure;

/// A running process.
pub(crate) struct Child {
    process: std::process::Child,
    name: String,
}

/// What to start, and how.
pub(crate) struct Start<'a> {
    /// The program.
    pub(crate) program: &'a Path,
    /// Its arguments.
    pub(crate) arguments: Vec<&'a OsStr>,
    /// The core that it, and all its threads, are bound to.
    pub(crate) core: Option<usize>,
    /// Where its standard error goes.
    pub(crate) log: &'a Path,
}

impl Child {
    /// Starts a process.
    pub(crate) fn start(start: &Start<'_>) -> Result<Self, Failure> {
        let mut line: Vec<&OsStr> = Vec::new();
        let core = start.core.map(|core| core.to_string());
        if on_path("setpriv") {
            line.extend(["setpriv", "--pdeathsig", "TERM", "--"].map(OsStr::new));
        }
        if let Some(core) = &core {
            line.extend(["taskset", "-c", core].map(OsStr::new));
        }
        line.push(start.program.as_os_str());
        line.extend(&start.arguments);
        let name = start.program.display().to_string();
        let (program, arguments) = line.split_first().ok_or("nothing to start")?;
        let log = std::fs::File::create(start.log)?;
        let process = Command::new(program)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .map_err(|error| format!("cannot start {name}: {error}"))?;
        running().insert(process.id());
        Ok(Self { process, name })
    }

    /// Its process id. `setpriv` and `taskset` become the program itself, so this is the program's own.
    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }

    /// An error if the process has ended by itself.
    pub(crate) fn check(&mut self) -> Result<(), Failure> {
        match self.process.try_wait()? {
            None => Ok(()),
            Some(status) => Err(format!("{} ended by itself: {status}", self.name).into()),
        }
    }

    /// Tells the process what Ctrl-C tells a program, and does not wait.
    #[cfg(feature = "measurements")]
    pub(crate) fn interrupt(&self) {
        signal(self.process.id(), Signal::INT);
    }

    /// Asks the process to stop and waits for it; kills it when `patience` is over.
    pub(crate) fn stop(&mut self, patience: Duration) -> Result<ExitStatus, Failure> {
        terminate(self.process.id());
        self.finish(patience)
    }

    /// Waits until the process ends; kills it when `patience` is over.
    pub(crate) fn finish(&mut self, patience: Duration) -> Result<ExitStatus, Failure> {
        let deadline = Instant::now() + patience;
        loop {
            if let Some(status) = self.process.try_wait()? {
                running().remove(&self.process.id());
                return Ok(status);
            }
            if Instant::now() >= deadline {
                self.process.kill()?;
            }
            pause(Duration::from_millis(5));
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        let _ = self.stop(Duration::from_secs(5));
    }
}

/// Lets SIGINT and SIGTERM stop every child before the harness goes.
pub(crate) fn stop_on_signals() -> Result<(), Failure> {
    ctrlc::set_handler(|| {
        #[cfg(feature = "measurements")]
        for said in do_before_leaving() {
            note!("{said}");
        }
        leave(INTERRUPTED)
    })?;
    Ok(())
}

/// Does what is due before it, stops every child and ends the harness. Call it with no lock held that a task needs.
pub(crate) fn leave(code: i32) -> ! {
    #[cfg(feature = "measurements")]
    do_before_leaving();
    let ids: Vec<u32> = running().iter().copied().collect();
    for id in &ids {
        terminate(*id);
    }
    for directory in directories().iter() {
        let _ = std::fs::remove_dir_all(directory);
    }
    // The children's own drain takes a moment; they are not waited for, they have been told.
    std::process::exit(code)
}

/// What is done when the harness is ended early, and what there is to say of it.
#[cfg(feature = "measurements")]
type Task = Box<dyn FnOnce() -> Result<Option<String>, Failure> + Send>;

/// Has `task` done before the harness is ended early. One that is done already has nothing left to do.
#[cfg(feature = "measurements")]
pub(crate) fn before_leaving(task: Task) {
    tasks().push(task);
}

/// What there is to say of it, for whoever has sent a signal.
#[cfg(feature = "measurements")]
pub(crate) fn do_before_leaving() -> Vec<String> {
    let due = std::mem::take(&mut *tasks());
    let failed = |failure: Failure| Some(format!("bench-harness: {failure}"));
    due.into_iter()
        .filter_map(|task| task().unwrap_or_else(failed))
        .collect()
}

#[cfg(feature = "measurements")]
fn tasks() -> std::sync::MutexGuard<'static, Vec<Task>> {
    static TASKS: Mutex<Vec<Task>> = Mutex::new(Vec::new());
    TASKS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A directory for this run's files, removed with the value, and also by a signal.
pub(crate) fn scratch_directory() -> Result<tempfile::TempDir, Failure> {
    let directory = tempfile::Builder::new().prefix("sealwire-harness-").tempdir()?;
    directories().push(directory.path().to_owned());
    Ok(directory)
}

/// What shells report for a program that SIGINT ended.
const INTERRUPTED: i32 = 130;

/// Waits. This is not an executor's thread.
#[expect(
    clippy::disallowed_methods,
    reason = "the harness has threads of its own and no executor"
)]
pub(crate) fn pause(duration: Duration) {
    std::thread::sleep(duration);
}

/// Where `program` is, if it is on the search path or where Debian puts daemons.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let directories = std::env::split_paths(&path).chain([Path::new("/usr/sbin").to_owned()]);
    directories
        .map(|directory| directory.join(program))
        .find(|file| file.is_file())
}

fn on_path(program: &str) -> bool {
    find(program).is_some()
}

fn terminate(id: u32) {
    signal(id, Signal::TERM);
}

fn signal(id: u32, signal: Signal) {
    let pid = i32::try_from(id).ok().and_then(Pid::from_raw);
    if let Some(pid) = pid {
        let _ = kill_process(pid, signal);
    }
}

fn running() -> std::sync::MutexGuard<'static, BTreeSet<u32>> {
    static RUNNING: Mutex<BTreeSet<u32>> = Mutex::new(BTreeSet::new());
    RUNNING.lock().unwrap_or_else(PoisonError::into_inner)
}

fn directories() -> std::sync::MutexGuard<'static, Vec<PathBuf>> {
    static DIRECTORIES: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());
    DIRECTORIES.lock().unwrap_or_else(PoisonError::into_inner)
}
