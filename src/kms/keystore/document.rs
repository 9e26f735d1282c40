//! The JSON that a keystore is stored as, and the checks between it and [`Keystore`].
//!
//! Memory is bounded by the file's size ([`KEYSTORE_BYTES_MAX`]): JSON announces no counts, and every string is decoded
//! into an array of known length.

use std::collections::BTreeMap;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::de::{DeserializeOwned, Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use super::KeystoreError;
use super::contents::{KekState, KekVersion, Keystore, KeystoreKek};
use super::master_key::{Argon2Parameters, KeyDerivation};
use crate::foreign::Foreign;

/// Largest keystore file, in bytes: some 30 000 versions.
pub const KEYSTORE_BYTES_MAX: usize = 8 * 1024 * 1024;

/// The format that this version writes and reads.
pub const FORMAT_VERSION: u32 = 1;

impl Keystore {
    /// Reads and checks a keystore file's bytes.
    ///
    /// # Errors
    /// [`KeystoreError::Format`].
    pub fn parse(bytes: &[u8]) -> Result<Self, KeystoreError> {
        if bytes.len() > KEYSTORE_BYTES_MAX {
            return Err(format("it is too large"));
        }
        let document = read_versioned::<Document>(bytes, FORMAT, FORMAT_VERSION);
        document.map_err(KeystoreError::Format)?.check()
    }

    /// The bytes of its file.
    pub(super) fn write(&self) -> Result<Vec<u8>, KeystoreError> {
        let document = Document {
            format: FORMAT.to_owned(),
            format_version: FORMAT_VERSION,
            keystore_id: STANDARD.encode(self.id),
            revision: self.revision,
            master_key: match &self.derivation {
                KeyDerivation::Key => MasterKeyDocument::Key {},
                KeyDerivation::Argon2id(parameters) => MasterKeyDocument::Argon2id {
                    salt: STANDARD.encode(parameters.salt()),
                    memory_kib: parameters.memory_kib(),
                    iterations: parameters.iterations(),
                    lanes: parameters.lanes(),
                },
            },
            check: STANDARD.encode(self.check),
            keks: self
                .keks
                .iter()
                .map(|(name, versions)| {
                    (
                        name.to_string(),
                        versions.iter().map(VersionDocument::of).collect(),
                    )
                })
                .collect(),
            mac: STANDARD.encode(self.mac),
        };
        let mut bytes = serde_json::to_vec_pretty(&document).map_err(|error| json(&error))?;
        bytes.push(b'\n');
        if bytes.len() > KEYSTORE_BYTES_MAX {
            return Err(KeystoreError::Full("its file would exceed 8 MiB"));
        }
        Ok(bytes)
    }
}

const FORMAT: &str = "sealwire-keystore";

/// Reads a document that says of itself which `format` it is of, and which version of that. The error is in words.
pub(crate) fn read_versioned<D: DeserializeOwned>(
    bytes: &[u8],
    format: &str,
    version: u32,
) -> Result<D, String> {
    // The format first, so that a later one is named and not reported as an unknown field.
    let head: Head = serde_json::from_slice(bytes).map_err(|error| json_fault(&error))?;
    if head.format != format {
        return Err(format!("the field `format` does not say `{format}`"));
    }
    if head.format_version != version {
        return Err(format!(
            "format_version is {}, this version of sealwire reads {version}",
            head.format_version
        ));
    }
    serde_json::from_slice(bytes).map_err(|error| json_fault(&error))
}

#[derive(Deserialize)]
struct Head {
    format: String,
    format_version: u32,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    format: String,
    format_version: u32,
    keystore_id: String,
    revision: u64,
    master_key: MasterKeyDocument,
    check: String,
    #[serde(deserialize_with = "keks_named_once")]
    keks: BTreeMap<String, Vec<VersionDocument>>,
    mac: String,
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
enum MasterKeyDocument {
    Key {},
    Argon2id {
        salt: String,
        memory_kib: u32,
        iterations: u32,
        lanes: u32,
    },
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct VersionDocument {
    version: u32,
    state: KekState,
    created_unix_seconds: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    wrapped: Option<String>,
}

/// Reads the KEKs, each name once: a map that kept the last of two would drop a KEK without a word. (Of fields serde
/// itself refuses the second.)
fn keks_named_once<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<BTreeMap<String, Vec<VersionDocument>>, D::Error> {
    struct KeksNamedOnce;

    impl<'de> Visitor<'de> for KeksNamedOnce {
        type Value = BTreeMap<String, Vec<VersionDocument>>;

        fn expecting(&self, text: &mut fmt::Formatter<'_>) -> fmt::Result {
            text.write_str("an object of key-encryption keys")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut keks = BTreeMap::new();
            while let Some((name, versions)) = map.next_entry::<String, _>()? {
                if keks.insert(name.clone(), versions).is_some() {
                    return Err(A::Error::custom(format_args!("{REPEATED_NAME} `{name}`")));
                }
            }
            Ok(keks)
        }
    }

    deserializer.deserialize_map(KeksNamedOnce)
}

impl Document {
    fn check(self) -> Result<Keystore, KeystoreError> {
        let derivation = match self.master_key {
            MasterKeyDocument::Key {} => KeyDerivation::Key,
            MasterKeyDocument::Argon2id {
                salt,
                memory_kib,
                iterations,
                lanes,
            } => KeyDerivation::Argon2id(Argon2Parameters::new(
                decode(&salt, "master_key.salt")?,
                memory_kib,
                iterations,
                lanes,
            )?),
        };
        let mut keks = BTreeMap::new();
        for (name, versions) in self.keks {
            let name = KeystoreKek::new(&name)?;
            let versions: Vec<KekVersion> = versions
                .into_iter()
                .map(|version| version.check(&name))
                .collect::<Result<_, _>>()?;
            check_versions(&name, &versions)?;
            keks.insert(name, versions);
        }
        Ok(Keystore {
            id: decode(&self.keystore_id, "keystore_id")?,
            revision: self.revision,
            derivation,
            check: decode(&self.check, "check")?,
            keks,
            mac: decode(&self.mac, "mac")?,
        })
    }
}

impl VersionDocument {
    fn of(version: &KekVersion) -> Self {
        Self {
            version: version.number,
            state: version.state,
            created_unix_seconds: version.created_unix_seconds,
            wrapped: version.wrapped.map(|wrapped| STANDARD.encode(wrapped)),
        }
    }

    fn check(self, name: &KeystoreKek) -> Result<KekVersion, KeystoreError> {
        let place = || format!("key-encryption key {name}: version {}: ", self.version);
        let wrapped = match &self.wrapped {
            Some(text) => Some(decode(text, &format!("{}wrapped", place()))?),
            None => None,
        };
        if wrapped.is_none() != (self.state == KekState::Destroyed) {
            return Err(KeystoreError::Format(format!(
                "{}it must hold a wrapped key unless it is destroyed, and none if it is",
                place()
            )));
        }
        Ok(KekVersion {
            number: self.version,
            state: self.state,
            created_unix_seconds: self.created_unix_seconds,
            wrapped,
        })
    }
}

fn check_versions(name: &KeystoreKek, versions: &[KekVersion]) -> Result<(), KeystoreError> {
    let refuse = |what: &str| {
        Err(KeystoreError::Format(format!(
            "key-encryption key {name}: {what}"
        )))
    };
    if versions.first().is_none_or(|first| first.number == 0) {
        return refuse("versions start at 1 and there is at least one");
    }
    if !versions.is_sorted_by(|one, next| one.number < next.number) {
        return refuse("versions must ascend");
    }
    if versions
        .iter()
        .filter(|version| version.state == KekState::Current)
        .count()
        > 1
    {
        return refuse("more than one version is current");
    }
    Ok(())
}

/// Decodes base64 of exactly `N` bytes.
fn decode<const N: usize>(text: &str, field: &str) -> Result<[u8; N], KeystoreError> {
    let wrong = || KeystoreError::Format(format!("{field} must be {N} bytes in base64"));
    // Four characters for three bytes: longer text is refused before anything is decoded.
    if text.len() != N.div_ceil(3).saturating_mul(4) {
        return Err(wrong());
    }
    let decoded = STANDARD.decode(text).map_err(|_| wrong())?;
    decoded.try_into().map_err(|_| wrong())
}

fn format(what: &str) -> KeystoreError {
    KeystoreError::Format(what.to_owned())
}

/// Position and kind of a JSON error. Of the text that it stumbled over only names are repeated, which are not secret
/// in a keystore or keyring, as far as they may be shown; a value could be a key that was written into the wrong place.
pub(crate) fn json_fault(error: &serde_json::Error) -> String {
    let kind = match error.classify() {
        serde_json::error::Category::Io => "unreadable".to_owned(),
        serde_json::error::Category::Syntax => "not JSON".to_owned(),
        serde_json::error::Category::Data => data_fault(&error.to_string()),
        serde_json::error::Category::Eof => "truncated".to_owned(),
    };
    format!("{kind}, line {} column {}", error.line(), error.column())
}

fn json(error: &serde_json::Error) -> KeystoreError {
    KeystoreError::Format(json_fault(error))
}

/// Which fault it is, out of the words of the JSON library.
fn data_fault(text: &str) -> String {
    let text = text.rsplit_once(" at line ").map_or(text, |(text, _)| text);
    let names = ["missing field", "duplicate field", "unknown field", REPEATED_NAME];
    // What is expected is said by our own types, after whatever was found.
    let (found, expected) = text.rsplit_once(", expected ").unwrap_or((text, ""));
    if names.iter().any(|name| found.starts_with(name)) {
        Foreign::new(found).to_string()
    } else if expected.is_empty() {
        "an ill-typed field".to_owned()
    } else {
        format!("an ill-typed field: expected {}", Foreign::new(expected))
    }
}

/// How the error about a KEK's name that stands there twice begins.
const REPEATED_NAME: &str = "repeated name";
