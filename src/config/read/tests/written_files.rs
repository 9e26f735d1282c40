//! Files that the program writes are for nothing else, and can be written.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use super::{BASE, load, only_mistake};
use crate::config::*;

/// Every kind of file that a configuration names, with the key that names it.
const NAMED: [(&str, &str); 12] = [
    ("keystore.json", "kms.local.path"),
    ("master.key", "kms.local.master_key.file"),
    ("sealwire.toml", "the configuration itself"),
    ("addresses.json", "cluster.main.state_file"),
    ("brokers.pem", "cluster.main.upstream_tls.ca"),
    ("payers", "cluster.main.groups.payers"),
    ("server.pem", "cluster.main.listeners[0].tls.certificate"),
    ("server.key", "cluster.main.listeners[0].tls.key"),
    ("clients.pem", "cluster.main.listeners[0].tls.client_ca"),
    ("revoked.pem", "cluster.main.listeners[0].tls.crl[0]"),
    ("users", "cluster.main.listeners[0].sasl.credentials"),
    (
        "jwks.json",
        "cluster.main.listeners[0].sasl.oauthbearer.jwks_file",
    ),
];
const TABLES: &str = r#"[cluster.main.upstream_tls]
ca = "brokers.pem"
[cluster.main.groups]
payers = "payers"
[cluster.main.listeners.tls]
certificate = "server.pem"
key = "server.key"
client_ca = "clients.pem"
crl = ["revoked.pem"]
[cluster.main.listeners.sasl]
mechanisms = ["SCRAM-SHA-256", "OAUTHBEARER"]
credentials = "users"
[cluster.main.listeners.sasl.oauthbearer]
jwks_file = "jwks.json"
issuer = "https://login.example.com"
audience = ["kafka"]
"#;

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        let folder = Self(tempfile::tempdir().expect("a folder"));
        for (name, _) in NAMED {
            fs::write(folder.path().join(name), "").expect("written");
        }
        folder
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    /// What is said of `key`, of these files.
    fn told(&self, state_file: &str, audit: &str, key: &str) -> Vec<String> {
        let path = self.path().join("sealwire.toml");
        let text = BASE
            .replace(
                "[cluster.main]",
                &format!("[cluster.main]\nstate_file = {state_file:?}"),
            )
            .replacen(
                "[[cluster.main.topics]]",
                &format!("{TABLES}[[cluster.main.topics]]"),
                1,
            );
        fs::write(&path, format!("{text}[audit]\nto = {audit:?}\n")).expect("written");
        // Most of the files are no good.
        let errors = Config::load(&path, Overrides::default()).expect_err("mistakes");
        let of_key = errors.errors().iter().filter(|error| error.key == key);
        of_key.map(|error| error.problem.clone()).collect()
    }

    fn told_of_audit(&self, to: &str) -> Vec<String> {
        self.told("addresses.json", to, "audit.to")
    }
}

/// WRITTEN-FILES-1
#[test]
fn the_audit_log_is_no_file_that_is_named_elsewhere() {
    let folder = Folder::new();
    for (name, key) in NAMED {
        let (link, twin) = (format!("{name}-link"), format!("{name}-twin"));
        symlink(name, folder.path().join(&link)).expect("a link");
        fs::hard_link(folder.path().join(name), folder.path().join(&twin)).expect("a link");
        for spelled in [
            name.to_owned(),
            format!("./x/../{name}"),
            link,
            twin,
            format!("{name}.new"),
            format!("{name}.lock"),
        ] {
            fs::create_dir_all(folder.path().join("x")).expect("made");
            let told = folder.told_of_audit(&spelled);
            assert!(
                matches!(told.as_slice(), [one] if one.contains(&format!("that of {key} as well"))),
                "{spelled}: {told:?}"
            );
        }
    }
    assert_eq!(folder.told_of_audit("audit.jsonl"), Vec::<String>::new());
    fs::write(folder.path().join("audit.jsonl"), "").expect("written");
    assert_eq!(folder.told_of_audit("audit.jsonl"), Vec::<String>::new());
}

/// WRITTEN-FILES-1
#[test]
fn a_state_file_is_no_file_that_is_named_elsewhere() {
    let folder = Folder::new();
    for (name, key) in NAMED {
        let told = folder.told(name, "audit.jsonl", "cluster.main.state_file");
        let expected = (name != "addresses.json").then(|| format!("that of {key} as well"));
        assert_eq!(told.len(), expected.iter().len(), "{name}: {told:?}");
        assert!(
            expected.is_none_or(|expected| told[0].contains(&expected)),
            "{told:?}"
        );
    }
    // Neither is there yet.
    symlink("later", folder.path().join("to-later")).expect("a link");
    for (state_file, audit) in [("later", "later"), ("to-later", "later"), ("later", "to-later")] {
        assert_eq!(
            folder.told(state_file, audit, "cluster.main.state_file"),
            Vec::<String>::new()
        );
        let told = folder.told(state_file, audit, "audit.to");
        assert!(told[0].contains("cluster.main.state_file"), "{told:?}");
    }
}

/// WRITTEN-FILES-1, where nothing outside of the text is looked at.
#[test]
fn spellings_are_compared_where_no_file_is_looked_at() {
    for to in [
        "keystore.json",
        "./keystore.json",
        "x/../keystore.json",
        "sealwire.toml",
    ] {
        let error = only_mistake(load(&format!("{BASE}[audit]\nto = {to:?}\n")));
        assert_eq!(error.key, "audit.to", "{error}");
    }
    load(&format!("{BASE}[audit]\nto = \"x/keystore.json\"\n")).expect("another");
}

#[test]
fn an_audit_log_that_could_not_be_written_is_a_mistake() {
    let folder = Folder::new();
    symlink("missing/audit", folder.path().join("astray")).expect("a link");
    for (to, problem) in [
        ("missing/audit.jsonl", "missing cannot be reached"),
        ("users/audit.jsonl", "cannot be written: Not a directory"),
        ("astray", "missing cannot be reached"),
        (".", "is a folder"),
        // Where nobody makes files, whoever runs this.
        (
            "/proc/sys/audit.jsonl",
            "no file can be made in the folder /proc/sys",
        ),
    ] {
        let told = folder.told_of_audit(to);
        assert!(
            matches!(told.as_slice(), [one] if one.contains(problem)),
            "{to}: {told:?}"
        );
    }
    assert!(!folder.path().join("audit.jsonl").exists(), "nothing is made");
    for to in ["stdout", "/dev/full"] {
        assert_eq!(folder.told_of_audit(to), Vec::<String>::new(), "{to}");
    }
}
