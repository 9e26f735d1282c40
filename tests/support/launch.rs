//! Starting processes that never outlive the test, whatever becomes of it.
//!
//! - LAUNCH-1: a process gets SIGKILL when the thread that started it ends (`setpriv --pdeathsig`), and that thread
//!   lives as long as the test process does.
//! - folders are removed when their value is dropped, and by a watchdog when the test process ends without
//!   dropping (statics, panics in drop, SIGKILL).

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Sender, channel};
use std::sync::{LazyLock, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::{cache, wait};

/// A running process whose output goes to a file.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    name: String,
    log: PathBuf,
}

impl Process {
    /// Standard output and error go to the file `log`.
    pub(crate) fn start(name: &str, command: &Command, log: &Path) -> Self {
        let output = File::options()
            .create(true)
            .append(true)
            .open(log)
            .expect("opening a log file");
        let mut command = tied_to_this_process(command);
        command.stdin(Stdio::null());
        command
            .stdout(output.try_clone().expect("duplicating a log file"))
            .stderr(output);
        Process {
            child: launch(command),
            name: name.to_owned(),
            log: log.to_owned(),
        }
    }

    /// Standard error goes to the file `log`, the other two are pipes.
    pub(crate) fn start_piped(name: &str, command: &Command, log: &Path) -> (Self, ChildStdin, ChildStdout) {
        let mut command = tied_to_this_process(command);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        command.stderr(File::create(log).expect("creating a log file"));
        let mut child = launch(command);
        let input = child.stdin.take().expect("standard input is a pipe");
        let output = child.stdout.take().expect("standard output is a pipe");
        (
            Process {
                child,
                name: name.to_owned(),
                log: log.to_owned(),
            },
            input,
            output,
        )
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// What the process has printed so far.
    pub(crate) fn output(&self) -> String {
        fs::read(&self.log)
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .unwrap_or_default()
    }

    /// Panics, with the end of its log, if the process has ended.
    pub(crate) fn assert_running(&mut self) {
        if let Some(status) = self.child.try_wait().expect("asking for a process") {
            panic!("{} ended with {status}:\n{}", self.name, self.output_end());
        }
    }

    pub(crate) fn output_end(&self) -> String {
        let output = self.output();
        let lines: Vec<&str> = output.lines().collect();
        lines
            .get(lines.len().saturating_sub(60)..)
            .unwrap_or_default()
            .join("\n")
    }

    pub(crate) fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// SIGABRT, as a fault would be, to a process of which the kernel may keep a core as large as it likes; says how it
    /// ended.
    pub(crate) fn abort(&mut self) -> ExitStatus {
        let id = self.id().to_string();
        cache::run(Command::new("prlimit").args(["--core=unlimited:unlimited", "--pid", &id]));
        self.signal("ABRT");
        self.child.wait().expect("it was started")
    }

    /// Sends SIGTERM, and panics if the process is still there after `limit`.
    pub(crate) fn terminate(&mut self, limit: Duration) -> ExitStatus {
        self.signal("TERM");
        let deadline = Instant::now() + limit;
        loop {
            if let Some(status) = self.child.try_wait().expect("asking for a process") {
                return status;
            }
            if Instant::now() >= deadline {
                let end = self.output_end();
                self.kill();
                panic!("{} did not stop within {limit:?} of SIGTERM:\n{end}", self.name);
            }
            wait::pause(Duration::from_millis(20));
        }
    }

    pub(crate) fn signal(&self, signal: &str) {
        let id = self.id().to_string();
        let sent = Command::new("sh")
            .args(["-c", "kill -s \"$1\" \"$2\"", "sh", signal, &id])
            .status();
        assert!(
            sent.is_ok_and(|status| status.success()),
            "cannot send SIG{signal} to {}",
            self.name
        );
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A folder for a process' data, gone when it is dropped or the test process ends.
#[derive(Debug)]
pub(crate) struct DataFolder(TempDir);

impl DataFolder {
    pub(crate) fn create(name: &str) -> Self {
        Self::create_under(&std::env::temp_dir(), name)
    }

    /// In memory, where that has room: brokers wait for the disk with each topic that they create.
    pub(crate) fn create_in_memory(name: &str) -> Self {
        let memory = Path::new("/dev/shm");
        if free_bytes(memory) >= IN_MEMORY_FREE {
            Self::create_under(memory, name)
        } else {
            Self::create(name)
        }
    }

    fn create_under(parent: &Path, name: &str) -> Self {
        let folder = tempfile::Builder::new()
            .prefix(&format!("sealwire-test-{name}-"))
            .tempdir_in(parent)
            .expect("creating a temporary folder");
        let mut watchdog = WATCHDOG
            .lock()
            .expect("no test panics while it holds the watchdog");
        let input = watchdog.stdin.as_mut().expect("standard input is a pipe");
        writeln!(input, "{}", folder.path().display()).expect("telling the watchdog of a folder");
        DataFolder(folder)
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }
}

/// What can be written to the file system there; 0 where that cannot be told.
fn free_bytes(folder: &Path) -> u64 {
    let mut command = Command::new("df");
    command.args(["--block-size=1", "--output=avail"]).arg(folder);
    let told = command
        .output()
        .unwrap_or_else(|error| panic!("cannot start df: {error}"));
    let text = String::from_utf8_lossy(&told.stdout);
    text.lines()
        .nth(1)
        .and_then(|line| line.trim().parse().ok())
        .unwrap_or(0)
}

/// Bytes: many times what the brokers of one process of tests write.
const IN_MEMORY_FREE: u64 = 2 << 30;

fn tied_to_this_process(command: &Command) -> Command {
    let mut tied = Command::new("setpriv");
    cache::leave_cargo(&mut tied);
    tied.args(["--pdeathsig", "KILL", "--"])
        .arg(command.get_program())
        .args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => tied.env(name, value),
            None => tied.env_remove(name),
        };
    }
    if let Some(folder) = command.get_current_dir() {
        tied.current_dir(folder);
    }
    tied
}

/// LAUNCH-1: test threads end with their tests, so they must not be the parent.
fn launch(command: Command) -> Child {
    static LAUNCHER: LazyLock<Mutex<Sender<Launch>>> = LazyLock::new(|| {
        let (orders, inbox) = channel::<Launch>();
        thread::Builder::new()
            .name("launcher".to_owned())
            .spawn(move || {
                for mut order in inbox {
                    let _ = order.reply.send(order.command.spawn());
                }
            })
            .expect("starting the launcher thread");
        Mutex::new(orders)
    });
    let program = format!("{command:?}");
    let (reply, answer) = channel();
    let launcher = LAUNCHER
        .lock()
        .expect("no test panics while it holds the launcher");
    launcher
        .send(Launch { command, reply })
        .expect("the launcher lives as long as the process");
    drop(launcher);
    let started = answer.recv().expect("the launcher answers");
    started.unwrap_or_else(|error| panic!("cannot start {program}: {error}"))
}

struct Launch {
    command: Command,
    reply: Sender<std::io::Result<Child>>,
}

/// Reads folder names until its input ends, which it does when this process does, then removes them. In a session of
/// its own, so that a signal to the test's process group does not reach it. It tries several times: killed brokers may
/// still be writing.
static WATCHDOG: LazyLock<Mutex<Child>> = LazyLock::new(|| {
    let mut command = Command::new("setsid");
    command.args(["sh", "-c", WATCHDOG_SCRIPT]);
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    Mutex::new(command.spawn().expect("starting the watchdog"))
});

const WATCHDOG_SCRIPT: &str = r#"
set --
while IFS= read -r folder; do set -- "$@" "$folder"; done
for attempt in 1 2 3 4 5; do
    rm -rf -- "$@" && exit
    sleep 1
done
"#;
