//! What happens in a world, a line each, for whoever looks for the reason of a failure: on standard error, where
//! `SEALWIRE_SIMULATION_TRACE` is set.

use std::fmt::Arguments;
use std::sync::LazyLock;
use std::time::Duration;

static IS_WANTED: LazyLock<bool> = LazyLock::new(|| std::env::var_os("SEALWIRE_SIMULATION_TRACE").is_some());

/// Seconds since the world began, and what happens.
#[expect(clippy::print_stderr, reason = "for whoever asked for it")]
pub(super) fn say(now: Duration, what: Arguments<'_>) {
    if *IS_WANTED {
        eprintln!("{:>12.6} {what}", now.as_secs_f64());
    }
}

/// What the program logs.
#[expect(clippy::print_stderr, reason = "for whoever asked for it")]
pub(super) fn say_logged(what: Arguments<'_>) {
    if *IS_WANTED {
        eprintln!("         log {what}");
    }
}
