//! Which libraries the program is made of, where that is a promise: one cryptographic library, one TLS.

use std::process::Command;

/// Every crate that the program is built from, with its version, on this machine's target.
fn crates() -> Vec<String> {
    let output = Command::new(env!("CARGO"))
        .args([
            "tree",
            "--package=sealwire",
            "--locked",
            "--edges=normal,build",
            "--prefix=none",
            "--no-dedupe",
            "--format={p}",
        ])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo runs this");
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).expect("names are text");
    let mut crates: Vec<String> = text.lines().map(str::to_owned).collect();
    crates.sort();
    crates.dedup();
    crates
}

fn versions(crates: &[String], name: &str) -> usize {
    let is_it = |line: &&String| line.split(' ').next() == Some(name);
    crates.iter().filter(is_it).count()
}

/// With every provider: `deny.toml` says the same of all targets.
#[test]
fn there_is_one_cryptographic_library_and_one_tls() {
    let crates = crates();
    for absent in [
        "ring",
        "openssl",
        "openssl-sys",
        "native-tls",
        "boring",
        "mbedtls",
        "webpki",
    ] {
        assert_eq!(versions(&crates, absent), 0, "{absent}");
    }
    for single in [
        "aws-lc-rs",
        "aws-lc-sys",
        "rustls",
        "aws-sdk-kms",
        "reqwest",
        "hyper",
    ] {
        assert_eq!(versions(&crates, single), 1, "{single}: {crates:#?}");
    }
}
