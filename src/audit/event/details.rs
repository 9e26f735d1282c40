//! Whom and what events are about.

use std::sync::Arc;

use serde::{Serialize, Serializer};

use super::shown::{KekName, foreign, foreign_if_any, kind_word, refusal_word, shown_account, shown_client};
use crate::broker_login::AccountName;
use crate::envelope::OpenError;
use crate::identity::Client;
use crate::keys::KeyFailure;
use crate::metrics::{BrokerLoginKind, RefusalReason, RequestRefusal};

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
