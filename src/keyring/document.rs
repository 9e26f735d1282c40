//! The JSON that a keyring is stored as, and the checks between it and [`Keyring`].
//!
//! Memory is bounded by the file's size ([`KEYRING_BYTES_MAX`]): JSON announces no counts.

use std::collections::HashSet;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use super::edit::{check_name, pattern, well_formed};
use super::{Keyring, KeyringError, KeyringKey, Pin};
use crate::envelope::StableKeyId;
use crate::kms::keystore::{json_fault, read_versioned};

/// Largest keyring file, in bytes: some 30 000 keys.
pub const KEYRING_BYTES_MAX: usize = 8 * 1024 * 1024;

/// The format that this version writes and reads.
pub const FORMAT_VERSION: u32 = 1;

impl Keyring {
    /// Reads and checks a keyring file's bytes.
    ///
    /// # Errors
    /// [`KeyringError::Format`].
    pub fn parse(bytes: &[u8]) -> Result<Self, KeyringError> {
        if bytes.len() > KEYRING_BYTES_MAX {
            return Err(format("it is too large"));
        }
        let document = read_versioned::<Document>(bytes, FORMAT, FORMAT_VERSION);
        document.map_err(KeyringError::Format)?.check()
    }

    /// The bytes of its file.
    ///
    /// # Errors
    /// [`KeyringError::Full`].
    pub fn to_json(&self) -> Result<Vec<u8>, KeyringError> {
        let keys = self.keys.iter().map(|key| KeyDocument {
            id: key.id.to_string(),
            name: key.name.clone(),
            created_unix_seconds: key.created_unix_seconds,
            wrapped: STANDARD.encode(&key.wrapped),
            check: STANDARD.encode(key.check),
        });
        let pins = self.pins.iter().map(|pin| PinDocument {
            domain: pin.text.clone(),
            key: pin.key.to_string(),
        });
        let document = Document {
            format: FORMAT.to_owned(),
            format_version: FORMAT_VERSION,
            revision: self.revision,
            keys: keys.collect(),
            pins: pins.collect(),
        };
        let mut bytes = serde_json::to_vec_pretty(&document).map_err(|error| format(json_fault(&error)))?;
        bytes.push(b'\n');
        match bytes.len() {
            0..=KEYRING_BYTES_MAX => Ok(bytes),
            _ => Err(KeyringError::Full),
        }
    }
}

const FORMAT: &str = "sealwire-keyring";

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    format: String,
    format_version: u32,
    revision: u64,
    keys: Vec<KeyDocument>,
    pins: Vec<PinDocument>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyDocument {
    id: String,
    name: String,
    created_unix_seconds: u64,
    wrapped: String,
    check: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct PinDocument {
    domain: String,
    key: String,
}

impl Document {
    fn check(self) -> Result<Keyring, KeyringError> {
        let keys: Vec<KeyringKey> = self
            .keys
            .into_iter()
            .map(KeyDocument::check)
            .collect::<Result<_, _>>()?;
        let (mut ids, mut names) = (HashSet::new(), HashSet::new());
        for key in &keys {
            if !ids.insert(key.id) {
                return Err(format(format!("two stable keys have the id {}", key.id)));
            }
            if !names.insert(&key.name) {
                return Err(format(format!("two stable keys have the name {}", key.name)));
            }
        }
        let pins: Vec<Pin> = self
            .pins
            .into_iter()
            .map(PinDocument::check)
            .collect::<Result<_, _>>()?;
        let mut texts = HashSet::new();
        for pin in &pins {
            if !ids.contains(&pin.key) {
                return Err(format(format!(
                    "a pin names the stable key {}, which is not there",
                    pin.key
                )));
            }
            if !texts.insert(&pin.text) {
                return Err(format("two pins are for the same domains"));
            }
        }
        Ok(Keyring {
            revision: self.revision,
            keys,
            pins,
        })
    }
}

impl KeyDocument {
    fn check(self) -> Result<KeyringKey, KeyringError> {
        let id = id(&self.id)?;
        check_name(&self.name)?;
        let wrapped = STANDARD.decode(&self.wrapped).unwrap_or_default();
        let wrapped =
            well_formed(&wrapped).map_err(|error| format(format!("stable key {id}: wrapped: {error}")))?;
        let check = STANDARD.decode(&self.check).unwrap_or_default();
        let check = check
            .try_into()
            .map_err(|_| format(format!("stable key {id}: check must be 16 bytes in base64")))?;
        Ok(KeyringKey {
            id,
            name: self.name,
            created_unix_seconds: self.created_unix_seconds,
            wrapped,
            check,
        })
    }
}

impl PinDocument {
    fn check(self) -> Result<Pin, KeyringError> {
        let domains = pattern(&self.domain).map_err(|error| format(error.to_string()))?;
        Ok(Pin {
            key: id(&self.key)?,
            text: self.domain,
            domains,
        })
    }
}

fn id(text: &str) -> Result<StableKeyId, KeyringError> {
    text.parse()
        .map_err(|_| format("an id must be 8 hexadecimal digits in lower case"))
}

fn format(what: impl Into<String>) -> KeyringError {
    KeyringError::Format(what.into())
}
