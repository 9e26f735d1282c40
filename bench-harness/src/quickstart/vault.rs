//! KEKs in a KMS: an OpenBao or a Vault that is started for this run and keeps everything in memory, a KEK that is made
//! there, and its rotation.

use std::ffi::OsStr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use super::exchange;
use crate::children::{Child, Start, find, pause};
use crate::proxy::Proxy;
use crate::{Failure, ports};

/// A topic under a sealing rule, for this alone.
pub(super) const TOPIC: &str = "payments-rotation";
/// The root token of a server that nobody but this run reaches.
const ROOT: &str = "quickstart";
const TOKEN_FILE: &str = "vault-token";
const START_PATIENCE: Duration = Duration::from_secs(20);
/// A minute, and a machine that is busy.
const ROTATION_PATIENCE: Duration = Duration::from_secs(90);

/// A running server.
pub(super) struct Vault {
    program: PathBuf,
    address: String,
    _child: Child,
}

impl Vault {
    /// Starts it, and does what its administrator would. `program`: a `bao` or `vault`; the one on the search path
    /// without it.
    pub(super) fn start(program: Option<&Path>, directory: &Path) -> Result<Self, Failure> {
        let found = || find("bao").or_else(|| find("vault"));
        let Some(program) = program.map(Path::to_owned).or_else(found) else {
            return Err(MISSING.into());
        };
        let [port] = ports::free()?;
        let at = format!("-dev-listen-address=127.0.0.1:{port}");
        let root = format!("-dev-root-token-id={ROOT}");
        let arguments = ["server", "-dev", "-dev-no-store-token", &root, &at];
        let log = directory.join("vault.log");
        let mut child = Child::start(&Start {
            program: &program,
            arguments: arguments.map(OsStr::new).to_vec(),
            core: None,
            log: &log,
        })?;
        let address = format!("http://127.0.0.1:{port}");
        let deadline = Instant::now() + START_PATIENCE;
        while ask(&program, &address, &["status"]).is_err() {
            child.check()?;
            if Instant::now() > deadline {
                return Err(format!("{} does not answer", program.display()).into());
            }
            pause(Duration::from_millis(50));
        }
        tell!(
            "Started {} at {address}; what its administrator does there:",
            program.display()
        );
        let vault = Self {
            program,
            address,
            _child: child,
        };
        vault.prepare(directory)?;
        Ok(vault)
    }

    /// A KEK, and a token that may use it and nothing else.
    fn prepare(&self, directory: &Path) -> Result<(), Failure> {
        self.administer(&["secrets", "enable", "transit"])?;
        self.administer(&["write", "-f", "transit/keys/quickstart"])?;
        let policy = directory.join("proxy.hcl");
        std::fs::write(&policy, POLICY)?;
        tell_part!("{POLICY}");
        self.administer(&["policy", "write", "proxy", &policy.display().to_string()])?;
        let token = self.administer(&["token", "create", "-policy=proxy", "-period=1h", "-field=token"])?;
        let mut file = std::fs::OpenOptions::new();
        let mut file = file
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(directory.join(TOKEN_FILE))?;
        std::io::Write::write_all(&mut file, token.trim().as_bytes())?;
        tell!("  (into the file {TOKEN_FILE}, which the proxy reads)\n");
        Ok(())
    }

    /// The proxy's table for it.
    pub(super) fn table(&self) -> String {
        format!(
            "[kms.local]\nprovider = \"vault\"\naddress = {:?}\nallow_plaintext = true\n\
             login = {{ method = \"token\", token = {{ file = {TOKEN_FILE:?} }} }}",
            self.address
        )
    }

    /// Rotates the KEK while records are sent, until one is sealed under its new version.
    pub(super) fn demonstrate(&self, proxy: &Proxy, broker: &str) -> Result<(), Failure> {
        let through_proxy = format!("127.0.0.1:{}", proxy.port);
        let mut sent = exchange::send_orders(&through_proxy, TOPIC)?;
        let before = key_of(proxy, broker, "version 1")?.ok_or("no record is sealed under version 1")?;
        tell!("The KEK is rotated while records are sent to {TOPIC}:");
        tell!("  at the brokers  {before}");
        self.administer(&["write", "-f", "transit/keys/quickstart/rotate"])?;
        let rotated = Instant::now();
        let after = loop {
            sent.extend(exchange::send_orders(&through_proxy, TOPIC)?);
            if let Some(after) = key_of(proxy, broker, "version 2")? {
                break after;
            }
            if rotated.elapsed() > ROTATION_PATIENCE {
                return Err("no record is sealed under the new version".into());
            }
            pause(Duration::from_millis(500));
        };
        tell!(
            "  at the brokers  {after}, {} s later, with no restart",
            rotated.elapsed().as_secs()
        );
        if exchange::read(&through_proxy, TOPIC, sent.len())? != sent {
            return Err("what comes back is not what was sent".into());
        }
        tell!(
            "  What was sealed before opens as before. (It is noticed within a minute; data keys of this run live for \
             10 s, so that you need not wait.)\n"
        );
        Ok(())
    }

    fn administer(&self, arguments: &[&str]) -> Result<String, Failure> {
        let name = self.program.file_name().unwrap_or_default().display();
        tell!("  $ {name} {}", arguments.join(" "));
        ask(&self.program, &self.address, arguments)
    }
}

/// What its own client says.
fn ask(program: &Path, address: &str, arguments: &[&str]) -> Result<String, Failure> {
    let mut command = Command::new(program);
    command.args(arguments);
    for product in ["BAO", "VAULT"] {
        command.env(format!("{product}_ADDR"), address);
        command.env(format!("{product}_TOKEN"), ROOT);
    }
    let output = command.output()?;
    match output.status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
        false => {
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            Err(format!("{} {}: {said}", program.display(), arguments.join(" ")).into())
        }
    }
}

/// What `sealwire inspect` says of the data key of a record whose KEK has this version, if there is one.
fn key_of(proxy: &Proxy, broker: &str, version: &str) -> Result<Option<String>, Failure> {
    let mut command = Command::new(&proxy.program);
    command.args(["inspect", "--bootstrap", broker, "--topic", TOPIC]);
    let output = command.output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let keys = text.lines().filter_map(|line| {
        let (_, key) = line.split_once("Vault transit")?;
        key.split_once(", wrapped DEK").map(|(key, _)| key)
    });
    let mut keys = keys.filter(|key| key.ends_with(version));
    Ok(keys.next().map(|key| format!("Vault transit{key}")))
}

const POLICY: &str = r#"  # proxy.hcl
  path "transit/datakey/plaintext/quickstart" { capabilities = ["update"] }
  path "transit/decrypt/quickstart"           { capabilities = ["update"] }
  path "transit/keys/quickstart"              { capabilities = ["read"] }
"#;
const MISSING: &str = "neither `bao` nor `vault` is on the search path: get OpenBao (https://openbao.org), of which \
                       one program is all that this needs, or say where it is with --kms-program";
