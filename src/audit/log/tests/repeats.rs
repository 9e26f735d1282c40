//! What is the same, and written once a minute.

use super::*;
use crate::audit::BrokerLogin;
use crate::broker_login::AccountName;
use crate::identity::Principal;
use crate::metrics::{BrokerLoginFault, BrokerLoginKind};
use crate::repeats::KEPT;

#[test]
fn the_same_refusal_is_written_once_a_minute() {
    let mut log = AuditLog::default();
    let now = Instant::now();
    let event = |offset| event(Operation::Fetch, TAMPERED, |refused| refused.offset = offset);
    assert!(log.write(&event(1), now));
    assert!(!log.write(&event(1), now + Duration::from_secs(59)));
    assert!(log.write(&event(2), now));
    assert!(log.write(&event(1), now + KEPT));
}

#[test]
fn what_was_done_is_part_of_what_was_refused_and_who_did_it_is_not() {
    let mut log = AuditLog::default();
    let now = Instant::now();
    let event = |operation, id: &[u8]| event(operation, NO_RULE, |refused| refused.client.id = id.into());
    assert!(log.write(&event(Operation::Produce, b"one"), now));
    assert!(log.write(&event(Operation::Fetch, b"one"), now));
    assert!(!log.write(&event(Operation::Fetch, b"other"), now));
}

#[test]
fn names_that_no_topic_can_have_are_one_line() {
    let mut log = AuditLog::default();
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

/// Not for each connection that a client makes, and a fault hides no other.
#[test]
fn a_login_at_a_broker_is_refused_once_a_minute_and_accepted_each_time() {
    let mut log = AuditLog::default();
    let now = Instant::now();
    let at_broker = |port, user: Option<&str>| BrokerLogin {
        cluster: "main".into(),
        client: Client::at(([127, 0, 0, 1], port).into()),
        broker: Some("kafka:9092".into()),
        node: None,
        kind: BrokerLoginKind::PerPrincipal,
        account: user.map(|user| AccountName {
            mechanism: "PLAIN",
            user: Some(user.into()),
        }),
        again: false,
    };
    for (port, user, reason, is_written) in [
        (1, None, BrokerLoginFault::NoToken, true),
        (2, None, BrokerLoginFault::NoToken, false),
        (1, Some("team-a"), BrokerLoginFault::Refused, true),
        (1, Some("team-b"), BrokerLoginFault::Refused, true),
        (2, Some("team-a"), BrokerLoginFault::Refused, false),
    ] {
        let login = at_broker(port, user);
        let event = AuditEvent::BrokerLoginRefused { login, reason };
        assert_eq!(log.write(&event, now), is_written, "{event:?}");
    }
    for _ in 0..2 * LINES_MAX {
        let accepted = AuditEvent::BrokerLoginAccepted(at_broker(1, None));
        assert!(log.write(&accepted, now));
    }
}

#[test]
fn a_login_is_refused_once_a_minute_for_each_address_user_and_reason_and_accepted_each_time() {
    let mut log = AuditLog::default();
    let now = Instant::now();
    let refused = |port, reason, claimed: Option<&str>| AuditEvent::LoginRefused {
        login: login(port),
        reason,
        claimed: claimed.and_then(Principal::named),
    };
    assert!(log.write(&refused(1, "unknown_user", None), now));
    assert!(!log.write(&refused(2, "unknown_user", None), now));
    for (user, is_written) in [("alice", true), ("bob", true), ("alice", false)] {
        let event = refused(2, "wrong_password", Some(user));
        assert_eq!(log.write(&event, now), is_written, "{user}");
    }
    for _ in 0..2 * LINES_MAX {
        assert!(log.write(&AuditEvent::LoginAccepted(login(1)), now));
    }
}
