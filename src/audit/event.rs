//! The events of the audit log. Each kind is a variant here and nowhere else; counters, the log and the documentation
//! take its words.
//!
//! - AUDIT-2: names that no topic can have are told together: anybody may make up any number of them, each 32 KiB long.
//! - AUDIT-5: names from outside are escaped and cut ([`Foreign`]), also where they are JSON.

use std::fmt;
use std::sync::Arc;

use serde::{Serialize, Serializer};

use crate::broker_login::AccountName;
use crate::envelope::{OpenError, WrappedDek};
use crate::foreign::Foreign;
use crate::identity::{Client, Principal};
use crate::keys::KeyFailure;
use crate::metrics::{BrokerLoginFault, BrokerLoginKind, RefusalReason, RequestRefusal};

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
    /// So many events before this one were not written: there were too many in a second, or in a queue.
    LeftOut { count: u64 },
}

/// A request that was not its client's to send.
#[derive(Clone, Debug, Serialize)]
pub struct RefusedRequest {
    #[serde(serialize_with = "foreign")]
    pub cluster: Arc<str>,
    #[serde(flatten, serialize_with = "shown_client")]
    pub client: Client,
    /// Kafka's name of it.
    pub api: &'static str,
    /// What it is about.
    #[serde(rename = "about", serialize_with = "refusal_word")]
    pub reason: RequestRefusal,
    /// The topic, group or transactional id that is not the client's, cut where it is long.
    #[serde(serialize_with = "foreign_if_any")]
    pub name: Option<Arc<str>>,
}

/// What was refused, to whom, and why.
#[derive(Clone, Debug, Serialize)]
pub struct RefusedRecords {
    #[serde(serialize_with = "foreign")]
    pub cluster: Arc<str>,
    #[serde(flatten, serialize_with = "shown_client")]
    pub client: Client,
    pub operation: Operation,
    /// The topic's name, cut where no topic can have it.
    #[serde(serialize_with = "foreign")]
    pub topic: Arc<str>,
    pub partition: i32,
    /// Base offset of the batch for a fetch; -1 for a produce, or where all of a partition is refused.
    pub offset: i64,
    pub reason: Reason,
    /// The key-encryption key that it is about.
    pub kek: Option<KekName>,
}

/// A login, and who is behind it.
#[derive(Clone, Debug, Serialize)]
pub struct Login {
    #[serde(serialize_with = "foreign")]
    pub cluster: Arc<str>,
    /// Its principal is the one that was let in; `None` where nobody was.
    #[serde(flatten, serialize_with = "shown_client")]
    pub client: Client,
    /// As Kafka calls it, or `mtls`; `None` where none was agreed on.
    pub mechanism: Option<&'static str>,
    /// The connection had been logged in before (KIP-368).
    pub again: bool,
}

/// A login of the proxy's own at a broker, and for whom it was made.
#[derive(Clone, Debug, Serialize)]
pub struct BrokerLogin {
    #[serde(serialize_with = "foreign")]
    pub cluster: Arc<str>,
    #[serde(flatten, serialize_with = "shown_client")]
    pub client: Client,
    /// Where the broker was reached; `None`: it did not come to that.
    #[serde(serialize_with = "foreign_if_any")]
    pub broker: Option<Arc<str>>,
    /// The node on whose port the client came; `None` for the bootstrap port.
    pub node: Option<i32>,
    #[serde(serialize_with = "kind_word")]
    pub kind: BrokerLoginKind,
    /// By which account; `None`: there is none.
    #[serde(flatten, serialize_with = "shown_account")]
    pub account: Option<AccountName>,
    /// The connection had been logged in there before.
    pub again: bool,
}

/// A key-encryption key, and the KMS that has it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct AuditedKek {
    /// As the configuration names it.
    #[serde(serialize_with = "foreign")]
    pub kms: Arc<str>,
    pub kek: KekName,
    /// `None`: it has none, or none is meant.
    pub version: Option<String>,
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

impl Serialize for Operation {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
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

impl Serialize for Reason {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
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
            Self::LoginAccepted(_) | Self::RulesLoaded { .. } | Self::LeftOut { .. } => EventClass::Known,
            Self::KeyUnwrapped(_) | Self::KeyRefused { .. } => EventClass::NamedKey,
            Self::KeyMade(_)
            | Self::KeyRotated { .. }
            | Self::KeyRevoked { .. }
            | Self::KeyLapsed(_)
            | Self::KeyWrong { .. }
            | Self::KmsLost { .. }
            | Self::KmsFound { .. } => EventClass::Key,
        }
    }
}

/// A client as events show it.
#[derive(Serialize)]
pub(super) struct ShownClient {
    /// Address and port.
    pub(super) client: Option<String>,
    pub(super) client_id: String,
    pub(super) principal: Option<String>,
}

impl ShownClient {
    pub(super) fn of(client: &Client) -> Self {
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

fn shown_principal<S: Serializer>(principal: &Option<Principal>, serializer: S) -> Result<S::Ok, S::Error> {
    principal.as_ref().map(shown).serialize(serializer)
}

fn shown_client<S: Serializer>(client: &Client, serializer: S) -> Result<S::Ok, S::Error> {
    ShownClient::of(client).serialize(serializer)
}

fn foreign<S: Serializer>(text: &Arc<str>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&Foreign::new(&**text))
}

fn foreign_if_any<S: Serializer>(text: &Option<Arc<str>>, serializer: S) -> Result<S::Ok, S::Error> {
    let shown = text.as_ref().map(|text| Foreign::new(&**text).to_string());
    shown.serialize(serializer)
}

/// An account as events show it.
#[derive(Serialize)]
struct ShownAccount {
    mechanism: Option<&'static str>,
    account: Option<String>,
}

fn shown_account<S: Serializer>(account: &Option<AccountName>, serializer: S) -> Result<S::Ok, S::Error> {
    let account = account.as_ref();
    let shown = ShownAccount {
        mechanism: account.map(|account| account.mechanism),
        account: account.and_then(AccountName::shown_user),
    };
    shown.serialize(serializer)
}

fn kind_word<S: Serializer>(kind: &BrokerLoginKind, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(kind.as_str())
}

fn fault_word<S: Serializer>(fault: &BrokerLoginFault, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(fault.as_str())
}

fn refusal_word<S: Serializer>(reason: &RequestRefusal, serializer: S) -> Result<S::Ok, S::Error> {
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
