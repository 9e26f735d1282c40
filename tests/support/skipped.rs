//! A test that cannot run where it is says so, aloud: the test harness would count it among those that passed.

use std::io::Write as _;
use std::panic::Location;
use std::thread;

/// For a test, or a part of one, that is about the proxy and was sent straight at the broker. `make test` counts these
/// lines.
#[track_caller]
pub(crate) fn there_is_no_proxy() {
    say("there is no proxy on the direct route");
}

/// For one that looks into the memory of the program, which the kernel lets root do alone.
#[track_caller]
pub(crate) fn cannot_be_looked_at(error: &std::io::Error) {
    assert!(
        !rustix::process::geteuid().is_root(),
        "memory cannot be looked at: {error}"
    );
    say("memory of a program that forbids core dumps is shown to root alone");
}

/// For one that looks whether a core of the program is kept.
#[track_caller]
pub(crate) fn no_cores_are_kept() {
    say("the kernel keeps no cores");
}

#[track_caller]
fn say(why: &str) {
    let place = Location::caller();
    let line = match thread::current().name() {
        Some(name) if name != "main" => format!("skipped {name}: {why}\n"),
        _ => format!("skipped {place}: {why}\n"),
    };
    // Not by `eprint!`, which the harness keeps to itself while a test passes.
    let _ = std::io::stderr().write_all(line.as_bytes());
}
