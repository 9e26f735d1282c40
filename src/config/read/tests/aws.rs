//! `[kms.NAME]` with `provider = "aws"`.

use std::path::Path;

use super::{BASE, load, only_mistake};
use crate::config::KmsKind;
use crate::kms::aws::AwsSettings;
use crate::transport::tls_client::Trust;

const KEYSTORE: &str =
    "provider = \"file\"\npath = \"keystore.json\"\nmaster_key = { file = \"master.key\" }\n";

/// The base with keys of AWS instead of the keystore.
fn with(lines: &str) -> String {
    BASE.replacen(KEYSTORE, &format!("provider = \"aws\"\n{lines}\n"), 1)
        .replace("kek = \"payments\"", "kek = \"alias/payments\"")
}

fn read(lines: &str) -> AwsSettings {
    let config = load(&with(lines)).unwrap_or_else(|errors| panic!("{errors}"));
    let KmsKind::Aws(settings) = config.kms[0].kind.clone() else {
        panic!("AWS")
    };
    *settings
}

#[test]
fn everything_that_may_be_said_is_read() {
    let plain = read("region = \"eu-central-1\"");
    assert_eq!(
        (plain.endpoint.as_ref(), plain.profile.as_ref(), &plain.trust),
        (None, None, &Trust::System)
    );
    assert!(plain.encryption_context.is_empty());
    let full = read(
        "region = \"eu-central-1\"\nendpoint = \"https://vpce.example.com\"\nprofile = \"sealwire\"\n\
         identity = \"eu\"\ncredentials_file = \"credentials\"\n\
         encryption_context = { application = \"sealwire\", stage = \"test\" }",
    );
    assert_eq!(
        full.endpoint.as_ref().map(|url| url.as_str()),
        Some("https://vpce.example.com/")
    );
    assert_eq!(full.profile.as_deref(), Some("sealwire"));
    assert_eq!(
        full.credentials_file.as_deref(),
        Some(Path::new("dir/credentials"))
    );
    assert_eq!(full.encryption_context.len(), 2);
    // What records call it is the region, or what is said instead.
    assert_ne!(full.authority(), plain.authority());
    let same = read("region = \"us-east-1\"\nidentity = \"eu-central-1\"");
    assert_eq!(same.authority(), plain.authority());
}

#[test]
fn mistakes_are_told() {
    for (lines, key, says) in [
        ("", "region", "has no region"),
        ("region = \"eu.central.1\"", "region", "not the name of a region"),
        (
            "region = \"r\"\nendpoint = \"http://127.0.0.1\"",
            "endpoint",
            "sent as they are",
        ),
        (
            "region = \"r\"\nencryption_context = 7",
            "encryption_context",
            "not a table",
        ),
        (
            "region = \"r\"\nencryption_context = { a = 7 }",
            "encryption_context.a",
            "not text",
        ),
        ("region = \"r\"\nmount = \"transit\"", "mount", "does without it"),
    ] {
        let mistake = only_mistake(load(&with(lines)));
        assert_eq!(mistake.key, format!("kms.local.{key}"), "{lines}");
        assert!(mistake.to_string().contains(says), "{lines}: {mistake}");
    }
    let spaced = with("region = \"r\"").replace("alias/payments", "alias/pay ments");
    assert_eq!(only_mistake(load(&spaced)).key, "cluster.main.topics[0].kek");
}
