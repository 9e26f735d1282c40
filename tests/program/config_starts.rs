//! The program starts with each configuration file that ships, serves, and ends with exit code 0 on SIGTERM.
//!
//! No cluster is needed: brokers are connected to when the first client comes.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use rustls::pki_types::ServerName;
use sealwire::config::{Config, KmsKind, ListenerConfig, MasterKeySource, UpstreamLogin};
use sealwire::kms::file::FileKms;
use sealwire::kms::vault::VaultLogin;
use sealwire::secret_source::SecretSource;
use sealwire::testing::authority::{Authority, Issued, Span, Wanted};
use sealwire::transport::certificates::CertificateFiles;
use sealwire::transport::tls_client::{ClientSet, Trust, UpstreamTls};
use sealwire::transport::tls_server::ListenerTls;
use toml_edit::{Array, DocumentMut, value};

use crate::support::HOST;
use crate::support::cache;
use crate::support::keystore::add_stable_keys;
use crate::support::launch::{DataFolder, Process};
use crate::support::ports::ReservedPort;
use crate::support::secret_files::write_secret;
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

#[test]
fn the_file_with_tls_starts() {
    let mut program = Program::start("tls.toml");
    program.wait_until_it_is_ready();
    program.wait_until_it_serves();
    program.terminate();
}

#[test]
fn the_file_with_certificates_of_clients_starts() {
    let mut program = Program::start("mtls.toml");
    program.wait_until_it_is_ready();
    program.wait_until_it_serves();
    program.terminate();
}

#[test]
fn the_file_with_logins_starts() {
    let mut program = Program::start("sasl.toml");
    program.wait_until_it_is_ready();
    program.wait_until_it_serves();
    // What check-config warns of is in the log: the file of users has nobody in it yet.
    let log = program.process.output();
    let mut lines = log.lines();
    assert!(
        lines.any(|line| line.contains("WARN")
            && line.contains("sasl.toml:")
            && line.contains("cluster.main.topics[0].open_for[0]")
            && line.contains("nobody can log in whom this names")),
        "{log}"
    );
    program.terminate();
}

#[test]
fn the_file_with_logins_at_brokers_starts() {
    let mut program = Program::start("upstream-login.toml");
    program.wait_until_it_is_ready();
    program.wait_until_it_serves();
    program.terminate();
}

#[test]
fn the_file_with_sealed_keys_starts() {
    let mut program = Program::start("keys.toml");
    let admin = program.wait_until_it_is_ready();
    program.wait_until_it_serves();
    let metrics = get(admin, "/metrics").expect("the admin port answers");
    assert!(
        metrics.contains("sealwire_keyring_keys{state=\"usable\"} 1"),
        "{metrics}"
    );
    program.terminate();
}

#[test]
fn the_file_with_a_vault_starts() {
    let mut program = Program::start("kms-vault.toml");
    program.wait_until_it_misses("vault");
    program.wait_until_it_serves();
    program.terminate();
}

#[test]
fn the_file_with_aws_starts() {
    let mut program = Program::start("kms-aws.toml");
    program.wait_until_it_misses("aws");
    program.wait_until_it_serves();
    program.terminate();
}

/// The program with a copy of a shipped file, beside certificates, and keystores made by its own commands. Only
/// addresses are other ones, so that tests do not meet and no broker of this host is reached.
struct Program {
    process: Process,
    ports: Vec<Port>,
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
        make_keyring(&config);
        make_users(&config);
        make_accounts(&config);
        let certificates = Certificates::make(&config, folder.path());
        let (text, ports) = on_other_ports(&text, &config, &certificates);
        fs::write(&path, text).expect("the copy is written");

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

    /// Says that a KMS is not there, before anybody has needed a key.
    fn wait_until_it_misses(&mut self, kms: &str) {
        let admin = self.admin.as_ref().expect("an admin port").number();
        let misses = format!(r#"KMS \"{kms}\" has not answered"#);
        wait::until("/readyz to name the KMS", START_LIMIT, || {
            self.process.assert_running();
            get(admin, "/readyz").filter(|answer| !answer.starts_with(GOOD) && answer.contains(&misses))
        });
    }

    /// A client of each port is taken in, and disconnected because there is no broker: acceptor, executors and control
    /// thread are all at work then, and signals are listened to.
    fn wait_until_it_serves(&mut self) {
        assert!(!self.ports.is_empty());
        for port in &self.ports {
            let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port.port.number()));
            let client = wait::until("a port to accept", START_LIMIT, || {
                self.process.assert_running();
                TcpStream::connect(address).ok()
            });
            client
                .set_read_timeout(Some(START_LIMIT))
                .expect("a time-out is set");
            // Who says nothing is left alone for a while.
            port.assert_disconnects(client);
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

/// The file's text with each listener on ports of the test's own and on loopback, and how a client meets each port.
fn on_other_ports(text: &str, config: &Config, certificates: &Certificates) -> (String, Vec<Port>) {
    let mut document: DocumentMut = text.parse().expect("it was read before");
    let mut ports = Vec::new();
    for cluster in &config.clusters {
        for (index, listener) in cluster.listeners.iter().enumerate() {
            let mut take = || {
                let port = ReservedPort::take();
                let number = port.number();
                let tls = listener.tls.as_ref();
                ports.push(Port {
                    port,
                    tls: tls.map(|tls| certificates.client_of(listener, tls)),
                });
                number
            };
            let table = &mut document["cluster"][&cluster.name]["listeners"][index];
            table["listen"] = value(format!("{HOST}:{}", take()));
            let node_ports = listener.nodes.iter().map(|_| i64::from(take()));
            table["node_ports"] = value(node_ports.collect::<Array>());
        }
    }
    (document.to_string(), ports)
}

/// A port, and what its clients know of TLS, if that is spoken there.
struct Port {
    port: ReservedPort,
    tls: Option<ClientSet>,
}

impl Port {
    /// A client of this port says a byte, and reads until the end.
    fn assert_disconnects(&self, mut socket: TcpStream) {
        let (written, read) = match &self.tls {
            None => (socket.write_all(&[0]), socket.read(&mut [0])),
            Some(tls) => {
                let mut session = tls.session(HOST).expect("it has a name");
                session
                    .complete_io(&mut socket)
                    .unwrap_or_else(|error| panic!("no handshake: {error}"));
                let mut stream = rustls::Stream::new(&mut session, &mut socket);
                (stream.write_all(&[0]), stream.read(&mut [0]))
            }
        };
        written.expect("a byte is sent");
        match read {
            Ok(0) => {}
            Err(error)
                if matches!(
                    error.kind(),
                    ErrorKind::ConnectionReset | ErrorKind::UnexpectedEof
                ) => {}
            other => panic!("no broker, and the client is not disconnected: {other:?}"),
        }
    }
}

/// The files of TLS that a configuration names, and those of its clients.
struct Certificates {
    servers: Authority,
    clients: Authority,
    folder: PathBuf,
}

impl Certificates {
    /// Makes every file that is named.
    fn make(config: &Config, folder: &Path) -> Self {
        let certificates = Self {
            servers: Authority::root("servers"),
            clients: Authority::root("clients"),
            folder: folder.to_owned(),
        };
        let Self { servers, clients, .. } = &certificates;
        for cluster in &config.clusters {
            if let Some(tls) = &cluster.upstream_tls {
                if let Trust::File(path) = &tls.trust {
                    write(path, &Authority::root("brokers").pem());
                }
                if let Some(files) = &tls.client {
                    write_both(files, &clients.issue(&Wanted::named("proxy")));
                }
            }
            for listener in &cluster.listeners {
                let Some(tls) = &listener.tls else { continue };
                for files in &tls.certificates {
                    write_both(
                        files,
                        &servers.issue(&Wanted::for_hosts(&[&listener.advertised_host])),
                    );
                }
                if let Some(path) = &tls.client_ca {
                    write(path, &clients.pem());
                }
                for path in &tls.crl {
                    write(path, &clients.revoke(&[], Span::In(Duration::from_secs(3600))));
                }
            }
        }
        certificates
    }

    /// Who believes this listener, and is let in.
    fn client_of(&self, listener: &ListenerConfig, tls: &ListenerTls) -> ClientSet {
        let ca = self.folder.join("servers-ca.pem");
        write(&ca, &self.servers.pem());
        let client = tls.client_ca.as_ref().map(|_| {
            let issued = self.clients.issue(&Wanted::named("client"));
            issued.write(&self.folder, "client")
        });
        let client = UpstreamTls {
            trust: Trust::File(ca),
            server_name: ServerName::try_from(listener.advertised_host.clone()).ok(),
            client,
            choice: tls.choice.clone(),
        };
        client.load(SystemTime::now()).expect("its files are good")
    }
}

fn write(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().expect("a folder")).expect("it is made");
    fs::write(path, text).expect("it is written");
}

fn write_both(files: &CertificateFiles, issued: &Issued) {
    write(&files.certificate, "");
    let folder = files.certificate.parent().expect("a folder");
    let name = files.certificate.file_stem().expect("a name");
    let written = issued.write(folder, &name.to_string_lossy());
    assert_eq!(&written, files, "a certificate and its key have one name");
}

/// Files of who may log in, by the command that users have.
fn make_users(config: &Config) {
    let listeners = config.clusters.iter().flat_map(|cluster| &cluster.listeners);
    let sasl = listeners.filter_map(|listener| listener.sasl.as_ref());
    for credentials in sasl.filter_map(|sasl| sasl.credentials.as_ref()) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sealwire"));
        cache::run(command.args(["users", "create"]).arg(credentials));
    }
}

fn make_accounts(config: &Config) {
    for cluster in &config.clusters {
        if let Some(UpstreamLogin::PerPrincipal { accounts: path, .. }) = &cluster.upstream_login {
            let account = "[[account]]\nprincipals = [\"User:alice\"]\nmechanism = \"SCRAM-SHA-512\"\n\
                           user = \"payments\"\npassword = \"secret\"\n";
            write_secret(path, account);
        }
    }
}

fn make_keystores(config: &Config) {
    for kms in &config.kms {
        match &kms.kind {
            KmsKind::File {
                path,
                master_key: MasterKeySource::File(master_key),
            } => {
                keystore("create", path, master_key, &[]);
                keystore("add", path, master_key, &["default"]);
            }
            KmsKind::Vault(settings) => {
                if let VaultLogin::AppRole {
                    secret_id: SecretSource::File(path),
                    ..
                } = &settings.login
                {
                    write_secret(path, "secret");
                }
                let tls = settings.server.tls.as_ref().expect("the shipped file speaks TLS");
                if let Trust::File(path) = &tls.trust {
                    write(path, &Authority::root("vault").pem());
                }
            }
            KmsKind::Aws(_) => {}
            other => panic!("no shipped file has this: {other:?}"),
        }
    }
}

/// Under a KEK of the first keystore.
fn make_keyring(config: &Config) {
    let (Some(keyring), Some(kms)) = (&config.keyring, config.kms.first()) else {
        return;
    };
    let KmsKind::File { path, master_key } = &kms.kind else {
        panic!("no shipped file has this")
    };
    let kms = FileKms::open(path, master_key).expect("the keystore");
    add_stable_keys(keyring, &kms, "default", &["customers-*"]);
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
