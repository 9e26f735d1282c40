//! The transit engine of HashiCorp Vault or OpenBao as a KMS (provider 2).
//!
//! ```text
//! authority  SHA-256("sealwire/vault/1" | identity | 0 | namespace | 0 | mount)[0..4]
//! kek        the transit key's name
//! version    of that key, shortest big-endian
//! blob       the bytes behind "vault:vN:", out of their base64
//! ```
//!
//! - VAULT-1: a name that does not fit into a path as it is names no KEK: no record leads a call elsewhere.
//! - VAULT-2: 403 says nothing of whom it is about. Where the token is known to be good, it is a verdict about the KEK;
//!   else there is a new login, once, and where that does not help it is about the proxy's own credentials.
//! - VAULT-3: a KEK whose wrapping key is public, or that needs more than a name, is refused for both ways.
//! - VAULT-4: a refusal that is not in Vault's own form comes from something in front of it, and is an outage.
//!
//! What it asks of the policy: `update` on MOUNT/datakey/plaintext/KEK and MOUNT/decrypt/KEK, `read` on MOUNT/keys/KEK;
//! whoever wraps keys that exist, also `update` on MOUNT/encrypt/KEK.
#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "the control thread uses it, executors never"
)]

mod answers;
mod login;

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use reqwest::{Method, StatusCode};
use zeroize::Zeroizing;

use self::answers::{Ciphertext, TransitKey, verdict_of};
use self::login::{Session, VaultRequest, json_body};
pub use self::login::{VaultLogin, VaultServer};
use super::http::HttpAnswer;
use super::versions::{shortest, version_number};
use super::{GeneratedDek, KekNames, Kms, KmsError, written};
use crate::crypto::SecretKey;
use crate::envelope::WrappedDek;
use crate::envelope::wrapped_dek::{authority_of, provider};

/// Where the keys are, and how the proxy gets at them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VaultSettings {
    /// The server.
    pub server: VaultServer,
    /// Where its transit engine is mounted.
    pub mount: String,
    /// What stands for the server in what is stored, instead of its address.
    pub identity: Option<String>,
    /// How the proxy logs in.
    pub login: VaultLogin,
}

/// One transit engine.
pub struct VaultKms {
    session: Session,
    mount: String,
    authority: [u8; 4],
    /// KEKs that were found to be of a kind that is taken (VAULT-3), and when: one may be deleted and made anew as
    /// another kind.
    suitable: Mutex<HashMap<String, Instant>>,
}

impl VaultKms {
    /// Does not connect.
    #[must_use]
    pub fn new(settings: VaultSettings) -> Self {
        Self {
            authority: settings.authority(),
            mount: settings.mount,
            session: Session::new(settings.server, settings.login),
            suitable: Mutex::default(),
        }
    }

    async fn ask(
        &self,
        method: Method,
        path: &[&str],
        body: Option<Zeroizing<Vec<u8>>>,
        right: &'static str,
    ) -> Result<HttpAnswer, KmsError> {
        let mut whole: Vec<&str> = self.mount.split('/').collect();
        whole.extend(path);
        let request = VaultRequest::new(method, &whole, body);
        let answer = self.session.ask(&request).await?;
        if answer.status == StatusCode::FORBIDDEN {
            // VAULT-2
            let path = whole.join("/");
            return Err(KmsError::KekDenied(format!(
                "no policy of the proxy's token has {right} on {path}"
            )));
        }
        Ok(answer)
    }

    async fn transit_key(&self, kek: &str) -> Result<TransitKey, KmsError> {
        let answer = self.ask(Method::GET, &["keys", kek], None, "read").await?;
        match answer.status {
            StatusCode::OK => TransitKey::parse(&answer.body),
            _ => Err(verdict_of(&answer)),
        }
    }

    /// VAULT-3
    async fn check_kind(&self, kek: &str) -> Result<(), KmsError> {
        let found_at = self.suitable().get(kek).copied();
        if found_at.is_some_and(|at| at.elapsed() < SUITABLE_FOR) {
            return Ok(());
        }
        self.transit_key(kek).await?.check_kind()?;
        let mut suitable = self.suitable();
        if suitable.len() >= SUITABLE_MAX {
            suitable.clear();
        }
        suitable.insert(kek.to_owned(), Instant::now());
        Ok(())
    }

    fn suitable(&self) -> std::sync::MutexGuard<'_, HashMap<String, Instant>> {
        self.suitable.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The KEK, and what it is to decrypt.
    fn parse<'w>(&self, wrapped: &'w [u8]) -> Result<(&'w str, Ciphertext), KmsError> {
        let parsed = WrappedDek::parse(wrapped).map_err(|_| KmsError::Malformed)?;
        if parsed.provider != provider::VAULT_TRANSIT || parsed.authority != self.authority {
            return Err(KmsError::KekNotFound);
        }
        let kek = str::from_utf8(parsed.kek).map_err(|_| KmsError::KekNotFound)?;
        check_name(kek)?;
        let version = version_number(parsed.version).ok_or(KmsError::Malformed)?;
        Ok((kek, Ciphertext::of(version, parsed.blob)?))
    }

    /// As it is stored.
    fn stored(&self, kek: &str, ciphertext: &Ciphertext) -> Result<Box<[u8]>, KmsError> {
        written(&WrappedDek {
            provider: provider::VAULT_TRANSIT,
            authority: self.authority,
            kek: kek.as_bytes(),
            version: shortest(&ciphertext.version().to_be_bytes()),
            blob: ciphertext.bytes(),
        })
    }

    async fn unwrap(&self, wrapped: &[u8]) -> Result<SecretKey, KmsError> {
        let (kek, ciphertext) = self.parse(wrapped)?;
        let version = ciphertext.version();
        self.check_kind(kek).await?;
        let body = json_body(&serde_json::json!({ "ciphertext": ciphertext.text() }));
        let answer = self
            .ask(Method::POST, &["decrypt", kek], Some(body), "update")
            .await?;
        if answer.status == StatusCode::OK {
            return answers::plaintext(&answer.body);
        }
        match verdict_of(&answer) {
            // Which versions there are no more is not said.
            KmsError::KekDisabled if !self.transit_key(kek).await?.has(version) => {
                Err(KmsError::KekDestroyed)
            }
            KmsError::KekVersionNotFound(_) => Err(KmsError::KekVersionNotFound(version.to_string())),
            error => Err(error),
        }
    }
}

#[async_trait]
impl Kms for VaultKms {
    fn kek_names(&self) -> KekNames {
        KekNames::as_written(provider::VAULT_TRANSIT, self.authority)
    }

    fn check_kek(&self, kek: &str) -> Result<(), KmsError> {
        self.kek_names().id(kek).ok_or(KmsError::KekNotFound)?;
        check_name(kek)
    }

    fn check_wrapped(&self, wrapped: &[u8]) -> Result<(), KmsError> {
        self.parse(wrapped).map(drop)
    }

    async fn generate_dek(&self, kek: &str) -> Result<GeneratedDek, KmsError> {
        check_name(kek)?;
        self.check_kind(kek).await?;
        let body = json_body(&serde_json::json!({ "bits": 256 }));
        let path = ["datakey", "plaintext", kek];
        let answer = self.ask(Method::POST, &path, Some(body), "update").await?;
        if answer.status != StatusCode::OK {
            return Err(verdict_of(&answer));
        }
        let (dek, ciphertext) = answers::data_key(&answer.body)?;
        let wrapped = self.stored(kek, &ciphertext)?;
        Ok(GeneratedDek { dek, wrapped })
    }

    async fn wrap(&self, kek: &str, key: &SecretKey) -> Result<Box<[u8]>, KmsError> {
        check_name(kek)?;
        // Asked each time: a root token's `encrypt` makes a KEK that is not there.
        self.transit_key(kek).await?.check_kind()?;
        let body = answers::to_be_wrapped(key)?;
        let answer = self
            .ask(Method::POST, &["encrypt", kek], Some(body), "update")
            .await?;
        if answer.status != StatusCode::OK {
            return Err(verdict_of(&answer));
        }
        self.stored(kek, &answers::wrapped(&answer.body)?)
    }

    async fn unwrap_dek(&self, wrapped: &[u8]) -> Result<SecretKey, KmsError> {
        self.unwrap(wrapped).await
    }

    async fn recheck(&self, wrapped: &[u8]) -> Result<SecretKey, KmsError> {
        self.unwrap(wrapped).await
    }

    async fn current_version(&self, kek: &str) -> Result<Option<Vec<u8>>, KmsError> {
        check_name(kek)?;
        let key = self.transit_key(kek).await?;
        key.check_kind()?;
        Ok(Some(shortest(&key.latest_version.to_be_bytes()).to_vec()))
    }

    async fn background(&self) {
        self.session.keep().await;
    }

    fn wraps_publicly(&self) -> bool {
        // VAULT-3
        false
    }
}

impl VaultSettings {
    /// What tells this engine from others in what is stored.
    #[must_use]
    pub fn authority(&self) -> [u8; 4] {
        let identity = self.identity.as_deref().unwrap_or(self.server.address.as_str());
        let namespace = self.server.namespace.as_deref().unwrap_or_default();
        let text = format!("sealwire/vault/1{identity}\0{namespace}\0{}", self.mount);
        authority_of(text.as_bytes())
    }
}

/// VAULT-1
fn check_name(kek: &str) -> Result<(), KmsError> {
    // It has neither at its beginning, and no path is one.
    if !kek.is_empty() && !kek.starts_with(['-', '.']) && may_contain(kek) {
        Ok(())
    } else {
        Err(KmsError::KekNotFound)
    }
}

/// Whether the name of a transit key can have this in it.
#[must_use]
pub fn may_contain(text: &str) -> bool {
    text.bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.'))
}

/// As long as it takes until a revocation is noticed.
const SUITABLE_FOR: Duration = Duration::from_secs(300);
/// KEKs of rules; more than these are looked at anew.
const SUITABLE_MAX: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret_source::SecretSource;

    /// KMS-4
    #[test]
    fn what_its_bytes_or_its_name_say_is_said_without_a_call() {
        let kms = VaultKms::new(VaultSettings {
            server: VaultServer {
                address: reqwest::Url::parse("https://vault.example.com").expect("a URL"),
                namespace: None,
                tls: None,
            },
            mount: "transit".to_owned(),
            identity: None,
            login: VaultLogin::Token(SecretSource::Environment("TOKEN".to_owned())),
        });
        let check = |kek: &str, version: &[u8], blob: &[u8]| {
            let wrapped = kms.kek_names().wrapped(kek, version, blob);
            kms.check_wrapped(&wrapped.expect("it fits"))
        };
        assert_eq!(check("payments", &[1], b"blob"), Ok(()));
        for (version, blob) in [
            (&[][..], &b"blob"[..]),
            (&[0], b"blob"),
            (&[1; 5], b"blob"),
            (&[1], b""),
        ] {
            assert_eq!(check("payments", version, blob), Err(KmsError::Malformed));
        }
        assert_eq!(check("../sys", &[1], b"blob"), Err(KmsError::KekNotFound));
        assert_eq!(kms.check_kek("payments"), Ok(()));
        for kek in [".payments", "pay/ments", &"n".repeat(256)] {
            assert_eq!(kms.check_kek(kek), Err(KmsError::KekNotFound), "{kek}");
        }
    }
}
