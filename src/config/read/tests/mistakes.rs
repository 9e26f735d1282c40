//! How mistakes are told: where, what, and what to write instead.

use super::{BASE, load, load_with, mistakes, only_mistake};
use crate::config::*;

#[test]
fn mistakes_name_line_variable_or_flag() {
    assert_eq!(
        mistakes(load(
            &BASE.replace("name = \"lan\"", "name = \"lan\"\nlisten_backlog = 5")
        )),
        ["dir/sealwire.toml:11: cluster.main.listeners[0].listen_backlog"]
    );
    assert_eq!(
        mistakes(load_with(BASE, &[("SEALWIRE_LIMITS__CONNECTION_MAX", "5")], &[])),
        ["environment variable SEALWIRE_LIMITS__CONNECTION_MAX: limits.connection_max"]
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
        .replace("provider = \"file\"", "provider = \"azure\"")
        .replace("client_auth = \"network\"", "")
        .replace("\"9193-9195\"", "\"9193-9194\"")
        .replace("kek = \"payments\"", "kek = \"${team}\"")
        .replace("[admin]\nlisten", "[admin]\nlisden");
    assert_eq!(
        mistakes(load(&text)),
        [
            "dir/sealwire.toml:2: kms.local.provider = \"azure\"",
            "dir/sealwire.toml:9: cluster.main.listeners[0].client_auth",
            "dir/sealwire.toml:15: cluster.main.listeners[0].node_ports = \"9193-9194\"",
            "dir/sealwire.toml:20: cluster.main.topics[0].kek = \"${team}\"",
            "dir/sealwire.toml:22: admin.listen",
            "dir/sealwire.toml:23: admin.lisden",
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
        "the keys here are runtime, log, audit, keyring, admin, limits, kms, cluster"
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
        (
            "match = \"payments-*\"",
            "match = [\"payments\", \"orders\"]",
            "lists are not taken",
        ),
        ("match = \"payments-*\"", "match = 7", "this matches nothing"),
        ("\"network\"", "\"mtls\"", "without TLS no client"),
        ("\"network\"", "\"sasl_ssl\"", "not available"),
        ("\"network\"", "\"sasl\"", "not said who may log in"),
        (
            "provider = \"file\"",
            "provider = \"google-kms\"",
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
            "no such key",
        ),
        (
            "[cluster.main]",
            "[cluster.main.tls]\nca = \"a\"\n[cluster.main]",
            "no such key",
        ),
        (
            "client_auth = ",
            "\"ssl.keystore.location\" = \"a\"\nclient_auth = ",
            "no such key",
        ),
        (
            "[admin]",
            "[audit]\non_full = \"drop\"\n[admin]",
            "audit has no to",
        ),
        (
            "[admin]",
            "[audit]\nto = \"a\"\non_full = \"wait\"\n[admin]",
            "there is no such way",
        ),
        ("[admin]", "[audit]\nto = \"\"\n[admin]", "this is empty"),
        (
            "[admin]",
            "[audit]\nto = \"keystore.json\"\n[admin]",
            "this file is that of kms.local.path as well",
        ),
        (
            "[admin]",
            "[sasl]\npassword = \"hunter2\"\n[admin]",
            "no such key",
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
        (
            "name = \"lan\"",
            "name = \"lan\"\nproxy_protocol = \"required\"",
            "cluster.main.listeners[0] has no proxy_protocol_sources",
        ),
        (
            "name = \"lan\"",
            "name = \"lan\"\nproxy_protocol_sources = [\"10.0.0.0/8\"]",
            "without proxy_protocol",
        ),
        (
            "name = \"lan\"",
            "name = \"lan\"\nproxy_protocol = \"allowed\"\nproxy_protocol_sources = [\"10.0.0.0/8\"]",
            "no such way",
        ),
        (
            "name = \"lan\"",
            "name = \"lan\"\nproxy_protocol = \"required\"\nproxy_protocol_sources = []",
            "not 1 to 100 networks",
        ),
        (
            "name = \"lan\"",
            "name = \"lan\"\nproxy_protocol = \"required\"\nproxy_protocol_sources = [\"10.0.0.0/8\", \"10.1.2.3/8\"]",
            "the network would be 10.0.0.0/8",
        ),
        (
            "name = \"lan\"",
            "name = \"lan\"\nproxy_protocol = \"required\"\nproxy_protocol_sources = [\"haproxy\"]",
            "this is no network",
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
            "there is no keyring",
        ),
        (
            "kms = \"local\"",
            "kms = \"local\"\naccept_sealed_keys = true",
            "there is no keyring",
        ),
        (
            "kms = \"local\"",
            "kms = \"local\"\nkey = \"sealed\"",
            "there is no such choice",
        ),
        (
            "kms = \"local\"",
            "kms = \"local\"\naccept_clear_keys = true",
            "clear keys are what this rule is for",
        ),
        ("[admin]", "[keyring]\n[admin]", "keyring has no path"),
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
        (
            "kek = \"payments\"",
            "kek = \"${topic} payments\"",
            "holds no KEK of such a name",
        ),
        (
            "kms = \"local\"",
            "kms = \"local\"\nopen_keks = [\"zahlungen-für\"]",
            "holds no KEK of such a name",
        ),
        (
            "kms = \"local\"",
            "kms = \"local\"\nopen_keks = [{ kms = \"local\", kek = \"a\\tb\" }]",
            "holds no KEK of such a name",
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
        (
            "kek = \"payments\"",
            "kek = \"payments\"\nopen_for = [\"User:app\"]",
            "have no names",
        ),
        (
            "[cluster.main]",
            "[cluster.main]\ngroups = { payments = [\"app\"] }",
            "not a principal",
        ),
        (
            "[cluster.main]",
            "[cluster.main]\ngroups = { payments = 7 }",
            "not a list",
        ),
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
    // Names that nobody knows: what stands there may be what the right name would have hidden.
    for name in [
        "passphrase",
        "passphrase_file",
        "master-key",
        "MASTER_KEY",
        "masterkey",
        "token",
    ] {
        let line = format!("[kms.local]\n{name} = \"hunter2\"");
        let in_file = load(&BASE.replacen("[kms.local]", &line, 1));
        let by_flag = load_with(BASE, &[], &[&format!("kms.local.{name}=hunter2")]);
        for loaded in [in_file, by_flag] {
            let errors = loaded.expect_err("a mistake").to_string();
            assert!(errors.contains(name) && !errors.contains("hunter2"), "{errors}");
        }
    }
}

/// The most open way is never the one that is proposed.
#[test]
fn who_vouches_for_clients_is_proposed_by_what_stands_beside_it() {
    let none = BASE.replace("client_auth = \"network\"\n", "");
    let with = |table: &str| {
        let text = none.replacen(
            "[[cluster.main.topics]]",
            &format!("{table}[[cluster.main.topics]]"),
            1,
        );
        let errors = load(&text).expect_err("a mistake");
        let errors = errors.errors().iter();
        let mut of_key = errors.filter(|error| error.key == "cluster.main.listeners[0].client_auth");
        of_key.next().expect("it is missing").fix.clone()
    };
    let sasl = "[cluster.main.listeners.sasl]\ncredentials = \"users\"\n";
    let tls = "[cluster.main.listeners.tls]\ncertificate = \"a\"\nkey = \"b\"\n";
    assert!(with(sasl).starts_with("write client_auth = \"sasl\": "));
    assert!(with(&format!("{tls}client_ca = \"c\"\n")).starts_with("write client_auth = \"mtls\": "));
    for table in ["", tls] {
        let fix = with(table);
        let places: Vec<_> = ["sasl", "mtls", "broker", "network"]
            .iter()
            .map(|way| fix.find(&format!("{way:?}")).expect("each is named"))
            .collect();
        assert!(places.is_sorted(), "{fix}");
    }
}
