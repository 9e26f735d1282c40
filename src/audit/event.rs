//! The events of the audit log. Each kind is a variant here and nowhere else; counters, the log and the documentation
//! take its words.
//!
//! - AUDIT-1: of an executor's events a bounded number waits; what finds the queue full is counted as a refusal, and
//!   how much that was is written.
//! - AUDIT-2: names that no topic can have are told together: anybody may make up any number of them, each 32 KiB long.
//! - AUDIT-3: what shows that stored records were tampered with finds room whatever else is refused.
//!
//! Executor threads fill the queue, the control thread writes what was in it.

use std::fmt;
use std::sync::Arc;

use crate::envelope::{OpenError, WrappedDek};
use crate::foreign::Foreign;
use crate::identity::Client;
use crate::keys::KeyFailure;
use crate::metrics::RefusalReason;

/// Something for the audit log. Holds no record data.
#[derive(Clone, Debug)]
pub enum AuditEvent {
    /// Records were not stored, or not delivered.
    Refused(RefusedRecords),
    /// The same of so many partitions in a row of topics whose names no topic can have (AUDIT-2).
    IllegalNames { first: RefusedRecords, partitions: u64 },
    /// What would have changed the cluster was not asked for.
    RefusedRequest(RefusedRequest),
}

/// A request that only administrators may send.
#[derive(Clone, Debug)]
pub struct RefusedRequest {
    pub cluster: Arc<str>,
    pub client: Client,
    /// Kafka's name of it.
    pub api: &'static str,
}

/// What was refused, to whom, and why.
#[derive(Clone, Debug)]
pub struct RefusedRecords {
    pub cluster: Arc<str>,
    pub client: Client,
    pub operation: Operation,
    /// The topic's name, cut where no topic can have it.
    pub topic: Arc<str>,
    pub partition: i32,
    /// Base offset of the batch for a fetch; -1 for a produce, or where all of a partition is refused.
    pub offset: i64,
    pub reason: Reason,
    /// The key-encryption key that it is about.
    pub kek: Option<KekName>,
}

/// What the client wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operation {
    Produce,
    Fetch,
}

impl Operation {
    /// As the log has it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Produce => "produce",
            Self::Fetch => "fetch",
        }
    }
}

/// Why it was refused: as it is counted, or finer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// As it is counted.
    Counted(RefusalReason),
    /// A stored record does not open.
    Open(OpenError),
    /// No key to open with.
    Key(KeyFailure),
    /// A stored batch is under more data keys than are asked for.
    TooManyKeys,
    /// No topic can have the name (it is counted as `no_rule`).
    IllegalName,
}

impl Reason {
    /// The class, as the log has it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Counted(reason) => reason.as_str(),
            Self::Open(error) => error.reason(),
            Self::Key(failure) => failure.reason(),
            Self::TooManyKeys => "too_many_keys",
            Self::IllegalName => "illegal_name",
        }
    }
}

impl AuditEvent {
    /// The records that it is about; the first, where it stands for several.
    #[cfg(any(test, feature = "testing"))]
    #[must_use]
    pub fn records(&self) -> Option<&RefusedRecords> {
        match self {
            Self::Refused(refused) | Self::IllegalNames { first: refused, .. } => Some(refused),
            Self::RefusedRequest(_) => None,
        }
    }

    /// Why it was refused.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Refused(refused) | Self::IllegalNames { first: refused, .. } => refused.reason.as_str(),
            Self::RefusedRequest(_) => RefusalReason::NotNamed.as_str(),
        }
    }

    /// In which cluster it happened.
    #[must_use]
    pub fn cluster(&self) -> &Arc<str> {
        match self {
            Self::Refused(refused) | Self::IllegalNames { first: refused, .. } => &refused.cluster,
            Self::RefusedRequest(refused) => &refused.cluster,
        }
    }

    /// For how many partitions it stands, where that is more than its own.
    #[must_use]
    pub fn partitions(&self) -> Option<u64> {
        match self {
            Self::Refused(_) | Self::RefusedRequest(_) => None,
            Self::IllegalNames { partitions, .. } => Some(*partitions),
        }
    }

    /// Whether it is about records that are stored, and not about what a client may ask for.
    #[must_use]
    pub fn is_about_what_is_stored(&self) -> bool {
        let Self::Refused(refused) = self else {
            return false;
        };
        let asked_in_vain = matches!(
            refused.reason,
            Reason::IllegalName
                | Reason::Counted(RefusalReason::NoRule | RefusalReason::Rejected | RefusalReason::NotNamed)
        );
        refused.operation == Operation::Fetch && !asked_in_vain
    }
}

/// Events of one executor that wait for the control thread.
#[derive(Debug, Default)]
pub struct AuditQueue {
    list: AuditList,
    /// Those of its events that are about what is stored: they have a bound of their own (AUDIT-3).
    about_what_is_stored: usize,
}

impl AuditQueue {
    /// Takes an event in (AUDIT-1, AUDIT-2).
    pub fn push(&mut self, refused: RefusedRecords) {
        if refused.reason != Reason::IllegalName {
            return self.push_event(AuditEvent::Refused(refused));
        }
        if let Some(AuditEvent::IllegalNames { first, partitions }) = self.list.events.last_mut()
            && (first.operation, &first.client) == (refused.operation, &refused.client)
        {
            *partitions = partitions.saturating_add(1);
            return;
        }
        self.push_event(AuditEvent::IllegalNames {
            first: refused,
            partitions: 1,
        });
    }

    /// Takes in that a request was refused (AUDIT-1).
    pub fn push_request(&mut self, refused: RefusedRequest) {
        self.push_event(AuditEvent::RefusedRequest(refused));
    }

    fn push_event(&mut self, event: AuditEvent) {
        let stored = event.is_about_what_is_stored();
        let like_it = if stored {
            self.about_what_is_stored
        } else {
            self.list.events.len().saturating_sub(self.about_what_is_stored)
        };
        if like_it >= AUDIT_EVENTS_MAX {
            self.list.left_out = self.list.left_out.saturating_add(1);
            return;
        }
        self.about_what_is_stored = self.about_what_is_stored.saturating_add(usize::from(stored));
        self.list.events.push(event);
    }

    /// Whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.list.events.is_empty()
    }

    /// All that waits.
    pub fn take(&mut self) -> AuditList {
        std::mem::take(self).list
    }

    /// What was taken a moment ago and could not be sent waits on.
    pub fn put_back(&mut self, list: AuditList) {
        let stored = list.events.iter().filter(|event| event.is_about_what_is_stored());
        *self = Self {
            about_what_is_stored: stored.count(),
            list,
        };
    }
}

/// What waits in a queue.
#[derive(Debug, Default)]
pub struct AuditList {
    /// In their order.
    pub events: Vec<AuditEvent>,
    /// How many more found no room.
    pub left_out: u64,
}

/// The name of a key-encryption key, as a rule or a stored record has it: in a record it may be any bytes.
#[derive(Clone, PartialEq, Eq)]
pub struct KekName(Arc<[u8]>);

impl KekName {
    /// That of the key under which a DEK is wrapped; empty where that cannot be read.
    #[must_use]
    pub fn in_record(wrapped_dek: &[u8]) -> Self {
        let kek = WrappedDek::parse(wrapped_dek).map_or(&[][..], |wrapped| wrapped.kek);
        Self(kek.into())
    }
}

impl From<Arc<str>> for KekName {
    fn from(name: Arc<str>) -> Self {
        Self(name.into())
    }
}

impl fmt::Display for KekName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        Foreign::new(&*self.0).fmt(formatter)
    }
}

impl fmt::Debug for KekName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "KekName({self})")
    }
}

/// Events about what is stored, and as many others, kept for the audit log between two ticks of the executor; of more
/// only the number is told.
pub const AUDIT_EVENTS_MAX: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(operation: Operation, reason: Reason, client: u16) -> RefusedRecords {
        RefusedRecords {
            cluster: "main".into(),
            client: Client::at(([127, 0, 0, 1], client).into()),
            operation,
            topic: "payments".into(),
            partition: 0,
            offset: -1,
            reason,
            kek: None,
        }
    }

    /// AUDIT-1
    #[test]
    fn a_full_queue_takes_nothing_more_until_it_is_taken() {
        let mut queue = AuditQueue::default();
        let tampered = Reason::Open(OpenError::Tag);
        for _ in 0..=AUDIT_EVENTS_MAX {
            queue.push(refused(Operation::Fetch, tampered, 1));
        }
        let list = queue.take();
        assert_eq!((list.events.len(), list.left_out), (AUDIT_EVENTS_MAX, 1));
        assert!(queue.is_empty());
        queue.put_back(list);
        queue.push(refused(Operation::Fetch, tampered, 2));
        let list = queue.take();
        assert_eq!((list.events.len(), list.left_out), (AUDIT_EVENTS_MAX, 2));
        queue.push(refused(Operation::Fetch, tampered, 1));
        let list = queue.take();
        assert_eq!((list.events.len(), list.left_out), (1, 0));
    }

    /// AUDIT-3
    #[test]
    fn refused_requests_push_out_no_word_of_tampering() {
        let mut queue = AuditQueue::default();
        let no_rule = Reason::Counted(RefusalReason::NoRule);
        for _ in 0..=AUDIT_EVENTS_MAX {
            queue.push(refused(Operation::Produce, no_rule, 1));
        }
        let list = queue.take();
        queue.put_back(list);
        queue.push(refused(Operation::Fetch, Reason::Open(OpenError::Tag), 2));
        queue.push(refused(Operation::Produce, no_rule, 1));
        let AuditList { events, left_out } = queue.take();
        assert_eq!((events.len(), left_out), (AUDIT_EVENTS_MAX + 1, 2));
        assert!(events.last().is_some_and(AuditEvent::is_about_what_is_stored));
    }

    /// AUDIT-2
    #[test]
    fn illegal_names_of_one_client_and_operation_are_told_together() {
        let mut queue = AuditQueue::default();
        for (operation, client) in [
            (Operation::Produce, 1),
            (Operation::Produce, 1),
            (Operation::Fetch, 1),
            (Operation::Fetch, 2),
        ] {
            queue.push(refused(operation, Reason::IllegalName, client));
        }
        let told: Vec<_> = queue.take().events.iter().map(AuditEvent::partitions).collect();
        assert_eq!(told, [Some(2), Some(1), Some(1)]);
    }

    #[test]
    fn what_a_client_asks_in_vain_is_not_about_what_is_stored() {
        let told =
            |operation, reason| AuditEvent::Refused(refused(operation, reason, 1)).is_about_what_is_stored();
        assert!(told(Operation::Fetch, Reason::Open(OpenError::Tag)));
        assert!(told(Operation::Fetch, Reason::Counted(RefusalReason::Plaintext)));
        assert!(!told(Operation::Fetch, Reason::Counted(RefusalReason::NoRule)));
        assert!(!told(Operation::Fetch, Reason::IllegalName));
        assert!(!told(
            Operation::Produce,
            Reason::Counted(RefusalReason::Malformed)
        ));
    }
}
