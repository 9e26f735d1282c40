//! What makes two events one line of the audit log.

use std::net::IpAddr;
use std::sync::Arc;

use crate::audit::event::{AuditEvent, AuditedKek, Operation, Reason};
use crate::broker_login::AccountName;
use crate::identity::Principal;
use crate::metrics::{BrokerLoginFault, RefusalReason};

/// What makes two lines the same: the client that met it first is named, and others in a later minute. Names that no
/// topic can have are all the same. Whom a rule does not name, or who may not change the cluster, has lines of his own.
#[derive(PartialEq, Eq, Hash)]
pub(super) enum Line {
    IllegalNames(Operation),
    Records {
        topic: Arc<str>,
        partition: i32,
        offset: i64,
        operation: Operation,
        reason: &'static str,
        principal: Option<Principal>,
    },
    Request {
        api: &'static str,
        reason: &'static str,
        name: Option<Arc<str>>,
        principal: Option<Principal>,
    },
    Login(Option<IpAddr>, &'static str, Option<Principal>),
    /// Whichever connection of the client's it was for.
    BrokerLogin {
        broker: Option<Arc<str>>,
        reason: BrokerLoginFault,
        account: Option<AccountName>,
        principal: Option<Principal>,
    },
    /// Whoever needed it.
    UnwrappedKey(AuditedKek),
    RefusedKey(AuditedKek, &'static str),
}

impl Line {
    /// In which cluster or KMS, and what; no place of what is written each time, no line of what is never the same.
    pub(super) fn of(event: &AuditEvent) -> Option<(&Arc<str>, Option<Self>)> {
        match event {
            AuditEvent::IllegalNames { first, .. } => {
                Some((&first.cluster, Some(Self::IllegalNames(first.operation))))
            }
            AuditEvent::Refused(refused) => {
                let is_about_client = refused.reason == Reason::Counted(RefusalReason::NotNamed);
                let principal = refused.client.principal.as_ref();
                let line = Self::Records {
                    topic: Arc::clone(&refused.topic),
                    partition: refused.partition,
                    offset: refused.offset,
                    operation: refused.operation,
                    reason: refused.reason.as_str(),
                    principal: principal.filter(|_| is_about_client).cloned(),
                };
                Some((&refused.cluster, Some(line)))
            }
            AuditEvent::RefusedRequest(refused) => {
                let line = Self::Request {
                    api: refused.api,
                    reason: refused.reason.as_str(),
                    name: refused.name.clone(),
                    principal: refused.client.principal.clone(),
                };
                Some((&refused.cluster, Some(line)))
            }
            AuditEvent::LoginRefused {
                login,
                reason,
                claimed,
            } => {
                let address = login.client.address.map(|address| address.ip());
                let line = Self::Login(address, reason, claimed.clone());
                Some((&login.cluster, Some(line)))
            }
            AuditEvent::BrokerLoginRefused { login, reason } => {
                let line = Self::BrokerLogin {
                    broker: login.broker.clone(),
                    reason: *reason,
                    account: login.account.clone(),
                    principal: login.client.principal.clone(),
                };
                Some((&login.cluster, Some(line)))
            }
            AuditEvent::LoginAccepted(_)
            | AuditEvent::BrokerLoginAccepted(_)
            | AuditEvent::RulesLoaded { .. }
            | AuditEvent::KeyringLoaded { .. }
            | AuditEvent::LeftOut { .. } => None,
            AuditEvent::KeyUnwrapped(key) => Some((&key.kms, Some(Self::UnwrappedKey(key.clone())))),
            AuditEvent::KeyRefused { key, reason } => {
                Some((&key.kms, Some(Self::RefusedKey(key.clone(), reason))))
            }
            AuditEvent::KeyMade(key)
            | AuditEvent::KeyRotated { key, .. }
            | AuditEvent::KeyRevoked { key, .. }
            | AuditEvent::KeyLapsed(key)
            | AuditEvent::KeyWrong { key, .. }
            | AuditEvent::StableKeyRefused { key, .. }
            | AuditEvent::StableKeyGiven { key, .. } => Some((&key.kms, None)),
            AuditEvent::KmsLost { kms, .. } | AuditEvent::KmsFound { kms, .. } => Some((kms, None)),
        }
    }
}
