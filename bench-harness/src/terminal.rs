//! What is said on a terminal: findings on standard output, progress and failures on standard error.
//!
//! - TERMINAL-1: whoever reads standard output may go (`| head`). Then the harness ends as a signal would end it, and
//!   says nothing more. That standard error is closed ends nothing.

use std::fmt::Arguments;
use std::io::{ErrorKind, Write, stderr, stdout};

use crate::children::leave;

/// A line on standard output.
macro_rules! tell {
    () => { $crate::terminal::found(::std::format_args!("\n")) };
    ($($text:tt)*) => {
        $crate::terminal::found(::std::format_args!("{}\n", ::std::format_args!($($text)*)))
    };
}

/// The same without the end of a line.
macro_rules! tell_part {
    ($($text:tt)*) => { $crate::terminal::found(::std::format_args!($($text)*)) };
}

/// A line on standard error.
macro_rules! note {
    ($($text:tt)*) => { $crate::terminal::noted(::std::format_args!("{}\n", ::std::format_args!($($text)*))) };
}

/// TERMINAL-1.
pub(crate) fn found(text: Arguments<'_>) {
    let written = stdout().write_fmt(text);
    match written {
        Ok(()) => {}
        Err(error) if error.kind() == ErrorKind::BrokenPipe => leave(UNREAD),
        Err(error) => {
            note!("bench-harness: cannot write to standard output: {error}");
            leave(1);
        }
    }
}

/// What cannot be written is lost: nobody is there to be told.
pub(crate) fn noted(text: Arguments<'_>) {
    let _ = stderr().write_fmt(text);
}

/// What shells report for a program that SIGPIPE ended.
const UNREAD: i32 = 141;
