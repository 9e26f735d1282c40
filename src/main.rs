//! The program; everything is in the library.

use std::process::ExitCode;

#[cfg(all(feature = "testing", not(debug_assertions)))]
compile_error!("the program is released without the feature `testing`: build it by `make build`");

/// Gives memory back per thread and without a global lock, wiped where secrets pass.
#[global_allocator]
static ALLOCATOR: sealwire::WipedHeap<mimalloc::MiMalloc> = sealwire::WipedHeap::new(mimalloc::MiMalloc);

fn main() -> ExitCode {
    sealwire::main()
}
