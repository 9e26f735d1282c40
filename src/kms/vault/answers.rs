//! What Vault and OpenBao answer: read strictly, and classified. What their errors say is compared with what a real
//! server says (`tests.rs`); what is not known is an outage, never a verdict about a key.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use base64ct::Encoding as _;
use reqwest::StatusCode;
use serde::Deserialize;
use zeroize::Zeroizing;

use crate::crypto::SecretKey;
use crate::kms::KmsError;
use crate::kms::http::{HttpAnswer, unavailable};

/// A DEK as transit has wrapped it.
#[derive(Debug)]
pub(super) struct Ciphertext {
    version: u32,
    bytes: Vec<u8>,
}

impl Ciphertext {
    pub(super) fn of(version: u32, bytes: &[u8]) -> Result<Self, KmsError> {
        if version == 0 || bytes.is_empty() {
            return Err(KmsError::Malformed);
        }
        Ok(Self {
            version,
            bytes: bytes.to_vec(),
        })
    }

    /// From `vault:vN:base64`.
    fn parse(text: &str) -> Option<Self> {
        let (number, base64) = text.strip_prefix("vault:v")?.split_once(':')?;
        let version: u32 = number.parse().ok()?;
        let bytes = BASE64.decode(base64).ok()?;
        let parsed = Self::of(version, &bytes).ok()?;
        // What is stored has to lead back to the very same text.
        (parsed.text() == text).then_some(parsed)
    }

    fn of_answer(text: &str) -> Result<Self, KmsError> {
        Self::parse(text)
            .ok_or_else(|| unavailable("a wrapped data key in its answer is not one of transit's"))
    }

    pub(super) fn text(&self) -> String {
        format!("vault:v{}:{}", self.version, BASE64.encode(&self.bytes))
    }

    pub(super) fn version(&self) -> u32 {
        self.version
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

#[derive(Deserialize)]
struct Envelope<T> {
    data: T,
}

#[derive(Deserialize)]
struct Secret(#[serde(deserialize_with = "wiped")] Zeroizing<String>);

fn wiped<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Zeroizing<String>, D::Error> {
    String::deserialize(deserializer).map(Zeroizing::new)
}

impl Secret {
    fn key(&self) -> Result<SecretKey, KmsError> {
        let mut bytes = Zeroizing::new([0_u8; KEY_TEXT_BYTES_MAX]);
        let length = base64ct::Base64::decode(self.0.as_bytes(), &mut *bytes)
            .map_err(|_| unavailable("a data key in its answer is no base64"))?
            .len();
        let key = bytes.get_mut(..length).unwrap_or_default();
        if key.iter().all(|byte| *byte == 0) {
            return Err(unavailable("a data key in its answer is empty"));
        }
        SecretKey::from_bytes(key).map_err(|_| unavailable("a data key in its answer does not have 32 bytes"))
    }
}

/// The DEK that was made.
pub(super) fn data_key(body: &[u8]) -> Result<(SecretKey, Ciphertext), KmsError> {
    #[derive(Deserialize)]
    struct DataKey {
        plaintext: Secret,
        ciphertext: String,
    }
    let Envelope { data } = read::<DataKey>(body)?;
    let ciphertext = Ciphertext::of_answer(&data.ciphertext)?;
    Ok((data.plaintext.key()?, ciphertext))
}

/// The body that has a key wrapped; nothing but it holds the key when this returns.
pub(super) fn to_be_wrapped(key: &SecretKey) -> Result<Zeroizing<Vec<u8>>, KmsError> {
    let mut text = Zeroizing::new([0_u8; KEY_TEXT_BYTES_MAX]);
    let text = base64ct::Base64::encode(key.expose(), &mut *text)
        .map_err(|_| unavailable("a key does not fit into its request"))?;
    let parts = [&br#"{"plaintext":""#[..], text.as_bytes(), br#""}"#];
    // Reserved at once: one that grew would leave what it had before.
    let mut body = Zeroizing::new(Vec::with_capacity(parts.iter().map(|part| part.len()).sum()));
    for part in parts {
        body.extend_from_slice(part);
    }
    Ok(body)
}

/// The key that was wrapped.
pub(super) fn wrapped(body: &[u8]) -> Result<Ciphertext, KmsError> {
    #[derive(Deserialize)]
    struct Wrapped {
        ciphertext: String,
    }
    let Envelope { data } = read::<Wrapped>(body)?;
    Ciphertext::of_answer(&data.ciphertext)
}

/// The DEK that was unwrapped.
pub(super) fn plaintext(body: &[u8]) -> Result<SecretKey, KmsError> {
    #[derive(Deserialize)]
    struct Plaintext {
        plaintext: Secret,
    }
    read::<Plaintext>(body)?.data.plaintext.key()
}

fn read<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<Envelope<T>, KmsError> {
    // What serde says may repeat what it has read.
    serde_json::from_slice(body).map_err(|_| unavailable("its answer is not what it should be"))
}

/// What there is to know of a KEK.
#[derive(Debug, Deserialize)]
pub(super) struct TransitKey {
    pub(super) latest_version: u32,
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    derived: bool,
    #[serde(default)]
    soft_deleted: bool,
    #[serde(default)]
    min_available_version: u32,
}

impl TransitKey {
    pub(super) fn parse(body: &[u8]) -> Result<Self, KmsError> {
        let key = read::<Self>(body)?.data;
        if key.latest_version == 0 {
            return Err(unavailable("it says that a key has no version"));
        }
        Ok(key)
    }

    /// VAULT-3
    pub(super) fn check_kind(&self) -> Result<(), KmsError> {
        if self.soft_deleted {
            return Err(KmsError::KekDisabled);
        }
        if self.derived {
            return Err(KmsError::KekUnsuitable(
                "it derives its keys from a context, which the proxy has none of".to_owned(),
            ));
        }
        if !KINDS.contains(&self.kind.as_str()) {
            return Err(KmsError::KekUnsuitable(format!(
                "its type is none of {}: of other types anybody may make data keys, or nobody",
                KINDS.join(", ")
            )));
        }
        Ok(())
    }

    /// Whether this version is still there, if it ever was.
    pub(super) fn has(&self, version: u32) -> bool {
        version >= self.min_available_version
    }
}

#[derive(Deserialize)]
struct Errors {
    errors: Vec<String>,
}

/// VAULT-4
pub(super) fn check_refusal(answer: &HttpAnswer) -> Result<(), KmsError> {
    let is_refusal = matches!(
        answer.status,
        StatusCode::BAD_REQUEST | StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::NOT_FOUND
    );
    if is_refusal && said(answer).is_none() {
        return Err(KmsError::Unavailable(format!(
            "something else answers for it, with status {}",
            answer.status.as_u16()
        )));
    }
    Ok(())
}

/// What a login that is refused at `path` means. What the server says of it is not repeated: the words are ours.
pub(super) fn refused_login(path: &str, answer: &HttpAnswer) -> KmsError {
    let said = said(answer);
    let why = if says(&said, "invalid role or secret ID") {
        "role_id or the secret is wrong; role_id is an id, not the name of the role"
    } else if says(&said, "client certificate") || says(&said, "invalid certificate") {
        "it knows nobody with the certificate that was shown"
    } else if answer.status == StatusCode::FORBIDDEN {
        "it takes nobody with what was shown, or no login method is enabled at that path"
    } else {
        "it takes nobody with the role and secret that were shown"
    };
    KmsError::CredentialsRefused(format!(
        "{path} answers with status {}: {why}",
        answer.status.as_u16()
    ))
}

/// What an answer to a question about a token means that is neither yes nor no: never anything about a key.
pub(super) fn outage_of(answer: &HttpAnswer) -> KmsError {
    match verdict_of(answer) {
        _ if answer.status == StatusCode::NOT_FOUND && !says(&said(answer), NO_NAMESPACE) => {
            unavailable("no login method is mounted at its path (status 404)")
        }
        error if error.is_verdict() => KmsError::Unavailable(format!(
            "its login answers with status {}",
            answer.status.as_u16()
        )),
        error => error,
    }
}

/// What an answer other than 200 means; 403 is told apart before ([`super::VaultKms::ask`]).
pub(super) fn verdict_of(answer: &HttpAnswer) -> KmsError {
    let said = said(answer);
    let says = |text: &str| says(&said, text);
    match answer.status {
        StatusCode::TOO_MANY_REQUESTS => KmsError::Throttled {
            after: answer.retry_after().unwrap_or(THROTTLED_FOR),
        },
        StatusCode::BAD_REQUEST if says("encryption key not found") => KmsError::KekNotFound,
        StatusCode::BAD_REQUEST if says("soft-deleted key") || says("disallowed by policy (too old)") => {
            KmsError::KekDisabled
        }
        StatusCode::BAD_REQUEST if says("version is too new") => {
            KmsError::KekVersionNotFound("of this number".to_owned())
        }
        StatusCode::BAD_REQUEST if says("message authentication failed") || says("invalid ciphertext") => {
            KmsError::Malformed
        }
        // So it answers for a key; a path that leads nowhere has words.
        StatusCode::NOT_FOUND if said.as_ref().is_some_and(Vec::is_empty) => KmsError::KekNotFound,
        StatusCode::NOT_FOUND if says(NO_NAMESPACE) => unavailable("there is no such namespace (status 404)"),
        StatusCode::NOT_FOUND => unavailable("there is no transit engine at this mount (status 404)"),
        StatusCode::SERVICE_UNAVAILABLE if says("sealed") => unavailable("it is sealed (status 503)"),
        status => KmsError::Unavailable(format!("it answers with status {}", status.as_u16())),
    }
}

/// The words of an error.
fn said(answer: &HttpAnswer) -> Option<Vec<String>> {
    let errors = serde_json::from_slice::<Errors>(&answer.body).ok()?;
    Some(errors.errors)
}

fn says(said: &Option<Vec<String>>, text: &str) -> bool {
    said.iter().flatten().any(|error| error.contains(text))
}

const NO_NAMESPACE: &str = "namespace not found";
/// Symmetric and authenticated: what they unwrap they have wrapped.
const KINDS: [&str; 4] = [
    "aes128-gcm96",
    "aes256-gcm96",
    "chacha20-poly1305",
    "xchacha20-poly1305",
];
/// Where it is not said for how long.
const THROTTLED_FOR: Duration = Duration::from_secs(1);
/// 32 bytes, and some more that are then too many.
const KEY_TEXT_BYTES_MAX: usize = 64;
