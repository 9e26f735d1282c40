//! The admin endpoint of the real program: it answers as soon as the program runs, whether or not there is a cluster.

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::support::configuration::{Cluster, Configuration};

/// Stopped when it goes out of scope.
struct Program {
    child: Child,
    admin_port: u16,
    _directory: tempfile::TempDir,
}

impl Program {
    /// Starts the program with a fresh keystore, in front of a cluster that is not there.
    fn start() -> Self {
        let [listen, node, admin_port, broker] = free_ports();
        Self::start_on(listen, node, admin_port, broker)
    }

    fn start_on(listen: u16, node: u16, admin_port: u16, broker: u16) -> Self {
        Self::start_with(listen, node, admin_port, broker, None)
    }

    /// `remembered`: the port at which the state file says that the node is.
    fn start_with(listen: u16, node: u16, admin_port: u16, broker: u16, remembered: Option<u16>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        for arguments in [&["create"][..], &["add"]] {
            let names: &[&str] = if arguments == ["add"] { &["payments"] } else { &[] };
            let mut keystore = Command::new(env!("CARGO_BIN_EXE_sealwire"));
            keystore
                .current_dir(directory.path())
                .arg("keystore")
                .args(arguments);
            keystore
                .args(["--master-key-file", "master.key", "keystore.json"])
                .args(names);
            assert!(keystore.output().unwrap().status.success());
        }
        let configuration = directory.path().join("sealwire.toml");
        std::fs::write(
            &configuration,
            configuration_text(listen, node, admin_port, broker),
        )
        .unwrap();
        if let Some(port) = remembered {
            let state = format!("{{\"1\": \"127.0.0.1:{port}\"}}");
            std::fs::write(directory.path().join("addresses.json"), state).unwrap();
        }
        Self {
            child: run(&configuration),
            admin_port,
            _directory: directory,
        }
    }

    fn ask(&self, path: &str) -> Option<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.admin_port)).ok()?;
        write!(stream, "GET {path} HTTP/1.1\r\nHost: test\r\n\r\n").ok()?;
        let mut response = String::new();
        stream.read_to_string(&mut response).ok()?;
        Some(response)
    }

    fn wait_until_ready(&mut self) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while !self
            .ask("/readyz")
            .is_some_and(|response| response.starts_with("HTTP/1.1 200"))
        {
            assert!(
                self.child.try_wait().unwrap().is_none(),
                "the program ended by itself"
            );
            assert!(Instant::now() < deadline, "not ready: {:?}", self.ask("/readyz"));
            pause();
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn run(configuration: &Path) -> Child {
    Command::new(env!("CARGO_BIN_EXE_sealwire"))
        .arg("run")
        .arg("--config")
        .arg(configuration)
        .stdin(Stdio::null())
        .spawn()
        .unwrap()
}

fn free_ports<const N: usize>() -> [u16; N] {
    let listeners = [(); N].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    listeners.map(|listener| listener.local_addr().unwrap().port())
}

#[expect(
    clippy::disallowed_methods,
    reason = "a test's own thread; readiness can only be asked for"
)]
fn pause() {
    std::thread::sleep(Duration::from_millis(20));
}

fn configuration_text(listen: u16, node: u16, admin_port: u16, broker: u16) -> String {
    Configuration::with("[runtime]\nexecutors = 2")
        .keystore("local", Path::new("keystore.json"), Path::new("master.key"))
        .cluster(&Cluster {
            brokers: vec![format!("127.0.0.1:{broker}")],
            port: listen,
            nodes: vec![(1, node)],
            rules: "[[cluster.main.topics]]\nmatch = \"payments\"\nkms = \"local\"\nkek = \"payments\"",
            more: "state_file = \"addresses.json\"",
            ..Cluster::default()
        })
        .admin(admin_port)
        .text()
}

#[test]
fn probes_and_metrics_answer_without_a_cluster() {
    let mut program = Program::start();
    program.wait_until_ready();
    let live = program.ask("/livez").unwrap();
    assert!(live.starts_with("HTTP/1.1 200"), "{live}");
    assert!(live.contains("\"executors\":2"), "{live}");
    let metrics = program.ask("/metrics").unwrap();
    for line in [
        "sealwire_executors 2",
        "sealwire_executors_answering 2",
        "sealwire_kms_available{kms=\"local\"} 1",
    ] {
        assert!(
            metrics.lines().any(|found| found == line),
            "{line} is missing from\n{metrics}"
        );
    }
}

/// It had connected to itself until it had no descriptor left. The configuration is refused that names such an address;
/// a state file may hold what a broker has said.
///
/// NAMES-3
#[test]
fn a_broker_that_is_said_to_be_at_the_proxys_own_port_is_not_connected_to() {
    let [listen, node, admin_port, broker] = free_ports();
    for own in [listen, node] {
        let mut refused = Program::start_on(listen, node, admin_port, own);
        assert_eq!(
            refused.child.wait().unwrap().code(),
            Some(2),
            "bootstrap is {own}"
        );

        let mut program = Program::start_with(listen, node, admin_port, broker, Some(own));
        program.wait_until_ready();
        for port in [listen, node] {
            let mut client = TcpStream::connect(("127.0.0.1", port)).unwrap();
            client.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
            client.write_all(&[0; 4]).unwrap();
            match client.read(&mut [0]) {
                Ok(0) => {}
                Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
                other => panic!("it is closed: {other:?}"),
            }
        }
        let metrics = program.ask("/metrics").unwrap();
        let accepted: u32 = metrics
            .lines()
            .filter(|line| line.starts_with("sealwire_connections_accepted_total"))
            .filter_map(|line| line.rsplit(' ').next()?.parse::<u32>().ok())
            .sum();
        assert_eq!(accepted, 2, "and no connection has made another");
    }
}
