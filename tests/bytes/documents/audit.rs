//! docs/audit.md has every event, field and reason of the audit log, and nothing else.

use std::collections::{BTreeMap, BTreeSet};

use std::sync::Arc;
use std::time::Duration;

use sealwire::audit::{
    AuditEvent, AuditedKek, BrokerLogin, KekName, Login, Operation, Reason, RefusedRecords, RefusedRequest,
};
use sealwire::identity::Client;
use sealwire::identity::sasl::Failure;
use sealwire::identity::sasl::exchange::LoginMechanism;
use sealwire::identity::sasl::oauthbearer::token::TokenFault;
use sealwire::keys::KeyFailure;
use sealwire::keys::event::Absence;
use sealwire::keys::ledger::WrongDek;
use sealwire::metrics::{BrokerLoginFault, BrokerLoginKind, CloseReason, RequestRefusal};
use sealwire::pipeline::LoginRefusal;

use super::{cells, quoted, read};

/// One of each kind.
fn events() -> Vec<AuditEvent> {
    let refused = RefusedRecords {
        cluster: "main".into(),
        client: Client::default(),
        operation: Operation::Fetch,
        topic: "payments".into(),
        partition: 0,
        offset: 0,
        reason: Reason::IllegalName,
        kek: None,
    };
    let login = Login {
        cluster: "main".into(),
        client: Client::default(),
        mechanism: None,
        again: false,
    };
    let at_broker = BrokerLogin {
        cluster: "main".into(),
        client: Client::default(),
        broker: None,
        node: None,
        kind: BrokerLoginKind::One,
        account: None,
        again: false,
    };
    let mut events = vec![
        AuditEvent::Refused(refused.clone()),
        AuditEvent::IllegalNames {
            first: refused,
            partitions: 1,
        },
        AuditEvent::RefusedRequest(RefusedRequest {
            cluster: "main".into(),
            client: Client::default(),
            api: "CreateTopics",
            reason: RequestRefusal::Cluster,
            name: None,
        }),
        AuditEvent::LoginAccepted(login.clone()),
        AuditEvent::LoginRefused {
            login,
            reason: "malformed",
            claimed: None,
        },
        AuditEvent::BrokerLoginAccepted(at_broker.clone()),
        AuditEvent::BrokerLoginRefused {
            login: at_broker,
            reason: BrokerLoginFault::Refused,
        },
        AuditEvent::RulesLoaded {
            cluster: "main".into(),
            rules: 1,
            group: None,
        },
    ];
    events.extend(key_events());
    events.push(AuditEvent::LeftOut { count: 1 });
    events
}

fn key_events() -> Vec<AuditEvent> {
    let key = AuditedKek {
        kms: "local".into(),
        kek: KekName::from(Arc::<str>::from("payments")),
        version: None,
    };
    let stable_key = key.clone();
    vec![
        AuditEvent::KeyMade(key.clone()),
        AuditEvent::KeyUnwrapped(key.clone()),
        AuditEvent::KeyRefused {
            key: key.clone(),
            reason: "kek_denied",
        },
        AuditEvent::KeyRotated {
            key: key.clone(),
            version_before: None,
        },
        AuditEvent::KeyRevoked {
            key: key.clone(),
            reason: "kek_denied",
        },
        AuditEvent::KeyLapsed(key.clone()),
        AuditEvent::KeyWrong {
            key,
            reason: "sealed",
        },
        AuditEvent::KmsLost {
            kms: "local".into(),
            reason: "unavailable",
        },
        AuditEvent::KmsFound {
            kms: "local".into(),
            away_seconds: 1,
        },
        AuditEvent::KeyringLoaded {
            fingerprint: "00".to_owned(),
            fingerprint_before: None,
            revision: 1,
        },
        AuditEvent::StableKeyRefused {
            stable_key: "00000001".to_owned(),
            key: stable_key.clone(),
            reason: "kek_denied",
        },
        AuditEvent::StableKeyGiven {
            stable_key: "00000001".to_owned(),
            key: stable_key,
        },
    ]
}

/// Does not compile where a kind is missing in [`events`].
fn place(event: &AuditEvent) -> usize {
    match event {
        AuditEvent::Refused(_) => 0,
        AuditEvent::IllegalNames { .. } => 1,
        AuditEvent::RefusedRequest(_) => 2,
        AuditEvent::LoginAccepted(_) => 3,
        AuditEvent::LoginRefused { .. } => 4,
        AuditEvent::BrokerLoginAccepted(_) => 5,
        AuditEvent::BrokerLoginRefused { .. } => 6,
        AuditEvent::RulesLoaded { .. } => 7,
        AuditEvent::KeyMade(_) => 8,
        AuditEvent::KeyUnwrapped(_) => 9,
        AuditEvent::KeyRefused { .. } => 10,
        AuditEvent::KeyRotated { .. } => 11,
        AuditEvent::KeyRevoked { .. } => 12,
        AuditEvent::KeyLapsed(_) => 13,
        AuditEvent::KeyWrong { .. } => 14,
        AuditEvent::KmsLost { .. } => 15,
        AuditEvent::KmsFound { .. } => 16,
        AuditEvent::KeyringLoaded { .. } => 17,
        AuditEvent::StableKeyRefused { .. } => 18,
        AuditEvent::StableKeyGiven { .. } => 19,
        AuditEvent::LeftOut { .. } => 20,
    }
}

/// The lines of the table whose first title is `title`.
fn table(text: &str, title: &str) -> Vec<Vec<String>> {
    let lines = text.lines().skip_while(|line| cells(line)[0] != title).skip(2);
    lines
        .take_while(|line| line.starts_with('|'))
        .map(cells)
        .collect()
}

fn first_cells(table: &[Vec<String>]) -> BTreeSet<String> {
    let names: Vec<&str> = table.iter().map(|row| quoted(&row[0])[0]).collect();
    let unique: BTreeSet<String> = names.iter().map(|name| (*name).to_owned()).collect();
    assert_eq!(unique.len(), names.len(), "one of them twice: {names:?}");
    unique
}

#[test]
fn every_event_and_field_of_the_audit_log_is_documented_and_no_other() {
    let text = read("docs/audit.md");
    let rows = table(&text, "event");
    // `those of X`: the fields of X.
    let mut documented: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for row in &rows {
        let name = quoted(&row[0])[0].to_owned();
        let mut fields = BTreeSet::new();
        for word in quoted(&row[2]) {
            match documented.get(word) {
                Some(others) => fields.extend(others.iter().cloned()),
                None => _ = fields.insert(word.to_owned()),
            }
        }
        documented.insert(name, fields);
    }
    let mut written = BTreeMap::new();
    for (index, event) in events().iter().enumerate() {
        assert_eq!(place(event), index);
        let serde_json::Value::Object(mut fields) = serde_json::to_value(event).expect("JSON") else {
            panic!("no object: {event:?}");
        };
        let name = fields.remove("event").expect("its name");
        let name = name.as_str().expect("text").to_owned();
        written.insert(name, fields.keys().cloned().collect::<BTreeSet<_>>());
    }
    assert_eq!(documented, written);
    let fields: BTreeSet<String> = written.into_values().flatten().collect();
    assert_eq!(first_cells(&table(&text, "field")), fields);
}

#[test]
fn every_reason_and_kind_of_a_login_at_a_broker_is_documented_and_no_other() {
    let text = read("docs/audit.md");
    let reasons = BrokerLoginFault::ALL
        .iter()
        .map(|fault| fault.as_str().to_owned());
    assert_eq!(
        first_cells(&table(&text, "reason at a broker")),
        reasons.collect::<BTreeSet<_>>()
    );
    let kind = table(&text, "field")
        .into_iter()
        .find(|row| quoted(&row[0])[0] == "kind")
        .expect("the field");
    let kinds: Vec<_> = BrokerLoginKind::ALL.iter().map(|kind| kind.as_str()).collect();
    assert_eq!(quoted(&kind[1]), kinds);
}

#[test]
fn every_reason_of_a_key_or_a_kms_is_documented_and_no_other() {
    let keys = [
        KeyFailure::KekDisabled,
        KeyFailure::KekDestroyed,
        KeyFailure::KekDenied,
        KeyFailure::KekNotFound,
        KeyFailure::KekVersionNotFound,
        KeyFailure::Malformed,
    ];
    let wrong = [
        WrongDek::Sealed(Duration::ZERO),
        WrongDek::Unused,
        WrongDek::Opened,
    ];
    let words = keys.iter().map(|failure| failure.reason());
    let words = words.chain(wrong.iter().map(|wrong| wrong.as_str()));
    let words = words.chain(Absence::ALL.iter().map(|absence| absence.as_str()));
    let text = read("docs/audit.md");
    assert_eq!(
        first_cells(&table(&text, "reason of a key or a KMS")),
        words.map(str::to_owned).collect::<BTreeSet<_>>()
    );
}

#[test]
fn every_reason_why_a_login_is_refused_is_documented_and_no_other() {
    let failures = [
        Failure::Malformed(""),
        Failure::UnknownUser,
        Failure::WrongPassword,
        Failure::OtherNonce,
        Failure::OtherBinding,
        Failure::OtherAuthorizationId,
    ];
    let tokens = [
        TokenFault::Malformed,
        TokenFault::Critical,
        TokenFault::Algorithm,
        TokenFault::UnknownKey,
        TokenFault::OtherKey,
        TokenFault::Signature,
        TokenFault::NoClaim(""),
        TokenFault::Expired,
        TokenFault::NotYet,
        TokenFault::Issuer,
        TokenFault::Audience,
        TokenFault::Principal,
    ];
    let failures = failures.into_iter().chain(tokens.map(Failure::Token));
    let unconvincing = failures.map(|failure| LoginRefusal::Unconvincing(LoginMechanism::Plain, failure));
    let reasons = unconvincing.chain([
        LoginRefusal::NoSuchMechanism,
        LoginRefusal::SomebodyElse,
        LoginRefusal::OutOfTurn,
    ]);
    let mut expected: BTreeSet<String> = reasons.map(|why| why.reason().to_owned()).collect();
    for reason in [CloseReason::LoginLimit, CloseReason::BrokerLogin] {
        expected.insert(reason.as_str().to_owned());
    }
    let text = read("docs/audit.md");
    assert_eq!(first_cells(&table(&text, "reason")), expected);
}
