//! HAProxy as a TCP relay: what everything is measured against.

use std::ffi::OsStr;
use std::net::TcpStream;
use std::path::Path;
use std::time::{Duration, Instant};

use super::{HAPROXY_16K, HAPROXY_64K, Site};
use crate::certificates::Certificates;
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
        configuration_text(
            bytes,
            connections,
            [port, broker_port],
            site.certificates.as_ref(),
        ),
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

fn configuration_text(
    bytes: usize,
    connections: usize,
    [port, broker_port]: [u16; 2],
    certificates: Option<&Certificates>,
) -> String {
    let [bind, server] = certificates.map_or_else(Default::default, tls);
    format!(
        "global\n    nbthread 1\n    tune.bufsize {bytes}\n    maxconn {connections}\n\
         defaults\n    mode tcp\n    timeout connect 5s\n    timeout client 10m\n    timeout server 10m\n\
         frontend relay\n    bind 127.0.0.1:{port}{bind}\n    default_backend broker\n\
         backend broker\n    server broker 127.0.0.1:{broker_port}{server}\n"
    )
}

/// What stands behind the address that it listens at, and behind that of the broker. As Sealwire has it, no session is
/// resumed on either side.
fn tls(certificates: &Certificates) -> [String; 2] {
    let authority = certificates.authority.display();
    let mut bind = format!(
        " ssl crt {} ssl-min-ver TLSv1.3 no-tls-tickets",
        certificates.system_in_one.display()
    );
    if certificates.client.is_some() {
        bind += &format!(" ca-file {authority} verify required");
    }
    let server = format!(" ssl verify required ca-file {authority} ssl-min-ver TLSv1.3 no-ssl-reuse");
    [bind, server]
}

/// The version that HAProxy says, with that of its library for TLS.
pub(super) fn version() -> Option<String> {
    let output = std::process::Command::new(find("haproxy")?)
        .arg("-vv")
        .output()
        .ok()?;
    version_in(&String::from_utf8_lossy(&output.stdout))
}

fn version_in(text: &str) -> Option<String> {
    let version = text.split_ascii_whitespace().nth(2)?;
    let library = text.lines().find_map(|line| line.strip_prefix(TLS_LIBRARY));
    let library = library.map_or_else(String::new, |library| format!(", {}", library.trim()));
    Some(format!("{version}{library}"))
}

const TLS_LIBRARY: &str = "Running on OpenSSL version :";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::{Direction, Point, Tls, What};

    #[test]
    fn with_tls_the_broker_is_verified_and_clients_where_they_have_certificates() {
        let directory = tempfile::tempdir().unwrap();
        let mut point = Point::of(What::Pass, Direction::Produce);
        for (kind, verified) in [(Tls::None, 0), (Tls::Rsa, 1), (Tls::Mtls, 2)] {
            point.tls = kind;
            let certificates = Certificates::make(&point, directory.path()).unwrap();
            let text = configuration_text(1 << 16, 1, [1, 2], certificates.as_ref());
            assert_eq!(text.matches("verify required").count(), verified, "{text}");
            assert_eq!(
                text.matches(" ssl ").count(),
                2 * usize::from(verified > 0),
                "{text}"
            );
        }
    }

    #[test]
    fn its_version_is_told_with_that_of_its_library() {
        let said = "HAProxy version 2.6.12-1 2026/10/17 - https://haproxy.org/\nStatus: supported\n\
                    Built with OpenSSL version : OpenSSL 3.0.1 1 Jan 2026\n\
                    Running on OpenSSL version : OpenSSL 3.0.22 25 Aug 2026\n";
        assert_eq!(version_in(said).unwrap(), "2.6.12-1, OpenSSL 3.0.22 25 Aug 2026");
        assert_eq!(version_in("HAProxy version 3.0\n").unwrap(), "3.0");
    }
}
