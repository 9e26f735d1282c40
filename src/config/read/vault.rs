//! `[kms.NAME]` with `provider = "vault"`.

use std::path::PathBuf;

use super::keystores::{Secrecy, check_file, read_secret_line};
use super::kms_server::{not_empty, read_server};
use super::node::{Node, Reach};
use super::tls::read_client_tls;
use crate::config::KmsKind;
use crate::kms::vault::{VaultLogin, VaultServer, VaultSettings};

/// Keys of it.
pub(super) const KEYS: &[&str] = &[
    "address",
    "mount",
    "namespace",
    "identity",
    "ca",
    "certificate",
    "key",
    "allow_plaintext",
    "login",
];

pub(super) fn read_vault(node: &Node<'_>) -> Option<KmsKind> {
    for name in ["address", "login"] {
        if node.written(name).is_none() {
            node.missing(name);
        }
    }
    let address = node
        .written("address")
        .and_then(|place| read_server(&place, node));
    let is_plain = address.as_ref().is_some_and(|address| address.scheme() == "http");
    let tls = match is_plain {
        true => {
            refuse_tls(node);
            Some(None)
        }
        false => read_client_tls(node).map(Some),
    };
    let path = |name| match node.written(name) {
        Some(place) => read_mount(&place).map(Some),
        None => Some(None),
    };
    let (mount, namespace) = (path("mount"), path("namespace"));
    let identity = match node.written("identity") {
        Some(place) => not_empty(&place).map(Some),
        None => Some(None),
    };
    let shows_certificate = node.written("certificate").is_some();
    let login = node
        .table("login")
        .and_then(|table| read_login(&table, shows_certificate));
    Some(KmsKind::Vault(Box::new(VaultSettings {
        server: VaultServer {
            address: address?,
            namespace: namespace?,
            tls: tls?,
        },
        mount: mount?.unwrap_or_else(|| "transit".to_owned()),
        identity: identity?,
        login: login?,
    })))
}

fn refuse_tls(node: &Node<'_>) {
    for name in ["ca", "certificate", "key"] {
        if let Some(place) = node.written(name) {
            place.complain_of_the_name(
                "address begins with http://, where nobody shows a certificate",
                "write https:// there, or remove it",
            );
        }
    }
}

/// Names between slashes.
fn read_mount(place: &Node<'_>) -> Option<String> {
    let text = place.as_text()?;
    let text = text.trim_matches('/');
    let is_name = |name: &str| {
        let mut bytes = name.bytes();
        !name.is_empty()
            && name != "."
            && name != ".."
            && bytes.all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
    };
    if text.split('/').all(is_name) {
        return Some(text.to_owned());
    }
    place.complain(
        "this is not a path of letters, digits, `-`, `_` and `.`",
        &place.example(),
    );
    None
}

fn read_login(table: &Node<'_>, shows_certificate: bool) -> Option<VaultLogin> {
    let place = table.get("method")?;
    let method = place.as_text()?;
    let (mount, keys): (_, &[&str]) = match method.as_str() {
        "token" => ("token", &["token"]),
        "approle" => ("approle", &["mount", "role_id", "secret_id"]),
        "kubernetes" => ("kubernetes", &["mount", "role", "jwt_file"]),
        "jwt" => ("jwt", &["mount", "role", "jwt_file"]),
        "certificate" => ("cert", &["mount", "role"]),
        _ => {
            place.complain(
                "there is no such method",
                "write \"token\", \"approle\", \"kubernetes\", \"jwt\" or \"certificate\"",
            );
            return None;
        }
    };
    let others = ["mount", "token", "role_id", "secret_id", "role", "jwt_file"];
    let others = others.into_iter().filter(|name| !keys.contains(name));
    let mistaken = others.filter_map(|name| table.written(name)).inspect(|place| {
        place.complain_of_the_name(
            &format!("method = {method:?} does without it"),
            "remove it, or write the method that needs it",
        );
    });
    if mistaken.count() > 0 {
        return None;
    }
    let mount = match table.written("mount") {
        Some(place) => read_mount(&place)?,
        None => mount.to_owned(),
    };
    Some(match method.as_str() {
        "token" => VaultLogin::Token(read_secret_line(table, "token")?),
        "approle" => VaultLogin::AppRole {
            mount,
            role_id: needed(table, "role_id")?,
            secret_id: read_secret_line(table, "secret_id")?,
        },
        "certificate" => {
            if !shows_certificate {
                place.complain("there is none", "add certificate and key, beside address");
                return None;
            }
            VaultLogin::Certificate {
                mount,
                role: match table.written("role") {
                    Some(place) => Some(not_empty(&place)?),
                    None => None,
                },
            }
        }
        _ => VaultLogin::Jwt {
            mount,
            role: needed(table, "role")?,
            file: read_jwt_file(table, method == "kubernetes")?,
        },
    })
}

fn needed(table: &Node<'_>, name: &str) -> Option<String> {
    let Some(place) = table.written(name) else {
        table.missing(name);
        return None;
    };
    not_empty(&place)
}

fn read_jwt_file(table: &Node<'_>, of_kubernetes: bool) -> Option<PathBuf> {
    match table.written("jwt_file") {
        Some(place) => {
            let path = table.reader.sources.folder().join(not_empty(&place)?);
            check_file(&place, &path, Secrecy::Public, "correct the path");
            Some(path)
        }
        None if of_kubernetes => {
            let path = PathBuf::from(SERVICE_ACCOUNT_TOKEN);
            if table.reader.reach == Reach::Check && !path.is_file() {
                table.warn(
                    &format!("there is no file {SERVICE_ACCOUNT_TOKEN} on this host"),
                    "see that the service has it, or write jwt_file",
                );
            }
            Some(path)
        }
        None => {
            table.missing("jwt_file");
            None
        }
    }
}

const SERVICE_ACCOUNT_TOKEN: &str = "/var/run/secrets/kubernetes.io/serviceaccount/token";
