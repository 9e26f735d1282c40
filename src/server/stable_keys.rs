//! The keyring: opened before anything is served, and followed for as long as the program runs.
//!
//! - STABLE-KEYS-1: every key that a pin names must open, or the program does not start; nor is a changed file used of
//!   which one does not. What was read before stays in force then, and the log says why.
//! - STABLE-KEYS-2: an outage takes no key away. A KMS that refuses its KEK does, at the latest with the next recheck;
//!   such a key is asked for again and again, and comes back when it is given.
//!
//! Control thread only.

mod changes;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, watch};
use tokio::task::spawn_blocking;
use tokio::time::sleep;

use super::ServerError;
use crate::admin::KeyringFacts;
use crate::audit::{AuditEvent, AuditList, AuditedKek, KekName};
use crate::clocks;
use crate::config::Config;
use crate::durable_file::FileIdentity;
use crate::envelope::StableKeyId;
use crate::envelope::wrapped_dek::version_text;
use crate::keyring::{self, Keyring, KeyringKey, KmsByName, NotOpened};
use crate::keys::{KeyFailure, NamedKms, StableKey, StableKeys};

/// See the module.
pub(super) struct StableKeysFile {
    path: PathBuf,
    kms: KmsByName,
    in_force: Arc<StableKeys>,
    /// The file as it was looked at last.
    seen: Option<FileIdentity>,
    /// It cannot be used, and this is when to try again.
    again_at: Option<Instant>,
    /// When each key is to be asked for again.
    due: Vec<(StableKeyId, Instant)>,
    told: watch::Sender<Option<KeyringFacts>>,
    /// What the audit log was not told yet.
    unaudited: AuditList,
}

/// What whoever wants to use a key is told that did not open.
fn failure_of(reason: &NotOpened) -> KeyFailure {
    match reason {
        NotOpened::NoKms { .. } => KeyFailure::KekNotFound,
        NotOpened::Forgeable(_) => KeyFailure::KekDenied,
        NotOpened::Kms { error, .. } => error.into(),
        NotOpened::Keyring(_) => KeyFailure::Malformed,
    }
}

impl StableKeysFile {
    /// That of the configuration, where it has one.
    ///
    /// # Errors
    /// Those of [`Self::open`].
    pub(super) async fn of(config: &Config, kms: &[NamedKms]) -> Result<Option<Self>, ServerError> {
        match &config.keyring {
            Some(path) => Self::open(path, kms).await.map(Some),
            None => Ok(None),
        }
    }

    /// Reads the keyring at `path` and opens its keys (STABLE-KEYS-1).
    ///
    /// # Errors
    /// [`ServerError::Keyring`], [`ServerError::StableKey`].
    pub(super) async fn open(path: &Path, kms: &[NamedKms]) -> Result<Self, ServerError> {
        let kms = kms
            .iter()
            .map(|named| (named.name.clone(), Ok(Arc::clone(&named.kms))));
        let (keyring, seen) = keyring::read_file(path)?;
        let told = watch::Sender::new(None);
        let mut file = Self {
            path: path.to_path_buf(),
            kms: KmsByName::new(kms),
            in_force: Arc::new(StableKeys::new(Keyring::default(), [])),
            seen: Some(seen),
            again_at: None,
            due: Vec::new(),
            told,
            unaudited: AuditList::default(),
        };
        let begun = clocks::now();
        loop {
            match file.opened(&keyring).await {
                Ok(keys) => {
                    file.use_keys(keys);
                    file.audit_loaded(None);
                    return Ok(file);
                }
                Err((_, _, reason))
                    if reason.may_pass() && clocks::now().duration_since(begun) < START_PATIENCE =>
                {
                    sleep(LOOK_INTERVAL).await;
                }
                Err((id, name, reason)) => {
                    let path = path.to_path_buf();
                    let reason = reason.to_string();
                    return Err(ServerError::StableKey {
                        path,
                        id,
                        name,
                        reason,
                    });
                }
            }
        }
    }

    /// What record keys are sealed with.
    pub(super) fn keys(&self) -> Arc<StableKeys> {
        Arc::clone(&self.in_force)
    }

    /// What is in force, whenever it changes.
    pub(super) fn watch(&self) -> watch::Receiver<Option<KeyringFacts>> {
        self.told.subscribe()
    }

    /// Follows the file, and asks KMSs, for as long as it is polled. The audit log is waited for by nobody.
    pub(super) async fn follow<T: Future<Output = ()>>(
        mut self,
        mut tell: impl FnMut(Arc<StableKeys>) -> T,
        audit: mpsc::Sender<AuditList>,
    ) {
        loop {
            self.tell_audit(&audit);
            sleep(LOOK_INTERVAL).await;
            if let Some(keys) = self.look().await {
                let before = self.in_force.keyring().fingerprint();
                self.use_keys(keys);
                self.audit_loaded(Some(before));
                tell(self.keys()).await;
            }
            if let Some(keys) = self.recheck().await {
                self.use_keys(keys);
                tell(self.keys()).await;
            }
        }
    }

    fn use_keys(&mut self, keys: StableKeys) {
        self.in_force = Arc::new(keys);
        let now = clocks::now();
        let due = |key: &KeyringKey| {
            let known = self.due.iter().find(|(id, _)| *id == key.id());
            known.map_or(now + self.interval(key, false), |(_, at)| *at)
        };
        let keys = self.in_force.keyring().keys().iter();
        self.due = keys.map(|key| (key.id(), due(key))).collect();
        self.tell_facts();
    }

    fn tell_facts(&self) {
        let keyring = self.in_force.keyring();
        let refused = self.in_force.keys().filter(|key| key.refusal().is_some());
        let facts = Some(KeyringFacts {
            fingerprint: keyring.fingerprint(),
            revision: keyring.revision(),
            keys: keyring.keys().len() as u64,
            refused: refused.count() as u64,
            is_current: self.again_at.is_none(),
        });
        self.told.send_if_modified(|before| {
            let is_new = *before != facts;
            *before = facts;
            is_new
        });
    }

    /// Looks whether the file has changed; its keys, if it can be used.
    async fn look(&mut self) -> Option<StableKeys> {
        let (path, before) = (self.path.clone(), self.seen);
        let is_due = self.again_at.is_some_and(|at| at <= clocks::now());
        let looked = spawn_blocking(move || {
            let seen = FileIdentity::of(&path).ok();
            (seen != before || is_due).then(|| (seen, keyring::read_file(&path)))
        });
        let (seen, read) = looked.await.ok()??;
        let is_told = seen == self.seen;
        self.seen = seen;
        let reason = match read {
            Ok((keyring, _)) => match self.opened(&keyring).await {
                Ok(keys) => {
                    tracing::info!(
                        path = %self.path.display(),
                        revision = keyring.revision(),
                        fingerprint = keyring.fingerprint(),
                        "the keyring changed and was read again"
                    );
                    changes::log(&changes::changes(self.in_force.keyring(), &keyring));
                    self.again_at = None;
                    return Some(keys);
                }
                Err((id, name, reason)) => format!("stable key {id} ({name}): {reason}"),
            },
            Err(error) => error.to_string(),
        };
        self.again_at = Some(clocks::now() + START_PATIENCE);
        self.tell_facts();
        if !is_told {
            tracing::error!(
                path = %self.path.display(),
                %reason,
                "the keyring changed but cannot be used; its former content stays in force"
            );
        }
        None
    }

    /// Every key of a keyring; those that are in force need not be asked for.
    async fn opened(&self, keyring: &Keyring) -> Result<StableKeys, (StableKeyId, String, NotOpened)> {
        let mut keys = Vec::new();
        for key in keyring.keys() {
            let before = self.in_force.keyring().key(key.id());
            if before.is_some_and(|before| before.opens_as(key))
                && let Some(known) = self.in_force.key(key.id())
            {
                keys.push(Arc::clone(known));
                continue;
            }
            let opened = self.kms.open(key).await;
            keys.push(Arc::new(match opened {
                Ok(opened) => StableKey::opened(key, opened),
                Err(reason) if keyring.pins().iter().any(|pin| pin.key() == key.id()) => {
                    return Err((key.id(), key.name().to_owned(), reason));
                }
                Err(reason) => {
                    tracing::warn!(
                        key = %key.id(), name = key.name(), %reason,
                        "a stable key that no pin names does not open"
                    );
                    StableKey::refused(key, failure_of(&reason))
                }
            }));
        }
        Ok(StableKeys::new(keyring.clone(), keys))
    }

    /// Under what a key is wrapped.
    fn kek_of(&self, key: &KeyringKey) -> AuditedKek {
        let kms = self.kms.of(key.wrapped()).ok().map(|(kms, _)| kms.into());
        let version = key.kek().and_then(|kek| version_text(kek.version));
        AuditedKek {
            kms: kms.unwrap_or_default(),
            kek: KekName::in_record(key.wrapped()),
            version,
        }
    }

    fn audit_loaded(&mut self, fingerprint_before: Option<String>) {
        let keyring = self.in_force.keyring();
        let (fingerprint, revision) = (keyring.fingerprint(), keyring.revision());
        self.audit(AuditEvent::KeyringLoaded {
            fingerprint,
            fingerprint_before,
            revision,
        });
    }

    fn audit(&mut self, event: AuditEvent) {
        if self.unaudited.events.len() < UNAUDITED_MAX {
            self.unaudited.events.push(event);
        } else {
            self.unaudited.left_out = self.unaudited.left_out.saturating_add(1);
        }
    }

    fn tell_audit(&mut self, audit: &mpsc::Sender<AuditList>) {
        if self.unaudited.events.is_empty() {
            return;
        }
        if let Err(TrySendError::Full(list)) = audit.try_send(std::mem::take(&mut self.unaudited)) {
            self.unaudited = list;
        }
    }

    /// How long a key is left alone.
    fn interval(&self, key: &KeyringKey, is_refused: bool) -> Duration {
        match self.kms.of(key.wrapped()) {
            Ok((_, kms)) if is_refused => kms.verdict_memory(),
            Ok((_, kms)) => kms.recheck_interval(),
            Err(_) => LOOK_INTERVAL,
        }
    }

    /// Asks for keys whose time has come (STABLE-KEYS-2); what is in force from now on, if that is something else.
    async fn recheck(&mut self) -> Option<StableKeys> {
        let in_force = self.keys();
        let mut changed: Vec<Arc<StableKey>> = Vec::new();
        for key in in_force.keyring().keys() {
            let now = clocks::now();
            let Some(place) = self.due.iter().position(|(id, at)| *id == key.id() && *at <= now) else {
                continue;
            };
            let Some(known) = in_force.key(key.id()) else {
                continue;
            };
            let asked = self.kms.open(key).await;
            let mut is_refused = known.refusal().is_some();
            match asked {
                Ok(opened) if is_refused => {
                    tracing::info!(key = %key.id(), name = key.name(), "a stable key that was refused is given again");
                    self.audit(AuditEvent::StableKeyGiven {
                        stable_key: key.id().to_string(),
                        key: self.kek_of(key),
                    });
                    changed.push(Arc::new(StableKey::opened(key, opened)));
                    is_refused = false;
                }
                Ok(_) => {}
                Err(reason) if reason.may_pass() || is_refused => {}
                // What is at hand was compared when it was opened.
                Err(reason @ NotOpened::Keyring(_)) => tracing::error!(
                    key = %key.id(), name = key.name(), %reason,
                    "a KMS gave another key than before for a stable key; the one at hand stays in use"
                ),
                Err(reason) => {
                    tracing::error!(
                        key = %key.id(), name = key.name(), %reason,
                        "a stable key is refused: record keys are neither sealed nor opened under it any more"
                    );
                    let failure = failure_of(&reason);
                    known.refuse(failure);
                    self.audit(AuditEvent::StableKeyRefused {
                        stable_key: key.id().to_string(),
                        key: self.kek_of(key),
                        reason: failure.reason(),
                    });
                    changed.push(Arc::new(StableKey::refused(key, failure)));
                    is_refused = true;
                }
            }
            let next = clocks::now() + self.interval(key, is_refused);
            if let Some((_, at)) = self.due.get_mut(place) {
                *at = next;
            }
        }
        if changed.is_empty() {
            return None;
        }
        // The later of one id counts.
        let keys = in_force.keys().cloned().chain(changed);
        Some(StableKeys::new(in_force.keyring().clone(), keys))
    }
}

/// Events that wait for the audit log.
const UNAUDITED_MAX: usize = 256;
/// How often the file is looked at.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// How long a start waits for a KMS that does not answer; and when a file that cannot be used is tried again.
const START_PATIENCE: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests;
