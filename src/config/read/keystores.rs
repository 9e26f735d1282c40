//! `[kms.NAME]`, and whether the files that it names can be read.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::num::NonZeroU32;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::later::is_later_provider;
use super::node::{Node, Reach};
use crate::config::{KmsConfig, KmsKind, schema};
use crate::ids::KmsId;
use crate::kms::keystore::{Keystore, KeystoreKek, MasterKeySource, read_file};
use crate::kms::{FEATURES, PROVIDERS};
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
    pub(super) fn identities(&self) -> Vec<Option<KmsIdentity>> {
        let identity = |(config, (_, node)): (&Option<KmsConfig>, &(String, Node<'_>))| {
            Some(match &config.as_ref()?.kind {
                KmsKind::File { path, .. } => identity_of(path, node.reader.reach),
                #[cfg(feature = "kms-aws")]
                KmsKind::Aws(settings) => KmsIdentity::Authority(settings.authority()),
                #[cfg(feature = "kms-vault")]
                KmsKind::Vault(settings) => KmsIdentity::Authority(settings.authority()),
            })
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

    /// Whether a KEK of the KMS with this id can have this in its name, and what to write instead.
    pub(super) fn may_name(&self, id: KmsId, text: &str) -> Result<(), &'static str> {
        let config = self.place(id).and_then(|place| self.read.get(place)?.as_ref());
        match config.map(|config| &config.kind) {
            Some(KmsKind::File { .. }) if !KeystoreKek::may_contain(text) => {
                Err("write letters, digits and punctuation of ASCII, without spaces")
            }
            #[cfg(feature = "kms-aws")]
            Some(KmsKind::Aws(_)) if !crate::kms::aws::may_contain(text) => {
                Err("write a key's id, an alias (alias/NAME), or an ARN of either")
            }
            #[cfg(feature = "kms-vault")]
            Some(KmsKind::Vault(_)) if !crate::kms::vault::may_contain(text) => {
                Err("write letters, digits, `-`, `_` and `.` of ASCII")
            }
            _ => Ok(()),
        }
    }

    pub(super) fn position(&self, name: &str) -> Option<usize> {
        self.names.iter().position(|(known, _)| known == name)
    }
}

/// Which keystore a file holds, or which KMS it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum KmsIdentity {
    /// The keystore's own id: a copy of the file is the same keystore.
    Id([u8; 16]),
    /// The file's place, where it was not or could not be read.
    Path(PathBuf),
    /// What records call it.
    #[cfg(any(feature = "kms-aws", feature = "kms-vault"))]
    Authority([u8; 4]),
}

fn identity_of(path: &Path, reach: Reach) -> KmsIdentity {
    if reach == Reach::Skip {
        return KmsIdentity::Path(path.to_path_buf());
    }
    let keystore = read_file(path).and_then(|(bytes, _)| Keystore::parse(&bytes));
    match keystore {
        Ok(keystore) => KmsIdentity::Id(*keystore.unverified_id()),
        Err(_) => KmsIdentity::Path(path.canonicalize().unwrap_or_else(|_| path.to_path_buf())),
    }
}

fn read_kms(name: &str, node: &Node<'_>) -> Option<KmsConfig> {
    let node = node.clone().checked_table()?;
    let provider = node.get("provider")?;
    let provider_name = provider.as_text()?;
    let calls_max = node.quantity("calls_max");
    let calls_per_second_max = read_rate(&node, provider_name == "file");
    let kind = match provider_name.as_str() {
        "file" => {
            refuse_others(&node, "file", &["path", "master_key"])?;
            read_keystore(&node)?
        }
        #[cfg(feature = "kms-aws")]
        "aws" => {
            refuse_others(&node, "aws", super::aws::KEYS)?;
            super::aws::read_aws(&node)?
        }
        #[cfg(feature = "kms-vault")]
        "vault" => {
            refuse_others(&node, "vault", super::vault::KEYS)?;
            super::vault::read_vault(&node)?
        }
        other => {
            let (problem, fix) = other_provider(other);
            provider.complain(&problem, &fix);
            return None;
        }
    };
    Some(KmsConfig {
        id: node.reader.ids.borrow_mut().kms.id_of(name),
        name: name.to_owned(),
        calls_max: calls_max?,
        calls_per_second_max: calls_per_second_max?,
        kind,
    })
}

/// A file is not asked over a network: it has no bound unless one is written.
fn read_rate(node: &Node<'_>, is_file: bool) -> Option<Option<NonZeroU32>> {
    if is_file && node.written("calls_per_second_max").is_none() {
        return Some(None);
    }
    let rate = u32::try_from(node.quantity("calls_per_second_max")?).ok()?;
    Some(NonZeroU32::new(rate))
}

/// What is wrong with a provider that this program does not have, and what to do.
fn other_provider(name: &str) -> (String, String) {
    if let Some((_, feature)) = FEATURES.iter().find(|(provider, _)| *provider == name) {
        return (
            "this program was built without it".to_owned(),
            format!("take a released program, or build one with: cargo build --release --features {feature}"),
        );
    }
    let problem = if is_later_provider(name) {
        "this provider is not available in this version"
    } else {
        "there is no such provider"
    };
    if let Some(meant) = meant_provider(name) {
        return (problem.to_owned(), format!("write {meant:?}"));
    }
    let known: Vec<_> = PROVIDERS.iter().map(|name| format!("{name:?}")).collect();
    (problem.to_owned(), format!("write one of {}", known.join(", ")))
}

/// What is called so elsewhere.
fn meant_provider(name: &str) -> Option<&'static str> {
    let name = name.to_ascii_lowercase();
    let meant = match name.split(['-', '_', ' ']).next()? {
        "openbao" | "bao" | "hashicorp" | "transit" => "vault",
        "amazon" => "aws",
        "keystore" | "local" => "file",
        first => first,
    };
    PROVIDERS.iter().copied().find(|provider| *provider == meant)
}

/// Keys that each provider has.
const OF_ALL: [&str; 3] = ["provider", "calls_max", "calls_per_second_max"];

/// Complains of keys that belong to another provider.
fn refuse_others(node: &Node<'_>, provider: &str, keys: &[&str]) -> Option<()> {
    let others = schema::names_under("kms.*").filter(|name| !OF_ALL.contains(name) && !keys.contains(name));
    let mistaken = others.filter_map(|name| node.written(name)).inspect(|place| {
        place.complain_of_the_name(
            &format!("provider = {provider:?} does without it"),
            "remove it, or write the provider that needs it",
        );
    });
    (mistaken.count() == 0).then_some(())
}

fn read_keystore(node: &Node<'_>) -> Option<KmsKind> {
    for name in ["path", "master_key"] {
        if node.written(name).is_none() {
            node.missing(name);
        }
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
    Some(KmsKind::File {
        path: path?,
        master_key: master_key?,
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

/// The source of a secret of one line, which stands under `name`.
pub(super) fn read_secret_line(table: &Node<'_>, name: &str) -> Option<SecretSource> {
    let Some(place) = table.written(name) else {
        table.missing(name);
        return None;
    };
    let fix_of = |_: &str| "make a file there that holds the secret, or correct the path";
    let (_, source) = read_secret_source(&place.clone().checked_table()?, &SECRET_SOURCES, fix_of)?;
    if place.reader.reach == Reach::Check
        && let Ok(secret) = source.read_line()
        && secret.is_none_or(|secret| secret.contains('\0'))
    {
        place.complain(
            "what is there is empty, has several lines or a NUL, or is no text",
            "put the secret there, and nothing else",
        );
    }
    Some(source)
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

/// Whether it can be used is found out here, and returned; that it cannot be is noted.
pub(super) fn check_file(node: &Node<'_>, path: &Path, secrecy: Secrecy, fix: &str) -> bool {
    node.name_file(path);
    if secrecy == Secrecy::OwnerOnly {
        node.name_secret_file(path);
    }
    if node.reader.reach == Reach::Skip {
        return true;
    }
    let unusable = |problem: &str, fix: &str| {
        node.complain(problem, fix);
        false
    };
    let place = path.display();
    // What is the name of nothing may be the secret itself (PROBLEM-1).
    let named = || match node.may_be_secret() {
        true => "with the name that stands here".to_owned(),
        false => place.to_string(),
    };
    let about = match fs::metadata(path) {
        Ok(about) => about,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return unusable(&format!("there is no file {}", named()), fix);
        }
        Err(error) => {
            let fix = "let the user that sealwire runs as reach it, or correct the path";
            return unusable(&format!("the file {} cannot be read: {error}", named()), fix);
        }
    };
    let mode = about.mode() & 0o777;
    if about.is_dir() {
        unusable(&format!("{place} is a folder"), "name the file in it")
    } else if secrecy == Secrecy::Public && !about.is_file() {
        unusable(&format!("{place} is not a file"), fix)
    } else if secrecy == Secrecy::OwnerOnly && about.is_file() && mode & 0o077 != 0 {
        let problem = format!("{place} can be accessed by others than its owner (mode {mode:04o})");
        unusable(&problem, &format!("run: chmod 0600 {place}"))
    } else if about.is_file()
        && let Err(error) = File::open(path)
    {
        unusable(
            &format!("{place} cannot be read: {error}"),
            "let the user that sealwire runs as read it",
        )
    } else {
        true
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
    if check_file(node, &path, secrecy, missing)
        && node.reader.reach == Reach::Check
        && path.is_file()
        && let Err(error) = read(&path)
    {
        node.complain(&error.to_string(), unreadable);
    }
    Some(path)
}

/// Where a secret of one line may be.
pub(super) const SECRET_SOURCES: [&str; 3] = ["file", "env", "systemd_credential"];
const MASTER_KEY_SOURCES: [&str; 4] = ["file", "env", "passphrase_file", "systemd_credential"];

#[cfg(test)]
mod tests {
    use std::path::Path;

    use crate::config::Config;

    #[test]
    fn a_keystore_file_has_no_rate_unless_it_is_written() {
        let rate = |written: &str| {
            let text = include_str!("../../../config/minimal.toml");
            let text = text.replace("provider = \"file\"", &format!("provider = \"file\"\n{written}"));
            let config = Config::from_toml_text(&text, Path::new("sealwire.toml")).expect("a configuration");
            let kms = config.kms.first().expect("a KMS");
            (
                kms.calls_max,
                kms.calls_per_second_max.map(std::num::NonZeroU32::get),
            )
        };
        assert_eq!(rate(""), (64, None));
        assert_eq!(rate("calls_per_second_max = 7\ncalls_max = 3"), (3, Some(7)));
    }
}
