//! `sealwire keyring`: makes stable keys and says which domain uses which. A running proxy follows the file by itself.
//!
//! Every change is read, made, verified and written under the keyring's lock; what is printed was done and is on disk.

mod kms;

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use clap::{Args, Subcommand};

use self::kms::{Kmss, kek_text};
use super::utc::utc;
use crate::config::ConfigErrors;
use crate::durable_file::FileError;
use crate::envelope::StableKeyId;
use crate::foreign::Foreign;
use crate::keyring::{Assigned, Keyring, KeyringError, lock_file, read_file};
use crate::kms::KmsError;

/// Keep the stable keys that record keys are sealed with: create, new, assign, list, rewrap, fingerprint
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct KeyringArguments {
    #[command(subcommand)]
    command: KeyringCommand,
}

#[derive(Debug, Subcommand)]
enum KeyringCommand {
    /// Make an empty keyring
    Create {
        #[command(flatten)]
        keyring: Location,
    },
    /// Make a stable key; nothing is sealed with it before it is assigned
    New {
        #[command(flatten)]
        keyring: Location,
        /// What to call it: 1 to 255 printable ASCII characters without spaces
        #[arg(value_name = "NAME")]
        name: String,
        /// The configuration, which says where the KMS is
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
        /// The KMS that wraps the key, as the configuration calls it
        #[arg(long, value_name = "KMS")]
        kms: String,
        /// The key-encryption key that it is wrapped under
        #[arg(long, value_name = "KEK")]
        kek: String,
    },
    /// Have the record keys of a domain sealed with a stable key
    ///
    /// The stable key of a domain never changes while its topic lives. The first pin that matches a domain decides.
    Assign {
        #[command(flatten)]
        keyring: Location,
        /// A domain (the topic's name, unless the rule says another), or a pattern with `*` and `?`
        #[arg(value_name = "DOMAIN")]
        domain: String,
        /// Name or id of the stable key
        #[arg(value_name = "KEY")]
        key: String,
        /// Change what is pinned: the topic is new, and no record has been written to it
        #[arg(long)]
        topic_is_new: bool,
    },
    /// List stable keys with the KEKs that they are wrapped under, and the pins
    List {
        #[command(flatten)]
        keyring: Location,
    },
    /// Wrap stable keys anew, under the current version of their KEK or under another one; ids stay
    Rewrap {
        #[command(flatten)]
        keyring: Location,
        /// Names or ids of stable keys; all of them otherwise
        #[arg(value_name = "KEY")]
        keys: Vec<String>,
        /// The configuration, which says where the KMSs are
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
        /// Move the keys to this KMS
        #[arg(long, value_name = "KMS", requires = "kek")]
        kms: Option<String>,
        /// The key-encryption key there
        #[arg(long, value_name = "KEK", requires = "kms")]
        kek: Option<String>,
    },
    /// Print what is equal for two keyrings that seal alike, or with which stable key domains are sealed
    Fingerprint {
        #[command(flatten)]
        keyring: Location,
        /// Domains
        #[arg(value_name = "DOMAIN")]
        domains: Vec<String>,
    },
}

#[derive(Debug, Args)]
struct Location {
    /// The keyring file
    #[arg(value_name = "KEYRING")]
    path: PathBuf,
}

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub enum KeyringCommandError {
    /// It is not a good one.
    #[error("{0}")]
    Config(Box<ConfigErrors>),
    /// The keyring cannot be read, changed or written so.
    #[error(transparent)]
    Keyring(#[from] KeyringError),
    /// The configuration names no such KMS, or it cannot be opened, or none belongs to a stable key.
    #[error("{0}")]
    Kms(String),
    /// A KMS gave no answer that helps.
    #[error("{what}: {source}")]
    Call {
        /// What it was asked for.
        what: String,
        /// What it said.
        source: KmsError,
    },
    /// There is nothing to make calls with.
    #[error("the asynchronous runtime cannot start: {0}")]
    Runtime(io::Error),
}

impl From<FileError> for KeyringCommandError {
    fn from(error: FileError) -> Self {
        KeyringError::File(error).into()
    }
}

/// Runs the command and says on `out` what was done.
///
/// # Errors
/// [`KeyringCommandError`]; then nothing was changed. (One that says that the folder could not be synced is the
/// exception.)
pub fn run(arguments: &KeyringArguments, out: &mut dyn Write) -> Result<(), KeyringCommandError> {
    match &arguments.command {
        KeyringCommand::Create { keyring } => create(&keyring.path, out),
        KeyringCommand::New {
            keyring,
            name,
            config,
            kms,
            kek,
        } => Kmss::with(config, |kmss| new(&keyring.path, name, kmss, (kms, kek), out)),
        KeyringCommand::Assign {
            keyring,
            domain,
            key,
            topic_is_new,
        } => assign(&keyring.path, domain, key, *topic_is_new, out),
        KeyringCommand::List { keyring } => list(&read_file(&keyring.path)?.0, out),
        KeyringCommand::Rewrap {
            keyring,
            keys,
            config,
            kms,
            kek,
        } => {
            let to = kms.as_deref().zip(kek.as_deref());
            Kmss::with(config, |kmss| rewrap(&keyring.path, keys, kmss, to, out))
        }
        KeyringCommand::Fingerprint { keyring, domains } => {
            fingerprint(&read_file(&keyring.path)?.0, domains, out)
        }
    }
}

fn create(path: &Path, out: &mut dyn Write) -> Result<(), KeyringCommandError> {
    let lock = lock_file(path)?;
    if lock.path().exists() {
        return Err(KeyringError::Exists(path.to_path_buf()).into());
    }
    lock.replace(&Keyring::default().to_json()?)?;
    say(out, format_args!("made the keyring {}", path.display()))
}

fn new(
    path: &Path,
    name: &str,
    kmss: &Kmss,
    (kms, kek): (&str, &str),
    out: &mut dyn Write,
) -> Result<(), KeyringCommandError> {
    let id = change(path, |keyring| {
        keyring.check_new(name)?;
        let (wrapped, key) = kmss.generate(kms, kek)?;
        Ok(Some(keyring.add(name, &key, &wrapped, now())?))
    })?;
    let Some(id) = id else { return Ok(()) };
    say(
        out,
        format_args!("made the stable key {name} ({id}) under {kek} of {kms}"),
    )?;
    say(
        out,
        format_args!(
            "no domain is sealed with it yet; next: sealwire keyring assign {} DOMAIN {name}",
            path.display()
        ),
    )
}

fn assign(
    path: &Path,
    domain: &str,
    key: &str,
    topic_is_new: bool,
    out: &mut dyn Write,
) -> Result<(), KeyringCommandError> {
    let assigned = change(path, |keyring| {
        let id = keyring.named(key)?.id();
        match keyring.assign(domain, id, topic_is_new)? {
            Assigned::Done => Ok(Some(named(keyring, id))),
            Assigned::NothingToChange => Ok(None),
        }
    })?;
    let domain = Foreign::new(domain);
    match assigned {
        Some(key) => say(
            out,
            format_args!(
                "{domain}: record keys are sealed with {key}; running proxies take the file up by themselves"
            ),
        ),
        None => say(out, format_args!("{domain}: nothing to change")),
    }
}

fn list(keyring: &Keyring, out: &mut dyn Write) -> Result<(), KeyringCommandError> {
    let width = widest("NAME", keyring.keys().iter().map(|key| key.name()));
    say(
        out,
        format_args!(
            "{:8}  {:width$}  {:20}  PINS  WRAPPED UNDER",
            "ID", "NAME", "CREATED"
        ),
    )?;
    for key in keyring.keys() {
        let pins = keyring.pins().iter().filter(|pin| pin.key() == key.id()).count();
        say(
            out,
            format_args!(
                "{}  {:width$}  {:20}  {pins:>4}  {}",
                key.id(),
                key.name(),
                utc(key.created_unix_seconds()),
                kek_text(key.wrapped())
            ),
        )?;
    }
    let pins: Vec<_> = keyring
        .pins()
        .iter()
        .map(|pin| (Foreign::new(pin.text()).to_string(), pin.key()))
        .collect();
    if !pins.is_empty() {
        let width = widest("DOMAIN", pins.iter().map(|(text, _)| text.as_str()));
        say(out, format_args!("\n{:width$}  KEY", "DOMAIN"))?;
        for (text, key) in pins {
            say(out, format_args!("{text:width$}  {}", named(keyring, key)))?;
        }
    }
    Ok(())
}

fn rewrap(
    path: &Path,
    keys: &[String],
    kmss: &Kmss,
    to: Option<(&str, &str)>,
    out: &mut dyn Write,
) -> Result<(), KeyringCommandError> {
    let done = change(path, |keyring| {
        let mut ids = Vec::new();
        for key in keys {
            ids.push(keyring.named(key)?.id());
        }
        if keys.is_empty() {
            ids.extend(keyring.keys().iter().map(|key| key.id()));
        }
        let mut done = Vec::new();
        for id in ids {
            let Some(entry) = keyring.key(id) else { continue };
            let before = kek_text(entry.wrapped());
            let (wrapped, key) = kmss.rewrap(entry, to)?;
            done.push(format!(
                "{}: {before} -> {}",
                named(keyring, id),
                kek_text(&wrapped)
            ));
            keyring.rewrap(id, key, &wrapped)?;
        }
        Ok((!done.is_empty()).then_some(done))
    })?;
    for line in done.iter().flatten() {
        say(out, format_args!("{line}"))?;
    }
    match done {
        Some(_) => Ok(()),
        None => say(out, format_args!("nothing to change: the keyring has no keys")),
    }
}

fn fingerprint(
    keyring: &Keyring,
    domains: &[String],
    out: &mut dyn Write,
) -> Result<(), KeyringCommandError> {
    if domains.is_empty() {
        return say(out, format_args!("{}", keyring.fingerprint()));
    }
    for domain in domains {
        let shown = Foreign::new(domain);
        let key = keyring.key_of(domain).and_then(|id| keyring.key(id));
        let key = key.ok_or_else(|| KeyringError::NoPin(domain.clone()))?;
        say(out, format_args!("{shown}  {}  {}", key.id(), key.name()))?;
    }
    Ok(())
}

/// Reads and edits the keyring under its lock, and writes it where `edit` has changed something; writes nothing when it
/// fails.
fn change<T>(
    path: &Path,
    edit: impl FnOnce(&mut Keyring) -> Result<Option<T>, KeyringCommandError>,
) -> Result<Option<T>, KeyringCommandError> {
    // Before the lock file is made: a mistyped path leaves nothing behind.
    read_file(path)?;
    let lock = lock_file(path)?;
    let (mut keyring, _) = read_file(lock.path())?;
    let result = edit(&mut keyring)?;
    if result.is_some() {
        let bytes = keyring.to_json()?;
        // Nothing is written that could not be read.
        Keyring::parse(&bytes)?;
        lock.replace(&bytes)?;
    }
    Ok(result)
}

/// A stable key, as people know it.
fn named(keyring: &Keyring, id: StableKeyId) -> String {
    match keyring.key(id) {
        Some(key) => format!("{} ({id})", key.name()),
        None => id.to_string(),
    }
}

fn widest<'t>(head: &str, texts: impl Iterator<Item = &'t str>) -> usize {
    texts.map(str::len).max().unwrap_or(0).max(head.len())
}

#[expect(clippy::disallowed_methods, reason = "a key is stored with when it was made")]
fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}

fn say(out: &mut dyn Write, what: std::fmt::Arguments<'_>) -> Result<(), KeyringCommandError> {
    match writeln!(out, "{what}") {
        // Who closed the pipe has read enough.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(FileError::failed("write to", Path::new("standard output"))(error).into())
        }
        _ => Ok(()),
    }
}

const EXAMPLES: &str = "\
Examples:
  sealwire keyring create keyring.json
  sealwire keyring new keyring.json customers --config sealwire.toml --kms vault --kek payments
  sealwire keyring assign keyring.json 'customers-*' customers
  sealwire keyring rewrap keyring.json --config sealwire.toml
  sealwire keyring fingerprint keyring.json customers-eu

docs/keyring.md says what has to be backed up, and docs/keys-of-records.md what sealing record keys means.";
