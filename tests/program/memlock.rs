//! What the program may lock of memory as an ordinary user: with the kernel's default it is quiet, with too little it
//! says what to do.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use crate::support::configuration::{Cluster, Configuration};
use crate::support::ports::ReservedPort;
use crate::support::wait;

type TestResult = Result<(), Box<dyn std::error::Error>>;

/// An ordinary user: root may lock as much as it likes.
const NOBODY: u32 = 65_534;

/// A folder with a keystore, a configuration and `sealwire`, all of which the ordinary user may read.
fn folder(listen: &ReservedPort, node: &ReservedPort) -> Result<TempDir, Box<dyn std::error::Error>> {
    let folder = TempDir::new()?;
    let run = |arguments: &str| {
        Command::new(env!("CARGO_BIN_EXE_sealwire"))
            .args(arguments.split(' '))
            .current_dir(folder.path())
            .output()
    };
    run("keystore create keystore.json --master-key-file master.key")?;
    run("keystore add keystore.json payments --master-key-file master.key")?;
    fs::write(folder.path().join("sealwire.toml"), config(listen, node))?;
    fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o755))?;
    if rustix::process::geteuid().is_root() {
        for entry in fs::read_dir(folder.path())? {
            chown(entry?.path(), Some(NOBODY), Some(NOBODY))?;
        }
    }
    Ok(folder)
}

/// The proxy, run by an ordinary user who may lock so much memory.
fn spawn(folder: &Path, executors: usize, memlock_kib: u32, log: &str) -> std::io::Result<Child> {
    let mut shell = Command::new("sh");
    shell
        .arg("-c")
        .arg(format!("ulimit -l {memlock_kib} && exec \"$@\""))
        .args(["sh", env!("CARGO_BIN_EXE_sealwire")])
        .args(["run", "--config", "sealwire.toml", "--set"])
        .arg(format!("runtime.executors={executors}"))
        .current_dir(folder)
        .stdout(Stdio::null())
        .stderr(fs::File::create(folder.join(log))?);
    if rustix::process::geteuid().is_root() {
        shell.uid(NOBODY).gid(NOBODY);
    }
    shell.spawn()
}

/// The log once it says `what`, or once the program has ended.
fn log_with(
    folder: &Path,
    log: &str,
    what: &str,
    child: &mut Child,
) -> Result<String, Box<dyn std::error::Error>> {
    let mut read = || -> Result<Option<String>, Box<dyn std::error::Error>> {
        let ended = child.try_wait()?.is_some();
        let text = fs::read_to_string(folder.join(log))?;
        Ok((ended || text.contains(what)).then_some(text))
    };
    wait::until(what, Duration::from_secs(60), || read().transpose())
}

/// RING-3
#[test]
fn eight_executors_start_without_a_warning_under_the_kernels_default() -> TestResult {
    let (listen, node) = (ReservedPort::take(), ReservedPort::take());
    let folder = folder(&listen, &node)?;
    let mut child = spawn(folder.path(), 8, 8192, "log")?;
    let log = log_with(folder.path(), "log", "sealwire serves", &mut child)?;
    child.kill()?;
    child.wait()?;
    assert!(log.contains("sealwire serves"), "{log}");
    assert!(log.contains("keys_locked=true"), "{log}");
    assert!(!log.contains("registering buffers"), "{log}");
    assert!(!log.contains("does not protect key memory fully"), "{log}");
    Ok(())
}

/// 512 KiB is what starts; at less the message is the documented one.
#[test]
fn too_little_is_said_in_the_documented_words() -> TestResult {
    let (listen, node) = (ReservedPort::take(), ReservedPort::take());
    let folder = folder(&listen, &node)?;
    for (kib, starts) in [(64, false), (511, false), (512, true)] {
        let log = format!("log-{kib}");
        let mut child = spawn(folder.path(), 1, kib, &log)?;
        let text = log_with(folder.path(), &log, "sealwire serves", &mut child)?;
        child.kill()?;
        child.wait()?;
        assert_eq!(text.contains("sealwire serves"), starts, "{kib}: {text}");
        assert_eq!(
            text.contains("io_uring may not lock enough memory"),
            !starts,
            "{kib}: {text}"
        );
        assert!(!text.contains("MemLockLimit"), "{kib}: {text}");
        // The keys do not fit, which is said as well.
        assert_eq!(
            text.contains("does not protect key memory fully"),
            starts,
            "{kib}: {text}"
        );
    }
    Ok(())
}

fn config(listen: &ReservedPort, node: &ReservedPort) -> String {
    Configuration::default()
        .keystore("local", Path::new("keystore.json"), Path::new("master.key"))
        .cluster(&Cluster {
            brokers: vec!["127.0.0.1:9".to_owned()],
            port: listen.number(),
            nodes: vec![(0, node.number())],
            rules: "[[cluster.main.topics]]\nmatch = \"*\"\nkms = \"local\"\nkek = \"payments\"",
            ..Cluster::default()
        })
        .text()
}
