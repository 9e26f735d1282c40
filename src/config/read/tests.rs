//! Whole configurations: what they become, and how their mistakes are told.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use proptest::prelude::*;

use super::node::Reach;
use super::parse;
use super::sources::Inputs;
use crate::config::*;
use crate::envelope::HeaderMode;
use crate::ids::{Ids, KmsId};
use crate::kms::keystore::{OpenKeystore, create_key_file};
use crate::rules::{Action, Forms, OnUnreadable, RuleAction};

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

#[test]
fn mistakes_name_line_variable_or_flag() {
    assert_eq!(
        mistakes(load(
            &BASE.replace("name = \"lan\"", "name = \"lan\"\nlisten_backlog = 5")
        )),
        ["dir/sealwire.toml:11: cluster.main.listeners[0].listen_backlog = 5"]
    );
    assert_eq!(
        mistakes(load_with(BASE, &[("SEALWIRE_LIMITS__CONNECTION_MAX", "5")], &[])),
        ["environment variable SEALWIRE_LIMITS__CONNECTION_MAX: limits.connection_max = 5"]
    );
    assert_eq!(
        mistakes(load_with(
            BASE,
            &[("SEALWIRE_CLUSTER__MAIN__TOPIC_IDS", "true")],
            &["limits.seal_wait=0s"]
        )),
        [
            "environment variable SEALWIRE_CLUSTER__MAIN__TOPIC_IDS: cluster.main.topic_ids = true",
            "flag --set limits.seal_wait: limits.seal_wait = \"0s\"",
        ]
    );
    assert_eq!(
        mistakes(load_with(BASE, &[("SEALWIRE___X", "1")], &["limits", "a..b=1"])),
        [
            "environment variable SEALWIRE___X",
            "flag --set limits",
            "flag --set a..b"
        ]
    );
    assert_eq!(mistakes(load("a = 1\nb = \n")), ["dir/sealwire.toml:2"]);
}

/// CONFIG-2
#[test]
fn several_mistakes_are_reported_at_once_in_the_order_of_the_file() {
    let text = BASE
        .replace("provider = \"file\"", "provider = \"vault\"")
        .replace("client_auth = \"network\"", "")
        .replace("\"9193-9195\"", "\"9193-9194\"")
        .replace("kek = \"payments\"", "kek = \"${team}\"")
        .replace("[admin]\nlisten", "[admin]\nlisden");
    assert_eq!(
        mistakes(load(&text)),
        [
            "dir/sealwire.toml:2: kms.local.provider = \"vault\"",
            "dir/sealwire.toml:9: cluster.main.listeners[0].client_auth",
            "dir/sealwire.toml:15: cluster.main.listeners[0].node_ports = \"9193-9194\"",
            "dir/sealwire.toml:20: cluster.main.topics[0].kek = \"${team}\"",
            "dir/sealwire.toml:22: admin.listen",
            "dir/sealwire.toml:23: admin.lisden = \"127.0.0.1:9190\"",
        ]
    );
}

#[test]
fn suggestions_name_the_key_that_was_meant() {
    let fix = |text: &str| only_mistake(load(text)).fix;
    assert_eq!(
        fix(&BASE.replace("[admin]", "[limits]\nseal_wiat = \"1s\"\n[admin]")),
        "did you mean seal_wait?"
    );
    assert_eq!(
        fix(&format!("executors = 2\n{BASE}")),
        "executors belongs at runtime.executors"
    );
    assert_eq!(
        fix(&format!("zzz = 2\n{BASE}")),
        "the keys here are runtime, log, admin, limits, kms, cluster"
    );
}

/// CONFIG-1, CONFIG-3: One replacement in the base, and a word of the one mistake that it makes.
#[test]
#[expect(clippy::too_many_lines, reason = "a list of cases")]
fn each_mistake_is_refused() {
    let cases = [
        ("\"kafka-1:9092\", ", "\"kafka-1\", ", "has no port"),
        ("\"kafka-1:9092\", ", "\"kafka-2:9092\", ", "twice"),
        ("[\"kafka-1:9092\", \"kafka-2:9092\"]", "[]", "no broker"),
        (
            "[\"kafka-1:9092\", \"kafka-2:9092\"]",
            "\"kafka-1:9092\"",
            "not a list",
        ),
        ("\"network\"", "\"mtls\"", "not available"),
        ("\"network\"", "\"sasl_ssl\"", "not available"),
        (
            "provider = \"file\"",
            "provider = \"hashicorp-vault\"",
            "not available",
        ),
        (
            "\"kafka-1:9092\", ",
            "\"SASL_SSL://kafka-1:9092\", ",
            "names a protocol",
        ),
        ("\"0.0.0.0:9192\"", "\"SSL://0.0.0.0:9192\"", "names a protocol"),
        (
            "[cluster.main]",
            "[cluster.main]\nsecurity_protocol = \"SASL_SSL\"",
            "not available",
        ),
        (
            "[cluster.main]",
            "[cluster.main.tls]\nca = \"a\"\n[cluster.main]",
            "not available",
        ),
        (
            "client_auth = ",
            "\"ssl.keystore.location\" = \"a\"\nclient_auth = ",
            "not available",
        ),
        (
            "[admin]",
            "[sasl]\npassword = \"hunter2\"\n[admin]",
            "not available",
        ),
        ("[admin]", "[reload]\non = true\n[admin]", "not available"),
        ("\"network\"", "\"none\"", "no such way"),
        ("\"0.0.0.0:9192\"", "\"localhost:9192\"", "not an IP address"),
        ("\"0.0.0.0:9192\"", "\"0.0.0.0:0\"", "0 is not a port"),
        (
            "\"0.0.0.0:9192\"",
            "\"0.0.0.0:9190\"",
            "port 9190 is taken by cluster.main.listeners[0].listen (line 11)",
        ),
        ("\"0.0.0.0:9192\"", "\"127.0.0.2:9194\"", "port 9194 is taken"),
        ("\"proxy.example.com\"", "\"0.0.0.0\"", "cannot connect"),
        (
            "\"proxy.example.com\"",
            "\"proxy.example.com:9192\"",
            "neither a name",
        ),
        ("\"0-2\"", "\"0-1,1\"", "1 is in it twice"),
        ("\"0-2\"", "\"0-3\"", "3 ports for 4 nodes"),
        ("\"0-2\"", "\"2-0\"", "backwards"),
        ("\"0-2\"", "[0, 1, -1]", "not a number from 0"),
        ("\"0-2\"", "\"0-2147483647\"", "more than 4096"),
        ("\"9193-9195\"", "\"9193,9193,9194\"", "port 9193 is taken"),
        ("\"9193-9195\"", "[0, 1, 2]", "0 is not a port"),
        (
            "\"9193-9195\"",
            "[9193, 9194, 65536]",
            "not a number from 0 to 65535",
        ),
        (
            "{ file = \"master.key\" }",
            "{ file = \"a\", env = \"B\" }",
            "several sources",
        ),
        ("{ file = \"master.key\" }", "{}", "no source"),
        ("{ file = \"master.key\" }", "\"hunter2\"", "not a table"),
        (
            "{ file = \"master.key\" }",
            "{ systemd_credential = \"a/b\" }",
            "not the name",
        ),
        (
            "{ file = \"master.key\" }",
            "{ env = \"correct horse battery\" }",
            "not the name",
        ),
        ("provider = \"file\"", "provider = \"fiel\"", "no such provider"),
        ("\"payments-*\"", "\"payments *\"", "no topic name can have"),
        ("\"payments-*\"", "{ regex = \"(\" }", "not a regular expression"),
        ("\"payments-*\"", "{ exact = \"..\" }", "not a topic name"),
        (
            "\"payments-*\"",
            "{ exact = \"__consumer_offsets\" }",
            "can never match",
        ),
        ("\"payments-*\"", "{}", "neither an exact name"),
        ("\"payments-*\"", "5", "matches nothing"),
        (
            "kms = \"local\"",
            "kms = \"local\"\npass = true",
            "kms, kek mean nothing beside pass = true",
        ),
        (
            "kms = \"local\"",
            "kms = \"local\"\nreason = \"x\"",
            "only given beside reject",
        ),
        (
            "kms = \"local\"",
            "kms = \"local\"\nkey = \"stable\"",
            "not available",
        ),
        (
            "kms = \"local\"",
            "kms = \"local\"\naccept = [\"kroxylicious\", \"sealwire\"]",
            "cannot be opened",
        ),
        (
            "kms = \"local\"",
            "kms = \"local\"\naccept = [\"plaintext\"]",
            "could not get",
        ),
        (
            "kms = \"local\"",
            "kms = \"local\"\nheaders = \"open\"",
            "no such choice",
        ),
        (
            "kms = \"local\"",
            "kms = \"local\"\nmax_message_bytes = \"101MiB\"",
            "limit stops at",
        ),
        (
            "kms = \"local\"",
            "kms = \"local\"\nopen_keks = [{ kms = \"old\", kek = \"a\" }]",
            "no KMS of this name",
        ),
        (
            "kms = \"local\"",
            "kms = \"local\"\nopen_keks = [5]",
            "names no KEK",
        ),
        ("kms = \"local\"", "kms = \"local\"\ndomain = \"\"", "is empty"),
        ("kek = \"payments\"", "kek = \"${topic\"", "without `}`"),
        ("[admin]", "[limits]\nconnections_max = 0\n[admin]", "less than 1"),
        ("[admin]", "[limits]\nseal_wait = 2\n[admin]", "no unit"),
        (
            "[admin]",
            "[limits]\nin_flight_bytes_max = \"99MiB\"\n[admin]",
            "less than limits.request_bytes_max",
        ),
        (
            "[admin]",
            "[limits]\nexecutor_bytes_max = \"255MiB\"\n[admin]",
            "less than limits.fetch_response_bytes_max",
        ),
        (
            "[admin]",
            "[limits]\nidle_timeout_unauthenticated = \"11m\"\n[admin]",
            "longer than limits.idle_timeout",
        ),
        (
            "[admin]",
            "[runtime]\nexecutors = 0\n[admin]",
            "not a number of executors",
        ),
        (
            "[admin]",
            "[log]\nfilter = \"sealwire=loud\"\n[admin]",
            "there is no level \"loud\"",
        ),
        ("[admin]", "[log]\nformat = \"xml\"\n[admin]", "no such format"),
        (
            "[admin]",
            "[kms.other]\nprovider = \"file\"\npath = \"a\"\nmaster_key = { env = \"A\" }\n[admin]",
            "no rule uses this KMS",
        ),
        (
            "[cluster.main]",
            "[cluster.main]\ntopic_ids = true",
            "not available",
        ),
        (
            "[cluster.main]",
            "[cluster.main]\ntopic_ids = \"trust-broker\"",
            "not available",
        ),
        (
            "[cluster.main]",
            "[cluster.main]\nnode_addresses = { 3 = \"kafka-3:9092\" }",
            "no listener serves",
        ),
        (
            "[cluster.main]",
            "[cluster.main]\nnode_addresses = { 01 = \"kafka-3:9092\" }",
            "not a broker id",
        ),
        ("[cluster.main]", "[cluster.main]\nstate_file = \"\"", "is empty"),
    ];
    for (from, to, expected) in cases {
        let text = BASE.replacen(from, to, 1);
        assert_ne!(text, BASE, "{from} is not in the base");
        let error = only_mistake(load(&text));
        assert!(error.problem.contains(expected), "{to}: {error}");
        assert!(
            !error.fix.is_empty() && matches!(&error.origin, Origin::File { line: Some(_), .. }),
            "{to}: {error}"
        );
    }
}

#[test]
fn limits_at_their_bounds_pass() {
    for (line, passes) in [
        ("connections_max = 1000000", true),
        ("connections_max = 1000001", false),
        ("fetch_hold = \"10s\"", true),
        ("fetch_hold = \"10001ms\"", false),
        ("in_flight_bytes_max = \"100MiB\"", true),
        ("in_flight_bytes_max = 104857599", false),
    ] {
        assert_eq!(
            load(&format!("{BASE}[limits]\n{line}\n")).is_ok(),
            passes,
            "{line}"
        );
    }
}

/// PROBLEM-1
#[test]
fn secrets_in_the_wrong_place_are_not_repeated() {
    for secret in [
        "\"hunter2 hunter2\"",
        "{ env = \"hunter2 hunter2\" }",
        "{ password = \"hunter2\" }",
        "[\"hunter2\"]",
    ] {
        let errors = load(&BASE.replace("{ file = \"master.key\" }", secret))
            .expect_err("a mistake")
            .to_string();
        assert!(!errors.contains("hunter2"), "{errors}");
    }
    for value in ["hunter2", "{ file = \"hunter2\", env = \"hunter2\" }"] {
        let variable = ("SEALWIRE_KMS__LOCAL__MASTER_KEY", value);
        let by_variable = load_with(BASE, &[variable], &[])
            .expect_err("a mistake")
            .to_string();
        let by_flag = load_with(BASE, &[], &[&format!("kms.local.master_key={value}")]);
        let by_flag = by_flag.expect_err("a mistake").to_string();
        assert!(
            !by_variable.contains("hunter2") && !by_flag.contains("hunter2"),
            "{by_variable}{by_flag}"
        );
    }
}

#[test]
fn rules_that_can_never_match_are_refused() {
    let with_rules = |rules: &[&str]| {
        let head = BASE.split("[[cluster.main.topics]]").next().unwrap_or_default();
        let head = head
            .split_once("[cluster")
            .map(|(_, rest)| format!("[cluster{rest}"))
            .unwrap_or_default();
        let rules: String = rules
            .iter()
            .map(|rule| format!("[[cluster.main.topics]]\nmatch = {rule}\npass = true\n"))
            .collect();
        load(&format!("{head}{rules}"))
    };
    for (rules, unreachable) in [
        (&["\"a\"", "\"a\""][..], Some(1)),
        (&["\"*\"", "\"a\""], Some(1)),
        (&["\"**\"", "{ regex = \"a.c\" }"], Some(1)),
        (&["{ regex = \".*\" }", "\"b-*\""], Some(1)),
        (&["\"b\"", "\"a-*\"", "{ exact = \"a-1\" }"], Some(2)),
        (&["{ regex = \"a-[0-9]\" }", "{ exact = \"a-1\" }"], Some(1)),
        (&["{ regex = \"a-[0-9]\" }", "{ regex = \"a-[0-9]\" }"], Some(1)),
        (&["\"a-?*\"", "\"a-1*\""], Some(1)),
        (&["\"a-1*\"", "\"a-?*\""], None),
        (&["\"a-?\"", "\"a-*\""], None),
        (&["{ exact = \"a-1\" }", "\"a-*\"", "\"*\""], None),
    ] {
        match (with_rules(rules), unreachable) {
            (Ok(_), None) => {}
            (Err(errors), Some(index)) => {
                let error = only_mistake(Err(errors));
                assert_eq!(
                    error.key,
                    format!("cluster.main.topics[{index}].match"),
                    "{rules:?}"
                );
                assert!(error.problem.contains("can never match"), "{error}");
            }
            (result, expected) => panic!("{rules:?}: {expected:?}, {result:?}"),
        }
    }
}

#[test]
fn rules_become_what_they_say() {
    let text = BASE.replace(
        "[[cluster.main.topics]]",
        r#"[kms.old]
provider = "file"
path = "old.json"
master_key = { systemd_credential = "old" }

[[cluster.main.topics]]
match = { regex = '(?<team>[a-z]+)\.(.*)' }
kms = "local"
kek = "${team}/$$/${2}"
open_keks = ["old-${1}", { kms = "old", kek = "${topic}" }]
domain = "d:${2}"
open_domains = ["eu.${topic}"]
headers = "bound"
open_headers = "free"
accept = ["sealwire", "tombstone"]
max_message_bytes = "2MiB"
on_unreadable = "skip"

[[cluster.main.topics]]
match = "gone-*"
reject = true
reason = "moved"

[[cluster.main.topics]]
match = "public-?"
pass = true

[[cluster.main.topics]]"#,
    );
    let config = load(&text).unwrap_or_else(|errors| panic!("{errors}"));
    let rules = &config.clusters.first().expect("a cluster").rules;
    let action = |topic: &str| rules.resolve(topic).map(|rule| rule.action);
    let Some(Action::Seal(seal)) = action("core.orders") else {
        panic!("it seals")
    };
    assert_eq!(&*seal.kek, "core/$/orders");
    let named = |(kms, kek): &(KmsId, Arc<str>)| format!("{}: {kek}", config.ids.kms.name(*kms));
    let keks: Vec<_> = seal.open_keks.iter().map(named).collect();
    assert_eq!(
        keks,
        ["local: core/$/orders", "local: old-core", "old: core.orders"]
    );
    assert_eq!(
        (seal.domain.name(), seal.max_message_bytes),
        ("d:orders", 2 << 20)
    );
    assert_eq!(
        seal.open_domains
            .iter()
            .map(|domain| domain.name())
            .collect::<Vec<_>>(),
        ["eu.core.orders"]
    );
    assert_eq!(
        (seal.headers, seal.open_headers, seal.on_unreadable),
        (HeaderMode::Bound, HeaderMode::Free, OnUnreadable::Skip)
    );
    assert!(seal.accept.contains(Forms::TOMBSTONE) && !seal.accept.contains(Forms::PLAINTEXT));
    assert!(matches!(action("gone-1"), Some(Action::Reject { reason: Some(reason) }) if &*reason == "moved"));
    assert!(matches!(action("public-1"), Some(Action::Pass)));
    assert!(action("public-12").is_none() && action("unknown").is_none());
    assert!(matches!(
        action("__consumer_offsets"),
        Some(Action::KafkaInternal)
    ));
    let refused = action(&format!("core.{}", "x".repeat(244)));
    assert!(matches!(refused, Some(Action::Seal(_))), "249 bytes fit");
}

/// BASE with further lines in its rule.
fn with_rule_keys(keys: &str) -> String {
    BASE.replace("kek = \"payments\"\n", &format!("kek = \"payments\"\n{keys}\n"))
}

#[test]
fn readers_may_get_weaker_headers_only_where_it_is_written() {
    use HeaderMode::{Bound, Free, Sealed};
    let read = |keys: &str| {
        let config = load(&with_rule_keys(keys)).unwrap_or_else(|errors| panic!("{keys}: {errors}"));
        let rules = config.clusters.first().map(|cluster| cluster.rules.clone());
        match rules
            .and_then(|rules| rules.resolve("payments-1"))
            .map(|rule| rule.action)
        {
            Some(Action::Seal(seal)) => (seal.headers, seal.open_headers),
            other => panic!("{other:?}"),
        }
    };
    for (keys, expected) in [
        ("", (Sealed, Sealed)),
        ("headers = \"bound\"", (Bound, Bound)),
        ("headers = \"free\"", (Free, Free)),
        ("open_headers = \"bound\"", (Sealed, Bound)),
        ("open_headers = \"free\"", (Sealed, Free)),
        ("headers = \"bound\"\nopen_headers = \"bound\"", (Bound, Bound)),
    ] {
        assert_eq!(read(keys), expected, "{keys}");
    }
    for keys in [
        "headers = \"bound\"\nopen_headers = \"sealed\"",
        "headers = \"free\"\nopen_headers = \"bound\"",
        "open_headers = \"weak\"",
    ] {
        let error = only_mistake(load(&with_rule_keys(keys)));
        assert_eq!(error.key, "cluster.main.topics[0].open_headers", "{error}");
    }
}

/// ENV-46: nobody has verified the key of a record that does not open.
#[test]
fn a_record_that_does_not_open_deletes_nothing_unless_tombstones_are_accepted() {
    for (keys, good) in [
        ("on_unreadable = \"null\"", false),
        ("on_unreadable = \"null\"\naccept = [\"sealwire\"]", false),
        (
            "on_unreadable = \"null\"\naccept = [\"sealwire\", \"plaintext\"]",
            false,
        ),
        (
            "on_unreadable = \"null\"\naccept = [\"sealwire\", \"tombstone\"]",
            true,
        ),
        ("on_unreadable = \"skip\"", true),
    ] {
        let read = load(&with_rule_keys(keys));
        if good {
            assert!(read.is_ok(), "{keys}: {read:?}");
        } else {
            let error = only_mistake(read);
            assert_eq!(error.key, "cluster.main.topics[0].on_unreadable", "{error}");
            assert!(error.fix.contains("tombstone"), "{error}");
        }
    }
}

/// A second cluster, with these keys of its own and in its only rule, and a KMS beside the first.
fn second_cluster(cluster_keys: &str, rule_keys: &str) -> String {
    format!(
        r#"{BASE}
[cluster.west]
bootstrap = ["kafka-8:9092"]
{cluster_keys}
[[cluster.west.listeners]]
name = "lan"
listen = "0.0.0.0:9292"
client_auth = "network"
advertised_host = "proxy.example.com"
nodes = "0"
node_ports = "9293"

[[cluster.west.topics]]
match = "*"
{rule_keys}
"#
    )
}

#[test]
fn two_clusters_share_a_kek_and_a_domain_only_where_it_is_said() {
    const SAME: &str = r#"kms = "local"
kek = "payments""#;
    let errors = load(&second_cluster("", SAME)).expect_err("a mistake");
    assert_eq!(errors.errors().len(), 1, "{errors}");
    let text = errors.to_string();
    for said in [
        "cluster.west.topics[0].match",
        "cluster main",
        "its rule 1",
        "${cluster}/${topic}",
        r#"shares_records_with = ["main"]"#,
    ] {
        assert!(text.contains(said), "{said}: {text}");
    }
    let same = |further: &str| format!("{SAME}\n{further}");
    let under = |kek: &str| format!("kms = \"local\"\nkek = {kek}");
    for (rule_keys, good) in [
        (same(""), false),
        (under(r#""west""#), true),
        (under(r#""${topic}""#), false),
        (under(r#""${cluster}""#), true),
        (under("\"west\"\nopen_keks = [\"payments\"]"), false),
        (same(r#"domain = "${cluster}/${topic}""#), true),
        (same(r#"domain = "${cluster}-${topic}""#), true),
        (same(r#"domain = "payments-${topic}""#), false),
        (
            same("domain = \"${cluster}/${topic}\"\nopen_domains = [\"${topic}\"]"),
            false,
        ),
        ("pass = true".to_owned(), true),
    ] {
        let read = load(&second_cluster("", &rule_keys));
        assert_eq!(read.is_ok(), good, "{rule_keys}: {read:?}");
        // Said in vain it would permit later what nobody has thought of.
        let read = load(&second_cluster("shares_records_with = [\"main\"]", &rule_keys));
        assert_eq!(read.is_ok(), !good, "{rule_keys}: {read:?}");
    }
    let said_by_the_other = second_cluster("", SAME).replace(
        "[cluster.main]\n",
        "[cluster.main]\nshares_records_with = [\"west\"]\n",
    );
    assert!(load(&said_by_the_other).is_ok());
    for name in ["west", "nowhere"] {
        let keys = format!("shares_records_with = [\"{name}\"]");
        let error = only_mistake(load(&second_cluster(&keys, "pass = true")));
        assert_eq!(error.key, "cluster.west.shares_records_with[0]", "{error}");
    }
}

#[test]
fn a_rule_knows_the_name_of_its_cluster() {
    let keys = r#"domain = "${cluster}/${topic}"
open_domains = ["${topic}", "old-${cluster}"]"#;
    let config = load(&with_rule_keys(keys)).unwrap_or_else(|errors| panic!("{errors}"));
    let rules = config.clusters.first().map(|cluster| cluster.rules.clone());
    let rule = rules.and_then(|rules| rules.resolve("payments-1"));
    let Some(Action::Seal(seal)) = rule.map(|rule| rule.action) else {
        panic!("it seals")
    };
    assert_eq!(seal.domain.name(), "main/payments-1");
    let further: Vec<_> = seal.open_domains.iter().map(|domain| domain.name()).collect();
    assert_eq!(further, ["payments-1", "old-main"]);
}

/// Two KMSs are one if they have the same keystore, by whatever path.
#[test]
fn a_keystore_is_itself_by_whatever_path() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name);
    let other =
        "[kms.other]\nprovider = \"file\"\npath = \"other.json\"\nmaster_key = { file = \"master.key\" }\n\n";
    let text = second_cluster("", "kms = \"other\"\nkek = \"payments\"")
        .replace("[cluster.main]\n", &format!("{other}[cluster.main]\n"));
    fs::write(at("sealwire.toml"), text).expect("written");
    create_key_file(&at("master.key")).expect("a key");
    let keystore = || {
        let secret = MasterKeySource::File(at("master.key")).read().expect("a key");
        let mut keystore = OpenKeystore::create(secret).expect("a keystore");
        keystore.to_json().expect("a document")
    };
    let mistakes = || match Config::load(&at("sealwire.toml"), Overrides::default()) {
        Ok(_) => 0,
        Err(errors) => errors.errors().len(),
    };
    let one = keystore();
    fs::write(at("keystore.json"), &one).expect("written");
    fs::write(at("other.json"), &one).expect("written");
    assert_eq!(mistakes(), 1, "a copy");
    fs::remove_file(at("other.json")).expect("removed");
    std::os::unix::fs::symlink(at("keystore.json"), at("other.json")).expect("linked");
    assert_eq!(mistakes(), 1, "a link");
    fs::remove_file(at("other.json")).expect("removed");
    fs::write(at("other.json"), keystore()).expect("written");
    assert_eq!(mistakes(), 0, "another keystore");
}

#[test]
fn files_have_to_be_there_and_secret() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("sealwire.toml");
    fs::write(
        &path,
        BASE.replace(
            "[cluster.main]",
            "[cluster.main]\nstate_file = \"state/addresses.json\"",
        ),
    )
    .expect("written");
    let problems = || match Config::load(&path, Overrides::default()) {
        Ok(_) => Vec::new(),
        Err(errors) => errors
            .errors()
            .iter()
            .map(|error| format!("{} {}", error.key, error.problem))
            .collect(),
    };
    let found = problems();
    assert_eq!(found.len(), 3, "{found:?}");
    let there_is_no_file = found
        .iter()
        .filter(|problem| problem.contains("there is no file"));
    assert_eq!(there_is_no_file.count(), 2, "{found:?}");
    let fixes = Config::load(&path, Overrides::default())
        .expect_err("mistakes")
        .to_string();
    assert!(
        fixes.contains("correct the path; if there is no keystore yet"),
        "{fixes}"
    );
    assert!(found.iter().all(|problem| problem.contains("keystore.json")
        || problem.contains("master.key")
        || problem.contains("state")));

    fs::create_dir(folder.path().join("state")).expect("made");
    fs::write(folder.path().join("keystore.json"), "{}").expect("written");
    let key = folder.path().join("master.key");
    fs::write(&key, [7; 32]).expect("written");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o640)).expect("set");
    let found = problems();
    assert!(
        matches!(found.as_slice(), [problem] if problem.contains("mode 0640")),
        "{found:?}"
    );

    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).expect("set");
    assert_eq!(problems(), Vec::<String>::new());
}

/// OWN-PORTS-2: OWN-PORTS-2
#[test]
fn brokers_that_are_the_proxy_itself_are_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("sealwire.toml");
    let own = |brokers: &str| {
        fs::write(
            &path,
            BASE.replace("[\"kafka-1:9092\", \"kafka-2:9092\"]", brokers),
        )
        .expect("written");
        let errors = Config::load(&path, Overrides::default()).expect_err("there is no keystore");
        let own = errors
            .errors()
            .iter()
            .filter(|error| error.problem.contains("the proxy itself"));
        own.map(|error| error.key.clone()).collect::<Vec<_>>()
    };
    for address in [
        "127.0.0.1:9192",
        "127.3.2.1:9193",
        "0.0.0.0:9195",
        "[::ffff:127.0.0.1]:9194",
        "localhost:9192",
        "127.0.0.1:9190",
    ] {
        let brokers = format!("[\"192.0.2.7:9192\", \"{address}\"]");
        assert_eq!(own(&brokers), ["cluster.main.bootstrap[1]"], "{address}");
    }
    let addresses =
        "[\"192.0.2.7:9092\"]\nnode_addresses = { 0 = \"192.0.2.7:9193\", 2 = \"localhost:9195\" }";
    assert_eq!(own(addresses), ["cluster.main.node_addresses.2"]);
    for other in [
        "127.0.0.1:9191",
        "127.0.0.1:9196",
        "192.0.2.7:9192",
        "name.invalid:9192",
        "127.0.0.2:9190",
    ] {
        assert_eq!(own(&format!("[\"{other}\"]")), Vec::<String>::new(), "{other}");
    }
}

#[test]
fn two_clusters_do_not_share_a_state_file_however_it_is_spelled() {
    let folder = tempfile::tempdir().expect("a folder");
    fs::create_dir(folder.path().join("state")).expect("made");
    fs::write(folder.path().join("keystore.json"), "{}").expect("written");
    let key = folder.path().join("master.key");
    fs::write(&key, [7; 32]).expect("written");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).expect("set");
    let path = folder.path().join("sealwire.toml");
    let clusters = |second: &str| {
        let main = BASE.split("[admin]").next().expect("clusters");
        let main = main.replace("[cluster.main]", "[cluster.main]\nstate_file = \"state/a.json\"");
        let (kms, cluster) = main.split_at(main.find("[cluster.main]").expect("a cluster"));
        let other = cluster
            .replace("cluster.main", "cluster.other")
            .replace("state/a.json", second)
            .replace("kek = \"payments\"", "kek = \"other\"")
            .replace(":9192", ":9292")
            .replace("9193-9195", "9293-9295");
        format!("{kms}{cluster}\n{other}")
    };
    for (second, shared) in [
        ("state/a.json", true),
        ("./state/../state/a.json", true),
        ("state/a.json.new", true),
        ("state/a.json.lock", true),
        ("state/a.new", false),
        ("a.json", false),
    ] {
        fs::write(&path, clusters(second)).expect("written");
        let loaded = Config::load(&path, Overrides::default());
        let problem = loaded.is_err().then(|| only_mistake(loaded).problem);
        assert_eq!(
            problem
                .as_deref()
                .map(|problem| problem.contains("another cluster writes this file")),
            shared.then_some(true),
            "{second}: {problem:?}"
        );
    }
}

#[test]
fn an_unreadable_file_is_a_mistake() {
    let folder = tempfile::tempdir().expect("a folder");
    let load = |path: &Path| only_mistake(Config::load(path, Overrides::default())).problem;
    assert!(load(&folder.path().join("missing.toml")).contains("cannot be read"));
    let path = folder.path().join("binary.toml");
    fs::write(&path, [0xff, 0xfe]).expect("written");
    assert!(load(&path).contains("not UTF-8"));
    fs::write(&path, vec![b'#'; (4 << 20) + 1]).expect("written");
    assert!(load(&path).contains("more than 4194304 bytes"));
}

/// Words that bring random texts near to something meaningful.
const WORDS: [&str; 40] = [
    "[kms.local]\n",
    "[cluster.main]\n",
    "[[cluster.main.listeners]]\n",
    "[[cluster.main.topics]]\n",
    "[admin]\n",
    "[limits]\n",
    "provider",
    "path",
    "master_key",
    "bootstrap",
    "listen",
    "nodes",
    "node_ports",
    "match",
    "kek",
    "kms",
    "pass",
    "reject",
    "open_keks",
    "accept",
    "domain",
    " = ",
    "\"*\"",
    "\"${1}\"",
    "\"${",
    "{ regex = \"(a)|b\" }",
    "{ exact = \"x\" }",
    "true",
    "[1, 2]",
    "\"0-99999999999\"",
    "{",
    "}",
    "[",
    "]",
    "\n",
    "\"file\"",
    "-1",
    "1.5",
    "1979-05-27",
    "é",
];

/// CONFIG-4
#[test]
fn depth_and_length_cost_no_stack_and_little_time() {
    let deep = "a.".repeat(50_000);
    for text in [
        format!("{deep}a = 1"),
        format!("[{deep}a]"),
        format!("[[{deep}a]]"),
        format!("a = {}", "[".repeat(100_000)),
        format!("a = {}", "{a=".repeat(100_000)),
        format!("a = {{ {deep}a = 1 }}"),
        "[[cluster.main.topics]]\n".repeat(100_000),
        (0..50_000).map(|number| format!("key{number} = 1\n")).collect(),
    ] {
        assert!(load(&text).is_err());
        let _ = load_with(
            BASE,
            &[(&format!("SEALWIRE_{}A", "A__".repeat(20_000)), &text)],
            &[&text],
        );
    }
}

proptest! {
    #[test]
    fn no_text_panics(text in ".{0,200}") {
        let _ = load(&text);
    }

    /// CONFIG-4
    #[test]
    fn no_likely_text_panics(words in proptest::collection::vec(proptest::sample::select(&WORDS[..]), 0..40)) {
        let _ = load(&words.concat());
    }

    #[test]
    fn a_damaged_configuration_is_refused_or_read_but_never_panics(
        at in 0..BASE.len(), length in 0usize..40, insert in "[ -~\n]{0,12}",
    ) {
        let end = (at + length).min(BASE.len());
        let text = format!("{}{insert}{}", &BASE[..at], &BASE[end..]);
        if let Err(errors) = load(&text) {
            prop_assert!(!errors.errors().is_empty());
        }
    }

    #[test]
    fn variables_and_flags_never_panic(name in "[A-Z_]{0,24}", value in ".{0,60}", setting in "[a-z.=_\\[\\]0-9]{0,40}") {
        let _ = load_with(BASE, &[(&format!("SEALWIRE_{name}"), &value)], &[&setting]);
    }
}

/// IDS-1, IDS-2
#[test]
fn configurations_that_differ_by_a_cluster_keep_the_ids_of_the_others() {
    // In order of name the new one comes first, and its listener has the name of another cluster's.
    let added = BASE.replace(
        "[admin]",
        r#"[cluster.earlier]
bootstrap = ["kafka-9:9092"]

[[cluster.earlier.listeners]]
name = "lan"
listen = "0.0.0.0:9292"
client_auth = "network"
advertised_host = "proxy.example.com"
nodes = "0"
node_ports = "9293"

[[cluster.earlier.topics]]
match = "logs-*"
pass = true

[admin]"#,
    );
    let after = |text: &str, ids: &Ids| {
        let inputs = Inputs {
            text,
            path: PathBuf::from("dir/sealwire.toml"),
            ..Inputs::default()
        };
        parse(inputs, Reach::Skip, ids.clone()).unwrap_or_else(|errors| panic!("{errors}"))
    };
    let ids_of = |config: &Config, cluster: &str| {
        let cluster = config.clusters.iter().find(|known| known.name == cluster)?;
        Some((cluster.id, cluster.listeners[0].id))
    };
    let first = after(BASE, &Ids::default());
    let second = after(&added, &first.ids);
    let third = after(BASE, &second.ids);
    let fourth = after(&added, &third.ids);
    let main = ids_of(&first, "main");
    for config in [&second, &third, &fourth] {
        assert_eq!(ids_of(config, "main"), main);
        assert_eq!(config.kms[0].id, first.kms[0].id);
    }
    let (new, (known, known_listener)) = (ids_of(&second, "earlier"), main.expect("there is one"));
    assert_eq!(new, ids_of(&fourth, "earlier"), "it has come back");
    assert!(new.is_some_and(|(cluster, listener)| cluster != known && listener != known_listener));
    assert_eq!(fourth.ids.clusters.name(known), "main");
    assert_eq!(fourth.ids.listeners.name(known_listener), "main/lan");
}
