//! The rule of each topic, resolved once and remembered by the executor; and what is known of the topic's log.

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::listener_map::ListenerMap;
use super::refusal::ProduceRefusal;
use super::stable_keys::TopicKeys;
use super::work::{RULE_WORK, Work};
use crate::envelope::{KekId, StableKeyId};
use crate::foreign::Foreign;
use crate::identity::Client;
use crate::ids::{ById, ClusterId, KmsId};
use crate::keys::StableKeys;
use crate::kms::KekNames;
use crate::messages::{LookSubject, TopicLook};
use crate::metrics::{ExecutorMetrics, TopicIndex};
use crate::rules::{
    Action, Asking, Forms, OnUnreadable, RuleSet, SealRule, TOPIC_NAME_BYTES_MAX, TopicRule, Users,
    is_legal_topic_name,
};

/// A topic with its rule.
pub struct Topic {
    /// The name that clients use.
    pub name: Arc<str>,
    /// What happens to it; `None`: no rule, refused.
    pub rule: Option<TopicRule>,
    /// Where it is counted.
    pub metrics: TopicIndex,
    /// Kafka allows a topic of this name.
    pub(super) is_legal: bool,
    /// The KMS and the start of a wrapped DEK, for each KEK that its records may name.
    pub open_keks: Vec<(KmsId, KekId)>,
    /// What its records may be bound to, the domain of new records first, and what their keys are sealed with.
    pub keys: TopicKeys,
    /// What records have to be that come sealed, where any may.
    pub(super) raw: Option<SealRule>,
    /// What its record keys are to be sealed under, whether that key may be used or not.
    stable_key: Option<StableKeyId>,
    /// When its log is to be looked at before it is written to.
    pub(super) needs_look: NeedsLook,
}

impl Topic {
    /// Whether `client` gets its records as they are stored. What Kafka keeps for itself is for administrators.
    pub(super) fn passes(&self, listener: &ListenerMap, client: &Client) -> bool {
        match self.rule.as_ref().map(|rule| &rule.action) {
            Some(Action::Pass(None)) => true,
            Some(Action::Pass(Some(access))) => access.opens_for(listener.asking(client)),
            Some(Action::KafkaInternal) => listener.may_administer(client),
            Some(Action::Seal(rule)) => rule.access.is_raw(listener.asking(client)),
            _ => false,
        }
    }

    /// How its log is looked at.
    pub(super) fn look_subject(&self, cluster: ClusterId) -> LookSubject {
        LookSubject {
            cluster,
            topic: Arc::clone(&self.name),
            stable_key: self.stable_key,
        }
    }

    /// The KMS that unwraps this DEK; `None`: the rule does not name its KEK, and it is never unwrapped.
    pub(super) fn kms_of(&self, wrapped_dek: &[u8]) -> Option<KmsId> {
        self.open_keks
            .iter()
            .find(|(_, kek)| kek.matches(wrapped_dek))
            .map(|(kms, _)| *kms)
    }

    /// What a client is told of a refusal: why, and which topic and rule.
    pub(super) fn refusal_text(&self, refusal: &ProduceRefusal) -> String {
        let topic = Foreign::new(self.shown_name());
        match &self.rule {
            Some(rule) => format!("Sealwire: {refusal} (topic {topic}, {})", rule.rule),
            None => format!("Sealwire: {refusal} (topic {topic}, no rule)"),
        }
    }

    /// The name, cut where it is longer than that of any topic.
    pub(super) fn shown_name(&self) -> &str {
        let shown = self.name.floor_char_boundary(TOPIC_NAME_BYTES_MAX);
        self.name.get(..shown).unwrap_or_default()
    }
}

/// When the log of a topic is to be looked at before it is written to.
pub(super) enum NeedsLook {
    Never,
    Now,
    /// It was, and may be written to; once so much time has gone by, it is looked at anew.
    Again {
        since: Instant,
        after: Duration,
    },
}

impl NeedsLook {
    pub(super) fn is_due(&self, now: Instant) -> bool {
        match self {
            Self::Never => false,
            Self::Now => true,
            Self::Again { since, after } => now.saturating_duration_since(*since) >= *after,
        }
    }
}

/// What is known of the log of one topic.
struct Look {
    /// With what it is compared.
    stable_key: Option<StableKeyId>,
    /// When somebody was asked last, or has answered since.
    asked_at: Instant,
    known: Option<TopicLook>,
}

impl Look {
    /// How long the question, or its answer, is good for.
    fn lifetime(&self) -> Duration {
        match self.known {
            None => ANSWERED_WITHIN,
            Some(TopicLook::Unfit(_) | TopicLook::Unknown) => UNFIT_FOR,
            Some(TopicLook::Good) => GOOD_FOR,
        }
    }
}

/// What was asked for is asked again after so long, if no answer came.
const ANSWERED_WITHIN: Duration = Duration::from_secs(20);
/// So long a topic is not written to whose cause may have been mended, or is written to unseen.
const UNFIT_FOR: Duration = Duration::from_secs(60);
/// So late it is noticed that a topic was made compacted, or was deleted and made anew.
const GOOD_FOR: Duration = Duration::from_secs(600);

/// The rules of one cluster and the topics that were resolved lately.
pub struct ClusterRules {
    /// The cluster's name in the configuration.
    pub name: Arc<str>,
    rules: RuleSet,
    /// What KEKs are called in records, by KMS.
    kek_names: ById<KmsId, KekNames>,
    /// What record keys are sealed with.
    stable_keys: Option<Arc<StableKeys>>,
    /// What is known of the logs of topics.
    looks: HashMap<Box<str>, Look>,
    topics: HashMap<Box<str>, Rc<Topic>>,
    topics_max: usize,
    /// Where topics are counted that no rule names.
    no_rule: Option<TopicIndex>,
}

impl ClusterRules {
    /// Rules of the cluster `name`; at most `topics_max` topics are remembered.
    pub fn new(name: Arc<str>, rules: RuleSet, topics_max: usize) -> Self {
        Self {
            name,
            rules,
            kek_names: ById::default(),
            stable_keys: None,
            looks: HashMap::new(),
            topics: HashMap::new(),
            topics_max: topics_max.max(1),
            no_rule: None,
        }
    }

    /// Takes in what KEKs of a KMS are called in records; topics that were resolved are resolved anew.
    pub fn name_keks(&mut self, kms: KmsId, names: KekNames) {
        self.kek_names.insert(kms, names);
        self.topics.clear();
    }

    /// Takes in what record keys are sealed with from now on; topics that were resolved are resolved anew.
    pub fn take_stable_keys(&mut self, keys: Arc<StableKeys>) {
        self.stable_keys = Some(keys);
        self.topics.clear();
    }

    /// What is known of the log of a topic, and whether the caller has to ask. What is known stays so until the answer
    /// is there: nobody waits for it twice.
    pub(super) fn look(&mut self, topic: &Topic, now: Instant) -> (Option<TopicLook>, bool) {
        if let Some(look) = self.looks.get_mut(&*topic.name)
            && look.stable_key == topic.stable_key
        {
            let is_to_be_asked = now.saturating_duration_since(look.asked_at) >= look.lifetime();
            if is_to_be_asked {
                look.asked_at = now;
            }
            return (look.known.clone(), is_to_be_asked);
        }
        if self.looks.len() >= self.topics_max {
            self.looks.clear();
        }
        let asked = Look {
            stable_key: topic.stable_key,
            asked_at: now,
            known: None,
        };
        self.looks.insert((&*topic.name).into(), asked);
        (None, true)
    }

    /// A topic was looked at; with another keyring than that of now, and whoever writes asks again.
    pub(super) fn take_look(&mut self, subject: &LookSubject, look: TopicLook, now: Instant) {
        let name = &*subject.topic;
        if self.looks.len() >= self.topics_max && !self.looks.contains_key(name) {
            // Somebody else has asked: names come from anybody. It is asked for once it is written to here.
            return;
        }
        let look = Look {
            stable_key: subject.stable_key,
            asked_at: now,
            known: Some(look),
        };
        self.looks.insert(name.into(), look);
        self.topics.remove(name);
    }

    fn needs_look(&self, topic: &str, stable_key: Option<StableKeyId>) -> NeedsLook {
        let look = self.looks.get(topic);
        let Some(look) = look.filter(|look| look.stable_key == stable_key) else {
            return NeedsLook::Now;
        };
        match &look.known {
            Some(TopicLook::Good | TopicLook::Unknown) => NeedsLook::Again {
                since: look.asked_at,
                after: look.lifetime(),
            },
            Some(TopicLook::Unfit(_)) | None => NeedsLook::Now,
        }
    }

    /// The topic with its rule. A name that Kafka does not allow has none, and is not remembered: it may be of any
    /// length. A name that is not remembered is compared with every rule, and counted as work.
    pub fn topic(&mut self, name: &str, metrics: &mut ExecutorMetrics, work: &mut Work) -> Rc<Topic> {
        if let Some(topic) = self.topics.get(name) {
            return Rc::clone(topic);
        }
        work.charge(self.rules.rules().len().saturating_mul(RULE_WORK));
        if !is_legal_topic_name(name) {
            return Rc::new(Topic {
                name: name.into(),
                rule: None,
                metrics: self.no_rule(metrics),
                is_legal: false,
                open_keks: Vec::new(),
                keys: TopicKeys::default(),
                raw: None,
                stable_key: None,
                needs_look: NeedsLook::Never,
            });
        }
        let topic = Rc::new(self.resolve(name, metrics));
        if self.topics.len() >= self.topics_max {
            // Names come from anybody; what is in use is resolved again at once.
            self.topics.clear();
        }
        self.topics.insert(name.into(), Rc::clone(&topic));
        topic
    }

    /// Who may use the topic of this name. One that nobody has read or written lately is compared with every rule, and
    /// not remembered: whoever asks for all there are asks for many.
    pub(super) fn users(&self, name: &str, work: &mut Work) -> Users<'_> {
        if let Some(topic) = self.topics.get(name) {
            return topic
                .rule
                .as_ref()
                .map_or(Users::Nobody, |rule| rule.action.users());
        }
        work.charge(self.rules.rules().len().saturating_mul(RULE_WORK));
        self.rules.users(name)
    }

    /// Whether this one may write to any topic.
    pub(super) fn is_stored_by(&self, asking: Asking<'_>, work: &mut Work) -> bool {
        let rules = self.rules.rules();
        work.charge(rules.len().saturating_mul(RULE_WORK));
        rules.iter().any(|rule| rule.action.users().store(asking))
    }

    fn no_rule(&mut self, metrics: &mut ExecutorMetrics) -> TopicIndex {
        *self
            .no_rule
            .get_or_insert_with(|| metrics.no_rule_index(&self.name))
    }

    fn resolve(&mut self, name: &str, metrics: &mut ExecutorMetrics) -> Topic {
        let rule = self.rules.resolve(name);
        let index = match &rule {
            Some(_) => metrics.topic_index(&self.name, name),
            None => self.no_rule(metrics),
        };
        let mut topic = Topic {
            name: name.into(),
            rule,
            metrics: index,
            is_legal: true,
            open_keks: Vec::new(),
            keys: TopicKeys::default(),
            raw: None,
            stable_key: None,
            needs_look: NeedsLook::Never,
        };
        if let Some(TopicRule {
            action: Action::Seal(seal),
            ..
        }) = &topic.rule
        {
            // A name that the KMS cannot have simply matches no record.
            topic.open_keks = seal
                .open_keks
                .iter()
                .filter_map(|(kms, kek)| Some((*kms, self.kek_names.get(*kms)?.id(kek)?)))
                .collect();
            let ring = self.stable_keys.as_ref().filter(|_| seal.keys.sealed);
            topic.stable_key = ring.and_then(|ring| ring.keyring().key_of(seal.domain.name()));
            if seal.keys.need_stable_keys() || self.stable_keys.is_some() {
                topic.needs_look = self.needs_look(name, topic.stable_key);
            }
            topic.keys = TopicKeys::of(seal, self.stable_keys.as_ref());
            if let Some(id) = topic.keys.sealing_id() {
                metrics.note_stable_key(&self.name, seal.domain.name(), id);
            }
            topic.raw = seal.access.raw_for.is_some().then(|| SealRule {
                accept: Forms::SEALWIRE,
                on_unreadable: OnUnreadable::Refuse,
                ..seal.clone()
            });
        }
        topic
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Id as _;

    #[test]
    fn names_that_others_ask_for_take_no_more_room_than_there_is() {
        let mut rules = ClusterRules::new("main".into(), RuleSet::new(Vec::new()), 2);
        let now = crate::clocks::now();
        let subject = |name: &str| LookSubject {
            cluster: ClusterId::from_number(0),
            topic: name.into(),
            stable_key: None,
        };
        for name in ["a", "b", "c", "d"] {
            rules.take_look(&subject(name), TopicLook::Unknown, now);
        }
        rules.take_look(&subject("a"), TopicLook::Good, now);
        assert_eq!(rules.looks.len(), 2);
        assert!(matches!(rules.looks["a"].known, Some(TopicLook::Good)));
    }
}
