//! The program; everything is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    // The data path joins here: `sealwire::server::run`.
    sealwire::cli::main(|_config| Err("this build has no data path".into()))
}
