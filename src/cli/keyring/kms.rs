//! What `sealwire keyring` asks KMSs for: whatever is stored was unwrapped once more and compared first.

use std::path::Path;
use std::time::Duration;

use tokio::runtime::Runtime;

use super::KeyringCommandError;
use crate::config::{Config, Overrides};
use crate::crypto::SecretKey;
use crate::foreign::Foreign;
use crate::keyring::{KeyringKey, KmsByName, NotOpened};
use crate::kms::{GeneratedDek, Kms, KmsError};

/// The KMSs of a configuration.
pub(super) struct Kmss {
    runtime: Runtime,
    config: Config,
    opened: KmsByName,
}

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
        let opened = KmsByName::new(config.kms.iter().map(|kms| {
            let opened = kms.kind.open().map_err(|error| error.to_string());
            (kms.name.clone(), opened)
        }));
        Ok(Self {
            runtime,
            config,
            opened,
        })
    }

    /// A new key, wrapped under the KEK.
    pub(super) fn generate(
        &self,
        name: &str,
        kek: &str,
    ) -> Result<(Box<[u8]>, SecretKey), KeyringCommandError> {
        let kms = self.kms(name)?;
        let GeneratedDek { dek, wrapped } = self.call((name, kek), "make a key", kms.generate_dek(kek))?;
        let again = self.call((name, kek), "unwrap what it has made", kms.unwrap_dek(&wrapped))?;
        compare(name, &again, &dek)?;
        Ok((wrapped, again))
    }

    /// The stable key wrapped anew: under its own KEK, or under that of `to`, a KMS and a KEK. Returns what the new
    /// form unwraps to.
    pub(super) fn rewrap(
        &self,
        entry: &KeyringKey,
        to: Option<(&str, &str)>,
    ) -> Result<(Box<[u8]>, SecretKey), KeyringCommandError> {
        let not_opened = |reason: NotOpened| KeyringCommandError::NotOpened {
            name: entry.name().to_owned(),
            why: reason.with_advice(|kms, kek, error| self.config.advice(kms, kek, error)),
        };
        let (from, _) = self.opened.of(entry.wrapped()).map_err(not_opened)?;
        let late = |kms: &str| NotOpened::Kms {
            kms: kms.to_owned(),
            kek: entry.kek_name(),
            error: no_answer(),
        };
        let opened = self.within_time(self.opened.open(entry));
        let key = opened.unwrap_or_else(|| Err(late(from))).map_err(not_opened)?;
        let own_kek = entry.kek().and_then(|parts| str::from_utf8(parts.kek).ok());
        let (name, kek) = to.unwrap_or((from, own_kek.unwrap_or_default()));
        let kms = self.kms(name)?;
        let wrapped = self.call(
            (name, kek),
            &format!("wrap the stable key {}", entry.name()),
            kms.wrap(kek, &key),
        )?;
        let again = self.call(
            (name, kek),
            "unwrap what it has wrapped",
            kms.unwrap_dek(&wrapped),
        )?;
        compare(name, &again, &key)?;
        Ok((wrapped, again))
    }

    fn kms(&self, name: &str) -> Result<&dyn Kms, KeyringCommandError> {
        self.opened.named(name).map_err(KeyringCommandError::Kms)
    }

    fn call<T>(
        &self,
        (kms, kek): (&str, &str),
        what: &str,
        call: impl Future<Output = Result<T, KmsError>>,
    ) -> Result<T, KeyringCommandError> {
        let answer = self.within_time(call).unwrap_or_else(|| Err(no_answer()));
        answer.map_err(|source| {
            let advice = self.config.advice(kms, kek, &source);
            KeyringCommandError::Call {
                what: format!("kms {kms} did not {what} under KEK {}", Foreign::new(kek)),
                source,
                advice,
            }
        })
    }

    fn within_time<T>(&self, call: impl Future<Output = T>) -> Option<T> {
        let answer = self
            .runtime
            .block_on(async { tokio::time::timeout(ANSWER_MAX, call).await });
        answer.ok()
    }
}

fn no_answer() -> KmsError {
    KmsError::Unavailable("no answer in time".to_owned())
}

fn compare(name: &str, one: &SecretKey, other: &SecretKey) -> Result<(), KeyringCommandError> {
    match one.is_same(other) {
        true => Ok(()),
        false => Err(KeyringCommandError::Kms(format!(
            "kms {name}: what it has wrapped unwraps to another key; nothing was changed"
        ))),
    }
}

/// One call, its login included: longer than any KMS takes that answers at all.
const ANSWER_MAX: Duration = Duration::from_secs(15);
