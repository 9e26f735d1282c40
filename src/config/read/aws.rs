//! `[kms.NAME]` with `provider = "aws"`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::keystores::{Secrecy, check_file};
use super::kms_server::{not_empty, read_server};
use super::node::Node;
use super::tls::read_server_trust;
use crate::config::KmsKind;
use crate::kms::aws::AwsSettings;

/// Keys of it.
pub(super) const KEYS: &[&str] = &[
    "region",
    "endpoint",
    "identity",
    "profile",
    "credentials_file",
    "ca",
    "allow_plaintext",
    "encryption_context",
];

pub(super) fn read_aws(node: &Node<'_>) -> Option<KmsKind> {
    let region = match node.written("region") {
        Some(place) => read_region(&place),
        None => {
            node.missing("region");
            None
        }
    };
    let optional = |name| match node.written(name) {
        Some(place) => not_empty(&place).map(Some),
        None => Some(None),
    };
    let (identity, profile) = (optional("identity"), optional("profile"));
    let credentials_file = match node.written("credentials_file") {
        Some(place) => read_credentials(&place).map(Some),
        None => Some(None),
    };
    let endpoint = match node.written("endpoint") {
        Some(place) => read_server(&place, node).map(Some),
        None => Some(None),
    };
    let trust = read_server_trust(node);
    let context = match node.written("encryption_context") {
        Some(table) => read_context(&table),
        None => Some(BTreeMap::new()),
    };
    Some(KmsKind::Aws(Box::new(AwsSettings {
        region: region?,
        endpoint: endpoint?,
        identity: identity?,
        profile: profile?,
        credentials_file: credentials_file?,
        trust: trust?,
        encryption_context: context?,
    })))
}

/// It becomes part of a host's name.
fn read_region(place: &Node<'_>) -> Option<String> {
    let text = place.as_text()?;
    let is_region = !text.is_empty()
        && text
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
    if !is_region {
        place.complain("this is not the name of a region", &place.example());
        return None;
    }
    Some(text)
}

fn read_credentials(place: &Node<'_>) -> Option<PathBuf> {
    let path = place.reader.sources.folder().join(not_empty(place)?);
    check_file(place, &path, Secrecy::OwnerOnly, "correct the path");
    Some(path)
}

fn read_context(table: &Node<'_>) -> Option<BTreeMap<String, String>> {
    if table.value.as_dict().is_none() {
        table.complain("this is not a table", &table.example());
        return None;
    }
    let entries = table.entries().into_iter();
    let read = entries.map(|(name, place)| Some((name, not_empty(&place)?)));
    read.collect()
}
