//! The commands of docs/authentication.md make the certificates that the shipped configurations name.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::support::cache;
use crate::support::debian;
use crate::support::launch::DataFolder;

#[test]
fn certificates_made_as_documented_go_with_the_shipped_files() {
    debian::installed("openssl", "version", &["openssl"]);
    let text =
        fs::read_to_string(cache::workspace().join("docs/authentication.md")).expect("the document is read");
    let recipe = text
        .split("\n```")
        .find_map(|block| block.strip_prefix("sh\n"))
        .expect("there are commands");
    let folder = DataFolder::create("recipe");
    cache::run(
        Command::new("bash")
            .args(["-euc", recipe])
            .current_dir(folder.path()),
    );

    let tls = folder.path().join("tls");
    for (from, to) in [
        ("servers-ca.pem", "brokers-ca.pem"),
        ("client.pem", "proxy.pem"),
        ("client.key", "proxy.key"),
    ] {
        fs::copy(tls.join(from), tls.join(to)).expect("a file is copied");
    }
    for (command, name) in [("create", None), ("add", Some("default"))] {
        let mut keystore = sealwire(folder.path());
        keystore.args(["keystore", command, "keystore.json"]).args(name);
        cache::run(keystore.args(["--master-key-file", "master.key"]));
    }
    for file in ["tls.toml", "mtls.toml"] {
        let shipped = cache::workspace().join("config").join(file);
        fs::copy(shipped, folder.path().join(file)).expect("a file is copied");
        cache::run(sealwire(folder.path()).args(["check-config", file]));
    }

    // As the comment on revoking says.
    let authority = |arguments: &[&str]| {
        let mut openssl = Command::new("openssl");
        openssl.current_dir(&tls).args(["ca", "-config", "crl.cnf"]);
        cache::run(openssl.args(arguments));
    };
    authority(&["-revoke", "client.pem"]);
    authority(&["-gencrl", "-out", "clients.crl"]);
    let mut verify = Command::new("openssl");
    verify.current_dir(&tls).args(["verify", "-crl_check"]);
    verify.args([
        "-CAfile",
        "clients-ca.pem",
        "-CRLfile",
        "clients.crl",
        "client.pem",
    ]);
    let refused = cache::try_run(&mut verify).expect_err("it is revoked");
    assert!(refused.contains("certificate revoked"), "{refused}");
    cache::run(sealwire(folder.path()).args(["check-config", "mtls.toml"]));
}

fn sealwire(folder: &Path) -> Command {
    let mut program = Command::new(env!("CARGO_BIN_EXE_sealwire"));
    program.current_dir(folder);
    program
}
