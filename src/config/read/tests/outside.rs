//! What a configuration names outside of itself: files, and addresses that are its own.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use super::{BASE, only_mistake};
use crate::config::*;
use crate::identity::sasl::credentials::Credentials;
use crate::identity::sasl::verifier::{Mechanism, Verifier};

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
        || (problem.contains("master_key.file") && !problem.contains("master.key"))
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

/// A configuration of clients that log in, whose files are there.
struct WithLogins {
    folder: tempfile::TempDir,
}

impl WithLogins {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join("keystore.json"), "{}").expect("written");
        let with = Self { folder };
        with.secret("master.key", &[7; 32]);
        with.secret("kafka.password", b"brokers-secret\n");
        let mut users = Credentials::new().expect("random bytes");
        let verifier = Verifier::new(Mechanism::Sha512, b"secret", 4096).expect("hashed");
        users.set("app-1", Mechanism::Sha512, verifier).expect("a name");
        with.secret("users", users.text().as_bytes());
        with
    }

    fn secret(&self, name: &str, bytes: &[u8]) {
        let path = self.folder.path().join(name);
        fs::write(&path, bytes).expect("written");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("set");
    }

    fn text() -> String {
        let sasl = "client_auth = \"sasl\"\nsasl = { credentials = \"users\" }";
        let lists = "open_for = [\"User:app-*\"]\nseal_for = [\"User:app-1\"]\n[admin]";
        let login = "[cluster.main.upstream_login]\nkind = \"one\"\nmechanism = \"SCRAM-SHA-512\"\nuser = \"proxy\"\n\
                     password = { file = \"kafka.password\" }\n[[cluster.main.groups_for]]\nmatch = \"*\"\n\
                     for = [\"User:app-1\"]\n[[cluster.main.listeners]]";
        BASE.replace("client_auth = \"network\"", sasl)
            .replace("[admin]", lists)
            .replacen("[[cluster.main.listeners]]", login, 1)
    }

    fn load(&self, text: &str) -> Result<Config, ConfigErrors> {
        let path = self.folder.path().join("sealwire.toml");
        fs::write(&path, text).expect("written");
        Config::load(&path, Overrides::default())
    }

    fn warnings(&self, from: &str, to: &str) -> Vec<String> {
        let text = Self::text();
        assert!(text.contains(from), "{from}");
        self.warnings_of(&text.replacen(from, to, 1))
    }

    fn warnings_of(&self, text: &str) -> Vec<String> {
        let config = self.load(text);
        let config = config.unwrap_or_else(|errors| panic!("{errors}"));
        config.warnings.iter().map(ConfigError::to_string).collect()
    }
}

/// What cannot be used as it is there is not read as well.
#[test]
fn one_file_is_one_mistake() {
    let with = WithLogins::new();
    let users = with.folder.path().join("users");
    fs::write(&users, "no credentials").expect("written");
    fs::set_permissions(&users, fs::Permissions::from_mode(0o644)).expect("set");
    let errors = with.load(&WithLogins::text()).expect_err("a mistake");
    let [error] = errors.errors() else {
        panic!("{errors}");
    };
    assert!(error.problem.contains("mode 0644"), "{error}");
    fs::remove_file(&users).expect("it is there");
    fs::create_dir(&users).expect("made");
    let errors = with.load(&WithLogins::text()).expect_err("a mistake");
    let [error] = errors.errors() else {
        panic!("{errors}");
    };
    assert!(
        error.problem.contains("is a folder") && error.fix == "name the file in it",
        "{error}"
    );
}

/// PROBLEM-1
#[test]
fn what_may_be_a_password_is_not_repeated() {
    let with = WithLogins::new();
    for (from, to, key) in [
        ("\"users\"", "\"hunter2\"", "listeners[0].sasl.credentials"),
        (
            "\"users\" }",
            "\"users\", mechanisms = [\"hunter2\"] }",
            "sasl.mechanisms[0]",
        ),
        (
            "\"kafka.password\"",
            "\"hunter2\"",
            "upstream_login.password.file",
        ),
        (
            "{ file = \"kafka.password\" }",
            "\"hunter2\"",
            "upstream_login.password",
        ),
        ("\"SCRAM-SHA-512\"", "\"hunter2\"", "upstream_login.mechanism"),
        ("kind = \"one\"", "kind = \"hunter2\"", "upstream_login.kind"),
        ("file = \"master.key\"", "file = \"hunter2\"", "master_key.file"),
        (
            "user = \"proxy\"",
            "user = \"proxy\"\naccounts = \"hunter2\"",
            "upstream_login.accounts",
        ),
    ] {
        let text = WithLogins::text();
        assert!(text.contains(from), "{from}");
        let errors = with
            .load(&text.replacen(from, to, 1))
            .expect_err("a mistake")
            .to_string();
        assert!(!errors.contains("hunter2"), "{errors}");
        let mut lines = errors.lines();
        assert!(
            lines.any(|line| line.contains(key) && line.contains("sealwire.toml:")),
            "{errors}"
        );
    }
    // What is there is read, and has to be a secret.
    with.secret("empty", b"\n");
    let text = WithLogins::text().replace("\"kafka.password\"", "\"empty\"");
    let errors = with.load(&text).expect_err("a mistake").to_string();
    assert!(errors.contains("what is there is empty"), "{errors}");
}

/// What the login at a KMS is said to need is looked at where it is, and told where it stands.
#[cfg(feature = "kms-vault")]
#[test]
fn files_for_a_kms_are_looked_at() {
    let with = WithLogins::new();
    with.secret("token", b"hvs.something\n");
    with.secret("empty", b"");
    with.secret("lines", b"one\ntwo\n");
    with.secret("ca.pem", b"no certificate");
    let keystore = "provider = \"file\"\npath = \"keystore.json\"\nmaster_key = { file = \"master.key\" }\n";
    let text = |lines: &str| {
        let vault = format!("provider = \"vault\"\naddress = \"https://vault:8200\"\n{lines}\n");
        assert!(BASE.contains(keystore));
        BASE.replacen(keystore, &vault, 1)
    };
    let token = |name: &str| format!("login = {{ method = \"token\", token = {{ file = \"{name}\" }} }}");
    assert_eq!(with.warnings_of(&text(&token("token"))), Vec::<String>::new());
    for (lines, key, problem) in [
        (token("empty"), "login.token", "what is there is empty"),
        (token("lines"), "login.token", "has several lines"),
        (token("nothing"), "login.token.file", "make a file there"),
        (
            format!("ca = \"ca.pem\"\n{}", token("token")),
            "ca",
            "holds no certificate",
        ),
    ] {
        let mistake = only_mistake(with.load(&text(&lines)));
        assert_eq!(mistake.key, format!("kms.local.{key}"));
        assert!(mistake.to_string().contains(problem), "{mistake}");
    }
    let of_pod = with.warnings_of(&text("login = { method = \"kubernetes\", role = \"proxy\" }"));
    assert!(
        matches!(of_pod.as_slice(), [warning] if warning.contains("serviceaccount/token on this host")),
        "{of_pod:?}"
    );
}

#[test]
fn what_is_hardly_meant_is_warned_of() {
    let with = WithLogins::new();
    assert_eq!(with.warnings("", ""), Vec::<String>::new());
    for (from, to, key, problem) in [
        (
            "file = \"kafka.password\"",
            "env = \"SEALWIRE_TEST_HUNTER2\"",
            "upstream_login.password.env",
            "no such variable",
        ),
        (
            "file = \"kafka.password\"",
            "systemd_credential = \"HUNTER2\"",
            "upstream_login.password.systemd_credential",
            "no such credential",
        ),
        (
            "file = \"kafka.password\"",
            "file = \"./master.key\"",
            "upstream_login.password.file",
            "that of kms.local.master_key.file as well",
        ),
        (
            "open_for = [\"User:app-*\"]",
            "open_for = [\"User:apq-*\"]",
            "open_for[0]",
            "nobody can log in",
        ),
        (
            "seal_for = [\"User:app-1\"]",
            "seal_for = [\"User:app-2\"]",
            "seal_for[0]",
            "nobody can log in",
        ),
        (
            "for = [\"User:app-1\"]",
            "for = [\"User:app-1\", \"User:x\"]",
            "for[1]",
            "nobody can log in",
        ),
        (
            "[cluster.main]",
            "[cluster.main]\nadmin_for = [\"group:none\"]\ngroups = { none = [\"User:x\"] }",
            "admin_for[0]",
            "nobody can log in",
        ),
    ] {
        let warnings = with.warnings(from, to);
        let [warning] = &warnings[..] else {
            panic!("{to}: {warnings:#?}");
        };
        assert!(warning.contains(key) && warning.contains(problem), "{warning}");
        assert!(!warning.contains("HUNTER2"), "{warning}");
    }
}

#[test]
fn accounts_are_compared_with_users() {
    let with = WithLogins::new();
    let text = WithLogins::text();
    let (before, rest) = text.split_once("kind = \"one\"").expect("a login");
    let (_, after) = rest.split_once("for = [\"User:app-1\"]\n").expect("its end");
    let text = format!("{before}kind = \"per_principal\"\naccounts = \"accounts.toml\"\n{after}");
    let account = |principal: &str| {
        format!(
            "[[account]]\nprincipals = [\"User:{principal}\"]\nmechanism = \"SCRAM-SHA-512\"\nuser = \"hunter\"\n\
             password = \"hunter2\"\n"
        )
    };
    let warnings = |principals: &[&str]| {
        let accounts: String = principals.iter().map(|principal| account(principal)).collect();
        with.secret("accounts.toml", accounts.as_bytes());
        with.warnings_of(&text)
    };
    assert_eq!(warnings(&["app-*"]), Vec::<String>::new());
    let unused = warnings(&["app-1", "app-2", "app-1"]);
    let [unused] = &unused[..] else {
        panic!("{unused:#?}")
    };
    assert!(
        unused.contains("account 2 of this file is for nobody who can log in"),
        "{unused}"
    );
    assert!(
        unused.contains("of 1 more") && !unused.contains("hunter"),
        "{unused}"
    );
    let nobodys = warnings(&["app-2"]);
    assert!(
        nobodys.len() == 2 && nobodys[1].contains("User:app-1 can log in, and no account is for him\n"),
        "{nobodys:#?}"
    );
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
    let makers = "[\"192.0.2.7:9092\"]\nupstream_login = { kind = \"delegation_tokens\", mechanism = \"PLAIN\", \
                  user = \"own\", password = { env = \"PATH\" }, allow_plaintext = true, \
                  made_at = [\"192.0.2.7:9193\", \"localhost:9193\"] }";
    assert_eq!(own(makers), ["cluster.main.upstream_login.made_at[1]"]);
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
