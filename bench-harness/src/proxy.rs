//! The real proxy: builds the `sealwire` binary, makes a keystore and a configuration, starts it and waits until it is
//! ready.

#[path = "../../tests/support/configuration.rs"]
mod configuration;

use std::ffi::OsStr;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use self::configuration::listener;
pub(crate) use self::configuration::{Cluster, Configuration, ListenerTls};
use crate::children::{Child, Start, find, pause};
use crate::{Failure, ports};

/// What the proxy is to serve.
pub(crate) struct Setup<'a> {
    /// A directory of its own: keystore, configuration and log are written there.
    pub(crate) directory: &'a Path,
    /// The binary; the one beside this program where there is none.
    pub(crate) program: Option<&'a Path>,
    /// Names of the keystore's KEKs.
    pub(crate) keks: &'a [String],
    /// The table of the KMS `local`; the keystore where there is none.
    pub(crate) kms: Option<&'a str>,
    /// The cluster, `host:port` each.
    pub(crate) bootstrap: Vec<String>,
    /// How many brokers, with ids from 1.
    pub(crate) brokers: u16,
    /// The `[[cluster.main.topics]]` tables. The KMS is called `local`.
    pub(crate) rules: &'a str,
    /// How many executors; `None`: one for each core.
    pub(crate) executors: Option<usize>,
    /// The core that everything is bound to.
    pub(crate) core: Option<usize>,
    /// How many connections it serves. No more than are needed: otherwise its log warns that there are too few file
    /// descriptors, and whatever fails would be told with that beside it.
    pub(crate) connections_max: usize,
    /// On both sides; without it everybody speaks plain TCP.
    pub(crate) tls: Option<Tls>,
    /// Two more listeners.
    pub(crate) beside: Option<Beside>,
    /// The topics, a glob, that have a stable key: one that is made under the first KEK.
    pub(crate) stable_keys: Option<&'a str>,
}

/// Listeners that speak TLS: one that anybody may use who reaches it, and one at which clients log in.
pub(crate) struct Beside {
    pub(crate) tls: ListenerTls,
    /// Who may log in, and by which password.
    pub(crate) users: &'static [&'static str],
    pub(crate) password: &'static str,
}

/// TLS towards clients and brokers.
pub(crate) struct Tls {
    pub(crate) listener: ListenerTls,
    /// Who vouches for brokers.
    pub(crate) brokers_ca: PathBuf,
}

/// A running proxy.
pub(crate) struct Proxy {
    /// The process.
    pub(crate) child: Child,
    /// Where clients bootstrap.
    pub(crate) port: u16,
    /// Where they do at the second listener, if there is one.
    pub(crate) port_beside: u16,
    /// Where clients log in.
    pub(crate) port_logins: u16,
    /// Where `/metrics` and the probes are.
    pub(crate) admin_port: u16,
    /// The binary.
    pub(crate) program: PathBuf,
    /// How long it took to be ready.
    pub(crate) started_in: Duration,
    log: PathBuf,
}

impl Proxy {
    /// Starts a proxy and waits until `/readyz` says so, calling `meanwhile` (which may wait a little) again and again.
    ///
    /// Call it on the main thread: the kernel ends children with the thread that started them.
    pub(crate) fn start(
        setup: &Setup<'_>,
        meanwhile: &mut dyn FnMut() -> Result<(), Failure>,
    ) -> Result<Self, Failure> {
        let program = match setup.program {
            Some(program) => program.to_owned(),
            None => program()?,
        };
        if setup.kms.is_none() {
            create_keystore(&program, setup)?;
        }
        if let Some(beside) = &setup.beside {
            create_users(&program, setup.directory, beside)?;
        }
        let ports = Ports::take()?;
        let text = configuration_text(setup, &ports);
        if let Some(topics) = setup.stable_keys {
            create_keyring(&program, setup, &text, topics)?;
        }
        let proxy = Self::start_by(
            &program,
            setup.directory,
            &text,
            ports.admin,
            setup.core,
            meanwhile,
        )?;
        Ok(Self {
            port: ports.listener,
            port_beside: ports.beside,
            port_logins: ports.logins,
            ..proxy
        })
    }

    /// The same by a configuration of the caller's own, who knows the ports of its listeners.
    pub(crate) fn start_by(
        program: &Path,
        directory: &Path,
        text: &str,
        admin_port: u16,
        core: Option<usize>,
        meanwhile: &mut dyn FnMut() -> Result<(), Failure>,
    ) -> Result<Self, Failure> {
        let configuration = directory.join(CONFIGURATION);
        std::fs::write(&configuration, text)?;
        let log = directory.join("sealwire.log");
        let start = Instant::now();
        let child = Child::start(&Start {
            program,
            arguments: vec![
                OsStr::new("run"),
                OsStr::new("--config"),
                configuration.as_os_str(),
            ],
            core,
            log: &log,
        })?;
        let mut proxy = Self {
            child,
            port: 0,
            port_beside: 0,
            port_logins: 0,
            admin_port,
            program: program.to_owned(),
            started_in: Duration::ZERO,
            log,
        };
        proxy
            .wait_until_ready(meanwhile)
            .map_err(|failure| proxy.explain(&failure))?;
        proxy.started_in = start.elapsed();
        Ok(proxy)
    }

    /// The body that the admin endpoint answers to `path` with, if its status is 200.
    pub(crate) fn ask(&self, path: &str) -> Result<String, Failure> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.admin_port))?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        write!(
            stream,
            "GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"
        )?;
        let mut response = String::new();
        stream.read_to_string(&mut response)?;
        let (head, body) = response.split_once("\r\n\r\n").ok_or("half an HTTP response")?;
        match head.starts_with("HTTP/1.1 200") {
            true => Ok(body.to_owned()),
            false => Err(format!("{path}: {}", head.lines().next().unwrap_or_default()).into()),
        }
    }

    /// What the log says behind `WARN` and the module, in the first such line with `text`; waits until there is one.
    pub(crate) fn wait_for_warning(&self, text: &str) -> Result<String, Failure> {
        let deadline = Instant::now() + LOG_PATIENCE;
        loop {
            let log = std::fs::read_to_string(&self.log)?;
            let mut warnings = log
                .lines()
                .filter_map(|line| line.split_once(" WARN ")?.1.split_once(": "));
            if let Some((_, warning)) = warnings.find(|(_, warning)| warning.contains(text)) {
                return Ok(warning.to_owned());
            }
            if Instant::now() > deadline {
                return Err(format!("the proxy does not warn of {text:?}").into());
            }
            pause(Duration::from_millis(20));
        }
    }

    /// Stops it as an operator would, and expects it to drain and exit 0.
    pub(crate) fn stop(&mut self) -> Result<(), Failure> {
        let status = self.child.stop(Duration::from_secs(35))?;
        match status.success() {
            true => Ok(()),
            false => Err(self.explain(&format!("the proxy ended with {status}").into())),
        }
    }

    /// `failure` with the end of the proxy's log.
    pub(crate) fn explain(&self, failure: &Failure) -> Failure {
        let log = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        let end = lines.len().saturating_sub(LOG_LINES_SHOWN);
        let shown = lines.get(end..).unwrap_or_default().join("\n  ");
        format!("{failure}\nThe proxy's log ends with:\n  {shown}").into()
    }

    fn wait_until_ready(
        &mut self,
        meanwhile: &mut dyn FnMut() -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let deadline = Instant::now() + START_PATIENCE;
        loop {
            self.child.check()?;
            match self.ask("/readyz") {
                Ok(_) => return Ok(()),
                Err(failure) if Instant::now() > deadline => {
                    return Err(format!(
                        "the proxy is not ready after {} s: {failure}",
                        START_PATIENCE.as_secs()
                    )
                    .into());
                }
                Err(_) => meanwhile()?,
            }
        }
    }
}

/// What a proxy listens on.
struct Ports {
    admin: u16,
    listener: u16,
    nodes: [u16; BROKERS_MAX],
    beside: u16,
    nodes_beside: [u16; BROKERS_MAX],
    logins: u16,
    nodes_logins: [u16; BROKERS_MAX],
}

impl Ports {
    fn take() -> Result<Self, Failure> {
        let [admin, listener, beside, a, b, c, d, e, f, logins, g, h, i] = ports::free()?;
        Ok(Self {
            admin,
            listener,
            nodes: [a, b, c],
            beside,
            nodes_beside: [d, e, f],
            logins,
            nodes_logins: [g, h, i],
        })
    }
}

/// Brokers that a [`Setup`] may have.
const BROKERS_MAX: usize = 3;
const START_PATIENCE: Duration = Duration::from_secs(20);
const LOG_PATIENCE: Duration = Duration::from_secs(5);
const LOG_LINES_SHOWN: usize = 15;

/// The `sealwire` binary beside this one; brought up to date by cargo where the sources are at hand.
pub(crate) fn program() -> Result<PathBuf, Failure> {
    let own = std::env::current_exe()?;
    let beside = own
        .parent()
        .ok_or("this program has no directory")?
        .join("sealwire");
    if let Some(workspace) = sources() {
        build(&workspace, &beside)?;
    }
    match beside.is_file() {
        true => Ok(beside),
        false => Err(format!(
            "{} is not there; build it with `cargo build --release`",
            beside.display()
        )
        .into()),
    }
}

/// The sources that this program was built from, if they are still there and cargo is.
pub(crate) fn sources() -> Option<PathBuf> {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let can_build = workspace.join("Cargo.toml").is_file() && find("cargo").is_some();
    can_build.then_some(workspace)
}

/// `cargo run` builds the harness and the library, and not the other binary: an old one must not be measured. Both
/// packages are named so that their dependencies have the same features as in the harness, and are not built a second
/// time.
fn build(workspace: &Path, binary: &Path) -> Result<(), Failure> {
    let directory = binary.parent().ok_or("no target directory")?;
    let target = directory.parent().ok_or("no target directory")?;
    let profile = directory
        .file_name()
        .and_then(OsStr::to_str)
        .ok_or("no profile")?;
    let mut cargo = Command::new("cargo");
    cargo.current_dir(workspace);
    cargo.args([
        "build",
        "--package",
        "bench-harness",
        "--package",
        "sealwire",
        "--bin",
        "sealwire",
    ]);
    cargo.arg("--target-dir").arg(target);
    // Cargo's profile for development is called otherwise than its directory.
    cargo.args(["--profile", if profile == "debug" { "dev" } else { profile }]);
    match cargo.status()?.success() {
        true => Ok(()),
        false => Err("cargo could not build sealwire".into()),
    }
}

fn create_keystore(program: &Path, setup: &Setup<'_>) -> Result<(), Failure> {
    let [keystore, master_key] = [KEYSTORE, MASTER_KEY].map(|name| setup.directory.join(name));
    for path in [&keystore, &master_key] {
        // One of an earlier start in the same directory.
        let _ = std::fs::remove_file(path);
    }
    let arguments =
        ["create", "add"].map(|command| ["keystore", command, "--master-key-file"].map(OsStr::new));
    for (arguments, keks) in arguments.into_iter().zip([&[], setup.keks]) {
        let mut command = Command::new(program);
        command.args(arguments).arg(&master_key).arg(&keystore).args(keks);
        let output = command.output()?;
        if !output.status.success() {
            let text = String::from_utf8_lossy(&output.stderr).into_owned();
            return Err(format!("sealwire keystore failed: {text}").into());
        }
    }
    Ok(())
}

/// Makes a keyring with one stable key, as the configuration `text` says where its KMS is.
fn create_keyring(program: &Path, setup: &Setup<'_>, text: &str, topics: &str) -> Result<(), Failure> {
    let configuration = setup.directory.join(CONFIGURATION);
    std::fs::write(&configuration, text)?;
    let keyring = setup.directory.join(KEYRING);
    // One of an earlier start in the same directory.
    let _ = std::fs::remove_file(&keyring);
    let kek = setup.keks.first().ok_or("no KEK")?.as_str();
    let of_config = ["--kms", "local", "--kek", kek, "--config"].map(OsStr::new);
    let of_config = [&of_config[..], &[configuration.as_os_str()]].concat();
    let [name, topics] = ["quickstart", topics].map(OsStr::new);
    for (command, arguments) in [
        ("create", vec![]),
        ("new", [&[name], &of_config[..]].concat()),
        ("assign", vec![topics, name]),
    ] {
        let mut made = Command::new(program);
        let made = made
            .args(["keyring", command])
            .arg(&keyring)
            .args(arguments)
            .output()?;
        if !made.status.success() {
            let text = String::from_utf8_lossy(&made.stderr).into_owned();
            return Err(format!("sealwire keyring {command} failed: {text}").into());
        }
    }
    Ok(())
}

/// Makes the file of those who may log in.
fn create_users(program: &Path, directory: &Path, beside: &Beside) -> Result<(), Failure> {
    let file = directory.join(USERS);
    let run = |arguments: &[&str], input: &str| -> Result<(), Failure> {
        let (command, name) = arguments.split_first().ok_or("no command")?;
        let mut child = Command::new(program)
            .args(["users", command])
            .arg(&file)
            .args(name)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()?;
        let mut stdin = child.stdin.take().ok_or("no standard input")?;
        stdin.write_all(input.as_bytes())?;
        drop(stdin);
        match child.wait()?.success() {
            true => Ok(()),
            false => Err(format!("sealwire users {command} failed").into()),
        }
    };
    run(&["create"], "")?;
    let mut users = beside.users.iter();
    users.try_for_each(|user| run(&["add", user], beside.password))
}

/// In the directory of a [`Setup`].
const USERS: &str = "users";
/// In the directory of a [`Setup`].
const KEYRING: &str = "keyring.json";
/// In the directory of a [`Setup`].
const CONFIGURATION: &str = "sealwire.toml";
/// In the directory of a [`Setup`].
pub(crate) const KEYSTORE: &str = "keystore.json";
/// Of the keystore.
pub(crate) const MASTER_KEY: &str = "master.key";

/// Topics that match `sealed` are sealed under the KEK `quickstart`, with `more` keys, and those that begin with
/// `public` pass.
pub(crate) fn usual_rules(sealed: &str, more: &str) -> String {
    format!(
        "[[cluster.main.topics]]\nmatch = \"{sealed}\"\nkms = \"local\"\nkek = \"quickstart\"\n{more}\
         [[cluster.main.topics]]\nmatch = \"public*\"\npass = true\n"
    )
}

fn configuration_text(setup: &Setup<'_>, ports: &Ports) -> String {
    let tables = setup
        .executors
        .map(|executors| format!("[runtime]\nexecutors = {executors}\nself_check = false"));
    let upstream = setup.tls.as_ref().map_or_else(String::new, |tls| {
        format!("[cluster.main.upstream_tls]\nca = {:?}\n", tls.brokers_ca)
    });
    let mut limits = format!("[limits]\nconnections_max = {}", setup.connections_max);
    if setup.tls.is_some() {
        // As many handshakes as it can, not as it should.
        limits += "\nhandshakes_per_second_max = 1000000";
    }
    if setup.kms.is_some() {
        // A rotation is noticed with the next data key at the latest: sooner than in the minute that it may take.
        limits += "\ndata_key_age_max = \"10s\"";
    }
    let nodes = |ports: &[u16]| {
        (1..)
            .zip(ports.iter().copied())
            .take(usize::from(setup.brokers))
            .collect::<Vec<_>>()
    };
    let beside = setup.beside.as_ref().map_or_else(String::new, |beside| {
        let table = beside.tls.table("main");
        let of_all = nodes(&ports.nodes_beside);
        let of_all = listener("main", "tls", "network", "127.0.0.1", ports.beside, &of_all);
        let logins = nodes(&ports.nodes_logins);
        let logins = listener("main", "logins", "sasl", "127.0.0.1", ports.logins, &logins);
        format!(
            "{of_all}{table}{logins}{table}[cluster.main.listeners.sasl]\ncredentials = {USERS:?}\n\
             mechanisms = [\"PLAIN\", \"SCRAM-SHA-256\"]\n"
        )
    });
    if setup.stable_keys.is_some() {
        limits += &format!("\n[keyring]\npath = {KEYRING:?}");
    }
    let tables = [tables.unwrap_or_default(), limits].join("\n");
    let configuration = match setup.kms {
        Some(table) => Configuration::with(&format!("{tables}\n{table}")),
        None => Configuration::with(&tables).keystore("local", Path::new(KEYSTORE), Path::new(MASTER_KEY)),
    };
    configuration
        .cluster(&Cluster {
            brokers: setup.bootstrap.clone(),
            port: ports.listener,
            nodes: nodes(&ports.nodes),
            rules: &(beside + setup.rules),
            more: &upstream,
            tls: setup.tls.as_ref().map(|tls| &tls.listener),
            ..Cluster::default()
        })
        .admin(ports.admin)
        .text()
}
