//! Several clusters in one configuration: what they may share, and by what they are known.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use super::{BASE, load, only_mistake};
use crate::config::read::node::Reach;
use crate::config::read::parse;
use crate::config::read::sources::Inputs;
use crate::config::*;
use crate::ids::Ids;
use crate::kms::keystore::{OpenKeystore, create_key_file};

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
fn two_clusters_do_not_share_a_state_file_however_it_is_spelled() {
    let folder = tempfile::tempdir().expect("a folder");
    fs::create_dir(folder.path().join("state")).expect("made");
    fs::write(folder.path().join("keystore.json"), "{}").expect("written");
    let key = folder.path().join("master.key");
    fs::write(&key, [7; 32]).expect("written");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).expect("set");
    let path = folder.path().join("sealwire.toml");
    let clusters = |second: &str| {
        let state_file = format!("state_file = \"{second}\"");
        second_cluster(&state_file, "kms = \"local\"\nkek = \"other\"")
            .replace("[cluster.main]", "[cluster.main]\nstate_file = \"state/a.json\"")
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
                .map(|problem| problem.contains("that of cluster.main.state_file as well")),
            shared.then_some(true),
            "{second}: {problem:?}"
        );
    }
}

/// IDS-1, IDS-2
#[test]
fn configurations_that_differ_by_a_cluster_keep_the_ids_of_the_others() {
    // In order of name the new one comes first, and its listener has the name of another cluster's.
    let added = second_cluster("", "pass = true").replace("cluster.west", "cluster.earlier");
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
