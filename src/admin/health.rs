//! Live and ready, with the reasons when not.

use std::time::{Duration, Instant};

use serde::Serialize;

use super::{AccessFacts, Collection, EXECUTOR_TIMEOUT, LIVENESS_TIMEOUT, TlsFacts};
use crate::audit::AuditState;
use crate::keys::statistics::KmsState;

/// The answer of a probe: served as JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Health {
    /// The verdict.
    pub ok: bool,
    /// Why not, one sentence each; empty when all is well.
    pub reasons: Vec<String>,
    /// What is wrong without making the verdict worse.
    pub warnings: Vec<String>,
    /// Executors that answered.
    pub executors_answering: usize,
    /// Executors that there are.
    pub executors: usize,
}

impl Health {
    /// The verdict when the facts themselves did not arrive.
    pub(super) fn unknown() -> Self {
        Self {
            ok: false,
            reasons: vec!["the control thread did not answer in time".to_owned()],
            warnings: Vec::new(),
            executors_answering: 0,
            executors: 0,
        }
    }

    /// Whether new connections should be sent here.
    pub(super) fn ready(collection: &Collection) -> Self {
        let mut health = Self::of_executors(collection);
        if collection.executors.is_empty() {
            health.reasons.push("no executor runs".to_owned());
        }
        for (executor, snapshot) in collection.executors.iter().enumerate() {
            if snapshot.is_none() {
                let seconds = EXECUTOR_TIMEOUT.as_secs();
                let reason = format!("executor {executor} did not answer within {seconds} s");
                health.reasons.push(reason);
            }
        }
        let now = Instant::now();
        let silent: Vec<(&str, Duration)> = collection
            .kms()
            .filter_map(|(name, kms)| match kms.state(now) {
                KmsState::Silent(silent) => Some((name, silent)),
                KmsState::Unasked | KmsState::Answering => None,
            })
            .collect();
        let keys = collection.executors.iter().flatten().map(|snapshot| {
            let gauges = snapshot.gauges;
            gauges.sealing_keys.saturating_add(gauges.opening_keys)
        });
        let has_keys = keys.fold(0, u64::saturating_add) > 0;
        for (name, silent) in &silent {
            let text = format!("KMS {name:?} has not answered for {} s", silent.as_secs());
            health.warnings.push(text);
        }
        for (name, _) in collection.kms().filter(|(_, kms)| kms.is_stale()) {
            health.warnings.push(format!(
                "the keystore of KMS {name:?} cannot be used as it is now: what was read before stays in force, and \
                 the log says why"
            ));
        }
        if !silent.is_empty() && silent.len() == collection.kms_names.len() && !has_keys {
            health
                .reasons
                .push("no KMS answers, and no key is at hand: nothing can be sealed or opened".to_owned());
        }
        for hidden in collection.hidden.iter().filter(|hidden| !hidden.nodes.is_empty()) {
            let (count, all) = (hidden.nodes.len(), &hidden.all);
            let text = format!(
                "listener {:?} of cluster {:?} hides {count} brokers from clients: its `nodes` would have to be \
                 {all:?}",
                hidden.listener, hidden.cluster
            );
            health.warnings.push(text);
        }
        health.take_issuers(collection);
        health.take_files(collection);
        let (served, wanted) = collection.connections;
        if served < wanted {
            health.warnings.push(format!(
                "{served} connections are served and not limits.connections_max = {wanted}: the limit of file \
                 descriptors is too low"
            ));
        }
        health.take_keyring(collection);
        health.take_audit(&collection.audit);
        if collection.draining {
            health
                .reasons
                .push("draining: the program was told to stop".to_owned());
        }
        health.ok = health.reasons.is_empty();
        health
    }

    /// Whoever issues tokens and gives none, or does not say how they are signed.
    fn take_issuers(&mut self, collection: &Collection) {
        for set in collection.key_sets.iter().filter(|set| set.keys == 0) {
            self.warnings.push(format!(
                "the key set of listener {:?} of cluster {:?} could not be fetched yet: nobody logs in by a token",
                set.listener, set.cluster
            ));
        }
        for facts in &collection.broker_tokens {
            let cluster = &facts.cluster;
            if facts.is_refused {
                self.warnings.push(format!(
                    "the token endpoint of cluster {cluster:?} refuses the proxy's client, and the log says why"
                ));
            }
            if facts.ends == 0 {
                self.warnings.push(format!(
                    "there is no token for brokers of cluster {cluster:?}: nobody is logged in there"
                ));
            }
        }
    }

    /// Files that have changed and cannot be used.
    fn take_files(&mut self, collection: &Collection) {
        const STAYS: &str =
            "cannot be used as it is now: what was read before stays in force, and the log says why";
        const IN_PART: &str = "cannot be used as it is now, or a certificate of it cannot: what was read before \
                               of that stays in force, and the log says why";
        for facts in collection.tls.iter().filter(|facts| !facts.is_current) {
            let TlsFacts {
                cluster, listener, ..
            } = facts;
            let whose = match listener.as_str() {
                "" => format!("cluster {cluster:?} towards brokers"),
                listener => format!("listener {listener:?} of cluster {cluster:?}"),
            };
            self.warnings.push(format!("a file of TLS of {whose} {STAYS}"));
        }
        for facts in collection.access.iter().filter(|facts| !facts.is_current) {
            let AccessFacts {
                kind, cluster, name, ..
            } = facts;
            let what = match *kind {
                "credentials" => "the credentials file of listener",
                "key_set" => "the key set of listener",
                "accounts" => "the file of accounts at brokers",
                "own_account" => "the file of the proxy's own secret for brokers",
                _ => "the file of group",
            };
            let whose = match name.as_str() {
                "" => String::new(),
                name => format!(" {name:?}"),
            };
            let stays = match *kind {
                "accounts" => IN_PART,
                _ => STAYS,
            };
            self.warnings
                .push(format!("{what}{whose} of cluster {cluster:?} {stays}"));
        }
    }

    fn take_keyring(&mut self, collection: &Collection) {
        let Some(facts) = &collection.keyring else { return };
        if !facts.is_current {
            self.warnings.push(
                "the keyring cannot be used as it is now: what was read before stays in force, and the log says why"
                    .to_owned(),
            );
        }
        if facts.refused > 0 {
            self.warnings.push(format!(
                "{} of {} stable keys of the keyring may not be used, and the log says why",
                facts.refused, facts.keys
            ));
        }
    }

    fn take_audit(&mut self, audit: &AuditState) {
        let Some(fault) = audit.fault() else { return };
        if audit.holds() {
            let text = format!("the audit log cannot be written, and all that is audited waits: {fault}");
            self.reasons.push(text);
        } else {
            let text = format!("the audit log cannot be written, and events may be lost: {fault}");
            self.warnings.push(text);
        }
    }

    fn of_executors(collection: &Collection) -> Self {
        Self {
            ok: true,
            reasons: Vec::new(),
            warnings: Vec::new(),
            executors_answering: collection.executors.iter().flatten().count(),
            executors: collection.executors.len(),
        }
    }
}

/// Remembers since when each executor has been silent, over the questions that were asked.
#[derive(Debug, Default)]
pub(super) struct Liveness {
    silent_since: Vec<Option<Instant>>,
}

impl Liveness {
    /// Takes note of who answered at `now`.
    pub(super) fn observe(&mut self, collection: &Collection, now: Instant) {
        self.silent_since.resize(collection.executors.len(), None);
        for (since, snapshot) in self.silent_since.iter_mut().zip(&collection.executors) {
            *since = match snapshot {
                Some(_) => None,
                None => since.or(Some(now)),
            };
        }
    }

    /// Whether the process still does its work.
    pub(super) fn verdict(&self, collection: &Collection, now: Instant) -> Health {
        let mut health = Health::of_executors(collection);
        for (executor, since) in self.silent_since.iter().enumerate() {
            let Some(since) = since else { continue };
            let silent = now.saturating_duration_since(*since);
            if silent >= LIVENESS_TIMEOUT {
                let seconds = silent.as_secs();
                let reason = format!("executor {executor} has not answered for {seconds} s");
                health.reasons.push(reason);
            }
        }
        health.ok = health.reasons.is_empty();
        health
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::admin::{BrokerTokenFacts, Hidden, KeySetFacts, KeyringFacts};
    use crate::config::OnFull;
    use crate::keys::statistics::KeyStatistics;
    use crate::metrics::Snapshot;

    fn collection(executors: Vec<Option<Snapshot>>, kms_answers: bool) -> Collection {
        Collection {
            executors,
            keys: Some(Arc::new(KeyStatistics::for_test(&[kms_answers]))),
            kms_names: vec!["local".to_owned()],
            draining: false,
            hidden: Vec::new(),
            tls: Vec::new(),
            access: Vec::new(),
            key_sets: Vec::new(),
            tokens: Vec::new(),
            broker_tokens: Vec::new(),
            keyring: None,
            connections: (10, 10),
            audit: Arc::default(),
        }
    }

    #[test]
    fn fewer_connections_than_wanted_are_a_warning() {
        let mut collection = collection(vec![Some(Snapshot::default())], true);
        assert!(Health::ready(&collection).warnings.is_empty());
        collection.connections = (9, 10);
        let health = Health::ready(&collection);
        assert!(health.ok && health.warnings.len() == 1);
    }

    /// AUDIT-4
    #[test]
    fn an_audit_log_that_cannot_be_written_is_a_reason_or_a_warning() {
        for (on_full, counts) in [(OnFull::Hold, (1, 0)), (OnFull::Drop, (0, 1))] {
            let mut collection = collection(vec![Some(Snapshot::default())], true);
            collection.audit = Arc::new(AuditState::new(on_full));
            assert!(Health::ready(&collection).ok);
            collection.audit.fail_for_test(true);
            let health = Health::ready(&collection);
            assert_eq!((health.reasons.len(), health.warnings.len()), counts);
            assert_eq!(health.ok, on_full == OnFull::Drop);
        }
    }

    #[test]
    fn a_keyring_that_cannot_be_used_and_keys_that_are_refused_are_warnings() {
        let mut collection = collection(vec![Some(Snapshot::default())], true);
        for (is_current, refused, warnings) in [(true, 0, 0), (false, 0, 1), (true, 1, 1), (false, 1, 2)] {
            collection.keyring = Some(KeyringFacts {
                keys: 2,
                refused,
                is_current,
                ..KeyringFacts::default()
            });
            let health = Health::ready(&collection);
            assert!(health.ok && health.warnings.len() == warnings);
        }
    }

    #[test]
    fn a_token_that_is_not_given_is_a_warning() {
        let mut collection = collection(vec![Some(Snapshot::default())], true);
        for (ends, is_refused, warnings) in [(1, false, 0), (1, true, 1), (0, false, 1), (0, true, 2)] {
            collection.broker_tokens = vec![BrokerTokenFacts {
                ends,
                is_refused,
                ..BrokerTokenFacts::default()
            }];
            let health = Health::ready(&collection);
            assert!(health.ok);
            assert_eq!(health.warnings.len(), warnings, "{:?}", health.warnings);
        }
    }

    #[test]
    fn a_key_set_that_was_never_fetched_is_a_warning() {
        let mut collection = collection(vec![Some(Snapshot::default())], true);
        for (keys, warnings) in [(1, 0), (0, 1)] {
            collection.key_sets = vec![KeySetFacts {
                keys,
                ..KeySetFacts::default()
            }];
            let health = Health::ready(&collection);
            assert!(health.ok && health.warnings.len() == warnings, "{health:?}");
        }
    }

    #[test]
    fn files_that_cannot_be_used_are_warnings() {
        let mut collection = collection(vec![Some(Snapshot::default())], true);
        for (is_current, warnings) in [(true, 0), (false, 2)] {
            collection.tls = vec![TlsFacts {
                is_current,
                ..TlsFacts::default()
            }];
            collection.access = vec![AccessFacts {
                kind: "group",
                name: "payers".to_owned(),
                is_current,
                ..AccessFacts::default()
            }];
            let health = Health::ready(&collection);
            assert!(health.ok && health.warnings.len() == warnings, "{health:?}");
            let names = |text: &String| text.starts_with("the file of group \"payers\"");
            assert_eq!(health.warnings.iter().any(names), !is_current);
        }
        collection.access = vec![AccessFacts {
            kind: "accounts",
            ..AccessFacts::default()
        }];
        let warnings = Health::ready(&collection).warnings;
        assert!(
            warnings
                .iter()
                .any(|text| text.contains("or a certificate of it cannot")),
            "{warnings:?}"
        );
    }

    #[test]
    fn brokers_that_clients_do_not_see_are_a_warning() {
        let hidden = |nodes: &[i32]| Hidden {
            cluster: "main".to_owned(),
            listener: "lan".to_owned(),
            nodes: nodes.to_vec(),
            all: "100-102".to_owned(),
        };
        let mut collection = collection(vec![Some(Snapshot::default())], true);
        collection.hidden = vec![hidden(&[])];
        assert!(Health::ready(&collection).warnings.is_empty());
        collection.hidden = vec![hidden(&[100, 101, 102])];
        let health = Health::ready(&collection);
        assert!(health.ok && health.warnings.len() == 1);
        assert!(
            health.warnings[0].contains("\"100-102\""),
            "{:?}",
            health.warnings
        );
    }

    #[test]
    fn a_kms_that_does_not_answer_is_a_warning_while_there_are_keys() {
        let mut snapshot = Snapshot::default();
        let health = Health::ready(&collection(vec![Some(snapshot.clone())], true));
        assert!(health.ok && health.warnings.is_empty());
        let health = Health::ready(&collection(vec![Some(snapshot.clone())], false));
        assert!(!health.ok && health.reasons.len() == 1 && health.warnings.len() == 1);
        snapshot.gauges.sealing_keys = 1;
        let health = Health::ready(&collection(vec![Some(snapshot)], false));
        assert!(health.ok && health.warnings.len() == 1);
    }

    #[test]
    fn a_keystore_that_cannot_be_used_is_a_warning() {
        let collection = collection(vec![Some(Snapshot::default())], true);
        if let Some((_, kms)) = collection.kms().next() {
            kms.set_stale(true);
        }
        let health = Health::ready(&collection);
        assert!(health.ok);
        assert_eq!(health.warnings.len(), 1);
    }

    #[test]
    fn not_ready_without_executors_with_a_silent_one_or_while_draining() {
        assert!(!Health::ready(&collection(Vec::new(), true)).ok);
        let silent = vec![Some(Snapshot::default()), None];
        let health = Health::ready(&collection(silent, true));
        assert!(!health.ok);
        assert_eq!((health.executors_answering, health.executors), (1, 2));
        let mut draining = collection(vec![Some(Snapshot::default())], true);
        draining.draining = true;
        assert!(!Health::ready(&draining).ok);
    }

    #[test]
    fn alive_until_an_executor_is_silent_for_the_whole_time_out() {
        let start = Instant::now();
        let silent = collection(vec![None], true);
        let mut liveness = Liveness::default();
        liveness.observe(&silent, start);
        let before = start + LIVENESS_TIMEOUT - Duration::from_millis(1);
        assert!(liveness.verdict(&silent, before).ok);
        assert!(!liveness.verdict(&silent, start + LIVENESS_TIMEOUT).ok);
        let answering = collection(vec![Some(Snapshot::default())], true);
        liveness.observe(&answering, start + LIVENESS_TIMEOUT);
        assert!(liveness.verdict(&answering, start + LIVENESS_TIMEOUT).ok);
    }
}
