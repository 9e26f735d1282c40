//! The program starts with each configuration file that ships, serves, and ends with exit code 0 on SIGTERM.
//!
//! No cluster is needed: brokers are connected to when the first client comes.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use sealwire::config::{Config, KmsKind, ListenerConfig, MasterKeySource};

use crate::support::HOST;
use crate::support::cache;
use crate::support::launch::{DataFolder, Process};
use crate::support::ports::ReservedPort;
use crate::support::wait;

#[test]
fn the_minimal_file_starts() {
    let mut program = Program::start("minimal.toml");
    program.wait_until_it_is_ready();
    program.wait_until_it_serves();
    program.terminate();
}

#[test]
fn the_production_file_starts() {
    let mut program = Program::start("production.toml");
    let admin = program.wait_until_it_is_ready();
    program.wait_until_it_serves();
    let metrics = get(admin, "/metrics").expect("the admin port answers");
    assert!(
        metrics.starts_with(GOOD) && metrics.contains("sealwire_build_info"),
        "{metrics}"
    );
    program.terminate();
}

/// The program with a copy of a shipped file, beside keystores made by its own commands. Only addresses are overridden,
/// so that tests do not meet and no broker of this host is reached.
struct Program {
    process: Process,
    ports: Vec<ReservedPort>,
    admin: Option<ReservedPort>,
    /// Nobody listens there.
    _broker: ReservedPort,
    _folder: DataFolder,
}

impl Program {
    fn start(file: &str) -> Self {
        let folder = DataFolder::create("shipped");
        let path = folder.path().join(file);
        let shipped = cache::workspace().join("config").join(file);
        fs::copy(&shipped, &path).expect("the shipped file is copied");
        let text = fs::read_to_string(&path).expect("the copy is read");
        let config = Config::from_toml_text(&text, &path).unwrap_or_else(|errors| panic!("{errors}"));
        make_keystores(&config);

        let mut ports = Vec::new();
        let mut settings = Vec::new();
        let broker = ReservedPort::take();
        for cluster in &config.clusters {
            let name = &cluster.name;
            settings.push(format!("cluster.{name}.bootstrap=[\"{}\"]", broker.address()));
            for node in cluster.node_addresses.keys() {
                settings.push(format!(
                    "cluster.{name}.node_addresses.{node}={}",
                    broker.address()
                ));
            }
            let listeners: Vec<String> = cluster
                .listeners
                .iter()
                .map(|listener| on_other_ports(listener, &mut ports))
                .collect();
            settings.push(format!("cluster.{name}.listeners=[{}]", listeners.join(", ")));
        }
        let admin = config.admin.map(|_| ReservedPort::take());
        if let Some(port) = &admin {
            settings.push(format!("admin.listen={}", port.address()));
        }
        let mut command = Command::new(env!("CARGO_BIN_EXE_sealwire"));
        command.args(["run", "--config"]).arg(&path);
        for setting in &settings {
            command.args(["--set", setting]);
        }
        let log = folder.path().join("sealwire.log");
        Self {
            process: Process::start("sealwire", &command, &log),
            ports,
            admin,
            _broker: broker,
            _folder: folder,
        }
    }

    /// Says where its admin port is.
    fn wait_until_it_is_ready(&mut self) -> u16 {
        let admin = self.admin.as_ref().expect("an admin port").number();
        wait::until("/readyz", START_LIMIT, || {
            self.process.assert_running();
            get(admin, "/readyz").filter(|answer| answer.starts_with(GOOD))
        });
        admin
    }

    /// A client of each port is taken in, and disconnected because there is no broker: acceptor, executors and control
    /// thread are all at work then, and signals are listened to.
    fn wait_until_it_serves(&mut self) {
        assert!(!self.ports.is_empty());
        for port in &self.ports {
            let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port.number()));
            let mut client = wait::until("a port to accept", START_LIMIT, || {
                self.process.assert_running();
                TcpStream::connect(address).ok()
            });
            client
                .set_read_timeout(Some(START_LIMIT))
                .expect("a time-out is set");
            // Who says nothing is left alone for a while.
            client.write_all(&[0]).expect("a byte is sent");
            match client.read(&mut [0]) {
                Ok(0) => {}
                Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
                other => panic!("no broker, and the client is not disconnected: {other:?}"),
            }
        }
        let output = self.process.output();
        assert!(
            output.contains("sealwire serves"),
            "no line says what runs:\n{output}"
        );
    }

    fn terminate(&mut self) {
        let status = self.process.terminate(STOP_LIMIT);
        assert_eq!(
            status.code(),
            Some(0),
            "exit code after SIGTERM; the log:\n{}",
            self.process.output_end()
        );
    }
}

/// The listener as it is written, on ports of the test's own and on loopback.
fn on_other_ports(listener: &ListenerConfig, ports: &mut Vec<ReservedPort>) -> String {
    let mut take = || {
        let port = ReservedPort::take();
        let number = port.number();
        ports.push(port);
        number
    };
    let listen = take();
    let node_ports: Vec<u16> = listener.nodes.iter().map(|_| take()).collect();
    format!(
        "{{ name = \"{}\", listen = \"127.0.0.1:{listen}\", client_auth = \"network\", advertised_host = \"{}\", \
         nodes = {:?}, node_ports = {node_ports:?} }}",
        listener.name, listener.advertised_host, listener.nodes
    )
}

fn make_keystores(config: &Config) {
    for kms in &config.kms {
        let KmsKind::File { path, master_key } = &kms.kind else {
            panic!("only file keystores ship")
        };
        let MasterKeySource::File(master_key) = master_key else {
            panic!("the shipped files use key files")
        };
        keystore("create", path, master_key, &[]);
        keystore("add", path, master_key, &["default"]);
    }
}

fn keystore(command: &str, path: &Path, master_key: &Path, names: &[&str]) {
    let mut program = Command::new(env!("CARGO_BIN_EXE_sealwire"));
    program.args(["keystore", command]).arg(path).args(names);
    cache::run(program.arg("--master-key-file").arg(master_key));
}

/// The whole answer; `None` while nobody answers.
fn get(port: u16, path: &str) -> Option<String> {
    let mut socket = TcpStream::connect((HOST, port)).ok()?;
    socket.set_read_timeout(Some(Duration::from_secs(10))).ok()?;
    write!(socket, "GET {path} HTTP/1.1\r\nHost: {HOST}\r\n\r\n").ok()?;
    let mut answer = String::new();
    socket.read_to_string(&mut answer).ok()?;
    Some(answer)
}

const GOOD: &str = "HTTP/1.1 200 ";
const START_LIMIT: Duration = Duration::from_secs(60);
/// `drain_timeout` is 30 s, and there is nothing to drain.
const STOP_LIMIT: Duration = Duration::from_secs(40);
