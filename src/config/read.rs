//! From text, variables and flags to a [`Config`], or to everything that is wrong with them.
#![expect(clippy::disallowed_methods, reason = "settings may come from the environment")]

mod access;
mod audit;
#[cfg(feature = "kms-aws")]
mod aws;
mod brokers;
mod by_name;
mod by_port;
mod clusters;
mod groups_for;
mod keyring;
mod keystores;
#[cfg(any(feature = "kms-aws", feature = "kms-vault"))]
mod kms_server;
mod later;
mod limits;
mod listeners;
mod node;
mod own_ports;
mod ports;
mod proxy_protocol;
mod sasl;
mod served;
mod sharing;
mod sources;
mod tls;
mod topics;
mod upstream_login;
#[cfg(feature = "kms-vault")]
mod vault;
mod written_files;

pub(crate) use self::own_ports::OwnPorts;

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Read as _;
use std::num::NonZeroUsize;
use std::path::Path;

use figment::value::Value;

use self::audit::read_audit;
use self::clusters::read_clusters;
use self::keyring::read_keyring;
use self::keystores::KmsList;
use self::limits::{read_limits, refuse_contradictions};
use self::listeners::read_socket_address;
use self::node::{Node, Reach, Reader, unless_mistaken, whole_number};
use self::own_ports::refuse_own_addresses;
use self::ports::PortBook;
use self::sources::{Inputs, Sources};
use self::written_files::{refuse_other_uses, warn_of_shared_secrets};
use crate::config::problem::{ConfigError, ConfigErrors, Origin, in_order};
use crate::config::{AdminConfig, Config, Executors, LogConfig, LogFilter, LogFormat, RuntimeConfig};
use crate::ids::Ids;

/// What the command line says about the configuration.
#[derive(Clone, Debug, Default)]
pub struct Overrides {
    /// `KEY=VALUE` of each `--set`, in order.
    pub settings: Vec<String>,
}

impl Config {
    /// Reads the file at `path`; environment variables `SEALWIRE_SECTION__KEY` and then `flags` override it. Files that
    /// the configuration names must be there and readable. Blocks on files.
    ///
    /// # Errors
    /// Every mistake that was found.
    pub fn load(path: &Path, flags: Overrides) -> Result<Self, ConfigErrors> {
        let text = read_text(path)?;
        let variables = std::env::vars_os()
            .filter_map(|(name, value)| {
                Some((name.into_string().ok()?, value.to_string_lossy().into_owned()))
            })
            .collect();
        let inputs = Inputs {
            text: &text,
            path: path.to_path_buf(),
            variables,
            settings: flags.settings,
        };
        parse(inputs, Reach::Check, Ids::default())
    }

    /// Reads `text` as the file `origin` would be read, without variables, flags, or a look at any file: for tests,
    /// fuzzing and embedding. `origin` is what messages call it, and its folder is where relative paths start.
    ///
    /// # Errors
    /// Every mistake that was found. Never panics, whatever the text is.
    #[cfg(feature = "testing")]
    pub fn from_toml_text(text: &str, origin: &Path) -> Result<Self, ConfigErrors> {
        parse(
            Inputs {
                text,
                path: origin.to_path_buf(),
                ..Inputs::default()
            },
            Reach::Skip,
            Ids::default(),
        )
    }
}

/// As [`Config::from_toml_text`], with variables and settings, and with the ids of the configuration before (IDS-1).
fn parse(inputs: Inputs<'_>, reach: Reach, ids: Ids) -> Result<Config, ConfigErrors> {
    let sources = Sources::merge(inputs).map_err(ConfigErrors::new)?;
    let reader = Reader::new(sources, reach, ids);
    let config = read_config(&reader.root());
    let path = reader.sources.path().to_path_buf();
    let (errors, warnings) = reader.into_notes();
    match config {
        Some(config) if errors.is_empty() => Ok(Config {
            warnings: in_order(warnings),
            ..config
        }),
        _ if errors.is_empty() => Err(ConfigErrors::new(vec![unreadable(
            &path,
            "it could not be understood",
        )])),
        _ => Err(ConfigErrors::new(errors)),
    }
}

fn read_text(path: &Path) -> Result<String, ConfigErrors> {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes));
    let problem = match read {
        Err(error) => format!("it cannot be read: {error}"),
        Ok(length) if length as u64 > FILE_BYTES_MAX => format!("it has more than {FILE_BYTES_MAX} bytes"),
        Ok(_) => match String::from_utf8(bytes) {
            Ok(text) => return Ok(text),
            Err(_) => "it is not UTF-8 text".to_owned(),
        },
    };
    Err(ConfigErrors::new(vec![unreadable(path, &problem)]))
}

fn unreadable(path: &Path, problem: &str) -> ConfigError {
    ConfigError {
        origin: Origin::File {
            path: path.to_path_buf(),
            line: None,
        },
        key: String::new(),
        value: None,
        problem: problem.to_owned(),
        fix: "name a configuration file; config/minimal.toml is the least that one needs".to_owned(),
    }
}

fn read_config(root: &Node<'_>) -> Option<Config> {
    let runtime = read_runtime(root);
    let log = read_log(root);
    let limits = root.table("limits").and_then(|table| read_limits(&table));
    let mut ports = PortBook::default();
    let kms = KmsList::read(root);
    let mut used = BTreeSet::new();
    let clusters = read_clusters(root, &kms, &mut used, &mut ports);
    let admin = root
        .written("admin")
        .map(|table| read_admin(&table.checked_table()?, &mut ports));
    let keyring = root.written("keyring").map(read_keyring);
    for (index, (_, node)) in kms.names.iter().enumerate() {
        // Any of them may have wrapped a key of the keyring.
        if !used.contains(&index) && keyring.is_none() {
            node.complain(
                "no rule uses this KMS",
                "remove it, or name it in kms or open_keks of a rule",
            );
        }
    }
    let audit = root.written("audit").map(read_audit);
    warn_of_shared_secrets(root);
    refuse_other_uses(root);
    if let (Some(limits), Some(clusters)) = (&limits, &clusters) {
        refuse_contradictions(root, limits, clusters);
    }
    if let Some(clusters) = &clusters
        && root.reader.reach == Reach::Check
    {
        refuse_own_addresses(root, clusters, admin.as_ref().and_then(Option::as_ref));
    }
    Some(Config {
        runtime: runtime?,
        limits: limits?,
        kms: kms.read.into_iter().collect::<Option<_>>()?,
        keyring: unless_mistaken(keyring)?,
        clusters: clusters?,
        admin: match admin {
            Some(admin) => Some(admin?),
            None => None,
        },
        log: log?,
        audit: unless_mistaken(audit)?,
        ids: root.reader.ids.borrow().clone(),
        warnings: Vec::new(),
    })
}

fn read_runtime(root: &Node<'_>) -> Option<RuntimeConfig> {
    let table = root.table("runtime")?;
    let self_check = table.flag("self_check");
    let place = table.get("executors")?;
    let count = whole_number(&place.value)
        .and_then(|count| usize::try_from(count).ok())
        .filter(|count| *count <= EXECUTORS_MAX)
        .and_then(NonZeroUsize::new);
    let executors = match (&place.value, count) {
        (Value::String(_, text), _) if text == "auto" => Executors::Auto,
        (_, Some(count)) => Executors::Count(count),
        _ => {
            place.complain(
                "this is not a number of executors",
                &format!("write \"auto\", or 1 to {EXECUTORS_MAX}"),
            );
            return None;
        }
    };
    Some(RuntimeConfig {
        executors,
        self_check: self_check?,
    })
}

fn read_log(root: &Node<'_>) -> Option<LogConfig> {
    let table = root.table("log")?;
    let place = table.get("format")?;
    let format = match place.as_text().as_deref() {
        Some("text") => Some(LogFormat::Text),
        Some("json") => Some(LogFormat::Json),
        Some(_) => {
            place.complain("there is no such format", "write format = \"text\" or \"json\"");
            None
        }
        None => None,
    };
    let place = table.get("filter")?;
    let filter = place.as_text()?;
    let filter = LogFilter::parse(&filter)
        .map_err(|wrong| place.complain(&wrong.problem, &wrong.fix))
        .ok();
    Some(LogConfig {
        format: format?,
        filter: filter?,
    })
}

fn read_admin(table: &Node<'_>, ports: &mut PortBook) -> Option<AdminConfig> {
    let listen = read_socket_address(table, "listen")?;
    if let Some(written) = table.written("listen") {
        ports.take(&written, listen);
    }
    Some(AdminConfig { listen })
}

/// More cores than any host has.
const EXECUTORS_MAX: usize = 1024;

/// A thousand rules fit many times over.
const FILE_BYTES_MAX: u64 = 4 << 20;

#[cfg(test)]
mod tests;
