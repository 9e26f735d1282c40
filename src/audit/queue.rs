//! Events of one executor that wait for the control thread.
//!
//! - AUDIT-1: of an executor's events a bounded number waits; what finds the queue full is counted as a refusal, and
//!   how much that was is written.
//! - AUDIT-3: what shows that stored records were tampered with finds room whatever else is refused, and so does who
//!   has logged in.
//!
//! Executor threads fill the queue, the control thread writes what was in it.

use super::event::{AuditEvent, EventClass, Reason, RefusedRecords, RefusedRequest};

/// Events of one executor that wait for the control thread.
#[derive(Debug, Default)]
pub struct AuditQueue {
    list: AuditList,
    /// How many of its events are of each class: each has a bound of its own (AUDIT-3).
    of_class: [usize; EventClass::COUNT],
}

impl AuditQueue {
    /// Takes in what was refused (AUDIT-1, AUDIT-2).
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

    /// Takes in a request that was refused (AUDIT-1).
    pub fn push_request(&mut self, refused: RefusedRequest) {
        self.push_event(AuditEvent::RefusedRequest(refused));
    }

    /// Takes in an event that stands for itself (AUDIT-1).
    pub fn push_event(&mut self, event: AuditEvent) {
        match self.of_class.get_mut(event.class() as usize) {
            Some(count) if *count < AUDIT_EVENTS_MAX => {
                *count = count.saturating_add(1);
                self.list.events.push(event);
            }
            _ => self.list.left_out = self.list.left_out.saturating_add(1),
        }
    }

    /// Whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.list.events.is_empty()
    }

    /// How many events wait, or have found no room.
    #[must_use]
    pub fn waiting(&self) -> u64 {
        self.list.left_out.saturating_add(self.list.events.len() as u64)
    }

    /// All that waits.
    pub fn take(&mut self) -> AuditList {
        std::mem::take(self).list
    }

    /// What was taken a moment ago and could not be sent waits on.
    pub fn put_back(&mut self, list: AuditList) {
        let mut of_class = [0_usize; EventClass::COUNT];
        for event in &list.events {
            if let Some(count) = of_class.get_mut(event.class() as usize) {
                *count = count.saturating_add(1);
            }
        }
        *self = Self { list, of_class };
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

/// Events of each class that are kept for the audit log between two ticks of the executor; of more only the number is
/// told.
pub const AUDIT_EVENTS_MAX: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::{BrokerLogin, Login, Operation};
    use crate::envelope::OpenError;
    use crate::identity::Client;
    use crate::metrics::{BrokerLoginFault, BrokerLoginKind, RefusalReason};

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
        assert!(
            events
                .last()
                .is_some_and(|event| event.class() == EventClass::Stored)
        );
    }

    /// AUDIT-3
    #[test]
    fn refused_logins_push_out_nobody_who_is_let_in() {
        let mut queue = AuditQueue::default();
        let login = Login {
            cluster: "main".into(),
            client: Client::default(),
            mechanism: None,
            again: false,
        };
        for _ in 0..=AUDIT_EVENTS_MAX {
            queue.push_event(AuditEvent::LoginRefused {
                login: login.clone(),
                reason: "malformed",
                claimed: None,
            });
        }
        queue.push_event(AuditEvent::LoginAccepted(login));
        let AuditList { events, left_out } = queue.take();
        assert_eq!((events.len(), left_out), (AUDIT_EVENTS_MAX + 1, 1));
    }

    /// AUDIT-3: nor do those that brokers refuse the proxy, and those that it renews.
    #[test]
    fn logins_at_brokers_push_out_nothing_else() {
        let mut queue = AuditQueue::default();
        let client = Client::default();
        let at_broker = BrokerLogin {
            cluster: "main".into(),
            client: client.clone(),
            broker: None,
            node: None,
            kind: BrokerLoginKind::One,
            account: None,
            again: true,
        };
        let login = Login {
            cluster: "main".into(),
            client,
            mechanism: None,
            again: false,
        };
        for _ in 0..=AUDIT_EVENTS_MAX {
            queue.push_event(AuditEvent::BrokerLoginRefused {
                login: at_broker.clone(),
                reason: BrokerLoginFault::Refused,
            });
            queue.push_event(AuditEvent::BrokerLoginAccepted(at_broker.clone()));
        }
        queue.push_event(AuditEvent::LoginRefused {
            login: login.clone(),
            reason: "malformed",
            claimed: None,
        });
        queue.push_event(AuditEvent::LoginAccepted(login));
        queue.push(refused(Operation::Fetch, Reason::Open(OpenError::Tag), 1));
        queue.push(refused(Operation::Produce, Reason::IllegalName, 1));
        let AuditList { events, left_out } = queue.take();
        assert_eq!((events.len(), left_out), (2 * AUDIT_EVENTS_MAX + 4, 2));
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
        let told = |operation, reason| {
            AuditEvent::Refused(refused(operation, reason, 1)).class() == EventClass::Stored
        };
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
