//! Sealwire's harness: a quickstart that needs nothing installed, and the measurements behind `perf/`.
//!
//! Everything listens on 127.0.0.1, and every process that is started is stopped by its id.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program for a terminal"
)]

mod children;
mod cluster;
mod haproxy;
mod hostile;
mod layers;
mod load;
mod memory;
mod ports;
mod proxy;
mod quickstart;
mod relay;
mod results;
mod usage;
mod wire;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

// A crate that is listed and not named would not be linked, and with it the ring flags: see `sealwire::ring`.
use sealwire as _;

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
    /// CPU per GB of Sealwire, passing and sealing, against HAProxy as a TCP relay.
    Relay(relay::Options),
    /// The envelope by itself: nanoseconds a record, milliseconds a GB.
    Layers(layers::Options),
    /// Resident memory of idle and of busy connections.
    Memory(memory::Options),
    /// The hostile set: the longest step, and how long a neighbour waits.
    Hostile(hostile::Options),
}

/// Whatever went wrong, in a sentence for the person at the terminal.
type Failure = Box<dyn std::error::Error + Send + Sync>;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let done = children::stop_on_signals().and_then(|()| match arguments.command {
        Command::Quickstart(options) => quickstart::run(&options),
        Command::Relay(options) => relay::run(&options),
        Command::Layers(options) => layers::run(&options),
        Command::Memory(options) => memory::run(&options),
        Command::Hostile(options) => hostile::run(&options),
    });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("bench-harness: {failure}");
            ExitCode::FAILURE
        }
    }
}
