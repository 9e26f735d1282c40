//! `[kms.NAME]`, and whether the files that it names can be read.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::later::is_later_provider;
use super::node::{Node, Reach};
use crate::config::{KmsConfig, KmsKind};
use crate::ids::KmsId;
use crate::kms::keystore::{Keystore, MasterKeySource, read_file};
use crate::secret_source::SecretSource;

/// Every KMS in order of name, with the place of each. A KMS with a mistake in it still has its place, so that rules
/// which name it are not called wrong as well.
pub(super) struct KmsList<'r> {
    pub(super) names: Vec<(String, Node<'r>)>,
    pub(super) read: Vec<Option<KmsConfig>>,
}

impl<'r> KmsList<'r> {
    pub(super) fn read(root: &Node<'r>) -> Self {
        // Without rules that seal there need not be any; a rule that names a missing one is told so.
        let table = root.written("kms").and_then(Node::checked_table);
        let names = table.map(|table| table.entries()).unwrap_or_default();
        let read = names.iter().map(|(name, node)| read_kms(name, node)).collect();
        Self { names, read }
    }

    /// What tells the KMSs apart, in their order: two with the same identity have the same keys.
    pub(super) fn identities(&self) -> Vec<Option<KeystoreIdentity>> {
        let identity = |(config, (_, node)): (&Option<KmsConfig>, &(String, Node<'_>))| {
            let KmsKind::File { path, .. } = &config.as_ref()?.kind;
            Some(identity_of(path, node.reader.reach))
        };
        self.read.iter().zip(&self.names).map(identity).collect()
    }

    /// The id of the KMS in this place.
    pub(super) fn id(&self, position: usize) -> Option<KmsId> {
        let (name, node) = self.names.get(position)?;
        Some(node.reader.ids.borrow_mut().kms.id_of(name))
    }

    /// The place of the KMS with this id.
    pub(super) fn place(&self, id: KmsId) -> Option<usize> {
        (0..self.names.len()).find(|place| self.id(*place) == Some(id))
    }

    /// Whether the KMS with this id is a keystore.
    pub(super) fn is_keystore(&self, id: KmsId) -> bool {
        let config = self.place(id).and_then(|place| self.read.get(place)?.as_ref());
        config.is_some_and(|config| matches!(config.kind, KmsKind::File { .. }))
    }

    pub(super) fn position(&self, name: &str) -> Option<usize> {
        self.names.iter().position(|(known, _)| known == name)
    }
}

/// Which keystore a file holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum KeystoreIdentity {
    /// The keystore's own id: a copy of the file is the same keystore.
    Id([u8; 16]),
    /// The file's place, where it was not or could not be read.
    Path(PathBuf),
}

fn identity_of(path: &Path, reach: Reach) -> KeystoreIdentity {
    if reach == Reach::Skip {
        return KeystoreIdentity::Path(path.to_path_buf());
    }
    let keystore = read_file(path).and_then(|(bytes, _)| Keystore::parse(&bytes));
    match keystore {
        Ok(keystore) => KeystoreIdentity::Id(*keystore.unverified_id()),
        Err(_) => KeystoreIdentity::Path(path.canonicalize().unwrap_or_else(|_| path.to_path_buf())),
    }
}

fn read_kms(name: &str, node: &Node<'_>) -> Option<KmsConfig> {
    let node = node.clone().checked_table()?;
    let provider = node.text("provider");
    if let Some(provider) = provider.filter(|provider| provider != "file")
        && let Some(written) = node.written("provider")
    {
        let problem = if is_later_provider(&provider) {
            "this provider is not available in this version"
        } else {
            "there is no such provider"
        };
        written.complain(problem, "write provider = \"file\", the embedded keystore");
        return None;
    }
    let path = node
        .text("path")
        .map(|path| node.reader.sources.folder().join(path));
    if let (Some(path), Some(written)) = (&path, node.written("path")) {
        check_file(
            &written,
            path,
            Secrecy::Public,
            "correct the path; if there is no keystore yet, make it with: sealwire keystore create",
        );
    }
    let master_key = node.table("master_key").and_then(|table| read_master_key(&table));
    node.written("provider")?;
    Some(KmsConfig {
        id: node.reader.ids.borrow_mut().kms.id_of(name),
        name: name.to_owned(),
        kind: KmsKind::File {
            path: path?,
            master_key: master_key?,
        },
    })
}

fn read_master_key(table: &Node<'_>) -> Option<MasterKeySource> {
    let fix_of = |name: &str| match name {
        "file" => {
            "correct the path; the key file is made together with the keystore, by: sealwire keystore create"
        }
        _ => "correct the path, or make a file there that holds the passphrase",
    };
    Some(match read_secret_source(table, &MASTER_KEY_SOURCES, fix_of)? {
        ("file", SecretSource::File(path)) => MasterKeySource::File(path),
        (_, SecretSource::File(path)) => MasterKeySource::PassphraseFile(path),
        (_, SecretSource::Environment(name)) => MasterKeySource::Environment(name),
        (_, SecretSource::SystemdCredential(name)) => MasterKeySource::SystemdCredential(name),
    })
}

/// The one of `sources` that stands in `table`, and where it is. `env` and `systemd_credential` are names, all others
/// are files; `fix_of` says what to do about one that is not there.
pub(super) fn read_secret_source(
    table: &Node<'_>,
    sources: &[&'static str],
    fix_of: impl Fn(&str) -> &'static str,
) -> Option<(&'static str, SecretSource)> {
    let written: Vec<_> = sources
        .iter()
        .filter_map(|name| Some((*name, table.written(name)?)))
        .collect();
    let [(name, node)] = written.as_slice() else {
        let problem = if written.is_empty() {
            "this names no source"
        } else {
            "this names several sources"
        };
        table.complain(problem, &format!("write exactly one of {}", sources.join(", ")));
        return None;
    };
    let text = node.as_text()?;
    if text.is_empty() {
        node.complain("this is empty", &node.example());
        return None;
    }
    let source = match *name {
        "env" => {
            if !text
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
            {
                let fix =
                    "name a variable of letters, digits and _; the secret itself never stands in this file";
                node.complain("this is not the name of an environment variable", fix);
                return None;
            }
            SecretSource::Environment(text)
        }
        "systemd_credential" => {
            if text.contains('/') || text == "." || text == ".." {
                node.complain(
                    "this is not the name of a systemd credential",
                    "write the name that LoadCredential= gives it, without a folder",
                );
                return None;
            }
            SecretSource::SystemdCredential(text)
        }
        file => {
            let path = table.reader.sources.folder().join(text);
            check_file(node, &path, Secrecy::OwnerOnly, fix_of(file));
            SecretSource::File(path)
        }
    };
    warn_if_absent(node, &source);
    Some((name, source))
}

/// A service has variables and credentials that whoever checks its configuration need not have.
fn warn_if_absent(node: &Node<'_>, source: &SecretSource) {
    let (what, fix) = match source {
        SecretSource::File(_) => return,
        SecretSource::Environment(_) => (
            "there is no such variable in the environment of this process, or it holds no text",
            "see that the service has it; if this is the secret itself, take it out of this file",
        ),
        SecretSource::SystemdCredential(_) => (
            "this process has no such credential",
            "see that the service's unit gives it (LoadCredential=); if this is the secret itself, take it out of this \
             file",
        ),
    };
    if node.reader.reach == Reach::Check && source.read().is_err() {
        node.warn(what, fix);
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Secrecy {
    /// Others may read it.
    Public,
    /// Nobody else may have access: the keystore refuses it otherwise.
    OwnerOnly,
}

/// Whether it can be used is found out here; that it could not be is noted.
pub(super) fn check_file(node: &Node<'_>, path: &Path, secrecy: Secrecy, fix: &str) {
    node.name_file(path);
    if secrecy == Secrecy::OwnerOnly {
        node.name_secret_file(path);
    }
    if node.reader.reach == Reach::Skip {
        return;
    }
    let place = path.display();
    // What is the name of nothing may be the secret itself (PROBLEM-1).
    let named = || match node.may_be_secret() {
        true => "with the name that stands here".to_owned(),
        false => place.to_string(),
    };
    let about = match fs::metadata(path) {
        Ok(about) => about,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return node.complain(&format!("there is no file {}", named()), fix);
        }
        Err(error) => {
            let fix = "let the user that sealwire runs as reach it, or correct the path";
            return node.complain(&format!("the file {} cannot be read: {error}", named()), fix);
        }
    };
    let mode = about.mode() & 0o777;
    if about.is_dir() || (secrecy == Secrecy::Public && !about.is_file()) {
        node.complain(&format!("{place} is not a file"), fix);
    } else if secrecy == Secrecy::OwnerOnly && about.is_file() && mode & 0o077 != 0 {
        let problem = format!("{place} can be accessed by others than its owner (mode {mode:04o})");
        node.complain(&problem, &format!("run: chmod 0600 {place}"));
    } else if about.is_file()
        && let Err(error) = File::open(path)
    {
        node.complain(
            &format!("{place} cannot be read: {error}"),
            "let the user that sealwire runs as read it",
        );
    }
}

/// The file that is named here, which has to be one, and to be read by `read`; that it cannot be is noted, with what to
/// do where it is `missing` and where it is `unreadable`.
pub(super) fn read_path_of<E: std::fmt::Display>(
    node: &Node<'_>,
    secrecy: Secrecy,
    missing: &str,
    unreadable: &str,
    read: impl FnOnce(&Path) -> Result<(), E>,
) -> Option<PathBuf> {
    let path = node.reader.sources.folder().join(node.as_text()?);
    check_file(node, &path, secrecy, missing);
    if node.reader.reach == Reach::Check
        && path.is_file()
        && let Err(error) = read(&path)
    {
        node.complain(&error.to_string(), unreadable);
    }
    Some(path)
}

const MASTER_KEY_SOURCES: [&str; 4] = ["file", "env", "passphrase_file", "systemd_credential"];
