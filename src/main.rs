//! The program; everything is in the library.

use std::process::ExitCode;

/// Gives memory back per thread and without a global lock.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    sealwire::cli::main(sealwire::server::run)
}
