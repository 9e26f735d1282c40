//! Sealwire's harness: a quickstart that needs nothing installed, and the measurements behind `perf/`.
//!
//! The measurements drive the library's insides and are built with the feature `measurements` only, so that what is
//! built without it holds no program with those insides open.
//!
//! Everything listens on 127.0.0.1, and every process that is started is stopped by its id.

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a program for a terminal, without executors"
)]

// Its macros are used in all that follows.
#[macro_use]
mod terminal;

#[cfg(feature = "measurements")]
mod certificates;
mod children;
#[cfg(feature = "measurements")]
mod compare;
#[cfg(feature = "measurements")]
mod generator;
#[cfg(feature = "measurements")]
mod hostile;
#[cfg(feature = "measurements")]
mod layers;
#[cfg(feature = "measurements")]
mod load;
#[cfg(feature = "measurements")]
mod logins;
#[cfg(feature = "measurements")]
mod measure;
#[cfg(feature = "measurements")]
mod memory;
mod ports;
mod proxy;
mod quickstart;
#[cfg(feature = "measurements")]
mod real;
#[cfg(feature = "measurements")]
mod report;
mod requests;
#[cfg(feature = "measurements")]
mod run;
#[cfg(feature = "measurements")]
mod scenario;
#[cfg(feature = "measurements")]
mod sizes;
#[cfg(feature = "measurements")]
mod statistics;
#[cfg(feature = "measurements")]
mod systems;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Quickstart and measurements for Sealwire.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Three mock brokers, a keystore, the real proxy and a real client: shows what is sent, stored and read.
    Quickstart(quickstart::Options),
    /// Measures Sealwire beside others in the same run, as scenarios say.
    #[cfg(feature = "measurements")]
    Run(run::Options),
    /// Two runs beside each other, and whether what differs is more than chance.
    #[cfg(feature = "measurements")]
    Compare(compare::Options),
    /// Runs as a page with tables and plots.
    #[cfg(feature = "measurements")]
    Report(report::page::Options),
    /// The scenarios that are part of this program.
    #[cfg(feature = "measurements")]
    List,
    /// The envelope by itself: nanoseconds a record, milliseconds a GB.
    #[cfg(feature = "measurements")]
    Layers(layers::Options),
    /// Resident memory of idle and of busy connections.
    #[cfg(feature = "measurements")]
    Memory(memory::Options),
    /// The hostile set: the longest step, and how long a neighbour waits.
    #[cfg(feature = "measurements")]
    Hostile(hostile::Options),
    /// What a connection's start costs, for each way of logging in, at a real broker.
    #[cfg(feature = "measurements")]
    Logins(logins::Options),
    /// What records take at rest: plain, and sealed with `stored_codec` `lz4` and `none`.
    #[cfg(feature = "measurements")]
    Sizes,
}

/// Whatever went wrong, in a sentence for the person at the terminal.
type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Whether `needle` is somewhere in `bytes`.
fn contains(bytes: &[u8], needle: &[u8]) -> bool {
    bytes.windows(needle.len()).any(|window| window == needle)
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let done = children::stop_on_signals().and_then(|()| match arguments.command {
        Command::Quickstart(options) => quickstart::run(&options),
        #[cfg(feature = "measurements")]
        Command::Run(options) => run::run(&options),
        #[cfg(feature = "measurements")]
        Command::Compare(options) => compare::run(&options),
        #[cfg(feature = "measurements")]
        Command::Report(options) => report::page::run(&options),
        #[cfg(feature = "measurements")]
        Command::List => scenario::list(),
        #[cfg(feature = "measurements")]
        Command::Layers(options) => layers::run(&options),
        #[cfg(feature = "measurements")]
        Command::Memory(options) => memory::run(&options),
        #[cfg(feature = "measurements")]
        Command::Hostile(options) => hostile::run(&options),
        #[cfg(feature = "measurements")]
        Command::Logins(options) => logins::run(&options),
        #[cfg(feature = "measurements")]
        Command::Sizes => sizes::run(),
    });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            note!("bench-harness: {failure}");
            ExitCode::FAILURE
        }
    }
}
