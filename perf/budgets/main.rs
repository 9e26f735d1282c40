//! Instructions, allocations and copied bytes of fixed scenarios, compared with `perf/budgets.toml`: `make perf-check`.
//!
//! Each scenario runs in a process of its own under callgrind, which counts; time plays no part, so that a busy machine
//! counts the same as a quiet one. A scenario is a list of exchanges with a real session, driven by the rig of the
//! pipeline's tests.
//!
//! - BUDGET-1: the same program counts the same: random bytes are fixed, and nothing is counted before buffers have
//!   grown.
//! - BUDGET-2: what the CPU chooses is not counted as instructions: ciphers, checksums and the C library. Bytes that
//!   the C library copies count by themselves, and so do allocations.
//! - BUDGET-3: a scenario does what its name says, or it does not count.
#![allow(clippy::disallowed_methods)] // it has no executor
#![allow(clippy::print_stdout)] // it is what the program is for
#![allow(unsafe_code)] // functions of the C library are stood in for

mod budget;
#[path = "../../tests/support/c_heap.rs"]
mod c_heap;
#[allow(dead_code)] // the tests use all of it
#[path = "../../tests/support/cache.rs"]
mod cache;
mod callgrind;
#[path = "../../tests/support/debian.rs"]
mod debian;
mod libc_calls;
#[allow(dead_code)] // the tests use all of it
#[path = "../../tests/pipeline/rig.rs"]
mod rig;
mod scenarios;
#[allow(dead_code)] // the tests use all of it
#[path = "../../tests/pipeline/wire.rs"]
mod wire;

use std::process::ExitCode;

/// Exchanges before anything is counted: until every buffer has its size and every topic is known.
const WARM_UP: usize = 8;
/// Exchanges that are counted together.
const COUNTED: usize = 16;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let Some(name) = callgrind::scenario_to_count(&arguments) {
        scenarios::count(name);
        return ExitCode::SUCCESS;
    }
    let shown = arguments.iter().find(|argument| !argument.starts_with('-'));
    budget::check(shown.map(String::as_str))
}
