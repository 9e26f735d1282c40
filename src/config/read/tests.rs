//! Whole configurations: what they become, and how their mistakes are told.

mod access;
#[cfg(feature = "kms-aws")]
mod aws;
mod clusters;
mod groups_for;
mod hostile;
mod mistakes;
mod outside;
mod rules;
mod sasl;
mod tls;
mod upstream_login;
#[cfg(feature = "kms-vault")]
mod vault;
mod written_files;

use std::path::{Path, PathBuf};

use super::node::Reach;
use super::parse;
use super::sources::Inputs;
use crate::config::*;
use crate::envelope::HeaderMode;
use crate::ids::Ids;
use crate::rules::{Forms, OnUnreadable, RuleAction};

const BASE: &str = r#"[kms.local]
provider = "file"
path = "keystore.json"
master_key = { file = "master.key" }

[cluster.main]
bootstrap = ["kafka-1:9092", "kafka-2:9092"]

[[cluster.main.listeners]]
name = "lan"
listen = "0.0.0.0:9192"
client_auth = "network"
advertised_host = "proxy.example.com"
nodes = "0-2"
node_ports = "9193-9195"

[[cluster.main.topics]]
match = "payments-*"
kms = "local"
kek = "payments"

[admin]
listen = "127.0.0.1:9190"
"#;

fn load(text: &str) -> Result<Config, ConfigErrors> {
    Config::from_toml_text(text, Path::new("dir/sealwire.toml"))
}

fn load_with(text: &str, variables: &[(&str, &str)], settings: &[&str]) -> Result<Config, ConfigErrors> {
    let inputs = Inputs {
        text,
        path: PathBuf::from("dir/sealwire.toml"),
        variables: variables
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect(),
        settings: settings.iter().map(|setting| (*setting).to_owned()).collect(),
    };
    parse(inputs, Reach::Skip, Ids::default())
}

/// `origin: key = value` of every mistake.
fn mistakes(result: Result<Config, ConfigErrors>) -> Vec<String> {
    let errors = result.expect_err("there are mistakes");
    errors
        .errors()
        .iter()
        .map(|error| error.to_string().lines().next().unwrap_or_default().to_owned())
        .collect()
}

fn only_mistake(result: Result<Config, ConfigErrors>) -> ConfigError {
    let errors = result.expect_err("there is a mistake");
    assert_eq!(errors.errors().len(), 1, "{errors}");
    errors.errors().first().cloned().expect("one")
}

#[test]
fn everything_is_read() {
    let config = load(BASE).unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(config.runtime.executors, Executors::Auto);
    assert_eq!(config.limits, Limits::default());
    assert_eq!(
        config.log,
        LogConfig {
            format: LogFormat::Text,
            filter: LogFilter::parse("info").expect("a level")
        }
    );
    assert_eq!(
        config.admin.map(|admin| admin.listen.to_string()).as_deref(),
        Some("127.0.0.1:9190")
    );
    let [kms] = config.kms.as_slice() else {
        panic!("one KMS")
    };
    assert_eq!(kms.name, "local");
    assert_eq!(
        kms.kind,
        KmsKind::File {
            path: PathBuf::from("dir/keystore.json"),
            master_key: MasterKeySource::File(PathBuf::from("dir/master.key")),
        }
    );
    let [cluster] = config.clusters.as_slice() else {
        panic!("one cluster")
    };
    assert_eq!(
        cluster
            .bootstrap
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>(),
        ["kafka-1:9092", "kafka-2:9092"]
    );
    let [listener] = cluster.listeners.as_slice() else {
        panic!("one listener")
    };
    assert_eq!(listener.client_auth, ClientAuth::Network);
    assert_eq!(listener.proxy_protocol_sources, None);
    let nodes: Vec<_> = listener
        .node_listeners()
        .map(|(node, address)| (node, address.to_string()))
        .collect();
    assert_eq!(
        nodes,
        [
            (0, "0.0.0.0:9193".to_owned()),
            (1, "0.0.0.0:9194".to_owned()),
            (2, "0.0.0.0:9195".to_owned())
        ]
    );
    let [rule] = cluster.rules.rules() else {
        panic!("one rule")
    };
    let RuleAction::Seal(seal) = &rule.action else {
        panic!("it seals")
    };
    assert_eq!(
        (seal.kms, seal.headers, seal.accept),
        (config.kms[0].id, HeaderMode::Sealed, Forms::SEALWIRE)
    );
    assert_eq!(
        (seal.max_message_bytes, seal.on_unreadable),
        (1_048_588, OnUnreadable::Refuse)
    );
    assert!(!seal.forgeable_kek);
}

#[test]
fn flags_win_over_variables_and_variables_over_the_file() {
    let text = format!("{BASE}\n[limits]\nconnections_max = 1\nidle_timeout = \"3m\"\n");
    let config = load_with(&text, &[], &[]).unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(config.limits.connections_max, 1);
    let variables = [
        ("SEALWIRE_LIMITS__CONNECTIONS_MAX", "2"),
        ("SEALWIRE_PORT", "tcp://10.0.0.1:9192"),
        ("LIMITS__X", "1"),
    ];
    let config = load_with(&text, &variables, &[]).unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(config.limits.connections_max, 2);
    let config = load_with(&text, &variables, &["limits.connections_max=3"])
        .unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(config.limits.connections_max, 3);
    assert_eq!(config.limits.idle_timeout.as_secs(), 180);
    let variables = [
        ("SEALWIRE_CLUSTER__MAIN__BOOTSTRAP", "[\"a:1\"]"),
        ("SEALWIRE_ADMIN__LISTEN", "127.0.0.1:1"),
    ];
    let config = load_with(BASE, &variables, &[]).unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(
        config.clusters.first().map(|cluster| cluster.bootstrap.len()),
        Some(1)
    );
}
