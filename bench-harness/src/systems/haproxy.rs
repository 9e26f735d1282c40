//! HAProxy as a TCP relay: what everything is measured against.

use std::ffi::OsStr;
use std::net::TcpStream;
use std::path::Path;
use std::time::{Duration, Instant};

use super::{HAPROXY_16K, HAPROXY_64K, Site};
use crate::children::{Child, Start, find, pause};
use crate::{Failure, ports};

/// `tune.bufsize` of the system of that name, if it is a HAProxy.
pub(super) fn buffer_bytes(name: &str) -> Option<usize> {
    match name {
        HAPROXY_16K => Some(16 << 10),
        HAPROXY_64K => Some(64 << 10),
        _ => None,
    }
}

/// Why there is none.
pub(super) fn unavailable() -> Option<String> {
    let missing = find("haproxy").is_none();
    missing.then(|| "haproxy is not installed (Debian: apt-get install haproxy)".to_owned())
}

/// Starts HAProxy as the system `name` of `site`, one thread, with buffers of `bytes` and room for `connections`, and
/// says where it listens.
pub(super) fn start(
    directory: &Path,
    name: &str,
    bytes: usize,
    connections: usize,
    site: &Site,
) -> Result<(Child, u16), Failure> {
    let program = find("haproxy").ok_or("haproxy is not installed")?;
    let (port, broker_port) = site.ports(name);
    let port = match port {
        Some(port) => port,
        None => ports::free::<1>()?[0],
    };
    let configuration = directory.join(format!("haproxy-{bytes}.cfg"));
    std::fs::write(
        &configuration,
        configuration_text(bytes, connections, port, broker_port),
    )?;
    let mut child = Child::start(&Start {
        program: &program,
        arguments: vec![OsStr::new("-db"), OsStr::new("-f"), configuration.as_os_str()],
        core: site.relay_core,
        log: &directory.join(format!("haproxy-{bytes}.log")),
    })?;
    let deadline = Instant::now() + Duration::from_secs(5);
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        child.check()?;
        if Instant::now() > deadline {
            return Err("haproxy does not listen".into());
        }
        pause(Duration::from_millis(10));
    }
    Ok((child, port))
}

fn configuration_text(bytes: usize, connections: usize, port: u16, broker_port: u16) -> String {
    format!(
        "global\n    nbthread 1\n    tune.bufsize {bytes}\n    maxconn {connections}\n\
         defaults\n    mode tcp\n    timeout connect 5s\n    timeout client 10m\n    timeout server 10m\n\
         frontend relay\n    bind 127.0.0.1:{port}\n    default_backend broker\n\
         backend broker\n    server broker 127.0.0.1:{broker_port}\n"
    )
}

/// The version that HAProxy says.
pub(super) fn version() -> Option<String> {
    let output = std::process::Command::new(find("haproxy")?)
        .arg("-v")
        .output()
        .ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.split_ascii_whitespace().nth(2).map(str::to_owned)
}
