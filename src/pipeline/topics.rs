//! The rule of each topic, resolved once and remembered by the executor.

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::listener_map::ListenerMap;
use super::refusal::ProduceRefusal;
use super::stable_keys::TopicKeys;
use super::work::{RULE_WORK, Work};
use crate::envelope::KekId;
use crate::foreign::Foreign;
use crate::identity::Client;
use crate::ids::{ById, KmsId};
use crate::keys::StableKeys;
use crate::kms::KekNames;
use crate::messages::TopicLook;
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
    /// Its log is to be looked at before it is written to.
    pub(super) needs_look: bool,
}

/// What is known of a topic's log.
pub(super) enum Looked {
    /// Nobody has been asked yet, or long ago: the caller does.
    Unasked,
    /// Somebody looks.
    Asked,
    Known(TopicLook),
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

/// What is known of the log of one topic.
enum Look {
    Asked(Instant),
    Known(TopicLook),
}

/// What was asked for is asked again after so long, if no answer came.
const ASK_AGAIN_AFTER: Duration = Duration::from_secs(20);

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

    /// What is known of the log of a topic. Whoever is told that nobody was asked asks.
    pub(super) fn look(&mut self, topic: &str, now: Instant) -> Looked {
        match self.looks.get(topic) {
            Some(Look::Known(look)) => return Looked::Known(look.clone()),
            Some(Look::Asked(at)) if now.saturating_duration_since(*at) < ASK_AGAIN_AFTER => {
                return Looked::Asked;
            }
            Some(Look::Asked(_)) | None => {}
        }
        if self.looks.len() >= self.topics_max {
            self.looks.clear();
        }
        self.looks.insert(topic.into(), Look::Asked(now));
        Looked::Unasked
    }

    /// A topic was looked at.
    pub(super) fn take_look(&mut self, topic: &str, look: TopicLook) {
        self.looks.insert(topic.into(), Look::Known(look));
        self.topics.remove(topic);
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
                needs_look: false,
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
            needs_look: false,
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
            let is_good = matches!(self.looks.get(name), Some(Look::Known(TopicLook::Good)));
            topic.needs_look = !is_good && (seal.keys.need_stable_keys() || self.stable_keys.is_some());
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
