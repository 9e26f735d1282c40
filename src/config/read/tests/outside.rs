//! What a configuration names outside of itself: files, and addresses that are its own.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use super::{BASE, only_mistake};
use crate::config::*;

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

/// OWN-PORTS-2
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
