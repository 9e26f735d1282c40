//! Generator of `tests/vectors/envelope-v1.json` and `compact-batches.json`: sealing with fixed salts, which only a
//! unit test of this crate can do.
//!
//! - VECTORS-1: what is generated is what is published, byte for byte; a difference fails the test. After a deliberate
//!   addition, `SEALWIRE_WRITE_VECTORS=1 cargo test --lib envelope::vectors` writes the files anew. A published vector
//!   is never changed or removed: what was sealed once must open for ever.
//! - VECTORS-2: each is checked here with the reason it is meant to be refused for; `tests/bytes/envelope_vectors.rs`
//!   and `tests/envelope_decoder.py` read the files without this code.
#![expect(clippy::disallowed_methods, reason = "vectors are written when asked for")]

mod batches;
mod keys;
mod negative;
mod positive;
mod stored;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use serde::Serialize;

use super::{AcceptedDomain, Domain, DomainError, DomainKey, Form, Opener, OpeningKey, StableKeyId, form_of};
use crate::crypto::SecretKey;
use crate::record_batch::parse_record;

/// One record and what has to come of it.
#[derive(Serialize)]
struct Vector {
    name: String,
    /// The requirement of `docs/envelope.md` that it shows.
    requirement: &'static str,
    /// The DEK that the reader has, and the wrapped DEK that it unwrapped it from; hex.
    dek: String,
    wrapped_dek: String,
    /// The domains that the reader accepts.
    domains: Vec<String>,
    /// Of these domains: the stable key, and what it was wrapped into when it was made; hex.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    stable_key: Option<StableKeyFields>,
    /// The record as the broker holds it; hex.
    stored: String,
    /// The record that comes out; hex.
    #[serde(skip_serializing_if = "Option::is_none")]
    opened: Option<String>,
    /// Or the reason class of the refusal; for a record without a marker its form.
    #[serde(skip_serializing_if = "Option::is_none")]
    refused: Option<String>,
}

#[derive(Clone, Serialize)]
struct StableKeyFields {
    stable_key: String,
    wrapped_stable_key: String,
}

impl StableKeyFields {
    fn of_domain(&self, domain: &Domain) -> Arc<DomainKey> {
        let stable_key = SecretKey::from_bytes(&mut from_hex(&self.stable_key)).unwrap();
        let id = StableKeyId::of_wrapped(&from_hex(&self.wrapped_stable_key));
        Arc::new(DomainKey::new(&stable_key, id, domain).unwrap())
    }
}

#[derive(Serialize)]
struct Published {
    about: &'static str,
    vectors: Vec<Vector>,
}

const ABOUT: &str =
    "Sealwire envelope, format 1 (docs/envelope.md). Each record is complete, its length included.";

/// VECTORS-1, VECTORS-2
#[test]
fn published_vectors_are_what_this_code_seals_and_opens() -> Result<(), Box<dyn std::error::Error>> {
    let mut vectors = positive::vectors();
    let positive = vectors.len();
    vectors.extend(negative::vectors());
    assert!(positive >= 15 && vectors.len() - positive >= 40);
    // Behind those that were published before there were any.
    vectors.extend(keys::that_open());
    vectors.extend(keys::that_do_not());
    let names: BTreeSet<&str> = vectors.iter().map(|vector| vector.name.as_str()).collect();
    assert_eq!(names.len(), vectors.len(), "names are unique");
    for vector in &vectors {
        assert_eq!(
            outcome(vector)?,
            (vector.opened.clone(), vector.refused.clone()),
            "{}",
            vector.name
        );
    }

    assert_published(
        "envelope-v1.json",
        &Published {
            about: ABOUT,
            vectors,
        },
    )
}

/// VECTORS-1: a batch that is written otherwise is read all the same, but nobody should write one without knowing it.
#[test]
fn published_batches_are_what_this_code_writes_compact() -> Result<(), Box<dyn std::error::Error>> {
    assert_published("compact-batches.json", &batches::vectors())
}

fn assert_published(file: &str, generated: &impl Serialize) -> Result<(), Box<dyn std::error::Error>> {
    let mut text = serde_json::to_string_pretty(generated)?;
    text.push('\n');
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/vectors")
        .join(file);
    if std::env::var_os("SEALWIRE_WRITE_VECTORS").is_some() {
        std::fs::write(&path, &text)?;
    }
    assert!(
        std::fs::read_to_string(&path)? == text,
        "{} differs from what is generated",
        path.display()
    );
    Ok(())
}

fn outcome(vector: &Vector) -> Result<(Option<String>, Option<String>), Box<dyn std::error::Error>> {
    let dek = SecretKey::from_bytes(&mut from_hex(&vector.dek))?;
    let key = OpeningKey::new(&dek, &from_hex(&vector.wrapped_dek))?;
    let domains = vector
        .domains
        .iter()
        .map(|name| {
            let domain = Domain::new(name.as_str())?;
            let key = vector.stable_key.as_ref().map(|key| key.of_domain(&domain));
            Ok(AcceptedDomain { domain, key })
        })
        .collect::<Result<Vec<_>, DomainError>>()?;
    let mut stored = from_hex(&vector.stored);
    let before = stored.clone();
    let record = parse_record(&stored, 0)?;
    let mut out = b"before".to_vec();
    let opened = match form_of(&stored, &record) {
        Ok(Form::RecordSeal(marker)) => {
            Opener::default().open_record(&key, &mut stored, marker.in_record(&record), &domains, &mut out)
        }
        Ok(form) => return Ok((None, Some(form.kind().name().to_owned()))),
        Err(error) => Err(error),
    };
    assert_eq!(stored, before, "OPEN-4: {}", vector.name);
    let came_out = out
        .strip_prefix(b"before")
        .ok_or("what was in the buffer before is gone")?;
    match opened {
        Ok(()) => Ok((Some(to_hex(came_out)), None)),
        Err(error) => {
            assert!(came_out.is_empty(), "{}", vector.name);
            Ok((None, Some(error.reason().to_owned())))
        }
    }
}

fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn from_hex(text: &str) -> Vec<u8> {
    text.as_bytes()
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}
