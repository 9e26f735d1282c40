//! The audit log: one line for each record or partition that was refused, and not one for each time that a client asks
//! again.
//!
//! In a second that has too many, the rest is left out, and how much that was is said: the metrics count every refusal.
//! What shows that stored records were tampered with has a second of its own, in each cluster: whoever can reach a port
//! can be refused as often as he likes, and pushes no such line out.
//!
//! Lines go to the log under the target `sealwire::audit`. They hold names, numbers and a reason class, never record
//! data.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use super::event::{AuditEvent, AuditList, KekName, Operation, Reason};
use crate::foreign::Foreign;
use crate::identity::{Client, Principal};
use crate::metrics::RefusalReason;
use crate::repeats::{News, Repeats};

/// Writes what was not written lately.
pub(crate) struct AuditLog {
    /// By cluster, and by whether it is about what is stored.
    said: HashMap<(Arc<str>, bool), Repeats<Line>>,
    /// Of what executors had no room for; the next line says it.
    left_out: u64,
}

/// What makes two lines the same: the client that met it first is named, and others in a later minute. Names that no
/// topic can have are all the same. Whom a rule does not name, or who may not change the cluster, has lines of his own.
#[derive(PartialEq, Eq, Hash)]
enum Line {
    IllegalNames(Operation),
    Records {
        topic: Arc<str>,
        partition: i32,
        offset: i64,
        operation: Operation,
        reason: &'static str,
        principal: Option<Principal>,
    },
    Request(&'static str, Option<Principal>),
}

impl Line {
    fn of(event: &AuditEvent) -> Self {
        match event {
            AuditEvent::IllegalNames { first, .. } => Self::IllegalNames(first.operation),
            AuditEvent::Refused(refused) => {
                let is_about_client = refused.reason == Reason::Counted(RefusalReason::NotNamed);
                let principal = refused.client.principal.as_ref();
                Self::Records {
                    topic: Arc::clone(&refused.topic),
                    partition: refused.partition,
                    offset: refused.offset,
                    operation: refused.operation,
                    reason: refused.reason.as_str(),
                    principal: principal.filter(|_| is_about_client).cloned(),
                }
            }
            AuditEvent::RefusedRequest(refused) => {
                Self::Request(refused.api, refused.client.principal.clone())
            }
        }
    }
}

impl AuditLog {
    pub(crate) fn new() -> Self {
        Self {
            said: HashMap::new(),
            left_out: 0,
        }
    }

    /// Writes of an executor's list what was not written a moment ago.
    pub(crate) fn write_list(&mut self, list: &AuditList, now: Instant) {
        self.left_out = self.left_out.saturating_add(list.left_out);
        for event in &list.events {
            self.write(event, now);
        }
    }

    /// Writes the event unless the same was written a moment ago; says whether it was.
    pub(crate) fn write(&mut self, event: &AuditEvent, now: Instant) -> bool {
        let said = self
            .said
            .entry((Arc::clone(event.cluster()), event.is_about_what_is_stored()))
            .or_insert_with(Repeats::new);
        let News::Say { left_out } = said.news(Line::of(event), now) else {
            return false;
        };
        let left_out = left_out.saturating_add(std::mem::take(&mut self.left_out));
        if left_out > 0 {
            tracing::warn!(target: "sealwire::audit", left_out, "refusals were not written: too many in a second");
        }
        match event {
            AuditEvent::Refused(refused) | AuditEvent::IllegalNames { first: refused, .. } => {
                let client = Shown::of(&refused.client);
                tracing::warn!(
                    target: "sealwire::audit",
                    cluster = &*refused.cluster,
                    topic = &*Foreign::new(&*refused.topic).to_string(),
                    partition = refused.partition,
                    offset = refused.offset,
                    operation = refused.operation.as_str(),
                    reason = event.reason(),
                    kek = refused.kek.as_ref().map(KekName::to_string).as_deref(),
                    client = client.address.as_deref(),
                    client_id = client.id,
                    principal = client.principal.as_deref(),
                    partitions = event.partitions(),
                    "refused"
                );
            }
            AuditEvent::RefusedRequest(refused) => {
                let client = Shown::of(&refused.client);
                tracing::warn!(
                    target: "sealwire::audit",
                    cluster = &*refused.cluster,
                    api = refused.api,
                    client = client.address.as_deref(),
                    client_id = client.id,
                    principal = client.principal.as_deref(),
                    "refused to change the cluster"
                );
            }
        }
        true
    }
}

/// A client as a line has it.
struct Shown {
    address: Option<String>,
    id: String,
    principal: Option<String>,
}

impl Shown {
    fn of(client: &Client) -> Self {
        let principal = client.principal.as_ref();
        Self {
            address: client.address.map(|address| address.to_string()),
            id: Foreign::new(&*client.id).to_string(),
            principal: principal.map(|principal| Foreign::new(&principal.to_string()).to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::audit::{AUDIT_EVENTS_MAX, AuditQueue, RefusedRecords};
    use crate::envelope::OpenError;
    use crate::metrics::RefusalReason;
    use crate::repeats::{KEPT, LINES_MAX};

    const TAMPERED: Reason = Reason::Open(OpenError::Tag);
    const NO_RULE: Reason = Reason::Counted(RefusalReason::NoRule);

    fn event(operation: Operation, reason: Reason, change: impl FnOnce(&mut RefusedRecords)) -> AuditEvent {
        let mut refused = RefusedRecords {
            cluster: "main".into(),
            client: Client::default(),
            operation,
            topic: "payments".into(),
            partition: 0,
            offset: -1,
            reason,
            kek: None,
        };
        change(&mut refused);
        let mut queue = AuditQueue::default();
        queue.push(refused);
        queue.take().events.remove(0)
    }

    #[test]
    fn the_same_refusal_is_written_once_a_minute() {
        let mut log = AuditLog::new();
        let now = Instant::now();
        let event = |offset| event(Operation::Fetch, TAMPERED, |refused| refused.offset = offset);
        assert!(log.write(&event(1), now));
        assert!(!log.write(&event(1), now + Duration::from_secs(59)));
        assert!(log.write(&event(2), now));
        assert!(log.write(&event(1), now + KEPT));
    }

    #[test]
    fn what_clients_ask_in_vain_pushes_out_nothing_that_was_tampered_with() {
        let mut log = AuditLog::new();
        let now = Instant::now();
        let said = |log: &mut AuditLog, cluster: &str, operation, reason| {
            let said = |partition| {
                let event = event(operation, reason, |refused| {
                    refused.cluster = cluster.into();
                    refused.partition = partition;
                });
                log.write(&event, now)
            };
            (0..1000).map(said).filter(|said| *said).count()
        };
        let rejected = Reason::Counted(RefusalReason::Rejected);
        assert_eq!(said(&mut log, "main", Operation::Produce, NO_RULE), LINES_MAX);
        assert_eq!(said(&mut log, "main", Operation::Fetch, rejected), 0);
        assert_eq!(said(&mut log, "main", Operation::Fetch, TAMPERED), LINES_MAX);
        assert_eq!(said(&mut log, "other", Operation::Fetch, TAMPERED), LINES_MAX);
    }

    /// AUDIT-1: what an executor keeps is more than a second has room for; how much of it was left out is said.
    #[test]
    fn the_next_line_says_how_many_of_a_full_queue_were_left_out() {
        let mut queue = AuditQueue::default();
        for partition in 0..2 * AUDIT_EVENTS_MAX as i32 {
            let one = event(Operation::Produce, NO_RULE, |refused| {
                refused.partition = partition
            });
            let AuditEvent::Refused(one) = one else {
                panic!("it was refused")
            };
            queue.push(one);
        }
        let now = Instant::now();
        let (mut log, list) = (AuditLog::new(), queue.take());
        let first = lines(|| log.write_list(&list, now));
        let at_once = format!("left_out={AUDIT_EVENTS_MAX}");
        assert!(
            first.contains(&at_once),
            "what found no room in the queue: {first}"
        );
        assert_eq!(first.lines().count(), LINES_MAX + 1, "{first}");
        let later = event(Operation::Produce, NO_RULE, |refused| refused.partition = -1);
        let next = lines(|| {
            log.write(&later, now + Duration::from_secs(1));
        });
        let left_out = format!("left_out={}", AUDIT_EVENTS_MAX - LINES_MAX);
        assert!(next.contains(&left_out) && next.lines().count() == 2, "{next}");
    }

    /// What `write` logs.
    fn lines(write: impl FnOnce()) -> String {
        let (sender, written) = std::sync::mpsc::channel();
        let subscriber = tracing_subscriber::fmt()
            .with_ansi(false)
            .with_writer(move || Lines(sender.clone()))
            .finish();
        tracing::subscriber::with_default(subscriber, write);
        let written: Vec<u8> = written.try_iter().flatten().collect();
        String::from_utf8(written).expect("text")
    }

    struct Lines(std::sync::mpsc::Sender<Vec<u8>>);

    impl std::io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            // Whoever reads waits for all of it.
            let _ = self.0.send(bytes.to_vec());
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn what_was_done_is_part_of_what_was_refused_and_who_did_it_is_not() {
        let mut log = AuditLog::new();
        let now = Instant::now();
        let event = |operation, id: &[u8]| event(operation, NO_RULE, |refused| refused.client.id = id.into());
        assert!(log.write(&event(Operation::Produce, b"one"), now));
        assert!(log.write(&event(Operation::Fetch, b"one"), now));
        assert!(!log.write(&event(Operation::Fetch, b"other"), now));
    }

    #[test]
    fn names_that_no_topic_can_have_are_one_line() {
        let mut log = AuditLog::new();
        let now = Instant::now();
        let event = |topic: &str, partition, operation| {
            event(operation, Reason::IllegalName, |refused| {
                refused.topic = topic.into();
                refused.partition = partition;
            })
        };
        assert!(log.write(&event("a b", 0, Operation::Produce), now));
        assert!(!log.write(&event("c d", 7, Operation::Produce), now));
        assert!(log.write(&event("c d", 7, Operation::Fetch), now));
    }
}
