//! The program; everything is in the library.

use std::process::ExitCode;

#[cfg(all(feature = "testing", not(debug_assertions)))]
compile_error!("the program is released without the feature `testing`: build it by `make build`");

/// Gives memory back per thread and without a global lock.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    sealwire::main()
}
