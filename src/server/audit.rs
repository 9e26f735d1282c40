//! The audit log: one line for each record or partition that was refused, and not one for each time that a client asks again.
//!
//! In a second that has too many, the rest is left out, and how much that was is said: the metrics count every refusal. What
//! shows that stored records were tampered with has a second of its own, in each cluster: whoever can reach a port can be refused as
//! often as he likes, and pushes no such line out.
//!
//! Lines go to the log under the target `sealwire::audit`. They hold names, numbers and a reason class, never record data.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use crate::foreign::Foreign;
use crate::pipeline::{AuditEvent, ILLEGAL_NAME, KekName};
use crate::repeats::{News, Repeats};

/// Writes what was not written lately.
pub(super) struct AuditLog {
    /// By cluster, and by whether it is about what is stored.
    said: HashMap<(Arc<str>, bool), Repeats<Line>>,
}

/// What makes two lines the same: the client that met it first is named, and others in a later minute. Names that no topic can
/// have are all the same.
type Line = (Option<Arc<str>>, i32, i64, &'static str, &'static str);

impl AuditLog {
    pub(super) fn new() -> Self {
        Self { said: HashMap::new() }
    }

    /// Writes the event unless the same was written a moment ago; says whether it was.
    pub(super) fn write(&mut self, event: &AuditEvent, now: Instant) -> bool {
        let legal = event.reason != ILLEGAL_NAME;
        let place = if legal {
            (event.partition, event.offset)
        } else {
            (-1, -1)
        };
        let line = (
            legal.then(|| Arc::clone(&event.topic)),
            place.0,
            place.1,
            event.operation,
            event.reason,
        );
        let said = self
            .said
            .entry((Arc::clone(&event.cluster), event.is_about_what_is_stored()))
            .or_insert_with(Repeats::new);
        let News::Say { left_out } = said.news(line, now) else {
            return false;
        };
        if left_out > 0 {
            tracing::warn!(target: "sealwire::audit", left_out, "refusals were not written: too many in a second");
        }
        tracing::warn!(
            target: "sealwire::audit",
            cluster = &*event.cluster,
            topic = &*Foreign::new(&*event.topic).to_string(),
            partition = event.partition,
            offset = event.offset,
            operation = event.operation,
            reason = event.reason,
            kek = event.kek.as_ref().map(KekName::to_string).as_deref(),
            client = event.client.address.map(|address| address.to_string()).as_deref(),
            client_id = &*Foreign::new(&*event.client.id).to_string(),
            partitions = (!legal).then_some(event.partitions),
            "refused"
        );
        true
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::identity::Client;
    use crate::repeats::{KEPT, LINES_MAX};

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
            kek: None,
            client: Client::default(),
            partitions: 1,
        };
        assert!(log.write(&event(1), now));
        assert!(!log.write(&event(1), now + Duration::from_secs(59)));
        assert!(log.write(&event(2), now));
        assert!(log.write(&event(1), now + KEPT));
    }

    #[test]
    fn what_clients_ask_in_vain_pushes_out_nothing_that_was_tampered_with() {
        let mut log = AuditLog::new();
        let now = Instant::now();
        let event = |cluster: &str, operation, reason, partition| AuditEvent {
            cluster: cluster.into(),
            topic: "payments".into(),
            partition,
            offset: 0,
            operation,
            reason,
            kek: None,
            client: Client::default(),
            partitions: 1,
        };
        let said = |log: &mut AuditLog, cluster, operation, reason| {
            let said = |partition| log.write(&event(cluster, operation, reason, partition), now);
            (0..1000).map(said).filter(|said| *said).count()
        };
        assert_eq!(said(&mut log, "main", "produce", "no_rule"), LINES_MAX);
        assert_eq!(said(&mut log, "main", "fetch", "rejected"), 0);
        assert_eq!(said(&mut log, "main", "fetch", "tag"), LINES_MAX);
        assert_eq!(said(&mut log, "other", "fetch", "tag"), LINES_MAX);
    }

    #[test]
    fn what_was_done_is_part_of_what_was_refused_and_who_did_it_is_not() {
        let mut log = AuditLog::new();
        let now = Instant::now();
        let event = |operation, id: &[u8]| AuditEvent {
            cluster: "main".into(),
            topic: "payments".into(),
            partition: 0,
            offset: -1,
            operation,
            reason: "no_rule",
            kek: None,
            client: Client {
                id: id.into(),
                ..Client::default()
            },
            partitions: 1,
        };
        assert!(log.write(&event("produce", b"one"), now));
        assert!(log.write(&event("fetch", b"one"), now));
        assert!(!log.write(&event("fetch", b"other"), now));
    }

    #[test]
    fn names_that_no_topic_can_have_are_one_line() {
        let mut log = AuditLog::new();
        let now = Instant::now();
        let event = |topic: &str, partition, operation| AuditEvent {
            cluster: "main".into(),
            topic: topic.into(),
            partition,
            offset: -1,
            operation,
            reason: ILLEGAL_NAME,
            kek: None,
            client: Client::default(),
            partitions: 4000,
        };
        assert!(log.write(&event("a b", 0, "produce"), now));
        assert!(!log.write(&event("c d", 7, "produce"), now));
        assert!(log.write(&event("c d", 7, "fetch"), now));
    }
}
