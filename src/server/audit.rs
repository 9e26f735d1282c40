//! The audit log: one line for each record or partition that was refused, and not one for each time that a client asks again.
//!
//! In a second that has too many, the rest is left out, and how much that was is said: the metrics count every refusal.
//!
//! Lines go to the log under the target `sealwire::audit`. They hold names, numbers and a reason class, never record data.

use std::sync::Arc;
use std::time::Instant;

use super::repeats::{News, Repeats};
use crate::pipeline::AuditEvent;

/// Writes what was not written lately.
pub(super) struct AuditLog {
    said: Repeats<Line>,
}

type Line = (Arc<str>, Arc<str>, i32, i64, &'static str);

impl AuditLog {
    pub(super) fn new() -> Self {
        Self { said: Repeats::new() }
    }

    /// Writes the event unless the same was written a moment ago; says whether it was.
    pub(super) fn write(&mut self, event: &AuditEvent, now: Instant) -> bool {
        let line = (
            Arc::clone(&event.cluster),
            Arc::clone(&event.topic),
            event.partition,
            event.offset,
            event.reason,
        );
        let News::Say { left_out } = self.said.news(line, now) else {
            return false;
        };
        if left_out > 0 {
            tracing::warn!(target: "sealwire::audit", left_out, "refusals were not written: too many in a second");
        }
        tracing::warn!(
            target: "sealwire::audit",
            cluster = &*event.cluster,
            topic = &*event.topic,
            partition = event.partition,
            offset = event.offset,
            operation = event.operation,
            reason = event.reason,
            "refused"
        );
        true
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::server::repeats::KEPT;

    #[test]
    fn the_same_refusal_is_written_once_a_minute() {
        let mut log = AuditLog::new();
        let now = Instant::now();
        let event = |offset| AuditEvent {
            cluster: "main".into(),
            topic: "payments".into(),
            partition: 0,
            offset,
            operation: "fetch",
            reason: "tag",
        };
        assert!(log.write(&event(1), now));
        assert!(!log.write(&event(1), now + Duration::from_secs(59)));
        assert!(log.write(&event(2), now));
        assert!(log.write(&event(1), now + KEPT));
    }
}
