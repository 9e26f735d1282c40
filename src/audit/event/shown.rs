//! How events show what others have named.
//!
//! - AUDIT-5: names from outside are escaped and cut ([`Foreign`]), also where they are JSON.

use std::fmt;
use std::sync::Arc;

use serde::{Serialize, Serializer};

use crate::broker_login::AccountName;
use crate::envelope::WrappedDek;
use crate::foreign::Foreign;
use crate::identity::{Client, Principal};
use crate::metrics::{BrokerLoginFault, BrokerLoginKind, RequestRefusal};

/// A client as events show it.
#[derive(Serialize)]
pub(in crate::audit) struct ShownClient {
    /// Address and port.
    pub(in crate::audit) client: Option<String>,
    pub(in crate::audit) client_id: String,
    pub(in crate::audit) principal: Option<String>,
}

impl ShownClient {
    pub(in crate::audit) fn of(client: &Client) -> Self {
        Self {
            client: client.address.map(|address| address.to_string()),
            client_id: Foreign::new(&*client.id).to_string(),
            principal: client.principal.as_ref().map(shown),
        }
    }
}

/// Escaped and cut.
pub(crate) fn shown(principal: &Principal) -> String {
    Foreign::new(&principal.to_string()).to_string()
}

pub(super) fn shown_principal<S: Serializer>(
    principal: &Option<Principal>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    principal.as_ref().map(shown).serialize(serializer)
}

pub(super) fn shown_client<S: Serializer>(client: &Client, serializer: S) -> Result<S::Ok, S::Error> {
    ShownClient::of(client).serialize(serializer)
}

pub(super) fn foreign<S: Serializer>(text: &Arc<str>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&Foreign::new(&**text))
}

pub(super) fn foreign_if_any<S: Serializer>(
    text: &Option<Arc<str>>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let shown = text.as_ref().map(|text| Foreign::new(&**text).to_string());
    shown.serialize(serializer)
}

/// An account as events show it.
#[derive(Serialize)]
struct ShownAccount {
    mechanism: Option<&'static str>,
    account: Option<String>,
}

pub(super) fn shown_account<S: Serializer>(
    account: &Option<AccountName>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let account = account.as_ref();
    let shown = ShownAccount {
        mechanism: account.map(|account| account.mechanism),
        account: account.and_then(AccountName::shown_user),
    };
    shown.serialize(serializer)
}

pub(super) fn kind_word<S: Serializer>(kind: &BrokerLoginKind, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(kind.as_str())
}

pub(super) fn fault_word<S: Serializer>(fault: &BrokerLoginFault, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(fault.as_str())
}

pub(super) fn refusal_word<S: Serializer>(reason: &RequestRefusal, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(reason.as_str())
}

/// The name of a key-encryption key, as a rule or a stored record has it: in a record it may be any bytes.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct KekName(Arc<[u8]>);

impl KekName {
    /// That of the key under which a DEK is wrapped; empty where that cannot be read.
    #[must_use]
    pub fn in_record(wrapped_dek: &[u8]) -> Self {
        let kek = WrappedDek::parse(wrapped_dek).map_or(&[][..], |wrapped| wrapped.kek);
        Self(kek.into())
    }
}

impl From<Arc<[u8]>> for KekName {
    fn from(name: Arc<[u8]>) -> Self {
        Self(name)
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

impl Serialize for KekName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::{AuditEvent, AuditedKek, BrokerLogin, Login, Operation, Reason, RefusedRecords};
    use crate::envelope::OpenError;
    use crate::foreign::tests::{HOSTILE, is_printable};

    /// AUDIT-5
    #[test]
    fn whatever_clients_and_topics_are_called_a_line_is_short_and_printable() {
        let client = Client {
            id: HOSTILE.repeat(200).as_bytes().into(),
            principal: crate::identity::Principal::named(&HOSTILE.repeat(20)),
            ..Client::default()
        };
        let refused = RefusedRecords {
            cluster: "main".into(),
            client: client.clone(),
            operation: Operation::Fetch,
            topic: HOSTILE.repeat(200).into(),
            partition: 0,
            offset: 7,
            reason: Reason::Open(OpenError::Tag),
            kek: Some(KekName(HOSTILE.as_bytes().into())),
        };
        let login = Login {
            cluster: "main".into(),
            client,
            mechanism: None,
            again: false,
        };
        let failed = AuditEvent::LoginRefused {
            claimed: login.client.principal.clone(),
            login: login.clone(),
            reason: "wrong_password",
        };
        let at_broker = BrokerLogin {
            cluster: "main".into(),
            client: login.client.clone(),
            broker: Some(HOSTILE.repeat(200).into()),
            node: None,
            kind: BrokerLoginKind::PerPrincipal,
            account: Some(AccountName {
                mechanism: "PLAIN",
                user: Some(HOSTILE.repeat(200).into()),
            }),
            again: false,
        };
        let key = AuditedKek {
            kms: HOSTILE.repeat(200).into(),
            kek: KekName(HOSTILE.as_bytes().into()),
            version: None,
        };
        let events = [
            AuditEvent::KeyUnwrapped(key.clone()),
            AuditEvent::KmsLost {
                kms: key.kms,
                reason: "throttled",
            },
            AuditEvent::Refused(refused),
            AuditEvent::LoginAccepted(login),
            failed,
            AuditEvent::BrokerLoginAccepted(at_broker.clone()),
            AuditEvent::BrokerLoginRefused {
                login: at_broker,
                reason: BrokerLoginFault::Refused,
            },
        ];
        for event in events {
            let line = serde_json::to_string(&event).expect("JSON");
            assert!(is_printable(&line), "{line}");
            assert!(line.len() < 8 * 1024, "{}", line.len());
        }
    }
}
