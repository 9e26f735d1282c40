//! The audit log: one line for each record or partition that was refused, and not one for each time that a client asks again.
//!
//! Lines go to the log under the target `sealwire::audit`. They hold names, numbers and a reason class, never record data.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::pipeline::AuditEvent;

/// Remembers what was said lately.
#[derive(Default)]
pub(super) struct AuditLog {
    said: HashMap<Line, Instant>,
}

type Line = (Arc<str>, Arc<str>, i32, i64, &'static str);

impl AuditLog {
    /// Writes the event unless the same was written within [`SAID_KEPT`]; says whether it was.
    pub(super) fn write(&mut self, event: &AuditEvent, now: Instant) -> bool {
        let line = (
            Arc::clone(&event.cluster),
            Arc::clone(&event.topic),
            event.partition,
            event.offset,
            event.reason,
        );
        let fresh = |at: &Instant| now.saturating_duration_since(*at) < SAID_KEPT;
        if self.said.get(&line).is_some_and(fresh) {
            return false;
        }
        if self.said.len() >= SAID_MAX {
            self.said.retain(|_, at| fresh(at));
        }
        if self.said.len() < SAID_MAX {
            self.said.insert(line, now);
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

/// A client that asks again and again is written about once a minute.
const SAID_KEPT: Duration = Duration::from_secs(60);
/// Lines remembered; beyond it they are written each time.
const SAID_MAX: usize = 10_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_refusal_is_written_once_a_minute() {
        let mut log = AuditLog::default();
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
        assert!(log.write(&event(1), now + SAID_KEPT));
    }
}
