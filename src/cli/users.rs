//! `sealwire users`: who may log in with a password. A running proxy follows the file by itself.
//!
//! Every change is read, made and written under the file's lock. Passwords are read from a file or from standard input,
//! never from an argument, which others on the host could see.

use std::io::{self, Read as _, Write};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, Subcommand};
use zeroize::Zeroizing;

use crate::config::{CredentialsFileError, read_credentials};
use crate::crypto::CryptoError;
use crate::durable_file::{self, FileError, FileLock, Keeper};
use crate::foreign::Foreign;
use crate::identity::sasl::credentials::{Credentials, CredentialsError};
use crate::identity::sasl::verifier::{ITERATIONS_MAX, ITERATIONS_MIN, Mechanism, Verifier};

/// Say who may log in with a password: create, add, remove, list
#[derive(Debug, Args)]
pub struct UsersArguments {
    #[command(subcommand)]
    command: UsersCommand,
}

#[derive(Debug, Subcommand)]
enum UsersCommand {
    /// Make a credentials file with nobody in it
    ///
    /// Where several instances serve the same clients, they share the file, or each has a copy of it: by two files that
    /// were made apart, a client could tell users that there are from those that there are not.
    Create {
        #[command(flatten)]
        file: Location,
    },
    /// Let a user log in by the password that is read from standard input, or give him another one
    Add {
        #[command(flatten)]
        file: Location,
        /// The user, as clients name him
        #[arg(value_name = "NAME")]
        name: String,
        /// SCRAM-SHA-256 or SCRAM-SHA-512; both without it. Any of them serves for PLAIN as well
        #[arg(long, value_name = "NAME", value_parser = mechanism)]
        mechanism: Option<Mechanism>,
        /// How often the password is hashed; as the file says, without it
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(ITERATIONS))]
        iterations: Option<u32>,
        /// File with the password instead; one line end after it is not part of it
        #[arg(long, value_name = "FILE")]
        password_file: Option<PathBuf>,
    },
    /// Let a user log in no more; sessions that there are last as long as they may
    Remove {
        #[command(flatten)]
        file: Location,
        /// The user
        #[arg(value_name = "NAME")]
        name: String,
        /// Only with this mechanism; with any, without it
        #[arg(long, value_name = "NAME", value_parser = mechanism)]
        mechanism: Option<Mechanism>,
    },
    /// List users and mechanisms
    List {
        #[command(flatten)]
        file: Location,
    },
}

#[derive(Debug, Args)]
struct Location {
    /// The credentials file
    #[arg(value_name = "FILE")]
    path: PathBuf,
}

/// Why a command has done nothing.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UsersError {
    /// A file cannot be read or replaced.
    #[error(transparent)]
    File(#[from] FileError),
    /// The file is there, and would be lost.
    #[error("{} is there already", .0.display())]
    Exists(PathBuf),
    /// What is in the file, or would be.
    #[error("{}: {error}", path.display())]
    Credentials {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        error: CredentialsError,
    },
    /// There is no such user.
    #[error("{0}: there is no such user, or not with this mechanism")]
    NobodyThere(String),
    /// A password that is none.
    #[error("a password is UTF-8 and has 1 to {PASSWORD_BYTES_MAX} bytes")]
    Password,
    /// Standard input or output.
    #[error("cannot {0}: {1}")]
    Stream(&'static str, io::Error),
    /// The kernel or the library.
    #[error(transparent)]
    Crypto(#[from] CryptoError),
}

/// Runs the command and says on `out` what was done.
///
/// # Errors
/// [`UsersError`]; then nothing was changed.
pub fn run(arguments: &UsersArguments, out: &mut dyn Write) -> Result<(), UsersError> {
    match &arguments.command {
        UsersCommand::Create { file } => create(&file.path, out),
        UsersCommand::Add {
            file,
            name,
            mechanism,
            iterations,
            password_file,
        } => {
            // Before the lock: whoever types is slow.
            read(&file.path)?;
            let password = password(password_file.as_deref())?;
            let mechanisms =
                mechanism.map_or_else(|| vec![Mechanism::Sha256, Mechanism::Sha512], |one| vec![one]);
            let mut replaced = Vec::new();
            change(&file.path, |credentials| {
                let iterations = iterations.unwrap_or(credentials.iterations().get());
                for mechanism in &mechanisms {
                    let verifier = Verifier::new(*mechanism, &password, iterations)?;
                    let set = credentials.set(name, *mechanism, verifier);
                    replaced.push(set.map_err(in_file(&file.path))?);
                }
                Ok(())
            })?;
            for (mechanism, replaced) in mechanisms.iter().zip(replaced) {
                let done = if replaced {
                    "has another password"
                } else {
                    "may log in"
                };
                say(out, format_args!("{}: {done} with {mechanism}", shown(name)))?;
            }
            Ok(())
        }
        UsersCommand::Remove {
            file,
            name,
            mechanism,
        } => {
            let mut others = Vec::new();
            change(&file.path, |credentials| {
                if !credentials.remove(name, *mechanism) {
                    return Err(UsersError::NobodyThere(shown(name)));
                }
                let left = credentials.users().filter(|(user, ..)| user == name);
                others.extend(left.map(|(_, mechanism, _)| mechanism.name()));
                Ok(())
            })?;
            match (&others[..], mechanism) {
                ([], _) | (_, None) => say(out, format_args!("{}: removed", shown(name))),
                (others, Some(mechanism)) => say(
                    out,
                    format_args!(
                        "{}: removed for {mechanism}; can still log in by {}, and by PLAIN where a listener has it",
                        shown(name),
                        others.join(" and ")
                    ),
                ),
            }
        }
        UsersCommand::List { file } => list(&read(&file.path)?, out),
    }
}

fn create(path: &Path, out: &mut dyn Write) -> Result<(), UsersError> {
    let lock = FileLock::acquire_within(path, Keeper::People, PATIENCE)?;
    if lock.path().exists() {
        return Err(UsersError::Exists(path.to_path_buf()));
    }
    lock.replace(Credentials::new()?.text().as_bytes())?;
    say(out, format_args!("made the credentials file {}", path.display()))
}

fn list(credentials: &Credentials, out: &mut dyn Write) -> Result<(), UsersError> {
    let users: Vec<_> = credentials
        .users()
        .map(|(user, mechanism, verifier)| (shown(user), mechanism, verifier.iterations()))
        .collect();
    let widths = users.iter().map(|(user, ..)| user.len());
    let width = widths.max().unwrap_or(0).max("USER".len());
    say(out, format_args!("{:width$}  MECHANISM      ITERATIONS", "USER"))?;
    for (user, mechanism, iterations) in users {
        say(out, format_args!("{user:width$}  {mechanism}  {iterations:>10}"))?;
    }
    Ok(())
}

/// Reads, edits and writes the file under its lock; writes nothing when `edit` fails.
fn change(
    path: &Path,
    edit: impl FnOnce(&mut Credentials) -> Result<(), UsersError>,
) -> Result<(), UsersError> {
    // Before the lock file is made: a mistyped path leaves nothing behind.
    read(path)?;
    let lock = FileLock::acquire_within(path, Keeper::People, PATIENCE)?;
    let mut credentials = read(lock.path())?;
    edit(&mut credentials)?;
    Ok(lock.replace(credentials.text().as_bytes())?)
}

fn read(path: &Path) -> Result<Credentials, UsersError> {
    read_credentials(path).map_err(|error| match error {
        CredentialsFileError::File(error) => UsersError::File(error),
        CredentialsFileError::Content { path, error } => UsersError::Credentials { path, error },
    })
}

fn in_file(path: &Path) -> impl FnOnce(CredentialsError) -> UsersError {
    let path = path.to_path_buf();
    move |error| UsersError::Credentials { path, error }
}

/// That of the file, or of standard input.
fn password(file: Option<&Path>) -> Result<Zeroizing<Vec<u8>>, UsersError> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(PASSWORD_BYTES_MAX.saturating_add(3)));
    match file {
        Some(path) => *bytes = durable_file::read(path, PASSWORD_BYTES_MAX.saturating_add(2))?.0,
        None => {
            let most = (PASSWORD_BYTES_MAX as u64).saturating_add(3);
            io::stdin()
                .take(most)
                .read_to_end(&mut bytes)
                .map_err(|error| UsersError::Stream("read the password from standard input", error))?;
        }
    }
    let kept = match bytes.as_slice() {
        [kept @ .., b'\r', b'\n'] | [kept @ .., b'\n'] => kept.len(),
        all => all.len(),
    };
    bytes.truncate(kept);
    match (1..=PASSWORD_BYTES_MAX).contains(&bytes.len()) && std::str::from_utf8(&bytes).is_ok() {
        true => Ok(bytes),
        false => Err(UsersError::Password),
    }
}

fn mechanism(name: &str) -> Result<Mechanism, &'static str> {
    name.parse()
        .map_err(|()| "SCRAM-SHA-256 and SCRAM-SHA-512 are known")
}

fn shown(name: &str) -> String {
    Foreign::new(name).to_string()
}

fn say(out: &mut dyn Write, what: std::fmt::Arguments<'_>) -> Result<(), UsersError> {
    match writeln!(out, "{what}") {
        // Who closed the pipe has read enough.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(UsersError::Stream("write to standard output", error))
        }
        _ => Ok(()),
    }
}

const ITERATIONS: RangeInclusive<i64> = ITERATIONS_MIN as i64..=ITERATIONS_MAX as i64;
/// Another command that changes the file takes no longer.
const PATIENCE: Duration = Duration::from_secs(10);
/// As PLAIN takes it.
const PASSWORD_BYTES_MAX: usize = crate::identity::sasl::plain::PASSWORD_BYTES_MAX;
