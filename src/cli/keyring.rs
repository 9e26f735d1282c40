//! `sealwire keyring`: makes stable keys and says which domain uses which. A running proxy follows the file by itself.

mod change;
mod help;
mod kms;
mod show;

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};

use self::kms::Kmss;
use crate::config::ConfigErrors;
use crate::durable_file::FileError;
use crate::envelope::StableKeyId;
use crate::foreign::shell_word;
use crate::keyring::{Keyring, KeyringError, read_file};
use crate::kms::KmsError;

/// Keep the stable keys that record keys are sealed with: create, new, assign, list, rewrap, fingerprint, unassign,
/// remove
#[derive(Debug, Args)]
#[command(after_help = help::EXAMPLES)]
pub struct KeyringArguments {
    #[command(subcommand)]
    command: KeyringCommand,
}

#[derive(Debug, Subcommand)]
enum KeyringCommand {
    /// Make an empty keyring, mode 0600; a file that is there is not overwritten
    #[command(after_help = help::CREATE)]
    Create {
        #[command(flatten)]
        keyring: Location,
    },
    /// Make a stable key; nothing is sealed with it before it is assigned
    #[command(after_help = help::NEW)]
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
        /// The key-encryption key that it is wrapped under; it has to be there
        #[arg(long, value_name = "KEK")]
        kek: String,
    },
    /// Have the record keys of a domain sealed with a stable key
    ///
    /// The stable key of a domain never changes while its topic lives. The first pin that matches a domain decides. A
    /// new pin goes behind those that are there; only a whole name with --topic-is-new goes before a pattern.
    #[command(after_help = help::ASSIGN)]
    Assign {
        #[command(flatten)]
        keyring: Location,
        /// A domain (the topic's name, unless the rule says another), or a pattern with `*` and `?`, in quotes
        #[arg(value_name = "DOMAIN")]
        domain: String,
        /// Name or id of the stable key
        #[arg(value_name = "KEY")]
        key: String,
        /// Change what is pinned: the topic is new, and no record has been written to it
        #[arg(long)]
        topic_is_new: bool,
    },
    /// Take a pin away whose topics are gone
    ///
    /// What it took has the stable key of the next pin that matches, or none: nothing is sealed there then, and what is
    /// sealed does not open.
    #[command(after_help = help::UNASSIGN)]
    Unassign {
        #[command(flatten)]
        keyring: Location,
        /// The pin, as `list` shows it; a pattern in quotes
        #[arg(value_name = "DOMAIN")]
        domain: String,
        /// No topic that the pin takes has records any more
        #[arg(long)]
        topic_is_gone: bool,
    },
    /// Take a stable key away that no pin names: records that were sealed with it will not open again
    #[command(after_help = help::REMOVE)]
    Remove {
        #[command(flatten)]
        keyring: Location,
        /// Name or id of the stable key
        #[arg(value_name = "KEY")]
        key: String,
        /// The same once more, to show that it is meant
        #[arg(long, value_name = "KEY")]
        confirm: String,
    },
    /// List stable keys with the KMSs and KEKs that they are wrapped under, and the pins
    #[command(after_help = help::LIST)]
    List {
        #[command(flatten)]
        keyring: Location,
    },
    /// Wrap stable keys anew, under the current version of their KEK or under another one; ids stay
    ///
    /// After a rotation of a KEK: before its older versions are disabled or destroyed.
    #[command(after_help = help::REWRAP)]
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
    #[command(after_help = help::FINGERPRINT)]
    Fingerprint {
        #[command(flatten)]
        keyring: Location,
        /// Print the stable key of each of these domains instead (names of topics, unless rules say others)
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
    /// There is no file to change or to show.
    #[error("there is no keyring {0}; make one: sealwire keyring create {0}")]
    NotThere(String),
    /// The name that confirms that a key is taken away is another one.
    #[error(
        "--confirm must repeat the name {0}: records that were sealed with a key that is gone do not open"
    )]
    NotConfirmed(String),
    /// The configuration names no such KMS, or it cannot be opened.
    #[error("{0}")]
    Kms(String),
    /// A stable key is not given back.
    #[error("stable key {name}: {why}")]
    NotOpened {
        /// The key's name.
        name: String,
        /// Why, and what to do about it.
        why: String,
    },
    /// A KMS gave no answer that helps.
    #[error("{what}: {source}{advice}")]
    Call {
        /// What it was asked for.
        what: String,
        /// What it said.
        source: KmsError,
        /// What to do about it.
        advice: String,
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
        KeyringCommand::Create { keyring } => change::create(&keyring.path, out),
        KeyringCommand::New {
            keyring,
            name,
            config,
            kms,
            kek,
        } => Kmss::with(config, |kmss| {
            change::new(&keyring.path, name, kmss, (kms, kek), out)
        }),
        KeyringCommand::Assign {
            keyring,
            domain,
            key,
            topic_is_new,
        } => change::assign(&keyring.path, domain, key, *topic_is_new, out),
        KeyringCommand::Unassign {
            keyring,
            domain,
            topic_is_gone,
        } => change::unassign(&keyring.path, domain, *topic_is_gone, out),
        KeyringCommand::Remove {
            keyring,
            key,
            confirm,
        } => change::remove(&keyring.path, key, confirm, out),
        KeyringCommand::List { keyring } => show::list(&keyring.path, out),
        KeyringCommand::Rewrap {
            keyring,
            keys,
            config,
            kms,
            kek,
        } => {
            let to = kms.as_deref().zip(kek.as_deref());
            Kmss::with(config, |kmss| change::rewrap(&keyring.path, keys, kmss, to, out))
        }
        KeyringCommand::Fingerprint { keyring, domains } => show::fingerprint(&keyring.path, domains, out),
    }
}

/// Reads the keyring that a command is about.
fn read(path: &Path) -> Result<Keyring, KeyringCommandError> {
    match read_file(path) {
        Ok((keyring, _)) => Ok(keyring),
        Err(KeyringError::File(error)) if error.is_not_found() => {
            Err(KeyringCommandError::NotThere(shell_word(&path.to_string_lossy())))
        }
        Err(error) => Err(error.into()),
    }
}

/// A stable key, as people know it.
fn named(keyring: &Keyring, id: StableKeyId) -> String {
    match keyring.key(id) {
        Some(key) => format!("{} ({id})", key.name()),
        None => id.to_string(),
    }
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
