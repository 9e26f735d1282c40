//! The events of the audit log. Each kind is a variant here and nowhere else; counters, the log and the documentation
//! take its words.
//!
//! - AUDIT-2: names that no topic can have are told together: anybody may make up any number of them, each 32 KiB long.

mod details;
mod shown;

use std::sync::Arc;

use serde::Serialize;

pub use self::details::{AuditedKek, BrokerLogin, Login, Operation, Reason, RefusedRecords, RefusedRequest};
pub use self::shown::KekName;
pub(super) use self::shown::ShownClient;
pub(crate) use self::shown::shown;
use self::shown::{fault_word, foreign, shown_principal};
use crate::identity::Principal;
use crate::metrics::{BrokerLoginFault, RefusalReason};

/// Something for the audit log. Holds no record data.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum AuditEvent {
    /// Records were not stored, or not delivered.
    Refused(RefusedRecords),
    /// The same of so many partitions in a row of topics whose names no topic can have (AUDIT-2).
    IllegalNames {
        #[serde(flatten)]
        first: RefusedRecords,
        partitions: u64,
    },
    /// What was not the client's to ask for was not asked for.
    RefusedRequest(RefusedRequest),
    /// Somebody has logged in.
    LoginAccepted(Login),
    /// Somebody was not let in.
    LoginRefused {
        #[serde(flatten)]
        login: Login,
        /// A fixed word.
        reason: &'static str,
        /// Whose it was to be: somebody who is known, and has not proven to be it.
        #[serde(serialize_with = "shown_principal")]
        claimed: Option<Principal>,
    },
    /// The proxy has logged in at a broker for a client.
    BrokerLoginAccepted(BrokerLogin),
    /// A login of the proxy's own at a broker came to nothing.
    BrokerLoginRefused {
        #[serde(flatten)]
        login: BrokerLogin,
        /// Why.
        #[serde(serialize_with = "fault_word")]
        reason: BrokerLoginFault,
    },
    /// These are in force from now on.
    RulesLoaded {
        #[serde(serialize_with = "foreign")]
        cluster: Arc<str>,
        /// How many rules the cluster has.
        rules: usize,
        /// The group whose members have changed; `None` at the start.
        group: Option<String>,
    },
    /// A data key was made, and seals from now on.
    KeyMade(AuditedKek),
    /// One was unwrapped, the first under a version that was not in use.
    KeyUnwrapped(AuditedKek),
    /// A KMS refuses a key-encryption key, or a version of it.
    KeyRefused {
        #[serde(flatten)]
        key: AuditedKek,
        /// A fixed word.
        reason: &'static str,
    },
    /// Another version of a key-encryption key seals from now on.
    KeyRotated {
        #[serde(flatten)]
        key: AuditedKek,
        version_before: Option<String>,
    },
    /// A version in use is refused: every data key under it was dropped.
    KeyRevoked {
        #[serde(flatten)]
        key: AuditedKek,
        /// A fixed word.
        reason: &'static str,
    },
    /// A version in use was not confirmed for too long: every data key under it was dropped.
    KeyLapsed(AuditedKek),
    /// A KMS unwraps another data key than the one that is known.
    KeyWrong {
        #[serde(flatten)]
        key: AuditedKek,
        /// A fixed word.
        reason: &'static str,
    },
    /// A KMS does not answer any more.
    KmsLost {
        #[serde(serialize_with = "foreign")]
        kms: Arc<str>,
        /// A fixed word.
        reason: &'static str,
    },
    /// It answers again.
    KmsFound {
        #[serde(serialize_with = "foreign")]
        kms: Arc<str>,
        away_seconds: u64,
    },
    /// This keyring is in force from now on.
    KeyringLoaded {
        fingerprint: String,
        /// That of the one before; `None` at the start.
        fingerprint_before: Option<String>,
        revision: u64,
    },
    /// A KMS refuses a stable key: record keys are neither sealed nor opened under it any more.
    StableKeyRefused {
        /// Its id.
        stable_key: String,
        #[serde(flatten)]
        key: AuditedKek,
        /// A fixed word.
        reason: &'static str,
    },
    /// It gives a stable key again that it has refused.
    StableKeyGiven {
        /// Its id.
        stable_key: String,
        #[serde(flatten)]
        key: AuditedKek,
    },
    /// So many events before this one were not written: there were too many in a second, or in a queue.
    LeftOut { count: u64 },
}

/// Where an event may wait, and be written, besides others: each class has a bound of its own, so that what anybody can
/// cause pushes out nothing of the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EventClass {
    /// Records that are stored: what shows that they were tampered with.
    Stored,
    /// What a client may ask for.
    Asked,
    /// Logins that were refused.
    LoginRefused,
    /// Logins that were accepted, and what the program says of itself.
    Known,
    /// Logins of the proxy's own that brokers have refused, or that came to nothing otherwise.
    BrokerLoginRefused,
    /// Those that brokers have taken: they are renewed whatever clients do.
    BrokerLogin,
    /// What a KMS says of keys that records and clients name.
    NamedKey,
    /// What else happens to keys and KMSs.
    Key,
}

impl EventClass {
    pub(super) const COUNT: usize = 8;
}

impl AuditEvent {
    /// The records that it is about; the first, where it stands for several.
    #[cfg(any(test, feature = "testing"))]
    #[must_use]
    pub fn records(&self) -> Option<&RefusedRecords> {
        match self {
            Self::Refused(refused) | Self::IllegalNames { first: refused, .. } => Some(refused),
            _ => None,
        }
    }

    /// Why it was refused; empty where nothing was.
    #[cfg(any(test, feature = "testing"))]
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Refused(refused) | Self::IllegalNames { first: refused, .. } => refused.reason.as_str(),
            Self::RefusedRequest(refused) => refused.reason.as_str(),
            Self::LoginRefused { reason, .. } => reason,
            Self::BrokerLoginRefused { reason, .. } => reason.as_str(),
            _ => "",
        }
    }

    /// For how many partitions it stands, where that is more than its own.
    #[must_use]
    pub fn partitions(&self) -> Option<u64> {
        match self {
            Self::IllegalNames { partitions, .. } => Some(*partitions),
            _ => None,
        }
    }

    /// With which others it shares a bound.
    #[must_use]
    pub fn class(&self) -> EventClass {
        match self {
            Self::Refused(refused) | Self::IllegalNames { first: refused, .. } => {
                let asked_in_vain = matches!(
                    refused.reason,
                    Reason::IllegalName
                        | Reason::Counted(
                            RefusalReason::NoRule | RefusalReason::Rejected | RefusalReason::NotNamed
                        )
                );
                match refused.operation {
                    Operation::Fetch if !asked_in_vain => EventClass::Stored,
                    _ => EventClass::Asked,
                }
            }
            Self::RefusedRequest(_) => EventClass::Asked,
            Self::LoginRefused { .. } => EventClass::LoginRefused,
            Self::BrokerLoginRefused { .. } => EventClass::BrokerLoginRefused,
            Self::BrokerLoginAccepted(_) => EventClass::BrokerLogin,
            Self::LoginAccepted(_)
            | Self::RulesLoaded { .. }
            | Self::KeyringLoaded { .. }
            | Self::LeftOut { .. } => EventClass::Known,
            Self::KeyUnwrapped(_) | Self::KeyRefused { .. } => EventClass::NamedKey,
            Self::KeyMade(_)
            | Self::KeyRotated { .. }
            | Self::KeyRevoked { .. }
            | Self::KeyLapsed(_)
            | Self::KeyWrong { .. }
            | Self::StableKeyRefused { .. }
            | Self::StableKeyGiven { .. }
            | Self::KmsLost { .. }
            | Self::KmsFound { .. } => EventClass::Key,
        }
    }
}
