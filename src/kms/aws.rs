//! AWS KMS (provider 3), by the official SDK.
//!
//! ```text
//! authority  SHA-256("sealwire/aws-kms/1" | identity)[0..4]; the identity is the region, unless it is said
//! kek        as the rule writes it: an alias, a key's id, or an ARN of either
//! version    of an alias, what it meant: 0 for a key of one region, 1 for a multi-region key, and the 16 bytes of its
//!            id; then, of either, the first 8 bytes of the id of the key's material, where KMS says that
//! blob       CiphertextBlob
//! ```
//!
//! - AWS-1: an alias that was moved is a rotation: what was sealed before names the key that it meant then, and opens
//!   for as long as that key lives.
//! - AWS-2: errors are told apart by their code, of which those that are not known are outages, and one has the proxy
//!   ask for the key's state; the SDK tries nothing again, waits for nothing beyond its limits, and its behaviour is of
//!   a version that is named.
//! - AWS-3: credentials are had apart from calls, ahead of their end, and used until they have ended.
//! - [`names`] has AWS-4: replicas of a multi-region key stand for each other.
//!
//! What it asks of the policy: kms:GenerateDataKey, kms:Decrypt and kms:DescribeKey on the key; whoever wraps keys that
//! exist, also kms:Encrypt.

mod credentials;
mod errors;
mod names;
mod transport;

pub use names::may_contain;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use aws_config::identity::IdentityCache;
use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region};
use aws_sdk_kms::Client;
use aws_sdk_kms::operation::decrypt::DecryptOutput;
use aws_sdk_kms::operation::encrypt::EncryptOutput;
use aws_sdk_kms::primitives::Blob;
use aws_sdk_kms::types::{
    DataKeySpec, EncryptionAlgorithmSpec, KeyMetadata, KeySpec, KeyState, KeyUsageType,
};
use reqwest::Url;
use tokio::sync::OnceCell;
use zeroize::Zeroizing;

use self::credentials::{CredentialsSource, KeptCredentials};
use self::errors::{CallError, call_error};
use self::names::{Version, check_name, key_in};
use self::transport::SdkTransport;
use super::http::{CALL_TIMEOUT, CONNECT_TIMEOUT, HttpClient, Plaintext, unavailable};
use super::{GeneratedDek, KekNames, Kms, KmsError, written};
use crate::crypto::SecretKey;
use crate::envelope::WrappedDek;
use crate::envelope::wrapped_dek::{authority_of, provider};
use crate::transport::tls_client::{Trust, UpstreamTls};

/// Where the keys are. Who the proxy is there the environment says, as for every program that uses AWS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AwsSettings {
    /// Of the keys.
    pub region: String,
    /// Instead of the region's own; `http` only where that is allowed.
    pub endpoint: Option<Url>,
    /// What stands for it in what is stored, instead of the region.
    pub identity: Option<String>,
    /// Which profile of the shared files, instead of that of the environment.
    pub profile: Option<String>,
    /// Where the proxy's own credentials are, and nowhere else: a file in the form of the shared ones.
    pub credentials_file: Option<PathBuf>,
    /// Who vouches for it.
    pub trust: Trust,
    /// Bound to every data key, and shown in AWS's own log.
    pub encryption_context: BTreeMap<String, String>,
}

impl AwsSettings {
    /// What tells it from others in what is stored.
    #[must_use]
    pub fn authority(&self) -> [u8; 4] {
        let identity = self.identity.as_deref().unwrap_or(&self.region);
        authority_of(format!("sealwire/aws-kms/1{identity}").as_bytes())
    }
}

/// The keys of one region.
pub struct AwsKms {
    settings: AwsSettings,
    authority: [u8; 4],
    ready: OnceCell<Ready>,
}

/// What is to be decrypted, and by which key.
struct Asked<'w> {
    kek: &'w str,
    key: String,
    blob: &'w [u8],
}

struct Ready {
    client: Client,
    credentials: Arc<KeptCredentials>,
}

impl AwsKms {
    /// Does not connect.
    #[must_use]
    pub fn new(settings: AwsSettings) -> Self {
        Self {
            authority: settings.authority(),
            settings,
            ready: OnceCell::new(),
        }
    }

    async fn ready(&self) -> &Ready {
        self.ready.get_or_init(|| self.make()).await
    }

    async fn make(&self) -> Ready {
        let tls = UpstreamTls::trusting(self.settings.trust.clone());
        let transport = SdkTransport::new(HttpClient::new(Some(tls), Plaintext::Allowed));
        let source = CredentialsSource::new(&self.settings, transport.clone());
        let credentials = Arc::new(KeptCredentials::of(source));
        let mut config = aws_sdk_kms::Config::builder()
            .behavior_version(behavior())
            .http_client(transport)
            .region(Region::new(self.settings.region.clone()))
            .retry_config(RetryConfig::disabled())
            .timeout_config(limits())
            .credentials_provider(KeptCredentials::shared(&credentials))
            .identity_cache(IdentityCache::no_cache());
        if let Some(endpoint) = &self.settings.endpoint {
            config = config.endpoint_url(endpoint.as_str());
        }
        Ready {
            client: Client::from_conf(config.build()),
            credentials,
        }
    }

    /// Asks; where our credentials are refused, once more with newer ones.
    async fn ask<T, F>(&self, question: impl Fn(Client) -> F) -> Result<T, CallError>
    where
        F: Future<Output = Result<T, CallError>>,
    {
        let ready = self.ready().await;
        let generation = ready.credentials.have().await?;
        match question(ready.client.clone()).await {
            Err(CallError::Kms(KmsError::CredentialsRefused(_)))
                if ready.credentials.renew(generation).await =>
            {
                question(ready.client.clone()).await
            }
            answer => answer,
        }
    }

    /// Of a key whose state is said not to be right, what `DescribeKey` says decides.
    async fn judged<T>(&self, answer: Result<T, CallError>, key: &str, kek: &str) -> Result<T, KmsError> {
        match answer {
            Ok(answer) => Ok(answer),
            Err(CallError::Kms(error)) => Err(error),
            Err(CallError::State) => {
                self.usable_key(key, kek).await?;
                Err(unavailable(
                    "the key is enabled and cannot be used: its own store is away",
                ))
            }
        }
    }

    /// What KMS says of a key, which is enabled.
    async fn usable_key(&self, key: &str, kek: &str) -> Result<KeyMetadata, KmsError> {
        let answer = self.ask(async |client| {
            let asked = client.describe_key().key_id(key);
            asked
                .send()
                .await
                .map_err(|error| call_error(&error, "kms:DescribeKey", kek))
        });
        let answer = answer.await.map_err(|error| match error {
            CallError::State => unavailable("it does not say in which state the key is"),
            CallError::Kms(error) => error,
        })?;
        let key = answer
            .key_metadata
            .ok_or_else(|| unavailable("its answer says nothing of the key"))?;
        match key.key_state() {
            Some(KeyState::Enabled) => Ok(key),
            Some(
                KeyState::Disabled
                | KeyState::PendingDeletion
                | KeyState::PendingImport
                | KeyState::PendingReplicaDeletion,
            ) => Err(KmsError::KekDisabled),
            _ => Err(unavailable("the key is being made, or its own store is away")),
        }
    }

    fn context(&self) -> Option<std::collections::HashMap<String, String>> {
        let context = &self.settings.encryption_context;
        (!context.is_empty()).then(|| context.clone().into_iter().collect())
    }

    fn parse<'w>(&self, wrapped: &'w [u8]) -> Result<Asked<'w>, KmsError> {
        let parsed = WrappedDek::parse(wrapped).map_err(|_| KmsError::Malformed)?;
        if parsed.provider != provider::AWS_KMS || parsed.authority != self.authority {
            return Err(KmsError::KekNotFound);
        }
        let kek = str::from_utf8(parsed.kek).map_err(|_| KmsError::KekNotFound)?;
        check_name(kek)?;
        let version = Version::parse(kek, parsed.version).ok_or(KmsError::Malformed)?;
        if parsed.blob.is_empty() {
            return Err(KmsError::Malformed);
        }
        Ok(Asked {
            kek,
            key: version.key_in(kek, &self.settings.region),
            blob: parsed.blob,
        })
    }

    async fn unwrap(&self, wrapped: &[u8]) -> Result<SecretKey, KmsError> {
        let Asked { kek, key, blob } = self.parse(wrapped)?;
        let answer = self.decrypt(&key, kek, blob).await?;
        key_of(answer.plaintext)
    }

    async fn decrypt(&self, key: &str, kek: &str, blob: &[u8]) -> Result<DecryptOutput, KmsError> {
        let answer = self
            .ask(async |client| {
                let asked = client
                    .decrypt()
                    .key_id(key)
                    .encryption_algorithm(EncryptionAlgorithmSpec::SymmetricDefault)
                    .set_encryption_context(self.context())
                    .ciphertext_blob(Blob::new(blob));
                asked
                    .send()
                    .await
                    .map_err(|error| call_error(&error, "kms:Decrypt", kek))
            })
            .await;
        self.judged(answer, key, kek).await
    }

    async fn encrypt(&self, kek: &str, dek: &SecretKey) -> Result<EncryptOutput, KmsError> {
        let key = key_in(kek, &self.settings.region);
        let answer = self
            .ask(async |client| {
                let asked = client
                    .encrypt()
                    .key_id(&*key)
                    .encryption_algorithm(EncryptionAlgorithmSpec::SymmetricDefault)
                    .set_encryption_context(self.context())
                    // The SDK's own copies are wiped by the heap that frees them.
                    .plaintext(Blob::new(dek.expose().as_slice()));
                asked
                    .send()
                    .await
                    .map_err(|error| call_error(&error, "kms:Encrypt", kek))
            })
            .await;
        self.judged(answer, &key, kek).await
    }

    /// As it is stored: which key and which material it was AWS has said.
    fn stored(
        &self,
        kek: &str,
        key: &str,
        material: Option<&str>,
        blob: &[u8],
    ) -> Result<Box<[u8]>, KmsError> {
        let version = Version::of(kek, key, material)?.bytes();
        written(&WrappedDek {
            provider: provider::AWS_KMS,
            authority: self.authority,
            kek: kek.as_bytes(),
            version: &version,
            blob,
        })
    }
}

#[async_trait]
impl Kms for AwsKms {
    fn kek_names(&self) -> KekNames {
        KekNames::as_written(provider::AWS_KMS, self.authority)
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
        let key = key_in(kek, &self.settings.region);
        let answer = self
            .ask(async |client| {
                let asked = client
                    .generate_data_key()
                    .key_id(&*key)
                    .key_spec(DataKeySpec::Aes256)
                    .set_encryption_context(self.context());
                asked
                    .send()
                    .await
                    .map_err(|error| call_error(&error, "kms:GenerateDataKey", kek))
            })
            .await;
        let answer = self.judged(answer, &key, kek).await?;
        let dek = key_of(answer.plaintext)?;
        let key = answer.key_id.unwrap_or_default();
        let blob = wrapped_in(answer.ciphertext_blob)?;
        let wrapped = self.stored(kek, &key, answer.key_material_id.as_deref(), &blob)?;
        Ok(GeneratedDek { dek, wrapped })
    }

    async fn wrap(&self, kek: &str, key: &SecretKey) -> Result<Box<[u8]>, KmsError> {
        check_name(kek)?;
        let answer = self.encrypt(kek, key).await?;
        let used = answer.key_id.unwrap_or_default();
        let blob = wrapped_in(answer.ciphertext_blob)?;
        // By which material it was wrapped only the answer to `Decrypt` says.
        let opened = self
            .decrypt(&used, kek, &blob)
            .await
            .map_err(|error| match error {
                KmsError::Malformed => unavailable("it does not unwrap what it has wrapped"),
                error => error,
            })?;
        if !key_of(opened.plaintext)?.is_same(key) {
            return Err(unavailable("what it has wrapped unwraps to another key"));
        }
        self.stored(kek, &used, opened.key_material_id.as_deref(), &blob)
    }

    async fn unwrap_dek(&self, wrapped: &[u8]) -> Result<SecretKey, KmsError> {
        self.unwrap(wrapped).await
    }

    async fn recheck(&self, wrapped: &[u8]) -> Result<SecretKey, KmsError> {
        self.unwrap(wrapped).await
    }

    async fn current_version(&self, kek: &str) -> Result<Option<Vec<u8>>, KmsError> {
        check_name(kek)?;
        let key = self.usable_key(&key_in(kek, &self.settings.region), kek).await?;
        let is_symmetric = key.key_spec() == Some(&KeySpec::SymmetricDefault);
        if !is_symmetric || key.key_usage() != Some(&KeyUsageType::EncryptDecrypt) {
            let what = "its spec is not SYMMETRIC_DEFAULT, or its usage not ENCRYPT_DECRYPT";
            return Err(KmsError::KekUnsuitable(what.to_owned()));
        }
        let version = Version::of(kek, key.key_id(), key.current_key_material_id())?.bytes();
        Ok((!version.is_empty()).then_some(version))
    }

    async fn background(&self) {
        self.ready().await.credentials.keep().await;
    }

    fn wraps_publicly(&self) -> bool {
        // Unwrapping names the algorithm, which asymmetric keys do not have.
        false
    }
}

/// AWS-2
fn behavior() -> BehaviorVersion {
    BehaviorVersion::v2026_01_12()
}

/// AWS-2
fn limits() -> TimeoutConfig {
    TimeoutConfig::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .operation_attempt_timeout(CALL_TIMEOUT)
        .operation_timeout(CALL_TIMEOUT)
        .build()
}

fn wrapped_in(blob: Option<Blob>) -> Result<Vec<u8>, KmsError> {
    let blob = blob.map(Blob::into_inner).unwrap_or_default();
    match blob.is_empty() {
        true => Err(unavailable("its answer has no wrapped data key")),
        false => Ok(blob),
    }
}

fn key_of(plaintext: Option<Blob>) -> Result<SecretKey, KmsError> {
    let mut bytes = Zeroizing::new(plaintext.map(Blob::into_inner).unwrap_or_default());
    if bytes.iter().all(|byte| *byte == 0) {
        return Err(unavailable("a data key in its answer is empty"));
    }
    SecretKey::from_bytes(&mut bytes)
        .map_err(|_| unavailable("a data key in its answer does not have 32 bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// KMS-4
    #[test]
    fn what_its_bytes_or_its_name_say_is_said_without_a_call() {
        let kms = AwsKms::new(AwsSettings {
            region: "eu-central-1".to_owned(),
            endpoint: None,
            identity: None,
            profile: None,
            credentials_file: None,
            trust: Trust::System,
            encryption_context: BTreeMap::new(),
        });
        let check = |kek: &str, version: &[u8], blob: &[u8]| {
            let wrapped = kms.kek_names().wrapped(kek, version, blob);
            kms.check_wrapped(&wrapped.expect("it fits"))
        };
        assert_eq!(check("alias/payments", &[0; 17], b"blob"), Ok(()));
        for (version, blob) in [(&[][..], &b"blob"[..]), (&[2; 17], b"blob"), (&[0; 17], b"")] {
            assert_eq!(check("alias/payments", version, blob), Err(KmsError::Malformed));
        }
        assert_eq!(
            check("alias/pay ments", &[0; 17], b"blob"),
            Err(KmsError::KekNotFound)
        );
        assert_eq!(kms.check_kek("alias/payments"), Ok(()));
        assert_eq!(kms.check_kek("alias/pay.ments"), Err(KmsError::KekNotFound));
    }
}
