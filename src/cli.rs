//! The command line: what can be said to the program, and what it exits with.
//!
//! - CLI-1: exit codes are 0 for success, 1 for a failure at run time, 2 for a mistake in arguments or configuration.
//! - CLI-2: results go to standard output, everything else to standard error.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]

pub mod inspect;
pub mod keyring;
pub mod keystore;
mod log_writer;
pub mod logging;
pub mod users;
mod utc;
mod version;

use std::error::Error;
use std::ffi::OsString;
use std::fmt::Display;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::error::ErrorKind;
use clap::{Args, Parser, Subcommand};

use self::inspect::InspectArguments;
use self::keyring::KeyringArguments;
use self::keystore::KeystoreArguments;
use self::users::UsersArguments;
use crate::config::{Config, Executors, Overrides};
use crate::crypto::memory;
use crate::kms::Kms;
use crate::self_check;

/// Transparent encrypting proxy for Apache Kafka: records are sealed before a broker sees them.
#[derive(Debug, Parser)]
#[command(name = "sealwire", version = version::text(), about, after_help = EXAMPLES, arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the proxy until SIGTERM or SIGINT
    #[command(after_help = RUN_EXAMPLES)]
    Run {
        /// The configuration file
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
        #[command(flatten)]
        overrides: OverrideArguments,
    },
    /// Find mistakes in a configuration without starting anything
    ///
    /// Prints every mistake with its line and what to write instead. Files that the configuration names have to be
    /// there.
    #[command(after_help = CHECK_EXAMPLES)]
    CheckConfig {
        /// The configuration file
        #[arg(value_name = "FILE")]
        config: PathBuf,
        /// Compare it with what is there as well: KMSs and KEKs, stable keys, brokers, their ids and addresses, limits
        /// of topics and of this process. Changes nothing and takes half a minute at most
        #[arg(long)]
        probe: bool,
        #[command(flatten)]
        overrides: OverrideArguments,
    },
    Keystore(KeystoreArguments),
    Keyring(KeyringArguments),
    Users(UsersArguments),
    Inspect(InspectArguments),
}

#[derive(Debug, Args)]
struct OverrideArguments {
    /// Set a key of the configuration over file and environment; VALUE is TOML, or else text
    #[arg(long = "set", value_name = "KEY=VALUE")]
    settings: Vec<String>,
}

impl From<OverrideArguments> for Overrides {
    fn from(arguments: OverrideArguments) -> Self {
        Self {
            settings: arguments.settings,
        }
    }
}

/// Success.
pub const EXIT_OK: u8 = 0;
/// A failure at run time.
pub const EXIT_FAILURE: u8 = 1;
/// A mistake in arguments or configuration.
pub const EXIT_USAGE: u8 = 2;

/// Keys that a command of `keystore` or `keyring` has at a time: those derived from the master keys of the keystores
/// that a configuration names, one KEK, and a stable key with its copies. One page holds more.
const COMMAND_KEYS: usize = 64;

/// Where the program speaks.
pub struct Streams<'s> {
    /// Results.
    pub out: &'s mut dyn Write,
    /// Everything else.
    pub err: &'s mut dyn Write,
}

/// Does what `arguments` (the program's name first) say; `serve` runs the proxy until it is told to stop.
pub fn execute<S>(arguments: impl IntoIterator<Item = OsString>, serve: S, streams: &mut Streams<'_>) -> u8
where
    S: FnOnce(Config) -> Result<(), Box<dyn Error>>,
{
    let arguments = match Arguments::try_parse_from(arguments) {
        Ok(arguments) => arguments,
        Err(error) => {
            let asked_for = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
            say(
                if asked_for {
                    &mut *streams.out
                } else {
                    &mut *streams.err
                },
                error.render(),
            );
            return if asked_for { EXIT_OK } else { EXIT_USAGE };
        }
    };
    match arguments.command {
        Command::Run { config, overrides } => run(&config, overrides.into(), serve, streams),
        Command::CheckConfig {
            config,
            probe,
            overrides,
        } => check_config(&config, overrides.into(), probe, streams),
        Command::Keystore(arguments) => {
            protect_keys(streams.err);
            finish(keystore::run(&arguments, streams.out), streams.err)
        }
        Command::Keyring(arguments) => {
            protect_keys(streams.err);
            match keyring::run(&arguments, streams.out) {
                Err(keyring::KeyringCommandError::Config(errors)) => {
                    say(streams.err, format_args!("{errors}\n"));
                    EXIT_USAGE
                }
                done => finish(done, streams.err),
            }
        }
        Command::Users(arguments) => finish(users::run(&arguments, streams.out), streams.err),
        Command::Inspect(arguments) => {
            finish(inspect::run(&arguments, streams.out, streams.err), streams.err)
        }
    }
}

fn finish(done: Result<(), impl Display>, err: &mut dyn Write) -> u8 {
    match done {
        Ok(()) => EXIT_OK,
        Err(error) => {
            say(err, format_args!("sealwire: {error}\n"));
            EXIT_FAILURE
        }
    }
}

/// Before any secret is read, as for `run`: master keys and KEKs are in memory that is neither swapped out nor dumped.
fn protect_keys(err: &mut dyn Write) {
    let forbidden = memory::forbid_core_dumps();
    if !memory::initialise(COMMAND_KEYS).is_complete() || !forbidden {
        say(
            err,
            "sealwire: warning: the kernel does not protect key memory fully: raise the memlock limit (ulimit -l)\n",
        );
    }
}

/// [`execute`] on the process' own arguments and streams.
pub fn main<S>(serve: S) -> ExitCode
where
    S: FnOnce(Config) -> Result<(), Box<dyn Error>>,
{
    let mut streams = Streams {
        out: &mut std::io::stdout(),
        err: &mut std::io::stderr(),
    };
    ExitCode::from(execute(std::env::args_os(), serve, &mut streams))
}

fn run<S>(path: &Path, overrides: Overrides, serve: S, streams: &mut Streams<'_>) -> u8
where
    S: FnOnce(Config) -> Result<(), Box<dyn Error>>,
{
    let config = match Config::load(path, overrides) {
        Ok(config) => config,
        Err(errors) => {
            say(streams.err, format_args!("{errors}\n"));
            return EXIT_USAGE;
        }
    };
    let outcome = logging::start(&config.log)
        .map_err(Box::from)
        .and_then(|_logging| serve(config));
    match outcome {
        Ok(()) => EXIT_OK,
        Err(error) => {
            say(streams.err, format_args!("sealwire: {error}\n"));
            EXIT_FAILURE
        }
    }
}

fn check_config(path: &Path, overrides: Overrides, probe: bool, streams: &mut Streams<'_>) -> u8 {
    match Config::load(path, overrides) {
        Ok(config) => {
            say(
                streams.out,
                format_args!("{}: good: {}\n", path.display(), summary(&config)),
            );
            for warning in &config.warnings {
                say(streams.err, format_args!("warning: {warning}\n"));
            }
            if !probe {
                for warning in self_check::warnings(&config) {
                    say(streams.err, format_args!("warning: {warning}\n"));
                }
            }
            if probe { probing(&config, streams) } else { EXIT_OK }
        }
        Err(errors) => {
            say(streams.err, format_args!("{errors}\n"));
            EXIT_USAGE
        }
    }
}

/// Prints the table of the self-check.
fn probing(config: &Config, streams: &mut Streams<'_>) -> u8 {
    let opened: Vec<Result<Arc<dyn Kms>, String>> = config
        .kms
        .iter()
        .map(|kms| kms.kind.open().map_err(|error| error.to_string()))
        .collect();
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return finish(Err(error), streams.err),
    };
    let table = runtime.block_on(self_check::look(config, &opened));
    // A resolver that hangs is not waited for.
    runtime.shutdown_background();
    say(streams.out, &table);
    if table.is_good() { EXIT_OK } else { EXIT_FAILURE }
}

/// One line on what a configuration sets up.
pub fn summary(config: &Config) -> String {
    let executors = match config.runtime.executors {
        Executors::Auto => "one executor a core".to_owned(),
        Executors::Count(count) => counted(count.get(), "executor"),
    };
    let listeners = config
        .clusters
        .iter()
        .map(|cluster| cluster.listeners.len())
        .sum();
    let rules = config
        .clusters
        .iter()
        .map(|cluster| cluster.rules.rules().len())
        .sum();
    let sealing = config.seal_rules().count();
    let admin = match &config.admin {
        Some(admin) => format!("admin on {}", admin.listen),
        None => "no admin port".to_owned(),
    };
    format!(
        "{executors}, {}, {}, {} ({sealing} sealing), {}, {admin}",
        counted(config.clusters.len(), "cluster"),
        counted(listeners, "listener"),
        counted(rules, "rule"),
        counted(config.kms.len(), "KMS"),
    )
}

fn counted(count: usize, noun: &str) -> String {
    match (count, noun) {
        (1, _) => format!("1 {noun}"),
        (_, "KMS") => format!("{count} KMSs"),
        _ => format!("{count} {noun}s"),
    }
}

/// Who closed the stream has read enough: there is nobody left to tell.
fn say(stream: &mut dyn Write, what: impl Display) {
    let _ = write!(stream, "{what}").and_then(|()| stream.flush());
}

const EXAMPLES: &str = "\
Examples:
  sealwire check-config sealwire.toml
  sealwire run --config sealwire.toml
  sealwire keystore create keystore.json --master-key-file master.key
  sealwire inspect --bootstrap kafka-1:9092 --topic payments

Exit codes: 0 success, 1 failure at run time, 2 mistake in arguments or configuration.
Environment: SEALWIRE_SECTION__KEY overrides the file, such as SEALWIRE_LIMITS__CONNECTIONS_MAX=500.";

const RUN_EXAMPLES: &str = "\
Examples:
  sealwire run --config sealwire.toml
  sealwire run --config sealwire.toml --set runtime.executors=2 --set log.format=json
  SEALWIRE_LOG__FILTER=debug sealwire run --config sealwire.toml

SIGTERM drains: nothing new is accepted, what is in flight finishes within limits.drain_timeout, exit code 0.";

const CHECK_EXAMPLES: &str = "\
Examples:
  sealwire check-config sealwire.toml
  sealwire check-config sealwire.toml --probe
  sealwire check-config sealwire.toml --set limits.connections_max=500

Exit codes: 0 the configuration is good, 2 it is not; with --probe also 1: something that it \
names is not there, or does not work.";

#[cfg(test)]
mod tests;
