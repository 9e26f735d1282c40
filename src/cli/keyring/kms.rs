//! What `sealwire keyring` asks KMSs for: whatever is stored was unwrapped once more and compared first.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Runtime;

use super::KeyringCommandError;
use crate::config::{Config, Overrides};
use crate::crypto::SecretKey;
use crate::envelope::wrapped_dek::{WrappedDek, provider, version_text};
use crate::foreign::Foreign;
use crate::keyring::KeyringKey;
use crate::kms::{GeneratedDek, Kms, KmsError};

/// The KMSs of a configuration, by name; those that could not be opened with why.
pub(super) struct Kmss {
    runtime: Runtime,
    named: Vec<(String, Opened)>,
}

/// A KMS, or why there is none.
type Opened = Result<Arc<dyn Kms>, String>;

impl Kmss {
    /// Does `job` with the KMSs of the configuration in this file.
    pub(super) fn with(
        config: &Path,
        job: impl FnOnce(&Self) -> Result<(), KeyringCommandError>,
    ) -> Result<(), KeyringCommandError> {
        let kmss = Self::open(config)?;
        let done = job(&kmss);
        // A resolver that hangs is not waited for.
        kmss.runtime.shutdown_background();
        done
    }

    /// Blocks: with a keystore's passphrase for about a second.
    fn open(config: &Path) -> Result<Self, KeyringCommandError> {
        let config = Config::load(config, Overrides::default())
            .map_err(|errors| KeyringCommandError::Config(Box::new(errors)))?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(KeyringCommandError::Runtime)?;
        let named = config
            .kms
            .iter()
            .map(|kms| {
                let opened = kms.kind.open().map_err(|error| error.to_string());
                (kms.name.clone(), opened)
            })
            .collect();
        Ok(Self { runtime, named })
    }

    /// A new key, wrapped under the KEK.
    pub(super) fn generate(
        &self,
        name: &str,
        kek: &str,
    ) -> Result<(Box<[u8]>, SecretKey), KeyringCommandError> {
        let kms = self.kms(name)?;
        let GeneratedDek { dek, wrapped } = self.call(name, "make a key", kms.generate_dek(kek))?;
        let again = self.call(name, "unwrap what it has made", kms.unwrap_dek(&wrapped))?;
        self.compare(name, &again, &dek)?;
        Ok((wrapped, again))
    }

    /// The stable key wrapped anew: under its own KEK, or under that of `to`, a KMS and a KEK. Returns what the new
    /// form unwraps to.
    pub(super) fn rewrap(
        &self,
        entry: &KeyringKey,
        to: Option<(&str, &str)>,
    ) -> Result<(Box<[u8]>, SecretKey), KeyringCommandError> {
        let (from, own_kek) = self.kms_of(entry)?;
        let key = self.call(
            from,
            &format!("unwrap the stable key {}", entry.name()),
            self.kms(from)?.unwrap_dek(entry.wrapped()),
        )?;
        let key = entry.open(key)?;
        let (name, kek) = to.unwrap_or((from, own_kek));
        let kms = self.kms(name)?;
        let wrapped = self.call(
            name,
            &format!("wrap the stable key {}", entry.name()),
            kms.wrap(kek, &key),
        )?;
        let again = self.call(name, "unwrap what it has wrapped", kms.unwrap_dek(&wrapped))?;
        self.compare(name, &again, &key)?;
        Ok((wrapped, again))
    }

    fn compare(&self, name: &str, one: &SecretKey, other: &SecretKey) -> Result<(), KeyringCommandError> {
        match one.is_same(other) {
            true => Ok(()),
            false => Err(KeyringCommandError::Kms(format!(
                "kms {name}: what it has wrapped unwraps to another key; nothing was changed"
            ))),
        }
    }

    fn kms(&self, name: &str) -> Result<&dyn Kms, KeyringCommandError> {
        let refuse = |why: String| Err(KeyringCommandError::Kms(why));
        match self.named.iter().find(|(known, _)| known == name) {
            Some((_, Ok(kms))) => Ok(&**kms),
            Some((_, Err(why))) => refuse(format!("kms {name}: {why}")),
            None => {
                let known: Vec<_> = self.named.iter().map(|(name, _)| name.as_str()).collect();
                refuse(format!(
                    "the configuration has no KMS {}; it has: {}",
                    Foreign::new(name),
                    known.join(", ")
                ))
            }
        }
    }

    /// The KMS that has wrapped a stable key, and the KEK.
    fn kms_of<'k>(&'k self, entry: &'k KeyringKey) -> Result<(&'k str, &'k str), KeyringCommandError> {
        let kek = entry.kek().and_then(|parts| str::from_utf8(parts.kek).ok());
        let mut unopened = String::new();
        for (name, kms) in &self.named {
            match (kms, kek) {
                (Ok(kms), Some(kek)) if kms.kek_names().have_wrapped(entry.wrapped()) => {
                    return Ok((name, kek));
                }
                (Ok(_), _) => {}
                (Err(why), _) => unopened.push_str(&format!("; kms {name}: {why}")),
            }
        }
        Err(KeyringCommandError::Kms(format!(
            "stable key {}: no KMS of the configuration has wrapped it ({}){unopened}",
            entry.name(),
            kek_text(entry.wrapped())
        )))
    }

    fn call<T>(
        &self,
        name: &str,
        what: &str,
        call: impl Future<Output = Result<T, KmsError>>,
    ) -> Result<T, KeyringCommandError> {
        let answer = self
            .runtime
            .block_on(async { tokio::time::timeout(ANSWER_MAX, call).await });
        let answer = answer.unwrap_or_else(|_| Err(KmsError::Unavailable("no answer in time".to_owned())));
        answer.map_err(|source| KeyringCommandError::Call {
            what: format!("kms {name} did not {what}"),
            source,
        })
    }
}

/// Under what something is wrapped.
pub(super) fn kek_text(wrapped: &[u8]) -> String {
    let Ok(parts) = WrappedDek::parse(wrapped) else {
        return "nothing that is known".to_owned();
    };
    let kms = provider::name(parts.provider).unwrap_or("a provider that this version does not know");
    let kek = Foreign::new(parts.kek);
    match version_text(parts.version) {
        Some(version) => format!("{kms} {kek} version {version}"),
        None => format!("{kms} {kek}"),
    }
}

/// One call, its login included: longer than any KMS takes that answers at all.
const ANSWER_MAX: Duration = Duration::from_secs(15);
