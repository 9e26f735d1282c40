//! From text, variables and flags to a [`Config`], or to everything that is wrong with them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Read as _;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use figment::value::Value;

use super::keystores::{KmsList, check_state_file};
use super::listeners::{PortBook, read_listeners, read_socket_address};
use super::node::{Node, Reach, Reader, whole_number};
use super::problem::{ConfigError, ConfigErrors, Origin};
use super::scalars::parse_host_port;
use super::sources::{Inputs, Sources};
use super::topics::read_rules;
use super::{
    AdminConfig, ClusterConfig, Config, Executors, HostPort, Limits, LogConfig, LogFormat, RuntimeConfig,
};
use crate::rules::RuleAction;

/// What the command line says about the configuration.
#[derive(Clone, Debug, Default)]
pub struct Overrides {
    /// `KEY=VALUE` of each `--set`, in order.
    pub settings: Vec<String>,
}

impl Config {
    /// Reads the file at `path`; environment variables `SEALWIRE_SECTION__KEY` and then `flags` override it. Files that the
    /// configuration names must be there and readable. Blocks on files.
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
        parse(inputs, Reach::Check)
    }

    /// Reads `text` as the file `origin` would be read, without variables, flags, or a look at any file: for tests, fuzzing
    /// and embedding. `origin` is what messages call it, and its folder is where relative paths start.
    ///
    /// # Errors
    /// Every mistake that was found. Never panics, whatever the text is.
    pub fn from_toml_text(text: &str, origin: &Path) -> Result<Self, ConfigErrors> {
        parse(
            Inputs {
                text,
                path: origin.to_path_buf(),
                ..Inputs::default()
            },
            Reach::Skip,
        )
    }
}

/// As [`Config::from_toml_text`], with variables and settings.
pub(super) fn parse(inputs: Inputs<'_>, reach: Reach) -> Result<Config, ConfigErrors> {
    let sources = Sources::merge(inputs).map_err(ConfigErrors::new)?;
    let reader = Reader::new(sources, reach);
    let config = read_config(&reader.root());
    let path = reader.sources.path().to_path_buf();
    let errors = reader.into_errors();
    match config {
        Some(config) if errors.is_empty() => Ok(config),
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
    let admin = match root.written("admin") {
        Some(table) => Some(read_admin(&table.checked_table()?, &mut ports)),
        None => None,
    };
    for (index, (_, node)) in kms.names.iter().enumerate() {
        if !used.contains(&index) {
            node.complain(
                "no rule uses this KMS",
                "remove it, or name it in kms or open_keks of a rule",
            );
        }
    }
    if let (Some(limits), Some(clusters)) = (&limits, &clusters) {
        refuse_contradictions(root, limits, clusters);
    }
    Some(Config {
        runtime: runtime?,
        limits: limits?,
        kms: kms.read.into_iter().collect::<Option<_>>()?,
        clusters: clusters?,
        admin: match admin {
            Some(admin) => Some(admin?),
            None => None,
        },
        log: log?,
    })
}

fn read_runtime(root: &Node<'_>) -> Option<RuntimeConfig> {
    let place = root.table("runtime")?.get("executors")?;
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
    Some(RuntimeConfig { executors })
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
    if let Err(error) = tracing_subscriber::EnvFilter::builder().parse(&filter) {
        place.complain(&format!("this is not a filter: {error}"), &place.example());
        return None;
    }
    Some(LogConfig {
        format: format?,
        filter,
    })
}

fn read_admin(table: &Node<'_>, ports: &mut PortBook) -> Option<AdminConfig> {
    let listen = read_socket_address(table, "listen")?;
    if let Some(written) = table.written("listen") {
        ports.take(&written, listen);
    }
    Some(AdminConfig { listen })
}

pub(super) fn read_limits(table: &Node<'_>) -> Option<Limits> {
    let quantity = |name| table.quantity(name);
    let duration = |name| table.duration(name);
    // All are read before the first `?`, so that all mistakes are noted.
    let connections_max = quantity("connections_max");
    let in_flight_requests_max = quantity("in_flight_requests_max");
    let in_flight_bytes_max = quantity("in_flight_bytes_max");
    let request_bytes_max = quantity("request_bytes_max");
    let unauthenticated_request_bytes_max = quantity("unauthenticated_request_bytes_max");
    let fetch_response_bytes_max = quantity("fetch_response_bytes_max");
    let decompressed_batch_bytes_max = quantity("decompressed_batch_bytes_max");
    let executor_bytes_max = quantity("executor_bytes_max");
    let topics_max = quantity("topics_max");
    let opened_keys_max = quantity("opened_keys_max");
    let sealing_keys_max = quantity("sealing_keys_max");
    let idle_timeout = duration("idle_timeout");
    let idle_timeout_unauthenticated = duration("idle_timeout_unauthenticated");
    let connect_timeout = duration("connect_timeout");
    let seal_wait = duration("seal_wait");
    let fetch_hold = duration("fetch_hold");
    let drain_timeout = duration("drain_timeout");
    Some(Limits {
        connections_max: connections_max?,
        in_flight_requests_max: in_flight_requests_max?,
        in_flight_bytes_max: in_flight_bytes_max?,
        request_bytes_max: request_bytes_max?,
        unauthenticated_request_bytes_max: unauthenticated_request_bytes_max?,
        fetch_response_bytes_max: fetch_response_bytes_max?,
        decompressed_batch_bytes_max: decompressed_batch_bytes_max?,
        executor_bytes_max: executor_bytes_max?,
        topics_max: topics_max?,
        opened_keys_max: opened_keys_max?,
        sealing_keys_max: sealing_keys_max?,
        idle_timeout: idle_timeout?,
        idle_timeout_unauthenticated: idle_timeout_unauthenticated?,
        connect_timeout: connect_timeout?,
        seal_wait: seal_wait?,
        fetch_hold: fetch_hold?,
        drain_timeout: drain_timeout?,
    })
}

/// Limits that are good by themselves and make no sense together.
fn refuse_contradictions(root: &Node<'_>, limits: &Limits, clusters: &[ClusterConfig]) {
    let Some(table) = root.table("limits") else { return };
    let at_least = |name: &str, value: usize, other: &str, floor: usize| {
        if value < floor
            && let Some(place) = table.get(name)
        {
            place.complain(
                &format!("this is less than {other} ({floor} bytes), which could then never be used up"),
                &format!("raise {name} to at least {floor}, or lower {other}"),
            );
        }
    };
    let request = limits.request_bytes_max;
    at_least(
        "in_flight_bytes_max",
        limits.in_flight_bytes_max,
        "limits.request_bytes_max",
        request,
    );
    at_least(
        "executor_bytes_max",
        limits.executor_bytes_max,
        "limits.request_bytes_max",
        request,
    );
    at_least(
        "executor_bytes_max",
        limits.executor_bytes_max,
        "limits.fetch_response_bytes_max",
        limits.fetch_response_bytes_max,
    );
    at_least(
        "request_bytes_max",
        request,
        "limits.unauthenticated_request_bytes_max",
        limits.unauthenticated_request_bytes_max,
    );
    if limits.idle_timeout_unauthenticated > limits.idle_timeout
        && let Some(place) = table.get("idle_timeout_unauthenticated")
    {
        place.complain(
            "this is longer than limits.idle_timeout",
            "lower it, or raise limits.idle_timeout",
        );
    }
    let ceiling = request.min(limits.decompressed_batch_bytes_max);
    for cluster in clusters {
        let topics = root
            .written("cluster")
            .and_then(|table| table.written(&cluster.name));
        let nodes = topics
            .and_then(|table| table.written("topics"))
            .and_then(|list| list.elements());
        for (rule, node) in cluster.rules.rules().iter().zip(nodes.unwrap_or_default()) {
            if let RuleAction::Seal(seal) = &rule.action
                && seal.max_message_bytes > ceiling
                && let Some(place) = node.get("max_message_bytes")
            {
                place.complain(
                    &format!("no batch of this size gets through: a limit stops at {ceiling} bytes"),
                    "lower it, or raise limits.request_bytes_max and limits.decompressed_batch_bytes_max",
                );
            }
        }
    }
}

fn read_clusters(
    root: &Node<'_>,
    kms: &KmsList<'_>,
    used: &mut BTreeSet<usize>,
    ports: &mut PortBook,
) -> Option<Vec<ClusterConfig>> {
    let table = root.table("cluster")?;
    let entries = table.entries();
    if entries.is_empty() {
        table.complain("there is no cluster", "add [cluster.main]");
        return None;
    }
    let mut state_files = BTreeSet::new();
    let read = |(name, node): (String, Node<'_>)| {
        let cluster = read_cluster(&name, &node.checked_table()?, kms, used, ports, &mut state_files);
        Some(cluster)
    };
    entries
        .into_iter()
        .map(read)
        .collect::<Vec<_>>()
        .into_iter()
        .map(Option::flatten)
        .collect()
}

fn read_cluster(
    name: &str,
    node: &Node<'_>,
    kms: &KmsList<'_>,
    used: &mut BTreeSet<usize>,
    ports: &mut PortBook,
    state_files: &mut BTreeSet<PathBuf>,
) -> Option<ClusterConfig> {
    let bootstrap = read_bootstrap(node);
    let topic_ids = read_topic_ids(node);
    let listeners = read_listeners(node, ports);
    let rules = read_rules(node, kms, used);
    let served: BTreeSet<i32> = listeners
        .iter()
        .flatten()
        .flat_map(|listener| listener.nodes.iter().copied())
        .collect();
    let node_addresses = read_node_addresses(node, listeners.is_some().then_some(&served));
    let state_file = match node.written("state_file") {
        Some(place) => Some(read_state_file(&place, state_files)),
        None => None,
    };
    topic_ids?;
    Some(ClusterConfig {
        name: name.to_owned(),
        bootstrap: bootstrap?,
        listeners: listeners?,
        rules: rules?,
        node_addresses: node_addresses?,
        state_file: match state_file {
            Some(path) => Some(path?),
            None => None,
        },
    })
}

fn read_address(place: &Node<'_>) -> Option<HostPort> {
    let text = place.as_text()?;
    parse_host_port(&text)
        .map_err(|problem| {
            place.complain(
                &format!("this {problem}"),
                "write HOST:PORT, such as \"kafka-1:9092\"",
            )
        })
        .ok()
}

fn read_bootstrap(node: &Node<'_>) -> Option<Vec<HostPort>> {
    let list = node.get("bootstrap")?;
    let places = list.elements()?;
    if places.is_empty() {
        list.complain("there is no broker to ask", &list.example());
        return None;
    }
    let mut seen = BTreeSet::new();
    let read = |place: &Node<'_>| {
        let address = read_address(place)?;
        if !seen.insert(address.clone()) {
            place.complain("this broker is in the list twice", "remove it");
        }
        Some(address)
    };
    places.iter().map(read).collect::<Vec<_>>().into_iter().collect()
}

fn read_topic_ids(node: &Node<'_>) -> Option<()> {
    let place = node.get("topic_ids")?;
    if matches!(place.value, Value::Bool(_, false)) {
        return Some(());
    }
    place.complain(
        "topic ids are not available in this version: topics are known by the names that clients send",
        "write topic_ids = false, or remove it",
    );
    None
}

fn read_node_addresses(node: &Node<'_>, served: Option<&BTreeSet<i32>>) -> Option<BTreeMap<i32, HostPort>> {
    let Some(table) = node.written("node_addresses") else {
        return Some(BTreeMap::new());
    };
    let read = |(id, place): (String, Node<'_>)| {
        let Some(id) = id
            .parse::<i32>()
            .ok()
            .filter(|number| *number >= 0 && number.to_string() == id)
        else {
            place.complain(
                "this is not a broker id",
                "write a whole number from 0, such as { 0 = \"kafka-1:9092\" }",
            );
            return None;
        };
        if served.is_some_and(|served| !served.contains(&id)) {
            place.complain(
                "no listener serves this broker",
                "add its id to nodes of a listener, or remove it",
            );
        }
        Some((id, read_address(&place)?))
    };
    let read: Vec<_> = table.checked_table()?.entries().into_iter().map(read).collect();
    read.into_iter().collect()
}

fn read_state_file(place: &Node<'_>, taken: &mut BTreeSet<PathBuf>) -> Option<PathBuf> {
    let text = place.as_text()?;
    if text.is_empty() {
        place.complain("this is empty", &place.example());
        return None;
    }
    let path = place.reader.sources.folder().join(text);
    check_state_file(place, &path);
    if !taken.insert(path.clone()) {
        place.complain(
            "another cluster writes this file",
            "give each cluster a file of its own",
        );
    }
    Some(path)
}

/// More cores than any host has.
const EXECUTORS_MAX: usize = 1024;

/// A thousand rules fit many times over.
const FILE_BYTES_MAX: u64 = 4 << 20;
