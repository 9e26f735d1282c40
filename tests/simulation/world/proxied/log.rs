//! What the program logs in a world: no secret (CHECKS-13), and lines of the trace.

use std::cell::Cell;
use std::fmt::{Debug, Write as _};

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::{DefaultGuard, set_default};
use tracing::{Event, Metadata, Subscriber};

use super::trace::say_logged;
use crate::rig::contains;
use crate::world::people::{ACCOUNTS_SECRET, CLIENTS_SECRET, TOKEN_SECRET};

thread_local! {
    static LINES: Cell<u64> = const { Cell::new(0) };
}

/// Looks at all that this thread logs, as long as the guard lives.
pub(super) fn look() -> DefaultGuard {
    LINES.set(0);
    set_default(Log)
}

/// How many lines there were.
pub(super) fn lines() -> u64 {
    LINES.get()
}

struct Log;

impl Subscriber for Log {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("sealwire")
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut line = Line(String::new());
        event.record(&mut line);
        let Line(line) = line;
        for secret in [CLIENTS_SECRET, ACCOUNTS_SECRET, TOKEN_SECRET] {
            assert!(!contains(line.as_bytes(), secret), "a secret is logged");
        }
        LINES.set(LINES.get() + 1);
        say_logged(format_args!("{line}"));
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        // Writing to a string does not fail.
        let _ = write!(self.0, "{field}={value:?} ");
    }
}
