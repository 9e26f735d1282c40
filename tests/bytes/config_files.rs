//! The configuration files that ship, and the reference that describes them.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use sealwire::config::schema::{Kind, keys};
use sealwire::config::{Config, KmsKind, Limits, MasterKeySource, Overrides, reference};
use sealwire::rules::{Action, Forms};

fn repository() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn shipped(name: &str) -> String {
    let path = repository().join("config").join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// A copy of a shipped file in a folder of its own, with the files that it names beside it.
fn load_copy(name: &str) -> Config {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join(name);
    fs::write(&path, shipped(name)).expect("written");
    let parsed = Config::from_toml_text(&shipped(name), &path).unwrap_or_else(|errors| panic!("{errors}"));
    for kms in &parsed.kms {
        let KmsKind::File { path, master_key } = &kms.kind else {
            panic!("only file keystores ship")
        };
        fs::write(path, "{}").expect("written");
        if let MasterKeySource::File(path) = master_key {
            fs::write(path, [7; 32]).expect("written");
            fs::set_permissions(path, fs::Permissions::from_mode(0o600)).expect("set");
        }
    }
    Config::load(&path, Overrides::default()).unwrap_or_else(|errors| panic!("{errors}"))
}

#[test]
fn the_minimal_file_loads_and_seals_every_topic() {
    let config = load_copy("minimal.toml");
    let [cluster] = config.clusters.as_slice() else {
        panic!("one cluster")
    };
    assert_eq!(config.limits, Limits::default());
    assert!(
        cluster.state_file.is_some(),
        "node ports are known after a restart"
    );
    for topic in ["a", "payments"] {
        let Some(Action::Seal(rule)) = cluster.rules.resolve(topic).map(|rule| rule.action) else {
            panic!("{topic} is not sealed")
        };
        assert_eq!((&*rule.kek, rule.accept), ("default", Forms::SEALWIRE));
    }
}

#[test]
fn the_production_file_loads_and_does_what_its_comments_say() {
    let config = load_copy("production.toml");
    assert_eq!(
        config.limits,
        Limits::default(),
        "the comments say that these are the defaults"
    );
    let [cluster] = config.clusters.as_slice() else {
        panic!("one cluster")
    };
    let action = |topic: &str| cluster.rules.resolve(topic).map(|rule| rule.action);
    let Some(Action::Seal(payments)) = action("payments") else {
        panic!("payments is not sealed")
    };
    assert_eq!(payments.open_keks.len(), 2);
    assert_eq!(payments.max_message_bytes, 2 << 20);
    let Some(Action::Seal(team)) = action("core.events.login") else {
        panic!("teams' events are not sealed")
    };
    assert_eq!(&*team.kek, "team-core");
    assert_eq!(
        team.open_domains.first().map(|domain| domain.name()),
        Some("eu.core.events.login")
    );
    let Some(Action::Seal(orders)) = action("orders-1") else {
        panic!("orders are not sealed")
    };
    assert!(orders.accept.contains(Forms::PLAINTEXT.with(Forms::TOMBSTONE)));
    assert!(matches!(action("public-1"), Some(Action::Pass(_))));
    assert!(matches!(
        action("legacy-1"),
        Some(Action::Reject { reason: Some(_) })
    ));
    assert!(action("anything-else").is_none());
}

/// The last name of a schema path that an operator writes.
fn written_name(path: &str) -> Option<&str> {
    path.rsplit('.')
        .next()
        .filter(|name| !matches!(*name, "*" | "[]"))
}

#[test]
fn the_production_file_shows_every_key() {
    let text = shipped("production.toml");
    for key in keys() {
        let Some(name) = written_name(key.path) else {
            continue;
        };
        let shown = match key.kind {
            Kind::Table | Kind::Tables => {
                text.contains(&format!("[{name}"))
                    || text.contains(&format!(".{name}]"))
                    || text.contains(&format!("{name} = "))
            }
            _ => text.lines().any(|line| {
                let line = line.trim_start_matches(['#', ' ']);
                line.starts_with(&format!("{name} = "))
                    || line.contains(&format!("{{ {name} = "))
                    || line.contains(&format!(", {name} = "))
            }),
        };
        assert!(shown, "{} is not in production.toml", key.path);
    }
}

/// SCHEMA-1: `UPDATE_DOCS=1` writes the reference instead of comparing it.
#[test]
fn the_reference_is_what_the_schema_says() {
    let path = repository().join("docs/configuration.md");
    let text = fs::read_to_string(&path).expect("docs/configuration.md");
    let begin = text
        .find("<!-- reference:")
        .and_then(|at| text.get(at..)?.find("-->").map(|end| at + end + 3));
    let end = text.find("<!-- end of reference -->");
    let (Some(begin), Some(end)) = (begin, end) else {
        panic!("the marks are gone")
    };
    let expected = format!("{}\n\n{}\n{}", &text[..begin], reference(), &text[end..]);
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&path, &expected).expect("written");
    }
    let text = fs::read_to_string(&path).expect("docs/configuration.md");
    assert!(
        text == expected,
        "docs/configuration.md is stale: run UPDATE_DOCS=1 cargo test --test bytes config_files"
    );
}

#[test]
fn shipped_files_are_refused_where_their_keystores_are_missing() {
    for (name, missing) in [("minimal.toml", 2), ("production.toml", 4)] {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join(name);
        fs::write(&path, shipped(name)).expect("written");
        let errors = Config::load(&path, Overrides::default()).expect_err("there is no keystore");
        assert_eq!(errors.errors().len(), missing, "{errors}");
    }
}
