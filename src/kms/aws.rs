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
//! - AWS-2: errors are told apart by their code, of which those that are not known are outages; the SDK tries nothing
//!   again, waits for nothing beyond its limits, and its behaviour is of a version that is named.
//! - AWS-3: credentials are had apart from calls, ahead of their end, and used until they have ended.
//!
//! What it asks of the policy: kms:GenerateDataKey, kms:Decrypt and kms:DescribeKey on the key.

mod credentials;
mod errors;
mod transport;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use aws_config::identity::IdentityCache;
use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region};
use aws_sdk_kms::Client;
use aws_sdk_kms::primitives::Blob;
use aws_sdk_kms::types::{DataKeySpec, EncryptionAlgorithmSpec, KeySpec, KeyState, KeyUsageType};
use reqwest::Url;
use tokio::sync::OnceCell;
use zeroize::Zeroizing;

use self::credentials::{CredentialsSource, KeptCredentials};
use self::errors::kms_error;
use self::transport::SdkTransport;
use super::http::{CALL_TIMEOUT, CONNECT_TIMEOUT, HttpClient, Plaintext, unavailable};
use super::{GeneratedDek, KekNames, Kms, KmsError};
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
    async fn ask<T, F>(&self, question: impl Fn(Client) -> F) -> Result<T, KmsError>
    where
        F: Future<Output = Result<T, KmsError>>,
    {
        let ready = self.ready().await;
        let generation = ready.credentials.have().await?;
        match question(ready.client.clone()).await {
            Err(KmsError::CredentialsRefused) if ready.credentials.renew(generation).await => {
                question(ready.client.clone()).await
            }
            answer => answer,
        }
    }

    fn context(&self) -> Option<std::collections::HashMap<String, String>> {
        let context = &self.settings.encryption_context;
        (!context.is_empty()).then(|| context.clone().into_iter().collect())
    }

    async fn unwrap(&self, wrapped: &[u8]) -> Result<SecretKey, KmsError> {
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
        // Of the alias's own account and region: KMS finds a key by its id in those of the caller.
        let key = match (&version.key, kek.rsplit_once(":alias/")) {
            (Some(id), Some((arn, _))) => format!("{arn}:key/{id}"),
            (Some(id), None) => id.clone(),
            (None, _) => kek.to_owned(),
        };
        let answer = self
            .ask(async |client| {
                let asked = client
                    .decrypt()
                    .key_id(&key)
                    .encryption_algorithm(EncryptionAlgorithmSpec::SymmetricDefault)
                    .set_encryption_context(self.context())
                    .ciphertext_blob(Blob::new(parsed.blob));
                asked
                    .send()
                    .await
                    .map_err(|error| kms_error(&error, "kms:Decrypt", kek))
            })
            .await?;
        key_of(answer.plaintext)
    }
}

#[async_trait]
impl Kms for AwsKms {
    fn kek_names(&self) -> KekNames {
        KekNames::as_written(provider::AWS_KMS, self.authority)
    }

    async fn generate_dek(&self, kek: &str) -> Result<GeneratedDek, KmsError> {
        check_name(kek)?;
        let answer = self
            .ask(async |client| {
                let asked = client
                    .generate_data_key()
                    .key_id(kek)
                    .key_spec(DataKeySpec::Aes256)
                    .set_encryption_context(self.context());
                asked
                    .send()
                    .await
                    .map_err(|error| kms_error(&error, "kms:GenerateDataKey", kek))
            })
            .await?;
        let dek = key_of(answer.plaintext)?;
        let version = Version::of(
            kek,
            answer.key_id.as_deref().unwrap_or_default(),
            answer.key_material_id.as_deref(),
        )?;
        let blob = answer.ciphertext_blob.map(Blob::into_inner).unwrap_or_default();
        if blob.is_empty() {
            return Err(unavailable("its answer has no wrapped data key"));
        }
        let version = version.bytes();
        let parts = WrappedDek {
            provider: provider::AWS_KMS,
            authority: self.authority,
            kek: kek.as_bytes(),
            version: &version,
            blob: &blob,
        };
        GeneratedDek::of(dek, &parts)
    }

    async fn unwrap_dek(&self, wrapped: &[u8]) -> Result<SecretKey, KmsError> {
        self.unwrap(wrapped).await
    }

    async fn recheck(&self, wrapped: &[u8]) -> Result<(), KmsError> {
        self.unwrap(wrapped).await.map(drop)
    }

    async fn current_version(&self, kek: &str) -> Result<Option<Vec<u8>>, KmsError> {
        check_name(kek)?;
        let answer = self
            .ask(async |client| {
                let asked = client.describe_key().key_id(kek);
                asked
                    .send()
                    .await
                    .map_err(|error| kms_error(&error, "kms:DescribeKey", kek))
            })
            .await?;
        let key = answer
            .key_metadata
            .ok_or_else(|| unavailable("its answer says nothing of the key"))?;
        match key.key_state() {
            Some(KeyState::Enabled) => {}
            Some(KeyState::PendingDeletion | KeyState::PendingReplicaDeletion) => {
                return Err(KmsError::KekDisabled);
            }
            Some(KeyState::Disabled | KeyState::PendingImport) => return Err(KmsError::KekDisabled),
            _ => return Err(unavailable("the key is being made, or its own store is away")),
        }
        let is_symmetric = key.key_spec() == Some(&KeySpec::SymmetricDefault);
        if !is_symmetric || key.key_usage() != Some(&KeyUsageType::EncryptDecrypt) {
            let what = "its spec is not SYMMETRIC_DEFAULT, or its usage not ENCRYPT_DECRYPT";
            return Err(KmsError::KekDenied(what.to_owned()));
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

/// What tells one state of a KEK from the next (AWS-1).
struct Version {
    /// What an alias means: the id of a key.
    key: Option<String>,
    material: Vec<u8>,
}

impl Version {
    /// From what KMS says: an id or an ARN, and what the key is made of.
    fn of(kek: &str, key: &str, material: Option<&str>) -> Result<Self, KmsError> {
        let id = key.rsplit('/').next().unwrap_or_default();
        let key = match is_alias(kek) {
            true => {
                packed(id).ok_or_else(|| unavailable("its answer names no key"))?;
                Some(id.to_owned())
            }
            false => None,
        };
        let material = material.map_or(Some(Vec::new()), |text| {
            bytes_of(text).map(|bytes| bytes.into_iter().take(MATERIAL_BYTES).collect())
        });
        let material = material.ok_or_else(|| unavailable("its answer names no material of the key"))?;
        Ok(Self { key, material })
    }

    fn bytes(&self) -> Vec<u8> {
        let key = self.key.as_deref().and_then(packed).unwrap_or_default();
        [key, self.material.clone()].concat()
    }

    fn parse(kek: &str, bytes: &[u8]) -> Option<Self> {
        let (key, material) = match is_alias(kek) {
            true => {
                let (kind, rest) = bytes.split_first()?;
                let (id, material) = rest.split_first_chunk::<16>()?;
                (Some(unpacked(*kind, id)?), material)
            }
            false => (None, bytes),
        };
        let fits = material.is_empty() || material.len() == MATERIAL_BYTES;
        fits.then(|| Self {
            key,
            material: material.to_vec(),
        })
    }
}

fn is_alias(kek: &str) -> bool {
    kek.starts_with("alias/") || kek.contains(":alias/")
}

/// An id of a key, shortly.
fn packed(id: &str) -> Option<Vec<u8>> {
    let (kind, digits) = match id.strip_prefix("mrk-") {
        Some(digits) => (MULTI_REGION, digits.to_owned()),
        None => (ONE_REGION, id.replace('-', "")),
    };
    let bytes: [u8; 16] = bytes_of(&digits)?.try_into().ok()?;
    let packed = [&[kind], &bytes[..]].concat();
    // What is stored has to lead back to the very same id.
    (unpacked(kind, &bytes).as_deref() == Some(id)).then_some(packed)
}

fn unpacked(kind: u8, bytes: &[u8; 16]) -> Option<String> {
    let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    match kind {
        MULTI_REGION => Some(format!("mrk-{digits}")),
        ONE_REGION => {
            let part = |from: usize, to: usize| digits.get(from..to);
            Some(format!(
                "{}-{}-{}-{}-{}",
                part(0, 8)?,
                part(8, 12)?,
                part(12, 16)?,
                part(16, 20)?,
                part(20, 32)?
            ))
        }
        _ => None,
    }
}

fn bytes_of(digits: &str) -> Option<Vec<u8>> {
    let pairs = digits.as_bytes().chunks(2);
    let byte = |pair: &[u8]| {
        let is_pair = pair.len() == 2 && pair.iter().all(u8::is_ascii_hexdigit);
        let text = is_pair.then(|| str::from_utf8(pair).ok()).flatten()?;
        u8::from_str_radix(text, 16).ok()
    };
    pairs.map(byte).collect()
}

/// Whether a key or an alias can have this in its name, or its ARN.
#[must_use]
pub fn may_contain(text: &str) -> bool {
    text.bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'/' | b':'))
}

fn check_name(kek: &str) -> Result<(), KmsError> {
    if !kek.is_empty() && may_contain(kek) {
        Ok(())
    } else {
        Err(KmsError::KekNotFound)
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

const ONE_REGION: u8 = 0;
const MULTI_REGION: u8 = 1;
/// Of 32: enough to tell the few states of one key apart.
const MATERIAL_BYTES: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    /// AWS-1
    #[test]
    fn what_an_alias_meant_leads_back_to_the_very_same_key() {
        let material = "2fdf5f1f6d6a6ae1d2a1a5a5f1e2b3c4d5e6f708192a3b4c5d6e7f8091a2b3c4";
        for id in [
            "1234abcd-12ab-34cd-56ef-1234567890ab",
            "mrk-1234abcd12ab34cd56ef1234567890ab",
        ] {
            for (kek, length) in [("alias/payments", 17), (id, 0)] {
                let arn = format!("arn:aws:kms:eu-central-1:111122223333:key/{id}");
                let plain = Version::of(kek, &arn, None).expect("a version").bytes();
                assert_eq!(plain.len(), length);
                let whole = Version::of(kek, id, Some(material)).expect("a version").bytes();
                assert_eq!(whole.len(), length + 8);
                let parsed = Version::parse(kek, &whole).expect("it parses");
                assert_eq!(parsed.key.as_deref(), is_alias(kek).then_some(id));
                assert_eq!(parsed.bytes(), whole);
                for cut in 1..whole.len() {
                    let cut = &whole[..cut];
                    assert_eq!(Version::parse(kek, cut).is_some(), cut.len() == length, "{cut:?}");
                }
            }
        }
        assert!(Version::parse("alias/x", &[2; 17]).is_none());
    }

    #[test]
    fn answers_that_name_no_key_are_refused() {
        for key in [
            "",
            "alias/x",
            "1234abcd",
            "1234ABCD-12ab-34cd-56ef-1234567890ab",
            "mrk-12",
        ] {
            assert!(Version::of("alias/payments", key, None).is_err(), "{key:?}");
        }
        assert!(
            Version::of(
                "alias/payments",
                "mrk-1234abcd12ab34cd56ef1234567890ab",
                Some("xyz")
            )
            .is_err()
        );
    }
}
