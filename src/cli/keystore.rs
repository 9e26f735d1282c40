//! `sealwire keystore`: makes and changes the file keystore. A running proxy follows the file by itself.
//!
//! Every change is read, made, verified and written under the keystore's lock; what is printed was done and is on disk.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};

use super::utc::utc;
use crate::kms::keystore::{
    KekState, KekVersion, KeystoreError, KeystoreKek, MasterKeySource, OpenKeystore, create_key_file,
    lock_file, open_file, parse_file, read_file,
};

/// Make and change an embedded keystore: create, add, list, rotate, disable, enable, destroy
#[derive(Debug, Args)]
pub struct KeystoreArguments {
    #[command(subcommand)]
    command: KeystoreCommand,
}

#[derive(Debug, Subcommand)]
enum KeystoreCommand {
    /// Make an empty keystore, and the key file of --master-key-file if there is none yet
    Create {
        #[command(flatten)]
        keystore: Location,
        #[command(flatten)]
        master: MasterKey,
    },
    /// Add key-encryption keys, each with version 1
    Add {
        #[command(flatten)]
        keystore: Location,
        /// Names: 1 to 255 printable ASCII characters without spaces
        #[arg(value_name = "NAME", required = true)]
        names: Vec<String>,
        #[command(flatten)]
        master: MasterKey,
    },
    /// Give a key a new current version; earlier ones go on decrypting
    Rotate {
        #[command(flatten)]
        keystore: Location,
        /// The key to rotate
        #[arg(value_name = "NAME")]
        name: String,
        #[command(flatten)]
        master: MasterKey,
    },
    /// Refuse a key, or one of its versions: what was sealed under it cannot be read until it is enabled again
    Disable {
        #[command(flatten)]
        change: Change,
    },
    /// Undo `disable`
    Enable {
        #[command(flatten)]
        change: Change,
    },
    /// Wipe a key, or one of its versions, for ever: what was sealed under it can never be read again
    Destroy {
        #[command(flatten)]
        change: Change,
        /// The key's name once more, to show that it is meant
        #[arg(long, value_name = "NAME")]
        confirm: String,
    },
    /// List keys with versions and states; without a master key, what the file says, unverified
    #[command(mut_group("MasterKey", |group| group.required(false)))]
    List {
        #[command(flatten)]
        keystore: Location,
        #[command(flatten)]
        master: Option<MasterKey>,
    },
}

#[derive(Debug, Args)]
struct Location {
    /// The keystore file
    #[arg(value_name = "KEYSTORE")]
    path: PathBuf,
}

#[derive(Debug, Args)]
struct Change {
    #[command(flatten)]
    keystore: Location,
    /// The key to change
    #[arg(value_name = "NAME")]
    name: String,
    /// Only this version; all of them otherwise
    #[arg(long, value_name = "N")]
    key_version: Option<u32>,
    #[command(flatten)]
    master: MasterKey,
}

/// Exactly one of these.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct MasterKey {
    /// File with the 32 bytes of the master key, mode 0600
    #[arg(long, value_name = "FILE")]
    master_key_file: Option<PathBuf>,
    /// Environment variable with the master key in base64, or with the passphrase of a keystore that has one
    #[arg(long, value_name = "VARIABLE")]
    master_key_env: Option<String>,
    /// File with the passphrase, mode 0600
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
    /// systemd credential with the master key, or with the passphrase of a keystore that has one
    #[arg(long, value_name = "NAME")]
    systemd_credential: Option<String>,
}

/// Runs the command and says on `out` what was done.
///
/// # Errors
/// [`KeystoreError`]; then nothing was changed. (One that says that the folder could not be synced is the exception.)
pub fn run(arguments: &KeystoreArguments, out: &mut dyn Write) -> Result<(), KeystoreError> {
    match &arguments.command {
        KeystoreCommand::Create { keystore, master } => create(&keystore.path, master, out),
        KeystoreCommand::Add {
            keystore,
            names,
            master,
        } => {
            change(&keystore.path, master, |keystore| {
                names.iter().try_for_each(|name| keystore.add(name))
            })?;
            names
                .iter()
                .try_for_each(|name| say(out, format_args!("{name}: version 1 is current")))
        }
        KeystoreCommand::Rotate {
            keystore,
            name,
            master,
        } => {
            let version = change(&keystore.path, master, |keystore| keystore.rotate(name))?;
            say(out, format_args!("{name}: version {version} is current"))
        }
        KeystoreCommand::Disable { change } => change.make(out, "disabled", OpenKeystore::disable),
        KeystoreCommand::Enable { change } => change.make(out, "enabled", OpenKeystore::enable),
        KeystoreCommand::Destroy { change, confirm } => {
            if *confirm != change.name {
                return Err(KeystoreError::NotConfirmed(change.name.clone()));
            }
            change.make(out, "destroyed", OpenKeystore::destroy)
        }
        KeystoreCommand::List { keystore, master } => list(&keystore.path, master.as_ref(), out),
    }
}

fn create(path: &Path, master: &MasterKey, out: &mut dyn Write) -> Result<(), KeystoreError> {
    let lock = lock_file(path)?;
    if lock.path().exists() {
        return Err(KeystoreError::Exists(path.to_path_buf()));
    }
    if let Some(key_file) = &master.master_key_file
        && !key_file.exists()
    {
        create_key_file(key_file)?;
        say(out, format_args!("made the master key {}", key_file.display()))?;
    }
    let mut keystore = OpenKeystore::create(master.source()?.read()?)?;
    lock.replace(&keystore.to_json()?)?;
    say(out, format_args!("made the keystore {}", path.display()))
}

fn list(path: &Path, master: Option<&MasterKey>, out: &mut dyn Write) -> Result<(), KeystoreError> {
    match master {
        Some(master) => print_keks(open_file(path, &master.source()?)?.0.keks(), out),
        None => {
            print_keks(parse_file(path)?.0.unverified_keks(), out)?;
            say(
                out,
                format_args!("not verified: give the master key to be sure that nobody altered this"),
            )
        }
    }
}

fn print_keks<'k>(
    keks: impl Iterator<Item = (&'k KeystoreKek, &'k [KekVersion])>,
    out: &mut dyn Write,
) -> Result<(), KeystoreError> {
    let keks: Vec<_> = keks.collect();
    let width = keks
        .iter()
        .map(|(name, _)| name.as_str().len())
        .max()
        .unwrap_or(0)
        .max("KEY".len());
    say(
        out,
        format_args!("{:width$}  VERSION  STATE         CREATED", "KEY"),
    )?;
    for (name, versions) in keks {
        for version in versions {
            say(
                out,
                format_args!(
                    "{:width$}  {:>7}  {:12}  {}",
                    name.as_str(),
                    version.number(),
                    version.state().name(),
                    utc(version.created_unix_seconds())
                ),
            )?;
        }
    }
    Ok(())
}

impl Change {
    fn make(
        &self,
        out: &mut dyn Write,
        done: &str,
        edit: impl Fn(&mut OpenKeystore, &str, Option<u32>) -> Result<Vec<u32>, KeystoreError>,
    ) -> Result<(), KeystoreError> {
        let (changed, is_current) = change(&self.keystore.path, &self.master, |keystore| {
            let changed = edit(keystore, &self.name, self.key_version)?;
            let is_current = keystore.keks().any(|(name, versions)| {
                name.as_str() == self.name
                    && versions
                        .iter()
                        .any(|version| version.state() == KekState::Current)
            });
            Ok((changed, is_current))
        })?;
        if changed.is_empty() {
            say(out, format_args!("{}: nothing to change", self.name))?;
        }
        for version in changed {
            say(out, format_args!("{}: version {version} is {done}", self.name))?;
        }
        if !is_current {
            say(
                out,
                format_args!(
                    "{}: no version is current, nothing can be sealed under it; `rotate` makes one",
                    self.name
                ),
            )?;
        }
        Ok(())
    }
}

/// Reads, verifies, edits and writes the keystore under its lock; writes nothing when `edit` fails.
fn change<T>(
    path: &Path,
    master: &MasterKey,
    edit: impl FnOnce(&mut OpenKeystore) -> Result<T, KeystoreError>,
) -> Result<T, KeystoreError> {
    let source = master.source()?;
    // Before the lock file is made: a mistyped path leaves nothing behind.
    read_file(path)?;
    let lock = lock_file(path)?;
    let (mut keystore, _) = open_file(lock.path(), &source)?;
    let result = edit(&mut keystore)?;
    lock.replace(&keystore.to_json()?)?;
    Ok(result)
}

impl MasterKey {
    fn source(&self) -> Result<MasterKeySource, KeystoreError> {
        if let Some(path) = &self.master_key_file {
            Ok(MasterKeySource::File(path.clone()))
        } else if let Some(name) = &self.master_key_env {
            Ok(MasterKeySource::Environment(name.clone()))
        } else if let Some(path) = &self.passphrase_file {
            Ok(MasterKeySource::PassphraseFile(path.clone()))
        } else if let Some(name) = &self.systemd_credential {
            Ok(MasterKeySource::SystemdCredential(name.clone()))
        } else {
            Err(KeystoreError::MasterKey("none was named".to_owned()))
        }
    }
}

fn say(out: &mut dyn Write, what: std::fmt::Arguments<'_>) -> Result<(), KeystoreError> {
    match writeln!(out, "{what}") {
        // Who closed the pipe has read enough.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(KeystoreError::file(
            "write to",
            Path::new("standard output"),
        )(error)),
        _ => Ok(()),
    }
}
