//! Which topic is treated how: an ordered list of rules, of which the first that matches decides.
//!
//! Pure: no clock, no socket, no file. Any thread may resolve; executors remember the answer for each topic, because
//! resolving expands templates and therefore allocates.
//!
//! - RULE-1: the first rule that matches decides, and the same name is always answered in the same way.
//! - RULE-2: policy fails closed. No rule: `None`, which is a refusal. A rule whose KEK or domain cannot be expanded
//!   for a topic refuses it; it never passes it and never seals it under something else.
//! - RULE-3: Kafka's own topics are never sealed and never taken by a rule: they may be fetched, not produced to.
//! - RULE-4: the KEK that a rule seals with is the first of those that it opens with.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]

mod access;
mod groups;
mod matcher;
mod sharing;
mod template;

use std::fmt;
use std::sync::Arc;

use crate::envelope::{Domain, HeaderMode};
use crate::ids::KmsId;
use crate::record_batch::Codec;

pub use access::{Access, Asking, Members, Principals, is_named, pattern_of};
pub use groups::{GroupRule, GroupRules};
pub use matcher::{Captures, Glob, Group, Matcher, MatcherError, TopicRegex};
pub use sharing::Openable;
pub use template::{Template, TemplateError};

/// The topics that Kafka keeps for itself.
pub const KAFKA_TOPICS: [&str; 3] = ["__consumer_offsets", "__share_group_state", "__transaction_state"];

/// The longest KEK name, in bytes: its length is one byte in a wrapped DEK.
pub const KEK_BYTES_MAX: usize = 255;

/// The longest topic name that Kafka allows, in bytes.
pub const TOPIC_NAME_BYTES_MAX: usize = 249;

/// The rules of one cluster, in order. Cloning is cheap enough for one copy an executor.
#[derive(Clone, Debug)]
pub struct RuleSet {
    rules: Arc<[Rule]>,
}

impl RuleSet {
    /// Rules in the order in which they are tried.
    pub fn new(rules: Vec<Rule>) -> Self {
        Self { rules: rules.into() }
    }

    /// The rules, in order.
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// Whether records are opened for anybody who has a name.
    pub fn opens_for_some(&self) -> bool {
        self.rules.iter().any(|rule| match &rule.action {
            RuleAction::Seal(seal) => seal.access.open_for.is_some(),
            RuleAction::Pass(_) | RuleAction::Reject { .. } => false,
        })
    }

    /// Who may use `topic`, without an answer that is to be remembered.
    pub fn users(&self, topic: &str) -> Users<'_> {
        if KAFKA_TOPICS.contains(&topic) || !is_legal_topic_name(topic) {
            return Users::Nobody;
        }
        let rule = self.rules.iter().find(|rule| rule.matcher.matches(topic));
        rule.map_or(Users::Nobody, |rule| rule.action.users())
    }

    /// What happens to `topic`; `None` where no rule matches, and then the topic is refused.
    ///
    /// `topic` may be anything that a client sent: a name that Kafka does not allow is never sealed, because it would
    /// be expanded into the name of a key.
    pub fn resolve(&self, topic: &str) -> Option<TopicRule> {
        if KAFKA_TOPICS.contains(&topic) {
            return Some(TopicRule {
                rule: RuleRef::kafka(),
                action: Action::KafkaInternal,
            });
        }
        let (index, rule, captures) = self.rules.iter().enumerate().find_map(|(index, rule)| {
            rule.matcher
                .captures(topic)
                .map(|captures| (index, rule, captures))
        })?;
        let action = match &rule.action {
            RuleAction::Pass(access) => Action::Pass(access.clone()),
            RuleAction::Reject { reason } => Action::Reject {
                reason: reason.clone(),
            },
            RuleAction::Seal(template) => match template.expand(topic, &captures) {
                Ok(seal) => Action::Seal(seal),
                Err(reason) => Action::Reject {
                    reason: Some(reason.into()),
                },
            },
        };
        Some(TopicRule {
            rule: RuleRef::new(index, &rule.matcher),
            action,
        })
    }
}

/// Who may use a topic.
#[derive(Clone, Copy, Debug)]
pub enum Users<'a> {
    /// There is no rule, or none that lets anybody.
    Nobody,
    /// It passes, and is the broker's to protect.
    Everybody,
    /// Whom these name.
    These(&'a Access),
}

impl Users<'_> {
    /// Whether this one may know of the topic: whoever reads it in any way, or writes to it.
    pub fn see(&self, asking: Asking<'_>) -> bool {
        match self {
            Self::Nobody => false,
            Self::Everybody => true,
            Self::These(access) => access.opens_for(asking) || self.store(asking),
        }
    }

    /// Whether this one may write to it.
    pub fn store(&self, asking: Asking<'_>) -> bool {
        match self {
            Self::Nobody => false,
            Self::Everybody => true,
            Self::These(access) => access.seals_for(asking) || access.is_raw(asking),
        }
    }
}

impl RuleAction {
    /// Who may use its topics.
    pub fn users(&self) -> Users<'_> {
        match self {
            Self::Pass(None) => Users::Everybody,
            Self::Pass(Some(access)) => Users::These(access),
            Self::Reject { .. } => Users::Nobody,
            Self::Seal(template) => Users::These(&template.access),
        }
    }
}

impl Action {
    /// Who may use the topic.
    pub fn users(&self) -> Users<'_> {
        match self {
            Self::Pass(None) => Users::Everybody,
            Self::Pass(Some(access)) => Users::These(access),
            Self::Reject { .. } | Self::KafkaInternal => Users::Nobody,
            Self::Seal(rule) => Users::These(&rule.access),
        }
    }
}

/// One rule: which topics, and what happens to them.
#[derive(Clone, Debug)]
pub struct Rule {
    /// Which topics.
    pub matcher: Matcher,
    /// What happens to them.
    pub action: RuleAction,
}

/// What a rule does, before a topic's name is put in.
#[derive(Clone, Debug)]
pub enum RuleAction {
    /// Records go through as they are, in both directions: for whoever may read and write, where that is the proxy's to
    /// decide.
    Pass(Option<Access>),
    /// Both directions are refused.
    Reject {
        /// What clients are told.
        reason: Option<Arc<str>>,
    },
    /// Records are sealed and opened.
    Seal(Box<SealTemplate>),
}

/// A sealing rule, before a topic's name is put in.
#[derive(Clone, Debug)]
pub struct SealTemplate {
    /// The KMS that new records are sealed with.
    pub kms: KmsId,
    /// The KEK that new records are sealed with.
    pub kek: Template,
    /// Further KEKs that records may name.
    pub open_keks: Vec<(KmsId, Template)>,
    /// What new records are bound to.
    pub domain: Template,
    /// Further domains that records may be bound to.
    pub open_domains: Vec<Template>,
    /// How headers of new records are treated.
    pub headers: HeaderMode,
    /// How well headers of records that are opened have to be protected.
    pub open_headers: HeaderMode,
    /// How record keys are stored.
    pub keys: RecordKeys,
    /// Which forms readers may get.
    pub accept: Forms,
    /// How sealed batches are written: [`Codec::Lz4`] (compact) or [`Codec::None`].
    pub stored_codec: Codec,
    /// What the topic allows, in bytes of one batch.
    pub max_message_bytes: usize,
    /// What happens to a record that does not open.
    pub on_unreadable: OnUnreadable,
    /// Whether KEKs may be used whose wrapping key is public.
    pub forgeable_kek: bool,
    /// Who may read and write.
    pub access: Access,
}

impl SealTemplate {
    /// A rule that seals under `kek` of `kms`; everything else as the configuration's defaults are.
    #[cfg(feature = "testing")]
    pub fn new(kms: KmsId, kek: Template) -> Self {
        Self {
            kms,
            kek,
            open_keks: Vec::new(),
            domain: Template::topic(),
            open_domains: Vec::new(),
            headers: HeaderMode::Sealed,
            open_headers: HeaderMode::Sealed,
            keys: RecordKeys::CLEAR,
            accept: Forms::SEALWIRE,
            stored_codec: Codec::Lz4,
            max_message_bytes: MAX_MESSAGE_BYTES_DEFAULT,
            on_unreadable: OnUnreadable::Refuse,
            forgeable_kek: false,
            access: Access::default(),
        }
    }

    /// The KEKs that records may name, the one that seals first (RULE-4).
    pub fn keks(&self) -> impl Iterator<Item = (KmsId, &Template)> {
        let further = self.open_keks.iter().map(|(kms, kek)| (*kms, kek));
        std::iter::once((self.kms, &self.kek)).chain(further)
    }

    /// The error is the reason for which the topic is refused.
    fn expand(&self, topic: &str, captures: &Captures<'_>) -> Result<SealRule, String> {
        if !is_legal_topic_name(topic) {
            return Err("not a name that Kafka allows for a topic".to_owned());
        }
        let kek = |template: &Template| -> Result<Arc<str>, String> {
            kek_within_bounds(template.expand(topic, captures))
        };
        let domain = |template: &Template| -> Result<Domain, String> {
            Domain::new(template.expand(topic, captures))
                .map_err(|error| format!("the rule's domain cannot be used for this topic: {error}"))
        };
        let sealing_kek = kek(&self.kek)?;
        let mut open_keks = vec![(self.kms, Arc::clone(&sealing_kek))];
        for (kms, template) in &self.open_keks {
            let entry = (*kms, kek(template)?);
            if !open_keks.contains(&entry) {
                open_keks.push(entry);
            }
        }
        Ok(SealRule {
            kms: self.kms,
            kek: sealing_kek,
            open_keks,
            domain: domain(&self.domain)?,
            open_domains: self.open_domains.iter().map(domain).collect::<Result<_, _>>()?,
            headers: self.headers,
            open_headers: self.open_headers,
            keys: self.keys,
            accept: self.accept,
            stored_codec: self.stored_codec,
            max_message_bytes: self.max_message_bytes,
            on_unreadable: self.on_unreadable,
            access: self.access.clone(),
        })
    }
}

/// What Kafka allows for one batch unless a topic says otherwise (`max.message.bytes`).
#[cfg(feature = "testing")]
pub const MAX_MESSAGE_BYTES_DEFAULT: usize = 1_048_588;

/// Kafka's own check of a topic's name: 1 to 249 of ASCII letters, digits, `.`, `_` and `-`, and neither `.` nor `..`.
pub fn is_legal_topic_name(name: &str) -> bool {
    (1..=TOPIC_NAME_BYTES_MAX).contains(&name.len())
        && name != "."
        && name != ".."
        && name.bytes().all(is_topic_name_byte)
}

fn is_topic_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-')
}

fn kek_within_bounds(name: String) -> Result<Arc<str>, String> {
    match name.len() {
        0 => Err("the rule's kek is empty for this topic".to_owned()),
        1..=KEK_BYTES_MAX => Ok(name.into()),
        length => Err(format!(
            "the rule's kek is {length} bytes long for this topic, {KEK_BYTES_MAX} is the most"
        )),
    }
}

/// What happens to one topic, and which rule said so.
#[derive(Clone, Debug)]
pub struct TopicRule {
    /// For messages, metrics and the audit log.
    pub rule: RuleRef,
    /// What happens.
    pub action: Action,
}

/// What happens to one topic.
#[derive(Clone, Debug)]
pub enum Action {
    /// Records go through as they are, in both directions: for these, or for everybody.
    Pass(Option<Access>),
    /// Both directions are refused.
    Reject {
        /// What clients are told, where the rule or the topic's name gives a reason.
        reason: Option<Arc<str>>,
    },
    /// Records are sealed and opened.
    Seal(SealRule),
    /// One of Kafka's own topics: fetched as it is, refused on produce.
    KafkaInternal,
}

/// A sealing rule with the topic's name put in.
#[derive(Clone, Debug)]
pub struct SealRule {
    /// The KMS that new records are sealed with.
    pub kms: KmsId,
    /// The KEK that new records are sealed with; 1 to [`KEK_BYTES_MAX`] bytes.
    pub kek: Arc<str>,
    /// Every KEK that records may name, the sealing one first, none twice.
    pub open_keks: Vec<(KmsId, Arc<str>)>,
    /// What new records are bound to.
    pub domain: Domain,
    /// Further domains that records may be bound to.
    pub open_domains: Vec<Domain>,
    /// How headers of new records are treated.
    pub headers: HeaderMode,
    /// How well headers of records that are opened have to be protected.
    pub open_headers: HeaderMode,
    /// How record keys are stored.
    pub keys: RecordKeys,
    /// Which forms readers may get.
    pub accept: Forms,
    /// How sealed batches are written: [`Codec::Lz4`] (compact) or [`Codec::None`].
    pub stored_codec: Codec,
    /// What the topic allows, in bytes of one batch; a larger sealed batch is refused.
    pub max_message_bytes: usize,
    /// What happens to a record that does not open.
    pub on_unreadable: OnUnreadable,
    /// Who may read and write.
    pub access: Access,
}

/// Names a rule in messages: `rule 2 (match "payments-*")`, counted from 1 as an operator does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleRef {
    /// Position in the cluster's list, from 0; `None` for what is built in.
    pub index: Option<usize>,
    /// The rule's `match`, as written.
    pub text: Arc<str>,
}

impl RuleRef {
    /// The rule at this position of its cluster's list.
    pub fn new(index: usize, matcher: &Matcher) -> Self {
        Self {
            index: Some(index),
            text: matcher.to_string().into(),
        }
    }

    fn kafka() -> Self {
        Self {
            index: None,
            text: "Kafka's own topics".into(),
        }
    }
}

impl fmt::Display for RuleRef {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.index {
            Some(index) => write!(
                formatter,
                "rule {} (match {})",
                index.saturating_add(1),
                self.text
            ),
            None => write!(formatter, "built-in rule ({})", self.text),
        }
    }
}

/// How record keys are stored, and which of them readers get.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordKeys {
    /// New ones are sealed under the stable key of their domain; else they stay as they are.
    pub sealed: bool,
    /// Readers get those that are stored in the other way, too: of a topic that is not compacted.
    pub accept_others: bool,
}

impl RecordKeys {
    /// As they are, and no others.
    #[cfg(feature = "testing")]
    pub const CLEAR: Self = Self {
        sealed: false,
        accept_others: false,
    };

    /// Whether records with sealed keys are written or read.
    pub fn need_stable_keys(self) -> bool {
        self.sealed || self.accept_others
    }

    /// Whether readers get records with keys that are not sealed.
    pub fn accept_clear(self) -> bool {
        !self.sealed || self.accept_others
    }
}

/// What happens to a record that does not open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnUnreadable {
    /// The partition is refused from its batch on.
    Refuse,
    /// The record is left out.
    Skip,
    /// The record is delivered with a null value and without headers, like a tombstone: for rules that accept
    /// tombstones.
    Null,
}

/// A set of record forms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forms(u8);

impl Forms {
    /// No form.
    pub const NONE: Self = Self(0);
    /// Sealed by Sealwire.
    pub const SEALWIRE: Self = Self(1);
    /// Encrypted by Kroxylicious.
    pub const KROXYLICIOUS: Self = Self(1 << 1);
    /// An unmarked record with a null value.
    pub const TOMBSTONE: Self = Self(1 << 2);
    /// An unmarked record with a value.
    pub const PLAINTEXT: Self = Self(1 << 3);

    /// Whether every form of `other` is in this set.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Both sets together.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

#[cfg(test)]
mod tests;
