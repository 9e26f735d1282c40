//! The KMS that has wrapped a stable key gives it back: for the start, the self-check and the command line.

use std::sync::Arc;

use super::{KeyringError, KeyringKey};
use crate::crypto::SecretKey;
use crate::envelope::wrapped_dek::{WrappedDek, kms_text, version_text};
use crate::foreign::Foreign;
use crate::kms::{Kms, KmsError};

/// The KMSs of a configuration, by name; those that could not be opened with why.
pub(crate) struct KmsByName(Vec<(String, OpenedKms)>);

/// A KMS, or why there is none.
pub(crate) type OpenedKms = Result<Arc<dyn Kms>, String>;

/// Why a key of the keyring cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotOpened {
    #[error("no KMS of the configuration has wrapped it: it is under {under}; the configuration has {known}")]
    NoKms { under: String, known: String },
    #[error("KMS {0:?} has a wrapping key that is public: it cannot vouch for a stable key")]
    Forgeable(String),
    #[error("KMS {kms:?}, KEK {kek}: {}", of_stable_key(error))]
    Kms {
        kms: String,
        kek: String,
        error: KmsError,
    },
    #[error(transparent)]
    Keyring(#[from] KeyringError),
}

impl NotOpened {
    /// Whether asking again may help.
    pub(crate) fn may_pass(&self) -> bool {
        matches!(self, Self::Kms { error, .. } if !error.is_verdict())
    }

    /// What it says, and behind it what `advice` has for this error of this KMS about this KEK.
    pub(crate) fn with_advice(&self, advice: impl FnOnce(&str, &str, &KmsError) -> String) -> String {
        let advice = match self {
            Self::Kms { kms, kek, error } => advice(kms, kek, error),
            _ => String::new(),
        };
        format!("{self}{advice}")
    }
}

/// What a KMS says of a wrapped stable key, which it takes for a data key.
fn of_stable_key(error: &KmsError) -> String {
    match error {
        KmsError::Malformed => {
            "the wrapped stable key is malformed or was altered; restore the keyring from a backup".to_owned()
        }
        error => error.to_string(),
    }
}

impl KmsByName {
    pub(crate) fn new(kms: impl IntoIterator<Item = (String, OpenedKms)>) -> Self {
        Self(kms.into_iter().collect())
    }

    /// The KMS of this name, or why there is none.
    pub(crate) fn named(&self, name: &str) -> Result<&dyn Kms, String> {
        match self.0.iter().find(|(known, _)| known == name) {
            Some((_, Ok(kms))) => Ok(&**kms),
            Some((_, Err(why))) => Err(format!("kms {name}: {why}")),
            None => {
                let known: Vec<_> = self.0.iter().map(|(name, _)| name.as_str()).collect();
                Err(format!(
                    "the configuration has no KMS {}; it has: {}",
                    Foreign::new(name),
                    known.join(", ")
                ))
            }
        }
    }

    /// The KMS that has wrapped this, with its name.
    pub(crate) fn of(&self, wrapped: &[u8]) -> Result<(&str, &dyn Kms), NotOpened> {
        let mut opened = self
            .0
            .iter()
            .filter_map(|(name, kms)| Some((&**name, &**kms.as_ref().ok()?)));
        let found = opened.find(|(_, kms)| kms.kek_names().have_wrapped(wrapped));
        found.ok_or_else(|| NotOpened::NoKms {
            under: kek_text(wrapped),
            known: self.known(),
        })
    }

    /// Has its KMS unwrap a stable key, and compares it with what the keyring says of it (KEYRING-2).
    pub(crate) async fn open(&self, key: &KeyringKey) -> Result<SecretKey, NotOpened> {
        let (name, kms) = self.of(key.wrapped())?;
        if kms.wraps_publicly() {
            return Err(NotOpened::Forgeable(name.to_owned()));
        }
        let failed = |error| NotOpened::Kms {
            kms: name.to_owned(),
            kek: key.kek_name(),
            error,
        };
        kms.check_wrapped(key.wrapped()).map_err(failed)?;
        let unwrapped = kms.recheck(key.wrapped()).await.map_err(failed)?;
        Ok(key.open(unwrapped)?)
    }

    /// Each KMS with what tells it from others.
    fn known(&self) -> String {
        let text = |(name, kms): &(String, OpenedKms)| match kms {
            Ok(kms) => format!("{name} ({})", kms.kek_names().kms_text()),
            Err(why) => format!("{name} (which cannot be used: {why})"),
        };
        let known: Vec<_> = self.0.iter().map(text).collect();
        known.join(", ")
    }
}

/// Under what something is wrapped: the KMS, the KEK and its version.
pub(crate) fn kek_text(wrapped: &[u8]) -> String {
    let Ok(parts) = WrappedDek::parse(wrapped) else {
        return "nothing that is known".to_owned();
    };
    let kms = kms_text(parts.provider, parts.authority);
    let kek = Foreign::new(parts.kek);
    match version_text(parts.version) {
        Some(version) => format!("{kms}, KEK {kek}, version {version}"),
        None => format!("{kms}, KEK {kek}"),
    }
}
