//! HAProxy as a TCP relay: what everything is measured against.

use std::ffi::OsStr;
use std::net::TcpStream;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::Failure;
use crate::children::{Child, Start, find, pause};

/// Starts HAProxy on `core`, one thread, relaying `port` to `broker_port` with buffers of 64 KiB.
pub(crate) fn start(directory: &Path, core: usize, port: u16, broker_port: u16) -> Result<Child, Failure> {
    let program = find("haproxy").ok_or("haproxy is not installed (Debian: apt-get install haproxy)")?;
    let configuration = directory.join("haproxy.cfg");
    std::fs::write(&configuration, configuration_text(port, broker_port))?;
    let mut child = Child::start(&Start {
        program: &program,
        arguments: vec![OsStr::new("-db"), OsStr::new("-f"), configuration.as_os_str()],
        core: Some(core),
        log: &directory.join("haproxy.log"),
    })?;
    let deadline = Instant::now() + Duration::from_secs(5);
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        child.check()?;
        if Instant::now() > deadline {
            return Err("haproxy does not listen".into());
        }
        pause(Duration::from_millis(10));
    }
    Ok(child)
}

fn configuration_text(port: u16, broker_port: u16) -> String {
    format!(
        "global\n    nbthread 1\n    tune.bufsize 65536\n    maxconn 8192\n\
         defaults\n    mode tcp\n    timeout connect 5s\n    timeout client 10m\n    timeout server 10m\n\
         frontend relay\n    bind 127.0.0.1:{port}\n    default_backend broker\n\
         backend broker\n    server broker 127.0.0.1:{broker_port}\n"
    )
}

/// The version line that HAProxy prints.
pub(crate) fn version() -> Option<String> {
    let output = std::process::Command::new(find("haproxy")?)
        .arg("-v")
        .output()
        .ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.split_ascii_whitespace().nth(2).map(str::to_owned)
}
